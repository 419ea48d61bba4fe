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
        What the two may differ by beside twice their errors: the error of the method.
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
        **about: Unpack[About],
    ) -> Row:
        """Make a row of two estimates; ``relative`` (to the cube's) and ``absolute`` are the error of the method."""
        run_value, run_error, cube_value, cube_error = (
            float(one) for one in (run.value, run.error, cube.value, cube.error)
        )
        allowance = absolute + relative * (abs(cube_value) if np.isfinite(cube_value) else 0.0)
        return Row(quantity, units, run_value, run_error, cube_value, cube_error, allowance, **about)

    @property
    def error(self) -> float:
        """What a difference is compared with: the two errors and that of the method, together."""
        return float(np.hypot(2 * np.hypot(self.run_error, self.cube_error), self.allowance))

    @property
    def differs(self) -> bool:
        """Whether run and cube differ by more than the errors allow; false where a value or an error is not known."""
        return bool(abs(self.run - self.cube) > self.error)

    @property
    def is_compared(self) -> bool:
        """Whether there are both values, with errors."""
        return not np.isnan([self.run, self.cube, self.error]).any()


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
