"""What outlooks take from the training days beside the normalisation: how far persistence errs, and the porosity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_LEAST_ERROR = 1e-3
"""Persistence errs by this at least, in units of the normalised soil moisture: where it never errs, nothing is lost."""


@dataclass(frozen=True)
class OutlookStatistics:
    """Statistics of each cell, or of all ``(1, ...)``.

    Parameters
    ----------
    persistence_error
        Root mean square error of persistence in normalised soil moisture ``(cell, lead, layer)`` float64.
    porosity
        The most water that the soil held ``(cell, layer)`` float64 [m3 m-3].
    """

    persistence_error: Array
    porosity: Array

    def of_cells(self, cells: slice | npt.NDArray[np.int64]) -> OutlookStatistics:
        """Keep the statistics of some cells; those for all cells stay as they are."""
        if len(self.porosity) == 1:
            return self
        return OutlookStatistics(self.persistence_error[cells], self.porosity[cells])

    def to_arrays(self) -> dict[str, Array]:
        """Flatten to named arrays, as a checkpoint stores them."""
        return {"outlook.persistence_error": self.persistence_error, "outlook.porosity": self.porosity}

    @staticmethod
    def from_arrays(arrays: Mapping[str, Array]) -> OutlookStatistics:
        """Undo `to_arrays`.

        Raises
        ------
        KeyError
            They are not there.
        """
        return OutlookStatistics(arrays["outlook.persistence_error"], arrays["outlook.porosity"])


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
    observed: npt.NDArray[np.float32], newest: npt.NDArray[np.float32], leads: int, latency: int, train: slice
) -> PersistenceErrors:
    """Sum up how persistence errs on the training days.

    Parameters
    ----------
    observed
        Normalised soil moisture ``(cell, time, layer)``; NaN where missing.
    newest
        The newest on each day ``(cell, time, layer)``.
    train
        Positions of the days that may be forecast and forecast from.
    """
    cells, _, layers = observed.shape
    squares, count = (np.zeros((cells, leads, layers), dtype=np.float64) for _ in range(2))
    for lead in range(1, leads + 1):
        back = lead + latency
        ahead, known = observed[:, train][:, back:], newest[:, train][:, :-back]
        away = (ahead - known).astype(np.float64) ** 2
        squares[:, lead - 1] = np.nansum(away, axis=1)
        count[:, lead - 1] = np.isfinite(away).sum(axis=1)
    return PersistenceErrors(squares, count)


def newest_age(observed: npt.NDArray[np.float32], fill_days: int) -> npt.NDArray[np.float32]:
    """How old the value that `newest_values` gives is ``(cell, time)`` [d]; NaN where there is none of some layer."""
    age = np.where(np.isfinite(observed), np.float32(0), np.float32(np.nan))
    for _ in range(fill_days):
        before = age[:, :-1] + 1
        age[:, 1:] = np.where(np.isnan(age[:, 1:]), before, age[:, 1:])
    return np.asarray(age.max(axis=2))


def newest_values(observed: npt.NDArray[np.float32], fill_days: int) -> npt.NDArray[np.float32]:
    """Give the value of each day, or where it is missing the last one that is at most ``fill_days`` older.

    Parameters
    ----------
    observed
        ``(cell, time, layer)``; NaN where missing.
    """
    newest = observed.copy()
    for _ in range(fill_days):
        before = newest[:, :-1].copy()
        newest[:, 1:] = np.where(np.isfinite(observed[:, 1:]), observed[:, 1:], before)
    return newest
