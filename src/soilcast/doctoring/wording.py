"""Periods, steps and grids in words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_STEPS: dict[float, str] = {1: "hourly", 3: "3-hourly", 6: "6-hourly", 12: "12-hourly", 24: "daily"}


def step_name(hours: float) -> str:
    """Name the time between two stamps [h]."""
    return _STEPS.get(round(hours, 6), f"every {hours:g} hours")


def period_name(times: npt.NDArray[np.datetime64]) -> str:
    """First and last time and the step; times in any order ``(time,)``."""
    unique = np.unique(times)
    if not len(unique):
        return ""
    first, last = (np.datetime_as_string(one, "m").replace("T", " ") for one in (unique[0], unique[-1]))
    if len(unique) == 1:
        return f"{first} UTC alone"
    step = float(np.diff(unique).min() / np.timedelta64(1, "s")) / 3600
    return f"{first} .. {last} UTC, {step_name(step)}, {len(unique):,} times"


def grid_name(lat: npt.NDArray[np.float64], lon: npt.NDArray[np.float64]) -> str:
    """Size, spacing and bounds of a regular grid, with the order of its axes."""
    order = "north first" if len(lat) > 1 and lat[0] > lat[-1] else "south first"
    spacing = f"{np.abs(np.diff(lat)).min():g} degrees, " if len(lat) > 1 else ""
    bounds = f"{_place(lat.min(), 'N', 'S')} .. {_place(lat.max(), 'N', 'S')}, {_place(lon.min(), 'E', 'W')} .. "
    return f"{len(lat)} x {len(lon)} points, {spacing}{bounds}{_place(lon.max(), 'E', 'W')}, {order}"


def _place(value: float, positive: str, negative: str) -> str:
    return f"{abs(value):g} {positive if value >= 0 else negative}"
