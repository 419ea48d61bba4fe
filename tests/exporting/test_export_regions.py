"""Exports by region: tables and maps of means, with their quantiles, percentile, class and odds, from one command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
from PIL import Image

import soilcast
from soilcast.cube import open_cube, open_forecast
from soilcast.errors import SoilcastError
from soilcast.regions.forecasts import regional_forecast
from soilcast.regions.means import regional_mean
from soilcast.regions.weights import open_regions
from tests.helpers.region_files import write_regions
from tests.helpers.regional import NORTH, SOUTH, districts, made_forecast, made_record
from tests.test_commands import refusal, run

COLUMNS = [
    "swvl1",
    "swvl1_mean",
    *(f"swvl1_quantile_{level}" for level in ("05", "25", "50", "75", "95")),
    "swvl1_anomaly",
    "swvl1_percentile",
    "swvl1_drought",
    "swvl1_probability_dry",
    *(f"swvl1_drought_probability_D{number}" for number in range(5)),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exports")
    made_forecast(path / "forecast", made_record(path / "cube"))
    districts(path / "districts.gpkg")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_has_all_that_is_forecast_of_each_region_issue_day_and_lead(
    folder: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"t.{suffix}"
    told, _ = run(
        "export", folder / "forecast", "--regions", folder / "districts.gpkg", "--cube", folder / "cube", "--out", out
    )
    assert "1 of 4 regions have no cell, and are left out (Sea)" in told
    table = pd.read_csv(out) if suffix == "csv" else pd.read_parquet(out)
    assert set(table) == {"cell", "cell_name", "lat", "lon", "issue_date", "lead", "valid_date", *COLUMNS}
    assert len(table) == 3 * 2 * 3
    assert table["cell_name"].drop_duplicates().tolist() == ["North", "South", "Tiny"]
    forecast = open_forecast(folder / "forecast")
    expected = regional_forecast(
        forecast, open_regions(folder / "districts.gpkg", forecast), open_cube(folder / "cube")
    )
    row = table[(table["cell_name"] == "South") & (table["issue_date"] == "2004-03-02") & (table["lead"] == 3)].iloc[0]
    there = expected.isel(cell=1, time=1, lead=2)
    assert row["swvl1_quantile_95"] == pytest.approx(float(there["swvl1_quantile"][4]), rel=1e-6)
    assert row["swvl1_percentile"] == pytest.approx(float(there["swvl1_percentile"]), rel=1e-6)
    assert row["swvl1_drought_probability_D1"] == pytest.approx(float(there["swvl1_drought_probability"][1]), abs=1e-6)
    assert row["swvl1_drought"] == int(there["swvl1_drought"])


def test_geojson_has_the_outlines_of_the_regions(folder: Path, tmp_path: Path) -> None:
    out = soilcast.export(
        folder / "forecast",
        tmp_path / "m.geojson",
        variable="swvl1_drought",
        issue="2004-03-01",
        regions=folder / "districts.gpkg",
        cube=folder / "cube",
    )
    found = json.loads(out.read_text())
    assert (found["regions"], found["license"], found["issue_date"]) == ("districts.gpkg", "CC0", "2004-03-01")
    shapes = [shapely.geometry.shape(feature["geometry"]) for feature in found["features"]]
    assert shapely.equals(shapes[0], NORTH)
    assert shapely.equals(shapes[1], SOUTH)
    assert all(shape.exterior.is_ccw for shape in shapes)
    assert [feature["properties"]["cell_name"] for feature in found["features"]] == ["North", "South", "Tiny"]
    assert 'type="fill"' in (tmp_path / "m.qml").read_text()


def test_outlines_are_cut_at_the_date_line(tmp_path: Path) -> None:
    from soilcast.cube import Grid, cells_of_grid
    from soilcast.regions.reading import Outlines
    from soilcast.regions.weights import weigh_cells

    grid = Grid(np.array([0.0, -2.0]), -180.0 + 2.0 * np.arange(180), np.arange(360))
    import xarray as xr

    coordinates = cells_of_grid(grid)
    cells = xr.Dataset({"area": coordinates.pop("area")}, coordinates)
    geometry = np.array([shapely.box(175, -2, 187, 0), shapely.box(350, -2, 355, 0)], dtype=object)
    across, west = weigh_cells(Outlines("made", ("a", "b"), geometry), cells).outlines
    assert shapely.equals(across, shapely.MultiPolygon([shapely.box(175, -2, 180, 0), shapely.box(-180, -2, -173, 0)]))
    assert shapely.equals(west, shapely.box(-10, -2, -5, 0))


def test_a_map_fills_the_regions(folder: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"variable": "swvl1", "lead": 1, "issue": "2004-03-01"}
    by_region = soilcast.export(folder / "forecast", tmp_path / "r.png", regions=folder / "districts.gpkg", **given)
    with Image.open(by_region) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    colours, count = np.unique(pixels, axis=0, return_counts=True)
    # Two large regions, each in the colour of its mean.
    saturated = np.ptp(colours.astype(int), axis=1) > 40
    assert (count[saturated] > 0.05 * len(pixels)).sum() == 2


def test_a_cube_is_exported_by_region(folder: Path, tmp_path: Path) -> None:
    out = soilcast.export(folder / "cube", tmp_path / "c.csv", regions=folder / "districts.gpkg", day="2001-06")
    table = pd.read_csv(out)
    assert list(table) == ["cell", "cell_name", "lat", "lon", "date", "swvl1"]
    assert len(table) == 3 * 30
    cube = open_cube(folder / "cube")
    june = cube.sel(time="2001-06")
    expected = regional_mean(june, "swvl1", open_regions(folder / "districts.gpkg", cube))
    np.testing.assert_allclose(table["swvl1"], expected.ravel(), rtol=1e-6)


def test_only_the_days_that_are_wanted_are_read(folder: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"regions": folder / "districts.gpkg"}
    whole = pd.read_csv(soilcast.export(folder / "forecast", tmp_path / "w.csv", **given))
    by_issue = pd.read_csv(soilcast.export(folder / "forecast", tmp_path / "i.csv", issue="2004-03-02", **given))
    by_day = pd.read_csv(soilcast.export(folder / "forecast", tmp_path / "d.csv", day="2004-03-04", lead=2, **given))
    pd.testing.assert_frame_equal(by_issue, whole[whole["issue_date"] == "2004-03-02"].reset_index(drop=True))
    kept = whole[(whole["valid_date"] == "2004-03-04") & (whole["lead"] == 2)].reset_index(drop=True)
    pd.testing.assert_frame_equal(by_day, kept)


def test_what_cannot_be_is_one_line(folder: Path, tmp_path: Path) -> None:
    export = ("export", folder / "forecast", "--out", tmp_path / "t.csv", "--regions")
    sea = write_regions(tmp_path / "sea.geojson", [shapely.box(40, 0, 50, 10)], name=["Sea"])
    assert "sea.geojson: none of its 1 regions has a cell" in refusal(*export, sea)
    assert "no such file of regions" in refusal(*export, tmp_path / "none.gpkg")
    told = refusal(*export, folder / "districts.gpkg", "--region-name", "colour")
    assert "no attribute colour; it has: name: name one with --region-name" in told
    given: dict[str, Any] = {"issue": "2004-03-01", "regions": folder / "districts.gpkg"}
    with pytest.raises(SoilcastError, match="no variable swvl1_percentile by cell"):
        soilcast.export(folder / "forecast", tmp_path / "t.csv", variable="swvl1_percentile", **given)
    with pytest.raises(SoilcastError, match=r"map\.tif: the cells are points without a grid"):
        soilcast.export(folder / "forecast", tmp_path / "map.tif", variable="swvl1", **given)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["sea.geojson"]


def test_without_the_extra_it_is_said(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in [one for one in sys.modules if one.startswith("soilcast.regions.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyogrio", None)
    with pytest.raises(SoilcastError, match=r"regions from files need an extra: pip install 'soilcast\[regions\]'"):
        soilcast.export(folder / "forecast", tmp_path / "t.csv", regions=folder / "districts.gpkg")
