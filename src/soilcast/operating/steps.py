"""The steps of a day, in order: each does nothing where its output stands already, made of the same inputs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import xarray as xr

from soilcast.cube import open_cube
from soilcast.downloading import download, download_forecast
from soilcast.downloading.record import ENDINGS
from soilcast.errors import SoilcastError
from soilcast.exporting import export
from soilcast.files import put_in_place, replace_file
from soilcast.forecasting import forecast
from soilcast.operating.config import REPORT
from soilcast.operating.day import Day, LateError
from soilcast.operating.record import files_mark
from soilcast.reporting import report
from soilcast.updating import update
from soilcast.weather import forecast_start
from soilcast.weather.bridging import bridge
from soilcast.weather.forecast_runs import NoForecastError

LATEST = "latest.json"
"""Says which products are the newest."""

_PARTIAL = ".partial"

_DAY = np.timedelta64(1, "D")
_HOUR = np.timedelta64(1, "h")


def fetch_reanalysis(day: Day) -> str | None:
    """Fetch what the store has beyond the last day of the cube."""
    wanted = day.config.reanalysis.download
    if wanted is None or day.is_simulated or day.last_known >= day.issue:
        return None
    begin = day.last_known + _DAY
    options = wanted.model_dump()
    found = download(
        years=f"{begin}:latest", out=day.reanalysis, progress=day.progress, log=lambda line: None, **options
    )
    return f"{len(found)} file(s)" if found else None


def update_cube(day: Day) -> str | None:
    """Append the new days to the cube."""
    files = day.reanalysis_files
    if not files or day.last_known >= day.known_until:
        return None
    made_of = [files_mark(files), day.last_known, day.known_until if day.is_simulated else "all"]
    if day.record.is_made("update", made_of):
        return None
    before = day.last_known
    try:
        update(day.config.cube, files, overlap="replace", until=str(day.known_until), progress=day.progress)
    finally:
        day.look_again()
    after = day.last_known
    if day.config.reanalysis.download is not None and not day.is_simulated:
        for file in day.reanalysis.glob("[!.]*.*"):
            if file.suffix in ENDINGS:
                file.unlink()  # its days are in the cube
        made_of[0] = files_mark(day.reanalysis_files)
    day.record.note("update", [made_of[0], after, made_of[2]])
    return f"{int((after - before) / _DAY)} day(s) appended, to {after}" if after > before else None


def fetch_weather(day: Day) -> str | None:
    """Fetch the latest weather forecast, and the first days of those that days are bridged with."""
    wanted = day.config.weather.download
    if wanted is None or day.is_simulated or not day.names:
        return None
    before = day.newest_weather(), day.earlier_weather()
    is_today = day.issue + _DAY >= np.datetime64(datetime.now(UTC).date(), "D")
    starts: dict[str | None, int] = {None if is_today else f"{day.issue + _DAY}T00": wanted.days}
    for late in np.arange(day.last_known + _DAY, day.issue + _DAY):
        if not (day.downloads / f"{wanted.model}_{late}T00_024h.grib").exists():
            starts[f"{late}T00"] = 1
    failed = []
    for start, days in starts.items():
        options = wanted.model_dump(exclude={"days"}) | {"days": days, "date": start}
        try:
            download_forecast(out=day.downloads, progress=day.progress, log=lambda line: None, **options)
        except SoilcastError as error:
            failed.append(str(error))
        finally:
            day.look_again()
    if failed:
        raise SoilcastError(f"{len(failed)} of {len(starts)} forecasts: {failed[0]}")
    new = {*day.newest_weather(), *day.earlier_weather()} - {one for paths in before for one in paths}
    return f"{len(new)} new file(s)" if new else None


def check_ages(day: Day) -> str | None:
    """See how old the inputs are, and stop where one is too old and the config says so."""
    if day.is_made:
        return None
    reanalysis, weather = day.config.reanalysis, day.config.weather
    age = int((day.issue - day.last_known) / _DAY)
    if age > reanalysis.oldest and reanalysis.when_late == "stop":
        raise LateError(
            f"the reanalysis ends {day.last_known}, {age} days before the issue day {day.issue}, more than "
            f"reanalysis.oldest {reanalysis.oldest}: run again when it has come, or set reanalysis.when_late: continue"
        )
    start = _start(day) if day.names else None
    first = (day.issue + _DAY).astype("datetime64[h]")
    hours = 0 if start is None else int((first - start) / _HOUR)
    if hours > weather.oldest and weather.when_late == "stop":
        raise LateError(
            f"the newest weather forecast for {day.issue + _DAY} is of {start} UTC, {hours} hours before that day, "
            f"more than weather.oldest {weather.oldest}: run again when it has come, or set weather.when_late: continue"
        )
    return _freshness(day, start)


def freshness(day: Day) -> str:
    """How old the inputs are, in words.

    Raises
    ------
    LateError
        There is no weather forecast that would do.
    """
    return _freshness(day, _start(day) if day.names else None)


def _freshness(day: Day, start: np.datetime64 | None) -> str:
    age = int((day.issue - day.last_known) / _DAY)
    told = f"reanalysis to {day.last_known}, {age} day(s) before the issue day"
    if not day.names:
        return told
    return f"{told}; weather forecast of {'daily values' if start is None else f'{start} UTC'}"


def _start(day: Day) -> np.datetime64 | None:
    """Start of the forecast that the days after the issue day are taken from, where files say it."""
    files = day.newest_weather()
    if not files:
        raise LateError(
            f"there is no weather forecast, which the run needs for {', '.join(day.names)}: give weather.files or "
            "weather.download, or run again when it has come"
        )
    with open_cube(day.config.cube) as cube:
        leads = day.run.config.task.lead_days
        try:
            return forecast_start(files, cube, day.names, day.issue, leads, units=day.units)
        except SoilcastError as error:
            raise LateError(str(error)) from error


def bridge_cube(day: Day) -> str | None:
    """Write the cube that goes on to the issue day."""
    weather = day.config.weather
    if day.last_known >= day.issue or day.is_made:
        return None
    made_of = [day.issue, *day.made_of]
    if day.record.is_made("bridge", made_of, day.bridged):
        return None
    try:
        bridge(
            day.config.cube,
            day.bridged,
            until=str(day.issue),
            known_until=str(day.last_known),
            weather=day.earlier_weather() if day.names else None,
            variables=day.names,
            correction=weather.correction,
            learn_days=weather.learn_days,
            units=day.units,
            lapse_rate=weather.lapse_rate,
            overwrite=True,
            progress=day.progress,
        )
    except NoForecastError as error:
        raise LateError(f"{error}; each bridged day takes a forecast of its own or an earlier one") from error
    day.record.note("bridge", made_of)
    return f"{day.last_known + _DAY} .. {day.issue}"


def make_forecast(day: Day) -> str | None:
    """Forecast the days after the issue day."""
    if day.is_made:
        return None
    made_of, weather = day.made_of, day.config.weather
    cube = day.bridged if day.last_known < day.issue else Path(day.config.cube)
    day.forecast.parent.mkdir(parents=True, exist_ok=True)
    with forecast(
        day.config.run,
        cube,
        day.forecast,
        issue=str(day.issue),
        weather=day.newest_weather() if day.names else None,
        units=day.units,
        lapse_rate=weather.lapse_rate if day.names else None,
        gaps=day.config.gaps,
        overwrite=True,
        progress=day.progress,
    ) as made:
        notes = str(made.attrs.get("notes", ""))
        cells = made.sizes["cell"]
    day.record.note(f"forecast {day.issue}", made_of)
    return "; ".join([f"{cells} cells", *notes.splitlines()])


def publish(day: Day) -> str | None:
    """Make the products of the forecast and put them, all at once, where others find them."""
    config, out = day.config, day.products / str(day.issue)
    regions = [Path(one.regions.partition("|")[0]) for one in config.exports if one.regions]
    made_of = [files_mark([day.forecast, *regions]), config.exports, config.report]
    if day.record.is_made(f"products {day.issue}", made_of, out):
        _point_to(day, out)
        return None
    day.products.mkdir(parents=True, exist_ok=True)
    for left in day.products.glob(f".*{_PARTIAL}*"):
        shutil.rmtree(left)
    beside = day.products / f".{day.issue}{_PARTIAL}"
    beside.mkdir()
    for one in config.exports:
        options = one.model_dump(exclude={"file"}) | {"cube": config.cube if one.regions else None}
        export(day.forecast, beside / one.file, **options | {"lead": list(one.lead) if one.lead else None})
    if config.report:
        report(day.forecast, beside / REPORT, cube=config.cube)
    put_in_place(beside, out)
    day.record.note(f"products {day.issue}", made_of)
    _point_to(day, out)
    return f"{len(list(out.iterdir()))} file(s) in {out}"


def _point_to(day: Day, out: Path) -> None:
    """Say which products are the newest, unless those of a later day are."""
    path = day.products / LATEST
    if any(one.is_dir() and one.name > str(day.issue) for one in day.products.iterdir()):
        return
    with xr.open_zarr(day.forecast, consolidated=False) as made:
        said = {
            name: str(made.attrs[name]) for name in ("label", "title", "source", "weather_title") if name in made.attrs
        }
    content = {
        "issue_day": str(day.issue),
        "folder": out.name,
        "files": sorted(one.name for one in out.iterdir()),
        **said,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False).encode()
    if not (path.exists() and path.read_bytes() == text):
        replace_file(path, text)


def remove_old(day: Day) -> str | None:
    """Remove forecasts and products of days that are no longer kept, and downloads from which nothing is learnt."""
    removed = []
    for parent in (day.forecast.parent, day.products):
        for one in parent.iterdir() if parent.exists() else ():
            if _is_older(one.name, day.issue - day.config.keep_days * _DAY) and one.is_dir():
                shutil.rmtree(one)
                removed.append(one.name)
    if day.config.weather.download is not None and not day.is_simulated:
        first = day.issue - max(day.config.keep_days, day.config.weather.learn_days) * _DAY
        for file in day.downloads.glob("*_*T*_*h.grib"):
            if _is_older(file.name.split("_")[-2].partition("T")[0], first):
                file.unlink()
        day.look_again()
    day.record.forget([f"{step} {name}" for step in ("forecast", "products") for name in removed])
    return f"{', '.join(sorted(set(removed)))}" if removed else None


def _is_older(name: str, first: np.datetime64) -> bool:
    try:
        return bool(np.datetime64(name, "D") <= first) and len(name) == len("2026-11-30")
    except ValueError:
        return False


STEPS: dict[str, Callable[[Day], str | None]] = {
    "fetch reanalysis": fetch_reanalysis,
    "update": update_cube,
    "fetch weather": fetch_weather,
    "remove old": remove_old,  # before anything is made of what it removes
    "ages": check_ages,
    "bridge": bridge_cube,
    "forecast": make_forecast,
    "publish": publish,
}
"""Name -> what is done, which says in words what came of it; None where nothing was to be done."""

MAY_FAIL = ("fetch reanalysis", "update", "fetch weather")
"""Steps after which the chain goes on with what there is, as long as that is not too old."""
