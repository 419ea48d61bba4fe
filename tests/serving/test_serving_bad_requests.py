"""Whatever is asked, the server answers in its own words: random requests, and those of its OpenAPI document."""

from __future__ import annotations

import json
import random
import string
from collections import Counter
from pathlib import Path
from urllib.parse import quote, unquote

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from soilcast.cube import save_cube
from tests.helpers.serving import application, client, issue, run_loop
from tests.helpers.small import few

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
"""What is seen to of each answer: its status, type and schema are those that the document names."""

COUNT, OVER_THE_WIRE = 10_000, 500
ALLOWED = {200, 303, 304, 400, 404, 405, 413, 414, 421}

SNIPPETS = (
    "lstm", "net", "none", "2020-05-03", "2020-05-99", "swvl1", "swvl1_quantile", "swvl1_drought_probability", "0",
    "1", "-1", "4", "22", "99999999999999999999", "1e400", "nan", "inf", "0.05", "D2", "POINT(10 50)",
    "POINT(-74.5 41)", "POINT(1 2 3)", "POINT ZM (1 2 3 4)", "MULTIPOINT((1 2),(3 4))",
    "POLYGON((0 0,9 0,9 9,0 0))", "POLYGON EMPTY", "POLYGON((0 0,1 1))", "MULTIPOLYGON(((0 0,9 0,9 9,0 0)))",
    "GEOMETRYCOLLECTION(POINT(1 1))", "CIRCULARSTRING(0 0,1 1,2 0)", "POINT(1e308 1e308)", "POINT(181 91)",
    "170,-30,-170,30", "1,2,3", ",,,", "../..", "..", "2020-05-04/..", "/", "a/b/c", "2020-05-05T25:61:61Z",
    "CoverageJSON", "geojson", "netcdf", "CSV", "km", "parsec", "CRS84", "5,0,1e9", "\x00", "%00",
    "../../../etc/passwd", "..\\..", "<script>", "' OR 1=1", "𝟙", "é", "\u202e", "\ud83d\ude00", " " * 300,
    "a" * 3000, "(" * 3000, "GEOMETRYCOLLECTION(" * 400, "basin-3", "basin 3", "{}", "[]", "null", "true", "0x10",
    "1_000", "१२", "+1", "1.", "-0",
)  # fmt: skip
QUERIES = ("position", "area", "radius", "cube", "locations", "locations/{}")
PATHS = (
    "/", "/static/{}", "/health", "/metrics", "/map/catalogue", "/map/place", "/map/places", "/map/what-if",
    "/edr", "/edr/api", "/edr/conformance", "/edr/collections", "/edr/collections/{}",
    "/edr/collections/{}/instances", "/legend/{}/{}", "/legend/{}/{}.png", "/edr/collections/{}/instances/{}",
    "/tiles/{}/{}/{}/{}/{}/{}.png", "/tiles/lstm/2020-05-03/{}/{}/{}/{}.png",
    *(f"/edr/collections/{{}}/{query}" for query in QUERIES),
    *(f"/edr/collections/lstm/instances/2020-05-03/{query}" for query in QUERIES),
    "/{}", "/{}/{}", "//{}",
)  # fmt: skip
NAMES = (
    "collection", "issue", "lat", "lon", "station", "variable", "lead", "quantile", "drought_class", "change",
    "rain", "heat", "coords", "bbox", "within", "within-units", "parameter-name", "datetime", "f", "crs", "z",
    "token", "x",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bad")
    issue(path, "2020-05-03", cells=400)
    issue(path, "2020-05-04", cells=400)
    issue(path, "2020-05-03", "net.nc", cells=20, gridded=False, label="net", weights_sha256="ee" * 32)
    (path / "broken.nc").write_bytes(b"no NetCDF")
    save_cube(few(), path / "cube")
    return path


def random_word(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.75:
        return rng.choice(SNIPPETS)
    if kind < 0.9:
        return "".join(rng.choices(string.printable, k=rng.randint(0, 40)))
    return f"{rng.uniform(-400, 400):.{rng.randint(0, 9)}f}"


def random_target(rng: random.Random) -> str:
    """Path and query of a request, nearly always one that cannot be answered."""
    path = rng.choice(PATHS)
    while "{}" in path:
        path = path.replace("{}", _quoted(rng, "/@"), 1)
    names = rng.choices(NAMES, k=rng.randint(0, 6))
    query = "&".join(f"{name}={_quoted(rng, ',()')}" for name in names)
    return f"{path}?{query}" if query else path


def _quoted(rng: random.Random, safe: str) -> str:
    return quote(random_word(rng).encode("utf-8", "surrogatepass"), safe=rng.choice(("", safe)))


async def told(scope_path: str, target: str, method: str, app: object) -> tuple[int, bytes]:
    """Ask an application in this process, with the very bytes of a target, and give status and body."""
    raw, _, query = target.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": scope_path, "raw_path": raw.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    parts: list[bytes] = []
    status = [0]

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            status[0] = message["status"]  # type: ignore[assignment]
        else:
            parts.append(message.get("body", b""))  # type: ignore[arg-type]

    await app(scope, receive, send)  # type: ignore[operator]
    return status[0], b"".join(parts)


@pytest.mark.slow
def test_ten_thousand_random_requests_are_answered_without_a_defect(folder: Path) -> None:
    app, rng, seen = application(folder, cube=folder / "cube"), random.Random(0), Counter()
    folder_name = str(folder).encode()

    async def ask_all() -> None:
        for _ in range(COUNT):
            target = random_target(rng)
            method = rng.choices(("GET", "HEAD", "OPTIONS", "POST"), weights=(90, 4, 3, 3))[0]
            # A defect is raised here, with its target beside it.
            status, body = await told(unquote(target.partition("?")[0]), target, method, app)
            assert status in ALLOWED | {204}, (status, target)
            if status >= 400 and method == "GET":
                fault = json.loads(body)
                assert fault["code"] == status, target
                assert fault["description"], target
                assert "\n" not in fault["description"], target
                assert folder_name not in body, target
            seen[status] += 1

    run_loop(ask_all())
    assert sum(seen.values()) == COUNT
    assert {200, 400, 404, 405} <= set(seen), seen
    assert seen[400] + seen[404] > COUNT // 2, "most of them are bad"


@pytest.mark.slow
def test_random_requests_over_the_wire_leave_the_server_as_it_was(folder: Path) -> None:
    rng = random.Random(1)
    with client(folder) as http:
        before = http.get("/map/catalogue").json()
        for _ in range(OVER_THE_WIRE):
            try:
                answer = http.get(random_target(rng))
            except (httpx.InvalidURL, httpx.UnsupportedProtocol):  # which this client would not send
                continue
            assert answer.status_code in ALLOWED, (answer.status_code, str(answer.url))
        assert http.get("/map/catalogue").json() == before


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_answers_are_those_of_the_openapi_document(folder: Path, mode: GenerationMode) -> None:
    """Requests that the document allows, and such that it does not, for each of its operations."""
    with client(folder, cube=folder / "cube") as http:
        schema = schemathesis.openapi.from_dict(http.get("/edr/api").json())
        schema.config.update(base_url=str(http.base_url))
        operations = [one.ok() for one in schema.get_all_operations()]
        assert len(operations) > 25
        for operation in operations:

            @settings(max_examples=10, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def answers(case: schemathesis.Case) -> None:
                case.call_and_validate(checks=CHECKS)

            try:
                answers()
            except Unsatisfiable:  # what has no parameters has no wrong ones
                assert mode == GenerationMode.NEGATIVE
