"""Synthetic soil: texture as seeded noise shaped by the climate zone, and the hydraulic properties that follow from it.

The real geography has no soil in it; this is made up, the same at every seed of the weather.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soilcast.cube.contract import KOEPPEN_CLASSES, SECONDS_PER_DAY
from soilcast.sources.planet.geography import Geography
from soilcast.sources.planet.noise import MovingField, Texture, view

Floats = npt.NDArray[np.float64]

_SEED = 1353011
_PATCHES = Texture(length=400e3, memory=1.0, drift=0.0)
_ROOT_DEPTH = 1.0  # m
# First letters of a Koeppen-Geiger class -> what it adds to the share of (sand, clay): sandy deserts, clay of the humid
# tropics, coarse soils of the far north. The longest match counts.
_SHAPED_BY_ZONE = {"A": (-0.05, 0.13), "B": (0.05, 0.0), "BW": (0.20, -0.07), "D": (0.04, -0.04), "E": (0.10, -0.08)}


@dataclass(frozen=True)
class Soil:
    """Texture and hydraulic properties, every one ``(cell,)``.

    Parameters
    ----------
    clay, sand, silt
        Share of the fine earth, together 1.
    saturation, field_capacity, wilting_point
        Volumetric water when all pores are full, at -33 kPa and at -1500 kPa [m3 m-3].
    conductivity
        Hydraulic conductivity when saturated [m d-1].
    exponent
        Of relative saturation in the unsaturated conductivity, 2 b + 3 of Clapp and Hornberger.
    """

    clay: Floats
    sand: Floats
    silt: Floats
    saturation: Floats
    field_capacity: Floats
    wilting_point: Floats
    conductivity: Floats
    exponent: Floats

    @property
    def water_capacity(self) -> Floats:
        """Water between wilting point and field capacity in the rooted metre, ``(cell,)`` [m]."""
        return (self.field_capacity - self.wilting_point) * _ROOT_DEPTH


def soil(land: Geography) -> Soil:
    """Make up the soil of every cell; hydraulic properties by Cosby et al. (1984), doi:10.1029/WR020i006p00682."""
    seeds = np.random.SeedSequence(_SEED).spawn(2)
    noise_sand, noise_clay = (
        view(field, land.grid)(field) for field in (MovingField(_PATCHES, seed) for seed in seeds)
    )
    shift = np.zeros((31, 2))
    for number, letters in KOEPPEN_CLASSES.items():
        matches = [start for start in _SHAPED_BY_ZONE if letters.startswith(start)]
        shift[number] = _SHAPED_BY_ZONE[max(matches, key=len)] if matches else (0.0, 0.0)
    shift_sand, shift_clay = shift[land.climate_zone].T
    sand = np.clip(0.42 + 0.12 * noise_sand + shift_sand, 0.08, 0.88)
    clay = np.clip(0.22 + 0.07 * noise_clay + shift_clay, 0.04, 0.60)
    coarse_and_fine = np.maximum(sand + clay, 0.95) / 0.95
    sand, clay = sand / coarse_and_fine, clay / coarse_and_fine

    saturation = 0.489 - 0.126 * sand
    suction = 0.01 * 10.0 ** (1.88 - 1.31 * sand)
    b = 2.91 + 15.9 * clay
    return Soil(
        clay=clay,
        sand=sand,
        silt=1.0 - sand - clay,
        saturation=saturation,
        field_capacity=saturation * (suction / 3.4) ** (1.0 / b),
        wilting_point=saturation * (suction / 153.0) ** (1.0 / b),
        conductivity=7.0556e-6 * 10.0 ** (-0.884 + 1.53 * sand) * SECONDS_PER_DAY,
        exponent=2.0 * b + 3.0,
    )
