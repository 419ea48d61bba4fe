"""Running the server: where it listens, what it says as it starts, and how it ends."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soilcast.errors import SoilcastError
from soilcast.files import path_list
from soilcast.progress import Log

if TYPE_CHECKING:
    import uvicorn

    from soilcast.serving.catalogue import Snapshot
    from soilcast.serving.cells import Cells

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_WAITING = 256
"""Connections that may wait to be taken."""

_AT_ONCE = 512
"""Connections that are served at a time; more are told to come again (503)."""

CACHE = 256 * 2**20
"""Bytes of the cache, if nothing is said [bytes]."""


def serve(
    paths: str | Path | Sequence[str | Path],
    *,
    cube: str | Path | None = None,
    runs: str | Path | Sequence[str | Path] = (),
    weather: str | Path | Sequence[str | Path] = (),
    scores: str | Path | None = None,
    stations: str | Path | None = None,
    regions: str | Path | None = None,
    region_name: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    url: str | None = None,
    token_file: str | Path | None = None,
    cors: Sequence[str] = (),
    cache: int = CACHE,
    log_requests: bool = False,
    log: Log = print,
) -> None:
    """Serve forecasts over HTTP until Ctrl-C or SIGTERM: a map in the browser, tiles, and OGC API EDR.

    Parameters
    ----------
    paths
        Forecasts, or folders in which they lie or arrive.
    cube
        The cube that forecasts began from, for the past weeks, the climate of the season and changes; by default one
        that lies in a folder of ``paths`` alone.
    runs
        Folders of runs, for what-if; by default those that lie there.
    weather
        Files of the weather forecasts that the forecasts were made with, for what-if.
    scores
        Scores of the forecasts; by default those that lie there alone.
    stations
        A cube of observations, whose stations become places.
    regions
        A GeoJSON, GeoPackage or Shapefile, whose regions become places with the forecast of their mean.
    region_name
        Attribute that names them.
    host
        Address to listen at.
    port
        Its port; 0 for any that is free.
    url
        Address at which it is reached from outside, behind a reverse proxy: that of links.
    token_file
        File with the token that has to be known; needed to listen to others than this machine.
    cors
        Origins whose pages may read the answers, ``*`` for all.
    cache
        Bytes that are kept in memory of what was read and drawn.
    log_requests
        Write a line for each request: method, kind of address, status and time, nothing of who asked.
    log
        Called with a line for each thing that is served, and the address.

    Raises
    ------
    SoilcastError
        There is no forecast, the port is taken, others could reach it without a token, or the extra is not installed.
    """
    if host.lower() not in _LOOPBACK and token_file is None:
        raise SoilcastError(
            f"--host {host}: others than this machine could reach it: give a token with --token-file FILE, or leave "
            "--host out"
        )
    try:
        import uvicorn

        from soilcast.serving.app import make_app
        from soilcast.serving.beside import Beside, complete
        from soilcast.serving.catalogue import Catalogue
        from soilcast.serving.guard import access_of, read_token
        from soilcast.serving.service import Service
    except ImportError as error:
        raise SoilcastError(f"serve needs an extra ({error.name}): pip install 'soilcast[serve]'") from error
    token = None if token_file is None else read_token(Path(token_file))
    access = access_of(host, url, token, cors)
    places = [Path(one) for one in path_list(paths)]
    for place in places:
        if not place.exists():
            raise SoilcastError(f"{place}: no such file or folder")
    catalogue = Catalogue(places)
    snapshot = catalogue.now()
    if not snapshot.collections:
        raise SoilcastError(f"{', '.join(map(str, places))}: no forecast: give one, or a folder of them")
    said = [f"{one.name} is not served: {one.reason}" for one in snapshot.broken]
    for collection in snapshot.collections.values():
        days = list(collection.instances)
        said.append(
            f"{collection.id}: {len(days)} issue day(s), {days[0]} to {days[-1]}; {collection.cells.count} cells"
        )
    given = Beside(
        _path(cube),
        {},
        tuple(map(Path, path_list(weather))),
        _path(scores),
        _path(stations),
        None if regions is None else (str(regions), region_name),
    )
    beside = complete(given, [Path(one) for one in path_list(runs)], catalogue.found, said.append)
    service = Service(catalogue, beside, cache=cache)
    listening = listen(host, port)
    if service.regional is not None and not any(map(service.regional.of, _all_cells(snapshot))):
        raise SoilcastError(f"{regions}: none of its regions has a cell of these forecasts: give regions of this area")
    app = make_app(service, access, url=url, log=log if log_requests else None)
    for line in said:  # now that nothing is refused any more
        log(line)
    shown = f"[{host}]" if ":" in host else host
    log(f"http://{shown}:{listening.getsockname()[1]}/ - Ctrl-C ends it")
    uvicorn.Server(uvicorn_config(app)).run(sockets=[listening])


def uvicorn_config(app: Callable[..., Any]) -> uvicorn.Config:
    """Give how an application is run: requests under way have a second to end, headers of others are not believed."""
    import uvicorn

    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        limit_concurrency=_AT_ONCE,
    )


def _all_cells(snapshot: Snapshot) -> list[Cells]:
    return [collection.cells for collection in snapshot.collections.values()]


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


def listen(host: str, port: int) -> socket.socket:
    """Take a port, and connections that come to it.

    Raises
    ------
    SoilcastError
        It is taken, or there is no such host.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # asyncio sends at once what is written (TCP_NODELAY) where the protocol is named; else each answer waits 40 ms.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_WAITING)  # before the address is told, so that who reads it need not try twice
    except (OSError, OverflowError) as error:
        raise SoilcastError(f"--host {host} --port {port}: cannot listen there ({error}): give another port") from error
    return listening
