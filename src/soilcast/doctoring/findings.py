"""What the doctor finds: plain records that go to words and to JSON; and periods, steps and grids in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

_SHOWN = 16
"""Variables of a file that are named; JSON has them all."""


@dataclass(frozen=True)
class VariableFound:
    """A variable of a file.

    Parameters
    ----------
    stored
        Name in the file.
    name
        Name in a cube; empty where soilcast has no use for it.
    unit
        As the file writes it; empty where it is silent.
    note
        What else is to be said.
    """

    stored: str
    name: str = ""
    unit: str = ""
    note: str = ""

    def __str__(self) -> str:
        unit = f" [{self.unit}]" if self.unit else ""
        named = f" = {self.name}" if self.name and self.name != self.stored else ""
        return f"{self.stored}{unit}{named}{f' ({self.note})' if self.note else ''}"


@dataclass(frozen=True)
class FileFound:
    """A file, an archive or a store.

    Parameters
    ----------
    path
        Where it lies.
    format
        How it is written: NetCDF-4, GRIB edition 1, ...
    product
        What it is.
    layout
        How the product is laid out in it.
    period
        First and last time, and the step.
    grid
        On which places.
    variables
        What it holds.
    reader
        The command that reads it; empty where there is none.
    faults
        What keeps it from being read as it is.
    remarks
        What else is to be known.
    """

    path: str
    format: str
    product: str
    layout: str = ""
    period: str = ""
    grid: str = ""
    variables: tuple[VariableFound, ...] = ()
    reader: str = ""
    faults: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """Say it."""
        yield self.path
        yield f"  {self.product}; {self.format}{f', {self.layout}' if self.layout else ''}"
        for what, said in (("period", self.period), ("grid", self.grid)):
            if said:
                yield f"  {what}: {said}"
        if self.variables:
            more = f"; and {len(self.variables) - _SHOWN} more" if len(self.variables) > _SHOWN else ""
            yield f"  variables: {'; '.join(map(str, self.variables[:_SHOWN]))}{more}"
        yield f"  read by: {self.reader or 'nothing in soilcast'}"
        yield from (f"  {remark}" for remark in self.remarks)
        yield from (f"  FAULT: {fault}" for fault in self.faults)


@dataclass(frozen=True)
class Together:
    """What `soilcast prepare era5land` would make of all files of ERA5 together.

    Parameters
    ----------
    title
        Of the cube; empty if none can be made.
    cells, days
        Its size.
    conversions
        Variable of the cube -> where it comes from, how its values count, its unit and sign.
    notes
        Missing days and the like.
    lacking
        Model -> what it needs that is not there.
    faults
        What is wrong.
    """

    title: str = ""
    cells: int = 0
    days: int = 0
    conversions: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    lacking: dict[str, str] = field(default_factory=dict)
    faults: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """Say it."""
        if self.title:
            yield f"soilcast prepare era5land would make: {self.title} ({self.cells:,} cells, {self.days:,} days)"
        alike: dict[str, list[str]] = {}
        for name, said in self.conversions.items():
            counted, _, rest = said.partition("; ")
            alike.setdefault(counted, []).append(f"{name} [{rest.removeprefix(f'{name} in ')}]")
        for counted, names in alike.items():
            yield f"  {counted}"
            yield f"    {', '.join(names)}"
        yield from (f"  note: {note}" for note in self.notes)
        yield from (f"  for {model}: {said}" for model, said in self.lacking.items())
        yield from (f"  FAULT: {fault}" for fault in self.faults)


@dataclass(frozen=True)
class Examination:
    """All that the doctor found.

    Parameters
    ----------
    files
        One by one.
    together
        The files of ERA5 as one cube; None where there are none.
    proof
        What the water balance says, as JSON has it; None where nothing could be read.
    sentences
        The same in words.
    proof_faults
        What it says is wrong.
    """

    files: tuple[FileFound, ...]
    together: Together | None = None
    proof: dict[str, Any] | None = None
    sentences: tuple[str, ...] = ()
    proof_faults: tuple[str, ...] = ()

    @property
    def faults(self) -> tuple[str, ...]:
        """All faults, in the order in which they are told."""
        of_files = tuple(f"{one.path}: {fault}" for one in self.files for fault in one.faults)
        return of_files + (self.together.faults if self.together else ()) + self.proof_faults

    @property
    def exit_code(self) -> int:
        """0 if soilcast can use the files as they are, else 1."""
        return int(bool(self.faults) or not all(one.reader for one in self.files))

    def text(self) -> str:
        """Say all."""
        lines = [line for one in self.files for line in (*one.lines(), "")]
        if self.together is not None:
            lines += [*self.together.lines(), ""]
        if self.sentences:
            lines += ["Water balance and plausibility", *(f"  {one}" for one in self.sentences), ""]
        unread = sum(not one.reader for one in self.files)
        count = len(self.faults)
        verdict = "no fault found" if not count else f"{count} fault{'s' if count > 1 else ''} found"
        lines.append(f"{verdict}{f'; {unread} not read by soilcast' if unread else ''}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "faults": list(self.faults),
            "exit_code": self.exit_code,
            "files": [asdict(one) for one in self.files],
            "together": asdict(self.together) if self.together else None,
            "proof": self.proof,
        }


_STEPS: dict[float, str] = {1: "hourly", 3: "3-hourly", 6: "6-hourly", 12: "12-hourly", 24: "daily"}


def step_name(hours: float) -> str:
    """Name the time between two stamps [h]."""
    return _STEPS.get(round(hours, 6), f"every {hours:g} hours")


def period_name(times: npt.NDArray[np.datetime64]) -> str:
    """First and last time and the step; times in any order ``(time,)``."""
    unique = np.unique(times)
    if not len(unique):
        return ""
    first, last = (np.datetime_as_string(one, "m").replace("T", " ") for one in (unique[0], unique[-1]))
    if len(unique) == 1:
        return f"{first} UTC alone"
    step = float(np.diff(unique).min() / np.timedelta64(1, "s")) / 3600
    return f"{first} .. {last} UTC, {step_name(step)}, {len(unique):,} times"


def grid_name(lat: npt.NDArray[np.float64], lon: npt.NDArray[np.float64]) -> str:
    """Size, spacing and bounds of a regular grid, with the order of its axes."""
    order = "north first" if len(lat) > 1 and lat[0] > lat[-1] else "south first"
    spacing = f"{np.abs(np.diff(lat)).min():g} degrees, " if len(lat) > 1 else ""
    bounds = f"{_place(lat.min(), 'N', 'S')} .. {_place(lat.max(), 'N', 'S')}, {_place(lon.min(), 'E', 'W')} .. "
    return f"{len(lat)} x {len(lon)} points, {spacing}{bounds}{_place(lon.max(), 'E', 'W')}, {order}"


def _place(value: float, positive: str, negative: str) -> str:
    return f"{abs(value):g} {positive if value >= 0 else negative}"
