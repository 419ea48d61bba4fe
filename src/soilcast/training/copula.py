"""How the leads of a forecast depend on each other, and its cells: empirical copulas of the validation errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from soilcast.cube.calendar import Days
from soilcast.products.indices import distribution_at

MOST_TEMPLATES = 500
"""Validation cell-days of a copula: a probability from so many is exact to 0.001, and scatters by 0.02 at most."""

MOST_DAYS = 200
"""Validation days that cells share: ranks among so many fit a byte."""

FEWEST_DAYS = 20
"""Shared days without which nothing is said of how cells depend on each other."""

_MOST_STEPS = 1 << 26
"""Steps of networks that are taken to learn it, minutes at most: of more cells or longer windows the days are fewer."""

_MOST_KNOWN = 0.5
"""Share of the most cells that are ever known on a day, which a shared day has at least."""


def rank_templates(
    errors: npt.NDArray[np.floating],
    quantiles: npt.NDArray[np.floating],
    levels: npt.NDArray[np.float64],
    seed: int,
    most: int = MOST_TEMPLATES,
) -> npt.NDArray[np.float32]:
    """Ranks of what was observed among its forecasts, of some validation cell-days, lead by lead.

    The probability integral transform of an observation is the level of its predictive distribution that it lies at.
    Its ranks at each lead, kept together by cell-day, are a sample of the copula between leads and layers (the template
    of the Schaake shuffle, Clark et al. 2004, and of ensemble copula coupling, Schefzik et al. 2013,
    doi:10.1214/13-STS443). Ranks of errors instead would hold that leads go together where only the width of the
    distribution does, from cell to cell.

    Parameters
    ----------
    errors
        ``(sample, lead, layer)``, observed less centre; NaN where unknown.
    quantiles
        ``(sample, lead, layer, level)``, calibrated quantiles of the errors.
    levels
        ``(level,)``, increasing, between 0 and 1.
    seed
        Of the choice among the cell-days that are known at all leads and layers, if these are more than ``most``.

    Returns
    -------
    ``(template, lead, layer)``, (rank - 1/2) / template in 0 .. 1; no template where no cell-day is known at all leads
    and layers, or of a single level, which makes no distribution.
    """
    if len(levels) < 2:
        return np.empty((0, *errors.shape[1:]), dtype=np.float32)
    complete = np.flatnonzero(np.isfinite(errors).all(axis=(1, 2)) & np.isfinite(quantiles).all(axis=(1, 2, 3)))
    chosen = np.random.default_rng([seed, len(complete)]).permutation(complete)[:most]
    transform = distribution_at(quantiles[chosen], levels, errors[chosen])
    # Values that are equal are ranked in the order of the choice, the same at all leads.
    rank = transform.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    templates: npt.NDArray[np.float32] = ((rank + 0.5) / max(len(chosen), 1)).astype(np.float32)
    return templates


@dataclass(frozen=True)
class CellRanks:
    """How the cells and leads of forecasts depend on each other: ranks of what was observed on days that cells share.

    Parameters
    ----------
    issue_day
        ``(day,)`` datetime64[D], ascending.
    rank
        ``(cell, day, lead, layer)`` uint8: of the probability integral transform of the observation among the days of
        its cell, lead and layer, from 1; 0 where it is not known.
    """

    issue_day: Days = field(repr=False)
    rank: npt.NDArray[np.uint8] = field(repr=False)

    def __post_init__(self) -> None:
        if self.rank.ndim != 4 or self.rank.shape[1] != len(self.issue_day) or not 0 < len(self.issue_day) <= MOST_DAYS:
            raise ValueError(f"cell_ranks.rank has the shape {self.rank.shape}")
        if int(self.rank.max(initial=0)) > len(self.issue_day):
            raise ValueError("cell_ranks.rank has ranks that so many days do not have")

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Give named arrays, as a run stores them; days are counted from 1970."""
        return {"cell_ranks.issue_day": self.issue_day.astype(np.int64), "cell_ranks.rank": self.rank}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], cells: int) -> Self | None:
        """Undo `to_arrays`; None where the arrays have nothing of it, as those of runs from before it was kept.

        Raises
        ------
        ValueError
            The arrays do not belong together, or are of another number of ``cells``.
        """
        if "cell_ranks.rank" not in arrays:
            return None
        rank = arrays["cell_ranks.rank"].astype(np.uint8)
        if len(rank) != cells:
            raise ValueError(f"cell_ranks.rank is of {len(rank)} cells")
        return cls(arrays["cell_ranks.issue_day"].astype("datetime64[D]"), rank)


def shared_days(usable: npt.NDArray[np.bool_], steps: int) -> npt.NDArray[np.int64]:
    """Choose days of a validation period on which most cells are known, evenly spread over it.

    Parameters
    ----------
    usable
        ``(cell, day)``, the days that are forecast and observed.
    steps
        Steps of networks that the forecast of one cell-day takes.

    Returns
    -------
    Positions ``(shared day,)``, ascending; none where there are fewer than `FEWEST_DAYS`.
    """
    cells = usable.sum(axis=0)
    known = np.flatnonzero(cells >= max(1, _MOST_KNOWN * cells.max(initial=0)))
    most = min(MOST_DAYS, _MOST_STEPS // max(1, int(cells.max(initial=0)) * steps), len(known))
    if most < FEWEST_DAYS:
        return np.empty(0, dtype=np.int64)
    return known[np.unique(np.rint(np.linspace(0, len(known) - 1, most)).astype(np.int64))]


def day_ranks(transforms: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Ranks of probability integral transforms among the days.

    Parameters
    ----------
    transforms
        ``(cell, day, ...)``; NaN where unknown.

    Returns
    -------
    Of the same shape, from 1; 0 where unknown. Equal ones are ranked in the order of the days, the same at all cells.
    """
    assert transforms.shape[1] <= MOST_DAYS
    ranks = np.empty(transforms.shape, dtype=np.uint8)
    for cell, values in enumerate(transforms):
        order = values.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")  # unknown ones come last
        ranks[cell] = np.where(np.isfinite(values), order + 1, 0)
    return ranks
