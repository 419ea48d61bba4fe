"""Synthetic daily weather that keeps to the real monthly climate of every cell.

Four moving Gaussian fields make a day: a pressure field whose gradients are wind and warm air, storms, wet and dry
spells of weeks, and warm and cold spells of days. Rain follows from them by its distribution, so that its expectation
is the climatology of the day, and clouds, humidity and radiation follow the rain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from soilcast.cube.calendar import Days
from soilcast.sources.derived import top_of_atmosphere, year_share
from soilcast.sources.planet.geography import Geography
from soilcast.sources.planet.noise import MovingField, Texture, view, zonal_drift

Floats = npt.NDArray[np.float64]

STEFAN_BOLTZMANN = 5.670374e-8
"""[W m-2 K-4]."""

FREEZING = 273.15
"""[K]."""

_TEXTURES = {
    "pressure": Texture(length=700e3, memory=3.0, drift=1.0),
    "storms": Texture(length=350e3, memory=1.2, drift=1.0),
    "wet_spells": Texture(length=1300e3, memory=20.0, drift=0.0),
    "warm_spells": Texture(length=1100e3, memory=8.0, drift=0.2),
}
# Exponent of the Weibull distribution's quantile: above 1, a few heavy days bring most of the rain.
_HEAVINESS = 1.1
# The heaviest rain of a cell is that of one wet day in a thousand; what lies beyond is that heavy and no heavier.
_RAREST = 1e-3


@dataclass(frozen=True)
class Weather:
    """The weather of one day; every value ``(cell,)``, the day's mean or total.

    Parameters
    ----------
    t2m, u10, v10, sp, q, ssrd, strd, tp
        As in the cube's contract, in its units.
    """

    t2m: Floats
    u10: Floats
    v10: Floats
    sp: Floats
    q: Floats
    ssrd: Floats
    strd: Floats
    tp: Floats


def weather(land: Geography, days: Days, seed: int) -> Iterator[Weather]:
    """Give the weather day after day.

    Parameters
    ----------
    land
        The cells and their climate.
    days
        The days, consecutive, ``(time,)``.
    seed
        Same seed and first day: same weather, at every resolution.
    """
    seeds = np.random.SeedSequence(seed).spawn(len(_TEXTURES))
    fields = {name: MovingField(_TEXTURES[name], own) for name, own in zip(_TEXTURES, seeds, strict=True)}
    pressure = fields["pressure"]
    views = {name: view(field, land.grid) for name, field in fields.items()}
    eastward, northward = (view(pressure, land.grid, gradient) for gradient in ("eastward", "northward"))

    lat = land.grid.cell_lat
    temperature, rain = monthly_knots(land.temperature), np.maximum(monthly_knots(land.rain), 0.0)
    rain *= (land.rain.mean(axis=0) / np.maximum(rain.mean(axis=0), 1e-12))[np.newaxis]
    annual_range = np.ptp(land.temperature, axis=0)
    mean_temperature = land.temperature.mean(axis=0)
    restless = np.clip(0.8 + 0.08 * annual_range, 0.8, 5.0)
    standard_pressure = 101325.0 * (1.0 - 2.25577e-5 * land.elevation) ** 5.25588
    # On the equator too there is weather: its row counts as northern.
    hemisphere = np.where(lat < 0, -1.0, 1.0)
    pressure_swing = 0.002 + 0.007 * np.abs(np.sin(np.radians(lat)))
    mean_u = 0.4 * zonal_drift(lat)
    mean_v = -1.5 * np.sign(lat) * np.exp(-((lat / 17.0) ** 2))
    gust = 2.0 + 1.5 * np.abs(np.sin(np.radians(lat)))

    for day in days:
        low, storm = -views["pressure"](pressure), views["storms"](fields["storms"])
        wet, warm = views["wet_spells"](fields["wet_spells"]), views["warm_spells"](fields["warm_spells"])
        poleward = eastward(pressure)
        lift = np.sqrt(0.10) * low + np.sqrt(0.20) * poleward + np.sqrt(0.60) * storm + np.sqrt(0.10) * wet
        tp, cloud, wet_share = rain_and_cloud(lift, at_day(rain, day))

        usual = at_day(temperature, day)
        winter = 1.0 + 0.6 * np.clip((mean_temperature - usual) / np.maximum(annual_range, 5.0), -0.5, 0.5)
        t2m = usual + restless * winter * (0.6 * poleward + 0.8 * warm)
        sp = standard_pressure * (1.0 - pressure_swing * low)
        humidity = np.clip(0.26 + 0.42 * np.sqrt(wet_share) + 0.25 * cloud, 0.05, 1.0)
        vapour = humidity * saturation_pressure(t2m)
        clear_sky = 0.643 * (vapour / t2m) ** (1.0 / 7.0)
        yield Weather(
            t2m=t2m,
            u10=mean_u - gust * hemisphere * northward(pressure),
            v10=mean_v + gust * hemisphere * poleward,
            sp=sp,
            q=0.622 * vapour / (sp - 0.378 * vapour),
            ssrd=top_of_atmosphere(lat, day) * (0.75 + 2e-5 * land.elevation) * (1.0 - 0.65 * cloud),
            strd=np.minimum(clear_sky * (1.0 + 0.22 * cloud**2), 1.0) * STEFAN_BOLTZMANN * t2m**4,
            tp=tp,
        )
        for field in fields.values():
            field.step()


def rain_and_cloud(lift: Floats, expected: Floats) -> tuple[Floats, Floats, Floats]:
    """Rain, cloud cover and share of wet days.

    Parameters
    ----------
    lift
        How much the air rises: a standard normal value, ``(cell,)``.
    expected
        Rain that the climatology expects, ``(cell,)`` [m d-1].

    Returns
    -------
    Rain [m d-1], whose expectation over ``lift`` is ``expected`` (to 1 %), cloud cover 0 .. 1, and the share of days
    with rain 0 .. 1, each ``(cell,)``.
    """
    wet_share = 0.02 + 0.75 * (1.0 - np.exp(-expected / 0.003))
    threshold = special.ndtri(1.0 - wet_share)
    rank = np.clip(special.ndtr(-lift) / wet_share, _RAREST, 1.0)
    tp = expected / wet_share * (-np.log(rank)) ** _HEAVINESS / special.gamma(1.0 + _HEAVINESS)
    cloud = special.expit((lift - threshold + 0.5) / 0.5)
    return tp, cloud, wet_share


def monthly_knots(means: Floats) -> Floats:
    """Values at mid-month between which straight lines have the given monthly means, ``(month, ...)``."""
    neighbours = np.roll(np.eye(12), 1, axis=1) + np.roll(np.eye(12), -1, axis=1)
    return np.asarray(np.linalg.solve(0.75 * np.eye(12) + 0.125 * neighbours, means))


def at_day(knots: Floats, day: np.datetime64) -> Floats:
    """Interpolate between mid-months, ``(month, cell)`` -> ``(cell,)``; December is followed by January."""
    position = (year_share(day) * 12.0 - 0.5) % 12.0
    before = int(position)
    share = position - before
    return np.asarray((1.0 - share) * knots[before] + share * knots[(before + 1) % 12])


def saturation_pressure(temperature: Floats) -> Floats:
    """Saturation pressure of water vapour over water (Magnus) [Pa], of a temperature [K]."""
    celsius = temperature - FREEZING
    return np.asarray(611.2 * np.exp(17.62 * celsius / (243.12 + celsius)))
