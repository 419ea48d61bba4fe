"""How much of each cell lies in each region: the weights of means over regions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.sparse import coo_array, csr_array

from soilcast.cube import Grid, grid_of, read
from soilcast.cube.raster import Raster, raster_of
from soilcast.errors import SoilcastError
from soilcast.regions.reading import Geometries, Outlines, listed, read_outlines

try:
    import shapely
    from exactextract import exact_extract
    from exactextract.raster import NumPyRasterSource
except ImportError as missing:
    raise SoilcastError("regions from files need an extra: pip install 'soilcast[regions]'") from missing

Floats = npt.NDArray[np.float64]

_TURNS = (-360.0, 0.0, 360.0)
"""A polygon meets cells at its own longitudes and a turn to either side: both write them from 0, -180 or beyond 180."""

_LITTLE = 0.5
"""Share of a region in cells below which it is told: a mean of so little of it may not be that of the region."""


@dataclass(frozen=True)
class Regions:
    """Regions and the cells of an artifact that they consist of.

    Parameters
    ----------
    title
        Name of the file that they are from.
    names
        Of each region, all distinct.
    geometry
        Polygons of shapely ``(region,)`` [degrees].
    weights
        ``(region, cell)`` float64: of cells on a grid the area of each in each region [m2], of cells without a grid 1
        where it lies in it. No region is without a cell.
    notes
        What was left out, mended or assumed, a line each.
    """

    title: str
    names: tuple[str, ...]
    geometry: Geometries = field(repr=False)
    weights: csr_array = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[Floats, Floats]:
        """Latitude and longitude of a point within each region ``(region,)`` [degrees]."""
        points = shapely.point_on_surface(self.geometry)
        return shapely.get_y(points), (shapely.get_x(points) + 180.0) % 360.0 - 180.0

    @property
    def outlines(self) -> Geometries:
        """Polygons ``(region,)`` with longitudes in -180 .. 180, cut at the date line, counterclockwise."""
        return np.array([cut_at_date_line(one) for one in self.geometry], dtype=object)

    @property
    def whole(self) -> Floats:
        """Weight of all cells of each region ``(region,)``."""
        return np.asarray(self.weights.sum(axis=1), dtype=np.float64)

    def of_cells(self, cells: npt.NDArray[np.bool_]) -> Regions:
        """Keep the weights of some cells ``(cell,)``; a region that loses all of them has no mean.

        Raises
        ------
        SoilcastError
            No region keeps a cell.
        """
        kept = csr_array(self.weights.multiply(cells[np.newaxis]))
        has_cell = kept.sum(axis=1) > 0
        if not has_cell.any():
            raise SoilcastError(f"{self.title}: none of its {len(self.names)} regions has a cell with a value")
        return _with_cells(replace(self, weights=kept), has_cell, "have no cell with a value")


def open_regions(path: str | Path, artifact: xr.Dataset, *, name: str | None = None) -> Regions:
    """Read regions and weigh the cells of a cube, a forecast or scores in them.

    Parameters
    ----------
    path, name
        See `soilcast.regions.reading.read_outlines`.
    artifact
        Opened; its cells lie on a grid of longitude and latitude, or are places.

    Returns
    -------
    The regions that have a cell.

    Raises
    ------
    SoilcastError
        The file cannot be read; the grid is not evenly spaced; no region overlaps a cell.
    """
    return weigh_cells(read_outlines(path, name), artifact)


def weigh_cells(outlines: Outlines, artifact: xr.Dataset) -> Regions:
    """Weigh the cells of an artifact in polygons: see `open_regions`."""
    grid = grid_of(artifact)
    notes = list(outlines.notes)
    if grid is None:
        weights = points_within(outlines.geometry, *(artifact[axis].to_numpy() for axis in ("lon", "lat")))
    else:
        shares, covered = _shares_of_cells(outlines, grid)
        area = read(artifact, "area") if "area" in artifact else grid.cell_area
        weights = csr_array(shares.multiply(area.astype(np.float64)[np.newaxis]))
        if (little := (covered < _LITTLE) & (covered > 0)).any():
            names = [f"{outlines.names[one]} {covered[one]:.0%}" for one in np.flatnonzero(little)]
            notes.append(
                f"{outlines.title}: cells cover less than half of {len(names):,} region(s), whose means are of that "
                f"part ({listed(names)})"
            )
    regions = Regions(outlines.title, outlines.names, outlines.geometry, weights, tuple(notes))
    has_cell = weights.sum(axis=1) > 0
    if not has_cell.any():
        raise SoilcastError(f"{outlines.title}: none of its {len(has_cell)} regions has a cell of {_extent(artifact)}")
    return _with_cells(regions, has_cell, "have no cell")


def cut_at_date_line(geometry: Any) -> Any:
    """Bring the longitudes of a polygon into -180 .. 180, cut at the date line, and its rings into order."""
    west, _, east, _ = geometry.bounds
    if west >= -180.0 and east <= 180.0:
        return shapely.orient_polygons(geometry)
    earth = shapely.box(-180.0, -90.0, 180.0, 90.0)
    parts = [shapely.intersection(_turned(geometry, turn), earth) for turn in _TURNS]
    return shapely.orient_polygons(shapely.union_all([one for one in parts if one.area > 0]))


def _turned(geometry: Any, turn: float) -> Any:
    """Move a geometry along the longitudes [degrees]."""
    return geometry if turn == 0 else shapely.transform(geometry, lambda points: points + np.array([turn, 0.0]))


def _with_cells(regions: Regions, has_cell: npt.NDArray[np.bool_], why: str) -> Regions:
    """Keep the regions that have a cell, and name the others."""
    if has_cell.all():
        return regions
    names = np.array(regions.names, dtype=object)
    without = list(map(str, names[~has_cell]))
    note = f"{regions.title}: {len(without):,} of {len(names):,} regions {why}, and are left out ({listed(without)})"
    return replace(
        regions,
        names=tuple(map(str, names[has_cell])),
        geometry=regions.geometry[has_cell],
        weights=csr_array(regions.weights[has_cell]),
        notes=(*regions.notes, note),
    )


def _extent(artifact: xr.Dataset) -> str:
    lat, lon = artifact["lat"].to_numpy(), artifact["lon"].to_numpy()
    return f"{lat.min():g} .. {lat.max():g} N, {lon.min():g} .. {lon.max():g} E"


def points_within(geometry: Geometries, lon: Floats, lat: Floats) -> csr_array:
    """1 for each place in each region ``(region, cell)``; one on the border of two is in both."""
    within = np.zeros((len(geometry), len(lon)), dtype=np.bool_)
    for turn in _TURNS:
        tree = shapely.STRtree(shapely.points(lon.astype(np.float64) + turn, lat.astype(np.float64)))
        region, cell = tree.query(geometry, predicate="intersects")
        within[region, cell] = True
    return csr_array(within.astype(np.float64))


def _shares_of_cells(outlines: Outlines, grid: Grid) -> tuple[csr_array, Floats]:
    """Share of each cell that lies in each region ``(region, cell)``, and share of each region in cells ``(region,)``.

    Both are of areas on the plane of longitude and latitude, which within a cell are in proportion to those on the
    sphere but for the change of its width from one edge to the other.
    """
    raster = raster_of(grid, outlines.title, "weighting of cells by regions", "bring the data to a regular grid")
    west, south, east, north = raster.bounds
    order = np.argsort(raster.pixel)
    pixels = raster.pixel[order]
    found: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]] = []
    for turn in _TURNS:
        bounds = shapely.bounds(outlines.geometry) + np.array([turn, 0.0, turn, 0.0])
        meets = (bounds[:, 0] < east) & (bounds[:, 2] > west) & (bounds[:, 1] < north) & (bounds[:, 3] > south)
        for region in np.flatnonzero(meets):
            pixel, share = _shares_of_pixels(_turned(outlines.geometry[region], turn), raster)
            at = np.minimum(np.searchsorted(pixels, pixel), len(pixels) - 1)
            is_cell = (pixels[at] == pixel) & (share > 0)
            found.append((np.full(is_cell.sum(), region), order[at[is_cell]], share[is_cell]))
    rows, cells = (np.concatenate([one[axis] for one in found] or [np.empty(0, np.int64)]) for axis in (0, 1))
    shares = np.concatenate([one[2] for one in found] or [np.empty(0)])
    matrix = csr_array(coo_array((shares, (rows, cells)), shape=(len(outlines.names), len(grid.index))))
    pixel_area = abs(raster.rows.step * raster.columns.step)
    covered = np.asarray(matrix.sum(axis=1)) * pixel_area / shapely.area(outlines.geometry)
    return matrix, covered


def _shares_of_pixels(geometry: Any, raster: Raster) -> tuple[npt.NDArray[np.int64], Floats]:
    """Pixels of a raster that a polygon covers, and how much of each it covers."""
    # The values do not count, so one stands for all.
    source = NumPyRasterSource(np.broadcast_to(np.zeros(1, dtype=np.uint8), raster.shape), *raster.bounds)
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(geometry)}
    (found,) = exact_extract(source, [feature], ["cell_id", "coverage"])
    pixel, share = (found["properties"][name] for name in ("cell_id", "coverage"))
    return np.asarray(pixel, dtype=np.int64), np.asarray(share, dtype=np.float64)
