"""How many days of a variable are read at a time while a cube is written, so that memory holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import xarray as xr

from soilcast.cube.pieces import source_of
from soilcast.cube.store import DAY_CHUNK
from soilcast.errors import SoilcastError
from soilcast.memory import held_memory

MIB = 2**20

_WRITING_BYTES = 128 * MIB
"""What compressing and writing takes beside the program and the block that is written; measured."""

_UNKNOWN_BYTES = 64 * MIB
"""What reading takes beside its values where the array does not say (``working_bytes``)."""

_COPIES = 2
"""Times that the values of a piece are held while it is read and checked; measured."""

_COMPUTED_COPIES = 6
"""Times that the values of a chunk are held while dask computes it: operands and results, some of them float64."""

_SENT_BYTES = 64 * MIB
"""Most that a worker sends back at once."""

_RESULTS_BYTES = 1024 * MIB
"""What may be on its way back from the workers where there is no budget."""

_RESULT_COPIES = 3
"""Times that a result is held while it comes from a worker and is put in its place."""


@dataclass(frozen=True)
class Plan:
    """What is read at a time.

    Parameters
    ----------
    days
        Days a piece, of each variable.
    results
        How many pieces may be out with the workers at once.
    """

    days: Mapping[str, int]
    results: int


def plan(variables: Mapping[str, xr.Variable], remote: Collection[str], memory: int | None, what: str) -> Plan:
    """Choose how much is read at a time.

    Parameters
    ----------
    variables
        Dynamic variables ``(cell, time)`` that are to be read.
    remote
        Those that workers read.
    memory
        What this process may hold, with what it holds already [bytes]. None: a whole block is read while another one
        is written.
    what
        What is being made, for the message.

    Raises
    ------
    SoilcastError
        The memory is too little for a day of one variable; says how much is needed.
    """
    room = None if memory is None else memory - held_memory() - _WRITING_BYTES
    least = max(
        (_least_sent_bytes(one) if name in remote else _least_bytes(one) for name, one in variables.items()), default=0
    )
    if memory is not None and room is not None and room < least:
        raise SoilcastError(
            f"--memory {memory / MIB:.0f} MiB is too little: preparing {what} takes at least "
            f"{(memory - room + least) / MIB:.0f} MiB: increase it"
        )
    days = {name: _sent_days(one, room) if name in remote else _days(one, room) for name, one in variables.items()}
    largest = max((4 * variables[name].shape[0] * days[name] for name in remote), default=1)
    waiting = (_RESULTS_BYTES if room is None else room) // (_RESULT_COPIES * largest)
    return Plan(days, max(1, waiting - 1))


def _days(variable: xr.Variable, room: int | None) -> int:
    """A block's days if it can be read while another one is written, else as many as there is room for."""
    cells, total = variable.shape
    block = min(DAY_CHUNK, total)
    if room is None or room - beside(variable) >= (_COPIES + 1) * 4 * cells * block:
        return block
    least = _least_days(variable)
    fitting = (room - beside(variable)) // (_COPIES * 4 * cells) // least * least
    return int(min(fitting, block))


def _least_bytes(variable: xr.Variable) -> int:
    return beside(variable) + _COPIES * 4 * int(variable.shape[0]) * _least_days(variable)


def _least_days(variable: xr.Variable) -> int:
    """Days that dask computes at a time, whatever is asked for."""
    return int(max(variable.chunks[1])) if variable.chunks and source_of(variable) is None else 1


def beside(variable: xr.Variable) -> int:
    """What reading a variable takes beside the values that are read [bytes]."""
    if not variable.chunks:
        return 0
    source = source_of(variable)
    if source is not None:
        return int(getattr(source, "working_bytes", _UNKNOWN_BYTES))
    return _COMPUTED_COPIES * 4 * int(variable.shape[0]) * _least_days(variable)


def _sent_days(variable: xr.Variable, room: int | None) -> int:
    cells, total = variable.shape
    # Of what comes back, one piece is on its way while another one waits or is written.
    most = _SENT_BYTES if room is None else min(_SENT_BYTES, room // (2 * _RESULT_COPIES))
    return int(max(1, min(DAY_CHUNK, total, most // (4 * cells))))


def _least_sent_bytes(variable: xr.Variable) -> int:
    return 2 * _RESULT_COPIES * 4 * int(variable.shape[0])
