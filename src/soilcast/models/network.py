"""A network: a trunk that reads the window, dropout, and a head that makes forecasts of its states."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from soilcast.models.design import HEADS, NETWORKS, NetworkDesign
from soilcast.models.heads import ClosingHead, RolloutHead
from soilcast.models.trunks import EALSTM

_MORE_RAIN = 0.5
"""How much more rain the response is to, in units of the normalised rain."""


class Network(nn.Module):
    """A trunk and a head.

    Parameters
    ----------
    design
        See `soilcast.models.design.NetworkDesign`.

    Attributes
    ----------
    mask_shape
        Of the dropout masks of a sample: how many states the head takes, and the hidden units of each.
    output_shape
        Of a sample's forecast: leads, layers, and the numbers of `forward`.
    """

    def __init__(self, design: NetworkDesign) -> None:
        super().__init__()
        self.design = design
        self.trunk = NETWORKS[design.network](design)
        self.head = HEADS[design.head](design)
        self.mask_shape = self.head.mask_rows, design.hidden_size
        numbers = 1 + len(design.spread) + (design.rain_response is not None)
        self.output_shape = design.layout.task.lead_days, len(design.layout.task.layers), numbers

    def forward(self, windows: Tensor, mask: Tensor | None = None) -> Tensor:
        """Forecast.

        Parameters
        ----------
        windows
            ``(sample, step, feature)`` float32, as `soilcast.task.Layout.channels` lays them out.
        mask
            Dropout ``(sample, row, hidden)`` by `mask_shape`: 0 for a unit that is dropped, else what makes up for
            those; None for no dropout.

        Returns
        -------
        ``(sample, lead, layer, number)``: normalised soil moisture, the raw numbers of its predictive distribution,
        and, if the design asks for it, how much the forecast grows with more rain (0 outside training).
        """
        output = self._forecast(windows, mask)
        if self.design.rain_response is None:
            return output
        response = output.new_zeros(*output.shape[:-1], 1)
        if self.training:
            # The same mask, so that the response is to the rain alone.
            response = self._forecast(self._with_more_rain(windows), mask)[..., :1] - output[..., :1]
        return torch.cat((output, response), dim=-1)

    def _forecast(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        if isinstance(self.head, RolloutHead):
            return self.head.roll_out(self.trunk, windows, mask)
        forecast: Tensor = self.head(self._states(windows), windows, mask)
        return forecast

    def absent(self) -> Mapping[str, Tensor]:
        """Mark by parameter the connections that the trunk lacks, whose weights are 0 and stay so; none for most."""
        of_trunk = self.trunk.absent() if isinstance(self.trunk, EALSTM) else {}
        return {f"trunk.{name}": absent for name, absent in of_trunk.items()}

    def closure_residual(self, windows: Tensor) -> Tensor:
        """Give the largest residual of the water balance of a `ClosingHead` over windows ``()`` [m]."""
        assert isinstance(self.head, ClosingHead)
        return self.head.closure_residual(self._states(windows), windows)

    def _states(self, windows: Tensor) -> Tensor:
        used = self.head.used_steps
        states, _ = self.trunk(windows[:, : used.stop, : self.design.layout.features])
        used_states: Tensor = states[:, used]
        return used_states

    def _with_more_rain(self, windows: Tensor) -> Tensor:
        assert self.design.rain_response is not None
        layout = self.design.layout
        changed = windows.clone()
        changed[:, layout.task.window - 1 :, layout.channels["ahead"].start + self.design.rain_response] += _MORE_RAIN
        return changed
