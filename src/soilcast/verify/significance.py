"""Scores of models on resamples of the test days, and the differences between models that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from soilcast.progress import progress_bar
from soilcast.verify.dayblocks import DayBlocks
from soilcast.verify.estimates import Array, Estimate, combine
from soilcast.verify.summary import weighted_means, weighted_medians

RESAMPLES = 500

UNTRAINED = -1
"""Seed of a baseline, which has none."""

_MOST_BYTES = 256 * 2**20
"""Size of the scores of resamples in memory at once [bytes]."""

Statistic = Literal["median", "mean"]
Seeds = Mapping[int, str]
"""Seed -> label of the model that was trained with it; `UNTRAINED` for a baseline."""

_STATISTICS: dict[Statistic, Callable[[Array, Array], Array]] = {"median": weighted_medians, "mean": weighted_means}


@dataclass(frozen=True)
class Sample:
    """Scores of rows on the test days as they are and on resamples of them, from which all tests follow.

    Parameters
    ----------
    rows
        Row -> its seeds.
    metrics
        The metrics.
    cells
        Row -> metric -> ``(seed, cell)``.
    field
        Row -> (metric, statistic) -> ``(seed, 1 + resample)``: over the cells, first of the days as they are.
    variance
        (row, reference) -> metric -> ``(cell,)``: of the difference of the means over common seeds.
    blocks
        Number of blocks of days.
    area
        Weight of each cell ``(cell,)``: see `soilcast.verify.summary.cell_weights`.
    """

    rows: Mapping[str, Seeds]
    metrics: tuple[str, ...]
    cells: Mapping[str, Mapping[str, Array]]
    field: Mapping[str, Mapping[tuple[str, Statistic], Array]]
    variance: Mapping[tuple[str, str], Mapping[str, Array]]
    blocks: int
    area: Array

    def over_area(self, row: str, metric: str, statistic: Statistic = "median") -> Array:
        """Weighted median or mean over the cells, ``(seed,)``."""
        return self.field[row][metric, statistic][:, 0]

    def compare_over_area(self, row: str, reference: str, metric: str, statistic: Statistic = "median") -> Estimate:
        """Difference of the weighted medians or means."""
        difference = _difference(
            self.rows, row, reference, {name: of[metric, statistic] for name, of in self.field.items()}
        )
        return self._combine(difference)

    def estimate_over_area(self, row: str, metric: str, statistic: Statistic = "median") -> Estimate:
        """Area-weighted median or mean itself, with its interval over days and seeds."""
        return self._combine(self.field[row][metric, statistic])

    def _combine(self, values: Array) -> Estimate:
        """Combine ``(seed, 1 + resample)``, first of the days as they are."""
        return combine(values[:, 0], values[:, 1:].mean(axis=0).var(), self.blocks)

    def compare_in_cells(self, row: str, reference: str, metric: str, *, of_seeds: bool = True) -> Estimate:
        """Difference in every cell; the pair is one of those that the sample was taken for.

        Without the variance ``of_seeds`` it tests these trained networks, not whether retrained ones would differ.
        """
        difference = _difference(self.rows, row, reference, {name: of[metric] for name, of in self.cells.items()})
        difference = difference if of_seeds else difference.mean(axis=0, keepdims=True)
        return combine(difference, self.variance[row, reference][metric], self.blocks)


def take_sample(
    blocks: DayBlocks,
    area: Array,
    rows: Mapping[str, Seeds],
    pairs: Sequence[tuple[str, str]],
    *,
    metrics: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: bool = False,
) -> Sample:
    """Score rows on the test days, and on resamples of their blocks that all rows and cells share.

    Parameters
    ----------
    blocks
        Sums over blocks of days.
    area
        Weight of each cell ``(cell,)``: see `soilcast.verify.summary.cell_weights`.
    rows
        Row -> its seeds.
    pairs
        (row, reference) whose cells are to be compared.
    metrics
        Those to score; by default all that the sums give.
    resamples
        Number of resamples.
    seed
        Random seed of the resamples.
    progress
        Show a bar.
    """
    count = blocks.count
    drawn = draw_blocks(count, resamples, seed)
    names = blocks.metrics if metrics is None else tuple(metrics)
    as_is = {row: _score_seeds(blocks, names, seeds, None) for row, seeds in rows.items()}
    field = {row: _over_area(scored, area) for row, scored in as_is.items()}
    spread = {pair: {metric: _Variance() for metric in names} for pair in pairs}
    bytes_per_resample = 8 * len(area) * len(names) * sum(len(seeds) for seeds in rows.values())
    resamples_at_once = max(1, _MOST_BYTES // bytes_per_resample)
    starts = range(0, resamples, resamples_at_once)
    with progress_bar("resampling days", len(starts), shown=progress) as advance:
        for start in starts:
            weights = drawn[start : start + resamples_at_once]
            scored = {row: _score_seeds(blocks, names, seeds, weights) for row, seeds in rows.items()}
            for row, measured in scored.items():
                for key, values in _over_area(measured, area).items():
                    field[row][key] = np.concatenate([field[row][key], values], axis=1)
            for (row, reference), variances in spread.items():
                for metric, variance in variances.items():
                    by_row = {name: of[metric] for name, of in scored.items()}
                    variance.add(_difference(rows, row, reference, by_row).mean(axis=0))
            advance("")
    return Sample(
        rows=rows,
        metrics=names,
        cells={row: {metric: values[:, 0] for metric, values in scored.items()} for row, scored in as_is.items()},
        field=field,
        variance={pair: {metric: name.value() for metric, name in of.items()} for pair, of in spread.items()},
        blocks=count,
        area=area,
    )


def draw_blocks(count: int, resamples: int = RESAMPLES, seed: int = 0) -> Array:
    """How often each of so many blocks of days is in each resample, ``(resample, block)``."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)


def _score_seeds(blocks: DayBlocks, metrics: Sequence[str], seeds: Seeds, weights: Array | None) -> dict[str, Array]:
    """Metric -> ``(seed, resample, cell)``."""
    scored = [blocks.scores(model, weights) for model in seeds.values()]
    return {metric: np.stack([scores[metric] for scores in scored]) for metric in metrics}


def _over_area(scored: Mapping[str, Array], area: Array) -> dict[tuple[str, Statistic], Array]:
    """From ``(seed, resample, cell)`` to (metric, statistic) -> ``(seed, resample)``."""
    return {
        (metric, statistic): np.stack([function(scores_of_seed, area) for scores_of_seed in values])
        for metric, values in scored.items()
        for statistic, function in _STATISTICS.items()
    }


class _Variance:
    """Variance over resamples that come part by part, of what is finite in them, ``(cell,)``."""

    def __init__(self) -> None:
        self._count: Array | float = 0.0
        self._total: Array | float = 0.0
        self._squares: Array | float = 0.0
        self._shift: Array | None = None

    def add(self, values: Array) -> None:
        if self._shift is None:
            self._shift = np.nan_to_num(values[0])
        valid = np.isfinite(values)
        shifted = np.where(valid, values - self._shift, 0.0)
        self._count = self._count + valid.sum(axis=0)
        self._total = self._total + shifted.sum(axis=0)
        self._squares = self._squares + (shifted**2).sum(axis=0)

    def value(self) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self._squares / self._count - (self._total / self._count) ** 2)


def _difference(rows: Mapping[str, Seeds], row: str, reference: str, values: Mapping[str, Array]) -> Array:
    """Row less reference ``(seed, ...)`` over the seeds that both have."""
    common = _common(rows[row], rows[reference])
    minuend, subtrahend = (values[name][_positions(rows[name], common)] for name in (row, reference))
    return minuend - subtrahend


def _common(left: Seeds, right: Seeds) -> list[int]:
    """Seeds that two rows share; a baseline goes with every seed."""
    if UNTRAINED in right:
        return sorted(left)
    return sorted(right if UNTRAINED in left else left.keys() & right.keys())


def _positions(seeds: Seeds, common: Sequence[int]) -> list[int]:
    order = list(seeds)
    return [0 if UNTRAINED in seeds else order.index(seed) for seed in common]
