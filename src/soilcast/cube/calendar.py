"""The time axis of a cube: daily, a real calendar, no gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilcast.errors import SoilcastError

Days = npt.NDArray[np.datetime64]


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
        run backwards or are missing.
    """
    values = np.asarray(times)
    if values.size == 0:
        raise SoilcastError(f"{where}: the time axis is empty")
    if values.dtype == object:
        calendar = getattr(values.flat[0], "calendar", "unknown")
        raise SoilcastError(f"{where}: calendar {calendar!r} is not a real calendar: give data in the standard calendar")
    if not np.issubdtype(values.dtype, np.datetime64):
        raise SoilcastError(f"{where}: the time axis holds no dates ({values.dtype}): give it CF time units")
    days: Days = values.astype("datetime64[D]")
    _, first, counts = np.unique(days, return_index=True, return_counts=True)
    if (counts > 1).any():
        repeated = days[first[counts > 1]]
        raise SoilcastError(
            f"{where}: {_named(repeated)} occurs more than once: one value a day is expected; remove the duplicates"
        )
    steps = np.diff(days).astype(int)
    if (steps < 0).any():
        raise SoilcastError(f"{where}: the time axis runs backwards at {days[1:][steps < 0][0]}: sort it by time")
    if (steps > 1).any():
        missing = np.setdiff1d(np.arange(days[0], days[-1] + 1), days)
        raise SoilcastError(
            f"{where}: {len(missing)} missing day(s): {_named(missing)}; add them (with NaN where there is no value)"
        )
    return days.astype("datetime64[ns]")


def days_of(period: str) -> tuple[Days, Days]:
    """First and last day of a period written ``2020``, ``2020-03`` or ``2018-01-01:2019-12-23``.

    Raises
    ------
    SoilcastError
        The text is not such a period, or ends before it begins.
    """
    first_text, _, last_text = period.partition(":")
    try:
        first = pd.Period(first_text.strip())
        last = pd.Period((last_text or first_text).strip())
        bounds = (np.datetime64(first.start_time.date(), "ns"), np.datetime64(last.end_time.date(), "ns"))
    except ValueError as error:
        raise SoilcastError(f"{period!r} is not a period: write 2020, 2020-03 or 2018-01-01:2019-12-23") from error
    if bounds[1] < bounds[0]:
        raise SoilcastError(f"period {period!r} ends before it begins")
    return bounds  # type: ignore[return-value]


def _named(days: Days) -> str:
    shown = ", ".join(str(day) for day in days[:5])
    return shown if len(days) <= 5 else f"{shown}, ..."
