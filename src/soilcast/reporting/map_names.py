"""Where the names on a map go: the most important first, none over another, none across the edge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import numpy.typing as npt
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

Values = npt.NDArray[np.float64]

_LINE = 1.15  # height of a line over the size of its font
_GAP = 0.4  # between a place and its name, over the size of the font
_EDGE = 1.5  # points that names stay away from the edge
_APART = 0.15  # least distance between two places, over the width of the map
_STRAIGHT = 0.9  # chord over course of a river where its name is set

# Where a name stands from its place, the better first: to the right, to the left, above, beneath, and between.
_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


@dataclass(frozen=True)
class Name:
    """A name on a map.

    Parameters
    ----------
    text
        What is written.
    x, y
        Centre of the text [points from the lower left corner].
    angle
        Of the text [degrees].
    italic
        Whether it is slanted, as the names of waters are.
    """

    text: str
    x: float
    y: float
    angle: float = 0.0
    italic: bool = False


@dataclass
class Sheet:
    """A map of a size, and what is written on it so far.

    Parameters
    ----------
    width, height
        Of the map [points].
    font
        Size of the letters [points].
    covered
        Where cells are ``(row, column)`` from the upper left corner: names stand beside them where they can.
    """

    width: float
    height: float
    font: float
    covered: npt.NDArray[np.bool_]
    _taken: list[Values] = field(default_factory=list)

    def place(self, places: Sequence[tuple[str, float, float]], most: int) -> list[tuple[tuple[float, float], Name]]:
        """Set the names of places.

        Parameters
        ----------
        places
            Name and position [points], the most important first.
        most
            So many are named at most.

        Returns
        -------
        Position and name of each that has one.
        """
        named: list[tuple[tuple[float, float], Name]] = []
        for text, x, y in places:
            if len(named) == most:
                break
            if all(np.hypot(x - a, y - b) >= _APART * self.width for (a, b), _ in named):
                dot = _corners(x, y, 0.5 * self.font, 0.5 * self.font)
                free = [
                    name for name in self._beside(text, x, y) if self._fits(dot) and self._fits(self._outline(name))
                ]
                if free:
                    best = min(range(len(free)), key=lambda at: self._share_covered(free[at]) + 0.05 * at)
                    named.append(((x, y), free[best]))
                    self._taken += [dot, self._outline(free[best])]
        return named

    def follow(self, rivers: Sequence[tuple[str, Values]], most: int) -> list[Name]:
        """Set the names of rivers along their courses.

        Parameters
        ----------
        rivers
            Name and course ``(point, 2)`` [points], the most important first.
        most
            So many are named at most.
        """
        named: list[Name] = []
        for text, course in rivers:
            if len(named) < most and text not in {name.text for name in named}:
                free = next((name for name in self._along(text, course) if self._fits(self._outline(name))), None)
                if free is not None:
                    named.append(free)
                    self._taken.append(self._outline(free))
        return named

    def _beside(self, text: str, x: float, y: float) -> Iterator[Name]:
        wide, high, gap = _width(text, self.font), _LINE * self.font, _GAP * self.font
        for right, up in _SIDES:
            yield Name(text, x + right * (gap + wide / 2), y + up * (gap + high / 2))

    def _along(self, text: str, course: Values) -> Iterator[Name]:
        """Names above the straight parts of a course, the straightest first."""
        wide, step = _width(text, self.font, italic=True), self.font / 2
        length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(course, axis=0).T))])
        if length[-1] < 1.5 * wide:
            return
        walked = np.arange(0.0, length[-1], step)
        points = np.stack([np.interp(walked, length, course[:, axis]) for axis in (0, 1)], axis=1)
        reach = int(np.ceil(wide / step))
        chord = points[reach:] - points[:-reach]
        straight = np.hypot(*chord.T) / (reach * step)
        for at in np.argsort(-straight, kind="stable"):
            if straight[at] < _STRAIGHT:
                return
            angle = float(np.degrees(np.arctan2(chord[at, 1], chord[at, 0])))
            angle = (angle + 90.0) % 180.0 - 90.0
            beside = 0.75 * self.font * np.array([-np.sin(np.radians(angle)), np.cos(np.radians(angle))])
            x, y = points[at : at + reach + 1].mean(axis=0) + beside
            yield Name(text, float(x), float(y), angle, italic=True)

    def _fits(self, outline: Values) -> bool:
        inside = (outline > _EDGE) & (outline < [self.width - _EDGE, self.height - _EDGE])
        return bool(inside.all()) and not any(overlap(outline, other) for other in self._taken)

    def _outline(self, name: Name) -> Values:
        wide = _width(name.text, self.font, italic=name.italic)
        return _corners(name.x, name.y, wide, _LINE * self.font, name.angle)

    def _share_covered(self, name: Name) -> float:
        rows, columns = self.covered.shape
        (left, bottom), (right, top) = self._outline(name).min(axis=0), self._outline(name).max(axis=0)
        across = slice(int(left / self.width * columns), int(np.ceil(right / self.width * columns)))
        down = slice(int((1 - top / self.height) * rows), int(np.ceil((1 - bottom / self.height) * rows)))
        return float(self.covered[down, across].mean())


def overlap(one: Values, other: Values) -> bool:
    """Whether two rectangles ``(corner, 2)`` have an area in common, by the axes that part them."""
    for sides in (np.diff(one, axis=0)[:2], np.diff(other, axis=0)[:2]):
        for side in sides:
            first, second = one @ side, other @ side
            if first.max() <= second.min() or second.max() <= first.min():
                return False
    return True


def _corners(x: float, y: float, wide: float, high: float, angle: float = 0.0) -> Values:
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    around = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * [wide / 2, high / 2]
    return np.asarray(around @ np.array([[cos, sin], [-sin, cos]]) + [x, y])


@cache
def _width(text: str, font: float, *, italic: bool = False) -> float:
    face = FontProperties(family="DejaVu Sans", style="italic" if italic else "normal")
    return float(TextPath((0, 0), text, size=font, prop=face).get_extents().width)
