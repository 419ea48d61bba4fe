"""Tasks on the workers of a dask cluster: results come back in any order."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from soilcast.errors import SoilcastError
from soilcast.plugins import Plugin, loaded_plugins, use_plugins
from soilcast.workers import OnEnd, Task, attempt

if TYPE_CHECKING:
    from distributed import Client, Future

Piece = TypeVar("Piece")
Result = TypeVar("Result")

ANSWER_SECONDS = 10.0
"""Time in which a scheduler must answer [s]."""

RETURN_SECONDS = 60.0
"""Time that a cluster may be without any worker [s]: nannies restart those that died."""

STOP_SECONDS = 0.2
"""Time after which a worker notices that nobody waits for its task any more [s]."""

_RUNNING = ("executing", "long-running")
_AT_WORK = ("running", "paused", "closing_gracefully")
_ONE_TASK = threading.Lock()
"""Held by the thread of a worker that runs a task: what tasks set, such as the number of threads, is of the process."""

_POLL_SECONDS = 2.0
_TASKS_PER_THREAD = 2
"""Pieces submitted for each thread of the workers: enough that none waits, few enough to hold their results."""


@dataclass(frozen=True)
class _Finished:
    """A piece that is done, with its result or fault."""

    future: Future[Any]
    result: Any = None
    fault: BaseException | None = None


def work_on_cluster(
    address: str, function: Callable[[Piece], Result], pieces: Mapping[int, Piece], *, most: int | None = None
) -> Iterator[tuple[int, Result]]:
    """Apply a function to each piece on a cluster's workers, and give the results as they come.

    A piece whose worker died is submitted again.

    Parameters
    ----------
    address
        Of the scheduler, such as ``tcp://host:8786``.
    function
        Called on a worker with a piece; they and what it gives travel between the processes, so the paths in them
        must be absolute, and those of the workers too.
    pieces
        Number of a piece -> the piece, such as the slice of its cells; taken one by one as workers are free.
    most
        Number of pieces submitted at most, whatever the number of workers: their results are held here.

    Returns
    -------
    Pairs of a piece's number and its result.

    Raises
    ------
    SoilcastError
        Without the extra ``cluster``; an address at which no scheduler or no worker answers; a scheduler or workers
        that are lost, workers that died of a piece; another version on the cluster; whatever the function raises.
    """
    with _connected(address) as client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise SoilcastError(f"--dask {address}: the cluster has no workers: start some with dask worker {address}")
        _refuse_other_version(client, address)
        waiting = list(pieces)
        limit = _TASKS_PER_THREAD * threads if most is None else min(most, _TASKS_PER_THREAD * threads)
        submitted: dict[Future[Result], int] = {}
        finished: SimpleQueue[_Finished] = SimpleQueue()
        while waiting or submitted:
            while waiting and len(submitted) < limit:
                number = waiting.pop(0)
                future = _submit(client, function, pieces[number])
                submitted[future] = number
                future.add_done_callback(lambda done: finished.put(_collect(done)))
            piece = _next(finished, client, address)
            if piece.fault is not None:
                _raise_fault(piece.fault, address)
            yield submitted.pop(piece.future), piece.result


def run_on_cluster(address: str, tasks: Mapping[Path, Task], on_end: OnEnd) -> None:
    """Run tasks as `soilcast.workers.run_tasks` does, on the workers of a cluster: one at a time in each process.

    A task whose worker died is run again; it must find out by itself what is done already. One for whose end nobody
    waits any more, as the command was stopped or the scheduler is lost, gets a KeyboardInterrupt.

    Parameters
    ----------
    address
        Of the scheduler.
    tasks, on_end
        As of `run_tasks`; paths in the tasks are absolute.

    Raises
    ------
    SoilcastError
        What `work_on_cluster` raises.
    """
    names = list(tasks)
    for number, failure in work_on_cluster(address, _attempt_alone, dict(enumerate(tasks.values()))):
        on_end(names[number], SoilcastError(failure) if failure else None)


def _attempt_alone(task: Task) -> str | None:
    with _ONE_TASK, _stopped_with_client():
        try:
            return attempt(task)
        except KeyboardInterrupt:
            return "stopped: continue with --resume"


@contextmanager
def _stopped_with_client() -> Iterator[None]:
    """Raise KeyboardInterrupt in this thread, once, if the task that it runs is wanted no more."""
    from distributed import get_worker

    worker: Any = get_worker()
    key, thread = worker.get_current_task(), threading.get_ident()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(STOP_SECONDS):
            task = worker.state.tasks.get(key)
            if task is None or task.state not in _RUNNING or worker.status.name not in _AT_WORK:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt))
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _submit(client: Client, function: Callable[[Piece], Result], piece: Piece) -> Future[Result]:
    plugins = loaded_plugins()
    if not plugins:
        return client.submit(function, piece, pure=False)
    import cloudpickle

    # What is of a plugin cannot be unpacked before it is loaded, which the worker's own way to it would do.
    return client.submit(_with_plugins, plugins, cloudpickle.dumps((function, piece)), pure=False)


def _with_plugins(plugins: Sequence[Plugin], packed: bytes) -> Any:
    import cloudpickle

    use_plugins(plugins)
    function, piece = cloudpickle.loads(packed)
    return function(piece)


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    try:
        from distributed import Client, Security
    except ImportError as error:
        raise SoilcastError("--dask needs an extra: install it with pip install 'soilcast[cluster]'") from error
    scheme, host_and_port = _parsed(address)
    arguments = Security().get_connection_args("client")
    if scheme == "tls" and arguments["ssl_context"] is None:
        raise SoilcastError(
            f"--dask {address}: dask has no certificate for it: set distributed.comm.tls in its settings"
        )
    try:
        # A client retries where nothing listens, and waits for ever where something else than a scheduler does.
        socket.create_connection(host_and_port, timeout=ANSWER_SECONDS).close()
        with ThreadPoolExecutor(1) as pool:  # a notebook's own thread has a loop already
            pool.submit(asyncio.run, _greet(address, arguments)).result()
        client = Client(address, timeout=ANSWER_SECONDS, set_as_default=False)
    except (OSError, UnicodeError) as error:
        reason = str(error) or "not a dask scheduler"
        raise SoilcastError(
            f"--dask {address}: no scheduler responds ({reason}): give the address that it prints"
        ) from error
    # It logs tracebacks of a scheduler that is lost, which is one line here.
    log = logging.getLogger("distributed.client")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield client
    finally:
        client.close()
        log.setLevel(level)


async def _greet(address: str, arguments: dict[str, Any]) -> None:
    from distributed.comm.core import connect

    comm = await asyncio.wait_for(connect(address, **arguments), ANSWER_SECONDS)
    await comm.close()


def _parsed(address: str) -> tuple[str, tuple[str, int]]:
    """Scheme, and host and port, of a scheduler's address."""
    try:
        parts = urlsplit(address if "://" in address else f"tcp://{address}")
        if parts.scheme in ("tcp", "tls") and parts.hostname and parts.port:
            return parts.scheme, (parts.hostname, parts.port)
    except ValueError:
        pass
    raise SoilcastError(f"--dask {address}: not the address of a scheduler: write it as tcp://HOST:PORT")


def _refuse_other_version(client: Client, address: str) -> None:
    versions: Any = client.get_versions(packages=["soilcast"])
    own_version = versions["client"]["packages"]["soilcast"]
    peers = {"scheduler": versions["scheduler"]} | {f"worker {name}": of for name, of in versions["workers"].items()}
    for peer, peer_versions in peers.items():
        peer_version = peer_versions["packages"].get("soilcast")
        if peer_version != own_version:
            raise SoilcastError(
                f"--dask {address}: its {peer} has {f'soilcast {peer_version}' if peer_version else 'no soilcast'}: "
                f"install soilcast {own_version} there too"
            )


def _collect(future: Future[Any]) -> _Finished:
    # A worker that dies once it is done takes the result along, and a new one has to be waited for, if it ever comes:
    # so it is fetched in dask's thread, while this one checks that there are workers.
    if future.cancelled():
        return _Finished(future, fault=CancelledError())
    try:
        return _Finished(future, result=future.result())
    except (Exception, asyncio.CancelledError) as fault:
        return _Finished(future, fault=fault)


def _next(finished: SimpleQueue[_Finished], client: Client, address: str) -> _Finished:
    """Wait until a piece is done, for as long as there are workers."""
    last_seen = time.monotonic()
    while True:
        try:
            return finished.get(timeout=_POLL_SECONDS)
        except Empty:
            pass
        try:
            threads = client.nthreads()
        except OSError as error:
            raise _lost(address) from error
        if threads:
            last_seen = time.monotonic()
        elif time.monotonic() - last_seen > RETURN_SECONDS:
            raise SoilcastError(
                f"--dask {address}: all workers were lost: see their logs, start new ones with dask worker {address}, "
                "and run the command again"
            )


def _raise_fault(fault: BaseException, address: str) -> NoReturn:
    from distributed import KilledWorker

    if isinstance(fault, (CancelledError, asyncio.CancelledError)):
        raise _lost(address) from fault
    if isinstance(fault, KilledWorker):
        raise SoilcastError(
            f"--dask {address}: {fault.allowed_failures + 1} workers failed on the same task, the last "
            f"{fault.last_worker.address}: see their logs, and give them more memory"
        ) from fault
    raise fault


def _lost(address: str) -> SoilcastError:
    return SoilcastError(
        f"--dask {address}: the connection to the scheduler was lost: see its log, restart it, and run the command "
        "again"
    )
