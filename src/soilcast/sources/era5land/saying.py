"""What is to be said of a cube made of ERA5's files: where each variable came from, and what is missing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from soilcast.sources.era5land.daily import DailyValues
from soilcast.sources.era5land.recognising import NOT_USED, Field, Unread
from soilcast.sources.era5land.record import Record
from soilcast.sources.netcdf import unread_notes

_NAMED_DAYS = 5


def product_of(fields: Sequence[Field]) -> str:
    """Name the product by its grid, which is 0.1 degrees for ERA5-Land and 0.25 for ERA5."""
    known = {0.1: "ERA5-Land", 0.25: "ERA5"}
    return next((name for size, name in known.items() if abs(fields[0].spacing - size) < 1e-3), "ERA5 or ERA5-Land")


def title_of(fields: Sequence[Field], grid: str, days: range) -> str:
    """Title of a cube: product, grid in words, days."""
    first, last = (np.datetime64(day, "D") for day in (days[0], days[-1]))
    return f"{product_of(fields)}, {grid}, {first} .. {last}"


def origin_of(values: DailyValues, units: Mapping[str, str], flip_sign: Collection[str]) -> str:
    """Say of which files a variable is made, how its stamps count, in which unit and sign it came."""
    notes = [values.counting.said]
    notes += [values.recipe.said] if values.recipe.said else []
    for record in values.records:
        name = record.parameter.name
        written = units.get(name, record.fields[0].unit)
        notes.append(f"{name} in {written}{' as stated' if name in units else ''}")
        if record.parameter.sign < 0:
            notes.append(
                "upward positive in the file, as stated" if name in flip_sign else "downward positive in the file"
            )
    names = [Path(field.file.path).name for field in values.records[0].fields]
    files = names[0] if len(set(names)) == 1 else f"{names[0]} .. {names[-1]} ({len(names)} files)"
    return f"{files}: {'; '.join(notes)}"


def notes_on(made: Mapping[str, DailyValues], records: Mapping[str, Record], unread: Sequence[Unread]) -> list[str]:
    """Say which days are missing and why, which times are preliminary, and what could not be read."""
    notes = []
    missing: dict[str, list[str]] = {}
    for name, values in made.items():
        days = values.missing_days()
        if days:
            named = [f"{np.datetime64(day, 'D')} (no {hours})" for day, hours in list(days.items())[:_NAMED_DAYS]]
            more = f", and {len(days) - len(named)} more" if len(days) > len(named) else ""
            missing.setdefault(f"{count(len(days), 'missing day')}: {', '.join(named)}{more}", []).append(name)
    notes += [f"{', '.join(names)}: {said}" for said, names in missing.items()]
    preliminary = {name: sum(field.preliminary for field in record.fields) for name, record in records.items()}
    if any(preliminary.values()):
        most = max(preliminary.values())
        notes.append(f"up to {most} time stamps are preliminary data (ERA5T), which will be replaced")
    reasons: dict[str, list[str]] = {}
    for one in unread:
        reasons.setdefault(one.why, []).append(one.stored)
    notes += unread_notes(reasons.pop(NOT_USED, []))
    notes += [f"{note} ({why})" for why, names in reasons.items() for note in unread_notes(names)]
    return notes


def count(number: int, what: str) -> str:
    """Write a number and what it counts."""
    return f"{number} {what}{'' if number == 1 else 's'}"
