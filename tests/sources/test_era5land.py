"""The source era5land: every layout of the Climate Data Store gives the same days, in the cube's units and signs."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from soilcast.cube import grid_of, save_cube, to_grid
from soilcast.errors import SoilcastError
from soilcast.sources.derived import specific_humidity
from soilcast.sources.era5land import era5land
from soilcast.sources.grib import open_grib
from tests.helpers.era5_files import (
    AMOUNTS,
    HourlyWeather,
    break_file,
    daily_truth,
    hourly_weather,
    write_arco_zarr,
    write_daily_netcdf,
    write_era5_hourly,
    write_former_netcdf,
    write_grib,
    write_present_netcdf,
    write_present_zip,
)

FLOAT32 = 2e-6
"""What single precision leaves of sums of a day, beside the largest value."""

BOX = (-16.0, 0.0, 32.0, 48.0)  # of the planet: desert, rain forest, sea
SOIL = ("swvl1", "swvl2", "swvl3", "swvl4")


@pytest.fixture(scope="module")
def weather() -> HourlyWeather:
    return hourly_weather(8.0, days=4, box=BOX)


@pytest.fixture(scope="module")
def files(weather: HourlyWeather, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("era5")
    made: dict[str, Callable[[Path], list[Path]]] = {
        "former.nc": lambda path: write_former_netcdf(weather, path, packed=False),
        "former-expver.nc": lambda path: write_former_netcdf(
            weather, path, packed=False, preliminary_from="2020-03-01T07"
        ),
        "present.nc": lambda path: write_present_netcdf(weather, path),
        "present-instant.nc": lambda path: write_present_netcdf(weather, path, step_type="instant"),
        "present-expver.nc": lambda path: write_present_netcdf(weather, path, preliminary_from="2020-03-01T07"),
        "split.zip": lambda path: write_present_zip(weather, path),
        "single.zip": lambda path: write_present_zip(weather, path, members="single"),
        "land1.grib": lambda path: write_grib(weather, path),
        "land1-end.grib": lambda path: write_grib(weather, path, steps="end"),
        "land2.grib": lambda path: write_grib(weather, path, edition=2),
        "era5.grib": lambda path: write_grib(weather, path, product="era5"),
        "era5.nc": lambda path: write_era5_hourly(weather, path),
        "era5.zip": lambda path: write_era5_hourly(weather, path, layout="zip"),
        "arco.zarr": lambda path: write_arco_zarr(weather, path),
        "hub.zarr": lambda path: write_arco_zarr(
            weather, path, layout="earthdatahub", rule="since_midnight", zarr_format=3
        ),
    }
    return {name: write(folder / name) for name, write in made.items()}


LAYOUTS = (
    "former.nc",
    "former-expver.nc",
    "present.nc",
    "present-instant.nc",
    "present-expver.nc",
    "split.zip",
    "single.zip",
    "land1.grib",
    "land1-end.grib",
    "land2.grib",
    "era5.grib",
    "era5.nc",
    "era5.zip",
    "arco.zarr",
    "hub.zarr",
)


def on_map(cube: xr.Dataset, name: str, weather: HourlyWeather) -> np.ndarray:
    """Values of a cube as ``(day, lat, lon)`` on the axes of the hours."""
    grid = grid_of(cube)
    assert grid is not None
    spread = to_grid(cube[name].compute(), grid)
    rows = [int(np.abs(spread["lat"].to_numpy() - one).argmin()) for one in weather.lat]
    columns = [int(np.abs((spread["lon"].to_numpy() - one + 180) % 360 - 180).argmin()) for one in weather.lon]
    return spread.to_numpy()[rows][:, columns].transpose(2, 0, 1)


def assert_days(cube: xr.Dataset, name: str, expected: np.ndarray, weather: HourlyWeather, days: slice) -> None:
    found, wanted = on_map(cube, name, weather), np.where(weather.land, expected, np.nan)[days]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=FLOAT32 * np.nanmax(np.abs(wanted)), err_msg=name)


def mean_humidity(weather: HourlyWeather) -> np.ndarray:
    hourly = specific_humidity(weather.instants["d2m"].astype(np.float64), weather.instants["sp"].astype(np.float64))
    return np.stack([hourly[24 * day : 24 * day + 24].mean(axis=0) for day in range(len(weather.days))])


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_days_that_the_hours_make(
    layout: str, files: dict[str, list[Path]], weather: HourlyWeather
) -> None:
    cube = era5land(files[layout])
    truth = daily_truth(weather)
    assert [str(day)[:10] for day in cube["time"].to_numpy()] == [str(day) for day in weather.days]
    for name in ("t2m", "d2m", "u10", "v10", "sp", "sd", *SOIL, *AMOUNTS):
        assert_days(cube, name, truth.values[name], weather, slice(None))
    assert_days(cube, "q", mean_humidity(weather), weather, slice(None))
    assert np.nanmean(cube["e"]) > 0
    assert ("since 00 UTC" in cube["tp"].attrs["origin"]) == (
        layout not in ("era5.grib", "era5.nc", "era5.zip", "arco.zarr")
    )


@pytest.mark.slow
def test_the_layouts_are_one_cube_to_float32(files: dict[str, list[Path]]) -> None:
    one, *others = (era5land(files[layout]).load() for layout in ("land1.grib", "former.nc", "present.nc"))
    for other in others:
        assert set(one.data_vars) == set(other.data_vars)
        for name in one.data_vars:
            scale = float(np.nanmax(np.abs(one[name]))) if one[name].notnull().any() else 1.0
            np.testing.assert_allclose(one[name], other[name], rtol=0, atol=FLOAT32 * scale, err_msg=str(name))


def test_packed_values_are_those_to_half_a_step(weather: HourlyWeather, tmp_path: Path) -> None:
    path = write_former_netcdf(weather, tmp_path / "packed.nc")
    cube, truth = era5land(path), daily_truth(weather)
    for name in ("t2m", "swvl1", "tp", "strd"):
        wanted = np.where(weather.land, truth.values[name], np.nan)
        assert np.nanmax(np.abs(on_map(cube, name, weather) - wanted)) < 3e-5 * np.nanmax(np.abs(wanted))


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["former.nc", "present.nc", "land1.grib", "era5.nc"])
def test_local_days_are_those_of_each_longitude(
    layout: str, files: dict[str, list[Path]], weather: HourlyWeather
) -> None:
    cube, truth = era5land(files[layout], day="local"), daily_truth(weather, solar=True)
    kept = slice(1, len(weather.days) - 1)
    assert len(cube["time"]) == len(weather.days) - 2
    for name in ("t2m", "swvl1", "tp", "e", "ssrd"):
        assert_days(cube, name, truth.values[name], weather, kept)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["present.nc", "era5.grib"])
def test_states_at_the_end_of_the_day_close_the_balance(
    layout: str, files: dict[str, list[Path]], weather: HourlyWeather
) -> None:
    cube, truth = era5land(files[layout], states="end").load(), daily_truth(weather)
    for name in ("sd", *SOIL):
        found = on_map(cube.sel(time=slice(str(weather.days[0]), None)), name, weather)
        np.testing.assert_allclose(found, np.where(weather.land, truth.ends[name], np.nan), rtol=1e-6, atol=1e-9)
    water = cube["sd"] + sum(cube[f"swvl{n}"] * cube[f"slthick{n}"] for n in range(1, 5))
    residual = (cube["tp"] - cube["e"] - cube["ro"] - water.diff("time")).to_numpy()
    assert np.nanmax(np.abs(residual[:, 1:])) < 1e-6


def test_total_runoff_is_made_of_its_parts(weather: HourlyWeather, tmp_path: Path) -> None:
    cube = era5land(write_present_netcdf(weather, tmp_path / "parts.nc", ["swvl1", "sro", "ssro"]))
    assert_days(cube, "ro", daily_truth(weather).values["ro"], weather, slice(None))
    assert "surface and sub-surface runoff together" in cube["ro"].attrs["origin"]


@pytest.mark.slow
def test_one_file_or_many_is_the_same(weather: HourlyWeather, files: dict[str, list[Path]], tmp_path: Path) -> None:
    half = len(weather.hour) // 2
    seams = [(0, half), (half, len(weather.hour) - 1)]
    for first, last in seams:  # both hold the hour at the seam, as months do that are fetched with their last midnight
        part = weather.between(str(weather.hour[first]), str(weather.hour[last]))
        for group in (("t2m", "swvl1"), ("tp", "e", "strd")):
            write_present_netcdf(part, tmp_path / f"{first}-{group[0]}.nc", group)
    many, one = era5land([tmp_path]), era5land(files["present.nc"])
    for name in ("t2m", "swvl1", "tp", "e", "strd"):
        np.testing.assert_array_equal(many[name], one[name])


def test_daily_statistics_are_taken_as_they_are(weather: HourlyWeather, tmp_path: Path) -> None:
    names = ["t2m", "d2m", "sp", "swvl1", "tp", "strd"]
    cube = era5land(write_daily_netcdf(weather, tmp_path, names, stream="stream-oper"))
    truth = daily_truth(weather)
    for name in ("t2m", "swvl1", "tp", "strd"):
        assert_days(cube, name, truth.values[name], weather, slice(None))
    assert "daily (as the file says)" in cube["tp"].attrs["origin"]


def test_daily_means_of_the_states_go_with_hourly_amounts(weather: HourlyWeather, tmp_path: Path) -> None:
    write_daily_netcdf(weather, tmp_path, ["t2m", "swvl1"])
    write_present_netcdf(weather, tmp_path / "amounts.nc", ["tp", "ro"])
    cube = era5land([tmp_path])
    for name in ("t2m", "swvl1", "tp", "ro"):
        assert_days(cube, name, daily_truth(weather).values[name], weather, slice(None))


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(first=st.integers(0, 3), length=st.integers(1, 4), cells=st.integers(1, 9))
def test_any_slice_reads_the_same_values(first: int, length: int, cells: int, files: dict[str, list[Path]]) -> None:
    cube = era5land(files["present.nc"], day="utc")
    for name in ("q", "tp"):
        whole = cube[name].to_numpy()
        part = cube[name].isel(time=slice(first, first + length), cell=slice(0, cells)).to_numpy()
        np.testing.assert_array_equal(part, whole[:cells, first : first + length])


@pytest.mark.slow
def test_a_slice_of_days_reads_these_days_alone(files: dict[str, list[Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    from soilcast.sources.era5land import record

    read: list[int] = []
    before = record.read_stamps

    def counting(field: Any, dataset: Any, positions: slice) -> Any:
        read.append(positions.stop - positions.start)
        return before(field, dataset, positions)

    cube = era5land(files["present.nc"])
    monkeypatch.setattr(record, "read_stamps", counting)
    cube["t2m"].isel(time=slice(1, 3)).to_numpy()
    assert sum(read) <= 49  # two days, and the hour that ends them
    read.clear()
    cube["tp"].isel(time=slice(1, 3)).to_numpy()
    assert sum(read) == 2  # the values at 00 UTC alone


def test_a_missing_hour_makes_a_missing_day_and_is_named(weather: HourlyWeather, tmp_path: Path) -> None:
    gone = np.datetime64("2020-02-29T05", "h")
    path = write_present_netcdf(weather, tmp_path / "whole.nc", ["swvl1", "t2m", "tp"])[0]
    with xr.open_dataset(path, engine="h5netcdf") as opened:
        opened.sel(valid_time=opened["valid_time"] != gone).to_netcdf(tmp_path / "gap.nc", engine="h5netcdf")
    cube = era5land([tmp_path / "gap.nc"])
    missing = np.isnan(cube["t2m"]).all("cell").to_numpy()
    assert [str(day)[:10] for day in cube["time"].to_numpy()[missing]] == ["2020-02-29"]
    assert "1 missing day: 2020-02-29 (no 2020-02-29T05)" in cube.attrs["notes"]
    assert np.isfinite(cube["tp"]).all()  # the total at the day's end is there all the same


def test_a_request_that_ends_at_23_lacks_the_last_total(weather: HourlyWeather, tmp_path: Path) -> None:
    part = weather.between(str(weather.hour[0]), str(weather.hour[-2]))
    cube = era5land(write_present_netcdf(part, tmp_path / "year.nc", ["swvl1", "tp"]))
    assert np.isfinite(cube["swvl1"]).all()
    assert np.isnan(cube["tp"].isel(time=-1)).all()
    assert f"tp: 1 missing day: {weather.days[-1]} (no {weather.hour[-1]})" in cube.attrs["notes"]


def test_three_hourly_values_make_days_of_utc_and_no_others(weather: HourlyWeather, tmp_path: Path) -> None:
    path = write_present_netcdf(weather, tmp_path / "hours.nc", ["swvl1", "t2m", "tp"])[0]
    with xr.open_dataset(path, engine="h5netcdf") as opened:
        opened.isel(valid_time=slice(None, None, 3)).to_netcdf(tmp_path / "three.nc", engine="h5netcdf")
    cube = era5land([tmp_path / "three.nc"])
    assert_days(cube, "tp", daily_truth(weather).values["tp"], weather, slice(None))
    means = np.stack([weather.instants["t2m"][24 * day : 24 * day + 24 : 3].mean(axis=0) for day in range(4)])
    assert_days(cube, "t2m", means, weather, slice(None))
    with pytest.raises(SoilcastError, match=r"three\.nc: .* every 3 hours: local days need hourly values"):
        era5land([tmp_path / "three.nc"], day="local")
    with pytest.raises(SoilcastError, match=r"once a day: local days need hourly values"):
        era5land(write_daily_netcdf(weather, tmp_path, ["swvl1"]), day="local")


@pytest.mark.slow
def test_preliminary_data_are_told(files: dict[str, list[Path]]) -> None:
    assert "preliminary data (ERA5T)" in era5land(files["present-expver.nc"]).attrs["notes"]


@pytest.mark.slow
def test_de_accumulated_and_since_midnight_are_told_from_the_values(files: dict[str, list[Path]]) -> None:
    since, hourly = (era5land(files[name])["tp"].attrs["origin"] for name in ("hub.zarr", "arco.zarr"))
    assert "accumulated since 00 UTC (it increases within a day and resets after 00 UTC)" in since
    assert "amounts of each step (within a day" in hourly


def test_what_cannot_be_told_is_asked_for(weather: HourlyWeather, tmp_path: Path) -> None:
    dry = HourlyWeather(
        **{
            **vars(weather),
            "amounts": {**weather.amounts, "tp": weather.amounts["tp"] * 0},
            "since_midnight": {**weather.since_midnight, "tp": weather.since_midnight["tp"] * 0},
        }
    )
    path = write_present_netcdf(dry, tmp_path / "dry.nc", ["swvl1", "tp"])
    with pytest.raises(SoilcastError, match=r"dry\.nc: cannot infer whether tp is .* --accumulation hourly"):
        era5land(path)
    assert not era5land(path, accumulation="since-midnight")["tp"].to_numpy().any()
    beside = write_present_netcdf(dry, tmp_path / "beside.nc", ["swvl1", "tp", "strd"])
    assert "as strd beside it" in era5land(beside)["tp"].attrs["origin"]


def test_evaporation_that_counts_upward_is_refused_until_it_is_stated(weather: HourlyWeather, tmp_path: Path) -> None:
    whole = write_present_netcdf(weather, tmp_path / "whole.nc", ["swvl1", "e"])[0]
    turned = break_file(whole, tmp_path / "turned.nc", "e_upward")
    with pytest.raises(SoilcastError, match=r"turned\.nc: e \(.*its sign is reversed.*--flip-sign e"):
        save_cube(era5land([turned]), tmp_path / "cube")
    np.testing.assert_array_equal(era5land([turned], flip_sign=["e"])["e"], era5land([whole])["e"])


@pytest.mark.parametrize(
    ("fault", "variable", "said"),
    [
        ("mm_that_says_m", "tp", "tp has"),
        ("joules_that_say_watts", "ssrd", "ssrd has"),
        ("celsius_that_says_kelvin", "t2m", "t2m has"),
    ],
)
def test_a_file_that_lies_about_its_unit_is_caught_by_the_bounds(
    fault: str, variable: str, said: str, weather: HourlyWeather, tmp_path: Path
) -> None:
    whole = write_present_netcdf(weather, tmp_path / "whole.nc", ["swvl1", "t2m", "tp", "ssrd", "strd"])[0]
    lying = break_file(whole, tmp_path / "lying.nc", fault)
    with pytest.raises(SoilcastError, match=rf"lying\.nc: {said} .* outside .*--unit {variable}=UNIT"):
        era5land([lying])[variable].to_numpy()


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["truncated", "header_alone", "zeros", "garbage", "empty"])
@pytest.mark.parametrize("layout", ["present.nc", "former.nc", "land1.grib", "split.zip"])
def test_a_damaged_file_is_one_line(fault: str, layout: str, files: dict[str, list[Path]], tmp_path: Path) -> None:
    broken = break_file(files[layout][0], tmp_path / layout, fault)
    with pytest.raises(SoilcastError, match=layout.replace(".", r"\.")) as raised:
        era5land([broken]).load()
    assert "\n" not in str(raised.value)


def test_other_grids_units_and_values_are_refused(weather: HourlyWeather, tmp_path: Path) -> None:
    one = write_present_netcdf(weather, tmp_path / "one.nc", ["swvl1"])[0]
    other = hourly_weather(8.0, days=4, box=(-16.0, 0.0, 32.0, 40.0))
    write_present_netcdf(other, tmp_path / "other.nc", ["t2m"])
    with pytest.raises(SoilcastError, match=r"other\.nc: lat/lon mismatch"):
        era5land([one, tmp_path / "other.nc"])
    with xr.open_dataset(one, engine="h5netcdf") as opened:
        changed = opened.isel(valid_time=slice(-1, None)).load()
    changed["swvl1"] = changed["swvl1"] + 0.01
    changed.to_netcdf(tmp_path / "changed.nc", engine="h5netcdf")
    with pytest.raises(SoilcastError, match=r"disagree: swvl1 has different values at 2020-03-03T00"):
        era5land([one, tmp_path / "changed.nc"])
    with pytest.raises(SoilcastError, match=r"both hold swvl1 at 97 time\(s\).*remove one of the files"):
        era5land([one, write_present_netcdf(weather, tmp_path / "again.nc", ["swvl1"])[0]])


def test_what_is_no_era5_is_named(tmp_path: Path, weather: HourlyWeather) -> None:
    nothing = xr.Dataset({"colour": (("time",), np.arange(3.0))})
    nothing.to_netcdf(tmp_path / "colours.nc", engine="h5netcdf")
    with pytest.raises(SoilcastError, match=r"colours\.nc: no gridded variable of ERA5-Land, only colour"):
        era5land([tmp_path / "colours.nc"])
    with pytest.raises(SoilcastError, match=r"no swvl1 .* in 1 variable: add the files"):
        era5land(write_present_netcdf(weather, tmp_path / "air.nc", ["t2m"]))
    with pytest.raises(SoilcastError, match=r"--flip-sign evap: era5land has no such variable"):
        era5land([tmp_path / "air.nc"], flip_sign=["evap"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SoilcastError, match=r"no NetCDF, GRIB, zip or Zarr in this folder"):
        era5land([tmp_path / "empty"])
    with zipfile.ZipFile(tmp_path / "texts.zip", "w") as archive:
        archive.writestr("a.txt", "nothing")
    with pytest.raises(SoilcastError, match=r"texts\.zip: no NetCDF file in this archive"):
        era5land([tmp_path / "texts.zip"])


@pytest.mark.shared
def test_an_ensemble_and_levels_are_not_read_as_the_ground(shared: Path) -> None:
    with pytest.raises(SoilcastError, match=r"no gridded variable of ERA5-Land, only z \(.*pressure or model levels"):
        era5land([shared / "formats" / "grib" / "era5-levels-members.grib"])


@pytest.mark.shared
@pytest.mark.parametrize(
    ("file", "product", "days", "cells"),
    [
        ("ERA5_Pakistan_20200101_20200107.nc", "ERA5-Land", 7, 2196),
        ("ERA5_Senegal_2024_03_01_04.nc", "ERA5", 4, 195),
    ],
)
def test_real_files_are_read(shared: Path, file: str, product: str, days: int, cells: int) -> None:
    path = shared / "formats" / "era5_cds_new_netcdf" / file
    cube = era5land([path])
    assert cube.attrs["content"] == f"reanalysis ({product})"
    assert dict(cube.sizes)["time"] == days
    assert cube.sizes["cell"] == cells
    with xr.open_dataset(path, engine="h5netcdf") as opened:
        first = opened["swvl1"].isel(valid_time=slice(0, 24)).mean("valid_time", dtype=np.float64)
    grid = grid_of(cube)
    assert grid is not None
    spread = to_grid(cube["swvl1"].isel(time=0).compute(), grid).to_numpy()
    np.testing.assert_allclose(spread, first.to_numpy(), rtol=1e-6)


@pytest.mark.slow
def test_regridding_keeps_the_water(weather: HourlyWeather, files: dict[str, list[Path]]) -> None:
    fine, coarse = era5land(files["present.nc"]), era5land(files["present.nc"], resolution=24.0)
    assert coarse.sizes["cell"] < fine.sizes["cell"]
    assert "24 degree, conservative means of 8 degree" in coarse.attrs["title"]
    for name in ("tp", "swvl1"):
        assert np.isfinite(coarse[name]).all()
        assert float(coarse[name].min()) >= float(fine[name].min())
        assert float(coarse[name].max()) <= float(fine[name].max()) + 1e-7


@pytest.mark.parametrize("resolution", [None, 8.0])
def test_antarctica_is_left_out_and_counted(weather: HourlyWeather, tmp_path: Path, resolution: float | None) -> None:
    write_present_netcdf(weather, tmp_path / "north.nc", SOIL[:1])
    with xr.open_dataset(tmp_path / "north.nc", engine="h5netcdf") as opened:
        # From 32 degrees north .. 16 south to 40 .. 88 south.
        moved = opened.load().assign_coords(latitude=opened["latitude"] - 72.0)
    moved.to_netcdf(tmp_path / "south.nc", engine="h5netcdf")
    whole = era5land([tmp_path / "south.nc"], resolution=resolution, antarctica=True)
    cube = era5land([tmp_path / "south.nc"], resolution=resolution)
    north = whole["lat"].to_numpy() >= -60
    assert 0 < north.sum() < len(north)
    assert f"{(~north).sum()} of {len(north)} grid points lie south of 60 °S (Antarctica)" in cube.attrs["notes"]
    assert "Antarctica" not in whole.attrs.get("notes", "")
    np.testing.assert_array_equal(cube["swvl1"], whole["swvl1"].isel(cell=north))
    np.testing.assert_array_equal(cube["lat"], whole["lat"].isel(cell=north))
    moved.sel(latitude=slice(-60, -90)).to_netcdf(tmp_path / "ice.nc", engine="h5netcdf")
    with pytest.raises(SoilcastError, match=r"ice\.nc: .* lie south of 60 °S .*keep it with --antarctica"):
        era5land([tmp_path / "ice.nc"], resolution=resolution)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["land1.grib", "land2.grib"])
def test_grib_is_read_as_cfgrib_reads_it(file: str, files: dict[str, list[Path]]) -> None:
    import cfgrib

    path = files[file][0]
    arguments = {"indexpath": "", "time_dims": ("valid_time",), "filter_by_keys": {"shortName": "2t"}}
    (expected,) = cfgrib.open_datasets(str(path), backend_kwargs=arguments)
    (ours,) = (one for one in open_grib(path) if "t2m" in one)
    np.testing.assert_array_equal(ours["t2m"], expected["t2m"])
    for axis in ("valid_time", "latitude", "longitude"):
        np.testing.assert_allclose(ours[axis].astype(float), expected[axis].astype(float), rtol=0, atol=1e-6)


@pytest.mark.shared
def test_a_real_grib_file_is_read_as_cfgrib_reads_it(shared: Path) -> None:
    import cfgrib

    for name in ("era5-single-level-scalar-time.grib", "era5-levels-members.grib"):
        path = shared / "formats" / "grib" / name
        expected = cfgrib.open_datasets(str(path), backend_kwargs={"indexpath": "", "time_dims": ("valid_time",)})[0]
        ours = open_grib(path)[0]
        (variable,) = ours.data_vars
        same = expected[variable]
        if "isobaricInhPa" in ours.coords:
            same = same.sel(isobaricInhPa=ours["isobaricInhPa"]).isel(number=0)
        np.testing.assert_array_equal(ours[variable].to_numpy().squeeze(), same.to_numpy().squeeze())
