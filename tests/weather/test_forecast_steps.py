"""Forecasts as their centres give them: the daily weather is that which the steps were made from, whatever the layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from soilcast.cube import open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.forecasting import forecast
from soilcast.weather import Weather, open_weather
from tests.helpers.multiday import AHEAD, CELLS, DAYS, LEADS, quick
from tests.helpers.small import small_cube
from tests.helpers.weather_steps import (
    AIFS,
    AIFS_STEPS,
    DAY,
    GFS,
    GFS_RATES,
    IFS,
    TIGGE,
    Step,
    truth_of,
    write_steps,
    write_truth,
)

ISSUE = "2020-01-20"
NAMES = ("tp", "t2m", "q", "sp", "u10", "v10", "ssrd", "strd")
WRITTEN = tuple(name for name in NAMES if name != "q")
SIX, THREE = range(0, 97, 6), range(0, 97, 3)
MIXED = (*range(0, 49, 3), *range(54, 97, 6))
HOURLY = (*range(0, 25), *range(27, 97, 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("steps")
    save_cube(small_cube(CELLS, DAYS), path / "cube")
    return path


@pytest.fixture(scope="module")
def cube(folder: Path) -> xr.Dataset:
    return open_cube(folder / "cube")


def opened(paths: Any, cube: xr.Dataset, names: tuple[str, ...] = NAMES, **options: Any) -> Weather:
    options = {"leads": LEADS, "issues": np.datetime64(ISSUE), **options}
    return open_weather(paths, cube, names, options.pop("issues"), options.pop("leads"), **options)


def same(found: Weather, truth: Path, cube: xr.Dataset, names: tuple[str, ...] = NAMES) -> None:
    wanted = opened(truth, cube, names)
    assert found.members == wanted.members
    scales = np.nanmax(np.abs(wanted.values()), axis=(0, 1, 2, 3))
    for feature, name in enumerate(names):
        np.testing.assert_allclose(
            found.values()[..., feature], wanted.values()[..., feature], rtol=0, atol=1e-6 * scales[feature], err_msg=name
        )


# ---------------------------------------------------------------- every layout gives the daily truth

LAYOUTS: dict[str, tuple[Any, tuple[str, ...], Any, dict[str, Any]]] = {
    "IFS, 3 hourly, then 6 hourly": (IFS, ("d2m",), MIXED, {}),
    "IFS of 12 UTC of the day before": (IFS, ("d2m",), range(0, 121, 6), {"start": DAY + 12}),
    "IFS of 18 UTC, steps that change at noon": (
        IFS,
        ("d2m",),
        (*range(0, 43, 3), *range(48, 121, 6)),
        {"start": DAY + 18},
    ),
    "AIFS, in kg m-2": (AIFS, ("d2m",), SIX, {}),
    "AIFS, amounts of each step": (AIFS_STEPS, ("d2m",), SIX, {}),
    "GFS, buckets of 6 hours": (GFS, ("q",), THREE, {"centre": "kwbc"}),
    "GFS, hourly, then 3 hourly": (GFS, ("d2m",), HOURLY, {"centre": "kwbc"}),
    "GFS, mean rates": (GFS_RATES, ("r2",), THREE, {"centre": "kwbc"}),
    "TIGGE, edition 2": (TIGGE, ("d2m",), SIX, {}),
    "archive, edition 1, ends of steps alone": (IFS, ("d2m",), SIX, {"edition": 1}),
}


@pytest.mark.parametrize("members", [0, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_forecast_of_any_layout_is_the_daily_truth(
    tmp_path: Path, cube: xr.Dataset, layout: str, members: int
) -> None:
    table, humidity, hours, options = LAYOUTS[layout]
    truths = truth_of(ISSUE, NAMES, leads=LEADS + 2, members=members)
    path = write_steps(tmp_path / "forecast.grib", truths, table, (*WRITTEN, *humidity), hours, **options)
    truth = write_truth(tmp_path / "truth.nc", ISSUE, NAMES, members=members)
    same(opened(path, cube), truth, cube)
