"""Any NetCDF, Zarr or CSV files of (cell or lat/lon, time), with a mapping file that says what is what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import (
    ERA5_LAND_LAYERS,
    VARIABLES,
    Grid,
    assemble,
    cells_of_grid,
    cells_of_places,
    conversion,
    thickness_name,
    wrap_longitude,
)
from soilcast.cube.calendar import Days, refuse_other_days
from soilcast.errors import SoilcastError
from soilcast.schema import nearest
from soilcast.sources.antarctica import listed_in_antarctica, without_antarctica
from soilcast.sources.gridded import is_monotonic
from soilcast.sources.netcdf import unread_notes
from soilcast.sources.table.mapping import Mapped, Quantity, read_mapping
from soilcast.sources.table.mapping import Mapping as FileMapping
from soilcast.sources.table.places import Floats, holders_of, open_places
from soilcast.sources.table.tabular import open_tables
from soilcast.sources.table.terms import Tables, keep_selected

Q = TypeVar("Q", bound=Quantity)

_NAMED = 3
"""Cells that a note names; the others are counted."""


def table(
    paths: Sequence[Path],
    *,
    mapping: Path | FileMapping,
    units: Mapping[str, str] | None = None,
    antarctica: bool = False,
) -> xr.Dataset:
    """Read your own files with a mapping file.

    Parameters
    ----------
    paths
        NetCDF files, Zarr stores, CSV files, or folders of them: of one variable or many, one year or many.
    mapping
        A YAML file that says where the contract's variables come from (``docs/own-data.md``), or its parsed content.
    units
        Contract name -> unit, where the files say none or a wrong one; stronger than the mapping.
    antarctica
        Keep the cells of a grid south of 60 °S; those of a list are kept always.

    Returns
    -------
    The cube; a regular grid stays one, other places become cells with names. Kept are the cells that ``cells.select``
    lets pass; of a grid those that have soil moisture on some day, without Antarctica. ``notes`` counts the others.
    What comes from NetCDF and Zarr stays lazy.

    Raises
    ------
    SoilcastError
        A file is missing or damaged; the mapping has a key or a name that is not known; a unit is missing, unknown or
        wrong; days repeat or are missing; files lie on different places; no cell is left; a layer has no thickness.
    """
    recipe = mapping if isinstance(mapping, FileMapping) else read_mapping(Path(mapping))
    stated = dict(units or {})
    for name in stated:
        known = {*recipe.variables, *map(thickness_name, recipe.variables.keys() & ERA5_LAND_LAYERS.keys()), "area"}
        if name not in known:
            raise SoilcastError(f"--unit {name}: the mapping has no such variable: {nearest(name, sorted(known))}")
    opened, notes = open_tables(paths, recipe)
    files = tuple(opened)
    places = open_places(files, recipe.cells)
    everywhere = Tables(files, recipe, places, np.arange(len(places.lat), dtype=np.int64))
    selected = everywhere.at(keep_selected(everywhere))
    if len(places.dims) == 1:
        notes += listed_in_antarctica(places.lat[selected.kept])
    else:
        chosen, left_out = without_antarctica(places.lat[selected.kept], keep=antarctica, where=files[0].label)
        selected, notes = selected.at(selected.kept[chosen]), [*notes, *left_out]
    tables, grid, bare = _cells_with_target(selected, stated)
    variables, time = _variables(tables, stated)
    cube = assemble(
        variables,
        cells=_cells(tables, grid, stated),
        time=time,
        title=recipe.title,
        source="table",
        content=recipe.content,
        license=recipe.license,
        origins={name: f"{tables.label(mapped)}: {mapped.text()}" for name, mapped in recipe.variables.items()},
    )
    used = {recipe.time, recipe.cells.name, *recipe.names()}
    notes += [
        *_left_out(cube, _decides(tables), len(selected.kept), bare),
        *unread_notes({name for file in files for name in file.names()} - used),
    ]
    if notes:
        cube.attrs["notes"] = "\n".join(notes)
    return cube


def _left_out(cube: xr.Dataset, decides: str, selected: int, bare: npt.NDArray[np.bool_]) -> Iterator[str]:
    """Count the cells that are left out for want of soil moisture, and those that are kept all the same."""
    if decides != "swvl1":
        yield "no swvl1: the cube serves forecasts by runs that take no soil moisture of layer 1"
    if selected > len(bare):
        yield f"{selected - len(bare):,} of {selected:,} places have no {decides} on any day and are left out"
    if bare.any():
        named = ", ".join(cube["cell_name"].to_numpy()[bare][:_NAMED])
        more = f" and {bare.sum() - _NAMED:,} more" if bare.sum() > _NAMED else ""
        yield (
            f"{bare.sum():,} of {len(bare):,} cells have no {decides} on any day ({named}{more}): they are kept for "
            "forecasts"
        )


def _cells_with_target(tables: Tables, stated: Mapping[str, str]) -> tuple[Tables, Grid | None, npt.NDArray[np.bool_]]:
    """Drop the points of a grid without any soil moisture, and put the others in the order of their cells.

    Returns
    -------
    What is kept, its grid, and which of the cells have no soil moisture ``(cell,)``. In files of weather alone its
    first variable decides.
    """
    name = _decides(tables)
    target = _with_unit(tables.recipe.variables[name], stated.get(name))
    where = f"{tables.label(target)}: {name} ({target.text()})"
    values, _ = tables.evaluate(target, _targets(name, target))
    if not isinstance(values, xr.Variable) or "time" not in values.dims:
        raise SoilcastError(f"{where} has no time dimension {tables.recipe.time!r}")
    found = np.asarray(np.isfinite(values.data).any(axis=0))
    if not found.any():
        raise SoilcastError(
            f"{where} is missing on every day in all {len(found)} cells: check the file, cells.select and missing"
        )
    # Stations and basins without soil moisture can be forecast; a point of a grid is sea, or outside the region.
    places = tables.places
    is_list = len(places.dims) == 1
    kept = found | (is_list & np.isfinite(places.lat[tables.kept]) & np.isfinite(places.lon[tables.kept]))
    tables, bare = tables.at(tables.kept[kept]), ~found[kept]
    if not np.isfinite([places.lat[tables.kept], places.lon[tables.kept]]).all():
        raise SoilcastError(
            f"{tables.label(target)}: some cells have {name} but no lat or lon: add these, or select other cells"
        )
    if places.axes is None:
        return tables, None, bare
    lat, lon = places.axes
    order = np.argsort(wrap_longitude(lon), kind="stable")
    axis = wrap_longitude(lon)[order]
    if (np.diff(axis) < 1e-6).any():
        raise SoilcastError(
            f"{tables.label(target)}: {tables.recipe.cells.lon} contains both 0 and 360: drop one of the two columns"
        )
    north = np.arange(len(lat)) if is_monotonic(lat) else np.argsort(lat)
    rows, columns = np.divmod(tables.kept, len(lon))
    index = np.argsort(north)[rows] * len(lon) + np.argsort(order)[columns]
    ascending = np.argsort(index)
    return tables.at(tables.kept[ascending]), Grid(lat[north], axis, index[ascending].astype(np.int64)), bare


def _decides(tables: Tables) -> str:
    """Name the variable without which a point of a grid is no cell."""
    return "swvl1" if "swvl1" in tables.recipe.variables else next(iter(tables.recipe.variables))


def _cells(tables: Tables, grid: Grid | None, stated: Mapping[str, str]) -> dict[str, xr.Variable]:
    cells = tables.recipe.cells
    area = _quantity("area", cells.area, tables, stated) if cells.area else None
    if grid is not None:
        found = cells_of_grid(grid)
        return found if area is None else found | {"area": xr.Variable("cell", area)}
    if area is None:
        raise SoilcastError(
            f"{tables.files[0].label}: unknown cell area: add cells.area to the mapping (a variable with its unit, or "
            "equal for equal weights)"
        )
    places = tables.places
    return cells_of_places(places.lat[tables.kept], wrap_longitude(places.lon[tables.kept]), area, _names(tables))


def _names(tables: Tables) -> npt.NDArray[np.str_]:
    dims = tables.places.dims
    name = tables.recipe.cells.name or (dims[0] if len(dims) == 1 else None)
    holders = [file for file in tables.files if name in file.data.variables]
    if not holders and len(dims) == 1:
        # The id column of a CSV has become the coordinate of its cells.
        holders = [file for file in tables.files if (name := dims[0]) in file.data.variables]
    if holders and name is not None:
        labels: npt.NDArray[np.str_] = holders[0].data[name].to_numpy().ravel().astype(str)
        if len(labels) != len(tables.places.lat):
            raise SoilcastError(f"{holders[0].label}: {name} is missing for some cells: give another cells.name")
        return labels[tables.kept]
    if tables.recipe.cells.name is not None:
        known = {str(known) for file in tables.files for known in file.data.variables}
        raise SoilcastError(
            f"{tables.files[0].label}: no variable {name!r} (cells.name): {nearest(str(name), sorted(known))}"
        )
    sizes = holders_of(tables.files, tables.recipe.cells.lat)[0].data[tables.recipe.cells.lat].shape
    positions = zip(*np.unravel_index(tables.kept, sizes), strict=True)
    return np.asarray([", ".join(f"{dim} {at}" for dim, at in zip(dims, one, strict=True)) for one in positions])


def _variables(tables: Tables, stated: Mapping[str, str]) -> tuple[dict[str, Any], Days]:
    variables: dict[str, Any] = {}
    time: Days | None = None
    for name, mapped in tables.recipe.variables.items():
        if VARIABLES[name].is_static:
            variables[name] = _quantity(name, mapped, tables, stated) * mapped.sign
            continue
        where = f"{tables.label(mapped)}: {mapped.text()}"
        mapped = _with_unit(mapped, stated.get(name))
        tables.check_meaning(name, mapped)
        values, days = tables.evaluate(mapped, _targets(name, mapped))
        if not isinstance(values, xr.Variable) or days is None:
            raise SoilcastError(f"{where}: {name} has no dimension {tables.recipe.time!r}: name a variable that has")
        if time is not None:
            refuse_other_days(days, time, where, "the variable before it")
        time = days
        unit = tables.unit(mapped)
        if name in ERA5_LAND_LAYERS:
            thickness = _thickness(name, mapped, tables, stated)
            variables[thickness_name(name)] = thickness
            converted = _soil_moisture(name, values, unit, thickness, where)
        else:
            converted = conversion(name, unit, where)(values)
        variables[name] = (converted * mapped.sign).astype(np.float32)
    assert time is not None
    return variables, time


def _quantity(name: str, quantity: Quantity, tables: Tables, stated: Mapping[str, str]) -> Floats:
    """A static quantity in the contract's unit, ``(cell,)``; classes have none."""
    quantity = _with_unit(quantity, "1" if VARIABLES[name].kind == "class" else stated.get(name))
    convert = conversion(name, tables.unit(quantity), f"{tables.label(quantity)}: {quantity.text()}")
    values: Floats = convert(tables.static(quantity, _targets(name, quantity)))
    return values


def _with_unit(quantity: Q, stated: str | None) -> Q:
    """The quantity with the unit of the command line, which is stronger than the mapping's."""
    return quantity if stated is None else quantity.model_copy(update={"unit": stated})


def _targets(name: str, quantity: Quantity) -> tuple[str, ...]:
    """What the units of several files mean: nothing where one unit is stated for all of them."""
    if quantity.unit is not None:
        return ()
    return (name, "sd") if name in ERA5_LAND_LAYERS else (name,)


def _thickness(layer: str, mapped: Mapped, tables: Tables, stated: Mapping[str, str]) -> Floats:
    assert mapped.thickness is not None
    thickness = _quantity(thickness_name(layer), mapped.thickness, tables, stated)
    faulty = ~(thickness > 0)
    if faulty.any():
        raise SoilcastError(
            f"{tables.label(mapped.thickness)}: the thickness of {layer} ({mapped.thickness.text()}) is missing or "
            f"not above zero in {int(faulty.sum())} of {len(faulty)} cells: exclude these with cells.select"
        )
    return thickness


def _soil_moisture(layer: str, values: xr.Variable, unit: str | None, thickness: Floats, where: str) -> xr.Variable:
    """Soil moisture [m3 m-3], whether it is given as such or as a depth of water in the layer."""
    try:
        moisture: xr.Variable = conversion(layer, unit, where)(values)
    except SoilcastError as no_share:
        try:
            depth = conversion("sd", unit, where)
        except SoilcastError:
            raise no_share from None
        moisture = depth(values) / xr.Variable("cell", thickness)
    return moisture
