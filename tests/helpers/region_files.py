"""Files of regions, as a GIS writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
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
