"""What the process imports that tests fork theirs from: all that commands import, the first call of libraries too."""

from __future__ import annotations

import importlib
import os

_NAMES = (
    "auditing", "cli", "backend", "comparing", "doctoring", "downloading", "exporting", "forecasting", "inspecting",
    "reporting", "reproducing", "serving.app", "sources.preparing", "sources.era5land", "sources.planet",
    "sources.table", "training.public", "updating", "verify",
)  # fmt: skip
_LAZY = (
    "cf_xarray.units", "dask.array", "ecmwf.datastores", "h5netcdf", "matplotlib.backends.backend_agg", "pytest",
    "scipy.spatial", "scipy.stats", "torch._dynamo", "uvicorn", "zarr",
)  # fmt: skip

for _name in (*_LAZY, *(f"soilcast.{name}" for name in _NAMES)):
    importlib.import_module(_name)

os.fsync = lambda descriptor: None  # type: ignore[assignment]  # a kill loses nothing that the system has
