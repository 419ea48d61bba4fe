"""The verdict: true in either direction, of one lead or several, with what is known and tested."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from soilcast.reporting import verdict
from soilcast.reporting.over_cells import best_network
from soilcast.reporting.scores import guided_networks, plain_network
from soilcast.reporting.tables import number
from soilcast.reporting.verdict import UNTESTED
from tests.helpers.scores_factory import make_scores, with_rmse, with_tests


def sentences(scores: xr.Dataset) -> list[str]:
    return [sentence.replace("\N{NO-BREAK SPACE}", " ") for sentence in verdict(scores)]


# One lead


def test_verdict_when_no_network_beats_persistence() -> None:
    scores = with_rmse(make_scores(), LSTM=0.035, PHY_LSTM=0.031, PHYs_LSTM=0.04, persistence=0.012)
    first, *others = sentences(scores)
    assert first.startswith(
        "No network beats persistence: best is PHY-LSTM with a median RMSE of 0.0310 against 0.0120"
    )
    assert "PHY-LSTM has a lower error than persistence on 0 % of the scored area." in others
    assert others[-1] == "Differences are not tested for significance."


def test_verdict_when_networks_beat_persistence() -> None:
    scores = with_rmse(make_scores(), LSTM=0.03, PHY_LSTM=0.02, PHYs_LSTM=0.05, persistence=0.04)
    found = sentences(scores)
    assert found[0].startswith("2 of 3 networks beat persistence; best is PHY-LSTM with a median RMSE of 0.0200")
    assert "(50 % lower)" in found[0]
    assert any("PHY-LSTM 33 % lower, PHYs-LSTM 67 % higher" in one for one in found)
    scores["rmse"].loc[{"model": "PHYs-LSTM"}] = 0.03
    assert verdict(scores)[0].startswith("All 3 networks beat persistence")


def test_verdict_when_equal_to_the_digits_shown() -> None:
    scores = with_rmse(make_scores(), LSTM=0.03001, PHY_LSTM=0.05, PHYs_LSTM=0.05, persistence=0.03)
    assert verdict(scores)[0].startswith("The best network only equals persistence to the digits shown: LSTM")


def test_verdict_of_a_single_network() -> None:
    scores = make_scores(networks=("LSTM",))
    assert verdict(with_rmse(scores, LSTM=0.01, persistence=0.02))[0].startswith("LSTM beats persistence")
    worse = verdict(with_rmse(scores, LSTM=0.03, persistence=0.02))[0]
    assert worse.startswith("The network does not beat persistence: LSTM with a median RMSE of 0.0300 against 0.0200")


def test_verdict_names_a_stronger_baseline_and_a_mean_that_disagrees() -> None:
    scores = with_rmse(make_scores(networks=("LSTM",), cells=5), LSTM=0.02, persistence=0.03)
    scores["rmse"].loc[{"model": "damped anomaly"}] = 0.01
    scores["rmse"].loc[{"model": "LSTM", "cell": scores["cell"][0]}] = 0.9
    text = " ".join(verdict(scores))
    assert "The strongest baseline, damped anomaly, is better than every network: 0.0100 against 0.0200." in text
    assert "By the mean over the area it is the other way round" in text


@pytest.mark.slow
@settings(deadline=None)
@given(st.floats(0.0001, 0.2), st.floats(0.0001, 0.2))
def test_verdict_never_contradicts_the_numbers(network: float, persistence: float) -> None:
    scores = with_rmse(make_scores(networks=("LSTM",), cells=3, picks=1), LSTM=network, persistence=persistence)
    first = verdict(scores)[0]
    ours, theirs = number(network, "rmse"), number(persistence, "rmse")
    assert ours in first
    assert theirs in first
    assert first.startswith("LSTM beats persistence") == (ours != theirs and network < persistence)
    assert ("does not beat" in first) == (ours != theirs and network > persistence)


def test_one_lead_of_several_targets_has_a_verdict_for_each() -> None:
    scores = make_scores(networks=("LSTM",), targets=("swvl1", "swvl2"), cells=4, factors={"LSTM": 0.8})
    first, *others = sentences(scores)
    assert first.startswith("Over 2 pairs of target and lead, the best network of each target beats persistence")
    assert [one.split()[0] for one in others if "beats persistence, with a median RMSE" in one] == ["swvl1:", "swvl2:"]


def test_what_intervals_cover_is_part_of_the_verdict_on_one_lead() -> None:
    scores = make_scores(networks=("LSTM",), with_quantiles=("LSTM",), cells=4)
    scores["coverage_90"].loc[{"model": "LSTM"}] = 0.7
    expected = (
        "The 90 % interval of LSTM covers 70.0 % of the observations: less than 88 to 92 %, so the interval is too "
        "narrow."
    )
    assert expected in sentences(scores)
    scores["coverage_90"].loc[{"model": "LSTM"}] = 0.9
    assert any(one.endswith("about 90 % (88 to 92 %) at lead 1.") for one in sentences(scores))


def test_the_plain_network_is_known_by_its_config_and_not_by_its_label() -> None:
    scores = with_rmse(
        make_scores(networks=("guided", "GRU", "other")), guided=0.02, GRU=0.04, other=0.03, persistence=0.05
    )
    assert not any("Against the plain" in one for one in verdict(scores))  # nothing is guided
    losses = {"guided": {"balance": "multi"}, "GRU": {"balance": "none"}, "other": {}}
    scores.attrs["configs"] = json.dumps({label: {"loss": loss} for label, loss in losses.items()})
    assert plain_network(scores) == "GRU"
    assert guided_networks(scores) == ["guided"]
    assert "Against the plain GRU (0.0400), the median RMSE is: guided 50 % lower." in sentences(scores)
    for damaged in ({}, {"guided": "x", "GRU": 5}, {"guided": {"loss": "x"}}):
        scores.attrs["configs"] = json.dumps(damaged)
        assert not guided_networks(scores)


# Several leads


def made(weather: str = "none", **factors: float) -> xr.Dataset:
    """Scores of one target and four leads, in which models err a given multiple of persistence everywhere."""
    networks = [name for name in factors if name != "climatology"]
    return make_scores(
        networks=networks,
        with_quantiles=networks,
        leads=4,
        cells=4,
        picks=1,
        days=30,
        factors={"climatology": 2.0} | factors,
        weather=weather,
    )


def with_coverage(scores: xr.Dataset, *by_lead: float) -> xr.Dataset:
    scores["coverage_90"].loc[{"model": "LSTM"}] = np.array(by_lead)[:, np.newaxis]
    return scores


def test_verdict_when_the_network_beats_all_baselines() -> None:
    first, cells, _, _, last = sentences(made(LSTM=0.7))
    assert cells == "Only 3 of 4 cells are scored."
    assert first == (
        "swvl1: LSTM beats persistence at all 4 leads (median RMSE ratio 0.700 at lead 1 and 0.700 at lead 4). "
        "It beats the damped anomaly at all 4 leads and climatology at all 4 leads."
    )
    assert last == UNTESTED


def test_verdict_when_it_wins_at_some_leads() -> None:
    scores = made(LSTM=0.7)
    for name in ("ratio", "rmse"):
        scores[name].loc[{"model": "LSTM", "lead": 3}] *= 2
    first = sentences(scores)[0]
    assert first.startswith("swvl1: LSTM beats persistence at 3 of 4 leads (1 to 2, 4) (median RMSE ratio 0.700")
    assert "the damped anomaly at 3 of 4 leads (1 to 2, 4) and climatology at all 4 leads." in first


def test_verdict_when_no_network_wins() -> None:
    first = sentences(made(LSTM=1.2, GRU=1.1))[0]
    assert first == (
        "swvl1: no network beats persistence at any lead; best is GRU (median RMSE ratio 1.100 at lead 1 and 1.100 at "
        "lead 4). It beats the damped anomaly at no lead and climatology at all 4 leads."
    )
    assert sentences(made(LSTM=1.2))[0].startswith("swvl1: LSTM beats persistence at no lead (median RMSE ratio 1.200")
    equal = sentences(made(LSTM=0.9999))[0]
    assert equal.startswith("swvl1: LSTM beats persistence at no lead (median RMSE ratio 1.000")


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.floats(0.5, 1.5), st.floats(0.5, 2.5))
def test_verdict_by_lead_never_contradicts_the_numbers(network: float, climatology: float) -> None:
    first = sentences(made(LSTM=network, climatology=climatology))[0]
    assert ("at no lead (median" in first) == (float(f"{network:.3f}") >= 1)
    assert first.endswith("climatology at all 4 leads.") == (float(f"{network / climatology:.3f}") < 1)
    assert f"{network:.3f} at lead 1" in first


@pytest.mark.parametrize(
    ("by_lead", "text"),
    [
        ((0.88, 0.9, 0.91, 0.92), "covers 88.0 to 92.0 % of the observations: about 90 % (88 to 92 %) at all 4 leads."),
        ((0.9, 0.9, 0.9, 0.9), "covers 90.0 % of the observations: about 90 % (88 to 92 %) at all 4 leads."),
        ((0.9, 0.8, 0.85, 0.95), "covers 80.0 to 95.0 % of the observations: about 90 % (88 to 92 %) only at 1 of 4"),
        ((0.5, 0.6, 0.7, 0.8), "less than 88 to 92 % at every lead, so the interval is too narrow."),
        ((0.95, 0.96, 0.97, 1.0), "more than 88 to 92 % at every lead, so the interval is too wide."),
        ((0.8, 0.8, 0.95, 0.95), "about 90 % (88 to 92 %) only at no lead."),
    ],
)
def test_coverage_is_stated_as_it_is(by_lead: tuple[float, ...], text: str) -> None:
    assert text in sentences(with_coverage(made(LSTM=0.7), *by_lead))[2]


def test_coverage_is_of_the_best_network_that_has_intervals() -> None:
    scores = make_scores(networks=("GRU", "LSTM"), with_quantiles=("LSTM",), leads=4, cells=4, picks=1, days=30)
    first, _, second, _ = sentences(with_coverage(scores, 0.9, 0.9, 0.9, 0.9))
    assert first.startswith("swvl1: GRU beats persistence")
    assert second.startswith("swvl1: the 90 % interval of LSTM covers 90.0 %")


def test_verdict_over_several_targets_counts_cases() -> None:
    scores = make_scores(
        networks=("LSTM", "PHYs-LSTM"),
        targets=("swvl1", "swvl2"),
        leads=5,
        cells=4,
        picks=1,
        days=30,
        factors={"LSTM": 0.95, "PHYs-LSTM": 1.3},
    )
    assert sentences(scores)[0] == (
        "Over 10 pairs of target and lead, the best network of each target beats persistence at all 10, the damped "
        "anomaly at 0 of 10 and climatology at all 10."
    )


def test_the_best_network_is_the_one_with_the_least_ratio() -> None:
    scores = made(GRU=0.9, LSTM=0.8)
    assert best_network(scores, "swvl1") == "LSTM"
    scores["ratio"].loc[{"model": "LSTM", "lead": [1, 2, 3]}] = np.nan  # one that lacks leads is not compared
    assert best_network(scores, "swvl1") == "GRU"
    scores["ratio"][:] = np.inf  # persistence never errs
    assert best_network(scores, "swvl1") is None


# What was known, and what is tested


@pytest.mark.parametrize(("weather", "observed"), [("observed", True), ("LSTM: observed", True), ("forecast", False)])
@pytest.mark.parametrize("factor", [0.7, 1.2])
def test_a_perfect_weather_forecast_is_named_in_the_sentence(weather: str, observed: bool, factor: float) -> None:
    by_lead = sentences(with_tests(made(weather, LSTM=factor)))
    one = sentences(make_scores(networks=("LSTM",), cells=4, factors={"LSTM": factor}, weather=weather))
    two = sentences(make_scores(networks=("LSTM",), targets=("a", "b"), leads=2, cells=4, weather=weather))
    for scored in (by_lead, one, two):
        for sentence in scored:
            for part in sentence.split(". "):
                if "beat" in part or "lower" in part:
                    assert ("with observed weather" in part.lower()) == observed


def test_observed_weather_of_another_network_is_not_named() -> None:
    assert "observed weather" not in " ".join(sentences(made("LSTM: none; GRU: observed", LSTM=0.7, GRU=0.9)))


def test_tested_differences_are_stated_and_nothing_is_called_untested() -> None:
    scores = with_tests(made(LSTM=0.7), LSTM=0.001)
    assert UNTESTED not in sentences(scores)
    assert sentences(scores)[-1] == (
        "swvl1: the median RMSE of LSTM is significantly (p < 0.05) lower than that of persistence at all 4 leads, "
        "that of the damped anomaly at all 4 leads and that of climatology at all 4 leads."
    )
    chance = with_tests(made(LSTM=0.7), LSTM=0.3)
    assert "lower than that of persistence at no lead, " in sentences(chance)[-1]
    mixed = made(LSTM=0.7)
    mixed["rmse"].loc[{"model": "LSTM", "lead": [3, 4]}] *= 2
    assert sentences(with_tests(mixed, ("persistence",), LSTM=0.001))[-1] == (
        "swvl1: the median RMSE of LSTM is significantly (p < 0.05) lower than that of persistence at 2 of 4 leads (1 "
        "to 2), and significantly higher than that of persistence at 2 of 4 leads (3 to 4)."
    )


def test_too_short_a_test_period_leaves_differences_untested() -> None:
    scores = with_tests(made(LSTM=0.7), LSTM=np.nan, GRU=np.nan)
    assert sentences(scores)[-1] == UNTESTED
    assert not any("significantly" in one for one in sentences(scores))


def test_rows_of_several_seeds_have_names_of_their_own() -> None:
    scores = with_tests(made(LSTM=0.7)).assign_coords(row=["the LSTM of three seeds"])
    assert not any("significan" in one for one in sentences(scores))
