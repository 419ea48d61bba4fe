"""The verdict on made forecasts at made stations, as a call and a command: numbers, files, page and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import soilcast
from soilcast.cube import open_artifact
from soilcast.errors import SoilcastError
from soilcast.models.baselines import damped_anomaly
from soilcast.stations import verdict
from soilcast.verify.stations.estimates import Answer
from tests.helpers.forks import run_command
from tests.helpers.html_page import Page
from tests.helpers.station_truth import (
    CELLS,
    DAYS,
    LEADS,
    PLACES,
    Distortion,
    grid_cube,
    grid_forecast,
    station_cube,
    truth,
)

TRUTH = truth()
GOOD = Distortion(noise=0.004)
BAD = Distortion(0.05, 1.5, 1, 0.01)
TEST_DAYS = slice(int(np.searchsorted(DAYS, np.datetime64("2019-07-01"))), len(DAYS))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stations")
    station_cube(root / "stations.zarr", TRUTH[list(CELLS)])
    grid_forecast(root / "good.zarr", GOOD(TRUTH), label="good")
    grid_forecast(root / "bad.nc", BAD(TRUTH), label="bad", period="2018-01-01:2020-12-30")
    grid_cube(root / "third.zarr", Distortion(noise=0.02)(TRUTH, seed=9))
    return root


@pytest.fixture(scope="module")
def judged(made: Path) -> xr.Dataset:
    forecasts = [made / "good.zarr", made / "bad.nc"]
    return verdict(forecasts, made / "stations.zarr", made / "out", third=made / "third.zarr")


def refusal(*arguments: Any, **options: Any) -> str:
    with pytest.raises(SoilcastError) as caught:
        verdict(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.slow
def test_the_verdict_answers_and_names_what_was_put_in(judged: xr.Dataset) -> None:
    good, bad = (judged.sel(forecast=name, target="swvl1") for name in ("good", "bad"))
    assert (good["answer"] == Answer.YES).all()
    assert (good["network_answer"] == Answer.YES).all()
    assert (bad["answer"] == Answer.NO).all()
    assert (good["shift"] == 0).all()
    assert (bad["shift"] == 1).all()
    np.testing.assert_allclose(bad["gain"], 1.5, atol=0.04)
    np.testing.assert_allclose(bad["noise"], 0.01, atol=0.002)
    np.testing.assert_allclose(good["noise"], 0.004, atol=0.0005)
    expected = 0.05 + 0.5 * (TRUTH[list(CELLS), TEST_DAYS].mean(axis=1) - 0.25)
    np.testing.assert_allclose(bad["offset"], expected, atol=0.002)


@pytest.mark.slow
def test_runs_of_one_label_are_told_by_the_folders_of_the_user(made: Path, tmp_path: Path) -> None:
    for folder, distortion in (("dry", BAD), ("wet", GOOD)):
        (tmp_path / folder).mkdir()
        grid_forecast(tmp_path / folder / "forecast.zarr", distortion(TRUTH), label="run")
    forecasts = [tmp_path / "dry" / ".." / folder / "forecast.zarr" for folder in ("dry", "wet")]
    found = verdict(forecasts, made / "stations.zarr", tmp_path / "out")
    assert found["forecast"].to_numpy().tolist() == ["run (dry)", "run (wet)"]
    assert "run (dry), swvl1: is it better" in (tmp_path / "out" / "verdict.html").read_text(encoding="utf-8")
    assert {one.name for one in tmp_path.iterdir()} == {"dry", "wet", "out"}


@pytest.mark.slow
def test_the_numbers_are_those_of_the_series(judged: xr.Dataset, made: Path) -> None:
    first = judged.sel(target="swvl1", lead=2).isel(cell=1)
    issues = np.arange(TEST_DAYS.start - 1, TEST_DAYS.stop - LEADS)
    truth_there = TRUTH[CELLS[1]].astype(np.float32)
    error = GOOD(TRUTH)[CELLS[1]].astype(np.float32)[issues + 2] - truth_there[issues + 2]
    assert first["rmse"].sel(model="good").item() == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-4)
    lagged = truth_there[issues] - truth_there[issues + 2]
    assert first["rmse"].sel(model="persistence").item() == pytest.approx(np.sqrt(np.mean(lagged**2)), rel=1e-4)
    learn = np.datetime64("2019-06-30") >= DAYS
    damped = damped_anomaly(truth_there[np.newaxis], DAYS, learn, slice(0, len(DAYS)), lag=2)[0]
    error = damped[issues + 2] - truth_there[issues + 2]
    assert first["rmse"].sel(model="damped anomaly").item() == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-4)
    skill = judged["skill"].sel(forecast="good", reference="persistence", target="swvl1", lead=2).isel(cell=1)
    ratio = first["rmse"].sel(model="good") / first["rmse"].sel(model="persistence")
    assert skill.item() == pytest.approx(1 - ratio.item() ** 2, rel=1e-6)


@pytest.mark.slow
def test_the_files_are_there_and_open(judged: xr.Dataset, made: Path) -> None:
    out = made / "out"
    assert {one.name for one in out.iterdir()} == {
        "scores", "verdict.nc", "verdict.html", "stations.csv", "answers.csv",
    }  # fmt: skip
    assert not list(made.glob("*unfinished*"))
    with open_artifact(out / "verdict.nc", "verdict") as opened:
        xr.testing.assert_allclose(opened["difference"], judged["difference"])
    stations, answers = (pd.read_csv(out / f"{name}.csv") for name in ("stations", "answers"))
    assert set(stations["station"]) == set(PLACES)
    assert {"yes", "no"} == set(answers["better"])
    row = stations[(stations.model == "good") & (stations.lead == 1) & (stations.station == "NET/Elm")].iloc[0]
    at = judged.sel(model="good", lead=1, target="swvl1").isel(cell=1)
    assert row["rmse"] == pytest.approx(at["rmse"].item())
    assert row["r_low"] <= row["r"] <= row["r_high"] <= 1
    assert "better than the station's persistence" in str(soilcast.inspect(out))
    soilcast.report(out, made / "again.html")
    soilcast.report(out / "scores", made / "scores.html")


@pytest.mark.slow
def test_the_page_ends_with_the_answers_and_their_numbers(judged: xr.Dataset, made: Path) -> None:
    text = Page((made / "out" / "verdict.html").read_text(encoding="utf-8")).text
    end = text[text.rindex("Is the forecast better than the station") :]
    for words in ("NET/Oak: Yes at all 2 leads", "NET/Oak: No at all 2 leads", "responds a day late", "wetter"):
        assert words in end
    assert "Triple collocation with" in end


@pytest.mark.slow
def test_triple_collocation_tells_whose_error_it_is(judged: xr.Dataset) -> None:
    error = judged["collocation_error"].sel(forecast="good", target="swvl1")
    np.testing.assert_allclose(error.sel(product="forecast"), 0.004, atol=0.004)
    np.testing.assert_allclose(error.sel(product="third"), 0.02, atol=0.003)


@pytest.mark.slow
@pytest.mark.parametrize("matching", ["mean-variance", "cdf"])
def test_a_distorted_copy_scores_perfectly_after_matching(matching: str, made: Path, tmp_path: Path) -> None:
    distorted = grid_forecast(tmp_path / "f.zarr", Distortion(0.05, 1.5)(TRUTH))
    grid_cube(tmp_path / "climate.zarr", Distortion(0.05, 1.5)(TRUTH))
    plain = verdict(distorted, made / "stations.zarr", tmp_path / "plain")
    assert plain["rmse"].sel(model="LSTM").min() > 0.02
    options = {"matching": matching, "climate": tmp_path / "climate.zarr"}
    found = verdict(distorted, made / "stations.zarr", tmp_path / "out", **options)
    assert found["rmse"].sel(model="LSTM").max() < (1e-4 if matching == "mean-variance" else 2e-3)
    assert (found["fitted_on"] > 365).all()
    # What was matched is still named, as it was before.
    np.testing.assert_allclose(found["gain"], 1.5, atol=0.01)


@pytest.mark.slow
def test_no_scored_day_decides_on_the_matching(made: Path, tmp_path: Path) -> None:
    """Another test period changes the scores, but not what the forecast of one and the same value becomes."""
    scrambled = TRUTH.copy()
    scrambled[:, TEST_DAYS] = 0.4 * np.random.default_rng(0).random(scrambled[:, TEST_DAYS].shape)
    biases = []
    for name, series in (("a", TRUTH), ("b", scrambled)):
        stations = station_cube(tmp_path / f"{name}.zarr", series[list(CELLS)])
        climate = grid_cube(tmp_path / f"climate-{name}.zarr", Distortion(0.03)(series))
        forecast = grid_forecast(tmp_path / f"f-{name}.zarr", np.full_like(TRUTH, 0.3))
        found = verdict(forecast, stations, tmp_path / f"out-{name}", matching="cdf", climate=climate)
        observed = series[list(CELLS)][:, TEST_DAYS.start : TEST_DAYS.stop - 1].astype(np.float32).mean(axis=1)
        biases.append(found["bias"].sel(model="LSTM", lead=1, target="swvl1").to_numpy() + observed)
    np.testing.assert_allclose(biases[0], biases[1], atol=2e-5)


@pytest.mark.slow
def test_the_forecast_itself_tells_its_climate_where_it_covers_days_before_the_test(made: Path, tmp_path: Path) -> None:
    found = verdict(made / "bad.nc", made / "stations.zarr", tmp_path / "out", matching="anomalies")
    assert (found["fitted_on"] > 365).all()
    assert np.abs(found["bias"].sel(model="bad")).max() < 0.02


@pytest.mark.slow
def test_stations_that_cannot_be_compared_say_why(made: Path, tmp_path: Path) -> None:
    series = TRUTH[[0, 4, 8, 0]].copy()
    series[1, TEST_DAYS] = np.nan
    series[2, TEST_DAYS.start + 40 :] = np.nan
    places = {**PLACES, "NET/Far": (10.0, 10.0)}
    stations = station_cube(tmp_path / "s.zarr", series, places=places)
    found = verdict(made / "good.zarr", stations, tmp_path / "out").sel(forecast="good", target="swvl1")
    assert (found["answer"].isel(cell=0) == Answer.YES).all()
    assert (found["answer"].isel(cell=slice(1, None)) == Answer.NOT_ENOUGH).all()
    reasons = found["reason"].to_numpy()
    assert reasons[0] == reasons[2] == ""
    assert "no observation on the days of the forecast" in reasons[1]
    assert "km away" in reasons[3]
    page = (tmp_path / "out" / "verdict.html").read_text(encoding="utf-8")
    assert "an interval takes 6 blocks" in page
    assert "Not enough data: the nearest cell is" in page


def test_one_observation_is_not_enough_data(made: Path, tmp_path: Path) -> None:
    series = np.full((3, len(DAYS)), np.nan)
    series[:, TEST_DAYS.start + 100] = 0.2
    stations = station_cube(tmp_path / "s.zarr", series)
    message = refusal(made / "good.zarr", stations, tmp_path / "out")
    assert "good.zarr" in message
    assert "1 observation on the days of the forecast" in message
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_compared_is_refused_in_one_line(made: Path, tmp_path: Path) -> None:
    good, stations, out = made / "good.zarr", made / "stations.zarr", tmp_path / "out"
    far = station_cube(tmp_path / "far.zarr", TRUTH[:1], places={"NET/Far": (10.0, 10.0)})
    assert "the closest, NET/Far, is" in refusal(good, far, out)
    assert "state --distance KM" in refusal(good, far, out)
    deep = station_cube(tmp_path / "deep.zarr", TRUTH[list(CELLS)], depth=0.5)
    assert "its sensor at 0.50 m is outside the layer from 0.00 to 0.07 m" in refusal(good, deep, out)
    assert "--matching magic" in refusal(good, stations, out, matching="magic")
    assert "forecast days before the test too" in refusal(good, stations, out, matching="cdf")
    assert "in metres" in refusal(good, stations, out, layers="7,0")
    assert "no forecast is given" in refusal([], stations, out)
    early = TRUTH[list(CELLS)].copy()
    early[:, TEST_DAYS] = np.nan
    assert "no observation on the days" in refusal(good, station_cube(tmp_path / "early.zarr", early), out)
    late = TRUTH[list(CELLS)].copy()
    late[:, : TEST_DAYS.start] = np.nan
    assert "go back into these periods" in refusal(good, station_cube(tmp_path / "late.zarr", late), out)
    layer2 = grid_forecast(tmp_path / "l2.zarr", TRUTH, change=lambda f: f.rename(swvl1="swvl2"), targets="swvl2")
    assert "has none" in refusal(layer2, stations, out)
    assert not out.exists()
    assert not list(tmp_path.glob("out*"))


@pytest.mark.slow
def test_the_command_replaces_only_its_own(made: Path, tmp_path: Path) -> None:
    arguments = ["verdict", made / "good.zarr", "--stations", made / "stations.zarr", "--out", tmp_path / "out"]
    done = run_command(*arguments)
    assert done.returncode == 0, done.stderr
    assert "at 3 station(s)" in done.stdout
    again = run_command(*arguments)
    assert again.returncode == 2
    assert "exists" in again.stderr
    soilcast.verdict(made / "good.zarr", made / "stations.zarr", tmp_path / "out", overwrite=True)
    (tmp_path / "out" / "mine.txt").write_text("mine", encoding="utf-8")
    assert "is not replaced" in refusal(made / "good.zarr", made / "stations.zarr", tmp_path / "out", overwrite=True)
