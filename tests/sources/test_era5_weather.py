"""The hours that ERA5-like files are made of: their days are the planet's, and their truth is right."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from soilcast.cube import VARIABLES, grid_of, to_grid
from soilcast.sources.derived import specific_humidity
from soilcast.sources.planet import planet
from soilcast.sources.planet.land import THICKNESS
from tests.helpers.era5_parameters import AMOUNTS
from tests.helpers.era5_truth import daily_truth
from tests.helpers.era5_weather import HourlyWeather, hourly_weather


@pytest.fixture(scope="module")
def weather() -> HourlyWeather:
    return hourly_weather(8, start="2020-02-28", days=3)


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    return planet(resolution=8, years="2020")


@pytest.mark.slow
def test_the_days_of_the_hours_are_the_planets(weather: HourlyWeather, cube: xr.Dataset) -> None:
    truth = daily_truth(weather)
    assert list(map(str, truth.day)) == ["2020-02-28", "2020-02-29", "2020-03-01"]
    for name in ("t2m", "u10", "v10", "sp", "q", "tp", "e", "sro", "ssro", "ro", "ssrd", "strd"):
        expected = planets(cube, name)
        scale = np.nanmax(np.abs(expected))
        near = {"rtol": 2e-3, "atol": 0} if name == "q" else {"rtol": 5e-7, "atol": 1e-7 * scale}
        np.testing.assert_allclose(truth.values[name], expected, **near, err_msg=name)
    for name, ends in truth.ends.items():
        np.testing.assert_array_equal(ends.astype(np.float32), planets(cube, name), err_msg=name)
        before = to_grid(cube[name].sel(time="2020-02-27"), grid_of(cube)).to_numpy()[::-1]
        np.testing.assert_array_equal(weather.instants[name][0], before, err_msg=name)


def planets(cube: xr.Dataset, name: str) -> np.ndarray:
    days = cube[name].sel(time=slice("2020-02-28", "2020-03-01"))
    return to_grid(days, grid_of(cube)).transpose("time", "lat", "lon").to_numpy()[:, ::-1]


def test_water_closes_for_every_day_in_the_files_signs(weather: HourlyWeather) -> None:
    def stored(at: int) -> np.ndarray:
        layers = [np.float64(depth) * weather.instants[f"swvl{n}"][at] for n, depth in enumerate(THICKNESS, start=1)]
        return weather.instants["sd"][at].astype(np.float64) + sum(layers)

    for day in range(3):
        hours = slice(24 * day + 1, 24 * day + 25)
        tp, e, ro = (weather.amounts[name][hours].sum(axis=0, dtype=np.float64) for name in ("tp", "e", "ro"))
        residual = tp + e - ro - (stored(24 * day + 24) - stored(24 * day))
        assert np.nanmax(np.abs(residual)) < 1e-6


def test_parts_of_water_and_radiation_agree(weather: HourlyWeather) -> None:
    amounts, land = weather.amounts, weather.land
    np.testing.assert_allclose(amounts["ro"], amounts["sro"] + amounts["ssro"], rtol=1e-6, atol=1e-12)
    assert (amounts["sf"][:, land] <= amounts["tp"][:, land]).all()
    assert (amounts["ssr"][:, land] <= amounts["ssrd"][:, land]).all()
    for name, sign in {"e": -1, "pev": -1, "str": -1, "tp": 1, "ssrd": 1, "strd": 1, "smlt": 1}.items():
        assert (sign * amounts[name][:, land] >= -1e-6).all(), name
        assert (sign * amounts[name][:, land] > 0).any(), name


def test_amounts_since_midnight_are_the_whole_day_at_its_end(weather: HourlyWeather) -> None:
    for name in AMOUNTS:
        hourly, since = weather.amounts[name], weather.since_midnight[name]
        np.testing.assert_array_equal(since[25], hourly[25])
        np.testing.assert_allclose(since[30], hourly[25:31].sum(axis=0, dtype=np.float64), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(since[48], hourly[25:49].sum(axis=0, dtype=np.float64), rtol=1e-6, atol=1e-9)
    assert np.nanmax(weather.since_midnight["tp"][0] - weather.amounts["tp"][0]) > 1e-3  # of the day before, not 0


def test_every_daily_value_is_within_the_contract_and_the_day_has_a_course(weather: HourlyWeather) -> None:
    truth = daily_truth(weather)
    for name, values in truth.values.items():
        one = VARIABLES[name]
        assert np.isfinite(values[:, weather.land]).all(), name
        assert np.isnan(values[:, ~weather.land]).all(), name
        assert one.valid_min <= np.nanmin(values) <= np.nanmax(values) <= one.valid_max, name
    assert np.nanmax(truth.values["mx2t"] - truth.values["mn2t"]) > 10
    dewpoint = weather.instants["d2m"]
    assert (weather.instants["t2m"] - dewpoint)[:, weather.land].min() > -0.2
    q = specific_humidity(dewpoint.astype(np.float64), weather.instants["sp"].astype(np.float64))
    np.testing.assert_allclose(q[:24].mean(axis=0), truth.values["q"][0], rtol=1e-3)


def test_solar_days_are_shifted_by_whole_hours(weather: HourlyWeather) -> None:
    utc, solar = daily_truth(weather), daily_truth(weather, solar=True)
    greenwich, india = (int(np.flatnonzero(weather.lon == lon)[0]) for lon in (0.0, 80.0))
    for name in utc.values:
        np.testing.assert_array_equal(solar.values[name][..., greenwich], utc.values[name][..., greenwich])
    # 80 degrees east is 5 hours ahead: its 29 February lasts from 19 UTC of the 28th to 19 UTC of the 29th.
    start = 19
    assert np.isnan(solar.values["tp"][0, :, india]).all()
    total = weather.amounts["tp"][start + 1 : start + 25, :, india].sum(axis=0, dtype=np.float64)
    np.testing.assert_array_equal(solar.values["tp"][1, :, india], total)
    mean = weather.instants["t2m"][start : start + 24, :, india].mean(axis=0, dtype=np.float64)
    np.testing.assert_array_equal(solar.values["t2m"][1, :, india], mean)
    np.testing.assert_array_equal(solar.ends["sd"][1, :, india], weather.instants["sd"][start + 24, :, india])


@pytest.mark.slow
def test_boxes_years_and_seeds(weather: HourlyWeather) -> None:
    box = hourly_weather(8, start="2020-02-28", days=3, box=(0.0, -20.0, 40.0, 40.0))
    rows = (weather.lat >= 0) & (weather.lat <= 40)
    columns = (weather.lon >= -20) & (weather.lon <= 40)
    np.testing.assert_array_equal(box.amounts["tp"], weather.amounts["tp"][:, rows][:, :, columns])
    turn = hourly_weather(8, start="2020-12-31", days=2)
    assert str(turn.days[-1]) == "2021-01-01"
    other = hourly_weather(8, start="2020-02-28", days=3, seed=1)
    assert not np.array_equal(weather.amounts["tp"], other.amounts["tp"], equal_nan=True)
    cut = weather.between("2020-02-28T00", "2020-02-29T23")
    assert (len(cut.hour), list(map(str, cut.days))) == (48, ["2020-02-28"])
