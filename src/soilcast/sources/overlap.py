"""Which cells of one regular latitude-longitude grid share area with which of another, and how much.

The area that two such cells share is a product: what their rows share (a difference of the sine of latitude) times what
their columns share (degrees). So a field comes onto another grid by two sparse matrices, one from each side.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from soilcast.cube import Grid, spacing, wrap_longitude
from soilcast.errors import SoilcastError

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

UNEVEN = 0.02
"""Share of the spacing by which points of a regular axis may lie off: as often as not it is stored as float32."""

# Edges are rounded to these decimals of a degree, so that they do not depend on where a file's longitudes begin.
_DECIMALS = 9
_TOLERANCE = 1e-8  # degrees


@dataclass(frozen=True)
class Points:
    """Places without a grid: stations, basins.

    Parameters
    ----------
    cell_lat, cell_lon
        Place of each, ``(cell,)`` [degrees north, degrees east].
    """

    cell_lat: Floats
    cell_lon: Floats


@dataclass(frozen=True)
class Overlap:
    """The area that each cell of a source shares with each cell of a target.

    Parameters
    ----------
    rows
        What their rows share, ``(grid_lat, lat)`` [1, differences of the sine of latitude].
    columns
        What their columns share, ``(lon, grid_lon)`` [degrees].
    height
        Height of the target's rows, ``(grid_lat,)`` [1].
    width
        Width of the target's columns, ``(grid_lon,)`` [degrees].
    """

    rows: sparse.csr_array
    columns: sparse.csr_array
    height: Floats
    width: Floats

    def integral(self, values: npt.NDArray[Any]) -> Floats:
        """Integral of a field without NaN ``(lat, lon)`` over each cell of the target, ``(grid_lat, grid_lon)``."""
        integral: Floats = (self.rows @ values) @ self.columns
        return integral

    @property
    def whole(self) -> Floats:
        """Area of each cell of the target in the measure of `integral`, ``(grid_lat, grid_lon)``."""
        return np.outer(self.height, self.width)

    @property
    def covered(self) -> tuple[Floats, Floats]:
        """Share of each row and column of the target that lies in the source, ``(grid_lat,)`` and ``(grid_lon,)``."""
        return self.rows.sum(axis=1) / self.height, self.columns.sum(axis=0) / self.width


@dataclass(frozen=True)
class Axis:
    """A regular axis of a source.

    Parameters
    ----------
    edges
        Edges of its cells, ascending, ``(n + 1,)`` [degrees].
    order
        Position in the file of each cell, ``(n,)``.
    step
        Side of a cell [degrees].
    """

    edges: Floats
    order: Positions
    step: float

    def holding(self, places: Floats) -> Positions:
        """Position in the file of the cell that holds each place, -1 outside, the shape of ``places``."""
        inside = (places >= self.edges[0] - _TOLERANCE) & (places <= self.edges[-1] + _TOLERANCE)
        cell = np.searchsorted(self.edges, places, side="right") - 1
        return np.where(inside, self.order[np.clip(cell, 0, len(self.order) - 1)], -1)


def overlap(lat: npt.ArrayLike, lon: npt.ArrayLike, grid: Grid, where: str) -> Overlap:
    """Find the area that each cell of a source shares with each of a grid; kept for the pairs of grids last asked for.

    Parameters
    ----------
    lat, lon
        The source's points ``(lat,)`` and ``(lon,)``, as `source_axes` takes them.
    grid
        The target.
    where
        The source's name, for the message.

    Raises
    ------
    SoilcastError
        Axes that are not those of a regular grid.
    """
    south_north, west_east = source_axes(lat, lon, where)
    target_lat, target_lon = np.asarray(grid.lat, dtype=np.float64), np.asarray(grid.lon, dtype=np.float64)
    return _overlap(
        *(array.tobytes() for axis in (south_north, west_east) for array in (axis.edges, axis.order)),
        target_lat.tobytes(),
        target_lon.tobytes(),
        (np.size(lat), np.size(lon), *_steps(target_lat, target_lon)),
    )


def holding(lat: npt.ArrayLike, lon: npt.ArrayLike, cells: Grid | Points, where: str) -> tuple[Positions, Positions]:
    """Row and column in the source of the point whose cell holds each centre, ``(cell,)``; -1 outside.

    Raises
    ------
    SoilcastError
        Axes that are not those of a regular grid.
    """
    south_north, west_east = source_axes(lat, lon, where)
    west = west_east.edges[0] - _TOLERANCE
    turned = (np.asarray(cells.cell_lon, dtype=np.float64) - west) % 360.0 + west
    return south_north.holding(np.asarray(cells.cell_lat, dtype=np.float64)), west_east.holding(turned)


def source_axes(lat: npt.ArrayLike, lon: npt.ArrayLike, where: str) -> tuple[Axis, Axis]:
    """Find the cells around the points of a source.

    Parameters
    ----------
    lat, lon
        Latitudes ``(lat,)`` and longitudes ``(lon,)`` of the points, evenly spaced, in any order: north or south first,
        longitudes from -180, from 0 or from anywhere, round the Earth or not, with the first repeated at the end or
        not [degrees]. The poles cut the cells off; those of an axis of one point are taken for square.
    where
        The source's name, for the message.

    Raises
    ------
    SoilcastError
        Axes that are not those of a regular grid.
    """
    lat, lon = np.asarray(lat, dtype=np.float64), np.asarray(lon, dtype=np.float64)
    if not lat.size or not lon.size or lat.size == lon.size == 1:
        raise SoilcastError(f"{where}: a grid of {lat.size} x {lon.size} points is too small: give at least 2 x 2")
    northward = np.argsort(lat)
    eastward, turned = _eastward(lon)
    high = float(np.ptp(lat)) / max(len(lat) - 1, 1)
    wide = float(np.ptp(turned)) / max(len(turned) - 1, 1)
    high, wide = high if len(lat) > 1 else wide, wide if len(turned) > 1 else high
    if not np.abs(lat).max() <= 90.0 + UNEVEN * high:
        raise SoilcastError(
            f"{where}: its latitudes reach {np.abs(lat).max():g}, beyond the poles: give them in degrees"
        )
    if abs(wide * len(turned) - 360.0) <= UNEVEN * wide:
        wide = 360.0 / len(turned)
    south_north = np.clip(_edges(lat[northward], high, f"{where}: its latitudes"), -90.0, 90.0)
    return (
        Axis(south_north, northward.astype(np.int64), high),
        Axis(_edges(turned, wide, f"{where}: its longitudes"), eastward, wide),
    )


def _eastward(lon: Floats) -> tuple[Positions, Floats]:
    """Where each longitude is in the file, and its value: ascending from behind the widest gap, repeated ones once."""
    wrapped = wrap_longitude(lon)
    order = np.argsort(wrapped, kind="stable")
    gaps = np.diff(wrapped[order], append=wrapped[order[0]] + 360.0)
    order = np.roll(order, -(int(np.argmax(gaps)) + 1)).astype(np.int64)
    turned = wrapped[order]
    turned = np.where(turned < turned[0], turned + 360.0, turned)
    if len(turned) == 1:
        return order, turned
    steps = np.diff(turned)
    kept = np.append(True, steps > 0.5 * np.median(steps))
    return order[kept], turned[kept]


def _edges(centres: Floats, step: float, where: str) -> Floats:
    """Edges of the cells around ascending centres."""
    even = centres[0] + step * np.arange(len(centres))
    if not (step > 0.0 and np.abs(even - centres).max() <= UNEVEN * step):
        raise SoilcastError(f"{where} are not evenly spaced: a regular latitude-longitude grid is expected; regrid it")
    return _rounded(np.append(even, even[-1] + step) - step / 2)


def _steps(lat: Floats, lon: Floats) -> tuple[float, float]:
    """Side of a grid's cells along both axes [degrees]; where an axis has one point they are taken for square."""
    high, wide = _step(lat), _step(lon)
    return (high if len(lat) > 1 else wide), (wide if len(lon) > 1 else high)


def _step(axis: Floats) -> float:
    """Distance of neighbours, across a gap too; the mean of many is more exact than any of a float32 axis."""
    steps, least = np.abs(np.diff(axis)), spacing(axis)
    return float(steps[steps <= least * (1 + 2 * UNEVEN)].mean()) if len(axis) > 1 else least


@lru_cache(maxsize=8)
def _overlap(
    lat_edges: bytes,
    lat_order: bytes,
    lon_edges: bytes,
    lon_order: bytes,
    target_lat: bytes,
    target_lon: bytes,
    sizes: tuple[int, int, float, float],
) -> Overlap:
    """`overlap`, by arrays as they can be looked up: as bytes."""
    rows, columns, high, wide = sizes
    lat, lon = np.frombuffer(target_lat), np.frombuffer(target_lon)
    south, north = (_rounded(np.clip(lat + side * high / 2, -90.0, 90.0)) for side in (-1, 1))
    west, east = (_rounded(lon + side * wide / 2) for side in (-1, 1))
    row, source_row, bottom, top = _shared(np.frombuffer(lat_edges), south, north)
    around = [_shared(np.frombuffer(lon_edges) + turn, west, east) for turn in (-360.0, 0.0, 360.0)]
    column, source_column, left, right = (np.concatenate(parts) for parts in zip(*around, strict=True))
    row_in_file = np.frombuffer(lat_order, dtype=np.int64)[source_row]
    column_in_file = np.frombuffer(lon_order, dtype=np.int64)[source_column]
    return Overlap(
        sparse.csr_array((_sine(top) - _sine(bottom), (row, row_in_file)), shape=(len(lat), rows)),
        sparse.csr_array((right - left, (column_in_file, column)), shape=(columns, len(lon))),
        _sine(north) - _sine(south),
        east - west,
    )


def _shared(edges: Floats, low: Floats, high: Floats) -> tuple[Positions, Positions, Floats, Floats]:
    """Pairs of a target ``low .. high`` and a source cell between ``edges`` that meet, and from where to where."""
    first = np.maximum(np.searchsorted(edges, low, side="right") - 1, 0)
    behind = np.minimum(np.searchsorted(edges, high, side="left"), len(edges) - 1)
    counts = np.maximum(behind - first, 0)
    target = np.repeat(np.arange(len(low)), counts)
    source = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts - first, counts)
    return target, source, np.maximum(low[target], edges[source]), np.minimum(high[target], edges[source + 1])


def _rounded(degrees: Floats) -> Floats:
    return np.asarray(np.round(degrees, _DECIMALS), dtype=np.float64)


def _sine(degrees: Floats) -> Floats:
    return np.asarray(np.sin(np.radians(degrees)))
