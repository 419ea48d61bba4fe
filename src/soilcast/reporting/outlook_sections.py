"""The sections of the report on the scores of outlooks, in the order in which they are read."""

from __future__ import annotations

import numpy as np
import xarray as xr

from soilcast.reporting import html
from soilcast.reporting.fans import band_names, bands, fans_of_pick
from soilcast.reporting.maps import Canvas, Scale, robust_scale
from soilcast.reporting.outlook_figures import (
    EXTREMES,
    UNCERTAINTY,
    Curve,
    curve,
    error_curves,
    model_looks,
    rank_histogram,
    reliability,
)
from soilcast.reporting.outlook_scores import (
    ahead,
    best_network,
    leads,
    medians,
    ratios,
    shown_leads,
    target_words,
    targets,
    with_intervals,
)
from soilcast.reporting.outlook_tables import lead_table
from soilcast.reporting.outlook_verdict import outlook_verdict
from soilcast.reporting.scores import PERSISTENCE
from soilcast.reporting.sections import cells_note, content, period, place_of_pick
from soilcast.reporting.style import OBSERVED, MapStyle
from soilcast.reporting.tables import number

_RATIO = MapStyle("RdBu_r", True, "better than persistence", "worse than persistence", reach=1.0)

WEATHER = {
    "none": "none: a forecast knows the weather up to its issue day",
    "observed": "observed weather: the score of a perfect weather forecast",
    "forecast": "a weather forecast",
}
"""What an outlook knows of the weather of the days ahead, in words."""


def headline(scores: xr.Dataset) -> str:
    """What data, which periods, what is known when, and the verdict."""
    attrs = {key: str(value) for key, value in scores.attrs.items()}
    first, *others = outlook_verdict(scores)
    scored = int(scores["rmse"].sel(model=PERSISTENCE).notnull().any(("target", "lead")).sum())
    there = leads(scores)
    rows = {
        "Targets": "; ".join(target_words(target) for target in targets(scores)),
        "Leads": span(there),
        "Newest observation": newest_observation(attrs.get("latency_days", "")),
        "Weather of the days ahead": weather_words(attrs.get("weather", "")),
        "Training": period(attrs.get("train_period", "")),
        "Validation": period(attrs.get("validation_period", "")),
        "Test": period(attrs.get("test_period", "")),
        "Cells scored": f"{scored} of {attrs.get('cells_total', scores.sizes['cell'])}",
        "Days scored": _days_scored(scores),
        "Source": attrs.get("source", ""),
    }
    return html.badge(f"Data: {content(scores)}") + html.verdict(first, html.listed(others)) + html.facts(rows)


def lead_tables(scores: xr.Dataset) -> str:
    """Give all models and baselines, lead by lead."""
    scored_on = str(scores.attrs.get("scored_on", ""))
    text = (
        "Upper number: RMSE over the RMSE of persistence at the same lead and with the same newest observation; "
        "beneath it, in grey, the RMSE [m³ m⁻³]; both are area-weighted medians over the cells."
    )
    note = (
        '<p class="note"><span class="mark">Tinted</span> below 1: better than persistence, '
        '<span class="dot">●</span> best of a lead; by the digits shown, not tested for significance. A cell where '
        "persistence never errs has no ratio.</p>"
    )
    parts = [html.paragraph(text + (f" Scored on {scored_on}." if scored_on else ""), note=True)]
    for target in targets(scores):
        parts += [html.heading(target_words(target)), lead_table(scores, target)]
    return "".join(parts) + note


def lead_figures(scores: xr.Dataset) -> str:
    """Draw error and skill against the lead."""
    text = (
        "Area-weighted medians over the cells; networks in colour, baselines in grey. Below 1 a model errs less than "
        "persistence. Skill is 1 − MSE / MSE of the baseline: 0 is no better than it, 1 is perfect; an axis that "
        "reaches far below −1 is logarithmic there."
    )
    return html.paragraph(text, note=True) + _curves(scores, error_curves(scores))


def maps(scores: xr.Dataset) -> str:
    """Map the ratio to persistence of the best network at the first, the middle and the last lead."""
    if scores.sizes["cell"] < 2:
        return ""
    canvas = Canvas(scores)
    parts = [html.paragraph(f"Of the best network of each target. {cells_note(scores, 'was not scored')}", note=True)]
    for target in targets(scores):
        label = best_network(scores, target)
        if label is None:
            parts.append(html.paragraph(f"{target}: no cell has a ratio to persistence.", note=True))
            continue
        ratio = scores["ratio"].sel(target=target, model=label)
        middle = ratios(scores, target).sel(model=label)
        shown = [lead for lead in shown_leads(scores) if np.isfinite(ratio.sel(lead=lead)).any()]
        scale = _around_one(robust_scale(ratio.sel(lead=shown).to_numpy() - 1, _RATIO))
        drawn = [
            html.picture(
                canvas.panel(ratio.sel(lead=lead), scale),
                ahead(lead),
                f"median {number(float(middle.sel(lead=lead)), 'ratio')}",
            )
            for lead in shown
        ]
        title = f"{target_words(target)}: RMSE of {label} / RMSE of persistence"
        parts += [html.heading(title, html.colour_bar(scale, "ratio")), html.panels(drawn, three=True)]
    return "".join(parts)


def uncertainty(scores: xr.Dataset) -> str:
    """Say what the intervals are worth: coverage, width and CRPS by lead, reliability diagrams, rank histograms."""
    text = (
        "The 90 % interval of honest quantiles holds 90 % of the observations; the band shows 88 to 92 %. The narrower "
        "an interval that does so, the better. The CRPS scores the whole distribution, lower is better; of a forecast "
        "without quantiles, as of every baseline, it is the mean absolute error. Coverage is an area-weighted mean of "
        "the cells, width and CRPS are medians."
    )
    diagrams = (
        "Reliability: points on the diagonal are honest quantiles; a curve that is flatter belongs to intervals that "
        "are too narrow. Rank histogram: flat is honest, a U too narrow, a hump too wide, a slope a bias."
    )
    parts = [html.paragraph(text, note=True), _curves(scores, UNCERTAINTY)]
    drawn = [_diagrams(scores, target) for target in targets(scores)]
    if any(drawn):
        parts += [html.paragraph(diagrams, note=True), *drawn]
    else:
        parts.append(html.paragraph("No network gives quantiles: there is nothing to say of intervals."))
    return "".join(parts)


def extremes(scores: xr.Dataset) -> str:
    """Draw the error on the driest and the wettest days against the lead."""
    text = (
        "RMSE on the days whose observation is among the driest or wettest 5 % of the observed test days of a cell; "
        "area-weighted medians over the cells."
    )
    return html.paragraph(text, note=True) + _curves(scores, EXTREMES)


def fan_charts(scores: xr.Dataset) -> str:
    """Draw outlooks of the picked cells beside what was then observed."""
    parts = []
    for target in targets(scores):
        label = best_network(scores, target)
        if label is None:
            continue
        colour = model_looks(scores)[label].colour
        drawn = [_fans(scores, target, pick, label, colour) for pick in range(scores.sizes["pick"])]
        if any(drawn):
            key = html.legend({"observed": OBSERVED, label: colour})
            parts += [html.heading(target_words(target), key), *drawn]
    if not parts:
        return ""
    shares = band_names(bands(scores["quantile"].to_numpy())) if "quantile" in scores.variables else ""
    intervals = f" Bands: the {shares} intervals, where the network gives them." if shares else ""
    text = (
        "The best network of each target. Above: the test period, with the outlooks of the first issue day and of "
        f"others at equal distances. Beneath: some of them large, each from its issue day, which is dotted.{intervals}"
    )
    return html.paragraph(text, note=True) + "".join(parts)


def span(there: list[int]) -> str:
    """Say which leads there are: 1 to 10 days."""
    if len(there) == 1:
        return "1 day" if there[0] == 1 else f"day {there[0]}"
    if there == list(range(there[0], there[-1] + 1)):
        return f"{there[0]} to {there[-1]} days"
    return f"{', '.join(map(str, there))} days"


def newest_observation(latency: str) -> str:
    """Say how old the newest observation is that an outlook sees."""
    if latency == "0":
        return "that of the issue day"
    days = "1 day" if latency == "1" else f"{latency} days"
    return f"that of {days} before the issue day" if latency else ""


def weather_words(weather: str) -> str:
    """Say what outlooks know of the weather ahead: see `WEATHER`; an unknown word stands as it is.

    Parameters
    ----------
    weather
        A word, or where models differ ``label: word; label: word``.
    """
    parts = []
    for part in weather.split("; "):
        label, colon, word = part.rpartition(": ")
        parts.append(f"{label}{colon}{WEATHER.get(word, word)}")
    return "; ".join(parts)


def _curves(scores: xr.Dataset, curves: list[Curve] | tuple[Curve, ...]) -> str:
    parts = []
    for target in targets(scores):
        drawn = [(shown.caption, curve(scores, target, shown)) for shown in curves]
        pictures = [html.picture(uri, caption) for caption, uri in drawn if uri]
        parts.append(html.heading(target_words(target)))
        parts.append(html.panels(pictures) if pictures else html.paragraph("No cell has a value.", note=True))
    return "".join(parts)


def _diagrams(scores: xr.Dataset, target: str) -> str:
    rows: list[list[str]] = []
    for words, draw in (("reliability", reliability), ("rank histogram", rank_histogram)):
        drawn = [(label, draw(scores, target, label)) for label in with_intervals(scores, target)]
        rows.append([html.picture(uri, f"{label}: {words}") for label, uri in drawn if uri])
    if all(len(row) < 2 for row in rows):
        rows = [[picture for row in rows for picture in row]]
    pictures = "".join(html.panels(row, three=True) for row in rows if row)
    return html.heading(target_words(target)) + pictures if pictures else ""


def _fans(scores: xr.Dataset, target: str, pick: int, label: str, colour: str) -> str:
    uri = fans_of_pick(scores, target, pick, label, colour)
    if uri is None:
        return ""
    cell = int(scores["pick_cell"].to_numpy()[pick])
    ratio = scores["ratio"].sel(target=target, model=label).isel(cell=cell)
    shown = ", ".join(f"{number(float(ratio.sel(lead=lead)), 'ratio')} ({ahead(lead)})" for lead in shown_leads(scores))
    detail = f"ratio to persistence here: {shown}"
    return f'<div class="series">{html.picture(uri, place_of_pick(scores, pick), detail, wide=True)}</div>'


def _around_one(scale: Scale | None) -> Scale:
    assert scale is not None  # only leads with a value are drawn
    return Scale(1 + scale.low, 1 + scale.high, scale.style)


def _days_scored(scores: xr.Dataset) -> str:
    days = scores["days"].where(scores["days"] > 0)
    median = medians(scores, days).to_numpy()
    known = median[np.isfinite(median)]
    if not known.size:
        return "none"
    low, high = int(known.min()), int(known.max())
    return f"{low} a cell" if low == high else f"{low} to {high} a cell, by target and lead"
