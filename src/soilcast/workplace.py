"""The folder beside a run in which it is trained: locked, kept when the training breaks off, gone when it is done."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
    with _locked(place, out):
        if (place / keep).exists() and not resume and not overwrite:
            raise SoilcastError(
                f"{place}: an unfinished run for {out} exists: continue with --resume, or start over with --overwrite"
            )
        _remove_halves(out)
        if not resume:
            _empty(place)
        try:
            yield place
        finally:
            if not (place / keep).exists():
                _remove_workplace(place)


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
    place = workplace_of(out)
    if (place / _LOCK).is_file():
        with _locked(place, out):
            _remove_halves(out)
            _remove_workplace(place)
    elif place.is_dir() and not any(place.iterdir()):
        place.rmdir()


@contextmanager
def _locked(place: Path, out: Path) -> Iterator[None]:
    lock = os.open(place / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (place / _LOCK).stat()  # who held it until now may have removed it in the meantime
        except (BlockingIOError, FileNotFoundError) as error:
            raise SoilcastError(
                f"{out}: another soilcast process is writing it: wait for it to end, or give another --out"
            ) from error
        yield
    finally:
        os.close(lock)


def _refuse_foreign(place: Path) -> None:
    if not place.is_dir() or (any(place.iterdir()) and not (place / _LOCK).is_file()):
        raise SoilcastError(f"{place} is needed for this --out, but was not written by soilcast: give another --out")


def take_back(out: Path) -> None:
    """Put back what had stepped aside for a new ``out``, if the process was killed before that came."""
    aside = re.compile(rf"\.{re.escape(out.name)}\.replaced-\d+")
    for found in sorted(out.parent.iterdir()) if out.parent.is_dir() else ():
        if aside.fullmatch(found.name) and not out.exists():
            found.rename(out)


def _remove_halves(out: Path) -> None:
    """Remove what processes that were killed while they wrote ``out`` left beside it; who has the lock alone writes."""
    half = re.compile(rf"\.{re.escape(out.name)}\.(partial|replaced)-\d+")
    for found in out.parent.iterdir():
        if half.fullmatch(found.name):
            _remove(found)


def _remove_workplace(place: Path) -> None:
    # The lock last: without it, what a process leaves that is killed here would look like somebody else's folder.
    _empty(place)
    shutil.rmtree(place, ignore_errors=True)


def _empty(place: Path) -> None:
    for found in place.iterdir():
        if found.name != _LOCK:
            _remove(found)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
