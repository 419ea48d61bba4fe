"""Which points of the files become cells: land, and the cells of another grid where regridding is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soilcast.cube import Grid
from soilcast.errors import SoilcastError
from soilcast.sources.antarctica import without_antarctica
from soilcast.sources.era5land.daily import Floats, Laying
from soilcast.sources.era5land.recognising import Field, read_stamps
from soilcast.sources.era5land.record import Record, columns_on, whole_grid
from soilcast.sources.opening import open_datasets
from soilcast.sources.regridding import conservative, target_grid

_LAND = 0.5
_LOOKED_AT = 12
_DEGREES_AN_HOUR = 15.0


@dataclass(frozen=True)
class Layout:
    """The cells, and the way to them.

    Parameters
    ----------
    cells
        The grid of the cube.
    laying
        From points of the files to the cells.
    land
        Points that are land ``(lat * lon,)``, on the grid of the files.
    said
        The grid in words.
    notes
        What else is to be said.
    """

    cells: Grid
    laying: Laying
    land: npt.NDArray[np.bool_]
    said: str
    notes: tuple[str, ...] = ()


def lay_out(
    fields: Sequence[Field], target: Record, *, resolution: float | None, is_local: bool, antarctica: bool = False
) -> Layout:
    """Decide on the cells.

    Land is where the land-sea mask of the files says so by half or more. Without a mask it is where soil moisture has
    a value above zero: ERA5-Land has none at sea, and ERA5 zero. Antarctica is left out.

    Parameters
    ----------
    fields
        All that the files hold.
    target
        Soil moisture.
    resolution
        Of the cells, where they are not those of the files [degrees].
    is_local
        Whether days are those of local time.
    antarctica
        Whether cells south of 60 °S are kept.

    Raises
    ------
    SoilcastError
        There is no land, or only Antarctica.
    """
    grid = whole_grid(fields)
    land, notes = _land(fields, target, grid)
    if not land.any():
        raise SoilcastError(
            f"{target.where}: no land: {target.parameter.name} has no value above 0: give a region with land"
        )
    if resolution is None:
        chosen, left_out = without_antarctica(grid.cell_lat[land], keep=antarctica, where=target.where)
        land[land], notes = chosen, (*notes, *left_out)
    offsets = np.round(grid.cell_lon / _DEGREES_AN_HOUR).astype(np.int64) if is_local else np.zeros(len(land), np.int64)
    here = Grid(grid.lat, grid.lon, np.flatnonzero(land).astype(np.int64))
    if resolution is None:
        size = f"{fields[0].spacing:g} degree" if np.isfinite(fields[0].spacing) else "one row"
        size = "one point" if len(grid.index) == 1 else size
        return Layout(here, Laying(here.index, offsets[land], _as_is), land, size, notes)
    whole = target_grid(resolution, grid.lat, grid.lon)
    there = np.isfinite(conservative(_spread(np.ones((1, len(here.index)), np.float32), here), *_axes(here), whole)[0])
    if not there.any():
        raise SoilcastError(
            f"{target.where}: no cell of {resolution:g} degrees is at least half land: choose a finer --resolution"
        )
    chosen, left_out = without_antarctica(whole.cell_lat[there], keep=antarctica, where=target.where)
    cells = Grid(whole.lat, whole.lon, whole.index[there][chosen])
    said = f"{resolution:g} degree, conservative means of {fields[0].spacing:g} degree"
    return Layout(cells, Laying(here.index, offsets[land], Regridded(here, cells)), land, said, (*notes, *left_out))


@dataclass(frozen=True, eq=False)
class Regridded:
    """Take daily values from land points of one grid to cells of another.

    Parameters
    ----------
    source
        The grid of the files and its land points.
    cells
        The grid of the cube and its cells.
    """

    source: Grid
    cells: Grid

    def __call__(self, values: Floats) -> Floats:
        """From ``(day, point)`` to ``(day, cell)``."""
        return conservative(_spread(values, self.source), *_axes(self.source), self.cells)


def _as_is(values: Floats) -> Floats:
    return values


def _axes(grid: Grid) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return grid.lat, grid.lon


def _spread(values: Floats, grid: Grid) -> Floats:
    """From the points of a grid ``(day, point)`` to all of it ``(day, lat, lon)``, NaN elsewhere."""
    whole = np.full((len(values), len(grid.lat) * len(grid.lon)), np.nan, dtype=np.float32)
    whole[:, grid.index] = values
    return whole.reshape(len(values), len(grid.lat), len(grid.lon))


def _land(fields: Sequence[Field], target: Record, grid: Grid) -> tuple[npt.NDArray[np.bool_], tuple[str, ...]]:
    mask = next((field for field in fields if field.parameter.name == "lsm"), None)
    has_value = np.zeros(len(grid.index), dtype=np.bool_)
    for number in np.unique(np.linspace(0, len(target.hours) - 1, _LOOKED_AT).astype(int)):
        field, place = target.fields[target.field[number]], int(target.position[number])
        with open_datasets(field.file) as datasets:
            values = read_stamps(field, datasets[field.dataset], slice(place, place + 1))[0]
        has_value |= values[target.columns[target.field[number]]] > 0
    if mask is None:
        return has_value, ()
    with open_datasets(mask.file) as datasets:
        share = read_stamps(mask, datasets[mask.dataset], slice(0, 1))[0]
    land = (share[columns_on(mask, grid, str(fields[0].file))] >= _LAND) & has_value
    dropped = int((has_value & ~land).sum())
    return land, (f"{dropped} points with soil moisture are less than half land by the mask and left out",) * bool(
        dropped
    )
