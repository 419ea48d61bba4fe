"""From forecasts to scores: every model and every baseline on exactly the same cell-days."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from soilcast.cube import open_cube
from soilcast.errors import SoilcastError
from soilcast.files import refuse_existing
from soilcast.models.baselines import BASELINES
from soilcast.training.inputs import block_size
from soilcast.verify.blocks import (
    GROUP,
    BlockScores,
    Case,
    Floats,
    join_blocks,
    load_models,
    make_case,
    open_files,
    refuse_unscored,
    score_block,
    score_on_worker,
    work_in_blocks,
)
from soilcast.verify.consistency import choose_balance
from soilcast.verify.entries import Entry, open_entries
from soilcast.verify.folder import ABOUT_CELLS, scores_of, write_scores
from soilcast.verify.metrics import METRICS
from soilcast.verify.series import Positions, pick_cells, picked_series

_SCORED_ON = "cell-days on which the observation, every forecast and every baseline are there"

_SIGNS = 8
"""What a block holds beside its observations and models, in test days of float32: of the water balance and of masks."""


def evaluate_forecasts(
    forecasts: Sequence[str | Path],
    cube: str | Path,
    out: str | Path,
    *,
    dask: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> xr.Dataset:
    """Score next-day forecasts against the cube that they were made for, with the baselines beside them.

    Blocks of cells are scored one after the other, or side by side on a cluster; the scores do not depend on the
    blocks.

    Parameters
    ----------
    forecasts
        What `forecast` wrote: of one cube, one target and one split; several forecasts of one label are numbered.
    cube
        The cube that they were made for.
    out
        Folder to write: ``scores.nc``, ``table.csv`` (one row a model) and ``cells.csv`` (one row a model and cell).
    dask
        Address of a dask scheduler whose workers, which see the same paths, score the blocks.
    overwrite
        Replace ``out`` if it exists.
    progress
        Show a bar.

    Returns
    -------
    The scores: `soilcast.verify.metrics.METRICS` as ``(model, cell)`` float64 and ``days(model, cell)``, the forecasts
    first, then the baselines; ``is_baseline(model)``; ``area(cell)``; and a few cells as series. A cell without two
    days to score is NaN.

    Raises
    ------
    SoilcastError
        Forecasts that do not belong to this cube or to each other, no cell-day to score, damaged files, an
        ``out`` that exists, a cluster that does not answer.
    """
    out, cube_path = Path(out), Path(cube)
    refuse_existing(out, overwrite=overwrite)
    with open_cube(cube_path) as opened:
        entries = open_entries([Path(path) for path in forecasts], opened, cube_path, reserved=tuple(BASELINES))
        case = make_case(entries, opened, cube_path, choose_balance(entries, opened))
        joined = join_blocks(_scored_blocks(case, len(entries), opened, dask, progress=progress))
        refuse_unscored(entries, cube_path, case.target, joined.left)
        scores = _scores(case, entries, opened, joined.metrics)
    write_scores(
        scores,
        out,
        [cell_table(scores)],
        overwrite=overwrite,
        cube=str(cube_path),
        cube_sha256=entries[0].attributes["cube_sha256"],
        forecasts={entry.label: str(entry.path) for entry in entries},
    )
    return scores


def cell_table(scores: xr.Dataset) -> pd.DataFrame:
    """Scores as a table of one row per model and cell, with the place of the cell."""
    about = [name for name in ("cell", "cell_name", "lat", "lon", *ABOUT_CELLS) if name in scores.variables]
    measured = [name for name in (*METRICS, "days") if name in scores]
    models, cells = scores.sizes["model"], scores.sizes["cell"]
    return pd.DataFrame(
        {"model": np.repeat(scores["model"].to_numpy(), cells)}
        | {name: np.tile(scores[name].to_numpy(), models) for name in about}
        | {name: scores[name].transpose("model", "cell").to_numpy().ravel() for name in measured}
    )


def _scored_blocks(
    case: Case, forecasts: int, cube: xr.Dataset, dask: str | None, *, progress: bool
) -> list[BlockScores]:
    """Score all blocks, and give them in the order of their cells."""
    tested = (case.test.stop - case.test.start) * (forecasts + len(BASELINES) + _SIGNS)
    return work_in_blocks(
        cube.sizes["cell"],
        block_size(cube.sizes["time"] + tested, 1),
        open_files(case),
        functools.partial(score_block, case),
        functools.partial(score_on_worker, case),
        dask,
        progress=progress,
    )


def _scores(
    case: Case, entries: Sequence[Entry], cube: xr.Dataset, metrics: dict[str, npt.NDArray[np.float64]]
) -> xr.Dataset:
    models = [*case.forecasts, *BASELINES]
    metrics["skill"] = skill_against(metrics["rmse"], models.index("persistence"))
    days = {"long_name": "number of days scored", "units": "1"}
    variables = {
        name: (("model", "cell"), metrics[name], METRICS[name].attributes if name in METRICS else days)
        for name in (*METRICS, "days")
        if name in metrics
    }
    about = {
        "target": case.target,
        "scored_on": _SCORED_ON,
        "water": case.balance.note,
        "cells_scored": int(np.isfinite(metrics["rmse"][0]).sum()),
    }
    scores = scores_of("scores", variables, {}, entries, cube, about)
    if not scores.attrs["cells_scored"]:
        raise SoilcastError(f"{entries[0].path}: no cell has two days to score: choose a longer test period")
    picks = pick_cells(scores)
    observed, predicted = _series_of(case, picks, cube.sizes["cell"])
    return scores.assign(picked_series(picks, cube, case.test, observed, predicted)).assign_coords(
        time=cube["time"][case.test].drop_encoding()
    )


def _series_of(case: Case, picks: Positions, cells: int) -> tuple[Floats, Floats]:
    """Observations ``(pick, test day)`` and what the models say of them ``(model, pick, test day)``."""
    observed, predicted = [], []
    with open_files(case) as opened:
        for pick in picks:
            first = int(pick) // GROUP * GROUP
            history, models = load_models(case, opened, slice(first, min(first + GROUP, cells)))
            observed.append(history[pick - first, case.test])
            predicted.append(np.stack([values[pick - first] for values in models.values()]))
    return np.stack(observed), np.stack(predicted, axis=1)


def skill_against(rmse: npt.NDArray[np.float64], reference: int) -> npt.NDArray[np.float64]:
    """Skill of every model ``(model, cell)`` against that at position ``reference``; NaN where that never errs."""
    error = rmse**2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(error[reference] == 0, np.nan, 1 - error / error[reference]))
