"""The source `bucket`: the soil moisture of a bucket model under the weather of another cube.

A process model with one layer of soil and snow on it, for networks to be trained on before they see observations
(`soilcast train --init`). Its parameters are the same everywhere and are not fitted to the cube, of whose soil moisture
it knows nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast import cube
from soilcast.cube.calendar import Days
from soilcast.cube.contract import SECONDS_PER_DAY, VARIABLES
from soilcast.errors import SoilcastError
from soilcast.sources.derived import top_of_atmosphere

Floats = npt.NDArray[np.float64]

CONTENT = "output of a bucket model"

SPIN_UP_DAYS = 60
"""For so long after the first day, and after a day without weather, the store is not known."""

_LAYER = "swvl1"
_LAND = ("e", "sro", "ssro", "ro", "sd", _LAYER)
_OF_LAND = (*_LAND, *cube.ERA5_LAND_LAYERS)

_FREEZING = 273.15  # K
_DEGREE_DAY = 0.003  # m K-1 d-1
_SATURATION, _FIELD_CAPACITY, _WILTING_POINT = 0.45, 0.32, 0.12  # m3 m-3, of a loam
_DRAINED = 0.5  # of what is above field capacity, each day
_FROM_THE_LAYER = 0.4  # share of the potential evaporation that roots and air take from the uppermost layer
_LATENT_HEAT = 2.45e6  # J kg-1
_WATER_DENSITY = 1000.0  # kg m-3


def bucket(paths: Sequence[Path] = ()) -> xr.Dataset:
    """Make a cube of the weather of another one and the soil moisture of a bucket model under it.

    Each day rain, and snow that melts (3 mm for every kelvin above freezing), fill layer 1; what is above saturation
    runs off the surface, half of what is above field capacity drains, and 0.4 of the potential evaporation of Oudin et
    al. (2005, doi:10.1016/j.jhydrol.2004.08.026) evaporates, times the share of its available water that the layer
    holds. ``e``, ``sro``, ``ssro``, ``ro``, ``sd`` and ``swvl1`` are those of the bucket, at the end of the day, and
    close the water balance.

    Parameters
    ----------
    paths
        One cube, with ``tp`` and ``t2m``. What it has of soil water, snow, evaporation and runoff is left out.

    Raises
    ------
    SoilcastError
        Not one cube, or one without rain or temperature.
    """
    if len(paths) != 1:
        raise SoilcastError(f"bucket: reads one cube, but {len(paths)} paths are given: give the cube of the weather")
    given = cube.open_cube(paths[0])
    for name in ("tp", "t2m"):
        if name not in given:
            raise SoilcastError(f"{paths[0]}: no {name}, which the bucket model needs: prepare a cube with it")
    days = given["time"].to_numpy()
    thickness = cube.thickness_name(_LAYER)
    depth = cube.read(given, thickness) if thickness in given else cube.ERA5_LAND_LAYERS[_LAYER]
    values = _simulate(
        cube.read(given, "tp"),
        cube.read(given, "t2m"),
        given["lat"].to_numpy().astype(np.float64),
        np.broadcast_to(np.float64(depth), given.sizes["cell"]),
        days,
    )
    left_out = {*_OF_LAND, *map(cube.thickness_name, cube.ERA5_LAND_LAYERS), "area"}
    kept = {str(name): given[name] for name in given.data_vars if name not in left_out and name in VARIABLES}
    ground = {thickness: np.full(given.sizes["cell"], depth, dtype=np.float32)}
    title, content = (given.attrs.get(name, "unknown") for name in ("title", "content"))
    return cube.assemble(
        {**kept, **ground, **values},
        cells={str(name): given[name].variable for name in (*given.coords, "area") if name != "time"},
        time=days,
        title=f"Bucket model under the weather of: {title}",
        source="bucket",
        content=f"{CONTENT}; its weather: {content}",
        license=given.attrs.get("license"),
        origins=dict.fromkeys((*ground, *values), CONTENT),
    )


def potential_evaporation(t2m: Floats, latitude: Floats, day: np.datetime64) -> Floats:
    """Potential evaporation of Oudin et al. (2005), from the temperature [K] alone, ``(cell,)`` [m d-1].

    Radiation above the air, divided by latent heat, times (T + 5) / 100 of the temperature in °C; 0 below -5 °C.
    """
    energy = top_of_atmosphere(latitude, day) * SECONDS_PER_DAY / (_LATENT_HEAT * _WATER_DENSITY)
    return np.asarray(energy * np.maximum(t2m - _FREEZING + 5.0, 0.0) / 100.0)


def _simulate(
    tp: npt.NDArray[np.float32], t2m: npt.NDArray[np.float32], latitude: Floats, depth: Floats, days: Days
) -> dict[str, npt.NDArray[np.float32]]:
    """Run the bucket through the days; every variable ``(cell, time)``, NaN where the store is not known."""
    made = {name: np.full(tp.shape, np.nan, dtype=np.float32) for name in _LAND}
    saturation, capacity, wilting = (share * depth for share in (_SATURATION, _FIELD_CAPACITY, _WILTING_POINT))
    stored, snow = capacity.copy(), np.zeros_like(depth)
    unknown = np.full(depth.size, SPIN_UP_DAYS)
    for number, day in enumerate(days):
        known = np.isfinite(tp[:, number]) & np.isfinite(t2m[:, number])
        unknown = np.where(known, np.maximum(unknown - 1, 0), SPIN_UP_DAYS)
        warmth = np.where(known, t2m[:, number], _FREEZING).astype(np.float64)
        fallen = np.where(known, np.maximum(tp[:, number], 0.0), 0.0).astype(np.float64)
        snow += np.where(warmth < _FREEZING, fallen, 0.0)
        melt = np.minimum(snow, _DEGREE_DAY * np.maximum(warmth - _FREEZING, 0.0))
        snow -= melt
        stored += melt + np.where(warmth < _FREEZING, 0.0, fallen)
        surface = np.maximum(stored - saturation, 0.0)
        stored -= surface
        drained = _DRAINED * np.maximum(stored - capacity, 0.0)
        stored -= drained
        wet = np.clip((stored - wilting) / (capacity - wilting), 0.0, 1.0)
        evaporated = np.minimum(
            _FROM_THE_LAYER * wet * potential_evaporation(warmth, latitude, day), np.maximum(stored - wilting, 0.0)
        )
        stored -= evaporated
        fluxes = (evaporated, surface, drained, surface + drained, snow, stored / depth)
        for name, value in zip(_LAND, fluxes, strict=True):
            made[name][:, number] = np.where(unknown == 0, value, np.nan)
    return made
