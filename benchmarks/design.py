"""The paper's 19 runs side by side (`--jobs`), beside a tuned nn.LSTM loop run 19 times."""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

from benchmarks.measuring import in_turns, machine, median_ratio, parse, prepare_planet, show_times, verdict
from benchmarks.plain import at_its_best, tuned_epoch
from soilcast.experiments import builtin_experiment, load_study, plan_runs
from soilcast.models.native import engine_name
from soilcast.training.jobs import train_runs
from soilcast.workers import usable_cores

PLAIN = "nn.LSTM, tuned loop, one run after the other"
_TARGETS = {"float32": {"avx2": 1.8, "avx512": 3.2, "amx": 3.2}, "bfloat16": {"amx": 6.5}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12, help="of each run; the paper has 250 and more")
    parser.add_argument("--batches", type=int, default=300, help="of an epoch")
    parser.add_argument("--runs", type=int, default=19, help="so many of the 19")
    parser.add_argument("--resolution", default="4", help="of the planet [degrees]")
    parser.add_argument("--jobs", type=int, nargs="+", default=[usable_cores()])
    parser.add_argument("--precisions", nargs="+", choices=_TARGETS, default=["float32"])
    options = parse(parser)
    runs = load_study("table1").runs | load_study("table2").runs
    experiment = builtin_experiment("demo").model_copy(update={"models": (), "config": {}, "runs": runs})
    settings = [f"train.epochs={options.epochs}", f"train.batches_per_epoch={options.batches}"]
    settings += ["train.validate_every=12", "train.validation_samples=10000"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare_planet(folder / "cube", options.resolution)

        def train_all(jobs: int, precision: str) -> None:
            plans = plan_runs(experiment, [*settings, f"train.precision={precision}"])
            some = itertools.islice(plans.items(), options.runs)
            train_runs(folder / "cube", {folder / name: config for name, config in some}, jobs=jobs, overwrite=True)

        plain = at_its_best(tuned_epoch(options.batches))
        contenders = {PLAIN: lambda: [plain() for _ in range(_PLAIN_EPOCHS)]}
        names = {}
        for jobs, precision in itertools.product(options.jobs, options.precisions):
            name = f"soilcast --jobs {jobs}, {precision}"
            names[name] = precision
            contenders[name] = lambda jobs=jobs, precision=precision: train_all(jobs, precision)
        seconds = in_turns(contenders, options.rounds)
    steps = {name: times / (options.runs * options.epochs * options.batches) for name, times in seconds.items()}
    steps[PLAIN] = seconds[PLAIN] / (_PLAIN_EPOCHS * options.batches)
    title = f"A step, ms: {options.runs} runs of {options.epochs} epochs, processes, samples, validation and files too"
    threads = {PLAIN: str(plain.threads), **{name: name.split()[2].rstrip(",") for name in names}}
    show_times(title, steps, {"x tuned loop": PLAIN}, more={"threads": threads})
    for name, precision in names.items():
        if target := _TARGETS[precision].get(engine_name()):
            print(verdict(name, median_ratio(steps[PLAIN], steps[name]), target))
    print(machine())


_PLAIN_EPOCHS = 5
"""Of a round: all runs' epochs are alike."""

if __name__ == "__main__":
    main()
