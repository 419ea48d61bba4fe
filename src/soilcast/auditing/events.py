"""Rain between dry days: where it fell, and what the soil of the cube made of it.

The cube's own response to rain needs no network. Soil moisture after a day of rain in a dry spell is compared with what
it would have been without it, which is learnt from dry days of the same cells: the change over the same number of days,
by the soil moisture before, temperature and radiation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.auditing.estimates import Array, Estimate, Indices, nothing, ratio

Bools = npt.NDArray[np.bool_]

DRY, LEAST_RAIN, MOST_RAIN = 1e-3, 5e-3, 20e-3
"""A day of less rain is dry; rain between the other two is an event [m d-1]."""

BLOCK = 15
"""Days whose weather counts as one when errors are estimated [d]."""

_THAWED = 275.15  # [K]: warmer days have rain, not snow
_BARE = 1e-3  # [m]: less snow is none
_LEAST_EVENTS, _LEAST_CONTROLS = 20, 100
_WEATHER = ("t2m", "ssrd", "strd")
"""What dry days are told apart by, beside soil moisture, where the cube has it."""


@dataclass(frozen=True)
class Spells:
    """Days of some cells, and what can be said of the rain on and around them.

    Parameters
    ----------
    rain
        ``(cell, time)`` [m d-1].
    is_open
        Whether rain of the day reaches soil that is neither frozen nor under snow, after a dry day ``(cell, time)``.
    dry_after
        Number of dry days that follow ``(cell, time)``.
    """

    rain: Array
    is_open: Bools
    dry_after: Indices

    @property
    def events(self) -> Bools:
        """Days with rain to be seen in the soil ``(cell, time)``."""
        return np.asarray(self.is_open & (self.rain >= LEAST_RAIN) & (self.rain <= MOST_RAIN))

    @property
    def dry(self) -> Bools:
        """Days without, otherwise alike ``(cell, time)``."""
        return np.asarray(self.is_open & (self.rain < DRY))


def spells(cube: xr.Dataset, days: slice = slice(None)) -> Spells:
    """Find rain between dry days, on the days of the cube at some positions."""
    values = {name: cube[name].to_numpy()[:, days].astype(np.float64) for name in ("tp", "t2m", "sd") if name in cube}
    rain = values["tp"]
    dry = rain < DRY
    is_open = np.zeros_like(dry)
    is_open[:, 1:] = dry[:, :-1]
    if "t2m" in values:
        is_open &= values["t2m"] > _THAWED
    if "sd" in values:
        is_open[:, 1:] &= values["sd"][:, :-1] < _BARE
    after = np.zeros(rain.shape, dtype=np.int64)
    for day in range(rain.shape[1] - 2, -1, -1):
        after[:, day] = np.where(dry[:, day + 1], after[:, day + 1] + 1, 0)
    return Spells(rain, is_open, after)


def own_response(cube: xr.Dataset, layers: Sequence[str], cells: Indices, since: Indices) -> Estimate:
    """Estimate the response of the cube's soil to rain, over all of its days.

    Parameters
    ----------
    cube
        Some cells in memory.
    layers
        Soil layers of the cube.
    cells
        Which of the cells ``(cell,)``.
    since
        Days after the rain ``(day,)``.

    Returns
    -------
    ``(day, layer)`` [m3 m-3 m-1]; NaN with too few days.
    """
    found = spells(cube)
    soil = np.stack([cube[name].to_numpy()[cells].astype(np.float64) for name in layers], -1)
    weather = [cube[name].to_numpy()[cells].astype(np.float64) for name in _WEATHER if name in cube]
    one_day = [_one_day(soil, weather, found, cells, days) for days in since]
    return Estimate(np.stack([one.value for one in one_day]), np.stack([one.replicates for one in one_day], axis=1))


def _one_day(soil: Array, weather: Sequence[Array], found: Spells, cells: Indices, days: int) -> Estimate:
    """Effect of rain after so many days ``(layer,)``."""
    stop = soil.shape[1] - days
    at = np.arange(1, stop)
    before, change = soil[:, at - 1], soil[:, at + days] - soil[:, at - 1]
    averages = [sum(one[:, at + ahead] for ahead in range(days + 1)) / (days + 1) for one in weather]
    known = np.concatenate([before, before**2, *(np.asarray(one)[..., np.newaxis] for one in averages)], axis=-1)
    is_whole = (
        np.isfinite(known).all(axis=-1) & np.isfinite(change).all(axis=-1) & (found.dry_after[cells][:, at] >= days)
    )
    event, dry = (mask[cells][:, at] & is_whole for mask in (found.events, found.dry))
    cell, day = np.nonzero(event)
    if len(cell) < _LEAST_EVENTS or dry.sum() < _LEAST_CONTROLS:
        return nothing(soil.shape[2])
    expected, is_known = _without_rain(known, change, dry, event)
    effect = change[event] - expected
    rain = found.rain[cells][:, at][event]
    blocks = blocks_of(np.arange(soil.shape[1]))
    return ratio(effect[is_known], rain[is_known], blocks[at[day]][is_known], int(blocks[-1]) + 1)


def _without_rain(known: Array, change: Array, dry: Bools, event: Bools) -> tuple[Array, Bools]:
    """Change that is expected on days of rain had there been none ``(event, layer)``, and where dry days tell it.

    A regression on dry days, with a mean of its own for each cell.
    """
    count = dry.sum(axis=1)
    means = [
        np.where(dry[..., np.newaxis], one, 0.0).sum(axis=1) / np.maximum(count, 1)[:, np.newaxis]
        for one in (known, change)
    ]
    of_dry, of_event = np.nonzero(dry)[0], np.nonzero(event)[0]
    inputs, outputs = known[dry] - means[0][of_dry], change[dry] - means[1][of_dry]
    scale = np.maximum(inputs.std(axis=0), 1e-12)
    weights, *_ = np.linalg.lstsq(inputs / scale, outputs, rcond=1e-8)
    expected = means[1][of_event] + (known[event] - means[0][of_event]) / scale @ weights
    return expected, np.asarray(count[of_event] >= 2 * known.shape[-1])


def blocks_of(days: Indices) -> Indices:
    """Number of the block of each day."""
    return days // BLOCK
