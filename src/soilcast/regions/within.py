"""Which cells lie within a box or the regions of a file, for training and evaluation on them alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.files import sha256_of

_BOX = 4


@dataclass(frozen=True)
class Within:
    """The cells of an artifact that lie within a box or the regions of a file.

    Parameters
    ----------
    cells
        ``(cell,)``.
    record
        What an artifact says of it: the box, or the file and its hash.
    notes
        What was left out, mended or assumed, a line each; the last counts the cells.
    """

    cells: npt.NDArray[np.bool_] = field(repr=False)
    record: dict[str, str]
    notes: tuple[str, ...]


def cells_within(area: str | Path, artifact: xr.Dataset) -> Within:
    """Find the cells whose centre, or place, lies within an area.

    Parameters
    ----------
    area
        ``W,S,E,N``, a box of longitudes and latitudes [degrees], across the date line where W > E; or a file of regions
        (`soilcast.regions.reading.read_outlines`).
    artifact
        An opened cube or forecast.

    Raises
    ------
    SoilcastError
        It is no box and no file of regions; no cell lies within it.
    """
    lon, lat = (artifact[axis].to_numpy().astype(np.float64) for axis in ("lon", "lat"))
    box = _box(str(area))
    notes: tuple[str, ...] = ()
    if box is not None:
        west, south, east, north = box
        cells = ((lon - west) % 360.0 <= east - west) & (lat >= south) & (lat <= north)
        record = {"box": ",".join(f"{edge:g}" for edge in box)}
    else:
        cells, notes = _within_file(area, lon, lat)
        file = Path(str(area).partition("|")[0])
        record = {"file": file.name, "sha256": sha256_of(file)}
    if not cells.any():
        raise SoilcastError(
            f"--within {area}: none of the {len(cells):,} cells ({lat.min():g} .. {lat.max():g} N, {lon.min():g} .. "
            f"{lon.max():g} E) has its centre in it: choose a larger area"
        )
    counted = f"{np.count_nonzero(cells):,} of {len(cells):,} cells lie within {area}; the others are left out"
    return Within(cells, record, (*notes, counted))


def _within_file(
    area: str | Path, lon: npt.NDArray[np.float64], lat: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.bool_], tuple[str, ...]]:
    # Imported here, since a box needs no extra.
    from soilcast.regions.reading import read_outlines
    from soilcast.regions.weights import points_within

    outlines = read_outlines(area)
    return np.asarray(points_within(outlines.geometry, lon, lat).sum(axis=0) > 0), outlines.notes


def _box(text: str) -> tuple[float, float, float, float] | None:
    """West, south, east (beyond west) and north of a box; None where the text is no four numbers."""
    try:
        edges = [float(part) for part in text.split(",")]
    except ValueError:
        return None
    if len(edges) != _BOX:
        return None
    west, south, east, north = edges
    if not (-180.0 <= west <= 360.0 and -180.0 <= east <= 360.0 and west != east and -90.0 <= south < north <= 90.0):
        raise SoilcastError(
            f"--within {text}: no box: write west, south, east and north edge [degrees] as W,S,E,N, such as 5,47,12,52"
        )
    return west, south, east if east > west else east + 360.0, north
