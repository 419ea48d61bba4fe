"""A cube on a grid and a forecast of it whose cells err partly alike, with the days that they share: for regions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import shapely
import xarray as xr
from scipy.stats import norm, rankdata

from soilcast.cube import Grid, assemble, cells_of_grid, era5_land_thickness, save_cube, write_dataset
from soilcast.products import add_products
from soilcast.products.variables import drought_class_coordinate
from tests.helpers.region_files import write_regions

GRID = Grid(np.array([50.0, 49.0, 48.0, 47.0]), np.array([4.0, 5.0, 6.0, 7.0, 8.0]), np.delete(np.arange(20), [3, 11]))
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
LEADS = 3
TEMPLATES = 120
VALIDATION = "2003-01-01:2003-12-31"

NORTH, SOUTH = shapely.box(3.2, 48.4, 8.5, 50.5), shapely.box(4.3, 46.5, 7.7, 48.4)
TINY, SEA = shapely.box(5.1, 49.1, 5.2, 49.2), shapely.box(40, 0, 50, 10)


def made_record(path: Path, days: int = 1827) -> xr.Dataset:
    """Save a cube of five years with a season, an anomaly that cells share, and one of each cell."""
    rng = np.random.default_rng(11)
    time = np.datetime64("2000-01-01", "ns") + np.arange(days) * np.timedelta64(1, "D").astype("timedelta64[ns]")
    cells = len(GRID.index)
    shared, own = (np.cumsum(rng.normal(size=(count, days)) * 0.004, axis=1) for count in (1, cells))
    season = 0.08 * np.cos(2 * np.pi * np.arange(days) / 365.25)
    moisture = 0.3 + season + 0.05 * np.tanh(10 * shared) + 0.05 * np.tanh(10 * own)
    cube = assemble(
        {"swvl1": moisture.astype(np.float32), **era5_land_thickness(cells, {"swvl1": 0.07})},
        cells=cells_of_grid(GRID),
        time=time,
        title="a record",
        source="test",
        content="random numbers",
    )
    save_cube(cube, path)
    return cube


def made_forecast(
    path: Path,
    cube: xr.Dataset,
    issues: tuple[str, ...] = ("2004-03-01", "2004-03-02"),
    *,
    correlation: float = 0.3,
    products: bool = True,
    **changes: Any,
) -> xr.Dataset:
    """Save a forecast from some issue days, and give it as it is in memory."""
    rng = np.random.default_rng(12)
    days = np.array(issues, dtype="datetime64[ns]")
    at = np.searchsorted(cube["time"].to_numpy(), days)[:, np.newaxis] + np.arange(1, LEADS + 1)
    truth = cube["swvl1"].to_numpy()[:, at]
    cells = len(truth)
    width = 0.01 * np.sqrt(np.arange(1, LEADS + 1)) * rng.uniform(0.5, 2.0, (cells, 1, 1))
    centre = truth + width * rng.normal(size=truth.shape)
    quantiles = (centre[..., np.newaxis] + width[..., np.newaxis] * norm.ppf(LEVELS)).astype(np.float32)
    errors = np.sqrt(correlation) * rng.normal(size=(1, TEMPLATES, LEADS))
    errors = errors + np.sqrt(1 - correlation) * rng.normal(size=(cells, TEMPLATES, LEADS))
    dims = ("cell", "time", "lead")
    about = cube["swvl1"].attrs
    coordinates = {str(name): cube[name].variable for name in cube.coords if name != "time"}
    made = xr.Dataset(
        {
            "area": cube["area"].variable,
            "swvl1": (dims, quantiles[..., 2], about),
            "swvl1_mean": (dims, (quantiles[..., 2] + np.float32(0.001)), about),
            "swvl1_quantile": ((*dims, "quantile"), quantiles, about),
            "swvl1_cell_rank": (("cell", "template_day", "lead"), rankdata(errors, axis=1).astype(np.uint8)),
        },
        coordinates
        | {
            "time": days,
            "lead": ("lead", np.arange(1, LEADS + 1, dtype=np.int32), {"units": "d"}),
            "valid_time": (("time", "lead"), cube["time"].to_numpy()[at]),
            "quantile": np.array(LEVELS),
            "template_day": np.datetime64("2003-01-01", "ns") + np.arange(TEMPLATES) * np.timedelta64(1, "D"),
        },
        {
            "soilcast_kind": "forecast",
            "soilcast_format": 4,
            "title": "made: 3 days ahead",
            "label": "made",
            "content": "random numbers",
            "source": "test",
            "license": "CC0",
            "targets": "swvl1",
            "latency_days": 0,
            "train_period": "2000-01-01:2002-12-31",
            "validation_period": VALIDATION,
        },
    )
    if products:
        stop = int(np.searchsorted(cube["time"].to_numpy(), np.datetime64("2004-01-01")))
        by_issue = [
            xr.Dataset(
                add_products(made.isel(time=[one]), cube, slice(None), layers=["swvl1"], reference=slice(0, stop))
            )
            for one in range(len(days))
        ]
        made = made.assign(xr.concat(by_issue, "time", combine_attrs="override").data_vars)
        made = made.assign_coords(drought_class=drought_class_coordinate())
    made = made.assign(changes)
    write_dataset(made, path, netcdf=path.suffix == ".nc")
    return made


def districts(path: Path) -> Path:
    """Write a file of two regions that share cells, one within a cell, and one without any."""
    return write_regions(path, [NORTH, SOUTH, TINY, SEA], name=["North", "South", "Tiny", "Sea"])
