"""Plan of an evaluation: which forecasts, metrics and days; a worker needs nothing else but the files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import xarray as xr

from soilcast.cube import open_artifact, open_cube
from soilcast.cube.calendar import Days
from soilcast.errors import SoilcastError
from soilcast.models.baselines import BASELINES
from soilcast.regions.within import Within
from soilcast.verify.consistency import Readings
from soilcast.verify.drought import EVENTS, WITHIN, ClimateDays, find_climate_days, has_distribution
from soilcast.verify.entry import Entry, fingerprint_of
from soilcast.verify.file_baselines import FileBaseline, open_baseline, plan_files
from soilcast.verify.metrics import METRICS, Metric
from soilcast.verify.overlap import FEWEST_LEARNT, Overlap, Positions, find_overlap, span
from soilcast.verify.regressions import RegressionBaseline, fit_regressions
from soilcast.weather import Weather

REFERENCE = "persistence"
"""The baseline that skill and ratios are against."""


@dataclass(frozen=True)
class Plan:
    """Plan of an evaluation.

    Parameters
    ----------
    cube
        Path of the cube.
    forecasts
        Label -> path.
    fingerprints
        Path -> `soilcast.verify.entry.fingerprint_of` its artifact.
    targets, latency
        See `soilcast.verify.entry.Entry`.
    fill_days
        The largest of the forecasts; the baselines fill as far.
    overlap
        The cells, issue days and leads.
    time
        Days of the cube ``(time,)``, and behind them those that are forecast and not yet observed.
    levels
        Label -> target -> levels of its quantiles.
    readings
        Target -> readings of the water balance.
    metrics
        All that are registered here, by name: workers may lack user-defined ones.
    regressions
        Fitted regressions that were asked for as baselines, by label.
    files
        Archives of forecasts that were asked for as baselines, by label.
    templates
        Label -> targets of which it has rank templates.
    climate
        Days of the climate of the drought classes; None where the development days are too few.
    """

    cube: Path
    forecasts: Mapping[str, Path]
    fingerprints: Mapping[Path, str]
    targets: tuple[str, ...]
    latency: int
    fill_days: int
    overlap: Overlap
    time: Days = field(repr=False)
    levels: Mapping[str, Mapping[str, tuple[float, ...]]]
    readings: Mapping[str, Readings]
    metrics: Mapping[str, Metric]
    regressions: Mapping[str, RegressionBaseline] = field(default_factory=dict)
    files: Mapping[str, FileBaseline] = field(default_factory=dict)
    templates: Mapping[str, frozenset[str]] = field(default_factory=dict)
    climate: ClimateDays | None = field(default=None, repr=False)

    @property
    def models(self) -> list[str]:
        """Labels: the forecasts, then the baselines."""
        return [*self.forecasts, *self.baselines]

    @property
    def baselines(self) -> tuple[str, ...]:
        """Names of the baselines: persistence alone where the cube has too few training days."""
        always = tuple(BASELINES) if self.overlap.learn.sum() >= FEWEST_LEARNT else (REFERENCE,)
        return (*always, *self.regressions, *self.files)

    @property
    def leads(self) -> int:
        """The longest lead [d]."""
        return self.overlap.leads

    @property
    def issues(self) -> int:
        """Number of issue days."""
        return len(self.overlap.issued)

    @property
    def all_levels(self) -> tuple[float, ...]:
        """Levels that any of the forecasts has, ascending."""
        return tuple(sorted({level for label in self.levels.values() for levels in label.values() for level in levels}))

    @property
    def days(self) -> slice:
        """From the first day that is forecast to the last, as positions along time."""
        issued = self.overlap.issued
        return slice(int(issued[0]) + 1, int(issued[-1]) + self.leads + 1)

    @property
    def test(self) -> Positions:
        """Days of the cube that are forecast at any lead, as positions along time."""
        forecast_days = np.unique(self.overlap.issued[:, np.newaxis] + np.arange(1, self.leads + 1))
        return span(forecast_days[forecast_days < len(self.overlap.learn)])

    def valid_days(self, lead: int) -> Positions:
        """Days that are forecast at a lead, one an issue day, as positions along time."""
        return span(self.overlap.issued + lead)

    def within_days(self, lead: int) -> Positions:
        """`valid_days` as positions along `days`."""
        return span(self.overlap.issued - self.overlap.issued[0] + lead - 1)

    @property
    def is_dressed(self) -> bool:
        """Whether baselines have quantiles: where a forecast has, and training and validation days are in the cube."""
        periods = (self.overlap.training, self.overlap.validation)
        return bool(self.all_levels) and all(days.sum() >= FEWEST_LEARNT for days in periods)

    def levels_of(self, label: str, target: str) -> tuple[float, ...]:
        """Levels of a model's quantiles; of a baseline those of all forecasts of the target, or none if not dressed."""
        if label in self.levels:
            return self.levels[label][target]
        if label in self.files and not self.files[label].has_periods:
            return ()
        return tuple(sorted({level for of in self.levels.values() for level in of[target]} if self.is_dressed else ()))

    @property
    def measured(self) -> dict[str, Metric]:
        """Metrics whose needs are met by some model of some target, by name."""
        models = [(label, target) for label in self.models for target in self.targets]
        return {
            name: row for name, row in self.metrics.items() if any(self.is_measured(row, *model) for model in models)
        }

    def is_measured(self, metric: Metric, label: str, target: str) -> bool:
        """Whether a model and a target have all that a metric needs."""
        available = {"extremes", "reference", *self.readings[target]}
        available |= {"water"} if self.readings[target] else set()
        available |= {"quantiles"} if self.levels_of(label, target) else set()
        if self.has_drought(label, target):
            available |= {"climate"}
            available |= {"templates"} if self.has_templates(label, target) else set()
        return metric.needs <= available

    def has_drought(self, label: str, target: str) -> bool:
        """Whether a model gives probabilities of the drought classes."""
        return self.climate is not None and has_distribution(self.levels_of(label, target))

    def has_templates(self, label: str, target: str) -> bool:
        """Whether a model gives how the leads of a target depend on each other."""
        return target in self.templates.get(label, ())

    @property
    def events(self) -> tuple[str, ...]:
        """Events whose probability is verified over all cells; none where no model gives any."""
        models = [
            (label, target) for label in self.models for target in self.targets if self.has_drought(label, target)
        ]
        if not models:
            return ()
        return (*EVENTS, WITHIN) if any(self.has_templates(*model) for model in models) else EVENTS


@dataclass(frozen=True)
class Files:
    """The opened files, of the cells that are evaluated: the cube, the forecasts by label, and by target and label the
    baselines that are files.
    """

    cube: xr.Dataset
    forecasts: Mapping[str, xr.Dataset]
    baselines: Mapping[str, Mapping[str, Weather]]


def make_plan(
    entries: Sequence[Entry],
    cube: xr.Dataset,
    cube_path: Path,
    readings: Mapping[str, Readings],
    regressions: Sequence[str] = (),
    files: Mapping[str, Path] = {},
    matching: str = "cdf",
    within: Within | None = None,
) -> Plan:
    """Plan an evaluation of forecasts that `open_entries` gave, on the days and cells that they and the cube share.

    Parameters
    ----------
    entries
        The forecasts.
    cube, cube_path
        The opened cube and its path.
    readings
        Target -> readings of the water balance.
    regressions
        Keys of `soilcast.models.regressions.REGRESSIONS` to fit as further baselines.
    files
        Label -> archive of forecasts that is a further baseline.
    matching
        Key of `soilcast.climate_matching.MATCHINGS`: how these are matched to the climate of the cube.
    within
        The cells that are evaluated; by default all.

    Raises
    ------
    SoilcastError
        No cell, issue day or lead in common that may be evaluated; a regression that cannot be fitted; a file that
        cannot be a baseline.
    """
    first = entries[0]
    overlap = find_overlap(entries, cube, cube_path, within)
    time: Days = cube["time"].to_numpy()
    unobserved = max(0, int(overlap.issued[-1]) + overlap.leads + 1 - len(time))
    time = np.concatenate([time, time[-1] + np.arange(1, unobserved + 1) * np.timedelta64(1, "D")])
    forecast_days = slice(int(overlap.issued[0]) + 1, int(overlap.issued[-1]) + overlap.leads + 1)
    plan = Plan(
        # Workers have a working folder of their own.
        cube=cube_path.absolute(),
        forecasts={entry.label: entry.path.absolute() for entry in entries},
        fingerprints={entry.path.absolute(): entry.fingerprint for entry in entries}
        | {cube_path.absolute(): fingerprint_of(cube)},
        targets=first.targets,
        latency=first.latency,
        fill_days=max(entry.fill_days for entry in entries),
        overlap=overlap,
        time=time,
        levels={entry.label: entry.levels for entry in entries},
        templates={entry.label: entry.templates for entry in entries},
        climate=find_climate_days(time, overlap.learn, int(overlap.issued[0]), forecast_days),
        readings=readings,
        metrics=dict(METRICS),
        regressions=fit_regressions(regressions, entries, overlap, cube, cube_path),
    )
    return replace(plan, files=plan_files(files, matching, plan.targets, overlap, cube, plan.is_dressed))


@contextmanager
def open_files(plan: Plan) -> Iterator[Files]:
    """Open the cube and the forecasts of an evaluation.

    Raises
    ------
    SoilcastError
        One cannot be opened, or has changed.
    """
    with ExitStack() as stack:
        cube = stack.enter_context(open_cube(plan.cube))
        forecasts = {
            label: stack.enter_context(open_artifact(path, "forecast")) for label, path in plan.forecasts.items()
        }
        for path, opened in ((plan.cube, cube), *zip(plan.forecasts.values(), forecasts.values(), strict=True)):
            if fingerprint_of(opened) != plan.fingerprints[path]:
                raise SoilcastError(f"{path}: it changed during the evaluation: evaluate again")
        overlap, leads = plan.overlap, slice(0, plan.leads)
        evaluated = _select(cube, cell=overlap.cells)
        yield Files(
            evaluated,
            {
                label: _select(forecast, cell=overlap.cells_of[label], time=overlap.issues_of[label], lead=leads)
                for label, forecast in forecasts.items()
            },
            {
                target: {
                    label: open_baseline(baseline, evaluated, target, plan.leads)
                    for label, baseline in plan.files.items()
                }
                for target in plan.targets
            },
        )


def _select(opened: xr.Dataset, **positions: Positions) -> xr.Dataset:
    """Select positions along dimensions of a dataset, lazily."""
    every = {dim: slice(0, size) for dim, size in opened.sizes.items()}
    return opened.isel({dim: of for dim, of in positions.items() if not (isinstance(of, slice) and of == every[dim])})
