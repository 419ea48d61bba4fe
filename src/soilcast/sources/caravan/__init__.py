"""Caravan (Kratzert et al. 2023, doi:10.1038/s41597-023-01975-w): daily ERA5-Land means of river basins -> a cube."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import (
    ERA5_LAND_LAYERS,
    VARIABLES,
    assemble,
    cells_of_places,
    check_bounds,
    conversion,
    era5_land_thickness,
)
from soilcast.errors import SoilcastError
from soilcast.sources.antarctica import listed_in_antarctica
from soilcast.sources.caravan.layout import Basin, attributes_of, basins_in, series_files
from soilcast.sources.derived import specific_humidity
from soilcast.sources.netcdf import unread_notes

_TARGET = "swvl1"


@dataclass(frozen=True)
class _Series:
    """One line of Caravan's documentation: a variable, its columns (newer releases renamed one) and its unit."""

    name: str
    columns: tuple[str, ...]
    unit: str


def _as_stored(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return values


def _rise_over_run(tenths_of_degrees: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.tan(np.radians(tenths_of_degrees / 10.0)))


@dataclass(frozen=True)
class _Attribute:
    """A basin attribute: its names, its unit after ``reading``, and whether a basin without it is refused."""

    name: str
    columns: tuple[str, ...]
    unit: str
    required: bool = False
    reading: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]] = _as_stored


# fmt: off
_SERIES: tuple[_Series, ...] = (
    _Series("t2m", ("temperature_2m_mean",), "degC"),
    _Series("mn2t", ("temperature_2m_min",), "degC"),
    _Series("mx2t", ("temperature_2m_max",), "degC"),
    _Series("d2m", ("dewpoint_temperature_2m_mean",), "degC"),
    _Series("u10", ("u_component_of_wind_10m_mean",), "m s-1"),
    _Series("v10", ("v_component_of_wind_10m_mean",), "m s-1"),
    _Series("sp", ("surface_pressure_mean",), "kPa"),
    _Series("ssr", ("surface_net_solar_radiation_mean",), "W m-2"),
    _Series("str", ("surface_net_thermal_radiation_mean",), "W m-2"),
    _Series("tp", ("total_precipitation_sum",), "mm d-1"),
    _Series("pev", ("potential_evaporation_sum", "potential_evaporation_sum_ERA5_LAND"), "mm d-1"),
    _Series("sd", ("snow_depth_water_equivalent_mean",), "mm"),
    *(_Series(f"swvl{n}", (f"volumetric_soil_water_layer_{n}_mean",), "m3 m-3") for n in (1, 2, 3, 4)),
)
_ATTRIBUTES: tuple[_Attribute, ...] = (
    _Attribute("lat", ("gauge_lat", "lat"), "degrees_north", required=True),
    _Attribute("lon", ("gauge_lon", "lon"), "degrees_east", required=True),
    _Attribute("area", ("area",), "km2", required=True),
    _Attribute("elevation", ("ele_mt_sav",), "m"),
    _Attribute("slope", ("slp_dg_sav",), "1", reading=_rise_over_run),
    _Attribute("clay", ("cly_pc_sav",), "percent"),
    _Attribute("sand", ("snd_pc_sav",), "percent"),
    _Attribute("silt", ("slt_pc_sav",), "percent"),
    _Attribute("landcover", ("glc_cl_smj",), "1"),
)
# fmt: on
_UNITS = {row.name: row.unit for row in _SERIES}


def caravan(paths: Sequence[Path], *, units: Mapping[str, str] | None = None) -> xr.Dataset:
    """Read Caravan's daily basin series, CSV or NetCDF, with the attributes that lie beside them.

    A cell is a basin. The cube spans the periods of all basins; a day outside the record of a basin is NaN, a gap
    within it is refused. There is no evaporation, runoff or soil water capacity in Caravan and so none in the cube.
    Specific humidity is derived from the daily means of dewpoint and pressure (`soilcast.sources.derived`).
    The series are held in memory, about 1 MB for each basin of 40 years.

    Parameters
    ----------
    paths
        Files (one basin each, or NetCDF with a basin dimension) and folders, which are searched for such files.
        ``attributes/<name>/attributes_{other,hydroatlas}_<name>.csv`` is looked for in the folders above each file.
    units
        Contract name -> unit of the series, where it is not the one that Caravan documents and the file does not say.

    Returns
    -------
    The cube; the coordinate ``cell_name`` is the gauge of the basin, ``lat`` and ``lon`` its place.

    Raises
    ------
    SoilcastError
        Nothing to read, a damaged file, a column that only some basins have, a unit that does not fit, values out of
        bounds, days that are missing or repeat, a basin twice, a basin without place or area.
    """
    given = dict(units or {})
    for name in given.keys() - _UNITS.keys():
        raise SoilcastError(f"--unit {name}={given[name]}: caravan has no such variable; it has {', '.join(_UNITS)}")
    columns = {column: row.name for row in _SERIES for column in row.columns}
    listing = series_files(paths)
    basins = [basin for file in listing.files for basin in basins_in(file, columns)]
    _refuse_doubles(basins)
    present = _common(basins)
    first = min(basin.time[0] for basin in basins)
    last = max(basin.time[-1] for basin in basins)
    time = np.arange(first, last + np.timedelta64(1, "D"), np.timedelta64(1, "D")).astype("datetime64[ns]")

    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name in present:
        values[name], origins[name] = _joined(name, basins, time, given.get(name))
    if {"d2m", "sp"} <= values.keys():
        values["q"] = specific_humidity(values["d2m"], values["sp"])
        origins["q"] = "derived from the daily means of d2m and sp"
    layers = {name: depth for name, depth in ERA5_LAND_LAYERS.items() if name in values}
    statics = _statics(basins)
    cells = cells_of_places(statics["lat"], statics["lon"], statics["area"], [basin.name for basin in basins])
    in_contract = {name: column for name, column in statics.items() if name in VARIABLES and name != "area"}
    origins |= {row.name: f"HydroATLAS {row.columns[0]}" for row in _ATTRIBUTES if row.name in in_contract}
    cube = assemble(
        values | era5_land_thickness(len(basins), layers) | in_contract,
        cells=cells,
        time=time,
        title=f"Caravan, {len(basins)} basins, {time[0].astype('M8[D]')} .. {time[-1].astype('M8[D]')}",
        source="caravan",
        content="ERA5-Land reanalysis, basin means (Caravan)",
        license="CC-BY-4.0",
        origins=origins,
    )
    unread = unread_notes(name for basin in basins for name in basin.unread)
    if notes := [*listing.notes(), *listed_in_antarctica(statics["lat"]), *unread]:
        cube.attrs["notes"] = "\n".join(notes)
    return cube


def _joined(
    name: str, basins: Sequence[Basin], time: npt.NDArray[np.datetime64], given: str | None
) -> tuple[npt.NDArray[np.float32], str]:
    """One variable of all basins ``(cell, time)`` in the contract's unit, and where it came from."""
    joined = np.full((len(basins), len(time)), np.nan, dtype=np.float32)
    taken: set[str] = set()
    for cell, basin in enumerate(basins):
        column, unit = basin.columns[name], given or basin.units.get(name)
        if unit is None:
            unit = _UNITS[name]
            taken.add(f" (unit taken as {unit})")
        at = int((basin.time[0] - time[0]) / np.timedelta64(1, "D"))
        where = f"{basin.path} ({column})"
        converted = conversion(name, unit, where)(basin.values[name])
        check_bounds(name, converted, where)
        joined[cell, at : at + len(basin.time)] = converted
    return joined, ", ".join(sorted({basin.columns[name] for basin in basins})) + "".join(taken)


def _common(basins: Sequence[Basin]) -> list[str]:
    """Variables that every basin has, in the order of the table.

    Raises
    ------
    SoilcastError
        A basin has no target, or lacks a variable that others have.
    """
    names = [row.name for row in _SERIES if any(row.name in basin.values for basin in basins)]
    for name in dict.fromkeys((_TARGET, *names)):
        lacking = [basin for basin in basins if name not in basin.values]
        if lacking:
            row = next(row for row in _SERIES if row.name == name)
            more = f" and in {len(lacking) - 1} other(s)" if len(lacking) > 1 else ""
            raise SoilcastError(
                f"{lacking[0].path}: no column {row.columns[0]} ({name}) for {lacking[0].name}{more}: download the "
                "complete file, or remove these basins"
            )
    return names


def _refuse_doubles(basins: Sequence[Basin]) -> None:
    seen: dict[str, Path] = {}
    for basin in basins:
        if basin.name in seen:
            raise SoilcastError(
                f"basin {basin.name} occurs twice, in {seen[basin.name]} and {basin.path}: give one of them"
            )
        seen[basin.name] = basin.path


def _statics(basins: Sequence[Basin]) -> dict[str, npt.NDArray[np.float64]]:
    """Attributes of the basins, each ``(cell,)``; those that no basin has are left out."""
    columns = {column: row.name for row in _ATTRIBUTES for column in row.columns}
    found = attributes_of(basins, columns)
    statics: dict[str, npt.NDArray[np.float64]] = {}
    for row in _ATTRIBUTES:
        values = np.array([one.get(row.name, np.nan) for one in found], dtype=np.float64)
        lacking = np.flatnonzero(np.isnan(values))
        if row.required and len(lacking):
            basin = basins[lacking[0]]
            raise SoilcastError(
                f"{basin.path}: basin {basin.name} has no {row.columns[0]}, neither in the file nor in "
                "attributes/*/attributes_other_*.csv: add Caravan's attributes folder next to the time series"
            )
        if len(lacking) < len(basins):
            unit = conversion(row.name, row.unit, row.columns[0]) if row.name in VARIABLES else _as_stored
            statics[row.name] = unit(row.reading(values))
    return statics
