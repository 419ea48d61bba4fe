"""Listing and opening files of others: NetCDF, GRIB, zip archives, Zarr stores."""

from __future__ import annotations

import atexit
import io
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.sources.grib import open_grib
from soilcast.sources.netcdf import is_address, naming_damage, open_netcdf
from soilcast.sources.zarr_stores import open_remote_zarr, open_zarr

Format = Literal["netcdf", "grib", "zip", "zarr"]

_GRIB, _ZIP = b"GRIB", (b"PK\x03\x04", b"PK\x05\x06")
_ZARR = (".zgroup", ".zmetadata", "zarr.json")
_SUFFIXES = (".nc", ".nc4", ".netcdf", ".grib", ".grb", ".grib2", ".grb2", ".zip")
_MEMBERS = (".nc", ".nc4", ".grib", ".grb")
_LARGEST_MEMBER = 4 << 30
"""An archive may claim to unfold to anything; members beyond this are unpacked by hand [bytes]."""

_MOST_OPEN = 32

_REMEDY = "it is damaged, truncated or of another format; download or write it again"


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
    format: Format
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}::{self.member}" if self.member else self.path


def list_files(paths: Sequence[str | Path]) -> list[DataFile]:
    """List all data files of some paths: files, folders of files, archives, stores and URLs of stores.

    Raises
    ------
    SoilcastError
        There is nothing, or something that is none of these.
    """
    found: list[DataFile] = []
    for path in paths:
        if is_address(path):
            found.append(DataFile(str(path), "zarr"))
            continue
        path = Path(path)
        if path.is_dir() and not _is_store(path):
            inside = sorted(one for one in path.iterdir() if one.suffix.lower() in _SUFFIXES or _is_store(one))
            if not inside:
                raise SoilcastError(f"{path}: no NetCDF, GRIB, zip or Zarr in this folder: name the files")
            found += [file for one in inside for file in _files_at(one)]
        else:
            found += _files_at(path)
    if not found:
        raise SoilcastError("era5land: no file is given: name files, folders or stores")
    return found


def format_of(path: Path) -> Format:
    """Tell a format by its first bytes, or what lies in the folder.

    Raises
    ------
    SoilcastError
        There is no such file, it is empty or may not be read.
    """
    if path.is_dir():
        return "zarr"
    if not path.exists():
        raise SoilcastError(f"{path}: no such file: check the path, or download the file")
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
    except OSError as error:
        raise SoilcastError(f"{path}: cannot be read ({error.strerror}): check its permissions") from error
    if start == _GRIB:
        return "grib"
    return "zip" if start in _ZIP else "netcdf"


@contextmanager
def open_datasets(file: DataFile) -> Iterator[list[xr.Dataset]]:
    """Give the datasets of a file, lazily; a GRIB file holds several, which do not share their axes.

    They stay open, since files of many variables take longer to open than to read; those that have not been asked for
    longest are closed. Damage that is met while values are read is told with the name of the file.

    Raises
    ------
    SoilcastError
        It cannot be read, or an extra is missing.
    """
    key = file, _changed(file)
    with _LOCK:
        held = _HELD.pop(key, None) or _Held(_OPEN[file.format](file))
        held.users += 1
        _HELD[key] = held
        _let_go()
    try:
        with naming_damage(Path(str(file))):
            yield held.datasets
    finally:
        with _LOCK:
            held.users -= 1


@dataclass
class _Held:
    datasets: list[xr.Dataset]
    users: int = 0


_HELD: dict[tuple[DataFile, int], _Held] = {}
_LOCK = threading.RLock()


def _let_go() -> None:
    for key in [key for key, held in _HELD.items() if not held.users][: max(0, len(_HELD) - _MOST_OPEN)]:
        for dataset in _HELD.pop(key).datasets:
            dataset.close()


@atexit.register
def close_all() -> None:
    """Close every file that no one is reading."""
    with _LOCK:
        for key in [key for key, held in _HELD.items() if not held.users]:
            for dataset in _HELD.pop(key).datasets:
                dataset.close()


def _changed(file: DataFile) -> int:
    return 0 if is_address(file.path) else Path(file.path).stat().st_mtime_ns


def _is_store(path: Path) -> bool:
    return path.is_dir() and any((path / name).is_file() for name in _ZARR)


def _files_at(path: Path) -> list[DataFile]:
    form = format_of(path)
    if form != "zip":
        return [DataFile(str(path), form)]
    with _archive(path) as archive:
        members = sorted(name for name in archive.namelist() if name.lower().endswith(_MEMBERS))
    if not members:
        raise SoilcastError(
            f"{path}: no NetCDF or GRIB file in this archive: give the archive that the data store sent"
        )
    return [DataFile(str(path), "zip", member) for member in members]


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise SoilcastError(f"{path}: cannot be read as a zip archive ({error}): {_REMEDY}") from error


def _open_netcdf(file: DataFile) -> list[xr.Dataset]:
    return [open_netcdf(Path(file.path))]


def _open_member(file: DataFile) -> list[xr.Dataset]:
    with _archive(Path(file.path)) as archive:
        if archive.getinfo(file.member).file_size > _LARGEST_MEMBER:
            raise SoilcastError(f"{file}: too large to be read from its archive: unzip it and name the file")
        content = archive.read(file.member)
    if not content.startswith(b"\x89HDF"):
        raise SoilcastError(f"{file}: only NetCDF-4 can be read from an archive: unzip it and name the file")
    try:
        return [xr.open_dataset(io.BytesIO(content), engine="h5netcdf")]
    except Exception as error:  # whatever the libraries raise on the bytes of others
        raise SoilcastError(f"{file}: cannot be read as NetCDF ({_reason(error)}): {_REMEDY}") from error


def _open_grib(file: DataFile) -> list[xr.Dataset]:
    return open_grib(Path(file.path))


def _open_zarr(file: DataFile) -> list[xr.Dataset]:
    if is_address(file.path):
        return [open_remote_zarr(file.path)]
    if not _is_store(Path(file.path)):
        raise SoilcastError(f"{file}: this folder is not a Zarr store: {_REMEDY}")
    return [open_zarr(Path(file.path))]


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


_OPEN = {"netcdf": _open_netcdf, "grib": _open_grib, "zip": _open_member, "zarr": _open_zarr}
