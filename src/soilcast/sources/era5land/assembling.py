"""From recognised fields to lazy daily variables: the steps that preparing and examining files share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from soilcast.cube import (
    ERA5_LAND_LAYERS,
    VARIABLES,
    Conversion,
    Grid,
    assemble,
    cells_of_grid,
    conversion,
    days_of,
    era5_land_thickness,
)
from soilcast.cube.pieces import lazily
from soilcast.errors import SoilcastError
from soilcast.sources.era5land.counting import Counting
from soilcast.sources.era5land.daily import DailyValues, complete_days
from soilcast.sources.era5land.laying import Layout
from soilcast.sources.era5land.recognising import FORMATS, Field, Unread, read_stamps, scan_all
from soilcast.sources.era5land.record import Record, columns_on, make_record, whole_grid
from soilcast.sources.opening import list_files, open_datasets
from soilcast.sources.parameters import GRAVITY, RECIPES, Recipe, product_of_names
from soilcast.sources.regridding import majority


def scan_paths(paths: Sequence[str | Path]) -> tuple[list[Field], list[Unread], list[str]]:
    """Recognise all variables of all files.

    Returns
    -------
    What is read, what is not, and what is to be said of files that are left out.

    Raises
    ------
    SoilcastError
        A file cannot be read, or none holds a parameter of ERA5-Land.
    """
    listing = list_files(paths, FORMATS)
    fields, unread = scan_all(listing.files)
    if not fields:
        if product := product_of_names({one.stored for one in unread}):
            reader = "caravan" if product == "Caravan" else "table, with a mapping of its daily means"
            raise SoilcastError(f"{listing.files[0]}: this is {product}, not ERA5-Land: use soilcast prepare {reader}")
        listed = "; ".join(f"{one.stored} ({one.why})" for one in unread[:8]) or "none"
        raise SoilcastError(
            f"{listing.files[0]}: no gridded variable of ERA5-Land, only {listed}: check the file (soilcast doctor), "
            "or use prepare table"
        )
    return fields, unread, listing.notes()


def make_records(fields: Sequence[Field]) -> dict[str, Record]:
    """Put all fields that have times in the order of time, parameter by parameter, on the grid of the first field."""
    grid = whole_grid(fields)
    grouped: dict[str, list[Field]] = {}
    for field in fields:
        if field.parameter.kind != "static":
            grouped.setdefault(field.parameter.name, []).append(field)
    return {name: make_record(group, grid, str(fields[0].file)) for name, group in grouped.items()}


def daily_variables(
    records: Mapping[str, Record],
    countings: Mapping[str, Counting],
    layout: Layout,
    days: range,
    units: Mapping[str, str],
    flip_sign: Collection[str],
) -> dict[str, DailyValues]:
    """Make every variable of a cube for which there is a recipe and all that it needs."""
    made = {}
    for name, recipes in RECIPES.items():
        recipe = recipe_of(recipes, records)
        if recipe is not None and name in VARIABLES:
            made[name] = _daily_values(name, recipe, records, countings, layout, days, units, flip_sign)
    return made


def recipe_of(recipes: Sequence[Recipe], records: Mapping[str, Record]) -> Recipe | None:
    """Choose the first recipe of which all parts are there."""
    return next((one for one in recipes if set(one.parts) <= records.keys()), None)


def _daily_values(
    name: str,
    recipe: Recipe,
    records: Mapping[str, Record],
    countings: Mapping[str, Counting],
    layout: Layout,
    days: range,
    units: Mapping[str, str],
    flip_sign: Collection[str],
) -> DailyValues:
    parts = tuple(records[part] for part in recipe.parts)
    ways = {(countings[part].reduction, countings[part].ending, records[part].step) for part in recipe.parts}
    if len(ways) > 1:
        raise SoilcastError(
            f"{parts[0].where} and {parts[1].where}: {recipe.parts[0]} and {recipe.parts[1]}, of which {name} is "
            "made, have different time steps or accumulations: give both from one product"
        )
    return DailyValues(
        variable=name,
        records=parts,
        recipe=recipe,
        counting=countings[recipe.parts[0]],
        conversions=tuple(conversion_of(records[part], units, flip_sign) for part in recipe.parts),
        laying=layout.laying,
        days=days,
        cells=len(layout.cells.index),
    )


def conversion_of(record: Record, units: Mapping[str, str], flip_sign: Collection[str]) -> Conversion:
    """Find the conversion of a parameter to the cube's unit and sign."""
    name = record.parameter.name
    if name in units and len({field.unit for field in record.fields if field.unit is not None}) > 1:
        raise SoilcastError(
            f"{record.where}: {name} is in several units, so none can be specified for all (--unit {name}): leave it "
            "out, or correct the units attributes"
        )
    found = conversion(name, units.get(name, record.fields[0].unit), record.where)
    sign = record.parameter.sign * (-1.0 if name in flip_sign else 1.0)
    return Conversion(found.scale * sign, found.offset * sign)


def cube_of(
    made: Mapping[str, DailyValues],
    fixed: Mapping[str, Any],
    layout: Layout,
    days: range,
    *,
    title: str,
    content: str,
    license: str | None = None,
    origins: Mapping[str, str],
) -> xr.Dataset:
    """Put lazy daily variables and static ones together as a cube."""
    values: dict[str, Any] = {name: lazily(one, fancy=True) for name, one in made.items()}
    layers = {name: depth for name, depth in ERA5_LAND_LAYERS.items() if name in values}
    return assemble(
        values | era5_land_thickness(len(layout.cells.index), layers) | dict(fixed),
        cells=cells_of_grid(layout.cells),
        time=(np.datetime64(0, "D") + np.asarray(days)).astype("datetime64[ns]"),
        title=title,
        source="era5land",
        content=content,
        license=license,
        origins=origins,
        packing={name: one.packing for name, one in made.items()},
    )


def days_axis(target: Record, counting: Counting, years: str | None, *, is_local: bool) -> range:
    """Give the days from the first to the last that is complete, as days since 1970-01-01.

    Raises
    ------
    SoilcastError
        No day is complete.
    """
    complete = complete_days(target, counting)
    if is_local:
        complete = complete[1:-1]  # the first and the last are complete in a part of the world alone
    if years is not None:
        first, last = (int(one.astype("datetime64[D]").astype(np.int64)) for one in days_of(years))
        complete = complete[(complete >= first) & (complete <= last)]
    if not len(complete):
        wanted, local = f" of {years}" if years else "", "local " if is_local else ""
        raise SoilcastError(
            f"{target.where}: {target.parameter.name} has no complete {local}day{wanted}: a day needs all its "
            f"hours{', a local day also the adjacent ones' if is_local else ''}: give more files"
        )
    return range(int(complete[0]), int(complete[-1]) + 1)


def constants(fields: Sequence[Field], layout: Layout) -> tuple[dict[str, Any], dict[str, str]]:
    """Take elevation from the geopotential of the surface and the type of soil, where they are there.

    Parameters
    ----------
    fields
        All that the files hold.
    layout
        The cells.

    Returns
    -------
    Variable of the cube -> values ``(cell,)``, and -> where they came from.
    """
    grid = whole_grid(fields)
    found = {field.parameter.name: field for field in fields if field.parameter.kind == "static"}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if (field := found.get("z")) is not None:
        if field.unit not in ("m**2 s**-2", "m2 s-2", "m^2 s^-2"):
            raise SoilcastError(f"{field.file}: geopotential in {field.unit or 'no unit'}: expected m**2 s**-2")
        height = conversion("elevation", "m", str(field.file))(_points(field, grid, layout) / GRAVITY)
        values["elevation"] = layout.laying.finish(height[np.newaxis].astype(np.float32))[0]
        origins["elevation"] = f"{field.file}: geopotential of the surface / {GRAVITY} m s-2"
    if (field := found.get("slt")) is not None:
        classes = _points(field, grid, layout)
        whole = np.full(len(grid.index), np.nan, dtype=np.float32)
        whole[layout.laying.points] = classes
        if len(layout.cells.index) != len(classes) or layout.cells.lat is not grid.lat:
            classes = majority(whole.reshape(len(grid.lat), len(grid.lon)), grid.lat, grid.lon, layout.cells)
        values["soil_type"] = classes.astype(np.float32)
        origins["soil_type"] = f"{field.file}: soil type class"
    return values, origins


def _points(field: Field, grid: Grid, layout: Layout) -> Any:
    with open_datasets(field.file) as datasets:
        values = read_stamps(field, datasets[field.dataset], slice(0, 1))[0]
    return values[columns_on(field, grid, "the other files")][layout.laying.points]
