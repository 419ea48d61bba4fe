"""A forecast on disk while it is made: blocks go in as they come, and what is in survives whatever ends the work."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array
import numpy.typing as npt
import xarray as xr
import zarr

from soilcast.cube.store import CELL_CHUNK, DAY_CHUNK, zarr_encoding, zarr_settings
from soilcast.errors import SoilcastError
from soilcast.files import flush_to_disk, replace_file
from soilcast.workplace import first_difference

PROGRESS = "forecast.json"

_STORE = "forecast.zarr"

_CHUNK_VALUES = CELL_CHUNK * DAY_CHUNK
"""Values of a chunk, at most."""


@dataclass(frozen=True)
class VariableSpec:
    """A variable whose values come block by block of cells.

    Parameters
    ----------
    dims
        Its dimensions, the first of which is ``cell``.
    attributes
        Its attributes.
    dtype
        Its type.
    """

    dims: tuple[str, ...]
    attributes: Mapping[str, Any]
    dtype: str = "float32"


class ForecastStream:
    """A forecast of which blocks of cells are there and others are to come.

    Parameters
    ----------
    place
        Folder to work in.
    skeleton
        The forecast without its values: coordinates, attributes, ``area``.
    specs
        The variables to forecast by name.
    block
        Cells a block, which is a chunk of the store.
    identity
        What the values depend on, by name: unfinished work on anything else is refused, and the name said.
    """

    def __init__(
        self,
        place: Path,
        skeleton: xr.Dataset,
        specs: Mapping[str, VariableSpec],
        block: int,
        identity: Mapping[str, Any],
    ) -> None:
        self.store, self._progress = place / _STORE, place / PROGRESS
        self._block = block
        self._identity = json.loads(json.dumps({**identity, "cells a block": block}))
        cells = skeleton.sizes["cell"]
        self.blocks = [slice(start, min(start + block, cells)) for start in range(0, cells, block)]
        self.done: set[int] = set()
        # Without its store, what is noted has been put into its place and was taken from there since.
        if self._progress.exists() and self.store.exists():
            self.done = self._read()
        else:
            self._create(skeleton, specs)
        with zarr_settings():
            group = zarr.open_group(self.store, mode="r+")
            self._arrays: dict[str, Any] = {name: group[name] for name in specs}

    @property
    def missing(self) -> list[int]:
        """Numbers of the blocks that are not there yet."""
        return [number for number in range(len(self.blocks)) if number not in self.done]

    def write(self, number: int, values: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write a block of cells of all variables to the disk, then note that it is there."""
        with zarr_settings():
            for name, array in self._arrays.items():
                array[self.blocks[number]] = values[name]
        for name in self._arrays:
            flush_to_disk(self.store / name / "c" / str(number))
        self.done.add(number)
        self._note()

    def note_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes that are known at the end."""
        zarr.open_group(self.store, mode="r+").attrs.update(attributes)

    def discard(self) -> None:
        """Forget the unfinished work: it is done."""
        self._progress.unlink(missing_ok=True)

    def _create(self, skeleton: xr.Dataset, specs: Mapping[str, VariableSpec]) -> None:
        whole, chunks = skeleton, {}
        for name, one in specs.items():
            shape = tuple(skeleton.sizes[dim] for dim in one.dims)
            empty = dask.array.zeros(shape, dtype=one.dtype, chunks=-1)
            whole = whole.assign({name: (one.dims, empty, dict(one.attributes))})
            chunks[name] = self._chunks(one, skeleton)
        encoding = {str(name): zarr_encoding(variable) for name, variable in whole.variables.items() if variable.dims}
        for name, shape in chunks.items():
            encoding[name]["chunks"] = shape
        with zarr_settings():
            whole.to_zarr(self.store, zarr_format=3, consolidated=False, encoding=encoding, compute=False, mode="w")
        self._note()

    def _chunks(self, one: VariableSpec, skeleton: xr.Dataset) -> tuple[int, ...]:
        """A block of cells, as many days as a chunk has room for, and all of what each day has."""
        sizes = {dim: skeleton.sizes[dim] for dim in one.dims} | {"cell": min(self._block, skeleton.sizes["cell"])}
        if "time" in sizes:
            others = math.prod(size for dim, size in sizes.items() if dim != "time")
            sizes["time"] = max(1, min(sizes["time"], DAY_CHUNK, _CHUNK_VALUES // others))
        return tuple(sizes[dim] for dim in one.dims)

    def _note(self) -> None:
        content = json.dumps({"identity": self._identity, "done": sorted(self.done)})
        replace_file(self._progress, content.encode())

    def _read(self) -> set[int]:
        try:
            content = json.loads(self._progress.read_text(encoding="utf-8"))
            found, done = dict(content["identity"]), {int(number) for number in content["done"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SoilcastError(f"{self._progress}: damaged: start over with --overwrite") from error
        if (name := first_difference(self._identity, found)) is not None:
            raise SoilcastError(
                f"{self._progress}: is of {name} {found.get(name)}, but this forecast of {self._identity.get(name)}: "
                "resume with the same inputs, or start over with --overwrite"
            )
        return done
