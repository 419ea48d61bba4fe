"""What is evaluated, and on which days: all that a worker needs beside the numbers of the cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import open_artifact, open_cube, periods_of
from soilcast.errors import SoilcastError
from soilcast.models.baselines import BASELINES
from soilcast.training.split import period_slice
from soilcast.verify.consistency import Readings
from soilcast.verify.entry import LEARNT, Entry, mark_of
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
    targets, leads, latency, first, issues
        See `soilcast.verify.entry.Entry`.
    levels
        Label -> target -> levels of its quantiles.
    learn
        ``(time,)``, the days of training and validation, from which the baselines learn too.
    test
        The test days, as positions along time.
    readings
        Target -> readings of the water balance.
    metrics
        All that are registered here, by name: workers may not have the user's own.
    """

    cube: Path
    forecasts: Mapping[str, Path]
    marks: Mapping[Path, str]
    targets: tuple[str, ...]
    leads: int
    latency: int
    first: int
    issues: int
    levels: Mapping[str, Mapping[str, tuple[float, ...]]]
    learn: npt.NDArray[np.bool_]
    test: slice
    readings: Mapping[str, Readings]
    metrics: Mapping[str, Metric]

    @property
    def models(self) -> list[str]:
        """Labels: the forecasts, then the baselines."""
        return [*self.forecasts, *BASELINES]

    @property
    def all_levels(self) -> tuple[float, ...]:
        """Levels that any of the forecasts has, ascending."""
        return tuple(sorted({level for of in self.levels.values() for levels in of.values() for level in levels}))

    @property
    def days(self) -> slice:
        """Days that are forecast at any lead, as positions along time."""
        return slice(self.valid_days(1).start, self.valid_days(self.leads).stop)

    def valid_days(self, lead: int) -> slice:
        """Days that are forecast at a lead, one an issue day, as positions along time."""
        return slice(self.first + lead, self.first + lead + self.issues)

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
    """The files of a case: the cube, and label -> forecast."""

    cube: xr.Dataset
    forecasts: Mapping[str, xr.Dataset]


def make_case(entries: Sequence[Entry], cube: xr.Dataset, cube_path: Path, readings: Mapping[str, Readings]) -> Case:
    """Lay down what is evaluated: forecasts that `open_entries` gave, on the days of their split.

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
        Days of the test were learnt from, or none was.
    """
    first = entries[0]
    learn, test = _split(first, cube)
    return Case(
        # Workers have a working folder of their own.
        cube=cube_path.absolute(),
        forecasts={entry.label: entry.path.absolute() for entry in entries},
        marks={entry.path.absolute(): entry.mark for entry in entries} | {cube_path.absolute(): mark_of(cube)},
        targets=first.targets,
        leads=first.leads,
        latency=first.latency,
        first=first.first,
        issues=first.issues,
        levels={entry.label: entry.levels for entry in entries},
        learn=learn,
        test=test,
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
        yield Opened(cube, forecasts)


def _split(entry: Entry, cube: xr.Dataset) -> tuple[npt.NDArray[np.bool_], slice]:
    """Find a forecast's split among the days of its cube: the learning days, and the test days."""
    days = cube["time"].to_numpy()
    period = entry.attributes["test_period"]
    test = period_slice(days, period, str(entry.path), "its test period")
    learn = np.zeros(len(days), dtype=np.bool_)
    for name in LEARNT:
        for first, last in periods_of(entry.attributes[name]):
            learn |= (days >= first) & (days <= last)
    if learn[test].any():
        seen = days[test][learn[test]][0].astype("datetime64[D]")
        raise SoilcastError(
            f"{entry.path}: its test period {period} overlaps training or validation (first day {seen}): forecast a "
            "separate period"
        )
    if not learn.any():
        raise SoilcastError(
            f"{entry.path}: the cube lacks its training period {entry.attributes['train_period']}, which the "
            "baselines need: forecast on a cube that has it"
        )
    return learn, test
