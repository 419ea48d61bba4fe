"""A made cube of few cells, made forecasts of it, and their refusal: for tests of what judges forecasts."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from soilcast.cube import Grid, assemble, cells_of_grid, era5_land_thickness, open_cube, save_cube, write_dataset
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


def made_forecast(path, cube_path, *, label="LSTM", model="lstm", noise=0.01, seed=1, water=None, **attributes):
    with open_cube(cube_path) as cube:
        observed = cube["swvl1"].to_numpy()[:, TEST]
        noisy = observed + noise * np.random.default_rng(seed).standard_normal(observed.shape)
        noisy = np.where(np.isnan(noisy), 0.3, noisy).astype(np.float32)
        forecast = xr.Dataset(
            {"swvl1": (("cell", "time"), noisy)},
            coords={name: cube[name].load() for name in cube.coords if name != "time"} | {"time": DAYS[TEST]},
            attrs={
                "soilcast_kind": "forecast",
                "title": "a made forecast",
                "target": "swvl1",
                "label": label,
                "model": model,
                "content": cube.attrs["content"],
                "source": cube.attrs["source"],
                "cube_sha256": cube.attrs["content_sha256"],
                "config": json.dumps({"model": model, "water": water or {}}),
                "training_log": json.dumps([{"epoch": 1, "train_loss": 0.1, "validation_loss": None, "seconds": 1.0}]),
                **PERIODS,
                **attributes,
            },
        )
    write_dataset(forecast, path, netcdf=path.suffix == ".nc")
    return path


def refused(forecasts, cube, out, *words):
    with pytest.raises(SoilcastError) as caught:
        evaluate(forecasts, cube, out)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    assert not out.exists()
