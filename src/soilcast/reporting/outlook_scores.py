"""Open the scores of outlooks, and read what all their sections need: medians over the cells, and who is best."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import VARIABLES
from soilcast.errors import SoilcastError
from soilcast.reporting.scores import (
    PERSISTENCE,
    check_dims,
    check_scores,
    loaded,
    networks,
    with_text_labels,
)
from soilcast.verify.summary import weighted_means, weighted_medians

DAMPED = "damped anomaly"

_ORDER = ("model", "target", "pick", "time", "lead", "cell", "quantile", "bin", "day")
_BY_CELL = ("model", "target", "lead", "cell")
_REQUIRED = {
    "lead": ("lead",),
    "is_baseline": ("model",),
    "area": ("cell",),
    "lat": ("cell",),
    "lon": ("cell",),
    "days": ("target", "lead", "cell"),
    **dict.fromkeys(("rmse", "ratio", "crps", "coverage_90", "width_90", "rmse_dry", "rmse_wet"), _BY_CELL),
}
_IF_THERE = {
    "quantile": ("quantile",),
    "reliability": ("model", "target", "lead", "quantile"),
    "rank_histogram": ("model", "target", "lead", "bin"),
    "pick_cell": ("pick",),
    "day": ("day",),
    "time": ("time",),
    "observed": ("target", "pick", "day"),
    "predicted": ("model", "target", "pick", "time", "lead"),
    "predicted_quantile": ("model", "target", "pick", "time", "lead", "quantile"),
}


def load_outlook_scores(opened: xr.Dataset, file: Path) -> xr.Dataset:
    """Load opened scores of outlooks and check that a report can be made of them.

    Parameters
    ----------
    opened
        Scores ``(model, target, lead, cell)`` of several leads; closed here.
    file
        Where they are from, for messages.

    Returns
    -------
    The same in memory: dimensions in one order, leads ascending and whole days, labels and targets as texts.

    Raises
    ------
    SoilcastError
        They are damaged, or persistence is not among their models.
    """
    scores = loaded(opened, file).transpose(*_ORDER, ..., missing_dims="ignore")
    check_dims(scores, file, _REQUIRED | {name: dims for name, dims in _IF_THERE.items() if name in scores.variables})
    check_scores(scores, file)
    check_leads(scores, file, "evaluate again")
    if not scores.sizes.get("target"):
        raise SoilcastError(f"{file}: it scores no target: the file is damaged; evaluate again")
    scores = with_text_labels(scores).sortby("lead")
    return scores.assign_coords(target=[str(name) for name in scores["target"].to_numpy()])


def check_leads(dataset: xr.Dataset, file: Path, again: str) -> None:
    """Refuse leads that are no whole numbers of days from 1 on, each once."""
    lead = dataset["lead"].to_numpy()
    if lead.dtype.kind not in "iu" or not lead.size or lead.min() < 1 or np.unique(lead).size < lead.size:
        raise SoilcastError(f"{file}: lead is not whole days from 1 on, each once: the file is damaged; {again}")


def targets(scores: xr.Dataset) -> list[str]:
    """Names of the variables that are forecast."""
    return [str(name) for name in scores["target"].to_numpy()]


def leads(dataset: xr.Dataset) -> list[int]:
    """Leads [d], ascending."""
    return [int(lead) for lead in dataset["lead"].to_numpy()]


def shown_leads(dataset: xr.Dataset) -> list[int]:
    """Give the first, the middle and the last lead [d]; fewer where there are fewer."""
    there = leads(dataset)
    return list(dict.fromkeys((there[0], there[(len(there) - 1) // 2], there[-1])))


def target_words(name: str) -> str:
    """Name a variable for people: what it is, and its name in brackets."""
    return f"{VARIABLES[name].long_name} ({name})" if name in VARIABLES else name


def ahead(lead: int) -> str:
    """Say a lead in words."""
    return "1 day ahead" if lead == 1 else f"{lead} days ahead"


def medians(scores: xr.Dataset, values: xr.DataArray) -> xr.DataArray:
    """Area-weighted median over the cells that have a value; NaN without any.

    Parameters
    ----------
    scores
        For the ``area`` of the cells [m2].
    values
        ``(..., cell)``.

    Returns
    -------
    ``(...)``.
    """
    return _over_cells(values, weighted_medians(_rows(values), scores["area"].to_numpy()))


def means(scores: xr.Dataset, values: xr.DataArray) -> xr.DataArray:
    """Area-weighted mean over the cells that have a value: see `medians`."""
    return _over_cells(values, weighted_means(_rows(values), scores["area"].to_numpy()))


def against(scores: xr.Dataset, target: str, baseline: str) -> xr.DataArray:
    """RMSE of every model over that of a baseline, ``(model, lead, cell)``; NaN where the baseline never errs."""
    rmse = scores["rmse"].sel(target=target)
    reference = rmse.sel(model=baseline, drop=True)
    return rmse / reference.where(reference > 0)


def ratios(scores: xr.Dataset, target: str) -> xr.DataArray:
    """Area-weighted median over the cells of the RMSE ratio to persistence, ``(model, lead)``."""
    ratio = scores["ratio"].sel(target=target)
    return medians(scores, ratio.where(np.isfinite(ratio)))


def as_shown(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Round to the three decimals that ratios and shares are shown with, exactly as they are printed."""
    return np.array([float(f"{value:.3f}") for value in values.ravel()], dtype=np.float64).reshape(values.shape)


def best_network(scores: xr.Dataset, target: str) -> str | None:
    """Label of the network with the least ratio to persistence, averaged over the leads; None without any value."""
    inside = networks(scores)
    if not inside:
        return None
    ratio = ratios(scores, target).sel(model=inside)
    # Models are scored on the same days, so a lead is missing for all or for none; else the one that has more wins.
    counted = ratio.notnull().sum("lead").to_numpy()
    if not counted.any():
        return None
    average = np.where(counted == counted.max(), ratio.mean("lead").to_numpy(), np.inf)
    return inside[int(np.argmin(average))]


def with_intervals(scores: xr.Dataset, target: str) -> list[str]:
    """Labels of the networks that give quantiles of a target."""
    covered = scores["coverage_90"].sel(target=target).notnull().any(("lead", "cell")).to_numpy()
    return [label for label in networks(scores) if covered[scores.indexes["model"].get_loc(label)]]


def baselines(scores: xr.Dataset) -> list[str]:
    """Labels of the baselines: persistence first."""
    inside = networks(scores)
    others = [str(label) for label in scores["model"].to_numpy() if str(label) not in (*inside, PERSISTENCE)]
    return [PERSISTENCE, *others]


def _rows(values: xr.DataArray) -> npt.NDArray[np.float64]:
    array = values.transpose(..., "cell").to_numpy().astype(np.float64)
    return array.reshape(-1, array.shape[-1])


def _over_cells(values: xr.DataArray, found: npt.NDArray[np.float64]) -> xr.DataArray:
    like = values.transpose(..., "cell").isel(cell=0, drop=True)
    return like.copy(data=found.reshape(like.shape))
