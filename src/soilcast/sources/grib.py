"""GRIB files as datasets: every message is looked at once, and a field is decoded when it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from soilcast.eccodes_library import load_eccodes
from soilcast.errors import SoilcastError

_REGULAR = "regular_ll"
_MARKS = {"paramId": int, "offset": int, "totalLength": int}
_PLACES = {
    "stepType": str,
    "number": int,
    "gridType": str,
    "Ni": int,
    "Nj": int,
    "latitudeOfFirstGridPointInDegrees": float,
    "latitudeOfLastGridPointInDegrees": float,
    "longitudeOfFirstGridPointInDegrees": float,
    "longitudeOfLastGridPointInDegrees": float,
    "iScansNegatively": int,
    "jPointsAreConsecutive": int,
    "alternativeRowScanning": int,
    "validityDate": int,
    "validityTime": int,
    "editionNumber": int,
    "centre": str,
    "bitmapPresent": int,
}
# ecCodes looks these up in tables of thousands of rows, for each message anew.
_NAMES = {"cfVarName": str, "name": str, "units": str, "typeOfLevel": str, "level": int}
_GRID_KEYS = (
    "gridType",
    "Ni",
    "Nj",
    "latitudeOfFirstGridPointInDegrees",
    "latitudeOfLastGridPointInDegrees",
    "longitudeOfFirstGridPointInDegrees",
    "longitudeOfLastGridPointInDegrees",
    "iScansNegatively",
    "jPointsAreConsecutive",
    "alternativeRowScanning",
)
_LARGEST_GRID = 1 << 30
_MISSING = -1.0e34

Message = dict[str, Any]
Axis = npt.NDArray[np.float64]


def open_grib(path: Path) -> list[xr.Dataset]:
    """Open a GRIB file of either edition; each parameter, level and member becomes a dataset with one variable.

    No index file is written, here or beside the file.

    Raises
    ------
    SoilcastError
        The extra is missing, the file is damaged or truncated, or none of its fields lies on a regular grid.
    """
    groups: dict[tuple[Any, ...], list[Message]] = {}
    for message in index_messages(path, _NAMES):
        kind = tuple(message[key] for key in ("paramId", "typeOfLevel", "level", "number", *_GRID_KEYS))
        groups.setdefault(kind, []).append(message)
    members: dict[int, set[int]] = {}
    for messages in groups.values():
        members.setdefault(messages[0]["paramId"], set()).add(messages[0]["number"])
    datasets = [
        _dataset(path, messages, len(members[messages[0]["paramId"]]))
        for messages in groups.values()
        if is_regular(messages[0])
    ]
    if not datasets:
        kinds = ", ".join(sorted({messages[0]["gridType"] for messages in groups.values()}))
        raise SoilcastError(f"{path}: its grid is {kinds}: convert it to a regular latitude-longitude grid")
    return datasets


def index_messages(
    path: Path, further: Mapping[str, type], wanted: Callable[[int], bool] = lambda number: True
) -> list[Message]:
    """Read what the headers of all messages of a GRIB file say, without any value.

    Parameters
    ----------
    path
        The file.
    further
        Further keys of ecCodes and their types; a key that a message lacks is empty or zero.
    wanted
        Whether messages of a ``paramId`` are wanted; of the others no more is read.

    Raises
    ------
    SoilcastError
        The extra is missing, or the file is damaged, truncated or without messages.
    """
    try:
        eccodes = load_eccodes()
    except (ImportError, RuntimeError) as error:  # eccodes raises the latter where its library is not found
        raise SoilcastError(f"{path}: GRIB needs an extra: install it with pip install 'soilcast[era5]'") from error
    try:
        found = list(_messages(path, {**_PLACES, **further}, wanted))
    except (eccodes.CodesInternalError, OSError, ValueError) as error:
        raise SoilcastError(
            f"{path}: cannot be read as GRIB ({error}): it is damaged or truncated; download or write it again"
        ) from error
    if not found:
        raise SoilcastError(f"{path}: no GRIB message in this file: it is damaged; download or write it again")
    return found


def _messages(path: Path, keys: Mapping[str, type], wanted: Callable[[int], bool]) -> Iterator[Message]:
    eccodes = load_eccodes()

    size = path.stat().st_size
    with path.open("rb") as stream:
        while (handle := eccodes.codes_grib_new_from_file(stream, headers_only=True)) is not None:
            try:
                message = {key: _key(handle, key, kind) for key, kind in _MARKS.items()}
                if message["offset"] + message["totalLength"] > size:
                    raise ValueError("its last message is truncated")
                if wanted(message["paramId"]):
                    message |= {key: _key(handle, key, kind) for key, kind in keys.items()}
            finally:
                eccodes.codes_release(handle)
            yield message


def _key(handle: Any, key: str, kind: type) -> Any:
    eccodes = load_eccodes()

    if not eccodes.codes_is_defined(handle, key):
        return kind()
    try:
        return eccodes.codes_get(handle, key, ktype=kind)
    except eccodes.CodesInternalError:
        return kind()


def grid_key(message: Message) -> tuple[Any, ...]:
    """What tells the grid of a message from others."""
    return tuple(message[key] for key in _GRID_KEYS)


def is_regular(message: Message) -> bool:
    """Whether a message lies on a regular latitude-longitude grid."""
    return bool(message["gridType"] == _REGULAR)


def axes_of_message(message: Message, path: Path) -> tuple[Axis, Axis]:
    """Latitudes ``(lat,)`` and longitudes ``(lon,)`` of a regular grid, in the order of the values [degrees].

    Raises
    ------
    SoilcastError
        The grid is impossible, or its points follow each other in another order.
    """
    rows, columns = int(message["Nj"]), int(message["Ni"])
    if not 0 < rows * columns <= _LARGEST_GRID:
        raise SoilcastError(f"{path}: a grid of {rows} x {columns} points is impossible: the file is damaged")
    if message["jPointsAreConsecutive"] or message["alternativeRowScanning"]:
        raise SoilcastError(f"{path}: its points are not ordered along parallels: convert it to this order")
    lat = np.linspace(message["latitudeOfFirstGridPointInDegrees"], message["latitudeOfLastGridPointInDegrees"], rows)
    west, east = message["longitudeOfFirstGridPointInDegrees"], message["longitudeOfLastGridPointInDegrees"]
    if message["iScansNegatively"]:
        west += 360.0 if west < east else 0.0
    elif east < west:
        east += 360.0
    return np.round(lat, 6), np.round(np.linspace(west, east, columns), 6)


def decode(stream: BinaryIO, message: Message) -> npt.NDArray[np.float64]:
    """Decode the values of a message of an opened file, ``(lat, lon)``; NaN where missing.

    Raises
    ------
    ValueError
        The message is damaged.
    """
    eccodes = load_eccodes()

    offset, length, shape = message["offset"], message["totalLength"], (int(message["Nj"]), int(message["Ni"]))
    stream.seek(offset)
    handle = eccodes.codes_new_from_message(stream.read(length))
    try:
        eccodes.codes_set(handle, "missingValue", _MISSING)
        values = eccodes.codes_get_values(handle)
    except eccodes.CodesInternalError as error:
        raise ValueError(f"message at byte {offset}: {error}") from error
    finally:
        eccodes.codes_release(handle)
    if values.size != shape[0] * shape[1]:
        raise ValueError(f"message at byte {offset} holds {values.size} values")
    values = values.reshape(shape)
    return np.where(values == _MISSING, np.nan, values) if message["bitmapPresent"] else values


def _dataset(path: Path, messages: list[Message], members: int) -> xr.Dataset:
    first = messages[0]
    lat, lon = axes_of_message(first, path)
    moments = np.array(
        [moment_of(one["validityDate"], one["validityTime"]) for one in messages], dtype="datetime64[ns]"
    )
    order = np.argsort(moments, kind="stable")
    array = _Fields(path, [messages[number] for number in order])
    name = _name(first)
    attributes = {
        "GRIB_paramId": first["paramId"],
        "GRIB_stepType": first["stepType"],
        "GRIB_typeOfLevel": first["typeOfLevel"],
        "GRIB_members": members,
        "long_name": first["name"],
        "units": first["units"],
    }
    coords: dict[str, Any] = {
        "valid_time": ("valid_time", moments[order]),
        "latitude": ("latitude", lat),
        "longitude": ("longitude", lon),
    }
    if first["typeOfLevel"] not in ("", "surface", "unknown"):
        coords[first["typeOfLevel"]] = float(first["level"])
    lazy = xr.Variable(("valid_time", "latitude", "longitude"), indexing.LazilyIndexedArray(array), attributes)
    global_attributes = {
        "GRIB_edition": first["editionNumber"],
        "GRIB_centre": first["centre"],
        "number": first["number"],
    }
    return xr.Dataset({name: lazy}, coords, global_attributes)


def _name(message: Message) -> str:
    for key in ("cfVarName", "name"):
        if message[key] not in ("", "unknown"):
            return str(message[key])
    return f"parameter {message['paramId']}"


def moment_of(date: int, time: int) -> np.datetime64:
    """Moment of a date YYYYMMDD and a time HHMM."""
    day, clock = str(date).zfill(8), str(time).zfill(4)
    return np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}T{clock[:2]}:{clock[2:]}", "m")


@dataclass(frozen=True, eq=False)
class _Fields(BackendArray):
    """The fields of one parameter ``(time, lat, lon)`` float32, decoded when they are asked for."""

    path: Path
    messages: list[Message]

    dtype = np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.messages), int(self.messages[0]["Nj"]), int(self.messages[0]["Ni"])

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> npt.NDArray[np.float32]:
        stamps, rows, columns = key
        chosen = np.atleast_1d(np.arange(len(self.messages))[stamps])
        with self.path.open("rb") as stream:
            fields = np.stack([decode(stream, self.messages[number]).astype(np.float32) for number in chosen])
        fields = fields[:, rows][:, :, columns] if not isinstance(rows, int) else fields[:, rows][:, columns]
        return fields[0] if np.ndim(np.arange(len(self.messages))[stamps]) == 0 else fields
