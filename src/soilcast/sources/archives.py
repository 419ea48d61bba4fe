"""Reading NetCDF inside zip archives, as the data stores send it, without unpacking it onto the disk."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.sources.formats import AGAIN, NETCDF, format_of_member
from soilcast.sources.netcdf import open_netcdf_stream

LARGEST_MEMBER = 512 << 20
"""A compressed member is held in memory while it is read; larger ones are unpacked by hand [bytes]."""

_UNZIP = "unzip it and name the file"
_AT_A_TIME = 1 << 20
_ENCRYPTED = 0x1
_LOCAL_HEADER = struct.Struct("<26xHH")
"""Of the header before a member: the lengths of its name and of what else is noted there."""


def list_members(path: Path) -> list[str]:
    """Names of the NetCDF files in a zip archive, sorted.

    Raises
    ------
    SoilcastError
        It is damaged or encrypted, or none is there; a Zarr store or a table in an archive is named as such.
    """
    with _archive(path) as archive:
        members = []
        for info in archive.infolist():
            if info.is_dir() or "/." in f"/{info.filename}" or "__MACOSX" in info.filename:
                continue
            if info.flag_bits & _ENCRYPTED:
                raise SoilcastError(f"{path}::{info.filename}: is encrypted: {_UNZIP}")
            with archive.open(info) as stream:
                head = stream.read(1024)
            if format_of_member(info.filename, head) == NETCDF:
                members.append(info.filename)
        names = [name.rpartition("/")[2] for name in archive.namelist()]
    if members:
        return sorted(members)
    if {"zarr.json", ".zgroup", ".zarray"} & set(names):
        raise SoilcastError(f"{path}: this is a Zarr store in a zip archive: unzip it and name the folder")
    if "[Content_Types].xml" in names:
        raise SoilcastError(f"{path}: this is an Excel file: save its sheet as CSV")
    if any(name.lower().endswith((".grib", ".grb", ".grib2", ".grb2")) for name in names):
        raise SoilcastError(f"{path}: GRIB is not read from an archive: {_UNZIP}")
    raise SoilcastError(f"{path}: no NetCDF file in this archive: give the archive that the data store sent")


def member_size(path: Path, member: str) -> int:
    """Memory that a member takes while it is open [bytes]; none where it is stored as it is.

    Raises
    ------
    SoilcastError
        The archive is damaged, or the member is too large.
    """
    with _archive(path) as archive:
        info = archive.getinfo(member)
    if info.compress_type == zipfile.ZIP_STORED:
        return 0
    if info.file_size > LARGEST_MEMBER:
        raise SoilcastError(
            f"{path}::{member}: takes {info.file_size / 2**30:.1f} GiB, too much to be read from its archive: {_UNZIP}"
        )
    return info.file_size


def open_member(path: Path, member: str) -> xr.Dataset:
    """Open a NetCDF file in a zip archive: in place where it is stored as it is, else from memory.

    Raises
    ------
    SoilcastError
        The archive or the member is damaged or encrypted, or the member is too large.
    """
    is_held = member_size(path, member) > 0
    unpacked = io.BytesIO()
    with _archive(path) as archive:
        info = archive.getinfo(member)
        with archive.open(info) as stream:
            while part := stream.read(_AT_A_TIME):  # the end compares the checksum, whether the parts are held or not
                if is_held:
                    unpacked.write(part)
    unpacked.seek(0)
    return open_netcdf_stream(unpacked if is_held else io.BufferedReader(_Stored(path, info)), f"{path}::{member}")


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, OSError, NotImplementedError, EOFError, RuntimeError, ValueError, zlib.error) as error:
        raise SoilcastError(f"{path}: cannot be read as a zip archive ({error}): {AGAIN}") from error


class _Stored(io.RawIOBase):
    """A member that is stored as it is, as a file of its own."""

    def __init__(self, path: Path, info: zipfile.ZipInfo) -> None:
        self._file = path.open("rb")
        self._file.seek(info.header_offset)
        name, extra = _LOCAL_HEADER.unpack(self._file.read(_LOCAL_HEADER.size))
        self._start = info.header_offset + _LOCAL_HEADER.size + name + extra
        self._size = info.file_size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self._file.seek(self._start + self._at)
        count = max(0, min(len(buffer), self._size - self._at))
        count = self._file.readinto(memoryview(buffer)[:count])
        self._at += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
