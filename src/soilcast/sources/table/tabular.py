"""Opening the files of a table: NetCDF, Zarr and CSV, each as a lazy dataset that tells damage in one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube.store import DAY_CHUNK
from soilcast.errors import SoilcastError
from soilcast.sources.formats import NETCDF, TEXT_TABLES, ZARR, named_format
from soilcast.sources.netcdf import data_variables, naming_damage, valid_limits
from soilcast.sources.opening import DataFile, list_files, open_file
from soilcast.sources.table.csv_tables import CSV_CELL, open_csv
from soilcast.sources.table.mapping import Mapping

FORMATS = (NETCDF, ZARR, TEXT_TABLES)


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

    def names(self) -> list[str]:
        """Variables that hold data; of tables of text all columns, of which some are not read."""
        return [*map(str, self.data.data_vars)] if CSV_CELL in self.data.dims else data_variables(self.data)


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
    The files, all tables of text together, and notes on how these were read and on what is left out.

    Raises
    ------
    SoilcastError
        No file, a missing, damaged or unreadable one, CSV tables that do not fit together.
    """
    listing = list_files(paths, FORMATS)
    tables = [Path(file.path) for file in listing.files if file.format == "csv"]
    opened = [
        Opened(Path(file.path).name, _lazily(file, mapping.time)) for file in listing.files if file.format != "csv"
    ]
    notes = listing.notes()
    if tables:
        label, data, others = open_csv(tables, mapping)
        opened.append(Opened(label, data))
        notes += others
    return opened, notes


class _Lazy:
    """A variable that is read from its file when it is sliced, and names the file if that fails."""

    def __init__(self, file: DataFile, name: str, variable: xr.Variable) -> None:
        self.shape, self.dtype, self.ndim = variable.shape, variable.dtype, variable.ndim
        self._file, self._name, self._limits = file, name, valid_limits(variable)
        self._variable: xr.Variable | None = variable

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        with naming_damage(f"{self._file}: {self._name}", named_format(self._file.format)):
            if self._variable is None:
                (data,) = open_file(self._file)
                self._variable = data.variables[self._name]
            values = np.asarray(self._variable[key].to_numpy())
        if self._limits is None or self.dtype.kind != "f":
            return values
        low, high = self._limits
        return np.where((values < low) | (values > high), values.dtype.type(np.nan), values)

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
