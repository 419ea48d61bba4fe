"""The LSTM of Eq. 1-7 of Geng et al. (2024)."""

from __future__ import annotations

from torch import Tensor, nn


class LSTM(nn.Module):
    """One layer of LSTM (Eq. 1-6), dropout, and a linear head on the last step (Eq. 7); c_0 = h_0 = 0.

    Parameters
    ----------
    features
        Number of inputs a day.
    hidden_size
        Number of hidden units.
    dropout
        Share of the last step's hidden units that are dropped in training.
    """

    def __init__(self, features: int, hidden_size: int = 128, dropout: float = 0.15) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, hidden_size, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Forecast the day after the last input day.

        Parameters
        ----------
        inputs
            ``(sample, day, feature)`` float32, normalised; static features repeated at every day.

        Returns
        -------
        ``(sample,)``, normalised soil moisture.
        """
        hidden, _ = self.lstm(inputs)
        forecast: Tensor = self.head(self.dropout(hidden[:, -1])).squeeze(-1)
        return forecast


def build_lstm(features: int, hidden_size: int, dropout: float) -> nn.Module:
    """Build the network for `NETWORKS`."""
    return LSTM(features, hidden_size, dropout)
