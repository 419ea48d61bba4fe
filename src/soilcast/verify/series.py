"""Which few cells are shown as series, and their series."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import read
from soilcast.verify.climate import CLIMATES, cells_in

_QUANTILES = (0.1, 0.5, 0.9)

Positions = npt.NDArray[np.int64]


def pick_cells(scores: xr.Dataset) -> Positions:
    """Pick cells that stand for the others, without choosing fine ones.

    Of each main climate the cell of median skill, where the cells lie in two climates or more; else the cells at the
    quantiles 0.1, 0.5 and 0.9 of the RMSE. Skill and RMSE are the mean over the forecasts; equal ones go by the
    number of the cell, so that the order of cells does not matter.

    Parameters
    ----------
    scores
        ``skill`` and ``rmse`` ``(model, cell)``, ``is_baseline(model)`` and, if there, ``climate_zone(cell)``.

    Returns
    -------
    Positions along cell, ``(pick,)``, without repeats.
    """
    forecasts = scores.isel(model=np.flatnonzero(~scores["is_baseline"].to_numpy()))
    skill = forecasts["skill"].mean("model", skipna=False).to_numpy()
    rmse = forecasts["rmse"].mean("model", skipna=False).to_numpy()
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


def picked_series(
    picks: Positions,
    cube: xr.Dataset,
    test: slice,
    observed: npt.NDArray[np.float32],
    predicted: npt.NDArray[np.float32],
) -> dict[str, xr.Variable]:
    """Series of the picked cells.

    Parameters
    ----------
    picks
        Positions along cell, ``(pick,)``.
    cube, test
        The opened cube and the test days as positions along time, for the precipitation.
    observed
        ``(pick, test day)`` [m3 m-3].
    predicted
        ``(model, pick, test day)`` [m3 m-3].

    Returns
    -------
    ``pick_cell(pick)``, ``observed(pick, time)``, ``predicted(model, pick, time)`` and, if the cube has it,
    ``precipitation(pick, time)`` [m d-1].
    """
    moisture = {"units": "m3 m-3"}
    series = {
        "pick_cell": xr.Variable("pick", picks, {"long_name": "position along cell of a cell that is shown"}),
        "observed": xr.Variable(("pick", "time"), observed, {"long_name": "observed", **moisture}),
        "predicted": xr.Variable(("model", "pick", "time"), predicted, {"long_name": "forecast", **moisture}),
    }
    return series | rain_of(picks, cube, test, "time")


def rain_of(picks: Positions, cube: xr.Dataset, test: slice, dim: str) -> dict[str, xr.Variable]:
    """``precipitation(pick, dim)`` [m d-1] of the test days, if the cube has it."""
    if "tp" not in cube:
        return {}
    rain = np.concatenate([read(cube.isel(time=test), "tp", slice(pick, pick + 1)) for pick in picks])
    about = {"long_name": "total precipitation", "units": "m d-1"}
    return {"precipitation": xr.Variable(("pick", dim), rain, about)}


def _at_quantile(
    values: npt.NDArray[np.float64], among: npt.NDArray[np.bool_], number: npt.NDArray[np.integer], quantile: float
) -> int:
    positions = np.flatnonzero(among)
    order = positions[np.lexsort((number[positions], values[positions]))]
    return int(order[int(quantile * (len(order) - 1) + 0.5)])
