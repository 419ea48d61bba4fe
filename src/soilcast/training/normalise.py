"""Scaling of inputs and target, and its way into and out of the checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soilcast.training.config import NormaliseConfig

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scaling:
    """``(value - offset) / scale``, one pair a cell or one for all.

    Parameters
    ----------
    offset, scale
        ``(cell,)`` or ``(1,)`` float64, in the variable's unit; scale is never 0.
    """

    offset: Array
    scale: Array

    def normalise(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Normalise ``(cell, ...)``."""
        offset, scale = self._aligned(values.ndim)
        return np.asarray((values - offset) / scale, dtype=np.float32)

    def restore(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Undo `normalise` for ``(cell, ...)``."""
        offset, scale = self._aligned(values.ndim)
        return np.asarray(values * scale + offset, dtype=np.float32)

    def of_cells(self, cells: slice | npt.NDArray[np.int64]) -> Scaling:
        """Keep the statistics of some cells; those for all cells stay as they are."""
        if len(self.offset) == 1:
            return self
        return Scaling(self.offset[cells], self.scale[cells])

    def _aligned(self, dimensions: int) -> tuple[Array, Array]:
        shape = (-1, *(1,) * (dimensions - 1))
        return self.offset.reshape(shape), self.scale.reshape(shape)


@dataclass(frozen=True)
class Statistics:
    """What is known of a variable's values, by cell; merging cells gives the same whatever block each was read in.

    Parameters
    ----------
    count, mean, squares
        Number of values, their mean, and the sum of their squared deviations from it ``(cell,)`` float64.
    lowest, highest
        ``(cell,)`` float64; infinite where there is no value.
    """

    count: Array
    mean: Array
    squares: Array
    lowest: Array
    highest: Array

    def of_cells(self, cells: npt.NDArray[np.bool_]) -> Statistics:
        """Keep what is known of some cells, and forget what is known of the others."""
        forgotten = {"count": 0.0, "mean": 0.0, "squares": 0.0, "lowest": np.inf, "highest": -np.inf}
        return Statistics(*(np.where(cells, getattr(self, name), value) for name, value in forgotten.items()))

    def merged(self) -> Statistics:
        """Statistics of all cells together, ``(1,)``."""
        count = np.sum(self.count, keepdims=True)
        mean = np.sum(self.count * self.mean, keepdims=True) / np.maximum(count, 1)
        squares = np.asarray(
            np.sum(self.squares + self.count * (self.mean - mean) ** 2, keepdims=True), dtype=np.float64
        )
        lowest, highest = np.min(self.lowest, keepdims=True), np.max(self.highest, keepdims=True)
        return Statistics(*(np.asarray(one, dtype=np.float64) for one in (count, mean, squares, lowest, highest)))


def take_statistics(values: npt.NDArray[np.floating]) -> Statistics:
    """Take the statistics of each cell from ``(cell, time)``; NaN is left out."""
    present = ~np.isnan(values)
    count = np.sum(present, axis=1).astype(np.float64)
    mean = np.sum(values, axis=1, where=present, dtype=np.float64) / np.maximum(count, 1)
    away = (values - mean[:, np.newaxis]) ** 2
    squares = np.asarray(np.sum(away, axis=1, where=present, dtype=np.float64), dtype=np.float64)
    lowest = np.min(values, axis=1, where=present, initial=np.inf).astype(np.float64)
    highest = np.max(values, axis=1, where=present, initial=-np.inf).astype(np.float64)
    return Statistics(count, mean, squares, lowest, highest)


def join_cells(parts: Sequence[Statistics]) -> Statistics:
    """Put statistics of consecutive blocks of cells together."""
    names = ("count", "mean", "squares", "lowest", "highest")
    return Statistics(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


METHODS: dict[str, Callable[[Statistics], tuple[Array, Array]]] = {
    "min_max": lambda known: (known.lowest, known.highest - known.lowest),
    "z_score": lambda known: (known.mean, np.sqrt(known.squares / np.maximum(known.count, 1))),
}
"""What a method takes for offset and scale."""


def make_scaling(statistics: Statistics, config: NormaliseConfig, *, static: bool = False) -> Scaling:
    """Make the scaling of a variable.

    Parameters
    ----------
    statistics
        Of the training days.
    config
        Method and scope.
    static
        The variable does not change in time, so the scaling is that of all cells.

    Returns
    -------
    Where a variable never changes (a cell without snow) the scale is 1; where it has no value, offset 0 and scale 1.
    """
    by_cell = config.scope == "per_cell" and not static
    with np.errstate(invalid="ignore"):  # of a cell without a value, infinity less infinity
        offset, scale = METHODS[config.method](statistics if by_cell else statistics.merged())
    known = np.isfinite(offset) & np.isfinite(scale) & (statistics.count > 0 if by_cell else True)
    return Scaling(np.where(known, offset, 0.0), np.where(known & (scale > 0), scale, 1.0))


def fit_scaling(values: npt.NDArray[np.floating], config: NormaliseConfig, *, static: bool = False) -> Scaling:
    """Make the scaling of values that are in memory: ``(cell, time)``, or ``(cell,)`` of a static variable."""
    return make_scaling(take_statistics(values.reshape(len(values), -1)), config, static=static)


def to_arrays(scalings: Mapping[str, Scaling]) -> dict[str, Array]:
    """Flatten scalings to named arrays, as a checkpoint stores them."""
    return {
        f"scaling.{name}.{part}": getattr(scaling, part)
        for name, scaling in scalings.items()
        for part in ("offset", "scale")
    }


def scalings_sha256(scalings: Mapping[str, Scaling]) -> str:
    """Tell statistics from others."""
    digest = hashlib.sha256()
    for name, array in sorted(to_arrays(scalings).items()):
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def from_arrays(arrays: Mapping[str, Array], names: tuple[str, ...]) -> dict[str, Scaling]:
    """Undo `to_arrays`.

    Raises
    ------
    KeyError
        The statistics of one of the ``names`` are not there.
    """
    return {name: Scaling(arrays[f"scaling.{name}.offset"], arrays[f"scaling.{name}.scale"]) for name in names}
