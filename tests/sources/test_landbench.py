"""The LandBench tree becomes a cube of the right cells, units and signs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from soilcast.cube import grid_of, open_cube, save_cube, to_grid
from soilcast.sources.landbench import landbench
from soilcast.sources.landbench.layout import ROWS
from tests.helpers.landbench_plain import (
    LATS,
    LEAST,
    LONS,
    Tree,
    everywhere,
    file_of,
    refusal,
    rewrite,
    years_of_two_cells,
)
from tests.helpers.landbench_tree import CONSTANTS, DYNAMIC


def place_code(day: np.ndarray, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """A value that tells its place: latitude in hundreds of kelvin, longitude (-180..180) in units."""
    east = np.where(lon >= 180, lon - 360, lon)
    return 250.0 + lat * 0.5 + east * 0.001 + 0.0 * day


@pytest.mark.slow
def test_every_file_of_the_distribution_becomes_a_variable(tree: Tree) -> None:
    cube = landbench([tree(*DYNAMIC, *CONSTANTS)], resolution=4)
    assert set(DYNAMIC) | set(CONSTANTS) <= set(cube.data_vars)
    assert "absent" not in cube.attrs
    assert cube["slthick3"].to_numpy() == pytest.approx(0.72)
    assert cube.sizes["time"] == 40
    assert "land_surface/*/total_runoff.nc" in cube["ro"].attrs["origin"]


def test_cells_are_land_north_of_60_south(tree: Tree, tmp_path: Path) -> None:
    land = np.random.default_rng(1).random((len(LATS), len(LONS))) < 0.5
    cube = landbench([tree("swvl1", land=land)], resolution=4)
    kept = land & (LATS >= -60)[:, None]
    found = set(zip(cube["lat"].to_numpy(), cube["lon"].to_numpy(), strict=True))
    rows, columns = np.nonzero(kept)
    assert found == set(zip(LATS[rows], (LONS[columns] + 180) % 360 - 180, strict=True))
    assert cube.sizes["cell"] == kept.sum()
    south = int(land.sum() - kept.sum())
    counted = f"{south} of {land.sum()} grid points lie south of 60 °S (Antarctica)"
    assert cube.attrs["notes"] == f"{counted} and are left out (--antarctica keeps them)"
    whole = landbench([tmp_path / "tree"], resolution=4, antarctica=True)
    assert whole.sizes["cell"] == land.sum()
    assert "notes" not in whole.attrs


def test_land_is_where_the_target_has_a_value_on_some_day(tree: Tree) -> None:
    def once(day: np.ndarray, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
        return np.where((day == 30) & (lat == 20.0) & (lon == 340.0), 0.25, np.nan)

    cube = landbench([tree(fields={"swvl1": once})], resolution=4)
    assert cube["lat"].to_numpy().tolist() == [20.0]
    assert cube["lon"].to_numpy().tolist() == [-20.0]
    assert np.isnan(cube["swvl1"].to_numpy()).sum() == 39


@pytest.mark.parametrize(("lats", "flip"), [(LATS, False), (LATS, True), (LATS[::-1], False)])
def test_fields_and_constants_land_on_their_cells(tree: Tree, lats: np.ndarray, flip: bool) -> None:
    root = tree(*LEAST, lats=lats, flip_constants=flip, fields={"t2m": place_code, "elevation": place_code})
    cube = landbench([root], resolution=4)
    expected = 250.0 + cube["lat"].to_numpy() * 0.5 + cube["lon"].to_numpy() * 0.001
    np.testing.assert_allclose(cube["elevation"].to_numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(cube["t2m"].isel(time=17).to_numpy(), expected, atol=1e-4)
    grid = grid_of(cube)
    assert grid is not None
    on_grid = to_grid(cube["t2m"].isel(time=0).load(), grid)
    assert float(on_grid.sel(lat=40.0, lon=-120.0)) == pytest.approx(250 + 20 - 0.12, abs=1e-4)


def test_a_file_that_runs_the_other_way_is_turned(tree: Tree) -> None:
    root = tree(fields={"t2m": place_code})
    rewrite(file_of(root, "t2m"), lambda file: file.isel(latitude=slice(None, None, -1)).transpose("longitude", ...))
    cube = landbench([root], resolution=4)
    expected = 250.0 + cube["lat"].to_numpy() * 0.5 + cube["lon"].to_numpy() * 0.001
    np.testing.assert_allclose(cube["t2m"].isel(time=3).to_numpy(), expected, atol=1e-4)


def test_evaporation_is_upward_positive(tree: Tree) -> None:
    cube = landbench([tree(fields={"e": everywhere(-0.003)})], resolution=4)
    assert cube["e"].to_numpy() == pytest.approx(0.003)


@pytest.mark.parametrize(("unit", "factor"), [("m", 24.0), (None, 24.0), ("m d-1", 1.0)])
def test_precipitation_is_an_hourly_mean_unless_the_file_says_otherwise(
    tree: Tree, unit: str | None, factor: float
) -> None:
    root = tree(units={"tp": unit}, fields={"tp": everywhere(2e-4)})
    assert landbench([root], resolution=4)["tp"].to_numpy() == pytest.approx(2e-4 * factor)


@pytest.mark.parametrize(
    ("unit", "attributes", "factor"),
    [
        ("m", {}, 24.0),
        ("mm", {}, 0.024),
        ("kg m-2", {}, 0.024),
        ("m h-1", {}, 24.0),
        ("m hr**-1", {}, 24.0),
        ("m d-1", {}, 1.0),
        ("mm/day", {}, 1e-3),
        ("kg m-2 s-1", {}, 86.4),
        ("m", {"cell_methods": "time: sum"}, 1.0),
        ("m", {"long_name": "Daily total of precipitation"}, 1.0),
        ("m", {"cell_methods": "time: mean", "long_name": "Total precipitation"}, 24.0),
    ],
)
def test_readings_of_the_unit_of_precipitation(unit: str, attributes: dict[str, str], factor: float) -> None:
    found, _ = ROWS["tp"].reading("tp", unit, attributes, "precipitation.nc")
    assert found(1.0) == pytest.approx(factor)


def test_a_given_unit_is_taken_at_its_word(tree: Tree) -> None:
    cube = landbench([tree(fields={"tp": everywhere(2e-4)})], resolution=4, units={"tp": "m d-1"})
    assert cube["tp"].to_numpy() == pytest.approx(2e-4)
    assert "unit given as m d-1" in cube["tp"].attrs["origin"]


def test_packed_values_are_unpacked(tree: Tree, plain: Path) -> None:
    root = tree()
    with xr.open_dataset(file_of(root, "swvl1"), engine="h5netcdf") as opened:
        holed = opened.load().where(opened["longitude"] > 50.0)
    packed = {"dtype": "int16", "scale_factor": 1e-3, "add_offset": 0.25, "_FillValue": -32767}
    holed.to_netcdf(file_of(root, "swvl1"), engine="h5netcdf", encoding={"swvl1": packed})
    cube = landbench([root], resolution=4)
    expected = landbench([plain], resolution=4)["swvl1"].set_xindex("lat").load()
    expected = expected[(expected["lon"] > 50.0) | (expected["lon"] < 0.0)]
    np.testing.assert_allclose(cube["swvl1"].to_numpy(), expected.to_numpy(), atol=6e-4)


def test_netcdf_3_is_read_too(tree: Tree) -> None:
    cube = landbench([tree(engine="scipy", fields={"t2m": place_code})], resolution=4)
    assert float(cube["t2m"].isel(cell=0, time=0)) == pytest.approx(250 + 40 - 0.18)


@pytest.mark.parametrize(("written", "asked"), [("4.0", 4), ("0.5", 0.5)])
def test_the_folder_of_a_resolution_is_written_either_way(tree: Tree, written: str, asked: float) -> None:
    root = tree()
    (root / "4").rename(root / written)
    assert landbench([root], resolution=asked).sizes["time"] == 40


def test_constants_may_lie_beside_the_resolutions(tree: Tree, tmp_path: Path) -> None:
    root = tree("elevation", constants_folder=tmp_path / "tree" / "constants")
    assert "elevation" in landbench([root], resolution=4)


def test_both_spellings_of_thermal_are_known(tree: Tree) -> None:
    root = tree()
    file_of(root, "strd").rename(file_of(root, "strd").with_name("surface_thermal_radiation_downwards_w_m2.nc"))
    assert "strd" in landbench([root], resolution=4)


@pytest.mark.parametrize(("whole", "unit"), [(1000.0, "g kg-1"), (100.0, "percent")])
def test_the_unit_of_the_texture_is_told_from_its_sum(tree: Tree, whole: float, unit: str) -> None:
    parts = {"clay": 0.2, "sand": 0.5, "silt": 0.29}
    cube = landbench([tree(fields={name: everywhere(part * whole) for name, part in parts.items()})], resolution=4)
    for name, part in parts.items():
        assert cube[name].to_numpy() == pytest.approx(part)
        assert unit in cube[name].attrs["origin"]


def test_a_texture_that_sums_to_nothing_known_is_asked_for(tree: Tree) -> None:
    texture = ("clay", "sand", "silt")
    message = refusal(tree(fields={name: everywhere(17.0) for name in texture}))
    assert all(f"--unit {name}=UNIT" in message for name in texture)


def test_units_of_constants_are_taken_as_documented_and_said(tree: Tree) -> None:
    cube = landbench([tree("soil_water_capacity", "elevation", "landcover")], resolution=4)
    assert 0.05 < float(cube["soil_water_capacity"].mean()) < 0.5
    assert cube["soil_water_capacity"].attrs["origin"].endswith("soil_water_capacity.nc (unit taken as mm)")
    assert cube["elevation"].attrs["origin"].endswith("dem.nc (unit taken as m)")
    assert set(np.unique(cube["landcover"])) <= set(range(1, 18))
    assert cube.attrs["absent"].split() == ["e", "ro", "sd", "swvl2", "swvl3", "swvl4", "clay", "sand", "silt"]


def test_constants_without_a_value_stay_missing_and_are_counted(tree: Tree) -> None:
    root = tree("elevation")
    rewrite(file_of(root, "elevation"), lambda file: file.where(file["lat"] < 70))
    cube = landbench([root], resolution=4)
    assert int(np.isnan(cube["elevation"]).sum()) == len(LONS)
    assert f"no value at {len(LONS)} of {cube.sizes['cell']} cells" in cube["elevation"].attrs["origin"]


@pytest.mark.slow
def test_years_are_joined_whatever_blocks_are_read(tmp_path: Path) -> None:
    dated = {"t2m": lambda day, lat, lon: 270.0 + day * 0.01 + 0.0 * (lat + lon)}
    root = years_of_two_cells(tmp_path, [2019, 2020], fields=dated)
    cube = landbench([root], resolution=4)
    expected = 270 + np.concatenate([np.arange(365), np.arange(366)]) * 0.01
    np.testing.assert_allclose(cube["t2m"].to_numpy()[0], expected, atol=1e-3)
    np.testing.assert_allclose(cube["t2m"].isel(time=slice(360, 370)).to_numpy()[3], expected[360:370], atol=1e-3)
    assert landbench([root], resolution=4, years="2019").sizes["time"] == 365


def test_a_saved_cube_holds_what_the_files_hold(tree: Tree, tmp_path: Path) -> None:
    root = tree("elevation")
    save_cube(landbench([root], resolution=4), tmp_path / "cube.zarr")
    opened = open_cube(tmp_path / "cube.zarr")
    with xr.open_dataset(file_of(root, "sp"), engine="h5netcdf") as file:
        expected = file["sp"].sel(latitude=20.0, longitude=240.0).to_numpy()
    cell = int(np.flatnonzero((opened["lat"] == 20.0) & (opened["lon"] == -120.0))[0])
    np.testing.assert_array_equal(opened["sp"].isel(cell=cell).to_numpy(), expected)
