"""Regressions: the planted coefficients, numpy's least squares, and the setting that the validation samples ask for."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from soilcast.errors import SoilcastError
from soilcast.models.regressions import (
    PENALTIES,
    REGRESSIONS,
    RegressionSamples,
    boosted_trees,
    linear_regression,
    refuse_unusable,
    ridge,
)

WIDTHS = (3, 5)


def samples(truth, count=3000, seed=0, noise=0.01, layers=2):
    """Of two leads, of which the first has three features and the second five."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((count, WIDTHS[-1])).astype(np.float32)
    targets = np.stack([np.stack([truth(features[:, :width], layer) for layer in range(layers)], axis=-1)
                        for width in WIDTHS], axis=1)  # fmt: skip
    return RegressionSamples(
        features, (targets + noise * rng.standard_normal(targets.shape)).astype(np.float32), WIDTHS
    )


def planted(features, layer):
    slopes = np.array([0.5, -1.0, 0.25, 2.0, 0.125]) * (1 + layer)
    return 0.3 + features @ slopes[: features.shape[1]]


def interaction(features, layer):
    return np.sign(features[:, 0] * features[:, 1]) * (1 + layer)


def without(data, share, seed=5):
    """The same samples, of which some targets are missing."""
    gaps = np.random.default_rng(seed).random(data.targets.shape) < share
    return RegressionSamples(data.features, np.where(gaps, np.float32(np.nan), data.targets), data.widths)


def test_linear_regression_recovers_what_was_planted():
    trained, refitted = linear_regression(samples(planted), samples(planted, 1000, 1))
    for model in (trained, refitted):
        assert model.coefficients.dtype == np.float64
        for lead, width in enumerate(WIDTHS):
            for layer in (0, 1):
                slopes = np.array([0.5, -1.0, 0.25, 2.0, 0.125])[:width] * (1 + layer)
                np.testing.assert_allclose(model.coefficients[lead, layer, :width], slopes, atol=2e-3)
                assert (model.coefficients[lead, layer, width:] == 0).all()
                assert model.intercept[lead, layer] == pytest.approx(0.3, abs=2e-3)
    assert (trained.coefficients != refitted.coefficients).any()


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_without_a_penalty_it_is_numpys_least_squares(share):
    data = without(samples(planted, 500, noise=0.5), share)
    trained, refitted = linear_regression(data, without(samples(planted, 400, 1, 0.5), share))
    for lead, width in enumerate(WIDTHS):
        for layer in (0, 1):
            features, target = (part.astype(np.float64) for part in data.of(lead, layer))
            design = np.column_stack([np.ones(len(target)), features])
            expected = np.linalg.lstsq(design, target, rcond=None)[0]
            (found,) = ridge(design.T @ design, design.T @ target, (0.0,))
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
            # What was chosen is one of the penalised solutions of these very samples.
            solutions = ridge(design.T @ design, design.T @ target, PENALTIES)
            mine = np.concatenate([[trained.intercept[lead, layer]], trained.coefficients[lead, layer, :width]])
            assert min(np.abs(mine - one).max() for one in solutions) < 1e-9
            np.testing.assert_allclose(
                trained(data.features, lead, layer), data.features[:, :width] @ mine[1:] + mine[0], rtol=1e-5
            )
    assert np.isfinite(refitted(data.features, 1, 1)).all()


def test_the_penalty_is_that_of_the_ridge_and_features_that_never_vary_have_no_weight():
    rng = np.random.default_rng(0)
    features = np.column_stack([rng.standard_normal((200, 3)) * [1, 10, 0.1], np.full(200, 7.0)])
    target = features @ [1, 0.1, 5, 3] + rng.standard_normal(200)
    design = np.column_stack([np.ones(200), features])
    (found,) = ridge(design.T @ design, design.T @ target, (0.1,))
    centred = features[:, :3] - features[:, :3].mean(axis=0)
    spread = centred.std(axis=0)
    normal = (centred.T @ centred) / 200 + 0.1 * np.diag(spread**2)
    np.testing.assert_allclose(found[1:4], np.linalg.solve(normal, centred.T @ (target - target.mean()) / 200))
    assert found[4] == 0
    assert found[0] == pytest.approx(target.mean() - features[:, :3].mean(axis=0) @ found[1:4])


def test_where_features_tell_nothing_the_largest_penalty_is_chosen():
    few, many = (samples(lambda features, layer: 0 * features[:, 0], n, n, noise=1.0) for n in (12, 4000))
    trained, _ = linear_regression(few, many)
    design = np.column_stack([np.ones(12), few.features.astype(np.float64)])
    solutions = ridge(design.T @ design, design.T @ few.targets[:, 1, 0].astype(np.float64), PENALTIES)
    np.testing.assert_allclose(trained.coefficients[1, 0], solutions[-1][1:], rtol=1e-9)


def test_boosted_trees_find_what_is_not_linear_and_are_the_same_each_time():
    data, held_out, new = (samples(interaction, 2000, seed, 0.1, layers=1) for seed in (0, 1, 2))
    (trained, refitted), (again, _) = (boosted_trees(data, held_out) for _ in range(2))
    linear, _ = linear_regression(data, held_out)
    for lead in (0, 1):
        truth = new.targets[:, lead, 0]
        error, of_refitted, of_linear = (
            np.mean((model(new.features, lead, 0) - truth) ** 2) for model in (trained, refitted, linear)
        )
        assert max(error, of_refitted) < 0.2 * of_linear
        np.testing.assert_array_equal(trained(new.features, lead, 0), again(new.features, lead, 0))


def test_trees_stop_where_the_validation_samples_gain_nothing():
    data, held_out = (samples(lambda features, layer: 0 * features[:, 0], n, n, noise=1.0) for n in (1000, 900))
    trained, refitted = boosted_trees(data, held_out)
    assert trained.boosters[0][0].best_iteration < 60
    assert refitted.boosters[0][0].num_trees() == trained.boosters[0][0].best_iteration


@pytest.mark.parametrize("name", REGRESSIONS)
def test_what_has_no_target_is_not_forecast(name):
    data, held_out = samples(planted, 600), samples(planted, 300, 1)
    targets = data.targets.copy()
    targets[:, 1, 0] = np.nan
    trained, _ = REGRESSIONS[name](RegressionSamples(data.features, targets, WIDTHS), held_out)
    assert np.isnan(trained(data.features[:5], 1, 0)).all()
    assert np.isfinite(trained(data.features[:5], 0, 0)).all()


def test_a_name_that_there_is_not_and_an_extra_that_is_not_installed_are_one_line(monkeypatch):
    refuse_unusable(REGRESSIONS)
    with pytest.raises(SoilcastError, match=r"^no baseline linear to ask for: did you mean linear regression\?$"):
        refuse_unusable(["linear"])
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    refuse_unusable(["linear regression"])
    with pytest.raises(SoilcastError, match=r"pip install 'soilcast\[baselines\]'$"):
        refuse_unusable(["boosted trees"])
