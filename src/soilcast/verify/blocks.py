"""The scores of a block of cells: the same to the bit for any block and in any process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from soilcast.errors import SoilcastError
from soilcast.verify.aligned import Aligned
from soilcast.verify.deterministic import Cells
from soilcast.verify.entry import Entry
from soilcast.verify.events import BINS as EVENT_BINS
from soilcast.verify.events import STATISTICS, sum_by_bin
from soilcast.verify.extremes import Floats
from soilcast.verify.loading import GROUP, align, load_target
from soilcast.verify.metrics import Metric
from soilcast.verify.plan import REFERENCE, Files, Plan, open_files
from soilcast.verify.probabilistic import is_at_or_below, pit_shares
from soilcast.verify.summary import cell_weights

BINS = 10
"""Bins of the histogram of the probability integral transform."""


@dataclass(frozen=True)
class BlockScores:
    """Scores of a block of cells.

    Parameters
    ----------
    metrics
        Name -> ``(model, target, lead, cell)``: those of `Case.measured`.
    days
        ``(target, lead, cell)``, days that count.
    weight
        ``(target, lead, group)``: cell-days by `cell_weights`, of each `GROUP` of cells.
    below
        ``(model, target, lead, quantile, group)``: the same of the days at or below a quantile; NaN without it.
    ranks
        ``(model, target, lead, bin, group)``: the same by the bin of the probability integral transform.
    events
        ``(model, target, lead, event, bin, statistic, group)``: the same of `sum_by_bin`, of `Plan.events`; 0 without
        it.
    remaining
        ``(target, lead, 1 + model)``: see `align`.
    """

    metrics: dict[str, Cells]
    days: Cells
    weight: Cells
    below: Cells
    ranks: Cells
    events: Cells
    remaining: npt.NDArray[np.int64]


def score_on_worker(plan: Plan, cells: slice) -> BlockScores:
    """`score_block` in a process that has opened no files yet."""
    with open_files(plan) as opened:
        return score_block(plan, opened, cells)


def score_block(plan: Plan, opened: Files, cells: slice) -> BlockScores:
    """Score forecasts and baselines on some cells, which start at a multiple of `GROUP`.

    At each lead, every model is scored on the cell-issue-days on which the observation and all models are there.

    Raises
    ------
    SoilcastError
        Stored bytes are damaged, or a metric does not give one number per cell.
    """
    weights = cell_weights(opened.cube, cells)[:, np.newaxis]
    groups = np.arange(0, len(weights), GROUP)
    levels = plan.all_levels
    rows = (len(plan.targets), plan.leads)
    shape = (len(plan.models), *rows)
    scores = BlockScores(
        metrics={name: np.full((*shape, len(weights)), np.nan) for name in plan.measured},
        days=np.zeros((*rows, len(weights))),
        weight=np.zeros((*rows, len(groups))),
        below=np.full((*shape, len(levels), len(groups)), np.nan),
        ranks=np.full((*shape, BINS, len(groups)), np.nan),
        events=np.zeros((*shape, len(plan.events), EVENT_BINS, len(STATISTICS), len(groups))),
        remaining=np.zeros((*rows, 1 + len(plan.models)), dtype=np.int64),
    )
    for t, target in enumerate(plan.targets):
        loaded = load_target(plan, opened, target, cells)
        for k in range(plan.leads):
            models, scores.remaining[t, k] = align(plan, loaded, k + 1)
            scores.days[t, k] = models[REFERENCE].moments["days"]
            scores.weight[t, k] = _by_group(weights * scores.days[t, k][:, np.newaxis], groups)[0]
            for m, (label, aligned) in enumerate(models.items()):
                for name, values in scores.metrics.items():
                    if plan.is_measured(plan.metrics[name], label, target):
                        values[m, t, k] = measure(plan.metrics[name], aligned)
                if aligned.quantiles is not None:
                    below, ranks = _calibration(aligned)
                    positions = [levels.index(level) for level in aligned.levels]
                    scores.below[m, t, k, positions] = _by_group(weights * below, groups)
                    scores.ranks[m, t, k] = _by_group(weights * ranks, groups)
                for e, (probability, happened) in enumerate(_events(aligned)):
                    sums = sum_by_bin(probability, happened)
                    by_group = _by_group(weights * sums.reshape(len(sums), -1), groups)
                    scores.events[m, t, k, e] = by_group.reshape(*sums.shape[1:], -1)
    return scores


def join_blocks(blocks: Sequence[BlockScores]) -> BlockScores:
    """Join the scores of blocks, given in the order of their cells."""
    names = blocks[0].metrics
    return BlockScores(
        metrics={name: np.concatenate([block.metrics[name] for block in blocks], axis=-1) for name in names},
        days=np.concatenate([block.days for block in blocks], axis=-1),
        weight=np.concatenate([block.weight for block in blocks], axis=-1),
        below=np.concatenate([block.below for block in blocks], axis=-1),
        ranks=np.concatenate([block.ranks for block in blocks], axis=-1),
        events=np.concatenate([block.events for block in blocks], axis=-1),
        remaining=np.sum([block.remaining for block in blocks], axis=0),
    )


def refuse_unscored(plan: Plan, entries: Sequence[Entry], remaining: npt.NDArray[np.int64]) -> None:
    """Raise `SoilcastError` if a target has no cell-day to score at any lead, and name the model that lacks them.

    Parameters
    ----------
    plan, entries
        The plan of the evaluation.
    remaining
        ``(target, lead, 1 + model)``: see `BlockScores`.
    """
    models = [
        *((entry.label, entry.path) for entry in entries),
        *((name, _path_of(plan, name)) for name in plan.baselines),
    ]
    for target, over_leads in zip(plan.targets, remaining.sum(axis=1), strict=True):
        if not over_leads[0]:
            raise SoilcastError(
                f"{plan.cube}: it has no observation of {target} on the days that {entries[0].path} forecasts: give a "
                "cube that has, or forecast another period"
            )
        for (label, path), days in zip(models, over_leads[1:], strict=True):
            if not days:
                raise SoilcastError(
                    f"{path}: no cell-day of {target} to score: {label} has no value where the observations and the "
                    "other models have one; check that the cube has the inputs and the target of the test period and "
                    "of the day before"
                )


def _path_of(plan: Plan, baseline: str) -> Path:
    return plan.files[baseline].path if baseline in plan.files else plan.cube


def count_left_out(plan: Plan, remaining: npt.NDArray[np.int64], cells: int) -> list[str]:
    """Count the cell-days on which a target is not scored, at the first and last lead and at those without any score.

    Parameters
    ----------
    plan
        The plan of the evaluation.
    remaining
        ``(target, lead, 1 + model)``: see `BlockScores`.
    cells
        Number of cells.
    """
    lines = []
    for t, target in enumerate(plan.targets):
        unscored = {int(k) + 1 for k in np.flatnonzero(remaining[t, :, -1] == 0)}
        for lead in sorted({1, plan.leads} | unscored):
            stages = [cells * plan.issues, *remaining[t, lead - 1].tolist()]
            if stages[-1] == stages[0]:
                continue
            missing = zip(("observation", *plan.models), -np.diff(stages), strict=True)
            listed = ", ".join(f"{name} on {count:,}" for name, count in missing if count)
            lines.append(
                f"{target}, lead {lead} d: {stages[0] - stages[-1]:,} of {stages[0]:,} cell-days, for lack of: {listed}"
            )
    return lines


def measure(metric: Metric, aligned: Aligned) -> Cells:
    """Compute a metric ``(cell,)``, and refuse a kernel that gives something else."""
    values = np.asarray(metric.kernel(aligned))
    if values.shape != (len(aligned.observed),) or values.dtype.kind not in "fiub":
        raise SoilcastError(
            f"metric {metric.name}: its kernel returns {values.dtype} {values.shape}, but one number for each of "
            f"{len(aligned.observed)} cells is expected: correct it"
        )
    return values.astype(np.float64)


def _calibration(aligned: Aligned) -> tuple[Cells, Cells]:
    """Days at or below each quantile ``(cell, quantile)``, and by the bin of the transform ``(cell, bin)``."""
    assert aligned.quantiles is not None
    below = is_at_or_below(aligned.observed, aligned.quantiles)
    ranks = pit_shares(aligned.observed, aligned.quantiles, np.array(aligned.levels), BINS)
    return np.nansum(below, axis=1), np.nansum(ranks, axis=1)


def _events(aligned: Aligned) -> Iterator[tuple[Floats, Floats]]:
    """Probability and observed ``(cell, day)`` of each event that a model gives, in the order of `Plan.events`."""
    for given in (aligned.class_events and aligned.classes, aligned.within_events and aligned.within):
        if given is not None:
            for event in range(given.probability.shape[-1]):
                yield given.probability[..., event], given.observed[..., event]


def _by_group(values: Cells, groups: npt.NDArray[np.int64]) -> Cells:
    """Sums over groups of cells, from ``(cell, x)`` to ``(x, group)``."""
    return np.add.reduceat(values, groups, axis=0).T
