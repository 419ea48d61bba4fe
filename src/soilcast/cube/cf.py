"""How files keep to CF beyond names and units, and how NetCDF-4 is written so that a full disk is an error."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from soilcast.cube.identity import MANIFEST, manifest_of
from soilcast.provenance import history_of

CONVENTIONS = "CF-1.11"

LATITUDE = {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north"}
LONGITUDE = {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east"}
_CLOCK = {"units_metadata": "leap_seconds: none"}  # days are counted, each of 86400 s
DAY = {"standard_name": "time", "long_name": "day (UTC)", "axis": "T", **_CLOCK}
ISSUE_DAY = {"standard_name": "forecast_reference_time", "long_name": "issue day", **_CLOCK}
VALID_DAY = {"standard_name": "time", "long_name": "day forecast", **_CLOCK}
LEAD = {"standard_name": "forecast_period", "long_name": "days ahead of the issue day", "units": "d"}

_OF_ITS_TYPE = ("valid_range", "valid_min", "valid_max", "flag_values", "flag_masks")


def keep_to_cf(dataset: xr.Dataset) -> None:
    """Have a dataset, if it is written by xarray, keep to CF: in types of attributes, and in axes without fill values.

    Bounds and flags get the type in which their variable is stored: JSON, and so Zarr, has one type of number.
    """
    for name, variable in dataset.variables.items():
        if variable.dims == (name,):
            variable.encoding["_FillValue"] = None
        stored = np.dtype(variable.encoding.get("dtype", variable.dtype))
        if stored.kind in "iuf":
            variable.attrs = {
                key: np.asarray(value, dtype=stored)[()] if key in _OF_ITS_TYPE else value
                for key, value in variable.attrs.items()
            }


def write_netcdf(dataset: xr.Dataset, path: Path, encoding: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a dataset as NetCDF-4 that keeps to CF, says its history and carries its manifest.

    Parameters
    ----------
    dataset
        In memory or lazy.
    encoding
        Variable -> how it is stored.

    Raises
    ------
    OSError
        The first fault of the disk.
    """
    dataset = dataset.copy()
    keep_to_cf(dataset)
    dataset.attrs |= history_of(dataset.attrs.get("provenance"))
    dataset.attrs.pop(MANIFEST, None)
    with _Patient(path, "w+") as file:
        try:
            dataset.to_netcdf(file, engine="h5netcdf", encoding=encoding)
        except Exception:
            # What could not be written could not be read again either: the fault of the disk is the cause.
            if file.fault is None:
                raise
    if file.fault is not None:
        raise file.fault
    manifest = json.dumps(manifest_of(path))
    with _Patient(path, "r+") as file, h5py.File(file, "r+") as opened:
        opened.attrs[MANIFEST] = manifest
    if file.fault is not None:
        raise file.fault


class _Patient(io.FileIO):
    """A file that keeps its first fault and goes on: the HDF5 library crashes if it cannot write while it closes."""

    fault: OSError | None = None

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        while rest and self.fault is None:
            try:
                rest = rest[super().write(rest) :]
            except OSError as error:
                self.fault = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.fault = self.fault or error
            return size or 0
