"""Which outlooks are asked for, and whether they can be made: issue days, days ahead, the weather of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.forecasting.blocks import match_cells
from soilcast.forecasting.weather import Weather, open_weather
from soilcast.training.run import Run
from soilcast.training.split import period_slice

OBSERVED = "observed"
"""What ``weather`` says for that of the cube itself, which nobody knew on the issue day."""

Gaps = Literal["refuse", "missing"]


@dataclass(frozen=True)
class Wanted:
    """Which outlooks are asked for.

    Parameters
    ----------
    issues
        Positions of the issue days along the time of the cube.
    leads
        Days ahead.
    single
        Whether it is the outlook of one issue day, with its products.
    weather
        Forecasts of the weather, if given.
    known
        What is known of the weather ahead, as the artifact says it: ``none``, ``observed`` or ``forecast``.
    gaps
        What becomes of cells without soil moisture to begin with.
    """

    issues: slice
    leads: int
    single: bool
    weather: Weather | None
    known: str
    gaps: Gaps


def choose_outlooks(
    run: Run,
    cube: xr.Dataset,
    *,
    period: str | None,
    issue: str | None,
    leads: int | None,
    weather: str | Path | None,
    units: Mapping[str, str] | None,
    gaps: Gaps,
) -> Wanted:
    """See which outlooks are asked for, and that they can be made.

    Parameters
    ----------
    period
        Days to forecast; by default the test period of the run, if no ``issue`` is given.
    issue
        The issue day, the last whose weather is known.
    leads
        Days ahead; by default all that the run was trained for.
    weather, units
        Forecast of the weather after the issue day, or ``observed``; units that it does not say.

    Raises
    ------
    SoilcastError
        More days ahead than the run knows, days outside the cube, no forecast of the weather or one that does not do.
    """
    most, where = run.config.outlook.lead_days, str(cube.encoding.get("source", "the cube"))
    days = cube["time"].to_numpy()
    if leads is not None and leads > most:
        raise SoilcastError(
            f"--lead {leads}: the run was trained for {most} day(s) ahead: ask for those, or train with "
            f"--set outlook.lead_days={leads}"
        )
    leads = leads or most
    ahead = run.config.inputs.known_future
    if issue is None:
        if weather not in (None, OBSERVED):
            raise SoilcastError(f"--weather {weather} is the forecast of one day: say which by --from")
        test = period_slice(days, period or run.record["test_period"], where, "the forecast period")
        issues = slice(test.start - 1, test.stop - leads)
        if test.start < 1 or issues.stop <= issues.start:
            raise SoilcastError(
                f"{where}: the forecast period has no room for {leads} days ahead of a day before it: choose a longer "
                "one, or a smaller --lead"
            )
        return Wanted(issues, leads, False, None, OBSERVED if ahead else "none", "missing")
    position = _position(days, issue, where)
    opened = None
    if ahead and weather is None:
        raise SoilcastError(
            f"the run knows {', '.join(ahead)} of the days ahead: give the forecast as --weather FORECAST.nc, or "
            "--weather observed for that of the cube, which nobody knew on the day"
        )
    if not ahead and weather is not None:
        raise SoilcastError(
            f"--weather {weather}: the run was trained without the weather ahead: leave it out, or train with --set "
            "inputs.known_future=[tp,t2m]"
        )
    if weather == OBSERVED and position + leads >= len(days):
        raise SoilcastError(
            f"{where}: it ends {np.datetime_as_string(days[-1], 'D')}, before the {leads} days after {issue}: give the "
            "forecast as --weather FORECAST.nc, or a smaller --lead"
        )
    if ahead and weather != OBSERVED:
        assert weather is not None
        _, needed = match_cells(run, cube)
        opened = open_weather(weather, cube, ahead, days[position], leads, units=units or {}, needed=needed)
    known = "none" if not ahead else "forecast" if opened else OBSERVED
    return Wanted(slice(position, position + 1), leads, True, opened, known, gaps)


def mark_of(path: Path, units: Mapping[str, str] | None) -> str:
    """Tell a file or folder, read in some units, from others, and from itself once it is changed."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    sizes, times = (sum(getattr(file.stat(), part) for file in files) for part in ("st_size", "st_mtime_ns"))
    read_as = "".join(f", {name} in {unit}" for name, unit in sorted((units or {}).items()))
    return f"{path} ({len(files)} file(s), {sizes} bytes, {times}{read_as})"


def _position(days: npt.NDArray[np.datetime64], issue: str, where: str) -> int:
    try:
        wanted = np.datetime64(issue, "D")
    except ValueError as error:
        raise SoilcastError(f"--from {issue}: write a day, such as 2026-11-25") from error
    held = days.astype("datetime64[D]")
    if np.isnat(wanted) or not held[0] <= wanted <= held[-1]:
        raise SoilcastError(
            f"{where}: --from {issue} is outside the cube ({held[0]} .. {held[-1]}): bring it up to date with soilcast "
            "update, or choose a day within it"
        )
    return int((wanted - held[0]) / np.timedelta64(1, "D"))
