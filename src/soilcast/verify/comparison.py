"""Significance of the differences between forecasts, and between forecasts and baselines, at every lead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.models.baselines import BASELINES
from soilcast.verify.dayblocks import BLOCK_DAYS, DayBlocks, iterate_day_blocks, plan_day_blocks
from soilcast.verify.estimates import adjust, field_test
from soilcast.verify.kernels import ratio_over
from soilcast.verify.plan import Plan, open_files
from soilcast.verify.significance import RESAMPLES, UNTRAINED, Sample, Seeds, take_sample
from soilcast.verify.summary import cell_weights, weighted_median

TESTED = ("rmse", "crps")
"""Metrics whose differences are tested."""

DIMS = ("tested_metric", "row", "reference", "target", "lead")

_UNITS = "m3 m-3"
_VARIABLES = {
    "difference": ("difference of the medians over the cells, negative where the row is better", _UNITS),
    "difference_low": ("lower limit of the 95 % interval of the difference, by itself", _UNITS),
    "difference_high": ("upper limit of the 95 % interval of the difference, by itself", _UNITS),
    "difference_p": ("p-value of the difference, by itself", "1"),
    "difference_p_adjusted": ("p-value adjusted for all differences tested together (Benjamini and Yekutieli)", "1"),
    "difference_detectable": ("true difference that the test by itself finds with 80 % probability", _UNITS),
    "difference_ratio": ("median over the cells of the score over that of the reference", "1"),
    "area_better": ("share of the tested area, or of basins or stations, where the row is significantly better", "1"),
    "area_worse": ("share of the tested area, or of basins or stations, where the row is significantly worse", "1"),
}


def compare_forecasts(
    forecasts: Sequence[str | Path],
    cube: str | Path,
    references: Sequence[str] = tuple(BASELINES),
    *,
    rows: Mapping[str, Seeds] | None = None,
    metrics: Sequence[str] = TESTED,
    block_days: int = BLOCK_DAYS,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: bool = False,
) -> xr.Dataset:
    """Compare forecasts with references at every lead, and test the differences on the same resamples of days.

    Parameters
    ----------
    forecasts, cube
        See `soilcast.evaluate`.
    references, rows, metrics, resamples, seed, progress
        See `compare_sums`.
    block_days
        See `soilcast.verify.dayblocks.sum_day_blocks`: much longer than errors last, and so much shorter than the test
        period that it holds `soilcast.verify.estimates.FEWEST_BLOCKS` of them, since else nothing is tested.

    Returns
    -------
    See `compare_sums`.

    Raises
    ------
    SoilcastError
        Those of `soilcast.verify.dayblocks.sum_day_blocks` and of `compare_sums`.
    """
    plan = plan_day_blocks(forecasts, cube, {})
    with open_files(plan) as files:
        weights = cell_weights(files.cube)
    sums = iterate_day_blocks(plan, block_days, progress=progress)
    options: dict[str, Any] = {"rows": rows, "metrics": metrics, "resamples": resamples, "seed": seed}
    return compare_sums(plan, sums, weights, references, **options, progress=progress)


def compare_sums(
    plan: Plan,
    sums: Iterable[tuple[tuple[str, int], DayBlocks]],
    weights: npt.NDArray[np.float64],
    references: Sequence[str] | None = None,
    *,
    rows: Mapping[str, Seeds] | None = None,
    metrics: Sequence[str] = TESTED,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: bool = False,
) -> xr.Dataset:
    """Compare models by sums over blocks of days.

    Parameters
    ----------
    plan
        Plan of the evaluation.
    sums
        Its sums, as `soilcast.verify.dayblocks.iterate_day_blocks` gives them: not all are in memory at once.
    weights
        ``(cell,)``: see `soilcast.verify.summary.cell_weights`.
    references
        Baselines, or rows; by default every baseline and, of several rows, every row.
    rows
        Row -> its seeds, by the labels of the forecasts that were trained with them; by default each forecast is a row
        of one seed. Rows are compared over the seeds that they share.
    metrics
        Metrics that are compared, in m3 m-3: of `soilcast.verify.dayblocks.DayBlocks.metrics`.
    resamples, seed, progress
        See `soilcast.verify.significance.take_sample`.

    Returns
    -------
    ``(tested_metric, row, reference, target, lead)`` float64: ``difference`` of the weighted medians, negative
    where the row is better, [m3 m-3], with the limits ``difference_low`` and ``difference_high`` of its 95 % interval
    and its p-value ``difference_p``, each by itself; ``difference_p_adjusted``, the p-value adjusted for all
    differences together (`soilcast.verify.estimates.adjust`), by which a difference is called significant;
    ``difference_detectable``, the smallest detectable difference [m3 m-3]; ``difference_ratio``, the weighted
    median over the cells of the row's score over that of the reference; ``area_better`` and
    ``area_worse``, shares of the tested weight where the difference in the cell is significant. NaN of a row against
    itself, where nothing is tested, and in the ratio where `soilcast.verify.kernels.ratio_over` has none. See
    `soilcast.verify.estimates` for the tests.

    Raises
    ------
    SoilcastError
        A reference or a label that does not exist, rows without a seed in common.
    """
    models = plan.models
    seeded = {label: {0: label} for label in plan.forecasts} if rows is None else rows
    chosen = [*plan.baselines, *(seeded if len(seeded) > 1 else ())] if references is None else list(references)
    _refuse_unknown([label for seeds in seeded.values() for label in seeds.values()], models)
    _refuse_unknown(chosen, (*seeded, *plan.baselines))
    pairs = [(row, reference) for row in seeded for reference in chosen if row != reference]
    for row, reference in pairs:
        if reference in seeded and not seeded[row].keys() & seeded[reference].keys():
            raise SoilcastError(f"{row} and {reference} have no seed in common: train both with the same seeds")
    targets, leads = list(plan.targets), list(range(1, plan.leads + 1))
    coordinates: dict[str, Any] = dict(zip(DIMS, (list(metrics), list(seeded), chosen, targets, leads), strict=True))
    differences = xr.Dataset(
        {
            name: (
                DIMS,
                np.full([len(values) for values in coordinates.values()], np.nan),
                {"long_name": text, "units": unit},
            )
            for name, (text, unit) in _VARIABLES.items()
        },
        coordinates | {"lead": ("lead", leads, {"long_name": "days ahead", "units": "d"})},
    )
    all_rows = dict(seeded) | {name: {UNTRAINED: name} for name in plan.baselines}
    options: dict[str, Any] = {"metrics": metrics, "resamples": resamples, "seed": seed, "progress": progress}
    for (target, lead), blocks in sums:
        sample = take_sample(blocks, weights, all_rows, pairs, **options)
        for row, reference in pairs:
            for metric in metrics:
                position = dict(zip(DIMS, (metric, row, reference, target, lead), strict=True))
                for name, value in _compare(sample, row, reference, metric, blocks.moves).items():
                    differences[name].loc[position] = value
    differences["difference_p_adjusted"][:] = adjust(differences["difference_p"].to_numpy())
    return differences


def _compare(sample: Sample, row: str, reference: str, metric: str, moves: npt.NDArray[np.bool_]) -> dict[str, float]:
    over_area = sample.compare_over_area(row, reference, metric)
    field = field_test(sample.compare_in_cells(row, reference, metric), metric, sample.area)
    score, reference_score = (sample.cells[label][metric].mean(axis=0) for label in (row, reference))
    values: dict[str, Any] = {
        "difference": over_area.value,
        "difference_low": over_area.low,
        "difference_high": over_area.high,
        "difference_p": over_area.p,
        "difference_detectable": over_area.detectable,
        "difference_ratio": weighted_median(ratio_over(score, reference_score, moves), sample.area),
        "area_better": field.area_better,
        "area_worse": field.area_worse,
    }
    return {name: float(value) for name, value in values.items()}


def _refuse_unknown(names: Sequence[str], available: Sequence[str]) -> None:
    unknown = [name for name in names if name not in available]
    if unknown:
        raise SoilcastError(f"no {', '.join(unknown)} among the compared runs: choose from {', '.join(available)}")
