"""The losses of the paper (Eq. 8, 9, 14), composable with any network that forecasts soil moisture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

# The root has no slope at zero; this floor [squared units of the loss] keeps a perfect batch from giving NaN.
_SMALLEST_SQUARE = 1e-16


@dataclass(frozen=True)
class Outcome:
    """What a loss may look at, for N cell-days of each member of an ensemble.

    Parameters
    ----------
    predicted
        SM^_t ``(..., N)``.
    observed
        SM_t ``(..., N)``, in the same units.
    observed_before
        SM_{t-1} ``(..., N)``.
    water_sign
        dW_t ``(..., N)``, after Eq. 13; -1, 0 or +1 as floats.
    """

    predicted: Tensor
    observed: Tensor
    observed_before: Tensor
    water_sign: Tensor


class Loss(Protocol):
    """A loss gives what to minimise and, by name, the parts that the log shows: each ``(...)``, a number a member."""

    def __call__(self, outcome: Outcome) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss and its parts."""
        ...


@runtime_checkable
class LossWithSlope(Loss, Protocol):
    """A loss that also gives its slope in closed form, which spares every step of training an automatic one."""

    def with_slope(self, outcome: Outcome) -> tuple[Tensor, Mapping[str, Tensor], Tensor]:
        """Return the loss, its parts, and the slope of the loss by ``predicted``, ``(..., N)``."""
        ...


def rmse_loss(outcome: Outcome) -> Tensor:
    """Root mean square error of the forecasts (Eq. 9)."""
    square = torch.mean((outcome.observed - outcome.predicted) ** 2, dim=-1)
    return torch.sqrt(torch.clamp_min(square, _SMALLEST_SQUARE))


def physical_loss(outcome: Outcome) -> Tensor:
    """Mean squared movement against the water balance (Eq. 14): ReLU(dW_t (SM_{t-1} - SM^_t))^2."""
    against = torch.relu(outcome.water_sign * (outcome.observed_before - outcome.predicted))
    return torch.mean(against**2, dim=-1)


def rmse_slope(outcome: Outcome, rmse: Tensor) -> Tensor:
    """Slope of `rmse_loss` by each forecast: (SM^_t - SM_t) / (N RMSE)."""
    return (outcome.predicted - outcome.observed) / (outcome.predicted.shape[-1] * rmse.unsqueeze(-1))


def physical_slope(outcome: Outcome) -> Tensor:
    """Slope of `physical_loss` by each forecast: -2 dW_t ReLU(dW_t (SM_{t-1} - SM^_t)) / N."""
    against = torch.relu(outcome.water_sign * (outcome.observed_before - outcome.predicted))
    return outcome.water_sign * against * (-2.0 / outcome.predicted.shape[-1])


@dataclass(frozen=True)
class DataLoss:
    """Eq. 8 with l2 = 0: the plain LSTM. ``weights[0]`` scales it, which Adam does not notice."""

    weights: tuple[float, float]

    def __call__(self, outcome: Outcome) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the RMSE, twice."""
        rmse = rmse_loss(outcome)
        return rmse, {"rmse": rmse}

    def with_slope(self, outcome: Outcome) -> tuple[Tensor, Mapping[str, Tensor], Tensor]:
        """See `LossWithSlope`."""
        rmse, parts = self(outcome)
        return rmse, parts, rmse_slope(outcome, rmse)


@dataclass(frozen=True)
class WaterBalanceLoss:
    """Loss_i = l1 Loss_RMSE + l2 Loss_PHY_i (Eq. 8)."""

    weights: tuple[float, float]

    def __call__(self, outcome: Outcome) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the weighted sum and its two parts."""
        rmse, physical = rmse_loss(outcome), physical_loss(outcome)
        return self.weights[0] * rmse + self.weights[1] * physical, {"rmse": rmse, "physical": physical}

    def with_slope(self, outcome: Outcome) -> tuple[Tensor, Mapping[str, Tensor], Tensor]:
        """See `LossWithSlope`."""
        total, parts = self(outcome)
        slope = rmse_slope(outcome, parts["rmse"]).mul_(self.weights[0])
        return total, parts, slope.add_(physical_slope(outcome), alpha=self.weights[1])


LOSSES: dict[str, Callable[[tuple[float, float]], Loss]] = {
    "rmse": DataLoss,
    "water_balance": WaterBalanceLoss,
}
"""Every loss by name: built from the weights (l1, l2)."""
