"""Outlooks from training to file: nothing leaks, bits do not depend on blocks, and what is amiss is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from outlooks import AHEAD, CELLS, DAYS, LEADS, QUICK, changed_cube, forecast_weather, quick
from small import small_cube
from soilcast.cube import open_artifact, save_cube
from soilcast.errors import SoilcastError
from soilcast.forecasting import forecast
from soilcast.training import load_config, open_run, train

ISSUE = "2020-01-20"
AT = 749
"""Position of the issue day in the small cube."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outlooks")
    save_cube(small_cube(CELLS, DAYS), path / "cube")
    quick(path / "cube", path / "run")
    quick(path / "cube", path / "ahead", AHEAD)
    return path


def values_of(outlook: xr.Dataset) -> dict[str, np.ndarray]:
    return {str(name): one.to_numpy() for name, one in outlook.data_vars.items()}


def same(one: xr.Dataset, other: xr.Dataset) -> None:
    mine, theirs = values_of(one), values_of(other)
    assert mine.keys() == theirs.keys()
    for name, values in mine.items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)


@pytest.mark.parametrize(
    ("settings", "model"),
    [
        ((), "lstm"),
        (("outlook.target=level",), "phy-lstm"),
        (("outlook.path=rollout", "inputs.latency_days=2", "inputs.calendar=true"), "lstm"),
        (("outlook.head=bucket", AHEAD, "outlook.layers=[swvl1,swvl2]"), "lstm"),
        (("outlook.distribution=quantiles", "normalise.method=z_score"), "phys-lstm"),
        (("outlook.distribution=cmal", "train.ensemble=2"), "lstm"),
        (("outlook.dropout_draws=3", "normalise.scope=global"), "lstm"),
        (
            ("outlook.layers=[swvl1,swvl2,swvl3]", "inputs.lags=[swvl1,swvl2,swvl3]", "outlook.hidden_lags=0.2"),
            "phy-lstm",
        ),
        (("outlook.bounds=1", "outlook.rain=1", AHEAD, "outlook.far=1"), "phy-lstm"),
        (("outlook.levels=[]", "train.schedule=cosine"), "lstm"),
    ],
)
def test_every_kind_of_outlook_is_trained_and_forecast(
    folder: Path, tmp_path: Path, settings: tuple[str, ...], model: str
) -> None:
    run = quick(folder / "cube", tmp_path / "run", *settings, model=model)
    outlook = forecast(tmp_path / "run", folder / "cube", tmp_path / "outlook")
    layers = run.config.layers
    assert outlook.attrs["targets"] == ",".join(layers)
    days = outlook["time"].to_numpy().astype("datetime64[D]")
    assert (days[0], days[-1]) == (np.datetime64("2019-12-31"), np.datetime64("2020-02-16"))
    np.testing.assert_array_equal(outlook["lead"], [1, 2, 3])
    assert (outlook["valid_time"] == outlook["time"] + outlook["lead"] * np.timedelta64(1, "D")).all()
    for layer in layers:
        values = outlook[layer].to_numpy()
        assert outlook[layer].dims == ("cell", "time", "lead")
        assert np.isfinite(values).all()
        assert ((values >= 0) & (values <= 1)).all()
        if run.config.outlook.levels:
            quantiles = outlook[f"{layer}_quantile"].to_numpy()
            assert quantiles.shape == (*values.shape, len(run.config.outlook.levels))
            assert (np.diff(quantiles, axis=-1) >= 0).all()
        else:
            assert "quantile" not in outlook.dims
    if len(layers) == 3:
        thickness = np.array([0.07, 0.21, 0.72])
        whole = np.stack([outlook[layer].to_numpy() for layer in layers], axis=-1) @ (thickness / thickness.sum())
        np.testing.assert_allclose(outlook["root_zone"], whole, atol=1e-6)
    opened = open_run(tmp_path / "run")
    same(forecast(tmp_path / "run", folder / "cube", tmp_path / "again"), outlook)
    assert opened.outlook is not None
    assert (opened.calibration is not None) == bool(run.config.outlook.levels)


def test_an_outlook_is_what_the_network_says_of_what_is_known(folder: Path, tmp_path: Path) -> None:
    outlook = forecast(folder / "ahead", folder / "cube", tmp_path / "outlook", issue=ISSUE, weather="observed")
    run, cube = open_run(folder / "ahead"), small_cube(CELLS, DAYS)
    cell, inputs = 2, run.config.inputs
    seen = {
        name: run.scalings[name].of_cells(slice(cell, cell + 1)).normalise(cube[name][cell : cell + 1].to_numpy())[0]
        for name in (*inputs.dynamic, *inputs.lags)
    }
    height = run.scalings["elevation"].normalise(cube["elevation"].to_numpy())[cell]
    steps = []
    for step in range(inputs.sequence_length + LEADS - 1):
        day = AT + 1 + step - (inputs.sequence_length - 1)
        past = float(day - 1 <= AT)
        row = [seen[name][day - 1] * past for name in inputs.dynamic] + [past]
        row += [seen[name][day] for name in inputs.known_future]
        row += [seen[name][day - 1] * past for name in inputs.lags] + [past, past]
        steps.append([*row, seen["swvl1"][AT], height])
    with torch.inference_mode():
        said = run.networks[0](torch.tensor(steps, dtype=torch.float32)[None])[0, :, 0, 0].numpy()
    scaling = run.scalings["swvl1"]
    expected = said * scaling.scale[cell] + scaling.offset[cell]
    np.testing.assert_allclose(outlook["swvl1"][cell, 0], expected, atol=1e-6)


@pytest.mark.parametrize("run", ["run", "ahead"])
def test_nothing_after_the_issue_day_matters_but_the_forecast_of_the_weather(
    folder: Path, tmp_path: Path, run: str
) -> None:
    weather = forecast_weather(tmp_path / "weather.nc", ISSUE) if run == "ahead" else None
    expected = forecast(folder / run, folder / "cube", tmp_path / "expected", issue=ISSUE, weather=weather)
    changed = changed_cube(tmp_path / "changed", AT + 1)
    same(forecast(folder / run, changed, tmp_path / "later", issue=ISSUE, weather=weather), expected)
    before = changed_cube(tmp_path / "before", AT)
    other = forecast(folder / run, before, tmp_path / "other", issue=ISSUE, weather=weather)
    assert not np.array_equal(other["swvl1"], expected["swvl1"])
    save_cube(small_cube(CELLS, DAYS).isel(time=slice(None, AT + 1)), tmp_path / "short")
    same(forecast(folder / run, tmp_path / "short", tmp_path / "last", issue=ISSUE, weather=weather), expected)


def test_observed_weather_ahead_is_that_of_the_days_ahead_alone(folder: Path, tmp_path: Path) -> None:
    told = {"issue": ISSUE, "weather": "observed"}
    expected = forecast(folder / "ahead", folder / "cube", tmp_path / "expected", **told)
    behind = changed_cube(tmp_path / "behind", AT + LEADS + 1)
    same(forecast(folder / "ahead", behind, tmp_path / "one", **told), expected)
    unknown = changed_cube(tmp_path / "unknown", AT + 1, ["ssrd", "swvl1", "swvl2", "sp"])
    same(forecast(folder / "ahead", unknown, tmp_path / "two", **told), expected)
    known = changed_cube(tmp_path / "known", AT + 2, ["tp"])
    other = forecast(folder / "ahead", known, tmp_path / "three", **told)
    assert np.array_equal(other["swvl1"][..., 0], expected["swvl1"][..., 0])
    assert not np.array_equal(other["swvl1"][..., 1], expected["swvl1"][..., 1])
    weather = forecast_weather(tmp_path / "weather.nc", ISSUE)
    told_so = forecast(folder / "ahead", folder / "cube", tmp_path / "four", issue=ISSUE, weather=weather)
    np.testing.assert_allclose(told_so["swvl1"], expected["swvl1"], atol=1e-6)
    assert (told_so.attrs["weather"], expected.attrs["weather"]) == ("forecast", "observed")


@pytest.mark.parametrize("latency", [1, 3])
def test_soil_moisture_within_the_latency_does_not_matter(folder: Path, tmp_path: Path, latency: int) -> None:
    quick(folder / "cube", tmp_path / "run", f"inputs.latency_days={latency}")
    expected = forecast(tmp_path / "run", folder / "cube", tmp_path / "expected", issue=ISSUE)
    soil = ["swvl1", "swvl2"]
    late = changed_cube(tmp_path / "late", AT - latency + 1, soil)
    same(forecast(tmp_path / "run", late, tmp_path / "one", issue=ISSUE), expected)
    early = changed_cube(tmp_path / "early", AT - latency, soil)
    other = forecast(tmp_path / "run", early, tmp_path / "two", issue=ISSUE)
    assert not np.array_equal(other["swvl1"], expected["swvl1"])


def test_the_test_days_have_no_part_in_training_or_calibration(folder: Path, tmp_path: Path) -> None:
    changed = changed_cube(tmp_path / "changed", 730)  # the first test day
    for name, settings in (("run", ()), ("ahead", (AHEAD,))):
        again = quick(changed, tmp_path / name, *settings)
        first = open_run(folder / name)
        for mine, theirs in zip(again.networks[0].parameters(), first.networks[0].parameters(), strict=True):
            assert torch.equal(mine, theirs)
        assert again.calibration is not None
        assert first.calibration is not None
        np.testing.assert_array_equal(again.calibration.shift, first.calibration.shift)
        assert all(np.array_equal(again.scalings[one].scale, first.scalings[one].scale) for one in first.scalings)


def test_validation_days_have_no_part_in_the_statistics_and_steps(folder: Path, tmp_path: Path) -> None:
    first = open_run(folder / "run")
    start = np.datetime64(str(first.record["validation_period"])[:10])
    at = int((start - np.datetime64("2018-01-01")) / np.timedelta64(1, "D"))
    again = quick(changed_cube(tmp_path / "changed", at), tmp_path / "run")
    assert [line["train_loss"] for line in again.log] == [line["train_loss"] for line in first.log]
    assert again.log[-1]["validation_loss"] != first.log[-1]["validation_loss"]


def test_any_block_of_cells_gives_the_same_bits(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = forecast(folder / "run", folder / "cube", tmp_path / "expected")
    monkeypatch.setattr("soilcast.forecasting.outlook_blocks._WINDOWS_AT_ONCE", {"cpu": 1})
    monkeypatch.setattr("soilcast.forecasting.outlooks.block_size", lambda *_: 2)
    found = forecast(folder / "run", folder / "cube", tmp_path / "found")
    for name in ("swvl1", "swvl1_quantile"):
        np.testing.assert_allclose(found[name], expected[name], atol=2e-7)
    again = forecast(folder / "run", folder / "cube", tmp_path / "again")
    same(again, found)


def test_an_unfinished_outlook_is_gone_on_with(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from soilcast.forecasting.stream import ForecastStream

    monkeypatch.setattr("soilcast.forecasting.outlook_blocks._WINDOWS_AT_ONCE", {"cpu": 1})
    monkeypatch.setattr("soilcast.forecasting.outlooks.block_size", lambda *_: 2)
    expected = forecast(folder / "run", folder / "cube", tmp_path / "expected")
    genuine, calls = ForecastStream.write, []

    def write(self, number, values):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(number)
        genuine(self, number, values)

    with monkeypatch.context() as patch:
        patch.setattr(ForecastStream, "write", write)
        with pytest.raises(KeyboardInterrupt):
            forecast(folder / "run", folder / "cube", tmp_path / "out")
    with pytest.raises(SoilcastError, match=r"issue_days .*:2020-02-16, but this forecast is of .*:2020-02-17"):
        forecast(folder / "run", folder / "cube", tmp_path / "out", resume=True, leads=2)
    found = forecast(folder / "run", folder / "cube", tmp_path / "out", resume=True)
    same(found, expected)
    same(forecast(folder / "run", folder / "cube", tmp_path / "out", resume=True), expected)
    with pytest.raises(SoilcastError, match=r"is an outlook of issue_days .*:2020-02-16, not .*:2020-02-17"):
        forecast(folder / "run", folder / "cube", tmp_path / "out", resume=True, leads=2)


def test_fewer_days_ahead_are_the_first_of_all(folder: Path, tmp_path: Path) -> None:
    whole = forecast(folder / "ahead", folder / "cube", tmp_path / "whole", issue=ISSUE, weather="observed")
    weather = forecast_weather(tmp_path / "weather.nc", ISSUE, leads=2)
    short = forecast(folder / "ahead", folder / "cube", tmp_path / "short", issue=ISSUE, weather=weather, leads=2)
    np.testing.assert_allclose(short["swvl1"], whole["swvl1"][..., :2], atol=1e-6)
    assert short.attrs["lead_days"] == 2


def test_an_ensemble_of_weather_widens_what_is_said(folder: Path, tmp_path: Path) -> None:
    one = forecast_weather(tmp_path / "one.nc", ISSUE)
    alike = forecast_weather(tmp_path / "alike.nc", ISSUE, members=1)
    several = forecast_weather(tmp_path / "several.nc", ISSUE, members=4)
    told = {
        name: forecast(folder / "ahead", folder / "cube", tmp_path / name, issue=ISSUE, weather=path)
        for name, path in (("a", one), ("b", alike), ("c", several))
    }
    np.testing.assert_allclose(told["a"]["swvl1"], told["b"]["swvl1"], atol=1e-6)
    width = [
        float((told[name]["swvl1_quantile"][..., -1] - told[name]["swvl1_quantile"][..., 0]).mean()) for name in "ac"
    ]
    assert width[1] > width[0]


def test_days_are_added_to_those_before(folder: Path, tmp_path: Path) -> None:
    out, days = tmp_path / "days", ["2020-01-20", "2020-01-21", "2020-01-25"]
    alone = []
    for day in days:
        forecast(folder / "run", folder / "cube", out, issue=day, append=True)
        alone.append(forecast(folder / "run", folder / "cube", tmp_path / day, issue=day).load())
    found = open_artifact(out, "outlook")
    for name in found.data_vars:
        if "time" in found[name].dims:
            np.testing.assert_array_equal(found[name], np.concatenate([one[name] for one in alone], axis=1))
    assert found["valid_time"].to_numpy()[-1, 0] == np.datetime64("2020-01-26")
    assert found.attrs["issue_days"] == "2020-01-20:2020-01-25"
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("swvl1*/c/0/1/**/*") if path.is_file()}
    held = xr.open_zarr(out, consolidated=False, chunks=None)
    forecast(folder / "run", folder / "cube", out, issue="2020-01-26", append=True)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    del held
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["days", *days])


def test_a_day_that_was_added_is_there(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "days"
    for day in (ISSUE, "2020-01-21"):
        first = forecast(folder / "run", folder / "cube", out, issue=day, append=True)
    again = forecast(folder / "run", folder / "cube", out, issue="2020-01-21", append=True, resume=True)
    assert again.sizes["time"] == first.sizes["time"] == 2


def test_another_forecast_of_the_weather_is_another_outlook(folder: Path, tmp_path: Path) -> None:
    told = {"issue": ISSUE, "resume": True}
    for name, shift in (("a.nc", 0.0), ("b.nc", 3.0)):
        forecast_weather(tmp_path / name, ISSUE, shift=shift)
    forecast(folder / "ahead", folder / "cube", tmp_path / "out", weather=tmp_path / "a.nc", **told)
    forecast(folder / "ahead", folder / "cube", tmp_path / "out", weather=tmp_path / "a.nc", **told)
    with pytest.raises(SoilcastError, match="an outlook of weather_forecast"):
        forecast(folder / "ahead", folder / "cube", tmp_path / "out", weather=tmp_path / "b.nc", **told)
    told |= {"units": {"t2m": "K"}, "weather": tmp_path / "a.nc"}
    with pytest.raises(SoilcastError, match="an outlook of weather_forecast"):
        forecast(folder / "ahead", folder / "cube", tmp_path / "out", **told)


def test_what_cannot_be_added_is_named(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "days"
    forecast(folder / "run", folder / "cube", out, issue=ISSUE)
    told = {"append": True, "issue": "2020-01-21"}
    with pytest.raises(SoilcastError, match="its last issue day is 2020-01-20, and days are added behind it"):
        forecast(folder / "run", folder / "cube", out, issue=ISSUE, append=True)
    with pytest.raises(SoilcastError, match="lead_days is 3, but 2 of this outlook"):
        forecast(folder / "run", folder / "cube", out, leads=2, **told)
    with pytest.raises(SoilcastError, match="weights_sha256"):
        forecast(folder / "ahead", folder / "cube", out, weather="observed", **told)
    quick(folder / "cube", tmp_path / "global", "normalise.scope=global")
    forecast(tmp_path / "global", folder / "cube", tmp_path / "here", issue=ISSUE)
    save_cube(small_cube(4, DAYS, seed=5), tmp_path / "elsewhere")
    with pytest.raises(SoilcastError, match="outlooks of other cells than those of the cube"):
        forecast(tmp_path / "global", tmp_path / "elsewhere", tmp_path / "here", **told)
    weather = forecast_weather(tmp_path / "weather.nc", "2020-01-21")
    forecast(folder / "ahead", folder / "cube", tmp_path / "knowing", issue=ISSUE, weather="observed")
    with pytest.raises(SoilcastError, match="weather is observed, but forecast of this outlook"):
        forecast(folder / "ahead", folder / "cube", tmp_path / "knowing", weather=weather, **told)
    with pytest.raises(SoilcastError, match="say which by --from"):
        forecast(folder / "run", folder / "cube", out, append=True)
    forecast(folder / "run", folder / "cube", tmp_path / "day.nc", issue=ISSUE)
    with pytest.raises(SoilcastError, match="outlooks are added to a Zarr folder"):
        forecast(folder / "run", folder / "cube", tmp_path / "day.nc", **told)
    forecast(folder / "run", folder / "cube", tmp_path / "period")
    with pytest.raises(SoilcastError, match="outlooks of a whole period"):
        forecast(folder / "run", folder / "cube", tmp_path / "period", append=True, issue="2020-02-17")


@pytest.mark.parametrize(
    ("run", "told", "message"),
    [
        ("run", {"leads": 5}, "--lead 5: the run was trained for 3 day"),
        ("run", {"issue": "2021-01-01"}, r"--from 2021-01-01 is outside the cube \(2018-01-01 .. 2020-02-19\).*update"),
        ("run", {"issue": "soon"}, "--from soon: write a day"),
        ("run", {"issue": ISSUE, "weather": "w.nc"}, "trained without the weather ahead"),
        ("run", {"weather": "w.nc"}, "is the forecast of one day: say which by --from"),
        ("run", {"dask": "tcp://127.0.0.1:1"}, "made by one process"),
        ("run", {"period": "2020-01-01:2020-01-02"}, "no room for 3 days ahead"),
        ("ahead", {"issue": ISSUE}, "the run knows tp, t2m of the days ahead: give the forecast as --weather"),
        ("ahead", {"issue": "2020-02-18", "weather": "observed"}, "it ends 2020-02-19, before the 3 days after"),
    ],
)
def test_what_cannot_be_forecast_is_named(
    folder: Path, tmp_path: Path, run: str, told: dict[str, object], message: str
) -> None:
    with pytest.raises(SoilcastError, match=message):
        forecast(folder / run, folder / "cube", tmp_path / "out", **told)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_forecast_of_the_weather_that_does_not_do_is_named(folder: Path, tmp_path: Path) -> None:
    short = forecast_weather(tmp_path / "short.nc", ISSUE, leads=2)
    with pytest.raises(SoilcastError, match=r"short.nc.*2 of the 3"):
        forecast(folder / "ahead", folder / "cube", tmp_path / "out", issue=ISSUE, weather=short)
    elsewhere = forecast_weather(tmp_path / "elsewhere.nc", ISSUE)
    with xr.open_dataset(elsewhere, engine="h5netcdf") as opened:
        opened.load().isel(cell=slice(2, None)).to_netcdf(tmp_path / "few.nc", engine="h5netcdf")
    with pytest.raises(SoilcastError, match=r"few.nc.*2 of (the )?6 cells"):
        forecast(folder / "ahead", folder / "cube", tmp_path / "out", issue=ISSUE, weather=tmp_path / "few.nc")


def test_stale_soil_moisture_is_refused_left_out_or_replaced_as_the_config_says(folder: Path, tmp_path: Path) -> None:
    cube = small_cube(CELLS, DAYS)
    soil = cube["swvl1"].to_numpy().copy()
    soil[1, AT - 1 : AT + 1] = np.nan
    cube["swvl1"] = (("cell", "time"), soil, cube["swvl1"].attrs)
    save_cube(cube, tmp_path / "stale")
    expected = forecast(folder / "run", folder / "cube", tmp_path / "expected", issue=ISSUE)
    with pytest.raises(SoilcastError, match=r"1 of 6 cells.*no swvl1 on 2020-01-20 .*latency_days 0.*--gaps missing"):
        forecast(folder / "run", tmp_path / "stale", tmp_path / "out", issue=ISSUE)
    left = forecast(folder / "run", tmp_path / "stale", tmp_path / "left", issue=ISSUE, gaps="missing")
    assert np.isnan(left["swvl1"][1]).all()
    others = [0, 2, 3, 4, 5]
    np.testing.assert_array_equal(left["swvl1"][others], expected["swvl1"][others])
    np.testing.assert_array_equal(left["soil_moisture_age"][:, 0], [0, np.nan, 0, 0, 0, 0])
    quick(folder / "cube", tmp_path / "filling", "inputs.fill_days=2")
    filled = forecast(tmp_path / "filling", tmp_path / "stale", tmp_path / "filled", issue=ISSUE)
    assert np.isfinite(filled["swvl1"]).all()
    np.testing.assert_array_equal(filled["soil_moisture_age"][:, 0], [0, 2, 0, 0, 0, 0])
    quick(folder / "cube", tmp_path / "little", "inputs.fill_days=1")
    with pytest.raises(SoilcastError, match=r"nor in the 1 day\(s\) before it"):
        forecast(tmp_path / "little", tmp_path / "stale", tmp_path / "other", issue=ISSUE)


def test_cells_that_are_never_forecast_are_no_gaps(folder: Path, tmp_path: Path) -> None:
    cube = small_cube(CELLS, DAYS)
    soil = cube["swvl1"].to_numpy().copy()
    soil[2] = np.nan
    soil[4] = np.float32(0.3) + np.float32(1e-5) * (np.arange(DAYS) % 2)
    cube["swvl1"] = (("cell", "time"), soil, cube["swvl1"].attrs)
    save_cube(cube, tmp_path / "masked")
    run = quick(tmp_path / "masked", tmp_path / "run")
    assert run.record["cells_trained"] == 4
    found = forecast(tmp_path / "run", tmp_path / "masked", tmp_path / "out", issue=ISSUE)
    np.testing.assert_array_equal(np.isnan(found["swvl1"]).all(("time", "lead")), np.isin(np.arange(CELLS), [2, 4]))


def test_soil_moisture_that_is_not_asked_for_may_be_missing(folder: Path, tmp_path: Path) -> None:
    quick(folder / "cube", tmp_path / "run", "inputs.lags=[]", "outlook.target=level")
    cube = small_cube(CELLS, DAYS)
    soil = cube["swvl1"].to_numpy().copy()
    soil[:, AT - 5 :] = np.nan
    cube["swvl1"] = (("cell", "time"), soil, cube["swvl1"].attrs)
    save_cube(cube, tmp_path / "without")
    found = forecast(tmp_path / "run", tmp_path / "without", tmp_path / "out", issue=ISSUE)
    assert np.isfinite(found["swvl1"]).all()
    assert "soil_moisture_age" not in found


def test_weather_that_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    cube = small_cube(CELLS, DAYS)
    sun = cube["ssrd"].to_numpy().copy()
    sun[3, AT] = np.nan
    cube["ssrd"] = (("cell", "time"), sun, cube["ssrd"].attrs)
    save_cube(cube, tmp_path / "dark")
    with pytest.raises(SoilcastError, match=r"1 of 6 cells.*lack inputs between 2020-01-14 and 2020-01-20"):
        forecast(folder / "run", tmp_path / "dark", tmp_path / "out", issue=ISSUE)
    with pytest.raises(SoilcastError, match=r"lack inputs|have no swvl1"):
        forecast(folder / "run", folder / "cube", tmp_path / "early", issue="2018-01-03")


def test_too_little_memory_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SoilcastError, match=r"--memory 1 MiB is too little: forecasting .* takes at least \d+ MiB"):
        forecast(folder / "run", folder / "cube", tmp_path / "out", memory=2**20)


def test_a_gap_further_back_is_seen_as_one(folder: Path, tmp_path: Path) -> None:
    cube = small_cube(CELLS, DAYS)
    soil = cube["swvl2"].to_numpy().copy()
    soil[:, AT - 3] = np.nan
    cube["swvl2"] = (("cell", "time"), soil, cube["swvl2"].attrs)
    save_cube(cube, tmp_path / "gap")
    found = forecast(folder / "run", tmp_path / "gap", tmp_path / "out", issue=ISSUE)
    expected = forecast(folder / "run", folder / "cube", tmp_path / "expected", issue=ISSUE)
    assert np.isfinite(found["swvl1"]).all()
    assert not np.array_equal(found["swvl1"], expected["swvl1"])


def test_runs_of_the_paper_know_no_days_ahead(folder: Path, tmp_path: Path) -> None:
    config = ["train.epochs=1", "train.validate_every=1", "train.batches_per_epoch=2", "network.hidden_size=4"]
    train(folder / "cube", tmp_path / "paper", load_config(settings=config))
    for told, name in (({"issue": ISSUE}, "--from"), ({"leads": 2}, "--lead 2"), ({"weather": "w.nc"}, "--weather")):
        with pytest.raises(SoilcastError, match=f"{name}.*forecasts the next day.*outlook.lead_days"):
            forecast(tmp_path / "paper", folder / "cube", tmp_path / "out", **told)  # type: ignore[arg-type]
    (tmp_path / "out").mkdir()
    with pytest.raises(SoilcastError, match="--append adds the outlook of a day"):
        forecast(tmp_path / "paper", folder / "cube", tmp_path / "out", append=True)


def test_samples_in_files_and_many_jobs_give_the_same_bits(folder: Path, tmp_path: Path) -> None:
    config = load_config(settings=[*QUICK, "train.threads=1"])
    plain = train(folder / "cube", tmp_path / "plain", config)
    mapped = train(folder / "cube", tmp_path / "mapped", config, samples=tmp_path / "samples", memory=2**40)
    for mine, theirs in zip(plain.networks[0].parameters(), mapped.networks[0].parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_share_of_the_cells_and_a_climate_left_out(folder: Path, tmp_path: Path) -> None:
    settings = ["normalise.scope=global", "split.cells_share=0.5"]
    run = quick(folder / "cube", tmp_path / "half", *settings)
    assert run.record["cells_trained"] == 3
    zone = small_cube(CELLS, DAYS)["climate_zone"].to_numpy()
    letters = np.array(
        ["A" if one <= 3 else "B" if one <= 7 else "C" if one <= 16 else "D" if one <= 28 else "E" for one in zone]
    )
    left = str(letters[0])
    without = quick(folder / "cube", tmp_path / "without", "normalise.scope=global", f"split.without_climate={left}")
    assert without.record["cells_trained"] == int((letters != left).sum())
    cube = small_cube(CELLS, DAYS)
    for name in ("tp", "t2m", "swvl1", "swvl2", "elevation"):
        values = cube[name].to_numpy().copy()
        values[letters == left] *= np.float32(0.9)
        cube[name] = (cube[name].dims, values, cube[name].attrs)
    save_cube(cube, tmp_path / "other")
    again = quick(tmp_path / "other", tmp_path / "again", "normalise.scope=global", f"split.without_climate={left}")
    for mine, theirs in zip(without.networks[0].parameters(), again.networks[0].parameters(), strict=True):
        assert torch.equal(mine, theirs)
    outlook = forecast(tmp_path / "without", folder / "cube", tmp_path / "outlook")
    assert np.isfinite(outlook["swvl1"]).all()


def test_a_training_begins_with_another_run(folder: Path, tmp_path: Path) -> None:
    settings = ("normalise.scope=global",)
    globe = quick(folder / "cube", tmp_path / "globe", *settings)
    region = small_cube(CELLS, DAYS, seed=3)
    save_cube(region, tmp_path / "region")
    tuned = quick(tmp_path / "region", tmp_path / "tuned", *settings, "train.freeze=[lstm]", init=tmp_path / "globe")
    before, after = globe.networks[0].state_dict(), tuned.networks[0].state_dict()
    for name, values in before.items():
        assert torch.equal(values, after[name]) == name.startswith("lstm"), name
    for name, scaling in globe.scalings.items():
        np.testing.assert_array_equal(scaling.scale, tuned.scalings[name].scale)
    assert tuned.record["init_sha256"] == open_run(tmp_path / "globe").record["weights_sha256"]
    with pytest.raises(SoilcastError, match=r"inputs\.lags is"):
        quick(tmp_path / "region", tmp_path / "no", *settings, "inputs.lags=[swvl1]", init=tmp_path / "globe")
    with pytest.raises(SoilcastError, match=r"weights of --init are of another network"):
        quick(tmp_path / "region", tmp_path / "no", *settings, "network.hidden_size=5", init=tmp_path / "globe")
    with pytest.raises(SoilcastError, match=r"outlook\.layers is"):
        quick(tmp_path / "region", tmp_path / "no", *settings, "outlook.layers=[swvl2]", init=tmp_path / "globe")
    with pytest.raises(SoilcastError, match=r"it learnt from 2018-01-01 to 2019-12-31, days that are in the test"):
        quick(
            tmp_path / "region", tmp_path / "no", *settings, "split.test=2019-12-01:2020-01-30", init=tmp_path / "globe"
        )
    with pytest.raises(SoilcastError, match=r"train\.freeze keeps weights of a run"):
        quick(tmp_path / "region", tmp_path / "no", "train.freeze=[head]")


def test_a_period_that_is_too_short_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SoilcastError, match=r"the validation period of 2 day\(s\) has no room for outlook.lead_days 3"):
        quick(folder / "cube", tmp_path / "run", "split.development=2019-12-24:2019-12-31")


def test_a_layer_that_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    save_cube(small_cube(CELLS, DAYS, drop=["swvl3"]), tmp_path / "shallow")
    with pytest.raises(SoilcastError, match=r"no swvl3 to forecast: set outlook\.layers"):
        quick(tmp_path / "shallow", tmp_path / "run", "outlook.target=level", "outlook.layers=[swvl3]")


def test_a_damaged_calibration_is_named(folder: Path, tmp_path: Path) -> None:
    import json
    import shutil

    from safetensors.torch import load_file, save_file

    from soilcast.files import sha256_of

    shutil.copytree(folder / "run", tmp_path / "run")
    file = tmp_path / "run" / "weights.safetensors"
    tensors = load_file(file)
    del tensors["calibration.shift"]
    save_file(tensors, file)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(record | {"weights_sha256": sha256_of(file)}))
    with pytest.raises(SoilcastError, match="do not belong to the network"):
        open_run(tmp_path / "run")
