"""Many trainings at once: the bits do not depend on how many, faults stay with their run, a stop loses nothing."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from soilcast.training import Config, Run, load_config, open_run, train
from soilcast.training.jobs import train_runs
from soilcast.workplace import workplace_of
from tests.helpers.forks import start_script, wait_until
from tests.helpers.small import small_cube

QUICK = ["train.epochs=4", "train.validate_every=2", "train.batches_per_epoch=10", "network.hidden_size=8"]
MODELS = ("lstm", "phy-lstm", "phys-lstm")


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("jobs") / "cube"
    save_cube(small_cube(cells=10, days=800), path)
    return path


def quick(model: str, *settings: str) -> Config:
    return load_config(settings=[*QUICK, *settings], model=model)


def weights_in(folder: Path) -> dict[str, bytes]:
    return {run.name: (run / "weights.safetensors").read_bytes() for run in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def side_by_side(cube: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs and one that fails, trained by two processes."""
    folder = tmp_path_factory.mktemp("two")
    runs = {folder / model: quick(model) for model in MODELS}
    runs[folder / "wild"] = quick("lstm", "train.learning_rate=1e38")
    outcomes = train_runs(cube, runs, jobs=2)
    assert list(outcomes) == list(runs)
    assert [type(outcome) for outcome in outcomes.values()] == [Run, Run, Run, SoilcastError]
    assert "diverged" in str(outcomes[folder / "wild"])
    return folder


@pytest.mark.slow
def test_the_bits_do_not_depend_on_the_jobs(cube: Path, side_by_side: Path, tmp_path: Path) -> None:
    one_thread = {model: quick(model, "train.threads=1") for model in MODELS}
    train_runs(cube, {tmp_path / "one" / model: config for model, config in one_thread.items()}, jobs=1)
    for model, config in one_thread.items():
        train(cube, tmp_path / "alone" / model, config)
    # Folders of runs alone: what the runs shared is gone.
    assert weights_in(side_by_side) == weights_in(tmp_path / "one") == weights_in(tmp_path / "alone")
    assert open_run(side_by_side / "lstm").config.train == one_thread["lstm"].train


@pytest.mark.slow
def test_a_run_that_fails_takes_no_other_along(cube: Path, tmp_path: Path) -> None:
    runs = {
        tmp_path / "wild": quick("lstm", "train.learning_rate=1e38"),
        tmp_path / "far": quick("lstm", "split.test=2031"),
        tmp_path / "blind": quick("lstm", "task.dynamic=[pev]"),
        tmp_path / "tame": quick("lstm"),
    }
    ended: list[str] = []
    outcomes = train_runs(cube, runs, ended=lambda out, outcome: ended.append(out.name))
    assert ended == ["wild", "far", "blind", "tame"]
    for name, told in (
        ("wild", "diverged"),
        ("far", "is outside the cube"),
        ("blind", "no pev, which is in task.dynamic"),
    ):
        assert told in str(outcomes[tmp_path / name])
    assert isinstance(outcomes[tmp_path / "tame"], Run)
    assert [path.name for path in tmp_path.iterdir()] == ["tame"]


@pytest.mark.slow
def test_finished_runs_are_kept_whatever_the_jobs(cube: Path, side_by_side: Path) -> None:
    files = [side_by_side / model / "weights.safetensors" for model in MODELS]
    before = [file.stat().st_mtime_ns for file in files]
    outcomes = train_runs(cube, {side_by_side / model: quick(model) for model in MODELS}, jobs=1, resume=True)
    assert all(isinstance(outcome, Run) for outcome in outcomes.values())
    assert [file.stat().st_mtime_ns for file in files] == before


@pytest.mark.slow
def test_what_exists_is_refused_run_by_run(cube: Path, side_by_side: Path) -> None:
    outcomes = train_runs(cube, {side_by_side / model: quick(model) for model in MODELS[:2]})
    assert all("exists already" in str(outcome) for outcome in outcomes.values())


def test_memory_is_for_all_processes_together(cube: Path, tmp_path: Path) -> None:
    runs = {tmp_path / model: quick(model) for model in MODELS}
    with pytest.raises(SoilcastError, match=r"too little.*or use fewer --jobs, which share it"):
        train_runs(cube, runs, jobs=3, memory=2**30)
    with pytest.raises(SoilcastError, match=r"too little.*split\.development$"):
        train_runs(cube, runs, jobs=1, memory=2**20)
    assert list(tmp_path.iterdir()) == []
    outcomes = train_runs(cube, runs, jobs=1, memory=2**40)
    assert {outcome.record["memory_bytes"] for outcome in outcomes.values() if isinstance(outcome, Run)} == {2**40}


def test_a_folder_for_samples_that_is_given_stays(cube: Path, tmp_path: Path) -> None:
    runs = {tmp_path / "runs" / model: quick(model) for model in MODELS[:2]}
    train_runs(cube, runs, samples=tmp_path / "samples")
    assert len(list((tmp_path / "samples").glob("*/dynamic.npy"))) == 1
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["lstm", "phy-lstm"]


def test_one_bar_shows_all_runs(
    cube: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("soilcast.progress._EVERY", 0.0)  # a line for each unit: the tests have no terminal
    runs = {tmp_path / model: quick(model) for model in MODELS[:2]}
    train_runs(cube, runs, progress=True)
    shown = capfd.readouterr().err
    assert "8/8" in shown
    assert "2 of 2 runs have ended" in shown


def leave_a_note(text: str, run: Path, memory: int | None) -> None:
    if run.name == "lstm":
        raise SoilcastError("no ink: buy some")
    (run / "note").write_text(f"{text} {memory} {open_run(run).record['label']}")


def test_more_is_done_with_each_run(cube: Path, tmp_path: Path) -> None:
    runs = {tmp_path / model: quick(model) for model in MODELS[:2]}
    outcomes = train_runs(cube, runs, then=functools.partial(leave_a_note, "holds"))
    assert str(outcomes[tmp_path / "lstm"]) == "no ink: buy some"
    assert (tmp_path / "phy-lstm" / "note").read_text() == "holds None PHY-LSTM"


def test_torchrun_is_for_one_run(cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SoilcastError, match="torchrun trains one run"):
        train_runs(cube, {tmp_path / "a": quick("lstm"), tmp_path / "b": quick("lstm")})


def at_work_on(run: Path) -> Iterator[int]:
    """Processes that hold the lock of a run."""
    lock = workplace_of(run) / ".soilcast-lock"
    for descriptors in Path("/proc").glob("[0-9]*/fd"):
        try:
            if any(link.resolve() == lock for link in descriptors.iterdir()):
                yield int(descriptors.parent.name)
        except OSError:
            continue


LONG = ["train.epochs=100", "train.validate_every=50", "train.batches_per_epoch=200", "network.hidden_size=8"]
PAIR = MODELS[:2]


@pytest.fixture(scope="module")
def uninterrupted(cube: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    train_runs(cube, {folder / name: load_config(settings=[*LONG, "train.threads=1"], model=name) for name in PAIR})
    return weights_in(folder)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="finds the process of a run by /proc")
@pytest.mark.parametrize("how", ["ctrl-c", "one process killed"])
def test_what_is_broken_off_ends_with_the_same_bits(
    cube: Path, uninterrupted: dict[str, bytes], tmp_path: Path, how: str
) -> None:
    script = [
        "import sys, pathlib, soilcast.training, soilcast.training.jobs",
        f"configs = {{name: soilcast.training.load_config(settings={LONG!r}, model=name) for name in {PAIR!r}}}",
        f"runs = {{pathlib.Path({str(tmp_path)!r}) / name: config for name, config in configs.items()}}",
        f"outcomes = soilcast.training.jobs.train_runs({str(cube)!r}, runs, jobs=2, resume=True)",
        "sys.exit(sum(isinstance(outcome, Exception) for outcome in outcomes.values()))",
    ]

    process = start_script("\n".join(script), session=True)
    logs = [tmp_path / f"{name}.unfinished" / "log.jsonl" for name in PAIR]
    wait_until(lambda: all(log.exists() and log.read_text().count("\n") > 5 for log in logs))
    if how == "ctrl-c":
        os.killpg(process.pid, signal.SIGINT)
    else:
        (victim,) = at_work_on(tmp_path / "lstm")
        os.kill(victim, signal.SIGKILL)
    _, errors = process.communicate()
    if how == "ctrl-c":
        assert process.returncode == 1
        assert errors.count("Traceback") == 1, errors  # of the script, which does not catch it
        assert all(open_run(tmp_path / name).record["status"] == "interrupted" for name in PAIR)
    else:
        assert process.returncode == 1, errors
        assert open_run(tmp_path / "phy-lstm").record["status"] == "finished"
    assert (tmp_path / "lstm.unfinished" / "checkpoint.safetensors").exists()
    configs = {tmp_path / name: load_config(settings=[*LONG, "train.threads=1"], model=name) for name in PAIR}
    outcomes = train_runs(cube, configs, jobs=1, resume=True)
    assert {outcome.record["status"] for outcome in outcomes.values() if isinstance(outcome, Run)} == {"finished"}
    assert weights_in(tmp_path) == uninterrupted
