"""Small Scores made up for tests of what comes after evaluation. Their numbers mean nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from soilcast.cube import Grid
from soilcast.verify.metrics import METRICS

BASELINES = ("persistence", "damped anomaly", "climatology")
_FLUXES = ("consistency_w1", "consistency_w1_masked", "consistency_w2", "consistency_w2_masked")


def make_scores(
    *,
    networks: Sequence[str] = ("LSTM", "PHY-LSTM", "PHYs-LSTM"),
    gridded: bool = True,
    cells: int = 60,
    days: int = 40,
    picks: int = 2,
    step: float = 4.0,
    consistency: bool = True,
    zones: bool = True,
    seed: int = 0,
    **attributes: str,
) -> xr.Dataset:
    """Scores in the schema that `evaluate` writes: on a grid, or of places in a small region."""
    draw = np.random.default_rng(seed)
    models = [*networks, *BASELINES]
    coords = cells_of_a_grid(draw, cells, step) if gridded else cells_of_places(draw, cells)
    scores = xr.Dataset(
        coords={"model": models, "time": np.datetime64("2020-01-01", "ns") + np.arange(days) * np.timedelta64(1, "D")}
        | coords,
        attrs={
            "soilcast_kind": "scores",
            "title": "A made-up planet",
            "content": "synthetic weather",
            "source": "planet",
            "target": "swvl1",
            "train_period": "2018-01-01:2019-06-28",
            "validation_period": "2019-06-29:2019-12-23",
            "test_period": "2020-01-01:2020-12-31",
            "training_logs": json.dumps({label: made_log(draw) for label in networks}),
            "configs": json.dumps({label: {"model": {"name": label.lower()}, "seed": 0} for label in networks}),
            "cells_total": cells + 2,
            "cells_scored": cells,
            "provenance": json.dumps({"made_by": "soilcast evaluate", "cube": {"content_sha256": "ab" * 32}}),
            "water": "Water balance as in the run of PHY-LSTM: terms precipitation; snow paper.",
        }
        | attributes,
    )
    scores["is_baseline"] = ("model", [label in BASELINES for label in models])
    scores["area"] = ("cell", np.cos(np.radians(scores["lat"].to_numpy())) + 0.01)
    if zones:
        scores["climate_zone"] = ("cell", draw.integers(1, 31, cells).astype(np.float32))
    for name, values in _metrics(draw, len(models), cells).items():
        if name not in _FLUXES or consistency:
            scores[name] = (("model", "cell"), values, METRICS[name].attributes if name in METRICS else {})
    _add_series(scores, draw, picks)
    return scores


def save_scores(scores: xr.Dataset, folder: Path) -> Path:
    """Write Scores as a folder with its scores.nc, and give the folder."""
    folder.mkdir(parents=True)
    scores.to_netcdf(folder / "scores.nc", engine="h5netcdf")
    return folder


def with_rmse(scores: xr.Dataset, **medians: float) -> xr.Dataset:
    """Give models the same RMSE in every cell; underscores in the names stand for hyphens."""
    for name, value in medians.items():
        scores["rmse"].loc[{"model": name.replace("_", "-")}] = value
    skill = 1 - scores["rmse"] ** 2 / scores["rmse"].sel(model="persistence", drop=True) ** 2
    return scores.assign(skill=skill)


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


def _metrics(draw: np.random.Generator, models: int, cells: int) -> dict[str, np.ndarray]:
    shape = (models, cells)
    found = {name: draw.uniform(0.2, 0.9, shape) for name in METRICS}
    found |= {name: draw.uniform(0.01, 0.06, shape) for name in ("rmse", "ubrmse")}
    found["bias"] = draw.normal(0, 0.01, shape)
    persistence = models - len(BASELINES)
    found["skill"] = 1 - found["rmse"] ** 2 / found["rmse"][persistence] ** 2
    for name in _FLUXES:
        found[name][persistence] = np.nan
    if cells > 1:
        for values in found.values():
            values[:, -1] = np.nan
    found["days"] = np.full(shape, 366.0)
    return found


def _add_series(scores: xr.Dataset, draw: np.random.Generator, picks: int) -> None:
    days = scores.sizes["time"]
    season = 0.25 + 0.08 * np.sin(np.arange(days) / 20) + draw.normal(0, 0.005, (picks, days)).cumsum(axis=1)
    noise = draw.normal(0, 0.01, (scores.sizes["model"], picks, days))
    scores["pick_cell"] = ("pick", draw.choice(scores.sizes["cell"], picks, replace=scores.sizes["cell"] < picks))
    scores["observed"] = (("pick", "time"), season.astype(np.float32))
    scores["predicted"] = (("model", "pick", "time"), (season + noise).astype(np.float32))
    scores["precipitation"] = (("pick", "time"), draw.gamma(0.2, 0.02, (picks, days)).astype(np.float32))


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
