"""Which days are for training, validation and test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from soilcast.errors import SoilcastError
from soilcast.training.sections import SplitConfig
from soilcast.training.split import split_days, write_periods


def days(first: str, last: str) -> np.ndarray:
    return np.arange(np.datetime64(first), np.datetime64(last) + 1).astype("datetime64[ns]")


def test_the_papers_split() -> None:
    config = SplitConfig(test="2020", development="2018-01-01:2019-12-23")
    split = split_days(days("2018-01-01", "2020-12-31"), config, "cube")
    periods = split.periods(days("2018-01-01", "2020-12-31"))
    assert split.test == (slice(730, 1096),)
    assert periods["train_period"] == "2018-01-01:2019-06-26"
    assert periods["validation_period"] == "2019-06-27:2019-12-23"
    assert periods["test_period"] == "2020-01-01:2020-12-31"


@pytest.mark.parametrize(("last", "length"), [("2020-12-31", 366), ("2019-12-31", 365), ("2020-02-29", 366)])
def test_the_last_year_is_the_test(last: str, length: int) -> None:
    axis = days("2017-01-01", last)
    (test,) = split_days(axis, SplitConfig(), "cube").test
    assert (test.stop, test.stop - test.start) == (len(axis), length)


@given(st.integers(420, 2000), st.floats(0.05, 0.95))
def test_parts_follow_each_other_without_overlap(count: int, share: float) -> None:
    axis = np.datetime64("2001-01-01", "ns") + np.arange(count) * np.timedelta64(1, "D")
    split = split_days(axis, SplitConfig(validation_share=share), "cube")
    (train,), (validation,), (test,) = split.train, split.validation, split.test
    assert 0 == train.start < train.stop == validation.start < validation.stop
    assert validation.stop == test.start < test.stop == count


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (SplitConfig(test="2021"), "split.test 2021 is outside the cube (2018-01-01 .. 2020-12-31)"),
        (SplitConfig(development="2017:2018"), "split.development 2017:2018 is outside the cube"),
        (
            SplitConfig(test="2019", development="2018:2019"),
            "split.development and split.test have 365 day(s) in common",
        ),
        (SplitConfig(test="2018"), "only 0 day(s) for training"),
        (SplitConfig(months=25), "split.months 25 is longer than the development period (2018-01-01:2019-12-31)"),
    ],
)
def test_a_period_that_cannot_be_is_named(config: SplitConfig, expected: str) -> None:
    with pytest.raises(SoilcastError) as caught:
        split_days(days("2018-01-01", "2020-12-31"), config, "my.cube")
    assert expected in str(caught.value)
    assert "my.cube" in str(caught.value)


@pytest.mark.parametrize(
    ("development", "months", "expected"),
    [
        ("2018:2019", 1, "2019-12-01:2019-12-31"),
        ("2018:2019", 24, "2018-01-01:2019-12-31"),
        ("2018-01-15:2019-03-14", 3, "2018-12-15:2019-03-14"),
        ("2018-01-01:2018-06-30,2019-05-01:2019-06-30", 12, "2019-05-01:2019-06-30"),
        ("2018-01-01:2018-06-30,2019-05-01:2019-06-30", 14, "2018-05-01:2018-06-30,2019-05-01:2019-06-30"),
    ],
)
def test_the_last_months_of_development_alone(development: str, months: int, expected: str) -> None:
    axis = days("2018-01-01", "2020-12-31")
    config = SplitConfig(test="2020", development=development.split(","), months=months)
    split = split_days(axis, config, "cube")
    assert write_periods(axis, split.development) == expected


def test_months_are_of_development_and_not_of_a_training_period() -> None:
    with pytest.raises(ValidationError, match=r"split\.months shortens split\.development, which split.train replaces"):
        SplitConfig(train="2018", validation="2019", months=3)
    assert SplitConfig(months="all").months is None
