"""What ECMWF calls the parameters of ERA5 and ERA5-Land in GRIB, in both NetCDF layouts and in requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Parameters
    ----------
    name
        Short name of NetCDF files: GRIB's ``cfVarName``.
    number
        GRIB's ``paramId``.
    short_name
        GRIB's ``shortName``.
    kind
        ``"instant"``, or ``"amount"``: accumulated over a period that ends at the time stamp.
    units
        As ECMWF writes them, in every format.
    long_name
        Of the present NetCDF files: GRIB's ``name``.
    former_long_name
        Of the former NetCDF files.
    cf_name
        GRIB's ``cfName``: the standard name of the present NetCDF files, which say ``unknown`` too.
    former_standard_name
        Of the former NetCDF files, where they have one.
    land_name, era5_name
        In requests and file names of ERA5-Land and of ERA5; the latter also in ARCO-ERA5.
    layer
        Depth of the upper and lower edge of a soil layer as GRIB 1 codes it [cm]; the lowest edge, at 289 cm, is beyond
        one octet, so that it is coded as missing.
    """

    name: str
    number: int
    short_name: str
    kind: Literal["instant", "amount"]
    units: str
    long_name: str
    former_long_name: str
    cf_name: str
    former_standard_name: str | None
    land_name: str
    era5_name: str
    layer: tuple[int, int] | None = None


def _table(*rows: Parameter) -> dict[str, Parameter]:
    return {row.name: row for row in rows}


_EVAPORATED = "lwe_thickness_of_water_evaporation_amount"
_SUN = "surface_downwelling_shortwave_flux_in_air"
_NET_SUN, _NET_HEAT = "surface_net_downward_shortwave_flux", "surface_net_upward_longwave_flux"

# The standard name of str says upward though the values are downward positive: it is ECMWF's, and so in the files.
# fmt: off
PARAMETERS: dict[str, Parameter] = _table(
    Parameter("t2m", 167, "2t", "instant", "K", "2 metre temperature", "2 metre temperature", "unknown", None,
              "2m_temperature", "2m_temperature"),
    Parameter("d2m", 168, "2d", "instant", "K", "2 metre dewpoint temperature", "2 metre dewpoint temperature",
              "unknown", None, "2m_dewpoint_temperature", "2m_dewpoint_temperature"),
    Parameter("u10", 165, "10u", "instant", "m s**-1", "10 metre U wind component", "10 metre U wind component",
              "unknown", None, "10m_u_component_of_wind", "10m_u_component_of_wind"),
    Parameter("v10", 166, "10v", "instant", "m s**-1", "10 metre V wind component", "10 metre V wind component",
              "unknown", None, "10m_v_component_of_wind", "10m_v_component_of_wind"),
    Parameter("sp", 134, "sp", "instant", "Pa", "Surface pressure", "Surface pressure", "surface_air_pressure",
              "surface_air_pressure", "surface_pressure", "surface_pressure"),
    Parameter("sd", 141, "sd", "instant", "m of water equivalent", "Snow depth", "Snow depth",
              "lwe_thickness_of_surface_snow_amount", "lwe_thickness_of_surface_snow_amount",
              "snow_depth_water_equivalent", "snow_depth"),
    *(
        Parameter(f"swvl{layer}", 38 + layer, f"swvl{layer}", "instant", "m**3 m**-3",
                  f"Volumetric soil water layer {layer}", f"Volumetric soil water layer {layer}", "unknown", None,
                  f"volumetric_soil_water_layer_{layer}", f"volumetric_soil_water_layer_{layer}", edges)
        for layer, edges in enumerate(((0, 7), (7, 28), (28, 100), (100, 255)), start=1)
    ),
    Parameter("tp", 228, "tp", "amount", "m", "Total precipitation", "Total precipitation", "unknown", None,
              "total_precipitation", "total_precipitation"),
    Parameter("sf", 144, "sf", "amount", "m of water equivalent", "Snowfall", "Snowfall",
              "lwe_thickness_of_snowfall_amount", "lwe_thickness_of_snowfall_amount", "snowfall", "snowfall"),
    Parameter("smlt", 45, "smlt", "amount", "m of water equivalent", "Snowmelt", "Snowmelt", "unknown", None,
              "snowmelt", "snowmelt"),
    Parameter("e", 182, "e", "amount", "m of water equivalent", "Evaporation", "Evaporation", _EVAPORATED, _EVAPORATED,
              "total_evaporation", "evaporation"),
    Parameter("pev", 228251, "pev", "amount", "m", "Potential evaporation", "Potential evaporation", "unknown", None,
              "potential_evaporation", "potential_evaporation"),
    Parameter("sro", 8, "sro", "amount", "m", "Surface runoff", "Surface runoff", "unknown", None,
              "surface_runoff", "surface_runoff"),
    Parameter("ssro", 9, "ssro", "amount", "m", "Sub-surface runoff", "Sub-surface runoff", "unknown", None,
              "sub_surface_runoff", "sub_surface_runoff"),
    Parameter("ro", 205, "ro", "amount", "m", "Runoff", "Runoff", "unknown", None, "runoff", "runoff"),
    Parameter("ssrd", 169, "ssrd", "amount", "J m**-2", "Surface short-wave (solar) radiation downwards",
              "Surface solar radiation downwards", _SUN, _SUN,
              "surface_solar_radiation_downwards", "surface_solar_radiation_downwards"),
    Parameter("strd", 175, "strd", "amount", "J m**-2", "Surface long-wave (thermal) radiation downwards",
              "Surface thermal radiation downwards", "unknown", None,
              "surface_thermal_radiation_downwards", "surface_thermal_radiation_downwards"),
    Parameter("ssr", 176, "ssr", "amount", "J m**-2", "Surface net short-wave (solar) radiation",
              "Surface net solar radiation", _NET_SUN, _NET_SUN,
              "surface_net_solar_radiation", "surface_net_solar_radiation"),
    Parameter("str", 177, "str", "amount", "J m**-2", "Surface net long-wave (thermal) radiation",
              "Surface net thermal radiation", _NET_HEAT, _NET_HEAT,
              "surface_net_thermal_radiation", "surface_net_thermal_radiation"),
)
# fmt: on

INSTANTS: tuple[str, ...] = tuple(name for name, one in PARAMETERS.items() if one.kind == "instant")
AMOUNTS: tuple[str, ...] = tuple(name for name, one in PARAMETERS.items() if one.kind == "amount")
NAMES: tuple[str, ...] = (*INSTANTS, *AMOUNTS)

WATER: tuple[str, ...] = ("tp", "sf", "smlt", "e", "pev", "sro", "ssro", "ro")
"""The amounts that are depths of water [m]; the others are radiation [J m-2]."""
