"""Quick runs of several days ahead on the small cube, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from soilcast.cube import save_cube
from soilcast.training import Run, load_config, train
from tests.helpers.small import small_cube

CELLS, DAYS, LEADS = 6, 780, 3
QUICK = (
    "train.epochs=2",
    "train.validate_every=1",
    "train.batches_per_epoch=6",
    "train.batch_size=16",
    "network.hidden_size=6",
    "task.dynamic=[t2m,tp,ssrd]",
    "task.static=[elevation]",
    "task.lags=[swvl1,swvl2]",
    f"task.lead_days={LEADS}",
    "task.quantiles=[0.05,0.1,0.25,0.5,0.75,0.9,0.95]",
    "head.predict=change",
    "loss.space=persistence",
    "split.test=2020-01-01:2020-02-19",
)
AHEAD = "task.known_future=[tp,t2m]"


def quick(cube: Path, out: Path, *settings: str, model: str = "lstm", init: Path | None = None) -> Run:
    """Train a small run of several days ahead."""
    return train(cube, out, load_config(settings=[*QUICK, *settings], model=model), init=init)


def changed_cube(path: Path, first: int, names: Sequence[str] | None = None, *, days: slice | None = None) -> Path:
    """Save the small cube with other values from day ``first`` on (or on some days), of all variables or of some."""
    cube = small_cube(CELLS, DAYS)
    chosen = days or slice(first, None)
    for name in names or [str(name) for name in cube.data_vars if "time" in cube[name].dims]:
        values = cube[name].to_numpy().copy()
        values[:, chosen] = values[::-1, chosen] * np.float32(0.97)
        cube[name] = (("cell", "time"), values, cube[name].attrs)
    save_cube(cube, path)
    return path


def forecast_weather(path: Path, issue: str, *, leads: int = LEADS, members: int = 0, shift: float = 0.0) -> Path:
    """Write a forecast of the weather after a day for the cells of the small cube, by their places."""
    cube = small_cube(CELLS, DAYS)
    days = np.datetime64(issue, "ns") + np.arange(1, leads + 1) * np.timedelta64(1, "D").astype("timedelta64[ns]")
    found = {}
    for name, unit, add in (("t2m", "K", shift), ("tp", "m d-1", 0.0)):
        values = cube[name].sel(time=days).to_numpy() + add
        if members:
            values = np.stack([values * (1 + 0.001 * member) for member in range(members)])
        dims = ("number", "cell", "time") if members else ("cell", "time")
        found[name] = (dims, values.astype(np.float32), {"units": unit})
    coordinates = {"time": days, "lat": ("cell", cube["lat"].to_numpy()), "lon": ("cell", cube["lon"].to_numpy())}
    xr.Dataset(found, coordinates).to_netcdf(path, engine="h5netcdf")
    return path


def weather_archive(
    path: Path,
    *,
    leads: int = LEADS,
    without: Sequence[str] = (),
    changed: str = "",
    members: int = 0,
    attributes: dict[str, str] | None = None,
) -> Path:
    """Write an archive of forecasts that come true for the small cube.

    Parameters
    ----------
    without
        Issue days that it lacks.
    changed
        Issue day whose forecast is another.
    """
    cube = small_cube(CELLS, DAYS)
    issues = np.arange(DAYS - leads)
    found = {}
    for name in ("t2m", "tp"):
        values = cube[name].to_numpy()[:, issues[:, np.newaxis] + np.arange(1, leads + 1)]
        dims = ("cell", "time", "lead")
        if members:
            values, dims = np.stack([values] * members), ("number", *dims)
        found[name] = (dims, values, {"units": cube[name].attrs["units"]})
    coordinates = {
        "time": cube["time"].to_numpy()[issues],
        "lead": ("lead", np.arange(1, leads + 1), {"units": "d"}),
        "lat": ("cell", cube["lat"].to_numpy()),
        "lon": ("cell", cube["lon"].to_numpy()),
    }
    data = xr.Dataset(found, coordinates, {"title": "forecasts that come true", **(attributes or {})})
    if changed:
        data["t2m"].loc[{"time": np.datetime64(changed)}] += 3.0
    kept = ~np.isin(data["time"].to_numpy(), np.array(without, dtype="datetime64[ns]"))
    data = data.isel(time=kept)
    data.to_netcdf(path, engine="h5netcdf", encoding={"time": {"units": "days since 2018-01-01"}})
    return path
