"""The climates of Koeppen and Geiger: five main ones, and the thirty classes of the cube's ``climate_zone``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soilcast.cube.contract import KOEPPEN_CLASSES


@dataclass(frozen=True)
class Climate:
    """One main climate: its letter, its name, and the first and last of its classes (Beck et al. 2018)."""

    letter: str
    name: str
    first: int
    last: int


CLIMATES: tuple[Climate, ...] = (
    Climate("A", "equatorial", 1, 3),
    Climate("B", "arid", 4, 7),
    Climate("C", "warm temperate", 8, 16),
    Climate("D", "snow", 17, 28),
    Climate("E", "polar", 29, 30),
)
"""Koeppen's main climates as ranges of the classes 1 Af .. 30 EF, by the names of Kottek et al. (2006),
doi:10.1127/0941-2948/2006/0130."""

FINE_CLIMATES: tuple[Climate, ...] = tuple(
    Climate(name, "", number, number) for number, name in KOEPPEN_CLASSES.items()
)
"""The thirty classes, each by itself."""

CLIMATE_SETS: dict[str, Sequence[Climate]] = {"main": CLIMATES, "fine": FINE_CLIMATES}
"""Sets of climates, coarse and fine."""


def climate_of(zone: float) -> Climate | None:
    """Find the main climate of a class; None for NaN."""
    return next((climate for climate in CLIMATES if climate.first <= zone <= climate.last), None)


def cells_in(climate: Climate, zone: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Mask of the cells of a climate, ``(cell,)``, from their classes ``(cell,)``; NaN is in none."""
    return np.asarray((zone >= climate.first) & (zone <= climate.last))
