"""Which day the value of a time stamp covers, and what a file says that a value is of that day: by CF and by GRIB."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import VARIABLES, is_amount
from soilcast.errors import SoilcastError

_DAY, _MINUTE = np.timedelta64(1, "D"), np.timedelta64(1, "m")
_MOST_OF_A_DAY = np.timedelta64(18, "h")
"""From the first to the last of values that come every 6 hours: bounds that programs write who take stamps for ends."""

_AT_END = re.compile(r"\bend(ing)? (of|time)\b|\binterval end\b", re.IGNORECASE)
_METHOD = re.compile(r"\b(?:time|t|valid_time)\s*:\s*(mean|sum|point|maximum|minimum)\b", re.IGNORECASE)
_PER_DAY = re.compile(r"\bd(ays?)?\b|(?<=[^A-Za-z])d(ay)?(\*\*|\^)?-1")
_EXTREMES = {"mx2t": "maximum", "mn2t": "minimum"}


def covered_days(dataset: xr.Dataset, time: str, where: str) -> npt.NDArray[Any]:
    """Find the day that the value of each stamp covers.

    Bounds of the time axis decide; without them a stamp stands for the day that it lies in, or for the one that it
    ends where the file says so.

    Parameters
    ----------
    dataset
        An opened file.
    time
        Name of its time coordinate, ``(time,)``.
    where
        The file, for messages.

    Returns
    -------
    The days at midnight ``(time,)``, datetime64, in the order of the file; as they are where they are no dates, which
    `soilcast.cube.daily_axis` tells.

    Raises
    ------
    SoilcastError
        The bounds are not those of days of UTC, or do not hold their stamps; it is a climatology.
    """
    times = dataset[time].variable
    stamps: npt.NDArray[Any] = np.atleast_1d(times.to_numpy())
    described = {**times.encoding, **times.attrs}
    if "climatology" in described:
        raise SoilcastError(
            f"{where}: {time} is climatological (attribute climatology), means over many years: give daily values"
        )
    if stamps.dtype.kind != "M":
        return stamps
    if (bounds := _bounds(dataset, time)) is not None:
        return _enclosed(stamps, bounds, f"{where}: {described['bounds']}")
    text = " ".join(str(described.get(key, "")) for key in ("long_name", "description", "comment"))
    if _AT_END.search(text):
        return np.asarray((stamps - np.timedelta64(1, "s")).astype("datetime64[D]"))
    return stamps


def has_long_bounds(dataset: xr.Dataset, time: str) -> bool:
    """Whether bounds of the time axis enclose days or more, and not the hours of hourly values."""
    bounds = _bounds(dataset, time)
    return bounds is not None and bool(np.median(np.ptp(bounds, axis=1)) >= _MOST_OF_A_DAY)


def _bounds(dataset: xr.Dataset, time: str) -> npt.NDArray[Any] | None:
    """Begin and end of each interval ``(time, 2)``; None where there are none, or their variable is lost."""
    times = dataset[time].variable
    bounds = dataset.variables.get(str({**times.encoding, **times.attrs}.get("bounds", "")))
    if bounds is None or bounds.dtype.kind != "M" or bounds.shape != (times.size, 2):
        return None
    return np.asarray(bounds.to_numpy())


def _enclosed(stamps: npt.NDArray[Any], bounds: npt.NDArray[Any], where: str) -> npt.NDArray[Any]:
    """Days that bounds enclose."""
    begin, end = bounds.min(axis=1), bounds.max(axis=1)
    if np.isnat(bounds).any():
        raise SoilcastError(f"{where}: {int(np.isnat(bounds).any(axis=1).sum())} interval(s) have no dates: add them")
    length = end - begin
    days: npt.NDArray[Any] = begin.astype("datetime64[D]")
    wrong = (end > days + _DAY + _MINUTE) | (length < _MOST_OF_A_DAY)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise SoilcastError(
            f"{where}: the interval {_named(begin[first])} .. {_named(end[first])} spans {_length(length[first])}, but "
            "daily values are expected, of days from 00 to 00 UTC: aggregate to these"
        )
    outside = (stamps < begin - _MINUTE) | (stamps > end + _MINUTE)
    if outside.any():
        first = int(np.argmax(outside))
        raise SoilcastError(
            f"{where}: the interval {_named(begin[first])} .. {_named(end[first])} does not hold its time stamp "
            f"{_named(stamps[first])}: correct the bounds, or remove them"
        )
    return days


def _named(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[m]"))


def _length(length: np.timedelta64) -> str:
    hours = float(length / np.timedelta64(1, "h"))
    if hours <= 24:
        return f"{hours:g} hours"
    days = hours / 24
    return f"{days:g} days{' (a month)' if 28 <= days <= 31 else ''}"


def method_of(attributes: Mapping[str, Any]) -> str:
    """What a value is of its time, by ``cell_methods``: mean, sum, point, maximum, minimum; empty if it is not said."""
    found = _METHOD.findall(str(attributes.get("cell_methods", "")))
    return found[-1].lower() if found else ""


def refuse_contradictions(name: str, attributes: Mapping[str, Any], unit: str | None, where: str) -> None:
    """Refuse one value a day that cannot be a daily value of the variable, by what the file says of it.

    Parameters
    ----------
    name
        Name in the contract.
    attributes
        Of the variable in the file.
    unit
        As the file writes it; None where the user states another, which is taken at its word.
    where
        File and variable, for messages.

    Raises
    ------
    SoilcastError
        An accumulation up to the stamp that nothing says was made a daily total; an instant, a mean or a sum where it
        can be none.
    """
    row, method = VARIABLES[name], method_of(attributes)
    seen = f"cell_methods {attributes.get('cell_methods')!r}"
    is_flux = row.cell_methods == "time: mean"  # of water or radiation
    if method in ("maximum", "minimum") and _EXTREMES.get(name) != method:
        wanted = "daily total or mean" if is_flux else "daily mean"
        raise SoilcastError(f"{where}: {name} is the {method} of the day ({seen}): give the {wanted}")
    if not is_flux:
        return
    if attributes.get("GRIB_stepType") == "accum" and method != "sum":
        raise SoilcastError(f"{where}: {name} {ONE_A_DAY}, then set its attribute cell_methods to 'time: sum'")
    if method == "point":
        raise SoilcastError(
            f"{where}: {name} is instantaneous ({seen}), but the total or mean of a day is expected: aggregate all "
            "hours of the day"
        )
    if unit is None:
        return
    if method == "mean" and is_amount(name, unit):
        raise SoilcastError(
            f"{where}: {name} is a mean ({seen}) of amounts ({unit}), of which the time is not known: specify the unit "
            f"(--unit {name}='{unit} d-1' of the day, '{unit} h-1' of an hour)"
        )
    if method == "sum" and not is_amount(name, unit) and not _PER_DAY.search(unit):
        raise SoilcastError(
            f"{where}: {name} is a sum ({seen}) of rates ({unit}): specify the unit of the values (--unit {name}=UNIT)"
        )


def sign_of(name: str, attributes: Mapping[str, Any]) -> float | None:
    """Sign by which evaporation of a file becomes upward positive, by its attributes; None where they do not say.

    Parameters
    ----------
    name
        Name in the contract.
    attributes
        Of the variable in the file: ``positive``, ``standard_name``, or words in ``long_name``.
    """
    if name not in ("e", "pev"):
        return None
    written = str(attributes.get("positive", "")).strip().lower()
    if written in _POSITIVE:
        return _POSITIVE[written]
    if str(attributes.get("standard_name", "")) in _UPWARD_NAMES[name]:
        return 1.0
    words = _DIRECTION.findall(
        " ".join(str(attributes.get(key, "")) for key in ("long_name", "description", "comment"))
    )
    directions = {_POSITIVE[(before or after).lower()] for before, after in words}
    return directions.pop() if len(directions) == 1 else None


_POSITIVE = {"up": 1.0, "upward": 1.0, "upwards": 1.0, "down": -1.0, "downward": -1.0, "downwards": -1.0}
_DIRECTION = re.compile(
    r"\bpositive[\s:=]+((?:up|down)(?:wards?)?)\b|\b((?:up|down)(?:wards?)?)[\s:=]+(?:is\s+)?positive\b", re.IGNORECASE
)
_UPWARD_NAMES = {
    "e": ("lwe_water_evaporation_rate", "water_evapotranspiration_flux", "water_evaporation_flux"),
    "pev": ("water_potential_evaporation_flux",),
}
"""Standard names of CF under which evaporation is positive upward."""

ONE_A_DAY = (
    "is accumulated up to its time stamp (GRIB_stepType accum) with one stamp a day: it cannot be told whether it was "
    "summed, averaged or picked; aggregate the hours again: amounts since midnight by their value at 00 UTC of the "
    "next day, those since the start of a forecast by differences of successive days, those of an hour by their sum"
)
"""What is wrong with accumulations of which one value a day is left, and what to do."""
