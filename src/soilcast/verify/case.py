"""What is evaluated, and on which days: all that a worker needs beside the numbers of the cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

from soilcast.cube import open_artifact, open_cube
from soilcast.cube.calendar import Days
from soilcast.errors import SoilcastError
from soilcast.models.baselines import BASELINES
from soilcast.verify.common import FEWEST_LEARNT, Common, Positions, find_common, span
from soilcast.verify.consistency import Readings
from soilcast.verify.entry import Entry, mark_of
from soilcast.verify.metrics import METRICS, Metric

REFERENCE = "persistence"
"""The baseline that skill and ratios are against."""


@dataclass(frozen=True)
class Case:
    """What is evaluated.

    Parameters
    ----------
    cube
        Path of the cube.
    forecasts
        Label -> path.
    marks
        Path -> `soilcast.verify.entry.mark_of` what is meant to be there.
    targets, latency
        See `soilcast.verify.entry.Entry`.
    fill_days
        The largest of the forecasts: the baselines start from soil moisture that is as old.
    common
        The cells, issue days and leads.
    time
        Days of the cube ``(time,)``, and behind them those that are forecast and not yet observed.
    levels
        Label -> target -> levels of its quantiles.
    readings
        Target -> readings of the water balance.
    metrics
        All that are registered here, by name: workers may not have the user's own.
    """

    cube: Path
    forecasts: Mapping[str, Path]
    marks: Mapping[Path, str]
    targets: tuple[str, ...]
    latency: int
    fill_days: int
    common: Common
    time: Days = field(repr=False)
    levels: Mapping[str, Mapping[str, tuple[float, ...]]]
    readings: Mapping[str, Readings]
    metrics: Mapping[str, Metric]

    @property
    def models(self) -> list[str]:
        """Labels: the forecasts, then the baselines."""
        return [*self.forecasts, *self.baselines]

    @property
    def baselines(self) -> tuple[str, ...]:
        """Names of the baselines: persistence alone where the cube has too few days for the others to learn from."""
        return tuple(BASELINES) if self.common.learn.sum() >= FEWEST_LEARNT else (REFERENCE,)

    @property
    def leads(self) -> int:
        """The longest lead [d]."""
        return self.common.leads

    @property
    def issues(self) -> int:
        """How many issue days there are."""
        return len(self.common.issued)

    @property
    def all_levels(self) -> tuple[float, ...]:
        """Levels that any of the forecasts has, ascending."""
        return tuple(sorted({level for of in self.levels.values() for levels in of.values() for level in levels}))

    @property
    def days(self) -> slice:
        """From the first day that is forecast to the last, as positions along time."""
        issued = self.common.issued
        return slice(int(issued[0]) + 1, int(issued[-1]) + self.leads + 1)

    @property
    def test(self) -> Positions:
        """Days of the cube that are forecast at any lead, as positions along time."""
        ahead = np.unique(self.common.issued[:, np.newaxis] + np.arange(1, self.leads + 1))
        return span(ahead[ahead < len(self.common.learn)])

    def valid_days(self, lead: int) -> Positions:
        """Days that are forecast at a lead, one an issue day, as positions along time."""
        return span(self.common.issued + lead)

    def within_days(self, lead: int) -> Positions:
        """Do what `valid_days` does, as positions along `days`."""
        return span(self.common.issued - self.common.issued[0] + lead - 1)

    def levels_of(self, label: str, target: str) -> tuple[float, ...]:
        """Levels of a model's quantiles; none of a baseline."""
        return self.levels[label][target] if label in self.levels else ()

    @property
    def measured(self) -> dict[str, Metric]:
        """Metrics that some model of some target has all for that they need, by name."""
        models = [(label, target) for label in self.models for target in self.targets]
        return {name: one for name, one in self.metrics.items() if any(self.is_measured(one, *of) for of in models)}

    def is_measured(self, metric: Metric, label: str, target: str) -> bool:
        """Whether there is all of a model and a target that a metric needs."""
        there = {"extremes", "reference", *self.readings[target]}
        there |= {"water"} if self.readings[target] else set()
        there |= {"quantiles"} if self.levels_of(label, target) else set()
        return metric.needs <= there


@dataclass(frozen=True)
class Opened:
    """The files of a case: the cube, and label -> forecast, of the cells and issue days that they have in common."""

    cube: xr.Dataset
    forecasts: Mapping[str, xr.Dataset]


def make_case(entries: Sequence[Entry], cube: xr.Dataset, cube_path: Path, readings: Mapping[str, Readings]) -> Case:
    """Lay down what is evaluated: forecasts that `open_entries` gave, where they and the cube have days and cells.

    Parameters
    ----------
    entries
        The forecasts.
    cube, cube_path
        The opened cube and its place.
    readings
        Target -> readings of the water balance.

    Raises
    ------
    SoilcastError
        There is nothing that all of them have and that may be evaluated.
    """
    first = entries[0]
    common = find_common(entries, cube, cube_path)
    time: Days = cube["time"].to_numpy()
    ahead = max(0, int(common.issued[-1]) + common.leads + 1 - len(time))
    return Case(
        # Workers have a working folder of their own.
        cube=cube_path.absolute(),
        forecasts={entry.label: entry.path.absolute() for entry in entries},
        marks={entry.path.absolute(): entry.mark for entry in entries} | {cube_path.absolute(): mark_of(cube)},
        targets=first.targets,
        latency=first.latency,
        fill_days=max(entry.fill_days for entry in entries),
        common=common,
        time=np.concatenate([time, time[-1] + np.arange(1, ahead + 1) * np.timedelta64(1, "D")]),
        levels={entry.label: entry.levels for entry in entries},
        readings=readings,
        metrics=dict(METRICS),
    )


@contextmanager
def open_files(case: Case) -> Iterator[Opened]:
    """Open the cube and the forecasts of a case.

    Raises
    ------
    SoilcastError
        One cannot be opened, or is not the one that is meant.
    """
    with ExitStack() as stack:
        cube = stack.enter_context(open_cube(case.cube))
        forecasts = {
            label: stack.enter_context(open_artifact(path, "forecast")) for label, path in case.forecasts.items()
        }
        for path, found in ((case.cube, cube), *zip(case.forecasts.values(), forecasts.values(), strict=True)):
            if mark_of(found) != case.marks[path]:
                raise SoilcastError(f"{path}: it changed during the evaluation: evaluate again")
        common, leads = case.common, slice(0, case.leads)
        yield Opened(
            _select(cube, cell=common.cells),
            {
                label: _select(forecast, cell=common.cells_of[label], time=common.issues_of[label], lead=leads)
                for label, forecast in forecasts.items()
            },
        )


def _select(opened: xr.Dataset, **chosen: Positions) -> xr.Dataset:
    """Some positions along dimensions of a dataset, lazily; what is whole stays as it is."""
    whole = {dim for dim, one in chosen.items() if isinstance(one, slice) and one == slice(0, opened.sizes[dim])}
    return opened.isel({dim: one for dim, one in chosen.items() if dim not in whole})
