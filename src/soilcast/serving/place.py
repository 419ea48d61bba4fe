"""What the page shows of a place: the past weeks, the season, the coming days, odds, skill."""

from __future__ import annotations

from typing import Any

import numpy as np

from soilcast.products.variables import DROUGHT_PROBABILITY, PERCENTILE
from soilcast.serving.catalogue import QUANTILE, Instance
from soilcast.serving.faults import NotThereError, RequestError
from soilcast.serving.service import Service
from soilcast.serving.values import Values


def describe_place(
    service: Service, name: str, issue: str | None, lat: float | None, lon: float | None, station: str | None
) -> dict[str, Any]:
    """Describe the forecast of the cell at a place.

    Raises
    ------
    RequestError
        There is no such collection or issue day, or no cell at the place.
    """
    collection = service.catalogue.now().collection(name)
    instance = collection.instance(issue)
    if lat is None or lon is None:
        raise RequestError("lat and lon are missing: give both")
    cells = collection.cells
    near = cells.finder.nearest(np.array([lat]), np.array([lon]))
    cell = int(near.cell[0])
    if cell < 0:
        raise NotThereError(f"no cell within {near.reach[0]:.0f} km of {lat:g}, {lon:g}")
    return {
        "cell": cell,
        "lat": float(cells.lat[cell]),
        "lon": float(cells.lon[cell]),
        "distance_km": float(near.distance[0]),
        "name": None if cells.names is None else cells.names[cell],
        "layers": {layer: _layer(service, instance, layer, cell) for layer in instance.file.layers},
        "station": None,
    }


def _layer(service: Service, instance: Instance, layer: str, cell: int) -> dict[str, Any]:
    file = instance.file

    def values(name: str) -> Values | None:
        variable = file.variables.get(name)
        if variable is None:
            return None
        return service.reader.cells(instance, variable, np.array([cell]))[..., 0]

    quantiles, odds, mean = (values(f"{layer}{end}") for end in (QUANTILE, f"_{DROUGHT_PROBABILITY.suffix}", "_mean"))
    central, percentile = values(layer), values(f"{layer}_{PERCENTILE.suffix}")
    return {
        "past": None,
        "climate": None,
        "coming": {
            "days": instance.valid_days,
            "leads": list(file.leads),
            "median": central,
            "mean": mean,
            "quantiles": {}
            if quantiles is None
            else {f"{level:g}": np.ascontiguousarray(quantiles[:, at]) for at, level in enumerate(file.quantiles)},
        },
        "odds": None if odds is None else {"classes": list(file.classes), "by_lead": np.ascontiguousarray(odds)},
        "percentile": percentile,
        "skill": None,
    }
