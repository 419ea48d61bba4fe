"""One step of training: forecasts, loss, slopes, Adam; for all members and all processes of a training."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from soilcast.errors import SoilcastError
from soilcast.models.cell import is_compiled
from soilcast.models.members import Members
from soilcast.models.passes import PRODUCTS, Pass, make_pass
from soilcast.models.team import SplitPass, Team
from soilcast.training.config import TrainConfig
from soilcast.training.ranks import Ranks
from soilcast.training.samples import AnySamples, AnyTargets, Batch, Draw, Targets, join_targets
from soilcast.water.losses import LossWithSlope

INFERENCE_BATCH = 512
"""Windows that go through a network at once without slopes: more fall out of the cache (benchmarks/)."""

State = dict[str, Tensor]

AnyLoss = Callable[[Any], tuple[Tensor, Mapping[str, Tensor]]]
"""What takes an outcome of the samples' targets and gives the loss and its parts, each ``(member,)``."""
Losses = dict[str, Tensor]

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")
_BITS = 2**16


class Learner:
    """Networks that learn together, and the optimiser's memory of them.

    Parameters
    ----------
    networks
        The members, of one shape.
    loss
        What to minimise.
    config
        Learning rate and precision.
    ranks
        The processes that train together.
    threads
        Threads to split a batch over, on a CPU.
    """

    def __init__(
        self, networks: Sequence[nn.Module], loss: AnyLoss, config: TrainConfig, ranks: Ranks, threads: int = 1
    ) -> None:
        self.members = Members(networks)
        product = PRODUCTS[config.precision]
        self.passing: Pass = make_pass(self.members, product)
        self._team: Team | None = None
        if threads > 1 and self.members.weights.device.type == "cpu" and self.passing.hidden_size and is_compiled():
            torch.set_num_threads(1)  # for the products; the team has the others
            self._team = Team(threads)
            make = functools.partial(make_pass, product=product)
            self.passing = SplitPass(self.members, make, self._team, threads)
        self._loss, self.ranks = loss, ranks
        self._shape: tuple[int, ...] = getattr(networks[0], "output_shape", ())
        self._learns = self.members.marked(config.freeze)
        self._parameter = nn.Parameter(self.members.weights)
        self._parameter.grad = self.members.slopes
        on_gpu = self.members.weights.device.type == "cuda"
        # As a tensor a captured step sees it change.
        rate = self.members.weights.new_tensor(config.learning_rate) if on_gpu else config.learning_rate
        self._optimiser = torch.optim.Adam([self._parameter], lr=rate, fused=True, capturable=on_gpu)

    def close(self) -> None:
        """Send the threads home."""
        if self._team is not None:
            self._team.close()

    def set_rate(self, rate: float) -> None:
        """Take steps of this learning rate from now on."""
        for group in self._optimiser.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def learn(self, batch: Batch, kept: Tensor | None) -> Losses:
        """Take one step.

        Parameters
        ----------
        batch
            The same for every process, which takes its share of it.
        kept
            See `soilcast.models.passes.Pass.forward`.

        Returns
        -------
        The loss (``loss``) and its parts, each ``(member,)``.
        """
        count = batch.windows.shape[2]
        own = self.ranks.share(count)
        windows, kept = batch.windows[:, :, own].contiguous(), None if kept is None else kept[:, own]
        predicted = self.ranks.gather(self.passing.forward(windows, kept), count)
        slope, losses = self._slope(batch.targets, predicted)
        self.passing.backward(slope[:, own])
        self.ranks.add(self.members.slopes)
        if self._learns is not None:
            self.members.slopes.mul_(self._learns)
        self._optimiser.step()
        return losses

    def judge(self, samples: AnySamples, draw: Draw, dropped: KeptUnits | None = None) -> Tensor:
        """Give the loss ``(member,)`` on a draw ``(sample,)``, without dropout unless it is given."""
        members, device = len(self.members.networks), self.members.weights.device
        predicted: list[Tensor] = []
        targets = []
        self.members.train(dropped is not None)
        for start in range(0, len(draw.cells), INFERENCE_BATCH):
            part = draw[start : start + INFERENCE_BATCH]
            batch = samples.gather(Draw(part.cells[np.newaxis], part.days[np.newaxis])).to(device)
            kept = None if dropped is None else dropped.draw(len(part.cells))
            # Each process forecasts some of the batches, and all of them get all forecasts.
            if len(predicted) % self.ranks.size == self.ranks.rank:
                windows = batch.windows.expand(members, -1, -1, -1)
                predicted.append(self.passing.infer(windows, None if kept is None else kept.to(device)))
            else:
                predicted.append(torch.zeros(members, len(part.cells), *self._shape, device=device))
            targets.append(batch.targets)
        self.members.train(True)
        together = self.ranks.add(torch.cat(predicted, dim=1))
        with torch.no_grad():
            every = join_targets(targets).changed(lambda one: one.expand(members, *one.shape[1:]))
            total, _ = self._loss(every.outcome(together))
        return self._by_member(total)

    def state(self) -> State:
        """Copy all that the next step depends on."""
        found = {"weights": self.members.weights}
        found |= {name: self._optimiser.state[self._parameter].get(name, torch.zeros(())) for name in _MOMENTS}
        for member, network in enumerate(self.members.networks):
            found |= {f"buffer.{member}.{name}": value for name, value in network.named_buffers()}
        return {name: value.detach().clone() for name, value in found.items()}

    def restore(self, state: State) -> None:
        """Go back to what `state` gave."""
        self.members.weights.copy_(state["weights"])
        memory = self._optimiser.state[self._parameter]
        for name in _MOMENTS:
            # In place where it can be: a captured step knows only where they lie.
            if name in memory:
                memory[name].copy_(state[name])
            elif state["step"] > 0:
                memory[name] = state[name].clone().to(self.members.weights.device)
        for member, network in enumerate(self.members.networks):
            for name, value in network.named_buffers():
                value.copy_(state[f"buffer.{member}.{name}"])

    def _slope(self, targets: AnyTargets, predicted: Tensor) -> tuple[Tensor, Losses]:
        if isinstance(self._loss, LossWithSlope) and isinstance(targets, Targets):
            total, parts, of_outcome = self._loss.with_slope(targets.outcome(predicted))
            slope = of_outcome * targets.scale
        else:
            leaf = predicted.detach().requires_grad_(True)
            total, parts = self._loss(targets.outcome(leaf))
            (slope,) = torch.autograd.grad(self._by_member(total).sum(), leaf)
        return slope, {"loss": self._by_member(total).detach(), **{name: part.detach() for name, part in parts.items()}}

    def _by_member(self, total: Tensor) -> Tensor:
        members = len(self.members.networks)
        if total.numel() != members:
            raise SoilcastError(
                f"the loss gives {total.numel()} number(s) for train.ensemble={members}: it must average over the last "
                "axis alone (docs/own-loss.md)"
            )
        return total.reshape(members)


class KeptUnits:
    """Which hidden units dropout keeps, drawn from the seeds, the epoch's number and the purpose alone.

    Parameters
    ----------
    rate
        Share of units that are dropped.
    hidden_size
        Units.
    seeds
        One a member.
    epoch
        Number of the epoch.
    purpose
        1 for training, 2 for validation.
    """

    def __init__(self, rate: float, hidden_size: int, seeds: Sequence[int], epoch: int, purpose: int = 1) -> None:
        self._below = round(rate * _BITS)
        self._hidden_size = hidden_size
        self._random = [np.random.default_rng([seed, epoch, purpose]) for seed in seeds]

    def draw(self, samples: int) -> Tensor | None:
        """Draw for the next batch: ``(member, sample, hidden)``, 0 or what makes up for the dropped; None for all."""
        if not self._below or not self._hidden_size:
            return None
        size = (samples, self._hidden_size)
        kept = [random.integers(0, _BITS, size, dtype=np.uint16) >= self._below for random in self._random]
        return torch.from_numpy(np.stack(kept)).to(torch.float32).mul_(_BITS / (_BITS - self._below))
