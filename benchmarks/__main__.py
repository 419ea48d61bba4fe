"""Run the benchmarks, all or some, and write what they print to docs/performance.md."""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import torch

from soilcast.models.native import engines
from soilcast.provenance import versions

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
PARTS = {
    "training": ("training",),
    "networks": ("networks",),
    "training-avx512": ("training", "--engine", "avx512"),
    "training-avx2": ("training", "--engine", "avx2"),
    "instructions": ("instructions",),
    "design": ("design",),
    "forecast": ("forecast",),
    "globe": ("globe",),
    "weather": ("weather",),
    "daily": ("daily",),
    "startup": ("startup",),
    "issue_day": ("issue_day",),
    "metrics": ("metrics",),
    "preparation": ("preparation",),
    "demo": ("demo",),
    "serve": ("serve",),
    "gpu": ("gpu",),
}
"""Sections of the page -> module and its options."""

_HEAD = """# Performance

Written by `make bench` (`python -m benchmarks`); every figure below is what a benchmark printed. Each stands beside
a reference of the same run, since seconds alone say little about another machine. Both sides run in turns; `min`,
`median` and `max` are over the rounds, and a ratio is the median of those of each round: above 1 soilcast is faster.
`training-avx512` and `training-avx2` limit both sides to an instruction set (`--engine avx2`, which other benchmarks
take too). Each section says on what machine it was made, and with which versions.
"""


def main() -> None:
    """Run the benchmarks one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", action="store_true", help="other frameworks beside, where they are installed")
    parser.add_argument(
        "--only",
        choices=PARTS,
        nargs="+",
        default=[name for name in PARTS if _is_of_use(name)],
        help="the page keeps the others, and what a GPU gave where there is none",
    )
    parser.add_argument("--page", type=Path, default=PAGE, help="what to write (docs/performance.md)")
    options = parser.parse_args()
    sections = _sections(options.page.read_text(encoding="utf-8")) if options.page.exists() else {}
    for name in options.only:
        module, *words = PARTS[name]
        words += ["--peers"] if options.peers and module == "training" else []
        command, start = ["-m", f"benchmarks.{module}", *words], time.perf_counter()
        done = subprocess.run([sys.executable, *command], check=True, stdout=subprocess.PIPE, text=True)
        print(done.stdout, flush=True)
        text, minutes = " ".join(("python", *command)), (time.perf_counter() - start) / 60
        told = f"`{text}`, {minutes:.1f} minutes on {_processor()}, {os.cpu_count()} processors; {_versions()}"
        sections[name] = f"{told}\n\n```text\n{done.stdout.strip()}\n```\n"
        parts = [f"## {one}\n\n{sections[one]}" for one in PARTS if one in sections]
        options.page.write_text("\n".join([_HEAD, *parts]), encoding="utf-8")


def _is_of_use(name: str) -> bool:
    """Whether a part has something to measure here that no other measures."""
    there = engines()
    limited = {f"training-{name}": there[-1:] == [name] or name not in there for name in ("avx512", "avx2")}
    unasked = {"gpu": not torch.cuda.is_available(), **limited}
    return not unasked.get(name, False)


def _sections(page: str) -> dict[str, str]:
    """Sections of the page, by the name of the part."""
    parts = re.split(r"^## ([\w-]+)\n\n", page, flags=re.MULTILINE)[1:]
    return {name: f"{body.strip()}\n" for name, body in zip(parts[::2], parts[1::2], strict=True)}


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _versions() -> str:
    return ", ".join(f"{package} {version}" for package, version in versions().items())


if __name__ == "__main__":
    main()
