"""What a forecast leaves out, counted block by block, with the places and the reasons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from soilcast.cube import read
from soilcast.forecasting.block import BlockForecast
from soilcast.forecasting.request import OpenedRequest
from soilcast.training.coverage import LISTED, list_cells
from soilcast.training.statistics import MOST_BEYOND

Tally = dict[str, tuple[int, int, list[int]]]
"""What happens -> cell-days, cells, and the first of these by position."""

_MISSING, _CLIPPED = "missing ", "clipped "
"""What begins the names of a tally that are about an input."""


def tally_block(opened: OpenedRequest, made: BlockForecast, cells: slice) -> Tally:
    """Count what a block of cells leaves out, by the first reason that holds, and what it clips."""
    task, rows, usable = opened.run.config.task, opened.rows[cells], opened.usable[cells]
    counts: dict[str, npt.NDArray[np.int64]] = {}
    issues = made.without_inputs.shape[1]
    counts["the run has not seen the cell, whose statistics it needs"] = issues * (rows < 0)
    counts["the cell was left out of training"] = issues * ((rows >= 0) & ~usable)
    counts[f"no {' or '.join(task.layers)} to start from"] = made.without_soil.sum(axis=1)
    without_inputs = made.without_inputs.copy()
    for name in task.static:
        absent = ~np.isfinite(read(opened.cube, name, cells))
        counts[f"{name} is missing"] = np.where(absent, without_inputs.sum(axis=1), 0)
        without_inputs[absent] = False
    ahead = "" if opened.weather is None else ", or in the forecast of the weather"
    counts[f"an input is missing within the window{ahead}"] = without_inputs.sum(axis=1)
    gaps = without_inputs.any(axis=1)
    for feature, name in enumerate(task.dynamic):
        counts[_MISSING + name] = np.where(gaps, made.missing[:, feature], 0)
        counts[_CLIPPED + name] = np.where(usable, made.clipped[:, feature], 0)
    return {
        what: (int(days.sum()), int(np.count_nonzero(days)), [*map(int, np.flatnonzero(days)[:LISTED] + cells.start)])
        for what, days in counts.items()
        if days.any()
    }


def notes_of(opened: OpenedRequest, tallies: Mapping[int, Tally]) -> Iterator[str]:
    """Put the tallies of all blocks into lines, after what the run says of its intervals."""
    if opened.run.calibration is not None:
        yield from opened.run.calibration.notes()
    yield from _without_weather(opened)
    cells, issues = opened.cube.sizes["cell"], len(opened.issues)
    names: dict[tuple[str, str], list[str]] = {}
    for what, (days, count, some) in _added(tallies[number] for number in sorted(tallies)).items():
        where = list_cells(opened.cube, some, count)
        begin = next((begin for begin in (_MISSING, _CLIPPED) if what.startswith(begin)), "")
        if begin:
            names.setdefault((begin, f"{days:,} of the cell-days that were read ({where})"), []).append(
                what.removeprefix(begin)
            )
        else:
            yield f"{days:,} of {cells * issues:,} cell-days are not forecast: {what} ({where})"
    for (begin, where), variables in names.items():
        clipped = f": more than {MOST_BEYOND:g} times the width of the training range beyond it"
        yield f"{', '.join(variables)} {begin}on {where}{clipped if begin == _CLIPPED else ''}"
    absent = [layer for layer in opened.run.config.task.layers if layer not in opened.cube]
    if absent and opened.request.issue is not None:
        yield f"no percentile, anomaly or drought class of {', '.join(absent)}: the cube has no record of it"


def _without_weather(opened: OpenedRequest) -> Iterator[str]:
    """Say what was left out of the weather forecasts, and count the issue days that an archive lacks."""
    if opened.weather is not None:
        yield from opened.weather.notes
        covered = opened.weather.covered[opened.issues - opened.issues[0]]
        if not covered.all():
            first = opened.issue_days[~covered][0].astype("datetime64[D]")
            yield (
                f"{np.count_nonzero(~covered):,} of {len(covered):,} issue days have no forecast of the weather in "
                f"{opened.weather.title} (the first is {first})"
            )


def _added(tallies: Iterable[Tally]) -> Tally:
    total: Tally = {}
    for tally in tallies:
        for what, (days, cells, some) in tally.items():
            before = total.get(what, (0, 0, []))
            total[what] = (before[0] + days, before[1] + cells, [*before[2], *some][:LISTED])
    return total
