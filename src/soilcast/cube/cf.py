"""What CF asks of a file beyond names and units: attributes of the type of their variable, axes, a history."""

from __future__ import annotations

import numpy as np
import xarray as xr

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
