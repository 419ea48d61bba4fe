"""Where the cells of a forecast are: the nearest to a place, those in an area, and the one that each pixel shows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube.grid import OUTLINE, Grid, grid_of, nearest_on_axis, spacing
from soilcast.cube.nearest import CellFinder

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells that all forecasts of a collection have.

    Parameters
    ----------
    places
        ``lat`` and ``lon`` of each cell, ``cell_name`` where they have names, and the axes of their grid.
    """

    places: xr.Dataset = field(repr=False)

    @cached_property
    def identity(self) -> str:
        """Tells these cells from others."""
        digest = hashlib.sha256()
        for name in sorted(set(map(str, self.places.coords)) - {OUTLINE}):
            values = self.places[name].to_numpy()
            digest.update(name.encode() + (str(values.tolist()) if values.dtype.kind in "OUT" else "").encode())
            if values.dtype.kind not in "OUT":
                digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.places.sizes["cell"])

    @cached_property
    def lat(self) -> Floats:
        """``(cell,)`` [degrees north]."""
        return self.places["lat"].to_numpy().astype(np.float64)

    @cached_property
    def lon(self) -> Floats:
        """``(cell,)`` [degrees east], -180 .. 180."""
        return self.places["lon"].to_numpy().astype(np.float64)

    @cached_property
    def names(self) -> list[str] | None:
        """Of stations and basins; None where cells have none."""
        if "cell_name" not in self.places:
            return None
        return [str(name) for name in self.places["cell_name"].to_numpy()]

    @cached_property
    def grid(self) -> Grid | None:
        """None where cells have none."""
        return grid_of(self.places)

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north of all cells [degrees]."""
        half = (0.0, 0.0) if self.grid is None else (spacing(self.grid.lat) / 2, spacing(self.grid.lon) / 2)
        south, north = max(self.lat.min() - half[0], -90.0), min(self.lat.max() + half[0], 90.0)
        west, east = max(self.lon.min() - half[1], -180.0), min(self.lon.max() + half[1], 180.0)
        return float(west), float(south), float(east), float(north)

    def box(self, cell: int) -> tuple[float, float, float, float] | None:
        """West, south, east, north of a cell [degrees]; None where cells have no grid."""
        if self.grid is None:
            return None
        tall, wide = spacing(self.grid.lat) / 2, spacing(self.grid.lon) / 2
        lat, lon = float(self.lat[cell]), float(self.lon[cell])
        return lon - wide, max(lat - tall, -90.0), lon + wide, min(lat + tall, 90.0)

    @cached_property
    def finder(self) -> CellFinder:
        """Finds the nearest ones."""
        return CellFinder(self.places)

    @cached_property
    def at(self) -> npt.NDArray[np.int32]:
        """Cell at each position of the flattened grid, -1 where there is none; one more -1 behind all others."""
        assert self.grid is not None
        found = np.full(len(self.grid.lat) * len(self.grid.lon) + 1, -1, dtype=np.int32)
        found[self.grid.index] = np.arange(self.count, dtype=np.int32)
        return found

    def pixels(self, lat: Floats, lon: Floats) -> npt.NDArray[np.int32]:
        """Cell of each pixel ``(row, column)``, by latitude of rows and longitude of columns; -1 where none is."""
        assert self.grid is not None
        row = nearest_on_axis(self.grid.lat, lat)[:, np.newaxis]
        column = nearest_on_axis(self.grid.lon, lon, turn=360.0)[np.newaxis, :]
        return self.at[np.where((row < 0) | (column < 0), -1, row * len(self.grid.lon) + column)]
