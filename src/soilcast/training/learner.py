"""One step of training: forecasts, loss, gradients, Adam; for all members and all processes of a training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from soilcast.models import Network
from soilcast.models.backends import PRODUCTS, Backend, LSTMBackend, make_training_backend
from soilcast.models.members import Members
from soilcast.training.devices import Ranks
from soilcast.training.dropout import DropoutMask
from soilcast.training.losses import Loss, Targets, join_targets
from soilcast.training.samples import Batch, SampleIndices, Samples, map_tensors
from soilcast.training.sections import TrainConfig

INFERENCE_BATCH = 512
"""Windows that go through a network at once without gradients: more fall out of the cache (benchmarks/)."""

State = dict[str, Tensor]

Losses = dict[str, Tensor]

BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Of Adam (Kingma & Ba, 2015)."""


class Learner:
    """Networks that learn together, and the optimizer state.

    Parameters
    ----------
    networks
        The members, of one shape.
    loss
        What to minimise.
    config
        Learning rate, precision, and what is validated.
    ranks
        The processes that train together.
    threads
        Threads that members and parts of a batch are shared among, on a CPU.

    Attributes
    ----------
    moments
        State of Adam: ``exp_avg`` and ``exp_avg_sq (member, parameter)``, and ``step``, how many were taken.
    """

    def __init__(
        self, networks: Sequence[Network], loss: Loss, config: TrainConfig, ranks: Ranks, threads: int = 1
    ) -> None:
        self.members = Members(networks)
        weights = self.members.weights
        self.product, self.threads = PRODUCTS[config.precision], threads
        self.backend: Backend = make_training_backend(self.members, self.product, threads)
        if isinstance(self.backend, LSTMBackend) and not weights.is_cuda:
            torch.set_num_threads(1)  # the native engine has the others, which torch's would spin beside
        self.loss, self._validated, self._monitor, self.ranks = loss, loss, config.monitor, ranks
        self.mask_shape, self._output_shape = networks[0].mask_shape, networks[0].output_shape
        self.frozen = config.freeze
        self._learns = self.members.marked(config.freeze) if config.freeze else None
        self.moments = {"exp_avg": torch.zeros_like(weights), "exp_avg_sq": torch.zeros_like(weights)}
        if (absent := self.members.absent()) is not None:
            # An infinite mean square: Adam never moves the weight of a connection that a network lacks.
            self.moments["exp_avg_sq"].masked_fill_(absent, torch.inf)
        self.moments["step"] = weights.new_zeros(())
        self.rate = config.learning_rate
        self._rate_on_gpu = weights.new_tensor(self.rate)  # where a captured step sees it change

    def set_rate(self, rate: float) -> None:
        """Take steps of this learning rate from now on."""
        self.rate = rate
        self._rate_on_gpu.fill_(rate)

    def set_strength(self, strength: float) -> None:
        """Let the penalty of Eq. 14 count so much in training from now on, beside what it does in validation."""
        self.loss = self._validated.with_strength(strength)

    def gradient_ratio(self, batch: Batch) -> float:
        """See `Loss.gradient_ratio`, of the forecasts of a batch without dropout."""
        self.members.train(False)
        output = self.backend.infer(batch.windows, None)
        self.members.train(True)
        return self._validated.gradient_ratio(output, batch.targets)

    def learn(self, batch: Batch, mask: Tensor | None) -> Losses:
        """Take one step.

        Parameters
        ----------
        batch
            The same for every process, which takes its share of it.
        mask
            Dropout: see `soilcast.models.backends.Backend`.

        Returns
        -------
        The loss (``loss``) and its parts, each ``(member,)``.
        """
        count = batch.windows.shape[2]
        own = self.ranks.share(count)
        windows, mask = batch.windows[:, :, own].contiguous(), None if mask is None else mask[:, own]
        output = self.ranks.gather(self.backend.forward(windows, mask), count)
        grad, losses = self._gradient(output, batch.targets)
        self.backend.backward(grad[:, own])
        self.ranks.add(self.members.gradients)
        if self._learns is not None:
            self.members.gradients.mul_(self._learns)
        self._take_step()
        return losses

    def evaluate(self, samples: Samples, indices: SampleIndices, dropout: DropoutMask | None = None) -> Tensor:
        """Give what ``train.monitor`` names ``(member,)`` of samples ``(sample,)``, without dropout unless given."""
        members, device = len(self.members.networks), self.members.weights.device
        outputs: list[Tensor] = []
        targets = []
        self.members.train(dropout is not None)
        for start in range(0, len(indices.cells), INFERENCE_BATCH):
            part = indices[start : start + INFERENCE_BATCH]
            batch = samples.gather(SampleIndices(part.cells[np.newaxis], part.days[np.newaxis])).to(device)
            mask = None if dropout is None else dropout.draw(len(part.cells))
            # Each process forecasts some of the batches, and all of them get all forecasts.
            if len(outputs) % self.ranks.size == self.ranks.rank:
                windows = batch.windows.expand(members, -1, -1, -1)
                outputs.append(self.backend.infer(windows, None if mask is None else mask.to(device)))
            else:
                outputs.append(torch.zeros(members, len(part.cells), *self._output_shape, device=device))
            targets.append(batch.targets)
        self.members.train(True)
        together = self.ranks.add(torch.cat(outputs, dim=1))
        with torch.no_grad():
            every = map_tensors(join_targets(targets), lambda one: one.expand(members, *one.shape[1:]))
            total, parts = self._validated(together, every)
        return total if self._monitor == "loss" else parts[self.loss.name]

    def state(self) -> State:
        """Copy all that the next step depends on."""
        found = {"weights": self.members.weights, **self.moments}
        for member, network in enumerate(self.members.networks):
            found |= {f"buffer.{member}.{name}": value for name, value in network.named_buffers()}
        return {name: value.detach().clone() for name, value in found.items()}

    def restore(self, state: State) -> None:
        """Go back to what `state` gave; in place, as a captured step knows only where things lie."""
        self.members.weights.copy_(state["weights"])
        for name, moment in self.moments.items():
            moment.copy_(state[name])
        for member, network in enumerate(self.members.networks):
            for name, value in network.named_buffers():
                value.copy_(state[f"buffer.{member}.{name}"])

    def _take_step(self) -> None:
        # What torch.optim.Adam(fused=True) does, whose import takes seconds.
        mean, square, step = self.moments.values()
        step.add_(1)
        changed: tuple[list[Tensor], ...] = (
            [self.members.weights],
            [self.members.gradients],
            [mean],
            [square],
            [],
            [step],
        )
        beta1, beta2 = BETAS
        rate = self._rate_on_gpu if self._rate_on_gpu.is_cuda else self.rate
        torch._fused_adam_(
            *changed, lr=rate, beta1=beta1, beta2=beta2, weight_decay=0.0, eps=EPSILON, amsgrad=False, maximize=False
        )

    def _gradient(self, output: Tensor, targets: Targets) -> tuple[Tensor, Losses]:
        known = self.loss.with_gradient(output, targets)
        if known is not None:
            total, parts, grad = known
        else:
            leaf = output.detach().requires_grad_(True)
            total, parts = self.loss(leaf, targets)
            (grad,) = torch.autograd.grad(total.sum(), leaf)
        return grad, {"loss": total.detach(), **{name: part.detach() for name, part in parts.items()}}
