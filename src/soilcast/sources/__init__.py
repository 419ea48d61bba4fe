"""The sources: where a cube can come from. To add one, add a file and a line in `SOURCES` (docs/own-source.md)."""

from __future__ import annotations

import inspect as introspection
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from soilcast.cube import open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.files import refuse_existing
from soilcast.schema import nearest
from soilcast.sources.caravan import caravan
from soilcast.sources.delaware import delaware
from soilcast.sources.landbench import landbench
from soilcast.sources.planet import planet
from soilcast.sources.table import table

__all__ = ["SOURCES", "prepare"]

SOURCES: dict[str, Callable[..., xr.Dataset]] = {
    "planet": planet,
    "delaware": delaware,
    "landbench": landbench,
    "caravan": caravan,
    "table": table,
}
"""Every source by the name that ``prepare`` takes: called with the paths and the options of its signature."""


def prepare(
    source: str,
    paths: Sequence[str | Path] = (),
    *,
    out: str | Path,
    overwrite: bool = False,
    **options: Any,
) -> xr.Dataset:
    """Turn source files into a cube.

    Parameters
    ----------
    source
        Name in `SOURCES`.
    paths
        Files or folders that the source reads; none for the built-in ones.
    out
        Cube to write: a Zarr folder, or NetCDF if the name ends in ``.nc``.
    overwrite
        Replace ``out`` if it exists.
    options
        Options of that source, such as ``resolution=8``.

    Returns
    -------
    The cube that was written, opened.

    Raises
    ------
    SoilcastError
        An unknown source or option, or a fault of the source files; nothing is written.
    """
    if source not in SOURCES:
        raise SoilcastError(f"there is no source {source}: {nearest(source, SOURCES)}")
    known = {name: one for name, one in introspection.signature(SOURCES[source]).parameters.items() if name != "paths"}
    takes = ", ".join(map(_as_typed, known)) or "no options"
    for name in options:
        if name not in known:
            raise SoilcastError(f"source {source} has no option {_as_typed(name)}; it takes {takes}")
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in options:
            raise SoilcastError(f"source {source} needs --{name}; it takes {takes}")
    out = Path(out)
    refuse_existing(out, overwrite=overwrite)
    cube = SOURCES[source]([Path(path) for path in paths], **options)
    save_cube(cube, out, overwrite=overwrite, source=source, paths=[str(path) for path in paths], options=options)
    return open_cube(out)


def _as_typed(option: str) -> str:
    """Name of an option on the command line, where a unit is given one at a time."""
    return "--unit" if option == "units" else f"--{option}"
