"""What is learnt of the soil moisture beside its normalisation: how far persistence errs, and the porosity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

_LEAST_ERROR = 1e-3
"""Persistence errs by this at least, in units of the normalised soil moisture: where it never errs, nothing is lost."""


@dataclass(frozen=True)
class SoilStatistics:
    """Statistics of the training days, of each cell or of all ``(1, ...)``.

    Parameters
    ----------
    persistence_error
        Root mean square error of persistence in normalised soil moisture ``(cell, lead, layer)`` float64.
    porosity
        Highest soil moisture of the training days ``(cell, layer)`` float64 [m3 m-3]: the contract knows no porosity.
    """

    persistence_error: Array
    porosity: Array

    def of_cells(self, cells: slice | npt.NDArray[np.int64]) -> SoilStatistics:
        """Keep the statistics of some cells; those for all cells stay as they are."""
        if len(self.porosity) == 1:
            return self
        return SoilStatistics(self.persistence_error[cells], self.porosity[cells])

    def to_arrays(self) -> dict[str, Array]:
        """Flatten to named arrays, as a checkpoint stores them."""
        return {"soil.persistence_error": self.persistence_error, "soil.porosity": self.porosity}

    @staticmethod
    def from_arrays(arrays: Mapping[str, Array]) -> SoilStatistics:
        """Undo `to_arrays`.

        Raises
        ------
        KeyError
            They are not there.
        """
        return SoilStatistics(arrays["soil.persistence_error"], arrays["soil.porosity"])


@dataclass(frozen=True)
class PersistenceErrors:
    """Sums over training days that the errors follow from, of some cells.

    Parameters
    ----------
    squares, count
        ``(cell, lead, layer)`` float64.
    """

    squares: Array
    count: Array

    def errors(self, among: npt.NDArray[np.bool_], *, by_cell: bool) -> Array:
        """Root mean square errors of each cell, or of all that are learnt from; of a cell without a day that of these.

        Parameters
        ----------
        among
            Cells to learn from ``(cell,)``.
        """
        squares, count = (one[among].sum(axis=0, keepdims=True) for one in (self.squares, self.count))
        every = np.sqrt(squares / np.maximum(count, 1))
        if by_cell:
            own = np.sqrt(self.squares / np.maximum(self.count, 1))
            every = np.where(self.count > 0, own, every)
        return np.asarray(np.maximum(every, _LEAST_ERROR))


def persistence_errors(
    observed: Floats, newest: Floats, leads: int, latency: tuple[int, ...], train: slice
) -> PersistenceErrors:
    """Sum up how persistence errs on the training days.

    Parameters
    ----------
    observed
        Normalised soil moisture ``(cell, time, layer)``; NaN where missing.
    newest
        The newest on each day ``(cell, time, layer)``.
    latency
        Of each layer [d].
    train
        Positions of the days that may be forecast and forecast from.
    """
    cells, _, layers = observed.shape
    squares, count = (np.zeros((cells, leads, layers), dtype=np.float64) for _ in range(2))
    for layer, late in enumerate(latency):
        for lead in range(1, leads + 1):
            back = lead + late
            ahead, known = observed[:, train, layer][:, back:], newest[:, train, layer][:, :-back]
            away = (ahead - known).astype(np.float64) ** 2
            squares[:, lead - 1, layer] = np.nansum(away, axis=1)
            count[:, lead - 1, layer] = np.isfinite(away).sum(axis=1)
    return PersistenceErrors(squares, count)


def highest_values(observed: Floats) -> Floats:
    """Highest value of each cell and layer ``(cell, layer)``, from ``(cell, time, layer)``; NaN without any."""
    highest = np.max(observed, axis=1, where=np.isfinite(observed), initial=-np.inf)
    return np.where(np.isfinite(highest), highest, np.float32(np.nan))


def newest_age(observed: Floats, fill_days: int) -> Floats:
    """How old the values that `newest_values` gives are ``(cell, time, layer)`` [d]; NaN where there is none."""
    age = np.where(np.isfinite(observed), np.float32(0), np.float32(np.nan))
    for _ in range(fill_days):
        before = age[:, :-1] + 1
        age[:, 1:] = np.where(np.isnan(age[:, 1:]), before, age[:, 1:])
    return np.asarray(age)


def newest_values(observed: Floats, fill_days: int) -> Floats:
    """Give the value of each day, or where it is missing the last one that is at most ``fill_days`` older.

    Parameters
    ----------
    observed
        ``(cell, time, layer)``; NaN where missing.
    """
    if not fill_days:
        return observed
    newest = observed.copy()
    for _ in range(fill_days):
        before = newest[:, :-1].copy()
        newest[:, 1:] = np.where(np.isfinite(observed[:, 1:]), observed[:, 1:], before)
    return newest
