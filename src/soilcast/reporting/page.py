"""Put the sections of one or several data sets together and write the page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.files import refuse_existing, whole_or_nothing
from soilcast.provenance import versions
from soilcast.reporting import html, sections
from soilcast.reporting.scores import open_scores
from soilcast.reporting.verdict import verdict

_SECTIONS: tuple[tuple[str, str, sections.Section, tuple[str, ...]], ...] = (
    ("scores", "Scores of all models and baselines", sections.scoreboard, ()),
    ("maps", "Maps", sections.maps, ()),
    ("series", "Time series", sections.series, ("pick_cell", "observed", "predicted")),
    ("zones", "Climate zones", sections.zones, ("climate_zone",)),
    ("physics", "Physical consistency", sections.physics, ()),
    ("training", "Training", sections.training, ()),
    ("provenance", "Provenance", sections.provenance, ()),
)
"""Anchor, heading, function, and the variables without which the section is left out."""


def report(scores: Sequence[Path], out: Path, *, title: str | None = None, overwrite: bool = False) -> None:
    """Write one self-contained HTML page on one or several Scores.

    The page needs no network and runs no script: pictures and style are inside.

    Parameters
    ----------
    scores
        Folders that `evaluate` wrote, or the ``scores.nc`` in them; one section each.
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
        raise SoilcastError("no scores are given: name at least one folder that soilcast evaluate wrote")
    refuse_existing(Path(out), overwrite=overwrite)
    opened = [open_scores(Path(path)) for path in scores]
    names = [_name(dataset, Path(path)) for dataset, path in zip(opened, scores, strict=True)]
    several = len(opened) > 1
    heading = title or ("Soil moisture forecasts: how good are they?" if several else names[0])
    body = _contents(opened, names) if several else ""
    body += "".join(_data_set(dataset, names[i] if several else None, i) for i, dataset in enumerate(opened))
    made = ", ".join(f"{package} {number}" for package, number in versions().items())
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    footer = f"Made by soilcast report on {when} ({made}). Coast: Natural Earth, public domain."
    subtitle = "Next-day soil moisture forecasts with physics-guided neural networks, judged beside persistence"
    with whole_or_nothing(Path(out), overwrite=overwrite) as partial:
        partial.write_text(html.page(heading, subtitle, body, footer), encoding="utf-8", errors="replace")


def _data_set(scores: xr.Dataset, name: str | None, position: int) -> str:
    shown = [row for row in _SECTIONS if all(variable in scores.variables for variable in row[3])]
    heading = f'<h2 id="data{position}">{escape(name)}</h2>' if name else '<div style="height:26px"></div>'
    links = "".join(f'<a href="#{anchor}{position}">{escape(text)}</a>' for anchor, text, *_ in shown)
    parts = "".join(
        f'<h3 id="{anchor}{position}">{escape(text)}</h3>{section(scores)}' for anchor, text, section, _ in shown
    )
    return f'<section class="data">{heading}{sections.headline(scores)}<nav class="jump">{links}</nav>{parts}</section>'


def _contents(opened: Sequence[xr.Dataset], names: Sequence[str]) -> str:
    items = "".join(
        f'<li><a href="#data{i}">{escape(name)}</a>'
        f"<span>Data: {escape(sections.content(scores))}. {escape(verdict(scores)[0])}</span></li>"
        for i, (scores, name) in enumerate(zip(opened, names, strict=True))
    )
    return f'<nav class="contents"><strong>Contents</strong><ol>{items}</ol></nav>'


def _name(scores: xr.Dataset, path: Path) -> str:
    folder = path.parent if path.suffix == ".nc" else path
    return str(scores.attrs.get("title", "")).strip() or folder.resolve().name
