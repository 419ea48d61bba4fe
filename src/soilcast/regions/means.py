"""Means over regions, weighted by area, of any variable of a cube or forecast; and the cube of the regions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.sparse import csr_array

from soilcast.cube import VARIABLES, assemble, cells_of_places, read, thickness_name
from soilcast.cube.grid import OUTLINE
from soilcast.cube.store import CELL_CHUNK, DAY_CHUNK
from soilcast.errors import SoilcastError
from soilcast.regions.weights import Regions

Floats = npt.NDArray[np.float64]

LEAST_KNOWN = 0.9
"""Share of the weight of a region that has a value, below which the region has none: a mean that is of other cells from
day to day would move without the soil."""

_CARRIED = ("license", "climate_record")
"""Attributes of a cube that its regions have too."""


def cell_blocks(weights: csr_array) -> Iterator[slice]:
    """Give blocks of cells as chunks of a store have them, those that have a weight, without what has none at the ends.

    Parameters
    ----------
    weights
        ``(region, cell)``.
    """
    needed = np.unique(weights.indices)
    for chunk in np.unique(needed // CELL_CHUNK):
        mine = needed[needed // CELL_CHUNK == chunk]
        yield slice(int(mine[0]), int(mine[-1]) + 1)


def regional_mean(opened: xr.Dataset, name: str, regions: Regions) -> npt.NDArray[np.float32]:
    """Mean of a variable over each region, weighted by area; what has no value is left out of it.

    Parameters
    ----------
    opened
        A cube or forecast.
    name
        A variable ``(cell, ...)``.

    Returns
    -------
    ``(region, ...)``, NaN where less than `LEAST_KNOWN` of a region has a value.

    Raises
    ------
    SoilcastError
        The stored bytes are damaged.
    """
    shape = [size for dim, size in opened[name].sizes.items() if dim != "cell"]
    if "time" not in opened[name].dims:
        return _mean_of_days(opened, name, regions, shape)
    assert opened[name].dims[1] == "time"
    parts = [
        _mean_of_days(part := opened.isel(time=slice(start, start + DAY_CHUNK)), name, regions, part[name].shape[1:])
        for start in range(0, opened.sizes["time"], DAY_CHUNK)
    ]
    return np.concatenate(parts, axis=1)


def _mean_of_days(opened: xr.Dataset, name: str, regions: Regions, shape: Sequence[int]) -> npt.NDArray[np.float32]:
    weights = regions.weights
    sums, known = (np.zeros((weights.shape[0], int(np.prod(shape)))) for _ in range(2))
    for block in cell_blocks(weights):
        values = read(opened, name, block).reshape(block.stop - block.start, -1).astype(np.float64)
        there = np.isfinite(values)
        mine = csr_array(weights[:, block])
        sums += mine @ np.where(there, values, 0.0)
        known += mine @ there.astype(np.float64)
    return mean_of_known(sums, known, regions.whole[:, np.newaxis]).reshape(-1, *shape)


def mean_of_known(sums: Floats, known: Floats, whole: Floats) -> npt.NDArray[np.float32]:
    """Mean from sums of weight times value, and of the weight that has a value; NaN if that is too little of all."""
    enough = known >= LEAST_KNOWN * whole
    return np.where(enough, sums / np.where(enough, known, 1.0), np.nan).astype(np.float32)


def regional_cube(cube: xr.Dataset, regions: Regions, layers: Sequence[str]) -> xr.Dataset:
    """Make a cube whose cells are regions: the record of their mean soil moisture.

    Parameters
    ----------
    cube
        Opened.
    layers
        Soil layers.

    Returns
    -------
    A cube as `soilcast.cube.assemble` gives it, with ``layers`` ``(cell, time)`` [m3 m-3] and their thickness [m].

    Raises
    ------
    SoilcastError
        The cube lacks a layer, or its bytes are damaged.
    """
    if missing := [layer for layer in layers if layer not in cube]:
        raise SoilcastError(f"{cube.encoding.get('source', 'the cube')}: no {', '.join(missing)}: give a cube with it")
    names = [*layers, *(thickness_name(layer) for layer in layers)]
    made = assemble(
        {name: _bounded(regional_mean(cube, name, regions), name) for name in names},
        cells=region_cells(regions),
        time=cube["time"].to_numpy(),
        title=f"{cube.attrs['title']}, means of regions of {regions.title}",
        source=str(cube.attrs["source"]),
        content=str(cube.attrs["content"]),
    )
    return made.assign_attrs({name: cube.attrs[name] for name in _CARRIED if name in cube.attrs})


def regional_means(opened: xr.Dataset, regions: Regions, names: Sequence[str]) -> xr.Dataset:
    """Give the means of variables of a cube over regions, in memory, with their attributes.

    Parameters
    ----------
    opened
        A cube.
    names
        Variables ``(cell, ...)``.

    Raises
    ------
    SoilcastError
        Stored bytes are damaged.
    """
    cells = with_outlines(regions)
    cells.pop("area")
    means = {name: (opened[name].dims, regional_mean(opened, name, regions), opened[name].attrs) for name in names}
    attributes = {**opened.attrs, "regions": regions.title}
    return xr.Dataset(means, cells | {"time": opened["time"].variable}, attributes)


def with_outlines(regions: Regions) -> dict[str, xr.Variable]:
    """Do what `region_cells` does, with the outlines, which no file holds."""
    return region_cells(regions) | {OUTLINE: xr.Variable("cell", regions.outlines)}


def region_cells(regions: Regions) -> dict[str, xr.Variable]:
    """Coordinates of regions as cells of an artifact, as `assemble` takes them; all count alike."""
    lat, lon = regions.places
    return cells_of_places(lat, lon, np.ones(len(lat)), list(regions.names))


def _bounded(values: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.float32]:
    """A mean of values within bounds is within them, but for rounding."""
    row = VARIABLES[name]
    return np.clip(values, row.valid_min, row.valid_max)
