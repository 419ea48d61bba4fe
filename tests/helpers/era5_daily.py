"""Files of the Climate Data Store's daily statistics, from hours, and those of a whole planet at full speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from tests.helpers.era5_layout import Longitudes, on_axes
from tests.helpers.era5_netcdf import present_file, save_present
from tests.helpers.era5_parameters import AMOUNTS, NAMES, PARAMETERS
from tests.helpers.era5_weather import HourlyWeather

Statistic = Literal["mean", "sum", "max", "min"]


def write_daily_netcdf(
    weather: HourlyWeather,
    folder: Path,
    names: Sequence[str] = NAMES,
    *,
    statistics: Mapping[str, Statistic] | None = None,
    longitudes: Longitudes = "auto",
    stream: str = "0",
) -> list[Path]:
    """Write the daily statistics of UTC days, one file a variable, as they lie in the archive that the store delivers.

    ERA5-Land's have instants alone; sums of amounts are there for ERA5 (``stream="stream-oper"``), whose hours are not
    added up since midnight. Earth Data Hub has them of ERA5-Land too.

    Parameters
    ----------
    weather
        The hours; the days are ``weather.days``.
    folder
        Where the files go.
    names
        Which parameters.
    statistics
        Name -> statistic, where it is not the mean of the stamps 00 .. 23 of an instant or the sum of the amounts of
        the stamps 01 .. 24. The mean of an amount is the mean of hourly amounts: a 24th of the day's.
    longitudes
        As in `archived`.
    stream
        Part of the file names.
    """
    reduce = {"mean": np.mean, "sum": np.sum, "max": np.max, "min": np.min}
    days = weather.days
    paths = []
    for name in names:
        how = (statistics or {}).get(name, "sum" if name in AMOUNTS else "mean")
        held, first = (weather.amounts, 1) if name in AMOUNTS else (weather.instants, 0)
        first += int(np.flatnonzero(weather.hour == days[0])[0])
        hours = held[name][first : first + 24 * len(days)].astype(np.float64)
        values = reduce[how](hours.reshape(len(days), 24, *hours.shape[1:]), axis=1).astype(np.float32)
        fields = on_axes(weather, {name: values}, days.astype("datetime64[ns]"), longitudes)
        tag = f"{PARAMETERS[name].land_name}_{stream}"
        path = folder / f"{tag}_daily-{how}.nc"
        file = present_file(
            {name: fields[name].to_numpy()},
            fields["latitude"].to_numpy(),
            fields["longitude"].to_numpy(),
            days_since(days),
        )
        file[name].attrs["coordinates"] = "number"
        file.attrs["history"] = history(tag, how)
        save_present(file, path)
        paths.append(path)
    return paths


def days_since(days: npt.NDArray[np.datetime64]) -> tuple[str, npt.NDArray[np.int64], dict[str, str]]:
    """The time axis of daily statistics: days since the first."""
    units = {"units": f"days since {days[0]} 00:00:00", "calendar": "proleptic_gregorian"}
    return "valid_time", (days - days[0]).astype(np.int64), units


def history(tag: str, how: str) -> str:
    """The history of daily statistics: cfgrib's line, and the one that says which statistic it is."""
    return (
        "2025-02-06T12:12 GRIB to CDM+CF via cfgrib-0.9.15.0/ecCodes-2.39.0 with "
        '{"source": "data.grib", "filter_by_keys": {}, "encode_cf": ["parameter", "time", "geography", "vertical"]}\n'
        f"earthkit.transforms.aggregate.temporal.daily_reduce({tag}, how={how}, "
        "**{'time_shift': {'hours': 0}, 'remove_partial_periods': True})"
    )
