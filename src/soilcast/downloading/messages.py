"""Fields of a forecast in a GRIB file: whether all are there and whole, and cropping them to a region."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from soilcast.downloading.fetching import WrongContentError
from soilcast.downloading.open_data import FieldId
from soilcast.downloading.requests import Area
from soilcast.errors import SoilcastError

_MISSING = -1.0e34
_EDGE = 1e-6
"""Of a grid spacing: a place so near to a grid point is on it."""


def check_fields(
    path: Path, lengths: Sequence[int], expected: Collection[FieldId], run: datetime.datetime, step: int
) -> None:
    """Check that a file is made of whole GRIB messages, and that these are the expected fields, each of them once.

    Parameters
    ----------
    path
        The file.
    lengths
        Length of each message, as the index of the server says [bytes].
    expected
        The fields.
    run, step
        Start of the forecast [UTC], and step [h].

    Raises
    ------
    WrongContentError
        A message is truncated or damaged, or of another length, run or step; a field is missing, twice or another one.
    """
    missing = set(expected)
    for number, message in enumerate(_messages(path, lengths), 1):
        if message[:4] != b"GRIB" or message[-4:] != b"7777":
            raise WrongContentError(f"message {number} is no whole GRIB message, or its index file is wrong")
        with _opened(message) as (get, _):
            if int(get("totalLength")) != len(message):
                raise WrongContentError(f"message {number} is not of the length that its index file says")
            moment = f"{int(get('dataDate')):08d} {int(get('dataTime')):04d}, step {get('endStep')}"
            if moment != f"{run:%Y%m%d %H%M}, step {step}":
                raise WrongContentError(f"message {number} is of {moment}, or its index file is wrong")
            param = str(get("shortName"))
            level = int(get("level")) if str(get("typeOfLevel")).startswith("soil") else 0
            field = FieldId(param, level, int(get("number")) if any(one.member for one in expected) else 0)
        if field not in missing:
            what = "there twice" if field in expected else "not what was asked for, or its index file is wrong"
            raise WrongContentError(f"message {number}, {field}, is {what}")
        missing.discard(field)
    if missing:
        raise WrongContentError(f"{min(missing)} and {len(missing) - 1} other field(s) are missing")


def crop_fields(path: Path, out: Path, area: Area) -> None:
    """Write the grid points of a region that enclose it: the values of the file, in float32.

    Parameters
    ----------
    path
        GRIB on regular latitude-longitude grids.
    out
        The file to write.
    area
        North, west, south, east [degrees].

    Raises
    ------
    SoilcastError
        A grid is another, or does not cover the region.
    WrongContentError
        A message cannot be decoded.
    """
    with path.open("rb") as stream:
        size, lengths = path.stat().st_size, []
        while stream.tell() < size:
            start = stream.tell()
            head = stream.read(16)
            length = int.from_bytes(head[8:16], "big") if head[7] == 2 else int.from_bytes(head[4:7], "big")
            lengths.append(length)
            stream.seek(start + length)
    with out.open("wb") as made:
        for message in _messages(path, lengths):
            made.write(_cropped(message, area, path))


def _messages(path: Path, lengths: Sequence[int]) -> Iterator[bytes]:
    if path.stat().st_size != sum(lengths):
        raise WrongContentError(f"{path.stat().st_size} bytes came instead of {sum(lengths)}")
    with path.open("rb") as stream:
        for length in lengths:
            yield stream.read(length)


@contextmanager
def _opened(message: bytes) -> Iterator[tuple[Callable[[str], Any], Any]]:
    """Give a function that reads a key, and the handle."""
    import eccodes

    try:
        handle = eccodes.codes_new_from_message(message)
        try:
            yield lambda key: eccodes.codes_get(handle, key) if eccodes.codes_is_defined(handle, key) else 0, handle
        finally:
            eccodes.codes_release(handle)
    except (eccodes.CodesInternalError, ValueError) as error:
        raise WrongContentError(f"a message cannot be read ({error})") from error


def _cropped(message: bytes, area: Area, path: Path) -> bytes:
    import eccodes

    north, west, south, east = area
    with _opened(message) as (get, handle):
        if get("gridType") != "regular_ll" or get("jPointsAreConsecutive") or get("iScansNegatively"):
            raise SoilcastError(f"{path.name}: a grid {get('gridType')} cannot be cropped: download without --area")
        rows, columns = int(get("Nj")), int(get("Ni"))
        top, bottom = (float(get(f"latitudeOf{end}GridPointInDegrees")) for end in ("First", "Last"))
        left = float(get("longitudeOfFirstGridPointInDegrees"))
        across = float(get("iDirectionIncrementInDegrees"))
        down = (bottom - top) / max(rows - 1, 1)
        ends = sorted((lat - top) / down for lat in (north, south))
        first, last = max(math.floor(ends[0] + _EDGE), 0), min(math.ceil(ends[1] - _EDGE), rows - 1)
        start = (west - left) % 360.0 / across
        begin, end = math.floor(start + _EDGE), math.ceil(start + (east - west) / across - _EDGE)
        is_ring = abs(columns * across - 360.0) < across / 2
        if first > last or not (is_ring or end < columns):
            raise SoilcastError(f"{path.name}: its grid does not cover --area: give another one, or none")
        count = min(end - begin + 1, columns)
        chosen = np.arange(begin, begin + count) % columns
        eccodes.codes_set(handle, "missingValue", _MISSING)
        values = eccodes.codes_get_values(handle).reshape(rows, columns)[first : last + 1, chosen].ravel()
        missing = values == _MISSING
        new_left = (left + begin * across) % 360.0
        for key, value in (
            ("Nj", last - first + 1),
            ("Ni", count),
            ("latitudeOfFirstGridPointInDegrees", top + first * down),
            ("latitudeOfLastGridPointInDegrees", top + last * down),
            ("longitudeOfFirstGridPointInDegrees", new_left),
            ("longitudeOfLastGridPointInDegrees", (new_left + (count - 1) * across) % 360.0),
            ("bitmapPresent", 0),
        ):
            eccodes.codes_set(handle, key, value)
        # Packed anew, the old values of another grid, or none at all, would be packed first, which fails.
        eccodes.codes_set_values(handle, np.arange(values.size, dtype=np.float64))
        # float32: packed in integers, values would move. Without any value only integers can be packed.
        eccodes.codes_set(handle, "packingType", "grid_simple" if missing.all() else "grid_ieee")
        if missing.any():
            eccodes.codes_set(handle, "bitmapPresent", 1)
            eccodes.codes_set(handle, "missingValue", _MISSING)
        eccodes.codes_set_values(handle, values)
        return bytes(eccodes.codes_get_message(handle))
