"""What any file is: ERA5's, soilcast's own, stations, tables, other models, whatever NetCDF or GRIB there is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from soilcast.doctoring.era5 import describe_era5
from soilcast.doctoring.findings import FileFound, VariableFound, grid_name, period_name, step_name
from soilcast.errors import SoilcastError
from soilcast.sources.era5land.recognising import FORMATS
from soilcast.sources.formats import named_format
from soilcast.sources.gridded import axes_of
from soilcast.sources.netcdf import is_address, open_netcdf, unit_of
from soilcast.sources.opening import DataFile, list_files, open_datasets, why_left_out

TABLE_READER = "soilcast prepare table, with a mapping (docs/own-data.md)"
STATIC_READER = "soilcast prepare ... --static NAME=FILE, as a static variable"
CARAVAN_READER = "soilcast prepare caravan"
CUBE_READER = "soilcast train, and what follows"

_NUMBER = r"\s+(-?\d+\.\d+)"
_ISMN_FIRST = re.compile(rf"^(\S+)\s+(\S+)\s+(\S.*?){_NUMBER * 5}")
_ISMN_STAMP = re.compile(r"\d{4}/\d{2}/\d{2} \d{2}:\d{2}")
_CARAVAN = ("volumetric_soil_water_layer_1", "total_precipitation_sum", "temperature_2m_mean")
_ALOFT = "isobaricInhPa"


def describe_artifact(path: str) -> FileFound | None:
    """Recognise what soilcast itself wrote."""
    if is_address(path):
        return None
    place = Path(path)
    marks = place / "zarr.json"
    if marks.is_file() and '"soilcast_kind"' in marks.read_text(encoding="utf-8", errors="replace"):
        with xr.open_zarr(place, consolidated=False, chunks=None) as opened:
            return _artifact(path, "Zarr v3", opened.attrs)
    if place.suffix == ".nc" and place.is_file():
        with suppress(SoilcastError), open_netcdf(place, decode_times=False) as opened:
            if "soilcast_kind" in opened.attrs:
                return _artifact(path, "NetCDF-4", opened.attrs)
    return None


def _artifact(path: str, form: str, attributes: Mapping[str, Any]) -> FileFound:
    kind = str(attributes.get("soilcast_kind"))
    product = f"a {kind} of soilcast: {attributes.get('title', 'without a title')}"
    return FileFound(path, form, product, reader=CUBE_READER if kind == "cube" else "soilcast inspect")


def describe_ismn(path: str) -> FileFound | None:
    """Recognise a station file of the International Soil Moisture Network, of either form."""
    if is_address(path) or not Path(path).is_file() or Path(path).suffix.lower() != ".stm":
        return None
    lines = _text_lines(Path(path))
    if lines is None:
        return None
    separate = _ISMN_STAMP.match(lines[0]) is not None
    first = _ISMN_FIRST.match(re.sub(rf"^({_ISMN_STAMP.pattern}\s+)+", "", lines[0]))
    stamps = [found[0] for line in lines if (found := _ISMN_STAMP.search(line))]
    if first is None or not stamps:
        return None
    times = np.array([f"{one[:10].replace('/', '-')}T{one[11:]}" for one in stamps], dtype="datetime64[m]")
    network, station, lat, lon = first[1], first[3], first[4], first[5]
    return FileFound(
        path=path,
        format="text",
        product=f"International Soil Moisture Network: network {network}, station {station}",
        layout="one line a reading (CEOP)" if separate else "header and values",
        period=period_name(times),
        grid=f"one place, {float(lat):g} N {float(lon):g} E, {float(first[7]):g} to {float(first[8]):g} m deep",
        variables=(VariableFound("soil moisture", "", "m3 m-3", "with a flag of quality, hourly"),),
        remarks=("observations at a station: not read as a cube",),
    )


def describe_table(path: str) -> FileFound | None:
    """Recognise CSV: of Caravan, or any other table."""
    if is_address(path) or not Path(path).is_file() or Path(path).suffix.lower() != ".csv":
        return None
    lines = _text_lines(Path(path))
    if lines is None or "," not in lines[0]:
        return None
    columns = [name.strip() for name in lines[0].split(",")]
    is_caravan = sum(any(name.startswith(mark) for name in columns) for mark in _CARAVAN) >= 2
    days = [line.split(",", 1)[0] for line in lines[1:]]
    try:
        period = period_name(np.array([day for day in days if day], dtype="datetime64[s]"))
    except ValueError:
        period = ""
    return FileFound(
        path=path,
        format="CSV",
        product="Caravan, a basin (ERA5-Land means and streamflow)" if is_caravan else "a table",
        period=period,
        variables=tuple(VariableFound(name) for name in columns[1:]),
        reader=CARAVAN_READER if is_caravan else TABLE_READER,
    )


def describe_array_file(path: str) -> FileFound | None:
    """Describe any other NetCDF, GRIB or Zarr by what it says of itself."""
    files = list_files([path], FORMATS).files
    datasets: list[xr.Dataset] = []
    for file in files:
        with open_datasets(file) as found:
            datasets += found
    first = datasets[0]
    variables = list(
        dict.fromkeys(
            VariableFound(str(name), "", unit_of(one.attrs) or "", str(one.attrs.get("long_name", "")))
            for dataset in datasets
            for name, one in dataset.data_vars.items()
            if one.dims
        )
    )
    is_caravan = sum(any(one.stored.startswith(mark) for one in variables) for mark in _CARAVAN) >= 2
    period, step = _period(datasets)
    grid, layout = _grid(datasets)
    is_grid = not layout
    members = max(_members(dataset) for dataset in datasets)
    levels = {float(level) for one in datasets if _ALOFT in one.coords for level in np.ravel(one[_ALOFT].to_numpy())}
    remarks = [f"an ensemble of {members} members"] if members > 1 else []
    if levels:
        count = f"{len(levels)} pressure level{'s' if len(levels) > 1 else ''}"
        remarks.append(f"{count} on pressure or model levels, nothing at the surface")
    reader = ""
    if is_caravan:
        reader = CARAVAN_READER
    elif step == 24 and not levels:
        reader = TABLE_READER
    elif is_grid and not period:
        reader = STATIC_READER
    elif not levels:
        remarks.append(_why_not(step))
    return FileFound(
        path=path,
        format=_format(files[0], first),
        product="Caravan (ERA5-Land means of basins and streamflow)" if is_caravan else _product(first, path),
        layout=layout,
        period=period,
        grid=grid,
        variables=tuple(variables),
        reader=reader,
        remarks=tuple(remarks),
    )


def _format(file: DataFile, dataset: xr.Dataset) -> str:
    if file.format == "grib":
        return f"GRIB edition {dataset.attrs.get('GRIB_edition')}"
    return "zip archive" if file.member else named_format(file.format)


def _members(dataset: xr.Dataset) -> int:
    """How many forecasts of an ensemble a file holds."""
    told = [int(one.attrs.get("GRIB_members", 1)) for one in dataset.data_vars.values()]
    return max(int(dataset.sizes.get("number", 1)), *told, 1)


def _why_not(step: float) -> str:
    if step:
        return f"its values are {step_name(step)}: compute daily means and totals first, then use prepare table"
    return "it has a single time: a cube needs consecutive days"


def _product(dataset: xr.Dataset, path: str) -> str:
    said = " ".join(str(dataset.attrs.get(key, "")) for key in ("title", "source", "comment", "description"))
    if "GLDAS" in said or Path(path).name.startswith("GLDAS"):
        return f"GLDAS ({dataset.attrs.get('source') or 'by its file name'})"
    made_of_era5 = "ERA5" in said or any("original_variable" in one.attrs for one in dataset.data_vars.values())
    if made_of_era5 or "ERA5" in Path(path).name:
        return "made of ERA5, at places" if "latitude" not in dataset.sizes else "ERA5"
    if dataset.attrs.get("GRIB_centre") == "ecmf":
        return "ECMWF, ERA5 or alike" if dataset.attrs.get("GRIB_edition") else "ECMWF"
    return str(dataset.attrs.get("title") or "unknown product")


def _period(datasets: Sequence[xr.Dataset]) -> tuple[str, float]:
    """The period in words, and the hours between two times; 0 for a single one."""
    stamps = [
        np.ravel(one.to_numpy())
        for dataset in datasets
        for name, one in dataset.variables.items()
        if str(name) in ("time", "valid_time", "date") and one.dtype.kind == "M"
    ]
    if not stamps:
        return "", 0.0
    times = np.unique(np.concatenate(stamps))
    step = float(np.diff(times).min() / np.timedelta64(1, "s")) / 3600 if len(times) > 1 else 0.0
    return period_name(times), step


def _grid(datasets: Sequence[xr.Dataset]) -> tuple[str, str]:
    """The places in words, and how they are laid out where that is no grid of latitude and longitude."""
    for dataset in datasets:
        for lat, lon in (("latitude", "longitude"), ("lat", "lon")):
            if lat in dataset.sizes and lon in dataset.sizes:
                try:
                    return grid_name(*axes_of(dataset, (lat, lon), "")), ""
                except SoilcastError:
                    continue
    first = datasets[0]
    places = [(dim, size) for dim, size in first.sizes.items() if dim not in ("time", "valid_time", "bnds")]
    if not places:
        return "one place, its latitude and longitude are not given", "time series without a grid"
    layout = "time series without a grid" if len(places) == 1 else "a grid without axes of latitude and longitude"
    return ", ".join(f"{size} along {dim}" for dim, size in places), layout


def _text_lines(path: Path) -> list[str] | None:
    try:
        lines: Any = path.read_text(encoding="utf-8").splitlines()
    except (UnicodeDecodeError, OSError):
        return None
    return [line for line in lines if line.strip()] or None


def _why_left_out(path: Path) -> str | None:
    try:
        return why_left_out(path, FORMATS)
    except SoilcastError:
        return None


RECOGNISERS: tuple[Callable[[str], FileFound | None], ...] = (
    describe_artifact,
    describe_ismn,
    describe_table,
    describe_era5,
    describe_array_file,
)
"""Each gives what a file is, or None where it is not of its family; the first that knows it is heard."""


def describe(path: str, *, in_folder: bool = False) -> FileFound:
    """Say what a file, archive or store is, whatever it is; beside data in a folder, what is no data is no fault."""
    if not is_address(path) and not Path(path).exists():
        return FileFound(path, "nothing", "no such file", faults=("no such file: check the path",))
    for recognise in RECOGNISERS:
        try:
            found = recognise(path)
        except SoilcastError as error:
            if in_folder and (reason := _why_left_out(Path(path))):
                return FileFound(path, "left out", reason)
            said = str(error).removeprefix(f"{path}: ")
            return FileFound(path, "unknown", "cannot be read", faults=(said,))
        if found is not None:
            return found
    fault = "neither NetCDF, GRIB, zip, Zarr nor a table that soilcast knows"
    return FileFound(path, "unknown", "not recognised", faults=(fault,))
