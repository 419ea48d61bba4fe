"""Parts of a verdict at stations: places, matchings, distortions, collocation and answers, each against its truth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pytesmo.cdf_matching import CDFMatching
from pytesmo.metrics import bias as pytesmo_bias
from pytesmo.metrics import pearson_r, tcol_metrics, ubrmsd
from pytesmo.scaling import mean_std
from pytesmo.time_series.anomaly import calc_anomaly, calc_climatology

from soilcast.cube import assemble, cells_of_grid, cells_of_places, era5_land_thickness
from soilcast.cube.nearest import REACH, nearest_cells
from soilcast.errors import SoilcastError
from soilcast.models.baselines import climatology
from soilcast.reporting.station_words import distortion_sentence
from soilcast.verify.aligned import Aligned
from soilcast.verify.estimates import Estimate
from soilcast.verify.stations.collocation import collocate
from soilcast.verify.stations.distortion import QUANTITIES, SHIFTS, measure_distortion
from soilcast.verify.stations.estimates import Answer, answer, answer_over, estimate
from soilcast.verify.stations.matching import MATCHINGS, PERCENTILES, Pairs
from tests.helpers.station_truth import DAYS, GRID, Distortion, truth

DAY = np.timedelta64(1, "D")
TRUTH = truth()


# Places


def product(grid: bool = True) -> xr.Dataset:
    places = cells_of_places(GRID.cell_lat, GRID.cell_lon, np.ones(9), [str(n) for n in range(9)])
    cells = cells_of_grid(GRID) if grid else places
    layer = {"swvl1": np.full((9, 3), 0.2), **era5_land_thickness(9, {"swvl1": 0.07})}
    return assemble(layer, cells=cells, time=DAYS[:3], title="", source="", content="")


@given(st.floats(47.4, 50.6), st.floats(9.4, 12.6))
def test_a_station_within_a_cell_has_that_cell(lat: float, lon: float) -> None:
    near = nearest_cells(np.array([lat]), np.array([lon]), product())
    column, row = np.argmin(np.abs(GRID.lon - lon)), np.argmin(np.abs(GRID.lat - lat))
    if abs(GRID.lon[column] - lon) <= 0.49 and abs(GRID.lat[row] - lat) <= 0.49:
        assert near.cell[0] == row * 3 + column
    else:
        assert near.cell[0] == -1 or near.distance[0] <= near.reach[0] * 1.002


def test_distances_follow_the_great_circle_and_the_reach() -> None:
    lat, lon = np.array([48.0, 49.0, 49.0]), np.array([10.0, 11.1, 179.0])
    near = nearest_cells(lat, lon, product(grid=False))
    assert near.cell.tolist() == [0, 4, -1]
    assert near.reach.tolist() == [REACH] * 3
    assert near.distance[1] == pytest.approx(6371.0088 * np.radians(0.1) * np.cos(np.radians(49)), rel=1e-4)
    assert nearest_cells(lat, lon, product(grid=False), 5.0).cell.tolist() == [0, -1, -1]
    with pytest.raises(SoilcastError, match="above 0 km"):
        nearest_cells(lat, lon, product(), -1.0)


def test_a_station_across_the_date_line_has_its_cell() -> None:
    cells = cells_of_places(np.array([0.0]), np.array([-179.95]), np.ones(1), ["a"])
    layer = {"swvl1": np.full((1, 3), 0.2), **era5_land_thickness(1, {"swvl1": 0.07})}
    cube = assemble(layer, cells=cells, time=DAYS[:3], title="", source="", content="")
    assert nearest_cells(np.array([0.0]), np.array([179.95]), cube).cell[0] == 0


# Matchings


def pairs(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Pairs:
    return Pairs(DAYS[: len(x)], x, y, np.isfinite(x) & np.isfinite(y))


def matched(name: str, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.floating]:
    fit = MATCHINGS[name].fit
    assert fit is not None
    return fit(pairs(x, y))(x, DAYS[: len(x)])


def test_matchings_agree_with_pytesmo() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.gamma(3, 0.05, 700), rng.gamma(5, 0.06, 700)
    np.testing.assert_allclose(matched("mean-variance", x, y), mean_std(x, y), rtol=1e-10)
    theirs = CDFMatching(percentiles=list(PERCENTILES)).fit(x, y)
    np.testing.assert_allclose(matched("cdf", x, y), theirs.predict(x), rtol=1e-6, atol=1e-9)


@given(st.floats(-0.1, 0.1), st.floats(0.3, 3), st.sampled_from(["mean-variance", "cdf"]))
def test_a_distorted_copy_is_the_truth_after_matching(offset: float, gain: float, name: str) -> None:
    x = TRUTH[0, :900]
    np.testing.assert_allclose(matched(name, Distortion(offset, gain)(x), x), x, atol=1e-8)


def test_a_monotone_copy_has_the_climate_of_the_truth_after_matching() -> None:
    x = TRUTH[0, :900]
    np.testing.assert_allclose(matched("cdf", np.sqrt(x), x), x, atol=0.01)


def test_anomalies_put_departures_onto_the_cycle_of_the_station() -> None:
    x, y = TRUTH[0], TRUTH[1]
    learn = np.arange(len(DAYS)) < 1000
    fit = MATCHINGS["anomalies"].fit
    assert fit is not None
    given_days = DAYS[1000:].reshape(-1, 1)
    found = fit(Pairs(DAYS[:1000], x[:1000], y[:1000], learn[:1000]))(x[1000:].reshape(-1, 1), given_days)
    cycle = climatology(np.stack([x, y]), DAYS, learn, slice(1000, len(DAYS)))
    np.testing.assert_allclose(found[:, 0], x[1000:] - cycle[0] + cycle[1], atol=1e-6)


@given(st.sampled_from(["mean-variance", "cdf", "anomalies"]), st.integers(0, 2**31))
def test_days_that_are_not_learnt_from_do_not_matter(name: str, seed: int) -> None:
    x, y = TRUTH[0, :400].copy(), TRUTH[1, :400].copy()
    learn = np.arange(400) < 300
    fit = MATCHINGS[name].fit
    assert fit is not None
    before = fit(Pairs(DAYS[:400], x, y, learn))(x[300:], DAYS[300:400])
    other = np.random.default_rng(seed).uniform(0, 1, (2, 100))
    changed_x, changed_y = (np.concatenate([one[:300], new]) for one, new in zip((x, y), other, strict=True))
    after = fit(Pairs(DAYS[:400], changed_x, changed_y, learn))(x[300:], DAYS[300:400])
    np.testing.assert_array_equal(before, after)


# Distortions


def measured(distortion: Distortion, days: slice = slice(400, 1300)):
    forecast = distortion(TRUTH[0])[days]
    positions = np.arange(len(DAYS))[days]
    return measure_distortion(forecast, {shift: TRUTH[0][positions - shift] for shift in SHIFTS})


@settings(max_examples=25)
@given(
    st.floats(-0.1, 0.1), st.floats(0.5, 2.0), st.integers(-3, 3), st.floats(0.0, 0.02),
)  # fmt: skip
def test_injected_distortions_are_recovered(offset: float, gain: float, shift: int, noise: float) -> None:
    found = measured(Distortion(offset, gain, shift, noise))
    assert found.shift == shift
    # Three standard errors of the regression beside what 900 days of noise can do.
    assert abs(float(found.gain.value) - gain) < 0.01 + 5 * noise / (0.05 * 30)
    assert abs(float(found.noise.value) - noise) < 0.002 + 0.1 * noise
    true = float(np.mean(Distortion(offset, gain, shift)(TRUTH[0])[400:1300] - TRUTH[0][400:1300]))
    assert abs(float(found.offset.value) - true) < 0.001 + 3 * noise / 30


@pytest.mark.parametrize(
    ("distortion", "words", "not_words"),
    [
        (Distortion(offset=0.05), ["is 0.0500 m³ m⁻³ wetter than the station"], ["responds", "varies"]),
        (Distortion(offset=-0.03, noise=0.01), ["m³ m⁻³ drier", "random error of 0.01"], ["responds", "varies"]),
        (Distortion(shift=1), ["responds a day late"], ["wetter", "drier", "varies"]),
        (Distortion(shift=-2), ["responds 2 days early"], ["varies"]),
        (Distortion(gain=1.5), ["varies 1.50 times as much"], ["responds"]),
        (Distortion(gain=0.6), ["varies 0.60 times as much"], ["responds"]),
        (Distortion(noise=0.02), ["no bias, delay or gain", "random error of 0.02"], ["responds", "varies", "wetter"]),
        (Distortion(0.05, 1.4, 2, 0.005), ["wetter", "responds 2 days late", "times as much"], []),
    ],
)
def test_distortions_are_named_in_words(distortion: Distortion, words: list[str], not_words: list[str]) -> None:
    found = measured(distortion)
    numbers = {"shift": found.shift}
    for name in QUANTITIES:
        one: Estimate = getattr(found, name)
        numbers |= {name: float(one.value), f"{name}_low": float(one.low), f"{name}_high": float(one.high)}
    sentence = distortion_sentence(xr.Dataset(numbers), "LSTM")
    if distortion.gain != 1:
        not_words = [word for word in not_words if word not in ("wetter", "drier")]
    for word in words:
        assert word in sentence, sentence
    for word in not_words:
        assert word not in sentence, sentence


@settings(max_examples=15)
@given(st.floats(-0.05, 0.05), st.floats(0.5, 2.0), st.integers(-3, 3))
def test_a_distorted_station_is_the_reference_all_the_same(offset: float, gain: float, shift: int) -> None:
    """A station that is wetter, varies more and lags behind makes the forecast drier, flatter and early."""
    station = Distortion(offset, gain, shift)(TRUTH[0])
    at = np.arange(400, 1300)
    found = measure_distortion(TRUTH[0][at], {lag: station[at - lag] for lag in SHIFTS})
    assert found.shift == -shift
    assert float(found.gain.value) == pytest.approx(1 / gain, rel=1e-3)
    assert float(found.noise.value) < 1e-3
    assert float(found.offset.value) == pytest.approx(float((TRUTH[0] - station)[at].mean()), abs=1e-6)


def test_few_days_name_nothing() -> None:
    found = measured(Distortion(0.05, 1.5, 2), slice(400, 430))
    assert np.isnan(found.shift)
    assert np.isnan(found.offset.low)


# Triple collocation


@given(st.integers(0, 2**31), st.floats(0.005, 0.03), st.floats(0.005, 0.03), st.floats(0.005, 0.03))
def test_collocation_agrees_with_pytesmo(seed: int, one: float, other: float, third: float) -> None:
    rng = np.random.default_rng(seed)
    signal = TRUTH[0, :600]
    x = signal + one * rng.standard_normal(600)
    y = 0.1 + 1.5 * signal + other * rng.standard_normal(600)
    z = 0.7 * signal + third * rng.standard_normal(600)
    found = collocate(x, y, z)
    snr, error, gain = tcol_metrics(x, y, z)
    np.testing.assert_allclose(found.error, error, rtol=1e-9)
    np.testing.assert_allclose(found.gain, gain, rtol=1e-9)
    ratio = 10 ** (np.array(snr) / 10)
    np.testing.assert_allclose(found.correlation**2, np.where(np.isnan(error), np.nan, ratio / (1 + ratio)), rtol=1e-9)


def test_collocation_recovers_the_errors_that_were_put_in() -> None:
    rng = np.random.default_rng(3)
    signal = np.tile(TRUTH[0], 20)
    errors = (0.02, 0.03, 0.01)
    gains = (1.0, 1.5, 0.7)
    x, y, z = (gain * signal + e * rng.standard_normal(len(signal)) for gain, e in zip(gains, errors, strict=True))
    found = collocate(x, y, z)
    np.testing.assert_allclose(found.error, [0.02, 0.03 / 1.5, 0.01 / 0.7], rtol=0.03)
    np.testing.assert_allclose(found.gain, [1, 1 / 1.5, 1 / 0.7], rtol=0.02)


def test_collocation_needs_days() -> None:
    x = TRUTH[0, :99]
    assert np.isnan(collocate(x, x, x).error).all()


# Estimates


def aligned(observed: npt.NDArray[np.float64], forecast: npt.NDArray[np.float64]) -> Aligned:
    one = np.full((len(observed), 1), np.nan)
    return Aligned(observed=observed, central=forecast, mean=forecast, previous=forecast, driest=one, wettest=one)


def test_scores_agree_with_pytesmo_and_their_intervals_hold_them() -> None:
    rng = np.random.default_rng(1)
    observed = TRUTH[:3, 700:1200].copy()
    observed[0, ::7] = np.nan
    forecast = observed + 0.02 + 0.01 * rng.standard_normal(observed.shape)
    learn = np.arange(len(DAYS)) < 700
    cycle = climatology(TRUTH[:3], DAYS, learn, slice(700, 1200)).astype(np.float64)
    lagged = TRUTH[:3, 699:1199]
    models = {"LSTM": forecast, "persistence": lagged, "damped anomaly": lagged, "climatology": cycle}
    found = estimate({name: aligned(observed, values) for name, values in models.items()}, ["LSTM"], ["A", "A", "B"])
    for station in range(3):
        valid = np.isfinite(observed[station])
        x, y = forecast[station][valid], observed[station][valid]
        expected = {
            "r": pearson_r(x, y),
            "bias": pytesmo_bias(x, y),
            "ubrmse": ubrmsd(x, y),
            "anomaly_r": pearson_r(x - cycle[station][valid], y - cycle[station][valid]),
        }
        for metric, value in expected.items():
            one = found.scores["LSTM", metric]
            assert one.value[station] == pytest.approx(value, abs=1e-7), metric
            assert one.low[station] <= value <= one.high[station]
        assert found.days[station] == valid.sum()
    assert found.networks.keys() == {"A", "B"}


def test_anomalies_from_a_climatology_agree_with_pytesmo() -> None:
    """Pytesmo's is smoothed by windows, ours by harmonics: the correlation of the departures is nearly the same."""
    series = pd.Series(TRUTH[0], pd.DatetimeIndex(DAYS))
    theirs = calc_anomaly(series, climatology=calc_climatology(series, moving_avg_clim=35)).to_numpy()
    every = np.ones(len(DAYS), dtype=np.bool_)
    ours = TRUTH[0] - climatology(TRUTH[:1], DAYS, every, slice(0, len(DAYS)))[0]
    assert np.corrcoef(ours, theirs)[0, 1] > 0.95


def test_intervals_cover_the_true_difference_though_errors_are_autocorrelated() -> None:
    """Of AR(1) errors with a memory of days an interval that took days as independent would cover about half."""
    rng = np.random.default_rng(2)
    stations, days = 200, 720
    noise = rng.standard_normal((2, stations, days))
    errors = np.empty_like(noise)
    errors[..., 0] = noise[..., 0]
    for day in range(1, days):
        errors[..., day] = 0.9 * errors[..., day - 1] + np.sqrt(1 - 0.81) * noise[..., day]
    observed = np.broadcast_to(TRUTH[0, :days], (stations, days))
    models = {
        "LSTM": observed + 0.02 * errors[0],
        "persistence": observed + 0.02 * errors[1],
        "damped anomaly": observed + 0.03 * errors[1],
    }
    found = estimate({name: aligned(observed, values) for name, values in models.items()}, ["LSTM"], ["A"] * stations)
    same = found.differences["LSTM", "persistence"]
    covered = np.mean((same.low <= 0) & (same.high >= 0))
    assert 0.88 <= covered <= 0.99
    worse = found.differences["LSTM", "damped anomaly"]
    assert np.mean(worse.high < 0) > 0.9


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (-0.01, -0.02, -0.001, Answer.YES),
        (-0.01, -0.03, 0.01, Answer.NOT_ENOUGH),
        (0.0, -0.01, 0.01, Answer.NO),
        (0.01, 0.005, 0.02, Answer.NO),
        (-0.01, np.nan, np.nan, Answer.NOT_ENOUGH),
    ],
)
def test_an_answer_follows_from_the_interval(value: float, low: float, high: float, expected: Answer) -> None:
    one = Estimate(*(np.array([number]) for number in (value, low, high, 0.0, 0.0)))
    assert answer(one, 0) is expected


def test_an_answer_needs_both_references() -> None:
    yes, no, unknown = Answer.YES, Answer.NO, Answer.NOT_ENOUGH
    assert answer_over([yes, yes]) is yes
    assert answer_over([yes, no]) is no
    assert answer_over([unknown, no]) is no
    assert answer_over([yes, unknown]) is unknown
    assert answer_over([yes]) is unknown
    assert answer_over([no]) is no
