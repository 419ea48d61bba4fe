"""The distribution of the mean of cells that depend on each other: quantiles do not add up, samples of all cells do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ranks = npt.NDArray[np.uint8]

FEWEST_DAYS = 20
"""Days that all cells of a region share, without which its mean has no distribution: a 90 % interval needs 19."""


def template_levels(ranks: Ranks) -> npt.NDArray[np.float64]:
    """Levels of the distribution of each cell that stand for each day: its rank among the days, evenly spaced.

    Parameters
    ----------
    ranks
        ``(cell, day)``, all known; of whichever days.

    Returns
    -------
    ``(cell, day)``, (rank - 1/2) / day, so that each cell has each level once.
    """
    order = ranks.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    return np.asarray((order + 0.5) / ranks.shape[1])


def sampling_matrix(
    levels: npt.NDArray[np.float64], quantile_levels: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Weights by which the quantiles of a cell make its value at some levels: the inverse of `distribution_at`.

    Between two quantiles the distribution function is a straight line, and beyond the outermost ones it goes on with
    the gradient beside them, so that a value is the sum of the two quantiles beside its level, each with its weight.

    Parameters
    ----------
    levels
        ``(...)``, between 0 and 1.
    quantile_levels
        ``(quantile,)``, two at least, ascending.

    Returns
    -------
    ``(..., quantile)``, whose sum is 1.
    """
    assert len(quantile_levels) >= 2
    upper = np.clip(np.searchsorted(quantile_levels, levels), 1, len(quantile_levels) - 1)
    low, high = quantile_levels[upper - 1], quantile_levels[upper]
    share = ((levels - low) / (high - low)).astype(np.float32)
    matrix = np.zeros((*levels.shape, len(quantile_levels)), dtype=np.float32)
    np.put_along_axis(matrix, upper[..., np.newaxis] - 1, 1 - share[..., np.newaxis], axis=-1)
    np.put_along_axis(matrix, upper[..., np.newaxis], share[..., np.newaxis], axis=-1)
    return matrix


def sum_samples(
    quantiles: Floats, quantile_levels: npt.NDArray[np.float64], ranks: Ranks, weights: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sum weighted samples of the forecasts of cells, drawn together on the days that they share.

    On each day every cell takes the value of its distribution at the level at which its observation was among the
    others of that cell (Schaake shuffle, Clark et al. 2004, doi:10.1175/1525-7541(2004)005<0243:TSSAMF>2.0.CO;2): each
    cell keeps its distribution, and cells that were dry together are so in the samples.

    Parameters
    ----------
    quantiles
        ``(cell, issue, quantile)`` [m3 m-3], ascending; NaN where there is no forecast.
    quantile_levels
        ``(quantile,)``.
    ranks
        ``(cell, day)``, all known.
    weights
        ``(cell,)``, shares of the region.

    Returns
    -------
    Sums ``(issue, day)`` [m3 m-3], and the weight of the cells with a forecast ``(issue,)``.
    """
    cells, issues, levels = quantiles.shape
    there = np.asarray(np.isfinite(quantiles).all(axis=-1))
    values = np.where(there[..., np.newaxis], quantiles, 0.0).astype(np.float32)
    values *= weights[:, np.newaxis, np.newaxis].astype(np.float32)
    drawn = sampling_matrix(template_levels(ranks), quantile_levels)
    by_issue = values.transpose(1, 0, 2).reshape(issues, cells * levels)
    by_day = drawn.transpose(1, 0, 2).reshape(ranks.shape[1], cells * levels)
    return (by_issue @ by_day.T).astype(np.float64), weights @ there


def quantiles_of(samples: npt.NDArray[np.float64], levels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Quantiles of samples ``(..., sample)`` at levels ``(level,)``, each sample in the middle of its share.

    Returns
    -------
    ``(..., level)``.
    """
    return np.moveaxis(np.quantile(samples, levels, axis=-1, method="hazen"), 0, -1)
