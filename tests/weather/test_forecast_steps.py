"""Forecasts as their centres give them: the daily weather is what the steps were made from, whatever the layout."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import eccodes
import numpy as np
import pytest
import xarray as xr
import xarray_regrid  # noqa: F401  (gives arrays .regrid)

from soilcast.cube import grid_of, open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.forecasting import forecast
from soilcast.sources.regridding import conservative
from soilcast.verify import evaluate
from soilcast.weather import Weather, open_weather
from soilcast.weather.layers import layer_between
from tests.helpers.multiday import AHEAD, CELLS, DAYS, LEADS, quick
from tests.helpers.small import small_cube
from tests.helpers.weather_steps import (
    AIFS,
    AIFS_STEPS,
    DAY,
    GFS,
    GFS_RATES,
    IFS,
    TIGGE,
    Layout,
    Step,
    Truth,
    dataset_of,
    truth_of,
    write_steps,
    write_truth,
)
from tests.test_commands import refusal, run

ISSUE = "2020-01-20"
NAMES = ("tp", "t2m", "q", "sp", "u10", "v10", "ssrd", "strd")
WRITTEN = tuple(name for name in NAMES if name != "q")
SIX, THREE = range(0, 97, 6), range(0, 97, 3)
MIXED = (*range(0, 49, 3), *range(54, 97, 6))
HOURLY = (*range(0, 25), *range(27, 97, 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("steps")
    save_cube(small_cube(CELLS, DAYS), path / "cube")
    return path


@pytest.fixture(scope="module")
def cube(folder: Path) -> xr.Dataset:
    return open_cube(folder / "cube")


def opened(paths: Any, cube: xr.Dataset, names: tuple[str, ...] = NAMES, **options: Any) -> Weather:
    options = {"leads": LEADS, "issues": np.datetime64(ISSUE), **options}
    return open_weather(paths, cube, names, options.pop("issues"), options.pop("leads"), **options)


def same(found: Weather, truth: Path, cube: xr.Dataset, names: tuple[str, ...] = NAMES) -> None:
    wanted = opened(truth, cube, names)
    assert found.members == wanted.members
    scales = np.nanmax(np.abs(wanted.values()), axis=(0, 1, 2, 3))
    for feature, name in enumerate(names):
        mine, theirs = (each.values()[..., feature] for each in (found, wanted))
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6 * scales[feature], err_msg=name)


# ---------------------------------------------------------------- every layout gives the daily truth

LAYOUTS: dict[str, tuple[Any, tuple[str, ...], Any, dict[str, Any]]] = {
    "IFS, 3 hourly, then 6 hourly": (IFS, ("d2m",), MIXED, {}),
    "IFS of 12 UTC of the day before": (IFS, ("d2m",), range(0, 121, 6), {"start": DAY + 12}),
    "IFS of 18 UTC, steps that change at noon": (
        IFS,
        ("d2m",),
        (*range(0, 43, 3), *range(48, 121, 6)),
        {"start": DAY + 18},
    ),
    "AIFS, in kg m-2": (AIFS, ("d2m",), SIX, {}),
    "AIFS, amounts of each step": (AIFS_STEPS, ("d2m",), SIX, {}),
    "GFS, buckets of 6 hours": (GFS, ("q",), THREE, {"centre": "kwbc"}),
    "GFS, hourly, then 3 hourly": (GFS, ("d2m",), HOURLY, {"centre": "kwbc"}),
    "GFS, mean rates": (GFS_RATES, ("r2",), THREE, {"centre": "kwbc"}),
    "TIGGE, edition 2": (TIGGE, ("d2m",), SIX, {}),
    "archive, edition 1, ends of steps alone": (IFS, ("d2m",), SIX, {"edition": 1}),
}


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_forecast_of_any_layout_is_the_daily_truth(tmp_path: Path, cube: xr.Dataset, layout: str) -> None:
    table, humidity, hours, options = LAYOUTS[layout]
    truths = truth_of(ISSUE, NAMES, leads=LEADS + 2)
    path = write_steps(tmp_path / "forecast.grib", truths, table, (*WRITTEN, *humidity), hours, **options)
    same(opened(path, cube), write_truth(tmp_path / "truth.nc", ISSUE, NAMES), cube)


SOIL: dict[str, tuple[int | tuple[int, int, int], dict[str, Any]]] = {
    "ECMWF, a number for each layer": (40, {}),
    "ECMWF open data, a level for each layer": (260199, {"typeOfLevel": "soilLayer", "level": 2}),
    "NCEP, depths": (
        (2, 0, 192),
        {
            "typeOfFirstFixedSurface": 106,
            "typeOfSecondFixedSurface": 106,
            "scaleFactorOfFirstFixedSurface": 1,
            "scaledValueOfFirstFixedSurface": 1,
            "scaleFactorOfSecondFixedSurface": 1,
            "scaledValueOfSecondFixedSurface": 4,
        },
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("numbers", SOIL)
def test_soil_moisture_is_of_the_layer_that_its_level_tells(tmp_path: Path, cube: xr.Dataset, numbers: str) -> None:
    number, level = SOIL[numbers]
    truths = truth_of(ISSUE, ("swvl2",), leads=LEADS + 2)
    layout = {"swvl2": Layout(number, 1.0, "instant")}
    centre = "kwbc" if "NCEP" in numbers else "ecmf"
    path = write_steps(tmp_path / "all.grib", truths, layout, ("swvl2",), SIX, centre=centre)
    with path.open("rb") as stream, (tmp_path / "soil.grib").open("wb") as out:
        while (handle := eccodes.codes_grib_new_from_file(stream)) is not None:
            for key, value in level.items():
                eccodes.codes_set(handle, key, value)
            eccodes.codes_write(handle, out)
            eccodes.codes_release(handle)
    truth = write_truth(tmp_path / "truth.nc", ISSUE, ("swvl2",))
    same(opened(tmp_path / "soil.grib", cube, ("swvl2",)), truth, cube, ("swvl2",))
    with pytest.raises(SoilcastError, match="no swvl1, which the run needs"):
        opened(tmp_path / "soil.grib", cube, ("swvl1",))


@pytest.mark.slow
def test_a_folder_of_soil_moisture_in_grib_is_a_baseline(folder: Path, tmp_path: Path) -> None:
    quick(folder / "cube", tmp_path / "run", "task.layers=[swvl1]")
    forecast(tmp_path / "run", folder / "cube", tmp_path / "forecast", period="2020-01-16:2020-01-22")
    (tmp_path / "ifs").mkdir()
    for issue in np.arange("2020-01-15", "2020-01-20", dtype="datetime64[D]"):
        truths = truth_of(str(issue), ("swvl1",), leads=LEADS + 2)
        write_steps(tmp_path / "ifs" / f"{issue}.grib", truths, {"swvl1": Layout(39, 1.0, "instant")}, ("swvl1",), SIX)
    files = [f"IFS={tmp_path / 'ifs'}"]
    scores = evaluate([tmp_path / "forecast"], folder / "cube", tmp_path / "scores", baselines=files, matching="none")
    assert float(np.nanmax(scores["rmse"].sel(model="IFS"))) < 1e-6
    assert float(np.nanmin(scores["rmse"].sel(model="persistence"))) > 1e-5


def test_a_layer_is_that_of_which_another_holds_the_most() -> None:
    noah = [(0.0, 0.1), (0.1, 0.4), (0.4, 1.0), (1.0, 2.0)]
    assert [layer_between(*depths) for depths in noah] == ["swvl1", "swvl2", "swvl3", "swvl4"]
    assert [layer_between(*depths) for depths in ((0.0, 0.01), (2.89, 5.0))] == [None, None]


ENSEMBLES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "IFS ENS": (IFS, SIX, {}),
    "AIFS ENS": (AIFS, SIX, {}),
    "GEFS": (GFS, THREE, {"centre": "kwbc"}),
    "seasonal, edition 1, of type fc": (IFS, SIX, {"edition": 1, "seasonal": True}),
    "archive, edition 1, of type pf": (IFS, SIX, {"edition": 1}),
}
FEW = ("tp", "t2m")


@pytest.mark.slow
@pytest.mark.parametrize("layout", ENSEMBLES)
def test_an_ensemble_keeps_its_members(tmp_path: Path, cube: xr.Dataset, layout: str) -> None:
    table, hours, options = ENSEMBLES[layout]
    truths = truth_of(ISSUE, FEW, leads=LEADS + 2, members=3)
    path = write_steps(tmp_path / "forecast.grib", truths, table, FEW, hours, **options)
    found = opened(path, cube, FEW)
    assert found.members == 3
    same(found, write_truth(tmp_path / "truth.nc", ISSUE, FEW, members=3), cube, FEW)


@pytest.mark.parametrize("members", [0, 2])
@pytest.mark.parametrize(
    ("table", "style", "hours"),
    [
        (IFS, "store", SIX),
        (TIGGE, "store", SIX),
        (IFS, "cfgrib", MIXED),
        (AIFS, "bounds", SIX),
        (AIFS_STEPS, "bounds", THREE),
        (GFS | {"ssrd": IFS["ssrd"]}, "bounds", SIX),
    ],
)
def test_steps_in_netcdf_are_the_daily_truth(
    tmp_path: Path, cube: xr.Dataset, table: Any, style: str, hours: Any, members: int
) -> None:
    truths = truth_of(ISSUE, FEW, leads=LEADS + 2, members=members)
    data = dataset_of(truths, table, FEW, hours, style=style)
    data.to_netcdf(tmp_path / "forecast.nc", engine="h5netcdf")
    same(
        opened(tmp_path / "forecast.nc", cube, FEW),
        write_truth(tmp_path / "truth.nc", ISSUE, FEW, members=members),
        cube,
        FEW,
    )


@pytest.mark.slow
def test_amounts_once_a_day_since_the_start_are_differences(tmp_path: Path, cube: xr.Dataset) -> None:
    truths = truth_of(ISSUE, FEW, leads=LEADS + 2)
    truth = write_truth(tmp_path / "truth.nc", ISSUE, ("tp",))
    rain = dataset_of(truths, IFS, ("tp",), range(0, 97, 24), style="store")
    other = dataset_of(truths, IFS, ("tp",), range(0, 97, 24), style="cfgrib").drop_vars("valid_time")
    for name, data in (("store", rain), ("cfgrib", other), ("start", other.expand_dims("time"))):
        data.to_netcdf(tmp_path / f"{name}.nc", engine="h5netcdf")
        same(opened(tmp_path / f"{name}.nc", cube, ("tp",)), truth, cube, ("tp",))


def test_a_rate_at_instants_is_their_mean(tmp_path: Path, cube: xr.Dataset) -> None:
    table = {"tp": Layout(260048, 1000 / 86400, "rate")}
    truths = truth_of(ISSUE, ("tp",), leads=LEADS + 2)
    path = write_steps(tmp_path / "forecast.grib", truths, table, ("tp",), SIX)
    same(opened(path, cube, ("tp",)), write_truth(tmp_path / "truth.nc", ISSUE, ("tp",)), cube, ("tp",))


@pytest.mark.slow
def test_amounts_are_taken_before_mean_rates_and_these_before_instants(tmp_path: Path, cube: xr.Dataset) -> None:
    truths, other = truth_of(ISSUE, ("tp",), leads=LEADS + 2), truth_of("2020-01-10", ("tp",), leads=LEADS + 2)
    wrong = [replace(truths[0], daily=other[0].daily)]
    instants = GFS | {"tp": Layout((0, 1, 7), 1000 / 86400, "rate")}
    files = [
        write_steps(tmp_path / "instants.grib", wrong, instants, ("tp",), THREE, centre="kwbc"),
        write_steps(tmp_path / "rates.grib", truths, GFS_RATES, ("tp",), THREE, centre="kwbc"),
    ]
    truth = write_truth(tmp_path / "truth.nc", ISSUE, ("tp",))
    same(opened(files, cube, ("tp",)), truth, cube, ("tp",))
    files[1] = write_steps(tmp_path / "other.grib", wrong, GFS_RATES, ("tp",), THREE, centre="kwbc")
    files.append(write_steps(tmp_path / "amounts.grib", truths, GFS, ("tp",), THREE, centre="kwbc"))
    same(opened(files, cube, ("tp",)), truth, cube, ("tp",))


def test_evaporation_counts_upward(tmp_path: Path, cube: xr.Dataset) -> None:
    truths = truth_of(ISSUE, ("e",), leads=LEADS + 2)
    path = write_steps(tmp_path / "forecast.grib", truths, {"e": Layout(182, -1.0, "since-start")}, ("e",), SIX)
    same(opened(path, cube, ("e",)), write_truth(tmp_path / "truth.nc", ISSUE, ("e",)), cube, ("e",))


@pytest.mark.slow
def test_a_forecast_in_many_files_and_runs_takes_the_newest_complete_run(tmp_path: Path, cube: xr.Dataset) -> None:
    truths = truth_of(ISSUE, FEW, leads=LEADS + 2)
    other = truth_of("2020-01-10", FEW, leads=LEADS + 2)
    wrong = [replace(truths[0], daily=other[0].daily)]
    files = [
        write_steps(tmp_path / "tp.grib", truths, IFS, ("tp",), SIX),
        write_steps(tmp_path / "t2m.grib", truths, IFS, ("t2m",), SIX),
        write_steps(tmp_path / "older.grib", wrong, IFS, FEW, range(0, 121, 6), start=DAY + 12),
    ]
    truth = write_truth(tmp_path / "truth.nc", ISSUE, FEW)
    same(opened(files, cube, FEW), truth, cube, FEW)
    (tmp_path / "folder").mkdir()
    for file in files:
        file.rename(tmp_path / "folder" / file.name)
    same(opened(tmp_path / "folder", cube, FEW), truth, cube, FEW)
    short = write_steps(tmp_path / "short.grib", wrong, IFS, FEW, range(0, 61, 6), start=2 * DAY)
    older = write_steps(tmp_path / "long.grib", truths, IFS, FEW, range(0, 121, 6), start=DAY + 12)
    found = opened([short, older], cube, FEW)
    same(found, truth, cube, FEW)
    assert any(note.startswith("the forecast of 2020-01-21T00 UTC is not used: ") for note in found.notes)


def test_incomplete_days_at_the_ends_are_counted_and_told(tmp_path: Path, cube: xr.Dataset) -> None:
    truths = truth_of(ISSUE, FEW, leads=LEADS + 2)
    path = write_steps(tmp_path / "forecast.grib", truths, IFS, FEW, range(0, 91, 6), start=DAY + 12)
    (note,) = opened(path, cube, FEW).notes
    assert re.match(
        r"2 incomplete day\(s\) at the ends of the weather forecast of 2020-01-20T12 UTC are not used \(such as "
        r"2020-01-20, ",
        note,
    )


def test_an_archive_takes_the_run_that_starts_at_the_end_of_each_issue_day(tmp_path: Path, cube: xr.Dataset) -> None:
    truths = truth_of(ISSUE, FEW, leads=LEADS + 3)
    files = [
        write_steps(tmp_path / f"{start}.grib", truths, IFS, FEW, range(0, 73, 6), start=start)
        for start in (2 * DAY, 3 * DAY)
    ]
    issues = np.datetime64(ISSUE) + np.arange(3)
    found = opened(files, cube, FEW, issues=issues, leads=2, gaps=True)
    np.testing.assert_array_equal(found.covered, [True, True, False])
    for position in (0, 1):
        truth = write_truth(tmp_path / f"{position}.nc", str(issues[position]), FEW, leads=2)
        wanted = opened(truth, cube, FEW, issues=issues[position], leads=2).values()[:, :, 0]
        np.testing.assert_allclose(found.values()[:, :, position], wanted, rtol=1e-5, atol=1e-8)
    assert np.isnan(found.values()[:, :, 2]).all()


def test_another_grid_comes_onto_the_cells_by_shares_of_area(tmp_path: Path, cube: xr.Dataset) -> None:
    lat, lon = np.arange(70.0, 44.0, -0.7), np.arange(-30.0, 12.0, 0.6)
    noise = np.random.default_rng(0).uniform(270, 290, (7, len(lat), len(lon)))
    path = write_steps(
        tmp_path / "forecast.grib", [Truth(np.datetime64(ISSUE) - 1, lat, lon, {"t2m": noise})], IFS, ("t2m",), SIX
    )
    found = opened(path, cube, ("t2m",)).values()[0, :, 0, :, 0]
    grid = grid_of(cube)
    assert grid is not None
    np.testing.assert_allclose(found, conservative(noise[2:5], lat, lon, grid).T, rtol=3e-7)
    fields = xr.DataArray(noise[2:5], {"latitude": lat, "longitude": lon}, ("time", "latitude", "longitude"))
    target = xr.Dataset(coords={"latitude": np.sort(grid.lat), "longitude": grid.lon})
    regridded = fields.sortby("latitude").regrid.conservative(target, latitude_coord="latitude")
    wanted = regridded.sel(latitude=cube["lat"], longitude=cube["lon"]).transpose("cell", "time")
    np.testing.assert_allclose(found, wanted, atol=5e-3)  # its weights of latitude are those of the rows' middles


def test_temperature_is_corrected_for_elevation_where_that_is_asked_for(tmp_path: Path, cube: xr.Dataset) -> None:
    truths = truth_of(ISSUE, FEW, leads=LEADS + 2)
    path = write_steps(tmp_path / "forecast.grib", truths, IFS, FEW, SIX)
    plain = opened(path, cube, FEW).values()
    with pytest.raises(SoilcastError, match=r"--lapse-rate 6\.5: corrects t2m, which the run does not know"):
        opened(path, cube, ("tp",), lapse_rate=6.5)
    with pytest.raises(SoilcastError, match=r"--lapse-rate needs the elevation of the forecast model: add the file of"):
        opened(path, cube, FEW, lapse_rate=6.5)
    height = [replace(truths[0], daily={"z": np.full((7, *truths[0].daily["t2m"].shape[1:]), 300.0)})]
    orography = write_steps(tmp_path / "z.grib", height, {"z": Layout(129, 9.80665, "instant")}, ("z",), [0])
    found = opened([path, orography], cube, FEW, lapse_rate=6.5).values()
    np.testing.assert_array_equal(found[..., 0], plain[..., 0])
    warmer = -6.5e-3 * (cube["elevation"].to_numpy() - 300.0)
    np.testing.assert_allclose((found - plain)[0, :, 0, 0, 1], warmer, atol=1e-4)


def test_days_of_a_cube_of_local_days_begin_at_their_midnight(tmp_path: Path) -> None:
    local = small_cube(4, 30, grid=False)
    local["lat"][:], local["lon"][:] = [60.2, 55.3, 58.7, 61.1], [-7.3, -20.4, -7.1, -12.6]
    local.attrs["provenance"] = '{"options": {"day": "local"}}'
    truths = truth_of(ISSUE, FEW, leads=LEADS + 2)
    path = write_steps(tmp_path / "forecast.grib", truths, IFS, FEW, range(121), start=DAY)
    found = opened(path, local, FEW, leads=2).values()[0, :, 0]
    for cell, offset in enumerate((0, -1, 0, -1)):
        row = np.abs(truths[0].lat - float(local["lat"][cell])).argmin()
        column = np.abs(truths[0].lon - float(local["lon"][cell])).argmin()
        for lead in (0, 1):
            begin = (2 + lead) * DAY - offset
            rain = truths[0].amount("tp", begin, begin + DAY)
            warm = np.mean([truths[0].instant("t2m", begin + hour) for hour in range(DAY)], axis=0)
            wanted = [float(field[row, column]) for field in (rain, warm)]
            np.testing.assert_allclose(found[cell, lead], wanted, rtol=1e-5, atol=1e-8)
    six = write_steps(tmp_path / "six.grib", truths, IFS, FEW, range(0, 121, 6), start=DAY)
    with pytest.raises(SoilcastError, match=r"no complete 2020-01-21 of .* \(no "):
        opened(six, local, FEW, leads=2)


# ---------------------------------------------------------------- end to end


@pytest.mark.slow
@pytest.mark.parametrize("members", [0, 3])
def test_soil_moisture_of_steps_is_that_of_the_truth(folder: Path, tmp_path: Path, members: int) -> None:
    if not (folder / "run").exists():
        quick(folder / "cube", folder / "run", AHEAD)
    truths = truth_of(ISSUE, FEW, leads=LEADS + 2, members=members)
    truth = write_truth(tmp_path / "truth.nc", ISSUE, FEW, members=members)
    wanted = forecast(folder / "run", folder / "cube", tmp_path / "wanted", issue=ISSUE, weather=truth)
    for number, (table, hours, options) in enumerate(
        ((IFS, MIXED, {}), (AIFS, SIX, {}), (GFS, THREE, {"centre": "kwbc"}))
    ):
        path = write_steps(tmp_path / f"{number}.grib", truths, table, FEW, hours, **options)
        found = forecast(folder / "run", folder / "cube", tmp_path / f"{number}", issue=ISSUE, weather=[path])
        for name in ("swvl1", "swvl1_quantile", "swvl1_mean"):
            np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=2e-6)
        assert found.attrs["weather"] == "forecast"
        assert found.attrs["weather_title"].startswith("weather forecast of 2020-01-21T00 UTC (")


# ---------------------------------------------------------------- what is wrong is told


def _without(**what: Any) -> Callable[[Step], Step | None]:
    return lambda step: None if all(getattr(step, key) in values for key, values in what.items()) else step


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a step of temperature is missing": (
        {"change": _without(name=["t2m"], end=[30])},
        r"no complete 2020-01-22 of t2m \(no step at 2020-01-22T06:00\), so it covers 1 of 3 leads: add the",
    ),
    "no step 0": (
        {"change": _without(name=["t2m"], end=[0])},
        r"no complete 2020-01-21 of t2m \(no step at 2020-01-21T00:00\), the day after the issue day: give all steps",
    ),
    "rain ends early": (
        {"change": _without(name=["tp"], end=range(49, 97))},
        r"no complete 2020-01-23 of tp \(no amount or mean begins or ends at 2020-01-24T00:00\), so it covers 2 of 3",
    ),
    "a member is shorter": (
        {"members": 3, "change": _without(name=["t2m"], member=[1], end=range(50, 97))},
        r"of t2m, member 1 .*, which 2 of 3 members have: the members are of different length",
    ),
    "a member lacks a parameter": (
        {"members": 3, "change": _without(name=["tp"], member=[2])},
        r"tp of the run of 2020-01-21T00 UTC has 2 members, but t2m .* 3 \(differing in member 2\): give the same",
    ),
    "it begins later": (
        {"start": 3 * DAY},
        r"no forecast for the days after 2020-01-20 \(it holds 2020-01-22T00 UTC\): give a forecast that starts at the "
        "end of that day, 00 UTC of 2020-01-21, or before, or another --from",
    ),
    "it is older": (
        {"start": -20 * DAY},
        r"no complete 2020-01-21 of tp \(no amount or mean begins or ends at 2020-01-21T00:00\), the day after",
    ),
    "it begins within the next day": ({"start": 2 * DAY + 6}, r"no forecast for the days after 2020-01-20 \(it holds"),
    "amounts that fall": (
        {"change": lambda step: replace(step, values=-step.values) if step.name == "tp" else step},
        r"tp falls by .* but its files say that it is accumulated since one time: .*give the GRIB files",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_forecast_of_these_days_is_refused_in_one_line(tmp_path: Path, cube: xr.Dataset, fault: str) -> None:
    options, message = FAULTS[fault]
    options = dict(options)
    truths = truth_of(ISSUE, FEW, leads=LEADS + 3, members=options.pop("members", 0))
    hours = range(0, 49, 6) if options.get("start", 0) < 0 else SIX
    if options.get("start", 0) < 0:
        truths = [replace(truths[0], first=truths[0].first - 22)]
        options["start"] = 0
    path = write_steps(tmp_path / "forecast.grib", truths, IFS, FEW, hours, **options)
    with pytest.raises(SoilcastError, match=message) as raised:
        opened(path, cube, FEW)
    assert str(raised.value).startswith(str(path))
    _has_no_wrong_advice(raised.value)


def _has_no_wrong_advice(error: SoilcastError) -> None:
    """A sum of amounts since the start of the forecast is no amount, so no error may lead anybody to it."""
    assert "\n" not in str(error)
    assert not re.search(r"\.sum\(|\.mean\(|resample|aggregate", str(error))


def test_accumulated_rain_without_attributes_is_refused_and_never_summed(tmp_path: Path, cube: xr.Dataset) -> None:
    """The file of which a sum per day once made 16 to 29 mm a day of 3.0."""
    truths = truth_of(ISSUE, FEW, leads=LEADS + 2, members=3)
    data = dataset_of(truths, IFS, FEW, SIX, style="cfgrib")
    for number, attributes in enumerate(({}, {"units": "m"}, {"units": "m", "GRIB_stepType": "accum"})):
        path = tmp_path / f"{number}.nc"
        stripped = data.assign(tp=data["tp"].assign_attrs()).copy()
        stripped.attrs, stripped["tp"].attrs = {}, dict(attributes)
        stripped.to_netcdf(path, engine="h5netcdf")
        units = {} if attributes else {"tp": "m"}
        with pytest.raises(SoilcastError, match=r"\d.nc: tp .*it cannot be told .*give the GRIB file") as raised:
            opened(path, cube, FEW, units=units)
        _has_no_wrong_advice(raised.value)
    daily = data.drop_vars("time").drop_vars("step").rename(step="time").drop_vars("valid_time")
    daily = daily.assign_coords(time=data["valid_time"].to_numpy()).resample(time="1D")
    for number, wrong in enumerate((daily.sum(), daily.mean(), daily.last())):
        path = tmp_path / f"daily-{number}.nc"
        wrong["tp"].attrs, wrong["t2m"].attrs = {"units": "m"}, {"units": "K"}
        wrong.to_netcdf(path, engine="h5netcdf")
        with pytest.raises(
            SoilcastError, match=r"daily-\d.nc: tp in m is an amount of which .*cannot be told"
        ) as raised:
            opened(path, cube, FEW)
        _has_no_wrong_advice(raised.value)


@pytest.mark.parametrize("how", ["sum", "mean"])
def test_steps_that_were_put_together_and_kept_their_attributes_are_refused(
    tmp_path: Path, cube: xr.Dataset, how: str
) -> None:
    data = dataset_of(truth_of(ISSUE, FEW, leads=LEADS + 2), IFS, ("tp",), SIX, style="cfgrib").drop_vars("valid_time")
    wrong = getattr(data.resample(step="1D"), how)(keep_attrs=True).assign_attrs(data.attrs)
    assert wrong["tp"].attrs["GRIB_stepType"] == "accum"
    wrong.to_netcdf(tmp_path / "forecast.nc", engine="h5netcdf")
    with pytest.raises(SoilcastError, match=r"tp is not 0 at the start of the forecast, since which .* accumulated"):
        opened(tmp_path / "forecast.nc", cube, ("tp",))


def test_buckets_that_lost_their_bounds_are_refused(tmp_path: Path, cube: xr.Dataset) -> None:
    truths = truth_of(ISSUE, FEW, leads=LEADS + 2)
    data = dataset_of(truths, AIFS_STEPS, FEW, SIX, style="cfgrib", centre="kwbc")
    data.to_netcdf(tmp_path / "forecast.nc", engine="h5netcdf")
    with pytest.raises(SoilcastError, match=r"centre kwbc, whose amounts may be of buckets: it cannot be told since"):
        opened(tmp_path / "forecast.nc", cube, FEW)


def test_files_of_two_models_are_refused(tmp_path: Path, cube: xr.Dataset) -> None:
    truths, others = truth_of(ISSUE, FEW, leads=LEADS + 2), truth_of("2020-01-10", FEW, leads=LEADS + 2)
    others = [replace(others[0], first=truths[0].first)]
    files = [write_steps(tmp_path / f"{n}.grib", each, IFS, FEW, SIX) for n, each in enumerate((truths, others))]
    with pytest.raises(SoilcastError, match=r"0.grib and .*1.grib: two different fields of tp at .*of one forecast"):
        opened(files, cube, FEW)
    same_again = [files[0], write_steps(tmp_path / "again.grib", truths, IFS, FEW, SIX)]
    same(opened(same_again, cube, FEW), write_truth(tmp_path / "truth.nc", ISSUE, FEW), cube, FEW)


def test_variables_of_different_runs_are_refused(tmp_path: Path, cube: xr.Dataset) -> None:
    truths = truth_of(ISSUE, FEW, leads=LEADS + 2)
    files = [
        write_steps(tmp_path / "t2m.grib", truths, IFS, ("t2m",), SIX),
        write_steps(tmp_path / "tp.grib", truths, IFS, ("tp",), range(0, 121, 6), start=DAY + 12),
    ]
    with pytest.raises(SoilcastError, match=r"2020-01-21T00 UTC has no tp, which other runs have: give files of all"):
        opened(files, cube, FEW)


@pytest.mark.slow
def test_a_damaged_header_is_told_or_read_and_never_a_traceback(tmp_path: Path, cube: xr.Dataset) -> None:
    path = write_steps(tmp_path / "f.grib", truth_of(ISSUE, ("t2m",), leads=LEADS + 2), IFS, ("t2m",), SIX)
    whole = path.read_bytes()
    for byte in range(16, 200, 3):
        path.write_bytes(whole[:byte] + bytes([whole[byte] ^ 0x85]) + whole[byte + 1 :])
        with suppress(SoilcastError):
            opened(path, cube, ("t2m",))


@pytest.mark.slow
def test_the_command_takes_several_files_and_refuses_in_one_line(folder: Path, tmp_path: Path) -> None:
    if not (folder / "run").exists():
        quick(folder / "cube", folder / "run", AHEAD)
    truths = truth_of(ISSUE, FEW, leads=LEADS + 2)
    files = [write_steps(tmp_path / f"{name}.grib", truths, IFS, (name,), SIX) for name in FEW]
    words = ["forecast", folder / "run", "--cube", folder / "cube", "--from", ISSUE, "--out", tmp_path / "out"]
    said, _ = run(*words, "--weather", files[0], "--weather", files[1])
    assert "weather of the forecast days: forecast" in said
    short = [write_steps(tmp_path / f"short-{name}.grib", truths, IFS, (name,), range(0, 43, 6)) for name in FEW]
    words[-1] = tmp_path / "other"
    error = refusal(*words, "--weather", short[0], "--weather", short[1])
    assert "so it covers 1 of 3 leads: add the missing steps, use --lead 1 or a longer forecast" in error
    assert not (tmp_path / "other").exists()


def test_a_single_forecast_beside_members_is_refused(tmp_path: Path, cube: xr.Dataset) -> None:
    files = [
        write_steps(tmp_path / f"{members}.grib", truth_of(ISSUE, FEW, leads=LEADS + 2, members=members), IFS, FEW, SIX)
        for members in (0, 3)
    ]
    with pytest.raises(SoilcastError, match="has a forecast without a member beside 3 members: give the ensemble or"):
        opened(files, cube, FEW)


def test_units_that_contradict_amounts_are_refused(tmp_path: Path, cube: xr.Dataset) -> None:
    truths = truth_of(ISSUE, FEW, leads=LEADS + 2)
    path = write_steps(tmp_path / "forecast.grib", truths, IFS | {"tp": Layout(228, 1.0, "instant")}, FEW, SIX)
    with pytest.raises(SoilcastError, match=r"tp has the step type 'accum' and a step of no length \(6\)"):
        opened(path, cube, FEW)
    runoff = truth_of(ISSUE, ("sro",), leads=LEADS + 2)
    path = write_steps(tmp_path / "runoff.grib", runoff, {"sro": Layout(174008, 1.0, "instant")}, ("sro",), SIX)
    with pytest.raises(
        SoilcastError, match=r"sro in kg m\*\*-2 is an amount, which the step type 'instant' contradicts"
    ):
        opened(path, cube, ("sro",))
    with pytest.raises(SoilcastError, match=r"tp in mm d-1 is no amount, which the step type 'accum' .* contradicts"):
        opened(write_steps(tmp_path / "rain.grib", truths, IFS, FEW, SIX), cube, FEW, units={"tp": "mm d-1"})


def test_an_area_that_does_not_cover_the_cells_is_refused(tmp_path: Path, cube: xr.Dataset) -> None:
    (truth,) = truth_of(ISSUE, FEW, leads=LEADS + 2)
    cut = replace(truth, lat=truth.lat[:4], daily={name: values[:, :4] for name, values in truth.daily.items()})
    path = write_steps(tmp_path / "forecast.grib", [cut], IFS, FEW, SIX)
    with pytest.raises(SoilcastError, match=r"\d of 6 cells of .* are not covered \(such as .*; it covers a grid of 4"):
        opened(path, cube, FEW)


def test_a_variable_that_is_missing_is_told_with_what_makes_it(tmp_path: Path, cube: xr.Dataset) -> None:
    path = write_steps(tmp_path / "forecast.grib", truth_of(ISSUE, FEW, leads=LEADS + 2), IFS, FEW, SIX)
    with pytest.raises(
        SoilcastError, match=r"no q, which the run needs; .*hold t2m: add q; or d2m with sp; or r2 with"
    ):
        opened(path, cube, ("q",))


def test_weather_that_takes_more_than_the_memory_is_refused(tmp_path: Path, cube: xr.Dataset) -> None:
    path = write_steps(tmp_path / "forecast.grib", truth_of(ISSUE, FEW, leads=LEADS + 2), IFS, FEW, SIX)
    with pytest.raises(SoilcastError, match="takes 0 MiB, more than half of --memory 0 MiB: increase it"):
        opened(path, cube, FEW, memory=10)


def test_another_grid_than_a_regular_one_is_refused(tmp_path: Path, cube: xr.Dataset) -> None:
    handle = eccodes.codes_grib_new_from_samples("reduced_gg_sfc_grib2")
    eccodes.codes_set(handle, "paramId", 167)
    with (tmp_path / "forecast.grib").open("wb") as stream:
        eccodes.codes_write(handle, stream)
    eccodes.codes_release(handle)
    with pytest.raises(SoilcastError, match="the grid of t2m is reduced_gg: convert it to a regular latitude"):
        opened(tmp_path / "forecast.grib", cube, ("t2m",))


def test_a_truncated_file_is_told(tmp_path: Path, cube: xr.Dataset) -> None:
    path = write_steps(tmp_path / "forecast.grib", truth_of(ISSUE, FEW, leads=LEADS + 2), IFS, FEW, SIX)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SoilcastError, match=r"forecast.grib: cannot be read as GRIB .*: it is damaged or truncated"):
        opened(path, cube, FEW)
