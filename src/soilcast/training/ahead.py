"""The weather of the forecast days as it was forecast on each issue day: normalised like that which was observed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube.calendar import Days
from soilcast.errors import SoilcastError
from soilcast.task import Task
from soilcast.training.statistics import Scaling
from soilcast.weather import Weather, open_weather

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class WeatherAhead:
    """Forecasts of the weather for some cells.

    Parameters
    ----------
    values
        ``(cell, issue, lead, feature)`` float32, normalised; 0 where missing.
    known
        Whether all features of the lead are there, of every member ``(cell, issue, lead)``.
    first
        Position of the first issue day among the days of the inputs; the others follow day by day.
    """

    values: Floats
    known: Bools
    first: int = 0

    def first_days(self, days: int, leads: int) -> Bools:
        """Say which of ``days`` days can be the first forecast day: the forecast of the day before has all leads.

        Returns
        -------
        ``(cell, time)``.
        """
        complete = np.asarray(self.known[:, :, :leads].all(axis=2))
        usable = np.zeros((len(complete), days), dtype=np.bool_)
        count = min(complete.shape[1], days - self.first - 1)
        usable[:, self.first + 1 : self.first + 1 + count] = complete[:, :count]
        return usable


def open_archive(
    path: str | Path, cube: xr.Dataset, task: Task, days: Days, needed: Bools, units: Mapping[str, str]
) -> Weather:
    """Open an archive of weather forecasts to train with.

    Parameters
    ----------
    days
        The issue days ``(issue,)``; those that the archive lacks are missing.
    needed
        Cells that it must cover ``(cell,)``.
    units
        Variable -> unit, stronger than the archive's.

    Raises
    ------
    SoilcastError
        The task knows no weather ahead, the archive is of an ensemble, and what `soilcast.weather.open_weather` raises.
    """
    if not task.known_future:
        raise SoilcastError(
            f"--weather {path}: the task knows no weather of the forecast days: remove it, or name variables, such as "
            "--set task.known_future=[tp,t2m]"
        )
    weather = open_weather(path, cube, task.known_future, days, task.lead_days, units=units, needed=needed, gaps=True)
    if weather.members > 1:
        raise SoilcastError(
            f"{path}: has {weather.members} members, but one forecast of each issue day is learnt from: select one "
            "(xarray: ds.isel(number=0))"
        )
    return weather


def read_ahead(
    weather: Weather, scalings: Mapping[str, Scaling], cells: slice, leads: int, first: int = 0
) -> list[WeatherAhead]:
    """Read and normalise the forecasts of a block of cells, of each member.

    Parameters
    ----------
    weather
        Of issue days that follow each other.
    scalings
        Statistics of these very cells, or of all.
    leads
        Leads of the result; those that ``weather`` lacks are missing.
    first
        See `WeatherAhead`.
    """
    read = weather.values(cells)
    values = np.full((*read.shape[:3], leads, len(weather.names)), np.nan, dtype=np.float32)
    for member, forecasts in zip(values, read, strict=True):
        for position, name in enumerate(weather.names):
            normalised = scalings[name].normalise(forecasts[..., position])
            member[:, :, : weather.leads, position], _ = scalings[name].clip(normalised)
    known = np.asarray(np.isfinite(values).all(axis=(0, 4)))
    return [WeatherAhead(member, known, first) for member in np.nan_to_num(values, copy=False)]
