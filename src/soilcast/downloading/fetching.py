"""From the store's file to one on this disk: gone on with where it stopped, checked, never half under its name."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from soilcast.downloading.access import anonymous_session
from soilcast.downloading.client import RETRIED, TRIES, Asset, JobGoneError, Pace
from soilcast.downloading.record import Partial, disk_fault
from soilcast.errors import SoilcastError
from soilcast.files import flush_to_disk, sha256_of

if TYPE_CHECKING:
    import requests

_BLOCK = 1 << 16

_STARTS: dict[bytes, str] = {
    b"\x89HDF\r\n\x1a\n": ".nc",
    b"CDF\x01": ".nc",
    b"CDF\x02": ".nc",
    b"CDF\x05": ".nc",
    b"GRIB": ".grib",
    b"PK\x03\x04": ".zip",
}
"""How files begin -> how their names end."""

_LONGEST_START = 8

# Checksums as multihashes (STAC's file extension): code and length, then the digest. What the Climate Data Store
# states is no hash of the content, but a mark of its own cache; it is noted, and cannot be verified.
_MULTIHASHES = {"1220": ("sha256", 64), "1340": ("sha512", 128), "1114": ("sha1", 40)}


class WrongContentError(Exception):
    """What came is not the file that was to come."""


def fetch(
    asset: Asset,
    part: Path,
    partial: Partial | None,
    remember: Callable[[Partial], None],
    endings: tuple[str, ...],
    pace: Pace,
) -> tuple[str, str]:
    """Bring a file of the store to ``part``, whole, on the disk and checked.

    Parameters
    ----------
    asset
        The file.
    part
        Where it goes; what lies there is gone on with if the store still has the same version.
    partial
        What was remembered of it.
    remember
        Called with what tells this version from another, before its first byte is written.
    endings
        What it may be, by the endings of names.
    pace
        How long is waited.

    Returns
    -------
    How its name ends, by its first bytes, and its SHA-256.

    Raises
    ------
    WrongContentError
        It is another kind of file, or of another size or checksum; nothing of it is kept.
    JobGoneError
        The store has thrown it away.
    SoilcastError
        The store does not answer, or the disk is full; what has come is kept.
    """
    transfer = _Transfer(asset, part, partial, remember, endings, pace)
    try:
        transfer.run()
        ending = transfer.ending()
        checksum = sha256_of(part)
        _verify(asset, part, checksum)
        return ending, checksum
    except WrongContentError:
        part.unlink(missing_ok=True)
        raise
    except OSError as error:
        raise disk_fault(error, part) from error


class _Transfer:
    def __init__(
        self,
        asset: Asset,
        part: Path,
        partial: Partial | None,
        remember: Callable[[Partial], None],
        endings: tuple[str, ...],
        pace: Pace,
    ) -> None:
        self.asset, self.part, self.endings, self.pace = asset, part, endings, pace
        self._remember = remember
        self._partial = partial if partial and partial.size == asset.size else None

    def held(self) -> int:
        """Bytes that are here."""
        return self.part.stat().st_size if self.part.exists() else 0

    def ending(self) -> str:
        """How the name ends, by the first bytes."""
        with self.part.open("rb") as stream:
            start = stream.read(_LONGEST_START)
        ending = next((ending for sign, ending in _STARTS.items() if start.startswith(sign)), None)
        if ending in self.endings:
            return str(ending)
        text = start.lstrip()[:1]
        what = {b"<": "a web page", b"{": "a text, JSON", b"[": "a text, JSON"}.get(text, "something else")
        what = f"a {ending} file" if ending else what
        raise WrongContentError(f"the data store sent {what} instead of a {' or '.join(self.endings)} file")

    def run(self) -> None:
        """Bring all bytes, in as many tries as it takes, as long as they bring something.

        Raises
        ------
        SoilcastError
            Ten tries in a row brought nothing, or the file was begun ten times.
        """
        import requests

        if self.held() > self.asset.size or self._partial is None:
            self.part.unlink(missing_ok=True)
        elif self.held() == self.asset.size:
            os.truncate(self.part, self.asset.size - 1)  # so that the store says whether it is still the same version
        in_vain, begun, said = 0, 0, ""
        while in_vain < TRIES and begun < TRIES:
            before = self.held()
            begun += before == 0
            if before == self.asset.size:
                flush_to_disk(self.part)
                return
            if in_vain:
                time.sleep(self.pace.longer(in_vain - 1))
            try:
                said = self._try(before)
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                said = type(error).__name__
            except requests.RequestException as error:
                raise WrongContentError(
                    f"the data store gives an invalid address of the file ({type(error).__name__})"
                ) from None
            in_vain = 0 if self.held() > before else in_vain + 1
        raise SoilcastError(
            f"{self.part}: the download was interrupted ({TRIES} tries: {said}); the part received is kept: run the "
            "same command again later to resume"
        )

    def _try(self, held: int) -> str:
        asked = {"Accept-Encoding": "identity"}
        version = self._version() if held else None
        if version:
            asked |= {"Range": f"bytes={held}-", "If-Range": version}
        # Without the key: a file of the store may lie with another service.
        with (
            anonymous_session()() as session,
            session.get(self.asset.url, headers=asked, stream=True, timeout=self.pace.timeout) as response,
        ):
            status = response.status_code
            if status in RETRIED:
                return f"HTTP {status}"
            if status == 416:
                self.part.unlink(missing_ok=True)
                return "HTTP 416"
            if status not in (200, 206):
                raise JobGoneError(f"HTTP {status}")
            start = self._start(response, held) if status == 206 else 0
            if start is None:
                self.part.unlink(missing_ok=True)
                return "a part of the file that was not requested"
            self._check_length(response, start)
            if start == 0:
                self._begin(response)
            return self._receive(response, start)

    def _version(self) -> str | None:
        if self._partial is None:
            return None
        etag = self._partial.etag
        return etag if etag and not etag.startswith("W/") else self._partial.last_modified

    def _start(self, response: requests.Response, held: int) -> int | None:
        found = re.fullmatch(
            r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", response.headers.get("Content-Range", ""), re.ASCII
        )
        if found is None or (int(found[1]), int(found[3])) != (held, self.asset.size):
            return None
        return held

    def _check_length(self, response: requests.Response, start: int) -> None:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise WrongContentError("the data store sent it in an encoding that was not requested")
        length = response.headers.get("Content-Length")
        if length is not None and length != str(self.asset.size - start):
            raise WrongContentError(
                f"the data store announced {self.asset.size} bytes, but sends {length[:20]} of the last "
                f"{self.asset.size - start}"
            )

    def _begin(self, response: requests.Response) -> None:
        self.part.unlink(missing_ok=True)
        self._partial = Partial(
            size=self.asset.size,
            etag=response.headers.get("ETag", "")[:1000] or None,
            last_modified=response.headers.get("Last-Modified", "")[:1000] or None,
        )
        self._remember(self._partial)

    def _receive(self, response: requests.Response, start: int) -> str:
        held = start
        with self.part.open("ab") as stream:
            for block in response.iter_content(_BLOCK):
                held += len(block)
                if held > self.asset.size:
                    raise WrongContentError(
                        f"the data store sends more than the {self.asset.size} bytes that it announced"
                    )
                stream.write(block)
                if held - len(block) < _LONGEST_START <= held:
                    stream.flush()
                    self.ending()  # a web page is not brought to its end
        return "the connection was interrupted"


def _verify(asset: Asset, part: Path, sha256: str) -> None:
    stated = (asset.checksum or "").lower()
    kind, length = _MULTIHASHES.get(stated[:4], ("", 0))
    if not kind or not re.fullmatch(f"[0-9a-f]{{{length}}}", stated[4:], re.ASCII):
        return
    if kind == "sha256":
        found = sha256
    else:
        with part.open("rb") as stream:
            found = hashlib.file_digest(stream, kind).hexdigest()
    if found != stated[4:]:
        raise WrongContentError("its checksum differs from that of the data store")
