"""Whether one outlook is told from another, or from a baseline, by more than chance, at every lead."""

from __future__ import annotations

import numpy as np
import pytest

from forecast_factory import DAYS, made_cube
from outlook_factory import LEADS, made_outlook
from soilcast.errors import SoilcastError
from soilcast.models.baselines import BASELINES
from soilcast.verify import evaluate
from soilcast.verify.outlook_significance import compare_outlooks, sum_outlook_blocks
from soilcast.verify.summary import weighted_median

QUICK = {"block_days": 10, "resamples": 200}


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return made_cube(tmp_path_factory.mktemp("cube") / "cube.zarr")


@pytest.fixture(scope="module")
def outlooks(tmp_path_factory, cube):
    """A good and a bad one, and another training of the good one."""
    folder = tmp_path_factory.mktemp("outlooks")
    made = [("good", 0.004, 1, (0.05, 0.25, 0.5, 0.75, 0.95)), ("bad", 0.007, 2, ()), ("again", 0.004, 3, ())]
    return [
        made_outlook(folder / label, cube, label=label, noise=noise, seed=seed, levels=levels)
        for label, noise, seed, levels in made
    ]


@pytest.fixture(scope="module")
def scores(tmp_path_factory, cube, outlooks):
    return evaluate(outlooks, cube, tmp_path_factory.mktemp("scores") / "scores")


@pytest.fixture(scope="module")
def compared(cube, outlooks):
    return compare_outlooks(outlooks, cube, ("persistence", "climatology", "bad"), **QUICK)


def test_scores_from_sums_over_days_are_those_of_evaluate(cube, outlooks, scores):
    leads = sum_outlook_blocks(outlooks, cube, block_days=10)
    assert list(leads) == [("swvl1", lead) for lead in range(1, LEADS + 1)]
    for (target, lead), blocks in leads.items():
        assert blocks.models == ("good", "bad", "again", *BASELINES)
        assert blocks.count == 8
        for model in blocks.models:
            found = blocks.scores(model)
            expected = scores.sel(model=model, target=target, lead=lead)
            for metric in ("rmse", "bias", "r", "crps"):
                np.testing.assert_allclose(found[metric][0], expected[metric], rtol=1e-7, atol=1e-9, err_msg=metric)


def test_differences_and_ratios_are_those_of_the_medians(compared, scores):
    area = scores["area"].to_numpy()
    for metric in ("rmse", "crps"):
        for reference in ("persistence", "bad"):
            for lead in (1, LEADS):
                mine, theirs = (
                    scores[metric].sel(model=one, target="swvl1", lead=lead).to_numpy() for one in ("good", reference)
                )
                found = compared.sel(metric=metric, row="good", reference=reference, target="swvl1", lead=lead)
                expected = weighted_median(mine, area) - weighted_median(theirs, area)
                assert float(found["difference"]) == pytest.approx(expected, rel=1e-6)
                assert float(found["ratio"]) == pytest.approx(weighted_median(mine / theirs, area), rel=1e-6)


def test_a_planted_difference_is_found_at_every_lead_and_its_reverse_too(compared):
    better = compared.sel(row="good", reference="bad")
    assert (better["p"] < 0.01).all()
    assert (better["high"] < 0).all()
    assert (better["area_better"] > 0.8).all()
    assert (better["area_worse"] == 0).all()
    worse = compared.sel(row="bad", reference="persistence")
    assert (worse["low"].sel(metric="rmse") > 0).all()
    assert (compared.sel(reference="climatology")["area_better"] > 0.9).all()
    for name in ("difference", "p", "ratio", "area_better"):
        assert np.isnan(compared[name].sel(row="bad", reference="bad")).all()


def test_two_trainings_of_one_model_are_not_told_apart(cube, outlooks):
    found = compare_outlooks([outlooks[0], outlooks[2]], cube, ("again",), **QUICK).sel(row="good", metric="rmse")
    assert (found["p"] > 0.01).all()
    assert (found["area_better"] + found["area_worse"] < 0.3).all()


def test_trainings_of_one_model_are_a_row(cube, outlooks, compared):
    rows = {"plain": {1: "good", 2: "again"}, "other": {1: "bad"}}
    found = compare_outlooks(outlooks, cube, ("other", "persistence"), rows=rows, **QUICK)
    assert list(found["row"].to_numpy()) == ["plain", "other"]
    # Over the seed that both have it is the one training against the other.
    alone = compared["difference"].sel(row="good", reference="bad")
    np.testing.assert_allclose(found["difference"].sel(row="plain", reference="other"), alone)
    both = found["difference"].sel(row="plain", reference="persistence", metric="rmse")
    each = [compared["difference"].sel(row=one, reference="persistence", metric="rmse") for one in ("good", "again")]
    np.testing.assert_allclose(both, (each[0] + each[1]) / 2, rtol=1e-9)


def test_few_days_are_not_tested(cube, outlooks):
    found = compare_outlooks(outlooks[:1], cube, ("persistence",))  # 89 issue days in blocks of 45 and more
    assert np.isnan(found["p"]).all()
    assert np.isnan(found["area_better"]).all()
    assert np.isfinite(found["difference"]).all()


def test_unknown_names_are_refused(cube, outlooks):
    with pytest.raises(SoilcastError, match="no best among what is compared: choose among good, persistence"):
        compare_outlooks(outlooks[:1], cube, ("best",))
    with pytest.raises(SoilcastError, match="no nine among what is compared: choose among good, bad, persistence"):
        compare_outlooks(outlooks[:2], cube, rows={"row": {1: "nine"}})
    rows = {"one": {1: "good"}, "two": {2: "bad"}}
    with pytest.raises(SoilcastError, match="one and two have no seed in common"):
        compare_outlooks(outlooks[:2], cube, ("two",), rows=rows)


def test_no_cell_day_at_a_lead_is_named(tmp_path, cube):
    late = made_outlook(tmp_path / "late", cube, latency_days=len(DAYS))
    with pytest.raises(SoilcastError, match="no cell-day of swvl1 1 d ahead is there in the observations and in every"):
        sum_outlook_blocks([late], cube)
