"""Comparisons of two rows in sentences, generated from the numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from soilcast.cube import grid_of
from soilcast.reporting.tables import head
from soilcast.reproducing.study_scores import StudyScores
from soilcast.verify.metrics import BUILT_IN
from soilcast.verify.significance import FEWEST_BLOCKS, Estimate, FieldTest, field_test, gain

Verdict = Literal["better", "worse", "no difference", "not tested"]

RELATIVE = ("rmse",)
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
    extent: str = "the land area"

    @property
    def verdict(self) -> Verdict:
        """Direction of the difference, if it is significant."""
        if not np.isfinite(self.estimate.p):
            return "not tested"
        if not self.estimate.is_significant:
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
                f"No significant difference in {name} between {self.row} and {self.reference}: {self.row} is {sense} "
                f"by {amount}"
            ),
            "not tested": (
                f"The difference in {name} between {self.row} and {self.reference} is not tested, since "
                f"{reason}: {self.row} is {sense} by {amount}"
            ),
        }[self.verdict]
        return f"{sentence}{self._significance()}.{self._alone()}"

    def _amount(self, sense: int) -> str:
        """The difference with its interval, positive where it is in favour (or, by ``sense``, against) the row."""
        turn = sense * gain(self.metric)
        value, *limits = (turn * float(limit) for limit in (self.estimate.value, self.estimate.low, self.estimate.high))
        low, high = sorted(limits)
        unit, scale, decimals = _unit_of(self.metric, self.base)
        texts = [signed(scale * limit, decimals) for limit in (value, low, high)]
        if not np.isfinite(low):
            return f"{texts[0]}{unit}"
        return f"{texts[0]}{unit} [{texts[1]}, {texts[2]}]"

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

    def _alone(self) -> str:
        return "" if self.seeds > 1 else " With one seed, the interval omits the variability between trainings."


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
    values = {row: scores.median(row, metric) * gain(metric) for row in rows}
    ranked = sorted((row for row in values if np.isfinite(values[row])), key=lambda row: -values[row])
    if not ranked:
        return None
    best, *rest = ranked
    beats = bool(rest) and scores.sample.compare_over_area(best, rest[0], metric).is_significant
    return best, beats


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
