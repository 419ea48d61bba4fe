"""The fields of forecasts in GRIB: parameter, unit and time told from the numbers of each message, never from names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soilcast.errors import SoilcastError
from soilcast.sources.grib import Message, axes_of_message, decode, grid_key, index_messages, is_regular, moment_of
from soilcast.sources.netcdf import naming_damage
from soilcast.weather.layers import LAYERS, layer_between
from soilcast.weather.quantities import SOIL_NUMBERS, SOIL_UNIT, Quantity, quantity_of_number, refuse_step_type
from soilcast.weather.step_fields import Axes, Doubles, StepField

_FURTHER = {
    "dataDate": int,
    "dataTime": int,
    "startStep": int,
    "endStep": int,
    "stepUnits": int,
    "dataType": str,
    "stream": str,
    "model": str,
    "productDefinitionTemplateNumber": int,
    "packingType": str,
    "bitsPerValue": int,
    "binaryScaleFactor": int,
    "decimalScaleFactor": int,
}
_LEVELS = {
    "typeOfLevel": str,
    "level": int,
    "scaledValueOfFirstFixedSurface": int,
    "scaleFactorOfFirstFixedSurface": int,
    "scaledValueOfSecondFixedSurface": int,
    "scaleFactorOfSecondFixedSurface": int,
}
"""Told of soil moisture alone: ecCodes looks levels up anew for each message."""
_HOURS = {0: 1 / 60, 1: 1.0, 2: 24.0, 10: 3.0, 11: 6.0, 12: 12.0, 13: 1 / 3600}
"""Code table 4.4: unit of a step -> hours."""

_LONGEST = 100_000
"""Longest step that is believed: eleven years [h]."""

_TEMPLATES = (0, 1, 8, 11, 60, 61)
"""Code table 4.0: one forecast or one member, at an instant or over a time; the others are probabilities, percentiles,
means and spreads of ensembles."""

_FORECASTS = ("fc", "cf", "pf", "an")
"""Types of fields in edition 1 that are one forecast; others are means, spreads and probabilities."""

_OF_MEMBERS = (1, 11, 60, 61)
"""Those of one member."""

_ENSEMBLES = ("enfo", "enfh", "eefo", "eehs", "elda", "mmsf", "mmsa")
"""Streams of ECMWF's archive whose fields are members (`number`), also where their type is fc."""

_STEP_TYPES = ("instant", "accum", "avg")


def grib_fields(path: Path, parts: Set[str], units: dict[str, str]) -> tuple[list[StepField], list[str]]:
    """Index the fields of a GRIB file of either edition that are of some parts; values are decoded when read.

    Parameters
    ----------
    path
        The file.
    parts
        Names of `soilcast.weather.quantities.Quantity` that are wanted.
    units
        Part -> unit, stronger than that of its number.

    Returns
    -------
    The fields in the order of the file, and what is to be said of those that are left out.

    Raises
    ------
    SoilcastError
        The extra is missing, the file is damaged, its grid is not regular, steps are no whole hours, a unit contradicts
        the step type.
    """
    axes: dict[tuple[Any, ...], Axes] = {}
    fields: list[StepField] = []
    skipped: Counter[str] = Counter()

    has_soil = not parts.isdisjoint(LAYERS)
    keys = _FURTHER | _LEVELS if has_soil else _FURTHER

    def is_wanted(number: int) -> bool:
        quantity = quantity_of_number(number)
        return (quantity is not None and quantity.name in parts) or (has_soil and number in SOIL_NUMBERS)

    for message in index_messages(path, keys, is_wanted):
        quantity = (
            _soil_moisture(message) if message["paramId"] in SOIL_NUMBERS else quantity_of_number(message["paramId"])
        )
        if quantity is None or quantity.name not in parts:
            continue
        quantity = Quantity(quantity.name, units.get(quantity.name, quantity.unit), quantity.sign)
        if reason := _why_skipped(message):
            skipped[f"{quantity.name} ({reason})"] += 1
            continue
        where = f"{path}: message at byte {message['offset']}"
        if not is_regular(message):
            raise SoilcastError(
                f"{path}: the grid of {quantity.name} is {message['gridType']}: convert it to a regular "
                "latitude-longitude grid"
            )
        run, start, end = _times(message, where)
        if quantity.is_flux and end == run and message["stepType"] != "instant":
            continue  # what has fallen before the start is nothing
        start = _start_of(quantity, message, run, start, end, where)
        if quantity.is_amount and start == end:
            continue
        key = grid_key(message)
        if key not in axes:
            axes[key] = Axes(*axes_of_message(message, path))
        fields.append(
            StepField(
                quantity=quantity,
                run=run,
                member=_member(message),
                start=start,
                end=end,
                axes=axes[key],
                read=_Message(path, message),
                rounding=_rounding(message),
                where=str(path),
                origin=_origin(message),
            )
        )
    return fields, [f"{path}: {count} field(s) of {what} are not read" for what, count in sorted(skipped.items())]


@dataclass(frozen=True, eq=False)
class _Message:
    """Decodes a message when it is asked for."""

    path: Path
    message: Message

    def __call__(self) -> Doubles:
        with naming_damage(self.path, "GRIB"), self.path.open("rb") as stream:
            return decode(stream, self.message)


def _soil_moisture(message: Message) -> Quantity | None:
    """Soil moisture of the layer that the level of a message tells; None where that is none of the contract."""
    if message["typeOfLevel"] == "soilLayer":  # of ECMWF: layers are counted from the top
        name = f"swvl{message['level']}"
        return Quantity(name, SOIL_UNIT) if name in LAYERS else None
    if message["typeOfLevel"] != "depthBelowLandLayer":
        return None
    upper, lower = (
        message[f"scaledValueOf{which}FixedSurface"] * 10.0 ** -message[f"scaleFactorOf{which}FixedSurface"]
        for which in ("First", "Second")
    )
    found = layer_between(upper, lower)
    return None if found is None else Quantity(found, SOIL_UNIT)


def _why_skipped(message: Message) -> str:
    if message["stepType"] not in _STEP_TYPES:
        return f"step type {message['stepType']}"
    if message["editionNumber"] == 2 and message["productDefinitionTemplateNumber"] not in _TEMPLATES:
        return "mean, spread, probability or percentile of an ensemble"
    if message["editionNumber"] == 1 and message["dataType"] not in _FORECASTS:
        return f"type {message['dataType']}"
    return ""


def _times(message: Message, where: str) -> tuple[int, int, int]:
    """Start of the forecast, and start and end of what the field is of, hours since 1970-01-01."""
    try:
        run, end = (
            moment_of(message[f"{what}Date"], message[f"{what}Time"]).astype("datetime64[m]").astype(np.int64) / 60
            for what in ("data", "validity")
        )
    except ValueError as error:
        raise SoilcastError(f"{where}: its dates are none ({error}): it is damaged; download it again") from error
    each = _HOURS.get(message["stepUnits"])
    if each is None:
        raise SoilcastError(f"{where}: steps in an unknown unit of time ({message['stepUnits']}): it is damaged")
    start = end - (message["endStep"] - message["startStep"]) * each
    hours = run, start, end
    if any(hour != round(hour) for hour in hours) or not run <= start <= end <= run + _LONGEST:
        raise SoilcastError(
            f"{where}: its step {message['startStep']} .. {message['endStep']} is no time of whole hours after the "
            "start of the forecast: give hourly or longer steps"
        )
    return int(run), int(start), int(end)


def _start_of(quantity: Quantity, message: Message, run: int, start: int, end: int, where: str) -> int:
    """Start of the time that a field is of."""
    step_type = message["stepType"]
    # ECMWF's archive writes the end of the step alone in edition 1: amounts are then since the start of the forecast.
    if message["editionNumber"] == 1 and quantity.is_amount and start == end:
        return run
    refuse_step_type(quantity, step_type, where)
    if step_type != "instant" and start == end:
        raise SoilcastError(
            f"{where}: {quantity.name} has the step type {step_type!r} and a step of no length ({message['endStep']}): "
            "it cannot be told of which time it is; give the files as the centre writes them"
        )
    return end if step_type == "instant" else start


def _member(message: Message) -> int | None:
    """Number of the member; None for a forecast that is none."""
    if message["editionNumber"] == 2:
        is_member = message["productDefinitionTemplateNumber"] in _OF_MEMBERS
    else:
        is_member = message["stream"] in _ENSEMBLES or message["dataType"] in ("cf", "pf")
    return int(message["number"]) if is_member or message["number"] else None


def _rounding(message: Message) -> float:
    """Step in which simple, complex, JPEG 2000, PNG and CCSDS packing round the values; IEEE does not."""
    if "ieee" in message["packingType"] or not message["bitsPerValue"]:
        return 0.0
    with np.errstate(all="ignore"):  # a damaged message may hold any numbers
        step = np.float64(2.0) ** message["binaryScaleFactor"] * np.float64(10.0) ** -message["decimalScaleFactor"]
    return float(step) if np.isfinite(step) else 0.0


def _origin(message: Message) -> str:
    return " ".join(filter(None, (message["centre"], message["model"], message["stream"], message["dataType"])))
