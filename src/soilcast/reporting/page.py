"""Put the chapters on one or several artifacts together and write the page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import xarray as xr

from soilcast.cube import open_artifact
from soilcast.errors import SoilcastError
from soilcast.files import atomic_write, distinct_name, path_list, refuse_existing
from soilcast.reporting import html
from soilcast.reporting.artifacts import SCORES_FILE, artifact_file
from soilcast.reporting.chapters import CHAPTERS, NEEDS, Chapter
from soilcast.reporting.observations import with_observations
from soilcast.reporting.wording import content

_MIXED = "Soil moisture forecasts with physics-guided neural networks"


def report(
    scores: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    cube: str | Path | None = None,
    title: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write one self-contained HTML page on one or several Scores, or forecasts.

    The page needs no network: pictures, style and the few lines that sort its tables are inside, and the browser
    refuses anything else.

    Parameters
    ----------
    scores
        Folders that `evaluate` wrote, or the ``scores.nc`` in them; or forecasts, of which the last issue day is
        shown. One chapter each.
    out
        The HTML file.
    cube
        With the observations of the weeks before the issue day of a forecast, and since if it has them, which its fan
        charts then show.
    title
        Heading of the page; by default the title of the scores.
    overwrite
        Replace ``out`` if it exists.

    Raises
    ------
    SoilcastError
        No Scores are given, one cannot be read, ``out`` exists, or the cube lacks what the forecasts are of, or there
        is no forecast that it could stand beside.
    """
    if not scores:
        raise SoilcastError("no scores are given: name at least one output of soilcast evaluate")
    refuse_existing(Path(out), kind="page", overwrite=overwrite)
    paths = [Path(path) for path in path_list(scores)]
    opened = [_open(path) for path in paths]
    if cube is not None:
        opened = _beside_observations(opened, Path(cube))
    names = _names(opened, paths)
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


def _beside_observations(opened: Sequence[xr.Dataset], cube: Path) -> list[xr.Dataset]:
    is_forecast = [_chapter(dataset) is CHAPTERS["forecast"] for dataset in opened]
    if not any(is_forecast):
        raise SoilcastError(f"{cube}: a cube is shown beside forecasts, and none is given: leave it out")
    return [
        with_observations(dataset, cube) if has_fans else dataset
        for dataset, has_fans in zip(opened, is_forecast, strict=True)
    ]


def _names(opened: Sequence[xr.Dataset], paths: Sequence[Path]) -> list[str]:
    """Titles of the chapters, those of one title with what distinguishes their paths."""
    folders = [path.parent if path.name == SCORES_FILE else path for path in paths]
    titles = [
        str(dataset.attrs.get("title", "")).strip() or folder.resolve().name
        for dataset, folder in zip(opened, folders, strict=True)
    ]
    shared = [[one for one, name in zip(folders, titles, strict=True) if name == title] for title in titles]
    return [
        f"{title} ({distinct_name(folder, alike)})" if len(alike) > 1 else title
        for title, folder, alike in zip(titles, folders, shared, strict=True)
    ]
