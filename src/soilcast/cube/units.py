"""Units on entry: from whatever a file says to the contract's unit, by pint through cf-xarray."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import pint
from cf_xarray.units import units as registry

from soilcast.cube.contract import SECONDS_PER_DAY, VARIABLES, WATER_DENSITY
from soilcast.errors import SoilcastError


@dataclass(frozen=True)
class Conversion:
    """``value * scale + offset`` takes a value from a file's unit to the contract's unit."""

    scale: float
    offset: float

    def __call__(self, values: Any) -> Any:
        """Convert an array of any kind (NumPy, dask, xarray); the kind, the shape and the dtype stay."""
        if self.scale == 1.0 and self.offset == 0.0:
            return values
        return values * self.scale + self.offset


def conversion(variable: str, unit: str | None, where: str) -> Conversion:
    """Find the conversion from a file's unit to the contract's.

    Beside plain unit arithmetic, three usages of the field are understood: a daily total of water given as a depth
    (``mm`` for ``m d-1``), water given as mass per area (``kg m-2``, ``kg m-2 s-1``; 1000 kg m-3), and a daily total
    of radiation given as energy per area (``J m-2`` for ``W m-2``).

    Parameters
    ----------
    variable
        Name in the contract.
    unit
        The unit as the file writes it; None or empty where the file is silent.
    where
        File and variable, for the message.

    Raises
    ------
    SoilcastError
        The unit is missing, unknown, or of another dimension than the contract's.
    """
    target = VARIABLES[variable].units
    if unit is None or not unit.strip():
        raise SoilcastError(
            f"{where}: no unit for {variable}; expected one that converts to {target}: add a units attribute to the "
            f"file or specify the unit (--unit {variable}=UNIT)"
        )
    found = _conversion(unit.strip(), target)
    if found is None:
        raise SoilcastError(
            f"{where}: unit {unit!r} of {variable} does not convert to {target}: correct the units attribute or "
            f"specify the unit (--unit {variable}=UNIT)"
        )
    return found


_SPELLINGS = {
    "m of water equivalent": "m",
    "mm of water equivalent": "mm",
    "(0 - 1)": "1",
    "fraction": "1",
    "-": "1",
    "Kelvin": "K",
    "degrees C": "degC",
    "Pascals": "Pa",
    "mb": "mbar",
}

_DAY = registry.Quantity(SECONDS_PER_DAY, "s")
_DENSITY = registry.Quantity(WATER_DENSITY, "kg m-3")
_USAGES: dict[str, tuple[Any, ...]] = {
    "m d-1": (1.0 / _DAY, 1.0 / _DENSITY, 1.0 / (_DENSITY * _DAY)),
    "m": (1.0 / _DENSITY,),
    "m3 m-3": (1.0 / _DENSITY,),
    "W m-2": (1.0 / _DAY,),
}
"""The contract's unit -> what a file's unit may be multiplied with to reach it, beside plain arithmetic."""

# A unit comes from a stranger's file, and pint computes with it: 9**9**9**9 would never end. Powers of anything
# but a name are refused, and so is what no unit is as long as.
_LONGEST_UNIT = 80
_SUPERSCRIPT = "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"
_HOSTILE = re.compile(rf"[^A-Za-z%°\s{_SUPERSCRIPT}]\s*(\*\*|\^|[{_SUPERSCRIPT}])|\)\s*[\d-]|squared|cubed")


@cache
def _conversion(unit: str, target: str) -> Conversion | None:
    unit = _SPELLINGS.get(unit, unit)
    if len(unit) > _LONGEST_UNIT or _HOSTILE.search(unit):
        return None
    try:
        source = registry.Unit(unit)
    except Exception:  # pint parses with Python's own tokenizer: a hostile text may raise nearly anything
        return None
    try:
        return _between(source, target)
    except OverflowError:  # such as P103, poise to the power of 103
        return None


def _between(source: pint.Unit, target: str) -> Conversion | None:
    goal = registry.Unit(target)
    # Pint counts angles as plain numbers; degrees are no slope, and "degrees X" is no temperature.
    if "radian" in str(registry.get_base_units(source)[1]):
        return None
    if source.is_compatible_with(goal):
        offset = registry.Quantity(0.0, source).to(goal).magnitude
        one = registry.Quantity(1.0, source).to(goal).magnitude
        return Conversion(float(one - offset), float(offset))
    for factor in _USAGES.get(target, ()):
        with suppress(pint.errors.PintError):
            return Conversion(float((registry.Quantity(1.0, source) * factor).to(goal).magnitude), 0.0)
    return None
