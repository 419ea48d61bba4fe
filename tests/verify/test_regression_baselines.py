"""Regressions as baselines: what a run knows, no day more, the same to the bit whatever the block of cells."""

from __future__ import annotations

import json

import cloudpickle
import numpy as np
import pytest
from typer.testing import CliRunner

from soilcast.cli import app
from soilcast.cube import assemble, cells_of_grid, open_cube, save_cube
from soilcast.cube.contract import GENUINE
from soilcast.errors import SoilcastError
from soilcast.models.baselines import BASELINES
from soilcast.verify import evaluate
from soilcast.verify.blocks import score_on_worker
from soilcast.verify.entries import open_entries
from soilcast.verify.plan import make_plan, open_files
from soilcast.verify.regressions import WITH_WEATHER
from tests.helpers.forecast_factory import DAYS, GRID, ISSUES, LEADS, LEVELS, TEST, made_forecast, refused, valid

LINEAR = "linear regression"
CELLS = len(GRID.index)
TASK = {"dynamic": ["tp"], "static": [], "window": 4, "lead_days": LEADS, "lags": ["swvl1"]}
MEMORY, RESPONSE = 0.9, 2.0


def weather_and_soil(seed=0):
    """Rain, and soil moisture that it alone moves: SM_t - 0.3 = 0.9 (SM_{t-1} - 0.3) + 2 (P_t - 0.003)."""
    rain = np.random.default_rng(seed).exponential(0.003, (CELLS, len(DAYS)))
    soil = np.full(rain.shape, 0.3)
    for day in range(1, len(DAYS)):
        soil[:, day] = 0.3 + MEMORY * (soil[:, day - 1] - 0.3) + RESPONSE * (rain[:, day] - 0.003)
    return rain, soil


def saved(path, rain, soil):
    about = {"title": "rain and soil", "source": "test", "content": "numbers"}
    variables = {"swvl1": soil, "tp": rain, "slthick1": np.full(CELLS, 0.07)}
    cube = assemble(variables, cells=cells_of_grid(GRID), time=DAYS, **about)
    save_cube(cube.assign_attrs({GENUINE: "swvl1"}), path)
    return path


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("cube") / "cube", *weather_and_soil())


def forecast_of(path, cube, *, task, **options):
    config = json.dumps({"task": task, "normalise": {"method": "z_score", "scope": "global"}})
    return made_forecast(path, cube, **{"leads": LEADS, "levels": LEVELS, "config": config} | options)


@pytest.fixture(scope="module")
def forecasts(tmp_path_factory, cube):
    """Of a run that knows the weather of the forecast days, and of one that does not."""
    folder = tmp_path_factory.mktemp("forecasts")
    return [
        forecast_of(
            folder / "weather", cube, task={**TASK, "known_future": ["tp"]}, label="weather", weather="observed"
        ),
        forecast_of(folder / "none", cube, task=TASK, label="none", seed=2),
    ]


def planned(forecasts, cube, names=(LINEAR,)):
    with open_cube(cube) as opened:
        entries = open_entries(forecasts, opened, ())
        return make_plan(entries, opened, cube, {"swvl1": {}}, names)


def forecast_by(plan, label, cells, first_days, *, trained=False):
    with open_files(plan) as files:
        return plan.regressions[label].forecast(files.cube, cells, "swvl1", first_days, trained=trained)


def test_regressions_are_baselines_named_by_what_they_know(cube, forecasts):
    scores = evaluate(forecasts, cube, cube.parent / "named", baselines=[LINEAR])
    assert list(scores["model"].to_numpy()) == ["weather", "none", *BASELINES, LINEAR + WITH_WEATHER, LINEAR]
    np.testing.assert_array_equal(scores["is_baseline"], [False, False] + [True] * 5)
    for label in (LINEAR, LINEAR + WITH_WEATHER):
        assert np.isfinite(scores["rmse"].sel(model=label)).any()
        assert np.isfinite(scores["coverage_90"].sel(model=label)).any()
    # What only rain moves is known to rounding with the rain of the days ahead, and not without it.
    rmse = scores["rmse"].sel(target="swvl1").mean("cell")
    assert (rmse.sel(model=LINEAR + WITH_WEATHER) < 1e-3 * rmse.sel(model=LINEAR)).all()
    assert (rmse.sel(model=LINEAR) < 1.02 * rmse.sel(model="damped anomaly")).all()


def test_a_regression_forecasts_the_expected_soil_moisture(cube, forecasts):
    """Of rain that nobody knows, MEMORY^k of the departure is left after k days."""
    plan = planned(forecasts, cube)
    first_days = np.arange(ISSUES.start + 1, ISSUES.stop + 1)
    found = forecast_by(plan, LINEAR, slice(0, CELLS), first_days)
    with open_cube(cube) as opened:
        newest = opened["swvl1"].to_numpy()[:, ISSUES]
    expected = 0.3 + MEMORY ** np.arange(1, LEADS + 1) * (newest[..., np.newaxis] - 0.3)
    assert found.dtype == np.float32
    spread = RESPONSE * 0.003
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.15 * spread
    with open_cube(cube) as opened:
        truth = valid(opened["swvl1"].to_numpy())
    known = forecast_by(plan, LINEAR + WITH_WEATHER, slice(0, CELLS), first_days)
    np.testing.assert_allclose(known, truth, atol=2e-5)


@pytest.mark.parametrize("label", [LINEAR, LINEAR + WITH_WEATHER])
def test_no_day_beyond_what_the_run_knows_is_seen(tmp_path, cube, forecasts, label):
    first_days = np.array([TEST.start + 20])
    plan = planned(forecasts, cube)
    found = forecast_by(plan, label, slice(0, CELLS), first_days)
    with open_cube(cube) as opened:
        rain, soil = (opened[name].to_numpy().copy() for name in ("tp", "swvl1"))
    other_rain, other_soil = weather_and_soil(seed=9)
    known = first_days[0] + (LEADS if label != LINEAR else 0)
    soil[:, first_days[0] :], rain[:, known:] = other_soil[:, first_days[0] :], other_rain[:, known:]
    altered = saved(tmp_path / "altered", rain, soil)
    with open_cube(altered) as opened:
        again = plan.regressions[label].forecast(opened, slice(0, CELLS), "swvl1", first_days, trained=False)
    np.testing.assert_array_equal(again, found)
    # Of lead k no weather of a later day.
    rain[:, first_days[0] + 1 :] = other_rain[:, first_days[0] + 1 :]
    with open_cube(saved(tmp_path / "later", rain, soil)) as opened:
        again = plan.regressions[label].forecast(opened, slice(0, CELLS), "swvl1", first_days, trained=False)
    np.testing.assert_array_equal(again[..., 0], found[..., 0])
    assert (again[..., 1:] != found[..., 1:]).all() == (label != LINEAR)


@pytest.mark.parametrize("poison", [np.nan, 0.9])
def test_no_test_day_is_learnt_from(tmp_path, cube, forecasts, poison):
    rain, soil = weather_and_soil()
    rain[:, TEST], soil[:, TEST] = poison / 10, poison
    clean, poisoned = planned(forecasts, cube), planned(forecasts, saved(tmp_path / "poisoned", rain, soil))
    for label, regression in clean.regressions.items():
        other = poisoned.regressions[label]
        for mine, theirs in ((regression.trained, other.trained), (regression.refitted, other.refitted)):
            np.testing.assert_array_equal(mine.coefficients, theirs.coefficients)
            np.testing.assert_array_equal(mine.intercept, theirs.intercept)
        first_days = regression.verified_days
        assert first_days[-1] + LEADS == TEST.start
        np.testing.assert_array_equal(
            forecast_by(clean, label, slice(0, CELLS), first_days, trained=True),
            forecast_by(poisoned, label, slice(0, CELLS), first_days, trained=True),
        )


def test_a_fit_to_training_days_knows_nothing_of_validation_days(tmp_path, cube, forecasts):
    rain, soil = weather_and_soil()
    start = int(np.searchsorted(DAYS, np.datetime64("2020-01-01")))
    soil[:, start : TEST.start] = weather_and_soil(seed=7)[1][:, start : TEST.start]
    clean, altered = planned(forecasts, cube), planned(forecasts, saved(tmp_path / "altered", rain, soil))
    for label, regression in clean.regressions.items():
        trained, refitted = altered.regressions[label].trained, altered.regressions[label].refitted
        # But for the penalty, which the validation days choose.
        np.testing.assert_allclose(regression.trained.coefficients, trained.coefficients, atol=0.3)
        assert (regression.refitted.coefficients != refitted.coefficients).any()
    for name, scaling in clean.regressions[LINEAR].statistics.scalings.items():
        np.testing.assert_array_equal(scaling.offset, altered.regressions[LINEAR].statistics.scalings[name].offset)


def test_a_cell_is_forecast_the_same_to_the_bit_in_any_block_and_process(cube, forecasts):
    plan = planned(forecasts, cube)
    first_days = plan.overlap.issued + 1
    for label in plan.regressions:
        whole = forecast_by(plan, label, slice(0, CELLS), first_days)
        for cells in (slice(3, 4), slice(2, 7)):
            assert forecast_by(plan, label, cells, first_days).tobytes() == whole[cells].tobytes()
    here = score_on_worker(plan, slice(0, CELLS))
    there = score_on_worker(cloudpickle.loads(cloudpickle.dumps(plan)), slice(0, CELLS))
    for name, values in here.metrics.items():
        np.testing.assert_array_equal(there.metrics[name], values)


def test_a_run_that_does_not_see_soil_moisture_is_regressed_on_what_it_sees(tmp_path, cube):
    made = forecast_of(tmp_path / "f", cube, task={**TASK, "lags": []}, levels=())
    scores = evaluate([made], cube, tmp_path / "scores", baselines=[LINEAR])
    rmse = scores["rmse"].sel(target="swvl1").mean("cell")
    assert (rmse.sel(model=LINEAR) < rmse.sel(model="climatology")).sel(lead=1)
    assert "baselines" not in scores.attrs
    assert np.isfinite(rmse.sel(model=LINEAR)).all()


def test_boosted_trees_on_the_command_line(tmp_path, cube, forecasts):
    arguments = ["--cube", str(cube), "--out", str(tmp_path / "scores"), "--baseline", "boosted trees"]
    result = CliRunner().invoke(app, ["evaluate", str(forecasts[1]), *arguments, "--baseline", LINEAR])
    assert result.exit_code == 0, result.output
    table = (tmp_path / "scores" / "table.csv").read_text(encoding="utf-8")
    assert "\nboosted trees,swvl1,1," in table
    assert f"\n{LINEAR},swvl1,3," in table


def test_what_cannot_be_fitted_is_refused_in_one_line(tmp_path, cube, forecasts):
    def asked(path, of, name=LINEAR):
        with pytest.raises(SoilcastError) as caught:
            evaluate(of, path, tmp_path / "scores", baselines=[name])
        assert not (tmp_path / "scores").exists()
        return str(caught.value)

    assert asked(cube, forecasts, "persistance").startswith("no baseline persistance to ask for: valid are")
    dry = forecast_of(tmp_path / "dry", cube, task={**TASK, "dynamic": ["tp", "t2m"]})
    assert "no t2m" in asked(cube, [dry])
    assert "give the cube that it was trained on" in asked(cube, [dry])
    late = forecast_of(tmp_path / "late", cube, task=TASK, train_period="2016-01-01:2016-12-31")
    assert "fewer than 30 training days, to which regressions are fitted" in asked(cube, [late])
    wrong = forecast_of(tmp_path / "wrong", cube, task={"window": 0})
    refused([forecasts[0]], tmp_path / "none", tmp_path / "scores", "none")
    assert "task.window" in asked(cube, [wrong])
