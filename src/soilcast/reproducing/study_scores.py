"""Scores of a study, from its forecasts, for its tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import open_cube, read
from soilcast.models.baselines import BASELINES
from soilcast.reproducing.plans import Row, StudyPlan
from soilcast.training.split import in_climate
from soilcast.verify.consistency import balance_of
from soilcast.verify.dayblocks import DayBlocks, sum_day_blocks
from soilcast.verify.scores import CELL_VARIABLES
from soilcast.verify.significance import UNTRAINED, Sample, Seeds, take_sample
from soilcast.verify.summary import cell_weights, weighted_median
from soilcast.water import Form, WaterConfig, variable_of


@dataclass(frozen=True)
class StudyScores:
    """A study, scored at one lead.

    Parameters
    ----------
    plan
        What was to be run.
    lead
        Days ahead.
    cube
        Path of the cube.
    forecasts
        Name of each run -> its forecast.
    rows
        Row -> seed -> label in `blocks`: the networks that were run, then the baselines.
    networks
        Rows that are networks, in the study's order.
    reference
        The row that others are compared with; None if it could not be run.
    blocks, sample
        The scores.
    cells
        Coordinates, ``area``, ``climate_zone`` (if known) of each cell.
    balance
        By which water balance consistency is measured.
    readings
        Row -> metric of the consistency with its own reading, if the study shows readings.
    placebos
        Row -> the row of the same design that the placebo of its water balance guides.
    runs
        Folder of the runs.
    baseline
        The best baseline, by the median RMSE.
    p_adjusted
        (row, reference, metric) -> adjusted p-value of each comparison, once
        `soilcast.reproducing.claims.with_adjusted_p` has been asked for it.
    """

    plan: StudyPlan
    lead: int
    cube: Path
    forecasts: Mapping[str, Path]
    rows: Mapping[str, Seeds]
    networks: tuple[str, ...]
    reference: str | None
    blocks: DayBlocks
    sample: Sample
    cells: xr.Dataset
    balance: str
    readings: Mapping[str, str]
    placebos: Mapping[str, str]
    runs: Path
    baseline: str
    p_adjusted: Mapping[tuple[str, str, str], float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its files: that of the study, and from the second lead on the lead."""
        return self.plan.name + (f"-lead{self.lead}" if self.lead > 1 else "")

    @property
    def ahead(self) -> str:
        """The lead in words; empty if the study has no other."""
        several = self.plan.task.lead_days > 1
        return f"{self.lead} day{'s' if self.lead > 1 else ''} ahead" if several else ""

    @property
    def title(self) -> str:
        """Heading: that of the study, and the lead if there are several."""
        return ", ".join(filter(None, (self.plan.study.title, self.ahead)))

    @property
    def compared_with(self) -> str:
        """What consistency compares a forecast with, where it is not the observation of Eq. 19; ends with a space."""
        return "Eq. 19 compares each forecast with the same forecast of the day before. " if self.lead > 1 else ""

    @property
    def others(self) -> tuple[str, ...]:
        """The networks beside the reference."""
        return tuple(row for row in self.networks if row != self.reference)

    @property
    def seeds(self) -> int:
        """Largest number of seeds of a network."""
        return max(len(self.rows[row]) for row in self.networks)

    def median(self, row: str, metric: str) -> float:
        """Median over the cells by their weights, mean over the seeds."""
        return float(np.mean(self.sample.over_area(row, metric)))

    def among(self, inside: npt.NDArray[np.bool_]) -> StudyScores:
        """Score some of the cells alone."""
        blocks = self.blocks.of_cells(inside)
        sample = take_sample(blocks, self.sample.area[inside], self.rows, list(self.sample.variance))
        return replace(self, blocks=blocks, sample=sample, cells=self.cells.isel(cell=inside))


def score_study(
    plan: StudyPlan, forecasts: Mapping[str, Path], cube: Path, runs: Path, *, progress: bool = False
) -> list[StudyScores]:
    """Score the rows of a study, with the baselines, on the same cell-days of each lead, part by part.

    Rows that were trained without a climate are scored in its cells alone.

    Parameters
    ----------
    plan
        The study.
    forecasts
        Name of each run -> its forecast; those of runs that failed are not there.
    cube
        The cube.
    runs
        Folder of the runs.
    progress
        Show bars.

    Returns
    -------
    Scores of the first layer, lead by lead; none if no row came to a forecast.

    Raises
    ------
    SoilcastError
        There is no cell-day to score.
    """
    parts = [_score_part(part, forecasts, cube, runs, progress=progress) for part in plan.parts]
    return [scores for part in parts for scores in part]


def _score_part(
    plan: StudyPlan, forecasts: Mapping[str, Path], cube: Path, runs: Path, *, progress: bool
) -> list[StudyScores]:
    rows = {name: _seeds(row, forecasts) for name, row in plan.rows.items()}
    rows = {name: seeds for name, seeds in rows.items() if seeds}
    if not rows:
        return []
    networks, target = tuple(rows), plan.task.target
    used = dict.fromkeys(label for seeds in rows.values() for label in seeds.values())
    with open_cube(cube) as opened:
        balance = balance_of(_possible(plan.water, opened), "of the study", (target,), opened)
        guiding = _guiding_readings(plan, networks) if plan.study.show == "readings" else {}
        cells = xr.Dataset(coords={name: opened[name].load() for name in opened.coords if name != "time"})
        for name in CELL_VARIABLES:
            if name in opened:
                cells[name] = ("cell", read(opened, name).astype(np.float64))
    readings = {**balance.readings[target], **{metric: reading for metric, reading in guiding.values()}}
    sums = sum_day_blocks([forecasts[name] for name in used], cube, readings, target=target, progress=progress)
    rows |= {name: {UNTRAINED: name} for name in BASELINES}
    reference = plan.study.reference if plan.study.reference in networks else None
    placebos = {row: placebo for row, placebo in plan.study.placebo_of.items() if {row, placebo} <= {*networks}}
    weights = cell_weights(cells)
    unseen = plan.rows[networks[0]].config.split.without_climate if plan.amount else None
    if unseen is not None:
        inside = in_climate(cells, unseen)
        sums = {key: blocks.of_cells(inside) for key, blocks in sums.items()}
        cells, weights = cells.isel(cell=inside), weights[inside]
    best = {lead: _best_baseline(blocks, weights) for (_, lead), blocks in sums.items()}
    return [
        StudyScores(
            plan=plan,
            lead=lead,
            cube=cube,
            forecasts=forecasts,
            rows=rows,
            networks=networks,
            reference=reference,
            blocks=blocks,
            sample=take_sample(
                blocks, weights, rows, _pairs(networks, reference, best[lead], placebos), progress=progress
            ),
            cells=cells,
            balance=balance.description,
            readings={row: metric for row, (metric, _) in guiding.items()},
            placebos=placebos,
            runs=runs,
            baseline=best[lead],
        )
        for (_, lead), blocks in sums.items()
    ]


def guiding_reading(row: Row) -> tuple[Form, WaterConfig] | None:
    """The water balance that a row, or the row that it is the placebo of, is guided by; None for a plain network."""
    form = row.config.balance
    return (form, row.config.water.model_copy(update={"placebo": "none"})) if form else None


def _guiding_readings(plan: StudyPlan, networks: tuple[str, ...]) -> dict[str, tuple[str, tuple[Form, WaterConfig]]]:
    readings = {name: guiding_reading(plan.rows[name]) for name in networks}
    distinct = list(dict.fromkeys(readings.values()))
    return {
        name: (f"consistency_own_{distinct.index(reading)}", reading) for name, reading in readings.items() if reading
    }


def _best_baseline(blocks: DayBlocks, area: npt.NDArray[np.float64]) -> str:
    errors = {name: weighted_median(blocks.scores(name)["rmse"][0], area) for name in BASELINES}
    return min(errors, key=lambda name: np.nan_to_num(errors[name], nan=np.inf))


def _pairs(
    networks: Sequence[str], reference: str | None, baseline: str, placebos: Mapping[str, str]
) -> list[tuple[str, str]]:
    against = [(row, baseline) for row in networks]
    return [*against, *((row, reference) for row in networks if reference not in (None, row)), *placebos.items()]


def _seeds(row: Row, forecasts: Mapping[str, Path]) -> dict[int, str]:
    first = row.config.train.seed
    return {first + number: name for number, name in enumerate(row.runs) if name in forecasts}


def _possible(water: WaterConfig, cube: xr.Dataset) -> WaterConfig:
    """Leave out of W the terms that the cube does not have; all of them stay if it has none."""
    terms = tuple(term for term in water.terms if variable_of(term, water) in cube)
    return water.model_copy(update={"terms": terms}) if terms else water
