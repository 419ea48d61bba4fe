"""Forecasts and scores on a real dask cluster of worker processes: the same bits, and every fault as one line."""

from __future__ import annotations

import functools
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster
from typer.testing import CliRunner

from soilcast.cli import app
from soilcast.cluster import work_on_cluster
from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from soilcast.forecasting import forecast
from soilcast.forecasting.produce import _on_worker
from soilcast.forecasting.request import Request
from soilcast.training import load_config, train
from soilcast.verify import blocks, evaluate
from tests.helpers import ROOT
from tests.helpers.cluster_work import die_of, sleep
from tests.helpers.multiday import AHEAD, quick
from tests.helpers.small import small_cube

pytestmark = pytest.mark.slow

QUICK = ["train.epochs=2", "train.validate_every=1", "train.batches_per_epoch=10", "network.hidden_size=8"]
EVALUATE = import_module("soilcast.verify.evaluate")  # by its name, since the package shows the function
PIECES = {number: slice(10 * number, 10 * number + 10) for number in range(6)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube of three groups of cells, two runs and their forecasts, made without a cluster; runs of several days."""
    path = tmp_path_factory.mktemp("cluster")
    save_cube(small_cube(cells=150, days=800), path / "cube")
    for model in ("lstm", "phy-lstm"):
        train(path / "cube", path / f"run-{model}", load_config(settings=QUICK, model=model))
        forecast(path / f"run-{model}", path / "cube", path / model, period="2019-05")
    quick(path / "cube", path / "run-several", "normalise.scope=global", "task.layers=[swvl1,swvl2]")
    quick(path / "cube", path / "run-ahead", AHEAD)
    return path


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that make three pieces of each forecast and of the scores."""
    monkeypatch.setattr("soilcast.forecasting.produce.block_size", lambda *_: 64)
    monkeypatch.setattr(EVALUATE, "block_size", lambda *_: 64)


def values(made: xr.Dataset) -> np.ndarray:
    return made["swvl1"].to_numpy()


def same_scores(one: xr.Dataset, other: xr.Dataset) -> None:
    changing = ("provenance", "history")
    xr.testing.assert_identical(one.drop_attrs(deep=False), other.drop_attrs(deep=False))
    attrs = [{name: text for name, text in made.attrs.items() if name not in changing} for made in (one, other)]
    assert attrs[0] == attrs[1]


def stored(path: Path) -> dict[str, bytes]:
    """The chunks of a store, and what its arrays are."""
    files = [file for file in path.rglob("*") if file.is_file() and file != path / "zarr.json"]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def line(caught: pytest.ExceptionInfo[SoilcastError]) -> str:
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_forecast_has_the_same_bits(folder: Path, tmp_path: Path, address: str, precision: str) -> None:
    made = [
        forecast(
            folder / "run-lstm", folder / "cube", tmp_path / str(dask), period="2019-05", precision=precision, dask=dask
        )
        for dask in (None, address)
    ]
    assert np.isfinite(values(made[0])).all()
    np.testing.assert_array_equal(values(made[0]), values(made[1]))


MULTI_DAY: dict[str, tuple[str, dict[str, Any]]] = {
    "a period, with quantiles": ("run-several", {"period": "2019-05"}),
    "bfloat16": ("run-several", {"period": "2019-05", "precision": "bfloat16"}),
    "an issue day, with products": ("run-several", {"issue": "2020-01-20"}),
    "weather ahead, observed": ("run-ahead", {"issue": "2020-01-20", "weather": "observed"}),
    "the next day, with products": ("run-lstm", {"issue": "2020-01-20"}),
}


@pytest.mark.parametrize("case", MULTI_DAY)
def test_a_multi_day_forecast_is_stored_in_the_same_bytes(
    folder: Path, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    run, options = MULTI_DAY[case]
    if "issue" in options:  # else all cells of one day are a group, and so one block
        monkeypatch.setattr("soilcast.forecasting.block._AT_ONCE", {one: {"cpu": 64} for one in (True, False)})
    alone = forecast(folder / run, folder / "cube", tmp_path / "alone", **options)
    shared = forecast(folder / run, folder / "cube", tmp_path / "shared", **options, dask=address)
    assert np.isfinite(values(alone)).all()
    assert alone["swvl1"].encoding["chunks"][0] == 64
    assert stored(tmp_path / "shared") == stored(tmp_path / "alone")
    changing = ("provenance", "history", "peak_memory_bytes")
    attributes = [{name: one for name, one in made.attrs.items() if name not in changing} for made in (alone, shared)]
    assert attributes[0] == attributes[1]
    assert ("swvl1_quantile" in shared) == (run != "run-lstm")
    assert ("swvl1_percentile" in shared) == ("issue" in options)


def test_gaps_that_a_worker_finds_are_told(folder: Path, tmp_path: Path, address: str) -> None:
    made = small_cube(cells=150, days=800)
    soil = made["swvl1"].to_numpy().copy()
    soil[100, 749] = np.nan
    save_cube(made.assign(swvl1=(("cell", "time"), soil, made["swvl1"].attrs)), tmp_path / "cube")
    told: dict[str, Any] = {"issue": "2020-01-20", "dask": address}
    with pytest.raises(SoilcastError, match=r"1 of \d+ cells from \d+ on have no swvl1 .* on 2020-01-20") as caught:
        forecast(folder / "run-several", tmp_path / "cube", tmp_path / "out", **told)
    line(caught)
    left = forecast(folder / "run-several", tmp_path / "cube", tmp_path / "out", **told, gaps="missing", overwrite=True)
    assert np.flatnonzero(np.isnan(values(left)).any(axis=(1, 2))).tolist() == [100]


def test_scores_have_the_same_bits(folder: Path, tmp_path: Path, address: str) -> None:
    forecasts = [folder / "lstm", folder / "phy-lstm"]
    alone = evaluate(forecasts, folder / "cube", tmp_path / "alone")
    same_scores(evaluate(forecasts, folder / "cube", tmp_path / "shared", dask=address), alone)
    for table in ("table.csv", "cells.csv"):
        assert (tmp_path / "alone" / table).read_bytes() == (tmp_path / "shared" / table).read_bytes()


def test_the_commands_take_the_address(folder: Path, tmp_path: Path, address: str) -> None:
    given = ["--cube", str(folder / "cube"), "--dask", address, "--out"]
    words = ["forecast", str(folder / "run-lstm"), "--period", "2019-05", *given, str(tmp_path / "forecast")]
    assert CliRunner().invoke(app, words).exit_code == 0
    words = ["evaluate", str(tmp_path / "forecast"), *given, str(tmp_path / "scores")]
    assert CliRunner().invoke(app, words).exit_code == 0
    with xr.open_dataset(tmp_path / "scores" / "scores.nc", engine="h5netcdf") as found:
        assert found.attrs["cells_scored"] == 150


def test_paths_may_be_given_from_the_folder_that_one_is_in(
    folder: Path, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    made = forecast("run-lstm", "cube", tmp_path / "forecast", period="2019-05", dask=address)
    np.testing.assert_array_equal(values(made), values(xr.open_zarr(folder / "lstm", consolidated=False)))
    assert evaluate(["lstm"], "cube", tmp_path / "scores", dask=address).attrs["cells_scored"] == 150


def test_workers_do_not_go_on_with_files_that_have_been_replaced(folder: Path, tmp_path: Path, address: str) -> None:
    made = []
    for seed in (1, 2):
        config = load_config(settings=[*QUICK, f"train.seed={seed}"])
        train(folder / "cube", tmp_path / "run", config, overwrite=True)
        there = {"period": "2019-05", "overwrite": True}
        alone = forecast(tmp_path / "run", folder / "cube", tmp_path / "alone", **there)
        shared = forecast(tmp_path / "run", folder / "cube", tmp_path / "shared", **there, dask=address)
        np.testing.assert_array_equal(values(alone), values(shared))
        made.append(values(alone).copy())
    assert not np.array_equal(*made)


def test_workers_do_not_go_on_with_weather_that_has_been_replaced(
    folder: Path, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = []
    for shift in (0.0, 10.0):
        weather_of_cells(tmp_path / "weather.nc", shift)
        there: dict[str, Any] = {"issue": "2020-01-20", "weather": "weather.nc", "overwrite": True}
        alone = forecast(folder / "run-ahead", folder / "cube", tmp_path / "alone", **there)
        shared = forecast(folder / "run-ahead", folder / "cube", tmp_path / "shared", **there, dask=address)
        np.testing.assert_allclose(values(shared), values(alone), rtol=0, atol=1e-6)
        made.append(values(alone).copy())
    assert np.abs(made[0] - made[1]).max() > 1e-5


def weather_of_cells(path: Path, shift: float) -> None:
    """A forecast of the weather of the three days after 2020-01-20, for the cells of the cube."""
    cube = small_cube(cells=150, days=800)
    days = np.arange("2020-01-21", "2020-01-24", dtype="datetime64[D]").astype("datetime64[ns]")
    values = {"t2m": cube["t2m"].sel(time=days).to_numpy() + shift, "tp": cube["tp"].sel(time=days).to_numpy()}
    written = {"t2m": {"units": "K"}, "tp": {"units": "m", "cell_methods": "time: sum"}}
    found = {name: (("cell", "time"), one.astype(np.float32), written[name]) for name, one in values.items()}
    places = {name: ("cell", cube[name].to_numpy()) for name in ("lat", "lon")}
    # Beside, since the former one may be open.
    xr.Dataset(found, {"time": days, **places}).to_netcdf(path.with_name("new.nc"), engine="h5netcdf")
    path.with_name("new.nc").replace(path)


@pytest.mark.parametrize("other", ["run", "cube", "weather"])
def test_a_worker_that_finds_other_files_says_so(folder: Path, tmp_path: Path, other: str) -> None:
    weather_of_cells(tmp_path / "weather.nc", 0.0)
    weather = (str(tmp_path / "weather.nc"),)
    request = Request(str(folder / "run-ahead"), str(folder / "cube"), issue="2020-01-20", weather=weather)
    meant = dict(zip(("run", "cube", "weather"), request.open().file_marks(request), strict=True))
    assert np.isfinite(_on_worker(request, tuple(meant.values()), slice(0, 64))[0]["swvl1"]).all()
    meant |= {other: "of another"}
    with pytest.raises(
        SoilcastError, match=f"{other}.*: a worker sees a different file there: give the workers the same"
    ):
        _on_worker(request, tuple(meant.values()), slice(0, 64))


def test_damage_that_a_worker_finds_is_told(folder: Path, tmp_path: Path, address: str) -> None:
    shutil.copytree(folder / "cube", tmp_path / "cube")
    chunk = tmp_path / "cube" / "tp" / "c" / "0" / "1"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 0x10
    chunk.write_bytes(data)
    with pytest.raises(SoilcastError, match=r"cube: tp cannot be read .* the store is damaged") as caught:
        forecast(folder / "run-lstm", tmp_path / "cube", tmp_path / "forecast", period="2019-05", dask=address)
    line(caught)
    with pytest.raises(SoilcastError, match=r"cube: tp cannot be read .* the store is damaged") as caught:
        evaluate([folder / "lstm"], tmp_path / "cube", tmp_path / "scores", dask=address)
    line(caught)
    assert not (tmp_path / "forecast").exists()
    assert not (tmp_path / "scores").exists()


def _once(marker: Path) -> bool:
    """Whether nobody has asked this before."""
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _score_or_die(case: blocks.Case, cells: slice) -> blocks.BlockScores:
    if cells.start == 64 and _once(case.cube.with_name("died")):
        os.kill(os.getpid(), signal.SIGKILL)
    return blocks.score_on_worker(case, cells)


def test_a_killed_worker_costs_no_scores(
    folder: Path, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = evaluate([folder / "lstm"], folder / "cube", tmp_path / "alone")
    monkeypatch.setattr(EVALUATE, "score_on_worker", _score_or_die)
    same_scores(evaluate([folder / "lstm"], folder / "cube", tmp_path / "shared", dask=address), alone)
    assert (folder / "died").exists()


def test_a_piece_that_kills_every_worker_is_told(address: str) -> None:
    with pytest.raises(SoilcastError, match=r"2 workers failed on the same task.* give them more memory") as caught:
        list(work_on_cluster(address, functools.partial(die_of, 20), PIECES))
    line(caught)


def test_pieces_come_back_with_their_numbers(address: str) -> None:
    assert dict(work_on_cluster(address, functools.partial(die_of, -1), PIECES)) == {n: 10 * n for n in PIECES}
    assert list(work_on_cluster(address, functools.partial(die_of, -1), {})) == []


def test_a_cluster_without_workers_is_told(folder: Path, tmp_path: Path) -> None:
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=":0") as empty,
        pytest.raises(SoilcastError, match="the cluster has no workers: start some with dask worker") as caught,
    ):
        evaluate([folder / "lstm"], folder / "cube", tmp_path / "scores", dask=empty.scheduler_address)
    line(caught)
    assert not (tmp_path / "scores").exists()


def test_an_address_where_no_scheduler_answers_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("soilcast.cluster.ANSWER_SECONDS", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        for listening, said in ((False, "refused"), (True, "not a dask scheduler")):
            if listening:
                silent.listen()
            with pytest.raises(SoilcastError, match=rf"no scheduler responds .*{said}.*: give the address") as caught:
                evaluate([folder / "lstm"], folder / "cube", tmp_path / "scores", dask=f"tcp://127.0.0.1:{port}")
            line(caught)
    with pytest.raises(SoilcastError, match="no scheduler responds"):
        forecast(folder / "run-lstm", folder / "cube", tmp_path / "f", period="2019-05", dask=f"127.0.0.1:{port}")
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize("address", ["", "cluster", "tcp://", "host:port", "http://127.0.0.1:8787", "tcp://[::1:3"])
def test_what_is_no_address_is_told(address: str) -> None:
    with pytest.raises(SoilcastError, match="not the address of a scheduler: write it as tcp://HOST:PORT"):
        list(work_on_cluster(address, functools.partial(die_of, -1), PIECES))


def test_an_encrypted_cluster_needs_a_certificate() -> None:
    with pytest.raises(SoilcastError, match=r"tls://127\.0\.0\.1:1: dask has no certificate for it"):
        list(work_on_cluster("tls://127.0.0.1:1", functools.partial(die_of, -1), PIECES))


@contextmanager
def processes(folder: Path, *, without: str = "") -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A scheduler and one worker that nobody starts again, one of them without soilcast; the address and the former."""
    told = folder / "scheduler.json"
    own = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(told)]

    def started(what: str, *options: str) -> subprocess.Popen[bytes]:
        lacking = what == without
        python = [sys.executable, *(["-S"] if lacking else []), "-m", "dask"]
        path = others(folder) if lacking else ROOT
        environment = {**os.environ, "PYTHONPATH": str(path)}
        return subprocess.Popen([*python, what, *options, *own], env=environment, cwd=folder, stderr=subprocess.DEVNULL)

    scheduler = started("scheduler", "--port", "0")
    worker = started("worker", "--no-nanny", "--nthreads", "1")
    try:
        deadline = time.monotonic() + 60
        while not told.exists() or not told.read_text():
            assert time.monotonic() < deadline, "the scheduler did not start"
            time.sleep(0.05)
        address = str(json.loads(told.read_text())["address"])
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=60)
        yield address, scheduler
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()


def others(folder: Path) -> Path:
    """All that is installed but soilcast."""
    (folder / "others").mkdir()
    for found in Path(sysconfig.get_path("purelib")).iterdir():
        if "soilcast" not in found.name:
            (folder / "others" / found.name).symlink_to(found)
    return folder / "others"


@pytest.mark.parametrize("without", ["scheduler", "worker"])
def test_a_cluster_without_soilcast_is_told(tmp_path: Path, without: str) -> None:
    with (
        processes(tmp_path, without=without) as (address, _),
        pytest.raises(SoilcastError, match=rf"its {without}.* has no soilcast: install soilcast .* there") as caught,
    ):
        list(work_on_cluster(address, sleep, PIECES))
    line(caught)


def test_a_cluster_whose_workers_are_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soilcast.cluster.RETURN_SECONDS", 0.0)
    monkeypatch.setattr("soilcast.cluster._POLL_SECONDS", 0.2)
    with (
        processes(tmp_path) as (address, _),
        pytest.raises(SoilcastError, match="all workers were lost: see their logs") as caught,
    ):
        list(work_on_cluster(address, functools.partial(die_of, 10), PIECES))
    line(caught)


def test_a_scheduler_that_is_lost_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("soilcast.cluster.ANSWER_SECONDS", 2.0)
    with processes(tmp_path) as (address, scheduler):
        results = work_on_cluster(address, sleep, PIECES)
        assert next(results) == (0, None)
        scheduler.kill()
        with pytest.raises(SoilcastError, match="the connection to the scheduler was lost") as caught:
            list(results)
    line(caught)
    assert not [said for said in caplog.records if said.name == "distributed.client" and said.levelno > logging.INFO]
