"""The source ``table``: whatever is wrong with a mapping or a file, one line says it and nothing is left."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from soilcast.sources.table import table
from soilcast.sources.table.mapping import read_mapping
from tests.helpers.table_data import LAT, as_csv, gridded_data, listed, saved, write_recipe


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Path]:
    return partial(write_recipe, tmp_path)


@pytest.fixture
def gridded() -> xr.Dataset:
    return gridded_data()


FAULTS = {
    "unknown key": ({"cells__latt": "lat"}, r"mapping.yaml: cells: unknown key 'latt': did you mean lat\?"),
    "unknown variable key": (
        {"variables__t2m": {"nam": "temp"}},
        r"variables.t2m: unknown key 'nam': did you mean name\?",
    ),
    "unknown contract name": (
        {"variables__swvl11": "sm"},
        r"unknown variable 'swvl11': did you mean swvl1\?",
    ),
    "derived name": (
        {"variables__slthick1": "sm"},
        "'slthick1' does not belong here: write .* thickness beside its soil layer",
    ),
    "no variable": ({"variables": {}}, "variables: none is named: add swvl1"),
    "no thickness": (
        {"variables__swvl1": "sm"},
        "mapping.yaml: variables.swvl1: the thickness .* is missing: add thickness",
    ),
    "thickness elsewhere": (
        {"variables__t2m": {"name": "temp", "thickness": 1}},
        "thickness belongs to soil layers only",
    ),
    "missing key": ({"title": None}, "mapping.yaml: title: this key is missing"),
    "wrong kind": (
        {"variables__t2m": {"name": ["a"]}},
        "mapping.yaml: variables.t2m.name: Input should be a valid string",
    ),
    "sign": ({"variables__e": {"name": "evap", "sign": -2}}, "variables.e.sign: Input should be 1 or -1"),
    "name and value": ({"variables__t2m": {"name": "temp", "value": 1}}, "variables.t2m: give either name"),
    "empty rule": ({"cells__select": {"mask": {}}}, "cells.select.mask: give at least one of above"),
    "unknown file variable": ({"variables__t2m": "tempp"}, r"a.nc: no variable 'tempp': did you mean temp\?"),
    "unknown lat": ({"cells__lat": "latt"}, r"a.nc: no variable 'latt': did you mean lat\?"),
    "missing unit": (
        {"variables__tp": "rain"},
        "a.nc: rain: no unit for tp; expected .* m d-1: .*--unit tp=UNIT",
    ),
    "unknown unit": (
        {"variables__t2m": {"name": "temp", "unit": "flarg"}},
        "a.nc: temp: unit 'flarg' of t2m does not convert to K",
    ),
    "wrong unit": (
        {"variables__t2m": {"name": "temp", "unit": "mm"}},
        "a.nc: temp: unit 'mm' of t2m does not convert to K",
    ),
    "mixed units": (
        {"variables__t2m": {"name": "temp", "add": "sm"}},
        r"adds variables of different units \(temp \[degC\], sm \[%\]\)",
    ),
    "no unit of a product": (
        {"variables__t2m": {"name": "temp", "multiply_by": 2}},
        r"temp \* 2: no unit for t2m",
    ),
    "no thickness unit": ({"variables__swvl1__thickness": 7}, "7: no unit for slthick1"),
    "zero thickness": (
        {"variables__swvl1__thickness": {"name": "mask", "subtract": "mask", "unit": "m"}},
        "swvl1 .* missing or not above zero in 11 of 11",
    ),
    "no cell": ({"cells__select": {"mask": {"above": 99}}}, "no cell is selected: mask above 99.0 passes 0 of 12"),
    "only sea": (
        {"cells__select": {"mask": {"one_of": [0]}}},
        r"a.nc: swvl1 \(sm\) is missing on every day in all 1 cells",
    ),
    "static flux": ({"variables__tp": {"name": "mask", "unit": "mm"}}, "a.nc: mask: tp has no dimension 'time'"),
    "moving static": (
        {"variables__elevation": {"name": "rain", "unit": "m"}},
        "rain varies in time in .* one value per cell",
    ),
    "unknown position": (
        {"variables__t2m": {"name": "temp", "at": {"depth": 1}}},
        "temp has no position 1 along 'depth'",
    ),
    "period outside": ({"period": "1990"}, "no day in the period 1990.* 2001-01-01 .. 2002-02-04"),
    "no period": ({"period": "soon"}, "'soon' is not a period"),
}


@pytest.mark.parametrize(("changes", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_of_the_mapping(changes, message, gridded, recipe, tmp_path):
    with pytest.raises(SoilcastError, match=message):
        table([saved(gridded, tmp_path / "a.nc")], mapping=recipe(**changes))


NO_MAPPINGS = {
    "a list": ("- a\n- b\n", "keys and values"),
    "nothing": ("", "keys and values"),
    "no YAML": ("title: [", r"not valid YAML \(line 1\)"),
    "aliases": ("title: &a x\ncontent: *a\n", r"aliases .* not allowed"),
    "a key twice": ("title: a\ntitle: b\n", "'title' is given twice"),
    "code": ("title: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
    "depth": ("title: " + "[" * 5000, "not valid YAML"),
    "huge": ("#" * (1 << 20) + "\n\n", "larger than 1 MiB"),
    "sections as text": (
        "title: a\ncontent: b\ncells: here\nvariables: there\n",
        "cells: expected keys and values",
    ),
}


@pytest.mark.parametrize(("text", "message"), NO_MAPPINGS.values(), ids=NO_MAPPINGS.keys())
def test_what_is_no_mapping(text, message, tmp_path):
    path = tmp_path / "mapping.yaml"
    path.write_text(text)
    with pytest.raises(SoilcastError, match=message) as raised:
        read_mapping(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.slow
@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.text(max_size=5) | st.integers() | st.floats(),
        lambda x: (
            st.lists(x, max_size=2)
            | st.dictionaries(st.sampled_from(["name", "value", "add", "swvl1", "unit", "thickness"]), x, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_any_content_is_either_a_mapping_or_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump({"title": "a", "content": "b", "variables": {"swvl1": content}}))
    try:
        found = read_mapping(path).variables["swvl1"].text()
    except SoilcastError as error:
        found = str(error)
    assert found
    assert "\n" not in found


def test_missing_files(recipe, tmp_path):
    with pytest.raises(SoilcastError, match=r"absent.nc: no such file"):
        table([tmp_path / "absent.nc"], mapping=recipe())
    with pytest.raises(SoilcastError, match="no file is given"):
        table([], mapping=recipe())
    with pytest.raises(SoilcastError, match=r"absent.yaml: no such"):
        table([tmp_path], mapping=tmp_path / "absent.yaml")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SoilcastError, match=r"empty: no NetCDF, Zarr or CSV in this folder; it is empty"):
        table([tmp_path / "empty"], mapping=recipe())


def test_stated_units(gridded, recipe, tmp_path):
    path = saved(gridded, tmp_path / "a.nc")
    mapping = recipe(variables__tp="rain")
    plain = table([path], mapping=mapping, units={"tp": "cm"})
    assert float(plain.tp.max()) == pytest.approx(0.09, rel=0.01)
    with pytest.raises(SoilcastError, match=r"--unit t3m: .* did you mean t2m"):
        table([path], mapping=mapping, units={"t3m": "K"})


def test_days_repeated_missing_or_different(gridded, recipe, tmp_path):
    with pytest.raises(SoilcastError, match=r"2001-01-11, .*missing|missing day.*2001-01-11"):
        table([saved(gridded.drop_isel(time=10), tmp_path / "gap.nc")], mapping=recipe())
    halves = [gridded.isel(time=slice(0, 20)), gridded.isel(time=slice(19, None))]
    paths = [saved(half, tmp_path / f"{i}.nc") for i, half in enumerate(halves)]
    with pytest.raises(SoilcastError, match=r"0.nc .. 1.nc: 2001-01-20 occurs more than once"):
        table(paths, mapping=recipe())
    parts = [gridded[["sm", "evap", "rain", "snow"]], gridded[["temp"]].isel(time=slice(5, None))]
    paths = [saved(part, tmp_path / f"{i}.nc") for i, part in enumerate(parts)]
    with pytest.raises(SoilcastError, match=r"1.nc: temp covers 2001-01-06 .*, but .* 2001-01-01"):
        table(paths, mapping=recipe())


def test_files_on_different_places(gridded, recipe, tmp_path):
    moved = gridded[["temp"]].assign_coords(lat=LAT + 0.25)
    paths = [saved(gridded.drop_vars("temp"), tmp_path / "a.nc"), saved(moved, tmp_path / "b.nc")]
    with pytest.raises(SoilcastError, match=r"b.nc: lat/lon mismatch: lat differs from that of a.nc"):
        table(paths, mapping=recipe())
    with pytest.raises(SoilcastError, match=r"lat: values are not within 90 degrees"):
        table([saved(gridded.assign_coords(lat=LAT * 10), tmp_path / "a.nc")], mapping=recipe())
    with pytest.raises(SoilcastError, match=r"lat: not evenly spaced"):
        table([saved(gridded.assign_coords(lat=[1.0, 2, 4]), tmp_path / "a.nc")], mapping=recipe())
    with pytest.raises(SoilcastError, match=r"unknown cell area: add cells.area"):
        table([saved(listed(gridded), tmp_path / "a.nc")], mapping=recipe())


def test_all_missing_target(gridded, recipe, tmp_path):
    gridded["sm"] = gridded.sm * np.nan
    with pytest.raises(SoilcastError, match=r"a.nc: swvl1 \(sm\) is missing on every day in all 12 cells"):
        table([saved(gridded, tmp_path / "a.nc")], mapping=recipe())


def test_values_out_of_bounds_name_file_and_remedy(gridded, recipe, tmp_path):
    cube = table([saved(gridded, tmp_path / "a.nc")], mapping=recipe(variables__tp__unit="m d-1"))
    with pytest.raises(SoilcastError, match=r"a.nc: rain \+ snow: tp has .* outside 0 .. 1.9 m d-1 .*--unit tp=UNIT"):
        save_cube(cube, tmp_path / "cube")
    assert not (tmp_path / "cube").exists()


def test_truncated_netcdf(gridded, recipe, tmp_path):
    path = saved(gridded, tmp_path / "a.nc")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SoilcastError, match=r"a.nc: .*(damaged|truncated)"):
        table([path], mapping=recipe())


def test_damage_met_late_leaves_nothing(gridded, recipe, tmp_path):
    """The values of a variable are read while the cube is written."""
    path = tmp_path / "a.nc"
    gridded.to_netcdf(path, engine="h5netcdf", encoding={"temp": {"zlib": True, "fletcher32": True}})
    cube = table([path], mapping=recipe())
    stored = bytearray(path.read_bytes())
    with h5py.File(path) as opened:
        place = opened["temp"].id.get_chunk_info(0).byte_offset
    cube.close()
    stored[place + 40 : place + 90] = bytes(50)
    path.write_bytes(stored)
    cube = table([path], mapping=recipe())
    with pytest.raises(SoilcastError, match=r"a.nc: temp: cannot be read as NetCDF .*damaged"):
        save_cube(cube, tmp_path / "cube")
    assert not (tmp_path / "cube").exists()


def test_truncated_or_harmful_zarr(gridded, recipe, tmp_path):
    store = tmp_path / "a.zarr"
    chunks = {name: {"chunks": (100, 1, 4)} for name in ("sm", "temp", "evap", "rain", "snow")}
    gridded["temp"] = gridded.temp.where(gridded.lat < 50)
    gridded.to_zarr(store, zarr_format=3, consolidated=False, encoding=chunks)
    intact = tmp_path / "intact.zarr"
    shutil.copytree(store, intact)
    assert not (store / "temp" / "c" / "0" / "0").exists()
    table([store], mapping=recipe())
    shutil.rmtree(store / "rain" / "c" / "3")
    with pytest.raises(SoilcastError, match=r"a.zarr: rain lacks 3 of 12 chunks"):
        table([store], mapping=recipe())
    (intact / "sm" / "zarr.json").write_text("{")
    with pytest.raises(SoilcastError, match=r"sm/zarr.json is damaged"):
        table([intact], mapping=recipe())
    gridded.to_zarr(tmp_path / "two.zarr", zarr_format=2)
    described = tmp_path / "two.zarr" / "rain" / ".zarray"
    described.write_text(described.read_text().replace('"filters": null', '"filters": [{"id": "pickle"}]'))
    with pytest.raises(SoilcastError, match=r"two.zarr: its values are stored with the codec 'pickle'"):
        table([tmp_path / "two.zarr"], mapping=recipe())


CSV_FAULTS = {
    "duplicate": (
        lambda f: pd.concat([f, f.iloc[[5]]]),
        "a.csv: rows 7 and 57: cell 106 has 2001-01-01 more than once",
    ),
    "no dates": (lambda f: f.assign(time="soon"), "a.csv: row 2, column 'time': 'soon' is not a date"),
    "no cell": (lambda f: f.assign(place=None), "a.csv: row 2 names no cell"),
    "text": (lambda f: f.assign(temp="warm"), "a.csv: row 2, column 'temp': 'warm' is not a number"),
    "moving": (
        lambda f: f.assign(lat=np.arange(len(f)) / 1e4),
        "a.csv: row 13, column 'lat': 0.0011 for cell 101, but 0 elsewhere: give each cell one value",
    ),
    "no time": (lambda f: f.drop(columns="time"), "no CSV has the time column 'time'"),
    "no columns": (lambda f: f[["sm", "temp"]], "a.csv: no column 'time' or 'place' .it begins with 'sm,temp'.: name"),
}


@pytest.mark.parametrize(("change", "message"), CSV_FAULTS.values(), ids=CSV_FAULTS.keys())
def test_faults_of_csv(change, message, gridded, recipe, tmp_path):
    change(as_csv(gridded.isel(time=slice(0, 5)))).to_csv(tmp_path / "a.csv", index=False)
    units = {"swvl1": "%", "t2m": "degC", "e": "mm"}
    with pytest.raises(SoilcastError, match=message):
        table([tmp_path / "a.csv"], mapping=recipe(cells__name="place", cells__area="equal"), units=units)
