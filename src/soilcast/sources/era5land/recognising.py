"""What lies in a file: which parameters, on which axes, at which hours, in which unit; before any value is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.sources.formats import GRIB, NETCDF, ZARR, ZIP
from soilcast.sources.gridded import axes_of
from soilcast.sources.netcdf import data_variables, unit_of
from soilcast.sources.opening import DataFile, open_datasets
from soilcast.sources.parameters import Parameter, is_layered, parameter_of, why_not
from soilcast.sources.stamps import covered_days, has_long_bounds

Hours = npt.NDArray[np.int64]

FORMATS = (NETCDF, GRIB, ZIP, ZARR)
"""What ERA5 comes in."""

NOT_USED = "no parameter of ERA5-Land that soilcast uses"
"""Why most variables are not read."""

PRELIMINARY = "0005"
"""Experiment version of ERA5T, which is replaced by the final data two to three months later."""

_TIMES = ("valid_time", "time", "day", "date")
_LATITUDES = ("latitude", "lat")
_LONGITUDES = ("longitude", "lon")
_VERSIONS = "expver"
_LAYERS = ("soilLayer", "depthBelowLandLayer")
_ALOFT = ("isobaricInhPa", "isobaricInPa", "pressure_level", "hybrid", "theta", "potentialVorticity")
_MEMBERS = ("number", "realization", "member")
_KEPT = ("units", "unit", "long_name", "standard_name", "cell_methods", "GRIB_stepType", "GRIB_paramId")


@dataclass(frozen=True, eq=False)
class Field:
    """One parameter in one file.

    Parameters
    ----------
    parameter
        What it is.
    file, dataset, stored
        Where it lies: the file, which set of fields in it, and its name there.
    dims
        Names of its (time,) latitude and longitude dimensions.
    level
        Position along a further dimension, such as the layer of the soil.
    versions
        Name of a dimension of experiment versions (final and preliminary data side by side), or empty.
    lat, lon
        Axes in the order of the file, longitude in -180 .. 180 ``(lat,)``, ``(lon,)`` [degrees].
    hours
        Time stamps ``(time,)``, hours since 1970-01-01 00 UTC; empty where there is no time.
    unit
        As the file writes it; None where it is silent.
    attributes
        What the file says of the variable and of the times, as text.
    preliminary
        How many of the stamps are of preliminary data.
    chunk
        Stamps in a chunk of the file.
    """

    parameter: Parameter
    file: DataFile
    dataset: int
    stored: str
    dims: tuple[str, ...]
    level: Mapping[str, int]
    versions: str
    lat: npt.NDArray[np.float64]
    lon: npt.NDArray[np.float64]
    hours: Hours
    unit: str | None
    attributes: Mapping[str, str]
    preliminary: int
    chunk: int

    @property
    def is_timed(self) -> bool:
        """Whether it has a dimension of time."""
        return len(self.dims) == 3

    @property
    def spacing(self) -> float:
        """Distance of neighbouring latitudes [degrees]; NaN for a single one."""
        return float(np.abs(np.diff(self.lat)).min()) if len(self.lat) > 1 else np.nan


@dataclass(frozen=True)
class Unread:
    """A variable that is not read, and why."""

    file: DataFile
    stored: str
    why: str


def scan(file: DataFile) -> tuple[list[Field], list[Unread]]:
    """Recognise every variable of a file.

    Raises
    ------
    SoilcastError
        The file cannot be read.
    """
    fields: list[Field] = []
    unread: list[Unread] = []
    with open_datasets(file) as datasets:
        for number, dataset in enumerate(datasets):
            for name in data_variables(dataset):
                variable = dataset[name]
                found = _parameters(dataset, variable)
                if not found:
                    unread.append(Unread(file, str(name), why_not(str(name), variable.attrs) or NOT_USED))
                try:
                    fields += [_field(file, number, dataset, variable, *one) for one in found]
                except SoilcastError as error:
                    unread.append(Unread(file, str(name), str(error).removeprefix(f"{file}: ")))
    return _once(fields, unread), unread


def _once(fields: Sequence[Field], unread: list[Unread]) -> list[Field]:
    """Leave out what a file holds under two names, such as Earth Engine's amounts of the hour beside running totals."""
    chosen: dict[tuple[int, str], Field] = {}
    for field in sorted(fields, key=lambda one: one.stored.endswith("_hourly")):
        first = chosen.setdefault((field.dataset, field.parameter.name), field)
        if first is not field:
            unread.append(Unread(field.file, field.stored, f"{first.stored} is taken for {field.parameter.name}"))
    return [field for field in fields if field in chosen.values()]


def scan_all(files: Iterable[DataFile]) -> tuple[list[Field], list[Unread]]:
    """Recognise every variable of several files; raises what `scan` raises."""
    scanned = [scan(file) for file in files]
    return [field for fields, _ in scanned for field in fields], [one for _, unread in scanned for one in unread]


def read_stamps(field: Field, dataset: xr.Dataset, positions: slice) -> npt.NDArray[np.float32]:
    """Read some successive stamps of a field in an opened file, ``(time, lat * lon)`` in the file's unit.

    Where final and preliminary data lie side by side, the final data win.
    """
    variable = dataset[field.stored].isel(field.level)
    if field.is_timed:
        variable = variable.isel({field.dims[0]: positions})
    if field.versions:
        versions = [variable.isel({field.versions: number}) for number in range(variable.sizes[field.versions])]
        first, *others = (_flat(field, one) for one in versions)
        for other in others:
            first = np.where(np.isnan(first), other, first)
        return first
    return _flat(field, variable)


def _flat(field: Field, variable: xr.DataArray) -> npt.NDArray[np.float32]:
    spare = [dim for dim in variable.dims if dim not in field.dims]
    values = variable.isel(dict.fromkeys(spare, 0)).transpose(*field.dims, missing_dims="ignore").to_numpy()
    return values.reshape(-1, len(field.lat) * len(field.lon)).astype(np.float32, copy=False)


def _parameters(dataset: xr.Dataset, variable: xr.DataArray) -> list[tuple[Parameter, Mapping[str, int]]]:
    """Parameters that a variable holds: itself, or in GRIB 2 the layers of soil water, each with its position."""
    if not is_layered(variable.attrs):
        parameter = parameter_of(str(variable.name), variable.attrs)
        return [(parameter, {})] if parameter else []
    layers = next((dataset[name] for name in _LAYERS if name in variable.coords), None)
    if layers is None:
        return []
    found: list[tuple[Parameter, Mapping[str, int]]] = []
    for position, layer in enumerate(np.atleast_1d(layers.to_numpy())):
        parameter = parameter_of(f"swvl{int(layer)}", {})
        if parameter:
            found.append((parameter, {str(layers.name): position} if layers.dims else {}))
    return found


def _field(
    file: DataFile,
    number: int,
    dataset: xr.Dataset,
    variable: xr.DataArray,
    parameter: Parameter,
    level: Mapping[str, int],
) -> Field:
    where = str(file)
    lat, lon = (_axis(dataset, variable, names) for names in (_LATITUDES, _LONGITUDES))
    if lat is None or lon is None:
        raise SoilcastError(f"{where}: {_other_layout(dataset, variable)}")
    time = next((name for name in _TIMES if name in variable.dims), None)
    dims = (*((time,) if time and parameter.kind != "static" else ()), lat, lon)
    aloft = variable.attrs.get("GRIB_typeOfLevel", "")
    if aloft in _ALOFT or any(name in variable.coords for name in _ALOFT):
        raise SoilcastError(f"{where}: it is on pressure or model levels, not at the surface")
    members = int(variable.attrs.get("GRIB_members", 1))
    if members > 1:
        raise SoilcastError(f"{where}: {_too_many('number', members)}")
    versions = _VERSIONS if variable.sizes.get(_VERSIONS, 1) > 1 else ""
    for dim in variable.dims:
        if dim not in (*dims, *level, time, versions) and variable.sizes[dim] > 1:
            raise SoilcastError(f"{where}: {_too_many(str(dim), variable.sizes[dim])}")
    lats, lons = axes_of(dataset, dims, where)
    hours = np.empty(0, dtype=np.int64)
    if parameter.kind != "static":
        hours = _hours(dataset, time, where)
    attributes = {key: str(variable.attrs[key]) for key in _KEPT if key in variable.attrs}
    attributes |= {"time units": _time_units(dataset, time), "history": str(dataset.attrs.get("history", ""))[:4096]}
    attributes["versions"] = "each stamp" if time and _has_versions(dataset, time) else ""
    attributes["bounds"] = "days" if time and has_long_bounds(dataset, time) else ""
    attributes["packing"] = str(variable.encoding.get("scale_factor", 0.0))
    return Field(
        parameter=parameter,
        file=file,
        dataset=number,
        stored=str(variable.name),
        dims=dims,
        level=level,
        versions=versions,
        lat=lats,
        lon=lons,
        hours=hours,
        unit=unit_of(variable.attrs) or unit_of({"units": variable.attrs.get("GRIB_units")}),
        attributes=attributes,
        preliminary=_preliminary(dataset, time),
        chunk=_chunk(variable, time),
    )


def _axis(dataset: xr.Dataset, variable: xr.DataArray, names: Sequence[str]) -> str | None:
    """Name of an axis of a variable; of a single point, of its latitude or longitude."""
    on_axis = next((name for name in names if name in variable.dims), None)
    return on_axis or next((name for name in names if name in dataset.variables and dataset[name].ndim == 0), None)


def _other_layout(dataset: xr.Dataset, variable: xr.DataArray) -> str:
    """Say how a variable without axes of latitude and longitude is laid out, and what reads it."""
    placed = [dataset[name] for name in (*_LATITUDES, *_LONGITUDES) if name in dataset.variables]
    dims = ", ".join(str(dim) for dim in variable.dims if dim not in _TIMES)
    mapping = "a mapping (cells.lat, cells.lon) that names them, once it is daily"
    if placed and set(placed[0].dims) <= set(variable.dims):
        what = f"places along {dims}" if placed[0].ndim == 1 else f"a grid along {dims}"
        return f"{what} with latitude and longitude of each, not a regular grid: prepare table reads it with {mapping}"
    return f"no latitude and longitude axes, but ({dims}): not a regular grid"


def _too_many(dim: str, size: int) -> str:
    if dim in _MEMBERS:
        return f"an ensemble of {size} members: select one"
    if dim == "step":
        return "its times are split into time and step: write it with one time axis (cfgrib: time_dims=['valid_time'])"
    return f"{size} levels along {dim}: select one"


def _hours(dataset: xr.Dataset, time: str | None, where: str) -> Hours:
    holder = time or next((name for name in _TIMES if name in dataset.variables), None)
    if holder is None or holder not in dataset.variables:
        raise SoilcastError(f"{where}: no time axis")
    has_bounds = has_long_bounds(dataset, holder)
    stamps = covered_days(dataset, holder, where) if has_bounds else np.atleast_1d(dataset[holder].to_numpy())
    if not np.issubdtype(stamps.dtype, np.datetime64) or np.isnat(stamps).any():
        raise SoilcastError(f"{where}: the times of {holder} are not dates of a real calendar")
    hours = stamps.astype("datetime64[h]")
    if (hours != stamps).any():
        raise SoilcastError(f"{where}: the times of {holder} are not whole hours")
    return hours.astype(np.int64)


def _time_units(dataset: xr.Dataset, time: str | None) -> str:
    return str(dataset[time].encoding.get("units", "")) if time in dataset.variables else ""


def _has_versions(dataset: xr.Dataset, time: str | None) -> bool:
    return _VERSIONS in dataset.variables and dataset[_VERSIONS].dims == (time,)


def _preliminary(dataset: xr.Dataset, time: str | None) -> int:
    if not _has_versions(dataset, time):
        return 0
    return int(sum(_version(one) == PRELIMINARY for one in dataset[_VERSIONS].to_numpy()))


def _chunk(variable: xr.DataArray, time: str | None) -> int:
    sizes = variable.encoding.get("chunksizes") or variable.encoding.get("chunks") or ()
    return int(dict(zip(variable.dims, sizes, strict=False)).get(time or "", 1))


def _version(written: Any) -> str:
    text = written.decode() if isinstance(written, bytes) else str(written)
    return text.strip().zfill(4)
