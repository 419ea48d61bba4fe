"""Write a LandBench 1.0 tree of synthetic fields with the real libraries, one file at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

Field = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""From days ``(time, 1, 1)``, latitudes ``(lat, 1)`` and longitudes 0..360 ``(lon,)`` to ``(time, lat, lon)``."""


@dataclass(frozen=True)
class Written:
    """How a variable is written: folder, file, name, unit (None: no attribute), typical value, spread and bounds."""

    folder: str
    file: str
    name: str
    unit: str | None
    middle: float
    spread: float
    low: float = -np.inf
    high: float = np.inf


# fmt: off
DYNAMIC: dict[str, Written] = {
    "t2m":   Written("atmosphere", "2m_temperature", "t2m", "K", 285.0, 15.0),
    "u10":   Written("atmosphere", "10m_u_component_of_wind", "u10", "m s**-1", 0.5, 3.0),
    "v10":   Written("atmosphere", "10m_v_component_of_wind", "v10", "m s**-1", 0.0, 3.0),
    "tp":    Written("atmosphere", "precipitation", "tp", "m", 1e-4, 1e-4, 0.0),
    "sp":    Written("atmosphere", "surface_pressure", "sp", "Pa", 95000.0, 2000.0),
    "q":     Written("atmosphere", "specific_humidity", "Q", "kg kg**-1", 0.008, 0.003, 1e-5),
    "ssrd":  Written("land_surface", "surface_solar_radiation_downwards_w_m2", "ssrd", "W m**-2", 180.0, 60.0, 0.0),
    "strd":  Written("land_surface", "surface_theraml_radiation_downwards_w_m2", "strd", "W m**-2", 320.0, 40.0, 60.0),
    "e":     Written("land_surface", "total_evaporation", "e", "m of water equivalent", -0.002, 0.001),
    "ro":    Written("land_surface", "total_runoff", "ro", "m", 5e-4, 5e-4, 0.0),
    "sd":    Written("land_surface", "snow_depth_water_equivalent", "sd", "m of water equivalent", 0.02, 0.02, 0.0),
    "swvl1": Written("land_surface", "volumetric_soil_water_layer_1", "swvl1", "m**3 m**-3", 0.3, 0.05, 0.0, 0.7),
    "swvl2": Written("land_surface", "volumetric_soil_water_layer_2", "swvl2", "m**3 m**-3", 0.3, 0.04, 0.0, 0.7),
    "swvl3": Written("land_surface", "volumetric_soil_water_layer_3", "swvl3", "m**3 m**-3", 0.3, 0.03, 0.0, 0.7),
    "swvl4": Written("land_surface", "volumetric_soil_water_layer_4", "swvl4", "m**3 m**-3", 0.3, 0.02, 0.0, 0.7),
}
CONSTANTS: dict[str, Written] = {
    "soil_water_capacity": Written("constants", "soil_water_capacity", "SC", None, 180.0, 60.0, 1.0),
    "landcover": Written("constants", "landtype", "landtype", None, 9.0, 4.0, 1.0, 17.0),
    "clay": Written("constants", "clay_0-5cm_mean", "Band1", None, 250.0, 20.0, 1.0),
    "sand": Written("constants", "sand_0-5cm_mean", "Band1", None, 400.0, 20.0, 1.0),
    "silt": Written("constants", "silt_0-5cm_mean", "Band1", None, 350.0, 20.0, 1.0),
    "elevation": Written("constants", "dem", "dem", None, 500.0, 200.0),
}
# fmt: on


def write_landbench_tree(
    root: Path,
    *,
    resolution: str | float,
    lats: Sequence[float] | np.ndarray,
    lons: Sequence[float] | np.ndarray,
    years: Sequence[int],
    variables: Sequence[str] = tuple(DYNAMIC),
    constants: Sequence[str] = tuple(CONSTANTS),
    days: int | None = None,
    land: np.ndarray | None = None,
    fields: Mapping[str, Field] | None = None,
    units: Mapping[str, str | None] | None = None,
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
    encoding: Mapping[str, Any] | None = None,
    constants_folder: Path | None = None,
    flip_constants: bool = False,
    engine: str = "h5netcdf",
    seed: int = 0,
) -> Path:
    """Write a tree of synthetic values (a seasonal wave and noise), one file at a time.

    Parameters
    ----------
    root
        The folder to write in.
    resolution
        Name of the folder of the resolution: ``"4"``, ``"4.0"``, ``0.5``.
    lats, lons
        Axes of the dynamic files [degrees], longitudes in 0..360; the constants get the same points in -180..180.
    years
        Years to write.
    variables, constants
        Contract names to write.
    days
        Days of each year, from 1 January; the whole year if not given.
    land
        True where there is land ``(lat, lon)``; everywhere if not given. Elsewhere values are NaN.
    fields
        Contract name -> values to write instead, in the file's unit.
    units
        Contract name -> unit attribute to write instead; None for no attribute.
    attributes
        Contract name -> further attributes of the variable.
    encoding
        Encoding of every dynamic variable, such as ``dict(dtype="int16", scale_factor=1e-4, _FillValue=-32767)``.
    constants_folder
        Where the constants go, if not beside the years.
    flip_constants
        Write the constants with the latitudes the other way round.
    engine
        ``h5netcdf`` (NetCDF-4) or ``scipy`` (NetCDF-3).
    seed
        Of the noise.

    Returns
    -------
    The folder of the resolution.
    """
    folder = Path(root) / str(resolution)
    lat, lon = np.asarray(lats, dtype=np.float64), np.asarray(lons, dtype=np.float64)
    mask = np.ones((len(lat), len(lon)), dtype=bool) if land is None else land
    random = np.random.default_rng(seed)

    def row_of(name: str, table: Mapping[str, Written]) -> Written:
        return replace(table[name], unit=units[name]) if units and name in units else table[name]

    def values_of(name: str, row: Written, day: np.ndarray) -> np.ndarray:
        if fields and name in fields:
            values = np.broadcast_to(fields[name](day, lat[:, None], lon), (len(day), *mask.shape))
        else:
            wave = np.sin(2 * np.pi * day / 365.0 + lon[None, None] / 60.0) * np.cos(np.radians(lat))[:, None]
            noise = random.standard_normal((len(day), *mask.shape), dtype=np.float32)
            values = np.clip(row.middle + row.spread * (wave + 0.3 * noise), row.low, row.high)
        values = np.round(values) if name == "landcover" else values
        return np.where(mask, values, np.nan).astype(np.float32)

    def described(name: str, row: Written) -> dict[str, Any]:
        unit = {} if row.unit is None else {"units": row.unit}
        return unit | dict((attributes or {}).get(name, {}))

    for year in years:
        time = pd.date_range(f"{year}-01-01", f"{year}-12-31")[:days]
        day = np.arange(len(time), dtype=np.float64)[:, None, None]
        for name in variables:
            row = row_of(name, DYNAMIC)
            file = folder / row.folder / str(year) / f"{row.file}.nc"
            data = (("time", "latitude", "longitude"), values_of(name, row, day), described(name, row))
            coordinates = {"time": time, "latitude": lat.astype(np.float32), "longitude": lon.astype(np.float32)}
            _write(xr.Dataset({row.name: data}, coordinates), file, engine, {row.name: dict(encoding or {})})

    shifted = np.where(lon >= 180, lon - 360, lon)
    east = np.argsort(shifted)
    rows = np.arange(len(lat))[::-1] if flip_constants else np.arange(len(lat))
    for name in constants:
        row = row_of(name, CONSTANTS)
        file = (constants_folder or folder / "constants") / f"{row.file}.nc"
        values = values_of(name, row, np.zeros((1, 1, 1)))[0][rows][:, east]
        dataset = xr.Dataset(
            {row.name: (("lat", "lon"), values, described(name, row))}, {"lat": lat[rows], "lon": shifted[east]}
        )
        _write(dataset, file, engine, {})
    return folder


def _write(dataset: xr.Dataset, file: Path, engine: str, encoding: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    dataset.to_netcdf(file, engine=engine, encoding=encoding)  # type: ignore[call-overload]
