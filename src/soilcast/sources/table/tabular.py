"""Opening the files of a table: NetCDF, Zarr and CSV, each as a lazy dataset that tells damage in one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from soilcast.cube.store import DAY_CHUNK
from soilcast.errors import SoilcastError
from soilcast.sources.formats import CSV, NETCDF, ZARR, named_format
from soilcast.sources.netcdf import naming_damage
from soilcast.sources.opening import DataFile, list_files, open_file
from soilcast.sources.table.mapping import Cells

FORMATS = (NETCDF, ZARR, CSV)
CSV_CELL = "cell"
"""Name of the cell dimension that a CSV gets."""


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


def open_tables(paths: Sequence[Path], *, time: str, cells: Cells) -> tuple[list[Opened], list[str]]:
    """Open files and folders of files.

    Parameters
    ----------
    paths
        NetCDF files, Zarr stores, CSV files, or folders that hold such files.
    time
        Name of the time variable or column.
    cells
        How the mapping names the cells.

    Returns
    -------
    The files, all CSV together, and what is to be said of files that are left out.

    Raises
    ------
    SoilcastError
        No file, a missing, damaged or unreadable one, CSV tables that do not fit together.
    """
    listing = list_files(paths, FORMATS)
    tables = [Path(file.path) for file in listing.files if file.format == "csv"]
    opened = [Opened(Path(file.path).name, _lazily(file, time)) for file in listing.files if file.format != "csv"]
    if tables:
        opened.append(_open_csv(tables, time, cells))
    return opened, listing.notes()


class _Lazy:
    """A variable that is read from its file when it is sliced, and names the file if that fails."""

    def __init__(self, file: DataFile, name: str, variable: xr.Variable) -> None:
        self.shape, self.dtype, self.ndim = variable.shape, variable.dtype, variable.ndim
        self._file, self._name = file, name
        self._variable: xr.Variable | None = variable

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        with naming_damage(f"{self._file}: {self._name}", named_format(self._file.format)):
            if self._variable is None:
                (data,) = open_file(self._file)
                self._variable = data.variables[self._name]
            return np.asarray(self._variable[key].to_numpy())

    def __getstate__(self) -> dict[str, Any]:
        # Whoever it is sent to opens the file, and with it loads the filters that its values are compressed with.
        return self.__dict__ | {"_variable": None}


def _lazily(file: DataFile, time: str) -> xr.Dataset:
    (data,) = open_file(file)
    if time not in data.variables:
        return data
    dims = data[time].dims
    if len(dims) != 1:
        raise SoilcastError(f"{file}: {time} has the dimensions {dims}; one is expected: name another time variable")
    for name, variable in data.variables.items():
        if dims[0] in variable.dims and variable.ndim > 1 and variable.dtype.kind in "fiu":
            chunks = tuple(DAY_CHUNK if dim == dims[0] else size for dim, size in variable.sizes.items())
            values = _Lazy(file, str(name), variable)
            lazy = dask.array.from_array(values, chunks=chunks, name=False)  # type: ignore[no-untyped-call]
            data[name] = (variable.dims, lazy, variable.attrs)
    return data


def _open_csv(files: list[Path], time: str, cells: Cells) -> Opened:
    """Long tables (one row per cell and day), and static tables (one row per cell), as one dataset."""
    key = cells.name or CSV_CELL
    long: list[pd.DataFrame] = []
    static: list[pd.DataFrame] = []
    for file in files:
        frame = _read_csv(file, key)
        if time not in frame.columns and key not in frame.columns:
            raise SoilcastError(
                f"{file}: has neither a column {time!r} nor {key!r}: name them in the mapping (time, cells.name)"
            )
        if key not in frame.columns:
            frame[key] = file.stem
        frame[key] = frame[key].str.strip()
        if frame[key].isna().any():
            raise SoilcastError(f"{file}: {int(frame[key].isna().sum())} row(s) have no {key!r}: add the cell of each")
        (long if time in frame.columns else static).append(frame)
    label = files[0].name if len(files) == 1 else f"{files[0].name} .. {files[-1].name}"
    if not long:
        raise SoilcastError(f"{label}: no CSV has the time column {time!r}: name it in the mapping (time)")
    data = _pivot(pd.concat(long, ignore_index=True), time, key, label)
    for name in {cells.lat, cells.lon} & set(data.data_vars):
        values = data[name].to_numpy()
        if not (values == values[0]).all():
            raise SoilcastError(f"{label}: column {name!r} varies in time or has gaps: give each cell one value")
        data[name] = (CSV_CELL, values[0])
    for frame in static:
        _add_static(data, frame, key, label)
    return Opened(label, data)


def _read_csv(file: Path, key: str) -> pd.DataFrame:
    try:
        return pd.read_csv(file, dtype={key: str}, skipinitialspace=True)
    except (ValueError, OSError) as error:
        raise SoilcastError(
            f"{file}: cannot be read as CSV ({str(error).partition(chr(10))[0]}): correct the file"
        ) from error


def _pivot(frame: pd.DataFrame, time: str, key: str, label: str) -> xr.Dataset:
    try:
        frame[time] = pd.to_datetime(frame[time], format="ISO8601")
    except (ValueError, TypeError) as error:
        raise SoilcastError(
            f"{label}: column {time!r} has values that are not dates ({error}): write them as 2020-12-31"
        ) from error
    if frame[time].isna().any():
        raise SoilcastError(f"{label}: {int(frame[time].isna().sum())} row(s) have no {time!r}: add the date of each")
    repeated = frame.duplicated([key, time])
    if repeated.any():
        row = frame[repeated].iloc[0]
        raise SoilcastError(
            f"{label}: {row[time]:%Y-%m-%d} occurs more than once in cell {row[key]}: one row per day and cell is "
            "expected; remove the duplicates"
        )
    frame = frame.set_index([time, key])
    names = pd.unique(frame.index.get_level_values(key))
    days = frame.index.get_level_values(time).unique().sort_values()
    rows = frame.reindex(pd.MultiIndex.from_product([days, names], names=[time, key]))
    if len(rows) > len(frame):
        absent = rows.index.difference(frame.index)[0]
        raise SoilcastError(
            f"{label}: {len(rows) - len(frame)} missing row(s), the first: {absent[0]:%Y-%m-%d} of cell {absent[1]}; "
            "every cell needs every day: add them (with empty values)"
        )
    shape = (len(days), len(names))
    return xr.Dataset(
        {name: ((time, CSV_CELL), rows[name].to_numpy().reshape(shape)) for name in rows.columns},
        coords={time: days.to_numpy(), CSV_CELL: names.astype(str)},
    )


def _add_static(data: xr.Dataset, frame: pd.DataFrame, key: str, label: str) -> None:
    if frame[key].duplicated().any():
        raise SoilcastError(
            f"{label}: cell {frame[key][frame[key].duplicated()].iloc[0]} has two rows in a static table: remove one"
        )
    rows = frame.set_index(key)
    absent = [name for name in data[CSV_CELL].to_numpy() if name not in rows.index]
    if absent:
        raise SoilcastError(
            f"{label}: {len(absent)} cell(s) have no row in the static table, such as {absent[0]}: add them"
        )
    for name in rows.columns:
        data[name] = (CSV_CELL, rows[name].loc[data[CSV_CELL].to_numpy()].to_numpy())
