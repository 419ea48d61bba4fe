"""Forecasts: the right day, no look ahead, the same for any block and any order of cells, and faults named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from small import small_cube
from soilcast.cube import open_artifact, save_cube
from soilcast.errors import SoilcastError
from soilcast.forecasting import forecast
from soilcast.training import load_config, open_run, train

QUICK = ["train.epochs=2", "train.validate_every=1", "train.batches_per_epoch=10", "network.hidden_size=8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("forecasting")
    save_cube(small_cube(cells=10, days=800), path / "cube")
    train(path / "cube", path / "run", load_config(settings=QUICK))
    train(path / "cube", path / "global", load_config(settings=[*QUICK, "normalise.scope=global"]))
    return path


def test_every_cell_and_day_of_the_test_year_is_forecast(folder: Path, tmp_path: Path) -> None:
    result = forecast(folder / "run", folder / "cube", tmp_path / "forecast")
    assert result["swvl1"].dims == ("cell", "time")
    assert result["swvl1"].shape == (10, 366)
    assert np.isfinite(result["swvl1"]).all()
    opened = open_artifact(tmp_path / "forecast", "forecast")
    xr.testing.assert_identical(opened["swvl1"].load(), result["swvl1"])
    assert opened.attrs["label"] == "LSTM"
    assert json.loads(opened.attrs["config"])["model"] == "lstm"
    assert len(json.loads(opened.attrs["training_log"])) == 2


def test_a_forecast_is_what_the_network_says_of_the_seven_days_before(folder: Path, tmp_path: Path) -> None:
    result = forecast(folder / "run", folder / "cube", tmp_path / "forecast")
    run, cube = open_run(folder / "run"), small_cube(cells=10, days=800)
    cell, day = 3, 500
    inputs = run.config.inputs
    seen = [
        run.scalings[name].of_cells(slice(cell, cell + 1)).normalise(cube[name][cell : cell + 1].to_numpy())
        for name in inputs.dynamic
    ]
    fixed = [run.scalings[name].normalise(cube[name].to_numpy())[cell] for name in inputs.static]
    window = np.stack([np.concatenate([[one[0, step] for one in seen], fixed]) for step in range(day - 7, day)])
    with torch.inference_mode():
        said = run.networks[0](torch.tensor(window[None], dtype=torch.float32)).item()
    scaling = run.scalings["swvl1"]
    expected = said * scaling.scale[cell] + scaling.offset[cell]
    position = int(np.flatnonzero(result["time"].to_numpy() == cube["time"].to_numpy()[day])[0])
    assert float(result["swvl1"][cell, position]) == pytest.approx(expected, abs=1e-6)


def test_the_day_itself_and_the_days_after_do_not_matter(folder: Path, tmp_path: Path) -> None:
    changed = small_cube(cells=10, days=800)
    for name in changed.data_vars:
        if "time" in changed[name].dims:
            changed[name][:, 600:] = changed[name][:, 600:] * 0.9
    save_cube(changed, tmp_path / "changed")
    before = forecast(folder / "run", folder / "cube", tmp_path / "a")["swvl1"].to_numpy()
    after = forecast(folder / "run", tmp_path / "changed", tmp_path / "b")["swvl1"].to_numpy()
    # Day 600 is number 166 of the test year; its forecast uses the days up to 599.
    np.testing.assert_array_equal(before[:, :167], after[:, :167])
    assert not np.array_equal(before[:, 167:], after[:, 167:])


def test_any_block_of_cells_gives_the_same(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = forecast(folder / "run", folder / "cube", tmp_path / "whole")["swvl1"]
    monkeypatch.setattr("soilcast.forecasting.CELLS_AT_ONCE", 3)
    parts = forecast(folder / "run", folder / "cube", tmp_path / "parts")["swvl1"]
    np.testing.assert_allclose(parts, whole, atol=1e-6)


def test_any_order_of_cells_gives_the_same(folder: Path, tmp_path: Path) -> None:
    order = np.array([7, 2, 9, 0])
    save_cube(small_cube(cells=10, days=800).isel(cell=order), tmp_path / "some")
    whole = forecast(folder / "run", folder / "cube", tmp_path / "a")["swvl1"].to_numpy()
    some = forecast(folder / "run", tmp_path / "some", tmp_path / "b")["swvl1"].to_numpy()
    np.testing.assert_allclose(some, whole[order], atol=1e-6)


def test_a_missing_day_is_a_missing_forecast(folder: Path, tmp_path: Path) -> None:
    rain = small_cube(cells=10, days=800)["tp"].to_numpy().copy()
    rain[4, 600] = np.nan
    save_cube(small_cube(cells=10, days=800, tp=rain), tmp_path / "cube")
    missing = np.isnan(forecast(folder / "run", tmp_path / "cube", tmp_path / "a")["swvl1"].to_numpy())
    assert missing.sum() == 7
    assert missing[4, 167:174].all()


def test_netcdf_by_its_name(folder: Path, tmp_path: Path) -> None:
    result = forecast(folder / "run", folder / "cube", tmp_path / "forecast.nc", period="2019-06")
    opened = open_artifact(tmp_path / "forecast.nc", "forecast")
    assert opened["time"].size == 30
    xr.testing.assert_allclose(opened["swvl1"].load(), result["swvl1"])


def test_a_global_run_forecasts_cells_that_it_has_not_seen(folder: Path, tmp_path: Path) -> None:
    save_cube(small_cube(cells=6, days=800, seed=9, grid=False), tmp_path / "other")
    assert np.isfinite(forecast(folder / "global", tmp_path / "other", tmp_path / "a")["swvl1"]).all()
    with pytest.raises(SoilcastError, match=r"not among those of .*normalise\.scope=global"):
        forecast(folder / "run", tmp_path / "other", tmp_path / "b")


@pytest.mark.parametrize(
    ("drop", "period", "expected"),
    [(("q",), None, "no q"), ((), "2031", "is outside the cube"), ((), "2018-13", "is not a period")],
)
def test_what_cannot_be_forecast_is_named(
    folder: Path, tmp_path: Path, drop: tuple[str, ...], period: str | None, expected: str
) -> None:
    save_cube(small_cube(cells=10, days=800, drop=drop), tmp_path / "cube")
    with pytest.raises(SoilcastError, match=expected):
        forecast(folder / "run", tmp_path / "cube", tmp_path / "out", period=period)
    assert [path.name for path in tmp_path.iterdir()] == ["cube"]
