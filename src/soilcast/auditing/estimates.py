"""Means and ratios with standard errors, resampled by blocks of days that all cells share; decay times of curves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

DRAWS = 200
"""How often blocks are drawn anew."""

_SEED = 20240527
_LEAST_BLOCKS = 3
_ALIKE = 0.9


@dataclass(frozen=True)
class Estimate:
    """A value, and the same of blocks that were drawn anew.

    Parameters
    ----------
    value
        Of any shape.
    replicates
        ``(draw, ...)``.
    """

    value: Array
    replicates: Array

    @property
    def error(self) -> Array:
        """Standard error; NaN where blocks that were drawn anew often give no value, or not one of the kind.

        Without end, as a decay time may be, is a value: it has the error 0 where they agree.
        """
        alike = np.isfinite(self.replicates) == np.isfinite(self.value)
        alike &= ~np.isnan(self.replicates)
        values = np.where(alike & np.isfinite(self.replicates), self.replicates, 0.0)
        count = np.maximum(alike.sum(axis=0), 1)
        mean = values.sum(axis=0) / count
        spread = np.sqrt(np.where(alike & np.isfinite(self.replicates), (values - mean) ** 2, 0.0).sum(axis=0) / count)
        return np.where(np.isnan(self.value) | (alike.mean(axis=0) < _ALIKE), np.nan, spread)

    def __getitem__(self, key: Any) -> Estimate:
        return Estimate(self.value[key], self.replicates[(slice(None), *(key if isinstance(key, tuple) else (key,)))])

    def map(self, measure: Callable[[Array], Array]) -> Estimate:
        """Give a measure of the value, which takes leading axes, and its error."""
        return Estimate(measure(self.value), measure(self.replicates))

    def over(self, other: Estimate) -> Estimate:
        """Divide by another of the same draws."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return Estimate(self.value / other.value, self.replicates / other.replicates)


def nothing(*shape: int) -> Estimate:
    """Give an estimate without a value."""
    return Estimate(np.full(shape, np.nan), np.full((DRAWS, *shape), np.nan))


NONE = nothing()
"""No value."""


def ratio(over: Array, under: Array, block: Indices, count: int | None = None) -> Estimate:
    """Give the sum of one number of samples over that of another, with blocks of samples drawn anew.

    Parameters
    ----------
    over
        ``(sample, ...)``.
    under
        ``(sample,)``, or of the shape of ``over``.
    block
        Number of the block of each sample ``(sample,)``: weather that several cells and days share is in one.
    count
        Number of all blocks, whether there are samples in them or not: with equal numbers the same ones are drawn.

    Returns
    -------
    ``(...)``; without an error where fewer than three blocks have samples.
    """
    under = np.broadcast_to(under.reshape(*under.shape, *(1,) * (over.ndim - under.ndim)), over.shape)
    blocks = count or int(block.max(initial=0)) + 1
    shape = (blocks, *over.shape[1:])
    sums = np.zeros(shape), np.zeros(shape)
    for total, part in zip(sums, (over, under), strict=True):
        np.add.at(total, block, part)
    weights = np.random.default_rng(_SEED).multinomial(blocks, np.full(blocks, 1 / blocks), DRAWS)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = sums[0].sum(axis=0) / sums[1].sum(axis=0)
        drawn = [np.tensordot(weights, one, axes=1) for one in sums]
        replicates = drawn[0] / drawn[1]
    has_error = (sums[1] != 0).sum(axis=0) >= _LEAST_BLOCKS
    return Estimate(value, np.where(has_error, replicates, np.nan))


def e_folding(since: Indices, response: Array) -> Array:
    """Days in which a response falls by a factor e, from its largest value on.

    A line through the logarithm of what is above 0, weighted by the square of the response: as a fit of an exponential
    to the response itself would weigh it.

    Parameters
    ----------
    since
        Days ``(day,)``.
    response
        ``(..., day)``; NaN where there is none.

    Returns
    -------
    ``(...)`` [d]: NaN with fewer than three days to fit, infinite where it does not fall.
    """
    peak = np.argmax(np.nan_to_num(response, nan=-np.inf), axis=-1)
    use = np.isfinite(response) & (response > 0) & (np.arange(len(since)) >= peak[..., np.newaxis])
    value = np.where(use, response, 1.0)
    weight = np.where(use, value**2, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = weight.sum(axis=-1, keepdims=True)
        day = since - (weight * since).sum(axis=-1, keepdims=True) / total
        rate = -(weight * day * np.log(value)).sum(axis=-1) / (weight * day**2).sum(axis=-1)
        time = np.where(rate > 0, 1 / rate, np.inf)
    return np.where(use.sum(axis=-1) < 3, np.nan, time)


def time_scale(persistence: Array) -> Array:
    """Days in which what persists from day to day by a share falls by a factor e; infinite from 1 on, NaN below 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(persistence >= 1, np.inf, np.where(persistence > 0, -1 / np.log(persistence), np.nan))
