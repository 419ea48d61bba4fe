"""Physical consistency of the forecasts with the water balance (Eq. 19)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from soilcast.reporting import html
from soilcast.reporting.artifacts import leads
from soilcast.reporting.lead_lines import Curve, Frame, draw_curves, median_of
from soilcast.reporting.maps import Canvas, robust_scale
from soilcast.reporting.scores import networks, plain_network, targets
from soilcast.reporting.style import DIFFERENCE
from soilcast.reporting.tables import CONSISTENCY, PERSISTENCE_NOTE, head, metrics_in, scoreboard
from soilcast.reporting.wording import ahead, target_words, weighted

_BALANCES = ("consistency_w1", "consistency_w2")
_SHARE = Frame("share of days")

_WHAT = (
    "A forecast is physically consistent on a day if it moves soil moisture the way the water balance moves: "
    "dW · (SM observed the day before − SM forecast) < 0 (Eq. 19), where dW is the sign of the change of "
    "the balance W; a day on which this is zero counts for neither side. W1 is the balance of the surface (rain, "
    "evaporation, runoff, snow), W2 also counts the water of the deeper layers; with the observed mask (Eq. 13) "
    "only those days count on which the observed soil moisture itself followed the balance."
)
_FURTHER = " From lead 2 on, the soil moisture that the same forecast has for the day before stands for the observed."


def physics(scores: xr.Dataset) -> html.Markup:
    """Explain consistency, and give its table, maps of the change against the plain network, and curves by lead."""
    first = leads(scores)[0]
    several = scores.sizes["lead"] > 1
    parts = [html.paragraph(_WHAT + (_FURTHER if several else "")), _small_print(str(scores.attrs.get("water", "")))]
    has_value = scores[metrics_in(scores, CONSISTENCY)].to_dataarray().notnull()
    scored_targets = [target for target in targets(scores) if has_value.sel(target=target).any()]
    for target in scored_targets:
        if several or scores.sizes["target"] > 1:
            parts.append(html.heading(f"{target_words(target)}, {ahead(first)}"))
        parts.append(scoreboard(scores, target, first, CONSISTENCY, marks=False))
    parts.append(
        _small_print(
            f"Share of the counted days, 0 to 1: {weighted(scores)}median, mean beneath. * {PERSISTENCE_NOTE} "
            "Consistency says nothing of accuracy."
        )
    )
    if several and scored_targets:
        curves = [Curve(head(name), _SHARE, median_of(name)) for name in metrics_in(scores, _BALANCES)]
        parts.append(draw_curves(scores.sel(target=scored_targets), curves))
    plain = plain_network(scores)
    rivals = [label for label in networks(scores) if label != plain]
    if plain is not None and rivals and scores.sizes["cell"] > 1:
        canvas = Canvas(scores)
        parts += [
            _change_maps(scores.sel(target=target, lead=first), canvas, name, plain, rivals)
            for target in scored_targets
            for name in metrics_in(scores, _BALANCES)
        ]
    return html.joined(parts)


def _change_maps(scores: xr.Dataset, canvas: Canvas, metric: str, plain: str, rivals: list[str]) -> html.Markup:
    """Map by how much the consistency of the others differs from that of the plain network, at one target and lead."""
    reference = scores[metric].sel(model=plain)
    changes = {label: scores[metric].sel(model=label) - reference for label in rivals}
    scale = robust_scale(np.stack([change.to_numpy() for change in changes.values()]), DIFFERENCE)
    location = f"{scores['target'].item()}, {ahead(int(scores['lead']))}: "
    title = f"{location}{head(metric)}, change against the plain {plain}"
    if scale is None:
        return html.heading(title) + _small_print("No cell has a value.")
    drawn = [html.picture(canvas.panel(change, scale), f"{label} − {plain}") for label, change in changes.items()]
    return html.heading(title, html.colour_bar(scale, "share of days")) + html.panels(drawn)


def _small_print(text: str) -> html.Markup:
    return html.paragraph(text, note=True)
