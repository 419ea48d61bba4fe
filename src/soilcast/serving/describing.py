"""What the page is told of what there is: collections, their layers and variables, and what is broken."""

from __future__ import annotations

from typing import Any

from soilcast.colours import OF_PRODUCTS, product_of
from soilcast.cube.contract import VARIABLES
from soilcast.products.variables import DROUGHT_CLASS, DROUGHT_PROBABILITY
from soilcast.serving.catalogue import Collection, Snapshot
from soilcast.serving.forecast_files import QUANTILE, ForecastFile, Variable
from soilcast.serving.service import Service

_SHOWN_CLASS = "D2"
"""The class whose odds a map shows first, as in reports."""


def describe_catalogue(service: Service, snapshot: Snapshot) -> dict[str, Any]:
    """Describe all collections, and the files that cannot be served."""
    return {
        "collections": [describe(service, one) for one in snapshot.collections.values()],
        "broken": [{"name": one.name, "reason": one.reason} for one in snapshot.broken],
    }


def describe(service: Service, collection: Collection) -> dict[str, Any]:
    """Describe a collection: its newest forecast, and which issue days there are."""
    file, cells = collection.newest.file, collection.cells
    return {
        "id": collection.id,
        "title": file.label,
        "about": str(file.attributes.get("title", "")),
        "nature": str(file.attributes.get("content", "")),
        "weather": str(file.attributes.get("weather", "none")),
        "source": str(file.attributes.get("source", "")),
        "license": str(file.attributes.get("license", "")),
        "issues": list(collection.instances),
        "leads": list(file.leads),
        "bounds": list(cells.bounds),
        "grid": cells.grid is not None,
        "layers": [_layer(service, collection, name) for name in file.layers],
        "variables": [_variable(service, collection, one) for one in shown_variables(file)],
        "default": _default(file),
        "has_climate": any(service.can_change(collection.newest, file.variables[name]) for name in file.layers),
        "has_scores": service.has_scores(collection),
        "can_what_if": service.what_if.refusal(collection) is None,
        "places": len(service.places.of(collection)),
    }


def shown_variables(file: ForecastFile) -> list[Variable]:
    """Give the variables of a map, layer by layer: all but the quantiles, which are those of their layer."""
    shown = [one for one in file.variables.values() if not one.name.endswith(QUANTILE)]
    return sorted(shown, key=lambda one: _place(one, file))


def _place(variable: Variable, file: ForecastFile) -> tuple[int, int, str]:
    """Where a variable stands in a list: by its layer, then the layer itself, then products in their order."""
    layer, product = layer_of(variable, file), product_of(variable.name)
    at = len(file.layers) if layer is None else file.layers.index(layer)
    if product is not None:
        return at, 1 + list(OF_PRODUCTS).index(product), variable.name
    return at, 0 if variable.name == layer else len(OF_PRODUCTS) + 1, variable.name


def _layer(service: Service, collection: Collection, name: str) -> dict[str, Any]:
    title = VARIABLES[name].long_name if name in VARIABLES else collection.newest.file.variables[name].title
    from_, to = service.depths(name)
    return {"name": name, "title": title, "depth_from": from_, "depth_to": to}


def _variable(service: Service, collection: Collection, variable: Variable) -> dict[str, Any]:
    file = collection.newest.file
    return {
        "name": variable.name,
        "title": variable.title,
        "units": variable.units,
        "layer": layer_of(variable, file),
        "has_lead": "lead" in variable.dims,
        "quantiles": list(file.quantiles) if f"{variable.name}{QUANTILE}" in file.variables else [],
        "drought_classes": list(file.classes) if DROUGHT_CLASS in variable.dims else [],
        "can_change": service.can_change(collection.newest, variable),
    }


def layer_of(variable: Variable, file: ForecastFile) -> str | None:
    """Name the layer that a variable is of; None where it is of none."""
    product = product_of(variable.name)
    name = variable.name.removesuffix(f"_{product.suffix}") if product else variable.name.removesuffix("_mean")
    return name if name in file.layers else None


def _default(file: ForecastFile) -> dict[str, str | None]:
    odds = f"{file.layers[0]}_{DROUGHT_PROBABILITY.suffix}" if file.layers else ""
    if odds in file.variables and _SHOWN_CLASS in file.classes:
        return {"variable": odds, "drought_class": _SHOWN_CLASS}
    first = file.layers[0] if file.layers else next(iter(file.variables), None)
    return {"variable": first, "drought_class": None}
