"""Heads, which make forecasts of the trunk's states: directly, day by day, or through stores of water."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from soilcast.models.bucket import Bucket
from soilcast.models.design import NetworkDesign
from soilcast.models.stores import Fluxes, MassConservingLSTM, Store, WaterBalance, surface_water

CHANGE = 0.3
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
        level = windows[:, steps, layout.channels[origin]] + CHANGE * output[..., 0]
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
        channels = self._skip_channels()
        if not channels:
            return states
        # By slices: positions in a list would be copied to a GPU, which a captured step may not do.
        parts = [windows[:, self.design.layout.task.window - 1, channel] for channel in channels]
        return torch.cat((states, *(part.unsqueeze(1).expand(-1, states.shape[1], -1) for part in parts)), dim=-1)

    @property
    def skip_columns(self) -> list[int]:
        """Positions of the newest soil moisture and the season in a step of the window."""
        return [column for channel in self._skip_channels() for column in range(channel.start, channel.stop)]

    def _skip_channels(self) -> list[slice]:
        layout = self.design.layout
        return [layout.channels[name] for name in _SKIP_CHANNELS if layout.count(name)]

    @property
    def origin_of_window(self) -> tuple[int, int, int] | None:
        """Where that lies which forecasts depart from: its first column, the step of lead 1, and steps a lead."""
        origin, layout = self.design.origin, self.design.layout
        if origin is None:
            return None
        first, moves = (layout.task.window - 1, 1) if origin == "damped" else (0, 0)
        return layout.channels[origin].start, first, moves


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
            level = output[..., 0] if origin is None else level + CHANGE * output[..., 0]
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


class StoreHead(Head):
    """Soil moisture as stores of water, which gates fill and empty day by day from the newest soil moisture on.

    The raw numbers of the predictive distribution come from the linear layer, as in `Head`.
    """

    needs_water = True

    def __init__(self, design: NetworkDesign, seen: int, start: Tensor) -> None:
        super().__init__(design)
        layout, task = design.layout, design.layout.task
        self.used_steps = slice(task.window - 1 - task.soil_latency, layout.steps)
        self.gates = nn.Linear(seen, len(start))
        with torch.no_grad():
            self.gates.weight.mul_(_FIRST_WEIGHTS)
            self.gates.bias.copy_(start)

    def forward(self, states: Tensor, windows: Tensor, mask: Tensor | None) -> Tensor:
        """See `Head.forward`."""
        layout, latency = self.design.layout, self.design.layout.task.soil_latency
        output = self._linear_output(states[:, latency:], windows, mask)
        level, days = windows[:, 0, layout.channels["newest"]], []
        for position, step in enumerate(range(layout.steps)[self.used_steps]):
            level = self.next_level(level, states[:, position], windows[:, step])
            days.append(level)
        levels = torch.stack(days[latency:], dim=1)
        return torch.cat((levels.unsqueeze(-1), output[..., 1:]), dim=-1)

    def next_level(self, level: Tensor, state: Tensor, window: Tensor) -> Tensor:
        """Compute the normalised soil moisture of a day ``(sample, layer)``.

        Parameters
        ----------
        level
            That of the day before.
        state
            Of the trunk on the day ``(sample, hidden)``.
        window
            The step of the day ``(sample, feature)``.
        """
        raise NotImplementedError

    def _physical(self, window: Tensor) -> tuple[Tensor, ...]:
        """Offset, scale, thickness and porosity of each layer, ``(sample, layer)``."""
        return window[:, self.design.layout.channels["physical"]].view(len(window), self.numbers[0], -1).unbind(-1)


class BucketHead(StoreHead):
    """Stores limited to 0..porosity, filled by rain, each emptying into the next: see `soilcast.models.bucket`."""

    def __init__(self, design: NetworkDesign) -> None:
        super().__init__(design, design.hidden_size, Bucket.start().repeat(len(design.layout.task.layers)))
        self.bucket = Bucket()

    def next_level(self, level: Tensor, state: Tensor, window: Tensor) -> Tensor:
        """See `StoreHead.next_level`."""
        offset, scale, thickness, porosity = self._physical(window)
        shares = self.gates(state).view(len(state), self.numbers[0], -1)
        storage = torch.relu((level * scale + offset) * thickness)
        water = torch.relu(window[:, self.design.layout.channels["rain"].start])
        storages = []
        for layer in range(self.numbers[0]):
            day = self.bucket(shares[:, layer], water, storage[:, layer], porosity[:, layer], thickness[:, layer])
            storages.append(day.storage)
            water = day.loss
        levels: Tensor = (torch.stack(storages, dim=-1) / thickness - offset) / scale
        return levels


class ClosingHead(StoreHead):
    """Stores of water whose change is the sum of their fluxes, none negative: see `soilcast.models.stores`."""

    store: ClassVar[type[Store]]

    def __init__(self, design: NetworkDesign) -> None:
        layers = len(design.layout.task.layers)
        super().__init__(design, design.hidden_size + layers, self.store.start(layers))

    def next_level(self, level: Tensor, state: Tensor, window: Tensor) -> Tensor:
        """See `StoreHead.next_level`."""
        return self._next_day(level, state, window)[0]

    def days(self, states: Tensor, windows: Tensor) -> Iterator[tuple[Tensor, Tensor, Fluxes]]:
        """Give for each day the storage at its beginning and end ``(sample, layer)`` [m] as forecast, and the fluxes.

        ``states`` and ``windows`` are those of `Head.forward`.
        """
        layout = self.design.layout
        level = windows[:, 0, layout.channels["newest"]]
        for position, step in enumerate(range(layout.steps)[self.used_steps]):
            before = self._storage(level, windows[:, step])
            level, fluxes = self._next_day(level, states[:, position], windows[:, step])
            yield before, self._storage(level, windows[:, step]), fluxes

    def closure_residual(self, states: Tensor, windows: Tensor) -> Tensor:
        """Give the largest |S' - S - (I - E - D)| over all days, layers and samples, ``()`` [m]."""
        residuals = [
            (after - before - (fluxes.inflow - fluxes.evaporation - fluxes.drainage)).abs().amax()
            for before, after, fluxes in self.days(states, windows)
        ]
        return torch.stack(residuals).amax()

    def _storage(self, level: Tensor, window: Tensor) -> Tensor:
        offset, scale, thickness, _ = self._physical(window)
        return torch.relu((level * scale + offset) * thickness)

    def _next_day(self, level: Tensor, state: Tensor, window: Tensor) -> tuple[Tensor, Fluxes]:
        layout = self.design.layout
        offset, scale, thickness, _ = self._physical(window)
        storage = self._storage(level, window)
        raw = self.gates(torch.cat((state, self.store.gate_state(storage, level)), dim=-1)).to(storage.dtype)
        depths = dict(zip(layout.surface_inputs, window[:, layout.channels["rain"]].unbind(-1), strict=True))
        fluxes = self.store.fluxes(raw, surface_water(depths), storage, thickness)
        # The sum is 0 or more but for its rounding.
        after = torch.relu(storage + fluxes.inflow - fluxes.evaporation - fluxes.drainage)
        return (after / thickness - offset) / scale, fluxes


class WaterBalanceHead(ClosingHead):
    """Layers that infiltrate, evaporate and drain: see `soilcast.models.stores.WaterBalance`."""

    store = WaterBalance


class MassConservingHead(ClosingHead):
    """The MC-LSTM of Hoedt et al. (2021), a cell for each layer: see `soilcast.models.stores.MassConservingLSTM`."""

    store = MassConservingLSTM
