"""Put the chapters on one or several artifacts together and write the page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import xarray as xr

from soilcast.cube import open_artifact
from soilcast.errors import SoilcastError
from soilcast.files import atomic_write, path_list, refuse_existing
from soilcast.reporting import html
from soilcast.reporting.artifacts import SCORES_FILE, artifact_file
from soilcast.reporting.chapters import CHAPTERS, NEEDS, Chapter
from soilcast.reporting.wording import content

_MIXED = "Soil moisture forecasts with physics-guided neural networks"


def report(
    scores: str | Path | Sequence[str | Path], out: str | Path, *, title: str | None = None, overwrite: bool = False
) -> None:
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
    refuse_existing(Path(out), kind="page", overwrite=overwrite)
    paths = [Path(path) for path in path_list(scores)]
    opened = [_open(path) for path in paths]
    names = [_name(dataset, path) for dataset, path in zip(opened, paths, strict=True)]
    kinds = [_chapter(dataset) for dataset in opened]
    is_uniform = all(kind is kinds[0] for kind in kinds)
    text = html.page(
        "report.html.j2",
        title=title or (names[0] if len(names) == 1 else kinds[0].heading if is_uniform else _MIXED),
        subtitle=kinds[0].subtitle if is_uniform else _MIXED,
        command=f"soilcast report on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        chapters=[_drawn(dataset, name) for dataset, name in zip(opened, names, strict=True)],
    )
    with atomic_write(Path(out), kind="page", overwrite=overwrite) as partial:
        partial.write_text(text, encoding="utf-8", errors="replace")


def _open(path: Path) -> xr.Dataset:
    file = artifact_file(path)
    opened = open_artifact(file, *CHAPTERS)
    return _chapter(opened).load(opened, file)


def _chapter(dataset: xr.Dataset) -> Chapter:
    return CHAPTERS[str(dataset.attrs["soilcast_kind"])]


def _drawn(dataset: xr.Dataset, name: str) -> dict[str, object]:
    """Draw the chapter on an artifact."""
    chapter = _chapter(dataset)
    missing = {section: section.missing(dataset) for section in chapter.sections}
    messages = dict.fromkeys(NEEDS[need].message for needs in missing.values() for need in needs)
    return {
        "name": name,
        "summary": f"Data: {content(dataset)}. {chapter.sentences(dataset)[0]}",
        "drawn": [(section, section.draw(dataset)) for section in chapter.sections if not missing[section]],
        "left_out": " ".join(text for text in messages if text),
    }


def _name(dataset: xr.Dataset, path: Path) -> str:
    folder = path.parent if path.name == SCORES_FILE else path
    return str(dataset.attrs.get("title", "")).strip() or folder.resolve().name
