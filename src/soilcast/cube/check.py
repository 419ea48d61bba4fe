"""Whether values can be what the contract says: bounds, and targets that can be learnt."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from soilcast.cube.contract import VARIABLES
from soilcast.errors import SoilcastError

SMALLEST_SPREAD = 1e-3
"""Soil moisture that moves less than this over its whole record [m3 m-3] counts as constant: ice, bare rock."""

SMALLEST_ERROR = 1e-5
"""Error of a reference forecast [m3 m-3] below which nothing is divided by it: about the step in which reanalyses are
packed."""

_ROUNDING = 1e-6
"""Share of the valid range that rounding, and packing of which nothing is known, may leave beyond the bounds."""

_APART = {"state": 1.0, "flux": 3.0}
"""How far a value that repeats must be from all others of its cells, beside the range of these."""

_UNCAPPED, _APART_UNCAPPED = ("t2m", "mx2t", "mn2t", "d2m", "u10", "v10", "sp"), 0.25
"""The same for states of which hardly any other value repeats, and that no saturation holds at one value."""

_FAR = 0.05
"""The same as a share of the valid range."""

_FEWEST_OTHERS, _CELLS_LOOKED_AT = 20, 64


class BoundsError(SoilcastError):
    """A value that cannot be what the contract says; what is mended then makes another cube.

    Parameters
    ----------
    message
        With ``{place}`` where the cell and the day of the value are to be named.
    index
        Position of the value in its array, ``(cell,)`` or ``(cell, day)``.
    """

    def __init__(self, message: str, index: tuple[int, ...] = ()) -> None:
        super().__init__(message.replace("{place}", f"at position {', '.join(map(str, index))}"))
        self.template, self.index = message, index

    def __reduce__(self) -> tuple[type[BoundsError], tuple[str, tuple[int, ...]]]:
        return type(self), (self.template, self.index)

    def located(self, place: Callable[[tuple[int, ...]], str]) -> BoundsError:
        """The same with the cell and the day in words, as ``place`` gives them for the index."""
        return BoundsError(self.template.replace("{place}", place(self.index)))


def check_bounds(
    variable: str, values: npt.NDArray[np.floating], where: str, *, slack: float = 0.0, offset: int = 0
) -> tuple[float, float]:
    """Refuse values outside the contract's bounds: nearly always a wrong unit or sign.

    Parameters
    ----------
    variable
        Name in the contract.
    values
        ``(cell,)`` or ``(cell, time)``, in the contract's unit; NaN is a missing value and passes.
    where
        The file, for the message.
    slack
        What the packing of the file may leave beyond the bounds, in the contract's unit.
    offset
        Position of the first day in what is read, for the message.

    Returns
    -------
    The lowest and the highest value; NaN where there is none.

    Raises
    ------
    BoundsError
        Names the variable, the range found, the range allowed, and the first such value.
    """
    row = VARIABLES[variable]
    # What has to be above zero, such as an area, has no rounding as large as its range below it.
    below = max(slack, _ROUNDING * (row.valid_min if row.valid_min > 0 else row.valid_max - row.valid_min))
    above = max(slack, _ROUNDING * (row.valid_max - row.valid_min))
    lowest, highest = (float(one.reduce(values, axis=None, initial=np.nan)) for one in (np.fmin, np.fmax))
    if lowest < row.valid_min - below or highest > row.valid_max + above:
        outside = (values < row.valid_min - below) | (values > row.valid_max + above)
        first = tuple(int(one) for one in np.unravel_index(int(np.argmax(outside)), outside.shape))
        raise BoundsError(
            f"{where}: {variable} has {int(outside.sum())} value(s) outside {row.valid_min:g} .. {row.valid_max:g} "
            f"{row.units} (found {lowest:.6g} .. {highest:.6g}; {values[first]:.6g} {{place}}): check its unit and its "
            f"sign (--unit {variable}=UNIT), and whether it stands for a missing value",
            (first[0], *(one + offset for one in first[1:])),
        )
    return lowest, highest


def clip_to_bounds(variable: str, values: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], int]:
    """Put what packing has left a hair beyond the bounds onto them; gives the values, and how many were moved.

    The last digits of single precision are left, such as a saturation of 1.0000001: they are no packing.
    """
    row = VARIABLES[variable]
    lowest, highest = (np.float32(one) for one in (row.valid_min, row.valid_max))
    beyond = (values < lowest - _LAST_DIGITS * np.abs(lowest)) | (values > highest + _LAST_DIGITS * np.abs(highest))
    count = int(beyond.sum())
    return (np.where(beyond, np.clip(values, lowest, highest), values), count) if count else (values, 0)


_LAST_DIGITS = np.float32(8 * np.finfo(np.float32).eps)


def refuse_fills(variable: str, values: npt.NDArray[np.floating], extremes: tuple[float, float], where: str) -> None:
    """Refuse a value that repeats to the last digit and stands apart from all others of its cells.

    Such a value stands for a missing one that is not declared, and lies within the bounds. Zeros of what is never
    negative are values, and so is what a cell always has, such as the snow of a glacier.

    Parameters
    ----------
    variable
        Name in the contract.
    values
        ``(cell, time)`` within the bounds.
    extremes
        The lowest and the highest of them.
    where
        The file, for the message.

    Raises
    ------
    BoundsError
        Names the value, how often it occurs, and the first place.
    """
    row = VARIABLES[variable]
    if row.kind not in _APART:
        return
    far = _FAR * (row.valid_max - row.valid_min)
    sample = values.reshape(-1)[:: max(1, values.size // 4096)]
    for value in extremes:
        if not np.isfinite(value) or (value <= 0.0 and row.valid_min == 0.0):
            continue
        beyond = value + far if value == extremes[0] else value - far
        inner = sample[(sample > beyond) if value == extremes[0] else (sample < beyond)]
        if len(inner) < 0.5 * np.isfinite(sample).sum():
            continue
        repeated = values == np.float32(value)
        count = int(np.count_nonzero(repeated))
        if count < 2:
            continue
        others = values[np.flatnonzero(repeated.any(axis=1))[:_CELLS_LOOKED_AT]]
        others = others[np.isfinite(others) & (others != np.float32(value))]
        if len(others) < _FEWEST_OTHERS:
            continue
        distance = float(np.abs(others - np.float32(value)).min())
        is_rounded = len(np.unique(inner)) < 0.9 * len(inner)
        apart = _APART_UNCAPPED if variable in _UNCAPPED and not is_rounded else _APART[row.kind]
        if distance > max(far, apart * float(np.ptp(others))):
            first = tuple(int(one) for one in np.unravel_index(int(np.argmax(repeated)), repeated.shape))
            celsius = f" ({value - 273.15:.6g} degC)" if row.units == "K" else ""
            raise BoundsError(
                f"{where}: {variable} is exactly {value:.7g} {row.units}{celsius} {count} times, first {{place}}, and "
                f"{distance:.3g} {row.units} away from all other values of these cells: if it stands for a missing "
                "value, declare it (_FillValue in the file, missing in a mapping); if it is real, add --genuine "
                f"{variable}",
                first,
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
