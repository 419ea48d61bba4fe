"""What ERA5's own files say of the ground: its height and its type of soil."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from soilcast.cube import Grid, conversion
from soilcast.errors import SoilcastError
from soilcast.sources.era5land.laying import Layout
from soilcast.sources.era5land.opening import opened
from soilcast.sources.era5land.parameters import GRAVITY
from soilcast.sources.era5land.recognising import Field, read_stamps
from soilcast.sources.era5land.record import columns_on, whole_grid
from soilcast.sources.regridding import majority


def constants(fields: Sequence[Field], layout: Layout) -> tuple[dict[str, Any], dict[str, str]]:
    """Take elevation from the geopotential of the surface and the type of soil, where they are there.

    Parameters
    ----------
    fields
        All that the files hold.
    layout
        The cells.

    Returns
    -------
    Variable of the cube -> values ``(cell,)``, and -> where they came from.
    """
    grid = whole_grid(fields)
    found = {field.parameter.name: field for field in fields if field.parameter.kind == "static"}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if (field := found.get("z")) is not None:
        if field.unit not in ("m**2 s**-2", "m2 s-2", "m^2 s^-2"):
            raise SoilcastError(f"{field.place}: geopotential in {field.unit or 'no unit'}: expected m**2 s**-2")
        height = conversion("elevation", "m", str(field.place))(_points(field, grid, layout) / GRAVITY)
        values["elevation"] = layout.laying.finish(height[np.newaxis].astype(np.float32))[0]
        origins["elevation"] = f"{field.place}: geopotential of the surface / {GRAVITY} m s-2"
    if (field := found.get("slt")) is not None:
        classes = _points(field, grid, layout)
        whole = np.full(len(grid.index), np.nan, dtype=np.float32)
        whole[layout.laying.points] = classes
        if len(layout.cells.index) != len(classes) or layout.cells.lat is not grid.lat:
            classes = majority(whole.reshape(len(grid.lat), len(grid.lon)), grid.lat, grid.lon, layout.cells)
        values["soil_type"] = classes.astype(np.float32)
        origins["soil_type"] = f"{field.place}: soil type class"
    return values, origins


def _points(field: Field, grid: Grid, layout: Layout) -> Any:
    with opened(field.place) as datasets:
        values = read_stamps(field, datasets[field.dataset], slice(0, 1))[0]
    return values[columns_on(field, grid, "the other files")][layout.laying.points]
