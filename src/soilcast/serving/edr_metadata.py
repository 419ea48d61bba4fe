"""What OGC API EDR tells of the forecasts: landing page, collections, issue days as instances, their parameters."""

from __future__ import annotations

from typing import Any

from edr_pydantic.capabilities import ConformanceModel, LandingPageModel
from edr_pydantic.data_queries import DataQueries, EDRQuery
from edr_pydantic.link import EDRQueryLink, Link
from edr_pydantic.observed_property import Category, ObservedProperty
from edr_pydantic.parameter import Parameter as EdrParameter
from edr_pydantic.unit import Symbol, Unit
from edr_pydantic.variables import CubeVariables, RadiusVariables, Variables

from soilcast.serving.answers import FORMATS
from soilcast.serving.catalogue import Collection, Instance
from soilcast.serving.coverages import UCUM
from soilcast.serving.parameters import Parameter, parameters_of
from soilcast.serving.places import Place
from soilcast.serving.queries import CRS, KILOMETRES
from soilcast.serving.responses import GEOJSON, JSON

OPENAPI = "application/vnd.oai.openapi+json;version=3.0"

_EDR = "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf"
_CLASSES = ("core", "collections", "instances", "queries", "json", "covjson", "geojson", "edr-geojson", "oas30")
_TITLES = {
    "position": "Forecast of the cell at a point",
    "area": "Forecasts of the cells in a polygon",
    "radius": "Forecasts of the cells around a point",
    "cube": "Forecasts of the cells in a box",
    "locations": "Forecasts of named places",
}


def landing_page(root: str) -> dict[str, Any]:
    """Give the landing page of a server at an address."""
    links = [
        Link(href=f"{root}/edr", rel="self", type=JSON, title="This document"),
        Link(href=f"{root}/edr/api", rel="service-desc", type=OPENAPI, title="OpenAPI document"),
        Link(href=f"{root}/", rel="service-doc", type="text/html", title="Map"),
        Link(href=f"{root}/edr/conformance", rel="conformance", type=JSON, title="Conformance classes"),
        Link(href=f"{root}/edr/collections", rel="data", type=JSON, title="Collections"),
    ]
    about = "Forecasts of soil moisture by issue day and lead time"
    page = LandingPageModel(title="soilcast", description=about, links=links, keywords=["soil moisture", "forecast"])
    return _plain(page)


def conformance() -> dict[str, Any]:
    """Give the conformance classes that are kept to."""
    common = ["common-1/1.0/conf/core", "common-2/1.0/conf/collections"]
    of_common = [f"http://www.opengis.net/spec/ogcapi-{one}" for one in common]
    return _plain(ConformanceModel(conformsTo=[*of_common, *(f"{_EDR}/{name}" for name in _CLASSES)]))


def describe_collections(root: str, collections: list[Collection]) -> dict[str, Any]:
    """Describe all collections, each by its newest issue day."""
    here = f"{root}/edr/collections"
    links = [Link(href=here, rel="self", type=JSON).model_dump(exclude_none=True)]
    return {"links": links, "collections": [describe_collection(root, one) for one in collections]}


def describe_collection(root: str, collection: Collection) -> dict[str, Any]:
    """Describe a collection by its newest issue day."""
    here = f"{root}/edr/collections/{collection.id}"
    parameters = _parameters(collection.newest)
    return _described(here, collection, collection.newest, collection.id, parameters, is_instance=False)


def describe_instances(root: str, collection: Collection) -> dict[str, Any]:
    """Describe the issue days of a collection, the newest first."""
    here = f"{root}/edr/collections/{collection.id}/instances"
    links = [Link(href=here, rel="self", type=JSON).model_dump(exclude_none=True)]
    said: dict[int, Any] = {}  # issue days of a file have the same parameters
    found = []
    for issue, instance in reversed(collection.instances.items()):
        parameters = said.setdefault(id(instance.file), _parameters(instance))
        found.append(_described(f"{here}/{issue}", collection, instance, issue, parameters, is_instance=True))
    return {"links": links, "instances": found}


def describe_instance(root: str, collection: Collection, instance: Instance) -> dict[str, Any]:
    """Describe an issue day."""
    here = f"{root}/edr/collections/{collection.id}/instances/{instance.issue}"
    return _described(here, collection, instance, str(instance.issue), _parameters(instance), is_instance=True)


def describe_locations(root: str, collection: Collection, instance: Instance, places: list[Place]) -> dict[str, Any]:
    """Describe the named places of a collection as GeoJSON."""
    here = f"{root}/edr/collections/{collection.id}/instances/{instance.issue}/locations"
    names = list(parameters_of(instance.file))
    days = f"{instance.valid_days[0]}T00:00:00Z/{instance.valid_days[-1]}T00:00:00Z"
    features = [
        {
            "type": "Feature",
            "id": place.id,
            "geometry": {"type": "Point", "coordinates": [place.lon, place.lat]},
            "properties": {
                "name": place.name,
                "label": place.name,
                "kind": place.kind,
                "datetime": days,
                "edrqueryendpoint": f"{here}/{place.id}",
            },
        }
        for place in places
    ]
    links = [Link(href=here, rel="self", type=GEOJSON).model_dump(exclude_none=True)]
    return {"type": "FeatureCollection", "features": features, "parameters": names, "links": links}


def _described(
    here: str, collection: Collection, instance: Instance, name: str, parameters: Any, *, is_instance: bool
) -> dict[str, Any]:
    file = instance.file
    west, south, east, north = collection.cells.bounds
    days = [f"{day}T00:00:00Z" for day in (instance.valid_days[0], instance.valid_days[-1])]
    extent = {
        "spatial": {"bbox": [[west, south, east, north]], "crs": CRS},
        "temporal": {
            "interval": [days],
            "values": [f"{day}T00:00:00Z" for day in instance.valid_days],
            "trs": "Gregorian",
        },
    }
    links = [Link(href=here, rel="self", type=JSON)]
    if is_instance:
        links.append(Link(href=here.rpartition("/instances/")[0], rel="collection", type=JSON))
    else:
        links.append(Link(href=f"{here}/instances", rel="instances", type=JSON, title="Issue days"))
    links += [Link(href=f"{here}/{query}", rel="data", type=_type_of(query), title=_TITLES[query]) for query in _TITLES]
    of_day = f"issued at the end of {instance.issue}"
    return {
        "id": name,
        "title": f"{file.label}, {of_day}" if is_instance else file.label,
        "description": f"{file.attributes.get('title', file.label)}; {of_day}; valid days are its times",
        "keywords": ["soil moisture", "forecast", *file.layers],
        "links": [one.model_dump(exclude_none=True) for one in links],
        "extent": extent,
        "data_queries": _data_queries(here, is_instance=is_instance),
        "crs": [CRS],
        "output_formats": list(FORMATS),
        "parameter_names": parameters,
    }


def _type_of(query: str) -> str:
    return GEOJSON if query == "locations" else next(iter(FORMATS.values()))[0]


def _data_queries(here: str, *, is_instance: bool) -> dict[str, Any]:
    found = {}
    for query, title in _TITLES.items():
        common: dict[str, Any] = {
            "query_type": query,
            "output_formats": list(FORMATS),
            "default_output_format": next(iter(FORMATS)),
            "title": title,
        }
        variables = Variables(**common)
        if query == "radius":
            variables = RadiusVariables(**common, within_units=list(KILOMETRES))
        elif query == "cube":
            variables = CubeVariables(**common, height_units=["m"])
        link = EDRQueryLink(href=f"{here}/{query}", rel="data", type=_type_of(query), title=title, variables=variables)
        found[query] = EDRQuery(link=link)
    if not is_instance:
        variables = Variables(query_type="instances")
        link = EDRQueryLink(href=f"{here}/instances", rel="collection", type=JSON, variables=variables)
        found["instances"] = EDRQuery(link=link)
    return _plain(DataQueries(**found))


def _parameters(instance: Instance) -> dict[str, Any]:
    return {name: _said(one) for name, one in parameters_of(instance.file).items()}


def _said(one: Parameter) -> dict[str, Any]:
    if (categories := one.categories) is not None:
        of_each = [Category(id=name, label=name.replace("_", " ")) for name in categories]
        observed = ObservedProperty(label=one.title, categories=of_each)
        return _plain(EdrParameter(id=one.name, label=one.title, dataType="integer", observedProperty=observed))
    unit = Unit(label=one.units, symbol=Symbol(value=one.units.replace(" ", "."), type=UCUM))
    observed = ObservedProperty(label=one.title)
    return _plain(EdrParameter(id=one.name, label=one.title, dataType="float", unit=unit, observedProperty=observed))


def _plain(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return found
