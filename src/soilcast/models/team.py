"""Threads that do their parts of one small piece of work at once, a thousand times a second."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from soilcast.models.cell import library
from soilcast.models.members import Members
from soilcast.models.passes import Pass

Work = Callable[[], Any]

_CACHE_LINE = 16
"""Numbers of two threads lie so many apart that they share no line of the cache."""


class Team:
    """The calling thread and others, which wait for work by watching a number in memory (cell.c).

    Parameters
    ----------
    size
        Threads, the calling one included.
    """

    def __init__(self, size: int) -> None:
        compiled = library()
        assert compiled is not None, "a team needs the compiled step"
        self._library = compiled
        self._numbers = (ctypes.c_int64 * (2 * size * _CACHE_LINE))()
        start = ctypes.addressof(self._numbers)
        self._asked, self._answered = (
            [start + 8 * _CACHE_LINE * (2 * member + side) for member in range(size)] for side in (0, 1)
        )
        self._work: list[Work | None] = [None] * size
        self._results: list[Any] = [None] * size
        self._turn = 0
        for member in range(1, size):
            threading.Thread(target=self._serve, args=(member,), daemon=True).start()

    def do(self, work: Sequence[Work]) -> list[Any]:
        """Do one piece of work in each thread, and wait for all."""
        self._turn += 1
        for member in range(1, len(work)):
            self._work[member] = work[member]
            self._library.soilcast_set(self._asked[member], self._turn)
        try:
            self._results[0] = work[0]()
        finally:
            for member in range(1, len(work)):
                self._library.soilcast_wait_for(self._answered[member], self._turn)
        for result in self._results[1 : len(work)]:
            if isinstance(result, BaseException):
                raise result
        return self._results[: len(work)]

    def close(self) -> None:
        """Send the other threads home."""
        self.do([lambda: None, *[_go_home] * (len(self._work) - 1)])

    def _serve(self, member: int) -> None:
        torch.set_num_threads(1)
        turn, work = 0, None
        while work is not _go_home:
            turn += 1
            self._library.soilcast_wait_for(self._asked[member], turn)
            work = self._work[member]
            assert work is not None
            try:
                self._results[member] = work()
            except BaseException as error:  # raised where the work was asked for
                self._results[member] = error
            self._library.soilcast_set(self._answered[member], turn)


def _go_home() -> None:
    """Ask a thread of a team to end."""


class SplitPass:
    """A pass whose samples are split over a team, each part through a pass of its own.

    Products of a small batch gain little from the threads of torch, which split each of them; split once, a batch's
    parts meet at the loss and at the end.

    Parameters
    ----------
    members
        The networks.
    make
        Makes the pass of a part.
    team
        The threads, ``parts`` of them.
    """

    def __init__(self, members: Members, make: Callable[[Members], Pass], team: Team, parts: int) -> None:
        self._members, self._team = members, team
        self._alongside = [members.alongside() for _ in range(parts)]
        self._passes = [make(one) for one in self._alongside]
        self.hidden_size = self._passes[0].hidden_size

    def forward(self, windows: Tensor, kept: Tensor | None) -> Tensor:
        """See `Pass`."""
        inputs = [part.contiguous() for part in windows.tensor_split(len(self._passes), dim=2)]
        masks = [None] * len(inputs) if kept is None else kept.tensor_split(len(inputs), dim=1)
        together = zip(self._passes, inputs, masks, strict=True)
        return torch.cat(self._team.do([_bind(one.forward, part, mask) for one, part, mask in together]), dim=1)

    def backward(self, slope: Tensor) -> None:
        """See `Pass`."""
        parts = slope.tensor_split(len(self._passes), dim=1)
        self._team.do([_bind(one.backward, part) for one, part in zip(self._passes, parts, strict=True)])
        first, second, *others = (one.slopes for one in self._alongside)
        torch.add(first, second, out=self._members.slopes)
        for other in others:
            self._members.slopes.add_(other)

    def infer(self, windows: Tensor, kept: Tensor | None = None) -> Tensor:
        """See `Pass`."""
        parts = windows.tensor_split(len(self._passes), dim=2)
        masks = [None] * len(parts) if kept is None else kept.tensor_split(len(parts), dim=1)
        together = zip(self._passes, parts, masks, strict=True)
        work = [_bind(one.infer, part, mask) for one, part, mask in together]
        return torch.cat(self._team.do(work), dim=1)

    def sweep(self, sequences: Tensor, length: int) -> Tensor:
        """See `Pass`."""
        return self._passes[0].sweep(sequences, length)


def _bind(function: Callable[..., Any], *given: Any) -> Work:
    def work() -> Any:
        with torch.no_grad():
            return function(*given)

    return work
