"""Verification of probabilities of events over many days and cells: reliability, ROC and economic value, from sums."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]

THRESHOLDS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Probabilities at which bins begin, but for the first, which begins at 0: closer where rare events have theirs."""

BINS = len(THRESHOLDS) + 1
STATISTICS = ("count", "forecast", "forecast squared", "observed", "product")

_LIMITS = np.array(THRESHOLDS, dtype=np.float32)


def sum_by_bin(probability: Floats, observed: Floats) -> Array:
    """Sum forecasts and observations of an event over the days, by bins of the forecast probability.

    Parameters
    ----------
    probability
        ``(cell, day)``, float32, 0 .. 1.
    observed
        ``(cell, day)``, 1 where the event happened, else 0. A day on which either is NaN does not count.

    Returns
    -------
    ``(cell, bin, statistic)``: number of days, sums of the probability, its square, the event, and of both multiplied.
    """
    cell, day = np.nonzero(np.isfinite(probability) & np.isfinite(observed))
    forecast, event = probability[cell, day], observed[cell, day].astype(np.float64)
    row = cell * BINS + np.searchsorted(_LIMITS, forecast, side="right")
    forecast = forecast.astype(np.float64)
    series = (np.ones_like(event), forecast, forecast**2, event, forecast * event)
    sums = [np.bincount(row, values, len(probability) * BINS) for values in series]
    return np.stack(sums, axis=-1).astype(np.float64).reshape(len(probability), BINS, len(STATISTICS))


def reliability_curve(sums: Array) -> dict[str, Array]:
    """Share of the forecasts in each bin, their mean probability, and how often the event happened on them.

    Parameters
    ----------
    sums
        ``(..., bin, statistic)``: see `sum_by_bin`.

    Returns
    -------
    ``share``, ``forecast`` and ``observed``, ``(..., bin)``; NaN where no forecast is in the bin.
    """
    count, forecast, _, observed, _ = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "share": count / count.sum(axis=-1, keepdims=True),
            "forecast": forecast / count,
            "observed": observed / count,
        }


def decompose_brier(sums: Array) -> dict[str, Array]:
    """Decompose the Brier score: BS = reliability - resolution + uncertainty + within bins.

    Reliability, resolution and uncertainty are those of Murphy (1973) of the means of the bins. What the probabilities
    and the event vary within a bin adds the variance of the first less twice their covariance (Stephenson et al. 2008),
    so that the sum is exact for any bins.

    Parameters
    ----------
    sums
        ``(..., bin, statistic)``: see `sum_by_bin`.

    Returns
    -------
    ``brier``, ``reliability``, ``resolution``, ``uncertainty``, ``within_bins``, and the mean ``probability`` and the
    ``frequency`` of the event, ``(...)``; NaN without any day.

    References
    ----------
    Murphy (1973), doi:10.1175/1520-0450(1973)012<0595:ANVPOT>2.0.CO;2; Stephenson et al. (2008),
    doi:10.1175/2007WAF2006116.1.
    """
    count, forecast, squared, observed, product = np.moveaxis(sums, -1, 0)
    total = np.where(count.sum(axis=-1) > 0, count.sum(axis=-1), np.nan)
    filled = np.where(count > 0, count, 1.0)
    p, o = forecast / filled, observed / filled
    frequency = observed.sum(axis=-1) / total
    distance = o - frequency[..., np.newaxis]
    variance = (squared - count * p**2).sum(axis=-1)
    covariance = (product - count * p * o).sum(axis=-1)
    return {
        "brier": (squared - 2 * product + observed).sum(axis=-1) / total,
        "reliability": (count * (p - o) ** 2).sum(axis=-1) / total,
        "resolution": (count * distance**2).sum(axis=-1) / total,
        "uncertainty": frequency * (1 - frequency),
        "within_bins": (variance - 2 * covariance) / total,
        "probability": forecast.sum(axis=-1) / total,
        "frequency": frequency,
    }


def relative_operating_characteristic(sums: Array) -> dict[str, Array]:
    """Hit rate and false alarm rate of warnings from each of `THRESHOLDS` on, and the area under their curve.

    Parameters
    ----------
    sums
        ``(..., bin, statistic)``: see `sum_by_bin`.

    Returns
    -------
    ``hit_rate`` and ``false_alarm_rate`` ``(..., threshold)``, and ``roc_area`` ``(...)`` by trapezoids with the ends
    (0, 0) and (1, 1): 0.5 of forecasts that do not tell days apart. NaN where the event never or always happened.

    References
    ----------
    Mason (1982); Mason and Graham (2002), doi:10.1256/003590002320603584.
    """
    count, _, _, observed, _ = np.moveaxis(sums, -1, 0)
    rates = []
    for happened in (observed, count - observed):
        warned = np.cumsum(happened[..., ::-1], axis=-1)[..., ::-1]  # in each bin and those above it
        with np.errstate(divide="ignore", invalid="ignore"):
            rates.append(warned / warned[..., :1])
    hits, false_alarms = (np.concatenate([rate, np.zeros_like(rate[..., :1])], axis=-1) for rate in rates)
    height, width = (hits[..., 1:] + hits[..., :-1]) / 2, false_alarms[..., :-1] - false_alarms[..., 1:]
    return {
        "hit_rate": rates[0][..., 1:],
        "false_alarm_rate": rates[1][..., 1:],
        "roc_area": (height * width).sum(axis=-1),
    }


def economic_value(sums: Array) -> Array:
    """Relative economic value to users who act where the probability is at least their ratio of cost to loss.

    It is the share of what a perfect forecast would save over the climate that the forecast saves: 1 is perfect, 0 is
    no better than always or never acting, whichever costs less. With hit rate H, false alarm rate F, frequency s and
    ratio a: V = (min(a, s) - F (1 - s) a + H s (1 - a) - s) / (min(a, s) - s a).

    Parameters
    ----------
    sums
        ``(..., bin, statistic)``: see `sum_by_bin`.

    Returns
    -------
    ``(..., threshold)``, of the ratios `THRESHOLDS`; NaN where the event never or always happened.

    References
    ----------
    Richardson (2000), doi:10.1002/qj.49712656313, Eq. 8.
    """
    rates = relative_operating_characteristic(sums)
    ratio = np.array(THRESHOLDS)
    s = decompose_brier(sums)["frequency"][..., np.newaxis]
    of_climate = np.minimum(ratio, s)
    saved = of_climate - rates["false_alarm_rate"] * (1 - s) * ratio + rates["hit_rate"] * s * (1 - ratio) - s
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(saved / (of_climate - s * ratio))
