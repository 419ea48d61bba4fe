"""Put days to a cube that stands on the disk: whatever ends the work, the old cube stands or the new one does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from soilcast.cube.joining import Joined
from soilcast.cube.store import put_store_in_place, zarr_settings
from soilcast.cube.stream import PROGRESS, CubeStream, same_layout
from soilcast.cube.writing import check_constants, scheduler_of, write_missing
from soilcast.errors import SoilcastError
from soilcast.files import disk_faults_told
from soilcast.progress import Log
from soilcast.workplace import locked_workplace, restore, workplace_of


@contextmanager
def locked_cube(out: Path) -> Iterator[Path]:
    """Give the folder in which the next state of a cube is made, to this process alone.

    Raises
    ------
    SoilcastError
        Another process is at work on the cube, an unfinished preparation of it is there, or its folder cannot be
        written to.
    """
    with ExitStack() as stack:
        try:
            place = stack.enter_context(locked_workplace(out, overwrite=False, resume=True, keep=PROGRESS))
        except OSError as error:
            raise SoilcastError(f"{out} cannot be updated: {workplace_of(out)}: {error.strerror}") from error
        if (place / PROGRESS).exists():
            raise SoilcastError(
                f"{out}: its preparation is unfinished ({place}): complete it with --resume, or remove that folder"
            )
        with disk_faults_told(out):
            shutil.rmtree(_inside(place), ignore_errors=True)  # of an update that was killed
            _inside(place).mkdir()
        yield _inside(place)


def stands(out: Path) -> bool:
    """Whether there is something to open, or to recover and then open."""
    restore(out)
    return out.exists()


def append(
    joined: Joined,
    out: Path,
    place: Path,
    *,
    provenance: str,
    memory: int | None,
    progress: bool,
    log: Log,
    stored: Path | None = None,
    doing: str = "update",
) -> int:
    """Write a cube with the days that were joined to it, and put it in the place of the old one, or beside that.

    Of a Zarr cube the blocks that do not change become files of the new store too, by a second name; none of them is
    ever opened for writing. Who has the old cube open goes on reading it, if it had a whole block of days.

    Parameters
    ----------
    joined
        The whole, and which days of it are not on the disk.
    out
        Where it is put, in the place of what stands there.
    place
        What `locked_cube` gave, or another folder to work in beside ``out``.
    provenance
        The new text of that attribute.
    memory, progress, log
        As `save_cube`.
    stored
        The old cube, where that is not ``out``.
    doing
        What the progress bar says.

    Returns
    -------
    How many blocks were written.

    Raises
    ------
    SoilcastError
        A value outside the bounds, too little memory, a damaged cube, a full disk; the old cube stands.
    """
    cube = joined.cube
    skeleton = cube.drop_vars(list(joined.changed)).load()
    check_constants(skeleton)
    with zarr_settings(), disk_faults_told(out), scheduler_of(memory):
        stream = CubeStream(place, skeleton, {name: cube[name].attrs for name in joined.changed}, {})
        stream.take(_unchanged(joined, stream, stored or out), stored or out)
        written = len(stream.missing)
        write_missing(cube, stream, memory=memory, progress=progress, log=log, doing=doing)
        stream.finish(provenance)
        put_store_in_place(stream.store, out, kind="cube", overwrite=True)
    return written


def _unchanged(joined: Joined, stream: CubeStream, stored: Path) -> list[int]:
    """Numbers of the units that lie on the disk as they are to be."""
    if not stored.is_dir():
        return []
    alike = {name for name in joined.changed if same_layout(stored, stream.store, name)}
    return [
        number
        for number, (name, days) in enumerate(stream.units)
        if name in alike and not joined.changed[name][days].any()
    ]


def _inside(place: Path) -> Path:
    return place / "update"
