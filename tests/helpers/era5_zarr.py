"""Zarr stores of hours in the layouts of ARCO-ERA5 and of the Earth Data Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from tests.helpers.era5_layout import Longitudes, Rule, archived
from tests.helpers.era5_parameters import NAMES, PARAMETERS
from tests.helpers.era5_weather import HourlyWeather


def write_arco_zarr(
    weather: HourlyWeather,
    path: Path,
    names: Sequence[str] = NAMES,
    *,
    layout: Literal["arco", "earthdatahub"] = "arco",
    rule: Rule = "hourly",
    first_missing: bool = False,
    longitudes: Longitudes = "0..360",
    zarr_format: Literal[2, 3] = 2,
    consolidated: bool = True,
    hours_in_chunk: int = 24,
) -> list[Path]:
    """Write one store.

    Parameters
    ----------
    layout
        ``"arco"``: ERA5's long names, axes ``time``, ``latitude``, ``longitude``. ``"earthdatahub"``: short names, the
        axis ``valid_time``, and the attributes that cfgrib gives.
    rule
        How amounts are archived: each hour's, as in ARCO-ERA5, or since midnight, as the Earth Data Hub has ERA5-Land.
    zarr_format, consolidated
        Version of Zarr, and whether all metadata lie in one document too.
    hours_in_chunk
        Of each chunk, which is the whole grid.
    weather, path, names, first_missing, longitudes
        As in `archived`.
    """
    store = archived(weather, names, rule=rule, first_missing=first_missing, longitudes=longitudes)
    since = {"units": "hours since 1900-01-01 00:00:00", "calendar": "proleptic_gregorian", "dtype": np.int64}
    encoding = {name: {"chunks": (hours_in_chunk, *store[name].shape[1:])} for name in names}
    for name in names:
        one = PARAMETERS[name]
        store[name].attrs = {"long_name": one.former_long_name, "short_name": name, "units": one.units}
        if layout == "arco" and one.former_standard_name:
            store[name].attrs["standard_name"] = one.former_standard_name
        if layout == "earthdatahub":
            step_type = "accum" if one.kind == "amount" else "instant"
            store[name].attrs = {
                "GRIB_paramId": one.number, "GRIB_stepType": step_type, "GRIB_units": one.units,
                "GRIB_shortName": one.short_name, "long_name": one.long_name, "units": one.units,
                "standard_name": one.cf_name,
            }  # fmt: skip
    store["latitude"].attrs = {"long_name": "latitude", "units": "degrees_north"}
    store["longitude"].attrs = {"long_name": "longitude", "units": "degrees_east"}
    if layout == "arco":
        new = {name: PARAMETERS[name].era5_name for name in names}
    else:
        new = {"time": "valid_time"}
        store["time"].attrs = {"long_name": "time", "standard_name": "time"}
    encoding = {new.get(name, name): how for name, how in encoding.items()} | {new.get("time", "time"): since}
    store.rename(new).to_zarr(path, zarr_format=zarr_format, consolidated=consolidated, encoding=encoding)
    return [path]
