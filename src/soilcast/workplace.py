"""The folder beside an artifact in which it is made: locked, kept when the work breaks off, gone when it is done."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from soilcast.errors import SoilcastError
from soilcast.files import clear_leftovers, locked, make_folder, refuse_existing, remove, take_back

_LOCK = ".soilcast-lock"
"""By which the folder is known as ours; whoever holds it works there alone."""

_REPLACES = "replaces"
"""Notes that what is made there is to replace what stands: --resume needs no --overwrite then."""


def workplace_of(out: Path) -> Path:
    """Where the artifact ``out`` is made: ``RUN.unfinished`` for ``RUN``."""
    return out.with_name(f"{out.name}.unfinished")


@contextmanager
def locked_workplace(out: Path, *, overwrite: bool, resume: bool, keep: str) -> Iterator[Path]:
    """Give the folder in which ``out`` is made, to this process alone.

    Parameters
    ----------
    out
        The artifact to make.
    overwrite
        Throw away what an earlier, unfinished making left.
    resume
        Go on from it.
    keep
        Name of the file in it that is worth going on from; without one the folder is removed at the end.

    Raises
    ------
    SoilcastError
        Another process is making it, or something unfinished is there and it is not said what to do with it.
    """
    folder = workplace_of(out)
    if not folder.exists():
        refuse_existing(folder, overwrite=False)
    elif not folder.is_dir() or (any(folder.iterdir()) and not (folder / _LOCK).is_file()):
        raise SoilcastError(f"{folder} is needed for this --out, but was not written by soilcast: give another --out")
    make_folder(folder, out)
    with _alone(folder, out):
        restore(out)
        if (folder / keep).exists() and not resume and not overwrite:
            raise SoilcastError(
                f"{folder}: an unfinished run for {out} exists: continue with --resume, or start over with --overwrite"
            )
        if not resume:
            _empty(folder)
        if overwrite and out.exists():
            (folder / _REPLACES).touch()
        try:
            yield folder
        finally:
            if not (folder / keep).exists():
                _remove(folder)


def is_to_replace(out: Path) -> bool:
    """Whether the unfinished work for ``out`` was begun with leave to replace what stands there."""
    return (workplace_of(out) / _REPLACES).exists()


def first_difference(mine: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    """Name the first entry, by the alphabet, in which a work and the unfinished one that was found differ, if any."""
    return next((name for name in sorted({*mine, *found}) if mine.get(name) != found.get(name)), None)


def clear_workplace(out: Path) -> None:
    """Remove what a process left that was killed when ``out`` was done already.

    Raises
    ------
    SoilcastError
        Another process is making it anew.
    """
    folder = workplace_of(out)
    clear_leftovers(out)
    if (folder / _LOCK).is_file():
        with _alone(folder, out):
            _remove(folder)
    elif folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def restore(out: Path) -> None:
    """Put back what had stepped aside for a new ``out``, if the process was killed before that came."""
    folder = workplace_of(out)
    if not out.exists() and (folder / _LOCK).is_file():
        for inside in (folder, *(one for one in folder.iterdir() if one.is_dir())):
            take_back(out, inside)


def _alone(folder: Path, out: Path) -> AbstractContextManager[None]:
    return locked(
        folder / _LOCK, f"{out}: another soilcast process is writing it: wait for it to end, or give another --out"
    )


def _empty(folder: Path) -> None:
    for inside in folder.iterdir():
        if inside.name != _LOCK:
            remove(inside)


def _remove(folder: Path) -> None:
    # The lock last: without it, what a process leaves that is killed here would look like somebody else's folder.
    _empty(folder)
    shutil.rmtree(folder, ignore_errors=True)
