"""What a forecast means in the climate of its cell: percentile, anomaly, drought class, days to and odds of dryness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float32]
Whole = npt.NDArray[np.int8]

MISSING = -128
"""Fill value of integers."""

NO_DROUGHT = -1
NOT_REACHED = -1

DRY_PERCENTILE = 20.0
"""The percentile at which moderate drought (D1) begins."""

DROUGHT_CLASSES: dict[str, float] = {
    "D0_abnormally_dry": 30.0,
    "D1_moderate_drought": 20.0,
    "D2_severe_drought": 10.0,
    "D3_extreme_drought": 5.0,
    "D4_exceptional_drought": 2.0,
}
"""Highest percentile of each class of the U.S. Drought Monitor (Svoboda et al. 2002,
doi:10.1175/1520-0477-83.8.1181), from D0 on; the class is the position here."""

MEDIAN = 0.5
"""Level of the median, which is the central forecast where there are quantiles."""

_SAME_LEVEL = 1e-6
_SAME_PERCENT = 1e-9

CLASS_NAMES = tuple(name.partition("_")[0] for name in DROUGHT_CLASSES)
"""D0 .. D4."""


def percentile(values: Values, reference: Values) -> Floats:
    """Rank of values among a reference: 100 (below + equal / 2) / all, of others that of the nearest of its values.

    Equal ones count half (mid-rank), since records of soil moisture are rounded: what is forecast would be recorded as
    the nearest value. Of a value of the reference it is Hazen's plotting position, 100 (rank - 1/2) / all; below the
    least and above the greatest of the reference it is 0 and 100.

    Parameters
    ----------
    values
        ``(cell,)`` [m3 m-3].
    reference
        ``(cell, sample)`` [m3 m-3], NaN where missing.

    Returns
    -------
    ``(cell,)`` [%], 0 .. 100; NaN where the value or the whole reference is missing.
    """
    count = np.count_nonzero(np.isfinite(reference), axis=1)
    is_below, is_above = reference < values[:, np.newaxis], reference > values[:, np.newaxis]
    below = np.count_nonzero(is_below, axis=1).astype(np.float64)
    equal = count - below - np.count_nonzero(is_above, axis=1)
    low = np.max(reference, axis=1, where=is_below, initial=-np.inf)
    high = np.min(reference, axis=1, where=is_above, initial=np.inf)
    between = (equal == 0) & np.isfinite(low) & np.isfinite(high)
    value = values.astype(np.float64)
    is_lower = np.less_equal(value - low, high - value, out=np.zeros_like(between), where=between)
    ties = np.count_nonzero(reference == np.where(is_lower, low, high)[:, np.newaxis], axis=1)
    rank = np.where(between, below + np.where(is_lower, -ties, ties) / 2, below + equal / 2)
    valid = np.isfinite(values) & (count > 0)
    return np.where(valid, 100 * rank / np.maximum(count, 1), np.nan).astype(np.float32)


def anomaly(values: Values, reference: Values) -> Floats:
    """Departure from the mean of a reference: value - mean.

    Parameters
    ----------
    values, reference
        See `percentile`.

    Returns
    -------
    ``(cell,)`` [m3 m-3]; NaN where the value or the whole reference is missing.
    """
    valid = np.isfinite(reference)
    count = np.count_nonzero(valid, axis=1)
    total = np.where(valid, reference, 0).sum(axis=1, dtype=np.float64)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return (values - mean).astype(np.float32)


def drought_class(percentiles: Values) -> Whole:
    """Class of the U.S. Drought Monitor of percentiles.

    Parameters
    ----------
    percentiles
        Any shape [%].

    Returns
    -------
    The same shape: 0 (D0, at most 30) .. 4 (D4, at most 2), `NO_DROUGHT` above, `MISSING` for NaN.
    """
    classes = np.full(percentiles.shape, NO_DROUGHT, dtype=np.int8)
    for highest in DROUGHT_CLASSES.values():
        classes += percentiles <= highest
    classes[np.isnan(percentiles)] = MISSING
    return classes


def thresholds_at(reference: Values, percents: Sequence[float]) -> Floats:
    """Highest soil moisture whose percentile is at most ``percents``: half-way to the next value of the reference.

    So it agrees with `percentile`, and what is rounded lies below it as often as what was rounded.

    Parameters
    ----------
    reference
        ``(cell, sample)`` [m3 m-3], NaN where missing.
    percents
        ``(percent,)``, above 0 and below 100 [%].

    Returns
    -------
    ``(cell, percent)`` [m3 m-3], just below the least value of a reference where that alone has a higher percentile;
    NaN where the whole reference is missing.
    """
    percent = np.asarray(percents, dtype=np.float64)
    assert ((percent > 0) & (percent < 100)).all()
    if not reference.shape[1]:
        return np.full((len(reference), len(percent)), np.nan, dtype=np.float32)
    ascending = np.sort(reference, axis=1).astype(np.float32)  # missing values come last
    count = np.count_nonzero(np.isfinite(reference), axis=1)[:, np.newaxis]
    ranks = _mid_ranks(ascending, count)
    at_most = (ranks[:, np.newaxis] <= percent[:, np.newaxis] + _SAME_PERCENT).sum(axis=2)
    lower, upper = (np.clip(at_most + step, 0, np.maximum(count - 1, 0)) for step in (-1, 0))
    low, high = (np.take_along_axis(ascending, at, axis=1).astype(np.float64) for at in (lower, upper))
    thresholds = ((low + high) / 2).astype(np.float32)
    return np.where(at_most > 0, thresholds, np.nextafter(ascending[:, :1], np.float32(-np.inf)))


def _mid_ranks(ascending: Floats, count: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Percentile of each value of a reference in ascending order ``(cell, sample)``; infinite of missing ones."""
    samples = np.arange(ascending.shape[1])
    is_first = np.diff(ascending, axis=1, prepend=np.float32(-1)) != 0
    is_last = np.roll(is_first, -1, axis=1)
    is_last[:, -1] = True
    first = np.maximum.accumulate(np.where(is_first, samples, 0), axis=1)
    last = np.minimum.accumulate(np.where(is_last, samples, samples[-1])[:, ::-1], axis=1)[:, ::-1]
    middle = 50 * (first + last + 1) / np.maximum(count, 1)
    return np.where(samples < count, middle, np.inf)


def days_to(values: Values, threshold: Values | float, leads: npt.NDArray[np.integer]) -> Whole:
    """First lead at which a forecast is at or below a threshold.

    Parameters
    ----------
    values
        ``(cell, lead)``, soil moisture [m3 m-3] or percentiles [%].
    threshold
        In the same unit; whatever broadcasts to ``(cell, lead)``.
    leads
        ``(lead,)`` [d], ascending, at most 127.

    Returns
    -------
    ``(cell,)`` [d]; `NOT_REACHED` if it stays above, `MISSING` if a value that is missing leaves it open.
    """
    assert leads.max(initial=0) <= np.iinfo(np.int8).max
    threshold = np.broadcast_to(np.asarray(threshold, dtype=values.dtype), values.shape)
    open_yet = np.isnan(values) | np.isnan(threshold)
    decided = open_yet | (values <= threshold)
    position = np.argmax(decided, axis=1)
    lead_reached = np.where(decided.any(axis=1), leads[position], NOT_REACHED)
    unknown = open_yet[np.arange(len(values)), position]
    return np.where(unknown, MISSING, lead_reached).astype(np.int8)


def with_median(levels: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], int]:
    """Levels of quantiles ``(quantile,)``, ascending, with that of the median among them, and its position."""
    given = np.asarray(levels, dtype=np.float64)
    at = int(np.searchsorted(given, MEDIAN - _SAME_LEVEL))
    if at < len(given) and given[at] <= MEDIAN + _SAME_LEVEL:
        return given, at
    return np.insert(given, at, MEDIAN), at


def complete_quantiles(
    quantiles: Values, levels: npt.ArrayLike, central: Values
) -> tuple[Values, npt.NDArray[np.float64]]:
    """Quantiles ``(..., quantile)`` with the median ``(...)`` among them, and their levels; as they are if it is."""
    complete, at = with_median(levels)
    return (quantiles if len(complete) == quantiles.shape[-1] else np.insert(quantiles, at, central, axis=-1)), complete


def distribution_at(quantiles: Values, levels: Values, values: Values | float) -> Values:
    """Distribution function of a quantile forecast, not yet limited to 0 .. 1.

    Between two quantiles it is a straight line, and beyond the outermost ones it goes on with the gradient beside them:
    below 0 and above 1 it ranks values by how far they are beyond the distribution.

    Parameters
    ----------
    quantiles
        ``(..., quantile)`` [m3 m-3]; where they cross they are put in order.
    levels
        ``(quantile,)``, two at least, ascending, between 0 and 1.
    values
        In the unit of the quantiles; whatever broadcasts to ``(...)``.

    Returns
    -------
    ``(...)`` float64; NaN where the value or a quantile is missing.
    """
    return _of_ascending(np.sort(quantiles.astype(np.float64), axis=-1), levels, values)


def _of_ascending(ascending: Values, levels: Values, values: Values | float) -> Values:
    """`distribution_at` of quantiles in ascending order, float64."""
    assert len(levels) >= 2
    limit = np.broadcast_to(values, ascending.shape[:-1]).astype(np.float64)
    below = np.count_nonzero(ascending <= limit[..., np.newaxis], axis=-1)
    upper = np.clip(below, 1, len(levels) - 1)
    low, high = (np.take_along_axis(ascending, index[..., np.newaxis], axis=-1)[..., 0] for index in (upper - 1, upper))
    # Where two quantiles are equal, the distribution function jumps at their value.
    steps = np.where(limit < low, -np.inf, np.where(limit >= high, np.inf, 0.0))
    share = np.divide(limit - low, high - low, out=steps, where=high > low)
    probability = levels[upper - 1] + share * (levels[upper] - levels[upper - 1])
    valid = np.isfinite(limit) & np.isfinite(ascending).all(axis=-1)
    return np.where(valid, probability, np.nan)


def probability_below(quantiles: Values, levels: Values, threshold: Values | float) -> Floats:
    """Probability that a quantile forecast gives to values at or below a threshold: `distribution_at` within 0 .. 1.

    Parameters
    ----------
    quantiles, levels
        See `distribution_at`.
    threshold
        [m3 m-3]; whatever broadcasts to ``(cell, lead)``.

    Returns
    -------
    ``(cell, lead)``, 0 .. 1; NaN where the threshold or a quantile is missing.
    """
    return np.clip(distribution_at(quantiles, levels, threshold), 0.0, 1.0).astype(np.float32)


def probabilities_below(quantiles: Values, levels: Values, thresholds: Values) -> Floats:
    """`probability_below` several thresholds ``(..., threshold)``, of the same shape."""
    ascending = np.sort(quantiles.astype(np.float64), axis=-1)
    below = [_of_ascending(ascending, levels, limit) for limit in np.moveaxis(thresholds, -1, 0)]
    return np.clip(np.stack(below, axis=-1), 0.0, 1.0).astype(np.float32)


def probability_by(probabilities: Values, templates: Values) -> Floats:
    """Probability that an event happens at least once up to each lead, from that of each lead and their dependence.

    The dependence is an empirical copula, as in the Schaake shuffle (Clark et al. 2004,
    doi:10.1175/1525-7541(2004)005<0243:TSSAMF>2.0.CO;2): template m has the event at lead j where u_mj <= P_j, and the
    probability is the share of templates that have it at any j <= k. It is at least that of each of these leads, which
    the share of a finite number of templates may miss by 1 / (2 template).

    Parameters
    ----------
    probabilities
        P, ``(cell, lead)``, 0 .. 1, such as `probability_below` gives.
    templates
        u, ``(template, lead)``, one at least: ranks of each lead, evenly spaced between 0 and 1, low for what the event
        takes low values of.

    Returns
    -------
    ``(cell, lead)``, 0 .. 1, nondecreasing along the leads; NaN from the first lead on whose probability is missing.
    """
    assert len(templates)
    assert probabilities.shape[1] == templates.shape[1]
    happened = np.zeros((len(probabilities), len(templates)), dtype=np.bool_)
    share = np.empty(probabilities.shape, dtype=np.float64)
    for lead, ranks in enumerate(templates.T):
        happened |= ranks <= probabilities[:, lead, np.newaxis]
        share[:, lead] = happened.mean(axis=1)
    return np.maximum(share, np.maximum.accumulate(probabilities, axis=1)).astype(np.float32)
