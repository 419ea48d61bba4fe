"""The paper's 19 runs side by side (`--jobs`), beside a tuned nn.LSTM loop run 19 times."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.measuring import in_turns, machine, show, verdict
from benchmarks.plain import BATCHES, SIZE, tuned_epoch
from soilcast.experiments import builtin_experiment, load_study, plan_runs
from soilcast.sources import prepare
from soilcast.training.jobs import train_runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=12, help="of each run; the paper has 250 and more")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, len(os.sched_getaffinity(0))])
    options = parser.parse_args()
    planet = builtin_experiment("demo")
    runs = load_study("table1").runs | load_study("table2").runs
    experiment = planet.model_copy(update={"models": (), "config": {}, "runs": runs})
    settings = [f"train.epochs={options.epochs}", "train.validate_every=12", "train.validation_samples=10000"]
    before = _plain_step()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        cube = Path(folder) / "cube"
        prepare(experiment.source, [], out=cube, **experiment.options)
        plans = plan_runs(experiment, settings)
        steps = len(plans) * options.epochs * BATCHES
        for jobs in options.jobs:
            runs = {Path(folder) / f"jobs-{jobs}" / name: config for name, config in plans.items()}
            start = time.perf_counter()
            train_runs(cube, runs, jobs=jobs)
            rows.append((jobs, 1000 * (time.perf_counter() - start) / steps))
    plain = float(np.median([before, _plain_step()]))
    table = [("nn.LSTM, tuned loop, one run after the other", f"{plain:.2f}", f"{SIZE / plain:.1f}", "1.00")]
    for jobs, step in rows:
        table.append((f"soilcast --jobs {jobs}", f"{step:.2f}", f"{SIZE / step:.1f}", f"{plain / step:.2f}"))
    title = f"{len(plans)} runs of {options.epochs} epochs, starts of processes, samples, validation and files included"
    show(title, ("what", "a step [ms]", "1000 samples/s", "x tuned loop"), table)
    print(verdict(f"the {len(plans)}-run design", plain / min(step for _, step in rows), 2.5))
    print(machine())


def _plain_step() -> float:
    """A step of the tuned loop [ms] with as many threads as suit it best."""
    best = np.inf
    for threads in range(1, len(os.sched_getaffinity(0)) + 1):
        torch.set_num_threads(threads)
        best = min(best, float(np.median(in_turns({"": tuned_epoch()}, 5)[""])))
    return 1000 * best / BATCHES


if __name__ == "__main__":
    main()
