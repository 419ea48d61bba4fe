"""What the page is told of what there is: collections, their layers and variables, and what is broken."""

from __future__ import annotations

from typing import Any

from soilcast.colours import product_of
from soilcast.cube.contract import VARIABLES
from soilcast.products.variables import DROUGHT_CLASS, DROUGHT_PROBABILITY
from soilcast.serving.catalogue import QUANTILE, Collection, ForecastFile, Snapshot, Variable
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
    """Describe a collection."""
    file, cells = collection.newest.file, collection.cells
    content = str(file.attributes.get("content", "unknown data"))
    return {
        "id": collection.id,
        "title": file.label,
        "about": str(file.attributes.get("title", "")),
        "nature": f"model forecast, not an observation (trained on {content})",
        "source": str(file.attributes.get("source", "")),
        "license": str(file.attributes.get("license", "")),
        "issues": list(collection.instances),
        "leads": list(file.leads),
        "bounds": list(cells.bounds),
        "grid": cells.grid is not None,
        "layers": [_layer(name, file) for name in file.layers],
        "variables": [_variable(one, file) for one in shown_variables(file)],
        "default": _default(file),
        "has_climate": False,
        "has_scores": False,
        "can_what_if": False,
        "places": 0 if cells.names is None else cells.count,
    }


def shown_variables(file: ForecastFile) -> list[Variable]:
    """Give the variables of a map: all but the quantiles, which are those of their layer."""
    return [one for one in file.variables.values() if not one.name.endswith(QUANTILE)]


def _layer(name: str, file: ForecastFile) -> dict[str, Any]:
    title = VARIABLES[name].long_name if name in VARIABLES else file.variables[name].title
    return {"name": name, "title": title, "depth_from": None, "depth_to": None}


def _variable(variable: Variable, file: ForecastFile) -> dict[str, Any]:
    return {
        "name": variable.name,
        "title": variable.title,
        "units": variable.units,
        "layer": layer_of(variable, file),
        "has_lead": "lead" in variable.dims,
        "quantiles": list(file.quantiles) if f"{variable.name}{QUANTILE}" in file.variables else [],
        "drought_classes": list(file.classes) if DROUGHT_CLASS in variable.dims else [],
        "can_change": False,
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
