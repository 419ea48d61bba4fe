"""Training and forecasting on a global planet at half a degree within a memory budget, beside nn.LSTM cell by cell."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.measuring import machine, parse, prepare_planet, show, timed, train_briefly, verdict
from benchmarks.plain import PlainForecast, PlainLSTM, best_threads
from soilcast.cube import open_artifact, open_cube
from soilcast.memory import parse_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resolution", default="0.5")
    parser.add_argument("--memory", default="1GiB")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--period", default="2020")
    parser.add_argument("--plain-cells", type=int, default=2048, help="of the plain loop, the first of the cube")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder otherwise")
    options = parse(parser)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        cube, run = folder / "cube", folder / "run"
        rows = [("prepare (no budget)", *_texts(prepare_planet(cube, options.resolution)))]
        settings = [f"train.epochs={options.epochs}", "train.validate_every=10", "train.batches_per_epoch=300"]
        settings.append("train.validation_samples=100000")
        trained = train_briefly(cube, run, "phys-lstm", settings, "--memory", options.memory)
        log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        epochs = sum(record["seconds"] for record in log)
        rows.append(("train PHYs-LSTM", *_texts(trained), "", "", f"{options.epochs} epochs in {epochs:.0f} s"))
        found, worst = {}, trained[1]
        for precision in ("float32", "bfloat16"):
            out = folder / precision
            words = ["forecast", str(run), "--cube", str(cube), "--out", str(out), "--period", options.period]
            found[precision] = timed([*words, "--precision", precision, "--memory", options.memory])
            worst = max(worst, found[precision][1])
        forecasts = {precision: open_artifact(folder / precision, "forecast") for precision in found}
        cells, days = (forecasts["float32"].sizes[dim] for dim in ("cell", "time"))
        few = min(options.plain_cells, cells)
        plain = PlainForecast(PlainLSTM().eval(), cube, days)
        rate = few * days / best_threads(lambda: plain.write(folder / "plain", slice(few)))[1] / 1e6
        rows.append((f"nn.LSTM, cell after cell, {few:,}", "", "", f"{rate:.3f}", "1.00"))
        for precision, (seconds, peak) in found.items():
            own = cells * days / seconds / 1e6
            error = forecasts[precision].attrs.get("bfloat16_rmse")
            remark = "" if error is None else f"RMSE to float32 {error:.2g} m3 m-3"
            texts = *_texts((seconds, peak)), f"{own:.3f}", f"{own / rate:.2f}", remark
            rows.append((f"forecast {days:,} days, {precision}", *texts))
        sizes = open_cube(cube).sizes
    title = f"{sizes['cell']:,} cells, {sizes['time']:,} days, synthetic weather; --memory {options.memory}"
    columns = ("command", "time [s]", "peak [MiB]", "million cell-days/s", "x the loop", "of which")
    show(title, columns, rows)
    budget = parse_bytes(options.memory) / 2**20
    print(verdict("most memory of training and forecasting", worst, budget, " MiB", below=True))
    print(machine())


def _texts(measured: tuple[float, float]) -> tuple[str, str]:
    return f"{measured[0]:.0f}", f"{measured[1]:,.0f}"


if __name__ == "__main__":
    main()
