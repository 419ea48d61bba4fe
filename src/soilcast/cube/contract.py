"""The contract of a cube: which variables there are, their units, signs and bounds, and the soil layers.

Names are ECMWF's short names where there is one. Inside a cube everything is SI: depths of water in metres
a day (fluxes, daily totals) or metres (stores), soil moisture in m3 m-3, evaporation positive upward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

_NAMES = (
    "Af Am Aw BWh BWk BSh BSk Csa Csb Csc Cwa Cwb Cwc Cfa Cfb Cfc Dsa Dsb Dsc Dsd Dwa Dwb Dwc Dwd Dfa Dfb Dfc Dfd ET EF"
)

KOEPPEN_CLASSES: dict[int, str] = dict(enumerate(_NAMES.split(), start=1))
"""Number of a Koeppen-Geiger class -> its letters, 1 Af .. 30 EF.

Beck, H. E. et al. (2018), Present and future Koeppen-Geiger climate classification maps at 1-km resolution,
Scientific Data 5:180214, doi:10.1038/sdata.2018.214, Table 2.
"""

CONTRACT_VERSION = 2

BRIDGED = "bridged"
"""Attribute of a cube, and of forecasts from it, that says which of its days are of weather forecasts."""

GENUINE = "genuine"
"""Attribute of a cube: variables whose values that repeat and stand apart the user has called genuine."""

WATER_DENSITY = 1000.0
"""Density of liquid water [kg m-3]: 1 kg m-2 of water stands 1 mm deep."""

SECONDS_PER_DAY = 86400.0


@dataclass(frozen=True)
class Variable:
    """One line of the contract.

    Parameters
    ----------
    name
        Name inside a cube.
    long_name
        In words, for axes and tables.
    standard_name
        CF standard name, or None where CF has none.
    units
        Unit inside a cube, as CF writes it.
    valid_min, valid_max
        Bounds [units]; a value outside is taken for a wrong unit or sign and refused.
    kind
        ``"state"`` (a level: mean of, or at the end of, the day), ``"flux"`` (a daily total of water),
        ``"static"`` (no time), ``"class"`` (static, a category).
    cell_methods
        What a value says of the day, as CF writes it; None where sources differ in it.
    classes
        Of a category, what the numbers from 0 on mean, one word each; empty where the source alone knows.
    """

    name: str
    long_name: str
    standard_name: str | None
    units: str
    valid_min: float
    valid_max: float
    kind: Literal["state", "flux", "static", "class"]
    cell_methods: str | None = None
    classes: tuple[str, ...] = ()

    @property
    def is_static(self) -> bool:
        """Whether the variable has no time dimension."""
        return self.kind in ("static", "class")

    @property
    def dims(self) -> tuple[str, ...]:
        """Its dimensions inside a cube."""
        return ("cell",) if self.is_static else ("cell", "time")

    @property
    def dtype(self) -> type[np.float32 | np.float64]:
        """Its type inside a cube; areas are summed, and so are more precise."""
        return np.float64 if self.name == "area" else np.float32

    @property
    def attributes(self) -> dict[str, Any]:
        """Its CF attributes inside a cube; bounds and flags are of its own type, as CF asks."""
        made: dict[str, Any] = {"long_name": self.long_name}
        if self.standard_name:
            made["standard_name"] = self.standard_name
        if self.units == "K":
            made["units_metadata"] = "temperature: on_scale"
        made |= {"units": self.units, "valid_range": np.array([self.valid_min, self.valid_max], dtype=self.dtype)}
        if self.cell_methods:
            made["cell_methods"] = self.cell_methods
        if self.classes:
            made["flag_values"] = np.arange(len(self.classes), dtype=self.dtype)
            made["flag_meanings"] = " ".join(self.classes)
        return made


def _table(*rows: Variable) -> dict[str, Variable]:
    return {row.name: row for row in rows}


_MEAN = "time: mean"

# fmt: off
VARIABLES: dict[str, Variable] = _table(
    Variable("t2m",  "2 m temperature", "air_temperature", "K", 170.0, 340.0, "state"),
    Variable("mx2t", "maximum 2 m temperature of the day", "air_temperature", "K", 170.0, 345.0, "state",
             "time: maximum"),
    Variable("mn2t", "minimum 2 m temperature of the day", "air_temperature", "K", 165.0, 335.0, "state",
             "time: minimum"),
    Variable("d2m",  "2 m dewpoint temperature", "dew_point_temperature", "K", 150.0, 320.0, "state"),
    Variable("u10",  "10 m eastward wind", "eastward_wind", "m s-1", -60.0, 60.0, "state"),
    Variable("v10",  "10 m northward wind", "northward_wind", "m s-1", -60.0, 60.0, "state"),
    Variable("sp",   "surface pressure", "surface_air_pressure", "Pa", 40000.0, 112000.0, "state"),
    Variable("q",    "specific humidity", "specific_humidity", "kg kg-1", 0.0, 0.05, "state"),
    Variable("ssrd", "downward shortwave radiation at the surface",
             "surface_downwelling_shortwave_flux_in_air", "W m-2", 0.0, 550.0, "state", _MEAN),
    Variable("strd", "downward longwave radiation at the surface",
             "surface_downwelling_longwave_flux_in_air", "W m-2", 30.0, 700.0, "state", _MEAN),
    Variable("ssr",  "net shortwave radiation at the surface, downward positive",
             "surface_net_downward_shortwave_flux", "W m-2", 0.0, 500.0, "state", _MEAN),
    Variable("str",  "net longwave radiation at the surface, downward positive",
             "surface_net_downward_longwave_flux", "W m-2", -350.0, 200.0, "state", _MEAN),
    Variable("tp",   "total precipitation", "lwe_precipitation_rate", "m d-1", 0.0, 1.9, "flux", _MEAN),
    Variable("e",    "evapotranspiration, upward positive", "lwe_water_evaporation_rate",
             "m d-1", -0.02, 0.03, "flux", _MEAN),
    Variable("pev",  "potential evaporation, upward positive", None, "m d-1", -0.02, 0.15, "flux", _MEAN),
    Variable("sro",  "surface runoff", None, "m d-1", 0.0, 1.9, "flux", _MEAN),
    Variable("ssro", "sub-surface runoff", None, "m d-1", 0.0, 1.9, "flux", _MEAN),
    Variable("ro",   "total runoff", None, "m d-1", 0.0, 1.9, "flux", _MEAN),
    Variable("sf",   "snowfall, water equivalent", "lwe_snowfall_rate", "m d-1", 0.0, 1.9, "flux", _MEAN),
    Variable("smlt", "snowmelt", None, "m d-1", 0.0, 1.9, "flux", _MEAN),
    Variable("sd",   "snow depth water equivalent", "lwe_thickness_of_surface_snow_amount", "m", 0.0, 30.0, "state"),
    Variable("swvl1", "volumetric soil water, layer 1", "volume_fraction_of_condensed_water_in_soil",
             "m3 m-3", 0.0, 1.0, "state"),
    Variable("swvl2", "volumetric soil water, layer 2", "volume_fraction_of_condensed_water_in_soil",
             "m3 m-3", 0.0, 1.0, "state"),
    Variable("swvl3", "volumetric soil water, layer 3", "volume_fraction_of_condensed_water_in_soil",
             "m3 m-3", 0.0, 1.0, "state"),
    Variable("swvl4", "volumetric soil water, layer 4", "volume_fraction_of_condensed_water_in_soil",
             "m3 m-3", 0.0, 1.0, "state"),
    Variable("slthick1", "thickness of soil layer 1", "cell_thickness", "m", 1e-4, 100.0, "static"),
    Variable("slthick2", "thickness of soil layer 2", "cell_thickness", "m", 1e-4, 100.0, "static"),
    Variable("slthick3", "thickness of soil layer 3", "cell_thickness", "m", 1e-4, 100.0, "static"),
    Variable("slthick4", "thickness of soil layer 4", "cell_thickness", "m", 1e-4, 100.0, "static"),
    *(Variable(f"sensor_depth{n}", f"depth of the sensor of layer {n} below the surface", "depth", "m", 0.0, 100.0,
               "static") for n in (1, 2, 3, 4)),
    Variable("area", "area of the cell", "cell_area", "m2", 1.0, 1e13, "static"),
    Variable("elevation", "elevation of the surface", "surface_altitude", "m", -500.0, 9000.0, "static"),
    Variable("slope", "slope of the surface, rise over run", None, "1", 0.0, 20.0, "static"),
    Variable("clay", "clay fraction of the fine earth", "mass_fraction_of_clay_in_soil", "kg kg-1", 0.0, 1.0, "static"),
    Variable("sand", "sand fraction of the fine earth", "mass_fraction_of_sand_in_soil", "kg kg-1", 0.0, 1.0, "static"),
    Variable("silt", "silt fraction of the fine earth", "mass_fraction_of_silt_in_soil", "kg kg-1", 0.0, 1.0, "static"),
    Variable("soil_water_capacity", "water-holding capacity of the soil", None, "m", 0.0, 50.0, "static"),
    Variable("landcover", "land cover class of the source", None, "1", 0.0, 255.0, "class"),
    Variable("soil_type", "soil type class of the source", None, "1", 0.0, 255.0, "class"),
    Variable("climate_zone", "Koeppen-Geiger class, 1 Af .. 30 EF (Beck et al. 2018)", None, "1", 0.0, 30.0, "class",
             classes=("unknown", *KOEPPEN_CLASSES.values())),
)
# fmt: on

ERA5_LAND_LAYERS: dict[str, float] = {"swvl1": 0.07, "swvl2": 0.21, "swvl3": 0.72, "swvl4": 1.89}
"""Thickness of ERA5-Land's soil layers [m]: 0-7, 7-28, 28-100 and 100-289 cm."""

PAPER_DYNAMIC: tuple[str, ...] = ("t2m", "u10", "v10", "tp", "sp", "q", "ssrd", "strd")
"""The eight dynamic inputs of Geng et al. (2024)."""

PAPER_STATIC: tuple[str, ...] = ("landcover", "soil_water_capacity", "elevation", "clay", "sand", "silt")
"""The six static inputs of Geng et al. (2024)."""


def thickness_name(layer: str) -> str:
    """Name of the thickness [m] of the soil layer that ``layer`` (``swvl1`` .. ``swvl4``) stands for."""
    return f"slthick{layer.removeprefix('swvl')}"


def sensor_depth_name(layer: str) -> str:
    """Name of the depth [m] of the sensor at a station that measures the soil layer ``layer``."""
    return f"sensor_depth{layer.removeprefix('swvl')}"
