"""From a cube to normalised arrays: the same way for training and for forecasting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import read
from soilcast.cube.store import CELL_CHUNK
from soilcast.errors import SoilcastError
from soilcast.training.config import InputsConfig, NormaliseConfig
from soilcast.training.normalise import Scaling, fit_scaling, join_cells, make_scaling, take_statistics

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

BLOCK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Inputs:
    """What a network sees of some cells and days.

    Parameters
    ----------
    dynamic
        ``(cell, time, feature)`` float32, normalised; 0 where missing.
    static
        ``(cell, feature)`` float32, normalised; 0 where missing.
    ready
        ``(cell, time)``, whether the day can be forecast: all inputs of the days before it are there.
    ahead
        ``(cell, time)``, whether those inputs of the day are there that are known for days ahead.
    """

    dynamic: Floats
    static: Floats
    ready: npt.NDArray[np.bool_]
    ahead: npt.NDArray[np.bool_]


def refuse_missing_inputs(cube: xr.Dataset, config: InputsConfig) -> None:
    """Raise `SoilcastError` that names the inputs that the cube lacks, and the setting that would do without."""
    for kind in ("dynamic", "static"):
        wanted: tuple[str, ...] = getattr(config, kind)
        missing = [name for name in wanted if name not in cube]
        if missing:
            there = ",".join(name for name in wanted if name in cube)
            source = cube.encoding.get("source") or cube.attrs.get("title", "the cube")
            remedy = f"use --set inputs.{kind}=[{there}], or" if there or kind == "static" else "name"
            raise SoilcastError(
                f"{source}: no {', '.join(missing)}, which inputs.{kind} asks for: {remedy} other variables that "
                "soilcast inspect shows"
            )
    for layer in dict.fromkeys((config.target, *config.lags)):
        if layer not in cube:
            source = cube.encoding.get("source", "the cube")
            what, key = ("target", "inputs.target") if layer == config.target else ("soil moisture", "inputs.lags")
            raise SoilcastError(f"{source}: no {what} {layer}: set {key}")


def refuse_missing_layers(cube: xr.Dataset, layers: Iterable[str]) -> None:
    """Raise `SoilcastError` that names the layers to forecast that the cube lacks."""
    missing = [layer for layer in layers if layer not in cube]
    if missing:
        source = cube.encoding.get("source", "the cube")
        raise SoilcastError(f"{source}: no {', '.join(missing)} to forecast: set outlook.layers to others")


def block_size(days: int, features: int, most: int | None = None) -> int:
    """Cells that are read and worked on at once: those whose inputs take 64 MiB, or ``most`` bytes, at most.

    It depends on the sizes alone; blocks are parts or wholes of the chunks of a stored cube.
    """
    cells = CELL_CHUNK
    while cells > 1 and cells * days * features * 4 > (most or BLOCK_BYTES):
        cells //= 2
    return cells


def cell_blocks(cells: int, days: int, features: int) -> Iterator[slice]:
    """Split cells into blocks of `block_size`."""
    each = block_size(days, features)
    return (slice(start, min(start + each, cells)) for start in range(0, cells, each))


def fit_scalings(
    cube: xr.Dataset,
    inputs: InputsConfig,
    normalise: NormaliseConfig,
    train: slice,
    layers: Iterable[str] = (),
    among: Bools | None = None,
) -> dict[str, Scaling]:
    """Take the statistics of every input and of the target from the training days alone, block by block.

    Parameters
    ----------
    cube
        An opened cube.
    train
        Positions of the training days.
    layers
        Soil moisture beside the target.
    among
        Cells to learn from ``(cell,)``, by default all.

    Returns
    -------
    Name -> statistics, of each cell ``(cell,)`` or of all ``(1,)``.
    """
    learnt = cube.isel(time=train)
    sizes = cube.sizes["cell"], learnt.sizes["time"], 1
    scalings = {}
    for name in dict.fromkeys((*inputs.dynamic, inputs.target, *layers)):
        statistics = join_cells([take_statistics(read(learnt, name, cells)) for cells in cell_blocks(*sizes)])
        scalings[name] = make_scaling(statistics if among is None else statistics.of_cells(among), normalise)
    chosen = slice(None) if among is None else among
    return scalings | {name: fit_scaling(read(cube, name)[chosen], normalise, static=True) for name in inputs.static}


def load_inputs(
    cube: xr.Dataset,
    config: InputsConfig,
    scalings: Mapping[str, Scaling],
    cells: slice = slice(None),
    *,
    beyond: int = 0,
) -> Inputs:
    """Read and normalise the inputs of some cells over all days of ``cube``.

    Parameters
    ----------
    cube
        An opened cube, cut to the days wanted.
    scalings
        Statistics of these very cells, or of all.
    beyond
        Days to add behind the last, of which nothing is known.
    """
    count = len(range(*cells.indices(cube.sizes["cell"])))
    days = cube.sizes["time"]
    dynamic = np.full((count, days + beyond, len(config.dynamic)), np.nan, dtype=np.float32)
    static = np.empty((count, len(config.static)), dtype=np.float32)
    for feature, name in enumerate(config.dynamic):
        dynamic[:, :days, feature] = scalings[name].normalise(read(cube, name, cells))
    for feature, name in enumerate(config.static):
        static[:, feature] = scalings[name].normalise(read(cube, name, cells))
    described = np.asarray(np.isfinite(static).all(axis=1))
    complete = np.isfinite(dynamic).all(axis=2) & described[:, np.newaxis]
    known = [config.dynamic.index(name) for name in config.known_future]
    ahead = np.asarray(np.isfinite(dynamic[:, :, known]).all(axis=2))
    np.nan_to_num(dynamic, copy=False)
    np.nan_to_num(static, copy=False)
    return Inputs(dynamic, static, _after_complete_days(complete, config.sequence_length), ahead)


def _after_complete_days(complete: npt.NDArray[np.bool_], length: int) -> npt.NDArray[np.bool_]:
    """Whether all of the ``length`` days before a day are complete, ``(cell, time)``."""
    gaps = np.zeros((complete.shape[0], complete.shape[1] + 1), dtype=np.int32)
    np.cumsum(~complete, axis=1, out=gaps[:, 1:])
    ready = np.zeros_like(complete)
    ready[:, length:] = gaps[:, length:-1] == gaps[:, : -1 - length]
    return ready
