"""How values on one regular latitude-longitude grid come onto another: area means, largest classes, nearest points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from soilcast.cube import Grid
from soilcast.errors import SoilcastError
from soilcast.sources.overlap import UNEVEN, Floats, Points, holding, overlap, source_axes

_HALF = 0.5
# Shares and areas that differ by less are the same: what rounding leaves.
_SAME = 1e-9
# A share that is no more than what float32 axes lie off is no share.
_SLIVER = 1e-4


def target_grid(resolution: float, lat: npt.ArrayLike, lon: npt.ArrayLike, where: str = "the source") -> Grid:
    """Give the grid of a resolution that lies in a source, all its points kept as cells.

    Columns are counted from the date line. Rows are counted from the south pole where the resolution divides 180; else
    (8 degrees) one row straddles the equator and the outermost rows are cut off by the poles. Rows and columns of which
    the source covers less than half are left out.

    Parameters
    ----------
    resolution
        Side of a cell [degrees], a divisor of 360; not finer than the source.
    lat, lon
        The source's latitudes ``(lat,)`` and longitudes ``(lon,)``, as `conservative` takes them [degrees].
    where
        The source's name, for the message.

    Raises
    ------
    SoilcastError
        Any other resolution, axes that are not regular, or a source that covers no half of a cell.
    """
    axes = source_axes(lat, lon, where)
    columns = round(360.0 / resolution) if 0.0 < resolution <= 360.0 else 0
    if not columns or abs(columns * resolution - 360.0) > _SAME * 360.0:
        raise SoilcastError(
            f"{where}: cells of {resolution:g} degrees do not divide 360 degrees: give a divisor of 360, such as 0.5"
        )
    finest = min(axis.step for axis in axes)
    if resolution < finest * (1 - UNEVEN):
        raise SoilcastError(
            f"{where}: {resolution:g} degrees is finer than the data ({finest:g} degrees): give a coarser resolution"
        )
    rows = int(np.ceil(columns / 2))
    grid_lat: Floats = resolution * (np.arange(rows, dtype=np.float64) + 0.5 - rows / 2)
    grid_lon: Floats = resolution * (np.arange(columns, dtype=np.float64) + 0.5) - 180.0
    shares = overlap(lat, lon, Grid(grid_lat, grid_lon, np.zeros(0, dtype=np.int64)), where).covered
    inside_lat, inside_lon = (share >= _HALF - _SAME for share in shares)
    if not (inside_lat.any() and inside_lon.any()):
        raise SoilcastError(
            f"{where}: covers less than half of every cell of {resolution:g} degrees: give a finer resolution"
        )
    grid_lat, grid_lon = grid_lat[inside_lat], grid_lon[inside_lon]
    return Grid(grid_lat, grid_lon, np.arange(grid_lat.size * grid_lon.size, dtype=np.int64))


def conservative(
    values: npt.NDArray[np.floating],
    lat: npt.ArrayLike,
    lon: npt.ArrayLike,
    grid: Grid,
    *,
    least_share: float = _HALF,
    where: str = "the source",
) -> npt.NDArray[np.float32]:
    """Mean over the area of each cell of a grid of what has values there: first-order conservative regridding.

    A point of the source stands for the cell around it, on the sphere, cut off by the poles. The day's field is held
    about four times, whatever the number of days.

    Parameters
    ----------
    values
        ``(time, lat, lon)``, NaN where missing.
    lat, lon
        Latitudes ``(lat,)`` and longitudes ``(lon,)`` of the points, evenly spaced, in any order: north or south first,
        longitudes from -180, from 0 or from anywhere, round the Earth or not [degrees].
    grid
        The grid and its cells.
    least_share
        A cell of which less than this share of the area has values is NaN.
    where
        The source's name, for the message.

    Returns
    -------
    ``(time, cell)`` float32, summed in float64.

    Raises
    ------
    SoilcastError
        Axes that are not those of a regular grid.
    """
    shared = overlap(lat, lon, grid, where)
    means = np.empty((len(values), len(grid.index)), dtype=np.float32)
    known: npt.NDArray[np.bool_] | None = None
    for day, field in enumerate(values):
        present = np.isfinite(field)
        if known is None or not np.array_equal(present, known):  # as a rule the sea is the same every day
            known, area = present, shared.integral(present)
        mean = mean_of(shared.integral(np.where(present, field, 0)), area, shared.whole, least_share)
        means[day] = mean.ravel()[grid.index]
    return means


def majority(
    classes: npt.NDArray[Any],
    lat: npt.ArrayLike,
    lon: npt.ArrayLike,
    grid: Grid,
    *,
    least_share: float = _HALF,
    where: str = "the source",
) -> npt.NDArray[np.float32]:
    """Class of the largest area in each cell of a grid; of equal ones the one of the smallest number.

    Parameters
    ----------
    classes
        Numbers of classes ``(lat, lon)``, NaN where there is none.
    lat, lon, grid, where
        As `conservative` takes them.
    least_share
        A cell of which less than this share of the area has classes is NaN.

    Returns
    -------
    ``(cell,)`` float32.

    Raises
    ------
    SoilcastError
        Axes that are not those of a regular grid.
    """
    shared = overlap(lat, lon, grid, where)
    areas = {float(kind): shared.integral(classes == kind) for kind in np.unique(classes[np.isfinite(classes)])}
    return largest_of(areas, shared.whole, least_share).ravel()[grid.index]


def nearest(
    values: npt.NDArray[Any],
    lat: npt.ArrayLike,
    lon: npt.ArrayLike,
    cells: Grid | Points,
    *,
    where: str = "the source",
) -> npt.NDArray[np.float32]:
    """Value of the point that is nearest to the centre of each cell, NaN outside of the source's own cells.

    Parameters
    ----------
    values
        ``(..., lat, lon)``, NaN where missing.
    lat, lon, where
        As `conservative` takes them.
    cells
        A grid and its cells, or places.

    Returns
    -------
    ``(..., cell)`` float32.

    Raises
    ------
    SoilcastError
        Axes that are not those of a regular grid.
    """
    row, column = holding(lat, lon, cells, where)
    inside = (row >= 0) & (column >= 0)
    return np.where(inside, values[..., row, column], np.nan).astype(np.float32)


def mean_of(integral: Floats, area: Floats, whole: Floats, least_share: float) -> Floats:
    """Mean over the area that has values, NaN where that is less than a share of the whole."""
    enough = _enough(area, whole, least_share)
    return np.where(enough, integral / np.where(enough, area, 1.0), np.nan)


def largest_of(areas: Mapping[float, Floats], whole: Floats, least_share: float) -> npt.NDArray[np.float32]:
    """Class of the largest area, the smallest of equals, NaN where all areas are less than a share of the whole."""
    best, most, area = np.full(whole.shape, np.nan, dtype=np.float32), np.zeros(whole.shape), np.zeros(whole.shape)
    for kind in sorted(areas):
        larger = areas[kind] > most * (1 + _SAME)
        best[larger], most[larger] = kind, areas[kind][larger]
        area += areas[kind]
    return np.where(_enough(area, whole, least_share), best, np.float32(np.nan))


def _enough(area: Floats, whole: Floats, least_share: float) -> npt.NDArray[np.bool_]:
    return area >= max(least_share * (1 - _SAME), _SLIVER) * whole
