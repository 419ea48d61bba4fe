"""From a cube to samples: block by block, into memory or into mapped files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from soilcast.cube import usable_target
from soilcast.errors import SoilcastError
from soilcast.memory import held_memory
from soilcast.task import newest_values
from soilcast.training.ahead import WeatherAhead, read_ahead
from soilcast.training.amounts import guiding_amounts
from soilcast.training.arrays import Allocate, Array, forget_pages, make_arrays
from soilcast.training.build import layout_of
from soilcast.training.cell_guidance import cell_guidances
from soilcast.training.config import Config
from soilcast.training.damped import fit_damped
from soilcast.training.inputs import (
    Counts,
    Inputs,
    any_of_next,
    cell_blocks,
    cells_around,
    fit_scalings,
    load_inputs,
    spread_over_cells,
    window_source,
)
from soilcast.training.sample_days import refuse_unlearnable, sample_days
from soilcast.training.samples import SampleIndex, Samples
from soilcast.training.signs import count_signs, guided_layers, guiding_signs, layer_thickness
from soilcast.training.split import Periods, Split, days_in, learning_cells, span
from soilcast.training.statistics import (
    Scaling,
    Statistics,
    column_depth,
    column_unit,
    error_scale,
    layer_bounds,
    persistence_errors,
    root_mean_square,
    scalings_sha256,
)
from soilcast.training.windows import WindowSource
from soilcast.weather import Weather

_FORMAT = 5
_LARGE = ("dynamic", "lags", "newest", "observed", "ahead")
"""Arrays that `Samples.gather` reads windows and targets from."""

_DAMPED = ("climatology", "damping")
_OF_TRAINING, _DEVELOPMENT = "soil.", "development."
"""Statistics of the damped anomaly, and what their names begin with: of the training and of all development days."""

_WORKING_BYTES = 512 * 2**20
"""What reading, normalising and training take beside the samples, measured with blocks of 64 MiB."""


@dataclass(frozen=True)
class Development:
    """What networks are trained anew on: training and validation days together.

    Parameters
    ----------
    samples
        Those of `Dataset`, but that the damped anomaly is learnt from all these days.
    statistics
        Likewise.
    index
        The usable cell-days, by position in `samples`: first forecast days.
    """

    samples: Samples
    statistics: Statistics
    index: SampleIndex


@dataclass(frozen=True)
class Dataset:
    """What a training draws from.

    Parameters
    ----------
    samples
        The development period, and the days before it that its first windows see.
    first
        Position in the cube of the first day of `samples`.
    statistics
        Of the training days.
    training, validation
        The usable cell-days of the two periods, by position in `samples`: first forecast days.
    development
        Both together, where the networks are trained anew on them.
    learnable
        ``(cell,)``, whether all layers that are forecast are there and vary.
    missing, clipped
        Of each dynamic input the days of `samples` on which it is missing or clipped ``(cell, feature)`` int64.
    unobserved
        Of each layer that is forecast the training days without soil moisture ``(cell, layer)`` int64.
    """

    samples: Samples
    first: int
    statistics: Statistics
    training: SampleIndex
    validation: SampleIndex
    development: Development | None
    learnable: npt.NDArray[np.bool_]
    missing: Counts
    clipped: Counts
    unobserved: Counts

    @property
    def water_sign_share(self) -> float:
        """Share of the training cell-days on which Eq. 13 keeps a sign of the water balance."""
        signs = self.samples.water_sign.numpy()
        blocks = cell_blocks(len(signs), self.training.usable.shape[1], 1)
        return sum(count_signs(signs[cells], self.training, cells) for cells in blocks) / len(self.training)


def make_dataset(
    cube: xr.Dataset,
    config: Config,
    split: Split,
    folder: Path | None,
    scalings: Mapping[str, Scaling] | None = None,
    *,
    weather: Weather | None = None,
    low_memory: bool = False,
) -> Dataset:
    """Read, normalise and lay out the development period of a cube.

    No sample reaches from one period into the next: all its forecast days lie in the period of its first, and it sees
    no soil moisture that is kept for later: those of training none of validation and test days, those of validation
    none of test days. Its weather may be of any day before its forecast days.

    Parameters
    ----------
    cube
        An opened cube.
    folder
        Where to keep what does not fit in memory, mapped; processes that train on the same share it. None for memory.
        The samples are the same to the bit.
    scalings
        Statistics to normalise with; by default those of the training days.
    weather
        Forecasts of the weather, issued on each of `days_seen`, instead of the observed weather of the forecast days.
    low_memory
        Keep no more of what is mapped in memory than a batch takes.

    Raises
    ------
    SoilcastError
        There is nothing to learn from, or a period without a usable cell-day.
    """
    task, layout = config.task, layout_of(config)
    days = days_seen(config, split)
    identity = _identity(cube, config, split, scalings)
    identity |= {"weather": weather.sha256} if weather else {}
    arrays = make_arrays(
        folder,
        identity,
        lambda allocate: _fill(allocate, cube, config, split, days, scalings, weather),
        low_memory=low_memory,
    )
    learnable = np.array(arrays["learnable"])
    refuse_unlearnable(learnable, arrays["missing"], days.stop - days.start, cube, config)

    def index_of(name: str, parts: Periods, *hidden: Periods) -> SampleIndex:
        return sample_days(name, parts, hidden, arrays["usable"], days, cube, config)

    train = index_of("training", split.train, split.validation, split.test)
    validation = index_of("validation", split.validation, split.test)
    signs = guiding_signs(folder, identity, cube, config, days, train, low_memory=low_memory)
    amounts: dict[str, torch.Tensor] = {}
    if config.loss.amounts:
        found = guiding_amounts(folder, identity, cube, config, days, split.train, low_memory=low_memory)
        amounts = {name: torch.from_numpy(values) for name, values in found.items()}
    small = {name: np.array(value) for name, value in arrays.items() if name.startswith(("scaling.", "soil."))}
    statistics = Statistics.from_arrays(small, (*task.dynamic, *task.soil_layers, *task.static))
    empty = np.zeros((len(learnable), 0), dtype=np.bool_)
    inputs = Inputs(
        **{name: arrays[name] for name in ("dynamic", "static", "observed", "lags", "newest", "missing", "clipped")},
        ready=empty,
        ahead=empty,
    )
    space = config.loss.space
    if amounts:
        unit = column_unit(space, statistics, task.layers, _thicknesses(cube, config), guided_layers(config))
        amounts["per_metre"] = torch.from_numpy(spread_over_cells(1 / unit.astype(np.float64), len(learnable)))
    forecast = WeatherAhead(arrays["ahead"], arrays["ahead_known"]) if weather else None
    large = tuple(arrays[name] for name in _LARGE if name in arrays) if folder and low_memory else ()

    around = cells_around(cube, task)

    def source_of(statistics: Statistics) -> WindowSource:
        time, ready = cube["time"].to_numpy()[days], arrays.get("ready")
        return window_source(inputs, layout, cube, time, statistics, forecast=forecast, around=around, ready=ready)

    samples = Samples(
        source=source_of(statistics),
        layout=layout,
        observed=torch.from_numpy(arrays["observed"]),
        water_sign=torch.from_numpy(signs),
        error_scale=_tensor(error_scale(space, statistics, task.layers), len(learnable)),
        depth=_guided_depth(cube, config, statistics),
        bounds=_tensor(layer_bounds(statistics, task.layers), len(learnable)) if config.loss.bounds else None,
        **amounts,
        mapped=large,
    )
    counts = [np.array(arrays[name]) for name in ("missing", "clipped", "unobserved")]
    development = None
    if config.train.refit:
        of_all = statistics
        if layout.damped:
            climatology, damping = (np.array(arrays[_DEVELOPMENT + name]) for name in _DAMPED)
            of_all = replace(statistics, climatology=climatology, damping=damping)
        index = index_of("development", split.development, split.test)
        development = Development(replace(samples, source=source_of(of_all)), of_all, index)
    return Dataset(samples, days.start, statistics, train, validation, development, learnable, *counts)


def days_seen(config: Config, split: Split) -> slice:
    """Positions of the days of samples: the development period, and the days before it that its first windows see."""
    learnt = span(split.development)
    return slice(max(0, learnt.start - config.task.window), learnt.stop)


def choose_folder(
    cube: xr.Dataset, config: Config, split: Split, memory: int | None, folder: Path, forecasts: bool = False
) -> Path | None:
    """Say where samples are to be kept so that training holds no more than ``memory`` [bytes]: see `make_dataset`.

    ``forecasts`` says whether the weather of the forecast days is that of forecasts.

    Raises
    ------
    SoilcastError
        Even with the samples in files it would be more.
    """
    if memory is None:
        return None
    cells, task = cube.sizes["cell"], config.task
    seen = days_seen(config, split)
    days = seen.stop - seen.start
    soil = len(task.lags) + len(task.layers) * (1 + task.sees_own_layers)
    ahead = task.lead_days * len(task.known_future) * forecasts
    large = cells * days * (4 * (len(task.dynamic) + soil + ahead + bool(config.loss.amounts)) + 1)
    always = held_memory() + _WORKING_BYTES + cells * days * 3
    if always > memory:
        raise SoilcastError(
            f"--memory {memory / 2**20:.0f} MiB is too little for {_source(cube)}: training takes at least "
            f"{always / 2**20:.0f} MiB: increase it, or set a shorter split.development"
        )
    return None if always + large <= memory else folder


def _identity(cube: xr.Dataset, config: Config, split: Split, scalings: Mapping[str, Scaling] | None) -> dict[str, Any]:
    """All that the arrays of samples depend on, as `make_arrays` asks for it."""
    held = split.train, split.validation, split.test
    days = [days_seen(config, split).start, *([[part.start, part.stop] for part in parts] for parts in held)]
    return {
        "format": _FORMAT,
        "cube": cube.attrs["content_sha256"],
        "task": config.task.model_dump(mode="json", exclude={"quantiles"}),
        "normalise": config.normalise.model_dump(mode="json"),
        "statistics": scalings_sha256(scalings) if scalings else None,
        "damped": [layout_of(config).damped, config.train.refit],
        "cells": [config.split.cells_share, config.split.without_climate],
        "days": days,
    }


def _fill(
    allocate: Allocate,
    cube: xr.Dataset,
    config: Config,
    split: Split,
    days: slice,
    given: Mapping[str, Scaling] | None,
    weather: Weather | None,
) -> None:
    task, by_cell = config.task, config.normalise.scope == "per_cell"
    among = learning_cells(cube, config.split)
    scalings = given or fit_scalings(cube, task, config.normalise, split.train, among)
    seen = cube.isel(time=days)
    cells, count, layers = cube.sizes["cell"], seen.sizes["time"], len(task.layers)
    features = {
        "dynamic": len(task.dynamic),
        "observed": layers,
        "lags": len(task.lags),
        "newest": layers * task.sees_own_layers,
    }
    by_day = {name: allocate(name, (cells, count, features[name]), np.float32) for name in features}
    static = allocate("static", (cells, len(task.static)), np.float32)
    if weather is not None:
        shape = (cells, count, task.lead_days, len(task.known_future))
        by_day["ahead"] = allocate("ahead", shape, np.float32)
        ahead_known = allocate("ahead_known", shape[:3], np.bool_)
    usable = allocate("usable", (cells, count), np.bool_)
    ready = allocate("ready", (cells, count), np.bool_) if task.neighbourhood > 1 else None
    learnable = allocate("learnable", (cells,), np.bool_)
    counts = {name: allocate(name, (cells, len(task.dynamic)), np.int64) for name in ("missing", "clipped")}
    unobserved = allocate("unobserved", (cells, layers), np.int64)
    train = [slice(part.start - days.start, part.stop - days.start) for part in split.train]
    is_held_back = days_in((*split.validation, *split.test), days)
    latency = tuple(task.latency_of(layer) for layer in task.layers)
    errors, highest = np.empty((2, cells, task.lead_days, layers)), np.empty((cells, layers))
    damped_of = {_OF_TRAINING: split.train} if layout_of(config).damped else {}
    if damped_of and config.train.refit:
        damped_of[_DEVELOPMENT] = split.development
    damped: dict[str, list[tuple[Array, Array]]] = {begin: [] for begin in damped_of}
    for block in cell_blocks(cells, count, sum(features.values()) + (weather.size // count if weather else 0)):
        own = {name: scaling.of_cells(block) for name, scaling in scalings.items()}
        inputs = load_inputs(seen, task, own, block)
        for name in features:
            by_day[name][block] = getattr(inputs, name)[..., : features[name]]
        forecast = None
        if weather is not None:
            (forecast,) = read_ahead(weather, own, block, task.lead_days)
            by_day["ahead"][block], ahead_known[block] = forecast.values, forecast.known
        static[block] = inputs.static
        for name, array in counts.items():
            array[block] = getattr(inputs, name)
        observed = np.concatenate([inputs.observed[:, part] for part in train], axis=1)
        varies = [usable_target(own[layer].restore(observed[..., number])) for number, layer in enumerate(task.layers)]
        learnable[block] = np.all([*varies, among[block]], axis=0)
        came = any_of_next(np.asarray(np.isfinite(inputs.observed).any(axis=2)), task.lead_days)
        first_days = inputs.first_days(task, task.lead_days, forecast)
        usable[block] = first_days & came & learnable[block, np.newaxis]
        if ready is not None:
            ready[block] = first_days
        newest = inputs.newest
        if is_held_back[: train[-1].stop].any():  # as where training follows the test
            held = np.where(is_held_back[:, np.newaxis], np.float32(np.nan), inputs.observed)
            newest = newest_values(held, task.fill_days)
        errors[:, block] = sum(
            persistence_errors(inputs.observed[:, part], newest[:, part], task.lead_days, latency) for part in train
        )
        for begin, periods in damped_of.items():
            learn = days_in(periods, days)
            known = np.where(learn[:, np.newaxis], inputs.observed, np.float32(np.nan))
            damped[begin].append(fit_damped(known, cube["time"].to_numpy()[days], learn, task))
        unobserved[block] = observed.shape[1] - np.isfinite(observed).sum(axis=1)
        most = np.max(observed, axis=1, where=np.isfinite(observed), initial=-np.inf)
        most = np.where(np.isfinite(most), most, np.float32(np.nan))
        for number, layer in enumerate(task.layers):
            highest[block, number] = own[layer].restore(most[:, number])
        forget_pages((*by_day.values(), usable), write=True)
    porosity = highest if by_cell else np.nanmax(highest[among], axis=0, keepdims=True)
    stored = Statistics(scalings, root_mean_square(errors, among, by_cell=by_cell), porosity).to_arrays()
    for begin, blocks in damped.items():
        of_all = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        stored |= {begin + name: values for name, values in zip(_DAMPED, of_all, strict=True)}
    for name, value in stored.items():
        allocate(name, value.shape, value.dtype)[:] = value


def _guided_depth(cube: xr.Dataset, config: Config, statistics: Statistics) -> torch.Tensor | None:
    """Give `Targets.depth` ``(cell, layer)``: as deep in each cell as makes Eq. 14 count as its guidance is to."""
    if not config.guided:
        return None
    space, layers, thickness = config.loss.space, config.task.layers, _thicknesses(cube, config)
    depth = np.zeros((cube.sizes["cell"], len(layers)), dtype=np.float32)
    for one in cell_guidances(cube, config):
        if one.config.balance:
            of_all = column_depth(space, statistics, layers, thickness, guided_layers(one.config))
            weighted = of_all * np.sqrt(one.strength)  # Eq. 14 takes squares
            depth[one.cells] = spread_over_cells(weighted, len(depth))[one.cells]
    return torch.from_numpy(depth)


def _thicknesses(cube: xr.Dataset, config: Config) -> Array:
    """Thickness of the layers that are forecast ``(cell, layer)`` [m]."""
    return np.stack([layer_thickness(cube, layer) for layer in config.task.layers], axis=-1)


def _tensor(values: npt.NDArray[np.floating] | None, cells: int) -> torch.Tensor | None:
    return None if values is None else torch.from_numpy(spread_over_cells(values, cells))


def _source(cube: xr.Dataset) -> str:
    return str(cube.encoding.get("source", "the cube"))
