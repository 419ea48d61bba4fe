"""The folder beside a run in which it is trained: locked, kept when the training breaks off, gone when it is done."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from soilcast.errors import SoilcastError
from soilcast.files import locked, refuse_existing, remove

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
    if not place.exists():
        refuse_existing(place, overwrite=True)
    elif not place.is_dir() or (any(place.iterdir()) and not (place / _LOCK).is_file()):
        raise SoilcastError(f"{place} is needed for this --out, but was not written by soilcast: give another --out")
    place.mkdir(parents=True, exist_ok=True)
    with _alone(place, out):
        if (place / keep).exists() and not resume and not overwrite:
            raise SoilcastError(
                f"{place}: an unfinished run for {out} exists: continue with --resume, or start over with --overwrite"
            )
        _clear(out, None if resume else place)
        try:
            yield place
        finally:
            if not (place / keep).exists():
                _remove(out, place)


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
        with _alone(place, out):
            _remove(out, place)
    elif place.is_dir() and not any(place.iterdir()):
        place.rmdir()


def take_back(out: Path) -> None:
    """Put back what had stepped aside for a new ``out``, if the process was killed before that came."""
    for found in _left_beside(out, "replaced"):
        if not out.exists():
            found.rename(out)


def _alone(place: Path, out: Path) -> AbstractContextManager[None]:
    return locked(
        place / _LOCK, f"{out}: another soilcast process is writing it: wait for it to end, or give another --out"
    )


def _left_beside(out: Path, kinds: str) -> list[Path]:
    """List what processes that were killed while they wrote ``out`` left beside it; who has the lock alone writes."""
    left = re.compile(rf"\.{re.escape(out.name)}\.({kinds})-\d+")
    return sorted(found for found in out.parent.glob(".*") if left.fullmatch(found.name))


def _clear(out: Path, place: Path | None) -> None:
    """Remove what killed processes left beside ``out``, and what is in ``place`` but the lock."""
    inside = place.iterdir() if place else ()
    for found in (*_left_beside(out, "partial|replaced"), *inside):
        if found.name != _LOCK:
            remove(found)


def _remove(out: Path, place: Path) -> None:
    # The lock last: without it, what a process leaves that is killed here would look like somebody else's folder.
    _clear(out, place)
    shutil.rmtree(place, ignore_errors=True)
