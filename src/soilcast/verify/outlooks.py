"""From outlooks to scores: at each lead, every model and every baseline on exactly the same cell-issue-days."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from soilcast.cube import open_cube
from soilcast.errors import SoilcastError
from soilcast.files import refuse_existing
from soilcast.models.baselines import BASELINES
from soilcast.training.inputs import block_size
from soilcast.verify.blocks import refuse_unscored, work_in_blocks
from soilcast.verify.folder import ABOUT_CELLS, scores_of, write_scores
from soilcast.verify.lead import BINS
from soilcast.verify.metrics import OUTLOOK_METRICS
from soilcast.verify.outlook_blocks import (
    OutlookCase,
    OutlookScores,
    join_outlook_blocks,
    make_outlook_case,
    open_outlook_files,
    score_outlook_block,
    score_outlooks_on_worker,
)
from soilcast.verify.outlook_entries import OutlookEntry, open_outlooks
from soilcast.verify.outlook_series import outlook_series
from soilcast.verify.series import Positions, pick_cells

SCORES_KIND = "outlook_scores"

_ROWS = ("model", "target", "lead")
_SCORED_ON = (
    "cell-issue-days on which the observation, every outlook and every baseline are there, of each target and lead"
)
_COPIES = 4
"""What a block holds beside its observations and models, in times the largest model at one lead, as float32."""


def evaluate_outlooks(
    outlooks: Sequence[str | Path],
    cube: str | Path,
    out: str | Path,
    *,
    dask: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> xr.Dataset:
    """Score outlooks against the cube that they were made for, with the baselines at every lead beside them.

    Baselines know the observations that the outlooks know: at lead k with a latency of l days they forecast from the
    day k + l days before.

    Parameters
    ----------
    outlooks
        What `forecast` wrote for several leads: of one cube, the same targets, leads, latency and issue days.
    cube
        The cube that they were made for.
    out
        Folder to write: ``scores.nc``, ``table.csv`` (one row a model, target and lead) and ``cells.csv`` (and cell).
    dask, overwrite, progress
        See `soilcast.verify.evaluate.evaluate_forecasts`.

    Returns
    -------
    The scores: `soilcast.verify.metrics.OUTLOOK_METRICS` as ``(model, target, lead, cell)`` float64, the outlooks
    first, then the baselines; ``days(target, lead, cell)``; ``reliability(model, target, lead, quantile)`` and
    ``rank_histogram(model, target, lead, bin)``, shares of the cell-days weighted by area; ``is_baseline(model)``;
    ``area(cell)``; and a few cells as series. A cell without two days to score is NaN, and so is what takes quantiles
    that a model does not have. Without any quantiles nothing has the dimension quantile.

    Raises
    ------
    SoilcastError
        Outlooks that do not belong to this cube or to each other, or that forecast days that were learnt from; no
        cell-day to score, damaged files, an ``out`` that exists, a cluster that does not answer.
    """
    out, cube_path = Path(out), Path(cube)
    refuse_existing(out, overwrite=overwrite)
    with open_cube(cube_path) as opened:
        entries = open_outlooks([Path(path) for path in outlooks], opened, cube_path, reserved=tuple(BASELINES))
        case = make_outlook_case(entries, opened, cube_path)
        joined = join_outlook_blocks(_scored_blocks(case, opened, dask, progress=progress))
        for target, of_target in zip(case.targets, joined.left, strict=True):
            for lead, left in enumerate(of_target, start=1):
                refuse_unscored(entries, cube_path, target, left, f" {lead} d ahead")
        scores = _scores(case, entries, opened, joined)
    write_scores(
        scores,
        out,
        _cell_tables(scores),
        overwrite=overwrite,
        cube=str(cube_path),
        cube_sha256=entries[0].attributes["cube_sha256"],
        outlooks={entry.label: str(entry.path) for entry in entries},
    )
    return scores


def _scored_blocks(case: OutlookCase, cube: xr.Dataset, dask: str | None, *, progress: bool) -> list[OutlookScores]:
    """Score all blocks, and give them in the order of their cells."""
    quantiles = [len(levels) for of in case.levels.values() for levels in of.values()]
    values = case.leads * (len(case.models) + sum(quantiles)) + _COPIES * max(1, *quantiles)
    return work_in_blocks(
        cube.sizes["cell"],
        block_size(cube.sizes["time"] + case.issues * values, 1),
        open_outlook_files(case),
        functools.partial(score_outlook_block, case),
        functools.partial(score_outlooks_on_worker, case),
        dask,
        progress=progress,
    )


def _scores(case: OutlookCase, entries: Sequence[OutlookEntry], cube: xr.Dataset, joined: OutlookScores) -> xr.Dataset:
    by_cell = (*_ROWS, "cell")
    variables: dict[str, Any] = {
        name: (by_cell, joined.metrics[name], metric.attributes) for name, metric in OUTLOOK_METRICS.items()
    }
    days = {"long_name": "number of issue days scored", "units": "1"}
    variables["days"] = (by_cell[1:], joined.metrics["days"][0], days)
    variables |= _calibration(case, joined)
    scored = int(np.isfinite(joined.metrics["rmse"][0]).any(axis=(0, 1)).sum())
    if not scored:
        raise SoilcastError(f"{entries[0].path}: no cell has two days to score: choose a longer test period")
    about = {
        "targets": ",".join(case.targets),
        "latency_days": case.latency,
        "weather": _weather(entries),
        "scored_on": _SCORED_ON,
        "cells_scored": scored,
    }
    scores = scores_of(SCORES_KIND, variables, _coordinates(case, cube), entries, cube, about)
    return scores.assign(outlook_series(case, _picks(scores), cube))


def _calibration(case: OutlookCase, joined: OutlookScores) -> dict[str, Any]:
    """Reliability and rank histograms: shares of all cell-days, which weigh by area."""
    weight = joined.weight.sum(axis=-1)[..., np.newaxis]
    shares = {
        "rank_histogram": (
            (*_ROWS, "bin"),
            joined.ranks.sum(axis=-1) / weight,
            {"long_name": "share of observations by the probability integral transform", "units": "1"},
        )
    }
    if case.all_levels:
        shares["reliability"] = (
            (*_ROWS, "quantile"),
            joined.below.sum(axis=-1) / weight,
            {"long_name": "share of observations at or below the quantile", "units": "1"},
        )
    return shares


def _coordinates(case: OutlookCase, cube: xr.Dataset) -> dict[str, Any]:
    days = cube["time"].to_numpy()
    issued = days[0] + (case.first + np.arange(case.issues)) * np.timedelta64(1, "D")
    levels = {"long_name": "level of the quantile", "units": "1"}
    return {
        "target": ("target", np.array(case.targets), {"long_name": "variable that is forecast"}),
        "lead": ("lead", np.arange(1, case.leads + 1), {"long_name": "days ahead", "units": "d"}),
        "bin": ("bin", (np.arange(BINS) + 0.5) / BINS, {"long_name": "middle of the bin", "units": "1"}),
        "day": ("day", days[case.test], {"standard_name": "time", "long_name": "day"}),
        "time": ("time", issued, {"standard_name": "forecast_reference_time", "long_name": "issue day"}),
    } | ({"quantile": ("quantile", np.array(case.all_levels), levels)} if case.all_levels else {})


def _weather(entries: Sequence[OutlookEntry]) -> str:
    """What weather of the days ahead the outlooks know, in one word if it is the same for all."""
    known = {entry.label: entry.attributes["weather"] for entry in entries}
    if len(set(known.values())) == 1:
        return next(iter(known.values()))
    return "; ".join(f"{label}: {weather}" for label, weather in known.items())


def _picks(scores: xr.Dataset) -> Positions:
    """Pick cells by their scores over all targets and leads: see `soilcast.verify.series.pick_cells`."""
    over = ("target", "lead")
    averaged = scores.drop_vars(["rmse", "ratio"]).assign(
        rmse=scores["rmse"].mean(over), skill=(1 - scores["ratio"] ** 2).mean(over)
    )
    return pick_cells(averaged)


def _cell_tables(scores: xr.Dataset) -> Iterator[pd.DataFrame]:
    """Scores as a table of one row per model, target, lead and cell, model by model and target by target."""
    about = [name for name in ("cell", "cell_name", "lat", "lon", *ABOUT_CELLS) if name in scores.variables]
    leads, cells = scores.sizes["lead"], scores.sizes["cell"]
    places = {name: np.tile(scores[name].to_numpy(), leads) for name in about}
    for m, model in enumerate(scores["model"].to_numpy()):
        for t, target in enumerate(scores["target"].to_numpy()):
            named = {"model": model, "target": target, "lead": np.repeat(scores["lead"].to_numpy(), cells)}
            measured = {name: scores[name].to_numpy()[m, t].ravel() for name in OUTLOOK_METRICS}
            yield pd.DataFrame(named | places | measured | {"days": scores["days"].to_numpy()[t].ravel()})
