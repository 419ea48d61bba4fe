"""Maps of soil, terrain, land cover and climate, each from a file of its own, as static variables of a cube's cells."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from soilcast.cube import VARIABLES, Conversion, Grid, check_bounds, conversion, spacing
from soilcast.errors import SoilcastError
from soilcast.schema import nearest as nearest_name
from soilcast.sources.derived import TEXTURE, unit_of_texture
from soilcast.sources.overlap import Points, holding, overlap
from soilcast.sources.statics.aggregate import area_mean, largest_class, nearest_value
from soilcast.sources.statics.rasters import Raster, open_raster

__all__ = ["STATICS", "Points", "read_statics"]

Values = npt.NDArray[np.float32]

STATICS = (
    "clay",
    "sand",
    "silt",
    "elevation",
    "slope",
    "soil_water_capacity",
    "landcover",
    "soil_type",
    "climate_zone",
)
"""What a map can give."""


def read_statics(
    files: Mapping[str, str | Path],
    cells: Grid | Points,
    *,
    units: Mapping[str, str] | None = None,
    nearest: Collection[str] = (),
) -> tuple[dict[str, Values], dict[str, str]]:
    """Bring maps onto cells: amounts as means over the area of each cell, classes as the one of the largest area.

    A map may be finer or coarser than the cells and reach over more or less of the Earth; it is read a window at a
    time. Cells of which less than a tenth has values have none. 0 is no climate zone.

    Parameters
    ----------
    files
        Name of the contract -> ``FILE`` or ``FILE::VARIABLE``: NetCDF on regular latitudes and longitudes, or a GeoTIFF
        in any projection (of which a variable is a band, by number or description).
    cells
        Grid and cells of a cube; or `Points`, which have no area, so that each map must be named in ``nearest``.
    units
        Name -> unit, where a file is silent or wrong; other names are let pass. A texture without units is settled by
        what its three fractions sum to.
    nearest
        Names of the maps of which the value at the centre of a cell is wanted.

    Returns
    -------
    Name -> values ``(cell,)`` in the contract's unit, NaN where missing; and name -> where they came from, for the
    attribute ``origin``.

    Raises
    ------
    SoilcastError
        A name that is none of `STATICS`; a file that is missing, damaged, or of another kind; no such variable, or more
        than one; a map that does not reach any cell, or has no value there; a unit that is missing (all are asked for)
        or does not fit; values out of bounds; a map of classes that holds something else; a map for `Points` that is
        not named in ``nearest``; a GeoTIFF without the extra ``era5``.
    """
    _refuse_unknown(files, cells, nearest)
    with ExitStack() as stack:
        side = _side(cells)
        maps = {
            name: _plan(name, stack.enter_context(open_raster(file, side)), units or {}, name in nearest)
            for name, file in files.items()
        }
        texture = set(TEXTURE) <= {name for name, one in maps.items() if one.conversion is None}
        _ask_for_units({name: one for name, one in maps.items() if not (texture and name in TEXTURE)})
        for one in maps.values():
            _refuse_elsewhere(one.raster, cells)
        values = {name: one.read(name, one.raster, cells) for name, one in maps.items()}
    notes = {name: one.note for name, one in maps.items()}
    found = {name: one.conversion for name, one in maps.items()}
    if texture and (told := unit_of_texture({name: values[name] for name in TEXTURE})) is not None:
        for name in TEXTURE:
            found[name] = conversion(name, told, maps[name].raster.label)
            notes[name] += f" (unit told from the sum of the three fractions: {told})"
    elif texture:
        _ask_for_units(maps)
    origins = {}
    for name, one in maps.items():
        to_contract = found[name]
        assert to_contract is not None
        values[name] = to_contract(values[name]).astype(np.float32)
        missing = int(np.isnan(values[name]).sum())
        if missing == len(values[name]):
            raise SoilcastError(f"{one.raster.label}: has no value in any cell: give a map of the region")
        check_bounds(name, values[name], one.raster.label)
        origins[name] = notes[name] + (f" (no value at {missing} of {len(values[name])} cells)" if missing else "")
    return values, origins


Reading = Callable[[str, Raster, "Grid | Points"], Values]


@dataclass(frozen=True)
class _Map:
    """A map, how it comes onto cells, and what is known of its unit: None where that must be asked for."""

    raster: Raster
    read: Reading
    conversion: Conversion | None
    note: str


def _mean(name: str, raster: Raster, cells: Grid | Points) -> Values:
    assert isinstance(cells, Grid)
    return area_mean(raster, cells)


def _largest(name: str, raster: Raster, cells: Grid | Points) -> Values:
    assert isinstance(cells, Grid)
    return largest_class(raster, cells, name)


def _nearest(name: str, raster: Raster, cells: Grid | Points) -> Values:
    return nearest_value(raster, cells, name)


def _plan(name: str, raster: Raster, units: Mapping[str, str], nearest: bool) -> _Map:
    is_class = VARIABLES[name].kind == "class"
    read, how = (
        (_nearest, "nearest pixel") if nearest else (_largest, "largest area") if is_class else (_mean, "area mean")
    )
    file, _, variable = raster.label.partition("::")
    note = f"{Path(file).name}{'::' if variable else ''}{variable}, {how}"
    if is_class:
        return _Map(raster, read, Conversion(1.0, 0.0), note)
    given = units.get(name)
    if given is not None:
        return _Map(raster, read, conversion(name, given, raster.label), f"{note} (unit given as {given})")
    return _Map(raster, read, conversion(name, raster.unit, raster.label) if raster.unit else None, note)


def _refuse_unknown(files: Mapping[str, str | Path], cells: Grid | Points, nearest: Iterable[str]) -> None:
    for name in files:
        if name not in STATICS:
            raise SoilcastError(f"{files[name]}: {name!r} is not a static variable: {nearest_name(name, STATICS)}")
    for name in nearest:
        if name not in files:
            raise SoilcastError(f"--nearest {name}: no file was given for it: {nearest_name(name, tuple(files))}")
    if isinstance(cells, Points) and (without := [name for name in files if name not in nearest]):
        raise SoilcastError(
            f"{files[without[0]]}: the cells are points, over which {without[0]} cannot be averaged: take the nearest "
            f"value ({' '.join(f'--nearest {name}' for name in without)})"
        )


def _ask_for_units(maps: Mapping[str, _Map]) -> None:
    silent = {name: one.raster.label for name, one in maps.items() if one.conversion is None}
    if silent:
        listed = "; ".join(
            f"{name} ({label}, one that converts to {VARIABLES[name].units})" for name, label in silent.items()
        )
        options = " ".join(f"--unit {name}=UNIT" for name in silent)
        raise SoilcastError(f"no unit for {listed}: add units to the files or specify them: {options}")


def _refuse_elsewhere(raster: Raster, cells: Grid | Points) -> None:
    if isinstance(cells, Grid):
        rows, columns = overlap(raster.lat, raster.lon, cells, raster.label).covered
        row, column = np.divmod(cells.index, len(cells.lon))
        reached = (rows[row] > 0.0) & (columns[column] > 0.0)
    else:
        row, column = holding(raster.lat, raster.lon, cells, raster.label)
        reached = (row >= 0) & (column >= 0)
    if not reached.any():
        raise SoilcastError(
            f"{raster.label}: covers {_span(raster.lat)} degrees north, {_span(raster.lon)} east, but not the cells "
            f"({_span(cells.cell_lat)} north, {_span(cells.cell_lon)} east): give a map of their region"
        )


def _side(cells: Grid | Points) -> float:
    """Side of the cells [degrees]; a tenth of a degree for places."""
    if isinstance(cells, Points):
        return 0.1
    return min((spacing(axis) for axis in (cells.lat, cells.lon) if len(axis) > 1), default=1.0)


def _span(axis: npt.NDArray[np.float64]) -> str:
    return f"{axis.min():g} .. {axis.max():g}"
