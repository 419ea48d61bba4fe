"""Which days of a cube's record the climates of some valid days are made of, and how they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr

from soilcast.cube import read
from soilcast.cube.calendar import Days
from soilcast.cube.store import CELL_CHUNK
from soilcast.products.climate import Positions, Reference, reference_positions, years_covered

_VALUES_AT_ONCE = 1 << 18
"""Values of a climate that are worked on at once: what fits a processor's cache."""


@dataclass(frozen=True)
class Record:
    """The days that count.

    Parameters
    ----------
    runs
        Consecutive days to read, as positions along the cube's time.
    positions
        Of each valid day, ``(year, day)``: positions along what the runs hold together, -1 where there is none.
    period
        ``first:last`` of the days that may count; empty where none may.
    years
        Years that are covered around every valid day.
    """

    runs: tuple[slice, ...]
    positions: tuple[Positions, ...]
    period: str
    years: int


def record_of(days: Days, reference: slice, newest: np.datetime64, valid_days: Days, window: int) -> Record:
    """Find the days around the dates of all valid days.

    Parameters
    ----------
    days
        Of the cube, ``(time,)``.
    reference
        Positions of those that may count.
    newest
        None later than this counts.
    valid_days
        ``(lead,)``, one at least.
    window
        Days on either side of a date [d].
    """
    first, stop, _ = reference.indices(len(days))
    stop = min(stop, int(np.searchsorted(days.astype("datetime64[D]"), newest.astype("datetime64[D]"), side="right")))
    known = days[first:stop].astype("datetime64[D]")
    if not len(known):
        nothing = np.empty((0, 2 * window + 1), dtype=np.int64)
        return Record((), (nothing,) * len(valid_days), "", 0)
    positions = [reference_positions(known, day, window) for day in valid_days]
    wanted = np.unique(np.concatenate([one[one >= 0] for one in positions]))
    breaks = np.flatnonzero(np.diff(wanted) > 1) + 1
    runs = [run for run in np.split(wanted + first, breaks) if len(run)]
    return Record(
        tuple(slice(int(run[0]), int(run[-1]) + 1) for run in runs),
        tuple(np.where(one >= 0, np.searchsorted(wanted, one), -1) for one in positions),
        f"{known[0]}:{known[-1]}",
        min(years_covered(one) for one in positions),
    )


def parts_of(cube: xr.Dataset, layer: str, cells: slice, record: Record) -> Iterator[tuple[slice, Reference]]:
    """Read the record of a block of cells part by part.

    Parameters
    ----------
    cube
        Opened.
    layer
        What to read.
    cells
        The block, as positions in the cube.
    record
        The days.

    Yields
    ------
    The cells of a part, as positions in the block, and their values ``(cell, day)``; one part at least.
    """
    first, stop, _ = cells.indices(cube.sizes["cell"])
    stop = max(first, stop)
    size = max(1, _VALUES_AT_ONCE // max(1, *(one.size for one in record.positions)))
    # Each chunk on the disk is read once.
    edges = [first, *range((first // CELL_CHUNK + 1) * CELL_CHUNK, stop, CELL_CHUNK), stop]
    for start, end in pairwise(edges):
        runs = [read(cube.isel(time=run), layer, slice(start, end)) for run in record.runs]
        values = np.concatenate(runs, axis=1) if runs else np.empty((end - start, 0), dtype=np.float32)
        for part in range(start, max(end, start + 1), size):
            last = min(part + size, end)
            yield slice(part - first, last - first), values[part - start : last - start]
