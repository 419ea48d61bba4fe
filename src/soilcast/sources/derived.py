"""What follows from other variables: humidity from the dewpoint, the unit of a texture, sunlight above the air."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

# ECMWF, IFS Documentation CY41R2, Part IV: Physical processes, section 7.2.1(b): eq. 7.4 and 7.5, with the parameters
# for saturation over water, as the 2 m dewpoint asks for; gas constants of its chapter 12.
_A1 = 611.21  # Pa
_A3 = 17.502
_A4 = 32.19  # K
_T0 = 273.16  # K
_DRY_AIR = 287.0597  # J kg-1 K-1
_WATER_VAPOUR = 461.5250  # J kg-1 K-1


def saturation_vapour_pressure(temperature: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Saturation vapour pressure over water [Pa], Tetens' formula with the constants of the IFS (eq. 7.5).

    Parameters
    ----------
    temperature
        Any shape [K].
    """
    pressure: npt.NDArray[np.floating] = _A1 * np.exp(_A3 * (temperature - _T0) / (temperature - _A4))
    return pressure


def specific_humidity(
    dewpoint: npt.NDArray[np.floating], pressure: npt.NDArray[np.floating]
) -> npt.NDArray[np.floating]:
    """Specific humidity [kg kg-1] of air of a dewpoint (IFS documentation, eq. 7.4).

    Parameters
    ----------
    dewpoint
        2 m dewpoint temperature, any shape [K].
    pressure
        Surface pressure, the same shape [Pa].
    """
    return _humidity_of_vapour(saturation_vapour_pressure(dewpoint), pressure)


def humidity_of_relative(
    relative: npt.NDArray[np.floating], temperature: npt.NDArray[np.floating], pressure: npt.NDArray[np.floating]
) -> npt.NDArray[np.floating]:
    """Specific humidity [kg kg-1] of air of a relative humidity over water (IFS documentation, eq. 7.4 and 7.5).

    Parameters
    ----------
    relative
        Relative humidity over water, any shape [1].
    temperature
        Of the air, the same shape [K].
    pressure
        Surface pressure, the same shape [Pa].
    """
    return _humidity_of_vapour(relative * saturation_vapour_pressure(temperature), pressure)


def _humidity_of_vapour(
    vapour: npt.NDArray[np.floating], pressure: npt.NDArray[np.floating]
) -> npt.NDArray[np.floating]:
    ratio = _DRY_AIR / _WATER_VAPOUR
    humidity: npt.NDArray[np.floating] = ratio * vapour / (pressure - (1.0 - ratio) * vapour)
    return humidity


TEXTURE = ("clay", "sand", "silt")

_WHOLES = {"g kg-1": 1000.0, "percent": 100.0, "1": 1.0}
# What rounding and interpolation leave of the whole, as a share of it.
_TOLERANCE = 0.1


def unit_of_texture(fractions: Mapping[str, npt.NDArray[np.floating]]) -> str | None:
    """Tell the unit of clay, sand and silt from what they sum to; None where that is no whole.

    Parameters
    ----------
    fractions
        The three of `TEXTURE`, each of one shape, in the file's unit; NaN where missing.
    """
    total = np.stack([fractions[name] for name in TEXTURE]).sum(axis=0, dtype=np.float64)
    total = total[np.isfinite(total)]
    if not total.size:
        return None
    middle = float(np.median(total))
    return next((unit for unit, whole in _WHOLES.items() if abs(middle - whole) <= _TOLERANCE * whole), None)


_SOLAR_CONSTANT = 1361.0  # W m-2


def top_of_atmosphere(latitude: npt.NDArray[np.float64], day: np.datetime64) -> npt.NDArray[np.float64]:
    """Daily mean solar radiation at the top of the atmosphere, ``(cell,)`` [W m-2]."""
    angle = 2.0 * np.pi * year_share(day)
    declination = np.radians(23.44) * np.sin(angle - 2.0 * np.pi * 80.0 / 365.25)
    phi = np.radians(latitude)
    sunset = np.arccos(np.clip(-np.tan(phi) * np.tan(declination), -1.0, 1.0))
    height = sunset * np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.sin(sunset)
    distance = 1.0 + 0.033 * np.cos(angle)
    return np.asarray(np.maximum(_SOLAR_CONSTANT * distance / np.pi * height, 0.0))


def year_share(day: np.datetime64) -> float:
    """How much of the year has gone at noon of the day, 0 .. 1."""
    year = day.astype("datetime64[Y]")
    start, end = year.astype("datetime64[D]"), (year + 1).astype("datetime64[D]")
    return float(((day.astype("datetime64[D]") - start).astype(int) + 0.5) / (end - start).astype(int))
