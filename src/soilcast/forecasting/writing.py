"""How a forecast comes onto the disk: block by block of cells, gone on with after a stop, whole at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import xarray as xr

from soilcast.cube.store import put_store_in_place
from soilcast.errors import SoilcastError
from soilcast.files import NO_ROOM
from soilcast.forecasting.appending import joined
from soilcast.forecasting.stream import ForecastStream, Promised
from soilcast.progress import progress_bar

Values = Mapping[str, npt.NDArray[Any]]
Make = Callable[[Mapping[int, slice]], Iterator[tuple[int, Values]]]
"""Makes the values of blocks of cells, given by number, in any order."""


@dataclass(frozen=True)
class Work:
    """A forecast that is to be written.

    Parameters
    ----------
    skeleton
        The forecast without its values: coordinates, attributes, ``area``.
    promised
        The variables to come.
    block
        Cells a block.
    identity
        What the values depend on, by name.
    make
        Makes them.
    """

    skeleton: xr.Dataset
    promised: Mapping[str, Promised]
    block: int
    identity: Mapping[str, Any]
    make: Make


def write_forecast(
    work: Work,
    place: Path,
    out: Path,
    *,
    overwrite: bool,
    progress: bool,
    more: Callable[[], Mapping[str, Any]],
    append: bool = False,
) -> None:
    """Make the blocks that are missing in ``place``, and put the whole to ``out``.

    Parameters
    ----------
    more
        Called at the end for attributes that are known then.
    append
        Add it to the outlooks that ``out`` holds.

    Raises
    ------
    SoilcastError
        Unfinished work on another forecast, a full disk (the blocks that are written stand).
    """
    try:
        stream = ForecastStream(place, work.skeleton, work.promised, work.block, work.identity)
        label = f"{work.skeleton.attrs['label']} forecast"
        with progress_bar(label, len(stream.blocks), shown=progress, done=len(stream.done)) as advance:
            for number, values in work.make({number: stream.blocks[number] for number in stream.missing}):
                stream.write(number, values)
                advance("")
        stream.note_attributes(more())
        store = joined(out, stream.store, place) if append else stream.store
        put_store_in_place(store, out, overwrite=overwrite or append)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise SoilcastError(
            f"no space left on the disk of {out} ({error.strerror}): the blocks that are forecast stand; free some "
            "space and go on with --resume"
        ) from error
    stream.discard()
