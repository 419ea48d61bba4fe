"""The metrics agree with a plain loop and an independent library, are honest where not defined, and open to more."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import scores.continuous
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from soilcast.cube import open_artifact
from soilcast.cube.check import SMALLEST_SPREAD
from soilcast.errors import SoilcastError
from soilcast.inspecting import inspect
from soilcast.products.indices import CLASS_NAMES
from soilcast.verify import (
    METRICS,
    Aligned,
    Metric,
    evaluate,
    metrics_of,
    register_metric,
    score,
    score_cells,
    summarise,
)
from soilcast.verify.deterministic import SMALLEST_VARIANCE
from soilcast.verify.drought import EventForecast
from soilcast.verify.estimates import gain
from tests.helpers.forecast_factory import LEADS, LEVELS, made_cube, made_forecast

MEASURED = list(METRICS)[: list(METRICS).index("mae")]


def plain_loop(observed, predicted):
    """Eq. 15-18 for one cell after another, in float64, as they stand in the paper."""
    result = {name: np.full(len(observed), np.nan) for name in [*MEASURED, "days"]}
    for cell in range(len(observed)):
        there = np.isfinite(observed[cell]) & np.isfinite(predicted[cell])
        y, f = observed[cell][there].astype(np.float64), predicted[cell][there].astype(np.float64)
        result["days"][cell] = len(y)
        if len(y) < 2:
            continue
        result["rmse"][cell] = np.sqrt(np.mean((y - f) ** 2))
        result["bias"][cell] = np.mean(f - y)
        result["ubrmse"][cell] = np.sqrt(np.mean((f - y - np.mean(f - y)) ** 2))
        if np.ptp(observed[cell][there]) < SMALLEST_SPREAD:
            continue
        result["r2"][cell] = 1 - np.sum((y - f) ** 2) / np.sum((y - y.mean()) ** 2)
        if np.var(f) <= SMALLEST_VARIANCE:
            continue
        dy, df = y - y.mean(), f - f.mean()
        r = np.sum(df * dy) / (np.sqrt(np.sum(df**2)) * np.sqrt(np.sum(dy**2)))
        result["r"][cell] = r
        if y.mean() == 0:
            continue
        alpha, beta = f.std() / y.std(), f.mean() / y.mean()
        result["kge"][cell] = 1 - np.sqrt((r - 1) ** 2 + (alpha - 1) ** 2 + (beta - 1) ** 2)
        if f.mean() != 0:
            gamma = (f.std() / f.mean()) / (y.std() / y.mean())
            result["kge_2012"][cell] = 1 - np.sqrt((r - 1) ** 2 + (gamma - 1) ** 2 + (beta - 1) ** 2)
    return result


def made(cells, days, mean, spread, noise, gaps, seed):
    rng = np.random.default_rng(seed)
    truth = mean + spread * rng.standard_normal((cells, days))
    observed = truth.astype(np.float32)
    predicted = (truth + noise * spread * rng.standard_normal((cells, days)) + noise * spread).astype(np.float32)
    observed[rng.random((cells, days)) < gaps] = np.nan
    predicted[rng.random((cells, days)) < gaps] = np.nan
    return observed, predicted


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].dtype == np.float64
        tiny = 1e-15 if METRICS.get(name, METRICS["r"]).units == "m3 m-3" else 1e-9
        np.testing.assert_allclose(found[name], values, rtol=1e-9, atol=tiny, err_msg=name)


@settings(max_examples=60, deadline=None)
@given(
    cells=st.integers(1, 12),
    days=st.integers(1, 60),
    mean=st.sampled_from([0.05, 0.4, 0.9]),
    spread=st.sampled_from([1e-3, 1e-2, 0.2]),
    noise=st.sampled_from([0.0, 0.3, 2.0]),
    gaps=st.sampled_from([0.0, 0.2, 0.95]),
    seed=st.integers(0, 2**32 - 1),
)
def test_metrics_equal_a_plain_float64_loop(cells, days, mean, spread, noise, gaps, seed):
    observed, predicted = made(cells, days, mean, spread, noise, gaps, seed)
    assert_same(score_cells(observed, predicted, threads=1), plain_loop(observed, predicted))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.none() | st.floats(0, 1, width=32)] * 2), min_size=1, max_size=20))
def test_errors_and_correlation_equal_a_plain_loop_on_any_series(pairs):
    observed, predicted = np.array(pairs, dtype=np.float32).T[:, np.newaxis]
    found, expected = score_cells(observed, predicted), plain_loop(observed, predicted)
    for name in ("rmse", "ubrmse", "bias", "days"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(found["r"], expected["r"], rtol=1e-9, atol=1e-9)


def test_many_blocks_and_threads_give_what_one_gives():
    observed, predicted = made(3000, 100, 0.3, 0.1, 0.5, 0.0, 1)
    observed[1234, 5:50] = np.nan
    alone = score_cells(observed, predicted, threads=1)
    for name, values in score_cells(observed, predicted, threads=3).items():
        np.testing.assert_array_equal(values, alone[name])
    some = [0, 1233, 1234, 1235, 2999]
    assert_same({name: values[some] for name, values in alone.items()}, plain_loop(observed[some], predicted[some]))


@pytest.mark.parametrize("gaps", [0.0, 0.1])
def test_metrics_equal_the_scores_library(gaps):
    observed, predicted = (
        xr.DataArray(values, dims=("cell", "time")).astype(np.float64)
        for values in made(30, 200, 0.3, 0.1, 0.5, gaps, 7)
    )
    both = observed.notnull() & predicted.notnull()
    observed, predicted = observed.where(both), predicted.where(both)
    found = score_cells(observed.to_numpy().astype(np.float32), predicted.to_numpy().astype(np.float32))
    library = {
        "r": scores.continuous.correlation.pearsonr(predicted, observed, preserve_dims="cell"),
        "rmse": scores.continuous.rmse(predicted, observed, preserve_dims="cell"),
        "bias": scores.continuous.additive_bias(predicted, observed, preserve_dims="cell"),
        "kge": scores.continuous.kge(predicted, observed, preserve_dims="cell"),
        "r2": scores.continuous.nse(predicted, observed, preserve_dims="cell"),
    }
    for name, values in library.items():
        np.testing.assert_allclose(found[name], values.to_numpy(), rtol=1e-9, atol=1e-9, err_msg=name)


def test_what_is_not_defined_is_nan_and_the_rest_is_a_number():
    varied = np.array([0.1, 0.2, 0.3, 0.25], dtype=np.float32)
    constant = np.full(4, 0.3, dtype=np.float32)
    lonely = np.array([np.nan, 0.2, np.nan, np.nan], dtype=np.float32)
    centred = np.array([-0.5, 0.5, 0.25, -0.25], dtype=np.float32)
    cases = {
        "constant observations": (constant, varied, {"r", "r2", "kge", "kge_2012"}),
        "constant forecast": (varied, constant, {"r", "kge", "kge_2012"}),
        "both constant": (constant, constant, {"r", "r2", "kge", "kge_2012"}),
        "one day": (lonely, varied, set(MEASURED)),
        "no day": (varied, np.full(4, np.nan, dtype=np.float32), set(MEASURED)),
        "mean observation of 0": (centred, varied, {"kge", "kge_2012"}),
        "mean forecast of 0": (varied, centred, {"kge_2012"}),
    }
    observed, predicted = (np.stack([case[side] for case in cases.values()]) for side in (0, 1))
    found = score_cells(observed, predicted)
    for row, (name, (_, _, undefined)) in enumerate(cases.items()):
        assert {metric for metric in MEASURED if np.isnan(found[metric][row])} == undefined, name
        assert not any(np.isinf(found[metric][row]) for metric in MEASURED), name
    np.testing.assert_array_equal(found["days"], [4, 4, 4, 1, 0, 4, 4])


def test_a_perfect_forecast_is_perfect():
    observed, _ = made(5, 50, 0.4, 1e-3, 0.0, 0.0, 3)
    found = score_cells(observed, observed.copy())
    for name in ("rmse", "ubrmse", "bias"):
        np.testing.assert_array_equal(found[name], 0.0)
    for name in ("r", "r2", "kge", "kge_2012"):
        np.testing.assert_allclose(found[name], 1.0, rtol=0, atol=1e-12)


def test_an_infinite_value_counts_as_missing():
    observed, predicted = made(2, 30, 0.3, 0.1, 0.5, 0.0, 4)
    predicted[0, 3], observed[1, 4] = np.inf, -np.inf
    assert_same(score_cells(observed, predicted), plain_loop(observed, predicted))


def test_labelled_arrays_keep_their_cells_and_are_told_their_units():
    observed, predicted = made(4, 30, 0.3, 0.1, 0.5, 0.0, 5)
    coordinates = {"cell": [3, 7, 9, 11], "lat": ("cell", [1.0, 2.0, 3.0, 4.0]), "time": np.arange(30)}
    labelled = xr.DataArray(observed, dims=("cell", "time"), coords=coordinates)
    found = score(labelled, labelled.copy(data=predicted).transpose("time", "cell"))
    np.testing.assert_array_equal(found["rmse"], score_cells(observed, predicted)["rmse"])
    assert found["rmse"].attrs == {
        "long_name": "root mean square error (Eq. 16)",
        "units": "m3 m-3",
        "symbol": "RMSE",
        "best": "lower",
    }
    np.testing.assert_array_equal(found["lat"], [1, 2, 3, 4])
    with pytest.raises(ValueError, match="cell"):
        score(labelled, labelled.assign_coords(cell=[3, 7, 9, 12]))


def test_arrays_of_different_shapes_are_a_defect():
    with pytest.raises(ValueError, match="cell, time"):
        score_cells(np.zeros((2, 3), dtype=np.float32), np.zeros((3, 2), dtype=np.float32))


def test_the_table_of_metrics_is_that_of_the_contract():
    assert " ".join(METRICS) == (
        "r rmse ubrmse bias r2 kge kge_2012 mae skill ratio consistency_w1 consistency_w1_masked consistency_w2 "
        "consistency_w2_masked crps coverage_50 coverage_90 width_90 rmse_dry rmse_wet "
        "rmse_dry_forecast rmse_wet_forecast brier_d0 brier_d1 brier_d2 brier_d3 brier_d4 brier_skill_d0 "
        "brier_skill_d1 brier_skill_d2 brier_skill_d3 brier_skill_d4 rps rps_skill brier_d1_within"
    )
    needs = {
        name: metric.needs & {"quantiles", "climate", "water", "extremes", "reference"}
        for name, metric in METRICS.items()
    }
    assert [name for name, of in needs.items() if of == {"quantiles"}] == ["coverage_50", "coverage_90", "width_90"]
    assert [name for name, of in needs.items() if of == {"water"}] == [n for n in METRICS if n.startswith("consist")]
    assert [name for name, of in needs.items() if of == {"extremes"}] == [
        n for n in METRICS if n[5:8] in ("dry", "wet")
    ]
    probabilities = [n for n in METRICS if n.startswith(("brier", "rps"))]
    assert [name for name in METRICS if "climate" in METRICS[name].needs] == probabilities
    assert [name for name in METRICS if "templates" in METRICS[name].needs] == ["brier_d1_within"]
    assert [name for name, of in needs.items() if of == {"reference"}] == ["skill", "ratio"]
    assert pickle.loads(pickle.dumps(METRICS)).keys() == METRICS.keys()  # as it goes to the workers of a cluster


def made_events(count):
    rng = np.random.default_rng(7)
    chance = [rng.random((4, 30, count)).astype(np.float32) for _ in range(2)]
    return EventForecast(chance[0], (rng.random((4, 30, count)) < 0.3).astype(np.float32), chance[1])


def test_every_kernel_gives_a_number_a_cell():
    observed, predicted = made(4, 30, 0.3, 0.1, 0.5, 0.0, 6)
    signs = np.sign(np.random.default_rng(0).standard_normal((4, 30))).astype(np.int8)
    everything = Aligned(
        observed=observed,
        central=predicted,
        mean=predicted,
        previous=np.roll(observed, 1, axis=1),
        driest=np.sort(observed, axis=1)[:, 2:3],
        wettest=np.sort(observed, axis=1)[:, -3:-2],
        quantiles=predicted[..., np.newaxis] + np.array([-0.2, -0.1, 0, 0.1, 0.2], dtype=np.float32),
        levels=LEVELS,
        signs={name: signs for name in METRICS if name.startswith("consistency")},
        class_events=lambda: made_events(len(CLASS_NAMES)),
        within_events=lambda: made_events(1),
    )
    for name, metric in METRICS.items():
        values = metric.kernel(everything)
        assert values.shape == (4,), name
        assert values.dtype == np.float64, name
        assert np.isfinite(values).all(), name
    np.testing.assert_array_equal(METRICS["skill"].kernel(everything), 0.0)  # without another it is its own reference
    np.testing.assert_array_equal(METRICS["ratio"].kernel(everything), 1.0)


def median_error(aligned: Aligned) -> np.ndarray:
    return np.nanmedian(np.abs(aligned.central.astype(np.float64) - aligned.observed), axis=1)


@pytest.fixture
def own():
    """Two metrics of the user's own, one of which takes quantiles."""
    spread = lambda aligned: np.nanmean(aligned.quantiles[..., -1] - aligned.quantiles[..., 0], axis=1)  # noqa: E731
    made = [
        Metric("medae", "MedAE", "median absolute error", "m3 m-3", "lower", frozenset(), median_error),
        Metric("spread", "spread", "mean of all spreads", "m3 m-3", "zero", frozenset({"quantiles"}), spread),
    ]
    yield [register_metric(metric) for metric in made]
    for metric in made:
        METRICS.pop(metric.name, None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:All-NaN slice", "ignore:Mean of empty slice")
@pytest.mark.parametrize("leads", [1, LEADS])
def test_a_metric_of_the_users_own_is_in_all_that_scores_are_shown_in(tmp_path, own, leads):
    cube = made_cube(tmp_path / "cube")
    made = [
        made_forecast(tmp_path / "a", cube, leads=leads, levels=LEVELS),
        made_forecast(tmp_path / "b", cube, leads=leads, label="point"),
    ]
    found = evaluate(made, cube, tmp_path / "scores")
    assert found["medae"].attrs == own[0].attributes
    assert (found["medae"].sel(cell=0) <= 2 * found["rmse"].sel(cell=0)).all()
    assert np.isfinite(found["spread"].sel(model="LSTM", cell=0)).all()
    assert np.isnan(found["spread"].sel(model="point")).all()
    assert {"medae_median", "spread_mean"} <= set(summarise(found))
    assert {"medae_median", "spread_mean"} <= set(pd.read_csv(tmp_path / "scores" / "table.csv"))
    cells = pd.read_csv(tmp_path / "scores" / "cells.csv", engine="python")
    np.testing.assert_array_equal(cells["medae"], found["medae"].to_numpy().ravel())
    table = inspect(tmp_path / "scores")
    assert ("medae" if leads == 1 else "swvl1, median absolute error, median over the cells") in table
    assert gain("medae") == -1
    point = evaluate(made[1:], cube, tmp_path / "point")
    assert "medae" in point
    assert "spread" not in point
    # A process that has not registered it still knows it by its attributes.
    del METRICS["medae"]
    with open_artifact(tmp_path / "scores" / "scores.nc", "scores") as opened:
        known = metrics_of(opened)["medae"]
        assert (known.symbol, known.best, known.units) == ("MedAE", "lower", "m3 m-3")
        assert "medae_median" in summarise(opened)
    with pytest.raises(SoilcastError, match="metric medae: not registered"):
        known.kernel(None)


@pytest.mark.parametrize("name", ["rmse", "days", "observed", "my metric", ""])
def test_a_metric_whose_name_is_taken_is_refused(name):
    with pytest.raises(SoilcastError, match="the name is taken or not an identifier"):
        register_metric(Metric(name, "M", "mine", "1", "higher", frozenset(), median_error))
    assert METRICS.get(name) is None or METRICS[name].long_name != "mine"


def test_a_metric_that_gives_no_number_a_cell_is_refused(tmp_path):
    cube = made_cube(tmp_path / "cube")
    made = made_forecast(tmp_path / "f", cube)
    register_metric(Metric("whole", "W", "whole", "1", "higher", frozenset(), lambda aligned: aligned.observed))
    try:
        with pytest.raises(
            SoilcastError, match=r"metric whole: its kernel returns float32 \(8, 91\), but one number for each"
        ):
            evaluate([made], cube, tmp_path / "scores")
    finally:
        del METRICS["whole"]
    assert not (tmp_path / "scores").exists()
