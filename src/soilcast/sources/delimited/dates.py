"""Days as people write them: ISO dates, dates of either order, names of months, counts since a date, time zones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import numpy.typing as npt

_YEAR_FIRST = re.compile(r"(\d{4})([-/. ])(\d{1,2})\2(\d{1,2})", re.ASCII)
_YEAR_LAST = re.compile(r"(\d{1,2})([-/. ])(\d{1,2})\2(\d{4})", re.ASCII)
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})(?:\.0+)?", re.ASCII)
_DAY_OF_YEAR = re.compile(r"(\d{4}) (\d{1,3})", re.ASCII)
_DAY_MONTH = re.compile(r"(\d{1,2})[-/. ]*([A-Za-z]{3,9})[-/., ]*(\d{4})", re.ASCII)
_MONTH_DAY = re.compile(r"([A-Za-z]{3,9})\.? +(\d{1,2}),? +(\d{4})", re.ASCII)
_STAMP = re.compile(
    r"(?P<date>.*?)(?:(?:T|\s+)(?P<clock>\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)"
    r"\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?)?",
    re.ASCII | re.DOTALL,
)
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_SINCE = re.compile(r"(days|hours|minutes|seconds|milliseconds) since (\d{4}-\d{2}-\d{2})([T ]00:00(:00)?)?Z?")
UTC = ("", "Z", "UTC", "GMT", "+00:00", "+0000", "+00", "-00:00")
_ISO = "%Y-%m-%d"
_EPOCH = date(1970, 1, 1).toordinal()
_EXCEL = range(20_000, 80_000)
"""Days of 1954 .. 2119 in the count of Excel."""


class NotADateError(ValueError):
    """A text that cannot be read as a day.

    Parameters
    ----------
    position
        Which of the texts.
    reason
        What is wrong with it and what to do.
    """

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position, self.reason = position, reason


@dataclass(frozen=True)
class Stamps:
    """Times as they were written.

    Parameters
    ----------
    days
        The calendar day of each, as written, ``(text,)``.
    clock
        The time of that day, ``(text,)``.
    zone
        The offset from UTC that was written beside each, empty where none was, ``(text,)``.
    """

    days: npt.NDArray[np.datetime64]
    clock: npt.NDArray[np.timedelta64]
    zone: tuple[str, ...]

    @property
    def zones(self) -> tuple[str, ...]:
        """The offsets that are not those of UTC."""
        return tuple(sorted(set(self.zone) - set(UTC)))


def check_format(text: str) -> str:
    """Give back a format that `read_stamps` takes.

    Raises
    ------
    ValueError
        It names no day, has years of two digits, or is neither a format of strptime nor a count since a date.
    """
    if _SINCE.fullmatch(text):
        date.fromisoformat(_SINCE.fullmatch(text)[2])  # type: ignore[index]
        return text
    if "%" not in text:
        raise ValueError(
            'expected a format such as "%d/%m/%Y", or a count such as "milliseconds since 1970-01-01" or '
            '"days since 1899-12-30" (Excel)'
        )
    directives = set(re.findall(r"%(.)", text))
    if "y" in directives:
        raise ValueError("years of two digits (%y) are not read: write them in full (%Y)")
    if "Y" not in directives or not (("d" in directives and directives & {"m", "b", "B"}) or "j" in directives):
        raise ValueError("a format needs the year (%Y), and the month and the day (%m and %d) or the day of year (%j)")
    try:
        datetime.strptime(datetime(2000, 12, 31).strftime(text), text)
    except (ValueError, re.error) as error:
        raise ValueError(f"not a format of dates ({error})") from error
    return text


def order_of_days(texts: Iterable[str]) -> str | None:
    """Tell from a number above 12 whether the day or the month comes first in dates such as 31/12/2018.

    Returns
    -------
    ``day`` or ``month``; None where no date tells it.
    """
    for text in texts:
        stamp = _STAMP.fullmatch(text)
        match = _YEAR_LAST.fullmatch(stamp["date"]) if stamp else None
        if match and int(match[1]) > 12:
            return "day"
        if match and int(match[3]) > 12:
            return "month"
    return None


def read_stamps(texts: Sequence[str], *, columns: int, time_format: str | None, order: str | None) -> Stamps:
    """Read days, with what stands beside them of the time of day and the zone.

    Parameters
    ----------
    texts
        The texts; of several columns with a blank between them.
    columns
        From how many columns they come: two are year and day of the year, or date and time.
    time_format
        A format of strptime, or a count such as ``days since 1899-12-30``; None to tell it from the texts.
    order
        ``day`` or ``month``: what comes first in 01/02/2018; None where that is not known.

    Raises
    ------
    NotADateError
        A text is no date, or can be more than one.
    """
    if time_format in (None, _ISO) and (plain := _iso_days(texts)) is not None:
        return Stamps(plain, np.zeros(len(texts), dtype="timedelta64[s]"), ("",) * len(texts))
    if time_format is None:
        read: Callable[[str], tuple[date, timedelta, str]] = lambda text: _read(text, columns, order)  # noqa: E731
    elif match := _SINCE.fullmatch(time_format):
        begin, unit = datetime.fromisoformat(match[2]), match[1]
        read = lambda text: _counted(text, begin, unit)  # noqa: E731
    else:
        written = time_format
        read = lambda text: _formatted(text, written)  # noqa: E731
    days, clock, zones = [], [], []
    for position, text in enumerate(texts):
        try:
            day, time, zone = read(text)
        except ValueError as error:
            raise NotADateError(position, str(error)) from error
        except OverflowError as error:
            raise NotADateError(position, "is no day of the calendar: correct it") from error
        days.append(day.toordinal() - _EPOCH)
        clock.append(time)
        zones.append(zone)
    return Stamps(
        np.array(days, dtype=np.int64).astype("datetime64[D]"),
        np.array(clock, dtype="timedelta64[s]"),
        tuple(zones),
    )


def _iso_days(texts: Sequence[str]) -> npt.NDArray[np.datetime64] | None:
    """Read dates that are all written 2018-12-31, which most are, at a fraction of the time."""
    try:
        days = [date.fromisoformat(text).toordinal() - _EPOCH for text in texts if len(text) == 10]
    except ValueError:
        return None
    return np.array(days, dtype=np.int64).astype("datetime64[D]") if len(days) == len(texts) else None


def _read(text: str, columns: int, order: str | None) -> tuple[date, timedelta, str]:
    stamp = _STAMP.fullmatch(text)
    assert stamp is not None
    written, clock = stamp["date"], _clock(stamp["clock"])
    zone = stamp["zone"] or ""
    if (match := _YEAR_FIRST.fullmatch(written)) is not None:
        return _date(match[1], match[3], match[4]), clock, zone
    if (match := _COMPACT.fullmatch(written)) is not None:
        return _date(match[1], match[2], match[3]), clock, zone
    if columns == 2 and (match := _DAY_OF_YEAR.fullmatch(written)) is not None:
        day = date(int(match[1]), 1, 1) + timedelta(int(match[2]) - 1)
        if day.year != int(match[1]):
            raise ValueError("is no day of that year: correct it")
        return day, clock, zone
    if (match := _YEAR_LAST.fullmatch(written)) is not None:
        if order is None:
            raise ValueError(
                "may have the day or the month first: write dates as 2018-12-31, or say which in the mapping "
                '(time_format: "%d/%m/%Y")'
            )
        first, second = (3, 1) if order == "day" else (1, 3)
        return _date(match[4], match[first], match[second], f" if the {order} is first, as in other rows"), clock, zone
    if (match := _DAY_MONTH.fullmatch(written)) is not None:
        return _date(match[3], _month(match[2]), match[1]), clock, zone
    if (match := _MONTH_DAY.fullmatch(written)) is not None:
        return _date(match[3], _month(match[1]), match[2]), clock, zone
    raise ValueError(_suggestion(text))


def _date(year: str, month: str | int, day: str, condition: str = "") -> date:
    try:
        return date(int(year), int(month), int(day))
    except ValueError as error:
        raise ValueError(f"is no day of the calendar{condition}: correct it") from error


def _month(name: str) -> int:
    match = [number for number, month in enumerate(_MONTHS, start=1) if month.startswith(name.lower())]
    if not match:
        raise ValueError("is not a date: write it as 2018-12-31")
    return match[0]


def _clock(text: str | None) -> timedelta:
    hours, minutes, seconds = [*map(float, (text or "0").split(":")), 0.0, 0.0][:3]
    if hours > 23 or minutes > 59 or seconds >= 61:
        raise ValueError("has a time of day that no clock shows: correct it")
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def _counted(text: str, begin: datetime, unit: str) -> tuple[date, timedelta, str]:
    try:
        time = begin + timedelta(**{unit: float(text)})
    except ValueError as error:
        raise ValueError(f"is not a number, though the mapping says time_format: {unit} since ...") from error
    midnight = datetime.combine(time.date(), datetime.min.time())
    return time.date(), time - midnight, ""


def _formatted(text: str, time_format: str) -> tuple[date, timedelta, str]:
    try:
        time = datetime.strptime(text, time_format)
    except ValueError as error:
        raise ValueError(f"is not written as the mapping says (time_format: {time_format!r})") from error
    midnight = datetime.combine(time.date(), datetime.min.time(), time.tzinfo)
    return time.date(), time - midnight, time.strftime("%z")


def _suggestion(text: str) -> str:
    """Say what a text that is no date looks like."""
    if re.fullmatch(r"\d{1,2}[-/. ]\d{1,2}[-/. ]\d{2}(\D.*)?", text, re.ASCII):
        return "has a year of two digits: write it in full"
    if match := re.fullmatch(r"(19|20)\d{2}(0[1-9]|1[0-2])([0-2]\d|3[01])\d{4}(\d{2})?", text, re.ASCII):
        seconds = "%S" if match[4] else ""
        return f'looks like a date and a time of day: say so in the mapping (time_format: "%Y%m%d%H%M{seconds}")'
    if re.fullmatch(r"\d{4}[-/.]\d{1,2}", text, re.ASCII):
        return "is a month, but one value a day is expected"
    try:
        number = float(text)
    except ValueError:
        return (
            'is not a date: write it as 2018-12-31, or say how it is written in the mapping (time_format: "%d/%m/%Y")'
        )
    digits = len(str(abs(int(number)))) if np.isfinite(number) and abs(number) < 1e15 else 0
    if number in _EXCEL or int(number if digits else 0) in _EXCEL:
        return "looks like a day of Excel: say so in the mapping (time_format: days since 1899-12-30)"
    if digits == 7:
        return 'looks like year and day of the year: say so in the mapping (time_format: "%Y%j")'
    if digits in (9, 10):
        return "looks like epoch seconds: say so in the mapping (time_format: seconds since 1970-01-01)"
    if digits in (12, 13):
        return "looks like epoch milliseconds: say so in the mapping (time_format: milliseconds since 1970-01-01)"
    return "is a number, not a date: write it as 2018-12-31, or say what it counts in the mapping (time_format)"
