"""Units on entry: from whatever a file says to the contract's unit, by pint through cf-xarray."""

from __future__ import annotations

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
            f"{where}: no unit is given for {variable}; expected one that converts to {target}: "
            f"add a units attribute to the file or state the unit (--unit {variable}=UNIT)"
        )
    found = _conversion(unit.strip(), target)
    if found is None:
        raise SoilcastError(
            f"{where}: unit {unit!r} of {variable} does not convert to {target}: "
            f"correct the units attribute or state the unit (--unit {variable}=UNIT)"
        )
    return found


_SPELLINGS = {"m of water equivalent": "m", "mm of water equivalent": "mm", "(0 - 1)": "1", "fraction": "1", "-": "1"}


@cache
def _conversion(unit: str, target: str) -> Conversion | None:
    unit = _SPELLINGS.get(unit, unit)
    try:
        source = registry.Unit(unit)
        goal = registry.Unit(target)
    except (pint.errors.PintError, AssertionError, ValueError, AttributeError, TypeError):
        return None
    day = registry.Quantity(SECONDS_PER_DAY, "s")
    density = registry.Quantity(WATER_DENSITY, "kg m-3")
    for factor in (1.0, 1.0 / day, 1.0 / density, 1.0 / (density * day)):
        try:
            if source.is_compatible_with(goal):
                offset = registry.Quantity(0.0, source).to(goal).magnitude
                one = registry.Quantity(1.0, source).to(goal).magnitude
                return Conversion(float(one - offset), float(offset))
            scale = (registry.Quantity(1.0, source) * factor).to(goal).magnitude
            return Conversion(float(scale), 0.0)
        except (pint.errors.PintError, AttributeError):
            continue
    return None
