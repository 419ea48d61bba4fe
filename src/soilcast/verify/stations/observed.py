"""The stations of a cube: their places, sensors and observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import VARIABLES, read
from soilcast.cube.calendar import Days
from soilcast.cube.contract import sensor_depth_name
from soilcast.cube.nearest import Floats
from soilcast.errors import SoilcastError

_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Stations:
    """The stations of a cube.

    Parameters
    ----------
    path
        The cube.
    days
        ``(time,)``.
    lat, lon
        ``(station,)`` [degrees].
    names
        ``(station,)``, as ``NETWORK/STATION``, or without a network.
    observed
        Layer -> ``(station, time)`` [m3 m-3].
    depth
        Layer -> depth of the sensor ``(station,)`` [m]; NaN where the cube does not say it.
    """

    path: Path
    days: Days = field(repr=False)
    lat: Floats = field(repr=False)
    lon: Floats = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    observed: Mapping[str, npt.NDArray[np.float32]] = field(repr=False)
    depth: Mapping[str, Floats] = field(repr=False)

    @property
    def networks(self) -> tuple[str, ...]:
        """Network of each station; empty where its name says none."""
        return tuple(name.rpartition("/")[0] for name in self.names)

    def on(self, layer: str, days: Days) -> npt.NDArray[np.float32]:
        """Observations of a layer on some days ``(station, day)``; NaN on others than the cube's."""
        at = ((days - self.days[0]) / _DAY).astype(np.int64)
        known = (at >= 0) & (at < len(self.days))
        return np.where(known, self.observed[layer][:, np.where(known, at, 0)], np.float32(np.nan))


def read_stations(cube: xr.Dataset, path: Path) -> Stations:
    """Read the stations of an opened cube.

    Raises
    ------
    SoilcastError
        It has no soil moisture.
    """
    layers = [name for name in VARIABLES if name.startswith("swvl") and name in cube.data_vars]
    if not layers:
        raise SoilcastError(f"{path}: it has no soil moisture (swvl1 ..): prepare the stations with soilcast prepare")
    lat, lon = (cube[name].to_numpy().astype(np.float64) for name in ("lat", "lon"))
    names = cube["cell_name"].to_numpy() if "cell_name" in cube else np.arange(len(lat))
    unknown = np.full(len(lat), np.nan)
    depth = {
        layer: read(cube, name).astype(np.float64) if (name := sensor_depth_name(layer)) in cube else unknown
        for layer in layers
    }
    observed = {layer: read(cube, layer) for layer in layers}
    return Stations(path, cube["time"].to_numpy(), lat, lon, tuple(map(str, names)), observed, depth)
