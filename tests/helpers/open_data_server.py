"""A mirror of ECMWF's open data on this machine: GRIB files written by eccodes, their index files, and faults."""

from __future__ import annotations

import functools
import json
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import eccodes
import numpy as np
import numpy.typing as npt

from tests.helpers.store_server import Fault, Seen

ROWS, COLUMNS, SPACING = 91, 180, 2.0
"""The grid: 90 to -90 degrees north, and from 180 degrees east on, as the open data has it."""

SURFACE = ("2t", "msl", "10u", "10v", "2d", "skt", "tp", "ssrd", "strd", "sp", "sd", "ro")
ACCUMULATED = ("tp", "ssrd", "strd", "ro")
SOIL = ((1, "vsw"), (1, "sot"), (2, "vsw"), (2, "sot"))


class Mirror:
    """The state of a mirror; tests change it while it serves.

    Parameters
    ----------
    url
        Where it is.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.files: dict[str, bytes] = {}
        self.seen: list[Seen] = []
        self.faults: dict[str, list[Fault]] = {}
        self.ranges = True
        self.lengths = True
        self.shift = 0
        self.lock = threading.Lock()

    def add(self, product: str, run: str, steps: Sequence[int], members: int = 0) -> None:
        """Put a run on the mirror, such as that of ``2026-11-28T00``."""
        for step in steps:
            for name, content in run_files(product, run, step, members).items():
                self.files[name] = content

    def path(self, ending: str, step: int) -> str:
        """Path of a file of a step that ends so."""
        return next(name for name in self.files if f"-{step}h-" in name and name.endswith(ending))

    def lines(self, step: int) -> list[dict[str, Any]]:
        """Lines of the index file of a step."""
        return [json.loads(line) for line in self.files[self.path(".index", step)].splitlines()]

    def write(self, step: int, lines: Sequence[dict[str, Any]]) -> None:
        """Write an index file anew."""
        self.files[self.path(".index", step)] = "\n".join(json.dumps(line) for line in lines).encode()

    def fault(self, place: str, **what: Any) -> None:
        """Let something happen to requests of ``index`` or ``data``, or to ``head``."""
        self.faults.setdefault(place, []).append(Fault(**what))

    def count(self, place: str) -> int:
        """How many requests came to a place."""
        return sum(one.place == place for one in self.seen)


_RANGES = {
    "2t": (260.0, 300.0), "2d": (250.0, 259.0), "skt": (260.0, 300.0), "msl": (98e3, 103e3), "sp": (70e3, 103e3),
    "10u": (-15.0, 15.0), "10v": (-15.0, 15.0), "sd": (0.0, 0.2), "vsw": (0.05, 0.5), "sot": (270.0, 300.0),
    "tp": (0.0, 1e-3), "ro": (0.0, 1e-4), "ssrd": (0.0, 1e6), "strd": (6e5, 1.5e6),
}  # fmt: skip
"""Parameter -> least and largest value; of what is accumulated, in an hour."""


def field_of(param: str, level: int, step: int, member: int) -> npt.NDArray[np.float64]:
    """Values of a field ``(lat, lon)``, another for each; what is accumulated grows with the step."""
    is_sum = param in ACCUMULATED
    seed = [ord(sign) for sign in param] + [level, 0 if is_sum else step, member]
    low, high = _RANGES[param]
    values = (low + (high - low) * np.random.default_rng(seed).random((ROWS, COLUMNS))) * (step if is_sum else 1.0)
    if param == "vsw":
        values[: ROWS // 3] = np.nan  # as over the sea
    return values


@functools.cache
def run_files(product: str, run: str, step: int, members: int) -> dict[str, bytes]:
    """Files of a step: path -> content; the index is what ECMWF writes, a line of MARS keys a field."""
    stream, kind = ("enfo", "ef" if product == "ifs" else "pf") if members else ("oper", "fc")
    date, hour = run[:10].replace("-", ""), run[11:13]
    path = f"/{date}/{hour}z/{product}/0p25/{stream}/{date}{hour}0000-{step}h-{stream}-{kind}"
    content, lines = bytearray(), []
    for member in range(1, members + 1) if members else (0,):
        for level, param in (*((0, param) for param in SURFACE), *SOIL):
            if step == 0 and param in ACCUMULATED:
                continue
            message = _message(product, date, int(hour), step, member, level, param)
            line = {
                "domain": "g", "date": date, "time": f"{hour}00", "expver": "0001", "class": "od",
                "type": "pf" if member else "fc", "stream": stream, "step": str(step),
                "levtype": "sol" if level else "sfc",
                **({"number": str(member)} if member else {}), **({"levelist": str(level)} if level else {}),
                "param": param, "_offset": len(content), "_length": len(message),
            }  # fmt: skip
            lines.append(json.dumps(line))
            content += message
    return {f"{path}.grib2": bytes(content), f"{path}.index": "\n".join(lines).encode()}


def _message(product: str, date: str, hour: int, step: int, member: int, level: int, param: str) -> bytes:
    handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
    try:
        settings: dict[str, Any] = {
            "centre": "ecmf",
            "Ni": COLUMNS,
            "Nj": ROWS,
            "latitudeOfFirstGridPointInDegrees": 90.0,
            "latitudeOfLastGridPointInDegrees": -90.0,
            "longitudeOfFirstGridPointInDegrees": 180.0,
            "longitudeOfLastGridPointInDegrees": 180.0 - SPACING,
            "iDirectionIncrementInDegrees": SPACING,
            "jDirectionIncrementInDegrees": SPACING,
            "dataDate": int(date),
            "dataTime": 100 * hour,
        }
        accumulated = param in ACCUMULATED
        if member:
            settings["productDefinitionTemplateNumber"] = 11 if accumulated else 1
        if level:
            settings["typeOfLevel"] = "soilLayer"
        settings["shortName"] = param
        settings |= {"level": level} if level else {}
        settings |= {"stepRange": f"0-{step}"} if accumulated else {"step": step}
        settings |= {"number": member, "numberOfForecastsInEnsemble": 50} if member else {}
        settings |= {"packingType": "grid_ccsds", "bitsPerValue": 16}
        values = field_of(param, level, step, member).ravel()
        if np.isnan(values).any():
            settings |= {"bitmapPresent": 1, "missingValue": 9999.0}
        for key, value in settings.items():
            eccodes.codes_set(handle, key, value)
        eccodes.codes_set_values(handle, np.where(np.isnan(values), 9999.0, values))
        return bytes(eccodes.codes_get_message(handle))
    finally:
        eccodes.codes_release(handle)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_HEAD(self) -> None:
        self._serve("head")

    def do_GET(self) -> None:
        self._serve("index" if self.path.endswith(".index") else "data")

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self, place: str) -> None:
        mirror = self.server.mirror
        with mirror.lock:
            mirror.seen.append(Seen(place, dict(self.headers), self.path))
            fault = next((one for one in mirror.faults.get(place, []) if one.times > 0), Fault())
            fault.times -= 1
        if fault.stall:
            self.server.stopping.wait(fault.stall)
        content = mirror.files.get(self.path)
        status = fault.status or (404 if content is None else 200)
        body = fault.body if fault.body is not None else (content if status == 200 and content is not None else b"no")
        headers = dict(fault.headers)
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked and mirror.ranges and status == 200:
            first, last = int(asked[1]) + mirror.shift, min(int(asked[2]) + mirror.shift, len(body) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
            status, body = 206, body[first : last + 1]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if mirror.lengths:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        if place == "head":
            return
        end = len(body) if fault.cut is None else min(len(body), fault.cut)
        for position in range(0, end, 1 << 14):
            try:
                self.wfile.write(body[position : min(position + (1 << 14), end)])
            except OSError:
                return  # who asked for it is gone
            if fault.pause:
                self.server.stopping.wait(fault.pause)
        if end < len(body) or not mirror.lengths:
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    mirror: Mirror

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stopping = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # connections that end early are part of the tests


@contextmanager
def mirroring() -> Iterator[Mirror]:
    """Run a mirror on a free port of this machine."""
    server = _Server()
    server.mirror = Mirror(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.mirror
    finally:
        server.stopping.set()
        server.shutdown()
        thread.join(10)
        server.server_close()
