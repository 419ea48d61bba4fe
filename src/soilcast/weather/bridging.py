"""The days by which a reanalysis is late: a cube that goes on to today with the first day of each weather forecast."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import VARIABLES, open_cube, read
from soilcast.cube.appending import append
from soilcast.cube.calendar import Days, day_of
from soilcast.cube.contract import BRIDGED
from soilcast.cube.identity import refuse_changed
from soilcast.cube.joining import join
from soilcast.cube.stream import PROGRESS
from soilcast.errors import SoilcastError
from soilcast.files import path_list, refuse_existing
from soilcast.progress import Log
from soilcast.provenance import stamp
from soilcast.schema import nearest
from soilcast.weather import Weather, open_weather
from soilcast.weather.corrections import CORRECTIONS, correct
from soilcast.weather.fields import Floats
from soilcast.weather.forecast_runs import NoForecastError
from soilcast.workplace import locked_workplace

_MOST_DAYS = 60
"""Days that are bridged, at most."""

_DAY = np.timedelta64(1, "D")


def bridge(
    cube: str | Path,
    out: str | Path,
    *,
    until: str,
    weather: str | Path | Sequence[str | Path] | None = None,
    variables: Sequence[str] = (),
    known_until: str | None = None,
    correction: str = "mean",
    learn_days: int = 366,
    units: Mapping[str, str] | None = None,
    lapse_rate: float | None = None,
    memory: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
    log: Log | None = None,
) -> xr.Dataset:
    """Write a cube that goes on to a later day, with the weather of the days after its last from weather forecasts.

    Each of these days is the first day of the forecast that starts at its 00 UTC; without that, the day of the newest
    forecast before. Of an ensemble it is the mean. Forecasts are corrected by those of the days that the cube has too.
    What no forecast gives, such as soil moisture, is missing on these days. Blocks of the cube that do not change are
    not copied, where the disk can give a file two names.

    Parameters
    ----------
    cube
        A cube, as `prepare` and `update` write it.
    out
        Cube to write: a Zarr folder, or NetCDF if the name ends in ``.nc``.
    until
        The last day of the new cube: the issue day.
    weather
        Archive of weather forecasts (`soilcast.weather.open_weather`): those of the days that are bridged, and earlier
        ones from which the correction is learnt. Not needed without variables.
    variables
        Variables of the cube that are taken from it.
    known_until
        The last day of ``cube`` that is used; by default its last.
    correction
        Key of `soilcast.weather.corrections.CORRECTIONS`: ``mean`` corrects the mean of each cell, variable and month
        of the year, ``quantile`` its distribution, ``none`` nothing.
    learn_days
        Days before ``known_until`` of which forecasts are compared with the cube.
    units
        Variable -> unit, if the forecasts give none or a wrong one.
    lapse_rate
        By how much temperature falls with height [K km-1], to correct it for the elevation of each cell.
    memory
        Memory limit [bytes].
    overwrite
        Replace ``out`` if it exists.
    progress
        Show a progress bar.
    log
        Called with what was done to each variable.

    Returns
    -------
    The new cube, opened. Its attribute ``bridged`` says which days are bridged, how, and from what.

    Raises
    ------
    SoilcastError
        A damaged cube, or one that is bridged itself; no day or more than 60 to bridge; a variable that the cube lacks;
        forecasts that lack a day, a cell or a value; what `open_weather` raises; ``out`` exists; a full disk.
    """
    path, out = Path(cube), Path(out)
    opened = open_cube(path)
    known, days = _days_of(opened, path, until, known_until)
    _refuse_variables(opened, path, variables, weather is not None)
    if correction not in CORRECTIONS:
        raise SoilcastError(f"--correction {correction}: {nearest(correction, CORRECTIONS)}")
    if learn_days < 0:
        raise SoilcastError(f"--learn-days {learn_days}: give 0 or more days")
    refuse_existing(out, kind="cube", overwrite=overwrite)
    base = opened.isel(time=slice(0, known))
    base.encoding |= opened.encoding
    paths = path_list(weather) if weather is not None else []
    # The weather of a day is lead 1 of the issue day before it.
    forecasts = functools.partial(
        open_weather, paths, opened, variables, leads=1, units=units or {}, lapse_rate=lapse_rate, memory=memory,
        progress=progress,
    )  # fmt: skip
    found = forecasts(issues=days - 1, gaps=False) if variables else None
    values = np.empty((base.sizes["cell"], len(days), 0), dtype=np.float32)
    told: list[str] = []
    if found is not None:
        values = _mean_of_members(found)
        learnt = base.isel(time=slice(max(0, known - learn_days), None))
        past_days = learnt["time"].to_numpy().astype("datetime64[D]")
        past = None
        if correction != "none" and len(past_days):
            with suppress(NoForecastError):
                past = _mean_of_members(forecasts(issues=past_days - 1, gaps=True))
        for feature, name in enumerate(variables):
            if past is None:
                told.append(f"{name} not corrected" + (" (no earlier forecast)" if correction != "none" else ""))
                continue
            values[..., feature], done = correct(
                correction, name, values[..., feature], days, past[..., feature], read(learnt, name), past_days
            )
            told += [one.text() for one in done]
        told[0] = f"{', '.join(variables)} from the first day of each forecast ({found.title}); {told[0]}"
    for line in told:
        (log or (lambda line: None))(line)
    said = {
        "days": [str(day) for day in days],
        "variables": list(variables),
        "weather": "none" if found is None else found.title,
        "starts": [] if found is None or found.starts is None else [str(start) for start in found.starts],
        "correction": correction if variables else "none",
        "done": told,
    }
    part = _part(base, days, variables, values, said)
    joined = join(
        base, part, str(path), "the bridged days", overlap="refuse", tolerance=0.0, allow_gap=False, cut=False,
        memory=memory,
    )  # fmt: skip
    provenance = stamp(
        "soilcast bridge", cube=str(path), cube_sha256=opened.attrs["content_sha256"],
        weather=[str(one) for one in paths], until=str(days[-1]), known_until=str(days[0] - _DAY),
        correction=correction,
    )  # fmt: skip
    with locked_workplace(out, overwrite=overwrite, resume=False, keep=PROGRESS) as place:
        inside = place / "bridge"
        inside.mkdir(exist_ok=True)
        append(
            joined, out, inside, provenance=provenance, memory=memory, progress=progress,
            log=log or (lambda line: None), stored=path, doing="bridge",
        )  # fmt: skip
        refuse_changed(opened)
    return open_cube(out)


def _mean_of_members(found: Weather) -> Floats:
    """Values of the first days ``(cell, day, feature)``; NaN where there is no forecast."""
    values: Floats = found.values().mean(axis=0, dtype=np.float64)[:, :, 0].astype(np.float32)
    return values


def _days_of(cube: xr.Dataset, path: Path, until: str, known_until: str | None) -> tuple[int, Days]:
    """How many days of the cube are used, and the days that are bridged."""
    if BRIDGED in cube.attrs:
        raise SoilcastError(f"{path}: is bridged already: give the cube that it was made of")
    held = cube["time"].to_numpy().astype("datetime64[D]")
    last = day_of(known_until or str(held[-1]), "--known-until")
    end = day_of(until, "--until")
    if not held[0] <= last <= held[-1]:
        raise SoilcastError(f"--known-until {last} is outside {path} ({held[0]} .. {held[-1]}): choose a day within it")
    count = int((end - last) / _DAY)
    if not 1 <= count <= _MOST_DAYS:
        more = "it needs no bridging" if count < 1 else f"that is {count} days, more than {_MOST_DAYS}: update it first"
        raise SoilcastError(f"--until {end}: the days of {path} that are used end {last}: {more}")
    days: Days = last + np.arange(1, count + 1) * _DAY
    return int((last - held[0]) / _DAY) + 1, days


def _refuse_variables(cube: xr.Dataset, path: Path, variables: Sequence[str], has_weather: bool) -> None:
    dynamic = [str(name) for name, one in cube.data_vars.items() if "time" in one.dims]
    for name in variables:
        if name not in dynamic:
            raise SoilcastError(f"{path}: no dynamic variable {name}: {nearest(name, dynamic)}")
        if name.startswith("swvl"):
            raise SoilcastError(f"--variables {name}: soil moisture is not taken from a weather forecast: leave it out")
    if bool(variables) != has_weather:
        raise SoilcastError("--weather and --variables: give both, or neither (all inputs of the bridged days missing)")


def _part(
    base: xr.Dataset, days: Days, variables: Sequence[str], values: npt.NDArray[np.float32], said: Mapping[str, Any]
) -> xr.Dataset:
    """The bridged days, as `join` takes them."""
    shape = (base.sizes["cell"], len(days))
    attributes = {name: one for name, one in base.attrs.items() if name != "notes"}
    note = "bridged: " + "; ".join(said["done"]) if said["done"] else "bridged without weather"
    attributes |= {BRIDGED: json.dumps(said), "notes": f"{note}; all else is missing"}
    part = base.drop_vars([str(name) for name in base.data_vars if "time" in base[name].dims] + ["time"])
    part = part.assign_coords(time=("time", days.astype("datetime64[ns]"), base["time"].attrs))
    part.attrs = attributes
    for name in (name for name in base.data_vars if "time" in base[name].dims):
        position = list(variables).index(str(name)) if name in variables else None
        data = np.full(shape, np.nan, dtype=np.float32) if position is None else values[..., position]
        part[name] = (VARIABLES[str(name)].dims, data, base[name].attrs)
    return part
