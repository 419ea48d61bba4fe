"""From the climate of a grid cell to that of a station: matchings that are fitted on development days alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from soilcast.climate_matching import match_moments
from soilcast.cube.calendar import Days
from soilcast.models.baselines import climatology
from soilcast.plugins import Registry

Floats = npt.NDArray[np.floating]
Apply = Callable[[Floats, Days], Floats]
"""``(values, days) -> matched``: values ``(issue day, ...)`` of some valid days, both of one shape."""

FEWEST_MATCHED = 60
"""Development days that product and station need in common: fewer do not tell two climates apart."""

PERCENTILES = (0.0, 5.0, 10.0, 30.0, 50.0, 70.0, 90.0, 95.0, 100.0)
"""Levels of the piecewise linear cumulative distributions, more than which a few months cannot hold."""


@dataclass(frozen=True)
class Pairs:
    """The development days of one station and layer.

    Parameters
    ----------
    days
        Consecutive ones ``(time,)``, of which the last that is learnt from is a development day.
    product, station
        ``(time,)`` [m3 m-3].
    learn
        Days to learn from ``(time,)``: development days on which both are finite.
    """

    days: Days = field(repr=False)
    product: Floats = field(repr=False)
    station: Floats = field(repr=False)
    learn: npt.NDArray[np.bool_] = field(repr=False)

    @property
    def both(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Product and station on the days to learn from."""
        return self.product[self.learn].astype(np.float64), self.station[self.learn].astype(np.float64)


@dataclass(frozen=True)
class Matching:
    """A way to match climates.

    Parameters
    ----------
    words
        What it does, for pages.
    fit
        From development days to what is applied to forecasts; None of what needs no fit.
    """

    words: str
    fit: Callable[[Pairs], Apply] | None


def match_mean_variance(pairs: Pairs) -> Apply:
    """Match mean and standard deviation: y = (x - mean_x) sd_y / sd_x + mean_y.

    Dorigo et al. (2010), doi:10.5194/hess-14-2605-2010, Eq. 8, and pytesmo's ``mean_std``.
    """
    mapping = match_moments(*pairs.both)
    return lambda values, days: mapping(values.astype(np.float64))


def match_cdf(pairs: Pairs) -> Apply:
    """Match cumulative distributions, piecewise linear between `PERCENTILES`, and beyond them as their ends go on.

    Reichle and Koster (2004), doi:10.1029/2004GL020938; of pytesmo ``CDFMatching`` at these percentiles.
    """
    product, station = pairs.both
    known, levels = np.unique(np.percentile(product, PERCENTILES, method="hazen"), return_index=True)
    reached = np.percentile(station, PERCENTILES, method="hazen")[levels]
    if len(known) < 2:
        return match_mean_variance(pairs)
    slopes = np.diff(reached) / np.diff(known)

    def apply(values: Floats, days: Days) -> Floats:
        part = np.clip(np.searchsorted(known, values, side="right") - 1, 0, len(slopes) - 1)
        return np.asarray(reached[part] + (values - known[part]) * slopes[part])

    return apply


def match_anomalies(pairs: Pairs) -> Apply:
    """Put the departures from the product's own annual cycle onto that of the station: y = x - C_x + C_y.

    C is the `soilcast.models.baselines.climatology` of the same days, so errors are those of the anomalies.
    """
    series = np.stack([pairs.product, pairs.station]).astype(np.float64)

    def apply(values: Floats, days: Days) -> Floats:
        flat, position = np.unique(days, return_inverse=True)
        first, last = min(pairs.days[0], flat[0]), max(pairs.days[-1], flat[-1])
        every = np.arange(first, last + np.timedelta64(1, "D"), np.timedelta64(1, "D"))
        at = np.searchsorted(every, pairs.days[0])
        whole = np.full((2, len(every)), np.nan)
        learn = np.zeros(len(every), dtype=np.bool_)
        whole[:, at : at + len(pairs.days)], learn[at : at + len(pairs.days)] = series, pairs.learn
        cycle = climatology(whole, every, learn, slice(0, len(every)))
        departure = (cycle[1].astype(np.float64) - cycle[0])[np.searchsorted(every, flat)][position]
        return np.asarray(values + departure.reshape(days.shape))

    return apply


MATCHINGS: Registry[Matching] = Registry(
    "matching",
    {
        "none": Matching("as the forecast is", None),
        "mean-variance": Matching("mean and standard deviation matched to the station's", match_mean_variance),
        "cdf": Matching("cumulative distribution matched to the station's", match_cdf),
        "anomalies": Matching("departures from the annual cycle, put onto the station's", match_anomalies),
    },
)
"""Every matching by the name of ``--matching``."""
