"""Point sampling (Fang & Shen, 2020): batches are draws of cells and days, not sweeps over all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from soilcast.task import Layout
from soilcast.training.arrays import forget_pages
from soilcast.training.losses import Targets
from soilcast.training.windows import WindowSource

Indices = npt.NDArray[np.int64]

SHARE_OF_GPU = 0.8
"""Of a GPU's free memory, samples may take this share."""


Record = TypeVar("Record", bound=Any)


def map_tensors(record: Record, change: Callable[[Tensor], Tensor]) -> Record:
    """Do the same to all tensors of a dataclass, and of those within it."""
    changed: dict[str, Any] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, Tensor):
            changed[field.name] = change(value)
        elif is_dataclass(value):
            changed[field.name] = map_tensors(value, change)
    return replace(record, **changed)


@dataclass(frozen=True)
class SampleIndices:
    """Samples by position, the day the first that is forecast; both of a shape such as ``(batch, member, sample)``."""

    cells: Indices
    days: Indices

    def __getitem__(self, part: int | slice) -> SampleIndices:
        """Take some of the first axis."""
        return SampleIndices(self.cells[part], self.days[part])


@dataclass(frozen=True)
class Batch:
    """What a step of training sees; leading axes ``...`` are batches that were gathered together.

    Parameters
    ----------
    windows
        ``(..., member, step, sample, feature)`` float32: see `soilcast.task.Layout`.
    targets
        Of the same samples.
    """

    windows: Tensor
    targets: Targets

    def to(self, device: torch.device) -> Batch:
        """Move to a device."""
        return map_tensors(self, lambda one: one.to(device))

    def copy(self) -> Batch:
        """Copy to memory of its own."""
        return map_tensors(self, torch.clone)

    def copy_(self, other: Batch) -> None:
        """Take over the content of another batch of the same shape."""
        self.windows.copy_(other.windows)
        for field in fields(self.targets):
            if (value := getattr(self.targets, field.name)) is not None:
                value.copy_(getattr(other.targets, field.name))


@dataclass(frozen=True)
class Samples:
    """All cell-days of the development period, land cells only, contiguous: in memory, mapped from a file, on a GPU.

    Parameters
    ----------
    source
        What windows are cut from.
    layout
        How.
    observed
        Normalised soil moisture of the layers to forecast ``(cell, time, layer)`` float32; NaN where missing.
    water_sign
        dW_t of Eq. 12 after Eq. 13, ``(cell, time)`` int8.
    error_scale, depth, bounds
        ``(cell, lead, layer)``, ``(cell, layer)`` and ``(cell, layer, 2)`` float32, see
        `soilcast.training.losses.Targets`.
    inflow
        W_t ``(cell, time)`` float32 [m], NaN where it is not known; None where amounts do not count.
    tolerance, per_metre
        What observed changes miss W_t by [m], and what takes metres of water to the space of the loss [m-1], each
        ``(cell,)`` float32.
    mapped
        Arrays that are mapped from files and whose pages `gather` lets go, so that memory stays free.
    """

    source: WindowSource
    layout: Layout
    observed: Tensor
    water_sign: Tensor
    error_scale: Tensor | None = None
    depth: Tensor | None = None
    bounds: Tensor | None = None
    inflow: Tensor | None = None
    tolerance: Tensor | None = None
    per_metre: Tensor | None = None
    mapped: Sequence[npt.NDArray[np.generic]] = ()

    def to(self, device: torch.device) -> Samples:
        """Move to a device; what is mapped from files or does not fit stays where it is, and its batches are moved."""
        if device.type == "cpu" or self.mapped:
            return self
        size = self.source.nbytes + self.observed.nbytes + self.water_sign.nbytes
        if size > SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0]:
            return self
        return map_tensors(self, lambda one: one.to(device))

    def gather(self, indices: SampleIndices) -> Batch:
        """Gather samples ``(..., member, sample)``: one gather an array, no Python per sample."""
        device = self.observed.device
        cells, days = (torch.from_numpy(one).to(device) for one in (indices.cells, indices.days))
        windows = self.source.gather(self.layout, cells, days)
        at = cells * self.observed.shape[1] + days
        ahead = at.unsqueeze(-1) + torch.arange(self.layout.task.lead_days, device=device)
        observed = self.observed.view(-1, self.observed.shape[2])
        amounts: dict[str, Tensor] = {}
        if self.inflow is not None and self.tolerance is not None and self.per_metre is not None:
            scale = self.per_metre[cells]
            amounts["inflow"] = self.inflow.view(-1)[ahead] * scale.unsqueeze(-1)
            amounts["tolerance"] = self.tolerance[cells] * scale
        targets = Targets(
            observed=observed[ahead],
            previous=torch.nan_to_num(observed[at - 1]),
            water_sign=self.water_sign.view(-1)[ahead].to(torch.float32),
            error_scale=None if self.error_scale is None else self.error_scale[cells],
            depth=None if self.depth is None else self.depth[cells],
            bounds=None if self.bounds is None else self.bounds[cells],
            **amounts,
        )
        forget_pages(self.mapped)
        return Batch(windows, targets)


class SampleIndex:
    """The usable cell-days of a period, numbered in the order of cells and days.

    Parameters
    ----------
    usable
        ``(cell, time)``.
    period
        Positions of the days that count, from the first to the last.
    days
        Which of these count ``(time,)``, if not all.
    """

    def __init__(
        self,
        usable: npt.NDArray[np.bool_],
        period: slice = slice(None),
        days: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        self.first = period.indices(usable.shape[1])[0]
        self.usable = usable[:, period] if days is None else usable[:, period] & days
        self.by_cell = np.count_nonzero(self.usable, axis=1)
        self._ends = np.cumsum(self.by_cell)
        # As small as they can be: a globe at half a degree has tens of millions of them.
        self._days = np.empty(int(self._ends[-1]), dtype=np.min_scalar_type(usable.shape[1]))
        for row, end, count in zip(self.usable, self._ends, self.by_cell, strict=True):
            self._days[end - count : end] = np.flatnonzero(row) + self.first

    def __len__(self) -> int:
        return len(self._days)

    def at(self, numbers: Indices) -> SampleIndices:
        """Cells and days of some numbers of any shape."""
        return SampleIndices(np.searchsorted(self._ends, numbers, side="right"), self._days[numbers].astype(np.int64))


def draw_cell_days(usable: SampleIndex, batches: int, size: int, random: np.random.Generator) -> SampleIndices:
    """Draw independent cell-days ``(batches, size)``, uniformly among the usable ones, with replacement."""
    return usable.at(random.integers(len(usable), size=(batches, size)))


def draw_shared_days(usable: SampleIndex, batches: int, size: int, random: np.random.Generator) -> SampleIndices:
    """Draw one day for each batch, and cells that are usable on it, as the authors' code does."""
    days = random.choice(np.flatnonzero(usable.usable.any(axis=0)), size=batches)
    cells = np.stack([random.choice(np.flatnonzero(usable.usable[:, day]), size=size) for day in days])
    return SampleIndices(cells, np.repeat(days[:, np.newaxis] + usable.first, size, axis=1))


SAMPLERS: dict[str, Callable[[SampleIndex, int, int, np.random.Generator], SampleIndices]] = {
    "cell_days": draw_cell_days,
    "shared_day": draw_shared_days,
}


def fixed_sample(usable: SampleIndex, largest: int, seed: int) -> SampleIndices:
    """Take the validation sample: all usable cell-days, or a seeded choice without repetition if there are more.

    Parameters
    ----------
    usable
        The cell-days to choose from.
    largest
        Most cell-days to take; 0 for all.

    Returns
    -------
    ``(sample,)``, in the order of cells and days.
    """
    count = len(usable)
    if 0 < largest < count:
        numbers = np.sort(np.random.default_rng([seed, count]).choice(count, size=largest, replace=False))
        return usable.at(numbers)
    return usable.at(np.arange(count))
