"""Weather and static variables at stations, from the nearest cells of a cube on a grid: what training at them takes."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from soilcast.cube import VARIABLES, open_cube
from soilcast.cube.calendar import Days
from soilcast.cube.nearest import at_cells, nearest_cells
from soilcast.errors import SoilcastError

_OWN = ("swvl", "slthick", "sensor_depth", "area")
"""What the names of variables begin with that stations have of their own."""


def weather_at(
    path: Path,
    lat: npt.NDArray[np.float64],
    lon: npt.NDArray[np.float64],
    names: Collection[str],
    time: Days,
    present: Collection[str],
) -> tuple[dict[str, Any], list[str]]:
    """Take every variable of a cube but soil moisture at the nearest cell of each station.

    Parameters
    ----------
    path
        The cube.
    lat, lon, names
        Of the stations ``(station,)``.
    time
        Days of the stations ``(time,)``; a day that the cube has not is missing.
    present
        Variables that the stations have themselves.

    Returns
    -------
    Name -> ``(station, time)`` or ``(station,)``, and notes.

    Raises
    ------
    SoilcastError
        A station lies in none of its cells, or it has none of their days.
    """
    with open_cube(path) as cube:
        near = nearest_cells(lat, lon, cube)
        if (near.cell < 0).any():
            far = int(np.argmax(near.cell < 0))
            raise SoilcastError(
                f"--weather {path}: station {list(names)[far]} lies in none of its cells (the nearest is "
                f"{near.distance[far]:.0f} km away): leave it out (--without), or give the weather of a larger region"
            )
        days = cube["time"].to_numpy()
        _, ours, theirs = np.intersect1d(time, days, return_indices=True)
        if not len(ours):
            raise SoilcastError(f"--weather {path}: it has none of the days of the stations: give that of their period")
        found: dict[str, Any] = {}
        for name in VARIABLES:
            if name not in cube.data_vars or name in present or name.startswith(_OWN):
                continue
            values = at_cells(cube, name, near)
            if not VARIABLES[name].is_static:
                there = np.full((len(lat), len(time)), np.nan, dtype=np.float32)
                there[:, ours] = values[:, theirs]
                values = there
            found[name] = values
    missing = len(time) - len(ours)
    lacking = f"; {missing} of {len(time)} days are not in it" if missing else ""
    return found, [f"{', '.join(found)}: of the nearest cell of {path}, not of the station{lacking}"]
