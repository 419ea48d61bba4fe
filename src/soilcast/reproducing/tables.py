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
    """Draw the table of a study, with a verdict on each of its claims."""
    frame = table_frame(scores)
    name = scores.name
    first, *others = main_sentences(scores)
    body = [
        html.verdict(first, html.listed(others)),
        html.paragraph(_legend(scores), note=True),
        table_html(scores, frame),
        html.paragraph(f"{scores.balance} {scores.compared_with}* {PERSISTENCE_NOTE}", note=True),
        *([html.paragraph(_SOURCE.format(reported().source), note=True)] if _is_the_papers(scores) else ()),
        html.folded("The same claims in R, R², KGE and consistency", html.listed(_others(scores))),
    ]
    told = f"{listed(main_sentences(scores))}\n{table_markdown(scores, frame)}\n{plain(scores.balance)}\n"
    return Section(html.joined(body), told, {f"{name}.csv": csv(frame)})


def metrics_of(scores: StudyScores) -> list[str]:
    """Give the metrics of the table, in its order, as far as the cube allows; those of the user's own at its end."""
    shown = (*SCORES, *CONSISTENCY_SHOWN, *scores.blocks.custom)
    return [metric for metric in shown if metric in scores.sample.metrics]


def table_frame(scores: StudyScores) -> pd.DataFrame:
    """Make the table behind the table: one row a model, metric and statistic over the area.

    Returns
    -------
    ``value`` is the mean over the seeds, ``low`` and ``high`` its 95 % confidence interval over them. ``difference``
    to ``difference_high`` compare with the reference, over days and seeds; ``q`` is the p of the medians adjusted for
    the number of rows (Benjamini and Hochberg); ``area_better`` and ``area_worse`` are shares of the area where the
    difference is significant by itself, with ``_of_days`` at the end over days alone; ``is_best`` says that the row
    beats the next best one by more than chance.
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
        known = part["p"].dropna()
        frame.loc[known.index, "q"] = stats.false_discovery_control(known) if len(known) else known
    verdicts = [_verdict(*row) for row in zip(frame["q"], frame["difference"], frame["metric"], strict=True)]
    return frame.assign(verdict=verdicts)


def table_html(scores: StudyScores, frame: pd.DataFrame) -> html.Markup:
    """Draw the table: median over the area and its spread over seeds, the mean beneath."""
    metrics = metrics_of(scores)
    heads = [column_head(metric) for metric in metrics]
    rows = {row: [_cell(frame, row, metric) for metric in metrics] for row in scores.rows}
    if _is_the_papers(scores):
        heads.append(html.Cell("Geng et al. (2024), on their data", kind="theirs"))
        for row, cells in rows.items():
            cells.append(html.Cell(kind="theirs", lines=reported_in_words(row)))
    return model_table("Model", heads, rows, BASELINES, "wider", star=True)


def table_markdown(scores: StudyScores, frame: pd.DataFrame) -> str:
    """Give the table as GitHub Markdown: ``median ± spread over seeds (mean)``, and what the paper reports."""
    metrics = metrics_of(scores)
    heads = [plain_head(metric) for metric in metrics] + ["RMSE in the paper"] * _is_the_papers(scores)
    rows = {}
    for row in scores.rows:
        texts = (_texts(frame, row, metric) for metric in metrics)
        rows[row] = [median if median == mean else f"{median} ({mean})" for median, mean, _ in texts]
        if _is_the_papers(scores):
            theirs = reported_range(row, "rmse")
            rows[row].append("–".join(number(limit, "rmse") for limit in theirs or ()))
    return markdown_table("Model", heads, rows)


def main_sentences(scores: StudyScores) -> Iterator[str]:
    """Say what stands above the table."""
    best = best_row(scores, "rmse", scores.networks)
    if best is None:
        yield "No network has a cell with a finite RMSE: there is nothing to compare."
        return
    yield f"Of the networks, {best[0]} has the lowest median RMSE{'' if best[1] else ', by no more than chance'}."
    weather = "With observed weather of the days ahead: " if scores.plan.task.known_future else ""
    yield weather + make_claim(scores, best[0], PERSISTENCE, "rmse").sentence()
    yield from _sentences(scores, "rmse")
    for group, theirs in reported().best.items() if _is_the_papers(scores) else ():
        rows = tuple(row for row in scores.networks if row.startswith(group) and row[len(group) :].isdigit())
        ours = best_row(scores, "rmse", rows)
        if theirs in rows and ours is not None and len(rows) > 1:
            sure = "by more than chance" if ours[1] else "by no more than chance over the next"
            agrees = "as in the paper" if ours[0] == theirs else f"the paper names {theirs}"
            yield f"In group {group}, {ours[0]} has the lowest RMSE, {sure}; {agrees}."


def _others(scores: StudyScores) -> list[str]:
    metrics = [metric for metric in metrics_of(scores) if metric != "rmse"]
    return [sentence for metric in metrics for sentence in _sentences(scores, metric)]


def _is_the_papers(scores: StudyScores) -> bool:
    """Whether what the paper reports may stand beside it: that is of the next day."""
    return scores.lead == 1


def _sentences(scores: StudyScores, metric: str) -> Iterator[str]:
    for claim in against_reference(scores, metric):
        yield _beside_the_paper(claim) if _is_the_papers(scores) else claim.sentence()


def _beside_the_paper(claim: Claim) -> str:
    theirs = reported_change(claim.row, claim.metric)
    if theirs is None:
        return claim.sentence()
    ours = f"In per cent of {claim.reference}: {signed(claim.change, 1)} %"
    return f"{claim.sentence()} {ours}; the paper reports {signed(theirs, 1)} % on its data."


def _record(scores: StudyScores, row: str, metric: str, statistic: Statistic, claim: Claim | None) -> dict[str, object]:
    values = scores.sample.over_area(row, metric, statistic)
    value, low, high = interval_over_seeds(values)
    theirs = (reported_range(row, metric) if _is_the_papers(scores) else None) or (np.nan, np.nan)
    record: dict[str, object] = {
        "model": row,
        "is_baseline": row in BASELINES,
        "metric": metric,
        "statistic": statistic,
        "seeds": 0 if row in BASELINES else len(values),
        "value": value,
        "low": low,
        "high": high,
        "paper_low": theirs[0],
        "paper_high": theirs[1],
    }
    shares = ("area_better", "area_worse", "area_better_of_days", "area_worse_of_days")
    names = ("difference", "difference_low", "difference_high", "p", *shares)
    if claim is None:
        return record | dict.fromkeys(names, np.nan)
    estimate = scores.sample.compare_over_area(row, claim.reference, metric, statistic)
    areas = [part for field in (claim.field, claim.field_of_days) for part in (field.area_better, field.area_worse)]
    over_area = [float(one) for one in (estimate.value, estimate.low, estimate.high, estimate.p)]
    return record | dict(zip(names, (*over_area, *areas), strict=True))


def _verdict(q: float, difference: float, metric: str) -> str:
    if not np.isfinite(q):
        return ""
    if q > FALSE_DISCOVERIES:
        return "no difference"
    return "better" if difference * gain(metric) > 0 else "worse"


def _texts(frame: pd.DataFrame, row: str, metric: str) -> tuple[str, str, bool]:
    """The median with its spread over seeds and its mark, the mean, and whether it is best."""
    of = frame[(frame["model"] == row) & (frame["metric"] == metric)].set_index("statistic").to_dict("index")
    median, mean = of["median"], of["mean"]
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
    spread = f"± 95 % confidence interval over {seeds} seeds" if seeds > 1 else "one seed, so no spread is known"
    versus = f" than {scores.reference}" if scores.reference else ""
    return (
        f"Upper number: area-weighted median over the cells, {spread}; beneath it, in grey, the area-weighted mean. "
        f"▲ better, ▼ worse{versus}: by more than chance over seeds and {blocks} blocks of test days, with a false "
        "discovery rate of 5 % over the rows of a column. ● best network, only where it beats the next best by more "
        "than chance. Intervals in the sentences are of 95 %; land area is declared better or worse cell by cell with "
        "a false discovery rate of 5 %; in brackets over days alone, which says whether these very trainings differ, "
        "not whether others would."
    )
