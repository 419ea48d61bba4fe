"""Presets of networks that are not the paper's."""

from __future__ import annotations

import pytest

from soilcast.training.config import PRESETS


def register_gru(patch: pytest.MonkeyPatch) -> None:
    """Register the presets ``gru`` and ``phys-gru`` until the patch is undone."""
    network = {"name": "gru"}
    patch.setitem(PRESETS, "gru", {"label": "GRU", "network": network})
    guided = {"balance": "multi", "weights": [0.1, 0.9]}
    patch.setitem(PRESETS, "phys-gru", {"label": "PHYs-GRU", "network": network, "loss": guided})
