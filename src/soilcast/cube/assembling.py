"""From converted variables to a cube in memory: the one shape that every source returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube.calendar import Days
from soilcast.cube.cf import CONVENTIONS, DAY, LATITUDE, LONGITUDE
from soilcast.cube.contract import CONTRACT_VERSION, ERA5_LAND_LAYERS, VARIABLES, thickness_name
from soilcast.cube.grid import Grid
from soilcast.cube.pieces import PACKING


def cells_of_grid(grid: Grid) -> dict[str, xr.Variable]:
    """Coordinates and area of the cells of a grid, as `assemble` takes them."""
    return {
        "cell": xr.Variable(
            "cell",
            grid.index,
            {"compress": "grid_lat grid_lon", "long_name": "index of the cell in its grid"},
        ),
        "lat": xr.Variable("cell", grid.cell_lat, LATITUDE),
        "lon": xr.Variable("cell", grid.cell_lon, LONGITUDE),
        "grid_lat": xr.Variable("grid_lat", grid.lat, LATITUDE | {"axis": "Y"}),
        "grid_lon": xr.Variable("grid_lon", grid.lon, LONGITUDE | {"axis": "X"}),
        "area": xr.Variable("cell", grid.cell_area),
    }


def cells_of_places(
    lat: npt.ArrayLike, lon: npt.ArrayLike, area: npt.ArrayLike, names: npt.ArrayLike
) -> dict[str, xr.Variable]:
    """Coordinates and area of cells without a grid (stations, basins, units), as `assemble` takes them.

    Parameters
    ----------
    lat, lon
        Place of each cell ``(cell,)`` [degrees north, degrees east].
    area
        Area of each cell ``(cell,)`` [m2]; ones where only equal weights make sense.
    names
        Name or number of each cell in its source, ``(cell,)``.
    """
    labels = np.asarray(names).astype(str)
    return {
        "cell": xr.Variable("cell", np.arange(len(labels), dtype=np.int64), {"long_name": "number of the cell"}),
        "lat": xr.Variable("cell", np.asarray(lat, dtype=np.float64), LATITUDE),
        "lon": xr.Variable("cell", np.asarray(lon, dtype=np.float64), LONGITUDE),
        "cell_name": xr.Variable(
            "cell", labels, {"long_name": "name of the cell in its source", "cf_role": "timeseries_id"}
        ),
        "area": xr.Variable("cell", np.asarray(area, dtype=np.float64)),
    }


def era5_land_thickness(cells: int, layers: Mapping[str, float] = ERA5_LAND_LAYERS) -> dict[str, xr.Variable]:
    """Thickness of ERA5-Land's soil layers as static variables, ``(cell,)`` [m]."""
    return {
        thickness_name(layer): xr.Variable("cell", np.full(cells, depth, dtype=np.float32))
        for layer, depth in layers.items()
    }


def assemble(
    variables: Mapping[str, Any],
    *,
    cells: Mapping[str, xr.Variable],
    time: Days,
    title: str,
    source: str,
    content: str,
    license: str | None = None,
    origins: Mapping[str, str] | None = None,
    packing: Mapping[str, float] | None = None,
) -> xr.Dataset:
    """Put converted variables together as a cube.

    Parameters
    ----------
    variables
        Contract name -> values in the contract's unit: ``(cell, time)`` or, for static ones, ``(cell,)``; arrays or
        DataArrays, lazy ones stay lazy. Every soil layer ``swvlN`` comes with its thickness ``slthickN``.
    cells
        What `cells_of_grid` or `cells_of_places` gives.
    time
        The days, ``(time,)``, as `daily_axis` gives them.
    title
        One line for people.
    source
        Name of the source in the registry.
    content
        ``"reanalysis"``, ``"land-model output"``, ``"synthetic weather"`` or so: said wherever numbers appear.
    license
        Licence of the data, if it is known: every export says it.
    origins
        Contract name -> the file or pattern that it came from.
    packing
        Contract name -> step in which its files have rounded it [contract's unit]: what values may be out of bounds by.

    Returns
    -------
    The cube, with CF attributes, dynamic variables as ``(cell, time)`` float32 and static ones as ``(cell,)`` float32.

    Raises
    ------
    KeyError
        A name that is not in the contract.
    ValueError
        A shape that does not fit, or a soil layer without its thickness.
    """
    sizes = {"cell": cells["cell"].size, "time": len(time)}
    cube = xr.Dataset(
        coords={name: variable for name, variable in cells.items() if name != "area"}
        | {"time": xr.Variable("time", time, DAY)},
        attrs={
            "Conventions": CONVENTIONS,
            "title": title,
            "source": source,
            "content": content,
            "soilcast_kind": "cube",
            "soilcast_contract": CONTRACT_VERSION,
            **({"license": license} if license else {}),
        },
    )
    for name, values in {"area": cells["area"], **variables}.items():
        row = VARIABLES[name]
        data = values.transpose(*row.dims).data if isinstance(values, xr.DataArray | xr.Variable) else values
        expected = tuple(sizes[dim] for dim in row.dims)
        if data.shape != expected:
            raise ValueError(f"{name} has shape {data.shape}; expected {row.dims} = {expected}")
        attributes: dict[str, Any] = dict(row.attributes)
        if origins and name in origins:
            attributes["origin"] = origins[name]
        cube[name] = (row.dims, data.astype(row.dtype, copy=False), attributes)
        cube[name].encoding[PACKING] = float((packing or {}).get(name, 0.0))
    for layer in ERA5_LAND_LAYERS:
        if layer in cube and thickness_name(layer) not in cube:
            raise ValueError(f"{layer} comes without its thickness {thickness_name(layer)}")
    return cube
