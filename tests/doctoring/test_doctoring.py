"""The doctor: right on every real file, and on every copy that was broken on purpose."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from soilcast.doctoring import Examination, doctor, examining
from soilcast.errors import SoilcastError
from tests.helpers.era5_files import HourlyWeather, break_file, hourly_weather, write_grib, write_present_netcdf
from tests.helpers.forks import run_command

BOX = (-16.0, -20.0, 56.0, 48.0)  # of the planet: wet and dry, warm and cold
STATES = ("swvl1", "swvl2", "swvl3", "swvl4", "sd", "t2m")
FLUXES = ("tp", "e", "sro", "ssro", "ro", "ssrd", "strd")


@pytest.fixture(scope="module")
def weather() -> HourlyWeather:
    return hourly_weather(8.0, start="2020-05-01", days=36, box=BOX)


@pytest.fixture(scope="module")
def files(weather: HourlyWeather, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("doctor")
    return {
        "states": write_present_netcdf(weather, folder / "states.nc", STATES)[0],
        "fluxes": write_present_netcdf(weather, folder / "fluxes.nc", FLUXES)[0],
        "hours": write_present_netcdf(weather, folder / "hours.nc", FLUXES, rule="hourly")[0],
        "grib": write_grib(weather, folder / "all.grib", (*STATES, *FLUXES))[0],
    }


@pytest.mark.slow
def test_right_files_close_and_have_no_fault(files: dict[str, Path]) -> None:
    for chosen in (["states", "fluxes"], ["states", "hours"], ["grib"]):
        found = doctor([files[name] for name in chosen])
        assert found.faults == ()
        assert found.exit_code == 0
        assert found.proof is not None
        assert found.proof["verdict"] == "closes"
    assert "no fault found" in found.text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "fault", "said"),
    [
        ("fluxes", "e_upward", r"e \(evapo.*its sign is reversed, .*--flip-sign e"),
        ("fluxes", "e_upward", "e has the opposite sign"),
        ("fluxes", "tp_mean_of_hours", "tp is 24 times too small"),
        ("fluxes", "shifted_by_a_day", "all fluxes are dated a day too late"),
        ("states", "shifted_by_a_day", "all fluxes are dated a day too early"),
        ("fluxes", "mm_that_says_m", "tp has .* outside 0 .. 1.9 m d-1 .*--unit tp='mm' would fit"),
        ("fluxes", "m_that_says_mm", r"tp .* 1000 times too small \(--unit tp=m\)"),
        ("fluxes", "joules_that_say_watts", "ssrd has .* outside .*--unit ssrd='J m-2' would fit"),
        ("hours", "watts_that_say_joules", "ssrd"),
        ("states", "celsius_that_says_kelvin", "t2m has .* outside .*--unit t2m='degC' would fit"),
        ("states", "missing_stamp", "2020-05-01T05 missing"),
        ("fluxes", "repeated_stamp", "2020-05-01T05 occurs more than once"),
        ("fluxes", "truncated", "damaged, truncated"),
        ("states", "zeros", "not a NetCDF, GRIB|not a NetCDF"),
        ("fluxes", "garbage", "not a NetCDF"),
    ],
)
def test_a_broken_copy_is_named(broken: str, fault: str, said: str, files: dict[str, Path], tmp_path: Path) -> None:
    copy = break_file(files[broken], tmp_path / f"{fault}.nc", fault)
    others = [path for name, path in files.items() if name in ("states", "fluxes") and name != broken]
    others = [files["states"]] if broken == "hours" else others
    found = doctor([copy, *others])
    assert found.exit_code == 1
    assert any(re.search(said, one) for one in found.faults), found.faults


@pytest.mark.slow
def test_accumulated_values_that_are_taken_for_hours_are_told(files: dict[str, Path], tmp_path: Path) -> None:
    """Values since midnight that somebody summed over the hours of the day."""
    with xr.open_dataset(files["fluxes"], engine="h5netcdf") as opened:
        summed = opened[["tp", "e", "ro"]].resample(valid_time="1D").sum().isel(valid_time=slice(0, 40))
    for name in summed.data_vars:
        summed[name].attrs = {"units": "m", "cell_methods": "time: sum within days"}
    summed.to_netcdf(tmp_path / "summed.nc", engine="h5netcdf")
    found = doctor([files["states"], tmp_path / "summed.nc"])
    assert found.exit_code == 1
    assert found.proof is not None
    assert found.proof["verdict"] != "closes"


@pytest.mark.slow
def test_what_would_mend_it_can_be_tried(files: dict[str, Path], tmp_path: Path) -> None:
    turned = break_file(files["fluxes"], tmp_path / "turned.nc", "e_upward")
    assert doctor([turned, files["states"]]).exit_code == 1
    assert doctor([turned, files["states"]], flip_sign=["e"]).exit_code == 0
    lying = break_file(files["fluxes"], tmp_path / "lying.nc", "m_that_says_mm")
    units = dict.fromkeys(("tp", "e", "sro", "ssro", "ro"), "m")
    assert doctor([lying, files["states"]], units=units).exit_code == 0


@pytest.mark.slow
def test_one_bad_file_takes_no_other_along(files: dict[str, Path], tmp_path: Path) -> None:
    bad = break_file(files["fluxes"], tmp_path / "bad.nc", "truncated")
    found = doctor([bad, files["states"], files["fluxes"]])
    assert len(found.faults) == 1
    assert found.proof is not None
    assert found.proof["verdict"] == "closes"


@pytest.mark.slow
def test_of_very_many_cells_some_are_judged(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examining, "MOST_CELLS", 20)
    found = doctor([files["states"], files["fluxes"]])
    assert found.proof is not None
    assert found.proof["verdict"] == "closes"
    assert 10 < found.proof["closure"]["cells"] <= 20


@pytest.mark.slow
def test_json_and_text_say_the_same(files: dict[str, Path]) -> None:
    found = doctor([files["states"], files["fluxes"]])
    told = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert told["exit_code"] == found.exit_code
    assert [one["path"] for one in told["files"]] == [str(files["states"]), str(files["fluxes"])]
    assert told["proof"]["verdict"] == "closes"
    for one in told["files"]:
        assert one["path"] in found.text()


@pytest.mark.slow
def test_the_map_shows_what_is_left(files: dict[str, Path], tmp_path: Path) -> None:
    doctor([files["states"], files["fluxes"]], map_to=tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SoilcastError, match=r"map\.txt: a map is written as \.png or \.pdf"):
        doctor([files["states"], files["fluxes"]], map_to=tmp_path / "map.txt")
    with pytest.raises(SoilcastError, match=r"the water balance cannot be tested"):
        doctor([files["states"]], map_to=tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


@pytest.mark.slow
def test_files_without_soil_moisture_say_so(files: dict[str, Path]) -> None:
    found = doctor([files["fluxes"]])
    assert any("no swvl1, which every cube needs" in one for one in found.faults)


@pytest.mark.slow
def test_the_command_tells_by_its_exit_code(files: dict[str, Path], tmp_path: Path) -> None:
    right = run_command("doctor", files["states"], files["fluxes"], "--json")
    assert right.returncode == 0
    assert right.stderr == ""
    assert json.loads(right.stdout)["faults"] == []
    wrong = run_command("doctor", tmp_path / "nothing.nc")
    assert wrong.returncode == 1
    assert "no such file" in wrong.stdout
    assert wrong.stderr == ""


# What is so of each real file: what must be said of it, and whether soilcast can use it as it is.
REAL: dict[str, tuple[tuple[str, ...], int]] = {
    "era5_cds_new_netcdf/ERA5_Pakistan_20200101_20200107.nc": (
        ("ERA5-Land", "present Climate Data Store", "hourly, 168 times", "0.1 degrees", "swvl1", "lsm"),
        0,
    ),
    "era5_cds_new_netcdf/ERA5_Senegal_2024_03_01_04.nc": (
        ("ERA5 (by its grid)", "present Climate Data Store", "hourly, 96 times", "0.25 degrees"),
        0,
    ),
    "era5_daily_other/raven_ERA5_tas_pr_LSJ_20140520-20180615.nc": (
        ("made of ERA5, at places", "hourly", "time series without a grid", "nothing in soilcast"),
        1,
    ),
    "era5_daily_other/xclim_ERA5_daily_surface_cancities_1990-1993.nc": (
        ("made of ERA5, at places", "daily, 1,461 times", "5 along location", "prepare table"),
        0,
    ),
    "gldas/GLDAS_NOAH025_3H.A20160101.0600.021.nc4": (("GLDAS (Noah_v3.3)", "alone", "kg m-2", "nothing in"), 1),
    "gldas/GLDAS_NOAH025SUBP_3H.A2015001.0000.001.2015037193230.grb": (("GLDAS", "GRIB edition 1", "600 x 1440"), 1),
    "grib/era5-levels-members.grib": (("an ensemble of 10 members", "2 pressure levels", "GRIB edition 1"), 1),
    "grib/era5-single-level-scalar-time.grib": (
        ("t2m [K]", "2017-01-01 12:00 UTC alone", "holds a single time, 12 UTC"),
        1,
    ),
    "caravan_nc/test_caravan_file.nc": (("Caravan", "daily, 366 times", "soilcast prepare caravan"), 0),
    "ismn/format_ceop_sep/SMOSMANIA": (("station Narbonne", "CEOP", "43.15 N 2.9567 E", "0.05 to 0.05 m deep"), 1),
    "ismn/format_header_values/SMOSMANIA": (("station Narbonne", "header and values", "hourly, 741 times"), 1),
}


@pytest.mark.shared
@pytest.mark.parametrize("file", REAL)
def test_every_real_file_is_recognised(file: str, shared: Path) -> None:
    said, code = REAL[file]
    found = doctor([shared / "formats" / file])
    for words in said:
        assert words in found.text()
    assert found.exit_code == code


@pytest.mark.shared
def test_every_real_file_is_among_them(shared: Path) -> None:
    real = {
        path
        for path in (shared / "formats").rglob("*")
        if path.is_file() and path.suffix not in (".txt", ".md", ".idx")
    }
    known = {shared / "formats" / name for name in REAL}
    assert all(path in known or path.parent in known for path in real)


@pytest.mark.shared
@pytest.mark.parametrize("fault", ["truncated", "garbage", "empty", "zeros", "header_alone"])
@pytest.mark.parametrize(
    "file", ["era5_cds_new_netcdf/ERA5_Senegal_2024_03_01_04.nc", "grib/era5-single-level-scalar-time.grib"]
)
def test_a_damaged_real_file_is_a_fault(file: str, fault: str, shared: Path, tmp_path: Path) -> None:
    path = shared / "formats" / file
    found = doctor([break_file(path, tmp_path / path.name, fault)])
    assert found.exit_code == 1
    assert found.faults
    assert all("\n" not in one for one in found.faults)


@pytest.mark.shared
def test_a_real_file_with_a_gap_or_another_unit(shared: Path, tmp_path: Path) -> None:
    path = shared / "formats" / "era5_cds_new_netcdf" / "ERA5_Pakistan_20200101_20200107.nc"
    with xr.open_dataset(path, engine="h5netcdf") as opened:
        whole = opened[["swvl1"]].load()
    changes: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], str]] = {
        "gap": (lambda data: data.isel(valid_time=np.delete(np.arange(168), 30)), "2020-01-02T06 missing"),
        "percent": (lambda data: data.assign(swvl1=data["swvl1"].copy(data=100 * data["swvl1"])), "swvl1 has"),
    }
    for name, (change, said) in changes.items():
        broken = change(whole)
        broken.to_netcdf(tmp_path / f"{name}.nc", engine="h5netcdf")
        found: Examination = doctor([tmp_path / f"{name}.nc"])
        assert any(said in one for one in found.faults), found.faults
