"""Which forecasts may be evaluated together, on which cube, and every refusal."""

from __future__ import annotations

import json

import numpy as np
import pytest

from soilcast.cube import assemble, cells_of_places, open_cube, save_cube
from soilcast.verify import evaluate
from soilcast.verify.entries import open_entries
from tests.helpers.forecast_factory import DAYS, LEADS, LEVELS, TEST, altered, made_forecast, refused

SEVERAL = {"leads": LEADS, "levels": LEVELS}


def test_inputs_that_are_something_else_are_refused(tmp_path, cube, single):
    out = tmp_path / "scores"
    refused([], cube, out, "no forecast is given")
    refused([single, tmp_path / "none.zarr"], cube, out, "none.zarr: no such forecast")
    refused([cube], cube, out, "a forecast is expected, but this is a cube")
    refused([single, cube], cube, out, "a forecast is expected, but this is a cube")
    refused([single], single, out, "a cube is expected, but this is a forecast")


def test_forecasts_of_another_latency_are_not_evaluated_together(tmp_path, cube, single):
    other = made_forecast(tmp_path / "f.zarr", cube, **SEVERAL, latency_days=5)
    words = ("f.zarr: latency_days is 5, but 0 in", "single.zarr", "evaluate them separately")
    refused([single, other], cube, tmp_path / "scores", *words)


@pytest.mark.slow
def test_the_same_period_written_otherwise_is_the_same(tmp_path, cube, plain):
    other = made_forecast(tmp_path / "f.zarr", cube, train_period="2019")
    assert evaluate([plain, other], cube, tmp_path / "scores").sizes["model"] == 5


@pytest.mark.slow
def test_targets_that_not_all_have_are_left_out(tmp_path, cube, single):
    both = {"targets": ("swvl1", "swvl2"), **SEVERAL}
    first = made_forecast(tmp_path / "point.nc", cube, **(both | {"levels": ()}))
    quantiles_of_the_second = made_forecast(
        tmp_path / "f.zarr", cube, **both, change=lambda one: one.drop_vars("swvl1_quantile")
    )
    point = made_forecast(tmp_path / "point", cube, **(SEVERAL | {"levels": ()}))
    scores = evaluate([first, quantiles_of_the_second, point], cube, tmp_path / "scores")
    assert list(scores["target"].to_numpy()) == ["swvl1"]
    assert scores.attrs["targets"] == "swvl1"
    assert "quantile" not in scores.dims  # the second has some, but of another target
    second = made_forecast(tmp_path / "second", cube, **(SEVERAL | {"targets": ("swvl2",)}))
    words = ("second: its set of targets is swvl2, but swvl1 in", "point.nc", "evaluate them separately")
    refused([first, single, second], cube, tmp_path / "none", *words)


@pytest.mark.parametrize("leads", [1, LEADS])
@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"train_period": "2019-01-01:2020-07-02"}, "overlap training or validation (first day 2020-04-01)"),
        ({"test_period": "soon"}, "is not a period"),
        ({"targets": "swvl3"}, "no swvl3 (cell, time, lead) in it"),
        ({"targets": "swvl4"}, "no swvl4 (cell, time, lead) in it"),
        ({"targets": "swvl1,swvl1"}, "its targets swvl1,swvl1 are not distinct variables"),
        ({"targets": "../cube"}, "its targets ../cube are not distinct variables"),
        ({"latency_days": -1}, "latency_days is not a number of days"),
        ({"latency_days": "5"}, "latency_days is not a number of days"),
        ({"weather": 3}, "the forecast lacks the attribute(s) weather"),
        ({"config": "{"}, "config is not a JSON"),
        ({"training_log": "{}"}, "training_log is not a JSON list"),
        ({"config": '{"model": "phy-lstm", "water": {"snoww": "paper"}}'}, "snoww"),
        ({"config": '{"task": {"fill_days": -1}}'}, "task.fill_days is not a number of days"),
        ({"config": '{"task": 5}'}, "task.fill_days is not a number of days"),
        ({"label": 5}, "lacks the attribute(s) label"),
    ],
)
def test_a_forecast_that_contradicts_itself_is_refused(tmp_path, cube, leads, attributes, words):
    made = made_forecast(tmp_path / "f.zarr", cube, leads=leads, change=lambda one: one.assign_attrs(attributes))
    refused([made], cube, tmp_path / "scores", "f.zarr", words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda one: one.isel(time=slice(None, None, -1)), "its issue days are not ascending days"),
        (lambda one: one.assign_coords(time=np.arange(one.sizes["time"])), "its issue days are not dates"),
        (lambda one: one.assign_coords(time=one["time"] + np.timedelta64(6, "h")), "are not ascending days"),
        (lambda one: one.assign_coords(lead=[2, 3, 4]), "its leads are not 1, 2, .. days"),
        (lambda one: one.drop_vars("lead"), "its leads are not 1, 2, .. days"),
        (lambda one: one.isel(lead=0), "no swvl1 (cell, time, lead) in it"),
        (lambda one: one.assign_coords(quantile=[0.05, 0.25, 0.25, 0.75, 0.95]), "are not ascending within 0 .. 1"),
        (lambda one: one.assign_coords(quantile=[0.05, 0.25, 0.5, 0.75, 1.0]), "are not ascending within 0 .. 1"),
        (lambda one: one.assign_coords(quantile=[5.0, 25, 50, 75, 95]), "are not ascending within 0 .. 1"),
        (lambda one: one.drop_vars("quantile"), "are not ascending within 0 .. 1"),
        (lambda one: one.transpose("time", "cell", ...), "no swvl1 (cell, time, lead) in it"),
        (lambda one: one.assign(swvl1_quantile=one["swvl1"]), "no swvl1_quantile (cell, time, lead, quantile) in it"),
        (lambda one: one.assign(swvl1=one["swvl1"].astype(np.int32)), "no swvl1 (cell, time, lead) in it"),
        (lambda one: one.drop_vars("lat"), "no lat (cell) in it"),
        (lambda one: one.assign_coords(lat=one["lat"] * np.nan), "none of its 8 cells is one of the cube's 8"),
    ],
)
def test_damaged_forecasts_are_refused(tmp_path, cube, single, change, words):
    refused([altered(single, tmp_path / "f.nc", change)], cube, tmp_path / "scores", "f.nc: ", words)


@pytest.mark.parametrize(
    ("loss", "is_guided"),
    [(None, False), ("rmse", False), ({}, False), ({"balance": "none"}, False), ({"balance": "multi"}, True)],
)
def test_a_run_is_guided_if_its_loss_has_a_balance(tmp_path, cube, loss, is_guided):
    config = json.dumps({"model": "phy-lstm"} | ({} if loss is None else {"loss": loss}))
    made = made_forecast(tmp_path / "f.zarr", cube, config=config)
    with open_cube(cube) as opened:
        assert open_entries([made], opened, reserved=())[0].is_guided is is_guided


def test_a_test_period_may_begin_with_the_first_day_of_the_cube(tmp_path):
    """The first issue day is then the day before it."""
    rng = np.random.default_rng(0)
    moisture = 0.3 + 0.02 * rng.standard_normal((3, len(DAYS)))
    places = cells_of_places(np.arange(3.0), np.zeros(3), np.ones(3), ["a", "b", "c"])
    about = {"title": "made", "source": "test", "content": "numbers"}
    variables = {"swvl1": moisture, "slthick1": np.full(3, 0.07)}
    tested = DAYS[TEST]
    save_cube(assemble(variables, cells=places, time=DAYS, **about), tmp_path / "whole")
    save_cube(
        assemble({**variables, "swvl1": moisture[:, TEST.start :]}, cells=places, time=tested, **about),
        tmp_path / "cube",
    )
    made = made_forecast(
        tmp_path / "f",
        tmp_path / "whole",
        issues=slice(TEST.start - 1, TEST.start + 29),
        test_period="2020-04-01:2020-04-30",
        train_period="2020-05-01:2020-05-31",
        validation_period="2020-06-01:2020-06-30",
    )
    scores = evaluate([made], tmp_path / "cube", tmp_path / "scores")
    np.testing.assert_array_equal(scores["days"], 29)  # persistence does not know the first
    assert scores["time"][0] == np.datetime64("2020-03-31")
    assert scores["day"][0] == np.datetime64("2020-04-01")
