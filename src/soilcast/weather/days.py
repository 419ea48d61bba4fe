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

_REFERENCES = ("forecast_reference_time", "reference_time", "init_time", "time")
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


def issue_dim_of(opened: xr.Dataset, variable: xr.DataArray, clock: str) -> str:
    """Name of the dimension of issue days in an archive; empty where a file holds one forecast."""
    named = [name for name in (*_marked(opened), *_REFERENCES) if name != clock and variable.sizes.get(name, 1) > 1]
    return named[0] if named and clock in STEPS else ""


def archive_axes(opened: xr.Dataset, issue: str, clock: str, where: str) -> tuple[Days, npt.NDArray[np.int64]]:
    """Issue days and leads of an archive of forecasts.

    A forecast is issued on the day that its reference time lies in, and a step has the lead of the day that its valid
    time lies in.

    Parameters
    ----------
    opened
        The file.
    issue, clock
        What `issue_dim_of` and `clock_of` give.
    where
        File, for the messages.

    Returns
    -------
    The issue days ``(issue,)``, datetime64[D], in the order of the file, and the leads ``(lead,)`` [d].

    Raises
    ------
    SoilcastError
        There are no dates or durations, two forecasts of a day or of other hours, or several steps a day.
    """
    references = reference_times(opened, issue, clock, where)
    days = references.astype("datetime64[D]")
    unique, counts = np.unique(days, return_counts=True)
    if (counts > 1).any():
        raise SoilcastError(
            f"{where}: {counts.max()} forecasts along {issue} are issued on {unique[counts.argmax()]}, but one a day "
            f"is expected: select one (xarray: ds.isel({issue}=...))"
        )
    hours = np.unique(references - days)
    if len(hours) > 1:
        raise SoilcastError(
            f"{where}: forecasts along {issue} are issued at different hours, but one is expected: select those of one "
            f"(xarray: ds.sel({issue}=ds.{issue}.dt.hour == 0))"
        )
    if clock not in opened.variables:
        raise SoilcastError(f"{where}: {clock} has no coordinate values: add the leads, with the unit days")
    leads = np.floor((hours[0] + durations(opened[clock], where)) / np.timedelta64(1, "D")).astype(np.int64)
    if len(np.unique(leads)) < len(leads):
        raise SoilcastError(f"{where}: {_several_a_day(len(leads) // len(np.unique(leads)), clock, 'one lead')}")
    return days, leads


def slice_of_leads(available: npt.NDArray[np.int64], leads: int, where: str) -> slice:
    """Positions of the leads 1 to ``leads`` among those of an archive.

    Raises
    ------
    SoilcastError
        One of them is missing, or they are in another order.
    """
    start = int(np.argmax(available == 1)) if (available == 1).any() else len(available)
    here = available[start : start + leads]
    covered = int(np.argmin(np.append(here == np.arange(1, len(here) + 1), False)))
    if covered < leads:
        remedy = f"use --lead {covered} or a longer forecast" if covered else "give a forecast that begins with lead 1"
        raise SoilcastError(
            f"{where}: lacks lead {covered + 1} (it has {available.min()} .. {available.max()} days), so it covers "
            f"{covered} of {leads} leads: {remedy}"
        )
    return slice(start, start + leads)


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
            what = f"one day, {days[fullest]}"
            raise SoilcastError(f"{where}: {_several_a_day(int(counts[fullest]), clock, what)}")
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


def _several_a_day(count: int, clock: str, day: str) -> str:
    return (
        f"{count} steps along {clock} are on {day}, but one value per day is expected: give the forecast as its centre "
        "writes it (GRIB, or NetCDF with its attributes), of which daily values are made"
    )


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
    return _reference(opened, clock, where) + durations(opened[clock], where)


def _reference(opened: xr.Dataset, clock: str, where: str) -> np.datetime64:
    """The time that steps count from."""
    named = [name for name in _REFERENCES if name in opened.variables]
    for name in (*_marked(opened), *named):
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


def _marked(opened: xr.Dataset) -> list[str]:
    """Names of the variables that say of themselves that they are reference times."""
    return [
        str(name)
        for name, variable in opened.variables.items()
        if str(variable.attrs.get("standard_name")) == "forecast_reference_time"
    ]


def reference_times(
    opened: xr.Dataset, issue: str, clock: str, where: str, *, needed: bool = True
) -> npt.NDArray[np.datetime64]:
    """Starts of the forecasts of a file, ``(issue,)``.

    Parameters
    ----------
    opened
        The file.
    issue, clock
        What `issue_dim_of` and `clock_of` give.
    where
        File, for the messages.
    needed
        Raise if a file that holds one forecast does not say when it starts; else give none.

    Raises
    ------
    SoilcastError
        There are no dates.
    """
    if not issue:
        try:
            return np.array([_reference(opened, clock, where)])
        except SoilcastError:
            if needed:
                raise
            return np.empty(0, dtype="datetime64[ns]")
    references = opened[issue].to_numpy() if issue in opened.variables else np.empty(0)
    if references.dtype.kind != "M" or np.isnat(references).any():
        raise SoilcastError(f"{where}: {issue} has no dates: give it the issue days as CF times")
    return np.asarray(references)


def durations(steps: xr.DataArray, where: str) -> npt.NDArray[np.timedelta64]:
    """Steps as durations, by their unit where they are numbers.

    Raises
    ------
    SoilcastError
        They have no unit of time, or are implausibly long.
    """
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
