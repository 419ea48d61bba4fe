"""Fetching reanalysis data from the Climate Data Store, a month and a group of variables a file, and weather forecasts
of ECMWF's open data, a step a file. To add a data set, add its line in `DATASETS`, and its command.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Sequence
from pathlib import Path

from soilcast.downloading.access import find_access
from soilcast.downloading.client import Pace, Store
from soilcast.downloading.datasets import DATASETS
from soilcast.downloading.forecasts import download_forecast
from soilcast.downloading.record import Record, folder_for
from soilcast.downloading.requests import (
    Area,
    Piece,
    check_choice,
    covers,
    parse_area,
    parse_period,
    pieces_of,
)
from soilcast.downloading.working import Work, leaves_of, unfinished
from soilcast.errors import SoilcastError
from soilcast.progress import Log, progress_bar

__all__ = ["DATASETS", "download", "download_forecast"]

_MOST_JOBS = 20

_LATEST = ":latest"
"""End of a period that goes as far as the data store does."""


def download(
    dataset: str = "era5-land",
    *,
    area: str | Area,
    years: str,
    out: str | Path,
    variables: Sequence[str] | None = None,
    product: str = "hourly",
    format: str = "netcdf",
    jobs: int = 2,
    verify: bool = False,
    wait: float = 1.0,
    timeout: float = 60.0,
    progress: bool = False,
    log: Log = print,
) -> list[Path]:
    """Download a region and period of a reanalysis into a folder, or resume a download.

    The data store limits requests, so there is one file per month and group of variables, and one more for 00 UTC of
    the day after the last one, at which accumulations since 00 UTC have the daily total. ``download.json`` in the
    folder records requests, sizes and checksums of files, and pending jobs, so that the same call resumes.

    Parameters
    ----------
    dataset
        Name in `DATASETS`.
    area
        North, west, south, east [degrees], or ``"N/W/S/E"``.
    years
        ``"2019"``, ``"2018:2020"``, or days such as ``"2019-06-15:2019-08-31"``; ``"2026-11-25:latest"`` ends with the
        last complete day that the data store has.
    out
        The folder, new or of an earlier download.
    variables
        Variables (short names); default: those of the paper.
    product
        ``"hourly"``; ``"daily"`` for daily means of states and daily totals of accumulated variables, computed by the
        data store.
    format
        ``"netcdf"`` or ``"grib"``.
    jobs
        Number of requests in the queue of the data store at a time, 1 .. 20.
    verify
        Verify the checksums of existing files, not only their sizes.
    wait
        First wait before a retry or status request [s]; doubles, up to 120.
    timeout
        Timeout of a response of the data store [s].
    progress
        Show a progress bar.
    log
        Called with progress messages: files downloaded again, split or superseded.

    Returns
    -------
    The files, month by month; none where a period up to ``latest`` has no complete day yet.

    Raises
    ------
    SoilcastError
        Invalid arguments or key, a fault of the folder, the disk or the data store; completed parts are kept.
    """
    names = check_choice(dataset, variables, product, format)
    north_west_south_east = parse_area(area if isinstance(area, str) else "/".join(map(str, area)), dataset)
    today = datetime.datetime.now(datetime.UTC).date()
    is_open = years.endswith(_LATEST)
    first, last = parse_period(f"{years.removesuffix(_LATEST)}:{today}" if is_open else years, dataset, today)
    if not 1 <= jobs <= _MOST_JOBS:
        raise SoilcastError(f"--jobs {jobs}: the data store limits parallel requests: give 1 .. {_MOST_JOBS}")
    if not (0 < wait < 1e6 and 0 < timeout < 1e6):
        raise SoilcastError(f"--wait {wait:g}, --timeout {timeout:g}: give seconds above 0")
    pace = Pace(wait, timeout)
    asked = functools.partial(
        pieces_of, dataset, north_west_south_east, first, variables=names, product=product, format=format
    )
    pieces = asked(last)
    if is_open:
        last = _last_day(pieces, last, Store(find_access(), pace))
        if last < first:
            log(f"nothing to download: the data store has no complete day from {first} on yet")
            return []
        pieces = asked(last)
    with folder_for(Path(out)) as record:
        missing = unfinished(pieces, record, verify=verify, log=log)
        if missing:
            store = Store(find_access(), pace)
            _refuse_days_to_come(missing, store)
            days = sum(piece.days for piece in leaves_of(pieces, record))
            done = days - sum(piece.days for piece in missing)
            with progress_bar(f"downloading {dataset}", days, shown=progress, done=done) as advance:
                Work(missing, store, record, jobs, pace, log, advance).run()
        _drop_superseded(pieces, record, log)
        return [path for piece in leaves_of(pieces, record) if (path := record.file_of(piece.name))]


def _last_day(pieces: Sequence[Piece], last: datetime.date, store: Store) -> datetime.date:
    """The last day of which the store has all: accumulations since 00 UTC end at 00 UTC of the next day."""
    ends = (store.last_day(name) for name in dict.fromkeys(piece.collection.name for piece in pieces))
    return min((end - datetime.timedelta(days=1) for end in ends if end is not None), default=last)


def _refuse_days_to_come(pieces: Sequence[Piece], store: Store) -> None:
    for name in dict.fromkeys(piece.collection.name for piece in pieces):
        end = store.last_day(name)
        wanted = max(piece.last for piece in pieces if piece.collection.name == name)
        if end is not None and wanted > end:
            raise SoilcastError(
                f"the data store has {name} up to {end}, but {wanted} is needed (accumulations since 00 UTC end at 00 "
                f"UTC of the next day): end --years at {end - datetime.timedelta(days=1)}"
            )


def _drop_superseded(pieces: Sequence[Piece], record: Record, log: Log) -> None:
    """Remove files of earlier downloads that lie wholly in a new one, and would give the same hours twice."""
    wanted = {piece.name: piece for piece in (*pieces, *leaves_of(pieces, record))}
    other = 0
    for name, entry in list(record.entries.items()):
        path = record.file_of(name)
        if name in wanted or path is None:
            continue
        if any(
            piece.collection.name == entry.collection and covers(piece.request, entry.request)
            for piece in wanted.values()
        ):
            log(f"{path.name}: removed, because a larger file contains all of it")
            path.unlink(missing_ok=True)
            record.put(name, None)
        else:
            other += 1
    if other:
        log(f"{record.out} also has {other} file(s) of earlier downloads")
