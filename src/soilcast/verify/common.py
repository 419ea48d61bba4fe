"""What forecasts have in common with each other and with a cube: the cells, issue days and leads that are evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import days_of
from soilcast.cube.calendar import Days
from soilcast.errors import SoilcastError
from soilcast.verify.entry import LEARNT, Entry

Positions = slice | npt.NDArray[np.int64]
"""Of cells or days; a slice where they lie side by side, which is read without a copy."""

FEWEST_LEARNT = 30
"""Days of training without which a cube tells nothing of the climate: there are no baselines but persistence then."""

_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Common:
    """What is evaluated of forecasts that may be of other periods, cells and leads than each other and than the cube.

    Parameters
    ----------
    leads
        The longest lead that all have; they have every one from 1 on [d].
    issued
        Issue days that all have, as positions along the cube's time, ascending ``(issue,)``; -1 is the day before its
        first. None of their forecast days was learnt from by any of the forecasts.
    issues_of
        Label -> positions of these issue days along the forecast's time.
    cells
        Positions along the cube's cells of those that all forecasts have.
    cells_of
        Label -> positions of these cells along the forecast's.
    learn
        Days of the cube that any of the forecasts learnt from, ``(time,)``.
    test_period
        First and last day that is forecast.
    notes
        What was left out, and how much of it.
    """

    leads: int
    issued: npt.NDArray[np.int64] = field(repr=False)
    issues_of: Mapping[str, Positions] = field(repr=False)
    cells: Positions = field(repr=False)
    cells_of: Mapping[str, Positions] = field(repr=False)
    learn: npt.NDArray[np.bool_] = field(repr=False)
    test_period: str
    notes: tuple[str, ...]


def find_common(entries: Sequence[Entry], cube: xr.Dataset, cube_path: Path) -> Common:
    """Match forecasts and a cube by place and day.

    Parameters
    ----------
    entries
        The forecasts.
    cube, cube_path
        The opened cube and its place, for messages.

    Raises
    ------
    SoilcastError
        No issue day, or no cell, that all of them have and that may be evaluated.
    """
    days = cube["time"].to_numpy()
    leads = min(entry.leads for entry in entries)
    notes = [f"{entry.label}: leads beyond {leads} d, which not all forecasts have" for entry in entries
             if entry.leads > leads]  # fmt: skip
    issued, more = _issue_days(entries, days, leads, cube_path)
    notes += more
    cells, more = _cells(entries, cube_path)
    notes += more
    hashes = {entry.attributes["cube_sha256"] for entry in entries}
    if hashes != {cube.attrs["content_sha256"]}:
        notes.append("the forecasts were made for another cube than that of the observations; matched by place and day")
    learn = reduce(np.logical_or, (_is_learnt(entry, days) for entry in entries))
    if learn.sum() < FEWEST_LEARNT:
        notes.append(
            f"all baselines but persistence, which learn from the training period: the cube has {int(learn.sum())} "
            "day(s) of it"
        )
    return Common(
        leads=leads,
        issued=((issued - days[0]) / _DAY).astype(np.int64),
        issues_of={entry.label: span(np.searchsorted(entry.issue_days, issued)) for entry in entries},
        cells=span(cells),
        cells_of={entry.label: span(entry.cells[cells]) for entry in entries},
        learn=learn,
        test_period=_test_period(entries, issued[0] + _DAY, issued[-1] + leads * _DAY),
        notes=tuple(notes),
    )


def span(positions: npt.NDArray[np.integer]) -> Positions:
    """Give ascending positions without a gap as a slice, others as they are."""
    if len(positions) and positions[0] >= 0 and (np.diff(positions) == 1).all():
        return slice(int(positions[0]), int(positions[-1]) + 1)
    return positions.astype(np.int64)


def _issue_days(entries: Sequence[Entry], days: Days, leads: int, cube_path: Path) -> tuple[Days, list[str]]:
    """Issue days that all forecasts have, whose first forecast day is in the cube, and that none learnt from."""
    notes = []
    common: Days = reduce(np.intersect1d, (entry.issue_days for entry in entries))
    for entry in entries:
        if lost := len(entry.issue_days) - len(common):
            notes.append(f"{entry.label}: {lost} of {len(entry.issue_days)} issue days, which not all forecasts have")
    if not len(common):
        spans = "; ".join(f"{entry.path} {_period(entry.issue_days[[0, -1]])}" for entry in entries)
        raise SoilcastError(f"no issue day in common ({spans}): evaluate the forecasts separately")
    inside = (common + _DAY >= days[0]) & (common + _DAY <= days[-1])
    if not inside.any():
        raise SoilcastError(
            f"{cube_path}: it covers {_period(days[[0, -1]])}, none of the days of {entries[0].path}, issued "
            f"{_period(common[[0, -1]])}: give a cube that has observations of them"
        )
    if lost := int((~inside).sum()):
        notes.append(f"{lost} of {len(common)} issue days, whose forecast days are outside the cube")
    common = common[inside]
    ahead = common[:, np.newaxis] + np.arange(1, leads + 1) * _DAY
    seen = np.zeros(len(common), dtype=np.bool_)
    for entry in entries:
        seen |= _is_learnt(entry, ahead).any(axis=1)
        if seen.all():
            first = ahead[_is_learnt(entry, ahead)].min().astype("datetime64[D]")
            raise SoilcastError(
                f"{entry.path}: its forecast days overlap training or validation (first day {first}): forecast a "
                "separate period"
            )
    if seen.any():
        notes.append(f"{int(seen.sum())} of {len(common)} issue days, whose forecast days were learnt from")
    return common[~seen], notes


def _cells(entries: Sequence[Entry], cube_path: Path) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Positions of the cube's cells that all forecasts have."""
    shared = np.all([entry.cells >= 0 for entry in entries], axis=0)
    if not shared.any():
        raise SoilcastError(f"{cube_path}: no cell that all forecasts have: evaluate them separately")
    notes = []
    if lost := int((~shared).sum()):
        notes.append(f"{lost} of {len(shared)} cells of the cube, of which not all forecasts have a forecast")
    return np.flatnonzero(shared), notes


def _is_learnt(entry: Entry, days: Days) -> npt.NDArray[np.bool_]:
    """Whether a forecast's run saw the soil moisture of some days, in training or validation."""
    learnt = np.zeros(days.shape, dtype=np.bool_)
    for name in LEARNT:
        first, last = days_of(entry.attributes[name])
        learnt |= (days >= first) & (days <= last)
    return learnt


def _test_period(entries: Sequence[Entry], first: np.datetime64, last: np.datetime64) -> str:
    """The test period as the forecasts have it where that is what is evaluated, else the days that are."""
    for entry in entries:
        begin, end = days_of(entry.attributes["test_period"])
        if begin != first or end != last:
            break
    else:
        return entries[0].attributes["test_period"]
    return f"{first.astype('datetime64[D]')}:{last.astype('datetime64[D]')}"


def _period(ends: Days) -> str:
    return " .. ".join(str(day) for day in ends.astype("datetime64[D]"))
