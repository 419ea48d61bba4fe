"""Comparisons of a study: adjusted together, and the same in sentences, tables and marks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from soilcast.reproducing.claims import against_reference, best_row, make_claim, with_adjusted_p
from soilcast.reproducing.study_scores import StudyScores
from soilcast.reproducing.tables import main_sentences, table_frame, table_markdown
from soilcast.verify.estimates import adjust
from soilcast.verify.significance import UNTRAINED, take_sample
from tests.verify.test_significance import red_noise, summed

BASELINES = ("persistence", "damped anomaly", "climatology")
ERRORS = {"LSTM": 0.02, "A1": 0.012, "A2": 0.02, "A3": 0.026}
KNOWN = SimpleNamespace(config=SimpleNamespace(task=SimpleNamespace(known_future=("tp",))))
BLIND = SimpleNamespace(config=SimpleNamespace(task=SimpleNamespace(known_future=())))


def made_study(seed: int, lead: int = 2, seeds: int = 3, row: SimpleNamespace = BLIND) -> StudyScores:
    """A study of four rows, of which A1 errs less than LSTM, A3 more and A2 as much."""
    rng = np.random.default_rng(seed)
    observed = 0.3 + 0.05 * red_noise(rng, (5, 366), 0.95)
    shared = red_noise(rng, observed.shape, 0.8)
    models, rows = {}, {}
    for name, error in ERRORS.items():
        rows[name] = {number: f"{name}-{number}" for number in range(seeds)}
        for label in rows[name].values():
            size = error * (1 + 0.01 * rng.standard_normal())
            models[label] = observed + size * (shared + 0.5 * red_noise(rng, observed.shape, 0.8))
    for name, error in zip(BASELINES, (0.04, 0.03, 0.06), strict=True):
        rows[name] = {UNTRAINED: name}
        models[name] = observed + error * red_noise(rng, observed.shape, 0.8)
    pairs = [(name, "damped anomaly") for name in ERRORS] + [(name, "LSTM") for name in ERRORS if name != "LSTM"]
    blocks = summed(observed, models)
    return StudyScores(
        plan=SimpleNamespace(amount="", name="mine", rows=dict.fromkeys(ERRORS, row)),
        lead=lead,
        cube=Path("cube"),
        forecasts={},
        rows=rows,
        networks=tuple(ERRORS),
        reference="LSTM",
        blocks=blocks,
        sample=take_sample(blocks, np.ones(5), rows, pairs, resamples=100),
        cells=xr.Dataset(),
        balance="",
        readings={},
        placebos={},
        runs=Path("runs"),
        baseline="damped anomaly",
    )


@pytest.fixture(scope="module")
def scored() -> list[StudyScores]:
    return with_adjusted_p([made_study(0, lead=2), made_study(1, lead=3)])


def test_all_comparisons_of_a_study_at_all_leads_are_one_family(scored: list[StudyScores]) -> None:
    p, adjusted = [], []
    for scores in scored:
        # Four rows against the best baseline in RMSE, three against LSTM in each of four metrics, and each best row
        # against the next where that is no such pair.
        assert len(scores.p_adjusted) >= 4 + 3 * 4
        assert {(row, "LSTM", metric) for row in ("A1", "A2", "A3") for metric in ("r", "rmse", "r2", "kge")} <= set(
            scores.p_adjusted
        )
        p += [float(scores.sample.compare_over_area(*key).p) for key in scores.p_adjusted]
        adjusted += scores.p_adjusted.values()
    np.testing.assert_allclose(adjusted, adjust(np.array(p)), rtol=1e-12)


def test_sentences_csv_and_marks_agree(scored: list[StudyScores]) -> None:
    seen = set()
    for scores in scored:
        frame = table_frame(scores)
        markdown = {line.split(" | ")[0]: line.split(" | ") for line in table_markdown(scores, frame).splitlines()}
        column = 2  # R, then RMSE
        for claim in against_reference(scores, "rmse"):
            of_row = frame[(frame["model"] == claim.row) & (frame["metric"] == "rmse")].set_index("statistic")
            assert of_row.loc["median", "verdict"] == claim.verdict
            assert of_row.loc["median", "p_adjusted"] == claim.p_adjusted >= of_row.loc["median", "p"]
            mark = {"better": "▲", "worse": "▼", "no difference": ""}[claim.verdict]
            assert [one for one in "▲▼" if one in markdown[f"| {claim.row}"][column]] == list(mark)
            words = {"better": " beats ", "worse": " is worse than ", "no difference": "No difference in RMSE found"}
            assert words[claim.verdict] in claim.sentence()
            assert ("could not have been seen reliably" in claim.sentence()) == (claim.verdict == "no difference")
            seen.add(claim.verdict)
    assert seen == {"better", "worse", "no difference"}


def test_the_best_row_is_best_by_the_adjusted_p_value(scored: list[StudyScores]) -> None:
    scores = scored[0]
    second = min((row for row in ERRORS if row != "A1"), key=lambda row: scores.median(row, "rmse"))
    assert best_row(scores, "rmse", scores.networks) == ("A1", scores.p_adjusted["A1", second, "rmse"] <= 0.05)
    certain = replace(scores, p_adjusted=dict.fromkeys(scores.p_adjusted, 0.0501))
    assert best_row(certain, "rmse", scores.networks) == ("A1", False)


def test_every_interval_is_over_days_and_seeds(scored: list[StudyScores]) -> None:
    frame = table_frame(scored[0])
    widths = (frame["high"] - frame["low"]).to_numpy()
    assert np.isfinite(widths).all()  # of baselines too, which have no seeds
    (alone,) = with_adjusted_p([made_study(0, seeds=1)])
    assert np.isfinite(table_frame(alone)["low"]).all()
    claim = make_claim(alone, "A3", "LSTM", "rmse")
    assert "] (days only), adjusted p" in claim.sentence()
    assert "days only" not in make_claim(scored[0], "A3", "LSTM", "rmse").sentence()


@pytest.mark.parametrize(("row", "words"), [(BLIND, "Without weather of the days ahead"), (KNOWN, "an upper bound)")])
def test_the_first_sentences_name_the_weather_and_the_best_baseline(row: SimpleNamespace, words: str) -> None:
    (scores,) = with_adjusted_p([made_study(0, row=row)])
    first, second, *_ = main_sentences(scores)
    assert words in first
    assert words in second
    assert "against the best baseline: A1 beats damped anomaly in RMSE by" in second
