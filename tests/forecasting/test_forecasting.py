"""Forecasts over a period: the right days, no look ahead, the same for any block and order of cells, faults named."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from soilcast.cube import assemble, cells_of_places, open_artifact, save_cube
from soilcast.errors import SoilcastError
from soilcast.forecasting import forecast, produce
from soilcast.forecasting.stream import ForecastStream
from soilcast.inspecting import inspect
from soilcast.models import ClosingHead
from soilcast.training import load_config, open_run, train
from soilcast.training.predictor import Predictor
from soilcast.training.run import save_run
from tests.helpers.forks import run_script
from tests.helpers.multiday import AHEAD, quick
from tests.helpers.networks import register_gru
from tests.helpers.small import small_cube

# A child that is gone at the moment when the forecast, or what it replaces, has been moved.
GONE_WHILE_MOVING = """
import os, sys
from pathlib import Path
from soilcast import files
from soilcast.forecasting import forecast
run, cube, out, moment = sys.argv[1:]
exchange = files.atomic_swap
def and_go(rename):
    def renamed(self, to):
        rename(self, to)
        if Path(out) == (Path(to) if moment == "to" else self):
            os._exit(9)
    return renamed
def exchange_and_go(one, other):
    if moment != "swap":
        return False
    assert exchange(one, other)
    os._exit(9)
Path.rename, Path.replace, files.atomic_swap = and_go(Path.rename), and_go(Path.replace), exchange_and_go
forecast(run, cube, out, overwrite=moment != "to")
"""

# A child that is killed as its fourth block is written, or as its third is noted, of five blocks of two cells.
KILLED_HALF_WAY = """
import os, signal, sys
from soilcast.forecasting import block, forecast, produce
from soilcast.forecasting.stream import ForecastStream
run, cube, out, moment = sys.argv[1:]
block._AT_ONCE = {True: {"cpu": 96}, False: {"cpu": 96}}
produce.block_size = lambda *_: 2
genuine = getattr(ForecastStream, moment)
def die(self, *given):
    if len(self.done) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return genuine(self, *given)
setattr(ForecastStream, moment, die)
forecast(run, cube, out)
"""

QUICK = ["train.epochs=2", "train.validate_every=1", "train.batches_per_epoch=10", "network.hidden_size=8"]
CELLS, DAYS = 10, 800
LEVEL = ("head.predict=level", "task.lags=[swvl2]")
"""Several lead times from what a network sees of the days before alone."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube; runs of the next day: one, of all cells together, an ensemble, a GRU; a run of several lead times."""
    path = tmp_path_factory.mktemp("forecasting")
    save_cube(small_cube(CELLS, DAYS), path / "cube")
    train(path / "cube", path / "run", load_config(settings=QUICK))
    train(path / "cube", path / "global", load_config(settings=[*QUICK, "normalise.scope=global"]))
    train(path / "cube", path / "ensemble", load_config(settings=[*QUICK, "train.ensemble=3"]))
    quick(path / "cube", path / "several")
    with pytest.MonkeyPatch.context() as patch:
        register_gru(patch)
        train(path / "cube", path / "gru", load_config(settings=QUICK, model="gru"))
    return path


@pytest.fixture(autouse=True)
def _gru(monkeypatch: pytest.MonkeyPatch) -> None:
    register_gru(monkeypatch)


def groups_of(patch: pytest.MonkeyPatch, windows: int, cells: int) -> None:
    """Have so many windows go through a network at once, and so many cells make a block."""
    patch.setattr("soilcast.forecasting.block._AT_ONCE", {one: {"cpu": windows} for one in (True, False)})
    patch.setattr("soilcast.forecasting.produce.block_size", lambda *_: cells)


def values_of(made: xr.Dataset) -> dict[str, np.ndarray]:
    return {str(name): one.to_numpy() for name, one in made.data_vars.items()}


def same(one: xr.Dataset, other: xr.Dataset, *, atol: float = 0.0) -> None:
    mine, theirs = values_of(one), values_of(other)
    assert mine.keys() == theirs.keys()
    for name, values in mine.items():
        np.testing.assert_allclose(values, theirs[name], rtol=0, atol=atol, err_msg=name)


# ---------------------------------------------------------------- what a forecast holds


def test_every_cell_and_day_of_the_test_year_is_forecast(folder: Path, tmp_path: Path) -> None:
    result = forecast(folder / "run", folder / "cube", tmp_path / "forecast")
    assert result["swvl1"].dims == ("cell", "time", "lead")
    assert result["swvl1"].shape == (CELLS, 366, 1)
    assert np.isfinite(result["swvl1"]).all()
    opened = open_artifact(tmp_path / "forecast", "forecast")
    xr.testing.assert_identical(opened["swvl1"].load(), result["swvl1"])
    assert opened.attrs["label"] == "LSTM"
    assert json.loads(opened.attrs["config"])["model"] == "lstm"
    assert len(json.loads(opened.attrs["training_log"])) == 2
    first, last = (np.datetime64(day) for day in opened.attrs["test_period"].split(":"))
    np.testing.assert_array_equal(opened["valid_time"][:, 0], np.arange(first, last + 1))
    np.testing.assert_array_equal(opened["area"], small_cube(CELLS, DAYS)["area"])


@pytest.mark.parametrize(("run", "leads"), [("run", 1), ("several", 3)])
@pytest.mark.parametrize("name", ["forecast", "forecast.nc"])
def test_a_forecast_says_of_which_days_it_is(folder: Path, tmp_path: Path, run: str, leads: int, name: str) -> None:
    made = forecast(folder / run, folder / "cube", tmp_path / name, period="2020-01-01:2020-02-19")
    np.testing.assert_array_equal(made["lead"], np.arange(1, leads + 1))
    days = made["time"].to_numpy().astype("datetime64[D]")
    np.testing.assert_array_equal(days, np.arange("2019-12-31", np.datetime64("2020-02-20") - leads))
    assert made["valid_time"].dims == ("time", "lead")
    np.testing.assert_array_equal(made["valid_time"], made["time"] + made["lead"] * np.timedelta64(1, "D"))
    standard = {name: made[name].attrs["standard_name"] for name in ("time", "lead", "valid_time")}
    assert standard == {"time": "forecast_reference_time", "lead": "forecast_period", "valid_time": "time"}
    assert made["lead"].attrs["units"] == "d"
    expected = {
        "soilcast_kind": "forecast",
        "soilcast_format": 4,
        "targets": "swvl1",
        "lead_days": leads,
        "latency_days": 0,
        "weather": "none",
        "issue_days": f"2019-12-31:{days[-1]}",
        "test_period": "2020-01-01:2020-02-19",
        "precision": "float32",
    }
    assert {name: made.attrs[name] for name in expected} == expected
    assert "target" not in made.attrs
    assert ("quantile" in made.dims) == (leads > 1)


def test_the_latency_of_a_forecast_is_that_of_its_layers(folder: Path, tmp_path: Path) -> None:
    quick(folder / "cube", tmp_path / "run", "task.layers=[swvl1,swvl2]", "task.latency={lags: 1, swvl2: 3}")
    made = forecast(tmp_path / "run", folder / "cube", tmp_path / "forecast", period="2020-01")
    assert (made.attrs["targets"], made.attrs["latency_days"]) == ("swvl1,swvl2", 3)
    assert (made["soil_moisture_age"] == 3).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "model"),
    [
        ((), "lstm"),
        (("head.predict=level",), "phy-lstm"),
        (("head.name=rollout", "task.latency={lags: 2}", "task.calendar=true"), "lstm"),
        (("head.name=bucket", AHEAD, "task.layers=[swvl1,swvl2]"), "lstm"),
        (("head.name=mc_lstm", AHEAD, "task.layers=[swvl1,swvl2]", "train.ensemble=2"), "lstm"),
        (("loss.name=quantiles", "normalise.method=z_score"), "phys-lstm"),
        (("loss.name=cmal", "train.ensemble=2"), "lstm"),
        (("network.mc_dropout=3", "normalise.scope=global"), "lstm"),
        (
            ("task.layers=[swvl1,swvl2,swvl3]", "task.lags=[swvl1,swvl2,swvl3]", "network.masked_lags=0.2"),
            "phy-lstm",
        ),
        (("loss.bounds=1", "loss.rain=1", AHEAD, "loss.lead_decay=1"), "phy-lstm"),
        (("task.quantiles=[]", "train.schedule=cosine"), "lstm"),
    ],
)
def test_every_kind_of_multi_day_run_is_trained_and_forecast(
    folder: Path, tmp_path: Path, settings: tuple[str, ...], model: str
) -> None:
    run = quick(folder / "cube", tmp_path / "run", *settings, model=model)
    made = forecast(tmp_path / "run", folder / "cube", tmp_path / "forecast")
    layers, quantiles = run.config.task.layers, run.config.task.quantiles
    assert made.attrs["targets"] == ",".join(layers)
    assert made.attrs["weather"] == ("observed" if AHEAD in settings else "none")
    days = made["time"].to_numpy().astype("datetime64[D]")
    assert (days[0], days[-1]) == (np.datetime64("2019-12-31"), np.datetime64("2020-02-16"))
    np.testing.assert_array_equal(made["lead"], [1, 2, 3])
    assert (made["valid_time"] == made["time"] + made["lead"] * np.timedelta64(1, "D")).all()
    for layer in layers:
        values = made[layer].to_numpy()
        assert made[layer].dims == ("cell", "time", "lead")
        assert np.isfinite(values).all()
        assert ((values >= 0) & (values <= 1)).all()
        if quantiles:
            around = made[f"{layer}_quantile"].to_numpy()
            assert around.shape == (*values.shape, len(quantiles))
            assert (np.diff(around, axis=-1) >= 0).all()
            np.testing.assert_array_equal(values, around[..., quantiles.index(0.5)])
        else:
            assert "quantile" not in made.dims
    if len(layers) == 3:
        thickness = np.array([0.07, 0.21, 0.72])
        means = [made[f"{layer}_mean"].to_numpy() for layer in layers]
        whole = np.stack(means, axis=-1) @ (thickness / thickness.sum())
        np.testing.assert_allclose(made["root_zone"], whole, atol=1e-6)
    same(forecast(tmp_path / "run", folder / "cube", tmp_path / "again"), made)
    assert (open_run(tmp_path / "run").calibration is not None) == bool(quantiles)


def test_a_forecast_is_what_the_network_makes_of_the_seven_days_before(folder: Path, tmp_path: Path) -> None:
    result = forecast(folder / "run", folder / "cube", tmp_path / "forecast")
    run, cube = open_run(folder / "run"), small_cube(CELLS, DAYS)
    cell, day = 3, 500
    task = run.config.task
    seen = [
        run.statistics.scalings[name].of_cells(slice(cell, cell + 1)).normalise(cube[name][cell : cell + 1].to_numpy())
        for name in task.dynamic
    ]
    fixed = [run.statistics.scalings[name].normalise(cube[name].to_numpy())[cell] for name in task.static]
    window = np.stack([np.concatenate([[one[0, step] for one in seen], fixed]) for step in range(day - 7, day)])
    with torch.inference_mode():
        output = run.networks[0](torch.tensor(window[None], dtype=torch.float32)).item()
    scaling = run.statistics.scalings["swvl1"]
    expected = output * scaling.scale[cell] + scaling.offset[cell]
    position = int(np.flatnonzero(result["valid_time"].to_numpy()[:, 0] == cube["time"].to_numpy()[day])[0])
    assert float(result["swvl1"][cell, position, 0]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_netcdf_by_its_name(folder: Path, tmp_path: Path) -> None:
    for run, days in (("run", 30), ("several", 28)):
        result = forecast(folder / run, folder / "cube", tmp_path / f"{run}.nc", period="2019-06")
        opened = open_artifact(tmp_path / f"{run}.nc", "forecast")
        assert opened["time"].size == days
        same(opened, result)
        same(opened, forecast(folder / run, folder / "cube", tmp_path / run, period="2019-06"))


@pytest.mark.slow
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


# ---------------------------------------------------------------- which days count


@pytest.mark.slow
def test_the_day_itself_and_the_days_after_do_not_matter(folder: Path, tmp_path: Path) -> None:
    changed = small_cube(CELLS, DAYS)
    for name in changed.data_vars:
        if "time" in changed[name].dims:
            changed[name][:, 600:] = changed[name][:, 600:] * 0.9
    save_cube(changed, tmp_path / "changed")
    before = forecast(folder / "run", folder / "cube", tmp_path / "a")["swvl1"].to_numpy()
    after = forecast(folder / "run", tmp_path / "changed", tmp_path / "b")["swvl1"].to_numpy()
    # Day 600 is number 166 of the test year; its forecast uses the days up to 599.
    np.testing.assert_array_equal(before[:, :167], after[:, :167])
    assert not np.array_equal(before[:, 167:], after[:, 167:])


def test_a_missing_day_is_a_missing_forecast(folder: Path, tmp_path: Path) -> None:
    rain = small_cube(CELLS, DAYS)["tp"].to_numpy().copy()
    rain[4, 600] = np.nan
    save_cube(small_cube(CELLS, DAYS, tp=rain), tmp_path / "cube")
    missing = np.isnan(forecast(folder / "run", tmp_path / "cube", tmp_path / "a")["swvl1"].to_numpy())
    assert missing.sum() == 7
    assert missing[4, 167:174].all()


@pytest.mark.parametrize("run", ["run", "several"])
def test_a_period_may_begin_on_the_first_day_of_the_cube(folder: Path, tmp_path: Path, run: str) -> None:
    found = forecast(folder / run, folder / "cube", tmp_path / "early", period="2018-01-01:2018-01-20")
    later = forecast(folder / run, folder / "cube", tmp_path / "later", period="2018-01-05:2018-01-20")
    assert found["time"].to_numpy()[0] == np.datetime64("2018-01-01")
    assert later["time"].to_numpy()[0] == np.datetime64("2018-01-04")
    same(found.sel(time=later["time"]), later, atol=1e-6)
    # The window of seven days is complete on the seventh.
    known = np.isfinite(found["swvl1"].to_numpy())
    assert not known[:, :6].any()
    assert known[:, 6:].all()
    none = forecast(folder / run, folder / "cube", tmp_path / "none", period="2018-01-01:2018-01-05")
    assert none.sizes["time"] == 5 - none.sizes["lead"]
    assert np.isnan(none["swvl1"]).all()


def test_a_global_run_forecasts_cells_that_it_has_not_seen(folder: Path, tmp_path: Path) -> None:
    save_cube(small_cube(6, DAYS, seed=9, grid=False), tmp_path / "other")
    assert np.isfinite(forecast(folder / "global", tmp_path / "other", tmp_path / "a")["swvl1"]).all()
    with pytest.raises(SoilcastError, match=r"none of its 6 cells is a cell of the run.*normalise\.scope=global"):
        forecast(folder / "run", tmp_path / "other", tmp_path / "b")


@pytest.mark.parametrize(
    ("run", "drop", "options", "expected"),
    [
        ("run", ("q",), {}, "no q"),
        ("several", ("swvl2",), {}, r"no soil moisture swvl2: set task\.lags"),
        ("run", (), {"period": "2031"}, "is outside the cube"),
        ("run", (), {"period": "2018-13"}, "is not a period"),
        ("several", (), {"period": "2020-01-01:2020-01-02"}, "shorter than 3 lead days"),
        ("several", (), {"leads": 5}, r"--lead 5: the run was trained for 3 day.*task\.lead_days=5"),
        ("several", (), {"leads": 0}, "--lead 0: lead times start at 1: give 1 or more"),
        ("several", (), {"leads": -1}, "--lead -1: lead times start at 1"),
        ("run", (), {"leads": 2}, r"--lead 2: the run was trained for 1 day.*task\.lead_days=2"),
        ("several", (), {"weather": "w.nc"}, "--weather w.nc: the run was trained without future weather: remove it"),
        ("run", (), {"weather": "w.nc"}, "--weather w.nc: the run was trained without future weather: remove it"),
    ],
)
def test_what_cannot_be_forecast_is_named(
    folder: Path, tmp_path: Path, run: str, drop: tuple[str, ...], options: dict[str, Any], expected: str
) -> None:
    save_cube(small_cube(CELLS, DAYS, drop=drop), tmp_path / "cube")
    with pytest.raises(SoilcastError, match=expected):
        forecast(folder / run, tmp_path / "cube", tmp_path / "out", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["cube"]


# ---------------------------------------------------------------- the same, however it is computed


@pytest.mark.slow
@pytest.mark.parametrize("model", ["run", "gru", "ensemble", "several"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_any_block_of_cells_gives_the_same_bits(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, precision: str
) -> None:
    # Ten cells of ten days, or of eight issue days, in groups of two, in blocks of 2, 4 and 8 cells and in one.
    made = []
    for size in (2, 4, 8, 4096):
        groups_of(monkeypatch, 20, size)
        options = {"period": "2019-05-01:2019-05-10", "precision": precision}
        made.append(values_of(forecast(folder / model, folder / "cube", tmp_path / f"{size}", **options)))
    for other in made[1:]:
        for name, values in made[0].items():
            np.testing.assert_array_equal(values, other[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("run", ["run", "several"])
def test_any_size_of_groups_gives_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: str
) -> None:
    expected = forecast(folder / run, folder / "cube", tmp_path / "expected", period="2019-05")
    groups_of(monkeypatch, 1, 2)
    same(forecast(folder / run, folder / "cube", tmp_path / "found", period="2019-05"), expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("run", ["run", "several"])
def test_any_order_of_cells_gives_the_same(folder: Path, tmp_path: Path, run: str) -> None:
    order = np.array([7, 2, 9, 0])
    save_cube(small_cube(CELLS, DAYS).isel(cell=order), tmp_path / "some")
    whole = forecast(folder / run, folder / "cube", tmp_path / "a")
    some = forecast(folder / run, tmp_path / "some", tmp_path / "b")
    same(some, whole.isel(cell=order), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [None, LEVEL, (*LEVEL, "train.ensemble=2", "loss.name=quantiles")])
def test_windows_of_consecutive_days_give_the_same_together_as_one_by_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...] | None
) -> None:
    made = small_cube(CELLS, DAYS)
    for name, cell, days in (("tp", 4, slice(750, 752)), ("swvl2", 2, slice(740, 760))):
        values = made[name].to_numpy().copy()
        values[cell, days] = np.nan
        made[name] = (("cell", "time"), values, made[name].attrs)
    save_cube(made, tmp_path / "cube")
    run = folder / "run"
    if settings is not None:
        run = tmp_path / "run"
        quick(folder / "cube", run, *settings)
    taken = []
    genuine = {name: getattr(Predictor, name) for name in ("from_sequences", "from_windows")}
    for name, method in genuine.items():

        def noting(self: Predictor, *given: Any, name: str = name, method: Any = method) -> Any:
            taken.append(name)
            return method(self, *given)

        monkeypatch.setattr(Predictor, name, noting)
    period = "2020-01-01:2020-02-19"
    together = forecast(run, tmp_path / "cube", tmp_path / "together", period=period)
    assert set(taken) == {"from_sequences"}
    taken.clear()
    monkeypatch.setattr("soilcast.training.predictor.takes_sequences", lambda network: False)
    alone = forecast(run, tmp_path / "cube", tmp_path / "alone", period=period)
    assert set(taken) == {"from_windows"}
    same(together, alone, atol=1e-6)
    missing = np.isnan(alone["swvl1"].to_numpy())
    assert missing[4].any()
    assert not np.delete(missing, 4, axis=0).any()


@pytest.mark.slow
@pytest.mark.parametrize("run", ["run", "several"])
def test_what_bfloat16_costs_is_measured(folder: Path, tmp_path: Path, run: str) -> None:
    exact = forecast(folder / run, folder / "cube", tmp_path / "exact")
    rounded = forecast(folder / run, folder / "cube", tmp_path / "rounded", precision="bfloat16")
    away = rounded["swvl1"].to_numpy().astype(float) - exact["swvl1"].to_numpy()
    assert "bfloat16_rmse" not in exact.attrs
    assert 0 < rounded.attrs["bfloat16_rmse"] == pytest.approx(np.sqrt(np.mean(away**2)))
    assert rounded.attrs["bfloat16_largest_error"] == pytest.approx(np.abs(away).max())
    assert rounded.attrs["bfloat16_largest_error"] < 0.01
    assert (exact.attrs["precision"], rounded.attrs["precision"]) == ("float32", "bfloat16")


@pytest.mark.slow
def test_what_bfloat16_costs_is_of_the_leads_and_layers_that_are_forecast(folder: Path, tmp_path: Path) -> None:
    quick(folder / "cube", tmp_path / "run", "task.layers=[swvl1,swvl2]")
    made = {
        precision: forecast(tmp_path / "run", folder / "cube", tmp_path / precision, leads=2, precision=precision)
        for precision in ("float32", "bfloat16")
    }
    pair = [np.stack([one[layer].to_numpy() for layer in ("swvl1", "swvl2")]).astype(float) for one in made.values()]
    away = pair[1] - pair[0]
    assert 0 < made["bfloat16"].attrs["bfloat16_rmse"] == pytest.approx(np.sqrt(np.mean(away**2)))
    assert made["bfloat16"].attrs["bfloat16_largest_error"] == pytest.approx(np.abs(away).max())


# ---------------------------------------------------------------- a water balance that closes

CLOSING = (
    "task.layers=[swvl1,swvl2]",
    "task.dynamic=[t2m,tp,sd]",
    "task.known_future=[tp,sd]",
    "train.ensemble=2",
)


@pytest.fixture(scope="module")
def closing(folder: Path) -> Path:
    quick(folder / "cube", folder / "closing", *CLOSING, "head.name=water_balance")
    return folder / "closing"


@pytest.mark.slow
def test_a_water_balance_says_how_far_it_closes(folder: Path, closing: Path, tmp_path: Path) -> None:
    made = forecast(closing, folder / "cube", tmp_path / "forecast", period="2019-03:2019-06")
    assert 0 < made.attrs["closure_residual"] <= 1e-6
    assert f"water balance: closes to {made.attrs['closure_residual']:.1e} m" in inspect(tmp_path / "forecast")
    assert "closure_residual" not in forecast(folder / "several", folder / "cube", tmp_path / "direct").attrs
    assert not [line for line in open_run(closing).record["notes"] if "snow melt" in line]
    with xr.open_zarr(folder / "cube", consolidated=False) as cube:
        water = sum(made[f"swvl{layer}_mean"] * cube[f"slthick{layer}"] for layer in (1, 2))
        snow = cube["sd"].diff("time")
        reaching = (cube["tp"] - snow.clip(min=0)).clip(min=0) - snow.clip(max=0)
        for lead in (2, 3):
            days = made["time"].to_numpy() + np.timedelta64(lead, "D")
            gained = (water.sel(lead=lead) - water.sel(lead=lead - 1)).to_numpy()
            assert (gained <= reaching.sel(time=days).transpose("cell", "time").to_numpy() + 1e-6).all()
            assert (gained > 0).any()


@pytest.mark.slow
def test_of_appended_issue_days_the_largest_residual_is_kept(
    folder: Path, closing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day, residual, largest in (("01", 3e-8, 3e-8), ("02", 5e-8, 5e-8), ("03", 1e-8, 5e-8)):
        monkeypatch.setattr(produce, "_closure", lambda *_, residual=residual: {"closure_residual": residual})
        options: dict[str, Any] = {"issue": f"2019-05-{day}", "weather": "observed", "append": True}
        made = forecast(closing, folder / "cube", tmp_path / "forecast", **options)
        assert made.attrs["closure_residual"] == largest


@pytest.mark.slow
def test_a_head_that_clips_does_not_close(
    folder: Path, closing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clipped(head: ClosingHead, *day: Any) -> Any:
        level, fluxes = next_day(head, *day)
        return level.clamp(max=0.5), fluxes

    next_day = ClosingHead._next_day
    monkeypatch.setattr(ClosingHead, "_next_day", clipped)
    assert forecast(closing, folder / "cube", tmp_path / "forecast").attrs["closure_residual"] > 1e-3


def test_a_water_balance_without_snow_says_so(folder: Path, tmp_path: Path) -> None:
    run = quick(folder / "cube", tmp_path / "run", AHEAD, "head.name=water_balance", "train.epochs=1")
    assert [line for line in run.record["notes"] if line.startswith("head.name=water_balance knows no snow melt")]


# ---------------------------------------------------------------- whatever ends it


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["to", "from", "swap"])
def test_killed_while_it_moves_to_its_place_it_is_gone_on_with(folder: Path, tmp_path: Path, moment: str) -> None:
    out = tmp_path / "forecast"
    if moment != "to":
        forecast(folder / "ensemble", folder / "cube", out)
    expected = forecast(folder / "run", folder / "cube", tmp_path / "expected")
    assert run_script(GONE_WHILE_MOVING, folder / "run", folder / "cube", out, moment).returncode == 9
    assert out.exists() == (moment != "from")
    blocks = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ForecastStream, "write", lambda self, number, values: blocks.append(number))
        xr.testing.assert_equal(forecast(folder / "run", folder / "cube", out, resume=True), expected)
    assert not blocks


def test_what_is_noted_without_a_store_is_made_anew(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "forecast"
    run_script(GONE_WHILE_MOVING, folder / "run", folder / "cube", out, "to")
    out.rename(tmp_path / "elsewhere")
    again = forecast(folder / "run", folder / "cube", out, resume=True)
    xr.testing.assert_equal(again, open_artifact(tmp_path / "elsewhere", "forecast"))


def noting_writes(patch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the blocks that are written from now on."""
    genuine, numbers = ForecastStream.write, []
    patch.setattr(ForecastStream, "write", lambda self, *given: (numbers.append(given[0]), genuine(self, *given)))
    return numbers


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "missing"), [("write", [3, 4]), ("_note", [2, 3, 4])])
def test_killed_half_way_a_multi_day_forecast_is_gone_on_with(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, missing: list[int]
) -> None:
    out = tmp_path / "forecast"
    assert run_script(KILLED_HALF_WAY, folder / "several", folder / "cube", out, moment).returncode == -9
    assert [path.name for path in tmp_path.iterdir()] == ["forecast.unfinished"]
    with pytest.raises(SoilcastError, match="--resume"):
        forecast(folder / "several", folder / "cube", out)
    groups_of(monkeypatch, 96, 2)
    written = noting_writes(monkeypatch)
    found = forecast(folder / "several", folder / "cube", out, resume=True)
    assert written == missing
    same(found, forecast(folder / "several", folder / "cube", tmp_path / "expected"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["expected", "forecast"]


class StoppedError(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "name", "blocks"),
    [("run", "forecast", [0, 1, 2]), ("run", "forecast.nc", [0, 1, 2]), ("several", "forecast.nc", [0, 1, 2])],
)
def test_an_unfinished_forecast_is_gone_on_with(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: str, name: str, blocks: list[int]
) -> None:
    groups_of(monkeypatch, 48, 4)
    whole = forecast(folder / run, folder / "cube", tmp_path / "whole")
    calls: list[int] = []
    genuine = ForecastStream.write

    def write(self: ForecastStream, number: int, *values: Any) -> None:
        if len(calls) == 2:
            raise StoppedError
        calls.append(number)
        genuine(self, number, *values)

    with monkeypatch.context() as patch:
        patch.setattr(ForecastStream, "write", write)
        with pytest.raises(StoppedError):
            forecast(folder / run, folder / "cube", tmp_path / name)
    assert calls == blocks[:2]
    with pytest.raises(SoilcastError, match="--resume"):
        forecast(folder / run, folder / "cube", tmp_path / name)
    with pytest.raises(SoilcastError, match="has precision float32, this command bfloat16"):
        forecast(folder / run, folder / "cube", tmp_path / name, precision="bfloat16", resume=True)
    if run == "several":
        with pytest.raises(SoilcastError, match=r"issue_days .*:2020-02-16, this command .*:2020-02-17"):
            forecast(folder / run, folder / "cube", tmp_path / name, resume=True, leads=2)
    with monkeypatch.context() as patch:
        written = noting_writes(patch)
        found = forecast(folder / run, folder / "cube", tmp_path / name, resume=True)
    assert written == blocks[2:]
    same(found, whole)
    same(forecast(folder / run, folder / "cube", tmp_path / name, resume=True), whole)
    with pytest.raises(SoilcastError, match="has weights_sha256"):
        forecast(folder / "gru", folder / "cube", tmp_path / name, resume=True)
    if run == "several":
        with pytest.raises(SoilcastError, match=r"has issue_days .*:2020-02-16, not .*:2020-02-17"):
            forecast(folder / run, folder / "cube", tmp_path / name, resume=True, leads=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["whole", name])


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("run", ["run", "several"])
def test_too_little_memory_is_named(folder: Path, tmp_path: Path, run: str) -> None:
    with pytest.raises(SoilcastError, match=r"--memory 1 MiB is too little: forecasting .* takes at least \d+ MiB"):
        forecast(folder / run, folder / "cube", tmp_path / "out", memory=2**20)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("run", ["run", "several"])
def test_less_memory_makes_smaller_blocks_of_the_same_bits(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: str
) -> None:
    monkeypatch.setattr("soilcast.forecasting.block._AT_ONCE", {one: {"cpu": 64} for one in (True, False)})
    monkeypatch.setattr(produce, "held_memory", lambda: 0)
    monkeypatch.setattr(produce, "_WORKING_BYTES", 0)
    expected = forecast(folder / run, folder / "cube", tmp_path / "expected", period="2019-05")
    sizes = {}
    for memory in (64 * 2**10, 2**30):
        with monkeypatch.context() as patch:
            sizes[memory] = noting_writes(patch)
            out = tmp_path / str(memory)
            same(forecast(folder / run, folder / "cube", out, period="2019-05", memory=memory), expected)
    few, many = map(len, sizes.values())
    assert many == 1 < few


# A child that forecasts a cube of many cells, and says how much memory it took at most.
MUCH = """
import sys
from soilcast.errors import SoilcastError
from soilcast.forecasting import forecast
run, cube, out, memory = sys.argv[1:]
options = {"period": "2019-12-01:2020-03-10", "memory": int(memory) or None}
try:
    print(forecast(run, cube, out, **options).attrs["peak_memory_bytes"])
except SoilcastError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_multi_day_forecast_keeps_within_its_memory(folder: Path, tmp_path: Path) -> None:
    quick(folder / "cube", tmp_path / "run", "normalise.scope=global")
    save_cube(many_cells(small_cube(CELLS, DAYS).isel(time=slice(-120, None)), 900), tmp_path / "cube")

    def output(name: str, memory: int) -> str:
        done = run_script(MUCH, tmp_path / "run", tmp_path / "cube", tmp_path / name, memory)
        assert done.returncode == 0, done.stderr
        return done.stdout

    least = re.search(r"takes at least (\d+) MiB", output("limited", 2**20))
    assert least
    limit = (int(least[1]) + 16) * 2**20
    assert int(output("limited", limit)) <= limit
    output("free", 0)
    one, other = (open_artifact(tmp_path / name, "forecast") for name in ("free", "limited"))
    assert one["swvl1"].encoding["chunks"][0] > other["swvl1"].encoding["chunks"][0]
    same(other, one)


def many_cells(tile: xr.Dataset, times: int) -> xr.Dataset:
    """The cells of a small cube, over and over, each at a place of its own."""
    cells = tile.sizes["cell"] * times
    spread = np.random.default_rng(0)
    places = cells_of_places(
        spread.uniform(-60, 70, cells),
        spread.uniform(-180, 180, cells),
        np.full(cells, 1e8),
        list(map(str, range(cells))),
    )
    names = ("t2m", "tp", "ssrd", "elevation", "swvl1", "swvl2", "slthick1", "slthick2")
    return assemble(
        {name: np.concatenate([tile[name].to_numpy()] * times) for name in names},
        cells=places,
        time=tile["time"].to_numpy(),
        title="many cells",
        source="small",
        content="synthetic weather",
    )
