"""Input of a metric: one target, lead and model of some cells, on the days that count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from soilcast.verify.deterministic import Cells, score_cells

EXTREME_SHARE = 0.05
"""Share of a cell's observed test days that are its driest, and its wettest."""

Floats = npt.NDArray[np.floating]
Signs = npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Aligned:
    """A forecast of one target, lead and model beside what was observed, of a block of cells.

    A day counts if the observation and all models have a value; on others ``observed`` and ``central`` are NaN.

    Parameters
    ----------
    observed
        ``(cell, day)`` [m3 m-3].
    central
        The central forecast, ``(cell, day)`` [m3 m-3].
    previous
        Soil moisture of the day before, ``(cell, day)`` [m3 m-3], NaN where missing: at lead 1 what was observed, as in
        Eq. 19; further ahead what the same forecast has for it.
    driest, wettest
        Highest value of the cell's driest observed test days and lowest of its wettest, ``(cell, 1)`` [m3 m-3].
    quantiles
        ``(cell, day, quantile)`` [m3 m-3]; None of a model that has none.
    levels
        Of each quantile, ascending.
    signs
        Reading of the water balance -> which way it moves, dW_t ``(cell, day)``; under ``NAME_masked`` on the days
        alone that Eq. 13 keeps.
    reference
        Persistence on the same days; None of persistence itself.
    """

    observed: Floats
    central: Floats
    previous: Floats
    driest: Floats
    wettest: Floats
    quantiles: Floats | None = None
    levels: tuple[float, ...] = ()
    signs: Mapping[str, Signs] = field(default_factory=dict)
    reference: Aligned | None = None

    @cached_property
    def moments(self) -> dict[str, Cells]:
        """R, RMSE, ubRMSE, bias, R2, both KGE and days of the central forecast: see `score_cells`."""
        return score_cells(self.observed, self.central)

    def is_extreme(self, side: Literal["dry", "wet"]) -> npt.NDArray[np.bool_]:
        """Whether the observation is among the cell's driest or wettest, ``(cell, day)``."""
        return self.observed <= self.driest if side == "dry" else self.observed >= self.wettest

    @property
    def reference_rmse(self) -> Cells:
        """RMSE of persistence ``(cell,)`` [m3 m-3]."""
        return (self.reference or self).moments["rmse"]


def extreme_days(observed: Floats, share: float = EXTREME_SHARE) -> tuple[Floats, Floats]:
    """Limits of the driest and the wettest days of each cell.

    Parameters
    ----------
    observed
        Of all test days, ``(cell, day)`` [m3 m-3], NaN where missing.
    share
        Of its n observed days so many, rounded up, are a cell's driest: those at most the limit, so more if several
        equal it. Likewise its wettest.

    Returns
    -------
    Highest value of the driest days and lowest of the wettest, ``(cell, 1)`` [m3 m-3]; NaN without any observation.
    """
    valid = np.isfinite(observed)
    ordered = np.sort(np.where(valid, observed, np.nan), axis=1)  # missing ones come last
    count = valid.sum(axis=1, keepdims=True)
    # A product such as 0.05 * 20 may miss the whole number by its rounding.
    days = np.maximum(np.ceil(share * count - 1e-9).astype(np.int64), 1)
    driest = np.take_along_axis(ordered, np.minimum(days, np.maximum(count, 1)) - 1, axis=1)
    return driest, np.take_along_axis(ordered, np.maximum(count - days, 0), axis=1)
