"""A forecast on disk while it is made: blocks go in as they come, and what is in survives whatever ends the work."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr

from soilcast.cube.store import zarr_encoding, zarr_settings
from soilcast.errors import SoilcastError
from soilcast.files import flush_to_disk, replace_file
from soilcast.workplace import first_difference

PROGRESS = "forecast.json"

_STORE = "forecast.zarr"


class ForecastStream:
    """A forecast of which blocks of cells are there and others are to come.

    Parameters
    ----------
    place
        Folder to work in.
    skeleton
        The forecast without its values: coordinates, attributes, ``area``.
    target
        Name of the variable to forecast, and its attributes.
    block
        Cells a block, which is a chunk of the store.
    identity
        What the values depend on, by name: unfinished work on anything else is refused, and the name said.
    """

    def __init__(
        self,
        place: Path,
        skeleton: xr.Dataset,
        target: tuple[str, Mapping[str, Any]],
        block: int,
        identity: Mapping[str, Any],
    ) -> None:
        self.store, self._progress = place / _STORE, place / PROGRESS
        self._target, self._block = target[0], block
        self._identity = json.loads(json.dumps({**identity, "cells a block": block}))
        cells = skeleton.sizes["cell"]
        self.blocks = [slice(start, min(start + block, cells)) for start in range(0, cells, block)]
        self.done: set[int] = set()
        # Without its store, what is noted has been put into its place and was taken from there since.
        if self._progress.exists() and self.store.exists():
            self.done = self._read()
        else:
            self._create(skeleton, target)
        with zarr_settings():
            array = zarr.open_group(self.store, mode="r+")[self._target]
        assert isinstance(array, zarr.Array)
        self._array = array

    @property
    def missing(self) -> list[int]:
        """Numbers of the blocks that are not there yet."""
        return [number for number in range(len(self.blocks)) if number not in self.done]

    def write(self, number: int, values: npt.NDArray[np.float32]) -> None:
        """Write a block ``(cell, time)`` to the disk, then note that it is there."""
        with zarr_settings():
            self._array[self.blocks[number]] = values
        flush_to_disk(self.store / self._target / "c" / str(number))
        self.done.add(number)
        self._note()

    def note_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes that are known at the end."""
        zarr.open_group(self.store, mode="r+").attrs.update(attributes)

    def discard(self) -> None:
        """Forget the unfinished work: it is done."""
        self._progress.unlink(missing_ok=True)

    def _create(self, skeleton: xr.Dataset, target: tuple[str, Mapping[str, Any]]) -> None:
        shape = (skeleton.sizes["cell"], skeleton.sizes["time"])
        empty = dask.array.zeros(shape, dtype=np.float32, chunks=-1)
        whole = skeleton.assign({self._target: (("cell", "time"), empty, dict(target[1]))})
        encoding = {str(name): zarr_encoding(variable) for name, variable in whole.variables.items() if variable.dims}
        _, days = encoding[self._target]["chunks"]
        encoding[self._target]["chunks"] = (min(self._block, shape[0]), days)
        with zarr_settings():
            whole.to_zarr(self.store, zarr_format=3, consolidated=False, encoding=encoding, compute=False, mode="w")
        self._note()

    def _note(self) -> None:
        content = json.dumps({"identity": self._identity, "done": sorted(self.done)})
        replace_file(self._progress, content.encode())

    def _read(self) -> set[int]:
        try:
            content = json.loads(self._progress.read_text(encoding="utf-8"))
            found, done = dict(content["identity"]), {int(number) for number in content["done"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SoilcastError(f"{self._progress}: damaged: start anew with --overwrite") from error
        if (name := first_difference(self._identity, found)) is not None:
            raise SoilcastError(
                f"{self._progress}: is of {name} {found.get(name)}, but this forecast is of "
                f"{self._identity.get(name)}: go on with the former, or start anew with --overwrite"
            )
        return done
