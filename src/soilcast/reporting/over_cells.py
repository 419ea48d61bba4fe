"""Scores over the cells by their weights: medians, means, ratios to a baseline, and which network is best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from soilcast.cube.check import SMALLEST_ERROR
from soilcast.reporting.scores import networks
from soilcast.verify.summary import cell_weights, summarise, weighted_means, weighted_medians


def summary_at(scores: xr.Dataset, target: str, lead: int, metrics: Sequence[str] | None = None) -> pd.DataFrame:
    """Summarise the scores of a target at a lead: see `soilcast.verify.summarise`; the index is ``model``."""
    return summarise(scores.sel(target=[target], lead=[lead]), metrics).droplevel(["target", "lead"])


def summarised(summary: pd.DataFrame, label: str, metric: str, statistic: Literal["median", "mean"]) -> float:
    """One number of `summary_at`, NaN where no cell has a value."""
    return float(summary[f"{metric}_{statistic}"].to_numpy()[summary.index.get_loc(label)])


def medians(scores: xr.Dataset, values: xr.DataArray) -> xr.DataArray:
    """Median over the cells that have a value, each with its weight; NaN without any.

    Parameters
    ----------
    scores
        For the weights: see `soilcast.verify.summary.cell_weights`.
    values
        ``(..., cell)``.

    Returns
    -------
    ``(...)``.
    """
    return _over_cells(values, weighted_medians(_rows(values), cell_weights(scores)))


def means(scores: xr.Dataset, values: xr.DataArray) -> xr.DataArray:
    """Mean over the cells that have a value, each with its weight: see `medians`."""
    return _over_cells(values, weighted_means(_rows(values), cell_weights(scores)))


def cell_range(scores: xr.Dataset, metric: str, target: str) -> xr.DataArray:
    """Lowest and highest value of a metric in any cell, ``(model, lead, 2)``; NaN without any."""
    values = scores[metric].sel(target=target)
    return xr.concat([values.min("cell"), values.max("cell")], "limit").transpose("model", "lead", "limit")


def against(scores: xr.Dataset, target: str, baseline: str) -> xr.DataArray:
    """RMSE over that of a baseline where the ratio to persistence is defined, ``(model, lead, cell)``."""
    rmse = scores["rmse"].sel(target=target)
    reference = rmse.sel(model=baseline, drop=True)
    is_defined = scores["ratio"].sel(target=target).notnull()
    return rmse / reference.where(reference >= SMALLEST_ERROR).where(is_defined)


def ratios(scores: xr.Dataset, target: str) -> xr.DataArray:
    """Median over the cells of the RMSE ratio to persistence, ``(model, lead)``."""
    ratio = scores["ratio"].sel(target=target)
    return medians(scores, ratio.where(np.isfinite(ratio)))


def errors_shown(scores: xr.Dataset, target: str) -> xr.DataArray:
    """Error that the tables show: of several leads the ratio to persistence, of one lead the RMSE, ``(model, lead)``.

    Either is a median over the cells.
    """
    return ratios(scores, target) if scores.sizes["lead"] > 1 else medians(scores, scores["rmse"].sel(target=target))


def rounded_for_print(values: npt.NDArray[np.float64], decimals: int = 3) -> npt.NDArray[np.float64]:
    """Round to the decimals that values are shown with, exactly as they are printed: three of ratios and shares."""
    rounded = [float(f"{value:.{decimals}f}") for value in values.ravel()]
    return np.array(rounded, dtype=np.float64).reshape(values.shape)


def best_network(scores: xr.Dataset, target: str, among: Sequence[str] | None = None) -> str | None:
    """Label of the network with the least error shown, averaged over the leads; None without any value.

    Parameters
    ----------
    scores, target
        What is shown.
    among
        Labels to choose from; by default all networks.
    """
    inside = networks(scores) if among is None else list(among)
    if not inside:
        return None
    errors = errors_shown(scores, target).sel(model=inside)
    # Models are scored on the same days, so a lead is missing for all or for none; else the one that has more wins.
    counted = errors.notnull().sum("lead").to_numpy()
    if not counted.any():
        return None
    average = np.where(counted == counted.max(), errors.mean("lead").to_numpy(), np.inf)
    return inside[int(np.argmin(average))]


def with_intervals(scores: xr.Dataset, target: str) -> list[str]:
    """Labels of the networks that give quantiles of a target."""
    if "coverage_90" not in scores:
        return []
    covered = scores["coverage_90"].sel(target=target).notnull().any(("lead", "cell")).to_numpy()
    return [label for label in networks(scores) if covered[scores.indexes["model"].get_loc(label)]]


def _rows(values: xr.DataArray) -> npt.NDArray[np.float64]:
    array = values.transpose(..., "cell").to_numpy().astype(np.float64)
    return array.reshape(-1, array.shape[-1])


def _over_cells(values: xr.DataArray, statistics: npt.NDArray[np.float64]) -> xr.DataArray:
    like = values.transpose(..., "cell").isel(cell=0, drop=True)
    return like.copy(data=statistics.reshape(like.shape))
