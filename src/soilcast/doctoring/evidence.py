"""Which hypotheses on a cube are to be believed, in which cells, once all of them have been tried in every cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.doctoring.closure import (
    FEWEST_DAYS,
    Closure,
    Sums,
    Trial,
    closure_of,
    number,
    relative_residual,
    scale_of,
    weighted_quantiles,
)
from soilcast.doctoring.hypotheses import AS_IS, CLOSED_IN_THE_MEAN, fitted, is_known
from soilcast.doctoring.terms import SIGNS, Array, States, Terms

Verdict = Literal["closes", "balances", "closes if", "does not close", "cannot be tested"]
Cells = npt.NDArray[np.bool_]

CLOSED = 0.10
"""A cell closes if its mean absolute residual is below this share of the scale.

Daily means of mHM leave 3 to 6 %, 3 % noise on e 1 to 2 %; states of another kind than assumed leave 25 % or more, and
stores that are missing (ERA5-Land's fourth layer, the ponds and leaves of PRMS) 15 to 40 %.
"""

CLOSED_IF_OPEN = 0.40
"""The same for a known fault if stores may be missing: what is left may be their change."""

IMPROVED = 1 / 3
"""A fault must take the residual below this share of what it is without it."""

CLEARER = 2.0
"""The next best explanation of another kind must leave so many times more."""

LEAST_RESIDUAL = 0.01
"""Below this share of the scale nothing is left to explain: rounding is as large."""

LEAST_SHARE = 0.02
"""A fault counts if it explains so much of the judged area."""

LEAST_OF_REST = 1 / 8
"""It must explain so much of the area that it leaves unexplained: runoff that looks like rain in a desert is chance."""

MOST = 0.90
"""A cube closes if so much of the judged area does."""

DRIFT = (0.10, 0.15)
"""A record balances if the mean residual is below these shares of the scale on a half and three quarters of the area.

In a year, what the fourth layer of ERA5-Land gains or loses is 2 to 10 % of the scale.
"""

LEVEL = (0.35, 2.0)
"""A record that balances says something of units if the fluxes are within these factors of the change of the stores."""

_UNFITTED = (0.8, 1.25)  # factors that are no fault
_ACCUMULATED = (1 / 20, 1 / 8)
_AS_GOOD = 1.05  # of two hypotheses of one family that leave nearly the same, either may be the wider one
_AGREEING = 0.5  # quartile range of the fitted factors of the cells over their median


@dataclass(frozen=True)
class Finding:
    """A fault that explains why the balance does not close.

    Parameters
    ----------
    name
        Of the hypothesis.
    variables
        That it blames.
    fault, remedy
        One clause each.
    states
        What the states are under it.
    factor
        What the variables must be multiplied by, if it is that.
    is_fitted
        Whether the factor was fitted, as no known slip explains the residual.
    share
        Share of the judged area on which it is clearly the best explanation.
    closing
        Share of the judged area on which the balance closes with it.
    contradicted
        Share of the judged area on which the balance closes as it is, and would not with it.
    relative, relative_as_is, relative_rival
        Residual over scale with it, without it, and with the next best explanation of another kind; medians over the
        area that it explains.
    rival
        Family of that explanation.
    """

    name: str
    variables: tuple[str, ...]
    fault: str
    remedy: str
    states: States
    factor: float | None
    is_fitted: bool
    share: float
    closing: float
    contradicted: float
    relative: float
    relative_as_is: float
    relative_rival: float
    rival: str

    def as_json(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        plain = {name: number(value) if isinstance(value, float) else value for name, value in vars(self).items()}
        return plain | {"variables": list(self.variables)}


class Evidence:
    """All trials on all cells, and what follows from them.

    Parameters
    ----------
    cube
        For the areas of the cells [m2].
    terms
        What took part.
    trials, sums
        What was tried, and what `measure` gave.
    """

    def __init__(self, cube: xr.Dataset, terms: Terms, trials: Sequence[Trial], sums: Sums) -> None:
        self._terms, self._trials, self._sums = terms, list(trials), sums
        self._area = cube["area"].to_numpy().astype(np.float64)
        self._judged: Cells = sums.days >= FEWEST_DAYS
        self._rows_as_is = [row for row, trial in enumerate(trials) if trial.hypothesis is AS_IS]
        self._days = np.where(self._judged, sums.days, np.nan)
        of_kinds = [self._median(scale_of(sums, trials[row]) / self._days, self._judged) for row in self._rows_as_is]
        usual = float(np.fmin.reduce(of_kinds))
        self._relative = np.stack([self._relative_of(row, usual) for row in range(len(trials))])
        self._as_is = self._relative[self._rows_as_is].min(axis=0)
        row = max(self._rows_as_is, key=lambda at: (self.share(self._relative[at] < CLOSED), -self._total(at)))
        self.closes: Cells = self._judged & (self._relative[row] < CLOSED)
        self.closure: Closure = closure_of(cube, terms, sums, trials[row].states)
        self._families = list(dict.fromkeys(trial.hypothesis.family for trial in trials))
        self._member = np.array([self._families.index(trial.hypothesis.family) for trial in trials])
        self._best = np.stack([self._relative[self._member == one].min(axis=0) for one in range(len(self._families))])
        self._order = np.argsort(self._best, axis=0, kind="stable")[:2]
        self._limits = np.array([self._limit(trial) for trial in trials])

    def share(self, cells: Cells) -> float:
        """Share of the judged area."""
        return float(self._area[cells & self._judged].sum() / self._area[self._judged].sum())

    def level(self) -> float:
        """Factor by which the fluxes fit the change of the stores best, median over the area."""
        return self._median(self._sums.fitted_factors[self.closure.states]["all"], self._judged)

    def unproven(self) -> tuple[str, ...]:
        """Terms without which the balance closes as well nearly everywhere, so that it says nothing of them."""
        found = []
        for name in (*self._terms.fluxes, *self._terms.stores):
            rows = [row for row, trial in enumerate(self._trials) if trial.hypothesis.family == f"without {name}"]
            without = self._relative[rows].min(axis=0)
            shown = (without > CLEARER * self._as_is) & (without > LEAST_RESIDUAL)
            if self.share(shown & self.closes) < LEAST_SHARE:
                found.append(name)
        return tuple(found)

    def verdict(self, findings: Sequence[Finding]) -> Verdict:
        """The verdict over the area."""
        if findings:
            return "closes if"
        if self.share(self.closes) >= MOST:
            return "closes"
        half, three_quarters = weighted_quantiles(self.closure.drift, self._area, (0.5, 0.75))
        is_kept = half < DRIFT[0] and three_quarters < DRIFT[1] and LEVEL[0] < self.level() < LEVEL[1]
        return "balances" if is_kept else "does not close"

    def findings(self) -> tuple[tuple[Finding, ...], npt.NDArray[np.int8]]:
        """Faults, the widest first, each where the ones before it do not close; and the verdict of each cell."""
        explains = np.stack([self._explains(row) for row in range(len(self._trials))])
        left = self._judged.copy()
        found: list[Finding] = []
        verdicts = np.where(self._judged, self.closes.astype(np.int8), -1).astype(np.int8)
        while True:
            row = int(np.argmax([self._area[one & left].sum() for one in explains]))
            here, closed = explains[row] & left, self._relative[row] < self._limits[row]
            rest = self.share(left & ~closed & ~self.closes)
            if self.share(here) < max(LEAST_SHARE, LEAST_OF_REST * rest):
                return tuple(found), verdicts
            found.append(self._finding(row, here))
            verdicts[left & (here | (closed & ~self.closes))] = len(found) + 1
            left &= ~closed

    def fits(self) -> list[Trial]:
        """Trials of factors that are fitted to the cells which nothing closes; of a flux by the total of the record."""
        unexplained = self._judged & ~(self._relative < CLOSED).any(axis=0)
        if self.share(unexplained) < LEAST_SHARE:
            return []
        weights = np.where(unexplained, self._area, 0.0)
        trials = []
        for kind, fitted_factors in self._sums.fitted_factors.items():
            with np.errstate(divide="ignore", invalid="ignore"):
                factors = {
                    name: 1.0 - self._sums.signed[kind] / (SIGNS[name] * total)
                    for name, total in self._sums.totals[kind].items()
                }
            factors |= {name: fitted_factors[name] for name in ("all", *self._terms.stores, *self._terms.layers)}
            for name, factor in factors.items():
                low, middle, high = weighted_quantiles(factor, weights, (0.25, 0.5, 0.75))
                is_one = middle > 0 and high - low <= _AGREEING * middle  # false where nothing is known
                if not is_one or _UNFITTED[0] < middle < _UNFITTED[1]:
                    continue
                if not is_known(name, float(middle)):
                    trials.append(Trial(fitted(name, float(middle), self._terms), kind))
        return trials

    def _relative_of(self, row: int, usual: float) -> Array:
        """Residual of a trial over its scale, ``(cell,)``; infinite where it is not known."""
        scale = scale_of(self._sums, self._trials[row]) / self._days
        relative = relative_residual(self._sums.absolute[row] / self._days, scale, self._area, usual)
        return np.where(np.isfinite(relative), relative, np.inf)

    def _rival(self, row: int) -> tuple[Array, npt.NDArray[np.int64]]:
        """What the best of the other families leaves, and which that is, each ``(cell,)``."""
        first, second = self._order
        family = np.where(first == self._member[row], second, first)
        return np.take_along_axis(self._best, family[np.newaxis], axis=0)[0], family

    def _explains(self, row: int) -> Cells:
        """Where a trial is believed, ``(cell,)``."""
        if not self._trials[row].hypothesis.fault:
            return np.zeros_like(self._judged)
        relative, limit = self._relative[row], self._limits[row]
        if limit == CLOSED_IN_THE_MEAN:
            as_is = np.fmin.reduce([self._sums.as_is[kind] for kind in self._sums.as_is])
            improved = self._sums.absolute[row] < IMPROVED * as_is
        else:
            improved = relative < IMPROVED * self._as_is
        return np.asarray(
            self._judged
            & (self._as_is > LEAST_RESIDUAL)
            & (relative < limit)
            & improved
            & (relative <= _AS_GOOD * self._best[self._member[row]] + 1e-9)
            & (self._rival(row)[0] > CLEARER * relative)
        )

    def _limit(self, trial: Trial) -> float:
        hypothesis = trial.hypothesis
        if hypothesis.closed is not None:
            return hypothesis.closed
        if not hypothesis.is_fitted:
            return CLOSED_IF_OPEN if self._terms.open and hypothesis.fault else CLOSED
        name, factor = next(iter(hypothesis.factors.items()))
        return CLOSED_IN_THE_MEAN if name in SIGNS and _ACCUMULATED[0] <= factor <= _ACCUMULATED[1] else CLOSED

    def _finding(self, row: int, here: Cells) -> Finding:
        trial = self._trials[row]
        hypothesis = trial.hypothesis
        left_by_rival, family = self._rival(row)
        names, counts = np.unique(family[here], return_counts=True)
        factors = set(hypothesis.factors.values())
        closed: Cells = self._relative[row] < self._limits[row]
        return Finding(
            hypothesis.name,
            hypothesis.variables,
            hypothesis.fault,
            hypothesis.remedy,
            trial.states,
            float(factors.pop()) if len(factors) == 1 else None,
            hypothesis.is_fitted,
            self.share(here),
            self.share(closed),
            self.share(self.closes & ~closed),
            self._median(self._relative[row], here),
            self._median(self._as_is, here),
            self._median(left_by_rival, here),
            self._families[names[counts.argmax()]],
        )

    def _total(self, row: int) -> float:
        return self._median(self._relative[row], self._judged)

    def _median(self, values: Array, cells: Cells) -> float:
        return float(weighted_quantiles(values, np.where(cells, self._area, 0.0), (0.5,))[0])
