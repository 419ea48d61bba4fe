"""From a cube to normalised arrays: the same way for training and for forecasting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import read
from soilcast.errors import SoilcastError
from soilcast.training.config import InputsConfig, NormaliseConfig
from soilcast.training.normalise import Scaling, fit_scaling

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Inputs:
    """What a network sees of some cells and days.

    Parameters
    ----------
    dynamic
        ``(cell, time, feature)`` float32, normalised; 0 where missing.
    static
        ``(cell, feature)`` float32, normalised; 0 where missing.
    ready
        ``(cell, time)``, whether the day can be forecast: all inputs of the days before it are there.
    """

    dynamic: Floats
    static: Floats
    ready: npt.NDArray[np.bool_]


def refuse_missing_inputs(cube: xr.Dataset, config: InputsConfig) -> None:
    """Raise `SoilcastError` that names the inputs that the cube lacks, and the setting that would do without."""
    for kind in ("dynamic", "static"):
        wanted: tuple[str, ...] = getattr(config, kind)
        missing = [name for name in wanted if name not in cube]
        if missing:
            there = ",".join(name for name in wanted if name in cube)
            source = cube.encoding.get("source") or cube.attrs.get("title", "the cube")
            remedy = f"use --set inputs.{kind}=[{there}], or" if there or kind == "static" else "name"
            raise SoilcastError(
                f"{source}: no {', '.join(missing)}, which inputs.{kind} asks for: {remedy} other variables that "
                "soilcast inspect shows"
            )
    if config.target not in cube:
        raise SoilcastError(f"{cube.encoding.get('source', 'the cube')}: no target {config.target}: set inputs.target")


def fit_scalings(
    cube: xr.Dataset, inputs: InputsConfig, normalise: NormaliseConfig, train: slice
) -> dict[str, Scaling]:
    """Take the statistics of every input and of the target from the training days alone.

    Parameters
    ----------
    cube
        An opened cube.
    train
        Positions of the training days.

    Returns
    -------
    Name -> statistics, of each cell ``(cell,)`` or of all ``(1,)``.
    """
    learnt = cube.isel(time=train)
    names = dict.fromkeys((*inputs.dynamic, inputs.target))
    scalings = {name: fit_scaling(read(learnt, name), normalise) for name in names}
    return scalings | {name: fit_scaling(read(cube, name), normalise, static=True) for name in inputs.static}


def load_inputs(
    cube: xr.Dataset, config: InputsConfig, scalings: Mapping[str, Scaling], cells: slice = slice(None)
) -> Inputs:
    """Read and normalise the inputs of some cells over all days of ``cube``.

    Parameters
    ----------
    cube
        An opened cube, cut to the days wanted.
    scalings
        Statistics of these very cells, or of all.
    """
    count = len(range(*cells.indices(cube.sizes["cell"])))
    days = cube.sizes["time"]
    dynamic = np.empty((count, days, len(config.dynamic)), dtype=np.float32)
    static = np.empty((count, len(config.static)), dtype=np.float32)
    for feature, name in enumerate(config.dynamic):
        dynamic[:, :, feature] = scalings[name].normalise(read(cube, name, cells))
    for feature, name in enumerate(config.static):
        static[:, feature] = scalings[name].normalise(read(cube, name, cells))
    described = np.asarray(np.isfinite(static).all(axis=1))
    complete = np.isfinite(dynamic).all(axis=2) & described[:, np.newaxis]
    np.nan_to_num(dynamic, copy=False)
    np.nan_to_num(static, copy=False)
    return Inputs(dynamic, static, _after_complete_days(complete, config.sequence_length))


def _after_complete_days(complete: npt.NDArray[np.bool_], length: int) -> npt.NDArray[np.bool_]:
    """Whether all of the ``length`` days before a day are complete, ``(cell, time)``."""
    gaps = np.zeros((complete.shape[0], complete.shape[1] + 1), dtype=np.int32)
    np.cumsum(~complete, axis=1, out=gaps[:, 1:])
    ready = np.zeros_like(complete)
    ready[:, length:] = gaps[:, length:-1] == gaps[:, : -1 - length]
    return ready
