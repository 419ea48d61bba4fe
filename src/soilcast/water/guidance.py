"""What a forecast must not do: moving against the water balance (Eq. 14), out of bounds, or drier by more rain.

Elementwise, so that the caller averages; all are zero where the forecast does nothing wrong.
"""

from __future__ import annotations

import torch
from torch import Tensor


def against_water(increment: Tensor, sign: Tensor) -> Tensor:
    """Movement against the water balance, whose mean square is Eq. 14: ReLU(-dW_t (SM^_t - SM_{t-1})).

    Eq. 14 is the mean of ReLU(dW_t (SM_{t-1} - SM^_t))^2, and the increment is SM^_t - SM_{t-1}. From lead 2 on
    SM_{t-1} is not observed yet, and the forecast of the lead before stands for it.

    Parameters
    ----------
    increment
        ``(..., lead)``, change of the forecast from the day before, in the space of the loss.
    sign
        ``(..., lead)``, dW_t of the forecast days after Eq. 13: -1, 0 or +1.

    Returns
    -------
    ``(..., lead)``, the increment's unit.
    """
    return torch.relu(-sign * increment)


def missed_water(change: Tensor, inflow: Tensor, tolerance: Tensor) -> Tensor:
    """Squared residual of the water balance beyond what it is known to: ReLU(|dS - W_t| - tolerance)^2.

    Parameters
    ----------
    change
        Forecast change of the guided water of a day dS ``(..., lead)``.
    inflow
        W_t in the same unit ``(..., lead)``; NaN where it is not known.
    tolerance
        What the observations miss it by ``(..., 1)``.

    Returns
    -------
    ``(..., lead)``, the unit squared; 0 where W_t is not known.
    """
    known = torch.isfinite(inflow)
    residual = change - torch.where(known, inflow, 0.0)
    return torch.where(known, torch.relu(residual.abs() - tolerance) ** 2, 0.0)


def beyond_bounds(level: Tensor, porosity: Tensor, lowest: Tensor | float = 0.0) -> Tensor:
    """Squared excess of soil moisture over the porosity, or its squared lack below the lowest possible value.

    ReLU(SM^ - porosity)^2 + ReLU(lowest - SM^)^2.

    Parameters
    ----------
    level
        ``(...)``, soil moisture SM^ that is forecast [m3 m-3].
    porosity, lowest
        What the soil holds at most and at least, ``(...)`` or what spreads to it [m3 m-3].

    Returns
    -------
    ``(...)`` [m6 m-6].
    """
    return torch.relu(level - porosity) ** 2 + torch.relu(lowest - level) ** 2


def against_rain(response: Tensor) -> Tensor:
    """Squared drying by more rain: ReLU(-(SM^(P + dP) - SM^(P)))^2, zero if the response to rain is monotone.

    Parameters
    ----------
    response
        ``(...)``, the forecast with more rain less the forecast as it is, in the space of the loss.

    Returns
    -------
    ``(...)``, the response's unit squared.
    """
    return torch.relu(-response) ** 2
