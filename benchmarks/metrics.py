"""Time and memory of the metrics on a year of 60,000 cells, beside a plain loop and the `scores` library."""

from __future__ import annotations

import argparse
import functools
import tracemalloc
from collections.abc import Callable

import numpy as np
import scores.continuous
import xarray as xr

from benchmarks.measuring import in_turns, machine, parse, show_times, verdict
from soilcast.verify import score_cells
from soilcast.workers import usable_cores

TARGET_SECONDS = 0.2


def random_series(cells: int, days: int, gaps: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    observed = rng.random((cells, days), dtype=np.float32) * np.float32(0.4)
    predicted = observed + np.float32(0.05) * rng.standard_normal((cells, days), dtype=np.float32)
    observed[rng.random((cells, days), dtype=np.float32) < gaps] = np.nan
    return observed, predicted


def plain_loop(observed: np.ndarray, predicted: np.ndarray) -> None:
    for series, forecast in zip(observed, predicted, strict=True):
        valid = np.isfinite(series) & np.isfinite(forecast)
        y, f = series[valid].astype(np.float64), forecast[valid].astype(np.float64)
        r = np.corrcoef(y, f)[0, 1]
        mse, bias = np.mean((f - y) ** 2), np.mean(f - y)
        alpha, beta = f.std() / y.std(), f.mean() / y.mean()
        _ = np.sqrt(mse), np.sqrt(np.mean((f - y - bias) ** 2)), 1 - np.sum((f - y) ** 2) / np.sum((y - y.mean()) ** 2)
        _ = 1 - np.sqrt((r - 1) ** 2 + (alpha - 1) ** 2 + (beta - 1) ** 2)
        _ = 1 - np.sqrt((r - 1) ** 2 + (alpha / beta - 1) ** 2 + (beta - 1) ** 2)


def library(observed: np.ndarray, predicted: np.ndarray) -> None:
    y, f = (xr.DataArray(values.astype(np.float64), dims=("cell", "time")) for values in (observed, predicted))
    for metric in ("rmse", "additive_bias", "nse", "kge"):
        getattr(scores.continuous, metric)(f, y, preserve_dims="cell")
    scores.continuous.correlation.pearsonr(f, y, preserve_dims="cell")


def peak_memory(function: Callable[[], object]) -> float:
    """Largest memory that the work holds at a time, beyond what was there before [MiB]."""
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cells", type=int, default=60_000)
    parser.add_argument("--loop-cells", type=int, default=2000, help="of the references, whose times are scaled")
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--threads", type=int, default=usable_cores())
    options = parse(parser)
    few = slice(0, min(options.loop_cells, options.cells))
    ours = f"soilcast, {options.threads} thread(s)"
    for gaps in (0.0, 0.05):
        series = random_series(options.cells, options.days, gaps)
        contenders = {
            name: functools.partial(function, *(one[few] for one in series)) for name, function in REFERENCES.items()
        }
        contenders |= {
            f"soilcast, {threads} thread(s)": functools.partial(score_cells, *series, threads=threads)
            for threads in (options.threads, 1)
        }
        scale = {name: options.cells / few.stop for name in REFERENCES}
        seconds = {name: times * scale.get(name, 1.0) for name, times in in_turns(contenders, options.rounds).items()}
        title = f"7 metrics of {options.cells:,} cells x {options.days} days, {100 * gaps:g} % gaps, s; "
        peaks = {ours: f"{peak_memory(contenders[ours]):.0f}"}
        references = {f"x {name}": name for name in REFERENCES}
        title += f"references from {few.stop:,} cells, {options.rounds} rounds"
        show_times(title, seconds, references, lambda times: times, more={"memory [MiB]": peaks}, digits=3)
        median = float(np.median(seconds[ours]))
        print(verdict(f"7 metrics, {100 * gaps:g} % gaps", median, TARGET_SECONDS, " s", below=True))
    print(machine())


REFERENCES = {"float64 loop": plain_loop, "scores, 5 of the 7": library}

if __name__ == "__main__":
    main()
