"""What a file is, by its first bytes; and, of what soilcast does not read, what reads it."""

from __future__ import annotations

import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from soilcast.errors import SoilcastError
from soilcast.sources.delimited import is_table

Key = Literal["netcdf", "grib", "zip", "zarr", "csv", "folder", "unreadable", "other", "unknown"]

AGAIN = "it is damaged, truncated or of another format; download or write it again"
"""What to do about a file that should hold data and cannot be read."""

DATA_SUFFIXES = (
    *(".nc", ".nc3", ".nc4", ".cdf", ".netcdf", ".h5", ".hdf5", ".hdf", ".he5"),
    *(".grib", ".grib1", ".grib2", ".grb", ".grb1", ".grb2"),
)
"""Names that promise data: such a file is never passed over where it cannot be read."""

_TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_STORE_MARKS = ("zarr.json", ".zgroup", ".zmetadata", ".zarray")
_HEAD = 512 + 8
"""Bytes that are looked at: an HDF5 file may begin with a block of its user's, of 512 bytes."""


@dataclass(frozen=True)
class Format:
    """A format.

    Parameters
    ----------
    key
        How soilcast opens it; ``unreadable`` for data that must be converted or fetched again, ``other`` for what is
        of another kind, ``unknown`` where no format is recognised.
    name
        As its users call it.
    remedy
        What reads or converts it.
    """

    key: Key
    name: str
    remedy: str = ""


NETCDF = Format("netcdf", "NetCDF", "soilcast prepare table reads it, with a mapping")
GRIB = Format("grib", "GRIB", "soilcast prepare era5land reads it; or convert it (cfgrib to_netcdf FILE)")
ZIP = Format("zip", "zip", "unzip it")
ZARR = Format("zarr", "Zarr", "soilcast prepare table reads it, with a mapping")
CSV = Format("csv", "CSV", "soilcast prepare table reads it, with a mapping")
TEXT_TABLES = Format("csv", "CSV", "with .txt, .dat and .gz, of which some may be no tables")
FOLDER = Format("folder", "folder", "name it, or the files in it")
EMPTY = Format("unknown", "an empty file", "download or write it again")
UNKNOWN = Format("unknown", "of no known format", AGAIN)
TEXT = Format("unknown", "text", AGAIN)

_WEB_PAGE = Format("unreadable", "a web page", "a server's answer was saved in place of the file; download it again")
_HDF4 = Format("other", "HDF4", "convert it to NetCDF-4 (h4toh5, or gdal_translate -of netCDF)")
_GEOTIFF = Format("other", "GeoTIFF", "maps are read as static variables (--static NAME=FILE), not as time series")
_PYTHON = Format("other", "a Python pickle or index", "it can run code and is not read")
_MATLAB = Format("other", "MATLAB", "write NetCDF (nccreate and ncwrite in MATLAB)")
_OTHER_ARCHIVE = "unpack it and name the files"

_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"\x89HDF\r\n\x1a\n", NETCDF),
    (b"\x89HDF", NETCDF),  # cut or changed behind it, which opening says
    (b"CDF\x01", NETCDF),
    (b"CDF\x02", NETCDF),
    (b"CDF\x05", Format("unreadable", "NetCDF in CDF-5 format", "convert it (nccopy -k nc4 IN OUT)")),
    (b"GRIB", GRIB),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"\x0e\x03\x13\x01", _HDF4),
    (b"II*\0", _GEOTIFF),
    (b"MM\0*", _GEOTIFF),
    (b"II+\0", _GEOTIFF),
    (b"MM\0+", _GEOTIFF),
    (b"PAR1", Format("other", "Parquet", "write it as CSV (pandas: read_parquet(FILE).to_csv)")),
    (b"ARROW1", Format("other", "Arrow", "write it as CSV (pandas: read_feather(FILE).to_csv)")),
    (b"MATLAB", _MATLAB),
    (b"BUFR", Format("other", "BUFR", "convert it to CSV or NetCDF first")),
    (b"\x93NUMPY", Format("other", "a NumPy array", "write NetCDF, with its axes")),
    (b"\0\5\26\7", Format("other", "AppleDouble", "macOS notes attributes of another file in it; it holds no data")),
    (b"\0\5\26\0", Format("other", "AppleSingle", "macOS keeps attributes in it; copy the file itself")),
    (b"\x1f\x8b", Format("other", "gzip", "unpack it (gunzip)")),
    (b"BZh", Format("other", "bzip2", "unpack it (bunzip2)")),
    (b"\xfd7zXZ", Format("other", "xz", "unpack it (unxz)")),
    (b"\x28\xb5\x2f\xfd", Format("other", "zstd", "unpack it (unzstd)")),
    (b"7z\xbc\xaf", Format("other", "a 7z archive", _OTHER_ARCHIVE)),
    (b"Rar!", Format("other", "a RAR archive", _OTHER_ARCHIVE)),
    (b"SQLite format 3", Format("other", "a database (SQLite, GeoPackage)", "write its table as CSV")),
    (b"\0\0\x27\x0a", Format("other", "a shapefile", "it is not read")),
    (b"\xd0\xcf\x11\xe0", Format("other", "an Excel file", "save its sheet as CSV")),
    (b"%PDF", Format("other", "PDF", "it is not data")),
    (b"\x89PNG", Format("other", "PNG", "it is not data")),
    (b"\xff\xd8\xff", Format("other", "JPEG", "it is not data")),
    (b"\x80\x03", _PYTHON),
    (b"\x80\x04", _PYTHON),
    (b"\x80\x05", _PYTHON),
)
_ARRAYS = (b"\x89HDF", b"CDF", b"GRIB")
_HDF5_AFTER_USER_BLOCK = 512
_TAR_AT = 257
_TAR = Format("other", "a tar archive", _OTHER_ARCHIVE)


def format_of(path: Path) -> Format:
    """Recognise a regular file by its first bytes, and a folder by what lies in it.

    Raises
    ------
    SoilcastError
        There is none, it is a device, a pipe or a socket, or it may not be read.
    """
    refuse_irregular(path)
    if path.is_dir():
        return ZARR if is_store(path) else FOLDER
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as error:
        raise SoilcastError(f"{path}: cannot be read ({error.strerror}): check its permissions") from error
    return _format_of_bytes(head, path.name.lower())


def format_of_member(name: str, head: bytes) -> Format:
    """Recognise a member of an archive by its name and first bytes."""
    return _format_of_bytes(head, name.lower())


def is_store(path: Path) -> bool:
    """Whether a folder is a Zarr store."""
    return any((path / mark).is_file() for mark in _STORE_MARKS)


def is_data_name(name: str, wanted: Collection[Format]) -> bool:
    """Whether a name promises data, or a table where tables are wanted."""
    tables = _TABLES if any(one.key == "csv" for one in wanted) else ()
    return name.lower().endswith((*DATA_SUFFIXES, *tables))


def refuse_irregular(path: Path) -> None:
    """Raise `SoilcastError` unless a path is a regular file or a folder: a pipe would be waited for without end."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        if path.is_symlink():
            raise SoilcastError(f"{path}: is a link to a file that is not there: mend the link") from error
        raise SoilcastError(f"{path}: no such file: check the path, or download the file") from error
    except OSError as error:
        raise SoilcastError(f"{path}: cannot be read ({error.strerror}): check the path and its permissions") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise SoilcastError(f"{path}: is {_irregular(mode)}, not a file: give a regular file")


def refuse_format(path: Path | str, form: Format, wanted: Collection[Format]) -> None:
    """Raise `SoilcastError` that says what a file is, unless its format is one of those that are read here."""
    if form.key in {one.key for one in wanted}:
        return
    names = listed_formats(wanted)
    if form == EMPTY:
        raise SoilcastError(f"{path}: the file is empty: {form.remedy}")
    if form.key == "unknown":
        raise SoilcastError(f"{path}: not a {names} file (it is {form.name}): {form.remedy}")
    if form == FOLDER:
        raise SoilcastError(f"{path}: a {names} file is expected, but this is a folder: {form.remedy}")
    raise SoilcastError(f"{path}: this is {form.name}, but {names} is read here: {form.remedy}")


def named_format(key: Key) -> str:
    """Name of a format by its key."""
    return next(one.name for one in (NETCDF, GRIB, ZIP, ZARR, CSV) if one.key == key)


def listed_formats(formats: Collection[Format]) -> str:
    """Name formats, such as ``NetCDF, GRIB or Zarr store``."""
    *others, last = (one.name for one in formats)
    return f"{', '.join(others)} or {last}" if others else last


def _format_of_bytes(head: bytes, name: str) -> Format:
    if not head:
        return EMPTY
    if head[_HDF5_AFTER_USER_BLOCK:].startswith(b"\x89HDF\r\n\x1a\n"):
        return _MATLAB if head.startswith(b"MATLAB") else NETCDF
    if is_table(Path(name)) and not head.startswith(_ARRAYS):
        return CSV  # whatever else it may be, the reader of tables says
    for magic, form in _MAGIC:
        if head.startswith(magic):
            return form
    if head[_TAR_AT:].startswith(b"ustar"):
        return _TAR
    if head.lstrip()[:9].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return _WEB_PAGE
    return TEXT if _is_text(head) else UNKNOWN


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4  # a character that is cut
    return True


def _irregular(mode: int) -> str:
    kinds = ((stat.S_ISFIFO, "a pipe (FIFO)"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"))
    return next((name for test, name in kinds if test(mode)), "a device")
