"""The scores of outlooks in a block of cells: the same to the bit whatever the block, and whoever computes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import read
from soilcast.models.baselines import BASELINES
from soilcast.verify.blocks import GROUP, Cells, Floats, Opened, baselines, open_marked, paths_and_marks
from soilcast.verify.entries import days_judged
from soilcast.verify.lead import BINS, extreme_days, ratio_to, score_central, score_quantiles
from soilcast.verify.metrics import OUTLOOK_METRICS
from soilcast.verify.outlook_entries import OUTLOOK, OutlookEntry, quantile_name

REFERENCE = "persistence"


@dataclass(frozen=True)
class OutlookCase:
    """What is judged, and on which days: all that a worker needs beside the numbers of the cells.

    Parameters
    ----------
    cube
        Its path.
    outlooks
        Label -> path.
    marks
        Path -> `soilcast.verify.entries.mark_of` what is meant to be there.
    targets
        The variables that are forecast.
    leads, latency, first, issues
        See `soilcast.verify.outlook_entries.OutlookEntry`.
    levels
        Label -> target -> levels of its quantiles.
    learn
        ``(time,)``, the days of training and validation.
    test
        The test days, as positions along time.
    """

    cube: Path
    outlooks: Mapping[str, Path]
    marks: Mapping[Path, str]
    targets: tuple[str, ...]
    leads: int
    latency: int
    first: int
    issues: int
    levels: Mapping[str, Mapping[str, tuple[float, ...]]]
    learn: npt.NDArray[np.bool_]
    test: slice

    @property
    def models(self) -> list[str]:
        """Labels: the outlooks, then the baselines."""
        return [*self.outlooks, *BASELINES]

    @property
    def all_levels(self) -> tuple[float, ...]:
        """Levels that any of the outlooks has, ascending."""
        return tuple(sorted({level for of in self.levels.values() for levels in of.values() for level in levels}))

    def valid_days(self, lead: int) -> slice:
        """Days that are forecast at a lead, one an issue day, as positions along time."""
        return slice(self.first + lead, self.first + lead + self.issues)


@dataclass(frozen=True)
class Loaded:
    """One target of some cells, and what each model says of it.

    Parameters
    ----------
    history
        Observations of all days ``(cell, time)`` [m3 m-3].
    central
        Label -> ``(cell, issue day, lead)`` [m3 m-3]: the outlooks, then the baselines.
    quantiles
        Label -> ``(cell, issue day, lead, quantile)`` [m3 m-3] of the outlooks that have them.
    """

    history: Floats
    central: dict[str, Floats]
    quantiles: dict[str, Floats]


@dataclass(frozen=True)
class LeadDays:
    """One target and lead of some cells, on the days that all models have.

    Parameters
    ----------
    observed
        ``(cell, issue day)`` [m3 m-3], NaN where it or any of the models is missing.
    central, quantiles
        As in `Loaded`, without the lead.
    left
        ``(1 + model,)``, cell-days with an observation, and those of them that are left after each of the models.
    """

    observed: Floats
    central: dict[str, Floats]
    quantiles: dict[str, Floats]
    left: npt.NDArray[np.int64]


@dataclass(frozen=True)
class OutlookScores:
    """Scores of a block of cells.

    Parameters
    ----------
    metrics
        Name -> ``(model, target, lead, cell)``: those of `soilcast.verify.metrics.OUTLOOK_METRICS`, and ``days``.
    weight
        ``(target, lead, group)``: cell-days weighted by area, of each `GROUP` of cells.
    below
        ``(model, target, lead, quantile, group)``: the same of the days at or below a quantile; NaN without it.
    ranks
        ``(model, target, lead, bin, group)``: the same by the bin of the probability integral transform.
    left
        ``(target, lead, 1 + model)``: see `LeadDays`.
    """

    metrics: dict[str, Cells]
    weight: Cells
    below: Cells
    ranks: Cells
    left: npt.NDArray[np.int64]


def make_outlook_case(entries: Sequence[OutlookEntry], cube: xr.Dataset, cube_path: Path) -> OutlookCase:
    """Lay down what is judged: outlooks that `open_outlooks` gave, on the days of their split.

    Raises
    ------
    SoilcastError
        Days of the test were learnt from, or none was.
    """
    learn, test = days_judged(entries[0], cube)
    paths, marks = paths_and_marks(entries, cube, cube_path)
    one = entries[0]
    return OutlookCase(
        cube=cube_path.absolute(),
        outlooks=paths,
        marks=marks,
        targets=one.targets,
        leads=one.leads,
        latency=one.latency,
        first=one.first,
        issues=one.issues,
        levels={entry.label: entry.levels for entry in entries},
        learn=learn,
        test=test,
    )


@contextmanager
def open_outlook_files(case: OutlookCase) -> Iterator[Opened]:
    """Open the cube and the outlooks of a case: see `soilcast.verify.blocks.open_marked`."""
    with open_marked(case.cube, case.outlooks, case.marks, OUTLOOK.name) as opened:
        yield opened


def score_outlooks_on_worker(case: OutlookCase, cells: slice) -> OutlookScores:
    """Do what `score_outlook_block` does, in a process that has the files alone."""
    with open_outlook_files(case) as opened:
        return score_outlook_block(case, opened, cells)


def load_outlooks(case: OutlookCase, opened: Opened, target: str, cells: slice) -> Loaded:
    """Read one target of some cells, which begin at a multiple of `GROUP`, and what each model says of it.

    Raises
    ------
    SoilcastError
        Stored bytes are damaged.
    """
    history = read(opened.cube, target, cells)
    central = {label: read(outlook, target, cells) for label, outlook in opened.forecasts.items()}
    quantiles = {
        label: read(outlook, quantile_name(target), cells)
        for label, outlook in opened.forecasts.items()
        if case.levels[label][target]
    }
    leads = range(1, case.leads + 1)
    days = slice(case.valid_days(1).start, case.valid_days(case.leads).stop)
    lags = [lead + case.latency for lead in leads]
    made = baselines(history, opened.cube["time"].to_numpy(), case.learn, days, lags)
    for name, values in made.items():
        at_leads = [values[lead - 1, :, lead - 1 : lead - 1 + case.issues] for lead in leads]
        central[name] = np.stack(at_leads, axis=-1)
    return Loaded(history, central, quantiles)


def take_lead(case: OutlookCase, loaded: Loaded, lead: int) -> LeadDays:
    """Take one lead, and leave out the cell-issue-days that not all models have."""
    observed = loaded.history[:, case.valid_days(lead)]
    central = {label: np.ascontiguousarray(values[:, :, lead - 1]) for label, values in loaded.central.items()}
    quantiles = {label: np.ascontiguousarray(values[:, :, lead - 1]) for label, values in loaded.quantiles.items()}
    usable = np.isfinite(observed)
    left = [np.count_nonzero(usable)]
    for label, values in central.items():
        usable &= np.isfinite(values)
        if label in quantiles:
            usable &= np.isfinite(quantiles[label]).all(axis=-1)
        left.append(np.count_nonzero(usable))
    kept = np.where(usable, observed, np.float32(np.nan))
    return LeadDays(kept, central, quantiles, np.array(left, dtype=np.int64))


def score_outlook_block(case: OutlookCase, opened: Opened, cells: slice) -> OutlookScores:
    """Score outlooks and baselines on some cells, which begin at a multiple of `GROUP`.

    At each lead, every model is scored on the cell-issue-days on which the observation and all models are there.

    Raises
    ------
    SoilcastError
        Stored bytes are damaged.
    """
    area = read(opened.cube, "area", cells).astype(np.float64)[:, np.newaxis]
    groups = np.arange(0, len(area), GROUP)
    shape = (len(case.models), len(case.targets), case.leads)
    metrics = {name: np.full((*shape, len(area)), np.nan) for name in OUTLOOK_METRICS}
    metrics["days"] = np.zeros((*shape, len(area)))
    weight = np.zeros((*shape[1:], len(groups)))
    below = np.full((*shape, len(case.all_levels), len(groups)), np.nan)
    ranks = np.full((*shape, BINS, len(groups)), np.nan)
    left = np.zeros((*shape[1:], 1 + shape[0]), dtype=np.int64)
    for t, target in enumerate(case.targets):
        loaded = load_outlooks(case, opened, target, cells)
        driest, wettest = extreme_days(loaded.history[:, case.test])
        for k in range(case.leads):
            at = take_lead(case, loaded, k + 1)
            left[t, k] = at.left
            dry, wet = at.observed <= driest, at.observed >= wettest
            reference = score_central(at.observed, at.central[REFERENCE], dry, wet)
            weight[t, k] = _by_group(area * reference["days"][:, np.newaxis], groups)[0]
            for m, (label, central) in enumerate(at.central.items()):
                scored = reference if label == REFERENCE else score_central(at.observed, central, dry, wet)
                scored |= {"ratio": ratio_to(scored, reference["rmse"])}
                if label in at.quantiles:
                    levels = case.levels[label][target]
                    found = score_quantiles(at.observed, at.quantiles[label], levels)
                    scored |= found.metrics
                    below[m, t, k, [case.all_levels.index(level) for level in levels]] = _by_group(
                        area * found.below, groups
                    )
                    ranks[m, t, k] = _by_group(area * found.ranks, groups)
                for name, values in scored.items():
                    metrics[name][m, t, k] = values
    return OutlookScores(metrics, weight, below, ranks, left)


def join_outlook_blocks(blocks: Sequence[OutlookScores]) -> OutlookScores:
    """Join the scores of blocks, given in the order of their cells."""
    first = blocks[0]
    return OutlookScores(
        metrics={name: np.concatenate([block.metrics[name] for block in blocks], axis=-1) for name in first.metrics},
        weight=np.concatenate([block.weight for block in blocks], axis=-1),
        below=np.concatenate([block.below for block in blocks], axis=-1),
        ranks=np.concatenate([block.ranks for block in blocks], axis=-1),
        left=np.sum([block.left for block in blocks], axis=0),
    )


def _by_group(values: Cells, groups: npt.NDArray[np.int64]) -> Cells:
    """Sums over groups of cells, from ``(cell, x)`` to ``(x, group)``."""
    return np.add.reduceat(values, groups, axis=0).T
