"""What is drawn around the cells of a map: land and sea; of a region also waters, borders, coordinates and names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import matplotlib.patheffects
import matplotlib.ticker
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline

from soilcast.reporting.geography import (
    Box,
    LayerName,
    Line,
    lines_within,
    places_within,
    rivers_within,
    shore_of,
    world_land,
)
from soilcast.reporting.map_names import Sheet
from soilcast.reporting.projection import EqualEarth, Projection

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_SEA, _WATER, _LAND, _LAND_UNDER_DOTS = "#f2f6fa", "#3a6ea5", "#cdd2d9", "#ecedef"
_COAST, _BORDER, _PROVINCE, _INK = "#374151", "#4b5563", "#6b7280", "#1f2733"

_CLOSE, _FAR = 6.0, 20.0
"""Widths of a map [degrees of latitude] up to which all borders of provinces are drawn, and only long ones."""

_SHORTEST_RIVER, _SHORTEST_BORDER = 1 / 12, 1 / 10  # over the width of the map
_SMALLEST_ISLAND, _SMALLEST_LAKE = 1 / 200, 1 / 50
_PLACES, _RIVERS = 7, 4  # so many are named at most


@dataclass(frozen=True)
class Pen:
    """Sizes of what is drawn [points].

    Parameters
    ----------
    font
        Of names and coordinates.
    line
        Width of the coast, to which all other lines go.
    """

    font: float
    line: float


SCREEN = Pen(font=19.0, line=1.2)
"""On the picture of a page, which is larger than it is shown."""


def print_pen(width: float) -> Pen:
    """On a printed map of this width [inch]."""
    return Pen(font=float(np.clip(4.5 + 0.4 * width, 5.0, 7.0)), line=0.45)


@dataclass(frozen=True)
class Basemap:
    """What surrounds the cells of a map.

    Parameters
    ----------
    projection
        Of the map.
    extent
        Of its axes: left, right, bottom, top, in units of the projection.
    dotted
        Whether cells are dots, beneath which lines run; else they run above the cells.
    """

    projection: Projection
    extent: tuple[float, float, float, float]
    dotted: bool

    @property
    def is_world(self) -> bool:
        """Whether the map is one of the world, which has neither coordinates nor names."""
        return isinstance(self.projection, EqualEarth)

    def draw(self, axes: Axes, pen: Pen) -> None:
        """Draw all but the names on axes, beneath and above cells, which have a ``zorder`` of 2."""
        self.draw_ground(axes)
        self.draw_lines(axes, pen, 1.5 if self.dotted else 2.5)
        self.draw_frame(axes, pen)

    def draw_ground(self, axes: Axes) -> None:
        """Fill sea and land, and the lakes of a region."""
        if self.is_world:
            lat = np.linspace(-90, 90, 181)
            x, y = self.projection.forward(np.full(181, 180.0), lat)
            axes.fill(np.concatenate([x, -x[::-1]]), np.concatenate([y, y[::-1]]), facecolor=_SEA, zorder=0)
        else:
            axes.axhspan(*self.extent[2:], facecolor=_SEA, linewidth=0, zorder=0)
        self._fill(axes, self._land, _LAND_UNDER_DOTS if self.dotted else _LAND, 1.0)
        self._fill(axes, self._lakes, _SEA, 1.1)

    def draw_lines(self, axes: Axes, pen: Pen, zorder: float) -> None:
        """Draw the coast, and of a region rivers, lakes and borders."""
        line = pen.line * float(np.clip(_CLOSE / self._width, 0.5, 1.0))
        self._stroke(axes, self._coast, _COAST, 0.7 * pen.line if self.is_world else line, zorder + 0.3)
        if self.is_world:
            return
        self._stroke(axes, self._lakes, _WATER, 0.7 * line, zorder)
        self._stroke(axes, [course for _, course in self._rivers], _WATER, 1.1 * line, zorder)
        self._stroke(axes, self._provinces, _PROVINCE, 0.8 * line, zorder + 0.1, (0, (2, 2)))
        self._stroke(axes, self._borders, _BORDER, 1.4 * line, zorder + 0.2, (0, (6, 2, 1.5, 2)))

    def draw_frame(self, axes: Axes, pen: Pen) -> None:
        """Set the limits of axes, and of a region draw the edge with its coordinates."""
        axes.set(xlim=self.extent[:2], ylim=self.extent[2:])
        axes.set_autoscale_on(False)
        if self.is_world:
            axes.set_axis_off()
            return
        axes.set_axis_on()
        for axis, names in ((axes.xaxis, ("° W", "° E")), (axes.yaxis, ("° S", "° N"))):
            positions, degrees = self._ticks(axis is axes.xaxis)
            axis.set_ticks(positions, [coordinate(value, *names) for value in degrees])
        axes.tick_params(
            length=0.35 * pen.font, width=pen.line, pad=0.25 * pen.font, labelsize=0.92 * pen.font, color=_COAST,
            labelcolor=_COAST, bottom=True, left=True,
        )  # fmt: skip
        axes.tick_params(axis="y", labelrotation=90)
        for label in axes.get_yticklabels():
            label.set_verticalalignment("center")
        axes.spines[:].set(visible=True, color=_COAST, linewidth=pen.line, zorder=5)
        axes.grid(visible=True, color=_COAST, alpha=0.28, linewidth=0.6 * pen.line)
        axes.set_axisbelow(False)

    def draw_names(self, axes: Axes, pen: Pen, width: float, covered: Mask) -> None:
        """Write the names of the largest places and rivers of a region.

        Parameters
        ----------
        axes, pen
            Where, and how large.
        width
            Of the axes [points].
        covered
            Where there are cells ``(row, column)``, north up: names stand beside them where they can.
        """
        if self.is_world:
            return
        west, east, south, north = self.extent
        scale = width / (east - west)
        sheet = Sheet(width, scale * (north - south), pen.font, covered)
        corner = np.array([west, south])
        places = [(one.name, *self._project(np.array([[one.lon, one.lat]]))[0]) for one in places_within(self._box)]
        found = sheet.place([(name, (x - west) * scale, (y - south) * scale) for name, x, y in places], _PLACES)
        rivers = sheet.follow([(name, (course - corner) * scale) for name, course in self._named_rivers], _RIVERS)
        halo = [matplotlib.patheffects.withStroke(linewidth=0.2 * pen.font, foreground="white", alpha=0.85)]
        for (x, y), _ in found:
            axes.plot(
                west + x / scale, south + y / scale, marker="o", markersize=0.32 * pen.font, color="white",
                markeredgecolor=_INK, markeredgewidth=pen.line, zorder=6,
            )  # fmt: skip
        for name in [*(name for _, name in found), *rivers]:
            axes.text(
                west + name.x / scale, south + name.y / scale, name.text, fontsize=pen.font, rotation=name.angle,
                rotation_mode="anchor", ha="center", va="center_baseline", color=_WATER if name.italic else _INK,
                style="italic" if name.italic else "normal", path_effects=halo, zorder=7,
            )  # fmt: skip

    @cached_property
    def _box(self) -> Box:
        lon, lat = self.projection.inverse(np.array(self.extent[:2]), np.array(self.extent[2:]))
        edges = np.nan_to_num(np.array([*lon, *lat]), nan=0.0)
        return Box(*(float(edge) for edge in edges))

    @property
    def _width(self) -> float:
        return self.extent[1] - self.extent[0]

    @cached_property
    def _rings(self) -> list[Line]:
        if self.is_world:
            return world_land()
        return _long(lines_within("land", self._box), _extent, _SMALLEST_ISLAND * self._width)

    @cached_property
    def _land(self) -> list[Line]:
        return [self._project(ring) for ring in self._rings]

    @cached_property
    def _coast(self) -> list[Line]:
        return [self._project(line) for line in shore_of(self._rings)]

    @cached_property
    def _lakes(self) -> list[Line]:
        return [] if self.is_world else _long(self._lines("lakes"), _extent, _SMALLEST_LAKE * self._width)

    @cached_property
    def _borders(self) -> list[Line]:
        return self._lines("borders")

    @cached_property
    def _provinces(self) -> list[Line]:
        if self._width > _FAR:
            return []
        return _long(self._lines("provinces"), _length, 0.0 if self._width < _CLOSE else _SHORTEST_BORDER * self._width)

    @cached_property
    def _rivers(self) -> list[tuple[str, Line]]:
        """Rivers of some length, the longest first."""
        rivers = [(name, self._project(course)) for name, course in rivers_within(self._box)]
        rivers.sort(key=lambda river: -_length(river[1]))
        return [river for river in rivers if _length(river[1]) >= _SHORTEST_RIVER * self._width]

    @cached_property
    def _named_rivers(self) -> list[tuple[str, Line]]:
        """Parts of rivers with a name that lie on the map, the longest first."""
        west, east, south, north = self.extent
        parts = []
        for name, course in self._rivers:
            inside: Mask = np.all((course > [west, south]) & (course < [east, north]), axis=1)
            turns = np.flatnonzero(np.diff(inside)) + 1
            runs = np.split(course, turns)[int(not inside[0]) :: 2]
            parts += [(name.removesuffix(" River"), run) for run in runs if name and len(run) > 1]
        return sorted(parts, key=lambda part: -_length(part[1]))

    def _lines(self, layer: LayerName) -> list[Line]:
        return [self._project(line) for line in lines_within(layer, self._box)]

    def _ticks(self, is_lon: bool) -> tuple[list[float], list[float]]:
        """Where round degrees are on an axis of a region, and these degrees."""
        low, high = (self._box.west, self._box.east) if is_lon else (self._box.south, self._box.north)
        locator = matplotlib.ticker.MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10])
        margin = 0.07 * (high - low)  # else a label would reach beyond the edge
        degrees = [float(value) for value in locator.tick_values(low, high) if low + margin < value < high - margin]
        middle = np.full(len(degrees), (self._box.south + self._box.north) / 2)
        position = self.projection.forward(np.array(degrees), middle)[0] if is_lon else np.array(degrees)
        return position.tolist(), degrees

    def _fill(self, axes: Axes, rings: Sequence[Line], colour: str, zorder: float) -> None:
        if rings:
            shape = Outline.make_compound_path(*(Outline(ring, closed=True) for ring in rings))
            axes.add_artist(PathPatch(shape, facecolor=colour, linewidth=0, zorder=zorder))

    def _stroke(
        self,
        axes: Axes,
        lines: Sequence[Line],
        colour: str,
        width: float,
        zorder: float,
        dashes: tuple[float, tuple[float, ...]] | str = "solid",
    ) -> None:
        drawn = LineCollection(list(lines), colors=colour, linewidths=width, linestyles=[dashes], zorder=zorder)
        axes.add_collection(drawn, autolim=False)

    def _project(self, points: Values) -> Values:
        return np.column_stack(self.projection.forward(points[:, 0], points[:, 1]))


def _long(lines: Sequence[Line], size: Callable[[Line], float], least: float) -> list[Line]:
    """Leave out what is too small to be seen."""
    return [line for line in lines if size(line) >= least]


def _length(line: Line) -> float:
    return float(np.hypot(*np.diff(line, axis=0).T).sum())


def _extent(line: Line) -> float:
    return float(np.ptp(line, axis=0).max())


def coordinate(value: float, negative: str, positive: str) -> str:
    """Write a longitude or latitude [degrees]: 74.5° W."""
    return f"{abs(value):g}{negative if value < 0 else positive if value > 0 else '°'}"
