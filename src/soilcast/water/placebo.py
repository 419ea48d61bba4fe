"""Placebos of a water balance: signs dW_t without any water data, to tell what the balance itself adds.

After Eq. 13 every sign that is kept is that of the observed change, whatever W says: also of a coin toss, of which it
keeps half. Only what a balance adds to a placebo of as many signs can be credited to the water.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.water.balance import Signs

Floats = npt.NDArray[np.float64]

_PER_DEGREE = 1e4
_FIRST_DAY = np.datetime64("0000-01-01", "D")


def draw_uniform(cube: xr.Dataset) -> Floats:
    """Draw a number of [0, 1) for each cell and day, from its latitude, longitude and date alone.

    The same cell and day have the same number in whatever block, period or order of cells they are read.

    Parameters
    ----------
    cube
        An opened cube, or some of its cells and days.

    Returns
    -------
    ``(cell, time)`` float64.
    """
    days = (cube["time"].to_numpy().astype("datetime64[D]") - _FIRST_DAY).astype(np.int64)
    places = np.stack([cube["lat"].to_numpy() + 90.0, cube["lon"].to_numpy() % 360.0], axis=1)
    seeds = np.rint(np.nan_to_num(places) * _PER_DEGREE).astype(np.int64)
    uniform = np.empty((len(seeds), len(days)))
    for cell, seed in enumerate(seeds):
        bits = np.random.PCG64(seed)
        bits.advance(int(days[0]))
        uniform[cell] = np.random.Generator(bits).random(len(days))
    return uniform


def toss_coin(change: Floats, uniform: Floats, share: float) -> Signs:
    """Give +1 or -1 at random, on all days: see `PLACEBOS`."""
    del change, share
    return np.where(uniform < 0.5, 1, -1).astype(np.int8)


def sign_of_observed(change: Floats, uniform: Floats, share: float) -> Signs:
    """Give the sign of the observed change on a random share of the days, at random where it is zero: `PLACEBOS`."""
    either = np.where(uniform < share / 2, 1.0, -1.0)
    signs = np.where(change == 0, either, np.sign(change))
    return np.where((uniform < share) & np.isfinite(change), signs, 0).astype(np.int8)


PLACEBOS: Mapping[str, Callable[[Floats, Floats, float], Signs]] = {
    "coin_toss": toss_coin,
    "observed": sign_of_observed,
}
"""``water.placebo`` -> dW_t before Eq. 13 ``(cell, time)``, from SM_t - SM_{t-1} [m3 m-3] and uniform numbers
``(cell, time)``, and the share of the cell-days that are to have a sign."""
