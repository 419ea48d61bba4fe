"""Probabilities of drought: the climate is that of the products, the scores those of a plain loop over days."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from soilcast.cube import open_artifact, open_cube, save_cube
from soilcast.products import add_products
from soilcast.products.climate import gather, reference_positions
from soilcast.products.indices import CLASS_NAMES, DROUGHT_CLASSES, probability_below, probability_by, thresholds_at
from soilcast.verify import METRICS, Aligned, evaluate, metrics_of
from soilcast.verify.drought import CellClimate, EventForecast, find_climate_days
from tests.helpers import forecast_factory as factory
from tests.helpers.forecast_factory import altered, made_forecast, refused
from tests.helpers.small import small_cube

EVALUATE = import_module("soilcast.verify.evaluate")  # by its name, since the package shows the function
FIRST, DAYS, CELLS, LEADS = "2017-01-01", 1461, 5, 3
TIME = np.datetime64(FIRST, "ns") + np.arange(DAYS) * np.timedelta64(1, "D")
LEVELS = (0.05, 0.25, 0.75, 0.95)  # the median is not among them
PERIODS = {
    "train_period": "2017-01-01:2019-06-30",
    "validation_period": "2019-07-01:2019-12-31",
    "test_period": "2020-01-01:2020-12-31",
}
START = int(np.searchsorted(TIME, np.datetime64("2020-01-01")))
ISSUED = slice(START - 1, DAYS - LEADS)
UNUSED = ("t2m", "u10", "v10", "sp", "q", "ssrd", "strd", "e", "sro", "ro", "sd", "swvl2", "swvl3", "swvl4")
EVENTS = tuple(CLASS_NAMES)
BY_CELL = (*(f"brier_{name.lower()}" for name in EVENTS), "rps")


def templates(count=40, seed=3):
    """Ranks whose leads go together in part."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((count, 1))
    ranks = (common + 0.5 * rng.standard_normal((count, LEADS))).argsort(axis=0).argsort(axis=0)
    return ((ranks + 0.5) / count).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A cube of four years, of which a cell never moves, and forecasts of the last with and without templates."""
    folder = tmp_path_factory.mktemp("drought")
    cube = small_cube(cells=CELLS, days=DAYS, start=FIRST, drop=UNUSED)
    moisture = cube["swvl1"].to_numpy()
    moisture[CELLS - 1, :START] = 0.3
    moisture[1, START + 50 : START + 60] = np.nan
    save_cube(cube, folder / "cube")
    with_templates = lambda one: one.assign(swvl1_rank_template=(("template", "lead"), templates()))  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(factory, "DAYS", TIME)
        options = {"leads": LEADS, "levels": LEVELS, "issues": ISSUED, "noise": 0.02, **PERIODS}
        made_forecast(folder / "forecast", folder / "cube", change=with_templates, **options)
        made_forecast(folder / "other", folder / "cube", label="point", **options | {"levels": ()})
    evaluate([folder / "forecast", folder / "other"], folder / "cube", folder / "scores")
    return folder


@pytest.fixture(scope="module")
def scores(folder):
    with open_artifact(folder / "scores" / "scores.nc", "scores") as opened:
        return opened.load()


@pytest.fixture(scope="module")
def plain(folder):
    """Thresholds, probabilities and events, day by day: ``(cell, issue day, lead, class)``."""
    with open_cube(folder / "cube") as opened, open_artifact(folder / "forecast", "forecast") as made:
        history, central = opened["swvl1"].to_numpy(), made["swvl1"].to_numpy()
        quantiles = np.insert(made["swvl1_quantile"].to_numpy(), 2, central, axis=-1)
    levels = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    known = TIME[:START]
    shape = (*central.shape, len(EVENTS))
    probability, happened, climate = (np.full(shape, np.nan, np.float32) for _ in range(3))
    for lead in range(1, LEADS + 1):
        for day, position in enumerate(range(ISSUED.start + lead, ISSUED.stop + lead)):
            samples = gather(history[:, :START], reference_positions(known, TIME[position])).reshape(CELLS, -1)
            limits = thresholds_at(samples, tuple(DROUGHT_CLASSES.values()))
            limits[CELLS - 1] = np.nan  # it never moves
            observed = np.where(np.isfinite(history[:, position - lead]), history[:, position], np.nan)  # persistence
            for event in range(len(EVENTS)):
                limit = limits[:, [event]]
                at = (slice(None), day, lead - 1, event)
                probability[at] = probability_below(quantiles[:, [day], lead - 1], levels, limit)[:, 0]
                happened[at] = np.where(
                    np.isfinite(observed) & np.isfinite(limit[:, 0]), observed <= limit[:, 0], np.nan
                )
                climate[at] = np.sum(samples <= limit, axis=1) / np.sum(np.isfinite(samples), axis=1)
    return probability, happened, climate


def over_days(values, lead):
    """Mean over the days that count of ``(cell, issue day, lead)``, in float64."""
    return np.nanmean(values[:-1, :, lead - 1].astype(np.float64), axis=1)


def test_brier_and_ranked_probability_scores_are_those_of_a_plain_loop(scores, plain):
    probability, happened, climate = (values.astype(np.float64) for values in plain)
    for lead in range(1, LEADS + 1):
        found = scores.sel(model="LSTM", target="swvl1", lead=lead)
        counted = found["days"].to_numpy()[:-1]
        np.testing.assert_array_equal(np.isfinite(happened[:-1, :, lead - 1, 0]).sum(axis=1), counted)
        brier = {
            kind: [over_days((p[..., event] - happened[..., event]) ** 2, lead) for event in range(len(EVENTS))]
            for kind, p in (("model", probability), ("climate", climate))
        }
        for event, name in enumerate(EVENTS):
            mine, theirs = brier["model"][event], brier["climate"][event]
            np.testing.assert_allclose(found[f"brier_{name.lower()}"][:-1], mine, rtol=1e-5, atol=1e-9)
            np.testing.assert_allclose(
                found[f"brier_skill_{name.lower()}"][:-1], 1 - mine / theirs, rtol=1e-4, atol=1e-6
            )
        rps, of_climate = (np.mean(brier[kind], axis=0) for kind in ("model", "climate"))
        np.testing.assert_allclose(found["rps"][:-1], rps, rtol=1e-5)
        np.testing.assert_allclose(found["rps_skill"][:-1], 1 - rps / of_climate, rtol=1e-4, atol=1e-6)
        for name in BY_CELL:
            assert np.isnan(found[name][CELLS - 1]), name  # a cell that never moves has no classes


def test_only_models_with_quantiles_have_probabilities(scores):
    for name in (*BY_CELL, "rps_skill"):
        assert np.isnan(scores[name].sel(model="point")).all(), name
        assert np.isfinite(scores[name].sel(model=["persistence", "climatology"], cell=scores["cell"][0])).all(), name
    assert np.isnan(scores["brier_d1_within"].sel(model=["point", "persistence"])).all()  # neither has templates
    for name in ("event_brier", "event_share", "event_value", "event_roc_area"):
        assert np.isnan(scores[name].sel(model="point")).all(), name
        assert np.isfinite(scores[name].sel(model="LSTM", event="D1")).any(), name


def test_dry_at_least_once_follows_from_the_templates(scores, plain):
    probability, happened, _ = plain
    d1 = EVENTS.index("D1")
    dry = probability[..., d1]
    by = np.stack([probability_by(rows, templates()) for rows in dry])
    once = np.logical_or.accumulate(happened[..., d1] == 1, axis=-1)
    counts = np.logical_and.accumulate(np.isfinite(happened[..., d1]), axis=-1)
    for lead in range(1, LEADS + 1):
        square = np.where(counts, (by.astype(np.float64) - once) ** 2, np.nan)
        found = scores.sel(model="LSTM", target="swvl1", lead=lead)
        np.testing.assert_allclose(found["brier_d1_within"][:-1], over_days(square, lead), rtol=1e-5)
        frequency = found["event_frequency"].sel(event=["D1", "D1_within"]).to_numpy()
        assert frequency[1] >= frequency[0] - 0.02
    first = scores.sel(model="LSTM", lead=1)
    np.testing.assert_allclose(
        first["event_frequency"].sel(event="D1_within"), first["event_frequency"].sel(event="D1")
    )


def test_over_all_cells_frequencies_and_decomposition_are_weighted_means(scores, plain):
    probability, happened, _ = plain
    area = scores["area"].to_numpy().astype(np.float64)
    for lead in (1, LEADS):
        for event, name in enumerate(EVENTS):
            found = scores.sel(model="LSTM", target="swvl1", lead=lead, event=name)
            p, o = (values[..., lead - 1, event].astype(np.float64) for values in (probability, happened))
            weights = np.where(np.isfinite(o), area[:, np.newaxis], 0.0)
            mean = lambda values: np.sum(weights * np.nan_to_num(values)) / weights.sum()  # noqa: B023, E731
            np.testing.assert_allclose(found["event_probability"], mean(p), rtol=1e-5)
            np.testing.assert_allclose(found["event_frequency"], mean(o), rtol=1e-9)
            np.testing.assert_allclose(found["event_brier"], mean((p - o) ** 2), rtol=1e-5)
            parts = found["event_reliability"] - found["event_resolution"] + found["event_uncertainty"]
            np.testing.assert_allclose(parts + found["event_within_bins"], found["event_brier"], rtol=1e-9)
            np.testing.assert_allclose(found["event_share"].sum(), 1.0)


def test_the_product_and_its_verification_are_the_same_to_the_bit(folder):
    """The probabilities that a forecast of one issue day shows are those that are verified."""
    issue = 100
    with open_cube(folder / "cube") as cube, open_artifact(folder / "forecast", "forecast") as opened:
        cube, made = cube.load(), opened.load()
    one = made.isel(time=[issue])
    products = add_products(one, cube, slice(0, CELLS), layers=["swvl1"], reference=slice(0, START))
    learn = np.arange(DAYS) < START
    days = find_climate_days(TIME, learn, START - 1, slice(START, DAYS))
    climate = CellClimate(days, cube["swvl1"].to_numpy())
    valid = issue + np.arange(LEADS)
    quantiles = np.insert(one["swvl1_quantile"].to_numpy()[:, 0], 2, one["swvl1"].to_numpy()[:, 0], axis=-1)
    levels = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    for event in range(len(EVENTS)):
        expected = probability_below(quantiles, levels, climate.of_days(valid)[0][..., event])
        found = products["swvl1_drought_probability"].to_numpy()[:, 0, :, event]
        np.testing.assert_array_equal(found, expected)
    dry = products["swvl1_probability_dry"].to_numpy()[:, 0]
    np.testing.assert_array_equal(products["swvl1_probability_dry_by"][:, 0], probability_by(dry, templates()))


def test_no_test_day_is_in_the_climate_and_too_short_a_record_gives_none():
    learn = np.arange(DAYS) < START
    days = find_climate_days(TIME, learn, START - 1, slice(START, DAYS))
    assert days.sampling.climate.period == "2017-01-01:2019-12-31"
    assert days.sampling.climate.years == 3
    assert len(days.date_of) == DAYS - START
    assert len(np.unique(days.date_of)) == 366
    late = find_climate_days(TIME, np.roll(learn, 400), START - 1, slice(START, DAYS))
    assert late.sampling.climate.period.endswith("2019-12-31")
    short = np.arange(DAYS) >= START - 200
    short &= learn
    assert find_climate_days(TIME[-600:], short[-600:], 600 - DAYS + START - 1, slice(600 - DAYS + START, 600)) is None
    assert find_climate_days(TIME, learn, -1, slice(0, 10)) is None


def test_a_climatological_forecast_has_no_skill_and_a_perfect_one_all(folder, tmp_path):
    with open_cube(folder / "cube") as opened:
        history = opened["swvl1"].to_numpy()
    levels = tuple((np.arange(99) + 1) / 100)
    usual = np.empty((CELLS, DAYS, len(levels)), dtype=np.float32)
    for day in range(START, DAYS):
        samples = gather(history[:, :START], reference_positions(TIME[:START], TIME[day])).reshape(CELLS, -1)
        usual[:, day] = np.quantile(samples, levels, axis=1).T
    observed = np.where(np.isfinite(history), history, np.float32(0.3))[..., np.newaxis]
    sharp = (observed + np.linspace(-1e-7, 1e-7, len(levels), dtype=np.float32)).astype(np.float32)

    def stated(values):
        ahead = np.stack([values[:, ISSUED.start + k : ISSUED.stop + k] for k in range(1, LEADS + 1)], axis=2)
        return lambda one: one.assign(
            swvl1=(("cell", "time", "lead"), ahead[..., 49]),
            swvl1_quantile=(("cell", "time", "lead", "quantile"), ahead),
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(factory, "DAYS", TIME)
        options = {"leads": LEADS, "levels": levels, "issues": ISSUED, **PERIODS}
        for name, values in (("usual", usual), ("sharp", sharp)):
            made_forecast(tmp_path / name, folder / "cube", label=name, change=stated(values), **options)
    found = evaluate([tmp_path / "usual", tmp_path / "sharp"], folder / "cube", tmp_path / "scores").sel(lead=2)
    for name in ("rps_skill", "brier_skill_d0", "brier_skill_d1", "brier_skill_d2", "brier_skill_d3"):
        values = found[name].isel(target=0, cell=slice(0, CELLS - 1))
        # Its quantiles are interpolated, where the climate has its own values.
        assert np.abs(values.sel(model="usual")).max() < (0.05 if name == "rps_skill" else 0.15), name
        np.testing.assert_allclose(values.sel(model="sharp"), 1.0, atol=2e-3)
    events = found.isel(target=0).sel(event=["D0", "D1", "D2"])
    np.testing.assert_allclose(events["event_roc_area"].sel(model="sharp"), 1.0, atol=2e-3)
    np.testing.assert_allclose(events["event_value"].sel(model="sharp"), 1.0, atol=2e-2)
    assert (events["event_value"].sel(model=["usual", "sharp"]) <= 1 + 1e-12).all()
    np.testing.assert_allclose(events["event_roc_area"].sel(model="usual"), 0.5, atol=0.12)


def test_the_climates_own_frequency_has_exactly_no_skill():
    rng = np.random.default_rng(1)
    climate = rng.random((2, 40, len(EVENTS))).astype(np.float32)
    events = EventForecast(climate, (rng.random(climate.shape) < 0.2).astype(np.float32), climate)
    nothing = np.zeros((2, 40), dtype=np.float32)
    limits = np.zeros((2, 1), dtype=np.float32)
    aligned = Aligned(nothing, nothing, nothing, nothing, limits, limits, class_events=lambda: events)
    for name in ("rps_skill", *(f"brier_skill_{name.lower()}" for name in EVENTS)):
        np.testing.assert_array_equal(METRICS[name].kernel(aligned), 0.0)


def test_scores_of_several_blocks_of_cells_are_the_same(folder, scores, tmp_path, monkeypatch):
    monkeypatch.setattr(EVALUATE, "GROUP", 1)
    monkeypatch.setattr(EVALUATE, "block_size", lambda *_: 2)
    found = evaluate([folder / "forecast", folder / "other"], folder / "cube", tmp_path / "scores")
    names = [name for name in scores.data_vars if str(name).startswith(("brier", "rps"))]
    assert len(names) == len([name for name in METRICS if name.startswith(("brier", "rps"))])
    xr.testing.assert_equal(found[names], scores[names])
    np.testing.assert_allclose(found["event_brier"], scores["event_brier"], rtol=1e-12)


def test_tables_have_them_and_forecasts_without_quantiles_have_none(folder, tmp_path):
    table = pd.read_csv(folder / "scores" / "table.csv", index_col=["model", "target", "lead"], engine="python")
    assert np.isfinite(table.loc[("LSTM", "swvl1", 1), ["rps_skill_median", "brier_d2_mean"]]).all()
    assert table.loc[("LSTM", "swvl1", 1), "rps_cells"] == CELLS - 1
    found = evaluate([folder / "other"], folder / "cube", tmp_path / "scores")
    assert not [name for name in metrics_of(found) if name.startswith(("brier", "rps"))]
    assert not [name for name in found.variables if str(name).startswith(("event", "probability_bin", "threshold"))]


def test_templates_that_are_damaged_are_refused(folder, tmp_path):
    turned = altered(
        folder / "forecast",
        tmp_path / "turned",
        lambda one: one.assign(swvl1_rank_template=one["swvl1_rank_template"].transpose("lead", "template")),
    )
    refused([turned], folder / "cube", tmp_path / "scores", "turned: no swvl1_rank_template (template, lead) in it")
