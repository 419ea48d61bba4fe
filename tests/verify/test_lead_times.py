"""Scores at several leads: each against what was known, the same cell-issue-days for all, whole or not at all."""

from __future__ import annotations

import json
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
import scores.continuous as library
import xarray as xr
from typer.testing import CliRunner

import soilcast
from soilcast.cli import app
from soilcast.cube import assemble, cells_of_places, open_artifact, open_cube, save_cube
from soilcast.cube.contract import GENUINE
from soilcast.errors import SoilcastError
from soilcast.models.baselines import BASELINES
from soilcast.verify import METRICS, Metric, evaluate, metrics_of, score_cells, summarise
from soilcast.verify.blocks import score_on_worker
from soilcast.verify.consistency import choose_balance
from soilcast.verify.entries import open_entries
from soilcast.verify.extremes import extreme_days
from soilcast.verify.plan import make_plan
from soilcast.verify.probabilistic import crps_of_quantiles
from soilcast.verify.summary import weighted_mean, weighted_median
from tests.helpers.forecast_factory import (
    DAYS,
    ISSUES,
    LEADS,
    LEVELS,
    PERIODS,
    SHOWN,
    TEST,
    altered,
    refused,
    valid,
)
from tests.helpers.forecast_factory import made_forecast as made_next_day
from tests.helpers.small import small_cube

EVALUATE = import_module("soilcast.verify.evaluate")  # by its name, since the package shows the function
TARGETS = ("swvl1", "swvl2")
QUANTILE_METRICS = ("coverage_50", "coverage_90", "width_90")
LAYER = ("swvl1", "swvl1_quantile")
UNUSED = ("t2m", "u10", "v10", "sp", "q", "ssrd", "strd", "e", "sro", "ro", "sd", "swvl2", "swvl3", "swvl4", "tp")


def made_forecast(path, cube, **options):
    """A forecast of several leads with quantiles, if not told otherwise."""
    return made_next_day(path, cube, **({"leads": LEADS, "levels": LEVELS} | options))


@pytest.fixture(scope="module")
def forecasts(tmp_path_factory, cube):
    """One with quantiles of both targets, and one with a central forecast alone."""
    folder = tmp_path_factory.mktemp("forecasts")
    return [
        made_forecast(folder / "quantiles.zarr", cube, targets=TARGETS),
        made_forecast(folder / "point.nc", cube, targets=TARGETS, levels=(), label="point", noise=0.02, seed=2),
    ]


@pytest.fixture(scope="module")
def scores(out):
    with open_artifact(out / "scores.nc", "scores") as opened:
        return opened.load()


def values_of(path, kind, *names):
    with open_cube(path) if kind == "cube" else open_artifact(path, kind) as opened:
        return [opened[name].to_numpy() for name in names]


def without_provenance(scores):
    return scores.assign_attrs(provenance="", history="")


def test_the_layout_of_the_scores(scores):
    assert list(scores["model"].to_numpy()) == ["LSTM", "point", *BASELINES]
    np.testing.assert_array_equal(scores["is_baseline"], [False, False, True, True, True])
    assert list(scores["target"].to_numpy()) == list(TARGETS)
    np.testing.assert_array_equal(scores["lead"], [1, 2, 3])
    assert scores["lead"].dtype.kind == "i"
    np.testing.assert_array_equal(scores["quantile"], LEVELS)
    np.testing.assert_allclose(scores["bin"], np.arange(0.05, 1, 0.1))
    assert list(metrics_of(scores)) == [
        name for name in METRICS if "climate" not in METRICS[name].needs
    ]  # one year of record
    for name, metric in metrics_of(scores).items():
        assert scores[name].dims == ("model", "target", "lead", "cell")
        assert scores[name].dtype == np.float64
        assert scores[name].attrs["units"] == metric.units
    assert scores["days"].dims == ("target", "lead", "cell")
    assert scores["reliability"].dims == ("model", "target", "lead", "quantile")
    assert scores["rank_histogram"].dims == ("model", "target", "lead", "bin")
    assert scores["observed"].dims == ("target", "pick", "day")
    assert scores["predicted"].dims == ("model", "target", "pick", "time", "lead")
    assert scores["predicted_quantile"].dims == ("model", "target", "pick", "time", "lead", "quantile")
    np.testing.assert_array_equal(scores["day"], DAYS[SHOWN])
    np.testing.assert_array_equal(scores["time"], DAYS[ISSUES])
    for name in ("lat", "lon", "grid_lat", "grid_lon", "area", "climate_zone", "pick_cell", "precipitation"):
        assert name in scores.variables
    for name in ("title", "content", "source", "cube_sha256", "provenance", "weather", "scored_on", *PERIODS):
        assert scores.attrs[name]
    assert scores.attrs["latency_days"] == 0
    assert set(json.loads(scores.attrs["configs"])) == {"LSTM", "point"}
    assert json.loads(scores.attrs["training_logs"])["LSTM"][0]["epoch"] == 1
    assert scores.attrs["cells_scored"] == 7


def test_two_cells_by_hand(tmp_path):
    """Two cells, two leads, four test days: three issue days, of which the first is the day before the test."""
    observed = np.full((2, len(DAYS)), 0.30, dtype=np.float32)
    observed[:, ::2] = 0.31  # so that the damped anomaly has something to learn
    test = slice(TEST.start, TEST.start + 4)
    observed[0, test.start - 1 : test.stop] = [0.20, 0.22, 0.21, 0.25, 0.24]
    observed[1, test.start - 1 : test.stop] = [0.40, 0.40, np.nan, 0.30, 0.30]
    places = cells_of_places(np.array([0.0, 10.0]), np.array([0.0, 0.0]), np.array([1.0, 3.0]), ["one", "two"])
    about = {"title": "two cells", "source": "test", "content": "numbers"}
    variables = {"swvl1": observed, "slthick1": np.full(2, 0.07)}
    cube = assemble(variables, cells=places, time=DAYS, **about).assign_attrs({GENUINE: "swvl1"})
    save_cube(cube, tmp_path / "cube")
    issues = slice(test.start - 1, test.start + 2)
    central = np.array(
        [[[0.21, 0.22], [0.22, 0.24], [0.26, 0.25]], [[0.41, 0.42], [0.40, 0.31], [0.31, 0.30]]], dtype=np.float32
    )
    spread = np.array([-0.02, -0.01, 0.0, 0.01, 0.02], dtype=np.float32)
    made_forecast(
        tmp_path / "forecast",
        tmp_path / "cube",
        leads=2,
        issues=issues,
        test_period=":".join(str(day.astype("datetime64[D]")) for day in (DAYS[test.start], DAYS[test.stop - 1])),
        change=lambda forecast: forecast.assign(
            swvl1=(("cell", "time", "lead"), central),
            swvl1_quantile=(("cell", "time", "lead", "quantile"), central[..., None] + spread),
        ),
    )
    scores = evaluate([tmp_path / "forecast"], tmp_path / "cube", tmp_path / "scores")
    lstm, persistence = (scores.sel(model=name, target="swvl1") for name in ("LSTM", "persistence"))

    # Cell one, lead 1: forecast 0.21, 0.22, 0.26 of 0.22, 0.21, 0.25; persistence 0.20, 0.22, 0.21.
    # Lead 2: forecast 0.22, 0.24, 0.25 of 0.21, 0.25, 0.24; persistence 0.20, 0.22, 0.21.
    # Cell two, lead 1: 0.41, 0.31 of 0.40, 0.30; persistence 0.40 of the first, nothing is known for the last.
    # Lead 2: 0.31 and 0.30 of 0.30 and 0.30; persistence 0.40 of the first, nothing is known for the last.
    np.testing.assert_array_equal(scores["days"].sel(target="swvl1"), [[3, 1], [3, 1]])
    np.testing.assert_allclose(lstm["rmse"][:, 0], [0.01, 0.01], rtol=1e-5)
    np.testing.assert_allclose(persistence["rmse"][:, 0], np.sqrt([(4 + 1 + 16) / 3, (1 + 9 + 9) / 3]) / 100, rtol=1e-5)
    np.testing.assert_allclose(lstm["ratio"][:, 0], [1 / np.sqrt(7), 1 / np.sqrt(19 / 3)], rtol=1e-5)
    np.testing.assert_allclose(lstm["bias"][:, 0], [0.01 / 3, 0.01 / 3], rtol=1e-4)
    # In validation persistence errs by 0.01, up one day and down the next, and not at all two days ahead: at lead 1 its
    # quantiles are 0.01 below it, thrice, and above it, twice; at lead 2 they are all equal and its CRPS is its error.
    loss = np.array([1.755, 0.255, 3.755]) / 100  # of 0.02, -0.01 and 0.04, twice the weighted sum of pinball losses
    np.testing.assert_allclose(persistence["crps"][:, 0], [loss.mean(), (1 + 3 + 3) / 300], rtol=1e-5)
    for name in metrics_of(scores):
        assert np.isnan(scores[name][..., 1]).all(), name  # one day is too few

    # Each error is 0.01 up or down, so that the observation equals the quantile of 0.25 or of 0.75, but for rounding.
    np.testing.assert_allclose(lstm["width_90"][:, 0], 0.04, rtol=1e-5)
    np.testing.assert_array_equal(lstm["coverage_90"][:, 0], 1.0)
    loss = 2 * (0.15 * 0.05 * 0.03 + 0.225 * 0.25 * 0.02 + 0.25 * 0.5 * 0.01 + 0 + 0.15 * 0.05 * 0.01)
    np.testing.assert_allclose(lstm["crps"][:, 0], loss, rtol=1e-4)

    # The driest day of cell one is 0.21 and its wettest 0.25, one each of four: too few for an RMSE.
    assert np.isnan(lstm["rmse_dry"]).all()
    # Of four cell-days: three of cell one, one of cell two, which counts alike whatever its area; all within
    # 0.05 .. 0.95.
    np.testing.assert_allclose(lstm["reliability"][:, [0, 4]], [[0, 1], [0, 1]])
    # At the median and below lie those that are forecast too high: in cell one 2 of 3, in cell two its day.
    np.testing.assert_allclose(lstm["reliability"].sel(quantile=0.5), [(2 + 1) / 4, (2 + 1) / 4])
    np.testing.assert_allclose(lstm["rank_histogram"].sum("bin"), 1.0)


def test_a_perfect_forecast(tmp_path, cube):
    perfect = made_forecast(tmp_path / "f.zarr", cube, noise=0.0)
    scores = evaluate([perfect], cube, tmp_path / "scores").sel(model="LSTM", target="swvl1")
    there = np.isfinite(scores["rmse"])
    assert there.sum() == 7 * LEADS
    for name in ("rmse", "bias", "ratio", "crps", "rmse_dry", "rmse_wet", "width_90"):
        np.testing.assert_array_equal(scores[name].where(there, 0), 0, err_msg=name)
    np.testing.assert_array_equal(scores["coverage_50"].where(there, 1), 1)
    np.testing.assert_allclose(scores["r"].where(there, 1), 1)
    np.testing.assert_allclose(scores["rank_histogram"], 0.1)  # an observation that equals all tells nothing


def test_persistence_is_exactly_as_good_as_itself(scores):
    ratio = scores["ratio"].sel(model="persistence").to_numpy()
    np.testing.assert_array_equal(ratio[np.isfinite(ratio)], 1.0)
    assert np.isfinite(ratio).sum() == 7 * LEADS * len(TARGETS)
    np.testing.assert_allclose(scores["ratio"], scores["rmse"] / scores["rmse"].sel(model="persistence"))


@pytest.mark.parametrize("latency", [0, 2])
def test_baselines_know_what_the_forecast_knows_and_no_more(tmp_path, cube, latency):
    made = made_forecast(tmp_path / "f.zarr", cube, latency_days=latency)
    scores = evaluate([made], cube, tmp_path / "scores")
    assert scores.attrs["latency_days"] == latency
    (history,) = values_of(cube, "cube", "swvl1")
    learn = np.datetime64("2020-04-01") > DAYS
    known = history[:, ISSUES.start - latency : ISSUES.stop - latency]  # of the issue day less the latency
    for lead in range(1, LEADS + 1):
        days = slice(ISSUES.start + lead, ISSUES.stop + lead)
        observed = np.where(np.isfinite(known), history[:, days], np.nan)
        expected = score_cells(observed, known)
        found = scores.sel(target="swvl1", lead=lead)
        np.testing.assert_allclose(found["rmse"].sel(model="persistence"), expected["rmse"], rtol=1e-12)
        np.testing.assert_array_equal(found["days"], expected["days"])
        damped = BASELINES["damped anomaly"](history, DAYS, learn, days, lag=lead + latency)
        np.testing.assert_allclose(
            found["rmse"].sel(model="damped anomaly"), score_cells(observed, damped)["rmse"], rtol=1e-12
        )
        of_persistence = scores.sel(model="persistence", target="swvl1", lead=lead)
        middle = of_persistence["predicted_quantile"].sel(quantile=0.5)
        np.testing.assert_array_equal(of_persistence["predicted"], middle)
        shift = middle.to_numpy() - known[scores["pick_cell"].to_numpy()]
        assert (np.nanmax(shift, axis=1) - np.nanmin(shift, axis=1) < 1e-6).all()  # of one cell and lead


def test_metrics_are_those_of_the_kernels_on_the_valid_days(scores, cube, forecasts):
    (history,) = values_of(cube, "cube", "swvl2")
    central, quantiles = values_of(forecasts[0], "forecast", "swvl2", "swvl2_quantile")
    observed = np.where(np.isfinite(history[:, ISSUES])[..., None], valid(history), np.nan)
    found = scores.sel(model="LSTM", target="swvl2")
    crps = crps_of_quantiles(observed, quantiles, np.array(LEVELS))
    inside = (quantiles[..., 0] <= observed) & (observed <= quantiles[..., 4])
    tested = history[:, TEST]
    for lead in range(LEADS):
        y, f = observed[:, :, lead], central[:, :, lead]
        expected = score_cells(y, f)
        for name in ("rmse", "bias", "r"):
            np.testing.assert_allclose(found[name][lead], expected[name], rtol=1e-12)
        for cell in (0, 2, 7):
            there = np.isfinite(y[cell])
            assert found["crps"][lead, cell] == pytest.approx(crps[cell, there, lead].mean(), rel=1e-12)
            assert found["coverage_90"][lead, cell] == inside[cell, there, lead].mean()
            ordered = np.sort(tested[cell][np.isfinite(tested[cell])])
            days = int(np.ceil(0.05 * len(ordered)))
            for name, extreme in (("dry", y[cell] <= ordered[days - 1]), ("wet", y[cell] >= ordered[-days])):
                error = (f[cell].astype(float) - y[cell])[extreme]
                assert 2 <= len(error) <= days
                assert found[f"rmse_{name}"][lead, cell] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-12)


@pytest.mark.parametrize("lead", [2, 3])
def test_metrics_further_ahead_are_those_of_the_scores_library(scores, cube, forecasts, lead):
    (history,) = values_of(cube, "cube", "swvl2")
    (central,) = values_of(forecasts[1], "forecast", "swvl2")
    known = history[:, ISSUES]
    observed = np.where(np.isfinite(known), valid(history)[..., lead - 1], np.nan)
    y, f, persisted = (
        xr.DataArray(np.where(np.isfinite(observed), values, np.nan).astype(np.float64), dims=("cell", "day"))
        for values in (observed, central[..., lead - 1], known)
    )
    found = scores.sel(model="point", target="swvl2", lead=lead)
    over = {"preserve_dims": "cell"}
    error, errors = (library.mse(one, y, **over) for one in (f, persisted))
    expected = {
        "r": library.correlation.pearsonr(f, y, **over),
        "rmse": library.rmse(f, y, **over),
        "bias": library.additive_bias(f, y, **over),
        "ubrmse": library.rmse(f - f.mean("day"), y - y.mean("day"), **over),
        "r2": library.nse(f, y, **over),
        "kge": library.kge(f, y, **over),
        "skill": 1 - error / errors,
        "ratio": np.sqrt(error / errors),
        "crps": library.mae(f, y, **over),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, atol=1e-12, err_msg=name)
        assert np.isfinite(found[name]).sum() == 7


def test_reliability_and_rank_histogram_weigh_cell_days_by_area(scores, cube, forecasts):
    history, area = values_of(cube, "cube", "swvl1", "area")
    (quantiles,) = values_of(forecasts[0], "forecast", "swvl1_quantile")
    observed = valid(history)
    used = np.isfinite(observed) & np.isfinite(history[:, ISSUES])[..., None]
    weight = np.where(used, area[:, None, None], 0)
    below = observed[..., None] <= quantiles
    expected = (weight[..., None] * below).sum(axis=(0, 1)) / weight.sum(axis=(0, 1))[:, None]
    found = scores.sel(model="LSTM", target="swvl1")
    np.testing.assert_allclose(found["reliability"], expected, rtol=1e-12)
    np.testing.assert_allclose(found["rank_histogram"].sum("bin"), 1.0)
    # The bins up to 0.5 hold what lies at or below the median, as no observation equals a quantile.
    np.testing.assert_allclose(found["rank_histogram"][:, :5].sum("bin"), expected[:, 2], rtol=1e-9)


@pytest.mark.slow
def test_quantiles_that_know_their_error_are_reliable(tmp_path):
    save_cube(small_cube(cells=40, days=len(DAYS), start="2019-01-01", drop=UNUSED), tmp_path / "cube")
    made = made_forecast(tmp_path / "f", tmp_path / "cube", noise=0.02)
    scores = evaluate([made], tmp_path / "cube", tmp_path / "scores").sel(model="LSTM", target="swvl1")
    np.testing.assert_allclose(scores["reliability"], np.tile(LEVELS, (LEADS, 1)), atol=0.03)
    np.testing.assert_allclose(scores["rank_histogram"], 0.1, atol=0.02)
    np.testing.assert_allclose(scores["coverage_90"].mean("cell"), 0.9, atol=0.02)
    np.testing.assert_allclose(scores["coverage_50"].mean("cell"), 0.5, atol=0.03)
    # Mean error of a normal distribution over its CRPS: sqrt(2 / pi) over 1 / sqrt(pi), less 3 % for so few levels.
    assert 1.4 < np.median(scores["rmse"] * np.sqrt(2 / np.pi) / scores["crps"]) < 1.5


def test_without_quantiles_crps_is_the_absolute_error_and_the_rest_is_nan(scores, cube, forecasts):
    (history,) = values_of(cube, "cube", "swvl1")
    (central,) = values_of(forecasts[1], "forecast", "swvl1")
    observed = np.where(np.isfinite(history[:, ISSUES])[..., None], valid(history), np.nan)
    expected = np.nanmean(np.abs(central[0].astype(float) - observed[0]), axis=0)
    np.testing.assert_allclose(scores["crps"].sel(model="point", target="swvl1", cell=0), expected, rtol=1e-12)
    for name in (*QUANTILE_METRICS, "reliability", "rank_histogram", "predicted_quantile"):
        assert np.isnan(scores[name].sel(model="point")).all(), name
        for label in ("LSTM", *BASELINES):
            assert np.isfinite(scores[name].sel(model=label)).any(), name


def test_without_any_quantiles_there_is_no_dimension_for_them(tmp_path, cube):
    made = made_forecast(tmp_path / "f.zarr", cube, levels=())
    evaluate([made], cube, tmp_path / "scores")
    with open_artifact(tmp_path / "scores" / "scores.nc", "scores") as scores:
        assert "quantile" not in scores.dims
        assert "reliability" not in scores
        assert np.isnan(scores["rank_histogram"]).all()
        assert np.isfinite(scores["crps"]).any()


@pytest.mark.slow
def test_models_of_other_levels_stand_on_one_axis(tmp_path, cube, single):
    other = made_forecast(tmp_path / "f.zarr", cube, levels=(0.1, 0.5, 0.9), label="other")
    scores = evaluate([single, other], cube, tmp_path / "scores").sel(target="swvl1")
    np.testing.assert_array_equal(scores["quantile"], [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])
    there = np.isfinite(scores["reliability"]).all("lead")
    np.testing.assert_array_equal(there.sel(model="LSTM"), [1, 0, 1, 1, 1, 0, 1])
    np.testing.assert_array_equal(there.sel(model="other"), [0, 1, 0, 1, 0, 1, 0])
    drawn = np.isfinite(scores["predicted_quantile"]).all(("pick", "time", "lead"))
    np.testing.assert_array_equal(drawn, there)
    # Coverage is of the very levels, and not guessed from others.
    assert np.isnan(scores["coverage_90"].sel(model="other")).all()
    assert np.isfinite(scores["crps"].sel(model="other")).any()


def test_levels_of_single_precision_are_the_same_levels(tmp_path, cube, single):
    shortened = altered(
        single, tmp_path / "f.zarr", lambda one: one.assign_coords(quantile=one["quantile"].astype(np.float32))
    )
    scores = evaluate([single, shortened], cube, tmp_path / "scores")
    np.testing.assert_array_equal(scores["quantile"], LEVELS)
    np.testing.assert_array_equal(scores["coverage_90"][0], scores["coverage_90"][1])


@pytest.mark.parametrize("name", ["swvl1", "swvl1_quantile"])
def test_a_gap_in_one_forecast_is_a_gap_for_all_at_that_lead_alone(tmp_path, cube, single, forecasts, name):
    def gap(forecast):
        forecast[name][{"cell": 0, "time": slice(0, 30), "lead": 1}] = np.nan
        return forecast

    gappy = altered(single, tmp_path / "gappy.zarr", gap)
    point = made_forecast(tmp_path / "point.zarr", cube, levels=(), label="point")
    scores = evaluate([point, gappy], cube, tmp_path / "scores")
    issues = ISSUES.stop - ISSUES.start
    np.testing.assert_array_equal(scores["days"].isel(target=0, cell=0), [issues, issues - 30, issues])
    (history,) = values_of(cube, "cube", "swvl1")
    left = slice(ISSUES.start + 30, ISSUES.stop)
    persisted = score_cells(history[:1, left.start + 2 : left.stop + 2], history[:1, left])
    found = scores["rmse"].sel(model="persistence", target="swvl1", lead=2, cell=0)
    assert float(found) == pytest.approx(persisted["rmse"][0], rel=1e-12)


def test_cells_without_an_observation_are_nan(scores):
    for name in metrics_of(scores):
        assert np.isnan(scores[name].sel(target="swvl1").isel(cell=5)).all(), name
    np.testing.assert_array_equal(scores["days"].sel(target="swvl1").isel(cell=5), 0)


def test_series_are_of_cells_that_stand_for_the_others(scores, cube, forecasts):
    picks = scores["pick_cell"].to_numpy()
    zones = scores["climate_zone"].to_numpy()[picks]
    assert zones[0] in (1, 2)
    assert zones[1] in (4, 5, 6)
    np.testing.assert_array_equal(zones[2:], [27, 29])
    history, rain = values_of(cube, "cube", "swvl2", "tp")
    np.testing.assert_array_equal(scores["observed"].sel(target="swvl2"), history[picks, SHOWN])
    np.testing.assert_array_equal(scores["precipitation"], rain[picks, SHOWN])
    central, quantiles = values_of(forecasts[0], "forecast", "swvl2", "swvl2_quantile")
    np.testing.assert_array_equal(scores["predicted"].sel(model="LSTM", target="swvl2"), central[picks])
    np.testing.assert_array_equal(scores["predicted_quantile"].sel(model="LSTM", target="swvl2"), quantiles[picks])


def test_extreme_days_by_hand():
    observed = np.array([np.arange(20.0), np.arange(20.0), np.full(20, 3.0), np.full(20, np.nan)], dtype=np.float32)
    observed[1, :10] = np.nan
    driest, wettest = extreme_days(observed, 0.1)
    np.testing.assert_array_equal(driest[:, 0], [1, 10, 3, np.nan])
    np.testing.assert_array_equal(wettest[:, 0], [18, 19, 3, np.nan])


def test_tables_hold_the_same_numbers_as_the_netcdf(out, scores):
    cells = pd.read_csv(out / "cells.csv", engine="python")
    sizes = scores.sizes
    assert len(cells) == sizes["model"] * sizes["target"] * sizes["lead"] * sizes["cell"]
    order = pd.MultiIndex.from_product([scores[dim].to_numpy() for dim in ("model", "target", "lead", "cell")])
    assert list(cells.set_index(["model", "target", "lead", "cell"]).index) == list(order)
    for name in metrics_of(scores):
        np.testing.assert_array_equal(cells[name], scores[name].to_numpy().ravel(), err_msg=name)
    everywhere = xr.broadcast(scores["rmse"], scores["days"], scores["area"])
    for column, values in zip(("days", "area"), everywhere[1:], strict=True):
        expected = values.transpose("model", "target", "lead", "cell").to_numpy().ravel()
        np.testing.assert_array_equal(cells[column], expected)
    table = pd.read_csv(out / "table.csv", index_col=["model", "target", "lead"], engine="python")
    pd.testing.assert_frame_equal(table, summarise(scores), check_exact=True)
    assert len(table) == sizes["model"] * sizes["target"] * sizes["lead"]
    area = scores["area"].to_numpy()
    for row in (("LSTM", "swvl2", 3), ("persistence", "swvl1", 1)):
        values = scores["rmse"].sel(model=row[0], target=row[1], lead=row[2]).to_numpy()
        assert table.loc[row, "rmse_mean"] == weighted_mean(values, area)
        assert table.loc[row, "rmse_median"] == weighted_median(values, area)
        assert table.loc[row, "is_baseline"] == (row[0] == "persistence")
    assert table.loc[("point", "swvl1", 1), "coverage_90_cells"] == 0


@pytest.mark.slow
def test_any_block_of_cells_gives_the_same_scores(tmp_path, monkeypatch):
    save_cube(small_cube(cells=100, days=len(DAYS), start="2019-01-01", drop=UNUSED), tmp_path / "cube")
    made_forecast(tmp_path / "forecast", tmp_path / "cube")
    made = []
    for cells in (4096, 64):
        monkeypatch.setattr(EVALUATE, "block_size", lambda *_, size=cells: size)
        scores = evaluate([tmp_path / "forecast"], tmp_path / "cube", tmp_path / str(cells))
        made.append(scores.assign_attrs(provenance="", history=""))
    xr.testing.assert_identical(*made)


@pytest.mark.slow
def test_the_order_of_cells_does_not_matter(tmp_path):
    base = small_cube(cells=70, days=len(DAYS), start="2019-01-01", grid=False, drop=UNUSED)
    order = np.random.default_rng(0).permutation(70)
    found = []
    for number, cells in enumerate((np.arange(70), order)):
        one = base.isel(cell=cells)
        places = cells_of_places(*(one[name].to_numpy() for name in ("lat", "lon", "area", "cell_name")))
        variables = {name: one[name].to_numpy() for name in one.data_vars if name != "area"}
        cube, path = tmp_path / f"cube{number}", tmp_path / f"forecast{number}"
        save_cube(assemble(variables, cells=places, time=DAYS, title="made", source="test", content="numbers"), cube)
        made_forecast(path, cube)
        if number:
            first = open_artifact(tmp_path / "forecast0", "forecast").load()
            path = altered(
                path,
                tmp_path / "permuted",
                lambda one: one.assign({name: one[name].copy(data=first[name][order]) for name in LAYER}),  # noqa: B023
            )
        found.append(evaluate([path], cube, tmp_path / f"scores{number}"))
    for name in metrics_of(found[0]):
        expected = found[0][name].to_numpy()[..., order]
        np.testing.assert_allclose(found[1][name], expected, rtol=1e-6, atol=1e-9, err_msg=name)
    for name in ("reliability", "rank_histogram"):
        np.testing.assert_allclose(found[1][name], found[0][name], rtol=1e-12)
    pd.testing.assert_frame_equal(summarise(found[1]), summarise(found[0]), rtol=1e-6)
    np.testing.assert_array_equal(*(one["cell_name"].to_numpy()[one["pick_cell"]] for one in found))


@pytest.mark.slow
def test_the_command_evaluates_forecasts_and_shows_them(tmp_path, cube, forecasts):
    arguments = ["evaluate", *map(str, forecasts), "--cube", str(cube), "--out", str(tmp_path / "scores")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    for words in ("scores: a made cube", "swvl2, RMSE relative to persistence", "share of days within the 90 %"):
        assert words in done.output
    assert "persistence    1.0000 1.0000 1.0000" in done.output
    assert soilcast.inspect(tmp_path / "scores") in done.output


def test_bytes_that_are_damaged_are_named(tmp_path, cube):
    made = made_forecast(tmp_path / "f.zarr", cube)
    chunk = next(path for path in (made / "swvl1_quantile" / "c").rglob("*") if path.is_file())
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 0xFF
    chunk.write_bytes(content)
    refused([made], cube, tmp_path / "scores", "f.zarr: swvl1_quantile cannot be read", "damaged")
    chunk.unlink()
    refused([made], cube, tmp_path / "scores", "f.zarr: swvl1_quantile is incomplete")


def test_a_lead_without_a_value_is_not_scored_and_counted(tmp_path, cube, single):
    def nothing(forecast):
        forecast["swvl1"][{"lead": 1}] = np.nan
        return forecast

    empty = altered(single, tmp_path / "empty.zarr", nothing)
    scores = evaluate([single, empty], cube, tmp_path / "scores")
    assert scores["rmse"].isel(lead=1).isnull().all()
    assert scores["rmse"].isel(lead=[0, 2]).sel(model="persistence").notnull().any("cell").all()
    cell_days = 8 * scores.sizes["time"]
    assert f"swvl1, lead 2 d: {cell_days} of {cell_days} cell-days, for lack of: observation on " in scores.left_out
    assert "LSTM (empty) on " in scores.left_out


def test_a_cube_without_observations_is_named(tmp_path):
    moisture = small_cube(cells=4, days=len(DAYS), start="2019-01-01")["swvl1"].to_numpy().copy()
    moisture[:, TEST] = np.nan
    save_cube(small_cube(cells=4, days=len(DAYS), start="2019-01-01", swvl1=moisture), tmp_path / "cube")
    made = made_forecast(tmp_path / "f.zarr", tmp_path / "cube")
    refused(
        [made],
        tmp_path / "cube",
        tmp_path / "scores",
        "cube: it has no observation of swvl1 on the days that",
        "f.zarr forecasts",
    )


def test_a_single_issue_day_is_too_few(tmp_path, cube):
    made = made_forecast(tmp_path / "f.zarr", cube, issues=slice(TEST.start, TEST.start + 1))
    refused([made], cube, tmp_path / "scores", "f.zarr: no cell has two days to score: choose a longer test period")


def test_an_forecast_may_begin_with_the_first_day_of_the_test(tmp_path, cube):
    made = made_forecast(tmp_path / "f.nc", cube, issues=slice(TEST.start, TEST.stop - LEADS))
    scores = evaluate([made], cube, tmp_path / "scores")
    assert scores.sizes["time"] == TEST.stop - LEADS - TEST.start
    np.testing.assert_array_equal(scores["day"], DAYS[SHOWN][1:])


def test_a_latency_beyond_the_observations_leaves_nothing(tmp_path, cube):
    made = made_forecast(tmp_path / "f.zarr", cube, latency_days=len(DAYS))
    refused([made], cube, tmp_path / "scores", "cube.zarr: no cell-day of swvl1 to score: persistence has no value")


def test_what_weather_is_known_is_said_of_each_where_it_differs(tmp_path, cube, single, scores):
    assert scores.attrs["weather"] == "none"
    other = made_forecast(tmp_path / "f.zarr", cube, weather="observed", label="with weather")
    made = evaluate([single, other], cube, tmp_path / "scores")
    assert made.attrs["weather"] == "LSTM: none; with weather: observed"


@pytest.mark.slow
def test_labels_that_repeat_are_told_apart_by_where_they_are(tmp_path, cube, single):
    impostor = made_forecast(tmp_path / "own.zarr", cube, label="persistence")
    scores = evaluate([single, single, impostor], cube, tmp_path / "scores")
    place = f"LSTM ({single.stem})"
    assert list(scores["model"].to_numpy()[:3]) == [place, f"{place} (2)", "persistence (own)"]


@pytest.mark.slow
def test_scores_that_stand_are_kept_unless_told_otherwise(tmp_path, cube, single):
    out = tmp_path / "scores"
    evaluate([single], cube, out)
    with pytest.raises(SoilcastError, match="exists already"):
        evaluate([single], cube, out)
    assert evaluate([single, single], cube, out, overwrite=True).sizes["model"] == 5


def test_a_failure_on_the_way_leaves_nothing(tmp_path, cube, single, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    refused([single], cube, tmp_path / "deep" / "scores", "no space left")
    assert list((tmp_path / "deep").iterdir()) == []


def test_files_that_change_under_way_are_told(cube, single):
    with open_cube(cube) as opened:
        entries = open_entries([single], opened, reserved=())
        plan = make_plan(entries, opened, cube, choose_balance(entries, opened).readings)
    assert score_on_worker(plan, slice(0, 8)).metrics["rmse"].shape == (4, 1, LEADS, 8)
    plan.fingerprints[single.absolute()] = "another"
    with pytest.raises(SoilcastError, match=r"single.zarr: it changed during the evaluation"):
        score_on_worker(plan, slice(0, 8))


@pytest.mark.slow
def test_progress_is_shown_if_wished(tmp_path, cube, single, capsys, monkeypatch):
    monkeypatch.setattr("soilcast.progress._EVERY", 0.0)
    evaluate([single], cube, tmp_path / "quiet")
    assert capsys.readouterr().err == ""
    evaluate([single], cube, tmp_path / "shown", progress=True)
    assert "1/1" in capsys.readouterr().err


@pytest.mark.slow
def test_workers_of_a_cluster_give_the_same_scores(tmp_path, monkeypatch, address):
    save_cube(small_cube(cells=150, days=len(DAYS), start="2019-01-01", drop=UNUSED), tmp_path / "cube")
    made_forecast(tmp_path / "forecast", tmp_path / "cube")
    monkeypatch.setattr(EVALUATE, "block_size", lambda *_: 64)
    # One that the workers have not registered.
    kernel = lambda aligned: np.nanmax(aligned.central - aligned.observed, axis=1)  # noqa: E731
    own = Metric("highest", "max", "largest overestimate", "m3 m-3", "zero", frozenset(), kernel)
    monkeypatch.setitem(METRICS, "highest", own)
    alone, together = (
        evaluate([tmp_path / "forecast"], tmp_path / "cube", tmp_path / str(number), dask=dask)
        for number, dask in enumerate((None, address))
    )
    xr.testing.assert_identical(without_provenance(together), without_provenance(alone))
    assert np.isfinite(together["highest"]).all()
