"""How the benchmarks measure: in turns, so that a busy moment of the machine affects all sides."""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from soilcast.memory import highest_of
from soilcast.models.native import VARIABLE, engine_name

_TORCH = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")
# Of MKL, the first is without effect on processors that are not Intel's, where it has no code beyond AVX2.
LIMITS = {
    "portable": {**dict(zip(_TORCH, ("default", "SSE41"), strict=True)), "MKL_CBWR": "COMPATIBLE"},
    "avx2": {**dict(zip(_TORCH, ("avx2", "AVX2"), strict=True)), "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "avx512": {**dict(zip(_TORCH, ("avx512", "AVX512_CORE"), strict=True)), "MKL_ENABLE_INSTRUCTIONS": "AVX512"},
}
"""Instruction set -> the environment in which torch and its libraries, too, use no other."""


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the options of a benchmark, beside which every one has ``--engine``."""
    parser.add_argument("--engine", choices=LIMITS, help="limit soilcast and torch to this instruction set")
    options = parser.parse_args()
    limits = {VARIABLE: options.engine, **LIMITS[options.engine]} if options.engine else {}
    if any(os.environ.get(name) != value for name, value in limits.items()):
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **limits})  # read once, when torch is imported
    return options


def in_turns(contenders: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Wall times ``(round,)`` [s] of each, after one round that does not count."""
    durations: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            durations[name].append(time.perf_counter() - start)
    return {name: np.array(seconds[1:]) for name, seconds in durations.items()}


def timed(words: Sequence[str]) -> tuple[float, float]:
    """Wall time [s] and peak memory [MiB] of a command of soilcast as a process of its own, whose output is dropped."""
    command, peak = [sys.executable, "-m", "soilcast", *words], 0
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, highest_of(process.pid))
        time.sleep(0.05)
    if process.returncode:
        sys.exit(f"soilcast {' '.join(words)}: failed")
    return time.perf_counter() - start, peak / 2**20


def prepare_planet(out: Path, resolution: str, years: str = "2018:2020") -> tuple[float, float]:
    """Make a cube of the built-in planet, as `timed` does."""
    return timed(["prepare", "planet", "--resolution", resolution, "--years", years, "--out", str(out)])


def train_briefly(cube: Path, out: Path, model: str, settings: Sequence[str] = (), *more: str) -> tuple[float, float]:
    """Train a run, as `timed` does: what forecasts cost does not depend on how well it was trained."""
    brief = ("train.epochs=1", "train.validate_every=1", "train.batches_per_epoch=20", "train.validation_samples=2000")
    chosen = [word for setting in (*brief, *settings) for word in ("--set", setting)]
    return timed(["train", "--cube", str(cube), "--out", str(out), "--model", model, *chosen, *more])


def median_ratio(reference: np.ndarray, contender: np.ndarray) -> float:
    """How many times faster the other is, taken round by round."""
    return float(np.median(reference / contender))


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column to the left, numbers to the right."""
    table = Table()
    for number, column in enumerate(columns):
        table.add_column(escape(column), justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console = Console(width=140, highlight=False)
    console.print(escape(title))
    console.print(table)


def show_times(
    title: str,
    seconds: Mapping[str, np.ndarray],
    references: Mapping[str, str | Mapping[str, str]],
    shown: Callable[[np.ndarray], np.ndarray] = lambda seconds: 1000 * seconds,
    *,
    more: Mapping[str, Mapping[str, str]] | None = None,
    digits: int = 2,
) -> None:
    """Print least, median and most of each, and how many times faster than a reference it is, round by round.

    Parameters
    ----------
    seconds
        ``(round,)`` of each.
    references
        Column -> what its ratios are taken to: the same for all rows, or that of each row.
    shown
        What is shown of times: milliseconds, or a rate.
    more
        Column -> texts of rows, behind the ratios.
    """
    more, rows = more or {}, []
    for name, times in seconds.items():
        values = shown(times)
        texts = [f"{value:,.{digits}f}" for value in (values.min(), np.median(values), values.max())]
        for reference in references.values():
            other = reference if isinstance(reference, str) else reference.get(name)
            texts.append("" if other is None else f"{median_ratio(seconds[other], times):.2f}")
        rows.append((name, *texts, *(column.get(name, "") for column in more.values())))
    show(title, ("what", "min", "median", "max", *references, *more), rows)


def verdict(name: str, value: float, target: float, unit: str = "x", *, below: bool = False) -> str:
    """Sentence on whether a target is met."""
    met = value <= target if below else value >= target
    return f"{name}: {value:.3g}{unit}, target {'at most' if below else 'at least'} {target:g}{unit}: {_WORDS[met]}"


_WORDS = {True: "met", False: "NOT met"}


def machine() -> str:
    """Instruction sets, load and peak memory, children included."""
    scopes = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    self_peak, children = (resource.getrusage(scope).ru_maxrss / 1024 for scope in scopes)
    children_text = f", largest child {children:.0f} MiB" if children else ""
    return (
        f"soilcast by {engine_name()}, torch by {torch.backends.cpu.get_cpu_capability()}; peak memory "
        f"{self_peak:.0f} MiB{children_text}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    )
