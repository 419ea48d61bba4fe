"""An LSTM's forward pass and back-propagation through time, written out (Eq. 1-6), for several members at once.

Automatic differentiation of ``nn.LSTM`` records and allocates anew on every step what is always the same. Here the
buffers stay, matrix products go straight into them, and the rest is one pass a day (`soilcast.models.lstm_kernel`); on
a GPU a captured step keeps its buffers. The members of an ensemble lie side by side in one tensor, so that a GPU trains
all of them with each product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from soilcast.models.lstm_kernel import BoundStep, bind_backward, bind_forward, fused_backward, fused_forward, infer


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


class Recurrence:
    """Forward and backward through time.

    Parameters
    ----------
    weights
        The parameters; read anew on every call.
    gradients
        Where `backward` writes the gradients with respect to them.
    product
        Type of the matrix products: float32, or bfloat16 for mixed precision (sums, cells and gradients stay float32).
    """

    def __init__(self, weights: RecurrentWeights, gradients: RecurrentWeights, product: torch.dtype) -> None:
        self.weights, self.gradients, self.product = weights, gradients, product
        self._buffers: _Buffers | None = None

    def forward(self, windows: Tensor, count: int = 1) -> Tensor:
        """Give h of the last days, from c_0 = h_0 = 0.

        Parameters
        ----------
        windows
            ``(member, day, sample, feature)`` float32, contiguous.
        count
            How many days.

        Returns
        -------
        ``(member, count, sample, hidden)``; a buffer that the next call writes over.
        """
        shape = (*windows.shape[:3], self.weights.output.shape[-1])
        buffers = self._buffers
        if buffers is None or buffers.output.shape != shape:
            buffers = self._buffers = _Buffers(shape, windows.device)
        self._windows = windows
        recurrent = self.weights.output.transpose(1, 2).to(self.product)
        _project(windows, self.weights, buffers.gates)
        for day, (gates, output_before, step) in enumerate(buffers.forward):
            if day:
                self._add_product(gates, output_before, recurrent)
            step()
        return buffers.output[:, -count:]

    def backward(self, grad: Tensor) -> None:
        """Write the gradients with respect to the parameters.

        Parameters
        ----------
        grad
            Gradient of the loss with respect to what `forward` gave, ``(member, count, sample, hidden)``.
        """
        buffers = self._buffers
        assert buffers is not None, "forward comes first"
        recurrent = self.weights.output.to(self.product)
        count = grad.shape[1]
        buffers.grad_output.copy_(grad[:, -1])
        for position, (gates, step) in enumerate(buffers.backward):
            step()
            if position < len(buffers.backward) - 1:
                _multiply(gates, recurrent, self.product, buffers.grad_output)
                if position + 1 < count:
                    buffers.grad_output.add_(grad[:, count - 2 - position])
        _write_gradients(self.gradients, buffers.gates, self._windows, buffers.output, self.product)

    def _add_product(self, sums: Tensor, left: Tensor, right: Tensor) -> None:
        if self.product == torch.float32:
            sums.baddbmm_(left, right)
        else:
            sums.add_(torch.bmm(left.to(self.product), right))


class FusedRecurrence:
    """The same on a GPU, where the number of kernels counts: between the products there is one a day."""

    def __init__(self, weights: RecurrentWeights, gradients: RecurrentWeights, product: torch.dtype) -> None:
        self.weights, self.gradients, self.product = weights, gradients, product
        self._saved: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, windows: Tensor, count: int = 1) -> Tensor:
        """See `Recurrence.forward`."""
        members, days, samples, _ = windows.shape
        weights = self.weights
        bias = (weights.bias_inputs + weights.bias_output).unsqueeze(1)
        inputs, recurrent = weights.inputs.transpose(1, 2), weights.output.transpose(1, 2)
        cell = windows.new_zeros(members, samples, recurrent.shape[1])
        from_output = windows.new_zeros(members, samples, recurrent.shape[2])
        self._windows, self._saved = windows, []
        outputs: list[Tensor] = []
        for day in range(days):
            if day:
                from_output = self._multiplied(outputs[-1], recurrent)
            before = cell
            output, cell, gates = fused_forward(torch.baddbmm(bias, windows[:, day], inputs), from_output, before)
            self._saved.append((before, cell, gates))
            outputs.append(output)
        self._outputs = torch.stack(outputs, dim=1)
        return self._outputs[:, -count:]

    def backward(self, grad: Tensor) -> None:
        """See `Recurrence.backward`."""
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
        sums = torch.stack(grad_sums_by_day[::-1], dim=1).flatten(1, 2)
        _write_gradients(self.gradients, sums, self._windows, self._outputs, self.product)

    def _multiplied(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.bmm(left.to(self.product), right.to(self.product)).float()


class _Buffers:
    """The buffers of one shape ``(member, day, sample, hidden)``, and each day's views of them."""

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        members, days, samples, hidden = shape
        gates = torch.empty(members, days, samples, 4 * hidden, device=device)
        cell, bounded, output = (torch.empty(*shape, device=device) for _ in range(3))
        grad_output, grad_cell = (torch.empty(members, samples, hidden, device=device) for _ in range(2))
        self.gates, self.output, self.grad_output = gates.flatten(1, 2), output, grad_output
        self.forward: list[tuple[Tensor, Tensor, BoundStep]] = []
        self.backward: list[tuple[Tensor, BoundStep]] = []
        for day in range(days):
            before = cell[:, day - 1] if day else None
            ahead = bind_forward(gates[:, day], before, cell[:, day], bounded[:, day], output[:, day])
            self.forward.append((gates[:, day], output[:, day - 1], ahead))
            last = day == days - 1
            back = bind_backward(gates[:, day], before, bounded[:, day], grad_output, grad_cell, last=last)
            self.backward.insert(0, (gates[:, day], back))
        self._bound = (cell, bounded, grad_cell)  # the bound steps hold only their addresses


def last_states(
    windows: Tensor, weights: RecurrentWeights, product: torch.dtype = torch.float32, count: int = 1
) -> Tensor:
    """Give h of the last days of windows, keeping nothing for back-propagation.

    Parameters
    ----------
    windows
        ``(member, day, sample, feature)`` float32.
    product
        Type of the matrix products with h.
    count
        How many days.

    Returns
    -------
    ``(member, count, sample, hidden)`` in the type of the products.
    """
    members, days, samples, _ = windows.shape
    sums = windows.new_empty(members, days, samples, weights.inputs.shape[1])
    _project(windows, weights, sums.flatten(1, 2))
    recurrent = weights.output.transpose(1, 2).to(product)
    return torch.stack(_unroll([sums[:, day] for day in range(days)], recurrent, count), dim=1)


def last_states_of_sequences(sequences: Tensor, length: int, weights: RecurrentWeights, product: torch.dtype) -> Tensor:
    """Give h of the last day of every window of ``length`` days in sequences, by one member.

    Windows overlap: what the inputs add to the sums is computed once a day, not once a window.

    Parameters
    ----------
    sequences
        ``(cell, day, feature)`` float32.
    weights
        Of one member.
    product
        Type of the matrix products with h.

    Returns
    -------
    ``(cell, day - length + 1, hidden)`` in the type of the products, by the first day of the window.
    """
    assert len(weights.inputs) == 1, "one member at a time"
    bias = weights.bias_inputs[0] + weights.bias_output[0]
    sums = torch.addmm(bias, sequences.flatten(0, 1), weights.inputs[0].t()).view(*sequences.shape[:2], -1)
    count = sequences.shape[1] - length + 1
    recurrent = weights.output[0].t().to(product)
    return _unroll([sums[:, day : day + count] for day in range(length)], recurrent, 1)[0]


def _unroll(sums: Sequence[Tensor], recurrent: Tensor, count: int) -> list[Tensor]:
    """Step through the days and give h of the last ones."""
    cell = output = from_output = torch.empty(0)
    last = []
    for day, from_inputs in enumerate(sums):
        if day:
            torch.matmul(output, recurrent, out=from_output)
        else:
            shape = (*from_inputs.shape[:-1], recurrent.shape[-2])
            cell = from_inputs.new_empty(shape)
            output = torch.empty_like(cell, dtype=recurrent.dtype)
            from_output = torch.empty_like(from_inputs, dtype=recurrent.dtype, memory_format=torch.contiguous_format)
        infer(from_inputs, from_output if day else None, cell, output)
        if day >= len(sums) - count:
            last.append(output.clone() if day < len(sums) - 1 else output)
    return last


def _project(windows: Tensor, weights: RecurrentWeights, out: Tensor) -> None:
    bias = (weights.bias_inputs + weights.bias_output).unsqueeze(1)
    torch.baddbmm(bias, windows.flatten(1, 2), weights.inputs.transpose(1, 2), out=out)


def _multiply(left: Tensor, right: Tensor, product: torch.dtype, out: Tensor) -> None:
    if product == torch.float32:
        torch.bmm(left, right, out=out)
    else:
        out.copy_(torch.bmm(left.to(product), right.to(product)))


def _write_gradients(
    gradients: RecurrentWeights, grad_sums: Tensor, windows: Tensor, outputs: Tensor, product: torch.dtype
) -> None:
    """Gradients with respect to the parameters, from those of the sums, ``(member, day * sample, gate)``."""
    samples = windows.shape[2]
    # With the long side first a product with so few features is three times as fast.
    grad_inputs = torch.bmm(windows.flatten(1, 2).transpose(1, 2), grad_sums)
    gradients.inputs.copy_(grad_inputs.transpose(1, 2))
    after, before = grad_sums[:, samples:].transpose(1, 2), outputs.flatten(1, 2)[:, :-samples]
    _multiply(after, before, product, gradients.output)
    torch.sum(grad_sums, dim=1, out=gradients.bias_inputs)
    gradients.bias_output.copy_(gradients.bias_inputs)
