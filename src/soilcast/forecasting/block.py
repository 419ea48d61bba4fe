"""The forecasts of a block of cells: the same to the bit whatever the block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from soilcast.forecasting.request import OpenedRequest
from soilcast.task import newest_age
from soilcast.training.ahead import WeatherAhead, read_ahead
from soilcast.training.build import layout_of
from soilcast.training.calibration_groups import Indices as Rows
from soilcast.training.calibration_groups import season_of
from soilcast.training.conformal import Calibration
from soilcast.training.inputs import (
    Counts,
    Inputs,
    among,
    cells_around,
    load_inputs,
    seen_cells,
    spread_over_cells,
    window_source,
)
from soilcast.training.predictor import PredictiveQuantiles, Predictor
from soilcast.training.split import climate_groups
from soilcast.training.statistics import Scaling, Statistics, error_scale
from soilcast.training.windows import WindowSource

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]
At = tuple[slice | Indices, slice | Indices]
"""Cells of a block, and issue days."""

_AT_ONCE = {True: {"cpu": 4096, "cuda": 65_536}, False: {"cpu": 1024, "cuda": 16_384}}
"""Windows that go through a network together, as sequences or one by one: on a CPU more fall out of the cache."""


@dataclass(frozen=True)
class BlockInputs:
    """What the forecasts of some cells are made from.

    Parameters
    ----------
    cells
        The cells.
    statistics
        Of these cells.
    inputs
        The variables of these cells, or of all that are seen around them too.
    first
        Position of the first of these cells in `inputs` and `sources`.
    sources
        Windows are cut from these, one for each forecast of the weather.
    ready
        Where all is there that a forecast needs ``(cell, issue)``.
    """

    cells: slice
    statistics: Statistics
    inputs: Inputs
    first: int
    sources: list[WindowSource]
    ready: Bools


@dataclass(frozen=True)
class BlockForecast:
    """Forecasts of some cells.

    Parameters
    ----------
    mean
        Of the predictive distribution ``(cell, issue, lead, layer)`` float32 [m3 m-3]; NaN where there is none.
    median
        Of the calibrated distribution, of the same shape; None without quantiles.
    quantiles
        ``(cell, issue, lead, layer, quantile)`` float32 [m3 m-3].
    age
        Age at the issue day of the soil moisture that the forecast begins from ``(cell, issue)`` float32 [d]; NaN where
        there is none. None if forecasts begin from none.
    without_soil, without_inputs
        ``(cell, issue)``, where soil moisture or another input is missing that a forecast needs.
    missing, clipped
        Of each dynamic input the days that were read on which it is missing or clipped ``(cell, feature)`` int64.
    """

    mean: Floats
    median: Floats | None
    quantiles: Floats
    age: Floats | None
    without_soil: Bools
    without_inputs: Bools
    missing: Counts
    clipped: Counts

    @property
    def central(self) -> Floats:
        """The central forecast: the median, or without quantiles the mean, which is then all that is known."""
        return self.mean if self.median is None else self.median


class BlockForecaster:
    """Forecasts the days after each of some issue days, for any block of cells of a cube.

    Cells go through the network in groups that begin at multiples of their size and depend on the number of issue days
    alone: what is forecast for a cell does not depend on the block that it is in.

    Parameters
    ----------
    opened
        What to forecast.
    threads
        Groups that are worked on at once.
    device
        Where to.
    """

    def __init__(self, opened: OpenedRequest, threads: int, device: torch.device) -> None:
        run, cube, issues = opened.run, opened.cube, opened.issues
        self._opened, self._threads, self._device = opened, threads, device
        self._layout = layout_of(run.config)
        task = self._layout.task
        # All lead times are forecast, as the network was trained to; those that nobody asked for are left out later.
        ahead = task.lead_days
        first = max(0, int(issues[0]) + 1 - task.window - task.soil_latency - task.fill_days)
        stop = min(int(issues[-1]) + 1 + ahead, cube.sizes["time"])
        self._beyond = int(issues[-1]) + 1 + ahead - stop
        self._seen = cube.isel(time=slice(first, stop))
        self._issues = issues - first
        days = cube["time"].to_numpy()[first:stop]
        after = days[-1:] + np.arange(1, self._beyond + 1) * np.timedelta64(1, "D")
        self._days = np.concatenate((days, after))
        self._lat = cube["lat"].to_numpy().astype(np.float64)
        self._around = cells_around(cube, task)
        self._cells, self._climate = opened.places, climate_groups(cube)
        self._predictor = Predictor(run.networks, run.config, device, opened.request.precision)
        self.closes = self._predictor.closes
        # Windows of one sequence are those of consecutive issue days.
        self._as_sequences = self._predictor.takes_sequences and issues[-1] - issues[0] == len(issues) - 1
        self._at_once = _AT_ONCE[self._as_sequences][device.type]
        self.group = 1 << max(0, (self._at_once // len(self._issues)).bit_length() - 1)

    def __call__(self, cells: slice) -> BlockForecast:
        """Forecast a block, which begins at a multiple of `group`."""
        return self.forecast(self.read(cells))

    def forecast(self, block: BlockInputs) -> BlockForecast:
        """Forecast a block from what was read."""
        run, task, ready, cells, statistics = (
            self._opened.run,
            self._layout.task,
            block.ready,
            block.cells,
            block.statistics,
        )
        of_loss = error_scale(run.config.loss.space, statistics, task.layers)
        scale = None if of_loss is None else spread_over_cells(of_loss, len(ready))
        centre, errors = self._predict(block, scale)
        centre[~ready], errors[~ready] = np.nan, np.nan
        if run.calibration is not None:
            errors = run.calibration.apply(errors, self._calibration_rows(run.calibration, cells))
        width = np.float32(1.0) if scale is None else (1 / scale)[:, np.newaxis, :, :, np.newaxis]
        quantiles = centre[..., np.newaxis] + errors * width
        age, there = self._age(block)
        mean, around = (self._restored(one, statistics.scalings) for one in (centre, quantiles))
        median = around[..., self._predictor.median] if task.quantiles else None
        if around.shape[-1] > len(task.quantiles):
            around = np.delete(around, self._predictor.median, axis=-1)
        able = np.broadcast_to(self._opened.usable[cells, np.newaxis], ready.shape)
        own = slice(block.first, block.first + len(ready))
        counts = block.inputs.missing[own], block.inputs.clipped[own]
        return BlockForecast(mean, median, around, age, able & ~there, able & there & ~ready, *counts)

    def _calibration_rows(self, calibration: Calibration, cells: slice) -> Rows:
        """Row of the calibration for each cell, issue day and lead ``(cell, issue, lead)``."""
        leads = np.arange(1, self._layout.task.lead_days + 1) * np.timedelta64(1, "D")
        valid = self._opened.issue_days[:, np.newaxis] + leads
        cell, climate = (one[cells, np.newaxis, np.newaxis] for one in (self._cells, self._climate))
        return calibration.rows_of(cell, climate, season_of(valid, self._lat[cells, np.newaxis, np.newaxis]))

    def closure_residual(self, cells: slice) -> float:
        """Give the largest residual [m] of the water balance of a block's forecasts, where the head closes it."""
        block = self.read(cells)
        pieces = self._windows(block, slice(0, len(block.ready)))
        return max((self._predictor.closure_residual(windows) for _, windows in pieces), default=0.0)

    def read(self, cells: slice) -> BlockInputs:
        """Read what a block is forecast from."""
        opened, task = self._opened, self._layout.task
        seen = seen_cells(self._around, cells)
        own = slice(cells.start - seen.start, cells.stop - seen.start)
        of_seen = opened.run.statistics.of_cells(opened.rows[seen])
        inputs = load_inputs(self._seen, task, of_seen.scalings, seen, beyond=self._beyond)
        forecasts: Sequence[WeatherAhead | None] = [None]
        if opened.weather is not None:
            forecasts = read_ahead(opened.weather, of_seen.scalings, seen, task.lead_days, int(self._issues[0]))
        complete = inputs.first_days(task, opened.leads, forecasts[0])
        ready = complete[own][:, self._issues + 1] & opened.usable[cells, np.newaxis]
        place = self._layout, opened.cube, self._days, of_seen, seen
        around = None if self._around is None else among(self._around, seen)
        known = None if around is None else complete & (opened.rows[seen] >= 0)[:, np.newaxis]
        sources = [window_source(inputs, *place, one, around, known) for one in forecasts]
        return BlockInputs(cells, of_seen.of_cells(own), inputs, own.start, sources, ready)

    def _predict(self, block: BlockInputs, scale: Floats | None) -> tuple[Floats, Floats]:
        """Give centre and errors of `PredictiveQuantiles` by cell and issue day, group by group of a block.

        What is not ready holds anything.
        """
        task, ready = self._layout.task, block.ready
        shape = (*ready.shape, task.lead_days, len(task.layers))
        centre = np.full(shape, np.nan, dtype=np.float32)
        errors = np.full((*shape, len(self._predictor.levels)), np.nan, dtype=np.float32)
        predictions = self._of_sequences if self._as_sequences else self._of_windows

        def work(group: slice) -> None:
            for at, found in predictions(block, scale, group):
                centre[at] = found.centre.numpy().reshape(centre[at].shape)
                errors[at] = found.errors.numpy().reshape(errors[at].shape)

        groups = [slice(first, min(first + self.group, len(ready))) for first in range(0, len(ready), self.group)]
        groups = [group for group in groups if ready[group].any()]
        if self._threads == 1 or self._device.type != "cpu":
            for group in groups:
                work(group)
            return centre, errors
        # One thread of torch each: small products gain little from more, and what is between them nothing.
        with ThreadPoolExecutor(self._threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(work, groups))
        return centre, errors

    def _of_sequences(
        self, block: BlockInputs, scale: Floats | None, group: slice
    ) -> Iterator[tuple[At, PredictiveQuantiles]]:
        """Forecast a group from whole sequences: where the forecasts are of, and what they are."""
        # Up to the last issue day: the days after it are forecast and not seen.
        window, stop = self._layout.task.window, int(self._issues[-1]) + 1
        days = slice(max(0, stop - len(self._issues) + 1 - window), stop)
        sequences = block.sources[0].sequences(self._layout, group, days, self._device)
        of_group = None if scale is None else torch.from_numpy(scale[group])
        count = sequences.shape[1] - window + 1
        with torch.inference_mode():
            yield (
                (group, slice(block.ready.shape[1] - count, None)),
                self._predictor.from_sequences(sequences, of_group),
            )

    def _of_windows(
        self, block: BlockInputs, scale: Floats | None, group: slice
    ) -> Iterator[tuple[At, PredictiveQuantiles]]:
        """Do what `_of_sequences` does window by window."""
        for number, (at, windows) in enumerate(self._windows(block, group)):
            of_cells = None if scale is None else torch.from_numpy(scale[at[0]])
            place = (block.cells.start + group.start) // self.group
            yield at, self._predictor.from_windows(windows, of_cells, place, number)

    def _windows(self, block: BlockInputs, group: slice) -> Iterator[tuple[tuple[Indices, Indices], Tensor]]:
        """Cut the windows of a group piece by piece: where they are, and ``(weather, step, sample, feature)``."""
        rows, issues = np.nonzero(block.ready[group])
        size = max(1, self._at_once // len(block.sources))
        for first in range(0, len(rows), size):
            piece = slice(first, first + size)
            at = rows[piece] + group.start, issues[piece]
            where, firsts = torch.from_numpy(at[0] + block.first), torch.from_numpy(self._issues[at[1]] + 1)
            yield at, torch.stack([one.gather(self._layout, where, firsts) for one in block.sources])

    def _age(self, block: BlockInputs) -> tuple[Floats | None, Bools]:
        """Age of the soil moisture that forecasts begin from ``(cell, issue)`` [d], and whether it is there."""
        task, ready = self._layout.task, block.ready
        if not task.sees_own_layers:
            return None, np.ones_like(ready)
        oldest = np.zeros(ready.shape, dtype=np.float32)
        ages = newest_age(block.inputs.observed[block.first : block.first + len(ready)], task.fill_days)
        for position, latency in enumerate(self._layout.layer_latency):
            back = self._issues - latency
            age = ages[:, np.maximum(back, 0), position] + np.float32(latency)
            oldest = np.maximum(oldest, np.where(back >= 0, age, np.float32(np.nan)))
        return oldest, np.isfinite(oldest)

    def _restored(self, values: Floats, scalings: Mapping[str, Scaling]) -> Floats:
        """Undo the normalisation of ``(cell, issue, lead, layer, ...)``, for the lead times that are asked for."""
        found = np.empty_like(values[:, :, : self._opened.leads])
        for position, layer in enumerate(self._layout.task.layers):
            found[:, :, :, position] = scalings[layer].restore(values[:, :, : self._opened.leads, position])
        # A change is added to what was observed, and may lead out of what soil can hold.
        return np.clip(found, 0.0, 1.0) if self._opened.run.config.head.predict != "level" else found
