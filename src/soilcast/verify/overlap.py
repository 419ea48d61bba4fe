"""Overlap of forecasts with each other and with a cube: the cells, issue days and leads that are evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import periods_of
from soilcast.cube.calendar import Days
from soilcast.errors import SoilcastError
from soilcast.regions.within import Within
from soilcast.verify.entry import DEVELOPMENT_PERIODS, Entry

Positions = slice | npt.NDArray[np.int64]
"""Of cells or days; a slice where they are contiguous, which is read without a copy."""

FEWEST_LEARNT = 30
"""Training days that the climatology needs: with fewer in the cube persistence is the only baseline."""

_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Overlap:
    """Common cells, issue days and leads of forecasts and a cube, which may have others besides.

    Parameters
    ----------
    leads
        The longest lead that all have; they have every one from 1 on [d].
    issued
        Issue days that all have, as positions along the cube's time, ascending ``(issue,)``; -1 is the day before its
        first. None of their forecast days is in training or validation of any of the forecasts.
    issues_of
        Label -> positions of these issue days along the forecast's time.
    cells
        Positions along the cube's cells of those that all forecasts have.
    cells_of
        Label -> positions of these cells along the forecast's.
    learn
        Days of the cube in training or validation of any of the forecasts, ``(time,)``.
    validation
        Those in validation of any.
    test_period
        First and last day that is forecast.
    omitted
        What was left out, and how much of it.
    """

    leads: int
    issued: npt.NDArray[np.int64] = field(repr=False)
    issues_of: Mapping[str, Positions] = field(repr=False)
    cells: Positions = field(repr=False)
    cells_of: Mapping[str, Positions] = field(repr=False)
    learn: npt.NDArray[np.bool_] = field(repr=False)
    validation: npt.NDArray[np.bool_] = field(repr=False)
    test_period: str
    omitted: tuple[str, ...]

    @property
    def training(self) -> npt.NDArray[np.bool_]:
        """Days of the cube in training of some and in validation of none of the forecasts, ``(time,)``."""
        return self.learn & ~self.validation


def find_overlap(entries: Sequence[Entry], cube: xr.Dataset, cube_path: Path, within: Within | None = None) -> Overlap:
    """Match forecasts and a cube by location and day.

    Parameters
    ----------
    entries
        The forecasts.
    cube, cube_path
        The opened cube and its path, for messages.
    within
        The cells of the cube that are evaluated; by default all.

    Raises
    ------
    SoilcastError
        No issue day, or no cell, in common that may be evaluated.
    """
    days = cube["time"].to_numpy()
    leads = min(entry.leads for entry in entries)
    omitted = [f"{entry.label}: leads beyond {leads} d, which not all forecasts have" for entry in entries
             if entry.leads > leads]  # fmt: skip
    issued, more = _issue_days(entries, days, leads, cube_path)
    omitted += more
    cells, more = _cells(entries, cube_path, within)
    omitted += more
    hashes = {entry.attributes["cube_sha256"] for entry in entries}
    if hashes != {cube.attrs["content_sha256"]}:
        omitted.append("the forecasts were made for another cube than the observations; matched by location and day")
    learn = reduce(np.logical_or, (is_learnt(entry.attributes, days) for entry in entries))
    if learn.sum() < FEWEST_LEARNT:
        omitted.append(
            f"all baselines but persistence, which need the training period: the cube has {int(learn.sum())} "
            "day(s) of it"
        )
    return Overlap(
        leads=leads,
        issued=((issued - days[0]) / _DAY).astype(np.int64),
        issues_of={entry.label: span(np.searchsorted(entry.issue_days, issued)) for entry in entries},
        cells=span(cells),
        cells_of={entry.label: span(entry.cells[cells]) for entry in entries},
        learn=learn,
        validation=reduce(
            np.logical_or, (is_learnt(entry.attributes, days, DEVELOPMENT_PERIODS[1:]) for entry in entries)
        ),
        test_period=_test_period(entries, issued[0] + _DAY, issued[-1] + leads * _DAY),
        omitted=tuple(omitted),
    )


def span(positions: npt.NDArray[np.integer]) -> Positions:
    """Ascending positions as a slice if they have no gap."""
    if len(positions) and positions[0] >= 0 and (np.diff(positions) == 1).all():
        return slice(int(positions[0]), int(positions[-1]) + 1)
    return positions.astype(np.int64)


def _issue_days(entries: Sequence[Entry], days: Days, leads: int, cube_path: Path) -> tuple[Days, list[str]]:
    """Issue days that all forecasts have, whose first forecast day is in the cube, and none in training."""
    omitted = []
    common: Days = reduce(np.intersect1d, (entry.issue_days for entry in entries))
    for entry in entries:
        if lost := len(entry.issue_days) - len(common):
            omitted.append(f"{entry.label}: {lost} of {len(entry.issue_days)} issue days, which not all forecasts have")
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
        omitted.append(f"{lost} of {len(common)} issue days, whose forecast days are outside the cube")
    common = common[inside]
    forecast_days = common[:, np.newaxis] + np.arange(1, leads + 1) * _DAY
    learnt = np.zeros(len(common), dtype=np.bool_)
    for entry in entries:
        learnt |= is_learnt(entry.attributes, forecast_days).any(axis=1)
        if learnt.all():
            first_day = forecast_days[is_learnt(entry.attributes, forecast_days)].min().astype("datetime64[D]")
            raise SoilcastError(
                f"{entry.path}: its forecast days overlap training or validation (first day {first_day}): forecast a "
                "separate period"
            )
    if learnt.any():
        omitted.append(f"{learnt.sum()} of {len(common)} issue days, whose forecast days are in training or validation")
    return common[~learnt], omitted


def _cells(entries: Sequence[Entry], cube_path: Path, within: Within | None) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Positions of the cube's cells that all forecasts have, and that lie within an area."""
    inside = np.ones(len(entries[0].cells), dtype=np.bool_) if within is None else within.cells
    shared = inside & np.all([entry.cells >= 0 for entry in entries], axis=0)
    if not shared.any():
        raise SoilcastError(f"{cube_path}: no cell that all forecasts have: evaluate them separately")
    omitted = [] if within is None else list(within.notes)
    if lost := int((inside & ~shared).sum()):
        omitted.append(f"{lost} of {len(shared)} cells of the cube, of which not all forecasts have a forecast")
    return np.flatnonzero(shared), omitted


def is_learnt(
    attributes: Mapping[str, str], days: Days, names: Sequence[str] = DEVELOPMENT_PERIODS
) -> npt.NDArray[np.bool_]:
    """Whether days are in training or validation of the run of a forecast with some attributes."""
    learnt = np.zeros(days.shape, dtype=np.bool_)
    for name in names:
        for first, last in periods_of(attributes[name]):
            learnt |= (days >= first) & (days <= last)
    return learnt


def _test_period(entries: Sequence[Entry], first: np.datetime64, last: np.datetime64) -> str:
    """The test period as the forecasts have it where that is what is evaluated, else the days that are."""
    for entry in entries:
        periods = periods_of(entry.attributes["test_period"])
        if periods[0][0] != first or periods[-1][1] != last:
            break
    else:
        return entries[0].attributes["test_period"]
    return f"{first.astype('datetime64[D]')}:{last.astype('datetime64[D]')}"


def _period(ends: Days) -> str:
    return " .. ".join(str(day) for day in ends.astype("datetime64[D]"))
