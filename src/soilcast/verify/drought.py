"""Probabilities of drought and what was observed: the climate of each cell, and events of a day and of several days."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from soilcast.cube.calendar import Days
from soilcast.products.climate import (
    LEAST_YEARS,
    WINDOW,
    Sampling,
    count_years,
    gather,
    is_variable,
    select_days,
    years_covered,
)
from soilcast.products.indices import (
    CLASS_NAMES,
    DROUGHT_CLASSES,
    complete_quantiles,
    probabilities_below,
    probability_below,
    probability_by,
    thresholds_at,
    with_median,
)
from soilcast.verify.extremes import Floats

EVENTS = CLASS_NAMES
"""Events of one day: "at least as dry as the class", D0 .. D4."""

DRY = CLASS_NAMES.index("D1")
"""The event of one day that `WITHIN` asks for."""

WITHIN = "D1_within"
"""The event of several days: dry (D1 or drier) at least once up to the lead."""

_CELLS_AT_ONCE = 64
_ROWS_AT_ONCE = 4096

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ClimateDays:
    """Which days make the climate of the valid days: the development days before the test.

    Parameters
    ----------
    sampling
        The days around each date of the year that occurs: see `soilcast.products.climate.select_days`.
    date_of
        Position among these dates of each day from the first that is forecast to the last, ``(day,)``.
    """

    sampling: Sampling
    date_of: npt.NDArray[np.int64]


def find_climate_days(time: Days, learn: npt.NDArray[np.bool_], issued: int, days: slice) -> ClimateDays | None:
    """Find the days of the climate that forecasts are verified against, as products of the same forecasts have it.

    Parameters
    ----------
    time
        Days ``(time,)``.
    learn
        Which of the first of them are development days.
    issued
        Position of the first issue day; no later day counts.
    days
        Days that are forecast.

    Returns
    -------
    None where no date has `LEAST_YEARS` years.
    """
    before = np.flatnonzero(learn[: max(issued + 1, 0)])
    if not len(before):
        return None
    valid = time[days].astype("datetime64[D]")
    months = valid.astype("datetime64[M]")
    month_days = (months.astype(np.int64) % 12) * 31 + (valid - months.astype("datetime64[D]")).astype(np.int64)
    _, first, date_of = np.unique(month_days, return_index=True, return_inverse=True)
    sampling = select_days(time, slice(0, int(before[-1]) + 1), time[issued], valid[first], WINDOW, LEAST_YEARS)
    if max(map(years_covered, sampling.positions)) < LEAST_YEARS:
        return None
    return ClimateDays(sampling, date_of)


@dataclass(frozen=True, eq=False)
class CellClimate:
    """Thresholds of the drought classes of some cells, computed when they are first used.

    Parameters
    ----------
    days
        The days of the climate.
    history
        Observations of all days, ``(cell, time)`` [m3 m-3].
    """

    days: ClimateDays
    history: npt.NDArray[np.float32]

    @cached_property
    def _tables(self) -> tuple[Probabilities, Probabilities]:
        shape = (len(self.history), len(self.days.sampling.positions), len(DROUGHT_CLASSES))
        thresholds, frequencies = (np.full(shape, np.nan, dtype=np.float32) for _ in range(2))
        for start in range(0, len(self.history), _CELLS_AT_ONCE):
            cells = slice(start, start + _CELLS_AT_ONCE)
            record = np.concatenate([self.history[cells, run] for run in self.days.sampling.runs], axis=1)
            for date, positions in enumerate(self.days.sampling.positions):
                reference = gather(record, positions)
                usable = (count_years(reference) >= self.days.sampling.climate.least_years) & is_variable(reference)
                samples = reference.reshape(len(reference), positions.size)[usable]
                limits = thresholds_at(samples, tuple(DROUGHT_CLASSES.values()))
                below = np.stack(
                    [np.count_nonzero(samples <= limit[:, np.newaxis], axis=1) for limit in limits.T], axis=1
                )
                known = np.maximum(np.count_nonzero(np.isfinite(samples), axis=1), 1)
                thresholds[cells][usable, date] = limits
                frequencies[cells][usable, date] = below / known[:, np.newaxis]
        return thresholds, frequencies

    def of_days(self, days: slice | npt.NDArray[np.int64]) -> tuple[Probabilities, Probabilities]:
        """Give the climate of some of the days that are forecast, by their positions among these.

        Returns
        -------
        Highest soil moisture of each class [m3 m-3], and the share of the days of the climate at or below it, each
        ``(cell, day, class)``; NaN where the cell has no classes.
        """
        thresholds, frequencies = (table[:, self.days.date_of[days]] for table in self._tables)
        return thresholds, frequencies


@dataclass(frozen=True, eq=False)
class EventForecast:
    """Probabilities of events, and whether they happened, on the days that count; NaN on others.

    Parameters
    ----------
    probability
        Forecast probability, ``(cell, day, event)``.
    observed
        1 where it happened, else 0, ``(cell, day, event)``.
    climate
        Frequency of the event in the climate of the cell and date, ``(cell, day, event)``; None where that is not
        computed.
    """

    probability: Probabilities
    observed: Probabilities
    climate: Probabilities | None = None

    def at_lead(self, lead: int) -> EventForecast:
        """Take one lead of events ``(cell, issue day, lead)``."""
        return EventForecast(self.probability[..., lead - 1 : lead], self.observed[..., lead - 1 : lead])


def has_distribution(levels: tuple[float, ...]) -> bool:
    """Whether quantiles of these levels, with the median, make a distribution."""
    return len(levels) > 0 and len(with_median(levels)[0]) > 1


def class_events(
    observed: Floats,
    central: Floats,
    quantiles: Floats,
    levels: tuple[float, ...],
    climate: Callable[[], tuple[Probabilities, Probabilities]],
) -> EventForecast:
    """Verify the probabilities of the drought classes of one lead: `EVENTS`.

    Parameters
    ----------
    observed, central
        ``(cell, day)`` [m3 m-3]; NaN on days that do not count.
    quantiles, levels
        ``(cell, day, quantile)`` [m3 m-3], and the level of each.
    climate
        Gives `CellClimate.of_days` of the valid days.
    """
    thresholds, frequencies = climate()
    probability = probabilities_below(*complete_quantiles(quantiles, levels, central), thresholds)
    counts = (np.isfinite(observed) & np.isfinite(central))[..., np.newaxis] & np.isfinite(probability)
    happened = observed[..., np.newaxis] <= thresholds
    return EventForecast(
        *(np.where(counts, values, np.float32(np.nan)) for values in (probability, happened, frequencies))
    )


def several_days(
    observed: Floats,
    usable: npt.NDArray[np.bool_],
    central: Floats,
    quantiles: Floats,
    levels: tuple[float, ...],
    templates: Floats,
    climate: CellClimate,
    days: Sequence[slice | npt.NDArray[np.int64]],
) -> EventForecast:
    """Verify the probability that it is dry (`DRY`) at least once up to each lead: `WITHIN`.

    Parameters
    ----------
    observed, central
        ``(cell, issue day, lead)`` [m3 m-3].
    usable
        Which of these days all models and the observations have.
    quantiles, levels
        ``(cell, issue day, lead, quantile)`` [m3 m-3], and the level of each.
    templates
        ``(template, lead)``: see `soilcast.products.indices.probability_by`.
    climate, days
        Climate of the cells, and of each lead positions of the valid days among those that are forecast.

    Returns
    -------
    ``(cell, issue day, lead)``; NaN from the first lead on whose day does not count.
    """
    thresholds = np.stack([climate.of_days(of_lead)[0][..., DRY] for of_lead in days], axis=-1)
    whole, all_levels = complete_quantiles(quantiles, levels, central)
    daily = probability_below(whole, all_levels, thresholds).reshape(-1, len(days))
    parts = [
        probability_by(daily[start : start + _ROWS_AT_ONCE], templates) for start in range(0, len(daily), _ROWS_AT_ONCE)
    ]
    probability = np.concatenate(parts).reshape(observed.shape)
    happened = np.logical_or.accumulate(observed <= thresholds, axis=-1)
    counts = np.logical_and.accumulate(usable & np.isfinite(thresholds), axis=-1) & np.isfinite(probability)
    return EventForecast(*(np.where(counts, values, np.float32(np.nan)) for values in (probability, happened)))
