"""The climatology of a date: which days of a cell's own record it is made of, and how they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import read
from soilcast.cube.calendar import Days
from soilcast.cube.check import SMALLEST_SPREAD
from soilcast.cube.store import CELL_CHUNK

Reference = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]

WINDOW = 15
"""Days on either side of a date that belong to its climate [d]."""

LEAST_YEARS = 2
"""Years that a climate needs: a single one is an event."""

COARSE_YEARS = 10
"""Years below which the driest classes depend on a few events, which their attributes state."""


_VALUES_AT_ONCE = 1 << 18
"""Values of a climate that are worked on at once: what fits a processor's cache."""


@dataclass(frozen=True)
class Climate:
    """What products are measured against.

    Parameters
    ----------
    period
        ``first:last`` of the days of the record that may count; empty where none may.
    window
        Days on either side of the valid day [d].
    years
        Years that the record covers around every valid day.
    least_years
        Years that a cell needs.
    """

    period: str
    window: int
    years: int
    least_years: int = LEAST_YEARS

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of a product that depends on it."""
        comment = (
            f"against the cell's own days within {self.window} days of the date, in {self.years} year(s) of "
            f"{self.period or 'an empty record'}; missing where fewer than {self.least_years} are known; no "
            f"percentile where they all lie within {SMALLEST_SPREAD:g} m3 m-3"
        )
        if self.years < COARSE_YEARS:
            comment += f"; of fewer than {COARSE_YEARS} years percentiles are coarse: the driest depend on few events"
        return {
            "reference_period": self.period,
            "reference_window_days": np.int32(self.window),
            "reference_years": np.int32(self.years),
            "comment": comment,
        }


@dataclass(frozen=True)
class Sampling:
    """The days of a cube that make the climatology of the valid days.

    Parameters
    ----------
    runs
        Consecutive days to read, as positions along the cube's time.
    positions
        Of each valid day, ``(year, day)``: positions along the days that were read, -1 where there is none.
    climate
        Their description.
    """

    runs: tuple[slice, ...]
    positions: tuple[Positions, ...]
    climate: Climate


def select_days(
    days: Days, reference: slice, newest: np.datetime64, valid_days: Days, window: int, least_years: int
) -> Sampling:
    """Find the days around the dates of all valid days.

    Parameters
    ----------
    days
        Of the cube, ``(time,)``.
    reference
        Positions of those that may count.
    newest
        None later than this counts.
    valid_days
        ``(lead,)``, one at least.
    window, least_years
        See `Climate`.
    """
    first, stop, _ = reference.indices(len(days))
    stop = min(stop, int(np.searchsorted(days.astype("datetime64[D]"), newest.astype("datetime64[D]"), side="right")))
    available = days[first:stop].astype("datetime64[D]")
    if not len(available):
        no_positions = np.empty((0, 2 * window + 1), dtype=np.int64)
        return Sampling((), (no_positions,) * len(valid_days), Climate("", window, 0, least_years))
    positions = [reference_positions(available, day, window) for day in valid_days]
    selected = np.unique(np.concatenate([rows[rows >= 0] for rows in positions]))
    breaks = np.flatnonzero(np.diff(selected) > 1) + 1
    runs = [run for run in np.split(selected + first, breaks) if len(run)]
    return Sampling(
        tuple(slice(int(run[0]), int(run[-1]) + 1) for run in runs),
        tuple(np.where(rows >= 0, np.searchsorted(selected, rows), -1) for rows in positions),
        Climate(f"{available[0]}:{available[-1]}", window, min(years_covered(rows) for rows in positions), least_years),
    )


def reference_days(days: Days, validation_period: str) -> slice:
    """Positions of the days whose climate forecasts are compared with: those before the test of the run, if any.

    Parameters
    ----------
    days
        Of the cube, ``(time,)``.
    validation_period
        Of the run, ``first:last``.
    """
    last = np.datetime64(validation_period.rpartition(":")[2])
    stop = int(np.searchsorted(days, last, side="right"))
    return slice(0, stop or len(days))


def read_parts(cube: xr.Dataset, layer: str, cells: slice, sampling: Sampling) -> Iterator[tuple[slice, Reference]]:
    """Read the record of a block of cells part by part.

    Parameters
    ----------
    cube
        Opened.
    layer
        What to read.
    cells
        The block, as positions in the cube.
    climate_days
        The days.

    Yields
    ------
    The cells of a part, as positions in the block, and their values ``(cell, day)``; at least one part.
    """
    first, stop, _ = cells.indices(cube.sizes["cell"])
    stop = max(first, stop)
    size = max(1, _VALUES_AT_ONCE // max(1, *(rows.size for rows in sampling.positions)))
    # Each chunk on the disk is read once.
    edges = [first, *range((first // CELL_CHUNK + 1) * CELL_CHUNK, stop, CELL_CHUNK), stop]
    for start, end in pairwise(edges):
        runs = [read(cube.isel(time=run), layer, slice(start, end)) for run in sampling.runs]
        values = np.concatenate(runs, axis=1) if runs else np.empty((end - start, 0), dtype=np.float32)
        for part in range(start, max(end, start + 1), size):
            last = min(part + size, end)
            yield slice(part - first, last - first), values[part - start : last - start]


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
    available = days.astype("datetime64[D]")
    dates = _dates_in_years(available, valid_day)
    positions = (dates[:, np.newaxis] + np.arange(-window, window + 1) - available[0]).astype(np.int64)
    positions[(positions < 0) | (positions >= len(available))] = -1
    years: Positions = positions[(positions >= 0).any(axis=1)]
    return years


def gather(values: npt.NDArray[np.floating], positions: Positions) -> Reference:
    """Values ``(cell, year, day)`` at positions ``(year, day)`` along the time of ``(cell, time)``; NaN at -1."""
    if not positions.size:
        return np.empty((len(values), *positions.shape), dtype=np.float32)
    gathered = np.take(values, np.maximum(positions, 0).ravel(), axis=1).astype(np.float32, copy=False)
    gathered[:, (positions < 0).ravel()] = np.nan
    return gathered.reshape(len(values), *positions.shape)


def count_years(reference: Reference) -> npt.NDArray[np.int64]:
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


def is_variable(reference: Reference) -> npt.NDArray[np.bool_]:
    """Whether soil moisture varies at all around the date ``(cell, year, day)``: frozen soil and deserts have no ranks.

    Returns
    -------
    ``(cell,)``, True where it varies by `SMALLEST_SPREAD` at least.
    """
    highest = np.fmax.reduce(reference, axis=(1, 2), initial=-np.inf)
    lowest = np.fmin.reduce(reference, axis=(1, 2), initial=np.inf)
    return np.asarray(highest - lowest >= SMALLEST_SPREAD)


def years_covered(positions: Positions) -> int:
    """Years of which more than half of the days around the date ``(year, day)`` are in the record."""
    return int(np.count_nonzero(2 * np.count_nonzero(positions >= 0, axis=1) > positions.shape[1]))


def _dates_in_years(days: Days, valid_day: np.datetime64) -> Days:
    """The date in each year from the one before the first day to the one after the last, ``(year,)``."""
    date = valid_day.astype("datetime64[D]")
    month, year = date.astype("datetime64[M]"), date.astype("datetime64[Y]")
    years = np.arange(days[0].astype("datetime64[Y]") - 1, days[-1].astype("datetime64[Y]") + 2)
    months = years.astype("datetime64[M]") + (month - year.astype("datetime64[M]"))
    last = (months + 1).astype("datetime64[D]") - 1
    dates: Days = np.minimum(months.astype("datetime64[D]") + (date - month.astype("datetime64[D]")), last)
    return dates
