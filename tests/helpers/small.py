"""A small cube of synthetic weather over a bucket that closes its water balance: the test data of every room."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import (
    ERA5_LAND_LAYERS,
    VARIABLES,
    Grid,
    assemble,
    cells_of_grid,
    cells_of_places,
    era5_land_thickness,
)

Array = npt.NDArray[np.float64]

_THICKNESS = np.array(list(ERA5_LAND_LAYERS.values()))[:, np.newaxis]
_SATURATION, _FIELD_CAPACITY, _WILTING_POINT = 0.45, 0.30, 0.10  # [m3 m-3]
_FREEZING = 273.15  # [K]


def small_grid(cells: int, rng: np.random.Generator) -> Grid:
    """A 4 degree grid, north to south, of which ``cells`` scattered points are land."""
    columns = int(np.ceil(np.sqrt(2 * cells)))
    rows = int(np.ceil(1.5 * cells / columns))
    index = np.sort(rng.choice(rows * columns, cells, replace=False))
    return Grid(62.0 - 4.0 * np.arange(rows), -20.0 + 4.0 * np.arange(columns), index.astype(np.int64))


def small_cube(
    cells: int = 12,
    days: int = 800,
    *,
    seed: int = 0,
    grid: bool = True,
    start: str = "2018-01-01",
    drop: Iterable[str] = (),
    **overrides: Any,
) -> xr.Dataset:
    """Make a cube with every variable that the paper's networks, losses and scores want.

    Its water closes in every cell and on every day, but for float32: tp - e - ro = change of (sd + soil water).

    Parameters
    ----------
    cells, days
        Size of the cube.
    seed
        Same seed, same cube.
    grid
        Cells gathered from a grid; otherwise places with names.
    start
        First day.
    drop
        Variables to leave out.
    overrides
        Variable -> values in its stead, whatever broadcasts to its shape.
    """
    rng = np.random.default_rng(seed)
    if grid:
        coordinates = cells_of_grid(small_grid(cells, rng))
    else:
        names = [f"place-{number:03d}" for number in range(cells)]
        coordinates = cells_of_places(
            rng.uniform(-60, 70, cells), rng.uniform(-180, 180, cells), rng.uniform(1e8, 1e9, cells), names
        )
    time = np.datetime64(start, "ns") + np.arange(days) * np.timedelta64(1, "D").astype("timedelta64[ns]")
    weather = _weather(rng, coordinates["lat"].to_numpy(), time)
    variables: dict[str, Any] = {
        **weather,
        **_bucket(rng, weather),
        **_statics(rng, cells),
        **era5_land_thickness(cells),
    }
    for name, values in overrides.items():
        shape = (cells,) if VARIABLES[name].is_static else (cells, days)
        variables[name] = np.broadcast_to(np.asarray(values, dtype=np.float32), shape)
    kept = {name: values for name, values in variables.items() if name not in set(drop)}
    return assemble(
        kept,
        cells=coordinates,
        time=time,
        title="A small world for tests",
        source="small",
        content="synthetic weather",
    )


def few(cells: int = 5, days: int = 400, **options: Any) -> xr.Dataset:
    """A small cube of only tp, swvl1, slthick1, elevation and area, in two blocks of days."""
    kept = ("tp", "swvl1", "slthick1", "elevation", "area")
    return small_cube(cells, days, drop=[name for name in VARIABLES if name not in kept], **options)


def _weather(rng: np.random.Generator, lat: Array, time: npt.NDArray[np.datetime64]) -> dict[str, Array]:
    cells, days = lat.size, time.size
    year_day = (time - time.astype("datetime64[Y]")) / np.timedelta64(1, "D")
    season = -np.cos(2 * np.pi * (year_day - 20) / 365.25) * np.sign(lat)[:, np.newaxis]  # -1 midwinter .. 1 midsummer
    noise = rng.standard_normal((5, cells, days))
    spell = np.stack([noise[0, :, max(0, day - 4) : day + 1].mean(axis=1) for day in range(days)], axis=1)
    wet = spell > 0.15
    tp = np.where(wet, rng.gamma(0.8, 0.009, (cells, days)), 0.0)
    poleward = np.abs(lat)[:, np.newaxis] / 60.0
    t2m = 298.0 - 20.0 * poleward + 14.0 * poleward * season + 2.0 * noise[1]
    sp = 95000.0 + 600.0 * noise[2]
    vapour = 611.2 * np.exp(17.67 * (t2m - _FREEZING) / (t2m - 29.65)) * np.where(wet, 0.85, 0.6)
    return {
        "t2m": t2m,
        "u10": 2.0 + 2.0 * noise[3],
        "v10": 2.0 * noise[4],
        "tp": tp,
        "sp": sp,
        "q": 0.622 * vapour / (sp - 0.378 * vapour),
        "ssrd": np.clip(170.0 + 90.0 * season - 60.0 * wet + 10.0 * noise[3], 5.0, 400.0),
        "strd": 0.8 * 5.67e-8 * t2m**4 + 25.0 * wet,
    }


def _bucket(rng: np.random.Generator, weather: dict[str, Array]) -> dict[str, Array]:
    """Four layers (layer, cell) and snow [m], stepped day by day; every metre that leaves one store enters another."""
    cells, days = weather["tp"].shape
    made = {name: np.empty((cells, days)) for name in ("e", "sro", "ro", "sd", *ERA5_LAND_LAYERS)}
    soil = rng.uniform(0.2, 0.32, (4, cells)) * _THICKNESS
    capacity, field, wilting = (point * _THICKNESS for point in (_SATURATION, _FIELD_CAPACITY, _WILTING_POINT))
    snow = np.zeros(cells)
    warm = np.maximum(weather["t2m"] - _FREEZING, 0.0)
    for day in range(days):
        rain = weather["tp"][:, day]
        melt = np.minimum(snow, 0.003 * warm[:, day])
        snow = snow + np.where(warm[:, day] > 0, 0.0, rain) - melt
        arriving = np.where(warm[:, day] > 0, rain, 0.0) + melt
        surface = arriving * (soil[0] / capacity[0]) ** 4
        soil[0] += arriving - surface
        demand = 1.6e-5 * weather["ssrd"][:, day] * np.clip(warm[:, day] / 15.0, 0.02, 1.0)
        share = np.array([[0.6], [0.25], [0.15], [0.0]])
        taken = np.minimum(share * demand, 0.2 * np.maximum(soil - wilting, 0.0))
        soil -= taken
        down = np.array([[0.5], [0.2], [0.05], [0.01]]) * np.maximum(soil - field, 0.0)
        soil -= down
        soil[1:] += down[:-1]
        # From the bottom up, what does not fit backs into the layer above, and at last runs off.
        for layer in (3, 2, 1):
            excess = np.maximum(soil[layer] - capacity[layer], 0.0)
            soil[layer] -= excess
            soil[layer - 1] += excess
        excess = np.maximum(soil[0] - capacity[0], 0.0)
        soil[0] -= excess
        made["e"][:, day] = taken.sum(axis=0)
        made["sro"][:, day] = surface + excess
        made["ro"][:, day] = surface + excess + down[3]
        made["sd"][:, day] = snow
        for layer, name in enumerate(ERA5_LAND_LAYERS):
            made[name][:, day] = soil[layer] / _THICKNESS[layer]
    return made


def _statics(rng: np.random.Generator, cells: int) -> dict[str, Array]:
    clay, sand, silt = rng.dirichlet((3.0, 4.0, 3.0), cells).T
    return {
        "landcover": rng.integers(1, 17, cells).astype(float),
        "soil_water_capacity": rng.uniform(0.1, 0.4, cells),
        "elevation": rng.uniform(0.0, 1500.0, cells),
        "clay": clay,
        "sand": sand,
        "silt": silt,
        "climate_zone": rng.integers(1, 31, cells).astype(float),
    }
