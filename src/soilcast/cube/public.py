"""What other rooms take from this one as `soilcast.cube`."""

from soilcast.cube.assembling import assemble, cells_of_grid, cells_of_places, era5_land_thickness
from soilcast.cube.calendar import daily_axis, days_of, periods_of
from soilcast.cube.check import check_bounds, usable_target
from soilcast.cube.contract import (
    ERA5_LAND_LAYERS,
    PAPER_DYNAMIC,
    PAPER_STATIC,
    VARIABLES,
    Variable,
    thickness_name,
)
from soilcast.cube.grid import Grid, from_grid, grid_of, neighbours, spacing, to_grid, wrap_longitude
from soilcast.cube.kinds import FORMATS
from soilcast.cube.store import open_artifact, open_cube, open_forecast, read, write_dataset
from soilcast.cube.units import Conversion, conversion, conversion_between, is_amount
from soilcast.cube.writing import save_cube

__all__ = [
    "ERA5_LAND_LAYERS",
    "FORMATS",
    "PAPER_DYNAMIC",
    "PAPER_STATIC",
    "VARIABLES",
    "Conversion",
    "Grid",
    "Variable",
    "assemble",
    "cells_of_grid",
    "cells_of_places",
    "check_bounds",
    "conversion",
    "conversion_between",
    "daily_axis",
    "days_of",
    "era5_land_thickness",
    "from_grid",
    "grid_of",
    "is_amount",
    "neighbours",
    "open_artifact",
    "open_cube",
    "open_forecast",
    "periods_of",
    "read",
    "save_cube",
    "spacing",
    "thickness_name",
    "to_grid",
    "usable_target",
    "wrap_longitude",
    "write_dataset",
]
