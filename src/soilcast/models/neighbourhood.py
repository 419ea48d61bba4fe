"""Trunks that read the windows of a cell and of the cells around it on the grid."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from soilcast.models.design import NetworkDesign

_KERNEL = 3
"""Width of a convolution [cell], and of one in time [step]."""

_DILATIONS = (1, 2, 4)


class _Neighbourhood(nn.Module):
    """What both trunks do: lay the cells around a cell out as a picture."""

    needs: ClassVar = frozenset({"neighbours"})

    def __init__(self, design: NetworkDesign) -> None:
        super().__init__()
        layout = design.layout
        self._around, self.width = layout.channels["around"], layout.task.neighbourhood
        self.channels = layout.own_features + 1  # and whether the cell is there

    def pictures(self, windows: Tensor) -> Tensor:
        """Lay out windows ``(sample, step, feature)`` as ``(sample, step, channel, row, column)``."""
        own = windows[..., : self._around.start]
        own = torch.cat((own, torch.ones_like(own[..., :1])), dim=-1).unsqueeze(-2)
        around = windows[..., self._around].reshape(*windows.shape[:2], -1, self.channels)
        middle = around.shape[-2] // 2
        cells = torch.cat((around[..., :middle, :], own, around[..., middle:, :]), dim=-2)
        return cells.transpose(-1, -2).reshape(*windows.shape[:2], self.channels, self.width, self.width)


class CNN(_Neighbourhood):
    """A convolutional network: over the neighbourhood of each step, then over the steps so far.

    With X the picture of a step, * a convolution and t a step::

        u_t    = ReLU(W * X_t + b), the kernel as wide as the neighbourhood
        u_t   := ReLU(u_t + sum_k V_k u_(t - k d) + b), k = 0, 1, 2, for each dilation d = 1, 2, 4
        states = u

    The convolutions in time are causal and dilated (Bai et al. 2018, arXiv:1803.01271) and see 15 steps.
    """

    def __init__(self, design: NetworkDesign) -> None:
        super().__init__(design)
        hidden = design.hidden_size
        self.space = nn.Conv2d(self.channels, hidden, self.width)
        self.time = nn.ModuleList(nn.Conv1d(hidden, hidden, _KERNEL, dilation=dilation) for dilation in _DILATIONS)

    def forward(self, windows: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See `soilcast.models.design.NETWORKS`; the memory are all steps so far."""
        seen = windows if memory is None else torch.cat((memory, windows), dim=1)
        maps = torch.relu(self.space(self.pictures(seen).flatten(0, 1)))
        states = maps.view(*seen.shape[:2], -1).transpose(1, 2)
        for layer, dilation in zip(self.time, _DILATIONS, strict=True):
            states = torch.relu(states + layer(functional.pad(states, ((_KERNEL - 1) * dilation, 0))))
        return states.transpose(1, 2)[:, -windows.shape[1] :], seen


class ConvLSTM(_Neighbourhood):
    """The convolutional LSTM of Shi et al. (2015), arXiv:1506.04214, Eq. 3 there without peepholes.

    With X the picture of a step, * a convolution of 3 x 3 cells, and h and c maps of the neighbourhood::

        i  = sigmoid(W_i * X + U_i * h + b_i)
        f  = sigmoid(W_f * X + U_f * h + b_f)
        g  = tanh(W_g * X + U_g * h + b_g)
        o  = sigmoid(W_o * X + U_o * h + b_o)
        c' = f c + i g
        h' = o tanh(c')

    The states are those of h in the cell itself. Beyond the neighbourhood everything is 0.
    """

    def __init__(self, design: NetworkDesign) -> None:
        super().__init__(design)
        self._hidden = design.hidden_size
        padding = _KERNEL // 2
        self.inputs = nn.Conv2d(self.channels, 4 * self._hidden, _KERNEL, padding=padding)
        self.output = nn.Conv2d(self._hidden, 4 * self._hidden, _KERNEL, padding=padding, bias=False)

    def forward(
        self, windows: Tensor, memory: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """See `soilcast.models.design.NETWORKS`; the memory are the maps h and c."""
        pictures = self.pictures(windows)
        from_inputs = self.inputs(pictures.flatten(0, 1))
        from_inputs = from_inputs.view(*pictures.shape[:2], *from_inputs.shape[1:])
        states = []
        for step in range(windows.shape[1]):
            sums = from_inputs[:, step] if memory is None else from_inputs[:, step] + self.output(memory[0])
            enter, forget, new, leave = sums.chunk(4, dim=1)
            cell = torch.sigmoid(enter) * torch.tanh(new)
            if memory is not None:
                cell = cell + torch.sigmoid(forget) * memory[1]
            memory = torch.sigmoid(leave) * torch.tanh(cell), cell
            states.append(memory[0][..., self.width // 2, self.width // 2])
        assert memory is not None, "a window has a step"
        return torch.stack(states, dim=1), memory
