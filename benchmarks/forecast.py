"""Forecast cell-days a second, beside a loop over cells, and how they grow with cells and days."""

from __future__ import annotations

import argparse

import numpy as np
import torch
import xarray as xr

from benchmarks.measuring import in_turns, machine, median_ratio, show, verdict
from benchmarks.plain import DYNAMIC, HIDDEN, LENGTH, STATIC, PlainLSTM, forecast_cell_by_cell
from soilcast.cube import PAPER_DYNAMIC, PAPER_STATIC
from soilcast.forecasting.block import BlockForecaster
from soilcast.forecasting.request import OpenedRequest, Request
from soilcast.training import Config
from soilcast.training.build import build_networks
from soilcast.training.devices import torch_threads
from soilcast.training.run import Run
from soilcast.training.statistics import Scaling, Statistics

PLAIN = "nn.LSTM, cell after cell"
_CPU = torch.device("cpu")


def random_run(cells: int, days: int) -> tuple[Run, xr.Dataset]:
    """A run and a cube of random numbers, in memory."""
    random = np.random.default_rng(0)
    dynamic = {name: (("cell", "time"), random.random((cells, days), dtype=np.float32)) for name in PAPER_DYNAMIC}
    static = {name: (("cell",), random.random(cells, dtype=np.float32)) for name in PAPER_STATIC}
    dynamic["swvl1"] = (("cell", "time"), random.random((cells, days), dtype=np.float32))
    lat, lon = random.uniform(-60, 70, cells), random.uniform(-180, 180, cells)
    time = np.datetime64("2019-12-25", "ns") + np.arange(days) * np.timedelta64(1, "D")
    cube = xr.Dataset({**dynamic, **static}, coords={"lat": ("cell", lat), "lon": ("cell", lon), "time": time})
    config = Config()
    scalings = {
        name: Scaling(np.zeros(cells), np.ones(cells)) for name in (*PAPER_DYNAMIC, config.task.target, *PAPER_STATIC)
    }
    statistics = Statistics(scalings, np.ones((cells, 1, 1)), np.ones((cells, 1)))
    networks, usable = build_networks(config), np.ones(cells, dtype=bool)
    return Run(config, networks, statistics, lat, lon, usable, {}, []), cube


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cells", type=int, default=512)
    options = parser.parse_args()
    assert (len(PAPER_DYNAMIC), len(PAPER_STATIC)) == (DYNAMIC, STATIC)
    network = PlainLSTM().eval()
    days, few = 365 + LENGTH, 64
    dynamic, static = torch.rand(few, days, DYNAMIC), torch.rand(few, STATIC)
    with torch_threads(0) as threads:
        days_forecast, all_cells = slice(LENGTH, days), slice(0, options.cells)
        run, cube = random_run(options.cells, days)
        forecasters = {
            precision: forecaster_of(run, cube, days_forecast, precision, threads)
            for precision in ("float32", "bfloat16")
        }
        contenders = {
            PLAIN: lambda: forecast_cell_by_cell(network, dynamic, static),
            **{
                f"soilcast, {name}": (lambda forecaster=forecaster: forecaster(all_cells))
                for name, forecaster in forecasters.items()
            },
        }
        seconds = in_turns(contenders, options.rounds)
        rates = {name: (few if name == PLAIN else options.cells) * 365 / times / 1e6 for name, times in seconds.items()}
        growth = {}
        for cells, length in ((128, 365), (1024, 365), (512, 30), (512, 1460)):
            run, cube = random_run(cells, length + LENGTH)
            forecaster = forecaster_of(run, cube, slice(LENGTH, length + LENGTH), "float32", threads)
            times = in_turns({"": lambda forecaster=forecaster, cells=cells: forecaster(slice(0, cells))}, 3)[""]
            growth[f"{cells:,} x {length:,}"] = cells * length / np.median(times) / 1e6
    rows = [
        (name, f"{np.median(rate):.3f}", f"{rate.max():.3f}", f"{median_ratio(1 / rates[PLAIN], 1 / rate):.2f}")
        for name, rate in rates.items()
    ]
    title = (
        f"Million cell-days a second, a year of {options.cells} cells, {HIDDEN} units, {threads} threads, reading and"
    )
    show(f"{title} normalising included", ("what", "median", "most", "x the loop"), rows)
    for precision, target in (("float32", 0.17), ("bfloat16", 0.30)):
        median_rate = float(np.median(rates[f"soilcast, {precision}"]))
        print(verdict(f"forecast, {precision}", median_rate, target, " million cell-days/s"))
    show(
        "How it grows (float32)",
        ("cells x days", "million cell-days/s"),
        [(name, f"{value:.3f}") for name, value in growth.items()],
    )
    print(machine())


def forecaster_of(
    run: Run, cube: xr.Dataset, days: slice, precision: str, threads: int, device: torch.device = _CPU
) -> BlockForecaster:
    """Of the days at some positions of a cube."""
    issues = slice(days.start - 1, days.stop - 1)
    request = Request("run", "cube", precision=precision)
    opened = OpenedRequest(request, run, cube, np.arange(len(run.usable)), run.usable, "a year", issues, 1, "none")
    return BlockForecaster(opened, threads, device)


if __name__ == "__main__":
    main()
