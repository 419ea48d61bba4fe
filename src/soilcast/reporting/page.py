"""Put the chapters on one or several artifacts together and write the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import xarray as xr

from soilcast.cube import open_artifact
from soilcast.errors import SoilcastError
from soilcast.files import atomic_write, distinct_name, path_list, refuse_existing
from soilcast.reporting import html
from soilcast.reporting.artifacts import SCORES_FILE, artifact_file
from soilcast.reporting.chapters import CHAPTERS, NEEDS, Chapter
from soilcast.reporting.observations import beside_record, with_observations
from soilcast.reporting.regional import RegionFile, forecast_of_regions, regions_of_scores, with_outlines
from soilcast.reporting.wording import content

_MIXED = "Soil moisture forecasts with physics-guided neural networks"


def report(
    scores: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    cube: str | Path | None = None,
    regions: str | Path | None = None,
    region_name: str | None = None,
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
        shown. One chapter each, and one more on the regions of scores that have them.
    out
        The HTML file.
    cube
        With the observations of the weeks before the issue day of a forecast, and since if it has them, which its fan
        charts then show; and for percentile, class and odds of ``regions``.
    regions
        File of regions (`soilcast.regions.reading.read_outlines`): each forecast has one more chapter on their means,
        and maps of scores of regions have their outlines.
    region_name
        Attribute that names them.
    title
        Heading of the page; by default the title of the scores.
    overwrite
        Replace ``out`` if it exists.

    Raises
    ------
    SoilcastError
        No Scores are given, one cannot be read, ``out`` exists, or the cube lacks what the forecasts are of, or there
        is no forecast that it could stand beside; regions that cannot be read, overlap no cell or are not those of the
        scores.
    """
    if not scores:
        raise SoilcastError("no scores are given: name at least one output of soilcast evaluate")
    refuse_existing(Path(out), kind="page", overwrite=overwrite)
    file = None if regions is None else RegionFile(Path(regions), region_name)
    given = [Path(path) for path in path_list(scores)]
    shown = [one for path in given for one in _open(path, file, None if cube is None else Path(cube))]
    paths, opened = [path for path, _ in shown], [dataset for _, dataset in shown]
    if cube is not None and all(_chapter(dataset) is not CHAPTERS["forecast"] for dataset in opened):
        raise SoilcastError(f"{cube}: a cube is shown beside forecasts, and none is given: leave it out")
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


def _open(path: Path, regions: RegionFile | None, cube: Path | None) -> Iterator[tuple[Path, xr.Dataset]]:
    """What is shown of an artifact: itself, and its regions."""
    file = artifact_file(path)
    opened = open_artifact(file, *CHAPTERS)
    chapter = _chapter(opened)
    if chapter is CHAPTERS["forecast"]:
        if regions is not None:
            made, record = forecast_of_regions(opened, regions, cube)
            shown = chapter.load(made, file)
            yield path, shown if cube is None else beside_record(shown, record, cube)
        loaded = chapter.load(opened, file)
        yield path, loaded if cube is None else with_observations(loaded, cube)
        return
    yield path, chapter.load(opened, file)
    inside = regions_of_scores(path) if chapter is CHAPTERS["scores"] else None
    if inside is not None:
        of_regions = chapter.load(open_artifact(inside, "scores"), inside)
        yield inside, of_regions if regions is None else with_outlines(of_regions, inside, regions)
    elif regions is not None:
        raise SoilcastError(f"{path}: it has no scores of regions: evaluate with --regions, or leave it out here")


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
