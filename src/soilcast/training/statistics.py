"""Statistics of the training days: what normalises, errors of persistence, porosity; and the scales of a loss."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from soilcast.training.sections import NormaliseConfig

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Cells = slice | npt.NDArray[np.int64]

_LEAST_ERROR = 1e-3
"""Persistence errs by this at least, in units of the normalised soil moisture: where it never errs, nothing is lost."""


LEAST_SPREAD = 0.01
"""Of an input: a cell whose spread is a smaller part of that of the others is scaled by theirs."""

MOST_BEYOND = 5.0
"""By how many times the width of its training range an input may lie beyond it; what is farther is clipped."""


@dataclass(frozen=True)
class Scaling:
    """``(value - offset) / scale``, one pair a cell or one for all.

    Parameters
    ----------
    offset, scale
        ``(cell,)`` or ``(1,)`` float64, in the variable's unit; scale is never 0.
    low, high
        Of the same shape: what normalised inputs are clipped to.
    substituted
        Of the same shape, whether the cell varies too little to give its own scale.
    """

    offset: Array
    scale: Array
    low: Array = field(default_factory=lambda: np.array([-np.inf]))
    high: Array = field(default_factory=lambda: np.array([np.inf]))
    substituted: npt.NDArray[np.bool_] = field(default_factory=lambda: np.array([False]))

    def normalise(self, values: npt.NDArray[np.floating]) -> Floats:
        """Normalise ``(cell, ...)``."""
        offset, scale = (_along(one, values.ndim) for one in (self.offset, self.scale))
        return np.asarray((values - offset) / scale, dtype=np.float32)

    def clip(self, normalised: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Clip what `normalise` gives of an input ``(cell, ...)``, and count what is changed ``(cell,)``."""
        low, high = (_along(one, normalised.ndim).astype(np.float32) for one in (self.low, self.high))
        beyond = (normalised < low) | (normalised > high)
        count = beyond.reshape(len(normalised), -1).sum(axis=1)
        return (np.clip(normalised, low, high) if count.any() else normalised), count

    def restore(self, values: npt.NDArray[np.floating]) -> Floats:
        """Undo `normalise` for ``(cell, ...)``."""
        offset, scale = (_along(one, values.ndim) for one in (self.offset, self.scale))
        return np.asarray(values * scale + offset, dtype=np.float32)

    def of_cells(self, cells: Cells) -> Scaling:
        """Keep the statistics of some cells; those for all cells stay as they are."""
        parts: dict[str, Any] = vars(self)
        return Scaling(**{name: part if len(part) == 1 else part[cells] for name, part in parts.items()})


def _along(values: Array, dimensions: int) -> Array:
    return values.reshape(-1, *(1,) * (dimensions - 1))


@dataclass(frozen=True)
class Statistics:
    """Statistics of the training days, of each cell or of all ``(1, ...)``.

    Parameters
    ----------
    scalings
        What normalises the inputs and the soil moisture, by variable.
    persistence_error
        Root mean square error of persistence in normalised soil moisture ``(cell, lead, layer)`` float64.
    porosity
        Highest soil moisture of the training days ``(cell, layer)`` float64 [m3 m-3]: the contract knows no porosity.
    climatology, damping
        Of the damped anomaly of normalised soil moisture, where forecasts are departures from it: the coefficients of
        the climatology ``(cell, lead, layer, wave)`` and rho ``(cell, lead, layer)`` float64.
    """

    scalings: Mapping[str, Scaling]
    persistence_error: Array
    porosity: Array
    climatology: Array | None = None
    damping: Array | None = None

    def of_cells(self, cells: Cells) -> Statistics:
        """Keep the statistics of some cells; those for all cells stay as they are."""
        scalings = {name: scaling.of_cells(cells) for name, scaling in self.scalings.items()}
        soil = {name: one if len(one) == 1 else one[cells] for name, one in self._of_soil().items()}
        return Statistics(scalings, **soil)

    def to_arrays(self) -> dict[str, Array]:
        """Flatten to named arrays, as a run stores them."""
        arrays = {f"soil.{name}": one for name, one in self._of_soil().items()}
        for name, scaling in self.scalings.items():
            arrays |= {f"scaling.{name}.{part}": value for part, value in vars(scaling).items()}
        return arrays

    @staticmethod
    def from_arrays(arrays: Mapping[str, Array], names: Sequence[str]) -> Statistics:
        """Undo `to_arrays`.

        Raises
        ------
        KeyError
            The statistics of one of the variables ``names``, or of the soil moisture, are not there.
        """
        parts = [part.name for part in fields(Scaling)]
        found: dict[str, dict[str, Any]] = {
            name: {part: arrays[f"scaling.{name}.{part}"] for part in parts} for name in names
        }
        scalings = {name: Scaling(**values) for name, values in found.items()}
        damped = {name: arrays.get(f"soil.{name}") for name in ("climatology", "damping")}
        return Statistics(scalings, arrays["soil.persistence_error"], arrays["soil.porosity"], **damped)

    def _of_soil(self) -> dict[str, Array]:
        return {
            part.name: getattr(self, part.name)
            for part in fields(self)
            if part.name != "scalings" and getattr(self, part.name) is not None
        }


METHODS: dict[str, Callable[[Array, Array, Array, Array, Array], tuple[Array, Array]]] = {
    "min_max": lambda count, mean, squares, lowest, highest: (lowest, highest - lowest),
    "z_score": lambda count, mean, squares, lowest, highest: (mean, np.sqrt(squares / np.maximum(count, 1))),
}
"""What a method takes for offset and scale, from what `take_moments` gives."""

NO_VALUE = np.array([[0.0], [0.0], [0.0], [np.inf], [-np.inf]])
"""What `take_moments` gives of a cell without a value."""


def take_moments(values: npt.NDArray[np.floating]) -> Array:
    """Give what the scaling of ``(cell, time)`` follows from, of each cell whatever block it was read in.

    Returns
    -------
    ``(5, cell)`` float64: number of values, their mean, the sum of their squared deviations from it, the lowest and the
    highest. NaN is left out.
    """
    present = ~np.isnan(values)
    count = np.sum(present, axis=1).astype(np.float64)
    mean = np.sum(values, axis=1, where=present, dtype=np.float64) / np.maximum(count, 1)
    squares = np.sum((values - mean[:, np.newaxis]) ** 2, axis=1, where=present, dtype=np.float64)
    lowest = np.min(values, axis=1, where=present, initial=np.inf)
    highest = np.max(values, axis=1, where=present, initial=-np.inf)
    return np.stack([count, mean, squares, lowest, highest])


def fit_scaling(moments: Array, config: NormaliseConfig, *, static: bool = False, target: bool = False) -> Scaling:
    """Make the scaling of a variable.

    Parameters
    ----------
    moments
        Of the training days, see `take_moments`.
    config
        Method and scope.
    static
        The variable does not change in time, so the scaling is that of all cells.
    target
        It is soil moisture, of which every cell keeps its own scale.

    Returns
    -------
    Where a variable has no value, offset 0 and scale 1. Where an input of a cell never changes (without snow), or by
    less than `LEAST_SPREAD` of what is usual, a scale of its own would make of an ordinary day a value of thousands:
    its scale is the root mean square of those of the cells that change, or 1 if none does.
    """
    if static or config.scope == "global":
        count, mean, squares, lowest, highest = moments
        total = np.sum(count, keepdims=True)
        middle = np.sum(count * mean, keepdims=True) / np.maximum(total, 1)
        squares = np.sum(squares + count * (mean - middle) ** 2, keepdims=True)
        moments = np.stack([total, middle, squares, [lowest.min()], [highest.max()]])
    lowest, highest = moments[3:]
    method = config.static if static and config.static != "same" else config.method
    with np.errstate(invalid="ignore"):  # of a cell without a value, infinity less infinity
        offset, scale = METHODS[method](*moments)
        width = highest - lowest
    known = np.isfinite(offset) & np.isfinite(scale) & (moments[0] > 0)
    offset, scale = np.where(known, offset, 0.0), np.where(known & (scale > 0), scale, 0.0)
    usual = _root_mean_square(scale[scale > 0])
    substituted = known & (scale < (0.0 if target else LEAST_SPREAD) * usual)
    others = (scale > 0) & ~substituted
    width = np.where(substituted, _root_mean_square(width[others]), width)
    scale = np.where(substituted, _root_mean_square(scale[others]), np.where(scale > 0, scale, 1.0))
    with np.errstate(invalid="ignore"):
        low = np.where(known, (lowest - MOST_BEYOND * width - offset) / scale, -np.inf)
        high = np.where(known, (highest + MOST_BEYOND * width - offset) / scale, np.inf)
    return Scaling(offset, scale, low, high, substituted)


def _root_mean_square(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else 1.0


def scalings_sha256(scalings: Mapping[str, Scaling]) -> str:
    """Tell scalings from others."""
    digest = hashlib.sha256()
    for name, scaling in sorted(scalings.items()):
        digest.update(name.encode() + scaling.offset.tobytes() + scaling.scale.tobytes())
    return digest.hexdigest()


def persistence_errors(observed: Floats, newest: Floats, leads: int, latency: Sequence[int]) -> Array:
    """Sum up how persistence errs on the training days.

    Parameters
    ----------
    observed
        Normalised soil moisture ``(cell, time, layer)``; NaN where missing.
    newest
        The newest on each day ``(cell, time, layer)``.
    latency
        Of each layer [d].

    Returns
    -------
    ``(2, cell, lead, layer)`` float64: sum of the squared errors, and their number.
    """
    cells, _, layers = observed.shape
    sums = np.zeros((2, cells, leads, layers))
    for layer, late in enumerate(latency):
        for lead in range(1, leads + 1):
            back = lead + late
            away = (observed[:, back:, layer] - newest[:, :-back, layer]).astype(np.float64) ** 2
            sums[:, :, lead - 1, layer] = np.nansum(away, axis=1), np.isfinite(away).sum(axis=1)
    return sums


def root_mean_square(sums: Array, among: npt.NDArray[np.bool_], *, by_cell: bool) -> Array:
    """Errors of each cell, or of all that are learnt from; of a cell without a day those of all.

    Parameters
    ----------
    sums
        See `persistence_errors`.
    among
        Cells to learn from ``(cell,)``.

    Returns
    -------
    ``(cell, lead, layer)``.
    """
    of_all, count = sums[:, among].sum(axis=1, keepdims=True)
    errors = np.sqrt(of_all / np.maximum(count, 1))
    if by_cell:
        errors = np.where(sums[1] > 0, np.sqrt(sums[0] / np.maximum(sums[1], 1)), errors)
    return np.asarray(np.maximum(errors, _LEAST_ERROR))


def error_scale(space: str, statistics: Statistics, layers: Sequence[str]) -> Array | None:
    """Give what an error of normalised soil moisture is multiplied by, ``(cell, lead, layer)``; None for 1.

    Parameters
    ----------
    space
        ``loss.space``: ``normalised``, ``physical`` [m3 m-3], or ``persistence``, in which persistence errs by 1.
    """
    if space == "normalised":
        return None
    if space == "persistence":
        return 1 / statistics.persistence_error
    leads = statistics.persistence_error.shape[1]
    scale = np.stack([statistics.scalings[layer].scale for layer in layers], axis=-1)
    return np.repeat(scale[:, np.newaxis], leads, axis=1)


def column_depth(space: str, statistics: Statistics, layers: Sequence[str], thickness: Array, guided: slice) -> Array:
    """Give what takes changes of normalised soil moisture of layers to one change of water in the space of the loss.

    Parameters
    ----------
    space
        ``loss.space``. Of one layer the change is that of its normalised soil moisture, in [m3 m-3], or over the error
        of persistence one day ahead; of several the mean over their water, over their thickness, or over that error of
        all of their water.
    thickness
        ``(cell, layer)`` [m].
    guided
        The layers whose water it is; the others count 0.

    Returns
    -------
    ``(cell, layer)``.
    """
    scale = np.stack([statistics.scalings[layer].scale for layer in layers], axis=-1)
    inside = np.zeros(scale.shape[-1])
    inside[guided] = 1.0
    return scale * thickness * inside / column_unit(space, statistics, layers, thickness, guided)[:, np.newaxis]


def column_unit(space: str, statistics: Statistics, layers: Sequence[str], thickness: Array, guided: slice) -> Array:
    """Give the water that is 1 in the space of the loss ``(cell,)`` [m]: see `column_depth`."""
    thickness = thickness[:, guided]
    depth = np.stack([statistics.scalings[layer].scale for layer in layers[guided]], axis=-1) * thickness
    if space == "normalised":
        return np.asarray(depth.sum(axis=1))
    if space == "physical":
        return np.asarray(thickness.sum(axis=1))
    return np.asarray(np.sqrt(np.sum((depth * statistics.persistence_error[:, 0, guided]) ** 2, axis=1)))


def layer_bounds(statistics: Statistics, layers: Sequence[str]) -> Array:
    """Give the normalised soil moisture of dry soil and of full pores ``(cell, layer, 2)``; 0 where it is not known."""
    offset, scale = (
        np.stack([getattr(statistics.scalings[layer], part) for layer in layers], axis=-1)
        for part in ("offset", "scale")
    )
    bounds = np.stack([(0.0 - offset) / scale, (statistics.porosity - offset) / scale], axis=-1)
    return np.asarray(np.nan_to_num(bounds))
