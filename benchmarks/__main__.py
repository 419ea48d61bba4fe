"""Run every benchmark and write what they print to docs/performance.md."""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import torch

from soilcast.provenance import versions

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
BENCHMARKS = (
    "training",
    "design",
    "forecast",
    "globe",
    "issue_day",
    "metrics",
    "preparation",
    "demo",
    "startup",
    "gpu",
)

_HEAD = """# Performance

Written by `make bench` (`python -m benchmarks`); every figure below is what a benchmark printed. Each stands beside
a reference of the same run, since seconds alone say little about another machine.
"""


def main() -> None:
    """Run the benchmarks one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", action="store_true", help="other frameworks beside, where they are installed")
    parser.add_argument(
        "--only",
        choices=BENCHMARKS,
        nargs="+",
        default=[name for name in BENCHMARKS if name != "gpu" or torch.cuda.is_available()],
        help="the page keeps the others, and what a GPU gave where there is none",
    )
    options = parser.parse_args()
    sections = _sections(PAGE.read_text(encoding="utf-8"))
    for name in options.only:
        module = f"benchmarks.{name}"
        command = [sys.executable, "-m", module, *(["--peers"] if options.peers and name == "training" else [])]
        # As the command line sets it before torch is there (soilcast/cli.py).
        environment = {"GOMP_SPINCOUNT": "1000", **os.environ}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
        print(done.stdout, flush=True)
        sections[name] = f"`python -m {module}`\n\n```text\n{done.stdout.strip()}\n```\n"
        of_gpu = "(the GPU's is named with its figures)"
        machine = f"Machine: {_processor()}, {os.cpu_count()} processors {of_gpu}. {_versions_line()}\n"
        parts = [f"## {one}\n\n{sections[one]}" for one in BENCHMARKS if one in sections]
        PAGE.write_text("\n".join([_HEAD, machine, *parts]), encoding="utf-8")


def _sections(page: str) -> dict[str, str]:
    """Sections of the page, by the name of the benchmark."""
    parts = re.split(r"^## (\w+)\n\n", page, flags=re.MULTILINE)[1:]
    return {name: f"{body.strip()}\n" for name, body in zip(parts[::2], parts[1::2], strict=True)}


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _versions_line() -> str:
    return ", ".join(f"{package} {version}" for package, version in versions().items()) + "."


if __name__ == "__main__":
    main()
