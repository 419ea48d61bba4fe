"""A step of training of one run and of ensembles, beside nn.LSTM in a tuned loop and in a DataLoader over windows."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.measuring import in_turns, machine, median_ratio, parse, show_times, verdict
from benchmarks.plain import (
    FEATURES,
    HIDDEN,
    LENGTH,
    SIZE,
    Epoch,
    Threaded,
    at_its_best,
    loader_epoch,
    random_samples,
    tuned_epoch,
    tuned_epoch_of,
)
from soilcast.models.backends import AutogradBackend
from soilcast.models.native import VARIABLE, engine_name
from soilcast.training.build import build_loss, build_networks, layout_of
from soilcast.training.checkpoint import Checkpoint, Checkpoints
from soilcast.training.config import Config
from soilcast.training.devices import Ranks, torch_threads
from soilcast.training.learner import Learner
from soilcast.training.loop import Training, train_networks
from soilcast.training.samples import SampleIndex, SampleIndices, Samples

TUNED, LOADER, PEER = "nn.LSTM, tuned loop", "nn.LSTM, DataLoader", "NeuralHydrology, CudaLSTM"
ONE, PHYSICS, SEVERAL = "soilcast, LSTM", "soilcast, PHY-LSTM", "soilcast, 10 days, 7 quantiles"
ROUNDED, FOUR, FOUR_ROUNDED = f"{ONE}, bfloat16", f"{ONE}, ensemble of 4", f"{ONE}, ensemble of 4, bfloat16"
SEVERAL_TUNED = "nn.LSTM, tuned loop, 10 days, 7 quantiles"

_AVX512 = {(ONE, TUNED): 2.5, (FOUR, TUNED): 3.2, (ONE, PEER): 4.0}
_AMX = {(ROUNDED, TUNED): 5.0, (FOUR_ROUNDED, TUNED): 6.5, (ROUNDED, PEER): 8.0}
TARGETS = {"avx2": {(ONE, TUNED): 1.8}, "avx512": _AVX512, "amx": _AVX512 | _AMX}
"""Instruction set -> how many times faster what is to be than which reference."""

_CPU = torch.device("cpu")
_SEVERAL_DAYS = {
    "model": "multi-day",
    "loss": {"name": "quantiles"},
    "network": {"dropout": 0.0},  # which the plain loop would have to draw by itself
}


def learner_of(config: Config, threads: int, device: torch.device = _CPU) -> Learner:
    """Untrained networks and all that their steps take."""
    networks = [network.to(device) for network in build_networks(config)]
    return Learner(networks, build_loss(config), config.train, Ranks(), threads)


def soilcast_epoch(
    config: Config,
    samples: Samples,
    usable: SampleIndex,
    threads: int,
    checkpoints: Checkpoints | None = None,
    engine: str | None = None,
) -> Epoch:
    """The epochs of a config in soilcast's own loop where the samples are, draws, dropout and log included."""
    with patch.dict(os.environ, {VARIABLE: engine or engine_name()}):
        learner = learner_of(config, threads, samples.observed.device)
    # The smallest validation there is: it is the steps that are timed.
    one_sample = SampleIndices(np.zeros(1, dtype=np.int64), np.full(1, config.task.window, dtype=np.int64))

    def on_epoch_end(training: Training, point: Checkpoint) -> None:
        if checkpoints is not None and checkpoints.is_due():
            checkpoints.write(point)

    def epochs() -> None:
        # The native engine has threads of its own, beside which torch's would spin.
        torch.set_num_threads(threads if isinstance(learner.backend, AutogradBackend) else 1)
        train_networks(learner, samples, usable, one_sample, config.train, on_epoch_end, network=config.network)

    return epochs


def config_of(batches: int, changes: dict[str, Any] | None = None, **train: object) -> Config:
    """A config of one epoch of some batches."""
    setting = {"epochs": 1, "batch_size": SIZE, "batches_per_epoch": batches, **train}
    return Config.model_validate({"train": setting, **(changes or {})})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="epochs of each, in turns")
    parser.add_argument("--batches", type=int, default=300, help="of an epoch")
    parser.add_argument("--threads", type=int, default=0, help="0: soilcast's own choice")
    parser.add_argument("--peers", action="store_true", help="NeuralHydrology beside, where it is installed")
    options = parse(parser)
    batches, paper, several = options.batches, config_of(options.batches), config_of(options.batches, _SEVERAL_DAYS)
    samples = random_samples(layout_of(paper))
    with torch_threads(options.threads) as threads, tempfile.TemporaryDirectory() as folder:
        of_paper = {
            ONE: paper,
            PHYSICS: config_of(batches, {"model": "phy-lstm"}),
            ROUNDED: config_of(batches, precision="bfloat16"),
            FOUR: config_of(batches, ensemble=4),
            FOUR_ROUNDED: config_of(batches, ensemble=4, precision="bfloat16"),
        }
        of_several = random_samples(layout_of(several))
        references = {
            TUNED: tuned_epoch(batches),
            LOADER: loader_epoch(samples[0], batches),
            SEVERAL_TUNED: tuned_epoch_of(several, *of_several, batches),
        }
        if options.peers:
            from benchmarks.peers import neuralhydrology_epoch

            references[PEER] = neuralhydrology_epoch(samples[0], batches)
        contenders = {name: at_its_best(epoch) for name, epoch in references.items()}
        contenders |= {name: soilcast_epoch(config, *samples, threads) for name, config in of_paper.items()}
        checkpoints = Checkpoints(Path(folder), {})
        contenders[f"{ONE}, checkpoints"] = soilcast_epoch(paper, *samples, threads, checkpoints)
        contenders[f"{ONE}, SOILCAST_ENGINE=torch"] = soilcast_epoch(paper, *samples, threads, engine="torch")
        contenders[SEVERAL] = soilcast_epoch(several, *of_several, threads)
        seconds = in_turns(contenders, options.rounds)
        growth = _growth(paper, threads, min(3, options.rounds))
    steps = {name: times / batches / (4 if "ensemble of 4" in name else 1) for name, times in seconds.items()}
    of_tuned = {name: SEVERAL_TUNED if name in (SEVERAL, SEVERAL_TUNED) else TUNED for name in steps}
    references = {"x tuned loop": of_tuned, "x DataLoader": {name: LOADER for name in steps if of_tuned[name] == TUNED}}
    of_each = {name: str(one.threads if isinstance(one, Threaded) else threads) for name, one in contenders.items()}
    rates = {name: f"{SIZE / np.median(times) / 1000:,.1f}" for name, times in steps.items()}
    shape = f"{SIZE} windows x {LENGTH} days x {FEATURES} inputs x {HIDDEN} units"
    title = f"A step of training and a member, ms: {shape}, {options.rounds} rounds"
    show_times(title, steps, references, more={"1000 samples/s": rates, "threads": of_each})
    for (name, reference), target in TARGETS.get(engine_name(), {}).items():
        if reference in steps:
            print(verdict(f"{name} beside {reference}", median_ratio(steps[reference], steps[name]), target))
    dearer = median_ratio(steps[PHYSICS], steps[ONE])
    print(verdict("time of PHY-LSTM beside LSTM", dearer, 1.05, below=True))
    title = "A step by the samples that are drawn from, ms: cells x days"
    show_times(title, {name: times / batches for name, times in growth.items()}, {"x the first": next(iter(growth))})
    print(machine())


def _growth(config: Config, threads: int, rounds: int) -> dict[str, np.ndarray]:
    sizes = [(100, 540), (1000, 540), (10_000, 540), (1000, 5400)]
    contenders = {}
    for cells, days in sizes:
        samples = random_samples(layout_of(config), cells, days)
        contenders[f"{cells:,} x {days:,}"] = soilcast_epoch(config, *samples, threads)
    return in_turns(contenders, rounds)


if __name__ == "__main__":
    main()
