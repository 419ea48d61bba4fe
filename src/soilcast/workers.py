"""Tasks in parallel, each in a process of its own: one that fails, or is killed, does not affect the others."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from multiprocessing.resource_tracker import ensure_running
from pathlib import Path

from soilcast.errors import SoilcastError, system_fault
from soilcast.plugins import Plugin, loaded_plugins, use_plugins
from soilcast.stops import POLL_SECONDS, STOPPED, STOPS, leave

Task = Callable[[], object]
OnEnd = Callable[[Path, SoilcastError | None], None]
"""Called with the output of a task that has ended, and its fault if it failed."""

_NAME = "soilcast worker"


def run_tasks(tasks: Mapping[Path, Task], jobs: int, on_end: OnEnd) -> None:
    """Run tasks, several at once.

    Parameters
    ----------
    tasks
        Output of each -> a function of a module, or a `functools.partial` of one, so that another process can call
        it; what it returns is dropped.
    jobs
        Number at once, each in a process; with 1 all are run in this process, one after the other.
    on_end
        Called in this process, in the order in which they end.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C or SIGTERM; every process was terminated once, and has ended.
    """
    if min(jobs, len(tasks)) < 2:
        for name, task in tasks.items():
            failure = attempt(task)
            on_end(name, SoilcastError(failure) if failure else None)
        return
    if not hasattr(signal, "pthread_sigmask"):
        raise SoilcastError("--jobs works on Linux and macOS alone: leave it out, and all is done one after the other")
    refuse_unguarded()
    with _caught_stops() as stops:
        _run_in_processes(dict(tasks), jobs, on_end, stops)
    if stops:
        raise KeyboardInterrupt


def usable_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def refuse_unguarded() -> None:
    """Raise an error in a worker process that runs the unguarded script of the user once more."""
    if multiprocessing.current_process().name == _NAME:
        raise RuntimeError("a script that starts several jobs must do so under: if __name__ == '__main__':")


def _run_in_processes(tasks: dict[Path, Task], jobs: int, on_end: OnEnd, stops: Sequence[int]) -> None:
    context = multiprocessing.get_context("spawn")
    workers: list[_Worker] = []
    terminated = False
    try:
        while workers or (tasks and not stops):
            while tasks and len(workers) < jobs and not stops:
                workers.append(_Worker(context, *_pop_task(tasks)))
            ready = wait([worker.connection for worker in workers], timeout=POLL_SECONDS)
            for worker in [candidate for candidate in workers if candidate.connection in ready]:
                name, failure = worker.name, worker.receive()
                if worker.is_alive and tasks and not stops:
                    worker.send(*_pop_task(tasks))
                else:
                    worker.end()
                    workers.remove(worker)
                if not (stops and failure):
                    on_end(name, SoilcastError(failure) if failure else None)
            if stops and not terminated:
                terminated = True
                for worker in workers:
                    worker.process.terminate()
    finally:
        for worker in workers:
            if not terminated:
                worker.process.terminate()
            worker.process.join()


def _pop_task(tasks: dict[Path, Task]) -> tuple[Path, Task]:
    name = next(iter(tasks))
    return name, tasks.pop(name)


class _Worker:
    """A process that runs one task after the other.

    Parameters
    ----------
    name, task
        The first of them.
    """

    def __init__(self, context: SpawnContext, name: Path, task: Task) -> None:
        self.connection, child_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(child_end, loaded_plugins()), name=_NAME, daemon=True)
        self.is_alive = True
        ensure_running()  # it would unblock the signals that are blocked here
        with _blocked_signals():
            self.process.start()
        child_end.close()
        self.send(name, task)

    def send(self, name: Path, task: Task) -> None:
        """Send the next task."""
        self.name = name
        with suppress(OSError):  # that the process is gone is noticed by `receive`
            self.connection.send(task)

    def receive(self) -> str | None:
        """Receive the result of its task: None, or the fault."""
        try:
            failure: str | None = self.connection.recv()
        except (EOFError, OSError):
            self.is_alive = False
            self.process.join()
            failure = f"{self.name}: {_exit_message(self.process.exitcode or 0)}"
        return failure

    def end(self) -> None:
        """End the process, which has no more tasks."""
        with suppress(OSError):
            self.connection.send(None)
        self.process.join()
        self.connection.close()


def _exit_message(code: int) -> str:
    if code < 0:
        return f"its process was killed ({signal.Signals(-code).name}): continue with --resume"
    if code == STOPPED:
        return "its process was stopped: continue with --resume"
    return f"its process failed (exit code {code}): see the messages above"


def _serve(connection: Connection, plugins: Sequence[Plugin]) -> None:
    """Run tasks in this process for the one that started it, with its plugins."""
    try:
        # Ctrl-C comes to all processes of a terminal at once; the first of them passes on one stop, and stopping
        # itself is not to be interrupted by another.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _stop_once)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        threading.Thread(target=_stop_with_parent, daemon=True).start()
        use_plugins(plugins)
        while (task := connection.recv()) is not None:
            connection.send(attempt(task))
    except (KeyboardInterrupt, EOFError, BrokenPipeError):
        leave(STOPPED)


def attempt(task: Task) -> str | None:
    """Run a task; give its fault in words, None without one.

    Raises
    ------
    Exception
        A defect of soilcast.
    """
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
def _caught_stops() -> Iterator[Sequence[int]]:
    """Collect stops instead of raising wherever the program is, so that no process is left behind."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    # What is ignored stays so: as in a program that is started in the background, or by a scheduler.
    before = {number: signal.getsignal(number) for number in STOPS}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    for number in before:
        signal.signal(number, lambda number, frame: caught.append(number))
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextmanager
def _blocked_signals() -> Iterator[None]:
    """Block stops until a process that is started here has its handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
