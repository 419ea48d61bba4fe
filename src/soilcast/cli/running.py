"""Running the command line: what ends in one line, what is loud, and the exit codes."""

import errno
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from typer.exceptions import TyperException

from soilcast.cli.options import app
from soilcast.errors import NO_THREADS, SoilcastError, printable, system_fault
from soilcast.files import NO_ROOM
from soilcast.stops import STOPPED, heed_stops, leave


def main() -> None:
    """Run the command line: faults of the input are one line and exit code 2; anything else is loud."""
    stopped = heed_stops()
    if not sys.warnoptions:
        # What libraries warn of, such as times or values that no type holds, is refused by name.
        warnings.simplefilter("ignore")
    try:
        _refuse_removed_folder()
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except SoilcastError as error:
        _refuse(str(error), error.exit_code)
    except TyperException as error:
        _refuse(f"{printable(' '.join(error.format_message().split()))} (see soilcast --help)")
    except KeyboardInterrupt:
        code = STOPPED
    except Exception as error:
        if not stopped():
            _refuse(_in_words(error))
        code = STOPPED  # what a library made of the stop that came inside it
    if code == STOPPED:
        print("soilcast: stopped", file=sys.stderr)
        leave(STOPPED)
    sys.exit(code)


def _in_words(error: Exception) -> str:
    """Say a fault of the system in a line; what is none stays loud."""
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"{error.filename}: {error.strerror}: give another path"
    if isinstance(error, OSError) and (error.errno in NO_ROOM or isinstance(error, BrokenPipeError)):
        # Files are written with faults of their own; what is left is what the command says of them.
        sys.stdout = None  # else Python tries once more, and says so, as it ends
        return f"standard output cannot be written ({error.strerror}); the output files are complete"
    if (fault := system_fault(error)) is None:
        raise error
    return fault


def _refuse_removed_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise SoilcastError("the working folder was removed: change to another one and run again") from error


def _refuse(line: str, code: int = SoilcastError.exit_code) -> NoReturn:
    with suppress(OSError, ValueError):
        print(f"soilcast: {printable(line)}", file=sys.stderr)
    if line.startswith(NO_THREADS):
        leave(code)  # libraries would join threads that they could not start, and say so, at the end of Python
    sys.exit(code)
