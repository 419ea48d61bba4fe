"""Baselines as distributions: quantiles of their own errors, of days that they did not learn from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

from soilcast.training.calibration_groups import ALL, GROUPINGS, season_of
from soilcast.training.conformal import calibrate
from soilcast.verify.baselines import forecast_baselines
from soilcast.verify.dressing import LEAST_IN_SEASON, dress, error_quantiles
from soilcast.verify.overlap import Overlap
from soilcast.verify.plan import Plan
from soilcast.verify.probabilistic import crps_of_quantiles

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
LEADS = 4
DAYS = np.arange("2010-01-01", "2018-01-01", dtype="datetime64[D]").astype("datetime64[ns]")
RHO, SPREAD = 0.9, 0.01


def days_of(first, last):
    return (np.datetime64(first) <= DAYS) & (np.datetime64(last) >= DAYS)


TRAINING, VALIDATION = days_of("2010-01-01", "2013-12-31"), days_of("2014-01-01", "2016-12-31")
LAST_YEAR = days_of("2017-01-01", "2017-12-31")


def made_plan(training=TRAINING, validation=VALIDATION, test=LAST_YEAR, leads=LEADS, levels=LEVELS):
    issued = np.flatnonzero(test)[: -leads + 1 or None] - 1
    every = slice(0, None)
    overlap = Overlap(
        leads, issued, {"LSTM": every}, every, {"LSTM": every}, training | validation, validation, "", omitted=()
    )
    of_levels = {"LSTM": {"swvl1": levels}}
    return Plan(Path(), {"LSTM": Path()}, {}, ("swvl1",), 0, 0, overlap, DAYS, of_levels, {}, {})


def autoregression(cells=40, seed=0):
    """AR(1) about 0.3, stationary from the first day on."""
    rng = np.random.default_rng(seed)
    series = np.empty((cells, len(DAYS)))
    series[:, 0] = SPREAD / np.sqrt(1 - RHO**2) * rng.standard_normal(cells)
    for day in range(1, len(DAYS)):
        series[:, day] = RHO * series[:, day - 1] + SPREAD * rng.standard_normal(cells)
    return (0.3 + series).astype(np.float32)


def forecast(plan, history, lat=0.0):
    cube = xr.Dataset(coords={"lat": ("cell", np.full(len(history), lat))})
    return forecast_baselines(plan, cube, "swvl1", history, slice(0, len(history)))


def on_valid_days(plan, history):
    """``(cell, issue day, lead)``."""
    return history[:, plan.overlap.issued[:, np.newaxis] + np.arange(1, plan.leads + 1)]


@pytest.fixture(scope="module")
def dressed():
    plan, history = made_plan(), autoregression()
    return plan, history, forecast(plan, history, 50.0)


def test_intervals_hold_what_they_promise(dressed):
    plan, history, found = dressed
    observed = on_valid_days(plan, history)
    for name, baseline in found.items():
        inside = (baseline.quantiles[..., 0] <= observed) & (observed <= baseline.quantiles[..., -1])
        assert inside.mean() == pytest.approx(0.9, abs=0.015), name
        at_or_below = (observed[..., np.newaxis] <= baseline.quantiles).mean(axis=(0, 1, 2))
        np.testing.assert_allclose(at_or_below, LEVELS, atol=0.02, err_msg=name)


def test_the_damped_anomaly_of_an_autoregression_scores_as_its_true_distribution(dressed):
    plan, history, found = dressed
    observed, newest = on_valid_days(plan, history), history[:, plan.overlap.issued].astype(float)
    power = RHO ** np.arange(1, LEADS + 1)
    mean = 0.3 + power * (newest[..., np.newaxis] - 0.3)
    deviation = SPREAD * np.sqrt((1 - power**2) / (1 - RHO**2))
    true = mean[..., np.newaxis] + deviation[:, np.newaxis] * norm.ppf(LEVELS)
    ideal, ours = (
        crps_of_quantiles(observed, one, np.array(LEVELS)).mean(axis=(0, 1))
        for one in (true, found["damped anomaly"].quantiles)
    )
    np.testing.assert_allclose(ours, ideal, rtol=0.02)
    assert (ours > 0.99 * ideal).all()
    error = np.abs(found["damped anomaly"].forecast - observed).mean(axis=(0, 1))
    assert (error > 1.3 * ours).all()  # what a point forecast would have scored


def test_the_central_forecast_learns_from_all_development_days(dressed):
    _, history, found = dressed
    points = forecast(made_plan(levels=()), history, 50.0)
    for name, baseline in points.items():
        assert baseline.quantiles is None
        np.testing.assert_array_equal(baseline.forecast, found[name].forecast)
        np.testing.assert_array_equal(baseline.median, baseline.forecast)
        np.testing.assert_array_equal(found[name].median, found[name].quantiles[..., LEVELS.index(0.5)])


@pytest.mark.parametrize("poison", [np.nan, 9e9])
def test_no_test_day_shapes_the_quantiles(poison):
    test, validation = days_of("2014-01-01", "2014-12-31"), days_of("2015-01-01", "2017-12-31")
    plan, history = made_plan(TRAINING, validation, test), autoregression(4)
    altered = np.where(test, np.float32(poison), history)
    clean, poisoned = (forecast(plan, one) for one in (history, altered))
    for name, baseline in clean.items():
        # Of the first issue day, which sees no test day.
        np.testing.assert_array_equal(baseline.forecast[:, 0], poisoned[name].forecast[:, 0], err_msg=name)
        np.testing.assert_array_equal(baseline.quantiles[:, 0], poisoned[name].quantiles[:, 0], err_msg=name)


def test_without_training_or_validation_days_baselines_are_points():
    none = np.zeros(len(DAYS), dtype=bool)
    assert made_plan().is_dressed
    assert not made_plan(levels=()).is_dressed
    assert not made_plan(training=none).is_dressed
    assert not made_plan(validation=none).is_dressed
    for plan in (made_plan(training=none), made_plan(validation=none)):
        assert plan.levels_of("persistence", "swvl1") == ()
        found = forecast(plan, autoregression(3))
        assert all(baseline.quantiles is None for baseline in found.values())


def test_error_quantiles_are_the_order_statistics_of_the_networks_calibration():
    rng = np.random.default_rng(0)
    days = np.arange("2012-01-01", "2018-06-01", dtype="datetime64[D]")
    lat = np.array([50.0, -30.0, 5.0])
    season = season_of(days, lat[:, np.newaxis])
    errors = rng.standard_normal((2, 3, len(days))).astype(np.float32)
    errors[:, 0, ::2] = np.nan  # of one cell no season has enough
    errors[1, 2] = np.nan
    found = error_quantiles(errors, season, LEVELS)
    groupings = (replace(GROUPINGS[0], least=LEAST_IN_SEASON), ALL)
    none = np.zeros(len(days), dtype=int)
    for lead, cell in np.ndindex(2, 3):
        own = errors[lead, cell][:, np.newaxis, np.newaxis]
        zero = np.zeros((*own.shape, len(LEVELS)))
        mine = calibrate(own, zero, LEVELS, none, np.array([-1]), season[cell][:, np.newaxis], groupings)
        np.testing.assert_array_equal(found[:, lead, cell], mine.shift[mine.row[0], 0, 0])
    assert np.isnan(found[:, 1, 2]).all()
    assert (found[0, :, 0] == found[2, :, 0]).all()
    assert (found[0, :, 1] != found[2, :, 1]).any()


def test_a_season_of_large_errors_has_wide_intervals_and_soil_moisture_stays_within_its_bounds():
    days = np.arange("2010-01-01", "2016-01-01", dtype="datetime64[D]")
    season = season_of(days, np.array([[50.0]]))
    spread = np.where(season == 2, 0.05, 0.01)
    errors = (spread * np.random.default_rng(0).standard_normal(spread.shape)).astype(np.float32)[np.newaxis]
    quantiles = error_quantiles(errors, season, LEVELS)
    forecast = np.array([[[0.3], [0.3], [0.01]]], dtype=np.float32)
    found = dress(forecast, quantiles, np.array([[[2], [0], [2]]]))
    width = found[0, :, 0, -1] - found[0, :, 0, 0]
    assert 4 < width[0] / width[1] < 6
    assert (found >= 0).all()
    assert (np.diff(found, axis=-1) >= 0).all()
    assert found.dtype == np.float32
