"""An LSTM's forward pass and back-propagation through time (Eq. 1-6), written out for several members at once on a GPU.

The members of an ensemble lie side by side in one tensor, so that each product trains all of them. On a CPU the native
engine does the same (`soilcast.models.native`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from soilcast.models.members import Members


@dataclass(frozen=True)
class RecurrentWeights:
    """The parameters of ``nn.LSTM`` of each member, or the gradients of the loss with respect to them.

    Parameters
    ----------
    inputs, output
        W ``(member, 4 * hidden, feature)`` and U ``(member, 4 * hidden, hidden)``.
    bias_inputs, bias_output
        The two halves of b that torch keeps, ``(member, 4 * hidden)``.
    """

    inputs: Tensor
    output: Tensor
    bias_inputs: Tensor
    bias_output: Tensor


def recurrent_weights(members: Members, stacked: Tensor) -> RecurrentWeights:
    """Give the trunk's part of the weights of all members, or of what is like them."""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return RecurrentWeights(*(members.of(stacked, f"trunk.{name}") for name in names))


class Recurrence(Protocol):
    """Forward and backward through time of all members, whose parameters are read anew on every call."""

    def forward(self, windows: Tensor, count: int = 1) -> Tensor:
        """Give h of the last days, from c_0 = h_0 = 0, and keep what `backward` needs.

        Parameters
        ----------
        windows
            ``(member, day, sample, feature)`` float32.
        count
            How many days.

        Returns
        -------
        ``(member, count, sample, hidden)``.
        """
        ...

    def backward(self, grad: Tensor) -> None:
        """Write the gradients with respect to the parameters, from that with respect to what `forward` gave."""
        ...

    def infer(self, windows: Tensor, count: int = 1) -> Tensor:
        """Give what `forward` gives, without keeping anything."""
        ...

    def infer_sequences(self, sequences: Tensor, length: int) -> Tensor:
        """Give h of the last day of every window of ``length`` days in sequences ``(cell, day, feature)`` float32.

        Returns
        -------
        ``(member, cell, day - length + 1, hidden)``, by the first day of the window.
        """
        ...


_Saved = list[tuple[Tensor, Tensor, Tensor]]
"""c_{t-1}, c_t and the activations of each day."""


class FusedRecurrence:
    """Forward and backward on a GPU, where the number of kernels counts: between the products there is one a day.

    Parameters
    ----------
    weights
        The parameters.
    gradients
        Where `backward` writes the gradients with respect to them.
    product
        Type of the matrix products: float32, or bfloat16 for mixed precision (sums, cells and gradients stay float32).
    """

    def __init__(self, weights: RecurrentWeights, gradients: RecurrentWeights, product: torch.dtype) -> None:
        self.weights, self.gradients, self.product = weights, gradients, product
        self._saved: _Saved = []

    def forward(self, windows: Tensor, count: int = 1) -> Tensor:
        """See `Recurrence`."""
        self._saved = []
        self._windows = windows
        outputs = self._unroll(self._projected(windows).unbind(1), self._saved)
        self._outputs = torch.stack(outputs, dim=1)
        return self._outputs[:, -count:]

    def backward(self, grad: Tensor) -> None:
        """See `Recurrence`."""
        count = grad.shape[1]
        grad_output, grad_cell = grad[:, -1], torch.zeros_like(self._saved[-1][1])
        grad_sums_by_day: list[Tensor] = []
        for position, (before, cell, gates) in enumerate(reversed(self._saved)):
            if position:
                grad_output = self._multiplied(grad_sums_by_day[-1], self.weights.output)
                if position < count:
                    grad_output = grad_output + grad[:, count - 1 - position]
            grad_sums, grad_cell = fused_backward(grad_output, grad_cell, before, cell, gates)
            grad_sums_by_day.append(grad_sums)
        self._write_gradients(torch.stack(grad_sums_by_day[::-1], dim=1).flatten(1, 2))

    def infer(self, windows: Tensor, count: int = 1) -> Tensor:
        """See `Recurrence`."""
        return torch.stack(self._unroll(self._projected(windows).unbind(1))[-count:], dim=1)

    def infer_sequences(self, sequences: Tensor, length: int) -> Tensor:
        """See `Recurrence`; what the inputs of a day add to the sums is computed once, not for every window."""
        members, (cells, days, _) = len(self.weights.inputs), sequences.shape
        count = days - length + 1
        sums = self._projected(sequences.expand(members, -1, -1, -1))
        windows = (sums[:, :, day : day + count].flatten(1, 2) for day in range(length))
        return self._unroll(windows)[-1].view(members, cells, count, -1)

    def _projected(self, inputs: Tensor) -> Tensor:
        """What inputs ``(member, ..., feature)`` add to the sums, with the biases."""
        weights = self.weights
        bias = (weights.bias_inputs + weights.bias_output).unsqueeze(1)
        sums = torch.baddbmm(bias, inputs.flatten(1, -2), weights.inputs.transpose(1, 2))
        return sums.view(*inputs.shape[:-1], -1)

    def _unroll(self, by_day: Iterable[Tensor], saved: _Saved | None = None) -> list[Tensor]:
        """Step through what the inputs of each day add to the sums ``(member, sample, gate)``; give h of each day."""
        recurrent = self.weights.output.transpose(1, 2)
        outputs: list[Tensor] = []
        cell = torch.empty(0)
        for from_inputs in by_day:
            if outputs:
                from_output = self._multiplied(outputs[-1], recurrent)
            else:
                from_output = torch.zeros_like(from_inputs)
                cell = from_inputs.new_zeros(*from_inputs.shape[:2], recurrent.shape[1])
            before = cell
            output, cell, gates = fused_forward(from_inputs.contiguous(), from_output, before)
            if saved is not None:
                saved.append((before, cell, gates))
            outputs.append(output)
        return outputs

    def _multiplied(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.bmm(left.to(self.product), right.to(self.product)).float()

    def _write_gradients(self, grad_sums: Tensor) -> None:
        """Gradients with respect to the parameters, from those of the sums, ``(member, day * sample, gate)``."""
        windows, gradients, samples = self._windows, self.gradients, self._windows.shape[2]
        gradients.inputs.copy_(torch.bmm(grad_sums.transpose(1, 2), windows.flatten(1, 2)))
        after, before = grad_sums[:, samples:].transpose(1, 2), self._outputs.flatten(1, 2)[:, :-samples]
        gradients.output.copy_(self._multiplied(after, before))
        torch.sum(grad_sums, dim=1, out=gradients.bias_inputs)
        gradients.bias_output.copy_(gradients.bias_inputs)


def fused_forward(from_inputs: Tensor, from_output: Tensor, before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Take one day's step with one kernel, that of ``nn.LSTMCell`` on a GPU.

    Parameters
    ----------
    from_inputs, from_output
        The parts of the sums ``(member, sample, 4 * hidden)``.
    before
        c_{t-1} ``(member, sample, hidden)``.

    Returns
    -------
    h_t, c_t, and the activations for `fused_backward`.
    """
    flat = (tensor.flatten(0, 1) for tensor in (from_inputs, from_output, before))
    outputs = torch.ops.aten._thnn_fused_lstm_cell(*flat)
    output, cell, gates = (tensor.unflatten(0, before.shape[:2]) for tensor in outputs)
    return output, cell, gates


def fused_backward(
    grad_output: Tensor, grad_cell: Tensor, before: Tensor, cell: Tensor, gates: Tensor
) -> tuple[Tensor, Tensor]:
    """Take one day's step back with one kernel.

    Parameters
    ----------
    grad_output, grad_cell
        Gradients of the loss with respect to h_t, and to c_t from the days after, ``(member, sample, hidden)``.
    before, cell, gates
        c_{t-1}, and what `fused_forward` gave.

    Returns
    -------
    Gradients with respect to the sums and to c_{t-1}.
    """
    flat = (tensor.flatten(0, 1) for tensor in (grad_output, grad_cell, before, cell, gates))
    gradients = torch.ops.aten._thnn_fused_lstm_cell_backward_impl(*flat, False)
    grad_sums, grad_previous_cell = (tensor.unflatten(0, before.shape[:2]) for tensor in gradients[:2])
    return grad_sums, grad_previous_cell
