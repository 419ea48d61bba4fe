"""What is audited: a run, some cells of a cube, and forecasts of the run with inputs changed at will."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from soilcast.cube import open_cube, read
from soilcast.errors import SoilcastError
from soilcast.forecasting.request import match_cells
from soilcast.task import Layout, Task
from soilcast.training.build import layout_of
from soilcast.training.inputs import (
    Inputs,
    load_inputs,
    missing_inputs,
    refuse_lacking,
    spread_over_cells,
    window_source,
)
from soilcast.training.predictor import Predictor
from soilcast.training.run import Run, open_run
from soilcast.training.split import climate_groups, days_in, period_slices
from soilcast.training.statistics import Statistics, error_scale
from soilcast.training.windows import WindowSource
from soilcast.verify.climate import CLIMATES

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

MOST_CELLS = 60
"""Cells that are drawn at most, as many of each climate as there are."""

ALL = "all cells"
"""Name of the group of all cells that are drawn."""

_AT_ONCE = 1024


@dataclass(frozen=True)
class CellDays:
    """Samples by position: drawn cells, and first forecast days along `Subject.days`, both ``(sample,)``."""

    cells: Indices
    days: Indices

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, part: slice | Indices | Bools) -> CellDays:
        return CellDays(self.cells[part], self.days[part])

    def plus(self, days: int) -> CellDays:
        """Give the same cells so many days later."""
        return CellDays(self.cells, self.days + days)


@dataclass(frozen=True, eq=False)
class Subject:
    """A run, and what its forecasts of some cells of a cube are made from.

    Parameters
    ----------
    run
        What is audited.
    cube
        The cells that were drawn, in memory, with all days.
    cells
        Their positions in the cube ``(cell,)``.
    zone
        Main climate of each, its position in `CLIMATES` ``(cell,)``; -1 where the cube knows none.
    span
        Positions in the cube of the days of ``inputs``: those of the period, and a window before it.
    period
        Whether a day of ``inputs`` lies in the period that is audited ``(time,)``.
    statistics
        Of the cells that were drawn.
    inputs, source
        Of these days: normalised inputs, and what windows are cut from.
    ready
        Whether a day can be the first forecast day ``(cell, time)``: all inputs are there, and it and the further
        forecast days lie in the period.
    samples
        Cell-days that a probe draws at most.
    seed
        Of what is drawn.
    """

    run: Run
    cube: xr.Dataset
    cells: Indices
    zone: Indices
    span: slice
    period: Bools
    statistics: Statistics
    inputs: Inputs
    source: WindowSource
    ready: Bools
    samples: int
    seed: int

    @property
    def task(self) -> Task:
        """Of the run."""
        return self.run.config.task

    @property
    def layout(self) -> Layout:
        """Of the windows."""
        return layout_of(self.run.config)

    @property
    def days(self) -> npt.NDArray[np.datetime64]:
        """The days of the inputs ``(time,)``."""
        found: npt.NDArray[np.datetime64] = self.cube["time"].to_numpy()[self.span]
        return found

    @property
    def observed_layers(self) -> list[str]:
        """Layers that are forecast and that the cube has."""
        return [layer for layer in self.task.layers if layer in self.cube]

    def groups(self) -> dict[str, Indices]:
        """Drawn cells by main climate, and before them all, unless they are of one climate: name -> cells."""
        of_climates = {
            f"{one.letter} {one.name}": np.flatnonzero(self.zone == number) for number, one in enumerate(CLIMATES)
        }
        found = {name: cells for name, cells in of_climates.items() if len(cells)}
        if any(len(cells) == len(self.cells) for cells in found.values()):
            return found
        return {ALL: np.arange(len(self.cells)), **found}

    def random(self, *use: int) -> np.random.Generator:
        """Give random numbers of their own for each use."""
        return np.random.default_rng([self.seed, *use])

    def draw(self, among: Bools, use: int, most: int | None = None) -> CellDays:
        """Draw cell-days ``(cell, time)`` without repetition, as many as a probe may take; in the order of cells."""
        cells, days = np.nonzero(among)
        count = min(len(cells), self.samples if most is None else min(most, self.samples))
        kept = np.sort(self.random(use).choice(len(cells), size=count, replace=False))
        return CellDays(cells[kept], days[kept])

    def values(self, name: str) -> Array:
        """Values of a variable on the days of the inputs ``(cell, time)``, in its unit."""
        return np.asarray(self.cube[name].to_numpy()[:, self.span], dtype=np.float64)

    def observed(self, at: CellDays) -> Array:
        """Observed soil moisture ``(sample, lead, layer)`` [m3 m-3]; NaN where there is none."""
        ahead = np.minimum(at.days[:, np.newaxis] + np.arange(self.task.lead_days), len(self.days) - 1)
        nothing = np.full(ahead.shape, np.nan)
        found = [
            self.values(layer)[at.cells[:, np.newaxis], ahead] if layer in self.cube else nothing
            for layer in self.task.layers
        ]
        return np.stack(found, axis=-1)

    def forecast(self, at: CellDays, source: WindowSource | None = None) -> Array:
        """Forecast some cell-days, the mean of the distribution.

        Parameters
        ----------
        at
            What to forecast; every day with a whole window before it.
        source
            What windows are cut from, if it is not what was observed.

        Returns
        -------
        ``(sample, lead, layer)`` [m3 m-3].
        """
        config, source = self.run.config, source or self.source
        predictor = Predictor(self.run.networks, config, torch.device("cpu"))
        of_loss = error_scale(config.loss.space, self.statistics, self.task.layers)
        scale = None if of_loss is None else spread_over_cells(of_loss, len(self.cells))
        found = np.empty((len(at), self.task.lead_days, len(self.task.layers)))
        for start in range(0, len(at), _AT_ONCE):
            part = at[start : start + _AT_ONCE]
            windows = source.gather(self.layout, torch.from_numpy(part.cells), torch.from_numpy(part.days))
            of_cells = None if scale is None else torch.from_numpy(scale[part.cells])
            # The same number every time, so that two forecasts of the same samples have the same dropout.
            centre = predictor.from_windows(windows.unsqueeze(0), of_cells, start // _AT_ONCE).centre.numpy()
            found[start : start + _AT_ONCE] = self.restored(centre, part.cells)
        return found

    def restored(self, normalised: npt.NDArray[np.floating], cells: Indices) -> Array:
        """Undo the normalisation of ``(sample, lead, layer)``, as a forecast does."""
        found = np.empty(normalised.shape)
        for position, layer in enumerate(self.task.layers):
            scaling = self.statistics.scalings[layer].of_cells(cells)
            found[..., position] = scaling.restore(normalised[..., position])
        return np.clip(found, 0.0, 1.0) if self.run.config.head.predict != "level" else found


def open_subject(run: Path, cube: Path, period: str | None, samples: int, seed: int) -> Subject:
    """Open a run and a cube, draw cells, and read what forecasts of them are made from.

    Parameters
    ----------
    period
        Valid days; by default the run's test period.
    samples, seed
        See `Subject`.

    Raises
    ------
    SoilcastError
        What is needed is not there: cells of the run, its inputs, a period and its days, a forecast in it.
    """
    opened, data = open_run(run), open_cube(cube)
    task, where = opened.config.task, str(cube)
    if task.neighbourhood > 1:
        raise SoilcastError(
            f"{run}: it sees the cells around a cell too, which an audit does not draw: audit a run with "
            "task.neighbourhood=1"
        )
    refuse_lacking(data, missing_inputs(data, task, target=False))
    rows, usable = match_cells(opened, data)
    if not usable.any():
        raise SoilcastError(f"{where}: the run can forecast none of its cells: give the cube that it was trained on")
    text = opened.record["test_period"] if period is None else period
    if text is None:
        raise SoilcastError(f"{run}: the run has no test period: give --period, such as 2019")
    parts = period_slices(data["time"].to_numpy(), text, where, "the audited period")
    drawn = _draw_cells(usable, climate_groups(data), seed)
    chosen = _in_memory(data, drawn)
    first = max(0, parts[0].start - task.window - task.soil_latency - task.fill_days)
    days = slice(first, parts[-1].stop)
    inside = days_in(parts, days)
    statistics = opened.statistics.of_cells(rows[drawn])
    seen = chosen.isel(time=days)
    inputs = load_inputs(seen, task, statistics.scalings)
    source = window_source(inputs, layout_of(opened.config), chosen, seen["time"].to_numpy(), statistics)
    ready = inputs.first_days(task, task.lead_days) & inside
    for lead in range(1, task.lead_days):
        ready[:, :-lead] &= inside[lead:]
        ready[:, -lead:] = False
    if not ready.any():
        raise SoilcastError(
            f"{where}: no forecast of {text} can be made from it: inputs are missing, or the days before it; choose "
            "another --period"
        )
    zone = climate_groups(data)[drawn]
    return Subject(opened, chosen, drawn, zone, days, inside, statistics, inputs, source, ready, samples, seed)


def _draw_cells(usable: Bools, zone: Indices, seed: int) -> Indices:
    """Draw cells, of each climate in turn, until there are enough or no more."""
    shuffled = np.random.default_rng(seed).permutation(np.flatnonzero(usable))
    turn = np.empty(len(shuffled), dtype=np.int64)
    for one in np.unique(zone[shuffled]):
        of_zone = zone[shuffled] == one
        turn[of_zone] = np.arange(of_zone.sum())
    return np.sort(shuffled[np.argsort(turn, kind="stable")[:MOST_CELLS]])


def _in_memory(cube: xr.Dataset, cells: Indices) -> xr.Dataset:
    """Some cells of a cube, checked as they are read."""
    chosen = cube.isel(cell=cells)
    of_cells = {str(name): one for name, one in cube.data_vars.items() if "cell" in one.dims}
    values = {name: (one.dims, read(cube, name, cells), one.attrs) for name, one in of_cells.items()}
    coordinates = {name: chosen[name].load() for name in ("cell", "lat", "lon", "time")}
    return xr.Dataset(values, coordinates, cube.attrs)
