"""Hourly NetCDF files in the layouts of the Climate Data Store: the former (until 2024) and the present one."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import spacing
from tests.helpers.era5_layout import CENTRE, Longitudes, Rule, archived
from tests.helpers.era5_parameters import AMOUNTS, INSTANTS, NAMES, PARAMETERS
from tests.helpers.era5_weather import HourlyWeather

_MISSING = np.int16(-32767)
_GRIB_MISSING = float(np.finfo(np.float32).max)
_DIMS = ("time", "latitude", "longitude")


def write_former_netcdf(
    weather: HourlyWeather,
    path: Path,
    names: Sequence[str] = NAMES,
    *,
    rule: Rule = "since_midnight",
    first_missing: bool = False,
    longitudes: Longitudes = "auto",
    packed: bool = True,
    preliminary_from: str | None = None,
) -> list[Path]:
    """Write one file as the former store's ``grib_to_netcdf`` did: NetCDF-3 with 64-bit offsets, ``time`` in hours.

    Parameters
    ----------
    packed
        As int16 with ``scale_factor`` and ``add_offset``, off by half a ``scale_factor`` at most; else float32, which
        the store never delivered.
    preliminary_from
        The first stamp of preliminary data (ERA5T, ``expver`` 5): from there on ``expver`` 1 is missing, before it 5.
        The file then has a dimension ``expver``, as those had whose request reached into the last three months.
    weather, path, names, rule, first_missing, longitudes
        As in `archived`.
    """
    fields = archived(weather, names, rule=rule, first_missing=first_missing, longitudes=longitudes)
    dims, coords = _DIMS, {}
    if preliminary_from is not None:
        settled = xr.DataArray(fields["time"].to_numpy() < np.datetime64(preliminary_from), dims="time")
        fields = xr.concat([fields.where(settled), fields.where(~settled)], dim="expver", join="exact")
        dims = ("time", "expver", "latitude", "longitude")
        coords["expver"] = ("expver", np.array([1, 5], dtype=np.int32), {"long_name": "expver"})
    start = np.datetime64("1900-01-01T00", "h")
    hours = (fields["time"].to_numpy().astype("datetime64[h]") - start).astype(np.int32)
    units = {"units": "hours since 1900-01-01 00:00:00.0", "long_name": "time", "calendar": "gregorian"}
    axes = {name: fields[name].to_numpy().astype(np.float32) for name in ("longitude", "latitude")}
    file = xr.Dataset(
        {name: _former(name, dims, fields[name].transpose(*dims).to_numpy(), packed) for name in names},
        coords={
            "longitude": ("longitude", axes["longitude"], {"units": "degrees_east", "long_name": "longitude"}),
            "latitude": ("latitude", axes["latitude"], {"units": "degrees_north", "long_name": "latitude"}),
            **coords,
            "time": ("time", hours, units),
        },
        attrs={
            "Conventions": "CF-1.6",
            "history": "2023-09-05 12:00:00 GMT by grib_to_netcdf-2.25.1: "
            "/opt/ecmwf/mars-client/bin/grib_to_netcdf.bin -S param -o adaptor.mars.internal.nc tmp.grib",
        },
    )
    bare = {name: {"_FillValue": None} for name in ("longitude", "latitude")}
    file.to_netcdf(path, engine="scipy", format="NETCDF3_64BIT", encoding=bare)
    return [path]


def _former(name: str, dims: tuple[str, ...], values: npt.NDArray[np.float32], packed: bool) -> xr.Variable:
    one = PARAMETERS[name]
    words = {"units": one.units, "long_name": one.former_long_name}
    words |= {"standard_name": one.former_standard_name} if one.former_standard_name else {}
    if not packed:
        fill = np.float32(-32767.0)
        return xr.Variable(dims, np.where(np.isnan(values), fill, values), _gaps(fill) | words)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    scale, offset = (high - low) / 65532.0 or 1.0, (high + low) / 2.0
    steps = np.where(np.isnan(values), _MISSING, np.round((values.astype(np.float64) - offset) / scale))
    packing = {"scale_factor": np.float64(scale), "add_offset": np.float64(offset)}
    return xr.Variable(dims, steps.astype(np.int16), packing | _gaps(_MISSING) | words)


def _gaps(fill: np.number) -> dict[str, np.number]:
    return {"_FillValue": fill, "missing_value": fill}


def write_present_netcdf(
    weather: HourlyWeather,
    path: Path,
    names: Sequence[str] = NAMES,
    *,
    rule: Rule = "since_midnight",
    first_missing: bool = False,
    longitudes: Longitudes = "auto",
    preliminary_from: str | None = None,
    step_type: Literal["accum", "instant"] = "accum",
) -> list[Path]:
    """Write one file as the present store makes it out of GRIB with cfgrib: NetCDF-4, ``valid_time`` in seconds.

    Parameters
    ----------
    preliminary_from
        The first stamp of preliminary data, ``expver`` 0005 instead of 0001.
    step_type
        ``GRIB_stepType`` of amounts. GRIB 1 of ERA5-Land names only the last step of an accumulation (``24``, not
        ``0-24``), which ecCodes takes for an instant: the attribute then says so of amounts too.
    weather, path, names, rule, first_missing, longitudes
        As in `archived`.
    """
    fields = archived(weather, names, rule=rule, first_missing=first_missing, longitudes=longitudes)
    times = fields["time"].to_numpy()
    settled = times < np.datetime64(preliminary_from) if preliminary_from else np.ones(len(times), dtype=bool)
    seconds = times.astype("datetime64[s]").astype(np.int64)
    file = present_file(
        {name: fields[name].to_numpy() for name in names},
        fields["latitude"].to_numpy(),
        fields["longitude"].to_numpy(),
        ("valid_time", seconds, {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}),
        step_type=step_type,
    )
    file["expver"] = ("valid_time", np.where(settled, "0001", "0005"))
    kinds = {PARAMETERS[name].kind for name in names}
    wanted = {"instant": "instant", "amount": step_type}[kinds.pop()] if len(kinds) == 1 else None
    filters = f'"stream": ["oper"], "stepType": ["{wanted}"]' if wanted else ""
    file.attrs["history"] = _history(filters)
    for name in names:
        file[name].attrs["coordinates"] = "number valid_time latitude longitude expver"
    save_present(file, path)
    return [path]


def _history(filters: str) -> str:
    return (
        "2025-02-06T12:12 GRIB to CDM+CF via cfgrib-0.9.15.0/ecCodes-2.39.0 with "
        f'{{"source": "data.grib", "filter_by_keys": {{{filters}}}, '
        '"encode_cf": ["parameter", "time", "geography", "vertical"]}'
    )


def present_file(
    fields: dict[str, npt.NDArray[np.float32]],
    latitude: npt.NDArray[np.float64],
    longitude: npt.NDArray[np.float64],
    valid_time: tuple[str, npt.NDArray[np.int64], dict[str, str]],
    *,
    step_type: str = "accum",
) -> xr.Dataset:
    """Everything of a file of the present layout but ``expver`` and the history: raw values, CF attributes as they are.

    Parameters
    ----------
    fields
        Name -> ``(valid_time, latitude, longitude)``.
    latitude, longitude
        The axes.
    valid_time
        Dimension, raw values, and the unit and calendar of the time axis.
    step_type
        ``GRIB_stepType`` of amounts.
    """
    dims = ("valid_time", "latitude", "longitude")
    axis = {"_FillValue": np.float64(np.nan)}
    down = {"units": "degrees_north", "standard_name": "latitude", "long_name": "latitude"}
    east = {"units": "degrees_east", "standard_name": "longitude", "long_name": "longitude"}
    named = {"long_name": "time", "standard_name": "time"}
    realization = {"long_name": "ensemble member numerical id", "units": "1", "standard_name": "realization"}
    return xr.Dataset(
        {
            "number": ((), np.int64(0), realization),
            **{
                name: (dims, values, field_attributes(name, latitude, longitude, step_type))
                for name, values in fields.items()
            },
        },
        coords={
            "valid_time": (valid_time[0], valid_time[1], named | valid_time[2]),
            "latitude": ("latitude", latitude, axis | down | {"stored_direction": "decreasing"}),
            "longitude": ("longitude", longitude, axis | east),
        },
        attrs={
            "GRIB_centre": "ecmf",
            "GRIB_centreDescription": CENTRE,
            "GRIB_subCentre": np.int64(0),
            "Conventions": "CF-1.7",
            "institution": CENTRE,
        },
    )


def field_attributes(
    name: str, latitude: npt.NDArray[np.float64], longitude: npt.NDArray[np.float64], step_type: str = "accum"
) -> dict[str, object]:
    """Attributes of a field of the present layout, ``coordinates`` excepted."""
    grid = {
        "GRIB_iDirectionIncrementInDegrees": spacing(longitude),
        "GRIB_iScansNegatively": np.int64(0),
        "GRIB_jDirectionIncrementInDegrees": spacing(latitude),
        "GRIB_jPointsAreConsecutive": np.int64(0),
        "GRIB_jScansPositively": np.int64(0),
        "GRIB_latitudeOfFirstGridPointInDegrees": float(latitude[0]),
        "GRIB_latitudeOfLastGridPointInDegrees": float(latitude[-1]),
        "GRIB_longitudeOfFirstGridPointInDegrees": float(longitude[0]),
        "GRIB_longitudeOfLastGridPointInDegrees": float(longitude[-1]),
        "GRIB_missingValue": _GRIB_MISSING,
    }
    one = PARAMETERS[name]
    level = "depthBelowLandLayer" if one.layer else "surface"
    return {
        "_FillValue": np.float32(np.nan),
        "GRIB_paramId": np.int64(one.number),
        "GRIB_dataType": "an" if one.kind == "instant" else "fc",
        "GRIB_numberOfPoints": np.int64(len(latitude) * len(longitude)),
        "GRIB_typeOfLevel": level,
        "GRIB_stepUnits": np.int64(1),
        "GRIB_stepType": "instant" if one.kind == "instant" else step_type,
        "GRIB_gridType": "regular_ll",
        "GRIB_uvRelativeToGrid": np.int64(0),
        "GRIB_NV": np.int64(0),
        "GRIB_Nx": np.int64(len(longitude)),
        "GRIB_Ny": np.int64(len(latitude)),
        "GRIB_cfName": one.cf_name,
        "GRIB_cfVarName": name,
        "GRIB_gridDefinitionDescription": "Latitude/Longitude Grid",
        **grid,
        "GRIB_name": one.long_name,
        "GRIB_shortName": one.short_name,
        "GRIB_totalNumber": np.int64(0),
        "GRIB_units": one.units,
        "long_name": one.long_name,
        "units": one.units,
        "standard_name": one.cf_name,
        f"GRIB_{level}": float(one.layer[0]) if one.layer else 0.0,
    }


def save_present(file: xr.Dataset, path: Path) -> None:
    """Write a file as the store does: chunked, shuffled and deflated."""
    fields = [name for name in file.data_vars if name in PARAMETERS]
    chunks = {name: tuple(min(size, 256) for size in file[name].shape) for name in fields}
    how = {"zlib": True, "complevel": 1, "shuffle": True}
    file.to_netcdf(path, engine="h5netcdf", encoding={name: {"chunksizes": chunks[name], **how} for name in fields})


def write_present_zip(
    weather: HourlyWeather,
    path: Path,
    names: Sequence[str] = NAMES,
    *,
    members: Literal["split", "single"] = "split",
    **options: object,
) -> list[Path]:
    """Write the archive that the present store delivers for several variables.

    Parameters
    ----------
    members
        ``"split"``: one member for instants and one for amounts, as for ERA5. ``"single"``: all in ``data_0.nc``, as
        for ERA5-Land, whose GRIB 1 tells amounts from instants in no way (see ``step_type``).
    weather, path, names, options
        As in `write_present_netcdf`.
    """
    groups = {"data_0.nc": list(names)}
    if members == "split":
        groups = {
            f"data_stream-oper_stepType-{kind}.nc": [name for name in names if name in among]
            for kind, among in (("instant", INSTANTS), ("accum", AMOUNTS))
        }
    else:
        options = {"step_type": "instant"} | options
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, zipfile.ZipFile(path, "w") as archive:
        for member, held in groups.items():
            if held:
                write_present_netcdf(weather, Path(folder) / member, held, **options)
                archive.write(Path(folder) / member, member)
    return [path]


def write_era5_hourly(
    weather: HourlyWeather,
    path: Path,
    names: Sequence[str] = NAMES,
    *,
    layout: Literal["present", "zip", "former"] = "present",
    **options: object,
) -> list[Path]:
    """Write ERA5 on single levels instead of ERA5-Land: amounts of each hour, and values at sea too."""
    writers = {"present": write_present_netcdf, "zip": write_present_zip, "former": write_former_netcdf}
    return writers[layout](weather.with_sea(), path, names, rule="hourly", **options)
