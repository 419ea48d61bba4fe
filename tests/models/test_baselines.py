"""The baselines do what their names say, and none of them sees the future."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soilcast.models.baselines import BASELINES, climatology, damped_anomaly, persistence

DAYS = np.arange("2017-12-01", "2021-01-01", dtype="datetime64[D]").astype("datetime64[ns]")
LEARN = np.datetime64("2019-12-24") > DAYS
TEST = slice(761, 1127)


def seasonal(cells=3):
    """Exactly what the climatology can hold: a mean and two waves."""
    angle = 2 * np.pi * DAYS.astype("datetime64[D]").astype(int) / 365.2425
    wave = 0.08 * np.cos(angle - 1) + 0.03 * np.sin(2 * angle)
    return 0.3 + np.linspace(-0.5, 1, cells)[:, np.newaxis] * wave


def anomalies(cells=3, rho=0.8, seed=0):
    rng = np.random.default_rng(seed)
    series = np.zeros((cells, len(DAYS)))
    for day in range(1, len(DAYS)):
        series[:, day] = rho * series[:, day - 1] + 0.01 * rng.standard_normal(cells)
    return series


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_gives_float32_of_every_cell_and_test_day(name):
    observed = (seasonal() + anomalies()).astype(np.float32)
    forecast = BASELINES[name](observed, DAYS, LEARN, TEST)
    assert forecast.shape == (3, 366)
    assert forecast.dtype == np.float32
    assert np.isfinite(forecast).all()


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_does_not_see_the_future(name):
    observed = (seasonal() + anomalies()).astype(np.float32)
    forecast = BASELINES[name](observed, DAYS, LEARN, TEST)
    for day in (0, 1, 200, 365):
        altered = observed.copy()
        altered[:, TEST.start + day :] = 0.9
        np.testing.assert_array_equal(BASELINES[name](altered, DAYS, LEARN, TEST)[:, : day + 1], forecast[:, : day + 1])


@pytest.mark.parametrize("name", ["climatology", "damped anomaly"])
def test_days_that_may_not_be_learnt_from_teach_nothing(name):
    observed = (seasonal() + anomalies()).astype(np.float32)
    altered = observed.copy()
    altered[:, ~LEARN] = np.nan
    altered[:, TEST.start - 1 : TEST.stop] = observed[:, TEST.start - 1 : TEST.stop]
    np.testing.assert_array_equal(
        BASELINES[name](altered, DAYS, LEARN, TEST), BASELINES[name](observed, DAYS, LEARN, TEST)
    )


def test_persistence_is_yesterday_and_missing_where_yesterday_is():
    observed = (seasonal() + anomalies()).astype(np.float32)
    observed[1, TEST.start + 9] = np.nan
    forecast = persistence(observed, DAYS, LEARN, TEST)
    np.testing.assert_array_equal(forecast, observed[:, TEST.start - 1 : TEST.stop - 1])
    assert np.isnan(forecast[1, 10])
    first = persistence(observed, DAYS, ~LEARN, slice(0, 5))
    assert np.isnan(first[:, 0]).all()
    np.testing.assert_array_equal(first[:, 1:], observed[:, :4])


def test_climatology_finds_the_season_in_spite_of_gaps():
    truth = seasonal()
    observed = truth.copy()
    observed[np.random.default_rng(1).random(observed.shape) < 0.4] = np.nan
    forecast = climatology(observed.astype(np.float32), DAYS, LEARN, TEST)
    np.testing.assert_allclose(forecast, truth[:, TEST], atol=1e-6)


def test_climatology_smooths():
    truth = seasonal()
    forecast = climatology((truth + anomalies(rho=0.0)).astype(np.float32), DAYS, LEARN, TEST)
    assert np.abs(forecast - truth[:, TEST]).max() < 0.004


def test_climatology_of_less_than_a_year_is_the_mean():
    observed = seasonal().astype(np.float32)
    learn = LEARN & (np.datetime64("2019-06-01") <= DAYS)
    forecast = climatology(observed, DAYS, learn, TEST)
    expected = observed[:, learn].astype(np.float64).mean(axis=1).astype(np.float32)
    np.testing.assert_allclose(forecast, np.repeat(expected[:, np.newaxis], 366, axis=1), rtol=1e-6)


def test_climatology_of_a_cell_seen_in_one_season_does_not_swing_in_the_others():
    observed = (seasonal() + anomalies()).astype(np.float32)
    month = DAYS.astype("datetime64[M]").astype(int) % 12
    observed[1, (month < 5) | (month > 8)] = np.nan
    forecast = climatology(observed, DAYS, LEARN, TEST)
    seen = observed[1][np.isfinite(observed[1]) & LEARN]
    assert seen.min() <= forecast[1].min()
    assert forecast[1].max() <= seen.max()
    np.testing.assert_allclose(forecast[0], climatology(observed[:1], DAYS, LEARN, TEST)[0], rtol=1e-6)


def test_a_cell_never_seen_while_learning_has_no_climatology():
    observed = seasonal().astype(np.float32)
    observed[2, LEARN] = np.nan
    for forecast in (climatology, damped_anomaly):
        found = forecast(observed, DAYS, LEARN, TEST)
        assert np.isnan(found[2]).all()
        assert np.isfinite(found[:2]).all()


def test_damped_anomaly_learns_how_long_a_departure_lasts():
    observed = (seasonal() + anomalies(rho=0.8)).astype(np.float32)
    cycle = climatology(observed, DAYS, LEARN, TEST)
    forecast = damped_anomaly(observed, DAYS, LEARN, TEST)
    departure = observed[:, TEST.start : TEST.stop - 1] - cycle[:, :-1]
    rho = (forecast - cycle)[:, 1:] / departure
    large = np.abs(departure) > 5e-3
    for cell in range(3):
        assert np.ptp(rho[cell][large[cell]]) < 1e-3
        assert 0.7 < np.median(rho[cell]) < 0.9


def test_damped_anomaly_beats_persistence_and_climatology_on_what_it_assumes():
    observed = (seasonal() + anomalies(rho=0.6)).astype(np.float32)
    error = {
        name: np.sqrt(np.mean((baseline(observed, DAYS, LEARN, TEST) - observed[:, TEST]) ** 2))
        for name, baseline in BASELINES.items()
    }
    assert error["damped anomaly"] < min(error["persistence"], error["climatology"])


def test_damped_anomaly_of_a_series_that_never_departs_is_its_climatology():
    observed = np.full((1, len(DAYS)), 0.25, dtype=np.float32)
    np.testing.assert_allclose(damped_anomaly(observed, DAYS, LEARN, TEST), 0.25, rtol=1e-6)


def test_the_order_and_the_number_of_cells_do_not_matter():
    observed = (seasonal(2500) + anomalies(2500)).astype(np.float32)
    order = np.random.default_rng(0).permutation(2500)
    for baseline in BASELINES.values():
        forecast = baseline(observed, DAYS, LEARN, TEST)
        np.testing.assert_allclose(baseline(observed[order], DAYS, LEARN, TEST), forecast[order], rtol=1e-6)


LAGS = [1, 2, 10, 15]


@pytest.mark.parametrize("lag", LAGS)
@pytest.mark.parametrize("name", BASELINES)
def test_at_a_lag_a_baseline_sees_no_observation_that_is_newer(name, lag):
    observed = (seasonal() + anomalies()).astype(np.float32)
    forecast = BASELINES[name](observed, DAYS, LEARN, TEST, lag=lag)
    for day in (15, 16, 200, 364):
        altered = observed.copy()
        altered[:, TEST.start + day - lag + 1 :] = 0.9
        found = BASELINES[name](altered, DAYS, LEARN, TEST, lag=lag)
        np.testing.assert_array_equal(found[:, : day + 1], forecast[:, : day + 1])
        assert (found[:, day + 1] != forecast[:, day + 1]).all() == (name != "climatology")


@pytest.mark.parametrize("name", BASELINES)
def test_by_default_the_newest_observation_is_yesterdays(name):
    observed = (seasonal() + anomalies()).astype(np.float32)
    assert (
        BASELINES[name](observed, DAYS, LEARN, TEST).tobytes()
        == BASELINES[name](observed, DAYS, LEARN, TEST, lag=1).tobytes()
    )


@pytest.mark.parametrize("name", BASELINES)
def test_many_lags_at_once_are_the_same_to_the_bit_as_one_by_one(name):
    observed = (seasonal() + anomalies()).astype(np.float32)
    observed[np.random.default_rng(1).random(observed.shape) < 0.2] = np.nan
    together = BASELINES[name](observed, DAYS, LEARN, TEST, lag=LAGS)
    assert together.shape == (len(LAGS), 3, 366)
    for found, lag in zip(together, LAGS, strict=True):
        assert found.tobytes() == BASELINES[name](observed, DAYS, LEARN, TEST, lag=lag).tobytes()


def test_persistence_at_a_lag_is_the_observation_so_many_days_before():
    observed = (seasonal() + anomalies()).astype(np.float32)
    forecast = persistence(observed, DAYS, LEARN, TEST, lag=6)
    np.testing.assert_array_equal(forecast, observed[:, TEST.start - 6 : TEST.stop - 6])
    early = persistence(observed, DAYS, LEARN, slice(2, 9), lag=6)
    assert np.isnan(early[:, :4]).all()
    np.testing.assert_array_equal(early[:, 4:], observed[:, :3])
    assert np.isnan(persistence(observed, DAYS, LEARN, slice(0, 3), lag=6)).all()


def test_climatology_is_the_same_at_every_lag():
    observed = (seasonal() + anomalies()).astype(np.float32)
    together = climatology(observed, DAYS, LEARN, TEST, lag=LAGS)
    np.testing.assert_array_equal(together, np.broadcast_to(together[0], together.shape))


@pytest.mark.parametrize("lag", LAGS)
def test_damped_anomaly_is_damped_by_the_autocorrelation_at_its_lag(lag):
    observed = (seasonal(40) + anomalies(40, rho=0.9)).astype(np.float32)
    cycle = climatology(observed, DAYS, LEARN, slice(0, len(DAYS))).astype(np.float64)
    departure = observed - cycle
    learnt = departure[:, LEARN]
    before, after = learnt[:, :-lag], learnt[:, lag:]
    rho = (before * after).sum(axis=1) / np.sqrt((before**2).sum(axis=1) * (after**2).sum(axis=1))
    expected = cycle[:, TEST] + rho[:, None] * departure[:, TEST.start - lag : TEST.stop - lag]
    np.testing.assert_allclose(damped_anomaly(observed, DAYS, LEARN, TEST, lag=lag), expected, atol=1e-6)


def test_damped_anomaly_pairs_no_days_across_what_is_not_learnt():
    observed = (seasonal() + anomalies()).astype(np.float32)
    learn = LEARN.copy()
    learn[300:310] = False
    altered = observed.copy()
    altered[:, 300:310] = 0.9
    for lag in (3, 12):
        np.testing.assert_array_equal(
            damped_anomaly(altered, DAYS, learn, TEST, lag=lag), damped_anomaly(observed, DAYS, learn, TEST, lag=lag)
        )
    none = damped_anomaly(observed, DAYS, LEARN & (DAYS[5] > DAYS), TEST, lag=7)
    assert np.isnan(none).all()


@pytest.mark.parametrize("lag", [0, -1])
@pytest.mark.parametrize("baseline", [persistence, damped_anomaly])
def test_a_lag_at_which_the_day_itself_were_known_is_a_defect(baseline, lag):
    observed = seasonal().astype(np.float32)
    with pytest.raises(ValueError, match="would know the day that it forecasts"):
        baseline(observed, DAYS, LEARN, TEST, lag=lag)


def damped_to(cycle, observed, learn, test, lag):
    """``(cell, test day)``: departures from a cycle ``(cell, time)``, damped, in float64."""
    departure = observed.astype(np.float64) - cycle
    pairs = learn[lag:] & learn[:-lag] & np.isfinite(departure[:, lag:] * departure[:, :-lag])
    before, after = (np.where(pairs, part, 0) for part in (departure[:, :-lag], departure[:, lag:]))
    rho = (before * after).sum(axis=1) / np.sqrt((before**2).sum(axis=1) * (after**2).sum(axis=1))
    days = np.arange(test.start, test.stop)
    return cycle[:, days] + rho[:, np.newaxis] * departure[:, days - lag]


def to_mean(observed, learn, test, lag):
    mean = np.nanmean(np.where(learn, observed.astype(np.float64), np.nan), axis=1, keepdims=True)
    return damped_to(np.repeat(mean, observed.shape[1], axis=1), observed, learn, test, lag)


def to_harmonics(observed, learn, test, lag):
    """All harmonics by numpy's least squares, however short the record."""
    angle = 2 * np.pi * DAYS.astype("datetime64[D]").astype(int) / 365.2425
    waves = np.stack([np.ones_like(angle), *(f(k * angle) for k in (1, 2, 3) for f in (np.cos, np.sin))], axis=1)
    cycle = np.empty(observed.shape)
    for cell, series in enumerate(observed):
        seen = learn & np.isfinite(series)
        cycle[cell] = waves @ np.linalg.lstsq(waves[seen], series[seen].astype(np.float64), rcond=None)[0]
    return damped_to(cycle, observed, learn, test, lag)


def rmse(forecast, observed):
    return np.sqrt(np.nanmean((forecast - observed) ** 2, axis=1))


@pytest.mark.parametrize("lag", [1, 10])
def test_damped_anomaly_of_fourteen_months_damps_to_the_mean_and_does_not_learn_a_season_of_one_year(lag):
    observed = (0.3 + anomalies(50, rho=0.97)).astype(np.float32)
    learn = LEARN & (np.datetime64("2018-10-24") <= DAYS)
    forecast = damped_anomaly(observed, DAYS, learn, TEST, lag=lag)
    np.testing.assert_allclose(forecast, to_mean(observed, learn, TEST, lag), atol=1e-6)
    harmonics = to_harmonics(observed, learn, TEST, lag)
    assert np.median(rmse(forecast, observed[:, TEST]) / rmse(harmonics, observed[:, TEST])) < (
        0.99 if lag == 1 else 0.9
    )


def gappy(share, cells=50, seed=3, amplitude=1.0, rho=0.97):
    observed = (0.3 + amplitude * (seasonal(cells) - 0.3) + anomalies(cells, rho, seed)).astype(np.float32)
    sparse = np.where(np.random.default_rng(seed).random(observed.shape) < share, observed, np.float32(np.nan))
    return observed, np.where(LEARN, sparse, observed)


def test_damped_anomaly_of_a_gappy_record_is_no_weaker_than_damping_to_the_mean():
    truth, observed = gappy(0.1, amplitude=0.0)
    found, harmonics, mean = (
        np.median(rmse(forecast, truth[:, TEST]))
        for forecast in (
            damped_anomaly(observed, DAYS, LEARN, TEST, lag=5),
            to_harmonics(observed, LEARN, TEST, 5),
            to_mean(observed, LEARN, TEST, 5),
        )
    )
    assert mean < 0.97 * harmonics
    assert found < 1.01 * mean


def test_harmonics_that_a_gappy_record_knows_are_kept():
    truth, observed = gappy(0.3, rho=0.8)
    lag = 10
    found = rmse(damped_anomaly(observed, DAYS, LEARN, TEST, lag=lag), truth[:, TEST])
    harmonics, mean = (rmse(f(observed, LEARN, TEST, lag), truth[:, TEST]) for f in (to_harmonics, to_mean))
    assert np.median(found / mean) < 0.9
    assert np.median(found / harmonics) < 1.01


@settings(max_examples=15, deadline=None)
@given(share=st.floats(0.25, 0.9), amplitude=st.floats(0.0, 2.0), lag=st.integers(1, 12), seed=st.integers(0, 2**16))
def test_on_its_learning_days_no_chosen_climatology_is_worse_than_the_mean(share, amplitude, lag, seed):
    _, observed = gappy(share, 6, seed, amplitude)
    days = slice(lag, int(np.flatnonzero(LEARN)[-1]) + 1)
    chosen = np.isfinite(observed[:, LEARN]).sum(axis=1) < 730
    pair = np.isfinite(observed[:, days.start - lag : days.stop - lag])
    learnt = np.where(pair, observed[:, days], np.nan)
    found = rmse(damped_anomaly(observed, DAYS, LEARN, days, lag=lag), learnt)
    mean = rmse(to_mean(observed, LEARN, days, lag), learnt)
    assert (found[chosen] <= mean[chosen] * (1 + 1e-5) + 1e-7).all()


def test_a_record_of_two_whole_years_has_all_harmonics():
    observed = (seasonal() + anomalies()).astype(np.float32)
    for lag in (1, 10):
        expected = to_harmonics(observed, LEARN, TEST, lag)
        np.testing.assert_allclose(damped_anomaly(observed, DAYS, LEARN, TEST, lag=lag), expected, atol=1e-6)
