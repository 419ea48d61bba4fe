"""Gridded NetCDF files as cells × days: axes matched to one grid, values gathered lazily, one file open at a time."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import Conversion, Grid, check_bounds, spacing, wrap_longitude
from soilcast.cube.pieces import lazily
from soilcast.errors import SoilcastError
from soilcast.sources.netcdf import naming_damage, open_netcdf, unit_of

_LATITUDES = ("latitude", "lat", "y")
_LONGITUDES = ("longitude", "lon", "x")
_TIMES = ("time", "valid_time", "day")
# Values that are decoded at a time while a file is gathered, whatever the block that is asked for; one day at least.
_DECODED_AT_A_TIME = 2 << 20
# What a value takes while it is decoded, converted and checked, and a cell while its place is looked up [bytes].
_BYTES_A_VALUE, _BYTES_A_CELL = 32, 32
# What CF says of axes: those of the Earth, and those of a grid laid over it.
_TRUE = ("latitude", "longitude")
_PROJECTED = ("grid_l", "projection_")
_GEOGRAPHIC = "latitude_longitude"
_LENGTHS = ("m", "km", "meter", "metre", "meters", "metres")
# Axes are stored as float32 as often as float64; this share of the spacing is let pass.
_AXIS_TOLERANCE = 0.01


@dataclass(frozen=True)
class Placed:
    """One variable of one file, with its place on a grid.

    Parameters
    ----------
    variable
        Name in the contract.
    path
        The file.
    name
        Name in the file.
    dims
        Names of its time, latitude and longitude dimensions; without time for a constant.
    rows, columns
        Position in the file of each row and column of the grid, ``(grid_lat,)`` and ``(grid_lon,)``.
    conversion
        From the file's unit to the contract's.
    packing
        Step in which the file has rounded the values [contract's unit].
    """

    variable: str
    path: Path
    name: str
    dims: tuple[str, ...]
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    conversion: Conversion
    packing: float = 0.0

    def positions(self, grid: Grid) -> npt.NDArray[np.int64]:
        """Position of each cell in the file's flattened (lat, lon), ``(cell,)``."""
        row, column = np.divmod(grid.index, len(grid.lon))
        positions: npt.NDArray[np.int64] = self.rows[row] * len(self.columns) + self.columns[column]
        return positions


def dims_of(variable: xr.DataArray, where: str, *, timed: bool) -> tuple[str, ...]:
    """Names of the (time,) latitude and longitude dimensions of a variable; others must have length 1.

    Raises
    ------
    SoilcastError
        A dimension is lacking, or there is one too many.
    """
    groups = (_TIMES, _LATITUDES, _LONGITUDES) if timed else (_LATITUDES, _LONGITUDES)
    found = [next((dim for dim in group if dim in variable.dims), None) for group in groups]
    spare = [dim for dim in variable.dims if dim not in found and variable.sizes[dim] > 1]
    if None in found or spare:
        expected = ", ".join(group[0] for group in groups)
        raise SoilcastError(
            f"{where}: {variable.name} has the dimensions ({', '.join(map(str, variable.dims))}), "
            f"but ({expected}) are expected: rename or select them in the file"
        )
    return tuple(str(dim) for dim in found)


def axes_of(
    opened: xr.Dataset, dims: Sequence[str], where: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Latitudes and longitudes of a file in its own order, longitudes in -180 .. 180 [degrees]; of a point, one each.

    Raises
    ------
    SoilcastError
        An axis has no coordinate values, values that repeat, or those of a rotated or projected grid.
    """
    for dim in dims[-2:]:
        if dim not in opened.variables:
            raise SoilcastError(f"{where}: lat/lon mismatch: {dim} has no coordinate values: add them to the file")
    refuse_projected(opened, dims[-2:], where)
    axes = [np.atleast_1d(opened[dim].to_numpy()).astype(np.float64) for dim in dims[-2:]]
    lat, lon = (np.round(axis, 6).astype(np.float64) for axis in axes)
    lon = np.round(wrap_longitude(lon), 6).astype(np.float64)
    for dim, axis in zip(dims[-2:], (lat, lon), strict=True):
        if len(np.unique(axis)) != len(axis) or np.isnan(axis).any():
            raise SoilcastError(f"{where}: lat/lon mismatch: {dim} has repeated or missing values: correct the axis")
    return lat, lon


def is_monotonic(axis: npt.NDArray[np.float64]) -> bool:
    """Whether an axis runs one way."""
    steps = np.diff(axis)
    return bool((steps > 0).all() or (steps < 0).all())


def refuse_projected(opened: xr.Dataset, axes: Sequence[str], where: str) -> None:
    """Raise `SoilcastError` if variables named as latitude and longitude are the axes of a rotated or projected grid.

    Parameters
    ----------
    opened
        The file.
    axes
        Names of latitude and longitude in it.
    where
        Its name, for the message.
    """
    for name in axes:
        axis = opened[name]
        standard, unit = str(axis.attrs.get("standard_name", "")), unit_of(axis.attrs)
        mapping = "" if standard in _TRUE or axis.ndim != 1 else _grid_mapping(opened, axis.dims[0])
        if standard.startswith(_PROJECTED) or unit in _LENGTHS or mapping:
            what = f"standard_name {standard}" if standard else f"grid_mapping {mapping}" if mapping else f"in {unit}"
            raise SoilcastError(
                f"{where}: {name} is an axis of a rotated or projected grid ({what}), not a latitude or longitude: "
                "name the latitudes and longitudes of its points (soilcast prepare table with cells.lat and cells.lon "
                "of a mapping), or regrid it"
            )


def _grid_mapping(opened: xr.Dataset, dim: Hashable) -> str:
    """Grid mapping of the variables along a dimension, unless it is that of latitudes and longitudes."""
    for variable in opened.variables.values():
        named = str(variable.attrs.get("grid_mapping", variable.encoding.get("grid_mapping", "")))
        if dim in variable.dims and named in opened.variables:
            kind = str(opened.variables[named].attrs.get("grid_mapping_name", _GEOGRAPHIC))
            if kind != _GEOGRAPHIC:
                return kind
    return ""


def order_on(
    lat: npt.NDArray[np.float64], lon: npt.NDArray[np.float64], grid: Grid, where: str, reference: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Position in a file of each row and each column of a grid, whichever way the file's axes run.

    Raises
    ------
    SoilcastError
        The file lies on other latitudes or longitudes than the grid.
    """
    return (
        _order(lat, grid.lat, f"{where}: lat/lon mismatch: latitudes", reference),
        _order(lon, grid.lon, f"{where}: lat/lon mismatch: longitudes", reference),
    )


def ever_finite(files: Sequence[Placed], grid: Grid) -> npt.NDArray[np.bool_]:
    """Whether a grid point has a value on some day of some file, ``(cell,)`` of ``grid``."""
    found = np.zeros(len(grid.index), dtype=np.bool_)
    for file in files:
        for _, cells, block in _blocks(file, file.positions(grid), None):
            found[cells] |= np.isfinite(block).any(axis=0)
    return found


def series(files: Sequence[Placed], days: Sequence[int], grid: Grid) -> dask.array.Array:
    """Successive files as one lazy array ``(cell, time)`` float32 in the contract's unit.

    `soilcast.cube.save_cube` reads the days that it has room for, of these every value once, and a file is open only
    while it is read.

    Parameters
    ----------
    files
        In the order of time.
    days
        Number of days of each file.
    grid
        The grid and its cells.
    """
    return lazily(_Series(files, days, grid), fancy=False)


def constant(file: Placed, grid: Grid) -> npt.NDArray[np.float32]:
    """Values of a variable without time at the cells of a grid, ``(cell,)`` float32 in the contract's unit."""
    values = _converted(file, as_stored(file, grid))
    check_bounds(file.variable, values, str(file.path))
    return values


def as_stored(file: Placed, grid: Grid) -> npt.NDArray[np.floating]:
    """Values of a variable without time at the cells of a grid, ``(cell,)``, in the file's unit."""
    with open_netcdf(file.path, decode_times=False) as opened, naming_damage(file.path):
        loaded = opened[file.name].load()
    values: npt.NDArray[np.floating] = _squeezed(loaded, file.dims).transpose(*file.dims).to_numpy()
    return values.ravel()[file.positions(grid)]


class _Series:
    """Successive files as an array ``(cell, time)`` of which slices of days are read, those days and no others."""

    ndim = 2
    dtype = np.dtype(np.float32)

    def __init__(self, files: Sequence[Placed], days: Sequence[int], grid: Grid) -> None:
        # Files of one grid have the same places, which are then kept, and sent to workers, once.
        places: dict[bytes, npt.NDArray[np.int64]] = {}

        def once(place: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
            return places.setdefault(place.tobytes(), place)

        self._files = [replace(file, rows=once(file.rows), columns=once(file.columns)) for file in files]
        self._ends = np.cumsum(days).tolist()
        self._grid = grid
        self.shape = (len(grid.index), int(self._ends[-1]))

    @property
    def working_bytes(self) -> int:
        """What reading takes beside the values that are read [bytes]."""
        points = len(self._grid.lat) * len(self._grid.lon)
        return _BYTES_A_VALUE * max(_DECODED_AT_A_TIME, points) + _BYTES_A_CELL * self.shape[0]

    def __getitem__(self, key: tuple[slice, slice]) -> npt.NDArray[np.float32]:
        cells, days = key
        first, last, _ = days.indices(self.shape[1])
        gathered = np.empty((self.shape[0], max(last - first, 0)), dtype=np.float32)
        start = 0
        for file, end in zip(self._files, self._ends, strict=True):
            if start < last and end > first:
                inside = slice(max(first, start) - start, min(last, end) - start)
                offset = max(start - first, 0)
                part = gathered[:, offset : end - first]
                _gather(file, inside, self._grid, part)
                # Here, where the file can still be named.
                check_bounds(file.variable, part, str(file.path), slack=file.packing, offset=offset)
            start = end
        return gathered[cells]

    def __getstate__(self) -> dict[str, Any]:
        # The numbers of the cells of a large grid are many times the rest; a bit for each point says the same.
        kept = np.zeros(len(self._grid.lat) * len(self._grid.lon), dtype=np.bool_)
        kept[self._grid.index] = True
        bits = np.packbits(kept)
        return self.__dict__ | {"_grid": (self._grid.lat, self._grid.lon, bits)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        lat, lon, bits = state["_grid"]
        index = np.flatnonzero(np.unpackbits(bits, count=len(lat) * len(lon))).astype(np.int64)
        self.__dict__ |= state | {"_grid": Grid(lat, lon, index)}


def _gather(file: Placed, days: slice, grid: Grid, into: npt.NDArray[np.float32]) -> None:
    """Read some days of a file into ``(cell, time)``."""
    for offset, cells, block in _blocks(file, file.positions(grid), days):
        into[cells, offset : offset + len(block)] = _converted(file, block).T


def _converted(file: Placed, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Values in the contract's unit."""
    converted: npt.NDArray[np.float32] = file.conversion(values.astype(np.float32, copy=False))
    return converted


Block = tuple[int, slice | npt.NDArray[np.int64], npt.NDArray[np.floating]]


def _blocks(file: Placed, positions: npt.NDArray[np.int64], days: slice | None) -> Iterator[Block]:
    """Blocks of a file: offset from the first day, which of the cells at some positions, and ``(time, cell)``."""
    with open_netcdf(file.path, decode_times=False) as opened:
        variable = _squeezed(opened[file.name], file.dims)
        time, row, _ = file.dims
        stored = dict(zip(opened[file.name].dims, opened[file.name].encoding.get("chunksizes") or (), strict=False))
        wanted = days or slice(0, variable.sizes[time])
        rows, columns = len(file.rows), len(file.columns)
        step = _fitting(_DECODED_AT_A_TIME // (rows * columns), stored.get(time, 1))
        # Where many days are in one chunk of the file, a few rows of them are decoded at a time.
        limit = max(_DECODED_AT_A_TIME, rows * columns)
        band = rows if step * rows * columns <= limit else _fitting(limit // (step * columns), stored.get(row, 1))
        first = wanted.start
        while first < wanted.stop:
            # Blocks end where the file's own chunks end, so that none of these is decompressed twice.
            last = min(wanted.stop, (first // step + 1) * step)
            for top in range(0, rows, band):
                chosen = {time: slice(first, last), row: slice(top, top + band)}
                with naming_damage(file.path):
                    block = variable.isel(chosen).load().transpose(*file.dims).to_numpy().reshape(last - first, -1)
                if band >= rows:
                    yield first - wanted.start, slice(None), block[:, positions]
                    continue
                start = top * columns
                cells = np.flatnonzero((positions >= start) & (positions < start + block.shape[1]))
                yield first - wanted.start, cells, block[:, positions[cells] - start]
            first = last


def _fitting(wanted: int, chunk: int) -> int:
    """As many as are wanted, in whole chunks: one at least."""
    return max(wanted // chunk, 1) * chunk


def _squeezed(variable: xr.DataArray, dims: Sequence[str]) -> xr.DataArray:
    return variable.squeeze([dim for dim in variable.dims if dim not in dims])


def _order(
    axis: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64], where: str, reference: str
) -> npt.NDArray[np.int64]:
    order, wanted_order = np.argsort(axis), np.argsort(wanted)
    tolerance = _AXIS_TOLERANCE * abs(spacing(wanted[wanted_order]))
    if len(axis) != len(wanted) or np.abs(axis[order] - wanted[wanted_order]).max() > tolerance:
        raise SoilcastError(
            f"{where} {_span(axis)} are not those of {reference}, {_span(wanted)}: give files on one grid"
        )
    positions = np.empty(len(wanted), dtype=np.int64)
    positions[wanted_order] = order
    return positions


def _span(axis: npt.NDArray[np.float64]) -> str:
    return f"{axis.min():g} .. {axis.max():g} ({len(axis)} values)"
