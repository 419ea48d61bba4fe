"""The forecast from an issue day, ten days ahead with intervals and products: a region, the globe at half a degree."""

from __future__ import annotations

import argparse
import functools
import tempfile
from pathlib import Path

from benchmarks.measuring import machine, parse, prepare_planet, show, timed, train_briefly, verdict
from benchmarks.plain import FEATURES, PlainForecast, PlainLSTM, best_threads
from soilcast.cube import PAPER_DYNAMIC, open_cube

LAYERS = ("swvl1", "swvl2", "swvl3")
_SETTINGS = (
    f"task.layers=[{','.join(LAYERS)}]",
    f"task.lags=[{','.join(LAYERS)}]",
    "loss.name=quantiles",
    "network.hidden_size=64",
    "normalise.method=z_score",
)
_TARGETS = {"4": 10.0, "0.5": 120.0}
"""Resolution [degrees] -> most seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resolutions", nargs="+", default=list(_TARGETS))
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder otherwise")
    options = parse(parser)
    rows, verdicts = [], []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for resolution in options.resolutions:
            folder = Path(name) / resolution
            cube, run, out = folder / "cube", folder / "run", folder / "out"
            prepare_planet(cube, resolution)
            train_briefly(cube, run, "multi-day", _SETTINGS, "--memory", "2GiB")
            cells = open_cube(cube).sizes["cell"]
            size = f"{cells:,} cells ({resolution} deg)"
            network = PlainLSTM(FEATURES + len(LAYERS), len(LAYERS) * 10 * 9, hidden=64).eval()
            plain = PlainForecast(network, cube, 1, 10, (*PAPER_DYNAMIC, *LAYERS))
            _, reference = best_threads(functools.partial(plain.write, folder / "plain", slice(None)))
            rows.append((f"{size}: nn.LSTM alone, read and written", f"{reference:.1f}", "", "1.00"))
            command = ["forecast", str(run), "--cube", str(cube), "--out", str(out), "--append", "--from"]
            for case, issue in (("first day", "2020-11-01"), ("one day more", "2020-11-02")):
                seconds, peak = timed([*command, issue])
                rows.append((f"{size}: {case}", f"{seconds:.1f}", f"{peak:,.0f}", f"{reference / seconds:.2f}"))
            if resolution in _TARGETS:
                verdicts.append(verdict(f"a day at {resolution} deg", seconds, _TARGETS[resolution], " s", below=True))
    title = "From an issue day: 3 layers, 10 days ahead, 7 quantiles, percentiles and drought classes of 3 years"
    show(title, ("what", "time [s]", "peak memory [MiB]", "x nn.LSTM"), rows)
    print("\n".join([*verdicts, machine()]))


if __name__ == "__main__":
    main()
