"""Writing that leaves either the whole artifact or nothing: write beside, fsync, rename."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from soilcast.errors import SoilcastError

_STORE = "zarr.json"
_MARKS = (_STORE, "run.json", "scores.nc", "dossier.json")
"""A folder that holds one of these is an artifact: a cube or a forecast, a run, scores, a dossier."""


FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
"""What the system says where a disk is full."""

NO_ROOM = (*FULL_DISK, errno.EFBIG)
"""The same, and where a file may not grow any larger."""

_NOT_THERE = (
    errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EEXIST, errno.ELOOP, errno.EINVAL
)  # fmt: skip
"""What the system says of a place where nothing can be written."""

_HERE, _EXCHANGE = -100, 2
"""Of Linux: paths count from the working folder (AT_FDCWD); two of them change places (RENAME_EXCHANGE)."""


@contextmanager
def atomic_write(out: Path, *, overwrite: bool = False) -> Iterator[Path]:
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
    with disk_faults_told(out):
        try:
            remove(partial)  # left by a process that was killed and had the same number, as they do in containers
            out.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            atomic_replace(partial, out, overwrite=overwrite)  # another command may have written it meanwhile
        finally:
            remove(partial)


def atomic_replace(made: Path, out: Path, *, overwrite: bool) -> None:
    """Make ``made``, on the same disk, become ``out``: whatever ends this, it is at the one place or the other.

    Raises
    ------
    SoilcastError
        As `atomic_write`.
    """
    refuse_existing(out, overwrite=overwrite)
    with disk_faults_told(out):
        flush_to_disk(made)
        # Only a file can be renamed onto another in one step; a folder that cannot be swapped steps aside first.
        aside = out.with_name(f".{out.name}.replaced-{os.getpid()}")
        remove(aside)
        if out.is_dir() and made.is_dir() and atomic_swap(made, out):
            made.rename(aside)
        else:
            if out.exists() and (out.is_dir() or made.is_dir()):
                out.rename(aside)
            try:
                made.replace(out)
            except BaseException:
                if aside.exists() and not out.exists():
                    aside.rename(out)
                raise
        flush_to_disk(out.parent, inside=False)
        remove(aside)


@contextmanager
def disk_faults_told(out: Path) -> Iterator[None]:
    """Say in one line what the disk has against writing ``out``."""
    try:
        yield
    except OSError as error:
        raise _user_error(error, out) from error


def path_list(paths: str | Path | Sequence[str | Path]) -> list[str | Path]:
    """List paths that are given as one or as several: a text alone is one path, not the paths of its letters."""
    return [paths] if isinstance(paths, str | Path) else [*paths]


def refuse_existing(out: Path, *, overwrite: bool) -> None:
    """Raise `SoilcastError` if ``out`` exists and must not be replaced, or its folder cannot be written.

    Even ``overwrite`` replaces no folder but one that soilcast wrote, and no device: a slip of the hand in --out
    costs no data.
    """
    if out.name in ("", ".."):
        raise SoilcastError(f"{out} names no file or folder to write: give another --out")
    try:
        exists = out.exists()
        folder = next(parent for parent in out.absolute().parents if parent.exists())
    except OSError as error:
        raise _user_error(error, out) from error
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise SoilcastError(f"{out} cannot be written ({folder} is not a writable folder): give another --out")
    store = next((parent for parent in out.absolute().parents if (parent / _STORE).is_file()), None)
    if store:
        raise SoilcastError(f"{out} lies inside {store}, which it would damage: give another --out")
    if not exists:
        return
    if not overwrite:
        raise SoilcastError(f"{out} exists already: give another --out, or --overwrite to replace it")
    if not out.is_dir() and not out.is_file():
        raise SoilcastError(f"{out} is a device, not a file, so it is not replaced: give another --out")
    if out.is_dir() and any(out.iterdir()) and not any((out / mark).is_file() for mark in _MARKS):
        raise SoilcastError(f"{out} is a folder that soilcast did not write, so it is not replaced: give another --out")


def replace_file(path: Path, content: bytes) -> None:
    """Write a file beside its place, flush it to the disk, rename it: whatever ends this, an old or a new one stands.

    Raises
    ------
    OSError
        It cannot be written; the old one stands.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content)
        flush_to_disk(partial)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def atomic_swap(one: Path, other: Path) -> bool:
    """Have two files or folders of one disk change places in a single step, so that no moment is without either.

    Returns
    -------
    Whether that was done; if the system or the disk cannot do it, nothing has changed.
    """
    if sys.platform != "linux" or (rename := getattr(ctypes.CDLL(None), "renameat2", None)) is None:
        return False  # Python has no name for it
    done: int = rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE)
    return done == 0


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or where that cannot be, copy it.

    Raises
    ------
    OSError
        It cannot be read, or there is no room.
    """
    try:
        target.hardlink_to(source.resolve(strict=True))
    except OSError as error:
        if error.errno in (errno.ENOENT, *FULL_DISK):
            raise
        shutil.copyfile(source, target)


def flush_to_disk(path: Path, *, inside: bool = True) -> None:
    """Have the system write a file, or the names in a folder and all ``inside`` it, to the disk before this goes on."""
    for file in (path, *(path.rglob("*") if inside else ())):
        if os.name == "posix":  # Windows flushes nothing that is open for reading alone
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def locked(file: Path, busy: str | None = None) -> Iterator[None]:
    """Hold a lock on a file, which the system lets go when the process ends, however that comes.

    Parameters
    ----------
    file
        Made if it is not there.
    busy
        What is said if another process holds it; None to wait until that has ended.

    Raises
    ------
    SoilcastError
        Another process holds it, or has just removed it with its folder.
    """
    from filelock import FileLock, Timeout  # takes longer to import than all that --help needs else

    try:
        lock = FileLock(file).acquire(blocking=busy is None)
    except (Timeout, FileNotFoundError) as error:
        raise SoilcastError(busy or f"{file} was removed while it was waited for: run again") from error
    with lock:
        yield


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _user_error(error: OSError, out: Path) -> Exception:
    if error.errno in FULL_DISK:
        return SoilcastError(f"no space left on the disk of {out}: nothing was written; free some space and run again")
    if error.errno == errno.EFBIG:
        return SoilcastError(f"{out} exceeds the maximum file size: raise the limit (ulimit -f) or use another disk")
    if error.errno in _NOT_THERE:
        return SoilcastError(f"{out} cannot be written ({error.strerror}): give another --out")
    return error
