"""What a study comes to: a part of the page, and files beside it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import pandas as pd

from soilcast.models.baselines import BASELINES
from soilcast.reporting import html
from soilcast.reporting.scores import PERSISTENCE
from soilcast.reporting.tables import plain


@dataclass(frozen=True)
class Section:
    """A study in the dossier.

    Parameters
    ----------
    body
        HTML.
    markdown
        The same, shorter, as GitHub Markdown.
    files
        Name -> content of what lies beside the page.
    verdict
        What is said of it at the top of the page.
    """

    body: str
    markdown: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    verdict: str = ""


def nothing(why: str) -> Section:
    """Say that there is nothing to show."""
    return Section(html.paragraph(why, note=True), f"{why}\n")


def html_table(corner: str, heads: Iterable[str], rows: Mapping[str, str], *, star: bool = False) -> str:
    """Draw a table of models: heads and, by model, cells are HTML; with a ``star`` at persistence for a note."""
    body = []
    for row, cells in rows.items():
        kind = ("baseline" if row in BASELINES else "network") + (" first" if row == PERSISTENCE else "")
        mark = "<sup>*</sup>" if star and row == PERSISTENCE else ""
        body.append(f'<tr class="{kind}"><th scope=row>{escape(row)}{mark}</th>{cells}</tr>')
    return (
        f'<div class="scroll"><table class="scores wider"><thead><tr><th scope="col">{corner}</th>{"".join(heads)}</tr>'
        f"</thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def markdown_table(corner: str, heads: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """Give a table of models as GitHub Markdown."""
    lines = [f"| {corner} | " + " | ".join(heads) + " |", "|:--|" + "--:|" * len(heads)]
    for row, values in rows.items():
        name = f"*{plain(row)}*" if row in BASELINES else plain(row)
        lines.append(f"| {name} | " + " | ".join(values) + " |")
    return "\n".join(lines) + "\n"


def listed(lines: Iterable[str]) -> str:
    """Plain texts as a list in Markdown."""
    return "".join(f"- {plain(line)}\n" for line in lines)


def csv(frame: pd.DataFrame) -> bytes:
    """Write a table with six digits, in UTF-8."""
    stream = io.StringIO()
    frame.to_csv(stream, index=False, float_format="%.6g", lineterminator="\n")
    return stream.getvalue().encode()
