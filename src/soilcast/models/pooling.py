"""Pooled predictive distribution: quantiles of the equal mixture of an ensemble's members."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from soilcast.models.distributions import checked_levels

Quantiles = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]

_AT_ONCE = 2**16  # knots of one step: what stays in the processor's cache
# Sums of probabilities differ from the levels by rounding; a level counts as reached if it is missed by no more.
_ROUNDING = 1e-12


def pool_quantiles(quantiles: npt.NDArray[np.floating], levels: npt.ArrayLike) -> Quantiles:
    """Pool the members of an ensemble: trained networks, Monte Carlo dropout samples, forecasts with perturbed weather.

    Each member's quantiles are read as a distribution function that is linear between them, and extrapolated with
    the outermost gradients to 0 and 1. The mean of these functions is that of the equal mixture (the linear pool); it
    is inverted exactly. A member of equal quantiles is a point, so point forecasts give the steps of their ranks. The
    pool of members that are calibrated each by itself is too wide (Ranjan and Gneiting 2010,
    doi:10.1111/j.1467-9868.2009.00726.x): calibrate after pooling.

    Parameters
    ----------
    quantiles
        ``(member, ..., level)``, nondecreasing along the levels, in any unit; of the forecast itself, or of errors
        about one centre for all members.
    levels
        ``(level,)``, increasing, between 0 and 1.

    Returns
    -------
    ``(..., level)`` float32, nondecreasing; NaN where a member is NaN.
    """
    level = checked_levels(levels)
    members, *shape, count = quantiles.shape
    assert count == len(level), "one quantile a level"
    flat = quantiles.reshape(members, -1, count)
    out = np.full(flat.shape[1:], np.nan, dtype=np.float32)
    rows = max(_AT_ONCE // (members * (count + 2)), 1)
    for start in range(0, flat.shape[1], rows):
        block = flat[:, start : start + rows].astype(np.float64)
        valid = np.isfinite(block).all(axis=(0, 2))
        out[start : start + rows][valid] = _pool(block[:, valid], level)
    return out.reshape(*shape, count)


def _pool(quantiles: Matrix, level: Matrix) -> Matrix:
    """Quantiles of the mixture ``(row, level)`` of ``(member, row, level)``."""
    assert (np.diff(quantiles, axis=-1) >= 0).all(), "quantiles must not decrease"
    members, rows, _ = quantiles.shape
    knots, probability = _extrapolate(quantiles, level)
    piece = np.diff(knots, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        density = np.diff(probability) / (piece * members)
    point = ~np.isfinite(density)
    # The mass of a single point is a jump at the knot that ends the piece.
    jump = np.where(point, np.diff(probability) / members, 0.0)
    none = np.zeros((members, rows, 1))
    jump = np.concatenate([none, jump], axis=-1)
    density = np.concatenate([none, np.where(point, 0.0, density), none], axis=-1)

    # All members' knots in one order; stable, so that equal knots of a member stay in theirs.
    together = knots.transpose(1, 0, 2).reshape(rows, members * knots.shape[-1])
    order = np.argsort(together, axis=-1, kind="stable")
    position = np.take_along_axis(together, order, axis=-1)
    rise = np.zeros_like(position)
    for member in range(members):
        passed = np.cumsum(order // knots.shape[-1] == member, axis=-1)
        rise[:, :-1] += np.take_along_axis(density[member], passed[:, :-1], axis=-1)
    rise[:, 1:] = rise[:, :-1] * np.diff(position, axis=-1)
    rise[:, 0] = 0.0
    jumps = np.take_along_axis(jump.transpose(1, 0, 2).reshape(position.shape), order, axis=-1)
    after = np.cumsum(rise + jumps, axis=-1)
    return _inverse(position, after - jumps, after, level)


def _extrapolate(quantiles: Matrix, level: Matrix) -> tuple[Matrix, Matrix]:
    """Quantiles with those of 0 and 1 beside ``(member, row, knot)``, and the probabilities of all ``(knot,)``."""
    probability = np.concatenate([[0.0], level, [1.0]])
    first, last = quantiles[..., :1], quantiles[..., -1:]
    if len(level) > 1:
        first = first - (quantiles[..., 1:2] - first) * (level[0] / (level[1] - level[0]))
        last = last + (last - quantiles[..., -2:-1]) * ((1 - level[-1]) / (level[-1] - level[-2]))
    return np.concatenate([first, quantiles, last], axis=-1), probability


def _inverse(at: Matrix, before: Matrix, after: Matrix, level: Matrix) -> Matrix:
    """Invert distribution functions ``(row, knot)`` that rise from ``before`` to ``after`` at each knot."""
    out = np.empty((len(at), len(level)))
    for position, probability in enumerate(level):
        right = np.count_nonzero(after < probability - _ROUNDING, axis=-1, keepdims=True).clip(max=at.shape[-1] - 1)
        left = np.maximum(right - 1, 0)
        start, end, low, high = (
            np.take_along_axis(values, index, axis=-1)[:, 0]
            for values, index in ((at, left), (at, right), (after, left), (before, right))
        )
        share = np.divide(probability - low, high - low, out=np.ones_like(low), where=high > low).clip(0, 1)
        out[:, position] = start + share * (end - start)
    return np.maximum.accumulate(out, axis=-1)
