"""Opening the files of a table: NetCDF, Zarr and CSV, each as a lazy dataset that tells damage in one line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube.store import DAY_CHUNK
from soilcast.errors import SoilcastError
from soilcast.sources.delimited import is_table
from soilcast.sources.files import open_netcdf
from soilcast.sources.table.csv_tables import open_csv
from soilcast.sources.table.mapping import Mapping
from soilcast.sources.zarr_stores import open_zarr

_ZARR_MARKS = ("zarr.json", ".zgroup", ".zmetadata")
_SUFFIXES = (".nc", ".nc4", ".cdf")


@dataclass(frozen=True)
class Opened:
    """A file, or all CSV files together, as a dataset.

    Parameters
    ----------
    label
        Name of the file, for messages and for the origin of a variable.
    data
        Its variables, with dask arrays where they have a time dimension and come from NetCDF or Zarr.
    """

    label: str
    data: xr.Dataset


def open_tables(paths: Sequence[Path], mapping: Mapping) -> tuple[list[Opened], list[str]]:
    """Open files and folders of files.

    Parameters
    ----------
    paths
        NetCDF files, Zarr stores, CSV files, or folders that hold such files.
    mapping
        Names the variables and columns.

    Returns
    -------
    The files, all tables of text together, and notes on how these were read.

    Raises
    ------
    SoilcastError
        No file, a missing, damaged or unreadable one, CSV tables that do not fit together.
    """
    files = [file for path in paths for file in _expand(Path(path))]
    if not files:
        raise SoilcastError("no file is given: name the NetCDF, Zarr or CSV files to read")
    opened = []
    tables = []
    for file in files:
        kind = _kind(file)
        if kind == "csv":
            tables.append(file)
        else:
            opened.append(Opened(file.name, _lazily(_OPENERS[kind](file), file, mapping.time)))
    notes: list[str] = []
    if tables:
        label, data, notes = open_csv(tables, mapping)
        opened.append(Opened(label, data))
    return opened, notes


def _expand(path: Path) -> list[Path]:
    if not path.exists():
        raise SoilcastError(f"{path}: no such file: check the path")
    if not path.is_dir() or _kind(path) == "zarr":
        return [path]
    inside = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES or _kind(file) in ("csv", "zarr"))
    if not inside:
        raise SoilcastError(f"{path}: no NetCDF, Zarr or CSV file in this folder: check the path")
    return inside


def _kind(path: Path) -> str:
    if path.is_dir():
        return "zarr" if any((path / mark).exists() for mark in _ZARR_MARKS) else "folder"
    return "csv" if is_table(path) else "netcdf"


class _Guarded:
    """An array that is read from its file when it is sliced, and names the file if that fails."""

    def __init__(self, name: str, variable: xr.Variable, path: Path) -> None:
        self.shape, self.dtype, self.ndim = variable.shape, variable.dtype, variable.ndim
        self._name, self._variable, self._path = name, variable, path

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        try:
            return np.asarray(self._variable[key].to_numpy())
        except (OSError, ValueError, RuntimeError, EOFError, KeyError) as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise SoilcastError(
                f"{self._path}: {self._name} cannot be read ({reason}): it is damaged or truncated; download it again"
            ) from error


def _lazily(data: xr.Dataset, path: Path, time: str) -> xr.Dataset:
    if time not in data.variables:
        return data
    dims = data[time].dims
    if len(dims) != 1:
        raise SoilcastError(f"{path}: {time} has the dimensions {dims}; one is expected: name another time variable")
    for name, variable in data.variables.items():
        if dims[0] in variable.dims and variable.ndim > 1 and variable.dtype.kind in "fiu":
            chunks = tuple(DAY_CHUNK if dim == dims[0] else size for dim, size in variable.sizes.items())
            lazy = dask.array.from_array(_Guarded(str(name), variable, path), chunks=chunks)  # type: ignore[no-untyped-call]
            data[name] = (variable.dims, lazy, variable.attrs)
    return data


_OPENERS: dict[str, Callable[[Path], xr.Dataset]] = {"netcdf": open_netcdf, "zarr": open_zarr}
