"""Physical consistency of forecasts with the water balance (Eq. 19 of Geng et al., 2024)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from soilcast.water.balance import Signs


def physical_consistency(
    signs: Signs, observed_before: npt.NDArray[np.floating], predicted: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Share of the days on which the forecast moves the way that the water balance does (Eq. 19).

    Parameters
    ----------
    signs
        dW_t ``(cell, time)`` of the forecast days; after `mask_observed` for the masked form.
    observed_before
        SM_{t-1} ``(cell, time)``, observed the day before each forecast day [m3 m-3].
    predicted
        SM^_t ``(cell, time)`` [m3 m-3].

    Returns
    -------
    ``(cell,)``, consistent / (consistent + inconsistent); NaN where no day counts. Days on which
    dW_t (SM_{t-1} - SM^_t) is zero or a value is missing count for neither.
    """
    product = signs * (observed_before.astype(np.float64) - predicted.astype(np.float64))
    consistent = np.count_nonzero(product < 0, axis=1)
    counted = consistent + np.count_nonzero(product > 0, axis=1)
    share = np.full(len(counted), np.nan)
    np.divide(consistent, counted, out=share, where=counted > 0)
    return share
