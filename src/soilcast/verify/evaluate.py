"""From forecasts to scores: every model and every baseline on exactly the same cell-days."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from soilcast.cluster import work_on_cluster
from soilcast.cube import open_cube, read, write_dataset
from soilcast.errors import SoilcastError
from soilcast.files import refuse_existing, whole_or_nothing
from soilcast.models.baselines import BASELINES
from soilcast.progress import progress_bar
from soilcast.provenance import stamp
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
    score_block,
    score_on_worker,
)
from soilcast.verify.consistency import choose_balance
from soilcast.verify.entries import Entry, open_entries
from soilcast.verify.metrics import METRICS
from soilcast.verify.series import Positions, pick_cells, picked_series
from soilcast.verify.summary import summarise

_ABOUT_CELLS = ("area", "climate_zone")
_SCORED_ON = "cell-days on which the observation, every forecast and every baseline are there"
_CARRIED = ("target", "content", "train_period", "validation_period", "test_period")

_SIGNS = 8
"""What a block holds beside its observations and models, in test days of float32: of the water balance and of masks."""


def evaluate(
    forecasts: Sequence[str | Path],
    cube: str | Path,
    out: str | Path,
    *,
    dask: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> xr.Dataset:
    """Score forecasts against the cube that they were made for, with the baselines beside them.

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
        _refuse_unscored(entries, cube_path, joined.left)
        scores = _scores(case, entries, opened, joined.metrics)
    scores.attrs["provenance"] = stamp(
        "soilcast evaluate",
        cube=str(cube_path),
        cube_sha256=entries[0].attributes["cube_sha256"],
        forecasts={entry.label: str(entry.path) for entry in entries},
    )
    with whole_or_nothing(out, overwrite=overwrite) as partial:
        partial.mkdir()
        write_dataset(scores, partial / "scores.nc", netcdf=True)
        summarise(scores).to_csv(partial / "table.csv")
        cell_table(scores).to_csv(partial / "cells.csv", index=False)
    return scores


def cell_table(scores: xr.Dataset) -> pd.DataFrame:
    """Scores as a table of one row per model and cell, with the place of the cell."""
    about = [name for name in ("cell", "cell_name", "lat", "lon", *_ABOUT_CELLS) if name in scores.variables]
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
    cells, days = cube.sizes["cell"], cube.sizes["time"]
    tested = (case.test.stop - case.test.start) * (forecasts + len(BASELINES) + _SIGNS)
    size = max(GROUP, block_size(days + tested, 1))
    blocks = {start: slice(start, min(start + size, cells)) for start in range(0, cells, size)}
    scored: dict[int, BlockScores] = {}
    with progress_bar("scores", len(blocks), shown=progress) as advance:
        for start, block in _worked(case, blocks, dask):
            scored[start] = block
            advance("")
    return [scored[start] for start in blocks]


def _worked(case: Case, blocks: Mapping[int, slice], dask: str | None) -> Iterator[tuple[int, BlockScores]]:
    if dask is not None:
        yield from work_on_cluster(dask, functools.partial(score_on_worker, case), blocks)
        return
    with open_files(case) as opened:
        for start, cells in blocks.items():
            yield start, score_block(case, opened, cells)


def _refuse_unscored(entries: Sequence[Entry], cube_path: Path, left: npt.NDArray[np.int64]) -> None:
    if not left[0]:
        raise SoilcastError(
            f"{cube_path}: the cube holds no observation of {entries[0].attributes['target']} in the test period of "
            f"{entries[0].path}: choose another with split.test"
        )
    models = [*((entry.label, entry.path) for entry in entries), *((name, cube_path) for name in BASELINES)]
    for (label, path), days in zip(models, left[1:], strict=True):
        if not days:
            raise SoilcastError(
                f"{path}: no cell-day is left to score: {label} has no value where the observation and the models "
                "before it have one; see that the cube holds the inputs and the target of the test period and of the "
                "day before"
            )


def _scores(
    case: Case, entries: Sequence[Entry], cube: xr.Dataset, metrics: dict[str, npt.NDArray[np.float64]]
) -> xr.Dataset:
    models = [*case.forecasts, *BASELINES]
    metrics["skill"] = skill_against(metrics["rmse"], models.index("persistence"))
    scores = _dataset(models, metrics, entries, cube)
    scores.attrs |= {"water": case.balance.note, "cells_scored": int(np.isfinite(metrics["rmse"][0]).sum())}
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


def _dataset(
    labels: Sequence[str], metrics: Mapping[str, npt.NDArray[np.float64]], entries: Sequence[Entry], cube: xr.Dataset
) -> xr.Dataset:
    first = entries[0].attributes
    days = {"long_name": "number of days scored", "units": "1"}
    scores = xr.Dataset(
        {
            name: (("model", "cell"), metrics[name], METRICS[name].attributes if name in METRICS else days)
            for name in (*METRICS, "days")
            if name in metrics
        },
        coords={name: cube[name].drop_encoding().load() for name in cube.coords if name != "time"}
        | {"model": ("model", np.array(labels), {"long_name": "model"})},
        attrs={
            "Conventions": "CF-1.11",
            "soilcast_kind": "scores",
            "title": str(cube.attrs.get("title", "a cube")),
            **{name: first[name] for name in _CARRIED},
            "source": str(cube.attrs.get("source", "")),
            "cube_sha256": first["cube_sha256"],
            "scored_on": _SCORED_ON,
            "training_logs": json.dumps({entry.label: entry.training_log for entry in entries}),
            "configs": json.dumps({entry.label: entry.config for entry in entries}),
            "cells_total": cube.sizes["cell"],
        },
    )
    scores["is_baseline"] = ("model", np.array([label in BASELINES for label in labels]))
    for name in _ABOUT_CELLS:
        if name in cube:
            scores[name] = ("cell", read(cube, name), cube[name].attrs)
    return scores
