"""Which forecasts there are: collections of one run on one set of cells, and in each of them issue days."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from soilcast.cube.identity import version_of
from soilcast.cube.store import open_forecast
from soilcast.errors import SoilcastError
from soilcast.products.variables import DROUGHT_CLASS
from soilcast.serving.cells import Cells
from soilcast.serving.faults import NotThereError
from soilcast.serving.finding import Finder

LOOK_AGAIN = 2.0
"""Time after which a request looks for new forecasts [s]."""

QUANTILE = "_quantile"
"""What follows a layer in the name of its quantiles."""

_DIMS = {"cell", "time", "lead", "quantile", DROUGHT_CLASS}
_CELL_COORDINATES = ("lat", "lon", "cell", "cell_name", "grid_lat", "grid_lon")


@dataclass(frozen=True)
class Variable:
    """A variable of a forecast.

    Parameters
    ----------
    name
        In the file.
    dims
        Its dimensions, in the order in which they are stored.
    attributes
        Of CF.
    """

    name: str
    dims: tuple[str, ...]
    attributes: dict[str, Any] = field(repr=False, hash=False)

    @property
    def title(self) -> str:
        """What it is, in words."""
        return str(self.attributes.get("long_name", self.name))

    @property
    def units(self) -> str:
        """As CF writes them."""
        return str(self.attributes.get("units", "1"))


@dataclass(frozen=True, eq=False)
class ForecastFile:
    """What a file holds, without its values.

    Parameters
    ----------
    path, version
        Where it stands, and which version of it.
    issues
        Its issue days, datetime64[D].
    leads
        [d].
    quantiles, classes
        Levels and drought classes; none where it has none.
    variables
        By name, those of issue days and cells alone.
    attributes
        Of the whole.
    cells
        Shared with others.
    """

    path: Path
    version: tuple[int, ...]
    issues: tuple[np.datetime64, ...]
    leads: tuple[int, ...]
    quantiles: tuple[float, ...]
    classes: tuple[str, ...]
    variables: dict[str, Variable]
    attributes: dict[str, Any]
    cells: Cells

    @property
    def label(self) -> str:
        """The user's name of the run."""
        return str(self.attributes.get("label", self.path.stem))

    @property
    def series(self) -> Hashable:
        """What all forecasts of a collection have in common."""
        return str(self.attributes.get("weights_sha256", "")), self.label, self.cells.identity

    @property
    def layers(self) -> list[str]:
        """The variables that are forecast."""
        named = [name for name in str(self.attributes.get("targets", "")).split(",") if name in self.variables]
        return named + (["root_zone"] if "root_zone" in self.variables else [])


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
                return _summary(path, version, opened, self._cells)
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


def _summary(path: Path, version: tuple[int, ...], opened: xr.Dataset, shared: dict[str, Cells]) -> ForecastFile:
    lacking = [name for name in ("cell", "time", "lead", "lat", "lon") if name not in opened.coords]
    lacking += [name for name in ("cell", "time", "lead") if not opened.sizes.get(name)]
    if lacking or opened["time"].dtype.kind != "M" or opened["lead"].dtype.kind not in "iu":
        raise SoilcastError(f"{path}: {', '.join(lacking) or 'its days'} missing or invalid: damaged; forecast again")
    cells = Cells(
        opened[[name for name in _CELL_COORDINATES if name in opened.coords]]
        .reset_coords()
        .set_coords([name for name in _CELL_COORDINATES if name in opened.coords])
        .drop_attrs()
    )
    cells = shared.setdefault(cells.identity, cells)
    variables = {
        str(name): Variable(str(name), tuple(map(str, one.dims)), dict(one.attrs))
        for name, one in opened.data_vars.items()
        if {"cell", "time"} <= set(one.dims) <= _DIMS and one.dtype.kind in "fiu"
    }
    return ForecastFile(
        path,
        version,
        tuple(opened["time"].to_numpy().astype("datetime64[D]")),
        tuple(int(lead) for lead in opened["lead"].to_numpy()),
        tuple(float(level) for level in opened["quantile"].to_numpy()) if "quantile" in opened.coords else (),
        tuple(str(one) for one in opened[DROUGHT_CLASS].to_numpy()) if DROUGHT_CLASS in opened.coords else (),
        variables,
        {str(name): one for name, one in opened.attrs.items() if isinstance(one, str | int | float | np.number)},
        cells,
    )


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "forecast"
