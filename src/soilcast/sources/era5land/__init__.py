"""ERA5-Land and ERA5, as the Climate Data Store and its copies give them -> a cube."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import xarray as xr

from soilcast.cube import PAPER_STATIC, VARIABLES
from soilcast.errors import SoilcastError
from soilcast.schema import nearest as nearest_name
from soilcast.sources.climate import add_climate_zone
from soilcast.sources.era5land.assembling import (
    constants,
    cube_of,
    daily_variables,
    days_axis,
    make_records,
    scan_paths,
)
from soilcast.sources.era5land.counting import Accumulation, Stamp, States, count_days
from soilcast.sources.era5land.laying import lay_out
from soilcast.sources.era5land.saying import count, notes_on, origin_of, product_of, title_of
from soilcast.sources.parameters import COPERNICUS, PARAMETERS, RECIPES
from soilcast.sources.statics import STATICS, read_statics

__all__ = ["era5land"]

Day = Literal["utc", "local"]

TARGET = "swvl1"


def era5land(
    paths: Sequence[str | Path],
    *,
    resolution: float | None = None,
    years: str | None = None,
    day: Day = "utc",
    states: States = "mean",
    accumulation: Accumulation | None = None,
    stamp: Stamp | None = None,
    units: Mapping[str, str] | None = None,
    flip_sign: Collection[str] = (),
    static: Mapping[str, str] | None = None,
    nearest: Collection[str] = (),
    climate_zone: bool = True,
    antarctica: bool = False,
    content: str | None = None,
) -> xr.Dataset:
    """Read ERA5-Land or ERA5: NetCDF of the former and the present Climate Data Store, its archives, GRIB, Zarr.

    Values may be hourly (or every 3 or 6 hours) or daily, in one file or many, of any region. The accumulation is
    inferred from the data and recorded in ``origin`` of each variable. Missing hours make a missing day. Specific
    humidity is computed from dewpoint and pressure, total runoff from its two parts, if not given.

    Parameters
    ----------
    paths
        Files, folders of files, Zarr stores, or addresses of stores.
    resolution
        Grid spacing of a conservative regridding [degrees]; None for the grid of the files.
    years
        The days to take, such as ``2018:2020``; all if not given.
    day
        Days of ``utc``, or ``local`` solar days by the longitude of each point.
    states
        Soil water and snow as the ``mean`` of the day, or at its ``end``, with which the water balance closes.
    accumulation
        ``since-midnight`` or ``hourly``, if it cannot be inferred from the data.
    stamp
        What a single value a day is, if the files do not say: of the ``day``, or at 00 UTC (``midnight``).
    units
        Variable -> unit, if the attributes of the files are missing or wrong.
    flip_sign
        Variables whose sign is opposite to the ECMWF convention.
    static
        Static variable -> file that it comes from (`soilcast.sources.statics.read_statics`).
    nearest
        Static variables that are regridded by nearest neighbour.
    climate_zone
        Compute the Koeppen-Geiger class from the monthly means of temperature and precipitation, where all twelve
        months are there; both are read once more for it. Without the last year, the default test period.
    antarctica
        Keep the cells south of 60 °S.
    content
        Description of the data, if not the reanalysis itself.

    Returns
    -------
    The cube: dynamic variables ``(cell, time)``, lazy; static ones ``(cell,)``. Days run from the first to the last
    that is complete for layer 1 of the soil. ``notes`` says what is missing, ``absent`` what is not there.

    Raises
    ------
    SoilcastError
        A file is missing or damaged, lies on another grid, has a unit that does not fit, holds a time twice with other
        values; it cannot be told how values accumulate or which way evaporation counts; no soil moisture is there.
        Values out of bounds are told, with the file, when they are read.
    """
    for option, given, known in (
        ("day", day, get_args(Day)),
        ("states", states, get_args(States)),
        ("accumulation", accumulation, get_args(Accumulation)),
        ("stamp", stamp, get_args(Stamp)),
    ):
        if given is not None and given not in known:
            raise SoilcastError(f"--{option} {given}: {nearest_name(str(given), known)}")
    stated = dict(units or {})
    _refuse_unknown(stated, "--unit")
    _refuse_unknown(flip_sign, "--flip-sign")
    fields, unread, left_out = scan_paths(paths)
    records = make_records(fields)
    if TARGET not in records:
        raise SoilcastError(
            f"{fields[0].file}: no swvl1 (volumetric soil water, layer 1) in {count(len(fields), 'variable')}: "
            "add the files that hold it"
        )
    is_local = day == "local"
    countings = count_days(
        records, accumulation=accumulation, stamp=stamp, states=states, is_local=is_local, units=stated
    )
    layout = lay_out(fields, records[TARGET], resolution=resolution, is_local=is_local, antarctica=antarctica)
    days = days_axis(records[TARGET], countings[TARGET], years, is_local=is_local)
    made = daily_variables(records, countings, layout, days, stated, flip_sign)
    fixed, origins = constants(fields, layout)
    if static:
        read, told = read_statics(static, layout.cells, units=stated, nearest=nearest)
        fixed, origins = fixed | read, origins | dict(told)
    cube = cube_of(
        made,
        fixed,
        layout,
        days,
        title=title_of(fields, layout.said, days),
        content=content or f"reanalysis ({product_of(fields)})",
        license=None if content else COPERNICUS,
        origins=origins | {name: origin_of(one, stated, flip_sign) for name, one in made.items()},
    )
    notes = [*left_out, *layout.notes, *notes_on(made, records, unread)]
    if climate_zone and "climate_zone" not in cube:
        notes += add_climate_zone(cube)
    if absent := [name for name in (*RECIPES, *PAPER_STATIC, "climate_zone") if name in VARIABLES and name not in cube]:
        cube.attrs["absent"] = " ".join(absent)
    if notes:
        cube.attrs["notes"] = "\n".join(notes)
    return cube


def _refuse_unknown(names: Collection[str], option: str) -> None:
    known = [*PARAMETERS, "q", *STATICS]
    for name in names:
        if name not in known:
            raise SoilcastError(f"{option} {name}: era5land has no such variable: {nearest_name(name, known)}")
