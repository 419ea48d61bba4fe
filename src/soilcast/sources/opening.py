"""Listing and opening the files of others: every file of a folder is opened, or left out with the reason."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.sources.archives import list_members, member_size, open_member
from soilcast.sources.delimited import is_table
from soilcast.sources.formats import (
    AGAIN,
    CSV,
    FOLDER,
    TEXT_TABLES,
    Format,
    Key,
    format_of,
    is_data_name,
    is_store,
    listed_formats,
    named_format,
    refuse_format,
)
from soilcast.sources.grib import open_grib
from soilcast.sources.netcdf import is_address, naming_damage, open_netcdf
from soilcast.sources.steps import join_steps
from soilcast.sources.zarr_stores import open_remote_zarr, open_zarr

_MOST_OPEN = 4096
"""Files whose variables are kept in mind; of these xarray itself keeps the 128 open that were read last."""

_MOST_BYTES = 512 << 20
"""Members of archives that are held in memory, together [bytes]."""

_NAMED = 3
"""Files that a note names of each reason."""

# What a name says before any byte is read: such a file is no data, or not yet.
_UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".filepart", ".aria2", ".tmp", ".unfinished")
_REASONS: tuple[tuple[tuple[str, ...], str], ...] = (
    (_UNFINISHED, "an unfinished download or write"),
    ((".idx",), "an index of GRIB messages"),
    ((".md5", ".sha1", ".sha256", ".sha512", ".sums"), "a checksum"),
    ((".txt", ".md", ".rst", ".log", ".yaml", ".yml", ".json", ".xml", ".html", ".py", ".sh", ".ini"), "text"),
)


@dataclass(frozen=True)
class DataFile:
    """A file, a member of an archive, or a store; it travels between processes.

    Parameters
    ----------
    path
        Path, or URL of a store.
    format
        How it is opened.
    member
        Name inside a zip archive.
    """

    path: str
    format: Key
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}::{self.member}" if self.member else self.path


@dataclass(frozen=True)
class LeftOut:
    """A file of a folder that is not opened, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """All files of some paths.

    Parameters
    ----------
    files
        Those that are opened, in the order of the paths and, in each folder, of the names.
    left_out
        The others.
    """

    files: tuple[DataFile, ...]
    left_out: tuple[LeftOut, ...] = ()

    def notes(self) -> list[str]:
        """Say in one line how many files are left out, and why; nothing where there is none."""
        if not self.left_out:
            return []
        count = len(self.left_out)
        return [f"{count} file{'' if count == 1 else 's'} left out: {_by_reason(self.left_out)}"]


def list_files(
    paths: Sequence[str | Path], formats: Collection[Format], *, recursive: bool = False, apart: Collection[str] = ()
) -> Listing:
    """List all files of some paths: files, folders of files, archives, stores and URLs of stores.

    A file that is named must be of one of the formats. Of a folder's files the others are left out, unless their name
    promises data (``.nc``) that cannot be recognised.

    Parameters
    ----------
    paths
        What the user named.
    formats
        Formats that are opened.
    recursive
        Look into subfolders too.
    apart
        Names of subfolders that are read otherwise.

    Raises
    ------
    SoilcastError
        There is nothing, something of another format is named, or a file of data is damaged.
    """
    if not paths:
        raise SoilcastError(f"no file is given: name {listed_formats(formats)} files, or folders of them")
    files: list[DataFile] = []
    left_out: list[LeftOut] = []
    for path in paths:
        if is_address(path):
            files.append(DataFile(str(path), "zarr"))
            continue
        path = Path(path)
        if format_of(path) != FOLDER:
            files += _files_at(path, formats)
            continue
        inside = _list_folder(path, formats, recursive=recursive, apart=apart)
        if not inside.files:
            contents = f"it holds {_by_reason(inside.left_out)}" if inside.left_out else "it is empty"
            raise SoilcastError(f"{path}: no {listed_formats(formats)} in this folder; {contents}: check the path")
        files += inside.files
        left_out += inside.left_out
    return Listing(tuple(files), tuple(left_out))


def open_file(file: DataFile) -> list[xr.Dataset]:
    """Open a file lazily; GRIB gives several datasets, which do not share their axes. The caller keeps them.

    Raises
    ------
    SoilcastError
        It cannot be read, or an extra is missing.
    """
    path = Path(file.path)
    if is_address(file.path):
        return [open_remote_zarr(file.path)]
    if file.member:
        return [open_member(path, file.member)]
    if file.format == "grib":
        return open_grib(path)
    if file.format == "zarr":
        if not is_store(path):
            raise SoilcastError(f"{file}: this folder is not a Zarr store: {AGAIN}")
        return [join_steps(open_zarr(path))]
    return [join_steps(open_netcdf(path))]


@contextmanager
def open_datasets(file: DataFile) -> Iterator[list[xr.Dataset]]:
    """Give the datasets of a file while they are read.

    They stay open, since files of many variables take longer to open than to read; those that have not been asked for
    longest are closed. Damage that is met while values are read is told with the name of the file.

    Raises
    ------
    SoilcastError
        As `open_file`.
    """
    key = file, _changed(file)
    with _LOCK:
        if (entry := _OPEN.pop(key, None)) is None:
            size = member_size(Path(file.path), file.member) if file.member else 0
            _make_room(size)
            entry = _OpenFile(open_file(file), size)
        entry.users += 1
        _OPEN[key] = entry
    try:
        with naming_damage(str(file), named_format(file.format)):
            yield entry.datasets
    finally:
        with _LOCK:
            entry.users -= 1


@dataclass
class _OpenFile:
    datasets: list[xr.Dataset]
    size: int
    users: int = 0


_OPEN: dict[tuple[DataFile, int], _OpenFile] = {}
_LOCK = threading.RLock()


def _make_room(size: int) -> None:
    for key in [key for key, entry in _OPEN.items() if not entry.users]:
        held = sum(entry.size for entry in _OPEN.values())
        if len(_OPEN) >= _MOST_OPEN or (_OPEN[key].size and held + size > _MOST_BYTES):
            _close(key)


def _close(key: tuple[DataFile, int]) -> None:
    for dataset in _OPEN.pop(key).datasets:
        dataset.close()


@atexit.register
def close_all() -> None:
    """Close every file that no one is reading."""
    with _LOCK:
        for key in [key for key, entry in _OPEN.items() if not entry.users]:
            _close(key)


def _changed(file: DataFile) -> int:
    return 0 if is_address(file.path) else Path(file.path).stat().st_mtime_ns


def _files_at(path: Path, formats: Collection[Format]) -> list[DataFile]:
    """The file at a path that is named, or the members of an archive."""
    form = format_of(path)
    refuse_format(path, form, formats)
    if form.key != "zip":
        return [DataFile(str(path), form.key)]
    return [DataFile(str(path), "netcdf", member) for member in list_members(path)]


def _list_folder(folder: Path, formats: Collection[Format], *, recursive: bool, apart: Collection[str]) -> Listing:
    files: list[DataFile] = []
    left_out: list[LeftOut] = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name in apart:
            continue
        if recursive and path.is_dir() and not (path.is_symlink() or path.name.startswith(".") or is_store(path)):
            inside = _list_folder(path, formats, recursive=True, apart=apart)
            files += inside.files
            left_out += [LeftOut(f"{path.name}/{one.name}", one.reason) for one in inside.left_out]
            continue
        reason = why_left_out(path, formats)
        if reason is None:
            files += _files_at(path, formats)
        else:
            left_out.append(LeftOut(path.name, reason))
    return Listing(tuple(files), tuple(left_out))


def why_left_out(path: Path, formats: Collection[Format]) -> str | None:
    """Say why a file of a folder is left out; None where it is opened, or refused."""
    name = path.name.lower()
    if name.startswith("."):
        return "AppleDouble of macOS, no data" if name.startswith("._") else "hidden"
    reason = next((reason for suffixes, reason in _REASONS if name.endswith(suffixes)), None)
    is_text = is_table(path) and not is_data_name(name, (CSV,))
    if reason is not None and not (is_text and TEXT_TABLES in formats):
        return reason
    try:
        form = format_of(path)
    except SoilcastError as error:
        if is_data_name(name, formats):
            raise
        return str(error).removeprefix(f"{path}: ").partition(":")[0]
    if form.key == "csv" and is_text and TEXT_TABLES not in formats:
        return "text"
    if form.key in {one.key for one in formats} or (
        is_data_name(name, formats) and form.key in ("unknown", "unreadable")
    ):
        return None
    return form.name if form.key == "unknown" else f"{form.name}: {form.remedy}"


def _by_reason(left_out: Sequence[LeftOut]) -> str:
    names: dict[str, list[str]] = {}
    for one in left_out:
        names.setdefault(one.reason, []).append(one.name)
    return "; ".join(
        f"{', '.join(some[:_NAMED])}{f' and {len(some) - _NAMED} more' if len(some) > _NAMED else ''} ({reason})"
        for reason, some in names.items()
    )
