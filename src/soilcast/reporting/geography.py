"""What a map shows around its cells: land of the world, and of a region its coast, waters, borders and places."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Line = npt.NDArray[np.float64]
LayerName = Literal["land", "lakes", "borders", "provinces", "rivers"]

_EDGE = 180.0
_POLE = -90.0
_UNNAMED = "River"


@dataclass(frozen=True)
class Box:
    """A part of the world between two meridians and two parallels [degrees east and north]."""

    west: float
    east: float
    south: float
    north: float


@dataclass(frozen=True)
class Layer:
    """Lines of one kind, simplified to a hundredth of a degree.

    Parameters
    ----------
    points
        Of all lines one after the other, ``(point, 2)``: longitude, latitude [degrees].
    starts
        Where each line begins, and where the last one ends, ``(line + 1,)``.
    """

    points: Line
    starts: npt.NDArray[np.int64]

    def within(self, box: Box) -> npt.NDArray[np.int64]:
        """Positions of the lines that may touch a box."""
        low, high = (extreme.reduceat(self.points, self.starts[:-1]) for extreme in (np.minimum, np.maximum))
        touches = (high >= [box.west, box.south]) & (low <= [box.east, box.north])
        return np.flatnonzero(touches.all(axis=1))

    def line(self, at: int) -> Line:
        """Points of a line ``(point, 2)`` [degrees]."""
        return self.points[self.starts[at] : self.starts[at + 1]]


@dataclass(frozen=True)
class Place:
    """A city or town, by its name and position [degrees]."""

    name: str
    lon: float
    lat: float


def lines_within(layer: LayerName, box: Box) -> list[Line]:
    """Lines of a kind that may touch a box, each ``(point, 2)``: longitude, latitude [degrees].

    Parameters
    ----------
    layer
        Outlines of ``land`` and ``lakes`` are rings; ``borders`` are those of countries, ``provinces`` those of what
        countries consist of.
    box
        Where.
    """
    lines = _layer(layer)
    return [lines.line(int(at)) for at in lines.within(box)]


def rivers_within(box: Box) -> list[tuple[str, Line]]:
    """Rivers that may touch a box: name, empty if it is not known, and course ``(point, 2)`` [degrees]."""
    rivers, names = _layer("rivers"), _texts("rivers_names")
    return [("" if names[at] == _UNNAMED else names[at], rivers.line(at)) for at in rivers.within(box).tolist()]


def places_within(box: Box) -> list[Place]:
    """Places in a box, the most important first, as Natural Earth ranks them."""
    at = _region()["places_at"] * _region()["step"]
    inside = (at[0] > box.west) & (at[0] < box.east) & (at[1] > box.south) & (at[1] < box.north)
    names = _texts("places_names")
    return [Place(names[one], float(at[0, one]), float(at[1, one])) for one in np.flatnonzero(inside)]


def shore_of(rings: list[Line]) -> list[Line]:
    """Give outlines of land without the cuts along 180 degrees and the south pole, which are no coast."""
    lines: list[Line] = []
    for ring in rings:
        seam = np.abs(ring[:, 0]) >= _EDGE
        pole = ring[:, 1] <= _POLE
        artificial = (seam[:-1] & seam[1:]) | (pole[:-1] & pole[1:])
        pieces = np.split(ring, np.flatnonzero(artificial) + 1)
        lines += [piece for piece in pieces if len(piece) > 1]
    return lines


@cache
def world_land() -> list[Line]:
    """Outlines of the land of the world at 1:110m as closed rings ``(point, 2)``: longitude, latitude [degrees].

    Outer rings and lakes (the Caspian Sea) run in opposite directions, as a nonzero winding fill expects.
    """
    packed = _read("coast110m.npz")
    points = packed["points"] / 100.0
    return [points[first:last] for first, last in itertools.pairwise(packed["starts"])]


@cache
def _layer(name: LayerName) -> Layer:
    packed = _region()
    count = packed[f"{name}_count"].astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(count)])
    walked = np.cumsum(packed[f"{name}_steps"], axis=1, dtype=np.int64)
    # Steps run on from line to line: of each, what was walked up to its first point is taken back.
    shift = packed[f"{name}_first"] - walked[:, starts[:-1]]
    return Layer((walked + np.repeat(shift, count, axis=1)).T * packed["step"], starts)


@cache
def _texts(name: str) -> list[str]:
    return bytes(_region()[name]).decode().split("\n")


@cache
def _region() -> dict[str, Any]:
    return _read("regions.npz")


def _read(name: str) -> dict[str, Any]:
    resource = files("soilcast.reporting").joinpath("data", name)
    with resource.open("rb") as stream, np.load(stream, allow_pickle=False) as packed:
        return {key: packed[key] for key in packed.files}
