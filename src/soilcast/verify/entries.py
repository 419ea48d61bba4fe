"""Which forecasts are judged together, and whether they may be: one cube, one target, one split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import days_of, open_artifact
from soilcast.errors import SoilcastError
from soilcast.training.split import period_slice

_TEXTS = (
    "label",
    "model",
    "content",
    "cube_sha256",
    "config",
    "training_log",
    "train_period",
    "validation_period",
    "test_period",
)
"""Attributes that every artifact with forecasts carries."""

_LEARNT = ("train_period", "validation_period")
_PERIODS = (*_LEARNT, "test_period")


@dataclass(frozen=True)
class Entry:
    """One forecast that is judged.

    Parameters
    ----------
    label
        Name in the tables, unique among those judged together.
    path
        Where it came from.
    attributes
        What it says of itself: the texts that all of its kind carry.
    config, training_log
        Its run's configuration and log.
    mark
        What `mark_of` gives for it.
    """

    label: str
    path: Path
    attributes: dict[str, str]
    config: dict[str, Any]
    training_log: list[Any]
    mark: str


Judged = TypeVar("Judged", bound=Entry)


@dataclass(frozen=True)
class Kind(Generic[Judged]):
    """One kind of artifact that is judged.

    Parameters
    ----------
    name
        What it says of itself as ``soilcast_kind``.
    texts
        Attributes that it carries beside those of every kind.
    same
        Those of them that all which are judged together must have alike.
    look
        Called with an entry, the opened artifact and the opened cube: checks the axes, and gives what is known of it.
    """

    name: str
    texts: tuple[str, ...]
    same: tuple[str, ...]
    look: Callable[[Entry, xr.Dataset, xr.Dataset], Judged]


def mark_of(opened: xr.Dataset) -> str:
    """Tell artifacts apart by what they say of themselves, hashes and the time of making included."""
    said = sorted((str(name), str(text)) for name, text in opened.attrs.items())
    return hashlib.sha256(repr(said).encode()).hexdigest()


def open_entries(paths: Sequence[Path], cube: xr.Dataset, cube_path: Path, reserved: Sequence[str]) -> list[Entry]:
    """Look at next-day forecasts and check that they can be judged together on this cube: see `open_kind`."""
    return open_kind(FORECAST, paths, cube, cube_path, reserved)


def open_kind(
    kind: Kind[Judged], paths: Sequence[Path], cube: xr.Dataset, cube_path: Path, reserved: Sequence[str]
) -> list[Judged]:
    """Look at forecasts and check that they can be judged together on this cube; their values are not read.

    Parameters
    ----------
    kind
        What they are.
    paths
        The forecasts, at least one.
    cube, cube_path
        The opened cube and its place, for messages.
    reserved
        Labels that are taken; a forecast of that label, or of one that was given before, gets a number: ``LSTM (2)``.

    Raises
    ------
    SoilcastError
        No forecast, one that is not of soilcast, lacks an attribute, was made for another cube, or has another
        target or another split than the first.
    """
    if not paths:
        raise SoilcastError(f"no {kind.name} is given: name at least one that `soilcast forecast` wrote")
    entries: list[Judged] = []
    taken = set(reserved)
    for path in paths:
        with open_artifact(path, kind.name) as forecast:
            attributes = _texts(forecast, path, kind)
            _check_cube(attributes, path, cube, cube_path)
            if entries:
                _check_same(attributes, path, entries[0], kind)
            label = _unique(attributes["label"], taken)
            taken.add(label)
            entry = Entry(
                label=label,
                path=path,
                attributes=attributes,
                config=_parsed(attributes, "config", dict, path),
                training_log=_parsed(attributes, "training_log", list, path),
                mark=mark_of(forecast),
            )
            entries.append(kind.look(entry, forecast, cube))
    return entries


def days_judged(entry: Entry, cube: xr.Dataset) -> tuple[npt.NDArray[np.bool_], slice]:
    """Find a forecast's split among the days of its cube.

    Returns
    -------
    The days of training and validation ``(time,)``, from which the baselines learn too, and the days of the test
    period as positions along time.

    Raises
    ------
    SoilcastError
        The test period is not within the cube, days of it were learnt from, or no day was.
    """
    days = cube["time"].to_numpy()
    period = entry.attributes["test_period"]
    test = period_slice(days, period, str(entry.path), "its test period")
    learn = np.zeros(len(days), dtype=np.bool_)
    for name in _LEARNT:
        first, last = days_of(entry.attributes[name])
        learn |= (days >= first) & (days <= last)
    if learn[test].any():
        first = days[test][learn[test]][0].astype("datetime64[D]")
        raise SoilcastError(
            f"{entry.path}: its test period {period} holds days of training or validation (first {first}): forecast a "
            "period apart from them"
        )
    if not learn.any():
        raise SoilcastError(
            f"{entry.path}: the cube has no day of its training period {entry.attributes['train_period']}, from which "
            "the baselines learn: forecast on a cube that holds it"
        )
    return learn, test


def _texts(forecast: xr.Dataset, path: Path, kind: Kind[Judged]) -> dict[str, str]:
    names = (*kind.texts, *_TEXTS)
    lacking = [name for name in names if not isinstance(forecast.attrs.get(name), str)]
    if lacking:
        raise SoilcastError(f"{path}: the {kind.name} lacks the attribute(s) {', '.join(lacking)}: forecast again")
    texts = {name: " ".join(forecast.attrs[name].split()) for name in names}
    for name in _PERIODS:
        try:
            days_of(texts[name])
        except SoilcastError as error:
            raise SoilcastError(f"{path}: {name}: {error}; forecast again") from error
    return texts


def _parsed(attributes: dict[str, str], name: str, kind: type, path: Path) -> Any:
    try:
        parsed = json.loads(attributes[name])
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, kind):
        raise SoilcastError(f"{path}: the attribute {name} is no JSON {kind.__name__}: it is damaged; forecast again")
    return parsed


def _check_cube(attributes: dict[str, str], path: Path, cube: xr.Dataset, cube_path: Path) -> None:
    made_for, given = attributes["cube_sha256"], cube.attrs.get("content_sha256")
    if made_for != given:
        raise SoilcastError(
            f"{path} was made for another cube (sha256 {made_for:.12}) than {cube_path} (sha256 {given!s:.12}): give "
            "the cube that it was made for, or forecast again on this one"
        )


def _check_same(attributes: dict[str, str], path: Path, first: Entry, kind: Kind[Judged]) -> None:
    for name in (*kind.same, *_PERIODS):
        mine, theirs = attributes[name], first.attributes[name]
        same = days_of(mine) == days_of(theirs) if name in _PERIODS else mine == theirs
        if not same:
            raise other_than_first(name, mine, theirs, path, first.path, kind.name)


def other_than_first(name: str, mine: object, theirs: object, path: Path, first: Path, kind: str) -> SoilcastError:
    """Say in what an artifact differs from the first of those that are to be judged together."""
    return SoilcastError(
        f"{path}: {name} is {mine}, but {theirs} in {first}: {kind}s that are judged together need the same; evaluate "
        "them apart"
    )


def _unique(label: str, taken: set[str]) -> str:
    number, unique = 1, label
    while unique in taken:
        number += 1
        unique = f"{label} ({number})"
    return unique


def check_cells(entry: Entry, opened: xr.Dataset, cube: xr.Dataset) -> None:
    """Refuse an artifact whose cells are not those of its cube."""
    if not np.array_equal(opened["cell"].to_numpy(), cube["cell"].to_numpy()):
        raise SoilcastError(f"{entry.path}: its cells are not those of its cube: it is damaged; forecast again")


def _look_at_forecast(entry: Entry, forecast: xr.Dataset, cube: xr.Dataset) -> Entry:
    target, path = entry.attributes["target"], entry.path
    there = target in cube and target in forecast and forecast[target].dims == ("cell", "time")
    if not there or forecast[target].dtype.kind != "f":
        raise SoilcastError(f"{path}: no {target} (cell, time) in it and in its cube: it is damaged; forecast again")
    check_cells(entry, forecast, cube)
    days = cube["time"].to_numpy()
    period = entry.attributes["test_period"]
    tested = days[period_slice(days, period, str(path), "its test period")]
    if not np.array_equal(forecast["time"].to_numpy(), tested):
        raise SoilcastError(
            f"{path}: its days are not those of its test period {period}: it is damaged; forecast again"
        )
    return entry


FORECAST: Kind[Entry] = Kind("forecast", ("target",), ("target",), _look_at_forecast)
"""Forecasts of the next day."""
