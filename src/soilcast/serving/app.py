"""The HTTP interface: which address gives what, in which type, and faults as one line."""

from __future__ import annotations

import mimetypes
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path, Query, Request
from fastapi.responses import Response

from soilcast.progress import Log
from soilcast.serving.counts import Counts, health
from soilcast.serving.describing import describe_catalogue
from soilcast.serving.edr import add_edr
from soilcast.serving.faults import NotThereError, RequestError
from soilcast.serving.guard import Access, Guard
from soilcast.serving.openapi import openapi_document
from soilcast.serving.place import cell_at, describe_place
from soilcast.serving.points import describe_outlines, describe_places
from soilcast.serving.responses import GEOJSON, JSON, PNG, again, as_json, documented, mark_of, marked, tell_faults
from soilcast.serving.service import Service, Shown
from soilcast.serving.tiles import SIDE

Change = Annotated[int | None, Query(ge=1, le=365, description="Days before the issue day whose record is taken off.")]

EVERYBODY_HERE = Access()

_PAGE = "index.html"
_BYTES = "application/octet-stream"
_TYPES = {"js": "text/javascript", "mjs": "text/javascript", "css": "text/css", "json": JSON, "geojson": GEOJSON}
"""Types that browsers insist on, whatever the system says of the ends of names."""


def make_app(
    service: Service, access: Access = EVERYBODY_HERE, *, url: str | None = None, log: Log | None = None
) -> Guard:
    """Make the application.

    Parameters
    ----------
    service
        What it answers from.
    access
        Who may ask.
    url
        Address from outside; None for the one that a request names.
    log
        Called with a line for each request; None for none.
    """
    counts = Counts()
    app = FastAPI(title="soilcast", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    tell_faults(app)
    _add_page(app)
    _add_maps(app, service)
    add_edr(app, service, url, cache(lambda: openapi_document(app)))

    @app.get("/health", responses=documented(JSON, what="What is served, in short."))
    def tell_health() -> Response:
        return as_json(health(service))

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(counts.text(service), media_type="text/plain; version=0.0.4")

    return Guard(app, access, counts, log)


def _add_page(app: FastAPI) -> None:
    page = _static_files()

    @app.get("/", include_in_schema=False)
    def index(request: Request) -> Response:
        return _static(request, page, _PAGE)

    @app.get("/static/{name:path}", include_in_schema=False)
    def static(request: Request, name: str) -> Response:
        return _static(request, page, name)


def _add_maps(app: FastAPI, service: Service) -> None:
    @app.get("/map/catalogue", responses=documented(JSON, what="What there is."))
    def catalogue() -> Response:
        return as_json(describe_catalogue(service, service.catalogue.now()))

    @app.get("/map/place", responses=documented(JSON, what="Past, season, forecast, odds and skill of a place."))
    def place(
        collection: str,
        issue: str | None = None,
        lat: Annotated[float | None, Query(ge=-90, le=90)] = None,
        lon: Annotated[float | None, Query(ge=-360, le=360)] = None,
        station: str | None = None,
    ) -> Response:
        return again(service, lambda: as_json(describe_place(service, collection, issue, lat, lon, station)))

    @app.get("/map/places", responses=documented(GEOJSON, what="Named places, and cells without a grid."))
    def places(
        collection: str,
        issue: str | None = None,
        variable: str | None = None,
        lead: int | None = None,
        quantile: float | None = None,
        drought_class: str | None = None,
        change: Change = None,
    ) -> Response:
        shown = None if variable is None else Shown(variable, lead, quantile, drought_class, change)
        return again(service, lambda: as_json(describe_places(service, collection, issue, shown), GEOJSON))

    @app.get("/map/outlines", responses=documented(GEOJSON, what="Outlines of regions."))
    def outlines(collection: str) -> Response:
        return again(service, lambda: as_json(describe_outlines(service, collection), GEOJSON))

    @app.get("/map/what-if", responses=documented(JSON, what="Forecast of a cell with altered weather."))
    def what_if(
        collection: str,
        lat: Annotated[float, Query(ge=-90, le=90)],
        lon: Annotated[float, Query(ge=-360, le=360)],
        issue: str | None = None,
        rain: str = "",
        heat: str = "",
    ) -> Response:
        def evaluate() -> Response:
            found = service.catalogue.now().collection(collection)
            cell, _ = cell_at(found, lat, lon)
            altered = _numbers(rain, "rain"), _numbers(heat, "heat")
            return as_json(service.what_if.evaluate(found, found.instance(issue), cell, *altered))

        return again(service, evaluate)

    @app.get(
        "/tiles/{collection}/{issue}/{variable}/{z}/{x}/{y}.png", responses=documented(PNG, what="A tile of a map.")
    )
    def tile(
        request: Request,
        collection: str,
        issue: str,
        variable: str,
        z: int,
        x: int,
        y: Annotated[str, Path(pattern=r"^\d{1,8}(@2x)?$")],
        lead: int | None = None,
        quantile: float | None = None,
        drought_class: str | None = None,
        change: Change = None,
    ) -> Response:
        shown = Shown(variable, lead, quantile, drought_class, change)
        row, double, _ = y.partition("@2x")

        def draw() -> Response:
            found = service.catalogue.now().collection(collection)
            instance = found.instance(issue)
            at = z, x, int(row), SIDE * 2 if double else SIDE
            variable, scale = service.map_of(found, instance, shown)
            mark = mark_of(instance.file.path, instance.file.version, shown, scale, at)
            return marked(request, mark, PNG, lambda: service.tile(instance, variable, scale, shown, at))

        return again(service, draw)

    @app.get("/legend/{collection}/{variable}.png", responses=documented(PNG, what="A legend."))
    def legend_picture(collection: str, shown: Annotated[Shown, Depends(_of_legend)]) -> Response:
        def draw() -> Response:
            found = service.catalogue.now().collection(collection)
            return Response(service.legend_picture(found, shown), media_type=PNG)

        return again(service, draw)

    @app.get("/legend/{collection}/{variable}", responses=documented(JSON, what="A legend."))
    def legend(collection: str, shown: Annotated[Shown, Depends(_of_legend)]) -> Response:
        return again(service, lambda: as_json(service.legend(service.catalogue.now().collection(collection), shown)))


def _of_legend(
    variable: str, quantile: float | None = None, drought_class: str | None = None, change: Change = None
) -> Shown:
    return Shown(variable, None, quantile, drought_class, change)


def _numbers(text: str, name: str) -> list[float]:
    """Read numbers that stand between commas."""
    try:
        return [float(one) for one in text.split(",") if one.strip()]
    except ValueError as error:
        raise RequestError(f"{name}: write numbers with commas between them, such as 5,0,2.5") from error


def _static_files() -> dict[str, tuple[bytes, str, str]]:
    """Name -> bytes, type and ETag of each file of the page; what a client names is looked up here, not on the disk."""
    found: dict[str, tuple[bytes, str, str]] = {}

    def add(folder: Any, before: str) -> None:
        for one in folder.iterdir():
            if one.is_dir():
                add(one, f"{before}{one.name}/")
            else:
                content = one.read_bytes()
                kind = _TYPES.get(one.name.rpartition(".")[2]) or mimetypes.guess_type(one.name)[0] or _BYTES
                found[before + one.name] = content, kind, mark_of(content)

    add(files("soilcast.serving") / "page", "")
    return found


def _static(request: Request, page: dict[str, tuple[bytes, str, str]], name: str) -> Response:
    if name not in page:
        raise NotThereError("there is no such file")
    content, kind, mark = page[name]
    return marked(request, mark, kind, lambda: content, seconds=0)
