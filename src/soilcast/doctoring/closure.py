"""How well the water balance of a cube closes: residuals of single days, summed in each cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.doctoring.hypotheses import AS_IS, Hypothesis
from soilcast.doctoring.terms import LAGS, SIGNS, SNOW, SOIL, Array, States, Terms, Window, terms_of, windows
from soilcast.errors import SoilcastError

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

FEWEST_DAYS = 30
"""With fewer days than this a cell is not judged."""


@dataclass(frozen=True)
class Trial:
    """A hypothesis, and what the states are taken for."""

    hypothesis: Hypothesis
    states: States


@dataclass(frozen=True)
class Sums:
    """Sums over the days of a record, everything in float64 and on the same days of each cell.

    Parameters
    ----------
    days
        Number of days on which every term is known, ``(cell,)``.
    absolute
        Sum of the absolute residual, ``(trial, cell)`` [m].
    as_is, signed
        Kind of states -> sum of the absolute residual, and of the residual, as it is, ``(cell,)`` [m].
    sizes
        Kind of states -> term -> sum of its absolute value, ``(cell,)`` [m].
    totals
        Kind of states -> flux -> its sum, ``(cell,)`` [m].
    fitted_factors
        Kind of states -> store or ``all`` (all fluxes) -> factor that makes the squared residual least, ``(cell,)``.
    """

    days: Array
    absolute: Array
    as_is: Mapping[States, Array]
    signed: Mapping[States, Array]
    sizes: Mapping[States, Mapping[str, Array]]
    totals: Mapping[States, Mapping[str, Array]]
    fitted_factors: Mapping[States, Mapping[str, Array]]


@dataclass(frozen=True)
class Closure:
    """How the water balance of each cell closes; all arrays ``(cell,)`` float64, NaN where a cell is not judged.

    Parameters
    ----------
    states
        What the states were taken for.
    terms
        What took part, and what is missing.
    mean
        Mean of P - E - R - dS [m d-1].
    mean_absolute
        Mean of its absolute value [m d-1].
    scale
        What it is judged by: half the sum of the mean absolute P, E, R, dSnow and dSoil [m d-1]. If a balance closes,
        the half is about what enters a cell, and what leaves it.
    days
        Number of days on which every term is known.
    area
        Of the cells [m2].
    """

    states: States
    terms: Terms
    mean: Array
    mean_absolute: Array
    scale: Array
    days: Array
    area: Array

    @property
    def relative(self) -> Array:
        """Mean absolute residual over the scale, ``(cell,)``; see `relative_residual`."""
        return relative_residual(self.mean_absolute, self.scale, self.area)

    @property
    def drift(self) -> Array:
        """Size of the mean residual over the scale, ``(cell,)``: what is left after the whole record."""
        return relative_residual(np.abs(self.mean), self.scale, self.area)

    def as_json(self) -> dict[str, Any]:
        """Numbers over the area, ready for JSON; null for what is not known."""
        judged = np.isfinite(self.mean_absolute)
        return {
            "states": self.states,
            "fluxes": list(self.terms.fluxes),
            "stores": [*((SNOW,) if self.terms.snow else ()), *self.terms.layers],
            "lacking": list(self.terms.lacking),
            "open": list(self.terms.open),
            "cells": len(self.days),
            "cells_judged": int(judged.sum()),
            "days_median": number(np.median(self.days[judged]) if judged.any() else math.nan),
            "residual_m_per_day": spread(self.mean, self.area),
            "absolute_residual_m_per_day": spread(self.mean_absolute, self.area),
            "scale_m_per_day": spread(self.scale, self.area),
            "relative_residual": spread(self.relative, self.area),
            "relative_drift": spread(self.drift, self.area),
        }


def closure(cube: xr.Dataset, *, states: States = "end") -> Closure:
    r"""Test in every cell whether P - E - R is the change of snow and soil water.

    .. math:: r_t = F_t - (S_t - S_{t-1}), \quad F = P - E - R, \quad S = \mathrm{sd} + \sum_i \mathrm{swvl}_i\, d_i

    Parameters
    ----------
    cube
        What `soilcast.cube.assemble` makes, lazy or in memory. It is read once, in tiles of bounded size.
    states
        ``end``: of the end of the day, as above. ``mean``: of the mean of the day; their change is compared with
        (F[t-1] + F[t]) / 2. ``begin``: of the beginning of the day; S[t] - S[t-1] is compared with F[t-1].

    Returns
    -------
    Days on which a term is missing are left out; cells with fewer than `FEWEST_DAYS` days are not judged.

    Raises
    ------
    SoilcastError
        A term is missing without which nothing can be tested.
    """
    terms = terms_of(cube)
    if terms.lacking:
        source = cube.encoding.get("source") or cube.attrs.get("title", "the cube")
        raise SoilcastError(
            f"{source}: the water balance cannot be tested, {'; '.join(terms.lacking)}: prepare a cube that has them"
        )
    sums = measure(cube, terms, [Trial(AS_IS, states)], (LAGS[states][0], LAGS[states][-1]))
    return closure_of(cube, terms, sums, states)


def closure_of(cube: xr.Dataset, terms: Terms, sums: Sums, states: States) -> Closure:
    """Means of the balance as it is, from sums of which the trial as it is was one."""
    days = np.where(sums.days >= FEWEST_DAYS, sums.days, np.nan)
    return Closure(
        states,
        terms,
        sums.signed[states] / days,
        sums.as_is[states] / days,
        scale_of(sums, Trial(AS_IS, states)) / days,
        sums.days,
        cube["area"].to_numpy().astype(np.float64),
    )


def measure(cube: xr.Dataset, terms: Terms, trials: Sequence[Trial], lags: tuple[int, int]) -> Sums:
    """Sum the residuals of all trials in one pass over a cube.

    Parameters
    ----------
    cube
        Lazy or in memory.
    terms
        What `terms_of` gives.
    trials
        What to try.
    lags
        Least and greatest lag of the fluxes in any trial.
    """
    cells = cube.sizes["cell"]
    kinds = list(dict.fromkeys(trial.states for trial in trials))
    soils = dict.fromkeys([SOIL, *(trial.hypothesis.soil for trial in trials)])
    stores = [*((SNOW,) if terms.snow else ()), *terms.layers, *soils]
    days = np.zeros(cells)
    absolute = np.zeros((len(trials), cells))
    as_is: dict[States, Array] = {kind: np.zeros(cells) for kind in kinds}
    signed: dict[States, Array] = {kind: np.zeros(cells) for kind in kinds}
    sizes = {kind: {name: np.zeros(cells) for name in (*terms.fluxes, *stores)} for kind in kinds}
    totals = {kind: {name: np.zeros(cells) for name in terms.fluxes} for kind in kinds}
    products = {kind: {name: np.zeros((2, cells)) for name in (*stores, "all")} for kind in kinds}
    for at, window in windows(cube, terms, lags):
        days[at] += window.valid.sum(axis=1)
        for kind in kinds:
            left = window.residual(kind)
            as_is[kind][at] += np.abs(left).sum(axis=1)
            signed[kind][at] += left.sum(axis=1)
            for name in terms.fluxes:
                values = window.flux(name, kind)
                sizes[kind][name][at] += np.abs(values).sum(axis=1)
                totals[kind][name][at] += values.sum(axis=1)
            for name in stores:
                values = window.change(name)
                sizes[kind][name][at] += np.abs(values).sum(axis=1)
                products[kind][name][:, at] += _products(values, left)
            inflow = left + np.sum([window.change(name) for name in terms.stores], axis=0)
            products[kind]["all"][:, at] += _products(inflow, -left)
        for row, trial in enumerate(trials):
            absolute[row, at] += np.abs(_residual(window, trial)).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        fitted_factors = {
            kind: {name: 1.0 + with_rest / square for name, (square, with_rest) in products[kind].items()}
            for kind in kinds
        }
    return Sums(days, absolute, as_is, signed, sizes, totals, fitted_factors)


def scale_of(sums: Sums, trial: Trial) -> Array:
    """Half the sum of the absolute terms as the trial has them, ``(cell,)`` [m]."""
    sizes, factors = sums.sizes[trial.states], trial.hypothesis.factors
    total = np.zeros_like(sums.days)
    for name, size in sizes.items():
        if name in SIGNS or name == SNOW:
            total += abs(factors.get(name, 1.0)) * size
    soil = abs(factors.get(SOIL, 1.0)) * sizes[trial.hypothesis.soil]
    for name in sizes:
        if name.startswith("swvl") and name in factors:  # what of a layer is more than it was counts as well
            soil = soil + max(abs(factors[name]) - 1.0, 0.0) * sizes[name]
    return 0.5 * (total + soil)


def relative_residual(residual: Array, scale: Array, area: Array, usual: float = math.inf) -> Array:
    """Residual over scale, ``(..., cell)``; a cell with next to no water is judged by a tenth of the usual scale.

    In a desert the rounding of the files is as large as the water; only a fault that would be seen elsewhere counts.

    Parameters
    ----------
    residual, scale
        ``(..., cell)`` [m d-1].
    area
        Of the cells ``(cell,)`` [m2]; the usual scale is the median over it.
    usual
        It is no more than this [m d-1]: under a hypothesis that makes a term too large it would be too large itself.
    """
    medians = [weighted_quantiles(row, area, (0.5,))[0] for row in np.atleast_2d(scale)]
    least = 0.1 * np.fmin(medians, usual).reshape((*scale.shape[:-1], 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(residual == 0.0, 0.0, residual / np.fmax(scale, least)))


def weighted_quantiles(values: Array, weights: npt.NDArray[np.floating], at: Sequence[float]) -> Array:
    """Quantiles of what is finite, by weight; NaN if nothing is."""
    there = np.isfinite(values) & (weights > 0)
    if not there.any():
        return np.full(len(at), np.nan)
    return np.asarray(np.quantile(values[there], at, weights=weights[there], method="inverted_cdf"), dtype=np.float64)


def spread(values: Array, area: Array) -> dict[str, float | None]:
    """Area-weighted mean and quantiles of the cells, ready for JSON."""
    there = np.isfinite(values)
    mean = float(np.average(values[there], weights=area[there])) if area[there].sum() > 0 else math.nan
    found = weighted_quantiles(values, area, QUANTILES)
    named = {f"p{100 * at:02.0f}": number(one) for at, one in zip(QUANTILES, found, strict=True)}
    return {"mean": number(mean), **named}


def number(value: float) -> float | None:
    """A number for JSON, which knows no NaN."""
    return float(value) if math.isfinite(value) else None


def _products(values: Array, other: Array) -> Array:
    return np.stack([np.einsum("ij,ij->i", values, values), np.einsum("ij,ij->i", values, other)])


def _residual(window: Window, trial: Trial) -> Array:
    """The residual under a trial: that of the terms as they are, plus what the changed terms bring."""
    left, hypothesis, states = window.residual(trial.states), trial.hypothesis, trial.states
    for name, factor in hypothesis.factors.items():
        if name in SIGNS:
            left = left + (SIGNS[name] * (factor - 1.0)) * window.flux(name, states)
        else:
            left = left - (factor - 1.0) * window.change(name)
    for name, shift in hypothesis.days.items():
        left = left + SIGNS[name] * (window.flux(name, states, shift) - window.flux(name, states))
    if hypothesis.soil != SOIL:
        left = left - (window.change(hypothesis.soil) - window.change(SOIL))
    return left
