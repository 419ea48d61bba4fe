"""What soil moisture has been around a date: the days near it in every year of a cell's own record."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from soilcast.cube.calendar import Days
from soilcast.cube.check import SMALLEST_SPREAD

Reference = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]

WINDOW = 15
"""Days on either side of a date that belong to its climate [d]."""

LEAST_YEARS = 2
"""Years that a climate needs: a single one is an event."""

COARSE_YEARS = 10
"""Years below which the driest classes rest on a few events, which is said wherever they stand."""


def reference_positions(days: Days, valid_day: np.datetime64, window: int = WINDOW) -> Positions:
    """Positions of the days around a date in every year.

    The same date is sought in each year, and days are counted from there, so leap years shift nothing and a window
    goes on over the new year. 29 February stands at 28 February in years without it.

    Parameters
    ----------
    days
        Consecutive days ``(time,)``.
    valid_day
        The date; its year does not matter.
    window
        Days on either side [d].

    Returns
    -------
    ``(year, 2 window + 1)``, position along ``time``, -1 where the day is not among them; years of which no day is
    among them are left out.
    """
    assert 0 <= window < 183, "a day would belong to two years"
    known = days.astype("datetime64[D]")
    dates = _same_date(known, valid_day)
    positions = (dates[:, np.newaxis] + np.arange(-window, window + 1) - known[0]).astype(np.int64)
    positions[(positions < 0) | (positions >= len(known))] = -1
    known_years: Positions = positions[(positions >= 0).any(axis=1)]
    return known_years


def gather(values: npt.NDArray[np.floating], positions: Positions) -> Reference:
    """Values ``(cell, year, day)`` at positions ``(year, day)`` along the time of ``(cell, time)``; NaN at -1."""
    if not positions.size:
        return np.empty((len(values), *positions.shape), dtype=np.float32)
    found = np.take(values, np.maximum(positions, 0).ravel(), axis=1).astype(np.float32, copy=False)
    found[:, (positions < 0).ravel()] = np.nan
    return found.reshape(len(values), *positions.shape)


def years_known(reference: Reference) -> npt.NDArray[np.int64]:
    """Years of which more than half of the days around the date are observed.

    Parameters
    ----------
    reference
        ``(cell, year, day)``.

    Returns
    -------
    ``(cell,)``.
    """
    observed = np.count_nonzero(np.isfinite(reference), axis=2)
    return np.asarray(np.count_nonzero(2 * observed > reference.shape[2], axis=1))


def moves(reference: Reference) -> npt.NDArray[np.bool_]:
    """Whether soil moisture moves at all around the date ``(cell, year, day)``: frozen soil and deserts have no ranks.

    Returns
    -------
    ``(cell,)``, True where it moves by `SMALLEST_SPREAD` at least.
    """
    highest = np.fmax.reduce(reference, axis=(1, 2), initial=-np.inf)
    lowest = np.fmin.reduce(reference, axis=(1, 2), initial=np.inf)
    return np.asarray(highest - lowest >= SMALLEST_SPREAD)


def years_covered(positions: Positions) -> int:
    """Years of which more than half of the days around the date ``(year, day)`` lie in the record."""
    return int(np.count_nonzero(2 * np.count_nonzero(positions >= 0, axis=1) > positions.shape[1]))


def _same_date(known: Days, valid_day: np.datetime64) -> Days:
    """The date in each year from the one before the first day to the one after the last, ``(year,)``."""
    date = valid_day.astype("datetime64[D]")
    month, year = date.astype("datetime64[M]"), date.astype("datetime64[Y]")
    years = np.arange(known[0].astype("datetime64[Y]") - 1, known[-1].astype("datetime64[Y]") + 2)
    months = years.astype("datetime64[M]") + (month - year.astype("datetime64[M]"))
    last = (months + 1).astype("datetime64[D]") - 1
    dates: Days = np.minimum(months.astype("datetime64[D]") + (date - month.astype("datetime64[D]")), last)
    return dates
