"""Opening Zarr stores of others: without code inside, and with no chunk lost on the way."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr

from soilcast.cube.identity import check_store, refuse_foreign_codecs
from soilcast.errors import SoilcastError, raise_system_fault


def open_zarr(path: Path) -> xr.Dataset:
    """Open a local Zarr store of version 2 or 3 lazily.

    Raises
    ------
    SoilcastError
        Its metadata is damaged, chunks are missing, it reaches out of the folder, or asks for a codec that is not known
        to compute numbers alone.
    """
    check_store(path)
    try:
        # Consolidated metadata is a copy that may say something else than the arrays themselves.
        data: xr.Dataset = xr.open_zarr(path, consolidated=False, chunks=None)
        group = zarr.open_group(path, mode="r", use_consolidated=False)
        for name, array in group.arrays():
            if array.ndim and array.size:
                _check_chunks(path, name, array, _decoded_time_axis(data, name))
    except SoilcastError:
        raise
    except Exception as error:  # whatever the libraries raise on the bytes of others
        raise_system_fault(error)
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise SoilcastError(
            f"{path}: cannot be read as Zarr ({reason}): it is damaged; download or write it again"
        ) from error
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
            for _, array in zarr.open_group(address, mode="r").arrays():
                refuse_foreign_codecs(json.loads(json.dumps(array.metadata.to_dict(), default=str)), address)
            opened: xr.Dataset = xr.open_zarr(address, chunks=None)
            return opened
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
    dims = data[name].dims
    times = [dim for dim in dims if dim in data.variables and data[dim].dtype.kind in "MO"]
    return dims.index(times[0]) if times else None
