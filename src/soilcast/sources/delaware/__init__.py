"""A built-in part of the Delaware River Basin: a land model under the weather that was observed in 1979 and 1980."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.sources.table import table


def delaware(paths: Sequence[Path] = ()) -> xr.Dataset:
    """Read the shipped part of the USGS PRMS run of the Delaware River Basin.

    Every fourth unit of those that the mapping ``prms_delaware.yaml`` keeps, at a precision of 0.001 mm. The weather is
    observed; soil moisture and all water fluxes are the land model's. Source: pywatershed 2.0.4 (USGS), CC0 1.0.

    Parameters
    ----------
    paths
        None: the data is built in.

    Returns
    -------
    The cube: 163 units, 1979-04-01 .. 1980-12-31; soil moisture is the filled share of the plant-available capacity.

    Raises
    ------
    SoilcastError
        Files are given.
    """
    if paths:
        raise SoilcastError(
            f"source delaware is built in and reads no files, but {paths[0]} is given: remove it, or use source table "
            "with --mapping"
        )
    sources = files("soilcast.sources")
    shipped, recipe = sources / "delaware/data/delaware.nc", sources / "table/mappings/prms_delaware.yaml"
    with as_file(shipped) as data, as_file(recipe) as mapping:
        cube = table([data], mapping=mapping).load()
    cube.attrs["source"] = "delaware"
    return cube
