"""Calibration: coverage on data that were held out, ranks by hand, and what happens where samples are few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save
from scipy.stats import norm, spearmanr

from soilcast.models.distributions import CMAL, Point
from soilcast.training import conformal
from soilcast.training.calibration_groups import ALL, GROUPINGS, Grouping, season_of
from soilcast.training.conformal import Calibration, apply, from_arrays, to_arrays
from soilcast.training.copula import rank_templates

LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
GROUPS, LEADS, LAYERS = 3, 2, 2


def calibrate(
    errors: np.ndarray, quantiles: np.ndarray, levels: object, group: np.ndarray, groups: int, least: int = 500
) -> Calibration:
    """Calibrate by groups alone, in the place of cells; in row order: groups that have enough errors, then all."""
    by_group = Grouping("group", least, lambda cell, climate, season: cell + 0 * season)
    climate, season = np.full(groups, -1), np.zeros(errors.shape[:2], dtype=int)
    return conformal.calibrate(errors, quantiles, levels, group, climate, season, (by_group, ALL))  # type: ignore[arg-type]


def rows_of(calibration: Calibration, group: np.ndarray, leads: int) -> np.ndarray:
    """Rows of samples of groups that `calibrate` had, ``(sample, lead)``."""
    return calibration.rows_of(group[:, np.newaxis], np.full((1, 1), -1), np.zeros((1, leads), dtype=int))


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
    quantiles = calibration.apply(new_forecast, rows_of(calibration, its_group, LEADS))
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
    assert calibration.samples[:, 0, 0].tolist() == [600, 700]  # rows that nothing uses are not kept
    assert rows_of(calibration, np.array([0, 1, 2, -1]), 1)[:, 0].tolist() == [0, 1, 1, 1]
    assert (calibration.shift[0] < calibration.shift[1]).all()
    alone = calibrate(errors[:600], np.zeros((600, 1, 1, 5)), LEVELS, group[:600], 1, least=100)
    np.testing.assert_array_equal(calibration.shift[0], alone.shift[0])


def test_each_forecast_gets_the_shift_of_its_row_and_lead() -> None:
    shift = np.arange(6.0).reshape(3, 2, 1, 1)
    row = np.zeros((2 + 6, 4), dtype=np.int32)  # two cells; climates A to E and none
    row[0], row[1], row[2], row[-1] = [0, 1, 2, 0], 1, 2, 2
    samples, template = np.ones((3, 2, 1), dtype=np.int64), np.empty((0, 2, 1), np.float32)
    calibration = Calibration(np.array([0.5]), shift, samples, row, template)
    cell, climate = np.array([0, 1, -1, -1, -1]), np.array([-1, -1, 0, 4, -1])
    season = np.array([[0, 1], [1, 2], [2, 3]])  # (time, lead)
    rows = calibration.rows_of(cell[:, np.newaxis, np.newaxis], climate[:, np.newaxis, np.newaxis], season)
    moved = calibration.apply(np.zeros((5, 3, 2, 1, 1), np.float32), rows)
    expected = [[[0, 3], [2, 5], [4, 1]], [[2, 3]] * 3, [[4, 5]] * 3, [[0, 1]] * 3, [[4, 5]] * 3]
    np.testing.assert_array_equal(moved[..., 0, 0], expected)


def test_seasons_are_those_of_the_valid_day_and_of_the_hemisphere() -> None:
    written = ["2019-11-30", "2019-12-01", "2020-02-29", "2020-03-01", "2020-06-01", "2020-09-01"]
    days = np.array(written, dtype="datetime64[D]")
    assert season_of(days, np.array(50.0)).tolist() == [3, 0, 0, 1, 2, 3]
    assert season_of(days, np.array(-33.0)).tolist() == [1, 2, 2, 3, 0, 1]
    ahead = days[:, np.newaxis] + np.arange(2)
    found = season_of(ahead, np.array([10.0, -10.0])[:, np.newaxis, np.newaxis])
    assert found.shape == (2, 6, 2)
    assert found[:, 0].tolist() == [[3, 0], [1, 2]]


def planted(days: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors of 6 cells ``(sample, lead, 1)``, their cells and seasons; cell 2 in spring is biased and errs by more."""
    rng = np.random.default_rng(seed)
    cell, day = (one.ravel() for one in np.indices((6, days)))
    season = np.stack([day % 4, (day + 1) % 4], axis=1)
    errors = rng.normal(size=season.shape)
    errors = np.where((cell == 2)[:, np.newaxis] & (season == 1), 2 * errors + 1, errors)
    return errors[..., np.newaxis], cell, season


def test_calibration_of_cells_and_seasons_mends_a_cell_and_season_that_others_hide() -> None:
    (errors, cell, season), (later, its_cell, its_season) = planted(4000, 1), planted(8000, 2)
    climate, zeros = np.zeros(6, dtype=int), np.zeros((*errors.shape, 5))
    coverage = {}
    for name, groupings in (("of each", GROUPINGS), ("of all", (ALL,))):
        calibration = conformal.calibrate(errors, zeros, LEVELS, cell, climate, season, groupings)
        rows = calibration.rows_of(its_cell[:, np.newaxis], climate[its_cell, np.newaxis], its_season)
        quantiles = calibration.apply(np.zeros((*later.shape, 5), np.float32), rows)
        held = (later >= quantiles[..., 0]) & (later <= quantiles[..., -1])
        coverage[name] = [
            [held[(its_cell == one)[:, np.newaxis] & (its_season == of)].mean() for of in range(4)] for one in range(6)
        ]
    # Of 1000 errors, and of 4000 that are forecast: 4 sqrt(0.09 / 1000) at most.
    np.testing.assert_allclose(coverage["of each"], 0.9, atol=0.04)
    assert coverage["of all"][2][1] < 0.7


def test_what_has_too_few_errors_is_calibrated_with_more_alike() -> None:
    """From cell and season to all: each step is the first of its groups that is large enough."""
    counts = {(0, 0): 460, (0, 1): 300, (1, 0): 440, (2, 0): 10, (3, 2): 500, (4, 2): 390, (5, 3): 20}
    climates = np.array([0, 0, 0, 1, 2, 3, 4])
    cell, season = (np.repeat([key[part] for key in counts], list(counts.values())) for part in (0, 1))
    errors = np.random.default_rng(0).normal(size=(len(cell), 1, 1))
    found = conformal.calibrate(errors, np.zeros((*errors.shape, 5)), LEVELS, cell, climates, season[:, np.newaxis])
    samples = found.samples[:, 0, 0]

    def count(of: int, climate: int, at: int) -> int:
        return int(samples[found.rows_of(np.array(of), np.array(climate), np.array(at))])

    assert count(0, 0, 0) == 460  # cell and season
    assert count(0, 0, 1) == 760  # cell
    assert count(1, 0, 0) == 910  # climate and season
    assert count(1, 0, 3) == 1210  # climate
    assert count(3, 1, 2) == 500  # cell and season
    assert count(4, 2, 2) == 890  # season
    assert count(5, 3, 3) == len(cell)  # all
    assert count(-1, 0, 0) == 910  # a cell that the run does not know: its climate
    assert count(-1, 4, 2) == count(-1, -1, 2) == 890
    assert count(-1, -1, 3) == len(cell)
    # Climate 1 is cell 3, and season 0 climate 0: groups of as many errors. No row is kept that nothing uses.
    assert sorted(samples.tolist()) == [460, 500, 500, 760, 890, 910, 910, 1210, len(cell)]


def test_a_group_without_a_rank_for_each_level_is_not_calibrated_by_itself() -> None:
    cell, season = np.repeat([0, 1], 500), np.zeros((1000, 1), dtype=int)
    errors = np.random.default_rng(0).normal(size=(1000, 1, 1))
    for level, rows in ((0.01, 2), (0.001, 1)):  # 99 and 999 errors
        levels = [level, 0.5]
        found = conformal.calibrate(errors, np.zeros((1000, 1, 1, 2)), levels, cell, np.zeros(2, int), season)
        of_cells = found.row[:2, 0].tolist()
        assert len(set(of_cells)) == rows
        assert not [line for line in found.notes() if "not calibrated" in line]


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
    moved = calibration.apply(np.zeros((1, 1, 2, 5), np.float32), rows_of(calibration, np.array([0]), 1))
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


_NAMES = ("levels", "shift", "samples", "row", "template")


def test_a_calibration_survives_the_file_of_weights() -> None:
    errors, group = skewed(2000, seed=7)
    quantiles = narrow(errors, 8)
    calibration = replace(
        calibrate(errors, quantiles, LEVELS, group, GROUPS), template=rank_templates(errors, quantiles, LEVELS, 0)
    )
    arrays = to_arrays(calibration)
    assert set(arrays) == {f"calibration.{name}" for name in _NAMES}
    stored = load(save({name: torch.from_numpy(value) for name, value in arrays.items()}))
    back = from_arrays({name: value.numpy() for name, value in stored.items()})
    for name in _NAMES:
        np.testing.assert_array_equal(getattr(back, name), getattr(calibration, name))
        assert getattr(back, name).dtype == getattr(calibration, name).dtype


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    errors, group = skewed(100, seed=7)
    arrays = to_arrays(calibrate(errors, narrow(errors, 8), LEVELS, group, GROUPS))
    with pytest.raises(KeyError):
        from_arrays({name: value for name, value in arrays.items() if name != "calibration.shift"})
    for name, change in (
        ("shift", lambda one: one[..., :3]),
        ("samples", lambda one: one[:0]),
        ("levels", lambda one: one[::-1]),
        ("row", lambda one: one[:, :3]),
        ("row", lambda one: one + 1),
        ("row", lambda one: one[:5]),
        ("template", lambda one: one[:, :1]),
    ):
        with pytest.raises(ValueError, match=rf"calibration\.{name}"):
            from_arrays(arrays | {f"calibration.{name}": change(arrays[f"calibration.{name}"])})


# ---------------------------------------------------------------- how the leads depend on each other


def test_rank_templates_are_the_ranks_of_complete_days() -> None:
    errors = np.array([[3.0, 1], [1, 2], [2, np.nan], [np.nan, 5], [0, 4]])[..., np.newaxis]
    quantiles = np.tile([-1.0, 0, 1], (5, 2, 1, 1))
    found = rank_templates(errors, quantiles, np.array([0.25, 0.5, 0.75]), seed=0)
    assert found.dtype == np.float32
    expected = np.array([[5, 1], [3, 3], [1, 5]]) / 6  # of the days 0, 1 and 4, all beyond 0 .. 1 but the last
    np.testing.assert_allclose(sorted(found[:, :, 0].tolist()), sorted(expected.tolist()), rtol=1e-6)


def test_templates_hold_the_dependence_and_not_the_width() -> None:
    """Independent leads of cells that err by 0.1 and by 1: ranks of errors go together, those of transforms do not."""
    rng = np.random.default_rng(3)
    width = np.where(rng.integers(0, 2, 4000) == 1, 0.1, 1.0)[:, np.newaxis, np.newaxis]
    errors = width * rng.normal(size=(4000, 2, 1))
    quantiles = np.repeat(width[..., np.newaxis] * norm.ppf(LEVELS), 2, axis=1)
    alone = rank_templates(errors, quantiles, LEVELS, seed=0, most=2000)[..., 0]
    errors[:, 1] = width[:, 0] * (0.8 * errors[:, 0] / width[:, 0] + 0.6 * rng.normal(size=(4000, 1)))
    together = rank_templates(errors, quantiles, LEVELS, seed=0, most=2000)[..., 0]
    for templates, rho in ((alone, 0.0), (together, 6 / np.pi * np.arcsin(0.4))):
        assert spearmanr(*templates.T).statistic == pytest.approx(rho, abs=0.08)
        far = np.abs(templates - 0.5)
        assert abs(spearmanr(*far.T).statistic) < (0.08 if rho == 0 else 1)
    for lead in range(2):
        np.testing.assert_allclose(np.sort(alone[:, lead]), (np.arange(2000) + 0.5) / 2000, rtol=1e-5)


def test_templates_are_chosen_by_the_seed_alone() -> None:
    errors, _ = skewed(1500, seed=1)
    quantiles = narrow(errors, 2)
    one, again, other = (rank_templates(errors, quantiles, LEVELS, seed) for seed in (0, 0, 1))
    assert one.shape == (500, LEADS, LAYERS)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_no_complete_day_and_a_single_level_give_no_template() -> None:
    errors = np.random.default_rng(0).normal(size=(50, 2, 1))
    assert rank_templates(errors, np.zeros((50, 2, 1, 1)), np.array([0.5]), 0).shape == (0, 2, 1)
    errors[::2, 0], errors[1::2, 1] = np.nan, np.nan
    assert rank_templates(errors, np.zeros((50, 2, 1, 5)), LEVELS, 0).shape == (0, 2, 1)
    calibration = calibrate(errors, np.zeros((50, 2, 1, 5)), LEVELS, np.zeros(50, dtype=int), 1)
    assert any("no validation cell-day is observed at all leads" in line for line in calibration.notes())


def test_a_mixture_that_is_too_sure_is_widened() -> None:
    """From a head to intervals that hold: CMAL expects errors of one half where they are of one."""
    rng = np.random.default_rng(4)
    forecast = CMAL().quantiles(CMAL().start().expand(20000, 1, 1, 12), LEVELS).numpy()
    errors = rng.normal(size=(20000, 1, 1))
    calibration = calibrate(errors[:8000], forecast[:8000], LEVELS, np.zeros(8000, dtype=int), 1)
    moved = calibration.apply(forecast[8000:], rows_of(calibration, np.zeros(12000, dtype=int), 1))[:, 0, 0]
    held = (errors[8000:, 0, 0] >= moved[:, 0]) & (errors[8000:, 0, 0] <= moved[:, -1])
    assert held.mean() == pytest.approx(0.9, abs=0.012)
