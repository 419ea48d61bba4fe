"""Regridding: means by area on the sphere, whichever way the axes run; classes win by area; points are the nearest."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import xarray as xr
import xarray_regrid  # noqa: F401  (the accessor `regrid`)
from hypothesis import given, settings
from hypothesis import strategies as st

from soilcast.cube import Grid
from soilcast.errors import SoilcastError
from soilcast.sources.overlap import Points
from soilcast.sources.planet.geography import geography
from soilcast.sources.regridding import conservative, majority, nearest, target_grid


def whole(lat: np.ndarray, lon: np.ndarray) -> Grid:
    return Grid(np.asarray(lat, float), np.asarray(lon, float), np.arange(len(lat) * len(lon)))


def globe(step: float, *, points_at_poles: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Latitudes north first and longitudes 0 .. 360 of a global grid, as ERA5-Land has them."""
    rows = round(180 / step)
    lat = 90 - step * (np.arange(rows + 1) if points_at_poles else np.arange(rows) + 0.5)
    return lat, step * np.arange(2 * rows)


def band(lat: np.ndarray | float, step: float) -> np.ndarray:
    """Area of one degree of longitude of rows, by the mean value of the cosine: 2 cos(lat) sin(step / 2)."""
    south, north = np.maximum(np.subtract(lat, step / 2), -90), np.minimum(np.add(lat, step / 2), 90)
    return 2 * np.cos(np.radians((north + south) / 2)) * np.sin(np.radians((north - south) / 2))


def overlap_by_hand(
    values: np.ndarray, lat: np.ndarray, lon: np.ndarray, step: float, grid: Grid, side: float, share: float = 0.5
) -> np.ndarray:
    """One cell after the other, each pair of cells cut with each other, longitudes by how far they are apart."""
    made = np.full((grid.lat.size, grid.lon.size), np.nan)
    for i, j in np.ndindex(made.shape):
        bottom, top = max(grid.lat[i] - side / 2, -90), min(grid.lat[i] + side / 2, 90)
        total = area = 0.0
        for k, m in np.ndindex(values.shape):
            low, high = max(bottom, lat[k] - step / 2), min(top, lat[k] + step / 2)
            apart = (lon[m] - grid.lon[j] + 180) % 360 - 180
            common = min(side / 2, apart + step / 2) - max(-side / 2, apart - step / 2)
            if high > low and common > 0 and np.isfinite(values[k, m]):
                piece = float(band((low + high) / 2, high - low)) * common
                total, area = total + piece * values[k, m], area + piece
        if area >= share * float(band((bottom + top) / 2, top - bottom)) * side * (1 - 1e-9) and area > 0:
            made[i, j] = total / area
    return made.ravel()[grid.index]


@st.composite
def sources(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, float]:
    """Axes of a region or of the globe, in any order, and their spacing."""
    step = draw(st.sampled_from([2.5, 4.0, 6.0, 7.5]))
    if draw(st.booleans()):
        lat, lon = globe(step * 2, points_at_poles=draw(st.booleans()))
        step *= 2
    else:
        south, west = draw(st.floats(-90, 40)), draw(st.floats(-180, 359))
        lat = south + step / 2 + step * np.arange(draw(st.integers(2, 6)))
        lon = west + step * np.arange(draw(st.integers(2, 7)))
    if draw(st.booleans()):
        lon = np.where(lon >= 180, lon - 360, lon)
    return lat[:: draw(st.sampled_from([1, -1]))], np.roll(lon, draw(st.integers(0, len(lon)))), step


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(
    source=sources(), side=st.sampled_from([3.0, 5.0, 9.0, 12.0]), missing=st.floats(0, 0.6), seed=st.integers(0, 99)
)
def test_a_mean_is_that_of_the_pieces_that_each_pair_of_cells_shares(
    source: tuple[np.ndarray, np.ndarray, float], side: float, missing: float, seed: int
) -> None:
    lat, lon, step = source
    random = np.random.default_rng(seed)
    values = np.where(random.random((lat.size, lon.size)) < missing, np.nan, random.normal(5, 3, (lat.size, lon.size)))
    corner = lat.min() - 2 * side, lon[0]
    rows = corner[0] + side * np.arange(6)
    columns = np.sort((corner[1] + side * np.arange(7) + 180) % 360 - 180)
    grid = whole(rows[np.abs(rows) < 90], columns)
    got = conservative(values[np.newaxis].astype(np.float32), lat, lon, grid, least_share=0.3)[0]
    expected = overlap_by_hand(values.astype(np.float32), lat, lon, step, grid, side, 0.3)
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


@settings(deadline=None, max_examples=30)
@given(
    step=st.sampled_from([1.0, 1.5, 2.0, 2.5]),
    resolution=st.sampled_from([3.0, 4.0, 5.0, 8.0, 10.0]),
    poles=st.booleans(),
    missing=st.floats(0, 0.9),
    seed=st.integers(0, 999),
)
def test_what_is_on_the_globe_is_on_the_target_too(
    step: float, resolution: float, poles: bool, missing: float, seed: int
) -> None:
    lat, lon = globe(step, points_at_poles=poles)
    random = np.random.default_rng(seed)
    values = random.gamma(1.0, 5.0, (1, lat.size, lon.size)).astype(np.float32)
    present = random.random(values.shape) >= missing
    grid = target_grid(resolution, lat, lon)
    assert grid.index.size == grid.lat.size * grid.lon.size
    areas = (band(grid.lat, resolution)[:, np.newaxis] * resolution * np.ones(grid.lon.size)).ravel()
    assert areas.sum() == pytest.approx(720.0)
    # Where nothing is missing the sum of value times area is that of the source; with gaps, that of value times
    # the area that has values, which the mean of the mask gives.
    total = (values[0].astype(float) * present[0] * band(lat, step)[:, np.newaxis]).sum() * step
    share = conservative(present.astype(np.float32), lat, lon, grid)[0].astype(float)
    mean = conservative(np.where(present, values, np.nan), lat, lon, grid, least_share=0.0)[0].astype(float)
    assert (share * areas).sum() == pytest.approx((present[0] * band(lat, step)[:, np.newaxis]).sum() * step, rel=1e-6)
    assert (np.nan_to_num(mean) * share * areas).sum() == pytest.approx(total, rel=1e-6)
    everywhere = conservative(values, lat, lon, grid)[0].astype(float)
    assert (everywhere * areas).sum() == pytest.approx(
        (values[0].astype(float) * band(lat, step)[:, np.newaxis]).sum() * step, rel=1e-6
    )


@settings(deadline=None, max_examples=30)
@given(source=sources(), constant=st.floats(-1e4, 1e4, width=32), missing=st.floats(0, 0.9), seed=st.integers(0, 99))
def test_a_constant_stays_constant_whatever_is_missing(
    source: tuple[np.ndarray, np.ndarray, float], constant: float, missing: float, seed: int
) -> None:
    lat, lon, _ = source
    gaps = np.random.default_rng(seed).random((2, lat.size, lon.size)) < missing
    values = np.where(gaps, np.nan, constant).astype(np.float32)
    made = conservative(values, lat, lon, whole(np.arange(-85, 86, 10), np.arange(-175, 176, 10)))
    assert made.dtype == np.float32
    np.testing.assert_allclose(made[np.isfinite(made)], np.float32(constant), rtol=1e-6)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 99), turn=st.integers(0, 23), flip=st.booleans(), west=st.booleans(), single=st.booleans())
def test_the_order_in_which_a_file_holds_its_points_does_not_matter(
    seed: int, turn: int, flip: bool, west: bool, single: bool
) -> None:
    lat, lon = globe(15.0)
    values = np.random.default_rng(seed).normal(size=(2, lat.size, lon.size)).astype(np.float32)
    values[:, :, 3] = np.nan
    grid = target_grid(20.0, lat, lon)
    classes = np.round(values[0] * 2)
    other_lon = np.roll(np.where(lon >= 180, lon - 360, lon) if west else lon, turn)
    other_lat, rows = (lat[::-1], slice(None, None, -1)) if flip else (lat, slice(None))
    other = np.roll(values, turn, axis=2)[:, rows]
    if single:
        other_lat, other_lon = other_lat.astype(np.float32), other_lon.astype(np.float32)
    np.testing.assert_allclose(
        conservative(other, other_lat, other_lon, grid), conservative(values, lat, lon, grid), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(
        majority(np.roll(classes, turn, axis=1)[rows], other_lat, other_lon, grid), majority(classes, lat, lon, grid)
    )
    np.testing.assert_array_equal(nearest(other, other_lat, other_lon, grid), nearest(values, lat, lon, grid))


@given(cuts=st.lists(st.integers(0, 7), max_size=3), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_any_split_of_the_days_gives_the_same(cuts: list[int], seed: int) -> None:
    lat, lon = globe(15.0)
    random = np.random.default_rng(seed)
    values = random.normal(size=(7, lat.size, lon.size)).astype(np.float32)
    values[random.random(values.shape) < 0.3] = np.nan  # another sea every day
    values[2:4] = values[1]
    grid = target_grid(30.0, lat, lon)
    parts = [conservative(part, lat, lon, grid) for part in np.split(values, sorted(cuts))]
    np.testing.assert_array_equal(np.concatenate(parts), conservative(values, lat, lon, grid))


def test_two_by_two_with_a_missing_value_is_the_mean_by_area_of_the_other_three() -> None:
    # Rows 60 .. 70 and 70 .. 80 north, columns of equal width; the south-west one is missing.
    lat, lon = np.array([65.0, 75.0]), np.array([5.0, 15.0])
    values = np.array([[[np.nan, 2.0], [4.0, 8.0]]], dtype=np.float32)
    south, north = 0.9396926 - 0.8660254, 0.9848078 - 0.9396926  # differences of the sines of 60, 70 and 80 degrees
    expected = (2 * south + 4 * north + 8 * north) / (south + 2 * north)
    grid = whole(np.array([70.0, 90.0]), np.array([10.0, 30.0]))
    assert conservative(values, lat, lon, grid)[0, 0] == pytest.approx(expected, rel=1e-6)
    # 69 % of the area has values.
    share = (south + 2 * north) / (2 * south + 2 * north)
    assert np.isfinite(conservative(values, lat, lon, grid, least_share=share - 1e-6)[0, 0])
    assert np.isnan(conservative(values, lat, lon, grid, least_share=share + 1e-6)[0, 0])
    assert np.isnan(conservative(values, lat, lon, grid)[0, 1:]).all()


def test_a_half_that_has_values_is_enough() -> None:
    lat, lon = np.array([-5.0, 5.0]), np.array([5.0, 15.0])
    values = np.array([[[np.nan, np.nan], [4.0, 8.0]]], dtype=np.float32)
    assert conservative(values, lat, lon, whole(np.array([0.0, 20.0]), np.array([10.0, 30.0])))[0, 0] == 6.0


def test_what_the_source_does_not_reach_counts_as_missing() -> None:
    lat, lon = np.array([1.0, 3.0]), np.array([1.0, 3.0])  # 0 .. 4 by 0 .. 4 degrees
    values = np.full((1, 2, 2), 7.0, dtype=np.float32)
    grid = whole(np.array([0.0, 10.0]), np.array([2.0, 12.0]))  # -5 .. 5 by -3 .. 7
    assert np.isnan(conservative(values, lat, lon, grid)).all()
    np.testing.assert_allclose(conservative(values, lat, lon, grid, least_share=0.1)[0], [7, np.nan, np.nan, np.nan])


def test_target_edges_may_cut_source_cells() -> None:
    # Points at 0.0, 0.1 .. of ERA5-Land, cells of half a degree: the outermost points count by half.
    lat, lon = 0.1 * np.arange(-3, 9), 0.1 * np.arange(-3, 9)
    columns = np.zeros((1, lat.size, lon.size), dtype=np.float32)
    columns[:, :, 3] = 1.0  # at 0.0: half of it lies in 0 .. 0.5
    columns[:, :, 5] = 10.0  # at 0.2
    grid = whole(np.array([0.25, 0.75]), np.array([0.25, 0.75]))
    assert conservative(columns, lat, lon, grid)[0, 0] == pytest.approx((0.5 * 1 + 10) / 5, rel=1e-6)


def test_the_cell_at_the_date_line_has_points_from_both_sides() -> None:
    lat, lon = globe(1.0)
    field = np.zeros((1, lat.size, lon.size), dtype=np.float32)
    field[:, :, 180] = 1.0  # around 180, half of it on either side
    grid = target_grid(2.0, lat, lon)
    made = conservative(field, lat, lon, grid)[0].reshape(grid.lat.size, -1)
    np.testing.assert_allclose(made[:, [0, -1]], 0.25, rtol=1e-6)
    assert not made[:, 1:-1].any()
    # A region across the date line, as a file of 0 .. 360 degrees has it and as one of -180 .. 180.
    part = np.arange(170, 190)
    grid = target_grid(2.0, lat[80:100], lon[part])
    np.testing.assert_allclose(grid.lon, [-179, -177, -175, -173, -171, 171, 173, 175, 177, 179])
    for east in (lon[part], np.where(lon[part] >= 180, lon[part] - 360, lon[part])):
        got = conservative(field[:, 80:100, part], lat[80:100], east, grid)[0].reshape(grid.lat.size, -1)
        np.testing.assert_allclose(got[0], [0.25, *[0] * 8, 0.25], rtol=1e-6)


def test_points_at_the_poles_stand_for_half_a_cell() -> None:
    lat, lon = globe(1.0)
    field = np.zeros((1, lat.size, lon.size), dtype=np.float32)
    field[:, 0], field[:, -1] = 1.0, 2.0
    grid = target_grid(2.0, lat, lon)
    made = conservative(field, lat, lon, grid)[0].reshape(grid.lat.size, -1)
    cap = (1 - np.sin(np.radians(89.5))) / (1 - np.sin(np.radians(88)))
    assert cap == pytest.approx(1 / 16, rel=1e-3)
    np.testing.assert_allclose(made[-1], cap, rtol=1e-6)
    np.testing.assert_allclose(made[0], 2 * cap, rtol=1e-6)
    assert not made[1:-1].any()


def test_a_smooth_field_is_found_again() -> None:
    """The mean of cos(lat) cos(lon) over a cell is known in closed form, and a 0.25 degree source comes close to it."""
    lat, lon = globe(0.25)
    field = np.cos(np.radians(lat))[:, np.newaxis] * np.cos(np.radians(lon))
    grid = target_grid(2.0, lat, lon)
    south, north, west, east = (np.radians(edge) for edge in (grid.lat - 1, grid.lat + 1, grid.lon - 1, grid.lon + 1))
    squared = (north - south) / 2 + (np.sin(2 * north) - np.sin(2 * south)) / 4  # of cos(lat) squared
    exact = (
        (squared / (np.sin(north) - np.sin(south)))[:, np.newaxis] * ((np.sin(east) - np.sin(west)) / (east - west))
    ).ravel()
    made = conservative(field[np.newaxis].astype(np.float32), lat, lon, grid)[0]
    inner = np.abs(grid.cell_lat) < 89
    np.testing.assert_allclose(made[inner], exact[inner], atol=2e-5)
    np.testing.assert_allclose(made, exact, atol=5e-5)  # points at the poles are not in the middle of their half cells


def test_the_library_agrees_where_it_is_right() -> None:
    """Whole source cells within each target cell, away from the poles: xarray-regrid weighs by whole rows too."""
    lat, lon = -59.5 + np.arange(120), -179.5 + np.arange(360)
    random = np.random.default_rng(0)
    values = random.normal(size=(3, lat.size, lon.size))
    values[:, random.random((lat.size, lon.size)) < 0.3] = np.nan
    grid = target_grid(4.0, lat, lon)
    source = xr.DataArray(values, dims=("time", "latitude", "longitude"), coords={"latitude": lat, "longitude": lon})
    target = xr.Dataset(coords={"latitude": grid.lat, "longitude": grid.lon})
    library = source.regrid.conservative(target, latitude_coord="latitude", nan_threshold=0.47)
    expected = library.transpose("time", "latitude", "longitude").to_numpy().reshape(3, -1)
    np.testing.assert_allclose(conservative(values, lat, lon, grid, least_share=0.53), expected, rtol=1e-5, atol=1e-6)


def test_only_the_cells_of_the_grid_are_given_in_its_order() -> None:
    lat, lon = globe(10.0)
    values = np.random.default_rng(0).normal(size=(2, lat.size, lon.size)).astype(np.float32)
    grid = target_grid(20.0, lat, lon)
    some = Grid(grid.lat, grid.lon, np.array([3, 17, 100]))
    np.testing.assert_array_equal(
        conservative(values, lat, lon, some), conservative(values, lat, lon, grid)[:, [3, 17, 100]]
    )
    north_first = Grid(grid.lat[::-1], grid.lon, grid.index)
    flipped = conservative(values, lat, lon, grid).reshape(2, grid.lat.size, -1)[:, ::-1].reshape(2, -1)
    np.testing.assert_array_equal(conservative(values, lat, lon, north_first), flipped)


def test_a_source_may_repeat_its_first_longitude_at_the_end() -> None:
    lat, lon = globe(10.0)
    values = np.random.default_rng(0).normal(size=(1, lat.size, lon.size)).astype(np.float32)
    grid = target_grid(20.0, lat, lon)
    closed = conservative(np.concatenate([values, values[:, :, :1]], axis=2), lat, np.append(lon, 360.0), grid)
    np.testing.assert_allclose(closed, conservative(values, lat, lon, grid), rtol=1e-6)


def test_a_target_within_one_source_cell_has_its_value() -> None:
    lat, lon = np.array([5.0, 15.0]), np.array([5.0, 15.0])
    values = np.array([[[1.0, 2.0], [np.nan, 4.0]]], dtype=np.float32)
    grid = whole(np.array([1.0, 2.0, 12.0]), np.array([3.0, 4.0, 14.0]))
    expected = [[1, 1, 2], [1, 1, 2], [np.nan, np.nan, 4]]
    np.testing.assert_array_equal(conservative(values, lat, lon, grid)[0].reshape(3, 3), expected)


def test_the_largest_area_wins_and_of_equals_the_smallest_number() -> None:
    # Two target cells of 20 degrees, each of 2 x 2 source cells; the southern rows are larger.
    lat, lon = np.array([65.0, 75.0]), np.array([5.0, 15.0, 25.0, 35.0])
    grid = whole(np.array([70.0, 50.0]), np.array([10.0, 30.0]))
    classes = np.array([[4.0, 4.0, 7.0, 3.0], [9.0, 9.0, 3.0, 7.0]])
    made = majority(classes, lat, lon, grid)
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made, [4, 3, np.nan, np.nan])
    # Three small ones of one class outweigh none: 31 + 31 % of the area are 9, split 4 and 5 have 19 % each.
    np.testing.assert_array_equal(majority(np.array([[9.0, np.nan, 5, 4], [9, 9, 4, 4]]), lat, lon, grid)[:2], [9, 4])
    # One of four, in the south, is 31 % of the area.
    one = np.array([[np.nan, 2.0, np.nan, np.nan], [np.nan] * 4])
    np.testing.assert_array_equal(majority(one, lat, lon, grid)[:2], [np.nan, np.nan])
    np.testing.assert_array_equal(majority(one, lat, lon, grid, least_share=0.3)[:2], [2, np.nan])


def test_integers_are_classes_too() -> None:
    lat, lon = np.array([5.0, 15.0]), np.array([5.0, 15.0])
    classes = np.array([[1, 1], [2, 1]], dtype=np.uint8)
    np.testing.assert_array_equal(majority(classes, lat, lon, whole(np.array([10.0]), np.array([10.0, 30.0])))[:1], [1])


def test_the_nearest_point_is_the_one_around_whose_place_it_lies() -> None:
    lat, lon = globe(10.0)
    values = np.arange(lat.size * lon.size, dtype=np.float32).reshape(1, lat.size, lon.size)
    places = Points(np.array([90.0, 4.0, -86.0, 42.0]), np.array([3.0, -4.0, 186.0, -179.0]))
    expected = [values[0, 0, 0], values[0, 9, 0], values[0, 18, 19], values[0, 5, 18]]
    np.testing.assert_array_equal(nearest(values, lat, lon, places)[0], expected)
    region = nearest(
        values[0, 5:8, 2:5], lat[5:8], lon[2:5], Points(np.array([40.0, 40.0, 4.0]), np.array([20, 46, 30]))
    )
    np.testing.assert_array_equal(region, [values[0, 5, 2], np.nan, np.nan])


@pytest.mark.parametrize("resolution", [0.5, 1.0, 4.0, 8.0])
def test_the_target_of_a_global_source_is_the_grid_of_the_planet(resolution: float) -> None:
    grid = target_grid(resolution, *globe(0.5))
    planet = geography(resolution).grid
    np.testing.assert_allclose(grid.lat, planet.lat)
    np.testing.assert_allclose(grid.lon, planet.lon)


def test_the_target_keeps_what_the_source_covers_by_half() -> None:
    lat, lon = 40.05 + 0.1 * np.arange(38), 0.05 + 0.1 * np.arange(55)  # 40 .. 43.8, 0 .. 5.5
    grid = target_grid(1.0, lat, lon)
    np.testing.assert_allclose(grid.lat, [40.5, 41.5, 42.5, 43.5])
    np.testing.assert_allclose(grid.lon, [0.5, 1.5, 2.5, 3.5, 4.5, 5.5])
    grid = target_grid(1.0, lat[:-4], lon[:-1])  # to 43.4 and 5.4
    np.testing.assert_allclose(grid.lat, [40.5, 41.5, 42.5])
    np.testing.assert_allclose(grid.lon, [0.5, 1.5, 2.5, 3.5, 4.5])
    np.testing.assert_array_equal(grid.index, np.arange(15))


@pytest.mark.parametrize(
    ("resolution", "lat", "lon", "message"),
    [
        (
            0.7,
            np.arange(0.0, 9),
            np.arange(9.0),
            "cells of 0.7 degrees do not divide 360 degrees: give a divisor of 360",
        ),
        (0.0, np.arange(0.0, 9), np.arange(9.0), "cells of 0 degrees"),
        (float("nan"), np.arange(0.0, 9), np.arange(9.0), "cells of nan degrees"),
        (0.5, np.arange(0.0, 9), np.arange(9.0), r"0.5 degrees is finer than the data \(1 degrees\)"),
        (90.0, np.arange(0.0, 9), np.arange(9.0), "covers less than half of every cell of 90 degrees"),
        (1.0, np.array([0.0, 1, 3]), np.arange(9.0), "its latitudes are not evenly spaced"),
        (1.0, np.arange(0.0, 9), np.array([0.0, 1, 2, 9, 10]), "its longitudes are not evenly spaced"),
        (1.0, np.array([0.0, np.nan]), np.arange(9.0), "its latitudes"),
        (1.0, np.arange(0.0, 9), np.array([0.0, np.nan, 2]), "its longitudes"),
        (1.0, np.arange(5e6, 5.1e6, 1e4), np.arange(9.0), "its latitudes reach 5.09e.06, beyond the poles"),
        (1.0, np.arange(0.0, 9), 7.0 * np.arange(52), "its longitudes are not evenly spaced"),
        (1.0, np.zeros(1), np.zeros(1), "a grid of 1 x 1 points"),
        (1.0, np.zeros(0), np.arange(9.0), "a grid of 0 x 9 points"),
    ],
)
def test_other_resolutions_and_axes_are_refused(
    resolution: float, lat: np.ndarray, lon: np.ndarray, message: str
) -> None:
    with pytest.raises(SoilcastError, match=rf"^rain\.nc: {message}"):
        target_grid(resolution, lat, lon, where="rain.nc")


def test_one_row_of_points_has_square_cells() -> None:
    lat, lon = np.array([45.0]), 10 + 0.5 * np.arange(8)
    values = np.arange(8, dtype=np.float32).reshape(1, 1, 8)
    grid = Grid(np.array([45.0]), np.array([10.25, 11.25]), np.arange(2))
    np.testing.assert_allclose(conservative(values, lat, lon, grid)[0], [0.5, 2.5], rtol=1e-6)


def test_the_work_can_be_sent_to_another_process() -> None:
    lat, lon = globe(10.0)
    grid = target_grid(20.0, lat, lon)
    work = pickle.loads(pickle.dumps((conservative, (np.ones((1, lat.size, lon.size)), lat, lon, grid))))
    assert (work[0](*work[1]) == 1.0).all()
