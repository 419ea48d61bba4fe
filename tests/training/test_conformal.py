"""Calibration: coverage on data that were held out, ranks by hand, and what happens where samples are few."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save

from soilcast.models.distributions import CMAL, Point
from soilcast.training.conformal import Calibration, apply, calibrate, from_arrays, to_arrays

LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
GROUPS, LEADS, LAYERS = 3, 2, 2


def skewed(samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Errors ``(sample, lead, layer)`` of other width and skewness in each group, lead and layer; their groups."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, GROUPS, samples)
    shape = 0.7 + group[:, np.newaxis, np.newaxis]
    width = (1 + np.arange(LEADS))[:, np.newaxis] * (1 + 0.5 * np.arange(LAYERS))
    noise = rng.gamma(np.broadcast_to(shape, (samples, LEADS, LAYERS))) - 1
    return (noise * width * (1 + group[:, np.newaxis, np.newaxis])).astype(np.float32), group


def narrow(errors: np.ndarray, seed: int) -> np.ndarray:
    """Quantiles that are far too narrow, and differ from sample to sample, ``(..., level)``."""
    rng = np.random.default_rng(seed)
    scale = rng.uniform(0.05, 0.3, errors.shape)[..., np.newaxis]
    return (scale * np.array([-2.0, -1.0, 0.0, 1.0, 2.0])).astype(np.float32)


@pytest.mark.parametrize("point", [True, False])
def test_coverage_of_days_that_were_held_out(point: bool) -> None:
    errors, group = skewed(12000, seed=1)
    later, its_group = skewed(30000, seed=2)
    forecast, new_forecast = (np.zeros((*e.shape, 5), np.float32) if point else narrow(e, 3) for e in (errors, later))
    calibration = calibrate(errors, forecast, LEVELS, group, GROUPS)
    quantiles = calibration.apply(new_forecast, its_group)
    assert quantiles.shape == (30000, LEADS, LAYERS, 5)
    assert (np.diff(quantiles) >= 0).all()
    below = later[..., np.newaxis] <= quantiles
    for number in range(GROUPS):
        share = below[its_group == number].mean(axis=0)  # (lead, layer, level)
        # Two samples of 4000 and 10000 scatter by 0.5 / sqrt(4000) and 0.5 / sqrt(10000) at the middle at most.
        np.testing.assert_allclose(share, np.broadcast_to(LEVELS, share.shape), atol=0.03)
    if not point:  # without it these quantiles are far off
        assert abs((later[..., np.newaxis] <= new_forecast).mean(axis=(0, 1, 2))[-1] - 0.95) > 0.2


def test_a_point_forecast_gets_the_quantiles_of_its_errors() -> None:
    errors = np.arange(1.0, 100.0).reshape(99, 1, 1)  # 1 .. 99: the level p has the rank 100 p
    forecast = Point().quantiles(torch.zeros(99, 1, 1, 0), LEVELS).numpy()
    calibration = calibrate(errors, forecast, LEVELS, np.zeros(99, dtype=int), 1, least=20)
    np.testing.assert_array_equal(calibration.shift[0, 0, 0], [5, 25, 50, 75, 95])


def test_ranks_lean_outwards_by_hand() -> None:
    """Of 10 errors: (n + 1) p is 1.1, 3.3, 5.5, 7.7 and 9.9, and so the ranks 1, 3, 5 and 6, 8, 10."""
    errors = np.arange(1.0, 11.0)[::-1].reshape(10, 1, 1)
    levels = [0.1, 0.3, 0.5, 0.7, 0.9]
    calibration = calibrate(errors, np.zeros((10, 1, 1, 5)), levels, np.zeros(10, dtype=int), 1, least=1)
    np.testing.assert_array_equal(calibration.shift[0, 0, 0], [1, 3, 5.5, 8, 10])


def test_levels_that_are_whole_ranks_are_not_lost_to_rounding() -> None:
    for count in (9, 19, 99, 199, 999):
        levels = np.arange(1, count + 1) / (count + 1)
        errors = np.arange(1.0, count + 1).reshape(count, 1, 1)
        forecast = np.zeros((count, 1, 1, count))
        calibration = calibrate(errors, forecast, levels, np.zeros(count, dtype=int), 1, least=1)
        np.testing.assert_array_equal(calibration.shift[0, 0, 0], np.arange(1, count + 1))


@pytest.mark.parametrize("count", [19, 40, 101])
def test_the_finite_sample_promise(count: int) -> None:
    """Over many calibrations the outer quantiles hold on average what they promise, to within 1 / (n + 1)."""
    rng = np.random.default_rng(count)
    repeats = 4000
    errors = rng.exponential(size=(count, repeats, 1))  # every lead a calibration of its own
    forecast = np.zeros((count, repeats, 1, 2))
    shift = calibrate(errors, forecast, [0.05, 0.9], np.zeros(count, dtype=int), 1, least=1).shift[0, :, 0]
    probability = (1 - np.exp(-shift)).mean(axis=0)
    scatter = 4 * np.sqrt(0.25 / count / repeats)
    assert 0.05 - 1 / (count + 1) - scatter <= probability[0] <= 0.05 + scatter
    assert 0.9 - scatter <= probability[1] <= 0.9 + 1 / (count + 1) + scatter


def test_few_samples_fall_back_to_all() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, -1], [600, 30, 70])
    errors = rng.normal(size=(700, 1, 1)) + 3 * (group == 1)[:, np.newaxis, np.newaxis]
    calibration = calibrate(errors, np.zeros((700, 1, 1, 5)), LEVELS, group, 3, least=100)
    of_all = calibration.shift[-1]
    assert calibration.samples[:, 0, 0].tolist() == [600, 30, 0, 700]
    for number in (1, 2):
        np.testing.assert_array_equal(calibration.shift[number], of_all)
    assert (calibration.shift[0] < of_all).all()
    alone = calibrate(errors[:600], np.zeros((600, 1, 1, 5)), LEVELS, group[:600], 1, least=100)
    np.testing.assert_array_equal(calibration.shift[0], alone.shift[0])


def test_cells_of_no_group_get_the_shift_of_all() -> None:
    shift = np.arange(3.0).reshape(3, 1, 1, 1)  # two groups, and all
    calibration = Calibration(np.array([0.5]), shift, np.ones((3, 1, 1), dtype=np.int64))
    moved = calibration.apply(np.zeros((4, 6, 1, 1, 1), np.float32), np.array([1, -1, 0, -1]))
    assert moved.shape == (4, 6, 1, 1, 1)  # (cell, time, lead, layer, level)
    np.testing.assert_array_equal(moved[:, 3, 0, 0, 0], [1, 2, 0, 2])


def test_missing_values_are_left_out() -> None:
    errors, group = skewed(3000, seed=5)
    forecast = narrow(errors, 6)
    gaps = errors.copy(), forecast.copy()
    gone, unknown = np.arange(3000) % 3 == 0, np.arange(3000) % 3 == 1
    gaps[0][gone, 0, 1], gaps[1][unknown, 1, 0, 2] = np.nan, np.nan
    calibration, whole = (calibrate(*both, LEVELS, group, GROUPS) for both in (gaps, (errors, forecast)))
    np.testing.assert_array_equal(calibration.shift[:, 0, 0], whole.shift[:, 0, 0])
    kept = calibrate(errors[~gone], forecast[~gone], LEVELS, group[~gone], GROUPS)
    np.testing.assert_array_equal(calibration.shift[:, 0, 1], kept.shift[:, 0, 1])
    rest = calibrate(errors[~unknown], forecast[~unknown], LEVELS, group[~unknown], GROUPS)
    np.testing.assert_array_equal(calibration.shift[:, 1, 0], rest.shift[:, 1, 0])


def test_without_any_error_nothing_is_promised() -> None:
    errors = np.full((50, 1, 2), np.nan)
    errors[:, 0, 1] = 1.0
    calibration = calibrate(errors, np.zeros((50, 1, 2, 5)), LEVELS, np.zeros(50, dtype=int), 1)
    moved = calibration.apply(np.zeros((1, 1, 2, 5), np.float32), np.array([0]))
    assert np.isnan(moved[0, 0, 0]).all()
    np.testing.assert_array_equal(moved[0, 0, 1], np.ones(5))


def test_too_few_errors_for_a_rank_give_the_outermost() -> None:
    errors = np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    calibration = calibrate(errors, np.zeros((3, 1, 1, 2)), [0.05, 0.95], np.zeros(3, dtype=int), 1)
    np.testing.assert_array_equal(calibration.shift[0, 0, 0], [1, 3])


def test_quantiles_that_cross_are_ordered() -> None:
    moved = apply(np.array([1.0, 0.0, -1.0]), np.array([[0.0, 0.1, 0.2], [0.0, np.nan, 0.2]], np.float32))
    np.testing.assert_allclose(moved, [[-0.8, 0.1, 1.0], [np.nan] * 3], rtol=1e-6)
    assert moved.dtype == np.float32


@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_calibrated_quantiles_cover_the_samples_that_they_come_from(samples: int, seed: int) -> None:
    """The rank rule on the residuals themselves: p n or more at or below an upper one, p n or fewer under a low."""
    rng = np.random.default_rng(seed)
    errors = np.round(rng.normal(size=(samples, 1, 1)), 1)  # with ties
    forecast = np.zeros((samples, 1, 1, 5))
    calibration = calibrate(errors, forecast, LEVELS, np.zeros(samples, dtype=int), 1, least=1)
    shift = calibration.shift[0, 0, 0]
    assert (np.diff(shift) >= 0).all()
    for level, moved in zip(LEVELS, shift, strict=True):
        if level > 0.5 and (samples + 1) * level <= samples:
            assert (errors <= moved).sum() >= level * samples
        if level < 0.5 and (samples + 1) * level >= 1:
            assert (errors < moved).sum() <= level * samples


def test_a_calibration_survives_the_file_of_weights() -> None:
    errors, group = skewed(2000, seed=7)
    calibration = calibrate(errors, narrow(errors, 8), LEVELS, group, GROUPS)
    arrays = to_arrays(calibration)
    assert set(arrays) == {"calibration.levels", "calibration.shift", "calibration.samples"}
    stored = load(save({name: torch.from_numpy(value) for name, value in arrays.items()}))
    back = from_arrays({name: value.numpy() for name, value in stored.items()})
    for name in ("levels", "shift", "samples"):
        np.testing.assert_array_equal(getattr(back, name), getattr(calibration, name))


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    errors, group = skewed(100, seed=7)
    arrays = to_arrays(calibrate(errors, narrow(errors, 8), LEVELS, group, GROUPS))
    with pytest.raises(KeyError):
        from_arrays({name: value for name, value in arrays.items() if name != "calibration.shift"})
    with pytest.raises(ValueError, match=r"calibration\.shift"):
        from_arrays(arrays | {"calibration.shift": arrays["calibration.shift"][..., :3]})
    with pytest.raises(ValueError, match=r"calibration\.samples"):
        from_arrays(arrays | {"calibration.samples": arrays["calibration.samples"][:1]})
    with pytest.raises(ValueError, match=r"calibration\.levels"):
        from_arrays(arrays | {"calibration.levels": arrays["calibration.levels"][::-1]})


def test_a_mixture_that_is_too_sure_is_widened() -> None:
    """From a head to intervals that hold: CMAL expects errors of one half where they are of one."""
    rng = np.random.default_rng(4)
    forecast = CMAL().quantiles(CMAL().start().expand(20000, 1, 1, 12), LEVELS).numpy()
    errors = rng.normal(size=(20000, 1, 1))
    calibration = calibrate(errors[:8000], forecast[:8000], LEVELS, np.zeros(8000, dtype=int), 1)
    moved = calibration.apply(forecast[8000:], np.zeros(12000, dtype=int))[:, 0, 0]
    held = (errors[8000:, 0, 0] >= moved[:, 0]) & (errors[8000:, 0, 0] <= moved[:, -1])
    assert held.mean() == pytest.approx(0.9, abs=0.012)
