"""Which store and which key: where the client and cdsapi look for them, read when a download runs."""

from __future__ import annotations

import ipaddress
import os
import re
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soilcast.errors import SoilcastError

if TYPE_CHECKING:
    import requests

CDS = "https://cds.climate.copernicus.eu/api"
"""Where ERA5-Land is: the Climate Data Store."""


@dataclass(frozen=True)
class Access:
    """A store and a key for it, from one place, so that no key is shown to another store.

    Parameters
    ----------
    url
        Of the store.
    key
        Is never printed.
    where
        Where they come from, in words.
    """

    url: str
    key: str = field(repr=False)
    where: str


def find_access() -> Access:
    """Find the store and the key, where the client and cdsapi look for them.

    Raises
    ------
    SoilcastError
        There is none, or what is there cannot be read.
    """
    the_client()
    from ecmwf.datastores.config import read_config

    for variable, named, file in (
        ("ECMWF_DATASTORES", "ECMWF_DATASTORES_RC_FILE", "~/.ecmwfdatastoresrc"),
        ("CDSAPI", "CDSAPI_RC", "~/.cdsapirc"),
    ):
        path = Path(os.environ.get(named) or file).expanduser()
        written: dict[str, str] = {}
        if path.exists():
            try:
                written = read_config(str(path))
            except (ValueError, OSError) as error:
                raise SoilcastError(
                    f"{path} cannot be read: it must have two lines, url: and key: of the data store"
                ) from error
        key = os.environ.get(f"{variable}_KEY") or written.get("key")
        url = os.environ.get(f"{variable}_URL") or written.get("url") or CDS
        if key:
            where = f"${variable}_KEY" if os.environ.get(f"{variable}_KEY") else str(path)
            return _checked(Access(url.rstrip("/"), key, where))
    raise SoilcastError(
        "no key for the Climate Data Store: register there, copy the personal access token from your profile page, "
        f"and write two lines to ~/.cdsapirc, url: {CDS} and key: TOKEN (or set ECMWF_DATASTORES_URL and "
        "ECMWF_DATASTORES_KEY)"
    )


def the_client() -> Any:
    """Import ecmwf-datastores-client.

    Raises
    ------
    SoilcastError
        The extra ``era5`` is not installed.
    """
    try:
        from ecmwf import datastores
    except ImportError as error:
        raise SoilcastError("download needs an extra: install it with pip install 'soilcast[era5]'") from error
    return datastores


def anonymous_session() -> type[requests.Session]:
    """Give the class of a session that shows nobody what a ``.netrc`` holds; proxies of the environment count."""
    import requests

    class AnonymousSession(requests.Session):
        """Sends no password but what is set by hand."""

        def __init__(self) -> None:
            super().__init__()
            self.auth = lambda request: request  # else requests looks into .netrc

        def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
            """Send no password after a redirect either."""
            prepared_request.headers.pop("Authorization", None)

    return AnonymousSession


def one_line(text: object) -> str:
    """One line of words that others wrote: printable, not endless."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in str(text)[:10_000]).split())
    return line if len(line) <= 300 else f"{line[:300]} ..."


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked(access: Access) -> Access:
    # Python's message about a header with such characters would show the key.
    if not re.fullmatch(r"[!-~]{1,1000}", access.key, re.ASCII):
        raise SoilcastError(f"{access.where}: the key has invalid characters: copy it again from your profile page")
    try:
        parts = urllib.parse.urlsplit(access.url)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urllib.parse.urlsplit(""), ""
    if parts.username is not None or parts.password is not None:
        raise SoilcastError(f"{access.where}: the address of the data store holds a user or a password: remove it")
    if parts.scheme == "http" and not _is_this_machine(host):
        raise SoilcastError(
            f"{access.where}: the key is not sent to {one_line(access.url)} unencrypted: write https://"
        )
    if parts.scheme not in ("http", "https"):
        raise SoilcastError(
            f"{access.where}: {one_line(access.url)!r} is not the address of a data store: the usual one is {CDS}"
        )
    return access
