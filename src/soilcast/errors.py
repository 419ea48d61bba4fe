"""The one exception that is meant for users; what is printed of others' text; faults of the system in words."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

# Control characters, which a terminal obeys; what turns the direction of writing; halves of characters.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s\"']*@")

_MEMORY = re.compile(
    r"unable to allocate|cannot allocate|can.t allocate|could not allocate|bad_alloc|out of memory|"
    r"memory allocation failed|failed to map segment",
    re.IGNORECASE,
)
_THREADS = re.compile(r"can.t start new thread|thread creation failed|resource temporarily unavailable", re.IGNORECASE)


NO_THREADS = "no further thread or process may be started"


class SoilcastError(Exception):
    """A fault of the input that the user can mend.

    The message is one line: what is wrong, where (file, variable, key), and the remedy. The command line
    prints it without a traceback and leaves with exit code 2. Anything else that is raised is a defect of
    soilcast and stays loud.
    """

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(printable(message).split()))


class SystemFaultError(SoilcastError):
    """The system lacks or forbids something: memory, threads, open files, permission. No file is to blame."""


def printable(text: str) -> str:
    """Give a text that is harmless to print and to store: no control characters, no user or password of an address."""
    return _UNPRINTABLE.sub("?", _CREDENTIALS.sub("", text))


def system_fault(error: BaseException) -> str | None:
    """Say what the system lacks or forbids, if that is behind an error: memory, threads, open files, permission.

    Returns
    -------
    One line with the remedy; None if the cause is another.
    """
    for cause in _causes(error):
        number = cause.errno if isinstance(cause, OSError) else None
        text = str(cause).partition("\n")[0]
        if isinstance(cause, MemoryError) or number == errno.ENOMEM or _MEMORY.search(text):
            return (
                f"not enough memory ({text or 'the limit of this process is reached'}): use fewer cells or days, a "
                "smaller train.batch_size or --memory, or raise the limit (ulimit -v)"
            )
        if number == errno.EAGAIN or (isinstance(cause, RuntimeError | OSError) and _THREADS.search(text)):
            return f"{NO_THREADS}: use fewer --jobs, or raise the limit (ulimit -u)"
        if number in (errno.EMFILE, errno.ENFILE):
            return "too many open files: raise the limit (ulimit -n)"
        if number in (errno.EACCES, errno.EPERM):
            name = f"{cause.filename}: " if isinstance(cause, OSError) and cause.filename else ""
            return f"{name}permission denied ({text}): change its permissions, or give another path"
    return None


def raise_system_fault(error: BaseException) -> None:
    """Raise `SystemFaultError` for an error behind which is the system, so that it is not taken for a damaged file."""
    if (fault := system_fault(error)) is not None:
        raise SystemFaultError(fault) from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from or during, newest first."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        if isinstance(cause, BaseExceptionGroup):
            yield from cause.exceptions
        cause = cause.__cause__ or cause.__context__
