"""What stands on the disk is what was written: whatever was changed, swapped or replaced is noticed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

import soilcast
from soilcast import open_cube
from soilcast.cube import read, save_cube, write_dataset
from soilcast.cube.identity import check_store, manifest_of, refuse_changed, refuse_foreign_codecs
from soilcast.cube.store import content_sha256, open_artifact
from soilcast.errors import SoilcastError
from tests.helpers.small import few

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube and a forecast in both formats; not to be changed."""
    folder = tmp_path_factory.mktemp("saved")
    cube = few(6, 800)
    forecast = cube[["swvl1"]].assign_attrs(soilcast_kind="forecast", soilcast_format=4)
    for ending in ("", ".nc"):
        save_cube(cube, folder / f"cube{ending}")
        write_dataset(forecast, folder / f"forecast{ending}", netcdf=bool(ending))
    return folder


def copied(saved: Path, name: str, folder: Path) -> Path:
    path = folder / name
    (shutil.copytree if (saved / name).is_dir() else shutil.copy)(saved / name, path)
    return path


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    described = json.loads(file.read_text())
    change(described)
    file.write_text(json.dumps(described))


def attribute(name: str, **values: object) -> Change:
    return lambda path: edit(path / name / "zarr.json", lambda found: found["attributes"].update(values))


def array(path: Path, name: str) -> Any:
    return zarr.open_group(path, mode="r+", use_consolidated=False)[name]


def rewrite(name: str, change: Callable[[np.ndarray], Any]) -> Change:
    def go(path: Path) -> None:
        stored = array(path, name)
        stored[:] = change(stored[:])

    return go


def big_endian(path: Path) -> None:
    edit(path / "swvl1" / "zarr.json", lambda found: found["codecs"][0]["configuration"].update(endian="big"))


def swap_chunks(path: Path) -> None:
    one, other = (path / "swvl1" / "c" / "0" / number for number in "01")
    one.rename(path / "aside")
    other.rename(one)
    (path / "aside").rename(other)


def other_variable(path: Path) -> None:
    shutil.copy(path / "tp" / "c" / "0" / "0", path / "swvl1" / "c" / "0" / "0")


def extra_chunk(path: Path) -> None:
    shutil.copy(path / "swvl1" / "c" / "0" / "0", path / "swvl1" / "c" / "0" / "9")


def linked(path: Path) -> None:
    chunk = path / "swvl1" / "c" / "0" / "0"
    chunk.rename(path.parent / "elsewhere")
    chunk.symlink_to(path.parent / "elsewhere")


CHANGES: dict[str, Change] = {
    "scale": attribute("swvl1", scale_factor=5.0),
    "unit": attribute("tp", units="mm d-1"),
    "origin of time": attribute("time", units="days since 1801-01-01"),
    "calendar": attribute("time", calendar="noleap"),
    "title": attribute("", title="another"),
    "hash": attribute("", content_sha256="0" * 64),
    "endian": big_endian,
    "values": rewrite("swvl1", lambda values: values * 0.5 + 0.01),
    "nan": rewrite("swvl1", lambda values: np.full_like(values, np.nan)),
    "static values": rewrite("elevation", lambda values: values + 1),
    "latitude": rewrite("lat", lambda values: values + 0.5),
    "order of cells": rewrite("lon", lambda values: values[::-1]),
    "chunks swapped": swap_chunks,
    "chunk of another variable": other_variable,
    "chunk more": extra_chunk,
    "variable gone": lambda path: shutil.rmtree(path / "tp"),
    "variable more": lambda path: shutil.copytree(path / "tp", path / "sf"),
    "link": linked,
    "pipe": lambda path: ((path / "tp" / "c" / "0" / "0").unlink(), os.mkfifo(path / "tp" / "c" / "0" / "0")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_was_changed_in_a_folder_is_noticed_on_opening(saved: Path, tmp_path: Path, change: Change) -> None:
    path = copied(saved, "cube", tmp_path)
    change(path)
    with pytest.raises(
        SoilcastError, match=r"cube: .*(changed after it was written|incomplete|link|neither a file|cannot be read)"
    ):
        open_cube(path)


def by_hand(change: Callable[[Any], object]) -> Change:
    def go(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return go


NETCDF: dict[str, Change] = {
    "scale": by_hand(lambda file: file["swvl1"].attrs.update(scale_factor=np.float32(5))),
    "unit": by_hand(lambda file: file["tp"].attrs.update(units="mm d-1")),
    "origin of time": by_hand(lambda file: file["time"].attrs.update(units="days since 1801-01-01")),
    "title": by_hand(lambda file: file.attrs.update(title="another")),
    "values": by_hand(lambda file: file["swvl1"].write_direct(np.full(file["swvl1"].shape, 0.2, np.float32))),
    "latitude": by_hand(lambda file: file["lat"].write_direct(file["lat"][:] + 0.5)),
    "order of cells": by_hand(lambda file: file["lon"].write_direct(file["lon"][:][::-1].copy())),
    "variable gone": by_hand(lambda file: file.pop("tp")),
    "manifest gone": by_hand(lambda file: file.attrs.pop("manifest")),
}


@pytest.mark.parametrize("change", NETCDF.values(), ids=NETCDF)
def test_what_was_changed_in_a_file_is_noticed_on_opening(saved: Path, tmp_path: Path, change: Change) -> None:
    path = copied(saved, "cube.nc", tmp_path)
    change(path)
    with pytest.raises(SoilcastError, match=r"cube\.nc: .*(changed after it was written|no manifest)"):
        open_cube(path)


@pytest.mark.parametrize("name", ["forecast", "forecast.nc"])
def test_a_forecast_with_other_cells_is_noticed(saved: Path, tmp_path: Path, name: str) -> None:
    path = copied(saved, name, tmp_path)
    for variable in ("lat", "lon"):
        (NETCDF["latitude"] if path.is_file() else rewrite(variable, lambda values: values[::-1]))(path)
    with pytest.raises(SoilcastError, match=r"lat.* changed after it was written"):
        open_artifact(path, "forecast")


@pytest.mark.parametrize("ending", ["", ".nc"])
def test_the_full_check_computes_the_hash_from_all_values(saved: Path, tmp_path: Path, ending: str) -> None:
    with open_cube(saved / f"cube{ending}") as cube:
        assert content_sha256(cube) == cube.attrs["content_sha256"]
    assert "verified: every value is what was written" in soilcast.inspect(saved / f"cube{ending}", verify=True)
    if not ending:  # as if all that is compared on opening had been forged
        path = copied(saved, "cube", tmp_path)
        rewrite("swvl1", lambda values: values * 0.5)(path)
        edit(path / "zarr.json", lambda found: found["attributes"].update(manifest=json.dumps(manifest_of(path))))
        assert open_cube(path).sizes["cell"] == 6
        with pytest.raises(SoilcastError, match=r"its content has the hash \w+, but \w+ was written: prepare it again"):
            soilcast.inspect(path, verify=True)


@pytest.mark.parametrize("attributes", [{"units": "mm d-1"}, {"standard_name": "other"}, {"cell_methods": "time: sum"}])
def test_what_values_mean_is_part_of_the_hash_and_where_they_come_from_is_not(
    saved: Path, tmp_path: Path, attributes: dict[str, str]
) -> None:
    expected = open_cube(saved / "cube").attrs["content_sha256"]
    for values, is_same in (({"origin": "elsewhere.nc"}, True), (attributes, False)):
        cube = few(6, 800)
        cube["tp"].attrs |= values
        save_cube(cube, tmp_path / "cube", overwrite=True)
        assert (open_cube(tmp_path / "cube").attrs["content_sha256"] == expected) == is_same


@pytest.mark.parametrize("name", ["cube", "cube.nc"])
def test_a_cube_that_is_replaced_while_it_is_read_is_noticed(saved: Path, tmp_path: Path, name: str) -> None:
    path = copied(saved, name, tmp_path)
    opened = open_cube(path)
    read(opened, "swvl1", slice(0, 3))
    refuse_changed(opened)
    save_cube(few(6, 800).assign_attrs(title="another"), path, overwrite=True)
    with pytest.raises(SoilcastError, match=r"it was replaced or changed while it was read: run the command again$"):
        read(opened.isel(time=slice(0, 9)), "swvl1", slice(3, 6))
    with pytest.raises(SoilcastError, match=r"it was replaced or changed while it was read"):
        refuse_changed(opened)


def test_a_cube_that_is_changed_in_place_while_it_is_read_is_noticed_at_the_end(saved: Path, tmp_path: Path) -> None:
    path = copied(saved, "cube", tmp_path)
    opened = open_cube(path)
    rewrite("tp", lambda values: values * 0.5)(path)
    with pytest.raises(SoilcastError, match=r"it was replaced or changed while it was read"):
        refuse_changed(opened)


# ---------------------------------------------------------------- codecs, links


@pytest.mark.parametrize(
    "described",
    [
        {"filters": [{"id": "pickle"}]},
        {"compressor": {"id": "pickle"}},
        {"filters": [{"id": "vlen-utf8"}, {"id": "pickle"}], "dtype": "|O"},
        {"filters": [{"id": "msgpack2"}], "dtype": "|O"},
        {"filters": [{"id": "json2"}], "dtype": "|O"},
        {"dtype": "|O", "filters": None, "compressor": {"id": "mine"}},
        {"codecs": [{"name": "numcodecs.pickle"}]},
        {"codecs": [{"name": "bytes"}, {"name": "somebodys.own", "configuration": {}}]},
        {"codecs": [{"name": "sharding_indexed", "configuration": {"codecs": [{"name": "pickle"}]}}]},
        {"codecs": [{"name": "sharding_indexed", "configuration": {"index_codecs": [{"name": "pickle"}]}}]},
        {"codecs": ["pickle"]},
        {"codecs": [{}]},
    ],
)
def test_a_codec_that_is_not_on_the_list_is_refused(described: dict[str, Any]) -> None:
    with pytest.raises(SoilcastError, match=r"^store: (its values are stored with the codec|contains objects)"):
        refuse_foreign_codecs(described, "store")


@pytest.mark.parametrize("version", [2, 3])
def test_the_usual_codecs_are_read(tmp_path: Path, version: int) -> None:
    data = xr.Dataset({"a": ("x", np.arange(9.0, dtype=np.float32)), "name": ("x", np.array(list("abcdefghi")))})
    data.to_zarr(tmp_path / "store", zarr_format=version, consolidated=version == 2)  # type: ignore[call-overload]
    check_store(tmp_path / "store")
    if version == 2:
        from numcodecs import Blosc, FixedScaleOffset, Shuffle

        filters = [FixedScaleOffset(offset=0, scale=10, dtype="<f4"), Shuffle(4)]
        encoding = {"a": {"compressors": Blosc(), "filters": filters}}
        data.to_zarr(tmp_path / "packed", zarr_format=2, encoding=encoding)
        check_store(tmp_path / "packed")


def test_links_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    store = tmp_path / "store"
    xr.Dataset({"a": ("x", np.arange(9.0))}).to_zarr(store, zarr_format=2, consolidated=False)
    (store / "inside").symlink_to("a")
    check_store(store)
    (store / "inside").unlink()
    shutil.move(store / "a", tmp_path / "a")
    (store / "a").symlink_to("../a")
    with pytest.raises(SoilcastError, match=r"store: a is a link out of the folder: copy it there$"):
        check_store(store)


def test_names_and_titles_are_stored_without_what_a_terminal_obeys(tmp_path: Path) -> None:
    cube = few(3, 5, grid=False).assign_attrs(title="a\x1b]0;owned\x07b", content="https://me:secret@host/x\u202e")
    cube["cell_name"] = ("cell", np.array(["\x1b[2J", "Lech", "Öhringen"]))
    cube["tp"].attrs["origin"] = "s3://key:secret@bucket/rain.zarr"
    for name in ("cube", "cube.nc"):
        save_cube(cube, tmp_path / name, address="https://me:secret@host/x")
        opened = open_cube(tmp_path / name)
        assert opened.attrs["title"] == "a?]0;owned?b"
        assert opened.attrs["content"] == "https://host/x?"
        assert [*opened["cell_name"].to_numpy()] == ["?[2J", "Lech", "Öhringen"]
        assert opened["tp"].attrs["origin"] == "s3://bucket/rain.zarr"
    for file in (one for one in tmp_path.rglob("*") if one.is_file()):
        assert b"secret" not in file.read_bytes()
