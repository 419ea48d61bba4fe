"""Fields of a forecast in a GRIB file: whether all are there and whole, and cropping them to a region."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from soilcast.downloading.fetching import WrongContentError
from soilcast.downloading.open_data import FieldId
from soilcast.downloading.requests import Area
from soilcast.eccodes_library import load_eccodes
from soilcast.errors import SoilcastError

_MISSING = -1.0e34
_INTEGERS = (0, 2, 3, 40, 41, 42)
"""Code table 5.0: simple, complex, JPEG 2000, PNG and CCSDS packing, which scale the same integers."""

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
    """Write the grid points of a region that enclose it, with the values that they have in the file.

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
        A grid or a packing is another, or the grid does not cover the region.
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
    eccodes = load_eccodes()

    try:
        handle = eccodes.codes_new_from_message(message)
        try:
            yield lambda key: eccodes.codes_get(handle, key) if eccodes.codes_is_defined(handle, key) else 0, handle
        finally:
            eccodes.codes_release(handle)
    except (eccodes.CodesInternalError, ValueError) as error:
        raise WrongContentError(f"a message cannot be read ({error})") from error


def _cropped(message: bytes, area: Area, path: Path) -> bytes:
    eccodes = load_eccodes()

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
        eccodes.codes_set_values(handle, np.zeros(values.size))
        made = _packed(_sections(message, path), _sections(bytes(eccodes.codes_get_message(handle)), path), values)
    with _opened(made) as (_, handle):
        eccodes.codes_set(handle, "missingValue", _MISSING)
        assert np.array_equal(eccodes.codes_get_values(handle), values), f"{path}: cropping moves values"
    return made


def _sections(message: bytes, path: Path) -> dict[int, bytes]:
    """Sections of a message of edition 2 by number; the indicator is 0.

    Raises
    ------
    SoilcastError
        It is of edition 1, has several fields, or is packed in another way than by scaled integers.
    """
    sections = {0: message[:16]}
    position = 16
    while message[7] == 2 and position < len(message) - 4:
        length, number = int.from_bytes(message[position : position + 4], "big"), message[position + 4]
        if length < 5 or number in sections:
            break
        sections[number] = message[position : position + length]
        position += length
    if position != len(message) - 4 or int.from_bytes(sections.get(5, b"")[9:11], "big") not in _INTEGERS:
        raise SoilcastError(f"{path.name}: a message of its kind cannot be cropped: download without --area")
    return sections


def _packed(original: dict[int, bytes], cropped: dict[int, bytes], values: npt.NDArray[np.float64]) -> bytes:
    """Pack values with the reference and the scales of the message that they are from, so that they stay what they are.

    A reader sees from the scales by how much values may be rounded, such as amounts that seem to fall with the step.
    """
    representation = original[5]
    reference = float(np.frombuffer(representation[11:15], ">f4")[0])
    binary, decimal = (_signed(representation[at : at + 2]) for at in (15, 17))
    there = values != _MISSING
    integers = np.rint((values[there] * 10.0**decimal - reference) / 2.0**binary).astype(np.int64)
    bits = max(
        int(integers.max(initial=0)).bit_length(), min(representation[19], 1)
    )  # without bits there are no scales
    digits = (integers[:, np.newaxis] >> np.arange(bits - 1, -1, -1)) & 1
    content = np.packbits(digits.astype(np.uint8).ravel()).tobytes()
    count = len(integers).to_bytes(4, "big")
    sections = cropped | {
        5: _section(5, count + b"\0\0" + representation[11:19] + bytes([bits]) + representation[20:21]),
        6: _section(6, b"\xff" if there.all() else b"\0" + np.packbits(there).tobytes()),
        7: _section(7, content),
    }
    body = b"".join(sections[number] for number in sorted(sections) if number)
    return original[0][:8] + (16 + len(body) + 4).to_bytes(8, "big") + body + b"7777"


def _section(number: int, content: bytes) -> bytes:
    return (len(content) + 5).to_bytes(4, "big") + bytes([number]) + content


def _signed(content: bytes) -> int:
    """A number whose first bit is its sign."""
    number = int.from_bytes(content, "big")
    return 0x8000 - number if number & 0x8000 else number
