"""Section of a study: a part of the page, and files beside it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from soilcast.files import harmless_table
from soilcast.models.baselines import BASELINES
from soilcast.reporting import html
from soilcast.reporting.tables import markdown, plain, plain_label


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
        Name -> content of the files beside the page.
    verdict
        Its sentences at the top of the page.
    """

    body: html.Markup
    markdown: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    verdict: str = ""


def placeholder(reason: str) -> Section:
    """Section of a study without a result, and why."""
    return Section(html.paragraph(reason, note=True), f"{reason}\n")


def markdown_table(corner: str, heads: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """Give a table of models as GitHub Markdown."""
    return markdown(corner, heads, ((plain_label(row, BASELINES), values) for row, values in rows.items()))


def listed(lines: Iterable[str]) -> str:
    """Plain texts as a list in Markdown."""
    return "".join(f"- {plain(line)}\n" for line in lines)


def csv(frame: pd.DataFrame) -> bytes:
    """Write a table with six digits, in UTF-8."""
    stream = io.StringIO()
    harmless_table(frame).to_csv(stream, index=False, float_format="%.6g", lineterminator="\n")
    return stream.getvalue().encode()
