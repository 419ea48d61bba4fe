"""Which days of a cube are for training, validation and test: chronological, never mixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from soilcast.cube import days_of
from soilcast.cube.calendar import Days
from soilcast.errors import SoilcastError
from soilcast.training.config import SplitConfig


@dataclass(frozen=True)
class Split:
    """Positions along the time axis of a cube, each a slice of consecutive days."""

    train: slice
    validation: slice
    test: slice

    def periods(self, days: Days) -> dict[str, str]:
        """Write the three as ``first:last``, by the names that artifacts carry."""
        named = {"train_period": self.train, "validation_period": self.validation, "test_period": self.test}
        return {
            name: f"{np.datetime_as_string(days[part.start], 'D')}:{np.datetime_as_string(days[part.stop - 1], 'D')}"
            for name, part in named.items()
        }


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
        A period that is not wholly in the cube, a test that does not come after the development, or no
        day left to train on.
    """
    test = period_slice(days, config.test, where, "split.test") if config.test else _last_year(days)
    if config.development:
        development = period_slice(days, config.development, where, "split.development")
    else:
        development = slice(0, test.start)
    if development.stop > test.start:
        raise SoilcastError(
            f"{where}: split.development ends after split.test begins ({days[test.start].astype('datetime64[D]')}): "
            "the test period must come last"
        )
    length = development.stop - development.start
    boundary = development.stop - round(config.validation_share * length)
    if boundary <= development.start or boundary >= development.stop:
        raise SoilcastError(
            f"{where}: only {length} day(s) for training and validation, too few for split.validation_share "
            f"{config.validation_share:g}: set split.test to a later or split.development to a longer period"
        )
    return Split(slice(development.start, boundary), slice(boundary, development.stop), test)


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


def _last_year(days: Days) -> slice:
    after = pd.Timestamp(days[-1]) + pd.Timedelta(days=1)
    first = after - pd.DateOffset(years=1)
    return slice(int(np.searchsorted(days, np.datetime64(first))), len(days))
