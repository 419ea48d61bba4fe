"""Which climate a cell has: Koeppen-Geiger classes from the monthly temperature and rain of a cube or of a climatology.

Beck, H. E. et al. (2018), Present and future Koeppen-Geiger climate classification maps at 1-km resolution, Scientific
Data 5:180214, doi:10.1038/sdata.2018.214, Table 2.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube.contract import KOEPPEN_CLASSES
from soilcast.cube.store import CELL_CHUNK, DAY_CHUNK, read

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

DAYS_OF_MONTHS: Floats = np.array([31, 28.25, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
"""Mean number of days of each month in a long record."""

_FREEZING = 273.15
_APRIL_TO_SEPTEMBER = slice(3, 9)
# Cells of a stored cube that are read at a time, in whole chunks.
_VALUES_AT_A_TIME = 32 << 20
_CELLS_AT_A_TIME = 16 * CELL_CHUNK


def koeppen_geiger(
    temperature: npt.NDArray[np.floating], rain: npt.NDArray[np.floating], latitude: npt.NDArray[np.floating]
) -> npt.NDArray[np.int64]:
    """Koeppen-Geiger class of each cell.

    Dry climates (B) come before all others. Summer is the warmer of April to September and October to March, and that
    of the hemisphere where neither is. Where both a dry summer and a dry winter fit, the wetter half decides, as in the
    code that the authors published.

    Parameters
    ----------
    temperature
        Mean 2 m temperature of each month, January first, ``(month, cell)`` [K].
    rain
        Mean precipitation of each month, as a rate, ``(month, cell)`` [m d-1].
    latitude
        Latitude of each cell, ``(cell,)`` [degrees north].

    Returns
    -------
    Number of the class ``(cell,)``, 1 Af .. 30 EF (`soilcast.cube.contract.KOEPPEN_CLASSES`); 0 where a month is NaN.
    """
    assert temperature.shape == rain.shape == (12, len(latitude))
    celsius = temperature.astype(np.float64) - _FREEZING
    depth = rain.astype(np.float64) * 1000.0 * DAYS_OF_MONTHS[:, np.newaxis]  # mm a month
    number = {name: value for value, name in KOEPPEN_CLASSES.items()}
    found = np.zeros(len(latitude), dtype=np.int64)
    for name, mask in _classes(celsius, depth, np.asarray(latitude, dtype=np.float64)):
        assert not found[mask].any(), f"{name}: a cell has two classes"
        found[mask] = number[name]
    known = np.isfinite(celsius).all(axis=0) & np.isfinite(depth).all(axis=0)
    assert found[known].all(), "a cell has no class"
    return np.where(known, found, 0)


def monthly_climatology(cube: xr.Dataset) -> tuple[Floats, Floats] | None:
    """Mean temperature and rain of the months of a cube, as `koeppen_geiger` takes them.

    A month of a year counts if all of its days lie in the cube, and for the cells that have a value on each of them.
    Read a block at a time: of a lazy cube at most 32 million values, of a stored one 65,536 cells x 366 days.

    Parameters
    ----------
    cube
        Opened or lazy, with ``t2m`` [K] and ``tp`` [m d-1], ``(cell, time)``.

    Returns
    -------
    Temperature [K] and rain [m d-1], ``(month, cell)``, NaN for a cell that never has that month; None if the cube
    lacks a variable, or if one of the twelve months is not in it whole.
    """
    if not {"t2m", "tp"} <= set(cube.data_vars) or not _twelve(cube):
        return None
    return _monthly_means(cube, "t2m"), _monthly_means(cube, "tp")


def _classes(celsius: Floats, depth: Floats, latitude: Floats) -> Iterator[tuple[str, Mask]]:
    """Letters of each class and the cells that have it, by Table 2; its names of the quantities."""
    summer = _summer(celsius, latitude)
    P_summer, P_winter = (np.where(half, depth, 0.0).sum(axis=0) for half in (summer, ~summer))
    P_sdry, P_wdry = (np.where(half, depth, np.inf).min(axis=0) for half in (summer, ~summer))
    P_swet, P_wwet = (np.where(half, depth, -np.inf).max(axis=0) for half in (summer, ~summer))
    T_year, P_year = celsius.mean(axis=0), depth.sum(axis=0)
    T_hot, T_cold, T_mon10 = celsius.max(axis=0), celsius.min(axis=0), (celsius > 10.0).sum(axis=0)
    P_dry = depth.min(axis=0)
    P_threshold = 2.0 * T_year + np.where(P_winter > 0.7 * P_year, 0.0, np.where(P_summer > 0.7 * P_year, 28.0, 14.0))

    B = P_year < 10.0 * P_threshold
    desert, hot = P_year < 5.0 * P_threshold, T_year >= 18.0
    yield "BWh", B & desert & hot
    yield "BWk", B & desert & ~hot
    yield "BSh", B & ~desert & hot
    yield "BSk", B & ~desert & ~hot

    A = ~B & (T_cold >= 18.0)
    rainforest, monsoon = P_dry >= 60.0, P_dry >= 100.0 - P_year / 25.0
    yield "Af", A & rainforest
    yield "Am", A & ~rainforest & monsoon
    yield "Aw", A & ~rainforest & ~monsoon

    dry_summer, dry_winter = (P_sdry < 40.0) & (P_sdry < P_wwet / 3.0), P_wdry < P_swet / 10.0
    both, wetter_summer = dry_summer & dry_winter, P_summer > P_winter
    s, w = dry_summer & ~(both & wetter_summer), dry_winter & ~(both & ~wetter_summer)
    a = T_hot >= 22.0
    b = ~a & (T_mon10 >= 4)
    d = ~a & ~b & (T_cold < -38.0)
    c = ~a & ~b
    C = ~B & (T_hot > 10.0) & (T_cold > 0.0) & (T_cold < 18.0)
    D = ~B & (T_hot > 10.0) & (T_cold <= 0.0)
    for second, rains in (("s", s), ("w", w), ("f", ~s & ~w)):
        for third, warmth in (("a", a), ("b", b), ("c", c)):
            yield f"C{second}{third}", C & rains & warmth
        for third, warmth in (("a", a), ("b", b), ("c", c & ~d), ("d", d)):
            yield f"D{second}{third}", D & rains & warmth

    E = ~B & (T_hot <= 10.0)
    yield "ET", E & (T_hot > 0.0)
    yield "EF", E & (T_hot <= 0.0)


def _summer(celsius: Floats, latitude: Floats) -> Mask:
    """Whether each month is one of the summer half, ``(month, cell)``."""
    in_half = np.zeros((12, 1), dtype=np.bool_)
    in_half[_APRIL_TO_SEPTEMBER] = True
    warmer = celsius[in_half[:, 0]].mean(axis=0) - celsius[~in_half[:, 0]].mean(axis=0)
    northern = np.where(warmer == 0.0, latitude >= 0.0, warmer > 0.0)
    return np.where(northern, in_half, ~in_half)


def _twelve(cube: xr.Dataset) -> bool:
    """Whether each of the twelve months is in the cube whole."""
    days = cube["time"].to_numpy().astype("datetime64[D]")
    months, count = np.unique(days.astype("datetime64[M]"), return_counts=True)
    whole = months[count == _lengths(months)]
    return len(np.unique(whole.astype(int) % 12)) == 12


def _lengths(months: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64]:
    """Number of days of each month."""
    ends = (months + 1).astype("datetime64[D]")
    return np.asarray((ends - months.astype("datetime64[D]")).astype(np.int64))


def _monthly_means(cube: xr.Dataset, name: str) -> Floats:
    """Mean over all years of the means of the whole months of a variable, ``(month, cell)``."""
    total, years = (np.zeros((12, cube.sizes["cell"]), dtype=kind) for kind in (np.float64, np.int32))
    for month, days, sums in _sums_of_months(cube, name):
        length = _lengths(np.array([month]))[0]
        if days == length:
            known, of_year = np.isfinite(sums), int(month.astype(int)) % 12
            total[of_year] += np.where(known, sums / length, 0.0)
            years[of_year] += known
    return np.where(years > 0, total / np.maximum(years, 1), np.nan)


def _sums_of_months(cube: xr.Dataset, name: str) -> Iterator[tuple[np.datetime64, int, Floats]]:
    """Each month of a cube, how many of its days there are, and their sum ``(cell,)``, NaN where a day has no value."""
    cells, days = cube.sizes["cell"], cube["time"].to_numpy().astype("datetime64[M]")
    step = _CELLS_AT_A_TIME if cube[name].chunks is None else cells
    month, counted, running = days[0], 0, np.zeros(cells)
    # Of what is lazy no more is read than is asked for; of what is stored whole chunks of days are.
    length = DAY_CHUNK if cube[name].chunks is None else int(np.clip(_VALUES_AT_A_TIME // cells, 1, DAY_CHUNK))
    for first in range(0, len(days), length):
        block, months = cube.isel(time=slice(first, first + length)), days[first : first + length]
        present, starts, counts = np.unique(months, return_index=True, return_counts=True)
        sums = np.empty((len(present), cells))
        for start in range(0, cells, step):
            part = slice(start, start + step)
            sums[:, part] = np.add.reduceat(read(block, name, part), starts, axis=1, dtype=np.float64).T
        for now, count, summed in zip(present, counts, sums, strict=True):
            if now != month:
                yield month, counted, running
                month, counted, running = now, 0, np.zeros(cells)
            counted, running = counted + int(count), running + summed
    yield month, counted, running
