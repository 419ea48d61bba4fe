"""What weather is forecast for which cells and days: in the cube's units, read a block of cells at a time."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import check_bounds, open_artifact, open_cube
from soilcast.cube.calendar import Days
from soilcast.errors import SoilcastError
from soilcast.schema import nearest
from soilcast.sources.formats import NETCDF, ZARR, format_of, refuse_format
from soilcast.sources.opening import DataFile, open_file
from soilcast.weather.days import archive_axes, days_of_steps, positions_of_leads, slice_of_leads
from soilcast.weather.fields import Field, Floats, fields_of, gather
from soilcast.weather.places import Places, Positions, places_of

__all__ = ["ARCHIVE", "DEGRADED", "Weather", "open_weather"]

ARCHIVE = "weather_archive"
"""Kind of the artifact that `soilcast.weather.degrade.degrade_weather` writes."""

DEGRADED = "degraded"
"""What the attribute ``weather`` of an archive says that an error model made of observed weather."""

# Weather that takes no more is read at once [bytes]: faults are told before anything is forecast, and a file whose
# chunks are whole maps is decompressed once.
_HELD = 64 << 20
_HASHED_AT_ONCE = 1 << 20

_OPEN: dict[str, Callable[[Path], xr.Dataset]] = {
    "cube": open_cube,
    ARCHIVE: functools.partial(open_artifact, kind=ARCHIVE),
    "forecast": functools.partial(open_artifact, kind="forecast"),
}
"""Artifacts of soilcast that weather is read from, and how they are opened."""


@dataclass(frozen=True, eq=False)
class Weather:
    """The weather of the days after issue days; where it is much, blocks of cells are read when they are asked for.

    Parameters
    ----------
    path
        The file.
    title
        What it says that it is.
    is_degraded
        Whether it says that it is observed weather with the errors of a model, and no weather forecast.
    names
        Names of the features in the contract.
    issues
        The issue days ``(issue,)``, datetime64[D].
    covered
        Whether the file has a forecast of the issue day ``(issue,)``.
    leads
        Days ahead.
    members
        Members of the ensemble; 1 without one.
    fields
        Where each feature lies in the file, in the order of ``names``.
    places
        Where each cell of the cube lies in the file.
    needed
        Cells that must have weather, ``(cell,)``.
    gaps
        Whether values may be missing in them.
    content
        Hash of the content, where the file says it.
    held
        All of it, ``(member, cell, issue, lead, feature)``, where it is little.
    """

    path: str
    title: str
    is_degraded: bool
    names: tuple[str, ...]
    issues: Days
    covered: npt.NDArray[np.bool_] = field(repr=False)
    leads: int
    members: int
    fields: tuple[Field, ...] = field(repr=False)
    places: Places = field(repr=False)
    needed: npt.NDArray[np.bool_] = field(repr=False)
    gaps: bool = False
    content: str = ""
    held: Floats | None = field(default=None, repr=False)

    @property
    def kind(self) -> str:
        """What forecasts say of it: ``forecast`` or ``degraded``."""
        return DEGRADED if self.is_degraded else "forecast"

    @property
    def size(self) -> int:
        """Values of a cell."""
        return self.members * len(self.issues) * self.leads * len(self.names)

    def values(self, cells: slice = slice(None)) -> Floats:
        """Give the weather of a block of cells.

        Returns
        -------
        ``(member, cell, issue, lead, feature)`` float32 in the contract's units; NaN where there is none.

        Raises
        ------
        SoilcastError
            A value is missing in a needed cell, unless gaps are allowed, or outside the contract's bounds; the file is
            damaged.
        """
        if self.held is not None:
            return self.held[:, cells].copy()
        first, stop, _ = cells.indices(len(self.needed))
        count = max(stop - first, 0)
        shape = (self.members, count, len(self.issues), self.leads, len(self.names))
        values = np.empty(shape, dtype=np.float32)
        for feature, one in enumerate(self.fields):
            block = gather(one, self.places, slice(first, first + count), self.path)
            check_bounds(one.name, block, self.path)
            if not self.gaps:
                self._refuse_missing(one, block, first)
            values[..., feature] = block.transpose(0, 3, 1, 2)
        return values

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of the content, as the file says it, or of its bytes: the same wherever the file lies."""
        if self.content:
            return self.content
        path, digest = Path(self.path), hashlib.sha256()
        for file in sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]:
            digest.update(file.relative_to(path).as_posix().encode())
            with file.open("rb") as stream:
                while part := stream.read(_HASHED_AT_ONCE):
                    digest.update(part)
        return digest.hexdigest()

    def record(self) -> dict[str, str]:
        """What artifacts say of it: nothing that depends on where it lies."""
        return {"kind": self.kind, "title": self.title, "sha256": self.sha256}

    def _refuse_missing(self, one: Field, block: Floats, first: int) -> None:
        """Raise if a needed cell of ``(member, issue, lead, cell)``, of which the first is ``first``, has no value."""
        needed = self.needed[first : first + block.shape[3]]
        missing = np.isnan(block).any(axis=0) & needed
        if missing.any():
            issue, lead = np.argwhere(missing.any(axis=2))[0]
            cells = missing.any(axis=(0, 1))
            raise SoilcastError(
                f"{self.path}: {one.stored} ({one.name}) is missing in {int(cells.sum())} of "
                f"{int(needed.sum())} cells ({self.places.told(first + int(np.flatnonzero(cells)[0]))}), the first day "
                f"is {self.issues[issue] + 1 + lead}: give a forecast with values there, or a cube without these cells"
            )


def open_weather(
    path: str | Path,
    cube: xr.Dataset,
    names: Sequence[str],
    issues: Days | np.datetime64,
    leads: int,
    *,
    units: Mapping[str, str] = {},
    needed: npt.NDArray[np.bool_] | None = None,
    gaps: bool = False,
    kinds: Collection[str] = ("cube", ARCHIVE),
) -> Weather:
    """Open the weather forecasts of some issue days for the cells of a cube.

    Parameters
    ----------
    path
        A forecast, or an archive of many. A cube (Zarr or NetCDF) that has the days and the cells; or NetCDF or Zarr on
        a regular latitude-longitude grid, or with a list of cells and ``lat`` and ``lon`` of each. Values are of days;
        a dimension ``number``, ``member`` or ``realization`` holds an ensemble; an archive has dimensions of issue days
        (reference times) and leads. On a grid each cell takes the point nearest to it, in whose grid cell it lies; in a
        list and a cube, the cell at its place.
    cube
        The opened cube whose cells are forecast.
    names
        The variables of the contract that are wanted, found by their names, else by their CF standard names.
    issues
        The issue days ``(issue,)``, or one; the first day wanted is the one after each.
    leads
        How many days are wanted.
    units
        Contract name -> unit, where the file says none or a wrong one.
    needed
        Cells that must have weather ``(cell,)``; by default all.
    gaps
        Allow an archive to lack issue days, which are then NaN, and values.
    kinds
        Artifacts of soilcast that it may be, keys of `_OPEN`.

    Returns
    -------
    The weather; what takes more than 64 MiB is read block by block, and its values are checked then.

    Raises
    ------
    SoilcastError
        The file is missing or damaged, or it is no weather; a variable is missing, ambiguous, or accumulated over the
        forecast; a unit is missing or does not convert; values are not daily; days or needed cells are not covered;
        many issue days of a file that holds one forecast; and what `Weather.values` raises.
    """
    where = str(path)
    for name in units:
        if name not in names:
            raise SoilcastError(f"--unit {name}: no such variable is read from {where}: {nearest(name, names)}")
    opened = _open(Path(path), kinds)
    places = places_of(opened, cube, where)
    days = np.atleast_1d(issues).astype("datetime64[D]")
    fields = [
        one.at(*_positions(opened, one, days, leads, where)) for one in fields_of(opened, names, places, units, where)
    ]
    covered = np.all([one.rows >= 0 for one in fields], axis=0)
    if not covered.any() or not (gaps or covered.all()):
        _refuse_days(opened, fields[0], days[~covered], where)
    wanted = np.ones(cube.sizes["cell"], dtype=np.bool_) if needed is None else needed
    _refuse_uncovered(places, wanted, cube, where)
    weather = Weather(
        path=where,
        title=str(opened.attrs.get("title", "a file without a title")),
        is_degraded=opened.attrs.get("weather") == DEGRADED,
        names=tuple(names),
        issues=days,
        covered=covered,
        leads=leads,
        members=max(one.members for one in fields),
        fields=tuple(fields),
        places=places,
        needed=wanted,
        gaps=gaps,
        content=str(opened.attrs.get("content_sha256", "")) if "soilcast_kind" in opened.attrs else "",
    )
    return replace(weather, held=weather.values()) if 4 * weather.size * len(wanted) <= _HELD else weather


def _positions(opened: xr.Dataset, one: Field, issues: Days, leads: int, where: str) -> tuple[Positions, slice]:
    """Position of each issue day in the file, -1 for none, and those of the days ahead."""
    if one.issue:
        there, steps = archive_axes(opened, one.issue, one.clock, where)
        order = np.argsort(there)
        at = np.minimum(np.searchsorted(there, issues, sorter=order), len(there) - 1)
        return np.where(there[order[at]] == issues, order[at], -1), slice_of_leads(steps, leads, where)
    if len(issues) > 1:
        raise SoilcastError(
            f"{where}: holds one forecast, but {len(issues)} issue days need one each: give one issue day with --from, "
            "or an archive with dimensions of issue days (forecast_reference_time) and leads (lead)"
        )
    return one.rows, positions_of_leads(days_of_steps(opened, one.clock, where), issues[0], leads, where)


def _open(path: Path, kinds: Collection[str]) -> xr.Dataset:
    form = format_of(path)
    refuse_format(path, form, (NETCDF, ZARR))
    (opened,) = open_file(DataFile(str(path), form.key))
    kind = opened.attrs.get("soilcast_kind")
    if kind is None:
        return opened
    opened.close()
    if str(kind) not in kinds:
        expected = (
            "a weather forecast is expected" if "cube" in kinds else "forecasts by issue day and lead are expected"
        )
        raise SoilcastError(f"{path}: {expected}, but this is a {kind}: give NetCDF, Zarr or a {' or '.join(kinds)}")
    return _OPEN[str(kind)](path)


def _refuse_days(opened: xr.Dataset, one: Field, missing: Days, where: str) -> NoReturn:
    there, _ = archive_axes(opened, one.issue, one.clock, where)
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    raise SoilcastError(
        f"{where}: has no forecast issued on {missing[0]}{more} (it has {len(there)} issue days, {there.min()} .. "
        f"{there.max()}): give an archive of these days, or other days"
    )


def _refuse_uncovered(places: Places, needed: npt.NDArray[np.bool_], cube: xr.Dataset, where: str) -> None:
    missing = np.flatnonzero((places.rows < 0) & needed)
    if len(missing):
        raise SoilcastError(
            f"{where}: {len(missing)} of {int(needed.sum())} cells of {cube.encoding.get('source', 'the cube')} are "
            f"not covered ({places.told(int(missing[0]))}); it covers {places.extent}: give a forecast that covers "
            "all cells, or a cube of covered cells"
        )
