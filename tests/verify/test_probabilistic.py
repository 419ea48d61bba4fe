"""Kernels for quantiles and ensembles: hand-worked cases, the library `scores`, and properties."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import gamma, norm
from scores.continuous import quantile_interval_score, quantile_score
from scores.probability import PitFcstAtObs, crps_for_ensemble

from soilcast.verify.probabilistic import (
    crps_of_quantiles,
    is_at_or_below,
    is_covered,
    level_weights,
    pinball_loss,
    pit_shares,
)

LEVELS = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])
SEEDS = st.integers(0, 2**32 - 1)


def made(seed=0, cases=50, members=7, rounded=False):
    """Observations and sorted members, both with gaps, and if rounded with many ties."""
    rng = np.random.default_rng(seed)
    observed = 0.3 + 0.05 * rng.standard_normal(cases)
    members = np.sort(0.3 + 0.05 * rng.standard_normal((cases, members)), axis=1)
    if rounded:
        observed, members = observed.round(2), members.round(2)
    observed[rng.random(cases) < 0.1] = np.nan
    members[rng.random(cases) < 0.1, 2] = np.nan
    return observed, members


def labelled(observed, members):
    return xr.DataArray(members, dims=("case", "member")), xr.DataArray(observed, dims="case")


def test_pinball_by_hand():
    found = pinball_loss(np.array([0.30, 0.10, np.nan]), np.array([[0.20], [0.20], [0.20]]), np.array([0.9]))
    np.testing.assert_allclose(found[:, 0], [0.9 * 0.1, 0.1 * 0.1, np.nan])


def test_pinball_is_that_of_scores():
    observed, quantiles = made()
    fcst, obs = labelled(observed, quantiles)
    found = pinball_loss(observed, quantiles, LEVELS)
    for position, level in enumerate(LEVELS):
        expected = quantile_score(fcst.isel(member=position), obs, float(level), preserve_dims="all")
        np.testing.assert_allclose(found[:, position], expected, atol=1e-15)


def test_an_interval_of_two_quantiles_scores_as_in_scores():
    observed, quantiles = made(1)
    fcst, obs = labelled(observed, quantiles)
    low, high = fcst.isel(member=0), fcst.isel(member=6)
    expected = quantile_interval_score(low, high, obs, 0.05, 0.95, preserve_dims="all")
    losses = pinball_loss(observed, quantiles[:, [0, 6]], np.array([0.05, 0.95]))
    # Width plus misses over alpha, alpha = 0.1, is the sum of both losses over alpha / 2 (Bracher et al., 2021).
    np.testing.assert_allclose(losses.sum(axis=1) / 0.05, expected["total"], atol=1e-12)
    covered = is_covered(observed, low.to_numpy(), high.to_numpy())
    missed = (expected["underprediction_penalty"] + expected["overprediction_penalty"]).to_numpy() > 0
    there = np.isfinite(observed) & np.isfinite(quantiles).all(axis=1)
    np.testing.assert_array_equal(covered[there] == 0, missed[there])


def test_each_level_stands_for_what_lies_around_it():
    np.testing.assert_allclose(level_weights(np.array([0.5])), [1.0])
    np.testing.assert_allclose(level_weights(np.array([0.05, 0.5, 0.95])), [0.275, 0.45, 0.275])
    np.testing.assert_allclose(level_weights(np.array([0.1, 0.3, 0.5, 0.7, 0.9])), 0.2)


def test_crps_of_three_quantiles_by_hand():
    # y = 0.30: losses 0.05 * 0.2, 0.5 * 0.05 and 0.05 * 0.1, times twice the weights.
    found = crps_of_quantiles(np.array([0.30]), np.array([[0.10, 0.25, 0.40]]), np.array([0.05, 0.5, 0.95]))
    np.testing.assert_allclose(found, 2 * (0.275 * 0.05 * 0.2 + 0.45 * 0.5 * 0.05 + 0.275 * 0.05 * 0.1))


@pytest.mark.parametrize("members", [1, 2, 5, 20])
def test_crps_of_evenly_spaced_quantiles_is_that_of_the_ensemble_of_them(members):
    observed, quantiles = made(members, members=max(members, 3))
    quantiles = quantiles[:, :members]
    levels = (np.arange(members) + 0.5) / members
    found = crps_of_quantiles(observed, quantiles, levels)
    there = np.isfinite(quantiles).all(axis=1)
    expected = crps_for_ensemble(*labelled(observed, quantiles), "member", method="ecdf", preserve_dims="all")
    np.testing.assert_allclose(found[there], expected[there], atol=1e-14)
    assert np.isnan(found[~there]).all()


@pytest.mark.parametrize(
    ("levels", "excess"),
    [(np.arange(0.05, 0.951, 0.05), 0.014), (LEVELS, -0.017), (np.arange(0.01, 1, 0.01), 0.001)],
)
def test_crps_of_a_normal_distribution_is_nearly_the_exact_one(levels, excess):
    levels = np.array(levels)
    observed = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    found = crps_of_quantiles(observed, np.tile(norm.ppf(levels), (observed.size, 1)), levels).mean()
    exact = 1 / np.sqrt(np.pi)  # of a standard normal distribution that is right (Gneiting and Raftery, 2007, Eq. 5)
    assert found / exact - 1 == pytest.approx(excess, abs=1e-3)


@settings(deadline=None)
@given(SEEDS, st.floats(-1, 1), st.floats(0.01, 10))
def test_crps_moves_and_grows_with_its_unit_and_is_never_negative(seed, shift, scale):
    observed, quantiles = made(seed, cases=20)
    found = crps_of_quantiles(observed, quantiles, LEVELS)
    assert not (found < 0).any()
    there = np.isfinite(observed) & np.isfinite(quantiles).all(axis=1)
    np.testing.assert_array_equal(np.isfinite(found), there)
    moved = crps_of_quantiles(scale * (observed + shift), scale * (quantiles + shift), LEVELS)
    np.testing.assert_allclose(moved, scale * found, atol=1e-12)


@given(SEEDS)
def test_crps_of_equal_quantiles_is_the_absolute_error(seed):
    rng = np.random.default_rng(seed)
    observed, point = rng.random(10), rng.random(10)
    found = crps_of_quantiles(observed, np.repeat(point[:, None], len(LEVELS), axis=1), LEVELS)
    np.testing.assert_allclose(found, np.abs(observed - point), atol=1e-15)


@settings(deadline=None)
@given(SEEDS)
def test_no_other_quantiles_than_the_true_ones_score_better(seed):
    rng = np.random.default_rng(seed)
    population = np.sort(rng.gamma(2.0, size=2001))
    true = np.quantile(population, LEVELS, method="inverted_cdf")
    stated = np.sort(true + rng.normal(0, 0.3, len(LEVELS)))
    best, other = (
        crps_of_quantiles(population, np.tile(one, (population.size, 1)), LEVELS).mean() for one in (true, stated)
    )
    assert best <= other + 1e-12


def test_coverage_and_reliability_count_the_limits_as_inside():
    observed = np.array([0.2, 0.3, 0.31, 0.1, np.nan, 0.2])
    low, high = np.full(6, 0.2), np.array([0.3, 0.3, 0.3, 0.3, 0.3, np.nan])
    np.testing.assert_array_equal(is_covered(observed, low, high), [1, 1, 0, 0, np.nan, np.nan])
    found = is_at_or_below(observed, np.stack([low, high], axis=1))
    np.testing.assert_array_equal(found[:, 0], [1, 0, 0, 1, np.nan, 1])
    np.testing.assert_array_equal(found[:, 1], [1, 1, 0, 1, np.nan, np.nan])


def test_the_transform_by_hand():
    quantiles = np.array([0.1, 0.2, 0.2, 0.4])
    levels = np.array([0.1, 0.3, 0.6, 0.9])
    observed = np.array([0.05, 0.15, 0.2, 0.3, 0.5, np.nan])
    found = pit_shares(observed, np.tile(quantiles, (6, 1)), levels)
    expected = np.zeros((6, 10))
    expected[0, 0] = 1  # below all: 0 .. 0.1
    expected[1, 1:3] = 1 / 2  # between the first two: 0.1 .. 0.3
    expected[2, 1:9] = 1 / 8  # equal to the second and the third: 0.1 .. 0.9
    expected[3, 6:9] = 1 / 3
    expected[4, 9] = 1
    expected[5] = np.nan
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_histogram_of_the_transform_is_that_of_scores():
    observed, quantiles = made(6, cases=300, rounded=True)
    there = np.isfinite(observed) & np.isfinite(quantiles).all(axis=1)
    observed, quantiles = observed[there], quantiles[there]
    limits = []
    for y, ordered in zip(observed, quantiles, strict=True):
        below = [0.0, *LEVELS[ordered < y]]
        above = [*LEVELS[ordered > y], 1.0]
        limits.append((below[-1], above[0]))
    lower, upper = (xr.DataArray(list(part), dims="case") for part in zip(*limits, strict=True))
    expected = PitFcstAtObs(upper, fcst_at_obs_left=lower).hist_values(10)
    np.testing.assert_allclose(pit_shares(observed, quantiles, LEVELS).mean(axis=0), expected, atol=1e-12)


@pytest.mark.parametrize("distribution", [norm(), gamma(0.5)], ids=["even", "skewed"])
def test_the_transform_of_a_reliable_forecast_is_flat_whatever_its_distribution(distribution):
    observed = distribution.ppf((np.arange(10_000) + 0.5) / 10_000)
    found = pit_shares(observed, np.tile(distribution.ppf(LEVELS), (observed.size, 1)), LEVELS)
    np.testing.assert_allclose(found.mean(axis=0), 0.1, atol=1e-3)


def test_an_observation_that_equals_all_quantiles_tells_nothing():
    found = pit_shares(np.array([0.3]), np.full((1, len(LEVELS)), 0.3), LEVELS)
    np.testing.assert_allclose(found, 0.1)


@pytest.mark.parametrize(
    "kernel",
    [
        lambda y, q: pinball_loss(y, q, LEVELS).sum(axis=-1),
        lambda y, q: crps_of_quantiles(y, q, LEVELS),
        lambda y, q: pit_shares(y, q, LEVELS).sum(axis=-1),
    ],
)
def test_any_leading_dimensions_and_single_precision(kernel):
    observed, quantiles = made(7, cases=24)
    plain = kernel(observed.astype(np.float32), quantiles.astype(np.float32))
    assert plain.dtype == np.float64
    shaped = kernel(observed.astype(np.float32).reshape(2, 3, 4), quantiles.astype(np.float32).reshape(2, 3, 4, -1))
    np.testing.assert_array_equal(shaped.ravel(), plain)
    observed[0], quantiles[1, 3] = np.inf, -np.inf
    assert np.isnan(kernel(observed, quantiles)[:2]).all()
