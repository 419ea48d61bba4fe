"""Where the planet's land is and what it is like: the packaged half-degree data, coarsened to a resolution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from soilcast.cube.grid import Grid
from soilcast.errors import SoilcastError

FINEST, COARSEST = 0.5, 8.0
"""The resolutions that there are, both included [degrees]."""

_ROWS, _COLUMNS = 360, 720
_TWENTYFIFTHS_OF_FULL = 25
_DAYS_OF_MONTHS = np.array([31, 28.25, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Geography:
    """The land cells of one resolution, from real data.

    Parameters
    ----------
    grid
        The grid and the cells that are land.
    elevation
        Mean elevation of the land of each cell, ``(cell,)`` [m].
    landcover
        Commonest class of ESA CCI land cover, ``(cell,)``.
    climate_zone
        Commonest Koeppen-Geiger class, ``(cell,)``, 1 Af .. 30 EF.
    temperature
        Monthly mean 2 m temperature, ``(month, cell)`` [K].
    rain
        Monthly mean precipitation, ``(month, cell)`` [m d-1].
    """

    grid: Grid
    elevation: Floats
    landcover: npt.NDArray[np.int64]
    climate_zone: npt.NDArray[np.int64]
    temperature: Floats
    rain: Floats


def geography(resolution: float) -> Geography:
    """Coarsen the packaged data; a cell is land if half of its area or more is.

    Columns are counted from the date line. Rows are counted from the south pole where the resolution divides 180; else
    (8 degrees) one row straddles the equator and the outermost rows are cut off by the poles.

    Parameters
    ----------
    resolution
        Side of a cell [degrees]: a multiple of 0.5 from 0.5 to 8 that divides 360.

    Raises
    ------
    SoilcastError
        Any other resolution.
    """
    grid, row, column = _grid(resolution)
    fine = _half_degree()
    fine_row, fine_column = np.divmod(fine["cell"], _COLUMNS)
    coarse = row[fine_row] * len(grid.lon) + column[fine_column]
    size = len(grid.lat) * len(grid.lon)

    box = np.cos(np.radians(-90.0 + FINEST * (np.arange(_ROWS) + 0.5)))
    full = np.bincount(row, weights=box, minlength=len(grid.lat)) * round(resolution / FINEST)
    weight = box[fine_row] * fine["land_twentyfifths"] / _TWENTYFIFTHS_OF_FULL
    land = np.bincount(coarse, weights=weight, minlength=size)
    index = np.flatnonzero(land >= 0.5 * np.repeat(full, len(grid.lon)))

    def mean(values: Floats) -> Floats:
        return np.asarray(np.bincount(coarse, weights=weight * values, minlength=size)[index] / land[index])

    def commonest(classes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        kinds, kind = np.unique(classes, return_inverse=True)
        area = np.bincount(coarse * len(kinds) + kind, weights=weight, minlength=size * len(kinds))
        return np.asarray(kinds[area.reshape(size, len(kinds))[index].argmax(axis=1)])

    return Geography(
        grid=Grid(grid.lat, grid.lon, index.astype(np.int64)),
        elevation=mean(fine["elevation"]),
        landcover=commonest(fine["landcover"]),
        climate_zone=commonest(fine["climate_zone"]),
        temperature=np.stack([mean(month) for month in fine["temperature"]]),
        rain=np.stack([mean(month) for month in fine["rain"]]),
    )


def _grid(resolution: float) -> tuple[Grid, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Give the empty grid, and the row and column in it of each half-degree row and column."""
    steps = resolution / FINEST
    allowed = FINEST <= resolution <= COARSEST and steps == round(steps) and (_COLUMNS % round(steps)) == 0
    if not allowed:
        choices = ", ".join(f"{n * FINEST:g}" for n in range(1, 17) if _COLUMNS % n == 0)
        raise SoilcastError(f"planet: a resolution of {resolution:g} degrees is not available: choose one of {choices}")
    block = round(steps)
    columns = _COLUMNS // block
    beyond_pole = 0 if _ROWS % block == 0 else (block - _ROWS % block) // 2
    rows = -(-_ROWS // block)
    south = -90.0 - beyond_pole * FINEST
    lat = south + resolution * (np.arange(rows, dtype=np.float64) + 0.5)
    lon = -180.0 + resolution * (np.arange(columns, dtype=np.float64) + 0.5)
    row = (np.arange(_ROWS) + beyond_pole) // block
    return Grid(lat, lon, np.zeros(0, dtype=np.int64)), row, np.arange(_COLUMNS) // block


@cache
def _half_degree() -> dict[str, npt.NDArray[Any]]:
    """Unpack the data that tools/build_planet_data.py packed: ``(cell,)`` and ``(month, cell)``."""
    with files(__package__).joinpath("data", "half_degree.npz").open("rb") as stream:
        packed = dict(np.load(stream, allow_pickle=False))
    month = (_DAYS_OF_MONTHS * 1000.0)[:, np.newaxis]
    return {
        "cell": np.cumsum(packed["cell"], dtype=np.int64),
        "land_twentyfifths": packed["land_twentyfifths"].astype(np.float64),
        "elevation": np.cumsum(packed["elevation_10m"], dtype=np.int16) * 10.0,
        "landcover": packed["landcover"].astype(np.int64),
        "climate_zone": packed["climate_zone"].astype(np.int64),
        "temperature": _undifferenced(packed["temperature_half_k"]) / 2.0 + 200.0,
        "rain": (_undifferenced(packed["root_rain"]) / 4.5) ** 2 / month,
    }


def _undifferenced(differences: npt.NDArray[np.uint8]) -> Floats:
    values = np.cumsum(np.cumsum(differences, axis=1, dtype=np.uint8), axis=0, dtype=np.uint8)
    return values.astype(np.float64)
