"""The HTML of pages, by templates that escape every text; one script of our own, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup as Markup

from soilcast.provenance import versions

_TEMPLATES = Environment(
    loader=PackageLoader("soilcast.reporting"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
_PARTS = _TEMPLATES.get_template("parts.html.j2").module

_SCRIPT = _TEMPLATES.get_template("sort.js").render()

NOTHING = Markup()


class Cell(NamedTuple):
    """Content of a cell of a table: a text above another, or lines; ``kind`` are its classes."""

    upper: str = ""
    lower: str = ""
    kind: str = ""
    lines: Sequence[str] = ()


def __getattr__(name: str) -> Callable[..., Markup]:
    """Give a macro of ``parts.html.j2``."""
    return cast(Callable[..., Markup], getattr(_PARTS, name))


def joined(parts: Iterable[str]) -> Markup:
    """Put pieces of HTML one after the other; what is no HTML yet is escaped."""
    return Markup().join(parts)


def page(template: str, **values: object) -> str:
    """Fill in the template of a whole page, with the script that sorts its tables and the hash that alone allows it."""
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    return _TEMPLATES.get_template(template).render(
        **values, versions=versions(), script=Markup(_SCRIPT), script_hash=f"sha256-{digest}"
    )
