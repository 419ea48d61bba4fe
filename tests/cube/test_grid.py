"""Cells and their grid: there and back, on a sphere of the right size, as any CF reader unpacks it."""

from __future__ import annotations

from pathlib import Path

import cf_xarray
import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from soilcast.cube import Grid, from_grid, grid_of, open_cube, save_cube, spacing, to_grid, wrap_longitude
from soilcast.cube.grid import EARTH_RADIUS
from tests.helpers.small import small_cube


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    rows, columns = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    lat = np.linspace(40, 40 - 2.0 * (rows - 1), rows)
    kept = draw(st.sets(st.integers(0, rows * columns - 1), min_size=1))
    return Grid(lat[:: draw(st.sampled_from([1, -1]))], -10 + 2.5 * np.arange(columns), np.array(sorted(kept)))


def whole(lat: np.ndarray, lon: np.ndarray) -> Grid:
    return Grid(lat, lon, np.arange(lat.size * lon.size))


@given(grid=grids(), seed=st.integers(0, 1000), days=st.integers(0, 3))
def test_cells_go_to_their_grid_and_back(grid: Grid, seed: int, days: int) -> None:
    values = np.random.default_rng(seed).random((grid.index.size, days), dtype=np.float32)
    cells = xr.DataArray(values, dims=("cell", "time"), name="swvl1", attrs={"units": "m3 m-3"})
    spread = to_grid(cells, grid)
    assert spread.dims == ("lat", "lon", "time")
    assert spread.dtype == np.float32
    assert spread.attrs == cells.attrs
    assert int(spread.notnull().sum()) == values.size
    np.testing.assert_array_equal(from_grid(spread, grid).to_numpy(), values)


@given(grid=grids())
def test_each_cell_stands_at_its_latitude_and_longitude(grid: Grid) -> None:
    lat = to_grid(xr.DataArray(grid.cell_lat, dims="cell"), grid)
    lon = to_grid(xr.DataArray(grid.cell_lon, dims="cell"), grid)
    row, column = np.unravel_index(grid.index, (grid.lat.size, grid.lon.size))
    np.testing.assert_array_equal(lat.to_numpy()[row, column], grid.lat[row])
    np.testing.assert_array_equal(lon.to_numpy()[row, column], grid.lon[column])
    for position in range(grid.index.size):
        there = lat.sel(lat=grid.cell_lat[position], lon=grid.cell_lon[position])
        assert float(there) == grid.cell_lat[position]


def test_gathering_leaves_a_lazy_array_lazy_and_puts_the_cell_first() -> None:
    grid = Grid(np.array([10.0, 5.0]), np.array([0.0, 5.0, 10.0]), np.array([1, 5]))
    field = xr.DataArray(dask.array.arange(24).reshape(4, 2, 3), dims=("time", "lat", "lon"))
    gathered = from_grid(field, grid)
    assert gathered.chunks is not None
    assert gathered.dims == ("cell", "time")
    np.testing.assert_array_equal(gathered, [[1, 7, 13, 19], [5, 11, 17, 23]])


@pytest.mark.parametrize("step", [0.5, 1.0, 4.0, 7.5, 90.0])
@pytest.mark.parametrize("at_poles", [False, True])
@pytest.mark.parametrize("order", [1, -1])
def test_the_areas_of_a_whole_globe_add_up_to_the_sphere(step: float, at_poles: bool, order: int) -> None:
    offset = 0.0 if at_poles else step / 2
    lat = np.arange(-90 + offset, 90 + 1e-9, step)[::order]
    area = whole(lat, np.arange(-180, 180, step)).cell_area
    assert area.min() > 0
    assert area.sum() == pytest.approx(4 * np.pi * EARTH_RADIUS**2, rel=1e-12)


@given(lat=st.floats(-80, 80), degrees=st.floats(0.1, 5))
def test_the_area_of_a_small_cell_is_nearly_that_of_a_flat_one(lat: float, degrees: float) -> None:
    area = whole(lat + np.array([0.0, degrees]), np.array([0.0, degrees])).cell_area[0]
    side = np.radians(degrees) * EARTH_RADIUS
    assert area == pytest.approx(side**2 * np.cos(np.radians(lat)), rel=1e-3)


def test_spacing_of_one_point_and_of_a_falling_axis() -> None:
    assert spacing(np.array([50.0])) == 1.0
    assert spacing(np.array([50.0, 49.5, 49.0])) == 0.5


@given(lon=st.floats(-1080, 1080))
def test_a_wrapped_longitude_is_the_same_place_within_bounds(lon: float) -> None:
    wrapped = float(wrap_longitude(np.array([lon]))[0])
    assert -180.0 <= wrapped < 180.0
    turns = (lon - wrapped) / 360
    assert turns == pytest.approx(round(turns), abs=1e-9)


@pytest.mark.parametrize(
    ("lon", "expected"), [(0, 0), (180, -180), (-180, -180), (359.75, -0.25), (360, 0), (-180 - 3e-14, -180)]
)
def test_where_longitudes_meet(lon: float, expected: float) -> None:
    assert wrap_longitude(np.array([lon]))[0] == expected


def test_wrapping_twice_changes_nothing_and_nan_stays_nan() -> None:
    lon = wrap_longitude(np.arange(0, 360, 0.25))
    np.testing.assert_array_equal(wrap_longitude(lon), lon)
    assert np.isnan(wrap_longitude(np.array([np.nan]))[0])


def test_places_have_no_grid() -> None:
    assert grid_of(small_cube(3, 5, grid=False)) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cube.zarr", "cube.nc"])
def test_a_saved_cube_knows_its_grid(tmp_path: Path, name: str) -> None:
    cube = small_cube(8, 30)
    save_cube(cube, tmp_path / name)
    grid, before = grid_of(open_cube(tmp_path / name)), grid_of(cube)
    assert grid is not None
    assert before is not None
    for axis in ("lat", "lon", "index", "cell_lat", "cell_lon"):
        np.testing.assert_array_equal(getattr(grid, axis), getattr(before, axis))
    np.testing.assert_array_equal(cube["area"], before.cell_area)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cube.zarr", "cube.nc"])
def test_a_cf_reader_unpacks_a_saved_cube_to_the_same_grid(tmp_path: Path, name: str) -> None:
    save_cube(small_cube(8, 30), tmp_path / name)
    cube = open_cube(tmp_path / name)
    grid = grid_of(cube)
    assert grid is not None
    unpacked = cf_xarray.decode_compress_to_multi_index(cube).unstack("cell")
    for variable in cube.data_vars:
        ours = (
            to_grid(cube[variable].load(), grid)
            .rename(lat="grid_lat", lon="grid_lon")
            .drop_vars(["lat", "lon"], errors="ignore")
        )
        theirs = unpacked[variable].reindex(grid_lat=ours["grid_lat"], grid_lon=ours["grid_lon"])
        np.testing.assert_array_equal(theirs.transpose(*ours.dims), ours)
    # The packed coordinate goes back as well: no position is lost on the way.
    packed = cf_xarray.encode_multi_index_as_compress(cf_xarray.decode_compress_to_multi_index(cube), "cell")
    assert packed.sizes["cell"] == cube.sizes["cell"]


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), cells=st.integers(1, 20))
def test_the_gathered_index_points_at_the_coordinates_of_the_cell(seed: int, cells: int) -> None:
    cube = small_cube(cells, 2, seed=seed)
    row, column = np.unravel_index(cube["cell"], (cube.sizes["grid_lat"], cube.sizes["grid_lon"]))
    assert cube["cell"].attrs["compress"] == "grid_lat grid_lon"
    np.testing.assert_array_equal(cube["grid_lat"].to_numpy()[row], cube["lat"])
    np.testing.assert_array_equal(cube["grid_lon"].to_numpy()[column], cube["lon"])
