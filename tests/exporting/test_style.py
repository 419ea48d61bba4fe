"""Styles for QGIS: the colours of the report's maps, classes as classes, the day of each band."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio

import soilcast
from soilcast.exporting.scales import scale_of
from soilcast.exporting.selecting import open_exportable, select
from soilcast.reporting.drought import CLASSES
from tests.exporting.test_export import made_forecast


@pytest.fixture
def forecast(tmp_path: Path) -> Path:
    made_forecast(tmp_path / "forecast.nc")
    return tmp_path / "forecast.nc"


def style_of(map_file: Path) -> ElementTree.Element:
    path = map_file.with_suffix(".qml")
    assert path.read_text().startswith(
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n<!-- made by soilcast"
    )
    return ElementTree.parse(path).getroot()


def found(root: ElementTree.Element, name: str) -> ElementTree.Element:
    element = root.find(f".//{name}")
    assert element is not None
    return element


def test_classes_are_a_palette_of_the_drought_monitor(forecast: Path, tmp_path: Path) -> None:
    root = style_of(soilcast.export(forecast, tmp_path / "map.tif", variable="swvl1_drought"))
    assert found(root, "rasterrenderer").attrib["type"] == "paletted"
    entries = {
        int(one.attrib["value"]): (one.attrib["label"], one.attrib["color"]) for one in root.iter("paletteEntry")
    }
    assert entries == CLASSES
    vector = style_of(soilcast.export(forecast, tmp_path / "map.geojson", variable="swvl1_drought"))
    renderer = found(vector, "renderer-v2")
    assert (renderer.attrib["type"], renderer.attrib["attr"]) == ("categorizedSymbol", "lead_1")
    assert [int(one.attrib["value"]) for one in vector.iter("category")] == list(CLASSES)
    assert len(list(vector.iter("symbol"))) == len(CLASSES)
    assert found(vector, "symbol").attrib["type"] == "fill"


def test_days_to_dry_are_classes_with_one_for_never(forecast: Path, tmp_path: Path) -> None:
    root = style_of(soilcast.export(forecast, tmp_path / "map.tif", variable="swvl1_days_to_dry"))
    entries = {one.attrib["value"]: one.attrib["label"] for one in root.iter("paletteEntry")}
    assert entries == {"-1": "later than 3 d", "1": "1 d", "2": "2 d", "3": "3 d"}
    assert root.find("temporal") is None, "of all leads together"


@pytest.mark.parametrize("variable", ["swvl1", "swvl1_percentile"])
def test_other_values_have_the_scale_of_the_maps(forecast: Path, tmp_path: Path, variable: str) -> None:
    scale = scale_of(select(*open_exportable(forecast), forecast, variable))
    assert scale is not None
    root = style_of(soilcast.export(forecast, tmp_path / "map.tif", variable=variable))
    items = [(float(one.attrib["value"]), one.attrib["color"]) for one in root.iter("item")]
    assert [colour for _, colour in items] == scale.gradient
    np.testing.assert_allclose([value for value, _ in items], np.linspace(scale.low, scale.high, len(items)), rtol=1e-4)
    vector = style_of(soilcast.export(forecast, tmp_path / "map.geojson", variable=variable, lead=2))
    assert found(vector, "renderer-v2").attrib["attr"] == "lead_2"
    ranges = [
        (float(one.attrib["lower"]), float(one.attrib["upper"])) for one in found(vector, "renderer-v2").iter("range")
    ]
    assert all(low < high for low, high in ranges)
    assert [high for _, high in ranges[:-1]] == [low for low, _ in ranges[1:]]
    assert ranges[0][0] < 0 < 100 < ranges[-1][1], "whatever the value, it has a colour"


def test_each_band_has_its_day_for_qgis_and_for_gdal(forecast: Path, tmp_path: Path) -> None:
    out = soilcast.export(forecast, tmp_path / "map.tif", variable="swvl1", lead=[1, 3])
    root = style_of(out)
    temporal = found(root, "temporal")
    assert (temporal.attrib["enabled"], temporal.attrib["mode"]) == ("1", "3")
    ends = [
        (one.attrib["band"], one.attrib["begin"], one.attrib["end"]) for one in found(root, "temporal").iter("range")
    ]
    assert ends == [
        ("1", "2020-02-28T00:00:00Z", "2020-02-29T00:00:00Z"),
        ("2", "2020-03-01T00:00:00Z", "2020-03-02T00:00:00Z"),
    ]
    with rasterio.open(out) as raster:
        days = [raster.tags(band, ns="IMAGERY")["ACQUISITIONDATETIME"] for band in raster.indexes]
    assert days == ["2020-02-28T00:00:00Z", "2020-03-01T00:00:00Z"]


def test_places_are_points(tmp_path: Path) -> None:
    made_forecast(tmp_path / "places.nc", None)
    vector = style_of(soilcast.export(tmp_path / "places.nc", tmp_path / "p.geojson", variable="swvl1"))
    assert found(vector, "symbol").attrib["type"] == "marker"
    assert found(vector, "layerGeometryType").text == "0"


def test_a_map_without_any_value_has_a_style_without_colours(tmp_path: Path) -> None:
    made = made_forecast(tmp_path / "forecast.nc")
    made_forecast(tmp_path / "none.nc", swvl1=made["swvl1"].where(False))
    root = style_of(soilcast.export(tmp_path / "none.nc", tmp_path / "map.tif", variable="swvl1"))
    assert root.find(".//rasterrenderer") is None
