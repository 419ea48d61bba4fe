"""Which hidden units dropout keeps: drawn from seeds and numbers alone, the same for every process and thread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_BITS = 2**16


class DropoutMask:
    """Masks of consecutive batches.

    Parameters
    ----------
    rate
        Share of units that are dropped.
    shape
        ``(row, hidden)`` of a sample: see `soilcast.models.network.Network.mask_shape`.
    seeds
        One a member.
    numbers
        What the masks are for, such as the epoch and the purpose.
    """

    def __init__(self, rate: float, shape: tuple[int, int], seeds: Sequence[int], *numbers: int) -> None:
        self.below = round(rate * _BITS)
        self._shape = shape
        self._random = [np.random.default_rng([seed, *numbers]) for seed in seeds]

    def draw(self, samples: int) -> Tensor | None:
        """Draw for the next batch: ``(member, sample, row, hidden)``, 0 or what makes up for those; None for all."""
        drawn = self.drawn(samples)
        if drawn is None:
            return None
        return torch.from_numpy(drawn >= self.below).to(torch.float32).mul_(_BITS / (_BITS - self.below))

    def drawn(self, samples: int) -> npt.NDArray[np.uint16] | None:
        """Draw numbers instead: units below `below` are dropped."""
        if not self.below:
            return None
        size = (samples, *self._shape)
        return np.stack([random.integers(0, _BITS, size, dtype=np.uint16) for random in self._random])
