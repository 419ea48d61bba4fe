"""Training samples a second of one run, beside nn.LSTM in a tuned loop and in a DataLoader over windows."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.measuring import in_turns, machine, median_ratio, show, verdict
from benchmarks.plain import (
    BATCHES,
    DYNAMIC,
    LENGTH,
    SIZE,
    STATIC,
    loader_epoch,
    random_samples,
    single_sample_index,
    tuned_epoch,
)
from soilcast.training.build import build_loss, build_networks
from soilcast.training.checkpoint import Checkpoint, Checkpoints
from soilcast.training.config import Config
from soilcast.training.devices import Ranks, torch_threads
from soilcast.training.learner import Learner
from soilcast.training.loop import Training, train_networks
from soilcast.training.samples import SampleIndex, Samples

TUNED, LOADER, OURS = "nn.LSTM, tuned loop", "nn.LSTM, DataLoader", "soilcast, LSTM"


def soilcast_epoch(
    samples: Samples,
    usable: SampleIndex,
    threads: int,
    model: str = "lstm",
    checkpoints: Checkpoints | None = None,
    **options: object,
) -> Callable[[], None]:
    """An epoch of soilcast's own loop where the samples are, draws, dropout and log included."""
    train = {"epochs": 1, "batch_size": SIZE, "batches_per_epoch": BATCHES, **options}
    config = Config.model_validate({"model": model, "train": train})
    networks = [network.to(samples.observed.device) for network in build_networks(config)]
    learner = Learner(networks, build_loss(config), config.train, Ranks(), threads)

    def on_epoch_end(training: Training, point: Checkpoint) -> None:
        if checkpoints is not None and checkpoints.is_due():
            checkpoints.write(point)

    def epoch() -> None:
        torch.set_num_threads(1 if threads > 1 else threads)
        train_networks(
            learner, samples, usable, single_sample_index(), config.train, on_epoch_end, network=config.network
        )
        torch.set_num_threads(threads)

    return epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="epochs of each, in turns")
    parser.add_argument("--threads", type=int, default=0, help="0: soilcast's own choice")
    parser.add_argument("--peers", action="store_true", help="NeuralHydrology beside, where it is installed")
    options = parser.parse_args()
    samples, usable = random_samples()
    with torch_threads(options.threads) as threads, tempfile.TemporaryDirectory() as folder:
        contenders = {
            TUNED: tuned_epoch(),
            LOADER: loader_epoch(samples),
            OURS: soilcast_epoch(samples, usable, threads),
            "soilcast, LSTM, with checkpoints": soilcast_epoch(
                samples, usable, threads, checkpoints=Checkpoints(Path(folder), {})
            ),
            "soilcast, PHY-LSTM": soilcast_epoch(samples, usable, threads, "phy-lstm"),
            "soilcast, LSTM, bfloat16": soilcast_epoch(samples, usable, threads, precision="bfloat16"),
            "soilcast, LSTM, ensemble of 4": soilcast_epoch(samples, usable, threads, ensemble=4),
        }
        if options.peers:
            from benchmarks.peers import neuralhydrology_epoch

            contenders["NeuralHydrology, CudaLSTM"] = neuralhydrology_epoch(samples)
        seconds = in_turns(contenders, options.rounds)
        growth = _growth(threads)
    members = {"soilcast, LSTM, ensemble of 4": 4}
    steps = {name: 1000 * times / BATCHES / members.get(name, 1) for name, times in seconds.items()}
    rows = [
        (
            name,
            f"{np.median(step_times):.2f}",
            f"{step_times.min():.2f}",
            f"{SIZE / np.median(step_times):,.1f}",
            *(f"{median_ratio(steps[reference], step_times):.2f}" for reference in (TUNED, LOADER)),
        )
        for name, step_times in steps.items()
    ]
    head = ("what", "median [ms]", "least [ms]", "1000 samples/s", "x tuned loop", "x DataLoader")
    shape = f"{SIZE} windows x {LENGTH} days x {DYNAMIC + STATIC} inputs x 128 units"
    show(f"A step of training and a member: {shape}, {threads} threads, {options.rounds} rounds", head, rows)
    print(verdict("one run beside a tuned loop", median_ratio(steps[TUNED], steps[OURS]), 1.5))
    print(verdict("one run beside a DataLoader over windows", median_ratio(steps[LOADER], steps[OURS]), 5))
    show("How a step grows with the samples that are drawn from", ("cells x days", "median [ms]"), growth)
    print(machine())


def _growth(threads: int) -> list[tuple[str, str]]:
    sizes = [(100, 540), (1000, 540), (10_000, 540), (1000, 5400)]
    contenders = {
        f"{cells:,} x {days:,}": soilcast_epoch(*random_samples(cells, days), threads) for cells, days in sizes
    }
    seconds = in_turns(contenders, 3)
    return [(name, f"{1000 * np.median(times) / BATCHES:.2f}") for name, times in seconds.items()]


if __name__ == "__main__":
    main()
