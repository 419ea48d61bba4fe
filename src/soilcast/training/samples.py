"""Point sampling (Fang & Shen, 2020): batches are draws of cells and days, not sweeps over all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from soilcast.training.arrays import forget_pages
from soilcast.water.losses import Outcome

Indices = npt.NDArray[np.int64]

SHARE_OF_GPU = 0.8
"""Of a GPU's free memory, samples may take this share."""


@dataclass(frozen=True)
class Draw:
    """Cell-days by position: the day is the one to forecast. Both of one shape, such as ``(batch, member, sample)``."""

    cells: Indices
    days: Indices

    def __getitem__(self, part: int | slice) -> Draw:
        """Take some of the first axis."""
        return Draw(self.cells[part], self.days[part])


@dataclass(frozen=True)
class Targets:
    """What a loss compares forecasts with, each ``(..., member, sample)`` float32.

    Parameters
    ----------
    observed, observed_before
        SM_t and SM_{t-1} in the space of the loss; 0 where missing.
    water_sign
        dW_t of Eq. 12 after Eq. 13.
    scale, offset
        Take a normalised forecast to the space of the loss.
    """

    observed: Tensor
    observed_before: Tensor
    water_sign: Tensor
    scale: Tensor
    offset: Tensor

    def outcome(self, predicted: Tensor) -> Outcome:
        """Lay normalised forecasts ``(member, sample)`` beside what was observed, in the space of the loss."""
        said = predicted * self.scale + self.offset
        return Outcome(said, self.observed, self.observed_before, self.water_sign)

    def changed(self, change: Callable[[Tensor], Tensor]) -> Targets:
        """Do the same to all parts."""
        return Targets(*(change(getattr(self, field.name)) for field in fields(self)))


class AnyTargets(Protocol):
    """What any loss compares forecasts with: a dataclass of tensors that are alike but for their last axes."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def outcome(self, predicted: Tensor) -> Any:
        """Lay forecasts beside what was observed: what the loss takes."""
        ...

    def changed(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Do the same to all parts."""
        ...


@dataclass(frozen=True)
class Batch:
    """What a step of training sees; leading axes ``...`` are batches that were gathered together.

    Parameters
    ----------
    windows
        ``(..., member, day, sample, feature)`` float32, normalised, the static features repeated every day.
    targets
        Of the same samples.
    """

    windows: Tensor
    targets: AnyTargets

    def __getitem__(self, part: int) -> Batch:
        """Take one of the batches."""
        return Batch(self.windows[part], self.targets.changed(lambda one: one[part]))

    def to(self, device: torch.device) -> Batch:
        """Move to a device."""
        return Batch(self.windows.to(device), self.targets.changed(lambda one: one.to(device)))

    def copy(self) -> Batch:
        """Copy to memory of its own."""
        return Batch(self.windows.clone(), self.targets.changed(torch.clone))

    def copy_(self, other: Batch) -> None:
        """Take over the content of another batch of the same shape."""
        self.windows.copy_(other.windows)
        for field in fields(self.targets):
            getattr(self.targets, field.name).copy_(getattr(other.targets, field.name))


def join_targets(parts: Sequence[AnyTargets]) -> AnyTargets:
    """Put samples together, those of ``(member, sample, ...)``."""
    kind = type(parts[0])
    return kind(*(torch.cat([getattr(part, field.name) for part in parts], dim=1) for field in fields(parts[0])))


class AnySamples(Protocol):
    """What a training draws its batches from."""

    @property
    def device(self) -> torch.device:
        """Where they are."""
        ...

    @property
    def mapped(self) -> Sequence[npt.NDArray[np.generic]]:
        """Arrays that are mapped from files."""
        ...

    @property
    def water_sign(self) -> Tensor:
        """dW_t of Eq. 12 after Eq. 13, ``(cell, time)`` int8."""
        ...

    def to(self, device: torch.device) -> AnySamples:
        """Move to a device, or stay."""
        ...

    def gather(self, draw: Draw) -> Batch:
        """Gather the samples of a draw ``(..., member, sample)``."""
        ...


@dataclass(frozen=True)
class Samples:
    """All cell-days of the development period, land cells only, contiguous: in memory, mapped from a file, on a GPU.

    Parameters
    ----------
    dynamic
        ``(cell, time, feature)`` float32, normalised.
    static
        ``(cell, feature)`` float32, normalised.
    target
        ``(cell, time)`` float32, in the space of the loss; 0 where missing.
    water_sign
        dW_t of Eq. 12 after Eq. 13, ``(cell, time)`` int8.
    to_loss_space
        ``(cell, 2)`` float32, scale and offset that take a normalised forecast to the space of the loss.
    length
        Days that the network sees.
    mapped
        Arrays that are mapped from files and whose pages `gather` lets go, so that memory stays free.
    """

    dynamic: Tensor
    static: Tensor
    target: Tensor
    water_sign: Tensor
    to_loss_space: Tensor
    length: int
    mapped: Sequence[npt.NDArray[np.generic]] = ()

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.dynamic.device

    def to(self, device: torch.device) -> Samples:
        """Move to a device; what is mapped from files or does not fit stays where it is, and its batches are moved."""
        names = ("dynamic", "static", "target", "water_sign", "to_loss_space")
        if device.type == "cpu" or self.mapped:
            return self
        if sum(getattr(self, name).nbytes for name in names) > SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0]:
            return self
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def gather(self, draw: Draw) -> Batch:
        """Gather the samples of a draw ``(..., member, sample)``: one gather an array, no Python per sample."""
        cells, days = (torch.from_numpy(one).to(self.device) for one in (draw.cells, draw.days))
        windows = gather_windows(self.dynamic, self.static, cells, days, self.length)
        at = cells * self.target.shape[1] + days
        observed, before = self.target.view(-1)[at], self.target.view(-1)[at - 1]
        sign = self.water_sign.view(-1)[at].to(torch.float32)
        scale, offset = self.to_loss_space[cells].unbind(-1)
        forget_pages(self.mapped)
        return Batch(windows, Targets(observed, before, sign, scale, offset))


def gather_windows(dynamic: Tensor, static: Tensor, cells: Tensor, days: Tensor, length: int) -> Tensor:
    """Gather the ``length`` days before each of the ``days``, the static features repeated at every one.

    Parameters
    ----------
    dynamic, static
        ``(cell, time, feature)`` and ``(cell, feature)``.
    cells, days
        Positions of one shape ``(..., sample)``.

    Returns
    -------
    ``(..., length, sample, feature)``, dynamic features first.
    """
    first = cells * dynamic.shape[1] + days
    steps = torch.arange(-length, 0, device=days.device).unsqueeze(-1)
    seen = dynamic.view(-1, dynamic.shape[2])[first.unsqueeze(-2) + steps]
    repeated = static[cells].unsqueeze(-3).expand(*seen.shape[:-1], static.shape[1])
    return torch.cat((seen, repeated), dim=-1)


class CellDays:
    """The usable cell-days of a period, numbered in the order of cells and days.

    Parameters
    ----------
    usable
        ``(cell, time)``.
    period
        Positions of the days that count.
    """

    def __init__(self, usable: npt.NDArray[np.bool_], period: slice = slice(None)) -> None:
        self.first = period.indices(usable.shape[1])[0]
        self.usable = usable[:, period]
        self.by_cell = np.count_nonzero(self.usable, axis=1)
        self._ends = np.cumsum(self.by_cell)
        # As small as they can be: a globe at half a degree has tens of millions of them.
        self._days = np.empty(int(self._ends[-1]), dtype=np.min_scalar_type(usable.shape[1]))
        for row, end, count in zip(self.usable, self._ends, self.by_cell, strict=True):
            self._days[end - count : end] = np.flatnonzero(row) + self.first

    def __len__(self) -> int:
        return len(self._days)

    def at(self, numbers: Indices) -> Draw:
        """Cells and days of some numbers of any shape."""
        return Draw(np.searchsorted(self._ends, numbers, side="right"), self._days[numbers].astype(np.int64))


def draw_cell_days(usable: CellDays, batches: int, size: int, random: np.random.Generator) -> Draw:
    """Draw independent cell-days ``(batches, size)``, uniformly among the usable ones, with replacement."""
    return usable.at(random.integers(len(usable), size=(batches, size)))


def draw_shared_days(usable: CellDays, batches: int, size: int, random: np.random.Generator) -> Draw:
    """Draw one day for each batch, and cells that are usable on it, as the authors' code does."""
    days = random.choice(np.flatnonzero(usable.usable.any(axis=0)), size=batches)
    cells = np.stack([random.choice(np.flatnonzero(usable.usable[:, day]), size=size) for day in days])
    return Draw(cells, np.repeat(days[:, np.newaxis] + usable.first, size, axis=1))


SAMPLERS: dict[str, Callable[[CellDays, int, int, np.random.Generator], Draw]] = {
    "cell_days": draw_cell_days,
    "shared_day": draw_shared_days,
}


def fixed_sample(usable: CellDays, largest: int, seed: int) -> Draw:
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
