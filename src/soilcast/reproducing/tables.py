"""Tables 1 and 2: every row in every metric, over seeds, beside the baselines and what the paper reports."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from soilcast.models.baselines import BASELINES
from soilcast.reporting import html
from soilcast.reporting.tables import PERSISTENCE_NOTE, column_head, model_table, number, numbers, plain, plain_head
from soilcast.reporting.wording import weather_ahead, weighted
from soilcast.reproducing.claims import (
    COMPARED,
    Claim,
    against_reference,
    all_against_reference,
    best_row,
    make_claim,
    paper_groups,
    signed,
)
from soilcast.reproducing.reported import reported, reported_change, reported_in_words, reported_range
from soilcast.reproducing.section import Section, csv, listed, markdown_table
from soilcast.reproducing.study_scores import StudyScores
from soilcast.verify.significance import Statistic

_STATISTICS: tuple[Statistic, ...] = ("median", "mean")
_SOURCE = "Last column: {}. Other data than here: not to be compared line by line."
_MARKS = {"better": "▲", "worse": "▼"}


def show_table(scores: StudyScores) -> Section:
    """Draw the table of a study, with a sentence on each of its comparisons."""
    frame = table_frame(scores)
    name = scores.name
    first, *rest = main_sentences(scores)
    body = [
        html.verdict(first, html.listed(rest)),
        html.paragraph(_legend(scores), note=True),
        table_html(scores, frame),
        html.paragraph(f"{scores.balance} {scores.compared_with}* {PERSISTENCE_NOTE}", note=True),
        *([html.paragraph(_SOURCE.format(reported().source), note=True)] if _matches_paper(scores) else ()),
        html.folded("The same comparisons in R, R², KGE and consistency", html.listed(_other_sentences(scores))),
    ]
    text = f"{listed(main_sentences(scores))}\n{table_markdown(scores, frame)}\n{plain(scores.balance)}\n"
    return Section(html.joined(body), text, {f"{name}.csv": csv(frame)})


def metrics_of(scores: StudyScores) -> list[str]:
    """Give the metrics of the table, in its order, as far as the cube allows; user-defined ones at its end."""
    columns = (*COMPARED, *scores.blocks.custom)
    return [metric for metric in columns if metric in scores.sample.metrics]


def table_frame(scores: StudyScores) -> pd.DataFrame:
    """Make the numbers of the table: one row a model, metric and statistic over the area.

    Returns
    -------
    ``value`` is the mean over the seeds, ``low`` and ``high`` its 95 % confidence interval over days and seeds.
    ``difference`` to ``difference_high`` and ``p`` compare with the reference, each by itself; ``detectable`` is the
    smallest detectable difference; ``p_adjusted``, of the medians, is adjusted for all comparisons of the study, and
    ``verdict`` follows from it; ``area_better`` and ``area_worse`` are shares of the area where the difference is
    significant by itself, with ``_of_days`` at the end over days alone; ``is_best`` says that the row is significantly
    better than the next best one.
    """
    records = []
    for metric in metrics_of(scores):
        best = best_row(scores, metric, scores.networks)
        claims = {claim.row: claim for claim in all_against_reference(scores, metric)}
        for row in scores.rows:
            for statistic in _STATISTICS:
                records.append(_record(scores, row, metric, statistic, claims.get(row)) | {"is_best": False})
                if best and best[1] and row == best[0] and statistic == "median":
                    records[-1]["is_best"] = True
    return pd.DataFrame(records)


def table_html(scores: StudyScores, frame: pd.DataFrame) -> html.Markup:
    """Draw the table: median over the area and its spread over seeds, the mean beneath."""
    metrics = metrics_of(scores)
    heads = [column_head(metric) for metric in metrics]
    rows = {row: [_cell(frame, row, metric) for metric in metrics] for row in scores.rows}
    if _matches_paper(scores):
        heads.append(html.Cell("Geng et al. (2024), on their data", kind="theirs"))
        for row, cells in rows.items():
            cells.append(html.Cell(kind="theirs", lines=reported_in_words(row)))
    return model_table("Model", heads, rows, BASELINES, "wider", star=True)


def table_markdown(scores: StudyScores, frame: pd.DataFrame) -> str:
    """Give the table as GitHub Markdown: ``median ± spread over seeds (mean)``, and what the paper reports."""
    metrics = metrics_of(scores)
    heads = [plain_head(metric) for metric in metrics] + ["RMSE in the paper"] * _matches_paper(scores)
    rows = {}
    for row in scores.rows:
        texts = (_texts(frame, row, metric) for metric in metrics)
        rows[row] = [median if median == mean else f"{median} ({mean})" for median, mean, _ in texts]
        if _matches_paper(scores):
            limits = reported_range(row, "rmse")
            rows[row].append("–".join(number(limit, "rmse") for limit in limits or ()))
    return markdown_table("Model", heads, rows)


def main_sentences(scores: StudyScores) -> Iterator[str]:
    """Sentences above the table."""
    best = best_row(scores, "rmse", scores.networks)
    if best is None:
        yield "No network has a cell with a finite RMSE: there is nothing to compare."
        return
    margin = "" if best[1] else ", not significantly below the next"
    task = scores.plan.rows[best[0]].config.task
    weather = weather_ahead("observed" if task.known_future else "none").capitalize()
    yield f"{weather}, of the networks {best[0]} has the lowest median RMSE{margin}."
    claim = make_claim(scores, best[0], scores.baseline, "rmse")
    yield f"{weather}, against the best baseline: {claim.sentence()}"
    yield from _sentences(scores, "rmse")
    for group, rows in paper_groups(scores).items():
        best_here, best_in_paper = best_row(scores, "rmse", rows), reported().best[group]
        if best_in_paper in rows and best_here is not None:
            significance = "significantly below the next" if best_here[1] else "not significantly below the next"
            comparison = "as in the paper" if best_here[0] == best_in_paper else f"the paper names {best_in_paper}"
            yield f"In group {group}, {best_here[0]} has the lowest RMSE, {significance}; {comparison}."


def _other_sentences(scores: StudyScores) -> list[str]:
    metrics = [metric for metric in metrics_of(scores) if metric != "rmse"]
    return [sentence for metric in metrics for sentence in _sentences(scores, metric)]


def _matches_paper(scores: StudyScores) -> bool:
    """Whether the paper reports the same: forecasts of the next day, by networks that it has."""
    return scores.lead == 1 and any(reported_in_words(row) for row in scores.networks)


def _sentences(scores: StudyScores, metric: str) -> Iterator[str]:
    for claim in against_reference(scores, metric):
        yield _with_paper(claim) if _matches_paper(scores) else claim.sentence()


def _with_paper(claim: Claim) -> str:
    reported_value = reported_change(claim.row, claim.metric)
    if reported_value is None:
        return claim.sentence()
    relative = f"In per cent of {claim.reference}: {signed(claim.change, 1)} %"
    return f"{claim.sentence()} {relative}; the paper reports {signed(reported_value, 1)} % on its data."


def _record(scores: StudyScores, row: str, metric: str, statistic: Statistic, claim: Claim | None) -> dict[str, object]:
    estimate = scores.sample.estimate_over_area(row, metric, statistic)
    paper_range = (reported_range(row, metric) if _matches_paper(scores) else None) or (np.nan, np.nan)
    record: dict[str, object] = {
        "model": row,
        "is_baseline": row in BASELINES,
        "metric": metric,
        "statistic": statistic,
        "seeds": 0 if row in BASELINES else len(scores.rows[row]),
        "value": float(estimate.value),
        "low": float(estimate.low),
        "high": float(estimate.high),
        "paper_low": paper_range[0],
        "paper_high": paper_range[1],
    }
    shares = ("area_better", "area_worse", "area_better_of_days", "area_worse_of_days")
    names = ("difference", "difference_low", "difference_high", "detectable", "p", "p_adjusted", *shares)
    if claim is None:
        return record | dict.fromkeys(names, np.nan) | {"verdict": ""}
    is_median = statistic == "median"
    difference = scores.sample.compare_over_area(row, claim.reference, metric, statistic)
    tested = (difference.value, difference.low, difference.high, difference.detectable, difference.p)
    areas = [part for field in (claim.field, claim.field_of_days) for part in (field.area_better, field.area_worse)]
    values = (*map(float, tested), claim.p_adjusted if is_median else np.nan, *areas)
    return record | dict(zip(names, values, strict=True)) | {"verdict": claim.verdict if is_median else ""}


def _texts(frame: pd.DataFrame, row: str, metric: str) -> tuple[str, str, bool]:
    """The median with its spread over seeds and its mark, the mean, and whether it is best."""
    statistics = frame[(frame["model"] == row) & (frame["metric"] == metric)].set_index("statistic").to_dict("index")
    median, mean = statistics["median"], statistics["mean"]
    text = number(float(median["value"]), metric)
    if np.isfinite(median["low"]):
        text += f" ± {number(float(median['high'] - median['value']), metric)}"
    text += f" {_MARKS[str(median['verdict'])]}" if median["verdict"] in _MARKS else ""
    return text, number(float(mean["value"]), metric), bool(median["is_best"])


def _cell(frame: pd.DataFrame, row: str, metric: str) -> html.Cell:
    median, mean, best = _texts(frame, row, metric)
    return numbers(median, mean, "top" if best else "")


def _legend(scores: StudyScores) -> str:
    seeds, blocks = scores.seeds, scores.sample.blocks
    spread = f"{seeds} seeds and {blocks} blocks of test days" if seeds > 1 else f"{blocks} blocks of test days only"
    by = weighted(scores.cells)
    versus = f" than {scores.reference}" if scores.reference else ""
    return (
        f"Upper number: {by}median over the cells, ± 95 % confidence interval over {spread}; beneath it, in "
        f"grey, the {by}mean. ▲ better, ▼ worse{versus}: significant, in the table and in every sentence, by "
        "the p-value adjusted for all comparisons of the study, with a false discovery rate of 5 %. ● best network, "
        "only where it is significantly better than the next best. Intervals in brackets are of 95 %, each by itself. "
        "A difference that could not have been seen reliably is one that the test by itself finds with less than 80 % "
        "probability. Land area is declared better or worse cell by cell with a false discovery rate of 5 %; in "
        "brackets over days alone, which tests whether these trained networks differ, not whether retrained ones would."
    )
