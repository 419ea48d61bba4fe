"""What is shown of a place: the numbers of the forecast, the cube and the scores, and the run asked what if."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import soilcast
from soilcast.cube import open_cube, save_cube
from soilcast.products.climate import gather, reference_positions
from tests.helpers.multiday import AHEAD, CELLS, DAYS, forecast_weather, quick, weather_archive
from tests.helpers.serving import client, issue, loaded
from tests.helpers.small import small_cube

ISSUE = "2020-01-10"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube, a run that knows weather ahead and one that does not, their forecasts, and scores."""
    folder = tmp_path_factory.mktemp("chain")
    save_cube(small_cube(CELLS, DAYS), folder / "cube")
    quick(folder / "cube", folder / "runs" / "ahead", AHEAD, "label=ahead")
    quick(folder / "cube", folder / "runs" / "blind", "label=blind")
    for name, weather in (("ahead", "observed"), ("blind", None)):
        out = folder / "forecasts" / name
        soilcast.forecast(folder / "runs" / name, folder / "cube", out, issue=ISSUE, weather=weather)
    soilcast.forecast(folder / "runs" / "ahead", folder / "cube", folder / "forecasts" / "hindcast")
    soilcast.evaluate([folder / "forecasts" / "hindcast"], folder / "cube", folder / "scores")
    return folder


@pytest.fixture(scope="module")
def http(chain: Path) -> Iterator[httpx.Client]:
    runs = {
        loaded(chain / "forecasts" / name).attrs["weights_sha256"]: chain / "runs" / name for name in ("ahead", "blind")
    }
    with client(chain, cube=chain / "cube", runs=runs, scores=chain / "scores") as found:
        yield found


def place_of(chain: Path, cell: int) -> dict[str, float]:
    with open_cube(chain / "cube") as cube:
        return {"lat": float(cube["lat"][cell]), "lon": float(cube["lon"][cell])}


def asked(http: httpx.Client, chain: Path, cell: int, collection: str = "ahead", issue: str = ISSUE) -> Any:
    where = {"collection": collection, "issue": issue, **place_of(chain, cell)}
    answer = http.get("/map/place", params=where)
    assert answer.status_code == 200, answer.text
    return answer.json()


def close(given: Any, expected: Any) -> bool:
    got = np.array(
        [np.nan if one is None else one for one in np.ravel(np.array(given, dtype=object))], dtype=np.float64
    )
    return bool(
        np.allclose(got.astype(np.float32), np.ravel(expected).astype(np.float32), rtol=0, atol=0, equal_nan=True)
    )


@pytest.mark.slow
def test_a_place_shows_the_numbers_of_the_files(chain: Path, http: httpx.Client) -> None:
    forecast = loaded(chain / "forecasts" / "ahead")
    found = asked(http, chain, 3)
    assert found["cell"] == 3
    assert found["distance_km"] < 1e-6
    layer = found["layers"]["swvl1"]
    assert layer["coming"]["days"] == ["2020-01-11", "2020-01-12", "2020-01-13"]
    of_cell = forecast.isel(cell=3, time=0)
    assert close(layer["coming"]["median"], of_cell["swvl1"])
    assert close(layer["coming"]["mean"], of_cell["swvl1_mean"])
    assert list(layer["coming"]["quantiles"]) == ["0.05", "0.1", "0.25", "0.5", "0.75", "0.9", "0.95"]
    for level, values in layer["coming"]["quantiles"].items():
        assert close(values, of_cell["swvl1_quantile"].sel(quantile=float(level)))
    assert layer["odds"]["classes"] == ["D0", "D1", "D2", "D3", "D4"]
    assert close(layer["odds"]["by_lead"], of_cell["swvl1_drought_probability"])
    assert close(layer["percentile"], of_cell["swvl1_percentile"])
    with open_cube(chain / "cube") as cube:
        past = cube["swvl1"].isel(cell=3).sel(time=slice("2019-11-12", ISSUE))
        assert layer["past"]["days"] == [str(day)[:10] for day in past["time"].to_numpy()]
        assert len(layer["past"]["days"]) == 60
        assert close(layer["past"]["values"], past)
    assert found["reasons"] == {}


@pytest.mark.slow
def test_the_season_is_that_of_the_products(chain: Path, http: httpx.Client) -> None:
    forecast = loaded(chain / "forecasts" / "ahead")
    climate = asked(http, chain, 2)["layers"]["swvl1"]["climate"]
    assert climate["percentiles"] == [5, 25, 50, 75, 95]
    assert (climate["days"][0], climate["days"][-1]) == ("2019-11-12", "2020-01-13")
    last = np.datetime64(forecast.attrs["validation_period"].rpartition(":")[2])
    with open_cube(chain / "cube") as cube:
        record = cube["swvl1"].isel(cell=[2]).sel(time=slice(None, last))
        days = record["time"].to_numpy()
        for at in (0, 40, len(climate["days"]) - 1):
            around = gather(record.to_numpy(), reference_positions(days, np.datetime64(climate["days"][at])))
            expected = np.nanpercentile(around, [5, 25, 50, 75, 95])
            assert np.allclose([row[at] for row in climate["values"]], expected, atol=1e-6)


@pytest.mark.slow
def test_a_forecast_without_products_gets_them_for_the_place(chain: Path, http: httpx.Client) -> None:
    """Forecasts over a period have none; those of their days that are made one by one are the same."""
    assert "swvl1_percentile" not in loaded(chain / "forecasts" / "hindcast")
    other = "2020-01-20"
    single = chain.parent / "single"
    soilcast.forecast(chain / "runs" / "ahead", chain / "cube", single, issue=other, weather="observed", overwrite=True)
    expected = loaded(single).isel(cell=4, time=0)
    layer = asked(http, chain, 4, issue=other)["layers"]["swvl1"]
    assert np.allclose(layer["percentile"], expected["swvl1_percentile"], atol=0.6)
    assert np.allclose(layer["odds"]["by_lead"], expected["swvl1_drought_probability"], atol=1e-4)


@pytest.mark.slow
def test_skill_is_that_of_the_scores(chain: Path, http: httpx.Client) -> None:
    scores = soilcast.open_scores(chain / "scores")
    skill = asked(http, chain, 1)["layers"]["swvl1"]["skill"]
    assert skill["leads"] == [1, 2, 3]
    of_cell = scores.isel(cell=1).sel(target="swvl1")
    for name in ("rmse", "crps"):
        assert np.allclose(skill["metrics"][name]["forecast"], of_cell[name].sel(model="ahead"), equal_nan=True)
        assert {"persistence", "climatology"} <= set(skill["metrics"][name]["baselines"])
        persistence = skill["metrics"][name]["baselines"]["persistence"]
        assert np.allclose(persistence, of_cell[name].sel(model="persistence"), equal_nan=True)
    assert skill["metrics"]["rmse"]["units"] == "m3 m-3"
    found = asked(http, chain, 1, "blind")
    assert found["layers"]["swvl1"]["skill"] is None
    assert found["reasons"]["skill"] == "these forecasts were not scored here"


def what_if(http: httpx.Client, chain: Path, collection: str = "ahead", **altered: str) -> httpx.Response:
    return http.get("/map/what-if", params={"collection": collection, "issue": ISSUE, **place_of(chain, 2), **altered})


@pytest.mark.slow
def test_unaltered_weather_gives_the_forecast(chain: Path, http: httpx.Client) -> None:
    found = what_if(http, chain).json()
    assert found["days"] == ["2020-01-11", "2020-01-12", "2020-01-13"]
    stored = loaded(chain / "forecasts" / "ahead")["swvl1"].isel(cell=2, time=0).to_numpy()
    layer = found["layers"]["swvl1"]
    assert layer["as_forecast"] == layer["changed"]
    assert np.allclose(layer["as_forecast"], stored, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("altered", "first"), [({"rain": "60"}, 0), ({"rain": "0,60"}, 1), ({"heat": "0,0,9"}, 2)])
def test_altered_weather_is_that_of_a_forecast_with_it(
    chain: Path, http: httpx.Client, tmp_path: Path, altered: dict[str, str], first: int
) -> None:
    """The run forecasts the same from a cube in which the weather was so; days before the altered one stay."""
    cube = small_cube(CELLS, DAYS)
    day = int(np.flatnonzero(cube["time"].to_numpy() == np.datetime64(ISSUE))[0]) + 1
    for name, values, unit in (("tp", altered.get("rain", ""), 1e-3), ("t2m", altered.get("heat", ""), 1.0)):
        changed = cube[name].to_numpy().copy()
        for at, added in enumerate(float(one) for one in values.split(",") if one):
            changed[:, day + at] += np.float32(added * unit)
        cube[name] = (("cell", "time"), changed, cube[name].attrs)
    save_cube(cube, tmp_path / "cube")
    soilcast.forecast(chain / "runs" / "ahead", tmp_path / "cube", tmp_path / "out", issue=ISSUE, weather="observed")
    expected = loaded(tmp_path / "out")["swvl1"].isel(cell=2, time=0).to_numpy()
    layer = what_if(http, chain, **altered).json()["layers"]["swvl1"]
    assert np.allclose(layer["changed"], expected, atol=1e-5)
    assert layer["changed"][:first] == layer["as_forecast"][:first]
    assert layer["changed"][first] != layer["as_forecast"][first]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "archive"])
def test_forecast_weather_is_altered_too(chain: Path, tmp_path: Path, kind: str) -> None:
    weather = (
        forecast_weather(tmp_path / "w.nc", ISSUE, shift=1.5) if kind == "file" else weather_archive(tmp_path / "w.nc")
    )
    soilcast.forecast(chain / "runs" / "ahead", chain / "cube", tmp_path / "out", issue=ISSUE, weather=weather)
    stored = loaded(tmp_path / "out")
    runs = {stored.attrs["weights_sha256"]: chain / "runs" / "ahead"}
    with client(tmp_path / "out", cube=chain / "cube", runs=runs, weather=(weather,)) as http:
        layer = what_if(http, chain, rain="80,80,80").json()["layers"]["swvl1"]
        assert np.allclose(layer["as_forecast"], stored["swvl1"].isel(cell=2, time=0), atol=1e-5)
        assert layer["changed"] != layer["as_forecast"]
    with client(tmp_path / "out", cube=chain / "cube", runs=runs) as http:
        refused = what_if(http, chain, rain="80")
        assert refused.status_code == 400
        assert "start with --weather FILES" in refused.json()["description"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("altered", "told"),
    [
        ({"collection": "blind"}, "knows no weather of the coming days"),
        ({"rain": "1,2,3,4"}, "at most 3 numbers of -500 to 500 mm"),
        ({"rain": "a lot"}, "write numbers with commas"),
        ({"rain": "nan"}, "rain: give at most 3 numbers"),
        ({"heat": "90"}, "-20 to 20 K"),
        ({"heat": "1e999"}, "-20 to 20 K"),
    ],
)
def test_what_cannot_be_altered_is_told(chain: Path, http: httpx.Client, altered: dict[str, str], told: str) -> None:
    answer = what_if(http, chain, **altered)
    assert answer.status_code == 400
    assert told in answer.json()["description"]


@pytest.mark.slow
def test_without_a_run_or_cube_nothing_is_altered(chain: Path) -> None:
    runs = {loaded(chain / "forecasts" / "ahead").attrs["weights_sha256"]: chain / "runs" / "ahead"}
    for beside, told in (
        ({"cube": chain / "cube"}, "start with --run RUN"),
        ({"runs": runs}, "start with --cube CUBE"),
    ):
        with client(chain, **beside) as http:
            collections = http.get("/map/catalogue").json()["collections"]
            assert not any(one["can_what_if"] for one in collections)
            answer = what_if(http, chain, rain="1")
            assert answer.status_code == 400
            assert told in answer.json()["description"]


@pytest.mark.slow
def test_the_catalogue_says_what_there_is(chain: Path, http: httpx.Client) -> None:
    found = {one["id"]: one for one in http.get("/map/catalogue").json()["collections"]}
    ahead, blind = found["ahead"], found["blind"]
    assert ahead["can_what_if"]
    assert not blind["can_what_if"]
    assert ahead["has_scores"]
    assert not blind["has_scores"]
    assert ahead["has_climate"]
    assert ahead["layers"] == [
        {"name": "swvl1", "title": "volumetric soil water, layer 1", "depth_from": 0, "depth_to": 0.07}
    ]
    names = [one["name"] for one in blind["variables"]]
    assert names[0] == "swvl1"
    assert "swvl1_quantile" not in names
    assert next(one for one in blind["variables"] if one["name"] == "swvl1")["can_change"]
    assert blind["default"] == {"variable": "swvl1_drought_probability", "drought_class": "D2"}


def test_without_anything_beside_a_place_says_what_is_missing(tmp_path: Path) -> None:
    forecast = loaded(issue(tmp_path, "2020-05-03", cells=40))
    where = {"collection": "lstm", "lat": float(forecast["lat"][0]), "lon": float(forecast["lon"][0])}
    with client(tmp_path) as http:
        found = http.get("/map/place", params=where).json()
        layer = found["layers"]["swvl1"]
        assert layer["past"] is layer["climate"] is layer["skill"] is found["station"] is None
        assert close(layer["percentile"], forecast["swvl1_percentile"].isel(cell=0, time=0))
        assert set(found["reasons"]) == {"past", "climate", "skill", "what_if"}
        lat, lon = where["lat"], where["lon"]
        assert found["extent"] == [lon - 2, lat - 2, lon + 2, lat + 2]
        assert found["reasons"]["past"] == "no cube is served: start with --cube CUBE"
        for wrong, status in (({"lat": 91, "lon": 0}, 400), ({"lat": 1}, 400), ({"lat": 10, "lon": 10}, 404)):
            assert http.get("/map/place", params={"collection": "lstm", **wrong}).status_code == status


def test_stations_are_places_with_their_observations(tmp_path: Path) -> None:
    forecast = loaded(issue(tmp_path / "forecasts", "2020-05-03", cells=300))
    cube = small_cube(3, 500, grid=False, start="2019-01-01")
    moved = cube.assign_coords(
        lat=("cell", [*(forecast["lat"].to_numpy()[[7, 9]] + 0.5), -89.0], cube["lat"].attrs),
        lon=("cell", [*(forecast["lon"].to_numpy()[[7, 9]] - 0.5), 0.0], cube["lon"].attrs),
        cell_name=("cell", ["Net/One", "Net/One", "Net/Far"]),
    )
    save_cube(moved, tmp_path / "stations")
    with client(tmp_path / "forecasts", stations=tmp_path / "stations") as http:
        assert http.get("/map/catalogue").json()["collections"][0]["places"] == 2
        features = http.get("/map/places", params={"collection": "lstm"}).json()["features"]
        assert [one["properties"]["id"] for one in features] == ["Net-One", "Net-One-2"]
        assert [one["properties"]["cell"] for one in features] == [7, 9]
        found = http.get("/map/place", params={"collection": "lstm", "station": "Net-One-2"}).json()
        assert (found["cell"], found["name"]) == (9, "Net/One")
        assert 10 < found["distance_km"] < 100
        observed = found["station"]["observations"]["swvl1"]
        expected = cube["swvl1"].isel(cell=1).sel(time=slice("2020-03-05", "2020-05-13"))
        assert observed["days"] == [str(day)[:10] for day in expected["time"].to_numpy()]
        assert close(observed["values"], expected)
        assert http.get("/map/place", params={"collection": "lstm", "station": "Net-Far"}).status_code == 404
        listed = http.get("/edr/collections/lstm/locations").json()["features"]
        assert [one["id"] for one in listed] == ["Net-One", "Net-One-2"]
        answer = http.get("/edr/collections/lstm/locations/Net-One", params={"parameter-name": "swvl1"}).json()
        assert close(answer["ranges"]["swvl1"]["values"], forecast["swvl1"].isel(cell=7, time=0))
