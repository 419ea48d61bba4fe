"""The loss: Eq. 8 over all lead times and layers, and what may stand for its loss of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from soilcast.errors import SoilcastError
from soilcast.models.distributions import CMAL, Distribution, Point, Quantiles, constant
from soilcast.training.sections import LOSSES as LOSSES
from soilcast.water.guidance import against_rain, against_water, beyond_bounds, missed_water

# The root has no gradient at zero; this floor [squared units of the loss] keeps a perfect batch from giving NaN.
_SMALLEST_SQUARE = 1e-16


@dataclass(frozen=True)
class Targets:
    """What a loss compares forecasts with; leading axes ``...`` end with ``member``, alone where a loss sees them.

    Parameters
    ----------
    observed
        SM_t, normalised soil moisture of the forecast days ``(..., sample, lead, layer)``; NaN where missing.
    previous
        SM_{t-1} of lead 1, normalised soil moisture of the issue day ``(..., sample, layer)``; 0 where missing.
    water_sign
        dW_t of the forecast days (Eq. 12 after Eq. 13), ``(..., sample, lead)``; 0 where nothing is known.
    error_scale
        What takes an error of normalised soil moisture to the space of the loss ``(..., sample, lead, layer)``; None
        for 1.
    depth
        What takes a change of normalised soil moisture of each layer to a change of the water that dW is of, in the
        space of the loss ``(..., sample, layer)``; None without a water balance.
    bounds
        Normalised 0 and porosity ``(..., sample, layer, 2)``; None where they do not count.
    inflow, tolerance
        W_t of the forecast days ``(..., sample, lead)``, NaN where it is not known, and what the observations of the
        training days miss it by ``(..., sample)``, both in the space of the loss as `depth` has it; None where amounts
        do not count.
    """

    observed: Tensor
    previous: Tensor
    water_sign: Tensor
    error_scale: Tensor | None = None
    depth: Tensor | None = None
    bounds: Tensor | None = None
    inflow: Tensor | None = None
    tolerance: Tensor | None = None

    def error(self, level: Tensor) -> Tensor:
        """Observed less forecast in the space of the loss; NaN where missing."""
        error = self.observed - level
        return error if self.error_scale is None else error * self.error_scale


def join_targets(parts: Sequence[Targets]) -> Targets:
    """Put the samples of ``(member, sample, ...)`` together."""
    columns = {field.name: [getattr(part, field.name) for part in parts] for field in fields(Targets)}
    return Targets(**{name: torch.cat(of, dim=1) for name, of in columns.items() if of[0] is not None})


@dataclass(frozen=True)
class Prediction:
    """What a network gives for a batch, normalised.

    Parameters
    ----------
    level
        Soil moisture that the predictive distribution is about ``(member, sample, lead, layer)``.
    raw
        Raw numbers of the distribution ``(member, sample, lead, layer, parameter)``.
    rain_response
        How much `level` grows with more rain, like it; None if nobody asks.
    """

    level: Tensor
    raw: Tensor
    rain_response: Tensor | None = None


class DataLoss(Protocol):
    """How far forecasts are from the observations."""

    @property
    def distribution(self) -> Distribution:
        """What the raw numbers of the network mean."""
        ...

    def __call__(self, prediction: Prediction, targets: Targets) -> Tensor:
        """Give a number for each member, ``(member,)``; missing observations (NaN) do not count."""
        ...


@dataclass(frozen=True)
class ScoreLoss:
    """The mean score of a predictive distribution.

    Parameters
    ----------
    distribution
        Says what an error costs.
    root
        Take the root of the mean: of squared errors that is the RMSE (Eq. 9).
    """

    distribution: Distribution
    root: bool = False

    def __call__(self, prediction: Prediction, targets: Targets, lead_weights: Tensor | None = None) -> Tensor:
        """See `DataLoss`; ``lead_weights (lead, 1)`` average to 1."""
        error = targets.error(prediction.level)
        if error.shape[2:] == (1, 1):  # a sample without an observation of the one day is never drawn
            mean = self.distribution.loss(prediction.raw, error).flatten(1).mean(dim=-1)
        else:
            there = torch.isfinite(error)
            score = self.distribution.loss(prediction.raw, torch.where(there, error, 0.0))
            score = score if lead_weights is None else score * lead_weights
            total = torch.where(there, score, 0.0).flatten(1).sum(dim=-1)
            mean = total / there.flatten(1).sum(dim=-1).clamp_min(1)
        return torch.sqrt(torch.clamp_min(mean, _SMALLEST_SQUARE)) if self.root else mean


def build_rmse(quantiles: tuple[float, ...]) -> DataLoss:
    """Build the RMSE (Eq. 9)."""
    return ScoreLoss(Point(), root=True)


def build_quantiles(quantiles: tuple[float, ...]) -> DataLoss:
    """Build the mean pinball loss of quantiles."""
    return ScoreLoss(Quantiles(quantiles))


def build_cmal(quantiles: tuple[float, ...]) -> DataLoss:
    """Build the mean negative log-likelihood of a mixture of asymmetric Laplace distributions."""
    return ScoreLoss(CMAL())


@dataclass(frozen=True)
class Guidance:
    """What beside the data a loss looks at, by weight.

    Parameters
    ----------
    weights
        l1 and l2 of Eq. 8.
    bounds, rain, amounts
        Of forecasts beyond the bounds, of those that fall with more rain, and of the residual of the water balance.
    """

    weights: tuple[float, float] = (1.0, 0.0)
    bounds: float = 0.0
    rain: float = 0.0
    amounts: float = 0.0


class Loss:
    """Eq. 8 over all lead times: l1 times the loss of the data, l2 times Eq. 14, and the penalties.

    Parameters
    ----------
    name
        Of the loss of the data, as the log calls it.
    data
        The loss of the data.
    guidance
        The weights.
    lead_days
        Lead times.
    lead_decay
        Lead k counts as k to the power of minus this.

    Attributes
    ----------
    lead_weights
        How much each lead time counts, 1 on average; none where all count alike.
    """

    def __init__(
        self, name: str, data: DataLoss, guidance: Guidance, lead_days: int = 1, lead_decay: float = 0.0
    ) -> None:
        self.name, self.data, self.guidance = name, data, guidance
        leads = torch.arange(1, lead_days + 1, dtype=torch.float32) ** -lead_decay
        self.lead_weights = tuple((leads / leads.mean()).tolist()) if lead_decay else ()

    def __call__(self, output: Tensor, targets: Targets) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Give the loss and its parts, each ``(member,)``.

        Parameters
        ----------
        output
            What the network gives ``(member, sample, lead, layer, number)``.

        Raises
        ------
        SoilcastError
            The loss of the data is not a number for each member.
        """
        end = 1 + self.data.distribution.parameters
        response = output[..., end] if output.shape[-1] > end else None
        prediction = Prediction(output[..., 0], output[..., 1:end], response)
        if self.lead_weights and isinstance(self.data, ScoreLoss):
            weights = constant(self.lead_weights, output.dtype, output.device)
            of_data = self.data(prediction, targets, weights.unsqueeze(-1))
        else:
            of_data = self.data(prediction, targets)
        if of_data.numel() != len(output):
            raise SoilcastError(
                f"the loss gives {of_data.numel()} number(s) for train.ensemble={len(output)}: return one number per "
                "member (docs/own-loss.md)"
            )
        parts = {self.name: of_data.reshape(len(output))}
        total = self.guidance.weights[0] * parts[self.name]
        if self.guidance.weights[1]:
            parts["physical"] = self._physical(prediction, targets)
            total = total + self.guidance.weights[1] * parts["physical"]
        if self.guidance.amounts and targets.inflow is not None and targets.tolerance is not None:
            change, tolerance = self._water_change(prediction, targets), targets.tolerance.unsqueeze(-1)
            parts["amounts"] = missed_water(change, targets.inflow, tolerance).flatten(1).mean(dim=-1)
            total = total + self.guidance.amounts * parts["amounts"]
        if self.guidance.bounds and targets.bounds is not None:
            low, high = targets.bounds.unsqueeze(-3).unbind(-1)
            beyond = _squared_scale(beyond_bounds(self._centre(prediction, targets), high, low), targets)
            parts["bounds"] = beyond.flatten(1).mean(dim=-1)
            total = total + self.guidance.bounds * parts["bounds"]
        if self.guidance.rain and prediction.rain_response is not None:
            parts["rain"] = _squared_scale(against_rain(prediction.rain_response), targets).flatten(1).mean(dim=-1)
            total = total + self.guidance.rain * parts["rain"]
        return total, parts

    def with_strength(self, strength: float) -> Loss:
        """Give the same loss with l2 times a factor."""
        loss = copy(self)
        l1, l2 = self.guidance.weights
        loss.guidance = replace(self.guidance, weights=(l1, strength * l2))
        return loss

    def gradient_ratio(self, output: Tensor, targets: Targets) -> float:
        """How large the gradient of the loss of the data is beside that of Eq. 14, by the forecasts; 1 without either.

        Parameters
        ----------
        output
            What the network gives ``(member, sample, lead, layer, number)``.
        """
        sizes = []
        for name in (self.name, "physical"):
            leaf = output.clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(self(leaf, targets)[1][name].sum(), leaf)
            sizes.append(float(torch.linalg.vector_norm(gradient)))
        return sizes[0] / sizes[1] if min(sizes) > 0 and np.isfinite(sizes).all() else 1.0

    @property
    def known_score(self) -> ScoreLoss | None:
        """The loss of the data where gradients of it are known: without penalties, and no other that begins from it."""
        guidance = self.guidance
        is_known = type(self.data) is ScoreLoss and not (guidance.bounds or guidance.rain or guidance.amounts)
        return self.data if is_known and isinstance(self.data, ScoreLoss) else None

    def is_guided_by_water(self, targets: Targets) -> bool:
        """Whether Eq. 14 is part of the loss."""
        return bool(self.guidance.weights[1]) and targets.depth is not None

    def with_gradient(self, output: Tensor, targets: Targets) -> tuple[Tensor, Mapping[str, Tensor], Tensor] | None:
        """Give the loss, its parts, and its analytic gradient with respect to ``output``.

        That spares every step of training an automatic one. It is known for the paper's losses of one lead and layer;
        None for others.
        """
        l1, l2 = self.guidance.weights
        score = self.known_score
        if score is None or type(score.distribution) is not Point or not score.root or output.shape[2:] != (1, 1, 1):
            return None
        level, count = output.flatten(1), output.shape[1]
        scale = None if targets.error_scale is None else targets.error_scale.flatten(1)
        error = targets.observed.flatten(1) - level
        error = error if scale is None else error * scale
        rmse = torch.sqrt(torch.clamp_min((error**2).mean(dim=-1), _SMALLEST_SQUARE))
        total, parts = l1 * rmse, {self.name: rmse}
        # Of Eq. 9: (SM^_t - SM_t) / (N RMSE).
        grad = error / (-count * rmse.unsqueeze(-1))
        grad = grad.mul_(l1) if scale is None else grad.mul_(scale).mul_(l1)
        if self.is_guided_by_water(targets):
            assert targets.depth is not None
            sign, depth = targets.water_sign.flatten(1), targets.depth.flatten(1)
            against = against_water((level - targets.previous.flatten(1)) * depth, sign)
            parts["physical"] = (against**2).mean(dim=-1)
            total = total + l2 * parts["physical"]
            # Of Eq. 14: -2 dW_t ReLU(dW_t (SM_{t-1} - SM^_t)) / N.
            grad.add_(sign * against * depth * (-2.0 / count), alpha=l2)
        return total, parts, grad.view_as(output)

    def _centre(self, prediction: Prediction, targets: Targets) -> Tensor:
        """Mean of the predictive distribution, normalised."""
        if not self.data.distribution.parameters:
            return prediction.level
        error = self.data.distribution.mean(prediction.raw)
        return prediction.level + (error if targets.error_scale is None else error / targets.error_scale)

    def _physical(self, prediction: Prediction, targets: Targets) -> Tensor:
        """Eq. 14 on the change of each day."""
        return (against_water(self._water_change(prediction, targets), targets.water_sign) ** 2).flatten(1).mean(dim=-1)

    def _water_change(self, prediction: Prediction, targets: Targets) -> Tensor:
        """Change of the guided water of each day: of lead 1 since the observation, of others since the lead before."""
        assert targets.depth is not None, "without a water balance there is nothing to follow"
        levels = torch.cat((targets.previous.unsqueeze(-2), self._centre(prediction, targets)), dim=-2)
        return (torch.diff(levels, dim=-2) * targets.depth.unsqueeze(-2)).sum(dim=-1)


def _squared_scale(values: Tensor, targets: Targets) -> Tensor:
    """Take squares of normalised soil moisture ``(..., lead, layer)`` to the space of the loss at lead 1."""
    return values if targets.error_scale is None else values * targets.error_scale[..., :1, :] ** 2
