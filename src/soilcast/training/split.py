"""Which days of a cube are for training, validation and test, never mixed; which cells are learnt from."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import days_of, read
from soilcast.cube.calendar import Days, last_year
from soilcast.cube.contract import KOEPPEN_CLASSES
from soilcast.errors import SoilcastError
from soilcast.training.sections import CLIMATES, SplitConfig

_NONE = -1

GROUPS = len(CLIMATES)
"""How many groups `climate_groups` knows."""


Periods = tuple[slice, ...]
"""Positions of the days of periods along a time axis: ascending, disjoint, not adjacent."""


@dataclass(frozen=True)
class Split:
    """Positions along the time axis of a cube."""

    train: Periods
    validation: Periods
    test: Periods

    @property
    def development(self) -> Periods:
        """Training and validation together."""
        return _joined((*self.train, *self.validation))

    def periods(self, days: Days) -> dict[str, str]:
        """Write the three as ``first:last``, several joined by commas, by the names that artifacts carry."""
        named = {"train_period": self.train, "validation_period": self.validation, "test_period": self.test}
        return {name: write_periods(days, parts) for name, parts in named.items()}


def span(periods: Periods) -> slice:
    """From the first day of periods to the last."""
    return slice(periods[0].start, periods[-1].stop)


def days_in(periods: Periods, days: slice) -> npt.NDArray[np.bool_]:
    """Say which of some days ``(time,)``, by position, lie in periods."""
    inside = np.zeros(days.stop - days.start, dtype=np.bool_)
    for part in periods:
        inside[max(0, part.start - days.start) : max(0, part.stop - days.start)] = True
    return inside


def split_days(days: Days, config: SplitConfig, where: str) -> Split:
    """Split the days of a cube.

    Parameters
    ----------
    days
        The cube's days ``(time,)``.
    config
        The periods; by default the last year is the test and every day before it is for development.
    where
        The cube, for the message.

    Raises
    ------
    SoilcastError
        A period that is not wholly in the cube, periods that overlap, or no day left to train on.
    """
    test = _parts(days, config.test, where, "split.test") or (last_year(days),)
    if config.train is not None:
        train, validation = (
            _parts(days, getattr(config, key), where, f"split.{key}") for key in ("train", "validation")
        )
        split = Split(train, validation, test)
    else:
        before = (slice(0, test[0].start),)
        development = _parts(days, config.development, where, "split.development") or before
        if config.months is not None:
            development = _last_months(days, development, config.months, where)
        split = Split(*_cut(development, config.validation_share, where), test)
    keys = ("split.train", "split.validation") if config.train else ("split.development",)
    _refuse_overlap(split, days, where, keys)
    return split


def period_slice(days: Days, period: str, where: str, key: str) -> slice:
    """Positions of a period's days.

    Raises
    ------
    SoilcastError
        The period is not wholly within the cube.
    """
    first, last = days_of(period)
    if first < days[0] or last > days[-1]:
        held = f"{days[0].astype('datetime64[D]')} .. {days[-1].astype('datetime64[D]')}"
        raise SoilcastError(f"{where}: {key} {period} is outside the cube ({held}): choose a period within it")
    start = int((first - days[0]) / np.timedelta64(1, "D"))
    return slice(start, int((last - days[0]) / np.timedelta64(1, "D")) + 1)


def period_slices(days: Days, periods: str, where: str, key: str) -> Periods:
    """Positions of the days of one period, or of several joined by commas; adjacent ones become one.

    Raises
    ------
    SoilcastError
        A period is not wholly within the cube, or two have days in common.
    """
    parts: list[slice] = []
    texts = [text.strip() for text in periods.split(",")]
    for part in sorted((period_slice(days, text, where, key) for text in texts), key=lambda part: part.start):
        if parts and part.start < parts[-1].stop:
            day = days[part.start].astype("datetime64[D]")
            raise SoilcastError(f"{where}: {key} {periods}: {day} is in two of the periods: write each day once")
        parts.append(part)
    return _joined(parts)


def _joined(parts: Sequence[slice]) -> Periods:
    """Put periods in order, adjacent ones as one."""
    joined: list[slice] = []
    for part in sorted(parts, key=lambda part: part.start):
        begin = joined.pop().start if joined and joined[-1].stop == part.start else part.start
        joined.append(slice(begin, part.stop))
    return tuple(joined)


def write_periods(days: Days, periods: Sequence[slice]) -> str:
    """Write periods as ``first:last``, joined by commas: undo `period_slices`."""
    ends = ((days[part.start], days[part.stop - 1]) for part in periods)
    return ",".join(":".join(np.datetime_as_string(day, "D") for day in pair) for pair in ends)


def _parts(days: Days, periods: Sequence[str] | None, where: str, key: str) -> Periods:
    return period_slices(days, ",".join(periods), where, key) if periods else ()


def _last_months(days: Days, development: Periods, months: int, where: str) -> Periods:
    end = days[development[-1].stop - 1].astype("datetime64[D]") + 1
    month = end.astype("datetime64[M]")
    begin = (month - months).astype("datetime64[D]") + (end - month.astype("datetime64[D]"))
    if begin < days[development[0].start]:
        raise SoilcastError(
            f"{where}: split.months {months} is longer than the development period "
            f"({write_periods(days, development)}): set a smaller number, or all"
        )
    first = int(np.searchsorted(days, begin))
    return tuple(slice(max(part.start, first), part.stop) for part in development if part.stop > first)


def _cut(development: Periods, share: float, where: str) -> tuple[Periods, Periods]:
    """Cut the days of development in two: the last ones are for validation."""
    length = sum(part.stop - part.start for part in development)
    count = round(share * length)
    if not 0 < count < length:
        raise SoilcastError(
            f"{where}: only {length} day(s) for training and validation, too few for split.validation_share "
            f"{share:g}: set split.test to a later or split.development to a longer period"
        )
    train, validation = list(development), list[slice]()
    while count:
        last = train.pop()
        taken = min(count, last.stop - last.start)
        validation.insert(0, slice(last.stop - taken, last.stop))
        if taken < last.stop - last.start:
            train.append(slice(last.start, last.stop - taken))
        count -= taken
    return tuple(train), tuple(validation)


def _refuse_overlap(split: Split, days: Days, where: str, keys: Sequence[str]) -> None:
    periods = (split.train, split.validation) if len(keys) == 2 else ((*split.train, *split.validation),)
    named = dict(zip((*keys, "split.test"), (*periods, split.test), strict=True))
    whole = slice(0, len(days))
    for (one, mine), (other, theirs) in itertools.combinations(named.items(), 2):
        common = days_in(mine, whole) & days_in(theirs, whole)
        if common.any():
            first = days[common][0].astype("datetime64[D]")
            raise SoilcastError(
                f"{where}: {one} and {other} have {int(common.sum())} day(s) in common, the first {first}: no day may "
                "be in two of them"
            )


def climate_groups(cube: xr.Dataset) -> npt.NDArray[np.int64]:
    """Number of each cell's main climate of Koeppen ``(cell,)``, 0 (A) to 4 (E); -1 where the cube knows none."""
    if "climate_zone" not in cube:
        return np.full(cube.sizes["cell"], _NONE, dtype=np.int64)
    letters = [name[0] for name in KOEPPEN_CLASSES.values()]
    of_class = np.array([_NONE, *map(CLIMATES.index, letters)], dtype=np.int64)
    zone = np.nan_to_num(read(cube, "climate_zone"), nan=0.0).astype(np.int64)
    return of_class[zone]


def in_climate(cube: xr.Dataset, climate: str) -> npt.NDArray[np.bool_]:
    """Say which cells have a main climate of Koeppen ``(cell,)``."""
    return np.asarray(climate_groups(cube) == CLIMATES.index(climate))


def learning_cells(cube: xr.Dataset, config: SplitConfig) -> npt.NDArray[np.bool_]:
    """Choose the cells to learn from ``(cell,)``: all, or those of other climates, or a share of them by lot.

    The lot falls by the place of a cell among all, the same whatever is trained.

    Raises
    ------
    SoilcastError
        No cell is left.
    """
    chosen = np.ones(cube.sizes["cell"], dtype=np.bool_)
    if config.without_climate is not None:
        chosen &= ~in_climate(cube, config.without_climate)
    if config.cells_share < 1.0:
        among = np.flatnonzero(chosen)
        count = max(1, round(config.cells_share * len(among))) if len(among) else 0
        kept = np.random.default_rng(0).permutation(among)[:count]
        chosen = np.isin(np.arange(len(chosen)), kept)
    if not chosen.any():
        raise SoilcastError(
            f"{cube.encoding.get('source', 'the cube')}: split.without_climate {config.without_climate} leaves no "
            "cell for training: choose another"
        )
    return chosen
