"""Products of a forecast: the climate of a date, percentiles, anomalies, drought classes, days and odds to dry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm, percentileofscore, rankdata

from soilcast.cube import FORMATS, assemble, cells_of_grid, open_artifact, open_cube, save_cube, write_dataset
from soilcast.cube.assembling import era5_land_thickness
from soilcast.cube.grid import Grid
from soilcast.errors import SoilcastError
from soilcast.products import add_products
from soilcast.products.climate import count_years, gather, reference_positions
from soilcast.products.indices import (
    DROUGHT_CLASSES,
    anomaly,
    days_to,
    drought_class,
    percentile,
    probability_below,
    probability_by,
    thresholds_at,
)

NAN = np.nan


def days_from(first: str, last: str) -> np.ndarray:
    """All days from the first to the last one."""
    return np.arange(np.datetime64(first), np.datetime64(last) + 1).astype("datetime64[ns]")


def dates_around(first: str, last: str, date: str, window: int) -> list[list[str]]:
    """The dates, written month-day or in full, that belong to the climate of a date, year by year."""
    days = days_from(first, last)
    found = reference_positions(days, np.datetime64(date), window)
    return [[str(days[one].astype("datetime64[D]")) for one in row if one >= 0] for row in found]


def ranks(values: list[float], reference: list[float]) -> list[float]:
    """Percentiles of values in one reference."""
    rows = np.tile(np.array(reference, dtype=np.float32), (len(values), 1))
    return percentile(np.array(values, dtype=np.float32), rows).tolist()


# The climate of a date.


def test_the_window_lies_around_the_same_date_in_every_year() -> None:
    found = dates_around("2018-01-01", "2020-12-31", "2031-06-10", 1)
    assert found == [[f"{year}-06-09", f"{year}-06-10", f"{year}-06-11"] for year in (2018, 2019, 2020)]
    assert reference_positions(days_from("2018-01-01", "2020-12-31"), np.datetime64("2031-06-10")).shape == (3, 31)


def test_a_leap_year_shifts_no_date() -> None:
    assert dates_around("2019-01-01", "2020-12-31", "2021-03-01", 1) == [
        ["2019-02-28", "2019-03-01", "2019-03-02"],
        ["2020-02-29", "2020-03-01", "2020-03-02"],
    ]
    assert dates_around("2019-01-01", "2020-12-31", "2021-12-30", 0) == [["2019-12-30"], ["2020-12-30"]]


def test_the_leap_day_stands_at_28_february_in_other_years() -> None:
    assert dates_around("2019-01-01", "2020-12-31", "2024-02-29", 1) == [
        ["2019-02-27", "2019-02-28", "2019-03-01"],
        ["2020-02-28", "2020-02-29", "2020-03-01"],
    ]


def test_the_window_goes_on_over_the_new_year() -> None:
    assert dates_around("2018-12-31", "2020-01-01", "2024-01-01", 1) == [
        ["2018-12-31", "2019-01-01", "2019-01-02"],
        ["2019-12-31", "2020-01-01"],
    ]
    # The 31st of December before the first year's end, and after the last one, belongs to the first of January too.
    assert dates_around("2019-01-02", "2019-12-31", "2024-01-01", 1) == [["2019-01-02"], ["2019-12-31"]]


@given(
    first=st.dates(min_value=np.datetime64("1960-01-01").item(), max_value=np.datetime64("2020-01-01").item()),
    length=st.integers(1, 2500),
    date=st.dates(min_value=np.datetime64("1960-01-01").item(), max_value=np.datetime64("2040-01-01").item()),
    window=st.integers(0, 182),
)
@settings(max_examples=150, deadline=None)
def test_no_day_counts_twice_and_none_is_left_out(first: object, length: int, date: object, window: int) -> None:
    days = np.datetime64(first, "D") + np.arange(length)
    found = reference_positions(days.astype("datetime64[ns]"), np.datetime64(date), window)
    there = found[found >= 0]
    assert len(np.unique(there)) == len(there)
    # Day by day: is there a year in which the date is at most a window away?
    month_day = str(date)[5:]
    years = range(int(str(days[0])[:4]) - 1, int(str(days[-1])[:4]) + 2)
    leap = [year for year in years if year % 4 == 0 and (year % 100 or year % 400 == 0)]
    dates = [f"{year}-02-28" if month_day == "02-29" and year not in leap else f"{year}-{month_day}" for year in years]
    away = np.abs(days[:, np.newaxis] - np.array(dates, dtype="datetime64[D]")).astype(int).min(axis=1)
    np.testing.assert_array_equal(np.sort(there), np.flatnonzero(away <= window))


def test_reference_values_are_those_of_the_days() -> None:
    days = days_from("2019-01-01", "2020-06-30")
    values = np.arange(2 * len(days), dtype=np.float32).reshape(2, -1)
    found = gather(values, reference_positions(days, np.datetime64("2030-01-01"), window=1))
    assert found.shape == (2, 2, 3)
    np.testing.assert_array_equal(found[0], [[NAN, 0, 1], [364, 365, 366]])
    np.testing.assert_array_equal(found[1], found[0] + len(days))


def test_a_year_counts_if_more_than_half_of_its_days_are_observed() -> None:
    reference = np.ones((3, 2, 5), dtype=np.float32)
    reference[1, 0, :2] = NAN
    reference[2, 0, :3] = NAN
    assert count_years(reference).tolist() == [2, 2, 1]


# Percentile and anomaly.


def test_percentile_by_hand() -> None:
    reference = [0.1, 0.2, 0.3, 0.4]
    assert ranks([0.05, 0.14, 0.26, 0.34, 0.45], reference) == [0, 12.5, 62.5, 62.5, 100]  # of the nearest
    assert ranks(reference, reference) == [12.5, 37.5, 62.5, 87.5]  # Hazen: 100 (rank - 1/2) / 4
    assert ranks([0.3], [0.3]) == [50]


def test_equal_values_count_half() -> None:
    assert ranks([0.2], [0.1, 0.2, 0.2, 0.2, 0.3]) == [50]  # 1 below, 3 equal: (1 + 1.5) / 5
    assert ranks([0.2, 0.21], [0.2, 0.2, 0.2, 0.2]) == [50, 100]


def test_missing_values_of_the_reference_do_not_count() -> None:
    assert ranks([0.2], [0.1, NAN, 0.2, NAN]) == [75]
    assert np.isnan(ranks([NAN], [0.1, 0.2])).all()
    assert np.isnan(ranks([0.1], [NAN, NAN])).all()


_MOISTURE = st.floats(0, 1, width=32).map(lambda value: float(np.float32(round(value, 2))))


@given(reference=st.lists(_MOISTURE, min_size=1, max_size=40), values=st.lists(_MOISTURE, min_size=1, max_size=8))
def test_percentile_is_that_of_scipy(reference: list[float], values: list[float]) -> None:
    """Of values that are in the reference, and of others that of the nearest one."""
    expected = []
    for value in values:
        nearest = min(sorted(set(reference)), key=lambda one, value=value: abs(one - value))
        is_inside = min(reference) <= value <= max(reference)
        expected.append(percentileofscore(reference, nearest if is_inside else value, kind="mean"))
    np.testing.assert_allclose(ranks(values, reference), expected, rtol=1e-6)


@given(reference=st.lists(_MOISTURE, min_size=1, max_size=40), values=st.lists(_MOISTURE, min_size=2, max_size=20))
def test_percentile_and_drought_follow_the_value(reference: list[float], values: list[float]) -> None:
    found = np.array(ranks(sorted(values), reference))
    assert (np.diff(found) >= 0).all()
    assert ((found >= 0) & (found <= 100)).all()
    assert (np.diff(drought_class(found).astype(int)) <= 0).all()


def test_anomaly_by_hand() -> None:
    reference = np.array([[0.1, 0.2, NAN, 0.3], [NAN, NAN, NAN, NAN]], dtype=np.float32)
    found = anomaly(np.array([0.25, 0.25], dtype=np.float32), reference)
    np.testing.assert_allclose(found, [0.05, NAN], rtol=1e-5)


# Drought.


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (100.0, -1), (30.001, -1), (30.0, 0), (20.001, 0), (20.0, 1), (10.001, 1), (10.0, 2), (5.001, 2), (5.0, 3),
        (2.001, 3), (2.0, 4), (0.0, 4), (NAN, -128),
    ],
)  # fmt: skip
def test_drought_class_at_its_boundaries(value: float, expected: int) -> None:
    found = drought_class(np.array([value], dtype=np.float32))
    assert found.dtype == np.int8
    assert found.tolist() == [expected]


def test_a_rank_on_a_boundary_is_of_the_drier_class() -> None:
    reference = np.arange(25) / 32  # percentiles 2, 6, .. 98
    between = reference[[7, 6, 2, 0]] + 0.5 / 32
    assert ranks(between.tolist(), reference.tolist()) == [30, 26, 10, 2]
    assert drought_class(np.array(ranks(between.tolist(), reference.tolist()))).tolist() == [0, 0, 2, 4]


@given(
    reference=arrays(np.float32, st.tuples(st.just(1), st.integers(1, 60)), elements=_MOISTURE),
    value=_MOISTURE,
    percent=st.sampled_from([2.0, 5.0, 10.0, 20.0, 30.0, 33.3, 99.0]),
)
def test_the_threshold_parts_what_is_dry_by_its_percentile(reference: np.ndarray, value: float, percent: float) -> None:
    threshold = thresholds_at(reference, [percent])[0, 0]
    rank = percentile(np.array([value], dtype=np.float32), reference)[0]
    if abs(np.float32(value) - threshold) > 1e-6:
        assert (rank <= np.float32(percent)) == (np.float32(value) < threshold)


def test_the_threshold_by_hand() -> None:
    reference = np.array([[0.5, 0.1, 0.4, 0.2, 0.3], [0.5, NAN, NAN, 0.2, NAN], [NAN] * 5], dtype=np.float32)
    below = np.nextafter(np.float32(0.2), np.float32(0))
    np.testing.assert_allclose(
        thresholds_at(reference, [20.0, 50.0]), [[0.15, 0.35], [below, 0.35], [NAN, NAN]], rtol=1e-6
    )
    assert thresholds_at(reference, [20.0])[1, 0] == below
    assert np.isnan(thresholds_at(np.empty((1, 0), np.float32), [20.0])).all()


def test_equal_values_share_their_middle_rank_and_others_have_that_of_the_nearest() -> None:
    reference = [0.0, 0.25, 0.25, 0.25, 0.5]
    assert ranks([-0.1, 0.0, 0.125, 0.13, 0.25, 0.37, 0.38, 0.5, 0.6], reference) == [
        0,
        10,
        10,
        50,
        50,
        50,
        90,
        90,
        100,
    ]
    found = thresholds_at(np.array([reference], dtype=np.float32), [30.0, 50.0, 70.0])
    assert found.tolist() == [[0.125, 0.375, 0.375]]


@pytest.mark.parametrize("percent", [5.0, 20.0, 30.0])
def test_of_a_rounded_record_dryness_is_as_frequent_as_a_perfect_distribution_says(percent: float) -> None:
    """What is rounded to 0.01 m3 m-3 lies as often below the threshold as what was rounded."""
    true = np.random.default_rng(0).normal(0.3, 0.04, size=(40, 4000))
    record = true.round(2).astype(np.float32)
    thresholds = thresholds_at(record, [percent])
    observed, forecast = (np.count_nonzero(one <= thresholds, axis=1) / 4000 for one in (record, true))
    np.testing.assert_allclose(forecast, observed, atol=1 / 4000)


# Days to a threshold.


def test_days_to_a_threshold_by_hand() -> None:
    leads = np.array([1, 2, 5])
    forecasts = np.array(
        [
            [0.3, 0.2, 0.1],  # at it counts as reached
            [0.1, 0.3, 0.1],  # the first lead, whatever comes later
            [0.3, 0.25, 0.19],
            [0.3, 0.3, 0.21],
            [NAN, 0.1, 0.1],  # it may have been reached on the first day
            [0.1, NAN, NAN],
            [0.3, 0.3, NAN],
            [NAN, NAN, NAN],
        ],
        dtype=np.float32,
    )
    assert days_to(forecasts, 0.2, leads).tolist() == [2, 1, 5, -1, -128, 1, -128, -128]
    assert days_to(forecasts[:2], np.float32([[0.1], [0.05]]), leads).tolist() == [5, -1]
    assert days_to(forecasts[:1], np.float32([0.1, 0.1, 0.2]), leads).tolist() == [5]


@given(arrays(np.float32, (4, 6), elements=_MOISTURE), st.lists(_MOISTURE, min_size=2, max_size=2))
def test_a_higher_threshold_is_never_reached_later(forecasts: np.ndarray, thresholds: list[float]) -> None:
    low, high = sorted(thresholds)
    leads = np.arange(1, 7)
    late, soon = (days_to(forecasts, threshold, leads).astype(int) for threshold in (low, high))
    late, soon = np.where(late < 0, 99, late), np.where(soon < 0, 99, soon)
    assert (soon <= late).all()


# Probability of being dry.

LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])


def odds(quantiles: list[float], thresholds: list[float], levels: np.ndarray = LEVELS) -> list[float]:
    rows = np.tile(np.array(quantiles, dtype=np.float64), (len(thresholds), 1, 1))
    found = probability_below(rows, levels, np.array(thresholds)[:, np.newaxis])
    return np.round(found[:, 0].astype(float), 5).tolist()


def test_probability_by_hand() -> None:
    quantiles = [0.10, 0.20, 0.30, 0.40, 0.50]
    assert odds(quantiles, [0.10, 0.20, 0.30, 0.40, 0.50]) == LEVELS.tolist()
    assert odds(quantiles, [0.15, 0.275, 0.45]) == [0.15, 0.4375, 0.85]
    assert odds(quantiles, [0.09, 0.075, 0.0]) == [0.03, 0.0, 0.0]  # on with the slope of 0.2 in 0.1
    assert odds(quantiles, [0.51, 0.525, 1.0]) == [0.97, 1.0, 1.0]
    assert np.isnan(odds(quantiles, [NAN])).all()
    assert np.isnan(odds([0.1, NAN, 0.3, 0.4, 0.5], [0.2])).all()


def test_probability_where_quantiles_are_one_value() -> None:
    assert odds([0.2, 0.2, 0.2, 0.3, 0.4], [0.19, 0.2, 0.25]) == [0.0, 0.5, 0.625]
    assert odds([0.1, 0.2, 0.3, 0.3, 0.3], [0.25, 0.3, 0.31]) == [0.375, 1.0, 1.0]
    assert odds([0.2] * 5, [0.1, 0.2, 0.3]) == [0.0, 1.0, 1.0]


def test_quantiles_that_cross_are_put_in_order() -> None:
    assert odds([0.10, 0.30, 0.20, 0.40, 0.50], [0.20, 0.30]) == [0.25, 0.5]


@given(
    quantiles=st.lists(_MOISTURE, min_size=5, max_size=5),
    thresholds=st.lists(_MOISTURE, min_size=2, max_size=10),
)
def test_probability_rises_with_the_threshold(quantiles: list[float], thresholds: list[float]) -> None:
    found = np.array(odds(sorted(quantiles), sorted(thresholds)))
    assert (np.diff(found) >= 0).all()
    assert ((found >= 0) & (found <= 1)).all()


def test_probability_of_a_normal_forecast_is_nearly_that_of_the_normal() -> None:
    levels = np.linspace(0.01, 0.99, 99)
    thresholds = np.linspace(0.15, 0.35, 9)
    spread = norm(0.25, 0.04)
    found = odds(spread.ppf(levels).tolist(), thresholds.tolist(), levels)
    np.testing.assert_allclose(found, spread.cdf(thresholds), atol=5e-3)


# Probability that it happens by a lead.

_UNIT = st.floats(0, 1, width=32)


def templates_of(samples: np.ndarray) -> np.ndarray:
    """Ranks of each lead of ``(template, lead)``, evenly spaced between 0 and 1."""
    return ((rankdata(samples, axis=0, method="ordinal") - 0.5) / len(samples)).astype(np.float32)


def test_probability_by_a_lead_by_hand() -> None:
    templates = np.float32([[0.125, 0.875], [0.375, 0.625], [0.625, 0.125], [0.875, 0.375]])
    probabilities = np.float32([[0.25, 0.25], [0.5, 0.25], [0.5, 0.5], [0.0, 1.0], [0.5, NAN], [NAN, 0.5]])
    expected = [[0.25, 0.5], [0.5, 0.75], [0.5, 1.0], [0.0, 1.0], [0.5, NAN], [NAN, NAN]]
    np.testing.assert_array_equal(probability_by(probabilities, templates), np.float32(expected))


@given(
    probabilities=arrays(np.float32, (3, 4), elements=_UNIT),
    samples=arrays(np.float64, st.tuples(st.integers(1, 40), st.just(4)), elements=st.floats(-5, 5)),
)
def test_probability_by_a_lead_is_the_share_of_templates(probabilities: np.ndarray, samples: np.ndarray) -> None:
    templates = templates_of(samples)
    found = probability_by(probabilities, templates)
    for cell in range(3):
        for lead in range(4):
            paths = [any(path[j] <= probabilities[cell, j] for j in range(lead + 1)) for path in templates]
            share, highest = np.mean(paths), probabilities[cell, : lead + 1].max()
            assert found[cell, lead] == pytest.approx(max(share, highest), abs=1e-6)
            assert share >= highest - 0.5 / len(templates) - 1e-6
    assert (np.diff(found, axis=1) >= 0).all()
    assert (found >= probabilities).all()
    assert (found <= 1).all()


def test_leads_that_go_together_have_the_probability_of_the_highest() -> None:
    rng = np.random.default_rng(0)
    templates = templates_of(np.repeat(rng.normal(size=(500, 1)), 6, axis=1))
    probabilities = rng.uniform(size=(200, 6)).astype(np.float32)
    highest = np.maximum.accumulate(probabilities, axis=1)
    np.testing.assert_allclose(probability_by(probabilities, templates), highest, atol=0.5 / 500 + 1e-6)


def test_leads_that_know_nothing_of_each_other_have_the_product() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.uniform(0, 0.4, size=(50, 5)).astype(np.float32)
    independent = 1 - np.cumprod(1 - probabilities.astype(float), axis=1)
    found = np.mean([probability_by(probabilities, templates_of(rng.normal(size=(500, 5)))) for _ in range(40)], axis=0)
    # One set of 500 templates scatters by sqrt(p (1 - p) / 500) at most, 40 of them by a sixth of it.
    np.testing.assert_allclose(found, independent, atol=4 * 0.5 / np.sqrt(500 * 40))


def test_a_correlated_process_reaches_a_threshold_as_often_as_its_templates_say() -> None:
    """A normal AR(1): templates of some paths give the share of other paths that cross a threshold by each lead."""
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(40_500, 6))
    paths = np.empty_like(noise)
    paths[:, 0] = noise[:, 0]
    for lead in range(1, 6):
        paths[:, lead] = 0.8 * paths[:, lead - 1] + 0.6 * noise[:, lead]
    crossed = np.maximum.accumulate(paths[500:] <= -0.8, axis=1).mean(axis=0)
    probabilities = np.full((1, 6), norm.cdf(-0.8), dtype=np.float32)
    found = probability_by(probabilities, templates_of(paths[:500]))[0]
    np.testing.assert_allclose(found, crossed, atol=4 * np.sqrt(0.25 / 500))
    assert (found[1:] < 1 - np.cumprod(1 - probabilities[0].astype(float))[1:] - 0.05).all()


# A block of forecasts.

RECORD = days_from("2018-01-01", "2021-06-30")
ISSUE = "2021-02-20"
LEADS = np.arange(1, 11)
CELLS = 6


def made_cube(path: Path) -> Path:
    """Six cells of two layers; the last cell is observed in 2018 alone, the one before it never."""
    rng = np.random.default_rng(3)
    moisture = np.round(rng.uniform(0.1, 0.4, (2, CELLS, len(RECORD))), 2).astype(np.float32)
    moisture[:, 5, np.datetime64("2019-01-01") <= RECORD] = NAN
    moisture[:, 4] = NAN
    grid = Grid(np.array([50.0, 49.0]), np.array([5.0, 6.0, 7.0]), np.arange(CELLS))
    cube = assemble(
        {"swvl1": moisture[0], "swvl2": moisture[1], **era5_land_thickness(CELLS)},
        cells=cells_of_grid(grid),
        time=RECORD,
        title="made",
        source="test",
        content="random numbers",
    )
    save_cube(cube, path)
    return path


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    return open_cube(made_cube(tmp_path_factory.mktemp("products") / "cube"))


def forecast_of(cells: int = CELLS, *, quantiles: bool = True, latency: int = 2) -> xr.Dataset:
    """Forecasts of one issue day; the first cell's second layer is missing from the third lead on."""
    rng = np.random.default_rng(9)
    all_quantiles = np.sort(rng.uniform(0.1, 0.4, (2, CELLS, 1, 10, 5)).astype(np.float32), axis=-1)
    all_quantiles[1, 0, :, 2:] = NAN
    made = xr.Dataset(
        coords={"time": [np.datetime64(ISSUE, "ns")], "lead": ("lead", LEADS, {"units": "d"}), "quantile": LEVELS},
        attrs={"soilcast_kind": "forecast", "soilcast_format": FORMATS["forecast"], "latency_days": latency},
    )
    for layer, values in zip(("swvl1", "swvl2"), all_quantiles[:, :cells], strict=True):
        made[layer] = (("cell", "time", "lead"), values[..., 2])
        if quantiles:
            made[f"{layer}_quantile"] = (("cell", "time", "lead", "quantile"), values)
    return made


def products_of(cube: xr.Dataset, **options: object) -> dict[str, xr.Variable]:
    wanted = {"layers": ["swvl1", "swvl2"], "reference": slice(None), **options}
    return add_products(forecast_of(), cube, slice(0, CELLS), **wanted)  # type: ignore[arg-type]


def test_products_are_those_of_each_cell_layer_and_valid_day(cube: xr.Dataset) -> None:
    found = products_of(cube)
    made = forecast_of()
    newest = np.datetime64(ISSUE) - 2
    for layer in ("swvl1", "swvl2"):
        record = cube[layer].to_numpy()[:, newest >= RECORD]
        for lead in LEADS:
            around = gather(record, reference_positions(RECORD[newest >= RECORD], np.datetime64(ISSUE) + lead))
            samples = around.reshape(CELLS, -1)
            forecast = made[layer].to_numpy()[:, 0, lead - 1]
            rank = percentile(forecast[:4], samples[:4])
            np.testing.assert_array_equal(found[f"{layer}_percentile"][:4, 0, lead - 1], rank)
            np.testing.assert_array_equal(found[f"{layer}_anomaly"][:4, 0, lead - 1], anomaly(forecast, samples)[:4])
            np.testing.assert_array_equal(found[f"{layer}_drought"][:4, 0, lead - 1], drought_class(rank))
            thresholds = thresholds_at(samples, (20.0, *DROUGHT_CLASSES.values()))[:4]
            quantiles = made[f"{layer}_quantile"].to_numpy()[:4, :, lead - 1]
            chance = probability_below(np.repeat(quantiles, 6, axis=1), LEVELS, thresholds)
            np.testing.assert_array_equal(found[f"{layer}_probability_dry"][:4, 0, lead - 1], chance[:, 0])
            of_class = found[f"{layer}_drought_probability"][:4, 0, lead - 1]
            np.testing.assert_array_equal(of_class, chance[:, 1:])
            assert (np.diff(of_class, axis=1)[np.isfinite(of_class[:, 1:])] <= 0).all()
            np.testing.assert_array_equal(of_class[:, 1], chance[:, 0])  # D1 begins where it is dry
        ranks_found = found[f"{layer}_percentile"].to_numpy()[:, 0]
        np.testing.assert_array_equal(found[f"{layer}_days_to_dry"][:, 0], days_to(ranks_found, 20.0, LEADS))
    assert (found["swvl1_days_to_dry"].to_numpy()[:4] > 0).any()


def test_products_are_missing_where_the_climate_or_the_forecast_is(cube: xr.Dataset) -> None:
    found = products_of(cube)
    for layer in ("swvl1", "swvl2"):
        for name in ("anomaly", "percentile", "probability_dry"):
            assert np.isnan(found[f"{layer}_{name}"][4:]).all()
        assert (found[f"{layer}_drought"][4:].to_numpy() == -128).all()
        assert (found[f"{layer}_days_to_dry"][4:].to_numpy() == -128).all()
    assert np.isnan(found["swvl2_percentile"][0, 0, 2:]).all()
    assert (found["swvl2_drought"].to_numpy()[0, 0, 2:] == -128).all()
    assert np.isfinite(found["swvl2_percentile"][0, 0, :2]).all()


def test_a_cell_of_one_year_has_products_if_that_is_enough(cube: xr.Dataset) -> None:
    found = products_of(cube, least_years=1)
    assert np.isfinite(found["swvl1_percentile"][5]).all()
    assert np.isnan(found["swvl1_percentile"][4]).all()


def test_where_soil_moisture_never_moves_there_is_an_anomaly_and_no_rank(cube: xr.Dataset) -> None:
    frozen = cube.load().copy(deep=True)
    frozen["swvl1"].to_numpy()[0] = 0.3
    frozen["swvl1"].to_numpy()[0, ::2] = 0.3009
    found = products_of(frozen)
    assert np.isfinite(found["swvl1_anomaly"][0]).all()
    for name in ("percentile", "probability_dry"):
        assert np.isnan(found[f"swvl1_{name}"][0]).all()
    assert (found["swvl1_drought"].to_numpy()[0] == -128).all()
    assert found["swvl1_days_to_dry"].to_numpy()[0] == -128
    assert np.isfinite(found["swvl1_percentile"][1:4]).all()
    assert "within 0.001 m3 m-3" in found["swvl1_percentile"].attrs["comment"]


def test_no_day_after_the_newest_observation_counts(cube: xr.Dataset) -> None:
    before = products_of(cube)
    newest = np.datetime64(ISSUE) - 2
    shifted = cube.load().copy(deep=True)
    for layer in ("swvl1", "swvl2"):
        shifted[layer].to_numpy()[:, newest < RECORD] = 0.9
    for name, variable in products_of(shifted).items():
        np.testing.assert_array_equal(variable, before[name], err_msg=name)
        assert variable.attrs["reference_period"] == f"2018-01-01:{newest}"
    shifted["swvl1"].to_numpy()[:, newest == RECORD] = 0.9
    assert not np.array_equal(products_of(shifted)["swvl1_percentile"], before["swvl1_percentile"], equal_nan=True)


def test_only_days_of_the_reference_count(cube: xr.Dataset) -> None:
    part = slice(0, int(np.searchsorted(RECORD, np.datetime64("2020-01-01"))))
    found = products_of(cube, reference=part)["swvl1_percentile"]
    assert found.attrs["reference_period"] == "2018-01-01:2019-12-31"
    assert found.attrs["reference_years"] == 2
    expected = products_of(cube.isel(time=part))["swvl1_percentile"]
    np.testing.assert_array_equal(found, expected)


def test_dry_may_be_a_soil_moisture(cube: xr.Dataset) -> None:
    found = products_of(cube, dry_threshold=0.2)
    made = forecast_of()
    days = days_to(made["swvl1"].to_numpy()[:, 0], 0.2, LEADS)
    np.testing.assert_array_equal(found["swvl1_days_to_dry"][:, 0], days)
    assert (days > 0).any()
    chance = probability_below(made["swvl1_quantile"].to_numpy()[:, 0], LEVELS, np.float32(0.2))
    np.testing.assert_array_equal(found["swvl1_probability_dry"][:, 0], chance)
    assert found["swvl1_days_to_dry"].attrs["dry"] == "at or below 0.2 m3 m-3"
    assert "reference_period" not in found["swvl1_days_to_dry"].attrs
    assert "reference_period" in found["swvl1_percentile"].attrs


def test_the_median_is_dry_where_dry_is_likelier_than_not(cube: xr.Dataset) -> None:
    found = products_of(cube)
    rank, chance = found["swvl1_percentile"].to_numpy()[:4], found["swvl1_probability_dry"].to_numpy()[:4]
    assert ((rank <= 20) == (chance >= 0.5)).all()
    assert (rank <= 20).any()


def test_days_to_dry_are_the_first_lead_at_which_dry_is_as_likely_as_not(cube: xr.Dataset) -> None:
    rng = np.random.default_rng(4)
    made = forecast_of()
    for layer in ("swvl1", "swvl2"):
        quantiles = np.sort(rng.uniform(0.1, 0.4, (CELLS, 1, 10, 5)).astype(np.float32), axis=-1)
        made[f"{layer}_quantile"][:], made[layer][:] = quantiles, quantiles[..., 2]
    for options in ({}, {"dry_threshold": 0.2}, {"dry_percentile": 7.0}):
        found = add_products(made, cube, slice(0, 4), layers=["swvl1", "swvl2"], reference=slice(None), **options)
        for layer in ("swvl1", "swvl2"):
            likely = found[f"{layer}_probability_dry"].to_numpy()[:4, 0] >= 0.5
            first = np.where(likely.any(axis=1), 1 + likely.argmax(axis=1), -1)
            np.testing.assert_array_equal(found[f"{layer}_days_to_dry"].to_numpy()[:4, 0], first)


def test_the_median_belongs_to_the_distribution_without_being_a_level(cube: xr.Dataset) -> None:
    whole, made = products_of(cube), forecast_of().isel(quantile=[0, 1, 3, 4])
    found = add_products(made, cube, slice(0, CELLS), layers=["swvl1", "swvl2"], reference=slice(None))
    assert list(found) == list(whole)
    for name, variable in whole.items():
        np.testing.assert_array_equal(found[name], variable, err_msg=name)
    one = add_products(forecast_of().isel(quantile=[4]), cube, slice(0, CELLS), layers=["swvl1"], reference=slice(None))
    likely = one["swvl1_probability_dry"].to_numpy()[:4] >= 0.5
    np.testing.assert_array_equal(likely, one["swvl1_percentile"].to_numpy()[:4] <= 20)


def test_the_probability_of_being_dry_by_a_lead_follows_the_templates(cube: xr.Dataset) -> None:
    rng = np.random.default_rng(5)
    made = forecast_of()
    made["swvl1_rank_template"] = (("template", "lead"), templates_of(rng.normal(size=(60, 10))))
    found = add_products(made, cube, slice(0, CELLS), layers=["swvl1", "swvl2"], reference=slice(None))
    assert "swvl2_probability_dry_by" not in found
    by = found["swvl1_probability_dry_by"]
    assert by.attrs["dry"] == "at or below percentile 20 of the valid day"
    single = found["swvl1_probability_dry"].to_numpy()[:, 0]
    np.testing.assert_array_equal(by[:, 0], probability_by(single, made["swvl1_rank_template"].to_numpy()))


def test_blocks_do_not_change_the_products(cube: xr.Dataset) -> None:
    whole = products_of(cube)
    made = forecast_of()
    parts = [
        add_products(
            made.isel(cell=part), cube, part, layers=["swvl1", "swvl2"], reference=slice(None)
        )
        for part in (slice(0, 1), slice(1, 4), slice(4, 6))
    ]  # fmt: skip
    for name, variable in whole.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), variable, err_msg=name)


def test_an_empty_block_tells_what_all_are(cube: xr.Dataset) -> None:
    empty = add_products(forecast_of(0), cube, slice(0, 0), layers=["swvl1"], reference=slice(None))
    whole = add_products(forecast_of(), cube, slice(0, CELLS), layers=["swvl1"], reference=slice(None))
    assert list(empty) == list(whole)
    for name, variable in whole.items():
        assert (empty[name].dims, empty[name].dtype) == (variable.dims, variable.dtype)
        assert str(empty[name].attrs) == str(variable.attrs)
        assert empty[name].shape == (0, *variable.shape[1:])


def test_more_cells_than_are_worked_on_at_once(monkeypatch: pytest.MonkeyPatch, cube: xr.Dataset) -> None:
    whole = products_of(cube)
    monkeypatch.setattr("soilcast.products.climate._VALUES_AT_ONCE", 250)
    monkeypatch.setattr("soilcast.products.climate.CELL_CHUNK", 4)
    for name, variable in products_of(cube).items():
        np.testing.assert_array_equal(variable, whole[name], err_msg=name)


def test_without_two_quantiles_there_is_no_probability(cube: xr.Dataset) -> None:
    for made in (forecast_of(quantiles=False), forecast_of().isel(quantile=[2])):
        found = add_products(made, cube, slice(0, CELLS), layers=["swvl1"], reference=slice(None))
        assert list(found) == ["swvl1_anomaly", "swvl1_percentile", "swvl1_drought", "swvl1_days_to_dry"]


@pytest.mark.parametrize("years", [1, 2])
def test_a_short_record_is_said(cube: xr.Dataset, years: int) -> None:
    part = slice(0, int(np.searchsorted(RECORD, np.datetime64(f"{2018 + years}-01-01"))))
    found = products_of(cube, reference=part)["swvl1_percentile"]
    assert found.attrs["reference_years"] == years
    assert f"in {years} year(s)" in found.attrs["comment"]
    assert "missing where fewer than 2 are known" in found.attrs["comment"]
    assert "of fewer than 10 years percentiles are coarse" in found.attrs["comment"]
    assert np.isfinite(found[:4]).any() == (years >= 2)


def test_a_record_without_a_day_that_counts_gives_nothing(cube: xr.Dataset) -> None:
    found = products_of(cube, reference=slice(0, 0))
    assert np.isnan(found["swvl1_percentile"]).all()
    assert "an empty record" in found["swvl1_percentile"].attrs["comment"]
    late = products_of(cube, reference=slice(int(np.searchsorted(RECORD, np.datetime64(ISSUE))), None))
    assert (late["swvl1_drought"].to_numpy() == -128).all()


@pytest.mark.parametrize("suffix", ["", ".nc"])
def test_products_survive_the_disk_as_cf(cube: xr.Dataset, tmp_path: Path, suffix: str) -> None:
    found = products_of(cube)
    path = tmp_path / f"forecast{suffix}"
    write_dataset(forecast_of().assign(found), path, netcdf=bool(suffix))
    opened = open_artifact(path, "forecast")
    drought = opened["swvl1_drought"]
    stored = found["swvl1_drought"].to_numpy()
    np.testing.assert_array_equal(drought, np.where(stored == -128, NAN, stored))
    assert drought.encoding["dtype"] == np.int8
    assert drought.attrs["flag_meanings"].split()[2] == "D1_moderate_drought"
    assert list(drought.attrs["flag_values"]) == [-1, 0, 1, 2, 3, 4]
    days = found["swvl1_days_to_dry"].to_numpy()
    np.testing.assert_array_equal(opened["swvl1_days_to_dry"], np.where(days == -128, NAN, days))
    assert opened["swvl1_days_to_dry"].attrs["units"] == "d"
    np.testing.assert_array_equal(opened["swvl1_percentile"], found["swvl1_percentile"])
    assert opened["swvl1_percentile"].attrs["units"] == "%"
    assert opened["swvl1_anomaly"].attrs["units"] == "m3 m-3"
    assert opened["swvl1_anomaly"].attrs["reference_years"] == 3
    assert opened["swvl1_probability_dry"].attrs["dry"] == "at or below percentile 20 of the valid day"


def test_a_cube_without_the_layer_is_told(cube: xr.Dataset) -> None:
    with pytest.raises(SoilcastError, match=r"cube: no swvl2, which the percentiles .*: give a cube with it"):
        add_products(
            forecast_of(), cube.drop_vars("swvl2"), slice(0, CELLS), layers=["swvl1", "swvl2"], reference=slice(None)
        )


def test_several_issue_days_are_a_defect_of_the_caller(cube: xr.Dataset) -> None:
    two = xr.concat([forecast_of(), forecast_of()], dim="time")
    with pytest.raises(ValueError, match="one issue day"):
        add_products(two, cube, slice(0, CELLS), layers=["swvl1"], reference=slice(None))
