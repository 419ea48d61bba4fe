"""Which forecasts are served: found in folders, arriving while others are asked for, damaged ones told and left out."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from soilcast.cube import open_forecast
from soilcast.serving import catalogue
from soilcast.serving.catalogue import Catalogue
from soilcast.verify import evaluate
from tests.helpers.forecast_factory import made_cube, made_forecast
from tests.helpers.forks import wait_until
from tests.helpers.scores_factory import save_forecast
from tests.helpers.serving import client, issue, loaded, server

OTHER = "ee" * 32


@pytest.fixture(autouse=True)
def looked_for_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "LOOK_AGAIN", 0.0)


def issues(folder: Path) -> dict[str, list[str]]:
    snapshot = Catalogue([folder]).now()
    return {name: list(one.instances) for name, one in snapshot.collections.items()}


def test_forecasts_of_a_run_are_one_collection(tmp_path: Path) -> None:
    for day in ("2020-05-03", "2020-05-01", "2020-05-02"):
        issue(tmp_path, day, cells=30)
    issue(tmp_path, "2020-05-04", "as-netcdf.nc", cells=30)
    assert issues(tmp_path) == {"lstm": ["2020-05-01", "2020-05-02", "2020-05-03", "2020-05-04"]}
    assert issues(tmp_path / "2020-05-02") == {"lstm": ["2020-05-02"]}


def test_runs_and_cells_are_told_apart(tmp_path: Path) -> None:
    issue(tmp_path, "2020-05-01", "one", cells=30)
    issue(tmp_path, "2020-05-01", "two", cells=30, weights_sha256=OTHER)
    issue(tmp_path, "2020-05-01", "three", cells=40)
    issue(tmp_path, "2020-05-01", "four", cells=30, label="My model (2)", weights_sha256="aa" * 32)
    found = issues(tmp_path)
    assert found.keys() == {"lstm", "lstm-three", "lstm-two", "my-model-2"} or len(found) == 4
    assert "my-model-2" in found
    assert "lstm" in found


def test_forecasts_lie_in_folders_of_folders(tmp_path: Path) -> None:
    issue(tmp_path / "chain" / "forecasts", "2020-05-01", cells=30)
    issue(tmp_path / "chain" / "forecasts" / "deeper", "2020-05-02", cells=30)
    issue(tmp_path / "chain" / ".hidden", "2020-05-03", cells=30)
    issue(tmp_path / "chain" / "forecasts", "2020-05-04", "2020-05-04.unfinished", cells=30)
    (tmp_path / "chain" / "notes.txt").write_text("no forecast")
    (tmp_path / "chain" / "forecasts" / "other.nc").write_bytes(b"no NetCDF")
    assert issues(tmp_path / "chain") == {"lstm": ["2020-05-01"]}
    (broken,) = Catalogue([tmp_path / "chain"]).now().broken
    assert (broken.name, broken.reason.partition(" (")[0]) == ("other.nc", "cannot be read as a forecast")


def test_of_one_day_twice_the_forecast_of_fewer_days_counts(tmp_path: Path) -> None:
    issue(tmp_path, "2020-05-02", "single", cells=30)
    made = loaded(tmp_path / "single")
    longer = made.isel(time=[0, 0, 0]).assign_coords(
        time=np.array(["2020-05-01", "2020-05-02", "2020-05-03"], dtype="datetime64[ns]")
    )
    longer["swvl1"] = longer["swvl1"] * 0 + 0.5

    for name in longer.variables:
        longer[name].encoding = {}
    save_forecast(longer.drop_vars([name for name in longer if str(name).endswith("anomaly")]), tmp_path / "period")
    with client(tmp_path) as http:
        found = http.get("/map/catalogue").json()["collections"][0]
        assert found["issues"] == ["2020-05-01", "2020-05-02", "2020-05-03"]
        lat, lon = (float(made[name][3]) for name in ("lat", "lon"))
        where = {"collection": "lstm", "lat": lat, "lon": lon}
        single = http.get("/map/place", params={**where, "issue": "2020-05-02"}).json()["layers"]["swvl1"]
        of_period = http.get("/map/place", params={**where, "issue": "2020-05-03"}).json()["layers"]["swvl1"]
    assert single["coming"]["median"] != of_period["coming"]["median"]
    assert set(of_period["coming"]["median"]) == {0.5}


def test_what_arrives_is_seen_and_what_goes_is_forgotten(tmp_path: Path) -> None:
    issue(tmp_path, "2020-05-01", cells=30)
    with client(tmp_path) as http:
        assert http.get("/health").json()["newest_issue"] == "2020-05-01"
        issue(tmp_path, "2020-05-02", cells=30)
        assert http.get("/health").json()["newest_issue"] == "2020-05-02"
        issue(tmp_path, "2020-05-02", "other", cells=30, label="other", weights_sha256=OTHER)
        assert [one["id"] for one in http.get("/map/catalogue").json()["collections"]] == ["lstm", "other"]
        shutil.rmtree(tmp_path / "2020-05-02")
        shutil.rmtree(tmp_path / "other")
        found = http.get("/health").json()
        assert (found["newest_issue"], found["collections"]) == ("2020-05-01", 1)
        shutil.rmtree(tmp_path / "2020-05-01")
        assert http.get("/health").json() == {
            "status": "empty", "collections": 0, "issues": 0, "newest_issue": None, "broken": 0
        }  # fmt: skip
        assert http.get("/map/catalogue").json() == {"collections": [], "broken": []}
        assert http.get("/edr/collections/lstm").status_code == 404


@pytest.mark.parametrize("part", ["zarr.json", "swvl1/zarr.json", "swvl1/c/0/0/0", "time/c/0"])
def test_a_damaged_forecast_is_told_and_the_others_are_served(tmp_path: Path, part: str) -> None:
    issue(tmp_path, "2020-05-01", cells=30)
    damaged = issue(tmp_path, "2020-05-02", cells=30)
    with client(tmp_path) as http:
        assert http.get("/health").json()["broken"] == 0
        (damaged / part).write_bytes(b"\x00" * 50)
        (damaged / "zarr.json").touch()
        found = http.get("/map/catalogue").json()
        (broken,) = found["broken"]
        assert broken["name"] == "2020-05-02"
        assert broken["reason"]
        assert "\n" not in broken["reason"]
        assert str(tmp_path) not in broken["reason"]
        assert found["collections"][0]["issues"] == ["2020-05-01"]
        assert http.get("/tiles/lstm/2020-05-01/swvl1/0/0/0.png").status_code == 200
        shutil.rmtree(damaged)
        issue(tmp_path, "2020-05-02", cells=30)
        assert http.get("/health").json()["broken"] == 0


def test_values_that_are_damaged_later_are_told_as_that(tmp_path: Path) -> None:
    path = issue(tmp_path, "2020-05-01", cells=30)
    with client(tmp_path) as http:
        assert http.get("/tiles/lstm/2020-05-01/swvl2/0/0/0.png").status_code == 200
        (path / "swvl1" / "c" / "0" / "0" / "0").write_bytes(b"\x00" * 50)
        answer = http.get("/tiles/lstm/2020-05-01/swvl1/0/0/0.png")
        assert answer.status_code == 503
        assert answer.json()["description"].startswith("2020-05-01: swvl1 cannot be read")
        assert str(tmp_path) not in answer.text
        assert http.get("/tiles/lstm/2020-05-01/swvl2/0/0/0.png").status_code == 200


def test_a_forecast_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    issue(tmp_path, "2020-05-01", cells=30, seed=1)
    place = loaded(tmp_path / "2020-05-01")
    where = {"coords": f"POINT({float(place['lon'][0])} {float(place['lat'][0])})", "parameter-name": "swvl1"}
    with client(tmp_path) as http:
        for factor in (1.0, 0.5, 0.25):
            other = loaded(tmp_path / "2020-05-01")
            for name in other.variables:
                other[name].encoding = {}
            other["swvl1"] = place["swvl1"] * np.float32(factor)

            save_forecast(other, tmp_path / ".new")
            shutil.rmtree(tmp_path / "2020-05-01")
            (tmp_path / ".new").rename(tmp_path / "2020-05-01")
            found = http.get("/edr/collections/lstm/position", params=where).json()["ranges"]["swvl1"]["values"]
            assert np.array_equal(np.float32(found), place["swvl1"][0, 0].to_numpy() * np.float32(factor))


@pytest.mark.slow
def test_two_clients_ask_while_forecasts_arrive(tmp_path: Path) -> None:
    """Forecasts of issue days are renamed into the folder, and one store grows by replacement, as commands do it."""
    days = [f"2020-05-{day:02}" for day in range(1, 7)]
    ready, served = tmp_path / "ready", tmp_path / "served"
    for day in days:
        issue(ready, day, cells=100, seed=0)
    served.mkdir()
    (ready / days[0]).rename(served / days[0])
    expected = {}
    for day in days:
        with open_forecast(served / day if day == days[0] else ready / day) as opened:
            expected[day] = opened["swvl1"].isel(cell=5, time=0).to_numpy()
            where = f"POINT({float(opened['lon'][5])} {float(opened['lat'][5])})"
    faults: list[Any] = []
    seen: list[set[str]] = [set(), set()]
    done = threading.Event()

    def ask(number: int, address: str) -> None:
        with httpx.Client(base_url=address, timeout=120) as http:
            while not done.is_set() or len(seen[number]) < len(days):
                issues = http.get("/map/catalogue").json()["collections"][0]["issues"]
                day = issues[-1] if number else issues[len(seen[number]) % len(issues)]
                seen[number] |= set(issues)
                values = http.get(
                    f"/edr/collections/lstm/instances/{day}/position",
                    params={"coords": where, "parameter-name": "swvl1"},
                )
                tile = http.get(f"/tiles/lstm/{day}/swvl1/0/0/0.png")
                if values.status_code != 200 or tile.status_code != 200:
                    faults.append((values.text[:200], tile.text[:200]))
                elif not np.array_equal(np.float32(values.json()["ranges"]["swvl1"]["values"]), expected[day]):
                    faults.append(day)

    with server(served) as (address, process):
        clients = [threading.Thread(target=ask, args=(number, address)) for number in range(2)]
        for one in clients:
            one.start()
        for day in days[1:]:
            before = max(map(len, seen))
            (ready / day).rename(served / day)
            wait_until(lambda before=before: max(map(len, seen)) > before or bool(faults))  # type: ignore[misc]
        done.set()
        for one in clients:
            one.join(120)
        assert process.poll() is None
    assert not faults
    assert seen == [set(days), set(days)]


def test_what_is_damaged_beside_the_forecasts_is_told_and_they_are_served(tmp_path: Path) -> None:
    cube = made_cube(tmp_path / "cube")
    made_forecast(tmp_path / "forecasts" / "one", cube, leads=3, levels=(0.05, 0.5, 0.95))
    evaluate([tmp_path / "forecasts" / "one"], cube, tmp_path / "scores")
    with client(tmp_path / "forecasts", cube=cube, scores=tmp_path / "scores", stations=cube) as http:
        (found,) = http.get("/map/catalogue").json()["collections"]
        assert found["has_climate"]
        assert found["has_scores"]
        where = {"collection": "lstm", "lat": 10, "lon": 0}
        assert "past" not in http.get("/map/place", params=where).json()["reasons"]
        for file in (cube / "swvl1" / "zarr.json", cube / "zarr.json", tmp_path / "scores" / "scores.nc"):
            file.write_bytes(b"damaged")
        (found,) = http.get("/map/catalogue").json()["collections"]
        assert not found["has_climate"]
        assert not found["has_scores"]
        answer = http.get("/map/place", params=where)
        assert answer.status_code == 200
        assert answer.json()["layers"]["swvl1"]["coming"]["median"]
        reasons = answer.json()["reasons"]
        for part, name in (("past", "cube"), ("climate", "cube"), ("odds", "cube"), ("skill", "scores")):
            assert reasons[part].startswith(f"the {name} cannot be read: "), part
        assert str(tmp_path) not in answer.text
        day = found["issues"][3]
        assert http.get(f"/tiles/lstm/{day}/swvl1/0/0/0.png").status_code == 200
        assert http.get(f"/tiles/lstm/{day}/swvl1/0/0/0.png", params={"change": 7}).status_code == 400
