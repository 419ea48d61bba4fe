"""Steps of training, some batches at once: by the native engine where it knows the whole step, else one by one."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from soilcast.models import Head
from soilcast.models.backends import LSTMBackend
from soilcast.models.distributions import Point, Quantiles
from soilcast.models.native import MOST_LEVELS, Adam, LinearLoss, learn
from soilcast.training.cuda_graph import make_step
from soilcast.training.dropout import DropoutMask
from soilcast.training.learner import BETAS, EPSILON, Learner, Losses
from soilcast.training.samples import Batch, map_tensors

Steps = Callable[[Batch, DropoutMask], Losses]
"""Take a step a batch, of batches that were gathered together; the losses are ``(batch, member)``."""

_MOST_OPERATIONS = 5e9
"""Of a call of the native engine, which Ctrl-C waits for: a tenth of a second, a second on the slowest processor."""


def make_steps(learner: Learner, *, is_fixed: bool = True) -> Steps:
    """Choose how the steps of a learner are taken; ``is_fixed`` says that its loss stays as it is."""
    loss = _loss_of_engine(learner)
    return _OneByOne(learner, is_fixed) if loss is None else _NativeSteps(learner, loss)


class _OneByOne:
    """Through the learner, captured where it is alone on a GPU."""

    def __init__(self, learner: Learner, is_fixed: bool) -> None:
        self._step, self._device = make_step(learner, is_fixed=is_fixed), learner.members.weights.device

    def __call__(self, batches: Batch, dropout: DropoutMask) -> Losses:
        every: list[Losses] = []
        for position in range(len(batches.windows)):
            batch = map_tensors(batches, operator.itemgetter(position))
            mask = dropout.draw(batch.windows.shape[2])
            every.append(self._step(batch, None if mask is None else mask.to(self._device)))
        return {name: torch.stack([losses[name] for losses in every]) for name in every[0]}


class _NativeSteps:
    """Forward, loss, gradients and Adam of many steps in one call."""

    def __init__(self, learner: Learner, loss: LinearLoss) -> None:
        self._learner, self._loss = learner, loss
        # Each weight is multiplied in the product forward and in the two back.
        self._operations = 6 * learner.members.weights.numel()

    def __call__(self, batches: Batch, dropout: DropoutMask) -> Losses:
        _, _, days, samples, _ = batches.windows.shape
        together = max(1, int(_MOST_OPERATIONS / (self._operations * days * samples)))
        parts = []
        for start in range(0, len(batches.windows), together):
            some = map_tensors(batches, operator.itemgetter(slice(start, start + together)))
            parts.append(self._learn(some, dropout))
        loss = self._learner.loss
        names = ["loss", loss.name, *(["physical"] if loss.is_guided_by_water(batches.targets) else [])]
        return dict(zip(names, torch.cat(parts).unbind(-1), strict=False))

    def _learn(self, batches: Batch, dropout: DropoutMask) -> Tensor:
        learner, targets = self._learner, vars(batches.targets)
        drawn = [draws for _ in batches.windows if (draws := dropout.drawn(batches.windows.shape[3])) is not None]
        mean, square, step = learner.moments.values()
        losses = learn(
            learner.members,
            Adam(mean, square, learner.rate, int(step), BETAS, EPSILON),
            replace(self._loss, weights=learner.loss.guidance.weights),
            batches.windows,
            {name: targets[name] for name in targets if name != "bounds"},
            draws=torch.from_numpy(np.stack(drawn)) if drawn else None,
            dropped_below=dropout.below,
            frozen=learner.frozen,
            product=learner.product,
            threads=learner.threads,
        )
        step.add_(len(losses))
        return losses


def _loss_of_engine(learner: Learner) -> LinearLoss | None:
    """Give the loss of a learner as the native engine knows it; None if it does not know the step."""
    is_native = isinstance(learner.backend, LSTMBackend) and not learner.members.weights.is_cuda
    head = learner.members.networks[0].head
    if not is_native or type(head) is not Head or learner.ranks.size > 1:
        return None
    loss, score = learner.loss, learner.loss.known_score
    is_next_day_alone = head.linear.out_features == 1
    if score is None or (loss.guidance.weights[1] and not is_next_day_alone):
        return None
    if type(score.distribution) not in (Point, Quantiles):
        return None
    levels = score.distribution.levels if isinstance(score.distribution, Quantiles) else ()
    if len(levels) > MOST_LEVELS:
        return None
    return LinearLoss(loss.guidance.weights, score.root, levels, loss.lead_weights)
