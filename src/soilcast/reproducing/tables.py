"""Tables 1 and 2: every row in every metric, over seeds, beside the baselines and what the paper reports."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np
import pandas as pd
from scipy import stats

from soilcast.models.baselines import BASELINES
from soilcast.reporting import html
from soilcast.reporting.scores import PERSISTENCE
from soilcast.reporting.tables import PERSISTENCE_NOTE, head, number, plain, plain_head, unit_line
from soilcast.reproducing.claims import Claim, against_reference, all_against_reference, best_row, make_claim, signed
from soilcast.reproducing.judging import Judged
from soilcast.reproducing.reported import reported, reported_change, reported_in_words, reported_range
from soilcast.reproducing.section import Section, csv, listed
from soilcast.verify.significance import FALSE_DISCOVERIES, Statistic, gain, interval_over_seeds

METRICS_SHOWN = ("r", "rmse", "r2", "kge")
CONSISTENCY_SHOWN = ("consistency_w1", "consistency_w1_masked", "consistency_w2", "consistency_w2_masked")

_STATISTICS: tuple[Statistic, ...] = ("median", "mean")
_MARKS = {"better": "▲", "worse": "▼"}


def show_table(judged: Judged) -> Section:
    """Draw the table of a study, with a verdict on each of its claims."""
    frame = table_frame(judged)
    name = judged.plan.name
    body = [
        _verdicts(judged),
        html.paragraph(_legend(judged), note=True),
        table_html(judged, frame),
        html.paragraph(f"{judged.balance} * {PERSISTENCE_NOTE}", note=True),
        html.paragraph(
            f"Last column: {reported().source}. Other data than here: not to be compared line by line.", note=True
        ),
        html.folded("The same claims in R, R², KGE and consistency", html.listed(_others(judged))),
    ]
    told = f"{listed(main_sentences(judged))}\n{table_markdown(judged, frame)}\n{plain(judged.balance)}\n"
    return Section("".join(body), told, {f"{name}.csv": csv(frame)})


def metrics_of(judged: Judged) -> list[str]:
    """Give the metrics of the table, in its order, as far as the cube allows."""
    return [metric for metric in (*METRICS_SHOWN, *CONSISTENCY_SHOWN) if metric in judged.sample.metrics]


def table_frame(judged: Judged) -> pd.DataFrame:
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
    for metric in metrics_of(judged):
        best = best_row(judged, metric, judged.networks)
        claims = {claim.row: claim for claim in all_against_reference(judged, metric)}
        for row in judged.rows:
            for statistic in _STATISTICS:
                records.append(_record(judged, row, metric, statistic, claims.get(row)) | {"is_best": False})
                if best and best[1] and row == best[0] and statistic == "median":
                    records[-1]["is_best"] = True
    frame = pd.DataFrame(records)
    frame["q"] = np.nan
    for _, part in frame[frame["statistic"] == "median"].groupby("metric"):
        known = part["p"].dropna()
        frame.loc[known.index, "q"] = stats.false_discovery_control(known) if len(known) else known
    verdicts = [_verdict(*row) for row in zip(frame["q"], frame["difference"], frame["metric"], strict=True)]
    return frame.assign(verdict=verdicts)


def table_html(judged: Judged, frame: pd.DataFrame) -> str:
    """Draw the table: median over the area and its spread over seeds, the mean beneath."""
    metrics = metrics_of(judged)
    heads = "".join(f"<th scope=col>{head(metric)}{unit_line(metric)}</th>" for metric in metrics)
    body = []
    for row in judged.rows:
        kind = "baseline" if row in BASELINES else "network"
        first = " first" if row == PERSISTENCE else ""
        cells = "".join(_cell(frame, row, metric) for metric in metrics)
        star = "<sup>*</sup>" if row == PERSISTENCE else ""
        theirs = "<br>".join(escape(line) for line in reported_in_words(row))
        body.append(
            f'<tr class="{kind}{first}"><th scope=row>{escape(row)}{star}</th>{cells}'
            f'<td class="theirs">{theirs}</td></tr>'
        )
    return (
        '<div class="scroll"><table class="scores wider"><thead><tr><th scope="col">Model</th>'
        f'{heads}<th scope="col" class="theirs">Geng et al. (2024), on their data</th></tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def table_markdown(judged: Judged, frame: pd.DataFrame) -> str:
    """Give the table as GitHub Markdown: ``median ± spread over seeds (mean)``, and what the paper reports."""
    metrics = metrics_of(judged)
    lines = [
        "| Model | " + " | ".join(plain_head(metric) for metric in metrics) + " | RMSE in the paper |",
        "|:--|" + "--:|" * (len(metrics) + 1),
    ]
    for row in judged.rows:
        texts = (_texts(frame, row, metric) for metric in metrics)
        values = [median if median == mean else f"{median} ({mean})" for median, mean, _ in texts]
        theirs = reported_range(row, "rmse")
        said = f"{number(theirs[0], 'rmse')}–{number(theirs[1], 'rmse')}" if theirs else ""
        shown = f"*{plain(row)}*" if row in BASELINES else plain(row)
        lines.append(f"| {shown} | " + " | ".join(values) + f" | {said} |")
    return "\n".join(lines) + "\n"


def main_sentences(judged: Judged) -> Iterator[str]:
    """Say what stands above the table."""
    best = best_row(judged, "rmse", judged.networks)
    if best is None:
        yield "No network has a cell with a finite RMSE: there is nothing to judge."
        return
    yield f"Of the networks, {best[0]} has the lowest median RMSE{'' if best[1] else ', by no more than chance'}."
    yield make_claim(judged, best[0], PERSISTENCE, "rmse").sentence()
    yield from map(_beside_the_paper, against_reference(judged, "rmse"))
    for group, theirs in reported().best.items():
        rows = tuple(row for row in judged.networks if row.startswith(group) and row[len(group) :].isdigit())
        ours = best_row(judged, "rmse", rows)
        if theirs in rows and ours is not None and len(rows) > 1:
            sure = "by more than chance" if ours[1] else "by no more than chance over the next"
            agrees = "as in the paper" if ours[0] == theirs else f"the paper names {theirs}"
            yield f"In group {group}, {ours[0]} has the lowest RMSE, {sure}; {agrees}."


def _others(judged: Judged) -> list[str]:
    metrics = [metric for metric in metrics_of(judged) if metric != "rmse"]
    return [_beside_the_paper(claim) for metric in metrics for claim in against_reference(judged, metric)]


def _beside_the_paper(claim: Claim) -> str:
    theirs = reported_change(claim.row, claim.metric)
    if theirs is None:
        return claim.sentence()
    ours = f"In per cent of {claim.reference}: {signed(claim.change, 1)} %"
    return f"{claim.sentence()} {ours}; the paper reports {signed(theirs, 1)} % on its data."


def _verdicts(judged: Judged) -> str:
    first, *others = main_sentences(judged)
    return f'<div class="verdict">{html.paragraph(first)}{html.listed(others)}</div>'


def _record(judged: Judged, row: str, metric: str, statistic: Statistic, claim: Claim | None) -> dict[str, object]:
    values = judged.sample.over_area(row, metric, statistic)
    value, low, high = interval_over_seeds(values)
    theirs = reported_range(row, metric) or (np.nan, np.nan)
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
    estimate = judged.sample.compare_over_area(row, claim.reference, metric, statistic)
    areas = [part for field in (claim.field, claim.field_of_days) for part in (field.area_better, field.area_worse)]
    judged_so = [float(one) for one in (estimate.value, estimate.low, estimate.high, estimate.p)]
    return record | dict(zip(names, (*judged_so, *areas), strict=True))


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


def _cell(frame: pd.DataFrame, row: str, metric: str) -> str:
    median, mean, best = _texts(frame, row, metric)
    beneath = "" if median == mean == "–" else f"<i>{mean}</i>"
    return f"<td{' class=top' if best else ''}><b>{median}</b>{beneath}</td>"


def _legend(judged: Judged) -> str:
    seeds, blocks = judged.seeds, judged.sample.blocks
    spread = f"± 95 % confidence interval over {seeds} seeds" if seeds > 1 else "one seed, so no spread is known"
    versus = f" than {judged.reference}" if judged.reference else ""
    return (
        f"Upper number: area-weighted median over the cells, {spread}; beneath it, in grey, the area-weighted mean. "
        f"▲ better, ▼ worse{versus}: by more than chance over seeds and {blocks} blocks of test days, with a false "
        "discovery rate of 5 % over the rows of a column. ● best network, only where it beats the next best by more "
        "than chance. Intervals in the sentences are of 95 %; land area is declared better or worse cell by cell with "
        "a false discovery rate of 5 %; in brackets over days alone, which says whether these very trainings differ, "
        "not whether others would."
    )
