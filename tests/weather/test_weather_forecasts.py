"""The weather of the days ahead: whichever way a file has it, each cell gets that of its place, day and unit."""

from __future__ import annotations

import re
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from soilcast import weather as forecasts
from soilcast.cube import open_cube, save_cube
from soilcast.cube.matching import find_places
from soilcast.errors import SoilcastError
from soilcast.weather import Weather, open_weather
from tests.helpers.small import small_cube

ISSUE = np.datetime64("2020-03-01")
NAMES = ("t2m", "tp")
UNITS = {"t2m": "K", "tp": "m d-1"}
DAY = np.timedelta64(1, "D")
LAT, LON = np.arange(30.0, 70.0), np.arange(-30.0, 30.0)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """Twelve cells of a 4 degree grid, up to the issue day."""
    path = tmp_path_factory.mktemp("cube") / "cube"
    save_cube(small_cube(12, 61, start="2020-01-01"), path)
    return open_cube(path)


@pytest.fixture(params=[True, False], ids=["at once", "by blocks"])
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Little weather is read when it is opened; much of it is read block by block, as here where any is much."""
    if not request.param:
        monkeypatch.setattr(forecasts, "_HELD", 0)
    return bool(request.param)


def truth(name: str, lat: Any, lon: Any, day: Any, member: Any = 0) -> Any:
    """A number for each place, day after the issue day and member, in the contract's unit; none are alike."""
    if name == "t2m":
        return 280.0 + 0.3 * lat + 0.01 * lon + 0.002 * day + 0.0003 * member
    return 1e-3 * day + 1e-5 * (90 + lat) + 1e-7 * (lon + 180) + 1e-8 * member


def gridded(
    *,
    lat: Any = LAT,
    lon: Any = LON,
    days: Any = tuple(range(11)),
    members: int = 0,
    dims: tuple[str, ...] = ("time", "lat", "lon"),
) -> xr.Dataset:
    """A forecast of the days that follow the issue day by ``days``, on a grid."""
    axes: dict[str, Any] = {"time": np.asarray(days), "lat": np.asarray(lat, float), "lon": np.asarray(lon, float)}
    if members:
        axes["number"] = np.arange(members)
        dims = ("number", *dims)
    at = dict(zip(dims, np.meshgrid(*(axes[dim] for dim in dims), indexing="ij"), strict=True))
    east = (at["lon"] + 180) % 360 - 180
    data = xr.Dataset(
        {
            name: (dims, truth(name, at["lat"], east, at["time"], at.get("number", 0)), {"units": UNITS[name]})
            for name in NAMES
        },
        coords={**axes, "time": (ISSUE + axes["time"] * DAY).astype("datetime64[ns]")},
    )
    return data


def saved(data: xr.Dataset, path: Path) -> Path:
    if "time_bnds" in data:
        data["time"].encoding["units"] = "hours since 2020-01-01"
    if path.suffix == ".nc":
        data.to_netcdf(path, engine="h5netcdf")
    else:
        data.to_zarr(path, zarr_format=3, consolidated=False)
    return path


def expected(cube: xr.Dataset, leads: int = 10, members: int = 1) -> np.ndarray:
    """``(member, cell, issue, lead, feature)`` at the very cells, of one issue day."""
    member, day = np.arange(members)[:, None, None], np.arange(1, leads + 1)
    lat, lon = (cube[name].to_numpy()[:, None] for name in ("lat", "lon"))
    return np.stack([truth(name, lat, lon, day, member) for name in NAMES], axis=-1)[:, :, None]


def opened(path: Path, cube: xr.Dataset, leads: int = 10, **options: Any) -> Weather:
    return open_weather(path, cube, options.pop("names", NAMES), options.pop("issue", ISSUE), leads, **options)


def same(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=3e-7)


# ---------------------------------------------------------------- every way a file may lie


@pytest.mark.parametrize("name", ["forecast.nc", "forecast.zarr"])
@pytest.mark.parametrize("northward", [True, False])
@pytest.mark.parametrize("from_zero", [True, False])
def test_a_grid_that_holds_the_cells_is_read_exactly(
    tmp_path: Path, cube: xr.Dataset, name: str, northward: bool, from_zero: bool
) -> None:
    lat = LAT if northward else LAT[::-1]
    lon = np.arange(0.0, 360.0) if from_zero else LON
    weather = opened(saved(gridded(lat=lat, lon=lon), tmp_path / name), cube)
    same(weather.values(), expected(cube))
    assert (weather.names, weather.members) == (NAMES, 1)
    np.testing.assert_array_equal(weather.issues, [ISSUE])


@pytest.mark.parametrize("dims", [("lon", "time", "lat"), ("time", "lon", "lat"), ("lat", "lon", "time")])
def test_the_order_of_dimensions_does_not_matter(tmp_path: Path, cube: xr.Dataset, dims: tuple[str, ...]) -> None:
    data = gridded(members=3, dims=dims).transpose(*dims[:1], "number", *dims[1:])
    data = data.rename(lat="latitude", lon="longitude")
    same(opened(saved(data, tmp_path / "forecast.nc"), cube).values(), expected(cube, members=3))


@pytest.mark.parametrize("dim", ["number", "member", "realization"])
def test_an_ensemble_has_members_and_what_has_none_is_the_same_for_all(
    tmp_path: Path, cube: xr.Dataset, dim: str
) -> None:
    data = gridded(members=5)
    data["tp"] = data["tp"].isel(number=0)
    weather = opened(saved(data.rename(number=dim), tmp_path / "forecast.nc"), cube)
    wanted = expected(cube, members=5)
    wanted[..., 1] = wanted[:1, ..., 1]
    assert weather.members == 5
    same(weather.values(), wanted)


@pytest.mark.parametrize("cells", [slice(0, 5), slice(5, 12), slice(11, 100), slice(3, 3)])
def test_a_block_of_cells_is_that_part_of_all(
    tmp_path: Path, cube: xr.Dataset, cells: slice, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecasts.fields, "_READ_AT_A_TIME", 2 * 10 * 9)  # less than a row
    weather = opened(saved(gridded(members=2), tmp_path / "forecast.nc"), cube)
    assert (weather.held is not None) == at_once
    same(weather.values(cells), expected(cube, members=2)[:, cells])
    weather.values()[:] = np.nan  # whoever works on what it gives does not change it
    same(weather.values(cells), expected(cube, members=2)[:, cells])


def _with_steps(data: xr.Dataset, name: str, steps: Any, units: str | None, reference: str, at: str) -> xr.Dataset:
    attributes = {} if units is None else {"units": units}
    data = data.drop_vars("time").rename(time=name).assign_coords({name: (name, steps, attributes)})
    marked = {"standard_name": "forecast_reference_time"} if reference == "analysis" else {}
    return data.assign_coords({reference: ((), np.datetime64(at, "ns"), marked)})


STEPS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "valid_time": lambda data: data.rename(time="valid_time"),
    "noon": lambda data: data.assign_coords(time=data["time"] + np.timedelta64(12, "h")),
    "steps in hours": lambda data: _with_steps(data, "step", 24 * np.arange(11), "hours", "time", "2020-03-01"),
    "steps decoded": lambda data: _with_steps(
        data, "step", np.arange(11) * DAY.astype("timedelta64[ns]"), None, "time", "2020-03-01T12"
    ),
    "leads in days": lambda data: _with_steps(
        data.isel(time=slice(1, None)), "lead", np.arange(1, 11), "d", "forecast_reference_time", "2020-03-01"
    ),
    "a marked reference": lambda data: _with_steps(data, "lead", np.arange(11), "days", "analysis", "2020-03-01"),
    "an older reference": lambda data: _with_steps(
        data, "lead", np.arange(2, 13), "d", "forecast_reference_time", "2020-02-28"
    ),
    "one reference as a dimension": lambda data: _with_steps(
        data, "step", 24.0 * np.arange(11), "h", "time", "2020-03-01"
    ).expand_dims("time"),
    "valid times of steps": lambda data: (
        data.rename(time="forecast_period")
        .assign_coords(valid_time=("forecast_period", data["time"].to_numpy()))
        .drop_vars("forecast_period")
    ),
    "bounds of days, stamped at their end": lambda data: data.assign_coords(
        time=("time", (data["time"] + DAY).to_numpy(), {"bounds": "time_bnds"})
    ).assign(time_bnds=(("time", "bnds"), np.stack([data["time"], data["time"] + DAY], axis=1))),
}


@pytest.mark.parametrize("how", STEPS)
def test_days_are_found_however_they_are_counted(tmp_path: Path, cube: xr.Dataset, how: str) -> None:
    path = saved(STEPS[how](gridded()), tmp_path / "forecast.nc")
    same(opened(path, cube).values(), expected(cube))


def test_a_longer_forecast_gives_the_days_that_are_asked_for(tmp_path: Path, cube: xr.Dataset) -> None:
    path = saved(gridded(days=range(-5, 20)), tmp_path / "forecast.nc")
    same(opened(path, cube, leads=3).values(), expected(cube, leads=3))


# ---------------------------------------------------------------- which point a cell takes


@pytest.mark.parametrize("step", [0.7, 1.0, 3.0])
@pytest.mark.parametrize("west", [-180.0, 0.0])
def test_each_cell_takes_the_nearest_point_of_a_grid(
    tmp_path: Path, step: float, west: float, random_places: xr.Dataset
) -> None:
    lat = np.arange(-75.0, 80.0, step)
    lon = west + 360.0 / round(360.0 / step) * np.arange(round(360.0 / step))
    path = saved(gridded(lat=lat, lon=lon, days=[1]), tmp_path / "forecast.nc")
    found = opened(path, random_places, leads=1).values()
    for cell, (north, east) in enumerate(zip(random_places["lat"].values, random_places["lon"].values, strict=True)):
        nearest_lat = lat[np.abs(lat - north).argmin()]
        nearest_lon = lon[np.abs((lon - east + 180) % 360 - 180).argmin()]
        wanted = [truth(name, nearest_lat, (nearest_lon + 180) % 360 - 180, 1) for name in NAMES]
        np.testing.assert_allclose(found[0, cell, 0, 0], wanted, rtol=3e-7)


@pytest.fixture
def random_places() -> xr.Dataset:
    """Places all over the Earth, two of them beside the date line."""
    places = small_cube(20, 3, grid=False)
    places["lon"][:2] = [179.99, -179.99]
    return places


@pytest.mark.parametrize(("beyond", "covered"), [(0.4999, True), (0.5, True), (0.501, False)])
@pytest.mark.parametrize("axis", ["lat", "lon"])
def test_a_cell_farther_than_half_a_spacing_is_not_covered(
    tmp_path: Path, axis: str, beyond: float, covered: bool
) -> None:
    places = small_cube(2, 3, grid=False)
    places["lat"][:], places["lon"][:] = [50.0, 60.0], [0.0, 19.0]
    places[axis][1] += beyond
    path = saved(gridded(lat=np.arange(40.0, 61.0), lon=np.arange(0.0, 20.0)), tmp_path / "forecast.nc")
    if covered:
        assert np.isfinite(opened(path, places).values()).all()
    else:
        place = "lat 60.501, lon 19" if axis == "lat" else "lat 60, lon 19.501"
        with pytest.raises(SoilcastError, match=rf"forecast.nc: 1 of 2 cells .* not covered .*{place}"):
            opened(path, places)


@pytest.mark.usefixtures("at_once")
def test_cells_that_are_not_needed_may_be_without_weather(tmp_path: Path) -> None:
    places = small_cube(3, 3, grid=False)
    places["lat"][:], places["lon"][:] = [50.0, 80.0, 45.0], [0.0, 0.0, 5.0]
    data = gridded(lat=np.arange(40.0, 61.0), lon=np.arange(0.0, 20.0))
    data["tp"].loc[{"lat": 45.0, "lon": 5.0}] = np.nan
    weather = opened(saved(data, tmp_path / "forecast.nc"), places, needed=np.array([True, False, False]))
    found = weather.values()
    assert np.isfinite(found[0, 0]).all()
    assert np.isnan(found[0, 1]).all()
    assert np.isnan(found[0, 2, ..., 1]).all()
    np.testing.assert_array_equal(weather.values(slice(1, 3)), found[:, 1:])


@pytest.mark.parametrize("members", [0, 4])
def test_cells_of_a_list_are_found_by_their_place(tmp_path: Path, random_places: xr.Dataset, members: int) -> None:
    order = np.random.default_rng(1).permutation(20)
    lat, lon = random_places["lat"].values[order].astype("f4"), random_places["lon"].values[order].astype("f4") % 360
    day, member = np.arange(11)[:, None], np.arange(max(members, 1))[:, None, None]
    east = (lon.astype(float) + 180) % 360 - 180
    dims = ("number", "time", "station") if members else ("time", "station")
    data = xr.Dataset(
        {name: (dims, truth(name, lat, east, day, member if members else 0), {"units": UNITS[name]}) for name in NAMES},
        coords={"lat": ("station", lat), "lon": ("station", lon), "time": gridded()["time"]},
    )
    found = opened(saved(data, tmp_path / "forecast.nc"), random_places).values()
    np.testing.assert_allclose(found, expected(random_places, members=max(members, 1)), rtol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["later.zarr", "later.nc"])
def test_a_cube_that_has_the_days_and_the_cells_is_a_forecast(tmp_path: Path, name: str) -> None:
    whole = small_cube(9, 80, grid=False, start="2020-01-01")
    save_cube(whole.isel(cell=np.random.default_rng(2).permutation(9)), tmp_path / name)
    found = opened(tmp_path / name, whole.isel(cell=slice(2, 9), time=slice(0, 61)), names=("q", "e")).values()
    wanted = np.stack([whole[one].values[2:9, 61:71] for one in ("q", "e")], axis=-1)
    np.testing.assert_array_equal(found[0, :, 0], wanted)


LONGITUDES = arrays(np.int64, 8, elements=st.integers(-1800, 1799))


@given(LONGITUDES, st.permutations(range(8)), st.booleans(), st.sampled_from([-1, 1]))
def test_places_are_found_in_any_order_and_round_the_earth(
    tenths: np.ndarray, order: list[int], turned: bool, side: int
) -> None:
    cell_lat, cell_lon = np.linspace(-80, 90, 8), tenths / 10.0
    cell_lon[:2] = [0.0, -180.0]  # where longitudes are cut
    there_lat, there_lon = cell_lat[order], cell_lon[order] + side * 3e-5
    there_lon = there_lon % 360 if turned else there_lon
    np.testing.assert_array_equal(find_places(there_lat, there_lon, cell_lat, cell_lon), np.argsort(order))
    assert (find_places(there_lat, there_lon + side * 3e-4, cell_lat, cell_lon) == -1).all()
    assert (find_places(there_lat * np.nan, there_lon, cell_lat, cell_lon) == -1).all()


# ---------------------------------------------------------------- names, units, signs


def test_variables_are_known_by_their_standard_names_and_units_by_their_attributes(
    tmp_path: Path, cube: xr.Dataset
) -> None:
    data = gridded()
    other = data["t2m"] + 20.0
    data = data.rename(t2m="tas", tp="pr").assign(tasmax=other, ta100=other, ta850=other)
    data["tas"] = (data["tas"] - 273.15).assign_attrs(units="degC", coordinates="height")
    data["tasmax"].attrs = {"units": "K", "cell_methods": "time: maximum"}
    data["ta100"].attrs = {"units": "K", "coordinates": "mast"}
    data["ta850"].attrs = {"units": "K", "coordinates": "level"}
    for name in ("tas", "tasmax", "ta100", "ta850"):
        data[name].attrs["standard_name"] = "air_temperature"
    data["pr"] = (data["pr"] * 1000 / 86400).assign_attrs(units="kg m-2 s-1", standard_name="precipitation_flux")
    for name, height in (("height", 2.0), ("mast", 100.0)):
        data[name] = ((), height, {"standard_name": "height", "units": "m"})
    data["level"] = ((), 850.0, {"units": "hPa"})
    weather = opened(saved(data, tmp_path / "forecast.nc"), cube, names=("t2m", "tp", "mx2t"))
    found = weather.values()
    np.testing.assert_allclose(found[..., :2], expected(cube), rtol=1e-6)
    np.testing.assert_allclose(found[..., 2], expected(cube)[..., 0] + 20.0, rtol=1e-6)


def test_a_stated_unit_is_stronger_than_that_of_the_file(tmp_path: Path, cube: xr.Dataset) -> None:
    data = gridded()
    data["tp"] = data["tp"] * 1000  # mm, though the attribute will say m
    data["tp"].attrs["units"] = "m"
    del data["t2m"].attrs["units"]
    path = saved(data, tmp_path / "forecast.nc")
    found = opened(path, cube, units={"tp": "mm d-1", "t2m": "K"}).values()
    np.testing.assert_allclose(found, expected(cube), rtol=1e-6)


@pytest.mark.shared
def test_a_real_file_of_others_is_understood(shared: Path) -> None:
    path = shared / "formats/era5_daily_other/xclim_ERA5_daily_surface_cancities_1990-1993.nc"
    with xr.open_dataset(path) as data:
        cities = small_cube(5, 3, grid=False)
        cities["lat"][:], cities["lon"][:] = data["lat"].to_numpy()[::-1], data["lon"].to_numpy()[::-1]
        names = ("t2m", "mx2t", "mn2t", "d2m", "tp", "sf", "sp", "q", "ssrd", "u10", "pev", "sd")
        theirs = ("tas", "tasmax", "tasmin", "tdps", "pr", "prsn", "ps", "huss", "rsds", "uas", "evspsblpot", "swe")
        first = int(np.flatnonzero(data["time"] == np.datetime64("1991-02-01"))[0])
        wanted = np.stack([data[name].to_numpy()[::-1, first : first + 10] for name in theirs], axis=-1)
    a_day = [86.4 if name in ("tp", "sf", "pev") else 1.0 for name in names]  # kg m-2 s-1 -> m d-1
    found = opened(path, cities, names=names, issue=np.datetime64("1991-01-31")).values()
    np.testing.assert_allclose(found[0, :, 0], wanted * a_day, rtol=1e-6)
    with pytest.raises(SoilcastError, match="rlds, rls all have the standard_name of str"):
        opened(path, cities, names=("str",))


@pytest.mark.shared
def test_a_real_hourly_file_is_refused(shared: Path) -> None:
    path = shared / "formats/era5_cds_new_netcdf/ERA5_Senegal_2024_03_01_04.nc"
    with pytest.raises(SoilcastError, match=r"no t2m, which the run needs; of what makes it the files hold nothing"):
        opened(path, small_cube(5, 3, grid=False), names=("t2m",))


@pytest.mark.parametrize(
    ("attributes", "sign"),
    [
        ({"positive": "up"}, 1),
        ({"positive": "down"}, -1),
        ({"standard_name": "lwe_water_evaporation_rate"}, 1),
        ({"GRIB_paramId": 182, "standard_name": "lwe_thickness_of_water_evaporation_amount"}, -1),
    ],
)
def test_evaporation_is_positive_upward(
    tmp_path: Path, cube: xr.Dataset, attributes: dict[str, Any], sign: int
) -> None:
    data = gridded()
    data["e"] = (data["tp"] * sign).assign_attrs(units="m", cell_methods="time: sum", **attributes)
    found = opened(saved(data, tmp_path / "forecast.nc"), cube, names=("tp", "e")).values()
    np.testing.assert_array_equal(found[..., 0], found[..., 1])


def test_packed_values_are_unpacked(tmp_path: Path, cube: xr.Dataset) -> None:
    data = gridded()
    packing = {"dtype": "i2", "scale_factor": 1e-3, "add_offset": 290.0, "_FillValue": -32768}
    data.to_netcdf(tmp_path / "forecast.nc", engine="h5netcdf", encoding={"t2m": packing})
    found = opened(tmp_path / "forecast.nc", cube).values()
    np.testing.assert_allclose(found[..., 0], expected(cube)[..., 0], atol=6e-4)


# ---------------------------------------------------------------- memory


def test_a_block_takes_the_memory_of_its_rows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasts, "_HELD", 0)
    lat, lon = np.arange(-89.5, 90.0), np.arange(-179.5, 180.0)
    values = np.full((20, 10, len(lat), len(lon)), 280.0, dtype="f4")  # 52 MB
    data = xr.Dataset(
        {"t2m": (("number", "time", "lat", "lon"), values, {"units": "K"})},
        coords={"time": gridded()["time"].values[1:], "lat": lat, "lon": lon},
    )
    path = tmp_path / "forecast.nc"
    data.to_netcdf(path, engine="h5netcdf", encoding={"t2m": {"chunksizes": (20, 10, 4, 360), "zlib": True}})
    land = small_cube(40, 3, grid=False)
    land["lat"][:], land["lon"][:] = np.linspace(50, 53, 40), np.linspace(-170, 170, 40)
    del data, values
    tracemalloc.start()
    weather = opened(path, land, names=("t2m",))
    assert (weather.values(slice(0, 30)) == 280.0).all()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6


# ---------------------------------------------------------------- what is wrong is told


def _attribute(variable: str, **attributes: Any) -> Callable[[xr.Dataset], xr.Dataset]:
    def change(data: xr.Dataset) -> xr.Dataset:
        data[variable].attrs |= attributes
        data[variable].attrs = {key: value for key, value in data[variable].attrs.items() if value is not None}
        return data

    return change


def _hourly(data: xr.Dataset) -> xr.Dataset:
    return data.assign_coords(time=ISSUE.astype("datetime64[ns]") + np.arange(11) * np.timedelta64(6, "h"))


def _short_bounds(data: xr.Dataset) -> xr.Dataset:
    data["time"].attrs["bounds"] = "time_bnds"
    six = np.timedelta64(6, "h")
    return data.assign(time_bnds=(("time", "bnds"), np.stack([data["time"], data["time"] + six], axis=1)))


FAULTS: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], str]] = {
    "too few days": (
        lambda data: data.isel(time=slice(0, 8)),
        r"lacks 2020-03-09 \(it has 2020-03-01 .. 2020-03-08 \(8 days\)\), so it covers 7 of 10 leads: "
        "use --lead 7 or a longer forecast",
    ),
    "later days": (
        lambda data: data.isel(time=slice(2, None)),
        r"lacks 2020-03-02, the day after the issue day \(it has 2020-03-03 .. 2020-03-11 \(9 days\)\): "
        "give a forecast issued by 2020-03-01, or --from 2020-03-02",
    ),
    "past days": (
        lambda data: data.isel(time=slice(0, 1)),
        r"lacks 2020-03-02, the day after the issue day \(it has 2020-03-01 .* give a newer forecast",
    ),
    "a gap": (lambda data: data.isel(time=[0, 1, 2, 5, 6, 7, 8, 9, 10]), "2 missing day.*2020-03-04, 2020-03-05"),
    "six-hourly": (
        _hourly,
        "tp in m d-1 is an amount or mean by time of which the file does not say the time .* give the GRIB file",
    ),
    "six-hourly by its bounds": (
        _short_bounds,
        r"no complete 2020-03-02 of t2m \(instants come every 24 hours, of which no daily mean can be made",
    ),
    "amounts of no time": (
        _attribute("tp", units="m"),
        r"tp in m is an amount of which the file does not say the time .* only if they are totals of days, .*'m d-1'",
    ),
    "no time": (lambda data: data.isel(time=0), "t2m has the dimensions .lat, lon., without time: .*valid_time"),
    "no dates": (
        lambda data: data.assign_coords(time=np.arange(11)),
        "the time axis contains no dates .*CF time units",
    ),
    "no coordinate of time": (lambda data: data.drop_vars("time"), "time has no coordinate values"),
    "many forecasts": (
        lambda data: xr.concat([STEPS["steps in hours"](data)] * 2, "time"),
        "2 forecasts along time are issued on 2020-03-01, but one a day is expected: select one",
    ),
    "no reference time": (
        lambda data: STEPS["steps in hours"](data).drop_vars("time"),
        "step has no reference time: add the coordinate forecast_reference_time",
    ),
    "steps without a unit": (
        lambda data: _with_steps(data, "lead", np.arange(11), None, "time", "2020-03-01"),
        "lead has the unit none, not one of time: .*days or hours",
    ),
    "absurd steps": (
        lambda data: _with_steps(data, "lead", np.arange(11) * 1e300, "d", "time", "2020-03-01"),
        r"lead has implausible steps \[d\]",
    ),
    "not the cells": (
        lambda data: data.isel(lat=slice(0, 25)),
        r"forecast.nc: 8 of 12 cells of .*cube are not covered \(such as that at lat 62, lon -20\); it covers a grid "
        r"of 25 x 60 points, lat 30 .. 54, lon -30 .. 29: give a forecast that covers all cells",
    ),
    "not the places": (
        lambda data: data.stack(place=("lat", "lon")).reset_index("place").isel(place=slice(0, 3)),
        r"12 of 12 cells .* it covers 3 cells, lat 30 .. 30, lon -30 .. -28",
    ),
    "an irregular grid": (lambda data: data.isel(lat=[0, 1, 2, 9]), "latitudes are not evenly spaced.*regrid it"),
    "a curvilinear grid": (
        lambda data: data.rename(lat="y", lon="x").assign(lat=(("y", "x"), np.ones((40, 60))), lon=("x", LON)),
        "lat has the dimensions .*'y', 'x'.* a regular latitude-longitude grid, or both of each cell",
    ),
    "no latitudes": (lambda data: data.rename(lat="row"), r"no latitude \(lat or latitude\)"),
    "words for latitudes": (
        lambda data: data.assign_coords(lat=[f"{lat} N" for lat in LAT]),
        "lat is not in degrees",
    ),
    "a variable is missing": (
        lambda data: data.rename(tp="rain"),
        r"no tp \(lwe_precipitation_rate\), which is needed; it has rain, t2m: add it",
    ),
    "two of a standard name": (
        lambda data: (
            _attribute("t2m", standard_name="air_temperature")(data).rename(t2m="a").assign(b=lambda data: data["a"])
        ),
        "a, b all have the standard_name of t2m: rename the right one to t2m",
    ),
    "no unit": (_attribute("tp", units=None), "forecast.nc: tp: no unit for tp; .*--unit tp=UNIT"),
    "an unknown unit": (_attribute("tp", units="flarg"), "unit 'flarg' of tp does not convert to m d-1"),
    "another unit": (_attribute("t2m", units="mm"), "unit 'mm' of t2m does not convert to K"),
    "accumulated": (_attribute("tp", GRIB_stepType="accum"), "tp is accumulated up to its time stamp .*differences"),
    "levels": (
        lambda data: data.expand_dims(level=[1.0, 2.0]),
        r"t2m has 2 positions along level: select one \(xarray: ds.isel\(level=0\)\)",
    ),
    "absurdly many members": (
        lambda data: data.isel(lat=[20, 39], lon=[0, 59]).expand_dims(member=10_001),
        "t2m has 10001 members along member: select 10000 at most",
    ),
    "without places": (
        lambda data: data.assign(t2m=data["t2m"].isel(lat=0, drop=True)),
        r"t2m has the dimensions \(time, lon\), not all of \(lat, lon, time\)",
    ),
    "no numbers": (
        lambda data: data.assign(t2m=data["t2m"].astype(str)),
        "t2m is not numeric",
    ),
    "of soilcast, but no weather": (
        lambda data: data.assign_attrs(soilcast_kind="forecast"),
        "a weather forecast is expected, but this is a forecast",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_weather_of_these_days_and_cells_is_refused(tmp_path: Path, cube: xr.Dataset, fault: str) -> None:
    change, message = FAULTS[fault]
    path = saved(change(gridded()), tmp_path / "forecast.nc")
    with pytest.raises(SoilcastError, match=message) as raised:
        opened(path, cube)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("variable", "change", "message"),
    [
        (
            "t2m",
            lambda values: values - 273.15,
            "t2m has .* outside 170 .. 340 K .*: check its unit and its sign .--unit t2m=UNIT.",
        ),
        ("tp", lambda values: values * 1000, "tp has .* outside 0 .. 1.9 m d-1 .*--unit tp=UNIT"),
        ("tp", lambda values: -values, "tp has .* outside 0 .. 1.9 m d-1 .*check its unit and its sign"),
        ("tp", lambda values: values + np.inf, "tp has .* outside 0 .. 1.9"),
    ],
)
def test_values_outside_the_contract_are_refused(
    tmp_path: Path, cube: xr.Dataset, variable: str, change: Callable[[Any], Any], message: str, at_once: bool
) -> None:
    data = gridded()
    data[variable] = change(data[variable]).assign_attrs(data[variable].attrs)
    path = saved(data, tmp_path / "forecast.nc")
    if at_once:
        with pytest.raises(SoilcastError, match=f"forecast.nc: {message}"):
            opened(path, cube)
    else:
        weather = opened(path, cube)
        with pytest.raises(SoilcastError, match=f"forecast.nc: {message}"):
            weather.values()


def test_missing_values_are_told_with_how_many_cells_and_from_when(
    tmp_path: Path, cube: xr.Dataset, at_once: bool
) -> None:
    data = gridded(members=2)
    for cell, day in ((3, 6), (7, 4)):
        place = {"lat": cube["lat"].values[cell], "lon": cube["lon"].values[cell], "number": 1}
        data["tp"].loc[place | {"time": ISSUE + day * DAY}] = np.nan
    path = saved(data, tmp_path / "forecast.nc")
    where = f"lat {cube['lat'].values[3]:g}, lon {cube['lon'].values[3]:g}"
    message = (
        rf"forecast.nc: tp \(tp\) is missing in 2 of 12 cells \(such as that at {where}\), the first day is "
        "2020-03-05: give a forecast with values there"
    )
    if at_once:
        with pytest.raises(SoilcastError, match=message):
            opened(path, cube)
        return
    weather = opened(path, cube)
    assert np.isfinite(weather.values(slice(0, 3))).all()
    with pytest.raises(SoilcastError, match=message):
        weather.values()
    with pytest.raises(SoilcastError, match=r"is missing in 1 of 5 cells .* the first day is 2020-03-05"):
        weather.values(slice(7, 12))


def test_missing_values_of_other_days_and_places_do_not_matter(tmp_path: Path, cube: xr.Dataset) -> None:
    data = gridded()
    cells = set(zip(cube["lat"].values, cube["lon"].values, strict=True))
    sea = np.array([[(lat, lon) not in cells for lon in LON] for lat in LAT])
    data = data.where(xr.DataArray(~sea, dims=("lat", "lon")))
    data["tp"][0] = np.nan
    same(opened(saved(data, tmp_path / "forecast.nc"), cube).values(), expected(cube))


def test_a_unit_of_what_is_not_read_is_refused(tmp_path: Path, cube: xr.Dataset) -> None:
    path = saved(gridded(), tmp_path / "forecast.nc")
    with pytest.raises(SoilcastError, match=r"--unit t2n: no such variable .* did you mean t2m\?"):
        opened(path, cube, units={"t2n": "K"})


@pytest.mark.parametrize("aloft", [lambda data: data, lambda data: data.expand_dims("level")])
def test_humidity_aloft_is_no_humidity_near_the_ground(
    tmp_path: Path, cube: xr.Dataset, aloft: Callable[[xr.Dataset], xr.Dataset]
) -> None:
    data = gridded().rename(tp="q").assign_coords(level=((), 850.0, {"units": "hPa"}))
    data["q"].attrs = {"units": "kg kg-1", "standard_name": "specific_humidity"}
    path = saved(aloft(data), tmp_path / "forecast.nc")
    with pytest.raises(SoilcastError, match="q is at 850 hPa, but q near the surface is needed"):
        opened(path, cube, names=("q",))
    named = saved(aloft(data.rename(q="hus")), tmp_path / "named.nc")
    with pytest.raises(SoilcastError, match=r"no q \(specific_humidity\), which is needed; it has hus"):
        opened(named, cube, names=("q",))


def test_evaporation_that_does_not_say_its_direction_is_refused(tmp_path: Path, cube: xr.Dataset) -> None:
    path = saved(gridded().rename(tp="e"), tmp_path / "forecast.nc")
    with pytest.raises(SoilcastError, match="unknown sign convention of e: set its attribute positive to up"):
        opened(path, cube, names=("e",))


def test_a_model_calendar_is_refused(tmp_path: Path, cube: xr.Dataset) -> None:
    data = gridded().drop_vars("time").assign_coords(time=("time", np.arange(11)))
    data["time"].attrs = {"units": "days since 2020-03-01", "calendar": "360_day"}
    with pytest.raises(SoilcastError, match="calendar '360_day' is not a real calendar"):
        opened(saved(data, tmp_path / "forecast.nc"), cube)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "the file is empty"),
        (b"GRIB....", "cannot be read as GRIB .*: it is damaged"),
        (b"PK\x03\x04...", "this is zip, but"),
        (b"once upon a time", "not a NetCDF, GRIB or Zarr file"),
        (b"\x89HDF once upon a time", "cannot be read as NetCDF"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, cube: xr.Dataset, content: bytes | None, message: str) -> None:
    path = tmp_path / "forecast.nc"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SoilcastError, match=f"^{re.escape(str(path))}: {message}"):
        opened(path, cube)


def test_a_damaged_chunk_is_told(tmp_path: Path, cube: xr.Dataset) -> None:
    path = tmp_path / "forecast.nc"
    gridded().to_netcdf(path, engine="h5netcdf", encoding={"tp": {"zlib": True, "chunksizes": (11, 40, 60)}})
    with h5py.File(path) as file:
        place = file["tp"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[place.byte_offset : place.byte_offset + place.size] = bytes(place.size)
    path.write_bytes(content)
    with pytest.raises(SoilcastError, match=r"forecast.nc: cannot be read .*: it is damaged"):
        opened(path, cube)


def test_a_lost_chunk_of_a_store_is_told(tmp_path: Path, cube: xr.Dataset) -> None:
    path = saved(gridded(), tmp_path / "forecast.zarr")
    shutil.rmtree(path / "tp" / "c")
    with pytest.raises(SoilcastError, match=r"forecast.zarr: tp lacks 1 of 1 chunks"):
        opened(path, cube)


def test_a_folder_that_is_no_store_is_told(tmp_path: Path, cube: xr.Dataset) -> None:
    with pytest.raises(SoilcastError, match="no NetCDF, GRIB or Zarr in this folder; it is empty: check the path"):
        opened(tmp_path, cube)


def test_a_damaged_cube_is_told(tmp_path: Path) -> None:
    whole = small_cube(9, 80, grid=False, start="2020-01-01")
    save_cube(whole, tmp_path / "later")
    shutil.rmtree(tmp_path / "later" / "lat")
    with pytest.raises(SoilcastError, match=r"later: lat changed after it was written"):
        opened(tmp_path / "later", whole)
