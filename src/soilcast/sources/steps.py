"""Times that are split into the start of a forecast and the step after it, as cfgrib writes them, as one time axis."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

_START, _STEP, _VALID = "time", "step", "valid_time"


def join_steps(opened: xr.Dataset) -> xr.Dataset:
    """Lay ``(time, step)`` out along ``valid_time``, lazily, where the two give each time once.

    cfgrib makes a box of the two, filled up with missing values: stamps without any value at either end are cut. Where
    forecasts overlap, nothing is changed, and the dimension ``step`` is refused by the sources.

    Parameters
    ----------
    opened
        A file or store.

    Returns
    -------
    The same, or with the dimension ``valid_time`` in place of ``time`` and ``step``; the starts lie along it.
    """
    stepped = [str(name) for name, one in opened.variables.items() if {_START, _STEP} <= set(one.dims)]
    fields = [name for name in stepped if name != _VALID and (opened[name].ndim > 2 or name in opened.data_vars)]
    if not fields or _START not in opened.variables or _STEP not in opened.variables:
        return opened
    start, step = opened[_START].to_numpy(), opened[_STEP].to_numpy()
    if start.dtype.kind != "M" or step.dtype.kind != "m" or start.ndim != 1 or step.ndim != 1:
        return opened
    times = (start[:, np.newaxis] + step).ravel()
    order = np.argsort(times, kind="stable")
    if len(np.unique(times)) != len(times) or np.isnat(times).any():
        return opened
    rows, columns = np.divmod(order, len(step))
    first, last = _ends(opened, fields, rows, columns)
    rows, columns, times = rows[first:last], columns[first:last], times[order][first:last]
    joined = opened.drop_vars([*stepped, _START, _STEP], errors="ignore")
    for name in fields:
        variable = opened[name].variable.transpose(_START, _STEP, ...)
        lazy = indexing.LazilyIndexedArray(_Joined(variable, rows, columns))
        joined[name] = xr.Variable((_VALID, *variable.dims[2:]), lazy, variable.attrs, _packing(variable))
    units = (opened[_VALID] if _VALID in opened.variables else opened[_START]).encoding.get("units")
    joined[_VALID] = xr.Variable((_VALID,), times, dict(opened[_START].attrs), {"units": units} if units else {})
    joined[_START] = xr.Variable((_VALID,), start[rows])
    joined = joined.drop_indexes([name for name in joined.xindexes])
    joined.set_close(opened.close)
    return joined


def _ends(opened: xr.Dataset, fields: list[str], rows: Any, columns: Any) -> tuple[int, int]:
    """First stamp that has a value, and the one after the last; all of them where none has."""

    def has_value(number: int) -> bool:
        at = {_START: int(rows[number]), _STEP: int(columns[number])}
        return any(bool(opened[name].isel(at).notnull().any()) for name in fields)

    first = next((number for number in range(len(rows)) if has_value(number)), None)
    if first is None:
        return 0, len(rows)
    return first, next(number for number in range(len(rows), 0, -1) if has_value(number - 1))


def _packing(variable: xr.Variable) -> dict[str, Any]:
    return {key: variable.encoding[key] for key in ("scale_factor", "add_offset") if key in variable.encoding}


@dataclass(frozen=True, eq=False)
class _Joined(BackendArray):
    """A variable ``(time, step, ...)`` as ``(valid_time, ...)``."""

    variable: xr.Variable
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.variable.dtype
        return dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self.variable.shape[2:])

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> npt.NDArray[Any]:
        stamps, *others = key
        chosen = np.arange(len(self.rows))[stamps]
        if chosen.ndim == 0:
            return self._of_start(int(self.rows[chosen]), self.columns[chosen], others)
        rows, columns = self.rows[chosen], self.columns[chosen]
        breaks = [0, *(np.flatnonzero(np.diff(rows)) + 1), len(rows)]
        parts = [
            self._of_start(int(rows[begin]), columns[begin:end], others)
            for begin, end in pairwise(breaks)
            if end > begin
        ]
        return np.concatenate(parts) if parts else self._of_start(0, columns, others)

    def _of_start(self, row: int, steps: Any, others: list[Any]) -> npt.NDArray[Any]:
        return np.asarray(self.variable[(row, steps, *others)].to_numpy())
