"""Opening maps of others, NetCDF or GeoTIFF, as one field on latitudes and longitudes, read a window at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.sources.gridded import axes_of, dims_of
from soilcast.sources.netcdf import naming_damage, open_netcdf, unit_of

Read = Callable[[slice, slice], npt.NDArray[np.floating]]

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# A map of the whole Earth of pixels of 2 m has so many columns.
_LONGEST_AXIS = 1 << 24
_LARGEST_BLOCK = 1 << 28
_GDAL_CACHE = 64 << 20  # bytes
# A map in another projection is read at the points of a geographic grid of which so many lie along the side of a cell:
# what the edges of the cell cut wrong is then a small share of it.
_PIXELS_ALONG_A_CELL = 16


@dataclass(frozen=True)
class Raster:
    """One field of one open file.

    Parameters
    ----------
    label
        File, and variable where one was named, for messages.
    lat, lon
        Latitudes ``(lat,)`` and longitudes ``(lon,)`` in the file's order [degrees].
    unit
        As the file writes it; None where it is silent.
    block
        Rows and columns that the file holds together, so that a window costs as much as all that it touches.
    read
        From rows and columns to their values ``(lat, lon)``, NaN where missing, scale and offset applied.
    """

    label: str
    lat: npt.NDArray[np.float64]
    lon: npt.NDArray[np.float64]
    unit: str | None
    block: tuple[int, int]
    read: Read


@contextmanager
def open_raster(named: str | Path, side: float) -> Iterator[Raster]:
    """Open one map.

    Parameters
    ----------
    named
        ``FILE``, or ``FILE::VARIABLE`` where a file holds more than one; of a GeoTIFF a variable is a band, by its
        number or its description.
    side
        Side of the cells that it is for [degrees]; a map in another projection is read that much finer.

    Raises
    ------
    SoilcastError
        The file is missing, damaged, of another kind, or too large to be a map; the variable is not there, or there are
        several and none is named; it lies on no latitudes and longitudes; the extra for GeoTIFF is not installed.
    """
    path, variable = _split(str(named))
    opening = _geotiff if path.is_file() and _magic(path) in _TIFF else _netcdf
    with opening(path, variable, side) as raster:
        if raster.block[0] * raster.block[1] > _LARGEST_BLOCK:
            raise SoilcastError(
                f"{raster.label}: is stored in blocks of {raster.block[0]} x {raster.block[1]}, which is too large: "
                "store it in smaller blocks (gdal_translate -co TILED=YES, nccopy -c)"
            )
        yield raster


def _split(named: str) -> tuple[Path, str | None]:
    path, mark, variable = named.rpartition("::")
    return (Path(path), variable) if mark and variable else (Path(named), None)


def _magic(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(4)
    except OSError:
        return b""  # open_netcdf says why


@contextmanager
def _netcdf(path: Path, variable: str | None, side: float) -> Iterator[Raster]:
    with open_netcdf(path, decode_times=False) as opened:
        name = _variable(opened, variable, path)
        label = f"{path}::{name}" if variable else str(path)
        dims = dims_of(opened[name], label, timed=False)
        for dim in dims:
            _refuse_longer(opened.sizes[dim], label)
        field = opened[name].squeeze([dim for dim in opened[name].dims if dim not in dims]).transpose(*dims)
        lat, lon = axes_of(opened, dims, label)
        chunks = dict(zip(opened[name].dims, opened[name].encoding.get("chunksizes") or (), strict=False))

        def read(rows: slice, columns: slice) -> npt.NDArray[np.floating]:
            with naming_damage(path):
                values = field[rows, columns].to_numpy()
            return values if values.dtype.kind == "f" else values.astype(np.float64)

        block = (int(chunks.get(dims[0], 1)), int(chunks.get(dims[1], len(lon))))
        yield Raster(label, lat, lon, unit_of(opened[name].attrs), block, read)


def _variable(opened: xr.Dataset, variable: str | None, path: Path) -> str:
    """Name of the variable that is asked for, or of the only field of the file."""
    if variable is not None:
        if variable not in opened.data_vars or opened[variable].dtype.kind not in "fiu":
            there = _listed(name for name in opened.data_vars if opened[name].dtype.kind in "fiu")
            raise SoilcastError(f"{path}: no numeric variable {variable}; it has: {there}: name one of them")
        return variable
    fields = [str(name) for name in opened.data_vars if _is_field(opened[name])]
    if not fields:
        raise SoilcastError(
            f"{path}: no variable has the dimensions latitude and longitude only; it has: "
            f"{_listed(opened.data_vars)}: give a file with such a variable"
        )
    if len(fields) > 1:
        raise SoilcastError(f"{path}: has more than one variable: {_listed(fields)}: name one of them ({path}::NAME)")
    return fields[0]


def _is_field(variable: xr.DataArray) -> bool:
    try:
        dims_of(variable, "", timed=False)
    except SoilcastError:
        return False
    return variable.dtype.kind in "fiu"


@contextmanager
def _geotiff(path: Path, variable: str | None, side: float) -> Iterator[Raster]:
    try:
        import rasterio  # type: ignore[import-untyped, unused-ignore]
        from rasterio.windows import Window  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise SoilcastError(f"{path}: GeoTIFF needs an extra: install it with pip install 'soilcast[era5]'") from error
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=_GDAL_CACHE))
        with _naming_geotiff(path), warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            # No other driver: some of them follow what a file says to other files, or to the network.
            opened = stack.enter_context(rasterio.open(path.absolute(), driver="GTiff"))
        band = _band(opened, variable, path)
        label = f"{path}::{variable}" if variable else str(path)
        scale, offset, unit = opened.scales[band - 1], opened.offsets[band - 1], opened.units[band - 1]
        with _naming_geotiff(path):
            source, alpha = _geographic(opened, band, side, label, stack)
        _refuse_longer(max(source.width, source.height), label)
        across, down = source.transform.a, source.transform.e
        lat = source.transform.f + down * (np.arange(source.height) + 0.5)
        lon = source.transform.c + across * (np.arange(source.width) + 0.5)

        def read(rows: slice, columns: slice) -> npt.NDArray[np.floating]:
            window = Window.from_slices(rows, columns, height=source.height, width=source.width)
            with _naming_geotiff(path):
                masked = source.read(band, window=window, masked=True)
                missing = source.read(alpha, window=window) == 0 if alpha else np.ma.getmaskarray(masked)
            values = masked.data.astype(np.result_type(masked.dtype, np.float32))
            values[missing] = np.nan
            return np.asarray(values if (scale, offset) == (1.0, 0.0) else values * scale + offset)

        height, width = source.block_shapes[band - 1]
        yield Raster(label, lat, lon, (unit or "").strip() or None, (height, width), read)


def _band(opened: Any, variable: str | None, path: Path) -> int:
    """Number of the band that is asked for by number or description, or of the only one."""
    from rasterio.enums import ColorInterp  # type: ignore[import-untyped, unused-ignore]

    kinds = zip(opened.indexes, opened.descriptions, opened.colorinterp, strict=True)
    bands: dict[int, str] = {
        number: description or "" for number, description, kind in kinds if kind != ColorInterp.alpha
    }
    listed = _listed(f"{number} ({named})" if named else str(number) for number, named in bands.items())
    if variable is None:
        if len(bands) != 1:
            raise SoilcastError(f"{path}: has more than one band: {listed}: name one of them ({path}::NUMBER)")
        return next(iter(bands))
    found = [number for number, named in bands.items() if variable in (str(number), named)]
    if len(found) != 1:
        raise SoilcastError(f"{path}: no band {variable}; it has: {listed}: name one of them")
    return found[0]


def _geographic(opened: Any, band: int, side: float, label: str, stack: ExitStack) -> tuple[Any, int | None]:
    """The file, or a view of it on latitudes and longitudes; and the band of that which says where there are values."""
    from rasterio.enums import MaskFlags, Resampling
    from rasterio.transform import from_bounds  # type: ignore[import-untyped, unused-ignore]
    from rasterio.vrt import WarpedVRT  # type: ignore[import-untyped, unused-ignore]
    from rasterio.warp import calculate_default_transform  # type: ignore[import-untyped, unused-ignore]

    if opened.crs is None:
        raise SoilcastError(f"{label}: no coordinate reference system (CRS): add it (gdal_edit -a_srs EPSG:4326)")
    upright = opened.transform.b == opened.transform.d == 0.0
    if opened.crs.is_geographic and opened.crs.units_factor[0] == "degree" and upright:
        return opened, None
    placed = (opened.crs, "EPSG:4326", opened.width, opened.height, *opened.bounds)
    transform, width, height = calculate_default_transform(*placed)
    west, east = max(transform.c, -180.0), min(transform.c + width * transform.a, 180.0)
    south, north = max(transform.f + height * transform.e, -90.0), min(transform.f, 90.0)
    pixel = min(transform.a, side / _PIXELS_ALONG_A_CELL)
    width, height = int(np.ceil((east - west) / pixel)), int(np.ceil((north - south) / pixel))
    # Outside of what the file covers the view has zeros, unless a value or a band says that nothing is there.
    has_alpha = MaskFlags.alpha in opened.mask_flag_enums[band - 1]
    view = stack.enter_context(
        WarpedVRT(
            opened,
            crs="EPSG:4326",
            transform=from_bounds(west, south, east, north, width, height),
            width=width,
            height=height,
            resampling=Resampling.nearest,
            add_alpha=opened.nodata is None and not has_alpha,
        )
    )
    return view, view.count if opened.nodata is None else None


@contextmanager
def _naming_geotiff(path: Path) -> Iterator[None]:
    try:
        yield
    except SoilcastError:
        raise
    except Exception as error:  # whatever the libraries raise on the bytes of others
        cause = error.__cause__ or error  # what GDAL says itself
        reason = str(cause).partition("\n")[0] or type(cause).__name__
        raise SoilcastError(
            f"{path}: cannot be read as GeoTIFF ({reason}): it is damaged, truncated or of another format; download "
            "or write it again"
        ) from error


def _refuse_longer(length: int, label: str) -> None:
    if length > _LONGEST_AXIS:
        raise SoilcastError(
            f"{label}: {length} rows or columns are too many for a map of the Earth: give a smaller one"
        )


def _listed(names: Any) -> str:
    return ", ".join(map(str, names)) or "none"
