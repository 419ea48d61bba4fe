"""Opening NetCDF of either kind, lazily, with damage told in one line: from a file or from a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import xarray as xr

from soilcast.errors import SoilcastError, raise_system_fault
from soilcast.sources.formats import AGAIN, NETCDF, format_of, refuse_format
from soilcast.sources.hdf5 import examine_hdf5

_HDF5 = b"\x89HDF"
_NAMED = 12
"""Variables that a note names."""


def open_netcdf(path: Path, **options: Any) -> xr.Dataset:
    """Open a NetCDF file lazily: NetCDF-4 and other HDF5 by h5netcdf, NetCDF-3 by scipy.

    Variables in groups are named ``GROUP/VARIABLE``; a dimension of a group keeps its name unless another group has
    one of that name and of another length, and is then named ``GROUP/DIMENSION``. Values that are read later can still
    meet damage: read them inside `naming_damage`.

    Parameters
    ----------
    path
        The file.
    options
        Further options of `xarray.open_dataset`.

    Raises
    ------
    SoilcastError
        The file is missing, no regular file, may not be read, is no NetCDF, is truncated or corrupt, refers to other
        files, needs a filter that is not installed, or its times cannot be decoded.
    """
    path = Path(path)
    refuse_format(path, format_of(path), (NETCDF,))
    with path.open("rb") as stream:
        is_hdf5 = not stream.read(4).startswith(b"CDF")
    return _open(path, str(path), is_hdf5, options)


def open_netcdf_stream(stream: BinaryIO, where: str) -> xr.Dataset:
    """Open NetCDF out of a stream that can be sought; raises what `open_netcdf` raises."""
    is_hdf5 = stream.read(4) == _HDF5
    stream.seek(0)
    return _open(stream, where, is_hdf5, {})


@contextmanager
def naming_damage(where: str | Path, name: str = "NetCDF") -> Iterator[None]:
    """Turn what the libraries of a format raise while values are read into a `SoilcastError` that names the file."""
    try:
        yield
    except (OSError, ValueError, TypeError, RuntimeError, EOFError, KeyError) as error:
        raise _damaged(where, error, name) from error


def unit_of(attributes: Mapping[str, Any]) -> str | None:
    """Unit that a variable's attributes name (``units``, or ``unit`` as some write it); None where they are silent."""
    written = attributes.get("units", attributes.get("unit"))
    return str(written).strip() or None if written is not None else None


def valid_limits(variable: xr.Variable) -> tuple[float, float] | None:
    """Lowest and highest valid value by ``valid_range``, ``valid_min`` and ``valid_max`` (CF 2.5.1); None without them.

    They count in packed values, as CF has it, unless they are of floating point and the packed values whole numbers.
    """
    given = {name: variable.attrs[name] for name in ("valid_range", "valid_min", "valid_max") if name in variable.attrs}
    if not given:
        return None
    limits = given.get("valid_range", (given.get("valid_min", -np.inf), given.get("valid_max", np.inf)))
    packed = np.dtype(variable.encoding.get("dtype", variable.dtype))
    is_packed = packed.kind not in "iu" or all(np.asarray(limit).dtype.kind != "f" for limit in given.values())
    try:
        low, high = (float(limit) for limit in np.ravel(limits))
        if is_packed:
            scale = float(variable.encoding.get("scale_factor", 1.0))
            offset = float(variable.encoding.get("add_offset", 0.0))
            low, high = sorted((low * scale + offset, high * scale + offset))
    except (TypeError, ValueError):  # a text, or not two numbers
        return None
    # Values at a limit may lie beyond it by what single precision rounds.
    beyond = 1e-6 * max((abs(limit) for limit in (low, high) if np.isfinite(limit)), default=0.0)
    return low - beyond, high + beyond


def data_variables(opened: xr.Dataset) -> list[str]:
    """Names of the variables that hold data: not of coordinates, their bounds, grid mappings and single numbers."""
    described = [{**one.attrs, **one.encoding} for one in opened.variables.values()]
    auxiliary = {
        name for one in described for key in ("bounds", "grid_mapping") for name in str(one.get(key, "")).split()
    }
    return [
        str(name)
        for name, one in opened.data_vars.items()
        if one.dims and name not in opened.dims and name not in auxiliary and one.dtype.kind in "fiu"
    ]


def unread_notes(names: Iterable[str]) -> list[str]:
    """Say in one line what files hold and is not read; nothing where there is none."""
    listed = sorted(set(names))
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return [f"not read: {', '.join(listed[:_NAMED])}{more}"] if listed else []


def is_address(path: str | Path) -> bool:
    """Whether a path is the address of a store, such as ``https://...`` or ``gs://...``, and no path."""
    return "://" in str(path)


def _open(content: Path | BinaryIO, where: str, is_hdf5: bool, options: Mapping[str, Any]) -> xr.Dataset:
    try:
        if not is_hdf5:
            return xr.open_dataset(content, engine="scipy", create_default_indexes=False, **options)
        in_groups = examine_hdf5(content, where)
        options = {"engine": "h5netcdf", "phony_dims": "sort", "create_default_indexes": False, **options}
        if in_groups:
            return join_groups(xr.open_groups(content, **options))
        return xr.open_dataset(content, **options)
    except SoilcastError:
        raise
    except Exception as error:  # whatever the libraries raise on the bytes of others
        raise _damaged(where, error) from error


def join_groups(groups: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """All groups of a file or store as one dataset, with names such as ``GROUP/VARIABLE``; closing it closes them."""
    joined: dict[str, xr.Variable] = {}
    sizes: dict[str, int] = {}
    for path, group in groups.items():
        prefix = f"{path.strip('/')}/" if path.strip("/") else ""
        names = {
            str(dim): str(dim) if sizes.get(str(dim), size) == size else f"{prefix}{dim}"
            for dim, size in group.sizes.items()
        }
        sizes |= {names[str(dim)]: size for dim, size in group.sizes.items()}
        for name, variable in group.variables.items():
            dims = tuple(names[str(dim)] for dim in variable.dims)
            renamed = variable.copy(deep=False)
            renamed.dims = dims
            joined[f"{prefix}{name}"] = renamed
    root = groups.get("/")
    dataset = xr.Dataset(coords=xr.Coordinates(joined, indexes={}), attrs=root.attrs if root is not None else {})
    timeless = [name for name in joined if name not in sizes]
    dataset = dataset.reset_coords(timeless)

    def close() -> None:
        for group in groups.values():
            group.close()

    dataset.set_close(close)
    return dataset


def _damaged(where: str | Path, error: Exception, name: str = "NetCDF") -> SoilcastError:
    raise_system_fault(error)
    reason = str(error).partition("\n")[0] or type(error).__name__
    return SoilcastError(f"{where}: cannot be read as {name} ({reason}): {AGAIN}")
