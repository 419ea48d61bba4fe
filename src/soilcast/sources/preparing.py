"""From source files to a cube."""

from __future__ import annotations

import inspect as introspection
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from soilcast.cube import open_cube, save_cube
from soilcast.cube.contract import GENUINE
from soilcast.cube.writing import refuse_unfinished
from soilcast.errors import SoilcastError
from soilcast.files import path_list, refuse_existing
from soilcast.plugins import plugin_record
from soilcast.progress import Log
from soilcast.schema import nearest
from soilcast.sources import SOURCES, refuse_unknown
from soilcast.sources.netcdf import is_address
from soilcast.sources.opening import close_all
from soilcast.sources.stations.mapping import StationMapping
from soilcast.sources.table.mapping import Mapping as TableMapping
from soilcast.sources.table.mapping import read_as, stored_mapping
from soilcast.workplace import workplace_of

MAPPINGS: dict[str, type[TableMapping] | type[StationMapping]] = {"stations": StationMapping, "table": TableMapping}
"""What the option ``mapping`` of a source is a file of."""


def prepare(
    source: str,
    paths: str | Path | Sequence[str | Path] = (),
    *,
    out: str | Path,
    overwrite: bool = False,
    resume: bool = False,
    memory: int | None = None,
    dask: str | None = None,
    progress: bool = False,
    log: Log | None = None,
    genuine: Collection[str] = (),
    **options: Any,
) -> xr.Dataset:
    """Convert source files to a cube.

    Parameters
    ----------
    source
        Name in `soilcast.sources.SOURCES`.
    paths
        Files or folders that the source reads; none for the built-in ones.
    out
        Cube to write: a Zarr folder, or NetCDF if the name ends in ``.nc``.
    overwrite
        Replace ``out`` if it exists, and start over.
    resume
        Resume an interrupted preparation; do nothing if ``out`` is complete.
    memory
        Memory limit [bytes]; fewer days are read at a time.
    dask
        Address of a dask scheduler whose workers, which see the same paths, read the files.
    progress
        Show a progress bar.
    log
        Called with progress messages: days read at a time, peak memory.
    genuine
        Variables of which a value that repeats to the last digit and stands apart from all others is real.
    options
        Options of that source, such as ``resolution=8``.

    Returns
    -------
    The cube that was written, opened.

    Raises
    ------
    SoilcastError
        An unknown source or option, invalid source files, too little memory, a fault of the cluster, an unfinished
        preparation (of another cube, or without ``resume`` or ``overwrite``), a full disk.
    """
    paths = path_list(paths)
    refuse_unknown(source)
    plugins = plugin_record([(SOURCES, source)])
    known = {name: one for name, one in introspection.signature(SOURCES[source]).parameters.items() if name != "paths"}
    own = bool(plugins)
    takes = ", ".join(_as_typed(name, own) for name in known) or "no options"
    for name in options:
        if name not in known:
            raise SoilcastError(f"source {source} has no option {_as_typed(name, own)}; its options are {takes}")
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in options:
            raise SoilcastError(f"source {source} needs {_as_typed(name, own)}; its options are {takes}")
    out = Path(out)
    if not (resume and out.exists()):
        refuse_existing(out, kind="cube", overwrite=overwrite)
    refuse_unfinished(out, overwrite=overwrite, resume=resume)
    recipe: dict[str, Any] = {}
    if source in MAPPINGS and "mapping" in options:
        recipe["mapping"] = read_as(MAPPINGS[source], Path(options["mapping"]))
    try:
        cube = SOURCES[source]([_as_path(path, absolute=dask is not None) for path in paths], **(options | recipe))
        if unknown := [name for name in genuine if name not in cube]:
            raise SoilcastError(f"--genuine {unknown[0]}: {nearest(unknown[0], sorted(map(str, cube.data_vars)))}")
        if genuine:
            cube.attrs[GENUINE] = " ".join(sorted(genuine))
        save_cube(
            cube,
            out,
            overwrite=overwrite,
            resume=resume,
            memory=memory,
            dask=dask,
            progress=progress,
            log=log,
            depends_on=_depends_on(paths, options, out) | {f"plugin {one['name']}": one["sha256"] for one in plugins},
            source=source,
            paths=[str(path) for path in paths],
            options=options,
            # An update reads new files by the same mapping, from whatever folder and after whatever time.
            **{name: stored_mapping(one, Path(options[name]), out) for name, one in recipe.items()},
            **({"plugins": plugins} if plugins else {}),
        )
    finally:
        close_all()
    return open_cube(out)


def _as_path(path: str | Path, *, absolute: bool) -> str | Path:
    """Leave an address of a store as it is; workers have a working folder of their own, so they need whole paths."""
    if is_address(path):
        return str(path)
    return Path(path).absolute() if absolute else Path(path)


def _depends_on(paths: Sequence[str | Path], options: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """What a cube depends on, by name: options, and the size and time of change of every file by its whole path."""
    said = {f"option {name}": value for name, value in options.items() if not isinstance(value, Path)}
    made = {out.absolute(), workplace_of(out.absolute())}
    maps = [str(file).partition("::")[0] for file in options.get("static", {}).values()]
    for path in [*paths, *maps, *(value for value in options.values() if isinstance(value, Path))]:
        if is_address(path):
            said[f"address {path}"] = "its content is not compared"
            continue
        whole = Path(path).absolute()
        for file in sorted(whole.rglob("*")) if whole.is_dir() else [whole]:
            if file.is_file() and made.isdisjoint([file, *file.parents]):
                status = file.stat()
                said[f"file {file}"] = f"{status.st_size} bytes of {status.st_mtime_ns} ns"
    return said


def _as_typed(option: str, own: bool) -> str:
    """An option on the command line, where a unit is given one at a time; of a user's own source by --option."""
    if own:
        return f"--option {option}=VALUE"
    return "--unit" if option == "units" else f"--{option}"
