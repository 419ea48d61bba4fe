"""Benchmarks run to their end, as processes and so small that it takes seconds: what they call changes.

Those that take minutes however small they are (`LONG`) are asked for their help alone.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import __main__ as page
from benchmarks.measuring import show_times
from tests.helpers.forks import run_script

ROOT = Path(__file__).resolve().parents[1]

WEEK = "--resolution 8 --period 2020-12-21:2020-12-27"
SMALL = {
    "training": "--rounds 1 --batches 2",
    "networks": "--rounds 1 --batches 2 --hidden 8",
    "design": "--rounds 1 --epochs 1 --batches 2 --runs 2 --resolution 8 --jobs 1",
    "forecast": f"--rounds 1 {WEEK} --period-ahead 2020-12-10:2020-12-27",
    "metrics": "--rounds 1 --cells 40 --loop-cells 10 --days 30",
    "preparation": "--resolutions 7.5 --years 2020",
    "serve": "--resolution 8 --requests 3 --clients 2 --seconds 0.5",
    "gpu": "--rounds 1 --members 1 2 --cells 64 --resolution 8",
}
LONG = ("instructions", "globe", "issue_day", "weather", "daily", "demo", "startup")
LACKS = {
    "gpu": ("nothing is measured", not torch.cuda.is_available()),
}
"""What a benchmark says that lacks what it needs, and whether it does."""


# What ``python -m`` does.
RUN = "import runpy, sys; runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"


def run(module: str, *words: str) -> str:
    done = run_script(RUN, module, *words, folder=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_are_run_here() -> None:
    assert {*SMALL, *LONG} == {module for module, *_ in page.PARTS.values()}


@pytest.mark.slow
@pytest.mark.parametrize("module", SMALL)
def test_runs_to_its_end(module: str) -> None:
    found = run(f"benchmarks.{module}", *SMALL[module].split())
    text, lacks = LACKS.get(module, ("", False))
    assert (text in found) if lacks else ("soilcast by" in found and "┃" in found)


@pytest.mark.slow
@pytest.mark.parametrize("module", LONG)
def test_names_its_options(module: str) -> None:
    assert f"{module}.py" in run(f"benchmarks.{module}", "--help")


@pytest.mark.slow
def test_engine_limits_torch_too() -> None:
    """As a process of its own: the benchmark starts itself anew."""
    words = ["-m", "benchmarks.metrics", *SMALL["metrics"].split(), "--engine", "portable"]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "soilcast by portable, torch by DEFAULT" in done.stdout


@pytest.mark.slow
def test_page_keeps_what_is_not_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = tmp_path / "performance.md"
    written.write_text("# Performance\n\n## training-avx2\n\nof before\n\n## metrics\n\nof before too\n")
    monkeypatch.setattr(page, "PARTS", page.PARTS | {"metrics": ("metrics", *SMALL["metrics"].split())})
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "metrics", "--page", str(written)])
    page.main()
    text = written.read_text()
    assert "## training-avx2\n\nof before\n" in text
    assert "of before too" not in text
    assert "scores, 5 of the 7" in text


def test_ratios_are_of_each_round(capsys: pytest.CaptureFixture[str]) -> None:
    """The reference is slower by half in every round, whatever the round: 1.5, though medians of rounds differ by 3."""
    seconds = {"plain": np.array([0.003, 0.006, 0.3]), "ours": np.array([0.002, 0.004, 0.2])}
    show_times("A step, ms", seconds, {"x plain": "plain"}, more={"remark": {"ours": "here"}})
    row = next(line for line in capsys.readouterr().out.splitlines() if "ours" in line)
    assert [text.strip() for text in row.strip("│").split("│")] == ["ours", "2.00", "4.00", "200.00", "1.50", "here"]
