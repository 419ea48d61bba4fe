"""Export: GeoTIFFs that lie where the cells do, maps and tables of forecasts and cubes, and every refusal."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from PIL import Image

import soilcast
from soilcast.cube import Grid, cells_of_grid, cells_of_places, save_cube, write_dataset
from soilcast.cube.contract import VARIABLES
from soilcast.errors import SoilcastError
from soilcast.products.climate import Climate
from soilcast.products.variables import (
    DAYS_TO_DRY,
    DROUGHT,
    DROUGHT_PROBABILITY,
    PERCENTILE,
    Dryness,
    drought_class_coordinate,
)
from tests.helpers.figure_texts import watched_figures
from tests.helpers.forks import run_command
from tests.helpers.scores_factory import in_region, make_forecast, save_forecast
from tests.helpers.small import few, small_cube

NAN = np.nan
LEADS = [1, 2, 3]
LEVELS = [0.05, 0.5, 0.95]
ISSUES = ["2020-02-27", "2020-02-28"]

REGION = Grid(np.array([52.0, 51.5, 51.0]), np.array([5.0, 5.5, 6.0, 6.5]), np.array([0, 2, 3, 5, 6, 10, 11]))
UPWARD = Grid(REGION.lat[::-1].copy(), REGION.lon, np.array([2, 3, 5, 6, 8, 10, 11]))
GLOBE = Grid(89.0 - 2.0 * np.arange(90), -179.0 + 2.0 * np.arange(180), np.arange(0, 16200, 97))
GAPS = Grid(np.array([60.0, 59.0, 55.0]), np.array([-170.0, -169.0, 169.0]), np.arange(9))
# As written in float32 by others: a tenth of a degree is none.
TENTHS = Grid(
    np.arange(71.8, 55.0, -0.1).astype(np.float32).astype(np.float64),
    np.arange(-10.0, 30.0, 0.1).astype(np.float32).astype(np.float64),
    np.arange(0, 60000, 31),
)
ROW = Grid(np.array([10.0]), np.array([1.0, 2.0]), np.array([0, 1]))
GRIDS: dict[str, tuple[Grid, tuple[float, float, float, float], tuple[int, int]]] = {
    "region": (REGION, (4.75, 50.75, 6.75, 52.25), (3, 4)),
    "upward": (UPWARD, (4.75, 50.75, 6.75, 52.25), (3, 4)),
    "globe": (GLOBE, (-180, -90, 180, 90), (90, 180)),
    "gaps": (GAPS, (-170.5, 54.5, 169.5, 60.5), (6, 340)),
    "tenths": (TENTHS, (-10.05, 55.05, 29.95, 71.85), (168, 400)),
    "row": (ROW, (0.5, 9.5, 2.5, 10.5), (1, 2)),
}
"""Grid; west, south, east and north edge; rows and columns."""


def made_forecast(
    path: Path, grid: Grid | None = REGION, *, issues: list[str] = ISSUES[:1], cells: int = 5, **changes: Any
) -> xr.Dataset:
    """Write a forecast with one missing cell, and give it as it is in memory."""
    if grid is not None:
        coordinates = cells_of_grid(grid)
    else:
        lat, lon = np.linspace(40, 50, cells), np.linspace(-5, 15, cells)
        coordinates = cells_of_places(lat, lon, np.ones(cells), [f"basin {number}" for number in range(cells)])
    size = coordinates["lat"].size
    rng = np.random.default_rng(4)
    quantiles = np.sort(rng.uniform(0.1, 0.4, (size, len(issues), 3, 3)).astype(np.float32), axis=-1)
    quantiles[1] = NAN
    ranks = rng.uniform(0, 100, (size, len(issues), 3)).astype(np.float32)
    classes = rng.integers(-1, 5, (size, len(issues), 3)).astype(np.int8)
    days = rng.choice(np.array([-1, 1, 2, 3], np.int8), (size, len(issues)))
    ranks[1], classes[1], days[1] = NAN, -128, -128
    about = Climate("2010-01-01:2019-12-31", 15, 10), Dryness()
    moisture = VARIABLES["swvl1"].attributes
    dims = ("cell", "time", "lead")
    forecast = xr.Dataset(
        {
            "area": coordinates.pop("area"),
            "swvl1": (dims, quantiles[..., 1], moisture),
            "swvl1_quantile": ((*dims, "quantile"), quantiles, moisture),
            "swvl1_percentile": (dims, ranks, PERCENTILE.attributes("swvl1", *about)),
            "swvl1_drought": (dims, classes, DROUGHT.attributes("swvl1", *about)),
            "swvl1_drought_probability": (
                (*dims, "drought_class"),
                -np.sort(-rng.uniform(0, 1, (size, len(issues), 3, 5)).astype(np.float32), axis=-1),
                DROUGHT_PROBABILITY.attributes("swvl1", *about),
            ),
            "swvl1_days_to_dry": (dims[:2], days, DAYS_TO_DRY.attributes("swvl1", *about)),
        },
        coordinates
        | {
            "time": np.array(issues, dtype="datetime64[ns]"),
            "lead": ("lead", np.array(LEADS, np.int32), {"units": "d"}),
            "quantile": np.array(LEVELS),
            "drought_class": drought_class_coordinate(),
        },
        {
            "soilcast_kind": "forecast",
            "soilcast_format": 4,
            "title": "LSTM: 3 days ahead",
            "content": "synthetic weather",
        },
    )
    write_dataset(forecast.assign(changes), path, netcdf=path.suffix == ".nc")
    return forecast.assign(changes)


@pytest.fixture
def forecast(tmp_path: Path) -> Path:
    made_forecast(tmp_path / "forecast.nc")
    return tmp_path / "forecast.nc"


def at_cells(raster: Any, opened: xr.Dataset, band: int) -> np.ndarray:
    """Values of a band at the places of the cells, as any GIS finds them."""
    places = zip(opened["lon"].to_numpy(), opened["lat"].to_numpy(), strict=True)
    return np.array([values[band - 1] for values in raster.sample(places)])


# GeoTIFF.


@pytest.mark.parametrize("name", GRIDS)
def test_a_geotiff_has_each_value_at_its_place(tmp_path: Path, name: str) -> None:
    grid, bounds, shape = GRIDS[name]
    made = made_forecast(tmp_path / "forecast.nc", grid)
    out = soilcast.export(tmp_path / "forecast.nc", tmp_path / "map.tif", variable="swvl1")
    with rasterio.open(out) as raster:
        assert (raster.count, raster.dtypes[0], raster.crs.to_epsg()) == (3, "float32", 4326)
        assert raster.transform.e < 0 < raster.transform.a
        np.testing.assert_allclose(raster.bounds, bounds, atol=1e-5)
        assert raster.shape == shape
        assert np.isnan(raster.nodata)
        for band in (1, 2, 3):
            expected = made["swvl1"].to_numpy()[:, 0, band - 1]
            np.testing.assert_array_equal(at_cells(raster, made, band), expected)
            assert np.isfinite(raster.read(band)).sum() == np.isfinite(expected).sum()


def test_the_globe_keeps_both_sides_of_the_date_line(tmp_path: Path) -> None:
    grid = Grid(np.array([0.0, -0.5]), -180 + 0.5 * np.arange(720), np.array([0, 719, 720 + 360]))
    made = made_forecast(tmp_path / "forecast.nc", grid)
    out = soilcast.export(tmp_path / "forecast.nc", tmp_path / "map.tif", variable="swvl1", lead=1)
    with rasterio.open(out) as raster:
        values = raster.read(1)
        expected = made["swvl1"].to_numpy()[:, 0, 0]
        np.testing.assert_array_equal([values[0, 0], values[0, 719], values[1, 360]], expected)
        assert raster.bounds.left == -180.25


def test_classes_and_days_are_int8(tmp_path: Path) -> None:
    made = made_forecast(tmp_path / "forecast")
    for variable, bands in (("swvl1_drought", 3), ("swvl1_days_to_dry", 1)):
        out = soilcast.export(tmp_path / "forecast", tmp_path / f"{variable}.tif", variable=variable)
        with rasterio.open(out) as raster:
            assert (raster.count, raster.dtypes[0], raster.nodata) == (bands, "int8", -128)
            expected = made[variable].to_numpy()[:, 0].reshape(-1, bands)
            for band in range(1, bands + 1):
                np.testing.assert_array_equal(at_cells(raster, made, band), expected[:, band - 1])
            assert (raster.read(1) != -128).sum() == 6
            assert "flag_meanings" in raster.tags()


def test_a_geotiff_says_what_it_is(forecast: Path, tmp_path: Path) -> None:
    out = soilcast.export(forecast, tmp_path / "map.tif", variable="swvl1_percentile", lead=[2, 3])
    with rasterio.open(out) as raster:
        tags = raster.tags()
        assert tags["long_name"] == "percentile among the days around the date: volumetric soil water, layer 1"
        assert tags["units"] == "%"
        assert tags["issue_date"] == "2020-02-27"
        assert tags["nature"] == "model forecast, not an observation (trained on synthetic weather)"
        assert tags["title"] == "LSTM: 3 days ahead"
        assert tags["reference_period"] == "2010-01-01:2019-12-31"
        assert raster.units == ("%", "%")
        assert raster.descriptions == (
            "swvl1_percentile, lead 2 d, 2020-02-29",
            "swvl1_percentile, lead 3 d, 2020-03-01",
        )
        assert raster.tags(2)["valid_date"] == "2020-03-01"
        assert raster.tags(2)["lead_days"] == "3"
    one = soilcast.export(forecast, tmp_path / "one.tif", variable="swvl1_percentile", lead=2)
    with rasterio.open(one) as raster:
        assert raster.tags()["valid_date"] == "2020-02-29"


def test_a_geotiff_is_cloud_optimised(forecast: Path, tmp_path: Path) -> None:
    out = soilcast.export(forecast, tmp_path / "map.tif", variable="swvl1_percentile")
    with rasterio.open(out) as raster:
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert raster.tags()["title"] == "LSTM: 3 days ahead"


def test_geojson_has_each_value_in_its_cell(tmp_path: Path) -> None:
    made = made_forecast(tmp_path / "forecast.nc")
    out = soilcast.export(tmp_path / "forecast.nc", tmp_path / "map.geojson", variable="swvl1", lead=[1, 3])
    found = json.loads(out.read_text())
    assert (found["type"], found["units"], found["issue_date"]) == ("FeatureCollection", "m3 m-3", "2020-02-27")
    assert [(one["name"], one["lead_days"], one["valid_date"]) for one in found["properties"]] == [
        ("lead_1", 1, "2020-02-28"),
        ("lead_3", 3, "2020-03-01"),
    ]
    assert len(found["features"]) == made.sizes["cell"]
    for cell, feature in enumerate(found["features"]):
        (ring,) = feature["geometry"]["coordinates"]
        corners = np.array(ring)
        assert (corners[0] == corners[-1]).all()
        x, y = corners[:, 0], corners[:, 1]
        area = float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2)
        assert area > 0, "counterclockwise"
        centre = corners[:-1].mean(axis=0)
        np.testing.assert_allclose(centre, [float(made["lon"][cell]), float(made["lat"][cell])], atol=1e-5)
        for lead in (1, 3):
            wanted = float(made["swvl1"].isel(cell=cell, time=0).sel(lead=lead))
            value = feature["properties"][f"lead_{lead}"]
            assert value is None if np.isnan(wanted) else value == pytest.approx(wanted, rel=1e-6)


def test_geojson_cuts_cells_at_the_date_line_and_has_places_as_points(tmp_path: Path) -> None:
    grid = Grid(np.array([10.0, 8.0]), np.array([-180.0, -178.0, 178.0]), np.arange(6))
    path = tmp_path / "grid.nc"
    made_forecast(path, grid)
    found = json.loads(soilcast.export(path, tmp_path / "g.geojson", variable="swvl1", lead=1).read_text())
    kinds = [feature["geometry"]["type"] for feature in found["features"]]
    assert kinds == ["MultiPolygon", "Polygon", "Polygon"] * 2
    for feature in found["features"]:
        lon = [x for x, _ in np.reshape(feature["geometry"]["coordinates"], (-1, 2))]
        assert -180.0 <= min(lon) <= max(lon) <= 180.0
    made_forecast(tmp_path / "places.nc", None)
    places = json.loads(soilcast.export(tmp_path / "places.nc", tmp_path / "p.geojson", variable="swvl1").read_text())
    first = places["features"][0]
    assert (first["geometry"], first["properties"]["cell_name"]) == (
        {"type": "Point", "coordinates": [-5.0, 40.0]},
        "basin 0",
    )
    assert places["features"][1]["properties"]["lead_2"] is None


def test_leads_come_in_the_order_that_is_given(forecast: Path, tmp_path: Path) -> None:
    out = soilcast.export(forecast, tmp_path / "map.tif", variable="swvl1", lead=[3, 1, 3])
    with rasterio.open(out) as raster:
        assert [raster.tags(band)["lead_days"] for band in raster.indexes] == ["3", "1"]


def test_one_issue_day_of_several_is_exported(tmp_path: Path) -> None:
    made = made_forecast(tmp_path / "forecast.nc", issues=ISSUES)
    out = soilcast.export(tmp_path / "forecast.nc", tmp_path / "map.tif", variable="swvl1", issue="2020-02-28")
    with rasterio.open(out) as raster:
        np.testing.assert_array_equal(at_cells(raster, made, 2), made["swvl1"].to_numpy()[:, 1, 1])
        assert raster.tags(2)["valid_date"] == "2020-03-01"


def test_a_quantile_is_exported_by_its_level(forecast: Path, tmp_path: Path) -> None:
    made = xr.open_dataset(forecast, engine="h5netcdf")
    for number, (variable, level) in enumerate([("swvl1", 0.05), ("swvl1_quantile", 0.05), ("swvl1_quantile", 0.95)]):
        out = soilcast.export(forecast, tmp_path / f"{number}.tif", variable=variable, quantile=level)
        with rasterio.open(out) as raster:
            expected = made["swvl1_quantile"].sel(quantile=level).to_numpy()[:, 0, 0]
            np.testing.assert_array_equal(at_cells(raster, made, 1), expected)
            assert raster.tags()["long_name"] == f"volumetric soil water, layer 1, quantile {level}"


def test_a_cube_is_exported_by_the_day(tmp_path: Path) -> None:
    cube = few(cells=6, days=40)
    save_cube(cube, tmp_path / "cube")
    out = soilcast.export(tmp_path / "cube", tmp_path / "map.tif", variable="swvl1", day="2018-01-03")
    with rasterio.open(out) as raster:
        np.testing.assert_array_equal(at_cells(raster, cube, 1), cube["swvl1"].to_numpy()[:, 2])
        assert raster.tags()["nature"] == "synthetic weather"
        assert raster.tags()["date"] == "2018-01-03"
    out = soilcast.export(tmp_path / "cube", tmp_path / "elevation.tif", variable="elevation")
    with rasterio.open(out) as raster:
        np.testing.assert_array_equal(at_cells(raster, cube, 1), cube["elevation"])


@pytest.mark.parametrize("options", [{}, {"lead": 1}, {"lead": 2}, {"lead": [3]}])
def test_a_forecast_of_a_period_is_exported_by_the_day_that_it_is_of(tmp_path: Path, options: dict[str, Any]) -> None:
    issues = [f"2020-02-{day}" for day in range(20, 30)]
    made = made_forecast(tmp_path / "forecast.nc", issues=issues)
    out = soilcast.export(tmp_path / "forecast.nc", tmp_path / "map.tif", variable="swvl1", day="2020-02-27", **options)
    lead = {"1": 1, "2": 2, "[3]": 3}[str(options.get("lead", 1))]
    with rasterio.open(out) as raster:
        assert raster.count == 1
        expected = made["swvl1"].sel(lead=lead).to_numpy()[:, issues.index(f"2020-02-{27 - lead}")]
        np.testing.assert_array_equal(at_cells(raster, made, 1), expected)
        tags = raster.tags()
        assert tags["nature"] == "model forecast, not an observation (trained on synthetic weather)"
        assert (tags["valid_date"], tags["issue_date"]) == ("2020-02-27", f"2020-02-{27 - lead}")
        assert tags["lead_days"] == str(lead)


def test_a_forecast_of_the_next_day_alone_is_exported_by_either_day(tmp_path: Path) -> None:
    made_forecast(tmp_path / "whole.nc", issues=ISSUES)
    with xr.open_dataset(tmp_path / "whole.nc", engine="h5netcdf") as whole:
        write_dataset(whole.load().isel(lead=[0]), tmp_path / "forecast.nc", netcdf=True)
    given: dict[str, Any] = {"variable": "swvl1"}
    by_issue = soilcast.export(tmp_path / "forecast.nc", tmp_path / "i.csv", issue="2020-02-28", **given)
    by_day = soilcast.export(tmp_path / "forecast.nc", tmp_path / "d.csv", day="2020-02-29", **given)
    assert by_issue.read_bytes() == by_day.read_bytes()
    assert rows_of(by_day)[0]["valid_date"] == "2020-02-29"
    out = tmp_path / "map.tif"
    refused("choose one with --issue or --day", source=tmp_path / "forecast.nc", out=out)


def test_values_that_do_not_fit_int8_stay_what_they_are(tmp_path: Path) -> None:
    odd = np.full((7, 1, 3), 2.0, np.float32)
    odd[0] = 1000.0
    made_forecast(tmp_path / "forecast.nc", odd=(("cell", "time", "lead"), odd, {"flag_values": [2, 1000]}))
    out = soilcast.export(tmp_path / "forecast.nc", tmp_path / "map.tif", variable="odd")
    with rasterio.open(out) as raster:
        assert raster.dtypes[0] == "float32"
        assert np.nanmax(raster.read(1)) == 1000


# CSV.


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_probability_is_exported_by_its_drought_class(forecast: Path, tmp_path: Path) -> None:
    given = {"variable": "swvl1_drought_probability", "drought_class": "D2", "lead": 1, "issue": ISSUES[0]}
    with xr.open_dataset(forecast) as made:
        expected = made["swvl1_drought_probability"].sel(drought_class="D2").to_numpy()[:, 0, 0]
    with rasterio.open(soilcast.export(forecast, tmp_path / "odds.tif", **given)) as raster:
        assert raster.tags()["long_name"].endswith("or a drier one: volumetric soil water, layer 1, D2")
        np.testing.assert_array_equal(np.sort(raster.read(1)[np.isfinite(raster.read(1))]), np.sort(expected))
    rows = rows_of(soilcast.export(forecast, tmp_path / "odds.csv", **given))
    assert {row["drought_class"] for row in rows} == {"D2"}
    values = [float(row["swvl1_drought_probability"]) for row in rows]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    soilcast.export(forecast, tmp_path / "odds.png", **given)


def test_a_table_has_a_line_for_each_lead_and_cell(tmp_path: Path) -> None:
    made = made_forecast(tmp_path / "forecast.nc", None)
    rows = rows_of(soilcast.export(tmp_path / "forecast.nc", tmp_path / "table.csv", variable="swvl1"))
    assert list(rows[0]) == ["cell", "cell_name", "lat", "lon", "issue_date", "lead", "valid_date", "swvl1"]
    assert len(rows) == 15
    for number, row in enumerate(rows):
        cell, lead = divmod(number, 3)
        assert row["cell_name"] == f"basin {cell}"
        assert float(row["lat"]) == made["lat"][cell]
        assert float(row["lon"]) == made["lon"][cell]
        assert row["issue_date"] == "2020-02-27"
        assert (row["lead"], row["valid_date"]) == (str(lead + 1), ("2020-02-28", "2020-02-29", "2020-03-01")[lead])
        expected = made["swvl1"].to_numpy()[cell, 0, lead]
        if cell == 1:
            assert row["swvl1"] == ""
        else:
            assert float(row["swvl1"]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_has_all_days(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one command, block by block of cells, each value once and beside its cell, day and lead."""
    monkeypatch.setattr("soilcast.exporting.table._ROWS", 14)  # two cells
    made = made_forecast(tmp_path / "forecast", None, issues=["2020-02-27", "2020-02-28", "2020-03-01"])
    out = soilcast.export(tmp_path / "forecast", tmp_path / f"table.{suffix}", variable="swvl1_drought")
    table = pd.read_csv(out) if suffix == "csv" else pd.read_parquet(out)
    assert len(table) == 5 * 3 * 3
    expected = made["swvl1_drought"].to_series().rename("expected")
    days, leads = pd.to_datetime(table["issue_date"]), table["lead"]
    index = pd.MultiIndex.from_arrays([table["cell"], days, leads])
    values = expected.where(expected != -128).loc[index].to_numpy()
    np.testing.assert_array_equal(table["swvl1_drought"].to_numpy(dtype=float, na_value=np.nan), values)
    assert (pd.to_datetime(table["valid_date"]) == days + pd.to_timedelta(leads, "D")).all()
    assert not index.duplicated().any()


@pytest.mark.parametrize("ending", [".csv", ".geojson", ".parquet", ".png", ".tif"])
def test_what_it_wrote_is_replaced_if_told(forecast: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"map{ending}"
    for overwrite in (False, True):
        soilcast.export(forecast, out, variable="swvl1_percentile", lead=1, overwrite=overwrite)
    with pytest.raises(SoilcastError, match="exists already"):
        soilcast.export(forecast, out, variable="swvl1_percentile", lead=1)
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".")]


def test_a_table_of_a_period(tmp_path: Path) -> None:
    made_forecast(tmp_path / "forecast.nc", issues=["2020-02-27", "2020-02-28", "2020-03-01"])
    given: dict[str, Any] = {"source": tmp_path / "forecast.nc", "variable": "swvl1"}
    rows = rows_of(soilcast.export(**given, out=tmp_path / "february.csv", issue="2020-02"))
    assert {row["issue_date"] for row in rows} == {"2020-02-27", "2020-02-28"}
    rows = rows_of(soilcast.export(**given, out=tmp_path / "march.csv", day="2020-03", lead=2))
    assert {(row["issue_date"], row["valid_date"]) for row in rows} == {
        ("2020-02-28", "2020-03-01"),
        ("2020-03-01", "2020-03-03"),
    }
    save_cube(few(cells=3, days=10), tmp_path / "cube")
    rows = rows_of(soilcast.export(tmp_path / "cube", tmp_path / "c.csv", variable="tp"))
    assert len(rows) == 30
    assert list(rows[0]) == ["cell", "lat", "lon", "date", "tp"]
    assert rows[1]["date"] == "2018-01-02"


def test_parquet_without_the_extra_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_forecast(tmp_path / "forecast.nc")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SoilcastError, match="Parquet needs an extra"):
        soilcast.export(tmp_path / "forecast.nc", tmp_path / "table.parquet", variable="swvl1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forecast.nc"]


def test_a_table_of_classes_has_whole_numbers(tmp_path: Path) -> None:
    made = made_forecast(tmp_path / "forecast")
    rows = rows_of(soilcast.export(tmp_path / "forecast", tmp_path / "table.csv", variable="swvl1_drought", lead=2))
    expected = made["swvl1_drought"].to_numpy()[:, 0, 1]
    assert [row["swvl1_drought"] for row in rows] == ["" if value == -128 else str(value) for value in expected]
    assert "cell_name" not in rows[0]


def test_tables_of_quantiles_cubes_and_static_variables(tmp_path: Path, forecast: Path) -> None:
    rows = rows_of(soilcast.export(forecast, tmp_path / "q.csv", variable="swvl1", quantile=0.05, lead=1))
    assert (rows[0]["quantile"], set(rows[0])) == ("0.05", set(rows[0]) | {"swvl1_quantile"})
    save_cube(few(cells=3, days=10), tmp_path / "cube")
    rows = rows_of(soilcast.export(tmp_path / "cube", tmp_path / "c.csv", variable="tp", day="2018-01-02"))
    assert list(rows[0]) == ["cell", "lat", "lon", "date", "tp"]
    rows = rows_of(soilcast.export(tmp_path / "cube", tmp_path / "s.csv", variable="elevation"))
    assert list(rows[0]) == ["cell", "lat", "lon", "elevation"]


# PNG.


def pixels_of(path: Path) -> np.ndarray:
    """Colours of the pixels ``(row, column)``, each as one number."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        red, green, blue = np.moveaxis(np.asarray(picture.convert("RGB")).astype(int), -1, 0)
    assert red.shape[1] > 1000
    return (red << 16) + (green << 8) + blue


_D4 = 0x730000


@pytest.mark.parametrize("worst", [-1, 4])
def test_a_drawn_map_shows_the_drought_that_there_is(tmp_path: Path, worst: int) -> None:
    made = made_forecast(tmp_path / "forecast.nc")
    classes = made["swvl1_drought"].copy(data=np.full((7, 1, 3), worst, np.int8))
    made_forecast(tmp_path / "dry.nc", swvl1_drought=classes)
    out = soilcast.export(tmp_path / "dry.nc", tmp_path / "map.png", variable="swvl1_drought", lead=1)
    pixels = pixels_of(out)
    # The scale below the map shows every class.
    assert (pixels == _D4).any()
    assert (pixels[: len(pixels) // 2] == _D4).any() == (worst == 4)


def test_maps_of_several_leads_grow_by_rows(forecast: Path, tmp_path: Path) -> None:
    heights = []
    for number, leads in enumerate(([1, 2], [1, 2, 3])):
        out = soilcast.export(forecast, tmp_path / f"{number}.png", variable="swvl1_percentile", lead=leads)
        with Image.open(out) as picture:
            heights.append(picture.height)
    assert heights[1] > 1.4 * heights[0]


@pytest.mark.parametrize("variable", ["swvl1", "swvl1_days_to_dry"])
def test_places_are_drawn_as_dots(tmp_path: Path, variable: str) -> None:
    made_forecast(tmp_path / "forecast", None)
    out = soilcast.export(tmp_path / "forecast", tmp_path / "map.png", variable=variable)
    assert len(np.unique(pixels_of(out))) > 20


@pytest.mark.slow
def test_a_day_of_a_cube_is_drawn(tmp_path: Path) -> None:
    save_cube(small_cube(cells=12, days=20), tmp_path / "cube")
    out = soilcast.export(tmp_path / "cube", tmp_path / "map.png", variable="t2m", day="2018-01-04")
    assert len(np.unique(pixels_of(out))) > 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("leads", "where"), [(1, "region"), (1, "places"), (2, "world"), (10, "world"), (10, "region")]
)
def test_no_text_of_a_drawn_map_lies_on_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leads: int, where: str
) -> None:
    title = "multi-day, ensemble of five, without weather of the days ahead: ten days ahead of swvl1 in a long title"
    made = make_forecast(
        targets=("swvl1",), leads=leads, cells=9 if where == "region" else 40, gridded=where == "world", title=title
    )
    save_forecast(in_region(made) if where == "region" else made, tmp_path / "forecast")
    with watched_figures(monkeypatch) as figures:
        for name in ("swvl1", "swvl1_drought"):
            soilcast.export(tmp_path / "forecast", tmp_path / f"{name}.png", variable=name)
    assert len(figures) == 2


# Refusals.


def refused(*texts: str, **options: Any) -> None:
    """Export what must be refused: one line with these words, and nothing is left."""
    source, out = options.pop("source"), options.pop("out")
    before = sorted(out.parent.iterdir())
    with pytest.raises(SoilcastError) as caught:
        soilcast.export(source, out, **{"variable": "swvl1", **options})
    message = str(caught.value)
    assert "\n" not in message
    for words in texts:
        assert words in message
    assert sorted(out.parent.iterdir()) == before


def test_what_is_not_there_is_named(forecast: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"source": forecast, "out": tmp_path / "map.tif"}
    refused("no variable swvl7 by cell; it has: area, swvl1, swvl1_quantile", **given, variable="swvl7")
    refused("no variable lead by cell", **given, variable="lead")
    refused("no lead 4; it has: 1, 2, 3: name one of them with --lead", **given, lead=4)
    refused("no lead 9", **given, lead=[1, 9])
    refused("has no leads: remove --lead", **given, variable="swvl1_days_to_dry", lead=1)
    refused("no quantile 0.1; there are: 0.05, 0.5, 0.95: name one with --quantile", **given, quantile=0.1)
    refused("holds several quantiles; there are: 0.05, 0.5, 0.95", **given, variable="swvl1_quantile")
    classes = {**given, "variable": "swvl1_drought_probability"}
    refused("holds several drought classes; there are: D0, D1, D2, D3, D4: name one with --drought-class", **classes)
    refused("has no drought class D5; there are: D0, D1", **classes, drought_class="D5")
    refused("swvl1_percentile is of no drought class", **given, variable="swvl1_percentile", drought_class="D2")
    refused("swvl1_percentile has no quantiles", **given, variable="swvl1_percentile", quantile=0.5)
    refused("no issue day 2021-01-01 among 2020-02-27 .. 2020-02-27", **given, issue="2021-01-01")
    of_one_day = "is more than one day, and a map is of one: write it as"
    refused(f"--issue 2020-02: {of_one_day} 2020-02-27", **given, issue="2020-02")
    refused("'soon' is not a period", **given, issue="soon")
    refused("several leads are wanted, so --day is ambiguous: use --issue", **given, lead=[1, 2], day="2020-02-28")
    refused(
        "the variable has no leads, so --day is ambiguous: use --issue",
        **given,
        variable="swvl1_days_to_dry",
        day="2020",
    )
    refused("no day 2020-02-27 among 2020-02-28 .. 2020-02-28", **given, day="2020-02-27")
    refused("no day 2020-02-28 among 2020-02-29 .. 2020-02-29", **given, lead=2, day="2020-02-28")
    refused("--day 2020-02: is more than one day, and a map is of one: write it as 2020-02-28", **given, day="2020-02")
    refused("--issue and --day exclude each other", **given, issue="2020-02-27", day="2020-02-28")
    refused("area has no days: leave --issue out", **given, variable="area", issue="2020-02-27")


def test_a_day_has_to_be_named_where_there_are_several(tmp_path: Path) -> None:
    made_forecast(tmp_path / "forecast.nc", issues=ISSUES)
    save_cube(few(cells=3, days=10), tmp_path / "cube")
    out = tmp_path / "map.tif"
    refused(
        "has the days 2020-02-27 .. 2020-02-28 (2 days): choose one with --issue",
        source=tmp_path / "forecast.nc",
        out=out,
    )
    refused("(10 days): choose one with --day", source=tmp_path / "cube", out=out)
    refused("this cube has no issue days: use --day", source=tmp_path / "cube", out=out, issue="2018-01-01")
    refused(
        "no day 2030-01-01 among 2018-01-01 .. 2018-01-10 (10 days)",
        source=tmp_path / "cube",
        out=out,
        day="2030-01-01",
    )
    refused(
        "elevation has no days: leave --day out", source=tmp_path / "cube", out=out, variable="elevation", day="2018"
    )


def test_a_file_of_another_kind_is_refused(forecast: Path, tmp_path: Path) -> None:
    refused(
        "map.jpg: unknown file type: end the name in .tif, .tiff, .nc, .png, .csv",
        source=forecast,
        out=tmp_path / "map.jpg",
    )
    refused("no such forecast", source=tmp_path / "nowhere", out=tmp_path / "map.tif")
    write_dataset(
        xr.Dataset(attrs={"soilcast_kind": "scores", "soilcast_format": 4}), tmp_path / "scores.nc", netcdf=True
    )
    refused(
        "scores.nc: cannot be exported: give a forecast or cube",
        source=tmp_path / "scores.nc",
        out=tmp_path / "map.tif",
    )
    (tmp_path / "text.nc").write_text("no NetCDF")
    refused("text.nc: cannot be read as a", source=tmp_path / "text.nc", out=tmp_path / "map.tif")


def test_places_have_no_geotiff(tmp_path: Path) -> None:
    made_forecast(tmp_path / "forecast.nc", None)
    refused(
        "map.tif: the cells are points without a grid: use --out",
        "map.csv",
        source=tmp_path / "forecast.nc",
        out=tmp_path / "map.tif",
    )


@pytest.mark.parametrize(
    ("grid", "fault"),
    [
        (Grid(np.array([52.0, 51.0, 49.4]), np.array([5.0, 6.0]), np.arange(6)), "latitudes of the grid are not"),
        (Grid(np.array([52.0, 51.0]), np.array([5.0, 6.0, 7.3]), np.arange(6)), "longitudes of the grid are not"),
        (Grid(np.array([52.0, NAN]), np.array([5.0, 6.0]), np.arange(4)), "latitudes of the grid are not"),
        (Grid(np.array([52.0, 51.0, 51.0]), np.array([5.0]), np.arange(3)), "latitudes of the grid are not"),
        (Grid(np.array([0.0, 1e-7, 60.0]), np.array([5.0, 6.0]), np.arange(6)), "not evenly spaced"),
        (
            Grid(np.array([0.0, 0.001, 80.0]), np.array([0.0, 0.001, 160.0]), np.arange(9)),
            "80001 x 160001 pixels is too large for a GeoTIFF",
        ),
    ],
)  # fmt: skip
def test_a_grid_that_no_geotiff_can_have_is_refused(tmp_path: Path, grid: Grid, fault: str) -> None:
    made_forecast(tmp_path / "forecast.nc", grid)
    refused(fault, "use --out", "map.csv", source=tmp_path / "forecast.nc", out=tmp_path / "map.tif")


def test_without_the_extra_its_name_is_told(forecast: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    refused(
        "map.tif: GeoTIFF needs an extra: install it with pip install 'soilcast[era5]'",
        source=forecast,
        out=tmp_path / "map.tif",
    )
    assert soilcast.export(forecast, tmp_path / "table.csv", variable="swvl1").exists()


def test_nothing_is_not_drawn(tmp_path: Path) -> None:
    nothing = (("cell", "time", "lead"), np.full((7, 1, 3), NAN, np.float32))
    many = (("cell", "time", "lead"), np.zeros((7, 1, 41), np.float32))
    made_forecast(tmp_path / "forecast.nc", nothing=nothing)
    refused(
        "has no value at this selection",
        source=tmp_path / "forecast.nc",
        out=tmp_path / "map.png",
        variable="nothing",
    )
    made = made_forecast(tmp_path / "few.nc")
    long = made[["area"]].assign(many=many).assign_coords(lead=np.arange(1, 42), time=made["time"])
    write_dataset(long, tmp_path / "long.nc", netcdf=True)
    refused(
        "41 maps do not fit on a page: select leads with --lead",
        source=tmp_path / "long.nc",
        out=tmp_path / "map.png",
        variable="many",
    )


def test_what_stands_there_is_replaced_only_if_told(forecast: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.csv"
    out.write_text("mine")
    refused("map.csv exists already: give another --out, or --overwrite", source=forecast, out=out)
    refused("map.csv is a file that soilcast did not write", source=forecast, out=out, overwrite=True)
    assert out.read_text() == "mine"
    out.unlink()
    soilcast.export(forecast, out, variable="swvl1", lead=1)
    soilcast.export(forecast, out, variable="swvl1", overwrite=True)
    assert len(rows_of(out)) == 21


@pytest.mark.parametrize(
    "damage",
    [
        lambda made: made.drop_vars("lat"),
        lambda made: made.assign_coords(lead=["one", "two", "three"]),
        lambda made: made.assign_coords(time=[1.0]),
        lambda made: made.assign_coords(cell=made["cell"] + 100),
        lambda made: made.isel(cell=slice(0, 0)),
        lambda made: made.drop_vars("lead"),
    ],
)
def test_an_forecast_that_lacks_what_it_promises_is_refused(tmp_path: Path, damage: Any) -> None:
    write_dataset(damage(made_forecast(tmp_path / "whole.nc")), tmp_path / "damaged.nc", netcdf=True)
    refused(
        "damaged.nc", "damaged, or not written by soilcast", source=tmp_path / "damaged.nc", out=tmp_path / "map.tif"
    )


def test_damaged_values_are_told_with_the_file(tmp_path: Path) -> None:
    made_forecast(tmp_path / "forecast")
    chunk = next(path for path in (tmp_path / "forecast" / "swvl1" / "c").rglob("*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-8] + b"damaged!")
    refused(
        "forecast: swvl1 changed after it was written",
        "damaged",
        source=tmp_path / "forecast",
        out=tmp_path / "map.tif",
    )


# The command.


def test_the_command_writes_a_map_or_says_why_not(forecast: Path, tmp_path: Path) -> None:
    made = xr.open_dataset(forecast, engine="h5netcdf")
    out = tmp_path / "map.tif"
    done = run_command("export", forecast, "--variable", "swvl1_percentile", "--lead", 3, "--lead", 1, "--out", out)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{out}\n", "")
    with rasterio.open(out) as raster:
        assert raster.count == 2
        np.testing.assert_array_equal(at_cells(raster, made, 1), made["swvl1_percentile"].to_numpy()[:, 0, 2])
    again = run_command("export", forecast, "--variable", "swvl1_percentile", "--lead", 7, "--out", out, "--overwrite")
    assert again.returncode == 2
    assert again.stderr == f"soilcast: {forecast}: no lead 7; it has: 1, 2, 3: name one of them with --lead\n"


def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path) -> None:
    made_forecast(tmp_path / "forecast.nc", GLOBE)
    done = run_command(
        "export", tmp_path / "forecast.nc", "--variable", "swvl1", "--out", tmp_path / "map.tif", room=1024
    )
    assert done.returncode == 2, done.stderr
    assert "map.tif exceeds the maximum file size" in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["forecast.nc"]
