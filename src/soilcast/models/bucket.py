"""A store limited to 0..porosity, filled by rain: it limits mass and does not conserve it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


class BucketState(NamedTuple):
    """One day of a bucket, each ``(...)``: the storage at its end [m], and its fluxes [m d-1]."""

    storage: Tensor
    infiltration: Tensor
    loss: Tensor


class Bucket(nn.Module):
    """One layer of soil as a bucket, whose two shares a network gives day by day.

    With S the stored water [m], P the rain [m d-1], n the porosity, w the wilting point, d the thickness [m] and two
    raw numbers r of the network, sigma the sigmoid:

        I   = min(sigma(r_1) P, n d - S)
        L   = max(sigma(r_2) (S + I - w d), S + I - n d, 0)
        S'  = S + I - L

    So 0 <= I <= P, 0 <= L <= S + I and 0 <= S' <= n d, and S' - S = I - L. It limits mass and does not conserve it:
    there is no snow melt, rain that a full store does not take is gone, and water above the porosity, which is the
    highest soil moisture of the training days, leaves whatever the network says. Stores that close their water balance
    are in `soilcast.models.stores`.
    """

    parameters_a_day = 2

    @staticmethod
    def start() -> Tensor:
        """Initial bias of the head, ``(2,)`` float32: 80 % of the rain infiltrates, 5 % leaves a day."""
        return torch.tensor([math.log(share / (1 - share)) for share in (0.8, 0.05)])

    def forward(
        self,
        raw: Tensor,
        rain: Tensor,
        storage: Tensor,
        porosity: Tensor,
        thickness: Tensor,
        wilting: Tensor | float = 0.0,
    ) -> BucketState:
        """Compute one day.

        Parameters
        ----------
        raw
            ``(..., 2)``, the network's numbers for the share of the rain that infiltrates, and for the share of the
            water above the wilting point that leaves.
        rain
            ``(...)``, water that reaches the soil [m d-1], 0 or more.
        storage
            ``(...)``, water in the layer at the end of the day before [m], 0 or more: soil moisture times thickness.
        porosity, wilting
            ``(...)`` or what spreads to it [m3 m-3].
        thickness
            ``(...)`` or what spreads to it [m].

        Returns
        -------
        The storage at the end of the day and the fluxes; soil moisture is the storage divided by the thickness.
        """
        infiltrating, leaving = torch.sigmoid(raw).unbind(-1)
        capacity, bound = porosity * thickness, wilting * thickness
        infiltration = torch.minimum(infiltrating * rain, torch.relu(capacity - storage))
        filled = storage + infiltration
        loss = torch.maximum(leaving * torch.relu(filled - bound), torch.relu(filled - capacity))
        # The difference is within the bounds but for its rounding.
        remaining = torch.relu(filled - loss)
        return BucketState(remaining.clamp(max=capacity.expand_as(remaining)), infiltration, loss)
