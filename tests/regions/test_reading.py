"""Regions are read from any file of a GIS: mended, named, in degrees; what is wrong with a file is one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shapely

from soilcast.errors import SoilcastError
from soilcast.regions.reading import read_outlines
from tests.helpers.region_files import converter, write_regions

WEST, EAST = shapely.box(5.0, 47.0, 6.0, 49.0), shapely.box(6.0, 47.0, 8.0, 49.0)
BOW_TIE = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])


@pytest.mark.parametrize("ending", [".geojson", ".gpkg", ".shp"])
def test_every_format_gives_the_same_regions(tmp_path: Path, ending: str) -> None:
    path = write_regions(tmp_path / f"districts{ending}", [WEST, EAST], NAME=["Vosges", "Alsace"], area=[1.0, 2.0])
    found = read_outlines(path)
    assert found.names == ("Vosges", "Alsace")
    assert shapely.equals(found.geometry, np.array([WEST, EAST])).all()
    assert found.notes == (f"districts{ending}: regions are named by the attribute NAME",)


@pytest.mark.parametrize(("crs", "tolerance"), [("EPSG:3035", 1e-3), ("EPSG:32632", 1e-3), ("EPSG:4269", 1e-9)])
def test_any_coordinate_system_becomes_degrees(tmp_path: Path, crs: str, tolerance: float) -> None:
    """The outlines of a projected rectangle bend: points along its edges are where the projection has them."""
    dense = shapely.segmentize(WEST, 0.01)
    moved = shapely.transform(dense, converter("EPSG:4326", crs))
    path = write_regions(tmp_path / "districts.gpkg", [moved], crs=crs, name=["Vosges"])
    (found,) = read_outlines(path).geometry
    assert shapely.area(shapely.symmetric_difference(found, WEST)) < tolerance
    # A rectangle of the projection, of four corners alone.
    frame = shapely.box(*moved.bounds)
    (bent,) = read_outlines(write_regions(tmp_path / "frame.gpkg", [frame], crs=crs, name=["frame"])).geometry
    middle = np.array([[(frame.bounds[0] + frame.bounds[2]) / 2, frame.bounds[3]]])
    assert shapely.distance(bent, shapely.points(converter(crs, "EPSG:4326")(middle))[0]) < 1e-4


def test_regions_are_converted_beside_grib(tmp_path: Path) -> None:
    """The copy of PROJ that eccodes brings must not answer for others."""
    path = write_regions(tmp_path / "a.gpkg", [shapely.box(4e6, 2.8e6, 4.1e6, 2.9e6)], crs="EPSG:3035", name=["box"])
    program = """
import sys
from pathlib import Path
from soilcast.eccodes_library import load_eccodes

load_eccodes().codes_grib_new_from_samples("regular_ll_sfc_grib2")
from soilcast.regions.reading import read_outlines

print(*read_outlines(Path(sys.argv[1])).geometry[0].centroid.coords[0])
"""
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    found = [float(one) for one in done.stdout.split()]
    middle = converter("EPSG:3035", "EPSG:4326")(np.array([[4.05e6, 2.85e6]]))[0]
    np.testing.assert_allclose(found, middle, atol=0.01)


def test_invalid_polygons_are_mended_and_told(tmp_path: Path) -> None:
    found = read_outlines(write_regions(tmp_path / "a.geojson", [BOW_TIE, WEST], name=["tie", "box"]))
    assert shapely.is_valid(found.geometry).all()
    assert found.geometry[0].area == pytest.approx(2.0)
    assert "1 of 2 polygons are invalid (they cross themselves), and are mended" in found.notes[0]


def test_what_is_no_polygon_is_left_out_and_told(tmp_path: Path) -> None:
    mixed = [shapely.Point(1, 2), WEST, None, shapely.GeometryCollection([EAST, shapely.Point(3, 4)])]
    path = write_regions(tmp_path / "mixed.gpkg", mixed, name=["point", "Vosges", "nothing", "Alsace"])
    found = read_outlines(path)
    assert found.names == ("Vosges", "Alsace")
    assert shapely.equals(found.geometry, np.array([WEST, EAST])).all()
    assert "2 of 4 features are no polygons with an area, and are left out" in found.notes[0]


def test_features_of_one_name_are_one_region(tmp_path: Path) -> None:
    path = write_regions(tmp_path / "a.gpkg", [WEST, shapely.box(0, 0, 1, 1), EAST], name=["here", "there", "here"])
    found = read_outlines(path)
    assert found.names == ("here", "there")
    assert shapely.equals(found.geometry[0], shapely.box(5, 47, 8, 49))
    assert any("1 names are of several features, which are one region each (here)" in note for note in found.notes)


def test_names_are_what_is_asked_for_or_obvious(tmp_path: Path) -> None:
    path = write_regions(tmp_path / "a.gpkg", [WEST, EAST], kind=["a", "a"], number=[7.0, 8.0], text=["x", ""])
    assert read_outlines(path).names == ("7", "8")
    assert read_outlines(path, "text").names == ("x", "region 2")
    bare = tmp_path / "bare.geojson"
    bare.write_text(json.dumps(shapely.geometry.mapping(shapely.MultiPolygon([WEST, shapely.box(0, 0, 1, 1)]))))
    assert read_outlines(bare).names == ("region 1",)
    with pytest.raises(SoilcastError, match=r"a\.gpkg: no attribute colour; it has: kind, number, text: name one"):
        read_outlines(path, "colour")


def test_a_layer_is_named_as_qgis_does(tmp_path: Path) -> None:
    path = write_regions(tmp_path / "a.gpkg", [WEST], layer="west", name=["Vosges"])
    write_regions(path, [EAST], layer="east", append=True, name=["Alsace"])
    assert read_outlines(f"{path}|layername=east").names == ("Alsace",)
    with pytest.raises(SoilcastError, match=r"several layers \(west, east\): name one as '.*a\.gpkg\|layername=west'"):
        read_outlines(path)
    with pytest.raises(SoilcastError, match="no layer south; it has: west, east"):
        read_outlines(f"{path}|layername=south")


def test_a_polygon_around_the_earth_is_doubted(tmp_path: Path) -> None:
    fiji = shapely.Polygon([(177, -20), (-178, -20), (-178, -16), (177, -16)])
    antarctica = shapely.box(-180, -90, 180, -60)
    found = read_outlines(write_regions(tmp_path / "a.gpkg", [fiji, antarctica, WEST], name=["Fiji", "South", "West"]))
    assert any("edges of Fiji go more than half around the Earth" in note for note in found.notes)
    rest = write_regions(tmp_path / "b.gpkg", [antarctica, WEST], name=["South", "West"])
    assert not any("half around" in note for note in read_outlines(rest).notes)


def test_without_a_coordinate_system_degrees_are_assumed_and_told(tmp_path: Path) -> None:
    path = write_regions(tmp_path / "a.shp", [WEST], crs=None, name=["Vosges"])
    assert any("longitude and latitude are assumed" in note for note in read_outlines(path).notes)
    metres = write_regions(tmp_path / "b.shp", [shapely.box(4e6, 2e6, 5e6, 3e6)], crs=None, name=["Vosges"])
    with pytest.raises(SoilcastError, match=r"b\.shp: its coordinates .* are no longitudes and latitudes"):
        read_outlines(metres)


FAULTS = {
    "none.gpkg": (None, "no such file of regions"),
    "regions.kml": (b"<kml/>", "unknown kind of file of regions: give one that ends in .geojson"),
    "page.geojson": (b"<OGRVRTDataSource/>", "its content is not what its name says"),
    "cut.geojson": (b'{"type": "FeatureCollection", "features": [{', r"cannot be read as regions \(.*\): damaged"),
    "other.geojson": (b'{"a": 1}', "cannot be read as regions"),
    "nothing.geojson": (b"", "its content is not what its name says"),
    "empty.geojson": (b'{"type": "FeatureCollection", "features": []}', "it has no polygon"),
    "cut.gpkg": (b"SQLite format 3\0" + b"\0" * 500, "cannot be read as regions"),
    "cut.shp": (b"\0\0'\n" + b"\0" * 20, "cannot be read as regions"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_file_is_one_line(tmp_path: Path, name: str) -> None:
    content, told = FAULTS[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SoilcastError, match=told) as raised:
        read_outlines(tmp_path / name)
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_coordinate_system_that_is_none_of_the_earth_is_refused(tmp_path: Path) -> None:
    local = 'LOCAL_CS["site",UNIT["metre",1]]'
    path = write_regions(tmp_path / "a.shp", [shapely.box(0, 0, 10, 10)], crs=local, name=["site"])
    with pytest.raises(SoilcastError, match="its coordinate system cannot be converted to degrees"):
        read_outlines(path)
    beyond = write_regions(tmp_path / "b.gpkg", [shapely.box(1e9, 0, 2e9, 1e9)], crs="EPSG:32632", name=["far"])
    with pytest.raises(SoilcastError, match="lie outside its coordinate system"):
        read_outlines(beyond)
