"""One row a model, target and lead: the area-weighted mean and median of every metric."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from soilcast.verify.metrics import ROWS, metrics_of


def summarise(scores: xr.Dataset) -> pd.DataFrame:
    """Summarise scores over the cells, each weighted by its area.

    Parameters
    ----------
    scores
        What `evaluate` gives: metrics ``(model, target, lead, cell)`` and ``area(cell)`` [m2].

    Returns
    -------
    Index ``model``, ``target``, ``lead``; ``is_baseline``; ``cells``, the number of cells scored; and for each metric
    NAME that the scores hold ``NAME_mean``, ``NAME_median`` and ``NAME_cells``, the number of cells on which it is
    defined. Cells on which a metric is NaN are left out of that metric; without any left its mean and median are NaN.
    """
    area = scores["area"].to_numpy()
    labels: list[pd.Index[Any]] = [pd.Index(scores[dim].to_numpy(), name=dim) for dim in ROWS]
    index = pd.MultiIndex.from_product([label if label.dtype.kind in "iu" else label.astype(str) for label in labels])
    baseline = scores["is_baseline"].to_numpy().astype(bool)
    columns: dict[str, object] = {
        "is_baseline": np.repeat(baseline, len(index) // len(baseline)),
        "cells": np.isfinite(_by_row(scores["rmse"])).sum(axis=1),
    }
    for name in metrics_of(scores):
        values = _by_row(scores[name])
        columns[f"{name}_mean"] = [weighted_mean(row, area) for row in values]
        columns[f"{name}_median"] = [weighted_median(row, area) for row in values]
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
