"""Which cell-days can be samples of training and validation, and why none can."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import read
from soilcast.errors import SoilcastError
from soilcast.training.config import Config
from soilcast.training.inputs import Counts
from soilcast.training.samples import SampleIndex
from soilcast.training.split import Periods, days_in, span

_BALANCE_BACK = 2
"""Eq. 12 and 14 take soil moisture of the two days before a forecast day."""


def sample_days(
    name: str,
    parts: Periods,
    hidden: Sequence[Periods],
    usable: npt.NDArray[np.bool_],
    days: slice,
    cube: xr.Dataset,
    config: Config,
) -> SampleIndex:
    """Find the cell-days of periods from which all forecast days lie in one of them, and that see nothing hidden.

    Parameters
    ----------
    name
        Of the periods, for messages.
    hidden
        Periods whose soil moisture no sample may see.
    usable
        ``(cell, time)``, whether inputs and target of the day are there.
    days
        The days of ``usable``, by position in the cube.

    Raises
    ------
    SoilcastError
        There is none.
    """
    task = config.task
    length = max(part.stop - part.start for part in parts)
    if length < task.lead_days:
        raise SoilcastError(
            f"{_source(cube)}: the {name} period of {length} day(s) is shorter than task.lead_days {task.lead_days}: "
            "set fewer, or a longer split.development"
        )
    whole, inside = first_days_within(parts, hidden, config)
    period = slice(whole.start - days.start, whole.stop - days.start)
    index = SampleIndex(usable, period, None if inside.all() else inside)
    if not len(index):
        if task.window >= days.stop - days.start - 1:
            raise SoilcastError(
                f"{_source(cube)}: the {name} period is shorter than task.window {task.window}: shorten the window, "
                "or set a longer split.development"
            )
        raise SoilcastError(
            f"{_source(cube)}: no usable cell-day in the {name} period: inputs or target are missing; see "
            "soilcast inspect, or choose other inputs or periods"
        )
    return index


def first_days_within(parts: Periods, hidden: Sequence[Periods], config: Config) -> tuple[slice, npt.NDArray[np.bool_]]:
    """Find the days of periods that can be a first forecast day, whatever the inputs: see `sample_days`.

    Returns
    -------
    From the first of them to the last, as positions in the cube, and which of these they are ``(time,)``.
    """
    firsts = tuple(slice(part.start, max(part.start, part.stop - config.task.lead_days + 1)) for part in parts)
    whole = span(firsts)
    inside = days_in(firsts, whole)
    for part in (part for periods in hidden for part in periods):
        # A window that begins soon after a hidden day would see its soil moisture.
        inside[max(0, part.start - whole.start) : max(0, part.stop - whole.start + _days_back(config))] = False
    return whole, inside


def _days_back(config: Config) -> int:
    """How many days before its first forecast day a sample sees soil moisture, as an input or in its loss."""
    task = config.task
    back = _BALANCE_BACK if config.guided else 0
    if task.lags:
        newest = 1 + task.fill_days + max(task.latency_of(layer) for layer in task.soil_layers)
        back = max(back, task.window, newest)
    return back


def refuse_unlearnable(
    learnable: npt.NDArray[np.bool_], missing: Counts, days: int, cube: xr.Dataset, config: Config
) -> None:
    """Raise `SoilcastError` if no cell has a target, or an input is missing in all cells."""
    task = config.task
    if not learnable.any():
        raise SoilcastError(
            f"{_source(cube)}: {', '.join(task.layers)} is missing or constant in every cell over the training "
            "period: check the source files, or set split.development"
        )
    absent = {
        "dynamic": [name for name, count in zip(task.dynamic, missing.T, strict=True) if (count == days).all()],
        "static": [name for name in task.static if not np.isfinite(read(cube, name)[learnable]).any()],
    }
    for key, names in absent.items():
        if names:
            left = ",".join(name for name in getattr(task, key) if name not in names)
            raise SoilcastError(
                f"{_source(cube)}: {', '.join(names)} is missing in every cell, and is in task.{key}: use --set "
                f"task.{key}=[{left}], or check the source files"
            )


def _source(cube: xr.Dataset) -> str:
    return str(cube.encoding.get("source", "the cube"))
