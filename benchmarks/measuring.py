"""How the benchmarks measure: in turns, so that a busy moment of the machine affects all sides."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from soilcast.memory import highest_of


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


def median_ratio(reference: np.ndarray, contender: np.ndarray) -> float:
    """How many times faster the other is, taken round by round."""
    return float(np.median(reference / contender))


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column to the left, numbers to the right."""
    table = Table(title=escape(title), title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(escape(column), justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)


def verdict(name: str, value: float, target: float, unit: str = "x", *, below: bool = False) -> str:
    """Sentence on whether a target is met."""
    met = value <= target if below else value >= target
    return f"{name}: {value:.3g}{unit}, target {'at most' if below else 'at least'} {target:g}{unit}: {_WORDS[met]}"


_WORDS = {True: "met", False: "NOT met"}


def machine() -> str:
    """Load and peak memory, children included."""
    scopes = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    self_peak, children = (resource.getrusage(scope).ru_maxrss / 1024 for scope in scopes)
    children_text = f", largest child {children:.0f} MiB" if children else ""
    return (
        f"peak memory {self_peak:.0f} MiB{children_text}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    )
