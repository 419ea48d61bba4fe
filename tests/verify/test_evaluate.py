"""From forecasts to scores: fair, checked, whole or not at all."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from soilcast.cube import open_artifact, open_cube
from soilcast.errors import SoilcastError
from soilcast.models.baselines import BASELINES
from soilcast.verify import METRICS, evaluate, metrics_of, score_cells, summarise
from soilcast.verify.summary import weighted_mean, weighted_median
from soilcast.water import WaterConfig, physical_consistency, water_sign
from tests.helpers.forecast_factory import DAYS, PERIODS, SHOWN, TEST, altered, made_cube, made_forecast, refused


@pytest.fixture(scope="module")
def forecasts(tmp_path_factory, cube):
    folder = tmp_path_factory.mktemp("forecasts")
    return [
        made_forecast(folder / "plain.zarr", cube),
        made_forecast(
            folder / "guided.nc", cube, label="PHY-LSTM", balance="single", noise=0.005, water={"snow": "closing"}
        ),
    ]


@pytest.fixture(scope="module")
def whole(out):
    with open_artifact(out / "scores.nc", "scores") as opened:
        return opened.load()


@pytest.fixture(scope="module")
def scores(whole):
    """Those of the one target and lead."""
    return whole.isel(target=0, lead=0)


def test_forecasts_come_first_and_the_baselines_stand_beside_them(whole):
    scores = whole
    assert list(scores["model"].to_numpy()) == ["LSTM", "PHY-LSTM", *BASELINES]
    np.testing.assert_array_equal(scores["is_baseline"], [False, False, True, True, True])
    assert scores.sizes["target"] == scores.sizes["lead"] == 1
    assert list(metrics_of(scores)) == [name for name in METRICS if "quantiles" not in METRICS[name].needs]
    for name, metric in metrics_of(scores).items():
        assert scores[name].dims == ("model", "target", "lead", "cell")
        assert scores[name].dtype == np.float64
        assert scores[name].attrs["units"] == metric.units
    assert list(scores.data_vars)[: len(metrics_of(scores))] == list(metrics_of(scores))
    for name in ("lat", "lon", "grid_lat", "grid_lon", "area", "climate_zone"):
        assert name in scores.variables
    for name in ("title", "content", "source", "targets", "weather", "provenance", *PERIODS):
        assert scores.attrs[name]
    assert json.loads(scores.attrs["training_logs"])["LSTM"][0]["epoch"] == 1
    assert json.loads(scores.attrs["configs"])["PHY-LSTM"]["model"] == "phy-lstm"


def test_every_model_is_scored_on_the_same_cell_days(scores, cube, forecasts):
    with open_cube(cube) as opened, open_artifact(forecasts[0], "forecast") as forecast:
        history = opened["swvl1"].to_numpy()
        predicted = forecast["swvl1"].to_numpy()[..., 0]
    observed = history[:, TEST]
    both = np.isfinite(observed) & np.isfinite(history[:, TEST.start - 1 : TEST.stop - 1])
    np.testing.assert_array_equal(scores["days"], both.sum(axis=1))
    assert 0 < scores["days"].isel(cell=2) < len(DAYS[TEST]) - 3
    expected = score_cells(np.where(both, observed, np.nan).astype(np.float32), predicted)
    for name in ("r", "rmse", "ubrmse", "bias", "r2", "kge", "kge_2012"):
        np.testing.assert_allclose(scores[name].isel(model=0), expected[name], rtol=1e-12)


@pytest.mark.slow
def test_a_gap_in_one_forecast_is_a_gap_for_all(tmp_path, cube, forecasts):
    def gap(forecast):
        forecast["swvl1"][0, :30] = np.nan
        return forecast

    gappy = altered(forecasts[0], tmp_path / "gappy.zarr", gap)
    scores = evaluate([forecasts[1], gappy], cube, tmp_path / "scores")
    np.testing.assert_array_equal(scores["days"].isel(cell=0), len(DAYS[TEST]) - 30)


def test_cells_without_an_observation_are_nan_and_counted(scores):
    assert scores.attrs["cells_total"] == 8
    assert scores.attrs["cells_scored"] == 7
    for name in metrics_of(scores):
        assert np.isnan(scores[name].isel(cell=5)).all(), name
    assert (scores["days"].isel(cell=5) == 0).all()


def test_persistence_has_no_skill_over_itself(scores):
    skill = scores["skill"].sel(model="persistence").to_numpy()
    np.testing.assert_array_equal(skill[np.isfinite(skill)], 0.0)
    assert np.isfinite(skill).sum() == 7
    ratio = (scores["rmse"] / scores["rmse"].sel(model="persistence")) ** 2
    np.testing.assert_allclose(scores["skill"], 1 - ratio, rtol=1e-9, atol=1e-12)


def test_consistency_follows_the_config_of_the_physics_guided_run(scores, cube, forecasts):
    config = WaterConfig(snow="closing")
    with open_cube(cube) as opened, open_artifact(forecasts[0], "forecast") as forecast:
        history = opened["swvl1"].to_numpy()
        signs = {name: water_sign(opened, form, config, TEST) for name, form in (("w1", "single"), ("w2", "multi"))}
        predicted = forecast["swvl1"].to_numpy()[..., 0]
    before = history[:, TEST.start - 1 : TEST.stop - 1]
    observed = history[:, TEST]
    scored = np.where(np.isfinite(observed), predicted, np.nan)
    for name, days in signs.items():
        np.testing.assert_allclose(
            scores[f"consistency_{name}"].sel(model="LSTM"), physical_consistency(days, before, scored)
        )
        kept = np.where(days * (before - observed) > 0, 0, days)
        np.testing.assert_allclose(
            scores[f"consistency_{name}_masked"].sel(model="LSTM"), physical_consistency(kept, before, scored)
        )
    assert "PHY-LSTM" in scores.attrs["water"]
    assert "snow closing" in scores.attrs["water"]


def test_a_consistency_that_the_cube_cannot_tell_is_left_out_and_said(tmp_path):
    cube = made_cube(tmp_path / "cube.zarr", lacking=("swvl2", "swvl3"))
    scores = evaluate([made_forecast(tmp_path / "f.zarr", cube)], cube, tmp_path / "scores")
    assert "consistency_w1" in scores
    assert "consistency_w2" not in scores
    assert "consistency_w2 is left out: the cube lacks swvl2, swvl3" in scores.attrs["water"]
    assert "consistency_w2_mean" not in pd.read_csv(tmp_path / "scores" / "table.csv")


@pytest.mark.parametrize("deep", [["swvl2", "swvl3"], ["swvl3"]])
def test_no_balance_that_holds_the_target_is_used_for_it(tmp_path, cube, deep):
    forecast = made_forecast(tmp_path / "f", cube, targets=("swvl2",), water={"deep_layers": deep})
    scores = evaluate([forecast], cube, tmp_path / "scores")
    assert "consistency_w1" in scores
    left_out = "swvl2" in deep
    assert ("consistency_w2" in scores) is not left_out
    assert ("consistency_w2_masked" in scores) is not left_out
    assert (
        "consistency_w2 is left out: its water balance contains the target swvl2" in scores.attrs["water"]
    ) is left_out


def test_one_cell_of_each_climate_is_shown_as_series(scores, cube):
    picks = scores["pick_cell"].to_numpy()
    zones = scores["climate_zone"].to_numpy()[picks]
    # Of the temperate climate (8 .. 16) there is one cell, and it has no observation.
    assert zones[0] in (1, 2)
    assert zones[1] in (4, 5, 6)
    np.testing.assert_array_equal(zones[2:], [27, 29])
    skill = scores["skill"].isel(model=slice(0, 2)).mean("model").to_numpy()
    assert skill[picks[1]] == np.median(skill[[2, 3, 4]])
    with open_cube(cube) as opened:
        np.testing.assert_array_equal(scores["observed"], opened["swvl1"].to_numpy()[picks, SHOWN])
        np.testing.assert_array_equal(scores["precipitation"], opened["tp"].to_numpy()[picks, SHOWN])
    np.testing.assert_array_equal(scores["predicted"].sel(model="persistence")[:, 1:], scores["observed"][:, 14:-1])
    np.testing.assert_array_equal(scores["day"], DAYS[SHOWN])
    np.testing.assert_array_equal(scores["time"], DAYS[TEST] - np.timedelta64(1, "D"))


@pytest.mark.slow
def test_without_climates_cells_are_picked_by_their_error(tmp_path):
    cube = made_cube(tmp_path / "cube.zarr", lacking=("climate_zone",))
    scores = evaluate([made_forecast(tmp_path / "f.zarr", cube)], cube, tmp_path / "scores")
    rmse = scores["rmse"].sel(model="LSTM", target="swvl1", lead=1).to_numpy()
    picked = rmse[scores["pick_cell"].to_numpy()]
    assert len(picked) == 3
    assert picked[1] == np.nanmedian(rmse)
    assert (np.diff(picked) > 0).all()


def test_tables_hold_the_same_numbers_as_the_netcdf(out, scores, whole):
    cells = pd.read_csv(out / "cells.csv", engine="python")
    assert len(cells) == scores.sizes["model"] * scores.sizes["cell"]
    for (model, number), row in cells.set_index(["model", "cell"]).iterrows():
        one = scores.sel(model=model).isel(cell=int(np.flatnonzero(scores["cell"] == number)[0]))
        for name in (*metrics_of(whole), "days", "lat", "lon", "area"):
            np.testing.assert_array_equal(row[name], one[name], err_msg=name)
    table = pd.read_csv(out / "table.csv", index_col=["model", "target", "lead"], engine="python")
    pd.testing.assert_frame_equal(table, summarise(whole), check_exact=True)


def test_the_summary_weighs_cells_by_area(scores, whole):
    summary = summarise(whole).xs(("swvl1", 1), level=("target", "lead"))
    area, rmse = scores["area"].to_numpy(), scores["rmse"].sel(model="LSTM").to_numpy()
    there = np.isfinite(rmse)
    assert summary.loc["LSTM", "rmse_mean"] == pytest.approx(np.average(rmse[there], weights=area[there]), rel=1e-12)
    equal = summarise(whole.assign(area=xr.ones_like(whole["area"]))).xs(("swvl1", 1), level=("target", "lead"))
    assert equal.loc["LSTM", "rmse_mean"] == pytest.approx(np.nanmean(rmse), rel=1e-12)
    assert equal.loc["LSTM", "rmse_median"] == pytest.approx(np.nanmedian(rmse), rel=1e-12)
    assert equal.loc["LSTM", "rmse_mean"] != pytest.approx(summary.loc["LSTM", "rmse_mean"], rel=1e-6)
    assert (summary["cells"] == 7).all()
    assert summary.loc["persistence", "consistency_w1_cells"] == 0
    assert np.isnan(summary.loc["persistence", "consistency_w1_mean"])


def test_the_order_of_cells_does_not_change_the_summary(whole):
    order = np.random.default_rng(0).permutation(whole.sizes["cell"])
    pd.testing.assert_frame_equal(summarise(whole.isel(cell=order)), summarise(whole), rtol=1e-12)


@pytest.mark.parametrize(
    ("values", "weights", "median"),
    [
        ([3.0, 1.0, 2.0], [1, 1, 1], 2.0),
        ([4.0, 1.0, 2.0, 3.0], [1, 1, 1, 1], 2.5),
        ([1.0, 2.0, 3.0], [1, 1, 5], 3.0),
        ([1.0, 2.0, 3.0], [2, 1, 1], 1.5),
        ([1.0, np.nan, 3.0], [1, 100, 2], 3.0),
        ([7.0], [0.1], 7.0),
        ([0.1] * 10, [0.1] * 10, 0.1),
    ],
)
def test_weighted_median(values, weights, median):
    assert weighted_median(np.array(values), np.array(weights, dtype=float)) == median


def test_a_summary_of_nothing_is_nan():
    nothing = np.full(3, np.nan)
    assert np.isnan(weighted_mean(nothing, np.ones(3)))
    assert np.isnan(weighted_median(nothing, np.ones(3)))


def test_labels_that_repeat_are_told_apart_by_where_they_are(tmp_path, cube, forecasts):
    others = [tmp_path / name for name in ("own.zarr", "wet/forecast.nc", "dry/forecast.nc")]
    for path, label in zip(others, ("persistence", "Mine", "Mine"), strict=True):
        path.parent.mkdir(exist_ok=True)
        made_forecast(path, cube, label=label)
    scores = evaluate([forecasts[0], *others, forecasts[0]], cube, tmp_path / "scores")
    place = f"LSTM ({forecasts[0].stem})"
    labels = [place, "persistence (own)", "Mine (wet)", "Mine (dry)", f"{place} (2)"]
    assert list(scores["model"].to_numpy()[:5]) == labels
    assert set(json.loads(scores.attrs["configs"])) == set(labels)
    assert set(labels) <= set(pd.read_csv(tmp_path / "scores" / "table.csv")["model"])


@pytest.mark.slow
def test_a_long_training_log_is_kept_whole(tmp_path, cube):
    log = [{"epoch": n, "train_loss": 0.1, "validation_loss": None, "seconds": 1.0} for n in range(5000)]
    forecast = made_forecast(tmp_path / "f.zarr", cube, training_log=json.dumps(log))
    evaluate([forecast], cube, tmp_path / "scores")
    with open_artifact(tmp_path / "scores" / "scores.nc", "scores") as scores:
        assert json.loads(scores.attrs["training_logs"])["LSTM"] == log


def test_a_forecast_without_any_value_is_named(tmp_path, cube, forecasts):
    empty = made_forecast(
        tmp_path / "g.zarr", cube, label="empty", change=lambda one: one.assign(swvl1=one["swvl1"] * np.float32(np.nan))
    )
    refused([forecasts[0], empty], cube, tmp_path / "scores", "g.zarr: no cell-day of swvl1 to score: empty")


@pytest.mark.slow
def test_scores_that_stand_are_kept_unless_told_otherwise(tmp_path, cube, forecasts):
    out = tmp_path / "scores"
    evaluate(forecasts[:1], cube, out)
    with pytest.raises(SoilcastError, match="exists already"):
        evaluate(forecasts, cube, out)
    assert evaluate(forecasts, cube, out, overwrite=True).sizes["model"] == 5
    assert len(pd.read_csv(out / "table.csv")) == 5


@pytest.mark.slow
def test_a_failure_on_the_way_leaves_nothing(tmp_path, cube, forecasts, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    refused(forecasts, cube, tmp_path / "deep" / "scores", "no space left")
    assert list((tmp_path / "deep").iterdir()) == []
