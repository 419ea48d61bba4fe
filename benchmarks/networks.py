"""A step of training of each network, beside the same torch module in a tuned loop on batches that are in memory."""

from __future__ import annotations

import argparse

from benchmarks.measuring import in_turns, machine, median_ratio, parse, show_times, verdict
from benchmarks.plain import LENGTH, SIZE, at_its_best, random_samples, tuned_epoch_of
from benchmarks.training import config_of, soilcast_epoch
from soilcast.models import NETWORKS, needs_of
from soilcast.training.build import layout_of
from soilcast.training.config import Config
from soilcast.training.devices import torch_threads

PLAIN = "tuned loop"
TARGET = 1.05
"""Most that a step may take, beside the plain loop."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each, in turns")
    parser.add_argument("--batches", type=int, default=30, help="of an epoch")
    parser.add_argument("--hidden", type=int, default=64, help="hidden units; of mc_lstm a quarter")
    options = parse(parser)
    contenders = {}
    with torch_threads(0) as threads:
        for name in NETWORKS:
            config = _config(name, options.hidden, options.batches)
            samples, usable = random_samples(layout_of(config))
            contenders[f"{name}, {PLAIN}"] = at_its_best(tuned_epoch_of(config, samples, usable, options.batches))
            contenders[name] = soilcast_epoch(config, samples, usable, threads)
        seconds = in_turns(contenders, options.rounds)
    steps = {name: times / options.batches for name, times in seconds.items()}
    references = {name: name if name.endswith(PLAIN) else f"{name}, {PLAIN}" for name in steps}
    shape = f"{SIZE} windows x {LENGTH} days, {options.hidden} units, 3 x 3 cells of those that see neighbours"
    show_times(f"A step of training, ms: {shape}, {options.rounds} rounds", steps, {f"x {PLAIN}": references})
    for name in NETWORKS:
        dearer = median_ratio(steps[name], steps[f"{name}, {PLAIN}"])
        print(verdict(f"time of {name} beside its {PLAIN}", dearer, TARGET, below=True))
    print(machine())


def _config(name: str, hidden: int, batches: int) -> Config:
    """A config of a network of the next day, without dropout, which the plain loop would have to draw by itself."""
    units = max(1, hidden // 4) if name == "mc_lstm" else hidden  # it has as many gates as the square of them
    task = {"neighbourhood": 3} if "neighbours" in needs_of(name) else {}
    return config_of(batches, {"network": {"name": name, "hidden_size": units, "dropout": 0.0}, "task": task})


if __name__ == "__main__":
    main()
