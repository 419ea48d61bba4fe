"""Processes that start in no time, since they are forks of one that has imported everything; and how these are killed.

Python, torch and xarray take four seconds of a processor to import. A fork has all else of a process of its own: its
exit code, its signals, its limits and what it prints.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.helpers import ROOT

PATIENCE = 300.0
"""Seconds after which a test gives up; nothing here takes a tenth of it, even on a busy machine."""

_CHANGES = {"os.mkdir": 1, "os.remove": 1, "os.rename": 2, "os.rmdir": 1}
"""Audit events that change the file system, with how many paths they name; also ``open``, for writing."""


def start(target: Callable[..., None], *arguments: Any, daemon: bool = True) -> BaseProcess:
    """Call a function of a module in a fork.

    Parameters
    ----------
    target, arguments
        What is called.
    daemon
        Whether it may start no processes of its own.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.helpers.warm"])
    with pytest.MonkeyPatch.context() as patch:
        # For the process that is forked, which starts now if it has not yet.
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
        process = context.Process(target=target, args=arguments, daemon=daemon)
        process.start()
    return process


def ends(process: BaseProcess) -> int | None:
    """Wait for the end of a process and give its exit code."""
    process.join(PATIENCE)
    return process.exitcode


def wait_until(happened: Callable[[], bool]) -> None:
    """Wait for something, looking often."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.0005)


# ---------------------------------------------------------------- commands and scripts


@dataclass(frozen=True)
class Surroundings:
    """What a command or script finds.

    Parameters
    ----------
    folder
        Where it is started; by default where this process is.
    environment
        Variables beside, or instead of, those of this process; one thread of OpenMP unless they name another number.
    room
        What a file may grow to at most [bytes].
    session
        Whether it leads a group of processes of its own.
    """

    folder: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    room: int | None = None
    session: bool = False


class Fork:
    """A process that is spoken to as to a `subprocess.Popen`; what it prints goes to files."""

    def __init__(self, target: Callable[..., None], *arguments: Any, **surroundings: Any) -> None:
        self._printed = tempfile.TemporaryDirectory()
        for name in ("stdout", "stderr"):
            Path(self._printed.name, name).touch()
        found = Surroundings(**surroundings)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **found.environment}
        given = (target, arguments, Path(self._printed.name), found.folder or Path.cwd(), environment)
        self._process = start(_enter, *given, found.room, found.session, daemon=False)
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the signal that ended it; None while it runs."""
        return self._process.exitcode

    poll = returncode.fget
    assert poll is not None

    def send_signal(self, number: int) -> None:
        """Tell it something."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it."""
        self._process.kill()

    def wait(self) -> int:
        """Wait for its end."""
        self._process.join(PATIENCE)
        assert self._process.exitcode is not None, "it does not end"
        return self._process.exitcode

    def communicate(self) -> tuple[str, str]:
        """Wait for its end and give what it printed: standard output, standard error."""
        self.wait()
        return self.printed("stdout"), self.printed("stderr")

    def printed(self, stream: str) -> str:
        """What it has printed so far on ``stdout`` or ``stderr``."""
        return Path(self._printed.name, stream).read_text()

    def completed(self) -> subprocess.CompletedProcess[str]:
        """Wait for its end and give all that is known of it."""
        return subprocess.CompletedProcess([], self.wait(), *self.communicate())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
        self.wait()


def start_command(*words: object, **surroundings: Any) -> Fork:
    """Start ``soilcast`` with these words, in `Surroundings`."""
    return Fork(_command, list(map(str, words)), **surroundings)


def run_command(*words: object, **surroundings: Any) -> subprocess.CompletedProcess[str]:
    """Run ``soilcast`` with these words, in `Surroundings`."""
    return start_command(*words, **surroundings).completed()


def start_script(script: str, *arguments: object, **surroundings: Any) -> Fork:
    """Start what ``python -c`` would, in `Surroundings`."""
    return Fork(_script, script, list(map(str, arguments)), **surroundings)


def run_script(script: str, *arguments: object, **surroundings: Any) -> subprocess.CompletedProcess[str]:
    """Run what ``python -c`` would, in `Surroundings`."""
    return start_script(script, *arguments, **surroundings).completed()


def _enter(
    target: Callable[..., None], arguments: tuple[Any, ...], printed: Path, folder: Path, environment: dict[str, str],
    room: int | None, session: bool,
) -> None:  # fmt: skip
    if session:
        os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(printed / name, os.O_WRONLY), number)
        setattr(sys, name, os.fdopen(number, "w", buffering=1 if name == "stderr" else -1, closefd=False))
    if room is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    target(*arguments)


def _command(words: list[str]) -> None:
    from soilcast.cli import main

    sys.argv = ["soilcast", *words]
    main()


def _script(script: str, arguments: list[str]) -> None:
    sys.argv = ["-c", *arguments]
    exec(compile(script, "<script>", "exec"), {"__name__": "__main__"})


# ---------------------------------------------------------------- deaths


@dataclass(frozen=True)
class Death:
    """SIGKILL before a change of the file system, or the kernel's own signal in the midst of a write.

    Parameters
    ----------
    change
        Number of the change, from 1, among all that the process makes in its folder.
    written
        From then on, die in the file that would grow beyond this [bytes].
    """

    change: int
    written: int | None = None

    def await_in(self, folder: Path) -> None:
        """Have this very process die so; its folder is this one."""
        sys.addaudithook(self._executioner(str(folder)))

    def _executioner(self, folder: str) -> Callable[[str, tuple[Any, ...]], None]:
        seen, struck = 0, False

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal seen, struck
            if struck:
                return
            seen += is_change(event, arguments, folder)
            if seen < self.change:
                return
            struck = True
            if self.written is None:
                os.kill(os.getpid(), signal.SIGKILL)
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.written or 0, resource.RLIM_INFINITY))

        return hook


def is_change(event: str, arguments: tuple[Any, ...], folder: str) -> bool:
    """Whether an audit event changes the file system in a folder."""
    if event == "open":
        flags = arguments[2] if isinstance(arguments[2], int) else 0
        return bool(flags & (os.O_WRONLY | os.O_RDWR)) and str(arguments[0]).startswith(folder)
    if event in ("os.remove", "os.rmdir") and arguments[1] >= 0:
        return True  # named within an open folder, as shutil does it
    return any(str(path).startswith(folder) for path in arguments[: _CHANGES.get(event, 0)])
