"""Networks of every kind whose backend is written out, and what goes through them, for tests of the backends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from soilcast.models import HEADS, Network, NetworkDesign
from soilcast.models.members import Members
from soilcast.task import Layout, Task

PAPER = {"dynamic": ("t2m", "tp"), "static": ("clay",)}
SEVERAL = {**PAPER, "window": 5, "lead_days": 3, "layers": ("swvl1", "swvl2"), "lags": ("swvl1", "swvl2")}
QUANTILES = tuple(0.1 * number for number in range(1, 8))
CMAL = tuple(0.05 * number for number in range(12))


@dataclass(frozen=True)
class Case:
    """A design, and how many members of it there are."""

    task: dict[str, Any]
    head: str = "direct"
    members: int = 1
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def layout(self) -> Layout:
        """Of its windows."""
        return Layout(Task(**self.task), physical=HEADS[self.head].needs_water)

    def network(self, number: int = 0) -> Network:
        """Build a member."""
        torch.manual_seed(number)
        return Network(NetworkDesign(self.layout, head=self.head, hidden_size=8, dropout=0.5, **self.options)).eval()

    def stacked(self) -> Members:
        """Build the members."""
        return Members([self.network(number) for number in range(self.members)])

    def windows(self, samples: int, seed: int = 0) -> Tensor:
        """Make windows ``(member, step, sample, feature)``, with rain, porosity and thickness that can be."""
        random, layout = torch.Generator().manual_seed(seed), self.layout
        shape = (self.members, layout.steps, samples, layout.channels["physical"].stop)
        found = torch.rand(shape, generator=random)
        if layout.physical:
            found[..., layout.channels["rain"]] *= 0.02
            found[..., layout.channels["physical"]] = torch.tensor([0.1, 0.3, 0.07, 0.5] * len(layout.task.layers))
            # All layers of a sample begin from one newest value, the same in every step.
            found[..., layout.channels["newest"]] = found[:, :1, :, layout.channels["newest"]]
        return found

    def mask(self, samples: int, seed: int = 1) -> Tensor:
        """Make dropout masks ``(member, sample, row, hidden)``."""
        random = torch.Generator().manual_seed(seed)
        shape = (self.members, samples, *self.network().mask_shape)
        return (torch.rand(shape, generator=random) > 0.4) / 0.6

    def grad(self, samples: int, seed: int = 2) -> Tensor:
        """Make a gradient with respect to forecasts ``(member, sample, lead, layer, number)``."""
        random = torch.Generator().manual_seed(seed)
        return torch.randn(self.members, samples, *self.network().output_shape, generator=random)


CASES = {
    "the paper's": Case(PAPER),
    "an ensemble of the paper's": Case(PAPER, members=3),
    "the paper's, two layers": Case({**PAPER, "layers": ("swvl1", "swvl2")}, members=2),
    "the paper's, a change": Case({**PAPER, "lags": ("swvl1",)}, options={"origin": "newest"}),
    "the paper's, quantiles": Case(PAPER, members=2, options={"spread": QUANTILES}),
    "leads without weather ahead": Case({**SEVERAL, "lags": ()}),
    "leads without weather ahead, cmal": Case({**SEVERAL, "lags": ("swvl3",)}, members=2, options={"spread": CMAL}),
    "leads with weather ahead": Case({**SEVERAL, "lags": (), "known_future": ("tp",)}, members=2),
    "newest soil moisture and calendar": Case({**SEVERAL, "calendar": True}, options={"origin": "newest"}),
    "weather ahead, newest, calendar, latency, quantiles": Case(
        {**SEVERAL, "calendar": True, "known_future": ("t2m", "tp"), "latency": {"lags": 2}},
        members=2,
        options={"origin": "newest", "spread": QUANTILES},
    ),
    "lead 1 alone shapes the trunk": Case(
        {**SEVERAL, "known_future": ("tp",)}, options={"origin": "newest", "lead1_only": True, "spread": CMAL}
    ),
    "bucket": Case({**SEVERAL, "known_future": ("tp",)}, head="bucket", options={"origin": "newest"}),
    "water balance with snow": Case(
        {**SEVERAL, "dynamic": ("t2m", "tp", "sd"), "known_future": ("tp", "sd")},
        head="water_balance",
        members=2,
        options={"origin": "newest"},
    ),
    "mass-conserving LSTM of late soil moisture, quantiles": Case(
        {**SEVERAL, "known_future": ("tp",), "latency": {"lags": 2}},
        head="mc_lstm",
        options={"origin": "newest", "spread": QUANTILES},
    ),
    "bucket of late soil moisture, quantiles": Case(
        {**SEVERAL, "known_future": ("tp",), "latency": {"lags": 2}},
        head="bucket",
        members=2,
        options={"origin": "newest", "spread": QUANTILES},
    ),
}
