"""A network that is not soilcast's own, as a user would register one (docs/own-model.md)."""

from __future__ import annotations

import pytest
from torch import nn

from soilcast.models import NETWORKS
from soilcast.training.config import PRESETS


def build_gru(features: int, hidden_size: int) -> nn.Module:
    """Build one layer of GRU."""
    return nn.GRU(features, hidden_size, batch_first=True)


def register_gru(patch: pytest.MonkeyPatch) -> None:
    """Register the presets ``gru`` and ``phys-gru`` until the patch is undone."""
    network = {"name": "gru"}
    patch.setitem(NETWORKS, "gru", build_gru)
    patch.setitem(PRESETS, "gru", {"label": "GRU", "network": network})
    guided = {"balance": "multi", "weights": [0.1, 0.9]}
    patch.setitem(PRESETS, "phys-gru", {"label": "PHYs-GRU", "network": network, "loss": guided})
