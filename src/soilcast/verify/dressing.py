"""Point forecasts as distributions: each dressed with the quantiles of its own validation errors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from soilcast.training.calibration_groups import SEASONS
from soilcast.training.conformal import order_ranks
from soilcast.verify.extremes import Floats

LEAST_IN_SEASON = 450
"""Errors of a cell and lead in a season from which on this season has quantiles of its own: five years of them. Those
of neighbouring days are alike: of an AR(1) process whose departures last for ten days, the 90 % interval of climatology
held 87 % with the quantiles of each season from three years, and 90 % with those of all seasons together."""

Array = npt.NDArray[np.float64]
Seasons = npt.NDArray[np.int64]


def error_quantiles(errors: Floats, season: Seasons, levels: tuple[float, ...]) -> Array:
    """Quantiles of errors by season, by the order statistics of `soilcast.training.conformal.calibrate`.

    If the errors of a cell, lead and season and a new one are exchangeable, an interval between two levels about a new
    forecast holds at least what it promises.

    Parameters
    ----------
    errors
        Observed less forecast ``(lead, cell, day)``; NaN where unknown. Of days that the forecast did not learn from.
    season
        ``(cell, day)``, of the day that is forecast.
    levels
        Of the quantiles, in any order.

    Returns
    -------
    ``(season, lead, cell, level)``, in the unit of the errors; NaN for a cell without any.
    """
    of_all = _order_statistics(errors, levels)
    quantiles = np.empty((SEASONS, *of_all.shape))
    for number in range(SEASONS):
        own = np.where(season == number, errors, np.float32(np.nan))
        is_enough = np.isfinite(own).sum(axis=-1, keepdims=True) >= LEAST_IN_SEASON
        quantiles[number] = np.where(is_enough, _order_statistics(own, levels), of_all)
    return quantiles


def dress(forecast: Floats, quantiles: Array, season: Seasons) -> npt.NDArray[np.float32]:
    """Add the quantiles of errors to forecasts of soil moisture.

    Parameters
    ----------
    forecast
        ``(cell, issue day, lead)`` [m3 m-3].
    quantiles
        From `error_quantiles`.
    season
        ``(cell, issue day, lead)``, of the day that is forecast.

    Returns
    -------
    ``(cell, issue day, lead, level)`` [m3 m-3], within 0 .. 1 as soil moisture is.
    """
    cells, _, leads = forecast.shape
    around = quantiles[season, np.arange(leads), np.arange(cells)[:, np.newaxis, np.newaxis]]
    return np.clip(forecast[..., np.newaxis] + around, 0.0, 1.0).astype(np.float32)


def _order_statistics(errors: Floats, levels: tuple[float, ...]) -> Array:
    """``(..., level)`` of errors ``(..., day)``; NaN where none is known."""
    ordered = np.sort(errors, axis=-1)  # missing ones come last
    ranks = order_ranks(np.isfinite(errors).sum(axis=-1), np.array(levels))
    pair = np.stack([np.take_along_axis(ordered, rank, axis=-1) for rank in ranks])
    return np.asarray(pair.mean(axis=0, dtype=np.float64))
