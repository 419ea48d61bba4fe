"""The bucket model: its fluxes by hand, its balance, and what it knows of the cube whose weather drives it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from soilcast import prepare
from soilcast.cube import assemble, cells_of_places, open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.sources.bucket import SPIN_UP_DAYS, bucket, potential_evaporation
from tests.helpers.small import small_cube

LAST = 200


def weather_cube(path: Path, rain: np.ndarray, warmth: np.ndarray, *, without: str | None = None) -> Path:
    days = (np.datetime64("2001-01-01") + np.arange(LAST)).astype("datetime64[ns]")
    values = {"tp": np.tile(rain, (2, 1)), "t2m": np.tile(warmth, (2, 1)), "swvl1": np.full((2, LAST), 0.2)}
    made = assemble(
        {name: value for name, value in values.items() if name != without} | {"slthick1": np.array([0.07, 0.1])},
        cells=cells_of_places([48.0, -30.0], [11.0, 20.0], np.ones(2), ["north", "south"]),
        time=days,
        title="two places",
        source="test",
        content="made up",
    )
    save_cube(made, path)
    return path


def test_a_wet_layer_drains_and_dries_as_computed_by_hand(tmp_path: Path) -> None:
    rain = np.zeros(LAST)
    rain[100] = 0.05
    made = bucket([weather_cube(tmp_path / "cube", rain, np.full(LAST, 288.15))])
    stored = 0.07 * made["swvl1"].to_numpy()[0].astype(np.float64)
    pev = float(potential_evaporation(np.array([288.15]), np.array([48.0]), made["time"].to_numpy()[100])[0])
    filled = stored[99] + 0.05
    kept = 0.45 * 0.07
    drained = 0.5 * (kept - 0.32 * 0.07)
    assert made["sro"].to_numpy()[0, 100] == pytest.approx(filled - kept, rel=1e-5)
    assert made["ssro"].to_numpy()[0, 100] == pytest.approx(drained, rel=1e-5)
    assert made["e"].to_numpy()[0, 100] == pytest.approx(0.4 * pev, rel=1e-5)
    assert stored[100] == pytest.approx(kept - drained - 0.4 * pev, rel=1e-5)


def test_potential_evaporation_is_that_of_oudin() -> None:
    # FAO-56 (Allen et al. 1998), example 8: 32.2 MJ m-2 d-1 above the air on 3 September at 20 S.
    made = potential_evaporation(np.array([293.15, 263.15]), np.array([-20.0, -20.0]), np.datetime64("2001-09-03"))
    assert made[0] == pytest.approx(32.2 / 2.45 / 1000 * 25 / 100, rel=0.01)
    assert made[1] == 0


def test_snow_waits_for_warmth(tmp_path: Path) -> None:
    rain, warmth = np.zeros(LAST), np.full(LAST, 268.15)
    rain[80], warmth[120:] = 0.01, 274.15
    made = bucket([weather_cube(tmp_path / "cube", rain, warmth)])
    snow = made["sd"].to_numpy()[0]
    np.testing.assert_allclose(snow[[79, 80, 119, 120, 121, 123]], [0, 0.01, 0.01, 0.007, 0.004, 0], atol=1e-7)


def test_the_water_balance_closes_under_real_kinds_of_weather(tmp_path: Path) -> None:
    weather = small_cube(days=400)
    save_cube(weather, tmp_path / "cube")
    made = prepare("bucket", tmp_path / "cube", out=tmp_path / "bucket")
    value = {str(name): made[name].to_numpy().astype(np.float64) for name in made.data_vars}
    held = value["sd"] + value["slthick1"][:, np.newaxis] * value["swvl1"]
    missed = (value["tp"] - value["e"] - value["ro"])[:, 1:] - np.diff(held, axis=1)
    known = np.isfinite(missed)
    assert known[:, SPIN_UP_DAYS:].any()
    assert np.abs(missed[known]).max() < 1e-6
    assert "bucket" in made.attrs["content"]
    assert weather.attrs["content"] in made.attrs["content"]


def test_the_soil_moisture_of_the_cube_has_no_part_in_it(tmp_path: Path) -> None:
    rain, warmth = np.full(LAST, 0.002), np.full(LAST, 285.0)
    with_soil = bucket([weather_cube(tmp_path / "cube", rain, warmth)])
    without = bucket([weather_cube(tmp_path / "other", rain, warmth, without="swvl1")])
    xr.testing.assert_allclose(with_soil["swvl1"], without["swvl1"], rtol=0)


def test_after_a_gap_the_store_is_unknown_until_it_has_forgotten(tmp_path: Path) -> None:
    rain = np.zeros(LAST)
    rain[100] = np.nan
    made = bucket([weather_cube(tmp_path / "cube", rain, np.full(LAST, 285.0))])
    known = np.isfinite(made["swvl1"].to_numpy()[0])
    first, after = SPIN_UP_DAYS - 1, 100 + SPIN_UP_DAYS
    np.testing.assert_array_equal(
        known, (np.arange(LAST) >= first) & ~((np.arange(LAST) >= 100) & (np.arange(LAST) < after))
    )


def test_what_it_cannot_do_without_is_said(tmp_path: Path) -> None:
    path = weather_cube(tmp_path / "cube", np.zeros(LAST), np.full(LAST, 285.0), without="t2m")
    with pytest.raises(SoilcastError, match="no t2m, which the bucket model needs"):
        bucket([path])
    with pytest.raises(SoilcastError, match="reads one cube, but 0 paths"):
        bucket()
    with open_cube(path) as opened:
        assert "swvl1" in opened
