"""A cube that is damaged, foreign or of another kind is told in one line; wrong numbers are never read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from soilcast import cube as cubes
from soilcast import open_cube
from soilcast.cube import read, save_cube
from soilcast.cube.contract import CONTRACT_VERSION
from soilcast.errors import SoilcastError
from tests.helpers.small import few

NAMES = ["cube.zarr", "cube.nc"]
Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One cube in each format; not to be changed."""
    folder = tmp_path_factory.mktemp("saved")
    for name in NAMES:
        save_cube(few(), folder / name)
    return {name: folder / name for name in NAMES}


@pytest.fixture
def copy(saved: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Give a copy of a saved cube to damage."""

    def give(name: str) -> Path:
        path = tmp_path / name
        (shutil.copytree if saved[name].is_dir() else shutil.copy)(saved[name], path)
        return path

    return give


def chunk(path: Path, variable: str = "swvl1") -> Path:
    return max((path / variable / "c").rglob("*"), key=lambda file: (file.is_file(), str(file)))


def flip(file: Path, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 0x10
    file.write_bytes(data)


def use(path: Path) -> None:
    """Open a cube and read everything, as a user's command does."""
    opened = open_cube(path)
    for variable in opened.data_vars:
        read(opened, str(variable))
    for coordinate in opened.coords:
        opened[coordinate].to_numpy()


@pytest.mark.parametrize("variable", ["swvl1", "elevation", "lat", "cell", "time", "grid_lat"])
def test_a_missing_chunk_is_told(copy: Callable[[str], Path], variable: str) -> None:
    path = copy("cube.zarr")
    chunk(path, variable).unlink()
    with pytest.raises(
        SoilcastError, match=rf"cube\.zarr: ({variable} is incomplete \(chunk|cannot be read).*create it again$"
    ):
        open_cube(path)


@pytest.mark.parametrize("kept", [0, 1, 3, 4, 5, -1])
@pytest.mark.parametrize("variable", ["swvl1", "lon"])
def test_a_truncated_chunk_is_told(copy: Callable[[str], Path], variable: str, kept: int) -> None:
    path = copy("cube.zarr")
    file = chunk(path, variable)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(SoilcastError, match=r"cube\.zarr: .*create it again$"):
        use(path)


@pytest.mark.parametrize("variable", ["swvl1", "elevation", "area", "lat", "lon", "cell", "time", "grid_lon"])
@pytest.mark.parametrize("where", [0.0, 0.5, 0.999])
def test_a_flipped_bit_in_a_chunk_is_told(copy: Callable[[str], Path], variable: str, where: float) -> None:
    path = copy("cube.zarr")
    file = chunk(path, variable)
    flip(file, int(where * file.stat().st_size))
    with pytest.raises(SoilcastError, match=r"cube\.zarr: .*create it again$"):
        use(path)


def drop_group(path: Path) -> None:
    (path / "zarr.json").unlink()


def empty_metadata(path: Path) -> None:
    (path / "swvl1" / "zarr.json").write_text("")


def cut_metadata(path: Path) -> None:
    file = path / "swvl1" / "zarr.json"
    file.write_text(file.read_text()[:100])


def no_codec(path: Path) -> None:
    file = path / "swvl1" / "zarr.json"
    file.write_text(file.read_text().replace('"zstd"', '"pickle"'))


def boundless(path: Path) -> None:
    file = path / "swvl1" / "zarr.json"
    described = json.loads(file.read_text())
    described["shape"] = [10**15, 400]
    file.write_text(json.dumps(described))


@pytest.mark.parametrize("damage", [drop_group, empty_metadata, cut_metadata, no_codec, boundless])
def test_damaged_metadata_are_told(copy: Callable[[str], Path], damage: Damage) -> None:
    path = copy("cube.zarr")
    damage(path)
    with pytest.raises(SoilcastError, match=r"cube\.zarr: "):
        use(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_netcdf_is_told(copy: Callable[[str], Path], share: float) -> None:
    path = copy("cube.nc")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(SoilcastError, match=r"cube\.nc: cannot be read as a cube .*create it again$"):
        use(path)


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_a_flipped_bit_in_the_values_of_a_netcdf_is_told(copy: Callable[[str], Path], where: float) -> None:
    path = copy("cube.nc")
    with h5py.File(path) as file:
        stored = file["swvl1"].id.get_chunk_info(0)
    flip(path, stored.byte_offset + int(where * stored.size))
    with pytest.raises(SoilcastError, match=r"cube\.nc: swvl1 cannot be read .*the store is damaged; create it again$"):
        use(path)


@pytest.mark.parametrize("name", ["cube.nc", "cube.zarr", "cube"])
def test_random_bytes_are_no_cube(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(np.random.default_rng(1).bytes(5000))
    with pytest.raises(SoilcastError, match=rf"{name}: cannot be read as a cube .*create it again$"):
        open_cube(tmp_path / name)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SoilcastError, match=r"absent\.zarr: no such cube$"):
        open_cube(tmp_path / "absent.zarr")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SoilcastError, match="empty: cannot be read as a cube"):
        open_cube(tmp_path / "empty")


@pytest.mark.parametrize("version", [2, 3])
def test_a_foreign_zarr_is_told_apart_from_a_damaged_one(tmp_path: Path, version: int) -> None:
    foreign = zarr.open_group(tmp_path / "f.zarr", mode="w", zarr_format=version)  # type: ignore[arg-type]
    options = {"dimension_names": ("cell",)} if version == 3 else {}
    array = foreign.create_array("swvl1", shape=(4,), chunks=(2,), dtype="f4", **options)  # type: ignore[arg-type]
    array.attrs["_ARRAY_DIMENSIONS"] = ["cell"]  # sparse: no chunk is stored, which is no damage in a foreign store
    with pytest.raises(SoilcastError, match=r"f\.zarr: a cube is expected, but this is not of soilcast$"):
        open_cube(tmp_path / "f.zarr")


@pytest.mark.parametrize("name", NAMES)
def test_a_forecast_is_no_cube(tmp_path: Path, name: str) -> None:
    forecast = few(3, 1)[["swvl1"]].assign_attrs(soilcast_kind="forecast", soilcast_format=4)
    cubes.write_dataset(forecast, tmp_path / name, netcdf=name.endswith(".nc"))
    with pytest.raises(SoilcastError, match=r"a cube is expected, but this is a forecast$"):
        open_cube(tmp_path / name)
    opened = cubes.open_artifact(tmp_path / name, "forecast")
    np.testing.assert_array_equal(read(opened, "swvl1"), forecast["swvl1"])
    np.testing.assert_array_equal(opened["time"], forecast["time"])


@pytest.mark.parametrize("name", NAMES)
def test_a_forecast_of_places_keeps_their_names_and_its_damage_is_told(tmp_path: Path, name: str) -> None:
    forecast = few(3, 5, grid=False)[["swvl1"]].assign_attrs(soilcast_kind="forecast", soilcast_format=4)
    cubes.write_dataset(forecast, tmp_path / name, netcdf=name.endswith(".nc"))
    opened = cubes.open_artifact(tmp_path / name, "forecast")
    assert list(opened["cell_name"].to_numpy()) == list(forecast["cell_name"].to_numpy())
    if name == "cube.zarr":
        chunk(tmp_path / name, "cell_name").unlink()
        with pytest.raises(SoilcastError, match="cell_name is incomplete"):
            cubes.open_artifact(tmp_path / name, "forecast")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("version", [CONTRACT_VERSION + 1, None])
def test_a_cube_of_another_contract_is_told(tmp_path: Path, name: str, version: int | None) -> None:
    other = few(3, 5)
    del other.attrs["soilcast_contract"]
    if version is not None:
        other.attrs["soilcast_contract"] = version
    save_cube(other, tmp_path / name)
    with pytest.raises(
        SoilcastError, match=rf"cube contract {version}, but this soilcast reads {CONTRACT_VERSION}: prep"
    ):
        open_cube(tmp_path / name)
