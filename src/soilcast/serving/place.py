"""What the page shows of a place: the past weeks, the season, the coming days, odds, skill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.products.adding import add_products
from soilcast.products.climate import reference_days
from soilcast.products.indices import CLASS_NAMES
from soilcast.products.variables import DROUGHT_PROBABILITY, PERCENTILE
from soilcast.serving.catalogue import Collection, Instance
from soilcast.serving.faults import NotThereError, ReplacedError, RequestError, UnavailableError
from soilcast.serving.forecast_files import QUANTILE
from soilcast.serving.places import REGION, Place, region_of
from soilcast.serving.record import PERCENTILES, Record
from soilcast.serving.service import Service
from soilcast.serving.skill import Scores
from soilcast.serving.values import Reads, Values, told_of

_PAST = 60
"""Days before the issue day that are shown [d]."""


@dataclass(frozen=True)
class Sources:
    """What is told of a place comes from these."""

    reader: Reads
    record: Record | None
    scores: Scores | None


def describe_place(
    service: Service, name: str, issue: str | None, lat: float | None, lon: float | None, station: str | None
) -> dict[str, Any]:
    """Describe the forecast of the cell at a place.

    Raises
    ------
    RequestError
        There is no such collection, issue day or place, or no cell there.
    """
    collection = service.catalogue.now().collection(name)
    instance = collection.instance(issue)
    place = None if station is None else service.places.place(collection, station)
    if place is not None and place.kind == REGION:
        return _region(service, collection, instance, place)
    cell, distance = cell_at(collection, lat, lon) if place is None else (place.cell, place.distance)
    sources = Sources(service.reader, service.record, service.scores)
    reasons: dict[str, str] = {}
    layers = {layer: _layer(sources, collection, instance, layer, cell, reasons) for layer in instance.file.layers}
    cells = collection.cells
    observed = None if place is None else _station(service, instance, place)
    if observed is not None and not observed["observations"]:
        reasons["station"] = "the station has no observations of these days"
    if (refusal := service.what_if.refusal(collection)) is not None:
        reasons["what_if"] = refusal
    return {
        "cell": cell,
        "extent": cells.box(cell),
        "lat": float(cells.lat[cell]),
        "lon": float(cells.lon[cell]),
        "distance_km": distance,
        "name": place.name if place else None if cells.names is None else cells.names[cell],
        "layers": layers,
        "station": observed,
        "reasons": reasons,
    }


def _region(service: Service, collection: Collection, instance: Instance, place: Place) -> dict[str, Any]:
    """Describe the forecast of the mean of a region."""
    regional = service.regions_of(collection, instance)
    (region,) = region_of(regional.collection, place)
    sources, whole = Sources(regional.reader, regional.record, None), regional.collection.newest
    reasons = {"what_if": "weather is altered for a cell, not for a region"}
    layers = {
        layer: _layer(sources, regional.collection, whole, layer, int(region), reasons) for layer in whole.file.layers
    }
    for one in (*(layer["reasons"] for layer in layers.values()), reasons):
        one["skill"] = "scores are of cells, not of a region"
    return {
        "cell": None,
        "extent": None,
        "lat": place.lat,
        "lon": place.lon,
        "distance_km": 0.0,
        "name": place.name,
        "layers": layers,
        "station": None,
        "reasons": reasons,
    }


def cell_at(collection: Collection, lat: float | None, lon: float | None) -> tuple[int, float]:
    """Position of the cell at a place, and the distance to its centre [km].

    Raises
    ------
    RequestError
        The place is not given, or no cell is there.
    """
    if lat is None or lon is None:
        raise RequestError("lat and lon are missing: give both")
    near = collection.cells.finder.nearest(np.array([lat]), np.array([lon]))
    if near.cell[0] < 0:
        raise NotThereError(f"no cell of {collection.id} within {near.reach[0]:.0f} km of {lat:g}, {lon:g}")
    return int(near.cell[0]), float(near.distance[0])


def _layer(
    sources: Sources, collection: Collection, instance: Instance, layer: str, cell: int, reasons: dict[str, str]
) -> dict[str, Any]:
    file, own = instance.file, dict[str, str]()
    quantiles = _values(sources, instance, f"{layer}{QUANTILE}", cell)
    central = _values(sources, instance, layer, cell)
    assert central is not None
    if not np.isfinite(central).any():
        own["coming"] = "the run does not forecast this cell"
    past, climate, odds, percentile = _from_record(sources, instance, layer, cell, central, quantiles, own)
    skill = _skill(sources, collection, layer, cell, own)
    reasons |= own
    return {
        "past": past,
        "climate": climate,
        "coming": {
            "days": instance.valid_days,
            "leads": list(file.leads),
            "median": central,
            "mean": _values(sources, instance, f"{layer}_mean", cell),
            "quantiles": {}
            if quantiles is None
            else {f"{level:g}": np.ascontiguousarray(quantiles[:, at]) for at, level in enumerate(file.quantiles)},
        },
        "odds": None if odds is None else {"classes": [*CLASS_NAMES], "by_lead": odds},
        "percentile": percentile,
        "skill": skill,
        "reasons": own,
    }


def _skill(
    sources: Sources, collection: Collection, layer: str, cell: int, reasons: dict[str, str]
) -> dict[str, Any] | None:
    told, skill = "no scores are served: start with --scores SCORES", None
    if sources.scores is not None:
        told = "these forecasts were not scored here"
        try:
            skill = sources.scores.at(collection, layer, cell)
        except UnavailableError as error:
            told = str(error)
    if skill is None:
        reasons["skill"] = told
    return skill


def _values(sources: Sources, instance: Instance, name: str, cell: int) -> Values | None:
    """Values of a cell, by lead; None where the forecast has no such variable."""
    variable = instance.file.variables.get(name)
    if variable is None:
        return None
    return np.ascontiguousarray(sources.reader.cells(instance, variable, np.array([cell]))[..., 0])


def _from_record(
    sources: Sources,
    instance: Instance,
    layer: str,
    cell: int,
    central: Values,
    quantiles: Values | None,
    reasons: dict[str, str],
) -> tuple[Any, Any, Any, Any]:
    """Give the past weeks, the climate of the season, odds and percentile, as far as forecast and cube know them."""
    odds = _values(sources, instance, f"{layer}_{DROUGHT_PROBABILITY.suffix}", cell)
    percentile = _values(sources, instance, f"{layer}_{PERCENTILE.suffix}", cell)
    try:
        record, place = _record_of(sources, instance, layer, cell)
        past, climate = _past(record, instance, layer, place, reasons), _climate(record, instance, layer, place)
        if climate is None:
            reasons["climate"] = "the record of this cell has fewer than two years before the test of the run"
        if percentile is None:
            made = _products(record, instance, layer, place, central, quantiles)
            percentile, odds = made.get(PERCENTILE.name(layer)), made.get(DROUGHT_PROBABILITY.name(layer))
    except ReplacedError:
        raise
    except RequestError as told:
        reasons |= {"past": str(told), "climate": str(told)}
        reasons |= {part: str(told) for part, one in (("odds", odds), ("percentile", percentile)) if one is None}
        return None, None, odds, percentile
    if odds is None:
        reasons["odds"] = "the forecast has no quantiles, from which odds would follow"
    return past, climate, odds, percentile


def _record_of(sources: Sources, instance: Instance, layer: str, cell: int) -> tuple[Record, int]:
    """The record of a layer, and the position of a cell in it.

    Raises
    ------
    RequestError
        There is none.
    """
    if sources.record is None:
        raise NotThereError("no cube is served: start with --cube CUBE")
    place = int(sources.record.cells_of(instance.file.cells)[cell])
    if place < 0:
        raise NotThereError("the cube does not have this cell")
    if layer not in sources.record.layers:
        raise NotThereError(f"the cube has no {layer}")
    return sources.record, place


def _past(record: Record, instance: Instance, layer: str, place: int, reasons: dict[str, str]) -> dict[str, Any] | None:
    days, values = record.between(layer, np.array([place]), instance.issue - _PAST + 1, instance.issue)
    if not np.isfinite(values).any():
        reasons["past"] = "the cube has no value here in the weeks before the issue day"
        return None
    return {"days": [str(day) for day in days], "values": values[0]}


def _climate(record: Record, instance: Instance, layer: str, place: int) -> dict[str, Any] | None:
    first, last = instance.issue - _PAST + 1, instance.issue + instance.file.leads[-1]
    days = np.arange(first, last + 1)
    found = record.climate(layer, place, days, _reference(record, instance), _newest(instance))
    if found is None:
        return None
    return {"days": [str(day) for day in days], "percentiles": [*PERCENTILES], "values": np.ascontiguousarray(found.T)}


def _products(
    record: Record, instance: Instance, layer: str, place: int, central: Values, quantiles: Values | None
) -> dict[str, Values]:
    """Make the products of a forecast that has none, as those over a period do."""
    file = instance.file
    variables: dict[str, Any] = {layer: (("cell", "time", "lead"), central[np.newaxis, np.newaxis])}
    coordinates: dict[str, Any] = {"time": [instance.issue.astype("datetime64[ns]")], "lead": [*file.leads]}
    if quantiles is not None:
        name = f"{layer}{QUANTILE}"
        variables[name] = (("cell", "time", "lead", "quantile"), quantiles[np.newaxis, np.newaxis])
        coordinates["quantile"] = [*file.quantiles]
    about = {"latency_days": int(file.attributes.get("latency_days", 0))}
    _, cube = record.opened()
    forecast, cells = xr.Dataset(variables, coordinates, about), slice(place, place + 1)
    try:
        made = add_products(forecast, cube, cells, layers=[layer], reference=_reference(record, instance))
    except SoilcastError as error:
        raise UnavailableError(f"the cube cannot be read: {told_of(error, record.path)}") from error
    found = {name: one.to_numpy()[0, 0] for name, one in made.items()}
    return {name: one for name, one in found.items() if one.dtype.kind == "f" and np.isfinite(one).any()}


def _reference(record: Record, instance: Instance) -> slice:
    days = record.opened()[1]["time"].to_numpy()
    try:
        return reference_days(days, str(instance.file.attributes["validation_period"]))
    except (KeyError, ValueError):  # a forecast that others wrote: what is later than it never counts
        return slice(None)


def _newest(instance: Instance) -> np.datetime64:
    return instance.issue - int(instance.file.attributes.get("latency_days", 0))


def _station(service: Service, instance: Instance, place: Place) -> dict[str, Any]:
    first, last = instance.issue - _PAST + 1, instance.issue + instance.file.leads[-1]
    return {
        "id": place.id,
        "name": place.name,
        "lat": place.lat,
        "lon": place.lon,
        "observations": service.places.observations(place, first, last),
    }
