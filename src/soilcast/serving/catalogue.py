"""Which forecasts there are: collections of one run on one set of cells, and in each of them issue days."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soilcast.cube.identity import version_of
from soilcast.cube.store import open_forecast
from soilcast.errors import SoilcastError
from soilcast.serving.cells import Cells
from soilcast.serving.faults import NotThereError
from soilcast.serving.finding import Finder
from soilcast.serving.forecast_files import ForecastFile, summary

LOOK_AGAIN = 2.0
"""Time after which a request looks for new forecasts [s]."""


@dataclass(frozen=True, eq=False)
class Instance:
    """The forecast from an issue day: a position along the issue days of a file."""

    file: ForecastFile
    position: int

    @property
    def issue(self) -> np.datetime64:
        """The issue day."""
        return self.file.issues[self.position]

    @property
    def valid_days(self) -> list[str]:
        """The days that are forecast, by lead."""
        return [str(self.issue + lead) for lead in self.file.leads]


@dataclass(frozen=True, eq=False)
class Collection:
    """Forecasts of one run on one set of cells.

    Parameters
    ----------
    id
        Safe in an address.
    instances
        Issue day as text -> forecast, in order.
    """

    id: str
    instances: dict[str, Instance]

    @property
    def newest(self) -> Instance:
        """The forecast of the last issue day."""
        return next(reversed(self.instances.values()))

    @property
    def cells(self) -> Cells:
        """Of all."""
        return self.newest.file.cells

    def instance(self, issue: str | None) -> Instance:
        """Give the forecast of an issue day, None for the newest.

        Raises
        ------
        NotThereError
            There is none of that day.
        """
        if issue is None:
            return self.newest
        if issue not in self.instances:
            days = list(self.instances)
            raise NotThereError(f"no issue day {issue[:20]!r} in {self.id}: there are {days[0]} to {days[-1]}")
        return self.instances[issue]


@dataclass(frozen=True)
class Broken:
    """A file that cannot be served.

    Parameters
    ----------
    name
        Of the file, without its folder.
    reason
        One line.
    """

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What there was at a moment."""

    collections: dict[str, Collection]
    broken: list[Broken]

    def collection(self, name: str) -> Collection:
        """Give a collection.

        Raises
        ------
        NotThereError
            There is none of that name.
        """
        if name not in self.collections:
            raise NotThereError(f"no collection {name[:40]!r}: there are {', '.join(self.collections) or 'none'}")
        return self.collections[name]


class Catalogue:
    """What is served, looked for again as requests come.

    Parameters
    ----------
    paths
        Forecasts, or folders in which they lie or arrive.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._finder = Finder(paths)
        self._files: dict[tuple[Path, tuple[int, ...]], ForecastFile | Broken] = {}
        self._cells: dict[str, Cells] = {}
        self._ids: dict[Hashable, str] = {}
        self._lock = threading.Lock()
        self.found: dict[str, list[Path]] = {}
        self._snapshot = self._look()
        self._looked = time.monotonic()

    def now(self) -> Snapshot:
        """Give what there is; looked for again after `LOOK_AGAIN`, while others go on with what was there."""
        if time.monotonic() - self._looked > LOOK_AGAIN and self._lock.acquire(blocking=False):
            try:
                self._snapshot = self._look()
                self._looked = time.monotonic()
            finally:
                self._lock.release()
        return self._snapshot

    def look_again(self) -> Snapshot:
        """Give what there is at this moment."""
        with self._lock:
            self._snapshot = self._look()
            self._looked = time.monotonic()
        return self._snapshot

    def _look(self) -> Snapshot:
        self.found = self._finder.look()
        seen: dict[tuple[Path, tuple[int, ...]], ForecastFile | Broken] = {}
        for path in (*self.found.get("forecast", ()), *self.found.get("?", ())):
            try:
                key = path, version_of(path)
                seen[key] = self._files[key] if key in self._files else self._summarise(path, key[1])
                if version_of(path) != key[1]:
                    del seen[key]
            except OSError:  # replaced or removed at this very moment: the next look will tell
                continue
        self._files = seen
        files = [one for one in seen.values() if isinstance(one, ForecastFile)]
        broken = [one for one in seen.values() if isinstance(one, Broken)]
        return Snapshot(self._collections(files), broken)

    def _summarise(self, path: Path, version: tuple[int, ...]) -> ForecastFile | Broken:
        try:
            with open_forecast(path) as opened:
                return summary(path, version, opened, self._cells)
        except SoilcastError as error:
            return Broken(path.name, str(error).removeprefix(f"{path}: "))

    def _collections(self, files: Sequence[ForecastFile]) -> dict[str, Collection]:
        series: dict[Hashable, dict[str, Instance]] = {}
        # Of two forecasts from one day the one of fewer days counts: it has products.
        for file in sorted(files, key=lambda one: -len(one.issues)):
            instances = series.setdefault(file.series, {})
            instances |= {str(issue): Instance(file, position) for position, issue in enumerate(file.issues)}
        found = {self._id(key, instances): dict(sorted(instances.items())) for key, instances in series.items()}
        return {name: Collection(name, instances) for name, instances in sorted(found.items())}

    def _id(self, key: Hashable, instances: dict[str, Instance]) -> str:
        """Name a collection by its label, where others have that too also by its file; it keeps this name."""
        if key not in self._ids:
            file = next(iter(instances.values())).file
            names = _slug(file.label), f"{_slug(file.label)}-{_slug(file.path.stem)}"
            taken = set(self._ids.values())
            more = (f"{names[1]}-{number}" for number in range(2, len(taken) + 3))
            self._ids[key] = next(name for name in (*names, *more) if name not in taken)
        return self._ids[key]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "forecast"
