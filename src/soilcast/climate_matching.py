"""Matching a forecast to the climate of the observations: what the values of another model mean in this record."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mapping = Callable[[Array], Array]
"""Values of a forecast -> values in the climate of the observations [m3 m-3]; NaN stays NaN."""

FEWEST_PAIRS = 30
"""Pairs of a forecast and an observation that a mapping of a cell and lead is fitted to, at least."""


def match_distribution(forecast: Array, observed: Array) -> Mapping:
    """Map by cumulative distributions (Reichle and Koster 2004): each value to the observation of its rank.

    Between ranks it is linear. Beyond the range of the forecasts it goes on with the slope of `match_moments`.

    Parameters
    ----------
    forecast, observed
        Pairs of the same days ``(pair,)``, finite, in any order [m3 m-3, or the forecast in any unit].
    """
    ordered = np.sort(forecast)
    first = np.flatnonzero(np.diff(ordered, prepend=-np.inf) > 0)
    values = ordered[first]
    # Equal forecasts get the mean of the observations of their ranks.
    targets = np.add.reduceat(np.sort(observed), first) / np.diff(first, append=len(ordered))
    slope = _slope(forecast, observed)

    def mapped(other: Array) -> Array:
        inside = np.interp(other, values, targets)
        return inside + slope * (other - np.clip(other, values[0], values[-1]))

    return mapped


def match_moments(forecast: Array, observed: Array) -> Mapping:
    """Map linearly, so that mean and standard deviation are those of the observations.

    Parameters
    ----------
    forecast, observed
        As of `match_distribution`.
    """
    slope, middle, mean = _slope(forecast, observed), forecast.mean(), observed.mean()
    return lambda other: mean + slope * (other - middle)


def keep_values(forecast: Array, observed: Array) -> Mapping:
    """Leave a forecast as it is: it is of the observations' climate already."""
    return lambda other: other


MATCHINGS: dict[str, tuple[str, Callable[[Array, Array], Mapping]]] = {
    "cdf": ("cumulative distributions", match_distribution),
    "mean-variance": ("mean and variance", match_moments),
    "none": ("nothing", keep_values),
}
"""Name -> by what a forecast is matched, and the function that fits it. To add one, add its line."""


def _slope(forecast: Array, observed: Array) -> float:
    """Ratio of the standard deviations; 0 for a forecast that does not move."""
    spread = float(forecast.std())
    return float(observed.std()) / spread if spread > 1e-12 * max(1.0, float(np.abs(forecast).max())) else 0.0
