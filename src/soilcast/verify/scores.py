"""The scores as an artifact: their variables and attributes, and the folder of NetCDF and tables that holds them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from soilcast.cube import FORMATS, read, write_dataset
from soilcast.cube.cf import DAY, ISSUE_DAY, LEAD
from soilcast.errors import SoilcastError
from soilcast.files import atomic_write, harmless_table
from soilcast.provenance import stamp
from soilcast.verify.blocks import BINS, BlockScores, count_left_out
from soilcast.verify.comparison import DIMS as COMPARED
from soilcast.verify.entry import Entry
from soilcast.verify.events import (
    THRESHOLDS,
    decompose_brier,
    economic_value,
    relative_operating_characteristic,
    reliability_curve,
)
from soilcast.verify.file_baselines import describe_files
from soilcast.verify.metrics import ROWS, metrics_of
from soilcast.verify.plan import Plan
from soilcast.verify.series import days_of, pick_cells, series_of
from soilcast.verify.summary import summarise

EVENT_VARIABLES = {
    ("probability_bin",): {
        "share": "share of the forecasts whose probability is in the bin",
        "forecast": "mean forecast probability in the bin",
        "observed": "observed frequency of the event in the bin",
    },
    ("threshold",): {
        "hit_rate": "share of the days with the event that had a warning",
        "false_alarm_rate": "share of the days without the event that had a warning",
        "value": "relative economic value to users of this ratio of cost to loss",
    },
    (): {
        "brier": "Brier score: reliability - resolution + uncertainty + within bins",
        "reliability": "reliability (Murphy 1973), 0 is best",
        "resolution": "resolution (Murphy 1973), high is best",
        "uncertainty": "uncertainty (Murphy 1973): variance of the event",
        "within_bins": "variance less twice the covariance within bins (Stephenson et al. 2008)",
        "probability": "mean forecast probability",
        "frequency": "observed frequency of the event",
        "roc_area": "area under the relative operating characteristic, 0.5 without skill",
    },
}
"""Dimensions -> name -> description of what is verified of the probabilities of events."""

REGIONS = "regions"
"""Folder in that of scores, with the scores of regions."""

CELL_VARIABLES = ("area", "climate_zone")
_CARRIED = ("content", "train_period", "validation_period")
_SCORED_ON = "number of cell-issue-days with observation, all forecasts and all baselines, by target and lead"

_DRESSED = "distributions: their forecasts and the quantiles of their own errors on the validation days"
_POINTS = "points, for lack of training or validation days: their CRPS is the absolute error of a point forecast"


def lay_out(plan: Plan, entries: Sequence[Entry], cube: xr.Dataset, joined: BlockScores, water: str) -> xr.Dataset:
    """Make the scores dataset: see `soilcast.evaluate`.

    Parameters
    ----------
    plan, entries
        What was evaluated.
    cube
        The opened cube, of the cells that are evaluated.
    joined
        The scores of all cells.
    water
        How the water balance was read.

    Raises
    ------
    SoilcastError
        No cell has two days to score.
    """
    scored = int(np.isfinite(joined.metrics["rmse"][0]).any(axis=(0, 1)).sum())
    if not scored:
        raise SoilcastError(f"{entries[0].path}: no cell has two days to score: choose a longer test period")
    variables: dict[str, Any] = {
        name: ((*ROWS, "cell"), joined.metrics[name], metric.attributes) for name, metric in plan.measured.items()
    }
    days = {"long_name": "number of issue days scored", "units": "1"}
    if plan.all_levels and not plan.is_dressed:
        variables["crps"][2]["long_name"] += "; of the baselines the absolute error of a point forecast"
    variables["days"] = (("target", "lead", "cell"), joined.days, days)
    scores = xr.Dataset(
        variables | _calibration(plan, joined) | _events(plan, joined),
        coords=_coordinates(plan, cube),
        attrs={
            "Conventions": "CF-1.11",
            "soilcast_kind": "scores",
            "soilcast_format": FORMATS["scores"],
            "title": str(cube.attrs.get("title", "a cube")),
            **{name: entries[0].attributes[name] for name in _CARRIED},
            "test_period": plan.overlap.test_period,
            "cube_sha256": str(cube.attrs["content_sha256"]),
            "source": str(cube.attrs.get("source", "")),
            "training_logs": json.dumps({entry.label: entry.training_log for entry in entries}),
            "configs": json.dumps({entry.label: entry.config for entry in entries}),
            "targets": ",".join(plan.targets),
            "latency_days": plan.latency,
            "weather": _weather(entries),
            "water": water,
            "scored_on": _SCORED_ON,
            **({"baseline_files": describe_files(plan.files)} if plan.files else {}),
            **({"baselines": _DRESSED if plan.is_dressed else _POINTS} if plan.all_levels else {}),
            "left_out": "\n".join([*plan.overlap.omitted, *count_left_out(plan, joined.remaining, cube.sizes["cell"])]),
            "cells_scored": scored,
            "cells_total": len(entries[0].cells),
        },
    )
    attributes = {"long_name": "whether the model is a baseline"}
    scores["is_baseline"] = ("model", np.array([label in plan.baselines for label in plan.models]), attributes)
    for name in CELL_VARIABLES:
        if name in cube:
            scores[name] = ("cell", read(cube, name), cube[name].attrs)
    return scores.assign(series_of(plan, pick_cells(scores), cube))


def write_scores(scores: xr.Dataset, out: Path, *, overwrite: bool, **inputs: Any) -> None:
    """Write ``scores.nc``, ``table.csv``, ``cells.csv`` and, if differences were tested, ``significance.csv``.

    Parameters
    ----------
    scores
        What `lay_out` gives; their provenance is added.
    out
        The folder, which is written atomically.
    overwrite
        Replace ``out`` if it exists.
    inputs
        What they were made from.
    """
    scores.attrs["provenance"] = stamp("soilcast evaluate", **inputs)
    with atomic_write(out, kind="scores", overwrite=overwrite) as partial:
        partial.mkdir()
        write_dataset(scores, partial / "scores.nc", netcdf=True)
        harmless_table(summarise(scores).reset_index()).to_csv(partial / "table.csv", index=False)
        with (partial / "cells.csv").open("w", encoding="utf-8", newline="") as file:
            for number, part in enumerate(_cell_tables(scores)):
                harmless_table(part).to_csv(file, index=False, header=number == 0)
        if COMPARED[0] in scores.dims:
            differences = scores[[name for name, values in scores.data_vars.items() if values.dims == COMPARED]]
            table = differences.to_dataframe(dim_order=list(COMPARED)).reset_index()
            harmless_table(table[table["row"] != table["reference"]]).to_csv(partial / "significance.csv", index=False)


def _coordinates(plan: Plan, cube: xr.Dataset) -> dict[str, Any]:
    """Coordinates of the cells and of the other dimensions of scores."""
    issued = plan.time[0] + plan.overlap.issued * np.timedelta64(1, "D")
    levels = {"long_name": "level of the quantile", "units": "1"}
    return {
        **{str(name): cube[name].drop_encoding().load() for name in cube.coords if name != "time"},
        "model": ("model", np.array(plan.models), {"long_name": "model"}),
        "target": ("target", np.array(plan.targets), {"long_name": "variable that is forecast"}),
        "lead": ("lead", np.arange(1, plan.leads + 1), LEAD),
        "bin": ("bin", (np.arange(BINS) + 0.5) / BINS, {"long_name": "middle of the bin", "units": "1"}),
        "day": ("day", plan.time[days_of(plan)], DAY),
        "time": ("time", issued, ISSUE_DAY),
        **({"quantile": ("quantile", np.array(plan.all_levels), levels)} if plan.all_levels else {}),
        **(_event_coordinates(plan.events) if plan.events else {}),
    }


def _calibration(plan: Plan, joined: BlockScores) -> dict[str, Any]:
    """Reliability and rank histograms: shares of all cell-days, by the weights of their cells."""
    weight = joined.weight.sum(axis=-1)[..., np.newaxis]
    weight = np.where(weight > 0, weight, np.nan)
    ranks = {"long_name": "share of observations by the probability integral transform", "units": "1"}
    shares = {"rank_histogram": ((*ROWS, "bin"), joined.ranks.sum(axis=-1) / weight, ranks)}
    if plan.all_levels:
        below = {"long_name": "share of observations at or below the quantile", "units": "1"}
        shares["reliability"] = ((*ROWS, "quantile"), joined.below.sum(axis=-1) / weight, below)
    return shares


def _event_coordinates(events: tuple[str, ...]) -> dict[str, Any]:
    """Coordinates of the probabilities of events."""
    limits = np.array([0.0, *THRESHOLDS])
    return {
        "event": ("event", np.array(events), {"long_name": "drought class or drier, on the day or within the lead"}),
        "probability_bin": ("probability_bin", limits, {"long_name": "probability where the bin begins", "units": "1"}),
        "threshold": (
            "threshold",
            limits[1:],
            {"long_name": "probability from which a warning is given; ratio of cost to loss", "units": "1"},
        ),
    }


def _events(plan: Plan, joined: BlockScores) -> dict[str, Any]:
    """Reliability, ROC and economic value of the probabilities of events, over all cell-days by their weights."""
    if not plan.events:
        return {}
    sums = joined.events.sum(axis=-1)
    sums = np.where(sums[..., 0].sum(axis=-1)[..., np.newaxis, np.newaxis] > 0, sums, np.nan)
    found = reliability_curve(sums) | decompose_brier(sums) | relative_operating_characteristic(sums)
    found["value"] = economic_value(sums)
    return {
        f"event_{name}": ((*ROWS, "event", *dims), found[name], {"long_name": long_name, "units": "1"})
        for dims, long_names in EVENT_VARIABLES.items()
        for name, long_name in long_names.items()
    }


def _weather(entries: Sequence[Entry]) -> str:
    """Weather of the forecast days that the forecasts were given, in one word if it is the same for all."""
    weather_of: Mapping[str, str] = {entry.label: entry.attributes["weather"] for entry in entries}
    if len(set(weather_of.values())) == 1:
        return next(iter(weather_of.values()))
    return "; ".join(f"{label}: {weather}" for label, weather in weather_of.items())


def _cell_tables(scores: xr.Dataset) -> Iterator[pd.DataFrame]:
    """Scores as a table of one row per model, target, lead and cell, model by model and target by target."""
    columns = [name for name in ("cell", "cell_name", "lat", "lon", *CELL_VARIABLES) if name in scores.variables]
    leads, cells = scores.sizes["lead"], scores.sizes["cell"]
    location = {name: np.tile(scores[name].to_numpy(), leads) for name in columns}
    for m, model in enumerate(scores["model"].to_numpy()):
        for t, target in enumerate(scores["target"].to_numpy()):
            row_labels = {"model": model, "target": target, "lead": np.repeat(scores["lead"].to_numpy(), cells)}
            measured = {name: scores[name].to_numpy()[m, t].ravel() for name in metrics_of(scores)}
            yield pd.DataFrame(row_labels | location | measured | {"days": scores["days"].to_numpy()[t].ravel()})
