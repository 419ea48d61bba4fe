"""Time and peak memory of `soilcast demo`, the whole path with three trainings, beside a tuned loop of its steps."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.measuring import machine, parse, show, timed, verdict
from benchmarks.plain import best_threads, tuned_epoch
from soilcast.experiments import builtin_experiment, plan_runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", dest="settings", nargs="+", default=[], help="settings of its trainings")
    options = parse(parser)
    configs = plan_runs(builtin_experiment("demo"), options.settings).values()
    steps, batches = sum(config.train.epochs * config.train.batches_per_epoch for config in configs), 300
    epoch = tuned_epoch(batches)
    _, before = best_threads(epoch)
    with tempfile.TemporaryDirectory() as folder:
        chosen = [word for setting in options.settings for word in ("--set", setting)]
        seconds, memory = timed(["demo", "--out", str(Path(folder) / "demo"), *chosen])
    reference = (before + best_threads(epoch)[1]) / 2 / batches * steps
    rows = [
        (f"nn.LSTM, tuned loop, {steps:,} steps", f"{reference:.0f}", "1.00", ""),
        ("soilcast demo", f"{seconds:.0f}", f"{reference / seconds:.2f}", f"{memory:,.0f}"),
    ]
    show("The demo beside its steps of training alone", ("what", "time [s]", "x tuned loop", "peak memory [MiB]"), rows)
    print(verdict("soilcast demo", seconds, 360, " s", below=True))
    print(machine())


if __name__ == "__main__":
    main()
