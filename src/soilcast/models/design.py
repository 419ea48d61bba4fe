"""What a network is built to, and the parts that it can have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from soilcast.plugins import Registry
from soilcast.task import Layout

if TYPE_CHECKING:
    from torch import nn

    from soilcast.models.heads import Head

NETWORKS: Registry[Callable[[NetworkDesign], nn.Module]] = Registry(
    "network",
    {
        "lstm": "soilcast.models.trunks:build_lstm",
        "gru": "soilcast.models.trunks:build_gru",
        "ea_lstm": "soilcast.models.trunks:EALSTM",
        "mc_lstm": "soilcast.models.trunks:MassConservingLSTM",
        "transformer": "soilcast.models.trunks:Transformer",
        "cnn": "soilcast.models.neighbourhood:CNN",
        "conv_lstm": "soilcast.models.neighbourhood:ConvLSTM",
    },
)
"""Every trunk by name: built from the design of its network.

A trunk takes ``(sample, step, feature)`` float32 and gives ``(states, memory)``, its states ``(sample, step, hidden)``
and whatever it needs, given as a second argument, to go on with the next step: what ``nn.LSTM(batch_first=True)`` and
``nn.GRU(batch_first=True)`` do. What it cannot do without is named by its ``needs``: ``static`` inputs, ``rain`` in
metres (the channel ``mass``), ``neighbours`` (the channel ``around``).
"""

_FREE = ("lstm", "gru")
"""Trunks that need nothing: this is known without the import of torch."""


def needs_of(network: str) -> frozenset[str]:
    """Give what a trunk cannot do without: see `NETWORKS`."""
    return frozenset() if network in _FREE else frozenset(getattr(NETWORKS[network], "needs", ()))


HEADS: Registry[type[Head]] = Registry(
    "head",
    {
        "direct": "soilcast.models.heads:Head",
        "rollout": "soilcast.models.heads:RolloutHead",
        "bucket": "soilcast.models.heads:BucketHead",
        "water_balance": "soilcast.models.heads:WaterBalanceHead",
        "mc_lstm": "soilcast.models.heads:MassConservingHead",
    },
)
"""Every head by name: built from the design of its network. A head of one's own is a
subclass of `soilcast.models.heads.Head`."""


@dataclass(frozen=True)
class NetworkDesign:
    """What a network is built to.

    Parameters
    ----------
    layout
        Its windows.
    network, head
        Names in `NETWORKS` and `HEADS`.
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
