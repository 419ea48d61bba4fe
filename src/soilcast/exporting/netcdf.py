"""Fields as NetCDF on the regular grid (time, lat, lon), as QGIS, Panoply and GrADS show it: time is the valid day."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from soilcast.cube import grid_of
from soilcast.cube.cf import CONVENTIONS, DAY, ISSUE_DAY, LATITUDE, LEAD, LONGITUDE, VALID_DAY
from soilcast.cube.raster import raster_of
from soilcast.cube.store import write_dataset
from soilcast.errors import SoilcastError
from soilcast.exporting.field import Field
from soilcast.ownership import GENERATOR
from soilcast.products.indices import MISSING
from soilcast.provenance import stamp

_DIMS = ("time", "lat", "lon")

KIND = "map"
"""What such a file says that it is: no forecast of soilcast, which has cells, issue days and leads."""


def write_netcdf(fields: Sequence[Field], partial: Path, out: Path) -> None:
    """Write fields of one issue day: each a variable ``(time, lat, lon)``, quantiles and classes by themselves.

    Parameters
    ----------
    fields
        What to write, of the same cells, days and leads.
    partial
        Where to write.
    out
        Final path, for messages.

    Raises
    ------
    SoilcastError
        The cells have no grid, or one that is not regular or too large; the fields are of no day.
    """
    field = fields[0]
    remedy = f"use --out {out.with_suffix('.csv')}"
    grid = grid_of(field.opened)
    if grid is None:
        raise SoilcastError(f"{out}: the cells are points without a grid: {remedy}")
    days = [band.day for band in field.bands]
    if None in days:
        raise SoilcastError(f"{out}: {field.name} is of no single day, and NetCDF has a time: {remedy}")
    raster = raster_of(grid, str(out), "NetCDF on a grid", remedy)
    valid = np.array(days, dtype="datetime64[ns]")
    axes: dict[str, Any] = {
        "time": ("time", valid, (DAY if field.kind == "cube" else VALID_DAY) | {"axis": "T"}),
        "lat": ("lat", raster.rows.centres, LATITUDE | {"axis": "Y"}),
        "lon": ("lon", raster.columns.centres, LONGITUDE | {"axis": "X"}),
    }
    if field.issue is not None:
        axes["forecast_reference_time"] = ((), field.issue.astype("datetime64[ns]"), ISSUE_DAY)
        axes["forecast_period"] = ("time", np.array([band.lead for band in field.bands], dtype=np.int32), LEAD)
    dataset = xr.Dataset(
        {one.column: _variable(one, raster.image(one.values)) for one in fields}, axes, _attributes(field)
    )
    for name in ("time", "forecast_reference_time"):
        if name in dataset.coords:
            dataset[name].encoding = {"units": f"days since {valid[0].astype('datetime64[D]')}", "dtype": "int32"}
    write_dataset(dataset, partial, netcdf=True)


def _variable(field: Field, values: Any) -> xr.Variable:
    """One field, as it is stored: whole numbers as int8, with the attributes of CF and the level of a quantile."""
    attributes = {
        name: field.attributes[name]
        for name in ("standard_name", "flag_values", "flag_meanings", "comment", "reference_period", "dry")
        if name in field.attributes
    }
    attributes |= {"long_name": field.long_name, "units": field.units}
    if not field.is_whole:
        return xr.Variable(_DIMS, values, attributes)
    whole = np.where(np.isnan(values), MISSING, values).astype(np.int8)
    return xr.Variable(_DIMS, whole, attributes | {"_FillValue": np.int8(MISSING)})


def _attributes(field: Field) -> dict[str, Any]:
    told = {name: text for name, text in field.about().items() if name not in ("variable", "long_name", "units")}
    made = stamp("soilcast export", source=field.opened.encoding.get("source"))
    return {"Conventions": CONVENTIONS, "soilcast_kind": KIND, "software": GENERATOR, **told, "provenance": made}
