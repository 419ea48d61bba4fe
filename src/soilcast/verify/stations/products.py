"""What a product says at stations day by day: a cube, or lead 1 of a forecast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from soilcast.cube import open_artifact, open_cube
from soilcast.cube.calendar import Days
from soilcast.cube.nearest import Floats, Nearest, at_cells, nearest_cells
from soilcast.errors import SoilcastError

_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Product:
    """Daily soil moisture of a product at stations.

    Parameters
    ----------
    path
        Its path.
    days
        Consecutive ``(time,)``.
    nearest
        Its cells.
    values
        Layer -> ``(station, time)`` [m3 m-3]; NaN without a cell or a value.
    """

    path: Path
    days: Days = field(repr=False)
    nearest: Nearest
    values: Mapping[str, npt.NDArray[np.float32]] = field(repr=False)

    def on(self, layer: str, days: Days) -> npt.NDArray[np.float32]:
        """A layer on some days, ``(station, day)``; NaN on others than its own."""
        at = ((days - self.days[0]) / _DAY).astype(np.int64)
        known = (at >= 0) & (at < len(self.days))
        found = self.values[layer][:, np.where(known, at, 0)]
        return np.where(known, found, np.float32(np.nan))


def open_product(path: Path, layers: tuple[str, ...], lat: Floats, lon: Floats, distance: float | None) -> Product:
    """Read some layers of a product at stations, those that it has.

    Parameters
    ----------
    path
        A cube, or a forecast, of which lead 1 is read.
    layers
        Names of layers.
    lat, lon, distance
        See `soilcast.cube.nearest.nearest_cells`.

    Raises
    ------
    SoilcastError
        It is neither, or has none of the layers.
    """
    kind = "cube" if _is_cube(path) else "forecast"
    with open_cube(path) if kind == "cube" else open_artifact(path, "forecast") as opened:
        present = [layer for layer in layers if layer in opened.data_vars]
        if not present:
            raise SoilcastError(f"{path}: it has no {' or '.join(layers)}: give a product of these layers")
        near = nearest_cells(lat, lon, opened, distance)
        time: Days = opened["time"].to_numpy().astype("datetime64[D]").astype("datetime64[ns]")
        stamps = time if kind == "cube" else time + _DAY
        days = np.arange(stamps[0], stamps[-1] + _DAY, _DAY)
        at = ((stamps - stamps[0]) / _DAY).astype(np.int64)
        values = {}
        for layer in present:
            data = opened if kind == "cube" else opened.isel(lead=slice(0, 1))
            series = at_cells(data, layer, near).reshape(len(lat), len(stamps))
            values[layer] = np.full((len(lat), len(days)), np.nan, dtype=np.float32)
            values[layer][:, at] = series
    return Product(path, days, near, values)


def _is_cube(path: Path) -> bool:
    try:
        open_cube(path).close()
    except SoilcastError as fault:
        try:
            open_artifact(path, "forecast").close()
        except SoilcastError:
            raise fault from None
        return False
    return True
