"""Pieces of a cube: some days of one variable, read on their own and put together to the blocks that are stored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube.store import DAY_CHUNK

if TYPE_CHECKING:
    import dask.array

PACKING = "packing"
"""Key of a variable's encoding: the step in which its file has rounded it, in the contract's unit."""

Floats = npt.NDArray[np.float32]

# Chunks of a lazy array hold no more than this, where something is computed from them [bytes].
_LARGEST_CHUNK = 256 << 20


@dataclass(frozen=True, eq=False)
class Piece:
    """Some days of one variable, to be read here or on a worker of a cluster.

    Parameters
    ----------
    variable
        Name in the contract.
    days
        Position of its days in the cube.
    array
        ``(cell, time)``: whatever gives values when it is sliced.
    within
        Position of the days in ``array``.
    """

    variable: str
    days: slice
    array: Any
    within: slice

    def read(self) -> Floats:
        """Read ``(cell, time)`` in the order of memory."""
        return np.ascontiguousarray(self.array[:, self.within], dtype=np.float32)

    def for_worker(self) -> Piece:
        """The same, with no more than it needs of what dask would compute it from."""
        if not isinstance(self.array, xr.Variable):
            return self
        import dask

        (needed,) = dask.optimize(self.array.data[:, self.within])  # type: ignore[no-untyped-call,attr-defined]
        return replace(self, array=needed, within=slice(None))


def piece_of(cube: xr.Dataset, name: str, days: slice) -> Piece:
    """Some days of a variable of a cube."""
    variable = cube[name].variable
    source = source_of(variable)
    return Piece(name, days, variable if source is None else source, days)


def is_lazy(cube: xr.Dataset, name: str) -> bool:
    """Whether a worker could read it: its values are not in this process."""
    return cube[name].chunks is not None


def blocks_of(days: int) -> list[slice]:
    """Blocks of days as they are stored."""
    return [slice(start, min(start + DAY_CHUNK, days)) for start in range(0, days, DAY_CHUNK)]


def pieces_of(block: slice, days: int) -> list[slice]:
    """Cut a block into pieces of so many days."""
    return [slice(start, min(start + days, block.stop)) for start in range(block.start, block.stop, days)]


def source_of(variable: xr.Variable) -> Any:
    """What a dask array reads from, if nothing is computed in between: of this any days can be read, and no others."""
    if not variable.chunks:
        return None
    array: Any = variable.data
    layers = array.dask.layers
    original = f"original-{array.name}"
    if layers.keys() != {original, array.name}:
        return None
    source = layers[original].get(original)
    return source if getattr(source, "shape", None) == array.shape else None


def lazily(read: Any, *, fancy: bool) -> dask.array.Array:
    """Wrap what gives float32 values ``(cell, time)`` when it is sliced, so that they are read when they are needed.

    Its chunks end where the stored blocks of days end, and are small enough to compute with.

    Parameters
    ----------
    read
        Has ``shape``, ``dtype``, ``ndim`` and ``__getitem__``.
    fancy
        Whether it can be asked for more than slices.
    """
    import dask.array

    cells, total = read.shape
    most = int(np.clip(_LARGEST_CHUNK // (4 * cells), 1, DAY_CHUNK))
    blocks = [min(DAY_CHUNK, total - first) for first in range(0, total, DAY_CHUNK)]
    chunks = ((cells,), tuple(min(most, block - first) for block in blocks for first in range(0, block, most)))
    lazy: dask.array.Array = dask.array.from_array(  # type: ignore[no-untyped-call]
        read, chunks=chunks, name=False, asarray=False, fancy=fancy, meta=np.empty((0, 0), dtype=np.float32)
    )
    return lazy


class Parts:
    """The pieces of a block, put together: in memory if it is one piece, else by way of a file.

    Parameters
    ----------
    file
        Where the pieces go.
    cells
        Number of cells.
    pieces
        Their days, which are those of a block.
    """

    def __init__(self, file: Path, cells: int, pieces: list[slice]) -> None:
        self._file, self._cells, self._pieces = file, cells, pieces
        self._first = pieces[0].start
        self._days = pieces[-1].stop - self._first
        self._there = 0
        self._whole: Floats | None = None

    @property
    def complete(self) -> bool:
        """Whether all pieces are there."""
        return self._there == len(self._pieces)

    def put(self, days: slice, values: Floats) -> None:
        """Take a piece ``(cell, time)``; in whatever order they come."""
        self._there += 1
        if len(self._pieces) == 1:
            self._whole = values
            return
        with self._file.open("r+b" if self._file.exists() else "w+b") as stream:
            stream.seek(self._place(days))
            stream.write(values.data.cast("B"))

    def read(self, cells: slice) -> Floats:
        """Some cells of the block, ``(cell, time)``."""
        if self._whole is not None:
            return self._whole[cells]
        count = cells.stop - cells.start
        values = np.empty((count, self._days), dtype=np.float32)
        with self._file.open("rb") as stream:
            for days in self._pieces:
                length = days.stop - days.start
                stream.seek(self._place(days) + 4 * cells.start * length)
                part = np.fromfile(stream, dtype=np.float32, count=count * length)
                values[:, days.start - self._first : days.stop - self._first] = part.reshape(count, length)
        return values

    def discard(self) -> None:
        """Forget all."""
        self._whole = None
        self._file.unlink(missing_ok=True)

    def _place(self, days: slice) -> int:
        return 4 * self._cells * (int(days.start) - int(self._first))
