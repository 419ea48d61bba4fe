"""How far each quantile is moved so that it holds what it promises: split-conformal calibration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from soilcast.training.calibration_groups import GROUPINGS, SEASONS, Grouping, Indices
from soilcast.training.split import GROUPS

Values = npt.NDArray[np.floating]
Array = npt.NDArray[np.float64]

# Products of levels and counts that are whole numbers come out a little off them.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Calibration:
    """What is added to quantiles, by group, lead and layer, and how the leads depend on each other.

    Parameters
    ----------
    levels
        ``(level,)`` float64, the quantiles' levels, the median among them.
    shift
        ``(row, lead, layer, level)`` float64, in units of the errors, a row a group that is used. NaN where there was
        no known error at all.
    samples
        ``(row, lead, layer)`` int64, known errors of the group.
    row
        ``(stratum, season)`` int32, the row of each cell of the run, then of cells that it does not know of each main
        climate, then of those of no climate.
    template
        ``(template, lead, layer)`` float32, see `soilcast.training.copula.rank_templates`.
    """

    levels: Array
    shift: Array
    samples: npt.NDArray[np.int64]
    row: npt.NDArray[np.int32]
    template: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.levels.ndim != 1 or not (np.diff(self.levels, prepend=0.0, append=1.0) > 0).all():
            raise ValueError("calibration.levels do not increase between 0 and 1")
        if self.shift.ndim != 4 or self.shift.shape[-1:] != self.levels.shape or not len(self.shift):
            raise ValueError(f"calibration.shift has the shape {self.shift.shape}")
        if self.samples.shape != self.shift.shape[:-1]:
            raise ValueError(f"calibration.samples has the shape {self.samples.shape}")
        if self.row.ndim != 2 or self.row.shape[1] != SEASONS or len(self.row) <= GROUPS:
            raise ValueError(f"calibration.row has the shape {self.row.shape}")
        if not ((self.row >= 0) & (self.row < len(self.shift))).all():
            raise ValueError("calibration.row names rows that calibration.shift does not have")
        if self.template.shape[1:] != self.shift.shape[1:3]:
            raise ValueError(f"calibration.template has the shape {self.template.shape}")

    def notes(self) -> Iterator[str]:
        """Say which quantiles the validation errors are too few to calibrate, and whether leads can be joined."""
        fewest = int(self.samples.min())
        needed = _least_errors(self.levels)
        if (missed := self.levels[fewest < needed]).size:
            yield (
                f"quantiles {', '.join(f'{level:g}' for level in missed)} are not calibrated: {fewest} validation "
                f"cell-day(s), of {needed.max()} needed; intervals between them hold less than they promise: set a "
                "longer validation period"
            )
        if not len(self.template) and len(self.levels) > 1 and self.shift.shape[1] > 1:
            yield (
                "no validation cell-day is observed at all leads: forecasts have no rank templates and no probability "
                "of being dry by a lead"
            )

    def rows_of(self, cell: Indices, climate: Indices, season: Indices) -> Indices:
        """Row of each forecast.

        Parameters
        ----------
        cell, climate, season
            See `soilcast.training.calibration_groups.Grouping.number`; the climate counts where the cell is not known.
        """
        cells = len(self.row) - GROUPS - 1
        assert (cell < cells).all(), "cells that were calibrated"
        stratum = np.where(cell < 0, cells + np.where(climate < 0, GROUPS, climate), cell)
        rows: Indices = self.row[stratum, season]
        return rows

    def apply(self, quantiles: Values, rows: Indices) -> npt.NDArray[np.float32]:
        """Calibrate quantiles.

        Parameters
        ----------
        quantiles
            ``(..., lead, layer, level)`` of the errors, for the levels of the calibration.
        rows
            ``(..., lead)``, see `rows_of`.

        Returns
        -------
        Of the same shape, float32, nondecreasing along the levels.
        """
        assert rows.shape == quantiles.shape[:-2], "a row for each forecast and lead"
        moved = np.empty(quantiles.shape, dtype=np.float32)
        for lead in range(rows.shape[-1]):
            moved[..., lead, :, :] = apply(self.shift[rows[..., lead], lead], quantiles[..., lead, :, :])
        return moved


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
    cell: Indices,
    climate: Indices,
    season: Indices,
    groupings: Sequence[Grouping] = GROUPINGS,
) -> Calibration:
    """Learn from a validation period how far quantiles must be moved.

    Each quantile is moved by an order statistic of the n residuals e - q (conformalised quantile regression, Romano et
    al. 2019, arXiv:1905.03222, each side by itself): with rank ceil((n + 1) p) for a level p above the middle, floor((n
    + 1) p) below it, and between both at it. With q = 0 the errors alone give the quantiles. The residuals are those of
    the finest group of a forecast (Mondrian calibration, Vovk et al. 2003) that has enough of them.

    What holds: if the n errors and a new one of the same group, lead and layer are exchangeable, the new one is at or
    below the calibrated quantile of a level p above the middle with a probability of at least p, and of at most
    p + 1 / (n + 1) if there are no ties; below the middle, it is under the quantile with a probability of at most p. So
    an interval between two levels holds at least what it promises. This is so over all cells and days of the group
    together. What does not: errors of neighbouring cells and days are alike, so n counts for far fewer, and realised
    coverage scatters more about the promise than n suggests; the validation period is other years than those that are
    forecast, and a shift of climate or of the network's errors between them is not seen; nothing is promised for a
    single cell or season that is calibrated with others, or given the weather; and quantiles that cross and are ordered
    keep the promise only as far as they did not cross.

    Parameters
    ----------
    errors
        ``(sample, lead, layer)``, observed less centre; NaN where unknown. Of days that no weight was fitted to.
    quantiles
        ``(sample, lead, layer, level)``, forecasts of the errors' quantiles, in the same units.
    levels
        ``(level,)``, increasing, between 0 and 1.
    cell
        ``(sample,)``, the row of each sample's cell in the run; negative for none.
    climate
        ``(cell,)``, the main climate of each of the run's cells, from 0; negative where it is not known.
    season
        ``(sample, lead)``, 0 .. 3, of the day that is forecast.
    groupings
        From the finest on; the last holds any number of errors.

    Returns
    -------
    The shifts of the groups that are used, without templates. Where all samples together are so few that no rank is
    left ((n + 1) p < 1, or its mirror), the outermost residual stands in, and the promise above does not hold;
    `Calibration.notes` says so. No smaller group is calibrated by itself without these ranks.
    """
    level = np.asarray(levels, dtype=np.float64)
    samples, leads, layers = errors.shape
    assert quantiles.shape == (samples, leads, layers, len(level)), "quantiles for each error"
    assert cell.shape == (samples,), "a cell for each sample"
    assert season.shape == (samples, leads), "a season for each sample and lead"
    assert groupings[-1].least == 0, "a group that all belong to"
    known = np.isfinite(errors) & np.isfinite(quantiles).all(axis=-1)
    of_sample = cell[:, np.newaxis], np.where(cell < 0, -1, climate[cell])[:, np.newaxis], season
    # The cells of the run, then unknown ones of each climate, then those of none.
    of_stratum = (
        np.append(np.arange(len(climate)), np.full(GROUPS + 1, -1))[:, np.newaxis],
        np.concatenate([climate, np.arange(GROUPS), [-1]])[:, np.newaxis],
        np.arange(SEASONS),
    )
    row = np.full((len(climate) + GROUPS + 1, SEASONS), -1, dtype=np.int32)
    shifts: list[Array] = []
    counts: list[npt.NDArray[np.int64]] = []
    for grouping in groupings:
        members, groups = grouping.number(*of_sample), grouping.number(*of_stratum)
        count = _known_errors(known, members, max(members.max(), groups.max()) + 1)
        least = grouping.least and max(grouping.least, int(_least_errors(level).max()))
        used = (row < 0) & (groups >= 0) & (count.min(axis=(1, 2)) >= least)[groups]
        chosen = np.unique(groups[used])
        row[used] = len(shifts) + np.searchsorted(chosen, groups[used])
        shift = np.empty((len(chosen), leads, layers, len(level)))
        for lead in range(leads):
            order = np.argsort(members[:, lead], kind="stable")
            starts, stops = (np.searchsorted(members[order, lead], chosen, side=side) for side in ("left", "right"))
            for position, (start, stop) in enumerate(zip(starts, stops, strict=True)):
                own = order[start:stop]
                for layer in range(layers):
                    mine = own[known[own, lead, layer]]
                    residual = errors[mine, lead, layer, np.newaxis].astype(np.float64) - quantiles[mine, lead, layer]
                    shift[position, lead, layer] = _order_statistics(residual, level)
        shifts += [*shift]
        counts += [*count[chosen]]
    template = np.empty((0, leads, layers), dtype=np.float32)
    return Calibration(level, np.stack(shifts), np.stack(counts), row, template)


def to_arrays(calibration: Calibration) -> dict[str, npt.NDArray[Any]]:
    """Give a calibration as named arrays, as a run stores them."""
    return {f"calibration.{name}": value for name, value in vars(calibration).items()}


def from_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> Calibration:
    """Undo `to_arrays`.

    Raises
    ------
    KeyError
        An array is not there.
    ValueError
        The arrays do not belong together.
    """
    types = {"levels": np.float64, "shift": np.float64, "samples": np.int64, "row": np.int32, "template": np.float32}
    return Calibration(**{name: arrays[f"calibration.{name}"].astype(dtype) for name, dtype in types.items()})


def _least_errors(level: Array) -> npt.NDArray[np.int64]:
    """Errors without which a level has no rank: (n + 1) p < 1, or its mirror."""
    needed: npt.NDArray[np.int64] = np.ceil(1 / np.minimum(level, 1 - level) - 1 - _ROUNDING).astype(np.int64)
    return needed


def _known_errors(known: npt.NDArray[np.bool_], members: Indices, groups: int) -> npt.NDArray[np.int64]:
    """Known errors ``(sample, lead, layer)`` of each group ``(group, lead, layer)``; members are ``(sample, lead)``."""
    _, leads, layers = known.shape
    count = np.zeros((groups, leads, layers), dtype=np.int64)
    for lead in range(leads):
        belongs = members[:, lead] >= 0
        for layer in range(layers):
            count[:, lead, layer] = np.bincount(members[known[:, lead, layer] & belongs, lead], minlength=groups)
    return count


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
