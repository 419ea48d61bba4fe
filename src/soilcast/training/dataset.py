"""From a cube to samples: block by block, into memory or into mapped files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from soilcast.cube import read, thickness_name, usable_target
from soilcast.errors import SoilcastError
from soilcast.memory import held_memory
from soilcast.task import newest_values
from soilcast.training.ahead import WeatherAhead, read_ahead
from soilcast.training.arrays import Allocate, Array, forget_pages, make_arrays
from soilcast.training.build import layout_of
from soilcast.training.config import Config
from soilcast.training.inputs import (
    Counts,
    Floats,
    Inputs,
    any_of_next,
    cell_blocks,
    fit_scalings,
    load_inputs,
    spread_over_cells,
    window_source,
)
from soilcast.training.sample_days import refuse_unlearnable, sample_days
from soilcast.training.samples import SampleIndex, Samples
from soilcast.training.split import Split, days_in, learning_cells, span
from soilcast.training.statistics import (
    Scaling,
    Statistics,
    column_depth,
    error_scale,
    layer_bounds,
    persistence_errors,
    root_mean_square,
    scalings_sha256,
)
from soilcast.water import mask_observed, water_sign
from soilcast.weather import Weather

_FORMAT = 4
_LARGE = ("dynamic", "lags", "newest", "observed", "ahead")
"""Arrays that `Samples.gather` reads windows and targets from."""

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
    statistics
        Of the training days.
    training, validation
        The usable cell-days of the two periods, by position in `samples`: first forecast days.
    learnable
        ``(cell,)``, whether all layers that are forecast are there and vary.
    missing, clipped
        Of each dynamic input the days of `samples` on which it is missing or clipped ``(cell, feature)`` int64.
    unobserved
        Of each layer that is forecast the training days without soil moisture ``(cell, layer)`` int64.
    """

    samples: Samples
    first: int
    statistics: Statistics
    training: SampleIndex
    validation: SampleIndex
    learnable: npt.NDArray[np.bool_]
    missing: Counts
    clipped: Counts
    unobserved: Counts

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
    weather: Weather | None = None,
    low_memory: bool = False,
) -> Dataset:
    """Read, normalise and lay out the development period of a cube.

    No sample reaches from one period into the next: all its forecast days lie in the period of its first, and it sees
    no soil moisture that is kept for later: those of training none of validation and test days, those of validation
    none of test days. Its weather may be of any day before its forecast days.

    Parameters
    ----------
    cube
        An opened cube.
    folder
        Where to keep what does not fit in memory, mapped; processes that train on the same share it. None for memory.
        The samples are the same to the bit.
    scalings
        Statistics to normalise with; by default those of the training days.
    weather
        Forecasts of the weather, issued on each of `days_seen`, instead of the observed weather of the forecast days.
    low_memory
        Keep no more of what is mapped in memory than a batch takes.

    Raises
    ------
    SoilcastError
        There is nothing to learn from, or a period without a usable cell-day.
    """
    task, layout = config.task, layout_of(config)
    days = days_seen(config, split)
    identity = _identity(cube, config, split, scalings)
    identity |= {"weather": weather.sha256} if weather else {}
    arrays = make_arrays(
        folder,
        identity,
        lambda allocate: _fill(allocate, cube, config, split, days, scalings, weather),
        low_memory=low_memory,
    )
    signs = _water_signs(folder, identity, cube, config, days, low_memory=low_memory)
    learnable = np.array(arrays["learnable"])
    refuse_unlearnable(learnable, arrays["missing"], days.stop - days.start, cube, config)
    train, validation = (
        sample_days(name, parts, hidden, arrays["usable"], days, cube, config)
        for name, parts, hidden in (
            ("training", split.train, (split.validation, split.test)),
            ("validation", split.validation, (split.test,)),
        )
    )
    small = {name: np.array(value) for name, value in arrays.items() if name.startswith(("scaling.", "soil."))}
    statistics = Statistics.from_arrays(small, (*task.dynamic, *task.soil_layers, *task.static))
    empty = np.zeros((len(learnable), 0), dtype=np.bool_)
    inputs = Inputs(
        **{name: arrays[name] for name in ("dynamic", "static", "observed", "lags", "newest", "missing", "clipped")},
        ready=empty,
        ahead=empty,
    )
    space = config.loss.space
    depths = np.stack([_thickness(cube, layer) for layer in task.layers], axis=-1) if config.balance else None
    forecast = WeatherAhead(arrays["ahead"], arrays["ahead_known"]) if weather else None
    large = tuple(arrays[name] for name in _LARGE if name in arrays) if folder and low_memory else ()
    samples = Samples(
        source=window_source(inputs, layout, cube, cube["time"].to_numpy()[days], statistics, forecast=forecast),
        layout=layout,
        observed=torch.from_numpy(arrays["observed"]),
        water_sign=torch.from_numpy(signs),
        error_scale=_tensor(error_scale(space, statistics, task.layers), len(learnable)),
        depth=_tensor(
            None if depths is None else column_depth(space, statistics, task.layers, depths, _guided(config)),
            len(learnable),
        ),
        bounds=_tensor(layer_bounds(statistics, task.layers), len(learnable)) if config.loss.bounds else None,
        mapped=large,
    )
    counts = [np.array(arrays[name]) for name in ("missing", "clipped", "unobserved")]
    return Dataset(samples, days.start, statistics, train, validation, learnable, *counts)


def days_seen(config: Config, split: Split) -> slice:
    """Positions of the days of samples: the development period, and the days before it that its first windows see."""
    learnt = span(tuple(sorted((*split.train, *split.validation), key=lambda part: part.start)))
    return slice(max(0, learnt.start - config.task.window), learnt.stop)


def choose_folder(
    cube: xr.Dataset, config: Config, split: Split, memory: int | None, folder: Path, forecasts: bool = False
) -> Path | None:
    """Say where samples are to be kept so that training holds no more than ``memory`` [bytes]: see `make_dataset`.

    ``forecasts`` says whether the weather of the forecast days is that of forecasts.

    Raises
    ------
    SoilcastError
        Even with the samples in files it would be more.
    """
    if memory is None:
        return None
    cells, task = cube.sizes["cell"], config.task
    seen = days_seen(config, split)
    days = seen.stop - seen.start
    soil = len(task.lags) + len(task.layers) * (1 + task.sees_own_layers)
    ahead = task.lead_days * len(task.known_future) * forecasts
    large = cells * days * (4 * (len(task.dynamic) + soil + ahead) + 1)
    always = held_memory() + _WORKING_BYTES + cells * days * 3
    if always > memory:
        raise SoilcastError(
            f"--memory {memory / 2**20:.0f} MiB is too little for {_source(cube)}: training takes at least "
            f"{always / 2**20:.0f} MiB: increase it, or set a shorter split.development"
        )
    return None if always + large <= memory else folder


def _identity(cube: xr.Dataset, config: Config, split: Split, scalings: Mapping[str, Scaling] | None) -> dict[str, Any]:
    """All that the arrays of samples depend on, as `make_arrays` asks for it."""
    held = split.train, split.validation, split.test
    days = [days_seen(config, split).start, *([[part.start, part.stop] for part in parts] for parts in held)]
    return {
        "format": _FORMAT,
        "cube": cube.attrs["content_sha256"],
        "task": config.task.model_dump(mode="json", exclude={"quantiles"}),
        "normalise": config.normalise.model_dump(mode="json"),
        "statistics": scalings_sha256(scalings) if scalings else None,
        "cells": [config.split.cells_share, config.split.without_climate],
        "days": days,
    }


def _fill(
    allocate: Allocate,
    cube: xr.Dataset,
    config: Config,
    split: Split,
    days: slice,
    given: Mapping[str, Scaling] | None,
    weather: Weather | None,
) -> None:
    task, by_cell = config.task, config.normalise.scope == "per_cell"
    among = learning_cells(cube, config.split)
    scalings = given or fit_scalings(cube, task, config.normalise, split.train, among)
    seen = cube.isel(time=days)
    cells, count, layers = cube.sizes["cell"], seen.sizes["time"], len(task.layers)
    features = {
        "dynamic": len(task.dynamic),
        "observed": layers,
        "lags": len(task.lags),
        "newest": layers * task.sees_own_layers,
    }
    by_day = {name: allocate(name, (cells, count, features[name]), np.float32) for name in features}
    static = allocate("static", (cells, len(task.static)), np.float32)
    if weather is not None:
        shape = (cells, count, task.lead_days, len(task.known_future))
        by_day["ahead"] = allocate("ahead", shape, np.float32)
        ahead_known = allocate("ahead_known", shape[:3], np.bool_)
    usable = allocate("usable", (cells, count), np.bool_)
    learnable = allocate("learnable", (cells,), np.bool_)
    counts = {name: allocate(name, (cells, len(task.dynamic)), np.int64) for name in ("missing", "clipped")}
    unobserved = allocate("unobserved", (cells, layers), np.int64)
    train = [slice(part.start - days.start, part.stop - days.start) for part in split.train]
    is_held_back = days_in((*split.validation, *split.test), days)
    latency = tuple(task.latency_of(layer) for layer in task.layers)
    errors, highest = np.empty((2, cells, task.lead_days, layers)), np.empty((cells, layers))
    for block in cell_blocks(cells, count, sum(features.values()) + (weather.size // count if weather else 0)):
        own = {name: scaling.of_cells(block) for name, scaling in scalings.items()}
        inputs = load_inputs(seen, task, own, block)
        for name in features:
            by_day[name][block] = getattr(inputs, name)[..., : features[name]]
        forecast = None
        if weather is not None:
            (forecast,) = read_ahead(weather, own, block, task.lead_days)
            by_day["ahead"][block], ahead_known[block] = forecast.values, forecast.known
        static[block] = inputs.static
        for name, array in counts.items():
            array[block] = getattr(inputs, name)
        observed = np.concatenate([inputs.observed[:, part] for part in train], axis=1)
        varies = [usable_target(own[layer].restore(observed[..., number])) for number, layer in enumerate(task.layers)]
        learnable[block] = np.all([*varies, among[block]], axis=0)
        came = any_of_next(np.asarray(np.isfinite(inputs.observed).any(axis=2)), task.lead_days)
        usable[block] = inputs.first_days(task, task.lead_days, forecast) & came & learnable[block, np.newaxis]
        newest = inputs.newest
        if is_held_back[: train[-1].stop].any():  # as where training follows the test
            held = np.where(is_held_back[:, np.newaxis], np.float32(np.nan), inputs.observed)
            newest = newest_values(held, task.fill_days)
        errors[:, block] = sum(
            persistence_errors(inputs.observed[:, part], newest[:, part], task.lead_days, latency) for part in train
        )
        unobserved[block] = observed.shape[1] - np.isfinite(observed).sum(axis=1)
        most = np.max(observed, axis=1, where=np.isfinite(observed), initial=-np.inf)
        most = np.where(np.isfinite(most), most, np.float32(np.nan))
        for number, layer in enumerate(task.layers):
            highest[block, number] = own[layer].restore(most[:, number])
        forget_pages((*by_day.values(), usable), write=True)
    porosity = highest if by_cell else np.nanmax(highest[among], axis=0, keepdims=True)
    statistics = Statistics(scalings, root_mean_square(errors, among, by_cell=by_cell), porosity)
    for name, value in statistics.to_arrays().items():
        allocate(name, value.shape, value.dtype)[:] = value


def _water_signs(
    folder: Path | None, identity: Mapping[str, Any], cube: xr.Dataset, config: Config, days: slice, *, low_memory: bool
) -> npt.NDArray[np.int8]:
    """Give dW_t of Eq. 12 after Eq. 13 on some days ``(cell, time)``; 0 for a model that follows no water balance."""
    form = config.balance
    seen = cube.isel(time=days)

    def fill(allocate: Allocate) -> None:
        cells, count = cube.sizes["cell"], days.stop - days.start
        signs = allocate("sign", (cells, count), np.int8)
        if form is None:
            signs[:] = 0
            return
        for block in cell_blocks(cells, count, len(config.task.dynamic)):
            observed = _guided_water(seen, config, block)
            signs[block] = mask_observed(water_sign(cube.isel(cell=block), form, config.water, days), observed)
            forget_pages((signs,), write=True)

    water = {"form": form, "water": config.water.model_dump(mode="json") if form else None}
    return make_arrays(folder, {**identity, **water}, fill, low_memory=low_memory)["sign"]


def _guided(config: Config) -> slice:
    """Positions of the layers whose water follows the balance.

    W1 takes no deeper layer from it, so all do; W2 (Eq. 11) counts the water of deep layers among what leaves the
    first.
    """
    return slice(None) if config.balance == "single" else slice(1)


def _guided_water(seen: xr.Dataset, config: Config, block: slice) -> Floats:
    """Observed water of some cells that is to follow dW ``(cell, time)``: of one layer, or the depth of all."""
    layers = config.task.layers[_guided(config)]
    if len(layers) == 1:
        return read(seen, layers[0], block)
    depths = [read(seen, layer, block) * _thickness(seen, layer, block)[:, np.newaxis] for layer in layers]
    return np.asarray(np.sum(depths, axis=0))


def _thickness(cube: xr.Dataset, layer: str, cells: slice = slice(None)) -> Array:
    """Thickness of a layer ``(cell,)`` [m]; 1 where the cube does not know it, which a layer alone does not need."""
    name = thickness_name(layer)
    if name in cube:
        return read(cube, name, cells)
    return np.ones(len(range(*cells.indices(cube.sizes["cell"]))), dtype=np.float32)


def _tensor(values: npt.NDArray[np.floating] | None, cells: int) -> torch.Tensor | None:
    return None if values is None else torch.from_numpy(spread_over_cells(values, cells))


def _source(cube: xr.Dataset) -> str:
    return str(cube.encoding.get("source", "the cube"))
