"""Training and forecasting on a global planet at half a degree within a memory budget."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

from benchmarks.measuring import show, timed, verdict
from soilcast.cube import open_artifact, open_cube


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resolution", default="0.5")
    parser.add_argument("--memory", default="1GiB")
    parser.add_argument("--epochs", default="20")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder otherwise")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        cube, run = folder / "cube", folder / "run"
        prepared = timed(["prepare", "planet", "--resolution", options.resolution, "--out", str(cube)])
        settings = [f"train.epochs={options.epochs}", "train.validate_every=10"]
        chosen = [word for setting in settings for word in ("--set", setting)]
        limit = ["--memory", options.memory]
        trained = timed(["train", "--model", "phys-lstm", "--cube", str(cube), "--out", str(run), *limit, *chosen])
        log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        epochs = sum(record["seconds"] for record in log)
        rows = [
            ("prepare (no budget)", f"{prepared[0]:.0f}", f"{prepared[1]:,.0f}", ""),
            (
                "train PHYs-LSTM",
                f"{trained[0]:.0f}",
                f"{trained[1]:,.0f}",
                f"{options.epochs} epochs in {epochs:.0f} s",
            ),
        ]
        worst = trained[1]
        for precision in ("float32", "bfloat16"):
            out = folder / precision
            command = ["forecast", str(run), "--cube", str(cube), "--out", str(out), "--precision", precision]
            seconds, peak = timed([*command, *limit])
            worst = max(worst, peak)
            forecast = open_artifact(out, "forecast")
            remark = f"{forecast['swvl1'].size / seconds / 1e6:.3f} million cell-days/s"
            if "bfloat16_rmse" in forecast.attrs:
                remark += f", RMSE to float32 {forecast.attrs['bfloat16_rmse']:.2g} m3 m-3"
            rows.append((f"forecast a year, {precision}", f"{seconds:.0f}", f"{peak:,.0f}", remark))
        sizes = open_cube(cube).sizes
    title = f"{sizes['cell']:,} cells, {sizes['time']:,} days, synthetic weather; --memory {options.memory}"
    show(title, ("command", "time [s]", "peak memory [MiB]", "of which"), rows)
    budget = {"GiB": 1024, "MiB": 1}[options.memory[-3:]] * float(options.memory[:-3])
    print(verdict("most memory of training and forecasting", worst, budget, " MiB", below=True))
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
