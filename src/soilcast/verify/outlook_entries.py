"""Which outlooks are judged together, and whether they may be: one cube, the same leads and days."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from soilcast.cube import VARIABLES
from soilcast.errors import SoilcastError
from soilcast.training.split import period_slice
from soilcast.verify.entries import Entry, Kind, check_cells, open_kind, other_than_first

CENTRAL = ("cell", "time", "lead")
QUANTILE = (*CENTRAL, "quantile")

_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class OutlookEntry(Entry):
    """One outlook that is judged.

    Parameters
    ----------
    targets
        The variables that it forecasts.
    leads
        Its longest lead; it has every one from 1 on [d].
    latency
        How many days before the issue day its newest observation is [d].
    first, issues
        Its first issue day as a position along the cube's time, -1 for the day before the cube's first; and how many
        days it was issued on, one after the other.
    levels
        Target -> levels of its quantiles; none where it has but a central forecast.
    """

    targets: tuple[str, ...]
    leads: int
    latency: int
    first: int
    issues: int
    levels: Mapping[str, tuple[float, ...]]


def quantile_name(target: str) -> str:
    """Name of the quantiles of a target in an outlook."""
    return f"{target}_quantile"


def open_outlooks(
    paths: Sequence[Path], cube: xr.Dataset, cube_path: Path, reserved: Sequence[str]
) -> list[OutlookEntry]:
    """Look at outlooks and check that they can be judged together on this cube; their values are not read.

    Parameters
    ----------
    paths, cube, cube_path, reserved
        See `soilcast.verify.entries.open_kind`.

    Raises
    ------
    SoilcastError
        No outlook, one that is not of soilcast, lacks or contradicts something, was made for another cube, or has
        other leads, latency, issue days or another split than the first, or no target that all of them have. Those
        that some of them have alone are left out.
    """
    entries = open_kind(OUTLOOK, paths, cube, cube_path, reserved)
    first = entries[0]
    for entry in entries[1:]:
        for name, value in _shared(entry, cube).items():
            theirs = _shared(first, cube)[name]
            if value != theirs:
                raise other_than_first(name, value, theirs, entry.path, first.path, OUTLOOK.name)
    common = first.targets
    for entry in entries[1:]:
        shared = tuple(target for target in common if target in entry.targets)
        if not shared:
            mine, theirs = ",".join(entry.targets), ",".join(common)
            raise other_than_first("its targets", mine, theirs, entry.path, first.path, OUTLOOK.name)
        common = shared
    levels = [{target: entry.levels[target] for target in common} for entry in entries]
    return [replace(entry, targets=common, levels=of) for entry, of in zip(entries, levels, strict=True)]


def _shared(entry: OutlookEntry, cube: xr.Dataset) -> dict[str, object]:
    """What outlooks need to have alike, in words."""
    start = cube["time"].to_numpy()[0] + entry.first * _DAY
    days = [(start + shift * _DAY).astype("datetime64[D]") for shift in (0, entry.issues - 1)]
    return {
        "its longest lead": f"{entry.leads} d",
        "latency_days": entry.latency,
        "its issue days": f"{days[0]}:{days[1]}",
    }


def _look_at_outlook(entry: Entry, outlook: xr.Dataset, cube: xr.Dataset) -> OutlookEntry:
    targets = tuple(name.strip() for name in entry.attributes["targets"].split(","))
    if len(set(targets)) < len(targets) or not set(targets) <= VARIABLES.keys():
        raise _damaged(entry, f"its targets {entry.attributes['targets']} are no variables, each once")
    for target in targets:
        if target not in cube or cube[target].dims != ("cell", "time"):
            raise _damaged(entry, f"its target {target} (cell, time) is not in its cube")
        _check_floats(entry, outlook, target, CENTRAL)
    check_cells(entry, outlook, cube)
    leads = outlook.sizes["lead"]
    stored = outlook["lead"].to_numpy() if "lead" in outlook.coords else np.empty(0)
    if not leads or not np.array_equal(stored, np.arange(1, leads + 1)):
        raise _damaged(entry, "its leads are not 1, 2, .. days")
    first = _first_issue_day(entry, outlook, cube)
    return OutlookEntry(
        **vars(entry),
        targets=targets,
        leads=leads,
        latency=_latency(entry, outlook),
        first=first,
        issues=outlook.sizes["time"],
        levels={target: _levels(entry, outlook, target) for target in targets},
    )


def _first_issue_day(entry: Entry, outlook: xr.Dataset, cube: xr.Dataset) -> int:
    """Position of the first issue day, once all days are seen to be ones that may be judged."""
    days = cube["time"].to_numpy()
    test = period_slice(days, entry.attributes["test_period"], str(entry.path), "its test period")
    issued = outlook["time"].to_numpy()
    if issued.dtype.kind != "M" or not issued.size or np.isnat(issued).any() or (np.diff(issued) != _DAY).any():
        raise SoilcastError(
            f"{entry.path}: its issue days do not follow one another day by day: forecast every day of the test period"
        )
    position = (issued[0] - days[0]) / _DAY
    last = position + issued.size - 1 + outlook.sizes["lead"]
    if position != int(position) or position + 1 < test.start or last >= test.stop:
        ends = (issued[0] + _DAY, issued[-1] + outlook.sizes["lead"] * _DAY)
        raise SoilcastError(
            f"{entry.path}: it forecasts {':'.join(str(day.astype('datetime64[D]')) for day in ends)}, which are not "
            f"all days of its test period {entry.attributes['test_period']}: forecast that period"
        )
    return int(position)


def _latency(entry: Entry, outlook: xr.Dataset) -> int:
    latency: Any = outlook.attrs.get("latency_days")
    if isinstance(latency, bool) or not isinstance(latency, (int, np.integer)) or latency < 0:
        raise _damaged(entry, "latency_days is no number of days")
    return int(latency)


def _levels(entry: Entry, outlook: xr.Dataset, target: str) -> tuple[float, ...]:
    name = quantile_name(target)
    if name not in outlook.variables:
        return ()
    _check_floats(entry, outlook, name, QUANTILE)
    stored = outlook["quantile"].to_numpy() if "quantile" in outlook.coords else np.empty(0)
    # Levels of single precision are those of double precision in these digits.
    levels = tuple(round(float(level), 6) for level in stored) if stored.dtype.kind == "f" else ()
    if not levels or not all(low < high for low, high in itertools.pairwise((0.0, *levels, 1.0))):
        raise _damaged(entry, "the levels of its quantiles do not rise within 0 .. 1")
    return levels


def _check_floats(entry: Entry, outlook: xr.Dataset, name: str, dims: tuple[str, ...]) -> None:
    if name not in outlook or outlook[name].dims != dims or outlook[name].dtype.kind != "f":
        raise _damaged(entry, f"no {name} ({', '.join(dims)}) in it")


def _damaged(entry: Entry, what: str) -> SoilcastError:
    return SoilcastError(f"{entry.path}: {what}: it is damaged; forecast again")


OUTLOOK: Kind[OutlookEntry] = Kind("outlook", ("targets", "weather"), (), _look_at_outlook)
"""Forecasts of several leads."""
