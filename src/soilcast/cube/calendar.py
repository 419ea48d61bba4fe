"""The time axis of a cube: daily, a real calendar, no gaps."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from soilcast.errors import SoilcastError

Days = npt.NDArray[np.datetime64]

_REAL_CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
_DATE = re.compile(r"\d{4}(-\d{2}){0,2}", re.ASCII)
# Days outside these overflow datetime64[ns], which wraps around in silence.
_EARLIEST, _LATEST = np.datetime64("1678-01-01"), np.datetime64("2261-12-31")


def daily_axis(times: Any, where: str) -> Days:
    """Check that times are consecutive days of a real calendar.

    Parameters
    ----------
    times
        The file's decoded times, ``(time,)``: datetime64, or the cftime objects that xarray gives for a model calendar.
    where
        File, for the message.

    Returns
    -------
    The days at midnight, ``(time,)``, datetime64[ns].

    Raises
    ------
    SoilcastError
        No day, times that are not dates, a model calendar (360 days, no leap years), days that repeat,
        run backwards, are missing or lie outside 1678 .. 2261.
    """
    values = np.ravel(times)
    if values.size == 0:
        raise SoilcastError(f"{where}: the time axis is empty")
    calendar = getattr(values.flat[0], "calendar", None)
    if calendar in _REAL_CALENDARS:
        values = np.array([moment.isoformat() for moment in values.flat], dtype="datetime64[s]")
    elif calendar is not None:
        raise SoilcastError(
            f"{where}: calendar {calendar!r} is not a real calendar: give data in the standard calendar"
        )
    if not np.issubdtype(values.dtype, np.datetime64):
        raise SoilcastError(f"{where}: the time axis contains no dates ({values.dtype}): give it CF time units")
    if np.isnat(values).any():
        raise SoilcastError(
            f"{where}: {int(np.isnat(values).sum())} time(s) are missing or not dates: give each a date"
        )
    days: Days = values.astype("datetime64[D]")
    if days.min() < _EARLIEST or days.max() > _LATEST:
        raise SoilcastError(
            f"{where}: the days run from {days.min()} to {days.max()}, outside {_EARLIEST} .. {_LATEST}: "
            "check the units of the time axis"
        )
    _, first, counts = np.unique(days, return_index=True, return_counts=True)
    refuse_other_steps(days, where)
    if (counts > 1).any():
        repeated = days[first[counts > 1]]
        raise SoilcastError(
            f"{where}: {_named(repeated)} occurs more than once: one value per day is expected; remove the duplicates"
        )
    steps = np.diff(days).astype(int)
    if (steps < 0).any():
        raise SoilcastError(f"{where}: the time axis is not ascending at {days[1:][steps < 0][0]}: sort it by time")
    if (steps > 1).any():
        missing = np.setdiff1d(np.arange(days[0], days[-1] + 1), days)
        raise SoilcastError(
            f"{where}: {len(missing)} missing day(s): {_named(missing)}; add them (with NaN where there is no value)"
        )
    return days.astype("datetime64[ns]")


def refuse_other_steps(days: Days, where: str) -> None:
    """Raise `SoilcastError` if days ``(time,)`` are those of values that are clearly not daily, and say what they are.

    They are not where no two follow each other (monthly means, weekly values), or where nearly every one occurs more
    than once (hourly values).
    """
    unique, counts = np.unique(days.astype("datetime64[D]"), return_counts=True)
    steps = np.diff(unique).astype(int)
    if len(steps) and steps.min() > 1 and (len(steps) > 1 or 28 <= steps[0] <= 31):
        name = next((name for low, high, name in _STEPS if low <= steps.min() and steps.max() <= high), "not daily")
        span = f"{steps.min()}" if steps.min() == steps.max() else f"{steps.min()} to {steps.max()}"
        raise SoilcastError(
            f"{where}: the values are {name} (every {span} days, {_named(unique)}), but daily ones are expected: give "
            "the daily values"
        )
    if np.median(counts) > 1:
        each = int(np.median(counts))
        raise SoilcastError(
            f"{where}: {unique[int(np.argmax(counts))]} occurs more than once: {each} values a day, but daily ones are "
            "expected; aggregate them to days of UTC (means of states, totals of amounts), or use prepare era5land for "
            "hourly data of ERA5"
        )


_STEPS = (
    (7, 7, "weekly"),
    (8, 8, "8-day composites"),
    (5, 6, "pentads"),
    (9, 11, "ten-day means"),
    (28, 31, "monthly"),
    (59, 62, "two-monthly"),
    (89, 92, "seasonal"),
    (365, 366, "yearly"),
)
"""Fewest and most days between values, and what they are called."""


def refuse_other_days(days: Days, expected: Days, where: str, reference: str) -> None:
    """Raise `SoilcastError` unless a file or variable has the days ``(time,)`` of another.

    Parameters
    ----------
    days, expected
        What it has, and what the other has.
    where, reference
        The two, for the message.
    """
    if not np.array_equal(days, expected):
        raise SoilcastError(
            f"{where} covers {period_of(days)}, but {reference} {period_of(expected)}: give files of the same period"
        )


def days_of(period: str) -> tuple[Days, Days]:
    """First and last day of a period written ``2020``, ``2020-03`` or ``2018-01-01:2019-12-23``.

    Raises
    ------
    SoilcastError
        The text is not such a period, lies outside 1678 .. 2261, or ends before it begins.
    """
    ends = [text.strip() for text in period.split(":")]
    try:
        if len(ends) > 2 or not all(_DATE.fullmatch(text) for text in ends):
            raise ValueError(period)
        first = np.datetime64(ends[0]).astype("datetime64[D]")
        last = (np.datetime64(ends[-1]) + 1).astype("datetime64[D]") - 1
    except ValueError as error:
        raise SoilcastError(f"{period!r} is not a period: write 2020, 2020-03 or 2018-01-01:2019-12-23") from error
    if last < first:
        raise SoilcastError(f"period {period!r} ends before it begins")
    if first < _EARLIEST or last > _LATEST:
        raise SoilcastError(f"period {period!r} is outside {_EARLIEST} .. {_LATEST}: correct the years")
    return first.astype("datetime64[ns]"), last.astype("datetime64[ns]")


def day_of(text: str, option: str) -> np.datetime64:
    """Read a day, such as ``2026-11-25``, as datetime64[D].

    Parameters
    ----------
    text
        What was given.
    option
        By which option, for the message.

    Raises
    ------
    SoilcastError
        It is no day.
    """
    with suppress(ValueError):
        found = np.datetime64(text, "D")
        if not np.isnat(found):
            return found
    raise SoilcastError(f"{option} {text}: write a day, such as 2026-11-25")


def periods_of(periods: str) -> list[tuple[Days, Days]]:
    """First and last day of each of several periods, joined by commas as artifacts write them (see `days_of`)."""
    return [days_of(period) for period in periods.split(",")]


def last_year(days: Days) -> slice:
    """Positions of the last year of days ``(time,)``, which a run by default is tested on."""
    import pandas as pd  # takes a second to import, for which a refusal should not wait

    after = pd.Timestamp(days[-1]) + pd.Timedelta(days=1)
    first = after - pd.DateOffset(years=1)
    return slice(int(np.searchsorted(days, np.datetime64(first))), len(days))


def _named(days: Days) -> str:
    shown = ", ".join(str(day) for day in days[:5])
    return shown if len(days) <= 5 else f"{shown}, ..."


def period_of(days: Days) -> str:
    """First and last day and the number of days, in words."""
    return f"{days[0].astype('datetime64[D]')} .. {days[-1].astype('datetime64[D]')} ({len(days)} days)"
