"""Time and peak memory of `soilcast prepare` on global daily files, beside reading the same bytes from the disk.

Two layouts of the same planet, synthetic weather on real geography: LandBench's tree, and the daily statistics of
ERA5-Land, whose specific humidity has to be made of dewpoint and pressure.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.measuring import machine, parse, show, timed, verdict
from soilcast.cube import open_cube
from soilcast.sources.planet.geography import geography
from tests.helpers.era5_files import write_daily_globe
from tests.helpers.landbench_tree import write_landbench_tree

TARGETS = {1.0: 40.0, 0.5: 240.0}
"""Resolution [degrees] -> most seconds."""


def write_landbench(root: Path, resolution: float, years: list[int]) -> list[str]:
    """A global tree at a resolution, with the planet's land: synthetic values in the distributed layout."""
    lats = np.arange(90 - resolution / 2, -90, -resolution)
    lons = np.arange(resolution / 2, 360, resolution)
    grid = geography(resolution).grid
    land = np.zeros((len(grid.lat), len(grid.lon)), dtype=bool)
    land.flat[grid.index] = True
    land = np.roll(land[::-1], -(len(grid.lon) // 2), axis=1)
    write_landbench_tree(root, resolution=f"{resolution:g}", lats=lats, lons=lons, years=years, land=land)
    return ["landbench", str(root), "--resolution", f"{resolution:g}"]


def write_era5land(root: Path, resolution: float, years: list[int]) -> list[str]:
    """The planet's days as the daily statistics of ERA5-Land, a file a variable and year."""
    write_daily_globe(root, resolution, f"{years[0]}:{years[-1]}")
    return ["era5land", str(root)]


LAYOUTS: dict[str, Callable[[Path, float, list[int]], list[str]]] = {
    "landbench": write_landbench,
    "era5land": write_era5land,
}


def forget(root: Path) -> None:
    """Have the system let go of what it holds of the files, so that they come from the disk."""
    for file in root.rglob("*.nc"):
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_all(root: Path) -> tuple[float, float]:
    """Seconds to read every file once, and their size [MiB]."""
    start, size = time.perf_counter(), 0
    for file in sorted(root.rglob("*.nc")):
        with file.open("rb", buffering=0) as stream:
            while block := stream.read(1 << 22):
                size += len(block)
    return time.perf_counter() - start, size / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolutions", type=float, nargs="+", default=[4.0, 2.0, 1.0, 0.5])
    parser.add_argument("--years", type=int, nargs="+", default=[2018, 2019, 2020])
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS))
    parser.add_argument("--memory", default="4GiB")
    parser.add_argument("--folder", type=Path, help="where to write the files; a temporary folder otherwise")
    options = parse(parser)
    for layout in options.layouts:
        rows, verdicts, highest_peak = [], [], 0.0
        for resolution in options.resolutions:
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                root, out = Path(folder) / "files", Path(folder) / "cube"
                root.mkdir()
                source = LAYOUTS[layout](root, resolution, options.years)
                forget(root)
                reading, size = read_all(root)
                forget(root)
                seconds, peak = timed(["prepare", *source, "--memory", options.memory, "--out", str(out)])
                cells = open_cube(out).sizes["cell"]
                variables = sum("time" in variable.dims for variable in open_cube(out).data_vars.values())
            each = cells / 1000 * len(options.years)
            highest_peak = max(highest_peak, peak)
            row = (
                f"{resolution:g} deg",
                f"{cells:,}",
                str(variables),
                f"{size:,.0f}",
                f"{seconds:.1f}",
                f"{peak:,.0f}",
            )
            rows.append((*row, f"{seconds / each:.2f}", f"{peak / each:.1f}", f"{reading / seconds:.0%}"))
            if resolution in TARGETS:
                verdicts.append(
                    verdict(f"{layout}, {resolution:g} degrees", seconds, TARGETS[resolution], " s", below=True)
                )
        columns = ("resolution", "cells", "variables", "files [MiB]", "time [s]", "peak [MiB]")
        title = (
            f"soilcast prepare {layout} --memory {options.memory}: {len(options.years)} years, synthetic, uncompressed"
        )
        show(title, (*columns, "s / 1000 cells and year", "MiB / same", "of read speed"), rows)
        print("\n".join([*verdicts, verdict(f"{layout}, most memory", highest_peak, 4096, " MiB", below=True)]))
    print("The time is that of the whole command, its start and its summary of the cube included. of read speed: the")
    print("files' bytes a second beside reading them once, both from the disk.")
    print(machine())


if __name__ == "__main__":
    main()
