"""What a client is told of what cannot be served: a status and one line."""

from __future__ import annotations

from soilcast.errors import printable

_LONGEST = 300


class RequestError(Exception):
    """What a request cannot have.

    Parameters
    ----------
    status
        Of HTTP.
    description
        One line: what is wrong, and what would be right.
    """

    status = 400

    def __init__(self, description: str) -> None:
        super().__init__(" ".join(printable(description).split())[:_LONGEST])


class NotThereError(RequestError):
    """Nothing of this name is served."""

    status = 404


class TooLargeError(RequestError):
    """More is asked for than is given at once."""

    status = 413


class UnavailableError(RequestError):
    """What is asked for is served, but cannot be read now."""

    status = 503


class BusyError(UnavailableError):
    """Others have to be answered first."""


class ReplacedError(UnavailableError):
    """A newer version of the file stands there by now."""
