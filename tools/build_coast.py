"""Make src/soilcast/reporting/data/coast110m.npz from npm's world-atlas (Natural Earth 1:110m, public domain).

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python tools/build_coast.py package/land-110m.json src/soilcast/reporting/data/coast110m.npz

The land polygons are decoded from TopoJSON, cut at 180 degrees east and kept as int16 hundredths of a degree.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

Ring = npt.NDArray[np.float64]  # (point, 2): longitude, latitude [degrees]


def decode_arcs(topology: dict) -> list[Ring]:
    """Arcs of a quantised topology: delta-decoded, then scaled and shifted to degrees."""
    scale, shift = (np.asarray(topology["transform"][key]) for key in ("scale", "translate"))
    return [np.cumsum(np.asarray(arc), axis=0) * scale + shift for arc in topology["arcs"]]


def stitch(indices: list[int], arcs: list[Ring]) -> Ring:
    """Join arcs to a ring; ~i is arc i walked backwards, and neighbours share their end points."""
    parts = [arcs[index] if index >= 0 else arcs[~index][::-1] for index in indices]
    return np.concatenate([parts[0], *(part[1:] for part in parts[1:])])


def unwrap(ring: Ring) -> Ring:
    """Make longitudes run on beyond 180 instead of jumping; a ring around a pole is closed along that pole."""
    lon = np.degrees(np.unwrap(np.radians(ring[:, 0])))
    walked = np.column_stack([lon, ring[:, 1]])
    if abs(lon[-1] - lon[0]) > 180:
        pole = -90.0 if ring[:, 1].mean() < 0 else 90.0
        walked = np.concatenate([walked, [[lon[-1], pole], [lon[0], pole]], walked[:1]])
    return walked


def clip(ring: Ring, west: float, east: float) -> Ring:
    """Clip a ring to two meridians (Sutherland and Hodgman 1974)."""
    for sign, limit in ((1.0, west), (-1.0, -east)):
        clipped: list[npt.NDArray[np.float64]] = []
        for start, end in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            inside = sign * start[0] >= limit, sign * end[0] >= limit
            if inside[0]:
                clipped.append(start)
            if inside[0] != inside[1]:
                share = (sign * limit - start[0]) / (end[0] - start[0])
                clipped.append(start + share * (end - start))
        ring = np.asarray(clipped).reshape(-1, 2)
    return ring


def polygons(topology: dict) -> list[Ring]:
    """Every ring of the land, in -180 .. 180."""
    arcs = decode_arcs(topology)
    rings = []
    for geometry in topology["objects"]["land"]["geometries"]:
        for polygon in geometry["arcs"]:
            for indices in polygon:
                ring = unwrap(stitch(indices, arcs))[:-1]
                for turn in (-360.0, 0.0, 360.0):
                    part = clip(ring + np.array([turn, 0.0]), -180.0, 180.0)
                    if len(part) > 2:
                        rings.append(np.concatenate([part, part[:1]]))
    return rings


def main(source: Path, out: Path) -> None:
    """Decode ``source`` (land-110m.json) and write ``out``."""
    rings = polygons(json.loads(source.read_text()))
    points = np.rint(np.concatenate(rings) * 100).astype(np.int16)
    starts = np.cumsum([0, *map(len, rings)]).astype(np.int32)
    np.savez_compressed(out, points=points, starts=starts)
    print(f"{len(rings)} rings, {len(points)} points, {out.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
