"""Whether values can be what the contract says: bounds, and targets that can be learnt."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from soilcast.cube.contract import VARIABLES
from soilcast.errors import SoilcastError

SMALLEST_SPREAD = 1e-3
"""Soil moisture that moves less than this over its whole record [m3 m-3] counts as constant: ice, bare rock."""

# Packing in the source files leaves traces such as -1e-9 m of rain; this share of the valid range is let pass.
_TOLERANCE = 1e-6


class BoundsError(SoilcastError):
    """A value is outside the contract's bounds; what is mended then makes another cube."""


def check_bounds(variable: str, values: npt.NDArray[np.floating], where: str) -> None:
    """Refuse values outside the contract's bounds: nearly always a wrong unit or sign.

    Parameters
    ----------
    variable
        Name in the contract.
    values
        Any shape, in the contract's unit; NaN is a missing value and passes.
    where
        The file, for the message.

    Raises
    ------
    BoundsError
        Names the variable, the range found and the range allowed.
    """
    row = VARIABLES[variable]
    slack = _TOLERANCE * (row.valid_max - row.valid_min)
    outside = (values < row.valid_min - slack) | (values > row.valid_max + slack)
    if outside.any():
        raise BoundsError(
            f"{where}: {variable} has {int(outside.sum())} value(s) outside {row.valid_min:g} .. {row.valid_max:g} "
            f"{row.units} (found {np.nanmin(values):.6g} .. {np.nanmax(values):.6g}): check its unit and its sign "
            f"(--unit {variable}=UNIT)"
        )


def usable_target(target: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Cells whose target can be learnt: some values are there and they move, by `SMALLEST_SPREAD` at least.

    Parameters
    ----------
    target
        ``(cell, time)``, NaN where missing.

    Returns
    -------
    ``(cell,)``, True for a usable cell.
    """
    lowest = np.nanmin(np.where(np.isnan(target), np.inf, target), axis=1)
    highest = np.nanmax(np.where(np.isnan(target), -np.inf, target), axis=1)
    return np.asarray(highest - lowest >= SMALLEST_SPREAD)
