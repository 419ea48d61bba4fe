"""Stations that measure soil moisture: archives of the ISMN and tables of text, as daily values of soil layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import ERA5_LAND_LAYERS, assemble, cells_of_places, check_bounds, conversion, thickness_name
from soilcast.cube.contract import sensor_depth_name
from soilcast.cube.layers import ERA5_LAND_BOUNDS, layer_bounds
from soilcast.errors import SoilcastError
from soilcast.schema import nearest
from soilcast.sources.netcdf import unread_notes
from soilcast.sources.stations.archive import UNIT, check_flags, list_archive, read_archive
from soilcast.sources.stations.mapping import StationMapping
from soilcast.sources.stations.sensors import Choice, Sensor, choose
from soilcast.sources.stations.tables import read_tables
from soilcast.sources.stations.weather import weather_at
from soilcast.sources.table.mapping import read_as

LEAST_HOURS = 18
"""Hours with a value that a day needs: three quarters of it."""

_ISMN_TERMS = "terms of the International Soil Moisture Network and of its networks"

_LAYERS = tuple(ERA5_LAND_LAYERS)
_NAMED = 5


def stations(
    paths: Sequence[Path],
    *,
    mapping: Path | StationMapping | None = None,
    flags: Sequence[str] = ("G",),
    least_hours: int = LEAST_HOURS,
    layers: Sequence[float] | str = ERA5_LAND_BOUNDS,
    units: Mapping[str, str] | None = None,
    only: Sequence[str] = (),
    without: Sequence[str] = (),
    weather: Path | None = None,
) -> xr.Dataset:
    """Read soil moisture of stations: an unpacked archive of the ISMN, or tables of text with a mapping file.

    A station is a cell. Each of its layers has the daily means of one sensor: of those whose depth the layer holds
    (of a sensor over a range of depths the middle), the nearest to the middle of the layer; of several at that depth
    (replicates) the one with the most days. A day of UTC is the mean of its hours with a value, and missing where
    these are fewer than ``least_hours``. What is left out is counted in ``notes``.

    Parameters
    ----------
    paths
        Folders of an unpacked archive, or its ``.stm`` files; with ``mapping`` tables, or folders of them.
    mapping
        A YAML file on tables (``docs/stations.md``), or its parsed content; without it the files are the ISMN's.
    flags
        Quality flags of the ISMN that a value may have: ``G`` is good (Dorigo et al. 2013,
        doi:10.2136/vzj2012.0097); of several flags of a value each must be among them.
    least_hours
        Hours of a day with a value that its mean needs, 1 .. 24.
    layers
        Depths that bound the soil layers, from the surface down [m]: by default those of ERA5-Land. Give those of the
        forecasts that the stations are for.
    units
        Layer -> unit of all its sensors, stronger than the mapping and the files.
    only, without
        Stations to keep, by default all, and stations to leave out, by their names ``NETWORK/STATION``.
    weather
        Cube on a grid whose weather and static variables each station takes from its cell, so that a run can be trained
        at the stations.

    Returns
    -------
    The cube: layers ``swvl1`` .. that a station has, ``slthickN``, and ``sensor_depthN``, the depth of each station's
    sensor [m]. ``cell_name`` is ``NETWORK/STATION``.

    Raises
    ------
    SoilcastError
        Nothing to read, a damaged file, an unknown flag or zone, values above 1 without a unit, no day that is left, no
        sensor in any layer, a station at several places.
    """
    bounds = layer_bounds(layers)
    if isinstance(least_hours, bool) or not isinstance(least_hours, int) or not 1 <= least_hours <= 24:
        raise SoilcastError(f"--least-hours {least_hours}: write a number of hours from 1 to 24")
    stated = dict(units or {})
    for name in stated.keys() - set(_LAYERS[: len(bounds) - 1]):
        raise SoilcastError(
            f"--unit {name}={stated[name]}: stations have the layers {', '.join(_LAYERS[: len(bounds) - 1])}"
        )
    allowed = check_flags([flag.strip() for given in flags for flag in str(given).split(",")])
    if mapping is None:
        files, others = list_archive(paths)
        sensors = list(read_archive(files, allowed, least_hours))
        title, content, notes = _title_of(sensors), "station observations (ISMN)", _of_archive(sensors, allowed, others)
        license: str | None = _ISMN_TERMS
        where = f"{files[0].parent}"
    else:
        recipe = mapping if isinstance(mapping, StationMapping) else read_as(StationMapping, Path(mapping))
        sensors, notes, unread = read_tables(paths, recipe, least_hours)
        title, content, license = recipe.title, recipe.content, recipe.license
        notes += unread_notes(unread)
        where = sensors[0].where
    sensors = _selected(sensors, only, without, where)
    choice = choose(sensors, bounds)
    _refuse_empty(sensors, choice, bounds, allowed, least_hours, where)
    cube, of_weather = _cube(choice, bounds, stated, title, content, weather)
    notes += of_weather
    notes += [*_of_days(sensors, least_hours), *_of_choice(sensors, choice, bounds)]
    if notes:
        cube.attrs["notes"] = "\n".join(notes)
    return cube if license is None else cube.assign_attrs(license=license)


def _cube(
    choice: Choice,
    bounds: Sequence[float],
    stated: Mapping[str, str],
    title: str,
    content: str,
    weather: Path | None,
) -> tuple[xr.Dataset, list[str]]:
    """Give the cube, and notes on its weather."""
    found = {sensor.station.label: sensor.station for sensor in choice.chosen.values()}
    labels = sorted(found)
    _refuse_two_places(choice)
    position = {label: number for number, label in enumerate(labels)}
    first = min(sensor.days[0] for sensor in choice.chosen.values())
    last = max(sensor.days[-1] for sensor in choice.chosen.values())
    time = np.arange(first, last + np.timedelta64(1, "D"), dtype="datetime64[D]").astype("datetime64[ns]")
    variables: dict[str, Any] = {}
    origins = {}
    for number, layer in enumerate(_LAYERS[: len(bounds) - 1]):
        sensors = {label: sensor for (label, of), sensor in choice.chosen.items() if of == number}
        if not sensors:
            continue
        values = np.full((len(labels), len(time)), np.nan, dtype=np.float32)
        depth = np.full(len(labels), np.nan, dtype=np.float32)
        for label, sensor in sensors.items():
            at = ((sensor.days - first) / np.timedelta64(1, "D")).astype(np.int64)
            values[position[label], at] = _converted(layer, sensor, stated.get(layer))
            depth[position[label]] = sensor.depth
        variables[layer] = values
        variables[thickness_name(layer)] = np.full(len(labels), bounds[number + 1] - bounds[number], dtype=np.float32)
        variables[sensor_depth_name(layer)] = depth
        origins[layer] = f"{len(sensors)} sensor(s), such as {next(iter(sensors.values())).where}"
    elevation = np.array([found[label].elevation for label in labels])
    if np.isfinite(elevation).all():
        variables["elevation"] = elevation
    lat, lon = (np.array([getattr(found[label], name) for label in labels]) for name in ("lat", "lon"))
    lon = np.where(lon > 180.0, lon - 360.0, lon)
    notes: list[str] = []
    if weather is not None:
        there, notes = weather_at(Path(weather), lat, lon, labels, time, variables)
        variables |= there
        origins |= dict.fromkeys(there, f"nearest cell of {weather}")
    cube = assemble(
        variables,
        cells=cells_of_places(lat, lon, np.ones(len(labels)), labels),
        time=time,
        title=title,
        source="stations",
        content=content,
        origins=origins,
    )
    return cube, notes


def _selected(sensors: list[Sensor], only: Sequence[str], without: Sequence[str], where: str) -> list[Sensor]:
    """Keep the sensors of the stations that are asked for."""
    known = sorted({sensor.station.label for sensor in sensors})
    for option, names in (("--only", only), ("--without", without)):
        for name in names:
            if name not in known:
                raise SoilcastError(f"{option} {name}: no such station in {where}: {nearest(name, known)}")
    kept = (set(only) or set(known)) - set(without)
    if not kept:
        raise SoilcastError(f"{where}: --only and --without leave no station: name fewer in --without")
    return [sensor for sensor in sensors if sensor.station.label in kept]


def _converted(layer: str, sensor: Sensor, stated: str | None) -> npt.NDArray[np.float64]:
    """The values of a sensor [m3 m-3]; without a unit they are taken as such if none is above 1."""
    unit = stated or sensor.unit
    highest = float(np.max(sensor.values))
    if unit is None:
        if highest > 1.0:
            raise SoilcastError(
                f"{sensor.where}: values up to {highest:g} without a unit, and soil moisture in {UNIT} is at most 1: "
                f"add unit: percent to the sensor in the mapping (or --unit {layer}=percent)"
            )
        unit = UNIT
    values = conversion(layer, unit, sensor.where)(sensor.values)
    check_bounds(layer, np.asarray(values)[np.newaxis], sensor.where)
    return np.asarray(values)


def _refuse_two_places(choice: Choice) -> None:
    places: dict[str, Sensor] = {}
    for (label, _), sensor in choice.chosen.items():
        before = places.setdefault(label, sensor).station
        if max(abs(before.lat - sensor.station.lat), abs(before.lon - sensor.station.lon)) > 1e-3:
            raise SoilcastError(
                f"{sensor.where}: station {label} lies at {sensor.station.lat:g}, {sensor.station.lon:g}, but in "
                f"{places[label].where} at {before.lat:g}, {before.lon:g}: give each station one place"
            )


def _refuse_empty(
    sensors: Sequence[Sensor],
    choice: Choice,
    bounds: Sequence[float],
    flags: frozenset[str],
    least_hours: int,
    where: str,
) -> None:
    """Raise `SoilcastError` if no sensor is left, and say why."""
    if choice.chosen:
        return
    with_days = [sensor for sensor in sensors if len(sensor.days)]
    if with_days:
        depths = sorted({sensor.depth for sensor in with_days})
        raise SoilcastError(
            f"{where}: no sensor lies in a layer: depths {depths[0]:g} to {depths[-1]:g} m, layers {bounds[0]:g} to "
            f"{bounds[-1]:g} m: give other --layers"
        )
    dropped = sum((sensor.dropped for sensor in sensors), start=Counter[str]())
    most = max(sensor.most_hours for sensor in sensors)
    if 0 < most < least_hours:
        raise SoilcastError(
            f"{where}: no day is left, since none has more than {most} hours with a value: state --least-hours {most} "
            "or fewer"
        )
    if most:
        raise SoilcastError(
            f"{where}: no day is left: none has {least_hours} hours with a value: state fewer --least-hours"
        )
    named = _counted(dropped) or "no value at all"
    flagged = ",".join(sorted({*flags, *(f for reason in dropped for f in _flags_in(reason))}))
    remedy = f"; if that is good enough, accept them (--flags {flagged})" if any(map(_flags_in, dropped)) else ""
    raise SoilcastError(f"{where}: no value is left ({named}): give other stations or years{remedy}")


def _flags_in(reason: str) -> list[str]:
    kind, _, text = reason.partition(" ")
    return text.split(",") if kind == "flag" and text != "none" else []


def _counted(counts: Counter[str]) -> str:
    common = counts.most_common()
    more = f" and {len(common) - _NAMED} more reasons" if len(common) > _NAMED else ""
    return ", ".join(f"{reason} on {count:,}" for reason, count in common[:_NAMED] if count) + more


def _title_of(sensors: Sequence[Sensor]) -> str:
    networks = sorted({sensor.station.network for sensor in sensors})
    named = ", ".join(networks[:_NAMED]) + (f" and {len(networks) - _NAMED} more" if len(networks) > _NAMED else "")
    return f"ISMN stations of {named}"


def _of_archive(sensors: Sequence[Sensor], flags: frozenset[str], others: int) -> list[str]:
    notes = [f"values with the quality flag(s) {', '.join(sorted(flags))} are kept"]
    return notes + ([f"{others} file(s) of other variables are not read"] if others else [])


def _of_days(sensors: Sequence[Sensor], least_hours: int) -> Iterator[str]:
    dropped = sum((sensor.dropped for sensor in sensors), start=Counter[str]())
    if dropped:
        yield f"values left out: {_counted(dropped)}"
    short, days = sum(sensor.short_days for sensor in sensors), sum(len(sensor.days) for sensor in sensors)
    if short:
        yield f"{short:,} of {short + days:,} days of sensors left out, with fewer than {least_hours} hours"


def _of_choice(sensors: Sequence[Sensor], choice: Choice, bounds: Sequence[float]) -> Iterator[str]:
    if choice.outside:
        depths = sorted({sensor.depth for sensor in choice.outside})
        named = ", ".join(f"{depth:g}" for depth in depths[:_NAMED]) + (" .." if len(depths) > _NAMED else "")
        yield f"{len(choice.outside)} sensor(s) left out, outside all layers ({named} m; layers to {bounds[-1]:g} m)"
    if choice.farther:
        yield f"{choice.farther} sensor(s) left out: another one of the station is nearer to the middle of the layer"
    if choice.shorter:
        yield f"{choice.shorter} sensor(s) left out: another one at the same depth has more days"
    kept = {label for label, _ in choice.chosen}
    lost = sorted({sensor.station.label for sensor in sensors} - kept)
    if lost:
        named = ", ".join(lost[:_NAMED]) + (f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else "")
        yield f"{len(lost)} station(s) without a day in any layer left out: {named}"
