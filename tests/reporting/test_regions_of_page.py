"""Regions on a page: tables and maps of the coming days by region, and of scores of regions with their outlines."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import shapely
import xarray as xr
from scipy.stats import norm

import soilcast
from soilcast.cube import open_cube, open_forecast
from soilcast.cube.grid import OUTLINE
from soilcast.errors import SoilcastError
from soilcast.regions.forecasts import regional_forecast
from soilcast.regions.weights import open_regions
from soilcast.reporting.maps import Canvas, Scale
from soilcast.reporting.style import MapStyle
from soilcast.reporting.wording import cells_text
from tests.helpers.forecast_factory import LEADS, LEVELS, made_cube
from tests.helpers.forecast_factory import made_forecast as scored_forecast
from tests.helpers.region_files import write_regions
from tests.helpers.regional import districts, made_forecast, made_record
from tests.test_commands import refusal, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page")
    made_forecast(path / "forecast", made_record(path / "cube"))
    districts(path / "districts.gpkg")
    return path


def texts_of(page: Path) -> str:
    text = re.sub(r'src="data:[^"]*"', "", page.read_text(encoding="utf-8"))
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


@pytest.mark.slow
def test_a_page_on_a_forecast_has_a_chapter_on_its_regions(folder: Path, tmp_path: Path) -> None:
    given = ("--regions", folder / "districts.gpkg", "--cube", folder / "cube", "--out", tmp_path / "page.html")
    run("report", folder / "forecast", *given)
    text = texts_of(tmp_path / "page.html")
    forecast = open_forecast(folder / "forecast")
    made = regional_forecast(forecast, open_regions(folder / "districts.gpkg", forecast), open_cube(folder / "cube"))
    last = made.isel(time=-1)
    begin = text.index("Means of the regions, weighted by the area")
    for lead, day in ((1, "2004-03-03"), (3, "2004-03-05")):
        table = text[text.index(f"(swvl1): {day}", begin) :]
        for at, name in enumerate(("North", "South", "Tiny")):
            row = table[table.index(f" {name} ") :]
            there = last.isel(cell=at).sel(lead=lead)
            low, high = (float(there["swvl1_quantile"].sel(quantile=level)) for level in (0.05, 0.95))
            assert row.startswith(f" {name} {float(there['swvl1']):.4f} {low:.4f} to {high:.4f} ")
            assert row.split()[5] == f"{float(there['swvl1_percentile']):.0f}"
            assert row.split()[6] in {"none", "D0", "D1", "D2", "D3", "D4"}
    assert "1 of 4 regions have no cell, and are left out (Sea)" in text
    assert "means of regions of districts.gpkg" in text


@pytest.mark.slow
def test_without_the_cube_a_page_has_moisture_alone(folder: Path, tmp_path: Path) -> None:
    soilcast.report(folder / "forecast", tmp_path / "page.html", regions=folder / "districts.gpkg")
    text = texts_of(tmp_path / "page.html")
    assert "percentile, class and odds of a region are in the climate of its mean, which takes the cube" in text
    table = text[text.index("Region m³ m⁻³") :]
    assert table.split()[2:4] == ["m⁻³", "North"]


def test_regions_are_filled_with_their_colour_and_the_smaller_lie_above() -> None:
    large = shapely.box(0, 40, 10, 50).difference(shapely.box(1, 41, 3, 43))
    small, none = shapely.box(6, 46, 8, 48), shapely.box(12, 40, 14, 42)
    shapes = np.array([large, small, none], dtype=object)
    points = shapely.point_on_surface(shapes)
    dataset = xr.Dataset(
        coords={
            "lat": ("cell", shapely.get_y(points)),
            "lon": ("cell", shapely.get_x(points)),
            OUTLINE: ("cell", shapes),
        }
    )
    canvas = Canvas(dataset)
    scale = Scale(0.0, 1.0, MapStyle("viridis", False, "", ""))
    picture = canvas.picture(xr.DataArray([0.0, 1.0, np.nan], dims="cell"), scale)
    rows, columns = canvas.frame

    def colour_at(lon: float, lat: float) -> tuple[int, ...]:
        x, y = canvas._basemap.projection.forward(np.array([lon]), np.array([lat]))
        west, east, south, north = canvas.box
        row = rows.start + int((north - y[0]) / (north - south) * canvas.shape[0])
        column = columns.start + int((x[0] - west) / (east - west) * canvas.shape[1])
        # Borders and names lie above: the colour that most of the pixels around have.
        around = picture[row - 6 : row + 7, column - 6 : column + 7].reshape(-1, 3)
        values, count = np.unique(around, axis=0, return_counts=True)
        return tuple(int(part) for part in values[np.argmax(count)])

    lowest, highest = (68, 1, 84), (253, 231, 37)
    np.testing.assert_allclose(colour_at(4.3, 44.2), lowest, atol=1)
    np.testing.assert_allclose(colour_at(7.2, 47.2), highest, atol=1)
    np.testing.assert_allclose(colour_at(13.1, 41.1), (205, 210, 217), atol=1)
    assert np.abs(np.subtract(colour_at(2.1, 42.1), lowest)).max() > 50, "a hole"


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scored")
    made_cube(path / "cube")

    def with_ranks(forecast: xr.Dataset) -> xr.Dataset:
        rng = np.random.default_rng(3)
        ranks = np.argsort(rng.normal(size=(forecast.sizes["cell"], 60, LEADS)), axis=1).astype(np.uint8) + np.uint8(1)
        mean = forecast["swvl1_quantile"].sel(quantile=0.5, drop=True) + np.float32(0.01 * norm.ppf(0.5))
        days = np.datetime64("2020-01-01", "ns") + np.arange(60) * np.timedelta64(1, "D")
        return forecast.assign(
            swvl1_mean=mean, swvl1_cell_rank=(("cell", "template_day", "lead"), ranks)
        ).assign_coords(template_day=days)

    scored_forecast(path / "forecast.nc", path / "cube", leads=LEADS, levels=LEVELS, change=with_ranks)
    write_regions(
        path / "r.geojson", [shapely.box(-10, 0, 50, 40), shapely.box(-10, 40, 50, 80)], name=["South", "North"]
    )
    soilcast.evaluate(path / "forecast.nc", path / "cube", path / "scores", regions=path / "r.geojson")
    return path


@pytest.mark.slow
def test_a_page_on_scores_has_a_chapter_on_their_regions(scored: Path, tmp_path: Path) -> None:
    soilcast.report(scored / "scores", tmp_path / "page.html", regions=scored / "r.geojson")
    text = texts_of(tmp_path / "page.html")
    table = text[text.index("Of the mean of each region, by the best network of each target.") :]
    scores = soilcast.open_scores(scored / "scores" / "regions")
    found = scores.sel(model="LSTM", target="swvl1", lead=1)
    for at, name in enumerate(("South", "North")):
        row = table[table.index(f" {name} ") :].split()
        for column, metric, decimals in ((1, "ratio", 3), (2, "rmse", 4)):
            value = float(found[metric][at])
            assert row[column] == (f"{value:.{decimals}f}" if np.isfinite(value) else "–")
    assert np.isfinite(found["rmse"]).any()
    assert "A dot stands for each region" not in text
    assert "A dot stands for each region; --regions FILE gives outlines." in cells_text(scores, "was not scored")


@pytest.mark.slow
def test_what_cannot_be_shown_is_one_line(scored: Path, folder: Path, tmp_path: Path) -> None:
    other = write_regions(tmp_path / "other.geojson", [shapely.box(-10, 0, 50, 80)], name=["All"])
    told = refusal("report", scored / "scores", "--regions", other, "--out", tmp_path / "page.html")
    assert "other.geojson: no region South, as" in told
    soilcast.evaluate(scored / "forecast.nc", scored / "cube", tmp_path / "bare")
    told = refusal("report", tmp_path / "bare", "--regions", other, "--out", tmp_path / "page.html")
    assert "it has no scores of regions: evaluate with --regions, or leave it out here" in told
    with pytest.raises(SoilcastError, match="its cells are not those of the forecast"):
        soilcast.report(
            folder / "forecast", tmp_path / "p.html", cube=scored / "cube", regions=folder / "districts.gpkg"
        )
