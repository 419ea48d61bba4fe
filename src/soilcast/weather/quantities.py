"""Which numbers of GRIB are which part of the weather, in which unit; and what is made of which parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from soilcast.cube import VARIABLES, Conversion, conversion, is_amount
from soilcast.errors import SoilcastError
from soilcast.sources.derived import humidity_of_relative
from soilcast.sources.parameters import GRAVITY, PARAMETERS, RECIPES, Recipe, parameter_of

OROGRAPHY = "orography"
"""Part that holds the elevation of the surface of the forecast model [m]."""

_RELATIVE = "r2"


@dataclass(frozen=True)
class Quantity:
    """What a number stands for.

    Parameters
    ----------
    name
        Name of the part: that of the contract where the contract has it.
    unit
        Unit of its values.
    sign
        -1 where downward is positive and the contract counts upward.
    """

    name: str
    unit: str
    sign: float = 1.0

    @property
    def is_flux(self) -> bool:
        """Whether its value is of a time that has a length: amounts and rates of water and radiation."""
        return self.name in VARIABLES and VARIABLES[self.name].cell_methods == "time: mean"

    @property
    def is_amount(self) -> bool:
        """Whether it is an amount of that time (m, kg m-2, J m-2), and not a rate."""
        return self.is_flux and is_amount(self.name, self.unit)

    def conversion(self, where: str) -> Conversion:
        """Conversion to the contract's unit and sign; an amount counts as that of a day."""
        if (self.name, self.unit) in _OUTSIDE:
            return _OUTSIDE[self.name, self.unit]
        found = conversion(self.name, self.unit, where)
        return Conversion(found.scale * self.sign, found.offset * self.sign)


_OUTSIDE = {
    (_RELATIVE, "percent"): Conversion(0.01, 0.0),
    (OROGRAPHY, "m"): Conversion(1.0, 0.0),
    (OROGRAPHY, "m**2 s**-2"): Conversion(1.0 / GRAVITY, 0.0),
}
"""Conversions of what the contract does not have."""

_RATE, _WATER, _FLUX = "kg m**-2 s**-1", "kg m**-2", "W m**-2"

# ECMWF's parameter database (https://codes.ecmwf.int/grib/param-db). Edition 2 gives the same variable another number
# for each statistical process, and centres other than ECMWF have numbers in tables of their own, which ecCodes maps.
# fmt: off
_NUMBERS: dict[int, Quantity] = {
    228228: Quantity("tp", _WATER),
    235055: Quantity("tp", _RATE), 260048: Quantity("tp", _RATE), 3059: Quantity("tp", _RATE),
    172228: Quantity("tp", "m s**-1"),
    228144: Quantity("sf", _WATER),
    235035: Quantity("ssrd", _FLUX), 260087: Quantity("ssrd", _FLUX),
    235036: Quantity("strd", _FLUX), 260097: Quantity("strd", _FLUX),
    235037: Quantity("ssr", _FLUX), 235038: Quantity("str", _FLUX),
    228141: Quantity("sd", _WATER), 260056: Quantity("sd", _WATER),
    228205: Quantity("ro", _WATER), 231002: Quantity("ro", _WATER),
    174008: Quantity("sro", _WATER), 231012: Quantity("ssro", _WATER),
    174096: Quantity("q", "kg kg**-1"), 260242: Quantity(_RELATIVE, "percent"),
    129: Quantity(OROGRAPHY, "m**2 s**-2"), 228002: Quantity(OROGRAPHY, "m"), 3008: Quantity(OROGRAPHY, "m"),
}
# fmt: on
_NUMBERS |= {
    row.number: Quantity(row.name, row.unit, row.sign)
    for row in PARAMETERS.values()
    if row.name in VARIABLES and row.kind != "static"
}

SOIL_NUMBERS, SOIL_UNIT = (260199, 260185), "m**3 m**-3"
"""Soil moisture of a layer that the level tells: of ECMWF (vsw) and NCEP (soilw, a proportion)."""

WEATHER_RECIPES: Mapping[str, tuple[Recipe, ...]] = {
    **RECIPES,
    "q": (
        *RECIPES["q"],
        Recipe((_RELATIVE, "t2m", "sp"), humidity_of_relative, "of relative humidity over water and surface pressure"),
    ),
}
"""Variable of the contract -> ways to it from parts, the best first."""


def quantity_of_number(number: int) -> Quantity | None:
    """Recognise a ``paramId``; None where it is no weather near the ground that soilcast knows."""
    return _NUMBERS.get(number)


def quantity_of_variable(name: str, attributes: Mapping[str, Any]) -> Quantity | None:
    """Recognise a variable of NetCDF by its GRIB number where it carries one, else by its name.

    The unit is that of ``units`` where the file says it, which is stronger than the number's: whoever converts values
    changes it.
    """
    unit = str(attributes.get("units", "")).strip()
    if "GRIB_paramId" in attributes:
        try:
            found = quantity_of_number(int(attributes["GRIB_paramId"]))
        except (TypeError, ValueError):
            return None
        if found is None:
            return None
        return Quantity(found.name, _plain(unit) or found.unit, found.sign)
    if name in ("r2", "2r"):
        return Quantity(_RELATIVE, _plain(unit))
    if name in ("z", "orog", "orography"):
        return Quantity(OROGRAPHY, _plain(unit))
    row = parameter_of(name, attributes)
    if row is None or row.kind == "static" or row.name not in VARIABLES:
        return None
    return Quantity(row.name, unit, row.sign)


def refuse_step_type(quantity: Quantity, step_type: str, where: str) -> None:
    """Refuse a unit that contradicts what a message says of its time.

    Raises
    ------
    SoilcastError
        Amounts at an instant or averaged, rates that are accumulated, states that are.
    """
    said = f"{where}: {quantity.name} in {quantity.unit} is"
    if quantity.is_amount and step_type != "accum":
        raise SoilcastError(
            f"{said} an amount, which the step type {step_type!r} contradicts: it cannot be told of which time; give "
            "the files as the centre writes them"
        )
    if not quantity.is_amount and step_type == "accum":
        raise SoilcastError(
            f"{said} no amount, which the step type 'accum' (accumulated) contradicts: give the files as the centre "
            "writes them"
        )


def _plain(unit: str) -> str:
    """A unit of what the contract does not have, as `_OUTSIDE` writes it."""
    return {"%": "percent", "m2 s-2": "m**2 s**-2", "m^2 s^-2": "m**2 s**-2", "gpm": "m"}.get(unit, unit)
