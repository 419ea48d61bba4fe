"""LandBench 1.0 (Li et al. 2024, doi:10.1016/j.eswa.2023.122917): the tree as distributed -> a cube."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from soilcast.cube import (
    ERA5_LAND_LAYERS,
    VARIABLES,
    Conversion,
    Grid,
    assemble,
    cells_of_grid,
    conversion,
    daily_axis,
    era5_land_thickness,
)
from soilcast.cube.calendar import Days, refuse_other_days
from soilcast.errors import SoilcastError
from soilcast.sources.antarctica import without_antarctica
from soilcast.sources.derived import TEXTURE, unit_of_texture
from soilcast.sources.gridded import (
    Placed,
    as_stored,
    axes_of,
    constant,
    dims_of,
    ever_finite,
    order_on,
    series,
)
from soilcast.sources.landbench.layout import (
    ROWS,
    TARGET,
    File,
    constant_files,
    dynamic_files,
    resolution_folder,
    years_of,
)
from soilcast.sources.netcdf import open_netcdf, unit_of
from soilcast.sources.parameters import COPERNICUS
from soilcast.sources.stamps import covered_days


def landbench(
    paths: Sequence[Path],
    *,
    resolution: float,
    years: str | None = None,
    units: Mapping[str, str] | None = None,
    antarctica: bool = False,
) -> xr.Dataset:
    """Read the LandBench 1.0 tree: daily ERA5-Land fields and constants on a global grid.

    Cells are the grid points, without Antarctica, at which layer 1 of the soil has a value on some day. The eight
    inputs of the paper and the target are required; evaporation, runoff, snow, the deeper layers and the constants are
    taken where they are there, and the attribute ``absent`` of the cube names the ones that are not. A missing value
    stays NaN. Memory stays at about one block of days of one variable; layer 1 is read twice, since it decides the
    cells.

    Parameters
    ----------
    paths
        The root of the tree, which holds ``<resolution>/{atmosphere,land_surface}/<year>/`` and
        ``<resolution>/constants/`` (or ``constants/`` beside the resolutions).
    resolution
        Resolution [degrees], the name of the folder to read: 0.5, 1, 2 or 4.
    years
        First and last year, ``2018:2020``, or one year; every year that is there if not given.
    units
        Contract name -> unit of the files, where their attributes are silent or wrong. Precipitation with a depth
        (``m``) as its unit attribute is read as the mean of hourly amounts, which is what LandBench holds; a unit
        given here is taken at its word (a depth is then a daily total).
    antarctica
        Keep the cells south of 60 °S; ``notes`` counts those left out.

    Returns
    -------
    The cube: dynamic variables ``(cell, time)``, lazy; constants ``(cell,)``. The attribute ``origin`` of a variable
    says where it came from and what was taken for its unit.

    Raises
    ------
    SoilcastError
        Folders or files are missing (all are listed), a file is damaged, a unit is missing (all are asked for) or
        does not fit, days are missing, repeat or differ between files, or files lie on different grids. Values out of
        bounds are told, with the file, when they are read.
    """
    given = dict(units or {})
    _refuse_unknown(given)
    root, folder = resolution_folder(paths, resolution)
    wanted = years_of(folder, years)
    dynamic, constants = dynamic_files(folder, wanted), constant_files(root, folder)

    scan = _Scan(root, given)
    target = [scan.place(ROWS[TARGET], path) for path in dynamic.pop(TARGET)]
    where = f"{folder} ({ROWS[TARGET].files[0]}.nc of {wanted[0]} .. {wanted[-1]})"
    time = daily_axis(np.concatenate(scan.days), where)
    placed = {
        name: [scan.place(ROWS[name], path, year) for year, path in enumerate(files)] for name, files in dynamic.items()
    }
    fixed = scan.tell_texture({name: scan.place(ROWS[name], path) for name, path in constants.items()})
    scan.ask_for_units()

    grid, notes = _land(target, scan.grid(), where, antarctica=antarctica)
    lengths = [len(days) for days in scan.days]
    values: dict[str, Any] = {name: series(files, lengths, grid) for name, files in {TARGET: target, **placed}.items()}
    layers = {name: depth for name, depth in ERA5_LAND_LAYERS.items() if name in values}
    values |= era5_land_thickness(len(grid.index), layers)
    for name, file in fixed.items():
        values[name] = constant(file, grid)
        if missing := int(np.isnan(values[name]).sum()):
            scan.origins[name] += f" (no value at {missing} of {len(grid.index)} cells)"
    cube = assemble(
        values,
        cells=cells_of_grid(grid),
        time=time,
        title=f"LandBench 1.0, {resolution:g} degree, {wanted[0]} .. {wanted[-1]}",
        source="landbench",
        content="reanalysis (ERA5-Land, LandBench 1.0)",
        license=COPERNICUS,
        origins=scan.origins,
        packing={name: max(file.packing for file in files) for name, files in {TARGET: target, **placed}.items()},
    )
    if absent := [name for name in ROWS if name not in cube]:
        cube.attrs["absent"] = " ".join(absent)
    if notes:
        cube.attrs["notes"] = "\n".join(notes)
    return cube


class _Scan:
    """What the files say before any value is read: axes, days and units; with the units that must be asked for."""

    def __init__(self, root: Path, units: Mapping[str, str]) -> None:
        self.root = root
        self.units = units
        self.days: list[Days] = []
        self.origins: dict[str, str] = {}
        self._silent: dict[str, Path] = {}
        self._grid: Grid | None = None
        self._reference = ""

    def place(self, row: File, path: Path, year: int | None = None) -> Placed:
        """Check one file, for all but the target against the target's file of that year (counted from 0)."""
        where = str(path)
        with open_netcdf(path) as opened:
            if row.variable not in opened.data_vars:
                found = ", ".join(map(str, opened.data_vars)) or "none"
                raise SoilcastError(f"{where}: no variable {row.variable}; there are: {found}: rename it in the file")
            variable = opened[row.variable]
            dims = dims_of(variable, where, timed=row.folder != "constants")
            lat, lon = axes_of(opened, dims, where)
            if len(dims) == 3:
                self._check_days(daily_axis(covered_days(opened, dims[0], where), where), path, year)
            attributes, step = dict(variable.attrs), abs(float(variable.encoding.get("scale_factor", 0.0)))
        if self._grid is None:
            self._grid = Grid(lat, np.sort(lon), np.arange(len(lat) * len(lon), dtype=np.int64))
            self._reference = where
        rows, columns = order_on(lat, lon, self._grid, where, self._reference)
        convert = self._conversion(row, attributes, path)
        return Placed(row.name, path, row.variable, dims, rows, columns, convert, step * abs(convert.scale))

    def grid(self) -> Grid:
        """The whole grid of the tree, sea included."""
        assert self._grid is not None
        return self._grid

    def tell_texture(self, fixed: Mapping[str, Placed]) -> dict[str, Placed]:
        """Settle the unit of a texture without one by what its three fractions sum to."""
        if not set(TEXTURE) <= self._silent.keys():
            return dict(fixed)
        told = unit_of_texture({name: as_stored(fixed[name], self.grid()) for name in TEXTURE})
        if told is None:
            return dict(fixed)
        for name in TEXTURE:
            self.origins[name] += f" (unit told from the sum of the three fractions: {told})"
            self._silent.pop(name)
        return {
            name: replace(file, conversion=conversion(name, told, str(file.path))) if name in TEXTURE else file
            for name, file in fixed.items()
        }

    def ask_for_units(self) -> None:
        """Raise `SoilcastError` with every unit that is missing."""
        if not self._silent:
            return
        listed = "; ".join(
            f"{name} ({path.relative_to(self.root)}, one that converts to {VARIABLES[name].units})"
            for name, path in self._silent.items()
        )
        options = " ".join(f"--unit {name}=UNIT" for name in self._silent)
        raise SoilcastError(f"{self.root}: no unit for {listed}: add units attributes or specify them: {options}")

    def _check_days(self, days: Days, path: Path, year: int | None) -> None:
        if year is not None:
            refuse_other_days(days, self.days[year], str(path), f"{ROWS[TARGET].files[0]}.nc of that year")
            return
        found = np.unique(days.astype("datetime64[Y]"))
        if [str(number) for number in found] != [path.parent.name]:
            raise SoilcastError(
                f"{path}: has days of {', '.join(map(str, found))}, but lies in the folder {path.parent.name}: move "
                "it to the folder of its year"
            )
        self.days.append(days)

    def _conversion(self, row: File, attributes: Mapping[str, Any], path: Path) -> Conversion:
        given, written = self.units.get(row.name), unit_of(attributes)
        found, note = Conversion(1.0, 0.0), ""
        if given is not None:
            found, note = conversion(row.name, given, str(path)), f" (unit given as {given})"
        elif VARIABLES[row.name].kind == "class":
            pass
        elif (unit := written or row.unit) is not None:
            found, note = row.reading(row.name, unit, attributes, str(path))
            note = note or ("" if written else f" (unit taken as {unit})")
        else:
            self._silent.setdefault(row.name, path)
        place = path.relative_to(self.root)
        every_year = place if row.folder == "constants" else place.parent.parent / "*" / place.name
        self.origins[row.name] = every_year.as_posix() + note
        return Conversion(found.scale * row.sign, found.offset * row.sign)


def _land(target: Sequence[Placed], grid: Grid, where: str, *, antarctica: bool) -> tuple[Grid, tuple[str, ...]]:
    land = ever_finite(target, grid)
    if not land.any():
        raise SoilcastError(f"{where}: {TARGET} is NaN on every day: download the files again")
    index = grid.index[land]
    chosen, notes = without_antarctica(grid.cell_lat[land], keep=antarctica, where=where)
    return Grid(grid.lat, grid.lon, index[chosen]), notes


def _refuse_unknown(units: Mapping[str, str]) -> None:
    for name in units.keys() - ROWS.keys():
        raise SoilcastError(f"--unit {name}={units[name]}: landbench has no such variable; it has {', '.join(ROWS)}")
