"""What a cube says beside the forecast of an issue day: the soil moisture of the weeks before, and since, if known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import open_cube, read
from soilcast.cube.matching import find_places
from soilcast.errors import SoilcastError
from soilcast.reporting.forecasts import fan_cells, layers

OBSERVED_IN = "observed_in"
"""Attribute of a forecast with observations: the title of the cube that they are of."""

_PAST = 28
"""So many days up to the issue day are shown."""

_DAY = np.timedelta64(1, "D")


def with_observations(forecast: xr.Dataset, path: Path) -> xr.Dataset:
    """Add to a forecast what was observed in the cells that are drawn as fan charts.

    Parameters
    ----------
    forecast
        What `load_forecast` gives.
    path
        A cube with the cells of the forecast, at any place in it, and days up to the issue day.

    Returns
    -------
    The forecast with ``NAME_observed(fan, day)`` [m3 m-3] of its layers, NaN where the cube has no value, and the
    positions along cell of these cells, ``fan_cell(fan)``.

    Raises
    ------
    SoilcastError
        It is no cube, or has none of the cells, or of the days.
    """
    with open_cube(path) as cube:
        return beside_record(forecast, cube, path)


def beside_record(forecast: xr.Dataset, cube: xr.Dataset, path: Path) -> xr.Dataset:
    """Do what `with_observations` does with an opened cube, or one in memory; ``path`` is for messages."""
    issued, last = forecast["time"].to_numpy(), forecast["valid_time"].to_numpy()[-1]
    chosen = fan_cells(forecast)
    at = forecast.isel(cell=chosen)
    names = [name for name in layers(forecast) if name in cube]
    found = find_places(*(one[name].to_numpy() for one in (cube, at) for name in ("lat", "lon")))
    if (found < 0).all():
        raise SoilcastError(
            f"{path}: has no cell where the forecast has one: give the cube that the forecast was made from"
        )
    shown = cube.sel(time=slice(issued - (_PAST - 1) * _DAY, last))
    if not shown.sizes["time"]:
        days = " .. ".join(np.datetime_as_string([issued - (_PAST - 1) * _DAY, last], "D"))
        raise SoilcastError(f"{path}: has no day of {days}: give the cube that the forecast was made from")
    observed = {f"{name}_observed": (("fan", "day"), _of_cells(shown, name, found)) for name in names}
    title = str(cube.attrs.get("title", ""))
    return forecast.assign(observed | {"fan_cell": ("fan", chosen)}).assign_coords(
        day=shown["time"].to_numpy()
    ).assign_attrs({OBSERVED_IN: title})  # fmt: skip


def _of_cells(shown: xr.Dataset, name: str, found: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Values of cells ``(cell, day)``; NaN for those that are not found."""
    inside, back = np.unique(found[found >= 0], return_inverse=True)
    values = np.full((len(found), shown.sizes["time"]), np.nan, dtype=np.float32)
    values[found >= 0] = read(shown, name, inside)[back]
    return values
