"""Regions as shapes on a map: their outlines, with holes, in the map's projection."""

from __future__ import annotations

import matplotlib
import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import Colormap, Normalize, to_rgba
from matplotlib.path import Path as Outline

from soilcast.cube.grid import OUTLINE
from soilcast.reporting.projection import Projection

Values = npt.NDArray[np.float64]

_EDGE, _WITHOUT_VALUE = "#374151", "#cdd2d9"
_LONGEST_EDGE = 1.0
"""Of an outline on the map [degrees]: straight lines of longitude and latitude bend in a projection."""


def has_outlines(dataset: xr.Dataset) -> bool:
    """Whether the cells of a data set are regions whose outlines are known."""
    return OUTLINE in dataset.coords


def bounds_of(dataset: xr.Dataset) -> tuple[float, float, float, float]:
    """West, east, south and north end of all regions [degrees]."""
    import shapely  # there, since the outlines are its own

    west, south, east, north = shapely.total_bounds(dataset[OUTLINE].to_numpy())
    return float(west), float(east), float(south), float(north)


def paths_of(dataset: xr.Dataset, projection: Projection) -> list[Outline]:
    """One path a region, of all its rings on the map."""
    import shapely

    paths = []
    for outline in shapely.segmentize(dataset[OUTLINE].to_numpy(), _LONGEST_EDGE):
        rings = [shapely.get_coordinates(ring) for ring in shapely.get_rings(outline)]
        drawn = [np.column_stack(projection.forward(ring[:, 0], ring[:, 1])) for ring in rings]
        paths.append(Outline.make_compound_path(*(Outline(ring, closed=True) for ring in drawn)))
    return paths


def fill(axes: Axes, paths: list[Outline], values: Values, colours: str | Colormap, norm: Normalize) -> None:
    """Fill regions by their values ``(region,)``, those without one in grey, the smaller above the larger."""
    order = np.argsort([-np.prod(path.get_extents().size) for path in paths], kind="stable")
    filled = matplotlib.colormaps.get_cmap(colours)(norm(np.nan_to_num(values)))
    filled[~np.isfinite(values)] = to_rgba(_WITHOUT_VALUE)
    shapes = PathCollection(
        [paths[at] for at in order], facecolors=filled[order], edgecolors=_EDGE, linewidths=0.6, zorder=2.1
    )
    axes.add_collection(shapes, autolim=False)
