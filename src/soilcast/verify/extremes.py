"""The driest and the wettest days of each cell: by what was observed, and by what a model forecast."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

EXTREME_SHARE = 0.05
"""Share of a cell's days that are its driest, and its wettest."""

Floats = npt.NDArray[np.floating]
Side = Literal["dry", "wet"]


def extreme_days(moisture: Floats, share: float = EXTREME_SHARE) -> tuple[Floats, Floats]:
    """Limits of the driest and the wettest days of each cell.

    Parameters
    ----------
    moisture
        Observed or forecast, of all days that count, ``(cell, day)`` [m3 m-3], NaN where missing.
    share
        Of its n days with a value so many, rounded up, are a cell's driest: those at most the limit, so more if several
        equal it. Likewise its wettest.

    Returns
    -------
    Highest value of the driest days and lowest of the wettest, ``(cell, 1)`` [m3 m-3]; NaN without any value.
    """
    valid = np.isfinite(moisture)
    ordered = np.sort(np.where(valid, moisture, np.nan), axis=1)  # missing ones come last
    count = valid.sum(axis=1, keepdims=True)
    # A product such as 0.05 * 20 may miss the whole number by its rounding.
    days = np.maximum(np.ceil(share * count - 1e-9).astype(np.int64), 1)
    driest = np.take_along_axis(ordered, np.minimum(days, np.maximum(count, 1)) - 1, axis=1)
    return driest, np.take_along_axis(ordered, np.maximum(count - days, 0), axis=1)


def is_extreme(moisture: Floats, limits: tuple[Floats, Floats], side: Side) -> npt.NDArray[np.bool_]:
    """Whether days ``(cell, day)`` are among the driest or the wettest, by the limits of `extreme_days`."""
    driest, wettest = limits
    return np.asarray(moisture <= driest if side == "dry" else moisture >= wettest)
