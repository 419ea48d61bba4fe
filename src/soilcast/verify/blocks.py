"""The scores of a block of cells: the same to the bit whatever the block, and whoever computes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import open_artifact, open_cube, read
from soilcast.errors import SoilcastError
from soilcast.models.baselines import BASELINES
from soilcast.verify.consistency import Balance, balance_signs, day_before
from soilcast.verify.entries import Entry, days_judged, mark_of
from soilcast.verify.metrics import score_cells
from soilcast.water import physical_consistency

GROUP = 64
"""Cells whose baselines are computed together. Sums of matrix products depend in their last bit on how many rows there
are, so groups begin at multiples of this, whatever the block."""

Floats = npt.NDArray[np.float32]
Cells = npt.NDArray[np.float64]


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
    # Workers have a working folder of their own.
    paths = {entry.label: entry.path.absolute() for entry in entries}
    marks = {entry.path.absolute(): entry.mark for entry in entries} | {cube_path.absolute(): mark_of(cube)}
    target = entries[0].attributes["target"]
    return Case(cube_path.absolute(), paths, marks, target, learn, test, balance)


@contextmanager
def open_files(case: Case) -> Iterator[Opened]:
    """Open the cube and the forecasts of a case.

    Raises
    ------
    SoilcastError
        One cannot be opened, or is not the one that is meant.
    """
    with ExitStack() as stack:
        cube = stack.enter_context(open_cube(case.cube))
        forecasts = {
            label: stack.enter_context(open_artifact(path, "forecast")) for label, path in case.forecasts.items()
        }
        for path, found in ((case.cube, cube), *zip(case.forecasts.values(), forecasts.values(), strict=True)):
            if mark_of(found) != case.marks[path]:
                raise SoilcastError(f"{path}: it is not the file that the evaluation began with: evaluate again")
        yield Opened(cube, forecasts)


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
    days = opened.cube["time"].to_numpy()
    groups = [slice(start, start + GROUP) for start in range(0, len(history), GROUP)]
    for name, baseline in BASELINES.items():
        models[name] = np.concatenate([baseline(history[group], days, case.learn, case.test) for group in groups])
    return history, models


def stack_models(measured: Sequence[Mapping[str, Cells]]) -> dict[str, Cells]:
    """From each model's ``(cell,)`` to ``(model, cell)``."""
    return {name: np.stack([one[name] for one in measured]) for name in measured[0]}


def join_blocks(blocks: Sequence[BlockScores]) -> BlockScores:
    """Join the scores of blocks, given in the order of their cells."""
    metrics = {name: np.concatenate([block.metrics[name] for block in blocks], axis=1) for name in blocks[0].metrics}
    return BlockScores(metrics, np.sum([block.left for block in blocks], axis=0))
