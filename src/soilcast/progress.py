"""Progress of long work for the terminal: messages, and a bar with the loss, the speed and the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[[str], None]
"""Called after each unit of work with a short status text."""

Log = Callable[[str], None]
"""Called with a progress message, such as `print`."""


@contextmanager
def progress_bar(title: str, total: int, *, shown: bool, done: int = 0) -> Iterator[Advance]:
    """Show a bar on standard error, or nothing.

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
