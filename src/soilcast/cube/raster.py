"""The raster that the cells of a grid lie on: evenly spaced, north up, as maps of other software are."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from soilcast.cube.grid import Grid, spacing
from soilcast.errors import SoilcastError

# A map of the whole Earth at 0.02 degrees has fewer.
_MOST_PIXELS = 1 << 28

_MOST_DEVIATION = 0.05
"""Largest deviation of a row or column from even spacing, as a share of the step."""


@dataclass(frozen=True)
class Axis:
    """Evenly spaced pixels along an axis of a grid.

    Parameters
    ----------
    first
        Coordinate of the centre of the first pixel [degrees].
    step
        From one to the next [degrees]; negative where coordinates fall.
    pixel
        Pixel of each point of the axis ``(point,)``.
    """

    first: float
    step: float
    pixel: npt.NDArray[np.int64] = field(repr=False)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return int(self.pixel.max()) + 1

    @property
    def edge(self) -> float:
        """Coordinate at which the first pixel begins [degrees]."""
        return self.first - self.step / 2

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        """Coordinate of each pixel ``(pixel,)`` [degrees]."""
        return np.asarray(self.first + self.step * np.arange(self.size))


@dataclass(frozen=True)
class Raster:
    """Rows from north to south, columns from west to east, and the pixel of each cell.

    Parameters
    ----------
    rows, columns
        The axes.
    pixel
        Of each cell, its position among all pixels, row by row ``(cell,)``.
    """

    rows: Axis
    columns: Axis
    pixel: npt.NDArray[np.int64] = field(repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows.size, self.columns.size

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north edge [degrees]."""
        west, north = self.columns.edge, self.rows.edge
        return west, north + self.rows.step * self.rows.size, west + self.columns.step * self.columns.size, north

    def image(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Spread values of cells ``(..., cell)`` over the pixels ``(..., row, column)``, NaN where there is no cell."""
        image = np.full((*values.shape[:-1], self.rows.size * self.columns.size), np.nan, dtype=np.float32)
        image[..., self.pixel] = values
        return image.reshape(*values.shape[:-1], *self.shape)


def raster_of(grid: Grid, where: str, what: str, remedy: str) -> Raster:
    """Lay the cells of a grid on a raster; rows and columns that the grid leaves out are there too.

    Parameters
    ----------
    grid
        The cells.
    where, what, remedy
        Words of the messages: the file, what needs the raster, and what to do without.

    Raises
    ------
    SoilcastError
        Rows or columns are not evenly spaced, or the raster would be too large.
    """
    row, column = np.divmod(grid.index, len(grid.lon))
    axes = []
    for points, sign, name in ((grid.lat, -1, "latitudes"), (grid.lon, 1, "longitudes")):
        axis = _axis(points.astype(np.float64), sign)
        if axis is None:
            raise SoilcastError(f"{where}: the {name} of the grid are not evenly spaced, as {what} requires: {remedy}")
        axes.append(axis)
    rows, columns = axes
    if rows.size * columns.size > _MOST_PIXELS:
        raise SoilcastError(f"{where}: a map of {rows.size} x {columns.size} pixels is too large for {what}: {remedy}")
    return Raster(rows, columns, rows.pixel[row] * columns.size + columns.pixel[column])


def _axis(points: npt.NDArray[np.float64], sign: int) -> Axis | None:
    """Even pixels along the points of an axis; None where these are not even."""
    first, last = (points.min(), points.max()) if sign > 0 else (points.max(), points.min())
    step = spacing(np.sort(points))
    if np.isfinite(points).all() and step > 0:
        # Steps that were written as float32 add up to something else than their number times the smallest.
        steps = max(round(abs(last - first) / step), 1)
        step = abs(last - first) / steps if last != first else step
        position = (points - first) * sign / step
        if steps < _MOST_PIXELS and np.abs(position - np.rint(position)).max() <= _MOST_DEVIATION:
            return Axis(float(first), sign * step, np.rint(position).astype(np.int64))
    return None
