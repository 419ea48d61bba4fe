"""The time axis: daily, real, without gaps; and periods as people write them."""

from __future__ import annotations

import calendar
import datetime
from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from soilcast.cube import daily_axis, days_of
from soilcast.errors import SoilcastError

DAYS = np.arange("2019-12-30", "2020-03-03", dtype="datetime64[D]")
REAL_DATES = st.dates(datetime.date(1678, 1, 1), datetime.date(2261, 12, 31))


@dataclass(frozen=True)
class Moment:
    """A date as the cftime library gives it: an object that knows its calendar."""

    day: str
    calendar: str

    def isoformat(self) -> str:
        return f"{self.day}T12:00:00"


def moments(days: list[str], name: str) -> np.ndarray:
    axis = np.empty(len(days), dtype=object)
    axis[:] = [Moment(day, name) for day in days]
    return axis


@given(first=st.dates(datetime.date(1700, 1, 1), datetime.date(2200, 1, 1)), days=st.integers(1, 800))
def test_consecutive_days_pass_as_they_are(first: datetime.date, days: int) -> None:
    axis = np.datetime64(first) + np.arange(days)
    found = daily_axis(axis.astype("datetime64[s]"), "f.nc")
    assert found.dtype == np.dtype("datetime64[ns]")
    np.testing.assert_array_equal(found, axis)


@pytest.mark.parametrize("hour", [0, 6, 12, 23])
def test_the_hour_of_a_daily_value_does_not_matter(hour: int) -> None:
    np.testing.assert_array_equal(daily_axis(DAYS + np.timedelta64(hour, "h"), "f.nc"), DAYS)


def test_an_empty_axis_is_refused() -> None:
    with pytest.raises(SoilcastError, match=r"^f\.nc: the time axis is empty"):
        daily_axis(DAYS[:0], "f.nc")


def test_a_day_given_twice_is_named() -> None:
    with pytest.raises(SoilcastError, match=r"^f\.nc: 2020-02-29 occurs more than once.*remove the duplicates$"):
        daily_axis(np.sort(np.append(DAYS, np.datetime64("2020-02-29"))), "f.nc")


def test_hours_are_no_days() -> None:
    hours = np.arange("2020-01-01", "2020-01-20", 6, dtype="datetime64[h]")
    with pytest.raises(SoilcastError, match=r"^f\.nc: 2020-01-01 occurs more than once: 4 values a day, .*aggregate"):
        daily_axis(hours, "f.nc")


@pytest.mark.parametrize(
    ("days", "name"),
    [
        (np.arange("2020-01", "2021-01", dtype="datetime64[M]"), "monthly"),
        (np.arange("2020-01", "2020-03", dtype="datetime64[M]"), "monthly"),
        (np.arange("2020-02", "2021-02", dtype="datetime64[M]").astype("datetime64[D]") - 1, "monthly"),
        (np.arange("2001", "2010", dtype="datetime64[Y]"), "yearly"),
        (np.arange("2020-01-01", "2020-03-01", 8, dtype="datetime64[D]"), "8-day composites"),
        (np.arange("2020-01-01", "2020-03-01", 7, dtype="datetime64[D]"), "weekly"),
        (np.arange("2020-01-01", "2020-03-01", 2, dtype="datetime64[D]"), "not daily"),
    ],
)
def test_values_of_longer_times_are_named_for_what_they_are(days: np.ndarray, name: str) -> None:
    with pytest.raises(SoilcastError, match=rf"^f\.nc: the values are {name} \(every \d+.* days, .*give the daily"):
        daily_axis(days.astype("datetime64[D]"), "f.nc")


def test_missing_days_are_counted_and_named() -> None:
    kept = DAYS[~np.isin(DAYS, np.array(["2020-02-28", "2020-02-29"], dtype="datetime64[D]"))]
    with pytest.raises(SoilcastError, match=r"^f\.nc: 2 missing day\(s\): 2020-02-28, 2020-02-29; add them"):
        daily_axis(kept, "f.nc")


def test_many_missing_days_make_no_long_line() -> None:
    with pytest.raises(SoilcastError, match=r"36[45] missing") as caught:
        daily_axis(np.array(["2019-06-01", "2020-06-01"], dtype="datetime64[D]"), "f.nc")
    assert len(str(caught.value)) < 200


def test_an_axis_that_runs_backwards_is_named_where_it_does() -> None:
    with pytest.raises(SoilcastError, match=r"^f\.nc: the time axis is not ascending at 2020-03-01: sort it by time$"):
        daily_axis(DAYS[::-1], "f.nc")


@pytest.mark.parametrize("name", ["noleap", "360_day", "julian"])
def test_a_model_calendar_is_named(name: str) -> None:
    with pytest.raises(SoilcastError, match=rf"^f\.nc: calendar '{name}' is not a real calendar: give data in the st"):
        daily_axis(moments(["2001-01-01", "2001-01-02"], name), "f.nc")


@pytest.mark.parametrize("name", ["standard", "gregorian", "proleptic_gregorian"])
def test_a_real_calendar_passes_in_whatever_objects_it_comes(name: str) -> None:
    np.testing.assert_array_equal(daily_axis(moments([str(day) for day in DAYS], name), "f.nc"), DAYS)


@pytest.mark.parametrize(
    "times", [np.arange(5), np.array(["2020-01-01"]), np.array([datetime.date(2020, 1, 1)], dtype=object)]
)
def test_what_is_no_date_is_refused(times: np.ndarray) -> None:
    with pytest.raises(SoilcastError, match=r"^f\.nc: the time axis contains no dates .*give it CF time units$"):
        daily_axis(times, "f.nc")


def test_a_hole_in_the_times_is_counted() -> None:
    holed = DAYS.copy()
    holed[[3, 7]] = np.datetime64("NaT")
    with pytest.raises(SoilcastError, match=r"^f\.nc: 2 time\(s\) are missing"):
        daily_axis(holed, "f.nc")


@pytest.mark.parametrize("year", ["1500", "9500", "0001"])
def test_years_that_would_wrap_around_are_refused(year: str) -> None:
    with pytest.raises(SoilcastError, match=rf"^f\.nc: the days run from {year}-01-01 .*check the units"):
        daily_axis(np.array([f"{year}-01-01", f"{year}-01-02"], dtype="datetime64[s]"), "f.nc")


def test_times_that_xarray_could_not_decode_are_no_dates() -> None:
    raw = xr.Dataset({"time": ("time", np.arange(4), {"units": "months since 2001-01-01"})})
    with pytest.raises(SoilcastError, match="contains no dates"):
        daily_axis(raw["time"], "f.nc")


@given(day=REAL_DATES)
def test_a_period_of_one_day_month_or_year(day: datetime.date) -> None:
    month_length = calendar.monthrange(day.year, day.month)[1]
    assert days_of(day.isoformat()) == (np.datetime64(day), np.datetime64(day))
    assert days_of(f"{day:%Y-%m}") == (np.datetime64(day.replace(day=1)), np.datetime64(day.replace(day=month_length)))
    assert days_of(f"{day.year}") == (np.datetime64(f"{day.year}-01-01"), np.datetime64(f"{day.year}-12-31"))


@given(ends=st.tuples(REAL_DATES, REAL_DATES).map(sorted))
def test_a_period_from_day_to_day(ends: list[datetime.date]) -> None:
    first, last = days_of(f"{ends[0]} : {ends[1]}")
    assert (first, last) == (np.datetime64(ends[0]), np.datetime64(ends[1]))
    assert first.dtype == last.dtype == np.dtype("datetime64[ns]")


@pytest.mark.parametrize(
    ("period", "days"), [("2020", 366), ("2019", 365), ("2000-02", 29), ("1900-02", 28), ("2018:2020", 1096)]
)
def test_leap_years_count(period: str, days: int) -> None:
    first, last = days_of(period)
    assert (last - first) / np.timedelta64(1, "D") + 1 == days


@pytest.mark.parametrize(
    "period",
    [
        "",
        " ",
        ":",
        "2020:",
        ":2020",
        "NaT",
        "now",
        "abc",
        "20",
        "2020-13",
        "2020-02-30",
        "2019-02-29",
        "2020-1-1",
        "2020Q1",
        "01/02/2020",
        "2020-01-01 05:00",
        "2020:2021:2022",
        "٢٠٢٠",
        "-2020",
        "2020-01-01-01",
        "2e3",
    ],
)
def test_nonsense_is_no_period(period: str) -> None:
    with pytest.raises(SoilcastError, match=r"is not a period: write 2020, 2020-03 or 2018-01-01:2019-12-23$"):
        days_of(period)


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(SoilcastError, match="'2020:2019' ends before it begins"):
        days_of("2020:2019")


@pytest.mark.parametrize("period", ["1500", "9999", "2020:2300", "1677-12-31", "0000"])
def test_a_period_out_of_reach_is_refused_instead_of_wrapping_around(period: str) -> None:
    with pytest.raises(SoilcastError, match=r"is outside 1678-01-01 \.\. 2261-12-31"):
        days_of(period)


@pytest.mark.slow
@given(period=st.text(max_size=15))
def test_any_text_is_a_period_or_a_word_to_the_user(period: str) -> None:
    try:
        first, last = days_of(period)
    except SoilcastError:
        return
    assert first <= last
