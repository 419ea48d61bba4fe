"""Time and peak memory of `soilcast demo`, the whole path with three trainings, as a process of its own."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGET_SECONDS = 360


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        out = Path(folder) / "demo"
        command = [sys.executable, "-m", "soilcast", "demo", "--out", str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    verdict = "met" if seconds <= TARGET_SECONDS else "missed"
    print(f"soilcast demo: {seconds:.0f} s (target {TARGET_SECONDS} s {verdict}), peak memory {memory:.0f} MiB")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
