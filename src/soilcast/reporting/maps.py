"""Maps of a metric: a raster per model with a coast, all on one colour scale, and the scale itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import matplotlib
import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image
from scipy.ndimage import binary_dilation

from soilcast.colours import Colouring, robust_limits
from soilcast.cube import grid_of, spacing, to_grid
from soilcast.cube.grid import nearest_on_axis
from soilcast.reporting import areas
from soilcast.reporting.basemap import SCREEN, Basemap, print_pen
from soilcast.reporting.figures import LOOK
from soilcast.reporting.projection import EqualEarth, Projection, Regional
from soilcast.reporting.style import MapStyle, style_of_colouring

Values = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

_WIDTH = 900  # pixels of a picture
_MARGINS = (46, 10, 46, 10)  # pixels around the map of a region: left, right, bottom, top
_DPI, _POINTS = 100, 72  # an inch
_TALLEST, _FLATTEST = 1.1, 0.45  # height over width of a map
_MARGIN = 0.06  # around cells, over the larger of their extents
_WORLD = 150.0  # degrees of longitude from which a map counts as one of the world
_DOTS_AREA, _DOTS_AREA_IN_PRINT = 40000.0, 6000.0  # of all cells without a grid together [square points]
_EDGE = "#374151"  # of a dot
_DOT_REACH = 14  # pixels around a cell without a grid that count as covered


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
    def norm(self) -> Normalize:
        """From the limits to 0 .. 1, what is beyond them to the nearer end."""
        return Normalize(self.low, self.high, clip=True)

    @property
    def gradient(self) -> list[str]:
        """Colours from low to high as CSS writes them."""
        return [
            matplotlib.colors.to_hex(matplotlib.colormaps.get_cmap(self.style.colours)(x))
            for x in np.linspace(0, 1, 17)
        ]


def scale_of(colouring: Colouring) -> Scale:
    """Give the scale of a quantity whose limits do not follow from its values."""
    assert colouring.limits is not None
    return Scale(*colouring.limits, style_of_colouring(colouring))


def robust_scale(values: Values, style: MapStyle) -> Scale | None:
    """Limits at the 2nd and 98th percentile within the reach, symmetric if 0 is the middle; None without a value."""
    limits = robust_limits(values, centred=style.centred, reach=style.reach)
    return None if limits is None else Scale(*limits, style)


class Canvas:
    """What all maps of a data set share: projection, extent, surroundings, and which cell each pixel shows.

    Parameters
    ----------
    scores
        What `open_scores` gives: ``lat`` and ``lon`` of each cell, ``grid_lat`` and ``grid_lon`` for a grid.

    Attributes
    ----------
    shape
        Height and width of the map itself [pixels].
    frame
        Rows and columns of a picture in which the map is; around that of a region are its coordinates.
    """

    def __init__(self, scores: xr.Dataset) -> None:
        self._grid = grid_of(scores)
        self._lon, self._lat = (scores[name].to_numpy().astype(np.float64) for name in ("lon", "lat"))
        west, east, south, north = self._extent(areas.bounds_of(scores) if areas.has_outlines(scores) else None)
        self.is_world = east - west >= _WORLD
        projection: Projection = EqualEarth() if self.is_world else Regional((south + north) / 2)
        edge_lon = np.concatenate([np.linspace(west, east, 181), np.repeat([west, east], 91)])
        edge_lat = np.concatenate([np.full(181, np.clip(0, south, north)), np.tile(np.linspace(south, north, 91), 2)])
        x, y = projection.forward(edge_lon, edge_lat)
        self.box = (float(x.min()), float(x.max()), float(y.min()), float(y.max()))
        if not self.is_world:
            self.box = _proportioned(*self.box)
        left, right, bottom, top = (0, 0, 0, 0) if self.is_world else _MARGINS
        wide = _WIDTH - left - right
        self.shape = (max(int(wide * (self.box[3] - self.box[2]) / (self.box[1] - self.box[0])), 2), wide)
        self.frame = slice(top, top + self.shape[0]), slice(left, left + wide)
        self._size = (self.shape[0] + top + bottom, _WIDTH)
        self._areas = areas.paths_of(scores, projection) if areas.has_outlines(scores) else []
        self._is_dotted = self._grid is None and not self._areas
        self._basemap = Basemap(projection, self.box, dotted=self._is_dotted)
        self._source = self._pixels() if self._grid is not None else None

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
        """Draw one map with what surrounds it as pixels ``(row, column, 3)``; see `panel`."""
        below, above = self._surroundings
        if self._grid is None:
            dots = self._layer(lambda axes: self._dots(axes, values.to_numpy().astype(np.float64), scale, _DOTS_AREA))
            return _over(_over(below, dots), above)
        picture, colours = below.copy(), self.colours(values, scale)
        picture[self.frame] = np.where(colours[..., 3:] > 0, colours[..., :3], picture[self.frame])
        return _over(picture, above)

    def colours(self, values: xr.DataArray, scale: Scale) -> Pixels:
        """Colours of the cells of a grid on the map itself, ``(row, column, 4)``, transparent where there is none."""
        assert self._source is not None
        assert self._grid is not None
        flat = to_grid(values, self._grid).to_numpy().ravel()
        shown = np.where(self._source >= 0, flat[np.maximum(self._source, 0)], np.nan)
        coloured = matplotlib.colormaps.get_cmap(scale.style.colours)(scale.norm(np.nan_to_num(shown)), bytes=True)
        return np.where(np.isfinite(shown)[..., None], coloured, np.uint8(0)).astype(np.uint8)

    def draw(
        self,
        axes: Axes,
        values: Values,
        scale: Scale,
        marked: npt.NDArray[np.bool_] | None = None,
        *,
        width: float,
        as_shapes: bool = True,
    ) -> None:
        """Draw one map on axes, for print.

        Parameters
        ----------
        axes
            Where; a map of the world has no ticks, one of a region those of its coordinates.
        values
            ``(cell,)``, NaN where there is none.
        scale
            Colours and limits.
        marked
            ``(cell,)``, where a dot is to be set.
        width
            Of the axes, about [inch]: names are set for it.
        as_shapes
            Whether cells of a grid are shapes, which stay sharp, or pixels, which many cells are drawn faster as.
        """
        pen = print_pen(width)
        axes.set_aspect("equal")
        self._basemap.draw(axes, pen)
        if self._grid is None:
            self._dots(axes, values, scale, _DOTS_AREA_IN_PRINT)
        elif as_shapes:
            valid = np.isfinite(values)
            cells = PolyCollection(
                list(self._outlines()[valid]), array=values[valid], linewidths=0, cmap=scale.style.colours,
                norm=scale.norm, zorder=2,
            )  # fmt: skip
            cells.set_edgecolor("face")  # else thin seams show between the cells in some viewers
            cells.set_linewidth(0.1)
            axes.add_collection(cells, autolim=False)
        else:
            pixels = self.colours(xr.DataArray(values, dims="cell"), scale)
            axes.imshow(pixels, extent=self.box, aspect="equal", interpolation="antialiased", zorder=2)
        if marked is not None:
            x, y = self._basemap.projection.forward(self._lon, self._lat)
            axes.scatter(x[marked], y[marked], s=0.6, c="black", linewidths=0, zorder=4)
        self._basemap.draw_names(axes, pen, _POINTS * width, self._covered)

    def _outlines(self) -> Values:
        """Corners of the cells of a grid on the map ``(cell, corner, 2)``."""
        assert self._grid is not None
        half_lon, half_lat = spacing(self._grid.lon) / 2, spacing(self._grid.lat) / 2
        lon = self._lon[:, np.newaxis] + half_lon * np.array([-1, 1, 1, -1])
        lat = np.clip(self._lat[:, np.newaxis] + half_lat * np.array([-1, -1, 1, 1]), -90, 90)
        return np.stack(self._basemap.projection.forward(lon, lat), axis=-1)

    def _extent(self, bounds: tuple[float, float, float, float] | None) -> tuple[float, float, float, float]:
        """West, east, south and north edge [degrees] of a map of cells, or of regions within some bounds."""
        if bounds is not None:
            west, east, south, north = bounds
            if east - west >= _WORLD:
                return -180.0, 180.0, south, north
            beside = _MARGIN * max(north - south, east - west, 0.5)
            return west - beside, east + beside, max(south - beside, -90.0), min(north + beside, 90.0)
        half = (0.0, 0.0) if self._grid is None else (spacing(self._grid.lat) / 2, spacing(self._grid.lon) / 2)
        high, wide = (np.ptp(axis) + 2 * one for axis, one in zip((self._lat, self._lon), half, strict=True))
        margin = half if wide >= _WORLD else (_MARGIN * max(high, wide, 0.5),) * 2
        west, east = self._lon.min() - half[1] - margin[1], self._lon.max() + half[1] + margin[1]
        south, north = self._lat.min() - half[0] - margin[0], self._lat.max() + half[0] + margin[0]
        if east - west >= _WORLD:
            west, east = -180.0, 180.0
        return float(west), float(east), float(max(south, -90.0)), float(min(north, 90.0))

    def _pixels(self) -> npt.NDArray[np.int64]:
        """Index in the flattened grid that each pixel shows, ``(row, column)``; -1 outside of the grid."""
        assert self._grid is not None
        lon, lat = self._basemap.projection.inverse(*self._centres())
        row, column = nearest_on_axis(self._grid.lat, lat), nearest_on_axis(self._grid.lon, lon, turn=360.0)
        outside = (row < 0) | (column < 0)
        return np.where(outside, -1, row * len(self._grid.lon) + column)

    def _centres(self) -> tuple[Values, Values]:
        """Where the pixels of the map are, each ``(row, column)``."""
        height, width = self.shape
        west, east, south, north = self.box
        x = west + (np.arange(width) + 0.5) / width * (east - west)
        y = north - (np.arange(height) + 0.5) / height * (north - south)
        return np.meshgrid(x, y)

    def _dots(self, axes: Axes, values: Values, scale: Scale, area: float) -> None:
        """Draw regions as areas, other cells without a grid as dots, grey and small where there is no value."""
        if self._areas:
            areas.fill(axes, self._areas, values, scale.style.colours, scale.norm)
            return
        x, y = self._basemap.projection.forward(self._lon, self._lat)
        valid = np.isfinite(values)
        size = float(np.clip(area / max(len(values), 1), area / 4000, area / 200))
        axes.scatter(x[~valid], y[~valid], s=size * 0.5, c="#9aa1ab", linewidths=0, zorder=2)
        axes.scatter(
            x[valid], y[valid], s=size, c=values[valid], cmap=scale.style.colours, norm=scale.norm,
            edgecolors=_EDGE, linewidths=0.03 * np.sqrt(size), zorder=2.1,
        )  # fmt: skip

    @cached_property
    def _covered(self) -> npt.NDArray[np.bool_]:
        """Where there are cells on the map, ``(row, column)``."""
        if self._source is not None:
            assert self._grid is not None
            return np.isin(self._source, self._grid.index)
        covered = np.zeros(self.shape, dtype=np.bool_)
        west, east, south, north = self.box
        x, y = self._basemap.projection.forward(self._lon, self._lat)
        row = ((north - y) / (north - south) * self.shape[0]).astype(int)
        column = ((x - west) / (east - west) * self.shape[1]).astype(int)
        # A place on the southern or eastern edge is of the last row or column.
        covered[np.minimum(row, self.shape[0] - 1), np.minimum(column, self.shape[1] - 1)] = True
        return np.asarray(binary_dilation(covered, iterations=_DOT_REACH))

    @cached_property
    def _surroundings(self) -> tuple[Pixels, Pixels]:
        """What is beneath the cells of a picture ``(row, column, 3)``, and what is above them ``(row, column, 4)``."""
        basemap, dotted = self._basemap, self._is_dotted

        def below(axes: Axes) -> None:
            basemap.draw_ground(axes)
            if dotted:
                basemap.draw_lines(axes, SCREEN, 1.5)

        def above(axes: Axes) -> None:
            if not dotted:
                basemap.draw_lines(axes, SCREEN, 1.5)
            basemap.draw_frame(axes, SCREEN)
            basemap.draw_names(axes, SCREEN, self.shape[1] * _POINTS / _DPI, self._covered)

        return self._layer(below, "white")[..., :3], self._layer(above)

    def _layer(self, draw: Callable[[Axes], None], background: str = "none") -> Pixels:
        """Draw on axes where the map is in a picture: its pixels ``(row, column, 4)``; alpha is not multiplied in."""
        height, width = self._size
        rows, columns = self.frame
        with matplotlib.rc_context(LOOK):
            figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=background)
            place = (columns.start / width, 1 - rows.stop / height, self.shape[1] / width, self.shape[0] / height)
            axes = figure.add_axes(place, xlim=self.box[:2], ylim=self.box[2:], facecolor="none")
            axes.set_axis_off()
            axes.set_autoscale_on(False)
            draw(axes)
            canvas = FigureCanvasAgg(figure)
            canvas.draw()  # type: ignore[no-untyped-call]
            return np.array(canvas.buffer_rgba(), dtype=np.uint8)  # type: ignore[no-untyped-call]


def _proportioned(left: float, right: float, bottom: float, top: float) -> tuple[float, float, float, float]:
    """Widen or heighten a region that is too tall or too flat for a page."""
    wide, high = right - left, top - bottom
    wider, higher = max(wide, high / _TALLEST), max(high, wide * _FLATTEST)
    x, y = (left + right) / 2, (bottom + top) / 2
    return x - wider / 2, x + wider / 2, y - higher / 2, y + higher / 2


def _over(below: Pixels, above: Pixels) -> Pixels:
    drawn = above[..., 3] > 0
    share = above[drawn][:, 3:] / np.float32(255)
    picture = below.copy()
    picture[drawn] = (below[drawn] * (1 - share) + above[drawn][:, :3] * share).astype(np.uint8)
    return picture


def _png(pixels: Pixels) -> str:
    # A palette keeps a page with dozens of maps small; 256 colours hold a colour map, its greys and its edges.
    small = Image.fromarray(pixels).quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    stream = io.BytesIO()
    small.save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
