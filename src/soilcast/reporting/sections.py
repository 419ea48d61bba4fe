"""The sections of the report on one data set, in the order in which they are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape

import numpy as np
import xarray as xr

from soilcast.reporting import figures, html
from soilcast.reporting.maps import Canvas, Scale, robust_scale, stack
from soilcast.reporting.scores import PERSISTENCE, flat, json_attribute, networks, place_name, place_of
from soilcast.reporting.style import DIFFERENCE, MAPS, OBSERVED, RAIN, colours, pretty_units
from soilcast.reporting.tables import CONSISTENCY, PERSISTENCE_NOTE, head, html_table, number, shown, summarised
from soilcast.reporting.verdict import PLAIN, verdict
from soilcast.verify.climate import climate_of
from soilcast.verify.metrics import METRICS
from soilcast.verify.summary import summarise

Section = Callable[[xr.Dataset], str]


def headline(scores: xr.Dataset) -> str:
    """What data, which periods, how many cells, and the verdict."""
    attrs = {key: str(value) for key, value in scores.attrs.items()}
    first, *others = verdict(scores)
    cells = f"{attrs.get('cells_scored', '?')} of {attrs.get('cells_total', scores.sizes['cell'])}"
    rows = {
        "Target": _target(attrs.get("target", "")),
        "Training": period(attrs.get("train_period", "")),
        "Validation": period(attrs.get("validation_period", "")),
        "Test": period(attrs.get("test_period", "")),
        "Cells scored": cells,
        "Source": attrs.get("source", ""),
    }
    return (
        html.badge(f"Data: {content(scores)}")
        + html.verdict(first, html.paragraph(" ".join(others)))
        + html.facts(rows)
    )


def scoreboard(scores: xr.Dataset) -> str:
    """All models and baselines, side by side."""
    scored_on = str(scores.attrs.get("scored_on", ""))
    return (
        html.paragraph(
            "Upper number: area-weighted median over the cells; beneath it, in grey, the area-weighted mean."
            + (f" Scored on {scored_on}." if scored_on else ""),
            note=True,
        )
        + html_table(scores)
        + '<p class="note"><span class="mark">Tinted</span> best network, <span class="dot">●</span> best of all, by '
        "the median and only where the digits shown differ; differences are not tested for significance. "
        "Skill has no lower bound: where soil moisture hardly moves, persistence hardly errs, and few such cells rule "
        f"the mean. * {escape(PERSISTENCE_NOTE)}</p>"
    )


def training(scores: xr.Dataset) -> str:
    """Training curves, a panel for each network."""
    logs = figures.logs_in_order(scores, json_attribute(scores, "training_logs"))
    if not logs:
        return html.paragraph("The scores carry no training log.", note=True)
    palette = colours(scores)
    drawn = [
        html.picture(*_captioned(label, figures.training_curve(label, log, palette[label], place_of(scores))))
        for label, log in logs.items()
    ]
    return html.paragraph(
        "Loss by epoch, on a logarithmic axis. Each model has its own loss (Eq. 8): levels cannot be compared.",
        note=True,
    ) + html.panels(drawn, three=len(drawn) > 2)


def maps(scores: xr.Dataset) -> str:
    """One block of maps per metric, the networks and persistence on one colour scale."""
    canvas = Canvas(scores)
    text = "Colours run from the 2nd to the 98th percentile of all panels of a metric, at most from −1 to 1."
    return html.paragraph(f"{text} {cells_note(scores, 'was not scored')}", note=True) + "".join(
        _metric_maps(scores, canvas, metric) for metric in shown(scores, list(MAPS))
    )


def series(scores: xr.Dataset) -> str:
    """Observed and forecast soil moisture of the picked cells."""
    palette = colours(scores)
    lines = {"observed": OBSERVED} | {label: palette[label] for label in networks(scores)}
    key = html.legend(lines | ({"rain": RAIN} if "precipitation" in scores else {}), bars=["rain"])
    drawn = [
        html.picture(figures.time_series(scores, pick), place_of_pick(scores, pick), _errors(scores, pick), wide=True)
        for pick in range(scores.sizes["pick"])
    ]
    return key + "".join(f'<div class="series">{figure}</div>' for figure in drawn)


def zones(scores: xr.Dataset) -> str:
    """Box plots per main climate."""
    blocks = []
    for metric in shown(scores, figures.BOXED):
        drawn = figures.zone_boxes(scores, metric, figures.boxed_models(scores, metric))
        if drawn:
            detail = figures.SKILL_NOTE if metric == "skill" else ""
            blocks.append(html.picture(drawn, head(metric), detail))
    if not blocks:
        return html.paragraph("No scored cell has a climate zone.", note=True)
    palette = colours(scores)
    key = html.legend({label: palette[label] for label in [*networks(scores), PERSISTENCE]})
    text = (
        "Main climates of Köppen and Geiger. Boxes hold the middle half of the cells, the median in white; whiskers "
        "run from the 5th to the 95th percentile; every cell counts once. An axis that reaches far below −1 is "
        "logarithmic there."
    )
    return html.paragraph(text, note=True) + key + html.panels(blocks)


def physics(scores: xr.Dataset) -> str:
    """Physical consistency: what it is, its table, and maps of the change against the plain network."""
    there = shown(scores, CONSISTENCY)
    water = html.paragraph(str(scores.attrs.get("water", "")), note=True)
    if not there:
        return water + html.paragraph(
            "The data lack the water fluxes that Eq. 19 needs: physical consistency is not computed."
        )
    text = (
        "A forecast is physically consistent on a day if it moves soil moisture the way the water balance moves: "
        "dW · (SM observed the day before − SM forecast) < 0 (Eq. 19), where dW is the sign of the change of "
        "the balance W; a day on which this is zero counts for neither side. W1 is the balance of the surface (rain, "
        "evaporation, runoff, snow), W2 also counts the water of the deeper layers; with the observed mask (Eq. 13) "
        "only those days count on which the observed soil moisture itself followed the balance."
    )
    parts = [
        html.paragraph(text),
        water,
        html_table(scores, CONSISTENCY, marks=False),
        html.paragraph(
            f"Share of the counted days, 0 to 1: area-weighted median, mean beneath. * {PERSISTENCE_NOTE} "
            "Consistency says nothing of accuracy.",
            note=True,
        ),
    ]
    rivals = [label for label in networks(scores) if label != PLAIN]
    if PLAIN in networks(scores) and rivals:
        canvas = Canvas(scores)
        parts += [
            _change_maps(scores, canvas, metric, rivals)
            for metric in ("consistency_w1", "consistency_w2")
            if metric in there
        ]
    return "".join(parts)


def provenance(scores: xr.Dataset) -> str:
    """What the scores were made from, and the configuration of every run."""
    made = flat(json_attribute(scores, "provenance"))
    attributes = {
        key: str(value)
        for key, value in scores.attrs.items()
        if key not in ("provenance", "training_logs", "configs", "water", "soilcast_kind")
    }
    runs = [
        html.folded(
            f"Configuration of {label}", f"<pre>{escape(json.dumps(config, indent=2, ensure_ascii=False))}</pre>"
        )
        for label, config in json_attribute(scores, "configs").items()
    ]
    return html.keys(attributes | made) + "".join(runs)


def content(scores: xr.Dataset) -> str:
    """Say what kind of data the scores are of: synthetic, land-model output, reanalysis ..."""
    return str(scores.attrs.get("content", "")).strip() or "of unknown kind"


def cells_note(dataset: xr.Dataset, lacking: str) -> str:
    """Say how maps show the cells, and those without a value: of these, ``lacking`` says what they are."""
    if "grid_lat" in dataset.coords:
        return f"Grey: land that {lacking}."
    return f"The cells form no grid: a dot stands at the centre of each, small and grey where it {lacking}."


def place_of_pick(scores: xr.Dataset, pick: int) -> str:
    """Name the place of a picked cell, and its climate."""
    cell = scores.isel(cell=int(scores["pick_cell"].to_numpy()[pick]))
    climate = climate_of(float(cell["climate_zone"])) if "climate_zone" in cell else None
    return place_name(cell) + (f", {climate.letter} {climate.name}" if climate else "")


def period(text: str) -> str:
    """Write a period for people."""
    return text.replace(":", " to ")


def _metric_maps(scores: xr.Dataset, canvas: Canvas, metric: str) -> str:
    labels = figures.boxed_models(scores, metric)
    units = pretty_units(METRICS[metric].units)
    words = METRICS[metric].long_name
    title = f"{head(metric)}: {words}"
    if metric == "skill":
        title = f"{words[:1].upper()}{words[1:]} ({figures.SKILL_NOTE})"
    scale = robust_scale(stack(scores, metric, labels), MAPS[metric])
    if scale is None:
        return html.heading(title) + html.paragraph(f"No cell has a value of {head(metric)}.", note=True)
    summary = summarise(scores)
    drawn = [
        html.picture(
            canvas.panel(scores[metric].sel(model=label), scale),
            label,
            f"median {number(summarised(summary, label, metric, 'median'), metric)}",
        )
        for label in labels
    ]
    return html.heading(title, html.colour_bar(scale, units or head(metric))) + html.panels(
        drawn, three=len(drawn) % 2 == 1
    )


def _change_maps(scores: xr.Dataset, canvas: Canvas, metric: str, rivals: list[str]) -> str:
    reference = scores[metric].sel(model=PLAIN)
    changes = {label: scores[metric].sel(model=label) - reference for label in rivals}
    scale: Scale | None = robust_scale(np.stack([change.to_numpy() for change in changes.values()]), DIFFERENCE)
    title = f"{head(metric)}: change against the plain {PLAIN}"
    if scale is None:
        return html.heading(title) + html.paragraph("No cell has a value.", note=True)
    drawn = [html.picture(canvas.panel(change, scale), f"{label} − {PLAIN}") for label, change in changes.items()]
    return html.heading(title, html.colour_bar(scale, "share of days")) + html.panels(drawn)


def _captioned(label: str, drawn: tuple[str, str]) -> tuple[str, str, str]:
    uri, detail = drawn
    return uri, label, detail


def _errors(scores: xr.Dataset, pick: int) -> str:
    cell = int(scores["pick_cell"].to_numpy()[pick])
    labels = [*networks(scores), PERSISTENCE]
    values = scores["rmse"].isel(cell=cell).sel(model=labels).to_numpy()
    return "RMSE here: " + ", ".join(
        f"{label} {number(float(v), 'rmse')}" for label, v in zip(labels, values, strict=True)
    )


def _target(name: str) -> str:
    return {"swvl1": "soil water of layer 1 (swvl1), next day"}.get(name, name)
