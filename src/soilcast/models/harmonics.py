"""The annual cycle of soil moisture by cell: a mean and as many annual harmonics as its record knows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from soilcast.cube.calendar import Days

Series = npt.NDArray[np.floating]
Matrix = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]

HARMONICS = 3
"""Waves of one year, half a year and a third of a year that the climatology holds besides its mean."""

LONG_RECORD = 2
"""Years of observed learning days from which on a cell has all harmonics that they determine, without a choice."""

_YEAR = 365.2425
_SHORTEST_YEAR = 365
# Days spread evenly over the year give 0.5 here (the weight of a wave's square); a cell that is observed in one
# season alone gives nearly 0, and waves fitted to it would swing wildly in the others.
_LEAST_SPREAD = 0.05
_TIE = 1e-9
"""Errors that differ by less of the cell's squared departures from its mean are equal."""


def number_years(days: Days) -> Counts:
    """Number of the year of each of ascending days, from the first of them on; the last one is 1 to 2 years long."""
    offset = (days - days[:1]).astype("timedelta64[D]").astype(np.int64)
    whole = (int(offset[-1]) + 1) // _SHORTEST_YEAR if len(days) else 0
    return np.minimum((offset / _YEAR).astype(np.int64), max(whole - 1, 0))


def annual_waves(days: Days, harmonics: int = HARMONICS) -> Matrix:
    """The mean and the annual harmonics as columns, ``(time, 1 + 2 harmonics)``."""
    angle = 2 * np.pi * days.astype("datetime64[D]").astype(np.int64) / _YEAR
    columns = [np.ones_like(angle)]
    for order in range(1, harmonics + 1):
        columns += [np.cos(order * angle), np.sin(order * angle)]
    return np.stack(columns, axis=1)


def fit_waves(values: Series, waves: Matrix, years: Counts) -> tuple[Matrix, Flags]:
    """Least-squares coefficients ``(cell, wave)``, and of which cells the harmonics were chosen ``(cell,)``."""
    valid = np.isfinite(values)
    count = valid.sum(axis=1)
    normal, weighted_sums = _normal_equations(valid, values, waves, count)
    most = np.full(len(values), waves.shape[1])
    coefficients, used = _least_squares(normal, weighted_sums, most)
    coefficients[count == 0] = np.nan
    is_chosen = (count > 0) & ((count < LONG_RECORD * _SHORTEST_YEAR) | (used < waves.shape[1]))
    if waves.shape[1] > 1 and is_chosen.any():
        most = _choose_waves(values[is_chosen], waves, years)
        coefficients[is_chosen], _ = _least_squares(normal[is_chosen], weighted_sums[is_chosen], most)
    return coefficients, is_chosen


def _normal_equations(valid: Flags, values: Series, waves: Matrix, count: Counts) -> tuple[Matrix, Matrix]:
    """Mean over the valid days of the products of waves ``(cell, wave, wave)``, and of values and waves."""
    products = (waves[:, :, np.newaxis] * waves[:, np.newaxis, :]).reshape(len(waves), -1)
    scale = 1 / np.maximum(count, 1)[:, np.newaxis]
    normal = (product(valid.astype(np.float64), products) * scale).reshape(-1, *waves.shape[1:] * 2)
    return normal, product(np.where(valid, values.astype(np.float64), 0.0), waves) * scale


def _least_squares(normal: Matrix, weighted_sums: Matrix, most: Counts) -> tuple[Matrix, Counts]:
    """Coefficients ``(cell, wave)`` of as many of the first ``most`` waves as are determined, and their number."""
    coefficients = np.zeros_like(weighted_sums)
    used = np.zeros(len(normal), dtype=np.int64)
    for size in range(weighted_sums.shape[1], 0, -2):
        open_cells = np.flatnonzero((used == 0) & (size <= most))
        part = normal[open_cells, :size, :size]
        is_determined = np.linalg.eigvalsh(part)[:, 0] >= _LEAST_SPREAD
        cells = open_cells[is_determined]
        solved = np.linalg.solve(part[is_determined], weighted_sums[cells, :size, np.newaxis])
        coefficients[cells, :size] = solved[:, :, 0]
        used[cells] = size
    return coefficients, used


def _choose_waves(values: Series, waves: Matrix, years: Counts) -> Counts:
    """How many waves forecast each year best from the others ``(cell,)``; 1, the mean, in less than two years."""
    valid = np.isfinite(values)
    day = np.arange(len(years))
    first, last = valid.argmax(axis=1), len(day) - 1 - valid[:, ::-1].argmax(axis=1)
    # Of values about their mean, so that the sums below lose nothing.
    centre = np.where(valid, values, 0.0).sum(axis=1, dtype=np.float64) / valid.sum(axis=1)
    about = np.where(valid, values - centre[:, np.newaxis], 0.0)
    of_years = []
    for year in np.unique(years):
        inside = years == year
        count = valid[:, inside].sum(axis=1)
        normal, sums = _normal_equations(valid[:, inside], about[:, inside], waves[inside], np.ones_like(count))
        of_years.append((count, normal, sums, (about[:, inside] ** 2).sum(axis=1)))
    counts, normals, all_sums, squares = (np.stack(parts) for parts in zip(*of_years, strict=True))
    sizes = np.arange(1, waves.shape[1] + 1, 2)
    error = np.zeros((len(sizes), len(values)))
    for year in range(len(counts)):
        scale = 1 / np.maximum(counts.sum(axis=0) - counts[year], 1)[:, np.newaxis]
        normal = (normals.sum(axis=0) - normals[year]) * scale[:, :, np.newaxis]
        sums = (all_sums.sum(axis=0) - all_sums[year]) * scale
        for row, size in enumerate(sizes):
            fitted, _ = _least_squares(normal, sums, np.full(len(values), size))
            modelled = np.einsum("ci,cij,cj->c", fitted, normals[year], fitted)
            error[row] += squares[year] - 2 * (fitted * all_sums[year]).sum(axis=1) + modelled
    is_best = error <= error.min(axis=0) + _TIE * squares.sum(axis=0)
    years_spanned = (last - first + 1) / _SHORTEST_YEAR
    return np.where(years_spanned >= LONG_RECORD, sizes[is_best.argmax(axis=0)], 1)


def product(left: Matrix, right: Matrix) -> Matrix:
    """Matrix product whose bits do not depend on how many threads linear algebra has, as they differ among workers."""
    return np.asarray(np.einsum("ij,jk->ik", left, right), dtype=np.float64)
