"""Which cells of two artifacts are the same: those at one place."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

SAME_PLACE = 1e-4
"""Cells closer than this along both axes are the same [degrees]: ten metres."""


def find_places(lat: Floats, lon: Floats, cell_lat: Floats, cell_lon: Floats) -> Positions:
    """Position of each cell among some places, -1 where none of them is the same.

    Parameters
    ----------
    lat, lon
        The places, ``(place,)`` [degrees]; those that are NaN are passed over.
    cell_lat, cell_lon
        The cells, ``(cell,)`` [degrees].

    Returns
    -------
    ``(cell,)``.
    """
    from scipy.spatial import KDTree  # half a second to import, for which a training should not wait

    # What is in the same order is taken as it is: two places may be the same.
    if len(lat) == len(cell_lat) and (_apart(lat, cell_lat) & _apart(lon, cell_lon)).all():
        return np.arange(len(lat), dtype=np.int64)
    known = np.flatnonzero(np.isfinite(lat) & np.isfinite(lon))
    tree = KDTree(_plane(lat[known], lon[known]), boxsize=np.array([0.0, 360.0]))
    _, found = tree.query(_plane(cell_lat, cell_lon), p=np.inf, distance_upper_bound=SAME_PLACE)
    return np.append(known, -1)[found].astype(np.int64)  # where nothing is near, the tree gives its own size


def _apart(one: Floats, other: Floats) -> npt.NDArray[np.bool_]:
    return np.abs(one - other) < SAME_PLACE


def _plane(lat: Floats, lon: Floats) -> Floats:
    """Places ``(place, 2)`` with longitudes in 0 (included) .. 360 (excluded)."""
    return np.stack([lat, (lon % 360.0) % 360.0], axis=1)  # the remainder of a tiny negative number rounds to 360
