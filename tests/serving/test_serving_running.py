"""The command: what it says as it starts, what it refuses in a line, and that it ends when it is told to."""

from __future__ import annotations

import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

import soilcast
from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from soilcast.stops import STOPPED
from tests.helpers.scores_factory import make_scores, save_scores
from tests.helpers.serving import issue, server
from tests.helpers.small import few
from tests.test_commands import refusal

GENEROUS = 5.0
"""Seconds within which a process is gone that takes a tenth of it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("running")
    issue(path / "forecasts", "2020-05-03", cells=30)
    save_cube(few(), path / "cube")
    save_scores(make_scores(cells=10, leads=3), path / "scores")
    (path / "empty").mkdir()
    (path / "token").write_text("a-token-of-some-length")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_soon_after_it_is_told_to(folder: Path, number: signal.Signals) -> None:
    with server(folder) as (address, process):
        # Connections that stay open, and one that is in the midst of a request, do not keep it.
        with httpx.Client(base_url=address) as http, socket.create_connection(_place(address)) as half:
            assert http.get("/health").status_code == 200
            half.sendall(b"GET /health HTTP/1.1\r\nHost: loc")
            told = time.monotonic()
            process.send_signal(number)
            code = process.wait()
        assert time.monotonic() - told < GENEROUS
        assert code == STOPPED
    assert process.printed("stderr") == "soilcast: stopped\n"


@pytest.mark.slow
def test_it_ends_while_it_is_asked(folder: Path) -> None:
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=address) as http:
            while not stop.is_set():
                try:
                    http.get("/tiles/lstm/2020-05-03/swvl1/2/1/1.png")
                except httpx.HTTPError:
                    return

    with server(folder) as (address, process):
        clients = [threading.Thread(target=ask) for _ in range(4)]
        for one in clients:
            one.start()
        told = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait() == STOPPED
        assert time.monotonic() - told < GENEROUS
        stop.set()
        for one in clients:
            one.join(60)
    assert "Traceback" not in process.printed("stderr")


def _place(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("http://").rpartition(":")
    return host, int(port)


@pytest.mark.slow
def test_it_says_what_is_used(folder: Path) -> None:
    with server(folder) as (address, process):
        assert httpx.get(f"{address}/health").json()["newest_issue"] == "2020-05-03"
        said = process.printed("stdout").splitlines()
    assert said == [
        "lstm: 1 issue day(s), 2020-05-03 to 2020-05-03; 30 cells",
        f"cube: {folder / 'cube'}",
        f"scores: {folder / 'scores'}",
        f"{address}/ - Ctrl-C ends it",
    ]


@pytest.mark.slow
def test_two_cubes_are_none(folder: Path, tmp_path: Path) -> None:
    issue(tmp_path, "2020-05-03", cells=30)
    for name in ("one", "two"):
        save_cube(few(), tmp_path / name)
    with server(tmp_path) as (address, process):
        assert not httpx.get(f"{address}/map/catalogue").json()["collections"][0]["has_climate"]
        assert "2 cube lie there" in process.printed("stdout")
        assert "choose with --cube" in process.printed("stdout")


@pytest.mark.slow
def test_others_reach_it_with_the_token_alone(folder: Path) -> None:
    with server(folder, "--host", "0.0.0.0", "--token-file", folder / "token", "--log-requests") as (address, process):
        there = address.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{there}/edr").status_code == 401
        token = {"Authorization": "Bearer a-token-of-some-length"}
        assert httpx.get(f"{there}/edr", headers=token).status_code == 200
        assert "GET /edr 401" in process.printed("stdout")
    assert "a-token" not in process.printed("stdout")


@pytest.mark.slow
def test_a_port_that_is_taken_is_told(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SoilcastError, match=f"--port {port}: cannot listen there"):
            soilcast.serve(folder, port=port, log=lambda line: None)


REFUSED = {
    "{empty} ": "no forecast: give one, or a folder of them",
    "{folder}/cube": "no forecast",
    "{folder}/none": "none: no such file or folder",
    "{folder} --host 0.0.0.0": "--host 0.0.0.0: others than this machine could reach it: give a token",
    "{folder} --host :: --port 0": "--host ::: others than this machine could reach it",
    "{folder} --host example.invalid --token-file {folder}/token": "cannot listen there",
    "{folder} --cube {folder}/scores": "cannot be read as a cube",
    "{folder} --cube {folder}/none": "no such cube",
    "{folder} --scores {folder}/cube": "scores",
    "{folder} --stations {folder}/none": "no such cube",
    "{folder} --run {folder}/cube": "not a run",
    "{folder} --token-file {folder}/none": "cannot be read",
    "{folder} --url nowhere": "--url nowhere: no address",
    "{folder} --cors nowhere": "--cors nowhere: no origin",
    "{folder} --cache much": "--cache much: not an amount of memory",
}


@pytest.mark.slow
@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_served_is_refused_in_a_line(words: str, folder: Path) -> None:
    given = words.format(folder=folder, empty=folder / "empty")
    assert REFUSED[words] in refusal("serve", *given.split())
