"""Scaling: the statistics, the inverse, and what happens where a variable never changes."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from soilcast.training.sections import NormaliseConfig
from soilcast.training.statistics import MOST_BEYOND, Statistics, fit_scaling, take_moments

CONFIGS = [
    NormaliseConfig(scope=scope, method=method)
    for scope, method in itertools.product(("per_cell", "global"), ("min_max", "z_score"))
]
fields = hnp.arrays(np.float32, (3, 11), elements=st.floats(-100, 100, width=32) | st.just(np.float32("nan")))


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@given(fields)
def test_restore_undoes_normalise(config: NormaliseConfig, values: np.ndarray) -> None:
    scaling = fit_scaling(take_moments(values), config)
    assert (scaling.scale != 0).all()
    normalised = scaling.normalise(values)
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(scaling.restore(normalised), values, atol=1e-3)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_statistics_equal_plain_numpy(config: NormaliseConfig) -> None:
    values = np.random.default_rng(1).normal(5, 2, (4, 300)).astype(np.float32)
    values[2, 5] = np.nan
    groups = values.astype(float) if config.scope == "per_cell" else values.astype(float).reshape(1, -1)
    scaling = fit_scaling(take_moments(values), config)
    if config.method == "min_max":
        expected = np.nanmin(groups, 1), np.nanmax(groups, 1) - np.nanmin(groups, 1)
    else:
        expected = np.nanmean(groups, 1), np.nanstd(groups, 1)
    np.testing.assert_allclose(scaling.offset, expected[0], rtol=1e-12)
    np.testing.assert_allclose(scaling.scale, expected[1], rtol=1e-12)


def test_a_cell_without_values_keeps_a_scale_of_one() -> None:
    values = np.array([[np.nan] * 3, [0.0, 1.0, 4.0]], dtype=np.float32)
    scaling = fit_scaling(take_moments(values), NormaliseConfig())
    np.testing.assert_array_equal(scaling.offset, [0.0, 0.0])
    np.testing.assert_array_equal(scaling.scale, [1.0, 4.0])
    assert not scaling.substituted.any()


@pytest.mark.parametrize("spread", [0.0, 1e-6, 0.03])
@pytest.mark.parametrize("method", ["min_max", "z_score"])
def test_a_cell_that_hardly_varies_is_scaled_as_the_others_are(spread: float, method: Literal["min_max"]) -> None:
    values = np.random.default_rng(3).uniform(0, 10, (4, 200))
    values[1] = 2.0
    values[1, 7] += spread
    scaling = fit_scaling(take_moments(values), NormaliseConfig(method=method))
    np.testing.assert_array_equal(scaling.substituted, [False, True, False, False])
    usual = np.sqrt(np.mean(scaling.scale[[0, 2, 3]] ** 2))
    np.testing.assert_allclose(scaling.scale[1], usual, rtol=0.01)
    inputs, clipped = scaling.clip(scaling.normalise(np.full((4, 1), 9.0)))
    assert (np.abs(inputs) < 4).all()
    assert not clipped.any()
    target = fit_scaling(take_moments(values), NormaliseConfig(method=method), target=True)
    assert not target.substituted.any()
    np.testing.assert_array_equal(target.scale[[0, 2, 3]], scaling.scale[[0, 2, 3]])


def test_ordinary_cells_keep_their_own_scale() -> None:
    values = np.random.default_rng(4).gamma(0.3, [[1.0], [0.1], [0.05]], (3, 400))
    for config in CONFIGS[:2]:
        scaling = fit_scaling(take_moments(values), config)
        assert not scaling.substituted.any()
        np.testing.assert_array_equal(scaling.scale, fit_scaling(take_moments(values), config, target=True).scale)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_what_is_far_outside_the_training_range_is_clipped_and_counted(config: NormaliseConfig) -> None:
    values = np.random.default_rng(5).uniform(2.0, 4.0, (2, 300))
    scaling = fit_scaling(take_moments(values), config)
    lowest, highest = values.min(), values.max()
    width = highest - lowest
    later = np.array([[lowest - 2.9 * width, highest + 2.9 * width, np.nan, highest + 1e6, lowest - 50]] * 2)
    normalised = scaling.normalise(later)
    clipped, count = scaling.clip(normalised)
    np.testing.assert_array_equal(clipped[:, :3], normalised[:, :3])
    np.testing.assert_array_equal(count, [2, 2])
    np.testing.assert_allclose(scaling.restore(clipped)[:, 3], highest + MOST_BEYOND * width, rtol=0.02)


def test_static_variables_are_scaled_over_all_cells() -> None:
    values = np.array([[1.0], [3.0], [5.0]], dtype=np.float32)
    scaling = fit_scaling(take_moments(values), NormaliseConfig(), static=True)
    np.testing.assert_array_equal(scaling.normalise(values), [[0.0], [0.5], [1.0]])


def test_static_variables_can_be_scaled_by_a_method_of_their_own() -> None:
    values = np.array([[1.0], [3.0], [8.0]], dtype=np.float32)
    config = NormaliseConfig(static="z_score")
    scaled = fit_scaling(take_moments(values), config, static=True).normalise(values)
    np.testing.assert_allclose(scaled, (values - 4.0) / np.sqrt(26 / 3), rtol=1e-6)
    dynamic = np.array([[1.0, 3.0, 5.0]])
    np.testing.assert_array_equal(fit_scaling(take_moments(dynamic), config).normalise(dynamic), [[0.0, 0.5, 1.0]])


def test_statistics_survive_the_checkpoint() -> None:
    scaling = fit_scaling(take_moments(np.random.default_rng(0).random((3, 9))), NormaliseConfig())
    statistics = Statistics({"t2m": scaling}, np.full((3, 2, 1), 0.5), np.full((3, 1), 0.4))
    back = Statistics.from_arrays(statistics.to_arrays(), ("t2m",))
    for mine, theirs in zip(vars(back.scalings["t2m"]).values(), vars(scaling).values(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(back.persistence_error, statistics.persistence_error)
    np.testing.assert_array_equal(back.porosity, statistics.porosity)
    with pytest.raises(KeyError):
        Statistics.from_arrays(statistics.to_arrays(), ("tp",))
