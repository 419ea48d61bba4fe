"""Matching to the climate of observations: exact for monotone and affine copies, monotone, the same for any order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from soilcast.climate_matching import MATCHINGS, match_distribution, match_moments

moisture = arrays(np.float64, st.integers(2, 60), elements=st.integers(0, 400).map(lambda number: number / 1000))


@given(moisture, st.floats(0.2, 5.0), st.sampled_from([np.sqrt, np.exp, np.square, lambda x: 1 / (2.0 - x)]))
def test_a_monotone_copy_is_given_back(observed, gain, distort):
    mapped = match_distribution(distort(gain * observed / 3.0), observed)
    np.testing.assert_allclose(mapped(distort(gain * observed / 3.0)), observed, atol=1e-12)


@given(moisture, st.floats(0.1, 10.0), st.floats(-5.0, 5.0))
def test_an_affine_copy_is_given_back_also_beyond_what_was_seen(observed, gain, shift):
    other = np.array([-0.5, 0.123, 0.9])
    for match in (match_moments, match_distribution):
        mapped = match(gain * observed + shift, observed)
        np.testing.assert_allclose(mapped(gain * observed + shift), observed, atol=1e-9)
        if np.ptp(observed) > 0.01:
            beyond = np.array([observed.min() - 0.1, observed.max() + 0.1])
            np.testing.assert_allclose(mapped(gain * beyond + shift), beyond, atol=1e-9)
    if np.ptp(observed) > 0.01:
        np.testing.assert_allclose(
            match_moments(gain * observed + shift, observed)(gain * other + shift), other, atol=1e-9
        )


@given(moisture, st.randoms(use_true_random=False), st.data())
def test_the_mapping_is_monotone_and_does_not_depend_on_the_order_of_pairs(observed, random, data):
    forecast = data.draw(arrays(np.float64, len(observed), elements=st.integers(0, 50).map(float)))
    order = list(range(len(observed)))
    random.shuffle(order)
    at = np.linspace(-5, 60, 200)
    for _, match in MATCHINGS.values():
        mapped = match(forecast, observed)(at)
        assert (np.diff(mapped) >= -1e-12).all()
        np.testing.assert_allclose(match(forecast[order], observed[order])(at), mapped, atol=1e-12)


def test_after_matching_distributions_agree():
    rng = np.random.default_rng(0)
    forecast, observed = rng.gamma(2.0, 3.0, 2000), rng.beta(2.0, 5.0, 2000)
    levels = np.linspace(0.01, 0.99, 50)
    np.testing.assert_allclose(
        np.quantile(match_distribution(forecast, observed)(forecast), levels), np.quantile(observed, levels), atol=1e-12
    )
    mapped = match_moments(forecast, observed)(forecast)
    assert (mapped.mean(), mapped.std()) == pytest.approx((observed.mean(), observed.std()))


def test_what_is_missing_stays_missing_and_what_does_not_move_becomes_the_mean():
    observed = np.array([0.1, 0.2, 0.6])
    for match in (match_distribution, match_moments):
        mapped = match(np.full(3, 7.0), observed)
        np.testing.assert_allclose(mapped(np.array([7.0, 9.0])), 0.3)
        assert np.isnan(match(np.arange(3.0), observed)(np.array([np.nan]))).all()
