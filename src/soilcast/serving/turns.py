"""How much work that takes long or much memory is done at a time: the rest waits its turn, or is told to come again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from soilcast.serving.faults import BusyError


class Turns:
    """Lets some threads work and some wait; what comes beyond is refused, so that quick answers have threads left.

    Parameters
    ----------
    working, waiting
        How many at most.
    """

    def __init__(self, working: int, waiting: int) -> None:
        self._there = threading.BoundedSemaphore(working + waiting)
        self._working = threading.BoundedSemaphore(working)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn.

        Raises
        ------
        BusyError
            Too many wait already.
        """
        if not self._there.acquire(blocking=False):
            raise BusyError("too many such requests wait already: ask again in some seconds")
        try:
            with self._working:
                yield
        finally:
            self._there.release()
