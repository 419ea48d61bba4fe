"""What a query of OGC API EDR asks for: which cells, parameters and days; refused if that is too much."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from soilcast.serving.catalogue import Collection, Instance
from soilcast.serving.cells import Cells
from soilcast.serving.faults import NotThereError, RequestError, TooLargeError
from soilcast.serving.parameters import Parameter, chosen_parameters

Positions = npt.NDArray[np.int64]

CRS = "CRS84"
"""Longitude and latitude in degrees."""

MOST_CELLS = 20_000
"""Cells of an answer."""

MOST_VALUES = 1_000_000
"""Values of an answer: of all cells, parameters and days."""

MOST_CORNERS = 2_000
"""Corners of an area."""

MOST_POINTS = 500
"""Points of a position."""

KILOMETRES = {"km": 1.0, "m": 0.001, "mi": 1.609344}
"""Unit of a radius -> km."""

_LONGEST_TEXT = 60_000
_FARTHEST = 20_100.0
"""Half-way round the Earth [km]."""


@dataclass(frozen=True)
class Query:
    """What is asked for.

    Parameters
    ----------
    collection, instance
        The forecast.
    parameters
        Of it.
    leads
        Positions along its leads.
    """

    collection: Collection
    instance: Instance
    parameters: list[Parameter]
    leads: list[int]

    @property
    def cells(self) -> Cells:
        """All cells of the collection."""
        return self.collection.cells

    @property
    def valid_days(self) -> list[str]:
        """The days that are asked for."""
        return [self.instance.valid_days[at] for at in self.leads]

    def refuse_large(self, cells: int) -> None:
        """Raise `TooLargeError` where the answer would have too many cells or values."""
        values = cells * sum(len(self.leads) if one.has_lead else 1 for one in self.parameters)
        remedy = "ask for a smaller area, fewer parameters (parameter-name) or days (datetime)"
        if cells > MOST_CELLS:
            raise TooLargeError(f"{cells:,} cells, but at most {MOST_CELLS:,} are given at once: {remedy}")
        if values > MOST_VALUES:
            raise TooLargeError(f"{values:,} values, but at most {MOST_VALUES:,} are given at once: {remedy}")


def make_query(collection: Collection, issue: str | None, names: str | None, datetime: str | None) -> Query:
    """Read what all queries have in common.

    Raises
    ------
    RequestError
        There is no such issue day, parameter or day, or what is given is not read.
    """
    instance = collection.instance(issue)
    parameters = chosen_parameters(instance.file, names)
    leads = _leads(instance, datetime)
    if not leads:
        # Parameters of the issue day have a day of their own.
        raise NotThereError(
            f"datetime {str(datetime)[:60]}: no forecast day lies in it: there are {instance.valid_days[0]} to "
            f"{instance.valid_days[-1]}"
        )
    return Query(collection, instance, parameters, leads)


def _leads(instance: Instance, datetime: str | None) -> list[int]:
    """Positions of the leads whose valid days are asked for."""
    if datetime is None or not datetime.strip():
        return list(range(len(instance.file.leads)))
    days = [np.datetime64(day) for day in instance.valid_days]
    found: set[int] = set()
    for part in datetime.split(",")[:MOST_POINTS]:
        first, last = _interval(part.strip())
        found |= {
            at for at, day in enumerate(days) if (first is None or day >= first) and (last is None or day <= last)
        }
    return sorted(found)


def _interval(text: str) -> tuple[np.datetime64 | None, np.datetime64 | None]:
    first, slash, last = text.partition("/")
    ends = [None if end in ("..", "") and slash else _day(end) for end in (first, last if slash else first)]
    if ends[0] is not None and ends[1] is not None and ends[0] > ends[1]:
        raise RequestError(f"datetime {text[:60]!r}: it ends before it begins")
    return ends[0], ends[1]


def _day(text: str) -> np.datetime64:
    """Day of a time in UTC, as RFC 3339 writes it, or of a date."""
    match = re.fullmatch(r"(\d{4}-\d{2}-\d{2})([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]00:?00)?)?", text)
    try:
        if match is None:
            raise ValueError(text)
        return np.datetime64(match[1], "D")
    except ValueError as error:
        raise RequestError(
            f"datetime {text[:60]!r}: no time in UTC: write 2026-11-30, 2026-11-30T00:00:00Z or FROM/TO, .. for open"
        ) from error


def geometry(text: str, *kinds: str) -> BaseGeometry:
    """Read well-known text of one of some kinds, with longitude first [degrees].

    Raises
    ------
    RequestError
        It is none, of another kind, empty, not finite, beyond the Earth, or no simple area.
    TooLargeError
        It has too many corners.
    """
    if len(text) > _LONGEST_TEXT:
        raise TooLargeError(f"coords: {len(text):,} letters, but at most {_LONGEST_TEXT:,} are read")
    try:
        shape = shapely.from_wkt(text)
    except (shapely.errors.ShapelyError, ValueError, TypeError) as error:
        raise RequestError(f"coords: no well-known text of {' or '.join(kinds)} (longitude first)") from error
    if shape is None or shape.geom_type.upper() not in kinds:
        raise RequestError(f"coords: {' or '.join(kinds)} is expected")
    corners = shapely.get_coordinates(shape)
    most = MOST_POINTS if "POINT" in kinds else MOST_CORNERS
    if len(corners) > most:
        raise TooLargeError(f"coords: {len(corners):,} points, but at most {most:,} are read")
    if not len(corners) or not np.isfinite(corners).all():
        raise RequestError("coords: no coordinates, or some that are no numbers")
    if np.abs(corners[:, 1]).max() > 90 or np.abs(corners[:, 0]).max() > 360:
        raise RequestError(
            "coords: latitudes are -90 to 90 degrees, longitudes -180 to 180 or 0 to 360; longitude first"
        )
    if "POLYGON" in kinds and not shapely.is_valid(shape):
        raise RequestError(f"coords: no simple area: {shapely.is_valid_reason(shape)}")
    return shape


def cells_at(cells: Cells, text: str) -> Positions:
    """Cells at the points of a well-known text, in their order ``(point,)``.

    Raises
    ------
    RequestError
        See `geometry`; no cell is at a point.
    """
    points = shapely.get_coordinates(geometry(text, "POINT", "MULTIPOINT"))
    near = cells.finder.nearest(points[:, 1], points[:, 0])
    if (near.cell < 0).any():
        lost = int(np.flatnonzero(near.cell < 0)[0])
        lon, lat = points[lost]
        raise NotThereError(f"no cell within {near.reach[lost]:.0f} km of POINT({lon:g} {lat:g})")
    return near.cell


def cells_within(cells: Cells, text: str) -> Positions:
    """Cells whose centre lies in an area of well-known text, or on its edge, ascending ``(cell,)``.

    Raises
    ------
    RequestError
        See `geometry`.
    """
    area = geometry(text, "POLYGON", "MULTIPOLYGON")
    shapely.prepare(area)
    west, south, east, north = area.bounds
    found = np.zeros(cells.count, dtype=np.bool_)
    for turn in (-360.0, 0.0, 360.0):
        lon = cells.lon + turn
        near = np.flatnonzero((lon >= west) & (lon <= east) & (cells.lat >= south) & (cells.lat <= north))
        found[near] |= shapely.intersects_xy(area, lon[near], cells.lat[near])
    inside = shapely.get_coordinates(area.representative_point())[0]
    return _or_nearest(cells, np.flatnonzero(found), inside[1], inside[0])


def cells_around(cells: Cells, text: str, within: float, units: str) -> Positions:
    """Cells whose centre is within a distance of a point, ascending ``(cell,)``.

    Raises
    ------
    RequestError
        See `geometry`; another unit, or a distance that is none.
    """
    if units not in KILOMETRES:
        raise RequestError(f"within-units {units[:20]!r}: there are {', '.join(KILOMETRES)}")
    distance = within * KILOMETRES[units]
    if not 0 < distance <= _FARTHEST:
        raise RequestError(f"within {within:g}: write a distance above 0 and up to {_FARTHEST:,.0f} km")
    ((lon, lat),) = shapely.get_coordinates(geometry(text, "POINT"))
    return _or_nearest(cells, cells.finder.within(float(lat), float(lon), distance), lat, lon)


def cells_in_box(cells: Cells, text: str) -> Positions:
    """Cells whose centre lies in a box of west, south, east and north, which may cross the date line ``(cell,)``.

    Raises
    ------
    RequestError
        It is no such box.
    """
    try:
        ends = [float(one) for one in text.split(",")]
    except ValueError as error:
        raise RequestError("bbox: write west,south,east,north [degrees]") from error
    if len(ends) == 6:
        ends = [*ends[:2], *ends[3:5]]
    if len(ends) != 4 or not np.isfinite(ends).all():
        raise RequestError("bbox: write four numbers, west,south,east,north [degrees]")
    west, south, east, north = ends
    if south > north or max(abs(south), abs(north)) > 90 or max(abs(west), abs(east)) > 360:
        raise RequestError(
            "bbox: south is not above north, latitudes are -90 to 90, longitudes -180 to 180 or 0 to 360"
        )
    if west > east:
        east += 360.0
    turned = west + (cells.lon - west) % 360.0
    found = np.flatnonzero((turned <= east) & (cells.lat >= south) & (cells.lat <= north))
    return _or_nearest(cells, found, (south + north) / 2, (west + east) / 2)


def _or_nearest(cells: Cells, found: Positions, lat: float, lon: float) -> Positions:
    """Cells that were found, or where an area is too small to hold the centre of one, the cell that it lies in.

    Raises
    ------
    NotThereError
        There is none.
    """
    if len(found):
        return found
    near = cells.finder.nearest(np.array([lat]), np.array([lon])).cell
    if near[0] < 0:
        raise NotThereError("no cell lies there")
    return near


def refuse_unlike(crs: str | None, z: str | None) -> None:
    """Raise `RequestError` for another reference system than longitude and latitude, or for a height: there is none."""
    if crs is not None and crs.upper().rpartition("/")[2] not in (CRS, f"OGC:{CRS}"):
        raise RequestError(f"crs {crs[:40]!r}: there is {CRS}, longitude and latitude in degrees")
    if z is not None:
        raise RequestError("z: forecasts have no height; layers of the soil are parameters")


def as_rows(cells: Cells, chosen: Positions) -> Any:
    """Rows and columns of the grid that hold some cells, and which cell each of their crossings is ``(row, column)``.

    Returns
    -------
    Latitudes ``(row,)``, longitudes ``(column,)``, and positions among ``chosen``, -1 where there is none.
    """
    grid = cells.grid
    assert grid is not None
    row, column = np.divmod(grid.index[chosen], len(grid.lon))
    rows, columns = np.unique(row), np.unique(column)
    table = np.full((len(rows), len(columns)), -1, dtype=np.int64)
    table[np.searchsorted(rows, row), np.searchsorted(columns, column)] = np.arange(len(chosen))
    return grid.lat[rows], grid.lon[columns], table
