"""Readings of the water balance side by side: paper, code, mass balance and the sign of the inflow itself."""

from __future__ import annotations

import pandas as pd

from soilcast.cube import open_cube
from soilcast.models.baselines import BASELINES
from soilcast.reporting import html
from soilcast.reporting.tables import head, model_table, number, plain
from soilcast.reporting.wording import weighted
from soilcast.reproducing.claims import Claim, against_reference, make_claim
from soilcast.reproducing.reported import SCORES
from soilcast.reproducing.section import Section, csv, listed, markdown_table
from soilcast.reproducing.study_scores import StudyScores, guiding_reading
from soilcast.training.run_folder import read_record
from soilcast.training.split import split_days
from soilcast.verify.agreement import measure_agreement
from soilcast.water import PLACEBOS

_HEADS = {
    "agreeing": "dW agrees with the observed change",
    "kept": "Eq. 13 keeps",
    "kept_train": "Training days with a sign",
    "consistency": "Consistency of the forecast",
    "consistency_masked": "with observed mask",
    "reference_consistency": "the same of the reference",
    "reference_consistency_masked": "with observed mask",
}
_SHARES = tuple(_HEADS)

_EXPLANATION = (
    "A reading says what W of Eq. 10 and 11 is and what its sign dW is. Shares are of cell-days: those of the test "
    "period on which dW agrees with the direction in which the observed soil moisture moves (0.5 is chance), those "
    "that Eq. 13 keeps of a sign, those of all training days that have a sign after it, and those on which the "
    "forecast moves as the reading predicts (Eq. 19; {}median over the cells), each by the row's own "
    "reading, or by that which it is the placebo of. The mask of Eq. 13 looks at the observed soil moisture of the day "
    "that is forecast, so that the masked consistency can only be computed afterwards. The authors' public code also "
    "seeds no batches, validates on every 20th day of every 40th cell, drops 1 January and forecasts oceans; these are "
    "not readings of the method and are not followed."
)

_PLACEBOS = (
    "After Eq. 13 every sign that is kept is that of the observed change of soil moisture (on a day without a change "
    "either sign is), whatever W is: guidance tells the network in training which way the observation moved. A "
    "placebo has no water balance: in a coin toss dW is +1 or -1 at random before Eq. 13; in the placebo of a reading "
    "it is the sign of the observed change on random cell-days, as many as Eq. 13 keeps of that reading in training. "
    "Only the difference between a reading and its placebo can be credited to the water balance."
)


def show_readings(scores: StudyScores) -> Section:
    """Draw the table of readings, with a sentence on each."""
    frame = readings_frame(scores)
    heads, rows = _table(frame)
    sentences = [claim.sentence() for claim in _claims(scores, "rmse")]
    other_sentences = [claim.sentence() for metric in ("r", "r2", "kge") for claim in _claims(scores, metric)]
    has_placebos = bool(frame.get("placebo", pd.Series()).isin(PLACEBOS).any())
    body = [
        html.verdict(agreement_sentence(frame), html.listed(sentences)),
        html.paragraph(_EXPLANATION.format(weighted(scores.cells)), note=True),
        model_table(
            "Reading", heads, {row: [*map(html.Cell, values)] for row, values in rows.items()}, BASELINES, "wider"
        ),
        *([html.paragraph(_PLACEBOS, note=True)] if has_placebos else ()),
        html.folded("The same comparisons in R, R² and KGE", html.listed(other_sentences)),
    ]
    text = f"{plain(agreement_sentence(frame))}\n\n{listed(sentences)}\n{markdown_table('Reading', heads, rows)}"
    text += f"\n{_PLACEBOS}\n" if has_placebos else ""
    return Section(html.joined(body), text, {f"{scores.name}.csv": csv(frame)})


def readings_frame(scores: StudyScores) -> pd.DataFrame:
    """Make the table: one row a reading, a baseline or the reference.

    Returns
    -------
    Shares of cell-days as fractions; scores as medians over the cells, means over the seeds.
    """
    guiding = {row: guiding_reading(scores.plan.rows[row]) for row in scores.networks}
    readings = {row: reading for row, reading in guiding.items() if reading is not None}
    config = scores.plan.rows[scores.networks[0]].config
    with open_cube(scores.cube) as cube:
        split = split_days(cube["time"].to_numpy(), config.split, str(scores.cube))
        tested = measure_agreement(cube, config.task.target, readings, split.test)
    records = []
    for row in (*scores.networks, *BASELINES):
        record: dict[str, object] = {"model": row}
        if row in readings:
            form, water = readings[row]
            placebo = scores.plan.rows[row].config.water.placebo
            record |= {
                "balance": {"single": "W1", "multi": "W2"}[form],
                "terms": " ".join(water.terms),
                **{name: getattr(water, name) for name in ("sign", "snow", "runoff", "layer", "ties")},
                "placebo": placebo,
                **(vars(tested[row]) if placebo == "none" else {}),
                "kept_train": _share_of_signs(scores, row),
                **_consistencies(scores, row),
            }
        record |= {metric: scores.median(row, metric) for metric in SCORES}
        records.append(record)
    return pd.DataFrame(records)


def agreement_sentence(frame: pd.DataFrame) -> str:
    """Sentence on how often each reading agrees with the observed change of soil moisture."""
    if "agreeing" not in frame or not frame["agreeing"].notna().any():
        return "No reading of the water balance could be computed."
    defined = frame.dropna(subset=["agreeing"])
    shares = ", ".join(f"{row['model']} {100 * row['agreeing']:.0f} %" for row in defined.to_dict("records"))
    best = defined["model"].to_numpy()[defined["agreeing"].to_numpy().argmax()]
    return f"Share of cell-days on which dW agrees with the observed change of soil moisture: {shares}. Most: {best}."


def _claims(scores: StudyScores, metric: str) -> list[Claim]:
    """Compare every network with the reference, and then with its placebo."""
    claims = []
    for claim in against_reference(scores, metric):
        claims.append(claim)
        if claim.row in scores.placebos:
            claims.append(make_claim(scores, claim.row, scores.placebos[claim.row], metric))
    return claims


def _share_of_signs(scores: StudyScores, row: str) -> float:
    """Share of the training cell-days with a sign after Eq. 13, which all seeds have in common."""
    run = next(iter(scores.rows[row].values()))
    return float(read_record(scores.runs / run)["water_sign_share"])


def _consistencies(scores: StudyScores, row: str) -> dict[str, float]:
    metric, reference = scores.readings[row], scores.reference
    values = {f"consistency{end}": scores.median(row, metric + end) for end in ("", "_masked")}
    if reference is not None:
        values |= {f"reference_consistency{end}": scores.median(reference, metric + end) for end in ("", "_masked")}
    return values


def _table(frame: pd.DataFrame) -> tuple[list[str], dict[str, list[str]]]:
    """Headings of the table, and the texts of its rows."""
    shares = [name for name in _SHARES if name in frame]
    rows = {
        str(row["model"]): [number(float(row[name]), "r") for name in shares]
        + [number(float(row[name]), name) for name in SCORES]
        for row in frame.to_dict("records")
    }
    return [*(_HEADS[share] for share in shares), *map(head, SCORES)], rows
