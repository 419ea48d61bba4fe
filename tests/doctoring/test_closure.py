"""The water balance of a cube: residuals by hand, states of three kinds, gaps, tiles, and what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from soilcast.cube import open_cube, save_cube
from soilcast.doctoring import terms as terms_module
from soilcast.doctoring.closure import closure, relative_residual, spread, weighted_quantiles
from soilcast.doctoring.terms import tiles
from soilcast.errors import SoilcastError
from soilcast.sources.planet import planet
from tests.helpers.faulty_cubes import of_the_beginning, of_the_mean_day, put, scaled, values
from tests.helpers.small import few, small_cube

MADE: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "end": lambda cube: cube,
    "mean": of_the_mean_day,
    "begin": of_the_beginning,
}


@pytest.fixture(scope="module")
def world() -> xr.Dataset:
    return planet(resolution=8, years="2020")


def constant(days: int = 40, **overrides: object) -> xr.Dataset:
    """One layer 0.5 m thick in three cells; 6 mm of rain a day, 2 evaporate, 1 runs off, 3 stay."""
    wetter = 0.1 + 0.003 / 0.5 * np.arange(days)
    return small_cube(
        cells=3,
        days=days,
        drop=["swvl2", "swvl3", "swvl4", "slthick2", "slthick3", "slthick4"],
        **{"tp": 0.006, "e": 0.002, "ro": 0.001, "sd": 0.0, "swvl1": wetter, "slthick1": 0.5, **overrides},
    )


def test_by_hand() -> None:
    right = closure(constant())
    np.testing.assert_allclose(right.mean_absolute, 0, atol=2e-8)
    np.testing.assert_allclose(right.scale, (0.006 + 0.002 + 0.001 + 0.003) / 2, rtol=1e-5)
    np.testing.assert_array_equal(right.days, 39)
    assert right.mean.dtype == right.mean_absolute.dtype == np.float64
    wrong = closure(constant(ro=np.array([[0.001], [0.002], [-0.004]])))
    np.testing.assert_allclose(wrong.mean, [0, -0.001, 0.005], atol=2e-8)
    np.testing.assert_allclose(wrong.mean_absolute, [0, 0.001, 0.005], atol=2e-8)
    np.testing.assert_allclose(wrong.relative, [0, 0.001 / 0.0065, 0.005 / 0.0075], atol=1e-5)


def test_residuals_that_cancel_stay_in_the_mean_absolute_value() -> None:
    rain = 0.006 + np.where(np.arange(41) % 2, 0.002, -0.002)
    made = closure(constant(days=41, tp=rain))
    np.testing.assert_allclose(made.mean, 0, atol=1e-8)
    np.testing.assert_allclose(made.mean_absolute, 0.002, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("states", ["end", "mean", "begin"])
def test_planet_closes_with_the_states_that_it_has_and_with_no_others(world: xr.Dataset, states: str) -> None:
    made = MADE[states](world)
    assert closure(made, states=states).mean_absolute.max() < 1e-6  # type: ignore[arg-type]
    for other in set(MADE) - {states}:
        assert np.median(closure(made, states=other).relative) > 0.2  # type: ignore[arg-type]


def test_runoff_may_come_in_parts(world: xr.Dataset) -> None:
    parts = closure(world.drop_vars("ro"))
    assert parts.terms.fluxes == ("tp", "e", "sro", "ssro")
    assert parts.mean_absolute.max() < 1e-6


def test_days_with_a_gap_drop_out_and_no_others() -> None:
    cube = constant()
    gaps = values(cube, "tp"), values(cube, "swvl1")
    gaps[0][0, 10] = np.nan
    gaps[1][1, 10] = np.nan
    gaps[0][2, 5:] = np.nan
    made = closure(put(cube, {"tp": gaps[0], "swvl1": gaps[1]}))
    # A flux is missed on its day, a state on its day and the next; five days are too few to judge.
    np.testing.assert_array_equal(made.days, [38, 37, 4])
    np.testing.assert_allclose(made.mean_absolute[:2], 0, atol=2e-8)
    assert np.isnan([made.mean[2], made.mean_absolute[2], made.scale[2]]).all()
    assert made.as_json()["cells_judged"] == 2
    mean = closure(put(cube, {"tp": gaps[0], "swvl1": gaps[1]}), states="mean")
    np.testing.assert_array_equal(mean.days, [37, 37, 4])


def test_tiles_do_not_matter(world: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = world.isel(cell=slice(0, 20), time=slice(0, 120))
    holes = values(cells, "e")
    holes[3, 50:90] = np.nan
    cells = put(cells, {"e": holes})
    whole = {states: closure(cells, states=states) for states in ("end", "mean", "begin")}
    monkeypatch.setattr(terms_module, "CELL_CHUNK", 7)
    monkeypatch.setattr(terms_module, "DAY_CHUNK", 5)
    monkeypatch.setattr(terms_module, "_LARGEST_TILE", 7 * 13)
    monkeypatch.setattr(terms_module, "_CACHED", 30)
    for states, expected in whole.items():
        made = closure(cells, states=states)
        np.testing.assert_array_equal(made.days, expected.days)
        np.testing.assert_allclose(made.mean_absolute, expected.mean_absolute, rtol=1e-12)
        np.testing.assert_allclose(made.mean, expected.mean, rtol=1e-9, atol=1e-18)


def test_tiles_are_bounded_and_read_each_value_once(world: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms_module, "CELL_CHUNK", 50)
    monkeypatch.setattr(terms_module, "DAY_CHUNK", 30)
    monkeypatch.setattr(terms_module, "_LARGEST_TILE", 50 * 60)
    seen = np.zeros(world["tp"].shape)
    beside = 0
    for tile in tiles(world, ("tp", "e"), before=2, after=1):
        width = tile.values["tp"].shape[1]
        assert tile.values["tp"].size <= 50 * 63
        beside = beside + width if tile.cells.start == 0 else beside
        seen[tile.cells] += width / world.sizes["time"]
    # 366 days in 7 tiles, of which 6 carry three days over.
    assert beside == 366 + 6 * 3
    np.testing.assert_allclose(seen, seen[0, 0])


def test_a_cube_on_disk_and_a_lazy_one_give_the_same(world: xr.Dataset, tmp_path: Path) -> None:
    expected = closure(world)
    save_cube(world, tmp_path / "cube")
    for cube in (open_cube(tmp_path / "cube"), world.chunk({"cell": -1, "time": 31})):
        np.testing.assert_allclose(closure(cube).mean_absolute, expected.mean_absolute, rtol=1e-12)


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        (["e"], r"cannot be tested, no e \(evapotranspiration\): prepare a cube that has them"),
        (["tp", "swvl1"], r"no tp \(precipitation\); no swvl1 \(soil moisture of the first layer\)"),
        (["ro", "ssro"], r"no ro \(total runoff\), and not both sro and ssro in its stead"),
    ],
)
def test_what_cannot_be_tested_is_refused_by_name(world: xr.Dataset, drop: list[str], message: str) -> None:
    with pytest.raises(SoilcastError, match=message):
        closure(world.drop_vars(drop))


def test_missing_stores_are_told(world: xr.Dataset) -> None:
    assert closure(world).terms.open == ()
    shallow = closure(world.drop_vars(["swvl3", "swvl4"])).terms
    assert shallow.layers == ("swvl1", "swvl2")
    assert shallow.open == ("no swvl3, swvl4: the column is open below, unless the land model has no such layer",)
    (snowless,) = closure(world.drop_vars("sd")).terms.open
    frozen = float(world["area"][(world["t2m"].min("time") < 273.15).to_numpy()].sum() / world["area"].sum())
    assert snowless == f"no sd (snow), though it freezes on {100 * frozen:.0f} % of the area"
    tropics = world.isel(cell=np.flatnonzero(np.abs(world.lat) < 12))
    warm = tropics.isel(cell=np.flatnonzero(tropics["t2m"].min("time") > 275))
    assert closure(warm.drop_vars("sd")).terms.open == ()
    (unknown,) = closure(warm.drop_vars(["sd", "t2m"])).terms.open
    assert unknown == "no sd (snow), and no temperature that would say whether there is any"


def test_json_has_numbers_or_null(world: xr.Dataset) -> None:
    short = closure(world.isel(time=slice(0, 20)))
    plain = json.loads(json.dumps(short.as_json(), allow_nan=False))
    assert plain["cells_judged"] == 0
    assert plain["absolute_residual_m_per_day"]["p50"] is None
    whole = json.loads(json.dumps(closure(world).as_json(), allow_nan=False))
    assert whole["fluxes"] == ["tp", "e", "ro"]
    assert whole["stores"] == ["sd", "swvl1", "swvl2", "swvl3", "swvl4"]
    assert whole["relative_residual"]["p95"] < 1e-4
    assert 0.002 < whole["scale_m_per_day"]["mean"] < 0.005


def test_a_cell_with_next_to_no_water_is_judged_by_the_usual_scale() -> None:
    scale = np.array([1.0, 1.0, 1.0, 1e-6])
    found = relative_residual(np.array([0.1, 0.0, np.nan, 1e-6]), scale, np.ones(4))
    np.testing.assert_allclose(found, [0.1, 0.0, np.nan, 1e-5])


def test_spread_is_weighted_by_area_and_leaves_out_what_is_missing() -> None:
    area = np.array([1.0, 1.0, 8.0, 5.0])
    found = spread(np.array([1.0, 2.0, 3.0, np.nan]), area)
    assert found["mean"] == pytest.approx((1 + 2 + 24) / 10)
    assert (found["p05"], found["p50"]) == (1.0, 3.0)
    np.testing.assert_array_equal(weighted_quantiles(np.array([np.nan]), np.ones(1), (0.5,)), [np.nan])


def test_the_scale_of_water_does_not_matter(world: xr.Dataset) -> None:
    water = ("tp", "e", "ro", "sd", "swvl1", "swvl2", "swvl3", "swvl4")
    few_cells = world.isel(cell=slice(0, 60)).drop_vars(["swvl4", "slthick4"])
    made = closure(scaled(2.0**-7, *(name for name in water if name in few_cells))(few_cells))
    expected = closure(few_cells)
    np.testing.assert_allclose(made.relative, expected.relative, rtol=1e-5)


def test_a_cube_of_one_layer_and_no_balance_is_refused() -> None:
    with pytest.raises(SoilcastError, match="A small world for tests: the water balance cannot be tested, no e"):
        closure(few())
