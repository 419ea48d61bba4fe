"""A faulty LandBench tree gets one line that names the file, what is wrong with it, and the remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from soilcast.sources.landbench import landbench
from tests.helpers.landbench_plain import LEAST, Tree, everywhere, file_of, refusal, rewrite, years_of_two_cells


@pytest.mark.slow
def test_missing_files_are_listed_all_at_once(tmp_path: Path) -> None:
    root = years_of_two_cells(tmp_path, [2018, 2019, 2020], days=1, variables=(*LEAST, "e"))
    file_of(root, "t2m", 2018).unlink()
    file_of(root, "swvl1", 2020).unlink()
    file_of(root, "e", 2019).unlink()
    message = refusal(root)
    assert "3 file(s) missing" in message
    assert "atmosphere/2018: 2m_temperature.nc" in message
    assert "land_surface/2019: total_evaporation.nc" in message
    assert "land_surface/2020: volumetric_soil_water_layer_1.nc" in message
    assert "--years" in message


def test_a_year_without_a_folder_is_missing(plain: Path) -> None:
    assert "atmosphere/2020: 2m_temperature.nc, 10m_u" in refusal(plain, years="2019:2020")


@pytest.mark.parametrize("years", ["19", "2020:2019", "2018-2020", ""])
def test_years_that_are_no_years_are_refused(plain: Path, years: str) -> None:
    assert "--years" in refusal(plain, years=years)


def test_every_missing_unit_is_asked_for_in_one_message(tree: Tree) -> None:
    names = ("e", "ro", "sd", "q")
    root = tree(units=dict.fromkeys(names))
    message = refusal(root)
    assert all(f"--unit {name}=UNIT" in message for name in names)
    assert "total_evaporation.nc" in message
    cube = landbench([root], resolution=4, units={"e": "m", "ro": "mm d-1", "sd": "mm", "q": "g/kg"})
    assert "unit given as mm d-1" in cube["ro"].attrs["origin"]


def test_an_unknown_unit_is_refused_with_file_and_remedy(tree: Tree) -> None:
    message = refusal(tree(units={"sp": "furlong"}))
    assert "surface_pressure.nc" in message
    assert "'furlong'" in message
    assert "--unit sp=UNIT" in message


def test_a_radiation_unit_that_contradicts_the_file_name_is_refused(tree: Tree) -> None:
    root = tree(units={"ssrd": "J m**-2"})
    assert "contradicts the file name" in refusal(root)
    assert "ssrd" in landbench([root], resolution=4, units={"ssrd": "W m-2"})


def test_a_wrong_unit_is_caught_by_the_bounds_when_saving(tree: Tree, tmp_path: Path) -> None:
    cube = landbench([tree(units={"t2m": "degC"})], resolution=4)
    with pytest.raises(SoilcastError, match=r"2019/2m_temperature\.nc: t2m has .*--unit t2m=UNIT"):
        save_cube(cube, tmp_path / "cube.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def test_a_unit_for_a_variable_that_is_not_there_is_refused(plain: Path) -> None:
    assert "--unit rain=mm" in refusal(plain, units={"rain": "mm"})


@pytest.mark.parametrize(("name", "axis"), [("t2m", "longitude"), ("elevation", "lat")])
def test_files_on_other_grids_are_refused(tree: Tree, name: str, axis: str) -> None:
    root = tree("elevation")
    rewrite(file_of(root, name), lambda file: file.assign_coords({axis: file[axis] + 10.0}))
    message = refusal(root)
    assert "lat/lon mismatch" in message
    assert file_of(root, name).name in message


def test_float_noise_on_an_axis_is_no_mismatch(tree: Tree) -> None:
    root = tree("elevation")
    rewrite(file_of(root, "elevation"), lambda file: file.assign_coords(lat=file["lat"] + 1e-5))
    assert "elevation" in landbench([root], resolution=4)


@pytest.mark.parametrize(
    ("name", "days", "expected"),
    [
        ("swvl1", [0, 1, 1, 2], "occurs more than once"),
        ("t2m", [0, 1, 1, 2], "occurs more than once"),
        ("swvl1", [0, 1, 3], "missing day"),
        ("t2m", [0, 1, 3], "missing day"),
        ("swvl1", [2, 1, 0], "not ascending"),
    ],
)
def test_days_that_repeat_or_are_missing_name_the_file(tree: Tree, name: str, days: list[int], expected: str) -> None:
    root = tree()
    rewrite(file_of(root, name), lambda file: file.isel(time=days))
    message = refusal(root)
    assert expected in message
    assert file_of(root, name).name in message


def test_a_file_with_fewer_days_than_the_target_is_refused(tree: Tree) -> None:
    root = tree()
    rewrite(file_of(root, "q"), lambda file: file.isel(time=slice(3)))
    message = refusal(root)
    assert "specific_humidity.nc" in message
    assert "2019-01-01 .. 2019-01-03 (3 days)" in message


def test_a_year_that_ends_early_leaves_missing_days(tmp_path: Path) -> None:
    message = refusal(years_of_two_cells(tmp_path, [2019, 2020], days=364))
    assert "missing day" in message
    assert "2019-12-31" in message


def test_a_file_of_another_year_is_refused(tree: Tree) -> None:
    root = tree()
    for part in ("land_surface", "atmosphere"):
        (root / "4" / part / "2019").rename(root / "4" / part / "2020")
    assert "in the folder 2020" in refusal(root)


def test_a_truncated_file_is_named(tree: Tree) -> None:
    path = file_of(root := tree(), "u10")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    message = refusal(root)
    assert str(path) in message
    assert "truncated" in message


def test_a_file_that_breaks_while_it_is_read_is_named(tree: Tree) -> None:
    root = tree("u10", encoding={"zlib": True, "fletcher32": True})
    cube = landbench([root], resolution=4)
    path = file_of(root, "u10")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(byte ^ 0xFF for byte in data[middle : middle + 64])
    path.write_bytes(data)
    with pytest.raises(SoilcastError, match=r"10m_u_component_of_wind\.nc: cannot be read"):
        cube["u10"].to_numpy()


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"CDF\x05"])
def test_a_file_that_is_no_netcdf_is_named(tree: Tree, content: bytes) -> None:
    root = tree()
    file_of(root, "v10").write_bytes(content)
    assert "10m_v_component_of_wind.nc" in refusal(root)


def test_a_file_without_the_variable_is_named_with_what_it_holds(tree: Tree) -> None:
    root = tree()
    rewrite(file_of(root, "q"), lambda file: file.rename(Q="humidity"))
    message = refusal(root)
    assert "no variable Q" in message
    assert "humidity" in message


def test_an_all_nan_target_is_refused(tree: Tree) -> None:
    assert "swvl1 is NaN on every day" in refusal(tree(fields={"swvl1": everywhere(np.nan)}))


def test_an_absent_resolution_names_those_that_are_there(tree: Tree) -> None:
    root = tree()
    (root / "0.5").mkdir()
    assert "there are: 0.5, 4:" in refusal(root, resolution=2)


def test_two_folders_of_one_resolution_are_refused(tree: Tree) -> None:
    root = tree()
    (root / "4.0").mkdir()
    assert "4 and 4.0 are the same resolution" in refusal(root)


def test_an_absent_root_is_named(tmp_path: Path) -> None:
    assert "nowhere" in refusal(tmp_path / "nowhere")
