"""Maps of a metric: a raster per model with a coast, all on one colour scale, and the scale itself."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from PIL import Image

from soilcast.cube import grid_of, spacing, to_grid
from soilcast.reporting import areas
from soilcast.reporting.projection import EqualEarth, Projection, Regional, coast_lines, land_rings
from soilcast.reporting.style import MapStyle

Values = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

_WIDTH = 900  # pixels of a panel
_TALLEST = 1.1  # height over width of a panel
_SEA, _COAST = "#f6f8fa", "#4b5563"
_LAND, _LAND_UNDER_DOTS = "#cdd2d9", "#e4e7eb"
_WORLD = 150.0  # degrees of longitude from which a map counts as one of the world


@dataclass(frozen=True)
class Scale:
    """Colour limits that all panels of one metric share.

    Parameters
    ----------
    low, high
        Limits [the metric's unit].
    style
        The colours.
    """

    low: float
    high: float
    style: MapStyle

    @property
    def gradient(self) -> list[str]:
        """Colours from low to high as CSS writes them."""
        return [
            matplotlib.colors.to_hex(matplotlib.colormaps.get_cmap(self.style.colours)(x))
            for x in np.linspace(0, 1, 17)
        ]


def robust_scale(values: Values, style: MapStyle) -> Scale | None:
    """Limits at the 2nd and 98th percentile within the reach, symmetric if 0 is the middle; None without a value."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    low, high = (float(limit) for limit in np.clip(np.percentile(finite, [2, 98]), -style.reach, style.reach))
    if style.centred:
        reach = max(abs(low), abs(high)) or 1e-3
        return Scale(-reach, reach, style)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        slack = abs(low) * 0.05 or 1e-3
        low, high = low - slack, high + slack
    return Scale(low, high, style)


class Canvas:
    """What all maps of a data set share: projection, extent and which cell each pixel shows.

    Parameters
    ----------
    scores
        What `open_scores` gives: ``lat`` and ``lon`` of each cell, ``grid_lat`` and ``grid_lon`` for a grid.
    """

    def __init__(self, scores: xr.Dataset) -> None:
        self._grid = grid_of(scores)
        self._bounds = areas.bounds_of(scores) if areas.has_outlines(scores) else None
        self._lon, self._lat = (scores[name].to_numpy().astype(np.float64) for name in ("lon", "lat"))
        west, east, south, north = self._extent()
        self.is_world = east - west >= _WORLD
        self.projection: Projection = EqualEarth() if self.is_world else Regional((south + north) / 2)
        edge_lon = np.concatenate([np.linspace(west, east, 181), np.repeat([west, east], 91)])
        edge_lat = np.concatenate([np.full(181, np.clip(0, south, north)), np.tile(np.linspace(south, north, 91), 2)])
        x, y = self.projection.forward(edge_lon, edge_lat)
        self._box = (float(x.min()), float(x.max()), float(y.min()), float(y.max()))
        ratio = (self._box[3] - self._box[2]) / (self._box[1] - self._box[0])
        if ratio > _TALLEST:
            self._widen(ratio / _TALLEST)
            ratio = _TALLEST
        self.shape = (max(int(_WIDTH * ratio), 2), _WIDTH)
        self._source = self._pixels() if self._grid is not None else None
        self._areas = [] if self._bounds is None else areas.paths_of(scores, self._project)
        self._base = self._background()
        self._coast = self._coastline()

    def panel(self, values: xr.DataArray, scale: Scale) -> str:
        """Draw one map as a PNG in a data URI.

        Parameters
        ----------
        values
            ``(cell,)``, NaN where there is none.
        scale
            Colours and limits.
        """
        return _png(self.picture(values, scale))

    def picture(self, values: xr.DataArray, scale: Scale) -> Pixels:
        """Draw one map as pixels ``(row, column, 3)``; see `panel`."""
        norm = Normalize(scale.low, scale.high, clip=True)
        if self._source is None or self._grid is None:
            return _over(self._dots(values.to_numpy().astype(np.float64), scale.style.colours, norm), self._coast)
        flat = to_grid(values, self._grid).to_numpy().ravel()
        picture = np.where(self._source >= 0, flat[np.maximum(self._source, 0)], np.nan)
        coloured = matplotlib.colormaps.get_cmap(scale.style.colours)(norm(np.nan_to_num(picture)), bytes=True)[..., :3]
        return _over(np.where(np.isfinite(picture)[..., None], coloured, self._base), self._coast)

    def draw(self, axes: Axes, values: Values, scale: Scale, marked: npt.NDArray[np.bool_]) -> None:
        """Draw one map as shapes, for print.

        Parameters
        ----------
        axes
            Where; it is left without ticks.
        values
            ``(cell,)``, NaN where there is none.
        scale
            Colours and limits.
        marked
            ``(cell,)``, where a dot is to be set.
        """
        axes.set(xlim=self._box[:2], ylim=self._box[2:], aspect="equal")
        axes.set_axis_off()
        axes.set_autoscale_on(False)
        land = Outline.make_compound_path(*(Outline(self._project(ring), closed=True) for ring in land_rings()))
        axes.add_artist(PathPatch(land, facecolor=_LAND_UNDER_DOTS, linewidth=0, zorder=1))
        valid = np.isfinite(values)
        norm = Normalize(scale.low, scale.high, clip=True)
        look: dict[str, Any] = {"cmap": scale.style.colours, "norm": norm, "zorder": 2}
        x, y = self.projection.forward(self._lon, self._lat)
        if self._areas:
            areas.fill(axes, self._areas, values, scale.style.colours, norm)
        elif self._grid is None:
            size = float(np.clip(6000 / max(len(values), 1), 2, 40))
            axes.scatter(x[valid], y[valid], s=size, c=values[valid], edgecolors="#374151", linewidths=0.3, **look)
        else:
            cells = PolyCollection(list(self._outlines()[valid]), array=values[valid], linewidths=0, **look)
            cells.set_edgecolor("face")  # else thin seams show between the cells in some viewers
            cells.set_linewidth(0.1)
            axes.add_collection(cells, autolim=False)
        coast = [self._project(line) for line in coast_lines()]
        axes.add_collection(LineCollection(coast, colors=_COAST, linewidths=0.4, zorder=3), autolim=False)
        axes.scatter(x[marked], y[marked], s=0.6, c="black", linewidths=0, zorder=4)

    def _outlines(self) -> Values:
        """Corners of the cells of a grid on the map ``(cell, corner, 2)``."""
        assert self._grid is not None
        half_lon, half_lat = spacing(self._grid.lon) / 2, spacing(self._grid.lat) / 2
        lon = self._lon[:, np.newaxis] + half_lon * np.array([-1, 1, 1, -1])
        lat = np.clip(self._lat[:, np.newaxis] + half_lat * np.array([-1, -1, 1, 1]), -90, 90)
        return np.stack(self.projection.forward(lon, lat), axis=-1)

    def _extent(self) -> tuple[float, float, float, float]:
        if self._bounds is not None:
            half = (0.0, 0.0)
        elif self._grid is not None:
            half = spacing(self._grid.lat) / 2, spacing(self._grid.lon) / 2
        else:
            reach = max(np.ptp(self._lat), np.ptp(self._lon), 0.5)
            half = (0.08 * reach, 0.08 * reach)
        margin = half if self._grid is None else (half[0] * 2, half[1] * 2)
        west, east = self._lon.min() - margin[1], self._lon.max() + margin[1]
        south, north = self._lat.min() - margin[0], self._lat.max() + margin[0]
        if self._bounds is not None:
            west, east, south, north = self._bounds
            beside = 0.04 * max(east - west, north - south)
            west, east, south, north = west - beside, east + beside, south - beside, north + beside
        if east - west >= _WORLD:
            west, east = -180.0, 180.0
        return float(west), float(east), float(max(south, -90.0)), float(min(north, 90.0))

    def _widen(self, factor: float) -> None:
        west, east, south, north = self._box
        middle, half = (west + east) / 2, (east - west) / 2 * factor
        self._box = (middle - half, middle + half, south, north)

    def _pixels(self) -> npt.NDArray[np.int64]:
        """Index in the flattened grid that each pixel shows, ``(row, column)``; -1 outside of the grid."""
        assert self._grid is not None
        height, width = self.shape
        west, east, south, north = self._box
        x = west + (np.arange(width) + 0.5) / width * (east - west)
        y = north - (np.arange(height) + 0.5) / height * (north - south)
        lon, lat = self.projection.inverse(*(np.asarray(a) for a in np.meshgrid(x, y)))
        row, column = _nearest(self._grid.lat, lat), _nearest(self._grid.lon, lon, turn=360.0)
        outside = (row < 0) | (column < 0)
        return np.where(outside, -1, row * len(self._grid.lon) + column)

    def _dots(self, values: Values, colours: str | Colormap, norm: Normalize) -> Pixels:
        axes = self._axes()
        axes.imshow(self._base, extent=self._box, aspect="auto", interpolation="nearest", zorder=0)
        if self._areas:
            areas.fill(axes, self._areas, values, colours, norm)
            return _drawn(axes)[..., :3]
        x, y = self.projection.forward(self._lon, self._lat)
        valid = np.isfinite(values)
        size = float(np.clip(40000 / max(len(values), 1), 10, 200))
        axes.scatter(x[~valid], y[~valid], s=size * 0.5, c="#9aa1ab", linewidths=0, zorder=3)
        axes.scatter(
            x[valid],
            y[valid],
            s=size,
            c=values[valid],
            cmap=colours,
            norm=norm,
            edgecolors="#374151",
            linewidths=0.4,
            zorder=4,
        )
        return _drawn(axes)[..., :3]

    def _background(self) -> Pixels:
        axes = self._axes()
        if isinstance(self.projection, EqualEarth):
            lat = np.linspace(-90, 90, 181)
            x, y = self.projection.forward(np.full(181, 180.0), lat)
            axes.fill(np.concatenate([x, -x[::-1]]), np.concatenate([y, y[::-1]]), facecolor=_SEA, zorder=0)
        else:
            axes.axhspan(self._box[2], self._box[3], facecolor=_SEA, zorder=0)
        land = Outline.make_compound_path(*(Outline(self._project(ring), closed=True) for ring in land_rings()))
        colour = _LAND_UNDER_DOTS if self._grid is None else _LAND
        axes.add_artist(PathPatch(land, facecolor=colour, linewidth=0, zorder=1))
        return _drawn(axes)[..., :3]

    def _coastline(self) -> Pixels:
        axes = self._axes()
        axes.figure.set_facecolor("none")
        lines = [self._project(line) for line in coast_lines()]
        axes.add_collection(LineCollection(lines, colors=_COAST, linewidths=0.7), autolim=False)
        return _drawn(axes)

    def _axes(self) -> Axes:
        height, width = self.shape
        figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="white")
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0), xlim=self._box[:2], ylim=self._box[2:])
        axes.set_axis_off()
        axes.set_autoscale_on(False)
        return axes

    def _project(self, points: Values) -> Values:
        return np.column_stack(self.projection.forward(points[:, 0], points[:, 1]))


def _nearest(axis: Values, coordinates: Values, turn: float | None = None) -> npt.NDArray[np.int64]:
    """Position on an axis of the cell that each coordinate lies in; -1 outside and for NaN."""
    order = np.argsort(axis)
    middle = axis[order]
    half = spacing(axis) / 2
    edges = np.concatenate([[middle[0] - half], (middle[:-1] + middle[1:]) / 2, [middle[-1] + half]])
    if turn is not None:
        coordinates = edges[0] + (coordinates - edges[0]) % turn
    position = np.searchsorted(edges, coordinates, side="right") - 1
    inside = np.isfinite(coordinates) & (position >= 0) & (position < len(axis))
    return np.where(inside, order[np.clip(position, 0, len(axis) - 1)], -1)


def _drawn(axes: Axes) -> Pixels:
    """Colours of the pixels of a figure, ``(row, column, 4)``; alpha is not multiplied in."""
    canvas = FigureCanvasAgg(axes.get_figure(root=True))
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.array(canvas.buffer_rgba(), dtype=np.uint8)  # type: ignore[no-untyped-call]


def _over(below: Pixels, above: Pixels) -> Pixels:
    share = above[..., 3:] / np.float32(255)
    return (below * (1 - share) + above[..., :3] * share).astype(np.uint8)


def _png(pixels: Pixels) -> str:
    # A palette keeps a page with dozens of maps small; 256 colours hold a colour map, its greys and its edges.
    small = Image.fromarray(pixels).quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    stream = io.BytesIO()
    small.save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
