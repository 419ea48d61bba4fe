"""Work on the workers of a dask cluster: pieces go out, results come back in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from soilcast.errors import SoilcastError

Result = TypeVar("Result")

_WAIT = "30s"
_AHEAD = 2
"""Pieces that are out for each thread of the workers: enough that none waits, few enough to hold their results."""


def work_on_cluster(
    address: str, work: Callable[[slice], Result], pieces: Mapping[int, slice]
) -> Iterator[tuple[int, Result]]:
    """Do some work on each piece on a cluster's workers, and give the results as they come.

    Parameters
    ----------
    address
        Of the scheduler, such as ``tcp://host:8786``.
    work
        Called on a worker with the cells of a piece; it and what it gives travel between the processes, so the paths
        in it must be those of the workers too.
    pieces
        Number of a piece -> its cells.

    Returns
    -------
    Pairs of a piece's number and its result.

    Raises
    ------
    SoilcastError
        Without the extra ``cluster``; an address at which no scheduler or no worker answers; workers that died of a
        piece; whatever the work raises.
    """
    try:
        from distributed import Client, KilledWorker, as_completed
    except ImportError as error:
        raise SoilcastError("--dask needs an extra: install it with pip install 'soilcast[cluster]'") from error
    try:
        client = Client(address, timeout=_WAIT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SoilcastError(
            f"--dask {address}: no scheduler answers ({error}): give the address that it shows"
        ) from error
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise SoilcastError(f"--dask {address}: the cluster has no workers: start some with dask worker {address}")
        waiting = list(pieces.items())
        numbers = {}
        out = as_completed()
        for number, cells in waiting[: _AHEAD * threads]:
            future = client.submit(work, cells, pure=False)
            numbers[future.key] = number
            out.add(future)
        del waiting[: _AHEAD * threads]
        for future in out:
            try:
                result = future.result()
            except KilledWorker as error:
                raise SoilcastError(
                    f"--dask {address}: workers died of a piece ({error}): see their logs, give them more memory"
                ) from error
            if waiting:
                number, cells = waiting.pop(0)
                following = client.submit(work, cells, pure=False)
                numbers[following.key] = number
                out.add(following)
            yield numbers.pop(future.key), result
