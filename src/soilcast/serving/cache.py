"""What is kept in memory of what was read or drawn: no more than some bytes, the least recently used go first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

Value = TypeVar("Value")

_OVERHEAD = 200
"""What an entry takes beside its value [bytes]."""


class Cache:
    """Values by key, made once however many threads ask for one at a time.

    Parameters
    ----------
    limit
        Bytes that are kept at most. A value larger than a quarter of it is made, given and not kept.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.held, self.hits, self.misses = limit, 0, 0, 0
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._under_way: dict[Hashable, Future[Any]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Value], size: Callable[[Value], int]) -> Value:
        """Give a value, made by ``make`` if it is not kept.

        Parameters
        ----------
        key
            Of the value.
        make
            Called in this thread, or not at all. What it raises is raised in every thread that waits, and not kept.
        size
            Bytes of a value.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                self.hits += 1
                found: Value = self._kept[key][0]
                return found
            waiting = self._under_way.get(key)
            if waiting is None:
                mine: Future[Value] = Future()
                self._under_way[key] = mine
                self.misses += 1
        if waiting is not None:
            result: Value = waiting.result()
            return result
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._under_way[key]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._under_way[key]
            self._keep(key, value, size(value) + _OVERHEAD)
        mine.set_result(value)
        return value

    def _keep(self, key: Hashable, value: object, size: int) -> None:
        if size > self.limit // 4:
            return
        self._kept[key] = value, size
        self.held += size
        while self.held > self.limit:
            _, (_, dropped) = self._kept.popitem(last=False)
            self.held -= dropped
