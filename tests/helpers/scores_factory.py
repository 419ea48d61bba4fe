"""Small scores and forecasts, made up for tests of what comes after them. Their numbers mean nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from soilcast.cube import Grid, write_dataset
from soilcast.reporting.scores import load_scores
from soilcast.verify.drought import EVENTS, WITHIN
from soilcast.verify.events import (
    BINS,
    STATISTICS,
    THRESHOLDS,
    decompose_brier,
    economic_value,
    relative_operating_characteristic,
    reliability_curve,
)
from soilcast.verify.metrics import METRICS
from soilcast.verify.scores import EVENT_VARIABLES

BASELINES = ("persistence", "damped anomaly", "climatology")
LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
TESTS = (
    *("difference", "difference_low", "difference_high", "difference_p", "difference_p_adjusted"),
    *("difference_detectable", "difference_ratio"),
)

_BY_CELL = ("model", "target", "lead", "cell")
_FLUXES = ("consistency_w1", "consistency_w1_masked", "consistency_w2", "consistency_w2_masked")
_INTERVALS = ("coverage_50", "coverage_90", "width_90")
_PROBABILITIES = tuple(name for name, metric in METRICS.items() if "climate" in metric.needs)
_BALANCE = {"LSTM": "none", "PHY-LSTM": "single", "PHYs-LSTM": "multi"}
_BINS = 10
_ABOUT = {
    "soilcast_format": 4,
    "title": "A made-up planet",
    "content": "synthetic weather",
    "source": "planet",
    "train_period": "2018-01-01:2019-06-28",
    "validation_period": "2019-06-29:2019-12-23",
    "test_period": "2020-01-01:2020-12-31",
    "latency_days": 0,
    "weather": "none",
    "cube_sha256": "ab" * 32,
}


def make_scores(
    *,
    networks: Sequence[str] = ("LSTM", "PHY-LSTM", "PHYs-LSTM"),
    with_quantiles: Sequence[str] = (),
    targets: Sequence[str] = ("swvl1",),
    leads: int = 1,
    cells: int = 60,
    days: int = 40,
    picks: int = 2,
    gridded: bool = True,
    step: float = 4.0,
    consistency: bool = True,
    zones: bool = True,
    factors: dict[str, float] | None = None,
    seed: int = 0,
    drought: bool = False,
    **attributes: object,
) -> xr.Dataset:
    """Scores in the schema that `evaluate` writes: on a grid, or of places in a small region.

    ``with_quantiles`` are the networks that have some; ``factors`` the RMSE of models over that of persistence in
    every cell and lead. With ``drought`` those with quantiles have probabilities of it, too. The last of several cells
    was not scored.
    """
    draw = np.random.default_rng(seed)
    models = [*networks, *BASELINES]
    has = np.array([label in with_quantiles for label in models])
    lead = np.arange(1, leads + 1)
    scores = xr.Dataset(
        coords={"model": models, "target": list(targets), "lead": ("lead", lead, {"units": "d"})}
        | (cells_of_a_grid(draw, cells, step) if gridded else cells_of_places(draw, cells)),
        attrs={
            "soilcast_kind": "scores",
            "targets": ",".join(targets),
            "training_logs": json.dumps({label: made_log(draw) for label in networks}),
            "configs": json.dumps({label: made_config(label) for label in networks}),
            "cells_total": cells,
            "cells_scored": max(cells - 1, 1),
            "scored_on": "cell-issue-days on which all are there",
            "provenance": json.dumps({"made_by": "soilcast evaluate", "cube": {"content_sha256": "ab" * 32}}),
            "water": "Water balance as in the run of PHY-LSTM: terms precipitation; snow paper.",
        }
        | _ABOUT
        | attributes,
    )
    scores["is_baseline"] = ("model", [label in BASELINES for label in models])
    scores["area"] = ("cell", np.cos(np.radians(scores["lat"].to_numpy())) + 0.01)
    if zones:
        scores["climate_zone"] = ("cell", draw.integers(1, 31, cells).astype(np.float32))
    rmse = _errors(draw, models, (len(models), len(targets), leads, cells), factors)
    for name, values in _metrics(draw, rmse, models.index("persistence"), has).items():
        if (
            (name not in _FLUXES or consistency)
            and (has.any() or name not in (*_INTERVALS, "crps"))
            and (drought or name not in _PROBABILITIES)
        ):
            scores[name] = (_BY_CELL, values, METRICS[name].attributes)
    counts = np.full((len(targets), leads, cells), float(days - leads + 1))
    if cells > 1:
        counts[..., -1] = 0
    scores["days"] = (("target", "lead", "cell"), counts)
    if has.any():
        scores.coords["quantile"] = LEVELS
        reliability = np.clip(LEVELS + draw.normal(0, 0.02, (*rmse.shape[:3], len(LEVELS))), 0, 1)
        ranks = draw.dirichlet(np.full(_BINS, 300.0), rmse.shape[:3])
        reliability[~has], ranks[~has] = np.nan, np.nan
        scores["reliability"] = (("model", "target", "lead", "quantile"), reliability)
        scores["rank_histogram"] = (("model", "target", "lead", "bin"), ranks)
    if drought:
        _add_events(scores, draw, has)
    _add_series(scores, draw, days, picks, has)
    return scores


def few(**options: object) -> xr.Dataset:
    """Scores of several leads whose page is quickly made."""
    quick = {"networks": ("LSTM",), "with_quantiles": ("LSTM",), "cells": 5, "picks": 1, "days": 60, "leads": 3}
    return make_scores(**quick | {"zones": False, "consistency": False} | options)  # type: ignore[arg-type]


def loaded(scores: xr.Dataset) -> xr.Dataset:
    """Scores as a page has them."""
    return load_scores(scores, Path("scores.nc"))


def with_tests(scores: xr.Dataset, references: Sequence[str] = BASELINES, **p: float) -> xr.Dataset:
    """Add tested differences of all networks: the median RMSE as it is, and adjusted ``p`` by network, else 0.5.

    The p-value by itself is a hundredth of it.
    """
    networks = [str(label) for label in scores["model"].to_numpy() if label not in BASELINES]
    dims = ("tested_metric", "row", "reference", "target", "lead")
    metrics = [name for name in ("rmse", "crps") if name in scores]
    shape = (len(metrics), len(networks), len(references), scores.sizes["target"], scores.sizes["lead"])
    found = {name: np.full(shape, np.nan) for name in (*TESTS, "area_better", "area_worse")}
    for at in np.ndindex(shape):
        m, row, reference, target, lead = at
        one = scores[metrics[m]].isel(target=target, lead=lead)
        mine, theirs = (float(one.sel(model=label).median()) for label in (networks[row], references[reference]))
        found["difference"][at] = mine - theirs
        found["difference_low"][at], found["difference_high"][at] = mine - theirs - 0.001, mine - theirs + 0.001
        found["difference_p_adjusted"][at] = p.get(networks[row].replace("-", "_"), 0.5)
        found["difference_p"][at] = found["difference_p_adjusted"][at] / 100
        found["difference_detectable"][at] = 0.05 * theirs
        found["difference_ratio"][at] = mine / theirs
        found["area_better"][at], found["area_worse"][at] = 0.75, 0.125
    return scores.assign({name: (dims, values) for name, values in found.items()}).assign_coords(
        tested_metric=metrics, row=networks, reference=list(references)
    )


def with_rmse(scores: xr.Dataset, **medians: float) -> xr.Dataset:
    """Give models the same RMSE in every cell; underscores in the names stand for hyphens."""
    for name, value in medians.items():
        scores["rmse"].loc[{"model": name.replace("_", "-")}] = value
    ratio = scores["rmse"] / scores["rmse"].sel(model="persistence", drop=True)
    return scores.assign(skill=1 - ratio**2, ratio=ratio)


def make_forecast(
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
    """A forecast as `forecast` writes it; the last of several cells has none."""
    draw = np.random.default_rng(seed)
    lead = np.arange(1, leads + 1)
    time = np.datetime64("2020-05-03", "ns") + np.arange(issue_days) * np.timedelta64(1, "D")
    forecast = xr.Dataset(
        coords={
            "time": ("time", time, {"standard_name": "forecast_reference_time"}),
            "lead": ("lead", lead, {"standard_name": "forecast_period", "units": "d"}),
            "valid_time": (("time", "lead"), time[:, np.newaxis] + lead * np.timedelta64(1, "D")),
        }
        | (cells_of_a_grid(draw, cells, step) if gridded else cells_of_places(draw, cells)),
        attrs={
            "soilcast_kind": "forecast",
            "targets": ",".join(targets),
            "lead_days": leads,
            "label": "LSTM",
            "model": "lstm",
            "weights_sha256": "cd" * 32,
            "config": json.dumps(made_config("LSTM")),
            "training_log": json.dumps(made_log(draw)),
            "provenance": json.dumps({"made_by": "soilcast forecast"}),
        }
        | _ABOUT
        | {"title": "LSTM: the coming days on a made-up planet", "weather": "forecast", "latency_days": 5}
        | attributes,
    )
    forecast["area"] = ("cell", np.cos(np.radians(forecast["lat"].to_numpy())) + 0.01)
    for target in targets:
        _add_target(forecast, draw, target, quantiles=quantiles, products=products)
    return forecast.assign_coords(quantile=LEVELS) if quantiles else forecast


def save_scores(scores: xr.Dataset, folder: Path) -> Path:
    """Write scores as a folder with its scores.nc, and give the folder."""
    folder.mkdir(parents=True)
    write_dataset(scores, folder / "scores.nc", netcdf=True)
    return folder


def save_forecast(forecast: xr.Dataset, path: Path) -> Path:
    """Write a forecast as `forecast` does: a Zarr folder, or NetCDF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_dataset(forecast, path, netcdf=path.suffix == ".nc")
    return path


def in_region(made: xr.Dataset, south: float = 47.0, west: float = 5.0, step: float = 0.25) -> xr.Dataset:
    """The same artifact on a grid of a region."""
    cells = made.sizes["cell"]
    side = int(np.ceil(np.sqrt(cells)))
    grid = Grid(south + step * np.arange(side), west + step * np.arange(side), np.arange(cells))
    axes = {"grid_lat": ("grid_lat", grid.lat), "grid_lon": ("grid_lon", grid.lon)}
    cell = {"cell": grid.index, "lat": ("cell", grid.cell_lat), "lon": ("cell", grid.cell_lon)}
    return made.drop_vars(["grid_lat", "grid_lon"], errors="ignore").assign_coords(cell | axes)


def cells_of_a_grid(draw: np.random.Generator, cells: int, step: float) -> dict[str, xr.Variable]:
    """Random cells of a global grid of this ``step`` [degrees]."""
    lat, lon = np.arange(82, -60, -step) - step / 2, np.arange(-180, 180, step) + step / 2
    index = np.sort(draw.choice(lat.size * lon.size, cells, replace=False))
    grid = Grid(lat, lon, index)
    return {
        "cell": xr.Variable("cell", index),
        "lat": xr.Variable("cell", grid.cell_lat),
        "lon": xr.Variable("cell", grid.cell_lon),
        "grid_lat": xr.Variable("grid_lat", lat),
        "grid_lon": xr.Variable("grid_lon", lon),
    }


def cells_of_places(draw: np.random.Generator, cells: int) -> dict[str, xr.Variable]:
    """Places in a small region."""
    return {
        "cell": xr.Variable("cell", np.arange(cells)),
        "lat": xr.Variable("cell", 40 + draw.random(cells) * 2),
        "lon": xr.Variable("cell", -75 + draw.random(cells) * 2),
        "cell_name": xr.Variable("cell", [f"basin {number}" for number in range(cells)]),
    }


def made_config(label: str) -> dict[str, object]:
    """The config of a run, as far as it is read: its label says which water balance guides it."""
    loss = {"name": "rmse", "balance": _BALANCE.get(label, "none")}
    return {"model": label.lower(), "label": label, "loss": loss}


def made_log(draw: np.random.Generator) -> list[dict[str, float | None]]:
    """A training log of 60 epochs."""
    loss = 0.3 * np.exp(-np.arange(60) / 15) + 0.04 + draw.random(60) * 0.005
    return [
        {
            "epoch": epoch + 1,
            "train_loss": float(value),
            "validation_loss": float(value * 1.1) if epoch % 10 == 9 else None,
            "seconds": 0.5,
        }
        for epoch, value in enumerate(loss)
    ]


def _errors(
    draw: np.random.Generator, models: list[str], shape: tuple[int, ...], factors: dict[str, float] | None
) -> np.ndarray:
    """RMSE that grows with the lead: of persistence, and the others by their factors."""
    given = {label: 0.7 + 0.1 * at for at, label in enumerate(models[: -len(BASELINES)])}
    given |= {"persistence": 1.0, "damped anomaly": 0.93, "climatology": 1.6}
    factor = np.array([(given | (factors or {}))[label] for label in models])
    noise = np.ones(shape) if factors else draw.lognormal(0, 0.05, shape)
    reference = 0.02 * np.sqrt(np.arange(1, shape[2] + 1))[:, np.newaxis] * draw.lognormal(0, 0.4, shape[3])
    rmse = reference * factor[:, np.newaxis, np.newaxis, np.newaxis] * noise
    rmse[models.index("persistence")] = reference
    return rmse


def _metrics(draw: np.random.Generator, rmse: np.ndarray, persistence: int, has: np.ndarray) -> dict[str, np.ndarray]:
    shape = rmse.shape
    found = {name: draw.uniform(0.2, 0.9, shape) for name in METRICS}
    found |= {
        "rmse": rmse,
        "ubrmse": rmse * 0.9,
        "bias": draw.normal(0, 0.005, shape),
        "r": np.clip(1 - rmse, -1, 1),
        "ratio": rmse / rmse[persistence],
        "skill": 1 - rmse**2 / rmse[persistence] ** 2,
        "crps": rmse * np.where(has, 0.5, 0.75)[:, np.newaxis, np.newaxis, np.newaxis],
        "coverage_50": np.clip(draw.normal(0.5, 0.01, shape), 0, 1),
        "coverage_90": np.clip(draw.normal(0.9, 0.01, shape), 0, 1),
        "width_90": rmse * 3,
        "rmse_dry": rmse * 1.2,
        "rmse_wet": rmse * 1.5,
    }
    for name in _FLUXES:
        found[name][persistence] = np.nan
    for name in (*_INTERVALS, *_PROBABILITIES):
        found[name][~has] = np.nan
    if shape[-1] > 1:
        for values in found.values():
            values[..., -1] = np.nan
    return found


def _add_events(scores: xr.Dataset, draw: np.random.Generator, has: np.ndarray) -> None:
    """Probabilities of drought that are reliable, and less sharp with the lead."""
    events = (*EVENTS, WITHIN)
    leads = np.arange(1, scores.sizes["lead"] + 1)[:, np.newaxis, np.newaxis]
    middle = (np.array([0.0, *THRESHOLDS]) + np.array([*THRESHOLDS, 1.0])) / 2
    count = draw.uniform(0.5, 1.0, (*[scores.sizes[dim] for dim in ("model", "target", "lead")], len(events), BINS))
    count = count * np.exp(-leads * np.abs(middle - 0.2))
    observed = count * np.clip(middle + draw.normal(0, 0.02, count.shape), 0, 1)
    series = (count, count * middle, count * middle**2, observed, observed * middle)
    sums = np.stack(series, axis=-1)
    assert sums.shape[-1] == len(STATISTICS)
    sums[~has] = np.nan
    found = reliability_curve(sums) | decompose_brier(sums) | relative_operating_characteristic(sums)
    found["value"] = economic_value(sums)
    scores.coords["event"] = list(events)
    scores.coords["probability_bin"], scores.coords["threshold"] = [0.0, *THRESHOLDS], list(THRESHOLDS)
    for dims, names in EVENT_VARIABLES.items():
        for name in names:
            scores[f"event_{name}"] = (("model", "target", "lead", "event", *dims), found[name])


def _add_series(scores: xr.Dataset, draw: np.random.Generator, days: int, picks: int, has: np.ndarray) -> None:
    targets, leads = scores.sizes["target"], scores.sizes["lead"]
    shape = (targets, picks, days)
    season = 0.25 + 0.08 * np.sin(np.arange(days) / 40) + draw.normal(0, 0.004, shape).cumsum(axis=2) / 2
    issued = days - leads + 1  # the first issue day is the day before the first test day
    day = np.datetime64("2020-01-01", "ns") + np.arange(days) * np.timedelta64(1, "D")
    truth = season[:, :, np.arange(issued)[:, np.newaxis] + np.arange(leads)]
    spread = 0.01 * np.sqrt(np.arange(1, leads + 1))
    centre = truth + 0.6 * draw.normal(0, 1, (scores.sizes["model"], targets, picks, issued, 1)) * spread
    cells = max(scores.sizes["cell"] - 1, 1)
    scores["pick_cell"] = ("pick", draw.choice(cells, picks, replace=cells < picks))
    scores.coords["day"] = day
    scores.coords["time"] = day[0] - np.timedelta64(1, "D") + np.arange(issued) * np.timedelta64(1, "D")
    scores["observed"] = (("target", "pick", "day"), season.astype(np.float32))
    scores["predicted"] = (("model", "target", "pick", "time", "lead"), centre.astype(np.float32))
    scores["precipitation"] = (("pick", "day"), draw.gamma(0.2, 0.02, (picks, days)).astype(np.float32))
    if has.any():
        quantiles = centre[..., np.newaxis] + spread[:, np.newaxis] * np.array([-1.64, -0.67, 0, 0.67, 1.64])
        quantiles[~has] = np.nan
        dims = ("model", "target", "pick", "time", "lead", "quantile")
        scores["predicted_quantile"] = (dims, quantiles.astype(np.float32))


def _add_target(
    forecast: xr.Dataset, draw: np.random.Generator, target: str, *, quantiles: bool, products: bool
) -> None:
    dims = ("cell", "time", "lead")
    shape = tuple(forecast.sizes[dim] for dim in dims)
    start = draw.uniform(0.08, 0.42, (shape[0], 1, 1))
    centre = np.clip(start + draw.normal(-0.002, 0.004, shape).cumsum(axis=2), 0.02, 0.6)
    rank = np.clip(draw.uniform(0, 60, (shape[0], 1, 1)) + draw.normal(-1, 2, shape).cumsum(axis=2), 0, 100)
    classes = np.where(rank > 30, -1, np.digitize(-rank, [-20, -10, -5, -2]))
    if shape[0] > 1:
        centre[-1] = np.nan
    missing = np.isnan(centre)
    forecast[target] = (dims, centre.astype(np.float32), {"units": "m3 m-3"})
    if quantiles:
        lead = forecast["lead"].to_numpy()
        spread = 0.01 * np.sqrt(lead)[:, np.newaxis] * np.array([-1.64, -0.67, 0, 0.67, 1.64])
        values = (centre[..., np.newaxis] + spread).astype(np.float32)
        forecast[f"{target}_quantile"] = ((*dims, "quantile"), values, {"units": "m3 m-3"})
    if not products:
        return
    anomaly = np.where(missing, np.nan, (rank - 50) / 500).astype(np.float32)
    forecast[f"{target}_anomaly"] = (dims, anomaly, {"units": "m3 m-3"})
    ranks = np.where(missing, np.nan, rank).astype(np.float32)
    against = {"units": "%", "comment": "against the cell's own days of 2018 to 2019"}
    forecast[f"{target}_percentile"] = (dims, ranks, against)
    if quantiles:
        odds = np.clip(1 - rank[..., np.newaxis] / (60, 40, 20, 10, 4), 0, 1)
        odds[missing] = np.nan
        forecast[f"{target}_drought_probability"] = ((*dims, "drought_class"), odds.astype(np.float32), {"units": "1"})
        forecast.coords["drought_class"] = ["D0", "D1", "D2", "D3", "D4"]
    flags = {"units": "1", "_FillValue": np.int8(-128)}
    forecast[f"{target}_drought"] = (dims, np.where(missing, -128, classes).astype(np.int8), flags)
    dry = ranks <= 20
    until = np.where(dry.any(axis=2), dry.argmax(axis=2) + 1, -1)
    until = np.where(missing.all(axis=2), -128, until).astype(np.int8)
    threshold = {"units": "d", "_FillValue": np.int8(-128), "dry": "at or below percentile 20 of the valid day"}
    forecast[f"{target}_days_to_dry"] = (dims[:2], until, threshold)
