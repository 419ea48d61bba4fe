"""A cube and a part of later days as one cube, and what the days that both have differ in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube.calendar import Days
from soilcast.cube.check import check_bounds
from soilcast.cube.contract import GENUINE, VARIABLES
from soilcast.cube.fitting import Fit, fit
from soilcast.cube.pieces import PACKING, Floats, lazily
from soilcast.cube.planning import beside, plan
from soilcast.cube.plausibility import UNUSUAL
from soilcast.errors import SoilcastError

OVERLAPS = ("refuse", "keep", "replace")
"""What may be done with days that a cube and a part have with other values."""

_STORED_BYTES = 64 << 20
"""What reading some days of a stored variable takes beside them: the chunks that are decoded at once."""

_CELLS_AT_A_TIME = 4096

_PERIOD = r"(\d{4}(?:-\d\d-\d\d)?) \.\. (\d{4}(?:-\d\d-\d\d)?)"


@dataclass(frozen=True)
class Difference:
    """In what days that both have differ, of one variable.

    Parameters
    ----------
    variable
        Name in the contract.
    days, cells
        How many of them differ anywhere.
    first
        The first of these days.
    largest
        The largest difference [the variable's unit], 0 if none is known.
    missing
        Values that are missing in one of the two alone.
    """

    variable: str
    days: int
    cells: int
    first: np.datetime64
    largest: float
    missing: int

    def text(self) -> str:
        """Say it in words."""
        by = f"by up to {self.largest:.3g} {VARIABLES[self.variable].units}" if self.largest else ""
        missing = f"{self.missing} value(s) missing in one of the two" if self.missing else ""
        told = ", ".join(filter(None, (by, missing)))
        return f"{self.variable} on {self.days} day(s), first on {self.first}, in {self.cells} cell(s), {told}"


@dataclass(frozen=True)
class Joined:
    """A cube and a part of later days as one.

    Parameters
    ----------
    cube
        The whole, dynamic variables lazy.
    changed
        Dynamic variable -> which days of the whole ``(time,)`` are not stored as they are to be.
    fresh
        Days that the cube had not, ``(time,)``, the missing ones before them included.
    overlapping
        How many days both have.
    differences
        In what these differ.
    """

    cube: xr.Dataset
    changed: Mapping[str, npt.NDArray[np.bool_]]
    fresh: Days
    overlapping: int
    differences: tuple[Difference, ...]

    @property
    def is_changed(self) -> bool:
        """Whether anything is to be written at all."""
        return any(days.any() for days in self.changed.values())


def join(
    cube: xr.Dataset,
    part: xr.Dataset,
    where: str,
    what: str,
    *,
    overlap: str,
    tolerance: float,
    allow_gap: bool,
    cut: bool,
    memory: int | None,
) -> Joined:
    """Join a cube and a part of later days.

    Parameters
    ----------
    cube
        Opened.
    part
        As `assemble` gives it, of the same source.
    where, what
        The two, for the messages.
    overlap
        What is done with days that both have with other values: one of `OVERLAPS`. ``keep`` takes the cube's,
        ``replace`` the part's, missing values too.
    tolerance
        Values that differ by less count as equal; a share of the variable's range in the contract.
    allow_gap
        Have the days between the two be missing ones.
    cut
        Leave out the part's days before the cube's first.
    memory
        What this process may hold [bytes].

    Raises
    ------
    SoilcastError
        The two do not fit (`soilcast.cube.fitting.fit`), differ on days that both have, or memory is too little.
    """
    found = fit(cube, part, where, what, allow_gap=allow_gap, cut=cut)
    stored = cube.sizes["time"]
    first, last = max(found.offset, 0), min(stored, found.offset + part.sizes["time"])
    taken = first if overlap == "replace" else stored
    dynamic = sorted(str(name) for name in part.data_vars if "time" in part[name].dims)
    days = {
        name: _Days(name, cube[name].variable, part[name].variable, found, taken, where, _origin(part, name, what))
        for name in dynamic
    }
    whole = _whole(cube, part, days, found, is_replaced=overlap == "replace")
    at_a_time = plan({name: whole[name].variable for name in dynamic}, (), memory, str(whole.attrs["title"])).days
    changed: dict[str, npt.NDArray[np.bool_]] = {}
    differences = []
    for name, one in days.items():
        changed[name] = np.arange(len(found.days)) >= stored
        if first < last:
            # Both are held at once.
            other, difference = _compared(one, slice(first, last), max(1, at_a_time[name] // 2), tolerance)
            differences += [difference] if difference else []
            if overlap == "replace":
                changed[name][first:last] = other
    if differences and overlap == "refuse":
        more = f" (and {', '.join(one.variable for one in differences[1:])})" if differences[1:] else ""
        raise SoilcastError(
            f"{what} differ from {where} on common days: {differences[0].text()}{more}: use --overlap keep for the "
            "values of the cube, or --overlap replace for those of the files"
        )
    return Joined(whole, changed, found.days[stored:], max(0, last - first), tuple(differences))


@dataclass(frozen=True, eq=False)
class _Days:
    """A variable of a cube and of a part as one array ``(cell, time)``, of which any days are read when it is sliced.

    Parameters
    ----------
    variable
        Name in the contract.
    stored, given
        ``(cell, time)``, of the cube and of the part.
    fit
        How the two lie.
    taken
        The day from which the part's values are taken, where it has that day.
    where, origin
        What the two come from, for messages.
    """

    variable: str
    stored: xr.Variable
    given: xr.Variable
    fit: Fit
    taken: int
    where: str
    origin: str
    ndim: int = field(default=2, init=False)
    dtype: np.dtype[np.float32] = field(default=np.dtype(np.float32), init=False)

    @property
    def shape(self) -> tuple[int, int]:
        return int(self.stored.shape[0]), len(self.fit.days)

    @property
    def working_bytes(self) -> int:
        """What reading takes beside the values that are read [bytes]."""
        return _STORED_BYTES + beside(self.given)

    def __getitem__(self, key: tuple[slice, slice]) -> Floats:
        cells, days = key
        first, last, _ = days.indices(self.shape[1])
        values = np.full((self.shape[0], max(last - first, 0)), np.nan, dtype=np.float32)
        end = min(last, int(self.stored.shape[1]))
        if first < end:
            values[:, : end - first] = self.of_cube(slice(first, end))
        begin = max(first, self.taken, self.fit.offset)
        end = min(last, self.fit.offset + int(self.given.shape[1]))
        if begin < end:
            values[:, begin - first : end - first] = self.of_part(slice(begin, end), begin - first)
        return values[cells]

    def of_cube(self, days: slice) -> Floats:
        try:
            return np.ascontiguousarray(self.stored[:, days].to_numpy(), dtype=np.float32)
        except (OSError, ValueError, RuntimeError) as error:
            raise SoilcastError(
                f"{self.where}: {self.variable} cannot be read ({error}): the store is damaged; create it again"
            ) from error

    def of_part(self, days: slice, offset: int = 0) -> Floats:
        within = slice(days.start - self.fit.offset, days.stop - self.fit.offset)
        values = np.asarray(self.given[:, within].to_numpy(), dtype=np.float32)
        values = np.ascontiguousarray(values if self.fit.order is None else values[self.fit.order])
        slack = float(self.given.encoding.get(PACKING, 0.0))
        check_bounds(self.variable, values, self.origin, slack=slack, offset=offset)
        return values


def _compared(days: _Days, both: slice, step: int, tolerance: float) -> tuple[npt.NDArray[np.bool_], Difference | None]:
    """Which of the days that both have are not the same to the bit, and in what they differ beyond the tolerance."""
    row = VARIABLES[days.variable]
    limit = tolerance * (row.valid_max - row.valid_min)
    cells = np.zeros(days.shape[0], dtype=np.bool_)
    other, differing = (np.zeros(both.stop - both.start, dtype=np.bool_) for _ in range(2))
    largest, missing = 0.0, 0
    for start in range(both.start, both.stop, step):
        some = slice(start, min(start + step, both.stop))
        within = slice(some.start - both.start, some.stop - both.start)
        mine, theirs = days.of_cube(some), days.of_part(some)
        for block in (slice(at, at + _CELLS_AT_A_TIME) for at in range(0, len(cells), _CELLS_AT_A_TIME)):
            one, two = mine[block], theirs[block]
            other[within] |= (one.view(np.uint32) != two.view(np.uint32)).any(axis=0)
            distance = np.abs(two.astype(np.float64) - one)
            alone = np.isnan(one) != np.isnan(two)
            beyond = alone | (distance > limit)
            differing[within] |= beyond.any(axis=0)
            cells[block] |= beyond.any(axis=1)
            largest = max(largest, float(np.max(distance, where=distance > limit, initial=0.0)))
            missing += int(alone.sum())
    if not differing.any():
        return other, None
    first = days.fit.days[both.start + int(np.argmax(differing))].astype("datetime64[D]")
    return other, Difference(days.variable, int(differing.sum()), int(cells.sum()), first, largest, missing)


def _whole(cube: xr.Dataset, part: xr.Dataset, days: Mapping[str, _Days], fit: Fit, *, is_replaced: bool) -> xr.Dataset:
    """Put the whole together as `assemble` would have: types of the part, values of the cube."""
    coords: dict[Any, xr.Variable] = {}
    for name in part.coords:
        given = part[name].variable
        values = fit.days if name == "time" else cube[name].to_numpy().astype(given.dtype)
        coords[name] = xr.Variable(given.dims, values, given.attrs)
    whole = xr.Dataset(coords=coords, attrs=_attributes(cube, part, fit, is_replaced=is_replaced))
    for name in [*part.data_vars, *(name for name in cube.data_vars if name not in part)]:
        described = dict(part[name].attrs if name in part else cube[name].attrs)
        if "origin" in cube[name].attrs:
            described["origin"] = cube[name].attrs["origin"]
        dims = VARIABLES[str(name)].dims
        data: Any = lazily(days[str(name)], fancy=False) if "time" in dims else cube[name].to_numpy()
        whole[name] = (dims, data, described)
    return whole


def _attributes(cube: xr.Dataset, part: xr.Dataset, fit: Fit, *, is_replaced: bool) -> dict[str, Any]:
    attributes = {name: value for name, value in part.attrs.items() if name not in ("notes", "absent")}
    attributes |= {name: cube.attrs[name] for name in (GENUINE,) if name in cube.attrs}
    attributes["title"] = _title(str(cube.attrs["title"]), str(part.attrs["title"]))
    begin, end = (str(one.astype("datetime64[D]")) for one in part["time"].to_numpy()[[0, -1]])
    # What follows from the values follows anew from all of them.
    notes = [note for note in str(cube.attrs.get("notes", "")).splitlines() if not note.startswith(UNUSUAL)]
    if is_replaced:  # what was said of an earlier part, such as that it is preliminary, goes with its days
        notes = [note for note in notes if not _is_within(note, begin, end)]
    added = [note for note in str(part.attrs.get("notes", "")).splitlines() if note not in notes]
    notes += [f"{begin} .. {end}: {note}" for note in added]
    if notes:
        attributes["notes"] = "\n".join(dict.fromkeys(notes))
    if "absent" in cube.attrs:
        attributes["absent"] = cube.attrs["absent"]
    return attributes


def _title(one: str, other: str) -> str:
    """Title of both: where they end with their first and last day or year, the first of the one, the later last."""
    mine, theirs = (re.fullmatch(rf"(.*?){_PERIOD}", title) for title in (one, other))
    if not mine or not theirs or mine[1] != theirs[1] or len(mine[3]) != len(theirs[3]):
        return one
    return f"{mine[1]}{mine[2]} .. {max(mine[3], theirs[3])}"


def _is_within(note: str, begin: str, end: str) -> bool:
    said = re.match(rf"{_PERIOD}: ", note)
    return said is not None and begin <= said[1] and said[2] <= end


def _origin(part: xr.Dataset, name: str, what: str) -> str:
    return str(part[name].attrs.get("origin", what))
