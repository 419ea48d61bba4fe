"""Which forecasts are evaluated together, and under which labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import xarray as xr

from soilcast.cube import open_artifact
from soilcast.errors import SoilcastError
from soilcast.verify.entry import Entry, attributes_of, read_entry


def open_entries(paths: Sequence[Path], cube: xr.Dataset, reserved: Sequence[str]) -> list[Entry]:
    """Look at forecasts and check that they can be evaluated together on this cube; their values are not read.

    Parameters
    ----------
    paths
        The forecasts, at least one.
    cube
        The opened cube.
    reserved
        Labels that are taken. Forecasts of such a label, or of one label, are told apart by where they are:
        ``LSTM (a)`` and ``LSTM (b)`` of ``a.nc`` and ``b.nc``, or of ``a/forecast`` and ``b/forecast``.

    Returns
    -------
    Entries with the targets that all of them have.

    Raises
    ------
    SoilcastError
        No forecast, one that is not of soilcast, lacks or contradicts something, has another latency than the first, or
        no target that all of them have.
    """
    if not paths:
        raise SoilcastError("no forecast is given: name at least one output of soilcast forecast")
    entries: list[Entry] = []
    for path in paths:
        with open_artifact(path, "forecast") as forecast:
            attributes = attributes_of(forecast, path)
            entries.append(read_entry(forecast, path, attributes["label"], attributes, cube))
        mine, theirs = entries[-1].latency, entries[0].latency
        if mine != theirs:
            raise _other_than_first("latency_days", mine, theirs, path, entries[0].path)
    return _with_common_targets(_told_apart(entries, reserved))


def _with_common_targets(entries: Sequence[Entry]) -> list[Entry]:
    common = entries[0].targets
    for entry in entries[1:]:
        shared = tuple(target for target in common if target in entry.targets)
        if not shared:
            mine, theirs = ",".join(entry.targets), ",".join(common)
            raise _other_than_first("its set of targets", mine, theirs, entry.path, entries[0].path)
        common = shared
    levels = [{target: entry.levels[target] for target in common} for entry in entries]
    return [replace(entry, targets=common, levels=of) for entry, of in zip(entries, levels, strict=True)]


def _other_than_first(name: str, mine: object, theirs: object, path: Path, first: Path) -> SoilcastError:
    return SoilcastError(
        f"{path}: {name} is {mine}, but {theirs} in {first}: forecasts evaluated together need the same; evaluate "
        "them separately"
    )


def _told_apart(entries: Sequence[Entry], reserved: Sequence[str]) -> list[Entry]:
    """Give each forecast a label of its own."""
    count = Counter([*reserved, *(entry.label for entry in entries)])
    taken = {label for label, times in count.items() if times > 1} | set(reserved)
    labelled: list[Entry] = []
    for entry in entries:
        alike = [other.path for other in entries if other.label == entry.label]
        label = f"{entry.label} ({_place(entry.path, alike)})" if count[entry.label] > 1 else entry.label
        labelled.append(replace(entry, label=_unique(label, taken)))
        taken.add(labelled[-1].label)
    return labelled


def _place(path: Path, others: Sequence[Path]) -> str:
    """What tells a path from others: its name, or that of the nearest folder in which all of them differ."""
    names = [[_stem(one), *(folder.name for folder in one.absolute().parents)] for one in others]
    mine = names[list(others).index(path)]
    return next((own for own, *every in zip(mine, *names, strict=False) if len(set(every)) == len(every)), _stem(path))


def _stem(path: Path) -> str:
    return path.stem if path.suffix in (".nc", ".zarr") else path.name


def _unique(label: str, taken: set[str]) -> str:
    number, unique = 1, label
    while unique in taken:
        number += 1
        unique = f"{label} ({number})"
    return unique
