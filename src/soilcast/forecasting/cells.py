"""Which cells of a cube a run can forecast."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.training.run import Run

_SAME_PLACE = 1e-4
"""Cells of a run and of a cube closer than this are the same [degrees]: ten metres."""


def match_cells(run: Run, cube: xr.Dataset) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Row of the run's statistics for each cell of the cube, and whether the run can forecast the cell."""
    lat, lon = cube["lat"].to_numpy(), cube["lon"].to_numpy()
    if run.config.normalise.scope == "global":
        return np.zeros(len(lat), dtype=np.int64), np.ones(len(lat), dtype=np.bool_)
    rows = np.arange(len(lat), dtype=np.int64)
    same = len(lat) == len(run.lat)
    if not same or not (np.allclose(lat, run.lat, atol=_SAME_PLACE) and np.allclose(lon, run.lon, atol=_SAME_PLACE)):
        places = {place: row for row, place in enumerate(zip(*_rounded(run.lat, run.lon), strict=True))}
        found = [places.get(place, -1) for place in zip(*_rounded(lat, lon), strict=True)]
        rows = np.asarray(found, dtype=np.int64)
    strange = int((rows < 0).sum())
    if strange:
        raise SoilcastError(
            f"{cube.encoding.get('source', 'the cube')}: {strange} of {len(rows)} cells are not cells of the run, "
            "whose normalisation is per cell: train with --set normalise.scope=global to forecast elsewhere"
        )
    return rows, np.asarray(run.usable[rows])


def _rounded(*degrees: npt.NDArray[np.float64]) -> list[list[int]]:
    return [np.rint(values / _SAME_PLACE).astype(int).tolist() for values in degrees]
