"""Routes of physics into a network, each with more and less to learn from: which helps, and with how much data."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from soilcast.models.baselines import BASELINES
from soilcast.reporting import html
from soilcast.reporting.tables import head, model_table, number, plain_head
from soilcast.reporting.wording import DAYS_ONLY, not_seen, weighted
from soilcast.reproducing.claims import ERRORS, Claim, make_claim, signed
from soilcast.reproducing.section import Section, csv, listed, markdown_table
from soilcast.reproducing.study_scores import StudyScores

_MARKS = {"better": " ▲", "worse": " ▼"}
_VERDICTS = {"better": "significantly better", "worse": "significantly worse"}

_LEGEND = (
    "Each column is an amount of training data, validation included, with which every row was trained. The row of "
    "{reference} and those of the baselines are the {weighted}median over the cells [m³ m⁻³], the others the change "
    "against {reference} of the same column. ▲ better, ▼ worse: significant over {seeds} and {blocks} blocks of test "
    "days, by the p-value adjusted for all comparisons of the study with a false discovery rate of 5 %. Otherwise "
    "in brackets the smallest difference that the test by itself finds with a probability of 80 %; without brackets it "
    "is not tested. The driest and the wettest days are by observation. Where a climate is left out, its cells alone "
    "are scored; what is pretrained has seen its weather, with the soil moisture of a process model."
)


def show_routes(*scored: StudyScores) -> Section:
    """Draw a table of each kind of error: a row a route, a column an amount of training data."""
    frame = routes_frame(*scored)
    amounts = [scores.plan.amount for scores in scored]
    first = scored[0]
    legend = _LEGEND.format(
        reference=first.plan.study.reference,
        weighted=weighted(first.cells),
        seeds=f"{first.seeds} seeds" if first.seeds > 1 else "one seed",
        blocks=first.sample.blocks,
    )
    verdicts = [*_verdicts(frame), *_beside_placebos(scored)]
    body = [html.verdict(verdicts[0], html.listed(verdicts[1:])), html.paragraph(legend, note=True)]
    text = [listed(verdicts)]
    for metric in ERRORS:
        rows = _rows(frame, metric, amounts)
        body += [html.paragraph(head(metric)), model_table("Route", amounts, rows, BASELINES, "wider")]
        text += [f"{plain_head(metric)}\n", markdown_table("Route", amounts, rows)]
    body.append(html.folded("In sentences", html.listed([_sentence(scores, frame) for scores in scored])))
    return Section(html.joined(body), "\n".join([*text, legend, ""]), {f"{first.name}.csv": csv(frame)})


def routes_frame(*scored: StudyScores) -> pd.DataFrame:
    """Make the numbers: one row an amount of training data, model and metric.

    Returns
    -------
    ``value`` is the median over the cells, the mean over the seeds, ``low`` and ``high`` its 95 % confidence interval
    [m3 m-3]; ``change``, with its interval, and ``detectable`` compare with the reference of the same amount [%].
    """
    records = []
    for scores in scored:
        compared = [metric for metric in ERRORS if metric in scores.sample.metrics]
        for metric in compared:
            for row in scores.rows:
                estimate = scores.sample.estimate_over_area(row, metric)
                record = {"data": scores.plan.amount, "model": row, "metric": metric, "cells": len(scores.sample.area)}
                record |= {name: float(getattr(estimate, name)) for name in ("value", "low", "high")}
                is_compared = row in scores.others and scores.reference is not None
                claim = make_claim(scores, row, scores.reference or "", metric) if is_compared else None
                records.append(record | _compared(claim))
    return pd.DataFrame(records)


def _compared(claim: Claim | None) -> dict[str, object]:
    names = ("change", "change_low", "change_high", "detectable", "p_adjusted")
    if claim is None or not np.isfinite(claim.estimate.value):
        return dict.fromkeys(names, np.nan) | {"verdict": ""}
    of = 100 / claim.base if claim.base else np.nan
    tested = (claim.estimate.value, claim.estimate.low, claim.estimate.high, claim.estimate.detectable)
    values = (*(of * float(value) for value in tested), claim.p_adjusted)
    return dict(zip(names, values, strict=True)) | {"verdict": claim.verdict}


def _rows(frame: pd.DataFrame, metric: str, amounts: list[str]) -> dict[str, list[str]]:
    of_metric = frame[frame["metric"] == metric].set_index(["model", "data"])
    texts = {key: _text(record, metric) for key, record in of_metric.to_dict("index").items()}
    return {str(row): [texts.get((row, amount), "–") for amount in amounts] for row in of_metric.index.unique("model")}


def _text(record: Mapping[Hashable, Any], metric: str) -> str:
    if not record["verdict"]:
        return number(record["value"], metric)
    change, detectable = record["change"], record["detectable"]
    text = f"{signed(change, 1)} %"
    if mark := _MARKS.get(record["verdict"]):
        return text + mark
    return f"{text} (< {signed(detectable, 1)} %)" if np.isfinite(detectable) else text


def _verdicts(frame: pd.DataFrame) -> list[str]:
    """Say of each route with which amounts of data it is better or worse than the reference in RMSE."""
    compared = frame[(frame["metric"] == "rmse") & (frame["verdict"] != "")]
    if compared.empty:
        return ["No route could be compared."]
    lines = []
    for row, records in compared.groupby("model", sort=False):
        said = _with_which(dict(zip(records["data"], records["verdict"], strict=True)))
        lines += [f"{row}: {said}, of {len(records)} amounts of data."] if said else []
    rest = compared[~compared["model"].isin(compared.loc[compared["verdict"].isin(list(_VERDICTS)), "model"])]
    if len(rest):
        lines.append(
            f"No difference in RMSE found with any amount of data: {', '.join(rest['model'].unique())}"
            f"{_not_seen(rest['detectable'])}."
        )
    return lines


def _beside_placebos(scored: Sequence[StudyScores]) -> list[str]:
    """Say with how many amounts of data a row is better or worse than its placebo, which has no water balance."""
    lines = []
    pairs = dict.fromkeys(pair for scores in scored for pair in scores.placebos.items())
    for row, placebo in pairs:
        claims = {
            scores.plan.amount: make_claim(scores, row, placebo, "rmse") for scores in scored if row in scores.placebos
        }
        said = _with_which({amount: claim.verdict for amount, claim in claims.items()})
        size = max(abs(100 * float(claim.estimate.detectable) / claim.base) for claim in claims.values())
        rest = f" ({not_seen(f'{size:.1f} %')})" if np.isfinite(size) else ""
        lines.append(f"{row} beside its placebo: {said or f'no difference found{rest}'}.")
    return lines


def _with_which(verdicts: Mapping[str, str]) -> str:
    """Say with which amounts of data it is better and with which worse; empty with none."""
    found = {words: [of for of, one in verdicts.items() if one == name] for name, words in _VERDICTS.items()}
    return "; ".join(f"{words} with {', '.join(amounts)}" for words, amounts in found.items() if amounts)


def _sentence(scores: StudyScores, frame: pd.DataFrame) -> str:
    """Compare the routes with one amount of training data in RMSE."""
    of_amount = frame[(frame["data"] == scores.plan.amount) & (frame["metric"] == "rmse") & (frame["verdict"] != "")]
    parts = []
    for name, words in _VERDICTS.items():
        rows = of_amount[of_amount["verdict"] == name]
        which = ", ".join(
            f"{row} ({signed(change, 1)} %)" for row, change in zip(rows["model"], rows["change"], strict=True)
        )
        parts += [f"{words} than {scores.reference} in RMSE: {which}"] if which else []
    rest = of_amount[~of_amount["verdict"].isin(list(_VERDICTS))]
    if len(rest):
        parts.append(f"no difference found: {', '.join(rest['model'])}{_not_seen(rest['detectable'])}")
    days_only = DAYS_ONLY if scores.seeds < 2 else ""
    return f"{scores.plan.amount}{days_only}: {'; '.join(parts) or 'nothing to compare'}."


def _not_seen(detectable: pd.Series[float]) -> str:
    """Say in brackets how large differences would have had to be, if that is known [%]."""
    low, high = detectable.min(), detectable.max()
    if not np.isfinite(low):
        return ""
    size = f"{signed(low, 1)}" if signed(low, 1) == signed(high, 1) else f"{signed(low, 1)} to {signed(high, 1)}"
    return f" ({not_seen(f'{size} %')})"
