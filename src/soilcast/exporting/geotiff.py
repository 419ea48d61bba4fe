"""Write a field as a cloud-optimised GeoTIFF of its cells' grid, north up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from soilcast.cube import Grid, grid_of, spacing
from soilcast.errors import SoilcastError
from soilcast.exporting.selecting import Band, Field
from soilcast.ownership import GENERATOR
from soilcast.products.indices import MISSING

# A map of the whole Earth at 0.02 degrees has fewer.
_MOST_PIXELS = 1 << 28

_MOST_DEVIATION = 0.05
"""Largest deviation of a row or column from even spacing, as a share of the step."""

_TILE = 256


@dataclass(frozen=True)
class _Axis:
    """Evenly spaced pixels along an axis of a grid.

    Parameters
    ----------
    first
        Coordinate of the centre of the first pixel [degrees].
    step
        From one to the next [degrees]; negative where coordinates fall.
    pixel
        Pixel of each point of the axis ``(point,)``.
    """

    first: float
    step: float
    pixel: npt.NDArray[np.int64]

    @property
    def size(self) -> int:
        return int(self.pixel.max()) + 1


def write_geotiff(field: Field, partial: Path, out: Path) -> None:
    """Write a field: a band for each lead, float32 with NaN or int8 with -128 where there is nothing.

    Parameters
    ----------
    field
        What to write.
    partial
        Where to write.
    out
        Final path, for messages.

    Raises
    ------
    SoilcastError
        The extra is not installed; the cells have no grid, or one that is not regular or too large.
    """
    try:
        import rasterio  # type: ignore[import-untyped, unused-ignore]
        from rasterio.io import MemoryFile  # type: ignore[import-untyped, unused-ignore]
        from rasterio.transform import Affine  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise SoilcastError(f"{out}: GeoTIFF needs an extra: install it with pip install 'soilcast[era5]'") from error
    grid = grid_of(field.opened)
    if grid is None:
        raise SoilcastError(f"{out}: the cells are points without a grid: use --out {out.with_suffix('.csv')}")
    rows, columns = _axes(grid, out)
    west, north = columns.first - columns.step / 2, rows.first - rows.step / 2
    profile = {
        "driver": "COG",
        "height": rows.size,
        "width": columns.size,
        "count": len(field.bands),
        "dtype": "int8" if field.is_whole else "float32",
        "nodata": MISSING if field.is_whole else np.nan,
        "crs": rasterio.CRS.from_epsg(4326),
        "transform": Affine(columns.step, 0.0, west, 0.0, rows.step, north),
        "compress": "deflate",
        "blocksize": _TILE,
        "overview_resampling": "nearest",  # a mean of classes is none
    }
    row, column = np.divmod(grid.index, len(grid.lon))
    pixels = rows.pixel[row] * columns.size + columns.pixel[column]
    # In memory, since GDAL hides the error of a full disk; and GDAL puts no files of its own beside it.
    with MemoryFile() as memory:
        with memory.open(**profile) as raster:
            raster.update_tags(**_tags(field))
            for number, (band, values) in enumerate(zip(field.bands, field.values, strict=True), start=1):
                raster.write(_image(values, pixels, (rows.size, columns.size), is_whole=field.is_whole), number)
                raster.set_band_description(number, _description(field, band))
                raster.update_tags(number, **_band_tags(field, band))
            raster.units = [field.units] * len(field.bands)
        partial.write_bytes(memory.getbuffer())


def _axes(grid: Grid, out: Path) -> tuple[_Axis, _Axis]:
    """Rows from north to south and columns from west to east."""
    rows, columns = _axis(grid.lat, -1, "latitudes", out), _axis(grid.lon, 1, "longitudes", out)
    if rows.size * columns.size > _MOST_PIXELS:
        raise SoilcastError(
            f"{out}: a map of {rows.size} x {columns.size} pixels is too large for a GeoTIFF: use --out "
            f"{out.with_suffix('.csv')}"
        )
    return rows, columns


def _axis(points: npt.NDArray[np.float64], sign: int, name: str, out: Path) -> _Axis:
    points = points.astype(np.float64)
    first, last = (points.min(), points.max()) if sign > 0 else (points.max(), points.min())
    step = spacing(np.sort(points))
    if np.isfinite(points).all() and step > 0:
        # Steps that were written as float32 add up to something else than their number times the smallest.
        steps = max(round(abs(last - first) / step), 1)
        step = abs(last - first) / steps if last != first else step
        position = (points - first) * sign / step
        if steps < _MOST_PIXELS and np.abs(position - np.rint(position)).max() <= _MOST_DEVIATION:
            return _Axis(float(first), sign * step, np.rint(position).astype(np.int64))
    raise SoilcastError(
        f"{out}: the {name} of the grid are not evenly spaced, as a GeoTIFF requires: use --out "
        f"{out.with_suffix('.csv')}"
    )


def _image(
    values: npt.NDArray[np.float32], pixels: npt.NDArray[np.int64], shape: tuple[int, int], *, is_whole: bool
) -> npt.NDArray[np.float32] | npt.NDArray[np.int8]:
    """Spread the values of cells ``(cell,)`` over the pixels ``(row, column)``."""
    image = np.full(shape[0] * shape[1], np.nan, dtype=np.float32)
    image[pixels] = values
    if is_whole:
        return np.where(np.isnan(image), MISSING, image).astype(np.int8).reshape(shape)
    return image.reshape(shape)


def _description(field: Field, band: Band) -> str:
    name = field.name if band.lead is None else f"{field.name}, lead {band.lead} d"
    return name if band.day is None else f"{name}, {band.day}"


def _tags(field: Field) -> dict[str, str]:
    """Tags of the whole file."""
    tags = {"TIFFTAG_SOFTWARE": GENERATOR, **field.about()}
    if len(field.bands) == 1:
        tags |= _times(field, field.bands[0])
    for name in ("flag_values", "flag_meanings", "reference_period", "dry", "comment"):
        if name in field.attributes:
            value = field.attributes[name]
            tags[name] = value if isinstance(value, str) else " ".join(map(str, np.ravel(value)))
    return {name: value for name, value in tags.items() if value}


def _band_tags(field: Field, band: Band) -> dict[str, str]:
    return {"long_name": field.long_name, "units": field.units, **_times(field, band)}


def _times(field: Field, band: Band) -> dict[str, str]:
    """Lead and day of a band; the day of a forecast is the one that it is valid on."""
    times = {} if band.lead is None else {"lead_days": str(band.lead)}
    return times if band.day is None else times | {"date" if field.kind == "cube" else "valid_date": str(band.day)}
