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
from soilcast.files import path_list
from soilcast.schema import nearest
from soilcast.sources.formats import GRIB, NETCDF, ZARR
from soilcast.sources.netcdf import is_address
from soilcast.sources.opening import DataFile, list_files, open_file
from soilcast.weather.days import archive_axes, days_of_steps, positions_of_leads, slice_of_leads
from soilcast.weather.fields import Field, Floats, fields_of, gather
from soilcast.weather.forecast_runs import NoForecastError
from soilcast.weather.from_steps import daily_forecasts, newest_start
from soilcast.weather.netcdf_steps import holds_steps
from soilcast.weather.onto_cells import Cells
from soilcast.weather.places import Places, Positions, places_of

__all__ = ["ARCHIVE", "DEGRADED", "Weather", "forecast_start", "open_weather"]

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
    paths
        The files.
    title
        What they say that they are.
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
        Where each feature lies in a file of daily values, in the order of ``names``; none where all is held.
    places
        Where each cell of the cube lies in it.
    needed
        Cells that must have weather, ``(cell,)``.
    gaps
        Whether values may be missing in them.
    starts
        Start of the run that stands for each issue day ``(issue,)``, datetime64[h], where weather was made of steps.
    content
        Hash of the content, where the file says it.
    held
        All of it, ``(member, cell, issue, lead, feature)``, where it is little, or was made of steps.
    notes
        What was left out, and how the days were made.
    """

    paths: tuple[str, ...]
    title: str
    is_degraded: bool
    names: tuple[str, ...]
    issues: Days
    covered: npt.NDArray[np.bool_] = field(repr=False)
    leads: int
    members: int
    needed: npt.NDArray[np.bool_] = field(repr=False)
    fields: tuple[Field, ...] = field(default=(), repr=False)
    places: Places | None = field(default=None, repr=False)
    gaps: bool = False
    starts: npt.NDArray[np.datetime64] | None = field(default=None, repr=False)
    content: str = ""
    held: Floats | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """The first of the files."""
        return self.paths[0]

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
        assert self.places is not None
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
        digests = sorted(_digest(Path(path)) for path in self.paths)
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()

    def record(self) -> dict[str, str]:
        """What artifacts say of it: nothing that depends on where it lies."""
        return {"kind": self.kind, "title": self.title, "sha256": self.sha256}

    def _refuse_missing(self, one: Field, block: Floats, first: int) -> None:
        """Raise if a needed cell of ``(member, issue, lead, cell)``, of which the first is ``first``, has no value."""
        needed = self.needed[first : first + block.shape[3]]
        missing = np.isnan(block).any(axis=0) & needed
        if missing.any() and self.places is not None:
            issue, lead = np.argwhere(missing.any(axis=2))[0]
            cells = missing.any(axis=(0, 1))
            raise SoilcastError(
                f"{self.path}: {one.stored} ({one.name}) is missing in {int(cells.sum())} of "
                f"{int(needed.sum())} cells ({self.places.told(first + int(np.flatnonzero(cells)[0]))}), the first day "
                f"is {self.issues[issue] + 1 + lead}: give a forecast with values there, or a cube without these cells"
            )


def open_weather(
    paths: str | Path | Sequence[str | Path],
    cube: xr.Dataset,
    names: Sequence[str],
    issues: Days | np.datetime64,
    leads: int,
    *,
    units: Mapping[str, str] = {},
    needed: npt.NDArray[np.bool_] | None = None,
    gaps: bool = False,
    lapse_rate: float | None = None,
    memory: int | None = None,
    progress: bool = False,
    kinds: Collection[str] = ("cube", ARCHIVE),
) -> Weather:
    """Open the weather forecasts of some issue days for the cells of a cube.

    Parameters
    ----------
    paths
        A forecast, or an archive of many: forecasts as their centres give them (`soilcast.weather.from_steps`), in
        GRIB, NetCDF or Zarr, in as many files as they lie in; or one file of daily values. That is a cube (Zarr or
        NetCDF) that has the days and the cells; or NetCDF or Zarr on a regular latitude-longitude grid, or with a list
        of cells and ``lat`` and ``lon`` of each. A dimension ``number``, ``member`` or ``realization`` holds an
        ensemble; an archive has dimensions of issue days (reference times) and leads. Of daily values on a grid each
        cell takes the point nearest to it, in whose grid cell it lies; in a list and a cube, the cell at its place.
    cube
        The opened cube whose cells are forecast.
    names
        The variables of the contract that are wanted: of GRIB found by numbers, of steps in NetCDF by numbers and
        names, of daily values by names and CF standard names.
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
    lapse_rate
        Of forecasts as their centres give them: by how much temperature falls with height [K km-1], to correct it for
        the elevation of each cell; None for no correction.
    memory
        Memory limit [bytes], of which weather that is made of steps may take half.
    progress
        Show a progress bar while it is made.
    kinds
        Artifacts of soilcast that it may be, keys of `_OPEN`.

    Returns
    -------
    The weather; daily values that take more than 64 MiB are read block by block, and checked then.

    Raises
    ------
    SoilcastError
        A file is missing or damaged, or it is no weather; a variable is missing, ambiguous, or does not say of which
        time it is; a unit is missing or does not convert; days or needed cells are not covered; many issue days of a
        file that holds one forecast; and what `Weather.values` raises.
    """
    wanted = np.ones(cube.sizes["cell"], dtype=np.bool_) if needed is None else needed
    days = np.atleast_1d(issues).astype("datetime64[D]")
    given = path_list(paths)
    for path in filter(is_address, given):
        raise SoilcastError(f"{path}: a weather forecast is read from files on this machine: download it first")
    files = list_files(given, (NETCDF, GRIB, ZARR)).files
    for name in units:
        if name not in names:
            raise SoilcastError(f"--unit {name}: no such variable is read from {files[0]}: {nearest(name, names)}")
    opened = _open(files[0], kinds) if len(files) == 1 and files[0].format != "grib" else None
    if opened is None or ("soilcast_kind" not in opened.attrs and holds_steps(files[0])):
        made = daily_forecasts(
            files,
            Cells(cube, wanted),
            names,
            days,
            leads,
            units=units,
            gaps=gaps,
            lapse_rate=lapse_rate,
            memory=memory,
            progress=progress,
        )
        return Weather(
            paths=tuple(str(file.path) for file in files),
            title=made.title,
            is_degraded=False,
            names=tuple(names),
            issues=days,
            covered=made.covered,
            leads=leads,
            members=len(made.values),
            needed=wanted,
            gaps=gaps,
            held=made.values,
            starts=made.starts,
            notes=made.notes,
        )
    if lapse_rate is not None:
        raise SoilcastError(
            f"{files[0]}: holds daily values, of which --lapse-rate corrects none: leave it out, or give the forecast "
            "as its centre gives it (GRIB, or NetCDF of its steps)"
        )
    weather = _daily_values(opened, str(files[0]), cube, names, days, leads, units, wanted, gaps)
    return replace(weather, held=weather.values()) if 4 * weather.size * len(wanted) <= _HELD else weather


def forecast_start(
    paths: str | Path | Sequence[str | Path],
    cube: xr.Dataset,
    names: Sequence[str],
    issue: np.datetime64,
    leads: int,
    *,
    units: Mapping[str, str] = {},
) -> np.datetime64 | None:
    """Start of the forecast that `open_weather` takes for an issue day, datetime64[h]; None of daily values.

    Only headers of the files are read.

    Raises
    ------
    SoilcastError
        There is none that has all the days, and what `open_weather` raises of headers.
    """
    files = list_files(path_list(paths), (NETCDF, GRIB, ZARR)).files
    if len(files) == 1 and files[0].format != "grib" and not holds_steps(files[0]):
        return None
    cells = Cells(cube, np.ones(cube.sizes["cell"], dtype=np.bool_))
    return newest_start(files, cells, names, issue.astype("datetime64[D]"), leads, units)


def _daily_values(
    opened: xr.Dataset,
    where: str,
    cube: xr.Dataset,
    names: Sequence[str],
    days: Days,
    leads: int,
    units: Mapping[str, str],
    needed: npt.NDArray[np.bool_],
    gaps: bool,
) -> Weather:
    """Find the weather in a file of daily values."""
    places = places_of(opened, cube, where)
    fields = [
        one.at(*_positions(opened, one, days, leads, where)) for one in fields_of(opened, names, places, units, where)
    ]
    covered = np.all([one.rows >= 0 for one in fields], axis=0)
    if not covered.any() or not (gaps or covered.all()):
        _refuse_days(opened, fields[0], days[~covered], where)
    _refuse_uncovered(places, needed, cube, where)
    return Weather(
        paths=(where,),
        title=str(opened.attrs.get("title", "a file without a title")),
        is_degraded=opened.attrs.get("weather") == DEGRADED,
        names=tuple(names),
        issues=days,
        covered=covered,
        leads=leads,
        members=max(one.members for one in fields),
        needed=needed,
        fields=tuple(fields),
        places=places,
        gaps=gaps,
        content=str(opened.attrs.get("content_sha256", "")) if "soilcast_kind" in opened.attrs else "",
    )


def _digest(path: Path) -> str:
    """Hash of the bytes of a file, or of all files of a folder."""
    digest = hashlib.sha256()
    for file in sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]:
        digest.update(file.relative_to(path).as_posix().encode())
        with file.open("rb") as stream:
            while part := stream.read(_HASHED_AT_ONCE):
                digest.update(part)
    return digest.hexdigest()


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


def _open(file: DataFile, kinds: Collection[str]) -> xr.Dataset:
    (opened,) = open_file(file)
    kind = opened.attrs.get("soilcast_kind")
    if kind is None:
        return opened
    opened.close()
    if str(kind) not in kinds:
        wanted = "a weather forecast is expected" if "cube" in kinds else "forecasts by issue day and lead are expected"
        raise SoilcastError(
            f"{file}: {wanted}, but this is a {kind}: give GRIB, NetCDF, Zarr or a {' or '.join(kinds)}"
        )
    return _OPEN[str(kind)](Path(file.path))


def _refuse_days(opened: xr.Dataset, one: Field, missing: Days, where: str) -> NoReturn:
    there, _ = archive_axes(opened, one.issue, one.clock, where)
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    raise NoForecastError(
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
