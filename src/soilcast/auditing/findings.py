"""What probes find: numbers of a run beside those of the cube, with errors, curves and notes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from soilcast.auditing.estimates import NONE, Estimate

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Row:
    """A number of a run, and the same of the land model or the observations of the cube.

    Parameters
    ----------
    group, layer
        Cells and soil layer.
    quantity, units
        What it is.
    run, run_error, cube, cube_error
        Values and standard errors; NaN where there is none.
    samples
        How many cell-days it is of.
    allowance
        What the two may differ by beside twice their errors: the error of the method.
    about
        The input that it is of, if it is of one.
    """

    group: str
    layer: str
    quantity: str
    units: str
    run: float
    run_error: float = np.nan
    cube: float = np.nan
    cube_error: float = np.nan
    samples: int = 0
    allowance: float = 0.0
    about: str = ""

    @staticmethod
    def of(run: Estimate, cube: Estimate = NONE, *, relative: float = 0.0, absolute: float = 0.0, **parts: Any) -> Row:
        """Make a row of two estimates; ``relative`` (to the cube's) and ``absolute`` are the error of the method."""
        numbers = [float(one) for one in (run.value, run.error, cube.value, cube.error)]
        of_cube = abs(numbers[2]) if np.isfinite(numbers[2]) else 0.0
        return Row(
            run=numbers[0],
            run_error=numbers[1],
            cube=numbers[2],
            cube_error=numbers[3],
            allowance=absolute + relative * of_cube,
            **parts,
        )

    @property
    def error(self) -> float:
        """What a difference is compared with: the two errors and that of the method, together."""
        errors = np.nan_to_num([self.run_error, self.cube_error])
        return float(np.hypot(2 * np.hypot(*errors), self.allowance))

    @property
    def differs(self) -> bool:
        """Whether run and cube differ by more than the errors allow; false where one of them has no value."""
        return bool(abs(self.run - self.cube) > self.error)


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
