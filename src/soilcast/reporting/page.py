"""Put the sections of one or several data sets together and write the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import xarray as xr

from soilcast.cube import open_artifact
from soilcast.errors import SoilcastError
from soilcast.files import refuse_existing, whole_or_nothing
from soilcast.provenance import versions
from soilcast.reporting import coming_days, html, outlook_sections, sections
from soilcast.reporting.outlook_scores import load_outlook_scores
from soilcast.reporting.outlook_verdict import outlook_verdict
from soilcast.reporting.outlooks import load_outlook
from soilcast.reporting.scores import FILE, artifact_file, load_scores
from soilcast.reporting.verdict import verdict

_SERIES = ("pick_cell", "observed", "predicted")


@dataclass(frozen=True)
class Chapter:
    """What a page says of one kind of artifact.

    Parameters
    ----------
    load
        Loads what is opened, given the file for messages, and refuses what no page can be made of.
    told
        Plain sentences, of which the first stands in the contents of a page on several.
    headline
        What stands above the sections.
    sections
        Anchor, heading, function, and the variables without which a section is left out; so is one that is empty.
    heading, subtitle
        Of a page; the heading where it is on several artifacts.
    """

    load: Callable[[xr.Dataset, Path], xr.Dataset]
    told: Callable[[xr.Dataset], list[str]]
    headline: sections.Section
    sections: tuple[tuple[str, str, sections.Section, tuple[str, ...]], ...]
    heading: str
    subtitle: str


CHAPTERS: dict[str, Chapter] = {
    "scores": Chapter(
        load_scores,
        verdict,
        sections.headline,
        (
            ("scores", "Scores of all models and baselines", sections.scoreboard, ()),
            ("maps", "Maps", sections.maps, ()),
            ("series", "Time series", sections.series, _SERIES),
            ("zones", "Climate zones", sections.zones, ("climate_zone",)),
            ("physics", "Physical consistency", sections.physics, ()),
            ("training", "Training", sections.training, ()),
            ("provenance", "Provenance", sections.provenance, ()),
        ),
        "Soil moisture forecasts: how good are they?",
        "Next-day soil moisture forecasts with physics-guided neural networks, judged beside persistence",
    ),
    "outlook_scores": Chapter(
        load_outlook_scores,
        outlook_verdict,
        outlook_sections.headline,
        (
            ("scores", "Scores of all models and baselines by lead", outlook_sections.lead_tables, ()),
            ("leads", "Error and skill by lead", outlook_sections.lead_figures, ()),
            ("maps", "Maps", outlook_sections.maps, ()),
            ("uncertainty", "Uncertainty", outlook_sections.uncertainty, ()),
            ("extremes", "Driest and wettest days", outlook_sections.extremes, ()),
            ("fans", "Outlooks and what came", outlook_sections.fan_charts, (*_SERIES, "day")),
            ("training", "Training", sections.training, ()),
            ("provenance", "Provenance", sections.provenance, ()),
        ),
        "Soil moisture outlooks: how good are they?",
        "Soil moisture outlooks of several days, judged at every lead beside persistence and other baselines",
    ),
    "outlook": Chapter(
        load_outlook,
        coming_days.coming_sentences,
        coming_days.headline,
        (
            ("maps", "Maps of the coming days", coming_days.maps, ()),
            ("drought", "Drought classes by day", coming_days.drought, ()),
            ("fans", "Cells and their intervals", coming_days.fan_charts, ()),
            ("provenance", "Provenance", coming_days.provenance, ()),
        ),
        "Soil moisture of the coming days",
        "An outlook of soil moisture by a neural network",
    ),
}
"""Every kind of artifact that a page can be made of, by its `soilcast_kind`."""

_MIXED = "Soil moisture forecasts with physics-guided neural networks"


def report(scores: Sequence[Path], out: Path, *, title: str | None = None, overwrite: bool = False) -> None:
    """Write one self-contained HTML page on one or several Scores, or outlooks.

    The page needs no network and runs no script: pictures and style are inside.

    Parameters
    ----------
    scores
        Folders that `evaluate` wrote, or the ``scores.nc`` in them, of next-day forecasts or of outlooks; or outlooks,
        of which the last issue day is shown. One section each.
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
    opened = [_open(Path(path)) for path in scores]
    names = [_name(dataset, Path(path)) for dataset, path in zip(opened, scores, strict=True)]
    several = len(opened) > 1
    chapters = [_chapter(dataset) for dataset in opened]
    alike = all(chapter is chapters[0] for chapter in chapters)
    heading = title or ((chapters[0].heading if alike else _MIXED) if several else names[0])
    body = _contents(opened, names) if several else ""
    body += "".join(_data_set(dataset, names[i] if several else None, i) for i, dataset in enumerate(opened))
    made = ", ".join(f"{package} {number}" for package, number in versions().items())
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    footer = f"Made by soilcast report on {when} ({made}). Coast: Natural Earth, public domain."
    subtitle = chapters[0].subtitle if alike else _MIXED
    with whole_or_nothing(Path(out), overwrite=overwrite) as partial:
        partial.write_text(html.page(heading, subtitle, body, footer), encoding="utf-8", errors="replace")


def _open(path: Path) -> xr.Dataset:
    file = artifact_file(path)
    opened = open_artifact(file, *CHAPTERS)
    return _chapter(opened).load(opened, file)


def _chapter(dataset: xr.Dataset) -> Chapter:
    return CHAPTERS[str(dataset.attrs["soilcast_kind"])]


def _data_set(dataset: xr.Dataset, name: str | None, position: int) -> str:
    chapter = _chapter(dataset)
    made = [
        (anchor, text, section(dataset))
        for anchor, text, section, needed in chapter.sections
        if all(variable in dataset.variables for variable in needed)
    ]
    shown = [row for row in made if row[2]]
    heading = f'<h2 id="data{position}">{escape(name)}</h2>' if name else '<div style="height:26px"></div>'
    links = "".join(f'<a href="#{anchor}{position}">{escape(text)}</a>' for anchor, text, _ in shown)
    parts = "".join(f'<h3 id="{anchor}{position}">{escape(text)}</h3>{inner}' for anchor, text, inner in shown)
    above = chapter.headline(dataset)
    return f'<section class="data">{heading}{above}<nav class="jump">{links}</nav>{parts}</section>'


def _contents(opened: Sequence[xr.Dataset], names: Sequence[str]) -> str:
    items = "".join(
        f'<li><a href="#data{i}">{escape(name)}</a>'
        f"<span>Data: {escape(sections.content(dataset))}. {escape(_chapter(dataset).told(dataset)[0])}</span></li>"
        for i, (dataset, name) in enumerate(zip(opened, names, strict=True))
    )
    return f'<nav class="contents"><strong>Contents</strong><ol>{items}</ol></nav>'


def _name(scores: xr.Dataset, path: Path) -> str:
    folder = path.parent if path.name == FILE else path
    return str(scores.attrs.get("title", "")).strip() or folder.resolve().name
