"""Whether outlooks are better than the baselines, or than one another, by more than chance, at every lead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import open_cube, read
from soilcast.errors import SoilcastError
from soilcast.models.baselines import BASELINES
from soilcast.progress import progress_bar
from soilcast.training.inputs import block_size
from soilcast.verify.blocks import GROUP, Opened
from soilcast.verify.dayblocks import BLOCK_DAYS, Array, DayBlocks, block_starts, sum_moments
from soilcast.verify.outlook_blocks import (
    OutlookCase,
    load_outlooks,
    make_outlook_case,
    open_outlook_files,
    take_lead,
)
from soilcast.verify.outlook_entries import open_outlooks
from soilcast.verify.probabilistic import crps_of_quantiles
from soilcast.verify.significance import RESAMPLES, UNTRAINED, Sample, Seeds, judge_field, take_sample
from soilcast.verify.summary import weighted_median

Leads = dict[tuple[str, int], DayBlocks]
"""(target, lead) -> sums over blocks of issue days."""


def sum_outlook_blocks(
    outlooks: Sequence[str | Path],
    cube: str | Path,
    *,
    block_days: int = BLOCK_DAYS,
    progress: bool = False,
) -> Leads:
    """Sum outlooks and baselines over blocks of the issue days, of each target and lead.

    Parameters
    ----------
    outlooks
        What `forecast` wrote for several leads on this cube: see `soilcast.verify.outlooks.evaluate_outlooks`.
    cube
        The cube.
    block_days
        Days of a block; blocks are of equal length to a day, and none is shorter.
    progress
        Show a bar.

    Returns
    -------
    (target, lead) -> sums of which also ``crps`` is made, the mean absolute error of models without quantiles.

    Raises
    ------
    SoilcastError
        Outlooks that do not belong to this cube or to each other, no cell-day that all models have.
    """
    with open_cube(cube) as opened:
        entries = open_outlooks([Path(path) for path in outlooks], opened, Path(cube), reserved=tuple(BASELINES))
        case = make_outlook_case(entries, opened, Path(cube))
        cells, days = opened.sizes["cell"], opened.sizes["time"]
    levels = sum(len(levels) for of in case.levels.values() for levels in of.values())
    size = max(GROUP, block_size(days + case.issues * case.leads * (len(case.models) + levels), 1))
    starts = block_starts(case.issues, block_days)
    parts: dict[tuple[str, int], list[tuple[Array, Array, Array]]] = {}
    with open_outlook_files(case) as files, progress_bar("sums", -(-cells // size), shown=progress) as advance:
        for start in range(0, cells, size):
            for key, part in _sum_block(case, files, slice(start, min(start + size, cells)), starts).items():
                parts.setdefault(key, []).append(part)
            advance("")
    return {key: _joined(case, of, key, Path(cube)) for key, of in parts.items()}


def compare_outlooks(
    outlooks: Sequence[str | Path],
    cube: str | Path,
    references: Sequence[str] = tuple(BASELINES),
    *,
    rows: Mapping[str, Seeds] | None = None,
    block_days: int = BLOCK_DAYS,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: bool = False,
) -> xr.Dataset:
    """Compare outlooks with references at every lead, and test the differences on the same resamples of days.

    Parameters
    ----------
    outlooks, cube
        See `sum_outlook_blocks`.
    references
        Baselines, or rows.
    rows
        Row -> its seeds, by the labels of the outlooks that were trained with them; by default each outlook is a row
        of one seed. Rows are compared over the seeds that they share.
    block_days
        See `sum_outlook_blocks`: much longer than errors last, and so much shorter than the test period that it holds
        `soilcast.verify.significance.FEWEST_BLOCKS` of them, since else nothing is tested.
    resamples, seed, progress
        See `soilcast.verify.significance.take_sample`.

    Returns
    -------
    ``(metric, row, reference, target, lead)`` float64, of the metrics RMSE and CRPS: ``difference`` of the
    area-weighted medians, negative where the row is better, [m3 m-3], with the limits ``low`` and ``high`` of its 95 %
    interval and the probability ``p`` of such a difference by chance; ``ratio``, the area-weighted median over the
    cells of the row's score over that of the reference; ``area_better`` and ``area_worse``, shares of the tested area
    where the difference in the cell is significant. NaN of a row against itself, where nothing is tested, and in
    ``ratio`` where the reference never errs. See `soilcast.verify.significance` for the tests.

    Raises
    ------
    SoilcastError
        Those of `sum_outlook_blocks`; a reference or a label that is not there, rows without a seed in common.
    """
    leads = sum_outlook_blocks(outlooks, cube, block_days=block_days, progress=progress)
    models = next(iter(leads.values())).models
    trained = [model for model in models if model not in BASELINES]
    own = {label: {0: label} for label in trained} if rows is None else rows
    _refuse_unknown([label for seeds in own.values() for label in seeds.values()], models)
    _refuse_unknown(references, (*own, *BASELINES))
    with open_cube(cube) as opened:
        area = read(opened, "area").astype(np.float64)
    metrics = ("rmse", "crps")
    targets, ahead = (list(dict.fromkeys(part)) for part in zip(*leads, strict=True))
    names = ("difference", "low", "high", "p", "ratio", "area_better", "area_worse")
    shape = (len(metrics), len(own), len(references), len(targets), len(ahead))
    found = {name: np.full(shape, np.nan) for name in names}
    every = dict(own) | {name: {UNTRAINED: name} for name in BASELINES}
    pairs = [(row, reference) for row in own for reference in references if row != reference]
    for row, reference in pairs:
        if reference in own and not own[row].keys() & own[reference].keys():
            raise SoilcastError(f"{row} and {reference} have no seed in common: train both with the same seeds")
    for (target, lead), blocks in leads.items():
        sample = take_sample(blocks, area, every, pairs, resamples=resamples, seed=seed)
        for row, reference in pairs:
            for m, metric in enumerate(metrics):
                place = (m, list(own).index(row), references.index(reference), targets.index(target), ahead.index(lead))
                for name, value in _compare(sample, row, reference, metric).items():
                    found[name][place] = value
    return xr.Dataset(
        {name: (("metric", "row", "reference", "target", "lead"), values) for name, values in found.items()},
        coords={
            "metric": list(metrics),
            "row": list(own),
            "reference": list(references),
            "target": targets,
            "lead": ("lead", ahead, {"units": "d"}),
        },
    )


def _compare(sample: Sample, row: str, reference: str, metric: str) -> dict[str, float]:
    over_area = sample.compare_over_area(row, reference, metric)
    field = judge_field(sample.compare_in_cells(row, reference, metric), metric, sample.area)
    mine, theirs = (sample.cells[one][metric].mean(axis=0) for one in (row, reference))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(theirs > 0, mine / theirs, np.nan)
    return {
        "difference": float(over_area.value),
        "low": float(over_area.low),
        "high": float(over_area.high),
        "p": float(over_area.p),
        "ratio": weighted_median(ratio, sample.area),
        "area_better": field.area_better,
        "area_worse": field.area_worse,
    }


def _refuse_unknown(names: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SoilcastError(f"no {', '.join(unknown)} among what is compared: choose among {', '.join(known)}")


def _sum_block(
    case: OutlookCase, files: Opened, cells: slice, starts: npt.NDArray[np.int64]
) -> dict[tuple[str, int], tuple[Array, Array, Array]]:
    """Offset, moments, and sums of CRPS with the days counted, of each target and lead."""
    summed = {}
    for target in case.targets:
        loaded = load_outlooks(case, files, target, cells)
        for lead in range(1, case.leads + 1):
            at = take_lead(case, loaded, lead)
            usable = np.isfinite(at.observed)
            offset, moments = sum_moments(at.observed, usable, list(at.central.values()), starts)
            crps = np.empty((2, *moments.shape[1:]))
            for position, (label, central) in enumerate(at.central.items()):
                if label in at.quantiles:
                    levels = np.array(case.levels[label][target])
                    score = crps_of_quantiles(at.observed, at.quantiles[label], levels)
                else:
                    score = np.abs(central.astype(np.float64) - at.observed)
                crps[0, position] = np.add.reduceat(np.where(usable, score, 0.0), starts, axis=1)
                crps[1, position] = moments[0, position]
            summed[target, lead] = offset, moments, crps
    return summed


def _joined(
    case: OutlookCase, parts: Sequence[tuple[Array, Array, Array]], key: tuple[str, int], cube: Path
) -> DayBlocks:
    moments = np.concatenate([part[1] for part in parts], axis=2)
    if not moments[0].any():
        raise SoilcastError(
            f"{cube}: no cell-day of {key[0]} {key[1]} d ahead is there in the observations and in every model alike"
        )
    return DayBlocks(
        models=tuple(case.models),
        offset=np.concatenate([part[0] for part in parts]),
        moments=moments,
        followed={"crps": np.concatenate([part[2] for part in parts], axis=2)},
    )
