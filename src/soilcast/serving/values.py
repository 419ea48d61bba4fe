"""Values of the forecasts that are served: read when they are asked for, a chunk of cells of an issue day at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube.identity import version_of
from soilcast.cube.store import open_artifact, read
from soilcast.errors import SoilcastError
from soilcast.products.variables import DROUGHT_CLASS
from soilcast.serving.cache import Cache
from soilcast.serving.catalogue import Instance
from soilcast.serving.faults import ReplacedError, RequestError, UnavailableError
from soilcast.serving.forecast_files import QUANTILE, Variable

Values = npt.NDArray[np.float32]

_OPENED = 16
"""Files that are held open."""

CELLS_AT_ONCE = 4096
"""Cells that are read at once, where the file has no chunks."""

_AHEAD = ("lead", "quantile", DROUGHT_CLASS)


class Reads(Protocol):
    """Reads cells of forecasts."""

    def cells(
        self, instance: Instance, variable: Variable, cells: npt.NDArray[np.integer], at: tuple[Any, ...] = ()
    ) -> Values:
        """Read some cells: see `Reader.cells`."""
        ...


class Reader:
    """Reads cells of forecasts and cubes through a cache.

    Parameters
    ----------
    cache
        Of what was read.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._opened: OrderedDict[tuple[Path, tuple[int, ...]], xr.Dataset] = OrderedDict()
        self._lock = threading.Lock()

    def variable(self, instance: Instance, name: str, quantile: float | None) -> Variable:
        """Give the variable of a name, or of its quantiles where a level is given."""
        variables = instance.file.variables
        wanted = name if quantile is None or name.endswith(QUANTILE) else f"{name}{QUANTILE}"
        if wanted not in variables:
            told = f"no variable {name[:40]!r}" if name not in variables else f"{name} has no quantiles"
            raise RequestError(f"{told}: there are {', '.join(variables)}")
        return variables[wanted]

    def field(
        self,
        instance: Instance,
        variable: Variable,
        cells: npt.NDArray[np.integer],
        *,
        lead: int | None = None,
        quantile: float | None = None,
        drought_class: str | None = None,
    ) -> Values:
        """Read one lead, quantile and class of some cells.

        Parameters
        ----------
        cells
            Their positions ``(cell,)``, ascending.

        Returns
        -------
        ``(cell,)`` float32, NaN where missing.

        Raises
        ------
        RequestError
            There is no such lead, quantile or class.
        """
        at = selection(instance, variable, lead=lead, quantile=quantile, drought_class=drought_class)
        return self.cells(instance, variable, cells, at)

    def cells(
        self,
        instance: Instance,
        variable: Variable,
        cells: npt.NDArray[np.integer],
        at: tuple[Any, ...] = (),
    ) -> Values:
        """Read some cells, whole or of some leads, quantiles and classes.

        Parameters
        ----------
        cells
            Their positions ``(cell,)``, ascending.
        at
            Positions along the other dimensions, in their order.

        Returns
        -------
        ``(..., cell)`` float32, NaN where missing.
        """
        step = self._step(instance, variable)
        numbers = cells // step
        parts: list[Values] = []
        for number in np.unique(numbers):
            block = self._block(instance, variable, int(number), step)
            first, last = np.searchsorted(numbers, [number, number + 1])
            inside = cells[first:last] - number * step
            whole = len(inside) == block.shape[-1]
            parts.append(block[at] if whole else block[at][..., inside])
        if not parts:
            block = self._block(instance, variable, 0, step)
            none: Values = block[at][..., :0]
            return none
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)

    def _step(self, instance: Instance, variable: Variable) -> int:
        stored = self._open(instance.file.path, instance.file.version)[variable.name]
        chunks = stored.encoding.get("chunks") or stored.encoding.get("chunksizes")
        return int(chunks[stored.dims.index("cell")]) if chunks else CELLS_AT_ONCE

    def _block(self, instance: Instance, variable: Variable, number: int, step: int) -> Values:
        """Values of a chunk of cells of one issue day ``(lead, quantile or class, cell)``."""
        file = instance.file
        key = "block", file.path, file.version, variable.name, instance.position, number

        def load() -> Values:
            opened = self._open(file.path, file.version)
            order = [dim for dim in _AHEAD if dim in variable.dims]
            chosen = opened[[variable.name]].isel(time=instance.position)
            try:
                values = read(chosen.transpose(..., "cell"), variable.name, slice(number * step, (number + 1) * step))
            except SoilcastError as error:
                _refuse_replaced(file.path, file.version)
                raise UnavailableError(told_of(error, file.path)) from error
            assert values.ndim == len(order) + 1
            return np.ascontiguousarray(values, dtype=np.float32)

        return self._cache.get(key, load, lambda block: int(block.nbytes))

    def _open(self, path: Path, version: tuple[int, ...]) -> xr.Dataset:
        key = path, version
        with self._lock:
            if key in self._opened:
                self._opened.move_to_end(key)
                return self._opened[key]
        try:
            # What all files of a collection have in common is not held once more.
            opened = open_artifact(path, "forecast").reset_coords().drop_dims("template", errors="ignore")
            opened = opened.drop_vars([name for name in opened.variables if "cell" not in opened[name].dims])
            opened = opened.drop_vars([name for name in opened.variables if "time" not in opened[name].dims])
        except SoilcastError as error:
            _refuse_replaced(path, version)
            raise UnavailableError(told_of(error, path)) from error
        _refuse_replaced(path, version)
        with self._lock:
            self._opened[key] = opened
            while len(self._opened) > _OPENED:
                self._opened.popitem(last=False)  # closed when nobody reads it any more
        return opened


def selection(
    instance: Instance,
    variable: Variable,
    *,
    lead: int | None = None,
    quantile: float | None = None,
    drought_class: str | None = None,
) -> tuple[int, ...]:
    """Positions along lead, quantile and class of a variable; the first lead where none is given.

    Raises
    ------
    RequestError
        There is no such lead, quantile or class, or it has to be named.
    """
    file, found = instance.file, []
    if "lead" in variable.dims:
        wanted = file.leads[0] if lead is None else lead
        if wanted not in file.leads:
            raise RequestError(f"no lead {wanted}: there are {_listed(file.leads)}")
        found.append(file.leads.index(wanted))
    if "quantile" in variable.dims:
        near = [at for at, level in enumerate(file.quantiles) if quantile is not None and abs(level - quantile) < 1e-6]
        if not near:
            raise RequestError(f"{variable.name} needs one of the quantiles {_listed(file.quantiles)}")
        found.append(near[0])
    if DROUGHT_CLASS in variable.dims:
        if drought_class not in file.classes:
            raise RequestError(f"{variable.name} needs one of the drought classes {_listed(file.classes)}")
        found.append(file.classes.index(drought_class))
    return tuple(found)


def _refuse_replaced(path: Path, version: tuple[int, ...]) -> None:
    try:
        same = version_of(path) == version
    except OSError:
        same = False
    if not same:
        raise ReplacedError(f"{path.name} has just been replaced: ask again")


def told_of(error: Exception, path: Path) -> str:
    """Say a fault of a file without the folder that it is in."""
    return str(error).replace(str(path), path.name)


def _listed(values: tuple[object, ...]) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
