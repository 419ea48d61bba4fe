"""The HTML of pages, by templates that escape every text; no script, nothing loaded from elsewhere."""

from __future__ import annotations

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
    """Fill in the template of a whole page."""
    return _TEMPLATES.get_template(template).render(**values, versions=versions())
