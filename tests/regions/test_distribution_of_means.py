"""The distribution of a mean: what cells that err alike, and cells that err each for itself, give by theory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, rankdata

from soilcast.products.indices import distribution_at
from soilcast.regions.distribution import quantiles_of, sampling_matrix, sum_samples, template_levels

LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
NORMAL = norm.ppf(LEVELS)


def ranks_of(values: np.ndarray) -> np.ndarray:
    """Ranks among the days of ``(cell, day)``."""
    return rankdata(values, axis=1).astype(np.uint8)


def quantiles_of_mean(quantiles: np.ndarray, ranks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``(issue, level)`` of forecasts ``(cell, issue, level)``."""
    sums, known = sum_samples(quantiles, LEVELS, ranks, weights / weights.sum())
    return quantiles_of(sums / known[:, np.newaxis], LEVELS)


def forecasts(cells: int, issues: int, seed: int = 0) -> np.ndarray:
    """Quantiles of other centre, width and skewness in each cell and issue."""
    rng = np.random.default_rng(seed)
    centre, width = rng.uniform(0.1, 0.4, (2, cells, issues, 1))
    tail = rng.uniform(1.0, 2.0, (cells, issues, 1))
    return np.asarray(centre + 0.1 * width * np.where(NORMAL > 0, tail * NORMAL, NORMAL), dtype=np.float32)


def test_a_region_of_one_cell_has_the_quantiles_of_the_cell() -> None:
    quantiles = forecasts(1, 5)
    ranks = ranks_of(np.random.default_rng(1).normal(size=(1, 200)))
    np.testing.assert_allclose(quantiles_of_mean(quantiles, ranks, np.ones(1)), quantiles[0], atol=2e-4)


def test_cells_that_always_err_alike_have_the_mean_of_their_quantiles() -> None:
    quantiles, weights = forecasts(7, 4), np.arange(1.0, 8.0)
    ranks = np.repeat(ranks_of(np.random.default_rng(2).normal(size=(1, 200))), 7, axis=0)
    expected = np.average(quantiles, axis=0, weights=weights)
    np.testing.assert_allclose(quantiles_of_mean(quantiles, ranks, weights), expected, atol=2e-4)


def test_cells_that_err_each_for_itself_have_a_mean_that_is_as_much_narrower_as_theory_says() -> None:
    """The standard deviation of the mean of n independent cells is that of one over the root of n."""
    cells = 25
    quantiles = np.broadcast_to((0.3 + 0.02 * NORMAL).astype(np.float32), (cells, 1, 5))
    widths = []
    for seed in range(40):
        ranks = ranks_of(np.random.default_rng(seed).normal(size=(cells, 200)))
        found = quantiles_of_mean(quantiles, ranks, np.ones(cells))[0]
        widths.append(found[-1] - found[0])
        assert found[2] == pytest.approx(0.3, abs=2e-3)
    assert np.mean(widths) / (quantiles[0, 0, -1] - quantiles[0, 0, 0]) == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize(("correlation", "cells"), [(0.0, 16), (0.4, 16), (0.4, 100), (0.9, 16)])
def test_intervals_of_means_hold_what_they_promise_on_days_that_were_not_learnt_from(
    correlation: float, cells: int
) -> None:
    """Cells share a part of their errors; averaged quantiles hold more than 90 %, the more so the less they share."""
    rng = np.random.default_rng(5)
    common, own = np.sqrt(correlation), np.sqrt(1 - correlation)

    def errors(days: int) -> np.ndarray:
        return common * rng.normal(size=(1, days)) + own * rng.normal(size=(cells, days))

    weights, width = rng.uniform(0.5, 2.0, cells), rng.uniform(0.5, 2.0, cells)
    ranks, days = ranks_of(errors(200)), 4000
    truth = np.average(errors(days) * width[:, np.newaxis], axis=0, weights=weights)
    quantiles = np.asarray(width[:, np.newaxis, np.newaxis] * NORMAL, dtype=np.float32)
    low, *_, high = quantiles_of_mean(quantiles, ranks, weights)[0]
    assert np.mean((truth >= low) & (truth <= high)) == pytest.approx(0.90, abs=0.04)
    naive = np.average(quantiles[:, 0], axis=0, weights=weights)
    covered = np.mean((truth >= naive[0]) & (truth <= naive[-1]))
    # A normal mean of standard deviation s within 1.645 of those of the cells.
    shares = weights * width / np.sum(weights * width)
    expected = 1 - 2 * norm.cdf(NORMAL[0] / np.sqrt(correlation + (1 - correlation) * np.sum(shares**2)))
    assert covered == pytest.approx(expected, abs=0.015)


@given(
    level=st.floats(0.001, 0.999),
    steps=st.lists(st.floats(0.001, 0.3), min_size=5, max_size=5),
)
def test_a_sample_is_the_inverse_of_the_distribution_function(level: float, steps: list[float]) -> None:
    quantiles = np.cumsum(steps)
    value = sampling_matrix(np.array([level]), LEVELS)[0].astype(np.float64) @ quantiles
    assert distribution_at(quantiles, LEVELS, value) == pytest.approx(level, abs=1e-4)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=40, unique=True))
def test_each_cell_has_each_level_once(ranks: list[int]) -> None:
    """Whichever of its days are left: a cell keeps its distribution."""
    found = template_levels(np.array([ranks], dtype=np.uint8))[0]
    assert sorted(found) == pytest.approx(((np.arange(len(ranks)) + 0.5) / len(ranks)).tolist())
    assert (np.argsort(found) == np.argsort(ranks)).all()


def test_cells_without_a_forecast_have_no_part() -> None:
    quantiles = forecasts(3, 2)
    quantiles[1, 0] = np.nan
    ranks = ranks_of(np.random.default_rng(3).normal(size=(3, 50)))
    sums, known = sum_samples(quantiles, LEVELS, ranks, np.array([0.2, 0.3, 0.5]))
    without, _ = sum_samples(quantiles[[0, 2], :1], LEVELS, ranks[[0, 2]], np.array([0.2, 0.5]))
    np.testing.assert_allclose(known, [0.7, 1.0])
    np.testing.assert_allclose(sums[0], without[0], rtol=1e-5)
