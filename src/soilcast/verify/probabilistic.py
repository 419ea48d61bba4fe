"""Probabilistic scores: kernels for quantiles, one value a forecast."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]


def pinball_loss(observed: Floats, quantiles: Floats, levels: Array) -> Array:
    """Loss of each quantile: (y - q) tau where y >= q, else (q - y) (1 - tau).

    Parameters
    ----------
    observed
        ``(...)``, NaN where missing.
    quantiles
        ``(..., quantile)``, in the unit of ``observed``; NaN where missing.
    levels
        ``(quantile,)``, tau of each, within 0 .. 1.

    Returns
    -------
    ``(..., quantile)``, in the unit of ``observed``; NaN where either is missing.

    References
    ----------
    Koenker and Bassett (1978), doi:10.2307/1913643.
    """
    error = np.expand_dims(_real(observed), -1) - _real(quantiles)
    return np.asarray(np.maximum(error * levels, error * (levels - 1)))


def level_weights(levels: Array) -> Array:
    """Share of 0 .. 1 that each level represents: from half-way to the level below to half-way to the one above.

    Parameters
    ----------
    levels
        ``(quantile,)``, ascending within 0 .. 1.

    Returns
    -------
    ``(quantile,)``, of sum 1.
    """
    edges = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [1.0]])
    return np.diff(edges)


def crps_of_quantiles(observed: Floats, quantiles: Floats, levels: Array) -> Array:
    """Continuous ranked probability score of a forecast of which some quantiles are known.

    CRPS = 2 integral of rho_tau(y, q(tau)) over tau = 0 .. 1, rho the pinball loss, becomes the sum
    2 sum_i w_i rho_tau_i(y, q_i) with the weights of `level_weights`. Of all approximations this one asks of a model
    nothing but what it gives: each term is least, on average, for the true quantile, so no model gains by stating
    others. Integrating a distribution that is drawn through the quantiles would score its tails, too. It is the
    mean absolute error where all quantiles are equal and the levels are symmetric, and the plain CRPS of an ensemble
    where n members are the quantiles of the levels (i - 1/2) / n. Few levels make it
    coarse: of a normal distribution, 0.05, 0.1, .., 0.95 give 1.4 % too much, and 0.05, 0.1, 0.25, 0.5, 0.75, 0.9,
    0.95 give 1.7 % too little, so scores of other levels are not quite comparable.

    Parameters
    ----------
    observed
        ``(...)``, NaN where missing.
    quantiles
        ``(..., quantile)``, in the unit of ``observed``; NaN where missing.
    levels
        ``(quantile,)``, ascending within 0 .. 1.

    Returns
    -------
    ``(...)``, in the unit of ``observed``; NaN where the observation or any quantile is missing.

    References
    ----------
    Gneiting and Ranjan (2011), doi:10.1198/jbes.2010.08110, for the integral; Bracher et al. (2021),
    doi:10.1371/journal.pcbi.1008618, for its sum.
    """
    return np.asarray(np.vecdot(pinball_loss(observed, quantiles, levels), 2 * level_weights(levels)))


def is_at_or_below(observed: Floats, quantiles: Floats) -> Array:
    """Whether the observation is at most each quantile: of a reliable forecast its mean is the level.

    Parameters
    ----------
    observed
        ``(...)``, NaN where missing.
    quantiles
        ``(..., quantile)``, NaN where missing.

    Returns
    -------
    ``(..., quantile)``, 0 or 1; NaN where either is missing.
    """
    y, q = np.expand_dims(_real(observed), -1), _real(quantiles)
    return np.where(np.isfinite(y) & np.isfinite(q), y <= q, np.nan)


def is_covered(observed: Floats, low: Floats, high: Floats) -> Array:
    """Whether the observation is in an interval, its limits included: of a reliable one its mean is the nominal level.

    Parameters
    ----------
    observed, low, high
        ``(...)``, NaN where missing.

    Returns
    -------
    ``(...)``, 0 or 1; NaN where one of the three is missing.
    """
    y, lower, upper = _real(observed), _real(low), _real(high)
    valid = np.isfinite(y) & np.isfinite(lower) & np.isfinite(upper)
    return np.where(valid, (lower <= y) & (y <= upper), np.nan)


def pit_shares(observed: Floats, quantiles: Floats, levels: Array, bins: int = 10) -> Array:
    """Rank of the observation in the forecast distribution, from 0 to 1, as shares of bins that sum to 1.

    The probability integral transform is known but within limits: of an observation between two quantiles within their
    levels, of one below all or above all from 0 or to 1, and of one that equals quantiles, as rounded observations do,
    from the level below these to the level above. It counts evenly between its limits, so that the mean over reliable
    forecasts is flat whatever their distribution, and no chance is drawn. It shows nothing finer than the levels.

    Parameters
    ----------
    observed
        ``(...)``, NaN where missing.
    quantiles
        ``(..., quantile)``, in the unit of ``observed``; NaN where missing.
    levels
        ``(quantile,)``, ascending within 0 .. 1.
    bins
        Bins of equal width over 0 .. 1.

    Returns
    -------
    ``(..., bin)``; NaN where the observation or any quantile is missing.

    References
    ----------
    Czado et al. (2009), doi:10.1111/j.1541-0420.2009.01191.x, the non-randomised transform.
    """
    edges = np.concatenate([[0.0], levels, [1.0]])
    y, x = np.expand_dims(_real(observed), -1), _real(quantiles)
    valid = np.isfinite(y) & np.isfinite(x).all(axis=-1, keepdims=True)
    lower, upper = edges[(x < y).sum(axis=-1, keepdims=True)], edges[(x <= y).sum(axis=-1, keepdims=True) + 1]
    limits = np.arange(bins + 1) / bins
    inside = np.minimum(upper, limits[1:]) - np.maximum(lower, limits[:-1])
    return np.where(valid, np.maximum(inside, 0.0) / (upper - lower), np.nan)


def _real(values: Floats) -> Array:
    """Values in float64, NaN where they are not finite."""
    real = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(real), real, np.nan)
