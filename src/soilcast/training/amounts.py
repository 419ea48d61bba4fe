"""The amounts of a water balance, by which a forecast change is to keep, and how far observed changes miss them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from soilcast.cube import read
from soilcast.training.arrays import Allocate, Array, forget_pages, make_arrays
from soilcast.training.config import Config
from soilcast.training.inputs import cell_blocks
from soilcast.training.signs import guided_layers, layer_thickness
from soilcast.training.split import Periods, days_in
from soilcast.water import draw_uniform, water_amount


def guiding_amounts(
    folder: Path | None,
    identity: Mapping[str, Any],
    cube: xr.Dataset,
    config: Config,
    days: slice,
    train: Periods,
    *,
    low_memory: bool,
) -> dict[str, Array]:
    """Give W_t of some days, and how far the observed changes of the guided water miss it on the training days.

    Parameters
    ----------
    folder, identity, low_memory
        Where they are kept, and what they depend on beside the water balance: see `make_arrays`.
    cube
        An opened cube.
    days
        Positions of the days of samples in the cube.
    train
        Positions of the training days.

    Returns
    -------
    ``inflow (cell, time)`` float32 [m], NaN where W_t or the observation of the day before is missing; ``tolerance
    (cell,)`` float32 [m], the root mean square of the observed change less W_t, 0 where there is none. With a placebo
    W_t is that of another day of the cell.
    """
    form, water = config.balance, config.water
    assert form is not None, "amounts are those of a water balance"
    seen, is_train = cube.isel(time=days), days_in(train, days)
    layers = config.task.layers[guided_layers(config)]

    def fill(allocate: Allocate) -> None:
        cells, count = cube.sizes["cell"], days.stop - days.start
        inflow = allocate("inflow", (cells, count), np.float32)
        tolerance = allocate("tolerance", (cells,), np.float32)
        for block in cell_blocks(cells, count, len(config.task.dynamic)):
            amount = water_amount(cube.isel(cell=block), form, water, days)
            if water.placebo != "none":
                amount = np.take_along_axis(amount, draw_uniform(seen.isel(cell=block)).argsort(axis=1), axis=1)
            depths = (read(seen, one, block) * layer_thickness(seen, one, block)[:, np.newaxis] for one in layers)
            stored = np.sum([depth.astype(np.float64) for depth in depths], axis=0)
            missed = np.diff(stored, axis=1, prepend=np.nan) - amount
            known = np.isfinite(missed) & is_train
            squares = np.sum(missed**2, axis=1, where=known)
            tolerance[block] = np.sqrt(squares / np.maximum(known.sum(axis=1), 1))
            before = np.isfinite(np.concatenate((np.full((len(stored), 1), np.nan), stored[:, :-1]), axis=1))
            inflow[block] = np.where(before, amount, np.nan)
            forget_pages((inflow,), write=True)

    reading = {"amounts": [form, water.model_dump(mode="json")]}
    return make_arrays(folder, {**identity, **reading}, fill, low_memory=low_memory)
