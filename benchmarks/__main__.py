"""Run every benchmark and write what they print to docs/performance.md."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

from soilcast.provenance import versions

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
BENCHMARKS = ("training", "design", "forecast", "globe", "metrics", "preparation", "demo")

_HEAD = """# Performance

Written by `make bench` (`python -m benchmarks`); every figure below is what a benchmark printed. Each stands beside
a reference of the same run, since seconds alone say little about another machine.
"""


def main() -> None:
    """Run the benchmarks one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", action="store_true", help="other frameworks beside, where they are installed")
    options = parser.parse_args()
    parts = [_HEAD, f"Machine: {_processor()}, {os.cpu_count()} processors, no GPU. {_made_with()}\n"]
    for name in BENCHMARKS:
        module = f"benchmarks.{name}"
        command = [sys.executable, "-m", module, *(["--peers"] if options.peers and name == "training" else [])]
        # As the command line sets it before torch is there (soilcast/cli.py).
        environment = {"GOMP_SPINCOUNT": "1000", **os.environ}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
        print(done.stdout, flush=True)
        parts.append(f"## {name}\n\n`python -m {module}`\n\n```text\n{done.stdout.strip()}\n```\n")
        PAGE.write_text("\n".join(parts), encoding="utf-8")


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _made_with() -> str:
    return ", ".join(f"{package} {version}" for package, version in versions().items()) + "."


if __name__ == "__main__":
    main()
