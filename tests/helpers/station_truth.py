"""A synthetic truth of soil moisture at stations, a forecast on a grid around them, and distorted copies of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import Grid, assemble, cells_of_grid, cells_of_places, era5_land_thickness, save_cube, write_dataset
from soilcast.cube.contract import sensor_depth_name

Array = npt.NDArray[np.float64]

DAYS = np.arange("2017-01-01", "2020-12-31", dtype="datetime64[D]").astype("datetime64[ns]")
TRAIN, VALIDATION, TEST = "2017-01-01:2018-12-31", "2019-01-01:2019-06-30", "2019-07-01:2020-12-30"
GRID = Grid(np.array([48.0, 49.0, 50.0]), np.array([10.0, 11.0, 12.0]), np.arange(9))
PLACES = {"NET/Oak": (48.1, 10.2), "NET/Elm": (49.4, 11.3), "OTHER/Ash": (49.9, 12.1)}
CELLS = (0, 4, 8)
"""Cells of the grid that hold the stations."""

LEADS = 2


def truth(seed: int = 0, cells: int = 9) -> Array:
    """Soil moisture that rain wets at once and that dries, with an annual cycle ``(cell, time)`` [m3 m-3]."""
    rng = np.random.default_rng(seed)
    rain = rng.gamma(0.3, 0.03, (cells, len(DAYS))) * (rng.random((cells, len(DAYS))) < 0.3)
    wet = np.empty_like(rain)
    state = np.full(cells, 0.05)
    for day in range(len(DAYS)):
        state = np.minimum(0.9 * state + rain[:, day], 0.25)
        wet[:, day] = state
    season = 0.04 * np.cos(2 * np.pi * np.arange(len(DAYS)) / 365.25)
    return np.asarray(0.18 + wet + season)


@dataclass(frozen=True)
class Distortion:
    """What is done to a series: y(t) = 0.25 + gain (x(t - shift) - 0.25) + offset + noise."""

    offset: float = 0.0
    gain: float = 1.0
    shift: int = 0
    noise: float = 0.0

    def __call__(self, values: Array, seed: int = 1) -> Array:
        moved = np.roll(values, self.shift, axis=-1)
        noise = self.noise * np.random.default_rng(seed).standard_normal(values.shape)
        return np.asarray(0.25 + self.gain * (moved - 0.25) + self.offset + noise)


def station_cube(
    path: Path, values: Array, depth: float = 0.05, places: dict[str, tuple[float, float]] = PLACES
) -> Path:
    """Write the cube of stations with some values ``(station, time)`` of layer 1."""
    lat, lon = np.array(list(places.values())).T
    names = list(places)
    variables: dict[str, Any] = {
        "swvl1": values.astype(np.float32),
        sensor_depth_name("swvl1"): np.full(len(names), depth),
        **era5_land_thickness(len(names), {"swvl1": 0.07}),
    }
    cube = assemble(
        variables,
        cells=cells_of_places(lat, lon, np.ones(len(names)), names),
        time=DAYS,
        title="made stations",
        source="stations",
        content="synthetic stations",
    )
    save_cube(cube, path)
    return path


def grid_cube(path: Path, values: Array) -> Path:
    """Write the cube of the grid with some values ``(cell, time)`` of layer 1."""
    cube = assemble(
        {"swvl1": values.astype(np.float32), **era5_land_thickness(9, {"swvl1": 0.07})},
        cells=cells_of_grid(GRID),
        time=DAYS,
        title="made grid",
        source="test",
        content="synthetic",
    )
    save_cube(cube, path)
    return path


def grid_forecast(
    path: Path,
    values: Array,
    *,
    period: str = "2019-07-01:2020-12-30",
    label: str = "LSTM",
    leads: int = LEADS,
    change: Callable[[xr.Dataset], xr.Dataset] = lambda forecast: forecast,
    **attributes: Any,
) -> Path:
    """Write a forecast that says some values ``(cell, time)`` at every lead, issued for all days of a period."""
    first, last = (np.datetime64(text) for text in period.split(":"))
    valid = slice(int(np.searchsorted(DAYS, first)), int(np.searchsorted(DAYS, last)) + 1)
    issues = np.arange(valid.start - 1, valid.stop - leads)
    cells = cells_of_grid(GRID)
    ahead = np.arange(1, leads + 1)
    forecast = xr.Dataset(
        {
            "swvl1": (
                ("cell", "time", "lead"),
                np.stack([values[:, issues + k] for k in ahead], axis=-1).astype(np.float32),
                {"units": "m3 m-3"},
            ),
            "area": cells["area"],
        },
        coords={name: one for name, one in cells.items() if name != "area"}
        | {
            "time": ("time", DAYS[issues], {"standard_name": "forecast_reference_time"}),
            "lead": ("lead", ahead, {"standard_name": "forecast_period", "units": "d"}),
            "valid_time": (("time", "lead"), DAYS[issues][:, None] + ahead * np.timedelta64(1, "D")),
        },
        attrs={
            "soilcast_kind": "forecast",
            "soilcast_format": 4,
            "title": "a made forecast",
            "targets": "swvl1",
            "lead_days": leads,
            "latency_days": 0,
            "weather": "none",
            "issue_days": f"{str(DAYS[issues[0]])[:10]}:{str(DAYS[issues[-1]])[:10]}",
            "label": label,
            "model": "lstm",
            "content": "synthetic",
            "source": "test",
            "cube_sha256": "0" * 64,
            "weights_sha256": "0" * 64,
            "config": '{"model": "lstm", "loss": {"balance": "none"}, "water": {}}',
            "training_log": "[]",
            "train_period": TRAIN,
            "validation_period": VALIDATION,
            "test_period": period,
            **attributes,
        },
    )
    write_dataset(change(forecast), path, netcdf=path.suffix == ".nc")
    return path
