"""Daily values out of stamps: read a block of days at a time, from however many files, lazily."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from soilcast.cube import Conversion, check_bounds
from soilcast.sources.era5land.counting import Counting
from soilcast.sources.era5land.recognising import Hours
from soilcast.sources.era5land.record import DAY, Record
from soilcast.sources.parameters import Recipe

Floats = npt.NDArray[np.float32]

_BYTES_A_VALUE, _BYTES_A_POINT = 20, 40
"""What a value takes while it is decoded, converted and added up, and a point of a day's field [bytes]."""

_READ_AT_A_TIME, _READ_AT_MOST = 4 << 20, 64 << 20
"""Values that are decoded at a time; more where a file's chunks hold many stamps, each of which is read once so."""


@dataclass(frozen=True, eq=False)
class Laying:
    """How a flattened field of the files becomes cells.

    Parameters
    ----------
    points
        Points of the flattened grid that are read ``(point,)``.
    offsets
        Hours by which the local day of each point begins before that of UTC ``(point,)``; zeros for days of UTC.
    finish
        From daily values ``(day, point)`` to ``(day, cell)``.
    """

    points: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    finish: Callable[[Floats], Floats]


@dataclass(frozen=True, eq=False)
class DailyValues:
    """A variable of the cube, ``(cell, time)`` float32 in its unit; what is asked for is read, and no more.

    Parameters
    ----------
    variable
        Name in the cube.
    records
        The parameters that it is made of.
    recipe
        How they are combined.
    counting
        How stamps become days.
    conversions
        Of each record, from the file's unit.
    laying
        From points to cells.
    days
        First day and number of days, days since 1970-01-01.
    cells
        Number of cells.
    """

    variable: str
    records: tuple[Record, ...]
    recipe: Recipe
    counting: Counting
    conversions: tuple[Conversion, ...]
    laying: Laying
    days: range
    cells: int

    dtype = np.dtype(np.float32)
    ndim = 2

    @property
    def shape(self) -> tuple[int, int]:
        """``(cell, time)``."""
        return self.cells, len(self.days)

    @property
    def working_bytes(self) -> int:
        """What reading takes beside the values that are read [bytes]."""
        size = max(len(record.columns[0]) for record in self.records)
        at_a_time = max(size, _READ_AT_A_TIME, min(_chunk(self.records) * size, _READ_AT_MOST))
        days_at_once = 3 if self.laying.offsets.any() else 2
        return _BYTES_A_VALUE * at_a_time * len(self.records) + _BYTES_A_POINT * days_at_once * size

    def __getitem__(self, key: tuple[Any, Any]) -> Floats:
        cells, days = key
        chosen = np.arange(len(self.days))[days]
        if chosen.size == 0:
            values = np.empty((self.cells, *chosen.shape), dtype=np.float32)
        else:
            first, last = int(chosen.min()), int(chosen.max())
            values = self.read(self.days[first : last + 1])[:, chosen - first]
        part: Floats = values[cells]
        return part

    def read(self, days: range) -> Floats:
        """Read some successive days, ``(cell, time)``; a day of which a stamp is missing is missing."""
        made = np.full((self.cells, len(days)), np.nan, dtype=np.float32)
        for day, values in _DayMaker(self, days):
            made[:, day - days.start] = self.laying.finish(values[np.newaxis])[0]
        check_bounds(self.variable, made, self.records[0].where, slack=self.packing)
        return made

    @property
    def packing(self) -> float:
        """Step in which the files have rounded the daily values, the largest of them [the variable's unit]."""
        steps = (
            abs(float(field.attributes["packing"]) * convert.scale * self._stamps_added)
            for record, convert in zip(self.records, self.conversions, strict=True)
            for field in record.fields
        )
        return max(steps, default=0.0) if len(self.records) == 1 else 0.0

    @property
    def _stamps_added(self) -> int:
        return DAY // self.records[0].step if self.counting.reduction in ("sum", "difference") else 1

    def missing_days(self) -> dict[int, str]:
        """Days that lack stamps, and the first of these, before any value is read; days of UTC are meant."""
        missing: dict[int, str] = {}
        for record in self.records:
            for day in np.setdiff1d(np.asarray(self.days), complete_days(record, self.counting)):
                lacking = np.setdiff1d(_stamps_of(int(day), self.counting, record.step), record.hours)
                others = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
                missing.setdefault(int(day), f"{np.datetime64(int(lacking[0]), 'h')}{others}")
        return missing


def _chunk(records: Sequence[Record]) -> int:
    return max(field.chunk for record in records for field in record.fields)


def complete_days(record: Record, counting: Counting) -> Hours:
    """Days of UTC of which every stamp is there, ascending, days since 1970-01-01."""
    days = np.unique((record.hours - int(counting.ending)) // DAY)
    if counting.reduction == "day":
        return days
    stamps = days[:, np.newaxis] * DAY + _stamps_of(0, counting, record.step)
    return days[np.isin(stamps, record.hours).all(axis=1)]


def _stamps_of(day: int, counting: Counting, step: int) -> Hours:
    """Stamps, as hours since 1970-01-01, of which a day of UTC is made."""
    if counting.reduction == "day":
        return np.array([day * DAY])
    if counting.reduction == "last":
        return np.array([(day + 1) * DAY])
    start = step if counting.ending else 0
    return np.arange(day * DAY + start, day * DAY + start + DAY, step)


class _DayMaker:
    """Goes through the stamps of some days in the order of time and gives each day when it is complete."""

    def __init__(self, source: DailyValues, days: range) -> None:
        self._source = source
        self._days = days
        self._counting = source.counting
        offsets = source.laying.offsets
        self._groups = [(int(offset), np.flatnonzero(offsets == offset)) for offset in np.unique(offsets)]
        self._open: dict[int, tuple[npt.NDArray[np.float64], npt.NDArray[np.int16]]] = {}
        self._before: tuple[int, Floats] | None = None

    def __iter__(self) -> Iterator[tuple[int, Floats]]:
        step = self._source.records[0].step
        for hour, values in self._stamps():
            for offset, points in self._groups:
                self._take(hour, offset, points, values, step)
            yield from self._close([day for day in self._open if self._end(day, step) <= hour])
        yield from self._close(list(self._open))

    def _end(self, day: int, step: int) -> int:
        """Last stamp of a day where it ends last: in the far west."""
        return (day + 1) * DAY - (0 if self._counting.ending else step) - self._groups[0][0]

    def _take(self, hour: int, offset: int, points: npt.NDArray[np.int64], values: Floats, step: int) -> None:
        local = hour + offset
        reduction = self._counting.reduction
        if reduction == "last" and local % DAY:
            return
        day = (local - int(self._counting.ending)) // DAY
        if day not in self._days:
            return
        amounts = values[points]
        if reduction == "difference" and hour % DAY != step % DAY:
            before = self._before
            follows = before is not None and before[0] == hour - step
            amounts = amounts - before[1][points] if before is not None and follows else np.full_like(amounts, np.nan)
        if day not in self._open:
            size = len(self._source.laying.points)
            self._open[day] = np.zeros(size, dtype=np.float64), np.zeros(size, dtype=np.int16)
        total, count = self._open[day]
        if len(points) == len(total):
            total += amounts
            count += 1
        else:
            total[points] += amounts
            count[points] += 1

    def _close(self, days: Sequence[int]) -> Iterator[tuple[int, Floats]]:
        reduction = self._counting.reduction
        each = 1 if reduction in ("last", "day") else DAY // self._source.records[0].step
        for day in days:
            total, count = self._open.pop(day)
            values = total / each if reduction == "mean" else total
            yield day, np.where(count == each, values, np.nan).astype(np.float32)

    def _stamps(self) -> Iterator[tuple[int, Floats]]:
        """Every stamp that the days need, with its values at the points in the cube's unit."""
        first, last = self._days.start * DAY, self._days.stop * DAY
        records = self._source.records
        common = records[0].hours
        for record in records[1:]:
            common = np.intersect1d(common, record.hours)
        slack = DAY if self._source.laying.offsets.any() else 0
        ending = int(self._counting.ending)
        chosen = common[(common >= first - slack + ending) & (common < last + slack + ending)]
        if self._counting.reduction == "last" and not slack:
            chosen = chosen[chosen % DAY == 0]
        size = len(records[0].columns[0])
        most = max(1, _READ_AT_A_TIME // size, min(_chunk(records), _READ_AT_MOST // size))
        for start in range(0, len(chosen), most):
            hours = chosen[start : start + most]
            parts = [record.read(hours, self._source.laying.points) for record in records]
            converted = [
                conversion(part).astype(np.float32, copy=False)
                for conversion, part in zip(self._source.conversions, parts, strict=True)
            ]
            values = self._source.recipe.combine(*converted)
            for hour, stamp in zip(hours, values, strict=True):
                yield int(hour), stamp
                self._before = int(hour), stamp
