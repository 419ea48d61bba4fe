"""The server under load on loopback: tiles, points, areas and 50 clients at a time, of a globe at half a degree."""

from __future__ import annotations

import argparse
import http.client
import itertools
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import numpy as np
import xarray as xr

from benchmarks.measuring import machine, parse, show, verdict
from soilcast.cube import FORMATS, cells_of_grid, write_dataset
from soilcast.memory import highest_of, parse_bytes
from soilcast.products.variables import drought_class_coordinate
from soilcast.sources.planet.geography import geography

LEADS = 10
LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
ISSUES = ("2020-05-02", "2020-05-03")
SHARES = {"tile": 0.7, "point": 0.25, "place": 0.05}
"""Of the mixed requests."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resolution", type=float, default=0.5)
    parser.add_argument("--requests", type=int, default=200, help="of each kind, one after the other")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0, help="of the mixed load")
    parser.add_argument("--cache", default="256MiB")
    parser.add_argument("--most", default="600MiB", help="memory that is to do")
    options = parse(parser)
    with tempfile.TemporaryDirectory() as name:
        cells = made_forecasts(Path(name), options.resolution)
        with served(Path(name), options.cache) as (port, process):
            asks = Asks(port, np.random.default_rng(0))
            start = time.perf_counter()
            first = asks.first_paint()
            rows = [("first paint: page, catalogue, legend, 8 tiles (cold)", "1", *_times([first]))]
            kinds = {"tile": options.requests, "point": options.requests, "place": options.requests, "area": 20}
            medians = {}
            for kind, count in kinds.items():
                cold, warm = asks.timed(kind, count)
                medians[kind] = float(np.median(warm))
                rows.append((f"{kind}, first time", f"{count}", *_times(cold)))
                rows.append((f"{kind}, again", f"{count}", *_times(warm)))
            done, waited, failed = mixed(port, options.clients, options.seconds)
            rows.append((f"mixed, {options.clients} clients", f"{done:,}", *_times(waited)))
            peak = highest_of(process.pid) / 2**20
            taken = time.perf_counter() - start
    title = (
        f"Synthetic forecasts of {cells:,} cells, {len(ISSUES)} issue days, {LEADS} leads, {len(LEVELS)} quantiles; "
        f"cache {options.cache}; {taken:.0f} s"
    )
    show(title, ("request", "number", "median [ms]", "95 % [ms]", "most [ms]"), rows)
    rate = done / options.seconds
    print(f"{rate:,.0f} mixed requests a second, {failed} failed; peak memory of the server {peak:,.0f} MiB")
    print(verdict("first paint", 1000 * first, 1000, " ms", below=True))
    print(verdict("tile, warm", 1000 * medians["tile"], 30, " ms", below=True))
    print(verdict("point, warm", 1000 * medians["point"], 20, " ms", below=True))
    print(verdict("area of 1,000 cells x 10 leads, warm", 1000 * medians["area"], 300, " ms", below=True))
    print(verdict(f"mixed requests of {options.clients} clients", rate, 100, "/s"))
    print(verdict("peak memory", peak, parse_bytes(options.most) / 2**20, " MiB", below=True))
    print(machine())


def made_forecasts(folder: Path, resolution: float) -> int:
    """Write synthetic forecasts of the land of the Earth, one a file, as a chain does; give the number of cells."""
    rng = np.random.default_rng(0)
    cells = cells_of_grid(geography(resolution).grid)
    count = len(cells["cell"])
    base = 0.25 + 0.15 * np.sin(np.radians(3 * cells["lat"].to_numpy())) + 0.02 * rng.standard_normal(count)
    dims = ("cell", "time", "lead")
    for issue in ISSUES:
        drift = base[:, None, None] + 0.01 * np.cumsum(rng.standard_normal((count, 1, LEADS)), axis=2)
        spread = 0.01 * np.sqrt(np.arange(1, LEADS + 1))[:, None] * np.linspace(-2, 2, len(LEVELS))
        rank = 100 * rng.random((count, 1, LEADS))
        variables = {
            "swvl1": (dims, drift.astype(np.float32), {"units": "m3 m-3"}),
            "swvl1_quantile": ((*dims, "quantile"), (drift[..., None] + spread).astype(np.float32), {}),
            "swvl1_percentile": (dims, rank.astype(np.float32), {"units": "%"}),
            "swvl1_drought_probability": (
                (*dims, "drought_class"), rng.random((count, 1, LEADS, 5)).astype(np.float32), {"units": "1"}
            ),
        }  # fmt: skip
        time_ = np.array([issue], dtype="datetime64[ns]")
        lead = np.arange(1, LEADS + 1, dtype=np.int32)
        coordinates = {name: one for name, one in cells.items() if name != "area"} | {
            "time": time_,
            "lead": ("lead", lead, {"units": "d"}),
            "valid_time": (("time", "lead"), time_[:, None] + lead * np.timedelta64(1, "D")),
            "quantile": [*LEVELS],
            "drought_class": drought_class_coordinate(),
        }
        about = {
            "soilcast_kind": "forecast", "soilcast_format": FORMATS["forecast"], "title": "Synthetic forecasts",
            "label": "synthetic", "model": "none", "content": "synthetic numbers", "source": "benchmark",
            "cube_sha256": "0" * 64, "weights_sha256": "0" * 64, "targets": "swvl1", "lead_days": LEADS,
            "latency_days": 0, "weather": "none", "validation_period": "2019-01-01:2019-12-31",
        }  # fmt: skip
        write_dataset(xr.Dataset(variables, coordinates, about), folder / issue, netcdf=False)
    return count


@contextmanager
def served(folder: Path, cache: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Serve a folder by the command, as a process of its own; gives its port and it."""
    words = [sys.executable, "-m", "soilcast", "serve", str(folder), "--port", "0", "--cache", cache]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = next(found for line in process.stdout if (found := re.search(r"http://\S+:(\d+)/", line)))
        try:
            yield int(address[1]), process
        finally:
            process.terminate()


class Asks:
    """Asks one thing after the other over one connection."""

    def __init__(self, port: int, rng: np.random.Generator) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._rng = random.Random(int(rng.integers(1 << 30)))

    def first_paint(self) -> float:
        """Seconds of what a page asks for until it shows a map: those of the server, not of a browser."""
        start = time.perf_counter()
        for path in ("/", "/map/catalogue", "/legend/synthetic/swvl1_drought_probability"):
            self.get(path)
        for x, y in itertools.product(range(4), (1, 2)):
            self.get(f"/tiles/synthetic/{ISSUES[-1]}/swvl1_drought_probability/2/{x}/{y}.png?lead=1&drought_class=D2")
        return time.perf_counter() - start

    def timed(self, kind: str, count: int) -> tuple[list[float], list[float]]:
        """Seconds of different requests of a kind, first of each one and then of each once more."""
        paths = list(dict.fromkeys(itertools.islice((made(kind, self._rng) for _ in itertools.count()), count)))
        return [self.get(path) for path in paths], [self.get(path) for path in paths]

    def get(self, path: str) -> float:
        """Seconds of a request."""
        start = time.perf_counter()
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            sys.exit(f"{path}: {answer.status} {body[:200]!r}")
        return time.perf_counter() - start


def made(kind: str, rng: random.Random) -> str:
    """Make a request of a kind, of places on land mostly."""
    if kind == "tile":
        zoom = rng.choice((1, 2, 2, 3, 3, 4, 5))
        side = 1 << zoom
        variable = rng.choice(("swvl1", "swvl1_percentile", "swvl1_drought_probability"))
        more = "&drought_class=D2" if variable.endswith("probability") else ""
        x, y = rng.randrange(side), rng.randrange(side // 4, max(side * 5 // 8, side // 4 + 1))
        return f"/tiles/synthetic/{rng.choice(ISSUES)}/{variable}/{zoom}/{x}/{y}.png?lead={rng.randint(1, LEADS)}{more}"
    lat, lon = rng.uniform(49, 56), rng.uniform(62, 100)  # within Eurasia, where no lake is
    if kind == "place":
        return f"/map/place?collection=synthetic&lat={lat:.3f}&lon={lon:.3f}"
    base = f"/edr/collections/synthetic/instances/{rng.choice(ISSUES)}"
    if kind == "point":
        return f"{base}/position?coords={quote(f'POINT({lon:.3f} {lat:.3f})')}&parameter-name=swvl1,swvl1_quantile_0.05"
    box = [(lon, lat - 5), (lon + 22, lat - 5), (lon + 22, lat + 6), (lon, lat + 6), (lon, lat - 5)]
    corners = ",".join(f"{x:.3f} {y:.3f}" for x, y in box)
    return f"{base}/area?coords={quote(f'POLYGON(({corners}))')}&parameter-name=swvl1"


def mixed(port: int, clients: int, seconds: float) -> tuple[int, list[float], int]:
    """Ask for a mixture with many clients, each over a connection of its own, for some time.

    Returns
    -------
    Number of answers, how long each took [s], and how many were none.
    """
    end = time.perf_counter() + seconds

    def client(number: int) -> tuple[list[float], int]:
        rng, waited, failed = random.Random(number), [], 0
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.perf_counter() < end:
            (kind,) = rng.choices(list(SHARES), weights=list(SHARES.values()))
            start = time.perf_counter()
            connection.request("GET", made(kind, rng))
            answer = connection.getresponse()
            answer.read()
            waited.append(time.perf_counter() - start)
            failed += answer.status != 200
        connection.close()
        return waited, failed

    with ThreadPoolExecutor(clients) as pool:
        found = list(pool.map(client, range(clients)))
    waited = [one for row, _ in found for one in row]
    return len(waited), waited, sum(failed for _, failed in found)


def _times(seconds: Sequence[float]) -> tuple[str, str, str]:
    return tuple(f"{1000 * one:,.1f}" for one in (np.median(seconds), np.percentile(seconds, 95), max(seconds)))  # type: ignore[return-value]


if __name__ == "__main__":
    main()
