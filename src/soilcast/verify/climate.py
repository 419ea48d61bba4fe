"""The five main climates of Koeppen, from the thirty classes of the cube's ``climate_zone``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Climate:
    """One main climate: its letter, its name, and the first and last of its classes (Beck et al. 2018)."""

    letter: str
    name: str
    first: int
    last: int


CLIMATES: tuple[Climate, ...] = (
    Climate("A", "tropical", 1, 3),
    Climate("B", "arid", 4, 7),
    Climate("C", "temperate", 8, 16),
    Climate("D", "cold", 17, 28),
    Climate("E", "polar", 29, 30),
)
"""Koeppen's main climates as ranges of the classes 1 Af .. 30 EF."""


def cells_in(climate: Climate, zone: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Tell which cells lie in a climate, ``(cell,)``, from their classes ``(cell,)``; NaN lies in none."""
    return np.asarray((zone >= climate.first) & (zone <= climate.last))
