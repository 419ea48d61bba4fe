"""The addresses of OGC API Environmental Data Retrieval 1.1."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request
from fastapi.responses import Response

from soilcast.serving import edr_metadata as metadata
from soilcast.serving.answers import FORMATS, format_of, read_answer
from soilcast.serving.catalogue import Collection
from soilcast.serving.cells import Cells
from soilcast.serving.places import REGION, region_of
from soilcast.serving.queries import (
    Positions,
    cells_around,
    cells_at,
    cells_in_box,
    cells_within,
    make_query,
    refuse_unlike,
)
from soilcast.serving.responses import GEOJSON, JSON, again, as_json, documented
from soilcast.serving.service import Service
from soilcast.serving.turns import Turns
from soilcast.serving.values import Reads

_WIDE = Turns(2, 16)
"""Answers of many cells that are made at once, since each takes memory for all its values, and that wait."""

_TYPES = [media_type for media_type, _ in FORMATS.values()]

Name = Annotated[str, Path(max_length=100, description="Id of a collection.")]
Issue = Annotated[str, Path(pattern=r"^\d{4}-\d{2}-\d{2}$", description="Issue day, such as 2026-11-30.")]


@dataclass(frozen=True)
class Common:
    """What every query of data may have.

    Parameters
    ----------
    names
        Parameters with commas between them; all if it is None.
    datetime
        Valid days.
    format
        Name of a format.
    crs, z
        Reference system and height, of which there is one and none.
    """

    names: str | None
    datetime: str | None
    format: str | None
    crs: str | None
    z: str | None


def _common(
    names: Annotated[
        str | None, Query(alias="parameter-name", description="Parameters, with commas between them; default: all.")
    ] = None,
    datetime: Annotated[
        str | None, Query(description="Valid days: 2026-11-30, 2026-11-30T00:00:00Z, FROM/TO, FROM/.. or ../TO.")
    ] = None,
    f: Annotated[str | None, Query(description=f"{', '.join(FORMATS)}; default: {next(iter(FORMATS))}.")] = None,
    crs: Annotated[str | None, Query(description="CRS84, longitude and latitude.")] = None,
    z: Annotated[str | None, Query(description="Forecasts have no height; refused.")] = None,
) -> Common:
    return Common(names, datetime, f, crs, z)


Asked = Annotated[Common, Depends(_common)]


Where = tuple[str, str | None]
"""A collection and an issue day, None for the newest."""


def _of_collection(collection: Name) -> Where:
    return collection, None


def _of_instance(collection: Name, issue: Issue) -> Where:
    return collection, issue


def add_edr(app: FastAPI, service: Service, url: str | None, document: Callable[[], dict[str, Any]]) -> None:
    """Add the addresses.

    Parameters
    ----------
    app
        The application.
    service
        What is answered from.
    url
        Address from outside; None for the one that a request names.
    document
        Gives the OpenAPI document.
    """
    router = APIRouter(prefix="/edr", tags=["OGC API EDR"])
    _add_metadata(router, service, url, document)
    _add_queries(router, service, url, "/collections/{collection}", Depends(_of_collection))
    _add_queries(router, service, url, "/collections/{collection}/instances/{issue}", Depends(_of_instance))
    app.include_router(router)


def _add_metadata(router: APIRouter, service: Service, url: str | None, document: Callable[[], Any]) -> None:
    @router.get("/", include_in_schema=False)
    @router.get("", responses=documented(JSON, what="Landing page."))
    def landing(request: Request) -> Response:
        return as_json(metadata.landing_page(_root(request, url)))

    @router.get("/conformance", responses=documented(JSON, what="Conformance classes."))
    def conformance() -> Response:
        return as_json(metadata.conformance())

    @router.get("/api", responses=documented(metadata.OPENAPI, what="This document."))
    def api() -> Response:
        return as_json(document(), metadata.OPENAPI)

    @router.get("/collections", responses=documented(JSON, what="Collections: forecasts of a run."))
    def collections(request: Request) -> Response:
        there = service.catalogue.now().collections.values()
        return as_json(metadata.describe_collections(_root(request, url), list(there)))

    @router.get("/collections/{collection}", responses=documented(JSON, what="A collection."))
    def collection(request: Request, collection: Name) -> Response:
        found = service.catalogue.now().collection(collection)
        return as_json(metadata.describe_collection(_root(request, url), found))

    @router.get("/collections/{collection}/instances", responses=documented(JSON, what="Its issue days."))
    def instances(request: Request, collection: Name) -> Response:
        found = service.catalogue.now().collection(collection)
        return as_json(metadata.describe_instances(_root(request, url), found))

    @router.get("/collections/{collection}/instances/{issue}", responses=documented(JSON, what="An issue day."))
    def instance(request: Request, collection: Name, issue: Issue) -> Response:
        found = service.catalogue.now().collection(collection)
        return as_json(metadata.describe_instance(_root(request, url), found, found.instance(issue)))


def _add_queries(router: APIRouter, service: Service, url: str | None, prefix: str, at: Any) -> None:
    """Add the queries of data below a collection, or below an issue day."""

    def answer(
        where: Where, asked: Common, choose: Callable[[Cells], Positions], *, is_of_places: bool = False
    ) -> Response:
        def make() -> Response:
            found = service.catalogue.now().collection(where[0])
            with nullcontext() if is_of_places else _WIDE.turn():
                return written(asked, found, where[1], service.reader, choose, is_of_places=is_of_places)

        return again(service, make)

    def written(
        asked: Common,
        found: Collection,
        issue: str | None,
        reader: Reads,
        choose: Callable[[Cells], Positions],
        *,
        is_of_places: bool,
    ) -> Response:
        refuse_unlike(asked.crs, asked.z)
        media_type, write = format_of(asked.format)
        query = make_query(found, issue, asked.names, asked.datetime)
        content = write(read_answer(reader, query, choose(found.cells), is_of_places=is_of_places))
        return Response(content, media_type=media_type)

    def get(path: str, what: str) -> Callable[[Any], Any]:
        return router.get(f"{prefix}/{path}", responses=documented(*_TYPES, what=what))

    @get("position", "Forecast of the cell at a point.")
    def position(
        *,
        where: Where = at,
        asked: Asked,
        coords: Annotated[str, Query(description="POINT(lon lat) or MULTIPOINT.", examples=["POINT(10 50)"])],
    ) -> Response:
        return answer(where, asked, lambda cells: cells_at(cells, coords), is_of_places=True)

    @get("area", "Forecasts of the cells whose centre lies in an area; of a smaller one the cell that it lies in.")
    def area(
        *,
        where: Where = at,
        asked: Asked,
        coords: Annotated[str, Query(description="POLYGON((lon lat, ...)) or MULTIPOLYGON.")],
    ) -> Response:
        return answer(where, asked, lambda cells: cells_within(cells, coords))

    @get("radius", "Forecasts of the cells around a point.")
    def radius(
        *,
        where: Where = at,
        asked: Asked,
        coords: Annotated[str, Query(description="POINT(lon lat).")],
        within: Annotated[float, Query(description="Distance.")],
        units: Annotated[str, Query(alias="within-units", description="km, m or mi.")],
    ) -> Response:
        return answer(where, asked, lambda cells: cells_around(cells, coords, within, units))

    @get("cube", "Forecasts of the cells in a box.")
    def cube(
        *,
        where: Where = at,
        asked: Asked,
        bbox: Annotated[str, Query(description="west,south,east,north [degrees].")],
    ) -> Response:
        return answer(where, asked, lambda cells: cells_in_box(cells, bbox))

    @router.get(f"{prefix}/locations", responses=documented(GEOJSON, what="Named places."))
    def locations(request: Request, where: Where = at) -> Response:
        found = service.catalogue.now().collection(where[0])
        places = list(service.places.of(found).values())
        told = metadata.describe_locations(_root(request, url), found, found.instance(where[1]), places)
        return as_json(told, GEOJSON)

    @get("locations/{place}", "Forecast of the cell of a named place, or of the mean of a region.")
    def location(*, where: Where = at, asked: Asked, place: Annotated[str, Path(max_length=200)]) -> Response:
        def make() -> Response:
            found = service.catalogue.now().collection(where[0])
            named = service.places.place(found, place)
            if named.kind != REGION:
                chosen = np.array([named.cell])
                return written(asked, found, where[1], service.reader, lambda _: chosen, is_of_places=True)
            regional = service.regions_of(found, found.instance(where[1]))
            chosen = region_of(regional.collection, named)
            return written(asked, regional.collection, None, regional.reader, lambda _: chosen, is_of_places=True)

        return again(service, make)


def _root(request: Request, url: str | None) -> str:
    """Address that links begin with."""
    return (url or str(request.base_url)).rstrip("/")
