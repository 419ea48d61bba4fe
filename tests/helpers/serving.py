"""Servers of forecasts for tests, on loopback: in a thread of this process, and as the command."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn
import xarray as xr

from soilcast.colours import product_of
from soilcast.cube import open_forecast
from soilcast.serving.app import EVERYBODY_HERE, make_app
from soilcast.serving.beside import Beside
from soilcast.serving.catalogue import Catalogue
from soilcast.serving.guard import Access, Guard
from soilcast.serving.running import listen, uvicorn_config
from soilcast.serving.service import Service
from tests.helpers.forks import PATIENCE, Fork, start_command, wait_until
from tests.helpers.scores_factory import make_forecast, save_forecast

CACHE = 32 * 2**20


def issue(folder: Path, day: str, name: str = "", **options: Any) -> Path:
    """Write a made forecast from an issue day into a folder, renamed into it whole as the commands do."""
    made = make_forecast(**options)
    time = np.array([day], dtype="datetime64[ns]")
    valid = time[:, np.newaxis] + made["lead"].to_numpy() * np.timedelta64(1, "D")
    made = made.assign_coords(time=("time", time, made["time"].attrs), valid_time=(("time", "lead"), valid))
    for variable, one in made.data_vars.items():
        if (product := product_of(str(variable))) is not None:
            one.attrs |= {"long_name": product.title, "units": product.units, **product.extra}
    folder.mkdir(parents=True, exist_ok=True)
    partial, out = folder / f".{name or day}.partial", folder / (name or day)
    shutil.rmtree(partial, ignore_errors=True)
    save_forecast(made, partial if not out.suffix else partial.with_suffix(out.suffix)).rename(out)
    return out


def application(*paths: Path, cache: int = CACHE, access: Access = EVERYBODY_HERE, **beside: Any) -> Guard:
    """Make the application of a server."""
    return make_app(Service(Catalogue(list(paths)), Beside(**beside), cache=cache), access)


@contextmanager
def client(*paths: Path, **options: Any) -> Iterator[httpx.Client]:
    """Give a client of a server that runs in a thread."""
    listening = listen("127.0.0.1", 0)
    app = application(*paths, **options)
    running = uvicorn.Server(uvicorn_config(app))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=PATIENCE) as http:
            yield http
    finally:
        running.should_exit = True
        thread.join(PATIENCE)


def run_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine in a thread of its own: the browser of other tests has a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


def loaded(path: Path) -> xr.Dataset:
    """All of a forecast, in memory."""
    with open_forecast(path) as opened:
        return opened.load()


@contextmanager
def server(*words: object, **surroundings: Any) -> Iterator[tuple[str, Fork]]:
    """Run ``soilcast serve`` with these words at a free port; gives its address and its process."""
    with start_command("serve", *words, "--port", "0", **surroundings) as process:

        def address() -> str | None:
            found = re.search(r"(http://\S+:\d+)/", process.printed("stdout"))
            assert found or process.poll() is None, process.printed("stderr")
            return found[1] if found else None

        wait_until(lambda: address() is not None)
        yield str(address()), process
