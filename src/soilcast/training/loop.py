"""The training loop: draws, Adam, validation in evaluation mode, early stopping, best weights kept."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from soilcast.errors import SoilcastError
from soilcast.training.config import TrainConfig
from soilcast.training.progress import Advance
from soilcast.training.samples import SAMPLERS, Draw, Samples
from soilcast.water.losses import Loss

INFERENCE_BATCH = 1024
"""Windows that go through the network at once without gradients: more fall out of the cache (benchmarks/)."""

_GATHERED_SAMPLES = 32_768

Record = dict[str, Any]


@dataclass
class Training:
    """How a training went.

    Parameters
    ----------
    weights
        State of the network at the lowest validation loss.
    best_epoch, best_loss
        When that was, and the loss.
    status
        ``"finished"`` (all epochs), ``"stopped early"`` or ``"interrupted"``.
    log
        One record an epoch: epoch, train_loss, validation_loss (None between validations), parts of the
        loss, seconds, samples_per_second.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0
    best_loss: float = math.inf
    status: str = "finished"
    log: list[Record] = field(default_factory=list)


def train_network(
    network: nn.Module,
    loss: Loss,
    samples: Samples,
    usable: npt.NDArray[np.bool_],
    validation: Draw,
    config: TrainConfig,
    *,
    record: Callable[[Record], None],
    advance: Advance,
) -> Training:
    """Train a network in place.

    Every epoch's draws and dropout come from the seed and the epoch's number alone.

    Parameters
    ----------
    network
        Takes ``(sample, day, feature)`` and gives ``(sample,)``.
    usable
        ``(cell, time)``, the cell-days to draw from.
    validation
        The cell-days of the validation ``(sample,)``.
    record
        Called with each epoch's record.
    advance
        Called after each epoch with its standing in words.

    Returns
    -------
    The best weights and the log; Ctrl-C ends the training with the best weights so far.

    Raises
    ------
    SoilcastError
        The loss is no longer a finite number.
    """
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True)
    training = Training()
    without_gain = 0
    try:
        for epoch in range(1, config.epochs + 1):
            began = time.perf_counter()
            standing = _train_epoch(network, loss, samples, usable, config, optimiser, epoch)
            _refuse_divergence(standing["train_loss"], epoch)
            seconds = time.perf_counter() - began
            validated = epoch % config.validate_every == 0 or epoch == config.epochs
            validation_loss = _validate(network, loss, samples, validation) if validated else None
            training.log.append(
                {"epoch": epoch, **standing}
                | {"validation_loss": validation_loss, "seconds": round(time.perf_counter() - began, 4)}
                | {"samples_per_second": round(config.batches_per_epoch * config.batch_size / seconds)}
            )
            record(training.log[-1])
            advance(_in_words(training.log[-1], training.best_loss))
            if validation_loss is None:
                continue
            _refuse_divergence(validation_loss, epoch)
            if validation_loss < training.best_loss:
                without_gain = 0
                _keep(network, training, epoch, validation_loss)
            else:
                without_gain += 1
            if without_gain >= config.patience:
                training.status = "stopped early"
                break
    except KeyboardInterrupt:
        training.status = "interrupted"
        if not training.weights:
            _keep(network, training, len(training.log), _validate(network, loss, samples, validation))
    network.load_state_dict(training.weights)
    return training


def predict(network: nn.Module, windows: Callable[[slice], Tensor], count: int) -> Tensor:
    """Run a network without gradients and without dropout.

    Parameters
    ----------
    windows
        Gives ``(sample, day, feature)`` of a slice of the samples.
    count
        Number of samples.

    Returns
    -------
    ``(count,)``.
    """
    was_training = network.training
    network.eval()
    starts = range(0, count, INFERENCE_BATCH)
    with torch.inference_mode():
        parts = [network(windows(slice(start, min(start + INFERENCE_BATCH, count)))) for start in starts]
    network.train(was_training)
    return torch.cat(parts) if parts else torch.empty(0)


@contextmanager
def torch_threads(threads: int) -> Iterator[int]:
    """Use this number of threads (0: the cores at hand, at most 4, where a batch of 64 stops to gain), then go back."""
    before = torch.get_num_threads()
    chosen = threads or min(len(os.sched_getaffinity(0)), 4)
    torch.set_num_threads(chosen)
    try:
        yield chosen
    finally:
        torch.set_num_threads(before)


def seed_of(*parts: int) -> int:
    """Mix numbers into one seed for torch."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint32)[0])


def _train_epoch(
    network: nn.Module,
    loss: Loss,
    samples: Samples,
    usable: npt.NDArray[np.bool_],
    config: TrainConfig,
    optimiser: torch.optim.Optimizer,
    epoch: int,
) -> dict[str, float]:
    network.train()
    torch.manual_seed(seed_of(config.seed, epoch))
    random = np.random.default_rng([config.seed, epoch])
    draws = SAMPLERS[config.sampling](usable, config.batches_per_epoch, config.batch_size, random)
    sums: dict[str, Tensor] = {}
    for batch, windows in _batches(samples, draws):
        outcome = samples.outcome(batch, network(windows))
        total, parts = loss(outcome)
        optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        for name, value in {"train_loss": total, **{f"train_{part}": one for part, one in parts.items()}}.items():
            sums[name] = sums.get(name, torch.zeros(())) + value.detach()
    return {name: float(value) / config.batches_per_epoch for name, value in sums.items()}


def _batches(samples: Samples, draws: Draw) -> Iterator[tuple[Draw, Tensor]]:
    """Gather many batches at once, which is cheaper than one by one, yet never more than fit well in memory."""
    batches, size = draws.cells.shape
    together = max(1, _GATHERED_SAMPLES // size)
    for start in range(0, batches, together):
        group = Draw(draws.cells[start : start + together], draws.days[start : start + together])
        for position, windows in enumerate(samples.windows(group)):
            yield Draw(group.cells[position], group.days[position]), windows


def _validate(network: nn.Module, loss: Loss, samples: Samples, draw: Draw) -> float:
    predicted = predict(network, lambda part: samples.windows(Draw(draw.cells[part], draw.days[part])), len(draw.cells))
    total, _ = loss(samples.outcome(draw, predicted))
    return float(total)


def _keep(network: nn.Module, training: Training, epoch: int, loss: float) -> None:
    training.weights = copy.deepcopy(network.state_dict())
    training.best_epoch, training.best_loss = epoch, loss


def _refuse_divergence(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise SoilcastError(f"training diverged in epoch {epoch} (loss {loss}): lower train.learning_rate")


def _in_words(record: Record, best: float) -> str:
    speed = f"{record['samples_per_second']:,} samples/s"
    known = f", best validation {best:.4f}" if math.isfinite(best) else ""
    return f"loss {record['train_loss']:.4f}{known}, {speed}"
