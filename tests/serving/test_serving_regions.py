"""Regions of a file are places with the forecast of their mean, as `soilcast.regions` makes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import shapely
import xarray as xr

from soilcast.cube import open_cube, open_forecast
from soilcast.regions.forecasts import regional_forecast
from soilcast.regions.means import regional_cube
from soilcast.regions.weights import open_regions
from tests.helpers.region_files import write_regions
from tests.helpers.regional import NORTH, SEA, SOUTH, TINY, districts, made_forecast, made_record
from tests.helpers.serving import client, issue
from tests.test_commands import refusal

DAYS = ("2004-03-01", "2004-03-02")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("regions")
    made_forecast(path / "forecasts" / "one", made_record(path / "cube"), DAYS)
    districts(path / "districts.gpkg")
    return path


@pytest.fixture(scope="module")
def http(folder: Path) -> Iterator[httpx.Client]:
    regions = (str(folder / "districts.gpkg"), "name")
    with client(folder / "forecasts", cube=folder / "cube", regions=regions) as found:
        yield found


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[xr.Dataset]:
    """By issue day: sums of other numbers of days are rounded in another order."""
    forecast, cube = open_forecast(folder / "forecasts" / "one"), open_cube(folder / "cube")
    regions = open_regions(folder / "districts.gpkg", forecast)
    return [regional_forecast(forecast.isel(time=[day]), regions, cube).isel(time=0) for day in range(len(DAYS))]


def same(given: Any, wanted: Any) -> bool:
    got = np.array([np.nan if one is None else one for one in given], dtype=np.float32)
    return np.array_equal(got, np.ravel(wanted).astype(np.float32), equal_nan=True)


def test_a_map_has_their_outlines(http: httpx.Client) -> None:
    found = http.get("/map/outlines", params={"collection": "made"}).json()["features"]
    assert [one["properties"] for one in found] == [{"id": name, "name": name} for name in ("North", "South", "Tiny")]
    for one, drawn in zip(found, (NORTH, SOUTH, TINY), strict=True):
        assert shapely.from_geojson(json.dumps(one["geometry"])).equals(drawn)
    assert http.get("/map/outlines", params={"collection": "none"}).status_code == 404


def test_regions_are_locations(http: httpx.Client) -> None:
    found = http.get("/edr/collections/made/locations").json()["features"]
    assert [(one["id"], one["properties"]["kind"]) for one in found] == [
        ("North", "region"), ("South", "region"), ("Tiny", "region")
    ]  # fmt: skip
    (west, south), *_ = (one["geometry"]["coordinates"] for one in found)
    assert 3.2 < west < 8.5
    assert 48.4 < south < 50.5
    assert http.get("/map/catalogue").json()["collections"][0]["places"] == 3


@pytest.mark.parametrize("day", [0, 1])
@pytest.mark.parametrize("region", ["North", "South", "Tiny"])
def test_a_region_has_the_forecast_of_its_mean(
    http: httpx.Client, expected: list[xr.Dataset], region: str, day: int
) -> None:
    of_region = expected[day].isel(cell=["North", "South", "Tiny"].index(region))
    names = ["swvl1", "swvl1_mean", "swvl1_percentile", "swvl1_quantile_0.05", "swvl1_drought_probability_D1"]
    path = f"/edr/collections/made/instances/{DAYS[day]}/locations/{region}"
    answer = http.get(path, params={"parameter-name": ",".join(names)})
    assert answer.status_code == 200, answer.text
    ranges = answer.json()["ranges"]
    for name in names[:3]:
        assert same(ranges[name]["values"], of_region[name])
    assert same(ranges["swvl1_quantile_0.05"]["values"], of_region["swvl1_quantile"].sel(quantile=0.05))
    odds = of_region["swvl1_drought_probability"].sel(drought_class="D1")
    assert same(ranges["swvl1_drought_probability_D1"]["values"], odds)


def test_every_format_names_the_region(http: httpx.Client) -> None:
    def ask(name: str) -> httpx.Response:
        return http.get("/edr/collections/made/locations/South", params={"parameter-name": "swvl1", "f": name})

    assert "South" in ask("CSV").text
    features = ask("GeoJSON").json()["features"]
    assert features[0]["geometry"]["type"] == "Polygon"
    assert features[0]["properties"]["cell_name"] == "South"
    assert ask("NetCDF").status_code == 200


def test_a_click_on_a_region_shows_its_past_and_season(
    http: httpx.Client, folder: Path, expected: list[xr.Dataset]
) -> None:
    found = http.get("/map/place", params={"collection": "made", "station": "North", "issue": DAYS[1]}).json()
    assert found["name"] == "North"
    assert found["cell"] is found["extent"] is None
    layer, of_region = found["layers"]["swvl1"], expected[1].isel(cell=0)
    assert same(layer["coming"]["median"], of_region["swvl1"])
    assert same(layer["percentile"], of_region["swvl1_percentile"])
    assert same(np.ravel(layer["odds"]["by_lead"]), of_region["swvl1_drought_probability"])
    with open_forecast(folder / "forecasts" / "one") as forecast, open_cube(folder / "cube") as cube:
        record = regional_cube(cube, open_regions(folder / "districts.gpkg", forecast), ["swvl1"])
    past = record["swvl1"].isel(cell=0).sel(time=slice("2004-01-03", DAYS[1]))
    assert layer["past"]["days"][0] == "2004-01-03"
    assert same(layer["past"]["values"], past)
    assert len(layer["climate"]["values"]) == 5
    assert found["reasons"]["skill"] == "scores are of cells, not of a region"


def test_without_a_cube_regions_have_no_past(folder: Path) -> None:
    with client(folder / "forecasts", regions=(str(folder / "districts.gpkg"), None)) as http:
        found = http.get("/map/place", params={"collection": "made", "station": "South"}).json()
        assert found["layers"]["swvl1"]["coming"]["median"]
        assert found["layers"]["swvl1"]["past"] is None
        assert "no cube is served" in found["reasons"]["past"]


def test_a_collection_that_no_region_overlaps_has_none(folder: Path, tmp_path: Path) -> None:
    issue(tmp_path, "2020-05-03", cells=20, gridded=False)
    with client(folder / "forecasts", tmp_path, regions=(str(folder / "districts.gpkg"), None)) as http:
        kinds = {one["properties"]["kind"] for one in http.get("/edr/collections/lstm/locations").json()["features"]}
        assert kinds == {"cell"}
        assert http.get("/edr/collections/lstm/locations/North").status_code == 404
        assert http.get("/edr/collections/made/locations/North").status_code == 200


@pytest.mark.slow
def test_what_is_no_file_of_regions_is_refused(folder: Path, tmp_path: Path) -> None:
    sea = write_regions(tmp_path / "sea.geojson", [SEA], name=["Sea"])
    assert "none of its regions has a cell" in refusal("serve", folder / "forecasts", "--regions", sea)
    assert "no such file of regions" in refusal("serve", folder / "forecasts", "--regions", tmp_path / "none.gpkg")
    refused = refusal("serve", folder / "forecasts", "--regions", folder / "districts.gpkg", "--region-name", "no")
    assert "no" in refused
