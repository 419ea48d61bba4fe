"""Write NetCDF-4 so that a full disk is an error."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from soilcast.cube.cf import keep_to_cf
from soilcast.provenance import history_of


def write_netcdf(dataset: xr.Dataset, path: Path, encoding: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a dataset as NetCDF-4 that keeps to CF and says its history.

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
    with _Patient(path, "w+") as file:
        try:
            dataset.to_netcdf(file, engine="h5netcdf", encoding=encoding)
        except Exception:
            # What could not be written could not be read again either: the fault of the disk is the cause.
            if file.fault is None:
                raise
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
