"""Forecasts that any model must beat: persistence, damped anomaly and climatology."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from soilcast.cube.calendar import Days
from soilcast.models.harmonics import HARMONICS, annual_waves, fit_waves, number_years, product
from soilcast.plugins import Registry
from soilcast.task import newest_values

Series = npt.NDArray[np.floating]
Forecast = npt.NDArray[np.float32]
Learn = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float64]
Years = npt.NDArray[np.int64]
Lag = int | Sequence[int]

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

    The least-squares fit of a mean and three annual harmonics to the learning days. A cell of fewer observed days than
    `soilcast.models.harmonics.LONG_RECORD` years have, or whose observations leave out a part of the year so that not
    all harmonics are determined, has fewer: the mean alone where its record spans less than two years, else as many as
    forecast each of its years best from the others (leave-one-year-out cross-validation; of equal ones the fewest).

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
    it, over pairs of learning days; 0 where they never depart. Where a record is so short or gappy that its harmonics
    were chosen, C is the cell's mean at every lag at which damping to the mean errs less on the learning days.

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
    Coefficients of C on `soilcast.models.harmonics.annual_waves` ``(cell, lag, wave)``, and rho ``(cell, lag)``; NaN
    where nothing is known.
    """
    waves, years = _waves_and_years(days, learn)
    coefficients, rho = _fit_damped(observed, waves, years, learn, lags, fill_days)
    missing = 1 + 2 * HARMONICS - waves.shape[1]
    return np.pad(coefficients, ((0, 0), (0, 0), (0, missing))).swapaxes(0, 1), rho.T


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
    forecast: Callable[[Series, Matrix, Years, Learn, slice, Sequence[int], int], Matrix],
    observed: Series,
    days: Days,
    learn: Learn,
    test: slice,
    lag: Lag,
    fill_days: int,
) -> Forecast:
    """Forecast block by block of cells, so that the float64 copies stay small."""
    waves, years = _waves_and_years(days, learn)
    first, last, _ = test.indices(len(days))
    lags = _lag_list(lag)
    out = np.empty((len(lags), len(observed), last - first), dtype=np.float32)
    for start in range(0, len(observed), _CELLS_AT_ONCE):
        block = slice(start, start + _CELLS_AT_ONCE)
        out[:, block] = forecast(observed[block], waves, years, learn, test, lags, fill_days)
    return _squeeze_lag(out, lag)


def _climatology(
    observed: Series, waves: Matrix, years: Years, learn: Learn, test: slice, lags: Sequence[int], fill_days: int
) -> Matrix:
    """``(1, cell, test day)``: the same for every lag."""
    coefficients, _ = fit_waves(observed[:, learn], waves[learn], years)
    return product(coefficients, waves[test].T)[np.newaxis]


def _damped_anomaly(
    observed: Series, waves: Matrix, years: Years, learn: Learn, test: slice, lags: Sequence[int], fill_days: int
) -> Matrix:
    """``(lag, cell, test day)``."""
    damped, fitted = [], np.empty(0)
    for coefficients, rho, lag in zip(*_fit_damped(observed, waves, years, learn, lags, fill_days), lags, strict=True):
        if not np.array_equal(coefficients, fitted, equal_nan=True):  # of most cells and lags it is one
            fitted, cycle = coefficients, product(coefficients, waves.T)
            newest = newest_values(observed - cycle, fill_days)
        damped.append(cycle[:, test] + rho[:, np.newaxis] * _earlier(newest, test, lag))
    return np.stack(damped)


def _fit_damped(
    observed: Series, waves: Matrix, years: Years, learn: Learn, lags: Sequence[int], fill_days: int
) -> tuple[Matrix, Matrix]:
    """Coefficients of the climatology ``(lag, cell, wave)`` and rho ``(lag, cell)``."""
    fitted, is_chosen = fit_waves(observed[:, learn], waves[learn], years)
    rho, error = _damping(observed - product(fitted, waves.T), learn, lags, fill_days)
    coefficients = np.repeat(fitted[np.newaxis], len(lags), axis=0)
    if waves.shape[1] > 1 and is_chosen.any():
        mean, _ = fit_waves(observed[is_chosen][:, learn], waves[learn, :1], years)
        to_mean, mean_error = _damping(observed[is_chosen] - mean, learn, lags, fill_days)
        is_less = mean_error < error[:, is_chosen]
        rho[:, is_chosen] = np.where(is_less, to_mean, rho[:, is_chosen])
        constant = np.pad(mean, ((0, 0), (0, waves.shape[1] - 1)))
        coefficients[:, is_chosen] = np.where(is_less[..., np.newaxis], constant, coefficients[:, is_chosen])
    return coefficients, rho


def _damping(departure: Matrix, learn: Learn, lags: Sequence[int], fill_days: int) -> tuple[Matrix, Matrix]:
    """Rho of departures ``(cell, time)``, and the squared error of damping by it on learning days, ``(lag, cell)``."""
    learnt = newest_values(np.where(learn, departure, np.nan), fill_days)
    fitted = []
    for lag in lags:
        _refuse_known(lag)
        pairs = learn[lag:] & learn[:-lag]
        fitted.append(_correlation(learnt[:, :-lag][:, pairs], departure[:, lag:][:, pairs]))
    rho, error = (np.stack(parts) for parts in zip(*fitted, strict=True))
    return rho, error


def _waves_and_years(days: Days, learn: Learn) -> tuple[Matrix, Years]:
    """Mean and harmonics of the days, the mean alone where learning days span less than two years; and their years."""
    years = number_years(days[learn])
    return annual_waves(days, HARMONICS if len(np.unique(years)) > 1 else 0), years


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


def _correlation(before: Matrix, after: Matrix) -> tuple[Matrix, Matrix]:
    """Correlation about zero over the pairs that are there, and mean squared error of damping by it, ``(cell,)``."""
    both = np.isfinite(before) & np.isfinite(after)
    before, after = np.where(both, before, 0.0), np.where(both, after, 0.0)
    before_squares, after_squares = (before**2).sum(axis=1), (after**2).sum(axis=1)
    size = np.sqrt(before_squares * after_squares)
    product = (before * after).sum(axis=1)
    correlation = np.divide(product, size, out=np.zeros_like(size), where=size > 0)
    error = after_squares - 2 * correlation * product + correlation**2 * before_squares
    count = both.sum(axis=1)
    return np.where(count, correlation, np.nan), np.where(count, error / np.maximum(count, 1), np.nan)
