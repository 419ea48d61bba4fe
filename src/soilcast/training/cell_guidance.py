"""Which guidance holds in which cells: one in all, or one for each class of a map, without what a cell lacks."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import read
from soilcast.errors import SoilcastError
from soilcast.training.config import Config
from soilcast.training.inputs import cell_blocks
from soilcast.training.sections import CLIMATES
from soilcast.training.split import climate_groups
from soilcast.water.balance import balance_terms, variable_of

Bools = npt.NDArray[np.bool_]

_GLANCE = 8
"""Days in the middle that are looked at before all of them: chunks of other days need not be read for most cells."""


@dataclass(frozen=True)
class CellGuidance:
    """The guidance of some cells.

    Parameters
    ----------
    name
        Of their class; empty for those of no class that is named.
    config
        With their ``loss.balance``, ``loss.weights`` and ``water``.
    strength
        How much Eq. 14 counts there, beside where it counts most (`Config.guidance_weights`).
    cells
        Which these are ``(cell,)``.
    lacking
        Variables of the water balance without any value there, whose terms are left out.
    """

    name: str
    config: Config
    strength: float
    cells: Bools
    lacking: tuple[str, ...] = ()


def cell_guidances(cube: xr.Dataset, config: Config) -> list[CellGuidance]:
    """Give the guidance of every cell of a cube, each cell's once.

    A term without any value in a cell is left out of its water balance; a cell that is left with none is not guided.

    Raises
    ------
    SoilcastError
        The cube has no such map, or no cell of a class that is named.
    """
    found, strengths = cell_classes(cube, config), config.guidance_strengths
    others = CellGuidance("", config, strengths[""], ~np.isin(found, list(config.loss.classes)))
    named = (CellGuidance(name, config.of_class(name), strengths[name], found == name) for name in config.loss.classes)
    return [part for one in (others, *named) for part in _by_what_they_lack(cube, one)]


def cell_classes(cube: xr.Dataset, config: Config) -> npt.NDArray[np.str_]:
    """Name of each cell's class of ``loss.by`` ``(cell,)``; empty where there is none.

    Raises
    ------
    SoilcastError
        The cube has no such map, or no cell of a class that is named.
    """
    by = config.loss.by
    found = np.full(cube.sizes["cell"], "", dtype="U16") if by == "none" else _classes(cube, by)
    for name in config.loss.classes:
        if not (found == name).any():
            there = ", ".join(sorted({str(one) for one in found if one}))
            raise SoilcastError(
                f"{cube.encoding.get('source', 'the cube')}: no cell is of the class {name} of {by}, which "
                f"loss.classes names: remove it (there are {there})"
            )
    return found


def guidance_notes(cube: xr.Dataset, config: Config, trained: Bools) -> list[str]:
    """Say what guides how many of the cells that are trained on ``(cell,)``, if it differs between them.

    Raises
    ------
    SoilcastError
        No cell of a class that is named is trained on.
    """
    notes = []
    guidances = cell_guidances(cube, config)
    for one in guidances:
        count = int((one.cells & trained).sum())
        if one.lacking and count:
            left = "is without it" if one.config.balance else "is left out, and nothing guides"
            notes.append(
                f"{', '.join(one.lacking)} has no value on any day in {count:,} of {len(trained):,} cells: there the "
                f"water balance {left}"
            )
        if config.loss.by == "none" or one.lacking:
            continue
        if one.name and not any((other.cells & trained).any() for other in guidances if other.name == one.name):
            raise SoilcastError(
                f"{cube.encoding.get('source', 'the cube')}: no cell of the class {one.name} of {config.loss.by} has a "
                "training sample: remove it from loss.classes"
            )
        l1, l2 = one.config.loss.weights
        what = f"{one.config.balance} water balance, weights {l1:g} and {l2:g}" if one.config.balance else "none"
        notes.append(f"guidance of {config.loss.by} {one.name or '(other classes)'}, {count:,} cells: {what}")
    return notes


def _by_what_they_lack(cube: xr.Dataset, one: CellGuidance) -> list[CellGuidance]:
    """Part the cells of a guidance by the terms of W without any value there."""
    form, water = one.config.balance, one.config.water
    if form is None:
        return [one]
    absent = {name: _without_value(cube, name, one.cells) for name in balance_terms(form, water) if name in cube}
    lacking = {name: cells for name, cells in absent.items() if cells.any()}
    if not lacking:
        return [one]
    patterns = np.stack(list(lacking.values()), axis=1)
    parts = []
    for pattern in np.unique(patterns[one.cells], axis=0):
        names = tuple(itertools.compress(lacking, pattern))
        cells = one.cells & (patterns == pattern).all(axis=1)
        parts.append(replace(one, config=_without_terms(one.config, names), cells=cells, lacking=names))
    return parts


def _without_terms(config: Config, lacking: Collection[str]) -> Config:
    """Leave terms out of W; no balance guides where nothing is left of it, or of the deep layers of W2."""
    water, loss = config.water, config.loss
    terms = tuple(term for term in water.terms if variable_of(term, water) not in lacking)
    deep = tuple(layer for layer in water.deep_layers if layer not in lacking)
    if not terms or (config.balance == "multi" and not deep):
        return config.model_copy(update={"loss": loss.model_copy(update={"balance": "none"})})
    layer = "none" if "swvl1" in lacking else water.layer
    update = {"terms": terms, "deep_layers": deep or water.deep_layers, "layer": layer}
    return config.model_copy(update={"water": water.model_copy(update=update)})


def _without_value(cube: xr.Dataset, name: str, among: Bools) -> Bools:
    """Say which cells have no value of a variable on any day ``(cell,)``."""
    days = cube.sizes["time"]
    glance = cube.isel(time=slice(days // 2, days // 2 + _GLANCE))
    without = among.copy()
    for block in cell_blocks(cube.sizes["cell"], days, 1):
        if without[block].any():
            without[block] &= ~np.isfinite(read(glance, name, block)).any(axis=1)
        if without[block].any():
            without[block] &= ~np.isfinite(read(cube, name, block)).any(axis=1)
    return without


def _classes(cube: xr.Dataset, by: str) -> npt.NDArray[np.str_]:
    """Name of each cell's class ``(cell,)``; empty where the map has none."""
    if by not in cube:
        source = cube.encoding.get("source", "the cube")
        raise SoilcastError(f"{source}: no {by}, by which the guidance is to differ: set loss.by to a map that it has")
    if by == "climate_zone":
        return np.array([*CLIMATES, ""])[climate_groups(cube)]
    values = read(cube, by)
    return np.array([f"{value:g}" if np.isfinite(value) else "" for value in values.tolist()])
