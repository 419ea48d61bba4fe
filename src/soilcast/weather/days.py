"""Which day each step of a weather forecast stands for."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import daily_axis
from soilcast.cube.calendar import Days, period_of
from soilcast.errors import SoilcastError
from soilcast.sources.netcdf import unit_of
from soilcast.sources.stamps import covered_days

STEPS = ("step", "lead", "lead_time", "leadtime", "forecast_period", "prediction_timedelta")
"""Names of a dimension that counts from the reference time of a forecast."""

TIMES = ("valid_time", "time")
"""Names of a dimension that holds dates."""

_REFERENCES = ("forecast_reference_time", "reference_time", "time")
_SECONDS = dict.fromkeys(("d", "day", "days"), 86400.0)
_SECONDS |= dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0)
_SECONDS |= dict.fromkeys(("min", "minute", "minutes"), 60.0)
_SECONDS |= dict.fromkeys(("s", "second", "seconds"), 1.0)
_LONGEST = 1e10  # seconds, some three centuries: beyond it nanoseconds overflow


def clock_of(variable: xr.DataArray, where: str) -> str:
    """Name of the dimension along which the days of a variable follow each other.

    Raises
    ------
    SoilcastError
        There is none.
    """
    clock = next((name for name in (*STEPS, *TIMES) if name in variable.dims), None)
    if clock is None:
        raise SoilcastError(
            f"{where}: {variable.name} has the dimensions ({', '.join(map(str, variable.dims))}), without time: a "
            f"dimension {', '.join(TIMES)}, {' or '.join(STEPS[:2])} is expected; rename it"
        )
    return clock


def days_of_steps(opened: xr.Dataset, clock: str, where: str) -> Days:
    """Days along a dimension of time or of steps.

    A step stands for the day that its valid time lies in, whatever the hour; where a file gives time bounds, for the
    day that these enclose.

    Parameters
    ----------
    opened
        The file.
    clock
        What `clock_of` gives.
    where
        File, for the messages.

    Returns
    -------
    Consecutive days at midnight, ``(time,)``, datetime64[ns].

    Raises
    ------
    SoilcastError
        There are no dates, or no reference time to count from; several steps a day; days are missing or go backwards.
    """
    stamps = _stamps(opened, clock, where)
    if stamps.dtype.kind == "M":
        days, counts = np.unique(stamps[~np.isnat(stamps)].astype("datetime64[D]"), return_counts=True)
        if (counts > 1).any():
            fullest = int(counts.argmax())
            raise SoilcastError(
                f"{where}: {counts[fullest]} steps along {clock} are on one day, {days[fullest]}, but one value per "
                "day is expected: aggregate to daily values (xarray: ds.resample(time='1D').mean(), .sum() for "
                "precipitation), or prepare a cube from it with soilcast prepare"
            )
    return daily_axis(stamps, where)


def positions_of_leads(days: Days, issue: np.datetime64, leads: int, where: str) -> slice:
    """Positions of the ``leads`` days after an issue day.

    Raises
    ------
    SoilcastError
        The days begin too late or end too early.
    """
    issued = issue.astype("datetime64[D]")
    first, last = issued + 1, issued + leads
    begin, end = days[0].astype("datetime64[D]"), days[-1].astype("datetime64[D]")
    if begin > first:
        raise SoilcastError(
            f"{where}: lacks {first}, the day after the issue day (it has {period_of(days)}): give a forecast issued "
            f"by {issued}, or --from {begin - 1}"
        )
    covered = int((min(end, last) - first).astype(int)) + 1
    if covered < 1:
        raise SoilcastError(
            f"{where}: lacks {first}, the day after the issue day (it has {period_of(days)}): give a newer forecast, "
            "or an earlier --from"
        )
    if covered < leads:
        raise SoilcastError(
            f"{where}: lacks {end + 1} (it has {period_of(days)}), so it covers {covered} of {leads} leads: use "
            f"--lead {covered} or a longer forecast"
        )
    start = int((first - begin).astype(int))
    return slice(start, start + leads)


def _stamps(opened: xr.Dataset, clock: str, where: str) -> npt.NDArray[np.generic]:
    """Valid time of each step; the day that its bounds enclose, where there are any."""
    dims: dict[Hashable, int] = {clock: opened.sizes[clock]}
    for name in ("valid_time", clock):
        if name not in opened.variables or (name in STEPS):
            continue
        single = [dim for dim, size in opened[name].sizes.items() if size == 1 and dim != clock]
        if opened[name].squeeze(single).sizes == dims:
            return covered_days(opened.squeeze(single), name, where)
    if clock not in opened.variables:
        raise SoilcastError(f"{where}: {clock} has no coordinate values: add the dates of its days")
    if clock in TIMES:
        raise SoilcastError(f"{where}: {clock} must have one dimension, but has {opened[clock].dims}")
    return _reference(opened, clock, where) + _durations(opened[clock], where)


def _reference(opened: xr.Dataset, clock: str, where: str) -> np.datetime64:
    """The time that steps count from."""
    named = [name for name in _REFERENCES if name in opened.variables]
    marked = [
        name
        for name, variable in opened.variables.items()
        if str(variable.attrs.get("standard_name")) == "forecast_reference_time"
    ]
    for name in (*marked, *named):
        values = opened[name].to_numpy().ravel()
        if values.dtype.kind != "M":
            continue
        if len(values) > 1:
            raise SoilcastError(
                f"{where}: has {len(values)} forecasts along {name}: select one (xarray: ds.sel({name}=...))"
            )
        if len(values) == 1 and not np.isnat(values[0]):
            return np.datetime64(values[0])
    raise SoilcastError(
        f"{where}: {clock} has no reference time: add the coordinate forecast_reference_time (a date with CF time "
        "units) or valid_time"
    )


def _durations(steps: xr.DataArray, where: str) -> npt.NDArray[np.timedelta64]:
    values = steps.to_numpy()
    if values.dtype.kind == "m":
        return np.asarray(values, dtype="timedelta64[ns]")
    unit = unit_of(steps.attrs)
    each = _SECONDS.get(unit or "")
    if each is None or values.dtype.kind not in "fiu":
        raise SoilcastError(
            f"{where}: {steps.name} has the unit {unit or 'none'}, not one of time: give it the units attribute days "
            "or hours"
        )
    seconds = values.astype(np.float64) * each
    if not (np.abs(seconds) < _LONGEST).all():
        raise SoilcastError(f"{where}: {steps.name} has implausible steps [{unit}]: correct its values or units")
    return np.rint(seconds).astype("timedelta64[s]").astype("timedelta64[ns]")
