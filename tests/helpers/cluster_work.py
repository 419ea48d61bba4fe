"""Work for the workers of a test's cluster: quick to import."""

from __future__ import annotations

import os
import signal
import time


def die_of(deadly: int, cells: slice) -> int:
    """Give the first cell, and die of one."""
    if cells.start == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    return int(cells.start)


def sleep(cells: slice) -> None:
    """Be done with the first piece at once, and with no other."""
    time.sleep(60 if cells.start else 0)
