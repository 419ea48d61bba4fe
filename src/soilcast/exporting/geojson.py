"""A field as GeoJSON (RFC 7946): a feature for each cell, with a property for each lead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import grid_of, spacing
from soilcast.exporting.selecting import Band, Field
from soilcast.ownership import GENERATOR

_DECIMALS = 6
"""Of a coordinate [degrees]: a hand's breadth."""


def write_geojson(field: Field, partial: Path, out: Path) -> None:
    """Write a field: cells of a grid as polygons, places as points; missing values are null.

    Parameters
    ----------
    field
        What to write, of one day.
    partial
        Where to write.
    out
        Final path.
    """
    names = [_property(band) for band in field.bands]
    head: dict[str, Any] = {"type": "FeatureCollection", "software": GENERATOR, **field.about()}
    head["properties"] = [
        {"name": name, "lead_days": band.lead, "valid_date": None if band.day is None else str(band.day)}
        for name, band in zip(names, field.bands, strict=True)
    ]
    cell_names = field.opened["cell_name"].to_numpy() if "cell_name" in field.opened.coords else None
    with partial.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "features": [')
        for cell, geometry in enumerate(cell_geometries(field.opened)):
            about = {"cell": cell} if cell_names is None else {"cell": cell, "cell_name": str(cell_names[cell])}
            values = (_number(one, is_whole=field.is_whole) for one in field.values[:, cell])
            feature = {
                "type": "Feature",
                "geometry": geometry,
                "properties": about | dict(zip(names, values, strict=True)),
            }
            stream.write(("\n" if cell == 0 else ",\n") + json.dumps(feature, ensure_ascii=False, allow_nan=False))
        stream.write("\n]}\n")


def _property(band: Band) -> str:
    return "value" if band.lead is None else f"lead_{band.lead}"


def _number(value: np.float32, *, is_whole: bool) -> float | int | None:
    if not np.isfinite(value):
        return None
    return int(value) if is_whole else float(f"{value:.7g}")  # seven digits are what float32 holds


def cell_geometries(opened: xr.Dataset) -> Iterator[dict[str, Any]]:
    """Give the geometry of each cell: polygons of a grid, cut at the date line, points of places.

    Parameters
    ----------
    opened
        A cube, a forecast, or the coordinates of some of its cells.
    """
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


def _half(axis: npt.NDArray[np.float64]) -> float:
    step = spacing(np.sort(axis.astype(np.float64)))
    return step / 2 if step > 0 else 0.0


def _ring(west: float, east: float, south: float, north: float) -> list[list[float]]:
    """The outline, counterclockwise."""
    corners = ((west, south), (east, south), (east, north), (west, north), (west, south))
    return [_rounded(np.array(corner)) for corner in corners]


def _rounded(place: npt.NDArray[np.float64]) -> list[float]:
    return [float(one) for one in np.round(place, _DECIMALS) + 0.0]
