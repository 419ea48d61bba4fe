"""What weather is forecast for which cells and days: in the cube's units, read a block of cells at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import check_bounds, open_cube
from soilcast.cube.calendar import Days
from soilcast.errors import SoilcastError
from soilcast.schema import nearest
from soilcast.sources.formats import NETCDF, ZARR, format_of, refuse_format
from soilcast.sources.opening import DataFile, open_file
from soilcast.weather.days import positions_of_leads
from soilcast.weather.fields import Field, Floats, fields_of, gather
from soilcast.weather.places import Places, places_of

__all__ = ["Weather", "open_weather"]

# Weather that takes no more is read at once [bytes]: faults are told before anything is forecast, and a file whose
# chunks are whole maps is decompressed once.
_HELD = 64 << 20


@dataclass(frozen=True, eq=False)
class Weather:
    """The weather of the days after an issue day; where it is much, blocks of cells are read when they are asked for.

    Parameters
    ----------
    path
        The file.
    names
        Names of the features in the contract.
    days
        The days ahead ``(lead,)``, datetime64[ns].
    members
        Members of the ensemble; 1 without one.
    fields
        Where each feature lies in the file, in the order of ``names``.
    places
        Where each cell of the cube lies in the file.
    needed
        Cells that must have weather, ``(cell,)``.
    held
        All of it, ``(member, cell, lead, feature)``, where it is little.
    """

    path: str
    names: tuple[str, ...]
    days: Days
    members: int
    fields: tuple[Field, ...] = field(repr=False)
    places: Places = field(repr=False)
    needed: npt.NDArray[np.bool_] = field(repr=False)
    held: Floats | None = field(default=None, repr=False)

    def values(self, cells: slice = slice(None)) -> Floats:
        """Give the weather of a block of cells.

        Returns
        -------
        ``(member, cell, lead, feature)`` float32 in the contract's units; NaN only in cells that are not needed.

        Raises
        ------
        SoilcastError
            A value is missing in a needed cell, or outside the contract's bounds; the file is damaged.
        """
        if self.held is not None:
            return self.held[:, cells].copy()
        first, stop, _ = cells.indices(len(self.needed))
        count = max(stop - first, 0)
        values = np.empty((self.members, count, len(self.days), len(self.names)), dtype=np.float32)
        for feature, one in enumerate(self.fields):
            block = gather(one, self.places, slice(first, first + count), self.path)
            check_bounds(one.name, block, self.path)
            self._refuse_missing(one, block, first)
            values[..., feature] = block.transpose(0, 2, 1)
        return values

    def _refuse_missing(self, one: Field, block: Floats, first: int) -> None:
        """Raise if a needed cell of ``(member, lead, cell)`` has no value; the block begins at cell ``first``."""
        needed = self.needed[first : first + block.shape[2]]
        missing = np.isnan(block).any(axis=0) & needed
        if missing.any():
            lead = int(np.flatnonzero(missing.any(axis=1))[0])
            cell = int(np.flatnonzero(missing.any(axis=0))[0])
            raise SoilcastError(
                f"{self.path}: {one.stored} ({one.name}) is missing in {int(missing.any(axis=0).sum())} of "
                f"{int(needed.sum())} cells ({self.places.told(first + cell)}), the first day is "
                f"{self.days[lead].astype('datetime64[D]')}: give a forecast with values there, or a cube without "
                "these cells"
            )


def open_weather(
    path: str | Path,
    cube: xr.Dataset,
    names: Sequence[str],
    issue: np.datetime64,
    leads: int,
    *,
    units: Mapping[str, str] = {},
    needed: npt.NDArray[np.bool_] | None = None,
) -> Weather:
    """Open the weather forecast of some days for the cells of a cube.

    Parameters
    ----------
    path
        A cube (Zarr or NetCDF) that has the days and the cells; or NetCDF or Zarr on a regular latitude-longitude grid,
        or with a list of cells and ``lat`` and ``lon`` of each. Values are of days; a dimension ``number``, ``member``
        or ``realization`` holds an ensemble. On a grid each cell takes the point nearest to it, in whose grid cell it
        lies; in a list and a cube, the cell at its place.
    cube
        The opened cube whose cells are forecast.
    names
        The variables of the contract that are wanted, found by their names, else by their CF standard names.
    issue
        The issue day; the first day wanted is the one after it.
    leads
        How many days are wanted.
    units
        Contract name -> unit, where the file says none or a wrong one.
    needed
        Cells that must have weather ``(cell,)``; by default all.

    Returns
    -------
    The weather; what takes more than 64 MiB is read block by block, and its values are checked then.

    Raises
    ------
    SoilcastError
        The file is missing or damaged, or it is no weather; a variable is missing, ambiguous, or accumulated over the
        forecast; a unit is missing or does not convert; values are not daily; days or needed cells are not covered; and
        what `Weather.values` raises.
    """
    where = str(path)
    for name in units:
        if name not in names:
            raise SoilcastError(f"--unit {name}: no such variable is read from {where}: {nearest(name, names)}")
    opened = _open(Path(path))
    places = places_of(opened, cube, where)
    fields = fields_of(opened, names, places, units, where)
    placed = [one.at(positions_of_leads(one.days, issue, leads, where)) for one in fields]
    wanted = np.ones(cube.sizes["cell"], dtype=np.bool_) if needed is None else needed
    _refuse_uncovered(places, wanted, cube, where)
    weather = Weather(
        path=where,
        names=tuple(names),
        days=placed[0].days,
        members=max(one.members for one in placed),
        fields=tuple(placed),
        places=places,
        needed=wanted,
    )
    size = 4 * weather.members * len(wanted) * leads * len(fields)
    return replace(weather, held=weather.values()) if size <= _HELD else weather


def _open(path: Path) -> xr.Dataset:
    form = format_of(path)
    refuse_format(path, form, (NETCDF, ZARR))
    (opened,) = open_file(DataFile(str(path), form.key))
    kind = opened.attrs.get("soilcast_kind")
    if kind is None:
        return opened
    opened.close()
    if str(kind) != "cube":
        raise SoilcastError(
            f"{path}: a weather forecast is expected, but this is a {kind}: give NetCDF, Zarr or a cube"
        )
    return open_cube(path)


def _refuse_uncovered(places: Places, needed: npt.NDArray[np.bool_], cube: xr.Dataset, where: str) -> None:
    missing = np.flatnonzero((places.rows < 0) & needed)
    if len(missing):
        raise SoilcastError(
            f"{where}: {len(missing)} of {int(needed.sum())} cells of {cube.encoding.get('source', 'the cube')} are "
            f"not covered ({places.told(int(missing[0]))}); it covers {places.extent}: give a forecast that covers "
            "all cells, or a cube of covered cells"
        )
