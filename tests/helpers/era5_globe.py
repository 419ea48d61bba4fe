"""Years of daily statistics of a whole planet, streamed day by day: the files of the benchmark."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np
import numpy.typing as npt

from soilcast.cube.contract import SECONDS_PER_DAY
from soilcast.sources.planet import _days, _whole_years
from soilcast.sources.planet.geography import geography
from soilcast.sources.planet.soil import soil
from tests.helpers.era5_daily import days_since, history
from tests.helpers.era5_netcdf import field_attributes, present_file
from tests.helpers.era5_parameters import PARAMETERS
from tests.helpers.era5_weather import dewpoint

GLOBE_NAMES: tuple[str, ...] = (
    "t2m", "d2m", "u10", "v10", "sp", "tp", "e", "sro", "ssro", "ro", "ssrd", "strd", "sd",
    "swvl1", "swvl2", "swvl3", "swvl4",
)  # fmt: skip
"""All that the planet has: the eight dynamic inputs, with dewpoint for humidity, and the land surface."""

_BUFFERED_DAYS = 8


def write_daily_globe(
    folder: Path, resolution: float, years: str, *, seed: int = 0, compression: int | None = None
) -> list[Path]:
    """Write the planet as daily statistics, one file a variable and a year: ``NAME_YEAR_daily-HOW.nc``.

    The numbers are those of ``planet(resolution=resolution, years=years, seed=seed)`` in the files' units and signs,
    states at the end of the day as there: the cube of the files is the planet's, but for humidity from dewpoint and for
    the rows' order.

    Parameters
    ----------
    folder
        Where the files go.
    resolution, years, seed
        Of the planet.
    compression
        Level of deflate; None writes as fast as the disk takes it.

    Returns
    -------
    The files, by year and then by variable.
    """
    land = geography(resolution)
    columns = len(land.grid.lon)
    # North first, and columns from Greenwich eastward.
    row, column = len(land.grid.lat) - 1 - land.grid.index // columns, land.grid.index % columns
    longitude = land.grid.lon % 360.0
    order = np.argsort(longitude)
    at = row * columns + np.argsort(order)[column]
    days = _whole_years(years)
    calendar = days.astype("datetime64[D]")
    numbers = calendar.astype("datetime64[Y]")
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    buffers = {
        name: np.full((_BUFFERED_DAYS, len(land.grid.lat) * columns), np.nan, dtype=np.float32) for name in GLOBE_NAMES
    }
    simulated = _days(land, soil(land), days, seed, "end")
    for year in np.unique(numbers):
        these = calendar[numbers == year]
        with ExitStack() as stack:
            fields: dict[str, Any] = {}
            for name in GLOBE_NAMES:
                path, file, field = _created(folder, name, these, land.grid.lat[::-1], longitude[order], compression)
                stack.callback(file.close)
                fields[name] = field
                paths.append(path)
            for position, values in zip(range(len(these)), simulated, strict=False):
                buffered = position % _BUFFERED_DAYS
                for name in GLOBE_NAMES:
                    buffers[name][buffered, at] = _in_file(name, values)
                if buffered == _BUFFERED_DAYS - 1 or position == len(these) - 1:
                    start = position - buffered
                    for name, field in fields.items():
                        block = buffers[name][: buffered + 1]
                        field[start : position + 1] = block.reshape(buffered + 1, -1, columns)
    return paths


def _in_file(name: str, values: dict[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    if name == "d2m":
        return dewpoint(values["q"], values["sp"])
    if name == "e":
        return -values["e"]
    return values[name] * SECONDS_PER_DAY if name in ("ssrd", "strd") else values[name]


def _created(
    folder: Path,
    name: str,
    days: npt.NDArray[np.datetime64],
    latitude: npt.NDArray[np.float64],
    longitude: npt.NDArray[np.float64],
    compression: int | None,
) -> tuple[Path, h5netcdf.File, Any]:
    """A file without values: its path, the open file and the variable to write them to."""
    how = "sum" if PARAMETERS[name].kind == "amount" else "mean"
    tag = f"{PARAMETERS[name].land_name}_{days[0].astype('datetime64[Y]')}"
    path = folder / f"{tag}_daily-{how}.nc"
    like = present_file({}, latitude, longitude, days_since(days))
    attributes = field_attributes(name, latitude, longitude)
    file = h5netcdf.File(path, "w")
    file.dimensions = {"valid_time": len(days), "latitude": len(latitude), "longitude": len(longitude)}
    for key, held in like.variables.items():
        made = file.create_variable(str(key), held.dims, held.dtype, data=held.to_numpy())
        made.attrs.update({word: value for word, value in held.attrs.items() if word != "_FillValue"})
    shape = (len(days), len(latitude), len(longitude))
    chunks = (min(_BUFFERED_DAYS, shape[0]), *shape[1:])
    squeezed = {"compression": "gzip", "compression_opts": compression, "shuffle": True} if compression else {}
    field = file.create_variable(
        name,
        ("valid_time", "latitude", "longitude"),
        np.float32,
        fillvalue=np.float32(np.nan),
        chunks=chunks,
        **squeezed,
    )
    field.attrs.update({word: value for word, value in attributes.items() if word != "_FillValue"})
    field.attrs["coordinates"] = "number"
    file.attrs.update(like.attrs | {"history": history(tag, how)})
    return path, file, field
