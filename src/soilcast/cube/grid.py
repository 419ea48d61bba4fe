"""Cells <-> grid, by the CF convention's compression by gathering (section 8.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

EARTH_RADIUS = 6371229.0
"""Radius of the sphere that ECMWF's models use [m]."""

OUTLINE = "outline"
"""Coordinate of cells that are regions: polygons of shapely ``(cell,)`` [degrees]. It is in memory alone."""


@dataclass(frozen=True)
class Grid:
    """A regular latitude-longitude grid and the cells that are kept of it.

    Parameters
    ----------
    lat
        Latitudes of the rows ``(grid_lat,)`` [degrees north], ascending or descending.
    lon
        Longitudes of the columns ``(grid_lon,)`` [degrees east], in -180 .. 180, ascending.
    index
        Position of each cell in the flattened (lat, lon) grid, ``(cell,)``, ascending.
    """

    lat: npt.NDArray[np.float64]
    lon: npt.NDArray[np.float64]
    index: npt.NDArray[np.int64]

    @property
    def cell_lat(self) -> npt.NDArray[np.float64]:
        """Latitude of each cell, ``(cell,)``."""
        return self.lat[self.index // len(self.lon)]

    @property
    def cell_lon(self) -> npt.NDArray[np.float64]:
        """Longitude of each cell, ``(cell,)``."""
        return self.lon[self.index % len(self.lon)]

    @property
    def cell_area(self) -> npt.NDArray[np.float64]:
        """Area of each cell on the sphere [m2], ``(cell,)``."""
        half_lat, half_lon = spacing(self.lat) / 2, spacing(self.lon) / 2
        south = np.radians(np.clip(self.cell_lat - half_lat, -90, 90))
        north = np.radians(np.clip(self.cell_lat + half_lat, -90, 90))
        area: npt.NDArray[np.float64] = EARTH_RADIUS**2 * (np.sin(north) - np.sin(south)) * np.radians(2 * half_lon)
        return area


def spacing(axis: npt.NDArray[np.float64]) -> float:
    """Distance of neighbouring points of a regular axis, across a gap too [degrees]; 1 for an axis of one point."""
    return float(np.abs(np.diff(axis)).min()) if len(axis) > 1 else 1.0


def wrap_longitude(lon: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Longitudes in -180 (included) .. 180 (excluded) [degrees east]."""
    wrapped = (np.asarray(lon, dtype=np.float64) + 180.0) % 360.0 - 180.0
    return np.where(wrapped < 180.0, wrapped, wrapped - 360.0)  # the remainder of a tiny negative number rounds to 360


def nearest_on_axis(
    axis: npt.NDArray[np.float64], coordinates: npt.NDArray[np.float64], turn: float | None = None
) -> npt.NDArray[np.int64]:
    """Position on an axis of the cell that each coordinate lies in; -1 outside and for NaN.

    Parameters
    ----------
    axis
        Centres of the cells, in any order.
    coordinates
        Of any shape, in the unit of the axis.
    turn
        After what the axis repeats, such as 360 degrees of longitude.
    """
    order = np.argsort(axis)
    middle = axis[order]
    half = spacing(axis) / 2
    edges = np.concatenate([[middle[0] - half], (middle[:-1] + middle[1:]) / 2, [middle[-1] + half]])
    if turn is not None:
        coordinates = edges[0] + (coordinates - edges[0]) % turn
    position = np.searchsorted(edges, coordinates, side="right") - 1
    inside = np.isfinite(coordinates) & (position >= 0) & (position < len(axis))
    return np.where(inside, order[np.clip(position, 0, len(axis) - 1)], -1)


def neighbours(grid: Grid, width: int) -> npt.NDArray[np.int64]:
    """Find the cells of the square around each cell, across 180 degrees too where the grid goes round the Earth.

    Parameters
    ----------
    width
        Side of the square, odd [cell].

    Returns
    -------
    ``(cell, width ** 2 - 1)``, positions among the cells, row by row without the cell itself; -1 for none, as in the
    sea and beyond the edge.
    """
    rows, columns = len(grid.lat), len(grid.lon)
    position = np.full((rows, columns), -1, dtype=np.int64)
    position.ravel()[grid.index] = np.arange(len(grid.index))
    reach = width // 2
    goes_round = columns > width and np.isclose(columns * spacing(grid.lon), 360.0)
    padded = np.pad(position, ((reach, reach), (0, 0)), constant_values=-1)
    sides = ((0, 0), (reach, reach))
    padded = np.pad(padded, sides, mode="wrap") if goes_round else np.pad(padded, sides, constant_values=-1)
    row, column = np.divmod(grid.index, columns)
    steps = [(down, right) for down in range(width) for right in range(width) if (down, right) != (reach, reach)]
    return np.stack([padded[row + down, column + right] for down, right in steps], axis=-1)


def grid_of(cube: xr.Dataset) -> Grid | None:
    """Give the grid of a cube or of a forecast on it; None where its cells are stations, basins or other units."""
    if "grid_lat" not in cube.coords:
        return None
    return Grid(cube["grid_lat"].to_numpy(), cube["grid_lon"].to_numpy(), cube["cell"].to_numpy())


def to_grid(values: xr.DataArray, grid: Grid) -> xr.DataArray:
    """Spread cells over their grid, NaN where there is no cell.

    Parameters
    ----------
    values
        ``(cell, ...)``, floats.
    grid
        The grid of the cells, in the same order (`grid_of`).

    Returns
    -------
    ``(lat, lon, ...)``.
    """
    values = values.transpose("cell", ...)
    other = values.dims[1:]
    full = np.full((grid.lat.size * grid.lon.size, *values.shape[1:]), np.nan, dtype=values.dtype)
    full[grid.index] = values.to_numpy()
    return xr.DataArray(
        full.reshape(grid.lat.size, grid.lon.size, *values.shape[1:]),
        dims=("lat", "lon", *other),
        coords={"lat": grid.lat, "lon": grid.lon}
        | {name: values.coords[name] for name in other if name in values.coords},
        name=values.name,
        attrs=values.attrs,
    )


def from_grid(values: xr.DataArray, grid: Grid) -> xr.DataArray:
    """Gather the cells of a grid.

    Parameters
    ----------
    values
        ``(..., lat, lon)`` on exactly the rows and columns of ``grid``; lazy arrays stay lazy.
    grid
        The grid and its cells.

    Returns
    -------
    ``(cell, ...)``, the cells in the order of ``grid.index``.
    """
    row = xr.DataArray(grid.index // len(grid.lon), dims="cell")
    column = xr.DataArray(grid.index % len(grid.lon), dims="cell")
    return values.isel(lat=row, lon=column).transpose("cell", ...)
