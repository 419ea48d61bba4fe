"""The loss of outlooks: a proper score of the distribution, and the physics that guides its centre (Eq. 8, 9, 14)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from soilcast.models import MODELS
from soilcast.models.distributions import DISTRIBUTIONS, Distribution
from soilcast.training.config import Config
from soilcast.training.outlook_samples import OutlookOutcome
from soilcast.water.guidance import against_rain, against_water, beyond_bounds

_SMALLEST_SQUARE = 1e-16


def distribution_of(config: Config) -> Distribution:
    """Make the distribution that a config asks for."""
    return DISTRIBUTIONS[config.outlook.distribution](config.outlook.levels)


class OutlookLoss:
    """Eq. 8 for the days ahead: errors and changes in units in which persistence errs by 1, so that cells count alike.

    Parameters
    ----------
    config
        Of the run: the distribution, l1 and l2, and the weights of bounds and rain.
    """

    def __init__(self, config: Config) -> None:
        outlook = config.outlook
        self._distribution = distribution_of(config)
        self._weights = config.weights if MODELS[config.model].form else (1.0, 0.0)
        self._bounds, self._rain = outlook.bounds, outlook.rain
        leads = torch.arange(1, outlook.lead_days + 1, dtype=torch.float32) ** -outlook.far
        self._leads = (leads / leads.mean()).unsqueeze(-1)
        self._on: dict[torch.device, Tensor] = {}

    def __call__(self, outcome: OutlookOutcome) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss and its parts, each ``(member,)``."""
        targets = outcome.targets
        raw = outcome.said[..., 1 : 1 + self._distribution.parameters]
        begin, device = outcome.said[..., 0], outcome.said.device
        there = torch.isfinite(targets.observed)
        error = (torch.where(there, targets.observed, begin.detach()) - begin) * targets.sharpness
        centre = begin + self._distribution.mean(raw) / targets.sharpness
        # Copied once: a step that is captured on a GPU may copy nothing.
        if device not in self._on:
            self._on[device] = self._leads.to(device)
        score = self._distribution.loss(raw, error) * self._on[device]
        data = _mean(torch.where(there, score, 0.0), there)
        if not self._distribution.parameters:
            data = torch.sqrt(torch.clamp_min(data, _SMALLEST_SQUARE))
        parts = {"data": data}
        total = data * self._weights[0]
        if self._weights[1]:
            parts["physical"] = self._physical(centre, outcome)
            total = total + self._weights[1] * parts["physical"]
        if self._bounds:
            low, high = targets.bounds.unsqueeze(-3).unbind(-1)
            beyond = beyond_bounds(centre, high, low) * targets.sharpness[..., :1, :] ** 2
            parts["bounds"] = beyond.flatten(1).mean(dim=-1)
            total = total + self._bounds * parts["bounds"]
        if self._rain:
            answer = outcome.said[..., -1] * targets.sharpness[..., :1, :]
            parts["rain"] = against_rain(answer).flatten(1).mean(dim=-1)
            total = total + self._rain * parts["rain"]
        return total, parts

    def _physical(self, centre: Tensor, outcome: OutlookOutcome) -> Tensor:
        """Eq. 14, of the change of each day ahead: the first against what was observed, the others among themselves."""
        targets = outcome.targets
        there = torch.isfinite(targets.before)
        before = torch.where(there, targets.before, centre[..., 0, :].detach()).unsqueeze(-2)
        change = torch.diff(torch.cat((before, centre), dim=-2), dim=-2)
        of_column = (change * targets.depth.unsqueeze(-2)).sum(dim=-1)
        return against_water(of_column, targets.water_sign).flatten(1).mean(dim=-1)


def _mean(values: Tensor, there: Tensor) -> Tensor:
    mean: Tensor = values.flatten(1).sum(dim=-1) / there.flatten(1).sum(dim=-1).clamp_min(1)
    return mean
