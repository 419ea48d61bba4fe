"""Pieces of work side by side, each in a process of its own: one that fails, or is killed, takes no other along."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from multiprocessing.resource_tracker import ensure_running
from pathlib import Path
from typing import NoReturn

from soilcast.errors import SoilcastError, system_fault
from soilcast.plugins import Plugin, loaded_plugins, use_plugins

Work = Callable[[], object]
Ended = Callable[[Path, SoilcastError | None], None]
"""Called with the name of a piece of work that has ended, and with its fault if it failed."""

STOPPED = 130
"""Exit code of a process that Ctrl-C or SIGTERM ended, as shells have it."""

_NAME = "soilcast worker"
_STOPS = (signal.SIGINT, signal.SIGTERM)
_GLANCE = 0.2
"""Time after which a stop is noticed at the latest [s]."""


def work_through(work: Mapping[Path, Work], jobs: int, ended: Ended) -> None:
    """Do pieces of work, several at once.

    Parameters
    ----------
    work
        What each is to make -> a function of a module, or a `functools.partial` of one, so that another process can
        call it; what it returns is dropped.
    jobs
        How many at once, each in a process; with 1 all are done in this process, one after the other.
    ended
        Called in this process, in the order in which they end.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C or SIGTERM; every process was told once, and has ended.
    """
    if min(jobs, len(work)) < 2:
        for name, task in work.items():
            failure = _attempt(task)
            ended(name, SoilcastError(failure) if failure else None)
        return
    if not hasattr(signal, "pthread_sigmask"):
        raise SoilcastError("--jobs works on Linux and macOS alone: leave it out, and all is done one after the other")
    refuse_unguarded()
    with _noticed_stops() as stops:
        _work_in_processes(dict(work), jobs, ended, stops)
    if stops:
        raise KeyboardInterrupt


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def heed_stops() -> Callable[[], bool]:
    """Have Ctrl-C and SIGTERM raise KeyboardInterrupt, wherever they come.

    Inside a finalizer or a callback of the garbage collection Python drops what is raised; it is raised once more then.

    Returns
    -------
    Tells whether a stop has come.
    """
    came: list[int] = []
    before = sys.unraisablehook

    def stop(number: int, frame: object) -> NoReturn:
        came.append(number)
        raise KeyboardInterrupt

    def raise_again(dropped: sys.UnraisableHookArgs) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            before(dropped)
            return
        again = threading.Timer(_GLANCE, signal.raise_signal if os.name != "posix" else _send_stop, (came[-1],))
        again.daemon = True
        again.start()

    for number in _STOPS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as in a program that is started in the background
            signal.signal(number, stop)
    sys.unraisablehook = raise_again
    return lambda: bool(came)


def _send_stop(number: int) -> None:
    os.kill(os.getpid(), number)


def leave(code: int) -> NoReturn:
    """End this process at once, after a stop or a fault.

    Everything of soilcast's has been cleared away by then. What threads of libraries were at when the stop came (zarr
    reads in one of its own) is dropped unseen; at the ordinary end of Python they would print a traceback each.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # one that was closed is None
            stream.flush()
    os._exit(code)


def refuse_unguarded() -> None:
    """Raise an error in a process that was to work, but runs the script of the user that started it once more."""
    if multiprocessing.current_process().name == _NAME:
        raise RuntimeError("a script that starts several jobs must do so under: if __name__ == '__main__':")


def _work_in_processes(work: dict[Path, Work], jobs: int, ended: Ended, stops: Sequence[int]) -> None:
    context = multiprocessing.get_context("spawn")
    workers: list[_Worker] = []
    told = False
    try:
        while workers or (work and not stops):
            while work and len(workers) < jobs and not stops:
                workers.append(_Worker(context, *_next_of(work)))
            heard = wait([worker.connection for worker in workers], timeout=_GLANCE)
            for worker in [one for one in workers if one.connection in heard]:
                name, failure = worker.name, worker.hear()
                if worker.is_alive and work and not stops:
                    worker.give(*_next_of(work))
                else:
                    worker.dismiss()
                    workers.remove(worker)
                if not (stops and failure):
                    ended(name, SoilcastError(failure) if failure else None)
            if stops and not told:
                told = True
                for worker in workers:
                    worker.process.terminate()
    finally:
        for worker in workers:
            if not told:
                worker.process.terminate()
            worker.process.join()


def _next_of(work: dict[Path, Work]) -> tuple[Path, Work]:
    name = next(iter(work))
    return name, work.pop(name)


class _Worker:
    """A process that does one piece of work after the other.

    Parameters
    ----------
    name, task
        The first of them.
    """

    def __init__(self, context: SpawnContext, name: Path, task: Work) -> None:
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, loaded_plugins()), name=_NAME, daemon=True)
        self.is_alive = True
        ensure_running()  # it would let the signals through that are held here
        with _held_signals():
            self.process.start()
        theirs.close()
        self.give(name, task)

    def give(self, name: Path, task: Work) -> None:
        """Hand over the next piece of work."""
        self.name = name
        with suppress(OSError):  # that the process is gone is noticed when it is heard
            self.connection.send(task)

    def hear(self) -> str | None:
        """Take what it says of its work: None if all is well, else the fault."""
        try:
            said: str | None = self.connection.recv()
        except (EOFError, OSError):
            self.is_alive = False
            self.process.join()
            said = f"{self.name}: {_how_it_ended(self.process.exitcode or 0)}"
        return said

    def dismiss(self) -> None:
        """End the process, which has nothing to do any more."""
        with suppress(OSError):
            self.connection.send(None)
        self.process.join()
        self.connection.close()


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"its process was killed ({signal.Signals(-code).name}): continue with --resume"
    if code == STOPPED:
        return "its process was stopped: continue with --resume"
    return f"its process failed (exit code {code}): see the messages above"


def _serve(connection: Connection, plugins: Sequence[Plugin]) -> None:
    """Work in this process for the one that started it, with its plugins."""
    try:
        # Ctrl-C comes to all processes of a terminal at once; the first of them passes on one stop, and the work of
        # stopping is not to be stopped by another.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _stop_once)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
        threading.Thread(target=_stop_with_parent, daemon=True).start()
        use_plugins(plugins)
        while (task := connection.recv()) is not None:
            connection.send(_attempt(task))
    except (KeyboardInterrupt, EOFError, BrokenPipeError):
        leave(STOPPED)


def _attempt(task: Work) -> str | None:
    try:
        task()
    except SoilcastError as error:
        return str(error)
    except Exception as error:
        if (fault := system_fault(error)) is None:
            raise
        return fault
    return None


def _stop_once(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _stop_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _noticed_stops() -> Iterator[Sequence[int]]:
    """Note stops instead of breaking off wherever the program just is, so that no process is forgotten."""
    noticed: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noticed
        return
    # What is ignored stays so: as in a program that is started in the background, or by a scheduler.
    before = {number: signal.getsignal(number) for number in _STOPS}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    for number in before:
        signal.signal(number, lambda number, frame: noticed.append(number))
    try:
        yield noticed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextmanager
def _held_signals() -> Iterator[None]:
    """Let a process that is started here meet no stop before it knows what to do about it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
