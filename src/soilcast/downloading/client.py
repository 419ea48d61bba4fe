"""Talking to the store: what is asked of the client, and its faults in words."""

from __future__ import annotations

import re
import time
import urllib.parse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from soilcast.downloading.access import CDS, Access, anonymous_session, one_line, the_client
from soilcast.downloading.datasets import Day
from soilcast.errors import SoilcastError

if TYPE_CHECKING:
    import requests
    from ecmwf.datastores import Remote

Answer = TypeVar("Answer")

_LONGEST_WAIT = 120.0
"""Between two tries, or two looks at a queued job [s]."""

TRIES = 10
"""How often something is asked for that brings nothing."""

RETRIED = (408, 429, 500, 502, 503, 504)
"""What the store says where the next try may do better."""

_LARGEST_ANSWER = 1 << 23
"""Of the store's own words; a job's log may be long [bytes]."""

_GONE = (404, 410)


class TooLargeError(Exception):
    """The store refuses a request for its size."""


class JobFailedError(Exception):
    """The store could not make what was asked for."""


class CrowdedError(Exception):
    """The store takes no more requests of this user for the moment."""


class JobGoneError(Exception):
    """The store no longer knows a job, or has thrown its file away."""


class NoAnswerError(Exception):
    """Nobody answers, try after try."""


@dataclass(frozen=True)
class Pace:
    """How long is waited.

    Parameters
    ----------
    first
        Before the second try, or the second look at a queued job [s]; doubles from there, up to two minutes.
    timeout
        For the next bytes of an answer, not for the whole [s].
    """

    first: float = 1.0
    timeout: float = 60.0

    def longer(self, number: int) -> float:
        """The wait after a number of equal waits [s]."""
        return float(min(self.first * 2.0 ** min(number, 32), _LONGEST_WAIT))


def persist(call: Callable[[], Answer], pace: Pace) -> Answer:
    """Call until it succeeds, with growing waits, or as long as the server asks to wait.

    Raises
    ------
    NoAnswerError
        It failed ten times for reasons that may pass: a broken connection, a server that is busy or down.
    Exception
        What it fails with for another reason.
    """
    import requests

    said, asked = "", ""
    for number in range(TRIES):
        if number:
            time.sleep(max(pace.longer(number - 1), _seconds(asked)))
        try:
            return call()
        except requests.HTTPError as error:
            if error.response is None or error.response.status_code not in RETRIED:
                raise
            said, asked = f"HTTP {error.response.status_code}", error.response.headers.get("Retry-After", "")
        except requests.exceptions.SSLError:
            raise
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            said, asked = type(error).__name__, ""
    raise NoAnswerError(said)


@dataclass(frozen=True)
class Asset:
    """A file that the store has made.

    Parameters
    ----------
    url
        Where it is.
    size
        [bytes].
    checksum
        As the store states it, if it does.
    """

    url: str
    size: int
    checksum: str | None


class Store:
    """The store, through ecmwf-datastores-client, with its faults in words.

    Parameters
    ----------
    access
        Where it is, and the key.
    pace
        How long is waited.

    Raises
    ------
    SoilcastError
        The store does not answer, or refuses the key.
    """

    def __init__(self, access: Access, pace: Pace) -> None:
        datastores = the_client()
        self.url = access.url
        self._access = access
        self._pace = pace
        self._remotes: dict[str, Remote] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns if it cannot read the store's news; what follows says it better
            # One try of its own: it would print each, and sleep where Ctrl-C is not heard in words.
            self._client = datastores.Client(
                url=access.url,
                key=access.key,
                timeout=pace.timeout,
                progress=False,
                maximum_tries=1,
                session=_session(access.url),
                log_callback=lambda *args, **kwargs: None,
            )
        self._ask(self._client.check_authentication, "the key")

    def last_day(self, collection: str) -> Day | None:
        """Up to which day the store has a collection, if it says so."""
        end = self._ask(lambda: self._client.get_collection(collection).end_datetime, collection)
        return None if end is None else end.date()

    def submit(self, collection: str, request: dict[str, Any]) -> str:
        """Hand in a request; give the job's number.

        Raises
        ------
        TooLargeError, CrowdedError
            The store refuses it, for its size or for the number of requests.
        SoilcastError
            It refuses it for another reason.
        """
        # The client's process asks for a description first, and only then hands in; both may fail.
        job = self._ask(lambda: self._client.submit(collection, request).request_id, collection)
        return self._number(job)

    def look(self, job: str) -> Remote | None:
        """Look at a job: give it if it is done, None if it is waiting or worked at.

        Raises
        ------
        JobFailedError, TooLargeError, CrowdedError, JobGoneError
            It will never be done, or is unknown.
        """
        remote = self._remotes.get(job)
        if remote is None:
            remote = self._ask(lambda: self._client.get_remote(self._number(job)), "a job", gone=True)
            self._remotes[job] = remote
        status = self._ask(lambda: remote.status, "a job", gone=True)
        if status == "successful":
            return remote
        if status in ("accepted", "running"):
            return None
        if status in ("dismissed", "deleted"):
            raise JobGoneError(status)
        if status not in ("failed", "rejected"):
            raise JobFailedError(f"the job has an unknown status, {one_line(status)!r}")
        self._ask(remote.get_results, "a job", failed=True)
        raise JobFailedError("the data store gives no reason")

    def asset(self, remote: Remote) -> Asset:
        """What a job that is done has made.

        Raises
        ------
        JobGoneError
            The store has thrown it away.
        SoilcastError
            The store says nothing that makes sense.
        """
        results = self._ask(remote.get_results, "a result", gone=True)
        asset, url = self._ask(lambda: (results.asset, str(results.location)), "a result")
        size = asset.get("file:size")
        checksum = asset.get("file:checksum")
        if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
            raise self._senseless("a result", f"a size of {one_line(size)!r}")
        schemes = ("https",) if self.url.startswith("https:") else ("http", "https")
        if urllib.parse.urlsplit(url).scheme not in schemes:
            raise self._senseless("a result", "an address that is not https")
        return Asset(url, size, checksum[:1000] if isinstance(checksum, str) else None)

    def _ask(
        self, call: Callable[[], Answer], about: str, *, gone: bool = False, failed: bool = False
    ) -> Answer:  # fmt: skip
        import requests
        from ecmwf.datastores.processing import LinkError, ProcessingFailedError

        try:
            return persist(call, self._pace)
        except NoAnswerError as error:
            raise SoilcastError(
                f"the data store {self.url} does not respond ({TRIES} tries for {about}: {error}): check whether it "
                "is down, then run the same command again to resume"
            ) from None
        except requests.HTTPError as error:
            response = error.response
            assert response is not None
            raise self._refusal(response, about, gone=gone, failed=failed) from None
        except requests.exceptions.SSLError as error:
            raise SoilcastError(f"{self.url} has no valid certificate ({one_line(error)}): check its address") from None
        except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema) as error:
            raise SoilcastError(
                f"{self._access.where}: {one_line(self.url)!r} is not the address of a data store: correct it"
            ) from error
        except ProcessingFailedError as error:
            raise JobFailedError(self._without_key(one_line(error))) from None
        except (
            requests.RequestException, LinkError, KeyError, TypeError, ValueError, AttributeError, AssertionError,
            IndexError, RecursionError,
        ) as error:  # fmt: skip
            raise self._senseless(about, type(error).__name__) from None

    def _refusal(self, response: requests.Response, about: str, *, gone: bool, failed: bool) -> Exception:
        status, text = response.status_code, self._without_key(_words_of(response))
        low = text.lower()
        # The store says 403 for size and for licences alike, so the words count before the number.
        if "cost limits exceeded" in low or "too large" in low or status == 413:
            return TooLargeError(text)
        if "temporarily limited" in low:
            return CrowdedError(text)
        if "available yet" in low or "latest date available" in low:
            return SoilcastError(f"the data store does not have all of these days yet ({text}): end --years earlier")
        if failed:
            return JobFailedError(text)
        if status == 401 or "authentication" in low:
            old = ": it has the form UID:KEY, which the data store no longer accepts" if ":" in self._access.key else ""
            return SoilcastError(
                f"the data store {self.url} rejects the key of {self._access.where} ({status}, {text}){old}: copy the "
                "personal access token from your profile page again"
            )
        if "licence" in low or "license" in low:
            page = "the page named there" if "http" in low else f"{self.url.removesuffix('/api')}/datasets/{about}"
            return SoilcastError(
                f"the data store requires a licence to be accepted ({status}, {text}): log in, accept it on {page}, "
                "and run the same command again"
            )
        if gone and status in _GONE:
            return JobGoneError(text)
        if status in _GONE:
            return SoilcastError(
                f"the data store {self.url} has no {about} ({status}, {text}): ERA5-Land is in the Climate Data "
                f"Store, {CDS}; use its address and key"
            )
        return SoilcastError(f"the data store {self.url} refuses {about} ({status}, {text})")

    def _senseless(self, about: str, what: str) -> SoilcastError:
        return SoilcastError(
            f"the data store {self.url} gives an unexpected response about {about} ({what}): check the address in "
            f"{self._access.where}"
        )

    def _without_key(self, text: str) -> str:
        return text.replace(self._access.key, "[the key]")

    def _number(self, job: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", job, re.ASCII):
            raise self._senseless("a job", "an invalid job number")
        return job


def _session(url: str) -> requests.Session:
    home = _origin(url)

    class StoreSession(anonymous_session()):  # type: ignore[misc]  # requests takes long to import
        """Shows the key to the store alone, wherever an answer may point, and reads no endless answer."""

        def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
            if "PRIVATE-TOKEN" in request.headers and _origin(str(request.url)) != home:
                other = one_line(_origin(str(request.url))[1])
                raise SoilcastError(
                    f"the data store {url} redirects to {other}, which must not receive the key: check the address"
                )
            response: requests.Response = super().send(request, **(options | {"stream": True}))
            content = bytearray()
            for block in response.iter_content(1 << 16):
                content += block
                if len(content) > _LARGEST_ANSWER:
                    raise SoilcastError(f"the data store {url} sends a response without end: check the address")
            response._content = bytes(content)
            return response

    return StoreSession()


def _origin(url: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc


def _words_of(response: requests.Response) -> str:
    try:
        content = response.json()
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        return one_line(response.reason)
    words = [str(content[key]) for key in ("title", "detail", "traceback") if content.get(key)]
    return one_line(": ".join(dict.fromkeys(words))) or one_line(response.reason)


def _seconds(text: str) -> float:
    try:
        asked = float(text)
    except ValueError:
        return 0.0
    return min(asked, _LONGEST_WAIT) if asked > 0 else 0.0
