"""Whatever ends a training, --resume goes on from there and ends with the very bits of one that was never stopped."""

from __future__ import annotations

import json
import pickle
import shutil
import signal
import sys
import time
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from soilcast.cube import open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.models import NETWORKS, NetworkDesign
from soilcast.models.native import VARIABLE, engine_name
from soilcast.provenance import versions
from soilcast.training import load_config, open_run, train
from soilcast.training.build import build_loss, build_networks
from soilcast.training.checkpoint import CHECKPOINT, Checkpoint, Checkpoints
from soilcast.training.config import Config
from soilcast.training.dataset import make_dataset
from soilcast.training.devices import Ranks
from soilcast.training.learner import Learner
from soilcast.training.loop import Training, train_networks
from soilcast.training.samples import SAMPLERS, fixed_sample
from soilcast.training.split import split_days
from tests.helpers.forks import Death, ends, wait_until
from tests.helpers.networks import register_gru
from tests.helpers.processes import (
    ALWAYS,
    Job,
    bits,
    command,
    epochs,
    finish,
    fork,
    fork_command,
    leave_unfinished,
    stop_at,
)
from tests.helpers.small import small_cube

QUICK = ("train.validate_every=2", "train.batches_per_epoch=10", "train.batch_size=16", "network.hidden_size=8")
RESUME = {"resume": True}


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("resume") / "cube"
    save_cube(small_cube(cells=10, days=800), path)
    return path


def config(*changes: str, model: str = "phys-lstm") -> Config:
    return load_config(settings=["train.threads=1", "train.epochs=6", *QUICK, *changes], model=model)


def assert_is(out: Path, expected: Path) -> None:
    """The run ``out``, alone in its folder, is the run ``expected``."""
    assert bits(out) == bits(expected)
    assert epochs(out) == epochs(expected)
    assert open_run(out).record["status"] == open_run(expected).record["status"]
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def kill_at_random(cube: Path, folder: Path, kills: int) -> None:
    """Kill trainings at random moments, start-up and the writing of checkpoints and of the run included."""
    random = np.random.default_rng(kills)
    settings = ("train.epochs=150", *QUICK)
    expected = Job(cube, folder / "expected" / "run", settings)
    finish(expected)
    killed = number = 0
    while killed < kills:
        number += 1
        samples = folder / f"samples-{number}"
        out = folder / str(number) / "run"
        # Every other run maps its samples from files, which it can be killed in the making of.
        options = RESUME | ({"samples": samples} if number % 2 else {})
        job = Job(cube, out, settings, options=options, patches=ALWAYS)
        out.parent.mkdir()
        while not out.exists() and killed < kills:
            process = fork(job)
            wait_for_a_moment(random, job, process)
            process.kill()
            code = ends(process)
            assert code in (0, -signal.SIGKILL)
            killed += code != 0
        finish(job)
        assert_is(out, expected.out)
        assert not list(samples.glob(".*.partial"))


def wait_for_a_moment(random: np.random.Generator, job: Job, process: BaseProcess) -> None:
    """Wait for any moment, or for the next one in which something is written."""
    if random.random() < 0.5:
        time.sleep(random.uniform(0.0, 1.0))
        return
    after = time.monotonic() + random.uniform(0.0, 1.0)
    wait_until(lambda: not process.is_alive() or (time.monotonic() > after and is_writing(job)))


def is_writing(job: Job) -> bool:
    """Whether a checkpoint or the run is being written just now."""
    return (job.place / f".{CHECKPOINT}.partial").exists() or any(job.out.parent.glob(".run.partial-*"))


@pytest.mark.slow
def test_a_training_that_is_killed_again_and_again_ends_with_the_same_bits(cube: Path, tmp_path: Path) -> None:
    kill_at_random(cube, tmp_path, kills=8)


def die_and_go_on(cube: Path, folder: Path, death: Death, *, mapped: bool = False) -> int | None:
    """Let a training die at a change of the file system, and go on; give the exit code of its first life."""
    settings = ("train.epochs=3", *QUICK)
    expected = folder / "expected" / "run"
    if not expected.exists():
        finish(Job(cube, expected, settings))
    place = folder / f"{death.change}-{death.written}-{mapped}"
    options = RESUME | ({"samples": place / "samples"} if mapped else {})
    job = Job(cube, place / "runs" / "run", settings, options=options, patches=ALWAYS)
    job.out.parent.mkdir(parents=True)
    code = ends(fork(job, death))
    finish(job)
    assert_is(job.out, expected)
    assert not list(place.glob("samples/.*.partial"))
    return code


@pytest.mark.slow
@pytest.mark.parametrize(("mapped", "step", "least"), [(False, 3, 20), (True, 23, 100)])
def test_a_training_that_is_killed_at_any_change_of_its_files_goes_on(
    cube: Path, tmp_path: Path, mapped: bool, step: int, least: int
) -> None:
    for change in count(1, step):
        code = die_and_go_on(cube, tmp_path, Death(change), mapped=mapped)
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert change > least


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "written"), [(4, 0), (6, 100), pytest.param(9, 9_000, marks=pytest.mark.slow), (12, 4_000)]
)
def test_a_training_that_dies_in_the_midst_of_a_write_goes_on(
    cube: Path, tmp_path: Path, change: int, written: int
) -> None:
    assert die_and_go_on(cube, tmp_path, Death(change, written)) == -signal.SIGXFSZ


@pytest.mark.slow
def test_ctrl_c_writes_the_run_and_keeps_what_is_gone_on_from(cube: Path, tmp_path: Path) -> None:
    settings = ("train.epochs=400", *QUICK)
    expected = Job(cube, tmp_path / "a" / "run", settings)
    job = Job(cube, tmp_path / "b" / "run", settings, options=RESUME)
    process = fork_command(job)
    wait_until(lambda: process.poll() is not None or job.epochs_logged() > 5)
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1] == "soilcast: stopped\n"
    assert process.returncode == 130
    interrupted = open_run(job.out).record
    assert interrupted["status"] == "interrupted"
    assert 5 < interrupted["epochs"] < 400
    assert sorted(path.name for path in job.out.parent.iterdir()) == ["run", "run.unfinished"]
    finish(expected, job)
    assert_is(job.out, expected.out)


@pytest.mark.slow
def test_the_command_that_is_killed_goes_on(cube: Path, tmp_path: Path) -> None:
    settings = ("train.epochs=400", *QUICK)
    expected, job = Job(cube, tmp_path / "a" / "run", settings), Job(cube, tmp_path / "b" / "run", settings)
    for number in range(3):
        before = job.epochs_logged()
        process = fork_command(job, "--resume")
        wait_until(lambda: process.poll() is not None or job.epochs_logged() > before + 9 * number)  # noqa: B023 (at once)
        process.kill()
        process.wait()
    process = command(job, "--resume")
    assert process.communicate()[1] == ""
    assert process.returncode == 0
    finish(expected)
    assert_is(job.out, expected.out)


@pytest.fixture(scope="module")
def unfinished(cube: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unfinished")
    leave_unfinished(cube, folder / "run", config())
    return folder


@pytest.fixture
def out(unfinished: Path, tmp_path: Path) -> Path:
    """A run that was interrupted, with its checkpoint."""
    shutil.copytree(unfinished, tmp_path / "runs")
    return tmp_path / "runs" / "run"


def test_an_unfinished_training_is_gone_on_with_or_started_anew_as_is_asked(cube: Path, out: Path) -> None:
    train(cube, out.with_name("expected"), config())
    with pytest.raises(SoilcastError, match="run exists already"):
        train(cube, out, config())
    shutil.rmtree(out)
    with pytest.raises(
        SoilcastError, match=r"unfinished run for .*: continue with --resume, or start over with --overwr"
    ):
        train(cube, out, config())
    shutil.copytree(out.with_name("run.unfinished"), out.with_name("other.unfinished"))
    train(cube, out, config(), resume=True)
    train(cube, out.with_name("other"), config(), overwrite=True)
    assert bits(out) == bits(out.with_name("expected")) == bits(out.with_name("other"))
    assert sorted(path.name for path in out.parent.iterdir()) == ["expected", "other", "run"]


def test_a_finished_run_is_left_as_it_is(cube: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(cube, out, config(), resume=True)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    stop_at(monkeypatch, 1, AssertionError)
    assert train(cube, out, config(), resume=True).record["status"] == "finished"
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    with pytest.raises(SoilcastError, match=r"run is a run of train\.seed 0: give another --out, or --overwrite"):
        train(cube, out, config("train.seed=1"), resume=True)
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_an_interrupted_run_without_its_checkpoint_is_not_taken_for_finished(cube: Path, out: Path) -> None:
    shutil.rmtree(out.with_name("run.unfinished"))
    with pytest.raises(SoilcastError, match=r"unfinished run \(interrupted\) without a checkpoint.*--overwrite"):
        train(cube, out, config(), resume=True)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (("train.learning_rate=0.01",), "train.learning_rate 0.001, but this training of 0.01"),
        (("train.epochs=7",), "train.epochs 6, but this training of 7"),
        (("loss.weights=[0.2,0.8]",), "loss.weights [0.1, 0.9], but this training of [0.2, 0.8]"),
        (("train.threads=2",), "threads 1, but this training of 2"),
        (("model=phy-lstm",), 'label "PHYs-LSTM", but this training of "PHY-LSTM"'),
    ],
)
def test_a_checkpoint_of_another_config_is_refused(cube: Path, out: Path, changes: tuple[str, ...], named: str) -> None:
    chosen = config(*changes, model="phy-lstm" if "model=phy-lstm" in changes else "phys-lstm")
    kept = (out.with_name("run.unfinished") / CHECKPOINT).read_bytes()
    with pytest.raises(SoilcastError) as caught:
        train(cube, out, chosen, resume=True)
    assert f"is of {named}: resume with the same inputs, or start over with --overwrite" in str(caught.value)
    assert (out.with_name("run.unfinished") / CHECKPOINT).read_bytes() == kept


def test_a_checkpoint_of_another_device_is_refused(cube: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A device that torch has everywhere stands in for a GPU.
    monkeypatch.setattr(sys.modules["soilcast.training.produce"], "choose_device", lambda wanted: torch.device("meta"))
    with pytest.raises(SoilcastError, match='is of device "cpu", but this training of "meta"'):
        train(cube, out, config(), resume=True)


def test_a_checkpoint_of_another_instruction_set_is_refused(
    cube: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = engine_name()
    other = "torch" if there == "portable" else "portable"
    monkeypatch.setenv(VARIABLE, other)
    with pytest.raises(SoilcastError, match=f'is of engine "{there}", but this training of "{other}"'):
        train(cube, out, config(), resume=True)


@pytest.mark.parametrize("package", ["soilcast", "torch", "numpy"])
def test_a_checkpoint_of_another_version_is_refused(
    cube: Path, out: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["soilcast.training.produce"], "versions", lambda: versions() | {package: "99.0"})
    with pytest.raises(SoilcastError, match=rf'is of version of {package} ".*", but this training of "99\.0"'):
        train(cube, out, config(), resume=True)


IDENTITY = {"cube": "0" * 64, "train.epochs": 6}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkpoints = Checkpoints(tmp_path_factory.mktemp("checkpoint"), IDENTITY)
    tensors = {"learner.weights": torch.arange(40.0), "learner.step": torch.tensor(3.0)}
    checkpoints.write(Checkpoint(tensors, {"members": [], "log": [{"epoch": 1, "train_loss": 0.5}]}))
    return checkpoints.path


def assert_refused(folder: Path, content: bytes) -> None:
    (folder / CHECKPOINT).write_bytes(content)
    with pytest.raises(SoilcastError, match=r"^[^\n]*cannot be resumed \(.*\): start over with --overwrite$"):
        Checkpoints(folder, IDENTITY).read()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_flipped_bit_and_any_missing_byte_of_a_checkpoint_is_refused(checkpoint: Path, data: st.DataObject) -> None:
    content = checkpoint.read_bytes()
    place = checkpoint.parent / "damaged"
    place.mkdir(exist_ok=True)
    at = data.draw(st.integers(0, len(content) - 1))
    assert_refused(place, content[:at] + bytes([content[at] ^ 1 << data.draw(st.integers(0, 7))]) + content[at + 1 :])
    assert_refused(place, content[:at])


def test_a_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path, IDENTITY).read() is None
    save_file({"weights": torch.zeros(3)}, tmp_path / "other.safetensors")
    entry = json.dumps({"sha256": "", "content": 5})
    save_file({"weights": torch.zeros(3)}, tmp_path / "odd.safetensors", {"soilcast_checkpoint": entry})
    for content in (
        pickle.dumps({"weights": [0.0]}),
        b"",
        b"\xff" * 64,
        (tmp_path / "other.safetensors").read_bytes(),
        (tmp_path / "odd.safetensors").read_bytes(),
    ):
        assert_refused(tmp_path, content)


def test_a_checkpoint_of_another_cube_is_refused_and_named(cube: Path, out: Path, tmp_path: Path) -> None:
    save_cube(small_cube(cells=10, days=800, seed=1), tmp_path / "other")
    with pytest.raises(SoilcastError, match=r"is of cube [0-9a-f]{12}\.\.\., but this training of [0-9a-f]{12}\."):
        train(tmp_path / "other", out, config(), resume=True)


@pytest.mark.slow
def test_an_ensemble_goes_on_and_its_members_are_those_trained_alone(cube: Path, tmp_path: Path) -> None:
    chosen = config("train.ensemble=3", "train.seed=5")
    together = train(cube, tmp_path / "expected", chosen)
    leave_unfinished(cube, tmp_path / "run", chosen)
    train(cube, tmp_path / "run", chosen, resume=True)
    assert bits(tmp_path / "run") == bits(tmp_path / "expected")
    for member in range(3):
        alone = train(cube, tmp_path / str(member), config(f"train.seed={5 + member}"))
        for name, value in alone.networks[0].state_dict().items():
            torch.testing.assert_close(together.networks[member].state_dict()[name], value, atol=1e-5, rtol=1e-4)


LAGS = ("task.lead_days=2", "task.lags=[swvl1]", "task.static=[]", "network.masked_lags=0.3", "head.predict=change")


def build_dropping_gru(design: NetworkDesign) -> nn.Module:
    """Build a trunk that drops by itself, from the random state of torch."""
    return nn.GRU(design.layout.features, design.hidden_size, num_layers=2, dropout=0.3, batch_first=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "more"), [("phys-lstm", ()), ("phys-gru", ()), ("phys-lstm", LAGS)], ids=["phys-lstm", "phys-gru", "lags"]
)
@pytest.mark.parametrize("sampling", SAMPLERS)
@pytest.mark.parametrize("patience", [1, 99])
def test_from_the_end_of_any_epoch_a_training_ends_the_same(
    cube: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    more: tuple[str, ...],
    sampling: str,
    patience: int,
) -> None:
    register_gru(monkeypatch)
    monkeypatch.setitem(NETWORKS, "gru", build_dropping_gru)
    changes = ("train.epochs=9", "train.validate_every=1", "train.ensemble=2", "train.learning_rate=0.3", *more)
    chosen = config(*changes, f"train.sampling={sampling}", f"train.patience={patience}", model=model)
    opened = open_cube(cube)
    dataset = make_dataset(opened, chosen, split_days(opened["time"].to_numpy(), chosen.split, "cube"), None)
    validation = fixed_sample(dataset.validation, 500, 0)

    def run(start: Checkpoint | None) -> tuple[Training, Tensor, list[Checkpoint]]:
        learner = Learner(build_networks(chosen), build_loss(chosen), chosen.train, Ranks())
        points: list[Checkpoint] = []
        trained = train_networks(
            learner, dataset.samples, dataset.training, validation, chosen.train,
            lambda training, point: points.append(point), network=chosen.network, start=start,
        )  # fmt: skip
        return trained, learner.members.weights, points

    expected, last, points = run(None)
    assert expected.status == ("stopped early" if patience == 1 else "finished")
    checkpoints = Checkpoints(tmp_path, IDENTITY)
    for point in points:
        checkpoints.write(point)
        trained, weights, _ = run(checkpoints.read())
        assert torch.equal(weights, last)
        assert trained.weights.keys() == expected.weights.keys()
        assert all(torch.equal(value, expected.weights[name]) for name, value in trained.weights.items())
        assert (trained.status, trained.members) == (expected.status, expected.members)


def test_masked_lags_depend_on_the_seed_and_the_epoch(cube: Path, tmp_path: Path) -> None:
    losses = {}
    for name, changes in (("a", LAGS), ("b", LAGS), ("c", (*LAGS[:3], LAGS[4]))):
        run = train(cube, tmp_path / name, config("train.epochs=2", *changes))
        losses[name] = [line["train_loss"] for line in run.log]
    assert losses["a"] == losses["b"]
    assert losses["a"] != losses["c"]
