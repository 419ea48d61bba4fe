"""From a cube to normalised arrays: the same way for training and for forecasting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from soilcast.cube import PAPER_DYNAMIC, grid_of, neighbours, read, thickness_name
from soilcast.cube.calendar import Days
from soilcast.cube.store import CELL_CHUNK
from soilcast.errors import SoilcastError
from soilcast.models.harmonics import annual_waves
from soilcast.task import PAPER, Layout, Task, newest_values
from soilcast.training.ahead import WeatherAhead
from soilcast.training.damped import DampedAnomaly
from soilcast.training.sections import NormaliseConfig
from soilcast.training.split import Periods
from soilcast.training.statistics import NO_VALUE, Scaling, Statistics, fit_scaling, take_moments
from soilcast.training.windows import WindowSource

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
Indices = npt.NDArray[np.int64]

BLOCK_BYTES = 64 * 2**20

_YEAR = 365.2425


@dataclass(frozen=True)
class Inputs:
    """What a network may see of some cells and days, and what it is to forecast.

    Parameters
    ----------
    dynamic
        ``(cell, time, feature)`` float32, normalised; 0 where missing.
    static
        ``(cell, feature)`` float32, normalised; 0 where missing.
    observed
        Normalised soil moisture of the layers that are forecast ``(cell, time, layer)`` float32; NaN where missing.
    lags
        That of the layers that are inputs ``(cell, time, lag)`` float32; NaN where missing.
    newest
        `observed`, or where it is missing its last value within the days of forward fill.
    ready
        ``(cell, time)``, whether the day can be the first forecast day: all inputs of its window are there that are
        known when it is forecast.
    ahead
        ``(cell, time)``, whether those inputs of the day are there that are known for the forecast days.
    missing, clipped
        Of each dynamic input the days on which it is missing or clipped, ``(cell, feature)`` int64.
    """

    dynamic: Floats
    static: Floats
    observed: Floats
    lags: Floats
    newest: Floats
    ready: Bools
    ahead: Bools
    missing: Counts
    clipped: Counts

    def first_days(self, task: Task, leads: int, forecast: WeatherAhead | None = None) -> Bools:
        """Say which days can be the first forecast day ``(cell, time)``.

        Parameters
        ----------
        leads
            Forecast days for which what is known ahead must be there.
        forecast
            What is known ahead, if it is not what was observed.
        """
        usable = self.ready.copy()
        if forecast is not None:
            usable &= forecast.first_days(usable.shape[1], leads)
        elif task.known_future:
            usable &= any_of_next(self.ahead, leads, all_days=True)
        for position, layer in enumerate(task.layers if task.sees_own_layers else ()):
            back = 1 + task.latency_of(layer)
            usable[:, :back] = False
            usable[:, back:] &= np.isfinite(self.newest[:, :-back, position])
        return usable


Lacking = tuple[str, list[str]]
"""What a cube lacks, and the options of a command that do without; none if no option does."""


def missing_inputs(cube: xr.Dataset, task: Task, *, target: bool = True) -> list[Lacking]:
    """Say what a cube lacks for a task.

    Parameters
    ----------
    target
        Whether soil moisture is needed where it is no input: to train, not to forecast.
    """
    lacking: list[Lacking] = []
    if not (task.dynamic or task.lags or task.calendar):
        lacking.append((f"{', '.join(PAPER_DYNAMIC)}: name others in task.dynamic, or set task.lags", []))
    for key in PAPER:
        wanted: tuple[str, ...] = getattr(task, key)
        missing = [name for name in wanted if name not in cube]
        left = [name for name in wanted if name in cube]
        if not missing:
            continue
        is_enough = left or key == "static" or task.lags or task.calendar
        options = [f"--set task.{key}=[{','.join(left)}]"] if is_enough else []
        if ahead := [name for name in task.known_future if name in left] if key == "dynamic" else []:
            options += [f"--set task.known_future=[{','.join(ahead)}]"] if len(ahead) < len(task.known_future) else []
        lacking.append((f"{', '.join(missing)}, which is in task.{key}", options))
    for key, what in (("layers", "target"), ("lags", "soil moisture")):
        needed = getattr(task, key) if target or key == "lags" else ()
        if missing := [layer for layer in needed if layer not in cube]:
            lacking.append((f"{what} {', '.join(missing)}: set task.{key} to others", []))
    return lacking


def refuse_lacking(cube: xr.Dataset, lacking: Sequence[Lacking]) -> None:
    """Raise `SoilcastError` that names all that a cube lacks, and the options that do without it all."""
    if not lacking:
        return
    source = cube.encoding.get("source") or cube.attrs.get("title", "the cube")
    options = [option for _, several in lacking for option in several]
    remedy = f"use {' '.join(options)}, or other variables" if options else "name other variables"
    names = "; no ".join(what for what, _ in lacking)
    raise SoilcastError(f"{source}: no {names}: {remedy} (see soilcast inspect)")


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
    cube: xr.Dataset, task: Task, normalise: NormaliseConfig, train: Periods, among: Bools
) -> dict[str, Scaling]:
    """Take the statistics of every input and of the soil moisture from the training days alone, block by block.

    Parameters
    ----------
    cube
        An opened cube.
    train
        Positions of the training days.
    among
        Cells to learn from ``(cell,)``.

    Returns
    -------
    Name -> statistics, of each cell ``(cell,)`` or of all ``(1,)``.
    """
    parts = [cube.isel(time=part) for part in train]
    blocks = list(cell_blocks(cube.sizes["cell"], sum(part.sizes["time"] for part in parts), 1))
    scalings = {}
    for name in (*task.dynamic, *task.soil_layers):
        moments = [
            take_moments(np.concatenate([read(part, name, cells) for part in parts], axis=1)) for cells in blocks
        ]
        learnt = np.where(among, np.concatenate(moments, axis=1), NO_VALUE)
        scalings[name] = fit_scaling(learnt, normalise, target=name in task.soil_layers)
    for name in task.static:
        scalings[name] = fit_scaling(take_moments(read(cube, name)[among, np.newaxis]), normalise, static=True)
    return scalings


def load_inputs(
    cube: xr.Dataset, task: Task, scalings: Mapping[str, Scaling], cells: slice = slice(None), *, beyond: int = 0
) -> Inputs:
    """Read and normalise the inputs and the soil moisture of some cells over all days of ``cube``.

    Parameters
    ----------
    cube
        An opened cube, cut to the days wanted. Layers that are no input may be missing from it.
    scalings
        Statistics of these very cells, or of all.
    beyond
        Days to add behind the last, of which nothing is known.
    """
    count = len(range(*cells.indices(cube.sizes["cell"])))
    days = cube.sizes["time"]
    dynamic = np.full((count, days + beyond, len(task.dynamic)), np.nan, dtype=np.float32)
    static = np.empty((count, len(task.static)), dtype=np.float32)
    clipped = np.zeros((count, len(task.dynamic)), dtype=np.int64)
    for feature, name in enumerate(task.dynamic):
        values = scalings[name].normalise(read(cube, name, cells))
        dynamic[:, :days, feature], clipped[:, feature] = scalings[name].clip(values)
    for feature, name in enumerate(task.static):
        static[:, feature], _ = scalings[name].clip(scalings[name].normalise(read(cube, name, cells)))
    described = np.asarray(np.isfinite(static).all(axis=1))
    present = np.isfinite(dynamic)
    missing = days - np.count_nonzero(present[:, :days], axis=1)
    ready = _ready(present, described, task)
    known = [task.dynamic.index(name) for name in task.known_future]
    ahead = np.asarray(present[:, :, known].all(axis=2))
    np.nan_to_num(dynamic, copy=False)
    np.nan_to_num(static, copy=False)
    soil = {}
    for layer in task.soil_layers:
        values = np.full((count, days + beyond), np.nan, dtype=np.float32)
        if layer in cube:
            values[:, :days] = scalings[layer].normalise(read(cube, layer, cells))
        soil[layer] = values
    observed = np.stack([soil[layer] for layer in task.layers], axis=-1)
    lags = observed[..., :0]
    if task.lags:
        lags = np.stack([scalings[layer].clip(soil[layer])[0] for layer in task.lags], axis=-1)
    newest = newest_values(observed, task.fill_days)
    return Inputs(dynamic, static, observed, lags, newest, ready, ahead, missing, clipped)


def window_source(
    inputs: Inputs,
    layout: Layout,
    cube: xr.Dataset,
    days: Days,
    statistics: Statistics,
    cells: slice = slice(None),
    forecast: WeatherAhead | None = None,
    around: Indices | None = None,
    ready: Bools | None = None,
) -> WindowSource:
    """Give what windows of some cells are cut from.

    Parameters
    ----------
    inputs
        Of these cells.
    cube, cells
        The opened cube, and which of its cells these are.
    days
        The days of the inputs ``(time,)``.
    statistics
        Of these very cells, or of all.
    forecast
        The weather of the forecast days, if it is not that of the inputs.
    around
        Positions among these cells of those around each ``(cell, neighbour)``, if the network sees them.
    ready
        Where the inputs of these cells are there for a first forecast day ``(cell, time)``, if neighbours see them.
    """
    newest = inputs.newest if layout.task.sees_own_layers else inputs.newest[..., :0]
    rain, physical = torch.zeros(len(newest), 0, 2), torch.zeros(len(newest), 0)
    if layout.physical:
        rain, physical = _physical(layout, cube, statistics, cells)
    return WindowSource(
        dynamic=torch.from_numpy(inputs.dynamic),
        lags=torch.from_numpy(np.ascontiguousarray(inputs.lags)),
        newest=torch.from_numpy(np.ascontiguousarray(newest)),
        calendar=torch.from_numpy(day_of_year_waves(days)),
        static=torch.from_numpy(inputs.static),
        rain=rain,
        physical=physical,
        mass=_scaling_of("tp", statistics, len(newest)) if layout.mass else None,
        neighbours=None if around is None else torch.from_numpy(around),
        ready=None if ready is None else torch.from_numpy(ready),
        damped=_damped(statistics, days, len(newest)) if layout.damped else None,
        ahead=None if forecast is None else torch.from_numpy(forecast.values),
        first_issue=0 if forecast is None else forecast.first,
    )


def _scaling_of(name: str, statistics: Statistics, cells: int) -> torch.Tensor:
    """Offset and scale that a variable was normalised with ``(cell, 2)``."""
    scaling = statistics.scalings[name]
    return torch.from_numpy(spread_over_cells(np.stack((scaling.offset, scaling.scale), axis=-1), cells))


def refuse_without_grid(cube: xr.Dataset, task: Task) -> None:
    """Raise `SoilcastError` if cells around a cell are to be seen, and the cube has no grid that says which."""
    if task.neighbourhood > 1 and grid_of(cube) is None:
        raise SoilcastError(
            f"{cube.encoding.get('source', 'the cube')}: its cells are stations, basins or other units without a grid, "
            f"so that none is around another: set task.neighbourhood=1 (it is {task.neighbourhood}) and a network.name "
            "that sees each cell alone, such as lstm"
        )


def cells_around(cube: xr.Dataset, task: Task) -> Indices | None:
    """Give the positions of the cells around each cell that are seen (`soilcast.cube.neighbours`); None if none are."""
    if task.neighbourhood == 1:
        return None
    grid = grid_of(cube)
    assert grid is not None, "refused before"
    return neighbours(grid, task.neighbourhood)


def seen_cells(around: Indices | None, cells: slice) -> slice:
    """Give the cells whose inputs the windows of some cells hold: with all around them, and what lies between."""
    if around is None:
        return cells
    found = around[cells]
    there = found[found >= 0]
    return slice(min(cells.start, there.min(initial=cells.start)), max(cells.stop, there.max(initial=0) + 1))


def among(around: Indices, cells: slice) -> Indices:
    """Give the cells around some cells by their position among these; -1 for others ``(cell, neighbour)``."""
    found = around[cells]
    return np.where((found >= cells.start) & (found < cells.stop), found - cells.start, -1)


def _damped(statistics: Statistics, days: Days, cells: int) -> DampedAnomaly:
    assert statistics.climatology is not None, "learnt where forecasts depart from it"
    assert statistics.damping is not None, "learnt with the climatology"
    return DampedAnomaly(
        torch.from_numpy(annual_waves(days).astype(np.float32)),
        torch.from_numpy(spread_over_cells(statistics.climatology, cells)),
        torch.from_numpy(spread_over_cells(statistics.damping, cells)),
    )


def day_of_year_waves(days: Days) -> Floats:
    """Sine and cosine of the day of the year, ``(time, 2)``."""
    angle = 2 * np.pi * days.astype("datetime64[D]").astype(np.int64) / _YEAR
    return np.stack((np.sin(angle), np.cos(angle)), axis=1).astype(np.float32)


def any_of_next(days: Bools, leads: int, *, all_days: bool = False) -> Bools:
    """Say of which days that day and the following ``leads - 1``, any or all of them, are among ``days``."""
    counts = np.zeros((days.shape[0], days.shape[1] + leads), dtype=np.int32)
    np.cumsum(days, axis=1, out=counts[:, 1 : days.shape[1] + 1])
    counts[:, days.shape[1] + 1 :] = counts[:, days.shape[1], np.newaxis]
    found = counts[:, leads:] - counts[:, :-leads]
    return np.asarray(found == leads if all_days else found > 0)


def spread_over_cells(values: npt.NDArray[np.floating], cells: int) -> Floats:
    """Give every cell its row ``(cell, ...)``, where there is one for all."""
    return np.ascontiguousarray(np.broadcast_to(values, (cells, *values.shape[1:])), dtype=np.float32)


def _physical(
    layout: Layout, cube: xr.Dataset, statistics: Statistics, cells: slice
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the parts `rain` and `physical` of `WindowSource`."""
    count = len(range(*cells.indices(cube.sizes["cell"])))
    scalings = statistics.scalings
    pairs = [(scalings[name].offset, scalings[name].scale) for name, _ in layout.surface_inputs.values()]
    rain = np.moveaxis(np.asarray(pairs), -1, 0)
    of_layers = []
    for layer, name in enumerate(layout.task.layers):
        thickness = read(cube, thickness_name(name), cells)
        parts = (scalings[name].offset, scalings[name].scale, thickness, statistics.porosity[:, layer])
        of_layers += [np.broadcast_to(part, count) for part in parts]
    spread = spread_over_cells(rain, count), np.stack(of_layers, axis=-1).astype(np.float32)
    return torch.from_numpy(spread[0]), torch.from_numpy(spread[1])


def _ready(there: Bools, described: Bools, task: Task) -> Bools:
    """Whether all inputs are there that the window of a day sees ``(cell, time)``, from ``(cell, time, feature)``."""
    latencies = [task.latency_of(name) for name in task.dynamic]
    ready = np.repeat(described[:, np.newaxis], there.shape[1], axis=1)
    for latency in set(latencies):
        of_group = [feature for feature, days in enumerate(latencies) if days == latency]
        complete = there[:, :, of_group].all(axis=2) if len(of_group) < len(latencies) else there.all(axis=2)
        # Those of the days before a day that are known on the day before it.
        known = any_of_next(np.asarray(complete), task.window - latency, all_days=True)
        ready[:, task.window :] &= known[:, : -task.window]
    ready[:, : task.window] = False
    return ready
