"""How the stamps of a parameter count as days: told from the data and from what the files say, never guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from soilcast.cube import ERA5_LAND_LAYERS, is_amount
from soilcast.cube.calendar import refuse_other_steps
from soilcast.errors import SoilcastError
from soilcast.sources.era5land.recognising import Field
from soilcast.sources.era5land.record import DAY, Record
from soilcast.sources.parameters import NEVER_NEGATIVE
from soilcast.sources.stamps import ONE_A_DAY, method_of

Accumulation = Literal["since-midnight", "hourly"]
Stamp = Literal["day", "midnight"]
States = Literal["mean", "end"]
Reduction = Literal["mean", "sum", "last", "difference", "day"]

STORES = ("sd", *ERA5_LAND_LAYERS)
"""Parameters that are depths or shares of water kept in the ground."""

_SAMPLED_DAYS = 3
_SAMPLED_POINTS = 20_000
_NOISE = 1e-4
"""Share of the largest value below which a change counts as rounding."""

_FALLS_OF_HOURLY, _FALLS_SINCE_MIDNIGHT = 0.02, 0.002
"""Share of changes within a day that are downward: amounts of single hours fall about as often as they rise, amounts
since midnight never fall."""

_JUMP_OF_HOURLY, _JUMP_SINCE_MIDNIGHT = 3.0, 6.0
"""Size of the change over midnight beside that of another hour: what is accumulated all day is let go of there."""

_FIRST_OF_HOURLY, _FIRST_SINCE_MIDNIGHT = 0.5, 0.25
"""Size of the first hour's value beside that of the value at 00 UTC before it: a single hour beside another, or beside
a whole day."""

_AGGREGATED = re.compile(
    r"daily[ _-]?(mean|sum|total|statistics|aggregat|reduce)|within days|interval: (1 day|24 h)|\btime: sum", re.I
)
_AVERAGED = re.compile(r"daily[ _-]?mean|time: mean|\bhow=mean", re.I)
_PICKED = re.compile(r"daily[ _-]?(max|min)|time: (max|min)imum|\bhow=(max|min)", re.I)


@dataclass(frozen=True)
class Counting:
    """How stamps become days.

    Parameters
    ----------
    reduction
        ``mean`` or ``sum`` of the day's stamps; the ``last`` of them alone; the sum of their ``difference`` to the one
        before, which begins anew at 01 UTC; or one stamp that stands for its ``day``.
    ending
        The stamp ends the time that it stands for, so that 00 UTC belongs to the day before.
    said
        What was found, in words.
    accumulation
        Of accumulated values that come more than once a day.
    """

    reduction: Reduction
    ending: bool
    said: str
    accumulation: Accumulation | None = None


def count_days(
    records: Mapping[str, Record],
    *,
    accumulation: Accumulation | None = None,
    stamp: Stamp | None = None,
    states: States = "mean",
    is_local: bool = False,
    units: Mapping[str, str] | None = None,
) -> dict[str, Counting]:
    """Tell of every parameter how its stamps count.

    Parameters
    ----------
    records
        Parameters by name.
    accumulation
        How hourly accumulated values run, where the data do not tell.
    stamp
        What one stamp a day stands for, where the files do not tell.
    states
        Soil water and snow as the day's ``mean``, or at its ``end``.
    is_local
        Days are those of the local solar time.
    units
        Name -> unit, where the files' own are not used.

    Raises
    ------
    SoilcastError
        It cannot be told, or no daily value can be made of what is there.
    """
    found: dict[str, Counting] = {}
    unsure: list[str] = []
    for name, record in records.items():
        if DAY % record.step:
            raise SoilcastError(
                f"{record.where}: {name} comes every {record.step} hours, which does not divide a day: give hourly or "
                "daily values"
            )
        if is_local and 1 < record.step < DAY:
            raise SoilcastError(
                f"{record.where}: {name} comes every {record.step} hours: local days need hourly values (use --day utc)"
            )
        if record.step == DAY:
            found[name] = _one_a_day(record, stamp, states, is_local)
        elif record.parameter.kind == "instant":
            found[name] = _several_a_day(record, states)
        elif not is_amount(name, (units or {}).get(name, record.fields[0].unit)):
            found[name] = Counting("mean", True, f"{_every(record.step)}, rates")
        elif accumulation is not None:
            found[name] = _accumulated(record, accumulation, "as stated")
        elif (told := tell_accumulation(record)) is not None:
            found[name] = _accumulated(record, told[0], told[1])
        else:
            unsure.append(name)
    found |= {name: _as_others(records[name], found) for name in unsure}
    return {name: _local(one) if is_local else one for name, one in found.items()}


def tell_accumulation(record: Record) -> tuple[Accumulation, str] | None:
    """Tell amounts since midnight from amounts of single hours by the values of some days.

    Returns
    -------
    What they are, and how that was told; None where the values do not tell, such as without rain.
    """
    days = _sample(record)
    if days is None:
        return None
    before, hours = days[:, 0], days[:, 1:]  # (day, point), (day, hour, point)
    largest = float(np.nanmax(np.abs(days), initial=0.0))
    noise = max(_NOISE * largest, *(2 * float(field.attributes["packing"]) for field in record.fields))
    changes = np.diff(hours, axis=1)
    if record.parameter.name in NEVER_NEGATIVE:
        falls, rises = int((changes < -noise).sum()), int((changes > noise).sum())
        if falls + rises == 0:
            return None
        share = falls / (falls + rises)
        if share >= _FALLS_OF_HOURLY:
            return "hourly", f"within a day {share:.0%} of its changes are downward"
        full = before > 10 * noise
        lets_go = full.any() and (hours[:, 0] < before - noise)[full].mean() > 0.9
        if share <= _FALLS_SINCE_MIDNIGHT and lets_go:
            return "since-midnight", "it increases within a day and resets after 00 UTC"
        return None
    usual = float(np.nanmean(np.abs(changes)))
    if not usual > 0:
        return None
    jump = float(np.nanmean(np.abs(hours[:, 0] - before))) / usual
    first = float(np.nanmean(np.abs(hours[:, 0]))) / max(float(np.nanmean(np.abs(before))), noise)
    if jump >= _JUMP_SINCE_MIDNIGHT and first <= _FIRST_SINCE_MIDNIGHT:
        return "since-midnight", f"after 00 UTC it falls to {first:.0%} of its value"
    if jump <= _JUMP_OF_HOURLY or first >= _FIRST_OF_HOURLY:
        return "hourly", f"after 00 UTC it is {first:.0%} of its value"
    return None


def _sample(record: Record) -> npt.NDArray[np.float64] | None:
    """Some days from 00 UTC to 00 UTC of the next, at some points that have values: ``(day, stamp, point)``."""
    each = DAY // record.step
    starts = np.flatnonzero(record.hours % DAY == 0)
    starts = starts[starts + each < len(record.hours)]
    starts = starts[record.hours[starts + each] - record.hours[starts] == DAY]
    if not len(starts):
        return None
    chosen = np.unique(starts[np.linspace(0, len(starts) - 1, _SAMPLED_DAYS).astype(int)])
    everywhere = np.arange(len(record.columns[0]))
    there = np.flatnonzero(np.isfinite(record.read(record.hours[chosen[:1] + each], everywhere)[0]))
    points = there[:: max(1, len(there) // _SAMPLED_POINTS)]
    days = np.stack([record.read(record.hours[start : start + each + 1], points) for start in chosen]).astype(float)
    # The very first stamp may be missing: a file begins with the total of a day that is not in it.
    return days if np.isfinite(days[:, 1:]).any() else None


def _one_a_day(record: Record, stamp: Stamp | None, states: States, is_local: bool) -> Counting:
    name, first = record.parameter.name, record.fields[0]
    if len(np.unique(record.hours % DAY)) > 1:
        raise SoilcastError(f"{record.where}: {name} comes once a day, but at varying hours: give daily values")
    refuse_other_steps(record.hours.astype("datetime64[h]"), f"{record.where}: {name}")
    hour = int(record.hours[0] % DAY)
    told = stamp or _told_stamp(record, hour)
    if told is None and _is_accumulated_to_stamp(record):
        raise SoilcastError(
            f"{record.where}: {name} {ONE_A_DAY}; if these are daily totals, specify --stamp day (of the day of the "
            "stamp) or --stamp midnight (of the day that ends at it)"
        )
    if told is None and len(record.hours) == 1:
        raise SoilcastError(
            f"{record.where}: {name} holds a single time, {hour:02d} UTC of a day: a day needs all its hours, or a "
            "daily value that is declared as such (--stamp day)"
        )
    if told is None:
        raise SoilcastError(
            f"{record.where}: {name} comes once a day at {hour:02d} UTC, and the file does not say whether it is of "
            "that day or instantaneous: specify it (--stamp day, or --stamp midnight)"
        )
    how = "as stated" if stamp else "as the file says"
    if is_local:
        raise SoilcastError(f"{record.where}: {name} comes once a day: local days need hourly values (use --day utc)")
    if told == "day":
        if states == "end" and name in STORES:
            raise SoilcastError(
                f"{record.where}: {name} holds daily values without the value at the end of the day: use --states mean"
            )
        if record.parameter.kind == "accumulated" and _AVERAGED.search(_text(first)) and is_amount(name, first.unit):
            raise SoilcastError(
                f"{record.where}: {name} is a daily mean of accumulations, not a daily total: if hourly values were "
                f"averaged, specify it (--unit {name}='{first.unit} h-1'); means of accumulations since midnight "
                "cannot be converted"
            )
        if record.parameter.kind == "accumulated" and _PICKED.search(_text(first)):
            raise SoilcastError(
                f"{record.where}: {name} is the highest or lowest value of the day ({_text(first)[:80]}), not its "
                "total: aggregate the hours again"
            )
        return Counting("day", False, f"daily ({how})")
    if record.parameter.kind == "accumulated":
        return Counting("last", True, f"the value at 00 UTC, total of the day before ({how})")
    if name in STORES and states == "end":
        return Counting("last", True, f"the value at 00 UTC, at the end of the day before ({how})")
    raise SoilcastError(
        f"{record.where}: {name} is given at {hour:02d} UTC only, which gives no daily mean: give all hours or daily "
        "means" + (", or use soil water and snow at the end of the day (--states end)" if name in STORES else "")
    )


def _told_stamp(record: Record, hour: int) -> Stamp | None:
    """What the files say of one stamp a day; nothing of accumulations that somebody has aggregated."""
    first = record.fields[0]
    if first.attributes["bounds"] or _AGGREGATED.search(_text(first)):
        return "day"
    if _is_accumulated_to_stamp(record):
        # Messages of GRIB, and files in which each stamp has its version of the experiment, are as they were archived.
        as_archived = all(field.file.format == "grib" or field.attributes["versions"] for field in record.fields)
        return "midnight" if hour == 0 and as_archived else None
    if first.attributes["time units"].startswith("days"):
        return "day"
    return "midnight" if hour == 0 and "GRIB_stepType" in first.attributes else None


def _is_accumulated_to_stamp(record: Record) -> bool:
    """Whether amounts run up to their stamps, as GRIB has it, and are not said to be the sums of days."""
    return record.parameter.kind == "accumulated" and any(
        field.attributes.get("GRIB_stepType") == "accum" and method_of(field.attributes) != "sum"
        for field in record.fields
    )


def _text(field: Field) -> str:
    return " ".join(field.attributes.get(key, "") for key in ("cell_methods", "long_name", "history"))


def _several_a_day(record: Record, states: States) -> Counting:
    if states == "end" and record.parameter.name in STORES:
        return Counting("last", True, f"{_every(record.step)}, at 00 UTC that ends the day")
    return Counting("mean", False, f"{_every(record.step)}, mean of the day")


def _accumulated(record: Record, accumulation: Accumulation, how: str) -> Counting:
    every = _every(record.step)
    if accumulation == "hourly":
        return Counting("sum", True, f"{every}, amounts of each step ({how}), summed over the day", accumulation)
    said = f"{every}, accumulated since 00 UTC ({how}): the value at 00 UTC of the next day"
    return Counting("last", True, said, accumulation)


def _as_others(record: Record, found: Mapping[str, Counting]) -> Counting:
    """What the values of a parameter do not tell, others of the same product may."""
    told = {name: one.accumulation for name, one in found.items() if one.accumulation is not None}
    ways = set(told.values())
    if len(ways) != 1:
        raise SoilcastError(
            f"{record.where}: cannot infer whether {record.parameter.name} is accumulated since midnight or per hour: "
            "specify it (--accumulation since-midnight, or --accumulation hourly)"
        )
    return _accumulated(record, ways.pop(), f"as {', '.join(told)} beside it")


def _local(counting: Counting) -> Counting:
    if counting.accumulation == "since-midnight":
        said = counting.said.partition(": the value")[0]
        return replace(
            counting, reduction="difference", said=f"{said}: the growth of each hour, summed over the local day"
        )
    return replace(counting, said=counting.said.replace("at 00 UTC that ends", "at the local midnight that ends"))


def _every(step: int) -> str:
    return "hourly" if step == 1 else f"every {step} hours"
