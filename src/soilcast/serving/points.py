"""Places as points of a map: stations, and cells without a grid with the values that tiles cannot show."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import shapely

from soilcast.serving.places import CELL, Place
from soilcast.serving.service import Service, Shown

_FINE = 0.001
"""How far the outline of a map may lie from that of a file [degrees]."""


def describe_places(service: Service, name: str, issue: str | None, shown: Shown | None) -> dict[str, Any]:
    """Describe the named places of a collection, and the cells themselves where they have no grid.

    Parameters
    ----------
    shown
        What the cells have as ``value`` and ``colour``; None for nothing.

    Returns
    -------
    GeoJSON points with ``id``, ``name``, ``kind`` and ``cell``; of cells also ``value`` and ``colour``.

    Raises
    ------
    RequestError
        There is no such collection, issue day or variable.
    """
    collection = service.catalogue.now().collection(name)
    instance = collection.instance(issue)
    cells = collection.cells
    places = list(service.places.of(collection).values())
    if cells.grid is None and cells.names is None:
        rows = zip(cells.lat, cells.lon, strict=True)
        places += [Place("", f"cell {at}", CELL, float(y), float(x), at, 0.0) for at, (y, x) in enumerate(rows)]
    values, colours = None, None
    if shown is not None:
        variable = service.reader.variable(instance, shown.variable, shown.quantile)
        if shown.change is not None:
            service.refuse_change(instance, variable)
        values = service.field(instance, variable, shown, np.arange(cells.count))
        colours = service.scale(collection, variable, shown).hues(values)
    return {"type": "FeatureCollection", "features": [_feature(place, values, colours) for place in places]}


def describe_outlines(service: Service, name: str) -> dict[str, Any]:
    """Describe the outlines of the regions of a collection, fine enough for a map.

    Returns
    -------
    GeoJSON polygons with the ``id`` and ``name`` of the place.

    Raises
    ------
    RequestError
        There is no such collection.
    """
    collection = service.catalogue.now().collection(name)
    features = []
    for place, outline in service.places.outlines(collection):
        geometry = orjson.Fragment(
            shapely.to_geojson(shapely.set_precision(shapely.simplify(outline, _FINE), _FINE / 10))
        )
        told = {"id": place.id, "name": place.name}
        features.append({"type": "Feature", "geometry": geometry, "properties": told})
    return {"type": "FeatureCollection", "features": features}


def _feature(place: Place, values: Any, colours: list[str | None] | None) -> dict[str, Any]:
    told: dict[str, Any] = {"id": place.id or None, "name": place.name, "kind": place.kind, "cell": place.cell}
    shown = place.kind == CELL and values is not None and colours is not None
    told |= {
        "value": values[place.cell] if shown else None,
        "colour": colours[place.cell] if shown and colours else None,
    }
    geometry = {"type": "Point", "coordinates": [place.lon, place.lat]}
    return {"type": "Feature", "geometry": geometry, "properties": told}
