"""The built-in planet: real geography and climate, synthetic weather, and a water balance that closes."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from soilcast import cube
from soilcast.cube.contract import KOEPPEN_CLASSES
from soilcast.errors import SoilcastError
from soilcast.sources.planet import planet
from soilcast.sources.planet.geography import geography
from soilcast.sources.planet.noise import MovingField, Texture, view
from soilcast.sources.planet.weather import rain_and_cloud, weather
from soilcast.verify.agreement import measure_agreement
from soilcast.water import WaterConfig

LAYERS = tuple(cube.ERA5_LAND_LAYERS)
THREE_YEARS = "2018:2020"


@pytest.fixture(scope="module")
def world() -> xr.Dataset:
    return planet(resolution=8, years=THREE_YEARS)


@pytest.fixture(scope="module")
def daily_means() -> xr.Dataset:
    return planet(resolution=8, years="2018", states="mean")


def nearest(made: xr.Dataset, lat: float, lon: float) -> int:
    return int(np.hypot(made.lat - lat, made.lon - lon).to_numpy().argmin())


def days_in_month(made: xr.Dataset, month: int) -> npt.NDArray[np.bool_]:
    return (made.time.dt.month == month).to_numpy()


def imbalance(made: xr.Dataset) -> npt.NDArray[np.float64]:
    """What tp - e - ro and the change of the stores differ by, ``(cell, time)`` [m d-1], from the cube's own values."""
    value = {str(name): made[name].to_numpy().astype(np.float64) for name in made.data_vars}
    held = value["sd"] + sum(value[cube.thickness_name(name)][:, np.newaxis] * value[name] for name in LAYERS)
    fluxes = (value["tp"] - value["e"] - value["ro"])[:, 1:]
    return np.asarray(fluxes - np.diff(held, axis=1))


def test_the_water_balance_closes(world: xr.Dataset) -> None:
    assert np.abs(imbalance(world)).max() < 1e-6


@pytest.mark.slow
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**31), resolution=st.sampled_from([8.0, 7.5, 6.0]), year=st.integers(1901, 2099))
def test_the_water_balance_closes_whatever_the_seed_the_resolution_and_the_year(
    seed: int, resolution: float, year: int
) -> None:
    made = planet(resolution=resolution, years=str(year), seed=seed)
    assert np.abs(imbalance(made)).max() < 1e-6


def test_states_as_daily_means_lie_between_the_ends_of_two_days(world: xr.Dataset, daily_means: xr.Dataset) -> None:
    ends = world.sel(time="2018")
    assert daily_means.attrs["title"] == world.attrs["title"].replace(
        "2018:2020, seed 0", "2018, seed 0, states as daily means"
    )
    for name in ("sd", *LAYERS):
        end = ends[name].to_numpy().astype(np.float64)
        np.testing.assert_allclose(daily_means[name][:, 1:], (end[:, :-1] + end[:, 1:]) / 2, atol=1e-6, err_msg=name)
        assert np.isfinite(daily_means[name]).all()
    for name in ("tp", "e", "ro", "t2m"):
        np.testing.assert_array_equal(daily_means[name], ends[name])


def test_the_balance_tells_the_way_of_soil_moisture_with_the_states_at_the_end_of_the_day_alone(
    world: xr.Dataset, daily_means: xr.Dataset
) -> None:
    """The figures of docs/method.md, which are those of 4 degrees and 2020."""
    layers = ("swvl2", "swvl3", "swvl4")
    closing = WaterConfig(snow="closing", sign="inflow", runoff="total", deep_layers=layers)
    agreeing = {
        name: measure_agreement(made, "swvl1", {"W2": ("multi", closing)}, [slice(0, 365)])["W2"].agreeing
        for name, made in (("end", world), ("mean", daily_means))
    }
    assert agreeing["end"] > 0.99
    assert agreeing["mean"] == pytest.approx(0.80, abs=0.04)


def test_runoff_is_the_sum_of_its_parts(world: xr.Dataset) -> None:
    np.testing.assert_allclose(world.ro, world.sro + world.ssro, atol=1e-8)


def test_the_cube_holds_all_that_the_paper_needs_and_no_gap(world: xr.Dataset) -> None:
    needed = {*cube.PAPER_DYNAMIC, *cube.PAPER_STATIC, "e", "sro", "ssro", "ro", "sd", "climate_zone", *LAYERS}
    assert needed <= set(world.data_vars)
    for name, variable in world.data_vars.items():
        values = variable.to_numpy()
        assert np.isfinite(values).all(), name
        cube.check_bounds(str(name), values, "planet")
    for name in cube.PAPER_DYNAMIC:
        assert float(world[name].std("time").min()) > 0.0, f"{name} does not vary somewhere"
    assert world.sizes["time"] == 1096


def test_soil_moisture_can_be_learnt_everywhere_but_under_permanent_ice(world: xr.Dataset) -> None:
    under_ice = world.climate_zone.to_numpy() == 30
    assert 0 < under_ice.sum() < 0.1 * under_ice.size
    np.testing.assert_array_equal(cube.usable_target(world.swvl1.to_numpy()), ~under_ice)


def test_the_cube_says_that_its_weather_is_synthetic(world: xr.Dataset) -> None:
    assert world.attrs["content"] == "synthetic weather and land surface on real geography and climate"
    assert world.attrs["source"] == "planet"
    assert "synthetic" in world.attrs["title"]
    assert world["clay"].attrs["origin"] == "synthetic"
    assert "real" in world["elevation"].attrs["origin"]


def test_the_cube_can_be_saved_and_opened_again(tmp_path: Path, world: xr.Dataset) -> None:
    cube.save_cube(world.isel(time=slice(0, 60)), tmp_path / "cube")
    opened = cube.open_cube(tmp_path / "cube")
    np.testing.assert_array_equal(cube.read(opened, "swvl1"), world.swvl1[:, :60])


@pytest.mark.slow
def test_the_same_seed_and_first_year_give_the_same_bits(world: xr.Dataset) -> None:
    again = planet(resolution=8, years="2018", seed=0)
    for name in world.data_vars:
        first = world[name].sel(time="2018") if "time" in world[name].dims else world[name]
        np.testing.assert_array_equal(first, again[name], err_msg=str(name))


@pytest.mark.slow
def test_another_seed_gives_other_weather_on_the_same_earth(world: xr.Dataset) -> None:
    other = planet(resolution=8, years="2018", seed=1)
    assert abs(np.corrcoef(world.v10.sel(time="2018")[0], other.v10[0])[0, 1]) < 0.5
    assert float(np.abs(world.tp.sel(time="2018") - other.tp).max()) > 0.01
    for name in (*cube.PAPER_STATIC, "climate_zone", "cell", "lat", "lon"):
        np.testing.assert_array_equal(world[name], other[name])


@pytest.mark.parametrize(("resolution", "cells"), [(8.0, 240), (4.0, 940), (2.0, 3840), (0.5, 61700)])
def test_land_is_as_large_as_it_is_on_earth(resolution: float, cells: int) -> None:
    land = geography(resolution)
    assert land.grid.index.size == pytest.approx(cells, rel=0.02)
    assert (np.diff(land.grid.index) > 0).all()
    assert land.grid.cell_area.sum() == pytest.approx(135e12, rel=0.03)
    assert land.grid.cell_lat.min() > -60.0
    assert len(land.grid.lon) * resolution == 360.0
    np.testing.assert_allclose(land.grid.lat, -land.grid.lat[::-1])


@pytest.mark.parametrize(
    ("place", "lat", "lon", "zone", "elevation"),
    [
        ("Amazon", -3, -60, "Af", (0, 200)),
        ("Sahara", 24, 10, "BWh", (200, 1500)),
        ("Tibet", 32, 88, "ET", (4300, 5500)),
        ("Yakutsk", 62, 129.5, "Dfc Dfd", (50, 600)),
        ("Greenland's summit", 72.5, -38, "EF", (2700, 3300)),
        ("Poland", 52, 20, "Cfb Dfb", (30, 300)),
    ],
)
def test_geography_is_real(place: str, lat: float, lon: float, zone: str, elevation: tuple[int, int]) -> None:
    land = geography(0.5)
    here = np.hypot(land.grid.cell_lat - lat, land.grid.cell_lon - lon).argmin()
    assert KOEPPEN_CLASSES[int(land.climate_zone[here])] in zone.split(), place
    assert elevation[0] < land.elevation[here] < elevation[1], place


def test_climate_zones_are_numbered_as_by_beck() -> None:
    assert len(KOEPPEN_CLASSES) == 30
    wanted = {1: "Af", 4: "BWh", 8: "Csa", 14: "Cfa", 17: "Dsa", 25: "Dfa", 29: "ET", 30: "EF"}
    assert {number: KOEPPEN_CLASSES[number] for number in wanted} == wanted


def test_weather_follows_the_climatology_of_every_month(world: xr.Dataset) -> None:
    land = geography(8)
    month = world.time.dt.month
    rain = world.tp.groupby(month).mean().transpose("month", "cell").to_numpy()
    temperature = world.t2m.groupby(month).mean().transpose("month", "cell").to_numpy()
    assert np.corrcoef(rain.mean(axis=0), land.rain.mean(axis=0))[0, 1] > 0.95
    assert np.corrcoef(rain.ravel(), land.rain.ravel())[0, 1] > 0.85
    assert np.corrcoef(temperature.ravel(), land.temperature.ravel())[0, 1] > 0.98
    assert rain.mean() == pytest.approx(land.rain.mean(), rel=0.05)
    assert temperature.mean() == pytest.approx(land.temperature.mean(), abs=0.5)


@given(expected=st.floats(0.0, 0.05))
def test_rain_of_a_standard_normal_lift_is_what_the_climatology_expects(expected: float) -> None:
    lift = special.ndtri((np.arange(20_000) + 0.5) / 20_000)
    rain, cloud, wet_share = rain_and_cloud(lift, np.full_like(lift, expected))
    assert rain.min() >= 0.0
    assert rain.mean() == pytest.approx(expected, rel=0.01, abs=1e-12)
    assert cloud.min() >= 0.0
    assert cloud.max() <= 1.0
    if expected > 1e-5:
        assert (rain > 0).mean() == pytest.approx(wet_share[0], abs=0.01)


def test_seasons_are_those_of_the_hemisphere(world: xr.Dataset) -> None:
    january, july = (world.isel(time=days_in_month(world, month)).mean("time") for month in (1, 7))
    north, south = world.lat > 30, world.lat < -20
    assert bool((july.t2m > january.t2m)[north].all())
    assert bool((july.t2m < january.t2m)[south].all())
    assert bool((july.ssrd > january.ssrd)[north].all())
    assert bool((july.ssrd < january.ssrd)[south].all())


def test_snow_lies_in_siberia_in_january_and_never_in_the_sahara(world: xr.Dataset) -> None:
    siberia, sahara = nearest(world, 64, 108), nearest(world, 24, 10)
    january, july = days_in_month(world, 1), days_in_month(world, 7)
    assert float(world.sd[siberia, january].min()) > 0.02
    assert float(world.sd[siberia, july].max()) == 0.0
    assert float(world.sd[sahara].max()) == 0.0


def test_soil_moisture_remembers_and_deeper_layers_remember_longer(world: xr.Dataset) -> None:
    def memory(name: str) -> float:
        values = world[name].to_numpy().astype(np.float64)
        values = values[values.std(axis=1) > 1e-3]
        return float(np.median([np.corrcoef(cell[1:], cell[:-1])[0, 1] for cell in values]))

    first, second, third = (memory(name) for name in LAYERS[:3])
    assert 0.90 < first < 0.97
    assert first < second < third


def test_the_soil_holds_no_more_than_its_pores_and_soils_of_the_desert_are_dry(world: xr.Dataset) -> None:
    pores = 0.489 - 0.126 * world.sand
    for name in LAYERS:
        assert bool((world[name] <= pores + 1e-6).all())
        assert float(world[name].min()) > 0.0
    np.testing.assert_allclose(world.clay + world.sand + world.silt, 1.0, rtol=1e-6)
    mean = world.swvl1.mean("time")
    desert, rainforest = (mean[(world.climate_zone == number).to_numpy()].mean() for number in (4, 1))
    assert float(desert) < 0.5 * float(rainforest)


def test_the_stores_have_settled_before_the_first_day(world: xr.Dataset) -> None:
    for name in LAYERS:
        first, last = (world[name].sel(time=year).mean("time") for year in ("2018", "2020"))
        assert float(np.abs((last - first).mean())) < 0.01, name


def test_rain_comes_in_systems_that_are_wide_last_for_days_and_drift() -> None:
    grid = geography(4).grid
    # All cells of one row, so that east and west are next to each other.
    row = cube.Grid(np.array([46.0, 50.0]), grid.lon, np.arange(2 * len(grid.lon)))
    field = MovingField(Texture(length=350e3, memory=1.2, drift=1.0), np.random.SeedSequence(1))
    seen = view(field, row)
    days = []
    for _ in range(400):
        days.append(seen(field).reshape(2, -1)[0])
        field.step()
    series = np.array(days)
    assert series.std() == pytest.approx(1.0, abs=0.05)
    assert np.mean(series * np.roll(series, 1, axis=1)) > 0.7
    ahead = [np.mean(series[1:] * np.roll(series[:-1], shift, axis=1)) for shift in range(-4, 5)]
    assert 1 <= int(np.argmax(ahead)) - 4 <= 4


def test_the_weather_of_a_seed_is_the_same_at_every_resolution() -> None:
    days = np.arange("2019-06-01", "2019-06-04", dtype="datetime64[D]")
    coarse, fine = geography(4), geography(2)
    pairs = zip(weather(coarse, days, 7), weather(fine, days, 7), strict=True)
    within = [int(np.hypot(fine.grid.cell_lat - lat, fine.grid.cell_lon - lon).argmin())
              for lat, lon in zip(coarse.grid.cell_lat, coarse.grid.cell_lon, strict=True)]  # fmt: skip
    for one, other in pairs:
        assert np.corrcoef(one.v10, other.v10[within])[0, 1] > 0.9


@pytest.mark.parametrize("resolution", [0.3, 20.0, 0.25, 0.0, -4.0, 3.5, float("nan"), float("inf")])
def test_a_resolution_that_is_not_to_be_had_is_refused(resolution: float) -> None:
    with pytest.raises(SoilcastError, match=r"planet: a resolution of .* choose one of 0\.5, 1, .*, 4, .*, 8$"):
        planet(resolution=resolution)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"years": "2019-03:2020-12"}, "whole years: write 2019 or 2018:2020"),
        ({"years": "2020:2018"}, "ends before it begins"),
        ({"years": "soon"}, "is not a period"),
        ({"seed": -1}, "seed -1 is negative"),
        ({"states": "means"}, r"--states means: did you mean mean\?"),
        ({"paths": [Path("some.nc")]}, r"reads no files, but some\.nc is given"),
    ],
)
def test_other_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(SoilcastError, match=message):
        planet(**options)  # type: ignore[arg-type]


def test_the_packaged_data_stays_small() -> None:
    folder = files("soilcast.sources.planet").joinpath("data")
    assert 0 < sum(len(entry.read_bytes()) for entry in folder.iterdir()) <= 1.5e6
