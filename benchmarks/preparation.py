"""Time and peak memory of `soilcast prepare` on a LandBench tree, beside reading the same bytes from the disk."""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from tests.landbench_tree import write_landbench_tree

from soilcast.cube import open_cube
from soilcast.sources.planet.geography import geography

YEARS = (2018, 2019, 2020)


def write_tree(root: Path, resolution: float) -> None:
    """A global tree at a resolution, with the planet's land: synthetic values in the distributed layout."""
    lats = np.arange(90 - resolution / 2, -90, -resolution)
    lons = np.arange(resolution / 2, 360, resolution)
    grid = geography(resolution).grid
    land = np.zeros((len(grid.lat), len(grid.lon)), dtype=bool)
    land.flat[grid.index] = True
    land = np.roll(land[::-1], -(len(grid.lon) // 2), axis=1)
    write_landbench_tree(root, resolution=f"{resolution:g}", lats=lats, lons=lons, years=YEARS, land=land)


def measured(root: Path, resolution: float, out: Path) -> tuple[float, float]:
    """Wall time [s] and peak memory [MiB] of the command as a process of its own."""
    command = [sys.executable, "-m", "soilcast", "prepare", "landbench", str(root)]
    command += ["--resolution", f"{resolution:g}", "--out", str(out)]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def read_all(root: Path) -> tuple[float, float]:
    """Seconds to read every file once, and their size [MiB]."""
    start, size = time.perf_counter(), 0
    for file in sorted(root.rglob("*.nc")):
        with file.open("rb", buffering=0) as stream:
            while block := stream.read(1 << 22):
                size += len(block)
    return time.perf_counter() - start, size / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resolutions", type=float, nargs="+", default=[4.0, 2.0, 1.0])
    parser.add_argument("--folder", type=Path, help="where to write the files; a temporary folder otherwise")
    options = parser.parse_args()
    table = Table(title="soilcast prepare landbench: 3 years, 15 dynamic variables, 6 constants, uncompressed NetCDF")
    for column in (
        "resolution",
        "cells",
        "files [MiB]",
        "time [s]",
        "peak memory [MiB]",
        "s / 1000 cells and year",
        "x read",
    ):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for resolution in options.resolutions:
            root, out = Path(folder) / "tree", Path(folder) / f"cube-{resolution:g}"
            write_tree(root, resolution)
            reading, size = read_all(root / f"{resolution:g}")
            seconds, memory = measured(root, resolution, out)
            cells = open_cube(out).sizes["cell"]
            each = seconds / (cells / 1000 * len(YEARS))
            row = (
                f"{resolution:g} deg",
                f"{cells:,}",
                f"{size:,.0f}",
                f"{seconds:.1f}",
                f"{memory:,.0f}",
                f"{each:.2f}",
            )
            table.add_row(*row, f"{seconds / reading:.0f}")
    Console(width=120).print(table)
    print("The time is that of the whole command, its start and its summary of the cube included; peak memory is the")
    print("largest of the commands so far. x read: times the reading of the same files, which the page cache holds.")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
