"""Load observations and forecasts of a target and a block of cells, and align them lead by lead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import numpy.typing as npt

from soilcast.cube import read
from soilcast.verify.aligned import Aligned, Signs
from soilcast.verify.baselines import forecast_baselines, forecast_files, join_cells
from soilcast.verify.consistency import balance_signs
from soilcast.verify.drought import CellClimate, EventForecast, class_events, several_days
from soilcast.verify.entry import mean_name, quantile_name, template_name
from soilcast.verify.extremes import Floats, extreme_days
from soilcast.verify.plan import REFERENCE, Files, Plan

GROUP = 64
"""Cells whose baselines are computed together. Sums of matrix products depend in their last bit on how many rows there
are, so groups start at multiples of this, whatever the block."""


@dataclass(frozen=True)
class ModelSeries:
    """One target of some cells, and what each model forecasts of it.

    Parameters
    ----------
    target
        Its name.
    history
        Observations of all days of `Plan.time`, ``(cell, time)`` [m3 m-3].
    central
        Label -> ``(cell, issue day, lead)`` [m3 m-3]: the forecasts, then the baselines.
    mean
        Label -> the mean of the predictive distribution, of the same shape; of the models that give one.
    quantiles
        Label -> ``(cell, issue day, lead, quantile)`` [m3 m-3] of the models that have them.
    """

    target: str
    history: npt.NDArray[np.float32]
    central: Mapping[str, Floats]
    mean: Mapping[str, Floats]
    quantiles: Mapping[str, Floats]


@dataclass(frozen=True)
class TargetData(ModelSeries):
    """`ModelSeries`, and what else their metrics are computed from.

    Parameters
    ----------
    signs
        Reading of the water balance -> dW_t ``(cell, day)`` of `Plan.days`; under ``NAME_masked`` that of Eq. 13.
    driest, wettest
        See `Aligned`.
    climate
        Thresholds of the drought classes; None where no model's probabilities of them are verified.
    within
        Label -> probability that it is dry at least once up to each lead, and whether it was, ``(cell, issue day,
        lead)``, computed when first used.
    """

    signs: Mapping[str, Signs]
    driest: Floats
    wettest: Floats
    climate: CellClimate | None
    within: Mapping[str, Callable[[], EventForecast]]


def load_models(plan: Plan, opened: Files, target: str, cells: slice) -> ModelSeries:
    """Read one target of some cells, which start at a multiple of `GROUP`, and what each model forecasts of it.

    Raises
    ------
    SoilcastError
        Stored bytes are damaged.
    """
    history = read(opened.cube, target, cells)
    if unobserved := len(plan.time) - history.shape[1]:
        history = np.pad(history, ((0, 0), (0, unobserved)), constant_values=np.nan)
    stored = {label: read(forecast, target, cells) for label, forecast in opened.forecasts.items()}
    quantiles = {
        label: read(forecast, quantile_name(target), cells)
        for label, forecast in opened.forecasts.items()
        if plan.levels_of(label, target)
    }
    mean = {
        label: read(forecast, mean_name(target), cells)
        for label, forecast in opened.forecasts.items()
        if mean_name(target) in forecast
    }
    starts = range(cells.start, cells.start + len(history), GROUP)
    groups = [slice(start, min(start + GROUP, cells.start + len(history))) for start in starts]
    own = {group.start: history[group.start - cells.start : group.stop - cells.start] for group in groups}
    baselines = join_cells([forecast_baselines(plan, opened.cube, target, own[group.start], group) for group in groups])
    baselines |= forecast_files(plan, opened.baselines[target], opened.cube, target, history, cells)
    central = stored | {name: baseline.median for name, baseline in baselines.items()}
    mean |= {name: one.forecast for name, one in baselines.items() if one.quantiles is not None}
    quantiles |= {name: one.quantiles for name, one in baselines.items() if one.quantiles is not None}
    return ModelSeries(target, history, central, mean, quantiles)


def load_target(plan: Plan, opened: Files, target: str, cells: slice) -> TargetData:
    """`load_models`, and what else the metrics need.

    Raises
    ------
    SoilcastError
        Stored bytes are damaged.
    """
    models = load_models(plan, opened, target, cells)
    signs = balance_signs(plan.readings[target], opened.cube, cells, models.history, plan.days)
    driest, wettest = extreme_days(models.history[:, plan.test])
    climate = None
    if plan.climate is not None and any(plan.has_drought(label, target) for label in plan.models):
        climate = CellClimate(plan.climate, models.history)
    within = {} if climate is None else _within(plan, opened, models, climate)
    return TargetData(**vars(models), signs=signs, driest=driest, wettest=wettest, climate=climate, within=within)


def align(plan: Plan, loaded: TargetData, lead: int) -> tuple[dict[str, Aligned], npt.NDArray[np.int64]]:
    """Take one lead, and leave out the cell-issue-days that not all models have.

    Returns
    -------
    Label -> what its metrics are computed from, the forecasts first, then the baselines; and ``(1 + model,)``,
    cell-days with an observation, and those of them that remain after each of the models.
    """
    days = plan.valid_days(lead)
    observed = loaded.history[:, days]
    central, mean, quantiles = (
        {label: np.ascontiguousarray(values[:, :, lead - 1]) for label, values in of_models.items()}
        for of_models in (loaded.central, loaded.mean, loaded.quantiles)
    )
    usable = np.isfinite(observed)
    remaining = [np.count_nonzero(usable)]
    for label, values in central.items():
        usable &= np.isfinite(values)
        if label in mean:
            usable &= np.isfinite(mean[label])
        if label in quantiles:
            usable &= np.isfinite(quantiles[label]).all(axis=-1)
        remaining.append(np.count_nonzero(usable))
    observed = np.where(usable, observed, np.float32(np.nan))
    signs = {name: moves[:, plan.within_days(lead)] for name, moves in loaded.signs.items()}

    dated = None
    if loaded.climate is not None:
        dated = cache(partial(loaded.climate.of_days, plan.within_days(lead)))

    def of_model(label: str, reference: Aligned | None) -> Aligned:
        median = np.where(usable, central[label], np.float32(np.nan))
        levels = plan.levels_of(label, loaded.target)
        classes, within = None, None
        if dated is not None and plan.has_drought(label, loaded.target):
            classes = partial(class_events, observed, median, quantiles[label], levels, dated)
            within = (lambda: loaded.within[label]().at_lead(lead)) if label in loaded.within else None
        return Aligned(
            observed=observed,
            central=median,
            mean=np.where(usable, mean[label], np.float32(np.nan)) if label in mean else median,
            previous=_previous(plan, loaded, label, lead),
            driest=loaded.driest,
            wettest=loaded.wettest,
            quantiles=quantiles.get(label),
            levels=levels,
            signs=signs,
            reference=reference,
            class_events=classes,
            within_events=within,
        )

    persistence = of_model(REFERENCE, None)
    models = {label: persistence if label == REFERENCE else of_model(label, persistence) for label in central}
    return models, np.array(remaining, dtype=np.int64)


def _within(
    plan: Plan, opened: Files, models: ModelSeries, climate: CellClimate
) -> dict[str, Callable[[], EventForecast]]:
    """Events over several days of the models that have rank templates: see `TargetData`."""
    labels = [label for label in plan.models if plan.has_drought(label, models.target)]
    labels = [label for label in labels if plan.has_templates(label, models.target)]
    if not labels:
        return {}
    leads = range(1, plan.leads + 1)
    observed = np.stack([models.history[:, plan.valid_days(lead)] for lead in leads], axis=-1)
    usable = np.isfinite(observed)
    for values in (*models.central.values(), *models.mean.values()):
        usable &= np.isfinite(values)
    for values in models.quantiles.values():
        usable &= np.isfinite(values).all(axis=-1)
    days = [plan.within_days(lead) for lead in leads]
    name = template_name(models.target)
    return {
        label: cache(
            partial(
                several_days,
                observed,
                usable,
                models.central[label],
                models.quantiles[label],
                plan.levels_of(label, models.target),
                opened.forecasts[label][name].to_numpy(),
                climate,
                days,
            )
        )
        for label in labels
    }


def _previous(plan: Plan, loaded: TargetData, label: str, lead: int) -> Floats:
    """Soil moisture of the day before each day: observed before the first lead, else the forecast's own."""
    if lead > 1:
        return loaded.mean.get(label, loaded.central[label])[:, :, lead - 2]
    if plan.overlap.issued[0] >= 0:
        return loaded.history[:, plan.valid_days(0)]
    before = np.pad(loaded.history, ((0, 0), (1, 0)), constant_values=np.nan)
    return before[:, plan.valid_days(1)]
