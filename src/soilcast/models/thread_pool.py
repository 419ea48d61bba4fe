"""Threads that compute their parts of a batch at once, a thousand times a second."""

from __future__ import annotations

import ctypes
import functools
import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from soilcast.models.backends import Backend
from soilcast.models.lstm_kernel import library
from soilcast.models.members import Members

Job = Callable[[], Any]

_CACHE_LINE = 16
"""Distance of the numbers of two threads: they share no line of the cache."""


class ThreadPool:
    """The calling thread and others, which wait for work by watching a number in memory (lstm_kernel.c).

    Parameters
    ----------
    size
        Threads, the calling one included.
    """

    def __init__(self, size: int) -> None:
        compiled = library()
        assert compiled is not None, "a thread pool needs the compiled step"
        self._library = compiled
        self._numbers = (ctypes.c_int64 * (2 * size * _CACHE_LINE))()
        start = ctypes.addressof(self._numbers)
        self._requested, self._completed = (
            [start + 8 * _CACHE_LINE * (2 * member + side) for member in range(size)] for side in (0, 1)
        )
        self._jobs: list[Job | None] = [None] * size
        self._results: list[Any] = [None] * size
        self._turn = 0
        for member in range(1, size):
            threading.Thread(target=self._serve, args=(member,), daemon=True).start()

    def run(self, jobs: Sequence[Job]) -> list[Any]:
        """Do one piece of work in each thread, without gradients, and wait for all."""
        self._turn += 1
        for member in range(1, len(jobs)):
            self._jobs[member] = jobs[member]
            self._library.soilcast_set(self._requested[member], self._turn)
        try:
            with torch.no_grad():
                self._results[0] = jobs[0]()
        finally:
            for member in range(1, len(jobs)):
                self._library.soilcast_wait_for(self._completed[member], self._turn)
        for result in self._results[1 : len(jobs)]:
            if isinstance(result, BaseException):
                raise result
        return self._results[: len(jobs)]

    def close(self) -> None:
        """End the other threads."""
        for member in range(1, len(self._jobs)):
            self._jobs[member] = None
            self._library.soilcast_set(self._requested[member], self._turn + 1)

    def _serve(self, member: int) -> None:
        torch.set_num_threads(1)
        torch.set_grad_enabled(False)  # of this thread
        for turn in itertools.count(1):
            self._library.soilcast_wait_for(self._requested[member], turn)
            job = self._jobs[member]
            if job is None:
                return
            try:
                self._results[member] = job()
            except BaseException as error:  # raised by `run`
                self._results[member] = error
            self._library.soilcast_set(self._completed[member], turn)


class SplitBackend:
    """A backend whose samples are split over threads, each part through a backend of its own.

    Products of a small batch gain little from the threads of torch, which split each of them; split once, a batch's
    parts meet at the loss and at the end.

    Parameters
    ----------
    members
        The networks.
    make
        Makes the backend of a part.
    pool
        The threads, ``parts`` of them.
    """

    is_splittable = False

    def __init__(self, members: Members, make: Callable[[Members], Backend], pool: ThreadPool, parts: int) -> None:
        self._members, self._pool = members, pool
        self._parts = [members.alongside() for _ in range(parts)]
        self._backends = [make(part) for part in self._parts]

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """See `Backend`."""
        return self._together([backend.forward for backend in self._backends], windows, mask)

    def backward(self, grad: Tensor) -> None:
        """See `Backend`."""
        parts = grad.tensor_split(len(self._backends), dim=1)
        backwards = (backend.backward for backend in self._backends)
        self._pool.run([functools.partial(backward, part) for backward, part in zip(backwards, parts, strict=True)])
        first, second, *rest = (backend.gradients for backend in self._parts)
        torch.add(first, second, out=self._members.gradients)
        for gradients in rest:
            self._members.gradients.add_(gradients)

    def infer(self, windows: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `Backend`."""
        return self._together([backend.infer for backend in self._backends], windows, mask)

    def predict_windows(self, sequences: Tensor, length: int) -> Tensor:
        """See `Backend`."""
        return self._backends[0].predict_windows(sequences, length)

    def _together(self, forecast: Sequence[Callable[..., Tensor]], windows: Tensor, mask: Tensor | None) -> Tensor:
        inputs = [part.contiguous() for part in windows.tensor_split(len(forecast), dim=2)]
        masks = [None] * len(inputs) if mask is None else mask.tensor_split(len(inputs), dim=1)
        jobs = [functools.partial(infer, *part) for infer, *part in zip(forecast, inputs, masks, strict=True)]
        return torch.cat(self._pool.run(jobs), dim=1)
