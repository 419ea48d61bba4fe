"""The files of Caravan: where they lie, and one basin's series and attributes out of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from soilcast.cube import daily_axis
from soilcast.cube.calendar import Days
from soilcast.errors import SoilcastError
from soilcast.sources.formats import CSV, NETCDF
from soilcast.sources.netcdf import data_variables, naming_damage, open_netcdf, unit_of
from soilcast.sources.opening import DataFile, Listing, list_files
from soilcast.sources.stamps import covered_days

_TIMES = ("time", "date")
_BASINS = ("basin_id", "gauge_id", "basin", "station")
_ATTRIBUTE_TABLES = ("other", "hydroatlas")
# From <root>/timeseries/csv/<name>/<gauge>.csv up to <root>.
_LEVELS_UP = 4
_NO_DATA = -999.0  # HydroATLAS


@dataclass(frozen=True)
class Basin:
    """The record of one basin as its file holds it.

    Parameters
    ----------
    name
        Gauge, such as ``camelsch_4001``.
    path
        The file.
    time
        Its days, without gaps.
    values
        Contract name -> ``(time,)`` in the file's unit.
    columns
        Contract name -> name in the file.
    units
        Contract name -> unit in the file, where it says one.
    attributes
        Attributes inside the file, by their names there.
    unread
        Series of the file that are not read.
    """

    name: str
    path: Path
    time: Days
    values: Mapping[str, npt.NDArray[np.float32]]
    columns: Mapping[str, str]
    units: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, float] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()


def series_files(paths: Sequence[Path]) -> Listing:
    """Files of series among the paths and in the folders among them, sorted within each folder.

    Raises
    ------
    SoilcastError
        A path is not there, or is or holds no such file.
    """
    return list_files(paths, (CSV, NETCDF), recursive=True, apart=("attributes",))


def basins_in(file: DataFile, columns: Mapping[str, str]) -> list[Basin]:
    """Read the basins of one file.

    Parameters
    ----------
    file
        A CSV file or a NetCDF file.
    columns
        Name in the file -> contract name.

    Raises
    ------
    SoilcastError
        The file is damaged or no series of Caravan, or its days are missing or repeat.
    """
    return _READERS[file.format](Path(file.path), columns)


def attributes_of(basins: Sequence[Basin], columns: Mapping[str, str]) -> list[dict[str, float]]:
    """Attributes of each basin: those in its file, and those in the ``attributes`` folder above it.

    Parameters
    ----------
    basins
        The basins.
    columns
        Name in the files -> name to give.

    Raises
    ------
    SoilcastError
        A table of attributes is damaged, or holds a gauge twice.
    """
    files = [_attribute_files(basin) for basin in basins]
    tables = {path: _attribute_table(path, columns) for path in {path for found in files for path in found}}
    attributes: list[dict[str, float]] = []
    for basin, found in zip(basins, files, strict=True):
        inside = {columns[name]: value for name, value in basin.attributes.items() if name in columns}
        beside = [tables[path].get(basin.name, {}) for path in found]
        attributes.append({name: value for source in (*beside, inside) for name, value in source.items()})
    return attributes


def _basins_in_csv(path: Path, columns: Mapping[str, str]) -> list[Basin]:
    wanted = {"date", *columns}
    columns_there: set[str] = set()
    table = _read_csv(path, wanted, columns_there)
    if "date" not in table:
        raise SoilcastError(f"{path}: no column date, so not a Caravan time series: remove it, or name other files")
    time = pd.to_datetime(table["date"], format="%Y-%m-%d", errors="coerce")
    if time.isna().any():
        bad = table["date"][time.isna()].iloc[0]
        raise SoilcastError(f"{path}: date {bad!r} is not written YYYY-MM-DD: correct it")
    found = {columns[str(name)]: str(name) for name in table.columns if name != "date"}
    values = {name: _numbers(table[column], path).astype(np.float32) for name, column in found.items()}
    return [
        Basin(
            path.stem,
            path,
            daily_axis(time.to_numpy(), str(path)),
            values,
            found,
            unread=frozenset(columns_there - wanted),
        )
    ]


def _basins_in_netcdf(path: Path, columns: Mapping[str, str]) -> list[Basin]:
    with open_netcdf(path) as opened:
        time_name = next((name for name in _TIMES if name in opened.dims), None)
        if time_name is None:
            raise SoilcastError(f"{path}: no dimension {' or '.join(_TIMES)}, so not a Caravan time series: remove it")
        basin_name = next((name for name in _BASINS if name in opened.dims), None)
        wanted = [name for name, one in opened.data_vars.items() if name in columns or time_name not in one.dims]
        numeric = data_variables(opened)
        time = daily_axis(covered_days(opened, time_name, str(path)), str(path))
        with naming_damage(path):
            loaded = opened[wanted].load()
    if time_name not in loaded.dims:
        raise SoilcastError(f"{path}: no variable of Caravan along {time_name}: remove it, or name other files")
    found = {ours: name for name, ours in columns.items() if name in loaded and time_name in loaded[name].dims}
    units = {ours: unit for ours, name in found.items() if (unit := _said(loaded[name].attrs))}
    unread = frozenset(name for name in numeric if time_name in opened[name].dims and name not in columns)
    if basin_name is None:
        return [replace(_basin_of(loaded, path.stem, path, time, found, units), unread=unread)]
    basins = []
    for number, name in enumerate(loaded[basin_name].to_numpy()):
        basin = _basin_of(loaded.isel({basin_name: number}), _text(name), path, time, found, units)
        basins.append(replace(basin, unread=unread))
    return basins


_READERS = {"csv": _basins_in_csv, "netcdf": _basins_in_netcdf}


def _basin_of(
    loaded: xr.Dataset, name: str, path: Path, time: Days, found: Mapping[str, str], units: Mapping[str, str]
) -> Basin:
    where = f"{path} ({name})"
    values = {}
    for ours, column in found.items():
        if loaded[column].shape != time.shape or loaded[column].dtype.kind not in "fiu":
            raise SoilcastError(f"{where}: {column} is not one number per day: correct the file, or remove it")
        values[ours] = loaded[column].to_numpy().astype(np.float32)
    attributes = {
        str(key): float(one) for key, one in loaded.variables.items() if one.ndim == 0 and one.dtype.kind in "fiu"
    }
    return Basin(name, path, time, values, found, units, attributes)


def _said(attributes: Mapping[str, Any]) -> str | None:
    """Unit that the attributes name; some files write ``-`` for want of one, and nothing here is without unit."""
    unit = unit_of(attributes)
    return None if unit == "-" else unit


def _text(value: Any) -> str:
    return (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip("\0 ")


def _numbers(column: pd.Series[Any], path: Path) -> npt.NDArray[np.float64]:
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = numbers.isna() & column.notna()
    if wrong.any():
        raise SoilcastError(f"{path}: {column.name} holds {column[wrong].iloc[0]!r}, which is not a number: correct it")
    return numbers.to_numpy(dtype=np.float64)


def _read_csv(path: Path, wanted: set[str], columns_there: set[str] | None = None) -> pd.DataFrame:
    """Read some columns; the names of all are put into a set."""

    def is_wanted(name: str) -> bool:
        if columns_there is not None:
            columns_there.add(name)
        return name in wanted

    try:
        return pd.read_csv(path, usecols=is_wanted, low_memory=False, encoding="utf-8")
    except (OSError, ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = str(error).partition("\n")[0]
        raise SoilcastError(f"{path}: cannot be read as CSV ({reason}): download the file again") from error


def _attribute_files(basin: Basin) -> list[Path]:
    """Tables of attributes of the data set that a basin belongs to, from the nearest folder above its file."""
    group = basin.name.partition("_")[0].lower()
    for folder in list(basin.path.absolute().parents)[:_LEVELS_UP]:
        place = next((one for one in folder.glob("attributes/*") if one.name.lower() == group), None)
        if place is not None:
            return [file for kind in _ATTRIBUTE_TABLES for file in sorted(place.glob(f"attributes_{kind}_*.csv"))]
    return []


def _attribute_table(path: Path, columns: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Gauge -> attributes, of one file; what is not there or not known is left out."""
    table = _read_csv(path, {"gauge_id", *columns})
    if "gauge_id" not in table or table["gauge_id"].duplicated().any():
        raise SoilcastError(f"{path}: a column gauge_id with every gauge once is expected: download the file again")
    gauges = table["gauge_id"].astype(str).to_list()
    numbers = {columns[str(name)]: _numbers(table[name], path) for name in table.columns if name != "gauge_id"}
    return {
        gauge: {
            name: float(values[row])
            for name, values in numbers.items()
            if not np.isnan(values[row]) and values[row] != _NO_DATA
        }
        for row, gauge in enumerate(gauges)
    }
