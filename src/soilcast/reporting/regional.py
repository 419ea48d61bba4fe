"""Regions on a page: the forecast of an issue day by region, and scores of regions with the outlines of these."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from soilcast.cube import open_cube
from soilcast.cube.grid import OUTLINE
from soilcast.errors import SoilcastError
from soilcast.reporting.artifacts import SCORES_FILE
from soilcast.verify.scores import REGIONS as FOLDER


@dataclass(frozen=True)
class RegionFile:
    """A file of regions, and the attribute that names them; None for the obvious one."""

    path: Path
    name: str | None = None


def forecast_of_regions(forecast: xr.Dataset, file: RegionFile, cube: Path | None) -> tuple[xr.Dataset, xr.Dataset]:
    """Give the last issue day of an opened forecast by region, and the observations of the regions.

    Parameters
    ----------
    forecast
        Opened, of cells.
    file
        The regions.
    cube
        The cube of the forecast, which percentile, class and odds take; None for none of them.

    Returns
    -------
    As `soilcast.regions.forecasts.regional_forecast` gives it; and a cube of the regions, without any day if ``cube``
    is None.

    Raises
    ------
    SoilcastError
        The regions cannot be read or have no cell, or the cube is not that of the forecast.
    """
    # Imported here, since they bring an extra along.
    from soilcast.regions.forecasts import regional_forecast
    from soilcast.regions.means import regional_cube
    from soilcast.regions.weights import open_regions

    regions = open_regions(file.path, forecast, name=file.name)
    last = forecast.isel(time=[-1])
    if cube is None:
        return regional_forecast(last, regions), xr.Dataset()
    with open_cube(cube) as opened:
        if not all(np.array_equal(opened[name].to_numpy(), forecast[name].to_numpy()) for name in ("lat", "lon")):
            raise SoilcastError(f"{cube}: its cells are not those of the forecast: give the cube that it was made from")
        layers = [name for name in str(forecast.attrs.get("targets", "")).split(",") if name in opened]
        return regional_forecast(last, regions, opened), regional_cube(opened, regions, layers)


def regions_of_scores(path: Path) -> Path | None:
    """Give the scores of regions that stand beside scores of cells; None where there are none."""
    inside = path / FOLDER / SCORES_FILE
    return inside if inside.is_file() else None


def with_outlines(scores: xr.Dataset, path: Path, file: RegionFile) -> xr.Dataset:
    """Add the outlines of regions to their scores, by their names.

    Parameters
    ----------
    scores
        Of regions.
    path
        Where they are from, for messages.
    file
        The regions.

    Raises
    ------
    SoilcastError
        The file cannot be read, or lacks one of the regions.
    """
    from soilcast.regions.reading import read_outlines
    from soilcast.regions.weights import cut_at_date_line

    outlines = read_outlines(file.path, file.name)
    known = dict(zip(outlines.names, outlines.geometry, strict=True))
    names = [str(name) for name in scores["cell_name"].to_numpy()]
    if missing := [name for name in names if name not in known]:
        raise SoilcastError(f"{file.path}: no region {missing[0]}, as {path} has: give the file that it was made with")
    shapes = np.array([cut_at_date_line(known[name]) for name in names], dtype=object)
    return scores.assign_coords({OUTLINE: ("cell", shapes)})
