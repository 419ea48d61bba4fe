"""Daily weather of the days after issue days, from forecasts as their centres give them: step by step, run by run.

Fields are indexed first, by their headers. Then each day of each member is summed up, field after field, and laid onto
the cells: beside the result one day's field is held, and two of the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from soilcast.cube import check_bounds
from soilcast.cube.calendar import Days
from soilcast.errors import SoilcastError
from soilcast.sources.era5land.parameters import NEVER_NEGATIVE
from soilcast.sources.opening import DataFile
from soilcast.weather.day_terms import DayMaker, Lacking, Terms
from soilcast.weather.grib_steps import grib_fields
from soilcast.weather.netcdf_steps import netcdf_fields
from soilcast.weather.onto_cells import Cells, Floats
from soilcast.weather.quantities import OROGRAPHY, WEATHER_RECIPES
from soilcast.weather.step_fields import DAY, Axes, Doubles, Sample, StepField, samples_of

_AT_ONCE = 64 << 20
"""Daily fields of one member that are laid onto the cells at once, at most [bytes]; one at least."""

Members = dict[int | None, DayMaker]
Samples = Mapping[str, Mapping[int, list[Sample]]]
"""Variable -> run -> what there is of it."""


@dataclass(frozen=True, eq=False)
class DailyForecasts:
    """What is made of the files.

    Parameters
    ----------
    values
        ``(member, cell, issue, lead, feature)`` float32 in the contract's units; NaN on issue days without a forecast.
    covered
        Whether there is a forecast of the issue day ``(issue,)``.
    title
        Whose forecasts they are.
    notes
        What was left out, and which runs were taken.
    """

    values: Floats
    covered: npt.NDArray[np.bool_]
    title: str
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Chosen:
    """The run that stands for an issue day.

    Parameters
    ----------
    run
        Its start, hours since 1970-01-01.
    days
        Feature -> member -> offset of the local day -> terms of each lead.
    notes
        What is to be said of it.
    """

    run: int
    days: Mapping[str, Mapping[int | None, Mapping[int, Sequence[Terms]]]]
    notes: tuple[str, ...]


def daily_forecasts(
    files: Sequence[DataFile],
    cells: Cells,
    names: Sequence[str],
    issues: Days,
    leads: int,
    *,
    units: Mapping[str, str],
    gaps: bool,
    lapse_rate: float | None = None,
    memory: int | None = None,
) -> DailyForecasts:
    """Make daily weather of forecasts in GRIB, NetCDF or Zarr.

    Parameters
    ----------
    files
        All that belong together: other parameters, members, steps, runs.
    cells
        Whose weather is wanted.
    names
        Variables of the contract.
    issues
        The issue days ``(issue,)``, datetime64[D]. A run stands for an issue day if it starts on that day after 00 UTC,
        or at 00 UTC of the next: at the end of the issue day.
    leads
        How many days are wanted.
    units
        Variable -> unit, stronger than the files'.
    gaps
        Issue days may have no forecast; without, the newest run that has all the days stands for an issue day, however
        old.
    lapse_rate
        By how much temperature falls with height [K km-1]: it is corrected by the difference of elevation between a
        cell and the forecast model; None leaves it.
    memory
        The most that the result may take [bytes].

    Raises
    ------
    SoilcastError
        A file is damaged or does not say of which time its values are; a variable, a step or a member is missing; runs
        contradict each other; needed cells are not covered; values out of bounds; the result takes too much memory.
    """
    where = _name(files)
    fields, notes = _read_index(files, names, dict(units), lapse_rate is not None)
    samples = {name: _by_run(samples_of(name, fields)) for name in names}
    _refuse_absent(samples, fields, where)
    chosen = [_choose(samples, int(day), cells, leads, gaps, where) for day in issues.astype(np.int64)]
    covered = np.array([one is not None for one in chosen])
    _refuse_days(chosen, issues, samples, gaps, where)
    members = _members(chosen, where)
    shape = (len(members), len(cells), len(issues), leads, len(names))
    _refuse_memory(shape, memory, where)
    for axes in {id(one.axes): one.axes for one in fields}.values():
        cells.refuse_uncovered(axes, where)
    above = _above(fields, cells, where) if lapse_rate is not None else None
    values = np.full(shape, np.nan, dtype=np.float32)
    for feature, name in enumerate(names):
        for row, member in enumerate(members):
            for issue, one in enumerate(chosen):
                if one is not None:
                    values[row, :, issue, :, feature] = _days(name, one, member, cells, where)
        if above is not None and lapse_rate is not None and name == "t2m":
            values[..., feature] -= (lapse_rate * 1e-3 * above)[:, np.newaxis, np.newaxis].astype(np.float32)
        check_bounds(name, values[..., feature], where)
        if not gaps:
            cells.refuse_missing(name, values[..., feature], issues, where)
    runs = sorted({one.run for one in chosen if one is not None})
    notes += list(dict.fromkeys(note for one in chosen if one is not None for note in one.notes))
    return DailyForecasts(values, covered, _title(fields, runs, len(members)), tuple(notes))


def _read_index(
    files: Sequence[DataFile], names: Sequence[str], units: dict[str, str], with_orography: bool
) -> tuple[list[StepField], list[str]]:
    """All fields of the files that variables are made of."""
    parts = {part for name in names for recipe in WEATHER_RECIPES.get(name, ()) for part in recipe.parts}
    parts |= {OROGRAPHY} if with_orography else set()
    fields: list[StepField] = []
    notes: list[str] = []
    for file in files:
        if file.format == "grib":
            found, left_out = grib_fields(Path(file.path), parts, units)
            fields, notes = fields + found, notes + left_out
        else:
            fields += netcdf_fields(file, parts, units)
    return fields, notes


def _by_run(samples: Sequence[Sample]) -> dict[int, list[Sample]]:
    found: dict[int, list[Sample]] = {}
    for one in samples:
        found.setdefault(one.fields[0].run, []).append(one)
    return found


def _runs(samples: Samples) -> list[int]:
    """Starts of all forecasts, ascending."""
    return sorted({run for each in samples.values() for run in each})


def _choose(samples: Samples, day: int, cells: Cells, leads: int, gaps: bool, where: str) -> _Chosen | None:
    """The newest run that has all days after an issue day, days since 1970-01-01; None where there is none."""
    after = (day + 1) * DAY
    earliest = after - int(cells.offsets.max(initial=0))
    runs = [run for run in reversed(_runs(samples)) if run <= earliest and (run > day * DAY or not gaps)]
    faults: list[tuple[int, SoilcastError]] = []
    for run in runs:
        try:
            found = _terms_of(samples, run, after, cells, leads, where)
        except _ShortError as error:
            faults.append((run, error))
            continue
        notes = [f"the forecast of {_moment(newer)} is not used: {error}" for newer, error in faults]
        return _Chosen(run, found, (*notes, *_dropped(samples, run, after, leads, where)))
    if faults and not gaps:
        raise faults[0][1]
    return None


class _ShortError(SoilcastError):
    """A run does not have all the days."""


def _terms_of(
    samples: Samples, run: int, after: int, cells: Cells, leads: int, where: str
) -> dict[str, dict[int | None, dict[int, list[Terms]]]]:
    """Terms of each lead of a run, by variable, member and offset of the day."""
    found: dict[str, dict[int | None, dict[int, list[Terms]]]] = {}
    short: dict[str, tuple[int, str]] = {}
    for name, each in samples.items():
        makers = _makers(each.get(run, ()))
        if not makers:
            raise _ShortError(
                f"{where}: the run of {_moment(run)} has no {name}, which other runs have: give files of all variables "
                "of one run"
            )
        found[name] = {}
        for member, maker in makers.items():
            found[name][member] = {}
            for offset in map(int, np.unique(cells.offsets)):
                days: list[Terms] = []
                for lead in range(leads):
                    terms = maker.terms(after + lead * DAY - offset)
                    if isinstance(terms, Lacking):
                        short[f"{name}{_of(member)}"] = lead, terms.why
                        break
                    days.append(terms)
                found[name][member][offset] = days
    if short:
        _refuse_short(short, found, run, after, leads, where)
    return found


def _refuse_short(
    short: Mapping[str, tuple[int, str]],
    found: Mapping[str, Mapping[int | None, Any]],
    run: int,
    after: int,
    leads: int,
    where: str,
) -> None:
    what, (lead, why) = min(short.items(), key=lambda item: item[1][0])
    name = what.partition(",")[0]
    day = np.datetime64(after // DAY + lead, "D")
    begin = f"{where}: the run of {_moment(run)} has no complete {day} of {what} ({why})"
    others = len(found[name]) - sum(one.partition(",")[0] == name for one in short)
    if others:
        raise SoilcastError(
            f"{begin}, which {others} of {len(found[name])} members have: the members are of different length; give "
            "all steps of each, or leave this one out"
        )
    if lead == 0:
        raise _ShortError(
            f"{begin}, the day after the issue day: give all steps of that day, from its begin to its end, or another "
            "--from"
        )
    raise _ShortError(
        f"{begin}, so it covers {lead} of {leads} leads: add the missing steps, use --lead {lead} or a longer forecast"
    )


def _makers(samples: Sequence[Sample]) -> Members:
    """The days of each member of a run."""
    by_member: dict[int | None, list[Sample]] = {}
    for one in samples:
        by_member.setdefault(one.fields[0].member, []).append(one)
    return {member: DayMaker(by_member[member]) for member in sorted(by_member, key=lambda m: -1 if m is None else m)}


def _dropped(samples: Samples, run: int, after: int, leads: int, where: str) -> list[str]:
    """Say which days of a run are incomplete and not used, before the first lead and after the last."""
    incomplete: dict[int, str] = {}
    end = after + leads * DAY
    for name, each in samples.items():
        maker = next(iter(_makers(each[run]).values()))
        for begin in [*range(run // DAY * DAY, after, DAY), *range(end, maker.last + 1, DAY)]:
            terms = maker.terms(begin)
            if isinstance(terms, Lacking) and begin < maker.last:
                incomplete.setdefault(begin // DAY, f"{name}: {terms.why}")
    if not incomplete:
        return []
    first, why = min(incomplete.items())
    return [
        f"{len(incomplete)} incomplete day(s) at the ends of the weather forecast of {_moment(run)} are not used (such "
        f"as {np.datetime64(first, 'D')}, {why})"
    ]


def _members(chosen: Sequence[_Chosen | None], where: str) -> tuple[int | None, ...]:
    """Members of all runs and variables; what has none is the same for all.

    Raises
    ------
    SoilcastError
        Variables or runs have different members.
    """
    found: dict[tuple[int | None, ...], str] = {}
    for one in filter(None, chosen):
        for name, days in one.days.items():
            members = tuple(days)
            if None in members and len(members) > 1:
                raise SoilcastError(
                    f"{where}: {name} of the run of {_moment(one.run)} has a forecast without a member beside "
                    f"{len(members) - 1} members: give the ensemble or the single forecast"
                )
            if members != (None,):
                found.setdefault(members, f"{name} of the run of {_moment(one.run)}")
    if len(found) > 1:
        (one_set, first), (other_set, second) = list(found.items())[:2]
        differing = sorted(set(one_set) ^ set(other_set), key=str)
        raise SoilcastError(
            f"{where}: {first} has {len(one_set)} members, but {second} {len(other_set)} (differing in member "
            f"{differing[0]}): give the same members of all"
        )
    return next(iter(found), (None,))


def _days(name: str, chosen: _Chosen, member: int | None, cells: Cells, where: str) -> Floats:
    """Daily values of a variable of one member, ``(cell, lead)``."""
    by_offset = chosen.days[name].get(member) or chosen.days[name][None]
    leads = len(next(iter(by_offset.values())))
    made = np.full((len(cells), leads), np.nan, dtype=np.float32)
    offsets = cells.offsets
    for offset, days in by_offset.items():
        own = np.flatnonzero(offsets == offset)
        reader = _Reader()
        first = days[0][0][0].fields[0].axes
        size = 4 * len(first.lat) * (len(first.lon) if first.is_grid else 1)
        at_once = max(1, _AT_ONCE // size)
        for start in range(0, leads, at_once):
            part = days[start : start + at_once]
            sums = [_sum(name, terms, reader, where) for terms in part]
            made[own, start : start + len(part)] = cells.lay(np.stack(sums), first, own, where).T
    return made


class _Reader:
    """Reads samples; the last is kept, as one day ends where the next begins."""

    def __init__(self) -> None:
        self._kept: tuple[Sample, tuple[Doubles, float]] | None = None

    def __call__(self, sample: Sample) -> tuple[Doubles, float]:
        if self._kept is None or self._kept[0] is not sample:
            self._kept = sample, sample.values()
        return self._kept[1]


def _sum(name: str, terms: Terms, reader: _Reader, where: str) -> Floats:
    """Weighted sum of the fields of a day."""
    total: Doubles | None = None
    rounding, axes = 0.0, terms[0][0].fields[0].axes
    for sample, weight in terms:
        for one in sample.fields:
            _refuse_other_grid(one, axes, name, where)
        values, error = reader(sample)
        total = weight * values if total is None else total + weight * values
        rounding += abs(weight) * error
    assert total is not None
    if name in NEVER_NEGATIVE:
        lowest = float(np.nanmin(total, initial=0.0))
        if lowest < -2 * rounding:
            first, last = terms[0][0], terms[-1][0]
            raise SoilcastError(
                f"{where}: {name} falls by {-lowest:.3g} between {_moment(first.end)} and {_moment(last.end)}, but its "
                "files say that it is accumulated since one time: they are not as their centre writes them; give the "
                "GRIB files, or amounts with time bounds (CF)"
            )
        total = np.where(total < 0.0, 0.0, total)
    return total.astype(np.float32)


def _refuse_other_grid(one: StepField, axes: Axes, name: str, where: str) -> None:
    if not one.axes.same_as(axes):
        raise SoilcastError(
            f"{where}: fields of {name} lie on different grids ({one.axes.extent}; {axes.extent}): give files of one"
        )


def _above(fields: Sequence[StepField], cells: Cells, where: str) -> Doubles:
    found = next((one for one in fields if one.quantity.name == OROGRAPHY), None)
    if found is None:
        raise SoilcastError(
            f"{where}: --lapse-rate needs the elevation of the forecast model: add the file of its geopotential or "
            "orography at the surface (z or orog, step 0), or leave --lapse-rate out"
        )
    change = found.quantity.conversion(found.where)
    return cells.elevation(found.read() * change.scale, found.axes, where)


def _refuse_absent(samples: Samples, fields: Sequence[StepField], where: str) -> None:
    missing = [name for name, each in samples.items() if not each]
    if missing:
        there = ", ".join(sorted({one.quantity.name for one in fields})) or "nothing of it"
        recipes = (recipe.parts for name in missing for recipe in WEATHER_RECIPES.get(name, ()))
        ways = "; or ".join(" with ".join(parts) for parts in recipes)
        raise SoilcastError(
            f"{where}: no {', '.join(missing)}, which the run needs; of what makes it the files hold {there}: add "
            f"{ways} of the same steps"
        )


def _refuse_days(chosen: Sequence[_Chosen | None], issues: Days, samples: Samples, gaps: bool, where: str) -> None:
    missing = [day for day, one in zip(issues, chosen, strict=True) if one is None]
    if not missing or (gaps and len(missing) < len(issues)):
        return
    runs = _runs(samples)
    held = _moment(runs[0]) if len(runs) == 1 else f"{len(runs)} runs, {_moment(runs[0])} .. {_moment(runs[-1])}"
    raise SoilcastError(
        f"{where}: no forecast for the days after {missing[0]} (it holds {held}): give a forecast that starts at the "
        f"end of that day, 00 UTC of {missing[0] + 1}, or before, or another --from"
    )


def _refuse_memory(shape: tuple[int, ...], memory: int | None, where: str) -> None:
    size = 4 * int(np.prod(shape))
    if memory is not None and size > memory // 2:
        raise SoilcastError(
            f"{where}: the daily weather of {shape[0]} member(s) and {shape[1]} cells takes {size / 2**20:.0f} MiB, "
            f"more than half of --memory {memory / 2**20:.0f} MiB: increase it, or give fewer members"
        )


def _title(fields: Sequence[StepField], runs: Sequence[int], members: int) -> str:
    origins = ", ".join(sorted({one.origin for one in fields if one.origin}))
    started = _moment(runs[0]) if len(runs) == 1 else f"{_moment(runs[0])} .. {_moment(runs[-1])}"
    return f"weather forecast of {started} ({origins}{f', {members} members' if members > 1 else ''})"


def _name(files: Sequence[DataFile]) -> str:
    return f"{files[0]}{f' and {len(files) - 1} more' if len(files) > 1 else ''}"


def _moment(hour: int) -> str:
    return f"{np.datetime64(hour, 'h')} UTC"


def _of(member: int | None) -> str:
    return "" if member is None else f", member {member}"
