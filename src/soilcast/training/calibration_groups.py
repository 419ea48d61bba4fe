"""Which validation errors are alike: those of a cell in a season, of a cell, of a climate in a season, .. of all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.integer]

SEASONS = 4


@dataclass(frozen=True)
class Grouping:
    """One way to divide forecasts into groups.

    Parameters
    ----------
    name
        In words.
    least
        Known errors that a group needs at every lead and layer to be calibrated by itself; 0 for any number.
    number
        ``(cell, climate, season)`` -> number of the group, from 0; negative where the cell or climate is not known. The
        arguments are arrays that broadcast: the cell's row in the run and its main climate, negative if not known, and
        the season, 0 .. 3.
    """

    name: str
    least: int
    number: Callable[[Indices, Indices, Indices], Indices]


def _in_season(of: Indices, season: Indices) -> Indices:
    return np.where(of < 0, of, SEASONS * of + season)


ALL = Grouping("all", 0, lambda cell, climate, season: np.zeros(np.broadcast_shapes(cell.shape, season.shape), int))

GROUPINGS = (
    Grouping("cell and season", 450, lambda cell, climate, season: _in_season(cell, season)),
    Grouping("cell", 700, lambda cell, climate, season: cell + 0 * season),
    Grouping("climate and season", 800, lambda cell, climate, season: _in_season(climate, season)),
    Grouping("climate", 500, lambda cell, climate, season: climate + 0 * season),
    Grouping("season", 800, lambda cell, climate, season: 0 * cell + season),
    ALL,
)
"""From the finest on: a forecast is calibrated by the first of its groups that has enough errors.

The least numbers are about those from which on, in basins of Caravan, a group of its own gives a lower pinball loss in
later years than the next coarser one (docs/method.md); since errors of neighbouring days are alike, they are far larger
than what the ranks of the quantiles need. Of climates, which these basins do not tell apart, they are a convention."""


def season_of(days: npt.NDArray[np.datetime64], lat: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Meteorological season of days: 0 winter, 1 spring, 2 summer, 3 autumn.

    Parameters
    ----------
    days
        Any shape.
    lat
        Latitude [degrees], of a shape that broadcasts to that of the days; south of the equator seasons are shifted by
        six months.

    Returns
    -------
    Of the common shape; December to February is 0 in the north and 2 in the south.
    """
    month = days.astype("datetime64[M]").astype(np.int64) % 12
    quarter = (month + 1) // 3
    return np.asarray((quarter + 2 * (np.asarray(lat) < 0)) % SEASONS)
