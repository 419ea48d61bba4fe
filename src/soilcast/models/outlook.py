"""The network of outlooks: an LSTM (Eq. 1-6) over the days known and the days ahead, and what it makes of its state."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from soilcast.models.bucket import Bucket
from soilcast.models.horizon import Horizon

_CHANGE = 0.3
"""The head speaks of changes in this share of what the normalised soil moisture spans: about those of some days."""

_BESIDE = ("anchor", "calendar")
"""Channels that the heads see too."""

_MORE_RAIN = 0.5
"""How much more rain the response is asked to, in the units of the normalised rain."""


@dataclass(frozen=True)
class OutlookDesign:
    """What an outlook network is built to.

    Parameters
    ----------
    horizon
        Its windows.
    hidden_size, dropout
        As of `soilcast.models.lstm.LSTM`.
    spread
        Initial raw numbers of the distribution around a forecast, ``(parameter,)``; none for a point.
    change
        Forecast the change from the newest soil moisture, not the soil moisture itself.
    rollout
        Feed each day's forecast to the next day's step.
    bucket
        Let the changes be what comes into a store of water and leaves it.
    response
        In training, say also how forecasts answer to more rain ahead: position of the rain in `Horizon.ahead`, or None.
    hidden_lags
        Share of the soil moisture that is hidden in training.
    first_day_leads
        Let the first day ahead alone shape the state of the LSTM, on which the heads of the other days stand.
    """

    horizon: Horizon
    hidden_size: int
    dropout: float
    spread: tuple[float, ...]
    change: bool
    rollout: bool
    bucket: bool
    response: int | None
    hidden_lags: float
    first_day_leads: bool = False


class OutlookLSTM(nn.Module):
    """An LSTM over the days known and, if their weather is known, the days ahead; and linear heads on its state.

    Direct, each day ahead has a head of its own: on the state of its day where weather is known ahead, else on that of
    the issue day. Forecasts start at persistence: a head gives the change since the newest soil moisture. Rolled out,
    or as a bucket, it is the change of each day since the one before, those between the newest soil moisture and the
    first day ahead among them; so a latency needs no other network.

    Parameters
    ----------
    design
        See `OutlookDesign`.
    """

    def __init__(self, design: OutlookDesign) -> None:
        super().__init__()
        self.design = design
        horizon = design.horizon
        self._said = (len(horizon.layers), 1 + len(design.spread))
        days = 1 if design.rollout else horizon.leads
        seen = design.hidden_size + sum(_count(horizon.channels[name]) for name in _BESIDE)
        self.lstm = nn.LSTM(horizon.seen, design.hidden_size, batch_first=True)
        self.dropout = nn.Dropout(design.dropout)
        self.head = nn.Linear(seen, days * self._said[0] * self._said[1])
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.view(days, *self._said).copy_(torch.tensor([0.0, *design.spread]))
        self.bucket = Bucket() if design.bucket else None
        if design.bucket:
            self.gates = nn.Linear(design.hidden_size, Bucket.parameters_a_day * len(horizon.layers))
            with torch.no_grad():
                self.gates.weight.mul_(0.1)
                self.gates.bias.view(len(horizon.layers), -1).copy_(Bucket.start())

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of what it says of a sample: days ahead, layers, and the numbers of `forward`."""
        design = self.design
        numbers = 1 + len(design.spread) + (design.response is not None)
        return design.horizon.leads, len(design.horizon.layers), numbers

    def forward(self, inputs: Tensor) -> Tensor:
        """Forecast the days ahead.

        Parameters
        ----------
        inputs
            ``(sample, step, feature)`` float32, as `Horizon.channels` lays them out.

        Returns
        -------
        ``(sample, lead, layer, number)``: normalised soil moisture, the raw numbers of its distribution, and, if the
        design asks for it, how much the forecast grows with more rain (0 outside training).
        """
        if self.training and self.design.hidden_lags:
            inputs = self._with_gaps(inputs)
        # One mask for both, so that the answer to more rain is of the rain alone.
        kept = self.dropout(inputs.new_ones(len(inputs), self._days_said, self.design.hidden_size))
        said = self._forecast(inputs, kept)
        if self.design.response is None:
            return said
        answer = torch.zeros_like(said[..., :1])
        if self.training:
            answer = self._forecast(self._with_more_rain(inputs), kept)[..., :1] - said[..., :1]
        return torch.cat((said, answer), dim=-1)

    @property
    def _days_said(self) -> int:
        """Days that heads speak of: those ahead, and rolled out also those since the newest soil moisture."""
        horizon = self.design.horizon
        return horizon.leads + (horizon.latency if self.design.rollout and self.design.change else 0)

    def _forecast(self, inputs: Tensor, kept: Tensor) -> Tensor:
        if self.design.rollout:
            return self._rolled_out(inputs, kept)
        horizon = self.design.horizon
        first = horizon.length - 1
        outputs, _ = self.lstm(inputs[:, : None if horizon.ahead else horizon.length, : horizon.seen])
        states = outputs[:, first:] if horizon.ahead else outputs[:, first:].expand(-1, horizon.leads, -1)
        seen = self._beside(states * kept, inputs)
        if self.design.first_day_leads:
            seen = torch.cat((seen[:, :1], seen[:, 1:].detach()), dim=1)
        weight = self.head.weight.view(horizon.leads, -1, seen.shape[-1])
        said = torch.einsum("sdf,dof->sdo", seen, weight) + self.head.bias.view(horizon.leads, -1)
        said = said.view(len(inputs), horizon.leads, *self._said)
        if self.bucket is not None:
            centre = self._filled(self.bucket, outputs, inputs)
        elif self.design.change:
            centre = inputs[:, :1, horizon.channels["anchor"]] + _CHANGE * said[..., 0]
        else:
            centre = said[..., 0]
        return torch.cat((centre.unsqueeze(-1), said[..., 1:]), dim=-1)

    def _rolled_out(self, inputs: Tensor, kept: Tensor) -> Tensor:
        """Forecast day by day, from the day after the newest soil moisture on."""
        horizon, change = self.design.horizon, self.design.change
        behind = self._days_said - horizon.leads
        start = horizon.length - 1 - behind
        outputs, state = self.lstm(inputs[:, : start + 1, : horizon.seen])
        level, days = inputs[:, 0, horizon.channels["anchor"]], []
        for step in range(start, horizon.steps):
            if step > start:
                outputs, state = self.lstm(self._fed_back(inputs[:, step : step + 1], level), state)
            output = outputs[:, -1:] * kept[:, step - start, None]
            said = self.head(self._beside(output, inputs)).view(len(inputs), *self._said)
            level = level + _CHANGE * said[..., 0] if change else said[..., 0]
            days.append(torch.cat((level.unsqueeze(-1), said[..., 1:]), dim=-1))
        return torch.stack(days[behind:], dim=1)

    def _filled(self, bucket: Bucket, outputs: Tensor, inputs: Tensor) -> Tensor:
        """Soil moisture of the days ahead ``(sample, lead, layer)``, from a store that is filled and emptied."""
        horizon = self.design.horizon
        level, days = inputs[:, 0, horizon.channels["anchor"]], []
        for step in range(horizon.length - 1 - horizon.latency, horizon.steps):
            level = self._poured(bucket, level, self.gates(outputs[:, step]), inputs[:, step])
            days.append(level)
        return torch.stack(days[horizon.latency :], dim=1)

    def _beside(self, states: Tensor, inputs: Tensor) -> Tensor:
        """Let a head see, beside the state, the newest soil moisture and the season."""
        step = self.design.horizon.length - 1
        parts = [inputs[:, step, self.design.horizon.channels[name]] for name in _BESIDE]
        return torch.cat((states, *(part.unsqueeze(1).expand(-1, states.shape[1], -1) for part in parts)), dim=-1)

    def _poured(self, bucket: Bucket, level: Tensor, raw: Tensor, inputs: Tensor) -> Tensor:
        """Let water come into each layer, from the rain or from the layer above, and leave it."""
        channels, layers = self.design.horizon.channels, len(self.design.horizon.layers)
        physical = inputs[:, channels["physical"]].view(len(inputs), layers, -1)
        offset, scale, thickness, porosity = physical.unbind(-1)
        shares = raw.view(len(raw), layers, -1)
        storage = torch.relu((level * scale + offset) * thickness)
        water = torch.relu(inputs[:, channels["rain"].start])
        kept = []
        for layer in range(layers):
            step = bucket(shares[:, layer], water, storage[:, layer], porosity[:, layer], thickness[:, layer])
            kept.append(step.storage)
            water = step.loss
        changed: Tensor = (torch.stack(kept, dim=-1) / thickness - offset) / scale
        return changed

    def _fed_back(self, inputs: Tensor, level: Tensor) -> Tensor:
        """Put a forecast where the soil moisture of the day before is seen, if it is not known."""
        horizon = self.design.horizon
        lags, flags = horizon.channels["lags"], horizon.channels["lags_known"]
        changed = inputs[..., : horizon.seen].clone()
        for position, layer in enumerate(horizon.layers):
            if layer in horizon.lags:
                lag = horizon.lags.index(layer)
                changed[:, 0, lags.start + lag] = level[:, position]
                changed[:, 0, flags.start + lag] = 1.0
        return changed

    def _with_gaps(self, inputs: Tensor) -> Tensor:
        lags, flags = (inputs[..., self.design.horizon.channels[name]] for name in ("lags", "lags_known"))
        kept = (torch.rand_like(lags) >= self.design.hidden_lags).to(inputs.dtype)
        changed = inputs.clone()
        changed[..., self.design.horizon.channels["lags"]] = lags * kept
        changed[..., self.design.horizon.channels["lags_known"]] = flags * kept
        return changed

    def _with_more_rain(self, inputs: Tensor) -> Tensor:
        assert self.design.response is not None
        horizon = self.design.horizon
        changed = inputs.clone()
        changed[:, horizon.length - 1 :, horizon.channels["ahead"].start + self.design.response] += _MORE_RAIN
        return changed


def _count(place: slice) -> int:
    return int(place.stop - place.start)
