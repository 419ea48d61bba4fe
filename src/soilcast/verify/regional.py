"""Scores of the means of regions: their forecasts and their record are artifacts of their own, scored as cells are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from soilcast.cube import open_cube, save_cube, write_dataset
from soilcast.cube.grid import OUTLINE
from soilcast.regions.forecasts import forecast_cells, regional_forecast
from soilcast.regions.means import regional_cube
from soilcast.regions.reading import Outlines
from soilcast.regions.weights import weigh_cells
from soilcast.verify.plan import Plan, open_files


def write_regions(plan: Plan, outlines: Outlines, folder: Path) -> tuple[list[Path], Path, tuple[str, ...]]:
    """Write the forecasts and the record of regions, of the cells, issue days and leads of an evaluation.

    Parameters
    ----------
    plan
        The evaluation of the cells.
    outlines
        Polygons of the regions, which are of the cells that all forecasts have.
    folder
        Where to write.

    Returns
    -------
    Paths of the forecasts, under the labels that they have in the plan, and of the cube; and what was left out, a line
    each.

    Raises
    ------
    SoilcastError
        No region has a cell that is evaluated; stored bytes are damaged.
    """
    paths, notes, record = [], dict[str, None](), folder / "cube"
    with open_files(plan) as files:
        regions = weigh_cells(outlines, files.cube)
        common = [forecast_cells(one, plan.targets[0], regions) for one in files.forecasts.values()]
        regions = regions.of_cells(np.all(common, axis=0))
        save_cube(regional_cube(files.cube, regions, plan.targets), record, source="regions", paths=[str(plan.cube)])
        with open_cube(record) as cube:
            sha256 = cube.attrs["content_sha256"]
        for number, (label, forecast) in enumerate(files.forecasts.items()):
            made = regional_forecast(forecast, regions)
            notes |= dict.fromkeys(str(made.attrs.get("notes", "")).splitlines())
            made = made.drop_vars(OUTLINE).assign_attrs(label=label, cube_sha256=sha256)
            paths.append(folder / str(number) / "forecast.zarr")
            paths[-1].parent.mkdir(parents=True)
            write_dataset(made, paths[-1], netcdf=False)
    return paths, record, tuple(notes)
