"""The cells within a box or a file of regions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely

from soilcast.cube import Grid
from soilcast.errors import SoilcastError
from soilcast.files import sha256_of
from soilcast.regions.within import cells_within
from tests.helpers.region_files import write_regions
from tests.regions.test_region_weights import FULL, WORLD, artifact


def test_a_box_has_the_cells_whose_centres_lie_in_it() -> None:
    found = cells_within("4.5,48,6,49.2", artifact(FULL))
    inside = (FULL.cell_lon >= 4.5) & (FULL.cell_lon <= 6) & (FULL.cell_lat >= 48) & (FULL.cell_lat <= 49.2)
    np.testing.assert_array_equal(found.cells, inside)
    assert found.record == {"box": "4.5,48,6,49.2"}
    assert found.notes == ("4 of 12 cells lie within 4.5,48,6,49.2; the others are left out",)


@pytest.mark.parametrize("box", ["170,-20,-170,20", "170,-20,190,20"])
def test_a_box_may_cross_the_date_line(box: str) -> None:
    found = cells_within(box, artifact(WORLD))
    inside = (np.abs(WORLD.cell_lon) >= 170) & (np.abs(WORLD.cell_lat) <= 20)
    np.testing.assert_array_equal(found.cells, inside)


def test_a_file_has_the_cells_of_all_its_regions(tmp_path: Path) -> None:
    here, there = shapely.box(3, 47, 4.5, 51), shapely.box(365.5, 47, 366.5, 51)
    path = write_regions(tmp_path / "a.gpkg", [here, there], name=["a", "b"])
    found = cells_within(path, artifact(FULL))
    np.testing.assert_array_equal(found.cells, np.isin(FULL.cell_lon, [4.0, 6.0]))
    assert found.record == {"file": "a.gpkg", "sha256": sha256_of(path)}
    assert found.notes[-1] == f"6 of 12 cells lie within {path}; the others are left out"


def test_an_area_without_a_cell_is_refused() -> None:
    with pytest.raises(SoilcastError, match=r"--within 20,0,30,10: none of the 12 cells \(48 \.\. 50 N, 4 \.\. 7 E\)"):
        cells_within("20,0,30,10", artifact(FULL))


@pytest.mark.parametrize("box", ["5,50,6,40", "5,40,5,50", "5,40,400,50", "nan,40,6,50"])
def test_what_is_no_box_is_refused(box: str) -> None:
    with pytest.raises(SoilcastError, match="no box: write west, south, east and north edge"):
        cells_within(box, artifact(FULL))


def test_a_word_that_is_no_box_is_a_file() -> None:
    with pytest.raises(SoilcastError, match="5,6,7: no such file of regions"):
        cells_within("5,6,7", artifact(FULL))


def test_a_box_needs_no_library_of_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "soilcast.regions.reading", None)
    grid = Grid(np.array([1.0]), np.array([2.0, 3.0]), np.arange(2))
    assert cells_within("1.5,0,2.5,2", artifact(grid)).cells.tolist() == [True, False]
