"""Steps of training, some batches at once: by the native engine where it knows the whole step, else one by one."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor

from soilcast.models.backends import LSTMBackend
from soilcast.models.native import Adam, learn
from soilcast.training.cuda_graph import make_step
from soilcast.training.dropout import DropoutMask
from soilcast.training.learner import BETAS, EPSILON, Learner, Losses
from soilcast.training.losses import Targets
from soilcast.training.samples import Batch, map_tensors

Steps = Callable[[Batch, DropoutMask], Losses]
"""Take a step a batch, of batches that were gathered together; the losses are ``(batch, member)``."""

_MOST_OPERATIONS = 5e9
"""Of a call of the native engine, which Ctrl-C waits for: a tenth of a second, a second on the slowest processor."""


def make_steps(learner: Learner) -> Steps:
    """Choose how the steps of a learner are taken."""
    if _is_known_to_engine(learner):
        return _NativeSteps(learner)
    return _OneByOne(learner)


class _OneByOne:
    """Through the learner, captured where it is alone on a GPU."""

    def __init__(self, learner: Learner) -> None:
        self._step, self._device = make_step(learner), learner.members.weights.device

    def __call__(self, batches: Batch, dropout: DropoutMask) -> Losses:
        every: list[Losses] = []
        for position in range(len(batches.windows)):
            batch = map_tensors(batches, operator.itemgetter(position))
            mask = dropout.draw(batch.windows.shape[2])
            every.append(self._step(batch, None if mask is None else mask.to(self._device)))
        return {name: torch.stack([losses[name] for losses in every]) for name in every[0]}


class _NativeSteps:
    """The paper's network and losses: forward, loss, gradients and Adam in one call."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner

    def __call__(self, batches: Batch, dropout: DropoutMask) -> Losses:
        count, members, days, samples, features = batches.windows.shape
        hidden = self._learner.members.networks[0].design.hidden_size
        together = max(1, int(_MOST_OPERATIONS / (24 * members * days * samples * hidden * (features + hidden))))
        parts = []
        for start in range(0, count, together):
            some = map_tensors(batches, operator.itemgetter(slice(start, start + together)))
            parts.append(self._learn(some, dropout))
        loss = self._learner.loss
        names = ["loss", loss.name, *(["physical"] if loss.is_guided_by_water(batches.targets) else [])]
        return dict(zip(names, torch.cat(parts).unbind(-1), strict=False))

    def _learn(self, batches: Batch, dropout: DropoutMask) -> Tensor:
        learner, targets = self._learner, batches.targets
        drawn = [draws for _ in batches.windows if (draws := dropout.drawn(batches.windows.shape[3])) is not None]
        mean, square, step = learner.moments.values()
        losses = learn(
            learner.members,
            Adam(mean, square, learner.rate, int(step), BETAS, EPSILON),
            batches.windows,
            {field.name: getattr(targets, field.name) for field in fields(Targets) if field.name != "bounds"},
            loss_weights=learner.loss.guidance.weights,
            draws=torch.from_numpy(np.stack(drawn)) if drawn else None,
            dropped_below=dropout.below,
            frozen=learner.frozen,
            product=learner.product,
            threads=learner.threads,
        )
        step.add_(len(losses))
        return losses


def _is_known_to_engine(learner: Learner) -> bool:
    backend, is_alone = learner.backend, learner.ranks.size == 1
    if not isinstance(backend, LSTMBackend) or learner.members.weights.is_cuda or not is_alone:
        return False
    return backend.is_eq7 and learner.loss.is_of_paper
