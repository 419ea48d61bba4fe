"""What of soilcast's stands at a path: --overwrite replaces that, whole, and nothing else."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from soilcast.errors import SoilcastError

GENERATOR = "soilcast"
"""What pages and pictures of soilcast name as the software that made them."""

STYLE_START = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>"
DESCRIPTION_START = '{"@context": "http://www.w3.org/ns/csvw"'
"""How styles of QGIS and descriptions of tables begin."""

_STORE = "zarr.json"
_FOLDERS: dict[str, tuple[str, frozenset[str]]] = {
    "run": ("run.json", frozenset({"run.json", "config.yaml", "weights.safetensors", "log.jsonl"})),
    "scores": ("scores.nc", frozenset({"scores.nc", "table.csv", "cells.csv", "significance.csv"})),
    "audit": ("audit.json", frozenset({"audit.json", "audit.html", "probes.csv"})),
}
"""Kind of a folder -> the file that says so, and all files that it may hold."""

_REGIONS = "regions"
"""Folder of scores of regions in one of scores."""

_VERDICT = frozenset({"verdict.nc", "verdict.html", "stations.csv", "answers.csv", "scores"})
"""All that a folder of a verdict may hold; ``scores`` is a folder of its own kind."""

SEARCH_LOCK = ".soilcast-lock"
SEARCH_FILES = (
    "search.json",
    "trials.jsonl",
    "trials.csv",
    "trials.png",
    "best.yaml",
    "runs",
    "cube",
    "cube.unfinished",
)
"""All that a folder of a search may hold beside its lock; ``runs`` are trials and unfinished ones."""

_TRIAL = re.compile(r"trial-\d{4,}-s\d+(\.unfinished)?|\.soilcast-samples|\..+\.partial-[0-9a-f]{16}")

_LARGEST = 1 << 26
_START = 1 << 12
_HDF5, _PNG, _PDF, _PARQUET, _TIFF = b"\x89HDF", b"\x89PNG", b"%PDF", b"PAR1", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def kind_of(path: Path) -> str | None:
    """Tell what of soilcast's a path is.

    Returns
    -------
    ``cube``, ``forecast``, ``scores``, ``verdict``, ``run``, ``search``, ``audit``, ``dossier``, ``page``, ``picture``,
    ``map``, ``GeoTIFF``, ``GeoJSON``, ``table``, ``style`` or ``description``; None for anything else, which is a
    folder of ours that holds more than we wrote, too. Whether it is damaged or of an earlier format does not count.
    """
    try:
        return _kind_of_folder(path) if path.is_dir() else _kind_of_file(path)
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None


def refuse_foreign(out: Path, kind: str) -> None:
    """Raise `SoilcastError` unless what stands at ``out`` may be replaced by something of this kind.

    Parameters
    ----------
    out
        What exists.
    kind
        As `kind_of` gives them.
    """
    if out.is_dir() and not any(out.iterdir()):
        return
    there = kind_of(out)
    if there == kind:
        return
    if there is not None:
        raise SoilcastError(f"{out} is a {there}, which a {kind} does not replace: give another --out, or remove it")
    what = "a folder" if out.is_dir() else "a file"
    more = " (or that holds something else too)" if out.is_dir() else ""
    raise SoilcastError(
        f"{out} is {what} that soilcast did not write{more}, so it is not replaced: give another --out, or remove it"
    )


def _kind_of_folder(folder: Path) -> str | None:
    if (folder / _STORE).is_file():
        kind = _parsed(folder / _STORE)["attributes"]["soilcast_kind"]
        inside = [one for one in folder.iterdir() if one.name != _STORE]
        whole = all(one.is_dir() and _is_array(one) for one in inside)
        return str(kind) if whole else None
    if (folder / "dossier.json").is_file():
        about = _parsed(folder / "dossier.json")
        known = {"dossier.json", *about["files"]}
        return "dossier" if about["soilcast_kind"] == "dossier" and _names(folder) <= known else None
    if (folder / "verdict.nc").is_file() and _names(folder) <= _VERDICT:
        is_ours = not (folder / "scores").exists() or _kind_of_folder(folder / "scores") == "scores"
        return "verdict" if is_ours and _kind_of_file(folder / "verdict.nc") == "verdict" else None
    if (folder / "search.json").is_file() or _names(folder) == {SEARCH_LOCK}:
        return "search" if _is_search(folder) else None
    for kind, (mark, all_of_it) in _FOLDERS.items():
        inner = folder / _REGIONS
        if kind == "scores" and inner.is_dir() and _kind_of_folder(inner) == "scores":
            all_of_it = all_of_it | {_REGIONS}
        if (folder / mark).is_file() and _names(folder) <= all_of_it:
            own = _parsed(folder / mark)["soilcast_kind"] if mark.endswith(".json") else _kind_of_file(folder / mark)
            return kind if own in (kind, f"outlook_{kind}") else None
    return None


def _is_search(folder: Path) -> bool:
    """Whether a folder is that of a search, and holds nothing else."""
    names = _names(folder)
    if names == {SEARCH_LOCK}:
        return True
    runs, cube = folder / "runs", folder / "cube"
    is_ours = not runs.exists() or all(_TRIAL.fullmatch(name) for name in _names(runs))
    is_ours &= not cube.exists() or kind_of(cube) == "cube"
    partial = {name for name in names if re.fullmatch(r"\.(cube\.partial-[0-9a-f]{16}|.+\.partial)", name)}
    known = {*SEARCH_FILES, SEARCH_LOCK, *partial}
    return is_ours and names <= known and _parsed(folder / "search.json")["soilcast_kind"] == "search"


def _is_array(folder: Path) -> bool:
    """Whether a folder holds an array of Zarr, or what is left of one: its metadata and chunks, which are numbered."""
    return all(one.name == _STORE or (one.name == "c" and _are_numbered(one)) for one in folder.iterdir())


def _are_numbered(chunks: Path) -> bool:
    parts = [chunks] if chunks.is_file() else chunks.rglob("*")
    return all(one.name.isdecimal() or one == chunks for one in parts)


def _names(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir()}


def _parsed(file: Path) -> Any:
    if file.stat().st_size > _LARGEST:
        raise ValueError("too large")
    return json.loads(file.read_text(encoding="utf-8"))


def _kind_of_file(file: Path) -> str | None:
    if not file.is_file():
        return None
    with file.open("rb") as stream:
        start = stream.read(_START)
        stream.seek(max(0, file.stat().st_size - _START))
        end = stream.read(_START)
    mark = GENERATOR.encode()
    if start.startswith(_HDF5):
        return _kind_of_netcdf(file)
    if start.startswith(_PNG):
        return "picture" if b"Software\0" + mark in start else None
    if start.startswith(_PDF):
        return "picture" if mark in start + end else None
    if start[:4] in _TIFF:
        return "GeoTIFF" if mark in start + end else None
    if start.startswith(_PARQUET) and end.endswith(_PARQUET):
        return "table" if mark in _footer(file) else None
    if start.startswith(b'{"type": "FeatureCollection"'):
        return "GeoJSON" if b'"software": "' + mark in start else None
    if start.startswith(STYLE_START.encode()):
        return "style" if b"<!-- made by " + mark in start else None
    if start.startswith(DESCRIPTION_START.encode()):
        return "description" if b'"software": "' + mark in start else None
    if start.startswith(b"<!doctype html>"):
        return "page" if b'<meta name="generator" content="' + mark in start else None
    header = start.partition(b"\n")[0].strip().decode("utf-8", "replace").split(",")
    return "table" if header[0] == "cell" and {"lat", "lon"} <= set(header) else None


def _footer(parquet: Path) -> bytes:
    """The metadata at the end of a Parquet file, whose size stands before the last four bytes."""
    with parquet.open("rb") as stream:
        stream.seek(-8, os.SEEK_END)
        size = int.from_bytes(stream.read(4), "little")
        stream.seek(-8 - min(size, _LARGEST, stream.tell() - 4), os.SEEK_END)
        return stream.read(min(size, _LARGEST))


def _kind_of_netcdf(file: Path) -> str | None:
    import h5py  # takes longer to import than all that a refusal needs else

    try:
        with h5py.File(file, "r") as opened:
            kind = opened.attrs.get("soilcast_kind")
    except (OSError, RuntimeError):
        return None
    kind = kind.decode() if isinstance(kind, bytes) else kind
    return kind if isinstance(kind, str) else None
