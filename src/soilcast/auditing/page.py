"""The page of an audit: each probe of the run beside the same of the cube, and what differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from soilcast.auditing.figures import COLOURS, LAYERS, draw_bars, draw_curve, draw_depth, draw_rows
from soilcast.auditing.findings import Curve, Finding, Row
from soilcast.auditing.rain_pulse import METHOD_ERROR
from soilcast.auditing.sensitivity import GRADIENT, PERMUTED
from soilcast.auditing.words import value_text
from soilcast.reporting import html
from soilcast.reporting.artifacts import flat
from soilcast.reporting.wording import PERCENT, target_words

_KEY = {"the run": COLOURS["run"], "the cube's own": COLOURS["cube"]}
_DIFFERS = "≠"
_MOST_SENTENCES = 7


class Part(NamedTuple):
    """A section of the page: its anchor and its heading, none for what is above the links to the others."""

    anchor: str
    heading: str


def audit_page(
    findings: Mapping[str, Finding],
    told: Sequence[str],
    label: str,
    facts: Mapping[str, str],
    record: Mapping[str, Any],
) -> str:
    """Write the page.

    Parameters
    ----------
    findings
        Name of each probe -> what it found.
    told
        Its sentences, the most important first.
    label
        Of the run.
    facts
        What is audited, in words: term -> text.
    record
        What ``audit.json`` holds.
    """
    first, rest = told[1 : 1 + _MOST_SENTENCES], told[1 + _MOST_SENTENCES :]
    more = html.folded(f"{len(rest)} more", html.listed(rest)) if rest else html.NOTHING
    head = html.verdict(told[0], html.listed(first) + more) + html.facts(facts)
    drawn = [(Part("headline", ""), head)]
    for name, finding in findings.items():
        anchor, heading, draw = SECTIONS[name]
        notes = [html.paragraph(note, note=True) for note in finding.notes]
        body = draw(finding) if finding.rows else html.NOTHING
        if body or notes:
            drawn.append((Part(anchor, heading), html.joined(notes) + body))
    provenance = {key: value for key, value in record.items() if key not in ("sentences", "notes")}
    drawn.append((Part("provenance", "Provenance"), html.keys(flat(provenance))))
    return html.page(
        "report.html.j2",
        title=f"{label}: what did it learn?",
        subtitle="A network's responses to its inputs, beside those of the land model or observations it learnt from",
        command=f"soilcast audit on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        chapters=[{"name": label, "summary": told[0], "drawn": drawn, "left_out": ""}],
    )


def _pulse(finding: Finding) -> html.Markup:
    text = (
        "The response to 10 mm of rain by days since: the run's input is changed; the cube's own is estimated from "
        "days of rain between dry days, compared with dry days of the same cells. Shaded: twice the standard error. "
        f"The cube's may err by another {100 * METHOD_ERROR:.0f}{PERCENT}, which {_DIFFERS} allows for; of numbers "
        "that are alike, about one in twenty is marked by chance."
    )
    parts = [html.paragraph(text, note=True), html.legend(_KEY)]
    figures = {}
    for layer in dict.fromkeys(curve.layer for curve in finding.curves):
        of_layer = [curve for curve in finding.curves if curve.layer == layer and np.isfinite(curve.run).any()]
        limits = _limits(of_layer)
        figures[layer] = [(draw_curve(curve, limits), curve.group) for curve in of_layer]
    if all(len(shown) == 1 for shown in figures.values()):
        drawn = [html.picture(uri, target_words(layer), group) for layer, [(uri, group)] in figures.items()]
        parts.append(html.panels(drawn))
    else:
        for layer, shown in figures.items():
            parts += [html.heading(target_words(layer)), html.panels([html.picture(*one) for one in shown])]
    return html.joined([*parts, _depth(finding), _table(finding.rows)])


def _limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """Give the ends of an axis for all curves of a layer, so that climates compare."""
    both = [one for curve in curves for one in ((curve.run, curve.run_error), (curve.cube, curve.cube_error))]
    values = [value + times * np.nan_to_num(error) for value, error in both for times in (-2, 2)] + [np.zeros(1)]
    low, high = (float(of(np.concatenate(values))) for of in (np.nanmin, np.nanmax))
    margin = 0.08 * max(high - low, 1e-6)
    return low - margin * (low < 0), high + margin


def _depth(finding: Finding) -> html.Markup:
    """Responses of all layers in one figure, of the run and of the cube side by side, of the first group."""
    group = finding.curves[0].group
    curves = sorted((curve for curve in finding.curves if curve.group == group), key=lambda curve: curve.layer)
    if len(curves) < 2:
        return html.NOTHING
    colours = {curve.layer: colour for curve, colour in zip(curves, LAYERS, strict=False)}
    figures = []
    for who in COLOURS:
        largest = np.nanmax(np.abs(np.nan_to_num(getattr(curves[0], who))))
        if largest > 0:
            of_layers = {curve.layer: (curve.since.astype(float), getattr(curve, who) / largest) for curve in curves}
            figures.append(
                html.picture(draw_depth(of_layers, colours), "The run" if who == "run" else "The cube's own")
            )
    return html.heading(f"All layers, {group}", html.legend(colours)) + html.panels(figures)


def _deep(finding: Finding) -> html.Markup:
    return _table(finding.rows)


def _drying(finding: Finding) -> html.Markup:
    layers = dict.fromkeys(row.layer for row in finding.rows)
    figures = [
        html.picture(
            draw_rows([row for row in finding.rows if row.layer == layer], "time scale [d]"), target_words(layer)
        )
        for layer in layers
    ]
    text = (
        "Days in which soil moisture nears its low by a factor e; compared by their inverses. Bars: twice the standard "
        "error."
    )
    return html.paragraph(text, note=True) + html.legend(_KEY) + html.panels(figures) + _table(finding.rows)


def _bounds(finding: Finding) -> html.Markup:
    return _table(finding.rows)


def _sensitivity(finding: Finding) -> html.Markup:
    text = (
        "Left: by how much the RMSE rises with the input of other days (static inputs: of other cells). Right: by how "
        "many of its standard deviations the forecast moves if the input is higher by one of its own on all days of "
        "the window. Bars: twice the standard error."
    )
    parts = [html.paragraph(text, note=True)]
    for layer in dict.fromkeys(row.layer for row in finding.rows):
        of_layer = [row for row in finding.rows if row.layer == layer]
        figures = []
        for quantity, caption, label, scale in (
            (PERMUTED, "Without the input", "rise of the RMSE [%]", 100.0),
            (GRADIENT, "By gradients", "standard deviations", 1.0),
        ):
            rows = [row for row in of_layer if row.quantity == quantity]
            figures += [html.picture(draw_bars(rows, label, scale), caption)] if rows else []
        parts += [html.heading(target_words(layer)), html.panels(figures)]
    return html.joined([*parts, html.folded("All numbers", _table(finding.rows))])


SECTIONS: dict[str, tuple[str, str, Callable[[Finding], html.Markup]]] = {
    "rain_pulse": ("pulse", "Response to a pulse of rain", _pulse),
    "deep_layers": ("depth", "How rain travels down", _deep),
    "dry_down": ("drying", "Drying without rain", _drying),
    "bounds": ("bounds", "Bounds", _bounds),
    "sensitivity": ("sensitivity", "What the forecasts depend on", _sensitivity),
}
"""Name of a probe -> anchor, heading and what draws it."""


def _table(rows: Sequence[Row]) -> html.Markup:
    """Numbers of run and cube; what differs is tinted and marked."""
    heads = ["cells", "the run", "the cube's own", "differs", "cell-days"]
    if all(np.isnan(row.cube) for row in rows):
        heads = ["cells", "the run", "cell-days"]
    return html.table("", heads, [*_lines(rows, heads)])


def _lines(rows: Sequence[Row], heads: Sequence[str]) -> Iterator[tuple[str, str, list[html.Cell]]]:
    for row in rows:
        if np.isnan(row.run) and np.isnan(row.cube):
            continue
        kind = "worse" if row.differs else ""
        texts = {
            "cells": html.Cell(row.group),
            "the run": html.Cell(value_text(row.run, row.run_error, row.units), kind=kind),
            "the cube's own": html.Cell(value_text(row.cube, row.cube_error, row.units)),
            "differs": html.Cell(_DIFFERS if row.differs else "", kind=kind),
            "cell-days": html.Cell(f"{row.samples:,}"),
        }
        yield "", f"{row.layer}: {row.quantity}{f', {row.about}' if row.about else ''}", [texts[head] for head in heads]
