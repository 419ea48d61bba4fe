"""Squared errors take the mean of the predictive distribution, absolute errors its median."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from soilcast.cube import open_artifact, open_cube
from soilcast.verify import METRICS, evaluate, metrics_of, score_cells
from soilcast.verify.dayblocks import sum_day_blocks
from soilcast.verify.extremes import extreme_days
from soilcast.water import WaterConfig, physical_consistency, water_sign
from tests.helpers.forecast_factory import ISSUES, LEADS, TEST, altered, refused, valid

OF_MEDIAN = ("mae", "crps", "coverage_50", "coverage_90", "width_90")


@pytest.fixture(scope="module")
def skewed(tmp_path_factory, cube, single):
    """A forecast whose mean is wetter than its median, where there was rain."""

    def with_mean(forecast):
        wetter = forecast["swvl1"] + np.float32(0.004) * np.sin(np.arange(forecast.sizes["time"]))[:, None] ** 2
        return forecast.assign(swvl1_mean=wetter.transpose("cell", "time", "lead").astype(np.float32))

    return altered(single, tmp_path_factory.mktemp("skewed") / "skewed.zarr", with_mean)


@pytest.fixture(scope="module")
def scores(tmp_path_factory, cube, skewed):
    return evaluate([skewed], cube, tmp_path_factory.mktemp("scores") / "scores")


def series(cube, forecast):
    """Observed of each issue day and lead, the median and the mean."""
    with open_cube(cube) as opened, open_artifact(forecast, "forecast") as made:
        return valid(opened["swvl1"].to_numpy()), made["swvl1"].to_numpy(), made["swvl1_mean"].to_numpy()


def test_squared_errors_are_of_the_mean_and_absolute_ones_of_the_median(cube, skewed, scores):
    observed, median, mean = series(cube, skewed)
    counted = scores["days"].sel(target="swvl1").to_numpy()
    for lead in range(1, LEADS + 1):
        found = scores.sel(model="LSTM", target="swvl1", lead=lead)
        y, f, m = (values[0, :, lead - 1].astype(np.float64) for values in (observed, mean, median))
        there = np.isfinite(y)
        assert there.sum() == counted[lead - 1, 0]
        y, f, m = y[there], f[there], m[there]
        assert float(found["rmse"][0]) == pytest.approx(np.sqrt(np.mean((f - y) ** 2)), rel=1e-6)
        assert float(found["bias"][0]) == pytest.approx(np.mean(f - y), rel=1e-5)
        assert float(found["r"][0]) == pytest.approx(np.corrcoef(f, y)[0, 1], rel=1e-9)
        assert float(found["mae"][0]) == pytest.approx(np.mean(np.abs(m - y)), rel=1e-6)
        driest = np.argsort(f)[: int(np.ceil(0.05 * len(f) - 1e-9))]
        assert float(found["rmse_dry_forecast"][0]) == pytest.approx(np.sqrt(np.mean((f - y)[driest] ** 2)), rel=1e-6)


def test_what_is_of_the_median_does_not_change_and_a_file_without_a_mean_neither(tmp_path, cube, single, scores):
    without = evaluate([single], cube, tmp_path / "scores")
    for name in OF_MEDIAN:
        xr.testing.assert_equal(without[name], scores[name])
    assert (without["rmse"] != scores["rmse"]).sel(model="LSTM", cell=0).all()
    names = list(metrics_of(scores))
    xr.testing.assert_equal(without[names].sel(model="persistence"), scores[names].sel(model="persistence"))
    with open_cube(cube) as opened, open_artifact(single, "forecast") as made:
        y, f = opened["swvl1"].to_numpy(), made["swvl1"].to_numpy()
    expected = score_cells(y[:, ISSUES.start + 1 : ISSUES.stop + 1], f[..., 0])
    np.testing.assert_allclose(without["rmse"].sel(model="LSTM", lead=1)[0, 0], expected["rmse"][0])


def test_the_change_of_the_mean_is_what_consistency_looks_at(cube, skewed, scores):
    observed, _, mean = series(cube, skewed)
    with open_cube(cube) as opened:
        signs = water_sign(opened, "single", WaterConfig(), TEST)
    days = mean.shape[1]
    usable = np.isfinite(observed[..., 1])
    expected = physical_consistency(signs[:, 1 : 1 + days], mean[..., 0], np.where(usable, mean[..., 1], np.nan))
    found = scores["consistency_w1"].sel(model="LSTM", target="swvl1", lead=2)
    np.testing.assert_allclose(found[[0, 1]], expected[[0, 1]])


def test_sums_over_days_take_the_mean_too(cube, skewed, scores):
    sums = sum_day_blocks([skewed], cube, {"consistency_w1": ("single", WaterConfig())})
    for lead in (1, LEADS):
        found = sums["swvl1", lead].scores("LSTM")
        expected = scores.sel(model="LSTM", target="swvl1", lead=lead)
        for name in ("r", "rmse", "r2", "kge", "bias", "crps", "consistency_w1"):
            np.testing.assert_allclose(found[name][0], expected[name], rtol=1e-6, atol=1e-8, err_msg=name)


def test_a_mean_that_is_damaged_is_refused(tmp_path, cube, skewed):
    flat = altered(skewed, tmp_path / "flat", lambda one: one.assign(swvl1_mean=one["swvl1_mean"].isel(lead=0)))
    refused([flat], cube, tmp_path / "scores", "flat: no swvl1_mean (cell, time, lead) in it: it is damaged")


def test_days_without_a_mean_do_not_count(tmp_path, cube, skewed, scores):
    def gap(forecast):
        forecast["swvl1_mean"][0, :10, 0] = np.nan
        return forecast

    found = evaluate([altered(skewed, tmp_path / "gap", gap)], cube, tmp_path / "scores")
    assert int(found["days"][0, 0, 0]) == int(scores["days"][0, 0, 0]) - 10


def test_the_days_that_are_forecast_the_driest_are_not_chosen_by_the_outcome():
    """A forecaster who always warns wins on the days that turn out driest, and gains nothing on its own."""
    rng = np.random.default_rng(4)
    truth = 0.3 + 0.05 * rng.standard_normal((1, 20_000))
    honest = (truth + 0.03 * rng.standard_normal(truth.shape)) * 0.735 + 0.265 * 0.3  # the mean given what is known
    warning = honest - 0.02
    driest, _ = extreme_days(truth)
    by_outcome = [np.sqrt(np.mean((f - truth)[truth <= driest] ** 2)) for f in (honest, warning)]
    by_forecast = [np.sqrt(np.mean((f - truth)[f <= extreme_days(f)[0]] ** 2)) for f in (honest, warning)]
    assert by_outcome[1] < by_outcome[0]
    assert by_forecast[1] > by_forecast[0]
    assert {"rmse_dry_forecast", "rmse_wet_forecast"} <= set(METRICS)
    assert METRICS["rmse_dry_forecast"].needs == {"extremes"}
