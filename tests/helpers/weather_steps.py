"""Forecasts of the weather as their centres give them, written with ecCodes and xarray from known daily truth.

The truth is that of the small cube. Instants swing about the mean of their day by a wave that any even steps cancel;
amounts of a day fall by hours as `SHARES` says, so every accumulation is exact. Each cell of the cube is covered by
points that differ and whose mean over its area is the cell's value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import eccodes
import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import grid_of, to_grid
from soilcast.sources.derived import saturation_vapour_pressure
from tests.helpers.multiday import CELLS, DAYS, LEADS
from tests.helpers.small import small_cube

Floats = npt.NDArray[np.float64]

DAY = 24
SHARES = np.array([1, 0, 0, 2, 5, 0, 0, 0, 0, 1, 3, 0, 0, 0, 0, 0, 4, 4, 1, 0, 0, 0, 2, 1], dtype=np.float64) / 24
"""Share of a day's amount that falls in each of its hours."""

POINTS = 4
"""Points of the forecast's grid along each side of a cell of the cube, which is 4 degrees wide."""


@dataclass(frozen=True)
class Layout:
    """How a model writes one parameter.

    Parameters
    ----------
    number
        ``paramId``, or discipline, category and number of edition 2.
    scale
        From the contract's unit to that of the file, for an amount from that of a day.
    kind
        ``instant``; ``since-start``; ``step``: of the step that ends; ``bucket``: since the last multiple of 6 hours;
        ``mean-bucket``: the mean rate of that time; ``rate``: an instantaneous rate.
    """

    number: int | tuple[int, int, int]
    scale: float
    kind: str


IFS = {
    "tp": Layout(228, 1.0, "since-start"),
    "t2m": Layout(167, 1.0, "instant"),
    "d2m": Layout(168, 1.0, "instant"),
    "sp": Layout(134, 1.0, "instant"),
    "u10": Layout(165, 1.0, "instant"),
    "v10": Layout(166, 1.0, "instant"),
    "ssrd": Layout(169, 86400.0, "since-start"),
    "strd": Layout(175, 86400.0, "since-start"),
}
AIFS = IFS | {"tp": Layout(228228, 1000.0, "since-start")}
AIFS_STEPS = IFS | {"tp": Layout(228228, 1000.0, "step")}
TIGGE = IFS | {"tp": Layout(228228, 1000.0, "since-start")}
GFS = {
    "tp": Layout((0, 1, 8), 1000.0, "bucket"),
    "t2m": Layout((0, 0, 0), 1.0, "instant"),
    "d2m": Layout((0, 0, 6), 1.0, "instant"),
    "q": Layout((0, 1, 0), 1.0, "instant"),
    "r2": Layout((0, 1, 1), 100.0, "instant"),
    "sp": Layout((0, 3, 0), 1.0, "instant"),
    "u10": Layout((0, 2, 2), 1.0, "instant"),
    "v10": Layout((0, 2, 3), 1.0, "instant"),
    "ssrd": Layout((0, 4, 192), 1.0, "mean-bucket"),
    "strd": Layout((0, 5, 192), 1.0, "mean-bucket"),
}
GFS_RATES = GFS | {"tp": Layout((0, 1, 7), 1000 / 86400, "mean-bucket")}
_HEIGHTS = {"t2m": 2, "d2m": 2, "q": 2, "r2": 2, "u10": 10, "v10": 10}
_AMOUNTS = ("tp", "ssrd", "strd", "e")


@dataclass(frozen=True)
class Truth:
    """Daily weather after an issue day, on the grid of a forecast.

    Parameters
    ----------
    first
        Day that the values begin with: the one before the issue day.
    lat, lon
        ``(lat,)`` from the north and ``(lon,)``.
    daily
        Variable -> ``(day, lat, lon)`` in the contract's unit.
    """

    first: np.datetime64
    lat: Floats
    lon: Floats
    daily: dict[str, Floats]

    def instant(self, name: str, hour: int) -> Floats:
        """Value at an hour since the begin of the first day."""
        wave = {"t2m": 3.0, "sp": 40.0, "u10": 1.0, "v10": 1.0}.get(name, 0.0)
        return self.daily[name][hour // DAY] + wave * np.sin(2 * np.pi * (hour + 1.5) / DAY)

    def amount(self, name: str, start: int, end: int) -> Floats:
        """What falls between two hours, as if of a day."""
        total = np.zeros(self.daily[name].shape[1:])
        for hour in range(start, end):
            total += self.daily[name][hour // DAY] * SHARES[hour % DAY]
        return total


@cache
def _cube() -> xr.Dataset:
    return small_cube(CELLS, DAYS)


def truth_of(
    issue: str, names: Sequence[str], *, leads: int = LEADS, members: int = 0, offset: float = 0.0
) -> list[Truth]:
    """The days around an issue day, of each member: as `tests.helpers.multiday.forecast_weather` changes them.

    Parameters
    ----------
    offset
        Degrees by which the points of the grid lie off the corners of cells, on top of half a spacing.
    """
    cube = _cube()
    first = np.datetime64(issue, "D") - 1
    days = (first + np.arange(leads + 4)).astype("datetime64[ns]")
    grid = grid_of(cube)
    assert grid is not None
    found = []
    for member in range(max(members, 1)):
        daily: dict[str, Floats] = {}
        for name in names:
            source = cube[name].sel(time=days, method="nearest") * (1 + 0.001 * member)
            fields = to_grid(source, grid).transpose("time", "lat", "lon").to_numpy().astype(np.float64)
            fields = np.where(np.isnan(fields), np.nanmean(fields), fields)
            fine = np.repeat(np.repeat(fields, POINTS, axis=1), POINTS, axis=2)
            daily[name] = fine * (1 + (0.0 if name in ("q", "sp") else 0.05) * _pattern(grid, fine.shape[1:]))
        step = 4.0 / POINTS
        lat = grid.lat[0] + 2.0 - step / 2 - step * np.arange(len(grid.lat) * POINTS)
        lon = grid.lon[0] - 2.0 + step / 2 + step * np.arange(len(grid.lon) * POINTS)
        if "q" in daily:
            daily["d2m"] = dewpoint(daily["q"], daily["sp"])
        found.append(Truth(first, lat + offset, lon + offset, daily))
    return found


def _pattern(grid: Any, shape: tuple[int, ...]) -> Floats:
    """Numbers whose mean over the area of each cell is 0: opposite in neighbouring columns."""
    signs = np.where(np.arange(shape[1]) % 2, 1.0, -1.0)
    return np.broadcast_to(signs, shape)


def dewpoint(humidity: Floats, pressure: Floats) -> Floats:
    """Dewpoint [K] at which air has a specific humidity, by bisection."""
    ratio = 287.0597 / 461.5250
    vapour = humidity * pressure / (ratio + (1 - ratio) * humidity)
    low, high = np.full(vapour.shape, 200.0), np.full(vapour.shape, 330.0)
    for _ in range(60):
        middle = (low + high) / 2
        above = saturation_vapour_pressure(middle) > vapour
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2


@dataclass(frozen=True)
class Step:
    """One field: what it is of, in hours since the start of the forecast, and its values in the file's unit."""

    name: str
    member: int | None
    start: int
    end: int
    values: Floats


def steps_of(
    truths: Sequence[Truth], layout: dict[str, Layout], names: Sequence[str], hours: Sequence[int], start: int
) -> Iterator[Step]:
    """All fields of a forecast, step by step as centres write them.

    Parameters
    ----------
    hours
        Steps, from 0 on.
    start
        Hour of the start since the begin of the truth.
    """
    members = [None] if len(truths) == 1 else list(range(len(truths)))
    for position, hour in enumerate(hours):
        for member, truth in zip(members, truths, strict=True):
            for name in names:
                one = layout[name]
                if one.kind in ("instant", "rate"):
                    values = truth.instant(name, start + hour) if name != "r2" else _relative(truth, start + hour)
                    yield Step(name, member, hour, hour, values * one.scale)
                    continue
                if hour == 0:
                    continue
                begin = {
                    "since-start": 0,
                    "step": hours[position - 1],
                    "bucket": (hour - 1) // 6 * 6,
                    "mean-bucket": (hour - 1) // 6 * 6,
                }[one.kind]
                values = truth.amount(name, start + begin, start + hour) * one.scale
                if one.kind == "mean-bucket":
                    values = values * DAY / (hour - begin)
                yield Step(name, member, begin, hour, values)


def _relative(truth: Truth, hour: int) -> Floats:
    """Relative humidity over water at an hour [1]."""
    return saturation_vapour_pressure(truth.daily["d2m"][hour // DAY]) / saturation_vapour_pressure(
        truth.instant("t2m", hour)
    )


def write_steps(
    path: Path,
    truths: Sequence[Truth],
    layout: dict[str, Layout],
    names: Sequence[str],
    hours: Sequence[int],
    *,
    start: int = 2 * DAY,
    edition: int = 2,
    centre: str = "ecmf",
    seasonal: bool = False,
    bits: int = 24,
    change: Callable[[Step], Step | None] = lambda step: step,
) -> Path:
    """Write a GRIB file of a forecast.

    Parameters
    ----------
    start
        Hour of the start since the begin of the truth: by default 00 UTC of the day after the issue day.
    edition
        1: the steps of amounts are their ends alone, as ECMWF's archive has them.
    seasonal
        Members of the stream of seasonal forecasts, of type fc.
    bits
        Of a value.
    change
        Changes a field, or leaves it out.
    """
    run = (truths[0].first.astype("datetime64[h]") + start).astype("datetime64[s]").item()
    with path.open("wb") as stream:
        for original in steps_of(truths, layout, names, hours, start):
            step = change(original)
            if step is None:
                continue
            handle = eccodes.codes_grib_new_from_samples(f"regular_ll_sfc_grib{edition}")
            keys: dict[str, Any] = {"centre": centre, "dataDate": int(run.strftime("%Y%m%d"))}
            keys["dataTime"] = 100 * run.hour
            if edition == 2:
                keys = {"tablesVersion": 32} | keys
            for key, value in keys.items():
                eccodes.codes_set(handle, key, value)
            _identify(handle, layout[step.name], step, edition, seasonal)
            _lay(handle, truths[0])
            eccodes.codes_set(handle, "bitsPerValue", bits)
            eccodes.codes_set_values(handle, step.values.ravel())
            eccodes.codes_write(handle, stream)
            eccodes.codes_release(handle)
    return path


def _identify(handle: Any, one: Layout, step: Step, edition: int, seasonal: bool) -> None:
    def put(**keys: Any) -> None:
        for key, value in keys.items():
            eccodes.codes_set(handle, key, value)

    is_range = step.start != step.end
    if edition == 1:
        put(setLocalDefinition=1, localDefinitionNumber=1)
        kind = "fc" if step.member is None or seasonal else "pf"
        put(**{"class": "od", "type": kind, "stream": "mmsf" if seasonal else "oper" if kind == "fc" else "enfo"})
        put(paramId=one.number, stepRange=str(step.end))
        if step.member is not None:
            put(perturbationNumber=step.member)
        return
    put(productDefinitionTemplateNumber=(11 if is_range else 1) if step.member is not None else 8 if is_range else 0)
    if step.member is not None:
        put(perturbationNumber=step.member)
    if isinstance(one.number, int):
        put(paramId=one.number)
        if step.member is not None:  # the number of a parameter chooses a template without members
            put(productDefinitionTemplateNumber=11 if is_range else 1, perturbationNumber=step.member)
    else:
        put(**dict(zip(("discipline", "parameterCategory", "parameterNumber"), one.number, strict=True)))
        if step.name in _HEIGHTS:
            put(typeOfFirstFixedSurface=103, scaleFactorOfFirstFixedSurface=0)
            put(scaledValueOfFirstFixedSurface=_HEIGHTS[step.name])
        else:
            put(typeOfFirstFixedSurface=1)
        if is_range:
            put(typeOfStatisticalProcessing=0 if one.kind == "mean-bucket" else 1)
    put(stepRange=f"{step.start}-{step.end}" if is_range else str(step.end))


def _lay(handle: Any, truth: Truth) -> None:
    lat, lon = truth.lat, truth.lon % 360.0
    for key, value in {
        "Ni": len(lon),
        "Nj": len(lat),
        "latitudeOfFirstGridPointInDegrees": lat[0],
        "latitudeOfLastGridPointInDegrees": lat[-1],
        "longitudeOfFirstGridPointInDegrees": lon[0],
        "longitudeOfLastGridPointInDegrees": lon[-1],
        "iDirectionIncrementInDegrees": 4.0 / POINTS,
        "jDirectionIncrementInDegrees": 4.0 / POINTS,
        "iScansNegatively": 0,
        "jScansPositively": 0,
    }.items():
        eccodes.codes_set(handle, key, value)


def write_truth(path: Path, issue: str, names: Sequence[str], *, leads: int = LEADS, members: int = 0) -> Path:
    """Write the daily truth itself at the cells of the cube, as a forecast of daily values."""
    cube = _cube()
    days = np.datetime64(issue, "ns") + np.arange(1, leads + 1) * np.timedelta64(1, "D").astype("timedelta64[ns]")
    found = {}
    for name in names:
        values = cube[name].sel(time=days).to_numpy().astype(np.float64)
        if members:
            values = np.stack([values * (1 + 0.001 * member) for member in range(members)])
        dims = ("number", "cell", "time") if members else ("cell", "time")
        found[name] = (dims, values.astype(np.float32), {"units": cube[name].attrs["units"], "positive": "up"})
    coordinates = {"time": days, "lat": ("cell", cube["lat"].to_numpy()), "lon": ("cell", cube["lon"].to_numpy())}
    xr.Dataset(found, coordinates).to_netcdf(path, engine="h5netcdf")
    return path


def dataset_of(
    truths: Sequence[Truth],
    layout: dict[str, Layout],
    names: Sequence[str],
    hours: Sequence[int],
    *,
    start: int = 2 * DAY,
    style: str = "store",
    centre: str = "ecmf",
) -> xr.Dataset:
    """A forecast as converters of GRIB write it, or as CF has it.

    Parameters
    ----------
    style
        ``store``: as the Climate Data Store writes it, with dimensions of starts and of steps; ``cfgrib``: one start,
        and steps; ``bounds``: times with bounds, and no word of GRIB.
    """
    fields: dict[str, dict[tuple[int, int], Floats]] = {name: {} for name in names}
    bounds = {hour: hour for hour in hours}
    for step in steps_of(truths, layout, names, hours, start):
        fields[step.name][step.member or 0, step.end] = step.values
        bounds[step.end] = min(bounds[step.end], step.start)
    nothing = np.zeros(truths[0].daily[next(iter(truths[0].daily))].shape[1:])
    members = range(len(truths))
    data: dict[str, Any] = {}
    for name, found in fields.items():
        values = np.stack([[found.get((member, hour), nothing) for hour in hours] for member in members])
        data[name] = (("number", "step", "latitude", "longitude"), values, _attributes(name, layout[name], style))
    run = truths[0].first.astype("datetime64[ns]") + np.timedelta64(start, "h")
    steps = np.asarray(hours) * np.timedelta64(1, "h").astype("timedelta64[ns]")
    places = {"latitude": truths[0].lat, "longitude": truths[0].lon, "number": list(members)}
    made = xr.Dataset(data, {**places, "step": steps, "time": run, "valid_time": ("step", run + steps)})
    if len(members) == 1:
        made = made.isel(number=0, drop=True)
    if style == "bounds":
        begins = np.array([bounds[hour] for hour in hours]) * np.timedelta64(1, "h").astype("timedelta64[ns]")
        made = made.drop_vars(["step", "time", "valid_time"]).rename(step="time")
        made = made.assign_coords(time=("time", run + steps, {"bounds": "time_bnds"}))
        made["time"].encoding["units"] = "hours since 2020-01-01"
        return made.assign(time_bnds=(("time", "bnds"), np.stack([run + begins, run + steps], axis=1)))
    made.attrs = {"GRIB_centre": centre}
    if style == "store":
        made = made.expand_dims("time").rename(time="forecast_reference_time", step="forecast_period")
    return made


def _attributes(name: str, one: Layout, style: str) -> dict[str, Any]:
    unit = {"tp": "m" if one.scale == 1.0 else "kg m**-2", "ssrd": "J m**-2", "strd": "J m**-2"}
    units = {"t2m": "K", "d2m": "K", "sp": "Pa", "u10": "m s**-1", "v10": "m s**-1"} | unit
    if style == "bounds":
        return {"units": units[name], "cell_methods": "time: sum" if name in _AMOUNTS else "time: point"}
    kind = "accum" if name in _AMOUNTS else "instant"
    return {"units": units[name], "GRIB_paramId": one.number, "GRIB_stepType": kind}
