"""Heads, which make forecasts of the trunk's states: directly, day by day, or through a store that conserves water."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from soilcast.models.bucket import Bucket
from soilcast.models.design import NetworkDesign
from soilcast.plugins import Registry

_CHANGE = 0.3
"""Unit of the changes that a head gives, in normalised soil moisture: about the change over some days."""

_SKIP_CHANNELS = ("newest", "calendar")
"""Channels of the newest day that skip the trunk."""

_FIRST_WEIGHTS = 0.1
"""Factor on the initial weights where forecasts are to begin near persistence."""


class Head(nn.Module):
    """One linear layer for each lead time, on the state of its day where weather is known ahead, else of the issue day.

    With one lead, one layer, and soil moisture itself to forecast, this is Eq. 7 of Geng et al. (2024).

    Parameters
    ----------
    design
        See `soilcast.models.design.NetworkDesign`.

    Attributes
    ----------
    mask_rows
        States of a sample that are masked by dropout, each with a mask of its own.
    used_steps
        Steps of the window whose states the head takes.
    needs_water
        Whether windows hold the rain in metres and the physical properties of the layers.
    shares_weights
        Whether all days share one linear layer.
    """

    needs_water = False
    shares_weights = False

    def __init__(self, design: NetworkDesign) -> None:
        super().__init__()
        self.design = design
        layout, task = design.layout, design.layout.task
        self.numbers = (len(task.layers), 1 + len(design.spread))
        self.mask_rows = task.lead_days
        self.used_steps = slice(task.window - 1, layout.steps if task.known_future else task.window)
        skip = sum(layout.count(name) for name in _SKIP_CHANNELS)
        days = 1 if self.shares_weights else task.lead_days
        self.linear = nn.Linear(design.hidden_size + skip, days * self.numbers[0] * self.numbers[1])
        with torch.no_grad():
            weight, bias = self.linear.weight.view(days, *self.numbers, -1), self.linear.bias.view(days, *self.numbers)
            near_origin = 1 if design.origin is None else 0
            weight[:, :, near_origin:].mul_(_FIRST_WEIGHTS)
            bias[:, :, near_origin:] = torch.tensor([0.0, *design.spread])[near_origin:]

    def forward(self, states: Tensor, windows: Tensor, mask: Tensor | None) -> Tensor:
        """Forecast from states.

        Parameters
        ----------
        states
            Of `used_steps`, ``(sample, step, hidden)``.
        windows
            ``(sample, step, feature)``, whole.
        mask
            See `soilcast.models.network.Network.forward`.

        Returns
        -------
        ``(sample, lead, layer, number)``.
        """
        origin, layout = self.design.origin, self.design.layout
        output = self._linear_output(states, windows, mask)
        if origin is None:
            return output
        steps = slice(layout.task.window - 1, None) if origin == "damped" else slice(1)
        level = windows[:, steps, layout.channels[origin]] + _CHANGE * output[..., 0]
        return torch.cat((level.unsqueeze(-1), output[..., 1:]), dim=-1)

    @torch.no_grad()
    def shrink(self, share: Tensor) -> None:
        """Multiply the soil moisture, or departures of it, that the linear layer gives by ``(lead, layer)``."""
        leads = self.design.layout.task.lead_days
        for parameter in (self.linear.weight, self.linear.bias):
            parameter.view(leads, *self.numbers, -1)[:, :, 0].mul_(share.to(parameter.dtype).unsqueeze(-1))

    def _linear_output(self, states: Tensor, windows: Tensor, mask: Tensor | None) -> Tensor:
        leads = self.design.layout.task.lead_days
        states = states.expand(-1, leads, -1)
        features = self._with_skip(states if mask is None else states * mask, windows)
        if self.design.lead1_only:
            features = torch.cat((features[:, :1], features[:, 1:].detach()), dim=1)
        weight = self.linear.weight.view(leads, -1, features.shape[-1])
        output = torch.einsum("sdf,dof->sdo", features, weight) + self.linear.bias.view(leads, -1)
        return output.view(len(states), leads, *self.numbers)

    def _with_skip(self, states: Tensor, windows: Tensor) -> Tensor:
        """Concatenate the newest soil moisture and the season to the states."""
        layout = self.design.layout
        channels = [layout.channels[name] for name in _SKIP_CHANNELS if layout.count(name)]
        if not channels:
            return states
        parts = [windows[:, layout.task.window - 1, channel] for channel in channels]
        return torch.cat((states, *(part.unsqueeze(1).expand(-1, states.shape[1], -1) for part in parts)), dim=-1)


class RolloutHead(Head):
    """One linear layer for all days: each day's forecast is the next day's observed soil moisture, where none is.

    Changes are forecast from the day after the newest observation on, so that a latency needs no other network.
    """

    shares_weights = True

    def __init__(self, design: NetworkDesign) -> None:
        super().__init__(design)
        task = design.layout.task
        self._latency = 0 if design.origin is None else task.soil_latency
        self.mask_rows = task.lead_days + self._latency

    def roll_out(self, trunk: nn.Module, windows: Tensor, mask: Tensor | None) -> Tensor:
        """Forecast day by day: see `Head.forward`."""
        layout, origin = self.design.layout, self.design.origin
        start = layout.task.window - 1 - self._latency
        states, memory = trunk(windows[:, : start + 1, : layout.features])
        level, days = windows[:, 0, layout.channels["newest"]], []
        for step in range(start, layout.steps):
            if step > start:
                states, memory = trunk(self._fed_back(windows[:, step : step + 1], level), memory)
            state = states[:, -1:] if mask is None else states[:, -1:] * mask[:, step - start, None]
            output = self.linear(self._with_skip(state, windows)).view(len(windows), *self.numbers)
            level = output[..., 0] if origin is None else level + _CHANGE * output[..., 0]
            days.append(torch.cat((level.unsqueeze(-1), output[..., 1:]), dim=-1))
        return torch.stack(days[self._latency :], dim=1)

    def _fed_back(self, windows: Tensor, level: Tensor) -> Tensor:
        """Feed a forecast back as the lagged soil moisture of the next day."""
        layout = self.design.layout
        lags, flags = layout.channels["lags"], layout.channels["lags_known"]
        changed = windows[..., : layout.features].clone()
        for position, layer in enumerate(layout.task.layers):
            if layer in layout.task.lags:
                lag = layout.task.lags.index(layer)
                changed[:, 0, lags.start + lag] = level[:, position]
                changed[:, 0, flags.start + lag] = 1.0
        return changed


class BucketHead(Head):
    """Soil moisture is a store of water that rain fills and that empties downwards: see `soilcast.models.bucket`.

    The raw numbers of the predictive distribution come from the linear layer, as in `Head`.
    """

    needs_water = True

    def __init__(self, design: NetworkDesign) -> None:
        super().__init__(design)
        layout, task = design.layout, design.layout.task
        self.used_steps = slice(task.window - 1 - task.soil_latency, layout.steps)
        self.bucket = Bucket()
        self.gates = nn.Linear(design.hidden_size, Bucket.parameters_a_day * len(task.layers))
        with torch.no_grad():
            self.gates.weight.mul_(_FIRST_WEIGHTS)
            self.gates.bias.view(len(task.layers), -1).copy_(Bucket.start())

    def forward(self, states: Tensor, windows: Tensor, mask: Tensor | None) -> Tensor:
        """See `Head.forward`."""
        layout, task = self.design.layout, self.design.layout.task
        output = self._linear_output(states[:, task.soil_latency :], windows, mask)
        level, days = windows[:, 0, layout.channels["newest"]], []
        for position, step in enumerate(range(layout.steps)[self.used_steps]):
            level = self._fill_layers(level, self.gates(states[:, position]), windows[:, step])
            days.append(level)
        levels = torch.stack(days[task.soil_latency :], dim=1)
        return torch.cat((levels.unsqueeze(-1), output[..., 1:]), dim=-1)

    def _fill_layers(self, level: Tensor, raw: Tensor, windows: Tensor) -> Tensor:
        """Soil moisture of the next day: each layer gains from the rain or the layer above, and drains."""
        channels, layers = self.design.layout.channels, self.numbers[0]
        physical = windows[:, channels["physical"]].view(len(windows), layers, -1)
        offset, scale, thickness, porosity = physical.unbind(-1)
        shares = raw.view(len(raw), layers, -1)
        storage = torch.relu((level * scale + offset) * thickness)
        water = torch.relu(windows[:, channels["rain"].start])
        storages = []
        for layer in range(layers):
            state = self.bucket(shares[:, layer], water, storage[:, layer], porosity[:, layer], thickness[:, layer])
            storages.append(state.storage)
            water = state.loss
        levels: Tensor = (torch.stack(storages, dim=-1) / thickness - offset) / scale
        return levels


HEADS: Registry[type[Head]] = Registry("head", {"direct": Head, "rollout": RolloutHead, "bucket": BucketHead})
"""Every head by name: built from the design of its network. A head of one's own is a
subclass of `Head`."""
