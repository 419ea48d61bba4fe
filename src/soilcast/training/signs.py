"""What guides a training: the signs of its water balance after Eq. 13, or of a placebo in its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import read, thickness_name
from soilcast.training.arrays import Allocate, Array, forget_pages, make_arrays
from soilcast.training.cell_guidance import cell_guidances
from soilcast.training.config import Config
from soilcast.training.inputs import Floats, cell_blocks
from soilcast.training.samples import SampleIndex
from soilcast.water import PLACEBOS, draw_uniform, mask_observed, water_sign

Signs = npt.NDArray[np.int8]


def guiding_signs(
    folder: Path | None,
    identity: Mapping[str, Any],
    cube: xr.Dataset,
    config: Config,
    days: slice,
    training: SampleIndex,
    *,
    low_memory: bool,
) -> Signs:
    """Give dW_t of Eq. 12 after Eq. 13 on some days; 0 in cells that follow no water balance.

    Parameters
    ----------
    folder, identity, low_memory
        Where they are kept, and what they depend on beside the water balance: see `make_arrays`.
    cube
        An opened cube.
    days
        Positions of the days of samples in the cube.
    training
        The training cell-days, among which a placebo has as many signs as the balance.

    Returns
    -------
    ``(cell, time)``.
    """
    settings, guided = config.water, [one for one in cell_guidances(cube, config) if one.config.balance]
    seen = cube.isel(time=days)

    def fill(allocate: Allocate) -> None:
        cells, count = cube.sizes["cell"], days.stop - days.start
        signs = allocate("sign", (cells, count), np.int8)
        blocks = list(cell_blocks(cells, count, len(config.task.dynamic)))
        for block in blocks:
            signs[block] = 0
            for one in (one for one in guided if one.cells[block].any()):
                form, water = one.config.balance, one.config.water
                assert form is not None, "guided"
                of_balance = water_sign(cube.isel(cell=block), form, water, days)
                followed = mask_observed(of_balance, _guided_water(seen, one.config, block), water.ties)
                signs[block] = np.where(one.cells[block, np.newaxis], followed, signs[block])
            forget_pages((signs,), write=True)
        if settings.placebo == "none":
            return
        kept = sum(count_signs(signs[block], training, block) for block in blocks)
        possible = sum(
            count_signs(_placebo_signs(seen, config, "observed", block, 1.0), training, block) for block in blocks
        )
        for block in blocks:
            signs[block] = _placebo_signs(seen, config, settings.placebo, block, kept / max(possible, 1))
            forget_pages((signs,), write=True)

    readings = [[one.name, one.config.balance, one.config.water.model_dump(mode="json")] for one in guided]
    water = {"by": config.loss.by, "guided": readings}
    return make_arrays(folder, {**identity, **water}, fill, low_memory=low_memory)["sign"]


def count_signs(signs: Signs, samples: SampleIndex, cells: slice) -> int:
    """Count the cell-days of a period on which dW_t of some cells ``(cell, time)`` is not 0."""
    days = slice(samples.first, samples.first + samples.usable.shape[1])
    return int(np.count_nonzero(signs[:, days][samples.usable[cells]]))


def guided_layers(config: Config) -> slice:
    """Positions of the layers whose water follows the balance.

    W1 takes no deeper layer from it, so all do; W2 (Eq. 11) counts the water of deep layers among what leaves the
    first.
    """
    return slice(None) if config.balance == "single" else slice(1)


def layer_thickness(cube: xr.Dataset, layer: str, cells: slice = slice(None)) -> Array:
    """Thickness of a layer ``(cell,)`` [m]; 1 where the cube does not know it, which a layer alone does not need."""
    name = thickness_name(layer)
    if name in cube:
        return read(cube, name, cells)
    return np.ones(len(range(*cells.indices(cube.sizes["cell"]))), dtype=np.float32)


def _placebo_signs(seen: xr.Dataset, config: Config, placebo: str, block: slice, share: float) -> Signs:
    """Signs of a placebo after Eq. 13 ``(cell, time)``, which keeps all of ``observed``."""
    observed = _guided_water(seen, config, block)
    change = np.diff(observed.astype(np.float64), axis=1, prepend=np.nan)
    signs = PLACEBOS[placebo](change, draw_uniform(seen.isel(cell=block)), share)
    return mask_observed(signs, observed, config.water.ties)


def _guided_water(seen: xr.Dataset, config: Config, block: slice) -> Floats:
    """Observed water of some cells that is to follow dW ``(cell, time)``: of one layer, or the depth of all."""
    layers = config.task.layers[guided_layers(config)]
    if len(layers) == 1:
        return read(seen, layers[0], block)
    depths = [read(seen, layer, block) * layer_thickness(seen, layer, block)[:, np.newaxis] for layer in layers]
    return np.asarray(np.sum(depths, axis=0))
