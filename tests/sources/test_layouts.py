"""Layouts that people's files have, and names that belong to one product: read, or refused for what they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.sources.era5land import era5land
from soilcast.sources.opening import DataFile, close_all, open_file
from soilcast.sources.parameters import parameter_of
from soilcast.sources.steps import join_steps
from soilcast.sources.table import table
from tests.helpers import ROOT
from tests.helpers.era5_files import HourlyWeather, daily_truth, hourly_weather, write_present_netcdf
from tests.helpers.table_data import gridded_data, write_recipe

FEW = ("t2m", "swvl1", "tp")
DAYS = slice("2020-02-28", "2020-02-29")


@pytest.fixture(scope="module")
def weather() -> HourlyWeather:
    return hourly_weather(8, start="2020-02-28", days=3)


@pytest.fixture(scope="module")
def hours(weather: HourlyWeather, tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    (path,) = write_present_netcdf(weather, tmp_path_factory.mktemp("present") / "a.nc", FEW)
    with xr.open_dataset(path) as file:
        return file.load().drop_vars(["number", "expver"], errors="ignore")


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Path]:
    return partial(write_recipe, tmp_path)


def land_point(weather: HourlyWeather) -> dict[str, int]:
    row, column = np.argwhere(weather.land)[0]
    return {"latitude": int(row), "longitude": int(column)}


def of_place(cube: xr.Dataset, name: str, lat: float, lon: float) -> np.ndarray:
    apart = np.abs(cube["lat"] - lat) + np.abs((cube["lon"] - lon + 180) % 360 - 180)
    return cube[name].isel(cell=int(np.argmin(apart.to_numpy()))).to_numpy()


def written(data: xr.Dataset, path: Path) -> Path:
    for variable in data.variables.values():
        variable.encoding = {}
    data.to_netcdf(path, engine="h5netcdf")
    return path


# A single point


@pytest.mark.parametrize("form", ["numbers", "axes of length one", "without a further axis"])
def test_a_point_is_a_cell_of_era5land(form: str, hours: xr.Dataset, tmp_path: Path) -> None:
    whole = era5land([written(hours, tmp_path / "whole.nc")], climate_zone=False)
    row, column = np.argwhere(hours["swvl1"].max("valid_time").to_numpy() > 0)[0]
    point = hours.isel(latitude=[row], longitude=[column])
    if form == "numbers":
        point = point.squeeze(["latitude", "longitude"])
    elif form == "without a further axis":
        point = point.squeeze(["latitude", "longitude"]).expand_dims(number=1)
    given = written(point, tmp_path / "point.nc")
    cube = era5land([given], climate_zone=False, accumulation="since-midnight")  # in a few days it may not rain
    assert cube.sizes["cell"] == 1
    for name in FEW:
        expected = of_place(whole, name, float(cube["lat"][0]), float(cube["lon"][0]))
        np.testing.assert_allclose(cube[name].to_numpy()[0], expected, rtol=1e-6, err_msg=name)
    close_all()


def test_a_point_is_a_cell_of_a_table(recipe: Callable[..., Path], tmp_path: Path) -> None:
    data = gridded_data()
    cube = table([written(data.isel(lat=1, lon=2), tmp_path / "a.nc")], mapping=recipe())
    assert (cube.sizes["cell"], float(cube["lat"][0]), float(cube["lon"][0])) == (1, 49.0, 0.0)
    np.testing.assert_allclose(cube["swvl1"].to_numpy()[0], data["sm"][:, 1, 2] / 100, rtol=1e-6)


# Start and step


def split(data: xr.Dataset) -> xr.Dataset:
    """As cfgrib lays ERA5-Land out: a box of the day's start and the hours after it, filled up with missing values."""
    valid = data["valid_time"].to_numpy()
    start = (valid - np.timedelta64(1, "h")).astype("datetime64[D]").astype("datetime64[ns]")
    step = valid - start
    starts, steps = np.unique(start), np.unique(step)
    box = xr.Dataset(coords={"time": starts, "step": steps, "latitude": data.latitude, "longitude": data.longitude})
    for name in data.data_vars:
        shape = (len(starts), len(steps), *data[name].shape[1:])
        values = np.full(shape, np.nan, np.float32)
        values[np.searchsorted(starts, start), np.searchsorted(steps, step)] = data[name]
        box[name] = (("time", "step", "latitude", "longitude"), values, data[name].attrs)
    return box.assign_coords(valid_time=(("time", "step"), starts[:, np.newaxis] + steps))


@pytest.mark.parametrize("form", ["netcdf", "zarr"])
def test_start_and_step_are_one_axis_of_time(form: str, hours: xr.Dataset, tmp_path: Path) -> None:
    box = split(hours)
    if form == "netcdf":
        path = written(box, tmp_path / "a.nc")
    else:
        path = tmp_path / "a.zarr"
        box.to_zarr(path, consolidated=False)
    (opened,) = open_file(DataFile(str(path), form))
    np.testing.assert_array_equal(opened["valid_time"], hours["valid_time"])
    for name in FEW:
        np.testing.assert_array_equal(opened[name], hours[name], err_msg=name)
        np.testing.assert_array_equal(opened[name][5:30:7, ::-1], hours[name][5:30:7, ::-1], err_msg=name)
        np.testing.assert_array_equal(opened[name][3], hours[name][3], err_msg=name)
    whole = era5land([written(hours, tmp_path / "whole.nc")], climate_zone=False)
    cube = era5land([path], climate_zone=False)
    for name in FEW:
        np.testing.assert_array_equal(cube[name], whole[name], err_msg=name)
    close_all()


def test_forecasts_that_overlap_are_refused(hours: xr.Dataset, tmp_path: Path) -> None:
    box = split(hours).drop_vars("valid_time").isel(time=slice(0, 2))
    box = box.assign_coords(step=box["step"] * 24)  # days ahead of each day
    assert join_steps(box) is box
    with pytest.raises(SoilcastError, match="its times are split into time and step"):
        era5land([written(box, tmp_path / "a.nc")])


# Places, rotated and projected grids


def test_places_are_read_by_table_and_era5land_says_so(
    hours: xr.Dataset, recipe: Callable[..., Path], tmp_path: Path
) -> None:
    stations = hours.stack(station=("latitude", "longitude")).reset_index("station")
    with pytest.raises(SoilcastError, match=r"places along station with latitude and longitude .* prepare table"):
        era5land([written(stations.transpose("valid_time", "station"), tmp_path / "a.nc")])
    data = gridded_data().stack(station=("lat", "lon")).reset_index("station").transpose("time", "station")
    data["station_name"] = ("station", [f"S{number}" for number in range(12)], {"cf_role": "timeseries_id"})
    data.attrs["featureType"] = "timeSeries"
    mapping = recipe(cells__name="station_name", cells__area="equal")
    cube = table([written(data, tmp_path / "b.nc")], mapping=mapping)
    assert cube.sizes["cell"] == 12
    assert "S11" in cube["cell_name"].to_numpy()
    assert "1 of 12 cells have no swvl1 on any day" in cube.attrs["notes"]


OTHER_AXES: dict[str, dict[str, object]] = {
    "rotated": {"standard_name": "grid_latitude", "units": "degrees"},
    "projected": {"standard_name": "projection_y_coordinate", "units": "m"},
    "metres": {"units": "m"},
    "kilometres": {"units": "km"},
}


@pytest.mark.parametrize("case", [*OTHER_AXES, "grid mapping"])
def test_axes_of_other_grids_are_no_latitudes(
    case: str, recipe: Callable[..., Path], hours: xr.Dataset, tmp_path: Path
) -> None:
    def changed(data: xr.Dataset, lat: str, target: str) -> xr.Dataset:
        if case == "grid mapping":
            data["pole"] = ((), 0, {"grid_mapping_name": "rotated_latitude_longitude"})
            data[target].attrs["grid_mapping"] = "pole"
            data[lat].attrs = {}
        else:
            data[lat].attrs = OTHER_AXES[case]
        return data

    path = written(changed(gridded_data(), "lat", "sm"), tmp_path / "a.nc")
    with pytest.raises(SoilcastError, match="lat is an axis of a rotated or projected grid"):
        table([path], mapping=recipe())
    path = written(changed(hours.copy(deep=True), "latitude", "swvl1"), tmp_path / "b.nc")
    with pytest.raises(SoilcastError, match="latitude is an axis of a rotated or projected grid"):
        era5land([path])
    close_all()


def test_points_of_a_rotated_grid_are_read_by_their_own_latitudes(recipe: Callable[..., Path], tmp_path: Path) -> None:
    data = gridded_data().rename(lat="rlat", lon="rlon")
    data["rlat"].attrs["standard_name"] = "grid_latitude"
    rows, columns = np.meshgrid([50.0, 49.0, 48.0], [8.0, 9.0, 10.0, 11.0], indexing="ij")
    data = data.assign_coords(latitude=(("rlat", "rlon"), rows + columns / 10), longitude=(("rlat", "rlon"), columns))
    mapping = recipe(cells__lat="latitude", cells__lon="longitude", cells__area="equal")
    cube = table([written(data, tmp_path / "a.nc")], mapping=mapping)
    assert cube.sizes["cell"] == 11
    assert float(cube["lat"].max()) == pytest.approx(51.1)


@pytest.mark.parametrize(
    ("rows", "columns"), [([2, 1, 0], [0, 1, 2, 3]), ([1, 2, 0], [0, 1, 2, 3]), ([0, 1, 2], [2, 0, 3, 1])]
)
def test_axes_may_run_either_way_or_be_out_of_order(
    rows: list[int], columns: list[int], recipe: Callable[..., Path], tmp_path: Path
) -> None:
    data = gridded_data()
    cube = table([written(data.isel(lat=rows, lon=columns), tmp_path / "a.nc")], mapping=recipe())
    expected = table([written(data, tmp_path / "b.nc")], mapping=recipe())
    for lat, lon in zip(expected["lat"].to_numpy(), expected["lon"].to_numpy(), strict=True):
        np.testing.assert_array_equal(of_place(cube, "t2m", lat, lon), of_place(expected, "t2m", lat, lon))


def test_variables_in_groups_are_mapped_by_group_and_name(recipe: Callable[..., Path], tmp_path: Path) -> None:
    data = gridded_data()
    data[["temp", "evap", "rain", "snow"]].to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    data[["sm"]].to_netcdf(tmp_path / "a.nc", engine="h5netcdf", mode="a", group="Retrieval/AM")
    cube = table([tmp_path / "a.nc"], mapping=recipe(variables__swvl1__name="Retrieval/AM/sm"))
    np.testing.assert_allclose(of_place(cube, "swvl1", 49.0, 0.0), data["sm"][:, 1, 2] / 100, rtol=1e-6)
    with pytest.raises(SoilcastError, match="Retrieval/AM/sm"):
        table([tmp_path / "a.nc"], mapping=recipe(variables__swvl1__name="Retrieval/AM/smm"))


# Names


EARTH_ENGINE = {
    "temperature_2m": "t2m",
    "dewpoint_temperature_2m": "d2m",
    "u_component_of_wind_10m": "u10",
    "v_component_of_wind_10m": "v10",
    "surface_pressure": "sp",
    "snow_depth_water_equivalent": "sd",
    "volumetric_soil_water_layer_4": "swvl4",
    "total_precipitation_sum": "tp",
    "total_precipitation_hourly": "tp",
    "total_evaporation_sum": "e",
    "potential_evaporation_sum": "pev",
    "runoff_sum": "ro",
    "surface_runoff_sum": "sro",
    "sub_surface_runoff_hourly": "ssro",
    "snowfall_sum": "sf",
    "snowmelt_sum": "smlt",
    "surface_solar_radiation_downwards_sum": "ssrd",
    "surface_thermal_radiation_downwards_sum": "strd",
    "surface_net_solar_radiation_sum": "ssr",
}
OTHERS = ("snow_cover", "snow_density", "snow_depth_min", "temperature_2m_max", "skin_temperature", "sde")


@pytest.mark.parametrize("name", [*EARTH_ENGINE, *OTHERS])
def test_bands_of_earth_engine(name: str) -> None:
    parameter = parameter_of(name, {})
    assert (parameter.name if parameter else None) == EARTH_ENGINE.get(name)


@pytest.mark.parametrize(
    ("attributes", "is_water"),
    [
        ({"units": "m"}, False),
        ({"units": "m", "long_name": "Snow depth"}, False),
        ({}, False),
        ({"units": "m of water equivalent"}, True),
        ({"units": "m", "standard_name": "lwe_thickness_of_surface_snow_amount"}, True),
        ({"units": "m", "short_name": "sd"}, True),
        ({"units": "m", "GRIB_paramId": 141}, True),
        ({"units": "m", "GRIB_paramId": 3066}, False),
    ],
)
def test_metres_of_snow_are_not_taken_for_water(attributes: dict[str, object], is_water: bool) -> None:
    parameter = parameter_of("snow_depth", attributes)
    assert (parameter is not None and parameter.name == "sd") is is_water


def test_daily_bands_are_read_and_the_others_named(weather: HourlyWeather, tmp_path: Path) -> None:
    truth = daily_truth(weather)
    dims = ("time", "lat", "lon")
    bands = {"temperature_2m": ("t2m", "K", 1), "volumetric_soil_water_layer_1": ("swvl1", "m3 m-3", 1)}
    bands |= {"total_precipitation_sum": ("tp", "m", 1), "total_evaporation_sum": ("e", "m", -1)}
    data = xr.Dataset(
        {band: (dims, sign * truth.values[name], {"units": unit}) for band, (name, unit, sign) in bands.items()},
        {"time": truth.day.astype("datetime64[ns]"), "lat": weather.lat, "lon": weather.lon},
    )
    for name in ("snow_depth", "snow_cover", "skin_temperature"):
        data[name] = (dims, np.full(data["temperature_2m"].shape, 0.5), {"units": "m"})
    data["temperature_2m"].attrs["long_name"] = "2 m temperature"
    cube = era5land([written(data, tmp_path / "a.nc")], climate_zone=False)
    assert {"t2m", "swvl1", "tp", "e"} <= set(cube.data_vars)
    assert "sd" not in cube
    notes = cube.attrs["notes"]
    assert "not read: skin_temperature, snow_cover\n" in f"{notes}\n"
    assert "not read: snow_depth (metres of snow" in notes
    close_all()


def test_amounts_of_the_hour_are_taken_beside_running_totals_once(hours: xr.Dataset, tmp_path: Path) -> None:
    both = hours.rename(tp="total_precipitation", t2m="temperature_2m", swvl1="volumetric_soil_water_layer_1")
    for name in both.data_vars:
        both[name].attrs = {"units": both[name].attrs["units"]}
    both["total_precipitation_hourly"] = both["total_precipitation"] * 0.5
    cube = era5land([written(both, tmp_path / "a.nc")], climate_zone=False)
    whole = era5land([written(hours, tmp_path / "whole.nc")], climate_zone=False)
    np.testing.assert_array_equal(cube["tp"], whole["tp"])
    assert "not read: total_precipitation_hourly (total_precipitation is taken for tp)" in cube.attrs["notes"]
    close_all()


def test_another_product_is_told_by_its_names(tmp_path: Path) -> None:
    data = gridded_data().rename(sm="SoilMoi0_10cm_inst", rain="Rainf_f_tavg")
    with pytest.raises(SoilcastError, match="this is GLDAS, not ERA5-Land: use soilcast prepare table"):
        era5land([written(data, tmp_path / "a.nc")])


def test_what_a_table_does_not_map_is_noted(recipe: Callable[..., Path], tmp_path: Path) -> None:
    data = gridded_data()
    data["ndvi"] = data["sm"] * 1
    cube = table([written(data, tmp_path / "a.nc")], mapping=recipe())
    assert cube.attrs["notes"].splitlines()[-1] == "not read: mask, ndvi"


# The documentation

PAGE = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")
EXAMPLES = re.split(r"^### (.+)$", PAGE.partition("## Grids and points, ")[2].partition("\n## ")[0], flags=re.MULTILINE)
"""What stands before the first example, then the name of each and its text."""


def shown(text: str) -> dict[str, str]:
    return dict(re.findall(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("number", range(1, len(EXAMPLES), 2), ids=lambda number: EXAMPLES[number])
def test_each_layout_of_the_documentation_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    first, own = shown(EXAMPLES[0]), shown(EXAMPLES[number + 1])
    (tmp_path / "mapping.yaml").write_text(own.get("mapping.yaml", first["mapping.yaml"]))
    monkeypatch.chdir(tmp_path)
    exec(first["data.py"] + own["data.py"], {})
    cube = table([tmp_path / "data.nc"], mapping=tmp_path / "mapping.yaml").load().sortby("lat", ascending=False)
    np.testing.assert_allclose(cube["lat"], [52.5, 48.1])
    np.testing.assert_allclose(cube["lon"], [13.4, 13.4])
    np.testing.assert_array_equal(cube["swvl1"], np.float32([[0.281, 0.279, 0.284], [0.312, np.nan, 0.305]]))
    assert cube["time"].dt.strftime("%Y-%m-%d").to_numpy().tolist() == ["2020-01-30", "2020-01-31", "2020-02-01"]


def test_every_kind_of_layout_has_an_example() -> None:
    assert len(EXAMPLES) == 1 + 2 * 5
