"""Gridded NetCDF files as cells × days: axes matched to one grid, values gathered lazily, one file open at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import dask.array
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.delayed import delayed

from soilcast.cube import Conversion, Grid, check_bounds, spacing, wrap_longitude
from soilcast.cube.store import DAY_CHUNK
from soilcast.errors import SoilcastError
from soilcast.sources.files import naming_damage, open_netcdf

_LATITUDES = ("latitude", "lat", "y")
_LONGITUDES = ("longitude", "lon", "x")
_TIMES = ("time", "valid_time", "day")
# Values that are decoded at a time while a file is gathered, whatever the block that is asked for.
_DECODED_AT_A_TIME = 4 << 20
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
    """

    variable: str
    path: Path
    name: str
    dims: tuple[str, ...]
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    conversion: Conversion

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
    """Latitudes and longitudes of a file in its own order, longitudes in -180 .. 180 [degrees].

    Raises
    ------
    SoilcastError
        An axis has no coordinate values, or values that repeat.
    """
    for dim in dims[-2:]:
        if dim not in opened.variables:
            raise SoilcastError(f"{where}: lat/lon mismatch: {dim} has no coordinate values: add them to the file")
    lat, lon = (np.round(opened[dim].to_numpy().astype(np.float64), 6).astype(np.float64) for dim in dims[-2:])
    lon = np.round(wrap_longitude(lon), 6).astype(np.float64)
    for dim, axis in zip(dims[-2:], (lat, lon), strict=True):
        if len(np.unique(axis)) != len(axis) or np.isnan(axis).any():
            raise SoilcastError(f"{where}: lat/lon mismatch: {dim} holds values twice or none: correct the axis")
    return lat, lon


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
        positions = file.positions(grid)
        for _, block in _blocks(file, None):
            found |= np.isfinite(block[:, positions]).any(axis=0)
    return found


def series(files: Sequence[Placed], days: Sequence[int], grid: Grid) -> dask.array.Array:
    """Successive files as one lazy array ``(cell, time)`` float32 in the contract's unit.

    Its chunks are the blocks of days in which `soilcast.cube.save_cube` asks for it, so that every day of every
    file is read once, and a file is open only while it is read.

    Parameters
    ----------
    files
        In the order of time.
    days
        Number of days of each file.
    grid
        The grid and its cells.
    """
    ends = np.cumsum(days)
    total = int(ends[-1])
    chunks = []
    for first in range(0, total, DAY_CHUNK):
        last = min(first + DAY_CHUNK, total)
        parts = [
            (file, slice(int(max(first - end + count, 0)), int(min(last - end + count, count))))
            for file, end, count in zip(files, ends, days, strict=True)
            if end - count < last and end > first
        ]
        chunk = delayed(_gather)(_Parts(tuple(parts), grid))
        shape = (len(grid.index), last - first)
        chunks.append(dask.array.from_delayed(chunk, shape, dtype=np.float32))  # type: ignore[no-untyped-call]
    joined: dask.array.Array = dask.array.concatenate(chunks, axis=1)  # type: ignore[no-untyped-call]
    return joined


def constant(file: Placed, grid: Grid) -> npt.NDArray[np.float32]:
    """Values of a variable without time at the cells of a grid, ``(cell,)`` float32 in the contract's unit."""
    return _converted(file, as_stored(file, grid))


def as_stored(file: Placed, grid: Grid) -> npt.NDArray[np.floating]:
    """Values of a variable without time at the cells of a grid, ``(cell,)``, in the file's unit."""
    with open_netcdf(file.path, decode_times=False) as opened, naming_damage(file.path):
        loaded = opened[file.name].load()
    values: npt.NDArray[np.floating] = _squeezed(loaded, file.dims).transpose(*file.dims).to_numpy()
    return values.ravel()[file.positions(grid)]


class _Parts:
    """Files and the days wanted of each; a plain class, which dask hands on without looking inside."""

    def __init__(self, parts: tuple[tuple[Placed, slice], ...], grid: Grid) -> None:
        self.parts = parts
        self.grid = grid


def _gather(wanted: _Parts) -> npt.NDArray[np.float32]:
    total = sum(days.stop - days.start for _, days in wanted.parts)
    gathered = np.empty((len(wanted.grid.index), total), dtype=np.float32)
    done = 0
    for file, days in wanted.parts:
        positions = file.positions(wanted.grid)
        for offset, block in _blocks(file, days):
            at = done + offset
            gathered[:, at : at + len(block)] = _converted(file, block[:, positions]).T
        done += days.stop - days.start
    return gathered


def _converted(file: Placed, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Values in the contract's unit; checked here, where the file can still be named."""
    converted: npt.NDArray[np.float32] = file.conversion(values.astype(np.float32))
    check_bounds(file.variable, converted, str(file.path))
    return converted


def _blocks(file: Placed, days: slice | None) -> Iterator[tuple[int, npt.NDArray[np.floating]]]:
    """Successive days of a file, flattened: pairs of the offset from the first day and ``(time, lat * lon)``."""
    with open_netcdf(file.path, decode_times=False) as opened:
        variable = _squeezed(opened[file.name], file.dims)
        time = file.dims[0]
        stored = dict(zip(opened[file.name].dims, opened[file.name].encoding.get("chunksizes") or (), strict=False))
        wanted = days or slice(0, variable.sizes[time])
        chunk = int(stored.get(time, 1))
        fitting = _DECODED_AT_A_TIME // (len(file.rows) * len(file.columns))
        step = max(chunk, fitting // chunk * chunk, 1)
        first = wanted.start
        while first < wanted.stop:
            # Blocks end where the file's own chunks end, so that none of these is decompressed twice.
            last = min(wanted.stop, (first // step + 1) * step)
            with naming_damage(file.path):
                block = variable.isel({time: slice(first, last)}).load()
            yield first - wanted.start, block.transpose(*file.dims).to_numpy().reshape(last - first, -1)
            first = last


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
