"""Which forecasts are asked for, and whether they can be made: issue days, lead times, the weather ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import open_cube
from soilcast.errors import SoilcastError
from soilcast.forecasting.cells import match_cells
from soilcast.forecasting.weather import Weather, open_weather
from soilcast.training.inputs import refuse_missing_inputs
from soilcast.training.run import Run, open_run
from soilcast.training.split import period_slice

OBSERVED = "observed"
"""Stands for the weather of the cube itself in place of a forecast, which nobody knew on the issue day."""

Gaps = Literal["refuse", "missing"]


@dataclass(frozen=True)
class Request:
    """What is asked for, by paths and words: all that another process needs.

    Parameters
    ----------
    run, cube, period, issue, leads, weather, gaps, precision
        See `soilcast.forecasting.forecast`.
    units
        Its items, in order.
    """

    run: str
    cube: str
    period: str | None = None
    issue: str | None = None
    leads: int | None = None
    weather: str | None = None
    units: tuple[tuple[str, str], ...] = ()
    gaps: Gaps = "refuse"
    precision: str = "float32"

    def open(self) -> OpenedRequest:
        """Open the run, the cube and the forecast of the weather, and see that what is asked for can be made.

        Raises
        ------
        SoilcastError
            A damaged run or cube, missing inputs, more lead times than the run knows, days outside the cube, no
            forecast of the weather or one that does not do.
        """
        run, cube = open_run(self.run), open_cube(self.cube)
        refuse_missing_inputs(cube, run.config.task)
        if self.leads is not None and self.leads < 1:
            raise SoilcastError(f"--lead {self.leads}: lead times start at 1: give 1 or more")
        if self.leads is not None and self.leads > run.config.task.lead_days:
            raise SoilcastError(
                f"--lead {self.leads}: the run was trained for {run.config.task.lead_days} day(s) ahead: give at most "
                f"this, or train with --set task.lead_days={self.leads}"
            )
        leads = self.leads or run.config.task.lead_days
        if self.issue is None:
            return self._of_period(run, cube, leads)
        return self._of_issue_day(run, cube, leads)

    def absolute(self) -> Self:
        """Give the same with absolute paths, for processes with a working folder of their own."""
        weather = self.weather if self.weather in (None, OBSERVED) else str(Path(str(self.weather)).absolute())
        paths = {"run": str(Path(self.run).absolute()), "cube": str(Path(self.cube).absolute()), "weather": weather}
        return type(self)(**{**vars(self), **paths})

    def _of_period(self, run: Run, cube: xr.Dataset, leads: int) -> OpenedRequest:
        where, days = _source(cube), cube["time"].to_numpy()
        if self.weather not in (None, OBSERVED):
            raise SoilcastError(f"--weather {self.weather} needs an issue day: give it with --from")
        period = self.period or str(run.record["test_period"])
        test = period_slice(days, period, where, "the forecast period")
        issues = slice(max(test.start - 1, 0), test.stop - leads)
        if issues.stop <= issues.start:
            raise SoilcastError(
                f"{where}: the forecast period is shorter than {leads} lead days: choose a longer one, or a smaller "
                "--lead"
            )
        known = OBSERVED if run.config.task.known_future else "none"
        return OpenedRequest(self, run, cube, period, issues, leads, known)

    def _of_issue_day(self, run: Run, cube: xr.Dataset, leads: int) -> OpenedRequest:
        assert self.issue is not None, "an issue day"
        where, days, ahead = _source(cube), cube["time"].to_numpy(), run.config.task.known_future
        position = _position(days, self.issue, where)
        if ahead and self.weather is None:
            raise SoilcastError(
                f"the run needs {', '.join(ahead)} of the forecast days: give --weather FORECAST.nc, or --weather "
                "observed (weather of the cube, for evaluation only)"
            )
        if not ahead and self.weather is not None:
            raise SoilcastError(
                f"--weather {self.weather}: the run was trained without future weather: remove it, or train with "
                "--set task.known_future=[tp,t2m]"
            )
        if self.weather == OBSERVED and position + leads >= len(days):
            raise SoilcastError(
                f"{where}: it ends {np.datetime_as_string(days[-1], 'D')}, before the {leads} days after "
                f"{self.issue}: give --weather FORECAST.nc, or a smaller --lead"
            )
        weather, mark = None, "none"
        if ahead and self.weather != OBSERVED:
            assert self.weather is not None, "refused above"
            _, needed = match_cells(run, cube)
            units = dict(self.units)
            weather = open_weather(self.weather, cube, ahead, days[position], leads, units=units, needed=needed)
            mark = mark_of(Path(weather.path), units)
        known = "none" if not ahead else "forecast" if weather else OBSERVED
        period = self.period or str(run.record["test_period"])
        issues = slice(position, position + 1)
        return OpenedRequest(self, run, cube, period, issues, leads, known, weather, mark, is_single=True)


@dataclass(frozen=True, eq=False)
class OpenedRequest:
    """A request whose files are open, and that can be answered.

    Parameters
    ----------
    request
        What was asked for.
    run, cube
        Opened.
    period
        The test period, as the forecast names it.
    issues
        Positions of the issue days along the time of the cube.
    leads
        Lead times [d].
    weather_known
        What is known of the weather ahead, as the artifact says it: ``none``, ``observed`` or ``forecast``.
    weather
        Forecasts of the weather, if given.
    weather_mark
        Tells the forecast of the weather from others.
    is_single
        Whether it is the forecast of one issue day, with its products.
    """

    request: Request
    run: Run
    cube: xr.Dataset
    period: str
    issues: slice
    leads: int
    weather_known: str
    weather: Weather | None = None
    weather_mark: str = "none"
    is_single: bool = field(default=False, kw_only=True)

    @property
    def issue_days(self) -> npt.NDArray[np.datetime64]:
        """The issue days ``(issue,)``."""
        days: npt.NDArray[np.datetime64] = self.cube["time"].to_numpy()[self.issues]
        return days

    def file_marks(self, request: Request) -> tuple[str, str, str]:
        """Tell the run, the cube and the forecast of the weather from others, by the paths of ``request``."""
        mark = "none" if self.weather is None else mark_of(Path(str(request.weather)), dict(request.units))
        return str(self.run.record["weights_sha256"]), str(self.cube.attrs["content_sha256"]), mark


def mark_of(path: Path, units: Mapping[str, str] | None) -> str:
    """Tell a file or folder, read in some units, from others, and from itself once it is changed."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    sizes, times = (sum(getattr(file.stat(), part) for file in files) for part in ("st_size", "st_mtime_ns"))
    read_as = "".join(f", {name} in {unit}" for name, unit in sorted((units or {}).items()))
    return f"{path} ({len(files)} file(s), {sizes} bytes, {times}{read_as})"


def _source(cube: xr.Dataset) -> str:
    return str(cube.encoding.get("source", "the cube"))


def _position(days: npt.NDArray[np.datetime64], issue: str, where: str) -> int:
    try:
        wanted = np.datetime64(issue, "D")
    except ValueError as error:
        raise SoilcastError(f"--from {issue}: write a day, such as 2026-11-25") from error
    held = days.astype("datetime64[D]")
    if np.isnat(wanted) or not held[0] <= wanted <= held[-1]:
        raise SoilcastError(
            f"{where}: --from {issue} is outside the cube ({held[0]} .. {held[-1]}): update it with soilcast update, "
            "or choose a day within it"
        )
    return int((wanted - held[0]) / np.timedelta64(1, "D"))
