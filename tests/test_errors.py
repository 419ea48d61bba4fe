"""What is printed is harmless, and a fault of the system is told as one."""

from __future__ import annotations

import errno
import sys

import numpy as np
import pytest

from soilcast.errors import SoilcastError, SystemFaultError, printable, raise_system_fault, system_fault
from tests.helpers.forks import run_script


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Öhringen, 10 °C, 雨, \u200c", "Öhringen, 10 °C, 雨, \u200c"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b]0;owned\x07\x1b[2Jx\x7f\x9b", "?]0;owned??[2Jx??"),
        ("a\u202eb\u2066c\u2028d\udcc3", "a?b?c?d?"),
        ("https://me:secret@host:1/a@b", "https://host:1/a@b"),
        ("read s3://key@bucket/x, gs://bucket/y@z", "read s3://bucket/x, gs://bucket/y@z"),
        ("mail@host, a://b c@d", "mail@host, a://b c@d"),
    ],
)
def test_a_printable_text_holds_nothing_that_a_terminal_obeys_and_no_password(text: str, expected: str) -> None:
    assert printable(text) == expected
    assert printable(expected) == expected


def test_a_message_is_one_harmless_line() -> None:
    assert str(SoilcastError("a\n  b\x1b[2J https://me:secret@host/x")) == "a b?[2J https://host/x"


def raised_from(cause: BaseException) -> Exception:
    try:
        try:
            raise cause
        except BaseException as error:
            raise ValueError("damaged") from error
    except ValueError as error:
        return error


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (MemoryError(), "not enough memory"),
        (np.exceptions.AxisError("Unable to allocate 3 TiB"), "not enough memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
            "not enough memory",
        ),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory"),
        (RuntimeError("can't start new thread"), "no further thread or process may be started"),
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"), "no further thread or process may be started"),
        (OSError(errno.EMFILE, "Too many open files", "a"), "too many open files: raise the limit (ulimit -n)"),
        (PermissionError(errno.EACCES, "Permission denied", "cube/zarr.json"), "cube/zarr.json: permission denied"),
        (ExceptionGroup("several", [PermissionError(errno.EACCES, "Permission denied", "x")]), "x: permission denied"),
    ],
)
def test_a_fault_of_the_system_is_told_as_one_whatever_it_was_turned_into(cause: Exception, words: str) -> None:
    for error in (cause, raised_from(cause)):
        assert words in str(system_fault(error))
        with pytest.raises(SystemFaultError, match=r"^[^\n]*: [^\n]*$"):
            raise_system_fault(error)


@pytest.mark.parametrize("error", [ValueError("x"), OSError(errno.EIO, "Input/output error"), KeyError("Lech")])
def test_another_fault_is_none_of_the_system(error: Exception) -> None:
    assert system_fault(raised_from(error)) is None
    raise_system_fault(error)


STOPPED_INSIDE = """
import gc, os, signal, sys, time, weakref
from soilcast import cli
import soilcast

class Thing: pass

def inspect(path, **options):
    thing = Thing()
    def callback(reference):
        os.kill(os.getpid(), signal.{signal})
        for _ in range(1000): pass
    if "{where}" == "weakref":
        reference = weakref.ref(thing, callback)
    else:
        Thing.__del__ = lambda self: callback(None)
    del thing
    for _ in range(600):
        time.sleep(0.1)
    return "finished"

soilcast.inspect = inspect
sys.argv = ["soilcast", "inspect", "."]
cli.main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("where", ["weakref", "finalizer"])
@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM"])
def test_a_stop_that_comes_where_python_drops_exceptions_ends_the_command(where: str, signal: str) -> None:
    done = run_script(STOPPED_INSIDE.replace("{signal}", signal).replace("{where}", where))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "soilcast: stopped\n")
