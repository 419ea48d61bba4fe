"""Appending days to a cube: the same bytes as preparing all at once, every refusal, and no end that costs a cube."""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import soilcast
from soilcast import files
from soilcast.cube import joining, open_cube, pieces, save_cube, store, stream
from soilcast.cube.appending import locked_cube
from soilcast.errors import SoilcastError
from soilcast.sources import SOURCES
from tests.helpers.era5_files import hourly_weather, write_daily_globe, write_present_netcdf
from tests.helpers.forks import Death, ends, run_command, run_script
from tests.helpers.landbench_plain import file_of, rewrite
from tests.helpers.preparing import content_of, read_at_a_time, small_tree
from tests.helpers.small import few
from tests.helpers.table_data import gridded_data, saved, write_recipe
from tests.helpers.updates import GIVEN, changes_of_update, fork_update, hard_links, made, save_made


@pytest.fixture(autouse=True)
def quickly_made(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A source by the name ``made``."""
    monkeypatch.setitem(SOURCES, "made", made)
    yield
    GIVEN.clear()


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The parts of a table of 400 days, and its mapping: ``FIRST-LAST/data.nc``; not to be changed."""
    folder = tmp_path_factory.mktemp("tables")
    for first, last in ((0, 400), (0, 380), (380, 390), (380, 400), (370, 390), (390, 400), (385, 400), (0, 200)):
        (folder / f"{first}-{last}").mkdir()
        saved(gridded_data().isel(time=slice(first, last)), folder / f"{first}-{last}" / "data.nc")
    write_recipe(folder)
    return folder


@pytest.fixture(scope="module")
def masters(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cubes of days 0-380 and 0-400 of that table; not to be changed."""
    folder = tmp_path_factory.mktemp("masters")
    for days in ("0-380", "0-400"):
        soilcast.prepare("table", [tables / days], out=folder / days, mapping=tables / "mapping.yaml")
    return folder


@pytest.fixture
def cube(masters: Path, tmp_path: Path) -> Path:
    """A cube of 380 days in a folder of its own."""
    (tmp_path / "cubes").mkdir()
    shutil.copytree(masters / "0-380", tmp_path / "cubes" / "cube")
    return tmp_path / "cubes" / "cube"


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refusal(cube: Path, paths: Sequence[str | Path], **options: Any) -> str:
    """Update a cube, which must be refused in one line and leave all as it was."""
    before, beside = content_of(cube) if cube.is_dir() else {}, left(cube.parent)
    with pytest.raises(SoilcastError) as caught:
        soilcast.update(cube, paths, **options)
    assert (content_of(cube) if cube.is_dir() else {}) == before
    assert left(cube.parent) == beside
    assert "\n" not in str(caught.value)
    return str(caught.value)


def appended(cube: xr.Dataset) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(cube.attrs["provenance"])["appended"]
    return found


# ---------------------------------------------------------------- the same as preparing all days at once


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    cells=st.integers(1, 7),
    days=st.integers(2, 45),
    split=st.integers(1, 44),
    common=st.integers(0, 12),
    read=st.integers(1, 60),
    overlap=st.sampled_from(["refuse", "keep", "replace"]),
    suffix=st.sampled_from(["", "", ".nc"]),
    seed=st.integers(0, 99),
)
def test_an_update_makes_what_preparing_all_days_makes(
    tmp_path_factory: pytest.TempPathFactory,
    cells: int, days: int, split: int, common: int, read: int, overlap: str, suffix: str, seed: int,
) -> None:  # fmt: skip
    folder, random = tmp_path_factory.mktemp("same"), np.random.default_rng(seed)
    split = min(split, days - 1)
    common = min(common, split)
    whole = few(cells, days, seed=seed, grid=seed % 2 == 0)
    whole["tp"][random.integers(cells), random.integers(days)] = np.nan
    part = whole.isel(time=slice(split - common, None)).copy(deep=True)
    if overlap != "refuse":
        part["swvl1"][random.integers(cells), : common // 2] = 0.31
        part["tp"][random.integers(cells), : common // 3] = np.nan
    expected = whole.copy(deep=True)
    if overlap == "replace":
        for name in ("swvl1", "tp"):
            expected[name][:, split - common :] = part[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOURCES, "made", made)
        for module in (store, stream):
            patch.setattr(module, "CELL_CHUNK", 2)
        for module in (store, pieces):
            patch.setattr(module, "DAY_CHUNK", 10)
        patch.setattr(joining, "_CELLS_AT_A_TIME", 3)
        read_at_a_time(patch, read)
        save_made(whole.isel(time=slice(0, split)), folder / f"cube{suffix}")
        save_made(expected, folder / f"whole{suffix}")
        GIVEN["part"] = part.isel(cell=random.permutation(cells)) if seed % 3 == 0 else part
        soilcast.update(folder / f"cube{suffix}", ["part"], overlap=overlap)
        found = open_cube(folder / f"cube{suffix}")
        xr.testing.assert_equal(found.load(), expected)
        assert found.attrs["content_sha256"] == open_cube(folder / f"whole{suffix}").attrs["content_sha256"]
        if not suffix:
            assert content_of(folder / "cube") == content_of(folder / "whole")
    assert left(folder) == [f"cube{suffix}", f"whole{suffix}"]


@pytest.mark.parametrize("split", [1, 366, 367])
def test_a_table_that_is_split_anywhere_comes_out_the_same(
    tables: Path, masters: Path, tmp_path: Path, split: int
) -> None:
    for name, days in (("before", slice(0, split)), ("after", slice(split, None))):
        (tmp_path / name).mkdir()
        saved(gridded_data().isel(time=days), tmp_path / name / "data.nc")
    out = tmp_path / "cube"
    soilcast.prepare("table", [tmp_path / "before"], out=out, mapping=tables / "mapping.yaml")
    soilcast.update(out, [tmp_path / "after"])
    assert content_of(out) == content_of(masters / "0-400")


def test_many_updates_come_out_the_same(tables: Path, masters: Path, tmp_path: Path) -> None:
    out = tmp_path / "cube.nc"
    soilcast.prepare("table", [tables / "0-380"], out=out, mapping=tables / "mapping.yaml")
    first = soilcast.update(out, [tables / "370-390"])
    assert first.sizes["time"] == 390
    second = soilcast.update(out, [tables / "390-400" / "data.nc"])
    whole = open_cube(masters / "0-400")
    assert second.attrs["content_sha256"] == whole.attrs["content_sha256"]
    xr.testing.assert_equal(second.load(), whole.load())
    assert left(tmp_path) == ["cube.nc"]
    one, two = appended(second)
    assert (one["days"], one["overlapping_days"]) == ("2002-01-16 .. 2002-01-25 (10 days)", 10)
    assert two["paths"] == [str(tables / "390-400" / "data.nc")]
    assert two["to_content_sha256"] == first.attrs["content_sha256"]
    made_of = json.loads(second.attrs["provenance"])
    assert made_of["paths"] == [str(tables / "0-380")]
    assert made_of["made_by"] == "soilcast prepare"


@pytest.mark.slow
@pytest.mark.shared
def test_genuine_basins_that_are_split_by_date_come_out_the_same(shared: Path, tmp_path: Path) -> None:
    for name, begin, end in (("whole", "2010", "2013"), ("before", "2010", "2011"), ("after", "2012", "2013")):
        shutil.copytree(shared / "caravan" / "attributes", tmp_path / name / "attributes")
        for file in (shared / "caravan").glob("*.csv"):
            rows = pd.read_csv(file, dtype=str).set_index("date").sort_index()
            rows.loc[begin : f"{end}-12-31"].to_csv(tmp_path / name / file.name)
    soilcast.prepare("caravan", [tmp_path / "whole"], out=tmp_path / "expected")
    soilcast.prepare("caravan", [tmp_path / "before"], out=tmp_path / "cube")
    told: list[str] = []
    cube = soilcast.update(tmp_path / "cube", [tmp_path / "after"], log=told.append)
    assert cube.attrs["title"] == "Caravan, 4 basins, 2010-01-01 .. 2013-12-31"
    assert content_of(tmp_path / "cube") == content_of(tmp_path / "expected")
    assert told[0] == (
        f"{tmp_path / 'cube'}: 2012-01-01 .. 2013-12-31 (731 days) appended; now 2010-01-01 .. 2013-12-31 (1461 days); "
        "51 blocks written"  # of 68: the first year of seventeen variables stays
    )


@pytest.mark.slow
def test_years_of_a_growing_tree_come_out_the_same(tmp_path: Path) -> None:
    """The tree holds all years each time; the option that chose the first of them leaves out the earlier ones again."""
    tree = small_tree(tmp_path / "tree", [2018, 2019, 2020])
    out = tmp_path / "cube"
    soilcast.prepare("landbench", [tree], out=out, resolution=4, years="2019")
    cube = soilcast.update(out, [tree])
    soilcast.prepare("landbench", [tree], out=tmp_path / "expected", resolution=4, years="2019:2020")
    assert cube.attrs["title"] == "LandBench 1.0, 4 degree, 2019 .. 2020"
    assert content_of(out) == content_of(tmp_path / "expected")


@pytest.mark.slow
def test_climate_zones_are_those_of_all_months_but_the_last_years(tmp_path: Path) -> None:
    files = write_daily_globe(tmp_path / "files", 8.0, "2018:2020")
    files = [file for file in files if re.match("2m_temperature|total_precip|volumetric_soil_water_layer_1", file.name)]
    years = [[file for file in files if re.search(f"_({year})_", file.name)] for year in ("2018|2019", "2020")]
    whole = soilcast.prepare("era5land", files, out=tmp_path / "expected")
    before = soilcast.prepare("era5land", years[0], out=tmp_path / "cube")
    zones = before["climate_zone"].to_numpy()
    cube = soilcast.update(tmp_path / "cube", years[1])
    assert before["climate_zone"].attrs["period"] == "2018-01-01:2018-12-31"
    assert cube["climate_zone"].attrs["period"] == "2018-01-01:2019-12-31"
    assert not np.array_equal(cube["climate_zone"].to_numpy(), zones)
    np.testing.assert_array_equal(cube["climate_zone"], whole["climate_zone"])
    differing = ("provenance", "history")
    assert {name: cube.attrs[name] for name in cube.attrs if name not in differing} == {
        name: whole.attrs[name] for name in whole.attrs if name not in differing
    }


def test_the_last_day_of_hourly_amounts_is_completed_by_files_that_repeat_it(tmp_path: Path) -> None:
    """The last total since midnight lies in the first hour of the next file."""
    weather = hourly_weather(8.0, days=6, box=(-16.0, 0.0, 32.0, 48.0))
    write_present_netcdf(weather, tmp_path / "all.nc", ("swvl1", "t2m", "tp", "e", "ro"))
    with xr.open_dataset(tmp_path / "all.nc") as hours:
        middle = np.datetime64(hours["valid_time"].to_numpy()[0], "D") + 4
        before, after = (tmp_path / name for name in ("before.nc", "after.nc"))
        hours.sel(valid_time=hours["valid_time"] < middle).to_netcdf(before)
        hours.sel(valid_time=hours["valid_time"] >= middle).to_netcdf(after)
    options: dict[str, Any] = {"climate_zone": False}
    whole = soilcast.prepare("era5land", [tmp_path / "all.nc"], out=tmp_path / "expected", **options)
    out = tmp_path / "cube"
    soilcast.prepare("era5land", [before], out=out, **options)
    assert re.search(r"e on 1 day\(s\), .* missing in one of the two \(and ro, tp\)", refusal(out, [before, after]))
    cube = soilcast.update(out, [before, after], overlap="replace")
    assert cube.attrs["content_sha256"] == whole.attrs["content_sha256"]


# ---------------------------------------------------------------- days that both have


def pair(tmp_path: Path, **changes: float) -> tuple[Path, xr.Dataset]:
    """A cube of 380 days, and a part of days 370 .. 400 with other values in cell 2 on the sixth day of it."""
    whole = few(4, 400)
    part = whole.isel(time=slice(370, None)).copy(deep=True)
    for name, change in changes.items():
        part[name][2, 5] += change
    GIVEN["part"] = part
    return save_made(whole.isel(time=slice(0, 380)), tmp_path / "cube"), whole


def test_days_that_differ_are_refused_by_name(tmp_path: Path) -> None:
    out, whole = pair(tmp_path, swvl1=0.02, tp=0.001)
    day = str(whole["time"].to_numpy()[375])[:10]
    assert refusal(out, ["part"]) == (
        f"the files given (part) differ from {out} on common days: swvl1 on 1 day(s), first on {day}, in 1 "
        "cell(s), by up to 0.02 m3 m-3 (and tp): use --overlap keep for the values of the cube, or --overlap "
        "replace for those of the files"
    )


def test_a_value_that_was_missing_is_a_difference(tmp_path: Path) -> None:
    out, whole = pair(tmp_path)
    holed = whole.isel(time=slice(0, 380)).copy(deep=True)
    holed["tp"][:3, 378:] = np.nan
    save_made(holed, out)
    assert "tp on 2 day(s), first on 2019-01-14, in 3 cell(s), 6 value(s) missing in one of the two" in refusal(
        out, ["part"]
    )
    assert np.isnan(soilcast.update(out, ["part"], overlap="keep")["tp"][:3, 378:380]).all()


@pytest.mark.parametrize(("overlap", "said"), [("keep", "kept from the cube"), ("replace", "replaced")])
def test_days_that_differ_are_kept_or_replaced(tmp_path: Path, overlap: str, said: str) -> None:
    out, whole = pair(tmp_path, swvl1=0.02)
    told: list[str] = []
    found = soilcast.update(out, ["part"], overlap=overlap, log=told.append)
    expected = whole["swvl1"].to_numpy().copy()
    expected[2, 375] += 0.02 if overlap == "replace" else 0.0
    np.testing.assert_allclose(found["swvl1"], expected, atol=1e-7)
    assert told[0].startswith(f"{said}: swvl1 on 1 day(s)")
    (record,) = appended(found)
    assert record["overlap"] == overlap
    assert record["differing"] == [told[0].removeprefix(f"{said}: ")]


def test_differences_within_the_tolerance_are_none(tmp_path: Path) -> None:
    out, whole = pair(tmp_path, swvl1=1e-5)
    assert "swvl1" in refusal(out, ["part"])
    found = soilcast.update(out, ["part"], tolerance=1e-4)
    np.testing.assert_array_equal(found["swvl1"], whole["swvl1"])
    out, whole = pair(tmp_path, swvl1=5e-7)
    np.testing.assert_array_equal(soilcast.update(out, ["part"])["swvl1"], whole["swvl1"])


@pytest.mark.parametrize("tolerance", [-1.0, 1.0, float("nan")])
def test_a_tolerance_that_is_none_is_refused(cube: Path, tables: Path, tolerance: float) -> None:
    assert "give a fraction of the valid range" in refusal(cube, [tables / "380-400"], tolerance=tolerance)


def test_an_unknown_overlap_is_refused_with_the_nearest(cube: Path, tables: Path) -> None:
    assert "--overlap replaced: " in refusal(cube, [tables / "380-400"], overlap="replaced")


def test_old_days_can_be_replaced_without_new_ones(tmp_path: Path) -> None:
    out, whole = pair(tmp_path)
    part = whole.isel(time=slice(100, 120)).copy(deep=True)
    part["tp"][:, 3] = 0.004
    GIVEN["part"] = part
    inodes = {file: file.stat().st_ino for file in out.rglob("*/c/*/*")}
    told: list[str] = []
    found = soilcast.update(out, ["part"], overlap="replace", log=told.append)
    expected = whole["tp"].isel(time=slice(0, 380)).to_numpy().copy()
    expected[:, 103] = 0.004
    np.testing.assert_array_equal(found["tp"], expected.astype(np.float32))
    assert told[1] == f"{out}: no day appended; now 2018-01-01 .. 2019-01-15 (380 days); 1 blocks written"
    again = {file: file.stat().st_ino for file in out.rglob("*/c/*/*")}
    assert [str(file.relative_to(out)) for file in again if again[file] != inodes[file]] == ["tp/c/0/0"]


@pytest.mark.parametrize("overlap", ["refuse", "keep", "replace"])
def test_without_new_days_the_cube_is_left_as_it_is(cube: Path, tables: Path, overlap: str) -> None:
    times = {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in cube.rglob("*")}
    told: list[str] = []
    found = soilcast.update(cube, [tables / "0-200"], overlap=overlap, log=told.append)
    assert found.sizes["time"] == 380
    what = f"the files given ({tables / '0-200'})"
    assert told == [f"nothing new: {cube} has all 200 days of {what} already"]
    assert {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in cube.rglob("*")} == times
    assert left(cube.parent) == ["cube"]


def test_notes_say_of_which_days_they_are_and_go_with_them(tmp_path: Path) -> None:
    whole = few(3, 60)
    out = save_made(whole.isel(time=slice(0, 40)).assign_attrs(notes="an old note"), tmp_path / "cube")
    GIVEN["part"] = whole.isel(time=slice(40, 50)).assign_attrs(notes="preliminary")
    assert soilcast.update(out, ["part"]).attrs["notes"] == "an old note\n2018-02-10 .. 2018-02-19: preliminary"
    GIVEN["part"] = whole.isel(time=slice(40, 60))
    final = soilcast.update(out, ["part"], overlap="replace")
    assert final.attrs["notes"] == "an old note"
    assert final.attrs["title"] == "A small world for tests"


# ---------------------------------------------------------------- what does not fit


def test_missing_days_are_named_and_become_missing_only_if_that_is_said(cube: Path, tables: Path) -> None:
    what = f"the files given ({tables / '385-400'})"
    assert refusal(cube, [tables / "385-400"]) == (
        f"5 missing day(s) between {cube} and {what}: 2002-01-16 .. 2002-01-20: add the files of these days, or fill "
        "them with missing values (--allow-gap)"
    )
    found = soilcast.update(cube, [tables / "385-400"], allow_gap=True)
    assert found.sizes["time"] == 400
    there = found["swvl1"].notnull().any("cell").to_numpy()
    assert there.tolist() == [True] * 380 + [False] * 5 + [True] * 15
    # What was missing can come later.
    assert "missing in one of the two" in refusal(cube, [tables / "380-400"])
    soilcast.update(cube, [tables / "380-400"], overlap="replace")
    assert soilcast.open_cube(cube)["swvl1"].notnull().all()


def test_days_are_taken_up_to_one_that_is_said(cube: Path, tables: Path, masters: Path) -> None:
    before = open_cube(cube)["time"].to_numpy()[-1].astype("datetime64[D]")
    soilcast.update(cube, [tables / "385-400"], until=str(before))
    assert soilcast.open_cube(cube).sizes["time"] == 380
    assert soilcast.update(cube, [tables / "380-400"], until=str(before + 4)).sizes["time"] == 384
    assert soilcast.update(cube, [tables / "380-400"], until=str(before + 90)).sizes["time"] == 400
    assert content_of(cube) == content_of(masters / "0-400")
    assert "--until never: write a day, such as 2026-11-25" in refusal(cube, [tables / "380-400"], until="never")


def test_days_before_the_first_are_refused(tmp_path: Path) -> None:
    whole = few(3, 60)
    out = save_made(whole.isel(time=slice(20, 40)), tmp_path / "cube")
    GIVEN["part"] = whole.isel(time=slice(19, 60))
    message = refusal(out, ["part"])
    assert "have days before the first of" in message
    assert "2018-01-20 .. 2018-03-01 (41 days), but it has 2018-01-21 .. 2018-02-09 (20 days)" in message


def test_other_cells_are_counted(tmp_path: Path) -> None:
    whole = few(5, 60, grid=False)
    out = save_made(whole.isel(time=slice(0, 40), cell=slice(0, 4)), tmp_path / "cube")
    GIVEN["part"] = whole.isel(time=slice(40, 60), cell=[0, 2, 4])
    message = refusal(out, ["part"])
    assert "2 of its 4 cells are missing (first place-001 at " in message
    assert "1 are there that it has not" in message
    GIVEN["part"] = few(4, 20, start="2018-02-10")
    assert "hold cells of a grid, but" in refusal(out, ["part"])
    grid = save_made(few(4, 40), tmp_path / "grid")
    GIVEN["part"] = few(4, 20, seed=1, start="2018-02-10")
    assert re.search(r"\d of its 4 cells are missing \(first at .* north, .* east\)", refusal(grid, ["part"]))


def test_cells_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    whole = few(3, 60, grid=False)
    for name in ("lat", "lon", "cell_name"):
        whole[name][:2] = whole[name].to_numpy()[0]
    out = save_made(whole.isel(time=slice(0, 40)), tmp_path / "cube")
    GIVEN["part"] = whole.isel(time=slice(40, 60), cell=[2, 1, 0])
    assert "cannot be matched" in refusal(out, ["part"])
    GIVEN["part"] = whole.isel(time=slice(40, 60))
    assert soilcast.update(out, ["part"]).sizes["time"] == 60


def test_other_variables_are_named(tmp_path: Path) -> None:
    whole = few(3, 60)
    out = save_made(whole.isel(time=slice(0, 40)), tmp_path / "cube")
    part = whole.isel(time=slice(40, 60))
    GIVEN["part"] = part.drop_vars("tp")
    assert f"the files given (part) lack tp, which {out} has: add the files" in refusal(out, ["part"])
    GIVEN["part"] = part.assign(t2m=part["tp"] + np.float32(280), sand=part["elevation"] * 0)
    assert f"the files given (part) hold t2m, sand, which {out} lacks" in refusal(out, ["part"])


def test_other_static_values_are_named_and_rounded_ones_pass(tmp_path: Path) -> None:
    whole = few(3, 60)
    out = save_made(whole.isel(time=slice(0, 40)), tmp_path / "cube")
    part = whole.isel(time=slice(40, 60)).copy(deep=True)
    part["elevation"][1] += 3.0
    part["area"][2] = np.nan
    GIVEN["part"] = part
    message = refusal(out, ["part"])
    assert "area in 1 of 3 cells, missing in one; elevation in 1 of 3 cells, by up to 3 m:" in message
    rounded = whole.isel(time=slice(40, 60)).copy(deep=True)
    rounded["area"] = rounded["area"].astype(np.float32).astype(np.float64)
    rounded["elevation"] = rounded["elevation"] * np.float32(1 + 1e-7)
    GIVEN["part"] = rounded.drop_vars("slthick1")
    found = soilcast.update(out, ["part"]).load()
    xr.testing.assert_equal(found, whole)


def test_another_content_is_refused(cube: Path, tables: Path, tmp_path: Path) -> None:
    other = write_recipe(tmp_path, content="other numbers")
    save_cube(open_cube(cube).load(), tmp_path / "other", source="table", options={"mapping": str(other)})
    message = refusal(tmp_path / "other", [tables / "380-400"])
    assert "have other content (other numbers) than" in message


def test_values_out_of_bounds_name_the_new_file(tmp_path: Path) -> None:
    whole = few(3, 60)
    out = save_made(whole.isel(time=slice(0, 40)), tmp_path / "cube")
    part = whole.isel(time=slice(40, 60)).copy(deep=True)
    part["tp"][0, 3] = 7.0
    part["tp"].attrs["origin"] = "later.nc: rain"
    GIVEN["part"] = part
    assert "later.nc: rain: tp has 1 value(s) outside 0 .. 1.9" in refusal(out, ["part"])


# ---------------------------------------------------------------- how the cube was made


def test_a_cube_that_does_not_say_how_it_was_made_is_refused(tmp_path: Path) -> None:
    save_cube(few(3, 20), tmp_path / "cube")
    assert "its provenance lacks the source and options that it was prepared with" in refusal(tmp_path / "cube", ["a"])
    save_cube(few(3, 20), tmp_path / "other", source="nowhere", options={})
    assert "made by the source nowhere, which is not available" in refusal(tmp_path / "other", ["a"])
    save_cube(few(3, 20), tmp_path / "third", source="made", options={"colour": "red"})
    assert "made with colour, which the source made does not accept" in refusal(tmp_path / "third", ["a"])


@pytest.mark.parametrize("source", ["planet", "delaware"])
def test_sources_without_files_are_refused(tmp_path: Path, source: str) -> None:
    save_cube(few(3, 20), tmp_path / "cube", source=source, options={})
    assert f"made by the source {source}, which reads no files" in refusal(tmp_path / "cube", ["a"])


def test_a_cube_keeps_its_mapping(tables: Path, masters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "first").mkdir()
    mapping = shutil.copy(tables / "mapping.yaml", tmp_path / "first")
    monkeypatch.chdir(tmp_path / "first")
    out = tmp_path / "cube"
    soilcast.prepare("table", [tables / "0-380"], out=out, mapping="mapping.yaml")
    monkeypatch.chdir(tmp_path)
    soilcast.update(out, [tables / "380-390"])
    (tmp_path / "mapping.yaml").write_text("of something else")
    Path(mapping).unlink()
    soilcast.update(out, [tables / "390-400"])
    assert content_of(out) == content_of(masters / "0-400")


def test_a_mapping_that_has_changed_is_refused(tables: Path, tmp_path: Path) -> None:
    mapping, out = tmp_path / "mapping.yaml", tmp_path / "cube"
    text = (tables / "mapping.yaml").read_text()
    mapping.write_text(text)
    soilcast.prepare("table", [tables / "0-380"], out=out, mapping=mapping)
    mapping.write_text(text.replace("unit: mm d-1", "unit: cm d-1"))
    assert mapping.read_text() != text
    message = refusal(out, [tables / "380-400"])
    assert f"{mapping} has changed since {out} was prepared with it" in message
    mapping.write_text(f"# a remark\n{text}")
    assert soilcast.update(out, [tables / "380-400"]).sizes["time"] == 400


@pytest.mark.parametrize("stored", [5, {"file": 5, "content": {}}, {"file": "a.yaml", "content": {"title": 1}}, {}])
def test_a_damaged_mapping_is_refused(tmp_path: Path, stored: Any) -> None:
    save_cube(few(3, 20), tmp_path / "cube", source="table", options={"mapping": "mapping.yaml"}, mapping=stored)
    assert str(tmp_path / "cube") in refusal(tmp_path / "cube", ["a.nc"])


def test_a_mapping_that_is_gone_is_named(tmp_path: Path) -> None:
    save_cube(few(3, 20), tmp_path / "cube", source="table", options={"mapping": "mapping.yaml"})
    message = refusal(tmp_path / "cube", ["a.nc"])
    assert "made with --mapping mapping.yaml, and mapping.yaml does not exist" in message


def test_what_is_no_cube_is_refused(tables: Path, tmp_path: Path) -> None:
    with pytest.raises(SoilcastError, match="no such cube"):
        soilcast.update(tmp_path / "cube", [tables / "380-400"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    for path in (tmp_path / "mine", tables / "380-400" / "data.nc"):
        with pytest.raises(SoilcastError, match=r"a cube is expected|cannot be read as a cube"):
            soilcast.update(path, [tables / "380-400"])
    assert left(tmp_path) == ["mine"]


def test_no_file_is_refused(cube: Path) -> None:
    assert f"name the files with the new days of {cube}" in refusal(cube, [])


def test_faults_of_the_new_files_leave_the_cube(cube: Path, tmp_path: Path) -> None:
    assert "no such file" in refusal(cube, [tmp_path / "gone.nc"])
    tree = small_tree(tmp_path / "tree", [2019])
    soilcast.prepare("landbench", [tree], out=tmp_path / "landbench", resolution=4)
    shutil.rmtree(tree / "4" / "atmosphere" / "2019")
    small_tree(tree, [2020])
    rewrite(file_of(tree, "tp", 2020), lambda opened: opened * 1e6)
    shutil.rmtree(tree / "4" / "land_surface" / "2019", ignore_errors=True)
    assert "tp has" in refusal(tmp_path / "landbench", [tree])


# ---------------------------------------------------------------- links, and whoever has the cube open


def test_what_does_not_change_is_linked_and_what_changes_is_new(cube: Path, tables: Path, tmp_path: Path) -> None:
    hard_links(cube, tmp_path / "snapshot")
    before = content_of(tmp_path / "snapshot")
    inodes = {file.relative_to(cube): file.stat().st_ino for file in cube.rglob("*") if file.is_file()}
    soilcast.update(cube, [tables / "380-400"])
    same = {str(file) for file in inodes if (cube / file).stat().st_ino == inodes[file]}
    assert same == {f"{name}/c/0/0" for name in ("e", "swvl1", "t2m", "tp")}
    assert content_of(tmp_path / "snapshot") == before  # nothing was written through a second name
    assert open_cube(tmp_path / "snapshot")["time"].size == 380


def test_where_files_cannot_be_linked_they_are_copied(
    cube: Path, tables: Path, masters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    inodes = {file.stat().st_ino for file in cube.rglob("*") if file.is_file()}
    soilcast.update(cube, [tables / "380-400"])
    assert content_of(cube) == content_of(masters / "0-400")
    assert inodes.isdisjoint(file.stat().st_ino for file in cube.rglob("*") if file.is_file())


def test_a_cube_of_another_layout_is_written_anew(
    tables: Path, masters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "cube"
    with monkeypatch.context() as patch:
        for module in (store, stream):
            patch.setattr(module, "CELL_CHUNK", 3)
        soilcast.prepare("table", [tables / "0-380"], out=out, mapping=tables / "mapping.yaml")
    soilcast.update(out, [tables / "380-400"])
    assert content_of(out) == content_of(masters / "0-400")


@pytest.mark.parametrize("name", ["cube", "cube.nc"])
def test_who_has_the_cube_open_goes_on_reading_it(tables: Path, tmp_path: Path, name: str) -> None:
    soilcast.prepare("table", [tables / "0-380"], out=tmp_path / name, mapping=tables / "mapping.yaml")
    opened = open_cube(tmp_path / name)
    expected = open_cube(tmp_path / name).load()
    xr.testing.assert_equal(opened["tp"][:, 300:].load(), expected["tp"][:, 300:])
    soilcast.update(tmp_path / name, [tables / "380-400"])
    xr.testing.assert_equal(opened.load(), expected)
    assert open_cube(tmp_path / name).sizes["time"] == 400


def test_a_cube_behind_a_link_is_updated_where_it_lies(cube: Path, tables: Path) -> None:
    (cube.parent / "latest").symlink_to("cube")
    assert soilcast.update(cube.parent / "latest", [tables / "380-400"]).sizes["time"] == 400
    assert (cube.parent / "latest").is_symlink()
    assert open_cube(cube).sizes["time"] == 400
    assert left(cube.parent) == ["cube", "latest"]


# ---------------------------------------------------------------- whatever ends it


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 2])
def test_a_killed_update_leaves_the_old_cube_or_the_new_one(
    masters: Path, tables: Path, tmp_path: Path, steps: int
) -> None:
    old, new = content_of(masters / "0-380"), content_of(masters / "0-400")
    shutil.copytree(masters / "0-380", tmp_path / "counted" / "cube")
    changes = changes_of_update(tmp_path / "counted" / "cube", [tables / "380-400"], tmp_path / "changes", steps=steps)
    # The last that is no removal is what puts the new cube in its place, or comes just before that.
    last = max(number for number, change in enumerate(changes, 1) if change in ("open", "os.rename"))
    states: list[str] = []
    for change in (last // 3, last - 1, last, last + 1, (last + len(changes)) // 2):
        out = tmp_path / str(change) / "cube"
        shutil.copytree(masters / "0-380", out)
        assert ends(fork_update(out, [tables / "380-400"], Death(change), steps=steps)) == -signal.SIGKILL
        if out.exists():
            found = content_of(out)
            assert found in (old, new)
            states.append("old" if found == old else "new")
        else:
            assert content_of(out.with_name("cube.unfinished") / "update" / "cube.zarr.replaced") == old
            states.append("aside")
        told: list[str] = []
        soilcast.update(out, [tables / "380-400"], log=told.append)
        assert content_of(out) == new
        assert left(out.parent) == ["cube"]
        assert told[0].startswith("nothing new" if states[-1] == "new" else f"{out}: 2002-01-16 .. 2002-02-04")
    # Where the system has no step of its own, there is one moment in which the old cube stands aside.
    assert states == ["old", "old", {1: "new", 2: "aside"}[steps], "new", "new"]


@pytest.mark.slow
def test_an_update_that_is_killed_at_any_change_of_its_files_loses_nothing(
    masters: Path, tables: Path, tmp_path: Path
) -> None:
    old, new = content_of(masters / "0-380"), content_of(masters / "0-400")
    for change in itertools.count(1, 17):
        out = tmp_path / str(change) / "cube"
        shutil.copytree(masters / "0-380", out)
        code = ends(fork_update(out, [tables / "380-400"], Death(change, 64 if change % 2 else None)))
        assert content_of(out) in (old, new)
        if code == 0:
            break
        assert ends(fork_update(out, [tables / "380-400"])) == 0
        assert content_of(out) == new
        assert left(out.parent) == ["cube"]
    assert change > 90


@pytest.mark.parametrize("both", [False, True])
def test_what_a_kill_between_two_steps_leaves_is_put_right(
    masters: Path, tables: Path, tmp_path: Path, both: bool
) -> None:
    out, inside = tmp_path / "cube", tmp_path / "cube.unfinished"
    shutil.copytree(masters / "0-380", inside / "update" / "cube.zarr.replaced")
    (inside / ".soilcast-lock").touch()
    if both:
        shutil.copytree(masters / "0-400", out)
    assert soilcast.update(out, [tables / "380-400"]).sizes["time"] == 400
    assert content_of(out) == content_of(masters / "0-400")
    assert left(tmp_path) == ["cube"]


def test_a_stop_leaves_the_old_cube_and_nothing_beside(
    cube: Path, tables: Path, masters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: stream.CubeStream, provenance: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stream.CubeStream, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            soilcast.update(cube, [tables / "380-400"])
    assert content_of(cube) == content_of(masters / "0-380")
    assert left(cube.parent) == ["cube"]

    def refuse(self: Path, target: Path) -> Path:
        if target == cube and self.name == "cube.zarr":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return genuine(self, target)

    genuine = Path.replace
    monkeypatch.setattr(files, "atomic_swap", lambda one, other: False)
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="Input/output"):
        soilcast.update(cube, [tables / "380-400"])
    assert content_of(cube) == content_of(masters / "0-380")
    assert left(cube.parent) == ["cube"]


FILLS = """
import sys
import soilcast
for cube in sys.argv[2:]:
    try:
        soilcast.update(cube, [sys.argv[1]])
    except soilcast.SoilcastError as error:
        print(error)
"""


@pytest.mark.slow
def test_a_full_disk_leaves_the_old_cube(tables: Path, tmp_path: Path) -> None:
    """The limit on the size of a file stands for the full disk: the system tells both in the middle of a write."""
    cubes = [tmp_path / "cube", tmp_path / "cube.nc"]
    for cube in cubes:
        soilcast.prepare("table", [tables / "0-380"], out=cube, mapping=tables / "mapping.yaml")
    before = open_cube(cubes[0]).load()
    done = run_script(FILLS, tables / "380-400", *cubes, room=1200)
    assert done.returncode == 0, done.stderr
    for cube, told in zip(cubes, done.stdout.splitlines(), strict=True):
        assert told.startswith(f"{cube} exceeds the maximum file size")
        xr.testing.assert_equal(open_cube(cube).load(), before)
    assert left(tmp_path) == ["cube", "cube.nc"]


@pytest.mark.slow
def test_two_at_once_are_refused(cube: Path, tables: Path) -> None:
    with locked_cube(cube):
        with pytest.raises(SoilcastError, match="another soilcast process is writing it"):
            soilcast.update(cube, [tables / "380-400"])
        with pytest.raises(SoilcastError, match="another soilcast process is writing it"):
            soilcast.prepare("planet", out=cube, overwrite=True, resolution=8, years="2019")
    assert left(cube.parent) == ["cube"]
    assert soilcast.update(cube, [tables / "380-400"]).sizes["time"] == 400


def test_an_unfinished_preparation_is_not_thrown_away(
    cube: Path, tables: Path, masters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: stream.CubeStream, provenance: str) -> None:
        raise KeyboardInterrupt

    options: dict[str, Any] = {"mapping": tables / "mapping.yaml", "overwrite": True}
    with monkeypatch.context() as patch:
        patch.setattr(stream.CubeStream, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            soilcast.prepare("table", [tables / "0-400"], out=cube, **options)
    assert left(cube.parent) == ["cube", "cube.unfinished"]
    assert "its preparation is unfinished" in refusal(cube, [tables / "380-400"])
    soilcast.prepare("table", [tables / "0-400"], out=cube, resume=True, **options)
    assert content_of(cube) == content_of(masters / "0-400")


def test_a_damaged_cube_is_named_and_stays(cube: Path, tables: Path) -> None:
    (cube / "tp" / "c" / "0" / "0").write_bytes(b"rotten")
    with pytest.raises(SoilcastError, match="tp changed after it was written"):
        soilcast.update(cube, [tables / "380-400"])
    (cube / "tp" / "c" / "0" / "0").unlink()
    with pytest.raises(SoilcastError, match="tp is incomplete"):
        soilcast.update(cube, [tables / "380-400"])
    assert left(cube.parent) == ["cube"]


def test_too_little_memory_is_named(cube: Path, tables: Path, masters: Path) -> None:
    message = refusal(cube, [tables / "380-400"], memory=1)
    enough = int(re.search(r"takes at least (\d+) MiB", message)[1]) + 60  # type: ignore[index]
    told: list[str] = []
    soilcast.update(cube, [tables / "380-400"], memory=enough << 20, log=told.append)
    assert any(re.match(r"reading \d+ days at a time, to stay within", line) for line in told)
    assert re.fullmatch(r"peak memory [\d,]+ MiB", told[-1])
    assert content_of(cube) == content_of(masters / "0-400")


# ---------------------------------------------------------------- the command


def test_the_command_appends_says_what_it_did_and_refuses_in_one_line(
    cube: Path, tables: Path, masters: Path, tmp_path: Path
) -> None:
    refused = run_command("update", cube, tables / "385-400")
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr.startswith("soilcast: 5 missing day(s) between")
    assert refused.stderr.count("\n") == 1
    done = run_command("update", cube, tables / "370-390", tables / "390-400", "--overlap", "keep")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == (
        f"{cube}: 2002-01-16 .. 2002-02-04 (20 days) appended; now 2001-01-01 .. 2002-02-04 (400 days); "
        "4 blocks written"
    )
    assert second.startswith("peak memory ")
    assert content_of(cube) == content_of(masters / "0-400")
