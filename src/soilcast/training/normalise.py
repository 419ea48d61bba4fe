"""Scaling of inputs and target, and its way into and out of the checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def _min_max(values: npt.NDArray[np.floating], axis: int | None) -> tuple[Array, Array]:
    missing = np.isnan(values)
    lowest = np.min(np.where(missing, np.inf, values), axis=axis)
    highest = np.max(np.where(missing, -np.inf, values), axis=axis)
    return np.atleast_1d(lowest).astype(np.float64), np.atleast_1d(highest).astype(np.float64) - np.atleast_1d(lowest)


def _z_score(values: npt.NDArray[np.floating], axis: int | None) -> tuple[Array, Array]:
    present = ~np.isnan(values)
    count = np.maximum(np.sum(present, axis=axis, keepdims=True), 1)
    mean = np.sum(values, axis=axis, keepdims=True, where=present, dtype=np.float64) / count
    variance = np.sum((values - mean) ** 2, axis=axis, keepdims=True, where=present, dtype=np.float64) / count
    return mean.reshape(-1), np.sqrt(variance).reshape(-1)


METHODS: dict[str, Callable[[npt.NDArray[np.floating], int | None], tuple[Array, Array]]] = {
    "min_max": _min_max,
    "z_score": _z_score,
}


def fit_scaling(values: npt.NDArray[np.floating], config: NormaliseConfig, *, static: bool = False) -> Scaling:
    """Take the statistics of the values.

    Parameters
    ----------
    values
        The training days ``(cell, time)``, or ``(cell,)`` of a static variable; NaN is left out.
    config
        Method and scope.
    static
        The variable does not change in time, so the statistics are those of all cells.

    Returns
    -------
    Where a variable never changes (a cell without snow) the scale is 1; where it has no value, offset 0 and scale 1.
    """
    axis = 1 if config.scope == "per_cell" and not static else None
    offset, scale = METHODS[config.method](values, axis)
    known = np.isfinite(offset) & np.isfinite(scale)
    return Scaling(np.where(known, offset, 0.0), np.where(known & (scale > 0), scale, 1.0))


def to_arrays(scalings: Mapping[str, Scaling]) -> dict[str, Array]:
    """Flatten scalings to named arrays, as a checkpoint stores them."""
    return {
        f"scaling.{name}.{part}": getattr(scaling, part)
        for name, scaling in scalings.items()
        for part in ("offset", "scale")
    }


def from_arrays(arrays: Mapping[str, Array], names: tuple[str, ...]) -> dict[str, Scaling]:
    """Undo `to_arrays`.

    Raises
    ------
    KeyError
        The statistics of one of the ``names`` are not there.
    """
    return {name: Scaling(arrays[f"scaling.{name}.offset"], arrays[f"scaling.{name}.scale"]) for name in names}
