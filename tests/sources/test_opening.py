"""Files of others: each of a folder is opened, or left out with its reason, and the reason is the right one."""

from __future__ import annotations

import gzip
import io
import os
import re
import socket
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
import xarray as xr
import zarr

from soilcast.errors import SoilcastError
from soilcast.sources import archives, opening
from soilcast.sources.formats import CSV, GRIB, NETCDF, ZARR, ZIP
from soilcast.sources.netcdf import open_netcdf
from soilcast.sources.opening import DataFile, Listing, list_files, open_datasets, open_file
from soilcast.sources.zarr_stores import open_zarr
from tests.helpers.table_data import gridded_data

FORMATS = (NETCDF, GRIB, ZIP, ZARR, CSV)


@pytest.fixture(scope="module")
def few() -> xr.Dataset:
    return gridded_data()[["sm", "rain"]].isel(time=slice(0, 5))


@pytest.fixture(scope="module")
def content(few: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("netcdf") / "a.nc"
    few.to_netcdf(path, engine="h5netcdf")
    return path.read_bytes()


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    opening.close_all()


def refusal(*paths: Path, formats: tuple = FORMATS) -> str:
    def open_all() -> None:
        for file in list_files(paths, formats).files:
            open_file(file)

    with pytest.raises(SoilcastError) as caught:
        open_all()
    message = str(caught.value)
    assert "\n" not in message
    return message


def names(listing: Listing) -> list[str]:
    return [Path(file.path).name for file in listing.files]


# Listing


SUFFIXES = ("a.nc", "b.NC", "c.h5", "d.hdf5", "e.HE5", "f.nc4", "g.netcdf", "h.CDF", "no_suffix", "2020.01")


def test_a_file_is_known_by_its_bytes_whatever_its_name(content: bytes, few: xr.Dataset, tmp_path: Path) -> None:
    for name in SUFFIXES:
        (tmp_path / name).write_bytes(content)
    few.to_netcdf(tmp_path / "old.nc", engine="scipy")
    (tmp_path / "T.CSV").write_text("time,cell,sm\n")
    few.to_zarr(tmp_path / "store", consolidated=False)
    listing = list_files([tmp_path], FORMATS)
    assert sorted(names(listing)) == sorted([*SUFFIXES, "old.nc", "T.CSV", "store"])
    assert listing.notes() == []
    for file in listing.files:
        if file.format != "csv":
            np.testing.assert_array_equal(open_file(file)[0]["sm"], few["sm"])


def write_others(folder: Path) -> dict[str, str]:
    """Files that a folder of data may hold beside them -> what is said of each."""
    (folder / "._a.nc").write_bytes(b"\0\5\26\7" + bytes(200))
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (folder / "README.md").write_text("about")
    (folder / "a.nc.md5").write_text("0" * 32)
    (folder / "a.grib.9093e.idx").write_bytes(b"\x80\x04")
    (folder / "b.nc.part").write_bytes(b"\x89HDF\r\n\x1a\n")
    (folder / "map.tif").write_bytes(b"II*\0" + bytes(60))
    (folder / "c.nc.gz").write_bytes(gzip.compress(b"\x89HDF"))
    (folder / "t.parquet").write_bytes(b"PAR1" + bytes(60))
    (folder / "notes").write_text("no suffix, and no data")
    (folder / "old").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "gone").symlink_to(folder / "nowhere")
    return {
        "._a.nc": "AppleDouble",
        ".DS_Store": "hidden",
        "README.md": "text",
        "a.nc.md5": "checksum",
        "a.grib.9093e.idx": "index of GRIB",
        "b.nc.part": "unfinished",
        "map.tif": "GeoTIFF: .*--static",
        "c.nc.gz": "gzip: unpack it",
        "t.parquet": "Parquet: ",
        "notes": "text",
        "old": "folder: name it",
        "pipe": "FIFO",
        "gone": "link to a file that is not there",
    }


def test_every_other_file_of_a_folder_is_named_with_its_reason(content: bytes, tmp_path: Path) -> None:
    expected = write_others(tmp_path)
    (tmp_path / "a.nc").write_bytes(content)
    listing = list_files([tmp_path], FORMATS)
    assert names(listing) == ["a.nc"]
    reasons = {one.name: one.reason for one in listing.left_out}
    assert reasons.keys() == expected.keys()
    for name, reason in expected.items():
        assert re.search(reason, reasons[name]), name
    (note,) = listing.notes()
    assert note.startswith(f"{len(expected)} files left out: ")
    assert "\n" not in note


def test_many_files_of_one_reason_are_counted(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.nc").write_bytes(content)
    for number in range(12):
        (tmp_path / f"{number:02d}.md5").write_text("0")
    assert list_files([tmp_path], FORMATS).notes() == [
        "12 files left out: 00.md5, 01.md5, 02.md5 and 9 more (a checksum)"
    ]


def test_a_folder_without_data_says_what_is_there(tmp_path: Path) -> None:
    write_others(tmp_path)
    message = refusal(tmp_path)
    assert "no NetCDF, GRIB, zip, Zarr or CSV in this folder; it holds " in message
    assert "map.tif (GeoTIFF" in message
    (tmp_path / "empty").mkdir()
    assert "it is empty" in refusal(tmp_path / "empty")


@pytest.mark.parametrize(
    ("name", "written", "message"),
    [
        ("a.nc", b"", "the file is empty"),
        ("a.h5", bytes(4096), "not a NetCDF"),
        ("a.nc", b"once upon a time", "it is text"),
        ("a.nc", b"<!DOCTYPE html><html>log in", "a web page, .*: a server's answer"),
        ("a.nc", b"CDF\x05" + bytes(50), r"CDF-5 format.*nccopy -k nc4"),
        ("a.NC4", b"\x89HDF\r\n\x1a\n" + bytes(300), "cannot be read as NetCDF"),
        ("a.csv", b"", "the file is empty"),
    ],
)
def test_a_file_that_should_hold_data_is_not_passed_over(
    name: str, written: bytes, message: str, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "b.nc").write_bytes(content)
    (tmp_path / name).write_bytes(written)
    with pytest.raises(SoilcastError, match=message):
        [open_file(file) for file in list_files([tmp_path], FORMATS).files]


NAMED = {
    "map.tif": (b"MM\0*", "GeoTIFF.*--static"),
    "modis.hdf": (b"\x0e\x03\x13\x01", "HDF4, .*: convert it"),
    "t.parquet": (b"PAR1", "Parquet"),
    "t.feather": (b"ARROW1", "Arrow"),
    "run.mat": (b"MATLAB 5.0 MAT-file", "MATLAB"),
    "run73.mat": (b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n", "MATLAB"),
    "a.nc.gz": (gzip.compress(b"CDF\x01"), "gzip.*gunzip"),
    "a.nc.bz2": (b"BZh9", "bzip2"),
    "a.7z": (b"7z\xbc\xaf\x27\x1c", "7z"),
    "table.xls": (b"\xd0\xcf\x11\xe0", "Excel.*CSV"),
    "a.bufr": (b"BUFR", "BUFR"),
    "a.npy": (b"\x93NUMPY", "NumPy"),
    "a.pkl": (b"\x80\x04\x95", "pickle"),
}


@pytest.mark.parametrize("name", NAMED)
def test_good_files_of_other_formats_are_told_for_what_they_are(name: str, tmp_path: Path) -> None:
    written, message = NAMED[name]
    (tmp_path / name).write_bytes(written.ljust(100))
    with pytest.raises(SoilcastError, match=f"this is .*{message}"):
        list_files([tmp_path / name], FORMATS)


def test_an_archive_is_told_for_what_it_holds(content: bytes, few: xr.Dataset, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("a.nc"), io.BytesIO(b""))
    assert "a tar archive" in refusal(tmp_path / "a.tar")

    def archived(name: str, members: dict[str, bytes]) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member, written in members.items():
                archive.writestr(member, written)
        return tmp_path / name

    assert "Zarr store in a zip" in refusal(archived("store.zip", {"x/.zgroup": b"{}", "x/a/.zarray": b"{}"}))
    assert "Excel" in refusal(archived("t.xlsx", {"[Content_Types].xml": b"<?xml", "xl/a.xml": b"<?xml"}))
    assert "no NetCDF file" in refusal(archived("text.zip", {"a.txt": b"text"}))
    assert "GRIB is not read from an archive" in refusal(archived("g.zip", {"data.grib": b"GRIB"}))
    mixed = archived("mixed.zip", {"data": content, "__MACOSX/._data": b"\0\5\26\7", "readme.txt": b"text"})
    (file,) = list_files([mixed], FORMATS).files
    np.testing.assert_array_equal(open_file(file)[0]["sm"], few["sm"])


def test_what_is_read_by_another_source_says_by_which(tmp_path: Path) -> None:
    (tmp_path / "a.grib").write_bytes(b"GRIB" + bytes(100))
    assert "this is GRIB, but NetCDF, Zarr or CSV is read here: soilcast prepare era5land reads it" in refusal(
        tmp_path / "a.grib", formats=(NETCDF, ZARR, CSV)
    )


# Pipes, devices, links


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.nc")
    os.mkfifo(tmp_path / "b.csv")
    (tmp_path / "zero.nc").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "c.nc"))
        assert "is a socket, not a file" in refusal(tmp_path / "c.nc")
    assert "is a pipe (FIFO), not a file" in refusal(tmp_path / "a.nc")
    assert "is a pipe (FIFO), not a file" in refusal(tmp_path / "b.csv")
    assert "is a device, not a file" in refusal(tmp_path / "zero.nc")
    assert "a.nc: is a pipe" in refusal(tmp_path)
    with pytest.raises(SoilcastError, match=r"a pipe \(FIFO\)"):
        open_netcdf(tmp_path / "a.nc")


def test_a_folder_may_hold_links_to_files_but_a_store_no_links_that_leave_it(
    content: bytes, few: xr.Dataset, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere.nc").write_bytes(content)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.nc").symlink_to(tmp_path / "elsewhere.nc")
    (file,) = list_files([tmp_path / "in"], FORMATS).files
    np.testing.assert_array_equal(open_file(file)[0]["sm"], few["sm"])
    few.to_zarr(tmp_path / "store", consolidated=False)
    chunk = next(path for path in (tmp_path / "store/sm").rglob("0") if path.is_file())
    chunk.rename(tmp_path / "chunk")
    chunk.symlink_to(tmp_path / "chunk")
    with pytest.raises(SoilcastError, match="is a link out of the folder"):
        open_zarr(tmp_path / "store")


def test_hdf5_whose_values_lie_in_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(800))
    with h5py.File(tmp_path / "storage.nc", "w") as file:
        file.create_dataset("sm", (10, 10), "f8", external=[(str(tmp_path / "secret"), 0, 800)])
    with h5py.File(tmp_path / "link.nc", "w") as file:
        file["sm"] = h5py.ExternalLink(str(tmp_path / "storage.nc"), "/sm")
    layout = h5py.VirtualLayout((10, 10), "f8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "storage.nc"), "sm", (10, 10))
    with h5py.File(tmp_path / "virtual.nc", "w") as file:
        file.create_virtual_dataset("group/sm", layout)
    for name in ("storage.nc", "link.nc", "virtual.nc"):
        with pytest.raises(SoilcastError, match=rf"{name}: (group/)?sm .*other files?: write it as one file"):
            open_netcdf(tmp_path / name)


# Compression


_WRITING = """
import sys, h5py, hdf5plugin, numpy
with h5py.File(sys.argv[3], "w") as file:
    values = numpy.load(sys.argv[2])
    file.create_dataset("sm", data=values, chunks=(10, 10), **getattr(hdf5plugin, sys.argv[1])())
"""


@pytest.mark.parametrize("name", ["Zstd", "Blosc", "BZip2", "LZ4"])
def test_netcdf_of_newer_compressions_is_read(name: str, tmp_path: Path) -> None:
    values = np.arange(600, dtype=np.float32).reshape(20, 30)
    np.save(tmp_path / "values.npy", values)
    # In a process of its own, without the plugins of netCDF4, which are of another HDF5 and found by the environment.
    env = {key: value for key, value in os.environ.items() if key != "HDF5_PLUGIN_PATH"}
    words = [sys.executable, "-c", _WRITING, name, tmp_path / "values.npy", tmp_path / "a.nc"]
    subprocess.run(words, check=True, env=env)
    with open_netcdf(tmp_path / "a.nc") as opened:
        np.testing.assert_array_equal(opened["sm"], values)


def test_a_filter_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file.create_dataset("sm", data=np.zeros((10, 10)), chunks=(10, 10), **hdf5plugin.Zstd())
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    with pytest.raises(SoilcastError, match=r"sm is compressed with the HDF5 filter zstd, .*nccopy"):
        open_netcdf(tmp_path / "a.nc")


# Groups


def test_variables_in_groups_are_named_by_their_group(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for half, rows in (("AM", 3), ("PM", 5)):
            group = file.create_group(f"Retrieval_{half}")
            group["soil_moisture"] = np.full((rows, 4), rows, np.float32)
            group["soil_moisture"].attrs["_FillValue"] = np.float32(-9999)
            group["soil_moisture"][0, 0] = -9999
    with open_netcdf(tmp_path / "a.h5") as opened:
        assert list(opened.variables) == ["Retrieval_AM/soil_moisture", "Retrieval_PM/soil_moisture"]
        assert int(opened["Retrieval_PM/soil_moisture"].isnull().sum()) == 1
        assert opened["Retrieval_PM/soil_moisture"].shape == (5, 4)


def test_groups_share_the_axes_of_the_file(few: xr.Dataset, tmp_path: Path) -> None:
    few[["sm"]].to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    few[["rain"]].drop_vars(list(few.coords)).to_netcdf(
        tmp_path / "a.nc", engine="h5netcdf", mode="a", group="water/in"
    )
    few.isel(time=slice(0, 2))[["rain"]].to_netcdf(tmp_path / "a.nc", engine="h5netcdf", mode="a", group="short")
    few.isel(time=slice(0, 2))[["rain"]].to_zarr(tmp_path / "store", group="short", consolidated=False)
    few[["rain"]].to_zarr(tmp_path / "store", group="water/in", consolidated=False)
    for opened in (open_netcdf(tmp_path / "a.nc"), open_zarr(tmp_path / "store")):
        np.testing.assert_array_equal(opened["water/in/rain"], few["rain"])
        assert opened["short/rain"].shape == (2, 3, 4)
        np.testing.assert_array_equal(opened["short/time"], few["time"][:2])
        opened.close()


# Archives


def zipped(folder: Path, members: dict[str, bytes], compression: int) -> Path:
    with zipfile.ZipFile(folder / "a.zip", "w", compression) as archive:
        for name, written in members.items():
            archive.writestr(name, written)
    return folder / "a.zip"


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_of_either_kind_are_read(compression: int, content: bytes, few: xr.Dataset, tmp_path: Path) -> None:
    few.to_netcdf(tmp_path / "old.nc", engine="scipy")
    path = zipped(tmp_path, {"new.nc": content, "old.nc": (tmp_path / "old.nc").read_bytes()}, compression)
    files = list_files([path], FORMATS).files
    assert [file.member for file in files] == ["new.nc", "old.nc"]
    for file in files:
        with open_datasets(file) as (opened,):
            np.testing.assert_array_equal(opened["sm"], few["sm"])


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_member_is_told(compression: int, content: bytes, tmp_path: Path) -> None:
    path = zipped(tmp_path, {"new.nc": content}, compression)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(damaged)
    assert "cannot be read as a zip archive" in refusal(path)


def test_members_take_no_more_memory_than_they_may(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {f"{number}.nc": content for number in range(4)}
    path = zipped(tmp_path, members, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(opening, "_MOST_BYTES", 2 * len(content))
    for file in list_files([path], FORMATS).files:
        with open_datasets(file):
            assert sum(entry.size for entry in opening._OPEN.values()) <= 2 * len(content)
    monkeypatch.setattr(archives, "LARGEST_MEMBER", len(content) - 1)
    assert "too much to be read from its archive: unzip it" in refusal(path)


def test_an_encrypted_member_is_told(content: bytes, tmp_path: Path) -> None:
    path = zipped(tmp_path, {"new.nc": content}, zipfile.ZIP_STORED)
    written = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        written[written.index(mark) + offset] |= 1
    path.write_bytes(written)
    assert "new.nc: is encrypted: unzip it" in refusal(path)


# Fill values of Zarr


def stored_by_zarr(path: Path, values: np.ndarray, fill: object, **attributes: object) -> xr.Dataset:
    group = zarr.open_group(path, mode="w", zarr_format=2)
    array = group.create_array("pr", shape=values.shape, dtype=values.dtype, chunks=values.shape, fill_value=fill)
    array[:] = values
    array.attrs.update(_ARRAY_DIMENSIONS=["time"], **attributes)
    return open_zarr(path)


FILLS: dict[str, tuple[object, dict[str, object], bool]] = {
    "zero": (0.0, {"units": "mm d-1"}, False),
    "zero without a unit": (0.0, {}, False),
    "a value of its range": (5.0, {"units": "mm d-1"}, False),
    "outside the range": (-9999.0, {"units": "mm d-1"}, True),
    "outside, without a unit": (-9999.0, {}, True),
    "named by the attribute": (0.0, {"units": "mm d-1", "_FillValue": 0.0}, True),
    "another is named": (-9999.0, {"units": "mm d-1", "_FillValue": 7.0}, False),
    "named as missing": (5.0, {"units": "mm d-1", "missing_value": 5.0}, True),
    "not a number": (np.nan, {"units": "mm d-1"}, True),
}


@pytest.mark.parametrize("case", FILLS)
def test_a_fill_of_unwritten_chunks_is_not_taken_for_a_missing_value(case: str, tmp_path: Path) -> None:
    fill, attributes, is_missing = FILLS[case]
    opened = stored_by_zarr(tmp_path / "x.zarr", np.array([1.0, fill, 2.0]), fill, **attributes)
    assert opened["pr"].isnull().to_numpy().tolist() == [False, is_missing, False]


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32"])
def test_the_missing_value_of_a_store_that_xarray_wrote_is_missing(dtype: str, tmp_path: Path) -> None:
    """Unpacked it would be a possible temperature."""
    fill = np.iinfo(dtype).min if dtype == "int16" else 65535 if dtype == "uint16" else np.float32(-9999)
    packing = {"scale_factor": 0.001, "add_offset": 280.0} if dtype != "float32" else {}
    data = xr.Dataset({"t2m": ("time", [281.0, np.nan, 283.0], {"units": "K"})})
    encoding = {"t2m": {"dtype": dtype, "_FillValue": fill, **packing}}
    data.to_zarr(tmp_path / "x.zarr", zarr_format=2, encoding=encoding, consolidated=False)
    np.testing.assert_allclose(open_zarr(tmp_path / "x.zarr")["t2m"], data["t2m"], atol=0.001)


def test_the_first_time_of_a_store_is_no_missing_value(tmp_path: Path) -> None:
    opened = stored_by_zarr(tmp_path / "x.zarr", np.arange(3), 0, units="days since 2020-01-01")
    assert not opened["pr"].isnull().any()


def test_files_of_one_day_are_opened_once(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (tmp_path / f"{number}.nc").write_bytes(content)
    count = 0
    whole: Callable[[DataFile], list[xr.Dataset]] = opening.open_file

    def counted(file: DataFile) -> list[xr.Dataset]:
        nonlocal count
        count += 1
        return whole(file)

    monkeypatch.setattr(opening, "open_file", counted)
    for _ in range(3):
        for file in list_files([tmp_path], FORMATS).files:
            with open_datasets(file) as (opened,):
                opened["sm"].load()
    assert count == 5
