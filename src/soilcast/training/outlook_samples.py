"""Samples of outlooks: windows of an issue day, and what came of the days ahead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from soilcast.models.horizon import Horizon
from soilcast.training.arrays import forget_pages
from soilcast.training.known import Known
from soilcast.training.samples import SHARE_OF_GPU, Batch, Draw


@dataclass(frozen=True)
class OutlookOutcome:
    """What the loss of an outlook looks at: forecasts ``(member, sample, lead, layer, number)`` and what came of them.

    Parameters
    ----------
    said
        What the network says: normalised soil moisture, the raw numbers of its distribution, its answer to rain.
    targets
        What came of it.
    """

    said: Tensor
    targets: OutlookTargets


@dataclass(frozen=True)
class OutlookTargets:
    """What a loss compares outlooks with; leading axes ``...`` end with ``member``.

    Parameters
    ----------
    observed
        Normalised soil moisture of the days ahead ``(..., sample, lead, layer)``; NaN where missing.
    sharpness
        What takes an error of normalised soil moisture to units in which persistence errs by 1,
        ``(..., sample, lead, layer)``.
    before
        Normalised soil moisture of the issue day ``(..., sample, layer)``; NaN where missing.
    water_sign
        dW of the days ahead (Eq. 12 after Eq. 13), ``(..., sample, lead)``.
    depth
        How much of the water that dW is of lies in each layer, for a unit of its normalised soil moisture, in units in
        which persistence errs by 1, ``(..., sample, layer)``.
    bounds
        Normalised 0 and porosity ``(..., sample, layer, 2)``.
    """

    observed: Tensor
    sharpness: Tensor
    before: Tensor
    water_sign: Tensor
    depth: Tensor
    bounds: Tensor

    def outcome(self, said: Tensor) -> OutlookOutcome:
        """Lay what a network says beside it."""
        return OutlookOutcome(said, self)

    def changed(self, change: Callable[[Tensor], Tensor]) -> OutlookTargets:
        """Do the same to all parts."""
        return OutlookTargets(*(change(getattr(self, field.name)) for field in fields(self)))


@dataclass(frozen=True)
class OutlookSamples:
    """All cell-days of the development period, for outlooks: in memory, mapped from a file, or on a GPU.

    A draw names the first day ahead, as that of `soilcast.training.samples.Samples` names the day that is forecast.

    Parameters
    ----------
    known
        What windows are cut from.
    horizon
        How.
    observed
        Normalised soil moisture of the layers to forecast ``(cell, time, layer)`` float32; NaN where missing.
    sharpness
        ``(cell, lead, layer)`` float32, see `OutlookTargets`.
    water_sign
        ``(cell, time)`` int8.
    depth, bounds
        ``(cell, layer)`` and ``(cell, layer, 2)`` float32.
    mapped
        Arrays that are mapped from files and whose pages `gather` lets go.
    """

    known: Known
    horizon: Horizon
    observed: Tensor
    sharpness: Tensor
    water_sign: Tensor
    depth: Tensor
    bounds: Tensor
    mapped: Sequence[npt.NDArray[np.generic]] = ()

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.observed.device

    def to(self, device: torch.device) -> OutlookSamples:
        """Move to a device; what is mapped from files or does not fit stays where it is, and its batches are moved."""
        names = ("observed", "sharpness", "water_sign", "depth", "bounds")
        if device.type == "cpu" or self.mapped:
            return self
        size = self.known.dynamic.nbytes + self.known.lags.nbytes + self.known.anchor.nbytes + self.observed.nbytes
        if size > SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0]:
            return self
        moved = {field.name: getattr(self.known, field.name).to(device) for field in fields(Known)}
        return replace(self, known=Known(**moved), **{name: getattr(self, name).to(device) for name in names})

    def gather(self, draw: Draw) -> Batch:
        """Gather the samples of a draw ``(..., member, sample)``: one gather an array, no Python per sample."""
        cells = torch.from_numpy(draw.cells).to(self.device)
        days = torch.from_numpy(draw.days).to(self.device)
        windows = self.known.gather(self.horizon, cells, days)
        ahead = days.unsqueeze(-1) + torch.arange(self.horizon.leads, device=self.device)
        targets = OutlookTargets(
            observed=self.observed[cells.unsqueeze(-1), ahead],
            sharpness=self.sharpness[cells],
            before=self.observed[cells, days - 1],
            water_sign=self.water_sign[cells.unsqueeze(-1), ahead].to(torch.float32),
            depth=self.depth[cells],
            bounds=self.bounds[cells],
        )
        forget_pages(self.mapped)
        return Batch(windows, targets)
