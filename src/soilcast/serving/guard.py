"""What stands between a request and the answers: who may ask, headers, counts, and the log, for all addresses alike."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import orjson

from soilcast.errors import SoilcastError
from soilcast.progress import Log
from soilcast.serving.counts import Counts

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("localhost", "127.0.0.1", "::1")

_COOKIE = "soilcast_token"
_SHORTEST = 16
_LARGEST_FILE = 4096
_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "worker-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "geolocation=(self)",
}
_METHODS = "GET, HEAD, OPTIONS"


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Parameters
    ----------
    token
        What others than this machine have to know; None where it listens to this machine alone.
    hosts
        Names by which the server may be called, where there is no token: a page elsewhere whose name leads to this
        machine could else read it.
    origins
        Origins whose pages may read the answers, ``*`` for all.
    prefix
        Path under which a reverse proxy shows the server, such as ``/soil``; empty for none.
    """

    token: str | None = field(default=None, repr=False)
    hosts: frozenset[str] = frozenset(LOOPBACK)
    origins: tuple[str, ...] = ()
    prefix: str = ""


class Guard:
    """Lets a request through to an application, or answers it.

    Parameters
    ----------
    app
        The application.
    access
        Who may ask.
    counts
        Of requests.
    log
        Called with a line for each request, without who asked and what for: method, kind of address, status, time.
    """

    def __init__(self, app: App, access: Access, counts: Counts, log: Log | None = None) -> None:
        self._app, self._access, self._counts, self._log = app, access, counts, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        more = self._headers_for(headers.get("origin"))

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                told = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *((n, v) for n, v in more if n not in told)]
            await send(message)

        try:
            answer = self._answer(scope, headers)
            if answer is not None:
                await answer(send_with_headers)
            elif scope["method"] == "HEAD":
                await self._app({**scope, "method": "GET"}, receive, _without_body(send_with_headers))
            else:
                await self._app(scope, receive, send_with_headers)
        finally:
            self._counts.add(_kind(scope["path"]), status, time.perf_counter() - began)
            if self._log is not None:
                taken = 1000 * (time.perf_counter() - began)
                self._log(f"{scope['method'][:8]} {_kind(scope['path'])} {status} {taken:.0f} ms")

    def _answer(self, scope: Scope, headers: dict[str, str]) -> Callable[[Send], Awaitable[None]] | None:
        """What is answered without asking the application; None where it is asked."""
        access = self._access
        if access.token is None and _host(headers.get("host", "")) not in access.hosts:
            return _told(421, "this server is not called so: see --url and --host")
        if scope["method"] == "OPTIONS":
            return _reply(204, [(b"allow", _METHODS.encode())])
        if scope["method"] not in ("GET", "HEAD"):
            return _told(405, f"only {_METHODS} are served", [(b"allow", _METHODS.encode())])
        if access.token is None or scope["path"] == "/health":
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == "token"]
        if given and self._is_right(given[0]):
            rest = urlencode([one for one in query if one[0] != "token"])
            # A path of this server: two slashes at its beginning would name another one.
            where = access.prefix + quote("/" + scope["path"].lstrip("/\\")) + (f"?{rest}" if rest else "")
            cookie = f"{_COOKIE}={access.token}; Path={access.prefix}/; HttpOnly; SameSite=Strict; Max-Age=2592000"
            secure = "; Secure" if scope.get("scheme") == "https" else ""
            return _reply(303, [(b"location", where.encode()), (b"set-cookie", (cookie + secure).encode())])
        word, _, bearer = headers.get("authorization", "").partition(" ")
        if word.lower() == "bearer" and self._is_right(bearer.strip()):
            return None
        if any(self._is_right(one) for one in _cookies(headers.get("cookie", ""))):
            return None
        return _told(401, "a token is needed: Authorization: Bearer TOKEN", [(b"www-authenticate", b"Bearer")])

    def _is_right(self, given: str) -> bool:
        assert self._access.token is not None
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._access.token.encode())

    def _headers_for(self, origin: str | None) -> list[tuple[bytes, bytes]]:
        found = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
        origins = self._access.origins
        if "*" in origins:
            found.append((b"access-control-allow-origin", b"*"))
        elif origin is not None and origin in origins:
            found += [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]
        else:
            found.append((b"cross-origin-resource-policy", b"same-origin"))
            return found
        allowed = b"authorization" if self._access.token is not None else b"content-type"
        return [*found, (b"access-control-allow-methods", b"GET"), (b"access-control-allow-headers", allowed)]


def read_token(file: Path) -> str:
    """Read a token from a file: one line of at least 16 letters, digits and ``-._~``.

    Raises
    ------
    SoilcastError
        It cannot be read, or is no such token.
    """
    try:
        with file.open("rb") as stream:
            text = stream.read(_LARGEST_FILE + 1).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        told = error.strerror if isinstance(error, OSError) else "not a text"
        raise SoilcastError(f"--token-file {file}: cannot be read ({told}): give a file with a token") from error
    if not re.fullmatch(rf"[A-Za-z0-9._~-]{{{_SHORTEST},1000}}", text):
        raise SoilcastError(
            f"--token-file {file}: no token: write {_SHORTEST} letters, digits or -._~ at least, in one line"
        )
    return text


def access_of(host: str, url: str | None, token: str | None, origins: Sequence[str]) -> Access:
    """Give who may ask a server that listens at a host, and is reached from outside at an address.

    Raises
    ------
    SoilcastError
        The address is none, or an origin.
    """
    outside = urlsplit(url or "http://localhost")
    if outside.scheme not in ("http", "https") or not outside.hostname or outside.query or outside.fragment:
        raise SoilcastError(f"--url {url}: no address: write it as https://example.org/soil")
    for origin in origins:
        if origin != "*" and not re.fullmatch(r"https?://[A-Za-z0-9.\[\]:-]+", origin):
            raise SoilcastError(f"--cors {origin}: no origin: write it as https://example.org, or *")
    names = frozenset({*LOOPBACK, host.lower(), outside.hostname.lower()})
    return Access(token, names, tuple(origins), quote(outside.path.rstrip("/")))


def _host(text: str) -> str:
    """Name of the host in a header, without its port."""
    bracketed = re.fullmatch(r"\[([0-9a-fA-F:.]+)\](:\d+)?", text)
    return bracketed[1] if bracketed else text.partition(":")[0].lower()


def _cookies(text: str) -> Iterable[str]:
    for part in text.split(";"):
        name, _, value = part.strip().partition("=")
        if name == _COOKIE:
            yield value


def _kind(path: str) -> str:
    """First part of an address, as it is counted and logged: nothing of what was asked for."""
    first = path.split("/")[1] if path.startswith("/") else ""
    return f"/{first}" if first in ("", "static", "map", "tiles", "legend", "edr", "health", "metrics") else "/other"


def _told(
    status: int, description: str, headers: Sequence[tuple[bytes, bytes]] = ()
) -> Callable[[Send], Awaitable[None]]:
    body = orjson.dumps({"code": status, "description": description})
    return _reply(status, [(b"content-type", b"application/json"), *headers], body)


def _reply(status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes = b"") -> Callable[[Send], Awaitable[None]]:
    async def answer(send: Send) -> None:
        length = [] if status == 204 else [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": [*headers, *length]})
        await send({"type": "http.response.body", "body": body})

    return answer


def _without_body(send: Send) -> Send:
    async def send_head(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head
