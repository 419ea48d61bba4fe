"""A data store on this machine: the part of the Climate Data Store's API that its client speaks, with faults."""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from scipy.io import netcdf_file

KEY = "c0ffee00-1234-5678-9abc-def012345678"

_ROUTES = {
    "messages": r"GET /api/catalogue/v1/messages",
    "key": r"POST /api/profiles/v1/account/verification/pat",
    "collection": r"GET /api/catalogue/v1/collections/(?P<name>[\w-]+)",
    "process": r"GET /api/retrieve/v1/processes/(?P<name>[\w-]+)",
    "submit": r"POST /api/retrieve/v1/processes/(?P<name>[\w-]+)/execution",
    "job": r"GET /api/retrieve/v1/jobs/(?P<job>[\w-]+)",
    "results": r"GET /api/retrieve/v1/jobs/(?P<job>[\w-]+)/results",
    "file": r"GET /cache/(?P<job>[\w-]+)",
}


@dataclass
class Fault:
    """What happens, instead of an answer or to it, at a place of the API.

    Parameters
    ----------
    times
        To so many requests.
    status, title, detail, headers
        Of an error answer.
    body
        Bytes of the answer.
    cut
        The connection ends after so many bytes of a file.
    pause
        Between blocks of 16 KiB of a file [s].
    stall
        Nothing is sent for so long [s].
    """

    times: int = 1
    status: int | None = None
    title: str = ""
    detail: str = ""
    traceback: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut: int | None = None
    pause: float = 0.0
    stall: float = 0.0


@dataclass
class Seen:
    """A request that came."""

    place: str
    headers: dict[str, str]
    content: Any = None


class Store:
    """The store's state; tests change it while it serves.

    Parameters
    ----------
    url
        Where it is.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.seen: list[Seen] = []
        self.jobs: dict[str, tuple[str, dict[str, Any]]] = {}
        self.looks: dict[str, int] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.most_fields = 6000
        self.looks_until_done = 0
        self.held = False
        self.failing: dict[str, str] = {}
        self.end = "2026-11-18T00:00:00Z"
        self.kind = "netcdf"
        self.ranges = True
        self.versions = True
        self.lengths = True
        self.stated_size: int | None = None
        self.stated_checksum: str | None = None
        self.asset_url: str | None = None
        self.lock = threading.Lock()

    def fault(self, place: str, **what: Any) -> None:
        """Let something happen at a place of the API."""
        self.faults.setdefault(place, []).append(Fault(**what))

    def count(self, place: str) -> int:
        """How many requests came to a place."""
        return sum(one.place == place for one in self.seen)

    def content_of(self, job: str) -> bytes:
        """The file of a job: the same for the same request."""
        name, request = self.jobs[job]
        if request.get("data_format") == "grib":
            return b"GRIB" + hashlib.sha256(json.dumps(request).encode()).digest() * 5000 + b"7777"
        content = netcdf_of(name, request)
        if self.kind != "zip":
            return content
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(zipfile.ZipInfo("data_0.nc", (2020, 1, 1, 0, 0, 0)), content)
        return packed.getvalue()


def netcdf_of(name: str, request: dict[str, Any]) -> bytes:
    """Make a NetCDF file of numbers that follow from the request, about 400 kB large."""
    seed = int.from_bytes(hashlib.sha256(json.dumps([name, request]).encode()).digest()[:4], "big")
    stream = io.BytesIO()
    file = netcdf_file(stream, "w")
    file.createDimension("point", 50_000)
    for variable in request["variable"]:
        made = file.createVariable(variable, "f8" if len(request["variable"]) == 1 else "f4", ("point",))
        made[:] = np.random.default_rng(seed).normal(size=50_000)
    file.flush()
    return stream.getvalue()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer on an open connection waits 40 ms for its own headers
    server: _Server

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        store = self.server.store
        length = int(self.headers.get("Content-Length", 0))
        content = json.loads(self.rfile.read(length)) if length else None
        line = f"{self.command} {self.path.partition('?')[0]}"
        place, found = next(
            ((name, match) for name, pattern in _ROUTES.items() if (match := re.fullmatch(pattern, line))), ("", None)
        )
        with store.lock:
            store.seen.append(Seen(place, dict(self.headers), content))
            fault = next((one for one in store.faults.get(place, []) if one.times > 0), None)
            if fault:
                fault.times -= 1
        if found is None:
            self._json(404, {"title": "not found"})
            return
        if fault and fault.stall:
            self.server.stopping.wait(fault.stall)
        if fault and (fault.status is not None or fault.body is not None):
            problem = {"title": fault.title, "detail": fault.detail, "traceback": fault.traceback}
            body = json.dumps({key: value for key, value in problem.items() if value}).encode()
            self._answer(fault.status or 200, fault.body if fault.body is not None else body, fault.headers)
            return
        if place not in ("messages", "file", "collection") and self.headers.get("PRIVATE-TOKEN") != KEY:
            problem = {"title": "operation not allowed", "detail": "authentication required", "status": 401}
            self._json(401, problem | {"instance": f"{store.url}?token={self.headers.get('PRIVATE-TOKEN')}"})
            return
        if place == "file":
            self._file(found["job"], fault or Fault())
            return
        self._json(*getattr(self, f"_{place}")(content=content, **found.groupdict()))

    def _messages(self, content: Any) -> tuple[int, Any]:
        return 200, {"messages": []}

    def _key(self, content: Any) -> tuple[int, Any]:
        return 200, {"id": 1, "sub": "someone"}

    def _collection(self, content: Any, name: str) -> tuple[int, Any]:
        store = self.server.store
        return 200, {"id": name, "extent": {"temporal": {"interval": [["1950-01-01T00:00:00Z", store.end]]}}}

    def _process(self, content: Any, name: str) -> tuple[int, Any]:
        return 200, {"id": name, "links": []}

    def _submit(self, content: Any, name: str) -> tuple[int, Any]:
        store = self.server.store
        request = content["inputs"]
        fields = len(request["variable"]) * len(request["day"]) * len(request.get("time", [0]))
        if fields > store.most_fields:
            return 403, {
                "type": "permission denied",
                "title": "cost limits exceeded",
                "detail": "Your request is too large, please reduce your selection.",
            }
        with store.lock:
            job = f"job-{len(store.jobs) + 1:04d}"
            store.jobs[job] = (name, request)
        return 201, self._status(job, "accepted")

    def _job(self, content: Any, job: str) -> tuple[int, Any]:
        store = self.server.store
        if job not in store.jobs:
            return 404, {"title": "job not found", "detail": f"job {job} not found"}
        with store.lock:
            looks = store.looks[job] = store.looks.get(job, -1) + 1
        if any(variable in store.failing for variable in store.jobs[job][1]["variable"]):
            return 200, self._status(job, "failed")
        done = not store.held and looks >= store.looks_until_done
        return 200, self._status(job, "successful" if done else "running")

    def _results(self, content: Any, job: str) -> tuple[int, Any]:
        store = self.server.store
        for variable in store.jobs[job][1]["variable"]:
            if variable in store.failing:
                return 400, {
                    "type": "job results failed", "title": "The job has failed", "status": 400,
                    "traceback": store.failing[variable],
                }  # fmt: skip
        made = store.content_of(job)
        asset = {
            "type": "application/netcdf",
            "href": store.asset_url or f"{store.url.removesuffix('/api')}/cache/{job}",
            "file:size": len(made) if store.stated_size is None else store.stated_size,
            "file:checksum": store.stated_checksum or hashlib.md5(made).hexdigest(),
            "file:local_path": f"s3://cache/../../etc/{job}.nc",
        }
        return 200, {"asset": {"value": asset}}

    def _status(self, job: str, status: str) -> dict[str, Any]:
        store = self.server.store
        here = f"{store.url}/retrieve/v1/jobs/{job}"
        return {
            "processID": store.jobs[job][0], "type": "process", "jobID": job, "status": status,
            "created": "2026-11-20T00:00:00", "updated": "2026-11-20T00:00:00",
            "links": [{"href": here, "rel": rel, "type": "application/json"} for rel in ("self", "monitor")],
            "metadata": {"log": []},
        }  # fmt: skip

    def _file(self, job: str, fault: Fault) -> None:
        store = self.server.store
        made = store.content_of(job)
        version = f'"{hashlib.md5(made).hexdigest()}"'
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = 0
        if asked and store.ranges and self.headers.get("If-Range", version) == version:
            start = int(asked[1])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(made) - 1}/{len(made)}")
        if store.versions:
            self.send_header("ETag", version)
        if store.lengths:
            self.send_header("Content-Length", str(len(made) - start))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        end = len(made) if fault.cut is None else min(len(made), start + fault.cut)
        for position in range(start, end, 1 << 14):
            try:
                self.wfile.write(made[position : min(position + (1 << 14), end)])
            except OSError:
                return  # who asked for it is gone
            if fault.pause:
                self.server.stopping.wait(fault.pause)
        if end < len(made):
            self.close_connection = True

    def _json(self, status: int, content: Any) -> None:
        self._answer(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    store: Store

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stopping = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # connections that end early are part of the tests


@contextmanager
def serving() -> Iterator[Store]:
    """Run a store on a free port of this machine."""
    server = _Server()
    server.store = Store(f"http://127.0.0.1:{server.server_address[1]}/api")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.store
    finally:
        server.stopping.set()
        server.shutdown()
        thread.join(10)
        server.server_close()


def wait_until(happened: Any, patience: float = 300.0) -> None:
    """Wait for something, looking often."""
    deadline = time.monotonic() + patience
    while not happened():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)
