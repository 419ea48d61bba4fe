"""The tables of all models and baselines: of one lead with every metric, of several leads by lead."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from soilcast.reporting import html
from soilcast.reporting.artifacts import end_leads, leads
from soilcast.reporting.scores import targets
from soilcast.reporting.tables import PERSISTENCE_NOTE, lead_table, scoreboard
from soilcast.reporting.wording import ahead, target_words, weighted

_UPPER_BY_LEAD = (
    "Upper number: RMSE over the RMSE of persistence at the same lead and with the same newest observation; "
    "beneath it, in grey, the RMSE [m³ m⁻³]; both are {}medians over the cells."
)


def numbers_note(scores: xr.Dataset) -> str:
    """Explain the two numbers of each cell of a table of scores."""
    return f"Upper number: {weighted(scores)}median over the cells; beneath it, in grey, the {weighted(scores)}mean."


def of_one_lead(scores: xr.Dataset) -> html.Markup:
    """All models and baselines, side by side."""
    lead = leads(scores)[0]
    return (
        html.paragraph(numbers_note(scores) + _scored_on(scores), note=True)
        + boards(scores, lead)
        + _board_legend(scores)
    )


def by_lead(scores: xr.Dataset) -> html.Markup:
    """All models and baselines, lead by lead; folded, the table of every metric at the first and the last lead."""
    dotted = (
        f"best of a lead; by the digits shown{_untested(scores)}. Where soil moisture does not move, there is no ratio."
    )
    parts = [html.paragraph(_UPPER_BY_LEAD.format(weighted(scores)) + _scored_on(scores), note=True)]
    for target in targets(scores):
        parts += [html.heading(target_words(target)), lead_table(scores, target)]
    parts.append(html.marks_note("below 1: better than persistence", dotted))
    above = html.paragraph(numbers_note(scores), note=True)
    for lead in end_leads(scores):
        board = above + boards(scores, lead) + _board_legend(scores)
        parts.append(html.folded(f"Every metric, {ahead(lead)}", board))
    return html.joined(parts)


def boards(scores: xr.Dataset, lead: int, metrics: Sequence[str] | None = None, *, marks: bool = True) -> html.Markup:
    """Give the table of a lead for each target, with a heading where there are several: see `scoreboard`."""
    names = targets(scores)
    return html.joined(
        (html.heading(target_words(target)) if len(names) > 1 else html.NOTHING)
        + scoreboard(scores, target, lead, metrics, marks=marks)
        for target in names
    )


def _board_legend(scores: xr.Dataset) -> html.Markup:
    return html.marks_note(
        "best network",
        f"best of all, by the median and only where the digits shown differ{_untested(scores)}. Skill has no lower "
        "bound: where soil moisture hardly moves, persistence hardly errs, and few such cells rule the mean. "
        f"* {PERSISTENCE_NOTE}",
    )


def _scored_on(scores: xr.Dataset) -> str:
    scored_on = str(scores.attrs.get("scored_on", ""))
    return f" Scored on {scored_on}." if scored_on else ""


def _untested(scores: xr.Dataset) -> str:
    if "difference" in scores:
        return "; significant differences are listed under Significance"
    return "; differences are not tested for significance"
