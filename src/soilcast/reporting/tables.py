"""The tables of all models and baselines, as HTML and as Markdown, with persistence always in them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from soilcast.reporting import html
from soilcast.reporting.artifacts import leads
from soilcast.reporting.over_cells import cell_range, means, medians, ratios, rounded_for_print, summarised, summary_at
from soilcast.reporting.scores import PERSISTENCE, baselines, networks, ordered, targets
from soilcast.reporting.style import pretty_units
from soilcast.verify.metrics import BUILT_IN, METRICS, Metric, metrics_of

CONSISTENCY = ("consistency_w1", "consistency_w1_masked", "consistency_w2", "consistency_w2_masked")
INTERVALS = ("crps", "coverage_50", "coverage_90", "width_90")
EXTREMES = ("rmse_dry", "rmse_wet", "rmse_dry_forecast", "rmse_wet_forecast")

_ACCURACY = ("r", "rmse", "ubrmse", "bias", "r2", "kge", "skill")
_HEADLINE = (*_ACCURACY, "consistency_w1", "consistency_w2")
_HEADS = {
    "bias": "Bias",
    "r2": "R²",
    "skill": "Skill",
    "consistency_w1": "Consistency W1",
    "consistency_w1_masked": "W1, with observed mask",
    "consistency_w2": "Consistency W2",
    "consistency_w2_masked": "W2, with observed mask",
}
_FEW_COLUMNS = 6
_DASH = "–"

PERSISTENCE_NOTE = (
    "Persistence forecasts no change (skill 0 by definition), and Eq. 19 counts a day without change as neither "
    "consistent nor inconsistent: its consistency is not defined."
)


def number(value: float, metric: str, specs: Mapping[str, Metric] = METRICS) -> str:
    """One value of a metric: 4 decimals for soil moisture, 3 for others, none from 100 on; a dash for NaN."""
    if not np.isfinite(value):
        return _DASH
    text = f"{value:.{0 if abs(value) >= 100 else _decimals(metric, specs)}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "−")


def head(metric: str, specs: Mapping[str, Metric] = METRICS) -> str:
    """Heading of a metric, without its unit."""
    return _HEADS.get(metric, specs[metric].symbol)


def plain_head(metric: str, specs: Mapping[str, Metric] = METRICS) -> str:
    """Heading of a metric with its unit in brackets."""
    units = pretty_units(specs[metric].units)
    return f"{head(metric, specs)} [{units}]" if units else head(metric, specs)


def column_head(metric: str, specs: Mapping[str, Metric] = METRICS) -> html.Cell:
    """Heading of a metric, with its unit beneath."""
    return html.Cell(head(metric, specs), pretty_units(specs[metric].units))


def plain(text: str) -> str:
    """Give a text as Markdown that shows it as it is."""
    # A label from a file must not end the cell, start markup, or pass HTML on to the page that shows the Markdown.
    escaped = "".join(f"\\{sign}" if sign in "\\|*_`[]#~" else sign for sign in " ".join(text.split()))
    return escape(escaped, quote=False)


def numbers(upper: str, lower: str, kind: str = "") -> html.Cell:
    """Cell of a number above another; of two that are not known one dash."""
    return html.Cell(upper, "" if upper == lower == _DASH else lower, kind)


def model_table(
    corner: str,
    heads: Sequence[str | html.Cell],
    rows: Mapping[str, Sequence[str | html.Cell]],
    of_baselines: Collection[str],
    kind: str = "narrow",
    star: bool = False,
) -> html.Markup:
    """Draw a table of models, with a ``star`` at persistence for a note."""

    def row(label: str) -> tuple[str, str, Sequence[str | html.Cell]]:
        kind = ("baseline" if label in of_baselines else "network") + (" first" if label == PERSISTENCE else "")
        return kind, html.starred(label) if star and label == PERSISTENCE else label, rows[label]

    return html.table(corner, heads, [row(label) for label in rows], kind)


def markdown(corner: str, heads: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Give a table as GitHub Markdown; all texts are Markdown."""
    lines = [f"| {corner} | " + " | ".join(heads) + " |", "|:--|" + "--:|" * len(heads)]
    lines += [f"| {name} | " + " | ".join(values) + " |" for name, values in rows]
    return "\n".join(lines) + "\n"


def plain_label(label: str, of_baselines: Collection[str]) -> str:
    """Label of a model as Markdown."""
    return f"*{plain(label)}*" if label in of_baselines else plain(label)


def metrics_in(scores: xr.Dataset, metrics: Sequence[str]) -> list[str]:
    """Those of the metrics that the scores hold."""
    return [metric for metric in metrics if metric in scores]


def custom_metrics(scores: xr.Dataset) -> list[str]:
    """Metrics of the scores that somebody added to those of soilcast, also where they are not registered here."""
    return [metric for metric in metrics_of(scores) if metric not in BUILT_IN]


def headline_metrics(scores: xr.Dataset) -> list[str]:
    """Metrics that the scoreboard of a lead has as columns."""
    return [*metrics_in(scores, _HEADLINE), *custom_metrics(scores)]


def best(summary: pd.DataFrame, metric: str, labels: Sequence[str], specs: Mapping[str, Metric] = METRICS) -> set[str]:
    """Labels with the best median, all that tie to the digits shown; none if fewer than two can be compared."""
    median = summary.loc[list(labels), f"{metric}_median"].dropna()
    distances = {"higher": -median, "lower": median, "zero": median.abs()}
    if len(median) < 2 or specs[metric].best not in distances:
        return set()
    rounded = distances[specs[metric].best].round(_decimals(metric, specs))
    winners = rounded.index[rounded == rounded.min()]
    return set() if len(winners) == len(median) else {str(label) for label in winners}


def scoreboard(
    scores: xr.Dataset, target: str, lead: int, metrics: Sequence[str] | None = None, *, marks: bool = True
) -> html.Markup:
    """Draw the table of a target at a lead as HTML: a row a model, medians over the cells with the means beneath.

    Parameters
    ----------
    scores
        What `open_scores` gives.
    target, lead
        What is shown.
    metrics
        Columns; those that the scores lack are left out. By default those of `headline_metrics`.
    marks
        Mark the best network and the best of all in each column of accuracy.
    """
    summary = summary_at(scores, target, lead)
    specs = metrics_of(scores)
    columns = headline_metrics(scores) if metrics is None else metrics_in(scores, metrics)
    marked = [metric for metric in columns if marks and metric not in CONSISTENCY]
    leaders = {metric: best(summary, metric, networks(scores), specs) for metric in marked}
    overall = {metric: best(summary, metric, ordered(scores), specs) for metric in marked}
    rows = {
        label: [
            numbers(
                *_both(summary, label, metric, specs),
                " ".join(name for name, won in (("lead", leaders), ("top", overall)) if label in won.get(metric, ())),
            )
            for metric in columns
        ]
        for label in ordered(scores)
    }
    # The columns that `PERSISTENCE_NOTE` explains.
    star = not {"skill", *CONSISTENCY}.isdisjoint(columns)
    kind = "narrow" if len(columns) < _FEW_COLUMNS else ""
    return model_table("Model", [column_head(metric, specs) for metric in columns], rows, baselines(scores), kind, star)


def lead_table(scores: xr.Dataset, target: str) -> html.Markup:
    """Draw the table of a target by lead as HTML: a row a model, the RMSE ratio to persistence above the RMSE.

    Both are medians over the cells. A ratio below 1 is tinted, the least of a lead has a dot, both by
    the digits shown.
    """
    labels = ordered(scores)
    ratio, rmse = _by_lead(scores, target)
    tinted, least = rounded_for_print(ratio) < 1, _least(ratio)
    rows = {
        label: [
            numbers(
                number(ratio[row, column], "ratio"),
                number(rmse[row, column], "rmse"),
                " ".join(name for name, mask in (("lead", tinted), ("top", least)) if mask[row, column]),
            )
            for column in range(ratio.shape[1])
        ]
        for row, label in enumerate(labels)
    }
    return model_table("Days ahead", [str(lead) for lead in leads(scores)], rows, baselines(scores))


def markdown_table(scores: xr.Dataset, target: str | None = None, lead: int | None = None) -> str:
    """Give the table of a lead as GitHub Markdown: ``median (mean)`` over the cells, networks first, then baselines.

    Parameters
    ----------
    scores
        What `open_scores` gives.
    target, lead
        What is shown; by default the first of each.
    """
    summary = summary_at(scores, target or targets(scores)[0], lead or leads(scores)[0])
    columns, specs = headline_metrics(scores), metrics_of(scores)
    rows = {
        plain_label(label, baselines(scores)): [_pair(*_both(summary, label, metric, specs)) for metric in columns]
        for label in ordered(scores)
    }
    return markdown("Model", [plain_head(metric, specs) for metric in columns], rows.items())


def markdown_leads(scores: xr.Dataset, target: str) -> str:
    """Give the RMSE ratio to persistence of each model by lead as GitHub Markdown, and below it what intervals cover.

    Parameters
    ----------
    scores
        What `open_scores` gives.
    target
        The variable that is forecast.
    """
    labels = ordered(scores)
    ratio, rmse = _by_lead(scores, target)
    rows = [
        (plain_label(label, baselines(scores)), [number(value, "ratio") for value in ratio[row]])
        for row, label in enumerate(labels)
    ]
    if "coverage_90" in scores:
        rows += [
            (f"{plain(label)}, share within its 90 % interval, and of single cells", values)
            for label, values in coverages(scores, target).items()
            if label not in baselines(scores)
        ]
    persistence = rmse[labels.index(PERSISTENCE)]
    rows.append((f"*{PERSISTENCE}*, RMSE [m³ m⁻³]", [number(value, "rmse") for value in persistence]))
    return markdown("Days ahead", [str(lead) for lead in leads(scores)], rows)


def coverages(scores: xr.Dataset, target: str) -> dict[str, list[str]]:
    """Coverage of the 90 % interval of each model that has one, lead by lead, with its range over the cells.

    Returns
    -------
    Label -> a text a lead: the mean over the cells, and in brackets the lowest and the highest of a cell, so that
    one whose intervals fail is not hidden by the others.
    """
    mean = means(scores, scores["coverage_90"].sel(target=target))
    ends = cell_range(scores, "coverage_90", target)
    texts = {}
    for label in ordered(scores):
        of_model = zip(mean.sel(model=label).to_numpy(), ends.sel(model=label).to_numpy(), strict=True)
        if np.isfinite(mean.sel(model=label)).any():
            texts[label] = [
                f"{number(value, 'coverage_90')} ({'–'.join(number(end, 'coverage_90') for end in both)})"
                for value, both in of_model
            ]
    return texts


def _decimals(metric: str, specs: Mapping[str, Metric]) -> int:
    return 4 if metric in specs and specs[metric].units == "m3 m-3" else 3


def _by_lead(scores: xr.Dataset, target: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Medians of the ratio to persistence and of the RMSE, ``(model, lead)`` in the order of the tables."""
    labels = ordered(scores)
    rmse = medians(scores, scores["rmse"].sel(target=target))
    return ratios(scores, target).sel(model=labels).to_numpy(), rmse.sel(model=labels).to_numpy()


def _least(ratio: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Mark the least of each column and what ties with it to the digits shown; none where all tie."""
    rounded = np.where(np.isfinite(ratio), rounded_for_print(ratio), np.inf)
    least = (rounded == rounded.min(axis=0)) & np.isfinite(rounded)
    return np.asarray(least & (least.sum(axis=0) < np.isfinite(rounded).sum(axis=0)))


def _both(summary: pd.DataFrame, label: str, metric: str, specs: Mapping[str, Metric]) -> tuple[str, str]:
    median, mean = (summarised(summary, label, metric, statistic) for statistic in ("median", "mean"))
    return number(median, metric, specs), number(mean, metric, specs)


def _pair(median: str, mean: str) -> str:
    return _DASH if median == mean == _DASH else f"{median} ({mean})"
