"""From a cube to samples of outlooks: block by block, into memory or into mapped files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from soilcast.cube import read, thickness_name, usable_target
from soilcast.cube.calendar import Days
from soilcast.errors import SoilcastError
from soilcast.models import MODELS
from soilcast.training.arrays import Allocate, Array, forget_pages, make_arrays
from soilcast.training.config import Config
from soilcast.training.dataset import (
    Dataset,
    days_seen,
    identity_of,
    make_signs,
    refuse_empty,
    refuse_unlearnable,
)
from soilcast.training.groups import learning_cells
from soilcast.training.inputs import cell_blocks, fit_scalings, load_inputs
from soilcast.training.known import Known, horizon_of
from soilcast.training.normalise import Scaling, from_arrays, to_arrays
from soilcast.training.outlook_samples import OutlookSamples
from soilcast.training.outlook_statistics import (
    OutlookStatistics,
    PersistenceErrors,
    newest_values,
    persistence_errors,
)
from soilcast.training.samples import CellDays
from soilcast.training.split import Split

Floats = npt.NDArray[np.float32]

_FORMAT = 2
_YEAR = 365.2425


def make_outlook_dataset(
    cube: xr.Dataset,
    config: Config,
    split: Split,
    folder: Path | None,
    scalings: Mapping[str, Scaling] | None = None,
    *,
    frugal: bool = False,
) -> Dataset:
    """Read, normalise and lay out the development period of a cube for outlooks.

    No window reaches from one period into the next: all its days ahead lie in the period of its first.

    Parameters
    ----------
    cube, config, split, folder, scalings, frugal
        See `soilcast.training.dataset.make_dataset`.

    Raises
    ------
    SoilcastError
        There is nothing to learn from, or a period without a usable cell-day.
    """
    days = days_seen(config, split)
    first = days.start
    own = {"format": _FORMAT, "layers": config.layers, "lead_days": config.outlook.lead_days}
    identity = identity_of(cube, config, split, scalings) | own
    arrays = make_arrays(
        folder, identity, lambda allocate: _fill(allocate, cube, config, split, days, scalings), frugal=frugal
    )
    seen = cube.isel(time=days)
    signs = make_signs(
        folder, identity, cube, config, days, lambda block: _water_followed(seen, config, block), frugal=frugal
    )
    learnable = np.array(arrays["learnable"])
    refuse_unlearnable(learnable, cube, config)
    leads = config.outlook.lead_days
    _refuse_short({"training": split.train, "validation": split.validation}, cube, leads)
    train, validation = (
        CellDays(arrays["usable"], slice(part.start - first, max(part.start, part.stop - leads + 1) - first))
        for part in (split.train, split.validation)
    )
    refuse_empty({"training": train, "validation": validation}, cube, config, split.validation.stop - first)
    copied = {name: np.array(value) for name, value in arrays.items() if name.startswith(("scaling.", "outlook."))}
    taken = from_arrays(copied, (*config.inputs.dynamic, *config.observed_layers, *config.inputs.static))
    statistics = OutlookStatistics.from_arrays(copied)
    horizon = horizon_of(config)
    known = Known(
        dynamic=torch.from_numpy(arrays["dynamic"]),
        lags=torch.from_numpy(arrays["lags"]),
        anchor=torch.from_numpy(arrays["newest"]),
        calendar=torch.from_numpy(day_of_year_waves(cube["time"].to_numpy()[days])),
        static=torch.from_numpy(arrays["static"]),
        **physical_tensors(cube, config, taken, statistics, slice(None)),
    )
    samples = OutlookSamples(
        known,
        horizon,
        torch.from_numpy(arrays["observed"]),
        torch.from_numpy(_spread(1 / statistics.persistence_error, len(learnable))),
        torch.from_numpy(signs),
        torch.from_numpy(_depths(cube, config, taken, statistics)),
        torch.from_numpy(_bounds(config, taken, statistics, len(learnable))),
        tuple(arrays[name] for name in ("dynamic", "lags", "newest", "observed")) if folder and frugal else (),
    )
    return Dataset(samples, first, taken, train, validation, learnable, statistics)


def day_of_year_waves(days: Days) -> Floats:
    """Sine and cosine of the day of the year, ``(time, 2)``."""
    angle = 2 * np.pi * days.astype("datetime64[D]").astype(np.int64) / _YEAR
    return np.stack((np.sin(angle), np.cos(angle)), axis=1).astype(np.float32)


def physical_tensors(
    cube: xr.Dataset, config: Config, scalings: Mapping[str, Scaling], statistics: OutlookStatistics, cells: slice
) -> dict[str, torch.Tensor]:
    """Give the parts `rain` and `physical` of `Known` for some cells, whose statistics these are."""
    count = len(range(*cells.indices(cube.sizes["cell"])))
    if horizon_of(config).rain is None:
        return {"rain": torch.zeros(count, 2), "physical": torch.zeros(count, 0)}
    rain = np.stack((scalings["tp"].offset, scalings["tp"].scale), axis=-1)
    of_layers = []
    for layer, name in enumerate(config.layers):
        thickness = read(cube, thickness_name(name), cells)
        parts = (scalings[name].offset, scalings[name].scale, thickness, statistics.porosity[:, layer])
        of_layers += [np.broadcast_to(part, count) for part in parts]
    return {
        "rain": torch.from_numpy(_spread(rain, count)),
        "physical": torch.from_numpy(np.stack(of_layers, axis=-1).astype(np.float32)),
    }


def load_soil(
    cube: xr.Dataset, config: Config, scalings: Mapping[str, Scaling], cells: slice, *, beyond: int = 0
) -> dict[str, Floats]:
    """Read and normalise the soil moisture of some cells, by layer ``(cell, time)``; NaN where missing or beyond."""
    padded = ((0, 0), (0, beyond))
    return {
        layer: np.pad(scalings[layer].normalise(read(cube, layer, cells)), padded, constant_values=np.nan)
        for layer in config.observed_layers
    }


def stack_layers(soil: Mapping[str, Floats], layers: tuple[str, ...], like: tuple[int, int]) -> Floats:
    """Put layers side by side, ``(cell, time, layer)``; there may be none."""
    if not layers:
        return np.zeros((*like, 0), dtype=np.float32)
    return np.stack([soil[layer] for layer in layers], axis=-1)


def issue_days_ready(
    config: Config, ready: npt.NDArray[np.bool_], ahead: npt.NDArray[np.bool_], newest: Floats, leads: int | None = None
) -> npt.NDArray[np.bool_]:
    """Say which days can be the first ahead: the weather that their windows see is there, and a newest soil moisture.

    Parameters
    ----------
    ready, ahead
        See `soilcast.training.inputs.Inputs`.
    newest
        ``(cell, time, layer)``.
    leads
        Days ahead that are asked for, by default all.

    Returns
    -------
    ``(cell, time)``.
    """
    horizon = horizon_of(config)
    usable = ready.copy()
    if horizon.ahead:
        usable &= _followed(ahead, leads or horizon.leads)
    if horizon.anchored:
        back = 1 + horizon.latency
        there = np.asarray(np.isfinite(newest).all(axis=2))
        usable[:, :back] = False
        usable[:, back:] &= there[:, :-back]
    return usable


def _refuse_short(periods: Mapping[str, slice], cube: xr.Dataset, leads: int) -> None:
    for name, part in periods.items():
        if part.stop - part.start < leads:
            raise SoilcastError(
                f"{cube.encoding.get('source', 'the cube')}: the {name} period of {part.stop - part.start} day(s) has "
                f"no room for outlook.lead_days {leads}: set fewer, or a longer split.development"
            )


def _fill(
    allocate: Allocate,
    cube: xr.Dataset,
    config: Config,
    split: Split,
    days: slice,
    given: Mapping[str, Scaling] | None,
) -> None:
    inputs, layers = config.inputs, config.layers
    among = learning_cells(cube, config.split)
    scalings = given or fit_scalings(cube, inputs, config.normalise, split.train, config.observed_layers, among)
    for name, value in to_arrays(scalings).items():
        allocate(name, value.shape, value.dtype)[:] = value
    seen = cube.isel(time=days)
    cells, count, features = cube.sizes["cell"], seen.sizes["time"], len(inputs.dynamic)
    shape = (cells, count)
    dynamic = allocate("dynamic", (*shape, features), np.float32)
    static = allocate("static", (cells, len(inputs.static)), np.float32)
    lags = allocate("lags", (*shape, len(inputs.lags)), np.float32)
    observed = allocate("observed", (*shape, len(layers)), np.float32)
    newest = allocate("newest", (*shape, len(layers)), np.float32)
    usable = allocate("usable", shape, np.bool_)
    learnable = allocate("learnable", (cells,), np.bool_)
    train = slice(split.train.start - days.start, split.train.stop - days.start)
    errors, highest = [], []
    horizon = horizon_of(config)
    for block in cell_blocks(cells, count, features + len(config.observed_layers) + len(layers)):
        own = {name: scaling.of_cells(block) for name, scaling in scalings.items()}
        part = load_inputs(seen, inputs, own, block)
        dynamic[block], static[block] = part.dynamic, part.static
        soil = load_soil(seen, config, own, block)
        like = part.ready.shape
        lags[block] = stack_layers(soil, inputs.lags, like)
        observed[block] = stack_layers(soil, layers, like)
        newest[block] = newest_values(observed[block], inputs.fill_days)
        varies = [usable_target(own[layer].restore(soil[layer][:, train])) for layer in layers]
        learnable[block] = np.all([*varies, among[block]], axis=0)
        able = issue_days_ready(config, part.ready, part.ahead, newest[block])
        came = np.asarray(np.isfinite(observed[block]).any(axis=2))
        usable[block] = able & _followed(came, horizon.leads, all_days=False) & learnable[block, np.newaxis]
        errors.append(persistence_errors(observed[block], newest[block], horizon.leads, horizon.latency, train))
        highest.append(_highest(soil, layers, own, train))
        forget_pages((dynamic, lags, observed, newest, usable), write=True)
    by_cell = config.normalise.scope == "per_cell"
    sums = PersistenceErrors(*(np.concatenate([getattr(one, name) for one in errors]) for name in ("squares", "count")))
    porosity = np.concatenate(highest)
    statistics = OutlookStatistics(
        sums.errors(among, by_cell=by_cell), porosity if by_cell else np.nanmax(porosity[among], axis=0, keepdims=True)
    )
    for name, value in statistics.to_arrays().items():
        allocate(name, value.shape, value.dtype)[:] = value


def _highest(soil: Mapping[str, Floats], layers: tuple[str, ...], own: Mapping[str, Scaling], train: slice) -> Any:
    """Highest soil moisture of the training days ``(cell, layer)`` float64 [m3 m-3]; NaN without any."""
    found = []
    for layer in layers:
        most = np.max(soil[layer][:, train], axis=1, where=np.isfinite(soil[layer][:, train]), initial=-np.inf)
        found.append(own[layer].restore(np.where(np.isfinite(most), most, np.nan)).astype(np.float64))
    return np.stack(found, axis=1)


def _followed(days: npt.NDArray[np.bool_], leads: int, *, all_days: bool = True) -> npt.NDArray[np.bool_]:
    """Say of which days that day and the following ``leads - 1``, all or any of them, are among ``days``."""
    counts = np.zeros((days.shape[0], days.shape[1] + leads), dtype=np.int32)
    np.cumsum(days, axis=1, out=counts[:, 1 : days.shape[1] + 1])
    counts[:, days.shape[1] + 1 :] = counts[:, days.shape[1], np.newaxis]
    found = counts[:, leads:] - counts[:, :-leads]
    return np.asarray(found == leads if all_days else found > 0)


def _water_followed(seen: xr.Dataset, config: Config, block: slice) -> Floats:
    """Observed water of some cells that is to follow dW ``(cell, time)``: of all layers together, or of the target."""
    if not _is_column(config):
        return read(seen, config.inputs.target, block)
    depths = [
        read(seen, layer, block) * read(seen, thickness_name(layer), block)[:, np.newaxis] for layer in config.layers
    ]
    return np.asarray(np.sum(depths, axis=0))


def _is_column(config: Config) -> bool:
    """Whether dW is of the water of all layers that are forecast: W1, which takes no deeper layer from the balance."""
    return MODELS[config.model].form == "single" and len(config.layers) > 1


def _depths(cube: xr.Dataset, config: Config, scalings: Mapping[str, Scaling], statistics: OutlookStatistics) -> Floats:
    """See `OutlookTargets.depth`: of the one layer that dW is of, or of all by their depth of water."""
    cells, layers = cube.sizes["cell"], config.layers
    error = statistics.persistence_error[:, 0]
    depth = np.zeros((cells, len(layers)), dtype=np.float64)
    if _is_column(config):
        for position, layer in enumerate(layers):
            depth[:, position] = scalings[layer].scale * read(cube, thickness_name(layer))
        depth /= np.sqrt(np.sum((depth * error) ** 2, axis=1, keepdims=True))
    elif config.inputs.target in layers:
        position = layers.index(config.inputs.target)
        depth[:, position] = 1 / error[:, position]
    return depth.astype(np.float32)


def _bounds(config: Config, scalings: Mapping[str, Scaling], statistics: OutlookStatistics, cells: int) -> Floats:
    bounds = np.zeros((cells, len(config.layers), 2), dtype=np.float32)
    for position, layer in enumerate(config.layers):
        porosity = np.broadcast_to(statistics.porosity[:, position], cells)
        bounds[:, position] = np.stack(
            [np.broadcast_to(scalings[layer].normalise(one), cells) for one in (np.zeros_like(porosity), porosity)],
            axis=-1,
        )
    return np.nan_to_num(bounds)


def _spread(values: Array, cells: int) -> Floats:
    """Give every cell its row, where there is one for all."""
    return np.ascontiguousarray(np.broadcast_to(values, (cells, *values.shape[1:])), dtype=np.float32)
