"""What a daily chain notes: a log in JSON lines, and of which inputs each step was made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from soilcast.downloading.record import RECORD
from soilcast.errors import SoilcastError
from soilcast.files import replace_file

LOG = "log.jsonl"
_STATE = "state.json"


class Record:
    """The notes of a chain in its folder.

    Parameters
    ----------
    folder
        It.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made_of = self._read()

    def is_made(self, step: str, made_of: Sequence[object], *outputs: Path) -> bool:
        """Whether a step was made of these inputs, and its outputs stand."""
        return self._made_of.get(step) == _mark(made_of) and all(one.exists() for one in outputs)

    def note(self, step: str, made_of: Sequence[object]) -> None:
        """Note of which inputs a step was made."""
        self._made_of[step] = _mark(made_of)
        replace_file(self._folder / _STATE, json.dumps(self._made_of, indent=1, sort_keys=True).encode())

    def forget(self, steps: Sequence[str]) -> None:
        """Forget steps whose outputs are gone."""
        for step in steps:
            self._made_of.pop(step, None)

    def log(self, **said: Any) -> None:
        """Append a line to the log."""
        line = json.dumps({"time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", **said}, ensure_ascii=False)
        path = self._folder / LOG
        with path.open("a", encoding="utf-8") as stream:
            # What a process left that was killed within a line is ended, so that every other line can be read.
            stream.write(("" if _ends_with_a_line(path) else "\n") + line + "\n")

    def lines(self) -> Iterator[dict[str, Any]]:
        """Give the lines of the log, first to last, without those that are damaged."""
        path = self._folder / LOG
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                yield dict(json.loads(line))
            except (ValueError, TypeError):
                continue

    def _read(self) -> dict[str, str]:
        path = self._folder / _STATE
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return {str(step): str(mark) for step, mark in found.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, AttributeError) as error:
            raise SoilcastError(f"{path}: damaged: remove it; the steps of the day are made again then") from error


def files_mark(paths: Sequence[str | Path]) -> str:
    """Tell files and folders from others and from themselves once they are changed; of those that are there."""
    told = []
    for path in map(Path, paths):
        files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        # What is being downloaded, and the notes of it, are no data yet.
        files = [one for one in files if one.exists() and not one.name.startswith(".") and one.name != RECORD]
        told.append(f"{path}: {[(one.name, one.stat().st_size, one.stat().st_mtime_ns) for one in files]}")
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def _mark(made_of: Sequence[object]) -> str:
    return json.dumps([str(one) for one in made_of])


def _ends_with_a_line(path: Path) -> bool:
    if not path.exists() or path.stat().st_size == 0:
        return True
    with path.open("rb") as stream:
        stream.seek(-1, 2)
        return stream.read() == b"\n"
