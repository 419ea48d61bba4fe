"""How the networks of a run are fitted: on the training days, and if asked once more on all development days."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import torch

from soilcast.progress import progress_bar
from soilcast.training.checkpoint import Checkpoint, Checkpoints
from soilcast.training.config import Config
from soilcast.training.dataset import Dataset
from soilcast.training.learner import Learner
from soilcast.training.loop import DivergedError, Training, train_networks
from soilcast.training.run_folder import LOG
from soilcast.training.samples import fixed_sample


def fit_networks(
    learner: Learner,
    dataset: Dataset,
    config: Config,
    checkpoints: Checkpoints,
    *,
    resume: bool,
    shown: bool,
    epochs: Sequence[int] | None = None,
    limits: Mapping[int, float] | None = None,
) -> Training:
    """Train networks: on the training days, or if ``epochs`` says how long each on those of validation too.

    ``limits`` are those of `train_networks`.
    """
    ranks = learner.ranks
    samples, usable = dataset.samples, dataset.training
    if epochs is not None:
        assert dataset.development is not None, "laid out where networks are trained anew"
        samples, usable = dataset.development.samples, dataset.development.index
    validation = fixed_sample(dataset.validation, config.train.validation_samples, config.train.seed)
    start = checkpoints.read() if resume else None
    ranks.wait()  # until all have read it, before one writes the next
    done = start.standing["log"] if start else []
    log = checkpoints.path.with_name(LOG)

    def on_epoch_end(training: Training, point: Checkpoint) -> None:
        interrupted = training.status == "interrupted"
        if ranks.is_main and not interrupted:
            with log.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(training.log[-1]) + "\n")
        if not interrupted:
            advance(_in_words(training))
        if ranks.is_main and training.log and (interrupted or checkpoints.is_due()):
            checkpoints.write(point)

    if ranks.is_main:
        log.write_text("".join(json.dumps(line) + "\n" for line in done), encoding="utf-8")
    shown = shown and ranks.is_main
    with (
        torch.random.fork_rng(devices=[]),
        progress_bar(
            config.label if epochs is None else f"{config.label}, refit",
            config.train.epochs if epochs is None else max(epochs),
            shown=shown,
            done=len(done),
        ) as advance,
    ):
        return train_networks(
            learner,
            samples.to(learner.members.weights.device),
            usable,
            validation,
            config.train,
            on_epoch_end,
            network=config.network,
            adapt=config.loss.adapt,
            start=start,
            epochs=epochs,
            limits=limits,
        )


def refit_networks(
    learner: Learner,
    dataset: Dataset,
    config: Config,
    checkpoints: Checkpoints,
    chosen: Training,
    *,
    resume: bool,
    shown: bool,
) -> Training | None:
    """Train anew on all development days, for as many epochs as were best in validation.

    Where it is interrupted or diverges, the training that ``chosen`` is stands, with that status: None.
    """
    epochs = [member.best_epoch for member in chosen.members]
    after = checkpoints.after(epochs)
    try:
        anew = fit_networks(learner, dataset, config, after, resume=resume, shown=shown, epochs=epochs)
    except DivergedError as error:
        chosen.status, error.training = error.training.status, chosen
        raise
    if anew.status == "interrupted":
        chosen.status = "interrupted"
        return None
    return anew


def _in_words(training: Training) -> str:
    record, best = training.log[-1], training.best_loss
    known = f", best validation {best:.4f}" if math.isfinite(best) else ""
    return f"loss {record['train_loss']:.4f}{known}, {record['samples_per_second']:,} samples/s"
