"""What all addresses have in common: JSON, faults as one line, what the OpenAPI document says of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from soilcast.errors import SoilcastError
from soilcast.serving.faults import ReplacedError, RequestError, UnavailableError
from soilcast.serving.service import Service

JSON = "application/json"
GEOJSON = "application/geo+json"
PNG = "image/png"

_FRESH = 60
"""Time for which a client need not ask for a tile again [s]."""

_FOLDERS = re.compile(r"(?<!\S)/(?:[^/\s]+/)+")
"""The folder of a file that a message names, which is not for clients."""

_OBJECT, _BYTES = {"type": "object"}, {"type": "string", "format": "binary"}
_FAULTS = {
    400: "What is asked for cannot be read, or there is none.",
    404: "There is nothing of this name or at this place.",
    413: "More is asked for than is given at once; the line says how much that is.",
    503: "A file cannot be read now.",
}


class Fault(BaseModel):
    """What a client is told of a fault."""

    code: int
    description: str


def documented(*media_types: str, what: str) -> dict[int | str, dict[str, Any]]:
    """Give what the OpenAPI document says of an address: media types of its answer, and its faults."""
    content = {one: {"schema": _OBJECT if "json" in one else _BYTES} for one in media_types}
    found: dict[int | str, dict[str, Any]] = {200: {"description": what, "content": content}}
    return found | {code: {"model": Fault, "description": told} for code, told in _FAULTS.items()}


def as_json(content: object, media_type: str = JSON) -> Response:
    """Give JSON: numbers as short as they can be told apart in their type, missing ones null."""
    return Response(
        orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS), media_type=media_type
    )


def again(service: Service, answer: Callable[[], Response]) -> Response:
    """Answer, once more if a file was replaced by a newer one meanwhile."""
    try:
        return answer()
    except ReplacedError:
        service.catalogue.look_again()
        return answer()


def mark_of(*parts: object) -> str:
    """Give a mark (ETag) that tells what these parts name from all else."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else f"{part!r}\0".encode())
    return f'"{digest.hexdigest()[:32]}"'


def marked(
    request: Request, mark: str, media_type: str, make: Callable[[], bytes], *, seconds: int = _FRESH
) -> Response:
    """Give what a mark names; nothing but the mark to a client that has it already.

    Parameters
    ----------
    mark
        As `mark_of` makes it.
    make
        Makes it.
    seconds
        How long a client need not ask again [s].
    """
    fresh = f"private, max-age={seconds}" if seconds else "no-cache"
    headers = {"ETag": mark, "Cache-Control": fresh}
    if mark in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(make(), media_type=media_type, headers=headers)


def tell_faults(app: FastAPI) -> None:
    """Have an application tell every fault as `Fault`."""
    app.add_exception_handler(RequestError, _told)
    app.add_exception_handler(HTTPException, _told_by_http)
    app.add_exception_handler(RequestValidationError, _told_by_validation)
    app.add_exception_handler(SoilcastError, _told_of_a_file)
    app.add_exception_handler(Exception, _told_of_a_defect)


async def _told(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, RequestError)
    return _fault(fault.status, str(fault))


async def _told_by_http(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    described = "there is no such address" if fault.status_code == 404 else str(fault.detail)
    return _fault(fault.status_code, described)


async def _told_by_validation(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, RequestValidationError)
    first = fault.errors()[0]
    return _fault(400, str(RequestError(f"{first['loc'][-1]}: {first['msg']}")))


async def _told_of_a_file(request: Request, fault: Exception) -> Response:
    return _fault(503, str(UnavailableError(_FOLDERS.sub("", str(fault)))))


async def _told_of_a_defect(request: Request, fault: Exception) -> Response:
    return _fault(500, "a defect of the server: its log says more")  # it is raised, and so logged, after that


def _fault(status: int, description: str) -> Response:
    response = as_json({"code": status, "description": description})
    response.status_code = status
    return response
