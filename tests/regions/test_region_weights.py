"""The weight of a cell in a region is the area of the cell that lies in it, by an independent computation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from soilcast.cube import Grid, cells_of_grid, cells_of_places
from soilcast.cube.grid import EARTH_RADIUS
from soilcast.errors import SoilcastError
from soilcast.regions.reading import Outlines
from soilcast.regions.weights import Regions, open_regions, weigh_cells
from tests.helpers.region_files import converter, write_regions

LAT, LON = np.array([50.0, 49.0, 48.0]), np.array([4.0, 5.0, 6.0, 7.0])
FULL = Grid(LAT, LON, np.arange(12))
HOLES = Grid(LAT[::-1].copy(), LON, np.array([0, 1, 3, 6, 7, 10]))
WORLD = Grid(88.0 - 4.0 * np.arange(45), -180.0 + 4.0 * np.arange(90), np.arange(45 * 90))


def artifact(grid: Grid) -> xr.Dataset:
    coordinates = cells_of_grid(grid)
    return xr.Dataset({"area": coordinates.pop("area")}, coordinates)


def weighed(grid: Grid, *geometry: Any) -> Regions:
    names = tuple(f"r{number}" for number in range(len(geometry)))
    return weigh_cells(Outlines("made", names, np.array(geometry, dtype=object)), artifact(grid))


def by_hand(grid: Grid, geometry: Any, lat_step: float = 1.0, lon_step: float = 1.0) -> np.ndarray:
    """Area of each cell in a region ``(cell,)`` [m2], cell by cell: shapely's intersection, as a share of the cell."""
    cells = [
        shapely.box(x - lon_step / 2, y - lat_step / 2, x + lon_step / 2, y + lat_step / 2)
        for x, y in zip(grid.cell_lon, grid.cell_lat, strict=True)
    ]
    everywhere = shapely.union_all([shapely.affinity.translate(geometry, turn) for turn in (-360, 0, 360)])
    shares = [cell.intersection(everywhere).area / cell.area for cell in cells]
    south, north = (np.sin(np.radians(grid.cell_lat + step * lat_step / 2)) for step in (-1, 1))
    return np.array(shares) * EARTH_RADIUS**2 * (north - south) * np.radians(lon_step)


degrees = st.floats(0.0, 1.0)


@pytest.mark.parametrize("grid", [FULL, HOLES], ids=["full", "holes"])
@given(west=degrees, east=degrees, south=degrees, north=degrees)
def test_a_rectangle_has_the_area_that_it_covers(
    grid: Grid, west: float, east: float, south: float, north: float
) -> None:
    """Edges anywhere over the cells, and beside them: overlaps of intervals, axis by axis."""
    x, y = np.sort([2.5 + 7 * west, 2.5 + 7 * east]), np.sort([46.5 + 5 * south, 46.5 + 5 * north])
    box = shapely.box(x[0], y[0], x[1], y[1])
    along = [
        np.clip(np.minimum(centre + 0.5, high) - np.maximum(centre - 0.5, low), 0, None)
        for centre, (low, high) in ((grid.cell_lon, x), (grid.cell_lat, y))
    ]
    expected = along[0] * along[1] * grid.cell_area
    if expected.sum() < 1e-3 * grid.cell_area[0]:
        return
    found = weighed(grid, box).weights.toarray()[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * grid.cell_area[0])


@given(
    points=st.lists(st.tuples(st.floats(3.0, 8.0), st.floats(47.0, 51.0)), min_size=3, max_size=8),
    holes=st.booleans(),
)
def test_any_polygon_has_the_area_of_shapelys_intersections(points: list[tuple[float, float]], holes: bool) -> None:
    polygon = shapely.convex_hull(shapely.MultiPoint(points))
    grid = HOLES if holes else FULL
    if polygon.geom_type != "Polygon" or by_hand(grid, polygon).sum() < 1e-3 * FULL.cell_area[0]:
        return
    found = weighed(grid, polygon).weights.toarray()[0]
    np.testing.assert_allclose(found, by_hand(grid, polygon), rtol=1e-5, atol=1e-6 * FULL.cell_area[0])


def test_regions_that_share_out_all_cells_have_their_area_together() -> None:
    """Nothing is lost at borders and nothing counts twice."""
    rng = np.random.default_rng(1)
    cells = shapely.voronoi_polygons(
        shapely.MultiPoint(rng.uniform([3, 47], [8, 51], (20, 2))), extend_to=shapely.box(0, 40, 12, 60)
    )
    regions = weighed(FULL, *shapely.get_parts(cells))
    np.testing.assert_allclose(regions.weights.sum(axis=0), FULL.cell_area, rtol=1e-6)


@pytest.mark.parametrize(
    "geometry",
    [
        shapely.box(170, -10, 190, 10),
        shapely.box(-190, -10, -170, 10),
        shapely.MultiPolygon([shapely.box(170, -10, 180, 10), shapely.box(-180, -10, -170, 10)]),
    ],
    ids=["beyond 180", "beyond -180", "cut"],
)
def test_a_region_across_the_date_line_is_the_same_however_it_is_written(geometry: Any) -> None:
    """The column of cells at 180 degrees is the first of the grid, half of it on either side."""
    found = weighed(WORLD, geometry).weights.toarray()[0]
    np.testing.assert_allclose(found, by_hand(WORLD, geometry, 4.0, 4.0), rtol=1e-5, atol=1.0)
    assert found[(WORLD.cell_lon == -180) & (WORLD.cell_lat == 0)] == pytest.approx(WORLD.cell_area[90 * 22], rel=1e-6)
    assert found.sum() == pytest.approx(EARTH_RADIUS**2 * np.radians(20) * 2 * np.sin(np.radians(10)), rel=2e-3)


def test_longitudes_from_0_to_360_are_those_of_the_grid() -> None:
    chile = shapely.box(285, -40, 290, -20)
    found = weighed(WORLD, chile).weights.toarray()[0]
    np.testing.assert_allclose(found, weighed(WORLD, shapely.box(-75, -40, -70, -20)).weights.toarray()[0], rtol=1e-6)
    places = weighed_places(np.array([288.0, -72.0, 10.0]), np.array([-30.0, -30.0, -30.0]), chile)
    assert places.weights.toarray().tolist() == [[1.0, 1.0, 0.0]]


def weighed_places(lon: np.ndarray, lat: np.ndarray, *geometry: Any) -> Regions:
    coordinates = cells_of_places(lat, lon, np.arange(1.0, 1 + len(lat)), [str(number) for number in range(len(lat))])
    names = tuple(f"r{number}" for number in range(len(geometry)))
    outlines = Outlines("made", names, np.array(geometry, dtype=object))
    return weigh_cells(outlines, xr.Dataset({"area": coordinates.pop("area")}, coordinates))


def test_places_count_alike_where_they_lie_in_a_region() -> None:
    lon, lat = np.array([5.0, 5.5, 9.0, 5.0]), np.array([48.0, 48.5, 48.0, 55.0])
    regions = weighed_places(lon, lat, shapely.box(4, 47, 6, 49), shapely.box(5, 40, 10, 60))
    assert regions.weights.toarray().tolist() == [[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]


def test_a_region_within_a_cell_is_of_that_cell() -> None:
    found = weighed(FULL, shapely.Point(5.1, 49.1).buffer(0.05))
    assert found.weights.nnz == 1
    assert found.weights.sum() == pytest.approx(FULL.cell_area[5] * np.pi * 0.05**2, rel=1e-2)


def test_regions_without_a_cell_are_left_out_and_named() -> None:
    here, sea = shapely.box(4, 48, 6, 50), shapely.box(30, 0, 40, 10)
    regions = weighed(FULL, sea, here)
    assert regions.names == ("r1",)
    assert regions.notes == ("made: 1 of 2 regions have no cell, and are left out (r0)",)
    with pytest.raises(SoilcastError, match=r"made: none of its 1 regions has a cell of 48 \.\. 50 N, 4 \.\. 7 E"):
        weighed(FULL, sea)


def test_a_region_of_which_the_cells_are_a_small_part_is_told() -> None:
    regions = weighed(FULL, shapely.box(4, 48, 20, 50), shapely.box(4, 48, 6, 50))
    (note,) = regions.notes
    assert "cells cover less than half of 1 region(s), whose means are of that part (r0 22%)" in note


def test_an_uneven_grid_is_refused() -> None:
    with pytest.raises(SoilcastError, match="the latitudes of the grid are not evenly spaced, as weighting of cells"):
        weighed(Grid(np.array([50.0, 49.0, 47.4]), LON, np.arange(12)), shapely.box(4, 48, 6, 50))


def test_only_cells_with_values_are_kept_where_that_is_asked_for() -> None:
    regions = weighed(FULL, shapely.box(3.5, 47.5, 7.5, 48.5), shapely.box(3.5, 49.5, 4.5, 50.5))
    kept = regions.of_cells(np.arange(12) >= 9)
    assert kept.names == ("r0",)
    np.testing.assert_allclose(kept.weights.toarray()[0, 9:], FULL.cell_area[9:], rtol=1e-6)
    assert "1 of 2 regions have no cell with a value, and are left out (r1)" in kept.notes[-1]
    with pytest.raises(SoilcastError, match="none of its 2 regions has a cell with a value"):
        regions.of_cells(np.arange(12) == 6)


def test_files_of_mixed_coordinate_systems_weigh_alike(tmp_path: Path) -> None:
    dense = shapely.segmentize(shapely.box(4.2, 47.7, 6.4, 49.3), 0.01)
    moved = shapely.transform(dense, converter("EPSG:4326", "EPSG:3035"))
    one = open_regions(write_regions(tmp_path / "a.geojson", [dense], name=["x"]), artifact(FULL))
    other = open_regions(write_regions(tmp_path / "b.shp", [moved], crs="EPSG:3035", name=["x"]), artifact(FULL))
    assert one.names == other.names
    np.testing.assert_allclose(other.weights.toarray(), one.weights.toarray(), rtol=1e-4)


def test_a_place_within_each_region_stands_for_it() -> None:
    moon = shapely.Point(5, 49).buffer(1).difference(shapely.Point(5.3, 49).buffer(0.9))
    regions = weighed(FULL, moon, shapely.box(363.5, 47.5, 367.5, 50.5))
    lat, lon = regions.places
    assert moon.contains(shapely.Point(lon[0], lat[0]))
    assert 3.5 < lon[1] < 7.5
