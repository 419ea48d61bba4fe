"""The parameters of ERA5 and ERA5-Land: their names, how their values count, and what is made of which."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from soilcast.sources.derived import specific_humidity

Kind = Literal["instant", "accumulated", "static"]

COPERNICUS = "CC-BY-4.0; contains modified Copernicus Climate Change Service information"
"""Licence of ERA5 and ERA5-Land, with the words that it asks for."""

GRAVITY = 9.80665
"""Standard gravity, by which ECMWF's geopotential is divided for a height [m s-2]."""


@dataclass(frozen=True)
class Parameter:
    """One parameter as ECMWF has it.

    Parameters
    ----------
    name
        ECMWF's short name, which is that of the cube where the cube has it.
    long_name
        Name in the Climate Data Store and in stores made from it.
    number
        ``paramId`` of GRIB.
    kind
        ``instant``, valid at its time stamp; ``accumulated`` over a time that ends at its stamp; ``static``.
    unit
        As ECMWF writes it, for stores that are silent.
    sign
        -1 where ECMWF counts downward as positive and the cube upward.
    """

    name: str
    long_name: str
    number: int
    kind: Kind
    unit: str
    sign: float = 1.0


# fmt: off
PARAMETERS: dict[str, Parameter] = {row.name: row for row in (
    Parameter("t2m",   "2m_temperature", 167, "instant", "K"),
    Parameter("d2m",   "2m_dewpoint_temperature", 168, "instant", "K"),
    Parameter("u10",   "10m_u_component_of_wind", 165, "instant", "m s**-1"),
    Parameter("v10",   "10m_v_component_of_wind", 166, "instant", "m s**-1"),
    Parameter("sp",    "surface_pressure", 134, "instant", "Pa"),
    Parameter("tp",    "total_precipitation", 228, "accumulated", "m"),
    Parameter("sf",    "snowfall", 144, "accumulated", "m"),
    Parameter("smlt",  "snowmelt", 45, "accumulated", "m"),
    Parameter("e",     "total_evaporation", 182, "accumulated", "m", sign=-1.0),
    Parameter("pev",   "potential_evaporation", 228251, "accumulated", "m", sign=-1.0),
    Parameter("sro",   "surface_runoff", 8, "accumulated", "m"),
    Parameter("ssro",  "sub_surface_runoff", 9, "accumulated", "m"),
    Parameter("ro",    "runoff", 205, "accumulated", "m"),
    Parameter("ssrd",  "surface_solar_radiation_downwards", 169, "accumulated", "J m**-2"),
    Parameter("strd",  "surface_thermal_radiation_downwards", 175, "accumulated", "J m**-2"),
    Parameter("ssr",   "surface_net_solar_radiation", 176, "accumulated", "J m**-2"),
    Parameter("str",   "surface_net_thermal_radiation", 177, "accumulated", "J m**-2"),
    Parameter("sd",    "snow_depth_water_equivalent", 141, "instant", "m"),
    Parameter("swvl1", "volumetric_soil_water_layer_1", 39, "instant", "m**3 m**-3"),
    Parameter("swvl2", "volumetric_soil_water_layer_2", 40, "instant", "m**3 m**-3"),
    Parameter("swvl3", "volumetric_soil_water_layer_3", 41, "instant", "m**3 m**-3"),
    Parameter("swvl4", "volumetric_soil_water_layer_4", 42, "instant", "m**3 m**-3"),
    Parameter("z",     "geopotential", 129, "static", "m**2 s**-2"),
    Parameter("lsm",   "land_sea_mask", 172, "static", "(0 - 1)"),
    Parameter("slt",   "soil_type", 43, "static", "1"),
)}
# fmt: on

SPECIFIC_HUMIDITY = Parameter("q", "specific_humidity", 133, "instant", "kg kg**-1")
"""Not in ERA5-Land; stores that have derived it write it under this name."""

NEVER_NEGATIVE = ("tp", "sf", "smlt", "sro", "ssro", "ro", "ssrd", "strd", "ssr")
"""Accumulated parameters that can only grow while they are accumulated."""

_ECMWF = {"2t": "t2m", "2d": "d2m", "10u": "u10", "10v": "v10", "evaporation": "e", "swe": "sd"}
"""ECMWF's parameter database (https://codes.ecmwf.int/grib/param-db): short names of GRIB; ERA5's name of e."""

_EARTH_ENGINE = {
    "temperature_2m": "t2m",
    "dewpoint_temperature_2m": "d2m",
    "u_component_of_wind_10m": "u10",
    "v_component_of_wind_10m": "v10",
    "surface_pressure": "sp",
    "snow_depth_water_equivalent": "sd",
    **{f"volumetric_soil_water_layer_{layer}": f"swvl{layer}" for layer in (1, 2, 3, 4)},
}
"""Google Earth Engine, ECMWF/ERA5_LAND/HOURLY and DAILY_AGGR: bands that are other names than ECMWF's, or states.

Accumulated bands are ECMWF's names: ``_sum`` is a day's total (DAILY_AGGR), ``_hourly`` the amount of an hour (HOURLY,
beside the same accumulated since midnight). ``snow_depth`` is metres of snow there, and ``snow_cover`` percent.
"""

_TOTALS = ("_sum", "_hourly")
_AMOUNTS = {row.long_name: row for row in PARAMETERS.values() if row.kind == "accumulated"}

_BY_NAME = {
    **{row.name: row for row in (*PARAMETERS.values(), SPECIFIC_HUMIDITY)},
    **{row.long_name: row for row in (*PARAMETERS.values(), SPECIFIC_HUMIDITY)},
    **{alias: PARAMETERS[name] for alias, name in {**_ECMWF, **_EARTH_ENGINE}.items()},
    **{f"{name}{ending}": row for name, row in _AMOUNTS.items() for ending in _TOTALS},
}
_SNOW_DEPTH = "snow_depth"
"""In ERA5 (Climate Data Store, ARCO-ERA5, WeatherBench) the water equivalent of the snow, whose unit says so or which
has ECMWF's short name or number; in ERA5-Land and Earth Engine metres of snow."""

OTHER_PRODUCTS = {
    "GLDAS": ("SoilMoi0_10cm_inst", "SoilMoist_S_tavg", "Rainf_f_tavg", "Rainf_tavg", "Evap_tavg"),
    "Caravan": ("temperature_2m_mean", "volumetric_soil_water_layer_1_mean"),
    "MERRA-2": ("GWETTOP", "SFMC", "PRECTOTLAND"),
    "SMAP Level 4": ("sm_surface", "sm_rootzone"),
}
"""Other products -> variables by which their files are known (GES DISC and NSIDC user guides; Kratzert et al. 2023)."""

_BY_NUMBER = {row.number: row for row in (*PARAMETERS.values(), SPECIFIC_HUMIDITY)}
# The same amounts of water in kg m-2.
_BY_NUMBER |= {228000 + number: _BY_NUMBER[number] for number in (141, 144, 205, 228)}


_SOIL_WATER = 260199
"""Number of volumetric soil water in GRIB 2, where its layer is a level."""


def is_layered(attributes: Mapping[str, Any]) -> bool:
    """Whether a variable holds soil water of several layers, as GRIB 2 has it."""
    return attributes.get("GRIB_paramId") == _SOIL_WATER


def parameter_of(name: str, attributes: Mapping[str, Any]) -> Parameter | None:
    """Recognise a variable by its GRIB number where it carries one, else by its name; None where it is none of ours.

    Parameters
    ----------
    name
        Name in the file.
    attributes
        Attributes of the variable.
    """
    number = attributes.get("GRIB_paramId")
    if number is not None:
        try:
            return _BY_NUMBER.get(int(number))
        except (TypeError, ValueError):
            return None
    if name.lower() == _SNOW_DEPTH:
        return PARAMETERS["sd"] if _is_water_equivalent(attributes) else None
    return _BY_NAME.get(name.lower())


def why_not(name: str, attributes: Mapping[str, Any]) -> str:
    """Say why a variable is none of ours, where more than its name is to be said."""
    if name.lower() == _SNOW_DEPTH and "GRIB_paramId" not in attributes:
        return "metres of snow, as in ERA5-Land and Earth Engine, not of water; name it sd if it is water equivalent"
    return ""


def product_of_names(names: Collection[str]) -> str:
    """Name another product by the variables of a file; empty where it is none that is known."""
    own = {name.rpartition("/")[2] for name in names}  # without the group
    return next((product for product, known in OTHER_PRODUCTS.items() if not set(known).isdisjoint(own)), "")


def _is_water_equivalent(attributes: Mapping[str, Any]) -> bool:
    described = (str(attributes.get(key, "")).lower() for key in ("units", "long_name", "standard_name"))
    return (
        "water" in " ".join(described)
        or "lwe" in str(attributes.get("standard_name", ""))
        or (str(attributes.get("short_name", attributes.get("GRIB_shortName", ""))) == "sd")
    )


@dataclass(frozen=True)
class Recipe:
    """One way to a variable of the cube.

    Parameters
    ----------
    parts
        Parameters that it needs.
    combine
        From their stamps in the cube's units to those of the variable.
    said
        In words; empty where the parameter is the variable.
    """

    parts: tuple[str, ...]
    combine: Callable[..., Any]
    said: str = ""


def humidity(dewpoint: Any, pressure: Any) -> Any:
    """Make specific humidity; of values that can be neither, such as Celsius taken for kelvin, come any."""
    with np.errstate(all="ignore"):
        return specific_humidity(dewpoint, pressure)


def itself(values: Any) -> Any:
    """Leave values as they are."""
    return values


def together(one: Any, other: Any) -> Any:
    """Add two."""
    return one + other


_PLAIN = [name for name, row in PARAMETERS.items() if row.kind != "static"]

RECIPES: dict[str, tuple[Recipe, ...]] = {
    **{name: (Recipe((name,), itself),) for name in _PLAIN},
    "q": (
        Recipe(("q",), itself),
        Recipe(("d2m", "sp"), humidity, "of dewpoint and surface pressure (IFS documentation, eq. 7.4)"),
    ),
    "ro": (Recipe(("ro",), itself), Recipe(("sro", "ssro"), together, "surface and sub-surface runoff together")),
}
"""Variable of the cube -> ways to it, the best first."""
