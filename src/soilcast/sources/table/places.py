"""Where the cells of a table's files are: a regular grid, a curvilinear one, or a list of places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import wrap_longitude
from soilcast.cube.matching import SAME_PLACE
from soilcast.errors import SoilcastError
from soilcast.schema import nearest
from soilcast.sources.gridded import refuse_projected
from soilcast.sources.table.mapping import Cells
from soilcast.sources.table.tabular import Opened

Floats = npt.NDArray[np.float64]

# Share of the spacing by which a step of a regular axis may differ: it is stored as float32 as often as float64.
_UNEVEN = 0.02


@dataclass(frozen=True)
class Places:
    """All the positions of the files, before any is dropped.

    Parameters
    ----------
    dims
        Dimensions of the files that make up the cells.
    lat, lon
        Place of each position ``(position,)`` [degrees].
    axes
        Latitudes and longitudes of a regular grid, in the order of the files; None for places without one.
    """

    dims: tuple[str, ...]
    lat: Floats
    lon: Floats
    axes: tuple[Floats, Floats] | None


def open_places(files: Sequence[Opened], cells: Cells) -> Places:
    """Find the places of the files: a regular grid, a curvilinear one, or a list.

    Raises
    ------
    SoilcastError
        lat or lon is not there, is no place, or differs between files.
    """
    lat, lon = (_place(files, name) for name in (cells.lat, cells.lon))
    label = holders_of(files, cells.lat)[0].label
    refuse_projected(holders_of(files, cells.lat)[0].data, (cells.lat,), label)
    refuse_projected(holders_of(files, cells.lon)[0].data, (cells.lon,), label)
    _check_degrees(lat, 90.0, f"{label}: {cells.lat}")
    _check_degrees(lon, 360.0, f"{label}: {cells.lon}")
    if max(lat.ndim, lon.ndim) <= 1 and (lat.dims != lon.dims or not lat.dims):
        # A single point has numbers in place of axes.
        axes = (_regular(lat, f"{label}: {cells.lat}"), _regular(lon, f"{label}: {cells.lon}"))
        rows, columns = np.meshgrid(*axes, indexing="ij")
        return Places((*map(str, lat.dims), *map(str, lon.dims)), rows.ravel(), columns.ravel(), axes)
    if set(lat.dims) != set(lon.dims) or not 1 <= lat.ndim <= 2:
        raise SoilcastError(
            f"{label}: {cells.lat} {lat.dims} and {cells.lon} {lon.dims} are neither the two axes of a grid nor both "
            "of each cell: name such coordinates"
        )
    lon = lon.transpose(*lat.dims)
    for dim in lat.dims:
        _place(files, str(dim), required=False)
    return Places(
        tuple(map(str, lat.dims)), lat.to_numpy().ravel().astype(float), lon.to_numpy().ravel().astype(float), None
    )


def holders_of(files: Sequence[Opened], name: str) -> list[Opened]:
    """Files that have a variable.

    Raises
    ------
    SoilcastError
        None has it; the nearest name is told.
    """
    holders = [file for file in files if name in file.data.variables]
    if not holders:
        known = {str(known) for file in files for known in file.data.variables}
        label = files[0].label if len(files) == 1 else f"{files[0].label} .. {files[-1].label}"
        raise SoilcastError(f"{label}: no variable {name!r}: {nearest(name, sorted(known))}")
    return holders


def _place(files: Sequence[Opened], name: str, *, required: bool = True) -> xr.Variable:
    """A coordinate of the cells, the same in every file that has it."""
    holders = [file for file in files if name in file.data.variables]
    if not holders:
        if required:
            holders_of(files, name)
        return xr.Variable((), np.nan)
    first = holders[0].data[name].variable
    for other in holders[1:]:
        if not _alike(first.to_numpy(), other.data[name].to_numpy()):
            raise SoilcastError(
                f"{other.label}: lat/lon mismatch: {name} differs from that of {holders[0].label}: give files of one "
                "grid, in one order"
            )
    return first


def _alike(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    if one.shape != other.shape:
        return False
    if one.dtype.kind in "fiu" and other.dtype.kind in "fiu":
        return bool(np.allclose(one.astype(float), other.astype(float), rtol=0, atol=SAME_PLACE, equal_nan=True))
    return bool((one == other).all())


def _check_degrees(values: xr.Variable, limit: float, where: str) -> None:
    if values.dtype.kind not in "fiu" or bool((np.abs(values.to_numpy().astype(float)) > limit).any()):
        raise SoilcastError(
            f"{where}: values are not within {limit:g} degrees: name the latitude and longitude in cells.lat and "
            "cells.lon"
        )


def _regular(axis: xr.Variable, where: str) -> Floats:
    values = np.atleast_1d(np.asarray(axis.to_numpy(), dtype=np.float64))
    if np.isnan(values).any() or not any(map(_is_even, (values, np.sort(values), np.sort(wrap_longitude(values))))):
        raise SoilcastError(
            f"{where}: not evenly spaced: a regular grid is expected; regrid it, or give lat and lon of each cell"
        )
    return values


def _is_even(values: Floats) -> bool:
    # Modulo 360, so that longitudes may pass from 359 to 0 or from 179 to -179.
    steps = np.diff(values) % 360
    if not len(steps):
        return True
    return bool(steps[0] != 0 and np.abs(steps - steps[0]).max() < _UNEVEN * min(steps[0], 360 - steps[0]))
