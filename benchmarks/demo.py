"""Time and peak memory of `soilcast demo`, the whole path with three trainings, as a process of its own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from benchmarks.measuring import timed

TARGET_SECONDS = 360


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        seconds, memory = timed(["demo", "--out", str(Path(folder) / "demo")])
    verdict = "met" if seconds <= TARGET_SECONDS else "missed"
    print(f"soilcast demo: {seconds:.0f} s (target {TARGET_SECONDS} s {verdict}), peak memory {memory:.0f} MiB")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
