"""The tested differences between models: how large, how certain, and on how much of the area."""

from __future__ import annotations

import numpy as np
import xarray as xr

from soilcast.reporting import html
from soilcast.reporting.artifacts import leads
from soilcast.reporting.scores import targets
from soilcast.reporting.tables import column_head, head, number
from soilcast.reporting.wording import PERCENT, days, extent, probability, target_words, weighted
from soilcast.verify.estimates import FALSE_DISCOVERIES

_TEXT = (
    "Difference of the {weighted}medians over the cells, row minus reference: negative is better than the "
    "reference. The 95 % interval, each by itself, is from resampled blocks of days only, since each network is one "
    "training. p is the p-value adjusted for all differences on this page together, which decides what is called "
    "significant, here and in every sentence (Benjamini and Yekutieli, false discovery rate 5 %). Detectable: the true "
    "difference that the test by itself finds with 80 % probability; smaller ones could not have been seen reliably. "
    "The ratio is the {weighted}median over the cells of the row's score over that of the reference. Better and "
    "worse: share of the tested {extent} where the difference in the cell is itself significant."
)
_CORNER = "Row − reference"
_BY_LEAD = "Upper number: the difference; beneath it, in grey, the adjusted p."


def significance(scores: xr.Dataset) -> html.Markup:
    """Give the tested differences of each target and metric, of several leads by lead and in full when unfolded."""
    several = scores.sizes["lead"] > 1
    legend = html.tests_note(FALSE_DISCOVERIES, _BY_LEAD if several else "")
    parts = []
    for target in targets(scores):
        for metric in map(str, scores["tested_metric"].to_numpy()):
            tested = scores.sel(target=target, tested_metric=metric)
            pairs = [
                (str(row), str(reference))
                for row in tested["row"].to_numpy()
                for reference in tested["reference"].to_numpy()
                if np.isfinite(tested["difference"].sel(row=row, reference=reference)).any()
            ]
            if pairs:
                full = _full(tested, metric, pairs)
                parts.append(html.heading(f"{target_words(target)}: {head(metric)}"))
                parts += [_by_lead(tested, metric, pairs), html.folded("In full", full)] if several else [full]
    if not parts:
        return html.paragraph("No difference could be tested.")
    return (
        html.paragraph(_TEXT.format(weighted=weighted(scores), extent=extent(scores)), note=True)
        + html.joined(parts)
        + legend
    )


def _by_lead(tested: xr.Dataset, metric: str, pairs: list[tuple[str, str]]) -> html.Markup:
    """Draw a row a pair and a column a lead."""
    rows = []
    for row, reference in pairs:
        of_pair = tested.sel(row=row, reference=reference)
        by_lead = [of_pair.isel(lead=index) for index in range(tested.sizes["lead"])]
        cells = [_difference(test, metric, probability(float(test["difference_p_adjusted"]))) for test in by_lead]
        rows.append(("network", f"{row} − {reference}", cells))
    return html.table(_CORNER, [str(lead) for lead in leads(tested)], rows)


def _full(tested: xr.Dataset, metric: str, pairs: list[tuple[str, str]]) -> html.Markup:
    """Draw a row for each pair and lead."""
    rows = []
    for row, reference in pairs:
        for lead in leads(tested):
            test = tested.sel(row=row, reference=reference, lead=lead)
            low, high = float(test["difference_low"]), float(test["difference_high"])
            cells = (
                days(lead),
                _difference(test, metric),
                f"{number(low, metric)} to {number(high, metric)}" if np.isfinite(low + high) else "–",
                number(float(test["difference_detectable"]), metric),
                probability(float(test["difference_p_adjusted"])),
                number(float(test["difference_ratio"]), "ratio"),
                *(_share(float(test[name])) for name in ("area_better", "area_worse")),
            )
            rows.append(("network", f"{row} − {reference}", cells))
    difference = column_head(metric)._replace(upper="Difference")
    heads = ["Days ahead", difference, "95 % interval", "Detectable", "Adjusted p", "Ratio", "Better on", "Worse on"]
    return html.table(_CORNER, heads, rows)


def _difference(tested: xr.Dataset, metric: str, beneath: str = "") -> html.Cell:
    """Draw the cell of a difference, tinted where it is significant."""
    difference, kind = float(tested["difference"]), ""
    if float(tested["difference_p_adjusted"]) <= FALSE_DISCOVERIES:
        kind = "lead" if difference < 0 else "worse"
    return html.Cell(number(difference, metric), beneath, kind)


def _share(share: float) -> str:
    return f"{100 * share:.0f}{PERCENT}" if np.isfinite(share) else "–"
