"""A small grid of random numbers and the mapping that reads it, for the tests of the source ``table``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
import yaml

DAYS = pd.date_range("2001-01-01", periods=400)
LAT = np.array([50.0, 49.0, 48.0])
LON = np.array([358.0, 359.0, 0.0, 1.0])
RECIPE = """
title: a test
content: random numbers
cells: {lat: lat, lon: lon}
variables:
  swvl1: {name: sm, thickness: {value: 70, unit: mm}}
  t2m: temp
  e: {name: evap, sign: -1}
  tp: {name: rain, add: snow, unit: mm d-1}
"""


def write_recipe(folder: Path, **changes: object) -> Path:
    """Write RECIPE with changes: a key, parts joined by two underscores, -> its value, None to remove it."""
    content = yaml.safe_load(RECIPE)
    for key, value in changes.items():
        *parents, last = key.split("__")
        section = content
        for parent in parents:
            section = section.setdefault(parent, {})
        if value is None:
            del section[last]
        else:
            section[last] = value
    path = folder / "mapping.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def gridded_data() -> xr.Dataset:
    """A regular grid with longitudes 0 .. 360; one corner is sea."""
    random = np.random.default_rng(1)
    shape = (len(DAYS), len(LAT), len(LON))
    moisture = random.uniform(10, 60, shape)
    moisture[:, 0, 0] = np.nan
    dims = ("time", "lat", "lon")
    return xr.Dataset(
        {
            "sm": (dims, moisture.astype("f4"), {"units": "%"}),
            "temp": (dims, random.uniform(-10, 30, shape).astype("f4"), {"units": "degC"}),
            "evap": (dims, random.uniform(-5, 0, shape).astype("f4"), {"unit": "mm d-1"}),
            "rain": (dims, random.uniform(0, 9, shape).astype("f4")),
            "snow": (dims, random.uniform(0, 2, shape).astype("f4")),
            "mask": (("lat", "lon"), np.arange(12).reshape(3, 4)),
        },
        coords={"time": DAYS, "lat": LAT, "lon": LON},
    )


def saved(data: xr.Dataset, path: Path) -> Path:
    data.to_netcdf(path, engine="h5netcdf")
    return path


def listed(data: xr.Dataset) -> xr.Dataset:
    """The grid as a list of places."""
    places = data.stack(place=("lat", "lon")).reset_index("place").assign_coords(place=np.arange(12) + 100)
    return places.isel(place=slice(1, None)).transpose("time", "place")


def as_csv(data: xr.Dataset) -> pd.DataFrame:
    return listed(data).drop_vars("mask").to_dataframe().reset_index()
