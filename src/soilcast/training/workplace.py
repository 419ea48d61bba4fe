"""The folder beside a run in which it is trained: locked, kept when the training breaks off, gone when it is done."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from soilcast.errors import SoilcastError
from soilcast.files import refuse_existing

_LOCK = "lock"


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
    place = workplace_of(out)
    refuse_existing(place, overwrite=True) if not place.exists() else _refuse_foreign(place)
    place.mkdir(parents=True, exist_ok=True)
    lock = os.open(place / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SoilcastError(
                f"{out}: another soilcast is at work on it: wait until that has ended, or give another --out"
            ) from error
        if (place / keep).exists() and not resume and not overwrite:
            raise SoilcastError(
                f"{place}: an earlier, unfinished work on {out} is there: go on with --resume, or start anew with "
                "--overwrite"
            )
        if not resume:
            _empty(place)
        try:
            yield place
        finally:
            if not (place / keep).exists():
                shutil.rmtree(place, ignore_errors=True)
    finally:
        os.close(lock)


def _refuse_foreign(place: Path) -> None:
    if not place.is_dir() or (any(place.iterdir()) and not (place / _LOCK).is_file()):
        raise SoilcastError(f"{place} is needed for work on this --out, but is not soilcast's: give another --out")


def _empty(place: Path) -> None:
    for found in place.iterdir():
        if found.name == _LOCK:
            continue
        if found.is_dir() and not found.is_symlink():
            shutil.rmtree(found)
        else:
            with contextlib.suppress(FileNotFoundError):
                found.unlink()
