"""Which forecasts are asked for, and whether they can be made: issue days, lead times, the weather ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import open_cube
from soilcast.cube.calendar import day_of
from soilcast.cube.matching import find_places
from soilcast.errors import SoilcastError
from soilcast.training.inputs import missing_inputs, refuse_lacking
from soilcast.training.run import Run, open_run
from soilcast.training.split import period_slices
from soilcast.weather import Weather, open_weather

OBSERVED = "observed"
"""Stands for the weather of the cube itself in place of a forecast, which nobody knew on the issue day."""

Gaps = Literal["refuse", "missing"]


@dataclass(frozen=True)
class Request:
    """What is asked for, by paths and words: all that another process needs.

    Parameters
    ----------
    run, cube, period, issue, leads, gaps, precision, lapse_rate, memory
        See `soilcast.forecasting.forecast`.
    weather
        Its files, or `OBSERVED` alone; none where nothing is given.
    units
        Its items, in order.
    """

    run: str
    cube: str
    period: str | None = None
    issue: str | None = None
    leads: int | None = None
    weather: tuple[str, ...] = ()
    units: tuple[tuple[str, str], ...] = ()
    gaps: Gaps = "refuse"
    precision: str = "float32"
    lapse_rate: float | None = None
    memory: int | None = None

    @property
    def is_observed(self) -> bool:
        """Whether the weather of the cube itself stands for a forecast."""
        return self.weather == (OBSERVED,)

    def open(self, *, progress: bool = False) -> OpenedRequest:
        """Open the run, the cube and the forecast of the weather, and see that what is asked for can be made.

        Parameters
        ----------
        progress
            Show a progress bar while daily weather is made.

        Raises
        ------
        SoilcastError
            A damaged run or cube, missing inputs, cells that the run has not seen, more lead times than it knows, days
            outside the cube, no forecast of the weather or one that does not do.
        """
        run, cube = open_run(self.run), open_cube(self.cube)
        ahead, longest = run.config.task.known_future, run.config.task.lead_days
        refuse_lacking(cube, missing_inputs(cube, run.config.task, target=False))
        rows, usable = match_cells(run, cube)
        leads = longest if self.leads is None else self.leads
        if leads < 1:
            raise SoilcastError(f"--lead {leads}: lead times start at 1: give 1 or more")
        if leads > longest:
            raise SoilcastError(
                f"--lead {leads}: the run was trained for {longest} day(s) ahead: give at most this, or train "
                f"with --set task.lead_days={leads}"
            )
        period = str(run.record["test_period"]) if self.period is None else self.period
        weather, mark = None, "none"
        issues = _issues_of(period, cube, leads) if self.issue is None else np.array([_position(self.issue, cube)])
        self._refuse_weather(ahead, cube, int(issues[-1]), leads)
        if self.lapse_rate is not None and (self.is_observed or not self.weather):
            raise SoilcastError(
                "--lapse-rate: corrects a forecast of the weather: leave it out, or give --weather FILE"
            )
        if self.weather and not self.is_observed:
            days, units = cube["time"].to_numpy()[issues[0] : issues[-1] + 1], dict(self.units)
            options: dict[str, Any] = {"units": units, "needed": usable, "gaps": self.issue is None}
            options |= {"lapse_rate": self.lapse_rate, "memory": self.memory, "progress": progress}
            weather = open_weather(self.weather, cube, ahead, days, leads, **options)
            mark = f"{weather.sha256}{_read_as(units)}{self._corrected}"
        known = "none" if not ahead else OBSERVED if weather is None else weather.kind
        return OpenedRequest(self, run, cube, rows, usable, period, issues, leads, known, weather, mark)

    @property
    def _corrected(self) -> str:
        return "" if self.lapse_rate is None else f", temperature corrected by {self.lapse_rate:g} K km-1"

    def absolute(self) -> Self:
        """Give the same with absolute paths, for processes with a working folder of their own."""
        weather = self.weather if self.is_observed else tuple(str(Path(one).absolute()) for one in self.weather)
        paths = {"run": str(Path(self.run).absolute()), "cube": str(Path(self.cube).absolute()), "weather": weather}
        return type(self)(**{**vars(self), **paths})

    def _refuse_weather(self, ahead: tuple[str, ...], cube: xr.Dataset, position: int, leads: int) -> None:
        """Refuse a forecast of the weather if nothing is known of the days ahead, and none if something is."""
        if ahead and not self.weather and self.issue is not None:
            raise SoilcastError(
                f"the run needs {', '.join(ahead)} of the forecast days: give --weather FORECAST.nc, or --weather "
                "observed (weather of the cube, for evaluation only)"
            )
        if not ahead and self.weather and not (self.is_observed and self.issue is None):
            raise SoilcastError(
                f"--weather {self.weather[0]}: the run was trained without future weather: remove it, or train with "
                "--set task.known_future=[tp,t2m]"
            )
        if self.is_observed and self.issue is not None and position + leads >= cube.sizes["time"]:
            end = np.datetime_as_string(cube["time"].to_numpy()[-1], "D")
            raise SoilcastError(
                f"{cube.encoding.get('source', 'the cube')}: it ends {end}, before the {leads} days after "
                f"{self.issue}: give --weather FORECAST.nc, or a smaller --lead"
            )


@dataclass(frozen=True, eq=False)
class OpenedRequest:
    """A request whose files are open, and that can be answered.

    Parameters
    ----------
    request
        What was asked for.
    run, cube
        Opened.
    rows, usable
        Of each cell of the cube, the row of the run's statistics, and whether the run can forecast it ``(cell,)``.
    period
        The test period, as the forecast names it.
    issues
        Positions of the issue days along the time of the cube ``(issue,)``, ascending.
    leads
        Lead times [d].
    weather_known
        What is known of the weather ahead, as the artifact says it: ``none``, ``observed``, ``forecast`` or
        ``degraded``.
    weather
        Forecasts of the weather, if given, of every day from the first issue day to the last.
    weather_mark
        Tells the forecast of the weather from others.
    """

    request: Request
    run: Run
    cube: xr.Dataset
    rows: npt.NDArray[np.int64]
    usable: npt.NDArray[np.bool_]
    period: str
    issues: npt.NDArray[np.int64]
    leads: int
    weather_known: str
    weather: Weather | None = None
    weather_mark: str = "none"

    @property
    def issue_days(self) -> npt.NDArray[np.datetime64]:
        """The issue days ``(issue,)``."""
        days: npt.NDArray[np.datetime64] = self.cube["time"].to_numpy()[self.issues]
        return days

    @cached_property
    def places(self) -> npt.NDArray[np.int64]:
        """Cell of the run at the place of each cell of the cube ``(cell,)``; -1 where it knows none there."""
        lat, lon = (self.cube[name].to_numpy().astype(np.float64) for name in ("lat", "lon"))
        return find_places(self.run.lat, self.run.lon, lat, lon)

    def file_marks(self, request: Request) -> tuple[str, str, str]:
        """Tell the run, the cube and the forecast of the weather from others, by the paths of ``request``."""
        marks = (mark_of(Path(one), dict(request.units)) for one in request.weather)
        mark = "none" if self.weather is None else "; ".join(marks)
        return str(self.run.record["weights_sha256"]), str(self.cube.attrs["content_sha256"]), mark


def mark_of(path: Path, units: Mapping[str, str] | None) -> str:
    """Tell a file or folder, read in some units, from others, and from itself once it is changed."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    sizes, times = (sum(getattr(file.stat(), part) for file in files) for part in ("st_size", "st_mtime_ns"))
    return f"{path} ({len(files)} file(s), {sizes} bytes, {times}{_read_as(units or {})})"


def _read_as(units: Mapping[str, str]) -> str:
    return "".join(f", {name} in {unit}" for name, unit in sorted(units.items()))


def match_cells(run: Run, cube: xr.Dataset) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Row of the run's statistics for each cell of the cube, -1 for none, and whether the run can forecast the cell.

    Raises
    ------
    SoilcastError
        The run knows none of the cells.
    """
    lat, lon = cube["lat"].to_numpy(), cube["lon"].to_numpy()
    if run.config.normalise.scope == "global":
        return np.zeros(len(lat), dtype=np.int64), np.ones(len(lat), dtype=np.bool_)
    rows = find_places(run.lat, run.lon, lat.astype(np.float64), lon.astype(np.float64))
    if (rows < 0).all():
        raise SoilcastError(
            f"{cube.encoding.get('source', 'the cube')}: none of its {len(rows)} cells is a cell of the run, whose "
            "normalisation is per cell: train with --set normalise.scope=global to forecast elsewhere"
        )
    return rows, np.asarray(run.usable[rows] & (rows >= 0))


def _issues_of(period: str, cube: xr.Dataset, leads: int) -> npt.NDArray[np.int64]:
    """Positions of the issue days whose forecast days lie in a period, or in one of several."""
    where = str(cube.encoding.get("source", "the cube"))
    issues = []
    for wanted in period_slices(cube["time"].to_numpy(), period, where, "the forecast period"):
        issues.append(np.arange(max(wanted.start - 1, 0), wanted.stop - leads))
        if not len(issues[-1]):
            raise SoilcastError(
                f"{where}: the forecast period is shorter than {leads} lead days: choose a longer one, or a smaller "
                "--lead"
            )
    return np.concatenate(issues)


def _position(issue: str, cube: xr.Dataset) -> int:
    wanted = day_of(issue, "--from")
    held = cube["time"].to_numpy().astype("datetime64[D]")
    if not held[0] <= wanted <= held[-1]:
        raise SoilcastError(
            f"{cube.encoding.get('source', 'the cube')}: --from {issue} is outside the cube ({held[0]} .. {held[-1]}): "
            "update it with soilcast update, or choose a day within it"
        )
    return int((wanted - held[0]) / np.timedelta64(1, "D"))
