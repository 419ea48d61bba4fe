"""NetCDF on the grid by valid day: CF, as GDAL (so QGIS), Panoply and GrADS read it, with every value at its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr

import soilcast
from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from tests.cube.test_cf import complaints
from tests.exporting.test_export import GRIDS, ISSUES, REGION, made_forecast
from tests.helpers.small import few

LICENSE = {"license": "CC-BY-4.0", "source": "era5land"}


def made(path: Path, **options: Any) -> xr.Dataset:
    """Write a forecast whose data have a source and a licence."""
    forecast = made_forecast(path, **options).assign_attrs(LICENSE)
    return forecast


@pytest.fixture
def licensed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from tests.exporting import test_export

    write = test_export.write_dataset
    monkeypatch.setattr(
        test_export,
        "write_dataset",
        lambda data, *given, **options: write(data.assign_attrs(LICENSE), *given, **options),
    )
    made_forecast(tmp_path / "forecast.nc")
    return tmp_path / "forecast.nc"


@pytest.mark.parametrize("name", GRIDS)
def test_each_value_lies_at_its_place_and_day(tmp_path: Path, name: str) -> None:
    grid, bounds, shape = GRIDS[name]
    forecast = made_forecast(tmp_path / "forecast.nc", grid)
    out = soilcast.export(tmp_path / "forecast.nc", tmp_path / "map.nc", variable="swvl1")
    with xr.open_dataset(out, engine="h5netcdf") as found:
        assert found["swvl1"].dims == ("time", "lat", "lon")
        assert found["swvl1"].shape == (3, *shape)
        days = [np.datetime64(ISSUES[0]) + lead for lead in (1, 2, 3)]
        np.testing.assert_array_equal(found["time"].to_numpy().astype("datetime64[D]"), days)
        assert float(found["lat"][0]) > float(found["lat"][-1]) or shape[0] == 1
        at = found["swvl1"].sel(
            lat=forecast["lat"].astype(np.float64),
            lon=forecast["lon"].astype(np.float64),
            method="nearest",
            tolerance=0.02,
        )
        np.testing.assert_array_equal(at.transpose("cell", "time"), forecast["swvl1"][:, 0])
        assert int(np.isfinite(found["swvl1"]).sum()) == int(np.isfinite(forecast["swvl1"]).sum())
        half_lat, half_lon = (
            abs(float(axis[1] - axis[0])) / 2 if axis.size > 1 else 0.5 for axis in (found["lat"], found["lon"])
        )
        west, south, east, north = bounds
        np.testing.assert_allclose(
            [
                found["lon"][0] - half_lon,
                found["lat"][-1] - half_lat,
                found["lon"][-1] + half_lon,
                found["lat"][0] + half_lat,
            ],
            [west, south, east, north],
            atol=1e-5,
        )


def test_it_says_issue_day_lead_unit_source_and_licence(licensed: Path, tmp_path: Path) -> None:
    out = soilcast.export(licensed, tmp_path / "map.nc")
    with xr.open_dataset(out, engine="h5netcdf") as found:
        assert found.attrs["source"] == "era5land"
        assert found.attrs["license"] == "CC-BY-4.0"
        assert found.attrs["issue_date"] == "2020-02-27"
        assert found.attrs["nature"] == "model forecast, not an observation (trained on synthetic weather)"
        assert str(found["forecast_reference_time"].to_numpy())[:10] == "2020-02-27"
        assert found["forecast_period"].to_numpy().astype("timedelta64[D]").astype(int).tolist() == [1, 2, 3]
        assert found["swvl1_quantile_05"].attrs["units"] == "m3 m-3"
        assert found["swvl1_drought"].attrs["flag_meanings"].startswith("none D0")
        assert {"swvl1", "swvl1_quantile_95", "swvl1_percentile", "swvl1_drought_probability_D2"} <= set(
            found.data_vars
        )
        assert all(one.dims == ("time", "lat", "lon") for one in found.data_vars.values())


@pytest.mark.slow
def test_it_keeps_to_cf(licensed: Path, tmp_path: Path) -> None:
    assert complaints(soilcast.export(licensed, tmp_path / "map.nc")) == []
    save_cube(few(cells=6, days=40), tmp_path / "cube")
    assert complaints(soilcast.export(tmp_path / "cube", tmp_path / "day.nc", day="2018-01-03")) == []


def test_gdal_reads_bands_by_day_where_they_lie(tmp_path: Path) -> None:
    """What QGIS opens it with."""
    made_forecast(tmp_path / "forecast.nc")
    out = soilcast.export(tmp_path / "forecast.nc", tmp_path / "map.nc", variable="swvl1_drought")
    tif = soilcast.export(tmp_path / "forecast.nc", tmp_path / "map.tif", variable="swvl1_drought")
    with rasterio.open(f"netcdf:{out}:swvl1_drought") as raster, rasterio.open(tif) as other:
        np.testing.assert_allclose(raster.bounds, other.bounds, atol=1e-9)
        assert raster.nodata == -128
        np.testing.assert_array_equal(raster.read(), other.read())
        days = [int(raster.tags(band)["NETCDF_DIM_time"]) for band in raster.indexes]
        assert days == [0, 1, 2]
        assert raster.tags()["time#units"] == "days since 2020-02-28"


def test_a_day_of_a_cube_has_all_its_variables(tmp_path: Path) -> None:
    cube = few(cells=6, days=40)
    save_cube(cube, tmp_path / "cube")
    out = soilcast.export(tmp_path / "cube", tmp_path / "day.nc", day="2018-01-03")
    with xr.open_dataset(out, engine="h5netcdf") as found:
        assert set(found.data_vars) == {str(name) for name in cube.data_vars if "time" in cube[name].dims}
        at = found["tp"].sel(lat=cube["lat"], lon=cube["lon"], method="nearest")[0]
        np.testing.assert_array_equal(at, cube["tp"][:, 2])
        assert "forecast_period" not in found


def test_what_has_no_place_in_it_is_refused(tmp_path: Path) -> None:
    made_forecast(tmp_path / "places.nc", None)
    with pytest.raises(SoilcastError, match=r"map\.nc: the cells are points without a grid: use --out .*map\.csv"):
        soilcast.export(tmp_path / "places.nc", tmp_path / "map.nc", variable="swvl1")
    made_forecast(tmp_path / "grid.nc", REGION)
    with pytest.raises(SoilcastError, match="swvl1_days_to_dry is of no single day, and NetCDF has a time"):
        soilcast.export(tmp_path / "grid.nc", tmp_path / "map.nc", variable="swvl1_days_to_dry")
    made_forecast(tmp_path / "two.nc", REGION, issues=ISSUES)
    with pytest.raises(SoilcastError, match="choose one with --issue"):
        soilcast.export(tmp_path / "two.nc", tmp_path / "map.nc")
    soilcast.export(tmp_path / "two.nc", tmp_path / "map.nc", issue=ISSUES[1])
    with pytest.raises(SoilcastError, match="exists already"):
        soilcast.export(tmp_path / "two.nc", tmp_path / "map.nc", issue=ISSUES[1])
    soilcast.export(tmp_path / "two.nc", tmp_path / "map.nc", issue=ISSUES[1], overwrite=True)
