"""The parts of the pages of outlooks: the verdict, names beside lines, fans, and the numbers behind the figures."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from outlook_scores_factory import LEVELS, make_outlook_scores
from soilcast.reporting.fans import bands, draw_fan, issue_days
from soilcast.reporting.lead_lines import spread
from soilcast.reporting.outlook_figures import EXTREMES, UNCERTAINTY, error_curves
from soilcast.reporting.outlook_scores import best_network
from soilcast.reporting.outlook_verdict import outlook_verdict
from soilcast.reporting.verdict import UNTESTED


def made(**factors: float) -> xr.Dataset:
    """Scores of one target and four leads, in which models err a given multiple of persistence everywhere."""
    networks = [name for name in factors if name != "climatology"]
    return make_outlook_scores(
        networks=networks,
        targets=("swvl1",),
        leads=4,
        cells=4,
        picks=1,
        days=30,
        factors={"climatology": 2.0} | factors,
    )


def said(scores: xr.Dataset) -> list[str]:
    return [sentence.replace("\N{NO-BREAK SPACE}", " ") for sentence in outlook_verdict(scores)]


def with_coverage(scores: xr.Dataset, *by_lead: float) -> xr.Dataset:
    scores["coverage_90"].loc[{"model": "LSTM"}] = np.array(by_lead)[:, np.newaxis]
    return scores


# The verdict


def test_verdict_when_the_network_beats_all_baselines() -> None:
    first, _, last = said(made(LSTM=0.7))
    assert first == (
        "swvl1: LSTM beats persistence at all 4 leads (median RMSE ratio 0.700 at lead 1 and 0.700 at lead 4). "
        "It beats the damped anomaly at all 4 leads and climatology at all 4 leads."
    )
    assert last == UNTESTED


def test_verdict_when_it_wins_at_some_leads() -> None:
    scores = made(LSTM=0.7)
    for name in ("ratio", "rmse"):
        scores[name].loc[{"model": "LSTM", "lead": 3}] *= 2
    first = said(scores)[0]
    assert first.startswith("swvl1: LSTM beats persistence at 3 of 4 leads (1 to 2, 4) (median RMSE ratio 0.700")
    assert "the damped anomaly at 3 of 4 leads (1 to 2, 4) and climatology at all 4 leads." in first


def test_verdict_when_no_network_wins() -> None:
    first = said(made(LSTM=1.2, GRU=1.1))[0]
    assert first == (
        "swvl1: no network beats persistence at any lead; best is GRU (median RMSE ratio 1.100 at lead 1 and 1.100 at "
        "lead 4). It beats the damped anomaly at no lead and climatology at all 4 leads."
    )
    assert said(made(LSTM=1.2))[0].startswith("swvl1: LSTM beats persistence at no lead (median RMSE ratio 1.200")
    equal = said(made(LSTM=0.9999))[0]
    assert equal.startswith("swvl1: LSTM beats persistence at no lead (median RMSE ratio 1.000")


@settings(max_examples=30)
@given(st.floats(0.5, 1.5), st.floats(0.5, 2.5))
def test_verdict_never_contradicts_the_numbers(network: float, climatology: float) -> None:
    first = said(made(LSTM=network, climatology=climatology))[0]
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
def test_coverage_is_said_as_it_is(by_lead: tuple[float, ...], text: str) -> None:
    assert text in said(with_coverage(made(LSTM=0.7), *by_lead))[1]


def test_coverage_is_of_the_best_network_that_has_intervals() -> None:
    scores = make_outlook_scores(
        networks=("GRU", "LSTM"), with_quantiles=("LSTM",), targets=("swvl1",), leads=4, cells=4, picks=1, days=30
    )
    first, second, _ = said(with_coverage(scores, 0.9, 0.9, 0.9, 0.9))
    assert first.startswith("swvl1: GRU beats persistence")
    assert second.startswith("swvl1: the 90 % interval of LSTM covers 90.0 %")


def test_verdict_over_several_targets_counts_cases() -> None:
    scores = make_outlook_scores(
        targets=("swvl1", "swvl2"), leads=5, cells=4, picks=1, days=30, factors={"LSTM": 0.95, "PHYs-LSTM": 1.3}
    )
    assert said(scores)[0] == (
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


# The numbers behind the figures


def test_curves_are_the_medians_and_means_over_the_cells() -> None:
    scores = make_outlook_scores(cells=9, leads=3, picks=1, days=30)
    scores["area"][:] = 1.0
    curves = {one.caption: one for one in (*error_curves(scores), *EXTREMES, *UNCERTAINTY)}
    target = scores.sel(target="swvl2")
    expected = {
        "RMSE": target["rmse"].median("cell"),
        "Ratio to persistence": target["ratio"].median("cell"),
        "Skill against climatology": 1
        - ((target["rmse"] / target["rmse"].sel(model="climatology", drop=True)) ** 2).median("cell"),
        "RMSE on the driest 5 % of the days": target["rmse_dry"].median("cell"),
        "RMSE on the wettest 5 % of the days": target["rmse_wet"].median("cell"),
        "Coverage of the 90 % interval": target["coverage_90"].mean("cell"),
        "Width of the 90 % interval": target["width_90"].median("cell"),
        "CRPS": target["crps"].median("cell"),
    }
    for caption, values in expected.items():
        found = curves[caption].values(scores, "swvl2")
        np.testing.assert_allclose(found.transpose("model", "lead"), values.transpose("model", "lead"), rtol=1e-12)
    assert "climatology" not in curves["Skill against climatology"].of(scores, "swvl2")
    assert curves["Width of the 90 % interval"].of(scores, "swvl2") == ["LSTM", "PHYs-LSTM"]


def test_means_over_the_cells_weigh_their_area() -> None:
    scores = with_coverage(made(LSTM=0.7), 0.9, 0.9, 0.9, 0.9)
    scores["coverage_90"].loc[{"model": "LSTM"}] = np.array([0.8, 1.0, 0.0, np.nan])
    scores["area"][:] = np.array([1.0, 3.0, 0.0, 5.0])
    found = UNCERTAINTY[0].values(scores, "swvl1").sel(model="LSTM")
    np.testing.assert_allclose(found, 0.95)


# Names beside lines


@given(st.lists(st.floats(-0.2, 1.2), min_size=1, max_size=12), st.floats(0.001, 0.3))
def test_names_are_moved_apart_and_stay_in_order(wishes: list[float], least: float) -> None:
    wishes = sorted(wishes)
    places = spread(wishes, least)
    gap = min(least, 1 / max(len(wishes) - 1, 1))
    assert len(places) == len(wishes)
    assert (np.diff(places) >= gap - 1e-9).all()
    assert min(places) >= -1e-9
    assert max(places) <= 1 + 1e-9
    if min(wishes) >= 0 and max(wishes) <= 1 and (np.diff(wishes) >= gap).all():
        np.testing.assert_allclose(places, wishes)


# Fans


def test_bands_are_the_intervals_that_the_levels_allow() -> None:
    assert [(band.share, band.low, band.high) for band in bands(LEVELS)] == [(0.9, 0, 4), (0.5, 1, 3)]
    many = np.array([0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99])
    assert [(band.share, band.low, band.high) for band in bands(many)] == [(0.9, 1, 7), (0.5, 3, 5)]
    assert [band.share for band in bands(np.array([0.1, 0.5, 0.9]))] == [0.8]
    assert bands(np.array([0.1, 0.5])) == []


def test_a_fan_is_drawn_where_its_quantiles_are() -> None:
    valid = np.datetime64("2020-05-04") + np.arange(3)
    centre = np.array([0.2, 0.21, 0.22])
    quantiles = centre[:, np.newaxis] + np.array([-0.05, -0.02, 0.0, 0.02, 0.05])
    axes = Figure().subplots()
    draw_fan(axes, valid, centre, quantiles, bands(LEVELS), "#0072B2")
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), centre)
    wide, narrow = (one for one in axes.collections if isinstance(one, PolyCollection))
    for drawn, low, high in ((wide, 0, 4), (narrow, 1, 3)):
        heights = drawn.get_paths()[0].vertices[:, 1]
        assert heights.min() == quantiles[:, low].min()
        assert heights.max() == quantiles[:, high].max()


@given(st.lists(st.booleans(), max_size=400), st.integers(1, 15))
def test_fans_begin_at_the_first_forecast_and_never_lie_on_each_other(there: list[bool], leads: int) -> None:
    mask = np.array(there, dtype=bool)
    chosen = issue_days(mask, leads)
    assert bool(chosen) == bool(mask.any())
    assert mask[chosen].all()
    assert (np.diff(chosen) > leads).all()
    if chosen:
        assert chosen[0] == np.flatnonzero(mask)[0]


def test_a_year_has_a_fan_every_thirty_days() -> None:
    assert issue_days(np.ones(357, dtype=bool), 10) == list(range(0, 357, 30))
