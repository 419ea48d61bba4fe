"""CPU time and peak memory of reading an ensemble of weather in GRIB onto the cells of a cube, beside cfgrib, xarray.

Both sides make daily precipitation, temperature and radiation of ten days and five members on a cube of half the
resolution, each as a process of its own. The other side is what one writes by hand: cfgrib opens each parameter, xarray
takes means and differences, xarray-regrid its conservative regridding. The fields are made up.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import eccodes
import numpy as np
import xarray as xr

from benchmarks.measuring import machine, show, verdict
from soilcast.cube import Grid, assemble, cells_of_grid, grid_of, open_cube, save_cube
from soilcast.memory import held_memory, peak_memory
from soilcast.weather import open_weather

ISSUE, LEADS, MEMBERS, STEP = np.datetime64("2020-01-20"), 10, 5, 6
NAMES = {"tp": 228, "t2m": 167, "ssrd": 169}
FASTER, SMALLER = 1.0, 10.0
"""What is aimed at: as fast, in a tenth of the memory."""


def write_ensemble(path: Path, resolution: float) -> None:
    """An ensemble as in ECMWF's open data: amounts since the start, CCSDS packing, all members of a step together."""
    lat, lon = round(180 / resolution) + 1, round(360 / resolution)
    base = np.random.default_rng(0).random((lat, lon))
    with path.open("wb") as stream:
        for hour in range(0, 24 * LEADS + 1, STEP):
            for member in range(1, MEMBERS + 1):
                values = {
                    "tp": 0.003 * base * hour / 24,
                    "t2m": 280 + 10 * np.roll(base, hour + member, axis=1),
                    "ssrd": 1e7 * base * hour / 24,
                }
                for name, number in NAMES.items():
                    _write(stream, number, hour, member, values[name], name != "t2m", resolution)


def _write(
    stream: object, number: int, hour: int, member: int, values: np.ndarray, since_start: bool, resolution: float
) -> None:
    if since_start and not hour:
        return
    handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
    keys = {"tablesVersion": 32, "centre": "ecmf", "dataDate": int(str(ISSUE + 1).replace("-", "")), "paramId": number}
    keys |= {"dataTime": 0, "productDefinitionTemplateNumber": 11 if since_start else 1, "perturbationNumber": member}
    keys |= {"stepRange": f"0-{hour}" if since_start else str(hour), "Ni": values.shape[1], "Nj": values.shape[0]}
    keys |= {"latitudeOfFirstGridPointInDegrees": 90.0, "latitudeOfLastGridPointInDegrees": -90.0}
    keys |= {"longitudeOfFirstGridPointInDegrees": 0.0, "longitudeOfLastGridPointInDegrees": 360.0 - resolution}
    keys |= {"iDirectionIncrementInDegrees": resolution, "jDirectionIncrementInDegrees": resolution}
    keys |= {"packingType": "grid_ccsds", "bitsPerValue": 16}
    for key, value in keys.items():
        eccodes.codes_set(handle, key, value)
    eccodes.codes_set_values(handle, values.ravel())
    eccodes.codes_write(handle, stream)
    eccodes.codes_release(handle)


def write_cube(path: Path, resolution: float) -> None:
    """A cube of a third of all cells between 60 °S and 80 °N."""
    lat = np.arange(-60 + resolution / 2, 80, resolution)
    lon = np.arange(-180 + resolution / 2, 180, resolution)
    chosen = np.random.default_rng(0).choice(lat.size * lon.size, lat.size * lon.size // 3, replace=False)
    grid = Grid(lat, lon, np.sort(chosen).astype(np.int64))
    time_axis = (ISSUE - np.arange(20)[::-1]).astype("datetime64[ns]")
    values = {"t2m": np.full((len(chosen), 20), 280.0, np.float32)}
    about = {"title": "cells of a benchmark", "source": "benchmark", "content": "synthetic weather"}
    save_cube(assemble(values, cells=cells_of_grid(grid), time=time_axis, **about), path)


def by_soilcast(path: str, cube: xr.Dataset) -> np.ndarray:
    """Daily weather ``(member, cell, lead, feature)``."""
    return open_weather(path, cube, tuple(NAMES), ISSUE, LEADS).values()[:, :, 0]


def by_hand(path: str, cube: xr.Dataset) -> np.ndarray:
    """The same with cfgrib, xarray and xarray-regrid."""
    import xarray_regrid  # noqa: F401  (gives arrays .regrid)

    grid = grid_of(cube)
    assert grid is not None
    target = xr.Dataset(coords={"latitude": np.sort(grid.lat), "longitude": np.sort(grid.lon % 360)})
    found = []
    for name in NAMES:
        keys = {"filter_by_keys": {"shortName": {"t2m": "2t"}.get(name, name)}, "indexpath": ""}
        values = xr.open_dataset(path, engine="cfgrib", backend_kwargs=keys, decode_timedelta=True)[name]
        if name == "t2m":
            daily = values.isel(step=slice(0, 24 * LEADS // STEP)).coarsen(step=24 // STEP).mean()
        else:
            days = (24 * np.arange(1, LEADS + 1)).astype("timedelta64[h]").astype("timedelta64[ns]")
            ends = values.sel(step=days)
            daily = xr.concat([ends.isel(step=[0]), ends.diff("step")], "step") / (86400 if name == "ssrd" else 1)
        onto = daily.load().sortby("latitude").regrid.conservative(target, latitude_coord="latitude")
        cells = onto.sel(latitude=cube["lat"], longitude=cube["lon"] % 360)
        found.append(cells.transpose("number", "cell", "step").to_numpy())
    return np.stack(found, axis=-1)


SIDES = {"soilcast": by_soilcast, "by hand": by_hand}


def measure(side: str, path: str, cube: str) -> None:
    """Print CPU time [s] and memory above that at the start [MiB] of one side, in this process."""
    opened, before, start = open_cube(cube), held_memory(), time.process_time()
    values = SIDES[side](path, opened)
    assert np.isfinite(values).all()
    print(time.process_time() - start, (peak_memory() - before) / 2**20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=float, default=0.5)
    parser.add_argument("--measure", nargs=3, metavar=("SIDE", "GRIB", "CUBE"), help="one side, in this process")
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure)
        return
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        path, cube = Path(folder) / "ensemble.grib", Path(folder) / "cube"
        write_ensemble(path, options.resolution)
        write_cube(cube, 2 * options.resolution)
        size = path.stat().st_size / 2**20
        for side in SIDES:
            command = [sys.executable, "-m", "benchmarks.weather", "--measure", side, str(path), str(cube)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            figures[side] = [float(one) for one in done.stdout.split()[-2:]]
    what = f"{MEMBERS} members, {len(NAMES)} parameters, {LEADS} days by {STEP} h, {options.resolution:g} degrees"
    rows = [(side, f"{cpu:.1f}", f"{memory:.0f}") for side, (cpu, memory) in figures.items()]
    show(f"{what}: {size:.0f} MiB of GRIB onto {2 * options.resolution:g} degrees", ("", "CPU s", "MiB more"), rows)
    (mine, own), (theirs, other) = figures["soilcast"], figures["by hand"]
    print(verdict("CPU time of the other side beside soilcast's", theirs / mine, FASTER))
    print(verdict("memory of the other side beside soilcast's", other / own, SMALLER))
    print(machine())


if __name__ == "__main__":
    main()
