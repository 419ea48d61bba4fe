"""How far each quantile is moved so that it holds what it promises: split-conformal calibration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.floating]
Groups = npt.NDArray[np.integer]
Array = npt.NDArray[np.float64]

LEAST_SAMPLES = 500
"""Fewer known errors than this of a group, lead and layer, and it is calibrated with all groups together."""

# Products of levels and counts that are whole numbers come out a little off them.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Calibration:
    """What is added to the quantiles of each group of cells, lead and layer.

    Parameters
    ----------
    levels
        ``(level,)`` float64, the quantiles' levels.
    shift
        ``(group + 1, lead, layer, level)`` float64, in units of the errors; the last row is for cells of no group. NaN
        where there was no known error at all.
    samples
        ``(group + 1, lead, layer)`` int64, known errors that a group has of its own, in the last row those of all.
    """

    levels: Array
    shift: Array
    samples: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.levels.ndim != 1 or not (np.diff(self.levels, prepend=0.0, append=1.0) > 0).all():
            raise ValueError("calibration.levels do not increase between 0 and 1")
        if self.shift.ndim != 4 or self.shift.shape[-1:] != self.levels.shape or not len(self.shift):
            raise ValueError(f"calibration.shift has the shape {self.shift.shape}")
        if self.samples.shape != self.shift.shape[:-1]:
            raise ValueError(f"calibration.samples has the shape {self.samples.shape}")

    def notes(self) -> Iterator[str]:
        """Say which quantiles the validation errors are too few to calibrate."""
        counts = np.where(self.samples < LEAST_SAMPLES, self.samples[-1:], self.samples)
        fewest = int(counts.min())
        needed = np.ceil(1 / np.minimum(self.levels, 1 - self.levels) - 1 - _ROUNDING).astype(np.int64)
        if (missed := self.levels[fewest < needed]).size:
            yield (
                f"quantiles {', '.join(f'{level:g}' for level in missed)} are not calibrated: {fewest} validation "
                f"cell-day(s), of {needed.max()} needed; intervals between them hold less than they promise: set a "
                "longer validation period"
            )

    def apply(self, quantiles: Values, group: Groups) -> npt.NDArray[np.float32]:
        """Calibrate quantiles.

        Parameters
        ----------
        quantiles
            ``(cell, ..., lead, layer, level)`` of the errors, for the levels of the calibration.
        group
            ``(cell,)``, from 0; negative for no group.

        Returns
        -------
        Of the same shape, float32, nondecreasing along the levels.
        """
        groups = len(self.shift) - 1
        assert group.shape == quantiles.shape[:1], "a group for each cell"
        assert (group < groups).all(), "groups that were calibrated"
        shift = self.shift[np.where(group < 0, groups, group)]
        return apply(shift.reshape(len(shift), *(1,) * (quantiles.ndim - 4), *shift.shape[1:]), quantiles)


def apply(shift: Array, quantiles: Values) -> npt.NDArray[np.float32]:
    """Add shifts to quantiles ``(..., level)``, and bring what crosses by it into order.

    Ordering takes no quantile farther from the truth on the whole (Chernozhukov et al. 2010, doi:10.3982/ECTA7880).

    Returns
    -------
    ``(..., level)`` float32; all NaN where one is.
    """
    moved = (quantiles + shift).astype(np.float32)
    moved[np.isnan(moved).any(axis=-1)] = np.nan
    return np.sort(moved, axis=-1)


def calibrate(
    errors: Values,
    quantiles: Values,
    levels: npt.ArrayLike,
    group: Groups,
    groups: int,
    least: int = LEAST_SAMPLES,
) -> Calibration:
    """Learn from a validation period how far quantiles must be moved.

    Each quantile is moved by an order statistic of the n residuals e - q (conformalised quantile regression, Romano et
    al. 2019, arXiv:1905.03222, each side by itself): with rank ceil((n + 1) p) for a level p above the middle, floor((n
    + 1) p) below it, and between both at it. With q = 0 the errors alone give the quantiles.

    What holds: if the n errors and a new one of the same group, lead and layer are exchangeable, the new one is at or
    below the calibrated quantile of a level p above the middle with a probability of at least p, and of at most
    p + 1 / (n + 1) if there are no ties; below the middle, it is under the quantile with a probability of at most p. So
    an interval between two levels holds at least what it promises. This is so over all cells and days of the group
    together. What does not: errors of neighbouring cells and days are alike, so n counts for far fewer, and realised
    coverage scatters more about the promise than n suggests; the validation period is other years or seasons than those
    that are forecast, and a shift of climate or of the network's errors between them is not seen; nothing is promised
    for a single cell, for one season, or given the weather; and quantiles that cross and are ordered keep the promise
    only as far as they did not cross.

    Parameters
    ----------
    errors
        ``(sample, lead, layer)``, observed less centre; NaN where unknown. Of days that no weight was fitted to.
    quantiles
        ``(sample, lead, layer, level)``, forecasts of the errors' quantiles, in the same units.
    levels
        ``(level,)``, increasing, between 0 and 1.
    group
        ``(sample,)``, the group of each sample's cell, such as its main climate, from 0; negative for no group.
    groups
        How many groups there are; those without samples are calibrated too.
    least
        Known errors below which a group takes the shift of all samples, which include those of no group.

    Returns
    -------
    The shifts. Where all samples together are so few that no rank is left ((n + 1) p < 1, or its mirror), the
    outermost residual stands in, and the promise above does not hold; `Calibration.notes` says so.
    """
    level = np.asarray(levels, dtype=np.float64)
    samples, leads, layers = errors.shape
    assert quantiles.shape == (samples, leads, layers, len(level)), "quantiles for each error"
    assert group.shape == (samples,), "a group for each sample"
    assert (group < groups).all(), "no more groups than there are"
    members = [group == number for number in range(groups)]
    shift = np.empty((groups + 1, leads, layers, len(level)))
    known_errors = np.empty(shift.shape[:-1], dtype=np.int64)
    for lead in range(leads):
        for layer in range(layers):
            residual = errors[:, lead, layer, np.newaxis].astype(np.float64) - quantiles[:, lead, layer]
            known = np.isfinite(residual).all(axis=-1)
            of_all = _order_statistics(residual[known], level)
            shift[groups, lead, layer], known_errors[groups, lead, layer] = of_all, known.sum()
            for number, member in enumerate(members):
                own = residual[known & member]
                known_errors[number, lead, layer] = len(own)
                shift[number, lead, layer] = _order_statistics(own, level) if len(own) >= max(least, 1) else of_all
    return Calibration(level, shift, known_errors)


def to_arrays(calibration: Calibration) -> dict[str, npt.NDArray[Any]]:
    """Give a calibration as named arrays, as a run stores them."""
    return {f"calibration.{name}": getattr(calibration, name) for name in ("levels", "shift", "samples")}


def from_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> Calibration:
    """Undo `to_arrays`.

    Raises
    ------
    KeyError
        An array is not there.
    ValueError
        The arrays do not belong together.
    """
    levels, shift, samples = (arrays[f"calibration.{name}"] for name in ("levels", "shift", "samples"))
    return Calibration(levels.astype(np.float64), shift.astype(np.float64), samples.astype(np.int64))


def order_ranks(count: npt.ArrayLike, level: Array) -> npt.NDArray[np.int64]:
    """Positions of the order statistics that `calibrate` moves quantiles by, in n residuals in ascending order.

    Parameters
    ----------
    count
        n ``(...)``; where it is 0 the position is 0.
    level
        ``(level,)``.

    Returns
    -------
    ``(2, ..., level)``, from 0: the statistic is the mean of both, which differ at the middle alone.
    """
    number = np.asarray(count)[..., np.newaxis]
    rank = (number + 1) * level
    lower, upper = np.floor(rank + _ROUNDING), np.ceil(rank - _ROUNDING)
    lower, upper = np.where(level > 0.5, upper, lower), np.where(level < 0.5, lower, upper)
    return np.asarray(np.clip(np.stack([lower, upper]), 1, np.maximum(number, 1)).astype(np.int64) - 1)


def _order_statistics(residual: Array, level: Array) -> Array:
    """Shift of each level ``(level,)`` from known residuals ``(sample, level)``; NaN if there is none."""
    count = len(residual)
    if count == 0:
        return np.full(len(level), np.nan)
    ranks = order_ranks(count, level)
    out = np.empty(len(level))
    for position in range(len(level)):
        pair = ranks[:, position]
        out[position] = np.partition(residual[:, position], pair)[pair].mean()
    return out
