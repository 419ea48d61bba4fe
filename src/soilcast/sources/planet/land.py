"""A synthetic land surface: snow and four soil layers, stepped by one day, that lose and make no water.

Every flux is taken from one store and given to another, or to the air or the rivers, so that
tp - e - ro = d(sd + sum of thickness * swvl) up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soilcast.cube.contract import ERA5_LAND_LAYERS, SECONDS_PER_DAY, WATER_DENSITY
from soilcast.sources.planet.geography import Geography
from soilcast.sources.planet.soil import Soil
from soilcast.sources.planet.weather import FREEZING, STEFAN_BOLTZMANN, Weather, saturation_pressure

Floats = npt.NDArray[np.float64]

THICKNESS: tuple[float, ...] = tuple(float(np.float32(depth)) for depth in ERA5_LAND_LAYERS.values())
"""Thickness of the layers [m], as float32 stores it: what a reader of the cube multiplies by."""

DEEPEST_SNOW = 2.0
"""Snow beyond this leaves as ice that flows off [m of water]; also what permanent ice starts with."""

_LATENT_HEAT = 2.5e6  # J kg-1
_PRIESTLEY_TAYLOR = 1.26
_MELT_PER_DEGREE = 0.0035  # m d-1 K-1
_ROOTS = (0.28, 0.36, 0.28, 0.08)  # share of the roots in each layer
_RUNOFF_SHAPE = 0.15  # exponent of the distribution of storage capacity within a cell
_BYPASS = 0.35  # share of the intake that runs through roots and cracks past the first layer
_EXCHANGE = 0.008  # m d-1 between two layers of which one is full and the other empty
_SOIL_TEMPERATURE_MEMORY = 12.0  # days
_SNOW_INSULATION = 0.06  # m of water that halve the heat flow
_EF = 30

# Tens of the ESA CCI land-cover class -> (greatest vegetated share, albedo without snow).
_COVER = {
    1: (0.80, 0.19), 2: (0.85, 0.18), 3: (0.75, 0.18), 4: (0.75, 0.17), 5: (0.95, 0.12), 6: (0.90, 0.15),
    7: (0.85, 0.11), 8: (0.80, 0.13), 9: (0.85, 0.13), 10: (0.75, 0.16), 11: (0.75, 0.18), 12: (0.50, 0.20),
    13: (0.70, 0.20), 14: (0.40, 0.20), 15: (0.15, 0.26), 16: (0.90, 0.12), 17: (0.90, 0.12), 18: (0.80, 0.15),
    19: (0.40, 0.17), 20: (0.02, 0.33), 21: (0.50, 0.15), 22: (0.00, 0.55),
}  # fmt: skip


@dataclass
class Stores:
    """What the land holds at the end of a day.

    Parameters
    ----------
    snow
        Water in the snow, ``(cell,)`` [m].
    water
        Water in each layer, ``(layer, cell)`` [m].
    soil_temperature
        ``(cell,)`` [K]; decides what is frozen.
    """

    snow: Floats
    water: Floats
    soil_temperature: Floats


@dataclass(frozen=True)
class Fluxes:
    """What has left the land in a day, every one ``(cell,)`` [m d-1]: evaporation, surface and sub-surface runoff."""

    e: Floats
    sro: Floats
    ssro: Floats


class LandSurface:
    """The land surface of a set of cells.

    Parameters
    ----------
    land
        The cells, their cover and their climate.
    soil
        Their soil.
    """

    def __init__(self, land: Geography, soil: Soil) -> None:
        thickness = np.array(THICKNESS)[:, np.newaxis]
        self._full = thickness * soil.saturation
        self._field_capacity = thickness * soil.field_capacity
        self._wilting = thickness * soil.wilting_point
        self._soil = soil
        kinds = np.array([_COVER[int(code) // 10] for code in land.landcover])
        self._greenest, self._bare_albedo = kinds.T
        # Under permanent ice the ground never thaws: its water stands still, as on the glaciers of ERA5-Land.
        self._thaws = np.where(land.climate_zone == _EF, 0.0, 1.0)
        rain = land.rain.mean(axis=0) * 365.25
        demand = 0.35 + 0.045 * np.maximum(land.temperature.mean(axis=0) - FREEZING, 0.0)
        wetness = np.clip(rain / demand, 0.02, 1.0)
        self.stores = Stores(
            snow=np.where(land.climate_zone == _EF, DEEPEST_SNOW, 0.0),
            water=self._wilting + wetness * (self._field_capacity - self._wilting),
            soil_temperature=land.temperature[0].copy(),
        )

    def step(self, today: Weather) -> Fluxes:
        """Carry the stores on to the end of the day and give what has left them."""
        stores = self.stores
        self._warm_soil(today)
        thawed = self._thaws * (1.0 - 0.95 * np.clip((FREEZING - stores.soil_temperature) / 4.0, 0.0, 1.0))
        liquid, ice_flow = self._snow(today)
        sro = self._infiltrate(liquid, thawed) + ice_flow
        ssro = self._drain(thawed)
        self._exchange(thawed)
        return Fluxes(self._evaporate(today, thawed), sro, ssro)

    def _warm_soil(self, today: Weather) -> None:
        insulation = 1.0 + self.stores.snow / _SNOW_INSULATION
        self.stores.soil_temperature += (today.t2m - self.stores.soil_temperature) / (
            _SOIL_TEMPERATURE_MEMORY * insulation
        )

    def _snow(self, today: Weather) -> tuple[Floats, Floats]:
        """Snowfall and melt; gives the liquid water that reaches the ground and the ice that flows off [m d-1]."""
        snowfall = today.tp * np.clip((FREEZING + 2.0 - today.t2m) / 3.0, 0.0, 1.0)
        snow = self.stores.snow + snowfall
        melt = np.minimum(snow, _MELT_PER_DEGREE * np.maximum(today.t2m - FREEZING, 0.0))
        snow = snow - melt
        ice_flow = np.maximum(snow - DEEPEST_SNOW, 0.0)
        self.stores.snow = snow - ice_flow
        return today.tp - snowfall + melt, ice_flow

    def _infiltrate(self, liquid: Floats, thawed: Floats) -> Floats:
        """Take in what the saturated share, the conductivity and the room of the upper metre allow.

        Gives what is left: the surface runoff [m d-1].
        """
        water, full = self.stores.water, self._full
        wetness = np.minimum((water[0] + water[1]) / (full[0] + full[1]), 1.0)
        accepting = (1.0 - wetness) ** _RUNOFF_SHAPE
        intake = np.minimum(liquid * accepting, self._soil.conductivity * thawed)
        runoff = liquid - intake
        waiting = (1.0 - _BYPASS) * intake
        past_first = _BYPASS * intake
        for layer in range(3):
            taken = np.minimum(waiting, np.maximum(full[layer] - water[layer], 0.0))
            water[layer] += taken
            waiting = waiting - taken + past_first
            past_first = np.zeros_like(past_first)
        return np.asarray(runoff + waiting)

    def _drain(self, thawed: Floats) -> Floats:
        """Drain by gravity, lowest layer first, and give what leaves the lowest [m d-1].

        A layer of water W and conductivity K = Ks (W / full)^n that drains freely has
        dW/dt = -K, so W(t) = full ((W / full)^(1 - n) + (n - 1) Ks t / full)^(1 / (1 - n)).
        """
        water, full, power = self.stores.water, self._full, 1.0 - self._soil.exponent
        out = np.zeros_like(thawed)
        for layer in (3, 2, 1, 0):
            relative = np.clip(water[layer] / full[layer], 0.05, 1.0)
            speed = -power * self._soil.conductivity * thawed / full[layer]
            left = full[layer] * (relative**power + speed) ** (1.0 / power)
            leaving = np.maximum(full[layer] * relative - left, 0.0)
            if layer == 3:
                out = leaving
            else:
                leaving = np.minimum(leaving, np.maximum(full[layer + 1] - water[layer + 1], 0.0))
                water[layer + 1] += leaving
            water[layer] -= leaving
        return out

    def _exchange(self, thawed: Floats) -> None:
        """Even out the wetness of neighbouring layers by suction, faster where it is wetter."""
        water, full = self.stores.water, self._full
        for upper in range(3):
            above, below = water[upper] / full[upper], water[upper + 1] / full[upper + 1]
            down = _EXCHANGE * thawed * np.maximum(above, below) ** 2 * (above - below)
            down = np.clip(down, water[upper] - full[upper], full[upper + 1] - water[upper + 1])
            water[upper] -= down
            water[upper + 1] += down

    def _evaporate(self, today: Weather, thawed: Floats) -> Floats:
        """Evaporate what the energy asks for and the snow, the upper layer and the roots can give [m d-1]."""
        stores = self.stores
        snow_cover = stores.snow / (stores.snow + 0.015)
        asked = potential_evaporation(today, (1.0 - snow_cover) * self._bare_albedo + snow_cover * 0.7)
        sublimated = np.minimum(0.6 * snow_cover * asked, stores.snow)
        stores.snow = stores.snow - sublimated
        green = self._greenest * np.clip((stores.soil_temperature - FREEZING) / 12.0, 0.05, 1.0)
        left_for_soil = (1.0 - snow_cover) * asked * thawed

        dry = 0.4 * self._wilting[0]
        moist = np.clip((stores.water[0] - dry) / (self._field_capacity[0] - dry), 0.0, 1.0)
        taken = [(1.0 - green) * left_for_soil * moist**1.5] + [np.zeros_like(asked)] * 3
        comfortable = 0.25 * self._wilting + 0.75 * self._field_capacity
        stress = np.clip((stores.water - self._wilting) / (comfortable - self._wilting), 0.0, 1.0)
        total = sublimated
        for layer, roots in enumerate(_ROOTS):
            wanted = taken[layer] + green * left_for_soil * roots * stress[layer]
            given = np.minimum(wanted, np.maximum(stores.water[layer] - 0.2 * self._wilting[layer], 0.0))
            stores.water[layer] -= given
            total = total + given
        return np.asarray(total)


def potential_evaporation(today: Weather, albedo: Floats) -> Floats:
    """Evaporation that the energy of the day allows, ``(cell,)`` [m d-1], by Priestley and Taylor (1972)."""
    emitted = STEFAN_BOLTZMANN * today.t2m**4
    net = np.maximum((1.0 - albedo) * today.ssrd + 0.97 * (today.strd - emitted), 0.0)
    slope = saturation_pressure(today.t2m) * 4283.8 / (today.t2m - FREEZING + 243.12) ** 2
    psychrometric = 6.65e-4 * today.sp
    energy = _PRIESTLEY_TAYLOR * slope / (slope + psychrometric) * net
    return np.asarray(energy * SECONDS_PER_DAY / (_LATENT_HEAT * WATER_DENSITY))
