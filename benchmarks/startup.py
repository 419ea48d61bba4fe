"""What a command costs before it works: help, refusals, a training of one step, beside the imports it stands on."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.measuring import machine, show, verdict
from soilcast import prepare

_ONE_STEP = (
    *("--set", "train.epochs=1", "--set", "train.batches_per_epoch=1", "--set", "train.validate_every=1"),
    *("--set", "train.validation_samples=64", "--set", "train.threads=1"),
)
_HELP, _REFUSAL = 0.3, 1.0
"""Targets of `soilcast --help` and of a refusal [s]."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare("planet", out=folder / "cube", resolution=8.0, years="2019:2020")
        (folder / "notes.txt").write_text("no cube\n")
        (folder / "empty").mkdir()
        plain = {code: ["-c", code] for code in ("pass", "import numpy", "import xarray, zarr", "import torch")}
        refusals = {words: _words(words) for words in _refusals()}
        others = {words: _words(words) for words in ("--help", "train --help", "config")}
        train = {"train (one step)": _words("train --cube cube --out run --overwrite", *_ONE_STEP)}
        seconds = _in_turns(plain | others | refusals | train, options.rounds, folder)
    rows = [
        (f"python -c {case!r}" if case in plain else f"soilcast {case}", *(f"{f(cost):.2f}" for f in _STATISTICS))
        for case, cost in seconds.items()
    ]
    show("Processor time of a whole process, user and system, one after the other", ("", "min", "median", "max"), rows)
    print(verdict("--help", float(np.median(seconds["--help"])), _HELP, " s", below=True))
    slowest = max(refusals, key=lambda words: float(np.median(seconds[words])))
    print(verdict(f"slowest refusal ({slowest})", float(np.median(seconds[slowest])), _REFUSAL, " s", below=True))
    beyond = float(np.median(seconds["train (one step)"] - seconds["import torch"]))
    print(f"train of one step, from start to end, beyond import torch: {beyond:.2f} s")
    print(machine())


_STATISTICS = (np.min, np.median, np.max)


def _refusals() -> Sequence[str]:
    """Faults of spelling, and paths that lead nowhere or to something else."""
    return (
        "train --cub cube --out new",
        "train --cube cube --out new --set train.epoch=3",
        "train --cube empty --out new",
        "forecast nowhere --cube cube --out new",
        "evaluate cube --cube cube --out new",
        "report notes.txt --out new.html",
        "compare nowhere --out new",
        "prepare planett --out new",
        "update nowhere new.nc",
    )


def _words(words: str, *more: str) -> list[str]:
    return ["-m", "soilcast", *words.split(), *more]


def _in_turns(cases: dict[str, list[str]], rounds: int, folder: Path) -> dict[str, np.ndarray]:
    """Processor time ``(round,)`` [s] of each, after one round that does not count."""
    seconds: dict[str, list[float]] = {case: [] for case in cases}
    for _ in range(rounds + 1):
        for case, words in cases.items():
            before = os.times()
            subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, check=False)
            after = os.times()
            seconds[case].append(sum(after[2:4]) - sum(before[2:4]))
    return {case: np.array(costs[1:]) for case, costs in seconds.items()}


if __name__ == "__main__":
    main()
