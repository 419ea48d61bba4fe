"""Stores of soil water that close: the change of each layer is what enters less what evaporates and drains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Fluxes(NamedTuple):
    """Water that enters and leaves each layer in a day, each ``(sample, layer)`` [m d-1], none negative."""

    inflow: Tensor
    evaporation: Tensor
    drainage: Tensor


class Store(Protocol):
    """The layers of a soil, from the surface down, whose fluxes follow from the raw numbers of a network's gates."""

    @staticmethod
    def start(layers: int) -> Tensor:
        """Initial bias of the gates ``(gate,)`` float32."""
        ...

    @staticmethod
    def gate_state(storage: Tensor, level: Tensor) -> Tensor:
        """What the gates see of the storage [m] and of the normalised soil moisture, all ``(sample, layer)``."""
        ...

    @staticmethod
    def fluxes(raw: Tensor, water: Tensor, storage: Tensor, thickness: Tensor) -> Fluxes:
        """Compute one day.

        Parameters
        ----------
        raw
            ``(sample, gate)``, the network's numbers.
        water
            ``(sample,)``, rain and snow melt [m d-1], 0 or more.
        storage
            ``(sample, layer)``, at the end of the day before [m], 0 or more.
        thickness
            ``(sample, layer)`` [m].
        """
        ...


class WaterBalance:
    """Layers that rain and melt fill, each of which evaporates and drains into the next.

    With S the stored water [m], P rain and melt [m d-1], d the thickness [m] and the raw numbers r of a network, of
    each layer from the surface down:

        I      = sigmoid(r_0) P, of a deeper layer the drainage of the layer above
        e, q   = softmax(0, r_1, r_2) but for the first: what is left of 1 stays
        E      = e (S + I)
        D      = max(q (S + I), S + I - E - d)
        S'     = S + I - E - D

    So no flux is negative, 0 <= S' <= d, and what does not infiltrate is surface runoff. Nothing is cut off: a layer
    may hold more than on any training day, and drains what exceeds its own volume.
    """

    @staticmethod
    def start(layers: int) -> Tensor:
        """Let 80 % infiltrate, 0.5 % evaporate and 0.5 % drain a day at first: see `Store.start`."""
        leaving = [math.log(0.005 / 0.99)] * 2
        return torch.tensor([math.log(0.8 / 0.2), *leaving * layers])

    @staticmethod
    def gate_state(storage: Tensor, level: Tensor) -> Tensor:
        """Give the normalised soil moisture: see `Store.gate_state`."""
        return level

    @staticmethod
    def fluxes(raw: Tensor, water: Tensor, storage: Tensor, thickness: Tensor) -> Fluxes:
        """See `Store.fluxes`."""
        leaving = raw[:, 1:].reshape(*storage.shape, 2)
        shares = torch.softmax(torch.cat((torch.zeros_like(leaving[..., :1]), leaving), dim=-1), dim=-1)
        inflow, days = torch.sigmoid(raw[:, 0]) * water, []
        for layer in range(storage.shape[-1]):
            filled = storage[:, layer] + inflow
            evaporation = shares[:, layer, 1] * filled
            drainage = torch.maximum(shares[:, layer, 2] * filled, filled - evaporation - thickness[:, layer])
            days.append((inflow, evaporation, drainage))
            inflow = drainage
        return Fluxes(*(torch.stack(flux, dim=-1) for flux in zip(*days, strict=True)))


class MassConservingLSTM:
    """The mass-conserving LSTM of Hoedt et al. (2021), arXiv:2101.05186, with one memory cell a soil layer.

    With c the stored water of the layers [m], P rain and melt [m d-1] and the raw numbers r of a network that sees the
    trunk's state and c / |c|_1 (Eq. 2 to 7 there):

        m  = softmax(r_R) c + softmax(r_i) P
        h  = max(sigmoid(r_o) m, m - d)
        c' = m - h

    The softmax of the redistribution is over its columns. What leaves, h, is evaporation and all runoff together; the
    maximum, beyond the paper, lets no layer hold more than its own volume. Drainage is what goes to other layers.
    """

    @staticmethod
    def start(layers: int) -> Tensor:
        """Keep 99 % in its layer, let 1 % leave a day, and 80 % of the rain enter the first: see `Store.start`."""
        stay = torch.eye(layers).flatten() * math.log(0.99 / 0.01 * max(layers - 1, 1))
        enter = torch.zeros(layers)
        enter[0] = math.log(0.8 / 0.2 * max(layers - 1, 1))
        return torch.cat((enter, torch.full((layers,), math.log(0.01 / 0.99)), stay))

    @staticmethod
    def gate_state(storage: Tensor, level: Tensor) -> Tensor:
        """Give each layer's share of all water: see `Store.gate_state`."""
        return storage / storage.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(storage.dtype).tiny)

    @staticmethod
    def fluxes(raw: Tensor, water: Tensor, storage: Tensor, thickness: Tensor) -> Fluxes:
        """See `Store.fluxes`."""
        layers = storage.shape[-1]
        enter, leave, move = torch.split(raw, [layers, layers, layers**2], dim=-1)
        moved = torch.softmax(move.reshape(-1, layers, layers), dim=-2) * storage.unsqueeze(-2)
        elsewhere = moved * (1 - torch.eye(layers, dtype=moved.dtype, device=moved.device))
        inflow = torch.softmax(enter, dim=-1) * water.unsqueeze(-1) + elsewhere.sum(dim=-1)
        drainage = elsewhere.sum(dim=-2)
        filled = torch.relu(storage + inflow - drainage)
        return Fluxes(inflow, torch.maximum(torch.sigmoid(leave) * filled, filled - thickness), drainage)


def surface_water(depths: Mapping[str, Tensor]) -> Tensor:
    """Give the water that reaches the soil: rain and snow melt [m d-1], 0 or more.

    Snow that falls is stored, and reaches the soil when it melts. Both follow from the change of the snow depth, or are
    the fluxes themselves; where neither is known, all precipitation reaches the soil on the day on which it falls.

    Parameters
    ----------
    depths
        What `soilcast.task.Layout.surface_inputs` names, of any one shape [m] or [m d-1].
    """
    precipitation = torch.relu(depths["tp"])
    if "sd" in depths:
        gain = depths["sd"] - depths["sd the day before"]
        snowfall, melt = torch.relu(gain), torch.relu(-gain)
    elif "smlt" in depths:
        snowfall, melt = torch.relu(depths["sf"]), torch.relu(depths["smlt"])
    else:
        return precipitation
    return torch.relu(precipitation - snowfall) + melt
