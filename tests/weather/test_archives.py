"""Archives of weather forecasts: each issue day has its own forecast, in training and in forecasts over a period."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from soilcast.cube import open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.forecasting import forecast
from soilcast.training import Run, load_config, train
from soilcast.training.run import open_run
from soilcast.weather import open_weather
from tests.helpers.multiday import AHEAD, CELLS, DAYS, LEADS, QUICK, quick, weather_archive
from tests.helpers.small import small_cube

NAMES = ("tp", "t2m")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube, an archive of forecasts that come true, and a run that knows the observed weather ahead."""
    path = tmp_path_factory.mktemp("archives")
    save_cube(small_cube(CELLS, DAYS), path / "cube")
    weather_archive(path / "true.nc")
    quick(path / "cube", path / "run", AHEAD)
    return path


def trained(folder: Path, out: Path, weather: Path, *settings: str, **options: Any) -> Run:
    config = load_config(settings=[*QUICK, AHEAD, *settings], model="lstm")
    return train(folder / "cube", out, config, weather=weather, **options)


def weights(run: Run) -> list[np.ndarray]:
    return [one.detach().numpy() for network in run.networks for one in network.parameters()]


def same_values(one: xr.Dataset, other: xr.Dataset) -> None:
    for name in other.data_vars:
        np.testing.assert_array_equal(one[name], other[name], err_msg=str(name))


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("at_once", [True, False])
def test_each_issue_day_has_its_own_forecast(folder: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool) -> None:
    if not at_once:
        monkeypatch.setattr("soilcast.weather._HELD", 0)
        monkeypatch.setattr("soilcast.weather.fields._READ_AT_A_TIME", 1)
    cube = open_cube(folder / "cube")
    issues = cube["time"].to_numpy()[[700, 3, 41]]
    weather = open_weather(folder / "true.nc", cube, NAMES, issues, 2)
    found = weather.values(slice(1, 5))
    assert found.shape == (1, 4, 3, 2, 2)
    for position, day in enumerate((700, 3, 41)):
        expected = np.stack([cube[name].to_numpy()[1:5, day + 1 : day + 3] for name in NAMES], axis=-1)
        np.testing.assert_array_equal(found[0, :, position], expected)


def _renamed(data: xr.Dataset) -> xr.Dataset:
    hours = ("step", 24 * data["lead"].to_numpy(), {"units": "hours"})
    return data.rename(time="forecast_reference_time", lead="step").assign_coords(step=hours)


LAYOUTS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "any order": lambda data: data.isel(time=slice(None, None, -1)).transpose("lead", "cell", "time"),
    "reference times and steps in hours": _renamed,
    "issued at noon": lambda data: _renamed(data).assign_coords(
        forecast_reference_time=data["time"].to_numpy() + np.timedelta64(12, "h")
    ),
    "from lead 0": lambda data: xr.concat([data.isel(lead=[0]).assign_coords(lead=[0]), data], "lead").assign_coords(
        lead=("lead", np.arange(LEADS + 1), {"units": "days"})
    ),
    "a regular grid": lambda data: (
        data.assign_coords(
            cell=[f"{lat} {lon}" for lat, lon in zip(data["lat"].values, data["lon"].values, strict=True)]
        )
        .set_index(cell=("lat", "lon"))
        .unstack("cell")
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_archive_may_lie_in_many_ways(folder: Path, tmp_path: Path, layout: str) -> None:
    with xr.open_dataset(folder / "true.nc", decode_timedelta=False) as data:
        changed = LAYOUTS[layout](data.isel(time=slice(0, 60)).load())
    for name in changed.variables:
        changed[name].encoding = {}
    changed.to_netcdf(tmp_path / "archive.nc", engine="h5netcdf")
    cube = open_cube(folder / "cube")
    issues = cube["time"].to_numpy()[10:50]
    found = [open_weather(path, cube, NAMES, issues, LEADS) for path in (folder / "true.nc", tmp_path / "archive.nc")]
    np.testing.assert_array_equal(found[1].values(), found[0].values())


FAULTS: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], str]] = {
    "a wrong unit": (
        lambda data: data.assign(tp=data["tp"].assign_attrs(units="K")),
        "unit 'K' of tp does not convert to m d-1",
    ),
    "values in another unit than is said": (
        lambda data: data.assign(t2m=(data["t2m"] - 273.15).assign_attrs(units="K")),
        "t2m has .* outside 170 .. 340 K",
    ),
    "few cells": (lambda data: data.isel(cell=slice(2, None)), "2 of 6 cells .* are not covered"),
    "few leads": (lambda data: data.isel(lead=slice(0, 2)), r"lacks lead 3 \(it has 1 .. 2 days\), .* use --lead 2"),
    "no first lead": (lambda data: data.isel(lead=slice(1, None)), "lacks lead 1 .* begins with lead 1"),
    "other days": (
        lambda data: data.assign_coords(time=data["time"] - np.timedelta64(10_000, "D")),
        r"has no forecast issued on 2018-01-01 and \d+ more \(it has 777 issue days, 1990",
    ),
    "two forecasts a day": (
        lambda data: data.assign_coords(time=data["time"].to_numpy()[[0, *range(len(data["time"]) - 1)]]),
        "2 forecasts along time are issued on 2018-01-01, but one a day is expected",
    ),
    "different hours": (
        lambda data: data.assign_coords(
            time=data["time"].to_numpy() + np.timedelta64(12, "h") * (np.arange(data.sizes["time"]) % 2)
        ),
        "are issued at different hours",
    ),
    "leads without a unit": (
        lambda data: data.assign_coords(lead=np.arange(1, LEADS + 1)),
        "lead has the unit none, not one of time",
    ),
    "steps of hours": (
        lambda data: data.assign_coords(lead=("lead", np.array([24, 30, 36]), {"units": "hours"})),
        "tp in m d-1 is an amount or mean by time of which the file does not say the time",
    ),
    "an ensemble": (
        lambda data: data.expand_dims(number=2),
        r"has 2 members, but one forecast of each issue day is learnt from: select one",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_archive_that_does_not_do_is_refused_before_training(folder: Path, tmp_path: Path, fault: str) -> None:
    change, message = FAULTS[fault]
    with xr.open_dataset(folder / "true.nc", decode_timedelta=False) as data:
        data = change(data.load())
    for name in data.variables:
        data[name].encoding = {}
    data.to_netcdf(tmp_path / "archive.nc", engine="h5netcdf", encoding={"time": {"units": "hours since 1990-01-01"}})
    with pytest.raises(SoilcastError, match=f"archive.nc: .*{message}") as raised:
        trained(folder, tmp_path / "run", tmp_path / "archive.nc")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- training


def test_training_with_forecasts_that_come_true_is_training_with_observed_weather(folder: Path, tmp_path: Path) -> None:
    expected = open_run(folder / "run")
    mapped = {"samples": tmp_path / "samples"}
    for name, options in (("held", {}), ("mapped", mapped), ("low", {"memory": 2**40})):
        found = trained(folder, tmp_path / name, folder / "true.nc", **options)
        for mine, theirs in zip(weights(found), weights(expected), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        assert [row["train_loss"] for row in found.log] == [row["train_loss"] for row in expected.log]
        record = found.record["weather"]
        assert (record["kind"], record["title"]) == ("forecast", "forecasts that come true")
        assert len(record["sha256"]) == 64
        assert str(tmp_path) not in str(record)
        assert "weather of the forecast days: forecasts that come true (forecast)" in found.record["notes"]
    assert "weather" not in expected.record


def test_issue_days_without_a_forecast_are_left_out_of_training(folder: Path, tmp_path: Path) -> None:
    days = small_cube(CELLS, DAYS)["time"].to_numpy().astype("datetime64[D]").astype(str)
    archive = weather_archive(tmp_path / "gaps.nc", without=[*days[100:103], days[700]])
    found, whole = trained(folder, tmp_path / "run", archive), open_run(folder / "run")
    notes = "\n".join(found.record["notes"])
    for name, count in (("training", 3), ("validation", 1)):
        samples = f"{name}_samples"
        assert found.record[samples] == whole.record[samples] - count * CELLS
        assert re.search(
            rf"^{count} of \d+ issue days of {name} have no forecast in it, and are left out$", notes, re.M
        )


def test_the_forecast_is_learnt_and_not_the_observed_weather(folder: Path, tmp_path: Path) -> None:
    with xr.open_dataset(folder / "true.nc", decode_timedelta=False) as data:
        other = data.load().assign(tp=(data["tp"] * 0.0).assign_attrs(data["tp"].attrs))
    other.to_netcdf(tmp_path / "dry.nc", engine="h5netcdf")
    found = trained(folder, tmp_path / "run", tmp_path / "dry.nc")
    differing = [
        not np.array_equal(*pair) for pair in zip(weights(found), weights(open_run(folder / "run")), strict=True)
    ]
    assert any(differing)


def test_a_training_goes_on_with_its_own_archive_alone(folder: Path, tmp_path: Path) -> None:
    archive = weather_archive(tmp_path / "archive.nc")
    run = trained(folder, tmp_path / "run", archive)
    archive.rename(tmp_path / "moved.nc")
    again = trained(folder, tmp_path / "run", tmp_path / "moved.nc", resume=True)
    assert again.record["provenance"] == run.record["provenance"]
    other = weather_archive(tmp_path / "other.nc", changed="2018-06-01")
    with pytest.raises(SoilcastError, match="is a run with another --weather: give another --out"):
        trained(folder, tmp_path / "run", other, resume=True)


def test_an_archive_needs_a_task_that_knows_weather_ahead(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SoilcastError, match=r"true.nc: the task knows no weather of the forecast days: .*known_future"):
        train(folder / "cube", tmp_path / "run", load_config(settings=QUICK), weather=folder / "true.nc")


# ---------------------------------------------------------------- forecasts


def test_forecasts_that_come_true_give_the_forecast_with_observed_weather(folder: Path, tmp_path: Path) -> None:
    expected = forecast(folder / "run", folder / "cube", tmp_path / "observed")
    found = forecast(folder / "run", folder / "cube", tmp_path / "archive", weather=folder / "true.nc")
    same_values(found, expected)
    assert (expected.attrs["weather"], found.attrs["weather"]) == ("observed", "forecast")
    assert expected.attrs["weather_forecast"] == "none"
    assert len(found.attrs["weather_forecast"]) == 64
    assert found.attrs["weather_title"] == "forecasts that come true"
    small = forecast(folder / "run", folder / "cube", tmp_path / "leads", weather=folder / "true.nc", leads=2)
    np.testing.assert_array_equal(small["swvl1"][:, : expected.sizes["time"]], expected["swvl1"][..., :2])


def test_the_forecast_of_each_issue_day_matters_on_that_day_alone(folder: Path, tmp_path: Path) -> None:
    expected = forecast(folder / "run", folder / "cube", tmp_path / "one", weather=folder / "true.nc")
    archive = weather_archive(tmp_path / "archive.nc", changed="2020-01-20", attributes={"weather": "degraded"})
    found = forecast(folder / "run", folder / "cube", tmp_path / "two", weather=archive)
    assert found.attrs["weather"] == "degraded"
    differing = (found["swvl1"] != expected["swvl1"]).any(("cell", "lead")).to_numpy()
    np.testing.assert_array_equal(found["time"].to_numpy()[differing], [np.datetime64("2020-01-20")])
    alone = forecast(folder / "run", folder / "cube", tmp_path / "day", weather=archive, issue="2020-01-20")
    np.testing.assert_array_equal(alone["swvl1"][:, 0], found["swvl1"].sel(time="2020-01-20"))


def test_issue_days_without_a_forecast_are_missing_and_counted(folder: Path, tmp_path: Path) -> None:
    archive = weather_archive(tmp_path / "gaps.nc", without=["2020-01-10", "2020-01-20"])
    found = forecast(folder / "run", folder / "cube", tmp_path / "out", weather=archive)
    missing = np.isnan(found["swvl1"]).all(("cell", "lead")).to_numpy()
    assert found["time"].to_numpy()[missing].astype("datetime64[D]").astype(str).tolist() == [
        "2020-01-10",
        "2020-01-20",
    ]
    assert np.isfinite(found["swvl1"].to_numpy()[:, ~missing]).all()
    count = found.sizes["time"]
    notes = found.attrs["notes"]
    first = f"2 of {count} issue days have no forecast of the weather in forecasts that come true"
    assert f"{first} (the first is 2020-01-10)" in notes
    assert (
        f"{2 * CELLS} of {count * CELLS} cell-days are not forecast: an input is missing within the window, or" in notes
    )
    with pytest.raises(
        SoilcastError, match=r"has no forecast issued on 2020-01-20 \(it has 775 issue days, 2018-01-01"
    ):
        forecast(folder / "run", folder / "cube", tmp_path / "day", weather=archive, issue="2020-01-20")


def test_members_of_an_archive_are_pooled_on_every_issue_day(folder: Path, tmp_path: Path) -> None:
    expected = forecast(folder / "run", folder / "cube", tmp_path / "one", weather=folder / "true.nc")
    archive = weather_archive(tmp_path / "archive.nc", members=2)
    found = forecast(folder / "run", folder / "cube", tmp_path / "two", weather=archive)
    np.testing.assert_allclose(found["swvl1"], expected["swvl1"], atol=1e-6)
    np.testing.assert_allclose(found["swvl1_quantile"], expected["swvl1_quantile"], atol=1e-4)


def test_one_forecast_is_no_archive_of_a_period(folder: Path, tmp_path: Path) -> None:
    with xr.open_dataset(folder / "true.nc", decode_timedelta=False) as data:
        data.isel(time=740).to_netcdf(tmp_path / "one.nc", engine="h5netcdf")
    with pytest.raises(SoilcastError, match=r"one.nc: holds one forecast, but \d+ issue days need one each: .*--from"):
        forecast(folder / "run", folder / "cube", tmp_path / "out", weather=tmp_path / "one.nc")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.assign(tp=data["tp"].assign_attrs(units="K")), "unit 'K' of tp does not convert"),
        (lambda data: data.isel(cell=slice(1, None)), "1 of 6 cells .* are not covered"),
    ],
)
def test_an_archive_that_does_not_do_is_refused_before_forecasting(
    folder: Path, tmp_path: Path, change: Callable[[xr.Dataset], xr.Dataset], message: str
) -> None:
    with xr.open_dataset(folder / "true.nc", decode_timedelta=False) as data:
        change(data.load()).to_netcdf(tmp_path / "archive.nc", engine="h5netcdf")
    with pytest.raises(SoilcastError, match=f"archive.nc: .*{message}"):
        forecast(folder / "run", folder / "cube", tmp_path / "out", weather=tmp_path / "archive.nc")
