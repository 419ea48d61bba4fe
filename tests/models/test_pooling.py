"""Pooling of an ensemble: the quantiles of the mixture, against a sorted mixture of draws and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import optimize
from scipy.stats import norm

from soilcast.models.pooling import pool_quantiles

LEVELS = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])

ensembles = hnp.arrays(np.float64, (3, 4, 7), elements=st.floats(-5, 5, width=16)).map(lambda q: np.sort(q, axis=-1))


def mean_cdf(members: np.ndarray, x: float) -> tuple[float, float]:
    """The mean of the members' piecewise-linear distribution functions, from below and at x, written out."""
    below, at = [], []
    for q in members:
        first = q[0] - (q[1] - q[0]) * LEVELS[0] / (LEVELS[1] - LEVELS[0])
        last = q[-1] + (q[-1] - q[-2]) * (1 - LEVELS[-1]) / (LEVELS[-1] - LEVELS[-2])
        knots, p = [first, *q, last], [0.0, *LEVELS, 1.0]
        left = right = 0.0
        for k in range(len(p) - 1):
            a, b, mass = knots[k], knots[k + 1], p[k + 1] - p[k]
            if a == b:
                left += mass * (x > a)
                right += mass * (x >= a)
            else:
                share = min(max((x - a) / (b - a), 0.0), 1.0)
                left, right = left + mass * share, right + mass * share
        below.append(left)
        at.append(right)
    return float(np.mean(below)), float(np.mean(at))


@given(ensembles)
def test_the_mean_of_the_distribution_functions_is_inverted(members: np.ndarray) -> None:
    pooled = pool_quantiles(members, LEVELS)
    assert pooled.shape == (4, 7)
    assert pooled.dtype == np.float32
    assert (np.diff(pooled) >= 0).all()
    for row in range(4):
        for level, x in zip(LEVELS, pooled[row].astype(float), strict=True):
            # Rounding of the answer to float32 moves it by less than this.
            below, _ = mean_cdf(members[:, row], x - 1e-6)
            _, at = mean_cdf(members[:, row], x + 1e-6)
            assert below <= level + 1e-9
            assert at >= level - 1e-9


@given(ensembles, st.integers(1, 5))
def test_equal_members_give_the_same(members: np.ndarray, count: int) -> None:
    same = np.repeat(members[:1], count, axis=0)
    np.testing.assert_allclose(pool_quantiles(same, LEVELS), members[0], atol=1e-6)


@given(ensembles, st.permutations(range(3)))
def test_the_order_of_members_does_not_matter(members: np.ndarray, order: list[int]) -> None:
    np.testing.assert_allclose(pool_quantiles(members[order], LEVELS), pool_quantiles(members, LEVELS), atol=1e-6)


def test_two_members_far_apart_give_the_quantiles_of_both() -> None:
    """The lower half of the levels falls into one member at twice its level, the upper half into the other."""
    levels = np.array([0.1, 0.2, 0.4, 0.6, 0.8, 0.9])
    lower = levels.copy()  # a uniform distribution on 0 .. 1
    pooled = pool_quantiles(np.stack([lower, lower + 100]), levels)
    np.testing.assert_allclose(pooled, [0.2, 0.4, 0.8, 100.2, 100.6, 100.8], atol=1e-5)


def test_members_of_normal_distributions_give_their_mixture() -> None:
    fine = np.arange(1, 200) / 200
    centres, widths = np.array([-1.0, 0.2, 2.0]), np.array([0.5, 1.0, 0.3])
    members = norm.ppf(fine, centres[:, np.newaxis], widths[:, np.newaxis])
    pooled = pool_quantiles(members, fine)
    for level in (0.05, 0.25, 0.5, 0.8, 0.95):
        exact = optimize.brentq(lambda x, p=level: norm.cdf(x, centres, widths).mean() - p, -10, 10)
        assert pooled[round(200 * level) - 1] == pytest.approx(exact, abs=5e-3)


def test_points_give_the_steps_of_their_ranks() -> None:
    points = np.array([3.0, 1.0, 5.0, 2.0, 4.0])[:, np.newaxis].repeat(7, axis=1)
    np.testing.assert_array_equal(pool_quantiles(points, LEVELS), [1, 1, 2, 3, 4, 5, 5])


def test_one_level_is_a_point() -> None:
    np.testing.assert_array_equal(pool_quantiles(np.array([[1.0], [2.0], [9.0]]), [0.5]), [2.0])


def test_a_missing_member_leaves_no_forecast() -> None:
    members = np.sort(np.random.default_rng(0).normal(size=(3, 2, 2, 7)), axis=-1).astype(np.float32)
    members[1, 0, 1, 3] = np.nan
    pooled = pool_quantiles(members, LEVELS)
    assert pooled.shape == (2, 2, 7)
    assert np.isnan(pooled[0, 1]).all()
    assert np.isfinite(pooled).sum() == 21
    np.testing.assert_array_equal(pooled[1], pool_quantiles(members[:, 1], LEVELS))


def test_no_forecast_at_all() -> None:
    assert np.isnan(pool_quantiles(np.full((3, 2, 7), np.nan), LEVELS)).all()
    assert pool_quantiles(np.zeros((3, 0, 4, 7)), LEVELS).shape == (0, 4, 7)


def test_many_at_once_are_those_of_each_alone() -> None:
    members = np.sort(np.random.default_rng(1).normal(size=(10, 1500, 7)), axis=-1)
    together = pool_quantiles(members, LEVELS)
    for row in (0, 727, 728, 1499):
        np.testing.assert_array_equal(together[row], pool_quantiles(members[:, row], LEVELS))


def test_quantiles_that_cross_are_a_defect() -> None:
    with pytest.raises(AssertionError, match="decrease"):
        pool_quantiles(np.array([[2.0, 1.0]]), [0.1, 0.9])
