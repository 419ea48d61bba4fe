"""How good one model is at one lead, cell by cell: its central forecast, and its quantiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soilcast.verify.metrics import score_cells
from soilcast.verify.probabilistic import (
    crps_of_quantiles,
    is_at_or_below,
    is_covered,
    pit_shares,
)

BINS = 10
"""Bins of the histogram of the probability integral transform."""

EXTREME_SHARE = 0.05
"""Share of a cell's observed test days that are its driest, and its wettest."""

_INTERVALS = {"coverage_50": (0.25, 0.75), "coverage_90": (0.05, 0.95)}
_WIDE = "coverage_90"
_FEWEST_DAYS = 2  # as in `score_cells`

Cells = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]
Days = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class QuantileScores:
    """What the quantiles of a model are worth at a lead.

    Parameters
    ----------
    metrics
        Name -> ``(cell,)``: CRPS, coverage and width; NaN without the levels that it takes.
    below
        ``(cell, quantile)``, days on which the observation is at most the quantile.
    ranks
        ``(cell, bin)``, days by the bin of the probability integral transform.
    """

    metrics: dict[str, Cells]
    below: Cells
    ranks: Cells


def extreme_days(observed: Floats, share: float = EXTREME_SHARE) -> tuple[Floats, Floats]:
    """Limits of the driest and the wettest days of each cell.

    Parameters
    ----------
    observed
        Of all test days, ``(cell, day)`` [m3 m-3], NaN where missing.
    share
        Of its n observed days so many, rounded up, are a cell's driest: those at most the limit, so more if several
        equal it. Likewise its wettest.

    Returns
    -------
    Highest value of the driest days and lowest of the wettest, ``(cell, 1)`` [m3 m-3]; NaN without any observation.
    """
    there = np.isfinite(observed)
    ordered = np.sort(np.where(there, observed, np.nan), axis=1)  # missing ones come last
    count = there.sum(axis=1, keepdims=True)
    # A product such as 0.05 * 20 may miss the whole number by its rounding.
    days = np.maximum(np.ceil(share * count - 1e-9).astype(np.int64), 1)
    driest = np.take_along_axis(ordered, np.minimum(days, np.maximum(count, 1)) - 1, axis=1)
    return driest, np.take_along_axis(ordered, np.maximum(count - days, 0), axis=1)


def score_central(observed: Floats, central: Floats, dry: Days, wet: Days) -> dict[str, Cells]:
    """Score a central forecast over the days on which both are there.

    Parameters
    ----------
    observed, central
        ``(cell, day)`` [m3 m-3], NaN where missing.
    dry, wet
        ``(cell, day)``, the driest and the wettest days.

    Returns
    -------
    ``rmse``, ``bias``, ``r``, ``rmse_dry``, ``rmse_wet``, as ``crps`` the mean absolute error, and ``days``, all
    ``(cell,)``; NaN on fewer than 2 days.
    """
    scored = score_cells(observed, central)
    error = central.astype(np.float64) - observed
    return {
        **{name: scored[name] for name in ("rmse", "bias", "r", "days")},
        "rmse_dry": np.sqrt(mean_over_days(np.where(dry, error**2, np.nan))),
        "rmse_wet": np.sqrt(mean_over_days(np.where(wet, error**2, np.nan))),
        "crps": mean_over_days(np.abs(error)),
    }


def score_quantiles(observed: Floats, quantiles: Floats, levels: tuple[float, ...]) -> QuantileScores:
    """Score quantiles over the days on which the observation and all of them are there.

    Parameters
    ----------
    observed
        ``(cell, day)`` [m3 m-3], NaN where missing.
    quantiles
        ``(cell, day, quantile)`` [m3 m-3], NaN where missing.
    levels
        Of each quantile.
    """
    taus = np.array(levels)
    metrics = {"crps": mean_over_days(crps_of_quantiles(observed, quantiles, taus))}
    limits = {
        name: [quantiles[..., levels.index(level)] for level in interval]
        for name, interval in _INTERVALS.items()
        if set(interval) <= set(levels)
    }
    metrics |= {name: mean_over_days(is_covered(observed, low, high)) for name, (low, high) in limits.items()}
    if _WIDE in limits:
        low, high = (limit.astype(np.float64) for limit in limits[_WIDE])
        metrics["width_90"] = mean_over_days(np.where(np.isfinite(observed), high - low, np.nan))
    below = np.nansum(is_at_or_below(observed, quantiles), axis=1)
    return QuantileScores(metrics, below, np.nansum(pit_shares(observed, quantiles, taus, BINS), axis=1))


def ratio_to(metrics: Mapping[str, Cells], reference: Cells) -> Cells:
    """RMSE over that of a reference, ``(cell,)``; NaN where that never errs."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(reference > 0, metrics["rmse"] / reference, np.nan))


def mean_over_days(values: Cells) -> Cells:
    """Mean of what is finite in ``(cell, day)``; NaN on fewer than 2 days."""
    there = np.isfinite(values)
    count = there.sum(axis=1)
    total = np.where(there, values, 0.0).sum(axis=1)
    return np.asarray(np.where(count >= _FEWEST_DAYS, total / np.maximum(count, 1), np.nan))
