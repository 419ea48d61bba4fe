"""The scores of a block of cells: the same to the bit whatever the block, and whoever computes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cluster import work_on_cluster
from soilcast.cube import open_artifact, open_cube, read
from soilcast.cube.calendar import Days
from soilcast.errors import SoilcastError
from soilcast.models.baselines import BASELINES, Lag
from soilcast.progress import progress_bar
from soilcast.verify.consistency import Balance, balance_signs, day_before
from soilcast.verify.entries import FORECAST, Entry, days_judged, mark_of
from soilcast.verify.metrics import score_cells
from soilcast.water import physical_consistency

GROUP = 64
"""Cells whose baselines are computed together. Sums of matrix products depend in their last bit on how many rows there
are, so groups begin at multiples of this, whatever the block."""

Floats = npt.NDArray[np.float32]
Cells = npt.NDArray[np.float64]
Scored = TypeVar("Scored")


@dataclass(frozen=True)
class Case:
    """What is judged, and on which days: all that a worker needs beside the numbers of the cells.

    Parameters
    ----------
    cube
        Its path.
    forecasts
        Label -> path.
    marks
        Path -> `mark_of` what is meant to be there.
    target
        The variable that is forecast.
    learn
        ``(time,)``, the days of training and validation.
    test
        The test days, as positions along time.
    balance
        How the water balance is read.
    """

    cube: Path
    forecasts: Mapping[str, Path]
    marks: Mapping[Path, str]
    target: str
    learn: npt.NDArray[np.bool_]
    test: slice
    balance: Balance


@dataclass(frozen=True)
class Opened:
    """The files of a case."""

    cube: xr.Dataset
    forecasts: Mapping[str, xr.Dataset]


@dataclass(frozen=True)
class BlockScores:
    """Scores of a block of cells.

    Parameters
    ----------
    metrics
        Name -> ``(model, cell)``: those of `score_cells`, with its ``days``, and the consistencies.
    left
        ``(1 + model,)``, cell-days with an observation, and those of them that are left after each of the models.
    """

    metrics: dict[str, Cells]
    left: npt.NDArray[np.int64]


def make_case(entries: Sequence[Entry], cube: xr.Dataset, cube_path: Path, balance: Balance) -> Case:
    """Lay down what is judged: forecasts that `open_entries` gave, on the days of their split.

    Raises
    ------
    SoilcastError
        Days of the test were learnt from, or none was.
    """
    learn, test = days_judged(entries[0], cube)
    paths, marks = paths_and_marks(entries, cube, cube_path)
    target = entries[0].attributes["target"]
    return Case(cube_path.absolute(), paths, marks, target, learn, test, balance)


def paths_and_marks(
    entries: Sequence[Entry], cube: xr.Dataset, cube_path: Path
) -> tuple[dict[str, Path], dict[Path, str]]:
    """Label -> path, and path -> `mark_of` what is there, the cube included."""
    # Workers have a working folder of their own.
    paths = {entry.label: entry.path.absolute() for entry in entries}
    return paths, {entry.path.absolute(): entry.mark for entry in entries} | {cube_path.absolute(): mark_of(cube)}


@contextmanager
def open_files(case: Case) -> Iterator[Opened]:
    """Open the cube and the forecasts of a case: see `open_marked`."""
    with open_marked(case.cube, case.forecasts, case.marks, FORECAST.name) as opened:
        yield opened


@contextmanager
def open_marked(cube: Path, forecasts: Mapping[str, Path], marks: Mapping[Path, str], kind: str) -> Iterator[Opened]:
    """Open a cube and forecasts of a kind.

    Raises
    ------
    SoilcastError
        One cannot be opened, or is not the one that is meant.
    """
    with ExitStack() as stack:
        opened = stack.enter_context(open_cube(cube))
        entered = {label: stack.enter_context(open_artifact(path, kind)) for label, path in forecasts.items()}
        for path, found in ((cube, opened), *zip(forecasts.values(), entered.values(), strict=True)):
            if mark_of(found) != marks[path]:
                raise SoilcastError(f"{path}: it is not the file that the evaluation began with: evaluate again")
        yield Opened(opened, entered)


def work_in_blocks(
    cells: int,
    size: int,
    opened: AbstractContextManager[Opened],
    here: Callable[[Opened, slice], Scored],
    elsewhere: Callable[[slice], Scored],
    dask: str | None,
    *,
    progress: bool,
) -> list[Scored]:
    """Score cells block by block, and give what comes of the blocks in the order of their cells.

    Parameters
    ----------
    cells, size
        How many there are, and how many a block; blocks begin at multiples of `GROUP`.
    opened
        Opens the files, if they are read here.
    here, elsewhere
        Score a block of cells, with opened files and with none.
    dask
        Address of a dask scheduler whose workers score the blocks.
    progress
        Show a bar.
    """
    each = max(GROUP, size)
    blocks = {start: slice(start, min(start + each, cells)) for start in range(0, cells, each)}
    scored: dict[int, Scored] = {}
    with ExitStack() as stack, progress_bar("scores", len(blocks), shown=progress) as advance:
        if dask is None:
            files = stack.enter_context(opened)
            results: Iterator[tuple[int, Scored]] = ((start, here(files, block)) for start, block in blocks.items())
        else:
            results = work_on_cluster(dask, elsewhere, blocks)
        for start, block in results:
            scored[start] = block
            advance("")
    return [scored[start] for start in blocks]


def score_on_worker(case: Case, cells: slice) -> BlockScores:
    """Do what `score_block` does, in a process that has the files alone."""
    with open_files(case) as opened:
        return score_block(case, opened, cells)


def score_block(case: Case, opened: Opened, cells: slice) -> BlockScores:
    """Score forecasts and baselines on some cells, which begin at a multiple of `GROUP`.

    Every model is scored on the cell-days on which the observation and all models are there.

    Raises
    ------
    SoilcastError
        Stored bytes are damaged.
    """
    history, models = load_models(case, opened, cells)
    observed = history[:, case.test]
    usable = np.isfinite(observed)
    left = [np.count_nonzero(usable)]
    for values in models.values():
        usable &= np.isfinite(values)
        left.append(np.count_nonzero(usable))
    before = day_before(history, case.test)
    signs = balance_signs(case.balance, opened.cube, cells, history, case.test)
    measured = []
    for values in models.values():
        scored = np.where(usable, values, np.float32(np.nan))
        shares = {name: physical_consistency(days, before, scored) for name, days in signs.items()}
        measured.append(score_cells(observed, scored) | shares)
    return BlockScores(stack_models(measured), np.array(left, dtype=np.int64))


def load_models(case: Case, opened: Opened, cells: slice) -> tuple[Floats, dict[str, Floats]]:
    """Read the target of some cells, and what each model says of it.

    Returns
    -------
    Target of all days ``(cell, time)``; label -> ``(cell, test day)``, the forecasts first, then the baselines. All
    in [m3 m-3].
    """
    history = read(opened.cube, case.target, cells)
    models = {
        label: read(forecast, case.target, cells).astype(np.float32, copy=False)
        for label, forecast in opened.forecasts.items()
    }
    return history, models | baselines(history, opened.cube["time"].to_numpy(), case.learn, case.test, 1)


def baselines(history: Floats, days: Days, learn: npt.NDArray[np.bool_], test: slice, lag: Lag) -> dict[str, Floats]:
    """What every baseline says of some cells, computed in groups: see `soilcast.models.baselines.persistence`."""
    groups = [slice(start, start + GROUP) for start in range(0, len(history), GROUP)]
    return {
        name: np.concatenate([baseline(history[group], days, learn, test, lag=lag) for group in groups], axis=-2)
        for name, baseline in BASELINES.items()
    }


def refuse_unscored(
    entries: Sequence[Entry], cube_path: Path, target: str, left: npt.NDArray[np.int64], ahead: str = ""
) -> None:
    """Raise `SoilcastError` if no cell-day is left to score, and say after which model.

    Parameters
    ----------
    entries, cube_path
        What is judged, on which cube.
    target
        The variable that is forecast.
    left
        ``(1 + model,)``: see `BlockScores`.
    ahead
        At which lead, in words.
    """
    if not left[0]:
        raise SoilcastError(
            f"{cube_path}: the cube holds no observation of {target} in the test period of {entries[0].path}{ahead}: "
            "choose another with split.test"
        )
    models = [*((entry.label, entry.path) for entry in entries), *((name, cube_path) for name in BASELINES)]
    for (label, path), days in zip(models, left[1:], strict=True):
        if not days:
            raise SoilcastError(
                f"{path}: no cell-day is left to score: {label} has no value{ahead} where the observation and the "
                "models before it have one; see that the cube holds the inputs and the target of the test period and "
                "of the day before"
            )


def stack_models(measured: Sequence[Mapping[str, Cells]]) -> dict[str, Cells]:
    """From each model's ``(cell,)`` to ``(model, cell)``."""
    return {name: np.stack([one[name] for one in measured]) for name in measured[0]}


def join_blocks(blocks: Sequence[BlockScores]) -> BlockScores:
    """Join the scores of blocks, given in the order of their cells."""
    metrics = {name: np.concatenate([block.metrics[name] for block in blocks], axis=1) for name in blocks[0].metrics}
    return BlockScores(metrics, np.sum([block.left for block in blocks], axis=0))
