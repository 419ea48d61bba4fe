"""Updates of cubes: a source that gives made cubes, and updates in processes of their own, which are killed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import xarray as xr

import soilcast
from soilcast import files
from soilcast.cube import save_cube
from tests.helpers.forks import Death, ends, is_change, start

GIVEN: dict[str, xr.Dataset] = {}
"""What the source `made` gives, by the path that it is asked for."""


def made(paths: Sequence[Path]) -> xr.Dataset:
    """Give a cube that a test has put into `GIVEN`."""
    return GIVEN[str(paths[0])].copy()


def save_made(cube: xr.Dataset, out: Path) -> Path:
    """Save a cube as if `made` had prepared it."""
    save_cube(cube, out, overwrite=True, source="made", paths=["before"], options={})
    return out


def hard_links(folder: Path, copy: Path) -> None:
    """Give every file of a folder a second name in another one, as ``cp -al`` does."""
    for file in sorted(folder.rglob("*")):
        target = copy / file.relative_to(folder)
        if file.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.hardlink_to(file)


def fork_update(cube: Path, files: Sequence[Path], death: Death | None = None, *, steps: int = 1) -> BaseProcess:
    """Start an update in a fork of a process that has imported everything already.

    Parameters
    ----------
    cube, files
        As `soilcast.update` takes them.
    death
        When it is killed: by changes of files in the folder of the cube.
    steps
        1 where the system has two folders change places at once, 2 as on one that cannot.
    """
    return start(_update, cube, list(files), death, steps, None)


def changes_of_update(cube: Path, files: Sequence[Path], noted: Path, *, steps: int = 1) -> list[str]:
    """Update in such a fork, and give what it changes in the folder of the cube, in order: the numbers of a `Death`."""
    assert ends(start(_update, cube, list(files), None, steps, noted)) == 0
    return noted.read_text().split()


def _update(cube: Path, given: list[Path], death: Death | None, steps: int, noted: Path | None) -> None:
    if steps == 2:
        files.atomic_swap = lambda one, other: False
    if death is not None:
        death.await_in(cube.parent)
    changes: list[str] = []
    if noted is not None:
        sys.addaudithook(
            lambda event, given: changes.append(event) if is_change(event, given, str(cube.parent)) else None
        )
    soilcast.update(cube, given)
    if noted is not None:
        noted.write_text(" ".join(changes))
