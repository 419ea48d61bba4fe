"""How a map of any size comes onto cells in little memory: a band of cells at a time, of it a window at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soilcast.cube import VARIABLES, Grid
from soilcast.errors import SoilcastError
from soilcast.sources.overlap import Floats, Overlap, Points, holding, overlap
from soilcast.sources.regridding import largest_of, mean_of
from soilcast.sources.statics.rasters import Raster

LEAST_SHARE = 0.1
"""A cell of which less than this share has values has none: lakes, ice and the sea are gaps of a map of soils."""

_WINDOW = 2 << 20  # pixels
_SIDE = 2048  # pixels
_BAND = 64  # rows of cells
# A band takes this many of a file's blocks, so that few of them are read for two bands.
_BLOCKS_A_BAND = 4


def area_mean(raster: Raster, grid: Grid) -> npt.NDArray[np.float32]:
    """Mean over the area of each cell of what has values there, ``(cell,)``, in the file's unit."""
    made = np.full((len(grid.lat), len(grid.lon)), np.nan)
    for band in _bands(raster, grid):
        integral, area = np.zeros(band.whole.shape), np.zeros(band.whole.shape)
        for window in band.windows(raster):
            present = np.isfinite(window.values)
            window.add_to(integral, np.where(present, window.values, 0))
            window.add_to(area, present)
        made[band.rows] = mean_of(integral, area, band.whole, LEAST_SHARE)
    return made.ravel()[grid.index].astype(np.float32)


def largest_class(raster: Raster, grid: Grid, variable: str) -> npt.NDArray[np.float32]:
    """Class of the largest area of each cell, the smallest of equals, ``(cell,)``; 0 is no climate zone.

    Raises
    ------
    SoilcastError
        The map holds what is no class of that variable.
    """
    made = np.full((len(grid.lat), len(grid.lon)), np.nan, dtype=np.float32)
    for band in _bands(raster, grid):
        areas: dict[float, Floats] = {}
        for window in band.windows(raster):
            for kind in classes_of(window.values, variable, raster.label):
                window.add_to(areas.setdefault(kind, np.zeros(band.whole.shape)), window.values == kind)
        made[band.rows] = largest_of(areas, band.whole, LEAST_SHARE)
    return made.ravel()[grid.index]


def nearest_value(raster: Raster, cells: Grid | Points, variable: str) -> npt.NDArray[np.float32]:
    """Value of the pixel that holds the centre of each cell, ``(cell,)``, NaN outside of the map.

    Raises
    ------
    SoilcastError
        The map holds what is no class, where one is wanted.
    """
    row, column = holding(raster.lat, raster.lon, cells, raster.label)
    made = np.full(len(row), np.nan, dtype=np.float32)
    down, across = _window(raster)
    inside = (row >= 0) & (column >= 0)
    window = np.where(inside, row // down * (-(-len(raster.lon) // across)) + column // across, -1)
    order = np.argsort(window, kind="stable")
    for which in np.split(order, np.flatnonzero(np.diff(window[order])) + 1):
        if not len(which) or window[which[0]] < 0:
            continue
        rows, columns = row[which], column[which]
        top, left = int(rows.min()), int(columns.min())
        values = raster.read(slice(top, int(rows.max()) + 1), slice(left, int(columns.max()) + 1))
        made[which] = values[rows - top, columns - left]
    if VARIABLES[variable].kind == "class":
        kinds = classes_of(made, variable, raster.label)
        made[~np.isin(made, kinds)] = np.nan
    return made


def classes_of(values: npt.NDArray[np.floating], variable: str, where: str) -> list[float]:
    """Classes that there are in an array of any shape.

    Raises
    ------
    SoilcastError
        One is not a whole number, or none of that variable.
    """
    found = values[np.isfinite(values)]
    row = VARIABLES[variable]
    wrong = found[(found != np.rint(found)) | (found < row.valid_min) | (found > row.valid_max)]
    if wrong.size:
        raise SoilcastError(
            f"{where}: {variable} holds {wrong[0]:g}, which is not a class: whole numbers within {row.valid_min:g} .. "
            f"{row.valid_max:g} are expected; give a map of classes, with missing values where there is none"
        )
    kinds = np.flatnonzero(np.bincount(found.astype(np.uint8)))
    return [float(kind) for kind in kinds if kind or variable != "climate_zone"]


@dataclass(frozen=True)
class _Window:
    """Values of a window, and where it comes to lie in its band of cells."""

    values: npt.NDArray[np.floating]
    shared: Overlap
    columns: slice

    def add_to(self, sums: Floats, values: npt.NDArray[np.generic]) -> None:
        """Add the integral of values ``(lat, lon)`` of this window to the sums of its band."""
        sums[:, self.columns] += self.shared.integral(values)


@dataclass(frozen=True)
class _Band:
    """Rows of cells, and what a map shares with them."""

    rows: slice
    shared: Overlap

    @property
    def whole(self) -> Floats:
        return self.shared.whole

    def windows(self, raster: Raster) -> Iterator[_Window]:
        """Read what the band needs of a map, a window at a time."""
        used = np.unique(self.shared.rows.indices)
        touched = np.flatnonzero(np.diff(self.shared.columns.indptr))
        first, behind = int(used[0]), int(used[-1]) + 1
        down, across = _window(raster)
        for top in range(first // down * down, behind, down):
            rows = slice(max(top, first), min(top + down, behind))
            for left in range(0, len(raster.lon), across):
                columns = slice(left, min(left + across, len(raster.lon)))
                wanted = touched[(touched >= columns.start) & (touched < columns.stop)]
                if not len(wanted):
                    continue
                columns = slice(int(wanted[0]), int(wanted[-1]) + 1)
                part = self.shared.columns[columns]
                cells = slice(int(part.indices.min()), int(part.indices.max()) + 1)
                shared = Overlap(
                    self.shared.rows[:, rows], part[:, cells], self.shared.height, self.shared.width[cells]
                )
                yield _Window(raster.read(rows, columns), shared, cells)


def _window(raster: Raster) -> tuple[int, int]:
    """Rows and columns that are read at a time: whole blocks of the file, and no more than is needed of them."""
    across = raster.block[1] * max(1, _SIDE // raster.block[1])
    return raster.block[0] * max(1, _WINDOW // across // raster.block[0]), across


def _bands(raster: Raster, grid: Grid) -> Iterator[_Band]:
    """Successive rows of a grid that hold cells and lie on the map."""
    shared = overlap(raster.lat, raster.lon, grid, raster.label)
    rows = shared.rows
    wanted = np.zeros(len(grid.lat), dtype=np.bool_)
    wanted[np.unique(grid.index // len(grid.lon))] = True
    wanted &= np.diff(rows.indptr) > 0
    enough = max(_BLOCKS_A_BAND * raster.block[0], _WINDOW // len(raster.lon))
    first = 0
    while first < len(wanted):
        if not wanted[first]:
            first += 1
            continue
        last = first + 1
        while last < len(wanted) and wanted[last] and last - first < _BAND:
            if np.ptp(rows.indices[rows.indptr[first] : rows.indptr[last]]) >= enough:
                break
            last += 1
        band = slice(first, last)
        yield _Band(band, Overlap(rows[band], shared.columns, shared.height[band], shared.width))
        first = last
