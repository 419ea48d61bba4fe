"""Work on the workers of a dask cluster: pieces go out, results come back in any order."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from soilcast.errors import SoilcastError
from soilcast.plugins import Plugin, loaded_plugins, use_plugins

if TYPE_CHECKING:
    from distributed import Client, Future

Piece = TypeVar("Piece")
Result = TypeVar("Result")

ANSWER_SECONDS = 10.0
"""How long a scheduler may take to answer."""

RETURN_SECONDS = 60.0
"""How long a cluster may be without any worker in the middle of the work: nannies start those that died again."""

_LOOK_SECONDS = 2.0
_AHEAD = 2
"""Pieces that are out for each thread of the workers: enough that none waits, few enough to hold their results."""


@dataclass(frozen=True)
class _Ended:
    """A piece that is done, and what came of it."""

    future: Future[Any]
    result: Any = None
    fault: BaseException | None = None


def work_on_cluster(
    address: str, work: Callable[[Piece], Result], pieces: Mapping[int, Piece], *, most: int | None = None
) -> Iterator[tuple[int, Result]]:
    """Do some work on each piece on a cluster's workers, and give the results as they come.

    A piece whose worker died goes to another one.

    Parameters
    ----------
    address
        Of the scheduler, such as ``tcp://host:8786``.
    work
        Called on a worker with a piece; they and what it gives travel between the processes, so the paths in them
        must be whole ones, and those of the workers too.
    pieces
        Number of a piece -> the piece, such as the slice of its cells; asked for one by one as workers are free.
    most
        So many pieces at once, whatever the number of workers: what comes back from them is held here.

    Returns
    -------
    Pairs of a piece's number and its result.

    Raises
    ------
    SoilcastError
        Without the extra ``cluster``; an address at which no scheduler or no worker answers; a scheduler or workers
        that are lost, workers that died of a piece; another soilcast on the cluster; whatever the work raises.
    """
    with _connected(address) as client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise SoilcastError(f"--dask {address}: the cluster has no workers: start some with dask worker {address}")
        _refuse_other_soilcast(client, address)
        waiting = list(pieces)
        ahead = _AHEAD * threads if most is None else min(most, _AHEAD * threads)
        out: dict[Future[Result], int] = {}
        ended: SimpleQueue[_Ended] = SimpleQueue()
        while waiting or out:
            while waiting and len(out) < ahead:
                number = waiting.pop(0)
                future = _submitted(client, work, pieces[number])
                out[future] = number
                future.add_done_callback(lambda done: ended.put(_gathered(done)))
            piece = _next(ended, client, address)
            if piece.fault is not None:
                _tell(piece.fault, address)
            yield out.pop(piece.future), piece.result


def _submitted(client: Client, work: Callable[[Piece], Result], piece: Piece) -> Future[Result]:
    plugins = loaded_plugins()
    if not plugins:
        return client.submit(work, piece, pure=False)
    import cloudpickle

    # What is of a plugin cannot be unpacked before it is loaded, which the worker's own way to it would do.
    return client.submit(_with_plugins, plugins, cloudpickle.dumps((work, piece)), pure=False)


def _with_plugins(plugins: Sequence[Plugin], packed: bytes) -> Any:
    import cloudpickle

    use_plugins(plugins)
    work, piece = cloudpickle.loads(packed)
    return work(piece)


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    try:
        from distributed import Client, Security
    except ImportError as error:
        raise SoilcastError("--dask needs an extra: install it with pip install 'soilcast[cluster]'") from error
    scheme, place = _parsed(address)
    arguments = Security().get_connection_args("client")
    if scheme == "tls" and arguments["ssl_context"] is None:
        raise SoilcastError(
            f"--dask {address}: dask has no certificate for it: set distributed.comm.tls in its settings"
        )
    try:
        # A client knocks again and again where nothing listens, and waits for ever where no scheduler does.
        socket.create_connection(place, timeout=ANSWER_SECONDS).close()
        with ThreadPoolExecutor(1) as pool:  # a notebook's own thread has a loop already
            pool.submit(asyncio.run, _greet(address, arguments)).result()
        client = Client(address, timeout=ANSWER_SECONDS, set_as_default=False)
    except (OSError, UnicodeError) as error:
        said = str(error) or "not a dask scheduler"
        raise SoilcastError(
            f"--dask {address}: no scheduler responds ({said}): give the address that it prints"
        ) from error
    # It logs tracebacks of a scheduler that is lost, which is told in one line here.
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


def _refuse_other_soilcast(client: Client, address: str) -> None:
    versions: Any = client.get_versions(packages=["soilcast"])
    mine = versions["client"]["packages"]["soilcast"]
    others = {"scheduler": versions["scheduler"]} | {f"worker {at}": of for at, of in versions["workers"].items()}
    for other, known in others.items():
        theirs = known["packages"].get("soilcast")
        if theirs != mine:
            raise SoilcastError(
                f"--dask {address}: its {other} has {f'soilcast {theirs}' if theirs else 'no soilcast'}: install "
                f"soilcast {mine} there too"
            )


def _gathered(future: Future[Any]) -> _Ended:
    # A worker that dies once it is done takes the result along, and a new one has to be waited for, if it ever comes:
    # so it is fetched in dask's thread, while this one looks whether there are workers.
    if future.cancelled():
        return _Ended(future, fault=CancelledError())
    try:
        return _Ended(future, result=future.result())
    except (Exception, asyncio.CancelledError) as fault:
        return _Ended(future, fault=fault)


def _next(ended: SimpleQueue[_Ended], client: Client, address: str) -> _Ended:
    """Wait until a piece is done, for as long as there are workers."""
    seen = time.monotonic()
    while True:
        try:
            return ended.get(timeout=_LOOK_SECONDS)
        except Empty:
            pass
        try:
            threads = client.nthreads()
        except OSError as error:
            raise _lost(address) from error
        if threads:
            seen = time.monotonic()
        elif time.monotonic() - seen > RETURN_SECONDS:
            raise SoilcastError(
                f"--dask {address}: all workers were lost: see their logs, start new ones with dask worker {address}, "
                "and run the command again"
            )


def _tell(fault: BaseException, address: str) -> NoReturn:
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
