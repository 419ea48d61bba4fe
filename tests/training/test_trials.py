"""What a search asks of a training: how it compares with persistence on validation days, and where it is given up."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from soilcast.cube import open_cube, open_forecast, save_cube
from soilcast.forecasting import forecast
from soilcast.training import Run, load_config, open_run, train
from tests.helpers.multiday import CELLS, DAYS, LEADS, QUICK
from tests.helpers.small import small_cube


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trials") / "cube"
    save_cube(small_cube(CELLS, DAYS), path)
    return path


def trained(cube: Path, out: Path, limits: dict[int, float] | None, *settings: str, resume: bool = False) -> Run:
    return train(cube, out, load_config(settings=[*QUICK, *settings]), limits=limits, resume=resume)


def ratio_of(run: Path, cube: Path, latency: int) -> float:
    """The same from a forecast of the validation period and the cube, by another way."""
    first, last = (np.datetime64(day, "ns") for day in open_run(run).record["validation_period"].split(":"))
    forecast(run, cube, run.with_suffix(".nc"), period=f"{first - np.timedelta64(1, 'D')}"[:10] + f":{last}"[:11])
    opened, observed = open_forecast(run.with_suffix(".nc")), open_cube(cube)["swvl1"]
    ratios = []
    for lead in range(1, LEADS + 1):
        issued = opened["time"].to_numpy()
        within = (issued + np.timedelta64(1, "D") >= first) & (issued + np.timedelta64(LEADS, "D") <= last)
        issued = issued[within]
        came = observed.sel(time=issued + np.timedelta64(lead, "D")).to_numpy()
        newest = observed.sel(time=issued - np.timedelta64(latency, "D")).to_numpy()
        mean = opened["swvl1_mean"].sel(lead=lead, time=issued).to_numpy()
        own, reference = (np.sqrt(np.mean((came - one) ** 2, axis=1)) for one in (mean, newest))
        ratios.append(np.median(own / reference))
    return float(np.mean(ratios))


@pytest.mark.slow
@pytest.mark.parametrize("latency", [0, 2])
def test_the_ratio_is_that_of_forecasts_of_the_validation_days(cube: Path, tmp_path: Path, latency: int) -> None:
    run = trained(cube, tmp_path / "run", {}, f"task.latency={{lags: {latency}}}")
    assert run.record["validation_ratio"] == pytest.approx(ratio_of(tmp_path / "run", cube, latency), rel=1e-4)


@pytest.mark.slow
def test_soil_moisture_of_test_days_does_not_count(cube: Path, tmp_path: Path) -> None:
    days = open_cube(cube)["time"].to_numpy().astype("datetime64[D]")
    split = f"split.train={days[200]}:{days[-1]}", f"split.validation={days[100]}:{days[199]}"
    settings = (*split, f"split.test={days[0]}:{days[99]}", "task.lags=[]", "head.predict=level", "task.lead_days=1")
    changed = small_cube(CELLS, DAYS)
    values = changed["swvl1"].to_numpy().copy()
    values[:, :100] = values[::-1, :100] * np.float32(0.5)
    changed["swvl1"] = (("cell", "time"), values, changed["swvl1"].attrs)
    save_cube(changed, tmp_path / "changed")
    one, other = (trained(path, tmp_path / f"of-{path.name}", {}, *settings) for path in (cube, tmp_path / "changed"))
    assert one.record["validation_ratio"] == other.record["validation_ratio"]


def test_a_training_is_given_up_where_it_is_behind(cube: Path, tmp_path: Path) -> None:
    whole = trained(cube, tmp_path / "whole", None)
    assert "validation_ratio" not in whole.record
    kept = trained(cube, tmp_path / "kept", {1: math.inf, 2: 0.0})
    assert kept.record["status"] == "finished"  # after its last epoch there is nothing to give up
    hashes = [open_run(tmp_path / name).record["weights_sha256"] for name in ("whole", "kept")]
    assert hashes[0] == hashes[1]
    pruned = trained(cube, tmp_path / "pruned", {1: 0.0})
    assert (pruned.record["status"], pruned.record["epochs"]) == ("pruned", 1)
    assert pruned.log[0]["validation_loss"] == whole.log[0]["validation_loss"]
    again = trained(cube, tmp_path / "pruned", {1: 0.0}, resume=True)
    assert again.record == open_run(tmp_path / "pruned").record
    assert not (tmp_path / "pruned.unfinished").exists()
