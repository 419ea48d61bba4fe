"""The section on probabilities of drought: there where scores have them, with the numbers of the scores."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.reporting.chapters import SCORES
from soilcast.reporting.sections import probabilities
from soilcast.reporting.sections.probabilities import CURVES, frequencies, reliability, value, with_probabilities
from soilcast.verify.summary import summarise
from tests.helpers.html_page import report_page, rows_of
from tests.helpers.scores_factory import few, loaded, make_scores

TWO = ("LSTM", "PHYs-LSTM")


@pytest.fixture(scope="module")
def scores() -> xr.Dataset:
    return make_scores(
        networks=TWO, with_quantiles=("LSTM",), targets=("swvl1", "swvl2"), cells=9, leads=4, drought=True
    )


def section(scores: xr.Dataset) -> bool:
    """Whether the page has the section."""
    return any(not part.missing(scores) for part in SCORES if part.anchor == "probabilities")


def test_the_section_is_there_where_scores_have_probabilities(scores: xr.Dataset) -> None:
    assert section(scores)
    assert not section(few())


def test_only_models_with_probabilities_are_drawn_each_with_its_diagrams(scores: xr.Dataset) -> None:
    assert with_probabilities(scores, "swvl2") == ["LSTM"]
    drawn = str(probabilities.probabilities(scores))
    captions = Counter(re.findall("<figcaption>(LSTM: [^<]*)", drawn))
    within = "reliability of D1 or drier at least once up to the lead"
    diagrams = ("reliability of D1 or drier", "ROC of D1 or drier", "value of D1 or drier", within)
    assert captions == {f"LSTM: {words}": 2 for words in diagrams}
    assert "PHYs-LSTM: " not in drawn
    # Of each of two targets: four curves, the frequencies, and four diagrams.
    assert drawn.count("<img") == 2 * (4 + 1 + 4)
    assert "area-weighted median" in drawn


def test_curves_are_those_of_the_scores(scores: xr.Dataset) -> None:
    curves = {one.caption: one.values(scores, "swvl2").sel(model="LSTM").to_numpy() for one in CURVES}
    summary = summarise(scores).xs(("LSTM", "swvl2"), level=("model", "target"))
    np.testing.assert_allclose(curves["Skill of the drought classes (RPSS)"], summary["rps_skill_median"])
    np.testing.assert_allclose(curves["Brier skill of D2 or drier"], summary["brier_skill_d2_median"])
    area = scores["event_roc_area"].sel(model="LSTM", target="swvl2", event="D2")
    np.testing.assert_array_equal(curves["Area under the ROC curve, D2 or drier"], area)


def test_diagrams_of_a_model_without_probabilities_are_none(scores: xr.Dataset) -> None:
    for draw in (reliability, value, probabilities.operating_characteristic):
        assert draw(scores, "swvl1", "PHYs-LSTM", "D1") is None
        assert str(draw(scores, "swvl1", "LSTM", "D1")).startswith("data:image/svg")
    assert str(frequencies(scores, "swvl1")).startswith("data:image/svg")


def test_basins_are_not_weighted_by_area() -> None:
    places = make_scores(networks=("LSTM",), with_quantiles=("LSTM",), cells=4, leads=2, gridded=False, drought=True)
    assert "area-weighted" not in str(probabilities.probabilities(places))


@pytest.mark.slow
def test_a_page_of_one_lead_has_a_table(tmp_path: Path) -> None:
    scores = few(leads=1, drought=True)
    page = report_page(tmp_path, scores)
    row = next(cells for cells in rows_of(page, "LSTM") if len(cells) == 7 and "0" in cells[4])
    found = scores.sel(model="LSTM", target="swvl1", lead=1, event="D2")
    expected = (found["event_roc_area"], found["event_probability"], found["event_frequency"])
    assert [cell.strip() for cell in row[4:]] == [f"{float(one):.3f}" for one in expected]


def test_events_of_other_dimensions_are_refused() -> None:
    scores = few(drought=True)
    scores["event_brier"] = scores["event_brier"].isel(event=0)
    with pytest.raises(SoilcastError, match=r"event_brier .* is missing: the file is damaged"):
        loaded(scores)
