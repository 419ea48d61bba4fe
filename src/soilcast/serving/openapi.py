"""The OpenAPI 3.0 document of the server."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

import soilcast


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """Describe an application in OpenAPI 3.0, which the standard asks for; FastAPI writes 3.1."""
    document = get_openapi(
        title="soilcast",
        version=soilcast.__version__,
        description="Forecasts of soil moisture: OGC API EDR 1.1, map tiles and what the map shows of a place.",
        routes=app.routes,
        openapi_version="3.0.3",
    )
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)  # faults of validation are told as 400
            for parameter in operation.get("parameters", ()):
                parameter["schema"] = _without_null(parameter["schema"])
                parameter.pop("examples", None)
    schemas = document.get("components", {}).get("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return document


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Say of a parameter that may be left out what it is if it is there; 3.0 knows no null."""
    kinds = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    rest = {name: one for name, one in schema.items() if name not in ("anyOf", "examples")}
    return {**kinds[0], **rest} if len(kinds) == 1 else rest
