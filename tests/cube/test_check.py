"""The checks that every cube passes while it is written: bounds, packing, undeclared fills, records that cannot be."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from soilcast.cube import open_cube, save_cube
from soilcast.cube.check import BoundsError, check_bounds, clip_to_bounds, refuse_fills
from soilcast.cube.contract import GENUINE
from soilcast.cube.pieces import PACKING
from soilcast.errors import SoilcastError
from soilcast.sources.planet import planet
from tests.helpers.faulty_cubes import put, scaled, values
from tests.helpers.small import small_cube


@pytest.fixture(scope="module")
def year() -> xr.Dataset:
    return planet(resolution=8, years="2020").compute()


def look(variable: str, block: np.ndarray) -> None:
    block = block.astype(np.float32)
    refuse_fills(variable, block, check_bounds(variable, block, "f.nc"), "f.nc")


@pytest.mark.parametrize(
    ("variable", "value"),
    [("t2m", 173.25), ("t2m", 339.9), ("sp", 99_999.0 - 50_000), ("u10", -59.0), ("swvl1", 0.999), ("tp", 0.9999)],
)
@given(count=st.integers(2, 9), seed=st.integers(0, 99))
def test_a_value_that_repeats_and_stands_apart_is_asked_for(
    year: xr.Dataset, variable: str, value: float, count: int, seed: int
) -> None:
    block = values(year, variable)[:12, :90].copy()
    if variable == "swvl1":
        block = 0.2 + 0.3 * block  # so that saturation is not near
    look(variable, block)
    places = np.random.default_rng(seed).choice(block.size, count, replace=False)
    block.flat[places] = value
    with pytest.raises(BoundsError, match=rf"^f.nc: {variable} is exactly .* {count} times, first .*--genuine"):
        look(variable, block)


def test_zeros_plateaus_and_what_a_cell_always_has_are_no_fills(year: xr.Dataset) -> None:
    for name in year.data_vars:
        if "time" in year[name].dims:
            look(str(name), values(year, str(name)))
    snow = np.zeros((20, 50))
    snow[3], snow[4, 10:20] = 10.0, 0.2
    look("sd", snow)
    soil = np.full((4, 50), 0.12)
    soil[:, 20:30] = np.linspace(0.45, 0.13, 10)
    soil[:, 20:22] = 0.45
    look("swvl1", soil)
    rain = np.round(np.random.default_rng(0).gamma(0.3, 0.01, (5, 60)), 3)
    rain[2, 5:7] = 0.1
    look("tp", rain)
    look("t2m", np.full((3, 40), 280.0))


def test_a_repeated_value_may_be_called_genuine(tmp_path: Path, year: xr.Dataset) -> None:
    changed = values(year, "t2m")
    changed[3, [5, 9]] = 173.25
    cube = put(year, {"t2m": changed})
    with pytest.raises(SoilcastError, match=r"exactly 173.25 K \(-99.9 degC\) 2 times, .*lat .* on 2020-01-06"):
        save_cube(cube, tmp_path / "cube.zarr")
    assert list(tmp_path.iterdir()) == []
    save_cube(cube.assign_attrs(genuine="t2m"), tmp_path / "cube.zarr")


def test_a_value_out_of_bounds_is_named_by_cell_and_day(tmp_path: Path) -> None:
    cube = small_cube(5, 20, grid=False)
    changed = values(cube, "swvl1")
    changed[3, 7] = -0.0037
    with pytest.raises(SoilcastError) as raised:
        save_cube(put(cube, {"swvl1": changed}), tmp_path / "cube.zarr")
    day, name = np.datetime_as_string(cube["time"].to_numpy()[7], "D"), str(cube["cell_name"].to_numpy()[3])
    assert "swvl1 has 1 value(s) outside 0 .. 1 m3 m-3 (found -0.0037 .. " in str(raised.value)
    assert f"-0.0037 in cell {name} at lat " in str(raised.value)
    assert f" on {day}): check its unit" in str(raised.value)


def test_what_packing_leaves_beyond_the_bounds_is_clipped_and_counted(tmp_path: Path) -> None:
    cube = small_cube(5, 20)
    changed = values(cube, "tp")
    changed[2, [1, 4]] = [-1e-7, -2e-5]
    cube = put(cube, {"tp": changed})
    with pytest.raises(SoilcastError, match=r"tp has 1 value\(s\) outside"):
        save_cube(cube, tmp_path / "cube.zarr")
    cube["tp"].encoding[PACKING] = 3e-5
    save_cube(cube, tmp_path / "cube.zarr")
    opened = open_cube(tmp_path / "cube.zarr")
    assert float(opened["tp"].min()) == 0.0
    assert "tp: 2 value(s) a rounding beyond 0 .. 1.9 m d-1 set to the bound" in opened.attrs["notes"]


def test_the_last_digits_of_single_precision_are_no_packing() -> None:
    block = np.array([[1.0000001, 0.5]], dtype=np.float32)
    same, count = clip_to_bounds("swvl1", block)
    assert count == 0
    assert same is block


def test_an_error_of_a_worker_keeps_its_place() -> None:
    with pytest.raises(BoundsError) as raised:
        check_bounds("tp", np.array([[0.0, 5.0]], dtype=np.float32), "f.nc", offset=3)
    again = pickle.loads(pickle.dumps(raised.value))
    assert again.index == (0, 4)
    assert "5 here" in str(again.located(lambda index: "here"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (scaled(-1, "e"), "e .*mean over the area .* its sign is reversed.*--flip-sign e.*sign: -1"),
        (scaled(-1, "pev"), "pev .* its sign is reversed"),
        (scaled(1e-3, "tp"), r"tp .* is 0.000\d+, .*1000 times too small \(--unit tp=m\)"),
        (
            lambda cube: put(cube, {"tp": np.minimum(20 * values(cube, "tp"), 1.0)}),
            r"tp .* at most 12 is expected: mm read as m \(--unit tp=mm\)",
        ),
        (scaled(1 / 11.6, "ssrd"), "ssrd .*--unit ssrd='MJ m-2'"),
    ],
)
def test_what_can_be_nothing_but_a_fault_is_refused(tmp_path: Path, year: xr.Dataset, change, message: str) -> None:
    if "pev" in message and "pev" not in year:
        year = year.assign(pev=year["e"])
    with pytest.raises(SoilcastError, match=message):
        save_cube(change(year), tmp_path / "cube.zarr")
    assert list(tmp_path.iterdir()) == []


def test_what_is_only_unusual_is_a_note(tmp_path: Path, year: xr.Dataset) -> None:
    save_cube(year, tmp_path / "usual.zarr")
    assert "unusual" not in open_cube(tmp_path / "usual.zarr").attrs.get("notes", "")
    save_cube(scaled(0.01, "e")(year), tmp_path / "dry.zarr")
    assert "unusual: of " in open_cube(tmp_path / "dry.zarr").attrs["notes"]


def test_what_is_refused_as_a_fault_is_taken_where_it_is_said_to_be_real(tmp_path):
    """A thousandth of ordinary rain for a year is a wrong unit, or the Atacama."""
    dry = small_cube(cells=3, days=400, start="2018-01-01")
    dry["tp"] = dry["tp"] * 1e-4
    with pytest.raises(SoilcastError, match=r"tp .*1000 times too small .*; if it is real, add --genuine tp"):
        save_cube(dry, tmp_path / "refused")
    save_cube(dry.assign_attrs({GENUINE: "tp"}), tmp_path / "taken")
    assert not (tmp_path / "refused").exists()


def test_an_area_below_zero_is_refused_however_large_areas_may_be(tmp_path):
    cube = small_cube(cells=3, days=20)
    with pytest.raises(SoilcastError, match=r"area has 1 value\(s\) outside"):
        save_cube(cube.assign(area=cube["area"].copy(data=[1e6, -5e6, 1e6])), tmp_path / "cube")
