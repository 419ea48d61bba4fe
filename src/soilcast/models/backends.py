"""How forecasts, and the gradients of a loss with respect to the parameters, are computed: by torch, or written out."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor, nn

from soilcast.models.heads import Head, RolloutHead
from soilcast.models.members import Members
from soilcast.models.native import NativeRecurrence, engine_name
from soilcast.models.network import Network
from soilcast.models.recurrence import FusedRecurrence, Recurrence, recurrent_weights


class Backend(Protocol):
    """Forward and backward of all members at once.

    Windows are ``(member, step, sample, feature)``, forecasts ``(member, sample, lead, layer, number)``, dropout masks
    ``(member, sample, row, hidden)``: see `soilcast.models.network.Network.forward`.
    """

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """Forecast, and keep what `backward` needs."""
        ...

    def backward(self, grad: Tensor) -> None:
        """Write the gradients with respect to the parameters, from those with respect to the forecasts."""
        ...

    def infer(self, windows: Tensor, mask: Tensor | None = None) -> Tensor:
        """Forecast without keeping anything; with dropout only if ``mask`` is given."""
        ...

    def predict_windows(self, sequences: Tensor, length: int) -> Tensor:
        """Forecast from every window of ``length`` days in ``sequences (cell, day, feature)``.

        Returns
        -------
        ``(member, cell, day - length + 1, lead, layer, number)``.
        """
        ...


class AutogradBackend:
    """Any network, by automatic differentiation, one member after the other."""

    def __init__(self, members: Members, product: torch.dtype) -> None:
        self._members, self._product = members, product

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """See `Backend`."""
        self._forecasts = self._forward_all(windows, mask)
        return self._forecasts.detach()

    def backward(self, grad: Tensor) -> None:
        """See `Backend`."""
        self._members.gradients.zero_()
        with _full_precision():
            self._forecasts.backward(grad)  # type: ignore[no-untyped-call]

    def infer(self, windows: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `Backend`."""
        with torch.inference_mode():
            return self._forward_all(windows, mask)

    def predict_windows(self, sequences: Tensor, length: int) -> Tensor:
        """See `Backend`."""
        windows = sequences.unfold(1, length, 1).permute(3, 0, 1, 2)  # (day, cell, window, feature)
        members = len(self._members.networks)
        forecasts = self.infer(windows.flatten(1, 2).expand(members, -1, -1, -1))
        return forecasts.view(members, *windows.shape[1:3], *forecasts.shape[2:])

    def _forward_all(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        networks = self._members.networks
        masks = [None] * len(networks) if mask is None else mask
        mixed = torch.autocast(windows.device.type, self._product, enabled=self._product != torch.float32)
        with mixed, _full_precision(), warnings.catch_warnings():
            # The members' weights lie together, whatever cuDNN would like better.
            warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk", UserWarning)
            parts = zip(networks, windows.transpose(1, 2), masks, strict=True)
            return torch.stack([network(window, member_mask) for network, window, member_mask in parts]).float()


class LSTMBackend:
    """A trunk of one ``nn.LSTM`` layer, written out, and the paper's head; other heads by automatic differentiation.

    Parameters
    ----------
    members
        The networks.
    product
        Type of the matrix products.
    threads
        Of the native engine; 0 for as many as torch uses.
    """

    def __init__(self, members: Members, product: torch.dtype, threads: int = 0) -> None:
        network = members.networks[0]
        self._members = members
        weights, gradients = (recurrent_weights(members, one) for one in (members.weights, members.gradients))
        self._recurrence: Recurrence
        if members.weights.is_cuda:
            self._recurrence = FusedRecurrence(weights, gradients, product)
        else:
            self._recurrence = NativeRecurrence(weights, gradients, product, threads)
        self._used = network.head.used_steps
        self._count = len(range(network.design.layout.steps)[self._used])
        self._features = network.design.layout.features
        self._head_names = [name for name, _ in network.named_parameters() if name.startswith("head.")]
        self._is_eq7 = _is_eq7(network.head)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """See `Backend`."""
        states = self._recurrence.forward(self._trunk_inputs(windows), self._count)
        if self._is_eq7:
            output, self._mask = states[:, 0], None if mask is None else mask[:, :, 0]
            self._output = output if self._mask is None else output * self._mask
            return self._linear(self._output)
        self._states = [state.transpose(0, 1).detach().requires_grad_() for state in states]
        with torch.enable_grad():
            self._forecasts = self._heads(self._states, windows, mask)
        return self._forecasts.detach()

    def backward(self, grad: Tensor) -> None:
        """See `Backend`."""
        members = self._members
        if self._is_eq7:
            by_sample = grad.flatten(1)
            weight = members.of(members.weights, "head.linear.weight")
            torch.bmm(by_sample.unsqueeze(1), self._output, out=members.of(members.gradients, "head.linear.weight"))
            torch.sum(by_sample, dim=1, keepdim=True, out=members.of(members.gradients, "head.linear.bias"))
            grad_output = by_sample.unsqueeze(2) * weight
            grad_output = grad_output if self._mask is None else grad_output.mul_(self._mask)
            self._recurrence.backward(grad_output.unsqueeze(1))
            return
        parameters = [net.get_parameter(name) for net in members.networks for name in self._head_names]
        gradients = torch.autograd.grad(self._forecasts, [*parameters, *self._states], grad, materialize_grads=True)
        grad_parameters, grad_states = gradients[: len(parameters)], gradients[len(parameters) :]
        for position, grad_parameter in enumerate(grad_parameters):
            member, name = divmod(position, len(self._head_names))
            members.of(members.gradients, self._head_names[name])[member].copy_(grad_parameter)
        self._recurrence.backward(torch.stack(grad_states).transpose(1, 2))

    def infer(self, windows: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `Backend`."""
        with torch.inference_mode():
            states = self._recurrence.infer(self._trunk_inputs(windows), self._count)
            if self._is_eq7:
                return self._linear(states[:, 0] if mask is None else states[:, 0] * mask[:, :, 0])
            return self._heads([state.transpose(0, 1) for state in states], windows, mask)

    def predict_windows(self, sequences: Tensor, length: int) -> Tensor:
        """See `Backend`."""
        states = self._recurrence.infer_sequences(sequences, length)
        by_window = states.flatten(1, 2)
        if self._is_eq7:
            forecasts = self._linear(by_window)
        else:
            # Of such a head nothing in the windows matters but their states.
            parts = zip(self._members.networks, by_window.unsqueeze(2), strict=True)
            forecasts = torch.stack([network.head(state, sequences, None) for network, state in parts])
        return forecasts.view(*states.shape[:3], *forecasts.shape[2:])

    def _trunk_inputs(self, windows: Tensor) -> Tensor:
        return windows[:, : self._used.stop, :, : self._features]

    def _heads(self, states: list[Tensor], windows: Tensor, mask: Tensor | None) -> Tensor:
        networks = self._members.networks
        masks = [None] * len(networks) if mask is None else mask
        parts = zip(networks, states, windows.transpose(1, 2), masks, strict=True)
        return torch.stack([network.head(state, window, member_mask) for network, state, window, member_mask in parts])

    def _linear(self, output: Tensor) -> Tensor:
        """Eq. 7: from ``(member, sample, hidden)`` to forecasts."""
        weight, bias = (self._members.of(self._members.weights, f"head.linear.{part}") for part in ("weight", "bias"))
        return torch.baddbmm(bias.unsqueeze(1), output, weight.transpose(1, 2)).view(*output.shape[:2], 1, 1, 1)


PRODUCTS: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Types of matrix products by the name that a config or an option gives."""


def make_backend(members: Members, product: torch.dtype = torch.float32, threads: int = 0) -> Backend:
    """Choose the backend of some networks.

    Parameters
    ----------
    product
        Type of the matrix products: float32, or bfloat16 for mixed precision.
    threads
        Of the native engine; 0 for as many as torch uses.
    """
    network = members.networks[0]
    is_compiled = members.weights.is_cuda or engine_name() != "torch"
    # A head that feeds its forecasts back, and a second forecast with more rain, go through the trunk by themselves.
    is_alone = isinstance(network.head, RolloutHead) or network.design.rain_response is not None
    if is_compiled and _is_one_layer(network.trunk) and not is_alone:
        return LSTMBackend(members, product, threads)
    return AutogradBackend(members, product)


def make_training_backend(members: Members, product: torch.dtype, threads: int) -> Backend:
    """Choose the backend that some networks are trained by.

    On a GPU cuDNN, which automatic differentiation goes through, trains one network faster than what is written out,
    and several slower (benchmarks/gpu.py).
    """
    is_alone = members.weights.is_cuda and len(members.networks) == 1 and product == torch.float32
    return AutogradBackend(members, product) if is_alone else make_backend(members, product, threads)


def takes_sequences(network: Network) -> bool:
    """Whether windows of consecutive issue days can go through a network together by `Backend.predict_windows`."""
    head, layout = network.head, network.design.layout
    return layout.is_sequence and head.used_steps == slice(layout.task.window - 1, layout.task.window)


def _full_precision() -> AbstractContextManager[None]:
    """Keep cuDNN from rounding float32 to 10 bits in recurrent layers, as torch lets it do by default."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def _is_one_layer(trunk: nn.Module) -> bool:
    """Whether a trunk computes the LSTM of Eq. 1-6, and nothing more."""
    if not isinstance(trunk, nn.LSTM) or type(trunk).forward is not nn.LSTM.forward:
        return False
    return trunk.num_layers == 1 and trunk.bias and not trunk.bidirectional and not trunk.proj_size


def _is_eq7(head: Head) -> bool:
    design = head.design
    return (
        type(head) is Head
        and head.linear.weight.shape == (1, design.hidden_size)
        and design.origin is None
        and design.layout.task.lead_days == 1
    )
