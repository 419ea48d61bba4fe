"""The loop of a download: some requests wait in the store's queue while the files of others are fetched."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.filesize import decimal

from soilcast.downloading.client import (
    CrowdedError,
    JobFailedError,
    JobGoneError,
    Pace,
    Store,
    TooLargeError,
)
from soilcast.downloading.datasets import FORMATS
from soilcast.downloading.fetching import WrongContentError, fetch
from soilcast.downloading.record import Entry, Record
from soilcast.downloading.requests import Piece
from soilcast.errors import SoilcastError
from soilcast.progress import Advance, Log

if TYPE_CHECKING:
    from ecmwf.datastores import Remote

_SUBMISSIONS = 3
"""How often a piece is handed in, if the store forgets it."""

_CROWDED = 10
"""How often in a row the store may say that it takes no more requests for the moment."""

_MOST_FAILURES = 5
"""So many pieces that cannot be had say that something is wrong with all."""


def unfinished(pieces: Sequence[Piece], record: Record, *, verify: bool, log: Log) -> list[Piece]:
    """Say which pieces are still to be fetched; those that were too large, as their halves.

    Parameters
    ----------
    pieces
        What is wanted.
    record
        What is there.
    verify
        Also compare the checksums of the files that are there.
    log
        Called with each file that is damaged, or was fetched for another request.
    """
    return [piece for piece in leaves_of(pieces, record) if record.lacks(piece, verify=verify, log=log)]


def leaves_of(pieces: Sequence[Piece], record: Record) -> list[Piece]:
    """Pieces; those that were too large, as their halves."""
    found = []
    for piece in pieces:
        entry, halves = record.of(piece), piece.halves()
        if entry is not None and entry.state == "split" and halves is not None:
            found += leaves_of(halves, record)
        else:
            found.append(piece)
    return found


@dataclass
class _Waiting:
    piece: Piece
    job: str
    looks: int = 0
    next_look: float = field(default_factory=time.monotonic)


class Work:
    """Fetches pieces.

    Parameters
    ----------
    pieces
        What is to be fetched.
    store
        Where from.
    record
        Where to.
    jobs
        How many requests may wait in the store's queue at once.
    pace
        How long is waited.
    log, advance
        Called with what a person should know, and for each day of a file that is done.
    """

    def __init__(
        self, pieces: Sequence[Piece], store: Store, record: Record, jobs: int, pace: Pace, log: Log, advance: Advance
    ) -> None:
        self._store, self._record, self._jobs, self._pace = store, record, jobs, pace
        self._log, self._advance = log, advance
        # What the store is at work on already comes first.
        self._pending = deque(sorted(pieces, key=lambda piece: self._job_of(piece) is None))
        self._waiting: list[_Waiting] = []
        self._submissions: dict[str, int] = {}
        self._failures: list[str] = []
        self._crowded = 0

    def run(self) -> None:
        """Fetch all.

        Raises
        ------
        SoilcastError
            Some cannot be had, though all others are there; or a fault that concerns all.
        """
        while self._pending or self._waiting:
            self._fill()
            ready = self._next_ready()
            if ready is not None:
                self._fill()  # so that the store works on while the file comes
                self._fetch(*ready)
            if len(self._failures) >= _MOST_FAILURES:
                break
        if self._failures:
            others = len(self._failures) - 1
            more = f" (and {others} more)" if others else ""
            raise SoilcastError(
                f"{self._failures[0]}{more}; completed files are kept, and the same command tries again"
            )

    def _job_of(self, piece: Piece) -> str | None:
        entry = self._record.of(piece)
        return entry.job if entry and entry.state == "accepted" and entry.store == self._store.url else None

    def _fill(self) -> None:
        while self._pending and len(self._waiting) < self._jobs:
            piece = self._pending.popleft()
            job = self._job_of(piece)
            if job is None:
                job = self._submit(piece)
            if job is not None:
                self._waiting.append(_Waiting(piece, job))
            elif self._crowded:
                return

    def _submit(self, piece: Piece) -> str | None:
        self._submissions[piece.name] = self._submissions.get(piece.name, 0) + 1
        if self._submissions[piece.name] > _SUBMISSIONS:
            self._fail(piece, "the data store repeatedly loses the job")
            return None
        try:
            job = self._store.submit(piece.collection.name, piece.request)
        except TooLargeError as error:
            self._split(piece, str(error))
            return None
        except CrowdedError as error:
            self._wait_for_room(piece, str(error))
            return None
        self._crowded = 0
        earlier = self._record.of(piece)
        self._record.put(
            piece.name,
            Entry(
                collection=piece.collection.name,
                request=piece.request,
                state="accepted",
                store=self._store.url,
                job=job,
                partial=earlier.partial if earlier else None,
            ),
        )
        return job

    def _next_ready(self) -> tuple[Piece, Remote] | None:
        """Look at the job whose time comes first, at that time; give it if it is done."""
        if not self._waiting:
            return None
        now = time.monotonic()
        first = min(self._waiting, key=lambda one: one.next_look)
        if first.next_look > now:
            time.sleep(first.next_look - now)
        try:
            remote = self._store.look(first.job)
        except TooLargeError as error:
            self._waiting.remove(first)
            self._split(first.piece, str(error))
        except CrowdedError as error:
            self._waiting.remove(first)
            self._forget(first.piece)
            self._wait_for_room(first.piece, str(error))
        except JobGoneError:
            self._waiting.remove(first)
            self._again(first.piece)
        except JobFailedError as error:
            self._waiting.remove(first)
            self._forget(first.piece)
            self._fail(first.piece, f"the data store could not produce it ({error})")
        else:
            if remote is not None:
                self._waiting.remove(first)
                return first.piece, remote
            first.next_look = time.monotonic() + self._pace.longer(first.looks)
            first.looks += 1
        return None

    def _fetch(self, piece: Piece, remote: Remote) -> None:
        record = self._record
        entry = record.of(piece)
        assert entry is not None
        try:
            asset = self._store.asset(remote)
            part = record.part_of(piece.name)
            ending, sha256 = fetch(
                asset,
                part,
                entry.partial,
                lambda partial: record.put(piece.name, entry.model_copy(update={"partial": partial})),
                (FORMATS[piece.format], ".zip"),
                self._pace,
            )
        except JobGoneError:
            self._again(piece)
            return
        except JobFailedError as error:
            self._forget(piece)
            self._fail(piece, f"the data store could not produce it ({error})")
            return
        except WrongContentError as error:
            self._forget(piece)
            self._fail(piece, str(error))
            return
        # Noted before it gets its name: whatever ends this in between, the part is known to be whole.
        done = Entry(
            collection=entry.collection,
            request=entry.request,
            state="fetched",
            ending=ending,
            size=asset.size,
            sha256=sha256,
            store_checksum=asset.checksum,
        )
        record.put(piece.name, done)
        record.put_in_place(piece.name)
        for _ in range(piece.days):
            self._advance(f"{piece.name} ({decimal(asset.size)})")

    def _split(self, piece: Piece, said: str) -> None:
        halves = piece.halves()
        if halves is None:
            self._forget(piece)
            self._fail(piece, f"the data store refuses even one day ({said}): request fewer --variables")
            return
        self._log(f"{piece.name}: too large for the data store; requesting it in two parts")
        self._record.part_of(piece.name).unlink(missing_ok=True)
        split = Entry(collection=piece.collection.name, request=piece.request, state="split")
        self._record.put(piece.name, split)
        self._pending.extendleft(reversed(halves))

    def _again(self, piece: Piece) -> None:
        entry = self._record.of(piece)
        assert entry is not None
        # What has come stays: the store often gives the same file again.
        self._record.put(piece.name, entry.model_copy(update={"job": None}))
        self._pending.appendleft(piece)

    def _wait_for_room(self, piece: Piece, said: str) -> None:
        self._crowded += 1
        if self._crowded > _CROWDED:
            raise SoilcastError(
                f"the data store accepts no more requests at the moment ({said}): run the same command again later to "
                "resume, or with --jobs 1"
            )
        self._pending.appendleft(piece)
        self._submissions[piece.name] = max(0, self._submissions.get(piece.name, 0) - 1)
        time.sleep(self._pace.longer(self._crowded))

    def _forget(self, piece: Piece) -> None:
        self._record.put(piece.name, None)

    def _fail(self, piece: Piece, why: str) -> None:
        self._failures.append(f"{piece.name}: {why}")
