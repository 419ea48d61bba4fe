"""Cell-days forecast a second, blocks alone and from a cube to a forecast on disk, beside nn.LSTM cell after cell."""

from __future__ import annotations

import argparse
import functools
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.measuring import (
    in_turns,
    machine,
    median_ratio,
    parse,
    prepare_planet,
    show_times,
    train_briefly,
    verdict,
)
from benchmarks.plain import FEATURES, HIDDEN, PlainForecast, PlainLSTM, Threaded, best_threads
from soilcast import forecast
from soilcast.cube import PAPER_DYNAMIC, open_cube
from soilcast.forecasting.block import BlockForecaster
from soilcast.forecasting.request import Request
from soilcast.models.native import engine_name
from soilcast.training.devices import torch_threads

PLAIN, OURS = "nn.LSTM, cell after cell", "soilcast"
_OUTPUTS = 10 * 9
"""Of a forecast of 10 days: mean, median and 7 quantiles of each."""

_AVX512, _AMX = {"float32": (0.30, 3.0)}, {"float32": (0.30, 3.0), "bfloat16": (0.75, 7.0)}
_TARGETS = {"avx512": _AVX512, "amx": _AMX}
"""Instruction set -> precision -> million cell-days a second, and times the plain loop, files included."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--resolution", default="3", help="of the planet [degrees]")
    parser.add_argument("--period", default="2020")
    parser.add_argument("--period-ahead", default="2020-11:2020-12", help="of the forecasts of 10 days")
    options = parse(parser)
    with tempfile.TemporaryDirectory() as name, torch_threads(0) as threads:
        folder = Path(name)
        cube, run, ahead = folder / "cube", folder / "run", folder / "ahead"
        prepare_planet(cube, options.resolution)
        train_briefly(cube, run, "lstm")
        train_briefly(cube, ahead, "multi-day", ("loss.name=quantiles",))
        several = PlainForecast(PlainLSTM(FEATURES + 1, _OUTPUTS).eval(), cube, 1, 10, (*PAPER_DYNAMIC, "swvl1"))
        plain = PlainForecast(PlainLSTM().eval(), cube, 1)
        _compare("The next day", run, plain, options.period, threads, options.rounds)
        _compare("10 days ahead, 7 quantiles", ahead, several, options.period_ahead, threads, options.rounds)
        _grow(run, cube, options.period, threads, min(3, options.rounds))
    print(machine())


def block_forecaster(
    run: Path, cube: Path, period: str, threads: int, precision: str = "float32", device: str = "cpu"
) -> BlockForecaster:
    """Forecast blocks of cells, reading included, writing not."""
    opened = Request(str(run), str(cube), period=period, precision=precision).open()
    return BlockForecaster(opened, threads, torch.device(device))


def _compare(title: str, run: Path, plain: PlainForecast, period: str, threads: int, rounds: int) -> None:
    cube, out, cells = plain.cube, run.with_name("out"), open_cube(plain.cube).sizes["cell"]
    days = len(Request(str(run), str(cube), period=period).open().issues)
    plain = replace(plain, days=days)
    best, _ = best_threads(lambda: plain.forecast(*plain.read(slice(64))))
    contenders: dict[str, Callable[[], object]] = {
        f"{PLAIN}, alone": Threaded(best, lambda: plain.forecast(*plain.read(slice(None)))),
        f"{PLAIN}, files": Threaded(best, lambda: plain.write(run.with_name("plain"), slice(None))),
    }
    for precision in ("float32", "bfloat16"):
        forecaster = block_forecaster(run, cube, period, threads, precision)
        contenders[f"{OURS}, {precision}, alone"] = Threaded(threads, functools.partial(forecaster, slice(0, cells)))
        to_files = functools.partial(forecast, run, cube, out, period=period, precision=precision, overwrite=True)
        contenders[f"{OURS}, {precision}, files"] = to_files
    seconds = {name: times / (cells * days) for name, times in in_turns(contenders, rounds).items()}
    references = {name: f"{PLAIN}, {name.rsplit(', ', 1)[1]}" for name in seconds}
    more = {"threads": {name: str(best if name.startswith(PLAIN) else threads) for name in seconds}}
    title += f", million cell-days/s: {cells:,} cells x {days:,} issue days, {HIDDEN} units, {rounds} rounds"
    show_times(title, seconds, {"x the loop": references}, _rate, more=more, digits=3)
    if plain.network.head.out_features == 1:
        for precision, (rate, times) in _TARGETS.get(engine_name(), {}).items():
            own = seconds[f"{OURS}, {precision}, files"]
            print(verdict(f"forecast, {precision}", float(np.median(_rate(own))), rate, " million cell-days/s"))
            ratio = median_ratio(seconds[f"{PLAIN}, files"], own)
            print(verdict(f"forecast, {precision}, beside {PLAIN}", ratio, times))


def _grow(run: Path, cube: Path, period: str, threads: int, rounds: int) -> None:
    sizes, contenders = {}, {}
    cells = open_cube(cube).sizes["cell"]
    for some in (f"{period[:4]}-12", period):
        days = len(Request(str(run), str(cube), period=some).open().issues)
        forecaster = block_forecaster(run, cube, some, threads)
        for count in (max(1, cells // 8), cells):
            name = f"{count:,} x {days:,}"
            sizes[name], contenders[name] = count * days, functools.partial(forecaster, slice(0, count))
    seconds = {name: times / sizes[name] for name, times in in_turns(contenders, rounds).items()}
    title = "By size, float32, alone, million cell-days/s: cells x issue days"
    show_times(title, seconds, {"x the first": next(iter(sizes))}, _rate, digits=3)


def _rate(seconds: np.ndarray) -> np.ndarray:
    return 1e-6 / seconds


if __name__ == "__main__":
    main()
