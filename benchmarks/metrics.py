"""Time and memory of the metrics on a year of 60,000 cells, beside a plain loop and the `scores` library."""

from __future__ import annotations

import argparse
import functools
import os
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import scores.continuous
import xarray as xr
from rich.console import Console
from rich.table import Table

from soilcast.verify import score_cells

REPEATS = 5
LOOP_CELLS = 2000
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


def timed(function: Callable[[], object], repeats: int = REPEATS) -> np.ndarray:
    """Median and best wall time, and the least processor time of all threads [s]."""
    wall, processor = [], []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        function()
        wall.append(time.perf_counter() - start[0])
        processor.append(time.process_time() - start[1])
    return np.array([np.median(wall), min(wall), min(processor)])


def peak_memory(function: Callable[[], object]) -> float:
    """Largest memory that the work holds at a time, beyond what was there before [MiB]."""
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=60_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    table = Table(title=f"All 7 metrics of {options.cells} cells x {options.days} days, float32, {REPEATS} runs")
    table.add_column("what")
    for column in ("threads", "median [s]", "best [s]", "processor [s]", "times ours", "memory [MiB]"):
        table.add_column(column, justify="right")
    few = slice(0, min(LOOP_CELLS, options.cells))
    scale = options.cells / few.stop
    for gaps in (0.0, 0.05):
        observed, predicted = random_series(options.cells, options.days, gaps)
        run = functools.partial(score_cells, observed, predicted, threads=options.threads)
        soilcast_times = timed(run)
        rows = [
            ("soilcast", options.threads, soilcast_times, f"{peak_memory(run):.0f}"),
            ("soilcast", 1, timed(functools.partial(score_cells, observed, predicted, threads=1)), ""),
        ]
        for name, function in (("plain float64 loop", plain_loop), ("scores library, 5 of the 7", library)):
            measured = scale * timed(functools.partial(function, observed[few], predicted[few]), 3)
            rows.append((f"{name}, from {few.stop} cells", 1, measured, ""))
        for name, threads, measured, memory in rows:
            texts = [f"{seconds:.3f}" for seconds in measured]
            table.add_row(
                f"{100 * gaps:g} % gaps: {name}", str(threads), *texts, f"{measured[0] / soilcast_times[0]:.1f}", memory
            )
        verdict = "met" if soilcast_times[0] <= TARGET_SECONDS else "missed"
        print(
            f"{100 * gaps:g} % gaps: target of {TARGET_SECONDS} s {verdict} with a median of {soilcast_times[0]:.3f} s"
        )
    print(f"load of the machine meanwhile: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
