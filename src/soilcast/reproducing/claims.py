"""Comparisons of two rows in sentences, generated from the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from soilcast.cube import grid_of
from soilcast.models.baselines import BASELINES
from soilcast.reporting.tables import head
from soilcast.reporting.wording import DAYS_ONLY, not_seen, probability
from soilcast.reproducing.reported import SCORES, reported
from soilcast.reproducing.study_scores import StudyScores
from soilcast.verify.estimates import FALSE_DISCOVERIES, FEWEST_BLOCKS, Estimate, FieldTest, adjust, field_test, gain
from soilcast.verify.metrics import BUILT_IN

Verdict = Literal["better", "worse", "no difference", "not tested"]

CONSISTENCIES = ("consistency_w1", "consistency_w1_masked", "consistency_w2", "consistency_w2_masked")
COMPARED = (*SCORES, *CONSISTENCIES)
"""Metrics in which rows are compared."""

ERRORS = ("rmse", "rmse_dry", "rmse_wet")
"""Those in which rows of different amounts of training data are compared: of all days, and of the extremes."""

RELATIVE = ERRORS
"""Metrics whose differences are given in per cent of the reference."""

_SHARES = "consistency"


@dataclass(frozen=True)
class Claim:
    """One row against another, in one metric.

    Parameters
    ----------
    row, reference, metric
        What is compared.
    estimate
        Difference of the medians over the cells, row less reference, in the metric's unit.
    base
        Median of the reference.
    field
        The difference in every cell, over days and seeds.
    field_of_days
        The same over days alone: whether these trained networks differ, not whether retrained ones would.
    seeds
        Number of seeds that both have.
    blocks
        Number of blocks of days.
    p_adjusted
        p-value adjusted for all comparisons of the study: see `with_adjusted_p`.
    extent
        What the shares of ``field`` are of, in words.
    """

    row: str
    reference: str
    metric: str
    estimate: Estimate
    base: float
    field: FieldTest
    field_of_days: FieldTest
    seeds: int
    blocks: int
    p_adjusted: float
    extent: str = "the land area"

    @property
    def verdict(self) -> Verdict:
        """Direction of the difference, if it is significant."""
        if not np.isfinite(self.p_adjusted):
            return "not tested"
        if self.p_adjusted > FALSE_DISCOVERIES:
            return "no difference"
        return "better" if float(self.estimate.value) * gain(self.metric) > 0 else "worse"

    @property
    def change(self) -> float:
        """Difference in per cent of the reference's size."""
        return float(self.estimate.value) * _per_cent_of(self.base)

    def sentence(self) -> str:
        """The comparison as a sentence."""
        name, ahead = name_of(self.metric), float(self.estimate.value) * gain(self.metric) >= 0
        amount, sense = self._amount(1 if ahead else -1), "better" if ahead else "worse"
        reason = (
            f"the test period has fewer than {FEWEST_BLOCKS} blocks of days"
            if self.metric in BUILT_IN
            else "days cannot be resampled in a user-defined metric"
        )
        sentence = {
            "better": f"{self.row} beats {self.reference} in {name} by {amount}",
            "worse": f"{self.row} is worse than {self.reference} in {name} by {amount}",
            "no difference": (
                f"No difference in {name} found between {self.row} and {self.reference} "
                f"({not_seen(self._detectable())}): {self.row} is {sense} by {amount}"
            ),
            "not tested": (
                f"The difference in {name} between {self.row} and {self.reference} is not tested, since "
                f"{reason}: {self.row} is {sense} by {amount}"
            ),
        }[self.verdict]
        return f"{sentence}{self._significance()}."

    def _detectable(self) -> str:
        unit, scale, decimals = _unit_of(self.metric, self.base)
        return f"{signed(scale * float(self.estimate.detectable), decimals)}{unit}"

    def _amount(self, sense: int) -> str:
        """The difference with its interval, positive where it is in favour (or, by ``sense``, against) the row."""
        turn = sense * gain(self.metric)
        value, *limits = (turn * float(limit) for limit in (self.estimate.value, self.estimate.low, self.estimate.high))
        low, high = sorted(limits)
        unit, scale, decimals = _unit_of(self.metric, self.base)
        texts = [signed(scale * limit, decimals) for limit in (value, low, high)]
        if not np.isfinite(low):
            return f"{texts[0]}{unit}"
        days_only = DAYS_ONLY if self.seeds < 2 else ""
        return f"{texts[0]}{unit} [{texts[1]}, {texts[2]}]{days_only}, adjusted p {probability(self.p_adjusted)}"

    def _significance(self) -> str:
        if not self.field.tested.any():
            return ""
        days = self.field_of_days
        of_days = f"better in {_share(days.area_better)}, worse in {_share(days.area_worse)}"
        if self.seeds < 2:
            return f"; over days alone, significantly {of_days} of {self.extent}"
        significance = (
            f"significantly better in {_share(self.field.area_better)}, worse in {_share(self.field.area_worse)}"
            if self.field.is_significant
            else "significant in no part"
        )
        return f"; {significance} of {self.extent} (for these trained networks alone: {of_days})"


def with_adjusted_p(scored: Sequence[StudyScores]) -> list[StudyScores]:
    """Adjust the p-values of all that a study compares, at all of its leads, for how many they are.

    A family is the study and not the whole dossier, so that a table says the same alone and beside others. In it are
    the pairs that the samples were taken for, in the metrics of `COMPARED`, or in RMSE alone against a baseline; and
    the best row of each metric against the next best. Of several amounts of training data, where neither a baseline nor
    the best row is named, it is the pairs of networks in the metrics of `ERRORS`.

    Parameters
    ----------
    scored
        Scores that are read together: of each lead, or of each climate.
    """
    keys = [_compared(scores) for scores in scored]
    p = [[scores.sample.compare_over_area(*key).p for key in of] for scores, of in zip(scored, keys, strict=True)]
    adjusted = iter(adjust(np.array([value for of in p for value in of], dtype=np.float64)).tolist())
    return [
        replace(scores, p_adjusted={key: next(adjusted) for key in of}) for scores, of in zip(scored, keys, strict=True)
    ]


def _compared(scores: StudyScores) -> list[tuple[str, str, str]]:
    """Row, reference and metric of each comparison, once."""
    if scores.plan.amount:
        pairs = [pair for pair in scores.sample.variance if pair[1] not in BASELINES]
        return [(*pair, metric) for pair in pairs for metric in ERRORS if metric in scores.sample.metrics]
    metrics = [metric for metric in (*COMPARED, *scores.blocks.custom) if metric in scores.sample.metrics]
    keys = [
        (row, reference, metric)
        for row, reference in scores.sample.variance
        for metric in metrics
        if reference not in BASELINES or metric == "rmse"
    ]
    for metric in metrics:
        for rows in (scores.networks, *(paper_groups(scores).values() if metric == "rmse" else ())):
            best = _ranked(scores, metric, rows)[:2]
            keys += [(best[0], best[1], metric)] if len(best) > 1 else []
    return list(dict.fromkeys(keys))


def paper_groups(scores: StudyScores) -> dict[str, tuple[str, ...]]:
    """Rows of each group of the paper (A, B, ...) of which it names the best: next-day forecasts alone."""
    groups = {
        group: tuple(row for row in scores.networks if row.startswith(group) and row[len(group) :].isdigit())
        for group in (reported().best if scores.lead == 1 else ())
    }
    return {group: rows for group, rows in groups.items() if len(rows) > 1}


def make_claim(scores: StudyScores, row: str, reference: str, metric: str) -> Claim:
    """Compare two rows; the pair is one of those that the sample was taken for."""
    sample = scores.sample
    return Claim(
        row=row,
        reference=reference,
        metric=metric,
        estimate=sample.compare_over_area(row, reference, metric),
        base=scores.median(reference, metric),
        field=field_test(sample.compare_in_cells(row, reference, metric), metric, sample.area),
        field_of_days=field_test(sample.compare_in_cells(row, reference, metric, of_seeds=False), metric, sample.area),
        seeds=len(sample.over_area(row, metric)),
        blocks=sample.blocks,
        p_adjusted=scores.p_adjusted[row, reference, metric],
        extent="the land area" if grid_of(scores.cells) is not None else "the cells",
    )


def all_against_reference(scores: StudyScores, metric: str) -> list[Claim]:
    """Every network against the reference."""
    if scores.reference is None:
        return []
    return [make_claim(scores, row, scores.reference, metric) for row in scores.others]


def against_reference(scores: StudyScores, metric: str) -> list[Claim]:
    """Every network against the reference, as far as the metric is defined."""
    return [claim for claim in all_against_reference(scores, metric) if np.isfinite(claim.estimate.value)]


def best_row(scores: StudyScores, metric: str, rows: tuple[str, ...]) -> tuple[str, bool] | None:
    """Name the best of some rows by the median over the cells, and whether it is significantly better than the next."""
    ranked = _ranked(scores, metric, rows)
    if not ranked:
        return None
    beats = len(ranked) > 1 and scores.p_adjusted[ranked[0], ranked[1], metric] <= FALSE_DISCOVERIES
    return ranked[0], beats


def _ranked(scores: StudyScores, metric: str, rows: Sequence[str]) -> list[str]:
    """Rows that have a finite median, the best first."""
    values = {row: scores.median(row, metric) * gain(metric) for row in rows}
    return sorted((row for row in values if np.isfinite(values[row])), key=lambda row: -values[row])


def name_of(metric: str) -> str:
    """Name a metric within a sentence."""
    if not metric.startswith(_SHARES):
        return head(metric)
    balance = metric.removeprefix(f"{_SHARES}_").removesuffix("_masked").upper()
    return f"consistency with {balance}{' under the observed mask' if metric.endswith('_masked') else ''}"


def _unit_of(metric: str, base: float) -> tuple[str, float, int]:
    """How a difference is given: unit, factor, decimals."""
    if metric in RELATIVE:
        return " %", _per_cent_of(base), 1
    if metric.startswith(_SHARES):
        return " percentage points", 100.0, 1
    return "", 1.0, 3


def _per_cent_of(base: float) -> float:
    return 100 / abs(base) if base else np.nan


def _share(area: float) -> str:
    return "less than 1 %" if 0 < area < 0.005 else f"{100 * area:.0f} %"


def signed(value: float, decimals: int) -> str:
    """Write a number with a true minus sign, and zero without any."""
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "−")
