"""Which days of a cube are for training, validation and test, never mixed; which cells are learnt from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from soilcast.cube import days_of, read
from soilcast.cube.calendar import Days
from soilcast.cube.contract import KOEPPEN_CLASSES
from soilcast.errors import SoilcastError
from soilcast.training.config import SplitConfig

_LETTERS = "ABCDE"
_NONE = -1

GROUPS = len(_LETTERS)
"""How many groups `climate_groups` knows."""


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


def climate_groups(cube: xr.Dataset) -> npt.NDArray[np.int64]:
    """Number of each cell's main climate of Koeppen ``(cell,)``, 0 (A) to 4 (E); -1 where the cube knows none."""
    if "climate_zone" not in cube:
        return np.full(cube.sizes["cell"], _NONE, dtype=np.int64)
    letters = [name[0] for name in KOEPPEN_CLASSES.values()]
    of_class = np.array([_NONE, *map(_LETTERS.index, letters)], dtype=np.int64)
    zone = np.nan_to_num(read(cube, "climate_zone"), nan=0.0).astype(np.int64)
    return of_class[zone]


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
        chosen &= climate_groups(cube) != _LETTERS.index(config.without_climate)
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
