"""How forecasts and the slopes of a loss by the parameters are computed: by torch, or written out for a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from soilcast.models.lstm import LSTM
from soilcast.models.members import Members
from soilcast.models.recurrence import Recurrence, RecurrentWeights, last_output, last_outputs


class Pass(Protocol):
    """Forward and backward of all members at once.

    Attributes
    ----------
    hidden_size
        Units that dropout acts on and that ``kept`` is for; 0 if the networks drop by themselves.
    """

    hidden_size: int

    def forward(self, windows: Tensor, kept: Tensor | None) -> Tensor:
        """Forecast ``(member, sample)`` from windows ``(member, day, sample, feature)``; outlooks have more axes.

        ``kept (member, sample, hidden)`` holds 0 for a unit that is dropped, else what makes up for those.
        """
        ...

    def backward(self, slope: Tensor) -> None:
        """Write the slopes by the parameters, from those by the forecasts ``(member, sample)``."""
        ...

    def infer(self, windows: Tensor, kept: Tensor | None = None) -> Tensor:
        """Forecast ``(member, sample)`` without a way back; with dropout only if ``kept`` is given."""
        ...

    def sweep(self, sequences: Tensor, length: int) -> Tensor:
        """Forecast ``(member, cell, day - length + 1)`` from every window of ``sequences (cell, day, feature)``."""
        ...


class AutogradPass:
    """Any torch module, by automatic differentiation, one member after the other."""

    hidden_size = 0

    def __init__(self, members: Members, product: torch.dtype) -> None:
        self._members, self._product = members, product

    def forward(self, windows: Tensor, kept: Tensor | None) -> Tensor:
        """See `Pass`."""
        del kept
        with self._mixed(windows):
            pairs = zip(self._members.networks, windows.transpose(1, 2), strict=True)
            self._predicted = torch.stack([network(inputs) for network, inputs in pairs]).float()
        return self._predicted.detach()

    def backward(self, slope: Tensor) -> None:
        """See `Pass`."""
        self._members.slopes.zero_()
        self._predicted.backward(slope)  # type: ignore[no-untyped-call]

    def infer(self, windows: Tensor, kept: Tensor | None = None) -> Tensor:
        """See `Pass`."""
        del kept
        with torch.inference_mode(), self._mixed(windows):
            pairs = zip(self._members.networks, windows.transpose(1, 2), strict=True)
            return torch.stack([network(inputs) for network, inputs in pairs]).float()

    def sweep(self, sequences: Tensor, length: int) -> Tensor:
        """See `Pass`."""
        windows = sequences.unfold(1, length, 1).transpose(2, 3)
        with torch.inference_mode(), self._mixed(windows):
            forecasts = torch.stack([network(windows.flatten(0, 1)) for network in self._members.networks])
            return forecasts.float().view(len(forecasts), *windows.shape[:2])

    def _mixed(self, tensor: Tensor) -> torch.autocast:
        return torch.autocast(tensor.device.type, self._product, enabled=self._product != torch.float32)


class LSTMPass:
    """The LSTM of Eq. 1-7, written out."""

    def __init__(self, members: Members, product: torch.dtype) -> None:
        first = members.networks[0]
        assert isinstance(first, LSTM)
        self.hidden_size = first.head.in_features
        self._members, self._product = members, product
        self._recurrence = Recurrence(self._recurrent(members.weights), self._recurrent(members.slopes), product)

    def forward(self, windows: Tensor, kept: Tensor | None) -> Tensor:
        """See `Pass`."""
        output = self._recurrence.forward(windows)
        self._kept, self._output = kept, output if kept is None else output * kept
        return self._head(self._output)

    def backward(self, slope: Tensor) -> None:
        """See `Pass`."""
        weight = self._members.of(self._members.weights, "head.weight")
        torch.bmm(slope.unsqueeze(1), self._output, out=self._members.of(self._members.slopes, "head.weight"))
        torch.sum(slope, dim=1, keepdim=True, out=self._members.of(self._members.slopes, "head.bias"))
        of_output = slope.unsqueeze(2) * weight
        self._recurrence.backward(of_output if self._kept is None else of_output.mul_(self._kept))

    def infer(self, windows: Tensor, kept: Tensor | None = None) -> Tensor:
        """See `Pass`."""
        output = last_output(windows, self._recurrence.weights, self._product).float()
        return self._head(output if kept is None else output * kept)

    def sweep(self, sequences: Tensor, length: int) -> Tensor:
        """See `Pass`."""
        forecasts = []
        for member in range(len(self._members.networks)):
            weights = self._recurrent(self._members.weights[member : member + 1])
            output = last_outputs(sequences, length, weights, self._product)
            forecasts.append(self._head(output.float().flatten(0, 1).unsqueeze(0), slice(member, member + 1))[0])
        return torch.stack(forecasts).view(len(forecasts), len(sequences), -1)

    def _head(self, output: Tensor, members: slice = slice(None)) -> Tensor:
        weight, bias = (self._members.of(self._members.weights, f"head.{part}")[members] for part in ("weight", "bias"))
        return torch.baddbmm(bias.unsqueeze(1), output, weight.transpose(1, 2)).squeeze(2)

    def _recurrent(self, stacked: Tensor) -> RecurrentWeights:
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        return RecurrentWeights(*(self._members.of(stacked, f"lstm.{name}") for name in names))


PASSES: dict[type[nn.Module], Callable[[Members, torch.dtype], Pass]] = {LSTM: LSTMPass}
"""Networks whose pass is written out; automatic differentiation serves all others."""


PRODUCTS: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Types of matrix products by the name that a config or an option gives."""


def make_pass(members: Members, product: torch.dtype = torch.float32) -> Pass:
    """Choose the pass of some networks.

    Parameters
    ----------
    product
        Type of the matrix products: float32, or bfloat16 for mixed precision.
    """
    return PASSES.get(type(members.networks[0]), AutogradPass)(members, product)
