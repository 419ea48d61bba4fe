"""The damped anomaly of normalised soil moisture: what forecasts may be departures from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from soilcast.cube.calendar import Days
from soilcast.models.baselines import fit_damped_anomaly
from soilcast.task import Task

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DampedAnomaly:
    """What the damped anomaly C_t + rho (SM_{t-lag} - C_{t-lag}) of normalised soil moisture is computed from.

    Parameters
    ----------
    harmonics
        Mean and annual harmonics of each day ``(time, wave)`` float32.
    climatology
        Their coefficients, which make C, ``(cell, lead, layer, wave)`` float32.
    damping
        rho ``(cell, lead, layer)`` float32.
    """

    harmonics: Tensor
    climatology: Tensor
    damping: Tensor

    def forecast(self, newest: Tensor, observed: Tensor, cells: Tensor, days: Tensor) -> Tensor:
        """Forecast.

        Parameters
        ----------
        newest
            Newest soil moisture ``(..., sample, layer)``.
        observed
            The day that it is of, by position ``(..., sample, layer)``.
        cells, days
            Positions of the cells and of the first forecast days ``(..., sample)``.

        Returns
        -------
        ``(..., lead, sample, layer)``.
        """
        climatology, damping = self.climatology[cells].movedim(-3, -4), self.damping[cells].movedim(-2, -3)
        lead = torch.arange(damping.shape[-3], device=days.device).unsqueeze(-1)
        expected = (climatology * self.harmonics[days.unsqueeze(-2) + lead].unsqueeze(-2)).sum(-1)
        anomaly = newest.unsqueeze(-3) - (climatology * self.harmonics[observed].unsqueeze(-4)).sum(-1)
        return expected + damping * anomaly


def fit_damped(
    observed: npt.NDArray[np.float32], days: Days, learn: npt.NDArray[np.bool_], task: Task
) -> tuple[Array, Array]:
    """Learn the damped anomaly of some cells; where nothing is known it is persistence.

    Parameters
    ----------
    observed
        Normalised soil moisture ``(cell, time, layer)``; NaN where missing.
    days
        The days ``(time,)``.
    learn
        Which of them to learn from ``(time,)``.

    Returns
    -------
    Climatology and damping: see `soilcast.training.statistics.Statistics`.
    """
    fitted = []
    for number, layer in enumerate(task.layers):
        lags = [lead + task.latency_of(layer) for lead in range(1, task.lead_days + 1)]
        fitted.append(fit_damped_anomaly(observed[..., number], days, learn, lags, task.fill_days))
    climatology, damping = (np.stack(parts, axis=2) for parts in zip(*fitted, strict=True))
    return np.nan_to_num(climatology), np.nan_to_num(damping, nan=1.0)
