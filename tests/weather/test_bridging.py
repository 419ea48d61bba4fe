"""The days by which a reanalysis is late: first days of forecasts stand for them, corrected by the days before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from soilcast.cube import open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.forecasting import forecast
from soilcast.weather.bridging import bridge
from tests.helpers.multiday import AHEAD, CELLS, DAYS, changed_cube, quick, weather_archive
from tests.helpers.small import small_cube
from tests.helpers.weather_steps import IFS, truth_of, write_steps
from tests.test_commands import refusal, run

KNOWN, UNTIL = "2020-01-15", "2020-01-20"
NAMES = ("tp", "t2m")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bridging")
    save_cube(small_cube(CELLS, DAYS), path / "cube")
    weather_archive(path / "archive.nc")
    (path / "grib").mkdir()
    for issue in np.arange(KNOWN, UNTIL, dtype="datetime64[D]"):
        truths = truth_of(str(issue), NAMES, leads=3)
        write_steps(path / "grib" / f"{issue}.grib", truths, IFS, NAMES, range(0, 49, 6))
    return path


def made(folder: Path, out: Path, weather: str = "archive.nc", **options: Any) -> xr.Dataset:
    options = {"until": UNTIL, "known_until": KNOWN, "variables": NAMES, **options}
    return bridge(folder / "cube", out, weather=folder / weather, **options)


def biased(folder: Path, path: Path) -> Path:
    """The archive, too warm and too wet, more so in the first half of the year."""
    with xr.open_dataset(folder / "archive.nc") as archive:
        early = (archive["time"] + np.timedelta64(1, "D")).dt.month < 7
        changed = archive.assign(
            t2m=archive["t2m"] + xr.where(early, 3.0, 1.0), tp=archive["tp"] * xr.where(early, 1.5, 2.0)
        )
        for name in NAMES:
            changed[name].attrs = archive[name].attrs
        changed.astype({name: np.float32 for name in NAMES}).to_netcdf(
            path, engine="h5netcdf", encoding={"time": {"units": "days since 2018-01-01"}}
        )
    return path


@pytest.mark.parametrize("weather", ["grib", "archive.nc"])
def test_forecasts_that_come_true_are_the_days_that_the_cube_lacks(folder: Path, tmp_path: Path, weather: str) -> None:
    found = made(folder, tmp_path / "cube", weather, correction="none")
    whole = open_cube(folder / "cube").sel(time=slice(None, UNTIL))
    np.testing.assert_array_equal(found["time"], whole["time"])
    late = found["time"] > np.datetime64(KNOWN)
    for name in (str(name) for name in whole.data_vars):
        mine, theirs = found[name], whole[name]
        if "time" not in theirs.dims:
            np.testing.assert_array_equal(mine, theirs, err_msg=name)
            continue
        np.testing.assert_array_equal(mine[:, ~late], theirs[:, ~late], err_msg=name)
        if name in NAMES:
            np.testing.assert_allclose(mine[:, late], theirs[:, late], rtol=2e-6, atol=1e-9, err_msg=name)
        else:
            assert np.isnan(mine[:, late]).all(), name
    said = json.loads(found.attrs["bridged"])
    assert said["days"] == [str(day) for day in np.arange("2020-01-16", "2020-01-21", dtype="datetime64[D]")]
    assert said["starts"] == ([f"{day}T00" for day in said["days"]] if weather == "grib" else [])
    assert (said["variables"], said["correction"]) == (list(NAMES), "none")
    assert "2020-01-16 .. 2020-01-20: bridged: tp, t2m from the first day of each forecast" in found.attrs["notes"]


@pytest.mark.slow
def test_a_day_without_a_forecast_of_its_own_takes_the_newest_before(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    for day in ("2020-01-15", "2020-01-16", "2020-01-18", "2020-01-19"):
        (tmp_path / "some" / f"{day}.grib").symlink_to(folder / "grib" / f"{day}.grib")
    found = made(folder, tmp_path / "cube", str(tmp_path / "some"), correction="none")
    starts = json.loads(found.attrs["bridged"])["starts"]
    assert starts == ["2020-01-16T00", "2020-01-17T00", "2020-01-17T00", "2020-01-19T00", "2020-01-20T00"]
    whole = open_cube(folder / "cube").sel(time=slice("2020-01-16", UNTIL))
    for name in NAMES:
        np.testing.assert_allclose(found[name][:, -5:], whole[name], rtol=2e-6, atol=1e-9)


def test_a_bias_of_the_month_is_corrected(folder: Path, tmp_path: Path) -> None:
    biased(folder, tmp_path / "biased.nc")
    whole = open_cube(folder / "cube").sel(time=slice("2020-01-16", UNTIL))
    raw = made(folder, tmp_path / "raw", str(tmp_path / "biased.nc"), correction="none")
    np.testing.assert_allclose(raw["t2m"][:, -5:], whole["t2m"] + 3.0, rtol=1e-6)
    for kind in ("mean", "quantile"):
        found = made(folder, tmp_path / kind, str(tmp_path / "biased.nc"), correction=kind)
        np.testing.assert_allclose(found["t2m"][:, -5:], whole["t2m"], atol=1e-3)
        np.testing.assert_allclose(found["tp"][:, -5:], whole["tp"], rtol=1e-3, atol=1e-7)
        done = json.loads(found.attrs["bridged"])["done"]
        assert any(line.startswith("t2m by -3 K (32 days of its month)") for line in done), done


@pytest.mark.slow
def test_a_month_that_was_not_seen_is_corrected_by_all_others_and_too_few_days_not_at_all(
    folder: Path, tmp_path: Path
) -> None:
    biased(folder, tmp_path / "biased.nc")
    some: dict[str, Any] = {"weather": str(tmp_path / "biased.nc"), "known_until": "2019-12-31", "until": "2020-01-05"}
    raw = made(folder, tmp_path / "raw", correction="none", **some)
    found = made(folder, tmp_path / "mean", learn_days=120, **some)
    np.testing.assert_allclose(found["t2m"][:, -5:], raw["t2m"][:, -5:] - 1.0, atol=1e-3)
    assert "t2m by -1 K (120 days of all months)" in "".join(json.loads(found.attrs["bridged"])["done"])
    few = made(folder, tmp_path / "few", learn_days=20, **some)
    np.testing.assert_array_equal(few["t2m"], raw["t2m"])
    assert "t2m not corrected (fewer than 30 days" in "".join(json.loads(few.attrs["bridged"])["done"])


@pytest.mark.slow
def test_nothing_after_the_last_known_day_is_looked_at(folder: Path, tmp_path: Path) -> None:
    late = int(
        (np.datetime64(KNOWN) - np.datetime64(str(small_cube(CELLS, DAYS)["time"].to_numpy()[0])[:10])).astype(int)
    )
    changed_cube(tmp_path / "other", late + 1)
    biased(folder, tmp_path / "biased.nc")
    options: dict[str, Any] = {"until": UNTIL, "known_until": KNOWN, "variables": NAMES}
    made_of = [
        bridge(cube, tmp_path / f"bridged-{number}", weather=tmp_path / "biased.nc", **options)
        for number, cube in enumerate((folder / "cube", tmp_path / "other"))
    ]
    assert made_of[0].attrs["content_sha256"] == made_of[1].attrs["content_sha256"]


@pytest.mark.slow
def test_a_forecast_from_a_bridged_cube_is_that_from_the_days_themselves(folder: Path, tmp_path: Path) -> None:
    quick(folder / "cube", tmp_path / "run", "task.dynamic=[t2m,tp]", AHEAD, "task.latency={lags: 5}")
    made(folder, tmp_path / "bridged", correction="none")
    options: dict[str, Any] = {"issue": UNTIL, "weather": folder / "archive.nc"}
    whole = forecast(tmp_path / "run", folder / "cube", tmp_path / "whole", **options)
    late = forecast(tmp_path / "run", tmp_path / "bridged", tmp_path / "late", **options)
    np.testing.assert_array_equal(late["swvl1"], whole["swvl1"])
    assert json.loads(late.attrs["bridged"])["days"][0] == "2020-01-16"
    assert "bridged" not in whole.attrs


@pytest.mark.slow
def test_without_weather_all_inputs_are_missing_on_the_bridged_days(folder: Path, tmp_path: Path) -> None:
    found = bridge(folder / "cube", tmp_path / "cube", until=UNTIL, known_until=KNOWN)
    assert found.sizes["time"] == open_cube(folder / "cube").sel(time=slice(None, UNTIL)).sizes["time"]
    assert np.isnan(found["tp"][:, -5:]).all()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing to bridge": ({"until": KNOWN}, r"until 2020-01-15: .* end 2020-01-15: it needs no bridging"),
    "too many days": ({"until": "2020-06-01"}, "138 days, more than 60: update it first"),
    "no day": ({"until": "soon"}, "--until soon: write a day, such as 2026-11-25"),
    "outside": ({"known_until": "2031-01-01", "until": "2031-01-03"}, "--known-until 2031-01-01 is outside"),
    "no variable": ({"variables": ["rain"]}, "no dynamic variable rain"),
    "soil moisture": ({"variables": ["swvl1"]}, "soil moisture is not taken from a weather forecast"),
    "no variables": ({"variables": []}, "--weather and --variables: give both"),
    "correction": ({"correction": "means"}, "--correction means: did you mean mean?"),
    "no forecast": ({"until": "2020-02-19", "known_until": "2020-02-17"}, "has no forecast issued on 2020-02-17"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_bridged_is_refused(folder: Path, tmp_path: Path, what: str) -> None:
    options, words = REFUSED[what]
    with pytest.raises(SoilcastError, match=words) as caught:
        made(folder, tmp_path / "cube", **options)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_command_says_what_it_did_and_refuses_a_bridged_cube(folder: Path, tmp_path: Path) -> None:
    words = ("bridge", folder / "cube", "--weather", folder / "archive.nc", "--variables", "tp,t2m", "--out")
    days = ("--until", UNTIL, "--known-until", KNOWN)
    assert "tp, t2m from the first day of each forecast" in run(*words, tmp_path / "cube", *days)[0]
    again = ("bridge", tmp_path / "cube", "--until", "2020-01-25", "--out", tmp_path / "twice")
    assert "is bridged already: give the cube that it was made of" in refusal(*again)
