"""What a training or a forecast leaves out of a cube, counted, with the places and the reasons, in lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import read
from soilcast.models import HEADS, ClosingHead
from soilcast.task import PAPER, AutoInputs, Task
from soilcast.training.build import layout_of
from soilcast.training.cell_guidance import guidance_notes
from soilcast.training.config import Config
from soilcast.training.dataset import Dataset
from soilcast.training.inputs import cell_blocks
from soilcast.training.samples import SampleIndex
from soilcast.training.split import Periods, Split, learning_cells
from soilcast.training.statistics import MOST_BEYOND, Statistics
from soilcast.weather import Weather

Bools = npt.NDArray[np.bool_]

LISTED = 3
"""Cells that a line names; the others are counted."""


def cell_label(cube: xr.Dataset, cell: int) -> str:
    """Name a cell: by its name, or by its place."""
    if "cell_name" in cube:
        return str(cube["cell_name"].to_numpy()[cell])
    lat, lon = float(cube["lat"][cell]), float(cube["lon"][cell])
    return f"{abs(lat):g}{'N' if lat >= 0 else 'S'} {abs(lon):g}{'E' if lon >= 0 else 'W'}"


def list_cells(cube: xr.Dataset, some: Sequence[int], count: int) -> str:
    """Name the first of ``count`` cells, whose positions ``some`` begins with."""
    named = ", ".join(cell_label(cube, cell) for cell in some[:LISTED])
    return f"{named} and {count - LISTED:,} more" if count > LISTED else named


def name_cells(cube: xr.Dataset, cells: Bools) -> str:
    """Do what `list_cells` does for a mask ``(cell,)``."""
    chosen = np.flatnonzero(cells)
    return list_cells(cube, [*map(int, chosen[:LISTED])], len(chosen))


def auto_note(task: Task, variables: Sequence[str]) -> Iterator[str]:
    """Say which of the paper's inputs a cube lacks, where ``auto`` leaves them out."""
    keys = [key for key in PAPER if isinstance(getattr(task, key), AutoInputs)]
    missing = [name for key in keys for name in PAPER[key] if name not in variables]
    if missing:
        used = [name for key in keys for name in PAPER[key] if name in variables]
        yield (
            f"inputs (auto): {', '.join(used) or 'none'}; of the paper's the cube lacks {', '.join(missing)} "
            f"(to insist on them: {' '.join(f'--set task.{key}=paper' for key in keys)})"
        )


def training_notes(cube: xr.Dataset, config: Config, split: Split, dataset: Dataset) -> Iterator[str]:
    """Say what a training leaves out, and why.

    Parameters
    ----------
    cube
        The opened cube.
    config
        Of the run, its inputs those of the cube.
    """
    task = config.task
    for reason, cells in _cells_left_out(cube, config, split, dataset):
        yield f"{cells.sum():,} of {len(cells):,} cells left out of training: {reason} ({name_cells(cube, cells)})"
    for name, parts, index in (
        ("training", split.train, dataset.training),
        ("validation", split.validation, dataset.validation),
    ):
        yield _period_line(name, parts, index, task)
    yield from _snow_note(config)
    yield from guidance_notes(cube, config, dataset.training.by_cell > 0)
    yield from _evaporation_note(config)
    yield from _unobserved(cube, task, split, dataset)
    yield from _gaps(cube, task, dataset)
    tested = _observed_cells(cube, task, split.test)
    if not tested.all():
        yield (
            f"{(~tested).sum():,} of {len(tested):,} cells have no {' or '.join(task.layers)} in the test period, and "
            f"so no score ({name_cells(cube, ~tested)}): set split.test to days that they have"
        )
    yield from substitution_notes(cube, dataset.statistics, task)
    yield from clip_notes(cube, task, dataset.clipped, dataset.samples.observed.shape[1])


def archive_notes(weather: Weather, config: Config, split: Split, first: int) -> Iterator[str]:
    """Name the archive that the weather of the forecast days is from, and count the issue days that it lacks.

    Parameters
    ----------
    weather
        Of every day of the samples, the first of which is at position ``first`` of the cube.
    """
    yield f"weather of the forecast days: {weather.title} ({weather.kind})"
    for name, parts in (("training", split.train), ("validation", split.validation)):
        last = [max(part.start, part.stop - config.task.lead_days + 1) for part in parts]
        issues = (
            np.concatenate([np.arange(part.start, stop) for part, stop in zip(parts, last, strict=True)]) - 1 - first
        )
        lacking = ~weather.covered[issues[issues >= 0]]
        if lacking.any():
            yield (
                f"{np.count_nonzero(lacking):,} of {len(lacking):,} issue days of {name} have no forecast in it, and "
                "are left out"
            )


def substitution_notes(cube: xr.Dataset, statistics: Statistics, task: Task) -> Iterator[str]:
    """Name the inputs and cells that vary too little for a scale of their own."""
    for name in task.dynamic:
        cells = statistics.scalings[name].substituted
        if len(cells) > 1 and cells.any():
            yield (
                f"{name} hardly varies on the training days in {cells.sum():,} of {len(cells):,} cells "
                f"({name_cells(cube, cells)}): there it is scaled by the usual spread of the others"
            )


def clip_notes(cube: xr.Dataset, task: Task, clipped: npt.NDArray[np.int64], days: int) -> Iterator[str]:
    """Count the values of each input that are clipped, ``clipped`` ``(cell, feature)`` of some days each."""
    for feature, name in enumerate(task.dynamic):
        if (count := int(clipped[:, feature].sum())) > 0:
            yield (
                f"{name} is clipped on {count:,} of {len(clipped) * days:,} cell-days "
                f"({name_cells(cube, clipped[:, feature] > 0)}): more than {MOST_BEYOND:g} times the width of its "
                "training range beyond it"
            )


def _evaporation_note(config: Config) -> Iterator[str]:
    """Say that a water balance cannot tell drying."""
    if any("E" not in one.water.terms for one in config.guided):
        yield (
            "water.terms has no evaporation, so the water balance cannot tell drying from rest: compare with an "
            "unguided run (--model lstm)"
        )


def _snow_note(config: Config) -> Iterator[str]:
    """Say that a water balance knows no snow melt."""
    if issubclass(HEADS[config.head.name], ClosingHead) and set(layout_of(config).surface_inputs) == {"tp"}:
        yield (
            f"head.name={config.head.name} knows no snow melt: all precipitation reaches the soil on the day on which "
            "it falls; for melt add sd, or sf and smlt, to task.dynamic and task.known_future"
        )


def _cells_left_out(cube: xr.Dataset, config: Config, split: Split, dataset: Dataset) -> Iterator[tuple[str, Bools]]:
    """Give the cells without a training sample ``(cell,)`` by the first reason that holds."""
    left = dataset.training.by_cell == 0
    task = config.task
    reasons: list[tuple[str, Bools]] = [
        ("split.cells_share and split.without_climate exclude them", ~learning_cells(cube, config.split))
    ]
    if not dataset.learnable.all():
        reasons += [
            (f"{layer} is missing on all training days", ~_observed_cells(cube, task, split.train, layer))
            for layer in task.layers
        ]
        reasons.append((f"{' or '.join(task.layers)} is constant on the training days", ~dataset.learnable))
    reasons += [(f"{name} is missing", ~np.isfinite(read(cube, name))) for name in task.static]
    days = dataset.samples.observed.shape[1]
    reasons += [
        (f"{name} is missing on all days", dataset.missing[:, feature] == days)
        for feature, name in enumerate(task.dynamic)
    ]
    reasons.append(("no window without a gap in the inputs before a day with soil moisture", np.ones_like(left)))
    for reason, cells in reasons:
        if (chosen := left & cells).any():
            yield reason, chosen
        left = left & ~cells


def _period_line(name: str, parts: Periods, index: SampleIndex, task: Task) -> str:
    """Give the cells and cell-days of a period that are learnt from, of those that could be."""
    possible = sum(max(0, part.stop - part.start - task.lead_days + 1) for part in parts)
    cells = len(index.by_cell)
    return (
        f"{name}: {np.count_nonzero(index.by_cell):,} of {cells:,} cells, {len(index):,} of {cells * possible:,} "
        "cell-days"
    )


def _unobserved(cube: xr.Dataset, task: Task, split: Split, dataset: Dataset) -> Iterator[str]:
    """Count the training days without soil moisture, in the cells that are learnt from."""
    cells = dataset.training.by_cell > 0
    days = sum(part.stop - part.start for part in split.train)
    for number, layer in enumerate(task.layers):
        gaps = np.where(cells, dataset.unobserved[:, number], 0)
        if gaps.any():
            yield (
                f"{layer} missing on {gaps.sum():,} of {cells.sum() * days:,} cell-days of training "
                f"({name_cells(cube, gaps > 0)})"
            )


def _gaps(cube: xr.Dataset, task: Task, dataset: Dataset) -> Iterator[str]:
    """Name the inputs that have gaps, each of which costs the days of a window."""
    days = dataset.samples.observed.shape[1]
    cells = dataset.training.by_cell > 0
    counts = np.where(cells[:, np.newaxis], dataset.missing, 0)
    for gaps in dict.fromkeys(map(tuple, counts.T.tolist())):
        if any(gaps):
            names = [name for name, mine in zip(task.dynamic, counts.T, strict=True) if tuple(mine.tolist()) == gaps]
            yield (
                f"{', '.join(names)} missing on {sum(gaps):,} of {cells.sum() * days:,} cell-days "
                f"({name_cells(cube, np.array(gaps) > 0)}), and no window with such a day is learnt from: fill gaps in "
                "the source, or name other inputs in task.dynamic"
            )


def _observed_cells(cube: xr.Dataset, task: Task, parts: Periods, layer: str | None = None) -> Bools:
    """Say which cells have soil moisture on some day of periods ``(cell,)``, of one layer or of every one."""
    cells = cube.sizes["cell"]
    there = np.zeros((len(task.layers), cells), dtype=np.bool_)
    for part in parts:
        seen = cube.isel(time=part)
        for number, name in enumerate(task.layers):
            for block in cell_blocks(cells, part.stop - part.start, 1):
                if layer in (None, name):
                    there[number, block] |= np.isfinite(read(seen, name, block)).any(axis=1)
    return np.asarray(there.all(axis=0) if layer is None else there[task.layers.index(layer)])
