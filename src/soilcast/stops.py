"""How Ctrl-C and SIGTERM end a process."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

STOPPED = 130
"""Exit code of a process that Ctrl-C or SIGTERM ended, as shells have it."""

STOPS = (signal.SIGINT, signal.SIGTERM)

POLL_SECONDS = 0.2
"""Time after which a stop is noticed at the latest [s]."""


def heed_stops() -> Callable[[], bool]:
    """Have Ctrl-C and SIGTERM raise KeyboardInterrupt, wherever they come.

    Inside a finalizer or a callback of the garbage collection Python drops what is raised; it is raised once more then.

    Returns
    -------
    Tells whether a stop has come.
    """
    came: list[int] = []
    before = sys.unraisablehook

    def stop(number: int, frame: object) -> NoReturn:
        came.append(number)
        raise KeyboardInterrupt

    def raise_again(dropped: sys.UnraisableHookArgs) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            before(dropped)
            return
        again = threading.Timer(POLL_SECONDS, signal.raise_signal if os.name != "posix" else _send_stop, (came[-1],))
        again.daemon = True
        again.start()

    for number in STOPS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as in a program that is started in the background
            signal.signal(number, stop)
    sys.unraisablehook = raise_again
    return lambda: bool(came)


def _send_stop(number: int) -> None:
    os.kill(os.getpid(), number)


def leave(code: int) -> NoReturn:
    """End this process at once, after a stop or a fault.

    Soilcast has cleaned up by then. What threads of libraries were doing when the stop came (zarr reads in one of its
    own) is dropped silently; at the ordinary end of Python they would print a traceback each.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # one that was closed is None
            stream.flush()
    os._exit(code)
