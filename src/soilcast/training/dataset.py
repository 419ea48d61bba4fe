"""From a cube to samples: block by block, into memory or into mapped files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from soilcast.cube import read, usable_target
from soilcast.errors import SoilcastError
from soilcast.memory import held_memory
from soilcast.models import MODELS
from soilcast.training.arrays import Allocate, Array, forget_pages, make_arrays
from soilcast.training.config import Config
from soilcast.training.groups import learning_cells
from soilcast.training.inputs import cell_blocks, fit_scalings, load_inputs
from soilcast.training.normalise import Scaling, from_arrays, scalings_sha256, to_arrays
from soilcast.training.outlook_statistics import OutlookStatistics
from soilcast.training.samples import AnySamples, CellDays, Samples
from soilcast.training.split import Split
from soilcast.water import mask_observed, water_sign

_FORMAT = 1
_WORKING_BYTES = 512 * 2**20
"""What reading, normalising and training take beside the samples, measured with blocks of 64 MiB."""


@dataclass(frozen=True)
class Dataset:
    """What a training draws from.

    Parameters
    ----------
    samples
        The development period, and the days before it that its first windows see.
    first
        Position in the cube of the first day of `samples`.
    scalings
        Statistics by variable.
    training, validation
        The usable cell-days of the two periods, by position in `samples`.
    learnable
        ``(cell,)``, whether the target is there and varies.
    outlook
        What outlooks need beside.
    """

    samples: AnySamples
    first: int
    scalings: dict[str, Scaling]
    training: CellDays
    validation: CellDays
    learnable: npt.NDArray[np.bool_]
    outlook: OutlookStatistics | None = None

    @property
    def water_sign_share(self) -> float:
        """Share of the training cell-days on which Eq. 13 keeps a sign of the water balance."""
        first, stop = self.training.first, self.training.first + self.training.usable.shape[1]
        signs = self.samples.water_sign.numpy()
        kept = sum(
            np.count_nonzero(signs[cells, first:stop][self.training.usable[cells]])
            for cells in cell_blocks(len(signs), stop - first, 1)
        )
        return float(kept / len(self.training))


def make_dataset(
    cube: xr.Dataset,
    config: Config,
    split: Split,
    folder: Path | None,
    scalings: Mapping[str, Scaling] | None = None,
    *,
    frugal: bool = False,
) -> Dataset:
    """Read, normalise and lay out the development period of a cube.

    Parameters
    ----------
    cube
        An opened cube.
    folder
        Where to keep what does not fit in memory, mapped; processes that train on the same share it. None for memory.
        The samples are the same to the bit.
    scalings
        Statistics to normalise with; by default those of the training days.
    frugal
        Keep no more of what is mapped in memory than a batch takes.

    Raises
    ------
    SoilcastError
        There is nothing to learn from, or a period without a usable cell-day.
    """
    days = days_seen(config, split)
    first = days.start
    names = (*config.inputs.dynamic, config.inputs.target, *config.inputs.static)
    identity = identity_of(cube, config, split, scalings) | {"format": _FORMAT, "space": config.loss.space}
    arrays = make_arrays(
        folder, identity, lambda allocate: _fill(allocate, cube, config, split, days, scalings), frugal=frugal
    )

    def followed(block: slice) -> Array:
        return read(cube.isel(time=days), config.inputs.target, block)

    signs = make_signs(folder, identity, cube, config, days, followed, frugal=frugal)
    learnable = np.array(arrays["learnable"])
    refuse_unlearnable(learnable, cube, config)
    train, validation = (
        CellDays(arrays["usable"], slice(part.start - first, part.stop - first))
        for part in (split.train, split.validation)
    )
    refuse_empty({"training": train, "validation": validation}, cube, config, split.validation.stop - first)
    tensors = {name: torch.from_numpy(arrays[name]) for name in ("dynamic", "static", "target", "to_loss_space")}
    mapped = (arrays["dynamic"], arrays["target"], signs) if folder and frugal else ()
    samples = Samples(
        **tensors, water_sign=torch.from_numpy(signs), length=config.inputs.sequence_length, mapped=mapped
    )
    statistics = {name: np.array(value) for name, value in arrays.items() if name.startswith("scaling.")}
    return Dataset(samples, first, from_arrays(statistics, names), train, validation, learnable)


def days_seen(config: Config, split: Split) -> slice:
    """Positions of the days of samples: the development period, and the days before it that its first windows see."""
    return slice(max(0, split.train.start - config.inputs.sequence_length), split.validation.stop)


def identity_of(
    cube: xr.Dataset, config: Config, split: Split, scalings: Mapping[str, Scaling] | None
) -> dict[str, Any]:
    """All that samples of any kind depend on, as `make_arrays` asks for it."""
    days = [days_seen(config, split).start, split.train.start, split.train.stop, split.validation.stop]
    return {
        "cube": cube.attrs["content_sha256"],
        "inputs": config.inputs.model_dump(mode="json"),
        "normalise": config.normalise.model_dump(mode="json"),
        "statistics": scalings_sha256(scalings) if scalings else None,
        "cells": [config.split.cells_share, config.split.without_climate],
        "days": days,
    }


def make_signs(
    folder: Path | None,
    identity: Mapping[str, Any],
    cube: xr.Dataset,
    config: Config,
    days: slice,
    followed: Callable[[slice], Array],
    *,
    frugal: bool,
) -> npt.NDArray[np.int8]:
    """Give dW_t of Eq. 12 after Eq. 13 on some days ``(cell, time)``; 0 for a model that follows no water balance.

    Parameters
    ----------
    folder, frugal
        See `make_dataset`.
    identity
        Of the samples.
    followed
        Gives of a block of cells the observed water ``(cell, time)`` that is to follow the balance.
    """
    form = MODELS[config.model].form

    def fill(allocate: Allocate) -> None:
        cells, count = cube.sizes["cell"], days.stop - days.start
        signs = allocate("sign", (cells, count), np.int8)
        if form is None:
            signs[:] = 0
            return
        for block in cell_blocks(cells, count, len(config.inputs.dynamic)):
            signs[block] = mask_observed(water_sign(cube.isel(cell=block), form, config.water, days), followed(block))
            forget_pages((signs,), write=True)

    water = {"form": form, "water": config.water.model_dump(mode="json") if form else None}
    return make_arrays(folder, {**identity, **water}, fill, frugal=frugal)["sign"]


def choose_folder(cube: xr.Dataset, config: Config, split: Split, memory: int | None, folder: Path) -> Path | None:
    """Say where samples are to be kept so that training holds no more than ``memory`` [bytes]: see `make_dataset`.

    Raises
    ------
    SoilcastError
        Even with the samples in files it would be more.
    """
    if memory is None:
        return None
    cells = cube.sizes["cell"]
    seen = days_seen(config, split)
    days = seen.stop - seen.start
    soil = len(config.inputs.lags) + 2 * len(config.layers) if config.outlook.lead_days else 1
    large = cells * days * (4 * len(config.inputs.dynamic) + 4 * soil + 1)
    always = held_memory() + _WORKING_BYTES + cells * days * 3
    if always > memory:
        raise SoilcastError(
            f"--memory {memory / 2**20:.0f} MiB is too little for {_source(cube)}: training on it takes at least "
            f"{always / 2**20:.0f} MiB: give more, or set a shorter split.development"
        )
    return None if always + large <= memory else folder


def _fill(
    allocate: Allocate,
    cube: xr.Dataset,
    config: Config,
    split: Split,
    days: slice,
    given: Mapping[str, Scaling] | None,
) -> None:
    among = learning_cells(cube, config.split)
    scalings = given or fit_scalings(cube, config.inputs, config.normalise, split.train, among=among)
    for name, value in to_arrays(scalings).items():
        allocate(name, value.shape, value.dtype)[:] = value
    seen = cube.isel(time=days)
    cells, count, features = cube.sizes["cell"], seen.sizes["time"], len(config.inputs.dynamic)
    dynamic = allocate("dynamic", (cells, count, features), np.float32)
    static = allocate("static", (cells, len(config.inputs.static)), np.float32)
    target = allocate("target", (cells, count), np.float32)
    usable = allocate("usable", (cells, count), np.bool_)
    learnable = allocate("learnable", (cells,), np.bool_)
    to_loss_space = allocate("to_loss_space", (cells, 2), np.float32)
    train = slice(split.train.start - days.start, split.train.stop - days.start)
    for block in cell_blocks(cells, count, features):
        own = {name: scaling.of_cells(block) for name, scaling in scalings.items()}
        inputs = load_inputs(seen, config.inputs, own, block)
        observed = read(seen, config.inputs.target, block)
        dynamic[block], static[block] = inputs.dynamic, inputs.static
        learnable[block] = usable_target(observed[:, train]) & among[block]
        usable[block] = inputs.ready & np.isfinite(observed) & learnable[block, np.newaxis]
        values, pairs = _SPACES[config.loss.space](observed, own[config.inputs.target])
        target[block], to_loss_space[block] = np.nan_to_num(values), pairs
        forget_pages((dynamic, target, usable), write=True)


def _normalised(observed: npt.NDArray[np.float32], scaling: Scaling) -> tuple[Array, Array]:
    return scaling.normalise(observed), np.array([[1.0, 0.0]], dtype=np.float32)


def _physical(observed: npt.NDArray[np.float32], scaling: Scaling) -> tuple[Array, Array]:
    return observed, np.stack((scaling.scale, scaling.offset), axis=1).astype(np.float32)


_SPACES = {"normalised": _normalised, "physical": _physical}
"""The target in the space of the loss, and what takes a normalised forecast there, by ``loss.space``."""


def refuse_unlearnable(learnable: npt.NDArray[np.bool_], cube: xr.Dataset, config: Config) -> None:
    """Raise `SoilcastError` if no cell has a target that can be learnt."""
    if not learnable.any():
        raise SoilcastError(
            f"{_source(cube)}: {', '.join(config.layers)} is missing or constant in every cell over the training "
            "period: there is nothing to learn; check the source files, or set split.development"
        )


def refuse_empty(periods: dict[str, CellDays], cube: xr.Dataset, config: Config, days: int) -> None:
    """Raise `SoilcastError` if a period has no cell-day to learn from."""
    length = config.inputs.sequence_length
    for name, usable in periods.items():
        if not len(usable) and length >= days - 1:
            raise SoilcastError(
                f"{_source(cube)}: inputs.sequence_length {length} leaves no day of the {name} period to learn from: "
                "shorten it, or set a longer split.development"
            )
        if not len(usable):
            raise SoilcastError(
                f"{_source(cube)}: no usable cell-day in the {name} period: inputs or target are missing there; see "
                "soilcast inspect, or choose other inputs or periods"
            )


def _source(cube: xr.Dataset) -> str:
    return str(cube.encoding.get("source", "the cube"))
