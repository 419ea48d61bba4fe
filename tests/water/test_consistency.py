"""Consistency with the water balance (Eq. 19) at every lead, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from soilcast.cube import assemble, cells_of_places, save_cube
from soilcast.verify import evaluate
from soilcast.verify.dayblocks import sum_day_blocks
from soilcast.water import WaterConfig
from tests.helpers.forecast_factory import DAYS, TEST, altered, made_cube, made_forecast

RAIN = {"terms": ["P"], "deep_layers": ["swvl2", "swvl3"]}


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """One cell, two leads, five issue days: the scores, and the paths of the forecast and the cube."""
    folder = tmp_path_factory.mktemp("by_hand")
    test = slice(TEST.start, TEST.start + 6)
    # W1 of P alone, so that dW is the sign of the change of rain [mm].
    rain = np.full((1, len(DAYS)), 1.0)
    rain[0, test.start - 2 : test.stop] = [1, 2, 3, 1, 4, 4, 2, 5]
    moisture = np.full((1, len(DAYS)), 0.30)
    moisture[:, ::2] = 0.31  # so that the damped anomaly has something to learn
    moisture[0, test.start - 1 : test.stop] = [0.20, 0.25, 0.22, 0.21, 0.26, 0.24, 0.23]
    places = cells_of_places(np.zeros(1), np.zeros(1), np.ones(1), ["one"])
    variables = {"swvl1": moisture, "tp": rain / 1000, "slthick1": np.full(1, 0.07)}
    about = {"title": "one cell", "source": "test", "content": "numbers"}
    save_cube(assemble(variables, cells=places, time=DAYS, **about), folder / "cube")
    # Issue days 0 .. 4 of which day 0 is the one before the test; lead 1 is of the days 1 .. 5, lead 2 of 2 .. 6.
    central = np.array([[[0.21, 0.20], [0.26, 0.27], [0.20, 0.22], [0.21, 0.20], [0.25, 0.25]]], dtype=np.float32)
    period = ":".join(str(day.astype("datetime64[D]")) for day in (DAYS[test.start], DAYS[test.stop - 1]))
    made_forecast(
        folder / "forecast",
        folder / "cube",
        leads=2,
        issues=slice(test.start - 1, test.start + 4),
        water=RAIN,
        test_period=period,
        change=lambda one: one.assign(swvl1=(("cell", "time", "lead"), central)),
    )
    scores = evaluate([folder / "forecast"], folder / "cube", folder / "scores")
    return scores.isel(target=0, cell=0), folder


def test_the_first_lead_is_compared_with_what_was_observed_the_day_before(by_hand):
    scores, _ = by_hand
    # Days 1 .. 5: rain 3 1 4 4 2 after 2, so dW is + - + 0 -. Forecast less observed of the day before:
    # 0.21 - 0.20 +, 0.26 - 0.25 +, 0.20 - 0.22 -, (0.21 - 0.21), 0.25 - 0.26 -. Alike on days 1 and 5 of 1, 2, 3, 5.
    assert float(scores["consistency_w1"].sel(model="LSTM", lead=1)) == 2 / 4
    # Observed changes: + (0.20, 0.25), - (0.25, 0.22), - (0.22, 0.21), + (0.21, 0.26), - (0.26, 0.24). Eq. 13 drops
    # day 3, on which rain grew and soil dried.
    assert float(scores["consistency_w1_masked"].sel(model="LSTM", lead=1)) == 2 / 3


def test_the_second_lead_is_compared_with_the_first_of_the_same_forecast(by_hand):
    scores, _ = by_hand
    # Days 2 .. 6: dW is - + 0 - +. Lead 2 less lead 1: 0.20 - 0.21 -, 0.27 - 0.26 +, (0.22 - 0.20), 0.20 - 0.21 -,
    # 0.25 - 0.25 nothing. Alike on days 2, 3, 5 of 2, 3, 5.
    assert float(scores["consistency_w1"].sel(model="LSTM", lead=2)) == 1.0
    # Eq. 13 drops day 3, and day 6, on which nothing moves anyhow.
    assert float(scores["consistency_w1_masked"].sel(model="LSTM", lead=2)) == 1.0


def test_persistence_never_moves(by_hand):
    scores, _ = by_hand
    assert np.isnan(scores["consistency_w1"].sel(model="persistence")).all()


def test_day_blocks_count_the_same_days(by_hand):
    scores, folder = by_hand
    readings = {"consistency_w1": ("single", WaterConfig(**RAIN))}
    sums = sum_day_blocks([folder / "forecast"], folder / "cube", readings)
    for lead in (1, 2):
        found = sums["swvl1", lead].scores("LSTM")
        for name in ("consistency_w1", "consistency_w1_masked"):
            assert float(found[name][0, 0]) == float(scores[name].sel(model="LSTM", lead=lead))
    np.testing.assert_array_equal(sums["swvl1", 2].daily["consistency_w1"][:, 0, 0, 0], [3, 3])


def test_a_gap_at_a_lead_leaves_the_day_out_at_the_next(by_hand, tmp_path):
    _, folder = by_hand

    def gap(forecast):
        forecast["swvl1"][{"time": 0, "lead": 0}] = np.nan
        return forecast

    gappy = altered(folder / "forecast", tmp_path / "gappy", gap)
    scores = evaluate([gappy], folder / "cube", tmp_path / "scores").isel(target=0, cell=0)
    np.testing.assert_array_equal(scores["days"], [4, 5])
    sums = sum_day_blocks([gappy], folder / "cube", {"consistency_w1": ("single", WaterConfig(**RAIN))})
    np.testing.assert_array_equal(sums["swvl1", 2].daily["consistency_w1"][:, 0, 0, 0], [2, 2])


@pytest.mark.slow
def test_each_target_has_the_balances_that_do_not_hold_it(tmp_path):
    cube = made_cube(tmp_path / "cube")
    both = {"targets": ("swvl1", "swvl2"), "leads": 2}
    scores = evaluate([made_forecast(tmp_path / "f", cube, **both)], cube, tmp_path / "scores")
    lstm = scores.sel(model="LSTM")
    for name in ("consistency_w2", "consistency_w2_masked"):
        assert np.isfinite(lstm[name].sel(target="swvl1")).any("cell").all()
        assert np.isnan(lstm[name].sel(target="swvl2")).all()
        assert np.isfinite(lstm["consistency_w1"].sel(target="swvl2")).any("cell").all()
    assert "consistency_w2 is left out: its water balance contains the target swvl2 itself" in scores.attrs["water"]


@pytest.mark.slow
def test_the_first_guided_run_gives_the_balance(tmp_path):
    cube = made_cube(tmp_path / "cube")
    made = [
        made_forecast(tmp_path / "plain", cube, label="plain", water={"snow": "code"}),
        made_forecast(tmp_path / "guided", cube, label="guided", balance="multi", water={"snow": "closing"}),
        made_forecast(tmp_path / "other", cube, label="other", balance="single", water={"runoff": "total"}),
    ]
    assert (
        "of guided: terms P, E, SRO, dSD; sign of its change; snow closing"
        in (evaluate(made, cube, tmp_path / "scores").attrs["water"])
    )
    assert (
        "of plain: terms P, E, SRO, dSD; sign of its change; snow code"
        in (evaluate(made[:1], cube, tmp_path / "alone").attrs["water"])
    )


def test_without_the_variables_of_any_balance_there_is_no_consistency(tmp_path):
    cube = made_cube(tmp_path / "cube", lacking=("tp",))
    scores = evaluate([made_forecast(tmp_path / "f", cube, leads=2)], cube, tmp_path / "scores")
    assert not [name for name in scores.data_vars if name.startswith("consistency")]
    assert "consistency_w1 is left out: the cube lacks tp." in scores.attrs["water"]
