"""What probes find: numbers of a run beside those of the cube, with errors, curves and notes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict, Unpack

import numpy as np

from soilcast.auditing.estimates import NONE, Array, Estimate, Indices


class About(TypedDict, total=False):
    """What a row is of, beside its numbers: see `Row`."""

    group: str
    layer: str
    samples: int
    about: str


_TINY = 1e-12


@dataclass(frozen=True)
class Row:
    """A number of a run, and the same of the land model or the observations of the cube.

    Parameters
    ----------
    quantity, units
        What it is.
    run, run_error, cube, cube_error
        Values and standard errors; NaN where there is none.
    allowance
        The error of the method, which counts beside the standard errors.
    deviation
        Run less cube, by what the errors allow: twice the two standard errors and that of the method, together.
    group, layer
        Cells and soil layer.
    samples
        How many cell-days it is of.
    about
        The input that it is of, if it is of one.
    """

    quantity: str
    units: str
    run: float
    run_error: float = np.nan
    cube: float = np.nan
    cube_error: float = np.nan
    allowance: float = 0.0
    deviation: float = np.nan
    group: str = ""
    layer: str = ""
    samples: int = 0
    about: str = ""

    @staticmethod
    def of(
        quantity: str,
        units: str,
        run: Estimate,
        cube: Estimate = NONE,
        *,
        relative: float = 0.0,
        absolute: float = 0.0,
        as_rates: bool = False,
        **about: Unpack[About],
    ) -> Row:
        """Make a row of two estimates.

        Parameters
        ----------
        relative, absolute
            Error of the method, relative to the cube's value and beside it.
        as_rates
            Compare times by their inverses, which are known where a time has no end.
        """
        run_value, run_error, cube_value, cube_error = (
            float(one) for one in (run.value, run.error, cube.value, cube.error)
        )
        allowance = absolute + relative * (abs(cube_value) if np.isfinite(cube_value) else 0.0)
        both = (run.map(_inverse), cube.map(_inverse)) if as_rates else (run, cube)
        deviation = _deviation(*both, relative, absolute)
        return Row(quantity, units, run_value, run_error, cube_value, cube_error, allowance, deviation, **about)

    @property
    def differs(self) -> bool:
        """Whether run and cube differ by more than the errors allow; false where a value or an error is not known."""
        return abs(self.deviation) > 1

    @property
    def is_compared(self) -> bool:
        """Whether there are both values, with errors."""
        return not np.isnan(self.deviation)


def _inverse(time: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.asarray(1 / time)


def _deviation(run: Estimate, cube: Estimate, relative: float, absolute: float) -> float:
    allowance = absolute + relative * abs(cube.value)
    allowed = np.hypot(2 * np.hypot(run.error, cube.error), allowance)
    difference = float(run.value - cube.value)
    return 0.0 if difference == 0 and not np.isnan(allowed) else difference / max(float(allowed), _TINY)


@dataclass(frozen=True)
class Curve:
    """A response by days since the pulse, of the run and of the cube.

    Parameters
    ----------
    group, layer
        What it is of.
    since
        Days ``(day,)``.
    run, run_error, cube, cube_error
        ``(day,)`` [m3 m-3 per 10 mm].
    """

    group: str
    layer: str
    since: Indices
    run: Array
    run_error: Array
    cube: Array
    cube_error: Array


@dataclass(frozen=True)
class Finding:
    """What a probe has found.

    Parameters
    ----------
    rows
        Its numbers.
    curves
        Responses by day, if it has any.
    notes
        Sentences: what was left out, clipped or assumed.
    """

    rows: tuple[Row, ...] = ()
    curves: tuple[Curve, ...] = ()
    notes: tuple[str, ...] = ()
