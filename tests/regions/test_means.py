"""Means over regions: by area, of what has values; the record of regions is a cube."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
import xarray as xr

from soilcast.cube import open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.regions.means import LEAST_KNOWN, regional_cube, regional_mean
from soilcast.regions.reading import Outlines
from soilcast.regions.weights import Regions, open_regions, weigh_cells
from tests.helpers.regional import GRID, NORTH, SOUTH, TINY, districts, made_record


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("means")
    made_record(path / "cube", days=800)
    districts(path / "districts.gpkg")
    return path


def test_a_mean_is_weighted_by_the_area_of_each_cell_in_the_region(folder: Path) -> None:
    cube = open_cube(folder / "cube")
    regions = open_regions(folder / "districts.gpkg", cube)
    assert regions.names == ("North", "South", "Tiny")
    found = regional_mean(cube, "swvl1", regions)
    values = cube["swvl1"].to_numpy().astype(np.float64)
    for region, polygon in enumerate((NORTH, SOUTH, TINY)):
        cells = [
            shapely.box(x - 0.5, y - 0.5, x + 0.5, y + 0.5) for x, y in zip(GRID.cell_lon, GRID.cell_lat, strict=True)
        ]
        weights = np.array([cell.intersection(polygon).area for cell in cells]) * GRID.cell_area
        np.testing.assert_allclose(found[region], np.average(values, axis=0, weights=weights), rtol=1e-5)


def test_a_region_of_all_cells_has_the_mean_of_all_cells(folder: Path) -> None:
    """Water is neither made nor lost by the weights."""
    cube = open_cube(folder / "cube")
    whole = weigh_cells(Outlines("made", ("all",), np.array([shapely.box(0, 40, 20, 60)], dtype=object)), cube)
    expected = np.average(cube["swvl1"], axis=0, weights=cube["area"])
    np.testing.assert_allclose(regional_mean(cube, "swvl1", whole)[0], expected, rtol=1e-5)
    np.testing.assert_allclose(regional_mean(cube, "slthick1", whole), [0.07], rtol=1e-6)


def test_blocks_of_cells_and_days_do_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cube = open_cube(folder / "cube")
    regions = open_regions(folder / "districts.gpkg", cube)
    whole = regional_mean(cube, "swvl1", regions)
    monkeypatch.setattr("soilcast.regions.means.CELL_CHUNK", 4)
    monkeypatch.setattr("soilcast.regions.means.DAY_CHUNK", 100)
    np.testing.assert_allclose(regional_mean(cube, "swvl1", regions), whole, rtol=1e-6)


def test_a_mean_is_of_what_is_known_if_that_is_nearly_all() -> None:
    values = np.array([[1.0, 1.0, np.nan], [2.0, np.nan, np.nan], [3.0, 3.0, 3.0]], dtype=np.float32)
    shares = np.array([[0.5, (1 - LEAST_KNOWN) * 0.9, 0.0], [0.5, 0.3, 0.2]])
    shares[:, 2] = 1 - shares[:, 0] - shares[:, 1]
    from scipy.sparse import csr_array

    regions = Regions("made", ("a", "b"), np.array([NORTH, SOUTH], dtype=object), csr_array(shares))
    found = regional_mean(xr.Dataset({"x": (("cell", "time"), values)}), "x", regions)
    kept = shares[0, [0, 2]]
    np.testing.assert_allclose(found[0, 1], np.average([1.0, 3.0], weights=kept), rtol=1e-6)
    assert np.isnan(found[1, 1])
    assert np.isnan(found[:, 2]).all()
    np.testing.assert_allclose(found[:, 0], shares @ values[:, 0], rtol=1e-6)


def test_the_record_of_regions_is_a_cube(folder: Path, tmp_path: Path) -> None:
    cube = open_cube(folder / "cube")
    regions = open_regions(folder / "districts.gpkg", cube)
    save_cube(regional_cube(cube, regions, ["swvl1"]), tmp_path / "regions")
    made = open_cube(tmp_path / "regions")
    assert made["cell_name"].to_numpy().tolist() == ["North", "South", "Tiny"]
    np.testing.assert_array_equal(made["swvl1"], regional_mean(cube, "swvl1", regions))
    assert made.attrs["title"] == "a record, means of regions of districts.gpkg"
    assert made.attrs["content"] == "random numbers"
    assert NORTH.contains(shapely.Point(float(made["lon"][0]), float(made["lat"][0])))
    with pytest.raises(SoilcastError, match="no swvl3: give a cube with it"):
        regional_cube(cube, regions, ["swvl1", "swvl3"])
