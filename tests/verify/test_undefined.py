"""Where a score is not defined: one rule, by which `evaluate` and the sums over blocks of days give NaN alike."""

from __future__ import annotations

import numpy as np
import pytest

from soilcast.cube import open_cube, save_cube, usable_target
from soilcast.cube.check import SMALLEST_ERROR
from soilcast.verify import evaluate, score_cells, summarise
from soilcast.verify.dayblocks import sum_day_blocks
from soilcast.verify.kernels import ratio_over, skill_over
from tests.helpers.forecast_factory import TEST, made_cube, made_forecast

RATIOS = ("r", "r2", "kge")
FROZEN, JUMP = 0, 1
"""A cell whose test days hardly move, and one that moves by one step alone, so that persistence hardly errs."""


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Scores and sums of a cube with both cells."""
    folder = tmp_path_factory.mktemp("undefined")
    with open_cube(made_cube(folder / "source")) as opened:
        cube = opened.load()
    moisture = cube["swvl1"].to_numpy()
    rng = np.random.default_rng(0)
    moisture[FROZEN, TEST] = 0.3 + 4e-7 * rng.standard_normal(TEST.stop - TEST.start)
    moisture[JUMP, TEST] = np.where(np.arange(TEST.stop - TEST.start) < 40, 0.3, 0.302)
    save_cube(cube, folder / "cube")
    forecast = made_forecast(folder / "forecast", folder / "cube")
    return evaluate([forecast], folder / "cube", folder / "scores"), sum_day_blocks([forecast], folder / "cube", {})


def test_a_cell_that_hardly_moves_has_no_ratio_in_evaluate_nor_in_the_sums_over_days(evaluated):
    scores, sums = evaluated
    blocks = sums["swvl1", 1]
    for label in ("LSTM", "persistence", "climatology"):
        found = scores.sel(model=label, target="swvl1", lead=1)
        summed = blocks.scores(label)
        for name in (*RATIOS, "kge_2012", "skill", "ratio"):
            assert np.isnan(found[name][FROZEN]), (label, name)
        for name in RATIOS:
            np.testing.assert_array_equal(np.isnan(summed[name][0]), np.isnan(found[name]), err_msg=name)
            np.testing.assert_allclose(summed[name][0], found[name], rtol=1e-6, atol=1e-7, err_msg=name)
        assert np.isfinite(found["rmse"][FROZEN])
    resampled = blocks.scores("LSTM", np.ones((3, blocks.count)))
    assert np.isnan(resampled["r2"][:, FROZEN]).all()
    assert np.isfinite(resampled["r2"][:, JUMP]).all()


def test_what_is_undefined_is_counted(evaluated):
    row = summarise(evaluated[0]).loc[("LSTM", "swvl1", 1)]
    assert row["rmse_cells"] == row["cells"] == 7
    assert row["r2_cells"] == row["skill_cells"] == 6
    assert row["skill_mean"] > -1e4


def test_nothing_is_compared_with_a_reference_that_errs_by_rounding():
    reference = np.array([0.0, 0.9 * SMALLEST_ERROR, SMALLEST_ERROR, 0.02, 0.02])
    moves = np.array([True, True, True, True, False])
    nan = np.nan
    np.testing.assert_allclose(ratio_over(np.full(5, 0.01), reference, moves), [nan, nan, 1000, 0.5, nan])
    np.testing.assert_allclose(skill_over(np.full(5, 0.01), reference, moves), [nan, nan, 1 - 1e6, 0.75, nan])


@pytest.mark.parametrize("days", [2, 30, 4000])
@pytest.mark.parametrize("step", [0.0, 5e-4, 9.9e-4, 1.1e-3, 0.2])
def test_the_rule_is_that_of_usable_cells_whatever_the_variance(days, step):
    observed = np.full((2, days), 0.25, dtype=np.float32)
    observed[0, days // 2] += np.float32(step)
    observed[1, ::2] += np.float32(step)
    predicted = np.linspace(0.2, 0.3, 2 * days, dtype=np.float32).reshape(2, days)
    np.testing.assert_array_equal(np.isfinite(score_cells(observed, predicted)["r2"]), usable_target(observed))
    assert usable_target(observed).all() == (step > 1e-3)
