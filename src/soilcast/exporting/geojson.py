"""Fields as GeoJSON (RFC 7946): a feature for each cell or region, with a property for each field and lead."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import grid_of, spacing
from soilcast.cube.grid import OUTLINE
from soilcast.exporting.field import Band, Field, about_all
from soilcast.ownership import GENERATOR

_DECIMALS = 6
"""Of a coordinate [degrees]: a hand's breadth."""


def write_geojson(fields: Sequence[Field], partial: Path, out: Path) -> None:
    """Write fields: regions and cells of a grid as polygons, places as points; missing values are null.

    Parameters
    ----------
    fields
        What to write, of one day and of the same cells.
    partial
        Where to write.
    out
        Final path.
    """
    is_one, field = len(fields) == 1, fields[0]
    bands = [(one, number, band) for one in fields for number, band in enumerate(one.bands)]
    names = [property_name(band, None if is_one else one.column) for one, _, band in bands]
    head: dict[str, Any] = {"type": "FeatureCollection", "software": GENERATOR, **about_all(fields)}
    head["properties"] = [
        {"name": name, **({} if is_one else {"variable": one.column}), **_times(band)}
        for name, (one, _, band) in zip(names, bands, strict=True)
    ]
    cell_names = field.opened["cell_name"].to_numpy() if "cell_name" in field.opened.coords else None
    with partial.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "features": [')
        for cell, geometry in enumerate(cell_geometries(field.opened)):
            about = {"cell": cell} if cell_names is None else {"cell": cell, "cell_name": str(cell_names[cell])}
            values = (_number(one.values[number, cell], is_whole=one.is_whole) for one, number, _ in bands)
            feature = {
                "type": "Feature",
                "geometry": geometry,
                "properties": about | dict(zip(names, values, strict=True)),
            }
            stream.write(("\n" if cell == 0 else ",\n") + json.dumps(feature, ensure_ascii=False, allow_nan=False))
        stream.write("\n]}\n")


def property_name(band: Band, column: str | None = None) -> str:
    """Name of the property of a band; of one of several fields with the name of its ``column``."""
    if column is None:
        return "value" if band.lead is None else f"lead_{band.lead}"
    return column if band.lead is None else f"{column}_lead_{band.lead}"


def _times(band: Band) -> dict[str, Any]:
    return {"lead_days": band.lead, "valid_date": None if band.day is None else str(band.day)}


def _number(value: np.float32, *, is_whole: bool) -> float | int | None:
    if not np.isfinite(value):
        return None
    return int(value) if is_whole else float(f"{value:.7g}")  # seven digits are what float32 holds


def cell_geometries(opened: xr.Dataset) -> Iterator[dict[str, Any]]:
    """Give the geometry of each cell: outlines of regions, polygons of a grid, cut at the date line, points of places.

    Parameters
    ----------
    opened
        A cube, a forecast, or the coordinates of some of its cells.
    """
    if OUTLINE in opened.coords:
        for outline in opened[OUTLINE].to_numpy():
            yield json.loads(_as_geojson(outline))
        return
    lat, lon = (opened[name].to_numpy().astype(np.float64) for name in ("lat", "lon"))
    lon = (lon + 180.0) % 360.0 - 180.0
    grid = grid_of(opened)
    if grid is None:
        for place in zip(lon, lat, strict=True):
            yield {"type": "Point", "coordinates": _rounded(np.array(place))}
        return
    tall, wide = (_half(axis) for axis in (grid.lat, grid.lon))
    for x, y in zip(lon, lat, strict=True):
        west, east = x - wide, x + wide
        south, north = max(y - tall, -90.0), min(y + tall, 90.0)
        # A cell across the date line is cut there, as RFC 7946 asks.
        parts = [(west + 360.0, 180.0), (-180.0, east)] if west < -180.0 else [(west, min(east, 180.0))]
        parts += [(-180.0, east - 360.0)] if east > 180.0 else []
        rings = [[_ring(left, right, south, north)] for left, right in parts]
        yield (
            {"type": "Polygon", "coordinates": rings[0]}
            if len(rings) == 1
            else {"type": "MultiPolygon", "coordinates": rings}
        )


def _as_geojson(outline: Any) -> str:
    """A polygon of shapely, its coordinates rounded."""
    import shapely  # there, since the outline is one of its own

    return str(shapely.to_geojson(shapely.set_precision(outline, 10.0**-_DECIMALS, mode="pointwise")))


def _half(axis: npt.NDArray[np.float64]) -> float:
    step = spacing(np.sort(axis.astype(np.float64)))
    return step / 2 if step > 0 else 0.0


def _ring(west: float, east: float, south: float, north: float) -> list[list[float]]:
    """The outline, counterclockwise."""
    corners = ((west, south), (east, south), (east, north), (west, north), (west, south))
    return [_rounded(np.array(corner)) for corner in corners]


def _rounded(place: npt.NDArray[np.float64]) -> list[float]:
    return [float(one) for one in np.round(place, _DECIMALS) + 0.0]
