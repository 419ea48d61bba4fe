"""Kernels of the built-in metrics: from forecast and observation of one target, lead and model to a number a cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from soilcast.cube.check import SMALLEST_ERROR
from soilcast.verify.aligned import Aligned
from soilcast.verify.deterministic import Cells
from soilcast.verify.drought import EventForecast
from soilcast.verify.extremes import Side, is_extreme
from soilcast.verify.probabilistic import crps_of_quantiles, is_covered
from soilcast.water import physical_consistency

FEWEST_DAYS = 2
"""With fewer days than this a cell has no score, as in `score_cells`."""


def ratio_over(error: Cells, reference: Cells, moves: npt.NDArray[np.bool_]) -> Cells:
    """Error over that of a reference forecast: the one rule of where such a ratio is defined.

    Parameters
    ----------
    error, reference
        ``(..., cell)`` [m3 m-3].
    moves
        ``(cell,)``, whether the observations move: see `soilcast.verify.deterministic.scores_of`.

    Returns
    -------
    ``(..., cell)``; NaN where the observations do not move, or the reference errs by less than `SMALLEST_ERROR`.
    """
    return np.asarray(error / np.where(moves & (reference >= SMALLEST_ERROR), reference, np.nan))


def skill_over(rmse: Cells, reference: Cells, moves: npt.NDArray[np.bool_]) -> Cells:
    """Skill 1 - MSE / MSE of a reference, from RMSEs: see `ratio_over`."""
    return np.asarray(1 - ratio_over(rmse, reference, moves) ** 2)


def mean_over_days(values: Cells) -> Cells:
    """Mean of what is finite in ``(cell, day)``; NaN on fewer than 2 days."""
    valid = np.isfinite(values)
    count = valid.sum(axis=1)
    total = np.where(valid, values, 0.0).sum(axis=1)
    return np.asarray(np.where(count >= FEWEST_DAYS, total / np.maximum(count, 1), np.nan))


def crps_by_day(aligned: Aligned) -> npt.NDArray[np.float64]:
    """CRPS ``(cell, day)`` [m3 m-3], of a model without quantiles its absolute error; NaN on days that do not count."""
    if aligned.quantiles is None:
        return aligned.absolute_error
    return crps_of_quantiles(aligned.observed, aligned.quantiles, np.array(aligned.levels))


def moment(name: str, aligned: Aligned) -> Cells:
    """Score of the mean ``(cell,)``: see `soilcast.verify.deterministic.score_cells`."""
    return aligned.moments[name]


def skill(aligned: Aligned) -> Cells:
    """Skill of the mean against persistence ``(cell,)``: see `skill_over`."""
    return skill_over(aligned.moments["rmse"], aligned.reference_rmse, aligned.moves)


def ratio(aligned: Aligned) -> Cells:
    """RMSE of the mean over that of persistence ``(cell,)``: see `ratio_over`."""
    return ratio_over(aligned.moments["rmse"], aligned.reference_rmse, aligned.moves)


def mae(aligned: Aligned) -> Cells:
    """Mean absolute error of the median ``(cell,)`` [m3 m-3]."""
    return mean_over_days(aligned.absolute_error)


def consistency(name: str, aligned: Aligned) -> Cells:
    """Share of days consistent with a reading of the water balance ``(cell,)`` (Eq. 19)."""
    return physical_consistency(aligned.signs[name], aligned.previous, aligned.mean)


def crps(aligned: Aligned) -> Cells:
    """Mean CRPS ``(cell,)`` [m3 m-3]: see `crps_by_day`."""
    return mean_over_days(crps_by_day(aligned))


def _limits(aligned: Aligned, interval: tuple[float, float]) -> tuple[npt.NDArray[np.floating], ...] | None:
    """Quantiles of two levels, each ``(cell, day)``; None if the forecast has not these very levels."""
    if aligned.quantiles is None or not set(interval) <= set(aligned.levels):
        return None
    return tuple(aligned.quantiles[..., aligned.levels.index(level)] for level in interval)


def coverage(interval: tuple[float, float], aligned: Aligned) -> Cells:
    """Share of days within the interval between two levels ``(cell,)``; NaN without these very levels."""
    limits = _limits(aligned, interval)
    if limits is None:
        return np.full(len(aligned.observed), np.nan)
    return mean_over_days(is_covered(aligned.observed, *limits))


def width(interval: tuple[float, float], aligned: Aligned) -> Cells:
    """Mean width of the interval between two levels ``(cell,)`` [m3 m-3]; NaN without these very levels."""
    limits = _limits(aligned, interval)
    if limits is None:
        return np.full(len(aligned.observed), np.nan)
    low, high = (limit.astype(np.float64) for limit in limits)
    return mean_over_days(np.where(np.isfinite(aligned.observed), high - low, np.nan))


def brier(event: int, aligned: Aligned) -> Cells:
    """Brier score of a drought class or drier ``(cell,)``: mean of (P - o)^2 (Brier 1950)."""
    return mean_over_days(_squares(aligned.classes)[..., event])


def brier_skill(event: int, aligned: Aligned) -> Cells:
    """Skill of a drought class or drier over its frequency in the cell's climate of the date ``(cell,)``."""
    return _over_climate(brier(event, aligned), mean_over_days(_squares_of_climate(aligned)[..., event]))


def rps(aligned: Aligned) -> Cells:
    """Ranked probability score of the drought classes (Epstein 1969) by their number, within 0 .. 1, ``(cell,)``."""
    return mean_over_days(_squares(aligned.classes).mean(axis=-1))


def rps_skill(aligned: Aligned) -> Cells:
    """Skill of the ranked probability score over the frequencies in the cell's climate of the date ``(cell,)``."""
    return _over_climate(rps(aligned), mean_over_days(_squares_of_climate(aligned).mean(axis=-1)))


def brier_within(aligned: Aligned) -> Cells:
    """Brier score of D1 or drier at least once up to the lead ``(cell,)``."""
    return mean_over_days(_squares(aligned.within)[..., 0])


def _squares(events: EventForecast) -> npt.NDArray[np.float64]:
    """Squared errors of probabilities ``(cell, day, event)``."""
    return np.asarray((events.probability.astype(np.float64) - events.observed) ** 2)


def _squares_of_climate(aligned: Aligned) -> npt.NDArray[np.float64]:
    climate = aligned.classes.climate
    assert climate is not None
    return _squares(replace(aligned.classes, probability=climate))


def _over_climate(score: Cells, of_climate: Cells) -> Cells:
    """Skill over the climate's own frequency; NaN where the climate has no error."""
    return np.asarray(1 - score / np.where(of_climate > 0, of_climate, np.nan))


def rmse_of_extremes(side: Side, aligned: Aligned) -> Cells:
    """RMSE of the driest or the wettest 5 % of the cell's observed test days ``(cell,)`` [m3 m-3]."""
    return _rmse_of_days(aligned, aligned.is_extreme(side))


def rmse_of_forecast_extremes(side: Side, aligned: Aligned) -> Cells:
    """RMSE of the 5 % of days that the model forecasts as the cell's driest or wettest ``(cell,)`` [m3 m-3].

    Days that are chosen by their outcome reward a forecast that is extreme on all of them: the forecaster's dilemma
    (Lerch et al. 2017, doi:10.1214/16-STS588). Days that are chosen by the forecast do not.
    """
    return _rmse_of_days(aligned, is_extreme(aligned.mean, aligned.forecast_extremes, side))


def _rmse_of_days(aligned: Aligned, chosen: npt.NDArray[np.bool_]) -> Cells:
    cell, day = np.nonzero(chosen)  # few of all days
    square = (aligned.mean[cell, day].astype(np.float64) - aligned.observed[cell, day]) ** 2
    valid = np.isfinite(square)
    count = np.bincount(cell[valid], minlength=len(chosen))
    total = np.bincount(cell[valid], square[valid], len(chosen))
    return np.sqrt(np.where(count >= FEWEST_DAYS, total / np.maximum(count, 1), np.nan))
