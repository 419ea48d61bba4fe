"""The source `planet`: a built-in world of real geography and climate under synthetic weather.

Real, packaged at half a degree: land, elevation, land cover, Koeppen-Geiger zone, monthly temperature and rain.
Synthetic: the weather of every day, the soil (texture and water capacity) and the land surface (snow, soil water,
evaporation, runoff).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from soilcast import cube
from soilcast.cube.calendar import Days
from soilcast.errors import SoilcastError
from soilcast.schema import nearest
from soilcast.sources.planet.geography import Geography, geography
from soilcast.sources.planet.land import THICKNESS, LandSurface
from soilcast.sources.planet.soil import Soil, soil
from soilcast.sources.planet.weather import weather

CONTENT = "synthetic weather and land surface on real geography and climate"
SPIN_UP_YEARS = 1

_WEATHER = cube.PAPER_DYNAMIC
_LAND = ("e", "sro", "ssro", "ro", "sd", *cube.ERA5_LAND_LAYERS)
_BUFFERED_DAYS = 32
_STATES = {"end": "", "mean": ", states as daily means"}
"""What ``states`` can be -> how the title of a cube says so."""


def planet(
    paths: Sequence[Path] = (),
    *,
    resolution: float = 4.0,
    years: str = "2018:2020",
    seed: int = 0,
    states: str = "end",
) -> xr.Dataset:
    """Make the cube of a built-in world, offline: real geography and climate, synthetic weather and land surface.

    All of the paper's inputs are there, and ``e``, ``sro``, ``ssro``, ``ro``, ``sd``, the four soil layers and
    ``climate_zone``. With the states at the end of the day the water balance closes in every cell.

    Parameters
    ----------
    paths
        None: this source reads no files.
    resolution
        Side of a cell [degrees]: a multiple of 0.5 from 0.5 to 8 that divides 360.
    years
        Whole years, ``2019`` or ``2018:2020``. The land surface starts a year earlier, so that its stores have settled.
    seed
        Of the weather, 0 or more; geography, climate and soil stay the same.
    states
        Soil water and snow at the ``end`` of the day, or as its ``mean``, which is half of what there is at the end of
        the day before and at its own: they move in a straight line between the two.

    Raises
    ------
    SoilcastError
        A path, a resolution that there is none of, a seed below 0, years that are no period or not whole, states of
        another kind.
    """
    if paths:
        raise SoilcastError(f"planet: reads no files, but {paths[0]} is given: remove the path")
    if seed < 0:
        raise SoilcastError(f"planet: seed {seed} is negative: give 0 or more")
    if states not in _STATES:
        raise SoilcastError(f"--states {states}: {nearest(states, _STATES)}")
    days = _whole_years(years)
    land = geography(resolution)
    ground = soil(land)
    static = _static(land, ground)
    dynamic = _simulate(land, ground, days, seed, states)
    real = {name: "packaged real geography" for name in ("landcover", "elevation", "climate_zone")}
    return cube.assemble(
        {**dynamic, **static},
        cells=cube.cells_of_grid(land.grid),
        time=days,
        title=f"Built-in planet, {resolution:g} degrees, {years}, seed {seed}{_STATES[states]}: {CONTENT}",
        source="planet",
        content=CONTENT,
        license="Apache-2.0; geography and climate by the licences in NOTICE",
        origins={name: real.get(name, "synthetic") for name in (*dynamic, *static)},
    )


def _whole_years(years: str) -> Days:
    first, last = (pd.Timestamp(str(day)) for day in cube.days_of(years))
    if not (first.is_year_start and last.is_year_end):
        raise SoilcastError(f"planet: period {years!r} is not whole years: write 2019 or 2018:2020")
    days: Days = pd.date_range(first, last, unit="ns").to_numpy()
    return days


def _static(land: Geography, ground: Soil) -> dict[str, npt.NDArray[np.float32] | xr.Variable]:
    values = {
        "landcover": land.landcover,
        "soil_water_capacity": ground.water_capacity,
        "elevation": land.elevation,
        "clay": ground.clay,
        "sand": ground.sand,
        "silt": ground.silt,
        "climate_zone": land.climate_zone,
    }
    single = {name: value.astype(np.float32) for name, value in values.items()}
    return {**single, **cube.era5_land_thickness(land.grid.index.size)}


def _simulate(land: Geography, ground: Soil, days: Days, seed: int, states: str) -> dict[str, npt.NDArray[np.float32]]:
    """Run weather and land surface through the spin-up and the days; every variable ``(cell, time)``."""
    cells = land.grid.index.size
    made = {name: np.empty((cells, len(days)), dtype=np.float32) for name in (*_WEATHER, *_LAND)}
    # A day is written along time, which is slow; a buffer of days is turned over at once.
    buffers = {name: np.empty((_BUFFERED_DAYS, cells), dtype=np.float32) for name in made}
    filled = 0
    for position, values in enumerate(_days(land, ground, days, seed, states)):
        row = position % _BUFFERED_DAYS
        for name, value in values.items():
            buffers[name][row] = value
        if row == _BUFFERED_DAYS - 1 or position == len(days) - 1:
            for name, buffer in buffers.items():
                made[name][:, filled : position + 1] = buffer[: row + 1].T
            filled = position + 1
    return made


def _days(
    land: Geography, ground: Soil, days: Days, seed: int, states: str
) -> Iterator[dict[str, npt.NDArray[np.float64]]]:
    """Every variable of every day, after the spin-up, ``(cell,)``."""
    first = days[0].astype("datetime64[Y]") - SPIN_UP_YEARS
    run = np.arange(first.astype("datetime64[D]"), days[-1].astype("datetime64[D]") + 1)
    surface = LandSurface(land, ground)
    end = _current_states(surface)
    for position, today in enumerate(weather(land, run, seed), start=len(days) - len(run)):
        fluxes = surface.step(today)
        begin, end = end, _current_states(surface)
        if position < 0:
            continue
        yield {
            **{name: getattr(today, name) for name in _WEATHER},
            "e": fluxes.e,
            "sro": fluxes.sro,
            "ssro": fluxes.ssro,
            "ro": fluxes.sro + fluxes.ssro,
            **(end if states == "end" else {name: (begin[name] + end[name]) / 2 for name in end}),
        }


def _current_states(surface: LandSurface) -> dict[str, npt.NDArray[np.float64]]:
    """Snow [m] and soil water [m3 m-3] as they are now, ``(cell,)``."""
    layers = zip(cube.ERA5_LAND_LAYERS, surface.stores.water, THICKNESS, strict=True)
    return {"sd": surface.stores.snow, **{layer: water / thickness for layer, water, thickness in layers}}
