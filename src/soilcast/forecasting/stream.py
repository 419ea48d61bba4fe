"""A forecast on disk while it is made: blocks go in as they come, and what is in survives whatever ends the work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dask.array
import numpy.typing as npt
import xarray as xr
import zarr

from soilcast.cube.store import CELL_CHUNK, DAY_CHUNK, zarr_encoding, zarr_settings
from soilcast.cube.stream import UnfinishedStore
from soilcast.files import flush_to_disk
from soilcast.forecasting.left_out import Tally

PROGRESS = "forecast.json"

_CHUNK_VALUES = CELL_CHUNK * DAY_CHUNK
"""Values of a chunk, at most."""


class ForecastStream(UnfinishedStore):
    """A forecast of which blocks of cells are there and others are to come.

    Parameters
    ----------
    place
        Folder to work in.
    skeleton
        The forecast without its values: coordinates, attributes, ``area``.
    variables
        The variables to forecast by name, of no cells yet, which are their first dimension.
    block
        Cells a block, which is a chunk of the store.
    identity
        What the values depend on, by name: unfinished work on anything else is refused, and the name said.
    """

    def __init__(
        self,
        place: Path,
        skeleton: xr.Dataset,
        variables: Mapping[str, xr.Variable],
        block: int,
        identity: Mapping[str, Any],
    ) -> None:
        cells = skeleton.sizes["cell"]
        self.tallies: dict[int, Tally] = {}
        self.blocks = [slice(start, min(start + block, cells)) for start in range(0, cells, block)]
        super().__init__(place, "forecast", len(self.blocks), {**identity, "cells a block": block})
        with zarr_settings():
            if not self.is_begun:
                self._create(skeleton, variables, block)
            group = zarr.open_group(self.store, mode="r+")
            self._arrays: dict[str, Any] = {name: group[name] for name in variables}

    def write(self, number: int, values: Mapping[str, npt.NDArray[Any]], tally: Tally) -> None:
        """Write a block of cells of all variables to the disk, then note that it is there, and what it leaves out."""
        with zarr_settings():
            for name, array in self._arrays.items():
                array[self.blocks[number]] = values[name]
        for name in self._arrays:
            flush_to_disk(self.store / name / "c" / str(number))
        self.done.add(number)
        self.tallies[number] = tally
        self._note()

    def _noted(self) -> dict[str, Any]:
        return {"tallies": {str(number): tally for number, tally in self.tallies.items()}}

    def _take_noted(self, content: Mapping[str, Any]) -> None:
        self.tallies = {
            int(number): {str(what): (int(days), int(cells), [*map(int, some)]) for what, (days, cells, some) in tally}
            for number, tally in ((number, dict(tally).items()) for number, tally in content["tallies"].items())
        }

    def _create(self, skeleton: xr.Dataset, variables: Mapping[str, xr.Variable], block: int) -> None:
        whole, chunks = skeleton, {}
        for name, one in variables.items():
            sizes = {dim: skeleton.sizes[dim] for dim in one.dims}
            empty = dask.array.zeros(tuple(sizes.values()), dtype=one.dtype, chunks=-1)
            whole = whole.assign({name: (one.dims, empty, one.attrs)})
            # A block of cells, as many days as a chunk has room for, and all of what each day has.
            sizes["cell"] = min(block, sizes["cell"])
            if "time" in sizes:
                others = math.prod(size for dim, size in sizes.items() if dim != "time")
                sizes["time"] = max(1, min(sizes["time"], DAY_CHUNK, _CHUNK_VALUES // others))
            chunks[name] = tuple(sizes.values())
        encoding = {str(name): zarr_encoding(variable) for name, variable in whole.variables.items() if variable.dims}
        for name, shape in chunks.items():
            encoding[name]["chunks"] = shape
        whole.to_zarr(self.store, zarr_format=3, consolidated=False, encoding=encoding, compute=False, mode="w")
