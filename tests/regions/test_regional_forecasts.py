"""The forecast of regions: means add up, quantiles are those of the mean, classes are of the region's own climate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from soilcast.cube import open_cube, open_forecast
from soilcast.errors import SoilcastError
from soilcast.products.climate import count_years, gather, reference_positions
from soilcast.products.indices import drought_class, percentile, probabilities_below, thresholds_at
from soilcast.regions.forecasts import regional_forecast
from soilcast.regions.means import regional_cube, regional_mean
from soilcast.regions.weights import open_regions
from tests.helpers.regional import LEVELS, districts, made_forecast, made_record


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("regional")
    cube = made_record(path / "cube")
    made_forecast(path / "forecast", cube)
    made_forecast(path / "alike.nc", cube, correlation=1.0)
    districts(path / "districts.gpkg")
    return path


def of_regions(folder: Path, name: str = "forecast", *, climate: bool = True) -> tuple[xr.Dataset, xr.Dataset]:
    """The forecast of the cells, and that of the regions."""
    forecast = open_forecast(folder / name)
    regions = open_regions(folder / "districts.gpkg", forecast)
    return forecast, regional_forecast(forecast, regions, open_cube(folder / "cube") if climate else None)


def test_means_add_up_and_the_median_lies_among_the_quantiles(folder: Path) -> None:
    forecast, found = of_regions(folder)
    regions = open_regions(folder / "districts.gpkg", forecast)
    np.testing.assert_array_equal(found["swvl1_mean"], regional_mean(forecast, "swvl1_mean", regions))
    np.testing.assert_array_equal(found["swvl1"], found["swvl1_quantile"].sel(quantile=0.5))
    assert (np.diff(found["swvl1_quantile"], axis=-1) > 0).all()
    assert found["cell_name"].to_numpy().tolist() == ["North", "South", "Tiny"]
    assert found.attrs["title"] == "made: 3 days ahead, means of regions of districts.gpkg"
    assert "1 of 4 regions have no cell, and are left out (Sea)" in found.attrs["notes"]


def test_cells_that_err_alike_give_the_mean_of_the_quantiles_and_others_less(folder: Path) -> None:
    forecast, alike = of_regions(folder, "alike.nc")
    naive = regional_mean(forecast, "swvl1_quantile", open_regions(folder / "districts.gpkg", forecast))
    np.testing.assert_allclose(alike["swvl1_quantile"], naive, atol=5e-4)
    _, found = of_regions(folder)
    width, widest = (values[..., -1] - values[..., 0] for values in (found["swvl1_quantile"].to_numpy(), naive))
    assert (width[:2] < 0.75 * widest[:2]).all()
    # A region within one cell has the quantiles of that cell.
    np.testing.assert_allclose(found["swvl1_quantile"][2], naive[2], atol=5e-4)


def test_blocks_of_cells_and_issue_days_do_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, whole = of_regions(folder)
    monkeypatch.setattr("soilcast.regions.means.CELL_CHUNK", 4)
    monkeypatch.setattr("soilcast.regions.forecasts._SAMPLES", 1)
    _, parts = of_regions(folder)
    assert list(parts.data_vars) == list(whole.data_vars)
    for name in whole.data_vars:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-4, atol=1e-4, err_msg=str(name))


def test_percentile_class_and_odds_are_in_the_climate_of_the_mean(folder: Path) -> None:
    """Computed here from the record of the region's mean, day by day around the date."""
    forecast, found = of_regions(folder)
    cube = open_cube(folder / "cube")
    record = regional_cube(cube, open_regions(folder / "districts.gpkg", forecast), ["swvl1"])
    days = record["time"].to_numpy()
    before = days < np.datetime64("2004-01-01")
    for issue, lead in ((0, 0), (1, 2)):
        valid = found["time"].to_numpy()[issue] + np.timedelta64(lead + 1, "D")
        reference = gather(record["swvl1"].to_numpy()[:, before], reference_positions(days[before], valid))
        assert count_years(reference).min() == 4
        samples = reference.reshape(len(reference), -1)
        ranks = percentile(found["swvl1"].to_numpy()[:, issue, lead], samples)
        np.testing.assert_allclose(found["swvl1_percentile"][:, issue, lead], ranks)
        np.testing.assert_array_equal(found["swvl1_drought"][:, issue, lead], drought_class(ranks))
        limits = thresholds_at(samples, (30.0, 20.0, 10.0, 5.0, 2.0))
        odds = probabilities_below(found["swvl1_quantile"].to_numpy()[:, issue, lead], np.array(LEVELS), limits)
        np.testing.assert_allclose(found["swvl1_drought_probability"][:, issue, lead], odds, atol=1e-6)
    # It is no mean of the cells' percentiles, which of anomalies that are not shared are less extreme.
    cells = regional_mean(forecast, "swvl1_percentile", open_regions(folder / "districts.gpkg", forecast))
    assert np.abs(found["swvl1_percentile"][:2] - cells[:2]).max() > 5


def test_without_the_cube_there_is_no_climate_and_that_is_told(folder: Path) -> None:
    _, found = of_regions(folder, climate=False)
    assert set(found.data_vars) == {"area", "swvl1", "swvl1_mean", "swvl1_quantile"}
    assert "percentile, class and odds of a region are in the climate of its mean" in found.attrs["notes"]


def test_a_forecast_that_does_not_say_how_cells_depend_has_no_intervals_of_regions(folder: Path) -> None:
    forecast = open_forecast(folder / "forecast").drop_vars("swvl1_cell_rank")
    regions = open_regions(folder / "districts.gpkg", forecast)
    found = regional_forecast(forecast, regions, open_cube(folder / "cube"))
    np.testing.assert_array_equal(found["swvl1"], regional_mean(forecast, "swvl1_mean", regions))
    assert "swvl1_quantile" not in found
    assert "swvl1_drought" in found
    assert "swvl1_drought_probability" not in found
    assert "swvl1 of regions has no intervals" in found.attrs["notes"]


def test_days_that_a_cell_does_not_share_are_left_out_for_its_regions(folder: Path, tmp_path: Path) -> None:
    """The other days are ranked anew, so that each cell keeps its distribution."""
    cube = open_cube(folder / "cube")
    whole = made_forecast(tmp_path / "whole.nc", cube, correlation=1.0, products=False)
    ranks = whole["swvl1_cell_rank"].copy()
    ranks[4, ::2] = 0
    half = made_forecast(tmp_path / "half.nc", cube, correlation=1.0, products=False, swvl1_cell_rank=ranks)
    regions = open_regions(folder / "districts.gpkg", half)
    found = regional_forecast(half, regions)
    naive = regional_mean(half, "swvl1_quantile", regions)
    np.testing.assert_allclose(found["swvl1_quantile"], naive, atol=1e-3)
    ranks[4] = 0
    ranks[4, :7] = np.arange(1, 8)[:, np.newaxis]
    few = regional_forecast(made_forecast(tmp_path / "few.nc", cube, products=False, swvl1_cell_rank=ranks), regions)
    has_quantiles = np.isfinite(few["swvl1_quantile"]).all(("time", "lead", "quantile"))
    of_cell = regions.weights[:, [4]].toarray()[:, 0] > 0
    np.testing.assert_array_equal(has_quantiles, ~of_cell)
    assert f"swvl1 of {of_cell.sum()} region(s) has no intervals" in few.attrs["notes"]


def test_cells_that_are_never_forecast_have_no_part_in_forecast_and_climate(folder: Path, tmp_path: Path) -> None:
    cube = open_cube(folder / "cube")
    made = made_forecast(tmp_path / "made.nc", cube, products=False)
    names = ["swvl1", "swvl1_mean", "swvl1_quantile"]
    known = xr.DataArray(np.arange(made.sizes["cell"]) != 2, dims="cell")
    masked = {name: made[name].where(known) for name in names}
    made_forecast(tmp_path / "masked.nc", cube, **masked)
    forecast = open_forecast(tmp_path / "masked.nc")
    regions = open_regions(folder / "districts.gpkg", forecast)
    found = regional_forecast(forecast, regions, cube)
    rest = regions.of_cells(known.to_numpy())
    np.testing.assert_allclose(found["swvl1_mean"], regional_mean(made, "swvl1_mean", rest), rtol=1e-6)
    assert np.isfinite(found["swvl1_percentile"]).all()


def test_a_point_forecast_gives_points(folder: Path, tmp_path: Path) -> None:
    cube = open_cube(folder / "cube")
    made = made_forecast(tmp_path / "made.nc", cube, products=False)
    point = made.drop_vars(["swvl1_mean", "swvl1_quantile", "swvl1_cell_rank"])
    regions = open_regions(folder / "districts.gpkg", point)
    found = regional_forecast(point, regions)
    assert set(found.data_vars) == {"area", "swvl1"}
    np.testing.assert_array_equal(found["swvl1"], regional_mean(point, "swvl1", regions))
    with pytest.raises(SoilcastError, match="it names no layer: forecast again"):
        regional_forecast(point.assign_attrs(targets=""), regions)
