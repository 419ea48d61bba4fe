"""Which terms of the water balance P - E - R = d(snow + soil water) a cube holds, and their values block by block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import ERA5_LAND_LAYERS, read, thickness_name
from soilcast.cube.store import CELL_CHUNK, DAY_CHUNK

Array = npt.NDArray[np.float64]
States = Literal["end", "mean", "begin"]
Number = TypeVar("Number", bound=np.generic)

SIGNS: Mapping[str, float] = {"tp": 1.0, "e": -1.0, "ro": -1.0, "sro": -1.0, "ssro": -1.0}
"""Fluxes of the balance, and whether they bring water or take it."""

SNOW, SOIL = "sd", "soil"
SOIL_AS_DEPTH, SOIL_DIVIDED_TWICE = "soil as depth", "soil divided twice"
"""Soil water if ``swvl`` were a depth of water already, and if it had been divided by the thickness twice."""

LAGS: Mapping[States, tuple[int, ...]] = {"end": (0,), "mean": (0, 1), "begin": (1,)}
"""S[t] - S[t-1] is the flux of day t, the mean of days t and t - 1, or the flux of day t - 1."""

FREEZING = 273.15

_LARGEST_TILE = 2**21  # values of one variable that are held at once
_MOST_CELLS = 2**16
_CACHED = 2**15  # values of one term that stay in the processor's cache while all trials are made


@dataclass(frozen=True)
class Terms:
    """What of the balance a cube has.

    Parameters
    ----------
    fluxes
        Variables of P, E and R, in this order; R is ``ro``, or ``sro`` and ``ssro``.
    layers
        Soil layers that count, from the top.
    snow
        Whether ``sd`` counts.
    lacking
        What is missing without which nothing can be tested, in words.
    open
        What is missing without which the column is not whole, in words.
    """

    fluxes: tuple[str, ...]
    layers: tuple[str, ...]
    snow: bool
    lacking: tuple[str, ...]
    open: tuple[str, ...]

    @property
    def variables(self) -> tuple[str, ...]:
        """Dynamic variables that are read."""
        return (*self.fluxes, *((SNOW,) if self.snow else ()), *self.layers)

    @property
    def stores(self) -> tuple[str, ...]:
        """Stores as they enter the balance."""
        return ((SNOW,) if self.snow else ()) + (SOIL,)


def terms_of(cube: xr.Dataset) -> Terms:
    """Find the terms of the balance in a cube, and what is missing.

    Snow may be missing where it never freezes: the temperature decides, if the cube has one.
    """
    runoff: tuple[str, ...] = ("ro",) if "ro" in cube else tuple(name for name in ("sro", "ssro") if name in cube)
    lacking = [f"no {name} ({what})" for name, what in _NEEDED.items() if name not in cube]
    if "ro" not in cube and len(runoff) < 2:
        lacking.append("no ro (total runoff), and not both sro and ssro in its stead")
    layers = tuple(
        name for name in ERA5_LAND_LAYERS if name in cube and thickness_name(name) in cube and cube[name].ndim == 2
    )
    opened = []
    if SNOW not in cube and (frost := _frost(cube)):
        opened.append(frost)
    absent = [name for name in ERA5_LAND_LAYERS if name not in layers and name != "swvl1"]
    if absent:
        opened.append(f"no {', '.join(absent)}: the column is open below, unless the land model has no such layer")
    fluxes = tuple(name for name in ("tp", "e", *runoff) if name in cube)
    return Terms(fluxes, layers, SNOW in cube, tuple(lacking), tuple(opened))


_NEEDED = {"tp": "precipitation", "e": "evapotranspiration", "swvl1": "soil moisture of the first layer"}


def _frost(cube: xr.Dataset) -> str:
    name = next((name for name in ("mn2t", "t2m") if name in cube), None)
    if name is None:
        return "no sd (snow), and no temperature that would say whether there is any"
    frozen = np.zeros(cube.sizes["cell"], dtype=bool)
    for tile in tiles(cube, (name,), before=0, after=0):
        frozen[tile.cells] |= (tile.values[name] < FREEZING).any(axis=1)
    area = cube["area"].to_numpy()
    share = float(area[frozen].sum() / area.sum())
    return f"no sd (snow), though it freezes on {100 * share:.0f} % of the area" if share else ""


@dataclass(frozen=True)
class Tile:
    """Some cells on some days.

    Parameters
    ----------
    cells
        Positions along ``cell``.
    values
        Variable -> ``(cell, time)`` as the cube has it; beside the days of the tile the days before and after that
        were asked for, where the record has them.
    """

    cells: slice
    values: Mapping[str, npt.NDArray[np.floating]]


def tiles(cube: xr.Dataset, variables: Sequence[str], *, before: int, after: int) -> Iterator[Tile]:
    """Read a cube in tiles of bounded size, each value once, days in their order within a block of cells.

    Parameters
    ----------
    cube
        Lazy or in memory.
    variables
        Names of dynamic variables.
    before, after
        Days that a tile needs beside its own; they are carried over, not read again.
    """
    total, days = cube.sizes["cell"], cube.sizes["time"]
    at_once, step = _tile_shape(cube, variables)
    for start in range(0, total, at_once):
        cells = slice(start, min(start + at_once, total))
        held: dict[str, npt.NDArray[np.floating]] = {}
        for first in range(0, days, step):
            part = cube.isel(time=slice(first, min(first + step, days)))
            values: dict[str, npt.NDArray[np.floating]] = {}
            for name in variables:
                fresh = read(part, name, cells)
                values[name] = np.concatenate([held[name], fresh], axis=1) if held else fresh
            yield Tile(cells, values)
            kept = before + after
            width = values[variables[0]].shape[1]
            held = {name: value[:, width - min(kept, width) :].copy() for name, value in values.items()}


def _tile_shape(cube: xr.Dataset, variables: Sequence[str]) -> tuple[int, int]:
    """Cells and days of a tile, along the chunks of lazy arrays as far as memory allows."""
    cells, days = CELL_CHUNK, DAY_CHUNK
    for name in variables:
        if chunks := cube[name].chunks:
            cells, days = max(cells, *chunks[0]), max(chunks[1])
    cells = min(cells, _MOST_CELLS, cube.sizes["cell"])
    room = max(_LARGEST_TILE // cells, 8)
    return cells, room // days * days if room >= days else room


@dataclass
class Window:
    """The terms of some cells on the days on which all of them are known; other days are zero in every term.

    Parameters
    ----------
    values
        Variable of `Terms.variables` -> ``(cell, time)`` float64, with the days beside.
    thickness
        Layer -> ``(cell,)`` [m].
    terms
        Which there are.
    lags
        Least and greatest lag of the fluxes that will be asked for.
    """

    values: Mapping[str, Array]
    thickness: Mapping[str, Array]
    terms: Terms
    lags: tuple[int, int]
    _fluxes: dict[tuple[str, int], Array] = field(default_factory=dict)
    _known: dict[object, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        least, greatest = self.lags
        self._first = max(greatest, 1)
        width = next(iter(self.values.values())).shape[1]
        self._width = max(width - self._first + min(least, 0), 0)
        self.valid = np.ones((len(next(iter(self.values.values()))), self._width), dtype=bool)
        for name, value in self.values.items():
            finite = np.isfinite(value)
            if finite.all():
                continue
            for lag in range(least, greatest + 1) if name in SIGNS else (0, 1):
                self.valid &= self._lagged(finite, lag)
        for layer in self.terms.layers:
            self.valid &= np.isfinite(self.thickness[layer])[:, np.newaxis]
        self._whole = bool(self.valid.all())

    def flux(self, name: str, states: States, shift: int = 0) -> Array:
        """A flux as the change of the states of a day would have it, ``(cell, time)`` [m d-1], without its sign.

        Parameters
        ----------
        name
            A flux of the terms.
        states
            What the states of the cube are.
        shift
            Days by which the flux is stamped too early.
        """
        key = (name, states, shift)
        if key not in self._known:
            lags = [lag + shift for lag in LAGS[states]]
            parts = [self._day(name, lag) for lag in lags]
            self._known[key] = parts[0] if len(parts) == 1 else 0.5 * (parts[0] + parts[1])
        return self._known[key]

    def change(self, store: str) -> Array:
        """Change of a store from the day before, ``(cell, time)`` [m]: a soil layer, or one of the names above."""
        if store not in self._known:
            if store == SNOW or store in self.terms.layers:
                value = self.values[store]
                if store != SNOW:
                    value = value * self.thickness[store][:, np.newaxis]
                self._known[store] = self._zeroed(self._lagged(value, 0) - self._lagged(value, 1))
            else:
                self._known[store] = np.sum([self._soil(layer, store) for layer in self.terms.layers], axis=0)
        return self._known[store]

    def residual(self, states: States) -> Array:
        """P - E - R less the change of the stores as they are, ``(cell, time)`` [m d-1]."""
        if ("residual", states) not in self._known:
            inflow = np.sum([SIGNS[name] * self.flux(name, states) for name in self.terms.fluxes], axis=0)
            self._known["residual", states] = inflow - np.sum([self.change(name) for name in self.terms.stores], axis=0)
        return self._known["residual", states]

    def _soil(self, layer: str, how: str) -> Array:
        if how == SOIL:
            return self.change(layer)
        power = {SOIL_AS_DEPTH: -1.0, SOIL_DIVIDED_TWICE: 1.0}[how]
        with np.errstate(invalid="ignore", divide="ignore"):
            changed = self.change(layer) * self.thickness[layer][:, np.newaxis] ** power
        return self._zeroed(changed)

    def _day(self, name: str, lag: int) -> Array:
        if (name, lag) not in self._fluxes:
            self._fluxes[name, lag] = self._zeroed(self._lagged(self.values[name], lag))
        return self._fluxes[name, lag]

    def _lagged(self, value: npt.NDArray[Number], lag: int) -> npt.NDArray[Number]:
        return value[:, self._first - lag : self._first - lag + self._width]

    def _zeroed(self, value: Array) -> Array:
        return value if self._whole else np.where(self.valid, value, 0.0)


def windows(cube: xr.Dataset, terms: Terms, lags: tuple[int, int]) -> Iterator[tuple[slice, Window]]:
    """Cut a cube into windows that stay in the processor's cache; gives the positions along ``cell`` of each."""
    least, greatest = lags
    before, after = max(greatest, 1), max(-least, 0)
    thickness = {layer: read(cube, thickness_name(layer)).astype(np.float64) for layer in terms.layers}
    for tile in tiles(cube, terms.variables, before=before, after=after):
        days = next(iter(tile.values.values())).shape[1]
        if days <= before + after:
            continue
        rows = max(_CACHED // days, 1)
        for start in range(0, tile.cells.stop - tile.cells.start, rows):
            inside = slice(start, min(start + rows, tile.cells.stop - tile.cells.start))
            cells = slice(tile.cells.start + inside.start, tile.cells.start + inside.stop)
            values = {name: value[inside].astype(np.float64) for name, value in tile.values.items()}
            yield cells, Window(values, {name: depth[cells] for name, depth in thickness.items()}, terms, lags)
