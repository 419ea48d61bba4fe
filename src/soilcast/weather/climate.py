"""Normal scores of weather in the climate of its cell and time of the year, and the values that scores stand for.

The climate of a ten-day period of the year is that of all days within 15 days of its middle, in every year of the
record.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from soilcast.cube.calendar import Days

Floats = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

PERIOD = 10
"""Days of the year that share a climate."""

WINDOW = 15
"""Days on either side of the middle of a period that belong to its climate."""

_YEAR = 366


def day_of_year(days: Days) -> Positions:
    """Days since the first of January ``(time,)``."""
    whole = days.astype("datetime64[D]")
    return np.asarray((whole - whole.astype("datetime64[Y]")).astype(np.int64))


def season_distance(one: npt.ArrayLike, other: npt.ArrayLike) -> Positions:
    """Days between days of the year, the shorter way round."""
    apart = np.abs(np.asarray(one) - np.asarray(other))
    return np.asarray(np.minimum(apart, _YEAR - apart))


class NormalScores:
    """The normal scores of a variable in some cells.

    Equal values, such as those of dry days, get the scores of their ranks in random order: scores have the standard
    normal distribution whatever that of the values, and each score gives back its value to the bit.

    Parameters
    ----------
    values
        ``(cell, time)``; NaN where missing.
    days
        ``(time,)``.
    order
        Random numbers that order equal values ``(cell, time)``.

    Attributes
    ----------
    scores
        ``(cell, time)`` float64; NaN where missing.
    """

    def __init__(self, values: Floats, days: Days, order: npt.NDArray[np.floating]) -> None:
        self.scores: Scores = np.full(values.shape, np.nan)
        self._climates: list[tuple[Positions, Floats, Positions]] = []
        for own, sample in _periods(days):
            ranked = np.lexsort((order[:, sample], values[:, sample]), axis=1)  # what is missing comes last
            count = np.count_nonzero(np.isfinite(values[:, sample]), axis=1)[:, np.newaxis]
            rank = np.empty_like(ranked)
            np.put_along_axis(rank, ranked, np.arange(len(sample))[np.newaxis], axis=1)
            share = (rank[:, np.searchsorted(sample, own)] + 0.5) / np.maximum(count, 1)
            self.scores[:, own] = np.where(np.isfinite(values[:, own]), ndtri(np.minimum(share, 1.0)), np.nan)
            self._climates.append((own, np.take_along_axis(values[:, sample], ranked, axis=1), count))

    def climates(self) -> Iterator[tuple[Positions, int]]:
        """Positions of the days of each period of the year, and its number."""
        for number, (own, _, _) in enumerate(self._climates):
            yield own, number

    def restore(self, scores: Scores, period: int) -> Floats:
        """Give the values that scores ``(cell, day)`` of days of a period of the year stand for; NaN stays NaN."""
        _, ranked, count = self._climates[period]
        known = np.isfinite(scores) & (count > 0)
        position = np.floor(ndtr(np.where(known, scores, 0.0)) * count).astype(np.int64)
        values = np.take_along_axis(ranked, np.clip(position, 0, np.maximum(count - 1, 0)), axis=1)
        return np.where(known, values, np.float32(np.nan))


def _periods(days: Days) -> Iterator[tuple[Positions, Positions]]:
    """Days of each period of the year that the record has, and the days of its climate."""
    of_year = day_of_year(days)
    for period in range(-(-_YEAR // PERIOD)):
        own = np.flatnonzero(of_year // PERIOD == period)
        if len(own):
            middle = period * PERIOD + PERIOD // 2
            yield own, np.flatnonzero(season_distance(of_year, middle) <= WINDOW)
