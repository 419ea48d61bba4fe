"""Fetching a weather forecast of ECMWF's open data: a file a step, each checked against what was asked for."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.filesize import decimal

from soilcast.downloading.client import Pace
from soilcast.downloading.fetching import WrongContentError
from soilcast.downloading.messages import check_fields, crop_fields
from soilcast.downloading.open_client import OpenData
from soilcast.downloading.open_data import MODELS, StepPiece, check_forecast, parse_run, pieces_of_run, run_name
from soilcast.downloading.record import Entry, Record, disk_fault, folder_for
from soilcast.downloading.requests import Area, read_area
from soilcast.errors import SoilcastError
from soilcast.files import flush_to_disk, sha256_of
from soilcast.progress import Log, progress_bar

_ATTEMPTS = 3
"""How often a step is begun whose content is wrong: files are replaced while they are read."""

_LATEST = "latest"
_ATTRIBUTION = "ECMWF open data, under CC BY 4.0: name ECMWF as the source"


def download_forecast(
    model: str = "ifs",
    *,
    out: str | Path,
    area: str | Area | None = None,
    parameters: Sequence[str] | None = None,
    days: int = 10,
    members: int | None = None,
    date: str | None = None,
    source: str = "ecmwf",
    verify: bool = False,
    wait: float = 1.0,
    timeout: float = 60.0,
    progress: bool = False,
    log: Log = print,
) -> list[Path]:
    """Download a weather forecast of ECMWF's open data into a folder, or resume a download.

    There is one GRIB file per step of six hours. Each is checked: whole messages of the lengths of the index file, of
    this run and step, and every parameter, layer and member once. ``download.json`` in the folder records requests,
    mirror, time, sizes and checksums, so that the same call resumes.

    Parameters
    ----------
    model
        Name in `soilcast.downloading.open_data.MODELS`: ``ifs``, ``ifs-ens``, ``aifs`` or ``aifs-ens``.
    out
        The folder, new or of an earlier download; it may hold forecasts of several models and runs.
    area
        North, west, south, east [degrees], or ``"N/W/S/E"``. Servers cannot crop: whole fields are transferred, and of
        these the grid points that enclose the area are kept, with the same values. Default: the globe.
    parameters
        Short names, as in the cube; default: what the default inputs of a run are made of.
    days
        Days from the start of the forecast, 1 .. 15.
    members
        The first so many perturbed members of an ensemble; default: all.
    date
        Start of the forecast, such as ``"2026-11-30T12"`` [UTC], or ``"latest"``. By default a forecast that was left
        unfinished in the folder, else the latest that has all days.
    source
        Mirror: ``"ecmwf"``, ``"aws"``, ``"azure"``, ``"google"``, or an address.
    verify
        Verify the checksums of existing files, not only their sizes.
    wait
        First wait before a retry [s]; doubles, up to 120.
    timeout
        Timeout of a response [s].
    progress
        Show a progress bar.
    log
        Called with progress messages.

    Returns
    -------
    The files of this forecast, step by step.

    Raises
    ------
    SoilcastError
        Invalid arguments, a fault of the folder, the disk or the mirror; completed files are kept.
    """
    names, count = check_forecast(model, parameters, days, members)
    box = None if area is None else read_area(area if isinstance(area, str) else "/".join(map(str, area)))
    box = None if box == (90, -180, -90, 180) else box
    run = None if date in (None, _LATEST) else parse_run(str(date), datetime.datetime.now(datetime.UTC))
    if not (0 < wait < 1e6 and 0 < timeout < 1e6):
        raise SoilcastError(f"--wait {wait:g}, --timeout {timeout:g}: give seconds above 0")
    pace = Pace(wait, timeout)
    with folder_for(Path(out)) as record:
        if date is None and (run := _unfinished_run(model, record)):
            log(f"resuming {_words(model, run)} (the latest: --date {_LATEST})")
        mirror = None
        if run is None:
            mirror = OpenData(model, source, pace)
            run = mirror.latest(24 * days)
        pieces = pieces_of_run(model, run, names, days, count, box)
        missing = [piece for piece in pieces if record.lacks(piece, verify=verify, log=log)]
        if missing:
            mirror = mirror or OpenData(model, source, pace)
            log(f"{_words(model, run)} from {mirror.url} ({_ATTRIBUTION})")
            _plan(model, run, missing, record, log)
            done = len(pieces) - len(missing)
            with progress_bar(f"downloading {model}", len(pieces), shown=progress, done=done) as advance:
                for piece in missing:
                    size = _fetch(piece, mirror, record)
                    advance(f"{piece.name} ({decimal(size)})")
        return [path for piece in pieces if (path := record.file_of(piece.name))]


def _unfinished_run(model: str, record: Record) -> datetime.datetime | None:
    """The latest start of a forecast of which not all files have come."""
    begun = []
    for name, entry in record.entries.items():
        found = re.fullmatch(rf"{re.escape(model)}_(\d{{4}}-\d\d-\d\dT\d\d)_\d+h", name, re.ASCII)
        if found and entry.state == "accepted":
            with suppress(SoilcastError):
                begun.append(parse_run(found[1], datetime.datetime.now(datetime.UTC)))
    return max(begun, default=None)


def _plan(model: str, run: datetime.datetime, missing: Sequence[StepPiece], record: Record, log: Log) -> None:
    """Note which files are to come, so that an interruption is known; give up those of other runs of the model."""
    others = [
        name
        for name, entry in record.entries.items()
        if entry.state == "accepted" and name.startswith(f"{model}_") and not name.startswith(run_name(model, run))
    ]
    for run_left in sorted({name.rpartition("_")[0] for name in others}):
        log(f"{run_left}: left unfinished, without {sum(name.startswith(run_left) for name in others)} file(s)")
    changes: dict[str, Entry | None] = dict.fromkeys(others)
    for piece in missing:
        changes[piece.name] = Entry(collection=piece.origin, request=piece.request, state="accepted")
    for part in (part for name in others for part in _parts_of(name, record)):
        part.unlink(missing_ok=True)
    record.change(changes)


def _parts_of(name: str, record: Record) -> tuple[Path, Path]:
    """Where a file lies while it comes, and where it is cropped to."""
    return record.part_of(name), record.part_of(f"{name}-cropped")


def _fetch(piece: StepPiece, mirror: OpenData, record: Record) -> int:
    """Fetch a step, check it and give it its name; return its size [bytes]."""
    part, cropped = _parts_of(piece.name, record)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            lengths = mirror.fetch(piece, part)
            check_fields(part, lengths, piece.fields, piece.run, piece.step)
            if piece.area:
                crop_fields(part, cropped, piece.area)
            break
        except WrongContentError as error:
            for path in (part, cropped):
                path.unlink(missing_ok=True)
            if attempt == _ATTEMPTS:
                raise SoilcastError(
                    f"{piece.name}: {error} ({attempt} times from {mirror.url}): completed files are kept; try again "
                    "later, or with another --source"
                ) from error
        except OSError as error:
            raise disk_fault(error, part) from error
    try:
        if piece.area:
            flush_to_disk(cropped)
            cropped.replace(part)
        size = part.stat().st_size
        # Noted before it gets its name: whatever ends this in between, the part is known to be whole.
        record.put(
            piece.name,
            Entry(
                collection=piece.origin,
                request=piece.request,
                state="fetched",
                store=mirror.url,
                ending=".grib",
                size=size,
                sha256=sha256_of(part),
                fetched=f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}",
            ),
        )
        record.put_in_place(piece.name)
    except OSError as error:
        raise disk_fault(error, part) from error
    return size


def _words(model: str, run: datetime.datetime) -> str:
    return f"{MODELS[model].title} of {run:%Y-%m-%d %H} UTC"
