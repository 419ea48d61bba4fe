"""What baselines forecast on the issue days, and, where forecasts have quantiles, with which of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from soilcast.models.baselines import BASELINES
from soilcast.verify.aligned import Floats
from soilcast.verify.dressing import dress, error_quantiles, season_of
from soilcast.verify.plan import Plan

History = npt.NDArray[np.float32]


@dataclass(frozen=True)
class BaselineForecast:
    """A baseline of one target and some cells.

    Parameters
    ----------
    forecast
        ``(cell, issue day, lead)`` [m3 m-3], learnt from training and validation days.
    quantiles
        ``(cell, issue day, lead, quantile)`` [m3 m-3]: the forecast and the quantiles of the errors, on the validation
        days, of the same baseline learnt from the training days alone; None of a point forecast.
    """

    forecast: Floats
    quantiles: Floats | None


def forecast_baselines(plan: Plan, target: str, history: History, lat: Floats) -> dict[str, BaselineForecast]:
    """Forecast a target by each baseline, from the observations that the forecasts have.

    Parameters
    ----------
    history
        Observations of all days of `Plan.time`, ``(cell, time)`` [m3 m-3].
    lat
        ``(cell,)`` [degrees].
    """
    leads = range(1, plan.leads + 1)
    options: dict[str, Any] = {"lag": [lead + plan.latency for lead in leads], "fill_days": plan.fill_days}
    beyond = len(plan.time) - len(plan.overlap.learn)
    learn, training, validation = (
        np.pad(days, (0, beyond)) for days in (plan.overlap.learn, plan.overlap.training, plan.overlap.validation)
    )
    levels = plan.levels_of(plan.baselines[0], target)
    if levels:
        learnt = np.where(learn, history, np.float32(np.nan))  # test days are not looked at
        inside = np.flatnonzero(validation)
        period = slice(int(inside[0]), int(inside[-1]) + 1)
        verified = np.where(validation, history, np.float32(np.nan))[:, period]
        season = season_of(plan.time[period], lat)
        issued = plan.overlap.issued[:, np.newaxis] + np.arange(1, plan.leads + 1)
        season_ahead = season_of(plan.time[issued], lat)
    forecasts = {}
    for name in plan.baselines:
        by_day = BASELINES[name](history, plan.time, learn, plan.days, **options)  # (lead, cell, day)
        forecast = np.stack([by_day[lead - 1][:, plan.within_days(lead)] for lead in leads], axis=-1)
        quantiles = None
        if levels:
            errors = verified - BASELINES[name](learnt, plan.time, training, period, **options)
            quantiles = dress(forecast, error_quantiles(errors, season, levels), season_ahead)
        forecasts[name] = BaselineForecast(forecast, quantiles)
    return forecasts


def join_cells(parts: list[Mapping[str, BaselineForecast]]) -> dict[str, BaselineForecast]:
    """Join the forecasts of groups of cells."""
    joined = {}
    for name in parts[0]:
        quantiles = [part[name].quantiles for part in parts]
        joined[name] = BaselineForecast(
            np.concatenate([part[name].forecast for part in parts]),
            None if quantiles[0] is None else np.concatenate([one for one in quantiles if one is not None]),
        )
    return joined
