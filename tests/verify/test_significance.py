"""Whether differences are told from chance: known answers, false alarms at the stated rate, planted ones found."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from soilcast.cube import usable_target
from soilcast.verify import evaluate
from soilcast.verify.dayblocks import BLOCK_DAYS, DayBlocks, block_starts, sum_day_blocks
from soilcast.verify.estimates import Estimate, adjust, combine, field_test
from soilcast.verify.significance import UNTRAINED, Sample, take_sample
from soilcast.verify.summary import weighted_mean, weighted_means, weighted_median, weighted_medians
from soilcast.water import WaterConfig
from tests.helpers.forecast_factory import made_cube, made_forecast

Array = npt.NDArray[np.float64]
READINGS = {"consistency_w1": ("single", WaterConfig()), "consistency_w2": ("multi", WaterConfig())}


def red_noise(rng: np.random.Generator, shape: tuple[int, ...], memory: float) -> Array:
    """Noise of variance 1 whose correlation of one day with the next is ``memory``."""
    noise = rng.standard_normal(shape)
    for day in range(1, shape[-1]):
        noise[..., day] = memory * noise[..., day - 1] + np.sqrt(1 - memory**2) * noise[..., day]
    return noise


def summed(observed: Array, predicted: dict[str, Array], block_days: int = BLOCK_DAYS) -> DayBlocks:
    """Day blocks of series ``(cell, day)`` that are in memory."""
    starts = block_starts(observed.shape[1], block_days)
    offset = observed.mean(axis=1)
    y = observed - offset[:, None]
    moments = []
    for values in predicted.values():
        f = values - offset[:, None]
        moments.append([np.add.reduceat(one, starts, axis=1) for one in (np.ones_like(y), y, f, y * y, f * f, y * f)])
    moves = usable_target(observed)
    return DayBlocks(tuple(predicted), offset, moves, np.array(moments).transpose(1, 0, 2, 3), {})


def made_sample(rng: np.random.Generator, cells: int, better: Array | float = 0.0, seeds: int = 3) -> Sample:
    """Two models, trained with some seeds, whose errors differ by seed and day; the first has less error.

    ``better`` is the share of the error's deviation that the first lacks, ``(cell, 1)``.
    """
    days = 366
    observed = 0.3 + 0.05 * red_noise(rng, (cells, days), 0.95)
    shared = red_noise(rng, (cells, days), 0.8)  # what neither of the models can know
    models, rows = {}, {"new": {}, "old": {}}
    for row, seed in itertools.product(rows, range(seeds)):
        own = red_noise(rng, (cells, days), 0.8)
        of_seed = 1 + 0.05 * rng.standard_normal()
        size = 0.02 * of_seed * (1 - better if row == "new" else 1)
        models[f"{row}-{seed}"] = observed + size * (shared + 0.7 * own)
        rows[row][seed] = f"{row}-{seed}"
    return take_sample(summed(observed, models), np.ones(cells), rows, [("new", "old")], resamples=200)


@pytest.mark.slow
def test_scores_from_day_blocks_equal_those_of_evaluate(tmp_path: Path) -> None:
    cube = made_cube(tmp_path / "cube")
    forecasts = [
        made_forecast(tmp_path / "a", cube),
        made_forecast(tmp_path / "b", cube, label="PHY-LSTM", balance="single", noise=0.02, seed=3),
    ]
    expected = evaluate(forecasts, cube, tmp_path / "scores").isel(target=0, lead=0)
    sums = sum_day_blocks(forecasts, cube, READINGS, block_days=10)
    assert list(sums) == [("swvl1", 1)]
    blocks = sums["swvl1", 1]
    assert blocks.models == tuple(expected["model"].to_numpy())
    assert blocks.count == 9
    assert set(blocks.metrics) >= {"r", "rmse", "r2", "kge", "crps", "consistency_w1_masked"}
    for model in blocks.models:
        for metric, values in blocks.scores(model).items():
            np.testing.assert_allclose(values[0], expected[metric].sel(model=model), rtol=1e-9, err_msg=metric)


def test_a_resample_scores_its_days_as_often_as_it_holds_them() -> None:
    rng = np.random.default_rng(0)
    observed = 0.3 + 0.05 * rng.standard_normal((5, 95))
    predicted = observed + 0.02 * rng.standard_normal((5, 95))
    blocks = summed(observed, {"m": predicted}, 30)
    assert blocks.count == 3
    days = np.concatenate([np.arange(0, 31), np.arange(0, 31), np.arange(63, 95)])
    alone = summed(observed[:, days], {"m": predicted[:, days]}, 30)
    resampled = blocks.scores("m", np.array([[2.0, 0.0, 1.0]]))
    for metric, values in alone.scores("m").items():
        np.testing.assert_allclose(resampled[metric], values, rtol=1e-9)


@given(st.integers(1, 800), st.integers(1, 60))
def test_blocks_of_days_cover_all_and_none_is_short(days: int, block_days: int) -> None:
    lengths = np.diff([*block_starts(days, block_days), days])
    assert lengths.sum() == days
    assert lengths.min() >= min(days, block_days)
    assert np.ptp(lengths) <= 1


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_rows_of_weighted_statistics_equal_one_by_one(cells: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(-3, 4, (6, cells)).astype(float)
    values[rng.random(values.shape) < 0.3] = np.nan
    weights = rng.integers(0, 3, cells).astype(float)
    for rows, one in ((weighted_means, weighted_mean), (weighted_medians, weighted_median)):
        np.testing.assert_allclose(rows(values, weights), [one(row, weights) for row in values])


def test_many_seeds_and_no_spread_over_days_is_the_t_test() -> None:
    values = np.random.default_rng(1).normal(0.5, 1, 8)
    found = combine(values, np.zeros(()), 12)
    expected = stats.ttest_1samp(values, 0)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_one_seed_is_the_t_test_over_blocks() -> None:
    blocks = np.random.default_rng(2).normal(0.5, 1, 12)
    resampled = np.random.default_rng(3).multinomial(12, np.full(12, 1 / 12), size=20_000) @ blocks / 12
    found = combine(np.array([blocks.mean()]), resampled.var(), 12)
    assert found.p == pytest.approx(stats.ttest_1samp(blocks, 0).pvalue, rel=0.05)


def test_too_few_blocks_are_not_tested() -> None:
    found = combine(np.array([1.0, 1.1]), np.array(0.01), 5)
    assert found.value == pytest.approx(1.05)
    assert np.isnan([found.low, found.high, found.p, found.detectable]).all()


def test_adjusted_p_values_by_hand() -> None:
    # m = 4, 1 + 1/2 + 1/3 + 1/4 = 25/12: 4 x 25/12 x p_(j) / j is 1/120, 1/6, 0.25 (3rd), 1.25; then least from above.
    p = np.array([[0.09, 0.001], [np.nan, 0.04], [0.6, np.nan]])
    expected = np.array([[0.25, 1 / 120], [np.nan, 1 / 6], [1.0, np.nan]])
    np.testing.assert_allclose(adjust(p), expected, rtol=1e-12)
    # The lower of two neighbours takes the value of the higher where that is less.
    np.testing.assert_allclose(adjust(np.array([0.02, 0.021])), 2 * 1.5 * 0.021 / 2)
    assert np.isnan(adjust(np.array([np.nan]))).all()
    assert adjust(np.array([0.03])) == pytest.approx(0.03)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_adjusted_p_values_are_those_of_the_formula(values: list[float]) -> None:
    p = np.array(values)
    order = np.argsort(p)
    scaled = p[order] * len(p) * (1 / np.arange(1, len(p) + 1)).sum() / np.arange(1, len(p) + 1)
    expected = np.empty_like(p)
    expected[order] = [min(1.0, scaled[rank:].min()) for rank in range(len(p))]
    np.testing.assert_allclose(adjust(p), expected, rtol=1e-12)
    assert (adjust(p) >= p * (1 - 1e-12)).all()


@pytest.mark.parametrize("seeds", [1, 3, 10])
def test_a_difference_as_large_as_the_detectable_one_is_found_in_four_of_five_trials(seeds: int) -> None:
    rng, trials, blocks = np.random.default_rng(9), 20_000, 12
    of_block, of_seed = 1.0, 0.6 * (seeds > 1)

    def trial(planted: float) -> Estimate:
        days = rng.normal(planted, of_block, (blocks, trials))
        trained = days.mean(axis=0) + rng.normal(0, of_seed, (seeds, trials))
        return combine(trained, days.var(axis=0) / blocks, blocks)

    # What one trial states scatters about what follows from the true variances, which is planted here.
    of_days, of_seeds = of_block**2 / blocks, of_seed**2 / seeds
    freedom = (of_days + of_seeds) ** 2 / (of_days**2 / (blocks - 1) + of_seeds**2 / max(seeds - 1, 1))
    planted = (stats.t.ppf(0.975, freedom) + stats.t.ppf(0.8, freedom)) * np.sqrt(of_days + of_seeds)
    found = trial(planted)
    assert np.median(found.detectable) == pytest.approx(planted, rel=0.15)
    assert np.mean(found.p < 0.05) == pytest.approx(0.8, abs=0.05)
    assert np.mean(trial(planted / 2).p < 0.05) < 0.35
    assert np.mean(trial(0.0).p < 0.05) == pytest.approx(0.05, abs=0.02)


@pytest.mark.slow
def test_the_detectable_difference_of_scores_is_found_in_four_of_five_trials() -> None:
    rng, trials = np.random.default_rng(10), 60
    stated = [made_sample(rng, cells=6).compare_over_area("new", "old", "rmse").detectable for _ in range(trials)]
    level = np.mean(made_sample(rng, cells=6).over_area("old", "rmse"))
    planted = float(np.mean(stated) / level)
    found = sum(
        float(made_sample(rng, cells=6, better=planted).compare_over_area("new", "old", "rmse").p) < 0.05
        for _ in range(trials)
    )
    # Of 60 trials 48 are expected; fewer than 38 or more than 57 come by chance in less than one of 500 such tests.
    assert 38 <= found <= 57


@pytest.mark.slow
def test_no_difference_over_the_area_is_declared_as_often_as_stated() -> None:
    rng = np.random.default_rng(4)
    found = {"rmse": 0, "kge": 0, "r2": 0}
    trials = 300
    for _ in range(trials):
        sample = made_sample(rng, cells=6)
        for metric in found:
            found[metric] += bool(sample.compare_over_area("new", "old", metric).p < 0.05)
    # 5 % of 300 is 15; as many as 27 come by chance in less than one of 500 such tests.
    assert max(found.values()) <= 27
    assert min(found.values()) >= 1


@pytest.mark.slow
def test_no_difference_in_any_cell_is_declared_in_few_fields() -> None:
    rng = np.random.default_rng(5)
    trials, significant, alone, cells = 100, 0, 0, 40
    for _ in range(trials):
        sample = made_sample(rng, cells)
        estimate = sample.compare_in_cells("new", "old", "rmse")
        alone += int(np.count_nonzero(estimate.p < 0.05))
        significant += field_test(estimate, "rmse", np.ones(cells)).is_significant
    assert alone / (trials * cells) == pytest.approx(0.05, abs=0.03)
    assert significant <= 12  # 5 of 100 expected


def test_a_planted_difference_is_found_where_it_is() -> None:
    rng = np.random.default_rng(6)
    planted = np.zeros((60, 1))
    planted[:30] = 0.5
    sample = made_sample(rng, 60, planted, seeds=5)
    field = field_test(sample.compare_in_cells("new", "old", "rmse"), "rmse", np.ones(60))
    assert field.is_significant
    assert field.better[:30].mean() > 0.8
    assert field.better[30:].mean() < 0.1
    assert not field.worse.any()
    over_area = sample.compare_over_area("new", "old", "rmse", "mean")
    assert over_area.p < 0.05
    assert over_area.high < 0
    other_way = sample.compare_over_area("old", "new", "rmse", "mean")
    assert float(other_way.value) == pytest.approx(-float(over_area.value))


def test_worse_is_found_as_well_as_better_and_by_the_metrics_sense() -> None:
    p, area = np.array([1e-6, 1e-6, 0.5, np.nan]), np.array([1.0, 2.0, 1.0, 5.0])
    estimate = Estimate(np.array([0.1, -0.1, 0.1, 0.1]), p, p, p, p)
    error, share = field_test(estimate, "rmse", area), field_test(estimate, "kge", area)
    np.testing.assert_array_equal(error.better, [False, True, False, False])
    np.testing.assert_array_equal(error.worse, share.better)
    assert (error.area_better, error.area_worse) == (0.5, 0.25)


def test_the_order_of_cells_and_what_is_held_at_once_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    observed = 0.3 + 0.05 * red_noise(rng, (30, 366), 0.9)
    models = {name: observed + 0.02 * red_noise(rng, (30, 366), 0.7) for name in ("a", "b")}
    area = rng.uniform(1, 2, 30)
    order = rng.permutation(30)
    rows = {"a": {0: "a"}, "b": {UNTRAINED: "b"}}
    found = []
    for cells in (slice(None), order):
        shuffled = {name: values[cells] for name, values in models.items()}
        found.append(take_sample(summed(observed[cells], shuffled), area[cells], rows, [("a", "b")]))
    monkeypatch.setattr("soilcast.verify.significance._MOST_BYTES", 1)
    found.append(take_sample(summed(observed, models), area, rows, [("a", "b")]))
    p = [one.compare_in_cells("a", "b", "rmse").p for one in found]
    np.testing.assert_allclose(p[0][order], p[1], rtol=1e-9)
    np.testing.assert_allclose(p[0], p[2], rtol=1e-9)
    over = [float(one.compare_over_area("a", "b", "kge").p) for one in found]
    assert over == pytest.approx([over[0]] * 3, rel=1e-9)


def test_seeds_that_only_one_model_has_are_left_out_of_the_pair() -> None:
    rng = np.random.default_rng(8)
    observed = 0.3 + 0.05 * red_noise(rng, (5, 366), 0.9)
    models = {name: observed + 0.02 * rng.standard_normal((5, 366)) for name in ("a0", "a1", "a2", "b1", "b2", "p")}
    rows = {"a": {0: "a0", 1: "a1", 2: "a2"}, "b": {1: "b1", 2: "b2"}, "persistence": {UNTRAINED: "p"}}
    sample = take_sample(summed(observed, models), np.ones(5), rows, [("a", "b"), ("a", "persistence")])
    of = {name: sample.cells[name]["rmse"] for name in rows}
    np.testing.assert_allclose(
        sample.compare_in_cells("a", "b", "rmse").value, (of["a"][1:] - of["b"]).mean(axis=0), rtol=1e-12
    )
    np.testing.assert_allclose(
        sample.compare_in_cells("a", "persistence", "rmse").value, (of["a"] - of["persistence"]).mean(axis=0)
    )
