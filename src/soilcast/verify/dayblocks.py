"""Sums over blocks of days, from which scores of all days and of resampled days follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from soilcast.cube import open_cube, usable_target
from soilcast.errors import SoilcastError
from soilcast.models.baselines import BASELINES
from soilcast.progress import progress_bar
from soilcast.training.inputs import block_size
from soilcast.verify.aligned import Aligned
from soilcast.verify.blocks import measure
from soilcast.verify.consistency import Readings
from soilcast.verify.deterministic import Moments, scores_of
from soilcast.verify.entries import open_entries
from soilcast.verify.extremes import Side
from soilcast.verify.kernels import FEWEST_DAYS, crps_by_day
from soilcast.verify.loading import GROUP, align, load_target
from soilcast.verify.metrics import BUILT_IN
from soilcast.verify.plan import Files, Plan, make_plan, open_files

BLOCK_DAYS = 45
"""Days of a block. Blocks much longer than errors last can be taken as independent of one another, and a year should
hold enough of them. Differences of squared errors of the built-in planet's networks last for days to weeks: the error
of their mean hardly grows with the block from 45 days on, in most cells."""

_EXTREMES: dict[str, Side] = {"rmse_dry": "dry", "rmse_wet": "wet"}
_MOMENTS = ("days", "observed", "predicted", "observed squared", "predicted squared", "product")
_FROM_MOMENTS = ("r", "rmse", "r2", "kge", "bias")
_MOST_BYTES = 512 * 2**20
"""Size of the sums that are computed in one pass over the files [bytes]."""

Array = npt.NDArray[np.float64]
_Part = tuple[Array, npt.NDArray[np.bool_], Array, dict[str, Array], dict[str, Array]]


@dataclass(frozen=True)
class DayBlocks:
    """Sums over blocks of days of one target and lead, of every model and cell, over the days that all models have.

    Parameters
    ----------
    models
        Labels: the forecasts, then the baselines.
    offset
        Mean observation ``(cell,)``, which is subtracted from all that is summed [m3 m-3].
    moves
        ``(cell,)``, whether the observations move: see `soilcast.verify.deterministic.scores_of`.
    moments
        ``(6, model, cell, block)``: the number of days, and the sums of observed, predicted, their squares and their
        product.
    daily
        Metric that is a mean over days -> ``(2, model, cell, block)``: its sum over days, and days counted. These are
        ``crps``; ``rmse_dry`` and ``rmse_wet``, whose sum is that of the squared errors on the driest and wettest
        observed days of the whole test period; and those of consistency (Eq. 19), whose sum is that of the days
        consistent with the water balance.
    custom
        User-defined metric -> ``(model, cell)``, of all days together: days cannot be resampled in it.
    """

    models: tuple[str, ...]
    offset: Array
    moves: npt.NDArray[np.bool_]
    moments: Array
    daily: Mapping[str, Array]
    custom: Mapping[str, Array] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of blocks."""
        return int(self.moments.shape[-1])

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics of `scores`."""
        return (*_FROM_MOMENTS, *self.daily, *self.custom)

    def of_cells(self, inside: npt.NDArray[np.bool_]) -> DayBlocks:
        """Select cells."""
        daily = {name: days[:, :, inside] for name, days in self.daily.items()}
        custom = {name: values[:, inside] for name, values in self.custom.items()}
        moments = self.moments[:, :, inside]
        return DayBlocks(self.models, self.offset[inside], self.moves[inside], moments, daily, custom)

    def centred(self, model: str, weights: Array | None = None) -> Moments:
        """Moments of a model about its means, ``(resample, cell)`` each; see `scores`."""
        block_weights = np.ones((1, self.count)) if weights is None else weights
        with np.errstate(divide="ignore", invalid="ignore"):
            return _centred([block_weights @ sums.T for sums in self.moments[:, self.models.index(model)]], self.offset)

    def scores(self, model: str, weights: Array | None = None) -> dict[str, Array]:
        """Score a model on the test days, or on resamples of their blocks.

        Parameters
        ----------
        model
            Its label.
        weights
            ``(resample, block)``, how often each block counts; by default once.

        Returns
        -------
        Metric -> ``(resample, cell)``; NaN where it is not defined, as in
        `soilcast.verify.deterministic.score_cells`, and of resamples in a user-defined metric.
        """
        position = self.models.index(model)
        block_weights = np.ones((1, self.count)) if weights is None else weights
        with np.errstate(divide="ignore", invalid="ignore"):
            measured = scores_of(self.centred(model, weights), self.moves)
            measured = {name: measured[name] for name in _FROM_MOMENTS}
            for name, days in self.daily.items():
                total, counted = (block_weights @ sums.T for sums in days[:, position])
                mean = np.where(counted > 0, total / counted, np.nan)
                measured[name] = np.where(counted >= FEWEST_DAYS, np.sqrt(mean), np.nan) if name in _EXTREMES else mean
        for name, values in self.custom.items():
            stored = values[position] if weights is None else np.nan
            measured[name] = np.broadcast_to(stored, (len(block_weights), len(self.offset)))
        return measured


def sum_day_blocks(
    forecasts: Sequence[str | Path],
    cube: str | Path,
    readings: Readings,
    *,
    target: str | None = None,
    block_days: int = BLOCK_DAYS,
    progress: bool = False,
) -> dict[tuple[str, int], DayBlocks]:
    """Sum forecasts and baselines over blocks of the issue days, of each target and lead.

    Parameters
    ----------
    forecasts
        What `forecast` wrote on this cube: see `soilcast.evaluate`.
    cube
        The cube.
    readings
        Name -> water balance by which consistency is measured, of every target; each gives a metric of this name, and
        one with ``_masked`` at its end for the days that Eq. 13 keeps.
    target
        Sum this one alone; by default all that the forecasts have in common.
    block_days
        Days of a block; blocks are of equal length to a day, and none is shorter.
    progress
        Show a bar.

    Returns
    -------
    (target, lead) -> sums; target by target, and each lead by lead.

    Raises
    ------
    SoilcastError
        Forecasts that do not belong to this cube or to each other, no cell-day that all models have.
    """
    plan = plan_day_blocks(forecasts, cube, readings)
    plan = plan if target is None else replace(plan, targets=(target,))
    return dict(iterate_day_blocks(plan, block_days, progress=progress))


def plan_day_blocks(forecasts: Sequence[str | Path], cube: str | Path, readings: Readings) -> Plan:
    """Plan the evaluation of `sum_day_blocks`.

    Raises
    ------
    SoilcastError
        Forecasts that do not belong to this cube or to each other.
    """
    with open_cube(cube) as opened:
        entries = open_entries([Path(path) for path in forecasts], opened, reserved=tuple(BASELINES))
        return make_plan(entries, opened, Path(cube), dict.fromkeys(entries[0].targets, readings))


def iterate_day_blocks(
    plan: Plan, block_days: int = BLOCK_DAYS, *, progress: bool = False
) -> Iterator[tuple[tuple[str, int], DayBlocks]]:
    """Sums of `sum_day_blocks` of a planned evaluation, target by target, and each lead by lead.

    The files are read once for as many leads as fit into memory together, however many leads there are. A lead without
    a cell-day that all models have is skipped.

    Raises
    ------
    SoilcastError
        No lead has any.
    """
    starts = block_starts(plan.issues, block_days)
    pairs = [(target, lead) for target in plan.targets for lead in range(1, plan.leads + 1)]
    daily = 1 + len(_EXTREMES) + 2 * max(map(len, plan.readings.values()))
    is_empty = True
    with open_files(plan) as files:
        sums = len(plan.models) * files.cube.sizes["cell"] * len(starts) * (len(_MOMENTS) + 2 * daily)
        pairs_at_once = max(1, _MOST_BYTES // (8 * sums))
        for first in range(0, len(pairs), pairs_at_once):
            parts = _sum_blocks(plan, files, pairs[first : first + pairs_at_once], starts, progress=progress)
            for pair, block_sums in parts:
                if any(part[2][0].any() for part in block_sums):
                    is_empty = False
                    yield pair, _joined(plan, block_sums)
                block_sums.clear()
    if is_empty:
        raise SoilcastError(
            f"{plan.cube}: no cell-day is common to observations and all models: forecast a period with observations"
        )


def _sum_blocks(
    plan: Plan, files: Files, pairs: Sequence[tuple[str, int]], starts: npt.NDArray[np.int64], *, progress: bool
) -> list[tuple[tuple[str, int], list[_Part]]]:
    """Give the sums of blocks of cells of some targets and leads, read in one pass."""
    parts: dict[tuple[str, int], list[_Part]] = {name: [] for name in pairs}
    cells, days = files.cube.sizes["cell"], files.cube.sizes["time"]
    levels = sum(len(plan.levels_of(label, target)) for label in plan.models for target in plan.targets)
    readings = max(map(len, plan.readings.values()))
    values_per_issue = plan.leads * (len(plan.models) + levels) + len(plan.models) + 4 * readings
    size = max(GROUP, block_size(days + plan.issues * values_per_issue, 1))
    with progress_bar("sums", -(-cells // size), shown=progress) as advance:
        for start in range(0, cells, size):
            block = slice(start, min(start + size, cells))
            for target in dict(pairs):
                loaded = load_target(plan, files, target, block)
                for lead in (lead for name, lead in pairs if name == target):
                    models, _ = align(plan, loaded, lead)
                    parts[target, lead].append(_sum(plan, target, models, starts))
            advance("")
    return list(parts.items())


def block_starts(days: int, block_days: int) -> npt.NDArray[np.int64]:
    """First day of each block: as many blocks of ``block_days`` or a few more as there is room for, at least one."""
    count = max(1, days // block_days)
    return np.array([days * block // count for block in range(count)], dtype=np.int64)


def _sum(plan: Plan, target: str, models: Mapping[str, Aligned], starts: npt.NDArray[np.int64]) -> _Part:
    """Offset, moves, moments, metric -> its sums and days counted, and user-defined metric, of one block of cells."""
    observed = next(iter(models.values())).observed
    usable = np.isfinite(observed)
    offset, moments = sum_moments(observed, usable, [one.mean for one in models.values()], starts)
    names = ("crps", *_EXTREMES, *next(iter(models.values())).signs)
    daily = {name: np.empty((2, *moments.shape[1:])) for name in names}
    for position, aligned in enumerate(models.values()):
        moved = aligned.previous.astype(np.float64) - aligned.mean
        for name, sign in aligned.signs.items():
            product = sign * moved
            for number, series in enumerate((product < 0, np.abs(product) > 0)):
                daily[name][number, position] = np.add.reduceat(series.astype(np.float64), starts, axis=1)
        for name, side in _EXTREMES.items():
            extreme = aligned.is_extreme(side)
            error = np.where(extreme, aligned.mean.astype(np.float64) - observed, 0.0)
            for number, series in enumerate((error**2, extreme.astype(np.float64))):
                daily[name][number, position] = np.add.reduceat(series, starts, axis=1)
        score = np.where(usable, crps_by_day(aligned), 0.0)
        daily["crps"][0, position] = np.add.reduceat(score, starts, axis=1)
        daily["crps"][1, position] = moments[0, position]
    custom = {name: np.full((len(models), len(observed)), np.nan) for name in plan.measured if name not in BUILT_IN}
    for name, values in custom.items():
        for position, (label, aligned) in enumerate(models.items()):
            if plan.is_measured(plan.metrics[name], label, target):
                values[position] = measure(plan.metrics[name], aligned)
    return offset, usable_target(observed), moments, daily, custom


def _joined(plan: Plan, parts: Sequence[_Part]) -> DayBlocks:
    return DayBlocks(
        models=tuple(plan.models),
        offset=np.concatenate([part[0] for part in parts]),
        moves=np.concatenate([part[1] for part in parts]),
        moments=np.concatenate([part[2] for part in parts], axis=2),
        daily={name: np.concatenate([part[3][name] for part in parts], axis=2) for name in parts[0][3]},
        custom={name: np.concatenate([part[4][name] for part in parts], axis=1) for name in parts[0][4]},
    )


def sum_moments(
    observed: npt.NDArray[np.floating],
    usable: npt.NDArray[np.bool_],
    models: Sequence[npt.NDArray[np.floating]],
    starts: npt.NDArray[np.int64],
) -> tuple[Array, Array]:
    """Sum observations and models over blocks of days.

    Parameters
    ----------
    observed, usable
        ``(cell, day)`` [m3 m-3], and the days that count.
    models
        Of each model ``(cell, day)`` [m3 m-3].
    starts
        First day of each block.

    Returns
    -------
    ``offset`` and ``moments`` of `DayBlocks`.
    """
    days = usable.sum(axis=1)
    offset = np.where(usable, observed, 0).sum(axis=1, dtype=np.float64) / np.maximum(days, 1)
    y = np.where(usable, observed - offset[:, np.newaxis], 0.0)
    moments = np.empty((len(_MOMENTS), len(models), len(observed), len(starts)))
    for position, values in enumerate(models):
        f = np.where(usable, values - offset[:, np.newaxis], 0.0)
        for number, series in enumerate((usable.astype(np.float64), y, f, y * y, f * f, y * f)):
            moments[number, position] = np.add.reduceat(series, starts, axis=1)
    return offset, moments


def _centred(sums: Sequence[Array], offset: Array) -> Moments:
    """Moments about the means, from the six sums ``(resample, cell)`` about the offset."""
    n, y, f, yy, ff, yf = sums
    return Moments(
        days=n,
        mean_observed=y / n + offset,
        mean_predicted=f / n + offset,
        bias=(f - y) / n,
        observed=yy - y * y / n,
        predicted=ff - f * f / n,
        product=yf - y * f / n,
        error=yy - 2 * yf + ff - (f - y) ** 2 / n,
    )
