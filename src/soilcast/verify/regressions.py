"""Regressions as baselines: fitted to the inputs of a forecast's run, cut and normalised as the run does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.models.regressions import REGRESSIONS, RegressionSamples, Regressor, refuse_unusable
from soilcast.schema import validate
from soilcast.task import Layout
from soilcast.training.config import Config
from soilcast.training.dataset import Dataset, days_seen, make_dataset
from soilcast.training.inputs import block_size, fit_scalings, load_inputs, missing_inputs, window_source
from soilcast.training.sample_days import first_days_within
from soilcast.training.samples import SampleIndex, fixed_sample
from soilcast.training.split import Periods, Split, learning_cells
from soilcast.training.statistics import Statistics
from soilcast.verify.entry import Entry
from soilcast.verify.extremes import Floats
from soilcast.verify.overlap import FEWEST_LEARNT, Overlap

MOST_SAMPLES = 100_000
"""Cell-days that a regression is fitted to, of training and validation together."""

WITH_WEATHER = " (with observed weather ahead)"
"""End of the name of a regression whose inputs include the weather of the forecast days, which the cube observed."""

_SAMPLE_BYTES = 256 * 2**20
_AT_ONCE = 4096
_STEADY = ("newest", "static", "calendar")
"""Channels of which a regression sees the step of the first forecast day alone: the others follow from it."""

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RegressionBaseline:
    """A regression on the inputs of a run.

    Parameters
    ----------
    config
        Task, normalisation and cells to learn from of the run.
    split
        Days that it learns from, as positions along the cube's time.
    leads
        Its longest lead [d].
    statistics
        Of the training days, of the cells that are evaluated.
    trained, refitted
        Fitted to training days; to training and validation days.
    """

    config: Config
    split: Split = field(repr=False)
    leads: int
    statistics: Statistics = field(repr=False)
    trained: Regressor = field(repr=False)
    refitted: Regressor = field(repr=False)

    @property
    def verified_days(self) -> Positions:
        """First forecast days, as positions along the cube's time, of which all leads are in validation."""
        whole, inside = first_days_within(self.split.validation, (self.split.test,), self.config)
        return np.asarray(np.flatnonzero(inside) + whole.start)

    def forecast(self, cube: xr.Dataset, cells: slice, target: str, first_days: Positions, *, trained: bool) -> Floats:
        """Forecast a target.

        Parameters
        ----------
        cube, cells
            The opened cube, of the cells that are evaluated, and which of them.
        first_days
            Positions of first forecast days along its time, ascending ``(day,)``.
        trained
            By the fit to the training days alone.

        Returns
        -------
        ``(cell, day, lead)`` [m3 m-3]; NaN where inputs are missing.
        """
        task, layout = self.config.task, Layout(self.config.task)
        start = max(0, int(first_days[0]) - task.window - task.soil_latency - task.fill_days)
        stop = min(int(first_days[-1]) + task.lead_days, cube.sizes["time"])
        beyond = int(first_days[-1]) + task.lead_days - stop
        seen = cube.isel(time=slice(start, stop))
        time = seen["time"].to_numpy()
        time = np.concatenate([time, time[-1:] + np.arange(1, beyond + 1) * np.timedelta64(1, "D")])
        statistics = self.statistics.of_cells(cells)
        inputs = load_inputs(seen, task, statistics.scalings, cells, beyond=beyond)
        source = window_source(inputs, layout, cube, time, statistics, cells)
        ready = inputs.first_days(task, self.leads)[:, first_days - start]
        layer = task.layers.index(target)
        regressor = self.trained if trained else self.refitted
        values = np.full((*ready.shape, self.leads), np.nan, dtype=np.float32)
        for cell, is_ready in enumerate(ready):
            at = torch.from_numpy(first_days[is_ready] - start)
            features, newest = _features(source.gather(layout, torch.full_like(at, cell), at), layout, self.leads)
            for lead in range(self.leads):
                values[cell, is_ready, lead] = regressor(features, lead, layer) + newest[:, layer]
        restored = statistics.scalings[target].restore(values)
        return np.clip(restored, 0.0, 1.0) if task.sees_own_layers else restored


def labels_of(names: Sequence[str]) -> tuple[str, ...]:
    """Labels that regressions of some names may have."""
    return tuple(name + end for name in names for end in ("", WITH_WEATHER))


def fit_regressions(
    names: Sequence[str], entries: Sequence[Entry], overlap: Overlap, cube: xr.Dataset, cube_path: Path
) -> dict[str, RegressionBaseline]:
    """Fit regressions on the inputs of the forecasts' runs.

    Parameters
    ----------
    names
        Keys of `REGRESSIONS`.
    entries
        The forecasts. The inputs are those of the first whose run knows no weather of the forecast days and, in another
        regression, whose label ends in `WITH_WEATHER`, those of the first whose run does.
    overlap
        Cells, days and leads.
    cube, cube_path
        The opened cube and its path.

    Returns
    -------
    Label -> regression.

    Raises
    ------
    SoilcastError
        There is no such regression, or its extra is not installed; the cube lacks inputs or days to learn from.
    """
    refuse_unusable(names)
    if not names:
        return {}
    few = [name for name in ("training", "validation") if getattr(overlap, name).sum() < FEWEST_LEARNT]
    if few:
        raise SoilcastError(
            f"{cube_path}: fewer than {FEWEST_LEARNT} {few[0]} days, to which regressions are fitted: give the cube "
            "that the runs were trained on, or ask for no other baseline"
        )
    evaluated = cube.isel(cell=overlap.cells)
    split = Split(*(_periods(days) for days in (overlap.training, overlap.validation, ~overlap.learn)))
    fitted = {}
    for config in _configs(entries, cube, cube_path).values():
        statistics, training, validation = _draw_samples(evaluated, config, split, overlap.leads)
        for name in dict.fromkeys(names):
            models = REGRESSIONS[name](training, validation)
            label = name + (WITH_WEATHER if config.task.known_future else "")
            fitted[label] = RegressionBaseline(config, split, overlap.leads, statistics, *models)
    return fitted


def _configs(entries: Sequence[Entry], cube: xr.Dataset, cube_path: Path) -> Mapping[bool, Config]:
    """The first run's config without, and with weather of the forecast days."""
    configs: dict[bool, Config] = {}
    for entry in entries:
        keys = {key: entry.config[key] for key in ("task", "normalise", "split") if key in entry.config}
        config = validate(Config, keys, f"{entry.path}: config")
        task = config.task.for_cube({str(name) for name in cube.variables}).model_copy(
            update={"quantiles": (), "neighbourhood": 1}
        )
        if bool(task.known_future) in configs:
            continue
        if lacking := missing_inputs(cube, task):
            raise SoilcastError(
                f"{cube_path}: no {lacking[0][0]} of the run of {entry.path}, from which its regressions forecast: "
                "give the cube that it was trained on"
            )
        configs[bool(task.known_future)] = Config(task=task, normalise=config.normalise, split=config.split)
    return configs


def _draw_samples(
    cube: xr.Dataset, config: Config, split: Split, leads: int
) -> tuple[Statistics, RegressionSamples, RegressionSamples]:
    """Statistics of the training days, and samples of training and validation, drawn with a fixed seed."""
    task = config.task
    among = learning_cells(cube, config.split)
    scalings = fit_scalings(cube, task, config.normalise, split.train, among)
    cells, days = np.flatnonzero(among), days_seen(config, split)
    most = block_size(days.stop - days.start, len(task.dynamic) + 3 * len(task.soil_layers), _SAMPLE_BYTES)
    if len(cells) > most:
        cells = np.sort(np.random.default_rng(0).choice(cells, most, replace=False))
    own = {name: scaling.of_cells(cells) for name, scaling in scalings.items()}
    of_all_cells = Config(task=task, normalise=config.normalise)
    dataset = make_dataset(cube.isel(cell=cells), of_all_cells, split, None, own)
    share = min(1.0, MOST_SAMPLES / (len(dataset.training) + len(dataset.validation)))
    training, validation = (
        _gather(dataset, index, round(share * len(index)), leads) for index in (dataset.training, dataset.validation)
    )
    unused = np.empty((1, 0, 0))
    return Statistics(scalings, unused, unused[0]), training, validation


def _gather(dataset: Dataset, index: SampleIndex, count: int, leads: int) -> RegressionSamples:
    indices, layout = fixed_sample(index, max(1, count), 0), dataset.samples.layout
    features, targets = [], []
    for start in range(0, len(indices.cells), _AT_ONCE):
        batch = dataset.samples.gather(indices[start : start + _AT_ONCE])
        known, newest = _features(batch.windows, layout, leads)
        features.append(known)
        targets.append(batch.targets.observed.numpy()[:, :leads] - newest[:, np.newaxis])
    return RegressionSamples(np.concatenate(features), np.concatenate(targets), _widths(layout, leads))


def _features(windows: torch.Tensor, layout: Layout, leads: int) -> tuple[Floats, Floats]:
    """Flatten windows ``(step, sample, feature)``: see `_widths`.

    Returns
    -------
    ``(sample, feature)`` float32; and what forecasts are changes from ``(sample, layer)``: the newest soil moisture, or
    0 where the run does not see it.
    """
    steady, moving = _channels(layout)
    first, task = windows[layout.task.window - 1], layout.task
    steps = task.window + (leads - 1) * bool(task.known_future)
    by_step = windows[:steps, :, moving].permute(1, 0, 2).flatten(1)
    newest = first[:, layout.channels["newest"]] if task.sees_own_layers else torch.zeros(len(first), len(task.layers))
    return torch.cat([first[:, steady], by_step], dim=1).numpy(), newest.numpy()


def _widths(layout: Layout, leads: int) -> tuple[int, ...]:
    """Features of each lead: what does not change from step to step, then step by step what was known up to its day."""
    steady, moving = _channels(layout)
    further = len(moving) * bool(layout.task.known_future)
    return tuple(len(steady) + len(moving) * layout.task.window + further * lead for lead in range(leads))


def _channels(layout: Layout) -> tuple[list[int], list[int]]:
    """Positions of the features of a step that are taken once, and of those that are taken of every step."""
    places = {name: list(range(place.start, place.stop)) for name, place in layout.channels.items()}
    steady = [position for name in _STEADY for position in places[name]]
    return steady, [position for position in range(layout.features) if position not in steady]


def _periods(days: npt.NDArray[np.bool_]) -> Periods:
    """Runs of days ``(time,)`` as slices."""
    edges = np.flatnonzero(np.diff(days, prepend=False, append=False)).reshape(-1, 2)
    return tuple(slice(int(start), int(stop)) for start, stop in edges)
