"""Units on entry: from whatever a file says to the contract's unit, by pint through cf-xarray."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from soilcast.cube.contract import SECONDS_PER_DAY, VARIABLES, WATER_DENSITY
from soilcast.errors import SoilcastError

if TYPE_CHECKING:
    import pint


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


def conversion_between(variable: str, unit: str, other: str, where: str) -> Conversion:
    """Find the conversion from one unit of a variable to another, both of which convert to the contract's.

    Parameters
    ----------
    variable
        Name in the contract.
    unit, other
        From and to.
    where
        File and variable, for the message.

    Raises
    ------
    SoilcastError
        One of the two is missing, unknown, or of another dimension than the contract's.
    """
    if unit == other:
        return Conversion(1.0, 0.0)
    mine, theirs = conversion(variable, unit, where), conversion(variable, other, where)
    return Conversion(mine.scale / theirs.scale, (mine.offset - theirs.offset) / theirs.scale)


def is_amount(variable: str, unit: str | None) -> bool:
    """Whether a unit is of an amount (m, kg m-2, J m-2), which counts as the total of a day, and not of a rate.

    Parameters
    ----------
    variable
        Name of a flux in the contract.
    unit
        As the file writes it; None is an amount, since stores that are silent hold ECMWF's.
    """
    if unit is None:
        return True
    source = _parsed(unit.strip(), VARIABLES[variable].units)
    if source is None:
        return False
    goal = _registry().Quantity(1.0, VARIABLES[variable].units)
    per_day, _, depth_per_day = _usages()["m d-1"]
    return any(goal.is_compatible_with(source * one) for one in (per_day, depth_per_day))


_SPELLINGS = {
    "(0 - 1)": "1",
    "0-1": "1",
    "0 - 1": "1",
    "fraction": "1",
    "unitless": "1",
    "dimensionless": "1",
    "-": "1",
    "mb": "mbar",
    "%": "percent",
    "vol%": "percent",
    "vol.%": "percent",
    "vol %": "percent",
    "vol. %": "percent",
    "% vol": "percent",
    "volumetric %": "percent",
    "% by volume": "percent",
    "percent by volume": "percent",
    "volume percent": "percent",
}
"""Whole texts that pint reads otherwise, or not at all."""

_SPELLINGS_OF = {"K": {"C": "degC"}}
"""Texts that are certain for one unit of the contract alone: elsewhere C is the coulomb."""

# Signs that a word processor or a PDF puts for a minus and for a product, and blanks that are none.
_CHARACTERS = str.maketrans({"−": "-", "–": "-", "‐": "-", "‑": "-", "·": " ", "⋅": " ", "\N{NO-BREAK SPACE}": " "})
# Which water a depth is of: mm H2O, m of water equivalent per day.
_OF_WATER = re.compile(r"(?<=m)\s*(of\s+water(\s+equivalent)?|H2O|w\.?\s?e\.?|SWE)(?=$|[\s/])")
_DEGREES = re.compile(r"(?:°|º|o|deg(?:ree)?s?)[_ .]*(c|k|f)(?:elsius|elvin|ahrenheit)?|℃", re.IGNORECASE)
_TITLE = re.compile(r"\b[A-Z][a-z]{3,}\b")  # Watts, Joules, Kelvin
_BRACKETS = re.compile(r"\[([^][]*)\]|\(([A-Za-z][^()]*)\)")
# UDUNITS multiplies by a full stop: kg.m-2.s-1
_STOP = re.compile(r"(?<=[A-Za-z0-9])\.(?=[A-Za-z])")


@cache
def _registry() -> pint.UnitRegistry[float]:
    """Units as pint and UDUNITS know them; with what pint brings along it takes a second to import."""
    from cf_xarray.units import units

    return units


@cache
def _usages() -> dict[str, tuple[Any, ...]]:
    """The contract's unit -> what a file's unit may be multiplied with to reach it, beside plain arithmetic."""
    day, density = _registry().Quantity(SECONDS_PER_DAY, "s"), _registry().Quantity(WATER_DENSITY, "kg m-3")
    return {
        "m d-1": (1.0 / day, 1.0 / density, 1.0 / (density * day)),
        "m": (1.0 / density,),
        "m3 m-3": (1.0 / density,),
        "W m-2": (1.0 / day,),
    }


# A unit comes from a stranger's file, and pint computes with it: 9**9**9**9 would never end. Powers of anything
# but a name are refused, and so is what no unit is as long as.
_LONGEST_UNIT = 80
_SUPERSCRIPT = "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"
_HOSTILE = re.compile(rf"[^A-Za-z%°\s{_SUPERSCRIPT}]\s*(\*\*|\^|[{_SUPERSCRIPT}])|\)\s*[\d-]|squared|cubed")


@cache
def _conversion(unit: str, target: str) -> Conversion | None:
    source = _parsed(unit, target)
    try:
        return None if source is None else _between(source, target)
    except OverflowError:  # such as P103, poise to the power of 103
        return None


def _parsed(unit: str, target: str) -> pint.Unit | None:
    """A unit in pint's terms; None where it is none, or may not be computed with."""
    if len(unit) > _LONGEST_UNIT:
        return None
    unit = _plain(unit)
    unit = _SPELLINGS_OF.get(target, {}).get(unit, unit)
    if _HOSTILE.search(unit):
        return None
    try:
        return _registry().Unit(unit)
    except Exception:  # pint parses with Python's own tokenizer: a hostile text may raise nearly anything
        return None


def _plain(unit: str) -> str:
    """A unit as pint reads it, whatever characters, brackets and words people write around it."""
    unit = _SPELLINGS.get(unit, unit).translate(_CHARACTERS)
    if inside := _BRACKETS.fullmatch(unit):
        unit = (inside[1] or inside[2] or "").strip()
    unit = _STOP.sub(" ", _OF_WATER.sub("", unit))
    if degrees := _DEGREES.fullmatch(unit):
        return {"c": "degC", "k": "K", "f": "degF"}[(degrees[1] or "c").lower()]
    unit = _TITLE.sub(lambda word: word[0].lower(), unit)
    return _SPELLINGS.get(unit, unit)


def _between(source: pint.Unit, target: str) -> Conversion | None:
    import pint

    registry = _registry()
    goal = registry.Unit(target)
    # Pint counts angles as plain numbers; degrees are no slope, and "degrees X" is no temperature.
    if "radian" in str(registry.get_base_units(source)[1]):
        return None
    if source.is_compatible_with(goal):
        offset = registry.Quantity(0.0, source).to(goal).magnitude
        one = registry.Quantity(1.0, source).to(goal).magnitude
        return Conversion(float(one - offset), float(offset))
    for factor in _usages().get(target, ()):
        with suppress(pint.errors.PintError):
            return Conversion(float((registry.Quantity(1.0, source) * factor).to(goal).magnitude), 0.0)
    return None
