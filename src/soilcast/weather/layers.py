"""Which variable of a file holds the soil moisture of a layer: by its short name, or by depth."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

import numpy as np
import xarray as xr

from soilcast.cube import ERA5_LAND_LAYERS, VARIABLES, conversion_between
from soilcast.errors import SoilcastError
from soilcast.sources.netcdf import unit_of

LAYERS = tuple(ERA5_LAND_LAYERS)
"""Names of ERA5-Land's layers, from the top."""

_LEAST_SHARE = 0.5
"""Of the thickness of a layer that another must hold to stand for it."""

_BOTTOMS = np.cumsum(list(ERA5_LAND_LAYERS.values()))
_BOUNDS = {
    name: (float(bottom) - ERA5_LAND_LAYERS[name], float(bottom)) for name, bottom in zip(LAYERS, _BOTTOMS, strict=True)
}
"""Top and bottom of each layer [m]."""

_DEPTHS = ("depth", "depthBelowLandLayer", "depthBelowLand")


def layer_between(upper: float, lower: float) -> str | None:
    """Name ERA5-Land's layer of which another, between two depths [m], holds the largest part, and at least half."""
    best = max(LAYERS, key=lambda name: _share(name, upper, lower))
    return best if _share(best, upper, lower) >= _LEAST_SHARE else None


def _share(name: str, upper: float, lower: float) -> float:
    """Which share of a layer lies between two depths [m]; below 0 where none does."""
    top, bottom = _BOUNDS[name]
    return (min(lower, bottom) - max(upper, top)) / (bottom - top)


def soil_layer(opened: xr.Dataset, name: str, where: str) -> xr.DataArray | None:
    """Find the soil moisture of one of ERA5-Land's layers.

    That is the variable of its short name; else, among those with the standard name of soil moisture and a depth, the
    layer that has the largest part of it, and at least half; of depths without bounds the only one that lies in it.

    Parameters
    ----------
    opened
        The file.
    name
        ``swvl1`` .. ``swvl4``.
    where
        The file's name, for the messages.

    Returns
    -------
    The variable, of this layer alone; None where there is none.

    Raises
    ------
    SoilcastError
        Several could be meant.
    """
    if name in opened.data_vars:
        return opened[name]
    top, bottom = _BOUNDS[name]
    found: list[tuple[float, xr.DataArray]] = []
    for variable in opened.data_vars.values():
        if str(variable.attrs.get("standard_name")) == VARIABLES[name].standard_name:
            for layer, upper, lower in _layers(opened, variable, where):
                is_point = upper == lower and top <= upper <= bottom
                found += [(1.0 if is_point else _share(name, upper, lower), layer)]
    share = max((one for one, _ in found), default=0.0)
    if share < _LEAST_SHARE:
        return None
    best = [layer for one, layer in found if one > share - 1e-6]
    if len(best) > 1:
        raise SoilcastError(
            f"{where}: {len(best)} layers of {', '.join(sorted({str(one.name) for one in best}))} lie in {name} "
            f"({100 * top:g}-{100 * bottom:g} cm): select one and name it {name}"
        )
    return best[0]


def _layers(opened: xr.Dataset, variable: xr.DataArray, where: str) -> Iterator[tuple[xr.DataArray, float, float]]:
    """Each layer of a variable with its top and bottom [m], which are equal where there are no bounds."""
    depth = next((one for one in variable.coords.values() if _is_depth(one)), None)
    if depth is None or depth.ndim > 1 or not set(depth.dims) <= set(variable.dims):
        return
    limits = np.stack([np.atleast_1d(depth.to_numpy())] * 2, axis=-1).astype(np.float64)
    bounds = depth.attrs.get("bounds")
    if bounds in opened.variables and opened[bounds].size == limits.size:
        limits = np.asarray(opened[bounds].to_numpy(), dtype=np.float64).reshape(limits.shape)
    in_metres = conversion_between("sd", unit_of(depth.attrs) or "m", "m", f"{where}: {depth.name}")
    limits = np.abs(limits * in_metres.scale)
    for number, (one, other) in enumerate(limits):
        at: dict[Hashable, int] = {dim: number for dim in depth.dims}
        yield variable.isel(at), min(one, other), max(one, other)


def _is_depth(coordinate: xr.DataArray) -> bool:
    named = coordinate.name in _DEPTHS or str(coordinate.attrs.get("standard_name")) == "depth"
    return named and coordinate.dtype.kind in "fiu"
