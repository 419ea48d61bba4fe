"""What a time stamp means, and what the attributes of a file say of its values: read, or refused for what was seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from soilcast.cube import daily_axis
from soilcast.errors import SoilcastError
from soilcast.sources.stamps import covered_days, refuse_contradictions, sign_of

DAYS = np.arange("2020-02-25", "2020-03-05", dtype="datetime64[D]")
DAY, HOUR = np.timedelta64(1, "D"), np.timedelta64(1, "h")


def file_of(
    stamps: np.ndarray, begin: np.ndarray | None = None, end: np.ndarray | None = None, **time: Any
) -> xr.Dataset:
    """A file with a time axis, and with bounds if they are given."""
    bounded = {} if begin is None else {"bounds": "time_bnds"}
    data = xr.Dataset(coords={"time": ("time", stamps.astype("datetime64[ns]"), {**bounded, **time})})
    if begin is not None and end is not None:
        data["time_bnds"] = (("time", "nv"), np.stack([begin, end], axis=1).astype("datetime64[ns]"))
    return data


@given(hour=st.integers(0, 24), short=st.integers(0, 3), order=st.booleans())
def test_bounds_decide_whatever_the_stamp(hour: int, short: int, order: bool) -> None:
    """Stamps at the begin, the middle or the end; programs that take the last stamp for the end write 23 hours."""
    begin, end = DAYS + 0 * HOUR, DAYS + (24 - short) * HOUR
    stamps = DAYS + min(hour, 24 - short) * HOUR
    data = file_of(stamps, *((begin, end) if order else (end, begin)))
    np.testing.assert_array_equal(daily_axis(covered_days(data, "time", "f.nc"), "f.nc"), DAYS)


@pytest.mark.parametrize("hour", [0, 6, 12, 23])
def test_a_stamp_without_bounds_stands_for_the_day_that_it_lies_in(hour: int) -> None:
    found = covered_days(file_of(DAYS + hour * HOUR), "time", "f.nc")
    np.testing.assert_array_equal(daily_axis(found, "f.nc"), DAYS)


@pytest.mark.parametrize("words", ["time at end of time step", "end of the averaging interval", "interval end"])
def test_a_stamp_that_its_file_calls_an_end_stands_for_the_day_before(words: str) -> None:
    found = covered_days(file_of(DAYS + DAY, long_name=words), "time", "f.nc")
    np.testing.assert_array_equal(daily_axis(found, "f.nc"), DAYS)


MONTHS = np.arange("2020-01", "2020-05", dtype="datetime64[M]")
BOUNDS = {
    "of months": (file_of(MONTHS, MONTHS + 0 * DAY, (MONTHS + 1) + 0 * DAY), r"spans 31 days \(a month\)"),
    "of hours": (file_of(DAYS + HOUR, DAYS + 0 * HOUR, DAYS + HOUR), "spans 1 hours"),
    "from 12 to 12": (
        file_of(DAYS + DAY, DAYS + 12 * HOUR, DAYS + 36 * HOUR),
        "2020-02-25T12:00 .. 2020-02-26T12:00 spans 24 hours, .*from 00 to 00 UTC",
    ),
    "from 06 to 06": (file_of(DAYS + DAY, DAYS + 6 * HOUR, DAYS + 30 * HOUR), "2020-02-25T06:00 .. 2020-02-26T06:00"),
    "of other days": (file_of(DAYS + 9 * DAY, DAYS + 0 * HOUR, DAYS + DAY), "does not hold its time stamp 2020-03-05"),
    "of nothing": (file_of(DAYS, DAYS + 0 * HOUR, DAYS + 0 * HOUR), "spans 0 hours"),
    "climatological": (file_of(DAYS, climatology="time_bnds"), "climatological"),
}


@pytest.mark.parametrize("case", BOUNDS)
def test_bounds_that_are_not_those_of_days_are_named(case: str) -> None:
    data, message = BOUNDS[case]
    with pytest.raises(SoilcastError, match=message) as raised:
        covered_days(data, "time", "f.nc")
    assert str(raised.value).startswith("f.nc: ")


CONTRADICTIONS = {
    "an accumulation": ("tp", "m", {"GRIB_stepType": "accum"}, "one stamp a day: .* summed, averaged or picked"),
    "an instant of rain": ("tp", "mm d-1", {"cell_methods": "time: point"}, "instantaneous"),
    "a mean of amounts": ("tp", "mm", {"cell_methods": "area: mean time: mean"}, "mean .* of amounts .*'mm h-1' of an"),
    "a mean of energy": ("ssrd", "J m-2", {"cell_methods": "time: mean"}, "mean .* of amounts"),
    "a sum of rates": ("tp", "kg m-2 s-1", {"cell_methods": "time: sum"}, "sum .* of rates"),
    "a highest rain": ("tp", "mm d-1", {"cell_methods": "time: maximum"}, "is the maximum of the day"),
    "a lowest temperature": ("t2m", "K", {"cell_methods": "time: minimum (interval: 1 hour)"}, "give the daily mean"),
    "the wrong extreme": ("mx2t", "K", {"cell_methods": "time: minimum"}, "is the minimum"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_what_no_daily_value_can_be_is_refused(case: str) -> None:
    name, unit, attributes, message = CONTRADICTIONS[case]
    with pytest.raises(SoilcastError, match=rf"^f\.nc: {name} .*{message}"):
        refuse_contradictions(name, attributes, unit, "f.nc")


@pytest.mark.parametrize(
    ("name", "unit", "attributes"),
    [
        ("tp", "m", {"GRIB_stepType": "accum", "cell_methods": "time: sum"}),
        ("tp", "mm", {"cell_methods": "time: sum (interval: 1 hour)"}),
        ("tp", "mm d-1", {"cell_methods": "time: sum"}),
        ("tp", "kg m-2 s-1", {"cell_methods": "time: mean"}),
        ("tp", None, {"cell_methods": "time: mean"}),
        ("ssrd", "J m-2", {"cell_methods": "time: sum"}),
        ("mn2t", "K", {"cell_methods": "time: minimum"}),
        ("swvl1", "m3 m-3", {"cell_methods": "time: point", "GRIB_stepType": "instant"}),
        ("tp", "mm", {}),
    ],
)
def test_what_can_be_a_daily_value_passes(name: str, unit: str | None, attributes: dict[str, str]) -> None:
    refuse_contradictions(name, attributes, unit, "f.nc")


@pytest.mark.parametrize(
    ("attributes", "sign"),
    [
        ({"positive": "up"}, 1.0),
        ({"positive": "down", "standard_name": "water_evapotranspiration_flux"}, -1.0),
        ({"standard_name": "water_evapotranspiration_flux"}, 1.0),
        ({"long_name": "evaporation (positive downward)"}, -1.0),
        ({"description": "Downward is positive."}, -1.0),
        ({"long_name": "latent heat as evaporation, upward positive"}, 1.0),
        ({"long_name": "total evaporation"}, None),
        ({}, None),
    ],
)
def test_which_way_evaporation_counts_is_read_where_it_is_written(
    attributes: dict[str, str], sign: float | None
) -> None:
    assert sign_of("e", attributes) == sign
    assert sign_of("tp", attributes) is None
