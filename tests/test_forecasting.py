"""Forecasts: the right day, no look ahead, the same for any block and any order of cells, and faults named."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from networks import register_gru
from small import small_cube
from soilcast.cube import open_artifact, save_cube
from soilcast.errors import SoilcastError
from soilcast.forecasting import forecast
from soilcast.forecasting.stream import ForecastStream
from soilcast.training import load_config, open_run, train
from soilcast.training.run import save_run

# A child that is gone at the moment when the forecast, or what it replaces, has been moved.
GONE_WHILE_MOVING = """
import os, sys
from pathlib import Path
from soilcast import files
from soilcast.forecasting import forecast
run, cube, out, moment = sys.argv[1:]
rename, exchange = Path.rename, files.exchange
def rename_and_go(self, to):
    rename(self, to)
    if Path(out) == (Path(to) if moment == "to" else self):
        os._exit(9)
def exchange_and_go(one, other):
    if moment != "swap":
        return False
    assert exchange(one, other)
    os._exit(9)
Path.rename, files.exchange = rename_and_go, exchange_and_go
forecast(run, cube, out, overwrite=moment != "to")
"""

QUICK = ["train.epochs=2", "train.validate_every=1", "train.batches_per_epoch=10", "network.hidden_size=8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("forecasting")
    save_cube(small_cube(cells=10, days=800), path / "cube")
    train(path / "cube", path / "run", load_config(settings=QUICK))
    train(path / "cube", path / "global", load_config(settings=[*QUICK, "normalise.scope=global"]))
    train(path / "cube", path / "ensemble", load_config(settings=[*QUICK, "train.ensemble=3"]))
    with pytest.MonkeyPatch.context() as patch:
        register_gru(patch)
        train(path / "cube", path / "gru", load_config(settings=QUICK, model="gru"))
    return path


@pytest.fixture(autouse=True)
def _gru(monkeypatch: pytest.MonkeyPatch) -> None:
    register_gru(monkeypatch)


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


@pytest.mark.parametrize("moment", ["to", "from", "swap"])
def test_killed_while_it_moves_to_its_place_it_is_gone_on_with(folder: Path, tmp_path: Path, moment: str) -> None:
    out = tmp_path / "forecast"
    if moment != "to":
        forecast(folder / "ensemble", folder / "cube", out)
    expected = forecast(folder / "run", folder / "cube", tmp_path / "expected")
    command = [sys.executable, "-c", GONE_WHILE_MOVING, folder / "run", folder / "cube", out, moment]
    assert subprocess.run(list(map(str, command)), check=False, timeout=120).returncode == 9
    assert out.exists() == (moment != "from")
    blocks = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ForecastStream, "write", lambda self, number, values: blocks.append(number))
        xr.testing.assert_equal(forecast(folder / "run", folder / "cube", out, resume=True), expected)
    assert not blocks


def test_what_is_noted_without_a_store_is_made_anew(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "forecast"
    command = [sys.executable, "-c", GONE_WHILE_MOVING, folder / "run", folder / "cube", out, "to"]
    subprocess.run(list(map(str, command)), check=False, timeout=120)
    out.rename(tmp_path / "elsewhere")
    again = forecast(folder / "run", folder / "cube", out, resume=True)
    xr.testing.assert_equal(again, open_artifact(tmp_path / "elsewhere", "forecast"))


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


@pytest.mark.parametrize("model", ["run", "gru", "ensemble"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_any_block_of_cells_gives_the_same_bits(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, precision: str
) -> None:
    # Ten cells of ten days in groups of two, in blocks of 2, 4 and 8 cells and in one.
    monkeypatch.setattr("soilcast.forecasting.blocks._WINDOWS_AT_ONCE", {"cpu": 20})
    made = []
    for size in (2, 4, 8, 4096):
        monkeypatch.setattr("soilcast.forecasting.next_day.block_size", lambda *_, size=size: size)
        options = {"period": "2019-05-01:2019-05-10", "precision": precision}
        made.append(forecast(folder / model, folder / "cube", tmp_path / f"{size}", **options)["swvl1"].to_numpy())
    for other in made[1:]:
        np.testing.assert_array_equal(made[0], other)


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


def test_an_ensemble_forecasts_the_mean_of_its_members(folder: Path, tmp_path: Path) -> None:
    whole = forecast(folder / "ensemble", folder / "cube", tmp_path / "whole")["swvl1"].to_numpy()
    run = open_run(folder / "ensemble")
    members = []
    for number, network in enumerate(run.networks):
        alone = replace(run, networks=[network], config=load_config(settings=QUICK))
        (tmp_path / str(number)).mkdir()
        save_run(tmp_path / str(number), alone)
        members.append(forecast(tmp_path / str(number), folder / "cube", tmp_path / f"f{number}")["swvl1"].to_numpy())
    np.testing.assert_allclose(whole, np.mean(members, axis=0), atol=1e-6)
    assert np.abs(members[0] - members[1]).max() > 1e-4


def test_what_bfloat16_costs_is_measured(folder: Path, tmp_path: Path) -> None:
    exact = forecast(folder / "run", folder / "cube", tmp_path / "exact")
    rounded = forecast(folder / "run", folder / "cube", tmp_path / "rounded", precision="bfloat16")
    away = rounded["swvl1"].to_numpy().astype(float) - exact["swvl1"].to_numpy()
    assert "bfloat16_rmse" not in exact.attrs
    assert 0 < rounded.attrs["bfloat16_rmse"] == pytest.approx(np.sqrt(np.mean(away**2)))
    assert rounded.attrs["bfloat16_largest_error"] == pytest.approx(np.abs(away).max())
    assert rounded.attrs["bfloat16_largest_error"] < 0.01


class StoppedError(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("name", ["forecast", "forecast.nc"])
def test_an_unfinished_forecast_is_gone_on_with(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    whole = forecast(folder / "run", folder / "cube", tmp_path / "whole")["swvl1"].to_numpy()
    monkeypatch.setattr("soilcast.forecasting.next_day.block_size", lambda *_: 4)
    calls = []
    genuine = ForecastStream.write

    def write(self: ForecastStream, number: int, values: np.ndarray) -> None:
        if len(calls) == 2:
            raise StoppedError
        calls.append(number)
        genuine(self, number, values)

    with monkeypatch.context() as patch:
        patch.setattr(ForecastStream, "write", write)
        with pytest.raises(StoppedError):
            forecast(folder / "run", folder / "cube", tmp_path / name)
    assert calls == [0, 1]
    with pytest.raises(SoilcastError, match="--resume"):
        forecast(folder / "run", folder / "cube", tmp_path / name)
    with pytest.raises(SoilcastError, match="precision float32"):
        forecast(folder / "run", folder / "cube", tmp_path / name, precision="bfloat16", resume=True)
    with monkeypatch.context() as patch:
        patch.setattr(ForecastStream, "write", lambda self, *given: (calls.append(given[0]), genuine(self, *given)))
        found = forecast(folder / "run", folder / "cube", tmp_path / name, resume=True)["swvl1"].to_numpy()
    assert calls == [0, 1, 2]
    np.testing.assert_array_equal(found, whole)
    again = forecast(folder / "run", folder / "cube", tmp_path / name, resume=True)["swvl1"].to_numpy()
    np.testing.assert_array_equal(again, whole)
    with pytest.raises(SoilcastError, match="is a forecast of"):
        forecast(folder / "gru", folder / "cube", tmp_path / name, resume=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["whole", name])


def test_too_little_memory_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SoilcastError, match=r"--memory 1 MiB is too little.* at least \d+ MiB"):
        forecast(folder / "run", folder / "cube", tmp_path / "out", memory=2**20)
    assert list(tmp_path.iterdir()) == []
