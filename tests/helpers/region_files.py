"""Files of regions, as a GIS writes them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyogrio
import shapely

DRIVERS = {".geojson": "GeoJSON", ".gpkg": "GPKG", ".shp": "ESRI Shapefile"}


def write_regions(
    path: Path,
    geometry: Sequence[Any],
    *,
    crs: str | None = "EPSG:4326",
    layer: str | None = None,
    append: bool = False,
    **columns: Sequence[Any],
) -> Path:
    """Write geometries of shapely and their attributes, by the end of the file's name."""
    given: Mapping[str, Sequence[Any]] = columns or {"number": list(range(len(geometry)))}
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array(list(geometry), dtype=object)),
        [np.array(list(values), dtype=object if isinstance(values[0], str) else None) for values in given.values()],
        list(given),
        driver=DRIVERS[path.suffix],
        geometry_type="Unknown" if path.suffix != ".shp" else "Polygon",
        crs=crs,
        layer=layer,
        append=append,
    )
    return path


_BY_PYPROJ = """
import json, sys
import pyproj

source, target, x, y = json.load(sys.stdin)
json.dump(pyproj.Transformer.from_crs(source, target, always_xy=True).transform(x, y), sys.stdout)
"""


def converter(source: str, target: str) -> Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]:
    """Convert points ``(point, 2)`` by pyproj, in a process of its own: it bears no eccodes beside it."""

    def convert(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        given = json.dumps([source, target, *points.T.tolist()])
        command = [sys.executable, "-c", _BY_PYPROJ]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
        return np.array(json.loads(done.stdout)).T

    return convert
