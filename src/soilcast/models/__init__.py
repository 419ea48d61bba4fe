"""The models: networks as plain torch modules, and what the paper makes of them by the choice of a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from soilcast.models.lstm import LSTM, build_lstm
from soilcast.water.config import Form

__all__ = ["LSTM", "MODELS", "NETWORKS", "Model"]

NETWORKS: dict[str, Callable[[int, int, float], nn.Module]] = {"lstm": build_lstm}
"""Every network by name: built from the number of features, the hidden size and the dropout."""


@dataclass(frozen=True)
class Model:
    """A network and the loss that guides it.

    Parameters
    ----------
    label
        How tables and figures call it.
    network
        Name in `NETWORKS`.
    loss
        Name in `soilcast.water.losses.LOSSES`.
    form
        Which W the loss follows, None where it follows none.
    weights
        (l1, l2) of Eq. 8 unless the config says otherwise: the best of the paper's Table 2.
    """

    label: str
    network: str
    loss: str
    form: Form | None
    weights: tuple[float, float]


MODELS: dict[str, Model] = {
    "lstm": Model("LSTM", "lstm", "rmse", None, (1.0, 0.0)),
    "phy-lstm": Model("PHY-LSTM", "lstm", "water_balance", "single", (0.5, 0.5)),
    "phys-lstm": Model("PHYs-LSTM", "lstm", "water_balance", "multi", (0.1, 0.9)),
}
"""Every model by the name that ``--model`` takes."""
