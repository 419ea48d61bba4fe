"""Seconds that `soilcast daily` takes for a region beside its downloads: each step of a morning, from its own log.

The region has a quarter-degree forecast of ten days, six-hourly, and a year of earlier forecasts from which the
correction of the bridged days is learnt, as `soilcast download forecast` lays them. The fields are made up; nothing is
fetched. A step that reads GRIB stands beside cfgrib and xarray, which open the forecast of the morning alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import eccodes
import numpy as np
import xarray as xr
import yaml

from benchmarks.measuring import machine, parse, show, timed, verdict
from soilcast.cube import Grid, assemble, cells_of_grid, open_cube, save_cube
from soilcast.training import load_config, train

NAMES = {"tp": 228, "t2m": 167}
LEADS, LATE = 7, 5
QUICK = [
    "train.epochs=1", "train.batches_per_epoch=5", "task.dynamic=[t2m,tp]", "task.static=[]", "task.latency={lags: 5}",
    "task.known_future=[tp,t2m]", f"task.lead_days={LEADS}",
]  # fmt: skip
MOST = 60.0
"""Seconds that a morning may take."""


def write_run(folder: Path, start: np.datetime64, hours: range, lat: np.ndarray, lon: np.ndarray) -> None:
    """Write a run as it is downloaded: a file a step."""
    rng = np.random.default_rng(int(start.astype("datetime64[h]").astype(int)))
    rain = 0.0002 * rng.random((len(lat), len(lon)))
    for hour in hours:
        with (folder / f"ifs_{start}_{hour:03d}h.grib").open("wb") as stream:
            for name, number in NAMES.items():
                if name == "tp" and hour == 0:
                    continue
                values = rain * hour if name == "tp" else 280 + 5 * rng.random((len(lat), len(lon)))
                handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
                keys = {"tablesVersion": 32, "centre": "ecmf", "dataDate": int(str(start)[:10].replace("-", ""))}
                keys |= {"dataTime": 0, "paramId": number, "stepRange": f"0-{hour}" if name == "tp" else str(hour)}
                keys |= {"productDefinitionTemplateNumber": 8 if name == "tp" else 0, "Ni": len(lon), "Nj": len(lat)}
                keys |= {"latitudeOfFirstGridPointInDegrees": lat[0], "latitudeOfLastGridPointInDegrees": lat[-1]}
                keys |= {"longitudeOfFirstGridPointInDegrees": lon[0], "longitudeOfLastGridPointInDegrees": lon[-1]}
                keys |= {"iDirectionIncrementInDegrees": 0.25, "jDirectionIncrementInDegrees": 0.25}
                for key, value in (keys | {"packingType": "grid_ccsds", "bitsPerValue": 16}).items():
                    eccodes.codes_set(handle, key, value)
                eccodes.codes_set_values(handle, values.ravel())
                eccodes.codes_write(handle, stream)
                eccodes.codes_release(handle)


def write_cube(path: Path, last: np.datetime64, days: int) -> None:
    """A cube of 0.1 degrees, 47 to 52 °N, 5 to 12 °E, as of ERA5-Land."""
    grid = Grid(np.arange(51.95, 47.0, -0.1), np.arange(5.05, 12.0, 0.1), np.arange(50 * 70, dtype=np.int64))
    rng, axis = np.random.default_rng(0), (last - np.arange(days)[::-1]).astype("datetime64[ns]")
    values = {
        "t2m": 280 + 5 * rng.random((3500, days)),
        "tp": 0.005 * rng.random((3500, days)),
        "swvl1": 0.2 + 0.1 * rng.random((3500, days)),
        "slthick1": np.full(3500, 0.07),
    }
    about = {"title": "cells of a benchmark", "source": "benchmark", "content": "synthetic"}
    made = {name: one.astype(np.float32) for name, one in values.items()}
    save_cube(assemble(made, cells=cells_of_grid(grid), time=axis, **about), path)


def by_hand(folder: Path, start: np.datetime64) -> float:
    """Seconds in which cfgrib and xarray open the forecast of the morning and make daily values of it."""
    code = (
        "import sys, xarray as xr\n"
        "files = sorted(sys.argv[1:])\n"
        "for name in ('2t', 'tp'):\n"
        "    keys = {'filter_by_keys': {'shortName': name}, 'indexpath': ''}\n"
        "    one = [xr.open_dataset(f, engine='cfgrib', backend_kwargs=keys, decode_timedelta=True) for f in files]\n"
        "    whole = xr.concat([each for each in one if each.data_vars], 'step').load()\n"
        "    whole.isel(step=slice(0, 28)).coarsen(step=4).mean()\n"
    )
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *map(str, folder.glob(f"ifs_{start}_*.grib"))], check=True)
    return time.perf_counter() - begin


def main() -> None:
    """Measure a morning."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learn-days", type=int, default=365, help="earlier forecasts")
    options = parse(parser)
    today = np.datetime64("today", "D")
    issue, last = today - 1, today - 1 - LATE
    lat, lon = np.arange(52.5, 46.25, -0.25), np.arange(4.5, 12.75, 0.25)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_cube(folder / "cube", last, 1500)
        train(folder / "cube", folder / "run", load_config(settings=QUICK, model="multi-day"))
        weather = folder / "chain" / "weather"
        weather.mkdir(parents=True)
        for before in range(options.learn_days + LATE, -1, -1):
            hours = range(0, 241, 6) if before == 0 else range(0, 25, 6)
            write_run(weather, np.datetime64(f"{today - before}T00"), hours, lat, lon)
        config = {
            "run": "run",
            "cube": "cube",
            "folder": "chain",
            # A mirror that is not there: what is fetched already is used.
            "weather": {"download": {"source": "http://127.0.0.1:9", "parameters": ["t2m", "tp"]}},
            "exports": [{"file": "percentile.tif", "variable": "swvl1_percentile"}],
        }
        (folder / "daily.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        seconds, memory = timed(["daily", str(folder / "daily.yaml")])
        lines = [json.loads(line) for line in (folder / "chain" / "log.jsonl").read_text().splitlines()]
        again, _ = timed(["daily", str(folder / "daily.yaml")])
        other = by_hand(weather, np.datetime64(f"{today}T00"))
        with open_cube(folder / "cube") as cube, xr.open_zarr(folder / "chain" / "forecasts" / str(issue)) as made:
            assert made.sizes["cell"] == cube.sizes["cell"]
    rows = [(line["step"], f"{line['seconds']:.1f}") for line in lines if "seconds" in line]
    rows += [
        ("the whole command", f"{seconds:.1f}"),
        ("once more: all stands", f"{again:.1f}"),
        ("cfgrib and xarray: the morning's forecast alone", f"{other:.1f}"),
    ]
    show(f"3,500 cells, {options.learn_days} earlier forecasts, {memory:.0f} MiB at most", ("", "seconds"), rows)
    print(verdict("a minute beside what the command took", MOST / seconds, 1.0))
    print(machine())


if __name__ == "__main__":
    main()
