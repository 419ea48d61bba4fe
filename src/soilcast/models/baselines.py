"""Forecasts that any model must beat: persistence, damped anomaly and climatology."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from soilcast.cube.calendar import Days
from soilcast.plugins import Registry
from soilcast.task import newest_values

Series = npt.NDArray[np.floating]
Forecast = npt.NDArray[np.float32]
Learn = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float64]
Lag = int | Sequence[int]

HARMONICS = 3
"""Waves of one year, half a year and a third of a year that the climatology holds besides its mean."""

_YEAR = 365.2425
_SHORTEST_YEAR = 365
# Days spread evenly over the year give 0.5 here (the weight of a wave's square); a cell that is observed in one
# season alone gives nearly 0, and waves fitted to it would swing wildly in the others.
_LEAST_SPREAD = 0.05
_CELLS_AT_ONCE = 2048


class Baseline(Protocol):
    """``(observed, days, learn, test, lag=1, fill_days=0) -> forecast``; see `persistence`."""

    def __call__(
        self, observed: Series, days: Days, learn: Learn, test: slice, *, lag: Lag = 1, fill_days: int = 0
    ) -> Forecast:
        """Forecast the test days, each from the observations up to ``lag`` days before it."""
        ...


def persistence(
    observed: Series, days: Days, learn: Learn, test: slice, *, lag: Lag = 1, fill_days: int = 0
) -> Forecast:
    """Forecast soil moisture as the newest that is known: SM_{t-lag}, yesterday's by default.

    It uses yesterday's soil moisture, which is not among the paper's inputs: a network beats it only where the
    weather is more informative.

    Parameters
    ----------
    observed
        ``(cell, time)`` [m3 m-3], NaN where missing. Every baseline forecasts a day from the days before it alone,
        of which the newest lies ``lag`` days back.
    days
        The days, ``(time,)``, consecutive.
    learn
        Days that a baseline may learn its parameters from, ``(time,)``: those of training and validation, which is
        what the networks saw. The test days are never among them.
    test
        Days to forecast, as positions along time.
    lag
        How many days before the day that is forecast the newest observation is, at least 1 [d]: k + l for lead k and
        observations that come l days late. Several are learnt for at once.
    fill_days
        By how many days more the newest observation may be older where it is missing, as `soilcast.task.Task.fill_days`
        allows it to the networks [d].

    Returns
    -------
    ``(cell, test day)``, of several lags ``(lag, cell, test day)`` [m3 m-3]; NaN where the newest observation is
    missing.
    """
    newest = newest_values(observed, fill_days)
    forecasts = np.stack([_earlier(newest, test, single_lag) for single_lag in _lag_list(lag)])
    return _squeeze_lag(forecasts.astype(np.float32), lag)


def climatology(
    observed: Series, days: Days, learn: Learn, test: slice, *, lag: Lag = 1, fill_days: int = 0
) -> Forecast:
    """Forecast the smoothed mean of the day of the year, learnt cell by cell.

    The least-squares fit of a mean and three annual harmonics to the learning days: the mean alone where these
    span less than a year, and only as many harmonics as are determined in a cell whose observations leave out a
    part of the year.

    Parameters
    ----------
    observed, days, learn, test
        See `persistence`.
    lag, fill_days
        As there, but every one gives the same.

    Returns
    -------
    As `persistence`; NaN for a cell without an observation among the learning days.
    """
    return _in_blocks(_climatology, observed, days, learn, test, lag, fill_days)


def damped_anomaly(
    observed: Series, days: Days, learn: Learn, test: slice, *, lag: Lag = 1, fill_days: int = 0
) -> Forecast:
    """Forecast the newest known departure from the climatology, damped: C_t + rho (SM_{t-lag} - C_{t-lag}).

    C is the smoothed climatology of `climatology`, rho each cell's autocorrelation at this lag of the departures from
    it, over pairs of learning days; 0 where they never depart.

    Parameters
    ----------
    observed, days, learn, test, lag, fill_days
        See `persistence`.

    Returns
    -------
    As `persistence`; NaN where the newest observation or the climatology is missing, or where no two learning days so
    far apart are observed.
    """
    return _in_blocks(_damped_anomaly, observed, days, learn, test, lag, fill_days)


def fit_damped_anomaly(
    observed: Series, days: Days, learn: Learn, lags: Sequence[int], fill_days: int = 0
) -> tuple[Matrix, Matrix]:
    """Learn what `damped_anomaly` forecasts with.

    Parameters
    ----------
    observed, days, learn, fill_days
        See `persistence`.
    lags
        Days between the newest observation and the day that is forecast.

    Returns
    -------
    Coefficients of C on `annual_harmonics` ``(cell, wave)``, 0 for waves that are not determined; and rho
    ``(cell, lag)``. NaN where nothing is known.
    """
    waves = annual_harmonics(days, HARMONICS if _spans_a_year(days, learn) else 0)
    coefficients = _fit(observed[:, learn], waves[learn])
    departure = observed - _product(coefficients, waves.T)
    rho = _damping(departure, learn, lags, fill_days)
    return np.pad(coefficients, ((0, 0), (0, 1 + 2 * HARMONICS - waves.shape[1]))), rho.T


BASELINES: Registry[Baseline] = Registry(
    "baseline", {"persistence": persistence, "damped anomaly": damped_anomaly, "climatology": climatology}
)
"""Every baseline of the scores, by the name that tables show."""


def _lag_list(lag: Lag) -> Sequence[int]:
    return [lag] if isinstance(lag, int) else lag


def _squeeze_lag(forecasts: Forecast, lag: Lag) -> Forecast:
    """Forecasts ``(lag, cell, test day)`` without their first dimension for a single lag."""
    return forecasts[0] if isinstance(lag, int) else forecasts


def _in_blocks(
    forecast: Callable[[Series, Matrix, Learn, slice, Sequence[int], int], Matrix],
    observed: Series,
    days: Days,
    learn: Learn,
    test: slice,
    lag: Lag,
    fill_days: int,
) -> Forecast:
    """Forecast block by block of cells, so that the float64 copies stay small."""
    waves = annual_harmonics(days, HARMONICS if _spans_a_year(days, learn) else 0)
    first, last, _ = test.indices(len(days))
    lags = _lag_list(lag)
    out = np.empty((len(lags), len(observed), last - first), dtype=np.float32)
    for start in range(0, len(observed), _CELLS_AT_ONCE):
        block = slice(start, start + _CELLS_AT_ONCE)
        out[:, block] = forecast(observed[block], waves, learn, test, lags, fill_days)
    return _squeeze_lag(out, lag)


def _climatology(
    observed: Series, waves: Matrix, learn: Learn, test: slice, lags: Sequence[int], fill_days: int
) -> Matrix:
    """``(1, cell, test day)``: the same for every lag."""
    return _product(_fit(observed[:, learn], waves[learn]), waves[test].T)[np.newaxis]


def _damped_anomaly(
    observed: Series, waves: Matrix, learn: Learn, test: slice, lags: Sequence[int], fill_days: int
) -> Matrix:
    """``(lag, cell, test day)``."""
    cycle = _product(_fit(observed[:, learn], waves[learn]), waves.T)
    departure = observed - cycle
    newest = newest_values(departure, fill_days)
    rho = _damping(departure, learn, lags, fill_days)[..., np.newaxis]
    return np.stack([cycle[:, test] + one * _earlier(newest, test, lag) for one, lag in zip(rho, lags, strict=True)])


def _damping(departure: Matrix, learn: Learn, lags: Sequence[int], fill_days: int) -> Matrix:
    """Rho ``(lag, cell)`` of departures ``(cell, time)`` on the learning days."""
    learnt = newest_values(np.where(learn, departure, np.nan), fill_days)
    rho = []
    for lag in lags:
        _refuse_known(lag)
        pairs = learn[lag:] & learn[:-lag]
        rho.append(_correlation(learnt[:, :-lag][:, pairs], departure[:, lag:][:, pairs]))
    return np.stack(rho)


def _earlier(values: Series, test: slice, lag: int) -> Series:
    """Values of the days ``lag`` days before the test days; NaN before the first day of all."""
    _refuse_known(lag)
    first, last, _ = test.indices(values.shape[1])
    missing = min(max(lag - first, 0), last - first)
    earlier = values[:, max(first - lag, 0) : max(last - lag, 0)]
    return np.pad(earlier, ((0, 0), (missing, 0)), constant_values=np.nan) if missing else earlier


def _refuse_known(lag: int) -> None:
    if lag < 1:
        raise ValueError(f"a forecast of {lag} days ahead would know the day that it forecasts")


def _spans_a_year(days: Days, learn: Learn) -> bool:
    learnt = days[learn].astype("datetime64[D]")
    return learnt.size > 0 and int((learnt.max() - learnt.min()).astype(int)) + 1 >= _SHORTEST_YEAR


def annual_harmonics(days: Days, harmonics: int = HARMONICS) -> Matrix:
    """The mean and the annual harmonics as columns, ``(time, 1 + 2 harmonics)``."""
    angle = 2 * np.pi * days.astype("datetime64[D]").astype(np.int64) / _YEAR
    columns = [np.ones_like(angle)]
    for order in range(1, harmonics + 1):
        columns += [np.cos(order * angle), np.sin(order * angle)]
    return np.stack(columns, axis=1)


def _fit(values: Series, waves: Matrix) -> Matrix:
    """Least-squares coefficients of as many waves as a cell's observed days determine, ``(cell, wave)``."""
    valid = np.isfinite(values)
    count = valid.sum(axis=1)
    size = waves.shape[1]
    products = (waves[:, :, np.newaxis] * waves[:, np.newaxis, :]).reshape(len(waves), -1)
    scale = 1 / np.maximum(count, 1)[:, np.newaxis]
    normal = (_product(valid.astype(np.float64), products) * scale).reshape(-1, size, size)
    weighted_sums = _product(np.where(valid, values.astype(np.float64), 0.0), waves) * scale
    coefficients = np.zeros((len(values), size), dtype=np.float64)
    coefficients[count == 0] = np.nan
    undetermined = count > 0
    for used in range(size, 0, -2):
        part = normal[:, :used, :used]
        determined = np.zeros_like(undetermined)
        determined[undetermined] = np.linalg.eigvalsh(part[undetermined])[:, 0] >= _LEAST_SPREAD
        solved = np.linalg.solve(part[determined], weighted_sums[determined, :used, np.newaxis])
        coefficients[determined, :used] = solved[:, :, 0]
        undetermined &= ~determined
    return coefficients


def _correlation(before: Matrix, after: Matrix) -> npt.NDArray[np.float64]:
    """Correlation about zero over the pairs that are both there, ``(cell,)``; 0 where nothing moves."""
    both = np.isfinite(before) & np.isfinite(after)
    before, after = np.where(both, before, 0.0), np.where(both, after, 0.0)
    size = np.sqrt((before**2).sum(axis=1) * (after**2).sum(axis=1))
    product = (before * after).sum(axis=1)
    correlation = np.divide(product, size, out=np.zeros_like(size), where=size > 0)
    return np.where(both.any(axis=1), correlation, np.nan)


def _product(left: Matrix, right: Matrix) -> Matrix:
    """Matrix product whose bits do not depend on how many threads linear algebra has, as they differ among workers."""
    return np.asarray(np.einsum("ij,jk->ik", left, right), dtype=np.float64)
