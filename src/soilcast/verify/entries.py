"""Which forecasts are evaluated together, and under which labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import xarray as xr

from soilcast.cube import open_artifact
from soilcast.errors import SoilcastError
from soilcast.files import distinct_name
from soilcast.verify.entry import Entry, attributes_of, read_entry


def open_entries(paths: Sequence[Path], cube: xr.Dataset, reserved: Sequence[str]) -> list[Entry]:
    """Open forecasts and check that they can be evaluated together on this cube; their values are not read.

    Parameters
    ----------
    paths
        The forecasts, at least one.
    cube
        The opened cube.
    reserved
        Labels that are used already. Forecasts of such a label, or of one label, are distinguished by their paths:
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
        latency, first_latency = entries[-1].latency, entries[0].latency
        if latency != first_latency:
            raise _differs_from_first("latency_days", latency, first_latency, path, entries[0].path)
    return _with_common_targets(_distinguish(entries, reserved))


def _with_common_targets(entries: Sequence[Entry]) -> list[Entry]:
    common = entries[0].targets
    for entry in entries[1:]:
        shared = tuple(target for target in common if target in entry.targets)
        if not shared:
            targets, common_targets = ",".join(entry.targets), ",".join(common)
            raise _differs_from_first("its set of targets", targets, common_targets, entry.path, entries[0].path)
        common = shared
    levels = [{target: entry.levels[target] for target in common} for entry in entries]
    return [replace(entry, targets=common, levels=own) for entry, own in zip(entries, levels, strict=True)]


def _differs_from_first(name: str, value: object, first_value: object, path: Path, first: Path) -> SoilcastError:
    return SoilcastError(
        f"{path}: {name} is {value}, but {first_value} in {first}: forecasts evaluated together need the "
        "same; evaluate them separately"
    )


def _distinguish(entries: Sequence[Entry], reserved: Sequence[str]) -> list[Entry]:
    """Give each forecast a unique label."""
    count = Counter([*reserved, *(entry.label for entry in entries)])
    used = {label for label, times in count.items() if times > 1} | set(reserved)
    labelled: list[Entry] = []
    for entry in entries:
        same_label = [candidate.path for candidate in entries if candidate.label == entry.label]
        label = f"{entry.label} ({distinct_name(entry.path, same_label)})" if count[entry.label] > 1 else entry.label
        labelled.append(replace(entry, label=_unique(label, used)))
        used.add(labelled[-1].label)
    return labelled


def _unique(label: str, used: set[str]) -> str:
    number, unique = 1, label
    while unique in used:
        number += 1
        unique = f"{label} ({number})"
    return unique
