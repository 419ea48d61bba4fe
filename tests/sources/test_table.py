"""The source ``table``: whatever layout a file has, the same values arrive."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import soilcast.sources
from soilcast.cube import grid_of, open_cube, save_cube, to_grid
from soilcast.errors import SoilcastError
from soilcast.sources.table import table
from soilcast.sources.table.mapping import read_mapping
from tests.helpers.table_data import as_csv, gridded_data, listed, saved, write_recipe

MAPPINGS = Path(soilcast.sources.__file__).parent / "table" / "mappings"


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Path]:
    return partial(write_recipe, tmp_path)


@pytest.fixture
def gridded() -> xr.Dataset:
    return gridded_data()


def by_place(cube: xr.Dataset, name: str) -> dict[tuple[float, float], np.ndarray]:
    values = cube[name].to_numpy()
    return {(float(lat), float(lon)): row for lat, lon, row in zip(cube.lat, cube.lon, values, strict=True)}


def test_regular_grid_with_units_and_sign(gridded, recipe, tmp_path):
    cube = table([saved(gridded, tmp_path / "a.nc")], mapping=recipe())
    assert cube.sizes == {"cell": 11, "time": 400, "grid_lat": 3, "grid_lon": 4}
    grid = grid_of(cube)
    assert grid is not None
    assert grid.lon.tolist() == [-2, -1, 0, 1]
    expected = {
        "swvl1": gridded.sm / 100,
        "t2m": gridded.temp + 273.15,
        "e": -gridded.evap / 1000,
        "tp": (gridded.rain + gridded.snow) / 1000,
    }
    for name, values in expected.items():
        on_grid = to_grid(cube[name].load(), grid)
        land = np.isfinite(gridded.sm).transpose("lat", "lon", "time")
        np.testing.assert_allclose(on_grid, values.where(land).transpose("lat", "lon", "time"), rtol=2e-6, err_msg=name)
    assert cube.slthick1.to_numpy() == pytest.approx(0.07)
    assert cube.area.to_numpy() == pytest.approx(grid.cell_area)
    assert cube.attrs["content"] == "random numbers"
    assert cube.tp.attrs["origin"] == "a.nc: rain + snow"


@pytest.mark.slow
def test_every_layout_gives_the_same_values(gridded, recipe, tmp_path):
    """One grid, as axes, as two-dimensional lat and lon, as a list, in Zarr 2 and 3, NetCDF-3, CSV, many files."""
    at_places = {"cells__area": "equal"}
    csv = (
        at_places
        | {"cells__name": "place"}
        | {f"variables__{n}__unit": u for n, u in (("swvl1", "%"), ("e", "mm d-1"))}
    )
    csv |= {"variables__t2m": {"name": "temp", "unit": "degC"}}
    whole = table([saved(gridded, tmp_path / "a.nc")], mapping=recipe())

    lat2d, lon2d = xr.broadcast(gridded.lat, gridded.lon)
    curvilinear = gridded.drop_vars(["lat", "lon"]).rename(lat="y", lon="x")
    curvilinear = curvilinear.assign_coords(lat=(("y", "x"), lat2d.values), lon=(("y", "x"), lon2d.values))
    yearly = [gridded.sel(time=str(year)) for year in (2002, 2001)]
    frame = as_csv(gridded)
    for place, rows in frame.groupby("place"):
        (tmp_path / "cells").mkdir(exist_ok=True)
        rows.drop(columns=["place", "lat", "lon"]).to_csv(tmp_path / "cells" / f"{place}.csv", index=False)
    frame.drop_duplicates("place")[["place", "lat", "lon"]].to_csv(tmp_path / "places.csv", index=False)
    frame.to_csv(tmp_path / "long.csv", index=False)
    gridded.to_zarr(tmp_path / "three.zarr", zarr_format=3, consolidated=False)
    gridded.to_zarr(tmp_path / "two.zarr", zarr_format=2)
    gridded.to_netcdf(tmp_path / "old.nc", engine="scipy")
    layouts = {
        "curvilinear": ([saved(curvilinear, tmp_path / "b.nc")], at_places),
        "list": ([saved(listed(gridded), tmp_path / "c.nc")], at_places),
        "years": ([saved(part, tmp_path / f"{i}.nc") for i, part in enumerate(yearly)], {}),
        "variables": (
            [
                saved(gridded[["sm", "evap"]], tmp_path / "sm.nc"),
                saved(gridded[["temp", "rain", "snow"]], tmp_path / "t.nc"),
            ],
            {},
        ),
        "Zarr 3": ([tmp_path / "three.zarr"], {}),
        "Zarr 2": ([tmp_path / "two.zarr"], {}),
        "NetCDF-3": ([tmp_path / "old.nc"], {}),
        "long CSV": ([tmp_path / "long.csv"], csv),
        "CSV per cell": ([tmp_path / "cells", tmp_path / "places.csv"], csv),
    }
    for layout, (paths, changes) in layouts.items():
        cube = table(paths, mapping=recipe(**changes))
        assert cube.sizes["cell"] == 11, layout
        for name in ("swvl1", "t2m", "e", "tp"):
            found, expected = by_place(cube, name), by_place(whole, name)
            assert found.keys() == expected.keys(), layout
            for place, values in found.items():
                np.testing.assert_allclose(values, expected[place], rtol=1e-6, err_msg=f"{layout} {name}")
    assert table([tmp_path / "long.csv"], mapping=recipe(**csv)).cell_name.to_numpy()[0] == "101"


def test_large_input_stays_lazy_until_saved(gridded, recipe, tmp_path):
    cube = table([saved(gridded, tmp_path / "a.nc")], mapping=recipe())
    assert all(cube[name].chunks is not None for name in ("swvl1", "t2m", "e", "tp"))
    save_cube(cube, tmp_path / "cube")
    xr.testing.assert_allclose(open_cube(tmp_path / "cube").load(), cube.load())


def test_depth_of_water_is_divided_by_the_thickness(gridded, recipe, tmp_path):
    gridded["sm"] = gridded.sm * 0.5
    gridded.sm.attrs["units"] = "mm"
    cube = table(
        [saved(gridded, tmp_path / "a.nc")], mapping=recipe(variables__swvl1__thickness={"value": 10, "unit": "cm"})
    )
    expected = gridded.sm.stack(place=("lat", "lon")).isel(place=slice(1, None)).mean() / 100
    assert float(cube.swvl1.mean()) == pytest.approx(float(expected), rel=1e-5)


def test_arithmetic_position_rules_period_and_missing_values(gridded, recipe, tmp_path):
    gridded["deep"] = gridded.sm.expand_dims(depth=2, axis=1) * xr.DataArray([1.0, 0.5], dims="depth")
    gridded["temp"] = gridded.temp.where(gridded.temp > -9, -9999)
    mapping = recipe(
        period="2001-12-31:2002-01-02",
        missing=-9999,
        cells__select={"mask": {"at_least": 3, "below": 7}},
        variables__swvl2={"name": "deep", "at": {"depth": 1}, "unit": "%", "thickness": {"value": 0.2, "unit": "m"}},
        variables__sro={
            "name": "rain",
            "add": ["snow", 2],
            "subtract": "snow",
            "multiply_by": {"value": 3},
            "divide_by": "mask",
            "unit": "mm",
        },
    )
    cube = table([saved(gridded, tmp_path / "a.nc")], mapping=mapping)
    assert cube.sizes["time"] == 3
    assert cube.sizes["cell"] == 4
    raw = gridded.sel(time=slice("2001-12-31", "2002-01-02"))
    one = cube.isel(cell=cube.lat.to_numpy().tolist().index(50.0)).load()
    here = raw.sel(lat=50, lon=1)
    np.testing.assert_allclose(one.swvl2, here.sm / 200, rtol=1e-6)
    np.testing.assert_allclose(one.sro, (here.rain + 2) * 3 / 3 / 1000, rtol=1e-6)
    assert int(np.isnan(cube.t2m).sum()) == int((raw.temp.where((raw.mask >= 3) & (raw.mask < 7)) == -9999).sum())


def test_template_is_a_mapping_and_so_it_is_with_every_comment_opened(tmp_path):
    read_mapping(MAPPINGS / "template.yaml")
    text = (MAPPINGS / "template.yaml").read_text().split("\n\n", 1)[1].replace("# ", "", 0)
    lines = [line.replace("# ", "", 1) if line.lstrip().startswith("# ") else line for line in text.splitlines()]
    (tmp_path / "opened.yaml").write_text("\n".join(lines))
    assert len(read_mapping(tmp_path / "opened.yaml").variables) == 8


@pytest.mark.slow
@pytest.mark.shared
def test_delaware_example(shared, tmp_path):
    path = shared / "prms_delaware" / "prms_drb_daily_1979_1980.nc"
    cube = table([path], mapping=MAPPINGS / "prms_delaware.yaml")
    save_cube(cube, tmp_path / "cube")
    cube = open_cube(tmp_path / "cube").load()
    assert cube.sizes == {"cell": 652, "time": 641}
    # The basin has about 33 000 km2, and the Catskills rise at its edge.
    assert 2.5e10 < float(cube.area.sum()) < 3.5e10
    assert 900 < float(cube.elevation.max()) < 1300
    with xr.open_dataset(path, engine="h5netcdf") as raw:
        raw = (
            raw.isel(nhm_id=np.isin(raw.nhm_id, cube.cell_name.astype(int))).sel(time=slice("1979-04-01", None)).load()
        )
    stores = (
        (raw.sm_total + raw.swe + raw.st_canopy + raw.st_imperv + raw.st_dprst).transpose("nhm_id", "time").to_numpy()
    )
    change = np.diff(stores, axis=1) / 1000
    flows = (cube.tp - cube.e - cube.ro).to_numpy()[:, 1:]
    assert np.abs(flows - change).max() < 2e-7
    np.testing.assert_allclose(cube.ro, cube.sro + cube.ssro, atol=1e-8)
    water = (cube.swvl1 * cube.slthick1 + cube.swvl2 * cube.slthick2).to_numpy()
    np.testing.assert_allclose(water, (raw.sm_rechr + raw.sm_lower).T / 1000, atol=1e-7)


@pytest.mark.slow
@pytest.mark.shared
def test_moselle_example(shared, tmp_path):
    path = shared / "mhm_moselle" / "mhm_moselle_12km_daily_1990_1993.nc"
    cube = table([path], mapping=MAPPINGS / "mhm_moselle.yaml").load()
    assert cube.sizes == {"cell": 109, "time": 1461}
    with xr.open_dataset(path, engine="h5netcdf") as raw:
        soil = (raw.SWC_L01 + raw.SWC_L02 + raw.SWC_L03).to_numpy().reshape(1461, -1)
        canopy = raw.interception.to_numpy().reshape(1461, -1)
    land = np.isfinite(soil).any(axis=0)
    water = sum(cube[f"swvl{i}"] * cube[f"slthick{i}"] for i in (1, 2, 3)).to_numpy()
    np.testing.assert_allclose(water, soil[:, land].T / 1000, rtol=1e-5)
    # States are means of the day: their change belongs to the second half of one day and the first of the next.
    stores = water + cube.sd.to_numpy() + canopy[:, land].T / 1000
    flows = (cube.tp - cube.e - cube.ro).to_numpy()
    residual = (flows[:, 1:] + flows[:, :-1]) / 2 - np.diff(stores, axis=1)
    assert np.abs(residual).mean() < 1.1e-4
    assert abs(residual.mean()) < 2e-6


def in_halves(data: xr.Dataset, folder: Path, change: Callable[[xr.Dataset], xr.Dataset]) -> list[Path]:
    """Two files, the later one changed."""
    early, late = data.isel(time=slice(0, 200)), data.isel(time=slice(200, None)).copy(deep=True)
    return [saved(early, folder / "a.nc"), saved(change(late), folder / "b.nc")]


def rescaled(**units: tuple[str, float, float]) -> Callable[[xr.Dataset], xr.Dataset]:
    def change(data: xr.Dataset) -> xr.Dataset:
        for name, (unit, scale, offset) in units.items():
            data[name] = (data[name].dims, data[name].to_numpy() * scale + offset, {"units": unit})
        return data

    return change


OTHER_UNITS = {
    "temperature": {"temp": ("K", 1.0, 273.15)},
    "rain and snow": {"rain": ("m", 1e-3, 0.0), "snow": ("kg m-2 s-1", 1 / 86400, 0.0)},
    "evaporation": {"evap": ("kg m-2 s-1", 1 / 86400, 0.0)},
    "soil moisture": {"sm": ("m3 m-3", 1e-2, 0.0)},
}


@pytest.mark.parametrize("case", OTHER_UNITS)
def test_each_file_is_converted_by_its_own_unit(case, tmp_path):
    data = gridded_data()
    for name in ("rain", "snow"):
        data[name].attrs["units"] = "mm"
    recipe = write_recipe(tmp_path, variables__tp={"name": "rain", "add": "snow"})
    whole = table([saved(data, tmp_path / "whole.nc")], mapping=recipe)
    parts = table(in_halves(data, tmp_path, rescaled(**OTHER_UNITS[case])), mapping=recipe)
    for name in ("t2m", "tp", "e", "swvl1"):
        np.testing.assert_allclose(parts[name], whole[name], rtol=2e-6, atol=1e-9)


def test_variables_that_are_added_are_each_converted(tmp_path):
    data = gridded_data()
    data["rain"].attrs["units"] = "mm"
    whole = table([saved(data, tmp_path / "a.nc")], mapping=write_recipe(tmp_path))
    data["snow"] = (data.snow.dims, data.snow.to_numpy() / 86400, {"units": "kg m-2 s-1"})
    other = table([saved(data, tmp_path / "b.nc")], mapping=write_recipe(tmp_path, variables__tp__unit=None))
    np.testing.assert_allclose(other.tp, whole.tp, rtol=1e-6)


UNITS_REFUSED = {
    "one silent": (
        lambda data: data.assign(temp=data.temp.drop_attrs()),
        {},
        r"b.nc: temp is in no unit, but in a.nc in degC: correct the units attributes",
    ),
    "another quantity": (rescaled(temp=("mm", 1, 0)), {}, r"b.nc: temp is in mm, but in a.nc in degC"),
    "one unit stated for two": (
        rescaled(temp=("K", 1, 273.15)),
        {"variables__t2m": {"name": "temp", "unit": "degC"}},
        r"b.nc: temp is in K, but in a.nc in degC: give files of one unit",
    ),
    "a factor of a product": (
        rescaled(evap=("m d-1", 1e-3, 0)),
        {"variables__e": {"name": "evap", "multiply_by": 2, "unit": "mm"}},
        r"b.nc: evap is in m d-1, but in a.nc in mm d-1: give files of one unit",
    ),
    "a constant that changes": (
        lambda data: data.assign(mask=data.mask + 1),
        {"variables__landcover": "mask"},
        r"b.nc: mask differs from that of a.nc",
    ),
}


@pytest.mark.parametrize("case", UNITS_REFUSED)
def test_units_that_do_not_fit_each_other_are_refused_by_file(case, tmp_path):
    change, recipe, message = UNITS_REFUSED[case]
    paths = in_halves(gridded_data(), tmp_path, change)
    with pytest.raises(SoilcastError, match=message):
        table(paths, mapping=write_recipe(tmp_path, **recipe))


def test_days_that_bounds_enclose(tmp_path):
    data = gridded_data()
    whole = table([saved(data, tmp_path / "a.nc")], mapping=write_recipe(tmp_path))
    late = data.assign_coords(time=data.time + np.timedelta64(1, "D"))
    late.time.attrs["bounds"] = "time_bounds"
    late["time_bounds"] = (("time", "nv"), np.stack([data.time.values, late.time.values], 1))
    late.time.encoding["units"] = late.time_bounds.encoding["units"] = "days since 2001-01-01"
    xr.testing.assert_equal(table([saved(late, tmp_path / "b.nc")], mapping=write_recipe(tmp_path)), whole)


def test_what_attributes_say_against_the_mapping_is_refused(tmp_path):
    data = gridded_data()
    data["evap"].attrs["positive"] = "down"
    with pytest.raises(SoilcastError, match=r"a.nc: evap: e counts downward as positive .*add sign: -1"):
        table([saved(data, tmp_path / "a.nc")], mapping=write_recipe(tmp_path, variables__e="evap"))
    table([tmp_path / "a.nc"], mapping=write_recipe(tmp_path))
    data["rain"].attrs |= {"GRIB_stepType": "accum", "units": "mm"}
    with pytest.raises(SoilcastError, match=r"b.nc: rain: tp is accumulated up to its time stamp .*one stamp a day"):
        table([saved(data, tmp_path / "b.nc")], mapping=write_recipe(tmp_path))


def stations(folder: Path, *, without: tuple[str, ...] = (), variables: tuple[str, ...] = ("sm", "t")) -> xr.Dataset:
    """Read four stations of forty days, some without soil moisture."""
    rows = ["time,station,lat,lon," + ",".join(variables)]
    for number, name in enumerate("abcd"):
        for day in range(40):
            values = {"sm": "" if name in without else f"{0.2 + 0.001 * day}", "t": f"{280 + day}"}
            date = np.datetime64("2001-01-01") + day
            rows.append(",".join([str(date), name, str(40 + number), "10", *(values[one] for one in variables)]))
    (folder / "days.csv").write_text("\n".join(rows) + "\n")
    soil = "\n  swvl1: {name: sm, unit: m3 m-3, thickness: {value: 70, unit: mm}}" if "sm" in variables else ""
    (folder / "stations.yaml").write_text(
        f"title: t\ncontent: c\ncells: {{name: station, lat: lat, lon: lon, area: equal}}\nvariables:{soil}\n"
        "  t2m: {name: t, unit: K}\n"
    )
    return table([folder / "days.csv"], mapping=folder / "stations.yaml")


@pytest.mark.parametrize("without", [(), ("b",), ("a", "c", "d")])
def test_stations_without_soil_moisture_are_kept_and_counted(tmp_path, without):
    cube = stations(tmp_path, without=without)
    assert list(cube["cell_name"].to_numpy()) == ["a", "b", "c", "d"]
    known = np.isfinite(cube["swvl1"].to_numpy()).any(axis=1)
    np.testing.assert_array_equal(known, [name not in without for name in "abcd"])
    assert np.isfinite(cube["t2m"]).all()
    notes = cube.attrs.get("notes", "")
    assert (f"{len(without)} of 4 cells have no swvl1 on any day ({', '.join(without)})" in notes) == bool(without)


def test_weather_alone_is_a_cube(tmp_path):
    cube = stations(tmp_path, variables=("t",))
    assert "swvl1" not in cube
    assert "no swvl1: the cube serves forecasts" in cube.attrs["notes"]
    save_cube(cube, tmp_path / "cube")
    assert "no swvl1" in soilcast.inspect(tmp_path / "cube")


def test_points_of_a_grid_without_soil_moisture_are_left_out_and_counted(gridded, recipe, tmp_path):
    cube = table([saved(gridded, tmp_path / "grid.nc")], mapping=recipe())
    assert cube.sizes["cell"] == 11
    assert cube.attrs["notes"].splitlines()[0] == "1 of 12 places have no swvl1 on any day and are left out"


LIMITS = {
    "range": ({"valid_range": np.float32([0.2, 20.0])}, {}),
    "minimum and maximum": ({"valid_min": 0.2, "valid_max": 20.0}, {}),
    "packed": (
        {"valid_range": np.int16([2, 200])},
        {"dtype": "int16", "scale_factor": 0.1, "add_offset": 0.0, "_FillValue": -32767},
    ),
    "unpacked": (
        {"valid_range": np.float32([0.2, 20.0])},
        {"dtype": "int16", "scale_factor": 0.1, "add_offset": 0.0, "_FillValue": -32767},
    ),
    "a text": ({"valid_range": "all"}, {}),
}


@pytest.mark.parametrize("case", LIMITS)
def test_values_that_the_file_declares_not_valid_are_missing(case, tmp_path):
    attributes, encoding = LIMITS[case]
    data = gridded_data()
    rain = np.round(np.random.default_rng(0).uniform(0, 30, data.rain.shape), 1).astype(np.float32)
    data["rain"] = (data.rain.dims, rain, {"units": "mm"} | attributes)
    data["rain"].encoding = encoding
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    cube = table([tmp_path / "a.nc"], mapping=write_recipe(tmp_path, variables__tp={"name": "rain"})).load()
    plain = table([saved(data.assign(rain=data.rain.drop_attrs().assign_attrs(units="mm")), tmp_path / "b.nc")],
                  mapping=write_recipe(tmp_path, variables__tp={"name": "rain"})).load()  # fmt: skip
    valid = (plain["tp"] > 1.99e-4) & (plain["tp"] < 2.0001e-2) if case != "a text" else plain["tp"] >= 0
    assert case == "a text" or 0 < valid.mean() < 1
    np.testing.assert_allclose(cube["tp"], plain["tp"].where(valid), rtol=1e-5, atol=1e-9)


def test_antarctica_is_left_out_of_a_grid_and_kept_in_a_list(gridded, recipe, tmp_path):
    """Rows at 59.5, 60.5 and 61.5 degrees south, of which the first has a point of sea."""
    south = gridded.assign_coords(lat=[-59.5, -60.5, -61.5])
    cube = table([saved(south, tmp_path / "grid.nc")], mapping=recipe())
    assert set(cube["lat"].to_numpy()) == {-59.5}
    line = "8 of 12 grid points lie south of 60 °S (Antarctica) and are left out (--antarctica keeps them)"
    assert line in cube.attrs["notes"].splitlines()
    assert "1 of 4 places have no swvl1 on any day and are left out" in cube.attrs["notes"]
    whole = table([tmp_path / "grid.nc"], mapping=recipe(), antarctica=True)
    assert whole.sizes["cell"] == 11
    assert "Antarctica" not in whole.attrs["notes"]

    lat2d, lon2d = xr.broadcast(south.lat, south.lon)
    curvilinear = south.drop_vars(["lat", "lon"]).rename(lat="y", lon="x")
    curvilinear = curvilinear.assign_coords(lat=(("y", "x"), lat2d.values), lon=(("y", "x"), lon2d.values))
    at_places = recipe(cells__area="equal")
    turned = table([saved(curvilinear, tmp_path / "curvilinear.nc")], mapping=at_places)
    assert set(turned["lat"].to_numpy()) == {-59.5}
    assert line in turned.attrs["notes"].splitlines()
    stations = table([saved(listed(south), tmp_path / "list.nc")], mapping=at_places)
    assert stations.sizes["cell"] == 11
    assert "8 of 11 listed cells lie south of 60 °S (Antarctica) and are kept" in stations.attrs["notes"].splitlines()
    ice = gridded.assign_coords(lat=[-70.5, -71.5, -72.5])
    with pytest.raises(SoilcastError, match=r"12 of 12 grid points lie south of 60 °S .*keep it with --antarctica"):
        table([saved(ice, tmp_path / "ice.nc")], mapping=recipe())
