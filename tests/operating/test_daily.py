"""A chain that runs every morning: the same forecasts as in one go, whatever ends it, and late inputs told."""

from __future__ import annotations

import json
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml

import soilcast
from soilcast.cube import open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.operating import LateError, daily, daily_status
from soilcast.operating.config import load_daily
from soilcast.operating.record import Record
from tests.helpers.forks import start_command
from tests.helpers.multiday import AHEAD, CELLS, DAYS, LEADS, quick, weather_archive
from tests.helpers.open_data_server import mirroring
from tests.helpers.small import small_cube
from tests.helpers.weather_steps import IFS, truth_of, write_steps
from tests.test_commands import refusal, run

NAMES = ("tp", "t2m")
PERIOD = "2020-01-07:2020-01-09"
EXPORTS: list[dict[str, Any]] = [
    {"file": "soil.csv", "variable": "swvl1"},
    {"file": "dry.tif", "variable": "swvl1_drought_probability", "drought_class": "D1", "lead": [1]},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube, a run that knows soil moisture five days late, and forecasts of the weather in GRIB."""
    path = tmp_path_factory.mktemp("daily")
    save_cube(small_cube(CELLS, DAYS), path / "cube")
    quick(path / "cube", path / "run", "task.dynamic=[t2m,tp]", AHEAD, "task.latency={lags: 5}")
    quick(path / "cube", path / "without-weather", "task.dynamic=[t2m,tp]", "task.latency=5")
    (path / "grib").mkdir()
    for issue in np.arange("2019-12-31", "2020-01-10", dtype="datetime64[D]"):
        truths = truth_of(str(issue), NAMES, leads=LEADS + 2)
        write_steps(path / "grib" / f"{issue}.grib", truths, IFS, NAMES, range(0, 24 * LEADS + 1, 6))
    weather_archive(path / "archive.nc")
    return path


def config_of(made: Path, path: Path, /, **changes: Any) -> Path:
    content: dict[str, Any] = {
        "run": str(made / "run"),
        "cube": str(made / "cube"),
        "folder": "chain",
        "weather": {"files": [str(made / "grib")], "correction": "none"},
        "exports": EXPORTS,
        "report": False,
    }
    path.write_text(yaml.safe_dump(content | changes))
    return path


def same_forecasts(found: Path, whole: xr.Dataset, days: int) -> None:
    made = sorted(one.name for one in found.iterdir())
    assert len(made) == days
    for issue in made:
        with xr.open_zarr(found / issue, consolidated=False) as one:
            for name in ("swvl1", "swvl1_quantile", "soil_moisture_age"):
                wanted = whole[name].sel(time=[np.datetime64(issue)])
                np.testing.assert_allclose(one[name], wanted, rtol=0, atol=1e-6, err_msg=f"{issue} {name}")
            if issue > made[0]:
                assert json.loads(one.attrs["bridged"])["days"][-1] == issue


# ---------------------------------------------------------------- days one after the other are all days in one go


def batch(folder: Path, out: Path, period: str) -> xr.Dataset:
    first, last = (np.datetime64(day) for day in period.split(":"))
    days = f"{first + 1}:{last + LEADS}"
    return soilcast.forecast(folder / "run", folder / "cube", out, period=days, weather="observed")


@pytest.mark.slow
def test_simulated_days_are_one_batch_run(folder: Path, tmp_path: Path) -> None:
    config = config_of(folder, tmp_path / "daily.yaml")
    found = daily(config, simulate=PERIOD)
    assert [one.issue_day for one in found] == ["2020-01-07", "2020-01-08", "2020-01-09"]
    assert all(one.is_new and not one.late and not one.failed for one in found)
    made = tmp_path / "chain" / "simulated"
    same_forecasts(made / "forecasts", batch(folder, tmp_path / "batch", PERIOD), 3)
    files = ["dry.qml", "dry.tif", "soil.csv", "soil.csv-metadata.json"]
    assert sorted(one.name for one in (made / "products" / "2020-01-07").iterdir()) == files
    latest = json.loads((made / "products" / "latest.json").read_text())
    assert (latest["issue_day"], latest["files"]) == ("2020-01-09", files)
    assert "weather forecast of 2020-01-10T00 UTC" in latest["weather_title"]
    again = daily(config, simulate=PERIOD)
    assert not any(one.is_new for one in again)
    lines = list(Record(made).lines())
    assert {line["step"] for line in lines if line["status"] == "done"} == {
        "ages",
        "bridge",
        "forecast",
        "publish",
        "day",
    }
    assert all({"time", "issue_day", "step", "status"} <= set(line) for line in lines)


@pytest.mark.slow
def test_twelve_days_killed_at_every_step_are_one_batch_run(folder: Path, tmp_path: Path) -> None:
    period = "2019-12-27:2020-01-07"
    weather = {"files": [str(folder / "archive.nc")], "correction": "none"}
    config = config_of(folder, tmp_path / "daily.yaml", weather=weather, exports=[], keep_days=90)
    log = tmp_path / "chain" / "simulated" / "log.jsonl"
    rng = np.random.default_rng(0)
    kills = 0
    while True:
        process = start_command("daily", config, "--simulate", period)
        # Killed after some more steps, at any time within the next.
        wanted = (len(log.read_text().splitlines()) if log.exists() else 0) + int(rng.integers(3, 15))
        while process.poll() is None and (not log.exists() or len(log.read_text().splitlines()) < wanted):
            time.sleep(0.005)
        if process.poll() is None:
            time.sleep(float(rng.random()) * 0.1)
            process.kill()
            process.wait()
            kills += 1
            continue
        assert process.returncode == 0
        break
    assert kills >= 5
    made = tmp_path / "chain" / "simulated"
    same_forecasts(made / "forecasts", batch(folder, tmp_path / "batch", period), 12)
    assert len(list((made / "products").glob("2*"))) == 12
    assert not list(made.rglob("*.partial")), "leftovers"
    assert not list(made.rglob("*.unfinished")), "leftovers"


@pytest.mark.slow
def test_new_days_are_appended_as_they_become_known(folder: Path, tmp_path: Path) -> None:
    whole = small_cube(CELLS, DAYS)
    save_cube(whole.sel(time=slice(None, "2020-01-03")), tmp_path / "short")
    config = config_of(folder, tmp_path / "daily.yaml", cube=str(tmp_path / "short"))
    found = daily(config, day="2020-01-08")
    assert found[0].forecast == tmp_path / "chain" / "forecasts" / "2020-01-08"
    same_forecasts(tmp_path / "chain" / "forecasts", batch(folder, tmp_path / "batch", "2020-01-08:2020-01-08"), 1)
    shutil.rmtree(tmp_path / "short")
    save_cube(whole.sel(time=slice(None, "2020-01-04")), tmp_path / "short")
    assert daily(config, day="2020-01-08")[0].is_new, "the reanalysis has another day now"
    assert not daily(config, day="2020-01-08")[0].is_new


@pytest.mark.slow
def test_a_run_without_weather_needs_none(folder: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"run": str(folder / "without-weather"), "weather": {}, "report": True, "exports": []}
    config = config_of(folder, tmp_path / "daily.yaml", **changes)
    (found,) = daily(config, simulate="2020-01-08:2020-01-08")
    assert found.forecast is not None
    page = tmp_path / "chain" / "simulated" / "products" / "2020-01-08" / "report.html"
    assert page.read_text().startswith("<!doctype html>")
    whole = soilcast.forecast(
        folder / "without-weather", folder / "cube", tmp_path / "whole", period="2020-01-09:2020-01-11"
    )
    with xr.open_zarr(found.forecast, consolidated=False) as made:
        np.testing.assert_array_equal(made["swvl1"], whole["swvl1"])


@pytest.mark.slow
def test_forecasts_are_fetched_from_a_mirror_with_the_first_days_of_those_before(folder: Path, tmp_path: Path) -> None:
    today = np.datetime64(datetime.now(UTC).date(), "D")
    known = today - 6
    cube = small_cube(CELLS, DAYS)
    days = known - np.arange(DAYS)[::-1]
    cube.attrs["genuine"] = "t2m tp"  # the runs of the mirror are all the same
    save_cube(cube.assign_coords(time=("time", days.astype("datetime64[ns]"), cube["time"].attrs)), tmp_path / "cube")
    run_of_today = quick(
        tmp_path / "cube", tmp_path / "run", "task.dynamic=[t2m,tp]", AHEAD, "task.latency={lags: 5}",
        f"split.test={days[-60]}:{days[-1]}",
    )  # fmt: skip
    assert run_of_today.record["status"] == "finished"
    with mirroring() as mirror:
        mirror.add("ifs", f"{today}T00", range(0, 24 * LEADS + 1, 6))
        for before in range(1, 6):
            mirror.add("ifs", f"{today - before}T00", range(0, 25, 6))
        download = {"source": mirror.url, "parameters": ["t2m", "tp"], "days": LEADS}
        changes: dict[str, Any] = {"run": "run", "cube": "cube", "exports": []}
        config = config_of(folder, tmp_path / "daily.yaml", weather={"download": download}, **changes)
        (found,) = daily(config)
        assert (found.issue_day, found.late, found.failed) == (str(today - 1), "", ())
        assert found.forecast is not None
        fetched = mirror.count("data")
        assert not daily(config)[0].is_new
        assert mirror.count("data") == fetched
        old = tmp_path / "chain" / "weather" / "ifs_2001-01-01T00_000h.grib"
        shutil.copy(next(old.parent.glob("*_000h.grib")), old)
        assert not daily(config)[0].is_new, "what is removed has no part in the forecast"
        assert not old.exists()
        mirror.files.clear()
        again = daily(config)[0]
        assert again.forecast == found.forecast
        assert again.failed[0].startswith("fetch weather: 1 of 1 forecasts: ")
    with xr.open_zarr(found.forecast, consolidated=False) as made:
        bridged = json.loads(made.attrs["bridged"])
        assert bridged["starts"] == [f"{today - before}T00" for before in range(5, 0, -1)]
        assert np.isfinite(made["swvl1"]).all()


# ---------------------------------------------------------------- what is late, what is removed, what is said


@pytest.mark.slow
def test_a_late_reanalysis_is_told_with_exit_code_75(folder: Path, tmp_path: Path) -> None:
    config = config_of(folder, tmp_path / "daily.yaml", reanalysis={"oldest": 3})
    (found,) = daily(config, simulate="2020-01-08:2020-01-08")
    assert found.forecast is None
    assert "the reanalysis ends 2020-01-03, 5 days before the issue day 2020-01-08, more than" in found.late
    _, errors = run("daily", config, "--simulate", "2020-01-08:2020-01-08", expect=75)
    assert errors.splitlines()[-1].startswith("soilcast: the reanalysis ends 2020-01-03")
    lines = list(Record(tmp_path / "chain" / "simulated").lines())
    assert (lines[-1]["step"], lines[-1]["status"]) == ("day", "late")


@pytest.mark.slow
def test_an_old_weather_forecast_is_refused_or_taken_as_the_config_says(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    shutil.copy(folder / "grib" / "2020-01-06.grib", tmp_path / "old")
    truths = truth_of("2020-01-06", NAMES, leads=LEADS + 3)
    write_steps(tmp_path / "old" / "2020-01-06.grib", truths, IFS, NAMES, range(0, 24 * (LEADS + 2) + 1, 6))
    weather: dict[str, Any] = {"files": [str(tmp_path / "old")], "correction": "none"}
    short = {"run": str(folder / "run"), "reanalysis": {"latency": 1}}
    config = config_of(folder, tmp_path / "daily.yaml", weather=weather, **short)
    (found,) = daily(config, simulate="2020-01-08:2020-01-08")
    assert "of 2020-01-07T00 UTC, 48 hours before that day, more than weather.oldest 24" in found.late
    config = config_of(folder, tmp_path / "daily.yaml", weather=weather | {"when_late": "continue"}, **short)
    (found,) = daily(config, simulate="2020-01-08:2020-01-08")
    assert found.forecast is not None
    (found,) = daily(config, simulate="2020-01-15:2020-01-15")
    assert "2020-01-07T00 UTC" in found.late


def test_no_weather_at_all_is_late(folder: Path, tmp_path: Path) -> None:
    config = config_of(folder, tmp_path / "daily.yaml", weather={"files": ["nowhere"]})
    (found,) = daily(config, simulate="2020-01-08:2020-01-08")
    assert "there is no weather forecast, which the run needs for tp, t2m" in found.late


@pytest.mark.slow
def test_a_fetch_that_fails_does_not_stop_what_can_be_made(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CDSAPI_URL", "CDSAPI_KEY"):
        monkeypatch.delenv(name, raising=False)
    save_cube(small_cube(CELLS, DAYS).sel(time=slice(None, "2020-01-03")), tmp_path / "short")
    reanalysis = {"download": {"area": "62/5/47/12"}}
    config = config_of(folder, tmp_path / "daily.yaml", cube=str(tmp_path / "short"), reanalysis=reanalysis)
    (found,) = daily(config, day="2020-01-08")
    assert found.forecast is not None
    assert found.failed[0].startswith("fetch reanalysis: ")
    assert any(line.startswith("last failure: ") for line in daily_status(config))


@pytest.mark.slow
def test_days_that_are_no_longer_kept_are_removed(folder: Path, tmp_path: Path) -> None:
    config = config_of(folder, tmp_path / "daily.yaml", keep_days=2, exports=EXPORTS[:1])
    daily(config, simulate=PERIOD)
    made = tmp_path / "chain" / "simulated"
    assert sorted(one.name for one in (made / "forecasts").iterdir()) == ["2020-01-08", "2020-01-09"]
    assert sorted(one.name for one in (made / "products").iterdir()) == ["2020-01-08", "2020-01-09", "latest.json"]


@pytest.mark.slow
def test_products_of_an_earlier_day_do_not_become_the_newest(folder: Path, tmp_path: Path) -> None:
    config = config_of(folder, tmp_path / "daily.yaml", publish="public")
    for day in ("2020-01-08", "2020-01-07"):
        save_cube(small_cube(CELLS, DAYS).sel(time=slice(None, "2020-01-03")), tmp_path / day)
        config = config_of(folder, tmp_path / "daily.yaml", publish="public", cube=str(tmp_path / day))
        daily(config, day=day)
    assert json.loads((tmp_path / "public" / "latest.json").read_text())["issue_day"] == "2020-01-08"
    assert (tmp_path / "public" / "2020-01-07" / "soil.csv").exists()


@pytest.mark.slow
def test_the_status_says_how_old_everything_is(folder: Path, tmp_path: Path) -> None:
    config = config_of(folder, tmp_path / "daily.yaml")
    said, _ = run("daily", config, "--status")
    assert "reanalysis to 2020-02-19" in said or "late: " in said
    assert "newest forecast: none" in said
    assert not (tmp_path / "chain").exists()


def test_one_chain_works_in_a_folder_at_a_time(folder: Path, tmp_path: Path) -> None:
    from soilcast.files import locked

    config = config_of(folder, tmp_path / "daily.yaml")
    (tmp_path / "chain" / "simulated").mkdir(parents=True)
    with (
        locked(tmp_path / "chain" / "simulated" / ".soilcast-daily-lock"),
        pytest.raises(LateError, match="another soilcast daily is at work there"),
    ):
        daily(config, simulate=PERIOD)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "key": ({"weathers": {}}, "unknown key weathers: did you mean weather"),
    "value": ({"weather": {"oldest": -1}}, "weather.oldest"),
    "file": ({"exports": [{"file": "../x.tif", "variable": "swvl1"}]}, "give the name of a file, without a folder"),
    "twice": ({"exports": [EXPORTS[0], dict(EXPORTS[0])]}, "two of them have the same file"),
    "folder": ({"folder": "chain", "cube": "chain"}, "folder is the same as cube"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_config_is_refused(folder: Path, tmp_path: Path, what: str) -> None:
    changes, words = WRONG[what]
    with pytest.raises(SoilcastError) as caught:
        load_daily(config_of(folder, tmp_path / "daily.yaml", **changes))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_day_and_a_period_are_not_asked_for_together(folder: Path, tmp_path: Path) -> None:
    config = config_of(folder, tmp_path / "daily.yaml")
    told = refusal("daily", config, "--day", "2020-01-08", "--simulate", PERIOD)
    assert "--day and --simulate: give one of the two" in told


def test_a_line_that_was_cut_does_not_spoil_the_log(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": "one"}\n{"step": "tw')
    record = Record(tmp_path)
    record.log(step="three")
    assert [line["step"] for line in Record(tmp_path).lines()] == ["one", "three"]


def test_a_damaged_state_is_told(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("[1")
    with pytest.raises(SoilcastError, match=r"state\.json: damaged: remove it"):
        Record(tmp_path)


@pytest.mark.slow
def test_the_cube_itself_is_taken_where_it_reaches_the_issue_day(folder: Path, tmp_path: Path) -> None:
    config = config_of(folder, tmp_path / "daily.yaml", reanalysis={"latency": 0})
    (found,) = daily(config, simulate="2020-01-08:2020-01-08")
    assert found.forecast is not None
    with xr.open_zarr(found.forecast, consolidated=False) as made:
        assert "bridged" not in made.attrs
        assert made.attrs["cube_sha256"] == open_cube(folder / "cube").attrs["content_sha256"]
    assert not (tmp_path / "chain" / "simulated" / "bridged").exists()
