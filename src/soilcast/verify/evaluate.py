"""From forecasts to scores: every model and every baseline on exactly the same cell-days."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from soilcast.cube import open_cube, read, write_dataset
from soilcast.errors import SoilcastError
from soilcast.files import refuse_existing, whole_or_nothing
from soilcast.models.baselines import BASELINES
from soilcast.provenance import stamp
from soilcast.verify.consistency import consistencies
from soilcast.verify.entries import Entry, days_judged, open_entries
from soilcast.verify.metrics import METRICS, score_cells
from soilcast.verify.series import pick_cells, picked_series
from soilcast.verify.summary import summarise

_ABOUT_CELLS = ("area", "climate_zone")
_SCORED_ON = "cell-days on which the observation, every forecast and every baseline are there"
_CARRIED = ("target", "content", "train_period", "validation_period", "test_period")

Models = dict[str, npt.NDArray[np.float32]]


def evaluate(
    forecasts: Sequence[str | Path], cube: str | Path, out: str | Path, *, overwrite: bool = False
) -> xr.Dataset:
    """Score forecasts against the cube that they were made for, with the baselines beside them.

    Parameters
    ----------
    forecasts
        What `forecast` wrote: of one cube, one target and one split; several forecasts of one label are numbered.
    cube
        The cube that they were made for.
    out
        Folder to write: ``scores.nc``, ``table.csv`` (one row a model) and ``cells.csv`` (one row a model and cell).
    overwrite
        Replace ``out`` if it exists.

    Returns
    -------
    The scores: `soilcast.verify.metrics.METRICS` as ``(model, cell)`` float64 and ``days(model, cell)``, the forecasts
    first, then the baselines; ``is_baseline(model)``; ``area(cell)``; and a few cells as series. A cell without two
    days to score is NaN.

    Raises
    ------
    SoilcastError
        Forecasts that do not belong to this cube or to each other, no cell-day to score, an ``out`` that exists.
    """
    out, cube_path = Path(out), Path(cube)
    refuse_existing(out, overwrite=overwrite)
    with open_cube(cube_path) as opened:
        entries = open_entries([Path(path) for path in forecasts], opened, cube_path, reserved=tuple(BASELINES))
        scores = _score(entries, opened)
    scores.attrs["provenance"] = stamp(
        "soilcast evaluate",
        cube=str(cube_path),
        cube_sha256=entries[0].attributes["cube_sha256"],
        forecasts={entry.label: str(entry.path) for entry in entries},
    )
    with whole_or_nothing(out, overwrite=overwrite) as partial:
        partial.mkdir()
        write_dataset(scores, partial / "scores.nc", netcdf=True)
        summarise(scores).to_csv(partial / "table.csv")
        cell_table(scores).to_csv(partial / "cells.csv", index=False)
    return scores


def cell_table(scores: xr.Dataset) -> pd.DataFrame:
    """Scores as a table of one row per model and cell, with the place of the cell."""
    about = [name for name in ("cell", "cell_name", "lat", "lon", *_ABOUT_CELLS) if name in scores.variables]
    measured = [name for name in (*METRICS, "days") if name in scores]
    models, cells = scores.sizes["model"], scores.sizes["cell"]
    return pd.DataFrame(
        {"model": np.repeat(scores["model"].to_numpy(), cells)}
        | {name: np.tile(scores[name].to_numpy(), models) for name in about}
        | {name: scores[name].transpose("model", "cell").to_numpy().ravel() for name in measured}
    )


def _score(entries: Sequence[Entry], cube: xr.Dataset) -> xr.Dataset:
    learn, test = days_judged(entries[0], cube)
    history = read(cube, entries[0].attributes["target"])
    days = cube["time"].to_numpy()
    models: Models = {entry.label: entry.predicted for entry in entries}
    models |= {name: baseline(history, days, learn, test) for name, baseline in BASELINES.items()}
    observed = history[:, test]
    usable = _usable_days(observed, models)
    scored = [np.where(usable, values, np.float32(np.nan)) for values in models.values()]
    measured = [score_cells(observed, values) for values in scored]
    metrics = {name: np.stack([one[name] for one in measured]) for name in measured[0]}
    metrics["skill"] = _skill(metrics["rmse"], list(models).index("persistence"))
    shares, water = consistencies(entries, cube, history, test, scored)
    scores = _dataset(models, metrics | shares, entries, cube)
    scores.attrs |= {"water": water, "cells_scored": int(np.isfinite(metrics["rmse"][0]).sum())}
    if not scores.attrs["cells_scored"]:
        raise SoilcastError(f"{entries[0].path}: no cell has two days to score: choose a longer test period")
    return scores.assign(picked_series(pick_cells(scores), cube, test, observed, models)).assign_coords(
        time=cube["time"][test].drop_encoding()
    )


def _usable_days(observed: npt.NDArray[np.float32], models: Models) -> npt.NDArray[np.bool_]:
    usable = np.isfinite(observed)
    if not usable.any():
        raise SoilcastError("the cube holds no observation in the test period: choose another with split.test")
    for label, values in models.items():
        usable &= np.isfinite(values)
        if not usable.any():
            raise SoilcastError(
                f"no cell-day is left to score: {label} has no value where the observation and the models before it "
                "have one; see that the cube holds the inputs and the target of the test period and of the day before"
            )
    return usable


def _skill(rmse: npt.NDArray[np.float64], reference: int) -> npt.NDArray[np.float64]:
    error = rmse**2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(error[reference] == 0, np.nan, 1 - error / error[reference]))


def _dataset(
    models: Models, metrics: dict[str, npt.NDArray[np.float64]], entries: Sequence[Entry], cube: xr.Dataset
) -> xr.Dataset:
    first = entries[0].attributes
    labels = list(models)
    days = {"long_name": "number of days scored", "units": "1"}
    scores = xr.Dataset(
        {
            name: (("model", "cell"), metrics[name], METRICS[name].attributes if name in METRICS else days)
            for name in (*METRICS, "days")
            if name in metrics
        },
        coords={name: cube[name].drop_encoding().load() for name in cube.coords if name != "time"}
        | {"model": ("model", np.array(labels), {"long_name": "model"})},
        attrs={
            "Conventions": "CF-1.11",
            "soilcast_kind": "scores",
            "title": str(cube.attrs.get("title", "a cube")),
            **{name: first[name] for name in _CARRIED},
            "source": str(cube.attrs.get("source", "")),
            "cube_sha256": first["cube_sha256"],
            "scored_on": _SCORED_ON,
            "training_logs": json.dumps({entry.label: entry.training_log for entry in entries}),
            "configs": json.dumps({entry.label: entry.config for entry in entries}),
            "cells_total": cube.sizes["cell"],
        },
    )
    scores["is_baseline"] = ("model", np.array([label in BASELINES for label in labels]))
    for name in _ABOUT_CELLS:
        if name in cube:
            scores[name] = ("cell", read(cube, name), cube[name].attrs)
    return scores
