"""What goes wrong while a network is trained is told in one line, and what was trained until then stays."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from soilcast.cube import open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.models import NETWORKS, NetworkDesign
from soilcast.models.trunks import build_lstm
from soilcast.training import Run, load_config, open_run, train
from soilcast.training.checkpoint import CHECKPOINT
from soilcast.training.config import Config
from tests.helpers.forks import ends, wait_until
from tests.helpers.processes import Job, bits, fork, fork_command, leave_unfinished
from tests.helpers.small import small_cube

QUICK = ("train.epochs=6", "train.validate_every=2", "train.batches_per_epoch=10", "network.hidden_size=8")
ENDLESS = ("train.epochs=100000", "train.patience=100000")


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faults") / "cube"
    save_cube(small_cube(cells=10, days=800), path)
    return path


def config(*changes: str, model: str = "lstm") -> Config:
    return load_config(settings=["train.threads=1", *QUICK, *changes], model=model)


class Turning(nn.Module):
    """A trunk whose states are no numbers from a certain call in training on."""

    def __init__(self, design: NetworkDesign, calls: int) -> None:
        super().__init__()
        self.lstm, self._left = build_lstm(design), calls

    def forward(self, inputs: Tensor) -> tuple[Tensor, object]:
        self._left -= self.training
        states, memory = self.lstm(inputs)
        return states * (float("nan") if self.training and self._left < 0 else 1.0), memory


def turn(patch: pytest.MonkeyPatch, calls: int) -> None:
    patch.setitem(NETWORKS, "lstm", lambda design: Turning(design, calls))


@pytest.mark.slow
@pytest.mark.parametrize(("changes", "member"), [((), 1), (("train.ensemble=2",), 2)])
def test_a_batch_that_diverges_is_named_and_the_best_weights_are_kept(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: tuple[str, ...], member: int
) -> None:
    chosen = config("network.dropout=0", *changes)
    expected = train(cube, tmp_path / "expected", chosen)
    turn(monkeypatch, 37)  # of 10 an epoch
    with pytest.raises(SoilcastError) as caught:
        train(cube, tmp_path / "run", chosen)
    text = str(caught.value)
    assert text.startswith("training diverged in epoch 4, batch 8 (")
    assert f"and {64 * member - 3} more): lower train.learning_rate; " in text
    assert text.endswith(f"the best weights until then are kept in {tmp_path / 'run'}")
    _assert_cell_days(text, cube)
    run = open_run(tmp_path / "run")
    assert run.record["status"] == "diverged in epoch 4"
    assert (run.record["epochs"], run.record["best_epoch"]) == (3, 2)
    assert run.log[1]["validation_loss"] == pytest.approx(expected.log[1]["validation_loss"], rel=1e-3)
    assert all(torch.isfinite(value).all() for network in run.networks for value in network.state_dict().values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["expected", "run"]
    with pytest.raises(SoilcastError, match=r"unfinished run \(diverged in epoch 4\) without a checkpoint"):
        train(cube, tmp_path / "run", chosen, resume=True)


def _assert_cell_days(text: str, cube: Path) -> None:
    """Every cell and day that a text names is one of the cube, from the training period."""
    opened = open_cube(cube)
    places = {
        f"{abs(lat):g}{'N' if lat >= 0 else 'S'} {abs(lon):g}{'E' if lon >= 0 else 'W'}"
        for lat, lon in zip(opened["lat"].to_numpy(), opened["lon"].to_numpy(), strict=True)
    }
    named = text[text.index("(") + 1 : text.index(" and ")].split(", ")
    assert len(named) == 3
    for one in named:
        place, _, day = one.partition(" on ")
        assert place in places
        assert np.datetime64("2018-01-08") <= np.datetime64(day) < np.datetime64("2018-11-23")


def test_a_cell_with_a_name_is_named_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_cube(small_cube(cells=10, days=800, grid=False), tmp_path / "cube")
    turn(monkeypatch, 15)
    with pytest.raises(
        SoilcastError, match=r"epoch 2, batch 6 \(place-00\d on 2018-\d\d-\d\d, place-00\d on .*\): lower"
    ):
        train(tmp_path / "cube", tmp_path / "run", config())
    # It had not been validated yet: what it had come to in the first epoch is kept.
    assert open_run(tmp_path / "run").record["best_epoch"] == 1


@pytest.mark.parametrize("calls", [0, 9])
def test_what_diverges_in_the_first_epoch_leaves_nothing(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    turn(monkeypatch, calls)
    with pytest.raises(SoilcastError, match=rf"epoch 1, batch {calls + 1} \(.*\): lower train\.learning_rate$"):
        train(cube, tmp_path / "run", config())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_command_tells_of_divergence_in_one_line(cube: Path, tmp_path: Path) -> None:
    job = Job(cube, tmp_path / "run", (*QUICK, "train.learning_rate=1e38"), "phy-lstm")
    process = fork_command(job)
    _, told = process.communicate()
    assert process.returncode == 2
    assert told.startswith("soilcast: training diverged in epoch 1, batch ")
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB, or where only an administrator may mount one, as in many containers, a folder."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        yield place
        return
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextmanager
def full(disk: Path, room: int) -> Iterator[None]:
    """Leave this much room [bytes] on the disk; in a folder that is no disk, to every single file."""
    if disk.is_mount():
        ballast = disk / "ballast"
        state = os.statvfs(disk)
        ballast.write_bytes(bytes(state.f_bavail * state.f_frsize - room))
        yield
        ballast.unlink()
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))  # Python ignores the signal, and the write fails
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 100 * 2**10])  # not even the log fits; half a checkpoint does
def test_on_a_full_disk_the_last_checkpoint_stands(cube: Path, tmp_path: Path, disk: Path, room: int) -> None:
    chosen, out = config("network.hidden_size=64"), disk / "run"
    train(cube, tmp_path / "expected", chosen)
    leave_unfinished(cube, out, chosen)
    checkpoint = disk / "run.unfinished" / CHECKPOINT
    kept = checkpoint.read_bytes()
    assert 2 * room < len(kept)
    with full(disk, room), pytest.raises(SoilcastError) as caught:
        train(cube, out, chosen, resume=True)
    assert str(caught.value).startswith(f"no space left on the disk of {out} (")
    assert str(caught.value).endswith("): the last checkpoint is kept; free some space and continue with --resume")
    assert checkpoint.read_bytes() == kept
    assert not [*disk.glob("**/*partial*")]
    train(cube, out, chosen, resume=True)
    assert bits(out) == bits(tmp_path / "expected")
    assert [path.name for path in disk.iterdir()] == ["run"]


@pytest.mark.parametrize("room", [0, 64 * 2**10])
def test_samples_that_do_not_fit_on_the_disk_are_told_of(cube: Path, disk: Path, room: int) -> None:
    with full(disk, room), pytest.raises(SoilcastError, match=r"no space left on the disk of .*free some space"):
        train(cube, disk / "run", config(), samples=disk / "samples")
    assert not [*disk.rglob("*.npy")]
    assert not (disk / "run.unfinished").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_is_full_before_the_first_checkpoint_is_told_of(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(SoilcastError, match=r"no space left .* no checkpoint yet; free some space and continue"):
        train(cube, tmp_path / "run", config())
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_when_the_run_is_written_loses_nothing(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(cube, tmp_path / "expected", config())

    def save_run(folder: Path, run: Run) -> None:
        (folder / "weights.safetensors").write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["soilcast.training.produce"], "save_run", save_run)
        with pytest.raises(SoilcastError, match=r"checkpoint is kept; .* with --resume"):
            train(cube, tmp_path / "run", config())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["expected", "run.unfinished"]
    train(cube, tmp_path / "run", config(), resume=True)
    assert bits(tmp_path / "run") == bits(tmp_path / "expected")


@pytest.mark.slow
def test_a_cube_that_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    cube, out = tmp_path / "cube", tmp_path / "run"
    save_cube(small_cube(cells=10, days=800), cube)
    leave_unfinished(cube, out, config())
    kept = (tmp_path / "run.unfinished" / CHECKPOINT).read_bytes()
    save_cube(small_cube(cells=10, days=800, seed=1), cube, overwrite=True)
    with pytest.raises(
        SoilcastError, match=r"is of cube .*, but this training of .*: resume with the same inputs, or start"
    ):
        train(cube, out, config(), resume=True)
    assert (tmp_path / "run.unfinished" / CHECKPOINT).read_bytes() == kept
    # The same cube, prepared once more, is the same.
    save_cube(small_cube(cells=10, days=800), cube, overwrite=True)
    assert train(cube, out, config(), resume=True).record["status"] == "finished"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda chunk: chunk.unlink(), "t2m is incomplete (chunk 0/1 is missing): the store is truncated"),
        (lambda chunk: chunk.write_bytes(chunk.read_bytes()[:-9]), "t2m changed after it was written"),
        (lambda chunk: chunk.write_bytes(b"\0" + chunk.read_bytes()[1:]), "t2m cannot be read"),
    ],
)
def test_a_missing_or_damaged_block_of_the_cube_is_named(
    tmp_path: Path, damage: Callable[[Path], object], expected: str
) -> None:
    cube, out = tmp_path / "cube", tmp_path / "run"
    save_cube(small_cube(cells=10, days=800), cube)
    leave_unfinished(cube, out, config())
    kept = (tmp_path / "run.unfinished" / CHECKPOINT).read_bytes()
    damage(cube / "t2m" / "c" / "0" / "1")
    for name, resume in (("run", True), ("other", False)):
        with pytest.raises(SoilcastError) as caught:
            train(cube, tmp_path / name, config(), resume=resume)
        assert str(cube) in str(caught.value)
        assert expected in str(caught.value)
    assert (tmp_path / "run.unfinished" / CHECKPOINT).read_bytes() == kept
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cube", "run", "run.unfinished"]


@pytest.mark.slow
@pytest.mark.parametrize("finished", [False, True])
def test_two_runs_into_one_folder_are_refused(cube: Path, tmp_path: Path, finished: bool) -> None:
    job = Job(cube, tmp_path / "run", (*QUICK, *ENDLESS), "lstm", options={"overwrite": finished})
    if finished:
        train(cube, job.out, config())
    first = fork(job)
    wait_until(lambda: (job.place / CHECKPOINT).exists() or not first.is_alive())
    ways = [{"resume": True}, {"overwrite": True}] + ([] if finished else [{}])
    for way in ways:
        with pytest.raises(SoilcastError, match="run: another soilcast process is writing it: wait for it to end, or"):
            train(cube, job.out, config(), **way)
    logged = job.epochs_logged()
    wait_until(lambda: job.epochs_logged() > logged or not first.is_alive())
    assert first.is_alive()
    first.kill()
    ends(first)
    # With it went the lock.
    assert train(cube, job.out, config(), overwrite=True).record["status"] == "finished"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("way", [{}, {"resume": True}, {"overwrite": True}])
def test_a_folder_of_someone_else_s_where_a_run_is_to_be_made_is_left_alone(
    cube: Path, tmp_path: Path, way: dict[str, bool]
) -> None:
    (tmp_path / "run.unfinished").mkdir()
    (tmp_path / "run.unfinished" / "thesis.txt").write_text("mine")
    with pytest.raises(
        SoilcastError, match=r"run\.unfinished is needed .*, but was not written by soilcast: give another --out"
    ):
        train(cube, tmp_path / "run", config(), **way)
    assert (tmp_path / "run.unfinished" / "thesis.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["run.unfinished"]


def test_only_what_killed_processes_left_is_removed(cube: Path, tmp_path: Path) -> None:
    theirs = [".other.partial-0123456789abcdef", ".run.partial-77", ".run.partial-mine"]
    for name in (".run.partial-0123456789abcdef", *theirs):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lock").write_text("")
    train(cube, tmp_path / "run", config())
    assert sorted(path.name for path in tmp_path.iterdir()) == [*theirs, "run"]
