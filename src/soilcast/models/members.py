"""Networks of one shape side by side: the members of an ensemble, or the one network of a run."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from soilcast.models.network import Network

_ALIGNED = 16
"""Parameters begin at multiples of this many floats: the widest vector that a processor loads."""


class Members:
    """Networks whose parameters are views of one tensor, so that an optimiser and a checkpoint have one.

    Parameters
    ----------
    networks
        Of one shape, on one device; their parameters are moved into `weights`.

    Attributes
    ----------
    weights, gradients
        ``(member, parameter)`` float32: all parameters, and the gradients of the loss with respect to them.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self.networks = list(networks)
        self._columns: dict[str, tuple[slice, torch.Size]] = {}
        end = 0
        for name, parameter in self.networks[0].named_parameters():
            self._columns[name] = (slice(end, end + parameter.numel()), parameter.shape)
            end += -(-parameter.numel() // _ALIGNED) * _ALIGNED
        device = next(self.networks[0].parameters()).device
        self.weights = torch.zeros(len(self.networks), end, device=device)
        self.gradients = torch.zeros_like(self.weights)
        for member, network in enumerate(self.networks):
            for name, parameter in network.named_parameters():
                view = self.of(self.weights, name)[member]
                view.copy_(parameter.detach())
                parameter.data = view
                parameter.grad = self.of(self.gradients, name)[member]

    def alongside(self) -> Members:
        """The same networks and weights, with gradients of their own, for another thread."""
        shared = copy.copy(self)
        shared.gradients = torch.zeros_like(self.gradients)
        return shared

    def of(self, stacked: Tensor, name: str) -> Tensor:
        """View one parameter of all members, ``(member, ...)``, in `weights`, `gradients` or what is like them."""
        columns, shape = self._columns[name]
        return stacked[:, columns].view(len(stacked), *shape)

    def marked(self, frozen: Sequence[str]) -> Tensor:
        """Mark the parameters of some modules with 0 and others with 1, ``(1, parameter)``."""
        marks = torch.ones_like(self.weights[:1])
        for name, (columns, _) in self._columns.items():
            part = name.partition(".")[0]
            if part in frozen:
                marks[:, columns] = 0.0
        return marks

    def absent(self) -> Tensor | None:
        """Mark the connections that the networks lack ``(1, parameter)`` (`Network.absent`); None if they lack none."""
        absent = self.networks[0].absent()
        if not absent:
            return None
        marks = torch.zeros_like(self.weights[:1], dtype=torch.bool)
        for name, of_parameter in absent.items():
            self.of(marks, name)[0].copy_(of_parameter)
        return marks

    def train(self, training: bool) -> None:
        """Set all networks to training or to evaluation."""
        for network in self.networks:
            network.train(training)
