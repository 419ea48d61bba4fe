"""The training loop: epochs, validation without dropout, early stopping, best weights kept; exact on resuming."""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from soilcast.training.build import seed_of
from soilcast.training.checkpoint import Checkpoint
from soilcast.training.dropout import DropoutMask
from soilcast.training.learner import Learner, Losses
from soilcast.training.samples import SAMPLERS, Batch, SampleIndex, SampleIndices, Samples, map_tensors
from soilcast.training.sections import NetworkConfig, TrainConfig
from soilcast.training.steps import Steps, make_steps
from soilcast.training.windows import mask_lags

_GATHERED_SAMPLES = 32_768
"""Samples that are gathered together: cheaper than batch by batch, yet never more than fit well in memory."""

_GATHERED_MAPPED = 1024
"""The same where samples are mapped from files: a sample of 224 bytes brings 64 KiB around it into memory, until its
pages are let go."""

_RATES: dict[str, Callable[[float, float, int], float]] = {
    "constant": lambda rate, passed, plateaus: rate,
    "cosine": lambda rate, passed, plateaus: rate * (1 + math.cos(math.pi * passed)) / 2,
    "plateau": lambda rate, passed, plateaus: rate / 2**plateaus,
}
"""Learning rate once a share of the epochs has passed and the loss has stood still so often, by ``train.schedule``."""

STRENGTHS: dict[str, Callable[[Learner, float, Batch], float]] = {
    "decay": lambda learner, passed, batch: 1.0 - passed,
    "gradients": lambda learner, passed, batch: learner.gradient_ratio(batch),
}
"""Factor of l2 once a share of the epochs has passed, by ``loss.adapt``; the batch is the first of the epoch."""

_TRAINING, _VALIDATION, _LAGS = 1, 2, 4
"""What is drawn: dropout of training and of validation, masks of lagged inputs."""

Record = dict[str, Any]


@dataclass
class MemberStanding:
    """How one member stands: early stopping.

    Parameters
    ----------
    best_epoch, best_loss
        Its lowest validation loss so far, whose weights are kept.
    gained_from
        The loss that a gain is measured against: of the last validation that was one.
    without_gain
        Validations since then.
    """

    best_epoch: int = 0
    best_loss: float | None = None
    gained_from: float | None = None
    without_gain: int = 0


@dataclass
class Training:
    """How a training stands, or went.

    Parameters
    ----------
    members
        One a member.
    weights
        State of each member's network at its lowest validation loss, as ``MEMBER.NAME``.
    status
        ``"finished"`` (all epochs), ``"stopped early"``, ``"pruned"`` (behind other trials of a search) or
        ``"interrupted"``.
    log
        One record an epoch: epoch, train_loss, validation_loss (None between validations), parts of the
        loss, l2 if it adapts, seconds, samples_per_second; losses are means over the members.
    """

    members: list[MemberStanding]
    weights: dict[str, Tensor] = field(default_factory=dict)
    status: str = "finished"
    log: list[Record] = field(default_factory=list)

    @property
    def best_loss(self) -> float:
        """Mean of the members' lowest validation losses; infinite before the first validation."""
        known = [member.best_loss for member in self.members if member.best_loss is not None]
        return float(np.mean(known)) if known else math.inf

    def weights_of(self, member: int) -> dict[str, Tensor]:
        """State of one member's network at its lowest validation loss."""
        return _part(self.weights, f"{member}.")


OnEpochEnd = Callable[[Training, Checkpoint], None]


class DivergedError(Exception):
    """The loss of a batch, or what it made of the weights, is no finite number.

    Parameters
    ----------
    epoch, batch
        When.
    indices
        The samples of the batch, ``(member, sample)``.

    Attributes
    ----------
    training
        How the training stood at the end of the epoch before, once `train_networks` passes the error on.
    """

    training: Training

    def __init__(self, epoch: int, batch: int, indices: SampleIndices) -> None:
        super().__init__(f"epoch {epoch}, batch {batch}")
        self.epoch, self.batch, self.indices = epoch, batch, indices


def train_networks(
    learner: Learner,
    samples: Samples,
    usable: SampleIndex,
    validation: SampleIndices,
    config: TrainConfig,
    on_epoch_end: OnEpochEnd,
    *,
    network: NetworkConfig,
    adapt: str = "none",
    start: Checkpoint | None = None,
    epochs: Sequence[int] | None = None,
    limits: Mapping[int, float] | None = None,
) -> Training:
    """Train networks in place.

    Every epoch's draws and dropout come from the seed and the epoch's number alone, so that a training that goes on
    from a checkpoint ends with the same bits as one that was never stopped.

    Parameters
    ----------
    learner
        The networks, which end with the weights of the last epoch.
    usable
        The cell-days to draw from.
    validation
        The cell-days of the validation ``(sample,)``.
    on_epoch_end
        Called at the end of each epoch with how the training stands and the checkpoint to go on from; and once more
        when it is interrupted, as its status then says.
    network
        What is dropped or masked in training.
    adapt
        How l2 of the loss changes over the epochs: a name in `STRENGTHS`, or ``none``.
    start
        Where to go on.
    epochs
        Epoch whose weights are kept of each member, ``(member,)``, instead of that of its lowest validation loss: then
        nothing is validated.
    limits
        Epoch -> lowest validation loss by then above which the training ends there, pruned.

    Returns
    -------
    The best weights and the log; Ctrl-C ends the training with the best weights so far.

    Raises
    ------
    DivergedError
        A loss is no longer a finite number.
    """
    training = Training([MemberStanding() for _ in range(config.ensemble)])
    if start is not None:
        training = _standing_of(start)
        learner.restore(_part(start.tensors, "learner."))
    # All of an epoch's end is one object, so that an interruption finds either this epoch's or the one's before.
    point = _checkpoint(training, learner)
    steps = make_steps(learner, is_fixed=adapt == "none")
    try:
        last = config.epochs if epochs is None else max(epochs)
        while len(training.log) < last and not (_all_stopped(training, config) or _is_behind(training, limits or {})):
            _run_epoch(learner, steps, samples, usable, validation, config, network, adapt, training, epochs)
            point = _checkpoint(training, learner)
            on_epoch_end(training, point)
        whole = "finished" if len(training.log) == last else "pruned"
        training.status = "stopped early" if _all_stopped(training, config) else whole
    except KeyboardInterrupt:
        training = _standing_of(point)
        training.status = "interrupted"
        on_epoch_end(training, point)
        # Processes that are interrupted one by one can't evaluate together.
        if learner.ranks.size == 1:
            _evaluate_once(learner, samples, validation, training, point)
    except DivergedError as error:
        error.training = _standing_of(point)
        error.training.status = f"diverged in epoch {error.epoch}"
        _evaluate_once(learner, samples, validation, error.training, point)
        raise
    return training


def _evaluate_once(
    learner: Learner, samples: Samples, validation: SampleIndices, training: Training, point: Checkpoint
) -> None:
    """Give a training that ended before its first validation the weights that it had come to."""
    if training.log and not training.weights:
        learner.restore(_part(point.tensors, "learner."))
        _validate(learner, samples, validation, training, 0.0)


def _run_epoch(
    learner: Learner,
    steps: Steps,
    samples: Samples,
    usable: SampleIndex,
    validation: SampleIndices,
    config: TrainConfig,
    network: NetworkConfig,
    adapt: str,
    training: Training,
    epochs: Sequence[int] | None,
) -> None:
    epoch = len(training.log) + 1
    passed, plateaus = (epoch - 1) / config.epochs, _plateaus(training.log, config)
    learner.set_rate(_RATES[config.schedule](config.learning_rate, passed, plateaus))
    began = time.perf_counter()
    draws = _draws(usable, config, epoch)
    if adapt != "none":
        first = samples.gather(draws[:1]).to(learner.members.weights.device)
        learner.set_strength(STRENGTHS[adapt](learner, passed, map_tensors(first, operator.itemgetter(0))))
    losses = _take_steps(learner, steps, samples, draws, config, epoch, network)
    seconds = time.perf_counter() - began
    record: Record = {"epoch": epoch, **losses, "validation_loss": None}
    record |= {} if adapt == "none" else {"l2": learner.loss.guidance.weights[1]}
    training.log.append(record)
    if epochs is not None:
        for number in (member for member, kept in enumerate(epochs) if kept == epoch):
            _keep_weights(learner, training, number)
    elif epoch % config.validate_every == 0 or epoch == config.epochs:
        dropout = _dropout(learner, config, epoch, network, _VALIDATION) if config.validation_dropout else None
        record["validation_loss"] = _validate(learner, samples, validation, training, config.smallest_gain, dropout)
    record["seconds"] = round(time.perf_counter() - began, 4)
    record["samples_per_second"] = round(draws.cells.size / seconds)


def _draws(usable: SampleIndex, config: TrainConfig, epoch: int) -> SampleIndices:
    """Draw an epoch's cell-days ``(batch, member, sample)``, each member's from its own seed."""
    sampler = SAMPLERS[config.sampling]
    parts = [
        sampler(
            usable, config.batches_per_epoch, config.batch_size, np.random.default_rng([config.seed + member, epoch])
        )
        for member in range(config.ensemble)
    ]
    return SampleIndices(
        np.stack([part.cells for part in parts], axis=1), np.stack([part.days for part in parts], axis=1)
    )


def _take_steps(
    learner: Learner,
    steps: Steps,
    samples: Samples,
    draws: SampleIndices,
    config: TrainConfig,
    epoch: int,
    network: NetworkConfig,
) -> dict[str, float]:
    """Take an epoch's steps and give the mean losses."""
    dropout = _dropout(learner, config, epoch, network, _TRAINING)
    random = torch.Generator().manual_seed(seed_of(config.seed, epoch, _LAGS))
    torch.manual_seed(seed_of(config.seed, epoch))  # for networks that drop by themselves
    learner.members.train(True)
    device = learner.members.weights.device
    parts: list[Losses] = []
    for batches in _gathered(samples, draws, device):
        if network.masked_lags:
            masked = [mask_lags(windows, samples.layout, network.masked_lags, random) for windows in batches.windows]
            batches = replace(batches, windows=torch.stack(masked))
        parts.append(steps(batches, dropout))
    losses = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    totals = losses.pop("loss")
    finite = torch.isfinite(totals).all(dim=1)
    finite[-1] &= torch.isfinite(learner.members.weights).all()
    if not bool(finite.all()):
        number = int((~finite).nonzero()[0])
        raise DivergedError(epoch, number + 1, draws[number])
    means = {f"train_{name}": float(values.mean(dtype=torch.float64)) for name, values in losses.items()}
    return {"train_loss": float(totals.mean(dtype=torch.float64)), **means}


def _gathered(samples: Samples, draws: SampleIndices, device: torch.device) -> Iterator[Batch]:
    """Gather some batches together, ``(batch, member, ...)``, and then the next ones."""
    most = _GATHERED_MAPPED if samples.mapped else _GATHERED_SAMPLES
    together = max(1, most // draws.cells[0].size)
    groups = [draws[start : start + together] for start in range(0, len(draws.cells), together)]
    is_there = samples.observed.device == device
    return map(samples.gather, groups) if is_there else _gathered_ahead(samples, groups, device)


def _gathered_ahead(samples: Samples, groups: Sequence[SampleIndices], device: torch.device) -> Iterator[Batch]:
    """Gather a GPU's next batches while it works."""
    with ThreadPoolExecutor(1) as pool:
        ahead = [pool.submit(samples.gather, group) for group in groups[:1]]
        for following in (*groups[1:], None):
            gathered = ahead.pop().result()
            if following is not None:
                ahead.append(pool.submit(samples.gather, following))
            yield gathered.to(device)


def _dropout(learner: Learner, config: TrainConfig, epoch: int, network: NetworkConfig, purpose: int) -> DropoutMask:
    seeds = [config.seed + member for member in range(config.ensemble)]
    return DropoutMask(network.dropout, learner.mask_shape, seeds, epoch, purpose)


def _validate(
    learner: Learner,
    samples: Samples,
    validation: SampleIndices,
    training: Training,
    smallest_gain: float,
    dropout: DropoutMask | None = None,
) -> float:
    """Evaluate all members, keep the weights of those that are better than before, and give the mean loss."""
    losses = learner.evaluate(samples, validation, dropout).tolist()
    for number, (member, loss) in enumerate(zip(training.members, losses, strict=True)):
        # A loss that is not finite is no gain; the next epoch's batches tell what is wrong.
        if math.isfinite(loss) and (member.best_loss is None or loss < member.best_loss):
            member.best_loss = loss
            _keep_weights(learner, training, number)
        if math.isfinite(loss) and _is_gain(loss, member.gained_from, smallest_gain):
            member.gained_from, member.without_gain = loss, 0
        else:
            member.without_gain += 1
    return float(np.mean(losses))


def _keep_weights(learner: Learner, training: Training, number: int) -> None:
    """Keep the weights that a member has at the end of this epoch."""
    training.members[number].best_epoch = len(training.log)
    state = learner.members.networks[number].state_dict()
    training.weights |= {f"{number}.{name}": value.clone() for name, value in state.items()}


def _is_gain(loss: float, before: float | None, smallest: float) -> bool:
    return before is None or (loss < before and before - loss >= smallest * abs(before))


def _plateaus(log: Sequence[Record], config: TrainConfig) -> int:
    """Count how often half of the patience passed without a gain of the mean validation loss."""
    half = max(1, config.patience // 2)
    best, without_gain, plateaus = None, 0, 0
    for loss in (record["validation_loss"] for record in log if record["validation_loss"] is not None):
        if _is_gain(loss, best, config.smallest_gain):
            best, without_gain = loss, 0
        else:
            without_gain += 1
            plateaus += without_gain % half == 0
    return plateaus


def _all_stopped(training: Training, config: TrainConfig) -> bool:
    return all(member.without_gain >= config.patience for member in training.members)


def best_losses(log: Sequence[Record]) -> dict[int, float]:
    """Give the lowest validation loss by each epoch that was validated."""
    best, lowest = {}, math.inf
    for record in log:
        if record["validation_loss"] is not None:
            best[record["epoch"]] = lowest = min(lowest, record["validation_loss"])
    return best


def _is_behind(training: Training, limits: Mapping[int, float]) -> bool:
    epoch = len(training.log)
    return epoch in limits and best_losses(training.log).get(epoch, -math.inf) > limits[epoch]


def _checkpoint(training: Training, learner: Learner) -> Checkpoint:
    tensors = {f"learner.{name}": value for name, value in learner.state().items()}
    tensors |= {f"best.{name}": value for name, value in training.weights.items()}
    return Checkpoint(tensors, {"members": [asdict(one) for one in training.members], "log": list(training.log)})


def _standing_of(point: Checkpoint) -> Training:
    members = [MemberStanding(**one) for one in point.standing["members"]]
    return Training(members, _part(point.tensors, "best."), log=list(point.standing["log"]))


def _part(tensors: Mapping[str, Tensor], begin: str) -> dict[str, Tensor]:
    return {name.removeprefix(begin): value for name, value in tensors.items() if name.startswith(begin)}
