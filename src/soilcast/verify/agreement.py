"""How well a reading of the water balance says which way the observed soil moisture moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from soilcast.cube import read
from soilcast.training.inputs import cell_blocks
from soilcast.water import Form, WaterConfig, mask_observed, water_signs


@dataclass(frozen=True)
class Agreement:
    """Shares of cell-days, NaN where there is none.

    Parameters
    ----------
    kept
        Of those on which the balance gives a sign and soil moisture is observed: those that Eq. 13 keeps.
    agreeing
        Of those on which the balance gives a sign and soil moisture moves: those on which it moves that way.
    """

    kept: float
    agreeing: float


def measure_agreement(
    cube: xr.Dataset, target: str, readings: Mapping[str, tuple[Form, WaterConfig]], periods: Sequence[slice]
) -> dict[str, Agreement]:
    """Compare the signs that readings of the water balance give with the observed change of soil moisture.

    Parameters
    ----------
    cube
        An opened cube.
    target
        The variable that is forecast.
    readings
        Name -> W and how it is read.
    periods
        The days that count, as positions along time.

    Returns
    -------
    Name -> shares over all cells and days, each cell-day counting once.
    """
    counts = {name: np.zeros(4, dtype=np.int64) for name in readings}
    for days in periods:
        ahead = min(days.start, 3)  # the sign of a day looks at the two days before it, its mask at one
        part = cube.isel(time=slice(days.start - ahead, days.stop))
        for cells in cell_blocks(part.sizes["cell"], part.sizes["time"], 8):
            observed = read(part, target, cells)
            change = np.diff(observed.astype(np.float64), axis=1, prepend=np.nan)[:, ahead:]
            for name, signs in water_signs(part.isel(cell=cells), readings).items():
                masked = mask_observed(signs, observed, readings[name][1].ties)[:, ahead:]
                plain = signs[:, ahead:]
                given = (plain != 0) & np.isfinite(change)
                moving = given & (change != 0)
                follows = moving & (plain * change > 0)
                counts[name] += [np.count_nonzero(one) for one in (given, masked != 0, moving, follows)]
    return {
        name: Agreement(*(float(part / whole) if whole else np.nan for whole, part in count.reshape(2, 2)))
        for name, count in counts.items()
    }
