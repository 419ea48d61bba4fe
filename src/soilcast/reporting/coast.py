"""The coast that maps draw: Natural Earth 1:110m land, packaged with soilcast (see tools/build_coast.py)."""

from __future__ import annotations

import itertools
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

Line = npt.NDArray[np.float64]

_EDGE = 180.0
_POLE = -90.0


@cache
def land_rings() -> tuple[Line, ...]:
    """Outlines of the land as closed rings ``(point, 2)``: longitude, latitude [degrees], in -180 .. 180.

    Outer rings and lakes (the Caspian Sea) run in opposite directions, as a nonzero winding fill expects.
    """
    resource = files("soilcast.reporting").joinpath("data", "coast110m.npz")
    with resource.open("rb") as stream, np.load(stream, allow_pickle=False) as packed:
        points = packed["points"] / 100.0
        starts = packed["starts"]
    return tuple(points[first:last] for first, last in itertools.pairwise(starts))


@cache
def coast_lines() -> tuple[Line, ...]:
    """Give the same outlines without the cuts along 180 degrees and the south pole, which are no coast."""
    lines: list[Line] = []
    for ring in land_rings():
        seam = np.abs(ring[:, 0]) >= _EDGE
        pole = ring[:, 1] <= _POLE
        artificial = (seam[:-1] & seam[1:]) | (pole[:-1] & pole[1:])
        pieces = np.split(ring, np.flatnonzero(artificial) + 1)
        lines += [piece for piece in pieces if len(piece) > 1]
    return tuple(lines)
