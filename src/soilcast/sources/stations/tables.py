"""Tables of stations, hourly or daily: each column of soil moisture as the days of a sensor."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilcast.errors import SoilcastError
from soilcast.schema import nearest
from soilcast.sources.delimited import TextTable, read_table, table_name
from soilcast.sources.delimited.dates import UTC, order_of_days
from soilcast.sources.delimited.times import stamps_of, time_texts
from soilcast.sources.formats import TEXT_TABLES
from soilcast.sources.opening import list_files
from soilcast.sources.stations.mapping import SensorColumn, StationMapping, zone_of
from soilcast.sources.stations.sensors import Sensor, Station, daily_means
from soilcast.sources.table.mapping import COLUMNS

Times = npt.NDArray[np.datetime64]

_NO_HOUR = "local hours that the change of summer time repeats or leaves out"
_NO_VALUE = "no value"
_NO_DAYS = np.zeros(0, dtype="datetime64[D]")


@dataclass(frozen=True)
class _Clock:
    """Times of rows as written, the offset from UTC beside each, both ``(row,)``, and which offsets were written."""

    written: Times
    offset: npt.NDArray[np.timedelta64]
    zones: frozenset[str]


@dataclass(frozen=True)
class _Part:
    """The rows of one station in one file."""

    table: TextTable
    station: str
    rows: npt.NDArray[np.int64]
    columns: tuple[SensorColumn, ...]


def read_tables(
    paths: Sequence[Path], mapping: StationMapping, least_hours: int
) -> tuple[list[Sensor], list[str], list[str]]:
    """Read the sensors of tables.

    Parameters
    ----------
    paths
        Tables of text, or folders of them.
    mapping
        Says what is what.
    least_hours
        See `soilcast.sources.stations.sensors.daily_means`.

    Returns
    -------
    The sensors, notes on how the files were read, and the names of columns that are not read.

    Raises
    ------
    SoilcastError
        No file, a damaged one, a column, place or zone that is missing; times that are no dates.
    """
    listing = list_files(paths, (TEXT_TABLES,))
    parts: list[_Part] = []
    notes, unread = listing.notes(), set[str]()
    labels = {*mapping.time.split(COLUMNS), mapping.lat, mapping.lon, *([mapping.station] if mapping.station else [])}
    for file in listing.files:
        columns = _columns_of(Path(file.path).name, mapping)
        table = read_table(
            Path(file.path),
            time=mapping.time.split(COLUMNS),
            name=mapping.station,
            numbers={column.column for column, _ in columns} | {mapping.lat, mapping.lon},
            missing=mapping.missing_texts,
            remedy="name its columns in the mapping (time, station)",
        )
        if len(table.time) < len(mapping.time.split(COLUMNS)):
            raise SoilcastError(
                f"{table.path}: no column {mapping.time!r}: {nearest(mapping.time, table.columns)}; name the time in "
                "the mapping (time), and the places of stations under places"
            )
        notes += table.notes
        parts += _parts_of(table, columns, mapping)
        unread |= set(table.columns) - labels - {column.column for column in mapping.sensors}
    sensors = list(_sensors(parts, mapping, least_hours))
    if any(not sensor.most_hours for sensor in sensors):
        zone = f" at {mapping.timezone}" if mapping.timezone else ""
        notes.append(f"daily values are of the calendar days as written{zone}: their days are not moved to UTC")
    return sensors, notes, sorted(unread)


def _columns_of(file: str, mapping: StationMapping) -> list[tuple[SensorColumn, str | None]]:
    """Sensors that a file may have, and the station that its name says."""
    columns = []
    for sensor in mapping.sensors:
        station = sensor.station_in(file)
        if sensor.files is None or station is not None:
            columns.append((sensor, station))
    if not columns:
        wanted = ", ".join(dict.fromkeys(str(sensor.files) for sensor in mapping.sensors))
        raise SoilcastError(f"{file}: none of the files of the mapping ({wanted}): leave it out, or add its sensors")
    return columns


def _parts_of(
    table: TextTable, columns: Sequence[tuple[SensorColumn, str | None]], mapping: StationMapping
) -> Iterator[_Part]:
    """Split a table by stations: of its column of stations, of its name as the sensors have it, or one by its name."""
    present = [(column, station) for column, station in columns if column.column in table.numbers]
    if not present:
        wanted = [column.column for column, _ in columns]
        raise SoilcastError(
            f"{table.path}: no column {', '.join(wanted)}: {nearest(wanted[0], table.columns)}; correct the sensors of "
            "the mapping"
        )
    if table.name is not None:
        sensors = tuple(column for column, _ in present)
        for code, name in enumerate(table.name.values):
            rows = np.flatnonzero(table.name.codes == code)
            if not name:
                raise SoilcastError(f"{table.path}: row {table.lines[rows[0]]} names no station: add its name")
            yield _Part(table, name, rows, sensors)
        return
    if mapping.station is not None:
        raise SoilcastError(
            f"{table.path}: no column {mapping.station!r}: {nearest(mapping.station, table.columns)}; correct station "
            "in the mapping, or remove it if each file is a station"
        )
    by_station: dict[str, list[SensorColumn]] = {}
    for column, station in present:
        by_station.setdefault(station or table_name(table.path), []).append(column)
    every = np.arange(len(table.lines))
    for station, found in by_station.items():
        yield _Part(table, station, every, tuple(found))


def _sensors(parts: Sequence[_Part], mapping: StationMapping, least_hours: int) -> Iterator[Sensor]:
    """Join the files of each sensor, and take its days."""
    groups: dict[tuple[str, SensorColumn], list[_Part]] = {}
    for part in parts:
        for column in part.columns:
            groups.setdefault((part.station, column), []).append(part)
    orders = {order for part in parts if (order := order_of_days(time_texts(part.table)[1])) is not None}
    order = orders.pop() if len(orders) == 1 else None
    clocks: dict[Path, _Clock] = {}
    for (name, column), files in groups.items():
        for part in files:
            if part.table.path not in clocks:
                clocks[part.table.path] = _clock_of(part.table, mapping, order)
        read = [clocks[part.table.path] for part in files]
        clock = _Clock(
            np.concatenate([one.written[part.rows] for one, part in zip(read, files, strict=True)]),
            np.concatenate([one.offset[part.rows] for one, part in zip(read, files, strict=True)]),
            frozenset().union(*(one.zones for one in read)),
        )
        values = np.concatenate([part.table.numbers[column.column][part.rows] for part in files])
        values[np.isin(values, mapping.missing_numbers)] = np.nan
        where = f"{files[0].table.path} ({column.column})"
        unit = column.unit or files[0].table.units.get(column.column)
        station = _station(name, files, mapping)
        yield _sensor(
            Sensor(station, where, column.column, column.depth, unit, _NO_DAYS, values), clock, mapping, least_hours
        )


def _sensor(sensor: Sensor, clock: _Clock, mapping: StationMapping, least_hours: int) -> Sensor:
    """Give a sensor, whose values are still those of its rows, its days."""
    values, finite = sensor.values, np.isfinite(sensor.values)
    dropped = Counter({_NO_VALUE: int((~finite).sum())})
    days, count = np.unique(clock.written.astype("datetime64[D]"), return_counts=True)
    if (count == 1).all():
        order = np.argsort(clock.written[finite])
        found = clock.written[finite][order].astype("datetime64[D]")
        return replace(sensor, days=found, values=values[finite][order], dropped=+dropped)
    if np.median(count) == 1:
        repeated = days[int(np.argmax(count > 1))]
        raise SoilcastError(
            f"{sensor.where}: station {sensor.station.name} has {repeated} more than once: remove one of the rows"
        )
    utc = _to_utc(clock, mapping.timezone, sensor.where)
    dropped[_NO_HOUR] = int(np.isnat(utc).sum())
    kept = finite & ~np.isnat(utc)
    days, means, short, most = daily_means(utc[kept], values[kept], least_hours)
    return replace(sensor, days=days, values=means, dropped=+dropped, short_days=short, most_hours=most)


def _clock_of(table: TextTable, mapping: StationMapping, order: str | None) -> _Clock:
    codes, texts = time_texts(table)
    stamps = stamps_of(table, codes, texts, mapping.time, mapping.time_format, order_of_days(texts) or order)
    written: Times = np.add(stamps.days.astype("datetime64[s]"), stamps.clock)
    offset = np.array([_seconds(zone) for zone in stamps.zone], dtype="timedelta64[s]")
    return _Clock(written[codes], offset[codes], frozenset(stamps.zone))


def _seconds(zone: str) -> int:
    match = re.fullmatch(r"([+-])(\d{2}):?(\d{2})?(?::?\d{2})?", zone, re.ASCII)
    if match is None:
        return 0
    return (1 if match[1] == "+" else -1) * (3600 * int(match[2]) + 60 * int(match[3] or 0))


def _to_utc(clock: _Clock, stated: str | None, where: str) -> Times:
    """Times in UTC ``(row,)``; NaT where the change of summer time makes the hour unknown."""
    if "" not in clock.zones:
        if stated is not None and not (clock.zones <= set(UTC) and stated in UTC):
            raise SoilcastError(
                f"{where}: its times are written with an offset ({', '.join(sorted(clock.zones))}) and the mapping "
                f"says timezone {stated}: remove timezone"
            )
        return clock.written - clock.offset
    if len(clock.zones) > 1:
        raise SoilcastError(f"{where}: some times have an offset from UTC, others not: write all alike")
    if stated is None:
        raise SoilcastError(
            f"{where}: several values a day, and it is not said in which time: add timezone to the mapping (UTC, "
            "+01:00 or Europe/Berlin)"
        )
    local = pd.DatetimeIndex(clock.written).tz_localize(zone_of(stated), ambiguous="NaT", nonexistent="NaT")
    return np.asarray(local.tz_convert("UTC").tz_localize(None), dtype="datetime64[s]")


def _station(name: str, files: Sequence[_Part], mapping: StationMapping) -> Station:
    if name in mapping.places:
        place = mapping.places[name]
        elevation = float("nan") if place.elevation is None else place.elevation
        return Station(place.network or mapping.network or "", name, place.lat, place.lon, elevation)
    found = set[tuple[float, float]]()
    for part in files:
        numbers = part.table.numbers
        if mapping.lat in numbers and mapping.lon in numbers:
            both = np.stack([numbers[column][part.rows] for column in (mapping.lat, mapping.lon)])
            found |= {(lat, lon) for lat, lon in both.T.tolist() if np.isfinite(lat) and np.isfinite(lon)}
    path = files[0].table.path
    if not found:
        listed = f" ({nearest(name, mapping.places)})" if mapping.places else ""
        raise SoilcastError(
            f"{path}: where is station {name}?{listed}: add it to the mapping (places: {{{name}: {{lat: .., lon: "
            "..}}), or name its columns (lat, lon)"
        )
    if len(found) > 1:
        raise SoilcastError(
            f"{path}: station {name} has {len(found)} places: give each station one latitude and longitude"
        )
    lat, lon = found.pop()
    if not (abs(lat) <= 90 and abs(lon) <= 360):
        raise SoilcastError(f"{path}: station {name} lies at {lat:g}, {lon:g}, which is no place: correct lat and lon")
    return Station(mapping.network or "", name, lat, lon)
