"""Read a report as a browser would, for tests of what it says."""

from __future__ import annotations

import base64
import hashlib
import io
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import xarray as xr
from PIL import Image

from soilcast.reporting import report
from tests.helpers.scores_factory import save_forecast, save_scores

_VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """What a page holds; fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert not self.open
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" in self.open:
            self.scripts.append(data)
        elif "style" not in self.open:
            self.texts.append(data)
        if self.rows and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += f" {data}"

    def pictures(self) -> list[str]:
        return [str(attributes["src"]) for tag, attributes in self.tags if tag == "img"]

    def row(self, first: str) -> list[str]:
        return next(
            [cell.strip() for cell in row] for row in self.rows if row and row[0].split("*")[0].strip() == first
        )


def report_page(folder: Path, *many: xr.Dataset, title: str | None = None) -> Page:
    """Write scores and forecasts into a folder, and read the page on them, ``report.html``."""
    paths = []
    for number, one in enumerate(many):
        save = save_forecast if one.attrs["soilcast_kind"] == "forecast" else save_scores
        paths.append(save(one, folder / f"{one.attrs['soilcast_kind']}{number}"))
    report(paths, folder / "report.html", title=title)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def rows_of(page: Page, label: str) -> list[list[str]]:
    """All rows of the tables of a page that begin with a label."""
    return [[cell.strip() for cell in row] for row in page.rows if row and row[0].strip() == label]


def anchors(page: Page) -> set[str]:
    """Anchors of the sections of a page."""
    return {str(attributes["id"]) for tag, attributes in page.tags if tag == "h3"}


def decoded(uri: str) -> bytes:
    """What a data URI holds."""
    return base64.b64decode(uri.partition(",")[2], validate=True)


def loads_nothing_and_only_sorts(page: Page) -> None:
    """Fail if a page names anything outside of itself, or has or allows a script but the one that sorts tables."""
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [{}]
    script = files("soilcast.reporting").joinpath("templates", "sort.js").read_text(encoding="utf-8").rstrip("\n")
    assert page.scripts == [script]
    for _, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "action", "data", "srcset"):
                assert str(value).startswith(("data:", "#"))
            assert "url(" not in str(value)
    policy = [
        a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == [
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
    ]


def counted_pictures(page: Page) -> dict[str, int]:
    """Count the pictures of a page by their kind, after opening each."""
    kinds = {"png": 0, "svg": 0}
    for uri in page.pictures():
        head, raw = uri.partition(",")[0], decoded(uri)
        if head == "data:image/png;base64":
            kinds["png"] += 1
            Image.open(io.BytesIO(raw)).verify()
        else:
            assert head == "data:image/svg+xml;base64"
            kinds["svg"] += 1
            ElementTree.fromstring(raw)
    return kinds
