"""What each cell counts: its area on a grid, and one of every basin and station."""

from __future__ import annotations

import numpy as np
import pytest

from soilcast.cube import open_artifact, open_cube, save_cube
from soilcast.reporting.over_cells import means, medians
from soilcast.verify import evaluate, summarise
from soilcast.verify.comparison import compare_forecasts
from soilcast.verify.summary import cell_weights
from tests.helpers.forecast_factory import DAYS, LEVELS, made_forecast
from tests.helpers.small import small_cube

BASINS = 7


@pytest.fixture(scope="module")
def basins(tmp_path_factory):
    """Scores of basins, one of which has nearly all of the area and the worst intervals."""
    folder = tmp_path_factory.mktemp("basins")
    cube = small_cube(cells=BASINS, days=len(DAYS), start="2019-01-01", grid=False)
    cube["area"].to_numpy()[:] = 1e8
    cube["area"].to_numpy()[0] = 1e11
    save_cube(cube, folder / "cube")

    def too_narrow(forecast):
        quantiles = forecast["swvl1_quantile"].to_numpy()
        centre = forecast["swvl1"].to_numpy()[0, ..., np.newaxis]
        quantiles[0] = centre + 0.6 * (quantiles[0] - centre)
        return forecast

    made_forecast(folder / "forecast", folder / "cube", leads=2, levels=LEVELS, change=too_narrow)
    evaluate([folder / "forecast"], folder / "cube", folder / "scores")
    return folder


def test_a_median_over_basins_is_the_plain_median(basins):
    with open_artifact(basins / "scores" / "scores.nc", "scores") as opened:
        scores = opened.load()
    np.testing.assert_array_equal(cell_weights(scores), np.ones(BASINS))
    row = summarise(scores).loc[("LSTM", "swvl1", 2)]
    rmse = scores["rmse"].sel(model="LSTM", target="swvl1", lead=2).to_numpy()
    assert row["rmse_median"] == np.median(rmse) != rmse[0]
    assert row["rmse_mean"] == pytest.approx(rmse.mean(), rel=1e-12)
    shown = scores["rmse"].sel(target="swvl1")
    np.testing.assert_array_equal(medians(scores, shown).sel(model="LSTM", lead=2), np.median(rmse))
    np.testing.assert_allclose(means(scores, shown).sel(model="LSTM", lead=2), rmse.mean())


def test_days_of_basins_count_alike_in_reliability_and_in_tests(basins):
    with open_artifact(basins / "scores" / "scores.nc", "scores") as opened:
        scores = opened.load()
    covered = scores["coverage_90"].sel(model="LSTM", target="swvl1")
    below = scores["reliability"].sel(model="LSTM", target="swvl1")
    share = (below.sel(quantile=0.95) - below.sel(quantile=0.05)).to_numpy()
    np.testing.assert_allclose(share, covered.mean("cell"), atol=5e-3)  # but for days that equal a quantile
    found = compare_forecasts([basins / "forecast"], basins / "cube", ("persistence",), block_days=10, resamples=20)
    crps = scores["crps"].sel(target="swvl1")
    expected = np.median(crps.sel(model="LSTM"), axis=-1) - np.median(crps.sel(model="persistence"), axis=-1)
    tested = found["difference"].sel(tested_metric="crps", row="LSTM", reference="persistence", target="swvl1")
    np.testing.assert_allclose(tested, expected, rtol=1e-6)
    shares = found["area_better"] * BASINS
    np.testing.assert_allclose(shares, shares.round(), atol=1e-9)


def test_the_lowest_coverage_of_any_cell_is_shown(basins):
    with open_artifact(basins / "scores" / "scores.nc", "scores") as opened:
        scores = opened.load()
    covered = scores["coverage_90"].sel(model="LSTM", target="swvl1", lead=1).to_numpy()
    row = summarise(scores).loc[("LSTM", "swvl1", 1)]
    assert row["coverage_90_lowest"] == covered[0] == covered.min() < 0.8
    assert row["coverage_90_highest"] == covered.max()
    assert row["coverage_90_median"] > 0.85
    assert "rmse_lowest" not in row
    without = summarise(scores.assign(coverage_90=np.nan * scores["coverage_90"]))
    assert np.isnan(without["coverage_90_lowest"]).all()


def test_cells_of_a_grid_count_by_their_area(cube):
    with open_cube(cube) as opened:
        area = opened["area"].to_numpy()
        np.testing.assert_array_equal(cell_weights(opened), area.astype(np.float64))
        np.testing.assert_array_equal(cell_weights(opened, slice(2, 5)), area[2:5])
        np.testing.assert_array_equal(cell_weights(opened.isel(cell=[1, 3])), area[[1, 3]])
    basins = small_cube(cells=4, days=30, grid=False)
    np.testing.assert_array_equal(cell_weights(basins, slice(1, 3)), [1, 1])
