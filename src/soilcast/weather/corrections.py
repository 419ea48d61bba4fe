"""Correcting forecast weather by what was observed on days that both have: by cell, variable and month of the year."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soilcast.climate_matching import FEWEST_PAIRS, Mapping, keep_values, match_distribution
from soilcast.cube import VARIABLES
from soilcast.cube.calendar import Days
from soilcast.weather.fields import Floats

_LARGEST_FACTOR = 4.0
"""By which an amount is multiplied or divided at most: rain of few days may be none in one of the two."""


def _mean_bias(name: str, forecast: npt.NDArray[np.float64], observed: npt.NDArray[np.float64]) -> Mapping:
    """Correct the mean: by a factor where nothing is below zero, else by a difference."""
    mean, meant = float(forecast.mean()), float(observed.mean())
    if VARIABLES[name].valid_min != 0.0:
        return lambda other: other + (meant - mean)
    # Of neither any: nothing is known of the factor.
    factor = meant / mean if mean > 0.0 else 1.0
    limited = min(max(factor, 1.0 / _LARGEST_FACTOR), _LARGEST_FACTOR)
    return lambda other: other * limited


CORRECTIONS: dict[str, Callable[[str, npt.NDArray[np.float64], npt.NDArray[np.float64]], Mapping]] = {
    "mean": _mean_bias,
    "quantile": lambda name, forecast, observed: match_distribution(forecast, observed),
    "none": lambda name, forecast, observed: keep_values(forecast, observed),
}
"""Name -> (variable, forecast, observed of the same days ``(pair,)``) -> what corrects a forecast.

To add one, add its line.
"""


@dataclass(frozen=True)
class Correction:
    """What was done to a variable in a month of the year.

    Parameters
    ----------
    variable
        Name in the contract.
    month
        1 .. 12.
    days
        Days with a forecast and an observation from which it was learnt; 0 where they were too few.
    of_all_months
        Whether days of other months are among them, as those of this month were too few.
    change
        Mean change of the forecasts that were corrected [the variable's unit].
    """

    variable: str
    month: int
    days: int
    of_all_months: bool
    change: float

    def text(self) -> str:
        """Say it in words."""
        if not self.days:
            return f"{self.variable} not corrected (fewer than {FEWEST_PAIRS} days with forecast and observation)"
        months = "all months" if self.of_all_months else "its month"
        return f"{self.variable} by {self.change:+.3g} {VARIABLES[self.variable].units} ({self.days} days of {months})"


def correct(
    kind: str, name: str, forecast: Floats, days: Days, past: Floats, observed: Floats, past_days: Days
) -> tuple[Floats, list[Correction]]:
    """Correct forecasts of a variable, cell by cell and month by month.

    Each month is corrected by the days of this month of the year of which both are known; if a cell has fewer than 30
    of them, by those of all months; and if it has fewer than 30 of these, not at all.

    Parameters
    ----------
    kind
        Key of `CORRECTIONS`.
    name
        The variable.
    forecast
        What is corrected, ``(cell, day)``.
    days
        Its days ``(day,)``.
    past, observed
        Earlier forecasts and observations of the same days, ``(cell, past)``; NaN where missing.
    past_days
        Their days ``(past,)``.

    Returns
    -------
    ``(cell, day)`` float32 within the bounds of the contract, and what was done.
    """
    corrected = forecast.astype(np.float64)
    row, done = VARIABLES[name], []
    known = np.isfinite(past) & np.isfinite(observed)
    of_year, past_of_year = _month(days), _month(past_days)
    for month in dict.fromkeys(of_year.tolist()):
        these, own = of_year == month, past_of_year == month
        most, widened = 0, False
        for cell in range(len(forecast)):
            pairs = known[cell] & own
            wide = int(pairs.sum()) < FEWEST_PAIRS
            pairs = known[cell] if wide else pairs
            if (count := int(pairs.sum())) < FEWEST_PAIRS:
                continue
            most, widened = max(most, count), widened or wide
            mapped = CORRECTIONS[kind](
                name, past[cell, pairs].astype(np.float64), observed[cell, pairs].astype(np.float64)
            )
            corrected[cell, these] = np.clip(mapped(corrected[cell, these]), row.valid_min, row.valid_max)
        change = corrected[:, these] - forecast[:, these]
        done.append(Correction(name, month, most, widened, float(np.nanmean(change)) if most else 0.0))
    return corrected.astype(np.float32), done


def _month(days: Days) -> npt.NDArray[np.int64]:
    months: npt.NDArray[np.int64] = days.astype("datetime64[M]").astype(np.int64) % 12 + 1
    return months
