"""The forecast from one issue day: what is known on it, its products, gaps, and days that are added to others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from soilcast.cube import open_artifact, open_cube, save_cube, write_dataset
from soilcast.errors import SoilcastError
from soilcast.forecasting import forecast
from soilcast.products import add_products
from soilcast.training import load_config, open_run, train
from tests.helpers.multiday import AHEAD, CELLS, DAYS, LEADS, changed_cube, forecast_weather, quick
from tests.helpers.small import small_cube

ISSUE = "2020-01-20"
AT = 749
"""Position of the issue day in the small cube."""

PAPER = (
    "train.epochs=2",
    "train.validate_every=1",
    "train.batches_per_epoch=6",
    "network.hidden_size=6",
    "split.test=2020-01-01:2020-02-19",
)
"""The next day from the weather of seven days, as in the paper."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube; runs of the paper's design, of several lead times, and of several that know the weather ahead."""
    path = tmp_path_factory.mktemp("issue-day")
    save_cube(small_cube(CELLS, DAYS), path / "cube")
    train(path / "cube", path / "paper", load_config(settings=PAPER))
    quick(path / "cube", path / "run")
    quick(path / "cube", path / "ahead", AHEAD)
    return path


def values_of(made: xr.Dataset) -> dict[str, np.ndarray]:
    return {str(name): one.to_numpy() for name, one in made.data_vars.items()}


def same(one: xr.Dataset, other: xr.Dataset) -> None:
    mine, theirs = values_of(one), values_of(other)
    assert mine.keys() == theirs.keys()
    for name, values in mine.items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)


# ---------------------------------------------------------------- one issue day and a period


@pytest.mark.slow
@pytest.mark.parametrize("name", ["paper", "run", "ahead"])
def test_the_forecast_from_one_day_is_that_of_the_day_in_a_period(folder: Path, tmp_path: Path, name: str) -> None:
    weather = "observed" if name == "ahead" else None
    whole = forecast(folder / name, folder / "cube", tmp_path / "whole")
    for issue in (ISSUE, "2019-12-31", str(whole["time"].to_numpy()[-1])[:10]):
        alone = forecast(folder / name, folder / "cube", tmp_path / issue, issue=issue, weather=weather)
        assert alone.attrs["issue_days"] == f"{issue}:{issue}"
        assert alone.attrs["weather"] == whole.attrs["weather"] == (weather or "none")
        of_day = whole.sel(time=[np.datetime64(issue)])
        np.testing.assert_array_equal(alone["valid_time"], of_day["valid_time"])
        for variable in whole.data_vars:
            np.testing.assert_allclose(alone[variable], of_day[variable], rtol=0, atol=1e-6, err_msg=str(variable))


@pytest.mark.parametrize(("name", "leads"), [("paper", 1), ("run", 3)])
def test_the_forecast_from_one_day_has_its_products(folder: Path, tmp_path: Path, name: str, leads: int) -> None:
    made = forecast(folder / name, folder / "cube", tmp_path / "made", issue=ISSUE)
    probabilities = ["drought_probability", "probability_dry", "probability_dry_by"]
    kinds = ["anomaly", "percentile", "drought", "days_to_dry"] + probabilities * (name == "run")
    whole = forecast(folder / name, folder / "cube", tmp_path / "whole")
    assert set(made.data_vars) - set(whole.data_vars) == {f"swvl1_{kind}" for kind in kinds}
    assert made["swvl1"].shape == (CELLS, 1, leads)
    np.testing.assert_array_equal(made["lead"], np.arange(1, leads + 1))
    assert made["valid_time"].to_numpy()[0, 0] == np.datetime64("2020-01-21")
    # Those of the forecast against the days before the test.
    cube = open_cube(folder / "cube")
    expected = add_products(made, cube, slice(0, CELLS), layers=["swvl1"], reference=slice(0, 730))
    for kind in kinds:
        stored = expected[f"swvl1_{kind}"].to_numpy()
        wanted = np.where(stored == -128, np.nan, stored) if stored.dtype == np.int8 else stored
        np.testing.assert_array_equal(made[f"swvl1_{kind}"], wanted, err_msg=kind)
    assert np.isfinite(made["swvl1_percentile"]).all()
    assert made["swvl1_percentile"].attrs["reference_period"] == "2018-01-01:2019-12-31"


# ---------------------------------------------------------------- what is known


@pytest.mark.slow
@pytest.mark.parametrize("name", ["paper", "run"])
def test_no_input_within_the_latency_of_all_matters(folder: Path, tmp_path: Path, name: str) -> None:
    if name == "paper":
        train(folder / "cube", tmp_path / "run", load_config(settings=[*PAPER, "task.latency=2"]))
    else:
        quick(folder / "cube", tmp_path / "run", "task.latency=2")
    expected = forecast(tmp_path / "run", folder / "cube", tmp_path / "expected", issue=ISSUE)
    assert expected.attrs["latency_days"] == 2
    assert np.isfinite(expected["swvl1"]).all()
    late = changed_cube(tmp_path / "late", AT - 1)
    same(forecast(tmp_path / "run", late, tmp_path / "one", issue=ISSUE), expected)
    early = changed_cube(tmp_path / "early", AT - 2, ["t2m", "tp", "ssrd"])
    other = forecast(tmp_path / "run", early, tmp_path / "two", issue=ISSUE)
    assert not np.array_equal(other["swvl1"], expected["swvl1"])
    # In a forecast over a period too: that of an issue day knows nothing of the two days before its first lead.
    whole = forecast(tmp_path / "run", folder / "cube", tmp_path / "whole")
    changed = forecast(tmp_path / "run", late, tmp_path / "changed")
    known = whole["time"].to_numpy() <= np.datetime64(ISSUE)
    np.testing.assert_array_equal(changed["swvl1"][:, known], whole["swvl1"][:, known])
    assert not np.array_equal(changed["swvl1"][:, ~known], whole["swvl1"][:, ~known])


def test_a_forecast_is_what_the_network_makes_of_what_is_known(folder: Path, tmp_path: Path) -> None:
    found = forecast(folder / "ahead", folder / "cube", tmp_path / "forecast", issue=ISSUE, weather="observed")
    run, cube = open_run(folder / "ahead"), small_cube(CELLS, DAYS)
    cell, task = 2, run.config.task
    scalings, own = run.statistics.scalings, slice(cell, cell + 1)
    seen = {
        name: scalings[name].of_cells(own).normalise(cube[name][own].to_numpy())[0]
        for name in (*task.dynamic, *task.lags)
    }
    height = scalings["elevation"].normalise(cube["elevation"].to_numpy())[cell]
    steps = []
    for step in range(task.window + LEADS - 1):
        day = AT + 1 + step - (task.window - 1)
        past = float(day - 1 <= AT)
        row = [seen[name][day - 1] * past for name in task.dynamic] + [past]
        row += [seen[name][day] for name in task.known_future]
        row += [seen[name][day - 1] * past for name in task.lags] + [past, past]
        steps.append([*row, seen["swvl1"][AT], height])
    with torch.inference_mode():
        output = run.networks[0](torch.tensor(steps, dtype=torch.float32)[None])[0, :, 0, 0].numpy()
    scaling = scalings["swvl1"]
    expected = output * scaling.scale[cell] + scaling.offset[cell]
    np.testing.assert_allclose(found["swvl1_mean"][cell, 0], expected, atol=1e-6)


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("latency", [1, 2, 3])
def test_soil_moisture_within_the_latency_does_not_matter(folder: Path, tmp_path: Path, latency: int) -> None:
    quick(folder / "cube", tmp_path / "run", f"task.latency={{lags: {latency}}}")
    expected = forecast(tmp_path / "run", folder / "cube", tmp_path / "expected", issue=ISSUE)
    soil = ["swvl1", "swvl2"]
    late = changed_cube(tmp_path / "late", AT - latency + 1, soil)
    same(forecast(tmp_path / "run", late, tmp_path / "one", issue=ISSUE), expected)
    early = changed_cube(tmp_path / "early", AT - latency, soil)
    other = forecast(tmp_path / "run", early, tmp_path / "two", issue=ISSUE)
    assert not np.array_equal(other["swvl1"], expected["swvl1"])


def test_fewer_days_ahead_are_the_first_of_all(folder: Path, tmp_path: Path) -> None:
    whole = forecast(folder / "ahead", folder / "cube", tmp_path / "whole", issue=ISSUE, weather="observed")
    weather = forecast_weather(tmp_path / "weather.nc", ISSUE, leads=2)
    short = forecast(folder / "ahead", folder / "cube", tmp_path / "short", issue=ISSUE, weather=weather, leads=2)
    np.testing.assert_allclose(short["swvl1"], whole["swvl1"][..., :2], atol=1e-6)
    assert short.attrs["lead_days"] == 2


@pytest.mark.slow
def test_an_ensemble_of_weather_widens_the_predictive_distribution(folder: Path, tmp_path: Path) -> None:
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


@pytest.mark.slow
def test_days_are_added_to_those_before(folder: Path, tmp_path: Path) -> None:
    out, days = tmp_path / "days", ["2020-01-20", "2020-01-21", "2020-01-25"]
    alone = []
    for day in days:
        forecast(folder / "run", folder / "cube", out, issue=day, append=True)
        alone.append(forecast(folder / "run", folder / "cube", tmp_path / day, issue=day).load())
    found = open_artifact(out, "forecast")
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


@pytest.mark.slow
def test_a_day_that_was_added_is_there(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "days"
    for day in (ISSUE, "2020-01-21"):
        first = forecast(folder / "run", folder / "cube", out, issue=day, append=True)
    again = forecast(folder / "run", folder / "cube", out, issue="2020-01-21", append=True, resume=True)
    assert again.sizes["time"] == first.sizes["time"] == 2


@pytest.mark.slow
def test_another_forecast_of_the_weather_is_another_forecast(folder: Path, tmp_path: Path) -> None:
    told = {"issue": ISSUE, "resume": True}
    for name, shift in (("a.nc", 0.0), ("b.nc", 3.0)):
        forecast_weather(tmp_path / name, ISSUE, shift=shift)
    forecast(folder / "ahead", folder / "cube", tmp_path / "out", weather=tmp_path / "a.nc", **told)
    forecast(folder / "ahead", folder / "cube", tmp_path / "out", weather=tmp_path / "a.nc", **told)
    with pytest.raises(SoilcastError, match="has weather_forecast"):
        forecast(folder / "ahead", folder / "cube", tmp_path / "out", weather=tmp_path / "b.nc", **told)
    told |= {"units": {"t2m": "K"}, "weather": tmp_path / "a.nc"}
    with pytest.raises(SoilcastError, match="has weather_forecast"):
        forecast(folder / "ahead", folder / "cube", tmp_path / "out", **told)


@pytest.mark.slow
def test_what_cannot_be_added_is_named(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "days"
    forecast(folder / "run", folder / "cube", out, issue=ISSUE)
    told = {"append": True, "issue": "2020-01-21"}
    with pytest.raises(SoilcastError, match="its last issue day is 2020-01-20, and only later days can be appended"):
        forecast(folder / "run", folder / "cube", out, issue=ISSUE, append=True)
    with pytest.raises(SoilcastError, match="lead_days is 3, but 2 of this forecast"):
        forecast(folder / "run", folder / "cube", out, leads=2, **told)
    with pytest.raises(SoilcastError, match="weights_sha256"):
        forecast(folder / "ahead", folder / "cube", out, weather="observed", **told)
    quick(folder / "cube", tmp_path / "global", "normalise.scope=global")
    forecast(tmp_path / "global", folder / "cube", tmp_path / "here", issue=ISSUE)
    save_cube(small_cube(4, DAYS, seed=5), tmp_path / "elsewhere")
    with pytest.raises(SoilcastError, match="its cells are not those of the cube"):
        forecast(tmp_path / "global", tmp_path / "elsewhere", tmp_path / "here", **told)
    weather = forecast_weather(tmp_path / "weather.nc", "2020-01-21")
    forecast(folder / "ahead", folder / "cube", tmp_path / "knowing", issue=ISSUE, weather="observed")
    with pytest.raises(SoilcastError, match="weather is observed, but forecast of this forecast"):
        forecast(folder / "ahead", folder / "cube", tmp_path / "knowing", weather=weather, **told)
    with pytest.raises(SoilcastError, match="give it with --from"):
        forecast(folder / "run", folder / "cube", out, append=True)
    forecast(folder / "run", folder / "cube", tmp_path / "day.nc", issue=ISSUE)
    with pytest.raises(SoilcastError, match="--append needs a Zarr folder"):
        forecast(folder / "run", folder / "cube", tmp_path / "day.nc", **told)
    forecast(folder / "run", folder / "cube", tmp_path / "period")
    with pytest.raises(SoilcastError, match="a forecast over a period"):
        forecast(folder / "run", folder / "cube", tmp_path / "period", append=True, issue="2020-02-17")


@pytest.mark.parametrize(
    ("run", "told", "message"),
    [
        ("run", {"issue": "2021-01-01"}, r"--from 2021-01-01 is outside the cube \(2018-01-01 .. 2020-02-19\).*update"),
        ("run", {"issue": "soon"}, "--from soon: write a day"),
        ("run", {"issue": ISSUE, "weather": "w.nc"}, "trained without future weather"),
        ("run", {"issue": ISSUE, "leads": 4}, r"--lead 4: the run was trained for 3 day.*task\.lead_days=4"),
        ("paper", {"issue": ISSUE, "leads": 2}, r"--lead 2: the run was trained for 1 day.*task\.lead_days=2"),
        ("paper", {"issue": ISSUE, "weather": "w.nc"}, r"trained without future weather.*task\.known_future"),
        ("paper", {"append": True}, "--append needs an issue day: give it with --from"),
        ("ahead", {"issue": ISSUE}, "the run needs tp, t2m of the forecast days: give --weather"),
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
    with pytest.raises(SoilcastError, match=r"short.nc.*2 of 3 leads"):
        forecast(folder / "ahead", folder / "cube", tmp_path / "out", issue=ISSUE, weather=short)
    elsewhere = forecast_weather(tmp_path / "elsewhere.nc", ISSUE)
    with xr.open_dataset(elsewhere, engine="h5netcdf") as opened:
        write_dataset(opened.load().isel(cell=slice(2, None)), tmp_path / "few.nc", netcdf=True)
    with pytest.raises(SoilcastError, match=r"few.nc.*2 of (the )?6 cells"):
        forecast(folder / "ahead", folder / "cube", tmp_path / "out", issue=ISSUE, weather=tmp_path / "few.nc")


@pytest.mark.slow
def test_stale_soil_moisture_is_refused_left_out_or_replaced_as_the_config_says(folder: Path, tmp_path: Path) -> None:
    cube = small_cube(CELLS, DAYS)
    soil = cube["swvl1"].to_numpy().copy()
    soil[1, AT - 1 : AT + 1] = np.nan
    cube["swvl1"] = (("cell", "time"), soil, cube["swvl1"].attrs)
    save_cube(cube, tmp_path / "stale")
    expected = forecast(folder / "run", folder / "cube", tmp_path / "expected", issue=ISSUE)
    with pytest.raises(
        SoilcastError, match=r"1 of 6 cells.*no swvl1 on 2020-01-20 .*\(task\.latency 0\).*--gaps missing"
    ):
        forecast(folder / "run", tmp_path / "stale", tmp_path / "out", issue=ISSUE)
    left = forecast(folder / "run", tmp_path / "stale", tmp_path / "left", issue=ISSUE, gaps="missing")
    assert np.isnan(left["swvl1"][1]).all()
    others = [0, 2, 3, 4, 5]
    np.testing.assert_array_equal(left["swvl1"][others], expected["swvl1"][others])
    np.testing.assert_array_equal(left["soil_moisture_age"][:, 0], [0, np.nan, 0, 0, 0, 0])
    quick(folder / "cube", tmp_path / "filling", "task.fill_days=2")
    filled = forecast(tmp_path / "filling", tmp_path / "stale", tmp_path / "filled", issue=ISSUE)
    assert np.isfinite(filled["swvl1"]).all()
    np.testing.assert_array_equal(filled["soil_moisture_age"][:, 0], [0, 2, 0, 0, 0, 0])
    quick(folder / "cube", tmp_path / "little", "task.fill_days=1")
    with pytest.raises(SoilcastError, match=r"nor in the 1 day\(s\) before \("):
        forecast(tmp_path / "little", tmp_path / "stale", tmp_path / "other", issue=ISSUE)


@pytest.mark.slow
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


@pytest.mark.slow
def test_soil_moisture_that_is_not_asked_for_may_be_missing(folder: Path, tmp_path: Path) -> None:
    quick(folder / "cube", tmp_path / "run", "task.lags=[]", "head.predict=level")
    cube = small_cube(CELLS, DAYS)
    soil = cube["swvl1"].to_numpy().copy()
    soil[:, AT - 5 :] = np.nan
    cube["swvl1"] = (("cell", "time"), soil, cube["swvl1"].attrs)
    save_cube(cube, tmp_path / "without")
    found = forecast(tmp_path / "run", tmp_path / "without", tmp_path / "out", issue=ISSUE)
    assert np.isfinite(found["swvl1"]).all()
    assert "soil_moisture_age" not in found


@pytest.mark.slow
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


@pytest.mark.slow
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
