"""The table of all models and baselines, as HTML and as Markdown, with persistence always in it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from soilcast.reporting.scores import PERSISTENCE, networks
from soilcast.reporting.style import pretty_units
from soilcast.verify.metrics import METRICS
from soilcast.verify.summary import summarise

ACCURACY = ("r", "rmse", "ubrmse", "bias", "r2", "kge", "skill")
CONSISTENCY = ("consistency_w1", "consistency_w1_masked", "consistency_w2", "consistency_w2_masked")
HEADLINE = (*ACCURACY, "consistency_w1", "consistency_w2")

_DECIMALS = {"rmse": 4, "ubrmse": 4, "bias": 4}
_HEADS = {
    "bias": "Bias",
    "r2": "R²",
    "skill": "Skill",
    "consistency_w1": "Consistency W1",
    "consistency_w1_masked": "W1, with observed mask",
    "consistency_w2": "Consistency W2",
    "consistency_w2_masked": "W2, with observed mask",
}
_DASH = "–"

PERSISTENCE_NOTE = (
    "Persistence forecasts no change (skill 0 by definition), and Eq. 19 counts a day without change as neither "
    "consistent nor inconsistent: its consistency is not defined."
)


def number(value: float, metric: str) -> str:
    """One value of a metric: 4 decimals for soil moisture, 3 for others, none from 100 on; a dash for NaN."""
    if not np.isfinite(value):
        return _DASH
    text = f"{value:.{0 if abs(value) >= 100 else _DECIMALS.get(metric, 3)}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "−")


def summarised(summary: pd.DataFrame, label: str, metric: str, statistic: Literal["median", "mean"]) -> float:
    """One number of the summary of the scores, NaN where no cell has a value."""
    return float(summary[f"{metric}_{statistic}"].to_numpy()[summary.index.get_loc(label)])


def head(metric: str) -> str:
    """Heading of a metric, without its unit."""
    return _HEADS.get(metric, METRICS[metric].symbol)


def shown(scores: xr.Dataset, metrics: Sequence[str]) -> list[str]:
    """Those of the metrics that the scores hold."""
    return [metric for metric in metrics if metric in scores]


def ordered(scores: xr.Dataset) -> list[str]:
    """Labels in the order of the tables: the networks, persistence, the other baselines."""
    others = [str(m) for m in scores["model"].to_numpy() if str(m) not in networks(scores) and str(m) != PERSISTENCE]
    return [*networks(scores), PERSISTENCE, *others]


def best(summary: pd.DataFrame, metric: str, labels: Sequence[str]) -> set[str]:
    """Labels with the best median, all that tie to the digits shown; none if fewer than two can be compared."""
    medians = summary.loc[list(labels), f"{metric}_median"].dropna()
    if len(medians) < 2:
        return set()
    distance = {"higher": -medians, "lower": medians, "zero": medians.abs()}[METRICS[metric].best]
    rounded = distance.round(_DECIMALS.get(metric, 3))
    winners = rounded.index[rounded == rounded.min()]
    return set() if len(winners) == len(medians) else {str(label) for label in winners}


def html_table(scores: xr.Dataset, metrics: Sequence[str] = HEADLINE, *, marks: bool = True) -> str:
    """Table of area-weighted medians with the means beneath, one row per model.

    Parameters
    ----------
    scores
        What `open_scores` gives.
    metrics
        Columns; those that the scores lack are left out.
    marks
        Mark the best network and the best of all in each column of accuracy.
    """
    summary = summarise(scores)
    columns = shown(scores, metrics)
    inside = networks(scores)
    leaders = {m: best(summary, m, inside) if marks and m in ACCURACY else set() for m in columns}
    overall = {m: best(summary, m, ordered(scores)) if marks and m in ACCURACY else set() for m in columns}
    heads = "".join(f"<th scope=col>{head(m)}{unit_line(m)}</th>" for m in columns)
    body = []
    for label in ordered(scores):
        cells = []
        for metric in columns:
            kinds = [name for name, who in (("lead", leaders[metric]), ("top", overall[metric])) if label in who]
            median, mean = _both(summary, label, metric)
            attribute = f' class="{" ".join(kinds)}"' if kinds else ""
            beneath = "" if median == mean == _DASH else f"<i>{mean}</i>"
            cells.append(f"<td{attribute}><b>{median}</b>{beneath}</td>")
        kind = "network" if label in inside else "baseline"
        star = "<sup>*</sup>" if label == PERSISTENCE else ""
        first = " first" if label == PERSISTENCE else ""
        body.append(f'<tr class="{kind}{first}"><th scope=row>{escape(label)}{star}</th>{"".join(cells)}</tr>')
    kind = "scores narrow" if len(columns) < 6 else "scores"
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr><th scope="col">Model</th>{heads}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def markdown_table(scores: xr.Dataset) -> str:
    """Give the headline table as GitHub Markdown: area-weighted ``median (mean)``, networks first, then the baselines.

    Parameters
    ----------
    scores
        What `open_scores` gives: metrics ``(model, cell)``.
    """
    summary = summarise(scores)
    columns = shown(scores, HEADLINE)
    lines = [
        "| Model | " + " | ".join(plain_head(metric) for metric in columns) + " |",
        "|:--|" + "--:|" * len(columns),
    ]
    for label in ordered(scores):
        values = [_pair(*_both(summary, label, metric)) for metric in columns]
        name = plain(label) if label in networks(scores) else f"*{plain(label)}*"
        lines.append(f"| {name} | " + " | ".join(values) + " |")
    return "\n".join(lines) + "\n"


def _both(summary: pd.DataFrame, label: str, metric: str) -> tuple[str, str]:
    median, mean = summarised(summary, label, metric, "median"), summarised(summary, label, metric, "mean")
    return number(median, metric), number(mean, metric)


def _pair(median: str, mean: str) -> str:
    return _DASH if median == mean == _DASH else f"{median} ({mean})"


def unit_line(metric: str) -> str:
    """Unit of a metric beneath its heading, as HTML."""
    units = pretty_units(METRICS[metric].units)
    return f"<small>{units}</small>" if units else ""


def plain_head(metric: str) -> str:
    """Heading of a metric with its unit in brackets."""
    units = pretty_units(METRICS[metric].units)
    return f"{head(metric)} [{units}]" if units else head(metric)


def plain(text: str) -> str:
    """Give a text as Markdown that shows it as it is."""
    # A label from a file must not end the cell, start markup, or pass HTML on to the page that shows the Markdown.
    kept = "".join(f"\\{sign}" if sign in "\\|*_`[]#~" else sign for sign in " ".join(text.split()))
    return escape(kept, quote=False)
