"""Opening Zarr stores of others: without code inside, with no chunk lost on the way, and with zeros as zeros."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr

from soilcast.cube import VARIABLES, conversion
from soilcast.cube.identity import check_store, refuse_foreign_codecs
from soilcast.errors import SoilcastError, raise_system_fault
from soilcast.sources.formats import AGAIN
from soilcast.sources.netcdf import join_groups, unit_of

_WINDS = ("u10", "v10")
"""Their unit is that of rain too, in which any number would be a wind."""


def open_zarr(path: Path) -> xr.Dataset:
    """Open a local Zarr store of version 2 or 3 lazily; variables in groups are named ``GROUP/VARIABLE``.

    Raises
    ------
    SoilcastError
        Its metadata is damaged, chunks are missing, it reaches out of the folder, or asks for a codec that is not known
        to compute numbers alone.
    """
    check_store(path)
    try:
        # Consolidated metadata is a copy that may say something else than the arrays themselves.
        group = zarr.open_group(path, mode="r", use_consolidated=False)
        arrays = {name: one for name, one in group.members(max_depth=None) if isinstance(one, zarr.Array)}
        data = _decoded(path, arrays)
        for name, array in arrays.items():
            if array.ndim and array.size:
                _check_chunks(path, name, array, _decoded_time_axis(data, name))
    except SoilcastError:
        raise
    except Exception as error:  # whatever the libraries raise on the bytes of others
        raise_system_fault(error)
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise SoilcastError(f"{path}: cannot be read as Zarr ({reason}): {AGAIN}") from error
    return data


def open_remote_zarr(address: str) -> xr.Dataset:
    """Open a Zarr store at an address that fsspec knows, such as ``https://`` or ``gs://``, lazily.

    Whether chunks are missing cannot be told there.

    Raises
    ------
    SoilcastError
        There is none, its metadata is damaged, it asks for a codec that is not known to compute numbers
        alone, or a package for such addresses is missing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            arrays = dict(zarr.open_group(address, mode="r").arrays())
            for array in arrays.values():
                refuse_foreign_codecs(json.loads(json.dumps(array.metadata.to_dict(), default=str)), address)
            return _with_fills(xr.open_zarr(address, chunks=None, decode_cf=False), arrays)
    except SoilcastError:
        raise
    except ImportError as error:
        raise SoilcastError(
            f"{address}: remote stores need an extra (pip install 'soilcast[era5]') or a package for their protocol: "
            f"{error}"
        ) from error
    except Exception as error:  # whatever the libraries raise on the answers of others
        raise_system_fault(error)
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise SoilcastError(f"{address}: cannot be read as Zarr ({reason}): check the address") from error


def _decoded(path: Path, arrays: dict[str, zarr.Array[Any]]) -> xr.Dataset:
    options: dict[str, Any] = {"consolidated": False, "chunks": None, "decode_cf": False}
    if not any("/" in name for name in arrays):
        return _with_fills(xr.open_zarr(path, **options), arrays)
    groups = xr.open_groups(path, engine="zarr", **options)
    return join_groups({inside: _with_fills(group, arrays, f"{inside}/") for inside, group in groups.items()})


def _with_fills(stored: xr.Dataset, arrays: dict[str, zarr.Array[Any]], prefix: str = "") -> xr.Dataset:
    """Decode a store, of which xarray takes every fill value of version 2 for a missing value.

    The fill value of an array is that of the chunks that are not written. xarray and GDAL note there what stands for a
    missing value, and Zarr itself puts zero.
    """
    for name, variable in stored.variables.items():
        array = arrays.get(f"{prefix}{name}".lstrip("/"))
        if array is None or array.metadata.zarr_format != 2 or "_FillValue" not in variable.attrs:
            continue
        if "_FillValue" in array.attrs:
            variable.attrs["_FillValue"] = array.attrs["_FillValue"]
        elif "missing_value" in array.attrs or _is_value(array.fill_value, dict(variable.attrs)):
            del variable.attrs["_FillValue"]
    decoded: xr.Dataset = xr.decode_cf(stored)
    decoded.set_close(stored.close)
    return decoded


def _is_value(fill: Any, attributes: dict[str, Any]) -> bool:
    """Whether a fill value that no attribute names can be a value of the variable: zero, or one of its unit's range.

    Packed values have been written by CF's rules, and so with their missing value, which unpacked may lie in the range.
    """
    number = np.asarray(fill)
    if number.dtype.kind not in "fiu" or np.isnan(number):
        return False
    if "scale_factor" in attributes or "add_offset" in attributes:
        return bool(number == 0 and not attributes.get("add_offset", 0))
    if number == 0:
        return True
    unit = unit_of(attributes)
    for name, row in VARIABLES.items():
        if name in _WINDS:
            continue
        try:
            converted = float(conversion(name, unit, name)(np.float64(number)))
        except SoilcastError:
            continue
        if row.valid_min <= converted <= row.valid_max:
            return True
    return False


def _check_chunks(path: Path, name: str, array: zarr.Array[Any], time_axis: int | None) -> None:
    """Zarr reads a chunk that is not there as the fill value, whether it was empty or got lost.

    Let pass is what is plainly empty on purpose: places without any value (sea) on all days.
    """
    present = _chunks_present(path / name, array)
    fill = array.fill_value
    sparse = isinstance(fill, float | np.floating) and bool(np.isnan(fill))
    if sparse and time_axis is not None:
        complete = present.any() and (present.any(axis=time_axis) == present.all(axis=time_axis)).all()
    else:
        complete = present.any() if sparse else present.all()
    if not complete:
        raise SoilcastError(
            f"{path}: {name} lacks {int((~present).sum())} of {present.size} chunks: the store is truncated; download "
            "or write it again (with empty chunks written out)"
        )


def _chunks_present(folder: Path, array: zarr.Array[Any]) -> npt.NDArray[np.bool_]:
    sides = array.shards or array.chunks
    counts = tuple(-(-size // side) for size, side in zip(array.shape, sides, strict=True))
    present = np.zeros(counts, dtype=np.bool_)
    for position in np.ndindex(*counts):
        present[position] = (folder / array.metadata.encode_chunk_key(position)).exists()
    return present


def _decoded_time_axis(data: xr.Dataset, name: str) -> int | None:
    dims = data.variables[name].dims
    times = {one.dims[0] for one in data.variables.values() if one.ndim == 1 and one.dtype.kind in "MO"}
    return next((axis for axis, dim in enumerate(dims) if dim in times), None)
