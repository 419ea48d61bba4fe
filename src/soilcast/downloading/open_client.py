"""Talking to a mirror of ECMWF's open data: what is asked of ecmwf-opendata, byte ranges, and faults in words."""

from __future__ import annotations

import datetime
import itertools
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from soilcast.downloading.access import anonymous_session, one_line
from soilcast.downloading.client import RETRIED, TRIES, NoAnswerError, Pace, persist
from soilcast.downloading.fetching import WrongContentError
from soilcast.downloading.open_data import MODELS, StepPiece
from soilcast.downloading.record import disk_fault
from soilcast.eccodes_library import load_eccodes
from soilcast.errors import SoilcastError
from soilcast.schema import nearest

if TYPE_CHECKING:
    import requests

Answer = TypeVar("Answer")

_BLOCK = 1 << 16
_LARGEST_INDEX = 1 << 26
"""Of an index file, with a line for each of some ten thousand fields [bytes]."""

_LARGEST_FIELD = 1 << 28
"""Of one field of a file [bytes]."""

Range = tuple[int, int]
"""Offset and length [bytes]."""


class OpenData:
    """A mirror of the open data, through ecmwf-opendata.

    Parameters
    ----------
    model
        Name in `MODELS`.
    source
        Name of a mirror that ecmwf-opendata knows, or an address.
    pace
        How long is waited.

    Raises
    ------
    SoilcastError
        The extra is not installed, or there is no such mirror.
    """

    def __init__(self, model: str, source: str, pace: Pace) -> None:
        library = _the_library()
        self._model, self._pace = MODELS[model], pace
        source = source.rstrip("/")
        self.url = _address_of(source)
        # What it warns of and prints is told here, in words.
        for name in ("ecmwf.opendata", "multiurl"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        # One try of its own: it would print each, and sleep where Ctrl-C is not heard in words.
        options = {"source": source, "model": self._model.product, "maximum_retries": 1}
        self._client = self._ask(lambda: library.Client(**options), "a token")
        _prepare(self._client.session, pace.timeout)

    def latest(self, step: int) -> datetime.datetime:
        """Find the start of the latest forecast that has a step [UTC].

        Raises
        ------
        SoilcastError
            There is none of the last two days.
        """
        asked = {"stream": self._model.stream, "type": self._model.type, "step": step}
        try:
            found: datetime.datetime = self._ask(lambda: self._client.latest(asked), "the latest forecast")
        except _NothingFoundError:
            raise SoilcastError(
                f"{self.url} has no forecast of {self._model.title} up to step {step} that started within the last two "
                "days: give --date, another --source or fewer --days"
            ) from None
        return found

    def fetch(self, piece: StepPiece, part: Path) -> list[int]:
        """Bring the fields of a step to a file, one after the other; what is there of them is gone on with.

        Parameters
        ----------
        piece
            The step.
        part
            Where they go.

        Returns
        -------
        Length of each field, in the order of the file [bytes].

        Raises
        ------
        WrongContentError
            The index file makes no sense, or the server sends other bytes than were asked for.
        SoilcastError
            The server does not answer, does not have them, or cannot send a part of a file; the disk is full.
        """
        run = f"{piece.model} of {piece.run:%Y-%m-%d %H} UTC"
        located = [found for selection in piece.selections for found in self._locate(piece, selection)]
        lengths = [length for _, fields in located for _, length in fields]
        if len(lengths) < len(piece.fields):
            raise SoilcastError(
                f"{self.url} has {len(lengths)} of the {len(piece.fields)} fields of step {piece.step} of {run} "
                f"({', '.join(piece.parameters)}): request fewer --parameters or "
                "--members, or give another --date or --source"
            )
        ranges = [(url, one) for url, fields in located for one in _joined(fields)]
        try:
            with part.open("ab") as stream:
                held, start = stream.tell(), 0
                for url, (offset, length) in ranges:
                    if start + length > held:
                        self._ask(lambda: self._transfer(url, offset, length, stream, start), url)  # noqa: B023
                    start += length
                stream.truncate(start)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise disk_fault(error, part) from error
        return lengths

    def _locate(self, piece: StepPiece, selection: Mapping[str, Any]) -> list[tuple[str, tuple[Range, ...]]]:
        about = f"step {piece.step} of {piece.model} of {piece.run:%Y-%m-%d %H} UTC"
        try:
            # No public function of it gives ranges without downloading them in a way of its own, which has no timeout.
            found = self._ask(lambda: self._client._get_urls(dict(selection), use_index=True).urls, about)
            fields = [(str(url), tuple((offset, length) for offset, length in ranges)) for url, ranges in found]
        except _NothingFoundError:
            return []
        for _, ranges in fields:
            if not _is_plausible(ranges):
                raise WrongContentError("its index file has impossible offsets or lengths")
        return fields

    def _transfer(self, url: str, offset: int, length: int, stream: Any, start: int) -> None:
        """Write a range of a file at a place of another; what is there already of a first try is written over."""
        stream.seek(start)
        stream.truncate(start)
        asked = {"Range": f"bytes={offset}-{offset + length - 1}"}
        with self._client.session.get(url, headers=asked, stream=True) as response:
            response.raise_for_status()
            left = length
            for block in response.iter_content(_BLOCK):
                left -= len(block)
                if left < 0:
                    raise WrongContentError("the server sends more bytes than were asked for")
                stream.write(block)
        if left:
            import requests

            raise requests.ConnectionError("the connection ended early")

    def _ask(self, call: Callable[[], Answer], about: str) -> Answer:
        import requests

        try:
            return persist(call, self._pace)
        except NoAnswerError as error:
            raise SoilcastError(
                f"{self.url} does not respond ({TRIES} tries for {about}: {error}): run the same command again later "
                "to resume, or with another --source"
            ) from None
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "no answer"
            raise SoilcastError(
                f"{self.url} does not have {about} (HTTP {status}): it may not be there yet, or no longer: give "
                "another --date or --source, or fewer --days"
            ) from None
        except requests.RequestException as error:
            raise SoilcastError(
                f"{self.url} cannot be reached ({type(error).__name__}: {one_line(error)}): check --source"
            ) from None
        except RangesError:
            raise SoilcastError(
                f"{self.url} ignores that a part of a file is asked for and would send all of it: use another --source"
            ) from None
        except (KeyError, TypeError, ValueError, AttributeError, AssertionError, IndexError, RecursionError) as error:
            if isinstance(error, ValueError) and str(error).startswith(("Cannot find index", "Cannot establish")):
                raise _NothingFoundError from None
            raise WrongContentError(f"its index file cannot be read ({type(error).__name__})") from None


class RangesError(Exception):
    """A server sends something else than the part of a file that was asked for."""


class _NothingFoundError(Exception):
    """An index has no field that is asked for, or there is no forecast."""


def _the_library() -> Any:
    try:
        load_eccodes()
        from ecmwf import opendata
    except (ImportError, RuntimeError) as error:  # eccodes raises the latter where its library is not found
        raise SoilcastError(
            "download forecast needs an extra: install it with pip install 'soilcast[weather]'"
        ) from error
    return opendata


def _address_of(source: str) -> str:
    from ecmwf.opendata.urls import URLS

    if source in URLS:
        return str(URLS[source])
    if not re.match(r"https?://[^/@\s]+(/|$)", source):
        raise SoilcastError(f"--source {one_line(source)} is neither a mirror nor an address: {nearest(source, URLS)}")
    return source


def _prepare(session: requests.Session, timeout: float) -> None:
    """Let a session show nobody a password, wait no longer than said, and read no endless or other answer."""
    from requests.adapters import HTTPAdapter

    class RangeAdapter(HTTPAdapter):
        def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
            response = super().send(request, **(options | {"stream": True, "timeout": timeout}))
            if response.status_code in RETRIED:
                response.raise_for_status()
            if "Range" in request.headers:
                _refuse_other_range(str(request.headers["Range"]), response)
            elif request.method == "GET":
                _read_bounded(response)
            return response

    # Not a session of its own: ecmwf-opendata has put the token of a mirror into this one's functions.
    session.auth = anonymous_session()().auth
    session.rebuild_auth = lambda prepared_request, response: None  # type: ignore[method-assign]
    session.headers["Accept-Encoding"] = "identity"
    for scheme in ("http://", "https://"):
        session.mount(scheme, RangeAdapter())


def _refuse_other_range(asked: str, response: requests.Response) -> None:
    if not response.ok or response.is_redirect:
        return
    found = re.fullmatch(r"bytes (\d{1,18}-\d{1,18})/(\d{1,18}|\*)", response.headers.get("Content-Range", ""))
    if response.status_code != 206 or found is None or f"bytes={found[1]}" != asked:
        response.close()
        raise RangesError


def _read_bounded(response: requests.Response) -> None:
    content = bytearray()
    for block in response.iter_content(_BLOCK):
        content += block
        if len(content) > _LARGEST_INDEX:
            response.close()
            raise ValueError("an index file without end")
    response._content = bytes(content)


def _is_plausible(ranges: Sequence[Range]) -> bool:
    whole = all(type(number) is int for one in ranges for number in one)
    if not whole or any(offset < 0 or not 0 < length <= _LARGEST_FIELD for offset, length in ranges):
        return False
    return all(one[0] + one[1] <= other[0] for one, other in itertools.pairwise(ranges))


def _joined(ranges: Sequence[Range]) -> Iterator[Range]:
    """Join ranges that follow on each other."""
    begin = end = -1
    for offset, length in ranges:
        if offset != end:
            if end >= 0:
                yield begin, end - begin
            begin = offset
        end = offset + length
    if end >= 0:
        yield begin, end - begin
