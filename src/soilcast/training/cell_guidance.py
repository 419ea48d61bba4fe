"""Which guidance holds in which cells: one in all, or one for each class of a map of the cube."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import read
from soilcast.errors import SoilcastError
from soilcast.training.config import Config
from soilcast.training.sections import CLIMATES
from soilcast.training.split import climate_groups

Bools = npt.NDArray[np.bool_]


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
    """

    name: str
    config: Config
    strength: float
    cells: Bools


def cell_guidances(cube: xr.Dataset, config: Config) -> list[CellGuidance]:
    """Give the guidance of every cell of a cube, each cell's once.

    Raises
    ------
    SoilcastError
        The cube has no such map, or no cell of a class that is named.
    """
    by, strengths = config.loss.by, config.guidance_strengths
    found = np.full(cube.sizes["cell"], "", dtype="U16") if by == "none" else _classes(cube, by)
    for name in config.loss.classes:
        if not (found == name).any():
            there = ", ".join(sorted({str(one) for one in found if one}))
            raise SoilcastError(
                f"{cube.encoding.get('source', 'the cube')}: no cell is of the class {name} of {by}, which "
                f"loss.classes names: remove it (there are {there})"
            )

    others = CellGuidance("", config, strengths[""], ~np.isin(found, list(config.loss.classes)))
    named = (CellGuidance(name, config.of_class(name), strengths[name], found == name) for name in config.loss.classes)
    return [others, *named]


def guidance_notes(cube: xr.Dataset, config: Config, trained: Bools) -> list[str]:
    """Say what guides how many of the cells that are trained on ``(cell,)``, if it differs between them.

    Raises
    ------
    SoilcastError
        No cell of a class that is named is trained on.
    """
    if config.loss.by == "none":
        return []
    notes = []
    for one in cell_guidances(cube, config):
        count = int((one.cells & trained).sum())
        if one.name and not count:
            raise SoilcastError(
                f"{cube.encoding.get('source', 'the cube')}: no cell of the class {one.name} of {config.loss.by} has a "
                "training sample: remove it from loss.classes"
            )
        l1, l2 = one.config.loss.weights
        what = f"{one.config.balance} water balance, weights {l1:g} and {l2:g}" if one.config.balance else "none"
        notes.append(f"guidance of {config.loss.by} {one.name or '(other classes)'}, {count:,} cells: {what}")
    return notes


def _classes(cube: xr.Dataset, by: str) -> npt.NDArray[np.str_]:
    """Name of each cell's class ``(cell,)``; empty where the map has none."""
    if by not in cube:
        source = cube.encoding.get("source", "the cube")
        raise SoilcastError(f"{source}: no {by}, by which the guidance is to differ: set loss.by to a map that it has")
    if by == "climate_zone":
        return np.array([*CLIMATES, ""])[climate_groups(cube)]
    values = read(cube, by)
    return np.array([f"{value:g}" if np.isfinite(value) else "" for value in values.tolist()])
