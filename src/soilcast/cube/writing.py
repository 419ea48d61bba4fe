"""Save a cube: block by block, within a budget of memory, on a cluster if there is one, and go on after a stop."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from soilcast.cluster import work_on_cluster
from soilcast.cube.check import BoundsError, check_bounds, clip_to_bounds, refuse_fills
from soilcast.cube.contract import CONTRACT_VERSION, GENUINE, VARIABLES
from soilcast.cube.pieces import PACKING, Floats, Parts, Piece, is_lazy, piece_of, pieces_of
from soilcast.cube.planning import plan
from soilcast.cube.store import open_cube, put_store_in_place, with_printable_texts, zarr_settings
from soilcast.cube.stream import PROGRESS, CubeStream
from soilcast.errors import SoilcastError
from soilcast.files import NO_ROOM, disk_faults_told, refuse_existing
from soilcast.memory import peak_memory
from soilcast.progress import Log, progress_bar
from soilcast.provenance import input_of, stamp, versions
from soilcast.workplace import clear_workplace, is_to_replace, locked_workplace, restore, workplace_of

MIB = 2**20

_Wanted = tuple[int, slice]
"""Number of a unit of the stream, and days of it."""


def save_cube(
    cube: xr.Dataset,
    out: Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    memory: int | None = None,
    dask: str | None = None,
    progress: bool = False,
    log: Log | None = None,
    depends_on: Mapping[str, Any] | None = None,
    **inputs: Any,
) -> None:
    """Write a cube variable by variable, a block of days at a time, checking bounds on the way.

    Until all blocks are there they lie in ``OUT.unfinished``. What is written is the same to the byte whatever the
    budget, the workers, the chunks of the cube's arrays and the number of stops.

    Parameters
    ----------
    cube
        What `assemble` gives; large variables as dask arrays.
    out
        A folder (Zarr v3) or a file that ends in ``.nc`` (NetCDF-4).
    overwrite
        Replace ``out`` if it exists, and start anew.
    resume
        Go on with an earlier, unfinished making of the same cube; do nothing if ``out`` is the finished one.
    memory
        Hold no more than this [bytes], what the process holds already included: by reading fewer days at a time.
        Without a budget a block (all cells x 366 days of one variable) is read while another one is written.
    dask
        Address of a dask scheduler whose workers, which see the same paths, read the variables that are lazy.
    progress
        Show a bar.
    log
        Told a line now and then: how much is read at a time, the peak of memory, what is left by a stop.
    depends_on
        What the values depend on beside cells, days and static values, by name: unfinished work on anything else is
        refused. Values that are in memory are not compared.
    inputs
        What it was made from, for the ``provenance`` attribute.

    Raises
    ------
    SoilcastError
        A value outside the bounds, an ``out`` that exists, unfinished work that is not said what to do with, too
        little memory, unfinished work on another cube, a fault of the cluster, a full disk (what is written stands).
    """
    out, cube = Path(out), with_printable_texts(cube)
    log = log or (lambda line: None)
    # Sorted, so that the hash depends on the content and not on the order in which a source gave it.
    dynamic = sorted(str(name) for name in cube.data_vars if "time" in cube[name].dims)
    skeleton = cube.drop_vars(dynamic).load()
    check_constants(skeleton)
    identity = _identity(cube, skeleton, dynamic, depends_on or {})
    made_from = _hash(identity)
    if resume:
        restore(out)
    if resume and not overwrite and out.exists():
        if _is_made_from(out, made_from):
            clear_workplace(out)
            return
        if not is_to_replace(out):
            raise SoilcastError(
                f"{out} is a cube of other files, options, cells or days: give another --out, or --overwrite to "
                "replace it"
            )
        overwrite = True
    refuse_existing(out, kind="cube", overwrite=overwrite)
    with _workplace(out, overwrite=overwrite, resume=resume) as place, zarr_settings():
        with disk_faults_told(out), scheduler_of(memory):
            stream = CubeStream(place, skeleton, {name: cube[name].attrs for name in dynamic}, identity)
            with _saying_what_stands(stream, out, log):
                write_missing(cube, stream, memory=memory, dask=dask, progress=progress, log=log)
                stream.finish(stamp("soilcast prepare", **inputs, made_from_sha256=made_from))
                put_store_in_place(stream.store, out, kind="cube", overwrite=overwrite)
        stream.discard()
    log(f"peak memory {peak_memory() / MIB:,.0f} MiB")


def refuse_unfinished(out: Path, *, overwrite: bool, resume: bool) -> None:
    """Raise `SoilcastError` where `save_cube` would, before any work: unfinished work of which nothing is said."""
    if workplace_of(out).exists() and not overwrite and not resume:
        with _workplace(out, overwrite=False, resume=False):
            pass


@contextmanager
def _workplace(out: Path, *, overwrite: bool, resume: bool) -> Iterator[Path]:
    with ExitStack() as stack:
        try:
            place = stack.enter_context(locked_workplace(out, overwrite=overwrite, resume=resume, keep=PROGRESS))
        except OSError as error:
            raise SoilcastError(f"{out} cannot be written ({error.strerror}): give another --out") from error
        yield place


@contextmanager
def _saying_what_stands(stream: CubeStream, out: Path, log: Log) -> Iterator[None]:
    """Say what a fault leaves for ``resume``."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM or not stream.done:
            raise
        raise SoilcastError(
            f"no space left on the disk of {out} ({error.strerror}): what is written is kept; free some space and "
            "continue with --resume"
        ) from error
    except BoundsError:
        stream.discard()  # with other files or units it would be another cube: there is nothing to go on from
        raise
    except KeyboardInterrupt:
        if stream.done:
            log(f"{len(stream.done)} of {len(stream.units)} parts of {out} are written: continue with --resume")
        raise


def write_missing(
    cube: xr.Dataset,
    stream: CubeStream,
    *,
    memory: int | None,
    dask: str | None = None,
    progress: bool,
    log: Log,
    doing: str = "prepare",
) -> None:
    """Write the units of a cube that its stream lacks, within a budget of memory.

    Parameters
    ----------
    cube, memory, dask, progress, log
        As `save_cube` takes them.
    stream
        Where the units go.
    doing
        What the bar says.
    """
    missing = stream.missing
    names = sorted({stream.units[number][0] for number in missing})
    remote = {name for name in names if dask is not None and is_lazy(cube, name)}
    with suppress(ImportError):
        if remote:
            import distributed  # noqa: F401, which is to count among what the process holds
    planned = plan({name: cube[name].variable for name in names}, remote, memory, str(cube.attrs["title"]))
    if memory is not None and names:
        fewest, most = min(planned.days.values()), max(planned.days.values())
        said = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        log(f"reading {said} days at a time, to stay within {memory / MIB:,.0f} MiB of memory")
    wanted = [
        (number, days)
        for number in missing
        for days in pieces_of(stream.units[number][1], planned.days[stream.units[number][0]])
    ]
    open_parts: dict[int, Parts] = {}
    with (
        progress_bar(doing, len(stream.units), shown=progress, done=len(stream.done)) as advance,
        ThreadPoolExecutor(1) as pool,
        closing(_values(cube, stream, wanted, remote, dask, planned.results)) as coming,
    ):
        writing: Future[None] | None = None
        for number, days, values in coming:
            name, block = stream.units[number]
            values = _checked(cube, stream, name, days, values)
            if number not in open_parts:
                open_parts[number] = stream.parts(number, pieces_of(block, planned.days[name]))
            open_parts[number].put(days, values)
            del values  # else it would be held while the next one is read
            if open_parts[number].complete:
                # One block is written while the next one is read, and no more: memory.
                if writing is not None:
                    writing.result()
                writing = pool.submit(stream.write, number, open_parts.pop(number))
                advance(name)
        if writing is not None:
            writing.result()


def _values(
    cube: xr.Dataset,
    stream: CubeStream,
    wanted: Sequence[_Wanted],
    remote: Collection[str],
    dask: str | None,
    most: int,
) -> Generator[tuple[int, slice, Floats]]:
    """Read pieces, here or on workers: the number of the unit, the days, and ``(cell, time)``."""
    for number, days in wanted:
        if stream.units[number][0] not in remote:
            with _naming_place(cube, days):
                values = piece_of(cube, stream.units[number][0], days).read()
            yield number, days, values
    sent = [(number, days) for number, days in wanted if stream.units[number][0] in remote]
    if dask is not None and sent:
        pieces = _Pieces(cube, [(stream.units[number][0], days) for number, days in sent])
        for piece, values in work_on_cluster(dask, _read_on_worker, pieces, most=most):
            yield *sent[piece], values


def check_constants(skeleton: xr.Dataset) -> None:
    """Check the bounds of everything that has no time.

    Raises
    ------
    BoundsError
        Names cell and value.
    """
    for name in skeleton.data_vars:
        where = str(skeleton[name].attrs.get("origin", skeleton.attrs["source"]))
        with _naming_place(skeleton):
            check_bounds(str(name), skeleton[name].to_numpy(), where)


def _checked(cube: xr.Dataset, stream: CubeStream, name: str, days: slice, values: Floats) -> Floats:
    """Look through values ``(cell, time)`` before they are written; what is a rounding out of bounds is put on them."""
    row, where = VARIABLES[name], str(cube[name].attrs.get("origin", cube.attrs["source"]))
    with _naming_place(cube, days):
        lowest, highest = check_bounds(name, values, where, slack=float(cube[name].encoding.get(PACKING, 0.0)))
        if name not in str(cube.attrs.get(GENUINE, "")).split():
            refuse_fills(name, values, (lowest, highest), where)
    if lowest < row.valid_min or highest > row.valid_max:
        values, count = clip_to_bounds(name, values)
        if count:
            stream.clipped[name] = stream.clipped.get(name, 0) + count
    return values


@contextmanager
def _naming_place(cube: xr.Dataset, days: slice = slice(0, 0)) -> Iterator[None]:
    """Say in which cell and on which day a value is."""

    def place(index: tuple[int, ...]) -> str:
        cell = cube.isel(cell=index[0])
        named = f"in cell {cell['cell_name'].item()}" if "cell_name" in cube else "in the cell"
        text = f"{named} at lat {cell['lat'].item():g}, lon {cell['lon'].item():g}"
        if len(index) > 1:
            text += f" on {np.datetime_as_string(cube['time'].to_numpy()[days.start + index[1]], 'D')}"
        return text

    try:
        yield
    except BoundsError as error:
        raise (error.located(place) if error.index else error) from None


class _Pieces(Mapping[int, Piece]):
    """Pieces for workers, each made when it is sent: their graphs are not held all at once."""

    def __init__(self, cube: xr.Dataset, wanted: Sequence[tuple[str, slice]]) -> None:
        self._cube, self._wanted = cube, wanted

    def __getitem__(self, number: int) -> Piece:
        return piece_of(self._cube, *self._wanted[number]).for_worker()

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self._wanted)))

    def __len__(self) -> int:
        return len(self._wanted)


def _read_on_worker(piece: Piece) -> Floats:
    import dask

    with dask.config.set(scheduler="synchronous"):
        return piece.read()


def scheduler_of(memory: int | None) -> AbstractContextManager[Any]:
    """With a budget, what dask computes is computed a chunk at a time."""
    import dask

    return dask.config.set(scheduler="synchronous") if memory is not None else nullcontext()


def _identity(
    cube: xr.Dataset, skeleton: xr.Dataset, dynamic: Sequence[str], depends_on: Mapping[str, Any]
) -> dict[str, Any]:
    """What the cube is, by name, before any large variable is read."""
    days = np.datetime_as_string(skeleton["time"].to_numpy(), "D")
    places = sorted(str(name) for name in skeleton.coords if name != "time")
    constants = sorted(map(str, skeleton.data_vars))
    described = {str(name): variable.attrs for name, variable in cube.variables.items()} | {"": cube.attrs}
    return {
        "source": cube.attrs["source"],
        "contract": CONTRACT_VERSION,
        "soilcast": versions().get("soilcast"),
        "days": f"{days[0]} .. {days[-1]} ({len(days)})",
        "dynamic variables": ", ".join(dynamic),
        "static variables": f"{', '.join(constants)} ({_hash_of(skeleton, constants)[:12]})",
        "cells": f"{skeleton.sizes['cell']} ({_hash_of(skeleton, places)[:12]})",
        "titles, units and origins": _hash(described)[:12],
        **depends_on,
    }


def _hash_of(skeleton: xr.Dataset, names: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode() + np.ascontiguousarray(skeleton[name].to_numpy()).tobytes())
    return digest.hexdigest()


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, default=str, sort_keys=True).encode()).hexdigest()


def _is_made_from(out: Path, made_from: str) -> bool:
    """Whether a cube stands at ``out`` that is the one that is asked for."""
    with open_cube(out) as found:
        return bool(input_of(found.attrs.get("provenance"), "made_from_sha256") == made_from)
