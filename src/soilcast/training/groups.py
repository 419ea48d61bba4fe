"""Which cells go together: those of one main climate, and those that are learnt from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import read
from soilcast.cube.zones import KOEPPEN_CLASSES
from soilcast.errors import SoilcastError
from soilcast.training.config import SplitConfig

_LETTERS = "ABCDE"
_NONE = -1

GROUPS = len(_LETTERS)
"""How many groups there are."""


def climate_groups(cube: xr.Dataset) -> npt.NDArray[np.int64]:
    """Number of each cell's main climate of Koeppen ``(cell,)``, 0 (A) to 4 (E); -1 where the cube knows none."""
    if "climate_zone" not in cube:
        return np.full(cube.sizes["cell"], _NONE, dtype=np.int64)
    letters = [name[0] for name in KOEPPEN_CLASSES.values()]
    of_class = np.array([_NONE, *map(_LETTERS.index, letters)], dtype=np.int64)
    zone = np.nan_to_num(read(cube, "climate_zone"), nan=0.0).astype(np.int64)
    return of_class[zone]


def learning_cells(cube: xr.Dataset, config: SplitConfig) -> npt.NDArray[np.bool_]:
    """Choose the cells to learn from ``(cell,)``: all, or those of other climates, or a share of them by lot.

    The lot falls by the place of a cell among all, the same whatever is trained.

    Raises
    ------
    SoilcastError
        No cell is left.
    """
    chosen = np.ones(cube.sizes["cell"], dtype=np.bool_)
    if config.without_climate is not None:
        chosen &= climate_groups(cube) != _LETTERS.index(config.without_climate)
    if config.cells_share < 1.0:
        among = np.flatnonzero(chosen)
        count = max(1, round(config.cells_share * len(among))) if len(among) else 0
        kept = np.random.default_rng(0).permutation(among)[:count]
        chosen = np.isin(np.arange(len(chosen)), kept)
    if not chosen.any():
        raise SoilcastError(
            f"{cube.encoding.get('source', 'the cube')}: split.without_climate {config.without_climate} leaves no "
            "cell for training: choose another"
        )
    return chosen
