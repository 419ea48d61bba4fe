"""What baselines forecast on the issue days, and, where forecasts have quantiles, with which of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.models.baselines import BASELINES
from soilcast.training.calibration_groups import season_of
from soilcast.verify.dressing import dress, error_quantiles
from soilcast.verify.extremes import Floats
from soilcast.verify.file_baselines import matched_forecasts
from soilcast.verify.plan import REFERENCE, Plan
from soilcast.weather import Weather

History = npt.NDArray[np.float32]


@dataclass(frozen=True)
class BaselineForecast:
    """A baseline of one target and some cells.

    Parameters
    ----------
    forecast
        ``(cell, issue day, lead)`` [m3 m-3], learnt from training and validation days: of a dressed one its mean.
    median
        Of the dressed forecast, of the same shape; of a point forecast the forecast.
    quantiles
        ``(cell, issue day, lead, quantile)`` [m3 m-3]: the forecast and the quantiles of the errors, on the validation
        days, of the same baseline learnt from the training days alone; None of a point forecast.
    """

    forecast: Floats
    median: Floats
    quantiles: Floats | None


def forecast_baselines(
    plan: Plan, cube: xr.Dataset, target: str, history: History, cells: slice
) -> dict[str, BaselineForecast]:
    """Forecast a target by each baseline, from what the forecasts know.

    Parameters
    ----------
    cube, cells
        The opened cube, of the cells that are evaluated, and which of them.
    history
        Observations of these cells of all days of `Plan.time`, ``(cell, time)`` [m3 m-3].
    """
    levels = plan.levels_of(REFERENCE, target)
    if levels:
        seasons = _seasons(plan, cube, cells)
        validation = _padded(plan, plan.overlap.validation)
        verified = np.where(validation, history, np.float32(np.nan))[:, _validation_period(plan)]
    forecasts = {}
    for name in (name for name in plan.baselines if name not in plan.files):
        forecast = _on_issue_days(plan, name, cube, target, history, cells)
        forecasts[name] = BaselineForecast(forecast, forecast, None)
        if levels:
            errors = verified - _on_validation_days(plan, name, cube, target, history, cells)
            forecasts[name] = _dressed(forecast, errors, seasons, levels)
    return forecasts


def forecast_files(
    plan: Plan, opened: Mapping[str, Weather], cube: xr.Dataset, target: str, history: History, cells: slice
) -> dict[str, BaselineForecast]:
    """Forecast a target by each baseline that is a file, as `forecast_baselines`.

    Parameters
    ----------
    opened
        Label -> the opened file of this target.
    """
    forecasts = {}
    for label, weather in opened.items():
        forecast, errors = matched_forecasts(plan, label, weather, history, cells)
        forecasts[label] = BaselineForecast(forecast, forecast, None)
        if errors is not None and (levels := plan.levels_of(label, target)):
            forecasts[label] = _dressed(forecast, errors, _seasons(plan, cube, cells), levels)
    return forecasts


def join_cells(parts: Sequence[Mapping[str, BaselineForecast]]) -> dict[str, BaselineForecast]:
    """Join the forecasts of groups of cells."""
    joined = {}
    for name in parts[0]:
        quantiles = [quantile for part in parts if (quantile := part[name].quantiles) is not None]
        forecast = np.concatenate([part[name].forecast for part in parts])
        median = np.concatenate([part[name].median for part in parts])
        joined[name] = BaselineForecast(forecast, median, np.concatenate(quantiles) if quantiles else None)
    return joined


Seasons = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def _seasons(plan: Plan, cube: xr.Dataset, cells: slice) -> Seasons:
    """Season of the days of the validation period ``(cell, day)``, and of the forecast days ``(cell, issue, lead)``."""
    lat = cube["lat"].to_numpy()[cells]
    valid_days = plan.overlap.issued[:, np.newaxis] + np.arange(1, plan.leads + 1)
    season = season_of(plan.time[_validation_period(plan)], lat[:, np.newaxis])
    return season, season_of(plan.time[valid_days], lat[:, np.newaxis, np.newaxis])


def _dressed(forecast: Floats, errors: Floats, seasons: Seasons, levels: tuple[float, ...]) -> BaselineForecast:
    season, season_ahead = seasons
    dressed = dress(forecast, error_quantiles(errors, season, (*levels, 0.5)), season_ahead)
    return BaselineForecast(forecast, dressed[..., -1], dressed[..., :-1])


def _on_issue_days(plan: Plan, name: str, cube: xr.Dataset, target: str, history: History, cells: slice) -> Floats:
    """``(cell, issue day, lead)``."""
    if name in plan.regressions:
        return plan.regressions[name].forecast(cube, cells, target, plan.overlap.issued + 1, trained=False)
    by_day = BASELINES[name](history, plan.time, _padded(plan, plan.overlap.learn), plan.days, **_options(plan))
    leads = range(1, plan.leads + 1)
    return np.stack([by_day[lead - 1][:, plan.within_days(lead)] for lead in leads], axis=-1)


def _on_validation_days(plan: Plan, name: str, cube: xr.Dataset, target: str, history: History, cells: slice) -> Floats:
    """``(lead, cell, day)`` of the validation period, learnt from the training days and without a look at test days."""
    period = _validation_period(plan)
    if name not in plan.regressions:
        learnt = np.where(_padded(plan, plan.overlap.learn), history, np.float32(np.nan))
        return BASELINES[name](learnt, plan.time, _padded(plan, plan.overlap.training), period, **_options(plan))
    regression = plan.regressions[name]
    first_days = regression.verified_days
    forecast = regression.forecast(cube, cells, target, first_days, trained=True)
    by_day = np.full((plan.leads, len(history), period.stop - period.start), np.nan, dtype=np.float32)
    for lead in range(plan.leads):
        by_day[lead][:, first_days + lead - period.start] = forecast[..., lead]
    return by_day


def _options(plan: Plan) -> dict[str, Any]:
    return {"lag": [lead + plan.latency for lead in range(1, plan.leads + 1)], "fill_days": plan.fill_days}


def _padded(plan: Plan, days: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Days of the cube as days of `Plan.time`."""
    return np.pad(days, (0, len(plan.time) - len(days)))


def _validation_period(plan: Plan) -> slice:
    """From the first validation day to the last."""
    inside = np.flatnonzero(plan.overlap.validation)
    return slice(int(inside[0]), int(inside[-1]) + 1)
