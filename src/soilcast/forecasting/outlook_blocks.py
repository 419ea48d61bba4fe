"""The outlooks of a block of cells: what is known of them at each issue day, and what the run makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from soilcast.forecasting.blocks import match_cells
from soilcast.forecasting.weather import Weather
from soilcast.training.groups import climate_groups
from soilcast.training.inputs import Inputs, load_inputs
from soilcast.training.known import Known, horizon_of
from soilcast.training.normalise import Scaling
from soilcast.training.outlook_dataset import (
    day_of_year_waves,
    issue_days_ready,
    load_soil,
    physical_tensors,
    stack_layers,
)
from soilcast.training.outlook_statistics import newest_age, newest_values
from soilcast.training.predictive import Predictor
from soilcast.training.run import Run

Floats = npt.NDArray[np.float32]

_WINDOWS_AT_ONCE = {"cpu": 1024, "cuda": 16_384}
"""Windows that go through a network together."""


@dataclass(frozen=True)
class BlockOutlook:
    """Outlooks of some cells.

    Parameters
    ----------
    centre
        ``(cell, issue, lead, layer)`` float32 [m3 m-3]; NaN where there is none.
    quantiles
        ``(cell, issue, lead, layer, level)`` float32 [m3 m-3].
    age
        Age at the issue day of the soil moisture that the forecast begins from ``(cell, issue)`` float32 [d]; NaN where
        there is none. None if forecasts begin from none.
    without_soil, without_weather
        ``(cell, issue)``, where soil moisture or weather is missing that a forecast needs.
    """

    centre: Floats
    quantiles: Floats
    age: Floats | None
    without_soil: npt.NDArray[np.bool_]
    without_weather: npt.NDArray[np.bool_]


class OutlookForecaster:
    """Forecasts the days after each of some issue days, for any block of cells of a cube.

    Cells go through the network one group after the other, and groups begin at multiples of their size: what is
    forecast for a cell does not depend on the block that it is in.

    Parameters
    ----------
    run
        What to forecast with.
    cube
        An opened cube.
    issues
        Positions of the issue days along its time.
    leads
        Days ahead.
    weather
        Forecasts of the weather after the only issue day; without them what is known ahead is the cube's own.
    precision
        ``float32``, or ``bfloat16`` for the matrix products.
    device
        Where to.

    Raises
    ------
    SoilcastError
        The run has statistics of each cell, and the cube has others.
    """

    def __init__(
        self,
        run: Run,
        cube: xr.Dataset,
        issues: slice,
        leads: int,
        weather: Weather | None,
        precision: str,
        device: torch.device,
    ) -> None:
        assert run.outlook is not None, "not a run of outlooks"
        self._statistics, self._calibration = run.outlook, run.calibration
        assert weather is None or issues.stop - issues.start == 1, "weather is forecast on one day"
        self.run, self._weather, self._leads = run, weather, leads
        self._rows, self._known = match_cells(run, cube)
        self._horizon = horizon_of(run.config)
        # All days ahead are forecast, as the network was taught to; those beyond `leads` are left out at the end.
        ahead = self._horizon.leads
        inputs = run.config.inputs
        first = max(0, issues.start - inputs.sequence_length - self._horizon.latency - inputs.fill_days)
        stop = min(issues.stop + ahead, cube.sizes["time"])
        self._beyond = issues.stop + ahead - stop
        self._cube, self._seen = cube, cube.isel(time=slice(first, stop))
        self._issues = np.arange(issues.start - first, issues.stop - first)
        days = cube["time"].to_numpy()[first:stop]
        after = days[-1] + np.arange(1, self._beyond + 1) * np.timedelta64(1, "D")
        self._calendar = torch.from_numpy(day_of_year_waves(np.concatenate((days, after))))
        self._groups = climate_groups(cube)
        self._predict = Predictor(run.networks, run.config, device, precision)
        self._at_once = _WINDOWS_AT_ONCE[device.type]
        self.group = max(1, self._at_once // len(self._issues))

    def __call__(self, cells: slice) -> BlockOutlook:
        """Forecast a block, which begins at a multiple of `group`."""
        config, layers = self.run.config, self.run.config.layers
        rows = self._rows[cells]
        scalings = {name: scaling.of_cells(rows) for name, scaling in self.run.scalings.items()}
        statistics = self._statistics.of_cells(rows)
        inputs = load_inputs(self._seen, config.inputs, scalings, cells, beyond=self._beyond)
        soil = load_soil(self._seen, config, scalings, cells, beyond=self._beyond)
        observed = stack_layers(soil, layers, inputs.ready.shape)
        newest = newest_values(observed, config.inputs.fill_days)
        versions = self._with_weather(inputs, scalings, cells)
        firsts = self._issues + 1
        ready = issue_days_ready(config, inputs.ready, versions[0].ahead, newest, self._leads)[:, firsts]
        ready &= self._known[cells, np.newaxis]
        horizon = self._horizon
        shared = {
            "lags": torch.from_numpy(stack_layers(soil, config.inputs.lags, inputs.ready.shape)),
            "anchor": torch.from_numpy(newest),
            "calendar": self._calendar,
            "static": torch.from_numpy(inputs.static),
            **physical_tensors(self._cube, config, scalings, statistics, cells),
        }
        known = [Known(dynamic=torch.from_numpy(one.dynamic), **shared) for one in versions]
        sharpness = np.broadcast_to(1 / statistics.persistence_error, (len(ready), horizon.leads, len(layers)))
        shape = (*ready.shape, horizon.leads, len(layers))
        centre = np.full(shape, np.nan, dtype=np.float32)
        errors = np.full((*shape, len(config.outlook.levels)), np.nan, dtype=np.float32)
        for number, piece, at in self._parts(cells, ready, len(known)):
            where, days = torch.from_numpy(at[0]), torch.from_numpy(firsts[at[1]])
            windows = torch.stack([one.gather(horizon, where, days) for one in known])
            sharp = torch.from_numpy(np.ascontiguousarray(sharpness[at[0]], dtype=np.float32))
            said = self._predict(windows, sharp, number, piece)
            centre[at], errors[at] = said.centre.numpy(), said.errors.numpy()
        if self._calibration is not None:
            errors = self._calibration.apply(errors, self._groups[cells])
        width = statistics.persistence_error[:, np.newaxis, :, :, np.newaxis]
        quantiles = centre[..., np.newaxis] + errors * width.astype(np.float32)
        age, there = None, np.ones_like(ready)
        if horizon.anchored:
            back = firsts - 1 - horizon.latency
            old = newest_age(observed, config.inputs.fill_days)[:, np.maximum(back, 0)] + np.float32(horizon.latency)
            age = np.where(back >= 0, old, np.float32(np.nan)).astype(np.float32)
            there = np.isfinite(age)
        able = np.broadcast_to(self._known[cells, np.newaxis], ready.shape)
        restored, around = (self._restored(one, scalings) for one in (centre, quantiles))
        return BlockOutlook(restored, around, age, able & ~there, able & there & ~ready)

    def _parts(
        self, cells: slice, ready: npt.NDArray[np.bool_], weathers: int
    ) -> Iterator[tuple[int, int, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]]:
        """Cells and issue days that go through the network together, and the numbers of their group and piece."""
        size = max(1, self._at_once // weathers)
        for start in range(0, len(ready), self.group):
            rows, days = np.nonzero(ready[start : start + self.group])
            for first in range(0, len(rows), size):
                piece = slice(first, first + size)
                yield (cells.start + start) // self.group, first // size, (rows[piece] + start, days[piece])

    def _with_weather(self, inputs: Inputs, scalings: Mapping[str, Scaling], cells: slice) -> list[Inputs]:
        """Put each forecast of the weather where the days ahead are; without one the cube's own stays."""
        if self._weather is None:
            return [inputs]
        config = self.run.config.inputs
        first = int(self._issues[0]) + 1
        versions = []
        for member in self._weather.values(cells):
            dynamic, ahead = inputs.dynamic.copy(), inputs.ahead.copy()
            days = slice(first, first + member.shape[1])
            dynamic[:, first:] = 0.0
            ahead[:, first:] = False
            for position, name in enumerate(config.known_future):
                values = scalings[name].normalise(member[:, :, position])
                dynamic[:, days, config.dynamic.index(name)] = np.nan_to_num(values)
            ahead[:, days] = np.isfinite(member).all(axis=2)
            versions.append(Inputs(dynamic, inputs.static, inputs.ready, ahead))
        return versions

    def _restored(self, values: Floats, scalings: Mapping[str, Scaling]) -> Floats:
        """Undo the normalisation of ``(cell, issue, lead, layer, ...)`` and keep water between none and all space."""
        found = np.empty_like(values[:, :, : self._leads])
        for position, layer in enumerate(self.run.config.layers):
            found[:, :, :, position] = scalings[layer].restore(values[:, :, : self._leads, position])
        return np.clip(found, 0.0, 1.0)
