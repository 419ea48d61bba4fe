"""Point sampling (Fang & Shen, 2020): batches are draws of cells and days, not sweeps over all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from soilcast.training.inputs import Inputs
from soilcast.water.balance import Signs
from soilcast.water.losses import Outcome

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Draw:
    """Cell-days by position: the day is the one to forecast. Both of one shape, such as ``(batch, sample)``."""

    cells: Indices
    days: Indices


@dataclass(frozen=True)
class Samples:
    """All cell-days of the development period, land cells only, contiguous in memory.

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
    """

    dynamic: Tensor
    static: Tensor
    target: Tensor
    water_sign: Tensor
    to_loss_space: Tensor
    length: int

    def windows(self, draw: Draw) -> Tensor:
        """Gather the inputs of a draw, ``(..., day, feature)``: one gather, no Python per sample."""
        cells, days = torch.from_numpy(draw.cells), torch.from_numpy(draw.days)
        return gather_windows(self.dynamic, self.static, cells, days, self.length)

    def outcome(self, draw: Draw, predicted: Tensor) -> Outcome:
        """Lay normalised forecasts ``(...)`` of a draw beside what was observed, in the space of the loss."""
        cells, days = torch.from_numpy(draw.cells), torch.from_numpy(draw.days)
        scale, offset = self.to_loss_space[cells].unbind(-1)
        return Outcome(
            predicted=predicted * scale + offset,
            observed=self.target[cells, days],
            observed_before=self.target[cells, days - 1],
            water_sign=self.water_sign[cells, days].to(torch.float32),
        )


def make_samples(
    inputs: Inputs,
    target: npt.NDArray[np.float32],
    signs: Signs,
    to_loss_space: npt.NDArray[np.float32],
    length: int,
) -> Samples:
    """Move arrays to tensors; shapes as in `Samples`. Missing targets become 0: draws avoid them."""
    return Samples(
        dynamic=torch.from_numpy(inputs.dynamic),
        static=torch.from_numpy(inputs.static),
        target=torch.from_numpy(np.nan_to_num(target)),
        water_sign=torch.from_numpy(signs),
        to_loss_space=torch.from_numpy(to_loss_space),
        length=length,
    )


def gather_windows(dynamic: Tensor, static: Tensor, cells: Tensor, days: Tensor, length: int) -> Tensor:
    """Gather the ``length`` days before each of the ``days``, the static features repeated at every one.

    Parameters
    ----------
    dynamic, static
        ``(cell, time, feature)`` and ``(cell, feature)``.
    cells, days
        Positions of one shape ``(...)``.

    Returns
    -------
    ``(..., length, feature)``, dynamic features first.
    """
    steps = days.unsqueeze(-1) + torch.arange(-length, 0)
    seen = dynamic[cells.unsqueeze(-1), steps]
    repeated = static[cells].unsqueeze(-2).expand(*steps.shape, static.shape[1])
    return torch.cat((seen, repeated), dim=-1)


def draw_cell_days(usable: npt.NDArray[np.bool_], batches: int, size: int, random: np.random.Generator) -> Draw:
    """Draw independent cell-days, uniformly among the usable ones, with replacement.

    Parameters
    ----------
    usable
        ``(cell, time)``.

    Returns
    -------
    ``(batches, size)``.
    """
    flat = np.flatnonzero(usable)
    return _unravel(flat[random.integers(len(flat), size=(batches, size))], usable.shape[1])


def draw_shared_days(usable: npt.NDArray[np.bool_], batches: int, size: int, random: np.random.Generator) -> Draw:
    """Draw one day for each batch, and cells that are usable on it, as the authors' code does."""
    days = random.choice(np.flatnonzero(usable.any(axis=0)), size=batches)
    cells = np.stack([random.choice(np.flatnonzero(usable[:, day]), size=size) for day in days])
    return Draw(cells, np.repeat(days[:, np.newaxis], size, axis=1))


SAMPLERS: dict[str, Callable[[npt.NDArray[np.bool_], int, int, np.random.Generator], Draw]] = {
    "cell_days": draw_cell_days,
    "shared_day": draw_shared_days,
}


def fixed_sample(usable: npt.NDArray[np.bool_], largest: int, seed: int) -> Draw:
    """Take the validation sample: all usable cell-days, or a seeded choice without repetition if there are more.

    Parameters
    ----------
    usable
        ``(cell, time)``.
    largest
        Most cell-days to take; 0 for all.

    Returns
    -------
    ``(sample,)``, in the order of cells and days.
    """
    flat = np.flatnonzero(usable)
    if 0 < largest < len(flat):
        flat = np.sort(np.random.default_rng([seed, len(flat)]).choice(flat, size=largest, replace=False))
    return _unravel(flat, usable.shape[1])


def _unravel(flat: Indices, days: int) -> Draw:
    return Draw(flat // days, flat % days)
