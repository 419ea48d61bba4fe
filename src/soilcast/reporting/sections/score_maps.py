"""Maps of scores: every metric that has a map at one lead; of several leads the best network beside persistence."""

from __future__ import annotations

import numpy as np
import xarray as xr

from soilcast.reporting import html
from soilcast.reporting.artifacts import leads, selected_leads
from soilcast.reporting.maps import Canvas, Scale, robust_scale
from soilcast.reporting.over_cells import best_network, ratios, summarised, summary_at
from soilcast.reporting.scores import PERSISTENCE, networks, targets
from soilcast.reporting.style import MAPS, MapStyle, pretty_units, style_of
from soilcast.reporting.tables import custom_metrics, head, metrics_in, number
from soilcast.reporting.wording import ahead, cells_text, target_words, with_weather
from soilcast.verify.metrics import metrics_of

SKILL_NOTE = "persistence is 0 by definition"

_COLOURS = "Colours run from the 2nd to the 98th percentile of all panels of a metric, at most from −1 to 1."
_RATIO = MapStyle("RdBu_r", True, "better than persistence", "worse than persistence", reach=1.0)


def of_one_lead(scores: xr.Dataset) -> html.Markup:
    """One block of maps per metric, the networks and persistence on one colour scale."""
    text = f"{_COLOURS} {cells_text(scores, 'was not scored')}"
    return html.paragraph(text, note=True) + _all_metrics(scores, Canvas(scores), leads(scores)[0])


def by_lead(scores: xr.Dataset) -> html.Markup:
    """Map the ratio of the best network at the first, middle and last lead; folded, every metric at the first lead."""
    canvas = Canvas(scores)
    parts = [html.paragraph(f"Of the best network of each target. {cells_text(scores, 'was not scored')}", note=True)]
    parts += [_ratio_maps(scores, canvas, target) for target in targets(scores)]
    first = leads(scores)[0]
    inner = html.paragraph(_COLOURS, note=True) + _all_metrics(scores, canvas, first)
    return html.joined(parts) + html.folded(f"Maps of every metric, {ahead(first)}", inner)


def mapped_models(scores: xr.Dataset, metric: str) -> list[str]:
    """Who is drawn cell by cell: the networks, and persistence except where it is 0 by definition."""
    return networks(scores) if metric == "skill" else [*networks(scores), PERSISTENCE]


def _ratio_maps(scores: xr.Dataset, canvas: Canvas, target: str) -> html.Markup:
    label = best_network(scores, target)
    if label is None:
        return html.paragraph(f"{target}: no cell has a ratio to persistence.", note=True)
    ratio = scores["ratio"].sel(target=target, model=label)
    middle = ratios(scores, target).sel(model=label)
    scored_leads = [lead for lead in selected_leads(scores) if np.isfinite(ratio.sel(lead=lead)).any()]
    scale = robust_scale(ratio.sel(lead=scored_leads).to_numpy() - 1, _RATIO)
    assert scale is not None  # the best network has a value
    ratio_scale = Scale(1 + scale.low, 1 + scale.high, scale.style)
    drawn = [
        html.picture(
            canvas.panel(ratio.sel(lead=lead), ratio_scale),
            ahead(lead),
            f"median {number(float(middle.sel(lead=lead)), 'ratio')}",
        )
        for lead in scored_leads
    ]
    title = f"{target_words(target)}: RMSE of {with_weather(scores, label)} / RMSE of persistence"
    return html.heading(title, html.colour_bar(ratio_scale, "ratio")) + html.panels(drawn, three=True)


def _all_metrics(scores: xr.Dataset, canvas: Canvas, lead: int) -> html.Markup:
    metrics = [*metrics_in(scores, list(MAPS)), *custom_metrics(scores)]
    return html.joined(
        _metric_maps(scores, canvas, metric, target, lead) for target in targets(scores) for metric in metrics
    )


def _metric_maps(scores: xr.Dataset, canvas: Canvas, metric: str, target: str, lead: int) -> html.Markup:
    labels = mapped_models(scores, metric)
    specs = metrics_of(scores)
    units, words, heading = pretty_units(specs[metric].units), specs[metric].long_name, head(metric, specs)
    title = f"{heading}: {words}"
    if metric == "skill":
        title = f"{words[:1].upper()}{words[1:]} ({SKILL_NOTE})"
    if scores.sizes["target"] > 1:
        title = f"{target_words(target)}: {title}"
    values = scores[metric].sel(target=target, lead=lead)
    scale = robust_scale(values.sel(model=labels).to_numpy().astype(np.float64), style_of(metric, specs))
    if scale is None:
        return html.heading(title) + html.paragraph(f"No cell has a value of {heading}.", note=True)
    summary = summary_at(scores, target, lead)
    drawn = [
        html.picture(
            canvas.panel(values.sel(model=label), scale),
            label,
            f"median {number(summarised(summary, label, metric, 'median'), metric, specs)}",
        )
        for label in labels
    ]
    return html.heading(title, html.colour_bar(scale, units or heading)) + html.panels(drawn, three=len(drawn) % 2 == 1)
