"""Whether one forecast differs from another, or from a baseline, by more than chance, at every lead."""

from __future__ import annotations

import functools
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

from soilcast.cli import app
from soilcast.cube import open_artifact
from soilcast.errors import SoilcastError
from soilcast.models.baselines import BASELINES
from soilcast.verify import dayblocks, evaluate, summarise
from soilcast.verify.comparison import DIMS, compare_forecasts
from soilcast.verify.dayblocks import iterate_day_blocks, sum_day_blocks
from soilcast.verify.estimates import FEWEST_BLOCKS, adjust
from soilcast.verify.summary import weighted_median
from tests.helpers.forecast_factory import DAYS, LEADS, LEVELS, TEST, made_forecast

EVALUATE = import_module("soilcast.verify.evaluate")  # by its name, since the package shows the function
QUICK = {"block_days": 10, "resamples": 200}


@pytest.fixture(scope="module")
def forecasts(tmp_path_factory, cube):
    """A good and a bad one, and another training of the good one."""
    folder = tmp_path_factory.mktemp("forecasts")
    made = [("good", 0.004, 1, LEVELS), ("bad", 0.007, 2, ()), ("again", 0.004, 3, ())]
    return [
        made_forecast(folder / label, cube, leads=LEADS, label=label, noise=noise, seed=seed, levels=levels)
        for label, noise, seed, levels in made
    ]


@pytest.fixture(scope="module")
def scores(tmp_path_factory, cube, forecasts):
    return evaluate(forecasts, cube, tmp_path_factory.mktemp("scores") / "scores")


@pytest.fixture(scope="module")
def compared(cube, forecasts):
    return compare_forecasts(forecasts, cube, ("persistence", "climatology", "bad"), **QUICK)


def test_scores_from_sums_over_days_are_those_of_evaluate(cube, forecasts, scores):
    leads = sum_day_blocks(forecasts, cube, {}, block_days=10)
    assert list(leads) == [("swvl1", lead) for lead in range(1, LEADS + 1)]
    for (target, lead), blocks in leads.items():
        assert blocks.models == ("good", "bad", "again", *BASELINES)
        assert blocks.count == 8
        for model in blocks.models:
            found = blocks.scores(model)
            expected = scores.sel(model=model, target=target, lead=lead)
            for metric in ("rmse", "bias", "r", "crps", "rmse_dry", "rmse_wet"):
                np.testing.assert_allclose(found[metric][0], expected[metric], rtol=1e-7, atol=1e-9, err_msg=metric)


def test_differences_and_ratios_are_those_of_the_medians(compared, scores):
    area = scores["area"].to_numpy()
    for metric in ("rmse", "crps"):
        for reference in ("persistence", "bad"):
            for lead in (1, LEADS):
                mine, theirs = (
                    scores[metric].sel(model=one, target="swvl1", lead=lead).to_numpy() for one in ("good", reference)
                )
                found = compared.sel(tested_metric=metric, row="good", reference=reference, target="swvl1", lead=lead)
                expected = weighted_median(mine, area) - weighted_median(theirs, area)
                assert float(found["difference"]) == pytest.approx(expected, rel=1e-6)
                assert float(found["difference_ratio"]) == pytest.approx(weighted_median(mine / theirs, area), rel=1e-6)


def test_a_planted_difference_is_found_at_every_lead_and_its_reverse_too(compared):
    better = compared.sel(row="good", reference="bad")
    assert (better["difference_p"] < 0.01).all()
    assert (better["difference_high"] < 0).all()
    assert (better["area_better"] > 0.8).all()
    assert (better["area_worse"] == 0).all()
    worse = compared.sel(row="bad", reference="persistence")
    assert (worse["difference_low"].sel(tested_metric="rmse") > 0).all()
    assert (compared.sel(reference="climatology", tested_metric="rmse")["area_better"] > 0.9).all()
    for name in ("difference", "difference_p", "difference_ratio", "area_better"):
        assert np.isnan(compared[name].sel(row="bad", reference="bad")).all()


def test_all_differences_are_one_family(compared):
    p, adjusted = (compared[name].to_numpy() for name in ("difference_p", "difference_p_adjusted"))
    np.testing.assert_array_equal(adjusted, adjust(p))
    tested = p[np.isfinite(p)]
    count = 2 * (3 * 3 - 1) * LEADS  # metrics, pairs of a row and a reference, leads
    assert len(tested) == count
    harmonic = (1 / np.arange(1, count + 1)).sum()
    assert np.nanmin(adjusted) <= tested.min() * count * harmonic * (1 + 1e-12)
    width = (compared["difference_high"] - compared["difference_low"]) / 2
    assert (compared["difference_detectable"] > width).where(width.notnull(), True).all()


def test_extreme_days_are_tested_over_days_too(cube, forecasts):
    found = compare_forecasts(forecasts[:2], cube, ("bad",), metrics=("rmse", "rmse_dry", "rmse_wet"), **QUICK)
    of_pair = found.sel(row="good", reference="bad")
    assert np.isfinite(of_pair["difference_p"]).all()
    assert (of_pair["difference"] < 0).all()
    # Few days of the same error are less certain than all of them.
    width = of_pair["difference_high"] - of_pair["difference_low"]
    assert (width.sel(tested_metric=["rmse_dry", "rmse_wet"]) > width.sel(tested_metric="rmse")).all()


def test_two_trainings_of_one_model_are_not_told_apart(cube, forecasts):
    found = compare_forecasts([forecasts[0], forecasts[2]], cube, ("again",), **QUICK).sel(
        row="good", tested_metric="rmse"
    )
    assert (found["difference_p"] > 0.01).all()
    assert (found["area_better"] + found["area_worse"] < 0.3).all()


def test_trainings_of_one_model_are_a_row(cube, forecasts, compared):
    rows = {"plain": {1: "good", 2: "again"}, "other": {1: "bad"}}
    found = compare_forecasts(forecasts, cube, ("other", "persistence"), rows=rows, **QUICK)
    assert list(found["row"].to_numpy()) == ["plain", "other"]
    # Over the seed that both have it is the one training against the other.
    alone = compared["difference"].sel(row="good", reference="bad")
    np.testing.assert_allclose(found["difference"].sel(row="plain", reference="other"), alone)
    both = found["difference"].sel(row="plain", reference="persistence", tested_metric="rmse")
    each = [
        compared["difference"].sel(row=one, reference="persistence", tested_metric="rmse") for one in ("good", "again")
    ]
    np.testing.assert_allclose(both, (each[0] + each[1]) / 2, rtol=1e-9)


def test_few_days_are_not_tested(cube, forecasts):
    found = compare_forecasts(forecasts[:1], cube, ("persistence",))  # 89 issue days in blocks of 45 and more
    assert np.isnan(found["difference_p"]).all()
    assert np.isnan(found["area_better"]).all()
    assert np.isfinite(found["difference"]).all()


def test_unknown_names_are_refused(cube, forecasts):
    with pytest.raises(SoilcastError, match="no best among the compared runs: choose from good, persistence"):
        compare_forecasts(forecasts[:1], cube, ("best",))
    with pytest.raises(SoilcastError, match="no nine among the compared runs: choose from good, bad, persistence"):
        compare_forecasts(forecasts[:2], cube, rows={"row": {1: "nine"}})
    rows = {"one": {1: "good"}, "two": {2: "bad"}}
    with pytest.raises(SoilcastError, match="one and two have no seed in common"):
        compare_forecasts(forecasts[:2], cube, ("two",), rows=rows)


def test_no_cell_day_at_a_lead_is_named(tmp_path, cube):
    late = made_forecast(tmp_path / "late", cube, leads=LEADS, latency_days=len(DAYS))
    with pytest.raises(SoilcastError, match="no cell-day is common to observations and all models"):
        sum_day_blocks([late], cube, {})


def test_a_pass_for_each_lead_gives_the_same(cube, forecasts, compared, monkeypatch):
    passes = []
    genuine = dayblocks._sum_blocks

    def counted(*given, **options):
        passes.append(given)
        return genuine(*given, **options)

    monkeypatch.setattr(dayblocks, "_sum_blocks", counted)
    monkeypatch.setattr(dayblocks, "_MOST_BYTES", 1)
    found = compare_forecasts(forecasts, cube, ("persistence", "climatology", "bad"), **QUICK)
    xr.testing.assert_identical(found, compared)
    assert len(passes) == LEADS


@pytest.fixture(scope="module")
def tested(tmp_path_factory, cube, forecasts):
    """The folder of scores with tested differences, in blocks of days short enough for so short a test period."""
    folder = tmp_path_factory.mktemp("tested") / "scores"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EVALUATE, "iterate_day_blocks", functools.partial(iterate_day_blocks, block_days=10))
        evaluate(forecasts[:2], cube, folder, significance=True)
    return folder


@pytest.mark.slow
def test_scores_hold_the_tested_differences_on_request(tested, cube, forecasts, scores):
    with open_artifact(tested / "scores.nc", "scores") as opened:
        found = opened.load()
    references = (*BASELINES, "good", "bad")
    expected = compare_forecasts(forecasts[:2], cube, references, block_days=10)
    assert expected["difference"].dims == DIMS
    for name in expected.data_vars:
        xr.testing.assert_identical(found[name].variable, expected[name].variable)
    assert list(found["tested_metric"].to_numpy()) == ["rmse", "crps"]
    assert list(found["reference"].to_numpy()) == list(references)
    assert (found["difference_p"].sel(row="good", reference="bad") < 0.01).all()
    # All else is as without.
    alone = evaluate(forecasts[:2], cube, tested.parent / "alone")
    xr.testing.assert_identical(
        found.drop_dims(["tested_metric", "row", "reference"]).assign_attrs(provenance="", history=""),
        alone.assign_attrs(provenance="", history=""),
    )
    assert "difference" not in alone
    assert not (tested.parent / "alone" / "significance.csv").exists()
    pd.testing.assert_frame_equal(summarise(found), summarise(alone))


@pytest.mark.slow
def test_the_table_of_differences_is_long(tested):
    table = pd.read_csv(tested / "significance.csv", engine="python")
    with open_artifact(tested / "scores.nc", "scores") as scores:
        assert list(table.columns[:5]) == list(DIMS)
        assert len(table) == 2 * 2 * 4 * LEADS  # metrics, rows, references but itself, leads
        for place, row in table.set_index(list(DIMS)).iterrows():
            for name, value in row.items():
                assert value == float(scores[name].loc[dict(zip(DIMS, place, strict=True))])


@pytest.mark.slow
def test_the_command_tests_differences_on_request(tmp_path, cube, forecasts):
    arguments = ["evaluate", str(forecasts[1]), "--cube", str(cube), "--out", str(tmp_path / "scores")]
    done = CliRunner().invoke(app, [*arguments, "--significance"])
    assert done.exit_code == 0, done.output
    assert "differences tested: rmse, crps of " in done.output
    table = pd.read_csv(tmp_path / "scores" / "significance.csv")
    assert set(table["reference"]) == set(BASELINES)
    days = TEST.stop - TEST.start - LEADS + 1
    assert days // 45 < FEWEST_BLOCKS  # so that nothing is tested
    assert table["difference_p"].isna().all()
    assert table["difference"].notna().all()
