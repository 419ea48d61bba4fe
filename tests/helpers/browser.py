"""A real browser without a network: pages that keep what went wrong in them."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserType, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--enable-unsafe-swiftshader",  # WebGL without a graphics card
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-background-networking",
)
_LOST = re.compile("GPU stall due to ReadPixels|Failed to load resource")
_PATIENCE = 120_000  # [ms]


def find() -> str | None:
    """Give the path of a browser; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def launched() -> Iterator[Browser]:
    """Start a browser that resolves no name and asks nobody on its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, started(playwright.chromium) as browser:
        yield browser


@contextmanager
def started(kind: BrowserType, *options: str) -> Iterator[Browser]:
    """Start one more, with more options."""
    browser = kind.launch(executable_path=find(), args=[*_OPTIONS, *options])
    try:
        yield browser
    finally:
        browser.close()


@dataclass
class Opened:
    """A page that was opened, and all that went wrong in it.

    Parameters
    ----------
    page
        To drive.
    address
        Of the server, beyond which nothing may be asked.
    faults
        Errors of the console and of scripts, requests that failed or went elsewhere, answers that refuse.
    """

    page: Page
    address: str
    faults: list[str] = field(default_factory=list)

    def listen(self) -> None:
        """Keep what goes wrong from now on."""
        self.page.on("console", lambda said: self._note(said.type in ("error", "warning"), said.text))
        self.page.on("pageerror", lambda error: self._note(True, str(error)))
        self.page.on("request", lambda request: self._note(not self._is_here(request.url), f"asks {request.url}"))
        self.page.on("response", lambda answer: self._note(answer.status >= 400, f"{answer.status} for {answer.url}"))

    def _note(self, is_fault: bool, text: str) -> None:
        if is_fault and not _LOST.search(text):
            self.faults.append(text)

    def _is_here(self, url: str) -> bool:
        return urlsplit(url).scheme in ("data", "blob") or url.startswith(self.address)

    def settle(self) -> None:
        """Wait until the map is drawn and the place, if one is chosen, is shown."""
        self.page.wait_for_selector('#map[aria-busy="false"]', timeout=_PATIENCE)
        self.page.wait_for_selector('#place[hidden], #place[aria-busy="false"]', state="attached", timeout=_PATIENCE)

    def picture(self) -> npt.NDArray[np.int64]:
        """Pixels ``(row, column, 3)`` of the map, without what lies over it."""
        self._show(False)
        shot = self.page.locator("#map").screenshot()
        self._show(True)
        return np.array(Image.open(io.BytesIO(shot)).convert("RGB"), dtype=np.int64)

    def _show(self, is_shown: bool) -> None:
        over = ".card, .maplibregl-control-container, #crosshair, #map-message"
        word = "visible" if is_shown else "hidden"
        self.page.evaluate(f"document.querySelectorAll('{over}').forEach(one => one.style.visibility = '{word}')")

    def numbers(self, table: str) -> list[list[float]]:
        """Full numbers of each row of a table; NaN where one is missing."""
        rows = self.page.locator(f"#{table} tbody tr").all()
        return [[_number(cell) for cell in row.locator("td").all()] for row in rows]


def _number(cell: Any) -> float:
    data = cell.locator("data")
    if data.count():
        return float(data.first.get_attribute("value"))
    text = cell.text_content()
    return float("nan") if text == "–" else float(text)


@contextmanager
def opened(
    browser: Browser, address: str, state: str = "", *, size: Sequence[int] = (1000, 640), **context: Any
) -> Iterator[Opened]:
    """Open a page in a window of a size [pixels] and wait until it is drawn; in the end nothing may have gone wrong."""
    surroundings = browser.new_context(viewport={"width": size[0], "height": size[1]}, **context)
    surroundings.set_default_timeout(_PATIENCE)
    try:
        shown = Opened(surroundings.new_page(), address)
        shown.listen()
        shown.page.goto(f"{address}/{state}")
        shown.settle()
        yield shown
        assert not shown.faults, shown.faults
    finally:
        surroundings.close()
