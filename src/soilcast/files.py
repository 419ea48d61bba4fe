"""Writing that leaves either the whole artifact or nothing: write beside, fsync, rename."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from soilcast.errors import SoilcastError


@contextmanager
def whole_or_nothing(out: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a path beside ``out`` to write a file or a folder to; on success it becomes ``out``.

    Parameters
    ----------
    out
        Where the artifact is to stand.
    overwrite
        Replace what stands there. Otherwise an existing ``out`` is refused before any work is done.

    Raises
    ------
    SoilcastError
        ``out`` exists, its folder cannot be written, or the disk is full.
    """
    out = Path(out)
    refuse_existing(out, overwrite=overwrite)
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        _flush_to_disk(partial)
        _replace(partial, out)
    except OSError as error:
        raise _user_error(error, out) from error
    finally:
        _remove(partial)


def refuse_existing(out: Path, *, overwrite: bool) -> None:
    """Raise `SoilcastError` if ``out`` exists and must not be replaced."""
    if out.exists() and not overwrite:
        raise SoilcastError(f"{out} exists already: give another --out, or --overwrite to replace it")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _user_error(error: OSError, out: Path) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SoilcastError(f"no space left on the disk of {out}: nothing was written; free some space and run again")
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR):
        return SoilcastError(f"{out} cannot be written ({error.strerror}): give another --out")
    return error


def _flush_to_disk(path: Path) -> None:
    for file in [path, *path.rglob("*")] if path.is_dir() else [path]:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _replace(partial: Path, out: Path) -> None:
    # A folder cannot be renamed onto a folder that holds files, so the old one steps aside first.
    aside = out.with_name(f".{out.name}.replaced-{os.getpid()}")
    if out.is_dir() and not out.is_symlink():
        out.rename(aside)
    partial.rename(out)
    _remove(aside)
    folder = os.open(out.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
