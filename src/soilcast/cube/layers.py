"""Which soil layer holds a depth, and how people state the depths that bound layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from soilcast.cube.contract import ERA5_LAND_LAYERS
from soilcast.errors import SoilcastError

ERA5_LAND_BOUNDS: tuple[float, ...] = tuple(
    round(float(bound), 4) for bound in np.cumsum([0.0, *ERA5_LAND_LAYERS.values()])
)
"""From the surface down, the depths that bound ERA5-Land's soil layers [m]."""

_SLACK = 1e-6
"""By which a depth may miss a bound, since cubes hold float32 [m]."""


def layer_bounds(layers: Sequence[float] | str) -> tuple[float, ...]:
    """Read the depths that bound layers [m]: numbers, or a text such as ``0,0.05,0.2``.

    Raises
    ------
    SoilcastError
        They are no ascending depths, or bound more layers than a cube has.
    """
    try:
        bounds = tuple(float(bound) for bound in (layers.split(",") if isinstance(layers, str) else layers))
    except (TypeError, ValueError):
        bounds = ()
    rising = len(bounds) > 1 and bounds[0] >= 0 and all(upper < lower for upper, lower in pairwise(bounds))
    if not rising or not np.isfinite(bounds).all():
        raise SoilcastError(f"--layers {layers}: write the depths that bound the layers in metres, such as 0,0.07,0.28")
    if len(bounds) - 1 > len(ERA5_LAND_LAYERS):
        raise SoilcastError(
            f"--layers: {len(bounds) - 1} layers, but a cube has {len(ERA5_LAND_LAYERS)} at most: give fewer"
        )
    return bounds


def layer_at(depth: float, bounds: Sequence[float]) -> int | None:
    """Which layer holds a depth: a bound between two belongs to the one beneath, the lowest bound to the last.

    Parameters
    ----------
    depth
        [m].
    bounds
        As `layer_bounds` gives them [m].

    Returns
    -------
    Its number from 0 on; None above or beneath all layers.
    """
    found = int(np.searchsorted(np.asarray(bounds), depth + _SLACK, side="right")) - 1
    if found == len(bounds) - 1 and depth <= bounds[-1] + _SLACK:
        found -= 1
    return found if 0 <= found < len(bounds) - 1 else None
