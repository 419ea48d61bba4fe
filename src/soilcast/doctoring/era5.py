"""Files of ERA5 and ERA5-Land: product, layout, period, gaps; alone and together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from soilcast.cube import VARIABLES
from soilcast.doctoring.findings import FileFound, VariableFound, grid_name, period_name
from soilcast.errors import SoilcastError
from soilcast.sources.era5land.recognising import FORMATS, Field, Unread, scan_all
from soilcast.sources.era5land.saying import product_of
from soilcast.sources.formats import named_format
from soilcast.sources.netcdf import is_address
from soilcast.sources.opening import DataFile, list_files, open_datasets

READER = "soilcast prepare era5land"

_SHOWN = 5
_DERIVED = {"d2m": "with sp for q"}


def describe_era5(path: str) -> FileFound | None:
    """Describe a file if it holds a parameter of ERA5-Land on a grid; None if it does not."""
    if not is_address(path) and Path(path).is_file() and Path(path).suffix.lower() in (".csv", ".txt", ".stm"):
        return None
    files = list_files([path], FORMATS).files
    fields, unread = scan_all(files)
    if not fields:
        return None
    timed = [field for field in fields if len(field.hours)]
    hours = np.concatenate([field.hours for field in timed]) if timed else np.empty(0, dtype=np.int64)
    remarks = list(_remarks(fields, unread))
    return FileFound(
        path=path,
        format=_format(files[0]),
        product=f"{product_of(fields)} (by its grid)" if np.isfinite(fields[0].spacing) else product_of(fields),
        layout=_layout(files[0], fields),
        period=period_name(hours.astype("datetime64[h]")),
        grid=grid_name(fields[0].lat, fields[0].lon),
        variables=tuple(_variable(field) for field in fields),
        reader=READER,
        faults=tuple(_faults(timed)),
        remarks=tuple(remarks),
    )


def _variable(field: Field) -> VariableFound:
    name = field.parameter.name
    note = _DERIVED.get(name, "") if name not in VARIABLES or name in _DERIVED else ""
    return VariableFound(field.stored, name, field.unit or "", note)


def _remarks(fields: Sequence[Field], unread: Sequence[Unread]) -> Iterator[str]:
    preliminary = max(field.preliminary for field in fields)
    if preliminary:
        yield f"{preliminary} times are preliminary data (ERA5T)"
    if any(field.versions for field in fields):
        yield "final and preliminary data side by side (expver): the final data are taken where they are"
    if unread:
        listed = "; ".join(f"{one.stored} ({one.why})" for one in unread[:_SHOWN])
        yield f"not read: {listed}{'; ...' if len(unread) > _SHOWN else ''}"


def _faults(fields: Sequence[Field]) -> Iterator[str]:
    """Gaps and duplicates, told once for all variables that share them."""
    told: dict[str, list[str]] = {}
    for field in fields:
        unique, counts = np.unique(field.hours, return_counts=True)
        if (counts > 1).any():
            repeated = unique[counts > 1]
            told.setdefault(f"{_named(repeated)} occurs more than once: remove the duplicate", []).append(field.stored)
        steps = np.diff(unique)
        if len(steps):
            missing = np.setdiff1d(np.arange(unique[0], unique[-1] + 1, steps.min()), unique)
            if len(missing):
                said = f"{_named(missing)} missing: the days that need them are missing in the cube"
                told.setdefault(said, []).append(field.stored)
    yield from (f"{', '.join(names)}: {said}" for said, names in told.items())


def _named(hours: Any) -> str:
    shown = ", ".join(str(np.datetime64(int(hour), "h")) for hour in hours[:_SHOWN])
    return shown if len(hours) <= _SHOWN else f"{shown} and {len(hours) - _SHOWN} more"


def _format(file: DataFile) -> str:
    if file.member:
        return "zip archive of NetCDF"
    if file.format == "netcdf":
        with Path(file.path).open("rb") as stream:
            return "NetCDF-4" if stream.read(4) == b"\x89HDF" else "NetCDF-3"
    if file.format == "grib":
        with open_datasets(file) as datasets:
            return f"GRIB edition {datasets[0].attrs.get('GRIB_edition', '?')}"
    return named_format(file.format)


def _layout(file: DataFile, fields: Sequence[Field]) -> str:
    with open_datasets(file) as datasets:
        names = {str(name) for dataset in datasets for name in (*dataset.variables, *dataset.sizes)}
    if file.format == "grib":
        return ""
    if file.format == "zarr":
        return "analysis-ready store"
    timed = next((field for field in fields if len(field.hours)), fields[0])
    units = timed.attributes["time units"]
    if units.startswith("days"):
        return "daily statistics of the Climate Data Store"
    if "valid_time" in names:
        return "present Climate Data Store (valid_time)"
    return f"former Climate Data Store (time in {units.partition(' ')[0]})" if units else "NetCDF"


def scan_readable(paths: Sequence[str]) -> tuple[list[Field], list[Unread], list[str]]:
    """Recognise all fields of some files; a file that cannot be read is a fault and takes no other along."""
    fields: list[Field] = []
    unread: list[Unread] = []
    faults: list[str] = []
    for path in paths:
        try:
            found, others = scan_all(list_files([path], FORMATS).files)
        except SoilcastError as error:
            faults.append(str(error))
            continue
        fields += found
        unread += others
    return fields, unread, faults
