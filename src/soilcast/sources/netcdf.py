"""Opening files of others: NetCDF of either kind, lazily, with damage told in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr

from soilcast.errors import SoilcastError

# First bytes of a file -> the engine of xarray that reads it.
_ENGINES = {b"\x89HDF": "h5netcdf", b"CDF\x01": "scipy", b"CDF\x02": "scipy"}
_REMEDY = "it is damaged, truncated or of another format; download or write it again"


def open_netcdf(path: Path, **options: Any) -> xr.Dataset:
    """Open a NetCDF file lazily: NetCDF-4 by h5netcdf, NetCDF-3 by scipy, told apart by their first bytes.

    Values that are read later can still meet damage: read them inside `naming_damage`.

    Parameters
    ----------
    path
        The file.
    options
        Further options of `xarray.open_dataset`.

    Raises
    ------
    SoilcastError
        The file is missing, may not be read, is no NetCDF, is truncated or corrupt, or its times cannot be decoded.
    """
    path = Path(path)
    engine = _engine(path)
    try:
        return xr.open_dataset(path, engine=engine, **options)
    except Exception as error:  # whatever the libraries raise on the bytes of others
        raise _damaged(path, error) from error


@contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """Turn what the NetCDF libraries raise while values are read into a `SoilcastError` that names the file."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, EOFError) as error:
        raise _damaged(path, error) from error


def unit_of(attributes: Mapping[str, Any]) -> str | None:
    """Unit that a variable's attributes name (``units``, or ``unit`` as some write it); None where they are silent."""
    written = attributes.get("units", attributes.get("unit"))
    return str(written).strip() or None if written is not None else None


def is_address(path: str | Path) -> bool:
    """Whether a path is the address of a store, such as ``https://...`` or ``gs://...``, and no path."""
    return "://" in str(path)


def _damaged(path: Path, error: Exception) -> SoilcastError:
    reason = str(error).partition("\n")[0] or type(error).__name__
    return SoilcastError(f"{path}: cannot be read as NetCDF ({reason}): {_REMEDY}")


def _engine(path: Path) -> str:
    if not path.exists():
        raise SoilcastError(f"{path}: no such file: check the path, or download the file")
    if path.is_dir():
        raise SoilcastError(f"{path}: a NetCDF file is expected, but this is a folder: name the file")
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise SoilcastError(f"{path}: cannot be read ({error.strerror}): check its permissions") from error
    if not magic:
        raise SoilcastError(f"{path}: the file is empty: download or write it again")
    if magic == b"CDF\x05":
        raise SoilcastError(f"{path}: NetCDF in CDF-5 format cannot be read: convert it (nccopy -k nc4 IN OUT)")
    if magic not in _ENGINES:
        raise SoilcastError(f"{path}: not a NetCDF file: {_REMEDY}")
    return _ENGINES[magic]
