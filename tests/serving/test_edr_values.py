"""What OGC API EDR gives are the numbers of the file, to the last bit of float32, in every format."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import covjson_pydantic.coverage as covjson
import httpx
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from soilcast.cube.nearest import nearest_cells
from tests.helpers.serving import client, issue, loaded

DAY = "2020-05-03"
NAMES = ("swvl1", "swvl2_percentile", "swvl1_quantile_0.25", "swvl2_drought_probability_D3")
"""One parameter of each kind that has leads."""


@pytest.fixture(scope="module", params=["grid", "places"])
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[httpx.Client, xr.Dataset]]:
    folder = tmp_path_factory.mktemp("values")
    # More cells than a chunk holds, so that answers come from several.
    path = issue(folder, DAY, cells=4500 if request.param == "grid" else 40, step=2.0, gridded=request.param == "grid")
    with client(folder) as http:
        yield http, loaded(path)


def stored(forecast: xr.Dataset, name: str, cell: int) -> np.ndarray[Any, Any]:
    """Values of a parameter in the file, ``(lead,)``."""
    if "_quantile_" in name:
        base, _, level = name.rpartition("_")
        return forecast[base].isel(cell=cell, time=0).sel(quantile=float(level)).to_numpy()
    if "_probability_" in name:
        base, _, drought_class = name.rpartition("_")
        return forecast[base].isel(cell=cell, time=0).sel(drought_class=drought_class).to_numpy()
    return forecast[name].isel(cell=cell, time=0).to_numpy()


def same(given: Any, expected: Any) -> bool:
    """Whether numbers of JSON are those of float32."""
    got = np.array([np.nan if one is None else one for one in given], dtype=np.float64).astype(np.float32)
    return np.array_equal(got, np.asarray(expected, dtype=np.float32).ravel(), equal_nan=True)


def ask(http: httpx.Client, query: str, names: str = ",".join(NAMES), **parameters: Any) -> Any:
    answer = http.get(f"/edr/collections/lstm/{query}", params={"parameter-name": names, **parameters})
    assert answer.status_code == 200, answer.text
    return answer


places = st.tuples(st.floats(-180, 180), st.floats(-58, 80))


@pytest.mark.slow
@settings(max_examples=60)
@given(place=places)
def test_a_point_has_the_values_of_the_nearest_cell(
    made: tuple[httpx.Client, xr.Dataset], place: tuple[float, float]
) -> None:
    http, forecast = made
    lon, lat = place
    near = nearest_cells(np.array([lat]), np.array([lon]), forecast)
    answer = http.get(
        "/edr/collections/lstm/position",
        params={"coords": f"POINT({lon} {lat})", "parameter-name": ",".join(NAMES)},
    )
    if near.cell[0] < 0:
        assert answer.status_code == 404
        return
    found = answer.json()
    covjson.Coverage.model_validate_json(answer.content)
    axes = found["domain"]["axes"]
    assert (axes["x"]["values"], axes["y"]["values"]) == (
        [forecast["lon"].to_numpy()[near.cell[0]]], [forecast["lat"].to_numpy()[near.cell[0]]]
    )  # fmt: skip
    for name in NAMES:
        assert same(found["ranges"][name]["values"], stored(forecast, name, int(near.cell[0]))), name


@pytest.mark.slow
@settings(max_examples=25)
@given(west=st.floats(-180, 170), south=st.floats(-58, 60), wide=st.floats(0.5, 60), tall=st.floats(0.5, 20))
def test_a_cube_and_the_same_area_have_the_values_of_the_cells_within(
    made: tuple[httpx.Client, xr.Dataset], west: float, south: float, wide: float, tall: float
) -> None:
    http, forecast = made
    east, north = west + wide, south + tall
    lat, lon = forecast["lat"].to_numpy(), forecast["lon"].to_numpy()
    turned = west + (lon - west) % 360.0
    inside = np.flatnonzero((turned <= east) & (lat >= south) & (lat <= north))
    corners = f"{west} {south},{east} {south},{east} {north},{west} {north},{west} {south}"
    queries: dict[str, dict[str, str]] = {
        "cube": {"bbox": f"{west},{south},{east},{north}"},
        "area": {"coords": f"POLYGON(({corners}))"},
    }
    for query, parameters in queries.items():
        answer = http.get(f"/edr/collections/lstm/{query}", params={"parameter-name": ",".join(NAMES), **parameters})
        if not len(inside):  # too small to hold a centre: the cell that it lies in, or none
            assert answer.status_code in (200, 404)
            continue
        assert answer.status_code == 200, answer.text
        check_coverage(answer.json(), forecast, inside)
        covjson.Coverage.model_validate_json(answer.content)


@pytest.mark.slow
@settings(max_examples=25)
@given(
    place=places, within=st.floats(200, 3000), unit=st.sampled_from([("km", 1.0), ("m", 1000.0), ("mi", 1 / 1.609344)])
)
def test_a_radius_has_the_values_of_the_cells_around(
    made: tuple[httpx.Client, xr.Dataset], place: tuple[float, float], within: float, unit: tuple[str, float]
) -> None:
    http, forecast = made
    lon, lat = place
    cell_lat, cell_lon = (np.radians(forecast[name].to_numpy()) for name in ("lat", "lon"))
    cosine = np.sin(np.radians(lat)) * np.sin(cell_lat) + np.cos(np.radians(lat)) * np.cos(cell_lat) * np.cos(
        cell_lon - np.radians(lon)
    )
    far = 6371.229 * np.arccos(np.clip(cosine, -1, 1))
    if np.abs(far - within).min() < 1e-3:  # on the edge rounding may tell either way
        return
    answer = http.get(
        "/edr/collections/lstm/radius",
        params={
            "coords": f"POINT({lon} {lat})", "within": within * unit[1], "within-units": unit[0],
            "parameter-name": ",".join(NAMES),
        },
    )  # fmt: skip
    inside = np.flatnonzero(far <= within)
    if len(inside):
        check_coverage(answer.json(), forecast, inside)
    else:
        assert answer.status_code in (200, 404)


def check_coverage(found: Any, forecast: xr.Dataset, inside: np.ndarray[Any, Any]) -> None:
    """See that a coverage of an area holds these cells and no others, with their values."""
    axes, leads = found["domain"]["axes"], forecast.sizes["lead"]
    lat, lon = forecast["lat"].to_numpy(), forecast["lon"].to_numpy()
    for name in NAMES:
        one = found["ranges"][name]
        numbers = np.array([np.nan if v is None else v for v in one["values"]]).astype(np.float32).reshape(one["shape"])
        if found["domain"]["domainType"] == "Grid":
            assert one["axisNames"] == ["t", "y", "x"]
            rows, columns = axes["y"]["values"], axes["x"]["values"]
            expected = np.full((leads, len(rows), len(columns)), np.nan, dtype=np.float32)
            for cell in inside:
                expected[:, rows.index(lat[cell]), columns.index(lon[cell])] = stored(forecast, name, cell)
        else:
            assert one["axisNames"] == ["t", "composite"]
            assert axes["composite"]["values"] == [[lon[cell], lat[cell]] for cell in inside]
            expected = np.stack([stored(forecast, name, cell) for cell in inside], axis=1)
        assert np.array_equal(numbers, expected, equal_nan=True), name


def test_all_formats_have_the_same_values(made: tuple[httpx.Client, xr.Dataset]) -> None:
    http, forecast = made
    lat, lon = (float(forecast[name].to_numpy()[7]) for name in ("lat", "lon"))
    box = {"bbox": f"{lon - 3},{lat - 3},{lon + 3},{lat + 3}"}
    leads = slice(2, 5)
    names = (*NAMES, "swvl1_days_to_dry")
    days = {"datetime": "2020-05-06/2020-05-08"}
    table = pd.read_csv(io.StringIO(ask(http, "cube", ",".join(names), f="CSV", **box, **days).text))
    features = ask(http, "cube", ",".join(names), f="GeoJSON", **box, **days)
    assert features.headers["content-type"] == "application/geo+json"
    netcdf = ask(http, "cube", ",".join(names), f="netcdf", **box, **days)
    opened = xr.open_dataset(io.BytesIO(netcdf.content), engine="h5netcdf")
    assert opened.attrs["issue_date"] == DAY
    assert opened["time"].to_numpy().astype("datetime64[D]").astype(str).tolist() == [
        "2020-05-06", "2020-05-07", "2020-05-08"
    ]  # fmt: skip
    cells = opened["cell"].to_numpy()
    assert 7 in cells
    rows = [one["properties"] for one in features.json()["features"]]
    for name in NAMES:
        expected = np.stack([stored(forecast, name, cell)[leads] for cell in cells])
        assert np.array_equal(opened[name].to_numpy().T, expected, equal_nan=True)
        assert same(table[name], expected)
        assert same([row[name] for row in rows], expected)
    whole = forecast["swvl1_days_to_dry"].isel(time=0, cell=cells).to_numpy()
    assert same(opened["swvl1_days_to_dry"].to_numpy(), whole)
    assert same(table["swvl1_days_to_dry"], np.repeat(whole, 3))
    assert table["valid_date"].tolist() == ["2020-05-06", "2020-05-07", "2020-05-08"] * len(cells)
    assert table["lead"].tolist() == [3, 4, 5] * len(cells)
    assert rows[0]["datetime"] == "2020-05-06"
    assert rows[0]["lead_days"] == 3


def test_several_points_are_given_in_their_order(made: tuple[httpx.Client, xr.Dataset]) -> None:
    http, forecast = made
    wanted = [9, 3, 9, 0]
    points = ",".join(f"({float(forecast['lon'][cell])} {float(forecast['lat'][cell])})" for cell in wanted)
    found = ask(http, "position", "swvl1", coords=f"MULTIPOINT({points})")
    collection = covjson.CoverageCollection.model_validate_json(found.content)
    assert len(collection.coverages) == 4
    for coverage, cell in zip(found.json()["coverages"], wanted, strict=True):
        assert same(coverage["ranges"]["swvl1"]["values"], stored(forecast, "swvl1", cell))


def test_what_is_of_the_issue_day_has_its_own_time(made: tuple[httpx.Client, xr.Dataset]) -> None:
    http, forecast = made
    point = f"POINT({float(forecast['lon'][5])} {float(forecast['lat'][5])})"
    found = ask(http, "position", "swvl1,swvl1_drought,swvl1_days_to_dry", coords=point)
    covjson.CoverageCollection.model_validate_json(found.content)
    ahead, now = found.json()["coverages"]
    assert now["domain"]["axes"]["t"]["values"] == [f"{DAY}T00:00:00Z"]
    assert same(now["ranges"]["swvl1_days_to_dry"]["values"], forecast["swvl1_days_to_dry"].isel(cell=5))
    classes = ahead["ranges"]["swvl1_drought"]
    assert classes["dataType"] == "integer"
    assert same(classes["values"], forecast["swvl1_drought"].isel(cell=5, time=0))


def test_an_area_within_a_cell_gives_the_cell(made: tuple[httpx.Client, xr.Dataset]) -> None:
    http, forecast = made
    if "cell_name" in forecast.coords:
        return
    lat, lon = float(forecast["lat"][11]) + 0.6, float(forecast["lon"][11]) + 0.6
    field = f"POLYGON(({lon} {lat},{lon + 0.01} {lat},{lon + 0.01} {lat + 0.01},{lon} {lat}))"
    for query, where in (("area", {"coords": field}), ("cube", {"bbox": f"{lon},{lat},{lon + 0.1},{lat + 0.1}"})):
        found = ask(http, query, "swvl1", **where).json()
        assert same(found["ranges"]["swvl1"]["values"], stored(forecast, "swvl1", 11))


def test_an_area_across_the_date_line_is_one(tmp_path: Path) -> None:
    path = issue(tmp_path, DAY, cells=3000, step=2.0)
    forecast = loaded(path)
    lat, lon = forecast["lat"].to_numpy(), forecast["lon"].to_numpy()
    inside = np.flatnonzero(((lon >= 170) | (lon <= -170)) & (np.abs(lat) <= 30))
    polygon = "POLYGON((170 -30,190 -30,190 30,170 30,170 -30))"
    with client(tmp_path) as http:
        for bbox in ("170,-30,-170,30", "170,-30,190,30"):
            check_coverage(ask(http, "cube", bbox=bbox).json(), forecast, inside)
        check_coverage(ask(http, "area", coords=polygon).json(), forecast, inside)
