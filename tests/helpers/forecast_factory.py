"""A made cube of few cells, made forecasts of it, and their refusal: for tests of what evaluates forecasts."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

from soilcast.cube import (
    Grid,
    assemble,
    cells_of_grid,
    era5_land_thickness,
    open_artifact,
    open_cube,
    save_cube,
    write_dataset,
)
from soilcast.errors import SoilcastError
from soilcast.verify import evaluate

DAYS = np.arange("2019-01-01", "2020-07-01", dtype="datetime64[D]").astype("datetime64[ns]")
PERIODS = {
    "train_period": "2019-01-01:2019-12-31",
    "validation_period": "2020-01-01:2020-03-31",
    "test_period": "2020-04-01:2020-06-30",
}
TEST = slice(int(np.searchsorted(DAYS, np.datetime64("2020-04-01"))), len(DAYS))
GRID = Grid(np.array([10.0, 30.0, 50.0, 70.0]), np.array([0.0, 20.0, 40.0]), np.array([0, 1, 4, 5, 7, 8, 10, 11]))
SHOWN = slice(TEST.start - 14, TEST.stop)
"""Days of the series in scores: two weeks before the test, and the test."""

LEADS = 3
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def issues_of(leads):
    """Issue days of which all leads lie within the test period, as positions along the days of the cube."""
    return slice(TEST.start - 1, TEST.stop - leads)


ISSUES = issues_of(LEADS)


def made_cube(path, lacking=(), seed=0):
    rng = np.random.default_rng(seed)
    shape = (len(GRID.index), len(DAYS))
    moisture = 0.3 + 0.05 * np.cumsum(rng.standard_normal(shape), axis=1) / 20
    moisture = np.clip(moisture, 0.02, 0.6)
    moisture[2, TEST.start + 3 : TEST.start + 6] = np.nan
    moisture[5, TEST] = np.nan
    variables = {
        "swvl1": moisture,
        "swvl2": np.clip(moisture + 0.01 * rng.standard_normal(shape), 0, 1),
        "swvl3": np.clip(moisture + 0.01 * rng.standard_normal(shape), 0, 1),
        "tp": rng.exponential(0.003, shape),
        "e": rng.uniform(0, 0.004, shape),
        "sro": rng.exponential(0.0005, shape),
        "sd": rng.uniform(0, 0.01, shape),
        "climate_zone": np.array([1, 2, 4, 5, 6, 14, 27, 29]),
        **era5_land_thickness(len(GRID.index)),
    }
    cube = assemble(
        {name: values for name, values in variables.items() if name not in lacking},
        cells=cells_of_grid(GRID),
        time=DAYS,
        title="a made cube",
        source="test",
        content="random numbers",
    )
    save_cube(cube, path)
    return path


def valid(values, leads=LEADS, issues=None):
    """``(cell, time)`` of all days -> ``(cell, issue day, lead)``."""
    issues = issues or issues_of(leads)
    return np.stack([values[:, issues.start + k : issues.stop + k] for k in range(1, leads + 1)], axis=-1)


def made_forecast(
    path,
    cube_path,
    *,
    targets=("swvl1",),
    leads=1,
    levels=(),
    label="LSTM",
    noise=0.01,
    seed=1,
    issues=None,
    balance="none",
    water=None,
    change=lambda forecast: forecast,
    **attributes,
):
    """A forecast whose error is noise that grows with the lead, and whose quantiles know how large it is."""
    rng = np.random.default_rng(seed)
    issues = issues or issues_of(leads)
    spread = noise * np.sqrt(np.arange(1, leads + 1))
    with open_cube(cube_path) as cube:
        variables = {}
        for target in targets:
            observed = valid(cube[target].to_numpy(), leads, issues)
            central = np.where(np.isnan(observed), 0.3, observed) + spread * rng.standard_normal(observed.shape)
            variables[target] = (("cell", "time", "lead"), central.astype(np.float32))
            if levels:
                quantiles = central[..., None] + spread[:, None] * norm.ppf(levels)
                dims = ("cell", "time", "lead", "quantile")
                variables[f"{target}_quantile"] = (dims, quantiles.astype(np.float32))
        issued = DAYS[issues]
        ahead = np.arange(1, leads + 1)
        forecast = xr.Dataset(
            variables,
            coords={name: cube[name].load() for name in cube.coords if name != "time"}
            | {
                "time": ("time", issued, {"standard_name": "forecast_reference_time"}),
                "lead": ("lead", ahead, {"standard_name": "forecast_period", "units": "d"}),
                "valid_time": (("time", "lead"), issued[:, None] + ahead * np.timedelta64(1, "D")),
                **({"quantile": list(levels)} if levels else {}),
            },
            attrs={
                "soilcast_kind": "forecast",
                "soilcast_format": 4,
                "title": "a made forecast",
                "targets": ",".join(targets),
                "lead_days": leads,
                "latency_days": 0,
                "weather": "none",
                "issue_days": f"{str(issued[0])[:10]}:{str(issued[-1])[:10]}",
                "label": label,
                "model": label.lower(),
                "content": cube.attrs["content"],
                "source": cube.attrs["source"],
                "cube_sha256": cube.attrs["content_sha256"],
                "weights_sha256": "0" * 64,
                "config": json.dumps({"model": label.lower(), "loss": {"balance": balance}, "water": water or {}}),
                "training_log": json.dumps([{"epoch": 1, "train_loss": 0.1, "validation_loss": None, "seconds": 1.0}]),
                **PERIODS,
                **attributes,
            },
        )
        forecast["area"] = cube["area"].load()
    write_dataset(change(forecast), path, netcdf=path.suffix == ".nc")
    return path


def altered(forecast, path, change):
    """The same forecast with ``change(dataset)`` made to it."""
    with open_artifact(forecast, "forecast") as opened:
        loaded = opened.load()
    for name in loaded.variables:
        loaded[name].encoding = {}
    write_dataset(change(loaded), path, netcdf=path.suffix == ".nc")
    return path


def refused(forecasts, cube, out, *words):
    """See that the evaluation is refused in one line with these words, and leaves nothing."""
    with pytest.raises(SoilcastError) as caught:
        evaluate(forecasts, cube, out)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    assert not out.exists()
