"""Open the scores of a page, and classify their models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from soilcast.cube import open_artifact
from soilcast.errors import SoilcastError
from soilcast.reporting.artifacts import artifact_file, check_cells, check_dims, check_leads, json_attribute, loaded
from soilcast.training.run_record import best_is_last
from soilcast.verify.metrics import METRICS
from soilcast.verify.scores import EVENT_VARIABLES

PERSISTENCE = "persistence"

_BY_CELL = ("model", "target", "lead", "cell")
_BY_ISSUE = ("model", "target", "pick", "time", "lead")
_BY_TEST = ("tested_metric", "row", "reference", "target", "lead")
_ORDER = (
    *(
        "model",
        "tested_metric",
        "row",
        "reference",
        "target",
        "pick",
        "time",
        "lead",
        "cell",
        "event",
        "quantile",
        "bin",
    ),
    *("probability_bin", "threshold", "day"),
)

_REQUIRED = {
    "lead": ("lead",),
    "is_baseline": ("model",),
    "area": ("cell",),
    "lat": ("cell",),
    "lon": ("cell",),
    "days": ("target", "lead", "cell"),
    **dict.fromkeys(("r", "rmse", "skill", "ratio"), _BY_CELL),
}
_IF_THERE = {
    "climate_zone": ("cell",),
    "quantile": ("quantile",),
    "reliability": ("model", "target", "lead", "quantile"),
    "rank_histogram": ("model", "target", "lead", "bin"),
    **{f"event_{name}": (*_BY_CELL[:-1], "event", *dims) for dims, names in EVENT_VARIABLES.items() for name in names},
    "pick_cell": ("pick",),
    "day": ("day",),
    "time": ("time",),
    "observed": ("target", "pick", "day"),
    "precipitation": ("pick", "day"),
    "predicted": _BY_ISSUE,
    "predicted_quantile": (*_BY_ISSUE, "quantile"),
    **dict.fromkeys(("difference", "difference_low", "difference_high", "difference_p"), _BY_TEST),
    **dict.fromkeys(("difference_p_adjusted", "difference_detectable", "difference_ratio"), _BY_TEST),
    **dict.fromkeys(("area_better", "area_worse"), _BY_TEST),
}
_JSON = ("training_logs", "configs", "provenance")


def open_scores(path: str | Path) -> xr.Dataset:
    """Load scores into memory and check that they are whole.

    Parameters
    ----------
    path
        The folder that `evaluate` wrote, or the ``scores.nc`` in it.

    Returns
    -------
    See `load_scores`.

    Raises
    ------
    SoilcastError
        There is nothing, it is something else, it is damaged, or persistence is not among its models.
    """
    file = artifact_file(Path(path))
    return load_scores(open_artifact(file, "scores"), file)


def load_scores(opened: xr.Dataset, file: Path) -> xr.Dataset:
    """Load opened scores and check that a page can be made of them.

    Parameters
    ----------
    opened
        Scores ``(model, target, lead, cell)``; closed here.
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
    optional = _IF_THERE | dict.fromkeys(METRICS, _BY_CELL)
    check_dims(scores, file, _REQUIRED | {name: dims for name, dims in optional.items() if name in scores.variables})
    _check_models(scores, file)
    check_cells(scores, file)
    check_leads(scores, file)
    if "pick_cell" in scores and not np.isin(scores["pick_cell"], np.arange(scores.sizes["cell"])).all():
        raise SoilcastError(f"{file}: pick_cell names cells that do not exist: the file is damaged; evaluate again")
    if not scores.sizes.get("target"):
        raise SoilcastError(f"{file}: no target: the file is damaged; evaluate again")
    if "tested_metric" in scores.coords and not set(map(str, scores["tested_metric"].to_numpy())) <= set(METRICS):
        raise SoilcastError(f"{file}: tested_metric names an unknown metric: the file is damaged; evaluate again")
    for name in _JSON:
        json_attribute(scores, name)
    texts = [name for name in ("model", "target", "row", "reference", "tested_metric") if name in scores.coords]
    return scores.sortby("lead").assign_coords({name: [*map(str, scores[name].to_numpy())] for name in texts})


def networks(scores: xr.Dataset) -> list[str]:
    """Labels of the models that are no baselines."""
    return [str(label) for label in scores["model"].to_numpy()[~scores["is_baseline"].to_numpy().astype(bool)]]


def baselines(scores: xr.Dataset) -> list[str]:
    """Labels of the baselines: persistence first."""
    inside = networks(scores)
    rest = [str(label) for label in scores["model"].to_numpy() if str(label) not in (*inside, PERSISTENCE)]
    return [PERSISTENCE, *rest]


def ordered(scores: xr.Dataset) -> list[str]:
    """Labels in the order of the tables: the networks, persistence, the other baselines."""
    return [*networks(scores), *baselines(scores)]


def targets(scores: xr.Dataset) -> list[str]:
    """Names of the variables that are forecast."""
    return [str(name) for name in scores["target"].to_numpy()]


def guided_networks(scores: xr.Dataset) -> list[str]:
    """Labels of the physics-guided networks: those with a water balance in their loss, as their configs have it."""
    configs = json_attribute(scores, "configs")
    return [label for label in networks(scores) if _balance(configs.get(label)) not in ("none", None)]


def plain_network(scores: xr.Dataset) -> str | None:
    """Label of the first network that is known to be trained without physical guidance."""
    configs = json_attribute(scores, "configs")
    return next((label for label in networks(scores) if _balance(configs.get(label)) == "none"), None)


def not_converged(scores: xr.Dataset) -> list[str]:
    """Labels of the networks whose training had not converged: see `soilcast.training.run_record.best_is_last`."""
    logs, configs = json_attribute(scores, "training_logs"), json_attribute(scores, "configs")
    labels = []
    for label in networks(scores):
        try:
            labels += [label] if best_is_last(logs[label], configs[label]["train"]["epochs"]) else []
        except (LookupError, TypeError):  # not known, or damaged, which the section on the training reports
            continue
    return labels


def _balance(config: Any) -> str | None:
    """Water balance in the loss of a run: "none", "single" or "multi"; None where the config is not known."""
    if not isinstance(config, dict):
        return None
    loss = config.get("loss")
    return str(loss.get("balance", "none")) if isinstance(loss, dict) else "none"


def _check_models(scores: xr.Dataset, file: Path) -> None:
    labels = [str(label) for label in scores["model"].to_numpy()]
    if PERSISTENCE not in labels:
        raise SoilcastError(f"{file}: persistence is not among the models, but reports always show it: evaluate again")
    if len(set(labels)) < len(labels):
        raise SoilcastError(
            f"{file}: two models have the same label: give each forecast its own label and evaluate again"
        )
