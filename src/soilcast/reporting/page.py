"""Put the chapters on one or several artifacts together and write the page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import xarray as xr

from soilcast.cube import open_artifact
from soilcast.errors import SoilcastError
from soilcast.files import atomic_write, refuse_existing
from soilcast.provenance import versions
from soilcast.reporting import html
from soilcast.reporting.artifacts import SCORES_FILE, artifact_file
from soilcast.reporting.chapters import CHAPTERS, NEEDS, Chapter
from soilcast.reporting.wording import content

_MIXED = "Soil moisture forecasts with physics-guided neural networks"


def report(scores: Sequence[Path], out: Path, *, title: str | None = None, overwrite: bool = False) -> None:
    """Write one self-contained HTML page on one or several Scores, or forecasts.

    The page needs no network and runs no script: pictures and style are inside.

    Parameters
    ----------
    scores
        Folders that `evaluate` wrote, or the ``scores.nc`` in them; or forecasts, of which the last issue day is
        shown. One chapter each.
    out
        The HTML file.
    title
        Heading of the page; by default the title of the scores.
    overwrite
        Replace ``out`` if it exists.

    Raises
    ------
    SoilcastError
        No Scores are given, one cannot be read, or ``out`` exists.
    """
    if not scores:
        raise SoilcastError("no scores are given: name at least one output of soilcast evaluate")
    refuse_existing(Path(out), overwrite=overwrite)
    opened = [_open(Path(path)) for path in scores]
    names = [_name(dataset, Path(path)) for dataset, path in zip(opened, scores, strict=True)]
    several = len(opened) > 1
    chapters = [_chapter(dataset) for dataset in opened]
    alike = all(chapter is chapters[0] for chapter in chapters)
    heading = title or ((chapters[0].heading if alike else _MIXED) if several else names[0])
    body = _contents(opened, names) if several else ""
    body += "".join(_drawn(dataset, names[i] if several else None, i) for i, dataset in enumerate(opened))
    made = ", ".join(f"{package} {number}" for package, number in versions().items())
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    footer = f"Made by soilcast report on {when} ({made}). Coast: Natural Earth, public domain."
    subtitle = chapters[0].subtitle if alike else _MIXED
    with atomic_write(Path(out), overwrite=overwrite) as partial:
        partial.write_text(html.page(heading, subtitle, body, footer), encoding="utf-8", errors="replace")


def _open(path: Path) -> xr.Dataset:
    file = artifact_file(path)
    opened = open_artifact(file, *CHAPTERS)
    return _chapter(opened).load(opened, file)


def _chapter(dataset: xr.Dataset) -> Chapter:
    return CHAPTERS[str(dataset.attrs["soilcast_kind"])]


def _drawn(dataset: xr.Dataset, name: str | None, position: int) -> str:
    """Draw the chapter on an artifact, the ``position``-th of the page."""
    sections = _chapter(dataset).sections
    missing = {section: section.missing(dataset) for section in sections}
    drawn = [(section, section.draw(dataset)) for section in sections if not missing[section]]
    above = "".join(inner for section, inner in drawn if not section.heading)
    below = [(section, inner) for section, inner in drawn if section.heading and inner]
    heading = f'<h2 id="data{position}">{escape(name)}</h2>' if name else '<div style="height:26px"></div>'
    links = "".join(f'<a href="#{one.anchor}{position}">{escape(one.heading)}</a>' for one, _ in below)
    left_out = dict.fromkeys(NEEDS[need].lacking for needs in missing.values() for need in needs)
    note = html.paragraph(" ".join(text for text in left_out if text), note=True) if any(left_out) else ""
    parts = "".join(f'<h3 id="{one.anchor}{position}">{escape(one.heading)}</h3>{inner}' for one, inner in below)
    return f'<section class="data">{heading}{above}<nav class="jump">{links}</nav>{note}{parts}</section>'


def _contents(opened: Sequence[xr.Dataset], names: Sequence[str]) -> str:
    items = "".join(
        f'<li><a href="#data{i}">{escape(name)}</a>'
        f"<span>Data: {escape(content(dataset))}. {escape(_chapter(dataset).sentences(dataset)[0])}</span></li>"
        for i, (dataset, name) in enumerate(zip(opened, names, strict=True))
    )
    return f'<nav class="contents"><strong>Contents</strong><ol>{items}</ol></nav>'


def _name(dataset: xr.Dataset, path: Path) -> str:
    folder = path.parent if path.name == SCORES_FILE else path
    return str(dataset.attrs.get("title", "")).strip() or folder.resolve().name
