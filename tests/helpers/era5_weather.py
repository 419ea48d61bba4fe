"""Hourly weather and land surface whose days are the built-in planet's: what ERA5-like fixtures are written from.

Everything is as ECMWF has it in files: downward is positive, so that water and heat that leave are negative; amounts
are of the hour that ends at the time stamp [m, J m-2]; the other values are valid at the stamp.

- The 24 amounts of a UTC day (stamps 01 .. 24) sum up to the planet's daily total, in float32.
- The mean of ``t2m``, ``u10``, ``v10`` and ``sp`` over the stamps 00 .. 23 is the planet's daily value; ``d2m`` gives
  back its ``q`` by the IFS formula (to some 1e-3 of it, since humidity is no linear function of dewpoint).
- Snow and soil water run straight from the planet's end of one day (00 UTC) to that of the next, while the fluxes have
  their own shapes within the day. So tp + e - ro = d(sd + sum of thickness * swvl) closes for each UTC day, not for
  each hour.
- ``sf`` and ``smlt`` are what the planet's land surface makes of the day; ``pev``, ``ssr`` and ``str`` follow from its
  radiation, with the albedo and emissivity given here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from soilcast.cube.contract import SECONDS_PER_DAY
from soilcast.sources.planet import _days
from soilcast.sources.planet.geography import Geography, geography
from soilcast.sources.planet.land import potential_evaporation
from soilcast.sources.planet.soil import soil
from soilcast.sources.planet.weather import FREEZING, STEFAN_BOLTZMANN, Weather
from tests.helpers.era5_parameters import AMOUNTS, INSTANTS

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]

ALBEDO, EMISSIVITY = 0.2, 0.97
_MELT_PER_DEGREE = 0.0035  # m d-1 K-1, as in the planet's land surface
_STORES = ("sd", "swvl1", "swvl2", "swvl3", "swvl4")


@dataclass(frozen=True)
class HourlyWeather:
    """The hours, north first, from the west to the east; NaN at sea.

    Parameters
    ----------
    hour
        Time stamps, ``(hour,)`` datetime64[h], consecutive.
    lat, lon
        ``(lat,)`` descending and ``(lon,)`` ascending in -180 .. 180 [degrees].
    instants
        Name -> values at the stamps, ``(hour, lat, lon)`` float32.
    amounts
        Name -> amounts of the hours that end at the stamps, the same shape.
    since_midnight
        Name -> amounts since 00 UTC, as ERA5-Land archives them: at 00 UTC the whole day that ends there.
    """

    hour: npt.NDArray[np.datetime64]
    lat: Floats
    lon: Floats
    instants: Mapping[str, Singles]
    amounts: Mapping[str, Singles]
    since_midnight: Mapping[str, Singles]

    @property
    def days(self) -> npt.NDArray[np.datetime64]:
        """The UTC days of which all hours are here, from 00 to 00 of the next day, ``(day,)`` datetime64[D]."""
        days = np.unique(self.hour.astype("datetime64[D]"))
        whole = (days >= self.hour[0]) & (days + 1 <= self.hour[-1])
        return np.asarray(days[whole])

    @property
    def land(self) -> npt.NDArray[np.bool_]:
        """Where land is, ``(lat, lon)``."""
        return np.isfinite(self.instants["t2m"][0])

    def between(self, first: str, last: str) -> HourlyWeather:
        """The stamps from ``first`` to ``last``, both included: ``"2020-03-01T00"``, say.

        A request to the Climate Data Store for whole days gives the stamps 00 .. 23 of each, and so not the one at
        which the last day's total stands.
        """
        kept = (self.hour >= np.datetime64(first, "h")) & (self.hour <= np.datetime64(last, "h"))
        groups = {name: getattr(self, name) for name in ("instants", "amounts", "since_midnight")}
        cut = {group: {name: values[kept] for name, values in held.items()} for group, held in groups.items()}
        return replace(self, hour=self.hour[kept], **cut)

    def with_sea(self) -> HourlyWeather:
        """The same with values at sea, as ERA5 has them and ERA5-Land has not: no snow, soil water or runoff there."""
        land_only = {*_STORES, "sro", "ssro", "ro", "sf", "smlt"}

        def filled(name: str, values: Singles) -> Singles:
            typical = np.zeros(len(values)) if name in land_only else np.nanmean(values, axis=(1, 2))
            return np.where(np.isnan(values), np.float32(typical)[:, None, None], values)

        groups = {name: getattr(self, name) for name in ("instants", "amounts", "since_midnight")}
        return replace(self, **{group: {n: filled(n, v) for n, v in held.items()} for group, held in groups.items()})


def hourly_weather(
    resolution: float = 8.0, *, start: str = "2020-02-28", days: int = 3, seed: int = 0, box: Box | None = None
) -> HourlyWeather:
    """Make the hours from 00 UTC of the first day to 00 UTC after the last: ``24 * days + 1`` of them.

    The days are those of ``planet(resolution=resolution, years=..., seed=seed)`` whose years begin with the one of the
    second day before ``start``.

    Parameters
    ----------
    resolution
        Side of a cell [degrees], as for the planet.
    start
        First day. By default a leap day is among the days.
    days
        Number of days.
    seed
        Of the planet's weather, and of the hours of rain.
    box
        South, west, north, east [degrees], west and east in -180 .. 180: cells whose centre lies in it; else the globe.
    """
    first = np.datetime64(start, "D")
    daily = _daily(resolution, str(first), days, seed)
    land = geography(resolution)
    hours = np.arange(first - 1, first + days + 1, dtype="datetime64[h]")
    whole = {name: _hours(name, daily, land, hours, seed) for name in (*INSTANTS, *AMOUNTS)}
    # Day 1 is the one before the first; its last hour ends at the first stamp, and its total stands there.
    kept = slice(24, 24 * (days + 1) + 1)
    rows, columns = _cut(land, box)

    def gridded(values: Floats) -> Singles:
        grid = np.full((days * 24 + 1, len(land.grid.lat) * len(land.grid.lon)), np.nan, dtype=np.float32)
        grid[:, land.grid.index] = values
        full = grid.reshape(-1, len(land.grid.lat), len(land.grid.lon))
        return np.ascontiguousarray(full[:, rows[:, None], columns])

    return HourlyWeather(
        hour=np.arange(first, first + days + 1, dtype="datetime64[h]")[: 24 * days + 1],
        lat=land.grid.lat[rows],
        lon=land.grid.lon[columns],
        instants={name: gridded(whole[name][kept]) for name in INSTANTS},
        amounts={name: gridded(whole[name][kept]) for name in AMOUNTS},
        since_midnight={name: gridded(_since_midnight(whole[name])[kept]) for name in AMOUNTS},
    )


def _cut(land: Geography, box: Box | None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    south, west, north, east = box or (-90.0, -180.0, 90.0, 180.0)
    rows = np.flatnonzero((land.grid.lat >= south) & (land.grid.lat <= north))[::-1]
    columns = np.flatnonzero((land.grid.lon >= west) & (land.grid.lon <= east))
    assert rows.size * columns.size, f"no cell of the grid lies in {box}"
    return rows, columns


@cache
def _daily(resolution: float, start: str, days: int, seed: int) -> dict[str, Floats]:
    """Daily values from the second day before ``start`` to the one after the last, ``(day, cell)``; files' signs."""
    land = geography(resolution)
    first = np.datetime64(start, "D") - 2
    run = np.arange(first.astype("datetime64[Y]"), first + days + 3, dtype="datetime64[D]").astype("datetime64[ns]")
    each = list(_days(land, soil(land), run, seed, "end"))[-(days + 3) :]
    daily = {name: np.stack([day[name] for day in each]) for name in each[0]}

    weather = Weather(**{name: daily[name] for name in ("t2m", "u10", "v10", "sp", "q", "ssrd", "strd", "tp")})
    t2m, emitted = daily["t2m"], EMISSIVITY * STEFAN_BOLTZMANN * daily["t2m"] ** 4
    snowfall = daily["tp"] * np.clip((FREEZING + 2.0 - t2m) / 3.0, 0.0, 1.0)
    snow_before = np.concatenate([daily["sd"][:1], daily["sd"][:-1]])  # of no use on the first day, which is not kept
    melt = np.minimum(snow_before + snowfall, _MELT_PER_DEGREE * np.maximum(t2m - FREEZING, 0.0))
    radiation = {"ssrd": daily["ssrd"], "strd": daily["strd"], "ssr": (1.0 - ALBEDO) * daily["ssrd"]}
    radiation["str"] = EMISSIVITY * daily["strd"] - emitted
    return {
        **daily,
        "d2m": dewpoint(daily["q"], daily["sp"]),
        "e": -daily["e"],
        "pev": -potential_evaporation(weather, np.full_like(t2m, ALBEDO)),
        "sf": snowfall,
        "smlt": melt,
        **{name: value * SECONDS_PER_DAY for name, value in radiation.items()},
    }


def dewpoint(humidity: Floats, pressure: Floats) -> Floats:
    """The IFS formula of specific humidity (documentation CY41R2, IV, eq. 7.4 and 7.5), solved for the dewpoint [K]."""
    ratio = 287.0597 / 461.5250
    vapour = humidity * pressure / (ratio + (1.0 - ratio) * humidity)
    logarithm = np.log(vapour / 611.21)
    return np.asarray((17.502 * 273.16 - 32.19 * logarithm) / (17.502 - logarithm))


def _hours(
    name: str, daily: dict[str, Floats], land: Geography, hours: npt.NDArray[np.datetime64], seed: int
) -> Floats:
    """Values at the stamps, or amounts of the hours before them, ``(hour, cell)``, from the day before the first on."""
    if name in _STORES:
        return _straight(daily[name])
    if name == "ro":
        return _hours("sro", daily, land, hours, seed) + _hours("ssro", daily, land, hours, seed)
    if name in AMOUNTS:
        total = daily[name][1:, None]
        amounts = (total * _share(name, land, hours, seed)).astype(np.float32).astype(np.float64)
        # Hours are counted by the stamp at which they end, and the first day's begin at 01.
        return np.concatenate([np.full((1, amounts.shape[2]), np.nan), amounts.reshape(-1, amounts.shape[2])])
    clock = (hours.astype(np.int64) % 24)[:, None] + land.grid.cell_lon / 15.0
    dry = daily["t2m"] - daily["d2m"]  # nights are no colder than the dewpoint
    swing = {
        "t2m": np.clip(dry, 0.3, 7.0)[1:].repeat(24, axis=0) * np.cos(2.0 * np.pi * (clock - 15.0) / 24.0),
        "d2m": 0.2 * np.cos(2.0 * np.pi * (clock - 15.0) / 24.0),
        "u10": 0.6 * np.cos(2.0 * np.pi * (clock - 13.0) / 24.0),
        "v10": 0.6 * np.sin(2.0 * np.pi * (clock - 13.0) / 24.0),
        "sp": 90.0 * np.cos(4.0 * np.pi * (clock - 10.0) / 24.0),
    }
    return np.asarray(daily[name][1:].repeat(24, axis=0) + swing[name])


def _straight(ends: Floats) -> Floats:
    """Stores at the stamps from their ends of days, ``(day, cell)`` -> ``(hour, cell)``."""
    share = (np.arange(24) / 24.0)[None, :, None]
    between = ends[:-1, None] + share * np.diff(ends, axis=0)[:, None]
    return np.asarray(between.reshape(-1, ends.shape[1]))


def _share(name: str, land: Geography, hours: npt.NDArray[np.datetime64], seed: int) -> Floats:
    """Share of the day's total that falls in each of its hours, ``(day, hour, cell)``."""
    days = hours.reshape(-1, 24)[:, 0].astype("datetime64[D]")
    lat, lon = np.radians(land.grid.cell_lat), land.grid.cell_lon
    year = days.astype("datetime64[Y]").astype("datetime64[D]")
    season = 2.0 * np.pi * ((days - year).astype(np.int64) - 80) / 365.25
    declination = np.radians(23.44) * np.sin(season)[:, None, None]
    angle = 2.0 * np.pi * ((np.arange(24) + 0.5)[:, None] + lon / 15.0 - 12.0) / 24.0
    sun = np.maximum(np.sin(lat) * np.sin(declination) + np.cos(lat) * np.cos(declination) * np.cos(angle), 0.0)
    sun /= np.where(sun.sum(axis=1, keepdims=True) > 0.0, sun.sum(axis=1, keepdims=True), 1.0)
    sun = np.where(sun.sum(axis=1, keepdims=True) > 0.0, sun, 1.0 / 24.0)
    even = np.full_like(sun, 1.0 / 24.0)
    if name in ("ssrd", "ssr"):
        return sun
    if name in ("e", "pev", "smlt"):
        return 0.8 * sun + 0.2 * even
    if name in ("strd", "str"):
        return even * (1.0 + 0.08 * np.cos(angle - np.pi / 4.0))[None]
    if name == "ssro":
        return even
    return np.stack([_storm(day, land.grid.index, seed) for day in days])


def _storm(day: np.datetime64, cell: npt.NDArray[np.int64], seed: int) -> Floats:
    """Hours of rain of a day, ``(hour, cell)``: the same for a day and a seed, however many days are made."""
    random = np.random.default_rng([seed, int(day.astype("datetime64[D]").astype(np.int64)) + 1_000_000])
    heavy = random.exponential(size=(24, cell.size)) ** 3
    wet = random.random((24, cell.size)) < 0.4
    wet[random.integers(24, size=cell.size), np.arange(cell.size)] = True
    rain = np.where(wet, heavy, 0.0)
    return np.asarray(rain / rain.sum(axis=0))


def _since_midnight(amounts: Floats) -> Floats:
    """Amounts of hours added up since 00 UTC, ``(hour, cell)``; NaN at the first stamp, before which nothing is."""
    cells = amounts.shape[1]
    days = amounts[1:].reshape(-1, 24, cells).cumsum(axis=1)
    return np.concatenate([np.full((1, cells), np.nan), days.reshape(-1, cells)])
