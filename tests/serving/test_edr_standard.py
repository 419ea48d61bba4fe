"""OGC API EDR 1.1: the abstract tests of its conformance classes, as far as they can be run here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import edr_pydantic.capabilities as capabilities
import edr_pydantic.collections as edr
import httpx
import jsonschema
import pytest

from tests.helpers import ROOT
from tests.helpers.serving import client, issue

DAYS = ("2020-05-02", "2020-05-03")
QUERIES = ("position", "radius", "area", "cube", "locations")
MEDIA = {
    "CoverageJSON": "application/prs.coverage+json",
    "GeoJSON": "application/geo+json",
    "CSV": "text/csv; charset=utf-8",
    "NetCDF": "application/netcdf",
}
WHERE = {
    "position": {"coords": "POINT(-74.5 41)"},
    "area": {"coords": "POLYGON((-75 40,-73 40,-73 42,-75 42,-75 40))"},
    "radius": {"coords": "POINT(-74.5 41)", "within": "50", "within-units": "km"},
    "cube": {"bbox": "-75,40,-73,42"},
    "locations/basin-3": {},
}
"""A query of each kind that has an answer."""


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("standard")
    for day in DAYS:
        issue(folder, day, cells=200, gridded=False)
    issue(folder, "2020-05-03", "net.nc", cells=50, label="Other", weights_sha256="ee" * 32)
    with client(folder) as found:
        yield found


def got(http: httpx.Client, path: str, **parameters: str) -> Any:
    answer = http.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def links_of(found: Any) -> dict[str, list[dict[str, str]]]:
    links: dict[str, list[dict[str, str]]] = {}
    for link in found["links"]:
        assert link["rel"], link
        assert link["type"], link
        links.setdefault(link["rel"], []).append(link)
    return links


def test_the_landing_page_leads_to_all_else(http: httpx.Client) -> None:
    found = got(http, "/edr")
    capabilities.LandingPageModel.model_validate(found)
    links = links_of(found)
    assert {"self", "service-desc", "service-doc", "conformance", "data"} <= set(links)
    for group in links.values():
        for link in group:
            answer = http.get(urlsplit(link["href"]).path)
            assert answer.status_code == 200
            assert answer.headers["content-type"].partition(";")[0] == link["type"].partition(";")[0]


def test_the_conformance_classes_are_those_of_the_standard(http: httpx.Client) -> None:
    found = got(http, "/edr/conformance")
    capabilities.ConformanceModel.model_validate(found)
    ends = {one.rpartition("/")[2] for one in found["conformsTo"] if "ogcapi-edr-1/1.1" in one}
    assert {"core", "collections", "instances", "queries", "json", "covjson", "geojson", "edr-geojson", "oas30"} == ends


def test_the_document_is_openapi_3_0_and_names_every_address(http: httpx.Client) -> None:
    answer = http.get("/edr/api")
    assert answer.headers["content-type"] == "application/vnd.oai.openapi+json;version=3.0"
    found = answer.json()
    assert found["openapi"].startswith("3.0.")
    paths = found["paths"]
    for query in QUERIES:
        for prefix in ("/edr/collections/{collection}", "/edr/collections/{collection}/instances/{issue}"):
            operation = paths[f"{prefix}/{query}"]["get"]
            assert {"200", "400", "404", "413"} <= set(operation["responses"])
            names = {one["name"]: one for one in operation["parameters"]}
            assert names["collection"]["in"] == "path"
            if query != "locations":
                assert {"parameter-name", "datetime", "f", "crs", "z"} <= set(names)
                assert all(not names[one]["required"] for one in ("parameter-name", "datetime", "f", "crs", "z"))
    text = answer.text
    assert '"null"' not in text, "3.0 knows no null"
    assert "422" not in text


def test_collections_are_described_as_the_standard_has_it(http: httpx.Client) -> None:
    found = got(http, "/edr/collections")
    edr.Collections.model_validate_json(http.get("/edr/collections").content)
    assert [one["id"] for one in found["collections"]] == ["lstm", "other"]
    for one in found["collections"]:
        assert one == got(http, f"/edr/collections/{one['id']}")
        links = links_of(one)
        assert {"self", "instances", "data"} <= set(links)
        west, south, east, north = one["extent"]["spatial"]["bbox"][0]
        assert -180 <= west < east <= 180
        assert -90 <= south < north <= 90
        assert one["extent"]["temporal"]["interval"] == [["2020-05-04T00:00:00Z", "2020-05-13T00:00:00Z"]]
        assert one["crs"] == ["CRS84"]
        assert one["output_formats"] == list(MEDIA)
        assert set(one["data_queries"]) == {*QUERIES, "instances"}
        for name, query in one["data_queries"].items():
            variables = query["link"]["variables"]
            assert variables["query_type"] == name
            assert urlsplit(query["link"]["href"]).path == f"/edr/collections/{one['id']}/{name}"
        assert one["data_queries"]["radius"]["link"]["variables"]["within_units"] == ["km", "m", "mi"]
        assert "height_units" in one["data_queries"]["cube"]["link"]["variables"]
        for name, parameter in one["parameter_names"].items():
            assert parameter["type"] == "Parameter"
            assert parameter["id"] == name
            assert parameter["observedProperty"]["label"]
            assert ("unit" in parameter) != ("categories" in parameter["observedProperty"])
    assert "swvl1_quantile_0.05" in found["collections"][0]["parameter_names"]
    assert "swvl1_drought_probability_D4" in found["collections"][0]["parameter_names"]


def test_issue_days_are_the_instances_of_a_collection(http: httpx.Client) -> None:
    answer = http.get("/edr/collections/lstm/instances")
    edr.Instances.model_validate_json(answer.content)
    found = answer.json()["instances"]
    assert [one["id"] for one in found] == [*reversed(DAYS)], "the newest first"
    for one in found:
        assert one == got(http, f"/edr/collections/lstm/instances/{one['id']}")
        assert links_of(one)["collection"][0]["href"].endswith("/edr/collections/lstm")
        assert "instances" not in one["data_queries"]
    assert found[1]["extent"]["temporal"]["interval"] == [["2020-05-03T00:00:00Z", "2020-05-12T00:00:00Z"]]


@pytest.mark.parametrize("query", WHERE)
def test_a_collection_answers_with_its_newest_issue_day(http: httpx.Client, query: str) -> None:
    newest, named, older = (
        got(http, f"/edr/collections/lstm{end}/{query}", **WHERE[query])
        for end in ("", f"/instances/{DAYS[1]}", f"/instances/{DAYS[0]}")
    )
    assert newest == named
    assert newest["about"]["issue_date"] == DAYS[1]
    assert older["about"]["issue_date"] == DAYS[0]


@pytest.mark.parametrize("query", WHERE)
@pytest.mark.parametrize("name", MEDIA)
def test_each_query_has_each_format(http: httpx.Client, query: str, name: str) -> None:
    answer = http.get(f"/edr/collections/lstm/{query}", params={**WHERE[query], "f": name})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == MEDIA[name]
    assert answer.content


def test_without_names_all_parameters_are_given(http: httpx.Client) -> None:
    found = got(http, "/edr/collections/lstm/position", **WHERE["position"])
    named = {name for part in found["coverages"] for name in part["ranges"]}
    assert named == set(got(http, "/edr/collections/lstm")["parameter_names"]) == set(found["parameters"])
    found = got(http, "/edr/collections/lstm/position", **WHERE["position"], **{"parameter-name": "swvl2, swvl1"})
    assert list(found["ranges"]) == ["swvl2", "swvl1"]


@pytest.mark.parametrize(
    ("datetime", "days"),
    [
        ("2020-05-06", ["2020-05-06"]),
        ("2020-05-06T00:00:00Z", ["2020-05-06"]),
        ("2020-05-06T00:00:00+00:00", ["2020-05-06"]),
        ("2020-05-05/2020-05-06", ["2020-05-05", "2020-05-06"]),
        ("../2020-05-04T00:00Z", ["2020-05-04"]),
        ("2020-05-12T00:00:00Z/..", ["2020-05-12", "2020-05-13"]),
        ("2020-05-05,2020-05-08", ["2020-05-05", "2020-05-08"]),
        ("../..", [f"2020-05-{day:02}" for day in range(4, 14)]),
    ],
)
def test_valid_days_are_chosen_by_their_time(http: httpx.Client, datetime: str, days: list[str]) -> None:
    found = got(
        http, "/edr/collections/lstm/position", **WHERE["position"], datetime=datetime, **{"parameter-name": "swvl1"}
    )
    assert found["domain"]["axes"]["t"]["values"] == [f"{day}T00:00:00Z" for day in days]


REFUSED = {
    "position": (400, "coords"),
    "position?coords=": (400, "POINT"),
    "position?coords=POINT(5)": (400, "POINT"),
    "position?coords=POINT(500 0)": (400, "longitude first"),
    "position?coords=POINT(10 95)": (400, "longitude first"),
    "position?coords=POINT(NaN 1)": (400, ""),
    "position?coords=POINT EMPTY": (400, "no coordinates"),
    "position?coords=LINESTRING(0 0,1 1)": (400, "POINT or MULTIPOINT"),
    "position?coords=POINT(10 10)": (404, "no cell within"),
    "position?coords=POINT(-74.5 41)&parameter-name=swvl9": (400, "no parameter 'swvl9': there are swvl1"),
    "position?coords=POINT(-74.5 41)&datetime=yesterday": (400, "no time in UTC"),
    "position?coords=POINT(-74.5 41)&datetime=2020-13-01": (400, "no time in UTC"),
    "position?coords=POINT(-74.5 41)&datetime=2020-05-06T00:00:00%2B02:00": (400, "no time in UTC"),
    "position?coords=POINT(-74.5 41)&datetime=2020-05-06/2020-05-05": (400, "ends before it begins"),
    "position?coords=POINT(-74.5 41)&datetime=1999-01-01": (404, "no forecast day lies in it: there are 2020-05-04"),
    "position?coords=POINT(-74.5 41)&f=GRIB": (400, "there are CoverageJSON, GeoJSON, CSV, NetCDF"),
    "position?coords=POINT(-74.5 41)&crs=EPSG:3857": (400, "there is CRS84"),
    "position?coords=POINT(-74.5 41)&z=2": (400, "no height"),
    "area": (400, "coords"),
    "area?coords=POINT(1 1)": (400, "POLYGON or MULTIPOLYGON"),
    "area?coords=POLYGON((0 0,1 1,0 1,1 0,0 0))": (400, "no simple area"),
    "area?coords=POLYGON((0 0,1 1,0 1,1 0))": (400, ""),
    "area?coords=POLYGON((50 50,51 50,51 51,50 50))": (404, "no cell lies there"),
    "radius?coords=POINT(-74.5 41)&within=5": (400, "within-units"),
    "radius?coords=POINT(-74.5 41)&within-units=km": (400, "within"),
    "radius?coords=POINT(-74.5 41)&within=five&within-units=km": (400, "within"),
    "radius?coords=POINT(-74.5 41)&within=-5&within-units=km": (400, "above 0"),
    "radius?coords=POINT(-74.5 41)&within=nan&within-units=km": (400, "above 0"),
    "radius?coords=POINT(-74.5 41)&within=5&within-units=parsec": (400, "km, m, mi"),
    "cube": (400, "bbox"),
    "cube?bbox=1,2,3": (400, "four numbers"),
    "cube?bbox=a,b,c,d": (400, "west,south,east,north"),
    "cube?bbox=-75,42,-73,40": (400, "south is not above north"),
    "cube?bbox=-75,40,-73,inf": (400, "four numbers"),
    "locations/none": (404, "no place 'none'"),
    "instances/2020-05-09": (404, "there are 2020-05-02 to 2020-05-03"),
    "instances/2020-05-09/position?coords=POINT(-74.5 41)": (404, "no issue day"),
    "instances/newest": (400, "issue"),
    "trajectory": (404, "no such address"),
}


@pytest.mark.parametrize("query", REFUSED)
def test_what_is_wrong_is_told_in_one_line(http: httpx.Client, query: str) -> None:
    status, told = REFUSED[query]
    answer = http.get(f"/edr/collections/lstm/{query}")
    assert answer.status_code == status, answer.text
    found = answer.json()
    assert found["code"] == status
    assert told in found["description"]
    assert "\n" not in found["description"]
    assert "/tmp" not in found["description"]


def test_what_is_not_there_is_told_by_name(http: httpx.Client) -> None:
    for path in ("/edr/collections/none", "/edr/collections/none/instances", "/edr/collections/none/position?coords=a"):
        answer = http.get(path)
        assert answer.status_code == 404
        assert answer.json()["description"] == "no collection 'none': there are lstm, other"


def test_places_are_listed_and_lead_to_their_forecast(http: httpx.Client) -> None:
    answer = http.get("/edr/collections/lstm/locations")
    assert answer.headers["content-type"] == "application/geo+json"
    found = answer.json()
    assert len(found["features"]) == 200
    for feature in found["features"][:5]:
        assert feature["geometry"]["type"] == "Point"
        path = urlsplit(feature["properties"]["edrqueryendpoint"]).path
        coverage = got(http, path, **{"parameter-name": "swvl1"})
        x, y = (coverage["domain"]["axes"][name]["values"][0] for name in "xy")
        assert [x, y] == feature["geometry"]["coordinates"]
    assert got(http, "/edr/collections/other/locations")["features"] == [], "cells of a grid have no name"


def test_links_have_the_public_address(tmp_path: Path, http: httpx.Client) -> None:
    assert got(http, "/edr")["links"][0]["href"] == f"{http.base_url}/edr".replace("//edr", "/edr")


def test_geojson_of_an_answer_is_geojson(http: httpx.Client) -> None:
    schema = {
        "type": "object",
        "required": ["type", "features"],
        "properties": {
            "type": {"const": "FeatureCollection"},
            "features": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["type", "geometry", "properties"],
                    "properties": {"geometry": {"required": ["type", "coordinates"]}},
                },
            },
        },
    }
    found = got(http, "/edr/collections/lstm/cube", **WHERE["cube"], f="GeoJSON", datetime="2020-05-04")
    jsonschema.validate(found, schema)
    assert len(found["features"]) == 200 or found["features"]


@pytest.mark.parametrize("number", [0, 1])
def test_the_clients_of_the_docs_read_tomorrow_s_soil_moisture(
    http: httpx.Client, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
    script = re.findall(r"^```py\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[number]
    assert sum(bool(line) for line in script.splitlines()) == 3, "three lines"
    for said, here in {"http://127.0.0.1:8000": str(http.base_url).rstrip("/"), "(10": "(-74.5", "50)": "41)"}.items():
        assert said in script
        script = script.replace(said, here)
    exec(script, {})
    found = got(http, "/edr/collections/lstm/position", **WHERE["position"], **{"parameter-name": "swvl1"})
    assert capsys.readouterr().out == f"{found['ranges']['swvl1']['values'][0]} m3 m-3\n"
