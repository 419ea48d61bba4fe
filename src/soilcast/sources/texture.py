"""Which unit a soil texture without one is in: its three fractions make up the whole."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

TEXTURE = ("clay", "sand", "silt")

_WHOLES = {"g kg-1": 1000.0, "percent": 100.0, "1": 1.0}
# What rounding and interpolation leave of the whole, as a share of it.
_TOLERANCE = 0.1


def unit_of_texture(fractions: Mapping[str, npt.NDArray[np.floating]]) -> str | None:
    """Tell the unit of clay, sand and silt from what they sum to; None where that is no whole.

    Parameters
    ----------
    fractions
        The three of `TEXTURE`, each of one shape, in the file's unit; NaN where missing.
    """
    total = np.stack([fractions[name] for name in TEXTURE]).sum(axis=0, dtype=np.float64)
    total = total[np.isfinite(total)]
    if not total.size:
        return None
    middle = float(np.median(total))
    return next((unit for unit, whole in _WHOLES.items() if abs(middle - whole) <= _TOLERANCE * whole), None)
