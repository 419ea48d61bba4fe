"""The HTTP interface: which address gives what, in which type, and faults as one line."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Callable
from importlib.resources import files
from typing import Annotated, Any

import orjson
from fastapi import FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from soilcast.serving.describing import describe_catalogue
from soilcast.serving.faults import NotThereError, ReplacedError, RequestError
from soilcast.serving.place import describe_place
from soilcast.serving.service import Service, Shown
from soilcast.serving.tiles import SIDE

_PAGE = "index.html"


def make_app(service: Service) -> FastAPI:
    """Make the application.

    Parameters
    ----------
    service
        What it answers from.
    """
    app = FastAPI(title="soilcast", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(RequestError, _told)
    app.add_exception_handler(HTTPException, _told_by_http)
    app.add_exception_handler(RequestValidationError, _told_by_validation)
    _add_page(app)
    _add_maps(app, service)
    return app


def _add_page(app: FastAPI) -> None:
    page = _static_files()

    @app.get("/", include_in_schema=False)
    def index() -> Response:
        return _static(page, _PAGE)

    @app.get("/static/{name:path}", include_in_schema=False)
    def static(name: str) -> Response:
        return _static(page, name)


def _add_maps(app: FastAPI, service: Service) -> None:
    @app.get("/map/catalogue")
    def catalogue() -> Response:
        return as_json(describe_catalogue(service, service.catalogue.now()))

    @app.get("/map/place")
    def place(
        collection: str,
        issue: str | None = None,
        lat: Annotated[float | None, Query(ge=-90, le=90)] = None,
        lon: Annotated[float | None, Query(ge=-360, le=360)] = None,
        station: str | None = None,
    ) -> Response:
        return again(service, lambda: as_json(describe_place(service, collection, issue, lat, lon, station)))

    @app.get("/tiles/{collection}/{issue}/{variable}/{z}/{x}/{y}.png")
    def tile(
        collection: str,
        issue: str,
        variable: str,
        z: int,
        x: int,
        y: Annotated[str, Path(pattern=r"^\d{1,8}(@2x)?$")],
        lead: int | None = None,
        quantile: float | None = None,
        drought_class: str | None = None,
        change: Annotated[int | None, Query(ge=1, le=365)] = None,
    ) -> Response:
        shown = Shown(variable, lead, quantile, drought_class, change)
        row, double, _ = y.partition("@2x")

        def draw() -> Response:
            found = service.catalogue.now().collection(collection)
            instance = found.instance(issue)
            picture = service.tile(found, instance, shown, z, x, int(row), SIDE * 2 if double else SIDE)
            return Response(picture, media_type="image/png")

        return again(service, draw)

    @app.get("/legend/{collection}/{variable}.png")
    def legend_picture(collection: str, variable: str, change: int | None = None) -> Response:
        def draw() -> Response:
            found = service.catalogue.now().collection(collection)
            return Response(service.legend_picture(found, Shown(variable, change=change)), media_type="image/png")

        return again(service, draw)

    @app.get("/legend/{collection}/{variable}")
    def legend(collection: str, variable: str, change: int | None = None) -> Response:
        def tell() -> Response:
            found = service.catalogue.now().collection(collection)
            return as_json(service.legend(found, Shown(variable, change=change)))

        return again(service, tell)


def again(service: Service, answer: Callable[[], Response]) -> Response:
    """Answer, once more if a file was replaced by a newer one meanwhile."""
    try:
        return answer()
    except ReplacedError:
        service.catalogue.look_again()
        return answer()


def as_json(content: object, media_type: str = "application/json") -> Response:
    """Give JSON: numbers as short as they can be told apart in their type, missing ones null."""
    return Response(
        orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS), media_type=media_type
    )


def _static_files() -> dict[str, tuple[bytes, str, str]]:
    """Name -> bytes, type and ETag of each file of the page; what a client names is looked up here, not on the disk."""
    found: dict[str, tuple[bytes, str, str]] = {}

    def add(folder: Any, before: str) -> None:
        for one in folder.iterdir():
            if one.is_dir():
                add(one, f"{before}{one.name}/")
            else:
                content = one.read_bytes()
                kind = mimetypes.guess_type(one.name)[0] or "application/octet-stream"
                found[before + one.name] = content, kind, f'"{hashlib.sha256(content).hexdigest()[:32]}"'

    add(files("soilcast.serving") / "page", "")
    return found


def _static(page: dict[str, tuple[bytes, str, str]], name: str) -> Response:
    if name not in page:
        raise NotThereError("there is no such file")
    content, kind, mark = page[name]
    return Response(content, media_type=kind, headers={"ETag": mark, "Cache-Control": "no-cache"})


async def _told(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, RequestError)
    return _fault(fault.status, str(fault))


async def _told_by_http(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    return _fault(fault.status_code, str(fault.detail))


async def _told_by_validation(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, RequestValidationError)
    first = fault.errors()[0]
    return _fault(400, str(RequestError(f"{first['loc'][-1]}: {first['msg']}")))


def _fault(status: int, description: str) -> Response:
    response = as_json({"code": status, "description": description})
    response.status_code = status
    return response
