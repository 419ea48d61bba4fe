"""The one place that cuts windows, and so decides what a network can see: for training and for forecasts alike.

What is not known at the end of the issue day is not gathered: positions stop at the newest day of each input that is
known, and the steps behind it hold 0 and a flag that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from soilcast.task import Layout
from soilcast.training.damped import DampedAnomaly


@dataclass(frozen=True)
class WindowSource:
    """What there is of some cells and consecutive days, normalised; `gather` lets of it be seen what is known.

    Parameters
    ----------
    dynamic
        ``(cell, time, feature)`` float32; 0 where missing.
    lags
        ``(cell, time, lag)`` float32; NaN where missing.
    newest
        The newest soil moisture on each day ``(cell, time, layer)`` float32; NaN where there is none; no layer where
        the network does not begin from it.
    calendar
        ``(time, 2)`` float32.
    static
        ``(cell, feature)`` float32.
    rain
        ``(cell, input, 2)`` float32: offset and scale that each of `soilcast.task.Layout.surface_inputs` was normalised
        with [m] or [m d-1].
    physical
        ``(cell, 4 x layer)`` float32, see `soilcast.task.Layout.channels`; empty if the head needs none.
    mass
        ``(cell, 2)`` float32: offset and scale that the rain was normalised with [m d-1]; None if no network counts it.
    neighbours
        Positions of the cells around each cell, row by row without itself ``(cell, neighbour)``, -1 for none;
        None if no network sees them.
    ready
        Whether a cell's inputs are there for a first forecast day ``(cell, time)``, without which no neighbour sees it.
    damped
        Of a layout whose forecasts are departures from the damped anomaly.
    ahead
        Weather of the forecast days as it was forecast ``(cell, issue, lead, feature)`` float32, 0 where missing; None
        where it is that of `dynamic`.
    first_issue
        Position of the first issue day of `ahead` along time; the others follow day by day.
    """

    dynamic: Tensor
    lags: Tensor
    newest: Tensor
    calendar: Tensor
    static: Tensor
    rain: Tensor
    physical: Tensor
    mass: Tensor | None = None
    neighbours: Tensor | None = None
    ready: Tensor | None = None
    damped: DampedAnomaly | None = None
    ahead: Tensor | None = None
    first_issue: int = 0

    @property
    def nbytes(self) -> int:
        """Memory of what is large [bytes]."""
        forecast = 0 if self.ahead is None else self.ahead.nbytes
        return int(self.dynamic.nbytes + self.lags.nbytes + self.newest.nbytes + forecast)

    def gather(self, layout: Layout, cells: Tensor, days: Tensor) -> Tensor:
        """Cut windows.

        Parameters
        ----------
        layout
            Which days and features.
        cells
            Positions ``(..., sample)``.
        days
            Positions of the first forecast days, which follow the issue days, ``(..., sample)``.

        Returns
        -------
        ``(..., step, sample, feature)`` float32.
        """
        first, day = self._steps(layout, cells, days)
        parts = self._seen(layout, cells, days)
        if layout.task.neighbourhood > 1:
            parts.append(self._around(layout, cells, days))
        if layout.physical:
            for number, (name, back) in enumerate(layout.surface_inputs.values()):
                offset, scale = self.rain[cells, number].unsqueeze(-3).unbind(-1)
                depth = self._known_ahead(layout, (name,), cells, days, first + day, back)[..., 0] * scale + offset
                parts.append(depth.unsqueeze(-1))
            parts.append(self.physical[cells].unsqueeze(-3).expand(*day.shape, -1))
        if layout.damped:
            assert self.damped is not None, "learnt where forecasts depart from it"
            newest = self._newest(layout, cells, days)
            observed = days.unsqueeze(-1) - 1 - torch.tensor(layout.layer_latency, device=days.device)
            ahead = self.damped.forecast(newest, observed, cells, days)
            parts.append(functional.pad(ahead, (0, 0, 0, 0, layout.task.window - 1, 0)))
        return torch.cat(parts, dim=-1)

    def sequences(self, layout: Layout, cells: slice, days: slice, device: torch.device) -> Tensor:
        """Lay out what all windows of some cells share, where a day is the same in every window that sees it.

        Parameters
        ----------
        days
            Positions of the days that the windows see.

        Returns
        -------
        ``(cell, day, feature)`` float32: window ``n`` ends before the day at position ``n + window`` of these.
        """
        assert layout.is_sequence, "windows that differ are cut one by one"
        dynamic, static = self.dynamic[cells, days].to(device), self.static[cells].to(device)
        shape = dynamic.shape[:2]
        parts = [dynamic, *(dynamic.new_ones(*shape, 1) for _ in layout.late_groups)]
        if layout.task.lags:
            found = self.lags[cells, days].to(device)
            parts += [torch.nan_to_num(found), torch.isfinite(found).to(found.dtype)]
        parts.append(static.unsqueeze(1).expand(-1, shape[1], -1))
        return torch.cat(parts, dim=2)

    def _steps(self, layout: Layout, cells: Tensor, days: Tensor) -> tuple[Tensor, Tensor]:
        """Position of each cell's first day among all cell-days, and the day of each step ``(..., step, sample)``."""
        step = torch.arange(layout.steps, device=days.device).unsqueeze(-1)
        # Days of cells lie one behind the other: one index finds a cell-day.
        return cells.unsqueeze(-2) * self.dynamic.shape[1], days.unsqueeze(-2) + step - (layout.task.window - 1)

    def _seen(self, layout: Layout, cells: Tensor, days: Tensor) -> list[Tensor]:
        """What a network sees of the cells themselves, each ``(..., step, sample, feature)``."""
        first, day = self._steps(layout, cells, days)
        issue = days.unsqueeze(-2) - 1
        parts = self._weather(layout, first, day, issue)
        weather = parts[0]
        if layout.ahead:
            parts.append(self._known_ahead(layout, layout.task.known_future, cells, days, first + day))
        if layout.task.calendar:
            parts.append(self.calendar[day])
        if layout.task.lags:
            newest = issue.unsqueeze(-1) - torch.tensor(layout.lag_latency, device=days.device)
            seen = torch.minimum((day - 1).unsqueeze(-1), newest)
            lag = torch.arange(len(layout.task.lags), device=days.device)
            found = self.lags.flatten(0, 1)[first.unsqueeze(-1) + seen, lag]
            is_known = torch.isfinite(found) & ((day - 1).unsqueeze(-1) <= newest)
            parts += [torch.where(is_known, found, 0.0), is_known.to(found.dtype)]
        if layout.task.sees_own_layers:
            parts.append(self._newest(layout, cells, days).unsqueeze(-3).expand(*day.shape, -1))
        parts.append(self.static[cells].unsqueeze(-3).expand(*day.shape, -1))
        if layout.mass:
            assert self.mass is not None, "known where it is counted"
            position = layout.task.dynamic.index("tp")
            rain = weather[..., position, None]
            if "tp" in layout.task.known_future:
                rain = self._known_ahead(layout, ("tp",), cells, days, first + day)
                is_known = torch.ones_like(rain)
            else:
                is_known = (day - 1 <= issue - layout.dynamic_latency[position]).unsqueeze(-1)
            offset, scale = self.mass[cells].unsqueeze(-3).unbind(-1)
            parts.append(torch.relu(rain * scale.unsqueeze(-1) + offset.unsqueeze(-1)) * is_known)
        return parts

    def _around(self, layout: Layout, cells: Tensor, days: Tensor) -> Tensor:
        """What a network sees of the cells around, and whether they are there, ``(..., step, sample, feature)``."""
        assert self.neighbours is not None, "seen by this network"
        assert self.ready is not None, "what neighbours are known by"
        found = self.neighbours[cells]
        around, firsts = found.clamp_min(0).flatten(-2), days.unsqueeze(-1).expand(found.shape).flatten(-2)
        own = self._seen(layout, around, firsts)
        there = (found >= 0).flatten(-2) & self.ready.flatten()[around * self.ready.shape[1] + firsts]
        seen = torch.cat((*own, torch.ones_like(own[0][..., :1])), dim=-1) * there.unsqueeze(-2).unsqueeze(-1)
        return seen.reshape(*seen.shape[:-2], found.shape[-2], -1)

    def _weather(self, layout: Layout, first: Tensor, day: Tensor, issue: Tensor) -> list[Tensor]:
        """Dynamic inputs of the day before each step, and of each group of equal latency whether they are known."""
        before = day - 1
        if not layout.late_groups:
            return [self.dynamic.flatten(0, 1)[first + before]]
        if len(set(layout.dynamic_latency)) == 1:
            newest = issue - layout.dynamic_latency[0]
            is_known = (before <= newest).unsqueeze(-1)
            weather = self.dynamic.flatten(0, 1)[first + torch.minimum(before, newest)]
            return [torch.where(is_known, weather, 0.0), is_known.to(weather.dtype)]
        latency = torch.tensor(layout.dynamic_latency, device=day.device)
        newest = issue.unsqueeze(-1) - latency
        seen = torch.minimum(before.unsqueeze(-1), newest)
        feature = torch.arange(len(latency), device=day.device)
        weather = self.dynamic.flatten(0, 1)[first.unsqueeze(-1) + seen, feature]
        flags = [(before <= issue - days).unsqueeze(-1).to(weather.dtype) for days in layout.late_groups]
        return [torch.where(before.unsqueeze(-1) <= newest, weather, 0.0), *flags]

    def _known_ahead(
        self, layout: Layout, names: Sequence[str], cells: Tensor, days: Tensor, at: Tensor, back: int = 0
    ) -> Tensor:
        """Some of the inputs that are known on the forecast days too, ``(..., step, sample, name)``.

        They are of ``back`` days before the day of each step, whose position among all cell-days is ``at``
        ``(..., step, sample)``.
        """
        past = at - back if self.ahead is None else at[..., : layout.task.window - 1 + back, :] - back
        position = torch.tensor([layout.task.dynamic.index(name) for name in names], device=days.device)
        observed = self.dynamic.flatten(0, 1)[past.unsqueeze(-1), position]
        if self.ahead is None:
            return observed
        column = torch.tensor([layout.task.known_future.index(name) for name in names], device=days.device)
        lead = torch.arange(layout.task.lead_days - back, device=days.device).unsqueeze(-1)
        issued = (cells * self.ahead.shape[1] + days - 1 - self.first_issue).unsqueeze(-2)
        forecast = self.ahead.flatten(0, 1)[issued.unsqueeze(-1), lead.unsqueeze(-1), column]
        return torch.cat((observed, forecast), dim=-3)

    def _newest(self, layout: Layout, cells: Tensor, days: Tensor) -> Tensor:
        """Newest known soil moisture of the layers ``(..., sample, layer)``; 0 where there is none."""
        back = torch.tensor(layout.layer_latency, device=days.device)
        at = (cells * self.newest.shape[1] + days - 1).unsqueeze(-1) - back
        newest = self.newest.flatten(0, 1)[at, torch.arange(len(layout.layer_latency), device=days.device)]
        return torch.nan_to_num(newest)


def mask_lags(windows: Tensor, layout: Layout, share: float, random: torch.Generator) -> Tensor:
    """Hide a share of the observed soil moisture of windows ``(..., step, sample, feature)``, chosen at random.

    Networks that were trained so forecast where observations have gaps.
    """
    values, flags = (layout.channels[name] for name in ("lags", "lags_known"))
    kept = torch.rand(windows[..., values].shape, generator=random) >= share
    kept = kept.to(windows.device, windows.dtype)
    masked = windows.clone()
    masked[..., values] *= kept
    masked[..., flags] *= kept
    return masked
