"""Which cell of a product stands for a station: the nearest within reach."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial import KDTree

from soilcast.cube.grid import EARTH_RADIUS, grid_of, spacing
from soilcast.cube.store import read
from soilcast.errors import SoilcastError

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

_KM = EARTH_RADIUS / 1000.0

REACH = 25.0
"""How far a station may be from a place without a grid, such as the centre of a basin [km]."""


@dataclass(frozen=True)
class Nearest:
    """The cell that stands for each station.

    Parameters
    ----------
    cell
        Its position ``(station,)``; -1 where none is within reach.
    distance
        To the nearest cell, within reach or not ``(station,)`` [km].
    reach
        ``(station,)`` [km].
    """

    cell: Positions = field(repr=False)
    distance: Floats = field(repr=False)
    reach: Floats = field(repr=False)


class CellFinder:
    """Finds the cells of a product that stand for places: the nearest along the great circle.

    Parameters
    ----------
    product
        An opened cube or forecast.
    """

    def __init__(self, product: xr.Dataset) -> None:
        self._tree = KDTree(_on_sphere(*(product[name].to_numpy().astype(np.float64) for name in ("lat", "lon"))))
        self._grid = grid_of(product)

    def nearest(self, lat: Floats, lon: Floats, distance: float | None = None) -> Nearest:
        """Find the cell of each place: see `nearest_cells`."""
        if distance is not None and not distance > 0:
            raise SoilcastError(f"--distance {distance:g}: write a distance above 0 km")
        chord, cell = self._tree.query(_on_sphere(lat, lon))
        found = 2 * _KM * np.arcsin(np.clip(chord / 2, 0, 1))
        reach = np.full(len(lat), distance, dtype=np.float64) if distance is not None else self._half_diagonal(lat)
        # Half a diagonal is reached at the corners, where rounding may tell either way.
        inside = found <= reach * (1 + 1e-3)
        return Nearest(np.where(inside, cell, -1).astype(np.int64), np.asarray(found), reach)

    def within(self, lat: float, lon: float, distance: float) -> Positions:
        """Positions of all cells whose centre is within a distance [km] of a place, ascending ``(cell,)``."""
        chord = 2 * np.sin(min(distance / _KM, np.pi) / 2)
        found = self._tree.query_ball_point(_on_sphere(np.array([lat]), np.array([lon]))[0], chord)
        return np.sort(np.asarray(found, dtype=np.int64))

    def _half_diagonal(self, lat: Floats) -> Floats:
        grid = self._grid
        if grid is None or min(len(grid.lat), len(grid.lon)) < 2:
            return np.full(len(lat), REACH)
        north, east = (np.radians(abs(spacing(axis))) * _KM for axis in (grid.lat, grid.lon))
        return np.asarray(np.hypot(north, east * np.cos(np.radians(lat))) / 2)


def nearest_cells(lat: Floats, lon: Floats, product: xr.Dataset, distance: float | None = None) -> Nearest:
    """Find the cell of each station: the nearest along the great circle.

    Parameters
    ----------
    lat, lon
        Of the stations ``(station,)`` [degrees].
    product
        An opened cube or forecast.
    distance
        Largest distance [km]; by default half the diagonal of a cell of its grid at the latitude of the station, so
        that a station within a cell has it, and `REACH` where it has no grid.

    Raises
    ------
    SoilcastError
        The distance is not above 0.
    """
    return CellFinder(product).nearest(lat, lon, distance)


def at_cells(opened: xr.Dataset, name: str, near: Nearest) -> npt.NDArray[np.float32]:
    """One variable at the cells of stations, ``(station, ...)``; NaN where a station has none."""
    cells, back = np.unique(near.cell[near.cell >= 0], return_inverse=True)
    shape = tuple(size for dim, size in opened[name].sizes.items() if dim != "cell")
    values = np.full((len(near.cell), *shape), np.nan, dtype=np.float32)
    if len(cells):
        values[near.cell >= 0] = read(opened, name, cells)[back]
    return values


def _on_sphere(lat: Floats, lon: Floats) -> Floats:
    """Points of the unit sphere ``(place, 3)``."""
    north, east = np.radians(lat), np.radians(lon)
    return np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=1)
