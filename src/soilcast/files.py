"""Writing that leaves either the whole artifact or nothing: write beside, fsync, rename."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from soilcast.errors import SoilcastError
from soilcast.ownership import refuse_foreign

if TYPE_CHECKING:
    import pandas as pd

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
"""What the system says where a disk is full."""

NO_ROOM = (*FULL_DISK, errno.EFBIG)
"""The same, and where a file may not grow any larger."""

_NOT_THERE = (
    errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EEXIST, errno.ELOOP, errno.EINVAL
)  # fmt: skip
"""What the system says of a place where nothing can be written."""

_LOCK, _REPLACED = "lock", ".replaced"
"""In the folder beside an artifact that is written: its lock, and the end of the name of what it replaces."""

_FORMULA, _NUMBER = re.compile(r"[=+\-@\t\r]"), re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")

_HERE, _EXCHANGE = -100, 2
"""Of Linux: paths count from the working folder (AT_FDCWD); two of them change places (RENAME_EXCHANGE)."""


@contextmanager
def atomic_write(out: Path, *, kind: str, overwrite: bool = False) -> Iterator[Path]:
    """Give a path beside ``out`` to write a file or a folder to; on success it becomes ``out``.

    Parameters
    ----------
    out
        Where the artifact is to stand.
    kind
        What it is, as `soilcast.ownership.kind_of` gives it.
    overwrite
        Replace what stands there, if it is of the same kind. Otherwise an existing ``out`` is refused before any work.

    Raises
    ------
    SoilcastError
        ``out`` exists, its folder cannot be written, or the disk is full.
    """
    out = Path(out)
    refuse_existing(out, kind=kind, overwrite=overwrite)
    with disk_faults_told(out):
        make_folder(out.parent, out)
        with _beside(out) as folder:
            yield folder / out.name
            # Another command may have written it meanwhile.
            atomic_replace(folder / out.name, out, kind=kind, overwrite=overwrite)


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """Give a folder beside ``out`` to this process alone: whether it is alive is seen by the lock, on any machine."""
    from filelock import FileLock  # takes longer to import than all that --help needs else

    while True:
        folder = out.with_name(f".{out.name}.partial-{secrets.token_hex(8)}")
        folder.mkdir()
        try:
            lock = FileLock(folder / _LOCK).acquire()
            break
        except FileNotFoundError:  # another command took it for one that was left
            continue
    try:
        with lock:
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clear_leftovers(out: Path) -> None:
    """Remove what processes that were killed while they wrote ``out`` left beside it; put back what stepped aside."""
    from filelock import FileLock, Timeout

    pattern = re.compile(rf"\.{re.escape(out.name)}\.partial-[0-9a-f]{{16}}")
    with suppress(OSError):
        for folder in [one for one in out.parent.glob(".*") if pattern.fullmatch(one.name) and one.is_dir()]:
            with suppress(Timeout, OSError):
                if (folder / _LOCK).is_file():
                    with FileLock(folder / _LOCK).acquire(blocking=False):
                        take_back(out, folder)
                    shutil.rmtree(folder, ignore_errors=True)
                else:
                    folder.rmdir()


def take_back(out: Path, folder: Path) -> None:
    """Put back what had stepped aside into a folder for a new ``out``, if the process was killed before that came."""
    for aside in folder.glob(f"*{_REPLACED}"):
        if not out.exists():
            aside.rename(out)


def atomic_replace(made: Path, out: Path, *, kind: str, overwrite: bool) -> None:
    """Make ``made``, on the same disk, become ``out``: whatever ends this, it is at the one place or the other.

    Raises
    ------
    SoilcastError
        As `atomic_write`.
    """
    refuse_existing(out, kind=kind, overwrite=overwrite)
    put_in_place(made, out)


def put_in_place(made: Path, out: Path) -> None:
    """Do what `atomic_replace` does, whatever stands at ``out``.

    Raises
    ------
    SoilcastError
        A full disk.
    """
    with disk_faults_told(out):
        flush_to_disk(made)
        # Only a file can be renamed onto another in one step; a folder that cannot be swapped steps aside first.
        aside = made.with_name(f"{made.name}{_REPLACED}")
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


def distinct_name(path: Path, others: Sequence[Path]) -> str:
    """What distinguishes a path from others: its name, or that of the nearest folder in which all of them differ."""
    names = [[_stem(other), *(folder.name for folder in other.absolute().parents)] for other in others]
    candidates = zip(names[list(others).index(path)], *names, strict=False)
    return next((name for name, *level in candidates if len(set(level)) == len(level)), _stem(path))


def _stem(path: Path) -> str:
    return path.stem if path.suffix in (".nc", ".zarr") else path.name


def refuse_existing(out: Path, *, overwrite: bool, kind: str = "") -> None:
    """Raise `SoilcastError` if ``out`` exists and must not be replaced, or its folder cannot be written.

    Even ``overwrite`` replaces nothing but an artifact of soilcast, whole, of the same ``kind``: a slip of the hand in
    --out costs no data. What killed processes left beside ``out`` is removed.
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
    store = next((parent for parent in out.absolute().parents if (parent / "zarr.json").is_file()), None)
    if store:
        raise SoilcastError(f"{out} lies inside {store}, which it would damage: give another --out")
    clear_leftovers(out)
    if not exists and not out.exists():
        return
    if not overwrite:
        raise SoilcastError(f"{out} exists already: give another --out, or --overwrite to replace it")
    if not out.is_dir() and not out.is_file():
        raise SoilcastError(f"{out} is a device, not a file, so it is not replaced: give another --out")
    refuse_foreign(out, kind)


def make_folder(folder: Path, out: Path) -> None:
    """Make the folder that ``out`` is to lie in.

    Raises
    ------
    SoilcastError
        It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise _user_error(error, out) from error
        raise SoilcastError(f"{out} cannot be written ({error.strerror}): give another --out") from error


def harmless_table(table: pd.DataFrame) -> pd.DataFrame:
    """Have a table's texts be texts in every spreadsheet: those that look like a formula begin with an apostrophe.

    Parameters
    ----------
    table
        What is written as CSV; numbers stay as they are.

    Returns
    -------
    A copy.
    """
    table = table.copy()
    for name in table.columns:
        if table[name].dtype.kind in "OUST":
            table[name] = table[name].map(lambda one: _harmless(one) if isinstance(one, str) else one)
    return table.rename(columns={name: _harmless(name) for name in table.columns if isinstance(name, str)})


def _harmless(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def replace_file(path: Path, content: bytes) -> None:
    """Write a file beside its place, flush it to the disk, rename it: whatever ends this, an old or a new one stands.

    Raises
    ------
    OSError
        It cannot be written; the old one stands.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        with partial.open("xb") as stream:
            stream.write(content)
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
