"""What a daily cube must hold that is made from hours, worked out value by value: the reference for readers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soilcast.cube import VARIABLES
from soilcast.cube.contract import SECONDS_PER_DAY
from soilcast.sources.derived import specific_humidity
from tests.helpers.era5_parameters import AMOUNTS, INSTANTS, WATER
from tests.helpers.era5_weather import HourlyWeather

Floats = npt.NDArray[np.float64]

STATES: tuple[str, ...] = ("sd", "swvl1", "swvl2", "swvl3", "swvl4")
UPWARD: tuple[str, ...] = ("e", "pev")
"""Positive upward in a cube, and so with the other sign than in files."""


@dataclass(frozen=True)
class DailyWeather:
    """Daily values in the cube's units and signs, float64, NaN at sea and where hours are missing.

    Parameters
    ----------
    day
        ``(day,)`` datetime64[D].
    lat, lon
        As of the hours.
    values
        Name of the cube's contract -> ``(day, lat, lon)``: fluxes of water [m d-1], radiation [W m-2]; of what is valid
        at a stamp the mean over the stamps 00 .. 23 (``mx2t`` and ``mn2t``: highest and lowest of them); ``q`` by the
        IFS formula from the daily means of dewpoint and pressure.
    ends
        Snow and soil water at 00 of the next day, ``(day, lat, lon)``.
    """

    day: npt.NDArray[np.datetime64]
    lat: Floats
    lon: Floats
    values: Mapping[str, Floats]
    ends: Mapping[str, Floats]


def daily_truth(weather: HourlyWeather, *, solar: bool = False) -> DailyWeather:
    """Give the value of each day of the hours.

    Parameters
    ----------
    weather
        The hours.
    solar
        Days of local solar time: each column of the grid is ahead of UTC by ``np.round(lon / 15)`` whole hours. Days
        that the hours don't cover are NaN there. Otherwise days are of UTC.

    Returns
    -------
    The days of ``weather.days``.
    """
    offsets = np.round(weather.lon / 15.0).astype(int) if solar else np.zeros(len(weather.lon), dtype=int)
    shape = (len(weather.days), len(weather.lat), len(weather.lon))
    names = [name for name in (*INSTANTS, *AMOUNTS) if name in VARIABLES]
    values = {name: np.full(shape, np.nan) for name in (*names, "mx2t", "mn2t", "q")}
    ends = {name: np.full(shape, np.nan) for name in STATES}
    for column, offset in enumerate(offsets):
        clock = weather.hour + np.timedelta64(int(offset), "h")
        for position, day in enumerate(weather.days):
            midnight, next_midnight = day.astype("datetime64[h]"), (day + 1).astype("datetime64[h]")
            at = (clock >= midnight) & (clock < next_midnight)
            ending = (clock > midnight) & (clock <= next_midnight)
            here = position, slice(None), column
            if at.sum() == 24:
                for name in INSTANTS:
                    values[name][here] = weather.instants[name][at, :, column].mean(axis=0, dtype=np.float64)
                values["mx2t"][here] = weather.instants["t2m"][at, :, column].max(axis=0)
                values["mn2t"][here] = weather.instants["t2m"][at, :, column].min(axis=0)
            if ending.sum() == 24:
                for name in names:
                    if name in AMOUNTS:
                        total = weather.amounts[name][ending, :, column].sum(axis=0, dtype=np.float64)
                        values[name][here] = _in_cube(name, total)
            for name in STATES if (clock == next_midnight).any() else ():
                ends[name][here] = weather.instants[name][clock == next_midnight, :, column][0]
    values["q"] = specific_humidity(values["d2m"], values["sp"])
    return DailyWeather(weather.days, weather.lat, weather.lon, values, ends)


def _in_cube(name: str, total: Floats) -> Floats:
    if name in WATER:
        return -total if name in UPWARD else total
    return total / SECONDS_PER_DAY
