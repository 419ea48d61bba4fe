"""The record of a cube beside the forecasts: what was, on the days before and in the years before."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube.contract import ERA5_LAND_LAYERS, thickness_name
from soilcast.cube.identity import version_of
from soilcast.cube.matching import find_places
from soilcast.cube.store import open_cube, read
from soilcast.errors import SoilcastError
from soilcast.products.climate import WINDOW, count_years, gather, read_parts, select_days
from soilcast.serving.cache import Cache
from soilcast.serving.cells import Cells
from soilcast.serving.faults import ReplacedError, UnavailableError
from soilcast.serving.values import CELLS_AT_ONCE, told_of

Values = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]
Days = npt.NDArray[np.datetime64]

PERCENTILES = (5.0, 25.0, 50.0, 75.0, 95.0)
"""Of the climate band of a season [%]."""

_DAYS_AT_ONCE = 64
"""Days that are read at once."""


class Record:
    """Reads a cube, also one that grows while it is served.

    Parameters
    ----------
    path
        Of the cube.
    cache
        Of what was read.
    made
        What was made of the cube instead of it: of which version, and what.
    mark
        Tells what was made from the cube itself and from others.

    Raises
    ------
    SoilcastError
        It is no cube, or is damaged.
    """

    def __init__(
        self, path: Path, cache: Cache, *, made: tuple[tuple[int, ...], xr.Dataset] | None = None, mark: str = ""
    ) -> None:
        if made is None:
            open_cube(path).close()
        self.path = path
        self._cache, self._made, self._mark = cache, made, mark
        self._lock = threading.Lock()
        self._opened: tuple[tuple[int, ...], xr.Dataset] | None = None
        self._matched: dict[tuple[str, tuple[int, ...]], Positions] = {}

    def opened(self) -> tuple[tuple[int, ...], xr.Dataset]:
        """Give the version of the cube that stands there now, and it.

        Raises
        ------
        UnavailableError
            It cannot be read.
        """
        if self._made is not None:
            return self._made
        try:
            with self._lock:
                version = version_of(self.path)
                if self._opened is None or self._opened[0] != version:
                    self._opened = version, open_cube(self.path)
                return self._opened
        except (SoilcastError, OSError) as error:
            raise UnavailableError(f"the cube cannot be read: {told_of(error, self.path)}") from error

    @property
    def days(self) -> Days:
        """``(time,)``, datetime64[D]."""
        days: Days = self.opened()[1]["time"].to_numpy().astype("datetime64[D]")
        return days

    @property
    def layers(self) -> list[str]:
        """Layers of soil moisture that it has."""
        return [layer for layer in ERA5_LAND_LAYERS if layer in self.opened()[1]]

    def depths(self, layer: str) -> tuple[float | None, float | None]:
        """Depth at which a layer begins and ends [m]: medians over the cells; None where thicknesses are not known."""
        version, cube = self.opened()
        above = [one for one in ERA5_LAND_LAYERS if one <= layer] if layer in ERA5_LAND_LAYERS else []
        names = [thickness_name(one) for one in above]
        if not names or any(name not in cube for name in names):
            return None, None

        def compute() -> tuple[float, float]:
            thick = [float(np.nanmedian(read(cube, name))) for name in names]
            return round(sum(thick[:-1]), 4), round(sum(thick), 4)

        return self._cache.get(("depths", self.path, self._mark, version, layer), compute, lambda _: 16)

    def cells_of(self, cells: Cells) -> Positions:
        """Position in the cube of each cell of a forecast, -1 where it has none ``(cell,)``."""
        version, cube = self.opened()
        key = cells.identity, version
        if key not in self._matched:
            lat, lon = (cube[name].to_numpy().astype(np.float64) for name in ("lat", "lon"))
            self._matched = {key: find_places(lat, lon, cells.lat, cells.lon)} | {
                old: found for old, found in self._matched.items() if old[1] == version
            }
        return self._matched[key]

    def between(self, layer: str, cells: Positions, first: np.datetime64, last: np.datetime64) -> tuple[Days, Values]:
        """Give the record of some cells from a day to another, as far as the cube has these days.

        Parameters
        ----------
        cells
            Positions in the cube, ascending.

        Returns
        -------
        Days ``(day,)`` and values ``(cell, day)`` [m3 m-3], NaN where missing.
        """
        version, cube = self.opened()
        days = cube["time"].to_numpy().astype("datetime64[D]")
        start, stop = (int(np.searchsorted(days, day)) for day in (first, last + 1))
        if start >= stop or not len(cells):
            return days[start:start], np.empty((len(cells), 0), dtype=np.float32)
        chunks = cube[layer].encoding.get("chunks") or cube[layer].encoding.get("chunksizes")
        step = int(chunks[0]) if chunks else CELLS_AT_ONCE
        windows = range(start // _DAYS_AT_ONCE, (stop - 1) // _DAYS_AT_ONCE + 1)
        rows = []
        for number in np.unique(cells // step):
            inside = cells[cells // step == number] - number * step
            parts = [self._block(version, cube, layer, int(number), step, window)[inside] for window in windows]
            rows.append(np.concatenate(parts, axis=1))
        offset = windows[0] * _DAYS_AT_ONCE
        return days[start:stop], np.concatenate(rows)[:, start - offset : stop - offset]

    def climate(
        self, layer: str, cell: int, days: Days, reference: slice, newest: np.datetime64
    ) -> npt.NDArray[np.float64] | None:
        """Percentiles of the record of a cell around each of some dates, as the products of a forecast take them.

        Parameters
        ----------
        cell
            Position in the cube.
        days
            The dates ``(day,)``.
        reference
            Positions of the days that may count.
        newest
            No later day counts.

        Returns
        -------
        ``(day, percentile)`` of `PERCENTILES` [m3 m-3]; None where fewer than two years are known.
        """
        version, cube = self.opened()
        key = (
            "climate",
            self.path,
            self._mark,
            version,
            layer,
            cell,
            str(days[0]),
            len(days),
            reference.stop,
            str(newest),
        )

        def compute() -> npt.NDArray[np.float64] | None:
            sampling = select_days(cube["time"].to_numpy(), reference, newest, days, WINDOW, 2)
            try:
                ((_, values),) = read_parts(cube, layer, slice(cell, cell + 1), sampling)
            except SoilcastError as error:
                raise _unavailable(self.path, version, error) from error
            found = np.full((len(days), len(PERCENTILES)), np.nan)
            for row, positions in zip(found, sampling.positions, strict=True):
                samples = gather(values, positions)
                if count_years(samples)[0] >= sampling.climate.least_years:
                    row[:] = np.nanpercentile(samples, PERCENTILES)
            return found if np.isfinite(found).any() else None

        return self._cache.get(key, compute, lambda found: 0 if found is None else int(found.nbytes))

    def _block(
        self, version: tuple[int, ...], cube: xr.Dataset, layer: str, number: int, step: int, window: int
    ) -> Values:
        """Values of a chunk of cells on some days ``(cell, day)``."""

        def load() -> Values:
            chosen = cube[[layer]].isel(time=slice(window * _DAYS_AT_ONCE, (window + 1) * _DAYS_AT_ONCE))
            try:
                return np.ascontiguousarray(read(chosen, layer, slice(number * step, (number + 1) * step)))
            except SoilcastError as error:
                raise _unavailable(self.path, version, error) from error

        return self._cache.get(
            ("record", self.path, self._mark, version, layer, number, window), load, lambda one: int(one.nbytes)
        )


def _unavailable(path: Path, version: tuple[int, ...], error: SoilcastError) -> UnavailableError:
    if version_of(path) != version:
        return ReplacedError(f"{path.name} has just been replaced: ask again")
    return UnavailableError(f"the cube cannot be read: {told_of(error, path)}")
