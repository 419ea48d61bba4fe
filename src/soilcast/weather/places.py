"""Which point of a weather forecast each cell of a cube takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube.matching import find_places
from soilcast.errors import SoilcastError
from soilcast.sources.netcdf import naming_damage
from soilcast.sources.overlap import Points, holding

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

_LATITUDES = ("lat", "latitude")
_LONGITUDES = ("lon", "longitude")


@dataclass(frozen=True, eq=False)
class Places:
    """Where the cells of a cube lie in a forecast.

    Parameters
    ----------
    dims
        Dimensions of the file that make up its places: latitude and longitude of a grid, or one of cells.
    rows, columns
        Position of each cell along them, ``(cell,)``; -1 where the forecast does not cover it, and 0 for the columns of
        a list of cells.
    extent
        What the forecast covers, in words.
    lat, lon
        Place of each cell, ``(cell,)`` [degrees].
    """

    dims: tuple[str, ...]
    rows: Positions = field(repr=False)
    columns: Positions = field(repr=False)
    extent: str
    lat: Floats = field(repr=False)
    lon: Floats = field(repr=False)

    def told(self, cell: int) -> str:
        """Place of a cell in words, for messages."""
        return f"such as that at lat {self.lat[cell]:g}, lon {self.lon[cell]:g}"


def places_of(opened: xr.Dataset, cube: xr.Dataset, where: str) -> Places:
    """Find the cells of a cube in a forecast.

    Parameters
    ----------
    opened
        The forecast, with latitudes and longitudes of a regular grid, in any order, or of each cell.
    cube
        The opened cube.
    where
        The forecast's name, for the messages.

    Raises
    ------
    SoilcastError
        The forecast has no latitudes and longitudes, or neither a regular grid nor a list of cells.
    """
    lat, lon = axes_in(opened, where)
    cell_lat, cell_lon = (np.asarray(cube[name].to_numpy(), dtype=np.float64) for name in ("lat", "lon"))
    ends = f"lat {_span(lat)}, lon {_span(lon)}"
    south_north, west_east = (np.asarray(axis.to_numpy(), dtype=np.float64) for axis in (lat, lon))
    if lat.dims == lon.dims:
        rows = find_places(south_north, west_east, cell_lat, cell_lon)
        extent = f"{lat.size} cells, {ends}"
        return Places((str(lat.dims[0]),), rows, np.where(rows < 0, -1, 0), extent, cell_lat, cell_lon)
    rows, columns = holding(south_north, west_east, Points(cell_lat, cell_lon), where)
    outside = (rows < 0) | (columns < 0)
    rows, columns = (np.where(outside, -1, positions).astype(np.int64) for positions in (rows, columns))
    extent = f"a grid of {lat.size} x {lon.size} points, {ends}"
    return Places((str(lat.dims[0]), str(lon.dims[0])), rows, columns, extent, cell_lat, cell_lon)


def axes_in(opened: xr.Dataset, where: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Latitudes and longitudes of a file, each with one dimension: of a grid, or of a list of cells.

    Raises
    ------
    SoilcastError
        There are none, or neither of a regular grid nor of each cell.
    """
    with naming_damage(Path(where)):
        lat, lon = (_axis(opened, *named, where) for named in ((_LATITUDES, "latitude"), (_LONGITUDES, "longitude")))
    if lat.ndim != 1 or lon.ndim != 1:
        raise SoilcastError(
            f"{where}: {lat.name} has the dimensions {lat.dims} and {lon.name} {lon.dims}: a regular "
            "latitude-longitude grid, or both of each cell, is expected; regrid it"
        )
    return lat, lon


def _axis(opened: xr.Dataset, names: Sequence[str], standard: str, where: str) -> xr.DataArray:
    found = [name for name in names if name in opened.variables]
    found += [str(name) for name, one in opened.variables.items() if str(one.attrs.get("standard_name")) == standard]
    if not found:
        raise SoilcastError(
            f"{where}: no {standard} ({' or '.join(names)}): add the coordinate of its grid or of its cells"
        )
    axis = opened[found[0]]
    if axis.dtype.kind not in "fiu":
        raise SoilcastError(f"{where}: {axis.name} is not in degrees ({axis.dtype}): correct it")
    return axis.load()


def _span(axis: xr.DataArray) -> str:
    return f"{float(axis.min()):g} .. {float(axis.max()):g}" if axis.size else "of no point"
