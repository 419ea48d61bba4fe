"""What is known when: the one place that cuts the windows of outlooks, and so decides what a network can see.

A window holds a step a day: the days up to the issue day, then those ahead. The step of day d carries the weather of
the day before and, where that is known ahead, of d itself; so the network's output of the step is of day d, and with
one day ahead and nothing else the window is the paper's. What is not known at the end of the issue day is not gathered:
positions stop at the newest day that is, and the steps behind it hold 0 and a flag that says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from soilcast.models.horizon import Horizon
from soilcast.training.config import Config


def horizon_of(config: Config) -> Horizon:
    """Lay down what a config lets a network know."""
    inputs, outlook = config.inputs, config.outlook
    assert outlook.lead_days, "only outlooks have a horizon"
    return Horizon(
        length=inputs.sequence_length,
        leads=outlook.lead_days,
        latency=inputs.latency_days if inputs.lags else 0,
        dynamic=len(inputs.dynamic),
        static=len(inputs.static),
        ahead=tuple(inputs.dynamic.index(name) for name in inputs.known_future),
        calendar=inputs.calendar,
        lags=inputs.lags,
        layers=config.layers,
        anchored=set(config.layers) <= set(inputs.lags),
        rain=inputs.dynamic.index("tp") if outlook.head == "bucket" else None,
    )


@dataclass(frozen=True)
class Known:
    """What there is of some cells and consecutive days, normalised; `gather` lets of it be seen what is known.

    Parameters
    ----------
    dynamic
        ``(cell, time, feature)`` float32; 0 where missing.
    lags
        ``(cell, time, lag)`` float32; NaN where missing.
    anchor
        The newest soil moisture on each day ``(cell, time, layer)`` float32; NaN where there is none.
    calendar
        ``(time, 2)`` float32.
    static
        ``(cell, feature)`` float32.
    rain
        ``(cell, 2)`` float32: offset and scale that `dynamic`'s rain was normalised with [m d-1].
    physical
        ``(cell, 4 x layer)`` float32, see `Horizon.channels`; empty if the network needs none.
    """

    dynamic: Tensor
    lags: Tensor
    anchor: Tensor
    calendar: Tensor
    static: Tensor
    rain: Tensor
    physical: Tensor

    def gather(self, horizon: Horizon, cells: Tensor, days: Tensor) -> Tensor:
        """Cut windows.

        Parameters
        ----------
        cells
            Positions ``(..., sample)``.
        days
            Positions of the first days ahead, which follow the issue days, ``(..., sample)``.

        Returns
        -------
        ``(..., step, sample, feature)`` float32.
        """
        count = self.calendar.shape[0]
        step = torch.arange(horizon.steps, device=days.device).unsqueeze(-1)
        issue = days.unsqueeze(-2) - 1
        day = issue + 1 + step - (horizon.length - 1)
        first = cells.unsqueeze(-2) * count

        weather_day = torch.minimum(day - 1, issue)
        is_past = (day - 1 <= issue).unsqueeze(-1)
        weather = self.dynamic.reshape(-1, horizon.dynamic)[first + weather_day]
        parts = [torch.where(is_past, weather, 0.0), is_past.to(weather.dtype)]
        if horizon.ahead:
            ahead = torch.tensor(horizon.ahead, device=days.device)
            parts.append(self.dynamic.reshape(-1, horizon.dynamic)[(first + day).unsqueeze(-1), ahead])
        if horizon.calendar:
            parts.append(self.calendar[day])
        if horizon.lags:
            newest = issue - horizon.latency
            found = self.lags.reshape(-1, len(horizon.lags))[first + torch.minimum(day - 1, newest)]
            is_seen = torch.isfinite(found) & (day - 1 <= newest).unsqueeze(-1)
            parts += [torch.where(is_seen, found, 0.0), is_seen.to(found.dtype)]
        if horizon.anchored:
            parts.append(self.anchors(horizon, cells, days).unsqueeze(-3).expand(*day.shape, -1))
        parts.append(self.static[cells].unsqueeze(-3).expand(*day.shape, -1))
        if horizon.rain is not None:
            offset, scale = self.rain[cells].unsqueeze(-3).unbind(-1)
            falling = self.dynamic.reshape(-1, horizon.dynamic)[first + day, horizon.rain] * scale + offset
            parts += [falling.unsqueeze(-1), self.physical[cells].unsqueeze(-3).expand(*day.shape, -1)]
        return torch.cat(parts, dim=-1)

    def anchors(self, horizon: Horizon, cells: Tensor, days: Tensor) -> Tensor:
        """Newest known soil moisture of the layers ``(..., sample, layer)``; 0 where there is none."""
        newest = self.anchor[cells, days - 1 - horizon.latency]
        return torch.where(torch.isfinite(newest), newest, 0.0)
