"""Append new days to a cube: the same source and options read the new files, and either cube stands whole."""

from __future__ import annotations

import inspect as introspection
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from soilcast.cube import open_cube
from soilcast.cube.appending import append, locked_cube, stands
from soilcast.cube.calendar import day_of, period_of
from soilcast.cube.joining import OVERLAPS, Joined, join
from soilcast.errors import SoilcastError
from soilcast.files import path_list, refuse_existing
from soilcast.memory import peak_memory
from soilcast.plugins import require_plugins
from soilcast.progress import Log
from soilcast.provenance import stamp
from soilcast.schema import nearest
from soilcast.sources import SOURCES
from soilcast.sources.climate import add_climate_zone
from soilcast.sources.netcdf import is_address
from soilcast.sources.preparing import MAPPINGS
from soilcast.sources.table.mapping import restored_mapping

__all__ = ["update"]

MIB = 2**20

_ZONE = "climate_zone"


def update(
    cube: str | Path,
    paths: str | Path | Sequence[str | Path],
    *,
    overlap: str = "refuse",
    tolerance: float = 1e-6,
    allow_gap: bool = False,
    until: str | None = None,
    memory: int | None = None,
    progress: bool = False,
    log: Log | None = None,
) -> xr.Dataset:
    """Append the days of new files to a cube.

    The files are read with the source and options of the cube, and with the mapping that it keeps. Arrays and
    ``content_sha256`` become those that `prepare` computes from all days at once. The update is atomic.

    Parameters
    ----------
    cube
        A cube that `prepare` wrote. Of its option ``years`` only the first day applies.
    paths
        Files or folders with the new days, as the source takes them; they may repeat days that the cube has.
    overlap
        Common days that differ: ``refuse``, ``keep`` the cube's values, or ``replace`` them by those of the files,
        including missing values.
    tolerance
        Tolerance of the comparison, as a fraction of the variable's valid range.
    allow_gap
        Fill a gap between the cube and the files with missing values.
    until
        Last day that is taken from the files; by default their last.
    memory
        Memory limit [bytes]; fewer days are read at a time.
    progress
        Show a progress bar.
    log
        Called with progress messages: what was appended, kept or replaced, peak memory.

    Returns
    -------
    The cube, opened.

    Raises
    ------
    SoilcastError
        No cube, or one without the source and options that it was prepared with, or from no files; invalid files;
        cells, variables or static values that differ from the cube's; earlier, missing or differing days; another
        process that writes the cube; too little memory; a full disk.
    """
    if overlap not in OVERLAPS:
        raise SoilcastError(f"--overlap {overlap}: {nearest(overlap, OVERLAPS)}")
    if not 0.0 <= tolerance < 1.0:
        raise SoilcastError(f"--tolerance {tolerance:g}: give a fraction of the valid range, at least 0 and below 1")
    if not paths:
        raise SoilcastError(f"no file is given: name the files with the new days of {cube}")
    paths, out = path_list(paths), Path(cube)
    out = out.resolve() if out.is_symlink() else out
    log = log or (lambda line: None)
    if not stands(out):
        raise SoilcastError(f"{out}: no such cube")
    if out.exists():
        open_cube(out).close()  # what is none is told before anything is made beside it
    refuse_existing(out, kind="cube", overwrite=True)
    with locked_cube(out) as place:
        stored = open_cube(out)
        made = _provenance(stored, out)
        what = f"the files given ({paths[0]}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''})"
        part = _read(made, paths, out)
        if until is not None:
            part = part.sel(time=slice(None, day_of(until, "--until")))
            if not part.sizes["time"]:
                log(f"nothing new: {what} begin after {until}")
                return stored
        joined = join(
            stored,
            part,
            str(out),
            what,
            overlap=overlap,
            tolerance=tolerance,
            allow_gap=allow_gap,
            cut="years" in made["options"],
            memory=memory,
        )
        done = {"refuse": "refused", "keep": "kept from the cube", "replace": "replaced"}[overlap]
        for difference in joined.differences:
            log(f"{done}: {difference.text()}")
        if not joined.is_changed:
            log(f"nothing new: {out} has all {joined.overlapping} days of {what} already")
            return stored
        if _computes_zone(made):
            _compute_zone_again(joined.cube)
        written = append(
            joined,
            out,
            place,
            provenance=_appended(stored, made, joined, paths, overlap),
            memory=memory,
            progress=progress,
            log=log,
        )
        stored.close()
    opened = open_cube(out)
    fresh = f"{period_of(joined.fresh)} appended" if len(joined.fresh) else "no day appended"
    log(f"{out}: {fresh}; now {period_of(opened['time'].to_numpy())}; {written} blocks written")
    log(f"peak memory {peak_memory() / MIB:,.0f} MiB")
    return opened


def _provenance(cube: xr.Dataset, out: Path) -> dict[str, Any]:
    """What a cube says of how it was made: its source, which takes files, and that source's options."""
    try:
        made = json.loads(cube.attrs["provenance"])
        source, options = made["source"], made["options"]
        told = isinstance(source, str) and isinstance(options, dict)
    except (KeyError, TypeError, ValueError):
        told = False
    if not told:
        raise SoilcastError(
            f"{out}: its provenance lacks the source and options that it was prepared with: prepare it again from all "
            "files"
        )
    require_plugins(made.get("plugins", []), out)
    if source not in SOURCES:
        raise SoilcastError(f"{out}: made by the source {source}, which is not available: {nearest(source, SOURCES)}")
    takes = introspection.signature(SOURCES[source]).parameters
    if takes["paths"].default is not introspection.Parameter.empty:
        raise SoilcastError(
            f"{out}: made by the source {source}, which reads no files: prepare it again for other days"
        )
    if unknown := [name for name in options if name not in takes or name == "paths"]:
        raise SoilcastError(
            f"{out}: made with {', '.join(unknown)}, which the source {source} does not accept: prepare it again from "
            "all files"
        )
    return dict(made)


def _read(made: Mapping[str, Any], paths: Sequence[str | Path], out: Path) -> xr.Dataset:
    options = {name: value for name, value in made["options"].items() if name != "years"}
    static = options.get("static")
    needed = [f"{name}={file}" for name, file in static.items()] if isinstance(static, dict) else []
    files = [("--static", one, one.partition("=")[2].partition("::")[0]) for one in needed]
    if "mapping" in made:
        options["mapping"] = restored_mapping(MAPPINGS[made["source"]], made["mapping"], out)
    elif "mapping" in options:
        files.append(("--mapping", str(options["mapping"]), str(options["mapping"])))
    for option, given, file in files:
        if not Path(file).exists():
            raise SoilcastError(
                f"{out}: made with {option} {given}, and {file} does not exist: restore it, or run this in the folder "
                "in which the cube was prepared"
            )
    if _computes_zone(made):
        options[_ZONE] = False  # a part has not the months for it
    return SOURCES[made["source"]]([str(path) if is_address(path) else Path(path) for path in paths], **options)


def _computes_zone(made: Mapping[str, Any]) -> bool:
    takes = introspection.signature(SOURCES[made["source"]]).parameters
    return (
        _ZONE in takes and bool(made["options"].get(_ZONE, True)) and _ZONE not in (made["options"].get("static") or ())
    )


def _compute_zone_again(cube: xr.Dataset) -> None:
    """Compute the climate zones from all months, as the source does."""
    before = cube.attrs.pop("notes", "").splitlines()
    if _ZONE in cube:
        del cube[_ZONE]
    notes = [note for note in before if not note.startswith(f"{_ZONE}: ")] + add_climate_zone(cube)
    if notes:
        cube.attrs["notes"] = "\n".join(notes)
    if _ZONE in cube and "absent" in cube.attrs:
        absent = [name for name in cube.attrs.pop("absent").split() if name != _ZONE]
        if absent:
            cube.attrs["absent"] = " ".join(absent)


def _appended(
    cube: xr.Dataset, made: Mapping[str, Any], joined: Joined, paths: Sequence[str | Path], overlap: str
) -> str:
    """The provenance of the cube, and after it what was appended, and to what."""
    before = made.get("appended")
    this = stamp(
        "soilcast update",
        paths=[str(path) for path in paths],
        days=period_of(joined.fresh) if len(joined.fresh) else "none",
        overlapping_days=joined.overlapping,
        overlap=overlap,
        differing=[difference.text() for difference in joined.differences],
        to_content_sha256=cube.attrs["content_sha256"],
    )
    return json.dumps({**made, "appended": [*(before if isinstance(before, list) else []), json.loads(this)]})
