"""Small outlooks and their scores, made up for tests of what comes after them. Their numbers mean nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from scores_factory import BASELINES, cells_of_a_grid, cells_of_places, made_log
from soilcast.cube import write_dataset

LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
_BINS = 10
_ABOUT = {
    "title": "A made-up planet",
    "content": "synthetic weather",
    "source": "planet",
    "train_period": "2018-01-01:2019-06-28",
    "validation_period": "2019-06-29:2019-12-23",
    "test_period": "2020-01-01:2020-12-31",
    "latency_days": 5,
    "weather": "observed",
    "cube_sha256": "ab" * 32,
}


def make_outlook_scores(
    *,
    networks: Sequence[str] = ("LSTM", "PHYs-LSTM"),
    with_quantiles: Sequence[str] | None = None,
    targets: Sequence[str] = ("swvl1", "swvl2"),
    leads: int = 10,
    cells: int = 60,
    days: int = 366,
    picks: int = 2,
    gridded: bool = True,
    step: float = 4.0,
    factors: dict[str, float] | None = None,
    seed: int = 0,
    **attributes: object,
) -> xr.Dataset:
    """Scores of outlooks in the schema that `evaluate` writes.

    ``with_quantiles`` are the networks that have some, by default all; ``factors`` the RMSE of models over that of
    persistence in every cell and lead. The last of several cells was not scored.
    """
    draw = np.random.default_rng(seed)
    probabilistic = list(networks) if with_quantiles is None else list(with_quantiles)
    models = [*networks, *BASELINES]
    given = {label: 0.7 + 0.1 * at for at, label in enumerate(networks)}
    given |= {"persistence": 1.0, "damped anomaly": 0.93, "climatology": 1.6}
    factor = np.array([(given | (factors or {}))[label] for label in models])
    lead = np.arange(1, leads + 1)
    shape = (len(models), len(targets), leads, cells)
    noise = np.ones(shape) if factors else draw.lognormal(0, 0.05, shape)
    reference = 0.02 * np.sqrt(lead)[:, np.newaxis] * draw.lognormal(0, 0.4, cells)
    rmse = reference * factor[:, np.newaxis, np.newaxis, np.newaxis] * noise
    at = models.index("persistence")
    rmse[at] = reference
    has = np.array([label in probabilistic for label in models])
    found = {
        "rmse": rmse,
        "bias": draw.normal(0, 0.005, shape),
        "r": np.clip(1 - rmse, -1, 1),
        "ratio": rmse / rmse[at],
        "crps": rmse * np.where(has, 0.5, 0.75)[:, np.newaxis, np.newaxis, np.newaxis],
        "coverage_50": np.clip(draw.normal(0.5, 0.01, shape), 0, 1),
        "coverage_90": np.clip(draw.normal(0.9, 0.01, shape), 0, 1),
        "width_90": rmse * 3,
        "rmse_dry": rmse * 1.2,
        "rmse_wet": rmse * 1.5,
    }
    for name in ("coverage_50", "coverage_90", "width_90"):
        found[name][~has] = np.nan
    counts = np.full((len(targets), leads, cells), float(days - leads))
    if cells > 1:
        counts[..., -1] = 0
        for values in found.values():
            values[..., -1] = np.nan
    cube = cells_of_a_grid(draw, cells, step) if gridded else cells_of_places(draw, cells)
    scores = xr.Dataset(
        {name: (("model", "target", "lead", "cell"), values) for name, values in found.items()}
        | {"days": (("target", "lead", "cell"), counts)},
        coords={
            "model": models,
            "target": list(targets),
            "lead": ("lead", lead, {"units": "d"}),
            "quantile": LEVELS,
        }
        | cube,
        attrs={
            "soilcast_kind": "outlook_scores",
            "training_logs": json.dumps({label: made_log(draw) for label in networks}),
            "configs": json.dumps({label: {"model": {"name": label.lower()}} for label in networks}),
            "provenance": json.dumps({"made_by": "soilcast evaluate"}),
            "scored_on": "cell-issue-days on which all are there",
            "cells_total": cells,
        }
        | _ABOUT
        | attributes,
    )
    scores["is_baseline"] = ("model", [label in BASELINES for label in models])
    scores["area"] = ("cell", np.cos(np.radians(scores["lat"].to_numpy())) + 0.01)
    scores["climate_zone"] = ("cell", draw.integers(1, 31, cells).astype(np.float32))
    reliability = np.clip(LEVELS + draw.normal(0, 0.02, (*shape[:3], len(LEVELS))), 0, 1)
    ranks = draw.dirichlet(np.full(_BINS, 300.0), shape[:3])
    reliability[~has], ranks[~has] = np.nan, np.nan
    scores["reliability"] = (("model", "target", "lead", "quantile"), reliability)
    scores["rank_histogram"] = (("model", "target", "lead", "bin"), ranks)
    _add_series(scores, draw, days, picks, has)
    return scores


def make_outlook(
    *,
    targets: Sequence[str] = ("swvl1", "swvl2"),
    leads: int = 10,
    cells: int = 60,
    issue_days: int = 1,
    gridded: bool = True,
    step: float = 4.0,
    quantiles: bool = True,
    products: bool = True,
    seed: int = 0,
    **attributes: object,
) -> xr.Dataset:
    """An outlook as `forecast` writes it; the last of several cells has no forecast."""
    draw = np.random.default_rng(seed)
    lead = np.arange(1, leads + 1)
    time = np.datetime64("2020-05-03", "ns") + np.arange(issue_days) * np.timedelta64(1, "D")
    valid = time[:, np.newaxis] + lead * np.timedelta64(1, "D")
    outlook = xr.Dataset(
        coords={
            "time": ("time", time, {"standard_name": "forecast_reference_time"}),
            "lead": ("lead", lead, {"units": "d"}),
            "valid_time": (("time", "lead"), valid),
        }
        | (cells_of_a_grid(draw, cells, step) if gridded else cells_of_places(draw, cells)),
        attrs={
            "soilcast_kind": "outlook",
            "targets": ",".join(targets),
            "label": "LSTM",
            "model": "lstm",
            "weights_sha256": "cd" * 32,
            "config": json.dumps({"model": {"name": "lstm"}}),
            "training_log": json.dumps(made_log(draw)),
            "provenance": json.dumps({"made_by": "soilcast forecast"}),
        }
        | _ABOUT
        | {"title": "LSTM: the coming days on a made-up planet", "weather": "forecast"}
        | attributes,
    )
    outlook["area"] = ("cell", np.cos(np.radians(outlook["lat"].to_numpy())) + 0.01)
    dims, shape = ("cell", "time", "lead"), (cells, issue_days, leads)
    for target in targets:
        start = draw.uniform(0.08, 0.42, (cells, 1, 1))
        centre = np.clip(start + draw.normal(-0.002, 0.004, shape).cumsum(axis=2), 0.02, 0.6)
        rank = np.clip(draw.uniform(0, 60, (cells, 1, 1)) + draw.normal(-1, 2, shape).cumsum(axis=2), 0, 100)
        classes = np.where(rank > 30, -1, np.digitize(-rank, [-20, -10, -5, -2]))
        if cells > 1:
            centre[-1] = np.nan
        missing = np.isnan(centre)
        outlook[target] = (dims, centre.astype(np.float32), {"units": "m3 m-3"})
        if quantiles:
            spread = 0.01 * np.sqrt(lead)[:, np.newaxis] * np.array([-1.64, -0.67, 0, 0.67, 1.64])
            values = (centre[..., np.newaxis] + spread).astype(np.float32)
            outlook[f"{target}_quantile"] = ((*dims, "quantile"), values, {"units": "m3 m-3"})
        if products:
            anomaly = np.where(missing, np.nan, (rank - 50) / 500).astype(np.float32)
            outlook[f"{target}_anomaly"] = (dims, anomaly, {"units": "m3 m-3"})
            ranks = np.where(missing, np.nan, rank).astype(np.float32)
            said = {"units": "%", "comment": "against the cell's own days of 2018 to 2019"}
            outlook[f"{target}_percentile"] = (dims, ranks, said)
            flags = {"units": "1", "_FillValue": np.int8(-128)}
            outlook[f"{target}_drought"] = (dims, np.where(missing, -128, classes).astype(np.int8), flags)
            dry = ranks <= 20
            until = np.where(dry.any(axis=2), dry.argmax(axis=2) + 1, -1)
            until = np.where(missing.all(axis=2), -128, until).astype(np.int8)
            said = {"units": "d", "_FillValue": np.int8(-128), "dry": "at or below percentile 20 of the valid day"}
            outlook[f"{target}_days_to_dry"] = (dims[:2], until, said)
    return outlook.assign_coords(quantile=LEVELS) if quantiles else outlook


def save_outlook(outlook: xr.Dataset, path: Path) -> Path:
    """Write an outlook as `forecast` does: a Zarr folder, or NetCDF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_dataset(outlook, path, netcdf=path.suffix == ".nc")
    return path


def _add_series(scores: xr.Dataset, draw: np.random.Generator, days: int, picks: int, has: np.ndarray) -> None:
    targets, leads = scores.sizes["target"], scores.sizes["lead"]
    shape = (targets, picks, days)
    season = 0.25 + 0.08 * np.sin(np.arange(days) / 40) + draw.normal(0, 0.004, shape).cumsum(axis=2) / 2
    issued = days - leads + 1  # the first issue day is the day before the first test day
    day = np.datetime64("2020-01-01", "ns") + np.arange(days) * np.timedelta64(1, "D")
    valid = np.arange(issued)[:, np.newaxis] + np.arange(leads)
    truth = season[:, :, valid]
    spread = 0.01 * np.sqrt(np.arange(1, leads + 1))
    error = draw.normal(0, 1, (scores.sizes["model"], targets, picks, issued, 1)) * spread
    centre = truth + 0.6 * error
    quantiles = centre[..., np.newaxis] + spread[:, np.newaxis] * np.array([-1.64, -0.67, 0, 0.67, 1.64])
    quantiles[~has] = np.nan
    cells = max(scores.sizes["cell"] - 1, 1)
    scores["pick_cell"] = ("pick", draw.choice(cells, picks, replace=cells < picks))
    scores.coords["day"] = day
    scores.coords["time"] = day[0] - np.timedelta64(1, "D") + np.arange(issued) * np.timedelta64(1, "D")
    scores["observed"] = (("target", "pick", "day"), season.astype(np.float32))
    scores["predicted"] = (("model", "target", "pick", "time", "lead"), centre.astype(np.float32))
    dims = ("model", "target", "pick", "time", "lead", "quantile")
    scores["predicted_quantile"] = (dims, quantiles.astype(np.float32))
