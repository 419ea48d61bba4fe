"""Progress of long work: messages, and a bar with the time left; in a log a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[[str], None]
"""Called after each unit of work with a short status text."""

Log = Callable[[str], object]
"""Called with a progress message, such as `print`."""

_EVERY = 30.0
"""Time between two lines in a log [s]; work that takes less prints none."""


@contextmanager
def progress_bar(title: str, total: int, *, shown: bool, done: int = 0) -> Iterator[Advance]:
    """Show a bar on standard error, or nothing; where that is no terminal, print a line every half minute.

    Parameters
    ----------
    title
        What is being done.
    total
        Units of work.
    shown
        False in library use; the command line shows it.
    done
        Units that were done before an interruption.
    """
    if not shown:
        yield lambda status: None
        return
    if not sys.stderr.isatty():
        yield _lines(title, total, done)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total, completed=done, status="")
        yield lambda status: bar.update(task, advance=1, status=status)


def _lines(title: str, total: int, done: int) -> Advance:
    began = printed = time.monotonic()
    count = done

    def advance(status: str) -> None:
        nonlocal count, printed
        count += 1
        now = time.monotonic()
        if now - printed >= _EVERY:
            printed = now
            left = timedelta(seconds=round((now - began) / (count - done) * (total - count)))
            print(f"{title} {count}/{total}, {left} left{f': {status}' if status else ''}", file=sys.stderr, flush=True)

    return advance
