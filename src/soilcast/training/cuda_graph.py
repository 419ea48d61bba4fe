"""A step of training as one CUDA graph: a GPU is done with a small batch before Python has launched the next kernel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from soilcast.training.learner import Learner, Losses
from soilcast.training.samples import Batch

Step = Callable[[Batch, Tensor | None], Losses]

_WARM_UP = 3


def make_step(learner: Learner, *, is_fixed: bool = True) -> Step:
    """Give the step of a learner: captured where it is alone on a GPU and its loss is fixed, else as it is."""
    if is_fixed and learner.members.weights.device.type == "cuda" and learner.ranks.size == 1:
        return _CapturedStep(learner)
    return learner.learn


class _CapturedStep:
    """Replays one captured step on batches that are copied to where the first one lay."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, batch: Batch, mask: Tensor | None) -> Losses:
        if self._graph is None:
            self._graph = self._capture(batch, mask)
        self._batch.copy_(batch)
        if mask is not None and self._mask is not None:
            self._mask.copy_(mask)
        self._graph.replay()
        return {name: value.clone() for name, value in self._losses.items()}

    def _capture(self, batch: Batch, mask: Tensor | None) -> torch.cuda.CUDAGraph:
        self._batch = batch.copy()
        self._mask = None if mask is None else mask.clone()
        before = self._learner.state()
        # Libraries choose their kernels and the optimizer makes its state on the first steps, which do not count; nor
        # does what a network that drops by itself draws in them.
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.random.fork_rng([self._batch.windows.device]), torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                self._learner.learn(self._batch, self._mask)
        torch.cuda.current_stream().wait_stream(aside)
        self._learner.restore(before)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=aside):
            self._losses = self._learner.learn(self._batch, self._mask)
        return graph
