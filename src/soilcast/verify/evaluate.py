"""From forecasts to scores: at each lead, every model and every baseline on exactly the same cell-issue-days."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import xarray as xr

from soilcast.cluster import work_on_cluster
from soilcast.cube import open_cube
from soilcast.cube.identity import refuse_changed
from soilcast.errors import SoilcastError
from soilcast.files import atomic_write, path_list, refuse_existing
from soilcast.models.baselines import BASELINES
from soilcast.models.regressions import REGRESSIONS
from soilcast.plugins import plugin_record
from soilcast.progress import progress_bar
from soilcast.regions.within import cells_within
from soilcast.training.inputs import block_size
from soilcast.verify.blocks import BlockScores, join_blocks, refuse_unscored, score_block, score_on_worker
from soilcast.verify.comparison import compare_sums
from soilcast.verify.consistency import choose_balance
from soilcast.verify.dayblocks import iterate_day_blocks
from soilcast.verify.entries import open_entries
from soilcast.verify.file_baselines import split_names
from soilcast.verify.loading import GROUP
from soilcast.verify.metrics import METRICS
from soilcast.verify.plan import Files, Plan, make_plan, open_files
from soilcast.verify.regressions import labels_of
from soilcast.verify.scores import REGIONS, lay_out, write_scores
from soilcast.verify.summary import cell_weights

_COPIES = 4
_SIGNS = 8
"""Memory of a block beside its observations and models: copies of the largest model at one lead, and issue days of
float32 for the water balance and for masks."""

_COPIES_OF_REGIONS = "copies"

_BLOCK_BYTES = 96 * 2**20
"""Size of a block: each reads whole chunks of the cube, so fewer blocks are faster."""


def evaluate(
    forecasts: str | Path | Sequence[str | Path],
    cube: str | Path,
    out: str | Path,
    *,
    baselines: Sequence[str] = (),
    matching: str = "cdf",
    significance: bool = False,
    within: str | Path | None = None,
    regions: str | Path | None = None,
    region_name: str | None = None,
    dask: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> xr.Dataset:
    """Score forecasts and baselines against the observations of a cube, at every lead.

    Forecasts and cube are matched by location and day: what not all of them have is left out, counted and named in the
    attribute ``left_out`` of the scores. Days in training or validation of a forecast's run are never scored.

    Baselines use the same observations as the forecasts: at lead k with a latency of l days they forecast from the
    day k + l days before, or from an older one where the networks may (``task.fill_days``). Blocks of cells are scored
    one after the other, or side by side on a cluster; the scores do not depend on the blocks.

    Parameters
    ----------
    forecasts
        Output of `forecast`, of any periods, cells and leads, of the same latency; also archives of forecasts that were
        issued day by day. Those of the same label are distinguished by their paths. Targets that not all of them have
        are excluded.
    cube
        The cube that they were made for, or another with observations of its locations and days. Without the
        training period persistence is the only baseline.
    out
        Folder to write: ``scores.nc``, ``table.csv`` (one row a model, target and lead) and ``cells.csv`` (and cell).
    baselines
        Further baselines beside those that are always there, keys of `soilcast.models.regressions.REGRESSIONS`, such as
        ``linear regression``: fitted to the inputs of the forecasts' runs, see
        `soilcast.verify.regressions.fit_regressions`. Or files with others' forecasts of soil moisture, such as of IFS
        or AIFS, as ``"ifs.zarr"`` or ``"IFS=ifs.zarr"``: archives with dimensions of issue days and leads (NetCDF,
        Zarr, a forecast of soilcast), of whose members the mean counts.
    matching
        How these files are brought to the climate of the cube, fitted on the days of training and validation, to each
        cell, layer and lead: ``"cdf"``, ``"mean-variance"`` or ``"none"``.
    significance
        Test the differences of every forecast from the baselines and from the other forecasts, too, and write them as
        ``significance.csv``.
    within
        Score only the cells within a box or the regions of a file (`soilcast.regions.within.cells_within`).
    regions
        File of regions (`soilcast.regions.reading.read_outlines`): score the forecasts of their means, too, and write
        that as scores in the folder ``regions`` of ``out``. Forecasts of a region are those of
        `soilcast.regions.forecasts.regional_forecast`, its baselines learn from its own record; there are none of
        ``baselines``.
    region_name
        Attribute that names the regions.
    dask
        Address of a dask scheduler whose workers, which see the same paths, score the blocks.
    overwrite
        Replace ``out`` if it exists.
    progress
        Show progress bars.

    Returns
    -------
    The scores: `soilcast.verify.METRICS` as ``(model, target, lead, cell)`` float64, the forecasts first, then the
    baselines, those that take what no model has left out; ``days(target, lead, cell)``; ``reliability(model, target,
    lead, quantile)`` and ``rank_histogram(model, target, lead, bin)``, shares of the cell-days, weighted by area on a
    grid;
    of forecasts with quantiles, where the cube has two years before the test, ``event_*`` ``(model, target, lead,
    event, ..)``: reliability, ROC and economic value of the probabilities of drought (`soilcast.verify.events`);
    ``is_baseline(model)``; ``area(cell)``; a few cells as series; and the tested differences of
    `soilcast.verify.comparison.compare_sums`. A cell without two days to score is NaN, and so is what takes quantiles
    that a model does not have. Without any quantiles nothing has the dimension quantile.

    Raises
    ------
    SoilcastError
        No cell, issue day or target that forecasts and cube have in common; a baseline that there is not, or that the
        cube has too little for; forecasts of another latency, or only of
        training and validation days; no cell-day to score, damaged files, an ``out`` that exists, a cluster that does
        not answer.
    """
    out = Path(out)
    refuse_existing(out, kind="scores", overwrite=overwrite)
    outlines = None
    if regions is not None:
        from soilcast.regions.reading import read_outlines  # brings an extra along

        outlines = read_outlines(regions, region_name)
    options: dict[str, Any] = {"significance": significance, "dask": dask, "progress": progress}
    evaluated = score_forecasts(
        path_list(forecasts), cube, baselines=baselines, matching=matching, within=within, **options
    )
    if outlines is None:
        write_scores(evaluated.scores, out, overwrite=overwrite, **evaluated.inputs)
        return evaluated.scores
    from soilcast.verify.regional import write_regions

    with atomic_write(out, kind="scores", overwrite=overwrite) as partial:
        write_scores(evaluated.scores, partial, overwrite=False, **evaluated.inputs)
        place = partial / _COPIES_OF_REGIONS
        place.mkdir()
        try:
            paths, record, notes = write_regions(evaluated.plan, outlines, place)
            by_region = score_forecasts(paths, record, **options)
        except SoilcastError as error:
            raise SoilcastError(f"{regions}: its regions cannot be scored: {error}".replace(f"{place}/", "")) from error
        by_region.scores.attrs |= {"regions": outlines.title}
        by_region.scores.attrs["left_out"] = "\n".join(filter(None, [by_region.scores.attrs["left_out"], *notes]))
        shutil.rmtree(place)
        made_from = {**evaluated.inputs, "regions": str(regions)}
        write_scores(by_region.scores, partial / REGIONS, overwrite=False, **made_from)
    return evaluated.scores


@dataclass(frozen=True)
class Evaluation:
    """Scores, the plan that they were computed by, and what they were made from."""

    scores: xr.Dataset
    plan: Plan
    inputs: dict[str, Any]


def score_forecasts(
    forecasts: Sequence[str | Path],
    cube: str | Path,
    *,
    baselines: Sequence[str] = (),
    matching: str = "cdf",
    significance: bool = False,
    within: str | Path | None = None,
    dask: str | None = None,
    progress: bool = False,
) -> Evaluation:
    """Score as `evaluate` does, without writing anything; parameters and faults are the same."""
    cube_path = Path(cube)
    regressions, files_of_others = split_names(baselines)
    with open_cube(cube_path) as opened:
        entries = open_entries(
            [Path(path) for path in forecasts],
            opened,
            reserved=(*BASELINES, *labels_of(regressions), *files_of_others),
        )
        balance = choose_balance(entries, opened)
        area = None if within is None else cells_within(within, opened)
        plan = make_plan(entries, opened, cube_path, balance.readings, regressions, files_of_others, matching, area)
        sha256 = opened.attrs["content_sha256"]
    with open_files(plan) as files:
        joined = join_blocks(_scored_blocks(plan, files, dask, progress=progress))
        refuse_unscored(plan, entries, joined.remaining)
        scores = lay_out(plan, entries, files.cube, joined, balance.description)
        for file in (files.cube, *files.forecasts.values()):
            refuse_changed(file)
    if significance:
        tested = replace(plan, readings={target: {} for target in plan.targets})  # consistency is not tested
        sums = iterate_day_blocks(tested, progress=progress)
        scores = scores.merge(compare_sums(tested, sums, cell_weights(scores), progress=progress))
    plugins = plugin_record(
        [
            *((METRICS, name) for name in plan.measured),
            *((BASELINES, name) for name in plan.baselines if name in BASELINES),
            *((REGRESSIONS, name) for name in regressions),
        ]
    )
    forecast_plugins = {entry.label: entry.plugins for entry in entries if entry.plugins}
    inputs = {
        "cube": str(cube_path),
        "cube_sha256": sha256,
        "forecasts": {entry.label: str(entry.path) for entry in entries},
        **({"baselines": {label: one.record() for label, one in plan.files.items()}} if plan.files else {}),
        **({"plugins": plugins} if plugins else {}),
        **({"plugins_of_forecasts": forecast_plugins} if forecast_plugins else {}),
        **({"within": area.record} if area is not None else {}),
    }
    return Evaluation(scores, plan, inputs)


def _scored_blocks(plan: Plan, files: Files, dask: str | None, *, progress: bool) -> list[BlockScores]:
    """Score all blocks, here or on the workers of a cluster, and give them in the order of their cells."""
    cells, models = files.cube.sizes["cell"], len(plan.models)
    levels = [len(plan.levels_of(label, target)) for label in plan.models for target in plan.targets]
    values_per_issue = plan.leads * (models + sum(levels)) + models + _COPIES * max(1, *levels) + _SIGNS
    values_per_issue += 3 * len(plan.events) * models
    of_files = sum(len(baseline.issued) for baseline in plan.files.values()) * plan.leads
    size = max(GROUP, block_size(len(plan.time) + plan.issues * values_per_issue + of_files, 1, _BLOCK_BYTES))
    blocks = {start: slice(start, min(start + size, cells)) for start in range(0, cells, size)}
    scored: dict[int, BlockScores] = {}
    with progress_bar("scores", len(blocks), shown=progress) as advance:
        if dask is None:
            results: Iterator[tuple[int, BlockScores]] = (
                (start, score_block(plan, files, block)) for start, block in blocks.items()
            )
        else:
            results = work_on_cluster(dask, functools.partial(score_on_worker, plan), blocks)
        for start, block in results:
            scored[start] = block
            advance("")
    return [scored[start] for start in blocks]
