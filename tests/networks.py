"""A network that is not soilcast's own, as a user would register one (docs/own-model.md)."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from soilcast.models import MODELS, NETWORKS, Model


class GRU(nn.Module):
    """One layer of GRU, dropout, and a linear head on the last step."""

    def __init__(self, features: int, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.gru = nn.GRU(features, hidden_size, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden, _ = self.gru(inputs)
        return self.head(self.dropout(hidden[:, -1])).squeeze(-1)


def register_gru(patch: pytest.MonkeyPatch) -> None:
    """Register the models ``gru`` and ``phys-gru`` until the patch is undone."""
    patch.setitem(NETWORKS, "gru", GRU)
    patch.setitem(MODELS, "gru", Model("GRU", "gru", "rmse", None, (1.0, 0.0)))
    patch.setitem(MODELS, "phys-gru", Model("PHYs-GRU", "gru", "water_balance", "multi", (0.1, 0.9)))
