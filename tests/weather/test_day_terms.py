"""A day is the sum that its fields say it is, whichever of them are there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soilcast.sources.parameters import Recipe, itself
from soilcast.weather.day_terms import DayMaker, Lacking
from soilcast.weather.quantities import Quantity
from soilcast.weather.step_fields import DAY, Axes, Sample, StepField

AXES = Axes(np.zeros(1), np.zeros(1))
HOURLY = np.random.default_rng(0).uniform(0.0, 1.0, 4 * DAY)
"""What falls in each hour."""


def amount(start: int, end: int, *, unit: str = "m") -> Sample:
    total = HOURLY[start:end].sum()
    value = total if unit == "m" else total * DAY / (end - start)
    field = StepField(Quantity("tp", unit), 0, None, start, end, AXES, lambda: np.array([value]))
    return Sample((field,), Recipe(("tp",), itself))


def instant(hour: int) -> Sample:
    field = StepField(Quantity("t2m", "K"), 0, None, hour, hour, AXES, lambda: np.array([float(hour)]))
    return Sample((field,), Recipe(("t2m",), itself))


def day_of(samples: list[Sample], day: int) -> float:
    terms = DayMaker(samples).terms(day * DAY)
    assert not isinstance(terms, Lacking), terms.why
    return float(sum(weight * sample.values()[0][0] for sample, weight in terms))


SPANS = st.tuples(st.integers(0, 4 * DAY - 1), st.integers(1, 4 * DAY)).filter(lambda span: span[0] < span[1])


@given(st.lists(SPANS, max_size=40), st.booleans())
def test_whatever_spans_lie_beside_each_other_a_day_is_its_total_or_lacking(
    spans: list[tuple[int, int]], as_rates: bool
) -> None:
    maker = DayMaker([amount(*span, unit="m d-1" if as_rates else "m") for span in spans])
    for day in range(4):
        terms = maker.terms(day * DAY)
        joined = _are_joined(spans, day * DAY, (day + 1) * DAY)
        assert isinstance(terms, Lacking) != joined
        if not isinstance(terms, Lacking):
            found = sum(weight * sample.values()[0][0] for sample, weight in terms)
            np.testing.assert_allclose(found, HOURLY[day * DAY : (day + 1) * DAY].sum(), rtol=1e-9)


def _are_joined(spans: list[tuple[int, int]], begin: int, end: int) -> bool:
    reached = {begin} & {hour for span in spans for hour in span}
    while True:
        more = {hour for span in spans if reached.intersection(span) for hour in span} - reached
        if not more:
            return end in reached
        reached |= more


def test_a_day_since_the_start_takes_two_fields_and_one_of_buckets_four() -> None:
    whole = [amount(0, hour) for hour in range(6, 4 * DAY + 1, 6)]
    assert len(DayMaker(whole).terms(DAY)) == 2  # type: ignore[arg-type]
    buckets = [amount((hour - 1) // 6 * 6, hour) for hour in range(3, 4 * DAY + 1, 3)]
    assert len(DayMaker(buckets).terms(DAY)) == 4  # type: ignore[arg-type]
    assert len(DayMaker(whole + buckets).terms(DAY)) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("step", [1, 2, 3, 6, 12])
def test_a_mean_of_even_steps_is_that_of_the_instants_from_00_utc(step: int) -> None:
    hours = range(0, 2 * DAY + 1, step)
    expected = np.mean([hour for hour in hours if DAY <= hour < 2 * DAY])
    np.testing.assert_allclose(day_of([instant(hour) for hour in hours], 1), expected)


def test_longer_steps_count_for_longer() -> None:
    hours = [24, 27, 30, 33, 36, 42, 48]
    expected = (3 * (24 + 27 + 30 + 33) + 6 * (36 + 42)) / 24
    np.testing.assert_allclose(day_of([instant(hour) for hour in hours], 1), expected)


@pytest.mark.parametrize("missing", range(24, 48, 6))
def test_a_missing_instant_is_named(missing: int) -> None:
    maker = DayMaker([instant(hour) for hour in range(0, 73, 6) if hour != missing])
    terms = maker.terms(DAY)
    assert isinstance(terms, Lacking)
    assert terms.why == f"no step at 1970-01-02T{missing - 24:02d}:00"


def test_the_last_day_ends_with_its_last_step() -> None:
    assert not isinstance(DayMaker([instant(hour) for hour in range(0, 24, 6)]).terms(0), Lacking)
    assert isinstance(DayMaker([instant(hour) for hour in range(0, 18, 6)]).terms(0), Lacking)
    assert isinstance(DayMaker([instant(0)]).terms(0), Lacking)


def test_instants_once_a_day_make_no_mean() -> None:
    terms = DayMaker([instant(hour) for hour in range(0, 97, 24)]).terms(0)
    assert isinstance(terms, Lacking)
    assert "instants come every 24 hours, of which no daily mean can be made" in terms.why
