"""Reliability, decomposition, ROC and value of probabilities: hand-worked, against the library `scores`, properties."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scores.categorical import ThresholdEventOperator
from scores.probability import brier_score, roc_curve_data

from soilcast.products.indices import probability_by
from soilcast.verify.events import (
    BINS,
    STATISTICS,
    THRESHOLDS,
    decompose_brier,
    economic_value,
    relative_operating_characteristic,
    reliability_curve,
    sum_by_bin,
)

SEEDS = st.integers(0, 2**32 - 1)
NAN = float("nan")


def made(seed, cells=3, days=200, reliable=False):
    rng = np.random.default_rng(seed)
    probability = rng.beta(0.6, 2.0, (cells, days)).astype(np.float32)
    chance = probability if reliable else rng.random((cells, days))
    observed = (rng.random((cells, days)) < chance).astype(np.float32)
    observed[rng.random((cells, days)) < 0.1] = NAN
    return probability, observed


def test_four_days_by_hand():
    probability = np.array([[0.0, 0.25, 0.28, 1.0, 0.5]], dtype=np.float32)
    observed = np.array([[0, 0, 1, 1, NAN]], dtype=np.float32)
    sums = sum_by_bin(probability, observed)[0]
    assert sums.shape == (BINS, len(STATISTICS)) == (14, 5)
    lowest, fifth, last = 0, THRESHOLDS.index(0.2) + 1, BINS - 1
    np.testing.assert_allclose(sums[lowest], [1, 0, 0, 0, 0])
    np.testing.assert_allclose(sums[fifth], [2, 0.53, 0.25**2 + 0.28**2, 1, 0.28], rtol=1e-6)
    np.testing.assert_allclose(sums[last], [1, 1, 1, 1, 1])
    curve = reliability_curve(sums)
    np.testing.assert_allclose(curve["share"][[lowest, fifth, last]], [0.25, 0.5, 0.25])
    np.testing.assert_allclose(curve["observed"][[lowest, fifth, last]], [0, 0.5, 1])
    np.testing.assert_allclose(curve["forecast"][[lowest, fifth, last]], [0, 0.265, 1], rtol=1e-6)
    assert np.isnan(curve["observed"][1])
    parts = decompose_brier(sums)
    assert parts["brier"] == pytest.approx((0.25**2 + 0.72**2) / 4, rel=1e-6)
    assert parts["reliability"] == pytest.approx(2 * (0.265 - 0.5) ** 2 / 4, rel=1e-6)
    assert parts["resolution"] == pytest.approx((0.25 + 0.25) / 4)
    assert parts["uncertainty"] == pytest.approx(0.25)
    variance, covariance = 2 * 0.015**2, 2 * 0.015 * 0.5
    assert parts["within_bins"] == pytest.approx((variance - 2 * covariance) / 4, rel=1e-4)
    assert (parts["probability"], parts["frequency"]) == (pytest.approx(1.53 / 4), 0.5)
    roc = relative_operating_characteristic(sums)
    warned = np.array(THRESHOLDS) <= 0.25
    np.testing.assert_allclose(roc["hit_rate"], np.where(warned, 1, 0.5))
    np.testing.assert_allclose(roc["false_alarm_rate"], np.where(warned, 0.5, 0))
    assert roc["roc_area"] == pytest.approx(0.5 * 1 + 0.5 * 0.75)
    # Users whose loss is twice the cost of 1/2 act on the last day alone and miss an event: 1/8 + 1/4 a day, where the
    # climate costs them 1/2 and a perfect forecast 1/4.
    assert economic_value(sums)[THRESHOLDS.index(0.5)] == pytest.approx((0.5 - 0.375) / (0.5 - 0.25))


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 60))
def test_the_decomposition_adds_up_to_the_brier_score(seed, days):
    probability, observed = made(seed, days=days)
    parts = decompose_brier(sum_by_bin(probability, observed))
    square = (probability.astype(np.float64) - observed) ** 2
    with np.errstate(invalid="ignore"):
        expected = np.nansum(square, axis=1) / np.isfinite(square).sum(axis=1)
    np.testing.assert_allclose(parts["brier"], expected, atol=1e-12)
    total = parts["reliability"] - parts["resolution"] + parts["uncertainty"] + parts["within_bins"]
    np.testing.assert_allclose(total, parts["brier"], atol=1e-12)


def test_brier_and_roc_are_those_of_scores():
    probability, observed = made(1, cells=1, days=3000, reliable=True)
    there = np.isfinite(observed[0])
    forecast, event = (
        xr.DataArray(values[0, there].astype(np.float64), dims="day") for values in (probability, observed)
    )
    sums = sum_by_bin(probability, observed)[0]
    np.testing.assert_allclose(decompose_brier(sums)["brier"], brier_score(forecast, event), rtol=1e-9)
    limits = np.array(THRESHOLDS, dtype=np.float32).astype(np.float64)  # as the probabilities are
    library = roc_curve_data(forecast, event, [0.0, *limits, 1.0])
    found = relative_operating_characteristic(sums)
    np.testing.assert_allclose(found["hit_rate"], library["POD"].sel(threshold=limits), atol=1e-12)
    np.testing.assert_allclose(found["false_alarm_rate"], library["POFD"].sel(threshold=limits), atol=1e-12)
    np.testing.assert_allclose(found["roc_area"], library["AUC"], atol=1e-9)
    # Value from the counts of the library: what is spent and lost, over what the climate and a perfect forecast spend.
    for threshold, value in zip(limits, economic_value(sums), strict=True):
        counts = (
            ThresholdEventOperator(default_event_threshold=threshold)
            .make_contingency_manager(forecast, event.where(event < 0.5, 2.0), event_threshold=threshold)
            .transform()
            .get_counts()
        )
        days = float(counts["total_count"])
        hits, false_alarms, misses = (float(counts[f"{n}_count"]) / days for n in ("tp", "fp", "fn"))
        spent = threshold * (hits + false_alarms) + misses
        climate, perfect = min(threshold, hits + misses), threshold * (hits + misses)
        assert value == pytest.approx((climate - spent) / (climate - perfect), rel=1e-5, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_areas_are_shares_and_no_value_is_above_that_of_a_perfect_forecast(seed):
    probability, observed = made(seed)
    sums = sum_by_bin(probability, observed)
    area, value = relative_operating_characteristic(sums)["roc_area"], economic_value(sums)
    assert ((area >= 0) & (area <= 1)).all()
    assert (value <= 1 + 1e-12).all()
    perfect = sum_by_bin(np.nan_to_num(observed), observed)
    np.testing.assert_allclose(economic_value(perfect), 1.0)
    np.testing.assert_allclose(relative_operating_characteristic(perfect)["roc_area"], 1.0)
    np.testing.assert_allclose(decompose_brier(perfect)["brier"], 0.0)


@pytest.mark.parametrize("frequency", [0.02, 0.1, 0.3])
def test_the_climate_has_no_resolution_an_area_of_a_half_and_no_value(frequency):
    days = 1000
    observed = (np.arange(days) < frequency * days).astype(np.float32)[np.newaxis]
    sums = sum_by_bin(np.full((1, days), frequency, dtype=np.float32), observed)[0]
    parts = decompose_brier(sums)
    assert parts["resolution"] == pytest.approx(0.0, abs=1e-12)
    assert parts["reliability"] == pytest.approx(0.0, abs=1e-12)
    assert parts["brier"] == pytest.approx(frequency * (1 - frequency), rel=1e-6)
    assert relative_operating_characteristic(sums)["roc_area"] == 0.5
    np.testing.assert_allclose(economic_value(sums), 0.0, atol=1e-9)


def test_a_reliable_forecast_lies_on_the_diagonal():
    probability, observed = made(5, cells=1, days=200_000, reliable=True)
    curve = reliability_curve(sum_by_bin(probability, observed)[0])
    np.testing.assert_allclose(curve["observed"], curve["forecast"], atol=0.02)


def test_an_event_that_never_comes_has_no_area_and_no_value():
    sums = sum_by_bin(np.full((1, 5), 0.2, dtype=np.float32), np.zeros((1, 5), dtype=np.float32))[0]
    assert np.isnan(relative_operating_characteristic(sums)["roc_area"])
    assert np.isnan(economic_value(sums)).all()
    assert decompose_brier(sums)["brier"] == pytest.approx(0.04)
    nothing = decompose_brier(np.zeros((BINS, len(STATISTICS))))
    assert all(np.isnan(value) for value in nothing.values())


def test_probabilities_of_single_precision_are_in_the_bin_that_begins_at_them():
    at = np.array([THRESHOLDS], dtype=np.float32)
    sums = sum_by_bin(at, np.ones_like(at))[0]
    np.testing.assert_array_equal(sums[:, 0], [0, *np.ones(len(THRESHOLDS))])


def test_at_least_once_by_hand():
    """Two templates: one dry at lead 1 alone if at all, one that gets drier."""
    templates = np.array([[0.25, 0.75], [0.75, 0.25]], dtype=np.float32)
    found = probability_by(np.array([[0.3, 0.3], [0.1, 0.1]], dtype=np.float32), templates)
    np.testing.assert_allclose(found, [[0.5, 1.0], [0.1, 0.1]])
