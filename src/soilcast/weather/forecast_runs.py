"""Which run of a forecast stands for an issue day, and whether it has all its days, variables and members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from soilcast.cube.calendar import Days
from soilcast.errors import SoilcastError
from soilcast.weather.day_terms import DayMaker, Lacking, Terms
from soilcast.weather.onto_cells import Cells
from soilcast.weather.step_fields import DAY, Sample

Members = dict[int | None, DayMaker]
Samples = Mapping[str, Mapping[int, list[Sample]]]
"""Variable -> run -> what there is of it."""


class NoForecastError(SoilcastError):
    """There is no forecast of any issue day that is asked for."""


@dataclass(frozen=True, eq=False)
class ChosenRun:
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


def by_run(samples: Sequence[Sample]) -> dict[int, list[Sample]]:
    """Group samples by the start of their forecast, hours since 1970-01-01."""
    found: dict[int, list[Sample]] = {}
    for one in samples:
        found.setdefault(one.fields[0].run, []).append(one)
    return found


def runs_of(samples: Samples) -> list[int]:
    """Starts of all forecasts, ascending."""
    return sorted({run for each in samples.values() for run in each})


def choose_run(samples: Samples, day: int, cells: Cells, leads: int, gaps: bool, where: str) -> ChosenRun | None:
    """Choose the newest run that has all days after an issue day; None where there is none.

    Parameters
    ----------
    samples
        What the files hold.
    day
        The issue day, days since 1970-01-01.
    cells
        Their local days.
    leads
        How many days are wanted.
    gaps
        Take a run that starts on the issue day alone, and give None where there is none.
    where
        The files, for messages.

    Raises
    ------
    SoilcastError
        Members are of different length; without gaps, no run has the days.
    """
    after = (day + 1) * DAY
    earliest = after - int(cells.offsets.max(initial=0))
    runs = [run for run in reversed(runs_of(samples)) if run <= earliest and (run > day * DAY or not gaps)]
    faults: list[tuple[int, SoilcastError]] = []
    for run in runs:
        try:
            found = _terms_of(samples, run, after, cells, leads, where)
        except _ShortError as error:
            faults.append((run, error))
            continue
        notes = [f"the forecast of {moment(newer)} is not used: {error}" for newer, error in faults]
        return ChosenRun(run, found, (*notes, *_dropped(samples, run, after, leads, where)))
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
                f"{where}: the run of {moment(run)} has no {name}, which other runs have: give files of all variables "
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
    begin = f"{where}: the run of {moment(run)} has no complete {day} of {what} ({why})"
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
        f"{len(incomplete)} incomplete day(s) at the ends of the weather forecast of {moment(run)} are not used (such "
        f"as {np.datetime64(first, 'D')}, {why})"
    ]


def members_of(chosen: Sequence[ChosenRun | None], where: str) -> tuple[int | None, ...]:
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
                    f"{where}: {name} of the run of {moment(one.run)} has a forecast without a member beside "
                    f"{len(members) - 1} members: give the ensemble or the single forecast"
                )
            if members != (None,):
                found.setdefault(members, f"{name} of the run of {moment(one.run)}")
    if len(found) > 1:
        (one_set, first), (other_set, second) = list(found.items())[:2]
        differing = sorted(set(one_set) ^ set(other_set), key=str)
        raise SoilcastError(
            f"{where}: {first} has {len(one_set)} members, but {second} {len(other_set)} (differing in member "
            f"{differing[0]}): give the same members of all"
        )
    return next(iter(found), (None,))


def refuse_days(chosen: Sequence[ChosenRun | None], issues: Days, samples: Samples, gaps: bool, where: str) -> None:
    """Raise `NoForecastError` if no run stands for an issue day; with gaps, for any of them."""
    missing = [day for day, one in zip(issues, chosen, strict=True) if one is None]
    if not missing or (gaps and len(missing) < len(issues)):
        return
    runs = runs_of(samples)
    held = moment(runs[0]) if len(runs) == 1 else f"{len(runs)} runs, {moment(runs[0])} .. {moment(runs[-1])}"
    raise NoForecastError(
        f"{where}: no forecast for the days after {missing[0]} (it holds {held}): give a forecast that starts at the "
        f"end of that day, 00 UTC of {missing[0] + 1}, or before, or another --from"
    )


def moment(hour: int) -> str:
    """Name a time, hours since 1970-01-01, for messages."""
    return f"{np.datetime64(hour, 'h')} UTC"


def _of(member: int | None) -> str:
    return "" if member is None else f", member {member}"
