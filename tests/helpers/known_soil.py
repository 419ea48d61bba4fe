"""Soils whose response to rain is known: a linear bucket, and the built-in planet run again with and without rain."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import ERA5_LAND_LAYERS, assemble, cells_of_places, era5_land_thickness
from soilcast.cube.contract import KOEPPEN_CLASSES
from soilcast.sources.planet.geography import geography
from soilcast.sources.planet.land import THICKNESS, LandSurface
from soilcast.sources.planet.soil import soil
from soilcast.sources.planet.weather import weather

Array = npt.NDArray[np.float64]

LOW = 0.1  # [m3 m-3]
_WEATHER = ("tp", "t2m", "ssrd", "strd")


@dataclass(frozen=True)
class Bucket:
    """Two linear layers: rain fills the upper, which drains into the lower.

    Parameters
    ----------
    gain
        Response of the upper layer to 1 m of rain on its day [m-1].
    time_scale
        Of the upper layer in the cells of each of two climates [d].
    lower
        Time scale of the lower layer [d].
    drained
        Share of what the upper layer holds that reaches the lower one in a day.
    """

    gain: float = 3.0
    time_scale: tuple[float, float] = (4.0, 8.0)
    lower: float = 20.0
    drained: float = 0.05

    def response(self, since: npt.ArrayLike, climate: int = 0) -> Array:
        """Response of the upper layer so many days after 1 m of rain [m3 m-3]."""
        return np.asarray(self.gain * np.exp(-np.asarray(since) / self.time_scale[climate]))

    def cube(
        self, cells: int = 16, days: int = 1500, *, noise: float = 3e-3, seed: int = 0, sign: int = 1
    ) -> xr.Dataset:
        """Make a cube of places of two climates, a half each; ``noise`` [m3 m-3] stirs the upper layer daily.

        With ``sign`` -1 rain dries.
        """
        rng = np.random.default_rng(seed)
        wet = rng.random((cells, days)) < 0.2
        tp = np.where(wet, rng.gamma(1.2, 8e-3, (cells, days)), 0.0)
        disturbance = noise * rng.standard_normal((cells, days))
        kept = np.exp(-1 / np.repeat(self.time_scale, [cells // 2, cells - cells // 2]))
        upper, lower = np.full((2, cells), 0.05)
        layers = np.empty((2, cells, days))
        for day in range(days):
            lower = lower * np.exp(-1 / self.lower) + self.drained * upper
            upper = kept * upper + sign * self.gain * tp[:, day] + disturbance[:, day]
            layers[:, :, day] = upper, lower
        places = np.linspace(-50, 50, cells), np.linspace(0, 100, cells), np.full(cells, 1e8)
        time = np.datetime64("2015-01-01", "ns") + np.arange(days) * np.timedelta64(1, "D").astype("timedelta64[ns]")
        return assemble(
            {
                **{name: era5_land_thickness(cells)[name] for name in ("slthick1", "slthick2")},
                "tp": tp.astype(np.float32),
                "swvl1": (LOW + 0.15 * (sign < 0) + layers[0]).astype(np.float32),
                "swvl2": (LOW + layers[1]).astype(np.float32),
                "elevation": np.linspace(0, 900, cells).astype(np.float32),
                "climate_zone": np.repeat([1.0, 9.0], [cells // 2, cells - cells // 2]).astype(np.float32),
            },
            cells=cells_of_places(*places, [f"place-{number}" for number in range(cells)]),
            time=time,
            title="A linear bucket",
            source="bucket",
            content="synthetic linear bucket",
        )


def planet_response(resolution: float, period: slice, seed: int, longest: int) -> tuple[xr.Dataset, Array, Array]:
    """Run the land model of the built-in planet, and beside it with 10 mm and with no rain on each day.

    Side by side, as so many more cells: pulses on a day, and on each that is a multiple of ``longest + 1`` days later.

    Parameters
    ----------
    period
        First and last day.
    longest
        How many days after a pulse its response is followed.

    Returns
    -------
    What the audit reads of a cube, as float32; main climate of each cell, 1 (A) to 5 (E); and the response
    ``(since, layer, cell, day)`` [m3 m-3], NaN where the days end.
    """
    land, phases = geography(resolution), longest + 1
    surface, cells = LandSurface(land, soil(land)), land.climate_zone.size
    wide: Any = copy.copy(surface)
    for name, value in vars(surface).items():
        setattr(wide, name, _tiled(value, 2 * phases))
    days = np.arange(np.datetime64(period.start), np.datetime64(period.stop) + 1)
    found = np.full((phases, 4, cells, len(days)), np.nan)
    made = {name: np.empty((cells, len(days)), dtype=np.float32) for name in (*_WEATHER, "sd", *ERA5_LAND_LAYERS)}
    thickness = np.array(THICKNESS)[:, np.newaxis]
    for day, today in enumerate(weather(land, days, seed)):
        forced = _tiled(today, 2 * phases)
        for half, rain in enumerate((0.0, 0.01)):
            first = (2 * (day % phases) + half) * cells
            forced.tp[first : first + cells] = rain
            for name, value in vars(surface.stores).items():
                getattr(wide.stores, name)[..., first : first + cells] = value
        wide.step(forced)
        surface.step(today)
        water = (wide.stores.water / thickness).reshape(4, phases, 2, cells)
        for since in range(min(phases, day + 1)):
            phase = (day - since) % phases
            found[since, :, :, day - since] = water[:, phase, 1] - water[:, phase, 0]
        states = {
            "sd": surface.stores.snow,
            **dict(zip(ERA5_LAND_LAYERS, surface.stores.water / thickness, strict=True)),
        }
        for name, values in made.items():
            values[:, day] = states[name] if name in states else getattr(today, name)
    dims = ("cell", "time")
    cube = xr.Dataset({name: (dims, values) for name, values in made.items()}, {"time": days.astype("datetime64[ns]")})
    climate = np.array([0, *("ABCDE".index(name[0]) + 1 for name in KOEPPEN_CLASSES.values())])[land.climate_zone]
    return cube, climate, found


def _tiled(value: Any, times: int) -> Any:
    """Repeat arrays of cells, also those within a dataclass."""
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{field.name: _tiled(getattr(value, field.name), times) for field in fields(value)})
    return np.concatenate([value] * times, axis=-1)
