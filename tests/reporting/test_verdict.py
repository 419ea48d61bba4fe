"""The verdict: true in either direction, of one lead or several, with what is known and tested."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from soilcast.reporting import verdict
from soilcast.reporting.over_cells import best_network
from soilcast.reporting.scores import guided_networks, plain_network
from soilcast.reporting.sections.significance import significance
from soilcast.reporting.sections.training import training
from soilcast.reporting.tables import number
from soilcast.reporting.verdict import UNTESTED
from tests.helpers.scores_factory import few, make_scores, with_rmse, with_tests


def sentences(scores: xr.Dataset) -> list[str]:
    return [sentence.replace("\N{NO-BREAK SPACE}", " ") for sentence in verdict(scores)]


# One lead


def test_verdict_when_no_network_beats_the_best_baseline() -> None:
    scores = with_rmse(make_scores(), LSTM=0.035, PHY_LSTM=0.031, PHYs_LSTM=0.04, persistence=0.012)
    first, *others = sentences(scores)
    assert first == (
        "Without weather of the days ahead, against the best baseline PHY-LSTM (best of 3 networks) is worse than "
        "persistence at lead 1, by the digits shown, with a median RMSE of 0.0310 against 0.0120 m³ m⁻³ (158 % higher)."
    )
    assert "PHY-LSTM has a lower error than persistence on 0 % of the scored area." in others
    assert others[-1] == "Differences are not tested for significance."


def test_verdict_when_a_network_beats_all_baselines() -> None:
    baselines = {"damped anomaly": 0.04, "climatology": 0.05}
    scores = with_rmse(make_scores(), LSTM=0.03, PHY_LSTM=0.02, PHYs_LSTM=0.05, persistence=0.045, **baselines)
    found = sentences(scores)
    assert found[0] == (
        "Without weather of the days ahead, against the best baseline PHY-LSTM (best of 3 networks) is better than the "
        "damped anomaly at lead 1, by the digits shown, with a median RMSE of 0.0200 against 0.0400 m³ m⁻³ (50 % "
        "lower)."
    )
    assert any("PHY-LSTM 33 % lower, PHYs-LSTM 67 % higher" in one for one in found)


def test_verdict_when_equal_to_the_digits_shown() -> None:
    scores = with_rmse(make_scores(networks=("LSTM",)), LSTM=0.01001, persistence=0.01)
    assert sentences(scores)[0] == (
        "Without weather of the days ahead, against the best baseline LSTM equals persistence at lead 1, by the digits "
        "shown, with a median RMSE of 0.0100 against 0.0100 m³ m⁻³."
    )


def test_verdict_names_a_mean_that_disagrees() -> None:
    scores = with_rmse(make_scores(networks=("LSTM",), cells=5), LSTM=0.02, persistence=0.03)
    scores["rmse"].loc[{"model": "damped anomaly"}] = 0.025
    scores["rmse"].loc[{"model": "LSTM", "cell": scores["cell"][0]}] = 0.9
    assert any(one.startswith("By the mean over the area it is the other way round") for one in sentences(scores))


@pytest.mark.slow
@settings(deadline=None)
@given(st.floats(0.0001, 0.2), st.floats(0.0001, 0.01))
def test_verdict_never_contradicts_the_numbers(network: float, persistence: float) -> None:
    scores = with_rmse(make_scores(networks=("LSTM",), cells=3, picks=1), LSTM=network, persistence=persistence)
    for baseline in ("damped anomaly", "climatology"):
        scores["rmse"].loc[{"model": baseline}] = 0.02
    first = verdict(scores)[0]
    ours, theirs = number(network, "rmse"), number(persistence, "rmse")
    assert f"{ours} against {theirs}" in first
    assert ("is better than persistence" in first) == (ours != theirs and network < persistence)
    assert ("is worse than persistence" in first) == (ours != theirs and network > persistence)
    assert ("equals persistence" in first) == (ours == theirs)


def test_one_lead_of_several_targets_has_a_verdict_for_each() -> None:
    scores = make_scores(networks=("LSTM",), targets=("swvl1", "swvl2"), cells=4, factors={"LSTM": 0.8})
    first, *others = sentences(scores)
    assert first == (
        "Without weather of the days ahead, over 2 pairs of target and lead the best network of each target is better "
        "than the best baseline at 2 of 2, by the digits shown."
    )
    assert [one.split()[0] for one in others if "against the best baseline LSTM is better than" in one] == [
        "swvl1:",
        "swvl2:",
    ]


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


AHEAD = "swvl1: without weather of the days ahead, against the best baseline of each lead"


def test_verdict_when_the_network_beats_all_baselines() -> None:
    first, cells, _, _, last = sentences(made(LSTM=0.7))
    assert cells == "Only 3 of 4 cells are scored."
    assert first == (
        f"{AHEAD} LSTM is better than the damped anomaly at all 4 leads, by the digits shown, with a median RMSE ratio "
        "to persistence of 0.700 at lead 1 and 0.700 at lead 4."
    )
    assert last == UNTESTED


def test_the_best_baseline_is_that_of_each_lead_and_persistence_is_not_enough() -> None:
    scores = made(LSTM=0.95)
    scores["ratio"].loc[{"model": "climatology", "lead": [3, 4]}] = 0.8
    scores["ratio"].loc[{"model": "damped anomaly", "lead": [1, 2]}] = 0.97
    assert sentences(scores)[0].startswith(
        f"{AHEAD} LSTM is better than the damped anomaly at 2 of 4 leads (1 to 2) and is worse than climatology at 2 "
        "of 4 leads (3 to 4), by the digits shown, with a median"
    )
    scores["ratio"].loc[{"model": "LSTM", "lead": 2}] = 0.9703
    assert (
        f"{AHEAD} LSTM is better than the damped anomaly at 1 of 4 leads (1), equals the damped anomaly at 1 of "
        in (sentences(scores)[0])
    )


def test_verdict_when_no_network_wins() -> None:
    assert sentences(made(LSTM=1.2, GRU=1.1))[0] == (
        f"{AHEAD} GRU (best of 2 networks) is worse than the damped anomaly at all 4 leads, by the digits shown, with "
        "a median RMSE ratio to persistence of 1.100 at lead 1 and 1.100 at lead 4."
    )


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.floats(0.5, 1.5), st.floats(0.5, 2.5))
def test_verdict_by_lead_never_contradicts_the_numbers(network: float, climatology: float) -> None:
    first = sentences(made(LSTM=network, climatology=climatology))[0]
    mine, best = (float(f"{value:.3f}") for value in (network, min(0.93, climatology)))
    name = "climatology" if climatology < 0.93 else "the damped anomaly"
    assert (f"is better than {name} at all 4 leads" in first) == (mine < best)
    assert (f"is worse than {name} at all 4 leads" in first) == (mine > best)
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
    assert first.startswith(f"{AHEAD} GRU (best of 2 networks) is better than")
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
        "Without weather of the days ahead, over 10 pairs of target and lead the best network of each target is worse "
        "than the best baseline at 10 of 10, by the digits shown."
    )


def test_the_best_network_is_the_one_with_the_least_ratio() -> None:
    scores = made(GRU=0.9, LSTM=0.8)
    assert best_network(scores, "swvl1") == "LSTM"
    scores["ratio"].loc[{"model": "LSTM", "lead": [1, 2, 3]}] = np.nan  # one that lacks leads is not compared
    assert best_network(scores, "swvl1") == "GRU"
    scores["ratio"][:] = np.inf  # persistence never errs
    assert best_network(scores, "swvl1") is None


# What was known, and what is tested


WEATHERS = {
    "none": "without weather of the days ahead",
    "observed": "with observed weather of the days ahead (a perfect weather forecast, an upper bound)",
    "forecast": "with a weather forecast of the days ahead",
    "degraded": "with degraded weather of the days ahead",
}


@pytest.mark.parametrize("weather", WEATHERS)
@pytest.mark.parametrize("factor", [0.7, 1.2])
def test_the_weather_of_the_days_ahead_is_part_of_every_sentence_on_a_network(weather: str, factor: float) -> None:
    for attribute in (weather, f"LSTM: {weather}"):
        by_lead = sentences(with_tests(made(attribute, LSTM=factor)))
        one = sentences(make_scores(networks=("LSTM",), cells=4, factors={"LSTM": factor}, weather=attribute))
        two = sentences(make_scores(networks=("LSTM",), targets=("a", "b"), leads=2, cells=4, weather=attribute))
        for scored in (by_lead, one, two):
            assert WEATHERS[weather] in scored[0].lower()
            others = [phrase for word, phrase in WEATHERS.items() if word != weather]
            assert not any(phrase in sentence.lower() for phrase in others for sentence in scored)
            if weather != "none":
                told = [sentence for sentence in scored if "LSTM" in sentence or "best network" in sentence]
                assert all(WEATHERS[weather] in sentence.lower() for sentence in told)


def test_networks_without_weather_come_first_and_those_with_observed_weather_last() -> None:
    weather = "seeing: observed; degraded: degraded; blind: none"
    scores = made(weather, seeing=0.3, degraded=0.8, blind=0.9)
    found = [one for one in sentences(scores) if "against the best baseline" in one]
    assert [one.split(" of each lead ")[1].split()[0] for one in found] == ["blind", "degraded", "seeing"]
    assert "blind is better than the damped anomaly" in found[0]
    assert "an upper bound" in found[2]


def test_a_baseline_that_knows_the_observed_weather_is_for_networks_that_know_it() -> None:
    scores = made("seeing: observed; degraded: degraded; blind: none", seeing=0.7, degraded=0.8, blind=0.9)
    ridge = "ridge (with observed weather ahead)"
    scores["ratio"].loc[{"model": "climatology"}] = 0.5
    scores["model"] = [ridge if label == "climatology" else label for label in scores["model"].to_numpy()]
    blind, degraded, seeing = [one for one in sentences(scores) if "against the best baseline" in one]
    assert "blind is better than the damped anomaly at all 4 leads" in blind
    assert "degraded is better than the damped anomaly at all 4 leads" in degraded
    assert f"seeing is worse than {ridge} at all 4 leads" in seeing


def test_tested_differences_decide_and_not_the_digits_shown() -> None:
    scores = with_tests(made(LSTM=0.7), LSTM=0.001)
    assert UNTESTED not in sentences(scores)
    assert sentences(scores)[0].startswith(
        f"{AHEAD} LSTM is significantly better than the damped anomaly at all 4 leads, with a"
    )
    assert sentences(scores)[-1].startswith("Significant: by the p-value adjusted for all tested differences")
    chance = with_tests(made(LSTM=0.7), LSTM=0.3)  # by itself p is 0.003
    assert sentences(chance)[0].startswith(
        f"{AHEAD} LSTM is not found to differ from the damped anomaly at all 4 leads (differences below 5.0 % could "
        "not have been seen reliably), with a"
    )
    mixed = made(LSTM=0.7)
    for name in ("rmse", "ratio"):
        mixed[name].loc[{"model": "LSTM", "lead": [3, 4]}] *= 2
    assert sentences(with_tests(mixed, LSTM=0.001))[0].startswith(
        f"{AHEAD} LSTM is significantly better than the damped anomaly at 2 of 4 leads (1 to 2) and is significantly "
        "worse than the damped anomaly at 2 of 4 leads (3 to 4), with a"
    )
    untested = with_tests(mixed, ("damped anomaly",), LSTM=0.001)
    untested["difference_p_adjusted"].loc[{"lead": [1, 3]}] = np.nan
    assert sentences(untested)[0].startswith(
        f"{AHEAD} LSTM is better than the damped anomaly at 1 of 4 leads (1), is significantly better than the damped "
        "anomaly at 1 of 4 leads (2), is worse than the damped anomaly at 1 of 4 leads (3) and is significantly worse "
        "than the damped anomaly at 1 of 4 leads (4); where not tested, by the digits shown, with a"
    )


def test_the_plain_network_is_compared_by_the_tested_difference() -> None:
    scores = with_rmse(make_scores(), LSTM=0.02, PHY_LSTM=0.019, PHYs_LSTM=0.01)
    tested = with_tests(scores, ("persistence", "LSTM"), PHY_LSTM=0.2, PHYs_LSTM=0.05)
    assert (
        "Against the plain LSTM (0.0200), the median RMSE is: PHY-LSTM no difference found (differences below 5.0 % "
        "could not have been seen reliably), PHYs-LSTM 50 % lower (significant)."
    ) in sentences(tested)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_sentences_and_marks_agree(seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores = with_tests(few(leads=4, seed=seed, factors={"LSTM": 1.0, "climatology": 2.0}))
    shape = scores["difference"].shape
    scores["difference"][:] = draw.normal(0, 0.01, shape)
    scores["difference_p_adjusted"][:] = draw.choice([0.001, 0.05, 0.0501, 0.9], shape)
    drawn = str(significance(scores))
    (row,) = re.findall(r"LSTM − damped anomaly</th>(.*?)</tr>", drawn, re.DOTALL)[:1]
    classes = re.findall(r"<td([^>]*)>", row)
    assert len(classes) == 4
    marked = ["better" if "lead" in one else "worse" if "worse" in one else "same" for one in classes]
    for lead, mark in enumerate(marked, 1):
        words = {"better": "significantly better than", "worse": "significantly worse than"}
        found = sentences(scores.sel(lead=[lead]).assign_coords(lead=[1]))[0]
        assert words.get(mark, "is not found to differ from") in found
        assert ("could not have been seen reliably" in found) == (mark == "same")


def test_networks_that_had_not_converged_are_named() -> None:
    scores = make_scores(networks=("LSTM", "GRU", "CNN"), cells=4)
    log = [{"epoch": n, "train_loss": 1.0, "validation_loss": 1.0 / n, "seconds": 1.0} for n in (10, 20, 30)]
    risen = [*log[:2], log[2] | {"validation_loss": 0.7}]
    scores.attrs["training_logs"] = json.dumps({"LSTM": log, "GRU": risen, "CNN": log})
    scores.attrs["configs"] = json.dumps(
        {label: {"train": {"epochs": epochs}} for label, epochs in {"LSTM": 30, "GRU": 30, "CNN": 50}.items()}
    )
    assert (
        "LSTM: not converged: the lowest validation loss is that of the last epoch; it might gain from more epochs."
    ) in sentences(scores)
    captions = re.sub("<[^>]*>", " ", str(training(scores)))
    assert captions.count("not converged") == 1
    assert "at epoch 30; not converged: the lowest validation loss is that of the last epoch" in captions
    for damaged in ("{}", json.dumps({"LSTM": 5}), json.dumps({"LSTM": [{}]})):
        scores.attrs["training_logs"] = damaged
        assert not any("converged" in one for one in sentences(scores))


def test_too_short_a_test_period_leaves_differences_untested() -> None:
    scores = with_tests(made(LSTM=0.7), LSTM=np.nan, GRU=np.nan)
    assert sentences(scores)[-1] == UNTESTED
    assert not any("significantly" in one for one in sentences(scores))


def test_rows_of_several_seeds_have_names_of_their_own() -> None:
    scores = with_tests(made(LSTM=0.7)).assign_coords(row=["the LSTM of three seeds"])
    assert not any("significan" in one for one in sentences(scores))
