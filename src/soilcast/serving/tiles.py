"""Tiles of a map in Web Mercator: each pixel shows the cell that it lies in, nothing where there is none."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from soilcast.serving.faults import RequestError
from soilcast.serving.scales import TRANSPARENT, Indices

SIDE = 256
"""Pixels of a tile along each side."""

DEEPEST = 22
"""Largest zoom."""

_COMPRESSION = 1
"""Level of zlib: tiles have few values, and higher ones take longer than they save."""


def refuse_outside(z: int, x: int, y: int) -> None:
    """Raise `RequestError` for a tile that does not exist."""
    if not (0 <= z <= DEEPEST and 0 <= x < 1 << z and 0 <= y < 1 << z):
        raise RequestError(f"no tile {z}/{x}/{y}: z is 0 to {DEEPEST}, x and y are 0 to 2^z - 1")


def pixel_places(z: int, x: int, y: int, side: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Latitude of each row and longitude of each column of a tile ``(side,)`` [degrees]."""
    steps = (np.arange(side) + 0.5) / side
    lon = (x + steps) / 2**z * 360.0 - 180.0
    lat = np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * (y + steps) / 2**z))))
    return lat, lon


def encode(indices: Indices, palette: bytes) -> bytes:
    """PNG of positions in a palette ``(row, column)``; `TRANSPARENT` is."""
    image = Image.fromarray(indices)
    image.putpalette(palette.ljust(3 * TRANSPARENT, b"\0") + b"\0\0\0")
    stream = io.BytesIO()
    image.save(stream, format="PNG", transparency=TRANSPARENT, compress_level=_COMPRESSION)
    return stream.getvalue()


@lru_cache(maxsize=2)
def empty(side: int) -> bytes:
    """A tile without any cell."""
    return encode(np.full((side, side), TRANSPARENT, dtype=np.uint8), b"")
