"""One step of training: forecasts, loss, gradients, Adam; for all members and all processes of a training."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from soilcast.models import Network
from soilcast.models.backends import PRODUCTS, Backend, make_backend, make_training_backend
from soilcast.models.lstm_kernel import library
from soilcast.models.members import Members
from soilcast.models.thread_pool import SplitBackend, ThreadPool
from soilcast.training.config import TrainConfig
from soilcast.training.devices import Ranks
from soilcast.training.dropout import DropoutMask
from soilcast.training.losses import Loss, Targets, join_targets
from soilcast.training.samples import Batch, SampleIndices, Samples, map_tensors

INFERENCE_BATCH = 512
"""Windows that go through a network at once without gradients: more fall out of the cache (benchmarks/)."""

State = dict[str, Tensor]

Losses = dict[str, Tensor]

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")
_BITS = 2**16


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
        Threads to split a batch over, on a CPU.
    """

    def __init__(
        self, networks: Sequence[Network], loss: Loss, config: TrainConfig, ranks: Ranks, threads: int = 1
    ) -> None:
        self.members = Members(networks)
        product = PRODUCTS[config.precision]
        self.backend: Backend = make_training_backend(self.members, product)
        self._pool: ThreadPool | None = None
        on_cpu = self.members.weights.device.type == "cpu"
        if threads > 1 and on_cpu and self.backend.is_splittable and library() is not None:
            torch.set_num_threads(1)  # for the products; the pool has the others
            self._pool = ThreadPool(threads)
            make = functools.partial(make_backend, product=product)
            self.backend = SplitBackend(self.members, make, self._pool, threads)
        self._loss, self._monitor, self.ranks = loss, config.monitor, ranks
        self.mask_shape, self._output_shape = networks[0].mask_shape, networks[0].output_shape
        self._learns = self.members.marked(config.freeze) if config.freeze else None
        self._parameter = nn.Parameter(self.members.weights)
        self._parameter.grad = self.members.gradients
        on_gpu = self.members.weights.device.type == "cuda"
        # As a tensor a captured step sees it change.
        rate = self.members.weights.new_tensor(config.learning_rate) if on_gpu else config.learning_rate
        self._optimizer = torch.optim.Adam([self._parameter], lr=rate, fused=True, capturable=on_gpu)

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.close()

    def set_rate(self, rate: float) -> None:
        """Take steps of this learning rate from now on."""
        for group in self._optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

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
        self._optimizer.step()
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
            total, parts = self._loss(together, every)
        return total if self._monitor == "loss" else parts[self._loss.name]

    def state(self) -> State:
        """Copy all that the next step depends on."""
        found = {"weights": self.members.weights}
        found |= {name: self._optimizer.state[self._parameter].get(name, torch.zeros(())) for name in _MOMENTS}
        for member, network in enumerate(self.members.networks):
            found |= {f"buffer.{member}.{name}": value for name, value in network.named_buffers()}
        return {name: value.detach().clone() for name, value in found.items()}

    def restore(self, state: State) -> None:
        """Go back to what `state` gave."""
        self.members.weights.copy_(state["weights"])
        memory = self._optimizer.state[self._parameter]
        for name in _MOMENTS:
            # In place where it can be: a captured step knows only where they lie.
            if name in memory:
                memory[name].copy_(state[name])
            elif state["step"] > 0:
                memory[name] = state[name].clone().to(self.members.weights.device)
        for member, network in enumerate(self.members.networks):
            for name, value in network.named_buffers():
                value.copy_(state[f"buffer.{member}.{name}"])

    def _gradient(self, output: Tensor, targets: Targets) -> tuple[Tensor, Losses]:
        known = self._loss.with_gradient(output, targets)
        if known is not None:
            total, parts, grad = known
        else:
            leaf = output.detach().requires_grad_(True)
            total, parts = self._loss(leaf, targets)
            (grad,) = torch.autograd.grad(total.sum(), leaf)
        return grad, {"loss": total.detach(), **{name: part.detach() for name, part in parts.items()}}
