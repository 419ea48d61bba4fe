"""Who may ask, what every answer carries, what is refused as too much, and that no address leads to the disk."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from soilcast.errors import SoilcastError
from soilcast.serving import queries
from soilcast.serving.answers import MOST_FEATURES
from soilcast.serving.guard import access_of, read_token
from tests.helpers.serving import application, client, issue, run_loop

TOKEN = "a-token-of-some-length"
PUBLIC = ("/", "/map/catalogue", "/health", "/metrics", "/edr", "/edr/api", "/static/none", "/nothing", "/tiles/a")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("guarded")
    issue(path, "2020-05-03", cells=3000, step=2.0)
    (path / "secret.txt").write_text("secret")
    return path


@pytest.fixture(scope="module")
def http(folder: Path) -> Iterator[httpx.Client]:
    with client(folder) as found:
        yield found


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Iterator[httpx.Client]:
    with client(folder, access=access_of("0.0.0.0", None, TOKEN, ())) as found:
        yield found


@pytest.mark.parametrize("path", PUBLIC)
def test_every_answer_keeps_browsers_from_harm(http: httpx.Client, path: str) -> None:
    headers = http.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"])
def test_nothing_can_be_written(http: httpx.Client, method: str) -> None:
    answer = http.request(method, "/map/catalogue")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


def test_head_gives_the_headers_alone(http: httpx.Client) -> None:
    whole, head = http.get("/map/catalogue"), http.head("/map/catalogue")
    assert head.status_code == 200
    assert head.headers["content-length"] == whole.headers["content-length"]
    assert not head.content
    assert http.options("/map/catalogue").status_code == 204


@pytest.mark.parametrize("name", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::1"])
def test_a_name_of_elsewhere_is_refused(http: httpx.Client, name: str) -> None:
    # A page elsewhere whose name was made to lead to this machine reads nothing.
    assert http.get("/map/catalogue", headers={"Host": name}).status_code == 421
    for own in ("localhost:9000", "127.0.0.1", "[::1]:80"):
        assert http.get("/health", headers={"Host": own}).status_code == 200


def test_the_name_of_a_proxy_is_taken(folder: Path) -> None:
    with client(folder, access=access_of("127.0.0.1", "https://soil.example.org/moisture", None, ())) as http:
        assert http.get("/health", headers={"Host": "soil.example.org"}).status_code == 200
        assert http.get("/health", headers={"Host": "other.example.org"}).status_code == 421


def test_without_the_token_nothing_is_told(guarded: httpx.Client) -> None:
    for path in PUBLIC:
        answer = guarded.get(path)
        assert answer.status_code == (200 if path == "/health" else 401), path
        if path != "/health":
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["code"] == 401
    for wrong in (f"Bearer {TOKEN}x", "Bearer", f"Basic {TOKEN}", TOKEN, "Bearer \xe9"):
        assert guarded.get("/edr", headers={"Authorization": wrong.encode("latin-1")}).status_code == 401
    assert guarded.get("/edr", params={"token": "wrong"}).status_code == 401
    assert guarded.get("/edr", headers={"Cookie": "soilcast_token=wrong"}).status_code == 401


def test_the_token_opens_all(guarded: httpx.Client) -> None:
    assert guarded.get("/edr", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert guarded.get("/edr", headers={"Authorization": f"bearer  {TOKEN}", "Host": "any"}).status_code == 200
    assert guarded.get("/edr", headers={"Cookie": f"other=1; soilcast_token={TOKEN}"}).status_code == 200


def test_the_token_in_an_address_becomes_a_cookie(guarded: httpx.Client) -> None:
    answer = guarded.get("/map/catalogue", params={"a": "1 2", "token": TOKEN, "b": ""})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/map/catalogue?a=1+2&b="
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert guarded.get("/edr", headers={"Cookie": cookie.partition(";")[0]}).status_code == 200


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example", "/%0d%0aSet-Cookie:a", "/é"])
def test_the_way_on_leads_nowhere_else(guarded: httpx.Client, path: str) -> None:
    base = httpx.URL(f"http://127.0.0.1:{guarded.base_url.port}{path}", params={"token": TOKEN})
    answer = guarded.get(base)
    assert answer.status_code == 303
    where = urlsplit(answer.headers["location"])
    assert (where.scheme, where.netloc) == ("", "")
    assert answer.headers["location"].startswith("/")
    assert "\\" not in answer.headers["location"]
    assert "a" not in answer.headers.get_list("set-cookie")[0].partition("=")[0].split("_")


def test_a_proxy_s_path_stands_before_the_way_on(folder: Path) -> None:
    with client(folder, access=access_of("0.0.0.0", "https://example.org/soil/", TOKEN, ())) as http:
        answer = http.get("/", params={"token": TOKEN})
        assert answer.headers["location"] == "/soil/"
        assert "Path=/soil/" in answer.headers["set-cookie"]


def test_origins_are_let_in_by_name(folder: Path) -> None:
    origins = ("https://one.example", "http://two.example:8080")
    with client(folder, access=access_of("127.0.0.1", None, None, origins)) as http:
        for origin in origins:
            answer = http.get("/health", headers={"Origin": origin})
            assert answer.headers["access-control-allow-origin"] == origin
            assert answer.headers["vary"] == "Origin"
            asked = http.options("/edr", headers={"Origin": origin, "Access-Control-Request-Method": "GET"})
            assert asked.headers["access-control-allow-methods"] == "GET"
        for origin in ("https://three.example", "null", "https://one.example.evil"):
            assert "access-control-allow-origin" not in http.get("/health", headers={"Origin": origin}).headers
    with client(folder, access=access_of("127.0.0.1", None, None, ("*",))) as http:
        assert http.get("/health", headers={"Origin": "null"}).headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static/....//app.py",
        "/static//etc/passwd", "/static/..\\app.py", "/static/index.html/", "/static/index.html%00.js", "/static/",
        "/static/.", "/../secret.txt",
        "/map/catalogue/../../secret.txt", "/edr/collections/..%2f..%2fsecret.txt", "/edr/collections/%2e%2e",
        "/tiles/..%2f/2020-05-03/swvl1/0/0/0.png", "/legend/..%2f..%2fsecret.txt/swvl1", "/secret.txt", "//secret.txt",
        "/edr/collections/lstm/locations/..%2f..%2fsecret.txt", "/edr/collections/lstm/instances/..%2fsecret.txt",
    ],
)  # fmt: skip
def test_no_address_leads_to_the_disk(http: httpx.Client, path: str) -> None:
    with socket.create_connection(("127.0.0.1", http.base_url.port or 80), timeout=60) as raw:
        # As it is written: a client would mend it.
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.split()[1] in (b"404", b"400"), answer[:200]
    assert b"secret" not in answer.partition(b"\r\n\r\n")[2].replace(b"secret.txt", b"")


def test_what_is_no_request_is_refused(http: httpx.Client) -> None:
    for raw_text in (
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", http.base_url.port or 80), timeout=60) as raw:
            try:
                raw.sendall(raw_text)
                answer = raw.recv(65536)
            except ConnectionError:  # it does not wait for the rest
                answer = b""
        assert answer == b"" or answer.split()[1] in (b"400", b"421")
    assert http.get("/health").status_code == 200


def ask(http: httpx.Client, query: str, **parameters: object) -> httpx.Response:
    return http.get(f"/edr/collections/lstm/{query}", params=parameters)  # type: ignore[arg-type]


def test_too_much_is_refused_with_the_limit(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    world = "-180,-90,180,90"
    for answer, told in (
        (ask(http, "cube", bbox=world, f="GeoJSON", **{"parameter-name": "swvl1"}), f"at most {MOST_FEATURES:,}"),
        (ask(http, "position", coords=_points(600)), f"at most {queries.MOST_POINTS:,}"),
        (ask(http, "area", coords=_polygon(2500)), f"at most {queries.MOST_CORNERS:,}"),
        (ask(http, "position", coords="POINT(" + " " * 61_000 + "1 1)"), "60,000"),
    ):
        assert answer.status_code == 413, answer.text
        assert told in answer.json()["description"]
    monkeypatch.setattr(queries, "MOST_VALUES", 20_000)
    assert "30,000 values, but at most 20,000" in ask(http, "cube", bbox=world, **{"parameter-name": "swvl1"}).text
    monkeypatch.setattr(queries, "MOST_CELLS", 100)
    answer = ask(http, "cube", bbox=world, datetime="2020-05-04", **{"parameter-name": "swvl1"})
    assert answer.status_code == 413
    assert "3,000 cells, but at most 100" in answer.json()["description"]
    assert ask(http, "cube", bbox="0,0,10,10", **{"parameter-name": "swvl1"}).status_code == 200


def _points(count: int) -> str:
    return f"MULTIPOINT({','.join(f'({number % 100} 0)' for number in range(count))})"


def _polygon(count: int) -> str:
    turn = np.linspace(0, 2 * np.pi, count)
    corners = [f"{10 * x:.6f} {10 * y:.6f}" for x, y in zip(np.cos(turn), np.sin(turn), strict=True)]
    return f"POLYGON(({','.join([*corners[:-1], corners[0]])}))"


def test_the_log_tells_nothing_of_who_asked_and_what_for(folder: Path) -> None:
    lines: list[str] = []
    app = application(folder)
    app._log = lines.append

    async def ask_it() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
            await http.get("/map/place", params={"collection": "lstm", "lat": 12.3456, "lon": 65.4321})
            await http.get("/my-secret/path", headers={"Cookie": "a=b", "User-Agent": "somebody"})

    run_loop(ask_it())
    assert len(lines) == 2
    assert lines[0].startswith("GET /map ")
    assert lines[1].startswith("GET /other 404 ")
    for word in ("12.3", "65.4", "secret", "somebody", "127.0.0.1", "lstm"):
        assert word not in "".join(lines)


def test_counts_are_told_to_prometheus(folder: Path) -> None:
    with client(folder) as http:
        for _ in range(3):
            http.get("/map/catalogue")
        http.get("/tiles/lstm/2020-05-03/swvl1/0/0/0.png")
        http.get("/tiles/lstm/2020-05-03/swvl1/0/0/9.png")
        found = dict(line.rsplit(" ", 1) for line in http.get("/metrics").text.splitlines() if line[0] != "#")
    assert found['soilcast_requests_total{path="/map",status="200"}'] == "3"
    assert found['soilcast_requests_total{path="/tiles",status="400"}'] == "1"
    assert found['soilcast_request_seconds_bucket{path="/map",le="+Inf"}'] == "3"
    assert found["soilcast_issue_days"] == "1"
    assert 0 < int(found["soilcast_cache_bytes"]) < 32 * 2**20


@pytest.mark.parametrize(("content", "told"), [
    ("short", "no token"), ("", "no token"), ("with spaces in it, long enough", "no token"),
    ("two\nlines" * 9, "no token"), ("ä" * 40, "not a text"), (None, "cannot be read"),
])  # fmt: skip
def test_a_token_that_is_none_is_refused(tmp_path: Path, content: str | None, told: str) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(SoilcastError, match=told):
        read_token(file)
    file.write_text(f"{TOKEN}\n")
    assert read_token(file) == TOKEN


@pytest.mark.parametrize("url", ["example.org", "ftp://example.org", "https://", "https://example.org/?a=b"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SoilcastError, match=r"--url .* no address"):
        access_of("127.0.0.1", url, None, ())
    with pytest.raises(SoilcastError, match=r"--cors example\.org: no origin"):
        access_of("127.0.0.1", None, None, ("example.org",))
