"""Nothing that comes later than what is known on the issue day matters to a forecast, whatever is late by how much."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from soilcast.cube import save_cube
from soilcast.forecasting import forecast
from soilcast.training import open_run
from tests.helpers.multiday import AHEAD, CELLS, DAYS, forecast_weather, quick
from tests.helpers.small import small_cube

ISSUE, AT = "2020-01-20", 749
"""The issue day, and its position in the small cube."""

SOIL = "task.layers=[swvl1,swvl2]"
UNSEEN = (
    *("u10", "v10", "sp", "q", "strd", "e", "sro", "ro", "sd", "swvl3", "swvl4", "slthick3", "slthick4"),
    *("landcover", "soil_water_capacity", "clay", "sand", "silt", "climate_zone"),
)
CASES = {
    "all": ("task.latency=2",),
    "groups": ("task.latency={dynamic: 2, lags: 5}",),
    "one layer": ("task.latency={swvl1: 3}", SOIL),
    "weather ahead": ("task.latency={lags: 5, ssrd: 1}", AHEAD),
    "rollout": ("task.latency={lags: 2}", AHEAD, "head.name=rollout", "task.calendar=true"),
    "water balance": ("task.latency={lags: 3}", AHEAD, "head.name=water_balance", SOIL),
    "bucket": ("task.latency={lags: 3}", AHEAD, "head.name=bucket", SOIL),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("leaks")
    save_cube(seen_cube(), path / "cube")
    return path


def seen_cube() -> xr.Dataset:
    """The small cube, of the variables that the runs look at, for it is written often."""
    return small_cube(CELLS, DAYS, drop=UNSEEN)


def changed(path: Path, first: dict[str, int]) -> Path:
    """Save the small cube with other values of each variable from some day on; of others from the issue day's next."""
    cube = seen_cube()
    for name in (str(name) for name in cube.data_vars if "time" in cube[name].dims):
        values = cube[name].to_numpy().copy()
        late = slice(first.get(name, AT + 1), None)
        values[:, late] = values[::-1, late] * np.float32(0.97)
        cube[name] = (("cell", "time"), values, cube[name].attrs)
    save_cube(cube, path)
    return path


def same(one: xr.Dataset, other: xr.Dataset) -> bool:
    assert set(one.data_vars) == set(other.data_vars)
    return all(np.array_equal(one[name], other[name], equal_nan=True) for name in one.data_vars)


@pytest.mark.slow
@pytest.mark.parametrize("case", list(CASES))
def test_a_forecast_is_of_what_is_known_on_its_issue_day(folder: Path, tmp_path: Path, case: str) -> None:
    quick(folder / "cube", tmp_path / "run", *CASES[case])
    task = open_run(tmp_path / "run").config.task
    weather = forecast_weather(tmp_path / "weather.nc", ISSUE) if task.known_future else None

    def made(cube: Path) -> xr.Dataset:
        out = tmp_path / f"forecast of {cube.name}"
        return forecast(tmp_path / "run", cube, out, issue=ISSUE, weather=weather)

    expected = made(folder / "cube")
    assert np.isfinite(expected["swvl1"]).all()
    unknown = {name: AT + 1 - task.latency_of(name) for name in (*task.dynamic, *task.soil_layers)}
    assert same(made(changed(tmp_path / "later", unknown)), expected)
    # The last day that is known of each input is looked at; of those that are known to the same day, of one.
    names = (*task.dynamic, *task.lags)
    for name in names if case == "all" else {task.latency_of(name): name for name in names}.values():
        other = made(changed(tmp_path / name, unknown | {name: unknown[name] - 1}))
        assert not same(other, expected), name


@pytest.mark.slow
@pytest.mark.parametrize("case", ["groups", "one layer"])
def test_what_is_forecast_of_a_period_is_what_each_issue_day_gives(folder: Path, tmp_path: Path, case: str) -> None:
    quick(folder / "cube", tmp_path / "run", *CASES[case])
    whole = forecast(tmp_path / "run", folder / "cube", tmp_path / "whole")
    save_cube(seen_cube().isel(time=slice(None, AT + 1)), tmp_path / "until")
    alone = forecast(tmp_path / "run", tmp_path / "until", tmp_path / "alone", issue=ISSUE)
    for name in ("swvl1", "swvl1_quantile"):
        np.testing.assert_allclose(whole[name].sel(time=[ISSUE]), alone[name], atol=2e-7)
    assert alone.attrs["latency_days"] == {"groups": 5, "one layer": 3}[case]
