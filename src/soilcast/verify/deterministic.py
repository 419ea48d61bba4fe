"""Scores of a central forecast, cell by cell: correlation, errors and efficiencies in one pass (Eq. 15-18)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soilcast.cube import usable_target
from soilcast.cube.check import SMALLEST_SPREAD
from soilcast.workers import usable_cores

# Cell-days that a thread works on at a time: its three float64 buffers (3 MiB) stay in the processor's cache, and each
# step lasts long enough that the threads seldom wait for the interpreter lock.
_BLOCK = 131072
_MOST_THREADS = 8
# Linear algebra shares longer sums among its threads, and the last bits then depend on how many there are.
_DAYS_AT_ONCE = 8192

SMALLEST_VARIANCE = 1e-12
"""Variance [m6 m-6] up to which a forecast is constant but for rounding."""

Cells = npt.NDArray[np.float64]


def score_cells(
    observed: npt.NDArray[np.floating], predicted: npt.NDArray[np.floating], *, threads: int | None = None
) -> dict[str, Cells]:
    """Compute R, RMSE, ubRMSE, bias, R2 and both KGE of every cell over the days on which both series are finite.

    Data are float32 and statistics float64: one pass of sums of the series, each shifted by one of its values, in
    blocks of cells that fit the processor's cache.

    Parameters
    ----------
    observed
        ``(cell, time)`` [m3 m-3], NaN where missing.
    predicted
        ``(cell, time)`` [m3 m-3], NaN where missing.
    threads
        Threads that share the cells; by default the processors that this process may use, at most 8.

    Returns
    -------
    Metric name -> ``(cell,)`` float64, and under ``"days"`` the number of days ``(cell,)`` float64. A value that is
    not defined is NaN: see `scores_of`.

    Raises
    ------
    ValueError
        The shapes differ or are not ``(cell, time)``.

    References
    ----------
    Geng et al. (2024), Eq. 15-18; KGE: Gupta et al. (2009), doi:10.1016/j.jhydrol.2009.08.003; KGE 2012: Kling et
    al. (2012), doi:10.1016/j.jhydrol.2012.01.011; ubRMSE: Entekhabi et al. (2010), doi:10.1175/2010JHM1223.1.
    """
    if observed.ndim != 2 or observed.shape != predicted.shape:
        raise ValueError(f"expected two (cell, time) arrays of one shape, got {observed.shape} and {predicted.shape}")
    cells, days = observed.shape
    moments = Moments.empty(cells)
    rows = max(1, _BLOCK // max(days, 1))
    blocks = list(_slices(cells, rows))
    workers = max(1, min(threads or min(usable_cores(), _MOST_THREADS), len(blocks)))

    def measure_share(share: int) -> None:
        buffers = tuple(np.empty((rows, days), dtype=np.float64) for _ in range(3))
        for block in blocks[share::workers]:
            _measure(observed[block], predicted[block], buffers, moments.part(block))

    if workers == 1:
        measure_share(0)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(measure_share, range(workers)))
    return scores_of(moments, _moves(observed, predicted, moments))


@dataclass(frozen=True)
class Moments:
    """The number of days, the means, and sums of squares and products of the centred series and errors, of one shape.

    Parameters
    ----------
    days
        Number of days N.
    mean_observed, mean_predicted, bias
        Means of observed, predicted and predicted less observed [m3 m-3].
    observed, predicted, error
        Sums of squares of the departures from these means [m6 m-6].
    product
        Sum of products of the departures of observed and predicted [m6 m-6].
    """

    days: Cells
    mean_observed: Cells
    mean_predicted: Cells
    bias: Cells
    observed: Cells
    predicted: Cells
    product: Cells
    error: Cells

    @classmethod
    def empty(cls, cells: int) -> Moments:
        """Make moments of so many cells, not yet filled."""
        return cls(*(np.empty(cells, dtype=np.float64) for _ in range(8)))

    def part(self, block: slice) -> Moments:
        """Take some cells, whose arrays are views."""
        return Moments(*(array[block] for array in vars(self).values()))


def _measure(
    observed: npt.NDArray[np.floating],
    predicted: npt.NDArray[np.floating],
    buffers: tuple[npt.NDArray[np.float64], ...],
    out: Moments,
) -> None:
    """Fill the moments of one block of cells.

    Each series is shifted by its value on the first day that counts. No value lies further from the mean than
    sqrt(N) standard deviations, so sum (x - x_1)^2 - N (mean - x_1)^2 loses at most a factor of N of float64's
    precision, whatever the offset; and a constant series has a sum of exactly 0.
    """
    y, f, error = (buffer[: len(observed)] for buffer in buffers)
    valid = np.isfinite(observed)
    valid &= np.isfinite(predicted)
    complete = bool(valid.all())
    first = valid.argmax(axis=1)[:, np.newaxis]
    shifts = []
    for series, values in ((y, observed), (f, predicted)):
        shift = np.take_along_axis(values, first, axis=1).astype(np.float64)
        series[...] = values
        series -= shift
        if not complete:
            np.copyto(series, 0.0, where=~valid)
        shifts.append(shift[:, 0])
    np.subtract(f, y, out=error)
    n = out.days
    n[...] = y.shape[1] if complete else valid.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_y, mean_f, mean_error = (series.sum(axis=1) / n for series in (y, f, error))
    out.mean_observed[...] = mean_y + shifts[0]
    out.mean_predicted[...] = mean_f + shifts[1]
    out.bias[...] = mean_error + (shifts[1] - shifts[0])
    out.observed[...] = _dot(y, y) - n * mean_y**2
    out.predicted[...] = _dot(f, f) - n * mean_f**2
    out.product[...] = _dot(y, f) - n * mean_y * mean_f
    out.error[...] = _dot(error, error) - n * mean_error**2


def _dot(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> Cells:
    """Sum of products over the days, ``(cell,)``."""
    parts = [np.vecdot(left[:, days], right[:, days]) for days in _slices(left.shape[1], _DAYS_AT_ONCE)]
    return np.asarray(sum(parts, start=np.zeros(len(left), dtype=np.float64)), dtype=np.float64)


def scores_of(m: Moments, moves: npt.NDArray[np.bool_]) -> dict[str, Cells]:
    """Compute the scores of `score_cells` from moments, however these were summed: the one rule of what is defined.

    Parameters
    ----------
    m
        ``(..., cell)`` each.
    moves
        ``(cell,)``, whether the observations of all days that count move by `SMALLEST_SPREAD` at least: see
        `soilcast.cube.usable_target`.

    Returns
    -------
    Metric name -> ``(..., cell)`` float64, and ``"days"``. NaN are all metrics on fewer than 2 days; R, R2, KGE of
    observations that do not move, whose ratios are of rounding errors; R, KGE of a forecast that is constant within
    `SMALLEST_VARIANCE`; KGE where the mean observation is 0, KGE 2012 also where the mean forecast is 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        # Where every error is the same, rounding may leave a sum of squares just below 0.
        variance = np.maximum(m.error / m.days, 0.0)
        mse = variance + m.bias**2
        # Of all days they may move, and not on those that a resample draws.
        observed, predicted = (
            np.where(squares > m.days * SMALLEST_VARIANCE, squares, np.nan) for squares in (m.observed, m.predicted)
        )
        observed = np.where(moves, observed, np.nan)
        r = np.clip(m.product / (np.sqrt(observed) * np.sqrt(predicted)), -1.0, 1.0)
        spread = np.sqrt(predicted / observed)
        shift = np.where(m.mean_observed == 0, np.nan, m.mean_predicted / m.mean_observed)
        relative_spread = np.where(shift == 0, np.nan, spread / shift)
        scores = {
            "r": r,
            "rmse": np.sqrt(mse),
            "ubrmse": np.sqrt(variance),
            "bias": m.bias,
            "r2": 1 - m.days * mse / observed,
            "kge": 1 - np.sqrt((r - 1) ** 2 + (spread - 1) ** 2 + (shift - 1) ** 2),
            "kge_2012": 1 - np.sqrt((r - 1) ** 2 + (relative_spread - 1) ** 2 + (shift - 1) ** 2),
        }
    defined = m.days >= 2
    return {name: np.where(defined, values, np.nan) for name, values in scores.items()} | {"days": m.days}


def _moves(
    observed: npt.NDArray[np.floating], predicted: npt.NDArray[np.floating], m: Moments
) -> npt.NDArray[np.bool_]:
    """Whether the observations of each cell move ``(cell,)``, looked up only where their variance leaves it open."""
    moves = np.ones(len(observed), dtype=np.bool_)
    # A series of this standard deviation or more moves by twice as much at least.
    near = np.flatnonzero(~(m.observed > m.days * SMALLEST_SPREAD**2))
    counted = np.isfinite(observed[near]) & np.isfinite(predicted[near])
    moves[near] = usable_target(np.where(counted, observed[near], np.float32(np.nan)))
    return moves


def _slices(total: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, total)) for start in range(0, total, step))
