"""What would become of files of ERA5 together, and whether the water balance proves it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import xarray as xr

from soilcast.cube import PAPER_DYNAMIC, PAPER_STATIC, VARIABLES
from soilcast.doctoring.era5 import scan_readable
from soilcast.doctoring.findings import Together
from soilcast.errors import SoilcastError
from soilcast.sources.era5land.assembling import (
    constants,
    conversion_of,
    cube_of,
    daily_variables,
    days_axis,
)
from soilcast.sources.era5land.counting import STORES, Counting, States, count_days
from soilcast.sources.era5land.daily import DailyValues
from soilcast.sources.era5land.laying import lay_out
from soilcast.sources.era5land.recognising import Field
from soilcast.sources.era5land.record import DAY, Record, make_record, whole_grid
from soilcast.sources.era5land.saying import notes_on, origin_of, title_of
from soilcast.training.config import PRESETS, Config
from soilcast.water import refuse_missing
from soilcast.water.config import WaterConfig

TARGET = "swvl1"

MOST_DAYS = 400
"""Days that are read for the proof: a year and some, since snow and dry seasons come once a year."""

MOST_CELLS = 100_000
"""Cells that are judged, evenly taken; of a finer globe the others are like their neighbours."""

_TRIED_DAYS = 5


@dataclass(frozen=True)
class Made:
    """What was made of the files.

    Parameters
    ----------
    together
        What is to be said.
    cube
        Lazy, of the days that the proof reads, states at the end of the day where hours are there; None if there is
        nothing.
    """

    together: Together
    cube: xr.Dataset | None = None


def examine_together(paths: Sequence[str], units: Mapping[str, str], flip_sign: Sequence[str]) -> Made | None:
    """Put all fields of ERA5 in some files together as preparing would, collecting what is wrong instead of stopping.

    Parameters
    ----------
    paths
        Files that hold fields of ERA5.
    units, flip_sign
        As `soilcast.sources.era5land.era5land` takes them.

    Returns
    -------
    None where there is no field in time.
    """
    fields, unread, faults = scan_readable(paths)
    records = _records(fields, faults)
    if not records:
        return Made(Together(faults=tuple(faults))) if faults else None
    prepared = _countings(records, units, faults, at_end=False)
    # What is left of accumulations once a day is refused; what the balance says of it is heard nevertheless.
    left = {name: record for name, record in records.items() if name not in prepared and record.step == DAY}
    for name, record in left.items():
        with suppress(SoilcastError):
            prepared |= count_days({name: record}, stamp="day", units=units)
    records = {name: records[name] for name in prepared}
    if not records:
        return Made(Together(faults=tuple(faults)))
    stores = {name: record for name, record in records.items() if name in STORES}
    proven = prepared | _countings(stores, units, [], at_end=True)
    lead = records.get(TARGET) or next(iter(records.values()))
    if TARGET not in records:
        faults.append(f"{lead.where}: no swvl1, which every cube needs: add the files that hold it")
    try:
        layout = lay_out(fields, lead, resolution=None, is_local=False)
        days = days_axis(lead, prepared[lead.parameter.name], None, is_local=False)
        made = daily_variables(records, prepared, layout, days, units, flip_sign)
        fixed, _ = constants(fields, layout)
    except SoilcastError as error:
        return Made(Together(faults=(*faults, str(error))))
    title = title_of(fields, layout.said, days)
    sound = _within_bounds(made, flip_sign, faults)
    origins = {name: origin_of(one, units, flip_sign) for name, one in made.items()}
    whole = cube_of(made, fixed, layout, days, title=title, content="", origins=origins)
    together = Together(
        title=title if TARGET in made else "",
        cells=len(layout.cells.index),
        days=len(days),
        conversions=origins,
        notes=(*layout.notes, *notes_on(made, records, unread)),
        lacking=_lacking(whole) if TARGET in made else {},
        faults=tuple(faults),
    )
    days = days[:MOST_DAYS]
    again = daily_variables(records, proven, layout, days, units, flip_sign)
    cube = cube_of(
        {name: one for name, one in again.items() if name in sound},
        fixed,
        layout,
        days,
        title=title,
        content="",
        origins={},
    )
    step = -(-cube.sizes["cell"] // MOST_CELLS)
    return Made(together, cube.isel(cell=slice(None, None, step)) if step > 1 else cube)


def _records(fields: Sequence[Field], faults: list[str]) -> dict[str, Record]:
    """Records of the parameters; one whose files contradict each other is a fault and takes no other along."""
    timed = [field for field in fields if field.parameter.kind != "static"]
    if not timed:
        return {}
    lead = next((field for field in timed if field.parameter.name == TARGET), timed[0])
    grid = whole_grid([lead])
    records: dict[str, Record] = {}
    told: dict[str, list[str]] = {}
    for name in dict.fromkeys(field.parameter.name for field in timed):
        own = [field for field in timed if field.parameter.name == name]
        try:
            records[name] = make_record(own, grid, str(lead.file))
        except SoilcastError as error:
            told.setdefault(str(error).replace(f" {name} ", " {} "), []).append(name)
    faults += [said.replace("{}", ", ".join(names)) for said, names in told.items()]
    return records


def _countings(
    records: Mapping[str, Record], units: Mapping[str, str], faults: list[str], *, at_end: bool
) -> dict[str, Counting]:
    """How the stamps count; a parameter of which that cannot be told is a fault and takes no other along."""
    found: dict[str, Counting] = {}
    unsure: dict[str, Record] = {}
    for name, record in records.items():
        # Soil water that is there at 00 UTC alone makes no mean of the day, but its end.
        ways: tuple[States, ...] = ("end", "mean") if at_end and record.step < DAY else ("mean", "end")
        for states in ways if name in STORES else ("mean",):
            with suppress(SoilcastError):
                found |= count_days({name: record}, states=states, units=units)
                break
        else:
            unsure[name] = record
    told = {name: records[name] for name, one in found.items() if one.accumulation is not None}
    for name, record in unsure.items():
        with _collecting(faults):
            found[name] = count_days({**told, name: record}, units=units)[name]
    return found


def _within_bounds(
    made: Mapping[str, DailyValues], flip_sign: Sequence[str], faults: list[str]
) -> dict[str, DailyValues]:
    """Variables whose values can be what their units say, on some days that are tried."""
    sound = {}
    for name, values in made.items():
        tried = values.days[:: max(1, len(values.days) // _TRIED_DAYS)]
        try:
            _read(values, tried)
        except SoilcastError as error:
            faults.append(f"{error}{_fitting_unit(values, tried, flip_sign)}")
        else:
            sound[name] = values
    return sound


def _read(values: DailyValues, days: Sequence[int]) -> None:
    for day in days:
        values.read(range(day, day + 1))


def _fitting_unit(values: DailyValues, days: Sequence[int], flip_sign: Sequence[str]) -> str:
    """Name a unit that is often meant, under which the values would be what they can be."""
    if len(values.records) > 1:
        return ""
    name = values.variable
    for unit in _MEANT.get(VARIABLES[name].units, ()):
        meant = replace(values, conversions=(conversion_of(values.records[0], {name: unit}, flip_sign),))
        with suppress(SoilcastError):
            _read(meant, days)
            return f"; --unit {name}='{unit}' would fit"
    return ""


_MEANT = {
    "K": ("degC",),
    "m d-1": ("mm", "mm d-1", "kg m-2 s-1"),
    "m": ("mm",),
    "W m-2": ("J m-2", "kJ m-2"),
    "Pa": ("hPa", "kPa"),
    "m3 m-3": ("percent",),
}
"""Unit of the contract -> units that files hold in its stead."""


@contextmanager
def _collecting(faults: list[str]) -> Iterator[None]:
    """Note what is wrong, and go on."""
    try:
        yield
    except SoilcastError as error:
        faults.append(str(error))


def _lacking(cube: xr.Dataset) -> dict[str, str]:
    """What each model needs by default that the files do not hold."""
    lacking = {}
    inputs = [name for name in (*PAPER_DYNAMIC, *PAPER_STATIC) if name not in cube]
    for name in PRESETS:
        form = Config(model=name).balance
        said = [f"no {', '.join(inputs)} as inputs"] if inputs else []
        if form is not None:
            try:
                refuse_missing(cube, form, WaterConfig())
            except SoilcastError as error:
                said.append(str(error).partition(": ")[2])
        if said:
            lacking[name] = "; ".join(said)
    return lacking
