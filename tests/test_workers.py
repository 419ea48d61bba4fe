"""Task in processes: what fails or is killed is told by name, all else goes on, and a stop reaches every process."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zarr.core.sync

from soilcast.errors import SoilcastError
from soilcast.workers import Task, run_tasks

PATIENCE = 300.0


def write_pid(file: Path) -> None:
    file.with_suffix(".partial").write_text(str(os.getpid()))
    file.with_suffix(".partial").rename(file)


def stand_still(file: Path) -> None:
    """Task without end; a stop leaves a note."""
    write_pid(file)
    try:
        time.sleep(PATIENCE)
    except KeyboardInterrupt:
        time.sleep(0.3)  # in which a second stop would spare the note
        file.with_suffix(".stopped").touch()
        raise


def wait_in_work(file: Path, end: Path) -> None:
    """Task until there is another file."""
    write_pid(file)
    wait_for(end.exists)


def stand_still_in_zarr(file: Path) -> None:
    """Task without end in the thread in which zarr reads."""
    write_pid(file)
    zarr.core.sync.sync(asyncio.sleep(PATIENCE))


def refuse() -> None:
    raise SoilcastError("the tap is dry: open it")


def fail() -> None:
    raise ValueError("a defect of soilcast")


def run_out_of_memory() -> None:
    raise MemoryError("Unable to allocate 1 TiB")


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def outcomes(work: dict[Path, Task], jobs: int) -> dict[str, str | None]:
    ended: dict[str, str | None] = {}
    run_tasks(work, jobs, lambda name, failure: ended.update({name.name: failure and str(failure)}))
    return ended


@pytest.mark.parametrize("jobs", [1, 3])
def test_what_is_refused_takes_nothing_along(tmp_path: Path, jobs: int) -> None:
    files = [tmp_path / name for name in "abcd"]
    work: dict[Path, Task] = {file: functools.partial(write_pid, file) for file in files}
    work = {Path("dry"): refuse, **work, Path("large"): run_out_of_memory}
    ended = outcomes(work, jobs)
    assert ended.pop("dry") == "the tap is dry: open it"
    assert "not enough memory (Unable to allocate 1 TiB)" in (ended.pop("large") or "")
    assert ended == dict.fromkeys("abcd")
    processes = {int(file.read_text()) for file in files}
    assert (processes == {os.getpid()}) == (jobs == 1)
    assert len(processes) <= jobs


def test_what_is_killed_is_named_and_the_others_go_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    long = tmp_path / "long"
    work: dict[Path, Task] = {long: functools.partial(stand_still, long), Path("bug"): fail}
    work |= {tmp_path / name: functools.partial(write_pid, tmp_path / name) for name in "abc"}

    def kill() -> None:
        wait_for((tmp_path / "c").exists)
        os.kill(int(long.read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    ended = outcomes(work, 2)
    killer.join()
    assert "long: its process was killed (SIGKILL): continue with --resume" in (ended.pop("long") or "")
    assert "bug: its process failed (exit code 1)" in (ended.pop("bug") or "")
    assert ended == dict.fromkeys("abc")
    assert "ValueError: a defect of soilcast" in capfd.readouterr().err


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_reaches_every_process_once(tmp_path: Path, told: signal.Signals) -> None:
    work: dict[Path, Task] = {tmp_path / name: functools.partial(stand_still, tmp_path / name) for name in "abc"}
    before = signal.getsignal(told)

    def stop() -> None:
        wait_for(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
        for number in (told, told):
            os.kill(os.getpid(), number)
        for name in "ab":  # as queues send it to all processes of a job
            os.kill(int((tmp_path / name).read_text()), signal.SIGTERM)

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(KeyboardInterrupt):
        outcomes(work, 2)
    stopper.join()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.stopped", "b", "b.stopped"]
    assert signal.getsignal(told) is before


@pytest.mark.slow
def test_a_stop_that_is_ignored_stops_nothing(tmp_path: Path) -> None:
    """As it is in what a shell starts in the background, and in what some schedulers start."""
    files, end = [tmp_path / name for name in "ab"], tmp_path / "end"
    work: dict[Path, Task] = {file: functools.partial(wait_in_work, file, end) for file in files}

    def stop() -> None:
        wait_for(lambda: all(file.exists() for file in files))
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)  # in which it would be passed on
        end.touch()

    stopper = threading.Thread(target=stop)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stopper.start()
        assert outcomes(work, 2) == {"a": None, "b": None}
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        stopper.join()
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_a_stop_while_zarr_reads_is_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / name for name in "ab"]
    work: dict[Path, Task] = {file: functools.partial(stand_still_in_zarr, file) for file in files}

    def stop() -> None:
        wait_for(lambda: all(file.exists() for file in files))
        time.sleep(0.2)  # until zarr is at it
        os.kill(os.getpid(), signal.SIGINT)

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(KeyboardInterrupt):
        outcomes(work, 2)
    stopper.join()
    assert capfd.readouterr().err == ""


def script(tmp_path: Path, *, guarded: bool) -> subprocess.Popen[str]:
    file = tmp_path / "script.py"
    lines = ["import functools, pathlib, test_workers, soilcast.workers"]
    lines += ["if __name__ == '__main__':" if guarded else "if True:"]
    lines += [f"    files = [pathlib.Path({str(tmp_path)!r}) / name for name in 'ab']"]
    lines += ["    work = {file: functools.partial(test_workers.stand_still, file) for file in files}"]
    lines += ["    soilcast.workers.run_tasks(work, 2, lambda name, failure: print(name.name, failure))"]
    file.write_text("\n".join(lines))
    surroundings = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, str(file)]
    return subprocess.Popen(
        command, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_processes_end_when_the_one_that_started_them_is_killed(tmp_path: Path) -> None:
    process = script(tmp_path, guarded=True)
    wait_for(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
    process.kill()
    process.communicate()
    wait_for(lambda: (tmp_path / "a.stopped").exists() and (tmp_path / "b.stopped").exists())


@pytest.mark.slow
def test_ctrl_c_of_a_terminal_reaches_every_process_once(tmp_path: Path) -> None:
    process = script(tmp_path, guarded=True)
    wait_for(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert errors.count("Traceback") == 1, errors  # of the script, which does not catch it
    assert {"a.stopped", "b.stopped"} <= {path.name for path in tmp_path.iterdir()}


def test_a_script_that_would_start_itself_is_refused(tmp_path: Path) -> None:
    said, errors = script(tmp_path, guarded=False).communicate(timeout=PATIENCE)
    assert "must do so under: if __name__ == '__main__':" in errors
    assert said.count("its process failed (exit code 1)") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]


def test_a_stop_of_processes_that_just_start_is_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    work: dict[Path, Task] = {tmp_path / name: functools.partial(stand_still, tmp_path / name) for name in "abc"}
    stopper = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    stopper.start()
    with pytest.raises(KeyboardInterrupt):
        outcomes(work, 2)
    stopper.join()
    assert capfd.readouterr().err == ""
    assert not (tmp_path / "c").exists()
