"""Running the server: where it listens, what it says as it starts, and how it ends."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from soilcast.errors import SoilcastError
from soilcast.files import path_list
from soilcast.progress import Log

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
CACHE = 256 * 2**20
"""Bytes of the cache, if nothing is said [bytes]."""


def serve(
    paths: str | Path | Sequence[str | Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    cache: int = CACHE,
    log: Log = print,
) -> None:
    """Serve forecasts over HTTP until Ctrl-C or SIGTERM: a map in the browser, tiles, and OGC API EDR.

    Parameters
    ----------
    paths
        Forecasts, or folders in which they lie or arrive.
    host
        Address to listen at.
    port
        Its port; 0 for any that is free.
    cache
        Bytes that are kept in memory of what was read and drawn.
    log
        Called with a line for each thing that is served, and the address.

    Raises
    ------
    SoilcastError
        There is no forecast, the port is taken, or the extra is not installed.
    """
    try:
        import uvicorn

        from soilcast.serving.app import make_app
        from soilcast.serving.service import Service
    except ImportError as error:
        raise SoilcastError(f"serve needs an extra ({error.name}): pip install 'soilcast[serve]'") from error
    service = Service([Path(one) for one in path_list(paths)], cache=cache)
    snapshot = service.catalogue.now()
    for one in snapshot.broken:
        log(f"{one.name} is not served: {one.reason}")
    if not snapshot.collections:
        raise SoilcastError(f"{', '.join(map(str, path_list(paths)))}: no forecast: give one, or a folder of them")
    for collection in snapshot.collections.values():
        days = list(collection.instances)
        log(f"{collection.id}: {len(days)} issue day(s), {days[0]} to {days[-1]}; {collection.cells.count} cells")
    listening = _listen(host, port)
    config = uvicorn.Config(
        make_app(service), log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=1
    )
    shown = f"[{host}]" if ":" in host else host
    log(f"http://{shown}:{listening.getsockname()[1]}/ - Ctrl-C ends it")
    uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        raise SoilcastError(f"--host {host} --port {port}: cannot listen there ({error}): give another port") from error
    return listening
