"""Preparations in processes of their own, which are killed, and reading on workers, which are killed too."""

from __future__ import annotations

import hashlib
import os
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soilcast.cube import open_cube, pieces, planning, writing
from soilcast.sources import prepare
from tests.helpers.forks import Death, start
from tests.helpers.landbench_plain import LEAST
from tests.helpers.landbench_tree import write_landbench_tree


def small_tree(root: Path, years: list[int], **options: Any) -> Path:
    """Write a LandBench tree of four cells and what the paper needs of variables."""
    settings = {"resolution": "4", "lats": [10.0, 6.0], "lons": [160.0, 164.0], "variables": LEAST, "constants": ()}
    write_landbench_tree(root, years=years, **(settings | options))
    return root


def fork_preparation(
    path: Path, out: Path, death: Death | None = None, days: int | None = None, *, mapping: Path | None = None
) -> BaseProcess:
    """Start a preparation of a tree of LandBench, or with a mapping of a table, in a fork; it goes on if it can."""
    given = ("table", {"mapping": mapping}) if mapping else ("landbench", {"resolution": 4})
    return start(_prepare, *given, path, out, death, days)


def _prepare(
    source: str, options: dict[str, Any], path: Path, out: Path, death: Death | None, days: int | None
) -> None:
    if days is not None:
        read_at_a_time(pytest.MonkeyPatch(), days)
    if death is not None:
        death.await_in(out.parent)
    prepare(source, [path], out=out, resume=True, **options)


def read_at_a_time(patch: pytest.MonkeyPatch, days: int) -> None:
    """Have so many days read at a time, as a small budget does."""

    def plan(variables: Any, *_: Any) -> planning.Plan:
        return planning.Plan(dict.fromkeys(variables, days), results=3)

    patch.setattr(writing, "plan", plan)


def content_of(out: Path) -> dict[str, Any]:
    """All that a cube is, but for when it was made."""
    files = {
        str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(out.rglob("*"))
        if file.is_file() and file != out / "zarr.json"
    }
    attributes = {name: value for name, value in open_cube(out).attrs.items() if name not in ("provenance", "history")}
    return {**files, **attributes}


def read_or_die(marker: Path, piece: pieces.Piece) -> np.ndarray:
    """Read a piece on a worker, the second year of which kills the first that comes to it."""
    if piece.days.start >= 366:
        try:
            marker.touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
        except FileExistsError:
            pass
    return writing._read_on_worker(piece)
