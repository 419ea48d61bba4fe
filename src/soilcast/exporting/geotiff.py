"""Write a field as a cloud-optimised GeoTIFF of its cells' grid, north up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from soilcast.cube import grid_of
from soilcast.cube.raster import Raster, raster_of
from soilcast.errors import SoilcastError
from soilcast.exporting.field import Band, Field
from soilcast.ownership import GENERATOR
from soilcast.products.indices import MISSING

_TILE = 256

_IMAGERY = "IMAGERY"
"""GDAL's domain of metadata for when an image is of."""


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
    cells = raster_of(grid, str(out), "a GeoTIFF", f"use --out {out.with_suffix('.csv')}")
    rows, columns = cells.rows, cells.columns
    profile = {
        "driver": "COG",
        "height": rows.size,
        "width": columns.size,
        "count": len(field.bands),
        "dtype": "int8" if field.is_whole else "float32",
        "nodata": MISSING if field.is_whole else np.nan,
        "crs": rasterio.CRS.from_epsg(4326),
        "transform": Affine(columns.step, 0.0, columns.edge, 0.0, rows.step, rows.edge),
        "compress": "deflate",
        "blocksize": _TILE,
        "overview_resampling": "nearest",  # a mean of classes is none
    }
    # In memory, since GDAL hides the error of a full disk; and GDAL puts no files of its own beside it.
    with MemoryFile() as memory:
        with memory.open(**profile) as raster:
            raster.update_tags(**_tags(field))
            for number, (band, values) in enumerate(zip(field.bands, field.values, strict=True), start=1):
                raster.write(_image(cells, values, is_whole=field.is_whole), number)
                raster.set_band_description(number, _description(field, band))
                raster.update_tags(number, **_band_tags(field, band))
                if band.day is not None:
                    raster.update_tags(number, ns=_IMAGERY, ACQUISITIONDATETIME=f"{band.day}T00:00:00Z")
            raster.units = [field.units] * len(field.bands)
        partial.write_bytes(memory.getbuffer())


def _image(
    cells: Raster, values: npt.NDArray[np.float32], *, is_whole: bool
) -> npt.NDArray[np.float32] | npt.NDArray[np.int8]:
    """Spread values of cells ``(cell,)`` over the pixels ``(row, column)``, in the type in which they are written."""
    image = cells.image(values)
    return np.where(np.isnan(image), MISSING, image).astype(np.int8) if is_whole else image


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
