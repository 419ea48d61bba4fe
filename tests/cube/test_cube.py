"""The cube on disk: what goes in comes out, and what is damaged or foreign is told."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from soilcast import cube as cubes
from soilcast import open_cube
from soilcast.cube import VARIABLES, assemble, cells_of_places, check_bounds, read, save_cube, usable_target
from soilcast.errors import SoilcastError
from soilcast.provenance import stamp, versions
from tests.helpers.small import few, small_cube

NAMES = ["cube.zarr", "cube.nc"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One cube in each format; not to be changed."""
    folder = tmp_path_factory.mktemp("saved")
    for name in NAMES:
        save_cube(few(), folder / name, overwrite=False, files=["a.nc", Path("b.nc")])
    return {name: folder / name for name in NAMES}


def same_content(one: xr.Dataset, other: xr.Dataset) -> None:
    assert set(one.variables) == set(other.variables)
    for name in one.variables:
        assert one[name].dims == other[name].dims
        assert one[name].dtype.kind == other[name].dtype.kind
        np.testing.assert_array_equal(one[name].to_numpy(), other[name].to_numpy(), err_msg=str(name))


# ---------------------------------------------------------------- what goes in comes out


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("grid", [True, False])
def test_a_cube_comes_back_as_it_went(tmp_path: Path, name: str, grid: bool) -> None:
    cube = few(grid=grid)
    cube["swvl1"][2, 5:9] = np.nan
    save_cube(cube, tmp_path / name)
    opened = open_cube(tmp_path / name)
    same_content(opened, cube)
    for variable in cube.data_vars:
        assert opened[variable].attrs["units"] == VARIABLES[str(variable)].units
        assert opened[variable].dtype == cube[variable].dtype
        np.testing.assert_array_equal(read(opened, str(variable)), cube[variable])
    assert {key: opened.attrs[key] for key in cube.attrs} == cube.attrs
    assert list(tmp_path.iterdir()) == [tmp_path / name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("grid", [True, False])
def test_an_opened_cube_offers_its_four_coordinates_and_loads_nothing_yet(
    tmp_path: Path, name: str, grid: bool
) -> None:
    save_cube(few(grid=grid), tmp_path / name)
    opened = open_cube(str(tmp_path / name))
    dims = {"cell": ("cell",), "lat": ("cell",), "lon": ("cell",), "time": ("time",)}
    assert {coordinate: opened.coords[coordinate].dims for coordinate in dims} == dims
    assert np.issubdtype(opened["time"].dtype, np.datetime64)
    assert ("grid_lat" in opened.coords, "cell_name" in opened.coords) == (grid, not grid)
    assert not opened["swvl1"].variable._in_memory
    assert opened["swvl1"].dims == ("cell", "time")
    assert opened["elevation"].dims == ("cell",)


def test_reading_some_cells_reads_those(saved: dict[str, Path]) -> None:
    opened = open_cube(saved["cube.zarr"])
    whole = read(opened, "swvl1")
    np.testing.assert_array_equal(read(opened, "swvl1", slice(1, 4)), whole[1:4])
    np.testing.assert_array_equal(read(opened, "swvl1", np.array([4, 0])), whole[[4, 0]])


@pytest.mark.parametrize("name", NAMES)
def test_the_stored_bytes_carry_cf_time_and_no_compiled_thing(saved: dict[str, Path], name: str) -> None:
    options = {"cube.nc": {"engine": "h5netcdf"}, "cube.zarr": {"engine": "zarr", "consolidated": False}}[name]
    raw = xr.open_dataset(saved[name], decode_times=False, **options)  # type: ignore[arg-type]
    assert raw["time"].attrs["units"].startswith("days since")
    assert raw["time"].dtype == np.int64
    assert raw.attrs["Conventions"].startswith("CF-")
    assert {variable.dtype.kind for variable in raw.variables.values()} <= set("fiU")


def test_a_lazy_cube_is_stored_bit_for_bit_as_an_eager_one(tmp_path: Path) -> None:
    cube = few(7, 800)
    save_cube(cube, tmp_path / "eager")
    save_cube(cube.chunk(cell=3, time=100), tmp_path / "lazy")
    for file in sorted((tmp_path / "eager").glob("*/c/**/*")):
        if file.is_file():
            assert file.read_bytes() == (tmp_path / "lazy" / file.relative_to(tmp_path / "eager")).read_bytes()
    same_content(open_cube(tmp_path / "eager"), open_cube(tmp_path / "lazy"))


def hash_of(cube: xr.Dataset, out: Path) -> str:
    save_cube(cube, out)
    found = str(open_cube(out).attrs["content_sha256"])
    assert re.fullmatch("[0-9a-f]{64}", found)
    return found


@pytest.mark.slow
def test_equal_content_has_an_equal_hash_however_it_is_held(tmp_path: Path) -> None:
    cube = few()
    expected = hash_of(cube, tmp_path / "a.zarr")
    assert hash_of(cube, tmp_path / "a.nc") == expected
    assert hash_of(cube.chunk(cell=2, time=50), tmp_path / "lazy.zarr") == expected
    reordered = cube.drop_vars(list(cube.data_vars))
    for variable in reversed(list(cube.data_vars)):
        reordered[variable] = cube[variable]
    assert list(reordered.data_vars) != list(cube.data_vars)
    assert hash_of(reordered, tmp_path / "other_order.zarr") == expected
    assert hash_of(open_cube(tmp_path / "a.zarr"), tmp_path / "again.zarr") == expected
    assert hash_of(open_cube(tmp_path / "a.nc"), tmp_path / "again.nc") == expected


@pytest.mark.parametrize("variable", ["swvl1", "elevation", "lat", "time", "cell"])
def test_other_content_has_another_hash(saved: dict[str, Path], tmp_path: Path, variable: str) -> None:
    cube = few()
    values = cube[variable].to_numpy().copy()
    values.flat[-1] += np.timedelta64(1, "D") if variable == "time" else np.array(0.01 if variable != "cell" else 1)
    changed = cube.assign_coords({variable: cube[variable].copy(data=values)}) if variable in cube.coords else cube
    if variable not in cube.coords:
        changed[variable] = cube[variable].copy(data=values)
    expected = open_cube(saved["cube.zarr"]).attrs["content_sha256"]
    assert hash_of(changed, tmp_path / "changed.zarr") != expected


def test_a_part_of_an_opened_cube_is_a_cube(saved: dict[str, Path], tmp_path: Path) -> None:
    part = open_cube(saved["cube.zarr"]).isel(time=slice(10, 390), cell=[0, 3])
    save_cube(part, tmp_path / "part.zarr")
    same_content(open_cube(tmp_path / "part.zarr"), part)


@pytest.mark.parametrize("name", NAMES)
def test_a_cube_says_what_it_was_made_from(saved: dict[str, Path], name: str) -> None:
    made = json.loads(open_cube(saved[name]).attrs["provenance"])
    assert made["made_by"] == "soilcast prepare"
    assert made["files"] == ["a.nc", "b.nc"]
    assert datetime.fromisoformat(made["created"]).utcoffset() is not None
    assert made["versions"] == versions()
    assert {"python", "soilcast", "numpy", "xarray", "zarr"} <= set(versions())


def test_a_stamp_is_json_whatever_it_was_given() -> None:
    assert json.loads(stamp("test", path=Path("a"), day=np.datetime64("2020-01-01")))["day"] == "2020-01-01"


# ---------------------------------------------------------------- what must not go in


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("variable", "wrong"), [("swvl1", 35.0), ("tp", -0.01), ("elevation", 1e6), ("tp", np.inf)])
def test_values_out_of_bounds_are_refused_by_name_and_leave_nothing(
    tmp_path: Path, name: str, variable: str, wrong: float
) -> None:
    cube = few()
    values = cube[variable].to_numpy().copy()
    values[..., -1] = wrong  # the last day is in the last block
    cube[variable] = cube[variable].copy(data=values)
    cube[variable].attrs["origin"] = "theirs.nc"
    with pytest.raises(
        SoilcastError, match=rf"^theirs\.nc: {variable} has \d+ value\(s\) outside .*--unit {variable}="
    ):
        save_cube(cube, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_cube_leaves_the_one_that_stood_there(tmp_path: Path) -> None:
    path = tmp_path / "cube.zarr"
    save_cube(few(), path)
    with pytest.raises(SoilcastError, match="swvl1 has"):
        save_cube(few(swvl1=7.0), path, overwrite=True)
    same_content(open_cube(path), few())
    with pytest.raises(SoilcastError, match="exists already"):
        save_cube(few(), path)


@given(values=arrays(np.float32, (3, 4), elements=st.floats(-2, 2, width=32) | st.just(np.nan)))
def test_bounds_are_those_of_the_contract_but_for_the_traces_of_packing(values: np.ndarray) -> None:
    row = VARIABLES["swvl1"]
    if ((values >= row.valid_min) & (values <= row.valid_max) | np.isnan(values)).all():
        check_bounds("swvl1", values, "f.nc")
    elif (values < row.valid_min - 1e-5).any() or (values > row.valid_max + 1e-5).any():
        with pytest.raises(SoilcastError, match=r"f\.nc: swvl1 has"):
            check_bounds("swvl1", values, "f.nc")


def test_traces_of_packing_pass() -> None:
    check_bounds("tp", np.array([-1e-9], dtype=np.float32), "f.nc")


@given(values=arrays(np.float32, (4, 5), elements=st.sampled_from([0.1, 0.2, np.nan])))
def test_a_target_is_usable_where_it_moves(values: np.ndarray) -> None:
    expected = [len(set(cell[~np.isnan(cell)])) > 1 for cell in values]
    np.testing.assert_array_equal(usable_target(values), expected)


def parts(**variables: np.ndarray) -> dict[str, object]:
    cells = cells_of_places([1.0, 2.0], [3.0, 4.0], [1e6, 1e6], ["a", "b"])
    time = np.arange("2020-01-01", "2020-01-04", dtype="datetime64[D]").astype("datetime64[ns]")
    return {"variables": variables, "cells": cells, "time": time, "title": "t", "source": "s", "content": "synthetic"}


def test_a_source_is_told_its_mistakes_at_once() -> None:
    thick, moisture = np.ones(2), np.full((2, 3), 0.3)
    with pytest.raises(KeyError, match="soil_moisture"):
        assemble(**parts(soil_moisture=moisture))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"swvl1 has shape \(3, 2\); expected .*\(2, 3\)"):
        assemble(**parts(swvl1=moisture.T, slthick1=thick))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="swvl1 comes without its thickness slthick1"):
        assemble(**parts(swvl1=moisture))  # type: ignore[arg-type]
    turned = xr.DataArray(moisture.T, dims=("time", "cell"))
    built = assemble(**parts(swvl1=turned, slthick1=thick), origins={"swvl1": "f.nc"})  # type: ignore[arg-type]
    assert built["swvl1"].dims == ("cell", "time")
    assert built["swvl1"].dtype == np.float32
    assert built["swvl1"].attrs["origin"] == "f.nc"
    assert list(built["cell_name"].to_numpy()) == ["a", "b"]


# ---------------------------------------------------------------- the small cube of all other tests


@pytest.mark.parametrize("options", [{}, {"seed": 5, "grid": False}, {"cells": 3, "days": 40, "start": "2020-02-01"}])
def test_the_small_cube_closes_its_water_and_keeps_its_bounds(options: dict[str, object]) -> None:
    cube = small_cube(**options)  # type: ignore[arg-type]
    for name in cube.data_vars:
        check_bounds(str(name), cube[name].to_numpy(), "small")
    assert {*cubes.PAPER_DYNAMIC, *cubes.PAPER_STATIC, "e", "sro", "ro", "sd", "climate_zone"} <= set(cube.data_vars)
    stored = cube["sd"].astype(np.float64) + sum(
        cube[f"swvl{layer}"].astype(np.float64) * cube[f"slthick{layer}"] for layer in (1, 2, 3, 4)
    )
    entering = (cube["tp"].astype(np.float64) - cube["e"] - cube["ro"]).isel(time=slice(1, None))
    np.testing.assert_allclose(entering.to_numpy(), np.diff(stored, axis=1), atol=1e-6)
    assert usable_target(cube["swvl1"].to_numpy()).all()
    same_content(cube, small_cube(**options))  # type: ignore[arg-type]
