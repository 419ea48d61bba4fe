"""The windows of outlooks: which days a network sees, and which of the features of a step is what."""

from __future__ import annotations

from dataclasses import dataclass

_CALENDAR = 2
_PHYSICAL = 4
"""Of each layer: offset and scale of its normalisation [m3 m-3], thickness [m], porosity [m3 m-3]."""


@dataclass(frozen=True)
class Horizon:
    """Days and features of a window.

    Parameters
    ----------
    length
        Days before the first day ahead, the issue day the last of them.
    leads
        Days ahead.
    latency
        How much older than the issue day the newest soil moisture is [d].
    dynamic, static
        Number of inputs.
    ahead
        Positions of those dynamic inputs that are known for the days ahead.
    calendar
        Whether the day of the year is seen.
    lags
        Layers whose soil moisture is seen.
    layers
        Layers to forecast.
    anchored
        Whether the newest soil moisture of each of `layers` is seen, from which its change is forecast.
    rain
        Position among the dynamic inputs of the rain, if the network needs it in metres, else None.
    """

    length: int
    leads: int
    latency: int
    dynamic: int
    static: int
    ahead: tuple[int, ...]
    calendar: bool
    lags: tuple[str, ...]
    layers: tuple[str, ...]
    anchored: bool
    rain: int | None

    @property
    def steps(self) -> int:
        """Days of a window."""
        return self.length + self.leads - 1

    @property
    def channels(self) -> dict[str, slice]:
        """Where in the features of a step what is: all that the network sees, then what it computes with."""
        counts = {
            "past": self.dynamic,
            "past_known": 1,
            "ahead": len(self.ahead),
            "calendar": _CALENDAR * self.calendar,
            "lags": len(self.lags),
            "lags_known": len(self.lags),
            "anchor": len(self.layers) * self.anchored,
            "static": self.static,
            "rain": int(self.rain is not None),
            "physical": _PHYSICAL * len(self.layers) * (self.rain is not None),
        }
        found, end = {}, 0
        for name, count in counts.items():
            found[name] = slice(end, end + count)
            end += count
        return found

    @property
    def seen(self) -> int:
        """Features that the network sees; those behind are for its sums alone."""
        return int(self.channels["static"].stop)
