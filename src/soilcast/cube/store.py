"""How cubes and forecasts lie on the disk, and how they are opened: Zarr v3 or NetCDF, checksummed, complete."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from soilcast.cube.cf import keep_to_cf, write_netcdf
from soilcast.cube.contract import VARIABLES
from soilcast.cube.identity import (
    MANIFEST,
    VERSION,
    ContentHash,
    check_store,
    refuse_replaced,
    refuse_special,
    refuse_unlike_manifest,
    seal_store,
    version_of,
)
from soilcast.cube.kinds import refuse_attributes, refuse_missing, refuse_other_contract, unreadable
from soilcast.errors import SoilcastError, printable, raise_system_fault
from soilcast.files import atomic_replace, atomic_write
from soilcast.provenance import history_of

CELL_CHUNK = 4096
DAY_CHUNK = 366

_TEXTS = ("title", "content", "source", "content_sha256", "provenance", "history", "notes", "absent")
"""Attributes that are texts where they are there."""

_PROMISED = ("title", "content", "source", "content_sha256")


def open_cube(path: str | Path) -> xr.Dataset:
    """Open a cube as a lazy xarray view.

    Parameters
    ----------
    path
        A Zarr folder or NetCDF file that `save_cube` wrote.

    Returns
    -------
    Dynamic variables ``(cell, time)``, static ones ``(cell,)``, with the coordinates ``cell``, ``lat`` and ``lon``
    (of each cell) and ``time``; for a grid also its axes ``grid_lat`` and ``grid_lon``, for others ``cell_name``.

    Raises
    ------
    SoilcastError
        There is nothing, it is not a cube, it is of another contract, or parts of it are missing.
    """
    cube = open_artifact(Path(path), "cube")
    refuse_other_cube(cube, path)
    return cube


def open_forecast(path: str | Path) -> xr.Dataset:
    """Open a forecast that `soilcast.forecast` wrote.

    Returns
    -------
    Each layer ``(cell, time, lead)`` [m3 m-3] by issue day and lead time, and what else it holds; read when it is used.

    Raises
    ------
    SoilcastError
        There is nothing, it cannot be read, it is something else or of another format, or chunks of it are missing.
    """
    return open_artifact(Path(path), "forecast")


def open_artifact(path: Path, kind: str, *others: str) -> xr.Dataset:
    """Open a Zarr folder or NetCDF file that soilcast wrote and that says it is of this ``kind``, or of one of others.

    Raises
    ------
    SoilcastError
        There is nothing, it cannot be read, it is something else or of another format, or chunks of it are missing.
    """
    refuse_missing(path, kind)
    try:
        if path.is_dir():
            check_store(path)
            version = version_of(path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of things beside the arrays, and of metadata that are refused below
                opened: xr.Dataset = xr.open_zarr(path, consolidated=False, chunks=None)
        else:
            refuse_special(path)
            version = version_of(path)
            opened = xr.open_dataset(path, engine="h5netcdf")
        try:
            refuse_attributes(opened.attrs, path, kind, *others)
        except SoilcastError:
            opened.close()
            raise
        manifest = opened.attrs.pop(MANIFEST, None)
        _refuse_unlike(path, manifest)
        for name in opened.coords:
            opened.variables[name].load()
        _refuse_other_types(opened, path)
        opened = with_printable_texts(opened)
        keep_to_cf(opened)
        opened.encoding |= {VERSION: (path.absolute(), version), MANIFEST: manifest}
        refuse_replaced(opened)
        return opened
    except SoilcastError:
        raise
    except Exception as error:
        raise_system_fault(error)
        raise unreadable(path, kind, type(error).__name__) from error


def _refuse_unlike(path: Path, manifest: object) -> None:
    """Raise `SoilcastError` unless an artifact is as it was written; a chunk that is missing is named."""
    try:
        refuse_unlike_manifest(path, manifest)
    except SoilcastError:
        if path.is_dir():
            _check_complete(path)
        raise


def _refuse_other_types(opened: xr.Dataset, path: Path) -> None:
    """Raise `SoilcastError` if an attribute that is a text is none."""
    for name in _TEXTS:
        if not isinstance(opened.attrs.get(name, ""), str):
            raise SoilcastError(
                f"{path}: its attribute {name} is {opened.attrs[name]!r}, not a text: damaged; create it again"
            )


def with_printable_texts(dataset: xr.Dataset) -> xr.Dataset:
    """Give a dataset whose attributes and names of cells are harmless to print and to store (`printable`)."""
    dataset = dataset.assign_attrs(_printable(dataset.attrs))
    names: dict[Any, xr.Variable] = {}
    for name, variable in dataset.variables.items():
        variable.attrs = _printable(variable.attrs)
        if variable.dtype.kind in "OUT" and variable.ndim == 1:
            texts = variable.to_numpy()
            harmless = [printable(str(text)) for text in texts]
            if harmless != [*texts]:
                names[name] = variable.copy(data=np.array(harmless))
    for name, variable in names.items():  # after all others: this gives the dataset variables of its own
        dataset[name] = variable
    return dataset


def _printable(attributes: Mapping[Any, Any]) -> dict[Any, Any]:
    return {name: printable(text) if isinstance(text, str) else text for name, text in attributes.items()}


def refuse_other_cube(cube: xr.Dataset, path: str | Path) -> None:
    """Raise `SoilcastError` for a cube of another contract, or without what every step relies on.

    That is the attributes that artifacts carry on, cells with a place, days, the dimensions.
    """
    refuse_other_contract(cube.attrs, path)
    lacking = [name for name in _PROMISED if not isinstance(cube.attrs.get(name), str)]
    dims: dict[str, tuple[str, ...]] = {"lat": ("cell",), "lon": ("cell",), "area": ("cell",), "time": ("time",)}
    dims |= {name: row.dims for name, row in VARIABLES.items() if name in cube}
    lacking += [name for name, expected in dims.items() if name not in cube or cube[name].dims != expected]
    if "time" in cube and cube["time"].dtype.kind != "M":
        lacking.append("time (as dates)")
    if lacking or not cube.sizes["cell"] or not cube.sizes["time"]:
        raise SoilcastError(
            f"{path}: {', '.join(lacking) or 'every cell or day'} is missing or not as in a cube: damaged, or not "
            "written by soilcast; prepare the cube again"
        )


def read(opened: xr.Dataset, name: str, cells: slice | npt.NDArray[Any] = slice(None)) -> npt.NDArray[np.float32]:
    """Load one variable of an opened cube or forecast, whole or for some cells.

    Raises
    ------
    SoilcastError
        The stored bytes are damaged, or another version of the artifact stands there by now.
    """
    try:
        values: npt.NDArray[np.float32] = opened[name].isel(cell=cells).to_numpy()
        refuse_replaced(opened)
    except (OSError, ValueError, RuntimeError) as error:
        refuse_replaced(opened)
        raise_system_fault(error)
        path = opened.encoding.get("source", "the store")
        raise SoilcastError(
            f"{path}: {name} cannot be read ({error}): the store is damaged; create it again"
        ) from error
    return values


def content_sha256(cube: xr.Dataset) -> str:
    """Compute the hash of an opened cube's content from all its values."""
    dynamic = sorted(str(name) for name in cube.data_vars if "time" in cube[name].dims)
    content = ContentHash(cube.drop_vars(dynamic).load())
    step = 4 * CELL_CHUNK
    for name in dynamic:
        content.begin(name, cube[name].dims, np.dtype(np.float32), cube[name].attrs)
        for first in range(0, cube.sizes["time"], DAY_CHUNK):
            block = cube.isel(time=slice(first, first + DAY_CHUNK))
            for start in range(0, cube.sizes["cell"], step):
                content.add(read(block, name, slice(start, start + step)))
    return content.hexdigest()


def write_dataset(dataset: xr.Dataset, path: Path, *, netcdf: bool) -> None:
    """Write a dataset that is in memory as NetCDF-4 or as Zarr v3."""
    if netcdf:
        # Higher levels make noise such as scores hardly smaller, and take a third longer.
        numbers = [str(name) for name, one in dataset.data_vars.items() if one.dtype.kind in "fiub"]
        compression = {name: {"zlib": True, "complevel": 1, "fletcher32": True} for name in numbers}
        write_netcdf(dataset, path, compression)
        return
    encoding = {str(name): zarr_encoding(variable) for name, variable in dataset.variables.items() if variable.dims}
    with zarr_settings():
        dataset.to_zarr(path, zarr_format=3, consolidated=False, encoding=encoding, mode="w")
    complete_metadata(path)


def complete_metadata(store: Path) -> None:
    """Have a finished Zarr store say its history, the metadata of all its arrays in one place, and its manifest.

    Consolidated metadata are what other software looks for first; a store that grew has them written anew.
    """
    for half in store.rglob("*.partial"):  # zarr's own, of a process that was killed while it wrote
        half.unlink()
    with zarr_settings():
        group = zarr.open_group(store, mode="r+", use_consolidated=False)
        group.attrs.update(history_of(group.attrs.get("provenance")))
        zarr.consolidate_metadata(store)
    seal_store(store)


def zarr_encoding(variable: xr.Variable) -> dict[str, Any]:
    """Chunks and codecs of a stored variable; the checksum makes damage an error instead of wrong numbers."""
    limit = {"cell": CELL_CHUNK, "time": DAY_CHUNK}
    axis = {"_FillValue": None} if isinstance(variable, xr.IndexVariable) else {}  # CF: axes have no missing values
    return axis | {
        "chunks": tuple(min(size, limit.get(str(dim), size)) or 1 for dim, size in variable.sizes.items()),
        "compressors": (ZstdCodec(level=3), Crc32cCodec()),
    }


@contextmanager
def zarr_settings() -> Iterator[None]:
    """Write every chunk, also one of missing values alone, so that an absent chunk is always damage."""
    with zarr.config.set({"array.write_empty_chunks": True}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=zarr.errors.UnstableSpecificationWarning)
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        yield


def put_store_in_place(store: Path, out: Path, *, kind: str, overwrite: bool) -> None:
    """Have a finished Zarr store become ``out``, or be copied to it as NetCDF-4 if that ends in ``.nc``.

    Raises
    ------
    SoilcastError
        ``out`` exists, its folder cannot be written, or the disk is full; the store is still there.
    """
    if out.suffix != ".nc":
        complete_metadata(store)
        atomic_replace(store, out, kind=kind, overwrite=overwrite)
        return
    with atomic_write(out, kind=kind, overwrite=overwrite) as partial:
        zarr_to_netcdf(store, partial)


def zarr_to_netcdf(store: Path, out: Path) -> None:
    """Copy a Zarr store that soilcast wrote to NetCDF-4, a chunk at a time."""
    with xr.open_zarr(store, consolidated=False, mask_and_scale=False) as cube:
        for name in cube.variables:
            cube[name].encoding = {}
        encoding = {str(name): {"zlib": True, "complevel": 3, "fletcher32": True} for name in cube.data_vars}
        write_netcdf(cube, out, encoding)


def _check_complete(path: Path) -> None:
    """Zarr reads a missing chunk as fill values; here every chunk is written, so a missing one is damage."""
    for metadata in path.glob("*/zarr.json"):
        described = json.loads(metadata.read_text())
        if described.get("node_type") != "array":
            continue
        shape = described["shape"]
        chunks = described["chunk_grid"]["configuration"]["chunk_shape"]
        counts = [-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True)]
        for position in itertools.product(*map(range, counts)):
            chunk = metadata.parent.joinpath("c", *map(str, position))
            if not chunk.exists():
                raise SoilcastError(
                    f"{path}: {metadata.parent.name} is incomplete (chunk {'/'.join(map(str, position))} is missing): "
                    "the store is truncated; create it again"
                )
