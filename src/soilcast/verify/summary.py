"""One row a model, target and lead: mean and median of every metric over the cells, each with its weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from soilcast.cube import grid_of, read
from soilcast.verify.metrics import ROWS, metrics_of


def cell_weights(dataset: xr.Dataset, cells: slice = slice(None)) -> npt.NDArray[np.float64]:
    """Weight of each cell in means, medians and shares over the cells.

    A cell of a grid is a piece of the land and counts by its area [m2]; a basin or a station is a case by itself, and
    all count alike: by area the median of many basins would be the value of the largest.

    Parameters
    ----------
    dataset
        A cube, a forecast or scores.
    cells
        Those whose weights are sought.

    Returns
    -------
    ``(cell,)``.
    """
    if grid_of(dataset) is None:
        return np.ones(len(range(dataset.sizes["cell"])[cells]))
    return read(dataset, "area", cells).astype(np.float64)


def summarise(scores: xr.Dataset, metrics: Sequence[str] | None = None) -> pd.DataFrame:
    """Summarise scores over the cells, each with its weight: see `cell_weights`.

    Parameters
    ----------
    scores
        What `evaluate` gives: metrics ``(model, target, lead, cell)`` and ``area(cell)`` [m2].
    metrics
        Those to summarise; by default all.

    Returns
    -------
    Index ``model``, ``target``, ``lead``; ``is_baseline``; ``cells``, the number of cells scored; and for each metric
    NAME that the scores hold ``NAME_mean``, ``NAME_median`` and ``NAME_cells``, the number of cells on which it is
    defined. Cells on which a metric is NaN are left out of that metric; without any left its mean and median are NaN.
    Of coverages, whose errors to either side cancel in means, there are ``NAME_lowest`` and ``NAME_highest`` of all
    cells, too.
    """
    weights = cell_weights(scores)
    labels: list[pd.Index[Any]] = [pd.Index(scores[dim].to_numpy(), name=dim) for dim in ROWS]
    index = pd.MultiIndex.from_product([label if label.dtype.kind in "iu" else label.astype(str) for label in labels])
    baseline = scores["is_baseline"].to_numpy().astype(bool)
    columns: dict[str, object] = {
        "is_baseline": np.repeat(baseline, len(index) // len(baseline)),
        "cells": np.isfinite(_by_row(scores["rmse"])).sum(axis=1),
    }
    for name, metric in metrics_of(scores).items():
        if metrics is not None and name not in metrics:
            continue
        values = _by_row(scores[name])
        columns[f"{name}_mean"] = [weighted_mean(row, weights) for row in values]
        columns[f"{name}_median"] = [weighted_median(row, weights) for row in values]
        if metric.best == "nominal":
            columns[f"{name}_lowest"] = np.fmin.reduce(values, axis=1)
            columns[f"{name}_highest"] = np.fmax.reduce(values, axis=1)
        columns[f"{name}_cells"] = np.isfinite(values).sum(axis=1)
    return pd.DataFrame(columns, index=index)


def weighted_mean(values: npt.NDArray[np.float64], weights: npt.NDArray[np.floating]) -> float:
    """Sum of weight times value over the sum of the weights; values that are not finite are left out.

    Parameters
    ----------
    values, weights
        ``(cell,)``.
    """
    values, weights = _finite(values, weights)
    return float(np.sum(weights * values) / np.sum(weights)) if values.size else float("nan")


def weighted_median(values: npt.NDArray[np.float64], weights: npt.NDArray[np.floating]) -> float:
    """Value that at most half of the weight lies below and at most half above; not finite ones are left out.

    Where two neighbouring values satisfy that, their mean: with equal weights it is the ordinary median.

    Parameters
    ----------
    values, weights
        ``(cell,)``.
    """
    return float(weighted_medians(values[np.newaxis], weights)[0])


def weighted_means(values: npt.NDArray[np.float64], weights: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """`weighted_mean` of each row of ``(row, cell)``."""
    valid = np.isfinite(values)
    total = valid @ weights.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(valid, values, 0.0) @ weights.astype(np.float64) / np.where(total, total, np.nan))


def weighted_medians(values: npt.NDArray[np.float64], weights: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """`weighted_median` of each row of ``(row, cell)``."""
    valid = np.isfinite(values) & (weights > 0)
    count = valid.sum(axis=1)
    ordered = np.where(valid, values, np.inf)
    order = np.argsort(ordered, axis=1, kind="stable")
    ordered = np.take_along_axis(ordered, order, axis=1)
    share = np.take_along_axis(np.where(valid, weights, 0.0), order, axis=1)
    reached = np.cumsum(share, axis=1, dtype=np.float64)
    half = reached[:, -1:] / 2
    # A sum of weights may miss the half by its rounding.
    slack = 1e-12 * reached[:, -1:]
    lower = np.argmax(reached >= half - slack, axis=1)
    upper = np.minimum(np.sum(reached <= half + slack, axis=1), count - 1)
    rows = np.arange(len(values))
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, (ordered[rows, lower] + ordered[rows, upper]) / 2, np.nan)


def _by_row(metric: xr.DataArray) -> npt.NDArray[np.float64]:
    """One row a model, target and lead, ``(row, cell)``."""
    values: npt.NDArray[np.float64] = metric.transpose(*ROWS, "cell").to_numpy()
    return values.reshape(-1, values.shape[-1])


def _finite(
    values: npt.NDArray[np.float64], weights: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    finite = np.isfinite(values) & (weights > 0)
    return values[finite], weights[finite].astype(np.float64)
