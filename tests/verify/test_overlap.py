"""Forecasts and observations are matched by place and day, what is left out is counted, and no score depends on it."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from soilcast.cube import assemble, cells_of_places, era5_land_thickness, open_cube, save_cube
from soilcast.models.baselines import persistence
from soilcast.verify import evaluate
from tests.helpers.forecast_factory import DAYS, ISSUES, LEADS, LEVELS, TEST, altered, made_cube, made_forecast, refused

SEVERAL = {"leads": LEADS, "levels": LEVELS}
SCORED = ("rmse", "r", "crps", "bias", "days")


@pytest.fixture(scope="module")
def scores(tmp_path_factory, cube, single):
    return evaluate([single], cube, tmp_path_factory.mktemp("scores") / "scores")


def stations(path, cube, *, cells, days, change=lambda values: values):
    """The observations of some cells and days of a cube, as a cube of stations without anything else."""
    with open_cube(cube) as opened:
        part = opened.isel(cell=cells, time=days).load()
    names = [f"s{number}" for number in range(len(cells))]
    made = assemble(
        {"swvl1": change(part["swvl1"].to_numpy()), **era5_land_thickness(len(cells), {"swvl1": 0.07})},
        cells=cells_of_places(part["lat"].to_numpy(), part["lon"].to_numpy(), part["area"].to_numpy(), names),
        time=part["time"].to_numpy(),
        title="stations",
        source="test",
        content="observations",
    )
    save_cube(made, path)
    return path


def of_issue_days(days):
    return lambda forecast: forecast.isel(time=days)


def assert_alike(mine, theirs, models=None):
    for name in SCORED:
        one, other = mine[name], theirs[name]
        if models is not None and "model" in one.dims:
            one, other = one.sel(model=models), other.sel(model=models)
        np.testing.assert_allclose(one.to_numpy(), other.to_numpy(), rtol=1e-12, atol=1e-15, err_msg=name)


def test_cells_are_matched_by_place_in_any_order(tmp_path, cube, single, scores):
    order = np.array([6, 0, 3, 7, 5, 1, 2, 4])
    other = stations(tmp_path / "stations", cube, cells=order, days=slice(None))
    mine = evaluate([single], other, tmp_path / "scores")
    assert_alike(mine, scores.isel(cell=order))
    assert mine.attrs["left_out"].startswith("the forecasts were made for another cube than the observations")
    permuted = altered(single, tmp_path / "permuted", lambda one: one.isel(cell=order))
    assert_alike(evaluate([permuted], cube, tmp_path / "again"), scores)


def test_places_that_one_lacks_are_counted(tmp_path, cube, single, scores):
    some = altered(single, tmp_path / "some", lambda one: one.isel(cell=[1, 4, 6]))
    mine = evaluate([some, single], cube, tmp_path / "scores")
    assert_alike(
        mine.sel(model=["persistence", "climatology"]),
        scores.isel(cell=[1, 4, 6]).sel(model=["persistence", "climatology"]),
    )
    assert mine.attrs["cells_total"] == 8
    assert "5 of 8 cells of the cube, of which not all forecasts have a forecast" in mine.attrs["left_out"]
    few = stations(tmp_path / "few", cube, cells=np.array([4]), days=slice(None))
    assert_alike(evaluate([some], few, tmp_path / "of-few"), scores.isel(cell=[4]))


def test_places_that_differ_are_refused(tmp_path, cube, single):
    moved = altered(single, tmp_path / "moved", lambda one: one.assign_coords(lat=one["lat"] + 0.01))
    refused([moved], cube, tmp_path / "scores", "moved: none of its 8 cells is one of the cube's 8")
    halves = [
        altered(single, tmp_path / name, lambda one, half=half: one.isel(cell=half))
        for name, half in (("west", slice(0, 4)), ("east", slice(4, 8)))
    ]
    refused(halves, cube, tmp_path / "scores", "no cell that all forecasts have", "evaluate them separately")


def test_forecasts_of_other_periods_are_scored_on_their_common_days(tmp_path, cube, single):
    early = altered(single, tmp_path / "early", of_issue_days(slice(0, 60)))
    late = altered(single, tmp_path / "late", of_issue_days(slice(20, None)))
    mine = evaluate([early, late], cube, tmp_path / "scores")
    both = altered(single, tmp_path / "both", of_issue_days(slice(20, 60)))
    alone = evaluate([both], cube, tmp_path / "alone")
    assert mine.sizes["time"] == 40
    assert_alike(mine.isel(model=[0, 2, 3, 4]), alone)
    assert mine.attrs["test_period"] == "2020-04-21:2020-06-01"
    count = ISSUES.stop - ISSUES.start
    assert "LSTM (early): 20 of 60 issue days, which not all forecasts have" in mine.attrs["left_out"]
    assert f"LSTM (late): {count - 60} of {count - 20} issue days" in mine.attrs["left_out"]
    never = altered(single, tmp_path / "never", of_issue_days(slice(60, None)))
    refused([early, never], cube, tmp_path / "none", "no issue day in common", "2020-03-31 .. 2020-05-29")


def test_an_archive_of_irregular_issue_days_is_scored_on_each_of_them(tmp_path, cube, single):
    days = np.array([0, 1, 2, 7, 9, 30, 31, 50, 80])
    archive = altered(single, tmp_path / "archive", of_issue_days(days))
    mine = evaluate([archive], cube, tmp_path / "scores", significance=True)
    with open_cube(cube) as opened, xr.open_dataset(single) as forecast:
        observed, forecast = opened["swvl1"].to_numpy(), forecast["swvl1"].to_numpy()[:, days]
    issued = ISSUES.start + days
    for lead in range(1, LEADS + 1):
        error = forecast[..., lead - 1] - observed[:, issued + lead]
        of_persistence = observed[:, issued] - observed[:, issued + lead]
        error[np.isnan(of_persistence)] = np.nan
        squares = np.ma.masked_invalid(error.astype(np.float64) ** 2)
        expected = np.sqrt(squares.mean(axis=1).filled(np.nan))
        got = mine["rmse"].sel(model="LSTM", lead=lead, target="swvl1").to_numpy()
        known = np.isfinite(got)
        np.testing.assert_allclose(got[known], expected[known], rtol=1e-6)
    np.testing.assert_array_equal(mine["time"], DAYS[issued])
    ahead = np.unique(issued[:, None] + np.arange(1, LEADS + 1))
    before = np.arange(ahead[0] - 14, ahead[0])
    np.testing.assert_array_equal(mine["day"], DAYS[np.concatenate([before, ahead])])


def test_forecasts_are_scored_as_the_observations_come(tmp_path, cube, single, scores):
    """The cube of the observations may end within the forecast days, and begin after the training."""
    days = slice(TEST.start - 1, TEST.start + 20)
    new = stations(tmp_path / "new", cube, cells=np.arange(8), days=days)
    mine = evaluate([single], new, tmp_path / "scores")
    assert list(mine["model"].to_numpy()) == ["LSTM", "persistence"]  # no day of training, from which others learn
    few = "all baselines but persistence, which need the training period: the cube has 1 day(s) of it"
    assert few in mine.attrs["left_out"]
    np.testing.assert_array_equal(mine["days"].isel(target=0, cell=0), [20, 19, 18])
    lost = f"{ISSUES.stop - ISSUES.start - 20} of {ISSUES.stop - ISSUES.start} issue days, whose forecast days are"
    assert lost in mine.attrs["left_out"]
    whole = altered(single, tmp_path / "whole", of_issue_days(slice(0, 20)))
    again = evaluate([whole], cube, tmp_path / "again")
    assert_alike(mine.sel(lead=[1]), again.sel(lead=[1]), ["LSTM"])
    same = {"lead": [1], "model": ["persistence"]}
    np.testing.assert_allclose(mine["rmse"].sel(same), again["rmse"].sel(same), rtol=1e-12)
    # Without validation days persistence is a point, and the scores say so.
    assert np.isnan(mine["coverage_90"].sel(model="persistence")).all()
    for words in (mine.attrs["baselines"], mine["crps"].attrs["long_name"]):
        assert "absolute error of a point forecast" in words
    assert "absolute error of a point forecast" not in again.attrs["baselines"] + again["crps"].attrs["long_name"]
    old = stations(tmp_path / "old", cube, cells=np.arange(8), days=slice(0, 300))
    refused([single], old, tmp_path / "none", "it covers 2019-01-01 .. 2019-10-27, none of the days of", "single.zarr")


def test_leads_that_not_all_have_are_left_out(tmp_path, cube, single, scores):
    short = made_forecast(tmp_path / "short", cube, leads=2, label="short", issues=ISSUES)
    mine = evaluate([single, short], cube, tmp_path / "scores")
    assert mine.sizes["lead"] == 2
    assert_alike(mine.sel(model=["LSTM"]), scores.isel(lead=slice(0, 2)).sel(model=["LSTM"]))
    assert "LSTM: leads beyond 2 d, which not all forecasts have" in mine.attrs["left_out"]


def test_days_that_a_run_learnt_from_are_never_scored(tmp_path, cube, single):
    """Of whichever forecast: here the other one was trained on the first days of the test."""
    seen = made_forecast(tmp_path / "seen", cube, label="seen", train_period="2019-01-01:2020-04-10", **SEVERAL)
    mine = evaluate([single, seen], cube, tmp_path / "scores")
    assert mine["time"][0] == np.datetime64("2020-04-10")
    assert "10 of 89 issue days, whose forecast days are in training or validation" in mine.attrs["left_out"]


@pytest.mark.parametrize("fill_days", [0, 3])
def test_baselines_start_from_soil_moisture_as_old_as_the_forecasts_may(tmp_path, fill_days):
    """Observed every third day, as by a satellite: without the older value hardly a forecast could be scored."""
    observed_on = np.arange(len(DAYS)) % 3 == 0
    whole = made_cube(tmp_path / "whole")
    sparse = stations(
        tmp_path / "sparse", whole, cells=np.arange(8), days=slice(None),
        change=lambda values: np.where(observed_on, values, np.nan),
    )  # fmt: skip
    forecast = made_forecast(tmp_path / "f", whole, config=f'{{"task": {{"fill_days": {fill_days}}}}}', issues=ISSUES)
    if not fill_days:
        refused([forecast], sparse, tmp_path / "scores", "no cell-day of swvl1 to score: persistence has no value")
        return
    scores = evaluate([forecast], sparse, tmp_path / "scores")
    with open_cube(sparse) as opened:
        observed = opened["swvl1"].to_numpy()
    days = slice(ISSUES.start + 1, ISSUES.stop + 1)
    expected = persistence(observed, DAYS, np.zeros(len(DAYS), dtype=bool), days, fill_days=fill_days)
    error = (expected - observed[:, days])[0]
    got = scores["rmse"].sel(model="persistence", target="swvl1", lead=1)[0]
    np.testing.assert_allclose(got, np.sqrt(np.nanmean(error.astype(np.float64) ** 2)), rtol=1e-6)
    counted = np.isfinite(error).sum()
    assert counted == np.isfinite(observed[0, days]).sum()  # every observation is scored
    np.testing.assert_array_equal(scores["days"][0, 0, 0], counted)
