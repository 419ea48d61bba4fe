"""What if: the run evaluated once more for one cell, with more rain or heat on the coming days."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube.store import read
from soilcast.errors import SoilcastError
from soilcast.serving.catalogue import Collection, Instance
from soilcast.serving.faults import NotThereError, RequestError, UnavailableError
from soilcast.serving.record import Record
from soilcast.serving.turns import Turns
from soilcast.serving.values import told_of

if TYPE_CHECKING:
    from soilcast.training.run import Run
    from soilcast.weather import Weather

Numbers = npt.NDArray[np.float64]

_MM = 1e-3
_WETTEST, _HOTTEST = 500.0, 20.0
_HEATED = ("t2m", "mx2t", "mn2t")
"""Variables that heat is added to."""

_MARGIN = 40
"""Days before the window of a run that are taken along [d]."""


class WhatIf:
    """Evaluates runs with altered weather.

    Parameters
    ----------
    runs
        Hash of the weights -> folder of the run.
    record
        The cube that forecasts began from.
    weather
        Files of the weather forecasts that they were made with; none where that was the cube's own.
    """

    def __init__(self, runs: Mapping[str, Path], record: Record | None, weather: Sequence[str | Path]) -> None:
        self._runs, self._record, self._weather = runs, record, [str(one) for one in weather]
        self._loaded: dict[str, Run] = {}
        self._turns = Turns(1, 8)

    def refusal(self, collection: Collection) -> str | None:
        """Say in a line why no weather can be altered for a collection; None if it can."""
        attributes = collection.newest.file.attributes
        if attributes.get("weather", "none") == "none":
            return "the run knows no weather of the coming days, so altered weather does not move its forecast"
        if _sees_neighbours(attributes):
            return "the run sees the cells around a cell too, whose weather is not altered with it"
        if self._run_of(collection.newest) is None:
            return "the run of these forecasts is not served: start with --run RUN"
        if self._record is None:
            return "the cube that the forecasts begin from is not served: start with --cube CUBE"
        if attributes.get("weather") != "observed" and not self._weather:
            return "the weather that the forecasts were made with is not served: start with --weather FILES"
        return None

    def evaluate(
        self, collection: Collection, instance: Instance, cell: int, rain: Sequence[float], heat: Sequence[float]
    ) -> dict[str, Any]:
        """Forecast a cell with the weather as it was forecast, and with more rain and heat.

        Parameters
        ----------
        cell
            Position among the cells of the collection.
        rain
            What is added to the precipitation of each coming day [mm]; 0 on days beyond.
        heat
            What is added to the temperature of each coming day [K]; 0 on days beyond.

        Returns
        -------
        ``{days, leads, layers: {name: {as_forecast, changed}}}`` [m3 m-3].

        Raises
        ------
        RequestError
            It cannot be altered, or what is added is not possible.
        """
        if (refusal := self.refusal(collection)) is not None:
            raise RequestError(refusal)
        added = _added(instance, rain, _WETTEST, "rain", "mm"), _added(instance, heat, _HOTTEST, "heat", "K")
        path = self._run_of(instance)
        if path is None or self._record is None:
            raise RequestError("the run of this forecast is not served: start with --run RUN")
        with self._turns.turn():  # one network at a time
            try:
                forecasts = [self._forecast(path, instance, cell, *one) for one in ((None, None), added)]
            except SoilcastError as error:
                raise UnavailableError(
                    f"not possible for this issue day: {told_of(error, self._record.path)}"
                ) from error
        layers = {
            layer: {
                "as_forecast": np.ascontiguousarray(forecasts[0][:, position]),
                "changed": np.ascontiguousarray(forecasts[1][:, position]),
            }
            for position, layer in enumerate(str(instance.file.attributes["targets"]).split(","))
        }
        return {"days": instance.valid_days, "leads": list(instance.file.leads), "layers": layers}

    def _run_of(self, instance: Instance) -> Path | None:
        return self._runs.get(str(instance.file.attributes.get("weights_sha256")))

    def _forecast(
        self, path: Path, instance: Instance, cell: int, rain: Numbers | None, heat: Numbers | None
    ) -> npt.NDArray[np.float32]:
        """Central forecast ``(lead, layer)`` of one cell."""
        # Imported here, since it brings torch along, which maps do not need.
        import torch

        from soilcast.forecasting.block import BlockForecaster
        from soilcast.forecasting.request import OpenedRequest, Request, match_cells
        from soilcast.training.run import open_run
        from soilcast.weather import open_weather

        if str(path) not in self._loaded:
            self._loaded[str(path)] = open_run(path)
        run, assert_record = self._loaded[str(path)], self._record
        assert assert_record is not None
        task, leads = run.config.task, instance.file.leads[-1]
        cube = self._cube_of(instance, cell, task.window + task.soil_latency + task.fill_days)
        issue = np.flatnonzero(cube["time"].to_numpy().astype("datetime64[D]") == instance.issue)
        weather: Weather | None = None
        if instance.file.attributes["weather"] == "observed":
            if int(issue[0]) + leads >= cube.sizes["time"]:
                raise SoilcastError("the cube ends before the last of the coming days: give --weather FILES")
            cube = _altered_cube(cube, task.known_future, int(issue[0]), rain, heat)
        else:
            weather = open_weather(self._weather, cube, task.known_future, instance.issue, leads)
            weather = _altered_weather(weather, rain, heat)
        rows, usable = match_cells(run, cube)
        if not usable[0]:
            raise NotThereError("the run does not forecast this cell")
        request = Request(str(path), "", issue=str(instance.issue), leads=leads, gaps="missing")
        known = "observed" if weather is None else weather.kind
        opened = OpenedRequest(request, run, cube, rows, usable, "", issue, leads, known, weather)
        forecaster = BlockForecaster(opened, 1, torch.device("cpu"))
        return np.asarray(forecaster(slice(0, 1)).central[0, 0, :leads], dtype=np.float32)

    def _cube_of(self, instance: Instance, cell: int, before: int) -> xr.Dataset:
        """One cell of the cube in memory, with the days that a forecast needs."""
        assert self._record is not None
        _, cube = self._record.opened()
        place = int(self._record.cells_of(instance.file.cells)[cell])
        if place < 0:
            raise NotThereError("the cube does not have this cell")
        days = cube["time"].to_numpy().astype("datetime64[D]")
        at = int(np.searchsorted(days, instance.issue))
        if at == len(days) or days[at] != instance.issue:
            raise SoilcastError(f"the cube ends {days[-1]}, before the issue day {instance.issue}: give the cube of it")
        first, stop = max(0, at - before - _MARGIN), min(at + instance.file.leads[-1] + 1, len(days))
        chosen = cube.isel(cell=slice(place, place + 1))
        chosen = chosen.isel(time=slice(first, stop))
        values = {
            str(name): (one.dims, read(chosen, str(name)), one.attrs)
            for name, one in chosen.data_vars.items()
            if "cell" in one.dims
        }
        coordinates = {name: chosen[name].load() for name in ("cell", "lat", "lon", "time")}
        return xr.Dataset(values, coordinates, chosen.attrs)


def _sees_neighbours(attributes: Mapping[str, Any]) -> bool:
    """Whether a forecast is of a run that sees the cells around each cell."""
    try:
        return bool(json.loads(attributes.get("config", "{}"))["task"]["neighbourhood"] > 1)
    except (ValueError, KeyError, TypeError):
        return False  # made by an earlier version, or by others


def _added(instance: Instance, numbers: Sequence[float], most: float, what: str, unit: str) -> Numbers:
    leads = len(instance.file.leads)
    if len(numbers) > leads or not all(np.isfinite(one) and -most <= one <= most for one in numbers):
        raise RequestError(f"{what}: give at most {leads} numbers of -{most:g} to {most:g} {unit}, one a coming day")
    return np.pad(np.asarray(numbers, dtype=np.float64), (0, leads - len(numbers)))


def _altered_cube(
    cube: xr.Dataset, names: Sequence[str], issue: int, rain: Numbers | None, heat: Numbers | None
) -> xr.Dataset:
    """Add rain and heat to the days after an issue day."""
    if rain is None or heat is None:
        return cube
    altered = {}
    for name in _names(names, rain, heat):
        values = cube[name].to_numpy().copy()
        ahead = values[:, issue + 1 : issue + 1 + len(rain)]
        ahead[:] = _altered(name, ahead, rain, heat)
        altered[name] = (cube[name].dims, values, cube[name].attrs)
    return cube.assign(altered)


def _altered_weather(weather: Weather, rain: Numbers | None, heat: Numbers | None) -> Weather:
    values = weather.values()
    if rain is not None and heat is not None:
        for name in _names(weather.names, rain, heat):
            ahead = values[..., weather.names.index(name)]
            ahead[:] = _altered(name, ahead, rain, heat)
    return replace(weather, held=values)


def _names(names: Sequence[str], rain: Numbers, heat: Numbers) -> list[str]:
    """Variables to alter among those that a run knows ahead.

    Raises
    ------
    RequestError
        It knows none of what is to be altered.
    """
    heated = [name for name in _HEATED if name in names]
    if rain.any() and "tp" not in names:
        raise RequestError(f"rain: the run knows no precipitation of the coming days, only {', '.join(names)}")
    if heat.any() and not heated:
        raise RequestError(f"heat: the run knows no temperature of the coming days, only {', '.join(names)}")
    return [*(["tp"] if rain.any() else []), *(heated if heat.any() else [])]


def _altered(name: str, ahead: npt.NDArray[Any], rain: Numbers, heat: Numbers) -> npt.NDArray[Any]:
    """Values ``(..., lead)`` with rain or heat added; there is no less rain than none."""
    return np.maximum(ahead + rain * _MM, 0.0) if name == "tp" else ahead + heat
