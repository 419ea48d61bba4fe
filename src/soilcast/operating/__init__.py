"""A forecast every morning: fetch, update, bridge, forecast, publish; each step is done once, and resumed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from soilcast.cube.calendar import day_of, days_of
from soilcast.errors import SoilcastError
from soilcast.files import locked, make_folder
from soilcast.operating.config import load_daily
from soilcast.operating.day import Day, LateError
from soilcast.operating.record import LOG, Record
from soilcast.operating.steps import MAY_FAIL, STEPS, freshness
from soilcast.progress import Log
from soilcast.training import open_run

__all__ = ["LateError", "Outcome", "daily", "daily_status"]

_LOCK = ".soilcast-daily-lock"
_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Outcome:
    """What came of an issue day.

    Parameters
    ----------
    issue_day
        It.
    forecast
        The forecast, None where there is none.
    is_new
        Whether it was made now.
    late
        Why there is none yet; empty if there is.
    failed
        Steps that failed, though the chain went on, with their reason.
    """

    issue_day: str
    forecast: Path | None
    is_new: bool
    late: str
    failed: tuple[str, ...]


def daily(
    config: str | Path,
    *,
    day: str | None = None,
    simulate: str | None = None,
    progress: bool = False,
    log: Log | None = None,
) -> list[Outcome]:
    """Make the forecast of the day, or those of a past period as they would have been made.

    The steps are fetching (reanalysis, weather forecast), updating the cube, removing what is old, checking how old the
    inputs are, bridging the days by which the reanalysis is late, forecasting and publishing. A step whose output
    stands, made of the same inputs, is not done again, so that the same call resumes after any end. One process works
    in the folder at a time. What is done stands in ``log.jsonl``, a JSON object a line.

    Parameters
    ----------
    config
        YAML file (`soilcast.operating.config.DailyConfig`).
    day
        Issue day; by default yesterday [UTC], so that lead 1 is today.
    simulate
        Period of issue days, such as ``2026-09-01:2026-10-31``: each is forecast with what was known on it. Nothing is
        fetched; of the reanalysis days up to ``reanalysis.latency`` before are known, of the weather forecasts those
        that had started. Output goes to the folder ``simulated`` inside that of the config.
    progress
        Show progress bars.
    log
        Called with a line for each step that did something.

    Returns
    -------
    One outcome for each issue day.

    Raises
    ------
    LateError
        Another process is at work in the folder.
    SoilcastError
        A wrong config, run or cube; a step that failed without which there is no forecast.
    """
    path = Path(config)
    loaded = load_daily(path)
    say = log or (lambda line: None)
    if simulate is not None and day is not None:
        raise SoilcastError("--day and --simulate: give one of the two")
    folder = Path(loaded.folder) / "simulated" if simulate is not None else Path(loaded.folder)
    days = _days(day, simulate)
    run = open_run(loaded.run)
    make_folder(folder, folder)
    with _alone(folder):
        record = Record(folder)
        return [
            _do(Day(loaded, run, one, folder, record, is_simulated=simulate is not None, progress=progress), say)
            for one in days
        ]


def daily_status(config: str | Path) -> list[str]:
    """Say how old the inputs of a daily chain are, which forecast is the newest, and what failed last.

    Raises
    ------
    SoilcastError
        A wrong config, run or cube.
    """
    loaded = load_daily(Path(config))
    folder = Path(loaded.folder)
    record = Record(folder)
    issue = _yesterday()
    told = [f"issue day {issue}"]
    try:
        told.append(freshness(Day(loaded, open_run(loaded.run), issue, folder, record)))
    except LateError as error:
        told.append(f"late: {error}")
    forecasts = sorted(one.name for one in (folder / "forecasts").glob("????-??-??"))
    told.append(f"newest forecast: {forecasts[-1] if forecasts else 'none'}")
    lines = list(record.lines())
    ended = [line for line in lines if line.get("step") == "day"]
    if ended:
        told.append(f"last run: {ended[-1].get('time')}, {ended[-1].get('status')}")
    failed = [line for line in lines if line.get("status") == "failed"]
    if failed:
        told.append(f"last failure: {failed[-1].get('time')}, {failed[-1].get('step')}: {failed[-1].get('text')}")
    return told


def _do(day: Day, say: Log) -> Outcome:
    """Do the steps of a day."""
    failed: list[str] = []
    done: list[str] = []
    issue = str(day.issue)
    for name, step in STEPS.items():
        began = time.monotonic()
        status, text = "unchanged", None
        try:
            text = step(day)
            status = "unchanged" if text is None else "done"
        except LateError as error:
            status, text = "late", str(error)
        except SoilcastError as error:
            status, text = "failed", str(error)
        seconds = round(time.monotonic() - began, 3)
        if status != "unchanged":
            day.record.log(issue_day=issue, step=name, status=status, seconds=seconds, text=text)
            say(f"{issue}: {name}: {'' if status == 'done' else f'{status}: '}{text}")
        if status == "done":
            done.append(name)
        if status == "late":
            day.record.log(issue_day=issue, step="day", status="late", text=text)
            return Outcome(issue, None, False, str(text), tuple(failed))
        if status == "failed":
            failed.append(f"{name}: {text}")
            if name not in MAY_FAIL:
                day.record.log(issue_day=issue, step="day", status="failed", text=text)
                raise SoilcastError(f"{issue}: {name}: {text} (see {day.folder / LOG})")
    if done or not day.is_simulated:
        day.record.log(issue_day=issue, step="day", status="done", text="; ".join(failed))
    return Outcome(issue, day.forecast, "forecast" in done, "", tuple(failed))


def _days(day: str | None, simulate: str | None) -> list[np.datetime64]:
    if simulate is None:
        return [day_of(day, "--day") if day is not None else _yesterday()]
    first, last = (one.astype("datetime64[D]") for one in days_of(simulate))
    days = first + np.arange(int((last - first) / _DAY) + 1) * _DAY
    return [np.datetime64(str(one), "D") for one in days]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with ExitStack() as stack:
        busy = f"{folder}: another soilcast daily is at work there: wait for it to end"
        try:
            stack.enter_context(locked(folder / _LOCK, busy))
        except SoilcastError as error:
            raise LateError(str(error)) from error
        yield


def _yesterday() -> np.datetime64:
    return np.datetime64(datetime.now(UTC).date(), "D") - _DAY
