"""Tables 1 and 2: every row in every metric, over seeds, beside the baselines and what the paper reports."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats

from soilcast.models.baselines import BASELINES
from soilcast.reporting import html
from soilcast.reporting.scores import PERSISTENCE
from soilcast.reporting.tables import PERSISTENCE_NOTE, column_head, model_table, number, numbers, plain, plain_head
from soilcast.reporting.wording import weighted
from soilcast.reproducing.claims import Claim, against_reference, all_against_reference, best_row, make_claim, signed
from soilcast.reproducing.reported import SCORES, reported, reported_change, reported_in_words, reported_range
from soilcast.reproducing.section import Section, csv, listed, markdown_table
from soilcast.reproducing.study_scores import StudyScores
from soilcast.verify.significance import FALSE_DISCOVERIES, Statistic, gain, interval_over_seeds

CONSISTENCY_SHOWN = ("consistency_w1", "consistency_w1_masked", "consistency_w2", "consistency_w2_masked")

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
    columns = (*SCORES, *CONSISTENCY_SHOWN, *scores.blocks.custom)
    return [metric for metric in columns if metric in scores.sample.metrics]


def table_frame(scores: StudyScores) -> pd.DataFrame:
    """Make the numbers of the table: one row a model, metric and statistic over the area.

    Returns
    -------
    ``value`` is the mean over the seeds, ``low`` and ``high`` its 95 % confidence interval over them. ``difference``
    to ``difference_high`` compare with the reference, over days and seeds; ``q`` is the p of the medians adjusted for
    the number of rows (Benjamini and Hochberg); ``area_better`` and ``area_worse`` are shares of the area where the
    difference is significant by itself, with ``_of_days`` at the end over days alone; ``is_best`` says that the row
    is significantly better than the next best one.
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
    frame = pd.DataFrame(records)
    frame["q"] = np.nan
    for _, part in frame[frame["statistic"] == "median"].groupby("metric"):
        p_values = part["p"].dropna()
        frame.loc[p_values.index, "q"] = stats.false_discovery_control(p_values) if len(p_values) else p_values
    verdicts = [_verdict(*row) for row in zip(frame["q"], frame["difference"], frame["metric"], strict=True)]
    return frame.assign(verdict=verdicts)


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
    yield f"Of the networks, {best[0]} has the lowest median RMSE{margin}."
    weather = "With observed weather of the days ahead: " if scores.plan.task.known_future else ""
    yield weather + make_claim(scores, best[0], PERSISTENCE, "rmse").sentence()
    yield from _sentences(scores, "rmse")
    for group, best_in_paper in reported().best.items() if _matches_paper(scores) else ():
        rows = tuple(row for row in scores.networks if row.startswith(group) and row[len(group) :].isdigit())
        best_here = best_row(scores, "rmse", rows)
        if best_in_paper in rows and best_here is not None and len(rows) > 1:
            significance = "significantly below the next" if best_here[1] else "not significantly below the next"
            comparison = "as in the paper" if best_here[0] == best_in_paper else f"the paper names {best_in_paper}"
            yield f"In group {group}, {best_here[0]} has the lowest RMSE, {significance}; {comparison}."


def _other_sentences(scores: StudyScores) -> list[str]:
    metrics = [metric for metric in metrics_of(scores) if metric != "rmse"]
    return [sentence for metric in metrics for sentence in _sentences(scores, metric)]


def _matches_paper(scores: StudyScores) -> bool:
    """Whether the paper reports the same: forecasts of the next day."""
    return scores.lead == 1


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
    values = scores.sample.over_area(row, metric, statistic)
    value, low, high = interval_over_seeds(values)
    paper_range = (reported_range(row, metric) if _matches_paper(scores) else None) or (np.nan, np.nan)
    record: dict[str, object] = {
        "model": row,
        "is_baseline": row in BASELINES,
        "metric": metric,
        "statistic": statistic,
        "seeds": 0 if row in BASELINES else len(values),
        "value": value,
        "low": low,
        "high": high,
        "paper_low": paper_range[0],
        "paper_high": paper_range[1],
    }
    shares = ("area_better", "area_worse", "area_better_of_days", "area_worse_of_days")
    names = ("difference", "difference_low", "difference_high", "p", *shares)
    if claim is None:
        return record | dict.fromkeys(names, np.nan)
    estimate = scores.sample.compare_over_area(row, claim.reference, metric, statistic)
    areas = [part for field in (claim.field, claim.field_of_days) for part in (field.area_better, field.area_worse)]
    over_area = [float(part) for part in (estimate.value, estimate.low, estimate.high, estimate.p)]
    return record | dict(zip(names, (*over_area, *areas), strict=True))


def _verdict(q: float, difference: float, metric: str) -> str:
    if not np.isfinite(q):
        return ""
    if q > FALSE_DISCOVERIES:
        return "no difference"
    return "better" if difference * gain(metric) > 0 else "worse"


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
    spread = f"± 95 % confidence interval over {seeds} seeds" if seeds > 1 else "one seed, without a spread"
    by = weighted(scores.cells)
    versus = f" than {scores.reference}" if scores.reference else ""
    return (
        f"Upper number: {by}median over the cells, {spread}; beneath it, in grey, the {by}mean. "
        f"▲ better, ▼ worse{versus}: significant over seeds and {blocks} blocks of test days, with a false discovery "
        "rate of 5 % over the rows of a column. ● best network, only where it is significantly better than the next "
        "best. Intervals in the sentences are of 95 %; land area is declared better or worse cell by cell with a false "
        "discovery rate of 5 %; in brackets over days alone, which tests whether these trained networks differ, not "
        "whether retrained ones would."
    )
