"""What has been fetched into a folder and what is under way: download.json, and the folder for one process alone."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from soilcast.downloading.datasets import FORMATS
from soilcast.errors import SoilcastError
from soilcast.files import NO_ROOM, locked, refuse_existing, replace_file, sha256_of
from soilcast.progress import Log
from soilcast.schema import validate

RECORD = "download.json"

_LOCK = f".{RECORD}.lock"

ENDINGS = (*FORMATS.values(), ".zip")
"""How the names of fetched files end."""

_LARGEST = 1 << 26
"""Of a record [bytes]; seventy years of many pieces take a few MiB."""

_STEM = re.compile(r"[a-z0-9][A-Za-z0-9_-]{0,200}", re.ASCII)


class Requested(Protocol):
    """A file that is wanted: its name without ending, where it comes from, and what is asked for."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def origin(self) -> str: ...  # noqa: D102
    @property
    def request(self) -> dict[str, Any]: ...  # noqa: D102


class Partial(BaseModel):
    """A file that has come in part: how large it is to be, and what tells one version of it from another."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(gt=0)
    etag: str | None = Field(default=None, max_length=1000)
    last_modified: str | None = Field(default=None, max_length=1000)


class Entry(BaseModel):
    """How a piece stands."""

    model_config = ConfigDict(extra="forbid")

    collection: str
    request: dict[str, Any]
    state: Literal["accepted", "fetched", "split"]
    store: str | None = None
    job: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,100}$")
    partial: Partial | None = None
    ending: Literal[".nc", ".grib", ".zip"] | None = None
    size: int | None = Field(default=None, gt=0)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    store_checksum: str | None = Field(default=None, max_length=1000)
    fetched: str | None = Field(default=None, max_length=100, description="when, UTC")


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid")

    soilcast_kind: Literal["download"]
    version: Literal[1]
    files: dict[str, Entry]


class Record:
    """The record of a folder; it is written anew at every change.

    Parameters
    ----------
    out
        The folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.entries = _read(out / RECORD)

    def of(self, wanted: Requested) -> Entry | None:
        """How a file stands, if it was asked for in the same words."""
        entry = self.entries.get(wanted.name)
        alike = entry and (entry.collection, entry.request) == (wanted.origin, wanted.request)
        return entry if alike else None

    def lacks(self, wanted: Requested, *, verify: bool, log: Log) -> bool:
        """Say whether a file is still to be fetched.

        Parameters
        ----------
        wanted
            The file.
        verify
            Also compare the checksum of the file that is there.
        log
            Called if it is damaged, or was fetched for another request.

        Raises
        ------
        SoilcastError
            What has come whole cannot be given its name.
        """
        entry = self.of(wanted)
        if entry is not None and entry.state == "fetched":
            fault = self._fault_of(wanted.name, entry, verify=verify)
        else:
            other = entry is None and self.file_of(wanted.name) is not None
            fault = "was downloaded for another request (area, variables or format)" if other else ""
        if fault:
            log(f"{wanted.name}: {fault}; downloading it again")
        return bool(fault) or entry is None or entry.state != "fetched"

    def put(self, name: str, entry: Entry | None) -> None:
        """Note how a piece stands, or drop it.

        Raises
        ------
        SoilcastError
            The record cannot be written.
        """
        self.change({name: entry})

    def change(self, entries: Mapping[str, Entry | None]) -> None:
        """Note how several pieces stand, or drop them.

        Raises
        ------
        SoilcastError
            The record cannot be written.
        """
        self.entries |= {name: entry for name, entry in entries.items() if entry is not None}
        for name in (name for name, entry in entries.items() if entry is None):
            self.entries.pop(name, None)
        lines = [
            f"{json.dumps(known)}: {json.dumps(entry.model_dump(exclude_none=True))}"
            for known, entry in sorted(self.entries.items())
        ]
        # A line a file: people look into it, and it has many.
        text = '{\n"soilcast_kind": "download",\n"version": 1,\n"files": {\n' + ",\n".join(lines) + "\n}\n}\n"
        try:
            replace_file(self.out / RECORD, text.encode())
        except OSError as error:
            raise disk_fault(error, self.out / RECORD) from error

    def file_of(self, name: str) -> Path | None:
        """Path of the file that a piece became, if it was fetched."""
        entry = self.entries.get(name)
        return self.out / f"{name}{entry.ending}" if entry and entry.state == "fetched" and entry.ending else None

    def part_of(self, name: str) -> Path:
        """Where a file lies while it comes."""
        return self.out / f".{name}.part"

    def put_in_place(self, name: str) -> None:
        """Give a file that has come whole its name, and drop one of an earlier request.

        Raises
        ------
        SoilcastError
            The folder cannot be written.
        """
        path = self.file_of(name)
        assert path is not None
        try:
            self.part_of(name).replace(path)
            for ending in ENDINGS:
                if self.out / f"{name}{ending}" != path:
                    (self.out / f"{name}{ending}").unlink(missing_ok=True)
        except OSError as error:
            raise disk_fault(error, path) from error

    def _fault_of(self, name: str, entry: Entry, *, verify: bool) -> str:
        path, part = self.file_of(name), self.part_of(name)
        assert path is not None
        if not path.is_file():
            if not (part.is_file() and part.stat().st_size == entry.size and sha256_of(part) == entry.sha256):
                return "the file is no longer there"
            self.put_in_place(name)
        if path.stat().st_size != entry.size:
            return f"the file is damaged, {path.stat().st_size} bytes long instead of {entry.size}"
        if verify and sha256_of(path) != entry.sha256:
            return "the file is damaged, its checksum differs"
        return ""


@contextmanager
def folder_for(out: Path) -> Iterator[Record]:
    """Give the record of a folder, new or that of an earlier download, to this process alone.

    Raises
    ------
    SoilcastError
        The folder is something else, cannot be written, or another process is at work in it.
    """
    new = not out.exists()
    if new:
        refuse_existing(out, overwrite=False)
    else:
        _refuse_other(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        busy = f"{out}: another soilcast process downloads into it: wait for it to end, or give another --out"
        with locked(out / _LOCK, busy):
            try:
                (out / f".{RECORD}.partial").unlink(missing_ok=True)
                yield Record(out)
            finally:
                (out / _LOCK).unlink(missing_ok=True)
    except OSError as error:
        raise disk_fault(error, out) from error
    finally:
        if new and out.is_dir() and not any(out.iterdir()):
            out.rmdir()


def disk_fault(error: OSError, path: Path) -> Exception:
    """Say a fault of the disk in words; others are given back as they are."""
    if error.errno in NO_ROOM:
        return SoilcastError(
            f"{path}: no space left on the disk, or the file size limit is reached ({error.strerror}): the part "
            "received is kept; free some space and run the same command again"
        )
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG):
        return SoilcastError(f"{path} cannot be written ({error.strerror}): give another --out")
    return error


def _read(path: Path) -> dict[str, Entry]:
    if not path.exists():
        return {}
    broken = "remove it to download all files again, or give another --out"
    try:
        if path.stat().st_size > _LARGEST:
            raise SoilcastError(f"{path} is too large for a download record of soilcast: {broken}")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, IsADirectoryError) as error:
        raise SoilcastError(f"{path} is damaged (not JSON): {broken}") from error
    if not isinstance(content, dict):
        raise SoilcastError(f"{path} is not a download record of soilcast: {broken}")
    entries = validate(_Content, content, str(path)).files
    for name in entries:
        if not _STEM.fullmatch(name):  # names become paths
            raise SoilcastError(f"{path}: {name[:80]!r} is not the name of a file that soilcast downloaded: {broken}")
    return entries


def _refuse_other(out: Path) -> None:
    if not out.is_dir():
        raise SoilcastError(f"{out} is not a folder: give another --out")
    if not (out / RECORD).is_file() and any(found.name not in (f".{RECORD}.partial", _LOCK) for found in out.iterdir()):
        raise SoilcastError(f"{out} is a folder that soilcast download did not create: give another --out")
    if not os.access(out, os.W_OK):
        raise SoilcastError(f"{out} cannot be written: give another --out")
