"""Runs of an experiment trained on a real dask cluster: the weights of one machine, whatever dies or is stopped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from distributed import Client, LocalCluster
from safetensors.numpy import load_file

from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from soilcast.training import Config, load_config, open_run
from soilcast.training.jobs import train_runs
from tests.helpers.forks import start_command
from tests.helpers.small import small_cube
from tests.test_commands import refusal

pytestmark = pytest.mark.slow

QUICK = ["train.epochs=3", "train.validate_every=1", "train.batches_per_epoch=10", "network.hidden_size=8"]
LONG = [*QUICK[1:], "train.epochs=120", "train.batches_per_epoch=200", "train.patience=1000"]


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cube") / "cube"
    save_cube(small_cube(cells=40, days=800), path)
    return path


def plans(folder: Path, settings: list[str], count: int = 3) -> dict[Path, Config]:
    made = {}
    for seed in range(count):
        model = ("lstm", "phy-lstm")[seed % 2]
        made[folder / f"run-{seed}"] = load_config(settings=[*settings, f"train.seed={seed}"], model=model)
    return made


def same_weights(found: Path, wanted: Path) -> None:
    mine, theirs = (load_file(path / "weights.safetensors") for path in (found, wanted))
    assert mine.keys() == theirs.keys()
    assert all((mine[name] == theirs[name]).all() for name in mine)


def until(happened: Callable[[], bool], seconds: float = 600.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_weights_are_those_of_processes_on_one_machine(cube: Path, tmp_path: Path, address: str) -> None:
    ended: list[str] = []
    found = train_runs(
        cube, plans(tmp_path / "cluster", QUICK), dask=address, ended=lambda out, outcome: ended.append(out.name)
    )
    train_runs(cube, plans(tmp_path / "here", QUICK), jobs=2)
    assert sorted(ended) == ["run-0", "run-1", "run-2"]
    for out in found:
        same_weights(out, tmp_path / "here" / out.name)
    assert sorted(one.name for one in (tmp_path / "cluster").iterdir()) == ["run-0", "run-1", "run-2"]


def test_a_run_that_fails_is_told_and_takes_no_other_along(cube: Path, tmp_path: Path, address: str) -> None:
    runs = plans(tmp_path, QUICK, 2)
    first, second = runs
    runs[first] = load_config(settings=[*QUICK, "split.test=2031"], model="lstm")
    found = train_runs(cube, runs, dask=address)
    assert isinstance(found[first], SoilcastError)
    assert "2031" in str(found[first])
    assert open_run(second).record["status"] == "finished"


def test_a_run_whose_worker_dies_goes_on_on_another(
    cube: Path, tmp_path: Path, address: str, cluster: LocalCluster
) -> None:
    import threading

    killed: list[int] = []

    def kill() -> None:
        until(lambda: bool(list(tmp_path.glob("cluster/*.unfinished/checkpoint*"))))
        with Client(address, set_as_default=False) as client:
            processing = {name: tasks for name, tasks in client.processing().items() if tasks}
            pids = client.run(os.getpid)
            killed.append(pids[next(iter(processing))])
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    found = train_runs(cube, plans(tmp_path / "cluster", LONG, 1), dask=address)
    thread.join()
    assert killed
    train_runs(cube, plans(tmp_path / "here", [*LONG, "train.threads=1"], 1))
    (out,) = found
    assert not isinstance(found[out], SoilcastError)
    same_weights(out, tmp_path / "here" / out.name)


def test_a_stopped_command_leaves_checkpoints_and_no_work(cube: Path, tmp_path: Path, address: str) -> None:
    experiment = tmp_path / "experiment.yaml"
    experiment.write_text(
        "about: a test\nsource: planet\noptions: {resolution: 8, years: '2018:2019'}\nmodels: [lstm, phy-lstm]\n"
        "config:\n  train: {epochs: 300, validate_every: 1, batches_per_epoch: 200, patience: 1000}\n"
        "  network: {hidden_size: 8}\n"
    )
    out = tmp_path / "out"
    words = ("compare", experiment, "--out", out, "--dask", address)
    process = start_command(*words)
    until(lambda: process.poll() is not None or len(list(out.glob("runs/*.unfinished/checkpoint*"))) == 2)
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    with Client(address, set_as_default=False) as client:
        until(lambda: not any(client.processing().values()))

    def logs() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in out.glob("runs/*.unfinished/log.jsonl")}

    def rest() -> bool:  # an epoch that had begun may end
        before = logs()
        time.sleep(1)
        return logs() == before

    until(rest)  # fails if the workers go on though nobody waits: what they finish is no longer there
    assert len(logs()) == 2


def test_what_cannot_be_asked_for_together_is_refused(cube: Path, tmp_path: Path) -> None:
    told = refusal("compare", "demo", "--out", tmp_path / "out", "--jobs", "2", "--dask", "tcp://127.0.0.1:9")
    assert "--jobs and --dask: runs are trained here or on a cluster: give one of the two" in told
