"""Scores in blocks of cells: the same to the bit for any block, in little memory, with faults told of all together."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import xarray as xr

from soilcast.cube import open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.verify import dayblocks, evaluate
from soilcast.verify.blocks import score_on_worker
from soilcast.verify.consistency import choose_balance
from soilcast.verify.entries import open_entries
from soilcast.verify.plan import make_plan
from soilcast.water import WaterConfig
from tests.helpers.forecast_factory import DAYS, TEST, altered, made_forecast, refused
from tests.helpers.small import small_cube

EVALUATE = import_module("soilcast.verify.evaluate")  # by its name, since the package shows the function


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A cube of 200 cells, its forecast, and its folder; not to be changed."""
    folder = tmp_path_factory.mktemp("wide")
    save_cube(small_cube(cells=200, days=len(DAYS), start="2019-01-01"), folder / "cube")
    made_forecast(folder / "forecast", folder / "cube", balance="multi")
    return folder


@pytest.fixture
def block_of(monkeypatch):
    """Set the number of cells a block."""
    return lambda cells: monkeypatch.setattr(EVALUATE, "block_size", lambda *_: cells)


@pytest.mark.slow
def test_any_block_of_cells_gives_the_same_scores(tmp_path, wide, block_of):
    made = []
    for cells in (4096, 64, 128, 1):
        block_of(cells)
        made.append(evaluate([wide / "forecast"], wide / "cube", tmp_path / str(cells)))
    for other in made[1:]:
        other.attrs["provenance"] = made[0].attrs["provenance"]
        xr.testing.assert_identical(other, made[0])
    assert np.isfinite(made[0]["consistency_w2_masked"][0]).all()


def test_any_block_of_cells_gives_the_same_sums(wide, monkeypatch):
    made = []
    for cells in (4096, 64, 1):
        monkeypatch.setattr(dayblocks, "block_size", lambda *_, cells=cells: cells)
        readings = {"consistency_w1": ("single", WaterConfig())}
        made.append(dayblocks.sum_day_blocks([wide / "forecast"], wide / "cube", readings, block_days=20))
    for other in made[1:]:
        for key, sums in made[0].items():
            np.testing.assert_array_equal(other[key].offset, sums.offset)
            np.testing.assert_array_equal(other[key].moments, sums.moments)
            for name, followed in sums.daily.items():
                np.testing.assert_array_equal(other[key].daily[name], followed, err_msg=name)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_cells(tmp_path, wide, block_of):
    block_of(64)
    evaluate([wide / "forecast"], wide / "cube", tmp_path / "scores")  # what is imported and kept comes first
    peaks = []
    for cells in (64, 200):
        with open_cube(wide / "cube") as opened:
            save_cube(opened.isel(cell=slice(0, cells)), tmp_path / f"cube{cells}")
        made_forecast(tmp_path / f"forecast{cells}", tmp_path / f"cube{cells}")
        found = []
        for _ in range(2):  # what other threads of the process take for a moment counts too
            tracemalloc.start()
            given = [tmp_path / f"forecast{cells}"], tmp_path / f"cube{cells}", tmp_path / f"scores{cells}"
            evaluate(*given, overwrite=True)
            found.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        peaks.append(min(found))
    observations = 4 * len(DAYS) * (200 - 64)
    assert peaks[1] - peaks[0] < observations, peaks


@pytest.mark.slow
def test_whether_anything_is_left_to_score_is_told_of_all_blocks_together(tmp_path, wide, block_of):
    gappy = with_values(
        wide / "forecast", tmp_path / "gappy", lambda values: values.where(values["cell"] >= cell(wide, 64))
    )
    block_of(64)
    scores = evaluate([wide / "forecast", gappy], wide / "cube", tmp_path / "scores")
    np.testing.assert_array_equal(scores["days"][0, 0] > 0, np.arange(200) >= 64)
    assert scores.attrs["cells_scored"] == 136
    late = with_values(
        wide / "forecast", tmp_path / "late", lambda values: values.where(values["cell"] < cell(wide, 64))
    )
    refused(
        [gappy, late], wide / "cube", tmp_path / "none", "late: no cell-day of swvl1 to score: LSTM (late) has no value"
    )


def cell(folder, position):
    with open_cube(folder / "cube") as opened:
        return int(opened["cell"][position])


def with_values(forecast, path, change):
    return altered(forecast, path, lambda one: one.assign(swvl1=change(one["swvl1"])))


@pytest.mark.slow
def test_a_cube_without_observations_in_the_test_period_is_named(tmp_path):
    moisture = small_cube(cells=4, days=len(DAYS), start="2019-01-01")["swvl1"].to_numpy().copy()
    moisture[:, TEST] = np.nan
    save_cube(small_cube(cells=4, days=len(DAYS), start="2019-01-01", swvl1=moisture), tmp_path / "cube")
    forecast = made_forecast(tmp_path / "f.zarr", tmp_path / "cube")
    words = ("cube: it has no observation of swvl1 on the days that", "f.zarr forecasts")
    refused([forecast], tmp_path / "cube", tmp_path / "scores", *words)


@pytest.mark.slow
def test_a_baseline_that_knows_nothing_is_named_with_the_cube(tmp_path):
    moisture = small_cube(cells=4, days=len(DAYS), start="2019-01-01")["swvl1"].to_numpy().copy()
    moisture[:, : TEST.start] = np.nan
    save_cube(small_cube(cells=4, days=len(DAYS), start="2019-01-01", swvl1=moisture), tmp_path / "cube")
    forecast = made_forecast(tmp_path / "f.zarr", tmp_path / "cube")
    words = ("cube: no cell-day of swvl1 to score: damped anomaly has no value",)
    refused([forecast], tmp_path / "cube", tmp_path / "scores", *words)


def test_files_that_change_under_way_are_told(wide):
    with open_cube(wide / "cube") as opened:
        entries = open_entries([wide / "forecast"], opened, reserved=())
        plan = make_plan(entries, opened, wide / "cube", choose_balance(entries, opened).readings)
    changed = replace(plan, fingerprints=plan.fingerprints | {(wide / "forecast").absolute(): "another"})
    score_on_worker(plan, slice(0, 64))
    with pytest.raises(SoilcastError, match="forecast: it changed during the evaluation"):
        score_on_worker(changed, slice(0, 64))


@pytest.mark.slow
def test_progress_is_shown_if_wished(tmp_path, wide, block_of, capsys, monkeypatch):
    monkeypatch.setattr("soilcast.progress._EVERY", 0.0)  # a line for each unit: the tests have no terminal
    block_of(64)
    evaluate([wide / "forecast"], wide / "cube", tmp_path / "quiet")
    assert capsys.readouterr().err == ""
    evaluate([wide / "forecast"], wide / "cube", tmp_path / "shown", progress=True)
    assert "4/4" in capsys.readouterr().err
