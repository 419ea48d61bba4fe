"""The forecast from an issue day, ten days ahead with intervals and products: a region, the globe at half a degree."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks.measuring import show, timed, verdict
from soilcast.cube import open_cube

_SETTINGS = (
    "task.layers=[swvl1,swvl2,swvl3]",
    "task.lags=[swvl1,swvl2,swvl3]",
    "loss.name=quantiles",
    "network.hidden_size=64",
    "normalise.method=z_score",
    "train.epochs=1",
    "train.validate_every=1",
    "train.batches_per_epoch=20",
    "train.validation_samples=2000",
)
"""The cost of a forecast does not depend on how well the run was trained."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resolutions", nargs="+", default=["4", "0.5"])
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder otherwise")
    options = parser.parse_args()
    rows, verdicts = [], []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for resolution in options.resolutions:
            subfolder = Path(name) / resolution
            cube, run, out = (str(subfolder / part) for part in ("cube", "run", "out"))
            timed(["prepare", "planet", "--resolution", resolution, "--years", "2018:2020", "--out", cube])
            chosen = [word for setting in _SETTINGS for word in ("--set", setting)]
            timed(["train", "--cube", cube, "--out", run, "--model", "multi-day", "--memory", "2GiB", *chosen])
            command = ["forecast", run, "--cube", cube, "--out", out, "--append", "--from"]
            cells = open_cube(cube).sizes["cell"]
            for case, issue in (("first day", "2020-11-01"), ("one day more", "2020-11-02")):
                seconds, peak = timed([*command, issue])
                rows.append((f"{cells:,} ({resolution} deg)", case, f"{seconds:.1f}", f"{peak:,.0f}"))
            verdicts.append((resolution, seconds))
    title = (
        "Forecast from an issue day: 3 layers, 10 days ahead, 7 quantiles, percentiles and drought classes of 3 years"
    )
    show(title, ("cells", "", "time [s]", "peak memory [MiB]"), rows)
    for resolution, seconds in verdicts:
        target = 120.0 if resolution == "0.5" else 10.0
        print(verdict(f"a day at {resolution} deg", seconds, target, " s", below=True))
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
