"""What the tests of the LandBench source share: axes, names of files, changing a file, and the line of a refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from soilcast.cube import PAPER_DYNAMIC
from soilcast.errors import SoilcastError
from soilcast.sources.landbench import landbench
from tests.helpers.landbench_tree import CONSTANTS, DYNAMIC, write_landbench_tree

LATS = np.arange(80.0, -81.0, -20.0)
LONS = np.arange(0.0, 360.0, 20.0)
LEAST = (*PAPER_DYNAMIC, "swvl1")


def years_of_two_cells(root: Path, years: list[int], **options: Any) -> Path:
    write_landbench_tree(
        root,
        resolution="4",
        lats=[10.0, 0.0],
        lons=[160.0, 180.0],
        years=years,
        constants=(),
        **({"variables": LEAST} | options),
    )
    return root


def file_of(root: Path, name: str, year: int = 2019) -> Path:
    row = {**DYNAMIC, **CONSTANTS}[name]
    place = root / "4" / row.folder
    return (place if row.folder == "constants" else place / str(year)) / f"{row.file}.nc"


def rewrite(path: Path, change: Any) -> None:
    with xr.open_dataset(path, engine="h5netcdf") as opened:
        changed = change(opened.load())
    changed.to_netcdf(path, engine="h5netcdf")


def refusal(root: Path, **options: Any) -> str:
    with pytest.raises(SoilcastError) as caught:
        landbench([root], **({"resolution": 4} | options))
    message = str(caught.value)
    assert "\n" not in message
    return message


def everywhere(value: float) -> Any:
    return lambda day, lat, lon: value + 0.0 * (day + lat + lon)


Tree = Callable[..., Path]
