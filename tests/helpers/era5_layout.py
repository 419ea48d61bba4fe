"""What all hourly files of one product have in common: which stamps and columns, and how amounts are archived."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr

from soilcast.cube import spacing
from tests.helpers.era5_parameters import AMOUNTS, NAMES
from tests.helpers.era5_weather import HourlyWeather

Rule = Literal["since_midnight", "hourly"]
"""How amounts are archived: ERA5-Land adds them up since 00 UTC, ERA5 gives each hour's."""

Longitudes = Literal["auto", "0..360", "-180..180"]
"""``auto`` is what the Climate Data Store does: 0 .. 360 for the globe, the requested ones for an area."""

CENTRE = "European Centre for Medium-Range Weather Forecasts"


def archived(
    weather: HourlyWeather,
    names: Sequence[str] = NAMES,
    *,
    rule: Rule = "since_midnight",
    first_missing: bool = False,
    longitudes: Longitudes = "auto",
) -> xr.Dataset:
    """Give the fields of a product, ``(time, latitude, longitude)`` float32, without any attribute.

    Parameters
    ----------
    weather
        The hours.
    names
        Which parameters.
    rule
        How amounts are archived.
    first_missing
        Leave the amounts at the first stamp missing; otherwise they are those of the time before the file.
    longitudes
        Which longitudes the columns have; they ascend.
    """
    held = weather.since_midnight if rule == "since_midnight" else weather.amounts
    fields = {name: (held[name].copy() if name in AMOUNTS else weather.instants[name]) for name in names}
    if first_missing:
        for name in set(names) & set(AMOUNTS):
            fields[name][0] = np.nan
    return on_axes(weather, fields, weather.hour.astype("datetime64[ns]"), longitudes)


def on_axes(
    weather: HourlyWeather, fields: dict[str, np.ndarray], times: np.ndarray, longitudes: Longitudes
) -> xr.Dataset:
    """Name the axes of fields ``(time, lat, lon)`` and bring the columns into the order of the file."""
    lon = weather.lon
    globe = np.isclose(len(lon) * spacing(lon), 360.0)
    if longitudes == "0..360" or (longitudes == "auto" and globe):
        lon = lon % 360.0
    order = np.argsort(lon)
    dims = ("time", "latitude", "longitude")
    return xr.Dataset(
        {name: (dims, np.ascontiguousarray(values[:, :, order])) for name, values in fields.items()},
        coords={"time": times, "latitude": weather.lat, "longitude": lon[order]},
    )
