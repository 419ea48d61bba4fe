"""Time series of a few example cells: observations, and forecasts of each issue day."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import read
from soilcast.verify.climate import CLIMATES, cells_in
from soilcast.verify.loading import GROUP, load_models
from soilcast.verify.plan import Plan, open_files

_QUANTILES = (0.1, 0.5, 0.9)
_BEFORE = 14
"""So many days before the test are shown too, so that the first forecasts stand beside their past."""

_MOISTURE = {"units": "m3 m-3"}

Positions = npt.NDArray[np.int64]


def pick_cells(scores: xr.Dataset) -> Positions:
    """Choose example cells that represent the others.

    Of each main climate the cell of median skill, where the cells are in two climates or more; else the cells at the
    quantiles 0.1, 0.5 and 0.9 of the RMSE. Skill and RMSE are the mean over the forecasts, targets and leads; equal
    ones go by the number of the cell, so that the order of cells does not matter.

    Parameters
    ----------
    scores
        ``skill`` and ``rmse`` ``(model, ..., cell)``, ``is_baseline(model)`` and, if there, ``climate_zone(cell)``.

    Returns
    -------
    Positions along cell, ``(pick,)``, without repeats.
    """
    forecasts = scores.isel(model=np.flatnonzero(~scores["is_baseline"].to_numpy()))
    over = [dim for dim in forecasts["skill"].dims if dim not in ("model", "cell")]
    skill, rmse = (forecasts[name].mean(over).mean("model", skipna=False).to_numpy() for name in ("skill", "rmse"))
    number = scores["cell"].to_numpy()
    if "climate_zone" in scores:
        zone = scores["climate_zone"].to_numpy()
        groups = [cells_in(climate, zone) & np.isfinite(skill) for climate in CLIMATES]
        groups = [group for group in groups if group.any()]
        if len(groups) > 1:
            return np.array([_at_quantile(skill, group, number, 0.5) for group in groups], dtype=np.int64)
    scored = np.isfinite(rmse)
    picked = [_at_quantile(rmse, scored, number, quantile) for quantile in _QUANTILES]
    return np.array(list(dict.fromkeys(picked)), dtype=np.int64)


def days_of(plan: Plan) -> slice | Positions:
    """Days whose observations are shown, as positions along those of the cube: the test, and two weeks before."""
    if isinstance(plan.test, slice):
        return slice(max(plan.test.start - _BEFORE, 0), plan.test.stop)
    first = int(plan.test[0])
    return np.concatenate([np.arange(max(first - _BEFORE, 0), first), plan.test])


def series_of(plan: Plan, picks: Positions, cube: xr.Dataset) -> dict[str, xr.Variable]:
    """Series of the example cells.

    Parameters
    ----------
    plan
        What is evaluated.
    picks
        Positions along cell, ``(pick,)``.
    cube
        The opened cube, of the cells that are evaluated.

    Returns
    -------
    ``pick_cell(pick)``, ``observed(target, pick, day)``, ``predicted(model, target, pick, time, lead)``; if any model
    has quantiles, ``predicted_quantile(model, target, pick, time, lead, quantile)``, NaN where it has not; and, if the
    cube has it, ``precipitation(pick, day)`` [m d-1]. ``day`` are those of `days_of`, ``time`` the issue days.
    """
    levels, days = plan.all_levels, days_of(plan)
    shape = (len(plan.models), len(plan.targets), len(picks), plan.issues, plan.leads)
    observed = np.empty((len(plan.targets), len(picks), len(plan.time[days])), dtype=np.float32)
    predicted = np.empty(shape, dtype=np.float32)
    quantiles = np.full((*shape, len(levels)), np.nan, dtype=np.float32)
    with open_files(plan) as opened:
        for p, pick in enumerate(picks):
            first_cell = int(pick) // GROUP * GROUP
            cells = slice(first_cell, min(first_cell + GROUP, cube.sizes["cell"]))
            for t, target in enumerate(plan.targets):
                loaded = load_models(plan, opened, target, cells)
                observed[t, p] = loaded.history[pick - first_cell, days]
                for m, (label, central) in enumerate(loaded.central.items()):
                    predicted[m, t, p] = central[pick - first_cell]
                    if label in loaded.quantiles:
                        positions = [levels.index(level) for level in plan.levels_of(label, target)]
                        quantiles[m, t, p][..., positions] = loaded.quantiles[label][pick - first_cell]
    by_issue = ("model", "target", "pick", "time", "lead")
    series = {
        "pick_cell": xr.Variable("pick", picks, {"long_name": "position along cell of a cell that is shown"}),
        "observed": xr.Variable(("target", "pick", "day"), observed, {"long_name": "observed", **_MOISTURE}),
        "predicted": xr.Variable(by_issue, predicted, {"long_name": "forecast", **_MOISTURE}),
    }
    if levels:
        attributes = {"long_name": "quantile of the forecast", **_MOISTURE}
        series["predicted_quantile"] = xr.Variable((*by_issue, "quantile"), quantiles, attributes)
    if "tp" in cube:
        shown = cube.isel(time=days)
        rain = np.concatenate([read(shown, "tp", slice(pick, pick + 1)) for pick in picks])
        attributes = {"long_name": "total precipitation", "units": "m d-1"}
        series["precipitation"] = xr.Variable(("pick", "day"), rain, attributes)
    return series


def _at_quantile(
    values: npt.NDArray[np.float64], among: npt.NDArray[np.bool_], number: npt.NDArray[np.integer], quantile: float
) -> int:
    positions = np.flatnonzero(among)
    order = positions[np.lexsort((number[positions], values[positions]))]
    return int(order[int(quantile * (len(order) - 1) + 0.5)])
