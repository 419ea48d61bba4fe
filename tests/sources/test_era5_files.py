"""The ERA5-like files that other tests read hold the hours that they were made from, in the real layouts."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cfgrib
import numpy as np
import pytest
import xarray as xr

from soilcast.cube import grid_of, to_grid
from soilcast.sources.derived import specific_humidity
from soilcast.sources.planet import planet
from tests.helpers.era5_files import (
    BYTE_FAULTS,
    CONTENT_FAULTS,
    INSTANTS,
    NAMES,
    HourlyWeather,
    break_file,
    break_zip,
    daily_truth,
    hourly_weather,
    messages,
    write_arco_zarr,
    write_daily_globe,
    write_daily_netcdf,
    write_era5_hourly,
    write_former_netcdf,
    write_grib,
    write_present_netcdf,
    write_present_zip,
)

FEW = ("t2m", "swvl1", "tp", "e", "ssrd")


@pytest.fixture(scope="module")
def weather() -> HourlyWeather:
    return hourly_weather(8, start="2020-02-28", days=3)


def on_file_axes(weather: HourlyWeather, values: np.ndarray) -> np.ndarray:
    """The truth's columns from Greenwich eastward, as a global file has them."""
    return values[..., np.argsort(weather.lon % 360.0)]


# NetCDF


@pytest.mark.slow
def test_former_netcdf_is_packed_and_off_by_half_a_step_at_most(weather: HourlyWeather, tmp_path: Path) -> None:
    (path,) = write_former_netcdf(weather, tmp_path / "former.nc")
    assert path.read_bytes()[:4] == b"CDF\x02"
    with xr.open_dataset(path, engine="scipy", decode_cf=False) as raw, xr.open_dataset(path, engine="scipy") as file:
        assert raw["t2m"].dims == ("time", "latitude", "longitude")
        assert raw["time"].dtype == np.int32
        assert raw["time"].attrs["units"] == "hours since 1900-01-01 00:00:00.0"
        np.testing.assert_array_equal(file["time"].to_numpy().astype("datetime64[h]"), weather.hour)
        assert (file["longitude"][0], file["latitude"][0]) == (0.0, 88.0)
        for name in NAMES:
            held = weather.instants[name] if name in INSTANTS else weather.since_midnight[name]
            assert raw[name].dtype == np.int16
            bound = 0.5001 * raw[name].attrs["scale_factor"] + 1e-12
            np.testing.assert_allclose(file[name], on_file_axes(weather, held), rtol=0, atol=bound, err_msg=name)


def test_former_netcdf_unpacked_and_with_both_experiment_versions(weather: HourlyWeather, tmp_path: Path) -> None:
    (path,) = write_former_netcdf(
        weather, tmp_path / "mixed.nc", FEW, packed=False, preliminary_from="2020-02-29T05", first_missing=True
    )
    with xr.open_dataset(path, engine="scipy") as file:
        assert file["tp"].dims == ("time", "expver", "latitude", "longitude")
        assert list(file["expver"]) == [1, 5]
        settled, preliminary = file.sel(expver=1), file.sel(expver=5)
        assert settled["t2m"][29:].isnull().all()
        assert preliminary["t2m"][:29].isnull().all()
        whole = settled.combine_first(preliminary)
        np.testing.assert_array_equal(whole["t2m"], on_file_axes(weather, weather.instants["t2m"]))
        assert whole["tp"][0].isnull().all()
        np.testing.assert_array_equal(whole["tp"][1:], on_file_axes(weather, weather.since_midnight["tp"][1:]))


def test_present_netcdf_holds_the_numbers_themselves(weather: HourlyWeather, tmp_path: Path) -> None:
    (path,) = write_present_netcdf(weather, tmp_path / "present.nc", preliminary_from="2020-03-01T00")
    with xr.open_dataset(path) as file:
        np.testing.assert_array_equal(file["valid_time"].to_numpy().astype("datetime64[h]"), weather.hour)
        for name in NAMES:
            held = weather.instants[name] if name in INSTANTS else weather.since_midnight[name]
            np.testing.assert_array_equal(file[name], on_file_axes(weather, held), err_msg=name)
        assert file["expver"].to_numpy().tolist() == ["0001"] * 48 + ["0005"] * 25
        assert file["tp"].attrs["GRIB_stepType"] == "accum"


@pytest.mark.shared
def test_present_netcdf_has_the_attributes_of_a_real_file(weather: HourlyWeather, shared: Path, tmp_path: Path) -> None:
    (path,) = write_present_netcdf(weather, tmp_path / "present.nc", ["swvl1"])
    real_path = shared / "formats/era5_cds_new_netcdf/ERA5_Senegal_2024_03_01_04.nc"
    with xr.open_dataset(path, decode_cf=False) as file, xr.open_dataset(real_path, decode_cf=False) as real:
        assert file.attrs == real.attrs | {"history": file.attrs["history"]}
        assert set(file.variables) == set(real.variables) - {"lsm"}
        for name, held in file.variables.items():
            assert (held.dims, held.dtype) == (real[name].dims, real[name].dtype), name
            assert list(held.attrs) == list(real[name].attrs), name
            for key, value in held.attrs.items():
                assert type(value) is type(real[name].attrs[key]), (name, key)
                if not any(word in key for word in ("Points", "Nx", "Ny", "Degrees")):
                    np.testing.assert_equal(value, real[name].attrs[key])


def test_zip_members_and_longitudes_of_an_area(tmp_path: Path) -> None:
    box = hourly_weather(8, start="2020-02-28", days=3, box=(0.0, -20.0, 40.0, 40.0))
    (split,) = write_present_zip(box, tmp_path / "split.zip", FEW)
    (single,) = write_present_zip(box, tmp_path / "single.zip", FEW, members="single")
    with zipfile.ZipFile(split) as archive:
        archive.extractall(tmp_path)
        assert archive.namelist() == [
            "data_stream-oper_stepType-instant.nc",
            "data_stream-oper_stepType-accum.nc",
        ]
    with zipfile.ZipFile(single) as archive:
        archive.extractall(tmp_path)
        assert archive.namelist() == ["data_0.nc"]
    assert not list(tmp_path.glob("tmp*"))
    with xr.open_dataset(tmp_path / "data_stream-oper_stepType-accum.nc") as file:
        assert set(file.data_vars) == {"tp", "e", "ssrd"}
        np.testing.assert_array_equal(file["longitude"], box.lon)
        assert file["longitude"][0] < 0
    with xr.open_dataset(tmp_path / "data_0.nc") as file:
        assert set(file.data_vars) == set(FEW)
        assert file["tp"].attrs["GRIB_stepType"] == "instant"


def test_era5_has_amounts_of_hours_and_values_at_sea(weather: HourlyWeather, tmp_path: Path) -> None:
    (path,) = write_era5_hourly(weather, tmp_path / "era5.nc", FEW)
    (former,) = write_era5_hourly(weather, tmp_path / "former.nc", FEW, layout="former", packed=False)
    with xr.open_dataset(path) as file, xr.open_dataset(former) as same:
        land = on_file_axes(weather, weather.land)
        for name in FEW:
            assert file[name].notnull().all(), name
            np.testing.assert_array_equal(file[name], same[name])
        expected = on_file_axes(weather, weather.amounts["tp"])
        np.testing.assert_array_equal(file["tp"].to_numpy()[:, land], expected[:, land])
        assert (file["swvl1"].to_numpy()[:, ~land] == 0).all()


def test_daily_statistics(weather: HourlyWeather, tmp_path: Path) -> None:
    truth = daily_truth(weather)
    paths = write_daily_netcdf(weather, tmp_path, FEW)
    assert [path.name for path in paths] == [
        "2m_temperature_0_daily-mean.nc",
        "volumetric_soil_water_layer_1_0_daily-mean.nc",
        "total_precipitation_0_daily-sum.nc",
        "total_evaporation_0_daily-sum.nc",
        "surface_solar_radiation_downwards_0_daily-sum.nc",
    ]
    in_cube = {"e": -1.0, "ssrd": 1.0 / 86400.0}
    for name, path in zip(FEW, paths, strict=True):
        with xr.open_dataset(path) as file:
            np.testing.assert_array_equal(file["valid_time"].to_numpy().astype("datetime64[D]"), truth.day)
            values = file[name].to_numpy().astype(np.float64) * in_cube.get(name, 1.0)
            np.testing.assert_allclose(values, on_file_axes(weather, truth.values[name]), rtol=2e-7, err_msg=name)
            assert "daily_reduce" in file.attrs["history"]
    (mean,) = write_daily_netcdf(weather, tmp_path, ["tp"], statistics={"tp": "mean"})
    with xr.open_dataset(mean) as file, xr.open_dataset(paths[2]) as total:
        np.testing.assert_allclose(file["tp"] * 24, total["tp"], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("years", "compression"), [("2020:2020", None), pytest.param("2019:2020", 1, marks=pytest.mark.slow)]
)
def test_globe_of_daily_files_is_the_planet(tmp_path: Path, years: str, compression: int | None) -> None:
    cube = planet(resolution=8, years=years)
    paths = write_daily_globe(tmp_path, 8, years, compression=compression)
    assert len(paths) == 17 * len(set(years.split(":")))
    grid = grid_of(cube)
    in_file = {"e": -1.0, "ssrd": 86400.0, "strd": 86400.0}

    def expected(name: str, days: np.ndarray) -> np.ndarray:
        values = to_grid(cube[name].sel(time=days), grid).transpose("time", "lat", "lon").to_numpy()
        return values[:, ::-1, np.argsort(grid.lon % 360.0)].astype(np.float64)

    dewpoint, pressure = {}, {}
    for path in paths:
        with xr.open_dataset(path) as file:
            (name,) = set(file.data_vars)
            year, days, values = path.name.split("_")[-2], file["valid_time"].to_numpy(), file[name].to_numpy()
        assert (days.astype("datetime64[Y]") == np.datetime64(year)).all()
        if name == "d2m":
            dewpoint[year] = values.astype(np.float64)
            continue
        pressure |= {year: values.astype(np.float64)} if name == "sp" else {}
        wanted = expected(name, days) * in_file.get(name, 1.0)
        np.testing.assert_allclose(values, wanted, rtol=2e-7, err_msg=name)
    for year in dewpoint:
        q = specific_humidity(dewpoint[year], pressure[year])
        days = cube["time"].sel(time=year).to_numpy()
        np.testing.assert_allclose(q, expected("q", days), rtol=5e-6)


# GRIB


@pytest.fixture(scope="module")
def hours(weather: HourlyWeather) -> HourlyWeather:
    """A day and three hours."""
    return weather.between("2020-02-28T00", "2020-02-29T02")


def in_order(field: xr.DataArray) -> np.ndarray:
    """The fields of a GRIB variable by valid time, those left out that no message gave."""
    if "step" in field.dims:
        field = field.stack(stamp=("time", "step"))
        field = field.transpose("stamp", "latitude", "longitude").sortby("valid_time").dropna("stamp", how="all")
    return field.to_numpy()


@pytest.mark.slow
@pytest.mark.parametrize("edition", [1, 2])
def test_grib_of_era5_land_opens_with_cfgrib(hours: HourlyWeather, tmp_path: Path, edition: int) -> None:
    (path,) = write_grib(hours, tmp_path / "land.grib", FEW, edition=edition)
    found = dict(ds for part in cfgrib.open_datasets(str(path), indexpath="") for ds in part.data_vars.items())
    renamed = {"swvl1": "vsw"} if edition == 2 else {}
    assert set(found) == {renamed.get(name, name) for name in FEW}
    for name in FEW:
        held = hours.instants[name] if name in INSTANTS else hours.since_midnight[name]
        values = in_order(found[renamed.get(name, name)])
        scale = float(np.nanmax(np.abs(held)))
        np.testing.assert_allclose(values, on_file_axes(hours, held), rtol=0, atol=2e-7 * scale, err_msg=name)
        assert found[renamed.get(name, name)].attrs["GRIB_dataType"] == "fc"
    assert found["tp"].attrs["GRIB_stepType"] == "accum"
    keys = list(messages(path, "edition", "dataDate", "stepRange", "shortName"))
    assert keys[len(FEW) * 24 + 2] == (edition, 20200228, "0-24", "tp")
    assert keys[len(FEW) * 25 + 0] == (edition, 20200229, "1", "2t")


def test_grib_1_that_names_only_the_last_step(hours: HourlyWeather, tmp_path: Path) -> None:
    (path,) = write_grib(hours, tmp_path / "land.grib", ["tp"], steps="end")
    keys = list(messages(path, "dataDate", "stepRange", "stepType", "validityDate", "validityTime"))
    assert keys[0] == (20200227, "24", "instant", 20200228, 0)
    assert keys[25] == (20200229, "1", "instant", 20200229, 100)
    (part,) = cfgrib.open_datasets(str(path), indexpath="")
    expected = on_file_axes(hours, hours.since_midnight["tp"])
    np.testing.assert_allclose(in_order(part["tp"]), expected, rtol=0, atol=1e-8)


def test_grib_of_era5_has_analyses_and_forecasts_of_one_hour(hours: HourlyWeather, tmp_path: Path) -> None:
    (path,) = write_grib(hours, tmp_path / "era5.grib", ["t2m", "tp"], product="era5")
    keys = list(messages(path, "dataDate", "dataTime", "stepRange", "dataType", "validityTime"))
    assert keys[:2] == [(20200228, 0, "0", "an", 0), (20200227, 1800, "5-6", "fc", 0)]
    assert keys[2 * 7 + 1] == (20200228, 600, "0-1", "fc", 700)
    assert keys[2 * 18 + 1] == (20200228, 600, "11-12", "fc", 1800)
    found = dict(ds for part in cfgrib.open_datasets(str(path), indexpath="") for ds in part.data_vars.items())
    land = on_file_axes(hours, hours.land)
    for name, held in {"t2m": hours.instants["t2m"], "tp": hours.amounts["tp"]}.items():
        values = in_order(found[name])
        assert np.isfinite(values).all()
        scale = float(np.nanmax(held))
        expected = on_file_axes(hours, held)[:, land]
        np.testing.assert_allclose(values[:, land], expected, rtol=0, atol=2e-7 * scale)


# Zarr


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr_with_long_and_with_short_names(weather: HourlyWeather, tmp_path: Path, zarr_format: int) -> None:
    (arco,) = write_arco_zarr(weather, tmp_path / "arco.zarr", FEW, zarr_format=zarr_format)
    hub = {"layout": "earthdatahub", "rule": "since_midnight"}
    (short,) = write_arco_zarr(weather, tmp_path / "hub.zarr", FEW, zarr_format=zarr_format, **hub)
    assert (arco / ("zarr.json" if zarr_format == 3 else ".zmetadata")).is_file()
    with xr.open_zarr(arco) as store:
        assert store["total_precipitation"].dims == ("time", "latitude", "longitude")
        assert store["total_precipitation"].encoding["chunks"] == (24, 23, 45)
        np.testing.assert_array_equal(store["total_precipitation"], on_file_axes(weather, weather.amounts["tp"]))
        np.testing.assert_array_equal(store["2m_temperature"], on_file_axes(weather, weather.instants["t2m"]))
        np.testing.assert_array_equal(store["time"].to_numpy().astype("datetime64[h]"), weather.hour)
    with xr.open_zarr(short) as store:
        assert store["tp"].dims == ("valid_time", "latitude", "longitude")
        np.testing.assert_array_equal(store["tp"], on_file_axes(weather, weather.since_midnight["tp"]))


# Faults


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["former", "present"])
def test_faults_of_content(weather: HourlyWeather, tmp_path: Path, layout: str) -> None:
    whole, broken = tmp_path / "whole.nc", tmp_path / "broken.nc"
    write_era5_hourly(weather.between("2020-02-28T00", "2020-02-28T11"), whole, FEW, layout=layout)
    factors = {
        "e_upward": {"e": -1}, "tp_mean_of_hours": {"tp": 1 / 24}, "mm_that_says_m": {"tp": 1000, "e": 1000},
        "watts_that_say_joules": {"ssrd": 1 / 3600},
    }  # fmt: skip
    said = {"m_that_says_mm": {"tp": "mm", "e": "mm"}, "joules_that_say_watts": {"ssrd": "W m**-2"}}
    for fault in CONTENT_FAULTS:
        break_file(whole, broken, fault)
        with xr.open_dataset(whole) as good, xr.open_dataset(broken) as bad:
            axis = bad["t2m"].dims[0]
            if fault == "missing_stamp":
                xr.testing.assert_equal(bad.load(), good.drop_isel({axis: 5}).load())
            elif fault == "repeated_stamp":
                assert bad.sizes[axis] == good.sizes[axis] + 1
                assert bad[axis][5] == bad[axis][6]
            elif fault == "shifted_by_a_day":
                assert (bad[axis].to_numpy() - good[axis].to_numpy() == np.timedelta64(1, "D")).all()
            else:
                added = -273.15 if fault == "celsius_that_says_kelvin" else 0.0
                for name in FEW:
                    expected = good[name].to_numpy() * factors.get(fault, {}).get(name, 1.0)
                    expected = expected + (added if name == "t2m" else 0.0)
                    np.testing.assert_allclose(bad[name], expected, rtol=1e-6, atol=1e-4 if added else 1e-9)
                    units = said.get(fault, {}).get(name, good[name].attrs["units"])
                    assert bad[name].attrs["units"] == units


def test_a_fault_that_would_change_nothing_is_refused(weather: HourlyWeather, tmp_path: Path) -> None:
    write_present_netcdf(weather, tmp_path / "whole.nc", ["t2m"])
    with pytest.raises(AssertionError, match="e_upward changes nothing"):
        break_file(tmp_path / "whole.nc", tmp_path / "broken.nc", "e_upward")


@pytest.mark.parametrize("fault", BYTE_FAULTS)
def test_faults_of_bytes(weather: HourlyWeather, tmp_path: Path, fault: str) -> None:
    (whole,) = write_present_zip(weather, tmp_path / "whole.zip", FEW)
    content = whole.read_bytes()
    broken = break_file(whole, tmp_path / "broken.zip", fault).read_bytes()
    assert broken != content
    assert len(broken) <= len(content)
    member = "data_stream-oper_stepType-accum.nc"
    break_zip(whole, tmp_path / "member.zip", member, fault)
    with zipfile.ZipFile(whole) as good, zipfile.ZipFile(tmp_path / "member.zip") as bad:
        assert bad.namelist() == good.namelist()
        assert bad.read(member) != good.read(member)
        assert bad.read(bad.namelist()[0]) == good.read(bad.namelist()[0])
