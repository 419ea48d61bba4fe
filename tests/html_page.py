"""Read a report as a browser would, for tests of what it says."""

from __future__ import annotations

import base64
import io
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

from PIL import Image

_VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """What a page holds; fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
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
        if "style" not in self.open:
            self.texts.append(data)
        if self.rows and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += f" {data}"

    def pictures(self) -> list[str]:
        return [str(attributes["src"]) for tag, attributes in self.tags if tag == "img"]

    def row(self, first: str) -> list[str]:
        return next(
            [cell.strip() for cell in row] for row in self.rows if row and row[0].split("*")[0].strip() == first
        )


def loads_and_runs_nothing(page: Page) -> None:
    """Fail if a page has a script, or names anything outside of itself."""
    assert "script" not in {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "action", "data", "srcset"):
                assert str(value).startswith(("data:", "#"))
            assert "url(" not in str(value)
    policy = [
        a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy
    assert "default-src 'none'" in str(policy[0])


def counted_pictures(page: Page) -> dict[str, int]:
    """Count the pictures of a page by their kind, after opening each."""
    kinds = {"png": 0, "svg": 0}
    for uri in page.pictures():
        head, _, encoded = uri.partition(",")
        raw = base64.b64decode(encoded, validate=True)
        if head == "data:image/png;base64":
            kinds["png"] += 1
            Image.open(io.BytesIO(raw)).verify()
        else:
            assert head == "data:image/svg+xml;base64"
            kinds["svg"] += 1
            ElementTree.fromstring(raw)
    return kinds
