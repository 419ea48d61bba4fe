"""Caravan's basin series, CSV and NetCDF, become a cube: genuine values, units, places; faulty files are named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from soilcast.cube import VARIABLES, open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.sources.caravan import caravan
from soilcast.sources.derived import saturation_vapour_pressure, specific_humidity

COLUMNS = {
    "temperature_2m_mean": 10.0,
    "dewpoint_temperature_2m_mean": 5.0,
    "surface_pressure_mean": 95.0,
    "total_precipitation_sum": 4.0,
    "volumetric_soil_water_layer_1_mean": 0.3,
    "volumetric_soil_water_layer_2_mean": 0.31,
}


def series(days: pd.DatetimeIndex) -> pd.DataFrame:
    wave = np.sin(np.arange(len(days)))
    return pd.DataFrame({"date": days.strftime("%Y-%m-%d")} | {n: v * (1 + 0.05 * wave) for n, v in COLUMNS.items()})


def write(root: Path, gauge: str, first: str, days: int, flat: bool = True) -> Path:
    file = (root if flat else root / "timeseries" / "csv" / "made") / f"{gauge}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    series(pd.date_range(first, periods=days)).to_csv(file, index=False)
    return file


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Two made basins with different periods, and their attributes."""
    root = tmp_path / "caravan"
    write(root, "made_1", "2000-01-01", 30)
    write(root, "made_2", "2000-01-11", 30)
    attributes(root)
    return root


def attributes(root: Path, gauges: tuple[str, ...] = ("made_1", "made_2")) -> None:
    folder = root / "attributes" / "made"
    folder.mkdir(parents=True)
    count = range(1, len(gauges) + 1)
    place = {"gauge_id": gauges, "gauge_lat": [50.0 + i for i in count], "gauge_lon": [7.0] * len(gauges)}
    pd.DataFrame(place | {"area": [100.0 * i for i in count]}).to_csv(folder / "attributes_other_made.csv", index=False)
    soil = {"gauge_id": gauges, "slp_dg_sav": 100.0, "ele_mt_sav": 250.0, "cly_pc_sav": 20.0, "snd_pc_sav": -999.0}
    pd.DataFrame(soil).to_csv(folder / "attributes_hydroatlas_made.csv", index=False)


def refusal(*paths: Path, **options: dict[str, str]) -> str:
    with pytest.raises(SoilcastError) as caught:
        caravan(list(paths), **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.slow
@pytest.mark.shared
def test_genuine_csv_series_become_a_cube(shared: Path, tmp_path: Path) -> None:
    cube = caravan([shared / "caravan"])
    assert cube["cell_name"].to_numpy().tolist() == ["camelsch_4001", "camelsch_4003", "camelses_1414", "camelslx_054"]
    assert cube.attrs["content"] == "ERA5-Land reanalysis, basin means (Caravan)"
    raw = pd.read_csv(shared / "caravan" / "camelslx_054.csv", parse_dates=["date"]).set_index("date")
    basin = cube.isel(cell=3).sel(time=raw.index)
    np.testing.assert_allclose(basin["t2m"], raw["temperature_2m_mean"] + 273.15, atol=1e-3)
    np.testing.assert_allclose(basin["sp"], raw["surface_pressure_mean"] * 1000, rtol=1e-6)
    np.testing.assert_allclose(basin["tp"], raw["total_precipitation_sum"] / 1000, atol=1e-8)
    np.testing.assert_allclose(basin["sd"], raw["snow_depth_water_equivalent_mean"] / 1000, atol=1e-8)
    np.testing.assert_allclose(basin["swvl3"], raw["volumetric_soil_water_layer_3_mean"], atol=1e-7)
    np.testing.assert_allclose(basin["ssr"], raw["surface_net_solar_radiation_mean"], rtol=1e-6)
    outside = cube["swvl1"].isel(cell=3).sel(time=slice("1981-01-01", "2000-01-01"))
    assert bool(np.isnan(outside).all())
    assert cube["area"].to_numpy()[3] == pytest.approx(40.87e6)
    assert (cube["lat"].to_numpy()[3], cube["lon"].to_numpy()[3]) == pytest.approx((49.557468, 6.352567))
    assert not {"e", "ro", "sro", "soil_water_capacity"} & set(cube.data_vars)
    save_cube(cube, tmp_path / "cube.zarr")
    assert open_cube(tmp_path / "cube.zarr").sizes == cube.sizes


@pytest.mark.shared
def test_genuine_values_are_physical(shared: Path) -> None:
    cube = caravan([shared / "caravan"])
    yearly = cube["pev"].isel(cell=0).mean() * 365.25
    assert 0.3 < float(yearly) < 2.0  # upward positive: metres a year
    assert bool((cube["mn2t"] <= cube["mx2t"]).where(cube["mn2t"].notnull(), True).all())
    assert 0.005 < float(cube["q"].mean()) < 0.008
    np.testing.assert_allclose(cube["clay"] + cube["sand"] + cube["silt"], 1.0, atol=0.03)
    # The Black Forest and the Cantabrian mountains are steep, the Mosel's side valley is not.
    assert (cube["slope"].to_numpy()[[0, 1, 2]] > 2 * cube["slope"].to_numpy()[3]).all()


@pytest.mark.shared
def test_genuine_netcdf_with_its_statics_inside_becomes_a_cube(shared: Path) -> None:
    file = shared / "formats" / "caravan_nc" / "test_caravan_file.nc"
    cube = caravan([file])
    with xr.open_dataset(file, engine="h5netcdf") as raw:
        np.testing.assert_allclose(cube["t2m"], raw["temperature_2m_mean"] + 273.15, atol=1e-3)
        np.testing.assert_allclose(cube["d2m"], raw["dewpoint_temperature_2m_mean"] + 273.15, atol=1e-3)
        np.testing.assert_allclose(cube["area"], raw["area"] * 1e6)
        np.testing.assert_allclose(cube["lat"], raw["lat"])
    assert cube["cell_name"].to_numpy().tolist() == ["camels_01022500", "camels_03439000"]
    assert cube.sizes["time"] == 366
    assert "unit taken as degC" in cube["d2m"].attrs["origin"]
    assert "unit taken" not in cube["t2m"].attrs["origin"]


def test_the_cube_spans_all_records_and_is_nan_outside_each(made: Path) -> None:
    cube = caravan([made])
    assert cube.sizes == {"cell": 2, "time": 40}
    there = cube["swvl1"].notnull().to_numpy()
    assert there[0].tolist() == [True] * 30 + [False] * 10
    assert there[1].tolist() == [False] * 10 + [True] * 30
    assert "v10" not in cube
    assert "q" in cube


def test_static_units_are_converted(made: Path) -> None:
    cube = caravan([made])
    assert cube["slope"].to_numpy() == pytest.approx(np.tan(np.radians(10.0)))
    assert cube["clay"].to_numpy() == pytest.approx(0.2)
    assert cube["area"].to_numpy().tolist() == [1e8, 2e8]
    assert "sand" not in cube  # -999 stands for no data
    assert all(VARIABLES[str(name)].units == cube[name].attrs["units"] for name in cube.data_vars)


def test_the_tree_of_a_release_is_read_like_a_flat_folder(tmp_path: Path) -> None:
    attributes(tmp_path)
    write(tmp_path, "made_1", "2000-01-01", 5, flat=False)
    (tmp_path / "timeseries" / "netcdf" / "made").mkdir(parents=True)
    days = pd.date_range("2000-01-01", periods=5)
    table = series(days).drop(columns="date")
    dataset = xr.Dataset({name: ("date", table[name].to_numpy()) for name in table}, {"date": days})
    dataset.to_netcdf(tmp_path / "timeseries" / "netcdf" / "made" / "made_2.nc", engine="h5netcdf")
    cube = caravan([tmp_path])
    assert cube["cell_name"].to_numpy().tolist() == ["made_1", "made_2"]
    np.testing.assert_array_equal(cube["t2m"].isel(cell=0), cube["t2m"].isel(cell=1))
    assert cube["lat"].to_numpy().tolist() == [51.0, 52.0]
    deep = caravan([tmp_path / "timeseries" / "csv" / "made" / "made_1.csv"])
    assert deep["area"].to_numpy().tolist() == [1e8]


def test_a_given_unit_replaces_the_documented_one(made: Path) -> None:
    cube = caravan([made], units={"tp": "cm d-1"})
    assert float(cube["tp"].isel(cell=0, time=0)) == pytest.approx(0.04)


@pytest.mark.parametrize(("name", "unit"), [("tp", "kelvin"), ("rain", "mm"), ("q", "kg kg-1")])
def test_a_unit_that_does_not_fit_is_refused(made: Path, name: str, unit: str) -> None:
    message = refusal(made, units={name: unit})
    assert name in message


def test_a_wrong_unit_is_caught_by_the_bounds(made: Path) -> None:
    message = refusal(made, units={"sp": "Pa"})
    assert "made_1.csv" in message
    assert "--unit sp=UNIT" in message


@pytest.mark.parametrize(
    ("rows", "expected"),
    [([0, 1, 1, 2], "2000-01-02 occurs more than once"), ([0, 1, 3], "2000-01-03"), ([2, 1, 0], "not ascending")],
)
def test_days_that_repeat_or_are_missing_name_the_file(made: Path, rows: list[int], expected: str) -> None:
    file = made / "made_1.csv"
    pd.read_csv(file).iloc[rows].to_csv(file, index=False)
    message = refusal(made)
    assert expected in message
    assert "made_1.csv" in message


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("2000-01-02", "02/01/2000", "not written YYYY-MM-DD"),
        ("date", "day", "no column date"),
        ("volumetric_soil_water_layer_1_mean", "sm", "no column volumetric_soil_water_layer_1_mean (swvl1)"),
        ("total_precipitation_sum", "rain", "no column total_precipitation_sum (tp)"),
        ("10.0", "ten", "'ten', which is not a number"),
    ],
)
def test_a_faulty_table_is_named(made: Path, old: str, new: str, expected: str) -> None:
    file = made / "made_1.csv"
    file.write_text(file.read_text().replace(old, new, 1))
    message = refusal(made)
    assert expected in message
    assert "made_1.csv" in message


@pytest.mark.parametrize("content", [b"", b'date,a\n"2000-01-01', b"\xff\xfe\x00date"])
def test_a_damaged_table_is_named(made: Path, content: bytes) -> None:
    (made / "made_2.csv").write_bytes(content)
    assert "made_2.csv" in refusal(made)


@pytest.mark.shared
def test_a_truncated_netcdf_is_named(shared: Path, tmp_path: Path) -> None:
    file = tmp_path / "short.nc"
    file.write_bytes((shared / "formats" / "caravan_nc" / "test_caravan_file.nc").read_bytes()[:60_000])
    message = refusal(file)
    assert "short.nc" in message
    assert "truncated" in message


def test_a_basin_without_place_is_refused_with_the_remedy(made: Path) -> None:
    shutil.rmtree(made / "attributes")
    message = refusal(made)
    assert "basin made_1 has no gauge_lat" in message
    assert "attributes" in message


def test_a_basin_that_occurs_twice_is_refused(made: Path) -> None:
    assert "made_1 occurs twice" in refusal(made, made / "made_1.csv")


def test_a_gauge_that_occurs_twice_in_the_attributes_is_refused(made: Path) -> None:
    file = made / "attributes" / "made" / "attributes_other_made.csv"
    file.write_text(file.read_text() + "made_1,50,7,100\n")
    assert "attributes_other_made.csv" in refusal(made)


def test_nothing_to_read_is_said(made: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("")
    assert "no such file" in refusal(tmp_path / "nowhere")
    assert "no CSV or NetCDF" in refusal(tmp_path / "empty")
    assert "notes.txt" in refusal(tmp_path / "notes.txt")
    assert "no file is given" in refusal()


def test_saturation_vapour_pressure_agrees_with_the_tables() -> None:
    # WMO-No. 8 (2018), Annex 4.B; Smithsonian tables: over water, in pascal.
    kelvin = np.array([263.15, 273.15, 283.15, 293.15, 303.15])
    expected = np.array([286.3, 611.2, 1227.2, 2337.3, 4243.0])
    np.testing.assert_allclose(saturation_vapour_pressure(kelvin), expected, rtol=3e-3)


def test_specific_humidity_by_hand() -> None:
    # Dewpoint 10 °C at 1000 hPa: e = 611.21 exp(17.502 * 9.99 / 250.96) = 1226.8 Pa, and with R_dry / R_vap = 0.62198
    # q = 0.62198 * 1226.8 / (100000 - 0.37802 * 1226.8) = 0.007666.
    found = specific_humidity(np.array([283.15], dtype=np.float32), np.array([100_000.0], dtype=np.float32))
    assert found.dtype == np.float32
    assert float(found[0]) == pytest.approx(0.007666, abs=1e-6)
    # Air of nothing but vapour has a specific humidity of one.
    boiling = np.array([373.15])
    assert specific_humidity(boiling, saturation_vapour_pressure(boiling)) == pytest.approx(1.0)


def test_a_netcdf_without_a_variable_of_caravan_is_named(tmp_path: Path) -> None:
    days = pd.date_range("2001-01-01", periods=3)
    foreign = xr.Dataset({"discharge": ("date", np.ones(3))}, coords={"date": days})
    foreign.to_netcdf(tmp_path / "foreign.nc", engine="h5netcdf")
    with pytest.raises(SoilcastError, match=r"foreign\.nc: no variable of Caravan along date"):
        caravan([tmp_path])
