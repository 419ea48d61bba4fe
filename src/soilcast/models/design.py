"""What a network is built to."""

from __future__ import annotations

from dataclasses import dataclass

from soilcast.task import Layout


@dataclass(frozen=True)
class NetworkDesign:
    """What a network is built to.

    Parameters
    ----------
    layout
        Its windows.
    network, head
        Names in `soilcast.models.network.NETWORKS` and `soilcast.models.heads.HEADS`.
    hidden_size, dropout
        Hidden units, and the share of them that is dropped in training before the head.
    origin
        What forecasts are departures from: a channel of the window (`Layout.channels`), ``newest`` or ``damped``; None
        where soil moisture itself is forecast.
    lead1_only
        Let lead 1 alone back-propagate into the trunk.
    spread
        Initial raw numbers of the predictive distribution, ``(parameter,)``; none for a point.
    rain_response
        Position of the rain in `Layout.ahead` if, in training, forecasts are also made with more rain; else None.
    """

    layout: Layout
    network: str = "lstm"
    head: str = "direct"
    hidden_size: int = 128
    dropout: float = 0.15
    origin: str | None = None
    lead1_only: bool = False
    spread: tuple[float, ...] = ()
    rain_response: int | None = None
